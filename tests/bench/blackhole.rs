//! Mail while the addresses of certificate authorities swallow everything: the list of revoked certificates that the peer's certificate points
//! at, and the ACME directory that our own would come from.
//!
//! `cargo bench -p secmx-tests --bench blackhole`. The same load runs with lists that come at once, and with addresses that take connections
//! and never answer; nothing is asserted, what is printed is the ratio. Each message has a connection and a handshake of its own.

use anyhow::{Context, Result, ensure};
use secmx_lab::client::Client;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_lab::web::Web;
use secmx_tests::Rig;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Clients that send at the same time.
const CLIENTS: usize = 8;

/// Messages of each.
const MESSAGES: usize = 40;

/// How often each way is measured, in turns; the best counts.
const TURNS: usize = 3;

fn main() -> Result<()> {
    // `cargo test --benches` asks for a trial: there is nothing to try without the time for it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut answered, mut swallowed) = (f64::MAX, f64::MAX);
    for _ in 0..TURNS {
        answered = answered.min(threads.block_on(load(false))?.as_secs_f64());
        swallowed = swallowed.min(threads.block_on(load(true))?.as_secs_f64());
    }
    let rate = |seconds: f64| (CLIENTS * MESSAGES) as f64 / seconds;
    println!("lists and authority answer      {:>7.0} messages a second", rate(answered));
    println!("lists and authority black-holed {:>7.0} messages a second", rate(swallowed));
    println!("throughput, black-holed to answered: {:.2}", answered / swallowed);
    Ok(())
}

/// The time from the first message sent to the last one at the peer.
async fn load(swallows: bool) -> Result<Duration> {
    let mut rig = Rig::world().await?;
    // The system takes the connections of a listener that nobody asks for them; they are never answered.
    let hole = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let web = Web::start(None).await?;
    let lists = if swallows { hole.local_addr()? } else { web.address() };
    rig.dns.host("crl.test", lists.ip());
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), rig.mx_port()));
    rig.dns.host("mx.partner.test", address.ip());
    rig.dns.mx("partner.test", &[(10, "mx.partner.test")]);
    let identity = rig.authority.issue_listed(&["mx.partner.test"], &[&format!("http://crl.test:{}/list.crl", lists.port())])?;
    web.serve("application/pkix-crl", &rig.authority.revoke(&[], time::OffsetDateTime::now_utc() - time::Duration::hours(1))?);
    let peer = Peer::start_at(address, Behaviour::default(), &identity).await?;
    let acme = if swallows {
        format!("[tls.acme]\nemail = \"a@agency.test\"\ndirectory = \"https://{}/dir\"\n", hole.local_addr()?)
    } else {
        String::new()
    };
    let web_port = rig.web_port();
    rig.start(
        "",
        &format!("{acme}[web]\nhttps = \"127.0.0.1:{web_port}\"\n[queue.per_destination]\nmessages_per_connection = 1\nconnections = 8\n"),
    )
    .await?;
    // The first one makes the list wanted.
    let inside = rig.listener("inside")?;
    send(inside, 1).await?;
    peer.wait_for_messages(1, Duration::from_secs(30)).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    ensure!(swallows || !web.requests().is_empty(), "the list was not fetched");
    let began = Instant::now();
    let mut clients = JoinSet::new();
    (0..CLIENTS).for_each(|_| _ = clients.spawn(send(inside, MESSAGES)));
    while let Some(sent) = clients.join_next().await {
        sent??;
    }
    let taken = peer.wait_for_messages(CLIENTS * MESSAGES + 1, Duration::from_secs(60)).await.len();
    let took = began.elapsed();
    ensure!(taken == CLIENTS * MESSAGES + 1, "only {taken} arrived");
    rig.stop().await;
    Ok(took)
}

async fn send(inside: SocketAddr, messages: usize) -> Result<()> {
    let mut client = Client::connect(inside).await?;
    client.command("EHLO exchange.agency.test").await?;
    for _ in 0..messages {
        let reply = client.transact("ana@agency.test", &["bo@partner.test"], "Subject: s\r\n\r\nx").await?;
        reply.starts_with("250").then_some(()).with_context(|| reply)?;
    }
    Ok(())
}
