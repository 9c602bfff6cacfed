//! What the shipped content policies cost, printed: the default chain on a message of 20 KiB, and time and memory for what is large or hostile,
//! which must stay within the bounds below. By name, alone in its process:
//! `cargo test --release -p secmx-policy --test it -- --ignored --nocapture content_cost` and `content_weight`.

use crate::hostile::message;
use crate::opaque::message as with_attachment;
use crate::receivers::session;
use bytes::Bytes;
use secmx_core::mail::Envelope;
use secmx_policy::{MessageFacts, PolicySet, PolicySource, shipped};
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Questions that are measured.
const QUESTIONS: usize = 2_000;

/// The most memory that one message may take, KiB, beside its octets as they came in.
const MORE_MAX: u64 = 192 << 10;

/// The most time that one message may take: `content.time` and the scanning of what was read.
const TIME_MAX: Duration = Duration::from_secs(5);

/// What is asked about every message where all shipped policies that rule are in force.
fn chain() -> PolicySet {
    let names = ["opaque-content", "attachments", "classification", "no-secrets"];
    crate::set(names.map(|name| PolicySource::new(name, shipped(name).expect("shipped"), "{}")).into()).0
}

async fn ask(set: &PolicySet, octets: &Bytes) -> (Duration, String) {
    let facts = MessageFacts { octets: Arc::new(octets.clone()), envelope: Envelope::default(), ..message() };
    let started = Instant::now();
    let answer = set.content(&session(), facts).await.expect("no fault");
    (started.elapsed(), answer.ruling.reason().map_or("pass".to_owned(), |reason| reason.code.clone()))
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

#[tokio::test]
#[ignore = "prints figures; run by name"]
async fn content_cost() {
    let (set, ordinary) = (chain(), ordinary());
    let mut times = Vec::new();
    for _ in 0..QUESTIONS {
        times.push(ask(&set, &ordinary).await.0);
    }
    times.sort();
    let (median, most) = (times[QUESTIONS / 2], times[QUESTIONS * 9 / 10]);
    println!("{} octets, 4 policies: median {median:?}, 9 of 10 within {most:?}", ordinary.len());
}

/// A message of 20 MiB with ten documents.
fn large() -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents");
    let names = [
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
    ];
    let documents: Vec<String> = names.map(|name| with_attachment(&fs::read(folder.join(name)).expect("a document"))).into();
    let picture = with_attachment(&vec![0x5a; 14 << 20]);
    let parts: Vec<String> =
        documents.iter().chain([&picture]).map(|part| format!("--all\r\nContent-Type: message/rfc822\r\n\r\n{part}\r\n")).collect();
    format!("Subject: s\r\nContent-Type: multipart/mixed; boundary=all\r\n\r\n{}--all--\r\n", parts.concat()).into()
}

/// A ZIP of files under these names, each of that many pieces.
fn zip(names: &[String], piece: &[u8], pieces: usize) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in names {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).expect("a file");
        (0..pieces).for_each(|_| zip.write_all(piece).expect("written"));
    }
    zip.finish().expect("a ZIP").into_inner()
}

/// A document of Word with these octets as its text.
fn docx(piece: &[u8], pieces: usize) -> Vec<u8> {
    zip(&["[Content_Types].xml".into(), "word/document.xml".into()], piece, pieces)
}

/// What is hostile, by name.
fn hostile() -> Vec<(&'static str, Bytes)> {
    let one = |name: &str| vec![name.to_owned()];
    let attached = |octets: &[u8]| Bytes::from(with_attachment(octets));
    let spaces = vec![b' '; 1 << 20];
    let bomb = zip(&one("a.txt"), &spaces, 512);
    let many: Vec<String> = (0..60_000).map(|number| format!("{number}")).collect();
    let in_bombs = (0..50).fold(bomb.clone(), |inner, _| zip(&one("a.zip"), &inner, 1));
    vec![
        ("a ZIP of 512 MiB", attached(&bomb)),
        ("the same in 50 ZIPs", attached(&in_bombs)),
        ("a ZIP of 60,000 files", attached(&zip(&many, b"x", 1))),
        ("a ZIP of 40 files of 8 MiB", attached(&zip(&many[..40], &spaces, 8))),
        ("a DOCX of 512 MiB", attached(&docx(&spaces, 512))),
        ("a DOCX with a million levels", attached(&docx(&b"<w:p>".repeat(1_000), 1_000))),
        ("a DOCX of 20 million texts", attached(&docx(&b"<w:t>x</w:t>".repeat(1_000), 20_000))),
        ("messages in messages, 100,000 levels", "Content-Type: message/rfc822\r\n\r\n".repeat(100_000).into()),
        (
            "a million parts",
            ("Content-Type: multipart/mixed; boundary=x\r\n\r\n".to_owned() + &"--x\r\n\r\na\r\n".repeat(1_000_000)).into(),
        ),
        ("HTML, a million levels", ("Content-Type: text/html\r\n\r\n".to_owned() + &"<div title=x>".repeat(1_000_000)).into()),
    ]
}

/// The most memory that was resident since [`forget`], KiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Begins to measure anew (proc(5), `clear_refs`).
fn forget() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

#[tokio::test]
#[ignore = "takes a minute and measures the whole process; run by name"]
async fn content_weight() {
    let set = chain();
    let mut cases = vec![("20 MiB with 10 documents", large())];
    cases.extend(hostile());
    for (what, octets) in cases {
        assert!(forget(), "memory is measured");
        let before = peak();
        let (time, code) = ask(&set, &octets).await;
        let more = peak().saturating_sub(before);
        println!("{what:38} {:>9} octets {time:>9.1?} {more:>7} KiB more, {code}", octets.len());
        assert!(more <= MORE_MAX && time <= TIME_MAX, "{what}: {more} KiB, {time:?}");
    }
}
