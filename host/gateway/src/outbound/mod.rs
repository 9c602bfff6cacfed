//! Mail on its way out: what is due is claimed from the spool, tried, and settled there.
//!
//! This room meets the other one, `inbound`, only in the spool (invariant 8).

mod account;
mod call;
mod connector;
mod decide;
mod login;
mod notice;
mod pace;
mod pool;
mod scheduler;
mod scout;
mod search;
mod settle;
mod shares;
mod sign;
mod surrender;
mod transcript;
mod worker;

pub use pool::Pool;
pub use scheduler::Courier;
pub use scout::{Errand, Met, Planned, Scout, Sighting};
pub(crate) use search::timed;
pub use search::{Target, Took};
pub use surrender::give_up;
