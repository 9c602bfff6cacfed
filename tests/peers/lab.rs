//! The lab against Debian's Postfix as the sender, in a network of its own, where DNS is the lab's.

use crate::text;
use anyhow::{Context, Result, ensure};
use secmx_tests::postfix::{self, Postfix, Setup, free_port};
use secmx_tests::process::binary;
use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A network with nothing but loopback, and an `/etc/resolv.conf` of its own. It ends when this value goes.
struct Network {
    holder: Child,
    directory: TempDir,
}

impl Network {
    fn new() -> Result<Self> {
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

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Plays the lab against a Postfix with these lines. Gives the printed table, the report, and whether it ended with 0.
    fn play(&self, role: &str, lines: &str) -> Result<(String, Value, bool)> {
        let (holder, at) = (self.holder.id(), |name: &str| self.path().join(name).display().to_string());
        let usual = format!(
            "disable_dns_lookups = no\nsmtp_host_lookup = dns\nsmtp_tcp_port = 2500\nsmtp_dns_support_level = dnssec\n\
             smtp_tls_CAfile = {}\nsmtp_connect_timeout = 2s\nsmtp_helo_timeout = 5s\nsmtp_starttls_timeout = 3s\n",
            at("lab/ca.pem")
        );
        let sender = Postfix::start(&Setup {
            address: Some(free_port(Ipv4Addr::LOCALHOST)?),
            more: &format!("{usual}{lines}"),
            within: Some(holder),
            ..Setup::default()
        })?;
        let hand_over = format!(
            "printf 'Subject: {{case}}\\n\\nHello.\\n' | /usr/sbin/sendmail -C {} -f {{from}} {{to}}",
            sender.configuration().display()
        );
        let output = Command::new("nsenter")
            .args(["-t", &holder.to_string(), "-n", "-m", "--"])
            .arg(binary()?)
            .args(["lab", "run", "--role", role, "--resolver-port", "53", "--patience", "14", "--sender", &hand_over])
            .args(["--dir", &at("lab"), "--json", &at("report.json"), "--html", &at("report.html"), "--junit", &at("report.xml")])
            .stdin(Stdio::null())
            .output()?;
        let report = fs::read_to_string(at("report.json"));
        let report = report.with_context(|| format!("{}{}", text(&output), String::from_utf8_lossy(&output.stderr)))?;
        ensure!(
            fs::read_to_string(at("report.html"))?.contains("dane-match") && fs::read_to_string(at("report.xml"))?.contains("dane-match")
        );
        Ok((text(&output), serde_json::from_str(&report)?, output.status.success()))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What one case came to.
fn came_to<'a>(report: &'a Value, id: &str) -> Option<(&'a str, &'a str)> {
    let row = report["rows"].as_array()?.iter().find(|row| row["id"] == id)?;
    Some((row["got"].as_str()?.split(' ').next()?, row["verdict"].as_str()?))
}

/// Postfix with opportunistic DANE held to what a BES does, and with verified certificates held to what a SOS does. What it does is printed;
/// what is known of it is held to: it is a DANE sender, keeps mail back where it verifies, and knows nothing of SecMX hosts.
#[test]
fn the_lab_shows_what_postfix_does() -> Result<()> {
    if let Some(why) = postfix::missing() {
        println!("skipped: {why}");
        return Ok(());
    }
    if let Some(tool) = ["unshare", "nsenter", "ip"].iter().find(|tool| Command::new(tool).arg("--version").output().is_err()) {
        println!("skipped: {tool} is not installed");
        return Ok(());
    }
    let (bes, sos) = std::thread::scope(|scope| {
        let bes = scope.spawn(|| Network::new()?.play("bes", "smtp_tls_security_level = dane\n"));
        let sos = scope.spawn(|| Network::new()?.play("sos", "smtp_tls_security_level = verify\nsmtp_tls_verify_cert_match = hostname\n"));
        (bes.join(), sos.join())
    });
    let join = |played: std::thread::Result<Result<(String, Value, bool)>>| played.map_err(|_| anyhow::anyhow!("it panicked"))?;
    let ((bes_text, bes, bes_good), (sos_text, sos, sos_good)) = (join(bes)?, join(sos)?);
    println!("Postfix, smtp_tls_security_level = dane: {bes_text}\nPostfix, smtp_tls_security_level = verify: {sos_text}");
    let known = [
        (&bes, "dane-match", ("delivered", "passed")),
        (&bes, "dane-mismatch", ("waits", "passed")),
        (&bes, "tls-absent", ("plain", "passed")),
        (&bes, "mx-null", ("returned", "passed")),
        (&bes, "srv-good", ("plain", "failed")),
        (&sos, "cert-good", ("delivered", "passed")),
        (&sos, "cert-expired", ("waits", "near")),
        (&sos, "tls-absent", ("waits", "near")),
    ];
    for (report, id, expected) in known {
        ensure!(came_to(report, id) == Some(expected), "{id}: {:?}\n{bes_text}{sos_text}", came_to(report, id));
    }
    ensure!(!bes_good && !sos_good && bes["failed"].as_u64() > Some(0), "the end tells of what failed");
    Ok(())
}
