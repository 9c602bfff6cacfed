//! What senders are told, by what they asked for (RFC 3461), and REQUIRETLS (RFC 8689), from end to end.

use anyhow::{Context, Result};
use secmx_lab::ca::Flaw;
use secmx_lab::client::Client;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_tests::Rig;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
const NO_SUCH_USER: &str = "550 5.1.1 no such user\r\n";

/// A gateway, and a partner without DSN that refuses `no@`.
async fn world(at: u8) -> Result<(Rig, Peer)> {
    let rig = Rig::with("", "").await?;
    let refuses = Behaviour { replies: vec![("RCPT TO:<no@".into(), NO_SUCH_USER.into())], ..Behaviour::default() };
    let peer = rig.host("mx.p.test", at, refuses, Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    Ok((rig, peer))
}

/// Sends one message with parameters of MAIL and RCPT. Gives its queue id.
async fn submit(client: &mut Client, mail: &str, recipients: &[(&str, &str)]) -> Result<String> {
    client.command("EHLO exchange.agency.test").await?;
    let mut commands = vec![format!("MAIL FROM:<ana@agency.test> {mail}")];
    commands.extend(recipients.iter().map(|(to, asked)| format!("RCPT TO:<{to}> {asked}")));
    for command in commands {
        let reply = client.command(command.trim_end()).await?;
        anyhow::ensure!(reply.starts_with("250"), "{command} was answered {reply}");
    }
    client.command("DATA").await?;
    let reply = client.command("From: ana@agency.test\r\nSubject: test\r\n\r\nThe body.\r\n.").await?;
    Ok(reply.trim().strip_prefix("250 2.0.0 queued as ").context(reply.clone())?.to_owned())
}

/// RFC 3461, 5.2.2: a host without DSN tells nobody, so the last one that can says that the message was relayed.
#[tokio::test(flavor = "multi_thread")]
async fn success_is_told_where_the_next_host_will_not() -> Result<()> {
    let (rig, peer) = world(120).await?;
    let mut client = Client::connect(rig.listener("inside")?).await?;
    let wants = [("bo@p.test", "NOTIFY=SUCCESS ORCPT=rfc822;alias+2Bbo@p.test"), ("cy@p.test", "")];
    submit(&mut client, "ENVID=order+2B66", &wants).await?;
    peer.wait_for_messages(1, PATIENCE).await;
    let notices = rig.inside.wait_for_messages(1, PATIENCE).await;
    let text = String::from_utf8_lossy(&notices[0].content).into_owned();
    assert_eq!((notices.len(), notices[0].reverse_path.as_str()), (1, ""));
    for part in [
        "Original-Envelope-Id: order+66",
        "Original-Recipient: rfc822; alias+bo@p.test",
        "Final-Recipient: rfc822; bo@p.test",
        "Action: relayed",
        "Status: 2.",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("cy@p.test") && !text.contains("The body"), "{text}");
    Ok(())
}

/// RFC 3461, 4.1: NEVER is never, and a failure that was not asked for is not told.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_what_they_did_not_ask_for() -> Result<()> {
    let (rig, _peer) = world(121).await?;
    let mut client = Client::connect(rig.listener("inside")?).await?;
    for asked in ["NOTIFY=NEVER", "NOTIFY=SUCCESS", "NOTIFY=DELAY"] {
        let queue = submit(&mut client, "", &[("no@p.test", asked)]).await?;
        let event = rig.event("message.returned", |event| event["queue"] == queue.as_str()).await?;
        assert!(event["bounce"].is_null(), "{asked}: {event}");
    }
    let queue = submit(&mut client, "", &[("no@p.test", "NOTIFY=FAILURE")]).await?;
    let event = rig.event("message.returned", |event| event["queue"] == queue.as_str()).await?;
    assert!(event["bounce"].is_string(), "{event}");
    Ok(())
}

/// RFC 3461, 4.3: HDRS brings back the header, FULL the message.
#[tokio::test(flavor = "multi_thread")]
async fn ret_says_how_much_comes_back() -> Result<()> {
    let (rig, _peer) = world(122).await?;
    let mut client = Client::connect(rig.listener("inside")?).await?;
    submit(&mut client, "RET=FULL", &[("no@p.test", "")]).await?;
    let whole = rig.inside.wait_for_messages(1, PATIENCE).await;
    submit(&mut client, "RET=HDRS", &[("no@p.test", "")]).await?;
    let both = rig.inside.wait_for_messages(2, PATIENCE).await;
    let has_body = |content: &[u8]| String::from_utf8_lossy(content).contains("The body.");
    assert!(has_body(&whole[0].content) && !has_body(&both[1].content));
    Ok(())
}

/// RFC 8689, 4.2.1: a host that does not know REQUIRETLS does not get the message, and the sender reads 5.7.30.
#[tokio::test(flavor = "multi_thread")]
async fn requiretls_stops_where_it_is_not_known() -> Result<()> {
    let (rig, peer) = world(123).await?;
    let mut client = Client::connect(rig.listener("inside")?).await?;
    client.command("EHLO exchange.agency.test").await?;
    let (mut client, _) = client.start_tls().await?;
    submit(&mut client, "REQUIRETLS", &[("bo@p.test", "")]).await?;
    let bounce = rig.inside.wait_for_messages(1, PATIENCE).await;
    let text = String::from_utf8_lossy(&bounce[0].content).into_owned();
    assert!(text.contains("Status: 5.7.30") && text.contains("does not offer REQUIRETLS"), "{text}");
    assert!(peer.messages().is_empty() && !text.contains("The body"), "it comes back under the same rule: {text}");
    Ok(())
}
