//! Numbers and times as people read them.

use crate::control::queue::Action;
use jiff::Timestamp;
use std::time::Duration;

/// `1 message`, `12 messages`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ if thing.ends_with('y') => format!("{number} {}ies", thing.trim_end_matches('y')),
        _ => format!("{number} {thing}s"),
    }
}

/// `once`, `3 times`.
pub(super) fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        _ => format!("{number} times"),
    }
}

/// What was done, as one word.
pub(super) fn past(action: Action) -> &'static str {
    match action {
        Action::Hold => "held",
        Action::Release => "released",
        Action::Retry => "queued for delivery now",
        Action::Bounce => "returned to their senders",
        Action::Delete | Action::Discard => "deleted",
        Action::Overrule => "released from quarantine",
    }
}

/// How long ago that was: `12 s`, `41 min`, `3 h`, `9 d`. Nothing is in the future.
pub(super) fn ago(time: Timestamp, now: Timestamp) -> String {
    span(Duration::try_from(now.duration_since(time)).unwrap_or_default())
}

/// When that will be: `now`, `in 3 min`.
pub(super) fn ahead(time: Timestamp, now: Timestamp) -> String {
    match Duration::try_from(time.duration_since(now)) {
        Ok(wait) if wait >= Duration::from_secs(1) => format!("in {}", span(wait)),
        _ => "now".to_owned(),
    }
}

/// A duration in its largest unit.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!([counted(1, "delivery"), counted(2, "delivery"), counted(0, "message")], ["1 delivery", "2 deliveries", "0 messages"]);
        let at = |second| Timestamp::from_second(second).expect("in range");
        assert_eq!(
            [ago(at(0), at(41 * 60)), ago(at(9), at(0)), ahead(at(200), at(0)), ahead(at(0), at(5))],
            ["41 min", "0 s", "in 3 min", "now"]
        );
        assert_eq!([span(Duration::from_secs(7200)), span(Duration::from_secs(172_800))], ["2 h", "2 d"]);
    }
}
