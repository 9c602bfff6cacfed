//! How often a policy was asked and what it said, since the gateway began. A reload counts on.

use secmx_core::ruling::Ruling;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rulings by name, in the order of [`Tally::rulings`].
const NAMES: [&str; 6] = ["pass", "accept", "reject", "defer", "quarantine", "discard"];

/// Counts that sessions add to without waiting for each other.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rulings: [AtomicU64; NAMES.len()],
    faults: AtomicU64,
    microseconds: AtomicU64,
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

    pub(crate) fn read(&self) -> Tallied {
        let rulings = NAMES.into_iter().zip(&self.rulings).map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        Tallied {
            rulings: rulings.filter(|(_, count)| *count > 0).collect(),
            faults: self.faults.load(Ordering::Relaxed),
            microseconds: self.microseconds.load(Ordering::Relaxed),
        }
    }
}

impl Tallied {
    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.rulings.iter().map(|(_, count)| count).sum::<u64>() + self.faults
    }
}
