//! A gateway as a process: SIGTERM and SIGINT drain it, SIGHUP reloads it or keeps what is in force and says why.

use crate::clock::Clock;
use crate::config::{Code, Config, Finding, Place, Severity};
use crate::gateway::Gateway;
use crate::generation::Generation;
use crate::log::Log;
use crate::workshop;
use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secmx_core::report::Event;
use secmx_policy::Runtime;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long open sessions and attempts may take to end once the gateway was told to.
const DRAIN: Duration = Duration::from_secs(30);

/// Runs until a signal ends it. `path` is read again at each SIGHUP.
pub async fn serve(config: Config, path: Option<&Path>) -> Result<()> {
    let log = Log::stderr(config.log.format, config.log.level)?;
    let outcome = run(config, path, log.clone()).await;
    // What a task still holds of the log would keep its last lines from being written.
    log.flush();
    outcome
}

async fn run(config: Config, path: Option<&Path>, log: Log) -> Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hup = signal(SignalKind::hangup())?;
    take_descriptors();
    let gateway = Gateway::start_from(path.map(Path::to_owned), config, Clock::system(), log).await?;
    let cause = loop {
        tokio::select! {
            _ = term.recv() => break "SIGTERM",
            _ = int.recv() => break "SIGINT",
            () = gateway.asked_to_leave() => break "secmx drain",
            // The log says what came of it.
            _ = hup.recv() => drop(gateway.reload_file()),
        }
    };
    gateway.drain(cause, DRAIN).await;
    Ok(())
}

/// Every connection takes a descriptor. Many systems give a process 1,024 at first, and as many as it may have when it asks.
fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // What stays as it was is still enough for a small gateway.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// What only the gateway can tell about a configuration that reads well: certificates, trust anchors, policies.
pub fn check(config: &Config, name: &str) -> Vec<Finding> {
    let silent = Arc::new(|_: &Event<'_>| ());
    let troubles = match Runtime::start(workshop::runtime_limits(config), workshop::beside(config), silent, Arc::default()) {
        Ok(runtime) => Generation::check(config, &runtime),
        Err(error) => vec![error.into()],
    };
    let finding = |error: anyhow::Error| Finding {
        place: Place { source: name.to_owned(), position: None },
        severity: Severity::Error,
        code: Code::Unusable,
        message: format!("{error:#}"),
    };
    troubles.into_iter().map(finding).collect()
}
