//! Bad input on the way out, as data: `tests/cases/transport.json`, one entry a case, against a real gateway (S5, S7, S-3, D-10).
//!
//! `bes`, `sos`: what the message comes to under each role, alternatives split by `|`: `plain`, `encrypted`, `host`, `domain` (it was
//! delivered with that level), `waits`, `returned`. `by` names the host that must have got it, `never` one that must not have seen a
//! connection.

use anyhow::{Context, Result, bail};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{NULL, TLSA};
use hickory_proto::rr::{RData, RecordType};
use secmx_lab::ca::{Authority, Flaw, Identity};
use secmx_lab::dns::{Answer, Denial, Fault, Forgery};
use secmx_lab::peer::{Behaviour, Peer, StartTls};
use secmx_lab::web::Web;
use secmx_tests::Rig;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Debug, Clone, Deserialize)]
struct Case {
    id: String,
    stage: String,
    bes: String,
    sos: String,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    never: Option<String>,
}

/// The world of one case: its domain, and what runs for it.
struct Scene<'a> {
    rig: &'a Rig,
    domain: String,
    peers: Vec<(String, Peer)>,
    web: Option<Web>,
    next: AtomicU8,
}

impl Scene<'_> {
    fn address(&self) -> IpAddr {
        Ipv4Addr::new(127, 1, 0, self.next.fetch_add(1, Ordering::Relaxed)).into()
    }

    fn name(&self, host: &str) -> String {
        format!("{host}.{}", self.domain)
    }

    /// A host `mx.…`, `secmail.…` with a good certificate.
    async fn good(&mut self, host: &str) -> Result<Identity> {
        self.host(host, Behaviour::default(), Flaw::None).await
    }

    async fn host(&mut self, host: &str, behaviour: Behaviour, flaw: Flaw) -> Result<Identity> {
        let name = self.name(host);
        let identity = self.rig.identity(&name, flaw)?;
        self.host_with(host, behaviour, &identity).await?;
        Ok(identity)
    }

    async fn host_with(&mut self, host: &str, behaviour: Behaviour, identity: &Identity) -> Result<()> {
        let (name, address) = (self.name(host), self.address());
        self.rig.dns.host(&name, address);
        let peer = Peer::start_at(SocketAddr::new(address, self.rig.mx_port()), behaviour, identity).await?;
        self.peers.push((host.to_owned(), peer));
        Ok(())
    }

    fn mx(&self, hosts: &[(u16, &str)]) {
        let named: Vec<(u16, String)> = hosts.iter().map(|(preference, host)| (*preference, self.name(host))).collect();
        self.rig.dns.mx(&self.domain, &named.iter().map(|(preference, name)| (*preference, name.as_str())).collect::<Vec<_>>());
    }

    fn srv(&self, records: &[(u16, u16, u16, &str)]) {
        self.rig.dns.secmx(&self.domain, records);
    }

    fn srv_answer(&self, answer: Answer) {
        self.rig.dns.set(&format!("_secmx._tcp.{}", self.domain), RecordType::SRV, answer);
    }

    fn sign(&self) -> Result<()> {
        self.rig.dns.sign(&self.domain, Denial::Nsec)
    }

    fn tlsa(&self, host: &str, records: &[(u8, u8, u8, Vec<u8>)]) {
        self.rig.dns.tlsa(&self.name(host), self.rig.mx_port(), records);
    }

    /// A host that serves a policy, announced under this `id`.
    async fn policy(&mut self, id: &str, flaw: Flaw) -> Result<&Web> {
        let name = self.name("mta-sts");
        let at = SocketAddr::new(self.address(), self.rig.web_port());
        self.rig.dns.host(&name, at.ip());
        self.rig.dns.txt(&self.name("_mta-sts"), &[&format!("v=STSv1; id={id};")]);
        self.web = Some(Web::start_at(at, Some(&self.rig.identity(&name, flaw)?)).await?);
        self.web.as_ref().context("it was just started")
    }
}

