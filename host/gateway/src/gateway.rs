//! The whole gateway as one value: start, reload, drain.

use crate::certs::{Challenges, Closet, Keeper};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::{Control, Socket};
use crate::decisions::Decisions;
use crate::generation::{Current, Generation};
use crate::history::History;
use crate::inbound::{CallAhead, Desk, Door, Intake};
use crate::levels::Levels;
use crate::log::Log;
use crate::mta_sts::PolicyStore;
use crate::orders::Orders;
use crate::outbound::{Courier, Pool};
use crate::powers::Kept;
use crate::published;
use crate::reload::{Refused, Reloaded, Reloader};
use crate::revocation;
use crate::spool::{LocalSpool, Spool};
use crate::tls::Revocations;
use crate::tls_rpt::{Books, Reporter};
use crate::upkeep::Upkeep;
use crate::watch::Lookout;
use crate::web::Web;
use crate::workshop;
use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use secmx_core::report::Event;
use secmx_policy::{Book, Runtime};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often our own DNS records are looked at.
const RECHECK: Duration = Duration::from_secs(3600);

/// A running gateway. Dropping it without [`Gateway::drain`] is what a crash does: nothing that was answered 250 is lost.
pub struct Gateway {
    current: Current,
    reloader: Arc<Reloader>,
    revocations: Arc<Revocations>,
    levels: Arc<Levels>,
    reports: Arc<Books>,
    sts: Arc<PolicyStore>,
    spool: Arc<dyn Spool>,
    orders: Arc<Orders>,
    decisions: Decisions,
    /// They write down what the others did until `finish`, when those have ended.
    keepers: TaskTracker,
    finish: CancellationToken,
    log: Log,
    doors: Vec<(String, SocketAddr)>,
    stop: CancellationToken,
    leave: CancellationToken,
    tasks: TaskTracker,
}

impl Gateway {
    /// Opens the spool, loads the policies, binds the listeners, and begins. Errors leave nothing running.
    pub async fn start(config: Config, clock: Clock, log: Log) -> Result<Self> {
        Self::start_from(None, config, clock, log).await
    }

    /// The same with a configuration that was read from `path`, where a reload finds it again.
    pub async fn start_from(path: Option<PathBuf>, config: Config, clock: Clock, log: Log) -> Result<Self> {
        let decisions = Decisions::new(&config.decisions);
        let (observer, watcher) = (log.clone(), decisions.clone());
        let observe = move |event: &Event<'_>| {
            watcher.watch(event);
            observer.write(event);
        };
        let (kept, book) = Kept::open(&config.paths.state)?;
        let limits = workshop::runtime_limits(&config);
        let runtime = Runtime::start(limits, workshop::of(&config), Arc::new(observe), Arc::clone(&book))
            .map_err(anyhow::Error::from)
            .context("the policy engine cannot be started")?;
        let revocations = Arc::<Revocations>::default();
        let mut closet = Closet::default();
        let outfit = closet.gather(&config)?;
        for text in outfit.troubles {
            log.write(&Event::Warning { text });
        }
        let generation = tokio::task::block_in_place(|| Generation::build(config, &runtime, &outfit.identities, &revocations))?;
        let spool = open_spool(&generation.config.paths.state, &log)?;
        let incoming = generation.config.paths.state.join("incoming");
        std::fs::create_dir_all(&incoming).with_context(|| format!("cannot create {}", incoming.display()))?;
        let history = &generation.config.history;
        if history.keep_octets > 0 {
            log.remember(History::open(&generation.config.paths.state.join("history"), history.keep_octets)?);
        }
        let orders = Orders::open(&generation.config.paths.state)?;
        let (levels, trouble) = Levels::open(&generation.config.paths.state);
        trouble.into_iter().for_each(|text| log.write(&Event::Warning { text }));
        let (reports, trouble) = Books::open(&generation.config.paths.state);
        trouble.into_iter().for_each(|text| log.write(&Event::Warning { text }));
        let sts = Arc::new(PolicyStore::new(&generation.config.paths.state));
        let bound = Door::bind_all(&generation.config).await?;
        let addresses: Vec<_> = bound.iter().map(|door| (door.name.clone(), door.address)).collect();
        let wrong = published::secure_only_as_mx(&generation.config, &generation.dns, &addresses).await;
        if let Some(text) = wrong.first() {
            bail!("{text}");
        }
        decisions.open()?;
        let socket = Socket::bind(&generation.config).await?;
        let current = Arc::new(ArcSwap::from_pointee(generation));
        let finish = CancellationToken::new();
        let (told, kept_by) = (log.clone(), decisions.clone());
        let reloader = Reloader::new(Arc::clone(&current), runtime, Arc::clone(&revocations), kept_by, told, path, clock.now());
        let gateway = Self {
            reloader: Arc::new(reloader),
            levels: Arc::new(levels),
            reports: Arc::new(reports),
            sts,
            current,
            orders: Arc::new(orders),
            keepers: TaskTracker::new(),
            revocations,
            spool,
            finish,
            decisions,
            log,
            doors: addresses,
            stop: CancellationToken::new(),
            leave: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        gateway.keep(kept, book);
        gateway.show_ourselves(closet, clock.clone());
        gateway.begin(bound, socket, &incoming, clock).await;
        Ok(gateway)
    }

