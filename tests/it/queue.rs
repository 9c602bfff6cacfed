//! The queue at work: connections that carry several messages, destinations that take turns, wait, come back and have a rate, and mail that
//! must end somewhere. Time is the gateway's own and moves when a test says so.

use anyhow::Result;
use secmx_lab::ca::Flaw;
use secmx_lab::client::Client;
use secmx_lab::peer::{Behaviour, Peer, StartTls};
use secmx_tests::Rig;
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway with this `[queue.per_destination]`, and a partner that behaves so.
async fn world(at: u8, settings: &str, behaviour: Behaviour) -> Result<(Rig, Peer)> {
    let rig = Rig::with("", &format!("[queue.per_destination]\n{settings}")).await?;
    let peer = rig.host("mx.p.test", at, behaviour, Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    Ok((rig, peer))
}

/// Sends messages one after the other, each once the last has arrived.
async fn send(rig: &Rig, messages: usize) -> Result<()> {
    for _ in 0..messages {
        let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
        rig.event("message.delivered", |event| event["queue"] == queue.as_str()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_one_place_share_a_connection() -> Result<()> {
    let (rig, peer) = world(70, "", Behaviour::default()).await?;
    send(&rig, 5).await?;
    let connections = peer.connections();
    assert_eq!((connections.len(), peer.messages().len()), (1, 5));
    let said = String::from_utf8_lossy(&connections[0].secure).into_owned();
    assert_eq!((said.matches("MAIL FROM").count(), said.matches("EHLO").count()), (5, 1), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_so_many_messages() -> Result<()> {
    let (mut rig, peer) = world(71, "messages_per_connection = 2", Behaviour::default()).await?;
    send(&rig, 5).await?;
    assert_eq!((peer.connections().len(), peer.messages().len()), (3, 5));
    rig.stop().await;
    let goodbyes = peer.connections().iter().filter(|seen| String::from_utf8_lossy(&seen.secure).ends_with("QUIT\r\n")).count();
    assert_eq!(goodbyes, 3, "also the one that still waited when the gateway ended");
    Ok(())
}

/// L1-4, S5: what was good enough for best effort is not taken for secure only, although it would do: each requirement has its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_requirement_only() -> Result<()> {
    let rule = "[[send.rule]]\nname = \"secret\"\nto = \"secret@p.test\"\nrole = \"SOS\"\n";
    let rig = Rig::with("", rule).await?;
    let peer = rig.host("mx.p.test", 72, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    for (to, connections) in [("bo@p.test", 1), ("secret@p.test", 2), ("bo@p.test", 2), ("secret@p.test", 2)] {
        let queue = rig.submit("ana@agency.test", &[to]).await?;
        rig.event("message.delivered", |event| event["queue"] == queue.as_str()).await?;
        assert_eq!(peer.connections().len(), connections, "{to}");
    }
    Ok(())
}

/// Invariant 7: another configuration may trust other authorities; what was proved under the old one is not taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ends_what_waits() -> Result<()> {
    let (rig, peer) = world(73, "", Behaviour::default()).await?;
    send(&rig, 2).await?;
    let text = rig.configuration("", "[queue.per_destination]\n");
    let (config, _) = secmx::config::Config::parse("test.toml", &text).expect("good");
    rig.gateway()?.reload(config)?;
    send(&rig, 1).await?;
    assert_eq!(peer.connections().len(), 2);
    Ok(())
}

/// A peer that hangs up on a connection that waits has not refused anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hung_up_costs_nothing() -> Result<()> {
    let (rig, peer) = world(74, "", Behaviour { messages_max: Some(1), ..Behaviour::default() }).await?;
    send(&rig, 3).await?;
    assert_eq!((peer.connections().len(), peer.messages().len()), (3, 3));
    assert!(rig.log.named("message.deferred").is_empty());
    Ok(())
}

/// RFC 5321, 3.8: 421 ends a connection, and says nothing of the message. A new connection is asked before anybody waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_421_on_a_connection_that_waited_is_no_answer() -> Result<()> {
    let busy = Behaviour { replies: vec![("MAIL FROM:<busy@".into(), "421 4.7.0 enough\r\n".into())], ..Behaviour::default() };
    let (rig, peer) = world(75, "", busy).await?;
    send(&rig, 1).await?;
    let queue = rig.submit("busy@agency.test", &["bo@p.test"]).await?;
    let event = rig.outcome(&queue).await?;
    assert_eq!((event["event"].as_str(), peer.connections().len()), (Some("message.deferred"), 2), "{event}");
    Ok(())
}

/// A resumed session proves what its certificate proves, no more and no less.
#[tokio::test(flavor = "multi_thread")]
async fn tls_sessions_are_resumed_and_judged_anew() -> Result<()> {
    for (at, flaw, level) in [(76, Flaw::None, "host"), (77, Flaw::Expired, "encrypted")] {
        let rig = Rig::with("", "[queue.per_destination]\nmessages_per_connection = 1").await?;
        let peer = rig.host("mx.p.test", at, Behaviour::default(), flaw).await?;
        rig.dns.mx("p.test", &[(10, "mx.p.test")]);
        send(&rig, 3).await?;
        let resumed: Vec<_> = peer.connections().iter().map(|seen| seen.resumed).collect();
        assert_eq!(resumed, [false, true, true]);
        let levels: Vec<_> = rig.log.named("message.delivered").iter().map(|event| event["channel"]["level"].clone()).collect();
        assert_eq!(levels, [level; 3]);
    }
    Ok(())
}

/// L1-2, L1-4: plaintext comes after TLS was tried. That a host does not offer it is remembered for a moment, so that not every message
/// costs two connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_tls_is_asked_once_for_a_queue() -> Result<()> {
    let (rig, peer) = world(78, "", Behaviour { starttls: StartTls::Absent, ..Behaviour::default() }).await?;
    send(&rig, 4).await?;
    assert_eq!((peer.connections().len(), peer.messages().len()), (2, 4), "one to ask, one in the clear");
    Ok(())
}

/// What waits for a destination that was down goes as soon as anything gets through to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_back_gets_what_waited() -> Result<()> {
    let rig = Rig::with("retry = [\"6h\"]", "").await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    rig.dns.host("mx.p.test", IpAddr::from([127, 0, 0, 79]));
    for _ in 0..3 {
        let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
        assert_eq!(rig.outcome(&queue).await?["event"], "message.deferred");
    }
    let peer = rig.host("mx.p.test", 79, Behaviour::default(), Flaw::None).await?;
    rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    assert_eq!(peer.wait_for_messages(4, PATIENCE).await.len(), 4, "nobody waited six hours");
    Ok(())
}

/// A recipient that is asked to wait by name waits its time, whatever else gets through to its host.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_up_hastens_nobody() -> Result<()> {
    let later = Behaviour { replies: vec![("RCPT TO:<later@".into(), "450 4.7.1 come back later\r\n".into())], ..Behaviour::default() };
    let (rig, _peer) = world(80, "", later).await?;
    let waits = rig.submit("ana@agency.test", &["later@p.test"]).await?;
    assert_eq!(rig.outcome(&waits).await?["event"], "message.deferred");
    send(&rig, 2).await?;
    assert_eq!(rig.log.named("message.deferred").len(), 1);
    let [destination] = &rig.gateway()?.spool().destinations().await[..] else { panic!("one destination") };
    assert_eq!((destination.domain.to_string().as_str(), destination.waiting), ("p.test", 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_spreads_deliveries_over_time() -> Result<()> {
    let (rig, peer) = world(81, "rate = \"2/1h\"", Behaviour::default()).await?;
    let other = rig.host("mx.o.test", 82, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("o.test", &[(10, "mx.o.test")]);
    for _ in 0..3 {
        rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    }
    for arrived in 1..=3 {
        assert_eq!(peer.wait_for_messages(arrived, PATIENCE).await.len(), arrived);
        // Whoever comes last to another destination is not kept waiting, and by then p.test could have had its next.
        if arrived == 1 {
            rig.submit("ana@agency.test", &["bo@o.test"]).await?;
            assert_eq!(other.wait_for_messages(1, PATIENCE).await.len(), 1);
        }
        assert_eq!(peer.messages().len(), arrived, "the rate holds");
        rig.clock.advance(Duration::from_secs(1801));
    }
    Ok(())
}

/// Durability rule 6: a message is returned when it is old *and* was tried often enough.
#[tokio::test(flavor = "multi_thread")]
async fn expiry_needs_time_and_attempts() -> Result<()> {
    let rig = Rig::with("retry = [\"1m\"]\nexpire = \"2h\"\nwarn_after = \"1h\"\nattempts_min = 3", "").await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    rig.dns.host("mx.p.test", IpAddr::from([127, 0, 0, 83]));
    let queue = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    let of_it = |name: &str| rig.log.named(name).iter().filter(|event| event["queue"] == queue.as_str()).count();
    rig.event("message.deferred", |_| of_it("message.deferred") == 1).await?;
    rig.clock.advance(Duration::from_secs(48 * 3600));
    rig.event("message.deferred", |_| of_it("message.deferred") == 2).await?;
    assert_eq!(of_it("message.returned"), 0, "a clock that jumps returns nothing");
    rig.clock.advance(Duration::from_secs(120));
    rig.event("message.returned", |event| event["queue"] == queue.as_str()).await?;
    assert_eq!(of_it("message.deferred"), 2);
    Ok(())
}

/// R9: two gateways that send a message back and forth find it out by counting (RFC 5321, 6.3), and its sender hears of it once.
#[tokio::test(flavor = "multi_thread")]
async fn r9_a_loop_of_two_ends_with_one_notice() -> Result<()> {
    let (mut one, mut other) = (Rig::world().await?, Rig::world().await?);
    let home = one.host("mx.home.test", 84, Behaviour::default(), Flaw::None).await?;
    let free = || Ok::<_, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string());
    let (here, there) = (free()?, free()?);
    let configuration = |rig: &Rig, listen: &str, next: &str| {
        let text = rig.configuration("", "").replace(&rig.inside.address().to_string(), next);
        text.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{listen}\""), 1)
    };
    one.dns.mx("home.test", &[(10, "mx.home.test")]);
    let (first, second) = (configuration(&one, &here, &there), configuration(&other, &there, &here));
    // The sender's server is known to the other one too.
    let second = second.replace(&other.dns.addr().to_string(), &one.dns.addr().to_string()).replace("gw.agency.test", "gw2.agency.test");
    let second = second.replace(&format!("port = {}", other.mx_port()), &format!("port = {}", one.mx_port()));
    one.start_with(&first).await?;
    other.start_with(&second).await?;
    let mut client = Client::connect(one.listener("public")?).await?;
    client.command("EHLO client.test").await?;
    let reply = client.transact("ana@home.test", &["bo@agency.test"], "Subject: round\r\n\r\nx").await?;
    assert!(reply.starts_with("250"), "{reply}");
    let notices = home.wait_for_messages(1, Duration::from_secs(60)).await;
    assert_eq!(notices.len(), 1);
    let text = String::from_utf8_lossy(&notices[0].content).into_owned();
    assert!(text.contains("Status: 5.4.6") && notices[0].reverse_path.is_empty(), "{text}");
    let returned = one.log.named("message.returned").len() + other.log.named("message.returned").len();
    assert_eq!((returned, home.messages().len()), (1, 1));
    for rig in [&one, &other] {
        let empty = async {
            while rig.gateway()?.spool().counts().await.messages > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, empty).await.expect("nothing goes round any more")?;
    }
    Ok(())
}
