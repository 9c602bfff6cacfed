//! `tests/cases.toml`: questions to one policy with the answers that are expected. The same for every language a policy is written in.
//!
//! Everything that the world outside a policy would say stands in the case; what it does not say is an error, never a silent default.

mod given;
mod verdict;

pub use given::{Destination, DnsAnswer, Envelope, Exchanger, Given, Protection};
pub use verdict::{Difference, Expect, Expectation, Outcome};

use crate::sandbox::Runtime;
use crate::set::PolicySource;
use crate::trial::{Candidate, Report, Trialled};
use bytes::Bytes;
use serde::Deserialize;
use std::fmt;

/// A file of cases.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// What holds for every case that does not say otherwise.
    #[serde(default)]
    pub defaults: Given,
    /// The cases, in order.
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// One sentence that says what must hold.
    pub name: String,
    /// What is asked, and of what.
    #[serde(flatten)]
    pub given: Given,
    /// What must come of it.
    pub expect: Expect,
}

/// What is wrong with a file of cases, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CasesError {
    /// Line and column, from 1, when it is known.
    pub position: Option<(usize, usize)>,
    /// One sentence.
    pub message: String,
}

impl fmt::Display for CasesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "cases.toml:{line}:{column}  error P301  {}", self.message),
            None => write!(f, "cases.toml  error P301  {}", self.message),
        }
    }
}

impl std::error::Error for CasesError {}

impl Cases {
    /// Reads a file of cases.
    pub fn parse(text: &str) -> Result<Self, CasesError> {
        let file: Self = toml::from_str(text).map_err(|error| CasesError {
            position: error.span().map(|span| crate::manifest::position(text, span.start)),
            message: said(text, error.message()),
        })?;
        let fail = |message| Err(CasesError { position: None, message });
        if file.cases.is_empty() {
            return fail("there is no [[case]]: add one, such as [[case]] name = \"a clean message passes\", message = \"clean.eml\", expect = { ruling = \"pass\" }".to_owned());
        }
        for case in &file.cases {
            if let Some(key) = case.given.unknown.keys().next() {
                return fail(format!("case {:?}: unknown key `{key}`; a case has {}", case.name, given::KEYS.join(", ")));
            }
            if let Expect::These(expected) = &case.expect
                && let Some(why) = expected.trouble()
            {
                return fail(format!("case {:?}: {why}", case.name));
            }
        }
        match file.defaults.unknown.keys().next() {
            Some(key) => fail(format!("[defaults]: unknown key `{key}`; it has {}", given::KEYS.join(", "))),
            None => Ok(Self { cases: file.cases.into_iter().map(|case| case.with(&file.defaults)).collect(), ..file }),
        }
    }
}

/// What is wrong with a file of cases, in its own words: which key of a case it is, and TOML's kinds of values.
fn said(text: &str, message: &str) -> String {
    let plain = [("expected a map", "expected a table"), ("invalid type: map", "invalid type: table"), ("sequence", "list")];
    let numbers = ["u16", "u32", "u64", "usize"].map(|kind| (kind, "a whole number"));
    let message = message.lines().collect::<Vec<_>>().join("; ");
    let message = plain.into_iter().chain(numbers).fold(message, |message, (from, to)| message.replace(from, to));
    let key = culprit(text).map(|key| format!("`{key}`: ")).unwrap_or_default();
    let hint = if text.lines().any(|line| line.trim() == "[case]") { "; each case begins with [[case]], in two brackets" } else { "" };
    format!("{key}{message}{hint}")
}

/// The key of a case that cannot be read. The error of a case has the place of the whole case only.
fn culprit(text: &str) -> Option<String> {
    let file: toml::Table = toml::from_str(text).ok()?;
    let cases = file.get("case")?.as_array()?.iter().filter_map(toml::Value::as_table);
    let is_wrong = |key: &str, value: &toml::Value| {
        let alone: toml::Table = [(key.to_owned(), value.clone())].into_iter().collect();
        alone.try_into::<Given>().is_err()
    };
    cases.flatten().find(|(key, value)| is_wrong(key, value)).map(|(key, _)| key.clone())
}

