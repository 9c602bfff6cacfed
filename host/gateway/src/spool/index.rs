//! What is due when, for whom: the few dozen octets of every delivery that are kept in memory. The deliveries themselves are not.
//!
//! Each destination has a lane, and only the head of each lane takes part in the order, so a busy destination with a million deliveries
//! costs a claim one step. Leases live here alone: a restart frees them.

use super::{Counts, Room};
use jiff::{SignedDuration, Timestamp};
use secmx_core::mail::MailDomain;
use secmx_core::queue::{DeliveryKey, QueueId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// What the index is told of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: DeliveryKey,
    pub(super) next: Timestamp,
    pub(super) domain: MailDomain,
    /// Octets of the message's body.
    pub(super) octets: u64,
    /// Held or quarantined.
    pub(super) held: bool,
}

/// Order of claims: by time, then by age of the message.
type Place = (Timestamp, DeliveryKey);

#[derive(Debug)]
struct Slot {
    next: Timestamp,
    domain: Arc<MailDomain>,
    octets: u64,
    held: bool,
    lease: Option<Timestamp>,
}

/// All deliveries. Every slot that is neither held nor leased stands in the lane of its domain, and the first of each lane in `heads`.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: BTreeMap<DeliveryKey, Slot>,
    lanes: HashMap<Arc<MailDomain>, BTreeSet<Place>>,
    heads: BTreeSet<Place>,
    leases: BTreeSet<Place>,
    messages: u64,
    octets: u64,
}

impl Index {
    /// Adds a delivery, or replaces what is known of it. A lease stays.
    pub(super) fn put(&mut self, entry: Entry) {
        let Entry { key, next, domain, octets, held } = entry;
        let lease = match self.unlist(key) {
            Some(slot) => slot.lease,
            None => {
                if self.octets_of(key.id).is_none() {
                    self.messages += 1;
                    self.octets += octets;
                }
                None
            }
        };
        let domain = self.lanes.get_key_value(&domain).map_or_else(|| Arc::new(domain), |(shared, _)| Arc::clone(shared));
        self.slots.insert(key, Slot { next, domain, octets, held, lease });
        self.enlist(key);
    }

    /// Takes a delivery out.
    pub(super) fn remove(&mut self, key: DeliveryKey) {
        self.free(key);
        self.unlist(key);
        let Some(slot) = self.slots.remove(&key) else { return };
        if self.octets_of(key.id).is_none() {
            self.messages -= 1;
            self.octets -= slot.octets;
        }
    }

    /// Ends the lease of a delivery, if there is one.
    pub(super) fn free(&mut self, key: DeliveryKey) {
        if let Some(until) = self.slots.get_mut(&key).and_then(|slot| slot.lease.take()) {
            self.leases.remove(&(until, key));
            self.enlist(key);
        }
    }

    /// Leases what is due, earliest first.
    pub(super) fn claim(&mut self, now: Timestamp, limit: usize, lease: Duration, room: Room<'_>) -> Vec<DeliveryKey> {
        self.expire(now);
        let until = SignedDuration::try_from(lease).ok().and_then(|lease| now.checked_add(lease).ok()).unwrap_or(Timestamp::MAX);
        let mut rooms: HashMap<Arc<MailDomain>, usize> = HashMap::new();
        let mut claimed = Vec::new();
        // Heads up to here belong to destinations without room.
        let mut passed = Bound::Unbounded;
        while claimed.len() < limit {
            let head = self.heads.range((passed, Bound::Unbounded)).next().copied();
            let Some((next, key)) = head.filter(|(next, _)| *next <= now) else { break };
            let Some(domain) = self.slots.get(&key).map(|slot| Arc::clone(&slot.domain)) else { break };
            let left = rooms.entry(domain).or_insert_with_key(|domain| room(domain));
            if *left == 0 {
                passed = Bound::Excluded((next, key));
            } else {
                *left -= 1;
                self.lease(key, until);
                claimed.push(key);
            }
        }
        claimed
    }

