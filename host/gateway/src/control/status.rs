//! `GET /status`: what the gateway is and how it stands.

use super::queue::State;
use super::{Control, Desk};
use crate::orders::Suspension;
use crate::reload;
use crate::spool::{Among, Spool, SpoolError};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use secmx_core::queue::Standing;
use secmx_policy::PolicyInfo;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Deliveries that are kept back and looked at.
const KEPT_MAX: usize = 1000;

/// `secmx/status/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    schema: String,
    /// Version of the program.
    pub(crate) version: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Our name.
    pub(crate) hostname: String,
    /// When it began.
    pub(crate) since: Timestamp,
    /// The configuration and policies in force.
    pub(crate) generation: reload::Standing,
    /// What it listens on.
    pub(crate) listeners: Vec<Listener>,
    /// What waits.
    pub(crate) queue: Queue,
    /// Destinations that are suspended.
    pub(crate) suspensions: Vec<Suspension>,
    /// What is kept back, by reason.
    pub(crate) kept: Vec<Kept>,
    /// The decision log.
    #[serde(default)]
    pub(crate) decisions: DecisionLog,
    /// Shadows, and how many messages would have ended differently.
    #[serde(default)]
    pub(crate) shadows: Vec<ShadowStanding>,
    /// Why nothing is accepted or delivered; absent while all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
}

/// One address that is listened on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listener {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Address and port.
    pub(crate) address: String,
    /// `BER`, `SOR` or `submit`.
    pub(crate) role: String,
}

/// How much waits.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Queue {
    /// Messages.
    pub(crate) messages: u64,
    /// Their deliveries.
    pub(crate) deliveries: u64,
    /// Octets of their bodies.
    pub(crate) octets: u64,
}

/// The decision log.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct DecisionLog {
    /// Lines that did not get into the file since the gateway began: `secmx_decisions_lost_total`.
    pub(crate) lost: u64,
}

/// A shadow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShadowStanding {
    /// Name of the policy.
    pub(crate) policy: String,
    /// Messages that it was asked about since the gateway began.
    pub(crate) asked: u64,
    /// Messages of these that would have ended differently: `secmx_policy_shadow_flips_total`.
    pub(crate) differs: u64,
}

/// Deliveries that are kept back for one reason. At most [`KEPT_MAX`] are looked at.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// `held` by an operator or `quarantined` by a policy.
    pub(crate) state: State,
    /// The operator's words, or the policy's code.
    pub(crate) reason: String,
    /// How many.
    pub(crate) deliveries: u64,
    /// When the first of them goes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/status", get(status))
}

/// What is kept back, by reason, in the order in which it was accepted.
async fn kept(spool: &dyn Spool) -> Result<Vec<Kept>, SpoolError> {
    let mut reasons: Vec<Kept> = Vec::new();
    for delivery in spool.deliveries(&Among { kept: Some(true), ..Among::default() }, None, KEPT_MAX).await? {
        let (state, reason, until) = match delivery.standing {
            Standing::Due => continue,
            Standing::Held { reason, until } => (State::Held, reason, until),
            Standing::Quarantined { code, .. } => (State::Quarantined, code, None),
        };
        match reasons.iter_mut().find(|kept| kept.state == state && kept.reason == reason) {
            Some(kept) => {
                kept.deliveries += 1;
                kept.until = kept.until.into_iter().chain(until).min();
            }
            None => reasons.push(Kept { state, reason, deliveries: 1, until }),
        }
    }
    Ok(reasons)
}

fn shadows(policies: &[PolicyInfo]) -> Vec<ShadowStanding> {
    let standing = |policy: &PolicyInfo| {
        let tally = policy.shadow.as_ref()?;
        Some(ShadowStanding { policy: policy.name.clone(), asked: tally.asked, differs: tally.differences.values().sum() })
    };
    policies.iter().filter_map(standing).collect()
}

async fn status(control: Desk) -> Json<Status> {
    let generation = control.current.load_full();
    let counts = control.spool.counts().await;
    let listeners = control.listeners.iter().map(|(name, address)| Listener {
        name: name.clone(),
        address: address.to_string(),
        role: generation.config.receive.get(name).map(|listener| listener.role.to_string()).unwrap_or_default(),
    });
    Json(Status {
        schema: "secmx/status/v1".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        hostname: generation.config.hostname.to_string(),
        since: control.since,
        generation: control.reloader.standing(),
        listeners: listeners.collect(),
        queue: Queue { messages: counts.messages, deliveries: counts.deliveries, octets: counts.octets },
        suspensions: control.courier.orders.standing(control.clock.now()),
        // What cannot be read is said by `trouble`, or in the log.
        kept: kept(control.spool.as_ref()).await.unwrap_or_default(),
        decisions: DecisionLog { lost: control.courier.decisions.lost() },
        shadows: shadows(&generation.policies.policies()),
        trouble: control.spool.failed(),
    })
}
