//! What is due when, for whom: the few dozen octets of every delivery that are kept in memory. The deliveries themselves are not.
//!
//! Each destination has a lane. Lanes in which something is due stand in a row: the first one gives a delivery and goes to the end of the
//! row, so a destination with a million deliveries neither costs a claim more than one step nor keeps another one waiting. Leases live here
//! alone: a restart frees them.

use super::lane::{Lane, Listed, Place};
use super::survey::Outline;
use super::{Counts, Destination, Room};
use jiff::{SignedDuration, Timestamp};
use secmx_core::mail::MailDomain;
use secmx_core::queue::{DeliveryKey, QueueId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, RangeInclusive};
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

#[derive(Debug)]
struct Slot {
    next: Timestamp,
    domain: Arc<MailDomain>,
    octets: u64,
    held: bool,
    lease: Option<Timestamp>,
}

/// All deliveries. Every slot that is neither held nor leased stands in the lane of its domain, and every lane in one of `row` and `heads`.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: BTreeMap<DeliveryKey, Slot>,
    lanes: HashMap<Arc<MailDomain>, Lane>,
    /// Lanes in which something was due when it was last asked, by turn.
    row: BTreeMap<u64, Arc<MailDomain>>,
    /// The first of each other lane.
    heads: BTreeSet<Place>,
    /// The last turn that was given.
    turn: u64,
    /// The time of the last claim.
    seen: Option<Timestamp>,
    leases: BTreeSet<Place>,
    messages: u64,
    octets: u64,
}

impl Index {
    /// Adds a delivery, or replaces what is known of it. A lease stays.
    pub(super) fn put(&mut self, entry: Entry) {
        let Entry { key, next, domain, octets, held } = entry;
        // A message has one body: what its first delivery says of it holds for all, or the sum would not come out when they go.
        let octets = self.octets_of(key.id).unwrap_or(octets);
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

    /// What waits in a lane comes up at once. Says whether there was anything.
    pub(super) fn hasten(&mut self, domain: &MailDomain) -> bool {
        let Some((domain, lane)) = self.lanes.get_key_value(domain) else { return false };
        let domain = Arc::clone(domain);
        let waits = lane.has_waiting();
        self.change(&domain, Lane::hasten);
        waits
    }

    /// Leases what is due: one of each lane in turn, the earliest of it first.
    pub(super) fn claim(&mut self, now: Timestamp, limit: usize, lease: Duration, room: Room<'_>) -> Vec<DeliveryKey> {
        self.seen = Some(now);
        self.expire(now);
        self.line_up(now);
        let until = SignedDuration::try_from(lease).ok().and_then(|lease| now.checked_add(lease).ok()).unwrap_or(Timestamp::MAX);
        let mut rooms: HashMap<Arc<MailDomain>, usize> = HashMap::new();
        let mut claimed = Vec::new();
        // Lanes up to here have no room, or nothing left.
        let mut passed = Bound::Unbounded;
        while claimed.len() < limit {
            let first = self.row.range((passed, Bound::Unbounded)).next().map(|(turn, domain)| (*turn, Arc::clone(domain)));
            let Some((turn, domain)) = first else { break };
            let left = rooms.entry(Arc::clone(&domain)).or_insert_with_key(|domain| room(domain));
            let due = self.lanes.get(&domain).and_then(|lane| lane.due(now)).filter(|_| *left > 0);
            let Some(key) = due else {
                passed = Bound::Excluded(turn);
                continue;
            };
            *left -= 1;
            self.lease(key, until);
            self.send_to_the_end(turn, &domain);
            claimed.push(key);
        }
        claimed
    }

    /// When a claim may find something.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let first = |places: &BTreeSet<Place>| places.first().map(|(when, _)| *when);
        let due = self.row.first_key_value().and(self.seen);
        first(&self.heads).into_iter().chain(first(&self.leases)).chain(due).min()
    }

    /// Octets of a message's body; `None` when it has no deliveries.
    pub(super) fn octets_of(&self, id: QueueId) -> Option<u64> {
        self.of(id).next().map(|(_, slot)| slot.octets)
    }

    /// The deliveries of a message.
    pub(super) fn deliveries_of(&self, id: QueueId) -> Vec<DeliveryKey> {
        self.of(id).map(|(key, _)| *key).collect()
    }

    /// Whether an attempt at a delivery may be under way.
    pub(super) fn is_leased(&self, key: DeliveryKey) -> bool {
        self.slots.get(&key).is_some_and(|slot| slot.lease.is_some())
    }

