//! What policies cost: content questions to fresh and to reused instances, and beside a neighbour or a shadow that never ends. Printed, never
//! asserted: machines differ. `cargo bench -p secmx-tests --bench policies [-- fresh | reused | neighbour | shadow]`.

#[path = "../languages/guests.rs"]
#[allow(dead_code, reason = "the guests of the languages' tests; some of it is for those alone")]
mod guests;

use bytes::Bytes;
use secmx_core::channel::Channel;
use secmx_core::mail::{Envelope, Mailbox};
use secmx_guest_build::Language;
use secmx_policy::{Limits, MessageFacts, Mode, PolicySet, PolicySource, Runtime, RuntimeLimits, SessionFacts, Tolerance, shipped};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime as Executor;

/// Threads that answer, as many as the figures in the documents are for.
const THREADS: usize = 2;

/// How long one measurement takes.
const SPAN: Duration = Duration::from_secs(3);

/// Questions that wait for an answer at the same time, of each thread.
const AT_ONCE: usize = 4;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let sections: [(&str, fn()); 4] = [("fresh", fresh), ("reused", reused), ("neighbour", neighbour), ("shadow", shadow)];
    sections.into_iter().filter(|(name, _)| wants(name)).for_each(|(_, section)| section());
}

fn session() -> SessionFacts {
    SessionFacts {
        id: "S1".into(),
        listener: "mx".into(),
        client_address: "192.0.2.7".parse().expect("an address"),
        client_name: None,
        hello: Some("relay.test".into()),
        channel: Channel::plain(),
        authenticated_as: None,
        authentication_results: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

fn message() -> MessageFacts {
    let to = Mailbox::parse(b"bo@health.test", false).expect("a mailbox");
    MessageFacts {
        id: "01JD9W3K7Q8Z".into(),
        envelope: Envelope { recipients: vec![to], ..Envelope::default() },
        parameters: Vec::new(),
        recipient_parameters: Vec::new(),
        octets: Arc::new(Bytes::from_static(b"From: ana@agency.test\r\nSubject: minutes\r\n\r\nSee you at ten.\r\n")),
        authenticity: None,
        tags: BTreeMap::new(),
    }
}

fn engine() -> Runtime {
    Runtime::new(RuntimeLimits::default(), Arc::new(|_| {})).expect("an engine")
}

fn load(engine: &Runtime, sources: Vec<PolicySource>) -> Arc<PolicySet> {
    Arc::new(PolicySet::load(engine, sources).expect("it loads"))
}

/// Median of questions one after the other, on one thread.
fn alone(set: &PolicySet) -> Duration {
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a thread");
    executor.block_on(async {
        let (session, mut times, end) = (session(), Vec::new(), Instant::now() + SPAN);
        while Instant::now() < end {
            let message = message();
            let started = Instant::now();
            set.content(&session, message).await.expect("an answer");
            times.push(started.elapsed());
        }
        percentile(&mut times, 50)
    })
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

fn threads() -> Executor {
    tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_time().build().expect("threads")
}

/// Questions a second with every thread busy.
fn busy(set: &Arc<PolicySet>) -> f64 {
    threads().block_on(async {
        let answered = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let asking: Vec<_> = (0..THREADS * AT_ONCE)
            .map(|_| {
                let (set, answered) = (Arc::clone(set), Arc::clone(&answered));
                tokio::spawn(async move {
                    let session = session();
                    while started.elapsed() < SPAN {
                        set.content(&session, message()).await.expect("an answer");
                        answered.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in asking {
            task.await.expect("no panic");
        }
        answered.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
    })
}

fn fresh() {
    println!("a fresh instance for each content question ({THREADS} threads)");
    let engine = engine();
    for name in ["classification", "attachments", "no-secrets"] {
        let component = shipped(name).expect("it is shipped");
        let set = load(&engine, vec![PolicySource::new(name, component, "{}")]);
        println!("  {name:<16} {:>8.1} µs alone, median   {:>9.0} questions/s", alone(&set).as_secs_f64() * 1e6, busy(&set));
    }
}

fn reused() {
    println!("the same instance for up to 100 content questions ({THREADS} threads)");
    for language in Language::ALL {
        let Some(guest) = guests::guest("no-secrets", language) else { continue };
        let mut rates = [1, 100].map(|max_uses| {
            let limits = Limits { max_uses, memory_bytes: 128 << 20, time: Duration::from_secs(1), ..Limits::default() };
            let set = load(&engine(), vec![PolicySource { limits, ..PolicySource::new("guest", guest.component.clone(), "{}") }]);
            busy(&set)
        });
        rates.reverse();
        let [reused, fresh] = rates;
        let language = language.to_string();
        println!("  {language:<12} {fresh:>9.0} questions/s fresh   {reused:>9.0} reused   × {:.1}", reused / fresh);
    }
}

/// Other sessions while somebody's policy loops, with and without the breaker that ends this.
fn neighbour() {
    println!("content questions of others beside a policy that never ends ({THREADS} threads)");
    let engine = engine();
    let good = load(&engine, vec![PolicySource::new("good", shipped("classification").expect("it is shipped"), "{}")]);
    let executor = threads();
    let mut quiet = paced(&executor, &good, None);
    let (p50, p99) = (percentile(&mut quiet, 50), percentile(&mut quiet, 99));
    println!("  alone                    p50 {:>7.1} µs   p99 {:>8.1} µs", p50.as_secs_f64() * 1e6, p99.as_secs_f64() * 1e6);
    let looping = wat::parse_str(include_str!("loop.wat")).expect("text");
    for (what, tolerance) in [("breaker as it is", Tolerance::default()), ("no breaker", Tolerance { faults: 0, ..Tolerance::default() })] {
        let bad = load(&engine, vec![PolicySource { tolerance, ..PolicySource::new("bad", looping.clone(), "{}") }]);
        let mut beside = paced(&executor, &good, Some(bad));
        let (half, most) = (percentile(&mut beside, 50), percentile(&mut beside, 99));
        let ratio = most.as_secs_f64() / p99.as_secs_f64();
        println!("  {what:<24} p50 {:>7.1} µs   p99 {:>8.1} µs   p99 × {ratio:.2}", half.as_secs_f64() * 1e6, most.as_secs_f64() * 1e6);
    }
}

/// The answers of a policy in force, with and without a shadow behind it that never ends.
fn shadow() {
    println!("content questions with a shadow that never ends ({THREADS} threads)");
    let engine = engine();
    let good = || PolicySource::new("good", shipped("classification").expect("it is shipped"), "{}");
    let looping = wat::parse_str(include_str!("loop.wat")).expect("text");
    let tolerance = Tolerance { faults: 0, ..Tolerance::default() };
    let endless = PolicySource { mode: Mode::Shadow, tolerance, ..PolicySource::new("endless", looping, "{}") };
    for (what, sources) in [("without", vec![good()]), ("with it, no breaker", vec![good(), endless])] {
        // A generation goes before the threads that its shadows are on.
        let (executor, set) = (threads(), load(&engine, sources));
        let mut times = paced(&executor, &set, None);
        drop(set);
        let (half, most) = (percentile(&mut times, 50), percentile(&mut times, 99));
        let (half, most) = (half.as_secs_f64() * 1e6, most.as_secs_f64() * 1e6);
        println!("  {what:<24} p50 {half:>7.1} µs   p99 {most:>8.1} µs   {} answered", times.len());
    }
    let followed = engine.shadows().get("endless").map_or((0, 0), |tally| (tally.asked, tally.left_out));
    println!("  followed {} messages to their time limit, left out {}", followed.0, followed.1);
}

/// Times of questions that come one every millisecond in each of some sessions, while another session asks the neighbour without end.
fn paced(executor: &Executor, set: &Arc<PolicySet>, neighbour: Option<Arc<PolicySet>>) -> Vec<Duration> {
    executor.block_on(async {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let hostile = neighbour.map(|bad| {
            tokio::spawn(async move {
                let session = session();
                while !stop.load(Ordering::Relaxed) {
                    bad.content(&session, message()).await.expect_err("it never answers");
                    tokio::task::yield_now().await;
                }
            })
        });
        let asking: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let set = Arc::clone(set);
                tokio::spawn(async move {
                    let (session, mut times, end) = (session(), Vec::new(), Instant::now() + SPAN);
                    while Instant::now() < end {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        let started = Instant::now();
                        set.content(&session, message()).await.expect("an answer");
                        times.push(started.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in asking {
            times.extend(task.await.expect("no panic"));
        }
        over.store(true, Ordering::Relaxed);
        if let Some(hostile) = hostile {
            hostile.await.expect("no panic");
        }
        times
    })
}
