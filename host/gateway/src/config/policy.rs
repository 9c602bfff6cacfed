//! `[policies]` and `[[policy]]`: which Wasm components are asked, in which order, with which settings and limits.
//!
//! The four role policies need no entry: `role` on a listener and in `[send]` asks for them, and `[send]` is their settings.

use super::finding::Code;
use super::reader::{Refusal, Section, Setting};
use super::rule::Pattern;
use super::tree::Node;
use super::value::{OrZero, Size};
use secmx_core::role::SenderRole;
use secmx_policy::manifest::{Grant, MessageAccess};
use serde_json::Map;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names that the role policies have.
const ROLE_NAMES: [&str; 4] = ["bes", "ber", "sos", "sor"];

/// The least and the most memory that a policy may be given, octets.
const MEMORY_OCTETS: std::ops::RangeInclusive<u64> = (64 << 10)..=(256 << 20);

/// The least and the most time that a policy may be given.
const TIME: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_secs(60);

/// The fewest and the most questions that an instance may answer.
const USES: std::ops::RangeInclusive<u32> = 1..=100;

/// `[policies]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// `limits.time`: processor time for one question, in steps of 5 ms. Default `"100ms"`.
    pub time: Duration,
    /// `limits.memory`: memory of one instance, at most `"256MiB"`. Default `"16MiB"`; octets here.
    pub memory_octets: u64,
    /// `keys`: files of public keys (`secmx policy keygen`), one or a list. When there are some, nothing is loaded from a file that is not
    /// signed with one of them and in the lock. Default none.
    pub keys: Vec<PathBuf>,
    /// `lock`: the file that `secmx policy lock` writes. Where it is there, components are held to it, with keys or without. Default
    /// `policies.lock` beside the configuration file.
    pub lock: PathBuf,
    /// `limits.concurrent`: questions that are answered at the same time; more wait for their turn. Default 64.
    pub concurrent: u32,
    /// `compile`: `[policies.compile]`.
    pub compile: Compile,
    /// `limits.max_uses`: the most questions, 1 to 100, that a manifest may let one instance answer. Default 100.
    pub max_uses: u32,
}

/// `[policies.compile]`. Components are compiled once, each in a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compile {
    /// `memory`: address space of that process; octets here. Default `"4GiB"`.
    pub memory_octets: u64,
    /// `time`: its time on the processor, in whole seconds. Default `"2m"`.
    pub time: Duration,
    /// `wall`: time until it must have ended. Default `"5m"`.
    pub wall: Duration,
    /// `component`: size of a component; octets here. Default `"64MiB"`.
    pub component_octets: u64,
    /// `cache`: what `paths.cache` holds at most; beyond that, what was used longest ago goes; octets here. Default `"512MiB"`.
    pub cache_octets: u64,
}

/// `[[policy]]`. Policies are asked in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// `name`: for logs and metrics; unique, lower-case letters, digits and hyphens. Required.
    pub name: String,
    /// `use`: path of the component, a `.wasm` file, or `"builtin:NAME"` for one that is shipped: `attachments`, `classification`,
    /// `disclaimer`, `dmarc`, `journal`, `no-secrets`, `opaque-content`. Required.
    pub component: Component,
    /// `when`: `[policy.when]`.
    pub when: When,
    /// `mode`: `"enforce"`: what it says counts; `"shadow"`: it is asked about content after the
    /// answer is known, and differences are only counted and logged; `"off"`: it is not asked. Default `"enforce"`.
    pub mode: Mode,
    /// `grant`: `[policy.grant]`.
    pub grant: Powers,
    /// `limits`: `[policy.limits]`.
    pub limits: Limits,
    /// `breaker`: `[policy.breaker]`.
    pub breaker: Breaker,
    /// `settings`: any table that its manifest allows; the policy sees it as a JSON object. Default empty.
    pub settings: Map<String, serde_json::Value>,
    /// `on_error`: what becomes of a message when the policy fails: `"defer"` it waits, `"quarantine"` it is kept for a person, `"reject"`
    /// the client gets 554 5.3.0, `"accept"` the next policy is asked. Where a question is not about a whole message, `"quarantine"`
    /// defers; where no client waits, `"reject"` defers. Default `"defer"`.
    pub on_error: OnError,
}

