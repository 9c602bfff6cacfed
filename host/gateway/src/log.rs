//! The log: one line for each event, in one write, as JSON or as text for people.
//!
//! Peers choose much of what stands here, so a line is bounded and holds no control character, no change of writing direction and no
//! line end but its own. Logging never fails and never panics: a line that cannot be written is lost.

use crate::history::History;
use jiff::{Timestamp, tz::TimeZone};
use secmx_core::report::Event;
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Characters of one string in a line; the rest is cut.
const TEXT_CHARS_MAX: usize = 1000;

/// Items of one list in a line; the rest is counted.
const LIST_ITEMS_MAX: usize = 120;

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
            Event::Dialogue { .. } => Self::Debug,
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
    Stderr,
    /// Memory, for tests.
    Memory(Recorder),
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("format", &self.0.format).field("least", &self.0.least).finish_non_exhaustive()
    }
}

impl Log {
    /// A log on standard error that leaves out what matters less than `least`.
    pub fn stderr(format: Format, least: Severity) -> Self {
        Self(Arc::new(Inner { format, least, sink: Sink::Stderr, history: OnceLock::new() }))
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
            history.keep(line);
        }
    }

    fn tell(&self, line: &str) {
        match &self.0.sink {
            // There is nobody left to tell when standard error is gone.
            Sink::Stderr => drop(std::io::stderr().lock().write_all(line.as_bytes())),
            Sink::Memory(recorder) => recorder.push(line),
        }
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

/// An event as name and fields, ids first, then by name.
fn fields(event: &Event<'_>, text_chars: usize, list_items: usize) -> (String, Vec<(String, Value)>) {
    let mut fields = match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    let name = fields.remove("event").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    let rank = |key: &str| IDS.iter().position(|id| *id == key).unwrap_or(IDS.len());
    let mut fields: Vec<_> = fields
        .into_iter()
        .map(|(key, value)| {
            let value = bounded(&key, value, text_chars, list_items);
            (key, value)
        })
        .collect();
    fields.sort_by(|(one, _), (other, _)| (rank(one), one).cmp(&(rank(other), other)));
    (name, fields)
}

/// The value with every string and list cut to its bound. A hash is shown in hexadecimal.
fn bounded(key: &str, value: Value, text_chars: usize, list_items: usize) -> Value {
    match value {
        Value::String(text) => Value::String(cut(text, text_chars)),
        Value::Array(items) if key == "sha256" => {
            Value::String(items.iter().filter_map(Value::as_u64).fold(String::new(), |mut hex, octet| {
                let _ = write!(hex, "{octet:02x}");
                hex
            }))
        }
        Value::Array(mut items) => {
            let more = items.len().saturating_sub(list_items);
            items.truncate(list_items);
            let mut items: Vec<Value> = items.into_iter().map(|item| bounded("", item, text_chars, list_items)).collect();
            if more > 0 {
                items.push(Value::String(format!("… {more} more")));
            }
            Value::Array(items)
        }
        Value::Object(inner) => Value::Object(
            inner
                .into_iter()
                .map(|(key, value)| {
                    let value = bounded(&key, value, text_chars, list_items);
                    (key, value)
                })
                .collect(),
        ),
        plain => plain,
    }
}

fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Renders with the usual bounds, and with tighter ones when the line is too long all the same.
fn fitting(event: &Event<'_>, render: impl Fn(String, Vec<(String, Value)>) -> String) -> String {
    let render = |text_chars, list_items| {
        let (name, fields) = fields(event, text_chars, list_items);
        render(name, fields)
    };
    let line = render(TEXT_CHARS_MAX, LIST_ITEMS_MAX);
    if line.len() <= LINE_OCTETS_MAX { line } else { render(TEXT_CHARS_MAX / 10, LIST_ITEMS_MAX / 10) }
}

fn json_line(now: Timestamp, event: &Event<'_>) -> String {
    let level = Severity::of(event);
    fitting(event, |name, fields| {
        let mut line = format!("{{\"time\":\"{now:.3}\",\"level\":\"{level}\",\"event\":{}", Value::String(name));
        for (key, value) in fields {
            let _ = write!(line, ",{}:{value}", Value::String(key));
        }
        line.push('}');
        let mut line = honest(&line);
        line.push('\n');
        line
    })
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
    fitting(event, |name, fields| {
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
    if text.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
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

/// Controls, line ends, marks without width, and what changes the direction of writing (UAX #9), tags included.
fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
