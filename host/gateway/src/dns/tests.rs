//! Answers and their standing, against a DNS server that signs as it answers and lies as it is told (S-3, S7).

use super::{Dns, interleave};
use crate::config::Config;
use futures_util::future::join_all;
use hickory_resolver::proto::dnssec::rdata::DNSSECRData;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, Record, RecordType, rdata};
use secmx_core::mail::Domain;
use secmx_core::secmx::discovery::{Answer, AnswerKind, Told};
use secmx_lab::dns::{Answer as Said, Denial, Dns as Server, Fault, Forgery};
use std::net::IpAddr;
use std::time::{Duration, Instant};

#[test]
fn d7_families_take_turns() {
    assert_eq!(interleave(vec![1, 2, 3], vec![10]), [1, 10, 2, 3]);
    assert_eq!(interleave(Vec::new(), vec![10, 20]), [10, 20]);
}

struct World {
    server: Server,
    dns: Dns,
    _anchor: tempfile::NamedTempFile,
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("valid")
}

/// A server with `signed.test`, which is signed, and `plain.test`, which is not.
async fn world(mode: &str) -> World {
    let server = Server::start().await.expect("a server");
    for zone in ["signed.test", "plain.test"] {
        server.mx(zone, &[(10, &format!("mx.{zone}"))]);
        server.host(&format!("mx.{zone}"), [192, 0, 2, 1].into());
        server.alias(&format!("alias.{zone}"), &format!("mx.{zone}"));
    }
    server.sign("signed.test", Denial::Nsec).expect("a key");
    let anchor = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(anchor.path(), server.anchor()).expect("written");
    let anchors = if mode == "validate" { format!("anchors = {:?}\n", anchor.path()) } else { String::new() };
    let text = format!("[dns]\nresolvers = [\"{}\"]\ntimeout = \"300ms\"\ndnssec = \"{mode}\"\n{anchors}", server.addr());
    let (config, _) = Config::parse("test.toml", &text).expect("valid");
    World { dns: Dns::new(&config.dns).expect("a resolver"), server, _anchor: anchor }
}

fn standing<T>(told: &Told<T>) -> (AnswerKind, bool) {
    (told.answer.kind(), told.secure)
}

#[tokio::test]
async fn s_3_secure_and_insecure_answers_and_denials() {
    let World { dns, server, .. } = world("validate").await;
    for denial in [Denial::Nsec, Denial::Nsec3(0), Denial::Nsec3(5)] {
        server.sign("signed.test", denial).expect("a key");
        for (zone, secure) in [("signed.test", true), ("plain.test", false)] {
            let fresh = Dns { known: moka::sync::Cache::new(100), ..dns.clone() };
            assert_eq!(standing(&fresh.mx(&domain(zone)).await), (AnswerKind::Found, secure), "{zone} {denial:?}");
            assert_eq!(standing(&fresh.txt(zone).await), (AnswerKind::None, secure), "no such kind: {zone} {denial:?}");
            let nothing = fresh.tlsa(&format!("_25._tcp.mx.{zone}")).await;
            assert_eq!(standing(&nothing), (AnswerKind::None, secure), "no such name: {zone} {denial:?}");
            let host = fresh.host(&domain(&format!("alias.{zone}"))).await;
            assert_eq!(standing(&host.addresses), (AnswerKind::Found, secure), "{zone} {denial:?}");
            assert_eq!(host.alias, Some(domain(&format!("mx.{zone}"))));
        }
    }
    assert_eq!(standing(&dns.mx(&domain("nowhere.test")).await), (AnswerKind::None, false), "an unsigned delegation");
}

#[tokio::test]
async fn s_3_what_fails_validation_is_bogus_and_never_none() {
    for (fault, kind) in [
        (Fault::Flipped, AnswerKind::Bogus),
        (Fault::Expired, AnswerKind::Bogus),
        (Fault::NotYetValid, AnswerKind::Bogus),
        (Fault::Stripped, AnswerKind::Bogus),
        (Fault::ForeignKey, AnswerKind::Bogus),
        (Fault::KeysOfTheRoot, AnswerKind::Bogus),
        (Fault::EvilKey, AnswerKind::Bogus),
        (Fault::DsDeniedByChild, AnswerKind::Bogus),
        (Fault::KeyTrap, AnswerKind::Bogus),
        (Fault::UnknownAlgorithm, AnswerKind::Found),
    ] {
        let World { dns, server, .. } = world("validate").await;
        server.spoil("signed.test", fault);
        let before = worked();
        let found = dns.mx(&domain("signed.test")).await;
        // These two go on until they are done with or the time is over, whichever is first.
        let kind = if matches!(fault, Fault::DsDeniedByChild | Fault::KeyTrap) { found.answer.kind() } else { kind };
        assert!(kind != AnswerKind::None && (kind != AnswerKind::Found || fault == Fault::UnknownAlgorithm), "{fault:?} {found:?}");
        assert_eq!(standing(&found), (kind, false), "{fault:?} {found:?}");
        let nothing = dns.tlsa("_25._tcp.mx.signed.test").await;
        let denied = nothing.answer.kind() == AnswerKind::None;
        assert!(denied == (fault == Fault::UnknownAlgorithm) && !nothing.secure, "{fault:?}, where there is nothing: {nothing:?}");
        let spent = worked() - before;
        assert!(spent < Duration::from_secs(5), "{fault:?} bought {spent:?}");
        server.spoil("signed.test", Fault::None);
        // What was found, though insecure, holds for its time.
        let secure = dns.mx(&domain("signed.test")).await.secure;
        assert!(secure || fault == Fault::UnknownAlgorithm, "bogus is not remembered: {fault:?}");
    }
}

