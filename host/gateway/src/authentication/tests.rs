//! Results against a DNS server of the laboratory, messages signed by the library's own signer.

use super::{Arrival, Authenticator, Found};
use crate::config::Config;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mail_auth::arc::ArcSealer;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use mail_auth::{AuthenticatedMessage, AuthenticationResults};
use secmx_core::mail::Mailbox;
use secmx_lab::dns::{Answer, Dns};
use std::time::{Duration, Instant};

const SIGNED: &str = "From: ana@health.test\r\nTo: bo@agency.test\r\nSubject: s\r\n\r\nfigures\r\n";

struct World {
    dns: Dns,
    pkcs8: Vec<u8>,
    _anchor: tempfile::NamedTempFile,
    config: Config,
    authenticator: Authenticator,
}

/// `health.test` publishes SPF for 192.0.2.1, a key and DMARC.
async fn world(more: &str) -> World {
    let dns = Dns::start().await.expect("a server");
    let pkcs8 = Ed25519Key::generate_pkcs8().expect("a key");
    let key = Ed25519Key::from_pkcs8_der(&pkcs8).expect("a key");
    dns.txt("health.test", &["v=spf1 ip4:192.0.2.1 -all"]);
    dns.txt("k._domainkey.health.test", &[&format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(key.public_key()))]);
    dns.txt("_dmarc.health.test", &["v=DMARC1; p=reject"]);
    let anchor = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(anchor.path(), dns.anchor()).expect("written");
    let text = format!("{more}\n[dns]\nresolvers = [\"{}\"]\nanchors = {:?}\ntimeout = \"300ms\"\n", dns.addr(), anchor.path());
    let (config, _) = Config::parse("test.toml", &text).expect("valid");
    World { authenticator: Authenticator::new(&config).expect("a resolver"), config, dns, pkcs8, _anchor: anchor }
}

fn signed(world: &World) -> String {
    let key = Ed25519Key::from_pkcs8_der(&world.pkcs8).expect("a key");
    let signature = DkimSigner::from_key(key).domain("health.test").selector("k").headers(["From", "Subject"]).sign(SIGNED.as_bytes());
    signature.expect("signed").to_header() + SIGNED
}

async fn found(world: &World, client: [u8; 4], from: &str, message: impl Into<Bytes>) -> Found {
    let reverse_path = (!from.is_empty()).then(|| Mailbox::parse(from.as_bytes(), false).expect("valid"));
    let arrival = Arrival { client: client.into(), hello: Some("mx.health.test".into()), reverse_path, octets: message.into() };
    world.authenticator.about(arrival).found().await.clone()
}

fn words(found: &Found) -> [&str; 4] {
    ["spf", "dkim", "dmarc", "dmarc-policy"].map(|method| found.result(method).unwrap_or("-"))
}

#[tokio::test]
async fn results_are_what_dns_and_signatures_say() {
    let world = world("").await;
    world.dns.txt("multi.test", &["v=spf1 include:broken.test -all"]);
    world.dns.txt("_dmarc.soft.test", &["v=DMARC1; p=quarantine"]);
    let (good, bad) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let signed = signed(&world);
    let unsigned = SIGNED.to_owned();
    let from = |author: &str| format!("From: {author}\r\nSubject: s\r\n\r\nx\r\n");
    for (client, path, message, expected) in [
        (good, "ana@health.test", unsigned.clone(), ["pass", "none", "pass", "reject"]),
        (bad, "ana@health.test", unsigned.clone(), ["fail", "none", "fail", "reject"]),
        (bad, "ana@health.test", signed.clone(), ["fail", "pass", "pass", "reject"]),
        (bad, "list@forwarder.test", signed.clone(), ["none", "pass", "pass", "reject"]),
        (bad, "a@health.test", signed.replace("figures", "figurez"), ["fail", "fail", "fail", "reject"]),
        (bad, "a@health.test", signed.replace("Subject: s", "Subject: t"), ["fail", "fail", "fail", "reject"]),
        (bad, "a@health.test", signed.replace("s=k;", "s=other;"), ["fail", "permerror", "fail", "reject"]),
        (good, "a@health.test", from("eve@nobody.test"), ["pass", "none", "none", "-"]),
        (good, "a@health.test", from("eve@soft.test"), ["pass", "none", "fail", "quarantine"]),
        (good, "a@health.test", from("eve@sub.health.test"), ["pass", "none", "pass", "reject"]),
        (good, "", from("postmaster@mx.health.test"), ["none", "none", "fail", "reject"]),
        (good, "a@multi.test", from("a@multi.test"), ["permerror", "none", "none", "-"]),
        (good, "a@health.test", from("ana@health.test, eve@soft.test"), ["pass", "none", "permerror", "-"]),
        (good, "a@health.test", "no header at all".to_owned(), ["pass", "none", "permerror", "-"]),
        (good, "a@health.test", String::new(), ["pass", "none", "permerror", "-"]),
    ] {
        let found = found(&world, client, path, message.clone()).await;
        assert_eq!(words(&found), expected, "{client:?} {path} {message}");
    }
}

