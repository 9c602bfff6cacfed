//! Mail on its way out: what is due is claimed from the spool, tried, and settled there.
//!
//! This room meets the other one, `inbound`, only in the spool (invariant 8).

mod call;
mod connector;
mod decide;
mod notice;
mod scheduler;
mod settle;
mod worker;

pub use scheduler::Courier;
