//! What the engine needs of whatever keeps its records: ordered tables of octets, and a batch that is written whole or not at all.
//!
//! The engine trusts nothing it reads from here (see `record`), and believes a write only after [`Tables::commit`] said so.

use bytes::Bytes;
use std::io;
use std::ops::ControlFlow;

/// A table. Keys within one are sorted by octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Messages by id.
    Messages,
    /// Deliveries by id and number.
    Deliveries,
    /// Pieces of bodies by id and number.
    Chunks,
    /// Attempts under way, by delivery.
    Attempts,
    /// What cannot be read, as it was found, by table and key.
    SetAside,
    /// Lines on their way to a log, by id.
    Notes,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Messages, Self::Deliveries, Self::Chunks, Self::Attempts, Self::SetAside, Self::Notes];

    /// Its name on disk and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Deliveries => "deliveries",
            Self::Chunks => "chunks",
            Self::Attempts => "attempts",
            Self::SetAside => "set-aside",
            Self::Notes => "notes",
        }
    }
}

/// One write within a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Which record. Never empty.
    pub key: Vec<u8>,
    /// The record, or `None` to delete it.
    pub value: Option<Vec<u8>>,
}

/// Whose crash a batch survives once it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Survives {
    /// The process's.
    Process,
    /// The machine's: it is on stable storage.
    Machine,
}

/// Ordered tables of octets.
pub trait Tables: Send + Sync + 'static {
    /// Writes all of `batch` or nothing. Everything committed before is then at least as durable. After an error nothing may be
    /// committed to this value again: what is on the disk is not known (durability rule 3).
    fn commit(&self, batch: Vec<Write>, survives: Survives) -> io::Result<()>;

    /// One record.
    fn read(&self, table: Table, key: &[u8]) -> io::Result<Option<Bytes>>;

    /// Shows records in key order, from `from` (inclusive) on, until `visit` breaks or they end.
    fn scan(&self, table: Table, from: &[u8], visit: &mut Visit<'_>) -> io::Result<()>;

    /// The highest key.
    fn last_key(&self, table: Table) -> io::Result<Option<Vec<u8>>>;

    /// Octets that may still be written; `None` when that is not known.
    fn free_octets(&self) -> io::Result<Option<u64>>;
}

/// Takes key and value of one record, and says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;
