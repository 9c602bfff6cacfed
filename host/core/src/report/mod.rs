//! What happened, said once: a reply, a failure, an event. Retries, bounces and logs all read the same values.

mod event;
mod failure;
mod status;

pub use event::{Event, PolicyMoment};
pub use failure::{Cause, EIGHT_BIT_MIME, Failure, REQUIRETLS};
pub use status::{EnhancedStatus, Reply};
