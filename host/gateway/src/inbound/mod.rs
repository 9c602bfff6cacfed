//! Mail on its way in: listeners, sessions, and the step into the spool.
//!
//! This room meets the other one, `outbound`, only in the spool (invariant 8).

mod ahead;
mod author;
mod content;
mod decide;
mod door;
mod intake;
mod pace;
mod proxy;
mod release;
mod sasl;
mod session;

pub use ahead::CallAhead;
pub use content::Intake;
pub use door::Door;
pub use release::{Released, Releasing, release};

use crate::clock::Clock;
use crate::decisions::Decisions;
use crate::generation::Current;
use crate::log::Log;
use crate::spool::Spool;
use std::sync::Arc;

/// What every session needs.
pub struct Desk {
    /// Configuration and policies; taken anew for each transaction.
    pub current: Current,
    /// Where accepted mail goes.
    pub spool: Arc<dyn Spool>,
    /// Where decisions of policies are written down.
    pub decisions: Decisions,
    /// The log.
    pub log: Log,
    /// The time.
    pub clock: Clock,
    /// Where messages come in.
    pub intake: Intake,
    /// What hosts inside said about who is there.
    pub ahead: CallAhead,
}
