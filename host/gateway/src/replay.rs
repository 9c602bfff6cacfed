//! Messages that are kept to try other policies on them: `[replay]`.
//!
//! Each is two files below `paths.state`: the message as it came in, and what policies could see beside it. A replay asks no network: what
//! DNS answered then is what it answers.

use crate::config::{Replay as Settings, SealingKey};
use age::Encryptor;
use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::channel::{Channel, Level, TlsVersion};
use secmx_core::mail::Envelope;
use secmx_core::queue::QueueId;
use secmx_policy::cases::{DnsAnswer, Envelope as Shown, Given, Protection};
use secmx_policy::{Minutes, SessionFacts};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Last ending of files that are encrypted.
const SEALED: &str = "age";

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
        let shown = Shown {
            from: Some(envelope.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default()),
            to: Some(envelope.recipients.iter().map(ToString::to_string).collect()),
            client: Some(session.client_address.to_string()),
            client_name: session.client_name.clone(),
            hello: session.hello.clone(),
            listener: Some(session.listener.clone()),
            user: session.authenticated_as.clone(),
            tls: protection(&session.channel),
            authentication: Some(session.authentication_results.clone()).filter(|results| !results.is_empty()),
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

    /// Writes it and its message, encrypted where the settings say for whom. What is too old, or too much, goes first. Blocks.
    pub fn write(&self, folder: &Path, message: &[u8], settings: &Settings) -> Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        prune(folder, settings.keep_for, settings.octets.saturating_sub(message.len() as u64))?;
        let write = |ending: &str, octets: &[u8]| {
            let (ending, octets) = match settings.seal_for.is_empty() {
                true => (ending.to_owned(), Cow::Borrowed(octets)),
                false => (format!("{ending}.{SEALED}"), Cow::Owned(sealed(octets, &settings.seal_for)?)),
            };
            let path = folder.join(format!("{}.{ending}", self.qid));
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(&octets)).with_context(|| format!("cannot write {}", path.display()))
        };
        write("eml", message)?;
        // The message is there before what makes it one of the kept.
        write("json", &serde_json::to_vec(self)?)
    }
}

/// TLS of a channel, as cases write it.
pub(crate) fn protection(channel: &Channel) -> Option<Protection> {
    let tls = channel.tls.as_ref()?;
    let version = if tls.version == TlsVersion::V12 { "1.2" } else { "1.3" };
    let verified = match channel.level {
        Level::Plain | Level::Encrypted => "no",
        Level::Host => "host",
        Level::Domain => "domain",
    };
    Some(Protection { version: Some(version.to_owned()), verified: Some(verified.to_owned()) })
}

/// Encrypts to every one of the keys.
fn sealed(octets: &[u8], keys: &[SealingKey]) -> Result<Vec<u8>> {
    let recipients = keys.iter().map(|key| &key.0 as &dyn age::Recipient);
    let mut sealed = Vec::new();
    let mut writer = Encryptor::with_recipients(recipients)?.wrap_output(&mut sealed)?;
    writer.write_all(octets)?;
    writer.finish()?;
    Ok(sealed)
}

/// Keys that open what was kept for them.
#[derive(Default)]
pub struct Identities(Vec<Identity>);

impl Identities {
    /// Reads a file of keys, one a line, `#` before comments, as age-keygen writes it too. Errors name the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = keys.map(str::parse).collect::<Result<Vec<Identity>, _>>().ok().filter(|keys| !keys.is_empty());
        let wanted =
            "it holds no key to open kept messages with (a line AGE-SECRET-KEY-1…); `secmx policy keygen --sealing NAME` makes one";
        keys.map(Self).with_context(|| format!("{}: {wanted}", path.display()))
    }

    fn open(&self, octets: &[u8]) -> Option<Vec<u8>> {
        self.0.iter().find_map(|key| age::decrypt(key, octets).ok())
    }
}

