//! `POST /drain`: no new sessions, open ones end, then the process does. What SIGTERM asks for.

use super::{Caller, Control, Desk};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `secmx/drain/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    schema: String,
    /// The process that will end.
    pub(crate) pid: u32,
    /// Messages that stay in the queue for the next start, unless they leave before.
    pub(crate) messages: u64,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/drain", post(drain))
}

async fn drain(control: Desk, caller: Caller) -> Json<Answer> {
    control.audit(&caller, "drain", None, "the gateway ends".into());
    control.leave.cancel();
    Json(Answer { schema: "secmx/drain/v1".into(), pid: std::process::id(), messages: control.spool.counts().await.messages })
}
