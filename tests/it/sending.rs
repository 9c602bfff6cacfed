//! Mail on its way out, through real sockets, TLS and DNS, to peers that lie.

use anyhow::Result;
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{RData, RecordType};
use secmx_lab::ca::Flaw;
use secmx_lab::dns::Answer;
use secmx_lab::peer::{Behaviour, Peer, Seen, StartTls};
use secmx_tests::Rig;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

fn with(starttls: StartTls) -> Behaviour {
    Behaviour { starttls, ..Behaviour::default() }
}

/// Whether an envelope command was seen in the clear.
fn leaked(peer: &Peer) -> bool {
    let holds = |seen: &Seen, word: &str| String::from_utf8_lossy(&seen.clear).contains(word);
    peer.connections().iter().any(|seen| ["MAIL", "RCPT", "DATA", "The body"].iter().any(|word| holds(seen, word)))
}

/// L1-2, L1-3, L1-4: one lying peer per cause; mail arrives in the clear on a new connection, and nothing but EHLO, STARTTLS and QUIT was
/// said in the clear on the one where TLS failed.
#[tokio::test(flavor = "multi_thread")]
async fn l1_3_best_effort_gets_through_whatever_starttls_does() -> Result<()> {
    let rig = Rig::with("[send.timeouts]\nhandshake = \"1s\"\nstarttls = \"1s\"", "").await?;
    let causes = [
        StartTls::Absent,
        StartTls::Refused("454 4.7.0 not now\r\n".into()),
        StartTls::Refused("501 5.5.1 no\r\n".into()),
        StartTls::Garbage(b"\x15\x03\x01\x00\x02\x02\x28".to_vec()),
        StartTls::Garbage(b"250 what\r\n".to_vec()),
        StartTls::Closes,
        StartTls::Stalls,
    ];
    for (number, cause) in (10_u8..).zip(causes) {
        let (domain, host) = (format!("p{number}.test"), format!("mx.p{number}.test"));
        let peer = rig.host(&host, number, with(cause.clone()), Flaw::None).await?;
        rig.dns.mx(&domain, &[(10, &host)]);
        rig.submit("ana@agency.test", &[&format!("bo@{domain}")]).await?;
        let taken = peer.wait_for_messages(1, PATIENCE).await;
        assert_eq!(taken.len(), 1, "{cause:?}");
        assert!(!taken[0].tls);
        let connections = peer.connections();
        assert_eq!(connections.len(), 2, "{cause:?}: one with TLS, one without (L1-4)");
        let first = String::from_utf8_lossy(&connections[0].clear).into_owned();
        assert!(!first.contains("MAIL") && (cause == StartTls::Absent || first.contains("STARTTLS")), "{cause:?}: {first}");
    }
    Ok(())
}

/// L2-2: no plaintext while a secure candidate is untried.
#[tokio::test(flavor = "multi_thread")]
async fn l2_2_a_less_preferred_host_with_tls_comes_before_plaintext() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let plain = rig.host("mx1.p.test", 30, with(StartTls::Absent), Flaw::None).await?;
    let secure = rig.host("mx2.p.test", 31, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx1.p.test"), (20, "mx2.p.test")]);
    rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    assert_eq!(secure.wait_for_messages(1, PATIENCE).await.len(), 1);
    assert!(plain.messages().is_empty() && !leaked(&plain));
    Ok(())
}

