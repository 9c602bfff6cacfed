//! `secmx explain`: a message's whole way, while it waits and when it is gone, also after a restart.

use crate::operating::{object, told};
use anyhow::{Context, Result};
use secmx_lab::ca::Flaw;
use secmx_lab::peer::Behaviour;
use secmx_tests::Rig;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_explained_from_its_connection_to_its_end() -> Result<()> {
    // Or the connection to the busy host would be used again.
    let once = "[queue.per_destination]\nmessages_per_connection = 1\n";
    let mut rig = Rig::with("", once).await?;
    let replies = vec![("RCPT TO".to_owned(), "451 4.7.1 try later\r\n".to_owned())];
    let busy = rig.host("mx.p.test", 80, Behaviour { replies, ..Behaviour::default() }, Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    let id = rig.submit("ana@agency.test", &["bo@p.test"]).await?;
    assert_eq!(rig.outcome(&id).await?["event"], "message.deferred");
    let (code, text, hints) = told(&rig.secmx(&["explain", &id], "").await?);
    assert_eq!(code, Some(0), "{hints}");
    assert!(text.starts_with(&format!("{id}  in the queue, accepted ")), "{text}");
    for part in [
        "connected   inside from 127.0.0.1 (BER)",
        "queued      from <ana@agency.test>, 1 recipient, ",
        "discovered  p.test: SRV none, MX found: mx.p.test:",
        "it answered 451 4.7.1 try later",
        "deferred    bo@p.test: ",
        "tried once, next in ",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.contains("C: RCPT TO"), "{text}");
    let (_, text, _) = told(&rig.secmx(&["explain", &id, "--dialogue"], "").await?);
    assert!(text.contains("  C: RCPT TO:<bo@p.test>") && text.contains("  S: 451 4.7.1 try later") && text.contains("(TLS1.3 "), "{text}");

    drop(busy);
    // Its place is free once its task has noticed.
    let peer = loop {
        match rig.host("mx.p.test", 80, Behaviour::default(), Flaw::None).await {
            Ok(peer) => break peer,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    rig.secmx(&["queue", "retry", &id, "--reason", "they fixed it", "-y"], "").await?;
    peer.wait_for_messages(1, PATIENCE).await;
    rig.event("message.delivered", |event| event["queue"] == id.as_str()).await?;
    rig.stop().await;
    rig.start("", once).await?;
    let (code, text, _) = told(&rig.secmx(&["explain", &id, "--dialogue"], "").await?);
    assert_eq!(code, Some(0));
    assert!(text.starts_with(&format!("{id}  delivered\n")), "{text}");
    assert!(text.contains(" retry       by ") && text.contains("delivered   bo@p.test to mx.p.test [127.0.0.80:"), "{text}");
    assert!(text.contains("octets of the message)") && !text.contains("The body."), "no octet of the content: {text}");
    let explained = object(&rig.secmx(&["explain", &id, "--json"], "").await?, "secmx/explain/v1")?;
    let names: Vec<&str> = explained["events"].as_array().context("events")?.iter().filter_map(|event| event["event"].as_str()).collect();
    assert!(names.first() == Some(&"session.open") && names.contains(&"message.delivered"), "{names:?}");
    assert_eq!((explained["queued"].is_null(), explained["left_out"].as_u64()), (true, Some(0)));

    let (code, _, hints) = told(&rig.secmx(&["explain", "01JD9W3K7Q8Z"], "").await?);
    assert_eq!(code, Some(3));
    assert!(hints.contains("01JD9W3K7Q8Z is not in the queue, and nothing is remembered of it"), "{hints}");
    Ok(())
}
