//! How often a policy was asked, what it said and what it counted itself, since the gateway began. A reload counts on.

use secmx_core::ruling::Ruling;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Rulings by name, in the order of [`Tally::rulings`].
const NAMES: [&str; 6] = ["pass", "accept", "reject", "defer", "quarantine", "discard"];

/// Counters that a policy may have; further names count for nothing, so that no guest fills our memory with them.
const COUNTERS_MAX: usize = 1_000;

/// Counts that sessions add to without waiting for each other.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rulings: [AtomicU64; NAMES.len()],
    faults: AtomicU64,
    microseconds: AtomicU64,
    counters: Mutex<BTreeMap<String, u64>>,
}

/// What a policy said so far. What became of its faults is among the rulings only where `on_error` made one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tallied {
    /// How often it ruled so, by name of the ruling; those that never came are left out.
    pub rulings: Vec<(&'static str, u64)>,
    /// How often it failed, or was not asked because it had failed too often.
    pub faults: u64,
    /// Time that it took, all questions together.
    pub microseconds: u64,
    /// What it counted itself (`host.count`), by name.
    pub counters: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn ruled(&self, ruling: &Ruling) {
        if let Some(counter) = NAMES.iter().position(|name| *name == ruling.name()).and_then(|at| self.rulings.get(at)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn took(&self, microseconds: u64) {
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Adds to the policy's own counters.
    pub(crate) fn count(&self, counts: BTreeMap<String, u64>) {
        if counts.is_empty() {
            return;
        }
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, by) in counts {
            if counters.len() < COUNTERS_MAX || counters.contains_key(&name) {
                let counter = counters.entry(name).or_default();
                *counter = counter.saturating_add(by);
            }
        }
    }

    pub(crate) fn read(&self) -> Tallied {
        let rulings = NAMES.into_iter().zip(&self.rulings).map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        Tallied {
            rulings: rulings.filter(|(_, count)| *count > 0).collect(),
            faults: self.faults.load(Ordering::Relaxed),
            microseconds: self.microseconds.load(Ordering::Relaxed),
            counters: self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Tallied {
    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.rulings.iter().map(|(_, count)| count).sum::<u64>() + self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_are_bounded() {
        let tally = Tally::default();
        tally.count(BTreeMap::from([("seen".to_owned(), u64::MAX)]));
        for number in 0..2 * COUNTERS_MAX {
            tally.count(BTreeMap::from([(format!("n{number}"), 1), ("seen".to_owned(), 1)]));
        }
        let counters = tally.read().counters;
        assert_eq!((counters.len(), counters.get("seen")), (COUNTERS_MAX, Some(&u64::MAX)));
    }
}
