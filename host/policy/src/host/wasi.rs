//! The empty world that language runtimes expect of WASI: no files, no variables, no network. Its clock tells the time of the question;
//! its stopwatch begins with the instance. Made when the guest first looks, so that one that never does pays nothing.

use super::State;
use super::output::Output;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxView, WasiView};

/// The most random octets that one call gives.
const RANDOM_OCTETS_MAX: u64 = 1 << 20;

/// Octets that are drawn on trial, over and over, in digests of 32.
const DRAWN_DIGESTS: u32 = 128;

/// What is there of it.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    output: Output,
    clock: Clock,
}

impl Wasi {
    fn new(log_octets: usize, handles: usize, now: u64, on_trial: bool) -> Self {
        let (output, clock) = (Output::new(log_octets), Clock(Arc::new(AtomicU64::new(now))));
        let mut table = ResourceTable::new();
        // A pollable is two entries, what it waits for and itself.
        table.set_max_capacity(handles.saturating_mul(2));
        let mut builder = WasiCtx::builder();
        builder.stdout(output.clone()).stderr(output.clone()).wall_clock(clock.clone()).max_random_size(RANDOM_OCTETS_MAX);
        if on_trial {
            builder.secure_random(drawn()).insecure_random(drawn()).insecure_random_seed(0);
        }
        Self { context: builder.build(), table, output, clock }
    }

    /// What was printed since the last time.
    pub(super) fn printed(&self) -> Vec<u8> {
        self.output.take()
    }

    /// Another question is asked at this time, seconds since 1970-01-01T00:00:00Z.
    pub(super) fn set_clock(&self, now: u64) {
        self.clock.0.store(now, Ordering::Relaxed);
    }
}

/// Tells what `host.now` tells.
#[derive(Clone)]
struct Clock(Arc<AtomicU64>);

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// The same each time, so that cases and replays are.
fn drawn() -> Deterministic {
    Deterministic::new((0..DRAWN_DIGESTS).flat_map(|number| Sha256::digest(number.to_be_bytes()).to_vec()).collect())
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (log, handles, now, on_trial) = (self.log_bytes, self.handles, self.now, self.facts.trial.is_some());
        let wasi = self.wasi.get_or_insert_with(|| Wasi::new(log, handles, now, on_trial));
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}
