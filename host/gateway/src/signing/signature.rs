//! A signature in a file of its own, beside the component: `NAME.wasm.sig`.
//!
//! It covers the digest of the component, and name and version as they are embedded in it.

use super::key::{PublicKey, SigningKey};
use super::trouble::Trouble;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secmx_policy::manifest::embed;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// What every signature is for, so that it is good for nothing else.
const PURPOSE: &str = "secmx/signature/v1";

/// What a signature speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Name that is embedded in the component.
    pub name: String,
    /// Version, likewise.
    pub version: String,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    schema: String,
    /// Name of the policy.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
    /// The name of the key; a hint only.
    pub key: String,
    signature: String,
}

impl Subject {
    /// What a component is. Errors when nothing is embedded in it.
    pub fn of(component: &[u8], path: &Path) -> Result<Self, Trouble> {
        let sha256 = Sha256::digest(component).iter().map(|octet| format!("{octet:02x}")).collect();
        match embed::manifest(component) {
            Ok(Some(manifest)) => Ok(Self { name: manifest.policy.name, version: manifest.policy.version, sha256 }),
            Ok(None) => Err(Trouble::Nameless(path.to_owned())),
            Err(why) => Err(Trouble::NoComponent(path.to_owned(), why)),
        }
    }

    fn signed(&self) -> Vec<u8> {
        format!("{PURPOSE}\n{}\n{}\n{}\n", self.name, self.version, self.sha256).into_bytes()
    }
}

impl Signature {
    /// Where the signature of a component lies.
    pub fn beside(component: &Path) -> PathBuf {
        PathBuf::from(format!("{}.sig", component.display()))
    }

    /// Signs.
    pub fn make(subject: &Subject, key: &SigningKey) -> anyhow::Result<Self> {
        let Subject { name, version, sha256 } = subject.clone();
        let signature = STANDARD.encode(key.sign(&subject.signed()));
        Ok(Self { schema: PURPOSE.to_owned(), name, version, sha256, key: key.public()?.to_string(), signature })
    }

    /// As it is written to its file.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads the signature of a component.
    pub fn read(component: &Path) -> Result<Self, Trouble> {
        let path = Self::beside(component);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Trouble::Unsigned(component.to_owned())),
            Err(error) => return Err(Trouble::Unreadable(path, error.to_string())),
        };
        match serde_json::from_str::<Self>(&text) {
            Ok(signature) if signature.schema == PURPOSE => Ok(signature),
            Ok(other) => Err(Trouble::Unreadable(path, format!("its schema is {:?}, expected {PURPOSE:?}", other.schema))),
            Err(error) => Err(Trouble::Unreadable(path, error.to_string())),
        }
    }

    /// Which of the keys made it for this component.
    pub fn check<'a>(&self, subject: &Subject, component: &Path, keys: &'a [PublicKey]) -> Result<&'a PublicKey, Trouble> {
        if self.sha256 != subject.sha256 {
            return Err(Trouble::Changed(component.to_owned()));
        }
        let octets = STANDARD.decode(&self.signature).unwrap_or_default();
        if let Some(key) = keys.iter().find(|key| key.verifies(&subject.signed(), &octets)) {
            return Ok(key);
        }
        match keys.iter().any(|key| key.to_string() == self.key) {
            true => Err(Trouble::Forged(component.to_owned())),
            false => Err(Trouble::Stranger(component.to_owned(), self.key.clone())),
        }
    }
}
