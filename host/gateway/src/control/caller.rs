//! Who is asking, as the operating system says (SO_PEERCRED): nothing that the other side could claim.

use axum::extract::FromRequestParts;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::request::Parts;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

/// The process at the other end of the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// User id.
    pub(crate) uid: u32,
    /// Process id, when the system tells it.
    pub(crate) pid: Option<i32>,
    /// Name of the user, when the system knows one.
    user: Option<String>,
}

impl Caller {
    /// The name for the audit log.
    pub(crate) fn name(&self) -> &str {
        self.user.as_deref().unwrap_or("unknown")
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        // Without credentials it is nobody we know; the permissions of the socket have let it in all the same.
        let Ok(peer) = stream.io().peer_cred() else { return Self { uid: u32::MAX, pid: None, user: None } };
        let user = uzers::get_user_by_uid(peer.uid()).map(|user| user.name().to_string_lossy().into_owned());
        Self { uid: peer.uid(), pid: peer.pid(), user }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = <ConnectInfo<Self> as FromRequestParts<S>>::Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        ConnectInfo::<Self>::from_request_parts(parts, state).await.map(|ConnectInfo(caller)| caller)
    }
}