/// `[policy.when]`. All of it must hold. What is not known yet when a question comes up holds nobody back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// `direction`: `"in"` some recipient is in `domains`, `"out"` some is not. Before there is a recipient the listener counts: a
    /// `"submit"` listener is `"out"`. Default both.
    pub direction: Option<Direction>,
    /// `listener`: names of listeners that there are, one or a list. Default all.
    pub listeners: Vec<String>,
    /// `from`: senders as in `send.rule.to`, one or a list; only `"*"` names the null reverse-path. Default all.
    pub from: Vec<Pattern>,
    /// `to`: recipients as in `send.rule.to`, of which one must be there, one or a list. Default all.
    pub to: Vec<Pattern>,
    /// `role`: the role that `[send]` has for some recipient outside, `"BES"` or `"SOS"`. Default both.
    pub role: Option<SenderRole>,
}

/// `policy.when.direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To one of ours.
    In,
    /// To somebody else.
    Out,
}

/// `policy.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// What it says counts.
    #[default]
    Enforce,
    /// What it says is counted.
    Shadow,
    /// It is not asked.
    Off,
}

/// `[policy.grant]`. At most what the policy's manifest declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Powers {
    /// `message`: how much of a message it may see: `"none"`, `"envelope"`, `"headers"`, `"body"`. Default what its manifest declares;
    /// without a manifest `"body"`.
    pub message: Option<MessageAccess>,
    /// `dns`: kinds of records that it may look up, such as `["TXT"]`. Default none.
    pub dns: Vec<String>,
    /// `store`: what it may keep, such as `"1MiB"`; octets here. Default nothing.
    pub store_octets: Option<u64>,
    /// `lists`: names of `[list.NAME]` that it may ask. Default none.
    pub lists: Vec<String>,
}

/// `[policy.limits]`. What is not set here is as the policy's manifest has it, at most `[policies.limits]`; else as that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// `time`: processor time for one question, in steps of 5 ms, 5ms to 60s.
    pub time: Option<Duration>,
    /// `wall`: time for one question with all waiting, 5ms to 60s. Default `"5s"`.
    pub wall: Option<Duration>,
    /// `memory`: memory of one instance, 64KiB to 256MiB; octets here.
    pub memory_octets: Option<u64>,
    /// `log`: text it may log in one question; more is cut; octets here. Default `"8KiB"`.
    pub log_octets: Option<u64>,
    /// `hand_over`: text and lists that it may hand over in one call of a function of the gateway; more is a fault; octets here. Default
    /// `"16MiB"`.
    pub hand_over_octets: Option<u64>,
    /// `effects`: edits, recipients, steps of a plan, tags and pieces of evidence, so many of each, that one answer may have; more is a
    /// fault. Default 1000.
    pub effects: Option<usize>,
    /// `handles`: handles of resources, such as the message and its session, that it may hold at a time; more is a fault. Default 1000.
    pub handles: Option<usize>,
    /// `max_uses`: questions that one instance answers, 1 to 100. 1 is a fresh instance for each, so that nothing of one message is there
    /// for the next; more is for language runtimes that are slow to begin. An instance that failed is never asked again. Default 1.
    pub max_uses: Option<u32>,
}

/// `[policy.breaker]`. A policy that keeps failing is left alone for a while; what a fault becomes stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// `faults`: faults within `within` that open it; 0 never. Default 5.
    pub faults: u32,
    /// `within`: Default `"10s"`.
    pub within: Duration,
    /// `wait`: how long the policy is not asked; then one question is let through, and if that fails too the time doubles. Default
    /// `"30s"`.
    pub wait: Duration,
    /// `wait_max`: the longest such time. Default `"10m"`.
    pub wait_max: Duration,
}

/// `policy.use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// A `.wasm` file.
    File(PathBuf),
    /// One that is shipped with the gateway, by its name.
    Shipped(&'static str),
}

