//! Lines on their way to a file: whoever adds one never waits for the disk, and a thread of its own writes what has gathered at once.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Octets that wait at most. What comes on top is left out, and counted.
const WAITING_MAX: usize = 8 << 20;

/// Octets of memory that are kept for the next lines.
const KEPT: usize = 256 << 10;

/// Takes lines. Dropping it writes what waits.
pub(crate) struct Gathered {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What has gathered.
pub(crate) struct Lines<'a> {
    /// Whole lines, each with its end.
    pub(crate) octets: &'a [u8],
    /// Lines that were left out since the last time.
    pub(crate) left_out: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    added: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Octets that were added, and written, ever.
    added: u64,
    written: u64,
    left_out: u64,
    /// Of these, how many the writer was told of.
    told: u64,
    /// The writer sleeps until somebody wakes it.
    idle: bool,
    /// Somebody waits for what was added.
    hurry: bool,
    closed: bool,
}

impl Gathered {
    /// Has `write` called, by a thread of that name, with the lines that gathered within `pause` of the first.
    pub(crate) fn start(name: &str, pause: Duration, write: impl FnMut(Lines<'_>) + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || writer.run(pause, write))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds a line, which ends in a line end. Never waits.
    pub(crate) fn add(&self, line: &str) {
        let mut state = self.shared.state();
        if state.waiting.len() + line.len() > WAITING_MAX {
            state.left_out += 1;
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        state.added += line.len() as u64;
        if std::mem::take(&mut state.idle) {
            self.shared.added.notify_one();
        }
    }

    /// Returns when everything that was added before is written. Blocks.
    pub(crate) fn flush(&self) {
        let mut state = self.shared.state();
        let wanted = state.added;
        while state.written < wanted {
            state.hurry = true;
            self.shared.added.notify_one();
            state = self.shared.written.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lines that were left out since the start, because they came faster than they could be written.
    pub(crate) fn left_out(&self) -> u64 {
        self.shared.state().left_out
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.added.notify_one();
        // What a thread that panicked could not write is lost either way.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, pause: Duration, mut write: impl FnMut(Lines<'_>)) {
        let mut octets = Vec::new();
        while let Some(left_out) = self.take(&mut octets, pause) {
            write(Lines { octets: &octets, left_out });
            self.state().written += octets.len() as u64;
            self.written.notify_all();
            octets.clear();
            octets.shrink_to(KEPT);
        }
    }

    /// Waits for lines, and then a little for more. `None` when there will be none.
    fn take(&self, octets: &mut Vec<u8>, pause: Duration) -> Option<u64> {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state.idle = true;
            state = self.added.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let more = self.added.wait_timeout_while(state, pause, |state| !state.hurry && !state.closed);
        (state, _) = more.unwrap_or_else(PoisonError::into_inner);
        (state.hurry, state.idle) = (false, false);
        std::mem::swap(&mut state.waiting, octets);
        let left_out = state.left_out - state.told;
        state.told = state.left_out;
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver, Sender};

    type Written = (Vec<u8>, u64);

    fn noted(pause: Duration) -> (Gathered, Receiver<Written>) {
        let (sender, written): (Sender<Written>, _) = mpsc::channel();
        let write = move |lines: Lines<'_>| drop(sender.send((lines.octets.to_vec(), lines.left_out)));
        (Gathered::start("lines", pause, write).expect("starts"), written)
    }

    #[test]
    fn what_comes_together_is_written_together() {
        let (lines, written) = noted(Duration::from_secs(3600));
        lines.add("one\n");
        lines.add("two\n");
        lines.flush();
        assert_eq!(written.try_recv(), Ok((b"one\ntwo\n".to_vec(), 0)));
        lines.add("three\n");
        drop(lines);
        assert_eq!(written.try_recv(), Ok((b"three\n".to_vec(), 0)), "the end waits for nobody");
    }

    #[test]
    fn lines_are_written_unasked() {
        let (lines, written) = noted(Duration::from_millis(1));
        for text in ["one\n", "two\n"] {
            lines.add(text);
            assert_eq!(written.recv(), Ok((text.as_bytes().to_vec(), 0)));
        }
    }

    /// A place that takes nothing, a full pipe for one, stops no mail and takes no more memory than it may.
    #[test]
    fn what_has_no_room_is_left_out_and_counted() {
        let (lines, written) = noted(Duration::from_secs(3600));
        let line = "x".repeat(WAITING_MAX / 4 - 1) + "\n";
        (0..6).for_each(|_| lines.add(&line));
        assert_eq!(lines.left_out(), 2);
        lines.flush();
        lines.add("next\n");
        lines.flush();
        let (octets, left_out) = written.recv().expect("written");
        assert_eq!((octets.len(), left_out), (WAITING_MAX, 2));
        assert_eq!(written.recv(), Ok((b"next\n".to_vec(), 0)), "what was told is told once");
    }
}
