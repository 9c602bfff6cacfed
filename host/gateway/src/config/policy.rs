//! `[policies]` and `[[policy]]`: which Wasm components are asked, in which order, with which settings and limits.
//!
//! The four role policies need no entry: `role` on a listener and in `[send]` asks for them, and `[send]` is their settings.

use super::finding::Code;
use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use super::value::Size;
use serde_json::Map;
use std::path::PathBuf;
use std::time::Duration;

/// Names that the role policies have.
const ROLE_NAMES: [&str; 4] = ["bes", "ber", "sos", "sor"];

/// The least and the most memory that a policy may be given, octets.
const MEMORY_OCTETS: std::ops::RangeInclusive<u64> = (64 << 10)..=(256 << 20);

/// The least and the most time that a policy may be given.
const TIME: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_secs(60);

/// `[policies]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// `limits.time`: processor time for one question, in steps of 5 ms. Default `"100ms"`.
    pub time: Duration,
    /// `limits.memory`: memory of one instance, at most `"256MiB"`. Default `"16MiB"`; octets here.
    pub memory_octets: u64,
}

/// `[[policy]]`. Policies are asked in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// `name`: for logs and metrics; unique, lower-case letters, digits and hyphens. Required.
    pub name: String,
    /// `use`: path of the component, a `.wasm` file. Required.
    pub component: PathBuf,
    /// `settings`: any table; the policy sees it as a JSON object. Default empty.
    pub settings: Map<String, serde_json::Value>,
    /// `on_error`: what becomes of a message when the policy fails. Only `"defer"`, the default: it waits.
    pub on_error: OnError,
}

/// `policy.on_error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// 451 4.3.0, or another attempt later.
    #[default]
    Defer,
}

impl Setting for OnError {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("defer", Self::Defer)])
    }
}

impl Policies {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        section.table("limits", |section| {
            let time = section.or("time", Duration::from_millis(100));
            if !TIME.contains(&time) {
                section.reader.error(section.span_of("time"), Code::Value, "`policies.limits.time`: expected 5ms to 60s");
            }
            let Size(memory_octets) = section.or("memory", Size(16 << 20));
            if !MEMORY_OCTETS.contains(&memory_octets) {
                section.reader.error(section.span_of("memory"), Code::Value, "`policies.limits.memory`: expected 64KiB to 256MiB");
            }
            Self { time, memory_octets }
        })
    }
}

impl Policy {
    /// Every policy of the file, in order.
    pub(super) fn read_all(section: &mut Section<'_>) -> Vec<Self> {
        let mut names = Vec::new();
        section.tables("policy", |section| Self::read(section, &mut names)).into_iter().flatten().collect()
    }

    fn read(section: &mut Section<'_>, names: &mut Vec<String>) -> Option<Self> {
        let name: Option<String> = section.required("name");
        let location: Option<String> = section.required("use");
        let settings = match section.raw("settings") {
            None => Map::new(),
            Some(settings) => match settings.to_json() {
                serde_json::Value::Object(settings) => settings,
                _ => {
                    let message = format!("`policy.settings`: expected a table, found {}", settings.describe());
                    section.reader.error(section.span_of("settings"), Code::Value, message);
                    Map::new()
                }
            },
        };
        let on_error = section.or("on_error", OnError::Defer);
        let name = name.filter(|name| check_name(section, name, names));
        let component = location.and_then(|location| component(section, &location));
        Some(Self { name: name?, component: component?, settings, on_error })
    }
}

fn check_name(section: &Section<'_>, name: &str, names: &mut Vec<String>) -> bool {
    let is_word = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let trouble = if !is_word {
        Some((Code::Value, format!("`policy.name`: expected lower-case letters, digits and hyphens, found {name:?}")))
    } else if ROLE_NAMES.contains(&name) {
        Some((Code::Value, format!("`policy.name`: {name:?} is the name of a role policy; choose another")))
    } else if names.iter().any(|other| other == name) {
        Some((Code::Twice, format!("two policies are named {name:?}; the log could not tell them apart")))
    } else {
        names.push(name.to_owned());
        None
    };
    trouble.is_none_or(|(code, message)| {
        section.reader.error(section.span_of("name"), code, message);
        false
    })
}

/// The file of a component, if it is one that can be read.
fn component(section: &mut Section<'_>, location: &str) -> Option<PathBuf> {
    let span = section.span_of("use");
    if location.contains("://") {
        let message = format!("`policy.use`: policies are loaded from files so far; expected the path of a .wasm file, found {location:?}");
        section.reader.error(span, Code::NotBuilt, message);
        return None;
    }
    let path = section.path("use")?;
    section.reader.must_open(span, &path);
    Some(path)
}
