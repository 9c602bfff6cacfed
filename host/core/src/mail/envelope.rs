//! The envelope of one transaction: who sends, who receives, and what MAIL promised about the content (RFC 5321, 2.3.1).

use super::dsn::DsnRequest;
use super::mailbox::{Mailbox, ReversePath};
use serde::{Deserialize, Serialize};

/// An ESMTP parameter of MAIL or RCPT as it was given (RFC 5321, 4.1.1.11). The keyword is in upper case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Keyword, upper case.
    pub keyword: String,
    /// Value behind `=`, if any.
    pub value: Option<String>,
}

/// BODY parameter (RFC 6152; BINARYMIME is not taken).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum BodyKind {
    /// `7BIT`, also when nothing was said.
    #[default]
    #[serde(rename = "7BIT")]
    SevenBit,
    /// `8BITMIME`.
    #[serde(rename = "8BITMIME")]
    EightBit,
}

/// Who a message is from and for. At least one recipient once it is complete.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Envelope {
    /// Where a bounce goes; `None` is `<>`.
    pub reverse_path: ReversePath,
    /// Forward-paths, in the order they were accepted, without repeats.
    pub recipients: Vec<Mailbox>,
    /// What MAIL said about the octets.
    pub body: BodyKind,
    /// Whether MAIL asked for SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// Whether MAIL asked for REQUIRETLS: no hop from here on may do without TLS to an authenticated host (RFC 8689).
    #[serde(default)]
    pub require_tls: bool,
    /// What the sender asks to be told (RFC 3461).
    #[serde(default)]
    pub dsn: DsnRequest,
}
