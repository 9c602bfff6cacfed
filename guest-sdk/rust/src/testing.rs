//! Asks a policy outside the gateway, under `cargo test`: settings, lists, time, store and DNS are the test's, and so are the facts.
//!
//! On every target but WebAssembly, [`Session`], [`Message`] and [`Destination`] are plain values: a field for each fact that a method
//! of the same name answers, and `calls` with what the policy did, each line written as the policy wrote it.
//!
//! ```
//! use secmx_guest::testing::Gateway;
//! use secmx_guest::{Destination, Ruling, Sender, SenderRole};
//!
//! struct Careful;
//!
//! impl Sender for Careful {
//!     fn route(destination: &Destination) -> Ruling {
//!         if secmx_guest::host::in_list("careful", &destination.domain()) {
//!             destination.set_role(SenderRole::SecureOnly);
//!         }
//!         Ruling::Pass
//!     }
//! }
//!
//! let mut gateway = Gateway { lists: vec![("careful".into(), vec!["health.test".into()])], ..Gateway::new("{}") };
//! let destination = Destination { domain: "health.test".into(), ..Destination::default() };
//! assert_eq!(gateway.ask(|| Careful::route(&destination)), Ruling::Pass);
//! assert_eq!(destination.calls.lines(), ["set_role(SenderRole::SecureOnly)"]);
//! ```

mod calls;
mod destination;
mod message;
mod session;

pub use calls::Calls;
pub use destination::Destination;
pub use message::{Body, Message};
pub use session::Session;

use crate::dns;
use crate::host::Severity;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::cell::RefCell;

/// What a policy is offered beside the facts, and what it did with it.
#[derive(Debug, Clone, Default)]
pub struct Gateway {
    /// The policy's settings, JSON.
    pub settings: String,
    /// Lists by name, with their members in lower case.
    pub lists: Vec<(String, Vec<String>)>,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub now: u64,
    /// What DNS answers to a name and a kind of record. What is not given ends the test.
    pub dns: BTreeMap<(String, String), Result<Vec<String>, dns::Failure>>,
    /// What the store holds, before and behind the question.
    pub store: BTreeMap<String, Vec<u8>>,
    /// What the policy wrote, with its severity.
    pub log: Vec<(Severity, String)>,
    /// What the policy counted.
    pub counts: BTreeMap<String, u64>,
}

std::thread_local! {
    static ASKING: RefCell<Gateway> = RefCell::new(Gateway::new("{}"));
}

impl Gateway {
    /// Settings are JSON, as the gateway hands them over. There is nothing else: no list, no record, an empty store, the year 1970.
    pub fn new(settings: &str) -> Self {
        Self { settings: settings.into(), ..Self::default() }
    }

    /// Asks one question: `gateway.ask(|| MyPolicy::inspect(&session, &message))`. A panic of the policy, which the real gateway takes
    /// for a fault, is a panic here.
    pub fn ask<R>(&mut self, question: impl FnOnce() -> R) -> R {
        let before = ASKING.replace(core::mem::take(self));
        let back = Back { gateway: self, before };
        let answer = question();
        drop(back);
        answer
    }
}

/// Gives the gateway back to the test, also behind a panic.
struct Back<'a> {
    gateway: &'a mut Gateway,
    before: Gateway,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        *self.gateway = ASKING.replace(core::mem::take(&mut self.before));
    }
}

fn asking<R>(with: impl FnOnce(&mut Gateway) -> R) -> R {
    ASKING.with_borrow_mut(with)
}

/// What stands for the interface `host`.
pub(crate) mod host {
    use super::{Severity, String, ToString, asking};

    /// Writes a line to the log.
    pub fn log(severity: Severity, text: &str) {
        asking(|gateway| gateway.log.push((severity, text.to_string())));
    }

    /// This policy's settings, JSON.
    pub(crate) fn settings() -> String {
        asking(|gateway| gateway.settings.clone())
    }

    /// Whether a list that the configuration names has this member, whatever its case.
    pub fn in_list(name: &str, value: &str) -> bool {
        let list = asking(|gateway| gateway.lists.iter().find(|(known, _)| known == name).map(|(_, members)| members.clone()));
        // Behind the borrow, so that the test can go on.
        list.unwrap_or_else(|| panic!("the test names no list `{name}`")).contains(&value.to_lowercase())
    }

    /// Seconds since 1970-01-01T00:00:00Z, the same during one question.
    pub fn now() -> u64 {
        asking(|gateway| gateway.now)
    }

    /// Adds to a counter of the metrics.
    pub fn count(name: &str, by: u64) {
        asking(|gateway| *gateway.counts.entry(name.to_string()).or_default() += by);
    }
}

/// What stands for the interface `store`. Nothing is forgotten, and there is room for everything.
pub(crate) mod store {
    use super::{String, ToString, Vec, asking};

    /// What is kept under a key.
    pub fn get(key: &str) -> Option<Vec<u8>> {
        asking(|gateway| gateway.store.get(key).cloned())
    }

    /// Keeps a value, for `ttl` seconds where that is given.
    pub fn set(key: &str, value: &[u8], _ttl: Option<u32>) -> Result<(), String> {
        asking(|gateway| gateway.store.insert(key.to_string(), value.to_vec()));
        Ok(())
    }

    /// Adds to a number, which is 0 where there is none, and gives the sum.
    pub fn increment(key: &str, by: i64, _ttl: Option<u32>) -> Result<i64, String> {
        let held = get(key).unwrap_or_else(|| b"0".to_vec());
        let number = core::str::from_utf8(&held).ok().and_then(|text| text.parse::<i64>().ok());
        let sum = number.ok_or_else(|| alloc::format!("{key:?} holds no number"))?.saturating_add(by);
        asking(|gateway| gateway.store.insert(key.to_string(), sum.to_string().into_bytes()));
        Ok(sum)
    }
}

/// What stands for the interface `dns`. No answer is secure.
pub(crate) mod names {
    use super::{ToString, asking, dns};

    /// What DNS answers to a name and a kind of record such as `TXT`.
    pub fn query(name: &str, kind: &str) -> Result<dns::Answer, dns::Failure> {
        let given = asking(|gateway| gateway.dns.get(&(name.to_string(), kind.to_string())).cloned());
        let given = given.unwrap_or_else(|| panic!("the test does not say what DNS answers to {name} {kind}"));
        given.map(|values| dns::Answer { values, secure: false })
    }
}
