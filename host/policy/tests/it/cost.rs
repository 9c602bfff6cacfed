//! What the shipped content policies cost, printed and not asserted: the default chain on a message of 20 KiB, and time and memory for 20 MiB
//! with ten documents. `cargo test --release -p secmx-policy --test it content_cost -- --ignored --nocapture`.

use crate::hostile::message;
use crate::opaque::message as with_attachment;
use crate::receivers::session;
use bytes::Bytes;
use secmx_core::mail::Envelope;
use secmx_policy::{MessageFacts, PolicySet, PolicySource, shipped};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is asked about every message where all shipped policies that rule are in force.
fn chain() -> PolicySet {
    let names = ["opaque-content", "attachments", "classification", "no-secrets"];
    crate::set(names.map(|name| PolicySource::new(name, shipped(name).expect("shipped"), "{}")).into()).0
}

async fn ask(set: &PolicySet, octets: &Bytes) -> Duration {
    let facts = MessageFacts { octets: Arc::new(octets.clone()), envelope: Envelope::default(), ..message() };
    let started = Instant::now();
    set.content(&session(), facts).await.expect("no fault");
    started.elapsed()
}

/// Text and HTML, and a text attached.
fn ordinary() -> Bytes {
    let line = "The quick brown fox jumps over the lazy dog, number 12345.\r\n";
    let (plain, rich) = (line.repeat(100), format!("<p>{}</p>\r\n", line.trim()).repeat(90));
    format!(
        "From: a@b.test\r\nTo: c@d.test\r\nSubject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\
         Content-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\n\r\n{plain}\r\n--y\r\nContent-Type: text/html\r\n\r\n{rich}\r\n--y--\r\n\
         --x\r\nContent-Disposition: attachment; filename=a.csv\r\n\r\n{}\r\n--x--\r\n",
        line.repeat(130)
    )
    .into()
}

/// The most memory that was ever resident, KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[tokio::test]
#[ignore = "prints figures; run by name"]
async fn content_cost() {
    let (set, ordinary) = (chain(), ordinary());
    let mut times = Vec::new();
    for _ in 0..500 {
        times.push(ask(&set, &ordinary).await);
    }
    times.sort();
    println!("{} octets, 4 policies: median {:?}, 9 of 10 within {:?}", ordinary.len(), times[250], times[450]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    let documents: Vec<String> = [
        "text.docx",
        "text.odt",
        "table.xlsx",
        "table.ods",
        "slides.pptx",
        "slides.odp",
        "text.pdf",
        "slides.pdf",
        "text.rtf",
        "text.docx",
    ]
    .iter()
    .map(|name| with_attachment(&fs::read(folder.join(name)).expect("a document")))
    .collect();
    let picture = with_attachment(&vec![0x5a; 14 << 20]);
    let parts: Vec<String> =
        documents.iter().chain([&picture]).map(|part| format!("--all\r\nContent-Type: message/rfc822\r\n\r\n{part}\r\n")).collect();
    let large = Bytes::from(format!("Subject: s\r\nContent-Type: multipart/mixed; boundary=all\r\n\r\n{}--all--\r\n", parts.concat()));
    let before = peak();
    let time = ask(&set, &large).await;
    println!("{} octets, 10 documents, 4 policies: {time:?}, {} KiB more were resident", large.len(), peak().saturating_sub(before));
}