/// L2-1, L2-5, decision 9: two sender roles in one message, each with its own fate; the SOS half comes back with 5.7.10, header only.
#[tokio::test(flavor = "multi_thread")]
async fn l2_1_l2_5_one_message_under_both_roles() -> Result<()> {
    let rig = Rig::with("", "[[send.rule]]\nname = \"s\"\nto = [\"secret@p.test\"]\nrole = \"SOS\"\n").await?;
    let peer = rig.host("mx.p.test", 32, with(StartTls::Absent), Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    let queue = rig.submit("ana@agency.test", &["bo@p.test", "secret@p.test"]).await?;
    let taken = peer.wait_for_messages(1, PATIENCE).await;
    assert_eq!(taken[0].forward_paths, ["bo@p.test"], "best effort goes in the clear, and only it");
    let returned = rig.event("message.returned", |event| event["queue"] == queue.as_str()).await?;
    assert_eq!(returned["recipients"], serde_json::json!(["secret@p.test"]));
    let bounce = rig.inside.wait_for_messages(1, PATIENCE).await;
    let text = String::from_utf8_lossy(&bounce[0].content).into_owned();
    assert_eq!((bounce[0].reverse_path.as_str(), bounce[0].forward_paths.as_slice()), ("", ["ana@agency.test".to_owned()].as_slice()));
    for part in ["Status: 5.7.10", "Final-Recipient: rfc822; secret@p.test", "mx.p.test", "Subject: test", "does not offer STARTTLS"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("The body"), "secure-only content does not come back: {text}");
    assert!(!peer.connections().iter().any(|seen| String::from_utf8_lossy(&seen.clear).contains("secret@p.test")), "L2-4");
    Ok(())
}

/// L2-4, decision 8: certificates that prove nothing are not enough for SOS, and the bounce says 5.7.5; best effort uses the channel.
#[tokio::test(flavor = "multi_thread")]
async fn l2_4_strangers_get_nothing_under_secure_only() -> Result<()> {
    let rule = "[[send.rule]]\nname = \"s\"\nto = [\"sos@e.test\", \"sos@n.test\", \"sos@s.test\"]\nrole = \"SOS\"\n";
    let rig = Rig::with("", rule).await?;
    for (at, domain, certificate, flaw) in [
        (33, "e.test", "mx.e.test", Flaw::Expired),
        (34, "n.test", "other.test", Flaw::None),
        (35, "s.test", "mx.s.test", Flaw::SelfSigned),
    ] {
        let host = format!("mx.{domain}");
        let address = IpAddr::from([127, 0, 0, at]);
        rig.dns.host(&host, address);
        let peer = Peer::start_at((address, rig.mx_port()).into(), Behaviour::default(), &rig.identity(certificate, flaw)?).await?;
        rig.dns.mx(domain, &[(10, &host)]);
        let queue = rig.submit("ana@agency.test", &[&format!("sos@{domain}")]).await?;
        let event = rig.outcome(&queue).await?;
        assert_eq!(event["event"], "message.returned", "{event}");
        assert_eq!(event["failure"]["cause"]["kind"], "below-requirement", "{event}");
        assert!(peer.messages().is_empty() && !leaked(&peer), "{domain}");
        rig.submit("ana@agency.test", &[&format!("bes@{domain}")]).await?;
        let taken = peer.wait_for_messages(1, PATIENCE).await;
        assert!(taken[0].tls, "{domain}: encrypted is better than nothing");
    }
    Ok(())
}

/// S4 as a client: octets behind the 220 to STARTTLS are an attack, never replies.
#[tokio::test(flavor = "multi_thread")]
async fn s4_injected_replies_are_not_believed() -> Result<()> {
    let rig = Rig::with("plaintext = \"deny\"", "").await?;
    let injects = StartTls::Injects(b"250 evil\r\n".to_vec());
    let peer = rig.host("mx.p.test", 36, with(injects), Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    assert_eq!(rig.outcome(&queue).await?["event"], "message.deferred");
    assert!(!leaked(&peer) && peer.messages().is_empty());
    Ok(())
}

/// D-1, D-4, D-6: the SRV record's owner, its port, and a target that is an alias, followed and reported.
#[tokio::test(flavor = "multi_thread")]
async fn d_1_d_4_d_6_srv_leads_to_the_host() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let address = IpAddr::from([127, 0, 0, 37]);
    let identity = rig.identity("secmail.p.test", Flaw::None)?;
    let sor = Peer::start_at((address, rig.mx_port()).into(), Behaviour { requires_tls: true, ..Behaviour::default() }, &identity).await?;
    rig.dns.host("real.p.test", address);
    rig.dns.alias("secmail.p.test", "real.p.test");
    rig.dns.secmx("p.test", &[(10, 10, rig.mx_port(), "secmail.p.test")]);
    rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    let taken = sor.wait_for_messages(1, PATIENCE).await;
    assert!(taken[0].tls);
    assert_eq!(sor.connections()[0].server_name.as_deref(), Some("secmail.p.test"), "the name that SRV gave, not what it is an alias of");
    assert!(rig.dns.asked().iter().any(|(name, _, _)| name == "_secmx._tcp.p.test"));
    let alias = rig.event("delivery.alias", |_| true).await?;
    assert_eq!((alias["exchanger"].as_str(), alias["target"].as_str()), (Some("secmail.p.test"), Some("real.p.test")));
    Ok(())
}

/// D-7: a dead IPv6 address does not keep mail from the living IPv4 one.
#[tokio::test(flavor = "multi_thread")]
async fn d_7_every_address_is_tried() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let peer = rig.host("mx.p.test", 38, Behaviour::default(), Flaw::None).await?;
    rig.dns.host("mx.p.test", IpAddr::V6(Ipv6Addr::LOCALHOST));
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    assert_eq!(peer.wait_for_messages(1, PATIENCE).await.len(), 1);
    let failed = rig.event("attempt.failed", |_| true).await?;
    assert_eq!(failed["failure"]["cause"]["kind"], "unreachable");
    Ok(())
}

