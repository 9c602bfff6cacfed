//! One run of one delivery: what to try next, and what it all came to for every recipient.
//!
//! The run is told what became of each connection and knows nothing else. "Proof of absence" and "could not tell" stay apart to the end
//! (decision 7, invariant 5).

use super::discovery::{AnswerKind, Discovery};
use super::exchanger::Exchanger;
use super::route::{Candidate, Route};
use crate::channel::{Requirement, TlsUse};
use crate::mail::Mailbox;
use crate::report::{Cause, Failure, Reply};
use crate::ruling::{Exhausted, Plan};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// "TLS-first across the MX list is capped at 5 hosts / 60 s" (decision 3). Hosts behind the cap are tried after plaintext to those before
/// it, each with TLS first: the cap delays no mail and loses no host.
const TLS_FIRST: Duration = Duration::from_secs(60);
const TLS_FIRST_HOSTS: usize = 5;

/// What became of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A transaction came about; its result for each recipient.
    Transacted {
        /// The reply that took the message, or why there was none.
        results: Vec<(Mailbox, Result<Reply, Failure>)>,
        /// Whether content went out.
        transmitted: bool,
        /// Whether the peer took over what the sender asked to be told (RFC 3461).
        notifies: bool,
    },
    /// None came about, and no octet of the message went out.
    Failed(Failure),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Try this, then say what became of it.
    Try(Candidate),
    /// The run is over.
    Finished(Verdict),
}

/// What a run comes to for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// A peer took the message.
    Delivered {
        /// What it said.
        reply: Reply,
        /// Whether it tells the sender, if the sender asked for that (RFC 3461).
        notifies: bool,
    },
    /// It waits for another attempt.
    Deferred(Failure),
    /// It goes back to the sender.
    Returned(Failure),
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Every recipient once.
    pub recipients: Vec<(Mailbox, Fate)>,
    /// What every connection failed with, in order.
    pub evidence: Vec<Failure>,
}

impl Verdict {
    /// All of them wait, for this.
    pub fn deferred(recipients: &[Mailbox], failure: &Failure) -> Self {
        Self::same(recipients, failure, Fate::Deferred)
    }

    /// All of them go back, for this.
    pub fn returned(recipients: &[Mailbox], failure: &Failure) -> Self {
        Self::same(recipients, failure, Fate::Returned)
    }

    fn same(recipients: &[Mailbox], failure: &Failure, fate: fn(Failure) -> Fate) -> Self {
        let fates = recipients.iter().map(|to| (to.clone(), fate(failure.clone())));
        Self { recipients: fates.collect(), evidence: vec![failure.clone()] }
    }
}

/// A run under way.
#[derive(Debug, Clone)]
pub struct Run {
    exchangers: Vec<Exchanger>,
    secure: VecDeque<Candidate>,
    plain: Vec<usize>,
    /// Exchangers whose last word was trouble with TLS, and whether it was merely not offered.
    fallible: Vec<(usize, bool)>,
    tls_first: TlsFirst,
    waiting: Vec<Mailbox>,
    fates: Vec<(Mailbox, Fate)>,
    evidence: Vec<Failure>,
    /// Discovery told everything, and every host of it is in the run.
    certain: bool,
    exhausted: Exhaustion,
}

/// How far TLS was tried with the hosts that may also get plaintext.
#[derive(Debug, Clone, Default)]
struct TlsFirst {
    hosts: BTreeSet<usize>,
    /// When the first of them was tried, since the run began.
    began: Option<Duration>,
}

impl TlsFirst {
    fn is_over(&self, elapsed: Duration) -> bool {
        self.hosts.len() >= TLS_FIRST_HOSTS || self.began.is_some_and(|began| elapsed.saturating_sub(began) > TLS_FIRST)
    }
}

/// What happens when nothing is left to try.
#[derive(Debug, Clone)]
struct Exhaustion {
    plan: Plan,
    /// What to say when there was nothing to try in the first place.
    nothing: Cause,
}

