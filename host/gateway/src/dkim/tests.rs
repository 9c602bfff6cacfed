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

async fn verified(dns: &Dns, message: String) -> Option<String> {
    let anchor = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(anchor.path(), dns.anchor()).expect("written");
    let text = format!("[dns]\nresolvers = [\"{}\"]\nanchors = {:?}\ntimeout = \"300ms\"\n", dns.addr(), anchor.path());
    let (config, _) = Config::parse("test.toml", &text).expect("valid");
    let arrival = Arrival { client: [192, 0, 2, 1].into(), hello: None, reverse_path: None, octets: message.into() };
    Authenticator::new(&config).expect("a resolver").about(arrival).found().await.result("dkim").map(str::to_owned)
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
            assert_eq!(verified(&dns, message.clone()).await.as_deref(), Some("pass"), "{name} {canonicalization}");
            let second = message.replace("From: Ana", "From: eve@evil.test\r\nFrom: Ana");
            assert_ne!(verified(&dns, second).await.as_deref(), Some("pass"), "another From breaks it");
            let added = message.replace("Subject:", "Reply-To: eve@evil.test\r\nSubject:");
            assert_ne!(verified(&dns, added).await.as_deref(), Some("pass"), "and so does a field that was not there");
            assert_ne!(verified(&dns, message.replace("figures", "figurez")).await.as_deref(), Some("pass"));
        }
    }
}

#[test]
fn a_key_may_cover_other_fields_in_another_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = config(folder.path(), "");
    let own = "[dkim]\nkeys = [{ domain = \"a.test\", selector = \"a\", key = \"a.pem\", headers = [\"From\", \"Subject\"], canonicalization = \"simple/simple\" }]\n";
    let own = Config::parse("test.toml", own).expect("valid").0.dkim.keys.remove(0);
    (config.dkim.keys[0].headers, config.dkim.keys[0].canonicalization) = (own.headers, own.canonicalization);
    let message = signed(&Signers::load(&config).expect("keys"), MESSAGE, 1_000).expect("ours");
    let (first, second) = message.split_at(message.rfind("DKIM-Signature:").expect("two"));
    let covered =
        |field: &str| field.split_once("h=").and_then(|(_, rest)| rest.split_once(';')).map_or(0, |(names, _)| names.split(':').count());
    assert!(first.contains("c=simple/simple") && covered(first) == 3, "From is named twice: {first}");
    assert!(second.contains("c=relaxed/relaxed") && covered(second) == 13, "{second}");
    let without = "[dkim]\nkeys = [{ domain = \"a.test\", selector = \"a\", key = \"a.pem\", headers = [\"Subject\"] }]\n";
    let findings = Config::parse("test.toml", without).expect_err("refused");
    assert!(findings.iter().any(|finding| finding.to_string().contains("`dkim.keys.headers` must name From")), "{findings:?}");
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
        judged: false,
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

/// Publishes the record of every key of a configuration.
async fn published(config: &Config) -> Dns {
    let dns = Dns::start().await.expect("a server");
    for key in &config.dkim.keys {
        let record = super::Key::read(&key.key).and_then(|key| key.record()).expect("a record");
        let strings = record.as_bytes().chunks(255).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        let name = format!("{}._domainkey.{}", key.selector, key.domain);
        dns.set(&name, RecordType::TXT, Answer::Records(vec![RData::TXT(TXT::new(strings))]));
    }
    dns
}

/// What the chain of a message comes to, and who is in it.
async fn chain(dns: &Dns, message: String) -> [String; 3] {
    let anchor = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(anchor.path(), dns.anchor()).expect("written");
    let text = format!("[dns]\nresolvers = [\"{}\"]\nanchors = {:?}\ntimeout = \"300ms\"\n", dns.addr(), anchor.path());
    let (config, _) = Config::parse("test.toml", &text).expect("valid");
    let arrival = Arrival { client: [192, 0, 2, 1].into(), hello: None, reverse_path: None, octets: message.into() };
    let question = Authenticator::new(&config).expect("a resolver").about(arrival);
    let found = question.found().await;
    ["arc", "arc-sealers", "arc-dmarc"].map(|method| found.result(method).unwrap_or("-").to_owned())
}

