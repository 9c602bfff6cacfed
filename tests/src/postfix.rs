//! A Debian Postfix of our own: its own configuration, queue and mailboxes in a temporary directory, on loopback only.
//!
//! Needs root (Postfix changes users) and the `postfix` package; says so when either is missing.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What one instance is to do.
#[derive(Default)]
pub struct Setup<'a> {
    /// Address to listen on; the port is free on it.
    pub address: Option<SocketAddr>,
    /// Domains whose mail is put into a mailbox file.
    pub domains: &'a [&'a str],
    /// Where everything else goes, `[host]:port`.
    pub relayhost: Option<String>,
    /// Certificate chain and key, PEM. Without them STARTTLS is not offered.
    pub identity: Option<(String, String)>,
    /// Further lines of main.cf.
    pub more: &'a str,
    /// A process whose network and mounts it gets.
    pub within: Option<u32>,
}

/// A running Postfix. It is stopped when this value goes.
pub struct Postfix {
    directory: TempDir,
    address: SocketAddr,
    within: Option<u32>,
}

/// Why Postfix cannot be run here; `None` when it can.
pub fn missing() -> Option<String> {
    if !Path::new("/usr/sbin/postfix").exists() {
        return Some("Debian's postfix is not installed (apt-get install postfix)".into());
    }
    match fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me)) {
        Ok(0) => None,
        _ => Some("Postfix needs root".into()),
    }
}

/// A port of that address that nothing listens on.
pub fn free_port(address: Ipv4Addr) -> Result<SocketAddr> {
    Ok(TcpListener::bind((address, 0))?.local_addr()?)
}

