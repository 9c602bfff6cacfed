//! What is signed here is verified by the other half of the library; other implementations have their turn in `tests/peers`.

use super::{Signers, generate, is_own, zone_line};
use crate::authentication::{Arrival, Authenticator};
use crate::config::Config;
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, RecordType};
use secmx_core::channel::Channel;
use secmx_core::queue::Origin;
use secmx_lab::dns::{Answer, Dns};
use std::path::Path;

const MESSAGE: &str = "Received: by inside\r\nFrom: Ana <ana@agency.test>\r\nTo: bo@health.test\r\nSubject:  two  spaces\r\nDate: Mon, 23 Nov 2026 \
                       10:00:00 +0000\r\n\r\nfigures  \r\n\r\n\r\n";

/// A configuration with a key of each kind for `agency.test` in this folder, and one for `other.test`.
fn config(folder: &Path, more: &str) -> Config {
    let keys = [("agency.test", "r", true), ("agency.test", "e", false), ("other.test", "o", false)].map(|(domain, selector, rsa)| {
        let path = folder.join(format!("{selector}.pem"));
        if !path.exists() {
            generate(&path, rsa).expect("a key");
        }
        format!("{{ domain = \"{domain}\", selector = \"{selector}\", key = {path:?} }}")
    });
    let text = format!("{more}\n[dkim]\nkeys = [{}]\n", keys.join(", "));
    Config::parse("test.toml", &text).expect("valid").0
}

/// The fields that sign it, the message written in pieces of that many octets.
fn signed(signers: &Signers, message: &str, piece: usize) -> Option<String> {
    let mut signing = signers.begin(message.as_bytes())?;
    message.as_bytes().chunks(piece).for_each(|octets| signing.write(octets));
    Some(signing.finish().expect("signed") + message)
}

async fn verified(dns: &Dns, message: String) -> Option<&'static str> {
    let anchor = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(anchor.path(), dns.anchor()).expect("written");
    let text = format!("[dns]\nresolvers = [\"{}\"]\nanchors = {:?}\ntimeout = \"300ms\"\n", dns.addr(), anchor.path());
    let (config, _) = Config::parse("test.toml", &text).expect("valid");
    let arrival = Arrival { client: [192, 0, 2, 1].into(), hello: None, reverse_path: None, octets: message.into() };
    Authenticator::new(&config).expect("a resolver").about(arrival).found().await.result("dkim")
}

#[tokio::test]
async fn every_key_of_the_domain_signs_and_each_signature_verifies() {
    let folder = tempfile::tempdir().expect("a folder");
    for canonicalization in ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] {
        let mut config = config(folder.path(), "");
        let text = format!("[dkim]\ncanonicalization = \"{canonicalization}\"\n");
        config.dkim.canonicalization = Config::parse("test.toml", &text).expect("valid").0.dkim.canonicalization;
        let signers = Signers::load(&config).expect("keys");
        let message = signed(&signers, MESSAGE, 7).expect("ours");
        assert!(message.ends_with(MESSAGE) && message.matches("DKIM-Signature:").count() == 2, "{message}");
        assert!(message.contains(&format!("c={canonicalization}")) && !message.contains("s=o;"), "{message}");
        // One record at a time, so that each signature must verify by itself.
        for key in &config.dkim.keys[..2] {
            let dns = Dns::start().await.expect("a server");
            let name = format!("{}._domainkey.{}", key.selector, key.domain);
            let record = super::Key::read(&key.key).and_then(|key| key.record()).expect("a record");
            let strings = record.as_bytes().chunks(255).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
            dns.set(&name, RecordType::TXT, Answer::Records(vec![RData::TXT(TXT::new(strings))]));
            assert_eq!(verified(&dns, message.clone()).await, Some("pass"), "{name} {canonicalization}");
            let second = message.replace("From: Ana", "From: eve@evil.test\r\nFrom: Ana");
            assert_ne!(verified(&dns, second).await, Some("pass"), "another From breaks it");
            let added = message.replace("Subject:", "Reply-To: eve@evil.test\r\nSubject:");
            assert_ne!(verified(&dns, added).await, Some("pass"), "and so does a field that was not there");
            assert_ne!(verified(&dns, message.replace("figures", "figurez")).await, Some("pass"));
        }
    }
}

#[test]
fn the_nearest_domain_signs_and_no_other_author_is_signed_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let signers = Signers::load(&config(folder.path(), "")).expect("keys");
    for (author, domain) in [
        ("a@agency.test", Some("d=agency.test;")),
        ("A@Sub.AGENCY.test", Some("d=agency.test;")),
        ("a@other.test", Some("d=other.test;")),
        ("a@notagency.test", None),
        ("a@test", None),
        ("", None),
    ] {
        let message = signed(&signers, &format!("From: {author}\r\n\r\nx\r\n"), 1000);
        assert_eq!(
            message.as_deref().map(|message| message.contains(domain.unwrap_or("?"))),
            domain.map(|_| true),
            "{author}: {message:?}"
        );
    }
}

#[test]
fn only_our_own_mail_is_vouched_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let listeners = "domains = [\"agency.test\"]\ndeliver_to = \"smtp://127.0.0.1:1\"\n[receive.public]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\n\
                     allow = [\"10.1.0.0/16\"]\n[receive.inside]\nlisten = \"127.0.0.1:0\"\nrole = \"submit\"\n";
    let config = config(folder.path(), listeners);
    let origin = |listener: &str, client: Option<[u8; 4]>, user: Option<&str>| Origin {
        listener: listener.into(),
        client: client.map(Into::into),
        session: "s".into(),
        channel: Channel::plain(),
        trusted: false,
        user: user.map(Into::into),
    };
    for (origin, own) in [
        (origin("public", Some([192, 0, 2, 1]), None), false),
        (origin("gone", Some([10, 1, 0, 1]), None), false),
        (origin("public", Some([10, 1, 0, 1]), None), true),
        (origin("public", Some([192, 0, 2, 1]), Some("ana")), true),
        (origin("inside", Some([192, 0, 2, 1]), None), true),
        (origin("notice", None, None), true),
    ] {
        assert_eq!(is_own(&config, &origin), own, "{origin:?}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), "");
    let path = &config.dkim.keys[0].key;
    std::fs::write(path, "no key").expect("written");
    let broken = format!("{:#}", Signers::load(&config).expect_err("broken"));
    assert!(broken.contains("agency.test") && broken.contains("r.pem") && broken.contains("secmx dkim keygen"), "{broken}");
    std::fs::remove_file(path).expect("removed");
    let missing = format!("{:#}", Signers::load(&config).expect_err("missing"));
    assert!(missing.contains("cannot read") && missing.contains("r.pem"), "{missing}");
}

#[test]
fn long_records_are_split_into_strings() {
    let line = zone_line("s", "a.test", &"x".repeat(300));
    assert_eq!(line, format!("s._domainkey.a.test. IN TXT \"{}\" \"{}\"\n", "x".repeat(255), "x".repeat(45)));
}
