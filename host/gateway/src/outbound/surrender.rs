//! A delivery that a person gives up: it leaves the queue, and its sender is told as of any other that failed (RFC 5321, 6.1).

use super::scheduler::Courier;
use super::settle;
use super::worker::Job;
use crate::spool::SpoolError;
use secmx_core::queue::Delivery;
use secmx_core::report::Cause;

/// Returns a delivery that nobody is trying. Errors with [`SpoolError::Busy`] while somebody is.
pub async fn give_up(courier: &Courier, delivery: Delivery, cause: Cause) -> Result<(), SpoolError> {
    let message = courier.spool.message(delivery.key.id).await?;
    let job = Job::new(courier, message, delivery);
    settle::give_up(&job, &cause.into()).await
}
