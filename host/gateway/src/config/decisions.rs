//! `[decisions]`: what policies decided, one line for each ruling, in a file of its own.

use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use super::value::Size;
use std::path::{Path, PathBuf};

/// `[decisions]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decisions {
    /// `enabled`: whether decisions are written down. Default true.
    pub enabled: bool,
    /// `file`: the file, one JSON object a line (schema `secmx/decision/v1`). A relative path is relative to the configuration file.
    /// Default `decisions.jsonl` in `paths.state`.
    pub file: PathBuf,
    /// `redact`: what is left out or shortened before it is written: `"subject"`, `"client"`, `"from.local"` and `"rcpt.local"` (of the
    /// part before the @ its first character stays). Default `["subject", "rcpt.local"]`.
    pub redact: Vec<Redacted>,
    /// `evidence`: `"masked"` shows of what a policy quotes at most the first four characters, `"full"` all of it, 80 characters at most.
    /// Default `"masked"`.
    pub evidence: Evidence,
    /// `buffer`: lines about messages that were let through which may wait to be written. All other lines wait in the queue's own store
    /// and are not counted. Default 10000.
    pub buffer: usize,
    /// `on_full`: what happens when they are more: `"drop-oldest"`, counted as lost, or `"block"`: sessions wait. Default `"drop-oldest"`.
    pub on_full: OnFull,
    /// `rotate`: size at which a new file is begun; the old one gets `.1` behind its name. Default `"100MiB"`; octets here.
    pub rotate_octets: u64,
    /// `keep`: old files that are kept. Default 10.
    pub keep: u32,
}

/// `decisions.redact`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redacted {
    /// The subject.
    Subject,
    /// Address of the client.
    Client,
    /// Who of the sender's domain.
    From,
    /// Who of the recipients' domains.
    Recipient,
}

/// `decisions.evidence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Evidence {
    /// Its beginning.
    #[default]
    Masked,
    /// All of it.
    Full,
}

/// `decisions.on_full`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// The oldest line goes.
    #[default]
    DropOldest,
    /// Whoever has a new one waits.
    Block,
}

impl Setting for Redacted {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("subject", Self::Subject), ("client", Self::Client), ("from.local", Self::From), ("rcpt.local", Self::Recipient)])
    }
}

impl Setting for Evidence {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("masked", Self::Masked), ("full", Self::Full)])
    }
}

impl Setting for OnFull {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("drop-oldest", Self::DropOldest), ("block", Self::Block)])
    }
}

impl Decisions {
    pub(super) fn read(section: &mut Section<'_>, state: &Path) -> Self {
        Self {
            enabled: section.or("enabled", true),
            file: section.path("file").unwrap_or_else(|| state.join("decisions.jsonl")),
            redact: section.or("redact", vec![Redacted::Subject, Redacted::Recipient]),
            evidence: section.or("evidence", Evidence::Masked),
            buffer: section.or("buffer", 10_000),
            on_full: section.or("on_full", OnFull::DropOldest),
            rotate_octets: section.or("rotate", Size(100 << 20)).0,
            keep: section.or("keep", 10),
        }
    }

    /// Whether subjects are written.
    pub fn shows_subject(&self) -> bool {
        !self.redact.contains(&Redacted::Subject)
    }

    /// Whether a running gateway can go from this to that: not where its lines go.
    pub(super) fn same_place(&self, new: &Self) -> bool {
        let place = |one: &Self| Self { redact: Vec::new(), evidence: Evidence::Masked, enabled: true, ..one.clone() };
        place(self) == place(new)
    }
}
