//! How fast deliveries to one destination may begin: the generic cell rate algorithm (ITU-T I.371, annex A), one time per destination.

use crate::config::Rate;
use jiff::{SignedDuration, Timestamp};
use secmx_core::mail::MailDomain;
use std::collections::HashMap;

/// When each destination may have its next delivery. Destinations that had none lately are not kept.
#[derive(Debug)]
pub(super) struct Pace {
    /// Between two deliveries, on the whole.
    interval: SignedDuration,
    /// How far ahead of that deliveries may run: the size of a burst.
    ahead: SignedDuration,
    /// When the next delivery would be, if all had come at their intervals.
    expected: HashMap<MailDomain, Timestamp>,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        let time = SignedDuration::try_from(rate.time).unwrap_or(SignedDuration::MAX);
        let interval = SignedDuration::from_nanos_i128(time.as_nanos() / i128::from(rate.count));
        let burst = i32::try_from(rate.count / 10).unwrap_or(i32::MAX).max(1);
        Self { interval, ahead: interval.checked_mul(burst - 1).unwrap_or(SignedDuration::MAX), expected: HashMap::new() }
    }

    /// How many deliveries to `domain` may begin at `now`.
    pub(super) fn room(&self, domain: &MailDomain, now: Timestamp) -> usize {
        let late =
            self.expected.get(domain).map_or(SignedDuration::ZERO, |expected| now.duration_since(*expected).min(SignedDuration::ZERO));
        let left = self.ahead.checked_add(late).unwrap_or(SignedDuration::MIN);
        if left.is_negative() {
            return 0;
        }
        let more = left.as_nanos() / self.interval.as_nanos().max(1);
        usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// A delivery to `domain` begins.
    pub(super) fn take(&mut self, domain: &MailDomain, now: Timestamp) {
        let expected = self.expected.get(domain).copied().unwrap_or(now).max(now);
        self.expected.insert(domain.clone(), later(expected, self.interval));
    }

    /// When the first destination without room has some again. Forgets those that could have a whole burst.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.expected.retain(|_, expected| *expected > now);
        let room = self.expected.values().map(|expected| later(*expected, -self.ahead));
        room.filter(|when| *when > now).min()
    }
}

fn later(when: Timestamp, by: SignedDuration) -> Timestamp {
    when.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn domain(name: &str) -> MailDomain {
        MailDomain::parse(name).expect("valid")
    }

    #[test]
    fn deliveries_keep_their_pace_after_a_burst() {
        // One each 3 s; a tenth of 20 at once.
        let mut pace = Pace::new(Rate { count: 20, time: Duration::from_secs(60) });
        let x = domain("x.test");
        assert_eq!(pace.room(&x, at(0)), 2);
        pace.take(&x, at(0));
        pace.take(&x, at(0));
        assert_eq!((pace.room(&x, at(0)), pace.room(&x, at(2)), pace.room(&x, at(3))), (0, 0, 1));
        assert_eq!(pace.room(&domain("y.test"), at(0)), 2, "each destination has its own");
        assert_eq!(pace.next(at(0)), Some(at(3)));
        pace.take(&x, at(3));
        assert_eq!((pace.next(at(3)), pace.room(&x, at(12))), (Some(at(6)), 2));
        assert_eq!(pace.next(at(60)), None);
        assert!(pace.expected.is_empty(), "nothing is kept of a destination at rest");
    }

    /// Over a long time no more than the rate goes out, however often somebody asks.
    #[test]
    fn the_rate_holds_over_time() {
        let mut pace = Pace::new(Rate { count: 600, time: Duration::from_secs(60) });
        let x = domain("x.test");
        let begun = (0..300).fold(0, |begun, second| {
            let room = pace.room(&x, at(second));
            (0..room).for_each(|_| pace.take(&x, at(second)));
            begun + room
        });
        assert!((3000..=3060).contains(&begun), "{begun}");
    }

    #[test]
    fn a_clock_that_goes_back_stops_nothing_for_ever() {
        let mut pace = Pace::new(Rate { count: 1, time: Duration::from_secs(1) });
        let x = domain("x.test");
        pace.take(&x, at(1000));
        assert_eq!(pace.room(&x, at(10)), 0);
        assert_eq!(pace.next(at(10)), Some(at(1001)));
    }
}
