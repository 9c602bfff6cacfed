//! Rulings in one line.

use crate::{Exhausted, Reason, Reply, Ruling};
use alloc::borrow::ToOwned;

/// Enhanced status (RFC 3463): class, subject, detail. The class must be the first digit of the reply code.
pub type Status = (u8, u16, u16);

impl Reason {
    /// `code` is stable, dotted, lower case; `text` is one sentence for people.
    pub fn new(code: &str, text: &str) -> Self {
        Self { code: code.to_owned(), text: text.to_owned() }
    }
}

impl Ruling {
    /// Yes, and no later policy of this interface is asked.
    pub fn accept(code: &str, text: &str) -> Self {
        Self::Accept(Reason::new(code, text))
    }

    /// A 5yz reply: `Ruling::reject(550, (5, 7, 1), "not here", "rule.name")`. The text goes to the client.
    pub fn reject(reply: u16, status: Status, text: &str, code: &str) -> Self {
        Self::Reject((Reply { code: reply, enhanced: status, text: text.to_owned() }, Reason::new(code, text)))
    }

    /// A 4yz reply. The text goes to the client.
    pub fn defer(reply: u16, status: Status, text: &str, code: &str) -> Self {
        Self::Defer((Reply { code: reply, enhanced: status, text: text.to_owned() }, Reason::new(code, text)))
    }

    /// Taken, kept for a person, not delivered.
    pub fn quarantine(code: &str, text: &str) -> Self {
        Self::Quarantine(Reason::new(code, text))
    }

    /// Taken and dropped.
    pub fn discard(code: &str, text: &str) -> Self {
        Self::Discard(Reason::new(code, text))
    }
}

impl Exhausted {
    /// The message is returned with this reason.
    pub fn bounce(code: &str, text: &str) -> Self {
        Self::Bounce(Reason::new(code, text))
    }
}
