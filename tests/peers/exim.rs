//! A Debian Exim of our own, taken out of its package without installing it (it and Postfix cannot be installed together), on loopback, in
//! a temporary directory.
//!
//! Needs root: Exim looks for its user in `/etc/passwd`, which is another one in the mount namespace that it is given.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The package with its files, got once for all tests of a run.
static PACKAGE: OnceLock<Result<TempDir, String>> = OnceLock::new();

/// What one instance is to do.
pub(crate) struct Setup<'a> {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The domain whose mail it keeps.
    pub(crate) domain: &'a str,
    /// Where everything else goes, and whether over TLS only.
    pub(crate) relay: Option<(SocketAddr, bool)>,
    /// Certificate chain and key, PEM. Without them STARTTLS is not offered.
    pub(crate) identity: Option<(String, String)>,
}

/// A running Exim. It ends when this value goes.
pub(crate) struct Exim {
    directory: TempDir,
    process: Child,
}

/// Why Exim cannot be run here; `None` when it can.
pub(crate) fn missing() -> Option<String> {
    if !fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        return Some("Exim needs root".into());
    }
    PACKAGE.get_or_init(|| unpack().map_err(|error| format!("{error:#}"))).as_ref().err().map(|why| format!("Exim cannot be had: {why}"))
}

/// Gets Debian's package and takes the files out of it.
fn unpack() -> Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("secmx-exim-package").tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let run = |command: &mut Command| -> Result<()> {
        let output = command.current_dir(directory.path()).stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    };
    run(Command::new("timeout").args(["120", "apt-get", "download", "exim4-daemon-light"]))?;
    let files = fs::read_dir(directory.path())?.flatten().map(|entry| entry.path());
    let package = files.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "deb")).context("no package came")?;
    run(Command::new("dpkg").arg("-x").arg(package).arg("files"))?;
    let missing = Command::new("ldd").arg(directory.path().join("files/usr/sbin/exim4")).output().context("ldd")?;
    let missing = String::from_utf8_lossy(&missing.stdout).into_owned();
    ensure!(!missing.contains("not found"), "it needs libraries that are not here:\n{missing}");
    Ok(directory)
}

impl Exim {
    /// Starts an instance and waits until it answers.
    pub(crate) fn start(setup: &Setup<'_>) -> Result<Self> {
        let package = PACKAGE.get().and_then(|package| package.as_ref().ok()).context("missing() comes first")?;
        let directory = tempfile::Builder::new().prefix("secmx-exim").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let at = |name: &str| directory.path().join(name);
        for name in ["spool", "log", "mail"] {
            fs::create_dir(at(name))?;
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o777))?;
        }
        let user = "Debian-exim:x:61999:61999::/nonexistent:/usr/sbin/nologin\n";
        fs::write(at("passwd"), fs::read_to_string("/etc/passwd")? + user)?;
        fs::write(at("group"), fs::read_to_string("/etc/group")? + "Debian-exim:x:61999:\n")?;
        let program = package.path().join("files/usr/sbin/exim4");
        fs::write(at("exim.conf"), configuration(setup, directory.path(), &program)?)?;
        let script =
            "mount --bind \"$0/passwd\" /etc/passwd && mount --bind \"$0/group\" /etc/group && exec \"$1\" -C \"$0/exim.conf\" -bdf -q1m";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).arg(directory.path()).arg(&program);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot run exim")?;
        let exim = Self { directory, process };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(setup.address).is_err() {
            ensure!(Instant::now() < end, "exim does not answer on {}:\n{}", setup.address, exim.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(exim)
    }

    /// The messages kept so far, once `wanted` holds of one of them. Errors with the log after `patience`.
    pub(crate) fn message_when(&self, patience: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let end = Instant::now() + patience;
        loop {
            let files = fs::read_dir(self.directory.path().join("mail/new")).into_iter().flatten().flatten();
            if let Some(found) = files.filter_map(|file| fs::read(file.path()).ok()).find(|octets| wanted(octets)) {
                return Ok(found);
            }
            if Instant::now() > end {
                bail!("exim has no such message after {patience:?}; log:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        ["mainlog", "paniclog", "rejectlog"]
            .iter()
            .filter_map(|name| fs::read_to_string(self.directory.path().join("log").join(name)).ok())
            .collect()
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(setup: &Setup<'_>, directory: &Path, program: &Path) -> Result<String> {
    let at = |name: &str| -> PathBuf { directory.join(name) };
    let tls = match &setup.identity {
        None => "tls_advertise_hosts =\n".to_owned(),
        Some((chain, key)) => {
            for (name, content) in [("chain.pem", chain), ("key.pem", key)] {
                fs::write(at(name), content)?;
            }
            format!(
                "tls_advertise_hosts = *\ntls_certificate = {}\ntls_privatekey = {}\n",
                at("chain.pem").display(),
                at("key.pem").display()
            )
        }
    };
    let (router, transport) = match setup.relay {
        None => (String::new(), String::new()),
        Some((relay, secure)) => (
            format!("onward:\n  driver = manualroute\n  route_list = * {}\n  self = send\n  transport = onward\n", relay.ip()),
            format!(
                "onward:\n  driver = smtp\n  port = {}\n  allow_localhost\n  message_linelength_limit = 10000\n  {}\n",
                relay.port(),
                if secure {
                    "hosts_require_tls = *\n  tls_verify_certificates =\n  tls_verify_hosts =\n  tls_try_verify_hosts ="
                } else {
                    "hosts_avoid_tls = *"
                },
            ),
        ),
    };
    Ok(format!(
        "exim_path = {}\nprimary_hostname = exim.test\nlocal_interfaces = {}\ndaemon_smtp_ports = {}\nspool_directory = {}\n\
         log_file_path = {}/%slog\npid_file_path = {}\nsmtputf8_advertise_hosts = *\ndsn_advertise_hosts = *\nchunking_advertise_hosts = *\n\
         message_size_limit = 100M\nkeep_environment =\nnever_users =\nhost_lookup =\nrfc1413_query_timeout = 0s\nqueue_only_load_latch = false\n\
         acl_smtp_rcpt = all\nacl_smtp_data = all\n{tls}\
         begin acl\nall:\n  accept\n\
         begin routers\nhere:\n  driver = accept\n  domains = {}\n  transport = kept\n{router}\
         begin transports\nkept:\n  driver = appendfile\n  directory = {}\n  maildir_format\n  create_directory\n  user = Debian-exim\n{transport}",
        program.display(),
        setup.address.ip(),
        setup.address.port(),
        at("spool").display(),
        at("log").display(),
        at("pid").display(),
        setup.domain,
        at("mail").display(),
    ))
}
