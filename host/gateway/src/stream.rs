//! A connection that starts in the clear and may become secure on the way.

use tokio::io::{AsyncRead, AsyncWrite};

/// What TLS and SMTP both read and write.
pub(crate) trait Octets: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Octets for T {}

/// A connection in whatever protection it has.
pub(crate) type Stream = Box<dyn Octets>;
