//! The control socket: what an operator asks of a running gateway, over HTTP and JSON on a Unix socket.
//!
//! Who may open the socket may ask everything; the operating system says who is asking, and the log says what they changed. An endpoint
//! is one file here, with its routes and the shape of its answer, and one file in `cli` that asks it. The paths begin with `/api/v1`;
//! every object begins with its `schema`, and fields are only ever added to it.

mod caller;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod policies;
pub(crate) mod queue;
pub(crate) mod refusal;
pub(crate) mod reload;
pub(crate) mod reports;
pub(crate) mod selector;
mod socket;
pub(crate) mod status;
pub(crate) mod suspend;

pub(crate) use caller::Caller;
pub(crate) use refusal::Refusal;
pub use socket::Socket;

use crate::clock::Clock;
use crate::generation::Current;
use crate::log::Log;
use crate::outbound::Courier;
use crate::reload::Reloader;
use crate::spool::Spool;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use jiff::Timestamp;
use secmx_core::report::Event;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Octets of a question. An operator's selector is short; a list of ids may not be.
const QUESTION_OCTETS_MAX: usize = 4 << 20;

/// What every endpoint can get at. [`Desk`] is how one asks for it.
pub(crate) struct Control {
    /// Configuration and policies in force.
    pub(crate) current: Current,
    /// The queue.
    pub(crate) spool: Arc<dyn Spool>,
    /// The log, which is the audit log too.
    pub(crate) log: Log,
    /// The time.
    pub(crate) clock: Clock,
    /// What carries mail out, and what it is told to leave alone.
    pub(crate) courier: Courier,
    /// Puts another generation in force.
    pub(crate) reloader: Arc<Reloader>,
    /// Name and address of each listener.
    pub(crate) listeners: Vec<(String, SocketAddr)>,
    /// When the gateway began.
    pub(crate) since: Timestamp,
    /// Cancelled when an operator wants the gateway to end.
    pub(crate) leave: CancellationToken,
}

/// The state of a handler.
pub(crate) type Desk = State<Arc<Control>>;

/// All endpoints.
fn router() -> Router<Arc<Control>> {
    let endpoints = Router::new()
        .merge(status::routes())
        .merge(reload::routes())
        .merge(drain::routes())
        .merge(queue::routes())
        .merge(suspend::routes())
        .merge(policies::routes())
        .merge(explain::routes())
        .merge(reports::routes());
    Router::new()
        .nest("/api/v1", endpoints)
        .fallback(|| async { Refusal::not_found("this gateway has no such endpoint; is it older than this `secmx`?") })
        .layer(DefaultBodyLimit::max(QUESTION_OCTETS_MAX))
}

impl Control {
    /// Answers until `stop`; questions that are being answered then are finished.
    pub(crate) async fn serve(self, socket: Socket, stop: CancellationToken) {
        let log = self.log.clone();
        let service = router().with_state(Arc::new(self)).into_make_service_with_connect_info::<Caller>();
        let (listener, _path) = socket.into_parts();
        let served = axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            log.write(&Event::Warning { text: format!("the control socket is closed: {error}") });
        }
    }

    /// Writes down what a caller changed.
    pub(crate) fn audit(&self, caller: &Caller, action: &str, reason: Option<&str>, detail: String) {
        self.log.write(&Event::Operated { user: caller.name(), uid: caller.uid, pid: caller.pid, action, reason, detail });
    }
}
