//! `policy.toml`: what a policy is, how it is built, the most it may ask for, and its settings.
//!
//! It lies beside the source and is embedded in the component ([`embed`]), so that a binary alone tells what it is.

pub mod embed;
mod grant;
mod schema;

pub use grant::{Grant, MessageAccess};
pub use schema::{Field, Kind, Schema};

use crate::units;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A manifest.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `[policy]`.
    pub policy: About,
    /// `[build]`; absent where its language says how it is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// `[capabilities]`: the most it may ask for. An administrator grants this or less.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// `[limits]` that its author finds right; the configuration may say otherwise.
    #[serde(default)]
    pub limits: Wanted,
    /// `[config]`: its settings by name.
    #[serde(default)]
    pub config: Schema,
}

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Lower-case letters, digits and hyphens.
    pub name: String,
    /// `MAJOR.MINOR.PATCH`, perhaps with a suffix.
    pub version: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// The interface it was made for: `secmx:policy@0.1`.
    #[serde(default = "wit_of_today")]
    pub wit: String,
    /// What it exports: any of `receiver`, `content`, `sender`. `setup` need not be named.
    pub interfaces: Vec<String>,
}

/// `[build]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Run by the shell in the folder of the manifest.
    pub command: String,
    /// The component that it leaves, relative to the manifest.
    pub output: String,
    /// Patterns of files that it is made from.
    #[serde(default)]
    pub watch: Vec<String>,
}

/// `[capabilities]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capabilities {
    /// How much of a message it may see; none when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageAccess>,
    /// Kinds of DNS records that it may look up, such as `TXT`.
    pub dns: Vec<String>,
    /// Octets that it may keep in the store.
    #[serde(deserialize_with = "written_size", skip_serializing_if = "Option::is_none")]
    pub store: Option<u64>,
    /// Names of the configuration's lists that it may ask.
    pub lists: Vec<String>,
    /// Why, by capability.
    pub why: BTreeMap<String, String>,
}

impl Capabilities {
    /// The most that may be granted.
    pub fn most(&self) -> Grant {
        Grant { message: Some(self.message.unwrap_or_default()), dns: self.dns.clone(), store: self.store, lists: self.lists.clone() }
    }
}

/// `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Processor time of one question.
    #[serde(deserialize_with = "written_duration", skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
    /// Memory of one instance, octets.
    #[serde(deserialize_with = "written_size", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Questions that one instance may answer one after the other, 1 to 100. More than 1 pays for runtimes that are slow to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// Line and column, from 1; absent for what is missing.
    pub position: Option<(usize, usize)>,
    /// One sentence.
    pub message: String,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "policy.toml:{line}:{column}  error P101  {}", self.message),
            None => write!(f, "policy.toml  error P101  {}", self.message),
        }
    }
}

impl std::error::Error for ManifestError {}

fn wit_of_today() -> String {
    "secmx:policy@0.1".to_owned()
}

impl Manifest {
    /// Reads a manifest. Errors with the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let read: Result<Self, _> = toml::from_str(text);
        let manifest = read.map_err(|error| ManifestError {
            position: error.span().map(|span| position(text, span.start)),
            message: error.message().lines().collect::<Vec<_>>().join("; "),
        })?;
        let Some((key, message)) = manifest.trouble() else { return Ok(manifest) };
        // The first line that begins with the key: near enough to find it.
        let sets = |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
        Err(ManifestError { position: text.lines().position(sets).map(|line| (line + 1, 1)), message })
    }

    /// What a reader of TOML cannot see: key, and what is wrong with it.
    fn trouble(&self) -> Option<(&str, String)> {
        let About { name, version, wit, interfaces, .. } = &self.policy;
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Some(("name", format!("`policy.name`: expected lower-case letters, digits and hyphens, found {name:?}")));
        }
        if !is_version(version) {
            return Some(("version", format!("`policy.version`: expected three numbers such as \"0.3.1\", found {version:?}")));
        }
        if !matches!(wit.as_str(), "secmx:policy@0.1" | "secmx:policy@0.1.0") {
            return Some(("wit", format!("`policy.wit`: this version offers \"secmx:policy@0.1\", found {wit:?}")));
        }
        if let Some(other) = interfaces.iter().find(|one| !["setup", "receiver", "content", "sender"].contains(&one.as_str())) {
            return Some(("interfaces", format!("`policy.interfaces`: expected \"receiver\", \"content\" or \"sender\", found {other:?}")));
        }
        if interfaces.is_empty() {
            return Some(("interfaces", "`policy.interfaces` is empty: name what it exports, such as [\"content\"]".to_owned()));
        }
        if self.limits.max_uses.is_some_and(|uses| !(1..=100).contains(&uses)) {
            return Some(("max_uses", "`limits.max_uses`: expected 1 to 100".to_owned()));
        }
        if self.limits.memory.is_some_and(|octets| octets < LEAST_MEMORY) {
            return Some(("memory", "`limits.memory`: expected at least \"64KiB\", which is one page of WebAssembly".to_owned()));
        }
        let wrong = self.config.iter().find_map(|(name, field)| field.trouble().map(|why| (name, why)));
        wrong.map(|(name, why)| (name.as_str(), format!("`config.{name}`: {why}")))
    }

    /// `no-secrets 0.3.1`.
    pub fn title(&self) -> String {
        format!("{} {}", self.policy.name, self.policy.version)
    }
}

