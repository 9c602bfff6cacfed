//! SMTP as values (RFC 5321): grammar, the strict octet codec, and both ends of a session.
//!
//! Nothing here has a socket, a clock or a thread. Both sessions speak through the same codec and the same replies, so the one can be
//! tested against the other.

// A test may index what it has just made; what reads a peer's octets may not.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod client;
pub mod command;
pub mod content;
mod line;
pub mod reply;
pub mod server;