impl Postfix {
    /// Starts an instance and waits until it answers.
    pub fn start(setup: &Setup<'_>) -> Result<Self> {
        let address = match setup.address {
            Some(address) => address,
            None => free_port(Ipv4Addr::LOCALHOST)?,
        };
        let directory = tempfile::Builder::new().prefix("secmx-postfix").tempdir()?;
        // Postfix' daemons walk through this directory under their own user.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let postfix = Self { directory, address, within: setup.within };
        postfix.write(setup)?;
        postfix.command("start").context("postfix start")?;
        postfix.wait_until_it_answers()?;
        Ok(postfix)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its configuration directory.
    pub fn configuration(&self) -> PathBuf {
        self.path("etc")
    }

    /// The process of which all others are children.
    pub fn master(&self) -> Result<u32> {
        let id = fs::read_to_string(self.path("queue/pid/master.pid"))?;
        id.trim().parse().with_context(|| format!("odd process id {id:?}"))
    }

    /// Everything delivered to its mailbox so far.
    pub fn mailbox(&self) -> String {
        fs::read(self.path("mail/all")).map(|octets| String::from_utf8_lossy(&octets).into_owned()).unwrap_or_default()
    }

    /// The mailbox once `wanted` holds of it. Errors with what is there after `patience`.
    pub fn mailbox_when(&self, patience: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let end = Instant::now() + patience;
        loop {
            let mailbox = self.mailbox();
            if wanted(&mailbox) {
                return Ok(mailbox);
            }
            if Instant::now() > end {
                bail!("not in the mailbox after {patience:?}; it holds:\n{mailbox}\nlog:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What Postfix logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, setup: &Setup<'_>) -> Result<()> {
        for name in ["etc", "queue", "data", "mail"] {
            fs::create_dir(self.path(name))?;
        }
        let (user, group) = account("postfix")?;
        chown(self.path("data"), Some(user), Some(group))?;
        let (nobody, nogroup) = account("nobody")?;
        chown(self.path("mail"), Some(nobody), Some(nogroup))?;
        fs::write(self.path("etc/master.cf"), self.services())?;
        fs::write(self.path("etc/main.cf"), self.parameters(setup, nobody, nogroup)?)?;
        Ok(())
    }

    fn parameters(&self, setup: &Setup<'_>, user: u32, group: u32) -> Result<String> {
        let at = |name: &str| self.path(name).display().to_string();
        let mut lines = format!(
            "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\nmaillog_file = {}\nmaillog_file_prefixes = {}\n\
             inet_interfaces = all\ninet_protocols = ipv4\nmyhostname = postfix.test\nmydestination =\nmynetworks = 127.0.0.0/8\n\
             local_recipient_maps =\nalias_maps =\nalias_database =\nbiff = no\nappend_dot_mydomain = no\nsmtputf8_enable = yes\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\nsmtp_host_lookup = native\ndisable_dns_lookups = yes\n\
             minimal_backoff_time = 2s\nqueue_run_delay = 2s\nmaximal_backoff_time = 4s\n",
            at("queue"),
            at("data"),
            at("log"),
            self.directory.path().display(),
        );
        if !setup.domains.is_empty() {
            lines += &format!(
                "virtual_mailbox_domains = {}\nvirtual_mailbox_base = {}\nvirtual_mailbox_maps = static:all\n\
                 virtual_uid_maps = static:{user}\nvirtual_gid_maps = static:{group}\nvirtual_minimum_uid = 1\n",
                setup.domains.join(", "),
                at("mail"),
            );
        }
        if let Some(relayhost) = &setup.relayhost {
            lines += &format!("relayhost = {relayhost}\n");
        }
        if let Some((chain, key)) = &setup.identity {
            fs::write(self.path("etc/tls.pem"), format!("{key}{chain}"))?;
            lines += &format!(
                "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {}\nsmtpd_tls_received_header = yes\n",
                at("etc/tls.pem")
            );
        }
        Ok(lines + setup.more)
    }

    fn services(&self) -> String {
        let mut lines = format!("{} inet n - n - - smtpd\n", self.address);
        for (name, daemon, kind, wake, limit) in [
            ("pickup", "pickup", "unix", "60", "1"),
            ("cleanup", "cleanup", "unix", "-", "0"),
            ("qmgr", "qmgr", "unix", "2", "1"),
            ("tlsmgr", "tlsmgr", "unix", "1000?", "1"),
            ("rewrite", "trivial-rewrite", "unix", "-", "-"),
            ("bounce", "bounce", "unix", "-", "0"),
            ("defer", "bounce", "unix", "-", "0"),
            ("trace", "bounce", "unix", "-", "0"),
            ("verify", "verify", "unix", "-", "1"),
            ("flush", "flush", "unix", "1000?", "0"),
            ("proxymap", "proxymap", "unix", "-", "-"),
            ("smtp", "smtp", "unix", "-", "-"),
            ("relay", "smtp", "unix", "-", "-"),
            ("showq", "showq", "unix", "-", "-"),
            ("error", "error", "unix", "-", "-"),
            ("retry", "error", "unix", "-", "-"),
            ("discard", "discard", "unix", "-", "-"),
            ("local", "local", "unix", "-", "-"),
            ("virtual", "virtual", "unix", "-", "-"),
            ("anvil", "anvil", "unix", "-", "1"),
            ("scache", "scache", "unix", "-", "1"),
            ("postlog", "postlogd", "unix-dgram", "-", "1"),
        ] {
            let private = if matches!(name, "pickup" | "cleanup" | "qmgr" | "showq" | "flush" | "postlog") { "n" } else { "-" };
            let unprivileged = if matches!(name, "local" | "virtual") { "n" } else { "-" };
            lines += &format!("{name} {kind} {private} {unprivileged} n {wake} {limit} {daemon}\n");
        }
        lines
    }

    fn command(&self, verb: &str) -> Result<()> {
        let mut command = match self.within {
            None => Command::new("/usr/sbin/postfix"),
            Some(process) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &process.to_string(), "-n", "-m", "--", "/usr/sbin/postfix"]);
                command
            }
        };
        let output = command.arg("-c").arg(self.path("etc")).arg(verb).stdin(Stdio::null()).output().context("cannot run postfix")?;
        ensure!(output.status.success(), "postfix {verb}: {}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
        Ok(())
    }

    fn wait_until_it_answers(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        let answers = || match self.within {
            None => TcpStream::connect(self.address).is_ok(),
            // Not to be reached from here.
            Some(_) => self.log().contains("daemon started"),
        };
        while !answers() {
            ensure!(Instant::now() < end, "postfix does not answer on {}:\n{}", self.address, self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.command("stop");
    }
}

/// Numbers of a user and its group.
fn account(name: &str) -> Result<(u32, u32)> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    let line = accounts.lines().find(|line| line.starts_with(&format!("{name}:"))).with_context(|| format!("no user {name}"))?;
    let mut fields = line.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok()).with_context(|| format!("{name}: odd line in /etc/passwd"));
    Ok((number()?, number()?))
}
