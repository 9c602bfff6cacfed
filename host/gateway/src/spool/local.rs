//! The spool on this machine's disk, in a fjall database: a journal that is synced once per batch, and sorted tables behind it.
//!
//! Bodies are kept apart from their keys, so that compaction does not copy them. One process at a time has the database open
//! (durability rule 7). A database that failed to write says so to every later commit; it is never talked into going on (rule 3).

mod reclaim;

use self::reclaim::{ANCHOR, Reclaimer};
use super::SpoolError;
use super::engine::{Engine, Limits, Opened};
use super::tables::{Survives, Table, Tables, Visit, Write};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A spool over [`LocalTables`].
pub type LocalSpool = Engine<LocalTables>;

impl LocalSpool {
    /// Opens the spool in `directory`, or begins one there. Errors when another process has it, or when it cannot be read.
    pub fn open(directory: &Path) -> Result<Opened<LocalTables>, SpoolError> {
        Self::open_within(directory, Limits::default())
    }

    /// [`LocalSpool::open`] with limits.
    pub fn open_within(directory: &Path, limits: Limits) -> Result<Opened<LocalTables>, SpoolError> {
        let tables = LocalTables::open(directory).map_err(|error| match error {
            fjall::Error::Locked => SpoolError::Fault("another process has the spool open".into()),
            error => SpoolError::Fault(format!("the spool cannot be opened: {error}")),
        })?;
        Self::over(tables, limits)
    }
}

const MIB: u64 = 1024 * 1024;
/// Octets of journals that a start may have to read again, and hold in memory while it does.
const JOURNAL_OCTETS_MAX: u64 = 128 * MIB;
/// Octets of blocks that were read and may be read again.
const CACHE_OCTETS: u64 = 32 * MIB;
/// Octets of bodies that are sorted in memory before they are written out.
const BODIES_OCTETS: u64 = 16 * MIB;
/// The same of all other records, for each table: they are small, and what they take must not look like a leak for an hour.
const RECORDS_OCTETS: u64 = 4 * MIB;
/// As many times that of bodies wait to be written out; while there are more the next commit waits, so that memory does not fill with what
/// the disk is too slow for (S10).
const SEALED_MAX: usize = 1;
/// How long a commit waits at most: the database slows down by itself then.
const SEALED_PATIENCE: Duration = Duration::from_secs(2);

/// Records on disk.
pub struct LocalTables {
    directory: PathBuf,
    /// First, so that it has stopped when the database closes.
    reclaimer: Reclaimer,
    database: Database,
    /// In the order of [`Table::ALL`].
    keyspaces: [Keyspace; Table::ALL.len()],
    /// Held as long as this value lives: the database's own lock does not cover the making of it.
    _lock: File,
}

impl LocalTables {
    /// A database that is not complete yet stands beside its place until it is, so a crash within the first start leaves nothing that
    /// looks like a broken spool.
    pub(super) fn open(directory: &Path) -> fjall::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let lock = File::create(directory.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => fjall::Error::Locked,
            TryLockError::Error(error) => error.into(),
        })?;
        let (store, new) = (directory.join("store"), directory.join("store.new"));
        if !store.try_exists()? {
            if new.try_exists()? {
                std::fs::remove_dir_all(&new)?;
            }
            drop(database(&new)?);
            std::fs::rename(&new, &store)?;
            sync_names(directory)?;
        }
        let (database, keyspaces) = database(&store)?;
        let reclaimer = Reclaimer::start(keyspaces[Table::Chunks as usize].clone())?;
        Ok(Self { directory: directory.to_owned(), reclaimer, database, keyspaces, _lock: lock })
    }

    fn wait_for_memory(&self) {
        let end = Instant::now() + SEALED_PATIENCE;
        while self.keyspace(Table::Chunks).sealed_memtable_count() > SEALED_MAX && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn keyspace(&self, table: Table) -> &Keyspace {
        &self.keyspaces[table as usize]
    }
}

fn database(place: &Path) -> fjall::Result<(Database, [Keyspace; Table::ALL.len()])> {
    let database = Database::builder(place)
        .manual_journal_persist(true)
        .max_journaling_size(JOURNAL_OCTETS_MAX)
        .cache_size(CACHE_OCTETS)
        // Two would spin: one hands the other what it may not do itself, again and again.
        .worker_threads(1)
        .open()?;
    let open = |table: Table| database.keyspace(table.name(), || options(table));
    let [messages, deliveries, chunks, attempts, set_aside, notes] = Table::ALL;
    let keyspaces = [open(messages)?, open(deliveries)?, open(chunks)?, open(attempts)?, open(set_aside)?, open(notes)?];
    Ok((database, keyspaces))
}

/// Makes the names in `directory`, and its own, survive a crash of the machine.
fn sync_names(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()?;
    directory.canonicalize()?.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn options(table: Table) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default().manual_journal_persist(true);
    match table {
        Table::Chunks => options.max_memtable_size(BODIES_OCTETS).with_kv_separation(Some(KvSeparationOptions::default())),
        _ => options.max_memtable_size(RECORDS_OCTETS),
    }
}

impl Tables for LocalTables {
    fn commit(&self, batch: Vec<Write>, survives: Survives) -> io::Result<()> {
        let mode = match survives {
            Survives::Process => PersistMode::Buffer,
            Survives::Machine => PersistMode::SyncData,
        };
        self.wait_for_memory();
        let mut writes = self.database.batch().durability(Some(mode));
        for Write { table, key, value } in batch {
            match value {
                Some(value) => writes.insert(self.keyspace(table), key, value),
                None => {
                    writes.remove(self.keyspace(table), key);
                    if table == Table::Chunks {
                        self.reclaimer.deleted();
                    }
                }
            }
        }
        writes.commit().map_err(to_io)
    }

    fn read(&self, table: Table, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.keyspace(table).get(key).map_err(to_io)?.map(Bytes::from))
    }

    fn scan(&self, table: Table, from: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        for record in self.keyspace(table).range(from..) {
            let (key, value) = record.into_inner().map_err(to_io)?;
            if *key != *ANCHOR && visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last_key(&self, table: Table) -> io::Result<Option<Vec<u8>>> {
        let last = self.keyspace(table).last_key_value().map(|record| record.key()).transpose();
        Ok(last.map_err(to_io)?.map(|key| key.to_vec()))
    }

    /// What is left for a process without privileges; octets that only root may use are not counted.
    fn free_octets(&self) -> io::Result<Option<u64>> {
        let disk = rustix::fs::statvfs(&self.directory)?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }
}

/// Keeps the kind of an I/O error, so that a full disk can be told from a broken one.
fn to_io(error: fjall::Error) -> io::Error {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => error,
        error => io::Error::other(error),
    }
}
