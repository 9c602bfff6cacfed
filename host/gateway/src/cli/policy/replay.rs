//! `secmx policy replay`: what would have ended differently with another policy.

use super::super::command::Origin;
use super::super::remote::duration;
use super::super::{Exit, hint, say, words};
use super::project::Project;
use super::{mail, run};
use crate::config::{Component, Config, Policy};
use crate::replay;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use secmx_policy::cases::{Given, Outcome};
use secmx_policy::manifest::embed;
use secmx_policy::{Answering, Book, Candidate, Named, NoAnswer, PolicySource, Resolver, Runtime, Trial, Trialled};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Below the help.
pub(super) const HELP: &str = "\
Asks the policy in force and the new one about the same messages: those that [replay] kept, or a corpus. No network is asked: DNS answers
what it answered then, and what was not recorded is told apart. Each begins with an empty store. Ends with 0 when nothing would end
differently, with 1 when something would.

Examples
  secmx policy replay ./no-secrets -c /etc/secmx/secmx.toml --since 7d
  secmx policy replay ./no-secrets -c /etc/secmx/secmx.toml --corpus old-mail.mbox";

/// What is replayed.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    /// The new policy: a component, or the folder of one that was built
    new: PathBuf,
    /// Against this component instead of what the configuration has under the same name
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// A message, a folder of .eml files or an mbox, instead of what [replay] kept; may be given more than once
    #[arg(long, value_name = "PATH")]
    corpus: Vec<PathBuf>,
    /// Reverse-path of a corpus; else what the From field says
    #[arg(long)]
    from: Option<String>,
    /// Recipient of a corpus; else what To, Cc and Bcc say
    #[arg(long)]
    to: Vec<String>,
    /// A setting of the new one, as NAME=VALUE; the others are those of the configuration
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Only what was kept since then, such as 7d
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "corpus")]
    since: Option<Duration>,
    /// Key file that opens what was kept for it (`replay.seal_for`)
    #[arg(long, value_name = "FILE", conflicts_with = "corpus")]
    identity: Option<PathBuf>,
    /// Name the messages of one change, such as pass:quarantine
    #[arg(long, value_name = "FROM:TO")]
    show: Option<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    origin: Origin,
}

/// DNS as it was recorded for the message that is asked about.
#[derive(Debug, Default)]
struct Recorded {
    given: Mutex<Given>,
    missed: AtomicBool,
}

impl Resolver for Recorded {
    fn look_up<'a>(&'a self, name: &'a str, kind: &'a str) -> Answering<'a> {
        Box::pin(async move {
            let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let resolver = given.named("").resolver.clone();
            let answer = match &resolver {
                Some(resolver) => resolver.look_up(name, kind).await,
                None => Err(NoAnswer::Unavailable),
            };
            if matches!(answer, Err(NoAnswer::NotGiven(_))) {
                self.missed.store(true, Ordering::Relaxed);
            }
            answer
        })
    }
}

/// One of the two policies.
struct Side {
    title: String,
    candidate: Candidate,
    rulings: BTreeMap<String, u64>,
    took: Vec<Duration>,
    stores: bool,
}

/// One message to ask about.
struct Item {
    name: String,
    given: Given,
    now: Option<u64>,
    message: Bytes,
}

/// A message that would end differently.
struct Change {
    message: String,
    old: Outcome,
    new: Outcome,
}

/// What came of it.
struct Found {
    sides: [Side; 2],
    messages: usize,
    changes: Vec<Change>,
    unrecorded: usize,
}