fn starttls(starttls: StartTls) -> Behaviour {
    Behaviour { starttls, ..Behaviour::default() }
}

fn sha256(data: &[u8]) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}

/// Builds the world of a case. Errors for one that nobody thought of.
async fn build(scene: &mut Scene<'_>, case: &Case) -> Result<()> {
    match case.stage.as_str() {
        "dns" => dns(scene, &case.id).await,
        "dnssec" => dnssec(scene, &case.id).await,
        "dane" => dane(scene, &case.id).await,
        "mta-sts" => mta_sts(scene, &case.id).await,
        "client-cert" => certificate(scene, &case.id).await,
        "client-starttls" => client_starttls(scene, &case.id).await,
        stage => bail!("nobody plays the stage {stage}"),
    }
}

async fn dns(scene: &mut Scene<'_>, id: &str) -> Result<()> {
    let port = scene.rig.mx_port();
    scene.good("mx").await?;
    scene.mx(&[(10, "mx")]);
    let secmail = scene.name("secmail");
    match id {
        "dns-srv-dot" => scene.srv(&[(0, 0, 0, ".")]),
        "dns-srv-nxdomain" => {}
        "dns-srv-servfail" => scene.srv_answer(Answer::Failure(ResponseCode::ServFail)),
        "dns-srv-formerr" => scene.srv_answer(Answer::Garbage(vec![0, 1, 0, 1, 0xff, 0xff, 0xff])),
        "dns-srv-port-22" => {
            scene.good("secmail").await?;
            scene.srv(&[(10, 10, 22, &secmail)]);
        }
        "dns-srv-target-cname" => {
            scene.good("real").await?;
            scene.rig.dns.alias(&secmail, &scene.name("real"));
            scene.host_with("unused", Behaviour::default(), &scene.rig.identity(&secmail, Flaw::None)?).await?;
            scene.srv(&[(10, 10, port, &secmail)]);
        }
        "dns-srv-1000" => {
            let names: Vec<String> = (0..1000).map(|n| scene.name(&format!("s{n}"))).collect();
            scene.srv(&names.iter().map(|name| (10, 10, port, name.as_str())).collect::<Vec<_>>());
        }
        "dns-srv-weights-zero" => {
            scene.good("secmail").await?;
            scene.srv(&[(10, 0, port, &secmail), (10, 0, port, &secmail), (20, 7, port, &secmail)]);
        }
        "dns-srv-short-rdata" => {
            let short = RData::Unknown { code: RecordType::SRV, rdata: NULL::with(vec![0, 10, 0]) };
            scene.srv_answer(Answer::Records(vec![short]));
        }
        "dns-mx-null" => scene.rig.dns.mx(&scene.domain, &[(0, ".")]),
        "dns-mx-none-a-present" => {
            scene.rig.dns.set(&scene.domain, RecordType::MX, Answer::Records(Vec::new()));
            let address = scene.address();
            scene.rig.dns.host(&scene.domain, address);
            let identity = scene.rig.identity(&scene.domain, Flaw::None)?;
            let peer = Peer::start_at(SocketAddr::new(address, port), Behaviour::default(), &identity).await?;
            scene.peers.push(("itself".into(), peer));
        }
        "dns-mx-ip-name" => scene.rig.dns.mx(&scene.domain, &[(10, "127.0.0.1")]),
        "dns-mx-self-lower-pref" => {
            scene.good("last").await?;
            let (first, last) = (scene.name("mx"), scene.name("last"));
            scene.rig.dns.mx(&scene.domain, &[(10, &first), (20, "gw.agency.test"), (30, &last)]);
        }
        "dns-cname-loop" => {
            scene.rig.dns.forget(&scene.domain);
            scene.rig.dns.alias(&scene.domain, &scene.name("b"));
            scene.rig.dns.alias(&scene.name("b"), &scene.domain);
        }
        "dns-cname-chain-50" => {
            scene.rig.dns.forget(&scene.domain);
            scene.rig.dns.alias(&scene.domain, &scene.name("n0"));
            (0..50).for_each(|n| scene.rig.dns.alias(&scene.name(&format!("n{n}")), &scene.name(&format!("n{}", n + 1))));
        }
        "dns-answer-unrelated" => scene.rig.dns.twist(&scene.domain, RecordType::MX, |reply| {
            reply.answers.iter_mut().for_each(|record| record.name = "unrelated.test.".parse().expect("a name"));
        }),
        // Were it believed, the TLSA record would put the host out.
        "dns-ad-bit-from-untrusted" => {
            scene.rig.dns.twist(&scene.domain, RecordType::MX, |reply| reply.metadata.authentic_data = true);
            scene.tlsa("mx", &[(3, 1, 1, vec![7; 32])]);
        }
        "dns-srv-target-loopback" | "dns-srv-rebind" | "dns-mx-loopback" => private(scene, id, &secmail, port).await?,
        _ => bail!("nobody plays {id}"),
    }
    Ok(())
}