    /// What is known of every delivery of these messages that is behind `after`, in key order.
    pub(super) fn behind(&self, after: Option<DeliveryKey>, messages: RangeInclusive<QueueId>) -> impl Iterator<Item = Outline<'_>> {
        let first = DeliveryKey { id: *messages.start(), number: 0 };
        let last = DeliveryKey { id: *messages.end(), number: u32::MAX };
        let from = after.filter(|after| *after >= first).map_or(Bound::Included(first), Bound::Excluded);
        let some = first <= last && after.is_none_or(|after| after < last);
        let slots = some.then(|| self.slots.range((from, Bound::Included(last))));
        slots.into_iter().flatten().map(|(key, slot)| Outline { key: *key, domain: &slot.domain, held: slot.held })
    }

    pub(super) fn contains(&self, key: DeliveryKey) -> bool {
        self.slots.contains_key(&key)
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { messages: self.messages, deliveries: self.slots.len() as u64, octets: self.octets }
    }

    /// Adds up to `limit` deliveries behind `after` to what is known of their destinations. Gives the last one, when there are more.
    pub(super) fn tally(
        &self,
        after: Option<DeliveryKey>,
        limit: usize,
        tally: &mut HashMap<Arc<MailDomain>, Destination>,
    ) -> Option<DeliveryKey> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (key, slot) in self.slots.range((from, Bound::Unbounded)).take(limit) {
            let known = tally.entry(Arc::clone(&slot.domain)).or_insert_with(|| Destination::new(&slot.domain, *key, slot.next));
            known.octets += slot.octets;
            if slot.next > known.latest {
                (known.latest, known.tried) = (slot.next, *key);
            }
            match (slot.held, slot.lease) {
                (_, Some(_)) => known.under_way += 1,
                (true, None) => known.held += 1,
                (false, None) => {
                    known.waiting += 1;
                    known.next = Some(known.next.map_or(slot.next, |next| next.min(slot.next)));
                }
            }
            last = Some(*key);
        }
        last.filter(|last| self.slots.range((Bound::Excluded(*last), Bound::Unbounded)).next().is_some())
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

    /// Lanes whose first delivery has become due go to the end of the row.
    fn line_up(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.heads.first().copied().filter(|(when, _)| *when <= now) {
            let Some(domain) = self.slots.get(&key).map(|slot| Arc::clone(&slot.domain)) else { break };
            self.change(&domain, |_| ());
        }
    }

    /// A lane that gave a delivery waits for the others, if it is still in the row.
    fn send_to_the_end(&mut self, turn: u64, domain: &Arc<MailDomain>) {
        if self.row.remove(&turn).is_some() {
            self.turn += 1;
            self.row.insert(self.turn, Arc::clone(domain));
            if let Some(lane) = self.lanes.get_mut(domain) {
                lane.listed = Listed::InRow(self.turn);
            }
        }
    }

    /// Puts a delivery that may be claimed into its lane.
    fn enlist(&mut self, key: DeliveryKey) {
        let Some(slot) = self.slots.get(&key).filter(|slot| !slot.held && slot.lease.is_none()) else { return };
        let (domain, next) = (Arc::clone(&slot.domain), slot.next);
        self.lanes.entry(Arc::clone(&domain)).or_default();
        self.change(&domain, |lane| lane.insert((next, key)));
    }

    /// Takes a delivery out of its lane, if it stands there.
    fn unlist(&mut self, key: DeliveryKey) -> Option<&Slot> {
        let slot = self.slots.get(&key)?;
        let (domain, next) = (Arc::clone(&slot.domain), slot.next);
        self.change(&domain, |lane| lane.remove(&(next, key)));
        self.slots.get(&key)
    }

    /// Edits a lane, and lists it where it belongs then. A lane that is in the row stays in its place there as long as something is due.
    fn change(&mut self, domain: &Arc<MailDomain>, edit: impl FnOnce(&mut Lane)) {
        let Some(lane) = self.lanes.get_mut(domain) else { return };
        edit(lane);
        let new = match (lane.head(), &lane.listed) {
            (None, _) => Listed::Nowhere,
            (Some((when, _)), Listed::InRow(turn)) if Some(when) <= self.seen => Listed::InRow(*turn),
            (Some((when, _)), _) if Some(when) <= self.seen => {
                self.turn += 1;
                Listed::InRow(self.turn)
            }
            (Some(head), _) => Listed::ByHead(head),
        };
        let old = std::mem::replace(&mut lane.listed, new.clone());
        if old == new {
            return;
        }
        match old {
            Listed::Nowhere => {}
            Listed::InRow(turn) => drop(self.row.remove(&turn)),
            Listed::ByHead(head) => _ = self.heads.remove(&head),
        }
        match new {
            Listed::Nowhere => drop(self.lanes.remove(domain)),
            Listed::InRow(turn) => drop(self.row.insert(turn, Arc::clone(domain))),
            Listed::ByHead(head) => _ = self.heads.insert(head),
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
        assert_eq!(numbers(&index.claim(at(9), 100, LEASE, &room)), [0, 5000, 1]);
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
        index.put(Entry { key: second, held: true, octets: 99, ..entry(1, 0, "y.test") });
        index.put(entry(2, 3, "x.test"));
        assert_eq!(index.counts(), Counts { messages: 2, deliveries: 3, octets: 20 });
        index.claim(at(0), 9, LEASE, &|_| 9);
        [entry(1, 0, "x.test").key, second, entry(2, 3, "x.test").key].into_iter().for_each(|key| index.remove(key));
        assert_eq!(index.counts(), Counts::default());
        assert!(index.lanes.is_empty() && index.heads.is_empty() && index.row.is_empty() && index.leases.is_empty());
        assert_eq!(index.next_due(), None);
    }

    /// What a busy destination has waiting since yesterday does not keep a message of today to another one waiting.
    #[test]
    fn destinations_take_turns() {
        let mut index = Index::default();
        (0..1000).for_each(|n| index.put(entry(n, 0, "busy.test")));
        (2000..2003).for_each(|n| index.put(entry(n, 3, "slow.test")));
        assert_eq!(numbers(&index.claim(at(5), 3, LEASE, &|_| 9)), [0, 2000, 1]);
        index.put(entry(5000, 5, "fresh.test"));
        assert_eq!(numbers(&index.claim(at(5), 4, LEASE, &|_| 9)), [2001, 2, 5000, 2002]);
        assert_eq!(numbers(&index.claim(at(5), 2, LEASE, &|_| 9)), [3, 4], "the others have nothing left");
    }

    #[test]
    fn a_lane_that_is_hastened_is_due_once() {
        let mut index = Index::default();
        assert!(!index.hasten(&entry(1, 0, "x.test").domain));
        (1..4).for_each(|n| index.put(entry(n, 100, "x.test")));
        index.put(entry(9, 100, "y.test"));
        assert!(index.claim(at(5), 9, LEASE, &|_| 9).is_empty());
        assert!(index.hasten(&entry(1, 0, "x.test").domain));
        assert_eq!(index.next_due(), Some(at(5)));
        assert_eq!(numbers(&index.claim(at(5), 2, LEASE, &|_| 9)), [1, 2]);
        index.put(entry(1, 60, "x.test"));
        index.free(entry(1, 60, "x.test").key);
        assert_eq!(numbers(&index.claim(at(5), 9, LEASE, &|_| 9)), [3], "what failed meanwhile waits for its new time");
        assert_eq!(numbers(&index.claim(at(60), 9, LEASE, &|_| 9)), [1]);
        assert_eq!(index.next_due(), Some(at(100)), "y.test was not hastened");
    }

    #[test]
    fn destinations_are_counted_in_pieces() {
        let mut index = Index::default();
        (1..8).for_each(|n| index.put(entry(n, n as i64, if n < 5 { "x.test" } else { "y.test" })));
        index.put(Entry { held: true, ..entry(3, 3, "x.test") });
        index.claim(at(1), 1, LEASE, &|_| 9);
        let (mut tally, mut after, mut steps) = (HashMap::new(), None, 0);
        loop {
            steps += 1;
            after = index.tally(after, 2, &mut tally);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(steps, 4);
        let x = tally.remove(&entry(1, 0, "x.test").domain).expect("counted");
        assert_eq!((x.waiting, x.held, x.under_way, x.octets, x.next), (2, 1, 1, 40, Some(at(2))));
        assert_eq!(tally.into_values().map(|y| (y.waiting, y.oldest, y.next)).collect::<Vec<_>>(), [(3, QueueId::new(5, 0), Some(at(5)))]);
    }

    /// The lanes agree with one sorted list each, whatever is done to them.
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
        let lane = |all: &[u64], number: u64| all.iter().copied().filter(|n| n % 13 == number).collect::<Vec<_>>();
        let expected: Vec<_> = expected.iter().map(|(_, n)| *n).collect();
        (0..13).for_each(|number| assert_eq!(lane(&claimed, number), lane(&expected, number)));
        assert_eq!(claimed.len(), expected.len());
    }
}
