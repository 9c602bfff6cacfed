//! Keeps a copy of every message that it is asked about. Which those are, `[policy.when]` says.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Content, Message, Ruling, Session, Setup, settings};

/// The policy.
pub struct Journal;

secmx_guest::export!(Journal: setup, content);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", default, deny_unknown_fields)]
struct Settings {
    /// Names of the journals.
    journals: Vec<String>,
    /// Only messages with one of these tags, when there are any.
    tags: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { journals: ["all".to_string()].into(), tags: Vec::new() }
    }
}

impl Setup for Journal {
    fn check() -> Result<(), String> {
        let settings = settings::<Settings>()?;
        if settings.journals.is_empty() { Err("journals: it names none, so that nothing would be kept".into()) } else { Ok(()) }
    }
}

impl Content for Journal {
    fn inspect(session: &Session, message: &Message) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        let is_marked = |tag: &String| session.tag(tag).or_else(|| message.tag(tag)).is_some();
        if settings.tags.is_empty() || settings.tags.iter().any(is_marked) {
            for name in &settings.journals {
                // A fault makes the mail wait, until the administrator has put the configuration right.
                message.journal(name).unwrap_or_else(|why| panic!("{why}"));
            }
        }
        Ruling::Pass
    }
}