/// The set that seals a message, written in pieces of that many octets.
fn sealed(signers: &Signers, message: &str, piece: usize) -> Option<String> {
    let mut sealing = signers.begin_seal(message.as_bytes())?;
    message.as_bytes().chunks(piece).for_each(|octets| sealing.write(octets));
    Some(sealing.finish().expect("sealed"))
}

/// A message as it lies in the queue, judged.
fn judged(arc: &str) -> String {
    let found = format!(
        "Authentication-Results: gw.agency.test;\r\n\tspf=pass\r\n\t smtp.mailfrom=bo@health.test;\r\n\tdkim=fail reason=\"a;  b\"\r\n\t \
         header.d=health.test;\r\n\tarc={arc}\r\n\t smtp.remote-ip=192.0.2.1;\r\n\tdmarc=pass\r\n\t header.from=health.test\r\n"
    );
    MESSAGE.replacen("From: ", &format!("{found}From: "), 1)
}

const SEALING: &str = "hostname = \"gw.agency.test\"\n[authentication]\nresults = true\nseal = \"agency.test\"\n";

/// RFC 8617: each gateway on the way adds a set, and the chain holds although the message was changed between them.
#[tokio::test]
async fn what_was_found_is_sealed_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), SEALING);
    let (dns, signers) = (published(&config).await, Signers::load(&config).expect("keys"));
    let first = judged("none");
    let set = sealed(&signers, &first, 5).expect("judged");
    assert!(set.starts_with("ARC-Seal: i=1; a=rsa-sha256; s=r; d=agency.test; cv=none;"), "{set}");
    assert!(set.ends_with("header.from=health.test\r\n") && set.lines().all(|line| line.len() < 200), "{set}");
    let once = set.clone() + &first;
    assert_eq!(chain(&dns, once.clone()).await, ["pass", "agency.test", "pass"], "{once}");
    for changed in [once.replace("figures", "figurez"), once.replace("a;  b", "a; c"), once.replace("From: Ana", "From: Bob")] {
        assert_eq!(chain(&dns, changed.clone()).await[0], "fail", "{changed}");
    }
    // The next one is of the same domain, which is as good as another: changed by a policy, judged, sealed.
    let changed = judged("pass").replacen("From: ", &format!("{set}From: "), 1).replace("figures", "figures, and a disclaimer");
    let second = sealed(&signers, &changed, 1_000).expect("judged");
    assert!(second.contains("i=2;") && second.contains("cv=pass;"), "{second}");
    assert_eq!(chain(&dns, second + &changed).await, ["pass", "agency.test agency.test", "pass"]);
}

#[test]
fn what_did_not_hold_is_not_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let signers = Signers::load(&config(folder.path(), SEALING)).expect("keys");
    for message in [
        judged("fail"),
        judged("temperror"),
        judged("none").replace("\tarc=none", "\tx=none"),
        judged("none").replace("gw.agency.test", "mx.other.test"),
        MESSAGE.to_owned(),
        String::new(),
    ] {
        assert!(sealed(&signers, &message, 1_000).is_none(), "{message}");
    }
    let full = (1..=50).map(|i| {
        format!(
            "ARC-Seal: i={i}; a=rsa-sha256; d=a.test; s=s; cv={}; b=AAAA\r\nARC-Message-Signature: i={i}; a=rsa-sha256; d=a.test; s=s; h=From; bh=AAAA; \
             b=AAAA\r\nARC-Authentication-Results: i={i}; a.test; none\r\n",
            if i == 1 { "none" } else { "pass" }
        )
    });
    let full = full.collect::<String>() + &judged("pass");
    assert_eq!(sealed(&signers, &full, 1_000).as_deref(), Some(""), "no chain has 51 links");
}

#[test]
fn sealing_needs_results_and_a_key() {
    for (text, message) in [
        ("[authentication]\nseal = \"a.test\"\n", "needs `authentication.results = true`"),
        ("[authentication]\nresults = true\nseal = \"a.test\"\n", "no key of a.test"),
    ] {
        let findings = Config::parse("test.toml", text).expect_err("refused");
        assert!(findings.iter().any(|finding| finding.to_string().contains(message)), "{findings:?}");
    }
}
