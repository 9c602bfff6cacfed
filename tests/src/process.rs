//! `secmx serve` as a child process: its log is read line by line, and it can be ended in every way a real one can.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a test waits for an event that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway. It is killed when this value goes.
pub struct Process {
    child: Child,
    events: Receiver<Value>,
    seen: Vec<Value>,
}

impl Process {
    /// Starts `secmx serve -c config` in the directory of `config` and waits until it listens. The configuration must log JSON.
    pub fn serve(config: &Path) -> Result<Self> {
        Self::serve_under(&[], config)
    }

    /// The same with a program and its arguments in front, which must become the gateway itself (`strace -D` does).
    pub fn serve_under(wrapper: &[&str], config: &Path) -> Result<Self> {
        let directory = config.parent().context("a configuration lies in a directory")?;
        let binary = binary()?;
        let mut command = match wrapper {
            [] => Command::new(binary),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        let mut child = command
            .args(["serve", "-c"])
            .arg(config)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start secmx")?;
        let log = child.stderr.take().context("no log")?;
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let mut process = Self { child, events, seen: Vec::new() };
        process.wait_for("gateway.ready", |_| true)?;
        Ok(process)
    }

    /// The next event of that name for which `wanted` holds, or one that was seen already. Errors with the whole log when none comes.
    pub fn wait_for(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let fits = |event: &Value| event["event"] == name && wanted(event);
        if let Some(event) = self.seen.iter().find(|event| fits(event)) {
            return Ok(event.clone());
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if fits(&event) {
                        return Ok(event);
                    }
                }
                Err(reason) => bail!("no {name} ({}); the log:\n{}", why(reason), self.log()),
            }
        }
    }

    /// Everything logged so far, one line an event.
    pub fn log(&mut self) -> String {
        self.seen.extend(self.events.try_iter());
        self.seen.iter().map(|event| format!("{event}\n")).collect()
    }

    /// Address of a listener, as the gateway itself says.
    pub fn listener(&mut self, name: &str) -> Result<SocketAddr> {
        let ready = self.wait_for("gateway.ready", |_| true)?;
        let listeners = ready["listeners"].as_array().context("no listeners")?;
        let address = listeners.iter().filter_map(Value::as_str).find_map(|listener| listener.strip_prefix(name)?.strip_prefix('='));
        address.and_then(|address| address.parse().ok()).with_context(|| format!("no listener {name} in {ready}"))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no warning, no goodbye.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal by its name, such as `HUP` or `TERM`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status()?;
        anyhow::ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// Exit code once it ended by itself. Errors when it does not.
    pub fn exit_code(&mut self) -> Result<Option<i32>> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            anyhow::ensure!(Instant::now() < end, "it goes on running; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary that this build made, or the one that `SECMX_BINARY` names with its whole path. It lies beside the directory of the test's own executable.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("SECMX_BINARY") {
        return Ok(named.into());
    }
    let test = std::env::current_exe()?;
    let profile = test.parent().and_then(Path::parent).context("a test lies in target/PROFILE/deps")?;
    let binary = profile.join("secmx");
    anyhow::ensure!(binary.exists(), "{} is missing: build it with `cargo build --bin secmx`", binary.display());
    Ok(binary)
}

fn why(reason: RecvTimeoutError) -> &'static str {
    match reason {
        RecvTimeoutError::Timeout => "waited long enough",
        RecvTimeoutError::Disconnected => "the gateway ended",
    }
}
