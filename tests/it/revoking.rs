//! Lists of revoked certificates that certificates point at: fetched in the background, believed when they are fresh, missed by nobody.

use anyhow::{Context, Result};
use secmx_lab::peer::{Behaviour, Peer};
use secmx_lab::web::Web;
use secmx_tests::Rig;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// How long the list may take to come: it is looked for every few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A partner whose certificate says that its list is at `url`.
async fn partner(rig: &Rig, domain: &str, at: u8, url: &str) -> Result<(Peer, Vec<u8>)> {
    let (name, address) = (format!("mx.{domain}"), IpAddr::V4(Ipv4Addr::new(127, 0, 0, at)));
    let identity = rig.authority.issue_listed(&[&name], url)?;
    let list = rig.authority.revoke(&[&identity], time::OffsetDateTime::now_utc() - time::Duration::hours(1))?;
    rig.dns.host(&name, address);
    rig.dns.mx(domain, &[(10, &name)]);
    Ok((Peer::start_at(SocketAddr::new(address, rig.mx_port()), Behaviour::default(), &identity).await?, list))
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
    let at = |host: &str, port: u16| format!("http://{host}:{port}/list.crl");
    rig.dns.host("crl.test", web.address().ip());
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    rig.dns.host("silent.test", Ipv4Addr::LOCALHOST.into());
    let (_revoked, list) = partner(&rig, "revoked.test", 2, &at("crl.test", web.address().port())).await?;
    let _nobody = partner(&rig, "nobody.test", 3, &at("nowhere.test", 80)).await?;
    let _unknown = partner(&rig, "unknown.test", 4, &at("silent.test", silent.local_addr()?.port())).await?;
    web.serve("application/pkix-crl", &list);
    for domain in ["revoked.test", "nobody.test", "unknown.test"] {
        assert_eq!(level(&rig, domain).await?, "host", "{domain}: nothing is known yet, and mail goes");
    }
    let end = Instant::now() + PATIENCE;
    while level(&rig, "revoked.test").await? != "encrypted" {
        anyhow::ensure!(Instant::now() < end, "the list was not fetched, or not believed: {:?}", web.requests());
    }
    assert_eq!(web.requests(), ["GET /list.crl HTTP/1.1"], "once, however much mail there was");
    rig.event("gateway.warning", |event| event["text"].as_str().is_some_and(|text| text.contains("nowhere.test"))).await?;
    for domain in ["unknown.test", "nobody.test"] {
        assert_eq!(level(&rig, domain).await?, "host", "{domain}: unknown is not revoked");
    }
    Ok(())
}
