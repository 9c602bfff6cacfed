//! The chain of records of one journal: files that count up, each with the digest of the one before.
//!
//! The digest of the last is kept in a file of its own outside the folder, so that records missing at the end show too. The log has the digest of
//! each; where logs go to another machine, that is the better witness.

use super::record::{Account, Label, hex};
use crate::config::Config;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How the files of records end.
const ENDING: &str = "journal";

/// The last record of each folder, once something was written there. Writers take turns, whichever generation of the configuration they are of.
static LAST: Mutex<BTreeMap<PathBuf, Head>> = Mutex::new(BTreeMap::new());

/// Where the records of a journal lie.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    name: String,
    folder: PathBuf,
    /// Where the last record is written down.
    witness: PathBuf,
}

/// The last record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Head {
    number: u64,
    sha256: Option<String>,
}

/// What a look at a whole chain comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// Records that are there.
    pub(crate) records: u64,
    /// Number and digest of the last.
    pub(crate) last: Option<(u64, String)>,
    /// What is wrong, in order.
    pub(crate) troubles: Vec<String>,
}

impl Chain {
    /// The chain of a journal, whose records lie in `folder`.
    pub(crate) fn of(config: &Config, name: &str, folder: &Path) -> Self {
        let witness = config.paths.state.join("journal").join(format!("{name}.last"));
        Self { name: name.to_owned(), folder: folder.to_owned(), witness }
    }

    /// Adds a record, which `make` makes from its label. When this returns, it is on stable storage. Gives its number and digest. Blocks.
    pub(super) fn add(&self, account: &Account, make: impl FnOnce(&Label) -> Result<Vec<u8>>) -> Result<(u64, String)> {
        let mut all = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let last = match all.get(&self.folder) {
            Some(last) => last.clone(),
            None => self.recover()?,
        };
        let number = last.number + 1;
        let record = make(&Label::new(&self.name, number, last.sha256, account))?;
        self.write(&self.file(number), &record).with_context(|| format!("cannot write to {}", self.folder.display()))?;
        let sha256 = hex(&Sha256::digest(&record));
        let head = Head { number, sha256: Some(sha256.clone()) };
        // A crash may take this back; then it speaks of an older record, which is no less true.
        let _ = serde_json::to_vec(&head).map_err(std::io::Error::from).and_then(|json| put(&self.witness, &json, false));
        all.insert(self.folder.clone(), head);
        Ok((number, sha256))
    }

    /// The numbers of the records that are there, in order.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.folder.display())),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let number: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(ENDING)?.strip_suffix('.')?.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The octets of a record. Errors name its file.
    pub(crate) fn read(&self, number: u64) -> Result<Vec<u8>> {
        let file = self.file(number);
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// The label of a record.
    pub(crate) fn label(&self, number: u64) -> Result<Label> {
        Label::split(&self.read(number)?).map(|(label, _)| label)
    }

    /// Looks at every record from `from` on. Errors when the folder cannot be read. Needs no key.
    pub(crate) fn verify(&self, from: u64) -> Result<Found> {
        let mut found = Found::default();
        let witness = self.witness()?;
        let mut previous: Option<(u64, String)> = None;
        for number in self.numbers()?.into_iter().filter(|number| *number >= from) {
            let expected = previous.as_ref().map_or(from, |(number, _)| number + 1);
            if number > expected {
                found.troubles.push(missing(expected, number - 1));
            }
            let record = self.read(number)?;
            let sha256 = hex(&Sha256::digest(&record));
            match Label::split(&record) {
                Err(error) => found.troubles.push(format!("record {number} was changed: {error:#}")),
                Ok((label, _)) if label.number != number || label.journal != self.name => {
                    found.troubles.push(format!("record {number} is record {} of journal {}", label.number, label.journal));
                }
                Ok((label, _)) => {
                    let before = previous.as_ref().filter(|(before, _)| before + 1 == number).map(|(_, sha256)| sha256);
                    if before.is_some_and(|sha256| label.previous.as_ref() != Some(sha256)) || number == 1 && label.previous.is_some() {
                        found.troubles.push(format!("record {} or {number} was changed: the digest does not fit", number - 1));
                    }
                }
            }
            if witness.number == number && witness.sha256.as_ref() != Some(&sha256) {
                found.troubles.push(format!("record {number} was changed since it was written: {} says so", self.witness.display()));
            }
            found.records += 1;
            previous = Some((number, sha256));
        }
        let end = previous.as_ref().map_or(from.saturating_sub(1), |(number, _)| *number);
        if witness.number > end {
            found.troubles.push(missing(end + 1, witness.number));
        }
        found.last = previous;
        Ok(found)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.{ENDING}"))
    }

    fn witness(&self) -> Result<Head> {
        match fs::read(&self.witness) {
            Ok(json) => serde_json::from_slice(&json).with_context(|| format!("{} is damaged", self.witness.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Head::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", self.witness.display())),
        }
    }

    /// The last record, from disk. Where records are missing at the end, the chain goes on behind the gap, which shows for ever.
    fn recover(&self) -> Result<Head> {
        for folder in [Some(&*self.folder), self.witness.parent()].into_iter().flatten() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let witness = self.witness()?;
        match self.numbers()?.last() {
            Some(number) if *number >= witness.number => {
                Ok(Head { number: *number, sha256: Some(hex(&Sha256::digest(self.read(*number)?))) })
            }
            _ => Ok(witness),
        }
    }

    fn write(&self, file: &Path, record: &[u8]) -> std::io::Result<()> {
        put(file, record, true)?;
        File::open(&self.folder)?.sync_all()
    }
}

/// As if the process began anew.
#[cfg(test)]
pub(super) fn restart() {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

fn missing(first: u64, last: u64) -> String {
    if first == last { format!("record {first} is missing") } else { format!("records {first} to {last} are missing") }
}

/// Writes a file. It is there whole or not at all; durable where asked for, and then never in the place of another.
fn put(path: &Path, octets: &[u8], durable: bool) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(octets)?;
    if durable {
        file.as_file().sync_all()?;
        return file.persist_noclobber(path).map(drop).map_err(|error| error.error);
    }
    file.persist(path).map(drop).map_err(|error| error.error)
}
