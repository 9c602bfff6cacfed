//! Lists of revoked certificates that certificates point at: fetched in the background, believed when they are fresh, missed by nobody.

use anyhow::{Context, Result};
use secmx_lab::ca::Identity;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_lab::web::Web;
use secmx_tests::Rig;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How long the list may take to come: it is looked for every few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A partner whose certificate says that its lists are at `urls`.
async fn partner(rig: &Rig, domain: &str, at: u8, urls: &[&str]) -> Result<(Peer, Identity)> {
    let (name, address) = (format!("mx.{domain}"), IpAddr::V4(Ipv4Addr::new(127, 0, 0, at)));
    let identity = rig.authority.issue_listed(&[&name], urls)?;
    rig.dns.host(&name, address);
    rig.dns.mx(domain, &[(10, &name)]);
    Ok((Peer::start_at(SocketAddr::new(address, rig.mx_port()), Behaviour::default(), &identity).await?, identity))
}

/// When a list was made that is in force.
fn lately() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc() - time::Duration::hours(1)
}

/// A place of a list, at this host and port.
fn at(host: &str, port: u16) -> String {
    format!("http://{host}:{port}/list.crl")
}

/// Sends until a message arrives with this level.
async fn until(rig: &Rig, domain: &str, wanted: &str) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while level(rig, domain).await? != wanted {
        anyhow::ensure!(Instant::now() < end, "{domain} never came to {wanted}");
    }
    Ok(())
}

/// The level with which the next message arrives.
async fn level(rig: &Rig, domain: &str) -> Result<String> {
    let queue = rig.submit("ana@agency.test", &[&format!("bo@{domain}")]).await?;
    let end = rig.outcome(&queue).await?;
    Ok(end["channel"]["level"].as_str().with_context(|| format!("{end:#}"))?.to_owned())
}

/// S7: no mail waits for a list; one that came and names the certificate takes its proof away, and only then. A place that does not answer,
/// or where nobody is, takes nothing away and holds nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_a_certificate_points_at_is_fetched_and_only_its_word_is_fatal() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let web = Web::start(None).await?;
    rig.dns.host("crl.test", web.address().ip());
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    rig.dns.host("silent.test", Ipv4Addr::LOCALHOST.into());
    let (_revoked, identity) = partner(&rig, "revoked.test", 2, &[&at("crl.test", web.address().port())]).await?;
    let _nobody = partner(&rig, "nobody.test", 3, &[&at("nowhere.test", 80)]).await?;
    let _unknown = partner(&rig, "unknown.test", 4, &[&at("silent.test", silent.local_addr()?.port())]).await?;
    web.serve("application/pkix-crl", &rig.authority.revoke(&[&identity], lately())?);
    for domain in ["revoked.test", "nobody.test", "unknown.test"] {
        assert_eq!(level(&rig, domain).await?, "host", "{domain}: nothing is known yet, and mail goes");
    }
    until(&rig, "revoked.test", "encrypted").await?;
    assert_eq!(web.requests(), ["GET /list.crl HTTP/1.1"], "once, however much mail there was");
    rig.event("gateway.warning", |event| event["text"].as_str().is_some_and(|text| text.contains("nowhere.test"))).await?;
    for domain in ["unknown.test", "nobody.test"] {
        assert_eq!(level(&rig, domain).await?, "host", "{domain}: unknown is not revoked");
    }
    Ok(())
}

/// RUSTSEC-2026-0049: a list that is about the second place alone, which the certificate names behind another one, revokes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_the_second_place_counts() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let web = Web::start(None).await?;
    rig.dns.host("crl.test", web.address().ip());
    let second = at("crl.test", web.address().port());
    let (_peer, identity) = partner(&rig, "second.test", 2, &[&at("nowhere.test", 80), &second]).await?;
    let (_other, _) = partner(&rig, "elsewhere.test", 3, &[&at("nowhere.test", 80)]).await?;
    web.serve("application/pkix-crl", &rig.authority.revoke_at(&[&identity], lately(), &second)?);
    until(&rig, "second.test", "encrypted").await?;
    assert_eq!(level(&rig, "elsewhere.test").await?, "host", "it is about that place alone");
    Ok(())
}

/// RUSTSEC-2026-0104: a list whose set of reasons is no bit string, or one of no bits, takes nothing down. It is no list that says revoked:
/// without another one the certificate is as good as before, unless the operator wants it hard.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_broken_hurts_nobody() -> Result<()> {
    let mut rig = Rig::world().await?;
    for (number, reasons) in [(2, &[][..]), (3, &[0])] {
        let (_peer, identity) = partner(&rig, "broken.test", number, &["http://crl.test/list.crl"]).await?;
        let list = rig.authority.revoke_for(&[&identity], lately(), "http://crl.test/list.crl", reasons)?;
        let file = rig.state().join("broken.crl");
        std::fs::write(&file, list)?;
        for (revocation, expected) in [("soft", "host"), ("hard", "encrypted")] {
            let tls = format!("[tls]\nrevocation = \"{revocation}\"\ncrls = [{file:?}]\n");
            rig.start_with(&rig.configuration("", "").replace("[tls]\n", &tls)).await?;
            rig.event("gateway.warning", |event| event["text"].as_str().is_some_and(|text| text.contains("broken.crl"))).await?;
            assert_eq!(level(&rig, "broken.test").await?, expected, "{revocation} {reasons:?}");
            rig.stop().await;
        }
    }
    Ok(())
}

/// Places that say nothing hold up no list of another place.
#[tokio::test(flavor = "multi_thread")]
async fn silent_places_hold_up_no_other_list() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let (web, silent) = (Web::start(None).await?, tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    rig.dns.host("crl.test", web.address().ip());
    let mut urls = Vec::new();
    for number in 0..8 {
        let host = format!("a{number}.silent.test");
        rig.dns.host(&host, Ipv4Addr::LOCALHOST.into());
        urls.push(at(&host, silent.local_addr()?.port()));
    }
    let list = at("crl.test", web.address().port());
    urls.push(list.clone());
    let (_peer, identity) = partner(&rig, "revoked.test", 2, &urls.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    web.serve("application/pkix-crl", &rig.authority.revoke_at(&[&identity], lately(), &list)?);
    until(&rig, "revoked.test", "encrypted").await
}
