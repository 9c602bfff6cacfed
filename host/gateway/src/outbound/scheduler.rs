//! Who delivers what, when: claims due deliveries and keeps every destination to its share.

use super::worker;
use crate::clock::Clock;
use crate::generation::Current;
use crate::log::Log;
use crate::spool::{SetAside, Spool};
use secmx_core::mail::MailDomain;
use secmx_core::queue::Delivery;
use secmx_core::report::Event;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
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
            let claimed = self.claim(free, &shares).await;
            if claimed.is_empty() {
                tokio::select! {
                    () = self.wait(&shares) => {}
                    () = stop.cancelled() => {}
                }
            }
            for delivery in claimed {
                let Ok(permit) = Arc::clone(&workers).acquire_owned().await else { break };
                let share = shares.take(&delivery.domain);
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
    async fn claim(&self, limit: usize, shares: &Shares) -> Vec<Delivery> {
        let claimed = self.spool.claim(self.clock.now(), limit, LEASE, &|domain| shares.left(domain)).await;
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

    /// Returns when there may be something to claim.
    async fn wait(&self, shares: &Shares) {
        let now = self.clock.now();
        let latest = now.checked_add(IDLE).unwrap_or(now);
        let due = self.spool.next_due().await.filter(|due| *due > now).unwrap_or(latest).min(latest);
        tokio::select! {
            () = self.spool.changed() => {}
            () = self.clock.sleep_until(due) => {}
            () = shares.returned.notified() => {}
        }
    }
}

/// How many attempts run per destination.
#[derive(Clone)]
struct Shares {
    most: usize,
    taken: Arc<Mutex<HashMap<MailDomain, usize>>>,
    returned: Arc<Notify>,
}

impl Shares {
    fn new(most: usize) -> Self {
        Self { most, taken: Arc::default(), returned: Arc::default() }
    }

    /// How many more may start.
    fn left(&self, domain: &MailDomain) -> usize {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).get(domain).copied().unwrap_or(0);
        self.most.saturating_sub(taken)
    }

    /// Takes one for `domain`, until the value is dropped.
    fn take(&self, domain: &MailDomain) -> Share {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner).entry(domain.clone()).or_default() += 1;
        Share { shares: self.clone(), domain: domain.clone() }
    }
}

/// One running attempt to one destination.
struct Share {
    shares: Shares,
    domain: MailDomain,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.domain) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.domain);
            }
        }
        drop(taken);
        self.shares.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_gets_no_more_than_its_share() {
        let shares = Shares::new(2);
        let domain = MailDomain::parse("x.test").expect("valid");
        let (first, second) = (shares.take(&domain), shares.take(&domain));
        assert_eq!(shares.left(&domain), 0);
        drop(first);
        assert_eq!(shares.left(&domain), 1);
        drop(second);
        assert!(shares.taken.lock().expect("whole").is_empty(), "nothing is kept of a destination at rest");
    }
}
