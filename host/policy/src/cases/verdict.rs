//! What must come of a case, what came, and where the two differ.

use crate::trial::Report;
use crate::units;
use secmx_core::role::{ReceiverRole, SenderRole};
use secmx_core::ruling::{Edit, Ruling};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Instructions that stand for one millisecond: machines differ, instructions do not.
const FUEL_OF_A_MILLISECOND: u128 = 1_000_000;

/// Words of rulings; `error` is a fault.
const RULINGS: [&str; 7] = ["pass", "accept", "reject", "defer", "quarantine", "discard", "error"];

/// `expect`.
#[derive(Debug, Clone)]
pub enum Expect {
    /// What the snapshot beside the cases says.
    Snapshot,
    /// What is said here; what is not said may be anything.
    These(Box<Expectation>),
}

/// `expect = { … }`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expectation {
    /// `pass`, `accept`, `reject`, `defer`, `quarantine`, `discard`.
    pub ruling: Option<String>,
    /// Its reason code.
    pub reason: Option<String>,
    /// Pattern of its text; `*` is anything.
    pub detail: Option<String>,
    /// Code of the reply, such as 550.
    pub reply: Option<u16>,
    /// Pattern of the fault; `*` is anything.
    pub error: Option<String>,
    /// Whether it must be no fault; so it is when `error` is not said.
    pub not_error: Option<bool>,
    /// Changes, all of them and in order: `"+ X-A: 1"`, `"= Subject: s"`, `"- X-B"`, `"+ rcpt a@b"`, `"- rcpt a@b"`, `"+ journal all"`.
    pub changes: Option<Vec<String>>,
    /// Tags that must be set; others may be.
    pub tags: Option<BTreeMap<String, String>>,
    /// The plan, all of it and in order: `"0 host"` is the first exchanger at level `host`.
    pub plan: Option<Vec<String>>,
    /// `BES`, `SOS`, `BER` or `SOR`: the role that it set or demanded.
    pub role: Option<String>,
    /// Number of pieces of evidence.
    pub evidence: Option<usize>,
    /// Pattern of which one logged line must be.
    pub logged: Option<String>,
    /// Most time, judged by instructions: 1 ms is 1,000,000.
    pub max_time: Option<String>,
    /// Most instructions.
    pub max_fuel: Option<u64>,
    /// Most memory, such as `"1MiB"`.
    pub max_memory: Option<String>,
}

