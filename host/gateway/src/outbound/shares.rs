//! What is under way, how much of it to each destination, and which destinations are down.

use super::pace::Pace;
use super::worker::Reached;
use crate::config::PerDestination;
use jiff::Timestamp;
use secmx_core::mail::MailDomain;
use secmx_core::queue::{Delivery, DeliveryKey};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Destinations that are remembered as down at most. One that is forgotten is only not hastened.
const DOWN_MAX: usize = 100_000;

/// The shares of all destinations. Clones share them.
#[derive(Clone)]
pub(super) struct Shares {
    most: usize,
    taken: Arc<Mutex<Taken>>,
    returned: Arc<Notify>,
}

#[derive(Default)]
struct Taken {
    by_destination: HashMap<MailDomain, usize>,
    pace: Option<Pace>,
    /// Nobody answered at the last attempt.
    down: HashSet<MailDomain>,
    deliveries: HashSet<DeliveryKey>,
    /// Under way, and claimed once more meanwhile.
    again: HashSet<DeliveryKey>,
    /// No longer under way, with a lease that nobody uses.
    freed: Vec<DeliveryKey>,
}

impl Shares {
    pub(super) fn new(settings: &PerDestination) -> Self {
        let taken = Taken { pace: settings.rate.map(Pace::new), ..Taken::default() };
        Self { most: settings.connections, taken: Arc::new(Mutex::new(taken)), returned: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more attempts to `domain` may start at `now`. One that is down gets a quarter of its share: each attempt there may hold a
    /// worker until it times out.
    pub(super) fn left(&self, domain: &MailDomain, now: Timestamp) -> usize {
        let taken = self.taken();
        let most = if taken.down.contains(domain) { self.most.div_ceil(4) } else { self.most };
        let left = most.saturating_sub(taken.by_destination.get(domain).copied().unwrap_or(0));
        taken.pace.as_ref().map_or(left, |pace| left.min(pace.room(domain, now)))
    }

    /// When a destination that has had all that its rate allows may have more.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.taken().pace.as_mut().and_then(|pace| pace.next(now))
    }

    /// Returns when an attempt has ended since the last return.
    pub(super) async fn returned(&self) {
        self.returned.notified().await;
    }

    /// Takes note of what an attempt found at its destination. Says whether one that was down is up again.
    pub(super) fn heard(&self, domain: &MailDomain, reached: Reached) -> bool {
        let mut taken = self.taken();
        match reached {
            Reached::Taken => taken.down.remove(domain),
            Reached::Nobody => {
                if taken.down.len() < DOWN_MAX {
                    taken.down.insert(domain.clone());
                }
                false
            }
            Reached::Unclear => false,
        }
    }

    /// Deliveries whose lease is to be given back.
    pub(super) fn freed(&self) -> Vec<DeliveryKey> {
        std::mem::take(&mut self.taken().freed)
    }

    /// Takes a share for an attempt at `delivery`, until the value is dropped. `None` while one is under way; its end is then remembered.
    pub(super) fn take(&self, delivery: &Delivery, now: Timestamp) -> Option<Share> {
        let mut taken = self.taken();
        if !taken.deliveries.insert(delivery.key) {
            taken.again.insert(delivery.key);
            return None;
        }
        taken.freed.retain(|key| *key != delivery.key);
        *taken.by_destination.entry(delivery.domain.clone()).or_default() += 1;
        if let Some(pace) = &mut taken.pace {
            pace.take(&delivery.domain, now);
        }
        Some(Share { shares: self.clone(), key: delivery.key, domain: delivery.domain.clone() })
    }
}

/// One running attempt.
pub(super) struct Share {
    shares: Shares,
    key: DeliveryKey,
    domain: MailDomain,
}

impl Share {
    /// All of them.
    pub(super) fn shares(&self) -> &Shares {
        &self.shares
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.deliveries.remove(&self.key);
        if taken.again.remove(&self.key) {
            taken.freed.push(self.key);
        }
        if let Some(count) = taken.by_destination.get_mut(&self.domain) {
            *count -= 1;
            if *count == 0 {
                taken.by_destination.remove(&self.domain);
            }
        }
        drop(taken);
        self.shares.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rate;
    use secmx_core::queue::{QueueId, Standing, Via};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn shares(connections: usize, rate: Option<Rate>) -> Shares {
        Shares::new(&PerDestination { connections, messages: 1, idle: Duration::ZERO, rate })
    }

    fn delivery(number: u32) -> Delivery {
        Delivery {
            key: DeliveryKey { id: QueueId::new(1, 1), number },
            domain: MailDomain::parse("x.test").expect("valid"),
            via: Via::Discovery,
            role: Default::default(),
            floor: Default::default(),
            recipients: Vec::new(),
            attempts: 0,
            next: Timestamp::UNIX_EPOCH,
            standing: Standing::Due,
            last: Vec::new(),
            warned: false,
        }
    }

    #[test]
    fn a_destination_gets_no_more_than_its_share() {
        let shares = shares(2, None);
        let (first, second) = (shares.take(&delivery(0), NOW), shares.take(&delivery(1), NOW));
        assert_eq!(shares.left(&delivery(0).domain, NOW), 0);
        drop(first);
        assert_eq!(shares.left(&delivery(0).domain, NOW), 1);
        drop(second);
        assert!(shares.taken().by_destination.is_empty(), "nothing is kept of a destination at rest");
    }

    /// R6: what is under way is not begun a second time, whatever the clock says of its lease.
    #[test]
    fn r6_an_attempt_under_way_is_the_only_one() {
        let shares = shares(2, None);
        let first = shares.take(&delivery(0), NOW);
        assert!(first.is_some() && shares.take(&delivery(0), NOW).is_none() && shares.freed().is_empty());
        drop(first);
        assert_eq!(shares.freed(), [delivery(0).key], "what was claimed in vain goes back");
        assert!(shares.take(&delivery(0), NOW).is_some());
        assert!(shares.freed().is_empty());
    }

    #[test]
    fn a_destination_that_is_down_gets_a_quarter_until_it_answers() {
        let (shares, domain) = (shares(8, None), delivery(0).domain);
        assert!(!shares.heard(&domain, Reached::Taken), "it was not down");
        assert!(!shares.heard(&domain, Reached::Nobody));
        assert_eq!(shares.left(&domain, NOW), 2);
        assert!(!shares.heard(&domain, Reached::Unclear));
        assert_eq!(shares.left(&domain, NOW), 2);
        assert!(shares.heard(&domain, Reached::Taken), "now it is up again");
        assert!(!shares.heard(&domain, Reached::Taken), "once");
        assert_eq!(shares.left(&domain, NOW), 8);
    }

    #[test]
    fn a_rate_bounds_what_begins() {
        let shares = shares(8, Some(Rate { count: 30, time: Duration::from_secs(60) }));
        let begun: Vec<_> = (0..3).map(|number| shares.take(&delivery(number), NOW)).collect();
        assert_eq!(shares.left(&delivery(0).domain, NOW), 0);
        drop(begun);
        assert_eq!(shares.left(&delivery(0).domain, NOW), 0, "what has ended counts all the same");
        let next = shares.next(NOW).expect("a time");
        assert_eq!((next, shares.left(&delivery(0).domain, next)), (NOW + Duration::from_secs(2), 1));
    }
}
