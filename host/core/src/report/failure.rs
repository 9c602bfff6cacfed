//! Why a message was not delivered to a recipient. One [`Failure`] feeds the retry, the bounce and the log.
//!
//! "Could not tell" is never the same variant as "there is none" (invariant 5).

use super::status::{EnhancedStatus, Reply};
use crate::channel::Shortfall;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The extension by which a sender demands TLS of every hop (RFC 8689).
pub const REQUIRETLS: &str = "REQUIRETLS";

/// The extension for content beyond ASCII (RFC 6152).
pub const EIGHT_BIT_MIME: &str = "8BITMIME";

/// What went wrong, where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Host name of the exchanger, when one had been chosen.
    pub exchanger: Option<String>,
    /// Address and port that were dialled, when it came to that.
    pub address: Option<String>,
    /// What went wrong.
    pub cause: Cause,
}

/// Kinds of failure, in the order in which a delivery can meet them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "kebab-case")]
pub enum Cause {
    /// The domain does not exist, or publishes no host that takes mail.
    NoExchanger,
    /// "The domain does not accept mail" (RFC 7505): a null MX.
    NullMx,
    /// We are the best host for the domain, and nothing better is left (RFC 5321, 5.1).
    LoopsToUs,
    /// DNS did not answer, or answered SERVFAIL. Not the same as "none".
    DnsUnknown(String),
    /// DNS answered, and the answer failed DNSSEC validation.
    DnsBogus(String),
    /// No connection: refused, unreachable, timed out, or an address that must not be dialled.
    Unreachable(String),
    /// The connection ended or stalled before the peer had answered.
    Broken(String),
    /// The peer does not speak SMTP as RFC 5321 has it.
    Protocol(String),
    /// The peer refused the session before MAIL.
    Unwelcome(Reply),
    /// The peer finished EHLO and did not offer STARTTLS.
    TlsNotOffered,
    /// The peer offered STARTTLS and then refused it.
    TlsRefused(Reply),
    /// The TLS handshake failed: alert, stall, end of stream, or not TLS at all.
    TlsFailed(String),
    /// TLS stands, but the peer did not prove enough of who it is.
    BelowRequirement(Shortfall),
    /// There are exchangers, and none that may be used under what is required; why, in words.
    NoSecureExchanger(String),
    /// The peer answered `530 5.7.x` to a session in the clear: it needs TLS.
    NeedsTls(Reply),
    /// The peer did not take our login, or was not told it: the operator's to mend, and the message waits.
    LoginFailed(String),
    /// The peer lacks an extension without which this message cannot go (such as SMTPUTF8).
    ExtensionMissing(String),
    /// The peer answered 4yz within the transaction.
    Deferred(Reply),
    /// The peer answered 5yz within the transaction.
    Rejected(Reply),
    /// A policy decided.
    Policy {
        /// Stable dotted code, for statistics.
        code: String,
        /// For people.
        text: String,
    },
    /// An operator gave it up; what the sender is told.
    GivenUp(String),
    /// Ours: a policy fault, the disk, a limit. The message waits.
    Fault(String),
    /// The message stayed in the queue longer than allowed.
    Expired,
}

