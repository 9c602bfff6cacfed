//! A delivery without a message: everything that leads up to the moment at which content would go out, by the code that delivers.
//!
//! Nothing here decides anything. A rehearsal has a queue, a memory of connections and a cache of MTA-STS policies of its own, so that it
//! neither uses nor changes those of a running gateway.

use super::connector;
use super::pool::Pool;
use super::scheduler::Courier;
use super::search::{self, Target};
use super::worker::{Attempt, Job};
use crate::clock::Clock;
use crate::config::Config;
use crate::decisions::Decisions;
use crate::dns::Dns;
use crate::generation::Generation;
use crate::levels::Levels;
use crate::log::Log;
use crate::mta_sts::PolicyStore;
use crate::orders::Orders;
use crate::spool::LocalSpool;
use crate::tls::Identity;
use crate::tls_rpt::Books;
use crate::workshop;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use secmx_core::channel::{Channel, Requirement, TlsUse};
use secmx_core::mail::{Domain, Envelope, MailDomain, Mailbox, ReversePath};
use secmx_core::queue::{Delivery, DeliveryKey, Message, Origin, QueueId, Standing, Via};
use secmx_core::report::{Cause, Reply};
use secmx_core::role::SenderRole;
use secmx_core::ruling::Plan;
use secmx_core::secmx::delivery::{Outcome, Verdict};
use secmx_core::secmx::route::{Candidate, Route};
use secmx_core::smtp::client::Extensions;
use secmx_policy::{Minutes, Runtime};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// What a host showed before a message could have gone to it.
#[derive(Debug, Clone)]
pub struct Met {
    /// The channel.
    pub channel: Channel,
    /// What the host offers on it.
    pub extensions: Extensions,
}

/// What became of one connection.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Index into the exchangers of the discovery.
    pub exchanger: usize,
    /// Address and port.
    pub address: SocketAddr,
    /// How TLS was used.
    pub tls: TlsUse,
    /// How long it took, from dialling to hanging up.
    pub took: Duration,
    /// What it showed, if it came to that.
    pub met: Option<Met>,
    /// Why no message could have gone over it.
    pub trouble: Option<Cause>,
    /// What was said.
    pub dialogue: Vec<String>,
}

/// What was seen on the way, while one delivery is rehearsed.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The host is asked with MAIL and RCPT whether it would take mail.
    asks: bool,
    met: Mutex<Option<Met>>,
    said: Mutex<Vec<String>>,
    sightings: Mutex<Vec<Sighting>>,
}

impl Notes {
    pub(super) fn asks(&self) -> bool {
        self.asks
    }

    pub(super) fn met(&self, channel: &Channel, extensions: &Extensions) {
        *lock(&self.met) = Some(Met { channel: channel.clone(), extensions: extensions.clone() });
    }

    pub(super) fn said(&self, lines: &[String]) {
        lock(&self.said).extend_from_slice(lines);
    }

    /// A connection is over.
    pub(super) fn came_to(&self, candidate: &Candidate, address: SocketAddr, took: Duration, outcome: &Result<Outcome, Cause>) {
        let trouble = match outcome {
            Err(cause) => Some(cause.clone()),
            Ok(Outcome::Failed(failure)) => Some(failure.cause.clone()),
            Ok(Outcome::Transacted { results, .. }) => {
                results.iter().find_map(|(_, result)| result.as_ref().err()).map(|failure| failure.cause.clone())
            }
        };
        let (met, dialogue) = (lock(&self.met).take(), std::mem::take(&mut *lock(&self.said)));
        let (exchanger, tls) = (candidate.exchanger, candidate.tls);
        lock(&self.sightings).push(Sighting { exchanger, address, tls, took, met, trouble, dialogue });
    }

