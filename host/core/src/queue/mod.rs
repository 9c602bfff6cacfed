//! What the queue holds and when it comes up again. No storage here: a spool keeps these values.

mod entry;
mod id;
mod schedule;
mod split;

pub use entry::{Delivery, DeliveryKey, Message, Origin, Standing, Via};
pub use id::QueueId;
pub use schedule::Schedule;
pub use split::{Sending, split};
