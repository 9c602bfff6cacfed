//! What the gateway cannot look into, no content policy has checked: encrypted mail, archives and documents are held or refused.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Action, Content, Message, Opacity, Part, Ruling, Session, Setup, settings};

/// The policy.
pub struct OpaqueContent;

secmx_guest::export!(OpaqueContent: setup, content);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", default, deny_unknown_fields)]
struct Settings {
    action: Action,
    kinds: Vec<Kind>,
    /// What becomes of a message that mail readers read in different ways; without a word it passes.
    ambiguous: Option<Action>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(crate = "secmx_guest::serde", rename_all = "lowercase")]
enum Kind {
    Smime,
    Openpgp,
    Archive,
    Document,
    Unreadable,
}

impl Default for Settings {
    fn default() -> Self {
        use Kind::{Archive, Document, Openpgp, Smime, Unreadable};
        Self { action: Action::Hold, kinds: [Smime, Openpgp, Archive, Document, Unreadable].into(), ambiguous: None }
    }
}

impl Setup for OpaqueContent {
    fn check() -> Result<(), String> {
        settings::<Settings>().map(drop)
    }
}

impl Content for OpaqueContent {
    fn inspect(_: &Session, message: &Message) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        for part in message.parts() {
            let seen = described(part.opacity).or_else(|| unread(message, &part, &settings));
            if let Some((kind, code, what)) = seen.filter(|(kind, _, _)| settings.kinds.contains(kind)) {
                return object(message, &part, settings.action, kind, code, what);
            }
        }
        match (settings.ambiguous, message.ambiguities().first()) {
            (Some(action), Some(odd)) => {
                let text = "mail programs would read this message in different ways, so that it cannot be checked";
                action.ruling("opaque.ambiguous", &format!("{text} ({}, part {})", odd.what, odd.part))
            }
            _ => Ruling::Pass,
        }
    }
}

/// Its setting, the code of its reason, and what the sender calls it.
fn described(opacity: Opacity) -> Option<(Kind, &'static str, &'static str)> {
    match opacity {
        Opacity::Clear => None,
        Opacity::SmimeEnveloped => Some((Kind::Smime, "opaque.smime", "S/MIME encryption")),
        Opacity::Openpgp => Some((Kind::Openpgp, "opaque.openpgp", "OpenPGP encryption")),
        Opacity::EncryptedArchive => Some((Kind::Archive, "opaque.archive", "an archive with a password")),
        Opacity::EncryptedDocument => Some((Kind::Document, "opaque.document", "a document with a password")),
        Opacity::Unreadable => Some((Kind::Unreadable, "opaque.unreadable", "content that could not be read")),
    }
}

/// A document whose text did not all come out. Asking reads it, so that it is asked only where it counts.
fn unread(message: &Message, part: &Part, settings: &Settings) -> Option<(Kind, &'static str, &'static str)> {
    let counts = settings.kinds.contains(&Kind::Unreadable);
    let shortfall = counts.then(|| message.shortfall(part.index)).flatten()?;
    Some((
        Kind::Unreadable,
        "opaque.unreadable",
        if shortfall == "damaged" { "a damaged document" } else { "a document that is too large to be read" },
    ))
}

fn object(message: &Message, part: &Part, action: Action, kind: Kind, code: &str, what: &str) -> Ruling {
    let name = part.file_name.as_deref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    message.add_evidence(part.index, 0, &format!("{what}{name}"));
    let advice = match kind {
        Kind::Unreadable => "Please send it in another form.",
        _ => "Please send it without; ask your mail administrator for an encrypted connection instead.",
    };
    action.ruling(code, &format!("part {}{name} has {what}, which cannot be checked here. {advice}", part.index))
}