/// D-8: mail whose MX is ourselves does not go round and round.
#[tokio::test(flavor = "multi_thread")]
async fn d_8_our_own_host_is_no_exchanger() -> Result<()> {
    let rig = Rig::with("", "").await?;
    rig.dns.mx("p.test", &[(10, "gw.agency.test"), (20, "mx.p.test")]);
    let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    let event = rig.outcome(&queue).await?;
    assert_eq!(event["failure"]["cause"]["kind"], "loops-to-us", "{event}");
    Ok(())
}

/// D-9: a truncated answer is asked for again over TCP; SERVFAIL and silence wait, and are never "none" (invariant 5).
#[tokio::test(flavor = "multi_thread")]
async fn d_9_truncation_and_silence() -> Result<()> {
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::rdata::MX;
    use hickory_proto::rr::{Name, RData, RecordType};
    let rig = Rig::with("", "").await?;
    let peer = rig.host("mx.p.test", 39, Behaviour::default(), Flaw::None).await?;
    let mx = RData::MX(MX::new(10, Name::from_ascii("mx.p.test.")?));
    rig.dns.set("p.test", RecordType::MX, Answer::Truncated(vec![mx]));
    rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    assert_eq!(peer.wait_for_messages(1, PATIENCE).await.len(), 1);
    assert!(rig.dns.asked().iter().any(|(name, kind, tcp)| name == "p.test" && *kind == RecordType::MX && *tcp));
    for (domain, answer) in [("f.test", Answer::Failure(ResponseCode::ServFail)), ("q.test", Answer::Silence)] {
        rig.dns.host(domain, IpAddr::from([127, 0, 0, 39]));
        rig.dns.set(domain, RecordType::MX, answer);
        let queue = rig.submit("ana@agency.test", &[&format!("bo@{domain}")]).await?;
        let event = rig.outcome(&queue).await?;
        assert_eq!((event["event"].as_str(), event["failure"]["cause"]["kind"].as_str()), (Some("message.deferred"), Some("dns-unknown")));
    }
    assert_eq!(peer.messages().len(), 1, "the address of the domain is no MX while MX is unknown");
    Ok(())
}

/// L2-10: a DNS change takes effect after its TTL, without anybody being told.
#[tokio::test(flavor = "multi_thread")]
async fn l2_10_a_dns_change_takes_effect() -> Result<()> {
    use hickory_proto::rr::rdata::MX;
    use hickory_proto::rr::{Name, RData, RecordType};
    let rig = Rig::with("", "").await?;
    let old = rig.host("old.p.test", 40, Behaviour::default(), Flaw::None).await?;
    let new = rig.host("new.p.test", 41, Behaviour::default(), Flaw::None).await?;
    let set = |host: &str| -> Result<()> {
        let record = RData::MX(MX::new(10, Name::from_ascii(host)?));
        rig.dns.set_for("p.test", RecordType::MX, 1, Answer::Records(vec![record]));
        Ok(())
    };
    set("old.p.test.")?;
    rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    assert_eq!(old.wait_for_messages(1, PATIENCE).await.len(), 1);
    set("new.p.test.")?;
    for _ in 0..100 {
        let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
        rig.outcome(&queue).await?;
        if !new.messages().is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("five seconds after a TTL of one the old host still gets the mail")
}

/// Strangers' DNS does not lead to addresses inside, unless the operator allows it.
#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_not_dialled() -> Result<()> {
    let mut rig = Rig::world().await?;
    let peer = rig.host("mx.p.test", 42, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    let text = rig.configuration("", "").replace("allow_private = true", "allow_private = false");
    rig.start_with(&text).await?;
    let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    let event = rig.outcome(&queue).await?;
    assert_eq!(event["failure"]["cause"]["kind"], "unreachable", "{event}");
    assert!(peer.connections().is_empty());
    Ok(())
}

/// Retry, restart, and the end: what waits is tried again when its time comes, also by the next process, and once delivered it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_tried_again_and_survives_a_restart() -> Result<()> {
    let mut rig = Rig::with("", "").await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    rig.dns.host("mx.p.test", IpAddr::from([127, 0, 0, 43]));
    let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    assert_eq!(rig.outcome(&queue).await?["event"], "message.deferred");
    rig.stop().await;
    rig.start("", "").await?;
    assert_eq!(rig.gateway()?.spool().counts().await.messages, 1, "it is still there");
    let peer = rig.host("mx.p.test", 43, Behaviour::default(), Flaw::None).await?;
    rig.clock.advance(Duration::from_secs(120));
    assert_eq!(peer.wait_for_messages(1, PATIENCE).await.len(), 1);
    rig.event("message.delivered", |event| event["queue"] == queue.as_str()).await?;
    rig.stop().await;
    rig.start("", "").await?;
    assert_eq!(rig.gateway()?.spool().counts().await.messages, 0);
    Ok(())
}