#[tokio::test]
async fn s_3_what_could_not_be_had_is_unknown() {
    let World { dns, server, .. } = world("validate").await;
    for (name, said) in [
        ("servfail.test", Said::Failure(ResponseCode::ServFail)),
        ("refused.test", Said::Failure(ResponseCode::Refused)),
        ("silent.test", Said::Silence),
        ("garbage.test", Said::Garbage(vec![0, 1, 0, 1, 0xff, 0xff, 0xff])),
    ] {
        server.set(name, RecordType::MX, said);
        assert_eq!(standing(&dns.mx(&domain(name)).await), (AnswerKind::Unknown, false), "{name}");
    }
    // The answer is there, the chain to it is not: that is not proof of a lie.
    server.set("signed.test", RecordType::DNSKEY, Said::Failure(ResponseCode::ServFail));
    assert_eq!(standing(&dns.mx(&domain("signed.test")).await), (AnswerKind::Unknown, false));
}

#[tokio::test]
async fn records_that_cannot_be_used_are_not_none() {
    let World { dns, server, .. } = world("off").await;
    server.mx("address.test", &[(10, "192.0.2.1")]);
    server.mx("underscore.test", &[(10, "mx_1.underscore.test")]);
    server.mx("mixed.test", &[(10, "192.0.2.1"), (20, "mx.mixed.test")]);
    for name in ["address.test", "underscore.test"] {
        assert_eq!(standing(&dns.mx(&domain(name)).await), (AnswerKind::Unknown, false), "{name}");
    }
    match dns.mx(&domain("mixed.test")).await.answer {
        Answer::Found(records) => assert_eq!(records.len(), 1, "an address is no name: {records:?}"),
        other => panic!("{other:?}"),
    }
}

/// Only records on the way from the name that was asked for count.
#[tokio::test]
async fn an_answer_about_another_name_is_ignored() {
    let World { dns, server, .. } = world("off").await;
    server.host("mx.victim.test", [192, 0, 2, 1].into());
    server.twist("mx.victim.test", RecordType::A, |reply| {
        for record in &mut reply.answers {
            record.name = "mx.attacker.test.".parse().expect("a name");
        }
    });
    let addresses = dns.addresses(&domain("mx.victim.test")).await;
    assert!(matches!(addresses.answer, Answer::None), "{addresses:?}");
}

#[tokio::test]
async fn aliases_end() {
    let World { dns, server, .. } = world("validate").await;
    server.alias("a.loop.test", "b.loop.test");
    server.alias("b.loop.test", "a.loop.test");
    assert_eq!(standing(&dns.addresses(&domain("a.loop.test")).await).0, AnswerKind::Unknown);
    for step in 0..50 {
        server.alias(&format!("n{step}.chain.test"), &format!("n{}.chain.test", step + 1));
    }
    server.host("n50.chain.test", [192, 0, 2, 1].into());
    assert_eq!(standing(&dns.addresses(&domain("n0.chain.test")).await).0, AnswerKind::Unknown);
    assert_eq!(standing(&dns.addresses(&domain("n45.chain.test")).await).0, AnswerKind::Found);
}

#[tokio::test]
async fn an_alias_out_of_a_signed_zone_is_as_insecure_as_where_it_leads() {
    let World { dns, server, .. } = world("validate").await;
    server.alias("away.signed.test", "mx.plain.test");
    assert_eq!(standing(&dns.addresses(&domain("away.signed.test")).await), (AnswerKind::Found, false));
    server.alias("home.plain.test", "mx.signed.test");
    assert_eq!(standing(&dns.addresses(&domain("home.plain.test")).await), (AnswerKind::Found, false));
}

