//! How fast content comes in: a client that sends it too slowly only holds a place.

use crate::config::Limits;
use std::time::Duration;
use tokio::time::Instant;

/// Content that is awaited, from the moment the client may send it.
#[derive(Debug)]
pub(super) struct Incoming {
    since: Instant,
    octets: u64,
}

impl Incoming {
    /// Nothing of it has come in by `since`.
    pub(super) fn new(since: Instant) -> Self {
        Self { since, octets: 0 }
    }

    /// Counts octets that came in.
    pub(super) fn add(&mut self, octets: usize) {
        self.octets = self.octets.saturating_add(octets as u64);
    }

    /// Whether it comes in more slowly than the listener bears.
    pub(super) fn is_too_slow(&self, now: Instant, limits: &Limits) -> bool {
        let time = now.saturating_duration_since(self.since);
        time > limits.grace && is_below(self.octets, time, limits.pace_octets)
    }
}

/// Whether so many octets in that time are fewer than `pace` a second.
fn is_below(octets: u64, time: Duration, pace: u64) -> bool {
    u128::from(octets).saturating_mul(1000) < u128::from(pace).saturating_mul(time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_too_slow(octets: usize, seconds: u64, pace_octets: u64) -> bool {
        let limits = Limits { grace: Duration::from_secs(60), pace_octets, ..Limits::default() };
        let now = Instant::now();
        let mut incoming = Incoming::new(now);
        incoming.add(octets / 2);
        incoming.add(octets - octets / 2);
        incoming.is_too_slow(now + Duration::from_secs(seconds), &limits)
    }

    #[test]
    fn what_is_too_slow_after_the_grace_is_not_before_it() {
        assert!(!is_too_slow(0, 60, 500), "any pace will do at first");
        assert!(is_too_slow(0, 61, 500) && is_too_slow(30_499, 61, 500));
        assert!(!is_too_slow(30_500, 61, 500), "exactly the pace");
        assert!(!is_too_slow(0, 1 << 40, 0), "any pace will do at all");
        assert!(is_too_slow(usize::MAX, u64::MAX >> 32, u64::MAX), "nothing overflows");
    }

    #[test]
    fn part_of_a_second_counts() {
        assert!(is_below(49, Duration::from_millis(100), 500));
        assert!(!is_below(50, Duration::from_millis(100), 500));
    }
}
