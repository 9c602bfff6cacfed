//! The configuration as a tree of values that know where they stand, from files and from the environment.
//!
//! A built-in default gives way to the file, the file to the environment. An included file may add tables and keys; a key that is set
//! twice is an error that names both places. Nothing here knows what a key means.

use super::finding::{Code, Finding, Place, Position, Severity};
use jiff::civil::Date;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A longer string is not repeated in a message.
const TEXT_CHARS_MAX: usize = 100;

/// Where a value stands: octets of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    source: usize,
    start: usize,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) node: Node,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// A value as TOML has it. Tables keep the order of the file.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date(Date),
    /// A time or a date with a time, as written; no setting takes one.
    Moment(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A text that values came from.
#[derive(Debug)]
struct Source {
    /// File as it was named, or environment variable.
    name: String,
    /// What relative paths in it are relative to.
    base: PathBuf,
    /// The file's content; `None` for a variable.
    text: Option<String>,
}

/// All texts that a configuration came from.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Reads one text as TOML. The findings are its syntax errors.
    pub(super) fn parse(&mut self, name: &str, base: &Path, text: String) -> Result<Vec<Entry>, Vec<Finding>> {
        let source = self.0.len();
        let (table, errors) = DeTable::parse_recoverable(&text);
        let wrong: Vec<_> = errors.iter().map(|error| (error.span().unwrap_or_default().start, sentence(error.message()))).collect();
        let entries = wrong.is_empty().then(|| grow_table(source, table.get_ref()));
        self.0.push(Source { name: name.to_owned(), base: base.to_owned(), text: Some(text) });
        let syntax = |(start, message): &(usize, String)| {
            let place = self.place(Span { source, start: *start });
            Finding { place, severity: Severity::Error, code: Code::Syntax, message: message.clone() }
        };
        entries.ok_or_else(|| wrong.iter().map(syntax).collect())
    }

    /// One variable such as `SECMX__SEND__ROLE=SOS` as the tree it stands for. A value that is no TOML is a string.
    pub(super) fn variable(&mut self, name: &str, value: &str) -> Option<Entry> {
        let keys: Vec<String> = name.strip_prefix("SECMX__")?.split("__").map(str::to_lowercase).collect();
        let source = self.0.len();
        let span = Span { source, start: 0 };
        self.0.push(Source { name: name.to_owned(), base: PathBuf::new(), text: None });
        let value = match DeValue::parse(value) {
            Ok(parsed) => flatten(grow(source, parsed.span(), parsed.get_ref()), span),
            Err(_) => Node { span, value: Value::Text(value.to_owned()) },
        };
        keys.into_iter().rev().fold(None, |inner: Option<Entry>, key| {
            let node = inner.map_or_else(|| value.clone(), |entry| Node { span, value: Value::Table(vec![entry]) });
            Some(Entry { key, span, node })
        })
    }

    /// Where that is, for people.
    pub(super) fn place(&self, span: Span) -> Place {
        let Some(source) = self.0.get(span.source) else {
            return Place { source: "built-in defaults".to_owned(), position: None };
        };
        let position = source.text.as_deref().map(|text| {
            let before = text.get(..span.start).unwrap_or(text);
            let line = before.rsplit('\n').next().unwrap_or_default();
            Position { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
        });
        Place { source: source.name.clone(), position }
    }

    /// What relative paths at that place are relative to.
    pub(super) fn base(&self, span: Span) -> &Path {
        self.0.get(span.source).map_or(Path::new(""), |source| &source.base)
    }
}

impl Span {
    /// The place of what stands nowhere: a default.
    pub(super) const NOWHERE: Self = Self { source: usize::MAX, start: 0 };
}

impl Value {
    /// For messages: `the string "x"`.
    pub(super) fn describe(&self) -> String {
        match self {
            // What has several lines was pasted, and may be a private key.
            Self::Text(text) if text.contains('\n') => "a text of several lines".to_owned(),
            Self::Text(text) if text.chars().count() > TEXT_CHARS_MAX => format!("a string of {} characters", text.chars().count()),
            Self::Text(text) => format!("the string {text:?}"),
            Self::Integer(number) => format!("the integer {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Boolean(truth) => truth.to_string(),
            Self::Date(date) => format!("the date {date}"),
            Self::Moment(moment) => format!("the time {moment}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }

    /// As JSON; a date becomes a string.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) | Self::Moment(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Boolean(truth) => (*truth).into(),
            Self::Date(date) => date.to_string().into(),
            Self::List(nodes) => nodes.iter().map(|node| node.value.to_json()).collect(),
            Self::Table(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.node.value.to_json())).collect(),
        }
    }
}

/// Adds what an included file sets. Gives the entries that were set before: place of the new one, dotted key, place of the old one.
pub(super) fn add(entries: &mut Vec<Entry>, more: Vec<Entry>, path: &str) -> Vec<(Span, String, Span)> {
    let mut twice = Vec::new();
    for entry in more {
        let dotted = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        let Some(old) = entries.iter_mut().find(|old| old.key == entry.key) else {
            entries.push(entry);
            continue;
        };
        match (&mut old.node.value, entry.node.value) {
            (Value::Table(inner), Value::Table(more)) => twice.extend(add(inner, more, &dotted)),
            (Value::List(items), Value::List(more)) if is_table_list(items) && is_table_list(&more) => items.extend(more),
            _ => twice.push((entry.span, dotted, old.span)),
        }
    }
    twice
}

/// Puts what a variable sets in the place of what was there.
pub(super) fn replace(entries: &mut Vec<Entry>, entry: Entry) {
    let Some(old) = entries.iter_mut().find(|old| old.key == entry.key) else {
        return entries.push(entry);
    };
    match (&mut old.node.value, entry.node.value) {
        (Value::Table(inner), Value::Table(more)) => more.into_iter().for_each(|entry| replace(inner, entry)),
        (_, value) => old.node = Node { span: entry.node.span, value },
    }
}

fn is_table_list(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node.value, Value::Table(_)))
}

fn grow_table(source: usize, table: &DeTable<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            span: Span { source, start: key.span().start },
            node: grow(source, value.span(), value.get_ref()),
        })
        .collect();
    entries.sort_by_key(|entry| entry.span);
    entries
}

fn grow(source: usize, range: Range<usize>, value: &DeValue<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        // What does not fit is more than any setting takes, and is refused with its limit.
        DeValue::Integer(number) => Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX)),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(moment) => match (moment.date, moment.time) {
            (Some(_), None) => moment.to_string().parse().map_or_else(|_| Value::Moment(moment.to_string()), Value::Date),
            _ => Value::Moment(moment.to_string()),
        },
        DeValue::Array(nodes) => Value::List(nodes.iter().map(|node| grow(source, node.span(), node.get_ref())).collect()),
        DeValue::Table(table) => Value::Table(grow_table(source, table)),
    };
    Node { span: Span { source, start: range.start }, value }
}

/// Everything in a variable stands at one place.
fn flatten(node: Node, span: Span) -> Node {
    let value = match node.value {
        Value::List(nodes) => Value::List(nodes.into_iter().map(|node| flatten(node, span)).collect()),
        Value::Table(entries) => {
            Value::Table(entries.into_iter().map(|entry| Entry { span, node: flatten(entry.node, span), ..entry }).collect())
        }
        value => value,
    };
    Node { span, value }
}

/// A message of the TOML reader on one line.
fn sentence(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