/// Played in a world in which no private address is allowed.
async fn private(scene: &mut Scene<'_>, id: &str, secmail: &str, port: u16) -> Result<()> {
    if id == "dns-mx-loopback" {
        return Ok(());
    }
    scene.good("secmail").await?;
    scene.srv(&[(10, 10, port, secmail)]);
    if id == "dns-srv-rebind" {
        let turn = AtomicU8::new(0);
        scene.rig.dns.set_for(secmail, RecordType::A, 0, Answer::Records(vec![RData::A(Ipv4Addr::LOCALHOST.into())]));
        scene.rig.dns.twist(secmail, RecordType::A, move |reply| {
            if turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                reply.answers.iter_mut().for_each(|record| record.data = RData::A(Ipv4Addr::new(192, 0, 2, 1).into()));
            }
        });
    }
    Ok(())
}

async fn dnssec(scene: &mut Scene<'_>, id: &str) -> Result<()> {
    scene.good("mx").await?;
    scene.mx(&[(10, "mx")]);
    scene.sign()?;
    let fault = match id {
        "dnssec-future-rrsig" => Fault::NotYetValid,
        "dnssec-missing-rrsig" => Fault::Stripped,
        "dnssec-ds-denial-no-ns" => Fault::DsDeniedByChild,
        "dnssec-dnskey-root-keys" => Fault::KeysOfTheRoot,
        "dnssec-dnskey-one-good-one-evil" => Fault::EvilKey,
        "dnssec-keytrap" => Fault::KeyTrap,
        "dnssec-unknown-algorithm" => Fault::UnknownAlgorithm,
        "dnssec-nsec3-iterations" => return scene.rig.dns.sign(&scene.domain, Denial::Nsec3(2500)),
        "dnssec-nsec-same-owner-mix" | "dnssec-wildcard-nodata" => return forged(scene, id),
        _ => bail!("nobody plays {id}"),
    };
    scene.rig.dns.spoil(&scene.domain, fault);
    Ok(())
}

/// A reply about the host's TLSA that somebody put together: were it believed, the mail would go.
fn forged(scene: &Scene<'_>, id: &str) -> Result<()> {
    let owner = format!("_{}._tcp.{}", scene.rig.mx_port(), scene.name("mx"));
    if id == "dnssec-nsec-same-owner-mix" {
        scene.tlsa("mx", &[(3, 1, 1, vec![7; 32])]);
        return scene.rig.dns.forge(&owner, RecordType::TLSA, Forgery::NsecBeside);
    }
    scene.rig.dns.txt(&owner, &["no TLSA here"]);
    scene.rig.dns.set(&format!("*._tcp.{}", scene.name("mx")), RecordType::TLSA, Answer::Records(vec![RData::TLSA(no_use())]));
    scene.rig.dns.forge(&owner, RecordType::TLSA, Forgery::Wildcard)
}

/// A TLSA record that can be used for nothing: mail would go over TLS to whoever answers (RFC 7672, 3.1.3).
fn no_use() -> TLSA {
    TLSA::new(0.into(), 0.into(), 1.into(), vec![7; 32])
}