/// D-9: TCP on truncation.
#[tokio::test]
async fn d_9_a_long_answer_comes_over_tcp() {
    let World { dns, server, .. } = world("validate").await;
    let hosts: Vec<String> = (0..200).map(|n| format!("mx{n}.signed.test")).collect();
    server.mx("signed.test", &hosts.iter().map(|host| (10, host.as_str())).collect::<Vec<_>>());
    let found = dns.mx(&domain("signed.test")).await;
    assert_eq!(standing(&found), (AnswerKind::Found, true));
    assert!(matches!(found.answer, Answer::Found(records) if records.len() == 200));
    assert!(server.asked().iter().any(|(name, kind, tcp)| name == "signed.test" && *kind == RecordType::MX && *tcp));
}

/// RFC 7766: a server may close a connection whenever it likes, and all that was asked on it is asked again.
#[tokio::test]
async fn d_9_a_connection_that_ends_takes_no_question_with_it() {
    for answers in [1, 3] {
        let World { dns, server, .. } = world("validate").await;
        let domains: Vec<String> = (0..40).map(|number| format!("d{number}.signed.test")).collect();
        for domain in &domains {
            server.mx(domain, &[(10, "mx.signed.test")]);
            server.truncate(domain, RecordType::MX);
        }
        server.hang_up_after(answers);
        let asked: Vec<Domain> = domains.iter().map(|name| domain(name)).collect();
        let told = join_all(asked.iter().map(|domain| dns.mx(domain))).await;
        let lost: Vec<_> = told.iter().filter(|told| standing(told) != (AnswerKind::Found, true)).collect();
        assert!(lost.is_empty(), "{} of {} after {answers}: {:?}", lost.len(), told.len(), lost.first());
    }
}

