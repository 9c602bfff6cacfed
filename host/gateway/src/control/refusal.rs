//! Why a question was not answered: one sentence for people, one kind that becomes the exit code of the command.

use crate::cli::Exit;
use crate::spool::SpoolError;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// `secmx/error/v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// `secmx/error/v1`.
    pub(crate) schema: String,
    /// What kind it is.
    pub(crate) kind: Kind,
    /// One sentence, for whoever typed the command.
    pub(crate) message: String,
}

/// Kinds of refusal. Each is an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// It was not done.
    No,
    /// The question makes no sense.
    Usage,
    /// There is no such thing.
    NotFound,
    /// It cannot be told, or done, now.
    CannotTell,
    /// The configuration is invalid.
    Misconfigured,
}

impl Kind {
    /// How a command ends with it.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::No => Exit::No,
            Self::Usage => Exit::Usage,
            Self::NotFound => Exit::NotFound,
            Self::CannotTell => Exit::CannotTell,
            Self::Misconfigured => Exit::Misconfigured,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::No => StatusCode::CONFLICT,
            Self::Usage => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::CannotTell => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

impl Refusal {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { schema: "secmx/error/v1".into(), kind, message: message.into() }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }
}

impl From<SpoolError> for Refusal {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Gone => Self::not_found("it is not in the queue any more"),
            error => Self::new(Kind::CannotTell, error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.kind.status(), Json(self)).into_response()
    }
}
