//! The engine that policies run in, and the limits of one question.
//!
//! A fresh instance for each question, or one that answered a few before where its limits say so; epoch ticks bound its time on the
//! processor, a time-out its time on the wall (epochs do not fire while a guest sleeps), a meter its memory.

use crate::compile::{Compiler, Failure, Workshop};
use crate::host::State;
use crate::shadow::{Ledger, ShadowTally};
use crate::store::Book;
use crate::tally::Tally;
use secmx_core::report::Event;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Result, Store, UpdateDeadline, bail,
    format_err,
};

/// One epoch.
const TICK: Duration = Duration::from_millis(5);

/// Entries of a table that a guest may have.
const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Who is told what policies did. It must not block.
pub type Observer = dyn Fn(&Event<'_>) + Send + Sync;

/// Limits of the engine, for all policies together.
#[derive(Debug, Clone)]
pub struct RuntimeLimits {
    /// Questions that are answered at the same time; more wait for their turn.
    pub concurrent_questions: u32,
    /// The most memory that any policy may be given, octets.
    pub memory_bytes_max: usize,
    /// Whether instructions are counted. It costs speed: for tests and measurements.
    pub metered: bool,
}

impl Default for RuntimeLimits {
    fn default() -> Self {
        Self { concurrent_questions: 64, memory_bytes_max: 256 << 20, metered: false }
    }
}

/// Limits of one question to one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time on the processor, in steps of 5 ms.
    pub time: Duration,
    /// Time on the wall.
    pub wall: Duration,
    /// Linear memory of the instance, octets.
    pub memory_bytes: usize,
    /// Text it may log, octets; more is cut.
    pub log_bytes: usize,
    /// Text and lists that it may hand over in one call of a host function, octets.
    pub hand_over_bytes: usize,
    /// Effects of a kind (edits, steps of a plan, recipients, tags, pieces of evidence) that one answer may have.
    pub effects: usize,
    /// Handles of resources that it may hold at a time.
    pub handles: usize,
    /// Questions that one instance may answer, one after the other. 1 is a fresh instance for each: nothing of one message is there for
    /// the next. An instance that failed once is not asked again.
    pub max_uses: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(100),
            wall: Duration::from_secs(5),
            memory_bytes: 16 << 20,
            log_bytes: 8 << 10,
            hand_over_bytes: 16 << 20,
            effects: 1_000,
            handles: 1_000,
            max_uses: 1,
        }
    }
}

/// Engine, linker and epoch thread, shared by all generations of policies. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    engine: Engine,
    metered: bool,
    linker: Linker<State>,
    /// One component at a time, so that a start with many does not begin as many processes.
    compiler: Mutex<Compiler>,
    turns: Semaphore,
    /// Places for instances that wait for their next question.
    places: Arc<Semaphore>,
    observer: Arc<Observer>,
    compiled: Mutex<HashMap<[u8; 32], Component>>,
    tallies: Mutex<HashMap<String, Arc<Tally>>>,
    book: Arc<Book>,
    ledger: Ledger,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtime")
    }
}

impl Runtime {
    /// An engine that keeps nothing, neither code nor what policies store, for tests and the like.
    pub fn new(limits: RuntimeLimits, observer: Arc<Observer>) -> Result<Self> {
        Self::start(limits, Workshop::default(), observer, Arc::default())
    }

    /// Starts the engine. Components are compiled in `workshop`; `observer` is told of every ruling, fault and line of a policy's log;
    /// `book` is what policies kept before. Errors when the processor is not supported. When address space for a pool cannot be had,
    /// instances are made on demand, and when the cache of the workshop cannot be used, everything is compiled: the observer is warned.
    pub fn start(limits: RuntimeLimits, workshop: Workshop, observer: Arc<Observer>, book: Arc<Book>) -> Result<Self> {
        let engine = match Engine::new(&config(Some(&limits), limits.metered)) {
            Ok(engine) => engine,
            Err(error) => {
                let text = format!("policies run without a pool, which is slower: {error:#}");
                observer(&Event::Warning { text });
                Engine::new(&config(None, limits.metered))?
            }
        };
        let mut linker = Linker::new(&engine);
        link(&mut linker)?;
        start_ticks(&engine)?;
        let compiler = Compiler::new(workshop, &engine, limits.metered, &|text| observer(&Event::Warning { text }));
        let compiler = Mutex::new(compiler);
        let turns = Semaphore::new(limits.concurrent_questions as usize);
        let places = Arc::new(Semaphore::new(limits.concurrent_questions as usize));
        Ok(Self(Arc::new(Shared {
            engine,
            metered: limits.metered,
            linker,
            compiler,
            turns,
            places,
            observer,
            compiled: Mutex::default(),
            tallies: Mutex::default(),
            book,
            ledger: Ledger::default(),
        })))
    }

    /// What policies keep, through all generations.
    pub fn book(&self) -> &Arc<Book> {
        &self.0.book
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// What came of the shadows so far, by name of the policy.
    pub fn shadows(&self) -> BTreeMap<String, ShadowTally> {
        self.0.ledger.tallies()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.0.linker
    }

    /// Waits until an instance may be made.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.0.turns.acquire().await.ok()
    }

