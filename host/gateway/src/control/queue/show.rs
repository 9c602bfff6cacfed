//! `GET /queue/messages/ID`: one message and its deliveries, as they stand. `…/body`: its octets.

use super::super::selector;
use super::super::{Control, Desk, Refusal};
use super::Entry;
use crate::control::selector::Found;
use crate::spool::{Among, Spool, SpoolError, Started};
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use secmx_core::queue::{Message, QueueId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Octets of a body that are read from the spool at a time.
const CHUNK: u64 = 256 * 1024;

/// Deliveries that are shown of one message.
const DELIVERIES_MAX: usize = 1000;

/// `secmx/queue-message/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    schema: String,
    /// The message: envelope, origin, tags.
    pub(crate) message: Message,
    /// Its header section, as text; what is not UTF-8 is replaced. At most 64 KiB.
    pub(crate) header: String,
    /// Its deliveries that are not over.
    pub(crate) deliveries: Vec<Attempted>,
}

/// One delivery and how it went so far.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attempted {
    /// As in a list.
    #[serde(flatten)]
    pub(crate) entry: Entry,
    /// The least level that its channel must prove.
    pub(crate) floor: String,
    /// What every exchanger said the last time, in order.
    pub(crate) answers: Vec<String>,
    /// The attempt that was begun and has no result yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<Started>,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/queue/messages/{id}", get(show)).route("/queue/messages/{id}/body", get(body))
}

async fn show(control: Desk, Path(id): Path<String>) -> Result<Json<Shown>, Refusal> {
    let id = selector::id(&id)?;
    shown(control.spool.as_ref(), id).await.map(Json)
}

/// A message in the queue, whole but for its body.
pub(crate) async fn shown(spool: &dyn Spool, id: QueueId) -> Result<Shown, Refusal> {
    let message = spool.message(id).await.map_err(|error| not_there(id, error))?;
    let beginning = spool.body(id, 0, 64 * 1024).await?;
    let end = beginning.windows(4).position(|window| window == b"\r\n\r\n").map_or(beginning.len(), |at| at + 2);
    let header = String::from_utf8_lossy(&beginning[..end]).into_owned();
    let mut deliveries = Vec::new();
    for delivery in spool.deliveries(&Among { messages: vec![id], ..Among::default() }, None, DELIVERIES_MAX).await? {
        let started = spool.unsettled(delivery.key).await?;
        let (floor, answers) = (delivery.floor.level().to_string(), delivery.last.iter().map(ToString::to_string).collect());
        let found = Found { delivery, message: message.clone() };
        deliveries.push(Attempted { entry: Entry::of(&found), floor, answers, started });
    }
    Ok(Shown { schema: "secmx/queue-message/v1".into(), message, header, deliveries })
}

pub(crate) fn not_there(id: QueueId, error: SpoolError) -> Refusal {
    match error {
        SpoolError::Gone => Refusal::not_found(format!("{id} is not in the queue; `secmx explain {id}` tells what became of it")),
        error => error.into(),
    }
}

/// Streamed from the spool; a body that turns out broken breaks the answer off.
async fn body(control: Desk, Path(id): Path<String>) -> Result<Body, Refusal> {
    let id = selector::id(&id)?;
    control.spool.message(id).await.map_err(|error| not_there(id, error))?;
    let spool = Arc::clone(&control.spool);
    let pieces = futures_util::stream::try_unfold(0, move |at| {
        let spool = Arc::clone(&spool);
        async move {
            let piece = spool.body(id, at, CHUNK).await?;
            let next = at + piece.len() as u64;
            Ok::<_, SpoolError>((!piece.is_empty()).then_some((piece, next)))
        }
    });
    Ok(Body::from_stream(pieces))
}