    fn finish(self) -> Vec<Sighting> {
        self.sightings.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What takes the place of a transaction: the message would go now.
pub(super) fn would_go(recipients: &[Mailbox]) -> Outcome {
    let reply = Reply::new(250, None, "not sent: this is a rehearsal");
    let results = recipients.iter().map(|to| (to.clone(), Ok(reply.clone()))).collect();
    Outcome::Transacted { results, transmitted: false, notifies: false }
}

/// What would be sent, and how.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Who sends; `None` is `<>`.
    pub from: ReversePath,
    /// To whom.
    pub to: Mailbox,
    /// How the host is found.
    pub via: Via,
    /// Least role.
    pub role: SenderRole,
    /// Least level.
    pub floor: Requirement,
    /// Whether REQUIRETLS goes with it.
    pub require_tls: bool,
}

/// What would be tried.
#[derive(Debug)]
pub struct Planned {
    /// The connections, and the plan they come from; or what it comes to without any.
    pub route: Result<(Route, Plan), Verdict>,
    /// What the sender policies said.
    pub minutes: Minutes,
}

/// What delivers, with nothing to deliver.
pub struct Scout {
    courier: Courier,
    generation: Arc<Generation>,
    _scratch: TempDir,
}

impl Scout {
    /// Builds what a gateway with this configuration would deliver with. Compiles policies: blocks for a while.
    pub fn new(config: Config) -> Result<Self> {
        let scratch = tempfile::tempdir().context("no directory for a queue")?;
        let (log, _) = Log::recording();
        let (limits, workshop) = (workshop::runtime_limits(&config), workshop::beside(&config));
        let runtime = Runtime::start(limits, workshop, Arc::new(|_: &_| ()), Arc::default())?;
        let levels = Levels::read(&config.paths.state);
        let addresses = config.receive.values().flat_map(|listener| listener.listen.iter().copied()).collect();
        let decisions = Decisions::new(&config.decisions);
        // Nobody connects to it.
        let shown = Identity::self_signed(config.hostname.as_str(), scratch.path())?;
        let generation = Arc::new(Generation::build(config, &runtime, &[shown], &Arc::default())?);
        let courier = Courier {
            sts: Arc::new(PolicyStore::new(scratch.path())),
            levels: Arc::new(levels),
            reports: Arc::new(Books::open(scratch.path()).0),
            current: Arc::new(ArcSwap::new(Arc::clone(&generation))),
            spool: Arc::new(LocalSpool::open(&scratch.path().join("spool"))?.spool),
            decisions,
            log,
            clock: Clock::system(),
            orders: Arc::new(Orders::open(scratch.path())?),
            addresses,
            pool: Pool::default(),
        };
        Ok(Self { courier, generation, _scratch: scratch })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.generation.config
    }

    /// What is made from the configuration.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The resolver.
    pub fn dns(&self) -> &Dns {
        &self.generation.dns
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.courier.clock.now()
    }

    /// Where the mail of a domain may go.
    pub async fn search(&self, domain: &Domain) -> Target {
        search::search(&self.courier, &self.generation, domain, self.now(), false).await
    }

    /// Where this errand may go. `None` when the configuration names a next hop that cannot be one.
    pub async fn discover(&self, errand: &Errand) -> Option<Target> {
        self.job(errand, None).discover().await
    }

    /// What would be tried.
    pub async fn plan(&self, errand: &Errand, target: &Target) -> Planned {
        let job = self.job(errand, None);
        let route = job.plan(target).await;
        Planned { route, minutes: job.minutes() }
    }

    /// Follows a plan to where the message would go out.
    pub async fn follow(&self, errand: &Errand, target: &Target, (route, plan): (Route, Plan)) -> (Verdict, Vec<Sighting>) {
        let mut job = self.job(errand, Some(Notes::default()));
        let verdict = job.follow(route, plan, target).await;
        (verdict, job.notes.take().map(Notes::finish).unwrap_or_default())
    }

    /// Calls one exchanger, whatever a plan says of it. With [`TlsUse::Without`] it is asked with MAIL and RCPT whether it would take mail.
    pub async fn look(&self, errand: &Errand, target: &Target, exchanger: usize, tls: TlsUse) -> Vec<Sighting> {
        let mut job = self.job(errand, Some(Notes { asks: tls == TlsUse::Without, ..Notes::default() }));
        if let Some(host) = target.discovery.exchangers.get(exchanger) {
            let candidate = Candidate { exchanger, tls, requirement: Requirement::NONE };
            let recipients = job.delivery.recipients.clone();
            connector::attempt(&Attempt { job: &job, target, exchanger: host, candidate, recipients: &recipients }).await;
        }
        job.notes.take().map(Notes::finish).unwrap_or_default()
    }

    fn job(&self, errand: &Errand, notes: Option<Notes>) -> Job<'_> {
        let now = self.now();
        let id = QueueId::new(u64::try_from(now.as_millisecond()).unwrap_or_default(), 0);
        let Errand { from, to, via, role, floor, require_tls } = errand.clone();
        let envelope =
            Envelope { reverse_path: from, recipients: vec![to.clone()], smtputf8: to.needs_utf8(), require_tls, ..Envelope::default() };
        let origin = Origin {
            listener: "rehearsal".into(),
            client: None,
            session: String::new(),
            channel: Channel::plain(),
            trusted: true,
            user: None,
            judged: false,
        };
        let message = Message { id, arrived: now, envelope, octets: 0, origin, tags: BTreeMap::new() };
        let delivery = Delivery {
            key: DeliveryKey { id, number: 0 },
            domain: MailDomain::clone(to.domain()),
            via,
            role,
            floor,
            recipients: vec![to],
            attempts: 0,
            next: now,
            standing: Standing::Due,
            last: Vec::new(),
            warned: false,
        };
        let mut job = Job::new(&self.courier, message, delivery);
        job.notes = notes;
        job
    }
}