impl Cause {
    /// Whether TLS was the trouble, so that best effort may fall back (L1-3).
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::TlsNotOffered | Self::TlsRefused(_) | Self::TlsFailed(_) | Self::BelowRequirement(_))
    }

    /// Whether the peer could not promise TLS for the hops behind it (RFC 8689): another exchanger may.
    pub fn lacks_require_tls(&self) -> bool {
        matches!(self, Self::ExtensionMissing(name) if name == REQUIRETLS)
    }

    /// Whether this exchanger is now known to be unable to meet the requirement: it finished EHLO without STARTTLS, or its proof of
    /// identity fell short for good (profile, decision 7). Everything else might be different next time.
    pub fn is_proof_of_absence(&self) -> bool {
        matches!(self, Self::TlsNotOffered | Self::BelowRequirement(_) | Self::NoExchanger | Self::NullMx) || self.lacks_require_tls()
    }

    /// Enhanced status, in class 4 while the message waits and 5 once it is returned (profile, decision 8; RFC 3463; RFC 7505; RFC 8689).
    pub fn status(&self, returned: bool) -> EnhancedStatus {
        let class = if returned { 5 } else { 4 };
        let (subject, detail) = match self {
            Self::NoExchanger => (4, 4),
            // RFC 3463, 3.5: X.4.3, "inability to connect to an Internet DNS server is one example of the directory server failure error".
            Self::DnsUnknown(_) => (4, 3),
            Self::NullMx => (1, 10),
            Self::LoopsToUs => (4, 6),
            Self::DnsBogus(_) | Self::TlsFailed(_) | Self::TlsRefused(_) | Self::BelowRequirement(_) => (7, 5),
            Self::Unreachable(_) => (4, 1),
            Self::Broken(_) => (4, 2),
            Self::Protocol(_) => (5, 0),
            Self::TlsNotOffered | Self::NoSecureExchanger(_) => (7, if returned { 10 } else { 4 }),
            Self::NeedsTls(_) => (7, 10),
            // RFC 8689, 4.2.1 and 7: X.7.30, "REQUIRETLS support required".
            Self::ExtensionMissing(_) if self.lacks_require_tls() => (7, 30),
            // RFC 3463, 3.7: X.6.3, "Conversion required but not supported".
            Self::ExtensionMissing(name) if name == EIGHT_BIT_MIME => (6, 3),
            // RFC 6531, 3.6: X.6.7, the address or the header needs SMTPUTF8.
            Self::ExtensionMissing(_) => (6, 7),
            Self::LoginFailed(_) => (7, 8),
            Self::Unwelcome(reply) | Self::Deferred(reply) | Self::Rejected(reply) => {
                return reply.status.map_or(EnhancedStatus::new(class, 0, 0), |status| status.in_class(class));
            }
            Self::Policy { .. } => (7, 1),
            // RFC 3463, 3.1: X.0.0, other or undefined status: none of the others fits a decision of a person.
            Self::GivenUp(_) => (0, 0),
            Self::Fault(_) => (3, 0),
            Self::Expired => (4, 7),
        };
        EnhancedStatus::new(class, subject, detail)
    }

    /// What the peer said, when it said something.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Unwelcome(reply) | Self::TlsRefused(reply) | Self::NeedsTls(reply) | Self::Deferred(reply) | Self::Rejected(reply) => {
                Some(reply)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoExchanger => f.write_str("the domain has no host that takes mail"),
            Self::NullMx => f.write_str("the domain takes no mail (null MX)"),
            Self::LoopsToUs => f.write_str("the mail would loop back to this gateway"),
            Self::DnsUnknown(detail) => write!(f, "DNS gave no answer: {detail}"),
            Self::DnsBogus(detail) => write!(f, "DNS gave an answer that fails DNSSEC: {detail}"),
            Self::Unreachable(detail) => write!(f, "no connection: {detail}"),
            Self::Broken(detail) => write!(f, "the connection broke: {detail}"),
            Self::Protocol(detail) => write!(f, "not understood: {detail}"),
            Self::Unwelcome(reply) => write!(f, "it refused the session: {reply}"),
            Self::TlsNotOffered => f.write_str("it does not offer STARTTLS"),
            Self::NoSecureExchanger(why) => write!(f, "the domain has no secure host for this mail: {why}"),
            Self::TlsRefused(reply) => write!(f, "it refused STARTTLS: {reply}"),
            Self::TlsFailed(detail) => write!(f, "the TLS handshake failed: {detail}"),
            Self::BelowRequirement(shortfall) => shortfall.fmt(f),
            Self::NeedsTls(reply) => write!(f, "it takes mail over TLS only: {reply}"),
            Self::LoginFailed(detail) => write!(f, "this gateway could not log in: {detail}"),
            Self::ExtensionMissing(name) => write!(f, "it does not offer {name}, which this message needs"),
            Self::Deferred(reply) | Self::Rejected(reply) => write!(f, "it answered {reply}"),
            Self::Policy { text, code } => write!(f, "{text} ({code})"),
            Self::GivenUp(text) => f.write_str(text),
            Self::Fault(detail) => write!(f, "a fault on this gateway: {detail}"),
            Self::Expired => f.write_str("it could not be delivered in the time allowed"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.exchanger, &self.address) {
            (Some(name), Some(address)) => write!(f, "{name} [{address}]: {}", self.cause),
            (Some(name), None) => write!(f, "{name}: {}", self.cause),
            (None, _) => self.cause.fmt(f),
        }
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { exchanger: None, address: None, cause }
    }
}
