//! The messages that came last, as they were accepted: most mail leaves before anybody had to read it back.
//!
//! What is here is on the disk too, word for word. A delivery that was changed since is not here any more.

use super::NewMessage;
use bytes::{Bytes, BytesMut};
use secmx_core::mail::Envelope;
use secmx_core::queue::{Delivery, DeliveryKey, Message, QueueId};
use std::collections::{HashMap, VecDeque};

/// Octets that are kept: of bodies, and a guess at the rest.
const OCTETS_MAX: u64 = 32 * 1024 * 1024;

/// Octets of a message from which on it is not kept: a few would push out all others, and reading it back is little beside sending it.
const LARGE_OCTETS: u64 = 1024 * 1024;

/// What a message takes beside its body, at least.
const OVERHEAD_OCTETS: u64 = 2048;

/// What one recipient adds to that, in envelope and delivery.
const RECIPIENT_OCTETS: u64 = 256;

/// Accepted messages, the oldest first to go.
#[derive(Debug, Default)]
pub(super) struct Recent {
    messages: HashMap<QueueId, NewMessage>,
    order: VecDeque<QueueId>,
    octets: u64,
}

fn size(message: &Message) -> u64 {
    let Envelope { recipients, .. } = &message.envelope;
    message.octets.saturating_add(OVERHEAD_OCTETS + RECIPIENT_OCTETS * recipients.len() as u64)
}

impl Recent {
    /// Keeps a message that was just accepted.
    pub(super) fn keep(&mut self, new: NewMessage) {
        let (id, octets) = (new.message.id, size(&new.message));
        if octets > LARGE_OCTETS {
            return;
        }
        self.octets += octets;
        self.messages.insert(id, new);
        self.order.push_back(id);
        while let Some(oldest) = self.order.front().copied() {
            if self.octets <= OCTETS_MAX && self.messages.contains_key(&oldest) {
                break;
            }
            self.order.pop_front();
            self.forget(oldest);
        }
    }

    /// A message changed, or left.
    pub(super) fn forget(&mut self, id: QueueId) {
        if let Some(gone) = self.messages.remove(&id) {
            self.octets -= size(&gone.message);
        }
    }

    pub(super) fn message(&self, id: QueueId) -> Option<Message> {
        self.messages.get(&id).map(|new| new.message.clone())
    }

    pub(super) fn delivery(&self, key: DeliveryKey) -> Option<Delivery> {
        self.messages.get(&key.id)?.deliveries.iter().find(|delivery| delivery.key == key).cloned()
    }

    /// The segments of a body from `offset` on, `max` octets of them.
    pub(super) fn body(&self, id: QueueId, offset: u64, max: u64) -> Option<Vec<Bytes>> {
        let new = self.messages.get(&id)?;
        let (mut skip, mut left) = (usize::try_from(offset).unwrap_or(usize::MAX), usize::try_from(max).unwrap_or(usize::MAX));
        let mut parts = Vec::new();
        for segment in &new.body {
            let from = skip.min(segment.len());
            let part = segment.slice(from..from + left.min(segment.len() - from));
            (skip, left) = (skip - from, left - part.len());
            if !part.is_empty() {
                parts.push(part);
            }
        }
        Some(parts)
    }
}

/// Segments as one piece.
pub(super) fn joined(parts: &[Bytes]) -> Bytes {
    match parts {
        [] => Bytes::new(),
        [only] => only.clone(),
        _ => parts
            .iter()
            .fold(BytesMut::with_capacity(parts.iter().map(Bytes::len).sum()), |mut all, part| {
                all.extend_from_slice(part);
                all
            })
            .freeze(),
    }
}
