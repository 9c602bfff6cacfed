//! The four roles of the SecMX draft, section 5: two of a sender, two of a receiver.
//!
//! A receiver role belongs to a listener, a sender role to a message and recipient.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a message may be sent. Ordered by strictness, so that `max` of two roles is the role that satisfies both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub enum SenderRole {
    /// BES: "will attempt to transfer all mail securely", and may fall back (draft, section 5).
    #[default]
    #[serde(rename = "BES")]
    BestEffort,
    /// SOS: "If it cannot find a BER or SOR, it will bounce the email" (draft, section 5).
    #[serde(rename = "SOS")]
    SecureOnly,
}

/// How a listener takes mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub enum ReceiverRole {
    /// BER: "will prefer to receive mail securely (SMTP over TLS), but will also receive insecure mail" (draft, section 5).
    #[default]
    #[serde(rename = "BER")]
    BestEffort,
    /// SOR: "will only ever receive mail securely" (draft, section 5).
    #[serde(rename = "SOR")]
    SecureOnly,
}

impl fmt::Display for SenderRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BestEffort => "BES",
            Self::SecureOnly => "SOS",
        })
    }
}

impl fmt::Display for ReceiverRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BestEffort => "BER",
            Self::SecureOnly => "SOR",
        })
    }
}
