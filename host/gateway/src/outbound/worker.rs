//! One attempt at one delivery: discover, ask for a plan, follow the run, settle.
//!
//! The steps stand here in order; what each decides is `core`'s or a policy's.

use super::scheduler::Courier;
use super::scout::Notes;
use super::search::{self, Target};
use super::{connector, settle};
use crate::generation::Generation;
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::channel::{Channel, Level};
use secmx_core::mail::{MailDomain, Mailbox};
use secmx_core::queue::{Delivery, Message, Via};
use secmx_core::report::{Cause, Event, Failure};
use secmx_core::ruling::{Plan, Ruling};
use secmx_core::secmx::delivery::{Fate, Next, Run, Verdict};
use secmx_core::secmx::discovery::{self, AnswerKind};
use secmx_core::secmx::exchanger::{Exchanger, Source};
use secmx_core::secmx::route::{Candidate, Floors, Route};
use secmx_core::secmx::tls_rpt;
use secmx_policy::{DestinationFacts, ExchangerFacts, Fault, Minutes};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// What one attempt works with.
pub(super) struct Job<'a> {
    pub(super) courier: &'a Courier,
    pub(super) generation: Arc<Generation>,
    pub(super) message: Message,
    pub(super) delivery: Delivery,
    pub(super) now: Timestamp,
    /// What is seen on the way, where nothing is sent: a rehearsal.
    pub(super) notes: Option<Notes>,
    minutes: Mutex<Minutes>,
    /// Made once, when a host is ready for the message.
    pub(super) signature: OnceCell<Bytes>,
}

/// One candidate of the run: what the connector works with.
pub(super) struct Attempt<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) target: &'a Target,
    pub(super) exchanger: &'a Exchanger,
    pub(super) candidate: Candidate,
    /// Who still waits.
    pub(super) recipients: &'a [Mailbox],
}

/// What an attempt found at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// A host that takes mail.
    Taken,
    /// Nobody who answered.
    Nobody,
    /// Neither: it was refused, or never tried.
    Unclear,
}

impl Reached {
    fn of(verdict: &Verdict) -> Self {
        let unanswered = |failure: &Failure| matches!(failure.cause, Cause::Unreachable(_) | Cause::Broken(_) | Cause::Unwelcome(_));
        if verdict.recipients.iter().any(|(_, fate)| matches!(fate, Fate::Delivered { .. })) {
            Self::Taken
        } else if !verdict.evidence.is_empty() && verdict.evidence.iter().all(unanswered) {
            Self::Nobody
        } else {
            Self::Unclear
        }
    }
}

/// Makes one attempt and writes down what came of it. Whatever happens, the delivery is settled or its lease runs out; it is never lost.
pub(super) async fn attempt(courier: &Courier, delivery: Delivery) -> Reached {
    let message = match courier.spool.message(delivery.key.id).await {
        Ok(message) => message,
        Err(error) => {
            courier.log.write(&Event::SpoolFailed { detail: error.to_string() });
            return Reached::Unclear;
        }
    };
    let job = Job::new(courier, message, delivery);
    let verdict = job.verdict().await;
    let reached = Reached::of(&verdict);
    if let Err(error) = settle::settle(&job, verdict).await {
        courier.log.write(&Event::SpoolFailed { detail: error.to_string() });
    }
    reached
}

impl<'a> Job<'a> {
    /// Work that begins now, under what is in force now.
    pub(super) fn new(courier: &'a Courier, message: Message, delivery: Delivery) -> Self {
        let (generation, now) = (courier.current.load_full(), courier.clock.now());
        Self { courier, generation, message, delivery, now, notes: None, minutes: Mutex::default(), signature: OnceCell::new() }
    }
}