    /// A place to wait in for an instance that may be asked again. `None`: there is none, and it should go.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.places).try_acquire_owned().ok()
    }

    pub(crate) fn observe(&self, event: &Event<'_>) {
        (self.0.observer)(event);
    }

    /// Compiles a component, or takes the result of the last time. Gives its SHA-256 too.
    pub(crate) fn compile(&self, component: &[u8]) -> Result<([u8; 32], Component), Failure> {
        let digest: [u8; 32] = Sha256::digest(component).into();
        let compiler = self.0.compiler.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.compiled().get(&digest).cloned();
        let warn = |text| self.observe(&Event::Warning { text });
        let compiled = known.map_or_else(|| compiler.load(self.engine(), &digest, component, &warn), Ok)?;
        self.compiled().insert(digest, compiled.clone());
        Ok((digest, compiled))
    }

    /// Forgets compiled components that the newest generation does not use.
    pub(crate) fn keep_only(&self, digests: &[[u8; 32]]) {
        self.compiled().retain(|digest, _| digests.contains(digest));
    }

    fn compiled(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Component>> {
        self.0.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the policy of this name said so far, through all generations.
    pub(crate) fn tally(&self, policy: &str) -> Arc<Tally> {
        let mut tallies = self.0.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tallies.entry(policy.to_owned()).or_default())
    }

    /// A store, with its limits not yet in force.
    pub(crate) fn store(&self, state: State) -> Store<State> {
        let mut store = Store::new(self.engine(), state);
        store.limiter(|state| &mut state.meter);
        store
    }

    /// Instructions that were counted, where they are: asking without a meter makes an error, and those cost more than a host call.
    pub(crate) fn fuel(&self, store: &Store<State>) -> Option<u64> {
        let left = if self.0.metered { store.get_fuel().ok() } else { None };
        left.map(|left| u64::MAX - left)
    }

    /// Puts the limits of one question in force.
    pub(crate) fn limit(&self, store: &mut Store<State>, limits: &Limits) {
        store.set_hostcall_fuel(limits.hand_over_bytes);
        store.set_max_component_handles(limits.handles);
        if self.0.metered {
            // Refused only where there is no meter.
            let _ = store.set_fuel(u64::MAX);
        }
        store.set_epoch_deadline(1);
        let time = limits.time;
        let mut left = time.as_millis().div_ceil(TICK.as_millis());
        store.epoch_deadline_callback(move |_| {
            if left == 0 {
                bail!("time limit of {} ms on the processor: do less, or raise `time` in [policy.limits]", time.as_millis());
            }
            left -= 1;
            Ok(UpdateDeadline::Yield(1))
        });
    }
}

/// Everything that a component may import. Files, environment and network of WASI are there and empty: language runtimes name them
/// without using them.
fn link(linker: &mut Linker<State>) -> Result<()> {
    use crate::bindings::secmx::policy;
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    policy::types::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut State| state)?;
    policy::session::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut State| state)?;
    policy::message::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut State| state)?;
    policy::destination::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut State| state)?;
    policy::host::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut State| state)?;
    policy::store::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut State| state)?;
    policy::dns::add_to_linker::<_, HasSelf<_>>(linker, |state: &mut State| state)
}

/// What is on and off: what no policy needs is off, because every feature is attack surface.
pub(crate) fn config(pool: Option<&RuntimeLimits>, metered: bool) -> Config {
    let mut config = Config::new();
    config.concurrency_support(false).epoch_interruption(true).max_wasm_stack(512 << 10).async_stack_size(1 << 20);
    config.wasm_memory64(false).wasm_relaxed_simd(false).wasm_tail_call(false).wasm_threads(false);
    config.consume_fuel(metered);
    config.wasm_gc(false).gc_support(false);
    // Off, the compiler fails on components of QuickJS; QuickJS and Python also need the second.
    config.wasm_multi_memory(true).wasm_extended_const(true);
    if let Some(limits) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(limits)));
    }
    config
}

/// Slots for every question at once, and as many for instances that wait to be asked again. What a small guest touched stays resident and is cleared by hand: no system call an instance.
fn pooling(limits: &RuntimeLimits) -> PoolingAllocationConfig {
    let instances = limits.concurrent_questions.saturating_mul(2);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances).total_stacks(instances).total_core_instances(instances.saturating_mul(200));
    pool.max_core_instances_per_component(200).max_memories_per_component(8).max_tables_per_component(64);
    pool.total_memories(instances.saturating_mul(8)).total_tables(instances.saturating_mul(64));
    pool.max_memory_size(limits.memory_bytes_max).table_elements(TABLE_ELEMENTS_MAX);
    pool.linear_memory_keep_resident(2 << 20).table_keep_resident(64 << 10).async_stack_keep_resident(64 << 10);
    // "Never `pagemap_scan`": a page that was swapped out is not reset, and the next message could see the last one's data.
    pool.pagemap_scan(Enabled::No);
    pool
}

/// Moves the epoch on as long as the engine lives.
fn start_ticks(engine: &Engine) -> Result<()> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new().name("policy-epoch".into()).spawn(tick).map(drop).map_err(|error| format_err!("epoch thread: {error}"))
}

/// Memory that an instance may still take.
#[derive(Debug)]
pub(crate) struct Meter {
    left: usize,
    limit: usize,
}

impl Meter {
    pub(crate) fn new(limit: usize) -> Self {
        Self { left: limit, limit }
    }
}

impl Meter {
    /// Octets that were taken.
    pub(crate) fn used(&self) -> usize {
        self.limit - self.left
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        match self.left.checked_sub(desired.saturating_sub(current)) {
            Some(left) => self.left = left,
            None => bail!("memory limit of {} octets: take less, or raise `memory` in [policy.limits]", self.limit),
        }
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}
