//! The command line: what can be asked, and how the answer comes back.
//!
//! Standard output is the answer, standard error is progress and hints. Every command ends with one of the codes in [`Exit`].

mod answer;
mod certs;
mod command;
mod dkim;
mod dns;
mod drain;
mod exit;
mod explain;
mod journal;
mod lab;
mod look;
mod policy;
mod probe;
mod quarantine;
mod queue;
mod reload;
mod remote;
mod route;
mod status;
mod tlsrpt;
mod words;

pub use exit::Exit;

use crate::config::Config;
use crate::{dev, serve, users};
use anyhow::{Context, Result};
use clap::Parser;
use clap::error::ErrorKind;
use command::{Command, Origin, Program};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Runs what the arguments of this process ask for.
pub fn run() -> Exit {
    match Program::try_parse() {
        Ok(program) => obey(program.command).unwrap_or_else(|error| complain(&error)),
        Err(error) => {
            // Only a closed terminal keeps this from being read.
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Yes,
                _ => Exit::Usage,
            }
        }
    }
}

fn obey(command: Command) -> Result<Exit> {
    match command {
        Command::Serve { from } => serve(from.config),
        Command::Check { from, json } => check(from.config.as_deref(), json),
        Command::Dev { once, json } => runtime()?.block_on(dev::run(once, json)),
        Command::Probe(options) => probe::run(&options),
        Command::Route(options) => route::run(&options),
        Command::Certs { what } => certs::obey(what),
        Command::Lab { what } => lab::obey(what),
        Command::Dns { what } => dns::obey(what),
        Command::Dkim { what } => dkim::obey(what),
        Command::Status(asking) => status::run(&asking),
        Command::Reload(asking) => reload::run(&asking, "/reload"),
        Command::Drain(asking) => drain::run(&asking),
        Command::Explain(options) => explain::run(&options),
        Command::Queue { what } => queue::obey(what),
        Command::Quarantine { what } => quarantine::obey(what),
        Command::Tlsrpt { what } => tlsrpt::obey(&what),
        Command::Journal { what } => journal::obey(what),
        Command::Policy { what } => policy::obey(what),
        Command::User { name } => user(&name),
        Command::ReadDocument { memory, text, time } => {
            std::process::exit(secmx_policy::read_document(memory, text, Duration::from_millis(time)))
        }
        Command::Version => say(&format!("secmx {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

/// Runs the gateway until it is told to stop.
fn serve(path: Option<PathBuf>) -> Result<Exit> {
    let (config, warnings) = match Config::load(path.as_deref()) {
        Ok(loaded) => loaded,
        Err(findings) => {
            hint(&answer::findings(&findings, answer::stderr_has_colours()));
            return Ok(Exit::Misconfigured);
        }
    };
    hint(&answer::findings(&warnings, answer::stderr_has_colours()));
    runtime()?.block_on(serve::serve(config, path.as_deref()))?;
    Ok(Exit::Yes)
}

/// Says what a configuration comes to.
fn check(path: Option<&Path>, json: bool) -> Result<Exit> {
    let (config, mut findings) = match Config::load(path) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(findings) => (None, findings),
    };
    let name = path.map_or("built-in defaults (no file; name one with -c)".to_owned(), |path| path.display().to_string());
    findings.extend(config.as_ref().map(|config| serve::check(config, &name)).unwrap_or_default());
    let answer = if json {
        answer::json(&findings)?
    } else {
        let summary = config.as_ref().map(|config| answer::summary(&name, config)).unwrap_or_default();
        answer::findings(&findings, answer::stdout_has_colours()) + &summary + &answer::count(&findings)
    };
    say(&answer)?;
    Ok(if answer::is_good(&findings) { Exit::Yes } else { Exit::Misconfigured })
}

/// Makes the line of a user.
fn user(name: &str) -> Result<Exit> {
    if std::io::stdin().is_terminal() {
        hint(&format!("Password of {name} (it is shown): "));
    }
    let mut password = String::new();
    std::io::stdin().read_line(&mut password).context("cannot read the password from standard input")?;
    let line = users::line(name, password.trim_end_matches(['\r', '\n']))?;
    say(&format!("{line}\n"))
}

/// Threads that carry everything; a second one even on one core, so that a long step on one never stops the mail.
fn runtime() -> Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread().worker_threads(cores.max(2)).enable_all().build().context("cannot start the threads")
}

/// The answer. A reader that has gone away (`secmx check | head -1`) is no error.
fn say(answer: &str) -> Result<Exit> {
    match std::io::stdout().lock().write_all(answer.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write the answer"),
        _ => Ok(Exit::Yes),
    }
}

fn hint(text: &str) {
    // There is nobody left to tell when standard error is gone.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn complain(error: &anyhow::Error) -> Exit {
    hint(&format!("secmx: {error:#}\n"));
    Exit::of(error)
}
