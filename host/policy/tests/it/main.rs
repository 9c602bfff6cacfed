//! What callers of `secmx-policy` can rely on: the shipped roles, chains, and guests that mean harm.

mod cases;
mod chains;
mod compiled;
mod cost;
mod documents;
mod escrow;
mod guests;
mod hostile;
mod inert;
mod manifests;
mod messages;
mod opaque;
mod powers;
mod receivers;
mod s8;
mod senders;
mod shipped;
mod table;

use secmx_policy::{Observer, PolicySet, PolicySource, Runtime, RuntimeLimits};
use std::sync::{Arc, Mutex};

/// Every event as JSON, in the order it was told.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn observer(&self) -> Arc<Observer> {
        let lines = self.0.clone();
        Arc::new(move |event| lines.lock().expect("not poisoned").push(serde_json::to_string(event).expect("an event is JSON")))
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

pub(crate) fn runtime() -> (Runtime, Log) {
    let log = Log::default();
    let limits = RuntimeLimits { concurrent_questions: 8, ..RuntimeLimits::default() };
    (Runtime::new(limits, log.observer()).expect("an engine"), log)
}

/// The shipped roles and these policies behind them.
pub(crate) fn set(sources: Vec<PolicySource>) -> (PolicySet, Log) {
    let (runtime, log) = runtime();
    (PolicySet::load(&runtime, sources).expect("loads"), log)
}
