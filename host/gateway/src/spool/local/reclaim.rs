//! Gives the space of deleted bodies back to the file system.
//!
//! The database does this by itself as it writes, but a spool that was drained and stays quiet would keep the space for ever: the marks
//! of what was deleted are small and lie in memory. A full disk would then never heal (durability rule 4).

use fjall::Keyspace;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked after. Space comes back within three of these.
const PERIOD: Duration = Duration::from_secs(5);

/// Deleted records from which on it is worth the work: a few MiB to a GiB.
const DELETED_MIN: u64 = 500;

/// Key of a record that is no one's, so that there is something left to compact when all else is deleted.
pub(super) const ANCHOR: &[u8] = &[0];

/// A thread that looks after one keyspace until it is dropped.
pub(super) struct Reclaimer {
    deleted: Arc<AtomicU64>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reclaimer {
    pub(super) fn start(keyspace: Keyspace) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let deleted = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&deleted);
        let work = move || {
            let mut rotated = false;
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                rotated = look_after(&keyspace, &counter, rotated);
            }
        };
        let thread = std::thread::Builder::new().name("spool-reclaim".into()).spawn(work)?;
        Ok(Self { deleted, stop: Some(stop), thread: Some(thread) })
    }

    /// Takes note of a deleted record.
    pub(super) fn deleted(&self) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        self.stop = None;
        // A thread that panicked holds nothing any more.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One look: writes the marks out, or, once they are out, lets go of what they mark. Says whether marks are out. A failure is not ours
/// to report: the database refuses the next commit after one that matters.
fn look_after(keyspace: &Keyspace, deleted: &AtomicU64, rotated: bool) -> bool {
    let write_out = || keyspace.insert(ANCHOR, []).and_then(|()| keyspace.rotate_memtable());
    if deleted.load(Ordering::Relaxed) >= DELETED_MIN {
        deleted.store(0, Ordering::Relaxed);
        return write_out().unwrap_or(false) || rotated;
    }
    if rotated {
        // The first pass finds that nothing refers to a file any more, the second takes it off the books. Old books go, and the file
        // with them, when something is written out the next time.
        let _ = keyspace.major_compact().and_then(|()| keyspace.major_compact()).and_then(|()| write_out());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::local::options;
    use crate::spool::tables::Table;
    use fjall::Database;
    use std::fs;
    use std::time::Instant;

    /// R7: a spool that was filled, drained and left alone gives its space back.
    #[test]
    fn deleted_bodies_take_no_space() {
        let place = tempfile::tempdir().expect("a directory");
        let database = Database::builder(&place).open().expect("opens");
        let keyspace = database.keyspace("chunks", || options(Table::Chunks)).expect("opens");
        let octets = || -> u64 {
            let files = fs::read_dir(keyspace.path().join("blobs")).into_iter().flatten().flatten();
            files.filter_map(|file| file.metadata().ok()).map(|facts| facts.len()).sum()
        };
        let keys = || (0..DELETED_MIN as u32).map(u32::to_be_bytes);
        keys().for_each(|key| keyspace.insert(key, [7; 16 * 1024]).expect("written"));
        keyspace.rotate_memtable_and_wait().expect("written");
        assert!(octets() > 8_000_000);
        keys().for_each(|key| keyspace.remove(key).expect("written"));
        let deleted = AtomicU64::new(DELETED_MIN - 1);
        assert!(!look_after(&keyspace, &deleted, false), "not worth it yet");
        deleted.fetch_add(1, Ordering::Relaxed);
        assert!(look_after(&keyspace, &deleted, false));
        let began = Instant::now();
        while octets() > 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "{} octets are left", octets());
            look_after(&keyspace, &deleted, true);
        }
    }
}
