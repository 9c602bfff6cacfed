//! Compiling in a process of its own. Compilers are no sandbox: a component that makes one take hours or all memory takes them from a
//! process that is nice, has limits, and is not the one that takes mail.
//!
//! The child is a program that calls [`compile_child`]: the component comes on its standard input, the compiled code or one line of error
//! goes out. It puts itself under its limits before it reads a single octet, and has no environment and no file open but these.

use super::{Failure, native::Native};
use crate::sandbox;
use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use wasmtime::Engine;

/// The argument that makes `secmx` such a child.
pub const COMPILE: &str = "compile-policy";

/// Octets of compiled code that are taken from a child.
const CODE_OCTETS_MAX: u64 = 1 << 30;

/// Octets of text that are taken from a child.
const TEXT_OCTETS_MAX: u64 = 4 << 10;

/// What the child of a gateway yields to others.
const NICENESS: i32 = 10;

/// Limits of compiling one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space of the process, octets.
    pub memory_bytes: u64,
    /// Time on the processor, of all its threads together, in whole seconds.
    pub time: Duration,
    /// Time on the wall.
    pub wall: Duration,
    /// Size of a component, octets. A larger one is not even begun with.
    pub component_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { memory_bytes: 4 << 30, time: Duration::from_secs(120), wall: Duration::from_secs(300), component_bytes: 64 << 20 }
    }
}

/// Compiles in a child of `program`, and waits for it.
pub(super) fn compile(program: &Path, component: &[u8], metered: bool, limits: &CompileLimits) -> Result<Native, Failure> {
    let cannot = |error: io::Error| Failure::Stopped(format!("the compiling process {} cannot be started: {error}", program.display()));
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    executor.block_on(async {
        let mut command = Command::new(program);
        command.arg(COMPILE).arg(u8::from(metered).to_string());
        command.arg(limits.memory_bytes.to_string()).arg(seconds(limits.time).to_string());
        command.env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(cannot)?;
        match tokio::time::timeout(limits.wall, converse(&mut child, component)).await {
            Ok(Ok(output)) if output.status.success() => Ok(Native::from_our_compiler(output.stdout)),
            Ok(Ok(output)) => Err(why(&output, limits)),
            Ok(Err(error)) => Err(Failure::Stopped(error.to_string())),
            Err(_) => {
                Err(Failure::Stopped(format!("it took more than {} s; `policies.compile.wall` allows more", limits.wall.as_secs_f32())))
            }
        }
    })
}

/// Hands over the component and takes what comes back, never more than is bearable.
async fn converse(child: &mut Child, component: &[u8]) -> io::Result<Output> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let hand_over = async {
        if let Some(mut stdin) = stdin {
            // A child that ends early says why on its own.
            let _ = stdin.write_all(component).await;
        }
    };
    let (_, stdout, stderr) = tokio::join!(hand_over, taken(stdout, CODE_OCTETS_MAX), taken(stderr, TEXT_OCTETS_MAX));
    let (stdout, stderr) = (stdout?, stderr?);
    if stdout.len() as u64 == CODE_OCTETS_MAX {
        return Err(io::Error::other(format!("the compiled code is larger than {}", crate::units::octets(CODE_OCTETS_MAX))));
    }
    Ok(Output { status: child.wait().await?, stdout, stderr })
}

async fn taken(from: Option<impl AsyncRead + Unpin>, octets_max: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    if let Some(from) = from {
        from.take(octets_max).read_to_end(&mut octets).await?;
    }
    Ok(octets)
}

fn seconds(time: Duration) -> u64 {
    time.as_secs().max(1)
}

/// What became of a child that gave nothing.
fn why(output: &Output, limits: &CompileLimits) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    if output.status.code() == Some(REFUSED) {
        return Failure::Refused(said);
    }
    let octets = crate::units::octets(limits.memory_bytes);
    Failure::Stopped(match output.status.signal() {
        Some(signal) if signal == Signal::XCPU.as_raw() => {
            format!("it took more than {} s of processor time; `policies.compile.time` allows more", seconds(limits.time))
        }
        Some(signal) if signal == Signal::ABORT.as_raw() && said.contains("memory allocation") => {
            format!("it took more than {octets} of memory; `policies.compile.memory` allows more")
        }
        _ => format!("{}: {said} (limits: {octets} of memory, {} s of processor time)", ended(output.status), seconds(limits.time)),
    })
}

fn ended(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("the compiling process was ended by signal {signal}"),
        None => format!("the compiling process ended with {}", status.code().unwrap_or_default()),
    }
}

/// Exit code of a child that was asked to compile what cannot be compiled.
const REFUSED: i32 = 3;

/// The whole of a child; `arguments` are those behind [`COMPILE`].
pub fn compile_child(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<u64> = arguments.filter_map(|argument| argument.to_str()?.parse().ok()).collect();
    let &[metered, memory_bytes, seconds] = arguments.as_slice() else {
        return fail(2, &format!("{COMPILE} is not for people: the gateway starts it to compile a policy"));
    };
    // Who counts instructions is an author who waits for it, with no mail to yield to.
    let niceness = if metered == 1 { 0 } else { NICENESS };
    if let Err(error) = confine(memory_bytes, seconds, niceness) {
        return fail(2, &format!("limits cannot be set: {error}"));
    }
    let mut component = Vec::new();
    if let Err(error) = io::stdin().lock().read_to_end(&mut component) {
        return fail(2, &format!("the component cannot be read: {error}"));
    }
    let compiled = Engine::new(&sandbox::config(None, metered == 1)).and_then(|engine| engine.precompile_component(&component));
    match compiled {
        Ok(code) => match io::stdout().lock().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(2, &format!("the code cannot be handed over: {error}")),
        },
        Err(error) => fail(REFUSED as u8, &format!("{error:#}")),
    }
}

/// Puts this process under limits, and lets it go when its parent goes.
fn confine(memory_bytes: u64, seconds: u64, niceness: i32) -> io::Result<()> {
    let at_most = |octets| Rlimit { current: Some(octets), maximum: Some(octets) };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    nice(niceness)?;
    setrlimit(Resource::Core, at_most(0))?;
    // It opens no file and starts no program; threads are its compilers.
    setrlimit(Resource::Fsize, at_most(0))?;
    setrlimit(Resource::As, at_most(memory_bytes))?;
    // The first ends it with a signal that says why, the second if it did not listen.
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) })?;
    Ok(())
}

fn fail(code: u8, text: &str) -> ExitCode {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

/// This program, as it runs: also when its file was replaced by a newer one since.
pub fn this_program() -> PathBuf {
    let running = Path::new("/proc/self/exe");
    if running.exists() { running.to_owned() } else { std::env::current_exe().unwrap_or_else(|_| running.to_owned()) }
}
