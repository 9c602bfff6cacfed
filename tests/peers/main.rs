//! Real peers: Debian's Postfix on either side, swaks as a client, and kill -9.
//!
//! `cargo test -p secmx-tests --test peers -- --nocapture --test-threads=1`. Needs root and the packages `postfix` and `swaks`; where
//! something is missing a test says `skipped: why`.

mod postfix;

use anyhow::{Context, Result, ensure};
use postfix::{Postfix, Setup, free_port};
use secmx_lab::ca::Authority;
use secmx_lab::dns::{self, Dns};
use secmx_tests::Process;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(40);

/// A gateway of `agency.test` in a world with one partner, `partner.test`.
struct World {
    directory: TempDir,
    authority: Authority,
    dns: Dns,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let dns = runtime.block_on(Dns::start())?;
        let directory = tempfile::tempdir()?;
        let authority = Authority::new("lab")?;
        fs::write(directory.path().join("root.pem"), authority.root_pem())?;
        Ok(Self { directory, authority, dns, runtime })
    }

    fn identity(&self, name: &str) -> Result<(String, String)> {
        let identity = self.authority.issue(name)?;
        Ok((identity.chain_pem(), identity.key_pem()))
    }

    /// A configuration with the given end; listeners `inside` and `secure` are always there.
    fn config(&self, more: &str) -> Result<PathBuf> {
        let path = self.directory.path().join("secmx.toml");
        let text = format!(
            "hostname = \"gw.agency.test\"\ndomains = [\"agency.test\"]\n{more}\n\
             [paths]\nstate = \"state\"\n[log]\nformat = \"json\"\n[tls]\ntrust = [\"root.pem\"]\n\
             [dns]\nresolvers = [\"{}\"]\n\
             [receive.inside]\nlisten = \"127.0.0.1:0\"\nrole = \"submit\"\nallow = [\"127.0.0.0/8\"]\n\
             [receive.secure]\nlisten = \"127.0.0.1:0\"\nrole = \"SOR\"\n",
            self.dns.addr(),
        );
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// Sends one message with swaks. Its transcript is in the output; it exits 0 only when the message was taken.
fn swaks(server: SocketAddr, from: &str, to: &str, subject: &str, more: &[&str]) -> Result<Output> {
    Command::new("swaks")
        .args(["--server", &server.ip().to_string(), "--port", &server.port().to_string()])
        .args(["--from", from, "--to", to, "--helo", "client.test", "--header", &format!("Subject: {subject}"), "--timeout", "20"])
        .args(more)
        .output()
        .context("cannot run swaks")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Says why and returns true when a test cannot be run here.
fn skipped(needs_postfix: bool) -> bool {
    let why = if !Path::new("/usr/bin/swaks").exists() {
        Some("Debian's swaks is not installed (apt-get install swaks)".into())
    } else if needs_postfix {
        postfix::missing()
    } else {
        None
    };
    if let Some(why) = &why {
        println!("skipped: {why}");
    }
    why.is_some()
}
