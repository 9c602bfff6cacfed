//! When a delivery comes up again and when it has waited long enough (RFC 5321, 4.5.4.1).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Retry times. Every duration is wall-clock time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Waits after the first, second, … failed attempt; the last one repeats. Never empty.
    pub retry: Vec<Duration>,
    /// A message is returned when it is older than this …
    pub expire: Duration,
    /// … and was attempted at least so many times: a clock that jumps returns nothing.
    pub attempts_min: u32,
    /// One delay notice goes out after this long.
    pub warn_after: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        Self {
            retry: [1, 5, 15, 30, 60, 120, 240].map(minutes).to_vec(),
            // RFC 5321, 4.5.4.1: "the give-up time generally needs to be at least 4-5 days."
            expire: minutes(5 * 24 * 60),
            attempts_min: 4,
            warn_after: minutes(4 * 60),
        }
    }
}

impl Schedule {
    /// When to try again after `attempts` failed ones. `jitter` in 0..=1 spreads what failed together over the last eighth of the wait.
    pub fn next(&self, attempts: u32, jitter: f64, now: Timestamp) -> Timestamp {
        let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = self.retry.get(index).or(self.retry.last()).copied().unwrap_or(Duration::from_secs(60));
        later(now, wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 8.0))
    }

    /// Whether a message that arrived at `arrived` and was attempted `attempts` times is to be returned.
    pub fn is_expired(&self, arrived: Timestamp, attempts: u32, now: Timestamp) -> bool {
        attempts >= self.attempts_min && waited(arrived, now) >= self.expire
    }

    /// Whether the sender is to be told that the message still waits.
    pub fn is_late(&self, arrived: Timestamp, now: Timestamp) -> bool {
        waited(arrived, now) >= self.warn_after
    }
}

/// How long ago `since` was; zero when the clock went back.
pub(crate) fn waited(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO)
}

/// `now` plus `wait`, held within what a timestamp can say.
fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    #[test]
    fn the_last_wait_repeats() {
        let schedule = Schedule::default();
        assert_eq!(schedule.next(1, 0.0, at(0)), at(60));
        assert_eq!(schedule.next(2, 0.0, at(0)), at(300));
        assert_eq!(schedule.next(99, 0.0, at(0)), at(4 * 3600));
    }

    #[test]
    fn jitter_only_shortens_and_by_an_eighth_at_most() {
        let schedule = Schedule::default();
        assert_eq!(schedule.next(2, 1.0, at(0)), at(262) + Duration::from_millis(500));
    }

    #[test]
    fn expiry_needs_time_and_attempts() {
        let schedule = Schedule::default();
        let long = 6 * 24 * 3600;
        assert!(schedule.is_expired(at(0), 4, at(long)));
        assert!(!schedule.is_expired(at(0), 3, at(long)), "a clock jump alone returns nothing");
        assert!(!schedule.is_expired(at(0), 40, at(3600)));
        assert!(!schedule.is_expired(at(long), 40, at(0)), "nor does a clock that went back");
    }
}
