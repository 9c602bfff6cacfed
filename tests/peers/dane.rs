//! DNSSEC against zones that BIND signed, and DANE against Debian's Postfix (S7).

use crate::network::{self, Network};
use crate::signer::{self, Named, Signing};
use crate::{PATIENCE, World, swaks, text};
use anyhow::{Context, Result, ensure};
use secmx::config::Config;
use secmx::dns::Dns;
use secmx_core::mail::Domain;
use secmx_core::secmx::discovery::AnswerKind;
use secmx_lab::ca::Authority;
use secmx_lab::dns::Denial;
use secmx_tests::Process;
use secmx_tests::postfix::{self, Postfix, Setup, free_port};
use sha2::{Digest, Sha256};
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

/// Secure, insecure and bogus of zones that a real signer made.
#[test]
fn zones_that_bind_signed_are_told_apart() -> Result<()> {
    if let Some(why) = signer::missing() {
        println!("skipped: {why}");
        return Ok(());
    }
    let domains = [
        ("nsec.test", Signing::Nsec, AnswerKind::Found, true),
        ("nsec3.test", Signing::Nsec3, AnswerKind::Found, true),
        ("expired.test", Signing::Expired, AnswerKind::Bogus, false),
        ("changed.test", Signing::Changed, AnswerKind::Bogus, false),
        ("unsigned.test", Signing::Unsigned, AnswerKind::Found, false),
    ];
    let lines: Vec<String> = domains
        .iter()
        .map(|(domain, ..)| {
            format!("{domain}. MX 10 mx.{domain}.\nmx.{domain}. A 127.0.0.70\n*.{domain}. MX 10 mx.{domain}.\n*.a.b.{domain}. TXT x\n")
        })
        .collect();
    let zones: Vec<_> = domains.iter().zip(&lines).map(|((domain, signing, ..), lines)| (*domain, *signing, lines.as_str())).collect();
    let named = Named::start(&zones)?;
    let config = format!("[dns]\nresolvers = [\"{}\"]\nanchors = {:?}\n", named.address(), named.anchor());
    let (config, _) = Config::parse("test.toml", &config).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let dns = Dns::new(&config.dns)?;
        for (domain, signing, kind, secure) in domains {
            let host = Domain::parse(&format!("mx.{domain}")).map_err(|error| anyhow::anyhow!("{error}"))?;
            let addresses = dns.addresses(&host).await;
            ensure!((addresses.answer.kind(), addresses.secure) == (kind, secure), "{domain} {signing:?}: {addresses:?}");
            for name in ["new", "far.off", "c.a.b", "d.c.a.b"] {
                let wanted = Domain::parse(&format!("{name}.{domain}")).map_err(|error| anyhow::anyhow!("{error}"))?;
                let told = dns.mx(&wanted).await;
                let (kind, secure) = match (signing, name) {
                    (Signing::Expired, _) => (AnswerKind::Bogus, false),
                    // The wildcard of `a.b` is closer, and has no MX.
                    (_, "c.a.b" | "d.c.a.b") => (AnswerKind::None, signing != Signing::Unsigned),
                    (_, _) => (AnswerKind::Found, signing != Signing::Unsigned),
                };
                ensure!((told.answer.kind(), told.secure) == (kind, secure), "{wanted} {signing:?}, by a wildcard: {told:?}");
            }
            let nothing = dns.tlsa(&format!("_25._tcp.{host}")).await;
            // A record that was changed by itself spoils no denial.
            let denied = matches!(signing, Signing::Nsec | Signing::Nsec3 | Signing::Changed);
            let kind = if signing == Signing::Expired { AnswerKind::Bogus } else { AnswerKind::None };
            ensure!((nothing.answer.kind(), nothing.secure) == (kind, denied), "{domain} {signing:?}, nothing there: {nothing:?}");
        }
        Ok(())
    })
}

