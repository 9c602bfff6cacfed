//! What an operator does to a running gateway, with the real program as its client; and what it says to whoever does it wrong.

use anyhow::{Context, Result};
use secmx_lab::client::Client;
use secmx_tests::Rig;
use serde_json::Value;
use std::fs;
use std::process::Output;

/// Exit code, standard output, standard error.
pub(crate) fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The object that a command answered with `--json`; it begins with this schema.
pub(crate) fn object(output: &Output, schema: &str) -> Result<Value> {
    let (code, text, hints) = told(output);
    assert!(text.starts_with(&format!("{{\"schema\":\"{schema}\"")), "{code:?} {text} {hints}");
    serde_json::from_str(&text).context("not one object")
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_what_runs() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let (code, text, _) = told(&rig.secmx(&["status"], "").await?);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("gw.agency.test  secmx "), "{text}");
    assert!(text.contains("  queue        0 messages, 0 B\n"), "{text}");
    let status = object(&rig.secmx(&["status", "--json"], "").await?, "secmx/status/v1")?;
    assert_eq!(status["listeners"].as_array().map(Vec::len), Some(3), "{status}");
    assert_eq!(status["generation"]["number"], 1, "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_says_what_changed_or_why_nothing_did() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let good = fs::read_to_string(rig.file())?;
    let (code, text, _) = told(&rig.secmx(&["reload"], "").await?);
    assert_eq!((code, text.as_str()), (Some(0), "generation 2 is in force\n  nothing is different\n"));

    fs::write(rig.file(), good.replace("[send]\n", "[send]\nrole = \"SOS\"\n"))?;
    let (code, text, _) = told(&rig.secmx(&["reload"], "").await?);
    assert_eq!((code, text.as_str()), (Some(0), "generation 3 is in force\n  `send`\n"));

    fs::write(rig.file(), good.replace("[send]\n", "[sned]\n"))?;
    let (code, text, hints) = told(&rig.secmx(&["reload"], "").await?);
    assert_eq!((code, text.as_str()), (Some(7), ""));
    assert!(hints.contains("nothing was changed: ") && hints.contains("unknown key `sned`; did you mean `send`?"), "{hints}");
    let (_, text, _) = told(&rig.secmx(&["status"], "").await?);
    assert!(text.contains("generation   3") && text.contains("! the last reload changed nothing: "), "{text}");

    fs::write(rig.file(), good.clone() + "\n[control]\nmode = \"0600\"\n")?;
    let (code, _, hints) = told(&rig.secmx(&["reload"], "").await?);
    assert_eq!(code, Some(1), "{hints}");
    assert!(hints.contains("`control` changed: that needs a restart"), "{hints}");

    let acted = rig.log.named("operator.acted");
    assert_eq!(acted.len(), 4, "{acted:?}");
    assert!(acted.iter().all(|event| event["action"] == "reload" && event["pid"].is_number() && event["uid"].is_number()), "{acted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_is_what_sigterm_is() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let (code, text, _) = told(&rig.secmx(&["drain"], "").await?);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with(&format!("process {} takes no new sessions", std::process::id())), "{text}");
    tokio::time::timeout(std::time::Duration::from_secs(10), rig.gateway()?.asked_to_leave()).await?;
    Ok(())
}

/// Messages whose content is awaited when the gateway is told to end are taken, and their sessions end behind them. There are more of them
/// than threads that serve them, so none may keep its thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_the_messages_under_way() -> Result<()> {
    let mut rig = Rig::with("", "").await?;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(rig.listener("inside")?).await?;
        for (line, code) in [
            ("EHLO exchange.agency.test", "250"),
            ("MAIL FROM:<ana@agency.test>", "250"),
            ("RCPT TO:<bo@partner.test>", "250"),
            ("DATA", "354"),
        ] {
            let reply = client.command(line).await?;
            anyhow::ensure!(reply.starts_with(code), "{line}: {reply}");
        }
        clients.push(client);
    }
    let going_on = async {
        for client in &mut clients {
            client.send(b"Subject: s\r\n\r\nx\r\n.\r\n").await?;
            let (taken, farewell) = (client.reply().await?, client.reply().await?);
            anyhow::ensure!(taken.starts_with("250 2.0.0 queued as") && farewell.starts_with("421 "), "{taken}{farewell}");
        }
        Ok(())
    };
    let ((), outcome) = tokio::join!(rig.stop(), going_on);
    outcome
}

/// Rule 3 of the command line: each mistake has its code, and says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn mistakes_of_newcomers_are_told() -> Result<()> {
    let mut rig = Rig::world().await?;
    let (code, text, hints) = told(&rig.secmx(&["status"], "").await?);
    assert_eq!((code, text.as_str()), (Some(4), ""), "{hints}");
    assert!(hints.contains("no gateway answers at ") && hints.contains("secmx serve -c FILE"), "{hints}");
    let (code, _, hints) = told(&rig.secmx(&["status", "--server", "http://x"], "").await?);
    assert_eq!(code, Some(2));
    assert!(hints.contains("expected unix:PATH"), "{hints}");

    rig.start("", "").await?;
    let socket = rig.state().join("state/control.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&socket)?.permissions());
    assert_eq!(mode & 0o777, 0o660, "nobody else may open it");
    rig.stop().await;
    assert!(!socket.exists(), "it goes with the gateway");
    fs::write(rig.file(), "hostnaem = 1\n")?;
    let file = rig.file().display().to_string();
    let output = tokio::process::Command::new(secmx_tests::process::binary()?).args(["status", "-c", &file]).output().await?;
    assert_eq!(told(&output).0, Some(7), "{output:?}");
    Ok(())
}

/// A gateway that was killed leaves its socket; the next one takes its place. One that runs does not give way.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_left_behind_is_replaced() -> Result<()> {
    let mut rig = Rig::world().await?;
    let state = rig.state().join("state");
    fs::create_dir_all(&state)?;
    drop(std::os::unix::net::UnixListener::bind(state.join("control.sock"))?);
    rig.start("", "").await?;
    assert_eq!(told(&rig.secmx(&["status"], "").await?).0, Some(0));
    let config = secmx::config::Config::load(Some(&rig.file())).expect("valid").0;
    let second = secmx::control::Socket::bind(&config).await.err().context("it was taken")?;
    assert!(format!("{second:#}").contains("another gateway answers there"), "{second:#}");
    Ok(())
}
