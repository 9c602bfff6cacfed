//! Content through a real gateway: what no policy edits is relayed octet for octet, whatever it is made of, and an edit changes its part.

use anyhow::{Context, Result};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use secmx_lab::client::Client;
use secmx_tests::Rig;
use secmx_tests::cases::{expand, octets};
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Messages made of what matters to a reader of MIME, with noise, that SMTP can carry: no bare CR or LF, no line that is too long.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::sample::select(vec![
        "Content-Type: multipart/mixed; boundary=x",
        "Content-Type: message/rfc822",
        "Content-Type: text/html; charset=iso-8859-1",
        "Content-Transfer-Encoding: base64",
        "Content-Transfer-Encoding: quoted-printable",
        "Subject: =?utf-8?q?=C3=BC?=",
        "\tfolded",
        "",
        "--x",
        "--x--",
        ".",
        "..",
        ".x",
        "trailing \t ",
        "From here",
        "=3D=",
        "UEsDBA==",
    ]);
    let noise = prop::collection::vec(any::<u8>().prop_filter("no line end, no NUL", |octet| !matches!(octet, 0 | b'\r' | b'\n')), 0..40);
    let line = prop_oneof![4 => lines.prop_map(|line| line.as_bytes().to_vec()), 1 => noise];
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect())
}

/// DATA with its dots doubled (RFC 5321, 4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|octet| *octet == b'\n');
    lines.flat_map(|line| if line.starts_with(b".") { [b".", line].concat() } else { line.to_vec() }).collect()
}

/// What the recipient got, below the trace field of this gateway.
fn below_trace(content: &[u8]) -> &[u8] {
    let mut rest = content;
    while let Some(end) = memchr(b'\n', rest) {
        rest = &rest[end + 1..];
        if !rest.starts_with(b" ") && !rest.starts_with(b"\t") {
            break;
        }
    }
    rest
}

fn memchr(octet: u8, octets: &[u8]) -> Option<usize> {
    octets.iter().position(|one| *one == octet)
}

/// With every shipped policy asked and none that edits: "the message that is delivered is the one that came in, octet for octet".
#[tokio::test(flavor = "multi_thread")]
async fn what_no_policy_edits_is_relayed_octet_for_octet() -> Result<()> {
    let policies = ["attachments", "classification", "no-secrets", "opaque-content"].map(|name| {
        let settings = if name == "opaque-content" { "settings = { kinds = [\"archive\"] }\n" } else { "" };
        format!("[[policy]]\nname = \"{name}\"\nuse = \"builtin:{name}\"\n{settings}")
    });
    let rig = Rig::with("", &policies.concat()).await?;
    let mut runner = TestRunner::deterministic();
    let messages: Vec<Vec<u8>> = (0..60)
        .map(|_| messages().new_tree(&mut runner).map(|tree| tree.current()))
        .collect::<Result<_, _>>()
        .map_err(anyhow::Error::msg)?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    let mut sent = Vec::new();
    for (number, message) in messages.into_iter().enumerate() {
        for command in [format!("MAIL FROM:<m{number}@probe.test> BODY=8BITMIME"), "RCPT TO:<ana@agency.test>".into(), "DATA".into()] {
            let reply = client.command(&command).await?;
            anyhow::ensure!(reply.starts_with(['2', '3']), "{command}: {reply}");
        }
        client.send(&[&stuffed(&message)[..], b".\r\n"].concat()).await?;
        if client.reply().await?.starts_with("250") {
            sent.push((format!("m{number}@probe.test"), message));
        }
    }
    anyhow::ensure!(sent.len() > 40, "most are taken: {}", sent.len());
    let taken = rig.inside.wait_for_messages(sent.len(), PATIENCE).await;
    for (from, message) in sent {
        let got = taken.iter().find(|got| got.reverse_path == from).with_context(|| format!("{from} did not arrive"))?;
        let trace =
            got.content.strip_suffix(&message[..]).with_context(|| format!("{from}: {:?}", String::from_utf8_lossy(&got.content)))?;
        let fields = trace.split_inclusive(|octet| *octet == b'\n').filter(|line| !line.starts_with(b"\t") && !line.starts_with(b" "));
        assert!(trace.starts_with(b"Received: ") && fields.count() == 1, "{from}: {:?}", String::from_utf8_lossy(trace));
    }
    Ok(())
}

/// An edit of a part is all that changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_disclaimer_reaches_the_recipient_and_nothing_else_changes() -> Result<()> {
    let entry = "[[policy]]\nname = \"disclaimer\"\nuse = \"builtin:disclaimer\"\nsettings = { text = \"No guarantee.\" }\n";
    let rig = Rig::with("", entry).await?;
    let message = "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n--x\r\n\r\nHello\r\n--x\r\n\
                   Content-Disposition: attachment; filename=a.txt\r\n\r\nHello\r\n--x--\r\nepilogue\r\n";
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    assert!(client.transact("a@probe.test", &["ana@agency.test"], message).await?.starts_with("250"));
    let taken = rig.inside.wait_for_messages(1, PATIENCE).await;
    let extended = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nHello\r\n\r\nNo guarantee.\r\n";
    let expected = message.replacen("\r\nHello", extended, 1);
    assert_eq!(String::from_utf8_lossy(below_trace(&taken[0].content)).trim_end(), expected.trim_end());
    Ok(())
}

/// Hostile structure at a real listener, with every shipped policy asked: the answers it deserves, and the gateway goes on.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_structure_gets_the_answer_it_deserves() -> Result<()> {
    let policies = ["attachments", "classification", "no-secrets", "opaque-content"]
        .map(|name| format!("[[policy]]\nname = \"{name}\"\nuse = \"builtin:{name}\"\n"));
    let rig = Rig::with("", &policies.concat()).await?;
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../host/policy/tests/hostile_mime.json"))?;
    for case in &cases {
        let (id, send) = (case["id"].as_str().context("an id")?, case["send"].as_str().context("octets")?);
        let mut client = Client::connect(rig.listener("public")?).await?;
        client.command("EHLO probe.test").await?;
        for command in ["MAIL FROM:<a@probe.test>", "RCPT TO:<ana@agency.test>", "DATA"] {
            client.command(command).await?;
        }
        // A message that is refused before its end gets its answer all the same.
        let octets = octets(&expand(send));
        let (sent, reply) = (client.send(&octets).await, client.reply().await?);
        sent?;
        let allowed: &[&str] = match id {
            "hdr-received-101" => &["554 5.4.6"],
            "mime-boundary-prefix" | "mime-2231-split-filename" | "mime-zip-bomb" => &["250", "550"],
            "mime-line-1MiB" => &["250", "500", "554"],
            _ => &["250", "552", "554"],
        };
        assert!(allowed.iter().any(|start| reply.starts_with(start)), "{id}: {reply}");
    }
    assert_eq!(cases.len(), 18);
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO canary.test").await?;
    assert!(client.transact("canary@probe.test", &["ana@agency.test"], "Subject: s\r\n\r\nx").await?.starts_with("250"), "it goes on");
    Ok(())
}
