//! What a policy costs in each language, for `guest-sdk/README.md`.
//!
//! `SECMX_WRITE_DOCS=1 cargo test --release -p secmx-tests --test languages -- --ignored table` measures and rewrites it.

use crate::guests::{self, Guest};
use crate::transcript;
use bytes::Bytes;
use secmx_core::report::Event;
use secmx_guest_build::Language;
use secmx_policy::{MessageFacts, PolicyInfo, PolicySet, PolicySource, Runtime, RuntimeLimits, Workshop};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BEGIN: &str = "table: SECMX_WRITE_DOCS=1 cargo test --release -p secmx-tests --test languages -- --ignored table";

/// Questions that one instance answers where it is reused.
const USES: u32 = 100;

/// How long a rate is measured.
const SPAN: Duration = Duration::from_secs(2);

/// A short message: what the policy does with the text is not what is measured.
fn message() -> MessageFacts {
    let text = "From: ana@agency.test\r\nTo: bo@health.test\r\nSubject: minutes\r\n\r\nSee you at ten. Bring the minutes of Tuesday.\r\n";
    MessageFacts { octets: Arc::new(Bytes::from_static(text.as_bytes())), ..transcript::plain_message() }
}

/// An engine that keeps code in this folder.
fn runtime(cache: &Path) -> Runtime {
    let workshop = Workshop { cache: Some(cache.to_owned()), ..Workshop::default() };
    let trouble = |event: &Event<'_>| {
        if let Event::Warning { text } = event {
            println!("{text}");
        }
    };
    Runtime::start(RuntimeLimits::default(), workshop, Arc::new(trouble), Arc::default()).expect("an engine")
}

fn source(guest: &Guest, memory_bytes: usize, max_uses: u32) -> PolicySource {
    let mut source = PolicySource::new(guest.policy, guest.component.clone(), "{}");
    source.limits.memory_bytes = memory_bytes;
    source.limits.time = Duration::from_secs(1);
    source.limits.max_uses = max_uses;
    source
}

/// How long loading takes, off the threads that ask.
fn load_time(runtime: &Runtime, guest: &Guest) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| scope.spawn(|| PolicyInfo::of(runtime, &source(guest, 128 << 20, 1)).map(drop)).join())
        .expect("no panic")
        .expect("it loads");
    started.elapsed()
}

fn load(runtime: &Runtime, guest: &Guest, memory_bytes: usize, max_uses: u32) -> Arc<PolicySet> {
    Arc::new(PolicySet::load(runtime, vec![source(guest, memory_bytes, max_uses)]).expect("it loads"))
}

async fn answers(set: &PolicySet) -> bool {
    set.content(&transcript::plain_session(), message()).await.is_ok()
}

/// Time of the middle one of many questions, one after the other.
async fn median(set: &PolicySet) -> Duration {
    let mut times = Vec::new();
    let begun = Instant::now();
    while times.len() < 5_000 && (times.len() < 20 || begun.elapsed() < SPAN) {
        let started = Instant::now();
        assert!(answers(set).await, "it answers");
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// Questions a second with both threads busy.
async fn rate(set: &Arc<PolicySet>) -> f64 {
    let (answered, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let ask = || {
        let (set, answered) = (Arc::clone(set), Arc::clone(&answered));
        async move {
            while started.elapsed() < SPAN {
                assert!(answers(&set).await, "it answers");
                answered.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    };
    let asking: Vec<_> = (0..8).map(|_| tokio::spawn(ask())).collect();
    for task in asking {
        task.await.expect("no panic");
    }
    answered.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// The least memory limit, in steps of 256 KiB, under which it answers.
async fn least_memory(runtime: &Runtime, guest: &Guest) -> usize {
    let (mut enough, mut step) = (128 << 20, 64 << 20);
    while step >= 256 << 10 {
        // It may need more than that to be loaded at all.
        if let Ok(set) = PolicySet::load(runtime, vec![source(guest, enough - step, 1)])
            && answers(&set).await
        {
            enough -= step;
        }
        step /= 2;
    }
    enough
}

/// One line of the table.
async fn row(language: Language) -> Option<String> {
    guests::forget("no-secrets", language);
    let started = Instant::now();
    let guest = guests::guest("no-secrets", language)?;
    let built = started.elapsed().as_secs_f64();
    let folder = tempfile::tempdir().expect("a folder");
    // Made by the cache itself: a folder that others can reach is not used, and then loading would be compiling.
    let cache = folder.path().join("compiled");
    let compiled = load_time(&runtime(&cache), &guest).as_secs_f64();
    let runtime = runtime(&cache);
    let loaded = load_time(&runtime, &guest).as_secs_f64() * 1e3;
    let (fresh, reused) = (load(&runtime, &guest, 128 << 20, 1), load(&runtime, &guest, 128 << 20, USES));
    let (alone, again) = (median(&fresh).await.as_secs_f64() * 1e6, median(&reused).await.as_secs_f64() * 1e6);
    let (fresh, reused) = (rate(&fresh).await, rate(&reused).await);
    let memory = least_memory(&runtime, &guest).await as f64 / f64::from(1 << 20);
    let kilobytes = guest.component.len() / 1_000;
    Some(format!(
        "| {language} | {kilobytes} kB | {built:.1} s | {compiled:.2} s | {loaded:.1} ms | {alone:.0} µs | {again:.0} µs | {fresh:.0} | {reused:.0} | {memory:.2} MiB |"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, which takes minutes"]
async fn table() {
    let mut table = "| language | component | build | compile | load | fresh | reused | fresh, a second | reused, a second | memory |\n\
        |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for language in Language::ALL {
        if let Some(row) = row(language).await {
            println!("{row}");
            let _ = writeln!(table, "{row}");
        }
    }
    if std::env::var_os("SECMX_WRITE_DOCS").is_some() {
        guests::section_of_readme(BEGIN, &table);
    }
}
