//! The program `secmx`. All of it is in the library; here is only how it ends.

use secmx::cli::{self, Exit};
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// Messages are many small pieces of memory that live for a moment, on whichever thread (docs/decisions/allocator.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == secmx_policy::COMPILE) {
        return secmx_policy::compile_child(arguments);
    }
    secmx::lens::is_program();
    secmx::workshop::compile_in_children();
    // A panic on this thread is our bug, whatever was asked. Its text has gone to standard error by then.
    std::panic::catch_unwind(cli::run).unwrap_or(Exit::Bug).into()
}
