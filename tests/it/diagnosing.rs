//! `secmx probe`, `route` and `dns`: what the program says of a world is what the gateway does in it, and nothing is sent.

use anyhow::{Context, Result, bail, ensure};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::tlsa::TLSA;
use hickory_proto::rr::rdata::{A, MX, SRV, TXT};
use hickory_proto::rr::{RData, RecordType};
use secmx_lab::ca::Flaw;
use secmx_lab::dns::{Answer, Denial, Dns};
use secmx_lab::peer::{Behaviour, Peer, StartTls};
use secmx_tests::Rig;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Asks with the real program and the configuration of this world. Gives the exit code and both outputs.
async fn ask(rig: &Rig, arguments: &[&str]) -> Result<(i32, String, String)> {
    let file = rig.file().display().to_string();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["-c", &file]).collect();
    let output = rig.secmx(&arguments, "").await?;
    let text = |octets: Vec<u8>| String::from_utf8_lossy(&octets).into_owned();
    Ok((output.status.code().context("it was killed")?, text(output.stdout), text(output.stderr)))
}

/// The same for one JSON object.
async fn ask_json(rig: &Rig, arguments: &[&str]) -> Result<(i32, Value)> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let (code, out, err) = ask(rig, &arguments).await?;
    Ok((code, serde_json::from_str(&out).with_context(|| format!("exit {code}: {out}{err}"))?))
}

fn sor() -> Behaviour {
    Behaviour { requires_tls: true, ..Behaviour::default() }
}

fn without_tls() -> Behaviour {
    Behaviour { starttls: StartTls::Absent, ..Behaviour::default() }
}

/// A world of partners: good, old, broken, signed.
async fn world() -> Result<(Rig, Vec<Peer>)> {
    let rig = Rig::world().await?;
    let port = rig.mx_port();
    let peers = vec![
        rig.host("secmail.health.test", 2, sor(), Flaw::None).await?,
        rig.host("mx.health.test", 3, Behaviour::default(), Flaw::None).await?,
        rig.host("mx.legacy.test", 5, without_tls(), Flaw::None).await?,
        rig.host("secmail.broken.test", 6, sor(), Flaw::Expired).await?,
        rig.host("mx.signed.test", 8, Behaviour::default(), Flaw::SelfSigned).await?,
        rig.host("open.lax.test", 9, Behaviour::default(), Flaw::None).await?,
    ];
    for (domain, host) in [("health.test", "secmail.health.test"), ("broken.test", "secmail.broken.test"), ("lax.test", "open.lax.test")] {
        rig.dns.secmx(domain, &[(10, 10, port, host)]);
    }
    for (domain, host) in [("health.test", "mx.health.test"), ("legacy.test", "mx.legacy.test"), ("signed.test", "mx.signed.test")] {
        rig.dns.mx(domain, &[(10, host)]);
    }
    rig.dns.txt("_smtp._tls.health.test", &["v=TLSRPTv1; rua=mailto:tlsrpt@health.test"]);
    rig.dns.mx("nothing.test", &[(0, ".")]);
    rig.dns.set("dark.test", RecordType::MX, Answer::Failure(ResponseCode::ServFail));
    rig.dns.set("_secmx._tcp.dark.test", RecordType::SRV, Answer::Failure(ResponseCode::ServFail));
    fs::write(rig.file(), rig.configuration("", ""))?;
    Ok((rig, peers))
}

fn outcome<'a>(probe: &'a Value, role: &str) -> Result<&'a Value> {
    let outcomes = probe["outcomes"].as_array().context("outcomes")?;
    outcomes.iter().find(|outcome| outcome["role"] == role).with_context(|| format!("no {role} in {probe:#}"))
}

