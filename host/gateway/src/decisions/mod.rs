//! The decision log: one JSON line for each ruling, in a file of its own.
//!
//! What keeps mail from going on (reject, quarantine, defer, discard, bounce) is never lost: such a line is written into the spool, with
//! the message or the delivery that it is about in one step, and moved from there into the file. After a crash it may stand in the file
//! twice, under the same `id`. Lines about messages that were let through, and differences of shadows, wait in a bounded buffer; what
//! that cannot hold is counted: `secmx_decisions_lost_total`.

mod file;
mod line;

pub use line::{Decision, Release};

use crate::config::{Decisions as Settings, OnFull};
use crate::log::Log;
use crate::spool::{Note, Spool};
use anyhow::{Context, Result};
use file::Lines;
use jiff::Timestamp;
use secmx_core::queue::QueueId;
use secmx_core::report::Event;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a line may wait for others to be written with it.
const GATHERED: Duration = Duration::from_millis(200);

/// How long after a failed write the next is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// Lines that are written at once.
const BATCH: usize = 1_000;

/// Takes lines, and sees that they get into the file. Clones share everything.
#[derive(Clone)]
pub struct Decisions(Arc<Inner>);

struct Inner {
    /// Those of the start, but for `enabled`.
    settings: Settings,
    /// As the configuration in force has it.
    enabled: AtomicBool,
    waiting: Mutex<VecDeque<String>>,
    lines: Mutex<Option<Lines>>,
    /// One after the other empties what waits.
    turn: tokio::sync::Mutex<()>,
    /// There is something to write.
    wake: Notify,
    /// There is room again.
    room: Notify,
    lost: AtomicU64,
    number: AtomicU64,
}

impl fmt::Debug for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decisions").field("file", &self.0.settings.file).field("lost", &self.lost()).finish_non_exhaustive()
    }
}

impl Decisions {
    /// Nothing is opened yet.
    pub fn new(settings: &Settings) -> Self {
        Self(Arc::new(Inner {
            settings: settings.clone(),
            enabled: AtomicBool::new(settings.enabled),
            waiting: Mutex::default(),
            lines: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            room: Notify::new(),
            lost: AtomicU64::new(0),
            number: AtomicU64::new(0),
        }))
    }

    /// Opens the file, so that one that cannot be written is said at the start. Errors name it.
    pub fn open(&self) -> Result<()> {
        let opened = if self.is_enabled() { self.0.append(&[], false) } else { Ok(()) };
        opened.with_context(|| format!("cannot write {}", self.0.settings.file.display()))
    }

    /// Another generation is in force, in which decisions are written down or not. What was noted before is written in any case.
    pub(crate) fn enable(&self, enabled: bool) {
        self.0.enabled.store(enabled, Ordering::Relaxed);
    }

    fn is_enabled(&self) -> bool {
        self.0.enabled.load(Ordering::Relaxed)
    }

