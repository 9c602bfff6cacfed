//! `POST /reload` and `POST /policies/reload`: another generation, or the reason why not.

use super::refusal::Kind;
use super::{Caller, Control, Desk, Refusal};
use crate::reload::{Refused, Reloaded};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `secmx/reload/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    schema: String,
    /// What is in force now, and how it differs from before.
    #[serde(flatten)]
    pub(crate) reloaded: Reloaded,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/reload", post(async |desk: Desk, caller: Caller| reload(desk, caller, "reload").await))
        .route("/policies/reload", post(async |desk: Desk, caller: Caller| reload(desk, caller, "policy reload").await))
}

async fn reload(control: Desk, caller: Caller, action: &'static str) -> Result<Json<Answer>, Refusal> {
    let reloader = Arc::clone(&control.reloader);
    let from_file = action == "reload";
    let work = move || if from_file { reloader.from_file() } else { reloader.again() };
    let outcome = tokio::task::spawn_blocking(work).await.map_err(|error| Refusal::new(Kind::CannotTell, error.to_string()))?;
    let detail = match &outcome {
        Ok(reloaded) => reloaded.in_words(),
        Err(refused) => refused.to_string(),
    };
    control.audit(&caller, action, None, detail);
    outcome.map(|reloaded| Json(Answer { schema: "secmx/reload/v1".into(), reloaded })).map_err(|refused| {
        let kind = if matches!(refused, Refused::Findings(_) | Refused::Unusable(_)) { Kind::Misconfigured } else { Kind::No };
        Refusal::new(kind, refused.to_string())
    })
}
