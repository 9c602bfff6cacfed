//! MTA-STS: what a domain's TXT record and policy file say (RFC 8461, 3).
//!
//! Text in, a value out. Fetching, time and the cache are somewhere else.

use crate::mail::Domain;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Seconds; RFC 8461, 3.2: "maximum value of 31557600".
const MAX_AGE_MAX: u64 = 31_557_600;

/// `mx` lines of one policy that are used.
const PATTERNS_MAX: usize = 100;

/// How a domain wants its policy taken (RFC 8461, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only to hosts that pass.
    Enforce,
    /// To all, and what does not pass is reported.
    Testing,
    /// "Sending MTAs should treat the Policy Domain as though it does not have any active policy".
    None,
}

impl Mode {
    /// The word for logs and policies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// One `mx` line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MxPattern {
    /// A host.
    Host(Domain),
    /// `*.` and a domain: every host one label below it.
    OneBelow(Domain),
}

/// A policy of a domain (RFC 8461, 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How it is to be taken.
    pub mode: Mode,
    /// How long it may be kept.
    pub max_age: Duration,
    mx: Vec<MxPattern>,
}

/// The `id` of the policy that a domain's `_mta-sts` TXT records announce; `None` when they announce none. RFC 8461, 3.1: "If the number of
/// resulting records is not one, or if the resulting record is syntactically invalid, senders MUST assume the recipient domain does not
/// have an available MTA-STS Policy".
pub fn announced(records: &[String]) -> Option<String> {
    let mut ours = records.iter().filter(|record| record.split(';').next().is_some_and(|tag| tag.trim_end() == "v=STSv1"));
    let (Some(record), None) = (ours.next(), ours.next()) else { return None };
    let mut ids = record.split(';').skip(1).filter_map(|field| field.trim().strip_prefix("id="));
    let id = ids.next()?;
    let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric());
    is_id.then(|| id.to_owned())
}

impl Policy {
    /// Reads a policy file. Errors say what is wrong with it, in words. Line ends are CRLF or LF; fields that are not known are skipped, and
    /// of a field other than `mx` that is duplicated, "all entries except for the first SHALL be ignored".
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8")?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is no field"))?;
            let value = value.trim();
            match key.trim_end() {
                "version" => _ = version.get_or_insert(value),
                "mode" => _ = mode.get_or_insert(value),
                "max_age" => _ = max_age.get_or_insert(value),
                "mx" if mx.len() < PATTERNS_MAX => mx.push(pattern(value).ok_or_else(|| format!("{value:?} is no host"))?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err("its version is not STSv1".into());
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            other => return Err(format!("mode {other:?} is not known")),
        };
        if mx.is_empty() && mode != Mode::None {
            return Err("it names no host".into());
        }
        let digits = max_age.filter(|age| !age.is_empty() && age.bytes().all(|octet| octet.is_ascii_digit())).ok_or("it has no max_age")?;
        let seconds = digits.parse().unwrap_or(u64::MAX).min(MAX_AGE_MAX);
        Ok(Self { mode, max_age: Duration::from_secs(seconds), mx })
    }

    /// Its `mx` lines as they stand in the file.
    pub fn hosts(&self) -> Vec<String> {
        let shown = |pattern: &MxPattern| match pattern {
            MxPattern::Host(name) => name.to_string(),
            MxPattern::OneBelow(zone) => format!("*.{zone}"),
        };
        self.mx.iter().map(shown).collect()
    }

    /// Its lines, as RFC 8460, 4.4 wants to be told them.
    pub fn lines(&self) -> Vec<String> {
        let hosts = self.hosts().into_iter().map(|host| format!("mx: {host}"));
        let head = ["version: STSv1".to_owned(), format!("mode: {}", self.mode.name())];
        head.into_iter().chain(hosts).chain([format!("max_age: {}", self.max_age.as_secs())]).collect()
    }

    /// Whether a pattern of it matches the host. RFC 8461, 4.1: "'*' may only be used to match the entire left-most
    /// label in the presented identifier."
    pub fn names(&self, host: &Domain) -> bool {
        self.mx.iter().any(|pattern| match pattern {
            MxPattern::Host(name) => name == host,
            MxPattern::OneBelow(zone) => host.as_str().split_once('.').is_some_and(|(_, rest)| rest == zone.as_str()),
        })
    }
}

