//! `GET /policies`: who is asked what, in which order, in the generation in force, and what they said so far.

use super::{Control, Desk};
use axum::routing::get;
use axum::{Json, Router};
use secmx_policy::{Duty, Mode, PolicyInfo, ShadowTally};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `secmx/policy-list/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Policies {
    schema: String,
    /// Number of the generation in force.
    pub(crate) generation: u64,
    /// One chain for each kind of question.
    pub(crate) chains: Vec<Chain>,
}

/// The policies that are asked one kind of question, in order. The first ruling that is not `pass` ends it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chain {
    /// `receiver`, `content` or `sender`.
    pub(crate) interface: String,
    /// In the order in which they are asked.
    pub(crate) policies: Vec<Row>,
}

/// One policy in one chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// Its version, when its component says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// SHA-256 of the component, hexadecimal.
    pub(crate) sha256: String,
    /// `enforce`; `shadow`: it is asked after the answer is known, and has no say.
    pub(crate) mode: String,
    /// The role where it is asked only: `BER`, `SOS` …; absent where it is asked always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    /// How often it was asked, about anything, since the gateway began.
    pub(crate) asked: u64,
    /// How often it ruled so.
    pub(crate) rulings: BTreeMap<String, u64>,
    /// How often it failed.
    pub(crate) faults: u64,
    /// What it counted itself, by the names that it gave.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) counters: BTreeMap<String, u64>,
    /// Time that a question took on average, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) average_us: Option<u64>,
    /// How a shadow differs from what was in force; absent for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shadow: Option<Shadow>,
}

/// What a shadow would have changed since the gateway began.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shadow {
    /// Messages that it was asked about.
    pub(crate) asked: u64,
    /// Messages that it was not asked about because there were too many.
    pub(crate) left_out: u64,
    /// Messages that would have ended differently.
    pub(crate) differs: u64,
    /// The same by both rulings.
    pub(crate) differences: Vec<Differences>,
    /// The last of them, the newest first; at most 50.
    pub(crate) last: Vec<Differing>,
}

/// Messages that would have ended differently in one way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Differences {
    /// The ruling in force.
    pub(crate) enforced: String,
    /// That of the shadow.
    pub(crate) shadow: String,
    /// How many.
    pub(crate) messages: u64,
}

/// One message that would have ended differently.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Differing {
    /// Queue id, else session id.
    pub(crate) subject: String,
    /// The ruling in force.
    pub(crate) enforced: String,
    /// That of the shadow.
    pub(crate) shadow: String,
    /// Its reason code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/policies", get(policies))
}

async fn policies(control: Desk) -> Json<Policies> {
    let generation = control.current.load_full();
    let all = generation.policies.policies();
    let chains = ["receiver", "content", "sender"].map(|interface| Chain { interface: interface.into(), policies: chain(&all, interface) });
    let number = control.reloader.standing().number;
    Json(Policies { schema: "secmx/policy-list/v1".into(), generation: number, chains: chains.into() })
}

/// As they are asked: a receiver's role comes first, a sender's last, and who has no say comes after the answer.
fn chain(all: &[PolicyInfo], interface: &str) -> Vec<Row> {
    let place = |policy: &PolicyInfo| match (policy.mode, policy.duty, interface) {
        (Mode::Shadow, ..) => 3,
        (_, Duty::Role, "receiver") => 0,
        (_, Duty::Role, _) => 2,
        (_, Duty::Chain, _) => 1,
    };
    // Shadows are asked about content only.
    let asked = |policy: &&PolicyInfo| policy.interfaces.contains(&interface) && (policy.mode == Mode::Enforce || interface == "content");
    let mut chain: Vec<&PolicyInfo> = all.iter().filter(asked).collect();
    chain.sort_by_key(|policy| place(policy));
    chain.into_iter().map(Row::of).collect()
}

impl Row {
    fn of(policy: &PolicyInfo) -> Self {
        let asked = policy.tally.asked();
        Self {
            name: policy.name.clone(),
            version: policy.version.clone(),
            sha256: policy.sha256.clone(),
            mode: match policy.mode {
                Mode::Enforce => "enforce".into(),
                Mode::Shadow => "shadow".into(),
            },
            role: (policy.duty == Duty::Role).then(|| policy.name.to_uppercase()),
            asked,
            rulings: policy.tally.rulings.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            faults: policy.tally.faults,
            counters: policy.tally.counters.clone(),
            average_us: policy.tally.microseconds.checked_div(asked),
            shadow: policy.shadow.as_ref().map(Shadow::of),
        }
    }
}

impl Shadow {
    pub(super) fn of(tally: &ShadowTally) -> Self {
        let differences = tally.differences.iter().map(|((enforced, shadow), messages)| Differences {
            enforced: (*enforced).to_owned(),
            shadow: (*shadow).to_owned(),
            messages: *messages,
        });
        let last = tally.last.iter().rev().map(|one| Differing {
            subject: one.subject.clone(),
            enforced: one.enforced.to_owned(),
            shadow: one.shadow.to_owned(),
            code: one.code.clone(),
        });
        let (differences, last): (Vec<_>, Vec<_>) = (differences.collect(), last.collect());
        let differs = differences.iter().map(|one| one.messages).sum();
        Self { asked: tally.asked, left_out: tally.left_out, differs, differences, last }
    }
}
