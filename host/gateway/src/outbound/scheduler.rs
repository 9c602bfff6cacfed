//! Who delivers what, when: claims due deliveries and keeps every destination to its share.

use super::pool::Pool;
use super::shares::Shares;
use super::worker;
use crate::clock::Clock;
use crate::decisions::Decisions;
use crate::generation::Current;
use crate::levels::Levels;
use crate::log::Log;
use crate::mta_sts::PolicyStore;
use crate::orders::Orders;
use crate::spool::{SetAside, Spool};
use crate::tls_rpt::Books;
use jiff::Timestamp;
use secmx_core::mail::MailDomain;
use secmx_core::queue::Delivery;
use secmx_core::report::Event;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a claimed delivery belongs to its worker. Longer than any attempt can take.
const LEASE: Duration = Duration::from_secs(3600);

/// How long the scheduler sleeps when nothing is due and nobody calls.
const IDLE: Duration = Duration::from_secs(60);

/// Carries mail out. Clones share everything.
#[derive(Clone)]
pub struct Courier {
    /// MTA-STS policies of domains.
    pub sts: Arc<PolicyStore>,
    /// The best level that each domain was reached with.
    pub levels: Arc<Levels>,
    /// What domains are told of TLS with their hosts.
    pub reports: Arc<Books>,
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
    /// Destinations that wait because an operator said so.
    pub orders: Arc<Orders>,
    /// Where we listen ourselves: never a place to deliver to (D-8).
    pub addresses: Vec<SocketAddr>,
    /// Connections that wait for another message.
    pub pool: Pool,
}

impl Courier {
    /// Delivers until `stop`. Attempts that are under way then are finished.
    pub async fn run(self, stop: CancellationToken) {
        let (workers, shares) = {
            let current = self.current.load();
            (Arc::new(Semaphore::new(current.config.queue.workers)), Shares::new(&current.config.queue.per_destination))
        };
        let attempts = TaskTracker::new();
        attempts.spawn(self.pool.clone().keep(stop.clone()));
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
                let Some(share) = shares.take(&delivery, now) else { continue };
                let courier = self.clone();
                attempts.spawn(async move {
                    let domain = delivery.domain.clone();
                    let reached = worker::attempt(&courier, delivery).await;
                    if share.shares().heard(&domain, reached) {
                        courier.spool.hasten(&domain).await;
                    }
                    drop((share, permit));
                });
            }
        }
        attempts.close();
        attempts.wait().await;
        self.pool.close().await;
    }

    /// What is due now and whose destination has a share left.
    async fn claim(&self, now: Timestamp, limit: usize, shares: &Shares) -> Vec<Delivery> {
        let room = |domain: &MailDomain| if self.orders.suspends(domain, now) { 0 } else { shares.left(domain, now) };
        let claimed = self.spool.claim(now, limit, LEASE, &room).await;
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
        let due = self.spool.next_due().await.into_iter().chain(shares.next(now)).chain(self.orders.next_end(now));
        let due = due.filter(|due| *due > now).min().unwrap_or(latest).min(latest);
        tokio::select! {
            () = self.spool.changed() => {}
            () = self.clock.sleep_until(due) => {}
            () = shares.returned() => {}
            () = self.orders.changed() => {}
        }
    }
}
