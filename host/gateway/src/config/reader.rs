//! Reads typed settings out of the tree and notes everything that is wrong on the way, instead of stopping at the first.
//!
//! A key that nobody asked for is unknown: the code that reads a table is the only list of its keys.

use super::finding::{Code, Finding, Severity, suggestion};
use super::tree::{Entry, Node, Sources, Span, Value};
use jiff::civil::Date;
use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A value that cannot be taken: where, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    span: Span,
    reason: String,
}

/// A type that a setting can have.
pub(super) trait Setting: Sized {
    /// Reads it. The refusal says what was expected.
    fn read(node: &Node) -> Result<Self, Refusal>;
}

impl Node {
    /// `expected …, found …`.
    pub(super) fn refuse(&self, expected: &str) -> Refusal {
        Refusal { span: self.span, reason: format!("expected {expected}, found {}", self.value.describe()) }
    }

    /// The string here, or a refusal that says what it should be.
    pub(super) fn text(&self, expected: &str) -> Result<&str, Refusal> {
        match &self.value {
            Value::Text(text) => Ok(text),
            _ => Err(self.refuse(expected)),
        }
    }

    /// One of a few words. A refusal names them, and the one that was probably meant.
    pub(super) fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Result<T, Refusal> {
        let words = || choices.iter().map(|(word, _)| *word);
        let expected = one_of(&words().collect::<Vec<_>>());
        let text = self.text(&expected)?;
        choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| choice.clone()).ok_or_else(|| {
            let mut refusal = self.refuse(&expected);
            if let Some(word) = suggestion(text, words()) {
                refusal.reason.push_str(&format!("; did you mean {word:?}?"));
            }
            refusal
        })
    }
}

/// `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("{only:?}"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|word| format!("{word:?}")).collect();
            format!("{} or {last:?}", first.join(", "))
        }
    }
}

/// A list, or one value that stands for a list of one.
impl<T: Setting> Setting for Vec<T> {
    fn read(node: &Node) -> Result<Self, Refusal> {
        match &node.value {
            Value::List(nodes) => nodes.iter().map(T::read).collect(),
            _ => T::read(node).map(|only| vec![only]),
        }
    }
}

/// What all tables share while they are read.
#[derive(Debug)]
pub(super) struct Reader {
    sources: Sources,
    findings: RefCell<Vec<Finding>>,
    /// The day on which the configuration is read, UTC.
    pub(super) today: Date,
}

impl Reader {
    pub(super) fn new(sources: Sources, today: Date) -> Self {
        Self { sources, findings: RefCell::default(), today }
    }

    pub(super) fn error(&self, span: Span, code: Code, message: impl Into<String>) {
        self.note(span, Severity::Error, code, message.into());
    }

    pub(super) fn warn(&self, span: Span, code: Code, message: impl Into<String>) {
        self.note(span, Severity::Warning, code, message.into());
    }

    fn note(&self, span: Span, severity: Severity, code: Code, message: String) {
        self.findings.borrow_mut().push(Finding { place: self.sources.place(span), severity, code, message });
    }

    /// What relative paths at that place are relative to.
    pub(super) fn base(&self, span: Span) -> &Path {
        self.sources.base(span)
    }

    /// Notes a named file that cannot be read.
    pub(super) fn must_open(&self, span: Span, path: &Path) {
        let trouble = match File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_dir() => "it is a directory".to_owned(),
            Ok(_) => return,
            Err(error) => error.to_string(),
        };
        self.error(span, Code::NamedFile, format!("cannot read {}: {trouble}", path.display()));
    }

    /// Reads a whole tree with `read`.
    pub(super) fn read<T>(&self, entries: &[Entry], read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        Section { reader: self, path: String::new(), span: Span::NOWHERE, entries, asked: Vec::new() }.finish(read)
    }

    /// Everything that was found, in the order of the files.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings.into_inner();
        findings.sort();
        findings
    }
}