/// Issue 7, 8: the role that was found, the evidence, what both sender roles would do, and a code that says so; and not one octet of mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_what_the_gateway_would_do() -> Result<()> {
    let (rig, peers) = world().await?;
    let (code, health) = ask_json(&rig, &["probe", "health.test"]).await?;
    assert_eq!((code, &health["schema"], &health["answer"]), (0, &json!("secmx/probe/v1"), &json!("yes")), "{health:#}");
    assert_eq!(health["role"], "Secure Only Receiver (SRV) + Best Effort Receiver (MX)", "{health:#}");
    let roles: Vec<_> = health["hosts"].as_array().context("hosts")?.iter().map(|host| (&host["name"], &host["role"])).collect();
    assert_eq!(roles, [(&json!("secmail.health.test"), &json!("SOR")), (&json!("mx.health.test"), &json!("BER"))]);
    let refusal = health["hosts"][0]["without_tls"][0]["trouble"]["text"].as_str().context("refused")?;
    assert!(refusal.contains("530"), "{refusal}");
    for role in ["BES", "SOS"] {
        let outcome = outcome(&health, role)?;
        assert_eq!((&outcome["comes"], &outcome["level"]), (&json!("delivered"), &json!("host")), "{outcome:#}");
        assert_eq!(outcome["by"], format!("secmail.health.test:{}", rig.mx_port()));
    }
    assert_eq!(outcome(&health, "SOS")?["plaintext"], json!([]), "never");

    let (code, legacy) = ask_json(&rig, &["probe", "legacy.test"]).await?;
    assert_eq!((code, &legacy["answer"], &legacy["role"]), (1, &json!("no"), &json!("receiver without TLS (MX)")), "{legacy:#}");
    let secure = outcome(&legacy, "SOS")?;
    assert_eq!((&secure["comes"], &secure["trouble"]["status"]), (&json!("bounced"), &json!("5.7.10")), "{secure:#}");
    let best = outcome(&legacy, "BES")?;
    assert_eq!((&best["comes"], &best["level"]), (&json!("delivered"), &json!("plain")), "{best:#}");
    assert_eq!(ask(&rig, &["probe", "legacy.test", "--as", "BES"]).await?.0, 0, "the answer for best effort");
    assert_eq!(ask(&rig, &["probe", "legacy.test", "--as", "BES", "--require", "encrypted"]).await?.0, 1);

    let (code, broken) = ask_json(&rig, &["probe", "broken.test"]).await?;
    assert_eq!((code, &outcome(&broken, "SOS")?["trouble"]["status"]), (1, &json!("5.7.5")), "{broken:#}");
    let doubt = broken["hosts"][0]["tls"][0]["channel"]["doubt"].as_str().context("a doubt")?;
    assert!(doubt.contains("expired"), "{doubt}");

    let (_, lax) = ask_json(&rig, &["probe", "lax.test"]).await?;
    assert_eq!(lax["role"], "says it is a Secure Only Receiver (SRV), but takes plaintext", "{lax:#}");
    assert!(peers.iter().all(|peer| peer.messages().is_empty()), "nothing was sent");
    let secure_only = peers[2].connections().iter().any(|seen| String::from_utf8_lossy(&seen.clear).contains("DATA"));
    assert!(!secure_only, "no content was offered");
    Ok(())
}

/// DANE counts in a probe as it does in a delivery: a self-signed certificate that the TLSA record names is level domain; another is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_believes_dane_as_a_delivery_does() -> Result<()> {
    let (rig, peers) = world().await?;
    rig.dns.sign("test", Denial::Nsec)?;
    rig.dns.sign("signed.test", Denial::Nsec)?;
    let identity = rig.identity("mx.dane.test", Flaw::SelfSigned)?;
    let address = std::net::SocketAddr::from(([127, 0, 0, 11], rig.mx_port()));
    rig.dns.host("mx.dane.test", address.ip());
    let host = Peer::start_at(address, Behaviour::default(), &identity).await?;
    rig.dns.mx("dane.test", &[(10, "mx.dane.test")]);
    rig.dns.tlsa("mx.dane.test", rig.mx_port(), &[(3, 0, 1, Sha256::digest(identity.chain()[0].as_ref()).to_vec())]);
    rig.dns.tlsa("mx.signed.test", rig.mx_port(), &[(3, 1, 1, vec![7; 32])]);
    rig.dns.sign("dane.test", Denial::Nsec)?;
    let (code, dane) = ask_json(&rig, &["probe", "dane.test", "--require", "domain"]).await?;
    let secure = outcome(&dane, "SOS")?;
    assert_eq!((code, &secure["level"], &secure["proof"]), (0, &json!("domain"), &json!("DANE")), "{dane:#}");
    let (code, signed) = ask_json(&rig, &["probe", "signed.test", "--as", "BES"]).await?;
    assert_eq!((code, &outcome(&signed, "BES")?["comes"]), (1, &json!("waits")), "no plaintext against DANE: {signed:#}");
    assert!(host.messages().is_empty() && peers.iter().all(|peer| peer.messages().is_empty()));
    Ok(())
}

