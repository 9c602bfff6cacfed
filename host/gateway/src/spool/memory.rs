//! A spool in memory, for tests: what it keeps outlives the spool over it, as a disk would, and it fails when told to.

use super::SpoolError;
use super::engine::{Engine, Limits, Opened};
use super::record;
use super::tables::{Survives, Table, Tables, Visit, Write};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A spool over [`MemoryTables`].
pub type MemorySpool = Engine<MemoryTables>;

impl MemorySpool {
    /// A spool over `tables`, with whatever an earlier one left there.
    pub fn open(tables: &MemoryTables) -> Result<Opened<MemoryTables>, SpoolError> {
        Self::over(tables.clone(), Limits::default())
    }
}

/// Records in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryTables(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<(Table, Vec<u8>), Bytes>,
    fault: Option<io::ErrorKind>,
    free_octets: Option<u64>,
}

impl MemoryTables {
    /// The next commit fails so. What it should have written is lost.
    pub fn fail_next_commit(&self, kind: io::ErrorKind) {
        self.state().fault = Some(kind);
    }

    /// Octets that seem to be free from now on; `None` for no limit.
    pub fn set_free_octets(&self, free: Option<u64>) {
        self.state().free_octets = free;
    }

    /// Changes what is in the records that are whole, and seals them again: no checksum tells them from what was written.
    pub fn forge(&self, mut change: impl FnMut(Table, &mut Vec<u8>)) {
        for ((table, key), value) in &mut self.state().records {
            if let Ok(payload) = record::unseal(*table, key, value) {
                let mut payload = payload.to_vec();
                change(*table, &mut payload);
                *value = record::seal(*table, key, &[&payload]).into();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables for MemoryTables {
    fn commit(&self, batch: Vec<Write>, _survives: Survives) -> io::Result<()> {
        let mut state = self.state();
        if let Some(kind) = state.fault.take() {
            return Err(io::Error::new(kind, "a fault to order"));
        }
        for Write { table, key, value } in batch {
            match value {
                Some(value) => state.records.insert((table, key), value.into()),
                None => state.records.remove(&(table, key)),
            };
        }
        Ok(())
    }

    fn read(&self, table: Table, key: &[u8]) -> io::Result<Option<Bytes>> {
        Ok(self.state().records.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, from: &[u8], visit: &mut Visit<'_>) -> io::Result<()> {
        let mut from = Bound::Included((table, from.to_vec()));
        loop {
            // Not held while the visitor runs: it may read too.
            let next = self.state().records.range((from, Bound::Unbounded)).next().map(|(place, value)| (place.clone(), value.clone()));
            match next {
                Some((place, value)) if place.0 == table => {
                    if visit(&place.1, &value).is_break() {
                        return Ok(());
                    }
                    from = Bound::Excluded(place);
                }
                _ => return Ok(()),
            }
        }
    }

    fn last_key(&self, table: Table) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state().records.keys().rfind(|place| place.0 == table).map(|place| place.1.clone()))
    }

    fn free_octets(&self) -> io::Result<Option<u64>> {
        Ok(self.state().free_octets)
    }
}
