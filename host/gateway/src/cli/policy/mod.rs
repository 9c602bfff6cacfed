//! `secmx policy`: everything an author of policies does, on this machine and without network; and what a running gateway has in force.

mod anonymise;
mod bench;
mod build;
mod case;
mod decisions;
mod difference;
mod entry;
mod inspect;
mod list;
mod mail;
mod new;
mod project;
mod replay;
mod report;
mod run;
mod test;
mod trust;
mod watch;

use super::command::Origin;
use super::remote::{Asking, Told};
use super::{Exit, reload, say};
use crate::config::{Config, Finding};
use crate::workshop;
use anyhow::Result;
use clap::Subcommand;
use secmx_policy::{Runtime, RuntimeLimits};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is done with a policy.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum PolicyCommand {
    /// Make the folder of a new policy that builds and passes its tests
    #[command(after_help = new::HELP)]
    New {
        /// The folder; its last part is the name of the policy
        folder: PathBuf,
        /// Language: rust, js, ts, python, go or c
        #[arg(long, default_value = "rust")]
        lang: secmx_guest_build::Language,
        /// What it answers
        #[arg(long, value_enum, default_value = "content")]
        interface: new::Interface,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Build a policy and run its cases
    #[command(after_help = test::HELP)]
    Test(test::Options),
    /// Ask a content policy about messages at hand
    #[command(after_help = run::HELP)]
    Run(run::Options),
    /// Make a case of a message that was seen
    Case {
        #[command(subcommand)]
        what: case::CaseCommand,
    },
    /// Read what was decided
    #[command(after_help = decisions::HELP)]
    Decisions(decisions::Options),
    /// Measure how long the cases take
    #[command(after_help = bench::HELP)]
    Bench {
        /// Folder of policy.toml
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// How often each question is asked
        #[arg(long, default_value_t = 1000)]
        times: u32,
        /// One JSON object for each case
        #[arg(long)]
        json: bool,
    },
    /// Say what would have ended differently with another policy
    #[command(after_help = replay::HELP)]
    Replay(replay::Options),
    /// Build a policy as its policy.toml says, and embed that in the component
    #[command(after_help = build::HELP)]
    Build {
        /// Folder of policy.toml
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// List who is asked what in a running gateway, in order, and what was said so far
    #[command(after_help = list::HELP)]
    List(Asking),
    /// Make a running gateway load its policies again; a bad one changes nothing
    #[command(after_help = reload::POLICY_HELP)]
    Reload(Asking),
    /// Say what a component is, what it may ask for, and which settings it has, from the binary alone
    #[command(after_help = inspect::HELP)]
    Inspect {
        /// A component, or the folder of a policy that was built
        #[arg(default_value = ".")]
        component: PathBuf,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Make a pair of keys to sign policies with
    #[command(after_help = trust::KEYGEN)]
    Keygen {
        /// The files are called NAME.key and NAME.pub
        name: PathBuf,
        /// Keys to seal kept messages for (`replay.seal_for`) instead
        #[arg(long)]
        sealing: bool,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Sign a component that was built
    #[command(after_help = trust::SIGN)]
    Sign {
        /// A component, or the folder of a policy that was built
        #[arg(default_value = ".")]
        component: PathBuf,
        /// The .key file
        #[arg(long)]
        key: PathBuf,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Say who signed a component
    #[command(after_help = trust::VERIFY)]
    Verify {
        /// A component, or the folder of a policy that was built
        #[arg(default_value = ".")]
        component: PathBuf,
        /// A .pub file; may be given more than once
        #[arg(long, required = true)]
        key: Vec<PathBuf>,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Take the policies of a configuration into policies.lock, as they are now
    #[command(after_help = trust::LOCK)]
    Lock {
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        from: Origin,
    },
    /// Put the component that was locked before back in force
    #[command(after_help = trust::ROLLBACK)]
    Rollback {
        /// Name of the [[policy]]
        name: String,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        from: Origin,
    },
}

/// An engine of an author; `metered` counts instructions, so that slow machines judge like fast ones.
fn engine(metered: bool) -> Result<Runtime> {
    let limits = RuntimeLimits { metered, ..RuntimeLimits::default() };
    Ok(Runtime::start(limits, workshop::of_author(), Arc::new(|_| ()), Arc::default())?)
}

/// The configuration that policies stand in.
fn configuration(path: Option<&Path>) -> Result<Config> {
    let words = |findings: Vec<Finding>| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Ok(Config::load(path).map_err(|findings| Told::new(Exit::Misconfigured, words(findings)))?.0)
}

/// The answer: this object where JSON is wanted, else these lines.
fn tell(json: bool, object: &Value, lines: &str) -> Result<Exit> {
    say(&if json { serde_json::to_string_pretty(object)? + "\n" } else { lines.to_owned() })
}

/// Does it.
pub(super) fn obey(command: PolicyCommand) -> Result<Exit> {
    match command {
        PolicyCommand::New { folder, lang, interface, json } => new::run(&folder, lang, interface, json),
        PolicyCommand::Test(options) => test::run(&options),
        PolicyCommand::Run(options) => run::run(&options),
        PolicyCommand::Case { what } => case::obey(&what),
        PolicyCommand::Decisions(options) => decisions::run(&options),
        PolicyCommand::Bench { folder, times, json } => bench::run(&folder, times, json),
        PolicyCommand::Replay(options) => replay::run(&options),
        PolicyCommand::Build { folder, json } => build::run(&folder, json),
        PolicyCommand::List(asking) => list::run(&asking),
        PolicyCommand::Reload(asking) => reload::run(&asking, "/policies/reload"),
        PolicyCommand::Inspect { component, json } => inspect::run(&component, json),
        PolicyCommand::Keygen { name, sealing, json } => trust::keygen(&name, sealing, json),
        PolicyCommand::Sign { component, key, json } => trust::sign(&component, &key, json),
        PolicyCommand::Verify { component, key, json } => trust::verify(&component, &key, json),
        PolicyCommand::Lock { from, json } => trust::lock(&from, json),
        PolicyCommand::Rollback { name, from, json } => trust::rollback(&name, &from, json),
    }
}