#[tokio::test]
async fn what_dns_does_not_tell_is_temperror_and_in_time() {
    let world = world("[authentication]\ntime = \"700ms\"").await;
    let signed = signed(&world);
    for answer in [Answer::Failure(hickory_resolver::proto::op::ResponseCode::ServFail), Answer::Silence] {
        for name in ["health.test", "k._domainkey.health.test"] {
            world.dns.set(name, hickory_resolver::proto::rr::RecordType::TXT, answer.clone());
        }
        let fresh = Authenticator { with: std::sync::Arc::clone(&world.authenticator.with), ..world.authenticator.clone() };
        let started = Instant::now();
        let arrival = Arrival {
            client: [192, 0, 2, 1].into(),
            hello: None,
            reverse_path: Some(Mailbox::parse(b"ana@health.test", false).expect("valid")),
            octets: signed.clone().into(),
        };
        let question = fresh.about(arrival);
        let found = question.found().await;
        assert_eq!(&words(found)[..3], ["temperror", "temperror", "temperror"]);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(found.to_field("gw.test").contains("dkim=temperror"), "{}", found.to_field("gw.test"));
    }
}

#[tokio::test]
async fn more_signatures_than_allowed_are_not_verified() {
    let world = world("[authentication]\nsignatures = 2").await;
    let other = "DKIM-Signature: v=1; a=ed25519-sha256; d=other.test; s=k; c=relaxed/relaxed; h=From; bh=AAAA; b=AAAA\r\n";
    let (first, last) = (signed(&world), other.repeat(2) + &signed(&world));
    assert_eq!(found(&world, [192, 0, 2, 2], "a@health.test", other.to_owned() + &first).await.result("dkim"), Some("pass"));
    assert_eq!(found(&world, [192, 0, 2, 2], "a@health.test", last).await.result("dkim"), Some("fail"));
    assert!(world.dns.asked().iter().all(|(name, ..)| !name.contains("other.test")), "another body: its key is not asked for");
}

#[tokio::test]
async fn a_large_message_is_examined_too() {
    let world = world("").await;
    let message = format!("{SIGNED}{}", "line\r\n".repeat(200_000));
    let key = Ed25519Key::from_pkcs8_der(&world.pkcs8).expect("a key");
    let signature =
        DkimSigner::from_key(key).domain("health.test").selector("k").headers(["From"]).sign(message.as_bytes()).expect("signed");
    assert_eq!(found(&world, [192, 0, 2, 2], "a@health.test", signature.to_header() + &message).await.result("dkim"), Some("pass"));
}

/// The message, sealed by this domain with the key of `health.test`, after `changed`.
async fn sealed(world: &World, domain: &str, message: &str, results: &str, changed: impl Fn(&str) -> String) -> String {
    let parsed = AuthenticatedMessage::parse(message.as_bytes()).expect("a message");
    let chain = world.authenticator.with.verify_arc(&parsed).await;
    let changed = changed(message);
    let changed_parsed = AuthenticatedMessage::parse(changed.as_bytes()).expect("a message");
    let key = Ed25519Key::from_pkcs8_der(&world.pkcs8).expect("a key");
    let text = format!("mx.{domain}; {results}");
    let results = AuthenticationResults::new(&text);
    let set = ArcSealer::from_key(key).domain(domain).selector("k").headers(["From", "Subject"]).seal(&changed_parsed, &results, &chain);
    set.expect("sealed").to_header() + &changed
}