impl Component {
    /// One that is shipped. Errors, in a sentence, name those that are.
    pub fn shipped(name: &str) -> Result<Self, String> {
        let names = || secmx_policy::SHIPPED.into_iter().map(|(name, _)| name);
        let found = names().find(|shipped| *shipped == name).map(Self::Shipped);
        found.ok_or_else(|| format!("no policy {name:?} is shipped; there are {}", names().collect::<Vec<_>>().join(", ")))
    }

    /// Its octets. Errors when the file cannot be read.
    pub fn octets(&self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::File(path) => std::fs::read(path),
            Self::Shipped(name) => Ok(secmx_policy::shipped(name).unwrap_or_default().to_vec()),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Shipped(name) => write!(f, "builtin:{name}"),
        }
    }
}

/// `policy.on_error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// 451 4.3.0, or another attempt later.
    #[default]
    Defer,
    /// The message is kept for a person.
    Quarantine,
    /// 554 5.3.0.
    Reject,
    /// The next policy is asked.
    Accept,
}

impl Setting for OnError {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("defer", Self::Defer), ("quarantine", Self::Quarantine), ("reject", Self::Reject), ("accept", Self::Accept)])
    }
}

impl Setting for Mode {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("enforce", Self::Enforce), ("shadow", Self::Shadow), ("off", Self::Off)])
    }
}

impl Setting for Direction {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("in", Self::In), ("out", Self::Out)])
    }
}

impl Setting for MessageAccess {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("none", Self::None), ("envelope", Self::Envelope), ("headers", Self::Headers), ("body", Self::Body)])
    }
}

impl When {
    fn read(section: &mut Section<'_>, known: &[String]) -> Self {
        let listeners: Vec<String> = section.or("listener", Vec::new());
        // Misspelt, the policy would be asked about nothing, and nobody would notice.
        if let Some(other) = listeners.iter().find(|name| !known.contains(name)) {
            let message = format!("`policy.when.listener`: there is no [receive.{other}]; there is {}", known.join(", "));
            section.reader.error(section.span_of("listener"), Code::Contradiction, message);
        }
        Self {
            direction: section.optional("direction"),
            listeners,
            from: section.or("from", Vec::new()),
            to: section.or("to", Vec::new()),
            role: section.optional("role"),
        }
    }
}

impl Powers {
    /// As the policy platform takes it.
    pub fn grant(&self) -> Grant {
        let Self { message, dns, store_octets, lists } = self.clone();
        Grant { message, dns, store: store_octets, lists }
    }

    fn read(section: &mut Section<'_>) -> Self {
        Self {
            message: section.optional("message"),
            dns: section.or("dns", Vec::new()),
            store_octets: section.optional("store").map(|Size(octets)| octets),
            lists: section.or("lists", Vec::new()),
        }
    }
}

impl Limits {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            time: time(section, "time"),
            wall: time(section, "wall"),
            memory_octets: memory(section),
            log_octets: section.optional("log").map(|Size(octets)| octets),
            hand_over_octets: section.optional("hand_over").map(|Size(octets)| octets),
            effects: section.optional("effects"),
            handles: section.optional("handles"),
            max_uses: max_uses(section),
        }
    }
}

impl Breaker {
    fn read(section: &mut Section<'_>) -> Self {
        let usual = secmx_policy::Tolerance::default();
        Self {
            faults: section.or("faults", OrZero(usual.faults)).0,
            within: section.or("within", usual.within),
            wait: section.or("wait", usual.wait),
            wait_max: section.or("wait_max", usual.wait_max),
        }
    }
}

/// A time within the bounds of all questions.
fn time(section: &mut Section<'_>, key: &'static str) -> Option<Duration> {
    let time = section.optional(key)?;
    if !TIME.contains(&time) {
        section.reader.error(section.span_of(key), Code::Value, format!("`{}`: expected 5ms to 60s", section.dotted(key)));
    }
    Some(time)
}