/// Times stand beside what was found, and another resolver is asked the same: where it differs is shown, and the answer stays that of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_compares_resolvers() -> Result<()> {
    let (rig, _peers) = world().await?;
    fs::write(rig.file(), rig.configuration("", "").replace("[dns]\n", "[dns]\ndnssec = \"off\"\n"))?;
    let other = Dns::start().await?;
    other.secmx("health.test", &[(10, 10, rig.mx_port(), "secmail.health.test")]);
    other.mx("health.test", &[(10, "mx.elsewhere.test")]);
    let (code, same) = ask_json(&rig, &["probe", "health.test", "--dns-only", "--compare", &rig.dns.addr().to_string()]).await?;
    assert_eq!((code, &same["compared"]["otherwise"]), (0, &json!([])), "{same:#}");
    assert!(same["found"].as_array().context("found")?.iter().all(|found| found["took_ms"].is_u64()), "{same:#}");
    let (code, differs) = ask_json(&rig, &["probe", "health.test", "--dns-only", "--compare", &other.addr().to_string()]).await?;
    let otherwise = differs["compared"]["otherwise"].as_array().context("otherwise")?;
    let shown: Vec<_> = otherwise.iter().map(|found| (&found["kind"], &found["records"])).collect();
    assert_eq!(shown, [(&json!("MX"), &json!(["10 mx.elsewhere.test"])), (&json!("TLSRPT"), &json!([]))], "{differs:#}");
    assert_eq!((code, &differs["answer"]), (0, &json!("yes")));
    let (_, text, _) = ask(&rig, &["probe", "health.test", "--dns-only", "--compare", &other.addr().to_string()]).await?;
    assert!(text.contains("says otherwise:") && text.contains(" ms"), "{text}");
    let (code, _, err) = ask(&rig, &["probe", "health.test", "--compare", "ns.test"]).await?;
    assert!(code == 2 && err.contains("an IP address such as"), "{err}");
    Ok(())
}

/// Asked again and again, it prints what changed, and ends with Ctrl-C and the code of the last answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_watches() -> Result<()> {
    let (rig, _peers) = world().await?;
    let mut child = tokio::process::Command::new(secmx_tests::process::binary()?)
        .args(["probe", "health.test", "--dns-only", "--watch", "1s", "-c"])
        .arg(rig.file())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let mut next = async |part: &str| -> Result<Vec<String>> {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line: &String| !line.contains(part)) {
            let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.with_context(|| format!("{seen:?}"))??;
            seen.push(line.context("it ended")?);
        }
        Ok(seen)
    };
    next("10 mx.health.test").await?;
    rig.dns.mx("health.test", &[(10, "mx.new.test")]);
    let seen = next("10 mx.new.test").await?;
    assert_eq!(seen.iter().filter(|line| line.starts_with("health.test ")).count(), 1, "only what changed: {seen:?}");
    rig.dns.forget("_secmx._tcp.health.test");
    rig.dns.mx("health.test", &[(0, ".")]);
    next("takes no mail").await?;
    let id = child.id().context("it runs")?.to_string();
    assert!(tokio::process::Command::new("kill").args(["-INT", &id]).status().await?.success());
    assert_eq!(child.wait().await?.code(), Some(3), "there is nowhere to send to any more");
    Ok(())
}

