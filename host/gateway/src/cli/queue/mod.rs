//! `secmx queue`: what waits in a running gateway, and what is done about it.

mod change;
mod list;
mod show;
mod suspend;

pub(super) use change::{Options as ChangeOptions, run as change};
pub(super) use list::{entries_json, line, lines_of};
pub(super) use show::{path_of, run as show};

use super::Exit;
use super::remote::Asking;
use crate::control::queue::Action;
use anyhow::Result;
use clap::Subcommand;

/// What is asked of the queue, or done to it.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum QueueCommand {
    /// List what waits, oldest first; or how much waits for whom
    #[command(after_help = list::HELP)]
    List(list::Options),
    /// Show one message: envelope, header, and how each of its deliveries stands
    #[command(after_help = show::HELP)]
    Show {
        #[command(flatten)]
        asking: Asking,
        /// Queue id, such as 01JD9W3K7Q8Z
        id: String,
    },
    /// Keep mail back for a time; `release` lets it go earlier
    #[command(after_help = change::HOLD)]
    Hold {
        #[command(flatten)]
        change: change::Options,
        /// How long; then it goes by itself
        #[arg(long = "for", value_name = "DURATION", value_parser = super::remote::duration, required_unless_present = "dry_run")]
        time: Option<std::time::Duration>,
    },
    /// Let go what is held
    #[command(after_help = change::RELEASE)]
    Release(change::Options),
    /// Try again now instead of at the next time
    #[command(after_help = change::RETRY)]
    Retry(change::Options),
    /// Give mail up: it leaves the queue, and its sender gets a notice that says so
    #[command(after_help = change::BOUNCE)]
    Bounce {
        #[command(flatten)]
        change: change::Options,
        /// What the sender reads as the cause, instead of a general sentence
        #[arg(long, value_name = "TEXT")]
        tell: Option<String>,
    },
    /// Remove mail; nobody is told
    #[command(after_help = change::DELETE)]
    Delete(change::Options),
    /// Let mail for a destination wait for a time
    #[command(after_help = suspend::HELP)]
    Suspend(suspend::Options),
    /// End a suspension before its time
    #[command(after_help = suspend::RESUME)]
    Resume {
        #[command(flatten)]
        asking: Asking,
        /// The destination, as it was suspended: @health.example
        #[arg(long, value_name = "@DOMAIN")]
        to: String,
    },
    /// Watch how much waits for whom
    #[command(after_help = list::TOP)]
    Top(list::Top),
}

/// Does it.
pub(super) fn obey(command: QueueCommand) -> Result<Exit> {
    match command {
        QueueCommand::List(options) => list::run(&options),
        QueueCommand::Show { asking, id } => show::run(&asking, &id),
        QueueCommand::Hold { change, time } => change::run(&change, Action::Hold, None, time),
        QueueCommand::Release(change) => change::run(&change, Action::Release, None, None),
        QueueCommand::Retry(change) => change::run(&change, Action::Retry, None, None),
        QueueCommand::Bounce { change, tell } => change::run(&change, Action::Bounce, tell, None),
        QueueCommand::Delete(change) => change::run(&change, Action::Delete, None, None),
        QueueCommand::Suspend(options) => suspend::run(&options),
        QueueCommand::Resume { asking, to } => suspend::resume(&asking, to),
        QueueCommand::Top(top) => list::watch(&top),
    }
}
