//! Forged mail is treated as the domain of its author asks for (RFC 9989). The gateway judges; this decides what follows.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Action, Content, Message, Ruling, Session, Setup, settings};

/// The policy.
pub struct Dmarc;

secmx_guest::export!(Dmarc: setup, content);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", default, deny_unknown_fields)]
struct Settings {
    reject: Answer,
    quarantine: Answer,
    malformed: Answer,
    unsure: Unsure,
    /// Addresses of clients whose mail passes.
    forwarders: Vec<String>,
    /// Domains that are believed when they seal what they send on.
    sealers: Vec<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(crate = "secmx_guest::serde", rename_all = "lowercase")]
enum Answer {
    Pass,
    Hold,
    Reject,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(crate = "secmx_guest::serde", rename_all = "lowercase")]
enum Unsure {
    Pass,
    Defer,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reject: Answer::Reject,
            quarantine: Answer::Hold,
            malformed: Answer::Pass,
            unsure: Unsure::Pass,
            forwarders: Vec::new(),
            sealers: Vec::new(),
        }
    }
}

impl Setup for Dmarc {
    fn check() -> Result<(), String> {
        settings::<Settings>().map(drop)
    }
}

impl Content for Dmarc {
    fn inspect(session: &Session, message: &Message) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        if settings.forwarders.contains(&session.client_address()) {
            return Ruling::Pass;
        }
        let Some(result) = session.authentication_result("dmarc") else { return Ruling::Pass };
        message.set_tag("dmarc", &result);
        match result.as_str() {
            "fail" if is_vouched_for(session, &settings.sealers) => Ruling::Pass,
            "fail" => failed(&settings, session.authentication_result("dmarc-policy").as_deref()),
            "temperror" if settings.unsure == Unsure::Defer => {
                let text =
                    "it cannot be told now whether this message is from its author's domain, because DNS did not answer; try again later";
                Ruling::defer(451, (4, 7, 1), text, "dmarc.unsure")
            }
            "permerror" => {
                let text = "it cannot be told whose this message is (DMARC). Please send it with one address in From; if it has one, ask that \
                            domain's administrator to look at its DMARC record.";
                settings.malformed.ruling("dmarc.malformed", text)
            }
            _ => Ruling::Pass,
        }
    }
}

/// Whether the message was good before it was sent on, by a chain (ARC, RFC 8617) that holds and of which every link is believed: one that
/// is not could have written what stands before it.
fn is_vouched_for(session: &Session, sealers: &[String]) -> bool {
    let result = |method| session.authentication_result(method).unwrap_or_default();
    let is_believed = |domain: &str| sealers.iter().any(|one| one.eq_ignore_ascii_case(domain));
    !sealers.is_empty() && result("arc") == "pass" && result("arc-dmarc") == "pass" && result("arc-sealers").split(' ').all(is_believed)
}

fn failed(settings: &Settings, asked: Option<&str>) -> Ruling {
    const WHY: &str = "neither SPF nor DKIM shows that this message is from its author's domain, which asks for such messages to be";
    const ADVICE: &str = "If you are its author, send it through your domain's own mail server.";
    match asked {
        Some("reject") => settings.reject.ruling("dmarc.reject", &alloc::format!("{WHY} refused (DMARC). {ADVICE}")),
        Some("quarantine") => settings.quarantine.ruling("dmarc.quarantine", &alloc::format!("{WHY} treated with care (DMARC). {ADVICE}")),
        _ => Ruling::Pass,
    }
}

impl Answer {
    fn ruling(self, code: &str, text: &str) -> Ruling {
        match self {
            Self::Pass => Ruling::Pass,
            Self::Hold => Action::Hold.ruling(code, text),
            Self::Reject => Action::Reject.ruling(code, text),
        }
    }
}
