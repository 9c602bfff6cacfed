//! Journals: encrypted copies of messages with what is known of them, in a chain that shows when a record is missing or changed.
//!
//! A record is a file. Its first line is a label, JSON in clear; behind it is an age file with one line of JSON, the [`Account`], and the
//! message as it was queued. Each label has the SHA-256 of the whole record before it.

mod chain;
mod record;

#[cfg(test)]
mod tests;

pub(crate) use chain::Chain;
pub(crate) use record::{Account, Opened, open};

use crate::config::Config;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use secmx_core::report::Event;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every journal of a configuration, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journals(BTreeMap<String, Arc<Journal>>);

/// One journal.
#[derive(Debug)]
struct Journal {
    chain: Chain,
    recipients: Vec<String>,
}

/// A record that is on stable storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Name of the journal.
    pub(crate) journal: String,
    /// Its place in the chain.
    pub(crate) number: u64,
    /// SHA-256 of the record, hexadecimal. Kept elsewhere, as the log is, it vouches for the whole chain.
    pub(crate) sha256: String,
}

impl Kept {
    /// What the log is told of it.
    pub(crate) fn told(&self, queue: String) -> Event<'_> {
        Event::Journalled { queue, journal: &self.journal, number: self.number, sha256: &self.sha256 }
    }
}

impl Journals {
    /// The journals of a configuration. Nothing is opened before something is written.
    pub(crate) fn new(config: &Config) -> Self {
        let journal = |(name, journal): (&String, &crate::config::Journal)| {
            let chain = Chain::of(config, name, &journal.path);
            (name.clone(), Arc::new(Journal { chain, recipients: journal.recipients.clone() }))
        };
        Self(config.journal.iter().map(journal).collect())
    }

    /// Keeps a copy in each of these journals. When this returns, the records are on stable storage. Errors when one is not: the message
    /// must not be taken then.
    pub(crate) async fn keep(&self, names: &[String], account: &Account, message: &[Bytes]) -> Result<Vec<Kept>> {
        let mut kept = Vec::new();
        let mut left: Vec<&String> = names.iter().collect();
        left.sort();
        left.dedup();
        for name in left {
            let journal = self.0.get(name).cloned().with_context(|| format!("there is no [journal.{name}] any more"))?;
            let (account, message) = (account.clone(), message.to_vec());
            let write = move || journal.chain.add(&account, |label| record::seal(label, &account, &message, &journal.recipients));
            let written = tokio::task::spawn_blocking(write).await.map_err(|error| anyhow!("{error}")).and_then(|written| written);
            let (number, sha256) = written.with_context(|| format!("journal {name}"))?;
            kept.push(Kept { journal: name.clone(), number, sha256 });
        }
        Ok(kept)
    }
}
