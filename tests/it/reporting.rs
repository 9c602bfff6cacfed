//! Reports to domains about TLS with their hosts (RFC 8460): counted while mail is sent, sent when the day is over, never about themselves.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secmx_lab::ca::Flaw;
use secmx_lab::dns::Denial;
use secmx_lab::peer::{Behaviour, Peer, StartTls, Taken};
use secmx_lab::web::Web;
use secmx_tests::Rig;
use serde_json::{Value, json};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that opens a connection for each message, and reports at once when a day is over.
const MORE: &str = "[queue.per_destination]\nmessages_per_connection = 1\n\
                    [report.tlsrpt]\nspread = \"0s\"\norganization = \"The Agency\"\ncontact = \"tls@agency.test\"\n";

/// Moves the clock to the next noon, so that no midnight comes in between.
fn noon(rig: &Rig) {
    let second = rig.clock.now().as_second().rem_euclid(86_400);
    rig.clock.advance(Duration::from_secs(u64::try_from((86_400 + 43_200 - second) % 86_400).unwrap_or_default()));
}

/// A partner with one MX.
async fn partner(rig: &Rig, domain: &str, at: u8, behaviour: Behaviour, wants: &str) -> Result<Peer> {
    let host = format!("mx.{domain}");
    let peer = rig.host(&host, at, behaviour, Flaw::None).await?;
    rig.dns.mx(domain, &[(10, &host)]);
    rig.dns.txt(&format!("_smtp._tls.{domain}"), &[&format!("v=TLSRPTv1; rua={wants}")]);
    Ok(peer)
}

fn without_tls() -> Behaviour {
    Behaviour { starttls: StartTls::Absent, ..Behaviour::default() }
}

/// The report in a compressed body.
fn unpacked(octets: &[u8]) -> Result<Value> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(octets).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// The report that a message carries.
fn attached(content: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(content);
    let part = text.split("Content-Type: application/tlsrpt+gzip").nth(1).with_context(|| format!("no report in {text}"))?;
    let body = part.split("\r\n\r\n").nth(1).context("a body")?.split("\r\n--").next().context("its end")?;
    unpacked(&STANDARD.decode(body.split_whitespace().collect::<String>())?)
}

async fn send(rig: &Rig, to: &str, times: usize) -> Result<()> {
    for _ in 0..times {
        let queue = rig.submit("ana@agency.test", &[to]).await?;
        let end = rig.outcome(&queue).await?;
        ensure!(end["event"] == "message.delivered", "{end:#}");
    }
    Ok(())
}

async fn posted(web: &Web, count: usize) -> Result<Vec<Vec<u8>>> {
    let wait = async {
        while web.bodies().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        web.bodies()
    };
    tokio::time::timeout(PATIENCE, wait).await.context("no report was posted")
}

/// The report by mail: who, about whom, and three sessions of which two were before a restart.
fn three_sessions(taken: &Taken) -> Result<()> {
    let report = attached(&taken.content)?;
    assert_eq!((&report["organization-name"], &report["contact-info"]), (&json!("The Agency"), &json!("tls@agency.test")), "{report:#}");
    let policies = json!([{
        "policy": { "policy-type": "no-policy-found", "policy-domain": "good.test" },
        "summary": { "total-successful-session-count": 3, "total-failure-session-count": 0 },
    }]);
    assert_eq!(report["policies"], policies, "three sessions, two of them before a restart");
    let head = String::from_utf8_lossy(&taken.content);
    for part in
        ["TLS-Report-Domain: good.test\r\n", "TLS-Report-Submitter: gw.agency.test\r\n", "report-type=\"tlsrpt\"", "TLS-Required: No\r\n"]
    {
        assert!(head.contains(part), "{part} is missing in {head}");
    }
    assert_eq!(taken.reverse_path, "", "nobody is told when it does not arrive");
    Ok(())
}

/// The report over HTTPS: where TLS was not to be had.
fn one_without_starttls(report: &Value) {
    let summary = json!({ "total-successful-session-count": 0, "total-failure-session-count": 1 });
    assert_eq!(report["policies"][0]["summary"], summary, "{report:#}");
    let detail = json!({
        "result-type": "starttls-not-supported",
        "sending-mta-ip": "127.0.0.1",
        "receiving-mx-hostname": "mx.old.test",
        "receiving-ip": "127.0.0.3",
        "failed-session-count": 1,
    });
    assert_eq!(report["policies"][0]["failure-details"], json!([detail]));
}

/// What a delivery that a drain waits for came to is counted, over the restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_in_a_drain_is_counted() -> Result<()> {
    let mut rig = Rig::world().await?;
    let slow = Behaviour { pace: Some(Duration::from_millis(3)), ..Behaviour::default() };
    let peer = partner(&rig, "good.test", 2, slow, "mailto:tlsrpt@reports.test").await?;
    rig.start("", MORE).await?;
    let queue = rig.submit("ana@agency.test", &["bo@good.test"]).await?;
    // It has the message, and begins to say so.
    ensure!(peer.wait_for_messages(1, PATIENCE).await.len() == 1, "nothing was sent");
    rig.stop().await;
    let end = rig.outcome(&queue).await?;
    ensure!(end["event"] == "message.delivered", "{end:#}");
    rig.start("", MORE).await?;
    let shown = rig.secmx(&["tlsrpt", "show", "--json"], "").await?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    assert_eq!(shown["reports"][0]["domain"], "good.test", "{shown:#}");
    Ok(())
}