/// R9: what cannot be returned ends: no bounce for `<>`, and a delay notice once.
#[tokio::test(flavor = "multi_thread")]
async fn r9_no_bounce_to_nobody_and_one_delay_notice() -> Result<()> {
    let rig = Rig::with("warn_after = \"1h\"", "").await?;
    let queue = rig.submit("", &["bo@nowhere.test"]).await?;
    let event = rig.outcome(&queue).await?;
    assert_eq!((event["event"].as_str(), event["bounce"].is_null()), (Some("message.returned"), true));
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    rig.dns.host("mx.p.test", IpAddr::from([127, 0, 0, 44]));
    let waits = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    rig.outcome(&waits).await?;
    for deferred in 2..5 {
        rig.clock.advance(Duration::from_secs(5 * 3600));
        let count = || rig.log.named("message.deferred").iter().filter(|event| event["queue"] == waits.as_str()).count();
        rig.event("message.deferred", |_| count() >= deferred).await?;
    }
    let notices = rig.inside.wait_for_messages(1, PATIENCE).await;
    assert_eq!(notices.len(), 1, "one notice, however often it is tried");
    let text = String::from_utf8_lossy(&notices[0].content).into_owned();
    assert!(text.contains("Action: delayed") && text.contains("Status: 4.4.1") && text.contains("Will-Retry-Until"), "{text}");
    Ok(())
}

/// D-10 and decision 5: where the operator wants it, hosts that `_smtp-tls._tcp` names come before MX hosts, over TLS from the first octet at
/// any port but 25; a secure only sender has a host there, best effort never sends there in the clear, and who is not asked to look finds none.
#[tokio::test(flavor = "multi_thread")]
async fn d_10_hosts_of_smtp_tls_get_mail_over_implicit_tls() -> Result<()> {
    let mut rig = Rig::world().await?;
    let implicit = Behaviour { implicit: true, ..Behaviour::default() };
    let secure = rig.host("tls.later.test", 20, implicit, Flaw::None).await?;
    let mx = rig.host("mx.later.test", 21, with(StartTls::Absent), Flaw::None).await?;
    rig.dns.mx("later.test", &[(10, "mx.later.test")]);
    let target = "tls.later.test.".parse().expect("a name");
    rig.dns.set("_smtp-tls._tcp.later.test", RecordType::SRV, Answer::Records(vec![RData::SRV(SRV::new(10, 10, rig.mx_port(), target))]));
    let rules = "[[send.rule]]\nname = \"secure\"\nto = [\"sos@later.test\"]\nrole = \"SOS\"\n";
    rig.start("discover = [\"srv\", \"smtp-tls\", \"mx\"]\n", rules).await?;
    for to in ["bes@later.test", "sos@later.test"] {
        let queue = rig.submit("ana@agency.test", &[to]).await?;
        let end = rig.outcome(&queue).await?;
        assert_eq!((end["event"].as_str(), end["exchanger"].as_str()), (Some("message.delivered"), Some("tls.later.test")), "{end:#}");
        assert_eq!(end["channel"]["level"], "host", "{end:#}");
    }
    assert!(secure.connections().iter().all(|seen| seen.tls && seen.clear.is_empty()), "not one octet in the clear");
    assert!(mx.connections().is_empty());
    rig.stop().await;
    let asked = |rig: &Rig| rig.dns.asked().iter().filter(|(name, ..)| name.starts_with("_smtp-tls")).count();
    let before = asked(&rig);
    assert!(before > 0);

    rig.start("retry = [\"1h\"]\n", rules).await?;
    let queue = rig.submit("ana@agency.test", &["sos@later.test"]).await?;
    let end = rig.outcome(&queue).await?;
    assert_eq!(end["event"], "message.returned", "without `smtp-tls` there is no secure host: {end:#}");
    assert_eq!(asked(&rig), before, "and nobody looks for one");
    Ok(())
}
