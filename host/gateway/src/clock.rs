//! Wall-clock time, from one place, so that a test can move it.

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// The time of day. Clones tell the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    ahead_seconds: Arc<AtomicI64>,
    moved: Arc<Notify>,
}

impl Clock {
    /// The time of the machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.ahead_seconds.load(Ordering::Relaxed));
        Timestamp::now().checked_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// Moves this clock ahead of the machine's, whole seconds; whoever sleeps on it looks again.
    pub fn advance(&self, by: Duration) {
        self.ahead_seconds.fetch_add(i64::try_from(by.as_secs()).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.moved.notify_waiters();
    }

    /// Returns at `when`, or earlier when the clock was moved.
    pub async fn sleep_until(&self, when: Timestamp) {
        let moved = self.moved.notified();
        let wait = Duration::try_from(when.duration_since(self.now())).unwrap_or(Duration::ZERO);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = moved => {}
        }
    }
}
