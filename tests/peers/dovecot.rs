//! A Debian Dovecot of our own that takes mail over LMTP into Maildirs, on loopback, in a temporary directory.
//!
//! Needs root (Dovecot changes users) and the `dovecot-lmtpd` package; says so when either is missing.

use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running Dovecot. It ends when this value goes.
pub(crate) struct Dovecot {
    directory: TempDir,
    process: Child,
}

/// Why Dovecot cannot be run here; `None` when it can.
pub(crate) fn missing() -> Option<String> {
    (!Path::new("/usr/lib/dovecot/lmtp").exists()).then(|| "Debian's dovecot-lmtpd is not installed (apt-get install dovecot-lmtpd)".into())
}

impl Dovecot {
    /// Starts one that takes LMTP at `address`, for any user, and waits until it answers. With certificate chain and key, PEM, it offers
    /// STARTTLS.
    pub(crate) fn start(address: SocketAddr, identity: Option<(String, String)>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("secmx-dovecot").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let at = |name: &str| directory.path().join(name).display().to_string();
        fs::create_dir(at("mail"))?;
        fs::set_permissions(at("mail"), fs::Permissions::from_mode(0o777))?;
        let tls = match identity {
            None => "ssl = no\n".to_owned(),
            Some((chain, key)) => {
                fs::write(at("chain.pem"), chain)?;
                fs::write(at("key.pem"), key)?;
                format!("ssl = yes\nssl_cert = <{}\nssl_key = <{}\n", at("chain.pem"), at("key.pem"))
            }
        };
        let text = format!(
            "base_dir = {}\nstate_dir = {}\nlog_path = {}\nprotocols = lmtp\n{tls}first_valid_uid = 1\n\
             default_internal_user = dovecot\ndefault_login_user = dovenull\nmail_location = maildir:{}/%u\n\
             passdb {{\n driver = static\n args = nopassword=y\n}}\n\
             userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={}/%u allow_all_users=yes\n}}\n\
             service lmtp {{\n inet_listener lmtp {{\n address = {}\n port = {}\n }}\n}}\n",
            at("run"),
            at("state"),
            at("log"),
            at("mail"),
            at("mail"),
            address.ip(),
            address.port(),
        );
        fs::write(at("dovecot.conf"), text)?;
        let mut command = Command::new("/usr/sbin/dovecot");
        command.args(["-F", "-c"]).arg(at("dovecot.conf")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().context("cannot run dovecot")?;
        let dovecot = Self { directory, process };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < end, "dovecot does not answer on {address}:\n{}", dovecot.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(dovecot)
    }

    /// Returns once a message of one user is as wanted. Errors after `patience`.
    pub(crate) fn message_when(&self, user: &str, patience: Duration, wanted: impl Fn(&[u8]) -> bool) -> Result<()> {
        let end = Instant::now() + patience;
        loop {
            let new = self.directory.path().join("mail").join(user).join("new");
            let files = fs::read_dir(new).into_iter().flatten().flatten();
            if files.filter_map(|file| fs::read(file.path()).ok()).any(|octets| wanted(&octets)) {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("{user} has no such message after {patience:?}; log:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its master process ends its children when it is told to end.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
