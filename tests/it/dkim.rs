//! Mail of our own leaves signed, and octet for octet as it was; nobody else's does.

use anyhow::{Context, Result};
use secmx_lab::ca::Flaw;
use secmx_lab::client::Client;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_tests::Rig;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with a key for `agency.test`, and a partner `p.test`.
async fn rig() -> Result<(Rig, Peer)> {
    let mut rig = Rig::world().await?;
    let key = rig.state().join("dkim.pem");
    let made = rig.secmx(&["dkim", "keygen", "--kind", "ed25519", &key.display().to_string()], "").await?;
    assert!(made.status.success() && String::from_utf8_lossy(&made.stdout).contains("v=DKIM1; k=ed25519; p="), "{made:?}");
    let peer = rig.host("mx.p.test", 171, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("p.test", &[(10, "mx.p.test")]);
    let more = format!("[dkim]\nkeys = [{{ domain = \"agency.test\", selector = \"a\", key = {key:?} }}]\n");
    rig.start("", &more).await?;
    Ok((rig, peer))
}

async fn send(rig: &Rig, from: &str, to: &str, message: &str) -> Result<()> {
    let mut client = Client::connect(rig.listener("inside")?).await?;
    client.command("EHLO exchange.agency.test").await?;
    let reply = client.transact(from, &[to], message).await?;
    anyhow::ensure!(reply.starts_with("250"), "{reply}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ours_is_signed_and_stays_as_it_was() -> Result<()> {
    let (rig, peer) = rig().await?;
    let message = format!("From: ana@agency.test\r\nSubject: s\r\n\r\n..dots\r\n{}", "line  \r\n".repeat(60_000));
    send(&rig, "ana@agency.test", "bo@p.test", &message).await?;
    send(&rig, "ana@agency.test", "bo@p.test", "From: eve@elsewhere.test\r\nSubject: t\r\n\r\nx").await?;
    let taken = peer.wait_for_messages(2, PATIENCE).await;
    let text = |subject: &str| {
        let all = taken.iter().map(|taken| String::from_utf8_lossy(&taken.content).into_owned());
        all.into_iter().find(|content| content.contains(subject)).context("taken")
    };
    let signed = text("Subject: s")?;
    assert!(signed.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; s=a; d=agency.test;"), "{}", &signed[..300]);
    let (signature, rest) = signed.split_once("\r\nReceived: ").context("behind it our trace")?;
    assert!(signature.lines().skip(1).all(|line| line.starts_with('\t')), "{signature}");
    // RFC 5321, 4.5.2: the client that sends `..` means one dot.
    assert!(rest.ends_with(&format!("\r\n{}\r\n", message.replace("..dots", ".dots"))), "what was sent is there as it was");
    assert!(text("Subject: t")?.starts_with("Received: "), "nobody else's mail is signed");
    Ok(())
}

/// Notices are our own mail too. What is delivered inside is not signed.
#[tokio::test(flavor = "multi_thread")]
async fn notices_are_signed_and_inner_mail_is_not() -> Result<()> {
    let (rig, peer) = rig().await?;
    send(&rig, "bo@p.test", "no@nowhere.test", "From: ana@agency.test\r\nSubject: s\r\n\r\nx").await?;
    send(&rig, "ana@agency.test", "ana@agency.test", "From: ana@agency.test\r\nSubject: s\r\n\r\nx").await?;
    let notice = String::from_utf8_lossy(&peer.wait_for_messages(1, PATIENCE).await[0].content).into_owned();
    assert!(notice.starts_with("DKIM-Signature: ") && notice.contains("Undelivered mail returned to sender"), "{notice}");
    let inner = String::from_utf8_lossy(&rig.inside.wait_for_messages(1, PATIENCE).await[0].content).into_owned();
    assert!(inner.starts_with("Received: ") && !inner.contains("DKIM-Signature"), "{inner}");
    Ok(())
}

/// A key that breaks is said, and the one in force stays; a new one counts from the next message on.
#[tokio::test(flavor = "multi_thread")]
async fn keys_change_with_the_configuration() -> Result<()> {
    let (rig, peer) = rig().await?;
    let key = rig.state().join("dkim.pem");
    let records = rig.secmx(&["dkim", "records", "-c", &rig.file().display().to_string()], "").await?;
    let records = String::from_utf8_lossy(&records.stdout).into_owned();
    assert!(records.starts_with("a._domainkey.agency.test. IN TXT \"v=DKIM1; k=ed25519; p="), "{records}");
    fs::write(&key, "nothing")?;
    let refused = rig.secmx(&["reload"], "").await?;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("secmx dkim keygen"), "{refused:?}");
    send(&rig, "ana@agency.test", "bo@p.test", "From: ana@agency.test\r\nSubject: s\r\n\r\nx").await?;
    let first = peer.wait_for_messages(1, PATIENCE).await;
    assert!(first[0].content.starts_with(b"DKIM-Signature: v=1; a=ed25519-sha256;"), "the old key still signs");
    fs::remove_file(&key)?;
    assert!(rig.secmx(&["dkim", "keygen", &key.display().to_string()], "").await?.status.success());
    assert!(rig.secmx(&["reload"], "").await?.status.success());
    send(&rig, "ana@agency.test", "bo@p.test", "From: ana@agency.test\r\nSubject: s\r\n\r\nx").await?;
    let second = peer.wait_for_messages(2, PATIENCE).await;
    assert!(second[1].content.starts_with(b"DKIM-Signature: v=1; a=rsa-sha256;"), "and the new one takes over");
    Ok(())
}