async fn dane(scene: &mut Scene<'_>, id: &str) -> Result<()> {
    let port = scene.rig.mx_port();
    scene.sign()?;
    scene.mx(&[(10, "mx")]);
    // Nobody trusts this authority: only TLSA records can vouch for it.
    let own = Authority::new("its own")?;
    let name = scene.name("mx");
    let identity = own.issue_with_root(&[if id == "tlsa-2-0-1-wrong-name" { "other.test" } else { &name }])?;
    if id != "tlsa-none-secure-denial" && id != "tlsa-port-from-srv" {
        scene.host_with("mx", Behaviour::default(), &identity).await?;
    }
    let (key, root) = (identity.public_key(), own.root().to_vec());
    let good = (3, 1, 1, sha256(&key));
    match id {
        "tlsa-none-secure-denial" => drop(scene.good("mx").await?),
        "tlsa-servfail" => {
            let owner = format!("_{port}._tcp.{name}");
            scene.rig.dns.set(&owner, RecordType::TLSA, Answer::Failure(ResponseCode::ServFail));
        }
        "tlsa-3-1-1-mismatch" => scene.tlsa("mx", &[(3, 1, 1, vec![7; 32])]),
        "tlsa-2-0-1-match" | "tlsa-2-0-1-wrong-name" => scene.tlsa("mx", &[(2, 0, 1, sha256(&root))]),
        "tlsa-2-1-1-match" => scene.tlsa("mx", &[(2, 1, 1, sha256(&own.public_key()))]),
        "tlsa-3-1-2-match" => scene.tlsa("mx", &[(3, 1, 2, Sha512::digest(&key).to_vec())]),
        "tlsa-0-0-1-only" => scene.tlsa("mx", &[(0, 0, 1, sha256(&root))]),
        "tlsa-mixed-one-good" => scene.tlsa("mx", &[(3, 1, 1, vec![7; 9]), (9, 1, 1, vec![7; 32]), good]),
        "tlsa-digest-short" => scene.tlsa("mx", &[(3, 1, 1, sha256(&key)[..16].to_vec())]),
        "tlsa-usage-10" => scene.tlsa("mx", &[(10, 1, 1, sha256(&key))]),
        "tlsa-1000-records" => {
            let mut records: Vec<_> = (0..999_u32).map(|n| (3, 1, 1, sha256(&n.to_be_bytes()))).collect();
            records.insert(0, good);
            scene.tlsa("mx", &records);
        }
        "tlsa-two-mx-first-bad" => {
            scene.good("second").await?;
            scene.mx(&[(10, "mx"), (20, "second")]);
            scene.tlsa("mx", &[(3, 1, 1, vec![7; 32])]);
        }
        "tlsa-port-from-srv" => {
            let secmail = scene.name("secmail");
            let identity = own.issue(&[&secmail])?;
            scene.host_with("secmail", Behaviour::default(), &identity).await?;
            scene.srv(&[(10, 10, port, &secmail)]);
            scene.tlsa("secmail", &[(3, 1, 1, sha256(&identity.public_key()))]);
            scene.rig.dns.tlsa(&secmail, 25, &[(3, 1, 1, vec![7; 32])]);
        }
        _ => bail!("nobody plays {id}"),
    }
    Ok(())
}

