//! `GET /tls-reports`: what was counted of TLS with other domains and is not reported yet, as the reports would be sent.

use super::refusal::Kind;
use super::{Control, Desk, Refusal};
use crate::tls_rpt::{self, Due};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// `secmx/tls-reports/v1`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reports {
    schema: String,
    /// Whether reports are sent at all.
    pub(crate) send: bool,
    /// The days and domains, the oldest first.
    pub(crate) reports: Vec<Counted>,
}

/// One domain on one day.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// The day, UTC.
    pub(crate) date: String,
    /// The domain.
    pub(crate) domain: String,
    /// Where its record wants the report; nowhere when it has none.
    pub(crate) places: Vec<String>,
    /// The report (RFC 8460, 4.4).
    pub(crate) report: Value,
}

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/tls-reports", get(reports))
}

async fn reports(control: Desk) -> Result<Json<Reports>, Refusal> {
    let generation = control.current.load_full();
    let unreadable = |error: String| Refusal::new(Kind::CannotTell, error);
    let due = tls_rpt::due(&generation, &control.courier.reports).await.map_err(|error| unreadable(error.to_string()))?;
    let counted = |due: Due| -> Result<Counted, Refusal> {
        let report = serde_json::from_str(&due.json).map_err(|error| unreadable(error.to_string()))?;
        Ok(Counted { date: due.date.to_string(), domain: due.domain.to_string(), places: due.places, report })
    };
    let reports = due.into_iter().map(counted).collect::<Result<_, _>>()?;
    Ok(Json(Reports { schema: "secmx/tls-reports/v1".into(), send: generation.config.report.tlsrpt.send, reports }))
}
