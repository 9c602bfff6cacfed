//! What the tests of the whole share: the real binary under a test's control.

mod process;

pub use process::Process;