/// A memory that an instance may have.
fn memory(section: &mut Section<'_>) -> Option<u64> {
    let Size(octets) = section.optional("memory")?;
    if !MEMORY_OCTETS.contains(&octets) {
        section.reader.error(section.span_of("memory"), Code::Value, format!("`{}`: expected 64KiB to 256MiB", section.dotted("memory")));
    }
    Some(octets)
}

/// Uses that an instance may have.
fn max_uses(section: &mut Section<'_>) -> Option<u32> {
    let uses = section.optional("max_uses")?;
    if !USES.contains(&uses) {
        section.reader.error(section.span_of("max_uses"), Code::Value, format!("`{}`: expected 1 to 100", section.dotted("max_uses")));
    }
    Some(uses)
}

/// Questions at the same time.
fn concurrent(section: &mut Section<'_>) -> u32 {
    let questions = section.or("concurrent", secmx_policy::RuntimeLimits::default().concurrent_questions);
    if !(1..=1024).contains(&questions) {
        section.reader.error(section.span_of("concurrent"), Code::Value, "`policies.limits.concurrent`: expected 1 to 1024");
    }
    questions
}

impl Compile {
    fn read(section: &mut Section<'_>) -> Self {
        let usual = secmx_policy::CompileLimits::default();
        Self {
            memory_octets: section.or("memory", Size(usual.memory_bytes)).0,
            time: section.or("time", usual.time),
            wall: section.or("wall", usual.wall),
            component_octets: section.or("component", Size(usual.component_bytes)).0,
            cache_octets: section.or("cache", Size(secmx_policy::Workshop::default().cache_octets_max)).0,
        }
    }
}

impl Policies {
    pub(super) fn read(section: &mut Section<'_>, beside: &Path) -> Self {
        let (keys, base) = (section.or("keys", Vec::<PathBuf>::new()), section.reader.base(section.span_of("keys")).to_owned());
        let lock = section.path("lock").unwrap_or_else(|| beside.join("policies.lock"));
        let compile = section.table("compile", Compile::read);
        section.table("limits", |section| Self {
            keys: keys.iter().map(|key| base.join(key)).collect(),
            lock,
            time: time(section, "time").unwrap_or(Duration::from_millis(100)),
            memory_octets: memory(section).unwrap_or(16 << 20),
            concurrent: concurrent(section),
            compile,
            max_uses: max_uses(section).unwrap_or(*USES.end()),
        })
    }
}

impl Policy {
    /// Every policy of the file, in order.
    pub(super) fn read_all(section: &mut Section<'_>, listeners: &[String]) -> Vec<Self> {
        let mut names = Vec::new();
        section.tables("policy", |section| Self::read(section, &mut names, listeners)).into_iter().flatten().collect()
    }

    fn read(section: &mut Section<'_>, names: &mut Vec<String>, listeners: &[String]) -> Option<Self> {
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
        let (on_error, mode) = (section.or("on_error", OnError::Defer), section.or("mode", Mode::Enforce));
        let when = section.table("when", |section| When::read(section, listeners));
        let (grant, limits) = (section.table("grant", Powers::read), section.table("limits", Limits::read));
        let breaker = section.table("breaker", Breaker::read);
        let name = name.filter(|name| check_name(section, name, names));
        let component = location.and_then(|location| component(section, &location));
        Some(Self { name: name?, component: component?, when, mode, grant, limits, breaker, settings, on_error })
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

/// Where a component comes from, if it can be had from there.
fn component(section: &mut Section<'_>, location: &str) -> Option<Component> {
    let span = section.span_of("use");
    if let Some(name) = location.strip_prefix("builtin:") {
        let found = Component::shipped(name);
        return found.map_err(|why| section.reader.error(span, Code::Value, format!("`policy.use`: {why}"))).ok();
    }
    if location.contains("://") {
        let message = format!(
            "`policy.use`: policies are loaded from files so far; expected the path of a .wasm file or builtin:NAME, found {location:?}"
        );
        section.reader.error(span, Code::NotBuilt, message);
        return None;
    }
    let path = section.path("use")?;
    section.reader.must_open(span, &path);
    Some(Component::File(path))
}
