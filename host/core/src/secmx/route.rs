//! A policy's plan, held to the host's floors and invariants, as the connections that may be tried.
//!
//! There is no role logic here: what is tried and in which order is the plan's. What is here holds whatever a plan says: floors only
//! rise (invariant 2), a TLS attempt precedes any plaintext to the same host (L1-2), no plaintext while a secure candidate is untried
//! (L2-2), never plaintext to an SRV host (decision 2), never under a secure-only role (L2-4), and nothing at all on a bogus answer (S-3).

use super::discovery::{AnswerKind, Discovery};
use super::exchanger::{Exchanger, ExchangerName};
use crate::channel::{Level, Requirement, TlsUse};
use crate::role::SenderRole;
use crate::ruling::Plan;
use std::collections::BTreeSet;
use std::fmt;

/// Exchangers of one run, whatever was published.
const HOSTS_MAX: usize = 10;

/// One connection to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Index into the exchangers of the discovery.
    pub exchanger: usize,
    /// How TLS is used.
    pub tls: TlsUse,
    /// What the channel must meet.
    pub requirement: Requirement,
}

/// What operator and message demand of every candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floors {
    /// Least role.
    pub role: SenderRole,
    /// Least level.
    pub level: Requirement,
    /// Whether plaintext may be used at all (L2-3).
    pub plaintext: bool,
}

/// The plan names an exchanger that does not exist: a fault of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPlan {
    /// What it named.
    pub exchanger: u32,
}

impl fmt::Display for BadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plan names exchanger {}, which does not exist", self.exchanger)
    }
}

impl std::error::Error for BadPlan {}

/// Connections to try, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Over TLS, in the order of the plan. They come before any of `plain`, wherever the plan had that, within the bounds of decision 3.
    pub(super) secure: Vec<Candidate>,
    /// Exchangers that may get the message in the clear once TLS with them was tried and was the trouble.
    pub(super) plain: Vec<usize>,
    /// The plan named more hosts than one run tries.
    pub(super) cut: bool,
}

impl Route {
    /// The route of `plan`. Errors when the plan is not about these exchangers.
    pub fn new(plan: &Plan, discovery: &Discovery, floors: Floors) -> Result<Self, BadPlan> {
        let mut route = Self::default();
        let role = plan.role.max(floors.role);
        for step in &plan.steps {
            let index = usize::try_from(step.exchanger).unwrap_or(usize::MAX);
            let exchanger = discovery.exchangers.get(index).ok_or(BadPlan { exchanger: step.exchanger })?;
            // "Bogus never falls through" (decision 6).
            if discovery.secmx == AnswerKind::Bogus && !exchanger.is_configured() {
                continue;
            }
            let host = exchanger.floor().join(published_floor(exchanger, discovery));
            let mut requirement = Requirement::at_least(step.at_least).join(floors.level).join(host);
            if role == SenderRole::SecureOnly || !floors.plaintext {
                requirement = requirement.join(Requirement::at_least(Level::Encrypted));
            }
            route.add(index, exchanger, requirement);
        }
        Ok(route)
    }

    /// Connections over TLS, in the order in which they are tried.
    pub fn secure(&self) -> &[Candidate] {
        &self.secure
    }

    /// Exchangers, by index, that may get the message in the clear once TLS with them was tried and was the trouble.
    pub fn plain(&self) -> &[usize] {
        &self.plain
    }

    fn add(&mut self, index: usize, exchanger: &Exchanger, requirement: Requirement) {
        let known = |candidate: &Candidate| candidate.exchanger == index;
        if self.hosts() >= HOSTS_MAX && !self.secure.iter().any(known) {
            self.cut = true;
            return;
        }
        let tls = if exchanger.implicit_tls() { TlsUse::Implicit } else { TlsUse::Required };
        let candidate = Candidate { exchanger: index, tls, requirement: requirement.join(Requirement::at_least(Level::Encrypted)) };
        // What fails an earlier step that asks for as little fails this one too.
        if !self.secure.iter().any(|earlier| known(earlier) && earlier.requirement <= candidate.requirement) {
            self.secure.push(candidate);
        }
        if requirement == Requirement::NONE && !self.plain.contains(&index) {
            self.plain.push(index);
        }
    }

    fn hosts(&self) -> usize {
        self.secure.iter().map(|candidate| candidate.exchanger).collect::<BTreeSet<_>>().len()
    }
}

/// "Never plaintext to an SRV host" (decision 2), also where MX names the same host.
fn published_floor(exchanger: &Exchanger, discovery: &Discovery) -> Requirement {
    match &exchanger.name {
        ExchangerName::Domain(name) if discovery.published.contains(name) => Requirement::at_least(Level::Encrypted),
        ExchangerName::Domain(_) | ExchangerName::Address(_) => Requirement::NONE,
    }
}
