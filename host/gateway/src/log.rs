//! The log: one line for each event, as JSON or as text for people.
//!
//! Peers choose much of what stands here, so a line is bounded and holds no control character, no change of writing direction and no
//! line end but its own. Logging never fails, never panics and never waits: lines are written by a thread of their own, those of some
//! milliseconds at once, and one that cannot be written is lost.

mod json;

use crate::gathered::{Gathered, Lines};
use crate::history::History;
use jiff::{Timestamp, tz::TimeZone};
use json::Bounds;
use secmx_core::report::Event;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How long the first line waits for others, so that its writer is not woken for each.
const GATHER: Duration = Duration::from_millis(20);

/// What of an event stands in a line.
const BOUNDS: Bounds = Bounds { text_chars: 1000, list_items: 120 };

/// Octets of one line. An event that needs more is cut harder.
const LINE_OCTETS_MAX: usize = 16 << 10;

/// Fields that tie lines together come first, in this order.
const IDS: [&str; 4] = ["session", "transaction", "queue", "subject"];

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object: `{"time":"…Z","level":"info","event":"message.queued",…}`, times in UTC.
    #[default]
    Json,
    /// `10:14:07.481 message.queued  queue=… octets=…`, times of this machine's zone. For people; not stable.
    Text,
}

/// How much an event matters, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Severity {
    /// The gateway cannot do its work.
    Error,
    /// An operator ought to look.
    Warning,
    /// Mail moved, or did not, as it should.
    #[default]
    Info,
    /// For whoever looks for a fault.
    Debug,
}

impl Severity {
    /// The severity of an event.
    pub fn of(event: &Event<'_>) -> Self {
        match event {
            Event::SpoolFailed { .. } => Self::Error,
            Event::StsFailed { .. } | Event::Downgraded { .. } => Self::Warning,
            Event::Warning { .. } | Event::PolicyFault { .. } | Event::SetAside { .. } | Event::Discarded { .. } => Self::Warning,
            Event::Reloaded { ok: false, .. } => Self::Warning,
            // What every message brings with it, and `secmx explain` tells of each.
            Event::Dialogue { .. } | Event::Discovered { .. } => Self::Debug,
            Event::PolicyRuled(moment) if moment.ruling == "pass" => Self::Debug,
            Event::PolicyLog { severity, .. } => match *severity {
                "warn" => Self::Warning,
                "debug" => Self::Debug,
                _ => Self::Info,
            },
            _ => Self::Info,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        })
    }
}

/// Takes events and writes lines. Clones write to the same place.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    format: Format,
    least: Severity,
    sink: Sink,
    history: OnceLock<History>,
}

enum Sink {
    /// Standard error.
    Stderr(Gathered),
    /// Memory, for tests.
    Memory(Recorder),
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("format", &self.0.format).field("least", &self.0.least).finish_non_exhaustive()
    }
}

