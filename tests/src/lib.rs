//! What the tests of the whole share: a gateway in a played world, and the real binary under a test's control.

pub mod cases;
pub mod postfix;
pub mod process;
mod rig;

pub use process::{Process, binary};
pub use rig::{Rig, cache};