/// RFC 9276, 3.2: beyond the limit a denial proves nothing, far beyond it the zone is refused; neither buys our time.
#[tokio::test]
async fn nsec3_iterations_are_bounded() {
    for (iterations, kind) in [(101, AnswerKind::None), (2500, AnswerKind::Bogus)] {
        let World { dns, server, .. } = world("validate").await;
        server.sign("signed.test", Denial::Nsec3(iterations)).expect("a key");
        let began = Instant::now();
        let nothing = dns.tlsa("_25._tcp.mx.signed.test").await;
        assert_eq!(standing(&nothing), (kind, false), "{iterations}: {nothing:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

/// A denial of one name must not serve for another: records that are there are denied with the NSEC records of a name that is not.
#[tokio::test]
async fn a_denial_of_something_else_is_bogus() {
    let World { dns, server, .. } = world("validate").await;
    server.tlsa("mx.signed.test", 25, &[(3, 1, 1, vec![7; 32])]);
    assert_eq!(standing(&dns.tlsa("zzz.signed.test").await), (AnswerKind::None, true));
    let stolen = server.said(&"zzz.signed.test.".parse().expect("a name"), RecordType::TLSA).expect("a denial").authorities;
    server.twist("_25._tcp.mx.signed.test", RecordType::TLSA, move |reply| {
        reply.answers.clear();
        reply.metadata.response_code = ResponseCode::NXDomain;
        reply.authorities.clone_from(&stolen);
    });
    assert_eq!(standing(&dns.tlsa("_25._tcp.mx.signed.test").await), (AnswerKind::Bogus, false));
}

/// CVE-2026-123590: an NSEC record that nobody signed gains nothing from genuine records of the same owner beside it.
#[tokio::test]
async fn a_bogus_nsec_beside_a_genuine_record_proves_nothing() {
    for forgery in [Forgery::NsecBeside, Forgery::NsecAlone] {
        let World { dns, server, .. } = world("validate").await;
        server.tlsa("mx.signed.test", 25, &[(3, 1, 1, vec![7; 32])]);
        server.forge("_25._tcp.mx.signed.test", RecordType::TLSA, forgery).expect("forged");
        assert_eq!(standing(&dns.tlsa("_25._tcp.mx.signed.test").await), (AnswerKind::Bogus, false), "{forgery:?}");
    }
}

/// An answer that somebody put together from a wildcard needs proof that the name itself is not there (RFC 4035, 5.3.4): it may neither be
/// missing nor say that the name is there and lacks the kind (CVE-2026-123579).
#[tokio::test]
async fn a_wildcard_without_its_denial_is_bogus() {
    for (denial, proof, kind) in [
        (Denial::Nsec, Some("new.signed.test"), AnswerKind::Found),
        (Denial::Nsec3(0), Some("new.signed.test"), AnswerKind::Found),
        (Denial::Nsec, None, AnswerKind::Bogus),
        (Denial::Nsec3(0), None, AnswerKind::Bogus),
        (Denial::Nsec, Some("mx.signed.test"), AnswerKind::Bogus),
        (Denial::Nsec3(0), Some("mx.signed.test"), AnswerKind::Bogus),
    ] {
        let World { dns, server, .. } = world("validate").await;
        server.sign("signed.test", denial).expect("a key");
        server.set("*.signed.test", RecordType::TXT, Said::Records(vec![RData::TXT(rdata::TXT::new(vec!["evil".into()]))]));
        let asked = proof.unwrap_or("mx.signed.test");
        server.forge(asked, RecordType::TXT, Forgery::Wildcard).expect("forged");
        let mut whole = server.said(&format!("{asked}.").parse().expect("a name"), RecordType::TXT).expect("the forgery");
        // A genuine answer of a wildcard has no SOA (RFC 4035, B.6).
        whole.authorities.retain(|record| proof.is_some() && !is_of(record, RecordType::SOA));
        server.twist(asked, RecordType::TXT, move |reply| {
            reply.metadata.response_code = ResponseCode::NoError;
            reply.answers.clone_from(&whole.answers);
            reply.authorities.clone_from(&whole.authorities);
        });
        let found = dns.txt(asked).await;
        assert_eq!(standing(&found), (kind, kind == AnswerKind::Found), "{denial:?} {proof:?}: {found:?}");
    }
}

/// Whether a record is of that kind, or the signature of one.
fn is_of(record: &Record, kind: RecordType) -> bool {
    let covered = match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => rrsig.input().type_covered,
        _ => record.record_type(),
    };
    covered == kind
}

/// CVE-2023-50387: keys and signatures without end, all with one tag, buy no more than a moment of this machine's time.
#[tokio::test]
async fn keytrap_buys_less_than_a_second() {
    let World { dns, server, .. } = world("validate").await;
    server.spoil("signed.test", Fault::KeyTrap);
    let before = worked();
    let found = dns.mx(&domain("signed.test")).await;
    let spent = worked() - before;
    assert_eq!(standing(&found), (AnswerKind::Bogus, false), "{found:?}");
    assert!(spent < Duration::from_secs(1), "{spent:?}");
}

/// Processor time of this thread, on which everything here runs (proc_pid_schedstat: the first number, nanoseconds).
fn worked() -> Duration {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(line.split(' ').next().and_then(|number| number.parse().ok()).expect("a number"))
}

#[tokio::test]
async fn the_ad_bit_counts_from_this_machine_alone() {
    let World { dns, server, .. } = world("trust-ad").await;
    server.twist("signed.test", RecordType::MX, |reply| reply.metadata.authentic_data = true);
    assert_eq!(standing(&dns.mx(&domain("signed.test")).await), (AnswerKind::Found, true));
    assert_eq!(standing(&dns.mx(&domain("plain.test")).await), (AnswerKind::Found, false));
    let World { dns, server, .. } = world("off").await;
    server.twist("signed.test", RecordType::MX, |reply| reply.metadata.authentic_data = true);
    assert_eq!(standing(&dns.mx(&domain("signed.test")).await), (AnswerKind::Found, false));
    let far = Config::parse("test.toml", "[dns]\nresolvers = [\"192.0.2.53\"]\ndnssec = \"trust-ad\"\n");
    assert!(far.is_err_and(|findings| findings[0].message.contains("192.0.2.53")), "AD of a far resolver is anybody's word");
}

/// The newcomer whose resolver strips signatures hears of it.
#[tokio::test]
async fn resolvers_that_strip_signatures_are_told_of() {
    let World { dns, server, .. } = world("validate").await;
    assert_eq!(dns.trouble().await, None);
    server.spoil(".", Fault::Stripped);
    let fresh = Dns { known: moka::sync::Cache::new(100), ..dns.clone() };
    assert!(fresh.trouble().await.is_some_and(|text| text.contains("dns.dnssec")));
}

#[tokio::test]
async fn d_9_l2_10_answers_are_remembered_as_long_as_they_may_be() {
    let World { dns, server, .. } = world("validate").await;
    let asked = |name: &str| server.asked().iter().filter(|(asked, kind, _)| asked == name && *kind == RecordType::MX).count();
    for _ in 0..3 {
        dns.mx(&domain("signed.test")).await;
        dns.mx(&domain("plain.test")).await;
    }
    assert_eq!((asked("signed.test"), asked("plain.test")), (1, 1));
    server.set_for("brief.test", RecordType::MX, 0, Said::Records(vec![RData::MX(rdata::MX::new(1, "a.test.".parse().expect("a name")))]));
    for _ in 0..2 {
        dns.mx(&domain("brief.test")).await;
    }
    assert_eq!(asked("brief.test"), 2, "a TTL of 0 is not remembered");
    dns.mx(&domain("signed.test")).await;
    let localhost = dns.addresses(&domain("localhost")).await;
    assert!(matches!(localhost.answer, Answer::Found(addresses) if addresses.iter().all(IpAddr::is_loopback)));
}
