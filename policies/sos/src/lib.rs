//! SOS, secure only sender: "If it cannot find a BER or SOR, it will bounce the email" (draft, section 5).
//!
//! SecMX hosts at the floor, then mail exchangers at the floor, then a bounce; never anything below the floor (L2-4, L2-5). What
//! cannot be known now may be known later: such a message waits, at most `max_wait` (decision 7).
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::string::String;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Answer, Destination, Exhausted, Level, Ruling, Sender, SenderRole, Setup, Source, host, settings};

/// The policy.
pub struct SecureOnlySender;

secmx_guest::export!(SecureOnlySender: setup, sender);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", default, deny_unknown_fields)]
struct Settings {
    accept: Accept,
    floor: Floor,
    /// Seconds after which a message that could not be sent for unknown reasons is returned; 0 is the letter of the draft.
    max_wait: u32,
}

/// "An MX that offers STARTTLS is a BER; `sos.accept` = any-tls (default) or srv-only" (decision 4).
#[derive(Deserialize, PartialEq)]
#[serde(crate = "secmx_guest::serde", rename_all = "kebab-case")]
enum Accept {
    AnyTls,
    SrvOnly,
}

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", rename_all = "lowercase")]
enum Floor {
    Encrypted,
    Host,
    Domain,
}

impl Default for Settings {
    fn default() -> Self {
        Self { accept: Accept::AnyTls, floor: Floor::Host, max_wait: 86_400 }
    }
}

impl Settings {
    fn floor(&self) -> Level {
        match self.floor {
            Floor::Encrypted => Level::Encrypted,
            Floor::Host => Level::Host,
            Floor::Domain => Level::Domain,
        }
    }
}

impl Setup for SecureOnlySender {
    fn check() -> Result<(), String> {
        settings::<Settings>().map(drop)
    }
}

impl Sender for SecureOnlySender {
    fn route(destination: &Destination) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        destination.set_role(SenderRole::SecureOnly);
        plan(destination, &settings);
        Ruling::Pass
    }
}

fn plan(destination: &Destination, settings: &Settings) {
    let exchangers = destination.exchangers();
    let attempt = |sources: &[Source]| {
        for host in exchangers.iter().filter(|host| sources.contains(&host.source)) {
            destination.attempt(host.index, settings.floor());
        }
    };
    attempt(&[Source::Configured]);
    let waits = waits_for_srv(destination);
    if !waits {
        attempt(&[Source::SecmxSrv, Source::SmtpTlsSrv]);
        if settings.accept == Accept::AnyTls {
            attempt(&[Source::Mx, Source::AddressRecord]);
        }
    }
    let bounce = || Exhausted::bounce("secmx.no-secure-exchanger", "no host of the domain takes mail as securely as this message needs");
    let later = || if destination.waited() >= settings.max_wait { bounce() } else { Exhausted::Defer };
    destination.when_unknown(&later());
    destination.when_proved(&if is_known(destination, settings) { bounce() } else { later() });
}

/// Whether DNS told everything that a proof of absence rests on: "unknown" and "bogus" are never "none".
fn is_known(destination: &Destination, settings: &Settings) -> bool {
    let known = |answer| !matches!(answer, Answer::Unknown | Answer::Bogus);
    known(destination.secmx()) && (settings.accept == Accept::SrvOnly || known(destination.mx()))
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