async fn mta_sts(scene: &mut Scene<'_>, id: &str) -> Result<()> {
    scene.good("mx").await?;
    scene.mx(&[(10, "mx")]);
    let named = format!("version: STSv1\r\nmode: enforce\r\nmx: {}\r\nmax_age: 86400\r\n", scene.name("mx"));
    // Of a policy that is taken the host is not one, so that its being taken shows.
    let other = named.replace("mx: mx.", "mx: other.");
    let flaw = if id == "sts-cert-bad" { Flaw::Expired } else { Flaw::None };
    let domain = scene.domain.clone();
    let web = scene.policy("1", flaw).await?;
    match id {
        "sts-html-type" => web.serve("text/html", other.as_bytes()),
        "sts-gzip-bomb" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
            web.answer([head.as_bytes(), &vec![0x1f; 1 << 20]].concat());
        }
        "sts-65-kilobytes" => web.serve("text/plain", format!("{other}{}", "x: y\r\n".repeat(12_000)).as_bytes()),
        "sts-redirect" => web.answer("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        "sts-404" => web.answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        "sts-cert-bad" | "sts-host-loopback" | "sts-txt-two" => web.serve("text/plain", other.as_bytes()),
        "sts-mode-unknown" => web.serve("text/plain", other.replace("enforce", "enforced").as_bytes()),
        "sts-mx-star" => web.serve("text/plain", named.replace(&format!("mx: mx.{domain}"), "mx: *").as_bytes()),
        "sts-mx-star-multi" => web.serve("text/plain", named.replace("mx: mx.", "mx: *.a.").as_bytes()),
        "sts-max-age-huge" => web.serve("text/plain", other.replace("86400", "99999999999999999999").as_bytes()),
        "sts-lf-endings" => web.serve("text/plain; charset=us-ascii", named.replace("\r\n", "\n").as_bytes()),
        "sts-bom" => web.serve("text/plain", format!("\u{feff}{other}").as_bytes()),
        "sts-cached-expired-gone" => web.serve("text/plain", other.replace("86400", "0").as_bytes()),
        "sts-id-change-none" => web.serve("text/plain", named.replace("enforce", "none").as_bytes()),
        "sts-enforce-permfail" => web.serve("text/plain", other.as_bytes()),
        "sts-testing" => web.serve("text/plain", other.replace("enforce", "testing").as_bytes()),
        "sts-mx-u-label" => {
            let pattern = format!("mx: mx.b\u{fc}cher.{domain}");
            web.serve("text/plain", named.replace(&format!("mx: mx.{domain}"), &pattern).as_bytes());
            scene.good("mx.xn--bcher-kva").await?;
            scene.mx(&[(10, "mx.xn--bcher-kva")]);
        }
        _ => bail!("nobody plays {id}"),
    }
    if id == "sts-txt-two" {
        scene.rig.dns.txt(&scene.name("_mta-sts"), &["v=STSv1; id=1;", "v=STSv1; id=2;"]);
    }
    Ok(())
}

async fn certificate(scene: &mut Scene<'_>, id: &str) -> Result<()> {
    let flaw = match id {
        "cert-not-yet-valid" => Flaw::NotYetValid,
        "cert-untrusted-root" => Flaw::UnknownRoot,
        "cert-incomplete-chain" => Flaw::MissingIntermediate,
        "cert-no-subject-no-san" => Flaw::Nameless,
        "cert-sha1-leaf" => Flaw::Sha1,
        "cert-md5-leaf" => Flaw::Md5,
        "cert-pathlen-exceeded" => Flaw::PathTooLong,
        "cert-nameconstraint-wildcard" => Flaw::NameConstraint,
        "cert-wildcard-partial" => Flaw::PartialWildcard,
        "cert-wildcard-tld" => Flaw::TopLevelWildcard,
        "cert-ip-san-for-dns" => Flaw::AddressAsName,
        "cert-critical-unknown-ext" => Flaw::UnknownCritical,
        "cert-v1-cert" => Flaw::Version1,
        "cert-serial-zero" => Flaw::SerialZero,
        "cert-10000-sans" => Flaw::ManyNames,
        "cert-expired" => Flaw::Expired,
        "cert-self-signed" => Flaw::SelfSigned,
        "cert-no-server-purpose" => Flaw::NotForServers,
        "cert-spoofed-srv-valid-cert" => {
            let attacker = format!("mx.attacker-{}", scene.domain);
            let address = scene.address();
            scene.rig.dns.host(&attacker, address);
            let at = SocketAddr::new(address, scene.rig.mx_port());
            let peer = Peer::start_at(at, Behaviour::default(), &scene.rig.identity(&attacker, Flaw::None)?).await?;
            scene.peers.push(("attacker".into(), peer));
            scene.srv(&[(10, 10, scene.rig.mx_port(), &attacker)]);
            return Ok(());
        }
        _ => bail!("nobody plays {id}"),
    };
    scene.host("mx", Behaviour::default(), flaw).await?;
    scene.mx(&[(10, "mx")]);
    Ok(())
}

