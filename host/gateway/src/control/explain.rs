//! `GET /explain/ID`: what happened to a message, in order, and how it stands, also when it is gone.

use super::queue::{Shown, shown};
use super::refusal::Kind;
use super::{Control, Desk, Refusal, selector};
use crate::history::History;
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use secmx_core::queue::QueueId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// `secmx/explain/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Explained {
    schema: String,
    /// The message.
    pub(crate) id: QueueId,
    /// How it stands, as long as it is in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queued: Option<Shown>,
    /// Lines of the log about it, the oldest first. The history is bounded, so the beginning may be missing.
    pub(crate) events: Vec<Value>,
    /// Lines of all messages that were not remembered since the gateway began, because they came too fast.
    pub(crate) left_out: u64,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/explain/{id}", get(explain))
}

async fn explain(control: Desk, Path(id): Path<String>) -> Result<Json<Explained>, Refusal> {
    let id = selector::id(&id)?;
    let queued = shown(control.spool.as_ref(), id).await.ok();
    let events = match control.log.history().cloned() {
        None => Vec::new(),
        Some(history) => {
            let found = tokio::task::spawn_blocking(move || history.about(&id.to_string())).await;
            let unreadable = |error: String| Refusal::new(Kind::CannotTell, format!("the history cannot be read: {error}"));
            found.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))?
        }
    };
    if queued.is_none() && events.is_empty() {
        let why = if control.log.history().is_none() {
            "; `history.keep` is 0, so nothing is remembered"
        } else {
            ", and nothing is remembered of it"
        };
        return Err(Refusal::not_found(format!("{id} is not in the queue{why}")));
    }
    let left_out = control.log.history().map_or(0, History::left_out);
    Ok(Json(Explained { schema: "secmx/explain/v1".into(), id, queued, events, left_out }))
}