    /// When a claim may find something.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let first = |places: &BTreeSet<Place>| places.first().map(|(when, _)| *when);
        first(&self.heads).into_iter().chain(first(&self.leases)).min()
    }

    /// Octets of a message's body; `None` when it has no deliveries.
    pub(super) fn octets_of(&self, id: QueueId) -> Option<u64> {
        self.of(id).next().map(|(_, slot)| slot.octets)
    }

    /// The deliveries of a message.
    pub(super) fn deliveries_of(&self, id: QueueId) -> Vec<DeliveryKey> {
        self.of(id).map(|(key, _)| *key).collect()
    }

    pub(super) fn contains(&self, key: DeliveryKey) -> bool {
        self.slots.contains_key(&key)
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { messages: self.messages, deliveries: self.slots.len() as u64, octets: self.octets }
    }

    fn of(&self, id: QueueId) -> impl Iterator<Item = (&DeliveryKey, &Slot)> {
        self.slots.range(DeliveryKey { id, number: 0 }..=DeliveryKey { id, number: u32::MAX })
    }

    fn lease(&mut self, key: DeliveryKey, until: Timestamp) {
        self.unlist(key);
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.lease = Some(until);
            self.leases.insert((until, key));
        }
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.leases.first().copied().filter(|(until, _)| *until <= now) {
            self.free(key);
        }
    }

    /// Puts a delivery that may be claimed into its lane.
    fn enlist(&mut self, key: DeliveryKey) {
        let Some(slot) = self.slots.get(&key).filter(|slot| !slot.held && slot.lease.is_none()) else { return };
        let lane = self.lanes.entry(Arc::clone(&slot.domain)).or_default();
        let old = lane.first().copied();
        lane.insert((slot.next, key));
        let new = lane.first().copied();
        self.replace_head(old, new);
    }

    /// Takes a delivery out of its lane, if it stands there.
    fn unlist(&mut self, key: DeliveryKey) -> Option<&Slot> {
        let slot = self.slots.get(&key)?;
        if let Some(lane) = self.lanes.get_mut(&slot.domain) {
            let old = lane.first().copied();
            lane.remove(&(slot.next, key));
            let new = lane.first().copied();
            if new.is_none() {
                self.lanes.remove(&slot.domain);
            }
            self.replace_head(old, new);
        }
        self.slots.get(&key)
    }

    fn replace_head(&mut self, old: Option<Place>, new: Option<Place>) {
        if old != new {
            if let Some(old) = old {
                self.heads.remove(&old);
            }
            self.heads.extend(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LEASE: Duration = Duration::from_secs(100);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn entry(number: u64, next: i64, domain: &str) -> Entry {
        let key = DeliveryKey { id: QueueId::new(number, 0), number: 0 };
        Entry { key, next: at(next), domain: MailDomain::parse(domain).expect("valid"), octets: 10, held: false }
    }

    fn numbers(keys: &[DeliveryKey]) -> Vec<u64> {
        keys.iter().map(|key| key.id.to_bits() >> 18).collect()
    }

    #[test]
    fn a_busy_destination_is_passed_in_one_step() {
        let mut index = Index::default();
        (0..1000).for_each(|n| index.put(entry(n, 0, "busy.test")));
        index.put(entry(5000, 5, "idle.test"));
        let asked = AtomicUsize::new(0);
        let room = |domain: &MailDomain| {
            asked.fetch_add(1, Ordering::Relaxed);
            if domain.to_string() == "busy.test" { 2 } else { 9 }
        };
        assert_eq!(numbers(&index.claim(at(9), 100, LEASE, &room)), [0, 1, 5000]);
        assert_eq!(asked.into_inner(), 2, "once per destination");
    }

    #[test]
    fn leases_keep_their_delivery_until_they_end() {
        let mut index = Index::default();
        index.put(entry(1, 0, "x.test"));
        assert_eq!(index.claim(at(0), 9, LEASE, &|_| 9).len(), 1);
        assert_eq!(index.next_due(), Some(at(100)), "the end of the lease");
        index.put(Entry { next: at(7), ..entry(1, 0, "x.test") });
        assert!(index.claim(at(99), 9, LEASE, &|_| 9).is_empty(), "a changed delivery is still leased");
        assert_eq!(index.claim(at(100), 9, LEASE, &|_| 9).len(), 1);
    }

    #[test]
    fn nothing_is_left_of_what_is_gone() {
        let mut index = Index::default();
        let second = DeliveryKey { number: 1, ..entry(1, 0, "x.test").key };
        index.put(entry(1, 0, "x.test"));
        index.put(Entry { key: second, held: true, ..entry(1, 0, "y.test") });
        index.put(entry(2, 3, "x.test"));
        assert_eq!(index.counts(), Counts { messages: 2, deliveries: 3, octets: 20 });
        index.claim(at(0), 9, LEASE, &|_| 9);
        [entry(1, 0, "x.test").key, second, entry(2, 3, "x.test").key].into_iter().for_each(|key| index.remove(key));
        assert_eq!(index.counts(), Counts::default());
        assert!(index.lanes.is_empty() && index.heads.is_empty() && index.leases.is_empty());
        assert_eq!(index.next_due(), None);
    }

    /// The lanes agree with one sorted list, whatever is done to them.
    #[test]
    fn claims_come_in_order_of_time() {
        let mut index = Index::default();
        let mut expected = BTreeSet::new();
        for n in 0..500_u64 {
            let (next, domain) = ((n * 7919 % 101) as i64, format!("d{}.test", n % 13));
            index.put(entry(n, 50, &domain));
            index.put(entry(n, next, &domain));
            if n % 5 == 0 {
                index.remove(entry(n, 0, "x.test").key);
            } else if n % 7 == 0 {
                index.put(Entry { held: true, ..entry(n, next, &domain) });
            } else if next <= 60 {
                expected.insert((next, n));
            }
        }
        let claimed = numbers(&index.claim(at(60), 10_000, LEASE, &|_| usize::MAX));
        assert_eq!(claimed, expected.iter().map(|(_, n)| *n).collect::<Vec<_>>());
    }
}
