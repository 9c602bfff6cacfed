//! Content policies in a running gateway: what they say happens, what they do wrong defers (invariant 6), and nobody else notices.

#[path = "../../host/policy/tests/it/guests.rs"]
#[allow(dead_code, reason = "the guests of the policy host's own tests; some are for those alone")]
pub(crate) mod guests;

use crate::bad_peers::is_clean;
use anyhow::{Result, ensure};
use base64::Engine;
use guests::{ADD_FIELD, PASS, QUARANTINE, policy};
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::fs;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway with one content policy whose `inspect` is this code.
async fn rig(inspect: &str) -> Result<Rig> {
    rig_with("", inspect).await
}

/// The same, with functions and data beside its `inspect`.
async fn rig_with(beside: &str, inspect: &str) -> Result<Rig> {
    let mut rig = Rig::world().await?;
    let file = rig.state().join("policy.wasm");
    fs::write(&file, &policy("unnamed", beside, inspect).component)?;
    let entry = format!("[[policy]]\nname = \"under-test\"\nuse = \"{}\"\n", file.display());
    rig.start("", &entry).await?;
    Ok(rig)
}

/// Sends one message to the agency. Gives the reply to the end of data.
async fn send(rig: &Rig) -> Result<String> {
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    client.transact("a@probe.test", &["ana@agency.test"], "Subject: s\r\n\r\nbody").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_reaches_the_recipient_and_nothing_else_changes() -> Result<()> {
    let rig = rig(&format!("{ADD_FIELD} {PASS}")).await?;
    assert!(send(&rig).await?.starts_with("250"));
    let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
    let text = String::from_utf8_lossy(&taken[0].content).into_owned();
    assert!(text.ends_with("+0000\r\nX-Policy: one\r\nSubject: s\r\n\r\nbody\r\n"), "{text}");
    Ok(())
}

/// Beside an `inspect` that calls [`REPLACE_BODY`]: what it writes, as the text format has it, at most 900 octets.
fn body(text: &str) -> String {
    let text = text.replace('\r', "\\0d").replace('\n', "\\0a");
    let octets = text.len() - 2 * text.matches('\\').count();
    format!("(data (i32.const 200) \"text/plain\") (data (i32.const 1024) \"{text}\") (global $body i32 (i32.const {octets}))")
}

/// `replace-part(0, "text/plain", …)` with the body that stands beside; it traps when that is refused.
const REPLACE_BODY: &str = "(call $replace-part (local.get $message) (i32.const 0) (i32.const 200) (i32.const 10) \
    (i32.const 1024) (global.get $body) (i32.const 240)) (if (i32.load8_u (i32.const 240)) (then unreachable))";

/// S2, case `wasm-edit-body-bare-lf`: whatever lines a policy writes into a part, our wire is lines with one end of data.
#[tokio::test(flavor = "multi_thread")]
async fn s2_lines_that_a_policy_writes_end_nothing() -> Result<()> {
    let smuggled = "MAIL FROM:<boss@probe.test>";
    for end in ["\n.\n", "\r\n.\r\n", "\r.\r", "\n.\r\n", "\r\n.\n"] {
        let rig = rig_with(&body(&format!("one{end}{smuggled}\r\n")), &format!("{REPLACE_BODY} {PASS}")).await?;
        let reply = send(&rig).await?;
        ensure!(reply.starts_with("250"), "{end:?}: {reply}");
        let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
        let text = String::from_utf8_lossy(&taken[0].content).into_owned();
        let plain = format!("\r\n\r\none{end}{smuggled}\r\n");
        let encoded = base64::engine::general_purpose::STANDARD.encode(&plain[4..]);
        ensure!(text.ends_with(&plain) || text.contains(&encoded), "{end:?}: it is what the policy wrote: {text}");
        ensure!(rig.inside.connections().iter().all(is_clean), "{end:?}: our wire is clean");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_quarantined_is_taken_and_kept() -> Result<()> {
    let rig = rig(QUARANTINE).await?;
    assert!(send(&rig).await?.starts_with("250"));
    rig.event("message.quarantined", |event| event["code"] == "policy.word").await?;
    assert_eq!(rig.gateway()?.spool().counts().await.messages, 1);
    assert!(rig.inside.messages().is_empty());
    Ok(())
}

/// Invariant 6: a trap is 451 4.3.0, nothing is stored, and the process lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_makes_mail_wait() -> Result<()> {
    for fault in ["unreachable", "(loop (br 0))"] {
        // Not on the longer message that every new policy is shown: with that it would not be loaded.
        let short = "(i64.lt_u (call $octets (local.get $message)) (i64.const 50))";
        let rig = rig(&format!("(if {short} (then {fault})) {PASS}")).await?;
        assert!(send(&rig).await?.starts_with("451 4.3.0"), "{fault}");
        rig.event("policy.fault", |event| event["policy"] == "under-test").await?;
        assert_eq!(rig.gateway()?.spool().counts().await.messages, 0);
        let mut client = Client::connect(rig.listener("public")?).await?;
        assert!(client.command("EHLO probe.test").await?.starts_with("250"), "the gateway goes on");
    }
    Ok(())
}
