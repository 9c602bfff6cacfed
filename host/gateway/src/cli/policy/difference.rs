//! What a replay found, told for people and as JSON.

use super::super::{Exit, words};
use anyhow::Result;
use secmx_policy::cases::Outcome;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

/// What one of the two policies said.
#[derive(Default)]
pub(super) struct Said {
    /// Name and version.
    pub(super) title: String,
    /// How often which ruling; `error` is a fault.
    pub(super) rulings: BTreeMap<String, u64>,
    /// How long each answer took.
    pub(super) took: Vec<Duration>,
    /// Whether it asked its store.
    pub(super) stores: bool,
    /// The message that it failed at first, and how.
    pub(super) fault: Option<(String, String)>,
}

/// A message that would end differently.
pub(super) struct Change {
    pub(super) message: String,
    pub(super) old: Outcome,
    pub(super) new: Outcome,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Found {
    /// The old one and the new one.
    pub(super) said: [Said; 2],
    /// How many there were.
    pub(super) messages: usize,
    /// How many of them ended in some way, alike or not.
    pub(super) compared: usize,
    /// Those that would end differently.
    pub(super) changes: Vec<Change>,
    /// How many neither is asked about, as `when` has it.
    pub(super) not_asked: usize,
    /// About how many DNS was asked what was not recorded.
    pub(super) unrecorded: usize,
    /// At how many both failed.
    pub(super) both_failed: usize,
}

impl Said {
    /// Takes down one outcome.
    pub(super) fn count(&mut self, message: &str, outcome: &Outcome) {
        *self.rulings.entry(outcome.ruling.clone()).or_default() += 1;
        if is_fault(outcome) && self.fault.is_none() {
            self.fault = Some((message.to_owned(), outcome.detail.clone().unwrap_or_default()));
        }
    }

    fn faults(&self) -> u64 {
        self.rulings.get("error").copied().unwrap_or_default()
    }

    /// Milliseconds that so many percent of the answers took at most.
    fn at(&self, percent: usize) -> f64 {
        let mut took = self.took.clone();
        took.sort();
        took.get((took.len().saturating_sub(1)) * percent / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }
}

impl Found {
    /// Takes down what both said of a message.
    pub(super) fn compare(&mut self, message: String, outcomes: [Outcome; 2]) {
        for (said, outcome) in self.said.iter_mut().zip(&outcomes) {
            said.count(&message, outcome);
        }
        let [old, new] = outcomes;
        if is_fault(&old) && is_fault(&new) {
            self.both_failed += 1;
            return;
        }
        self.compared += 1;
        if !ends_alike(&old, &new) {
            self.changes.push(Change { message, old, new });
        }
    }

    /// No message that ends differently is a yes only where some message ends at all.
    pub(super) fn exit(&self) -> Exit {
        match (self.compared, self.changes.len()) {
            (0, _) => Exit::CannotTell,
            (_, 0) => Exit::Yes,
            _ => Exit::No,
        }
    }
}

fn is_fault(outcome: &Outcome) -> bool {
    outcome.ruling == "error"
}

/// Whether a sender or a recipient would notice nothing.
fn ends_alike(one: &Outcome, other: &Outcome) -> bool {
    let same = one.ruling == other.ruling && one.reply == other.reply && one.role == other.role;
    same && one.changes == other.changes && one.tags == other.tags
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

/// A table, and below it what became what; the messages of one change, such as `pass:quarantine`, by name.
pub(super) fn text(found: &Found, show: Option<&str>) -> String {
    let mut text = table(found);
    match (found.compared, found.changes.len()) {
        (0, _) => text.push_str("nothing was compared: no message ended in any way\n"),
        (_, 0) => text.push_str("no message would end differently\n"),
        (_, number) => {
            let _ = writeln!(text, "{number} would end differently:");
        }
    }
    for ((before, after), reasons) in grouped(&found.changes) {
        let sum: u64 = reasons.values().sum();
        let reasons: Vec<String> = reasons.iter().map(|(why, number)| format!("{why} {number}")).collect();
        let _ = writeln!(text, "  {before} → {after} {sum}   ({})   look: --show {before}:{after}", reasons.join(", "));
    }
    remarks(&mut text, found);
    for change in &found.changes {
        if show == Some(format!("{}:{}", change.old.ruling, change.new.ruling).as_str()) {
            let detail = change.new.detail.as_deref().unwrap_or_default();
            let _ = writeln!(text, "{}   {}   {detail}", change.message, change.new.reason.as_deref().unwrap_or("–"));
        }
    }
    text
}

fn table(found: &Found) -> String {
    let [old, new] = &found.said;
    let mut text = format!("{}\n{:<16}{:>22}{:>22}\n", words::counted(found.messages as u64, "message"), "", old.title, new.title);
    let rulings: BTreeSet<&String> = old.rulings.keys().chain(new.rulings.keys()).collect();
    for ruling in rulings {
        let count = |said: &Said| said.rulings.get(ruling).copied().unwrap_or_default();
        let (before, after) = (count(old), count(new));
        let change = if before == after { String::new() } else { format!("{:>+8}", i128::from(after) - i128::from(before)) };
        let _ = writeln!(text, "  {:<14}{before:>22}{after:>22}{change}", if ruling == "error" { "policy errors" } else { ruling });
    }
    let speed = |said: &Said| format!("{:.2} / {:.2} ms", said.at(50), said.at(99));
    let _ = writeln!(text, "  {:<14}{:>22}{:>22}", "p50 / p99", speed(old), speed(new));
    text
}

/// What keeps the figures from being the whole truth.
fn remarks(text: &mut String, found: &Found) {
    let [old, new] = &found.said;
    if found.not_asked > 0 {
        let _ = writeln!(text, "not asked {}: the `when` of the entry does not hold", found.not_asked);
    }
    if found.unrecorded > 0 {
        let _ = writeln!(text, "not replayable {}: a policy asked DNS for what was not recorded", found.unrecorded);
    }
    if found.both_failed > 0 {
        let _ = writeln!(text, "not compared {}: both policies failed", found.both_failed);
    }
    for said in &found.said {
        if let Some((message, why)) = &said.fault {
            let _ = writeln!(text, "! {} failed {}, first at {message}: {why}", said.title, words::counted(said.faults(), "time"));
        }
    }
    if old.stores || new.stores {
        text.push_str("order-dependent: a policy keeps what it saw in its store, which began empty\n");
    }
}

/// One object, schema `secmx/policy-replay/v1`. Fields are only ever added.
pub(super) fn json(found: &Found) -> Result<String> {
    let said = |said: &Said| {
        let fault = said.fault.as_ref().map(|(message, why)| json!({ "message": message, "detail": why }));
        json!({ "policy": said.title, "rulings": said.rulings, "p50_ms": said.at(50), "p99_ms": said.at(99), "first_fault": fault })
    };
    let [old, new] = &found.said;
    let change = |change: &Change| json!({ "message": change.message, "old": change.old, "new": change.new });
    let value = json!({
        "schema": "secmx/policy-replay/v1",
        "messages": found.messages,
        "compared": found.compared,
        "same": found.exit() == Exit::Yes,
        "old": said(old),
        "new": said(new),
        "changes": found.changes.iter().map(change).collect::<Vec<_>>(),
        "not_asked": found.not_asked,
        "not_replayable": found.unrecorded,
        "both_failed": found.both_failed,
        "order_dependent": old.stores || new.stores,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}