/// Postfix with a certificate that nobody trusts: its TLSA record alone makes it a host of the domain, and one that is wrong keeps mail here.
#[test]
fn postfix_is_reached_by_its_tlsa_record() -> Result<()> {
    if let Some(why) = postfix::missing() {
        println!("skipped: {why}");
        return Ok(());
    }
    let world = World::new()?;
    let address = free_port(Ipv4Addr::new(127, 0, 0, 65))?;
    let identity = Authority::new("Postfix' own")?.issue(&["mx.partner.test"])?;
    let partner = Postfix::start(&Setup {
        address: Some(address),
        domains: &["partner.test", "wrong.test"],
        identity: Some((identity.chain_pem().to_owned(), identity.key_pem())),
        ..Setup::default()
    })?;
    for (domain, digest) in [("partner.test", Sha256::digest(identity.public_key()).to_vec()), ("wrong.test", vec![7; 32])] {
        let host = format!("mx.{domain}");
        world.dns.mx(domain, &[(10, &host)]);
        world.dns.host(&host, address.ip());
        world.dns.tlsa(&host, address.port(), &[(3, 1, 1, digest)]);
        world.dns.sign(domain, Denial::Nsec3(0))?;
    }
    let send = format!("[send]\nport = {}\nallow_private = true\nretry = [\"1h\"]\n", address.port());
    let config = world.config("deliver_to = \"smtp://127.0.0.1:9\"", &send)?;
    let mut gateway = Process::serve(&config)?;
    let inside = gateway.listener("inside")?;
    for domain in ["partner.test", "wrong.test"] {
        let sent = swaks(inside, "ana@agency.test", &format!("bo@{domain}"), &format!("to {domain}"), &[])?;
        ensure!(sent.status.success(), "{}", text(&sent));
    }
    let delivered = gateway.wait_for("message.delivered", |_| true)?;
    ensure!(delivered["channel"]["level"] == "domain" && delivered["role"] == "BES", "{delivered}");
    partner.mailbox_when(PATIENCE, |mailbox| mailbox.contains("to partner.test"))?;
    let waits = gateway.wait_for("message.deferred", |_| true)?;
    ensure!(waits["failure"].to_string().contains("TLSA"), "{waits}");
    ensure!(!partner.mailbox().contains("to wrong.test"), "nothing overrides a failing DANE check");
    Ok(())
}

/// The other way round: Postfix finds our listener by MX and TLSA in zones that BIND signed, and sends where the certificate is the one that
/// TLSA names, although nobody trusts its authority. Where it is another one it keeps the mail.
#[test]
fn postfix_sends_to_us_by_our_tlsa_record_alone() -> Result<()> {
    if let Some(why) = postfix::missing().or_else(network::missing).or_else(signer::missing) {
        println!("skipped: {why}");
        return Ok(());
    }
    let network = Network::new()?;
    let identity = Authority::new("our own")?.issue(&["mx.agency.test"])?;
    let own: String = Sha256::digest(identity.public_key()).iter().map(|octet| format!("{octet:02x}")).collect();
    let zone = |domain: &str, digest: &str| {
        format!("{domain}. MX 10 mx.{domain}.\nmx.{domain}. A 127.0.0.1\n_2500._tcp.mx.{domain}. TLSA 3 1 1 {digest}\n")
    };
    let (agency, moved) = (zone("agency.test", &own), zone("moved.test", &"07".repeat(32)));
    let named = Named::start_within(&network, &[("agency.test", Signing::Nsec, &agency), ("moved.test", Signing::Nsec3, &moved)])?;
    let at = |name: &str| network.path().join(name);
    fs::write(at("chain.pem"), identity.chain_pem())?;
    fs::write(at("key.pem"), identity.key_pem())?;
    let config = format!(
        "hostname = \"mx.agency.test\"\ndomains = [\"agency.test\", \"moved.test\"]\ndeliver_to = \"smtp://127.0.0.1:9\"\n\
         [paths]\nstate = \"state\"\n[log]\nformat = \"json\"\n[tls]\ncerts = [{{ cert = \"chain.pem\", key = \"key.pem\" }}]\n\
         [dns]\nresolvers = [\"{}\"]\nanchors = {:?}\n[receive.public]\nlisten = \"127.0.0.1:2500\"\nrole = \"BER\"\n",
        named.address(),
        named.anchor(),
    );
    fs::write(at("secmx.toml"), config)?;
    let wrapper = network.wrapper();
    let mut gateway = Process::serve_under(&wrapper.each_ref().map(String::as_str), &at("secmx.toml"))?;
    let sender = Postfix::start(&Setup {
        address: Some(free_port(Ipv4Addr::LOCALHOST)?),
        more: "disable_dns_lookups = no\nsmtp_host_lookup = dns\nsmtp_tcp_port = 2500\nsmtp_dns_support_level = dnssec\n\
               smtp_tls_security_level = dane\nsmtp_tls_loglevel = 1\n",
        within: Some(network.id()),
        ..Setup::default()
    })?;
    for domain in ["moved.test", "agency.test"] {
        let line = format!(
            "printf 'Subject: by DANE\\n\\nHello.\\n' | /usr/sbin/sendmail -C {} -f to-{domain}@partner.test ana@{domain}",
            sender.configuration().display()
        );
        ensure!(Command::new("sh").args(["-c", &line]).status()?.success());
    }
    let queued = gateway.wait_for("message.queued", |_| true);
    let queued = queued.with_context(|| sender.log())?;
    ensure!(queued["reverse_path"] == "to-agency.test@partner.test", "{queued}");
    let end = Instant::now() + PATIENCE;
    while !(sender.log().contains("status=deferred") && sender.log().contains("Verified TLS connection established to mx.agency.test")) {
        ensure!(Instant::now() < end, "{}", sender.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(!gateway.log().contains("to-moved.test"), "nothing of it came here:\n{}", gateway.log());
    Ok(())
}
