//! The best level that each domain was ever reached with, kept over restarts: a domain that was once reached well and is reached worse
//! today may be under attack.

use crate::kept;
use secmx_core::channel::Level;
use secmx_core::mail::Domain;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long what was learnt may stay in memory only.
const SAVED_EVERY: Duration = Duration::from_secs(1);

/// Domains that are remembered; beyond that no new one is.
const DOMAINS_MAX: usize = 200_000;

/// The memory.
#[derive(Debug)]
pub struct Levels {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    best: BTreeMap<Domain, Level>,
    changed: bool,
}

impl Levels {
    /// Reads it without changing anything: what cannot be read counts as nothing learnt.
    pub fn read(state: &Path) -> Self {
        let path = state.join("levels.json");
        let best = std::fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        Self { path, state: Mutex::new(State { best, changed: false }) }
    }

    /// Reads it; nothing was learnt where there is no file, or one that cannot be read, which is then moved aside and said.
    pub fn open(state: &Path) -> (Self, Option<String>) {
        let path = state.join("levels.json");
        let (best, trouble) = kept::open(&path);
        (Self { path, state: Mutex::new(State { best, changed: false }) }, trouble)
    }

    /// The best level so far.
    pub fn best(&self, domain: &Domain) -> Option<Level> {
        self.lock().best.get(domain).copied()
    }

    /// Takes note of a level that the domain was reached with.
    pub fn reached(&self, domain: &Domain, level: Level) {
        let mut state = self.lock();
        let State { best, changed } = &mut *state;
        if best.get(domain).is_some_and(|best| *best >= level) || (best.len() >= DOMAINS_MAX && !best.contains_key(domain)) {
            return;
        }
        best.insert(domain.clone(), level);
        *changed = true;
    }

    /// Writes it whenever it has changed, and once more at the end. A write that fails is tried again.
    pub async fn keep(&self, stop: CancellationToken) {
        kept::saving(SAVED_EVERY, stop, || self.save()).await;
    }

    fn save(&self) {
        let json = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.changed) {
                return;
            }
            serde_json::to_vec(&state.best).unwrap_or_default()
        };
        if kept::write(&self.path, &json).is_err() {
            self.lock().changed = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_level_stays_over_a_restart_and_never_falls() {
        let folder = tempfile::tempdir().expect("a directory");
        let domain = Domain::parse("partner.test").expect("valid");
        let (levels, trouble) = Levels::open(folder.path());
        assert_eq!((levels.best(&domain), trouble), (None, None));
        levels.reached(&domain, Level::Domain);
        levels.reached(&domain, Level::Plain);
        levels.save();
        let (again, _) = Levels::open(folder.path());
        assert_eq!(again.best(&domain), Some(Level::Domain));
        std::fs::write(folder.path().join("levels.json"), "{").expect("written");
        let (fresh, trouble) = Levels::open(folder.path());
        assert!(fresh.best(&domain).is_none() && trouble.is_some_and(|text| text.contains("damaged")));
    }
}