fn pattern(value: &str) -> Option<MxPattern> {
    match value.strip_prefix("*.") {
        Some(zone) => Domain::parse(zone).ok().map(MxPattern::OneBelow),
        None => Domain::parse(value).ok().map(MxPattern::Host),
    }
}

/// Owner name of the TXT record (RFC 8461, 3.1).
pub fn txt_owner(domain: &Domain) -> String {
    format!("_mta-sts.{domain}")
}

/// Name of the host that serves the policy (RFC 8461, 3.2 and 3.3).
pub fn policy_host(domain: &Domain) -> Option<Domain> {
    Domain::parse(&format!("mta-sts.{domain}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).expect("valid")
    }

    fn texts(records: &[&str]) -> Option<String> {
        announced(&records.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn one_record_announces_a_policy() {
        assert_eq!(texts(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(texts(&["v=spf1 -all", "v=STSv1;id=1"]).as_deref(), Some("1"));
        assert_eq!(texts(&["v=STSv1; id=1; id=2"]).as_deref(), Some("1"), "of a field that stands twice the first one counts");
        for none in [
            &["v=STSv1; id=1;", "v=STSv1; id=1;"][..],
            &["v=STSv1;"],
            &["v=STSv1; id=;"],
            &["v=STSv1; id=a-b;"],
            &["v=STSv2; id=1;"],
            &[" v=STSv1; id=1;"],
            &["id=1; v=STSv1"],
            &["v=STSv1; id=123456789012345678901234567890123;"],
            &[],
        ] {
            assert_eq!(texts(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_policy_of_the_rfc_reads() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n";
        for text in [text.to_owned(), text.replace("\r\n", "\n")] {
            let policy = Policy::parse(text.as_bytes()).expect("valid");
            assert_eq!((policy.mode, policy.max_age.as_secs()), (Mode::Enforce, 604_800));
            for (host, named) in [
                ("mail.example.com", true),
                ("a.example.net", true),
                ("example.net", false),
                ("a.b.example.net", false),
                ("mail.example.com.evil.test", false),
            ] {
                assert_eq!(policy.names(&domain(host)), named, "{host}");
            }
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_no_policy() {
        let good = "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 86400\n";
        assert!(Policy::parse(good.as_bytes()).is_ok());
        for (from, to) in [
            ("STSv1", "STSv2"),
            ("version: STSv1\n", ""),
            ("enforce", "enforced"),
            ("mode: enforce\n", ""),
            ("mx: a.test\n", ""),
            ("a.test", "*"),
            ("a.test", "*.*.test"),
            ("86400", "-1"),
            ("86400", "soon"),
            ("max_age: 86400\n", ""),
            ("version", "\u{feff}version"),
            ("mode", "mode enforce\nmode"),
        ] {
            assert!(Policy::parse(good.replace(from, to).as_bytes()).is_err(), "{from:?} {to:?}");
        }
        assert!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 1\n\xff").is_err());
    }

    #[test]
    fn max_age_has_a_ceiling_and_fields_a_first_word() {
        let text = "version: STSv1\nmode: enforce\nmode: none\nmx: a.test\nmax_age: 99999999999999999999\nnew: thing\n";
        let policy = Policy::parse(text.as_bytes()).expect("valid");
        assert_eq!((policy.mode, policy.max_age.as_secs()), (Mode::Enforce, MAX_AGE_MAX));
        assert!(Policy::parse(b"version: STSv1\nmode: none\nmax_age: 86400\n").is_ok(), "none needs no host");
    }

    #[test]
    fn names_are_compared_as_a_labels() {
        let policy = Policy::parse("version: STSv1\nmode: enforce\nmx: mx.bücher.test\nmax_age: 1\n".as_bytes()).expect("valid");
        assert!(policy.names(&domain("mx.xn--bcher-kva.test")));
    }
}