/// One day of mail, with a restart in it, becomes one report to each domain that asks: by mail, also to a host whose own TLS fails, and by
/// HTTPS, again when the place was down. Who does not ask is told nothing, and no report is about a report.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_mail_becomes_one_report_for_each_domain_that_asks() -> Result<()> {
    let mut rig = Rig::world().await?;
    noon(&rig);
    let _good = partner(&rig, "good.test", 2, Behaviour::default(), "mailto:tlsrpt@reports.test").await?;
    let url = format!("https://post.reports.test:{}/v1/tlsrpt", rig.web_port());
    let _old = partner(&rig, "old.test", 3, without_tls(), &url).await?;
    let _silent = rig.host("mx.silent.test", 4, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("silent.test", &[(10, "mx.silent.test")]);
    // What takes reports asks for reports too, and its own TLSA record is wrong: it gets them all the same.
    let reports = partner(&rig, "reports.test", 5, Behaviour::default(), "mailto:tlsrpt@reports.test").await?;
    rig.dns.tlsa("mx.reports.test", rig.mx_port(), &[(3, 1, 1, vec![7; 32])]);
    rig.dns.sign("test", Denial::Nsec)?;
    rig.dns.sign("reports.test", Denial::Nsec)?;
    let web = Web::start_at(
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, 6), rig.web_port())),
        Some(&rig.identity("post.reports.test", Flaw::None)?),
    )
    .await?;
    rig.dns.host("post.reports.test", Ipv4Addr::new(127, 0, 0, 6).into());
    web.answer("HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");

    rig.start("", MORE).await?;
    send(&rig, "bo@good.test", 2).await?;
    send(&rig, "bo@old.test", 1).await?;
    send(&rig, "bo@silent.test", 1).await?;
    rig.stop().await;
    rig.start("", MORE).await?;
    send(&rig, "bo@good.test", 1).await?;
    let shown = rig.secmx(&["tlsrpt", "show", "--json"], "").await?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    let domains: Vec<&Value> = shown["reports"].as_array().context("reports")?.iter().map(|report| &report["domain"]).collect();
    assert_eq!(domains, ["good.test", "old.test", "silent.test"], "{shown:#}");
    assert_eq!((&shown["reports"][0]["places"], &shown["reports"][2]["places"]), (&json!(["mailto:tlsrpt@reports.test"]), &json!([])));
    assert!(reports.messages().is_empty() && web.bodies().is_empty(), "the day is not over");

    rig.clock.advance(Duration::from_secs(86_400));
    let taken = reports.wait_for_messages(1, PATIENCE).await;
    three_sessions(&taken[0])?;

    rig.event("gateway.warning", |event| event["text"].as_str().is_some_and(|text| text.contains("did not get to https:"))).await?;
    web.answer("HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    rig.clock.advance(Duration::from_secs(3700));
    let bodies = posted(&web, 2).await?;
    rig.event("tls-report.sent", |event| event["domain"] == "old.test").await?;
    let report = unpacked(&bodies[1])?;
    assert_eq!(report, unpacked(&bodies[0])?, "the same report, under the same name");
    one_without_starttls(&report);
    assert_eq!(web.requests()[1], "POST /v1/tlsrpt HTTP/1.1");

    // The sheet is closed a moment after the last of its reports left.
    let told = async {
        loop {
            let shown = rig.secmx(&["tlsrpt", "show"], "").await?;
            if shown.stdout == b"nothing was counted yet\n" {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.context("the report itself was counted")??;
    rig.clock.advance(Duration::from_secs(3600));
    let sent: Vec<Value> = rig.log.named("tls-report.sent").iter().map(|event| event["domain"].clone()).collect();
    assert_eq!(sent, ["good.test", "old.test"], "each once");
    assert_eq!((reports.messages().len(), web.bodies().len()), (1, 2));
    Ok(())
}

/// What DANE and MTA-STS said stands in the report: the records or the policy, the host, and why it was not believed; also where mail went
/// all the same (RFC 8461, 5: mode `testing`).
#[tokio::test(flavor = "multi_thread")]
async fn a_report_names_the_policy_that_failed() -> Result<()> {
    let mut rig = Rig::world().await?;
    noon(&rig);
    let port = rig.mx_port();
    let _dane = partner(&rig, "dane.test", 2, Behaviour::default(), "mailto:r@reports.test").await?;
    rig.dns.tlsa("mx.dane.test", port, &[(3, 1, 1, vec![7; 32])]);
    let _sts = rig.host("mx.sts.test", 3, Behaviour::default(), Flaw::Expired).await?;
    rig.dns.mx("sts.test", &[(10, "mx.sts.test")]);
    let policies = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 4), rig.web_port()));
    let web = Web::start_at(policies, Some(&rig.identity("mta-sts.sts.test", Flaw::None)?)).await?;
    web.serve("text/plain", b"version: STSv1\nmode: testing\nmx: mx.sts.test\nmax_age: 86400\n");
    rig.dns.host("mta-sts.sts.test", policies.ip());
    rig.dns.txt("_mta-sts.sts.test", &["v=STSv1; id=1"]);
    let lost = partner(&rig, "lost.test", 5, Behaviour::default(), "mailto:r@reports.test").await?;
    let unproved = partner(&rig, "unproved.test", 6, Behaviour::default(), "mailto:r@reports.test").await?;
    let expired = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 7), rig.web_port()));
    let _expired = Web::start_at(expired, Some(&rig.identity("mta-sts.unproved.test", Flaw::Expired)?)).await?;
    rig.dns.host("mta-sts.unproved.test", expired.ip());
    for domain in ["lost.test", "unproved.test"] {
        rig.dns.txt(&format!("_mta-sts.{domain}"), &["v=STSv1; id=1"]);
    }
    for zone in ["test", "dane.test"] {
        rig.dns.sign(zone, Denial::Nsec)?;
    }
    rig.start(&format!("mta_sts.port = {}\n", rig.web_port()), MORE).await?;
    for domain in ["dane.test", "sts.test", "lost.test", "unproved.test"] {
        let queue = rig.submit("ana@agency.test", &[&format!("bo@{domain}")]).await?;
        rig.outcome(&queue).await?;
    }
    let shown = rig.secmx(&["tlsrpt", "show", "--json"], "").await?;
    let shown: Value = serde_json::from_slice(&shown.stdout)?;
    let of = |domain: &str| -> Result<Value> {
        let reports = shown["reports"].as_array().context("reports")?;
        let found = reports.iter().find(|report| report["domain"] == domain).with_context(|| format!("no {domain} in {shown:#}"))?;
        Ok(found["report"]["policies"].clone())
    };
    let dane = of("dane.test")?;
    let digest = format!("3 1 1 {}", "07".repeat(32));
    let policy = json!({ "policy-type": "tlsa", "policy-string": [digest], "policy-domain": "dane.test", "mx-host": ["mx.dane.test"] });
    assert_eq!((&dane[0]["policy"], &dane[0]["failure-details"][0]["result-type"]), (&policy, &json!("tlsa-invalid")), "{dane:#}");
    let sts = of("sts.test")?;
    let lines = json!(["version: STSv1", "mode: testing", "mx: mx.sts.test", "max_age: 86400"]);
    assert_eq!((&sts[0]["policy"]["policy-string"], &sts[0]["policy"]["mx-host"]), (&lines, &json!(["mx.sts.test"])), "{sts:#}");
    assert_eq!(
        (&sts[0]["failure-details"][0]["result-type"], &sts[0]["summary"]["total-failure-session-count"]),
        (&json!("certificate-expired"), &json!(1))
    );
    for (domain, expected) in [("lost.test", "sts-policy-fetch-error"), ("unproved.test", "sts-webpki-invalid")] {
        let policies = of(domain)?;
        let told = policies.as_array().context("policies")?.iter().filter(|told| told["policy"]["policy-type"] == "sts");
        let failed: Vec<&Value> = told.map(|told| &told["failure-details"][0]["result-type"]).collect();
        assert_eq!(failed, [expected], "{shown:#}");
    }
    assert_eq!((lost.messages().len(), unproved.messages().len()), (1, 1), "and mail goes on");
    Ok(())
}

/// A policy is fetched anew before its time is over although no mail goes to the domain: the host that serves it may then be down for as
/// long as half of it lasts (RFC 8461, 10.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_fetched_anew_without_mail() -> Result<()> {
    let mut rig = Rig::world().await?;
    let _host = rig.host("mx.sts.test", 3, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("sts.test", &[(10, "mx.sts.test")]);
    let policies = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 4), rig.web_port()));
    let web = Web::start_at(policies, Some(&rig.identity("mta-sts.sts.test", Flaw::None)?)).await?;
    web.serve("text/plain", b"version: STSv1\nmode: enforce\nmx: mx.sts.test\nmax_age: 7200\n");
    rig.dns.host("mta-sts.sts.test", policies.ip());
    rig.dns.txt("_mta-sts.sts.test", &["v=STSv1; id=1"]);
    rig.start(&format!("mta_sts.port = {}\n", rig.web_port()), MORE).await?;
    send(&rig, "bo@sts.test", 1).await?;
    assert_eq!(web.requests().len(), 1);
    rig.clock.advance(Duration::from_secs(3000));
    rig.clock.advance(Duration::from_secs(700));
    let wait = async {
        while web.requests().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.context("it was not fetched anew after half of its time")?;
    Ok(())
}