/// Octets without which no policy begins.
const LEAST_MEMORY: u64 = 64 << 10;

/// `1.2.3`, perhaps with a suffix after `-` or `+`.
fn is_version(version: &str) -> bool {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    version.len() <= 64 && version.is_ascii() && numbers.split('.').count() == 3 && numbers.split('.').all(is_number)
}

/// Line and column of an octet, from 1, the column in characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn written_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let refused = || D::Error::custom(format!("expected a duration such as \"20ms\", found {text:?}"));
    units::duration(&text).map(Some).ok_or_else(refused)
}

/// A size as text, such as `"1MiB"`, or as a number of octets.
fn written_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    struct Size;
    impl Visitor<'_> for Size {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size such as \"16MiB\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            let refused = || E::custom(format!("expected a size such as \"16MiB\", found {text:?}"));
            units::size(text).filter(|octets| *octets > 0).ok_or_else(refused)
        }

        fn visit_i64<E: Error>(self, octets: i64) -> Result<u64, E> {
            u64::try_from(octets).ok().filter(|octets| *octets > 0).ok_or_else(|| E::custom(format!("expected a size, found {octets}")))
        }

        fn visit_u64<E: Error>(self, octets: u64) -> Result<u64, E> {
            Ok(octets)
        }
    }
    deserializer.deserialize_any(Size).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manifest of the design, at full size.
    pub(super) const FULL: &str = r#"
[policy]
name    = "no-secrets"
version = "0.3.1"
description = "Quarantine outbound mail that carries IBANs or tax numbers"
wit     = "secmx:policy@0.1"
interfaces   = ["content"]
[build]
command = "cargo build --release --target wasm32-wasip2"
output  = "target/wasm32-wasip2/release/no_secrets.wasm"
watch   = ["src/**", "Cargo.toml", "policy.toml"]
[capabilities]
message = "body"
dns     = ["TXT"]
store   = "1MiB"
why     = { dns = "reads the agency's allow-list record" }
[limits]
time = "20ms"
memory = "16MiB"
[config]
block          = { type = "list", of = "string", one_of = ["iban","tfn","passport"], default = ["iban"] }
quarantine_for = { type = "duration", default = "7d", max = "30d" }
"#;

    #[test]
    fn the_whole_of_it_reads() {
        let manifest = Manifest::parse(FULL).expect("valid");
        assert_eq!(manifest.title(), "no-secrets 0.3.1");
        let grant = manifest.capabilities.most();
        assert_eq!((grant.message, grant.dns.as_slice(), grant.store), (Some(MessageAccess::Body), &["TXT".to_owned()][..], Some(1 << 20)));
        assert_eq!(manifest.limits, Wanted { time: Some(Duration::from_millis(20)), memory: Some(16 << 20), max_uses: None });
        assert_eq!(manifest.config.len(), 2);
        let again: Manifest = serde_json::from_value(
            serde_json::to_value(&manifest.policy).map(|about| serde_json::json!({ "policy": about })).expect("JSON"),
        )
        .expect("reads");
        assert_eq!(again.policy, manifest.policy);
    }

    /// Every message was read as an author would.
    #[test]
    fn errors_name_the_place_and_what_to_write() {
        let minimal = "[policy]\nname = \"x\"\nversion = \"0.1.0\"\ninterfaces = [\"content\"]\n";
        assert!(Manifest::parse(minimal).is_ok());
        for (from, to, expected) in [
            (
                "name = \"x\"",
                "name = \"X Y\"",
                "policy.toml:2:1  error P101  `policy.name`: expected lower-case letters, digits and hyphens, found \"X Y\"",
            ),
            ("0.1.0", "1", "policy.toml:3:1  error P101  `policy.version`: expected three numbers such as \"0.3.1\", found \"1\""),
            (
                "[\"content\"]",
                "[\"contents\"]",
                "policy.toml:4:1  error P101  `policy.interfaces`: expected \"receiver\", \"content\" or \"sender\", found \"contents\"",
            ),
            (
                "[\"content\"]\n",
                "[\"content\"]\n[limits]\ntime = \"fast\"\n",
                "policy.toml:6:8  error P101  expected a duration such as \"20ms\", found \"fast\"",
            ),
            (
                "[\"content\"]\n",
                "[\"content\"]\n[config]\nn = { type = \"integer\", default = \"7\" }\n",
                "policy.toml:6:1  error P101  `config.n`: the default: expected a whole number, found \"7\"",
            ),
            (
                "[\"content\"]\n",
                "[\"content\"]\nwit = \"secmx:policy@0.2\"\n",
                "policy.toml:5:1  error P101  `policy.wit`: this version offers \"secmx:policy@0.1\", found \"secmx:policy@0.2\"",
            ),
        ] {
            let error = Manifest::parse(&minimal.replace(from, to)).expect_err(to);
            assert_eq!(error.to_string(), expected);
        }
        let unknown = Manifest::parse(&format!("{minimal}nmae = 1\n")).expect_err("unknown key");
        assert!(unknown.to_string().starts_with("policy.toml:5:1  error P101  unknown field `nmae`, expected one of `name`"), "{unknown}");
        let missing = Manifest::parse("[policy]\nname = \"x\"\n").expect_err("missing key");
        assert!(missing.to_string().contains("missing field `version`"), "{missing}");
    }
}
