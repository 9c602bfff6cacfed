//! Which deliveries an operator asks for, of a queue of any length.

use jiff::Timestamp;
use secmx_core::mail::MailDomain;
use secmx_core::queue::{DeliveryKey, QueueId};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Which deliveries are looked for: everything that is said here must hold. An empty value lets all through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Among {
    /// Of one of these messages; none: of any.
    pub messages: Vec<QueueId>,
    /// To one of these destinations; none: to any.
    pub domains: Vec<MailDomain>,
    /// Of a message that was accepted at this time or earlier.
    pub until: Option<Timestamp>,
    /// Held or quarantined, or neither.
    pub kept: Option<bool>,
}

/// What the index knows of one delivery.
pub(super) struct Outline<'a> {
    pub(super) key: DeliveryKey,
    pub(super) domain: &'a Arc<MailDomain>,
    pub(super) held: bool,
}

impl Among {
    /// Whether it lets everything through.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The messages between the first and the last that are looked for.
    pub(super) fn messages(&self) -> RangeInclusive<QueueId> {
        match (self.messages.iter().min(), self.messages.iter().max()) {
            (Some(first), Some(last)) => *first..=*last,
            _ => QueueId::from_bits(0)..=QueueId::from_bits(u64::MAX),
        }
    }

    pub(super) fn has(&self, of: &Outline<'_>) -> bool {
        (self.messages.is_empty() || self.messages.contains(&of.key.id))
            && (self.domains.is_empty() || self.domains.iter().any(|domain| *domain == **of.domain))
            && self.until.is_none_or(|until| of.key.id.time() <= until)
            && self.kept.is_none_or(|kept| of.held == kept)
    }
}
