//! PDF read in a process of its own: whatever a hostile file does to its reader, it ends there, and memory and time come back.

use super::{Bounds, Budget, Extract, Gap, Sink, pdf};
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The stack of the thread that reads: readers of PDF recurse into what a page is made of.
const STACK: usize = 16 << 20;

/// Exit codes beside 0 for "that is all of it".
const TOO_LARGE: i32 = 10;
const TOO_LONG: i32 = 11;
const DAMAGED: i32 = 12;

/// A program that reads one PDF: octets on standard input, text on standard output. It ends by calling [`answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// Its arguments. Three numbers follow them: memory and text in octets, and time in milliseconds.
    pub arguments: Vec<OsString>,
}

/// What such a program does: reads standard input under these limits, writes the text, and gives the code to exit with.
pub fn answer(memory_bytes: u64, text_bytes: u64, time: Duration) -> i32 {
    let limits = [
        (Resource::Data, memory_bytes),
        (Resource::Cpu, time.as_secs() + 1),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, 3),
    ];
    for (resource, limit) in limits {
        // A system without such a limit still has the others, and the time of the one that waits.
        let _ = setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
    }
    let bounds = Bounds { time, text_bytes, ..Bounds::default() };
    let reading = move || {
        let (mut octets, mut budget) = (Vec::new(), Budget::new(&bounds));
        if std::io::stdin().lock().read_to_end(&mut octets).is_err() {
            return DAMAGED;
        }
        let octets = Bytes::from(octets);
        let mut sink = Sink::new(&bounds, octets.len(), &mut budget);
        let outcome = pdf::read(&octets, &mut sink);
        // Nobody listens any more when this fails.
        let _ = std::io::stdout().lock().write_all(sink.finish().as_bytes());
        match outcome {
            Ok(()) => 0,
            Err(Gap::TooLarge) => TOO_LARGE,
            Err(Gap::TooLong) => TOO_LONG,
            Err(Gap::Damaged) => DAMAGED,
        }
    };
    // A panic says so on standard error, which nobody reads.
    std::thread::Builder::new().stack_size(STACK).spawn(reading).ok().and_then(|thread| thread.join().ok()).unwrap_or(DAMAGED)
}

impl Program {
    /// Reads a PDF. Blocks, no longer than the budget has time.
    pub(super) fn read(&self, octets: &Bytes, bounds: &Bounds, budget: &mut Budget) -> Extract {
        let (started, time) = (Instant::now(), budget.time);
        let extract = self.start(bounds, time).map(|child| wait(child, octets.clone(), bounds, time));
        budget.time = time.saturating_sub(started.elapsed());
        extract.unwrap_or(Extract { text: String::new(), gap: Some(Gap::Damaged) })
    }

    fn start(&self, bounds: &Bounds, time: Duration) -> std::io::Result<Child> {
        let numbers = [bounds.memory_bytes, bounds.text_bytes, u64::try_from(time.as_millis()).unwrap_or(u64::MAX)];
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).args(numbers.map(|number| number.to_string())).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    }
}

/// Feeds the child and takes its text, until it ends or the time is over.
fn wait(mut child: Child, octets: Bytes, bounds: &Bounds, time: Duration) -> Extract {
    let end = Instant::now() + time;
    let (sender, receiver) = channel();
    if let Some((mut stdin, stdout)) = child.stdin.take().zip(child.stdout.take()) {
        // A child that ends early takes no more: what it said counts.
        std::thread::spawn(move || stdin.write_all(&octets));
        let most = bounds.text_bytes;
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stdout.take(most).read_to_end(&mut text);
            let _ = sender.send(text);
        });
    }
    let text = receiver.recv_timeout(time).ok();
    let status = ended(&mut child, end);
    let text = text.or_else(|| receiver.recv_timeout(Duration::from_secs(1)).ok()).unwrap_or_default();
    let gap = match status.map(|status| status.code()) {
        None => Some(Gap::TooLong),
        Some(Some(0)) => None,
        Some(Some(TOO_LARGE)) => Some(Gap::TooLarge),
        Some(Some(TOO_LONG)) => Some(Gap::TooLong),
        Some(_) => Some(Gap::Damaged),
    };
    Extract { text: String::from_utf8_lossy(&text).into_owned(), gap }
}

/// How the child ended; `None` when it had to be ended.
fn ended(child: &mut Child, end: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            Ok(None) | Err(_) => {
                // It may have ended just now; either way it is gone afterwards.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}