impl Job<'_> {
    /// What the attempt comes to for every recipient.
    async fn verdict(&self) -> Verdict {
        let Some(target) = self.discover().await else {
            return self.wait(Cause::Fault("the next hop in the queue is not a host with a port".into()));
        };
        self.log_discovery(&target);
        if let (Some(trouble), Some(domain)) = (&target.sts_trouble, self.delivery.domain.name()) {
            self.count(tls_rpt::Policy::unknown_sts(domain), Err(trouble.clone()));
        }
        match self.plan(&target).await {
            Ok((route, plan)) => self.follow(route, plan, &target).await,
            Err(verdict) => verdict,
        }
    }

    /// The connections that may be tried, and the plan they come from. Errors with what the attempt comes to without any.
    pub(super) async fn plan(&self, target: &Target) -> Result<(Route, Plan), Verdict> {
        let mut minutes = Minutes::default();
        let routing = self.generation.policies.hearing(&mut minutes).route(self.facts(target)).await;
        self.add(minutes);
        let routing = routing.map_err(|fault| self.wait(Cause::Fault(fault.to_string())))?;
        if let Some(verdict) = self.overruled(&routing.ruling) {
            return Err(verdict);
        }
        match Route::new(&routing.plan, &target.discovery, self.floors()) {
            Ok(route) => Ok((route, routing.plan)),
            Err(fault) => Err(self.wait(Cause::Fault(fault.to_string()))),
        }
    }

    /// What the sender policies said so far.
    pub(super) fn minutes(&self) -> Minutes {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, minutes: Minutes) {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner).append(minutes);
    }

    fn wait(&self, cause: Cause) -> Verdict {
        Verdict::deferred(&self.delivery.recipients, &cause.into())
    }

    /// What a policy that ruled against sending comes to.
    fn overruled(&self, ruling: &Ruling) -> Option<Verdict> {
        let policy = |reason: &secmx_core::ruling::Reason| Cause::Policy { code: reason.code.clone(), text: reason.text.clone() };
        match ruling {
            Ruling::Pass | Ruling::Accept(_) => None,
            Ruling::Reject { reason, .. } | Ruling::Discard(reason) => {
                Some(Verdict::returned(&self.delivery.recipients, &policy(reason).into()))
            }
            Ruling::Defer { reason, .. } | Ruling::Quarantine(reason) => Some(self.wait(policy(reason))),
        }
    }

    /// Tries one candidate after the other until the run is over.
    pub(super) async fn follow(&self, route: Route, plan: Plan, target: &Target) -> Verdict {
        let (began, discovery) = (Instant::now(), &target.discovery);
        let mut run = Run::new(route, plan, discovery, &self.delivery.recipients);
        loop {
            match run.next(began.elapsed()) {
                Next::Finished(verdict) => return verdict,
                Next::Try(candidate) => {
                    if let Some(exchanger) = discovery.exchangers.get(candidate.exchanger) {
                        let outcome =
                            connector::attempt(&Attempt { job: self, target, exchanger, candidate, recipients: run.waiting() }).await;
                        run.record(&candidate, outcome);
                    }
                }
            }
        }
    }

    /// Where the mail may go. `None` when the queue names a next hop that cannot be one.
    pub(super) async fn discover(&self) -> Option<Target> {
        let config = &self.generation.config;
        match (&self.delivery.via, &self.delivery.domain) {
            (Via::Configured(next_hop), _) => discovery::configured(next_hop).map(Target::from),
            (Via::Discovery, MailDomain::Literal(address)) => Some(discovery::literal(*address, config.send.port).into()),
            (Via::Discovery, MailDomain::Name(domain)) => {
                Some(search::search(self.courier, &self.generation, domain, self.now, self.is_report()).await)
            }
        }
    }

    /// What operator and message demand, whatever a policy plans.
    fn floors(&self) -> Floors {
        Floors { role: self.delivery.role, level: self.delivery.floor, plaintext: self.generation.config.send.plaintext }
    }

    /// The best level that the domain was ever reached with, over hosts that it published itself.
    pub(super) fn best_level(&self) -> Option<Level> {
        let domain = self.delivery.domain.name().filter(|_| self.delivery.via == Via::Discovery);
        domain.and_then(|domain| self.courier.levels.best(domain))
    }

    fn facts(&self, target: &Target) -> DestinationFacts {
        let discovery = &target.discovery;
        DestinationFacts {
            domain: self.delivery.domain.to_string(),
            recipients: self.delivery.recipients.clone(),
            reverse_path: self.message.envelope.reverse_path.clone(),
            message_id: self.message.id.to_string(),
            tags: self.message.tags.clone(),
            role: self.delivery.role,
            waited: self.delivery.waited(&self.message, self.now),
            attempts: self.delivery.attempts,
            secmx: answer(discovery.secmx),
            mx: answer(discovery.mx),
            sts_mode: target.sts_mode().into(),
            exchangers: discovery.exchangers.iter().map(|exchanger| exchanger_facts(exchanger, &self.delivery.domain)).collect(),
            best_level: self.best_level(),
        }
    }

    fn log_discovery(&self, target: &Target) {
        let discovery = &target.discovery;
        self.courier.log.write(&Event::Discovered {
            queue: self.message.id.to_string(),
            domain: self.delivery.domain.to_string(),
            secmx: discovery.secmx.name(),
            mx: discovery.mx.name(),
            exchangers: discovery.exchangers.iter().map(|exchanger| format!("{}:{}", exchanger.name, exchanger.port)).collect(),
            notes: discovery.notes.clone(),
        });
    }
}

impl Attempt<'_> {
    /// The last word of the sender policies, now that a channel stands.
    pub(super) async fn admit(&self, channel: &Channel) -> Result<Ruling, Fault> {
        let index = u32::try_from(self.candidate.exchanger).unwrap_or(u32::MAX);
        let mut minutes = Minutes::default();
        let facts = self.job.facts(self.target);
        let ruling = self.job.generation.policies.hearing(&mut minutes).admit(facts, index, channel).await;
        self.job.add(minutes);
        ruling
    }
}

fn answer(kind: AnswerKind) -> secmx_policy::Answer {
    match kind {
        AnswerKind::Found => secmx_policy::Answer::Found,
        AnswerKind::None => secmx_policy::Answer::None,
        AnswerKind::Denied => secmx_policy::Answer::Denied,
        AnswerKind::Unknown => secmx_policy::Answer::Unknown,
        AnswerKind::Bogus => secmx_policy::Answer::Bogus,
    }
}

fn exchanger_facts(exchanger: &Exchanger, domain: &MailDomain) -> ExchangerFacts {
    ExchangerFacts {
        name: exchanger.name.to_string(),
        port: exchanger.port,
        source: match exchanger.source {
            Source::SecmxSrv => secmx_policy::Source::SecmxSrv,
            Source::SmtpTlsSrv => secmx_policy::Source::SmtpTlsSrv,
            Source::Mx => secmx_policy::Source::Mx,
            Source::AddressRecord => secmx_policy::Source::AddressRecord,
            Source::Configured(_) => secmx_policy::Source::Configured,
        },
        preference: exchanger.preference,
        dnssec_secure: exchanger.dnssec_secure,
        expected: exchanger.expected(domain),
    }
}
