//! `secmx journal`: the copies of messages that policies keep, read from their folders; the gateway need not run.

use super::{Exit, Origin, hint, say};
use crate::config::Config;
use crate::journal::{Chain, Opened, open};
use crate::signing::write_new;
use age::secrecy::ExposeSecret;
use age::{Identity, IdentityFile};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Below the help of `journal`.
pub(super) const HELP: &str = "\
They read the folders that [journal.NAME] names; the gateway need not run, and has no key that opens a record.

Examples
  secmx journal keygen journal.key                        a key: the file opens records, what is printed goes into the configuration
  secmx journal list -c secmx.toml                        number, time and queue id of each record
  secmx journal verify -c secmx.toml                      is one missing or changed? ends with 1 when so; needs no key
  secmx journal show 17 --key journal.key -c secmx.toml   envelope, tags and evidence of one
  secmx journal decrypt 17 --key journal.key -c secmx.toml > message.eml";

/// What is asked of journals.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum JournalCommand {
    /// Make a key that opens records, in a new file that only its owner may read; keep it away from the gateway
    Keygen {
        /// The file
        file: PathBuf,
    },
    /// Say which records there are
    List(Which),
    /// Check every record; end with 1 when one is missing or changed
    Verify {
        #[command(flatten)]
        which: Which,
        /// The first record that there should be, when older ones were taken away on purpose
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// Say what is known of the message of one record, as JSON
    Show(One),
    /// Write the message of one record to standard output
    Decrypt(One),
}

/// Which journal.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Which {
    #[command(flatten)]
    from_file: Origin,
    /// Name of the journal; not needed when there is one
    #[arg(long)]
    journal: Option<String>,
}

/// Which record, and how it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct One {
    /// Number of the record
    number: u64,
    #[command(flatten)]
    which: Which,
    /// File with a key that opens it, as `secmx journal keygen` or `age-keygen` made it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Does it.
pub(super) fn obey(command: JournalCommand) -> Result<Exit> {
    match command {
        JournalCommand::Keygen { file } => keygen(&file),
        JournalCommand::List(which) => with(&which, list),
        JournalCommand::Verify { which, from } => with(&which, |chain| verify(chain, from)),
        JournalCommand::Show(one) => with(&one.which, |chain| {
            let Opened { account, .. } = opened(chain, &one)?;
            say(&(serde_json::to_string_pretty(&account)? + "\n"))
        }),
        JournalCommand::Decrypt(one) => with(&one.which, |chain| {
            let Opened { message, .. } = opened(chain, &one)?;
            std::io::stdout().lock().write_all(&message).context("cannot write the message")?;
            Ok(Exit::Yes)
        }),
    }
}

fn keygen(file: &Path) -> Result<Exit> {
    let key = age::x25519::Identity::generate();
    let public = key.to_public();
    write_new(file, &format!("# public key: {public}\n{}\n", key.to_string().expose_secret()), 0o600)?;
    say(&format!("made {} (keep it away from the gateway); recipients = [\"{public}\"]\n", file.display()))
}

/// Does something with the journal that was meant.
fn with(which: &Which, work: impl FnOnce(&Chain) -> Result<Exit>) -> Result<Exit> {
    let config = match Config::load(which.from_file.config.as_deref()) {
        Ok((config, _)) => config,
        Err(findings) => {
            hint(&super::answer::findings(&findings, super::answer::stderr_has_colours()));
            return Ok(Exit::Misconfigured);
        }
    };
    let name = match (&which.journal, config.journal.keys().collect::<Vec<_>>().as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [only]) => (*only).clone(),
        (None, []) => bail!("the configuration names no journal: [journal.NAME] does"),
        (None, _) => bail!("there are several journals: say which with --journal NAME"),
    };
    let journal = config.journal.get(&name).with_context(|| format!("the configuration has no [journal.{name}]"))?;
    work(&Chain::of(&config, &name, &journal.path))
}

fn list(chain: &Chain) -> Result<Exit> {
    let mut text = String::new();
    for number in chain.numbers()? {
        match chain.label(number) {
            Ok(label) => writeln!(text, "{number}  {}  {}", label.at, label.qid)?,
            Err(error) => writeln!(text, "{number}  {error:#}")?,
        }
    }
    say(&text)
}

fn verify(chain: &Chain, from: u64) -> Result<Exit> {
    let found = chain.verify(from)?;
    let mut text = String::new();
    for trouble in &found.troubles {
        writeln!(text, "{trouble}")?;
    }
    match (&found.last, found.troubles.is_empty()) {
        (None, true) => text.push_str("there are no records\n"),
        (Some((number, sha256)), true) => {
            writeln!(text, "{} records are all there and as they were written; the last is {number}, SHA-256 {sha256}", found.records)?
        }
        _ => writeln!(text, "{} records, and something is wrong", found.records)?,
    }
    say(&text)?;
    Ok(if found.troubles.is_empty() { Exit::Yes } else { Exit::No })
}

fn opened(chain: &Chain, one: &One) -> Result<Opened> {
    let file = IdentityFile::from_file(one.key.display().to_string()).with_context(|| format!("cannot read {}", one.key.display()))?;
    let keys: Vec<Box<dyn Identity>> = file
        .into_identities()
        .map_err(|error| anyhow::anyhow!("{}: {error}", one.key.display()))?
        .into_iter()
        .map(|key| key as _)
        .collect();
    open(&chain.read(one.number)?, &keys).with_context(|| format!("record {}", one.number))
}
