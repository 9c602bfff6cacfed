//! DNSSEC against zones that BIND signed, and DANE against Debian's Postfix (S7).

use crate::signer::{self, Named, Signing};
use crate::{PATIENCE, World, swaks, text};
use anyhow::{Result, ensure};
use secmx::config::Config;
use secmx::dns::Dns;
use secmx_core::mail::Domain;
use secmx_core::secmx::discovery::AnswerKind;
use secmx_lab::ca::Authority;
use secmx_lab::dns::Denial;
use secmx_tests::Process;
use secmx_tests::postfix::{self, Postfix, Setup, free_port};
use sha2::{Digest, Sha256};
use std::net::Ipv4Addr;

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
    let lines: Vec<String> =
        domains.iter().map(|(domain, ..)| format!("{domain}. MX 10 mx.{domain}.\nmx.{domain}. A 127.0.0.70\n")).collect();
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