    /// Starts those who write down what policies stored, what was decided, which levels were reached and how TLS went.
    fn keep(&self, kept: Kept, book: Arc<Book>) {
        self.keepers.spawn(kept.keep(book, self.finish.clone()));
        self.keepers.spawn(self.decisions.clone().keep(Arc::clone(&self.spool), self.log.clone(), self.finish.clone()));
        let (levels, finish) = (Arc::clone(&self.levels), self.finish.clone());
        self.keepers.spawn(async move { levels.keep(finish).await });
        let (reports, finish) = (Arc::clone(&self.reports), self.finish.clone());
        self.keepers.spawn(async move { reports.keep(finish).await });
    }

    /// Tells other domains how TLS with them went, where they ask for it, and keeps their policies.
    fn report(&self, clock: Clock) {
        let reporter = Reporter {
            current: Arc::clone(&self.current),
            books: Arc::clone(&self.reports),
            spool: Arc::clone(&self.spool),
            log: self.log.clone(),
            clock: clock.clone(),
        };
        self.tasks.spawn(reporter.run(self.stop.clone()));
        let (sts, current, log, stop) = (Arc::clone(&self.sts), Arc::clone(&self.current), self.log.clone(), self.stop.clone());
        self.tasks.spawn(async move { sts.keep_fresh(current, clock, log, stop).await });
    }

    /// Keeps our certificates fresh, and serves what is about us.
    fn show_ourselves(&self, closet: Closet, clock: Clock) {
        let challenges = Arc::<Challenges>::default();
        let web = Web { current: Arc::clone(&self.current), challenges: Arc::clone(&challenges), log: self.log.clone() };
        let keeper = Keeper { current: Arc::clone(&self.current), closet, challenges, log: self.log.clone(), clock };
        self.tasks.spawn(web.run(self.stop.clone()));
        self.tasks.spawn(keeper.run(self.stop.clone()));
    }

    async fn begin(&self, doors: Vec<Door>, socket: Socket, incoming: &Path, clock: Clock) {
        self.tasks.spawn(self.control(clock.clone()).serve(socket, self.stop.clone()));
        let desk = Arc::new(Desk {
            current: Arc::clone(&self.current),
            spool: Arc::clone(&self.spool),
            decisions: self.decisions.clone(),
            log: self.log.clone(),
            clock: clock.clone(),
            intake: Intake::new(incoming, self.current.load().config.queue.intake_octets),
            ahead: CallAhead::default(),
        });
        for door in doors {
            self.tasks.spawn(door.serve(Arc::clone(&desk), self.tasks.clone(), self.stop.clone()));
        }
        if self.current.load().config.reload.watch {
            let lookout = Lookout { current: Arc::clone(&self.current), reloader: Arc::clone(&self.reloader), log: self.log.clone() };
            self.tasks.spawn(lookout.run(self.stop.clone()));
        }
        let upkeep =
            Upkeep { current: Arc::clone(&self.current), spool: Arc::clone(&self.spool), log: self.log.clone(), clock: clock.clone() };
        self.tasks.spawn(upkeep.run(self.stop.clone()));
        self.report(clock.clone());
        self.tasks.spawn(self.courier(clock).run(self.stop.clone()));
        let (dns, log) = (self.current.load().dns.clone(), self.log.clone());
        self.tasks.spawn(async move { dns.trouble().await.into_iter().for_each(|text| log.write(&Event::Warning { text })) });
        let (current, revocations) = (Arc::clone(&self.current), Arc::clone(&self.revocations));
        self.tasks.spawn(revocation::keep_fresh(current, revocations, self.log.clone(), self.stop.clone()));
        self.tasks.spawn(recheck(Arc::clone(&self.current), self.doors.clone(), self.log.clone(), self.stop.clone()));
        let listeners = self.doors.iter().map(|(name, address)| format!("{name}={address}")).collect();
        self.log.write(&Event::Ready { listeners, queued: self.spool.counts().await.messages });
    }