async fn client_starttls(scene: &mut Scene<'_>, id: &str) -> Result<()> {
    let replies = |replies: &[(&str, &str)]| replies.iter().map(|(to, reply)| ((*to).to_owned(), (*reply).to_owned())).collect();
    let behaviour = match id {
        "out-starttls-resp-inject" => starttls(StartTls::Injects(b"250-evil\r\n250 AUTH PLAIN\r\n".to_vec())),
        "out-starttls-stripped" => starttls(StartTls::Absent),
        "out-starttls-xxxx" => {
            Behaviour { replies: replies(&[("EHLO", "250-mx.test\r\n250-XXXXXXXX\r\n250 8BITMIME\r\n")]), ..starttls(StartTls::Absent) }
        }
        "out-starttls-501" => starttls(StartTls::Refused("501 no\r\n".into())),
        "out-starttls-220-then-plain" => starttls(StartTls::Garbage(b"250 mx.test\r\n".to_vec())),
        _ => bail!("nobody plays {id}"),
    };
    scene.host("mx", behaviour, Flaw::None).await?;
    scene.mx(&[(10, "mx")]);
    Ok(())
}

fn word(event: &Value) -> String {
    match event["event"].as_str() {
        Some("message.delivered") => event["channel"]["level"].as_str().unwrap_or("?").to_owned(),
        Some("message.deferred") => "waits".to_owned(),
        Some("message.returned") => "returned".to_owned(),
        other => format!("{other:?}"),
    }
}

async fn play(scene: &mut Scene<'_>, case: &Case) -> Result<Vec<String>> {
    build(scene, case).await?;
    let mut wrong = Vec::new();
    for (user, expected) in [("bes", &case.bes), ("sos", &case.sos)] {
        let queue = scene.rig.submit("ana@agency.test", &[&format!("{user}@{}", scene.domain)]).await?;
        let event = scene.rig.outcome(&queue).await?;
        let got = word(&event);
        if !expected.split('|').any(|alternative| alternative == got) {
            wrong.push(format!("{} {user}: expected {expected}, got {got}: {event}", case.id));
        }
        let delivered = matches!(event["event"].as_str(), Some("message.delivered"));
        let exchanger = event["exchanger"].as_str().unwrap_or_default();
        if let Some(by) = case.by.as_ref().filter(|by| delivered && exchanger != scene.name(by)) {
            wrong.push(format!("{} {user}: expected {by} to take it, {exchanger} did", case.id));
        }
    }
    let clear = |peer: &Peer| peer.connections().iter().any(|seen| String::from_utf8_lossy(&seen.clear).contains("sos@"));
    for (host, peer) in &scene.peers {
        if clear(peer) {
            wrong.push(format!("{}: {host} saw the envelope of secure only mail in clear (S5)", case.id));
        }
        if case.never.as_ref() == Some(host) && !peer.connections().is_empty() {
            wrong.push(format!("{}: {host} was connected to", case.id));
        }
    }
    Ok(wrong)
}

const SEND: &str = "connect_timeout = \"500ms\"\nretry = [\"1h\"]\nmta_sts = { timeout = \"2s\", port = WEB }\n\
                    [[send.rule]]\nname = \"sos\"\nto = [RULE]\nrole = \"SOS\"\n";

fn cases() -> Result<Vec<Case>> {
    Ok(serde_json::from_str(include_str!("../cases/transport.json"))?)
}