impl Run {
    /// A run over `route` for these recipients.
    pub fn new(route: Route, plan: Plan, discovery: &Discovery, recipients: &[Mailbox]) -> Self {
        let certain = |kind| matches!(kind, AnswerKind::Found | AnswerKind::None | AnswerKind::Denied);
        Self {
            exchangers: discovery.exchangers.clone(),
            secure: route.secure.into(),
            plain: route.plain,
            fallible: Vec::new(),
            tls_first: TlsFirst::default(),
            waiting: recipients.to_vec(),
            fates: Vec::new(),
            evidence: Vec::new(),
            certain: certain(discovery.secmx) && certain(discovery.mx) && discovery.complete && !route.cut,
            exhausted: Exhaustion { nothing: nothing_to_try(&plan, discovery), plan },
        }
    }

    /// Recipients that have no fate yet.
    pub fn waiting(&self) -> &[Mailbox] {
        &self.waiting
    }

    /// What to do after `elapsed` of this run.
    pub fn next(&mut self, elapsed: Duration) -> Next {
        if !self.waiting.is_empty() {
            // L2-2: "No plaintext while a secure candidate is untried", but for the bounds of decision 3, which are about hosts that may
            // get plaintext; any other one always comes before it.
            let bounded = self.secure.iter().all(|candidate| self.plain.contains(&candidate.exchanger));
            let early = if bounded && self.tls_first.is_over(elapsed) { self.next_plain() } else { None };
            if let Some(candidate) = early.or_else(|| self.next_secure(elapsed)).or_else(|| self.next_plain()) {
                return Next::Try(candidate);
            }
        }
        Next::Finished(self.verdict())
    }

    fn next_secure(&mut self, elapsed: Duration) -> Option<Candidate> {
        let candidate = self.secure.pop_front()?;
        if self.plain.contains(&candidate.exchanger) {
            self.tls_first.hosts.insert(candidate.exchanger);
            self.tls_first.began.get_or_insert(elapsed);
        }
        Some(candidate)
    }

    /// The next host that may get the message in the clear: TLS was tried with it, on a connection of its own, and was the trouble
    /// (L1-2, L1-3, L1-4). A host that could not be reached, or that wants TLS, is not asked again.
    fn next_plain(&mut self) -> Option<Candidate> {
        let untried = |index: &usize| self.secure.iter().any(|candidate| candidate.exchanger == *index);
        let not_offered = |index: &usize| self.fallible.iter().find(|(host, _)| host == index).map(|(_, not_offered)| *not_offered);
        let (place, tls) = self.plain.iter().enumerate().filter(|(_, index)| !untried(index)).find_map(|(place, index)| {
            let tls = if not_offered(index)? { TlsUse::Offered } else { TlsUse::Without };
            Some((place, tls))
        })?;
        Some(Candidate { exchanger: self.plain.remove(place), tls, requirement: Requirement::NONE })
    }

    /// Takes what became of the candidate that was last to be tried.
    pub fn record(&mut self, candidate: &Candidate, outcome: Outcome) {
        match outcome {
            Outcome::Failed(failure) => self.failed(candidate, failure),
            Outcome::Transacted { results, transmitted, notifies } => {
                // Nothing is settled for anybody: the next host may be in a better mood (RFC 5321, 5.1).
                let open = |result: &Result<Reply, Failure>| result.as_ref().is_err_and(|failure| !is_final(&failure.cause));
                let first = results.iter().find_map(|(_, result)| result.as_ref().err().cloned());
                match first.filter(|_| !transmitted && results.iter().all(|(_, result)| open(result))) {
                    Some(failure) => self.failed(candidate, failure),
                    None => results.into_iter().for_each(|(to, result)| self.settle(to, result, notifies)),
                }
            }
        }
    }

    fn failed(&mut self, candidate: &Candidate, failure: Failure) {
        self.fallible.retain(|(host, _)| *host != candidate.exchanger);
        if failure.cause.is_tls() {
            self.fallible.push((candidate.exchanger, failure.cause == Cause::TlsNotOffered));
        }
        if failure.cause == Cause::LoopsToUs {
            self.keep_before(candidate.exchanger);
        }
        // A fault of ours would only repeat itself with every host.
        if matches!(failure.cause, Cause::Fault(_)) {
            self.waiting.drain(..).for_each(|to| self.fates.push((to, Fate::Deferred(failure.clone()))));
        }
        self.evidence.push(failure);
    }

