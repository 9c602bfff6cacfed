//! `secmx policy`: everything an author of policies does, on this machine and without network.

mod build;
mod inspect;
mod new;
mod project;
mod report;
mod run;
mod test;

use super::Exit;
use anyhow::Result;
use clap::Subcommand;
use std::path::PathBuf;

/// What is done with a policy.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum PolicyCommand {
    /// Make the folder of a new policy that builds and passes its tests
    #[command(after_help = new::HELP)]
    New {
        /// The folder; its last part is the name of the policy
        folder: PathBuf,
        /// Language
        #[arg(long, value_enum, default_value = "rust")]
        lang: new::Language,
        /// What it answers
        #[arg(long, value_enum, default_value = "content")]
        interface: new::Interface,
    },
    /// Build a policy and run its cases
    #[command(after_help = test::HELP)]
    Test(test::Options),
    /// Ask a content policy about messages at hand
    #[command(after_help = run::HELP)]
    Run(run::Options),
    /// Build a policy as its policy.toml says, and embed that in the component
    #[command(after_help = build::HELP)]
    Build {
        /// Folder of policy.toml
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
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
}

/// Does it.
pub(super) fn obey(command: PolicyCommand) -> Result<Exit> {
    match command {
        PolicyCommand::New { folder, lang, interface } => new::run(&folder, lang, interface),
        PolicyCommand::Test(options) => test::run(&options),
        PolicyCommand::Run(options) => run::run(&options),
        PolicyCommand::Build { folder } => build::run(&folder),
        PolicyCommand::Inspect { component, json } => inspect::run(&component, json),
    }
}
