//! `secmx dkim`: keys that sign mail, and what to publish of them.

use super::{Exit, Origin, hint, say};
use crate::config::Config;
use crate::dkim::{Key, generate, zone_line};
use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;

/// Below the help of `dkim`.
pub(super) const HELP: &str = "\
A key signs once its record is in DNS and `dkim.keys` names it. For a change, publish the new key, add it, and remove the old one a week
later: mail on its way is still verified with it.

Examples
  secmx dkim keygen dkim-2026a.pem                   an RSA key of 2048 bits, which everybody verifies
  secmx dkim keygen --kind ed25519 dkim-2026e.pem    an Ed25519 key, shorter, to sign with as well
  secmx dkim records -c secmx.toml                   the TXT records of all keys, as lines of a zone file";

/// What is asked of keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum DkimCommand {
    /// Make a key in a new file that only its owner may read
    Keygen {
        /// The file, PEM
        file: PathBuf,
        /// Kind of key
        #[arg(long, value_enum, default_value_t = Kind::Rsa)]
        kind: Kind,
    },
    /// Print the TXT records of the keys that the configuration names
    Records {
        #[command(flatten)]
        from: Origin,
    },
}

/// Kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// RSA with 2048 bits
    Rsa,
    /// Ed25519
    Ed25519,
}

/// Does it.
pub(super) fn obey(command: DkimCommand) -> Result<Exit> {
    match command {
        DkimCommand::Keygen { file, kind } => {
            generate(&file, kind == Kind::Rsa)?;
            say(&format!("made {} (keep it secret); its record: {}\n", file.display(), Key::read(&file)?.record()?))
        }
        DkimCommand::Records { from } => match Config::load(from.config.as_deref()) {
            Ok((config, _)) => records(&config),
            Err(findings) => {
                hint(&super::answer::findings(&findings, super::answer::stderr_has_colours()));
                Ok(Exit::Misconfigured)
            }
        },
    }
}

fn records(config: &Config) -> Result<Exit> {
    if config.dkim.keys.is_empty() {
        hint("the configuration names no keys in `dkim.keys`; `secmx dkim keygen FILE` makes one\n");
        return Ok(Exit::No);
    }
    let line = |key: &crate::config::DkimKey| Ok(zone_line(&key.selector, key.domain.as_str(), &Key::read(&key.key)?.record()?));
    let lines = config.dkim.keys.iter().map(line).collect::<Result<Vec<_>>>()?;
    say(&lines.concat())
}
