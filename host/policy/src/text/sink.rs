//! Where text is gathered and octets are counted, so that no document gives more, or takes longer, than it may.

use super::{Bounds, Gap};
use std::io::{Error, Read};
use std::time::{Duration, Instant};

/// What unpacks to less is no bomb, whatever its ratio.
const ALWAYS_ALLOWED: u64 = 1 << 20;

/// What one message has left of its bounds.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    pub(super) time: Duration,
    pub(super) octets: u64,
}

impl Budget {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self { time: bounds.time, octets: bounds.document_bytes }
    }
}

/// Text of one document, growing.
pub(crate) struct Sink<'a> {
    text: String,
    text_max: usize,
    /// What may still be unpacked of this document.
    left: u64,
    started: Instant,
    budget: &'a mut Budget,
}

impl<'a> Sink<'a> {
    /// For a document of that many octets.
    pub(crate) fn new(bounds: &Bounds, octets: usize, budget: &'a mut Budget) -> Self {
        let by_ratio = (octets as u64).saturating_mul(bounds.ratio.into()).max(ALWAYS_ALLOWED);
        let text_max = usize::try_from(bounds.text_bytes).unwrap_or(usize::MAX);
        Self { text: String::new(), text_max, left: by_ratio.min(budget.octets), started: Instant::now(), budget }
    }

    /// Adds text.
    pub(super) fn push(&mut self, text: &str) -> Result<(), Gap> {
        let room = self.text_max - self.text.len();
        if text.len() > room {
            self.text.push_str(&text[..text.floor_char_boundary(room)]);
            return Err(Gap::TooLarge);
        }
        self.text.push_str(text);
        self.on_time()
    }

    /// Ends a word, a cell or a line, once.
    pub(super) fn separate(&mut self, with: char) {
        if self.text.len() < self.text_max && !self.text.is_empty() && !self.text.ends_with(['\n', '\t', ' ']) {
            self.text.push(with);
        }
    }

    /// Says when the time is over.
    pub(super) fn on_time(&self) -> Result<(), Gap> {
        if self.started.elapsed() > self.budget.time { Err(Gap::TooLong) } else { Ok(()) }
    }

    /// Counts octets that were unpacked.
    pub(super) fn unpacked(&mut self, octets: u64) -> Result<(), Gap> {
        self.budget.octets = self.budget.octets.saturating_sub(octets);
        self.left = self.left.checked_sub(octets).ok_or(Gap::TooLarge)?;
        self.on_time()
    }

    /// The text; its time is taken from the budget.
    pub(super) fn finish(self) -> String {
        self.budget.time = self.budget.time.saturating_sub(self.started.elapsed());
        self.text
    }
}

/// Unpacked octets on their way to a parser, counted. Ends with an error where a bound is; `gap` then says which.
pub(super) struct Counted<R> {
    inner: R,
    left: u64,
    end: Instant,
    /// Octets that came through.
    pub(super) counted: u64,
    pub(super) gap: Option<Gap>,
}

impl<R: Read> Counted<R> {
    pub(super) fn new(inner: R, sink: &Sink<'_>) -> Self {
        Self { inner, left: sink.left, end: sink.started + sink.budget.time, counted: 0, gap: None }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.counted += read as u64;
        if self.counted > self.left {
            self.gap = Some(Gap::TooLarge);
        } else if Instant::now() > self.end {
            self.gap = Some(Gap::TooLong);
        }
        if self.gap.is_some() { Err(Error::other("a bound is reached")) } else { Ok(read) }
    }
}
