//! `secmx quarantine`: what policies keep for a person, and what the person decides.

use super::Exit;
use super::queue::{ChangeOptions, change, entries_json, lines_of, show};
use super::remote::Asking;
use crate::control::queue::{Action, Listing};
use crate::control::selector::Selector;
use anyhow::Result;
use clap::Subcommand;

/// Below the help of `list`.
const LIST: &str = "\
Examples
  secmx quarantine list
  secmx quarantine list --kept 'dlp.*' --older 1d --json";

/// Below the help of `show`.
const SHOW: &str = "\
Header and envelope are shown, the body is not.

Example: secmx quarantine show 01JD9W3K7Q8Z";

/// Below the help of `release`.
const RELEASE: &str = "\
The reason for which it was quarantined is overridden, and no other: the policies behind the one that gave it are asked, and may stop the
message again, for a reason of theirs. It then stays in quarantine for that one, and the command ends with 1.

Example: secmx quarantine release 01JD9W3K7Q8Z --reason 'ana: the account number is her own'";

/// Below the help of `delete`.
const DELETE: &str = "\
It cannot be undone, and nobody is told. What nobody decides about goes after `quarantine.keep`.

Example: secmx quarantine delete --kept 'attachment.*' --older 7d --reason 'weekly review'";

/// What is asked of the quarantine, or done to it.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum QuarantineCommand {
    /// List what policies keep for a person, oldest first
    #[command(after_help = LIST)]
    List {
        #[command(flatten)]
        asking: Asking,
        #[command(flatten)]
        selector: Selector,
        /// How many at most
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: usize,
        /// One JSON object a line, as they come
        #[arg(long, conflicts_with = "json")]
        jsonl: bool,
    },
    /// Show one message: envelope, header, and why it is kept
    #[command(after_help = SHOW)]
    Show {
        #[command(flatten)]
        asking: Asking,
        /// Queue id, such as 01JD9W3K7Q8Z
        id: String,
    },
    /// Let a message go, unless another policy stops it
    #[command(after_help = RELEASE)]
    Release(ChangeOptions),
    /// Remove a message; nobody is told
    #[command(after_help = DELETE)]
    Delete(ChangeOptions),
}

/// Does it.
pub(super) fn obey(command: QuarantineCommand) -> Result<Exit> {
    match command {
        QuarantineCommand::List { asking, selector, limit, jsonl } => {
            let listing = Listing { selector, after: None, limit, quarantined: true };
            let remote = asking.server.remote()?;
            if asking.json { entries_json(&remote, listing) } else { lines_of(&remote, listing, jsonl) }
        }
        QuarantineCommand::Show { asking, id } => show(&asking, &id),
        QuarantineCommand::Release(options) => change(&options, Action::Overrule, None, None),
        QuarantineCommand::Delete(options) => change(&options, Action::Discard, None, None),
    }
}
