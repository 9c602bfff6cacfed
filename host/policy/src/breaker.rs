//! Stops asking a policy that keeps failing: "Five faults in 10 s trip a breaker; half-open after 30 s with back-off".
//!
//! While it is open every question is a fault at once, so that a broken policy costs neither time nor turns of the engine.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const FAULTS: usize = 5;
const WITHIN: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(600);

/// One policy's breaker. The time is an argument.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

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

    /// The policy failed.
    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.state();
        if let Some(open) = &mut state.open {
            open.wait = (open.wait * 2).min(WAIT_MAX);
            open.until = now + open.wait;
            return;
        }
        state.faults.retain(|fault| now.duration_since(*fault) < WITHIN);
        state.faults.push_back(now);
        if state.faults.len() >= FAULTS {
            state.open = Some(Open { until: now + WAIT, wait: WAIT });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_faults_in_ten_seconds_open_it_and_one_answer_closes_it() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        (0..4).for_each(|n| breaker.failed(at(n)));
        assert!(breaker.allows(at(4)));
        breaker.failed(at(9));
        assert!(!breaker.allows(at(10)) && !breaker.allows(at(38)));
        assert!(breaker.allows(at(39)), "half-open: one question");
        assert!(!breaker.allows(at(39)), "and no second");
        breaker.failed(at(40));
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
            breaker.failed(start + Duration::from_secs(3 * n));
            assert!(breaker.allows(start + Duration::from_secs(3 * n)), "{n}");
        }
    }
}
