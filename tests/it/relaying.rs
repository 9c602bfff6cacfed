//! What goes out is what came in: octet for octet unless a policy edited it, whatever the message is made of.

use anyhow::Result;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const MESSAGES: usize = 100;

/// A message of lines of any octets but CR and LF, with and without header, with dots where the protocol doubles them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let any_line = prop::collection::vec(any::<u8>().prop_filter("line ends come apart", |octet| !b"\r\n".contains(octet)), 0..60);
    let known = prop::sample::select(vec![
        "Subject: s",
        "Subject : s",
        " folded",
        ".",
        "..",
        ".x",
        "",
        "--x",
        "Content-Type: multipart/mixed; boundary=x",
        "Content-Transfer-Encoding: base64",
        "=3D=",
        "no field",
        "\tx",
        "trailing  ",
    ]);
    let line = prop_oneof![any_line, known.prop_map(|line| line.as_bytes().to_vec())];
    prop::collection::vec(line, 1..30).prop_map(|lines| lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect())
}

/// RFC 5321, 4.5.2: a line that begins with a dot gets another.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let lines = message.split_inclusive(|octet| *octet == b'\n');
    let doubled = lines.flat_map(|line| if line.starts_with(b".") { [b".", line].concat() } else { line.to_vec() });
    doubled.chain(*b".\r\n").collect()
}

/// The message without the trace fields that were put before it: a field name at the beginning of a line, then folds.
fn without_trace(taken: &[u8]) -> &[u8] {
    assert!(taken.starts_with(b"Received: "), "{:?}", String::from_utf8_lossy(taken));
    let mut lines = taken.split_inclusive(|octet| *octet == b'\n');
    let first = lines.next().map_or(0, <[u8]>::len);
    let folds: usize = lines.take_while(|line| line.starts_with(b" ") || line.starts_with(b"\t")).map(<[u8]>::len).sum();
    &taken[first + folds..]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relayed_message_is_octet_identical() -> Result<()> {
    let rig = Rig::with("", "").await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    let (mut runner, mut sent) = (TestRunner::deterministic(), Vec::new());
    for _ in 0..MESSAGES {
        // The trace field must not be taken for one that the message continues.
        let octets = loop {
            let octets = message().new_tree(&mut runner).map_err(anyhow::Error::msg)?.current();
            if !octets.starts_with(b" ") && !octets.starts_with(b"\t") {
                break octets;
            }
        };
        client.command("MAIL FROM:<a@probe.test> BODY=8BITMIME").await?;
        client.command("RCPT TO:<ana@agency.test>").await?;
        assert!(client.command("DATA").await?.starts_with("354"));
        client.send(&stuffed(&octets)).await?;
        if client.reply().await?.starts_with("250") {
            sent.push(octets);
        }
    }
    assert!(sent.len() > MESSAGES / 2, "only {} of {MESSAGES} were taken", sent.len());
    let taken = rig.inside.wait_for_messages(sent.len(), PATIENCE).await;
    let mut taken: Vec<Vec<u8>> = taken.iter().map(|message| without_trace(&message.content).to_vec()).collect();
    taken.sort();
    sent.sort();
    assert_eq!(taken.len(), sent.len());
    for (taken, sent) in taken.iter().zip(&sent) {
        assert_eq!(taken, sent, "{:?}", String::from_utf8_lossy(sent));
    }
    Ok(())
}