fn chain(found: &Found) -> [&str; 3] {
    ["arc", "arc-sealers", "arc-dmarc"].map(|method| found.result(method).unwrap_or("-"))
}

/// RFC 8617: a chain holds or it does not, and only of one that holds is anything believed.
#[tokio::test]
async fn a_chain_that_holds_says_who_sealed_it() {
    let world = world("").await;
    let key = Ed25519Key::from_pkcs8_der(&world.pkcs8).expect("a key");
    let record = format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(key.public_key()));
    for domain in ["list.test", "relay.test"] {
        world.dns.txt(&format!("k._domainkey.{domain}"), &[&record]);
    }
    let same = |message: &str| message.to_owned();
    let signed = signed(&world);
    let once = sealed(&world, "list.test", &signed, "spf=pass; dmarc=pass", same).await;
    // A list changes what it sends on, and seals it again.
    let changes = |message: &str| message.replace("figures", "figures, and a footer");
    let twice = sealed(&world, "relay.test", &once, "arc=pass; dmarc=fail", changes).await;
    let pass = ["pass", "list.test relay.test", "pass"];
    let fail = ["fail", "-", "-"];
    for (message, expected) in [
        (signed.clone(), ["none", "-", "-"]),
        (once.clone(), ["pass", "list.test", "pass"]),
        (twice.clone(), pass),
        ("Received: by x\r\n".to_owned() + &twice, pass),
        (once.replace("figures", "figurez"), fail),
        (twice.replace("Subject: s", "Subject: t"), fail),
        (twice.replace("dmarc=fail", "dmarc=pass"), fail),
        (twice.replacen("i=2", "i=3", 1), fail),
        (twice.replacen("cv=pass", "cv=fail", 1), fail),
        (twice.replacen("ARC-Seal: i=2", "X-Seal: i=2", 1), fail),
        (once.replacen("ARC-Message-Signature: ", "X: ", 1), fail),
        (once.replacen("ARC-Authentication-Results: ", "X: ", 1), fail),
        (once.replacen("a=ed25519-sha256", "a=rsa-sha1", 1), fail),
        (once.replacen("cv=none", "cv=nothing", 1), fail),
        (once.replace("s=k; d=list.test", "s=gone; d=list.test"), fail),
    ] {
        let found = found(&world, [192, 0, 2, 2], "a@list.test", message.clone()).await;
        assert_eq!(chain(&found), expected, "{message}");
    }
    let found = found(&world, [192, 0, 2, 2], "a@list.test", twice.clone()).await;
    assert_eq!(&words(&found)[1..3], ["fail", "fail"], "the chain makes no signature good");
    assert!(found.to_field("gw.test").contains(";\r\n\tarc=pass\r\n\t smtp.remote-ip=192.0.2.2;"), "{}", found.to_field("gw.test"));
    world.dns.set("k._domainkey.list.test", hickory_resolver::proto::rr::RecordType::TXT, Answer::Silence);
    let fresh = Authenticator::new(&world.config).expect("a resolver");
    let arrival = Arrival { client: [192, 0, 2, 2].into(), hello: None, reverse_path: None, octets: once.into() };
    assert_eq!(chain(fresh.about(arrival).found().await), ["temperror", "-", "-"], "could not be told");
}

/// A signature that leaves From open is none (RFC 6376, 5.4).
#[tokio::test]
async fn a_chain_that_leaves_the_author_open_does_not_hold() {
    let world = world("").await;
    let key = Ed25519Key::from_pkcs8_der(&world.pkcs8).expect("a key");
    let message = AuthenticatedMessage::parse(SIGNED.as_bytes()).expect("a message");
    let results = AuthenticationResults::new("mx.health.test; dmarc=pass");
    let set =
        ArcSealer::from_key(key).domain("health.test").selector("k").headers(["Subject"]).seal(&message, &results, &Default::default());
    let octets = set.expect("sealed").to_header() + SIGNED;
    let found = found(&world, [192, 0, 2, 2], "a@health.test", octets).await;
    assert_eq!(chain(&found), ["fail", "-", "-"]);
    assert!(found.to_field("gw.test").contains("arc=fail reason=\"From is not signed\""), "{}", found.to_field("gw.test"));
}
