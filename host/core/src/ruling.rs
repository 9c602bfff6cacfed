//! What is asked of a policy, and what it may answer.
//!
//! A ruling ends a question; effects add up beside it. Effects are values until the call has succeeded and every one of them is valid,
//! then they are applied together or not at all. A policy can raise a requirement, never lower it (invariant 2).

use crate::channel::{Level, Requirement};
use crate::mail::{Envelope, Mailbox, Parameter, ReversePath};
use crate::report::Reply;
use crate::role::{ReceiverRole, SenderRole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why, for people and for statistics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable, dotted, lower case: `dlp.iban`.
    pub code: String,
    /// One sentence.
    pub text: String,
}

/// What ends a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ruling", rename_all = "lowercase")]
pub enum Ruling {
    /// No opinion.
    Pass,
    /// Yes, and no later policy of this interface was asked.
    Accept(Reason),
    /// 5yz while the client is connected.
    Reject {
        /// Reply to the client; its code is 5yz.
        reply: Reply,
        /// Why.
        reason: Reason,
    },
    /// 4yz while the client is connected.
    Defer {
        /// Reply to the client; its code is 4yz.
        reply: Reply,
        /// Why.
        reason: Reason,
    },
    /// Taken, kept for a person, not delivered.
    Quarantine(Reason),
    /// Taken and dropped; always logged.
    Discard(Reason),
}

impl Ruling {
    /// The word for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Accept(_) => "accept",
            Self::Reject { .. } => "reject",
            Self::Defer { .. } => "defer",
            Self::Quarantine(_) => "quarantine",
            Self::Discard(_) => "discard",
        }
    }

    /// Why, unless it passed.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Pass => None,
            Self::Accept(reason) | Self::Quarantine(reason) | Self::Discard(reason) => Some(reason),
            Self::Reject { reason, .. } | Self::Defer { reason, .. } => Some(reason),
        }
    }
}

/// What a receiving session asks while a client talks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The connection opened: on which terms may it talk?
    Greet,
    /// MAIL arrived.
    Mail {
        /// `None` is `<>`.
        reverse_path: ReversePath,
        /// ESMTP parameters as given.
        parameters: Vec<Parameter>,
    },
    /// RCPT arrived.
    Recipient {
        /// From MAIL.
        reverse_path: ReversePath,
        /// The recipient asked about.
        forward_path: Mailbox,
        /// ESMTP parameters as given.
        parameters: Vec<Parameter>,
    },
    /// The message is complete and waits for its reply.
    Content(Envelope),
}

/// Whether a client is asked for a certificate in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// Not asked for. A SecMX role never demands one (L2-7).
    #[default]
    Ignore,
    /// Asked for; a client without one is welcome.
    Request,
    /// A client without one is refused.
    Demand,
}

/// The terms on which a connection may talk. The session enforces them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// BER or SOR.
    pub role: ReceiverRole,
    /// Client certificate.
    pub client_certificate: ClientCertificate,
}

/// A change to a message. Applied together with all others of the same ruling or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// A field put before the existing ones.
    AddField {
        /// `ftext` of RFC 5322, 2.2.
        name: String,
        /// Unfolded, no CR, LF or NUL.
        value: String,
    },
    /// Every field of that name goes, one with the new value comes.
    ReplaceField {
        /// Field name.
        name: String,
        /// Unfolded, no CR, LF or NUL.
        value: String,
    },
    /// Every field of that name goes.
    RemoveField {
        /// Field name.
        name: String,
    },
    /// Octets of the message as it was received give way to others. A later one takes the place of those that it touches.
    ReplaceOctets {
        /// The first of them, from 0.
        start: u64,
        /// The first behind them.
        end: u64,
        /// ASCII, lines end with CRLF.
        with: String,
    },
}

/// Where a policy saw what it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Part index.
    pub part: u32,
    /// Octet offset in the decoded part.
    pub offset: u64,
    /// What stood there, at most 80 characters.
    pub excerpt: String,
}

/// What delivery must meet at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Demand {
    /// Sender role; the stricter of two wins.
    pub role: SenderRole,
    /// Floor; the higher of two wins.
    pub floor: Requirement,
}

impl Demand {
    /// The demand that satisfies both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { role: self.role.max(other.role), floor: self.floor.join(other.floor) }
    }
}

/// Effects of the content question, beside its ruling.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ContentEffects {
    /// Changes to the message, in order.
    pub edits: Vec<Edit>,
    /// Recipients to add, in order.
    pub add_recipients: Vec<Mailbox>,
    /// Recipients to take away.
    pub remove_recipients: Vec<Mailbox>,
    /// What every delivery must meet.
    pub demand: Demand,
    /// Tags for later questions about this message.
    pub tags: BTreeMap<String, String>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// Names of journals that get a copy.
    pub journals: Vec<String>,
}

/// One step of a delivery plan: this exchanger, at least this well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Index into the exchangers that the policy was shown.
    pub exchanger: u32,
    /// The least level.
    pub at_least: Level,
}

/// What happens when every step of a plan failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exhausted {
    /// Try again later.
    Defer,
    /// Return the message.
    Bounce(Reason),
}

/// The delivery plan that a sender policy built. The gateway adds its floors to it; nothing here lowers one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Role under which the message travels.
    pub role: SenderRole,
    /// Steps in the order they are tried.
    pub steps: Vec<Step>,
    /// Every step failed, and it is proved that nothing better exists.
    pub when_proved: Exhausted,
    /// Every step failed, and it could not be told why.
    pub when_unknown: Exhausted,
}

impl Plan {
    /// A plan that tries nothing and waits: what holds until a policy says more.
    pub fn waiting(role: SenderRole) -> Self {
        Self { role, steps: Vec::new(), when_proved: Exhausted::Defer, when_unknown: Exhausted::Defer }
    }
}
