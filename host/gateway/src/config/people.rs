//! `[auth]` and `[recipients]`: who may send from anywhere, and who is there to be written to.

use super::finding::Code;
use super::reader::Section;
use super::reader::{Refusal, Setting};
use super::tree::Node;
use std::path::PathBuf;
use std::time::Duration;

/// `[auth]`. Users authenticate on `submit` listeners, over TLS only (RFC 4954).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// `users`: file with a line for each user, which `secmx user NAME` writes. Default none: nobody can authenticate.
    pub users: Option<PathBuf>,
}

/// `[recipients]`: which addresses of `domains` exist. Without it all do, as far as this gateway knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients {
    /// `list`: file with an address a line, or `@domain` for all of a domain; any other recipient of `domains` is refused with 550 5.1.1.
    /// Read again at each reload. Default none.
    pub list: Option<PathBuf>,
    /// `ask`: whether the host in `deliver_to` is asked with RCPT whether it would take mail for a recipient; one that it refuses for good is
    /// refused here with 550 5.1.1. Default `false`.
    pub ask: bool,
    /// `unsure`: what becomes of a recipient when that host could not tell: `"defer"` (451 4.4.3, so that the client keeps the mail) or
    /// `"accept"`. Default `"defer"`. It never means that there is no such recipient.
    pub unsure: Unsure,
    /// `positive`: how long it is remembered that a recipient is there. Default `"6h"`.
    pub positive: Duration,
    /// `negative`: how long it is remembered that one is not there. Default `"10m"`.
    pub negative: Duration,
    /// `patience`: how long that host may take for all of its answer. Default `"10s"`.
    pub patience: Duration,
}

/// `recipients.unsure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unsure {
    /// The client is to come back.
    #[default]
    Defer,
    /// The recipient is taken.
    Accept,
}

impl Setting for Unsure {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("defer", Self::Defer), ("accept", Self::Accept)])
    }
}

impl Default for Recipients {
    fn default() -> Self {
        Self {
            list: None,
            ask: false,
            unsure: Unsure::default(),
            positive: Duration::from_secs(6 * 3600),
            negative: Duration::from_secs(600),
            patience: Duration::from_secs(10),
        }
    }
}

impl Auth {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { users: named_file(section, "users") }
    }
}

impl Recipients {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let found = Self {
            list: named_file(section, "list"),
            ask: section.or("ask", default.ask),
            unsure: section.or("unsure", default.unsure),
            positive: section.or("positive", default.positive),
            negative: section.or("negative", default.negative),
            patience: section.or("patience", default.patience),
        };
        if found.list.is_some() && found.ask {
            let message = "`recipients.ask` has no effect beside `recipients.list`: the list knows";
            section.reader.warn(section.span_of("ask"), Code::NoEffect, message);
        }
        found
    }
}

/// The path of a file that can be read.
fn named_file(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let path = section.path(key)?;
    section.reader.must_open(section.span_of(key), &path);
    Some(path)
}