    /// The loop rule for a host that turned out to be this gateway when its address was known: what is not more preferred goes (D-8).
    fn keep_before(&mut self, own: usize) {
        let Some(own) = self.exchangers.get(own) else { return };
        let stays =
            |index: usize| self.exchangers.get(index).is_some_and(|host| host.is_srv() != own.is_srv() || host.preference < own.preference);
        self.secure.retain(|candidate| stays(candidate.exchanger));
        self.plain.retain(|index| stays(*index));
    }

    /// One recipient's result of a transaction. Once content went out there is no other host for it in this run (L1-4).
    fn settle(&mut self, to: Mailbox, result: Result<Reply, Failure>, notifies: bool) {
        let Some(place) = self.waiting.iter().position(|waiting| *waiting == to) else { return };
        self.waiting.remove(place);
        let fate = match result {
            Ok(reply) => Fate::Delivered { reply, notifies },
            Err(failure) => {
                self.evidence.push(failure.clone());
                if is_final(&failure.cause) { Fate::Returned(failure) } else { Fate::Deferred(failure) }
            }
        };
        self.fates.push((to, fate));
    }

    fn verdict(&mut self) -> Verdict {
        // A host that is this gateway is no host of the domain: "nothing left = none" (D-8).
        let is_proof = |cause: &Cause| cause.is_proof_of_absence() || *cause == Cause::LoopsToUs;
        let proved = self.certain && self.evidence.iter().all(|failure| is_proof(&failure.cause));
        let plan = &self.exhausted.plan;
        let end = if proved { &plan.when_proved } else { &plan.when_unknown };
        let failure = self.evidence.iter().rev().max_by_key(|failure| telling(&failure.cause));
        let failure = failure.cloned().unwrap_or_else(|| self.exhausted.nothing.clone().into());
        for to in self.waiting.drain(..) {
            let fate = match end {
                Exhausted::Defer => Fate::Deferred(failure.clone()),
                Exhausted::Bounce(_) => Fate::Returned(failure.clone()),
            };
            self.fates.push((to, fate));
        }
        Verdict { recipients: std::mem::take(&mut self.fates), evidence: std::mem::take(&mut self.evidence) }
    }
}

/// Whether the answer is for the message itself, so that no other host need be asked (RFC 5321, 4.2.1).
fn is_final(cause: &Cause) -> bool {
    matches!(cause, Cause::Rejected(_) | Cause::ExtensionMissing(_)) && !cause.lacks_require_tls()
}

/// How much a cause tells the sender, when several hosts failed in several ways (decision 8: 5.7.5 before 5.7.10 before the rest).
pub fn telling(cause: &Cause) -> u8 {
    match cause {
        Cause::Rejected(_) | Cause::ExtensionMissing(_) => 6,
        Cause::BelowRequirement(_) | Cause::TlsFailed(_) | Cause::TlsRefused(_) => 5,
        Cause::TlsNotOffered => 4,
        Cause::NeedsTls(_) | Cause::Deferred(_) | Cause::Policy { .. } | Cause::LoginFailed(_) => 3,
        Cause::Unwelcome(_) | Cause::Protocol(_) => 2,
        Cause::Broken(_) => 1,
        _ => 0,
    }
}

/// Why there was nothing to try.
fn nothing_to_try(plan: &Plan, discovery: &Discovery) -> Cause {
    let reason = match &plan.when_proved {
        Exhausted::Bounce(reason) => reason.text.clone(),
        Exhausted::Defer => "no host meets what is required".to_owned(),
    };
    match (discovery.secmx, discovery.mx) {
        (AnswerKind::Bogus, _) | (_, AnswerKind::Bogus) => Cause::DnsBogus("the records of the domain fail validation".into()),
        (AnswerKind::Unknown, _) => Cause::DnsUnknown("whether the domain has SecMX hosts could not be told".into()),
        (_, AnswerKind::Unknown) => Cause::DnsUnknown("the hosts of the domain could not be told".into()),
        _ if discovery.loops_to_us => Cause::LoopsToUs,
        _ if !discovery.exchangers.is_empty() => Cause::NoSecureExchanger(reason),
        _ if !discovery.complete => Cause::NoSecureExchanger(discovery.notes.join("; ")),
        (_, AnswerKind::Denied) => Cause::NullMx,
        _ => Cause::NoExchanger,
    }
}
