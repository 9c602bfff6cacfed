//! TLS in both directions, through rustls (RFC 3207, RFC 8446, RFC 5246). Nothing older than TLS 1.2 is spoken.
//!
//! This room says what a handshake proved; whether that is enough is decided in `secmx-core`.

mod client;
mod crl;
mod dane;
mod facts;
mod identity;
mod pkix;
mod server;
mod sound;
mod witness;

pub use client::{ClientTls, Expected};
pub use crl::{RevocationList, Revocations};
pub use identity::Identity;
pub(crate) use identity::write_private;
pub use pkix::{Anchors, Terms};
pub use server::ServerTls;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::{Arc, LazyLock};

/// The one cryptographic provider; X25519MLKEM768 is its first choice of group.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The one cryptographic provider, shared.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}
