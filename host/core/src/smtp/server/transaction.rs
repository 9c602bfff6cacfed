//! A mail transaction as the receiver sees it: from MAIL to the ruling about the whole message (RFC 5321, 3.3).

use super::content::Content;
use crate::mail::dsn::{self, DsnRequest, Notify, OriginalRecipient, RecipientRequest, Ret};
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
    /// Chunks that came in so far. Once there are any, BDAT goes on with them and nothing but it (RFC 3030, 2).
    pub(super) content: Option<Content>,
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
    Recipient(Transaction, Mailbox, RecipientRequest),
}

impl Transaction {
    pub(super) fn new(reverse_path: ReversePath, promises: Promises) -> Self {
        let Promises { body, smtputf8, require_tls, dsn, .. } = promises;
        let envelope = Envelope { reverse_path, body, smtputf8, require_tls, dsn, ..Envelope::default() };
        Self { envelope, refused: 0, mark: None, content: None }
    }

    /// Takes a recipient; one that was taken before stays as it was.
    pub(super) fn add(&mut self, recipient: Mailbox, request: RecipientRequest) {
        if self.envelope.recipients.contains(&recipient) {
            return;
        }
        if request != RecipientRequest::default() {
            self.envelope.dsn.recipients.insert(recipient.clone(), request);
        }
        self.envelope.recipients.push(recipient);
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Promises {
    /// SIZE, octets (RFC 1870).
    pub(super) octets: Option<u64>,
    /// BODY (RFC 6152).
    pub(super) body: BodyKind,
    /// SMTPUTF8 (RFC 6531).
    pub(super) smtputf8: bool,
    /// REQUIRETLS (RFC 8689).
    pub(super) require_tls: bool,
    /// RET and ENVID (RFC 3461).
    pub(super) dsn: DsnRequest,
}

/// Why parameters of MAIL are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadParameter {
    /// Not one that is offered.
    Unknown,
    /// Offered, but not with this value.
    Malformed,
}

/// What was offered to the client, so that its parameters may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offered {
    /// REQUIRETLS: over TLS only (RFC 8689, 3).
    pub(super) require_tls: bool,
    /// AUTH (RFC 4954, 5).
    pub(super) auth: bool,
}

impl Promises {
    /// RFC 5321, 4.1.1.11: a parameter that was not offered is answered 555.
    pub(super) fn read(parameters: &[Parameter], offered: Offered) -> Result<Self, BadParameter> {
        parameters.iter().try_fold(Self::default(), |promises, parameter| promises.with(parameter, offered))
    }

    fn with(mut self, parameter: &Parameter, offered: Offered) -> Result<Self, BadParameter> {
        match (parameter.keyword.as_str(), parameter.value.as_deref()) {
            ("SIZE", Some(value)) if value.len() <= 20 && value.bytes().all(|digit| digit.is_ascii_digit()) => {
                self.octets = Some(value.parse().unwrap_or(u64::MAX));
            }
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => self.body = BodyKind::SevenBit,
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => self.body = BodyKind::EightBit,
            // RFC 3030, 3 leaves BINARYMIME to whoever offers it; we do not, since what is not lines cannot be relayed to everyone.
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("BINARYMIME") => return Err(BadParameter::Unknown),
            ("SMTPUTF8", None) => self.smtputf8 = true,
            ("REQUIRETLS", None) if offered.require_tls => self.require_tls = true,
            ("RET", Some(value)) => self.dsn.ret = Some(Ret::parse(value).ok_or(BadParameter::Malformed)?),
            ("ENVID", Some(value)) => self.dsn.envid = Some(dsn::envid(value).ok_or(BadParameter::Malformed)?),
            // RFC 4954, 5: who first submitted the message. Nothing here is decided by it.
            ("AUTH", Some(_)) if offered.auth => {}
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID", _) => return Err(BadParameter::Malformed),
            _ => return Err(BadParameter::Unknown),
        }
        Ok(self)
    }
}

/// What the parameters of RCPT ask for (RFC 3461, 4.1 and 4.2).
pub(super) fn request(parameters: &[Parameter], utf8: bool) -> Result<RecipientRequest, BadParameter> {
    parameters.iter().try_fold(RecipientRequest::default(), |mut request, parameter| {
        match (parameter.keyword.as_str(), parameter.value.as_deref()) {
            ("NOTIFY", Some(value)) => request.notify = Some(Notify::parse(value).ok_or(BadParameter::Malformed)?),
            ("ORCPT", Some(value)) => request.original = Some(OriginalRecipient::parse(value, utf8).ok_or(BadParameter::Malformed)?),
            ("NOTIFY" | "ORCPT", None) => return Err(BadParameter::Malformed),
            _ => return Err(BadParameter::Unknown),
        }
        Ok(request)
    })
}
