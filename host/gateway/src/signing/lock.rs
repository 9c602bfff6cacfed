//! `policies.lock`: which component each policy is, who signed it, and what it was granted, as somebody looked at it.
//!
//! The components themselves are kept beside the lock, in `policies.lock.d`, so that the version before is one command away.

use super::signature::{Signature, Subject};
use super::trouble::Trouble;
use anyhow::{Context, Result};
use secmx_policy::manifest::Grant;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Versions that are kept to go back to.
const PREVIOUS: usize = 5;

const HEAD: &str = "# Written by `secmx policy lock`. Nothing else is loaded where [policies] keys are set.\n\n";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// One for each policy.
    #[serde(default, rename = "policy")]
    pub policies: Vec<Locked>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Name of the `[[policy]]`.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub pinned: Pinned,
    /// What it may use.
    #[serde(default)]
    pub grant: Grant,
    /// What it was before, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<Pinned>,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Name that is embedded in it.
    pub policy: String,
    /// Version, likewise.
    pub version: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Name of the key that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

impl Pinned {
    /// A component, and who signed it.
    pub fn new(subject: Subject, signer: Option<String>) -> Self {
        let Subject { name, version, sha256 } = subject;
        Self { policy: name, version, sha256, signer }
    }

    /// `no-secrets 0.3.1 (sha256 9f2c1a…)`.
    pub fn title(&self) -> String {
        format!("{} {} (sha256 {}…)", self.policy, self.version, self.sha256.get(..12).unwrap_or(&self.sha256))
    }
}

/// What locking a policy did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    New,
    /// It is as it was.
    Same,
    /// It was this.
    From(Pinned),
    /// The component stayed, and what it may use changed.
    Grant,
}

impl Lock {
    /// Reads it; `None` where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, Trouble> {
        let unreadable = |why: String| Trouble::Unreadable(path.to_owned(), why);
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map(Some).map_err(|error| unreadable(error.message().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = toml::to_string(self).context("the lock cannot be written")?;
        replace(path, (HEAD.to_owned() + &text).as_bytes())
    }

    /// One policy.
    pub fn get(&self, name: &str) -> Option<&Locked> {
        self.policies.iter().find(|locked| locked.name == name)
    }

    /// Takes a policy in.
    pub fn put(&mut self, name: &str, pinned: Pinned, grant: Grant) -> Change {
        let Some(locked) = self.policies.iter_mut().find(|locked| locked.name == name) else {
            self.policies.push(Locked { name: name.to_owned(), pinned, grant, previous: Vec::new() });
            return Change::New;
        };
        let granted = std::mem::replace(&mut locked.grant, grant) != locked.grant;
        if locked.pinned.sha256 == pinned.sha256 {
            locked.pinned = pinned;
            return if granted { Change::Grant } else { Change::Same };
        }
        let old = std::mem::replace(&mut locked.pinned, pinned);
        locked.previous.retain(|one| one.sha256 != locked.pinned.sha256 && one.sha256 != old.sha256);
        locked.previous.insert(0, old.clone());
        locked.previous.truncate(PREVIOUS);
        Change::From(old)
    }
}

/// Where the components of a lock are kept.
pub struct Cellar(PathBuf);

impl Cellar {
    /// Beside this lock.
    pub fn of(lock: &Path) -> Self {
        Self(PathBuf::from(format!("{}.d", lock.display())))
    }

    fn place(&self, sha256: &str) -> PathBuf {
        self.0.join(format!("{sha256}.wasm"))
    }

    /// Keeps a component, with its signature when it has one.
    pub fn keep(&self, component: &Path, octets: &[u8], sha256: &str) -> Result<()> {
        fs::create_dir_all(&self.0).with_context(|| format!("cannot make {}", self.0.display()))?;
        replace(&self.place(sha256), octets)?;
        match fs::read(Signature::beside(component)) {
            Ok(signature) => replace(&Signature::beside(&self.place(sha256)), &signature),
            Err(_) => Ok(()),
        }
    }

    /// Puts a component, with its signature, where the configuration looks for it.
    pub fn bring_back(&self, sha256: &str, to: &Path) -> Result<()> {
        let place = self.place(sha256);
        let octets = fs::read(&place).with_context(|| format!("cannot read {}, where the version before was kept", place.display()))?;
        let signature = Signature::beside(to);
        match fs::read(Signature::beside(&place)) {
            Ok(octets) => replace(&signature, &octets)?,
            Err(_) => drop(fs::remove_file(&signature)),
        }
        replace(to, &octets)
    }
}

/// Writes a file beside its place and moves it there, so that nobody ever reads half of it.
fn replace(path: &Path, octets: &[u8]) -> Result<()> {
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
