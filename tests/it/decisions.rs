//! The decision log: what kept mail from going on is in the file whatever happens, the rest is there too.

use crate::operating::{object, told};
use crate::policies::guests::{PASS, QUARANTINE, policy};
use anyhow::{Context, Result};
use secmx::config::Config;
use secmx_lab::client::Client;
use secmx_tests::{Process, Rig};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Rejects with `550 5.7.1` and an empty text, for the reason `policy.word`.
const REJECT: &str = "(i32.store8 (i32.const 0) (i32.const 2)) (i32.store16 (i32.const 4) (i32.const 550)) (i32.store8 (i32.const 6) (i32.const 5)) \
    (i32.store16 (i32.const 8) (i32.const 7)) (i32.store16 (i32.const 10) (i32.const 1)) (i32.store (i32.const 20) (i32.const 96)) \
    (i32.store (i32.const 24) (i32.const 11)) (i32.const 0)";

/// A gateway with a content policy whose `inspect` is this code, and more of a configuration.
async fn rig(inspect: &str, more: &str) -> Result<Rig> {
    let mut rig = Rig::world().await?;
    fs::write(rig.state().join("policy.wasm"), &policy("unnamed", "", inspect).component)?;
    let entry = configuration(&rig, "enforce", more);
    rig.start("", &entry).await?;
    Ok(rig)
}

fn configuration(rig: &Rig, mode: &str, more: &str) -> String {
    format!("{more}[[policy]]\nname = \"under-test\"\nmode = \"{mode}\"\nuse = \"{}\"\n", rig.state().join("policy.wasm").display())
}

/// Sends one message to the agency. Gives the reply to the end of data.
async fn send(rig: &Rig) -> Result<String> {
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    client.transact("a@probe.test", &["ana@agency.test"], "Subject: s\r\n\r\nbody").await
}

/// The first line of the decision log for which that holds.
pub(crate) async fn line(rig: &Rig, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let path = rig.state().join("state/decisions.jsonl");
    let find = async {
        loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let found = text.lines().filter_map(|line| serde_json::from_str(line).ok()).find(|line| wanted(line));
            match found {
                Some(line) => return line,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, find).await.with_context(|| fs::read_to_string(&path).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_ruling_about_a_message_is_a_line() -> Result<()> {
    for (inspect, reply, ruling, reason) in [
        (PASS, "250", "accept", None),
        (QUARANTINE, "250", "quarantine", Some("policy.word")),
        (REJECT, "550 5.7.1", "reject", Some("policy.word")),
        // Not on the longer message that every new policy is shown: with that it would not be loaded.
        (
            "(if (i64.lt_u (call $octets (local.get $message)) (i64.const 50)) (then unreachable)) i32.const 0",
            "451 4.3.0",
            "defer",
            Some("policy.fault"),
        ),
    ] {
        let rig = rig(inspect, "").await?;
        let answer = send(&rig).await?;
        assert!(answer.starts_with(reply), "{answer}");
        let line = line(&rig, |line| line["ruling"] == ruling).await?;
        assert_eq!((line["schema"].as_str(), line["question"].as_str()), (Some("secmx/decision/v1"), Some("content.inspect")));
        assert_eq!((line["reason"].as_str(), line["from"].as_str()), (reason, Some("a@probe.test")), "{line}");
        assert_eq!((line["to"][0].as_str(), line["direction"].as_str()), (Some("a***@agency.test"), Some("in")), "{line}");
        assert_eq!(
            (line["chain"][0]["policy"].as_str(), line["chain"][0]["ruling"].as_str() == Some("pass")),
            (Some("under-test"), ruling == "accept")
        );
        if let Some(queued) = answer.trim().strip_prefix("250 2.0.0 queued as ") {
            assert_eq!(line["qid"], queued);
        }
        assert_eq!(rig.gateway()?.decisions().lost(), 0);
    }
    Ok(())
}

/// A bounce is written with the delivery that it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_is_a_line() -> Result<()> {
    let rig = rig(PASS, "").await?;
    rig.dns.mx("no.test", &[(0, ".")]);
    let queue = rig.submit("ana@agency.test", &["bo@no.test"]).await?;
    rig.outcome(&queue).await?;
    let line = line(&rig, |line| line["ruling"] == "bounce").await?;
    assert_eq!((line["qid"].as_str(), line["reason"].as_str()), (Some(queue.as_str()), Some("delivery.null-mx")), "{line}");
    assert_eq!((line["question"].as_str(), line["chain"][0]["policy"].as_str()), (Some("sender.route"), Some("bes")), "{line}");
    Ok(())
}

/// While the file cannot be written, what must not be lost waits in the spool, a restart included.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_loses_no_decision() -> Result<()> {
    let mut rig = rig(QUARANTINE, "").await?;
    let path = rig.state().join("state/decisions.jsonl");
    fs::remove_file(&path)?;
    fs::create_dir(&path)?;
    let answer = send(&rig).await?;
    let queued = answer.trim().strip_prefix("250 2.0.0 queued as ").context(answer.clone())?.to_owned();
    rig.event("gateway.warning", |event| event["text"].as_str().is_some_and(|text| text.contains("decisions.jsonl"))).await?;
    rig.stop().await;
    fs::remove_dir(&path)?;
    let entry = configuration(&rig, "enforce", "");
    rig.start("", &entry).await?;
    let line = line(&rig, |line| line["qid"] == queued.as_str()).await?;
    assert_eq!(line["ruling"], "quarantine");
    Ok(())
}

/// S7: "never lost". A gateway that is killed after it answered, with the line in the spool and not in the file, writes it when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_loses_no_decision() -> Result<()> {
    for (inspect, reply, ruling) in [(QUARANTINE, "250", "quarantine"), (REJECT, "550 5.7.1", "reject")] {
        let rig = Rig::world().await?;
        fs::write(rig.state().join("policy.wasm"), &policy("unnamed", "", inspect).component)?;
        fs::write(rig.file(), rig.configuration("", &configuration(&rig, "enforce", "")))?;
        let mut gateway = Process::serve(&rig.file())?;
        // With a folder in its place the file cannot be written.
        let path = rig.state().join("state/decisions.jsonl");
        fs::remove_file(&path)?;
        fs::create_dir(&path)?;
        let mut client = Client::connect(gateway.listener("public")?).await?;
        client.command("EHLO probe.test").await?;
        let answer = client.transact("a@probe.test", &["ana@agency.test"], "Subject: s\r\n\r\nbody").await?;
        assert!(answer.starts_with(reply), "{answer}");
        // It has tried to write the line, and could not.
        gateway.wait_for("gateway.warning", |event| event["text"].to_string().contains("decisions.jsonl"))?;
        gateway.kill()?;
        fs::remove_dir(&path)?;
        let _gateway = Process::serve(&rig.file())?;
        let line = line(&rig, |line| line["ruling"] == ruling).await?;
        assert_eq!((line["from"].as_str(), line["reason"].as_str()), (Some("a@probe.test"), Some("policy.word")), "{line}");
        if let Some(queued) = answer.trim().strip_prefix("250 2.0.0 queued as ") {
            assert_eq!(line["qid"], queued);
        }
    }
    Ok(())
}

