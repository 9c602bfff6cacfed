//! Bad input on the wire, as data: `tests/cases/smtp.json`, one entry a case, against real listeners (S1, S3, S4).
//!
//! `send`: writes, each character U+0000..U+00FF one octet, `{{X*N}}` X repeated, `<TLS>` a handshake; between them the client waits for a
//! reply. After the last one it closes its side, so that silence is known without waiting. `expect`: alternatives split by `|`: a reply class such as
//! `5xx`, a code, `silence` or `close` (no reply), `+close` (and the server ends the session by itself), `250-after-real-eod` (one message
//! is taken, and nothing in it was a command); `seq:` lists all replies in order, `/` between alternatives, `*N` repeats, `...` whatever follows.
//! Content that is refused is never answered 354 behind that: a DATA in it would have been obeyed.

use anyhow::{Context, Result};
use secmx_lab::client::secure;
use secmx_tests::Rig;
use secmx_tests::cases::{expand, octets, prelude};
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(30);

/// Cases that are played at the same time: two sockets each.
const AT_ONCE: usize = 64;

/// Who is named as the sender in what the cases smuggle and inject.
const FORGED: [&str; 2] = ["boss@example.test", "boss@probe.test"];

/// A connection, in the clear or not.
trait Octets: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Octets for T {}

#[derive(Debug, Clone, Deserialize)]
struct Case {
    id: String,
    setup: String,
    send: Vec<String>,
    expect: String,
    #[serde(default)]
    role: Option<String>,
}

/// The first whole reply in `buffer`, taken out of it, as its code.
fn take_reply(buffer: &mut Vec<u8>) -> Option<String> {
    let text = String::from_utf8_lossy(buffer).into_owned();
    let mut length = 0;
    for line in text.split_inclusive("\r\n").filter(|line| line.ends_with("\r\n")) {
        length += line.len();
        if line.as_bytes().get(3) != Some(&b'-') {
            buffer.drain(..length);
            return Some(line.chars().take(3).collect());
        }
    }
    None
}

/// One reply; `None` when the server closed, or said nothing for a while.
async fn reply(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>, patience: Duration) -> Option<String> {
    loop {
        if let Some(code) = take_reply(buffer) {
            return Some(code);
        }
        match tokio::time::timeout(patience, stream.read_buf(buffer)).await {
            Ok(Ok(read)) if read > 0 => {}
            _ => return None,
        }
    }
}

/// Replies after the last write, and whether the server closed by itself.
async fn play(server: SocketAddr, case: &Case) -> Result<(Vec<String>, bool)> {
    let (stream, mut buffer) = (TcpStream::connect(server).await?, Vec::new());
    stream.set_nodelay(true)?;
    let mut stream: Box<dyn Octets> = Box::new(stream);
    if case.setup != "none" {
        reply(&mut stream, &mut buffer, PATIENCE).await.context("no greeting")?;
    }
    if case.setup.starts_with("tls") {
        stream.write_all(b"EHLO probe.test\r\nSTARTTLS\r\n").await?;
        for _ in 0..2 {
            reply(&mut stream, &mut buffer, PATIENCE).await.context("no reply before TLS")?;
        }
        stream = Box::new(secure(stream, "mx.test", None).await?);
    }
    for command in prelude(&case.setup) {
        stream.write_all(command.as_bytes()).await?;
        let code = reply(&mut stream, &mut buffer, PATIENCE).await.with_context(|| format!("no reply to {command}"))?;
        anyhow::ensure!(code.starts_with(['2', '3']), "{command} was answered {code}");
    }
    if case.setup == "data+headers" {
        stream.write_all(b"Subject: s\r\n\r\n").await?;
    }
    let (last, before) = case.send.split_last().context("nothing to send")?;
    for step in before {
        if step == "<TLS>" {
            stream = Box::new(secure(stream, "mx.test", None).await?);
            continue;
        }
        stream.write_all(&octets(&expand(step))).await?;
        // Content gets no reply until its end.
        let patience = if case.setup.starts_with("data") || step.ends_with('\r') { Duration::from_millis(20) } else { PATIENCE };
        reply(&mut stream, &mut buffer, patience).await;
    }
    // A server that closed early has said what it had to say.
    let (mut read, mut write) = tokio::io::split(stream);
    let sending = octets(&expand(last));
    let ends_itself = case.expect.split('|').all(|alternative| alternative.ends_with("+close"));
    let writer = tokio::spawn(async move {
        let _ = write.write_all(&sending).await;
        if !ends_itself {
            let _ = write.shutdown().await;
        }
        write
    });
    let closed =
        tokio::time::timeout(PATIENCE, async { while read.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {} }).await.is_ok();
    writer.abort();
    Ok((std::iter::from_fn(|| take_reply(&mut buffer)).collect(), closed))
}

/// Whether one code is of a class.
fn is(code: Option<&String>, wanted: &str) -> bool {
    match (code, wanted) {
        (None, "silence" | "close" | "no-reply") => true,
        (None, _) => false,
        (Some(code), class) if class.ends_with("xx") => code.starts_with(&class[..1]),
        (Some(code), wanted) => code == wanted,
    }
}

