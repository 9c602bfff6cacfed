//! Who was asked one question, in which order, and what each of them said: what the decision log shows as the chain.

use crate::policy::Identity;
use crate::resolver::{Lookup, NoAnswer};
use crate::set::Mode;
use secmx_core::ruling::Reason;
use std::sync::Arc;
use std::time::Duration;

/// What a question to one policy cost, and what it used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cost {
    /// Memory that it took, octets.
    pub memory_bytes: usize,
    /// Host functions that it called, and how often.
    pub calls: Vec<(&'static str, u32)>,
    /// What DNS answered it, by `name KIND`.
    pub lookups: Vec<(String, Result<Lookup, NoAnswer>)>,
}

/// One policy's part.
#[derive(Debug, Clone)]
pub struct Said {
    pub(crate) identity: Arc<Identity>,
    /// Whether what it said counted.
    pub mode: Mode,
    /// The word of the ruling that counted; after a fault what the fault became.
    pub ruling: &'static str,
    /// Why, unless it passed.
    pub reason: Option<Reason>,
    /// What went wrong, when it was a fault.
    pub fault: Option<String>,
    /// How long it took, waiting for its turn included.
    pub took: Duration,
    /// What it cost.
    pub cost: Cost,
}

impl Said {
    /// Name of the policy.
    pub fn policy(&self) -> &str {
        &self.identity.name
    }

    /// `name@version`, or the name alone when its component says no version.
    pub fn title(&self) -> String {
        match &self.identity.version {
            Some(version) => format!("{}@{version}", self.identity.name),
            None => self.identity.name.clone(),
        }
    }

    /// SHA-256 of the component, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.identity.sha256
    }
}

/// What all who were asked said, in order.
#[derive(Debug, Clone, Default)]
pub struct Minutes(Vec<Said>);

impl Minutes {
    pub(crate) fn note(&mut self, said: Said) {
        self.0.push(said);
    }

    /// Adds what was said to a later question.
    pub fn append(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// Who said what.
    pub fn said(&self) -> &[Said] {
        &self.0
    }
}