/// Whether decisions are written down is taken over by a running gateway, both ways: rulings, and differences of shadows.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_turns_the_log_on_and_off() -> Result<()> {
    let mut rig = Rig::world().await?;
    let (enforced, shadow) = (rig.state().join("policy.wasm"), rig.state().join("shadow.wasm"));
    fs::write(&enforced, &policy("unnamed", "", QUARANTINE).component)?;
    fs::write(&shadow, &policy("unnamed", "", PASS).component)?;
    let shadow = format!("[[policy]]\nname = \"shadow\"\nmode = \"shadow\"\nuse = \"{}\"\n", shadow.display());
    let entries = |rig: &Rig, enabled| configuration(rig, "enforce", &format!("[decisions]\nenabled = {enabled}\n{shadow}"));
    let first = entries(&rig, false);
    rig.start("", &first).await?;
    assert!(send(&rig).await?.starts_with("250"));
    for enabled in [true, false] {
        let text = rig.configuration("", &entries(&rig, enabled));
        let (config, _) = Config::parse("test.toml", &text).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
        rig.gateway()?.reload(config)?;
        let answer = send(&rig).await?;
        let queued = answer.trim().strip_prefix("250 2.0.0 queued as ").context(answer.clone())?;
        if enabled {
            line(&rig, |line| line["qid"] == queued && line["ruling"] == "quarantine").await?;
            line(&rig, |line| line["qid"] == queued && line["mode"] == "shadow").await?;
        } else {
            assert_eq!(rig.gateway()?.spool().notes(9).await, Ok(Vec::new()), "nothing waits to be written");
        }
    }
    assert_eq!(fs::read_to_string(rig.state().join("state/decisions.jsonl"))?.lines().count(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_of_a_shadow_is_a_line_and_counted() -> Result<()> {
    let mut rig = Rig::world().await?;
    fs::write(rig.state().join("policy.wasm"), &policy("unnamed", "", QUARANTINE).component)?;
    let entry = configuration(&rig, "shadow", "");
    rig.start("", &entry).await?;
    assert!(send(&rig).await?.starts_with("250"));
    let line = line(&rig, |line| line["mode"] == "shadow").await?;
    assert_eq!(
        (line["enforced"].as_str(), line["ruling"].as_str(), line["by"].as_str()),
        (Some("pass"), Some("quarantine"), Some("under-test"))
    );
    let queued = line["qid"].as_str().context("a queue id")?;
    let (_, text, _) = told(&rig.secmx(&["policy", "list"], "").await?);
    assert!(text.contains("      1 of 1 messages would have ended differently\n        pass → quarantine 1\n"), "{text}");
    assert!(text.contains(&format!("        {queued}  pass → quarantine  policy.word\n")), "{text}");
    let list = object(&rig.secmx(&["policy", "list", "--json"], "").await?, "secmx/policy-list/v1")?;
    assert_eq!(list["chains"][1]["policies"][0]["shadow"]["last"][0]["subject"], queued, "{list}");
    let (_, text, _) = told(&rig.secmx(&["status"], "").await?);
    assert!(text.contains("  shadow       under-test: 1 of 1 message would have ended differently\n"), "{text}");
    Ok(())
}

/// Lines that may be lost are counted where an operator looks: `secmx_decisions_lost_total`.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_counted_and_shown() -> Result<()> {
    let rig = rig(PASS, "[decisions]\nbuffer = 1\n").await?;
    let status = object(&rig.secmx(&["status", "--json"], "").await?, "secmx/status/v1")?;
    assert_eq!(status["decisions"]["lost"], 0, "{status}");
    let path = rig.state().join("state/decisions.jsonl");
    fs::remove_file(&path)?;
    fs::create_dir(&path)?;
    for _ in 0..3 {
        assert!(send(&rig).await?.starts_with("250"));
    }
    let status = object(&rig.secmx(&["status", "--json"], "").await?, "secmx/status/v1")?;
    assert_eq!(status["decisions"]["lost"].as_u64(), Some(rig.gateway()?.decisions().lost()), "{status}");
    let (_, text, _) = told(&rig.secmx(&["status"], "").await?);
    assert!(text.contains("! the decision log lost 2 lines about messages that were let through: raise decisions.buffer"), "{text}");
    Ok(())
}
