//! `secmx policy`: everything an author of policies does, on this machine and without network.

mod build;
mod inspect;
mod project;

use super::Exit;
use anyhow::Result;
use clap::Subcommand;
use std::path::PathBuf;

/// What is done with a policy.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum PolicyCommand {
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
        PolicyCommand::Build { folder } => build::run(&folder),
        PolicyCommand::Inspect { component, json } => inspect::run(&component, json),
    }
}
