//! BES, best effort sender: "will attempt to transfer all mail securely" (draft, section 5), and falls back when that cannot be had.
//!
//! SecMX hosts over TLS, then mail exchangers over TLS, then mail exchangers as they are (L2-2). Never a SecMX host in plaintext
//! (decision 2), never plaintext while a SecMX host may still answer within `secure_wait` (decision 1).
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::string::String;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Answer, Destination, Exhausted, Level, Ruling, Sender, SenderRole, Setup, Source, host, settings};

/// "TLS-first across the MX list is capped at 5 hosts" (decision 3).
const SECURE_FIRST_MAX: usize = 5;

/// The policy.
pub struct BestEffortSender;

secmx_guest::export!(BestEffortSender: setup, sender);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", default, deny_unknown_fields)]
struct Settings {
    /// Seconds during which plaintext waits for SecMX hosts that are published; 0 is the letter of the draft.
    secure_wait: u32,
    plaintext: Plaintext,
}

#[derive(Deserialize, PartialEq)]
#[serde(crate = "secmx_guest::serde", rename_all = "lowercase")]
enum Plaintext {
    Allow,
    Deny,
}

impl Default for Settings {
    fn default() -> Self {
        Self { secure_wait: 600, plaintext: Plaintext::Allow }
    }
}

impl Setup for BestEffortSender {
    fn check() -> Result<(), String> {
        settings::<Settings>().map(drop)
    }
}

impl Sender for BestEffortSender {
    fn route(destination: &Destination) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        destination.set_role(SenderRole::BestEffort);
        plan(destination, &settings);
        Ruling::Pass
    }
}

fn plan(destination: &Destination, settings: &Settings) {
    let exchangers = destination.exchangers();
    let hosts = |sources: &'static [Source]| exchangers.iter().filter(move |host| sources.contains(&host.source)).map(|host| host.index);
    let secmx = || hosts(&[Source::SecmxSrv, Source::SmtpTlsSrv]);
    let mx = || hosts(&[Source::Mx, Source::AddressRecord]);
    let allowed = settings.plaintext == Plaintext::Allow;

    let least = if allowed { Level::Plain } else { Level::Encrypted };
    hosts(&[Source::Configured]).for_each(|host| destination.attempt(host, least));
    if waits_for_srv(destination) {
        return;
    }
    let published = !matches!(destination.secmx(), Answer::None | Answer::Denied);
    let plaintext = allowed && (!published || destination.waited() >= settings.secure_wait);
    let secure_first = if plaintext { SECURE_FIRST_MAX } else { usize::MAX };
    secmx().for_each(|host| destination.attempt(host, Level::Encrypted));
    mx().take(secure_first).for_each(|host| destination.attempt(host, Level::Encrypted));
    if plaintext {
        mx().for_each(|host| destination.attempt(host, Level::Plain));
    }
    if exchangers.is_empty() && !published {
        match destination.mx() {
            Answer::Denied => destination.when_proved(&Exhausted::bounce("secmx.null-mx", "the domain takes no mail (null MX)")),
            Answer::None => destination.when_proved(&Exhausted::bounce("secmx.no-exchanger", "the domain has no host that takes mail")),
            Answer::Found | Answer::Unknown | Answer::Bogus => {}
        }
    }
}

/// "SRV time-out or SERVFAIL is unknown, not none: defer up to 2 attempts / 10 min, then MX, counted. Bogus never falls through"
/// (decision 6).
fn waits_for_srv(destination: &Destination) -> bool {
    match destination.secmx() {
        Answer::Bogus => true,
        Answer::Unknown if destination.attempts() < 2 && destination.waited() < 600 => true,
        Answer::Unknown => {
            host::count("srv-unknown-went-on", 1);
            false
        }
        Answer::Found | Answer::None | Answer::Denied => false,
    }
}
