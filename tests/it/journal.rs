//! Copies of messages: taken with the message or not at all, opened by whom they are for, whole or shown not to be.

use anyhow::{Context, Result};
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that keeps copies of what is sent to `ana@agency.test`.
async fn rig() -> Result<Rig> {
    rig_with(|journal| journal.to_owned()).await
}

/// A gateway with these policies, given the one that keeps copies of what is sent to `ana@agency.test`.
async fn rig_with(policies: impl Fn(&str) -> String) -> Result<Rig> {
    let mut rig = Rig::world().await?;
    let key = rig.state().join("journal.key").display().to_string();
    let made = rig.secmx(&["journal", "keygen", &key], "").await?;
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let recipients = said.trim().rsplit_once("; ").context(said.clone())?.1;
    let policy = "[[policy]]\nname = \"journal\"\nuse = \"builtin:journal\"\nwhen = { to = [\"ana@agency.test\"] }\n";
    rig.start("", &format!("[journal.all]\n{recipients}\n{}", policies(policy))).await?;
    Ok(rig)
}

async fn send(rig: &Rig, to: &str, subject: &str) -> Result<String> {
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    client.transact("bo@probe.test", &[to], &format!("Subject: {subject}\r\n\r\nthe figures")).await
}

async fn journal(rig: &Rig, arguments: &[&str]) -> Result<(bool, String)> {
    let file = rig.file().display().to_string();
    let output = rig.secmx(&[&["journal"], arguments, &["-c", &file]].concat(), "").await?;
    Ok((output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_keeps_is_listed_opened_and_whole() -> Result<()> {
    let rig = rig().await?;
    for (to, subject) in [("ana@agency.test", "one"), ("cy@agency.test", "two"), ("ana@agency.test", "three")] {
        assert!(send(&rig, to, subject).await?.starts_with("250"));
    }
    let event = rig.event("message.journalled", |event| event["number"] == 2).await?;
    let (_, list) = journal(&rig, &["list"]).await?;
    assert!(
        list.lines().count() == 2 && list.lines().nth(1).is_some_and(|line| line.ends_with(event["queue"].as_str().unwrap_or("?"))),
        "{list}"
    );
    let (whole, said) = journal(&rig, &["verify"]).await?;
    assert!(whole && said.contains("2 records are all there") && said.contains(event["sha256"].as_str().unwrap_or("?")), "{said}");
    let key = rig.state().join("journal.key").display().to_string();
    let (_, shown) = journal(&rig, &["show", "1", "--key", &key]).await?;
    assert!(shown.contains("\"from\": \"bo@probe.test\"") && shown.contains("\"ana@agency.test\""), "{shown}");
    let (_, message) = journal(&rig, &["decrypt", "1", "--key", &key]).await?;
    let taken = rig.inside.wait_for_messages(3, PATIENCE).await;
    assert!(taken.iter().any(|taken| taken.content == message.as_bytes()), "the copy is what was delivered: {message}");
    let folder = rig.state().join("state/journal/all");
    let clear = fs::read(folder.join("000000000001.journal"))?;
    assert!(!String::from_utf8_lossy(&clear).contains("figures"));
    fs::remove_file(folder.join("000000000002.journal"))?;
    let (whole, said) = journal(&rig, &["verify"]).await?;
    assert!(!whole && said.contains("record 2 is missing"), "{said}");
    Ok(())
}

/// No message is taken without its copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_copied_is_not_taken() -> Result<()> {
    let rig = rig().await?;
    fs::create_dir_all(rig.state().join("state/journal"))?;
    fs::write(rig.state().join("state/journal/all"), "a file in the place of the folder")?;
    let refused = send(&rig, "ana@agency.test", "one").await?;
    assert!(refused.starts_with("451"), "{refused}");
    rig.event("spool.failed", |event| event["detail"].as_str().is_some_and(|detail| detail.contains("journal all"))).await?;
    assert!(send(&rig, "cy@agency.test", "two").await?.starts_with("250"), "others go on");
    let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
    assert!(taken.len() == 1 && String::from_utf8_lossy(&taken[0].content).contains("Subject: two"));
    Ok(())
}

const HOLD: &str = "[[policy]]\nname = \"hold\"\nuse = \"builtin:no-secrets\"\n";

/// Sends one message that is put into quarantine, and gives its queue id.
async fn keep(rig: &Rig) -> Result<String> {
    let reply = send(rig, "ana@agency.test", "pay NL91 ABNA 0417 1643 00").await?;
    assert!(reply.starts_with("250"), "{reply}");
    Ok(reply.trim().rsplit(' ').next().unwrap_or_default().to_owned())
}

async fn release(rig: &Rig, id: &str) -> Result<()> {
    let output = rig.secmx(&["quarantine", "release", id, "--reason", "it is hers", "-y"], "").await?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// What a policy behind the one that stopped a message keeps of it, it keeps when a person lets the message go: one record, of what goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_let_go_from_quarantine_is_copied_then() -> Result<()> {
    let rig = rig_with(|journal| format!("{HOLD}{journal}")).await?;
    let key = rig.state().join("journal.key").display().to_string();
    let id = keep(&rig).await?;
    let (_, list) = journal(&rig, &["list"]).await?;
    assert!(!list.contains(&id), "what was stopped before leaves no copy: {list}");
    assert!(send(&rig, "ana@agency.test", "another").await?.starts_with("250"));
    release(&rig, &id).await?;
    let event = rig.event("message.journalled", |event| event["queue"] == id.as_str()).await?;
    assert_eq!(event["number"], 2, "{event}");
    let (whole, said) = journal(&rig, &["verify"]).await?;
    assert!(whole && said.contains("2 records are all there") && said.contains(event["sha256"].as_str().unwrap_or("?")), "{said}");
    let (_, shown) = journal(&rig, &["show", "2", "--key", &key]).await?;
    for part in [&format!("\"qid\": \"{id}\""), "\"standing\": \"due\"", "\"from\": \"bo@probe.test\"", "\"listener\": \"public\""] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (_, message) = journal(&rig, &["decrypt", "2", "--key", &key]).await?;
    let taken = rig.inside.wait_for_messages(2, PATIENCE).await;
    assert!(
        message.contains("0417") && taken.iter().any(|taken| taken.content == message.as_bytes()),
        "the copy is what went on: {message}"
    );
    Ok(())
}

/// What a policy before it kept, it kept with the reason of the quarantine, and does not keep again.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_copied_before_its_quarantine_is_not_copied_again() -> Result<()> {
    let rig = rig_with(|journal| format!("{journal}{HOLD}")).await?;
    let key = rig.state().join("journal.key").display().to_string();
    let id = keep(&rig).await?;
    let (_, shown) = journal(&rig, &["show", "1", "--key", &key]).await?;
    assert!(shown.contains("\"standing\": \"quarantined\"") && shown.contains("\"reason\": \"secrets.iban\""), "{shown}");
    assert!(shown.contains("an IBAN ending 3 00"), "what was seen is in it: {shown}");
    release(&rig, &id).await?;
    assert_eq!(rig.inside.wait_for_messages(1, PATIENCE).await.len(), 1);
    let (whole, said) = journal(&rig, &["verify"]).await?;
    assert!(whole && said.contains("1 record"), "{said}");
    Ok(())
}
