//! Compiling in a child, shown with this program as its own child. It has a `main` of its own because a test harness would talk on the
//! child's standard output.

use secmx_policy::{COMPILE, CompileLimits, LoadError, PolicyInfo, PolicySource, Runtime, RuntimeLimits, Workshop, compile_child, shipped};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == COMPILE) {
        return compile_child(arguments);
    }
    let tests: [(&str, fn()); 5] = [
        ("what a child compiled runs here", what_a_child_compiled_runs_here),
        ("what cannot be compiled is refused with the compiler's words", what_cannot_be_compiled_is_refused),
        ("s8: a component that takes for ever to compile is stopped", s8_time_ends),
        ("s8: a component that takes all memory to compile is stopped", s8_memory_ends),
        ("a child that does not end is killed", a_child_that_does_not_end_is_killed),
    ];
    for (name, test) in tests {
        let started = Instant::now();
        test();
        println!("test {name} ... ok ({} ms)", started.elapsed().as_millis());
    }
    ExitCode::SUCCESS
}

/// Loads a component that a child of `program` compiles within `limits`.
fn load(component: &[u8], program: &Path, limits: CompileLimits) -> Result<PolicyInfo, LoadError> {
    let workshop = Workshop { program: Some(program.to_owned()), limits, ..Workshop::default() };
    let limits = RuntimeLimits { concurrent_questions: 2, ..RuntimeLimits::default() };
    let runtime = Runtime::start(limits, workshop, Arc::new(|_| ()), Arc::default()).expect("an engine");
    PolicyInfo::of(&runtime, &PolicySource::new("p", component.to_vec(), "{}"))
}

fn here(component: &[u8], limits: CompileLimits) -> Result<PolicyInfo, LoadError> {
    load(component, &secmx_policy::this_program(), limits)
}

/// Why it was stopped.
fn stopped(outcome: Result<PolicyInfo, LoadError>) -> String {
    match outcome {
        Err(LoadError::NotCompiled { detail, .. }) => detail,
        other => panic!("{other:?}"),
    }
}

fn what_a_child_compiled_runs_here() {
    let component = shipped("attachments").expect("it is shipped");
    let info = here(component, CompileLimits::default()).expect("it loads, and its setup.check has answered");
    assert_eq!(info.interfaces, ["setup", "content"]);
}

fn what_cannot_be_compiled_is_refused() {
    let component = wat::parse_str("(component (core module (func (result i32) i64.const 0)))").expect("text");
    match here(&component, CompileLimits::default()) {
        Err(LoadError::NotAComponent { detail, .. }) => assert!(detail.contains("type mismatch"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

/// A component with functions that a compiler has much to do with.
fn bomb() -> Vec<u8> {
    let mut text = "(component (core module ".to_owned();
    let mut body = "(local i64 i64)".to_owned();
    for n in 0..6_000 {
        let _ = write!(
            body,
            "(if (i32.wrap_i64 (local.get {})) (then (local.set {} (i64.mul (local.get 0) (i64.rotl (local.get 1) (i64.const {n}))))))",
            n % 3,
            1 + n % 2
        );
    }
    for _ in 0..8 {
        let _ = write!(text, "(func (param i64) {body})");
    }
    wat::parse_str(text + "))").expect("text")
}

fn s8_time_ends() {
    let limits = CompileLimits { time: Duration::from_secs(1), ..CompileLimits::default() };
    let detail = stopped(here(&bomb(), limits));
    assert_eq!(detail, "it took more than 1 s of processor time; `policies.compile.time` allows more");
}

fn s8_memory_ends() {
    let limits = CompileLimits { memory_bytes: 64 << 20, ..CompileLimits::default() };
    let detail = stopped(here(&bomb(), limits));
    assert!(detail.contains("64 MiB of memory"), "{detail}");
}

fn a_child_that_does_not_end_is_killed() {
    let limits = CompileLimits { wall: Duration::from_millis(1), ..CompileLimits::default() };
    let started = Instant::now();
    let detail = stopped(here(&bomb(), limits));
    assert_eq!(detail, "it took more than 0.001 s; `policies.compile.wall` allows more");
    assert!(started.elapsed() < Duration::from_secs(30));
}