/// One table while it is read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// What all tables share.
    pub(super) reader: &'a Reader,
    /// Dotted name; empty for the whole file.
    path: String,
    /// Where it stands.
    pub(super) span: Span,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The value of a key, if it is there and can be taken.
    pub(super) fn optional<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let node = &self.entry(key)?.node;
        T::read(node).map_err(|refusal| self.refused(key, refusal)).ok()
    }

    /// The value of a key, or a default.
    pub(super) fn or<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// The value of a key that must be there.
    pub(super) fn required<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        if self.entry(key).is_none() {
            self.reader.error(self.span, Code::MissingKey, format!("`{}` is missing", self.dotted(key)));
        }
        self.optional(key)
    }

    /// A path; a relative one is relative to the file it stands in.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let span = self.span_of(key);
        self.optional::<PathBuf>(key).map(|path| self.reader.base(span).join(path))
    }

    /// The raw value of a key.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<&'a Value> {
        self.entry(key).map(|entry| &entry.node.value)
    }

    /// Where the value of a key stands; the table when it is not set.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.entries.iter().find(|entry| entry.key == key).map_or(self.span, |entry| entry.node.span)
    }

    /// The table of a key; an empty one when it is not set.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let path = self.dotted(key);
        let (span, entries) = match self.entry(key) {
            None => (self.span, &[][..]),
            Some(Entry { span, node: Node { value: Value::Table(entries), .. }, .. }) => (*span, &entries[..]),
            Some(Entry { span, node, .. }) => {
                self.refused(key, node.refuse("a table"));
                (*span, &[][..])
            }
        };
        Section { reader: self.reader, path, span, entries, asked: Vec::new() }.finish(read)
    }

    /// The table of a key, if it is set.
    pub(super) fn optional_table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
        self.entry(key).is_some().then(|| self.table(key, read))
    }

    /// The tables of a list such as `[[policy]]`, in order.
    pub(super) fn tables<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'_>) -> T) -> Vec<T> {
        let path = self.dotted(key);
        let nodes = match self.entry(key).map(|entry| &entry.node) {
            None => &[][..],
            Some(Node { value: Value::List(nodes), .. }) => &nodes[..],
            Some(node) => {
                self.refused(key, node.refuse(&format!("tables that begin with `[[{path}]]`")));
                &[][..]
            }
        };
        let mut found = Vec::new();
        for node in nodes {
            match &node.value {
                Value::Table(entries) => {
                    let section = Section { reader: self.reader, path: path.clone(), span: node.span, entries, asked: Vec::new() };
                    found.push(section.finish(&mut read));
                }
                _ => self.refused(key, node.refuse("a table")),
            }
        }
        found
    }

    /// The tables below a key that the operator names, such as `[receive.NAME]`, in order.
    pub(super) fn named<T>(&mut self, key: &'static str, mut read: impl FnMut(&str, &mut Section<'_>) -> T) -> Vec<T> {
        let path = self.dotted(key);
        let entries = match self.entry(key).map(|entry| &entry.node) {
            None => &[][..],
            Some(Node { value: Value::Table(entries), .. }) => &entries[..],
            Some(node) => {
                self.refused(key, node.refuse(&format!("tables that begin with `[{path}.NAME]`")));
                &[][..]
            }
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = format!("{path}.{}", entry.key);
            match &entry.node.value {
                Value::Table(inner) => {
                    let section = Section { reader: self.reader, path, span: entry.span, entries: inner, asked: Vec::new() };
                    found.push(section.finish(|section| read(&entry.key, section)));
                }
                _ => {
                    let Refusal { span, reason } = entry.node.refuse(&format!("a table `[{path}]`"));
                    self.reader.error(span, Code::Value, format!("`{path}`: {reason}"));
                }
            }
        }
        found
    }

    /// Notes a value that cannot be taken.
    pub(super) fn refused(&self, key: &str, Refusal { span, reason }: Refusal) {
        self.reader.error(span, Code::Value, format!("`{}`: {reason}", self.dotted(key)));
    }

    /// The whole name of a key of this table.
    pub(super) fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Reads the table, then notes the keys that nobody asked for.
    fn finish<T>(mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let value = read(&mut self);
        for entry in self.entries.iter().filter(|entry| !self.asked.contains(&entry.key.as_str())) {
            let mut message = format!("unknown key `{}`", entry.key);
            match suggestion(&entry.key, self.asked.iter().copied()) {
                Some(known) => message.push_str(&format!("; did you mean `{known}`?")),
                None if self.path.is_empty() => {}
                None => message.push_str(&format!(" in `{}`, which has {}", self.path, self.asked.join(", "))),
            }
            self.reader.error(entry.span, Code::UnknownKey, message);
        }
        value
    }
}
