//! A network of its own for programs that ask DNS at port 53 and nowhere else.

use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Why there can be none here; `None` when there can.
pub(crate) fn missing() -> Option<String> {
    let tool = ["unshare", "nsenter", "ip"].iter().find(|tool| Command::new(tool).arg("--version").output().is_err())?;
    Some(format!("{tool} is not installed"))
}

/// A network with nothing but loopback, and an `/etc/resolv.conf` of its own. It ends when this value goes.
pub(crate) struct Network {
    holder: Child,
    directory: TempDir,
}

impl Network {
    pub(crate) fn new() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("secmx-lab").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        fs::write(directory.path().join("resolv.conf"), "nameserver 127.0.0.1\noptions trust-ad timeout:2 attempts:2\n")?;
        let script = "ip link set lo up && mount --bind \"$0/resolv.conf\" /etc/resolv.conf && touch \"$0/ready\" && exec sleep 300";
        let mut command = Command::new("unshare");
        command.args(["-n", "-m", "sh", "-c", script]).arg(directory.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let network = Self { holder: command.spawn().context("cannot run unshare")?, directory };
        let end = Instant::now() + Duration::from_secs(10);
        while !network.path().join("ready").exists() {
            ensure!(Instant::now() < end, "no network of our own");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(network)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The process that holds it.
    pub(crate) fn id(&self) -> u32 {
        self.holder.id()
    }

    /// A program in it.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let [enters, arguments @ ..] = &self.wrapper();
        let mut command = Command::new(enters);
        command.args(arguments).arg(program);
        command
    }

    /// What stands before a command line that is to run in it.
    pub(crate) fn wrapper(&self) -> [String; 6] {
        ["nsenter", "-t", &self.id().to_string(), "-n", "-m", "--"].map(str::to_owned)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