/// Replays.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let new = component(&options.new)?;
    let name = embed::manifest(&new).ok().flatten().map(|manifest| manifest.policy.name);
    let config = Config::load(options.origin.config.as_deref())
        .map_err(|findings| anyhow::anyhow!(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?
        .0;
    let entry = config.policy.iter().find(|policy| Some(&policy.name) == name.as_ref());
    let old = match (&options.against, entry) {
        (Some(path), _) => component(path)?,
        (None, Some(entry)) => entry.component.octets().with_context(|| format!("cannot read {}", entry.component))?,
        (None, None) => {
            bail!("the configuration has no [[policy]] named {:?}; --against FILE names what to compare with", name.unwrap_or_default())
        }
    };
    let items = items(options, &config)?;
    if items.is_empty() {
        bail!(
            "there is no message: --corpus PATH names some, and [replay] in the configuration makes the gateway keep some (--since may be too short)"
        );
    }
    let runtime = super::engine(false)?;
    let recorded = Arc::new(Recorded::default());
    let settings = entry.map(|entry| entry.settings.clone()).unwrap_or_default();
    let mut changed = settings.clone();
    for text in &options.settings {
        changed.extend([run::setting(text)?]);
    }
    let load = |octets, settings| load(&runtime, &config, entry, octets, settings, &recorded);
    let found = Found { sides: [load(old, settings)?, load(new, changed)?], messages: items.len(), changes: Vec::new(), unrecorded: 0 };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = executor.block_on(ask_all(found, items, &recorded));
    say(&if options.json { as_json(&found)? } else { as_text(&found, options.show.as_deref()) })?;
    Ok(if found.changes.is_empty() { Exit::Yes } else { Exit::No })
}

fn component(path: &Path) -> Result<Vec<u8>> {
    let path = if path.is_dir() { Project::open(path)?.component() } else { path.to_owned() };
    fs::read(&path).with_context(|| format!("cannot read {}; `secmx policy build` makes it", path.display()))
}

fn load(
    runtime: &Runtime,
    config: &Config,
    entry: Option<&Policy>,
    octets: Vec<u8>,
    settings: Map<String, Value>,
    recorded: &Arc<Recorded>,
) -> Result<Side> {
    let manifest = embed::manifest(&octets).ok().flatten();
    let title = manifest.map_or_else(|| "without a manifest".to_owned(), |manifest| manifest.title());
    let mut source = PolicySource::new("replayed", octets, Value::Object(settings).to_string());
    source.grant = entry.filter(|entry| matches!(entry.component, Component::File(_))).map(|entry| entry.grant.grant());
    // Nobody waits: time judges nothing here but what would never end.
    (source.limits.time, source.limits.wall) = (Duration::from_secs(10), Duration::from_secs(60));
    let lists = config.list.iter().map(|(name, list)| (name.clone(), list.members.clone())).collect();
    let resolver: Arc<dyn Resolver> = Arc::clone(recorded) as _;
    source.named = Arc::new(Named { lists, resolver: Some(resolver), book: Some(Arc::new(Book::default())), ..Named::default() });
    let candidate = Candidate::load(runtime, &source)?;
    if !candidate.info().interfaces.contains(&"content") {
        bail!("{title} answers nothing about content; only content policies are replayed");
    }
    Ok(Side { title, candidate, rulings: BTreeMap::new(), took: Vec::new(), stores: false })
}

fn items(options: &Options, config: &Config) -> Result<Vec<Item>> {
    if options.corpus.is_empty() {
        let keys = options.identity.as_deref().map(replay::Identities::read).transpose()?.unwrap_or_default();
        let found = replay::read_all(&replay::folder(&config.paths.state), &keys)?;
        if found.closed > 0 {
            let which = if options.identity.is_some() { "other keys" } else { "a key (--identity FILE)" };
            hint(&format!("{} sealed for {which}, left out\n", words::counted(found.closed as u64, "kept message")));
        }
        let seconds = options.since.map_or(i64::MAX, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let first = jiff::Timestamp::now().as_second().saturating_sub(seconds);
        let kept = found.messages.into_iter().filter(|(kept, _)| kept.at >= first);
        let item = |(kept, message): (replay::Kept, Bytes)| Item {
            name: kept.qid.to_string(),
            now: u64::try_from(kept.at).ok(),
            given: kept.given,
            message,
        };
        return Ok(kept.map(item).collect());
    }
    let mut items = Vec::new();
    for path in &options.corpus {
        for (name, message) in mail::messages(path)? {
            let mut envelope = mail::envelope(&message);
            envelope.from = options.from.clone().or(envelope.from);
            envelope.to = if options.to.is_empty() { envelope.to } else { Some(options.to.clone()) };
            let given = Given { interface: Some("content".to_owned()), envelope: Some(envelope), ..Given::default() };
            items.push(Item { name, now: None, given, message });
        }
    }
    Ok(items)
}

async fn ask_all(mut found: Found, items: Vec<Item>, recorded: &Recorded) -> Found {
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    for Item { name, given, now, message } in items {
        // Both are told the same time.
        let fixed = Trialled { now: Some(now.unwrap_or_else(clock)), forgets: false };
        let trial = given.trial(message);
        *recorded.given.lock().unwrap_or_else(PoisonError::into_inner) = given;
        recorded.missed.store(false, Ordering::Relaxed);
        let Ok(trial) = trial else {
            found.unrecorded += 1;
            continue;
        };
        let [old, new] = &mut found.sides;
        let (old_outcome, new_outcome) = (old.ask(trial.clone(), fixed).await, new.ask(trial, fixed).await);
        if recorded.missed.load(Ordering::Relaxed) {
            found.unrecorded += 1;
            continue;
        }
        let [old, new] = &mut found.sides;
        old.count(&old_outcome);
        new.count(&new_outcome);
        if !ends_alike(&old_outcome, &new_outcome) {
            found.changes.push(Change { message: name, old: old_outcome, new: new_outcome });
        }
    }
    found
}

/// Whether a sender or a recipient would notice nothing.
fn ends_alike(one: &Outcome, other: &Outcome) -> bool {
    let same = one.ruling == other.ruling && one.reply == other.reply && one.role == other.role;
    same && one.changes == other.changes && one.tags == other.tags
}

impl Side {
    async fn ask(&mut self, trial: Trial, fixed: Trialled) -> Outcome {
        let report = self.candidate.ask(trial, fixed).await;
        self.stores |= report.calls.iter().any(|call| call.starts_with("store."));
        self.took.push(report.took);
        Outcome::of(&report)
    }

    fn count(&mut self, outcome: &Outcome) {
        *self.rulings.entry(outcome.ruling.clone()).or_default() += 1;
    }

    fn at(&self, percent: usize) -> f64 {
        let mut took = self.took.clone();
        took.sort();
        took.get((took.len().saturating_sub(1)) * percent / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

/// Changes by what became what, with the reasons of the new ruling.
fn grouped(changes: &[Change]) -> BTreeMap<(String, String), BTreeMap<String, u64>> {
    changes.iter().fold(BTreeMap::new(), |mut groups, change| {
        let group: &mut BTreeMap<String, u64> = groups.entry((change.old.ruling.clone(), change.new.ruling.clone())).or_default();
        let same = change.old.ruling == change.new.ruling;
        let why = if same { "other changes or tags" } else { change.new.reason.as_deref().unwrap_or("–") };
        *group.entry(why.to_owned()).or_default() += 1;
        groups
    })
}

fn as_text(found: &Found, show: Option<&str>) -> String {
    let [old, new] = &found.sides;
    let mut text = format!("{} messages\n{:<16}{:>22}{:>22}\n", found.messages, "", old.title, new.title);
    let words: std::collections::BTreeSet<&String> = old.rulings.keys().chain(new.rulings.keys()).collect();
    for word in words {
        let count = |side: &Side| side.rulings.get(word).copied().unwrap_or_default();
        let (before, after) = (count(old), count(new));
        let change = if before == after { String::new() } else { format!("{:>+8}", i128::from(after) - i128::from(before)) };
        let _ = writeln!(text, "  {:<14}{before:>22}{after:>22}{change}", if word == "error" { "policy errors" } else { word });
    }
    let speed = |side: &Side| format!("{:.2} / {:.2} ms", side.at(50), side.at(99));
    let _ = writeln!(text, "  {:<14}{:>22}{:>22}", "p50 / p99", speed(old), speed(new));
    match found.changes.len() {
        0 => text.push_str("no message would end differently\n"),
        number => {
            let _ = writeln!(text, "{number} would end differently:");
        }
    }
    for ((before, after), reasons) in grouped(&found.changes) {
        let sum: u64 = reasons.values().sum();
        let reasons: Vec<String> = reasons.iter().map(|(why, number)| format!("{why} {number}")).collect();
        let _ = writeln!(text, "  {before} → {after} {sum}   ({})   look: --show {before}:{after}", reasons.join(", "));
    }
    if found.unrecorded > 0 {
        let _ = writeln!(text, "not replayable {}: a policy asked DNS for what was not recorded", found.unrecorded);
    }
    if old.stores || new.stores {
        text.push_str("order-dependent: a policy keeps what it saw in its store, which began empty\n");
    }
    for change in &found.changes {
        if show == Some(format!("{}:{}", change.old.ruling, change.new.ruling).as_str()) {
            let detail = change.new.detail.as_deref().unwrap_or_default();
            let _ = writeln!(text, "{}   {}   {detail}", change.message, change.new.reason.as_deref().unwrap_or("–"));
        }
    }
    text
}

/// One object, schema `secmx/policy-replay/v1`. Fields are only ever added.
fn as_json(found: &Found) -> Result<String> {
    let side = |side: &Side| json!({ "policy": side.title, "rulings": side.rulings, "p50_ms": side.at(50), "p99_ms": side.at(99) });
    let [old, new] = &found.sides;
    let change = |change: &Change| json!({ "message": change.message, "old": change.old, "new": change.new });
    let value = json!({
        "schema": "secmx/policy-replay/v1",
        "messages": found.messages,
        "same": found.changes.is_empty(),
        "old": side(old),
        "new": side(new),
        "changes": found.changes.iter().map(change).collect::<Vec<_>>(),
        "not_replayable": found.unrecorded,
        "order_dependent": old.stores || new.stores,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}
