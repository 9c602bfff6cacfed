//! `/suspensions`: destinations whose mail waits until an order ends.

use super::refusal::Kind;
use super::selector;
use super::{Caller, Control, Desk, Refusal};
use crate::orders::Suspension;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Suspend {
    /// `@health.example`, `@*.govt.nz`.
    pub(crate) to: String,
    /// How long, seconds.
    pub(crate) for_s: u64,
    /// Why.
    pub(crate) reason: String,
}

/// What is asked to end one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Resume {
    /// As it was said when it was suspended.
    pub(crate) to: String,
}

/// `secmx/suspensions/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Suspensions {
    schema: String,
    /// Those that hold, or the one that was changed.
    pub(crate) suspensions: Vec<Suspension>,
}

impl Suspensions {
    fn of(suspensions: Vec<Suspension>) -> Json<Self> {
        Json(Self { schema: "secmx/suspensions/v1".into(), suspensions })
    }
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/suspensions", get(async |control: Desk| Suspensions::of(control.courier.orders.standing(control.clock.now()))))
        .route("/suspensions", post(suspend))
        .route("/suspensions/end", post(resume))
}

/// The destinations meant, in the words of `send.rule.to`. One address cannot be suspended: its domain shares its connections.
fn destinations(text: &str) -> Result<String, Refusal> {
    match selector::address(text)? {
        crate::config::Pattern::Mailbox(_) => Err(Refusal::usage(format!(
            "`{text}` is one address; whole destinations are suspended: --to @DOMAIN. `secmx queue hold --to {text}` holds its mail"
        ))),
        pattern => Ok(pattern.to_string()),
    }
}

fn unwritten(error: &anyhow::Error) -> Refusal {
    Refusal::new(Kind::CannotTell, format!("{error:#}"))
}

async fn suspend(control: Desk, caller: Caller, Json(asked): Json<Suspend>) -> Result<Json<Suspensions>, Refusal> {
    if asked.reason.trim().is_empty() {
        return Err(Refusal::usage("--reason is missing: the audit log keeps why"));
    }
    let now = control.clock.now();
    let length = SignedDuration::try_from(Duration::from_secs(asked.for_s)).ok();
    let until = length.and_then(|length| now.checked_add(length).ok()).ok_or_else(|| Refusal::usage("--for is too long"))?;
    let (to, by) = (destinations(&asked.to)?, caller.name().to_owned());
    let order = Suspension { to, until, reason: asked.reason, by, since: now };
    control.courier.orders.suspend(order.clone()).map_err(|error| unwritten(&error))?;
    control.audit(&caller, "queue suspend", Some(&order.reason), format!("mail to {} waits until {}", order.to, order.until));
    Ok(Suspensions::of(vec![order]))
}

async fn resume(control: Desk, caller: Caller, Json(asked): Json<Resume>) -> Result<Json<Suspensions>, Refusal> {
    let to = destinations(&asked.to)?;
    let ended = control.courier.orders.resume(&to, control.clock.now()).map_err(|error| unwritten(&error))?;
    let Some(order) = ended else {
        return Err(Refusal::not_found(format!("{} is not suspended in these words; `secmx status` lists what is", asked.to)));
    };
    control.audit(&caller, "queue resume", None, format!("mail to {} goes again", order.to));
    Ok(Suspensions::of(vec![order]))
}
