//! A running gateway, asked over its control socket.

use super::{Exit, say};
use crate::config::Config;
use crate::control::refusal::Refusal;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use secmx_policy::units;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// Which gateway is asked, and how.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct Asking {
    #[command(flatten)]
    pub(super) server: Server,
    /// One JSON object instead of lines
    #[arg(long)]
    pub(super) json: bool,
}

/// Which gateway is asked.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct Server {
    /// The gateway's control socket; without it the one that the configuration names
    #[arg(long, value_name = "unix:PATH", env = "SECMX_SERVER")]
    pub(super) server: Option<String>,
    /// Configuration file of the gateway, which says where its socket is
    #[arg(short, long, value_name = "FILE", env = "SECMX_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// How long to wait for an answer
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) timeout: Duration,
}

/// A duration as an argument.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).ok_or_else(|| "expected a duration such as 90s, 2h or 1d12h".to_owned())
}

/// Why a command ends with a code of its own.
#[derive(Debug)]
pub(super) struct Told {
    /// The code.
    pub(super) exit: Exit,
    message: String,
}

impl Told {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Told {}

/// The other end of a control socket.
pub(super) struct Remote {
    socket: PathBuf,
    timeout: Duration,
    executor: Runtime,
}

/// What was answered: an object, or octets.
pub(super) struct Answer(pub(super) Bytes);

impl Answer {
    /// The object.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.0).context("the gateway's answer is not understood; is it of another version than this `secmx`?")
    }
}

impl Server {
    /// The gateway that is meant.
    pub(super) fn remote(&self) -> Result<Remote> {
        let socket = match &self.server {
            Some(server) => match server.strip_prefix("unix:") {
                Some(path) => PathBuf::from(path),
                None => return Err(Told::new(Exit::Usage, format!("--server {server}: expected unix:PATH")).into()),
            },
            None => self.configured()?,
        };
        let executor = Builder::new_current_thread().enable_all().build().context("cannot start the threads")?;
        Ok(Remote { socket, timeout: self.timeout, executor })
    }

    fn configured(&self) -> Result<PathBuf> {
        match Config::load(self.config.as_deref()) {
            Ok((config, _)) => Ok(config.socket()),
            Err(findings) => {
                let findings = super::answer::findings(&findings, super::answer::stderr_has_colours());
                Err(Told::new(Exit::Misconfigured, format!("where the gateway is, the configuration would say:\n{findings}")).into())
            }
        }
    }
}

impl Asking {
    /// Asks once and says the answer: the object as it came, or what `words` makes of it.
    pub(super) fn tell<T: DeserializeOwned>(&self, method: Method, path: &str, words: impl FnOnce(T) -> String) -> Result<Exit> {
        let answer = self.server.remote()?.ask(method, path, None::<&()>)?;
        if self.json { say_json(&answer) } else { say(&words(answer.read()?)) }
    }
}

/// The object on one line, as it came: `schema` is first in it.
pub(super) fn say_json(answer: &Answer) -> Result<Exit> {
    say(&format!("{}\n", String::from_utf8_lossy(&answer.0)))
}

impl Remote {
    /// Asks. What the gateway refuses is an error with the exit code that belongs to it.
    pub(super) fn ask(&self, method: Method, path: &str, question: Option<&impl Serialize>) -> Result<Answer> {
        let body = question.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let exchange = async {
            match tokio::time::timeout(self.timeout, self.exchange(method, path, body.into())).await {
                Ok(answered) => answered,
                Err(_) => Err(Told::new(Exit::CannotTell, format!("no answer within {:?} (--timeout)", self.timeout)).into()),
            }
        };
        self.executor.block_on(exchange)
    }

    /// Asks for something that takes as long as there is mail.
    pub(super) fn ask_patiently(&self, method: Method, path: &str, question: Option<&impl Serialize>) -> Result<Answer> {
        let body = question.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        self.executor.block_on(self.exchange(method, path, body.into()))
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Answer> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| unreachable(&self.socket, &error))?;
        let broken = || Told::new(Exit::Unreachable, "the gateway broke off; `secmx status` tells whether it still runs");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken())?;
        // Its end shows in the exchange.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await.map_err(|_| broken())?;
        let good = response.status().is_success();
        let answer = Answer(response.into_body().collect().await.map_err(|_| broken())?.to_bytes());
        if good {
            return Ok(answer);
        }
        let told = match answer.read::<Refusal>() {
            Ok(refusal) => Told::new(refusal.kind.exit(), refusal.message),
            Err(_) => Told::new(Exit::Usage, String::from_utf8_lossy(&answer.0).into_owned()),
        };
        Err(told.into())
    }
}

/// Why there is no gateway at that socket, and what to do about it.
fn unreachable(socket: &Path, error: &io::Error) -> anyhow::Error {
    let place = socket.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => anyhow!(Told::new(
            Exit::NotAllowed,
            format!("{place} is not for you: ask as the user of the gateway, or as a member of the group that `control.group` names"),
        )),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => anyhow!(Told::new(
            Exit::Unreachable,
            format!(
                "no gateway answers at {place}. Does it run? `secmx serve -c FILE` starts one; \
                 -c FILE or --server unix:PATH says which one is meant"
            ),
        )),
        _ => anyhow!(Told::new(Exit::Unreachable, format!("no gateway answers at {place}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule 3 of the command line: 4 is "not reachable", 5 "not allowed", whatever context stands around the error.
    #[test]
    fn each_kind_of_silence_has_its_code() {
        for (kind, exit, part) in [
            (io::ErrorKind::PermissionDenied, Exit::NotAllowed, "control.group"),
            (io::ErrorKind::NotFound, Exit::Unreachable, "secmx serve"),
            (io::ErrorKind::ConnectionRefused, Exit::Unreachable, "secmx serve"),
            (io::ErrorKind::TimedOut, Exit::Unreachable, "no gateway answers"),
        ] {
            let error = unreachable(Path::new("/run/x.sock"), &kind.into());
            assert!(error.to_string().contains(part) && error.to_string().contains("/run/x.sock"), "{error}");
            assert_eq!(Exit::of(&error.context("asking")), exit);
        }
    }
}
