//! Who delivers what, when: claims due deliveries and keeps every destination to its share.

use super::worker;
use crate::clock::Clock;
use crate::decisions::Decisions;
use crate::generation::Current;
use crate::log::Log;
use crate::spool::{SetAside, Spool};
use jiff::Timestamp;
use secmx_core::mail::MailDomain;
use secmx_core::queue::{Delivery, DeliveryKey};
use secmx_core::report::Event;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a claimed delivery belongs to its worker. Longer than any attempt can take.
const LEASE: Duration = Duration::from_secs(3600);

/// How long the scheduler sleeps when nothing is due and nobody calls.
const IDLE: Duration = Duration::from_secs(60);

/// Carries mail out. Clones share everything.
#[derive(Clone)]
pub struct Courier {
    /// Configuration and policies; taken anew for each attempt.
    pub current: Current,
    /// The queue.
    pub spool: Arc<dyn Spool>,
    /// Where decisions of policies are written down.
    pub decisions: Decisions,
    /// The log.
    pub log: Log,
    /// The time.
    pub clock: Clock,
    /// Where we listen ourselves: never a place to deliver to (D-8).
    pub addresses: Vec<SocketAddr>,
}

impl Courier {
    /// Delivers until `stop`. Attempts that are under way then are finished.
    pub async fn run(self, stop: CancellationToken) {
        let (workers, shares) = {
            let current = self.current.load();
            (Arc::new(Semaphore::new(current.config.queue.workers)), Shares::new(current.config.queue.per_destination))
        };
        let attempts = TaskTracker::new();
        while !stop.is_cancelled() {
            let Ok(first) = Arc::clone(&workers).acquire_owned().await else { break };
            let free = workers.available_permits() + 1;
            drop(first);
            shares.freed().into_iter().for_each(|key| self.spool.give_back(key));
            let now = self.clock.now();
            let claimed = self.claim(now, free, &shares).await;
            if claimed.is_empty() {
                tokio::select! {
                    () = self.wait(now, &shares) => {}
                    () = stop.cancelled() => {}
                }
            }
            for delivery in claimed {
                let Ok(permit) = Arc::clone(&workers).acquire_owned().await else { break };
                // A lease that ran out because the clock was set does not send a message twice. Neither may a delivery that is due again
                // before its last attempt has left wait out a lease that nobody uses.
                let Some(share) = shares.take(&delivery) else { continue };
                let courier = self.clone();
                attempts.spawn(async move {
                    worker::attempt(&courier, delivery).await;
                    drop((share, permit));
                });
            }
        }
        attempts.close();
        attempts.wait().await;
    }

    /// What is due now and whose destination has a share left.
    async fn claim(&self, now: Timestamp, limit: usize, shares: &Shares) -> Vec<Delivery> {
        let claimed = self.spool.claim(now, limit, LEASE, &|domain| shares.left(domain)).await;
        for SetAside { key: record, detail } in self.spool.set_aside().await {
            self.log.write(&Event::SetAside { record, detail });
        }
        match claimed {
            Ok(claimed) => claimed,
            Err(error) => {
                self.log.write(&Event::SpoolFailed { detail: error.to_string() });
                Vec::new()
            }
        }
    }

    /// Returns when there may be something to claim that was not there at `now`. What was due then had no room.
    async fn wait(&self, now: Timestamp, shares: &Shares) {
        let latest = now.checked_add(IDLE).unwrap_or(now);
        let due = self.spool.next_due().await.filter(|due| *due > now).unwrap_or(latest).min(latest);
        tokio::select! {
            () = self.spool.changed() => {}
            () = self.clock.sleep_until(due) => {}
            () = shares.returned.notified() => {}
        }
    }
}

/// What is under way, and how much of it to each destination.
#[derive(Clone)]
struct Shares {
    most: usize,
    taken: Arc<Mutex<Taken>>,
    returned: Arc<Notify>,
}

#[derive(Default)]
struct Taken {
    by_destination: HashMap<MailDomain, usize>,
    deliveries: HashSet<DeliveryKey>,
    /// Under way, and claimed once more meanwhile.
    again: HashSet<DeliveryKey>,
    /// No longer under way, with a lease that nobody uses.
    freed: Vec<DeliveryKey>,
}

impl Shares {
    fn new(most: usize) -> Self {
        Self { most, taken: Arc::default(), returned: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more attempts to `domain` may start.
    fn left(&self, domain: &MailDomain) -> usize {
        self.most.saturating_sub(self.taken().by_destination.get(domain).copied().unwrap_or(0))
    }

    /// Deliveries whose lease is to be given back.
    fn freed(&self) -> Vec<DeliveryKey> {
        std::mem::take(&mut self.taken().freed)
    }

    /// Takes a share for an attempt at `delivery`, until the value is dropped. `None` while one is under way; its end is then remembered.
    fn take(&self, delivery: &Delivery) -> Option<Share> {
        let mut taken = self.taken();
        if !taken.deliveries.insert(delivery.key) {
            taken.again.insert(delivery.key);
            return None;
        }
        taken.freed.retain(|key| *key != delivery.key);
        *taken.by_destination.entry(delivery.domain.clone()).or_default() += 1;
        Some(Share { shares: self.clone(), key: delivery.key, domain: delivery.domain.clone() })
    }
}

/// One running attempt.
struct Share {
    shares: Shares,
    key: DeliveryKey,
    domain: MailDomain,
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
    use secmx_core::queue::{QueueId, Standing, Via};

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
        let shares = Shares::new(2);
        let (first, second) = (shares.take(&delivery(0)), shares.take(&delivery(1)));
        assert_eq!(shares.left(&delivery(0).domain), 0);
        drop(first);
        assert_eq!(shares.left(&delivery(0).domain), 1);
        drop(second);
        assert!(shares.taken().by_destination.is_empty(), "nothing is kept of a destination at rest");
    }

    /// R6: what is under way is not begun a second time, whatever the clock says of its lease.
    #[test]
    fn r6_an_attempt_under_way_is_the_only_one() {
        let shares = Shares::new(2);
        let first = shares.take(&delivery(0));
        assert!(first.is_some() && shares.take(&delivery(0)).is_none() && shares.freed().is_empty());
        drop(first);
        assert_eq!(shares.freed(), [delivery(0).key], "what was claimed in vain goes back");
        assert!(shares.take(&delivery(0)).is_some());
        assert!(shares.freed().is_empty());
    }
}
