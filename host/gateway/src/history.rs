//! What became of messages that are gone: the newest lines of the log that are about sessions and messages, on disk, within bounds.
//!
//! One thread appends lines to segments; the oldest segment goes when there are too many octets. Nothing waits for it: lines that come
//! faster are left out, and counted. It is not synced: a crash may take the last lines, never a message.

use crate::gathered::{Gathered, Lines};
use anyhow::{Context, Result};
use memchr::memmem::Finder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Parts in which it is thrown away.
const SEGMENTS: u64 = 8;

/// How long the first line waits for others, so that its writer is not woken for each.
const GATHER: Duration = Duration::from_millis(50);

/// Lines that an answer holds at most.
const LINES_MAX: usize = 2000;

/// Writes lines and finds them again. Clones write to the same place.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    lines: Gathered,
}

impl History {
    /// Goes on in `folder`, which is made when it is missing, and keeps about the last `octets` there. Errors name the folder.
    pub fn open(folder: &Path, octets: u64) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut segments =
            Segments::open(folder, octets.div_ceil(SEGMENTS).max(1)).with_context(|| format!("cannot write in {}", folder.display()))?;
        let lines = Gathered::start("history", GATHER, move |lines: Lines<'_>| segments.take(lines.octets))?;
        Ok(Self(Arc::new(Inner { folder: folder.to_owned(), lines })))
    }

    /// Keeps a line, which ends in a line end. Never waits.
    pub(crate) fn keep(&self, line: &str) {
        self.0.lines.add(line);
    }

    /// Lines that were left out since the start, because they came faster than they could be written.
    pub fn left_out(&self) -> u64 {
        self.0.lines.left_out()
    }

    /// What is known of a message, in the order in which it happened: its own lines, and those of the session it came in by that are about
    /// it. Empty when nothing is. Reads all segments: blocks for a while.
    pub fn about(&self, id: &str) -> io::Result<Vec<Value>> {
        self.0.lines.flush();
        let own = self.lines(id, |event| event["queue"] == id || event["subject"] == id)?;
        let Some(session) = own.iter().find(|event| event["event"] == "message.queued").and_then(|event| event["session"].as_str()) else {
            return Ok(own);
        };
        let before = self.lines(session, |event| event["session"] == session || event["subject"] == session)?;
        Ok(of_transaction(before, id).into_iter().chain(own).collect())
    }