impl Case {
    fn with(self, defaults: &Given) -> Self {
        Self { given: self.given.or(defaults), ..self }
    }

    /// Runs the case for one message (empty where none is asked about). `source` brings component, limits and grant; the settings are
    /// those of the case. Errors, in one sentence, say what is wrong with the case or why the policy is not loaded with it. Compiles at
    /// the first call for a component: blocks.
    pub async fn run(&self, runtime: &Runtime, source: &PolicySource, message: Bytes) -> Result<Report, String> {
        let trial = self.given.trial(message)?;
        let settings = serde_json::Value::Object(self.given.config.clone().unwrap_or_default()).to_string();
        let source = PolicySource { settings, named: self.given.named(&source.name), ..source.clone() };
        let load = || Candidate::load(runtime, &source).map_err(|error| error.to_string());
        // Loading asks `setup.check` with an executor of its own.
        let candidate = std::thread::scope(|scope| scope.spawn(load).join()).map_err(|_| "loading panicked".to_owned())??;
        let now = self.given.now()?;
        Ok(candidate.ask(trial, Trialled { now: Some(now), forgets: false }).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[defaults]
interface = "content"
now = 2026-11-23T00:00:00Z
envelope = { from = "ana@agency.example", to = ["bo@health.example"], client = "10.0.0.7", tls = { version = "1.3", verified = "dane" }, role = "SOS" }
[[case]]
name = "an IBAN is quarantined"
message = "iban.eml"
config = { block = ["iban"] }
dns = { "x.example TXT" = "servfail" }
envelope = { role = "BES" }
expect = { ruling = "quarantine", reason = "dlp.iban", detail = "*part 2*", max_time = "5ms", max_fuel = 2_000_000 }
[[case]]
name = "recorded"
message = "real.eml"
expect = "snapshot"
"#;

    #[test]
    fn the_format_of_the_design_reads() {
        let cases = Cases::parse(GOOD).expect("valid").cases;
        assert_eq!(cases.len(), 2);
        let envelope = cases[0].given.envelope.clone().unwrap_or_default();
        assert_eq!(
            (envelope.role.as_deref(), envelope.from.as_deref()),
            (Some("BES"), Some("ana@agency.example")),
            "a case changes one word"
        );
        assert_eq!(cases[0].given.now(), Ok(1_795_392_000));
        assert!(matches!(cases[1].expect, Expect::Snapshot));
    }

    /// Read as an author would.
    #[test]
    fn errors_name_the_place() {
        for (from, to, expected) in [
            ("ruling =", "rulling =", "unknown field `rulling`, expected one of `ruling`"),
            ("config = ", "confg = ", "case \"an IBAN is quarantined\": unknown key `confg`; a case has interface, "),
            ("\"snapshot\"", "\"snap\"", "expected \"snapshot\" or a table such as { ruling = \"pass\" }"),
            ("name = \"recorded\"\n", "", "missing field `name`"),
            (
                "ruling = \"quarantine\"",
                "ruling = \"hold\"",
                "case \"an IBAN is quarantined\": `expect.ruling`: expected one of pass, accept, ",
            ),
            ("\"5ms\"", "\"5\"", "`expect.max_time`: expected a duration such as \"5ms\", found \"5\""),
            ("2_000_000", "2_000_000, max_memory = \"1 meg\"", "`expect.max_memory`: expected a size such as \"1MiB\", found \"1 meg\""),
            ("2_000_000", "2_000_000, role = \"sos\"", "`expect.role`: expected one of BES, SOS, BER, SOR, found \"sos\""),
            ("2_000_000", "\"many\"", "expected a whole number"),
            ("{ \"x.example TXT\" = \"servfail\" }", "\"servfail\"", "`dns`: invalid type: string \"servfail\", expected a table"),
            ("[[case]]\nname = \"recorded\"", "[case]\nname = \"recorded\"", "each case begins with [[case]], in two brackets"),
        ] {
            let error = Cases::parse(&GOOD.replace(from, to)).expect_err(to).to_string();
            assert!(error.starts_with("cases.toml") && error.contains("error P301") && error.contains(expected), "{error}");
        }
    }
}