fn fits(expect: &str, replies: &[String]) -> bool {
    if let Some(sequence) = expect.strip_prefix("seq:") {
        let mut at = 0;
        for token in sequence.split(',') {
            if token == "..." {
                return true;
            }
            let (token, count) = token.split_once('*').map_or((token, 1), |(token, count)| (token, count.parse().expect("a number")));
            for _ in 0..count {
                if !token.split('/').any(|wanted| is(replies.get(at), wanted)) {
                    return false;
                }
                at += 1;
            }
        }
        return replies.len() <= at;
    }
    expect.split('|').any(|alternative| match alternative.strip_suffix("+close").unwrap_or(alternative) {
        "250-after-real-eod" => replies.len() == 1 && is(replies.first(), "250"),
        wanted => is(replies.first(), wanted),
    })
}

/// Whether a command that stood in content was obeyed: where content was to be refused, a DATA in it got its 354.
fn obeyed_content(case: &Case, replies: &[String]) -> bool {
    case.setup.starts_with("data") && !case.expect.starts_with("seq:") && replies.iter().any(|code| code == "354")
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_the_answer_it_deserves() -> Result<()> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../cases/smtp.json"))?;
    let mut rig = Rig::world().await?;
    let list = rig.state().join("recipients");
    std::fs::write(&list, "user@example.test\npostmaster@example.test\n")?;
    let limits = "limits = { message = \"10MiB\", recipients = 100, per_ip = 500, connections = 500 }\n";
    let text = rig.configuration("", &format!("[recipients]\nlist = \"{}\"\n", list.display()));
    let text = text.replace("\"agency.test\"", "\"example.test\"").replace("role = \"BER\"\n", &format!("role = \"BER\"\n{limits}"));
    let text = text.replace("role = \"SOR\"\n", &format!("role = \"SOR\"\n{limits}"));
    let users = rig.state().join("users");
    std::fs::write(&users, secmx::users::line("ana", "pencil")?)?;
    let text = text.replace("role = \"submit\"\n", &format!("role = \"submit\"\nallow = []\n{limits}"));
    let patient = "[receive.patient]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\nlimits = { greet_delay = \"10s\" }\n";
    let text = text.replace("[receive.inside]", &format!("{patient}[auth]\nusers = \"{}\"\n[receive.inside]", users.display()));
    rig.start_with(&text).await?;
    let (public, sor) = (rig.listener("public")?, rig.listener("secure")?);
    let (mut running, mut outcomes) = (JoinSet::new(), Vec::new());
    for case in cases.iter().cloned() {
        let server = match case.role.as_deref() {
            Some("SOR") => sor,
            Some(listener) => rig.listener(listener)?,
            None => public,
        };
        if running.len() >= AT_ONCE {
            outcomes.extend(running.join_next().await);
        }
        running.spawn(async move { (play(server, &case).await, case) });
    }
    outcomes.extend(running.join_all().await.into_iter().map(Ok));
    let (mut bad, played) = (Vec::new(), outcomes.len());
    for outcome in outcomes {
        let (outcome, case) = outcome?;
        match outcome {
            Ok((replies, closed)) if closed && fits(&case.expect, &replies) && !obeyed_content(&case, &replies) => {}
            other => bad.push(format!("{}: expected {}, got {other:?}", case.id, case.expect)),
        }
    }
    assert!(bad.is_empty(), "{} of {played}:\n{}", bad.len(), bad.join("\n"));
    assert_eq!(played, cases.len());
    // S2, S3: whatever was said, nobody forged a sender, and nothing went to a stranger's domain. Every session is over, so all that was
    // taken is in the log.
    let queued = rig.log.named("message.queued");
    let forged: Vec<_> = queued.iter().filter(|event| FORGED.iter().any(|sender| event["reverse_path"] == *sender)).collect();
    assert!(forged.is_empty() && !queued.is_empty(), "of {} messages: {forged:#?}", queued.len());
    for event in &queued {
        rig.outcome(event["queue"].as_str().context("it has a name")?).await?;
    }
    let strange = |to: &String| !["user@example.test", "postmaster@example.test"].contains(&to.to_ascii_lowercase().as_str());
    let taken = rig.inside.messages();
    assert!(!taken.is_empty() && !taken.iter().any(|message| message.forward_paths.iter().any(strange)), "{taken:?}");
    Ok(())
}

#[test]
fn the_judge_can_say_no() {
    let replies = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>();
    assert!(fits("5xx|421+close", &replies(&["421"])) && !fits("5xx", &replies(&["250"])) && !fits("5xx", &[]));
    assert!(fits("silence", &[]) && !fits("silence", &replies(&["500"])));
    assert!(fits("seq:250*2,354/503", &replies(&["250", "250", "503"])) && !fits("seq:250*2,354", &replies(&["250", "354"])));
    assert!(!fits("250-after-real-eod", &replies(&["250", "250"])), "a second reply means that content was read as a command");
    assert!(!fits("seq:250", &replies(&["250", "250"])) && fits("seq:250,...", &replies(&["250", "250"])), "all replies are listed");
    let case =
        |setup: &str, expect: &str| Case { id: String::new(), setup: setup.into(), send: Vec::new(), expect: expect.into(), role: None };
    let smuggled = replies(&["550", "250", "250", "250", "354", "250"]);
    assert!(fits("5xx", &smuggled) && obeyed_content(&case("data", "5xx"), &smuggled), "the first reply is not all");
    assert!(!obeyed_content(&case("data", "5xx"), &smuggled[..4]) && !obeyed_content(&case("data", "seq:550,..."), &smuggled));
    assert_eq!(octets(&expand("a{{bc*2}}\u{ff}")), b"abcbc\xff");
}
