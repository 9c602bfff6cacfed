//! Reports to domains about how TLS with their hosts went (RFC 8460): what is counted while mail is sent, and what is sent once a day.
//!
//! Counting is an addition in memory; no mail waits for a look-up, a file or a report.

mod books;
mod letter;
mod reporter;

pub use books::Books;
pub(crate) use reporter::day_of;
pub use reporter::{Due, Reporter, due};

/// Name of the listener that reports seem to come from: what is sent under it is a report, and sessions that carry it are not counted.
pub const LISTENER: &str = "tls-report";