/// Domains of a case: `c7.test`.
async fn play_all(cases: Vec<Case>, private: bool) -> Result<()> {
    let mut rig = Rig::world().await?;
    let rule: Vec<String> = (0..cases.len()).map(|n| format!("\"sos@c{n}.test\"")).collect();
    let send = SEND.replace("RULE", &rule.join(", ")).replace("WEB", &rig.web_port().to_string());
    let mut text = rig.configuration(&send, "");
    if !private {
        text = text.replace("allow_private = true\n", "");
    }
    rig.start_with(&text).await?;
    let (mut wrong, mut next) = (Vec::new(), 10);
    for (number, case) in cases.iter().enumerate() {
        // Three addresses a case, over and over: what ran there before has ended.
        next = if next > 200 { 10 } else { next };
        let mut scene = Scene { rig: &rig, domain: format!("c{number}.test"), peers: Vec::new(), web: None, next: AtomicU8::new(next) };
        match play(&mut scene, case).await {
            Ok(found) => wrong.extend(found),
            Err(error) => wrong.push(format!("{}: {error:#}", case.id)),
        }
        next = scene.next.load(Ordering::Relaxed);
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    Ok(())
}

fn of_stage(stage: &str, needs_public: bool) -> Result<Vec<Case>> {
    let strict = ["dns-srv-target-loopback", "dns-srv-rebind", "dns-mx-loopback", "sts-host-loopback"];
    let wanted = |case: &Case| case.stage == stage && strict.contains(&case.id.as_str()) == needs_public;
    Ok(cases()?.into_iter().filter(wanted).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn s_7_dns_that_lies() -> Result<()> {
    play_all(of_stage("dns", false)?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s_7_strangers_lead_to_no_address_of_ours() -> Result<()> {
    let cases = [of_stage("dns", true)?, of_stage("mta-sts", true)?].concat();
    play_all(cases, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s_3_dnssec_that_fails() -> Result<()> {
    play_all(of_stage("dnssec", false)?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s_7_dane() -> Result<()> {
    play_all(of_stage("dane", false)?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s_7_mta_sts() -> Result<()> {
    play_all(of_stage("mta-sts", false)?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s_6_certificates_that_prove_nothing() -> Result<()> {
    play_all(of_stage("client-cert", false)?, true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_starttls_that_is_taken_away() -> Result<()> {
    play_all(of_stage("client-starttls", false)?, true).await
}

/// Pins and an authority of the partner's own hold for the domains of their rule, and for nobody else (D-10).
#[tokio::test(flavor = "multi_thread")]
async fn d_10_the_operator_knows_a_partners_hosts() -> Result<()> {
    let mut rig = Rig::world().await?;
    let partner = Authority::new("the partner's own")?;
    std::fs::write(rig.state().join("partner.pem"), partner.root_pem())?;
    let pinned = partner.issue(&["mx.pinned.test"])?;
    let pin: String = Sha256::digest(pinned.public_key()).iter().map(|octet| format!("{octet:02x}")).collect();
    let send = format!(
        "retry = [\"1h\"]\n[[send.rule]]\nname = \"authority\"\nto = \"private.test\"\ntrust = [{:?}]\n\
         [[send.rule]]\nname = \"pin\"\nto = [\"pinned.test\", \"moved.test\"]\npins = [\"sha256:{pin}\"]\n",
        rig.state().join("partner.pem")
    );
    rig.start(&send, "").await?;
    let mut peers = Vec::new();
    for (at, domain, identity) in [
        (10, "private.test", partner.issue(&["mx.private.test"])?),
        (11, "pinned.test", pinned),
        (12, "moved.test", rig.authority.issue(&["mx.moved.test", "moved.test"])?),
        (13, "stranger.test", partner.issue(&["mx.stranger.test"])?),
    ] {
        let (name, address) = (format!("mx.{domain}"), IpAddr::V4(Ipv4Addr::new(127, 2, 0, at)));
        rig.dns.host(&name, address);
        rig.dns.mx(domain, &[(10, &name)]);
        peers.push(Peer::start_at(SocketAddr::new(address, rig.mx_port()), Behaviour::default(), &identity).await?);
    }
    for (domain, expected) in
        [("private.test", "domain"), ("pinned.test", "domain"), ("moved.test", "waits"), ("stranger.test", "encrypted")]
    {
        let queue = rig.submit("ana@agency.test", &[&format!("bo@{domain}")]).await?;
        let event = rig.outcome(&queue).await?;
        assert_eq!(word(&event), expected, "{domain}: {event}");
    }
    Ok(())
}

/// A domain that was reached well and is reached worse now is said, and by configuration the mail waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_fall_is_an_event_and_by_configuration_a_deferral() -> Result<()> {
    let mut rig = Rig::world().await?;
    rig.start("retry = [\"1h\"]\n", "").await?;
    rig.dns.mx("partner.test", &[(10, "mx.partner.test")]);
    let good = rig.host("mx.partner.test", 20, Behaviour::default(), Flaw::None).await?;
    let queue = rig.submit("ana@agency.test", &["bo@partner.test"]).await?;
    assert_eq!(word(&rig.outcome(&queue).await?), "host");
    rig.stop().await;
    drop(good);
    let _worse = rig.host("mx.partner.test", 21, starttls(StartTls::Absent), Flaw::None).await?;
    for (downgrade, expected) in [("warn", "plain"), ("defer", "waits")] {
        rig.start(&format!("retry = [\"1h\"]\ndowngrade = \"{downgrade}\"\n"), "").await?;
        let queue = rig.submit("ana@agency.test", &["bo@partner.test"]).await?;
        assert_eq!(word(&rig.outcome(&queue).await?), expected, "{downgrade}");
        let event = rig.event("domain.downgraded", |event| event["queue"] == queue.as_str()).await?;
        assert_eq!((event["best"].as_str(), event["reached"].as_str()), (Some("host"), Some("plain")));
        rig.stop().await;
    }
    Ok(())
}

/// Lists of revoked certificates come in the background; one in force that names the certificate is fatal, one that is stale or broken is
/// not, and no mail waits for any (profile, sections 2 and 3 of the draft).
#[tokio::test(flavor = "multi_thread")]
async fn only_a_fresh_revoked_is_fatal() -> Result<()> {
    let mut rig = Rig::world().await?;
    let (now, day) = (time::OffsetDateTime::now_utc(), time::Duration::days(1));
    for (number, (domain, list, expected)) in
        [("fresh.test", Some(now - day / 2), "encrypted"), ("stale.test", Some(now - day * 3), "host"), ("broken.test", None, "host")]
            .into_iter()
            .enumerate()
    {
        let (name, address) = (format!("mx.{domain}"), IpAddr::V4(Ipv4Addr::new(127, 3, 0, 10 + u8::try_from(number)?)));
        let identity = rig.identity(&name, Flaw::None)?;
        let octets = list.map_or(Ok(vec![0x30, 3, 2, 1]), |issued| rig.authority.revoke(&[&identity], issued))?;
        let file = rig.state().join(format!("{domain}.crl"));
        std::fs::write(&file, octets)?;
        rig.dns.host(&name, address);
        rig.dns.mx(domain, &[(10, &name)]);
        let _peer = Peer::start_at(SocketAddr::new(address, rig.mx_port()), Behaviour::default(), &identity).await?;
        let text = rig.configuration("retry = [\"1h\"]\n", "").replace("[tls]\n", &format!("[tls]\ncrls = [{file:?}]\n"));
        rig.start_with(&text).await?;
        // The list is read within moments of the start; until then nothing is known, and mail goes.
        let mut got = String::new();
        for _ in 0..50 {
            let queue = rig.submit("ana@agency.test", &[&format!("bo@{domain}")]).await?;
            got = word(&rig.outcome(&queue).await?);
            if got == expected && (domain == "fresh.test" || rig.log.named("gateway.ready").len() == 1) {
                break;
            }
        }
        assert_eq!(got, expected, "{domain}");
        rig.stop().await;
    }
    Ok(())
}

/// rustls asks for compressed certificates only when it is built to inflate them; it is not (CVE-2026-123610).
#[test]
fn no_compressed_certificate_is_asked_for() {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    assert!(config.cert_decompressors.is_empty());
}