    /// Lines that did not get into the file: `secmx_decisions_lost_total`.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Counts a line that could not be kept.
    pub(crate) fn lose(&self) {
        self.0.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// There are new notes in the spool.
    pub(crate) fn noted(&self) {
        self.0.wake.notify_one();
    }

    /// A line about a message that was let through. Waits for room only where `on_full` says so.
    pub(crate) async fn passed(&self, line: String) {
        while self.0.settings.on_full == OnFull::Block && self.waiting().len() >= self.0.settings.buffer {
            let room = self.0.room.notified();
            if self.waiting().len() >= self.0.settings.buffer {
                room.await;
            }
        }
        self.offer(line);
    }

    /// Notes what shadows did. Never waits.
    pub(crate) fn watch(&self, event: &Event<'_>) {
        if !self.is_enabled() || !matches!(event, Event::ShadowDiffers { .. }) {
            return;
        }
        let now = Timestamp::now();
        if let Some(line) = line::difference(self.number(now), now, event) {
            self.offer(line);
        }
    }

    fn offer(&self, line: String) {
        let mut waiting = self.waiting();
        if waiting.len() >= self.0.settings.buffer {
            waiting.pop_front();
            self.lose();
        }
        waiting.push_back(line);
        if waiting.len() == 1 {
            self.0.wake.notify_one();
        }
    }

    /// Names a line that never was in the spool.
    fn number(&self, now: Timestamp) -> QueueId {
        let number = self.0.number.fetch_add(1, Ordering::Relaxed);
        QueueId::new(u64::try_from(now.as_millisecond()).unwrap_or(0), u32::try_from(number & 0x3_ffff).unwrap_or(0))
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves lines into the file until `stop`, and what waits then. A write that fails is said once and tried again.
    pub async fn keep(self, spool: Arc<dyn Spool>, log: Log, stop: CancellationToken) {
        let mut failed = false;
        while !stop.is_cancelled() {
            match self.write_out(spool.as_ref()).await {
                Ok(()) => failed = false,
                Err(error) if !failed => {
                    failed = true;
                    log.write(&Event::Warning { text: format!("decisions are not written to the file for now: {error:#}") });
                }
                Err(_) => {}
            }
            let next = async {
                if failed {
                    tokio::time::sleep(AGAIN).await;
                } else {
                    self.0.wake.notified().await;
                    tokio::time::sleep(GATHERED).await;
                }
            };
            tokio::select! {
                () = next => {}
                () = stop.cancelled() => {}
            }
        }
        if let Err(error) = self.write_out(spool.as_ref()).await {
            log.write(&Event::Warning { text: format!("decisions that waited to be written were not: {error:#}") });
        }
    }

    /// Moves all that waits into the file. What could not be written still waits afterwards.
    pub async fn write_out(&self, spool: &dyn Spool) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        loop {
            let notes = spool.notes(BATCH).await?;
            let passed: Vec<String> = {
                let mut waiting = self.waiting();
                let most = waiting.len().min(BATCH);
                waiting.drain(..most).collect()
            };
            if notes.is_empty() && passed.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.append(&notes, &passed).await {
                let mut waiting = self.waiting();
                for line in passed.into_iter().rev() {
                    if waiting.len() < self.0.settings.buffer {
                        waiting.push_front(line);
                    } else {
                        self.lose();
                    }
                }
                return Err(error).with_context(|| self.0.settings.file.display().to_string());
            }
            self.0.room.notify_waiters();
            spool.forget(notes.into_iter().map(|note| note.id).collect()).await?;
        }
    }

    async fn append(&self, notes: &[Note], passed: &[String]) -> Result<()> {
        let synced = !notes.is_empty();
        let mut octets = notes.iter().flat_map(|note| note.line.to_vec()).collect::<Vec<u8>>();
        passed.iter().for_each(|line| octets.extend_from_slice(line.as_bytes()));
        let inner = Arc::clone(&self.0);
        Ok(tokio::task::spawn_blocking(move || inner.append(&octets, synced)).await??)
    }
}

impl Inner {
    fn append(&self, octets: &[u8], synced: bool) -> io::Result<()> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || Lines::open(&self.settings.file, self.settings.rotate_octets, self.settings.keep);
        let opened = lines.take().map_or_else(open, Ok)?;
        lines.insert(opened).append(octets, synced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::spool::{MemorySpool, MemoryTables};
    use bytes::Bytes;
    use std::fs;

    fn opened(folder: &std::path::Path, more: &str) -> Decisions {
        let text = format!("[decisions]\nfile = \"{}\"\n{more}", folder.join("d.jsonl").display());
        let decisions = Decisions::new(&Config::parse("x.toml", &text).expect("valid").0.decisions);
        decisions.open().expect("opens");
        decisions
    }

    fn note(spool: &dyn Spool, line: &'static str) -> Note {
        Note { id: spool.new_id(Timestamp::UNIX_EPOCH), line: Bytes::from_static(line.as_bytes()) }
    }

    #[tokio::test]
    async fn what_is_in_the_spool_gets_into_the_file_and_leaves_the_spool() {
        let folder = tempfile::tempdir().expect("a folder");
        let decisions = opened(folder.path(), "");
        let spool = MemorySpool::open(&MemoryTables::default()).expect("opens").spool;
        spool.note(note(&spool, "refused\n")).await.expect("room");
        decisions.passed("passed\n".into()).await;
        decisions.write_out(&spool).await.expect("written");
        assert_eq!(fs::read_to_string(folder.path().join("d.jsonl")).expect("there"), "refused\npassed\n");
        assert_eq!(spool.notes(9).await, Ok(Vec::new()));
        assert_eq!(decisions.lost(), 0);
    }

    /// What may be lost is counted; what may not stays in the spool while the file cannot be written.
    #[tokio::test]
    async fn a_full_buffer_drops_the_oldest_and_counts_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let decisions = opened(folder.path(), "buffer = 2\n");
        for line in ["one\n", "two\n", "three\n"] {
            decisions.passed(line.into()).await;
        }
        assert_eq!(decisions.lost(), 1);
        let spool = MemorySpool::open(&MemoryTables::default()).expect("opens").spool;
        spool.note(note(&spool, "refused\n")).await.expect("room");
        let path = folder.path().join("d.jsonl");
        fs::remove_file(&path).expect("there");
        fs::create_dir(&path).expect("made");
        assert!(decisions.write_out(&spool).await.is_err(), "a folder is no file");
        assert_eq!(spool.notes(9).await.map(|notes| notes.len()), Ok(1));
        fs::remove_dir(&path).expect("there");
        decisions.write_out(&spool).await.expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "refused\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn who_must_wait_waits_for_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let decisions = opened(folder.path(), "buffer = 1\non_full = \"block\"\n");
        decisions.passed("one\n".into()).await;
        let other = decisions.clone();
        let waits = tokio::spawn(async move { other.passed("two\n".into()).await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        let spool = MemorySpool::open(&MemoryTables::default()).expect("opens").spool;
        decisions.write_out(&spool).await.expect("written");
        waits.await.expect("it went on");
        decisions.write_out(&spool).await.expect("written");
        assert_eq!(decisions.lost(), 0);
    }
}
