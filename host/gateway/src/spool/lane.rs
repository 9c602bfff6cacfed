//! What waits for one destination.

use jiff::Timestamp;
use secmx_core::queue::DeliveryKey;
use std::collections::BTreeSet;

/// Order within a lane: by time, then by age of the message.
pub(super) type Place = (Timestamp, DeliveryKey);

/// Where a lane is listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Listed {
    /// It is empty.
    #[default]
    Nowhere,
    /// Something in it is due, and this is its turn.
    InRow(u64),
    /// Its first delivery says when it is due.
    ByHead(Place),
}

/// Deliveries to one destination that may be claimed.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: BTreeSet<Place>,
    /// Due whatever their time says: the destination was heard of.
    hastened: BTreeSet<Place>,
    pub(super) listed: Listed,
}

impl Lane {
    pub(super) fn insert(&mut self, place: Place) {
        self.waiting.insert(place);
    }

    pub(super) fn remove(&mut self, place: &Place) {
        if !self.waiting.remove(place) {
            self.hastened.remove(place);
        }
    }

    /// What waits now is due now. What comes later has its own time.
    pub(super) fn hasten(&mut self) {
        if self.hastened.is_empty() {
            std::mem::swap(&mut self.hastened, &mut self.waiting);
        } else {
            self.hastened.append(&mut self.waiting);
        }
    }

    /// Whether anything waits for its time.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The first delivery, and when it is due: ever since, when it was hastened.
    pub(super) fn head(&self) -> Option<Place> {
        let hastened = self.hastened.first().map(|(_, key)| (Timestamp::MIN, *key));
        hastened.or_else(|| self.waiting.first().copied())
    }

    /// A delivery that is due.
    pub(super) fn due(&self, now: Timestamp) -> Option<DeliveryKey> {
        self.head().filter(|(when, _)| *when <= now).map(|(_, key)| key)
    }
}
