//! Stops asking a policy that keeps failing: "Five faults in 10 s trip a breaker; half-open after 30 s with back-off".
//!
//! While it is open every question is a fault at once, so that a broken policy costs neither time nor turns of the engine.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a policy may fail before it is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// Faults that open the breaker; 0 never opens it.
    pub faults: u32,
    /// Time within which they must come.
    pub within: Duration,
    /// How long it stays open at first. It doubles each time the question that is then let through fails too.
    pub wait: Duration,
    /// How long it stays open at most.
    pub wait_max: Duration,
}

impl Default for Tolerance {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { faults: 5, within: seconds(10), wait: seconds(30), wait_max: seconds(600) }
    }
}

/// One policy's breaker. The time is an argument.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    tolerance: Tolerance,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: VecDeque<Instant>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    wait: Duration,
}

impl Breaker {
    pub(crate) fn new(tolerance: Tolerance) -> Self {
        Self { tolerance, state: Mutex::default() }
    }

    /// Whether the policy may be asked. Once the wait is over one question goes through, and the others wait for how it ends.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        match &mut self.state().open {
            None => true,
            Some(open) if now < open.until => false,
            Some(open) => {
                open.until = now + open.wait;
                true
            }
        }
    }

    /// The policy answered: an open breaker closes.
    pub(crate) fn answered(&self) {
        let mut state = self.state();
        if state.open.take().is_some() {
            state.faults.clear();
        }
    }

    /// The policy failed. Gives how long it is left alone from now on, when that has just been decided.
    pub(crate) fn failed(&self, now: Instant) -> Option<Duration> {
        let Tolerance { faults, within, wait, wait_max } = self.tolerance;
        let mut state = self.state();
        if let Some(open) = &mut state.open {
            open.wait = open.wait.saturating_mul(2).min(wait_max);
            open.until = now + open.wait;
            return Some(open.wait);
        }
        state.faults.retain(|fault| now.duration_since(*fault) < within);
        state.faults.push_back(now);
        let opens = faults > 0 && state.faults.len() >= faults as usize;
        if opens {
            state.open = Some(Open { until: now + wait, wait });
        }
        opens.then_some(wait)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_faults_in_ten_seconds_open_it_and_one_answer_closes_it() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!((0..4).all(|n| breaker.failed(at(n)).is_none()));
        assert!(breaker.allows(at(4)));
        assert_eq!(breaker.failed(at(9)), Some(Duration::from_secs(30)));
        assert!(!breaker.allows(at(10)) && !breaker.allows(at(38)));
        assert!(breaker.allows(at(39)), "half-open: one question");
        assert!(!breaker.allows(at(39)), "and no second");
        assert_eq!(breaker.failed(at(40)), Some(Duration::from_secs(60)));
        assert!(!breaker.allows(at(99)) && breaker.allows(at(100)), "twice the wait");
        breaker.answered();
        assert!(breaker.allows(at(100)));
        breaker.failed(at(101));
        assert!(breaker.allows(at(101)), "the old faults are forgotten");
    }

    #[test]
    fn faults_far_apart_do_not_open_it() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        for n in 0..20 {
            assert_eq!(breaker.failed(start + Duration::from_secs(3 * n)), None);
            assert!(breaker.allows(start + Duration::from_secs(3 * n)), "{n}");
        }
    }
    #[test]
    fn how_much_is_borne_is_a_setting() {
        let tolerance = Tolerance { faults: 1, wait: Duration::from_secs(2), wait_max: Duration::from_secs(3), ..Tolerance::default() };
        let (breaker, start) = (Breaker::new(tolerance), Instant::now());
        assert_eq!(breaker.failed(start), Some(Duration::from_secs(2)));
        assert_eq!(breaker.failed(start), Some(Duration::from_secs(3)), "not for longer than that");
        let patient = Breaker::new(Tolerance { faults: 0, ..Tolerance::default() });
        assert!((0..100).all(|_| patient.failed(start).is_none()) && patient.allows(start));
    }
}