impl Log {
    /// A log on standard error that leaves out what matters less than `least`. Errors when its thread cannot be started.
    pub fn stderr(format: Format, least: Severity) -> io::Result<Self> {
        let lines = Gathered::start("log", GATHER, move |lines: Lines<'_>| tell_stderr(format, lines))?;
        Ok(Self(Arc::new(Inner { format, least, sink: Sink::Stderr(lines), history: OnceLock::new() })))
    }

    /// Returns when everything that was told is written. Blocks.
    pub fn flush(&self) {
        if let Sink::Stderr(lines) = &self.0.sink {
            lines.flush();
        }
    }

    /// A log in memory that leaves nothing out, and what reads it.
    pub fn recording() -> (Self, Recorder) {
        let recorder = Recorder::default();
        let log = Self(Arc::new(Inner {
            format: Format::Json,
            least: Severity::Debug,
            sink: Sink::Memory(recorder.clone()),
            history: OnceLock::new(),
        }));
        (log, recorder)
    }

    /// From now on events about sessions and messages are kept there too, however little they matter. The first one that is given stays.
    pub fn remember(&self, history: History) {
        let _ = self.0.history.set(history);
    }

    /// Where they are kept.
    pub fn history(&self) -> Option<&History> {
        self.0.history.get()
    }

    /// Writes one event with the time of now.
    pub fn write(&self, event: &Event<'_>) {
        let is_told = Severity::of(event) <= self.0.least;
        let history = self.0.history.get();
        if !is_told && history.is_none() {
            return;
        }
        let now = Timestamp::now();
        let line = match (self.0.format, history) {
            (Format::Text, None) => String::new(),
            _ => json_line(now, event),
        };
        if is_told {
            match self.0.format {
                Format::Json => self.tell(&line),
                Format::Text => self.tell(&text_line(now, &TimeZone::system(), event)),
            }
        }
        if let Some(history) = history.filter(|_| IDS.iter().any(|id| line.contains(&format!(",\"{id}\":")))) {
            history.keep(&line);
        }
    }

    fn tell(&self, line: &str) {
        match &self.0.sink {
            Sink::Stderr(lines) => lines.add(line),
            Sink::Memory(recorder) => recorder.push(line),
        }
    }
}

/// There is nobody left to tell when standard error is gone.
fn tell_stderr(format: Format, lines: Lines<'_>) {
    let _ = io::stderr().lock().write_all(lines.octets);
    if lines.left_out > 0 {
        let event =
            Event::Warning { text: format!("{} lines of the log came faster than they could be written, and are lost", lines.left_out) };
        let now = Timestamp::now();
        let line = match format {
            Format::Json => json_line(now, &event),
            Format::Text => text_line(now, &TimeZone::system(), &event),
        };
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

/// Reads what a recording log was told.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Value>>>);

impl Recorder {
    /// All events so far, as the JSON that was logged.
    pub fn events(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many events there were so far.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The events after the first `seen` ones.
    pub fn since(&self, seen: usize) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(seen..).unwrap_or_default().to_vec()
    }

    /// The events of one name, such as `message.queued`.
    pub fn named(&self, event: &str) -> Vec<Value> {
        self.events().into_iter().filter(|line| line["event"] == event).collect()
    }

    fn push(&self, line: &str) {
        let line = serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.to_owned()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// A line with the usual bounds, and with tighter ones when it is too long all the same.
fn fitting(render: impl Fn(Bounds) -> String) -> String {
    let line = render(BOUNDS);
    if line.len() <= LINE_OCTETS_MAX {
        return line;
    }
    render(Bounds { text_chars: BOUNDS.text_chars / 10, list_items: BOUNDS.list_items / 10 })
}

fn json_line(now: Timestamp, event: &Event<'_>) -> String {
    fitting(|bounds| {
        let fields = json::object(event, bounds);
        let fields = fields.strip_prefix('{').unwrap_or("}");
        format!("{{\"time\":\"{now:.3}\",\"level\":\"{}\",{fields}\n", Severity::of(event))
    })
}

/// An event as name and fields, ids first, then by name.
fn fields(event: &Event<'_>, bounds: Bounds) -> (String, Vec<(String, Value)>) {
    let mut fields: Map<String, Value> = serde_json::from_str(&json::object(event, bounds)).unwrap_or_default();
    let name = fields.remove("event").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    let rank = |key: &str| IDS.iter().position(|id| *id == key).unwrap_or(IDS.len());
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by(|(one, _), (other, _)| (rank(one), one).cmp(&(rank(other), other)));
    (name, fields)
}

/// JSON on one line with every character that could deceive whoever reads it as an escape. Such a character stands in a string only,
/// where the escape means the same.
pub(crate) fn honest(json: &str) -> String {
    escaped(json, |character, line| {
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            let _ = write!(line, "\\u{unit:04x}");
        }
    })
}

fn text_line(now: Timestamp, zone: &TimeZone, event: &Event<'_>) -> String {
    let time = zone.to_datetime(now).time();
    let level = Severity::of(event);
    fitting(|bounds| {
        let (name, fields) = fields(event, bounds);
        let mut line = format!("{:02}:{:02}:{:02}.{:03} ", time.hour(), time.minute(), time.second(), time.millisecond());
        if level < Severity::Info {
            let _ = write!(line, "{level}: ");
        }
        let _ = write!(line, "{name} ");
        for (key, value) in &fields {
            write_words(&mut line, key, value);
        }
        let mut line = escaped(line.trim_end(), |character, line| {
            let _ = write!(line, "\\u{{{:x}}}", u32::from(character));
        });
        line.push('\n');
        line
    })
}

/// ` key=value`, with `key.inner=value` for what lies deeper. What is absent is left out.
fn write_words(line: &mut String, key: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(inner) => {
            let mut inner: Vec<_> = inner.iter().collect();
            inner.sort_by_key(|(name, _)| *name);
            inner.into_iter().for_each(|(name, value)| write_words(line, &format!("{key}.{name}"), value));
        }
        Value::Array(items) => {
            let words: Vec<String> = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            let _ = write!(line, " {key}={}", quoted(&words.join(", ")));
        }
        Value::String(text) => {
            let _ = write!(line, " {key}={}", quoted(text));
        }
        plain => {
            let _ = write!(line, " {key}={plain}");
        }
    }
}

/// In quotes when it would not read as one word.
fn quoted(text: &str) -> String {
    let is_word = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '=' | '\\'));
    if is_word { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// The text with every character that could deceive whoever reads it put as an escape.
fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> String {
    // Nearly every line; the long way costs more than all else that is done to it.
    if is_plain(text) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut clean, character| {
        if deceives(character) {
            escape(character, &mut clean)
        } else {
            clean.push(character)
        }
        clean
    })
}

/// Whether every character is one of ASCII that can be seen, or a space.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|octet| (b' '..=b'~').contains(&octet))
}

/// Controls, line ends, marks without width, and what changes the direction of writing (UAX #9), tags included.
fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
