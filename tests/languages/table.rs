//! The table in `guest-sdk/README.md`: what the same policy costs in each language.
//!
//! `SECMX_WRITE_DOCS=1 cargo test -p secmx-tests --test languages -- --ignored table` measures and rewrites it.

use crate::guests::{self, Guest};
use crate::transcript;
use bytes::Bytes;
use secmx_guest_build::Language;
use secmx_policy::{MessageFacts, PolicySet, PolicySource, Runtime, RuntimeLimits};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BEGIN: &str = "<!-- table: SECMX_WRITE_DOCS=1 cargo test -p secmx-tests --test languages -- --ignored table -->\n";
const END: &str = "<!-- end of table -->\n";

/// A message with 10 kB of clean text.
fn message() -> MessageFacts {
    let text = format!("Subject: s\r\n\r\n{}", "The quick brown fox jumps over the lazy dog, again and again.\r\n".repeat(160));
    MessageFacts { octets: Arc::new(Bytes::from(text)), ..transcript::plain_message() }
}

/// An engine with the shipped roles compiled, so that what comes next is the guest alone.
fn runtime() -> Runtime {
    let runtime = Runtime::new(RuntimeLimits { concurrent_questions: 2, ..RuntimeLimits::default() }, Arc::new(|_| {})).expect("an engine");
    PolicySet::load(&runtime, Vec::new()).expect("the shipped roles load");
    runtime
}

fn load(runtime: &Runtime, guest: &Guest, memory_bytes: usize) -> PolicySet {
    let mut source = PolicySource::new(guest.policy, guest.component.clone(), "{}");
    source.limits.memory_bytes = memory_bytes;
    source.limits.time = Duration::from_secs(1);
    PolicySet::load(runtime, vec![source]).expect("it loads")
}

async fn answers(set: &PolicySet) -> bool {
    set.content(&transcript::plain_session(), message()).await.is_ok()
}

/// Time of the middle one of many questions, each to a fresh instance.
async fn median(set: &PolicySet) -> Duration {
    let mut times = Vec::new();
    let begun = Instant::now();
    while times.len() < 1_000 && (times.len() < 20 || begun.elapsed() < Duration::from_secs(5)) {
        let started = Instant::now();
        assert!(answers(set).await, "it answers");
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// The least memory limit, in steps of 256 KiB, under which it answers.
async fn least_memory(runtime: &Runtime, guest: &Guest) -> usize {
    let (mut enough, mut step) = (128 << 20, 64 << 20);
    while step >= 256 << 10 {
        if answers(&load(runtime, guest, enough - step)).await {
            enough -= step;
        }
        step /= 2;
    }
    enough
}

#[tokio::test]
#[ignore = "measures, which takes minutes"]
async fn table() {
    let mut table =
        "| language | component | build | compile | fresh instance, one question | memory it needs |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for language in Language::ALL {
        guests::forget("no-secrets", language);
        let started = Instant::now();
        let Some(guest) = guests::guest("no-secrets", language) else { continue };
        let built = started.elapsed();
        let runtime = runtime();
        let set = load(&runtime, &guest, 128 << 20);
        let (compiled, fresh) = (set.load_time(), median(&set).await);
        let memory = least_memory(&runtime, &guest).await as f64 / f64::from(1 << 20);
        let (kilobytes, built) = (guest.component.len() / 1_000, built.as_secs_f64());
        let (compiled, fresh) = (compiled.as_secs_f64(), fresh.as_secs_f64() * 1e3);
        let _ = writeln!(table, "| {language} | {kilobytes} kB | {built:.1} s | {compiled:.2} s | {fresh:.2} ms | {memory:.2} MiB |");
    }
    println!("{table}");
    if std::env::var_os("SECMX_WRITE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/README.md");
        let text = std::fs::read_to_string(&path).expect("readable");
        let (before, rest) = text.split_once(BEGIN).expect("the beginning of the table is marked");
        let (_, after) = rest.split_once(END).expect("the end of the table is marked");
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("writable");
    }
}
