//! What a build needs of `policy.toml`: which interfaces the policy answers.

use crate::BuildError;
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// What a component can export (`wit/questions.wit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// `check`
    Setup,
    /// `greet`, `mail`, `recipient`
    Receiver,
    /// `inspect`
    Content,
    /// `route`, `admit`
    Sender,
}

impl Interface {
    /// Its name in WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Receiver => "receiver",
            Self::Content => "content",
            Self::Sender => "sender",
        }
    }

    /// The questions of it.
    pub fn questions(self) -> &'static [&'static str] {
        match self {
            Self::Setup => &["check"],
            Self::Receiver => &["greet", "mail", "recipient"],
            Self::Content => &["inspect"],
            Self::Sender => &["route", "admit"],
        }
    }
}

/// What a component may import only where `[capabilities]` declares it (`wit/host.wit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Power {
    /// A small memory.
    Store,
    /// Look-ups.
    Dns,
}

impl Power {
    /// Its name in WIT, and in `[capabilities]`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Dns => "dns",
        }
    }
}

/// The part of `policy.toml` that matters here; everything else is left to its other readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Name of the policy.
    pub name: String,
    /// What it answers, each once.
    pub interfaces: Vec<Interface>,
    /// What it declares to use beside the facts.
    pub powers: Vec<Power>,
}

#[derive(Deserialize)]
struct File {
    policy: Table,
    #[serde(default)]
    capabilities: toml::Table,
}

#[derive(Deserialize)]
struct Table {
    name: String,
    interfaces: Vec<Interface>,
}

impl Manifest {
    /// Reads `policy.toml` in `folder`.
    pub fn read(folder: &Path) -> Result<Self, BuildError> {
        let path = folder.join("policy.toml");
        let text = fs::read_to_string(&path).map_err(|error| BuildError::file(&path, &error))?;
        let wrong = |detail: String| BuildError::Manifest { path: path.clone(), detail };
        let File { policy: Table { name, mut interfaces }, capabilities } =
            toml::from_str(&text).map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        interfaces.sort_unstable();
        interfaces.dedup();
        if interfaces.iter().all(|interface| *interface == Interface::Setup) {
            return Err(wrong("`interfaces` must name at least one of \"receiver\", \"content\", \"sender\"".into()));
        }
        let powers = [Power::Store, Power::Dns].into_iter().filter(|power| capabilities.contains_key(power.name())).collect();
        Ok(Self { name, interfaces, powers })
    }
}