/// What newcomers do: a name that is none, an address, a typo, a domain that takes no mail, DNS that is down, a broken file, no file.
#[tokio::test(flavor = "multi_thread")]
async fn mistakes_have_codes_and_words() -> Result<()> {
    let (rig, _peers) = world().await?;
    for (domain, code, part) in [
        ("health..test", 2, "expected a domain such as"),
        ("bo@health.test", 2, "secmx route bo@health.test"),
        ("https://health.test/", 2, "is no domain"),
        ("192.0.2.1", 2, "records stand at domains"),
    ] {
        let (got, _, err) = ask(&rig, &["probe", domain]).await?;
        assert!(got == code && err.contains(part), "{domain}: {got} {err}");
    }
    for (domain, code, part) in
        [("helth.test", 3, "no such domain"), ("nothing.test", 3, "takes no mail"), ("dark.test", 6, "could not be had")]
    {
        let (got, out, _) = ask(&rig, &["probe", domain]).await?;
        assert!(got == code && out.contains(part), "{domain}: {got} {out}");
    }
    assert_eq!(ask(&rig, &["route", "bo@helth.test"]).await?.0, 3);
    assert_eq!(ask(&rig, &["route", "bo@dark.test"]).await?.0, 6);
    let (code, _, err) = ask(&rig, &["route", "bo"]).await?;
    assert!(code == 2 && err.contains("bo@health.example"), "{err}");
    fs::write(rig.file(), "recieve = 1\n")?;
    for command in [&["probe", "health.test"][..], &["route", "bo@health.test"], &["dns", "check"]] {
        let (code, _, err) = ask(&rig, command).await?;
        assert!(code == 7 && err.contains("did you mean `receive`?"), "{err}");
    }
    // Without any file: the defaults, and nothing to publish.
    let output = rig.secmx(&["dns", "records"], "").await?;
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("`domains` is empty"), "{output:?}");
    Ok(())
}

/// Direction, rule, policies' word, what must be proved, and whom it would be tried with; no host sees a connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_told_without_a_connection() -> Result<()> {
    let (rig, peers) = world().await?;
    let rules = "[[send.rule]]\nname = \"government\"\nto = [\"*.test\"]\nrole = \"SOS\"\n\
                 [[send.rule]]\nname = \"archive\"\nto = [\"archive.example\"]\nnext_hop = \"smtp://10.0.0.9:25\"\n";
    fs::write(rig.file(), rig.configuration("", rules))?;
    let (code, route) = ask_json(&rig, &["route", "bo@health.test", "--from", "ana@agency.test"]).await?;
    assert_eq!(
        (code, &route["schema"], &route["rule"], &route["role"]),
        (0, &json!("secmx/route/v1"), &json!("government"), &json!("SOS"))
    );
    assert_eq!((&route["floor"], &route["way"], &route["from"]), (&json!("host"), &json!("discovery"), &json!("ana@agency.test")));
    let hosts: Vec<&Value> = route["tries"].as_array().context("tries")?.iter().map(|it| &it["host"]).collect();
    assert_eq!(hosts, ["secmail.health.test", "mx.health.test"], "{route:#}");
    assert!(route["tries"].as_array().context("tries")?.iter().all(|it| it["tls"] == "required" && it["needs"] == "host"), "{route:#}");
    assert!(route["policies"][0]["policy"].as_str().is_some_and(|policy| policy.starts_with("sos")), "{route:#}");
    let (_, route) = ask_json(&rig, &["route", "ana@agency.test"]).await?;
    assert_eq!((&route["way"], &route["next_hop"]), (&json!("inside"), &json!(rig.inside.address().to_string())), "{route:#}");
    let (_, route) = ask_json(&rig, &["route", "x@archive.example"]).await?;
    assert_eq!((&route["way"], &route["rule"], &route["tries"][0]["port"]), (&json!("next-hop"), &json!("archive"), &json!(25)));
    let (code, text, _) = ask(&rig, &["route", "bo@health.test", "--ascii"]).await?;
    assert!(code == 0 && text.contains("never in plaintext") && text.contains("rule \"government\"") && text.is_ascii(), "{text}");
    assert!(peers.iter().all(|peer| peer.connections().is_empty()), "nobody was called");
    assert!(rig.inside.connections().is_empty());
    Ok(())
}

