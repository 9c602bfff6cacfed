//! `POST /queue/list`: deliveries by selector, a page at a time. `GET /queue/destinations`: how much waits for whom.

use super::super::selector::{Found, Selector};
use super::super::{Control, Desk, Refusal};
use axum::extract::Query;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use secmx_core::queue::{DeliveryKey, QueueId, Standing};
use secmx_core::role::SenderRole;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Entries of one answer at most.
const ENTRIES_MAX: usize = 1000;

/// What is asked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// Which.
    pub(crate) selector: Selector,
    /// Behind this delivery; from the beginning without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<DeliveryKey>,
    /// How many, at most 1000.
    pub(crate) limit: usize,
    /// Only those that a policy keeps for a person.
    #[serde(default)]
    pub(crate) quarantined: bool,
}

/// `secmx/queue-list/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entries {
    schema: String,
    /// In the order in which they were accepted.
    pub(crate) entries: Vec<Entry>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<DeliveryKey>,
}

/// One delivery: the recipients of a message that travel together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Queue id of the message.
    pub(crate) id: QueueId,
    /// Which of its deliveries.
    pub(crate) number: u32,
    /// Reverse-path; empty is `<>`.
    pub(crate) from: String,
    /// Recipients that wait.
    pub(crate) to: Vec<String>,
    /// Their domain.
    pub(crate) domain: String,
    /// `BES` or `SOS`.
    pub(crate) role: SenderRole,
    /// Whether it may run.
    pub(crate) state: State,
    /// Why it may not, in the operator's or the policy's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Code of the policy that quarantined it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Name of that policy, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// When a held one is let go by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// Attempts so far.
    pub(crate) attempts: u32,
    /// When the message was accepted.
    pub(crate) arrived: Timestamp,
    /// When it comes up.
    pub(crate) next: Timestamp,
    /// Size of the message.
    pub(crate) octets: u64,
    /// What the last exchanger said the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
}

/// Whether a delivery may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It comes up at its next time.
    Waiting,
    /// An operator keeps it back.
    Held,
    /// A policy keeps it for a person.
    Quarantined,
}

impl Entry {
    pub(crate) fn of(found: &Found) -> Self {
        let Found { delivery, message } = found;
        let (state, reason, code, policy, until) = match &delivery.standing {
            Standing::Due => (State::Waiting, None, None, None, None),
            Standing::Held { reason, until } => (State::Held, Some(reason.clone()), None, None, *until),
            Standing::Quarantined { code, text, by } => (State::Quarantined, Some(text.clone()), Some(code.clone()), by.clone(), None),
        };
        Self {
            id: delivery.key.id,
            number: delivery.key.number,
            from: message.envelope.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default(),
            to: delivery.recipients.iter().map(ToString::to_string).collect(),
            domain: delivery.domain.to_string(),
            role: delivery.role,
            state,
            reason,
            code,
            policy,
            until,
            attempts: delivery.attempts,
            arrived: message.arrived,
            next: delivery.next,
            octets: message.octets,
            last: delivery.last.last().map(ToString::to_string),
        }
    }
}

/// `secmx/queue-destinations/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Destinations {
    schema: String,
    /// The busiest first.
    pub(crate) destinations: Vec<DestinationRow>,
    /// Messages in the whole queue.
    pub(crate) messages: u64,
    /// Octets of the whole queue.
    pub(crate) octets: u64,
}

/// What waits for one destination.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DestinationRow {
    /// The domain.
    pub(crate) domain: String,
    /// Deliveries that wait for their time or their turn.
    pub(crate) waiting: u64,
    /// Deliveries that are under way.
    pub(crate) under_way: u64,
    /// Deliveries that are held or quarantined.
    pub(crate) kept: u64,
    /// Octets of all of them.
    pub(crate) octets: u64,
    /// When the oldest message was accepted.
    pub(crate) oldest: Timestamp,
    /// When the first of those that wait comes up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Timestamp>,
    /// Role of the delivery that was tried most often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<SenderRole>,
    /// What was answered to it the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// Until when an operator has suspended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) suspended_until: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Most {
    limit: Option<usize>,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/queue/list", post(list)).route("/queue/destinations", get(destinations))
}

async fn list(control: Desk, Json(asked): Json<Listing>) -> Result<Json<Entries>, Refusal> {
    let wanted = asked.selector.read(control.clock.now())?;
    if asked.after.is_none() {
        wanted.must_be_there(control.spool.as_ref()).await?;
    }
    let wanted = if asked.quarantined { wanted.kept_back(true) } else { wanted };
    let (mut entries, mut after, limit) = (Vec::new(), asked.after, asked.limit.clamp(1, ENTRIES_MAX));
    while let Some(found) = wanted.next(control.spool.as_ref(), &mut after).await? {
        let shown = |entry: &Entry| !asked.quarantined || entry.state == State::Quarantined;
        entries.extend(found.iter().map(Entry::of).filter(shown));
        if entries.len() >= limit {
            let more = entries.len() > limit;
            entries.truncate(limit);
            let last = entries.last().map(|entry| DeliveryKey { id: entry.id, number: entry.number });
            let after = if more { last } else { after };
            return Ok(Json(Entries { schema: "secmx/queue-list/v1".into(), entries, after }));
        }
    }
    Ok(Json(Entries { schema: "secmx/queue-list/v1".into(), entries, after: None }))
}

async fn destinations(control: Desk, Query(most): Query<Most>) -> Json<Destinations> {
    let orders = control.courier.orders.standing(control.clock.now());
    let mut rows = Vec::new();
    for found in control.spool.destinations().await.into_iter().take(most.limit.unwrap_or(50)) {
        // It may have left in between: then nobody knows what was answered last.
        let tried = control.spool.delivery(found.tried).await.ok();
        rows.push(DestinationRow {
            suspended_until: orders.iter().filter(|order| order.covers(&found.domain)).map(|order| order.until).max(),
            domain: found.domain.to_string(),
            waiting: found.waiting,
            under_way: found.under_way,
            kept: found.held,
            octets: found.octets,
            oldest: found.oldest.time(),
            next: found.next,
            role: tried.as_ref().map(|delivery| delivery.role),
            last: tried.and_then(|delivery| delivery.last.last().map(ToString::to_string)),
        });
    }
    let counts = control.spool.counts().await;
    let schema = "secmx/queue-destinations/v1".into();
    Json(Destinations { schema, destinations: rows, messages: counts.messages, octets: counts.octets })
}
