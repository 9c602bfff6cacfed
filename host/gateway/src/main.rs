//! The program `secmx`. All of it is in the library; here is only how it ends.

use secmx::cli::{self, Exit};
use std::process::ExitCode;

fn main() -> ExitCode {
    secmx::lens::is_program();
    // A panic on this thread is our bug, whatever was asked. Its text has gone to standard error by then.
    std::panic::catch_unwind(cli::run).unwrap_or(Exit::Bug).into()
}