/// Puts lines of a zone file into DNS.
fn publish(rig: &Rig, zone: &str) -> Result<()> {
    let mut sets: BTreeMap<(String, &str), Vec<RData>> = BTreeMap::new();
    for line in zone.lines() {
        let (name, rest) = line.split_once(" IN ").with_context(|| format!("no record: {line}"))?;
        let (kind, data) = rest.trim().split_once(' ').context("a kind")?;
        let words: Vec<&str> = data.split_whitespace().collect();
        let name_of = |text: &str| text.parse().map_err(|error| anyhow::anyhow!("{text}: {error}"));
        let data = match (kind, &words[..]) {
            ("SRV", [priority, weight, port, target]) => {
                RData::SRV(SRV::new(priority.parse()?, weight.parse()?, port.parse()?, name_of(target)?))
            }
            ("MX", [preference, exchange]) => RData::MX(MX::new(preference.parse()?, name_of(exchange)?)),
            ("A", [address]) => RData::A(A(address.parse()?)),
            ("TLSA", [usage, selector, matching, hex]) => {
                let octets: Result<Vec<u8>, _> = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16)).collect();
                let number = |text: &str| text.parse::<u8>();
                RData::TLSA(TLSA::new(number(usage)?.into(), number(selector)?.into(), number(matching)?.into(), octets?))
            }
            ("TXT", _) => RData::TXT(TXT::new(vec![data.trim().trim_matches('"').to_owned()])),
            _ => bail!("{line} is no record that we know"),
        };
        let name = name.trim().trim_end_matches('.').to_owned();
        sets.entry((name, kind)).or_default().push(data);
    }
    for ((name, kind), records) in sets {
        rig.dns.set(&name, kind.parse()?, Answer::Records(records));
    }
    Ok(())
}

/// A gateway with all that can be published, its records in a signed zone.
async fn published() -> Result<(Rig, String)> {
    let mut rig = Rig::world().await?;
    let identity = rig.authority.issue(&["gw.agency.test", "mx.agency.test", "mta-sts.agency.test"])?;
    let (chain, key) = (rig.state().join("chain.pem"), rig.state().join("key.pem"));
    fs::write(&chain, identity.chain_pem())?;
    fs::write(&key, identity.key_pem())?;
    let certs = format!("[tls]\ncerts = [{{ cert = \"{}\", key = \"{}\" }}]\n", chain.display(), key.display());
    let web = format!(
        "[web]\nhttps = \"127.0.0.33:{}\"\n[publish]\nmta_sts = \"enforce\"\nmx = [\"mx.agency.test\"]\ntls_rpt = [\"mailto:tlsrpt@agency.test\"]\n",
        rig.web_port()
    );
    let port = rig.mx_port();
    let text = rig
        .configuration(&format!("mta_sts.port = {}\n", rig.web_port()), &web)
        .replace("[tls]\n", &certs)
        .replace("[receive.public]\nlisten = \"127.0.0.1:0\"", &format!("[receive.public]\nlisten = \"127.0.0.31:{port}\""))
        .replace("[receive.secure]\nlisten = \"127.0.0.1:0\"", &format!("[receive.secure]\nlisten = \"127.0.0.32:{port}\""));
    rig.start_with(&text).await?;
    rig.dns.sign("test", Denial::Nsec)?;
    rig.dns.host("mta-sts.agency.test", std::net::Ipv4Addr::new(127, 0, 0, 33).into());
    let (code, zone, err) = ask(&rig, &["dns", "records"]).await?;
    ensure!(code == 0, "{err}");
    publish(&rig, &zone)?;
    rig.dns.sign("agency.test", Denial::Nsec)?;
    Ok((rig, zone))
}