/// What came of a case, as it is compared and written down.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Outcome {
    /// Word of the ruling; `error` for a fault.
    pub ruling: String,
    /// Reason code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Reason text, or what the fault says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Code of the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<u16>,
    /// Role that it set or demanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// Changes in order.
    pub changes: Vec<String>,
    /// Plan in order.
    pub plan: Vec<String>,
    /// Where it saw what it saw: `part 1 @10 "…"`.
    pub evidence: Vec<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What.
    pub what: &'static str,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Expect;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"snapshot\" or a table such as { ruling = \"pass\" }")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Expect, E> {
                match word {
                    "snapshot" => Ok(Expect::Snapshot),
                    other => Err(E::custom(format!("expected \"snapshot\" or a table such as {{ ruling = \"pass\" }}, found {other:?}"))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expect, A::Error> {
                Expectation::deserialize(MapAccessDeserializer::new(map)).map(|these| Expect::These(Box::new(these)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Outcome {
    /// What came of it.
    pub fn of(report: &Report) -> Self {
        let effects = &report.effects;
        let change = |edit: &Edit| match edit {
            Edit::AddField { name, value } => format!("+ {name}: {value}"),
            Edit::ReplaceField { name, value } => format!("= {name}: {value}"),
            Edit::RemoveField { name } => format!("- {name}"),
            Edit::ReplaceOctets { start, end, with } => format!("= @{start}..{end} {with:?}"),
        };
        let added = effects.add_recipients.iter().map(|to| format!("+ rcpt {to}"));
        let removed = effects.remove_recipients.iter().map(|to| format!("- rcpt {to}"));
        let journals = effects.journals.iter().map(|name| format!("+ journal {name}"));
        let evidence = effects.evidence.iter().map(|seen| format!("part {} @{} {:?}", seen.part, seen.offset, seen.excerpt));
        let mut outcome = Self {
            role: role(report),
            changes: effects.edits.iter().map(change).chain(added).chain(removed).chain(journals).collect(),
            plan: report.steps.iter().map(|step| format!("{} {}", step.exchanger, step.at_least)).collect(),
            evidence: evidence.collect(),
            tags: effects.tags.clone(),
            ..Self::default()
        };
        match &report.answer {
            Ok(ruling) => {
                outcome.ruling = ruling.name().to_owned();
                outcome.reason = ruling.reason().map(|reason| reason.code.clone());
                outcome.detail = ruling.reason().map(|reason| reason.text.clone());
                outcome.reply = match ruling {
                    Ruling::Reject { reply, .. } | Ruling::Defer { reply, .. } => Some(reply.code),
                    _ => None,
                };
            }
            Err(fault) => {
                outcome.ruling = "error".to_owned();
                outcome.detail = Some(fault.detail.clone());
            }
        }
        outcome
    }

    /// As a snapshot is written.
    pub fn to_snapshot(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Where a snapshot and this differ, line by line.
    pub fn differs_from(&self, snapshot: &str) -> Vec<Difference> {
        let now = self.to_snapshot();
        let mut differences = Vec::new();
        let (old, new): (Vec<&str>, Vec<&str>) = (snapshot.lines().collect(), now.lines().collect());
        for at in 0..old.len().max(new.len()) {
            let (expected, got) = (old.get(at).copied().unwrap_or("–"), new.get(at).copied().unwrap_or("–"));
            if expected != got {
                differences.push(Difference { what: "snapshot", expected: expected.to_owned(), got: got.to_owned() });
            }
        }
        differences
    }
}

/// The word of the role that was set or demanded.
fn role(report: &Report) -> Option<&'static str> {
    let demanded = Some(report.effects.demand.role).filter(|role| *role == SenderRole::SecureOnly);
    let sender = report.sender_role.or(demanded).map(|role| if role == SenderRole::SecureOnly { "SOS" } else { "BES" });
    sender.or(report.receiver_role.map(|role| if role == ReceiverRole::SecureOnly { "SOR" } else { "BER" }))
}

/// Whether a text is as a pattern has it; `*` is anything.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

impl Expectation {
    /// What can never come, in one sentence.
    pub(super) fn trouble(&self) -> Option<String> {
        let other = |key: &str, word: &Option<String>, words: &[&str]| {
            let word = word.as_deref().filter(|word| !words.contains(word))?;
            Some(format!("`expect.{key}`: expected one of {}, found {word:?}", words.join(", ")))
        };
        let limit = |key: &str, text: &Option<String>, reads: fn(&str) -> bool, example: &str| {
            let text = text.as_deref().filter(|text| !reads(text))?;
            Some(format!("`expect.{key}`: expected {example}, found {text:?}"))
        };
        other("ruling", &self.ruling, &RULINGS)
            .or_else(|| other("role", &self.role, &["BES", "SOS", "BER", "SOR"]))
            .or_else(|| limit("max_time", &self.max_time, |text| units::duration(text).is_some(), "a duration such as \"5ms\""))
            .or_else(|| limit("max_memory", &self.max_memory, |text| units::size(text).is_some(), "a size such as \"1MiB\""))
    }

    /// Everything that is not as expected.
    pub fn differences(&self, report: &Report, outcome: &Outcome) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut check = |what, expected: Option<String>, got: Option<String>, same: bool| {
            if let Some(expected) = expected.filter(|_| !same) {
                found.push(Difference { what, expected, got: got.unwrap_or_else(|| "–".to_owned()) });
            }
        };
        let is_error = report.answer.is_err();
        let wants_error = self.error.is_some() || self.ruling.as_deref() == Some("error");
        let detail = outcome.detail.clone().unwrap_or_default();
        let got = if is_error { format!("error: {detail}") } else { outcome.ruling.clone() };
        let ruling = self.ruling.clone().or((is_error && !wants_error && self.not_error != Some(false)).then(|| "no error".to_owned()));
        check("ruling", ruling.clone(), Some(got.clone()), ruling.as_ref() == Some(&outcome.ruling));
        check("error", self.error.clone(), Some(got), is_error && self.error.as_ref().is_some_and(|error| like(error, &detail)));
        check("reason", self.reason.clone(), outcome.reason.clone(), self.reason == outcome.reason);
        check("detail", self.detail.clone(), outcome.detail.clone(), self.detail.as_ref().is_some_and(|pattern| like(pattern, &detail)));
        let word = |number: &u16| number.to_string();
        check("reply", self.reply.as_ref().map(word), outcome.reply.as_ref().map(word), self.reply == outcome.reply);
        check("role", self.role.clone(), outcome.role.map(str::to_owned), self.role.as_deref() == outcome.role);
        for (what, expected, got) in [("changes", &self.changes, &outcome.changes), ("plan", &self.plan, &outcome.plan)] {
            let line = |list: &Vec<String>| if list.is_empty() { "none".to_owned() } else { list.join("; ") };
            check(what, expected.as_ref().map(line), Some(line(got)), expected.as_ref() == Some(got));
        }
        for (key, value) in self.tags.iter().flatten() {
            let got = outcome.tags.get(key);
            check("tags", Some(format!("{key} = {value}")), got.map(|got| format!("{key} = {got}")), got == Some(value));
        }
        let pieces = outcome.evidence.len();
        check("evidence", self.evidence.map(|number| number.to_string()), Some(pieces.to_string()), self.evidence == Some(pieces));
        let logged = self.logged.as_ref().is_some_and(|pattern| report.lines.iter().any(|(_, line)| like(pattern, line)));
        check("logged", self.logged.clone(), Some(format!("{} other lines", report.lines.len())), logged);
        self.costs(report, &mut found);
        found
    }

    fn costs(&self, report: &Report, found: &mut Vec<Difference>) {
        let fuel = report.fuel.unwrap_or_default();
        let allowed = |time: Duration| u64::try_from(time.as_micros() * FUEL_OF_A_MILLISECOND / 1_000).unwrap_or(u64::MAX);
        let memory = report.memory_bytes as u64;
        let limits = [
            ("max_time", self.max_time.as_deref().and_then(units::duration).map(allowed), fuel, "instructions"),
            ("max_fuel", self.max_fuel, fuel, "instructions"),
            ("max_memory", self.max_memory.as_deref().and_then(units::size), memory, "octets"),
        ];
        for (what, limit, used, unit) in limits {
            if let Some(most) = limit.filter(|most| used > *most) {
                found.push(Difference { what, expected: format!("at most {most} {unit}"), got: format!("{used}") });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*part 2*", "IBAN in part 2", true),
            ("a*", "ab", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c", "abcab", false),
            ("a*b*c", "axbxc", true),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }
}