/// Makes a pair of keys: the secret one readable to its owner only. Gives the public one. Errors when there is such a file already.
pub fn make_keys(secret: &Path, public: &Path) -> Result<String> {
    let key = Identity::generate();
    let shown = key.to_public().to_string();
    let write = |path: &Path, mode: u32, text: &str| {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("cannot make {}", path.display()))
    };
    write(secret, 0o600, &format!("# public key: {shown}\n{}\n", key.to_string().expose_secret()))?;
    write(public, 0o644, &format!("{shown}\n"))?;
    Ok(shown)
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

/// What is kept.
#[derive(Default)]
pub struct Found {
    /// Messages with what is known of them, oldest first.
    pub messages: Vec<(Kept, Bytes)>,
    /// How many none of the keys opens.
    pub closed: usize,
}

/// Reads what is kept; what is sealed, with these keys.
pub fn read_all(folder: &Path, keys: &Identities) -> Result<Found> {
    let mut found = Found::default();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    for name in names {
        let (id, ending) = name.split_once(".json").unwrap_or_default();
        let read = |name: &str| fs::read(folder.join(name));
        let (about, message) = match ending.strip_prefix('.') {
            _ if id.is_empty() => continue,
            None if ending.is_empty() => (read(&name), read(&format!("{id}.eml"))),
            Some(SEALED) => (read(&name), read(&format!("{id}.eml.{SEALED}"))),
            _ => continue,
        };
        // Half of it is what a crash left.
        let (Ok(mut about), Ok(mut message)) = (about, message) else { continue };
        if !ending.is_empty() {
            let (Some(clear), Some(content)) = (keys.open(&about), keys.open(&message)) else {
                found.closed += 1;
                continue;
            };
            (about, message) = (clear, content);
        }
        let Ok(kept) = serde_json::from_slice::<Kept>(&about) else { continue };
        found.messages.push((kept, message.into()));
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

    fn settings(more: &str) -> Settings {
        crate::config::Config::parse("x.toml", &format!("[replay]\n{more}")).expect("valid").0.replay
    }

    #[test]
    fn what_is_kept_reads_back_within_its_bounds() {
        let folder = tempfile::tempdir().expect("a folder");
        let (place, usual) = (folder.path().join("replay"), settings(""));
        let read = |place: &Path| read_all(place, &Identities::default()).expect("reads").messages;
        kept(1).write(&place, b"one", &usual).expect("written");
        fs::write(place.join("torn.json"), "{").expect("written");
        kept(2).write(&place, b"two", &usual).expect("written");
        let all = read(&place);
        assert_eq!(
            all.iter().map(|(kept, message)| (kept.qid, &message[..])).collect::<Vec<_>>(),
            [(QueueId::new(1, 1), &b"one"[..]), (QueueId::new(1, 2), b"two")]
        );
        assert!(all[0].0.given.trial(all[0].1.clone()).is_ok());
        kept(3).write(&place, b"three", &settings("octets = 10")).expect("written");
        assert_eq!(read(&place).len(), 1, "the older ones had no room");
        kept(4).write(&place, b"four", &settings("for = 0")).expect("written");
        assert_eq!(read(&place).len(), 1, "the older one was too old");
        assert!(read(&folder.path().join("nothing")).is_empty(), "nothing is kept");
    }

    /// What is sealed is read with any of the keys it was sealed for, and nothing of it lies there in the clear.
    #[test]
    fn what_is_sealed_is_for_those_with_a_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, second, other) = (Identity::generate(), Identity::generate(), Identity::generate());
        let keys = format!("seal_for = [\"{}\", \"{}\"]", ours.to_public(), second.to_public());
        kept(1).write(folder.path(), b"the secret plan", &settings(&keys)).expect("written");
        kept(2).write(folder.path(), b"not sealed", &settings("")).expect("written");
        for entry in fs::read_dir(folder.path()).expect("there").filter_map(io::Result::ok) {
            let octets = fs::read(entry.path()).expect("there");
            assert!(!octets.windows(6).any(|window| window == b"secret"), "{:?}", entry.path());
        }
        for (keys, count, closed) in [(vec![ours], 2, 0), (vec![other.clone(), second], 2, 0), (vec![other], 1, 1), (vec![], 1, 1)] {
            let found = read_all(folder.path(), &Identities(keys)).expect("reads");
            assert_eq!((found.messages.len(), found.closed), (count, closed));
        }
    }
}