/// What the check says of the first record of that kind that is not right.
fn trouble<'a>(check: &'a Value, kind: &str) -> (&'a Value, &'a str) {
    let records = check["records"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = records.iter().find(|record| record["kind"] == kind && record["standing"] != "ok");
    found.map_or((&Value::Null, ""), |record| (&record["standing"], record["trouble"].as_str().unwrap_or_default()))
}

/// L2-9 and issue 7, 8: what `records` prints, put into a signed zone as it stands, passes `check`; what is taken away, spoilt or wrongly
/// led is found.
#[tokio::test(flavor = "multi_thread")]
async fn l2_9_the_records_that_are_printed_pass_the_check_and_no_others_do() -> Result<()> {
    let (rig, zone) = published().await?;
    let port = rig.mx_port();
    for part in [
        "_secmx._tcp.agency.test. ".to_owned(),
        format!("IN SRV   10 10 {port} gw.agency.test.\n"),
        "IN MX    10 mx.agency.test.\n".to_owned(),
        format!("_{port}._tcp.mx.agency.test. "),
        "\"v=STSv1; id=".to_owned(),
        "\"v=TLSRPTv1; rua=mailto:tlsrpt@agency.test\"".to_owned(),
    ] {
        assert!(zone.contains(&part), "{part} is missing in\n{zone}");
    }
    let (code, text, _) = ask(&rig, &["dns", "check"]).await?;
    assert_eq!(code, 0, "{text}");
    let (code, check) = ask_json(&rig, &["dns", "check"]).await?;
    assert_eq!((code, &check["schema"], &check["wrong"]), (0, &json!("secmx/dns-check/v1"), &json!([])));

    rig.dns.forget("_secmx._tcp.agency.test");
    rig.dns.tlsa("mx.agency.test", port, &[(3, 1, 1, vec![7; 32])]);
    rig.dns.txt("_mta-sts.agency.test", &["v=STSv1; id=old"]);
    rig.dns.set("_smtp._tls.agency.test", RecordType::TXT, Answer::Failure(ResponseCode::ServFail));
    let (code, check) = ask_json(&rig, &["dns", "check"]).await?;
    assert_eq!(code, 1);
    assert_eq!(trouble(&check, "SRV").0, "missing", "{check:#}");
    let (standing, why) = trouble(&check, "TLSA");
    assert!(standing == "wrong" && why.contains("senders that do DANE do not deliver"), "{check:#}");
    let records = check["records"].as_array().context("records")?;
    let txt: Vec<&Value> = records.iter().filter(|record| record["kind"] == "TXT").map(|record| &record["standing"]).collect();
    assert_eq!(txt, ["wrong", "cannot-tell"], "{check:#}");

    publish(&rig, &zone)?;
    rig.dns.host("mx.agency.test", std::net::Ipv4Addr::new(127, 0, 0, 32).into());
    let (code, check) = ask_json(&rig, &["dns", "check"]).await?;
    let wrong = check["wrong"][0].as_str().unwrap_or_default();
    assert!(code == 1 && wrong.contains("receive.secure is secure only") && wrong.contains("L2-9"), "{check:#}");
    Ok(())
}

/// Without DNSSEC a TLSA record is worth nothing, and that is said; SERVFAIL for everything is no verdict.
#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_zone_is_weaker_and_silence_is_no_verdict() -> Result<()> {
    let rig = Rig::world().await?;
    let text = rig.configuration("", "[publish]\nmx = [\"mx.agency.test\"]\n");
    let port = rig.mx_port();
    let text = text
        .replace("[receive.public]\nlisten = \"127.0.0.1:0\"", &format!("[receive.public]\nlisten = \"127.0.0.31:{port}\""))
        .replace("[receive.secure]\nlisten = \"127.0.0.1:0\"", &format!("[receive.secure]\nlisten = \"127.0.0.32:{port}\""));
    fs::write(rig.file(), text)?;
    let (_, zone, _) = ask(&rig, &["dns", "records"]).await?;
    publish(&rig, &zone)?;
    let (code, check) = ask_json(&rig, &["dns", "check"]).await?;
    let (standing, why) = trouble(&check, "TLSA");
    assert!(code == 1 && standing == "weaker" && why.contains("not signed"), "{check:#}");
    for line in zone.lines() {
        let (name, rest) = line.split_once(" IN ").context("a record")?;
        let kind = rest.split_whitespace().next().context("a kind")?;
        rig.dns.set(name.trim().trim_end_matches('.'), kind.parse()?, Answer::Failure(ResponseCode::ServFail));
    }
    assert_eq!(ask(&rig, &["dns", "check"]).await?.0, 6);
    Ok(())
}
