//! Messages that are kept to try other policies on them: `[replay]`.
//!
//! Each is two files below `paths.state`: the message as it came in, and what policies could see beside it. A replay asks no network: what
//! DNS answered then is what it answers.

use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::channel::{Level, TlsVersion};
use secmx_core::mail::Envelope;
use secmx_core::queue::QueueId;
use secmx_policy::cases::{DnsAnswer, Envelope as Shown, Given, Protection};
use secmx_policy::{Minutes, SessionFacts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What is known of a message beside its octets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    schema: String,
    /// Queue id.
    pub qid: QueueId,
    /// When policies were asked, seconds since 1970-01-01T00:00:00Z.
    pub at: i64,
    /// The ruling then.
    pub ruling: String,
    /// What they could see, and what DNS answered.
    pub given: Given,
}

impl Kept {
    /// What policies saw of a message, as it is kept.
    pub fn new(qid: QueueId, now: Timestamp, ruling: &str, session: &SessionFacts, envelope: &Envelope, minutes: &Minutes) -> Self {
        let tls = session.channel.tls.as_ref().map(|tls| Protection {
            version: Some(if tls.version == TlsVersion::V12 { "1.2" } else { "1.3" }.to_owned()),
            verified: Some(
                match session.channel.level {
                    Level::Plain | Level::Encrypted => "no",
                    Level::Host => "host",
                    Level::Domain => "domain",
                }
                .to_owned(),
            ),
        });
        let shown = Shown {
            from: Some(envelope.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default()),
            to: Some(envelope.recipients.iter().map(ToString::to_string).collect()),
            client: Some(session.client_address.to_string()),
            client_name: session.client_name.clone(),
            hello: session.hello.clone(),
            listener: Some(session.listener.clone()),
            user: session.authenticated_as.clone(),
            tls,
            role: None,
        };
        let lookups = minutes.said().iter().flat_map(|said| &said.cost.lookups);
        let dns: BTreeMap<_, _> = lookups.filter_map(|(asked, answer)| Some((asked.clone(), DnsAnswer::of(answer)?))).collect();
        let given = Given {
            interface: Some("content".to_owned()),
            envelope: Some(shown),
            tags: Some(session.tags.clone()),
            dns: Some(dns),
            ..Given::default()
        };
        Self { schema: "secmx/kept/v1".to_owned(), qid, at: now.as_second(), ruling: ruling.to_owned(), given }
    }

    /// Writes it and its message. What is too old, or too much, goes first. Blocks.
    pub fn write(&self, folder: &Path, message: &[u8], keep_for: Duration, octets: u64) -> Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        prune(folder, keep_for, octets.saturating_sub(message.len() as u64))?;
        let write = |ending: &str, octets: &[u8]| {
            let path = folder.join(format!("{}.{ending}", self.qid));
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(octets)).with_context(|| format!("cannot write {}", path.display()))
        };
        write("eml", message)?;
        // The message is there before what makes it one of the kept.
        write("json", &serde_json::to_vec(self)?)
    }
}

/// Where they are kept.
pub fn folder(state: &Path) -> PathBuf {
    state.join("replay")
}

/// Takes away what is too old, then the oldest until the rest fits.
fn prune(folder: &Path, keep_for: Duration, most: u64) -> Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.filter_map(io::Result::ok) {
        if let Ok(about) = entry.metadata() {
            files.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len(), entry.path()));
        }
    }
    files.sort();
    let mut sum: u64 = files.iter().map(|(_, octets, _)| octets).sum();
    for (at, octets, path) in files {
        if sum <= most && at.elapsed().is_ok_and(|age| age < keep_for) {
            break;
        }
        sum = sum.saturating_sub(octets);
        // One that is gone already is gone.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// A message with what is known of it, oldest first.
pub fn read_all(folder: &Path) -> Result<Vec<(Kept, Bytes)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    for path in paths {
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // Half a file is what a crash left.
        let Ok(kept) = serde_json::from_slice::<Kept>(&text) else { continue };
        let Ok(message) = fs::read(path.with_extension("eml")) else { continue };
        found.push((kept, message.into()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(number: u32) -> Kept {
        let given = Given { interface: Some("content".into()), ..Given::default() };
        Kept { schema: "secmx/kept/v1".into(), qid: QueueId::new(1, number), at: 7, ruling: "accept".into(), given }
    }

    #[test]
    fn what_is_kept_reads_back_within_its_bounds() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("replay");
        let week = Duration::from_secs(604_800);
        kept(1).write(&place, b"one", week, 1 << 20).expect("written");
        fs::write(place.join("torn.json"), "{").expect("written");
        kept(2).write(&place, b"two", week, 1 << 20).expect("written");
        let all = read_all(&place).expect("reads");
        assert_eq!(
            all.iter().map(|(kept, message)| (kept.qid, &message[..])).collect::<Vec<_>>(),
            [(QueueId::new(1, 1), &b"one"[..]), (QueueId::new(1, 2), b"two")]
        );
        assert!(all[0].0.given.trial(all[0].1.clone()).is_ok());
        kept(3).write(&place, b"three", week, 10).expect("written");
        assert_eq!(read_all(&place).expect("reads").len(), 1, "the older ones had no room");
        kept(4).write(&place, b"four", Duration::ZERO, 1 << 20).expect("written");
        assert_eq!(read_all(&place).expect("reads").len(), 1, "the older one was too old");
        assert!(read_all(&folder.path().join("nothing")).expect("nothing is kept").is_empty());
    }
}