    /// Name and address of every listener; the port is the real one where the configuration said 0.
    pub fn listeners(&self) -> &[(String, SocketAddr)] {
        &self.doors
    }

    /// Address of the first listener with that name.
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.doors.iter().find(|(door, _)| door == name).map(|(_, address)| *address)
    }

    /// The decision log.
    pub fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// The queue.
    pub fn spool(&self) -> &Arc<dyn Spool> {
        &self.spool
    }

    /// Puts a new configuration in force, or keeps the old one and says why. Open transactions finish with what they began with.
    /// Listeners and the spool keep their places: changing those needs a restart, and is refused here.
    pub fn reload(&self, config: Config) -> Result<Reloaded, Refused> {
        tokio::task::block_in_place(|| self.reloader.put(config))
    }

    /// Reads the configuration again from where it came, and puts it in force or says why not.
    pub fn reload_file(&self) -> Result<Reloaded, Refused> {
        tokio::task::block_in_place(|| self.reloader.from_file())
    }

    /// Returns when an operator has asked the gateway to end.
    pub async fn asked_to_leave(&self) {
        self.leave.cancelled().await;
    }

    fn courier(&self, clock: Clock) -> Courier {
        Courier {
            levels: Arc::clone(&self.levels),
            reports: Arc::clone(&self.reports),
            sts: Arc::clone(&self.sts),
            current: Arc::clone(&self.current),
            spool: Arc::clone(&self.spool),
            log: self.log.clone(),
            clock,
            orders: Arc::clone(&self.orders),
            decisions: self.decisions.clone(),
            addresses: self.doors.iter().map(|(_, address)| *address).collect(),
            pool: Pool::default(),
        }
    }

    fn control(&self, clock: Clock) -> Control {
        Control {
            courier: self.courier(clock.clone()),
            current: Arc::clone(&self.current),
            spool: Arc::clone(&self.spool),
            log: self.log.clone(),
            since: clock.now(),
            clock,
            reloader: Arc::clone(&self.reloader),
            listeners: self.doors.clone(),
            leave: self.leave.clone(),
        }
    }

    /// Takes no new sessions, lets the open ones end, and returns when they have or when `patience` is over.
    pub async fn drain(self, cause: &str, patience: Duration) {
        self.log.write(&Event::Draining { cause });
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
        self.finish.cancel();
        self.keepers.close();
        let _ = tokio::time::timeout(patience, self.keepers.wait()).await;
    }
}

/// Looks at what DNS says of us again and again: what was right at the start may be changed later (L2-9).
async fn recheck(current: Current, doors: Vec<(String, SocketAddr)>, log: Log, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RECHECK) => {}
            () = stop.cancelled() => return,
        }
        let generation = current.load_full();
        for text in published::secure_only_as_mx(&generation.config, &generation.dns, &doors).await {
            log.write(&Event::Warning { text });
        }
    }
}

/// The durable queue below `state`; what was found damaged in it is said in the log.
fn open_spool(state: &Path, log: &Log) -> Result<Arc<dyn Spool>> {
    let opened = LocalSpool::open(&state.join("spool"))?;
    for record in opened.set_aside {
        log.write(&Event::SetAside { record: record.key, detail: record.detail });
    }
    Ok(Arc::new(opened.spool))
}
