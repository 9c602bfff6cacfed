//! The lab against Debian's Postfix as the sender, in a network of its own, where DNS is the lab's.

use crate::network::{self, Network};
use crate::text;
use anyhow::{Context, Result, ensure};
use secmx_tests::postfix::{self, Postfix, Setup, free_port};
use secmx_tests::process::binary;
use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Stdio;

/// Plays the lab against a Postfix with these lines. Gives the printed table, the report, and whether it ended with 0.
fn play(role: &str, lines: &str) -> Result<(String, Value, bool)> {
    let network = Network::new()?;
    let at = |name: &str| network.path().join(name).display().to_string();
    let usual = format!(
        "disable_dns_lookups = no\nsmtp_host_lookup = dns\nsmtp_tcp_port = 2500\nsmtp_dns_support_level = dnssec\n\
         smtp_tls_CAfile = {}\nsmtp_connect_timeout = 2s\nsmtp_helo_timeout = 5s\nsmtp_starttls_timeout = 3s\n",
        at("lab/ca.pem")
    );
    let sender = Postfix::start(&Setup {
        address: Some(free_port(Ipv4Addr::LOCALHOST)?),
        more: &format!("{usual}{lines}"),
        within: Some(network.id()),
        ..Setup::default()
    })?;
    let hand_over = format!(
        "printf 'Subject: {{case}}\\n\\nHello.\\n' | /usr/sbin/sendmail -C {} -f {{from}} {{to}}",
        sender.configuration().display()
    );
    let output = network
        .command(binary()?)
        .args(["lab", "run", "--role", role, "--resolver-port", "53", "--patience", "14", "--sender", &hand_over])
        .args(["--dir", &at("lab"), "--json", &at("report.json"), "--html", &at("report.html"), "--junit", &at("report.xml")])
        .stdin(Stdio::null())
        .output()?;
    let report = fs::read_to_string(at("report.json"));
    let report = report.with_context(|| format!("{}{}", text(&output), String::from_utf8_lossy(&output.stderr)))?;
    ensure!(fs::read_to_string(at("report.html"))?.contains("dane-match") && fs::read_to_string(at("report.xml"))?.contains("dane-match"));
    Ok((text(&output), serde_json::from_str(&report)?, output.status.success()))
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
    if let Some(why) = postfix::missing().or_else(network::missing) {
        println!("skipped: {why}");
        return Ok(());
    }
    let (bes, sos) = std::thread::scope(|scope| {
        let bes = scope.spawn(|| play("bes", "smtp_tls_security_level = dane\n"));
        let sos = scope.spawn(|| play("sos", "smtp_tls_security_level = verify\nsmtp_tls_verify_cert_match = hostname\n"));
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
        (&sos, "tls-injection", ("delivered", "passed")),
    ];
    for (report, id, expected) in known {
        ensure!(came_to(report, id) == Some(expected), "{id}: {:?}\n{bes_text}{sos_text}", came_to(report, id));
    }
    ensure!(!bes_good && !sos_good && bes["failed"].as_u64() > Some(0), "the end tells of what failed");
    Ok(())
}
