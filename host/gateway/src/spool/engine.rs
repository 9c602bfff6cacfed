//! The spool over any ordered tables: an index in memory, one writer, and readers that believe no record they have not checked.
//!
//! A start reads one record per delivery, checked but not parsed whole; bodies and messages stay where they are until someone asks.

use super::index::Index;
use super::recent::Recent;
use super::stored;
use super::tables::{Survives, Table, Tables, Write};
use super::writer::{self, Change, Request, Sink, Transaction};
use super::{SetAside, SpoolError};
use jiff::Timestamp;
use secmx_core::queue::QueueId;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{Notify, Semaphore, oneshot};

/// Octets that one unit of the room for large messages stands for.
pub(super) const LARGE_UNIT: u64 = 64 * 1024;
/// Units of room for the records of large messages that wait for the writer: it writes no more than this in one batch anyway.
pub(super) const LARGE_UNITS: u32 = 256;

/// How much the spool takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of all bodies together; `None` is as much as there is room for.
    pub octets_max: Option<u64>,
    /// Octets kept free for what is queued already: its state and its bounces (durability rule 4).
    pub reserve_octets: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { octets_max: None, reserve_octets: 256 * 1024 * 1024 }
    }
}

/// A spool that was opened, and what was found broken on the way.
pub struct Opened<T: Tables> {
    /// The spool.
    pub spool: Engine<T>,
    /// Records that are not what was written; later ones come from [`super::Spool::set_aside`].
    pub set_aside: Vec<SetAside>,
}

/// A spool over `T`. Dropping it waits for the write under way.
pub struct Engine<T: Tables> {
    pub(super) shared: Arc<Shared<T>>,
    requests: Option<mpsc::Sender<Request>>,
    /// Units of [`LARGE_UNIT`] that large messages may still take as records (S10).
    pub(super) large: Semaphore,
    writer: Option<JoinHandle<()>>,
}

/// What callers and the writer share.
pub(super) struct Shared<T> {
    pub(super) tables: T,
    pub(super) limits: Limits,
    pub(super) changed: Notify,
    pub(super) set_aside: Mutex<Vec<SetAside>>,
    index: Mutex<Index>,
    recent: Mutex<Recent>,
    last_id: AtomicU64,
    failure: OnceLock<String>,
}

impl<T: Tables> Engine<T> {
    /// Reads what `tables` hold and goes on from there. What cannot be believed is set aside first. Errors when the tables cannot be
    /// read or written.
    pub fn over(tables: T, limits: Limits) -> Result<Opened<T>, SpoolError> {
        let (index, set_aside) = load(&tables).map_err(|error| SpoolError::Fault(format!("the spool cannot be read: {error}")))?;
        let last = last_id(&tables).map_err(|error| SpoolError::Fault(format!("the spool cannot be read: {error}")))?;
        let shared = Arc::new(Shared {
            tables,
            limits,
            changed: Notify::new(),
            set_aside: Mutex::default(),
            index: Mutex::new(index),
            recent: Mutex::default(),
            last_id: AtomicU64::new(last),
            failure: OnceLock::new(),
        });
        let (requests, queue) = mpsc::channel();
        let sink = Committer(Arc::clone(&shared));
        let writer = std::thread::Builder::new()
            .name("spool".into())
            .spawn(move || writer::run(&queue, sink))
            .map_err(|error| SpoolError::Fault(format!("the spool's writer cannot be started: {error}")))?;
        Ok(Opened {
            spool: Self { shared, requests: Some(requests), large: Semaphore::new(LARGE_UNITS as usize), writer: Some(writer) },
            set_aside,
        })
    }

    /// Has the writer work out a transaction about message `id` and commit it.
    pub(super) async fn submit(
        &self,
        id: QueueId,
        octets: u64,
        plan: impl FnOnce(&Shared<T>, u64) -> Result<Transaction, SpoolError> + Send + 'static,
    ) -> Result<(), SpoolError> {
        let stopped = || SpoolError::Fault("the spool's writer has stopped".into());
        let (answer, outcome) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let plan = Box::new(move |before| plan(&shared, before));
        let requests = self.requests.as_ref().ok_or_else(stopped)?;
        requests.send(Request { id, octets, plan, answer }).map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }

    /// Runs `work`, which reads tables, where it may block.
    pub(super) async fn read<R: Send + 'static>(&self, work: impl FnOnce(&Shared<T>) -> R + Send + 'static) -> Result<R, SpoolError> {
        let shared = Arc::clone(&self.shared);
        let outcome = tokio::task::spawn_blocking(move || work(&shared)).await;
        outcome.map_err(|error| SpoolError::Fault(format!("reading the spool: {error}")))
    }

    /// Why the spool is not to be used.
    pub(super) fn failure(&self) -> Option<String> {
        let stopped = || self.writer.as_ref().is_none_or(JoinHandle::is_finished).then(|| "the spool's writer has stopped".to_owned());
        self.shared.failure.get().cloned().or_else(stopped)
    }
}

impl<T: Tables> Drop for Engine<T> {
    fn drop(&mut self) {
        self.requests = None;
        // A writer that panicked has nothing left to finish.
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

impl<T> Shared<T> {
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked after the index, if both are.
    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new_id(&self, now: Timestamp) -> QueueId {
        let earliest = QueueId::new(u64::try_from(now.as_millisecond()).unwrap_or(0), 0).to_bits();
        let after = |last: u64| (last + 1).max(earliest);
        let last = self.last_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
        QueueId::from_bits(after(last.unwrap_or_else(|last| last)))
    }

    pub(super) fn report(&self, found: SetAside) {
        self.set_aside.lock().unwrap_or_else(PoisonError::into_inner).push(found);
    }
}

/// The writer's way to the tables and the index.
struct Committer<T>(Arc<Shared<T>>);

impl<T: Tables> Sink for Committer<T> {
    fn commit(&mut self, writes: Vec<Write>, survives: Survives) -> io::Result<()> {
        self.0.tables.commit(writes, survives)
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let wakes = changes.iter().any(|change| matches!(change, Change::Put(_) | Change::Free(_)));
        let mut index = self.0.index();
        let mut recent = self.0.recent();
        for change in changes {
            match change {
                Change::Keep(new) => recent.keep(*new),
                Change::Put(entry) => {
                    if index.contains(entry.key) {
                        recent.forget(entry.key.id);
                    }
                    index.put(entry);
                }
                Change::Free(key) => index.free(key),
                Change::Remove(key) => {
                    index.remove(key);
                    if index.octets_of(key.id).is_none() {
                        recent.forget(key.id);
                    }
                }
            }
        }
        drop((index, recent));
        if wakes {
            self.0.changed.notify_one();
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.0.failure.get_or_init(|| format!("a write to the spool failed, what it holds is not known until it is read anew: {error}"));
    }

    fn failed(&self) -> Option<SpoolError> {
        self.0.failure.get().map(|detail| SpoolError::Fault(detail.clone()))
    }
}

/// Moves a record, as it was found, to where nothing delivers it.
pub(super) fn move_aside(table: Table, key: &[u8], found: &[u8]) -> [Write; 2] {
    let kept = [table.name().as_bytes(), b" ", key].concat();
    [Write { table: Table::SetAside, key: kept, value: Some(found.to_vec()) }, stored::delete(table, key)]
}

/// Reads the index, and sets aside the deliveries that cannot be believed.
fn load(tables: &impl Tables) -> io::Result<(Index, Vec<SetAside>)> {
    let (mut index, mut broken, mut moves) = (Index::default(), Vec::new(), Vec::new());
    tables.scan(Table::Deliveries, &[], &mut |key, record| {
        match stored::read_entry(key, record) {
            Ok(entry) => index.put(entry),
            Err(why) => {
                broken.push(SetAside { key: stored::name(Table::Deliveries, key), detail: why.to_string() });
                moves.extend(move_aside(Table::Deliveries, key, record));
            }
        }
        ControlFlow::Continue(())
    })?;
    if !moves.is_empty() {
        tables.commit(moves, Survives::Machine)?;
    }
    Ok((index, broken))
}

/// The highest id that was ever stored and is still to be seen.
fn last_id(tables: &impl Tables) -> io::Result<u64> {
    let last = |table| {
        let key = tables.last_key(table)?.unwrap_or_default();
        let bits = key.first_chunk::<8>().map_or(0, |id| u64::from_be_bytes(*id));
        // A foreign key must not push ids beyond what they can say.
        Ok::<_, io::Error>(if QueueId::from_bits(bits).to_bits() == bits { bits } else { 0 })
    };
    Ok(last(Table::Messages)?.max(last(Table::Notes)?))
}
