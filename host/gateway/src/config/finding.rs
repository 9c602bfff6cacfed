//! What is wrong, or odd, in a configuration: one line each, with the place, a code that can be looked up, and what to do.
//!
//! The line has one shape, `secmx.toml:14:1  error C012  …`, which editors jump to. A key that was pasted where its path belongs is
//! never shown.

use serde::Serialize;
use std::fmt;

/// Kinds of findings. The number never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// C010: the file is not TOML.
    Syntax,
    /// C011: a value has the wrong type, unit or spelling.
    Value,
    /// C012: no such key.
    UnknownKey,
    /// C013: a key is missing that this configuration needs.
    MissingKey,
    /// C014: a configuration file cannot be read.
    Unreadable,
    /// C020: a key, a name or an address is set twice.
    Twice,
    /// C022: the gateway would carry mail for strangers.
    OpenRelay,
    /// C023: a file that the configuration names cannot be read.
    NamedFile,
    /// C024: two settings contradict each other.
    Contradiction,
    /// C025: what the configuration names cannot be used: a certificate, a trust anchor, a policy.
    Unusable,
    /// C030: an exception is over and is ignored.
    ExceptionOver,
    /// C031: an exception ends soon.
    ExceptionEnds,
    /// C032: a setting has no effect.
    NoEffect,
    /// C050: the setting is known, but what it asks for is not built yet.
    NotBuilt,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "C010",
            Self::Value => "C011",
            Self::UnknownKey => "C012",
            Self::MissingKey => "C013",
            Self::Unreadable => "C014",
            Self::Twice => "C020",
            Self::OpenRelay => "C022",
            Self::NamedFile => "C023",
            Self::Contradiction => "C024",
            Self::Unusable => "C025",
            Self::ExceptionOver => "C030",
            Self::ExceptionEnds => "C031",
            Self::NoEffect => "C032",
            Self::NotBuilt => "C050",
        })
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether the gateway can work with the configuration all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Where a finding is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// File as it was named, or environment variable.
    pub source: String,
    /// Line and column, both from 1, the column in characters. Absent for what is not in a file.
    #[serde(flatten)]
    pub position: Option<Position>,
}

/// A position in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        match self.position {
            Some(Position { line, column }) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// One thing that is wrong or odd. Sorts by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Error or warning.
    pub severity: Severity,
    /// What kind.
    pub code: Code,
    /// One sentence, and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} {}  {}", self.place, self.severity, self.code, self.message)
    }
}

/// The candidate that `word` is a slip of the finger for. A word that merely begins like another one was not meant to be it:
/// `trust` is not `trust_onward`.
pub(super) fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let slips_max = (word.chars().count() / 3).max(1);
    let slips = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
    let rated = candidates.into_iter().map(|candidate| (slips(candidate), candidate));
    rated.filter(|(slips, _)| *slips <= slips_max).min_by_key(|(slips, _)| *slips).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant() {
        let keys = ["receive", "send", "hostname", "domains"];
        assert_eq!(suggestion("recieve", keys), Some("receive"));
        assert_eq!(suggestion("Hostnam", keys), Some("hostname"));
        assert_eq!(suggestion("bes", ["BES", "SOS"]), Some("BES"));
        assert_eq!(suggestion("quarantine", keys), None);
        assert_eq!(suggestion("trust", ["trust_onward", "to"]), None, "no advice to loosen what was not asked for");
    }
}
