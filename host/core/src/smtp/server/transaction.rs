//! A mail transaction as the receiver sees it: from MAIL to the ruling about the whole message (RFC 5321, 3.3).

use crate::mail::{BodyKind, Envelope, Mailbox, Parameter, ReversePath};
use crate::ruling::{Reason, Ruling};

/// What MAIL opened.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    /// Recipients that were refused, so that DATA can say why nobody is left.
    pub(super) refused: usize,
    /// A policy wants the message kept for a person, or dropped, when it comes.
    pub(super) mark: Option<Mark>,
}

/// What a policy said early about a message that is yet to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    Quarantine(Reason),
    Discard(Reason),
}

/// A command whose ruling is open.
#[derive(Debug)]
pub(super) enum Pending {
    Mail(Transaction),
    Recipient(Transaction, Mailbox),
}

impl Transaction {
    pub(super) fn new(reverse_path: ReversePath, promises: Promises) -> Self {
        let Promises { body, smtputf8, .. } = promises;
        Self { envelope: Envelope { reverse_path, body, smtputf8, ..Envelope::default() }, refused: 0, mark: None }
    }

    /// Keeps what an accepting ruling said beside its yes. The stricter mark stays: what was to be dropped is never delivered.
    pub(super) fn mark(&mut self, ruling: Ruling) {
        match ruling {
            Ruling::Discard(reason) => self.mark = Some(Mark::Discard(reason)),
            Ruling::Quarantine(reason) => {
                self.mark.get_or_insert(Mark::Quarantine(reason));
            }
            Ruling::Pass | Ruling::Accept(_) | Ruling::Reject { .. } | Ruling::Defer { .. } => {}
        }
    }
}

/// What the parameters of MAIL promise about the content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Promises {
    /// SIZE, octets (RFC 1870).
    pub(super) octets: Option<u64>,
    /// BODY (RFC 6152).
    pub(super) body: BodyKind,
    /// SMTPUTF8 (RFC 6531).
    pub(super) smtputf8: bool,
}

/// Why parameters of MAIL are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadParameter {
    /// Not one that is offered.
    Unknown,
    /// Offered, but not with this value.
    Malformed,
}

impl Promises {
    /// RFC 5321, 4.1.1.11: a parameter that was not offered is answered 555.
    pub(super) fn read(parameters: &[Parameter]) -> Result<Self, BadParameter> {
        parameters.iter().try_fold(Self::default(), |promises, parameter| {
            let value = parameter.value.as_deref();
            match (parameter.keyword.as_str(), value) {
                ("SIZE", Some(value)) if !value.is_empty() && value.len() <= 20 && value.bytes().all(|digit| digit.is_ascii_digit()) => {
                    Ok(Self { octets: Some(value.parse().unwrap_or(u64::MAX)), ..promises })
                }
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => Ok(promises),
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => Ok(Self { body: BodyKind::EightBit, ..promises }),
                ("BODY", Some(value)) if value.eq_ignore_ascii_case("BINARYMIME") => Err(BadParameter::Unknown),
                ("SMTPUTF8", None) => Ok(Self { smtputf8: true, ..promises }),
                ("SIZE" | "BODY" | "SMTPUTF8", _) => Err(BadParameter::Malformed),
                _ => Err(BadParameter::Unknown),
            }
        })
    }
}