    /// Lines that contain a text and of which `wanted` holds, the oldest first.
    fn lines(&self, text: &str, wanted: impl Fn(&Value) -> bool) -> io::Result<Vec<Value>> {
        let finder = Finder::new(text.as_bytes());
        let mut found = Vec::new();
        for (_, path) in segments_in(&self.0.folder)? {
            // It may have been thrown away in between.
            let Ok(octets) = fs::read(&path) else { continue };
            let mut from = 0;
            while let Some(at) = octets.get(from..).and_then(|rest| finder.find(rest)) {
                let at = from + at;
                let start = memchr::memrchr(b'\n', &octets[..at]).map_or(0, |end| end + 1);
                let end = memchr::memchr(b'\n', &octets[at..]).map_or(octets.len(), |end| at + end);
                from = end;
                found.extend(serde_json::from_slice(&octets[start..end]).ok().filter(&wanted));
                if found.len() == LINES_MAX {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

/// The lines of a session that are about the message `id`: how it was opened, and what came after the message before.
fn of_transaction(session: Vec<Value>, id: &str) -> Vec<Value> {
    let mut about = Vec::new();
    let mut transaction = Vec::new();
    for event in session {
        match event["event"].as_str() {
            Some("message.queued") if event["queue"] == id => break,
            Some("message.queued") => transaction.clear(),
            Some("session.open" | "session.secured" | "session.authenticated") => about.push(event),
            _ => transaction.push(event),
        }
    }
    about.extend(transaction);
    about
}

/// The files, and the one that is written.
struct Segments {
    folder: PathBuf,
    octets_max: u64,
    number: u64,
    octets: u64,
    file: File,
}

impl Segments {
    fn open(folder: &Path, octets_max: u64) -> io::Result<Self> {
        let number = segments_in(folder)?.last_key_value().map_or(1, |(number, _)| *number);
        let file = append_to(folder, number)?;
        let octets = file.metadata()?.len();
        Ok(Self { folder: folder.to_owned(), octets_max, number, octets, file })
    }

    /// Appends lines. A full disk must not stop the mail; what is missing here is missing in `explain` only.
    fn take(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let (fitting, rest) = lines.split_at(self.fitting(lines));
            let _ = self.write(fitting);
            lines = rest;
        }
    }

    /// How many octets of whole lines go into this segment, or into the next one when it is full.
    fn fitting(&self, lines: &[u8]) -> usize {
        let room = if self.octets < self.octets_max { self.octets_max - self.octets } else { self.octets_max };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let rest = lines.get(room.saturating_sub(1)..).unwrap_or_default();
        memchr::memchr(b'\n', rest).map_or(lines.len(), |end| room.saturating_sub(1) + end + 1)
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.octets >= self.octets_max {
            self.begin_next()?;
        }
        self.file.write_all(lines)?;
        self.octets += lines.len() as u64;
        Ok(())
    }

    fn begin_next(&mut self) -> io::Result<()> {
        self.number += 1;
        self.file = append_to(&self.folder, self.number)?;
        self.octets = 0;
        for (number, path) in segments_in(&self.folder)? {
            if number + SEGMENTS <= self.number {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn append_to(folder: &Path, number: u64) -> io::Result<File> {
    File::options().create(true).append(true).open(folder.join(format!("{number:012}.jsonl")))
}

/// The segments by number. Other files are not ours.
fn segments_in(folder: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jsonl")?.parse().ok());
        if let Some(number) = number {
            found.insert(number, path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keep(history: &History, event: &Value) {
        history.keep(&format!("{event}\n"));
    }

    fn names(events: &[Value]) -> Vec<&str> {
        events.iter().filter_map(|event| event["event"].as_str()).collect()
    }

    #[test]
    fn a_message_is_found_with_what_its_session_did_for_it() {
        let folder = tempfile::tempdir().expect("a directory");
        let history = History::open(folder.path(), 1 << 20).expect("opens");
        for event in [
            json!({"event": "session.open", "session": "s1"}),
            json!({"event": "policy.ruled", "subject": "s1", "policy": "for-the-first"}),
            json!({"event": "message.queued", "session": "s1", "queue": "01A"}),
            json!({"event": "policy.ruled", "subject": "s1", "policy": "for-the-second"}),
            json!({"event": "message.queued", "session": "s1", "queue": "01B"}),
            json!({"event": "message.delivered", "queue": "01B"}),
            json!({"event": "session.close", "session": "s1", "cause": "01B"}),
        ] {
            keep(&history, &event);
        }
        let about = history.about("01B").expect("readable");
        assert_eq!(names(&about), ["session.open", "policy.ruled", "message.queued", "message.delivered"]);
        assert_eq!(about[1]["policy"], "for-the-second");
        drop(history);
        let again = History::open(folder.path(), 1 << 20).expect("opens");
        assert_eq!(again.about("01A").expect("readable").len(), 3, "it outlives a restart");
        assert_eq!(again.about("01C").expect("readable"), Vec::<Value>::new());
    }

    #[test]
    fn it_is_bounded_and_forgets_the_oldest() {
        let folder = tempfile::tempdir().expect("a directory");
        let history = History::open(folder.path(), 8_000).expect("opens");
        for number in 0..1000 {
            keep(&history, &json!({"event": "message.delivered", "queue": format!("m{number:04}.")}));
        }
        assert_eq!(history.about("m0999.").expect("readable").len(), 1);
        assert_eq!(history.about("m0000.").expect("readable").len(), 0);
        assert_eq!(history.left_out(), 0);
        drop(history);
        let octets: u64 = segments_in(folder.path()).expect("readable").values().map(|path| fs::metadata(path).expect("there").len()).sum();
        assert!((7_000..=9_000).contains(&octets), "{octets}");
    }
}
