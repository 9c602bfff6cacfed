//! S8: every guest of the table against every `on_error`. What it did before it failed is gone, what others did stays, and the engine goes
//! on. What becomes of real messages is shown with a whole gateway, in the tests of the whole.

use crate::guests::{ADD_FIELD, FOREVER, PASS, policy};
use crate::hostile::message;
use crate::receivers::session;
use crate::table::{self, Guest};
use crate::{Log, compiled, runtime};
use secmx_core::ruling::{Edit, Ruling};
use secmx_policy::{Inspection, Limits, OnError, PolicySet, PolicySource, Runtime};
use std::time::{Duration, Instant};

/// What a fault becomes; nothing: the caller answers 451 4.3.0.
const BECOMES: [(OnError, Option<&str>); 4] =
    [(OnError::Defer, None), (OnError::Quarantine, Some("quarantine")), (OnError::Reject, Some("reject")), (OnError::Accept, Some("pass"))];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s8_hostile_guests_harm_nobody_whatever_becomes_of_faults() {
    let (runtime, log) = runtime();
    let mut wrong = Vec::new();
    for guest in table::guests() {
        for (on_error, becomes) in BECOMES {
            let asked = if guest.is_poisoned() {
                asked_from_poisoned_cache(&guest, on_error, becomes).await
            } else {
                asked(&runtime, &log, &guest, on_error, becomes).await
            };
            if let Err(why) = asked {
                wrong.push(format!("{}, {on_error:?}: {why}", guest.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // 8 KiB a question, however much was written.
    for policy in ["floods-the-log", "floods-standard-output"] {
        let of_it = format!(r#""policy":"{policy}""#);
        let lines = log.lines().into_iter().filter(|line| line.contains(r#""event":"policy.log""#) && line.contains(&of_it));
        let (number, octets) = lines.fold((0, 0), |(number, octets), line| (number + 1, octets + line.len()));
        assert!((1..=4 * 8).contains(&number) && octets <= 4 * (16 << 10), "{policy}: {number} lines, {octets} octets");
    }
}

/// The same where its code in the cache is not as it was left: that is said, and it is compiled again.
async fn asked_from_poisoned_cache(guest: &Guest, on_error: OnError, becomes: Option<&str>) -> Result<(), String> {
    let (_folder, runtime, log) = tokio::task::block_in_place(|| compiled::poisoned(&guest.source()));
    asked(&runtime, &log, guest, on_error, becomes).await?;
    let said = log.lines().iter().any(|line| line.contains("compiled code in the cache is not used"));
    said.then_some(()).ok_or_else(|| format!("nobody was told: {:?}", log.lines()))
}

/// One guest between two that do no harm.
async fn asked(runtime: &Runtime, log: &Log, guest: &Guest, on_error: OnError, becomes: Option<&str>) -> Result<(), String> {
    let name = &guest.name;
    let before = policy("before", "", &format!("{ADD_FIELD} {PASS}"));
    let sources = vec![before, PolicySource { on_error, ..guest.source() }, policy("behind", "", PASS)];
    let loaded = tokio::task::block_in_place(|| PolicySet::load(runtime, sources));
    if let Some(text) = &guest.refused {
        let error = loaded.err().ok_or("it is loaded")?.to_string();
        let good = error.starts_with(&format!("policy {name}")) && error.contains(text);
        return good.then_some(()).ok_or(error);
    }
    let set = loaded.map_err(|error| error.to_string())?;
    let answer = set.content(&session(), message()).await;
    if let Some(text) = &guest.fault {
        let told = format!(r#""subject":"01JD9W3K7Q8Z","policy":"{name}","interface":"content.inspect""#);
        let lines = log.lines();
        let line = lines.iter().rev().find(|line| line.contains(&told)).ok_or("nobody was told")?;
        line.to_lowercase().contains(&text.to_lowercase()).then_some(()).ok_or_else(|| line.clone())?;
    }
    let ruling = answer.as_ref().ok().map(|inspection| inspection.ruling.name());
    if ruling != guest.ruling.as_deref().or(becomes) {
        return Err(format!("{answer:?}"));
    }
    if let Ok(Inspection { effects, .. }) = answer {
        let only_of_the_first = effects.edits == [Edit::AddField { name: "X-Policy".into(), value: "one".into() }];
        if !only_of_the_first || !effects.tags.is_empty() || !effects.add_recipients.is_empty() || !effects.evidence.is_empty() {
            return Err(format!("{effects:?}"));
        }
    }
    set.greet("ber", &session()).await.map(drop).map_err(|fault| format!("the others do not go on: {fault}"))
}

/// Printed, and judged so that only a guest that is not stopped fails: machines that run tests are busy.
#[tokio::test]
async fn s8_a_loop_is_stopped_at_its_deadline() {
    let (runtime, _) = runtime();
    let limit = Duration::from_millis(50);
    let limits = Limits { time: limit, ..Limits::default() };
    let source = PolicySource { limits, ..policy("loop", "", FOREVER) };
    let set = std::thread::scope(|scope| scope.spawn(|| PolicySet::load(&runtime, vec![source]).expect("loads")).join().expect("no panic"));
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        assert!(set.content(&session(), message()).await.is_err());
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("a loop with a deadline of 50 ms was stopped after {median:?}, median; {:?} beyond it; all: {times:?}", median - limit);
    assert!(times[0] < Duration::from_millis(500), "{times:?}");
}

/// Reuse is bounded and ends with the first thing that goes wrong; a fresh instance knows nothing of those before.
#[tokio::test]
async fn an_instance_is_asked_again_as_often_as_its_limits_say() {
    // Counts in its memory, and fails when it has counted to what is there when it begins plus `most`.
    let counting = |most: u32, then: &str| {
        format!(
            "(i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1))) \
             (if (i32.gt_u (i32.load (i32.const 512)) (i32.const {most})) (then {then})) {PASS}"
        )
    };
    for (max_uses, most, good) in [(1, 1, true), (3, 3, true), (3, 2, false), (100, 100, true)] {
        let limits = Limits { max_uses, ..Limits::default() };
        let (set, _) = crate::set(vec![PolicySource { limits, ..policy("counting", "", &counting(most, "unreachable")) }]);
        for n in 1..=2 * max_uses {
            let answer = set.content(&session(), message()).await;
            assert!(answer.is_ok() || !good && n % max_uses == 0, "{max_uses} {most} {n}: {answer:?}");
        }
    }
    // The third question to an instance fails, so that the fourth goes to a fresh one.
    let limits = Limits { max_uses: 100, ..Limits::default() };
    let tolerance = secmx_policy::Tolerance { faults: 0, ..secmx_policy::Tolerance::default() };
    for fails in ["unreachable", FOREVER] {
        let limits = Limits { time: Duration::from_millis(20), ..limits.clone() };
        let (set, _) = crate::set(vec![PolicySource { limits, tolerance, ..policy("counting", "", &counting(2, fails)) }]);
        for n in 1..=9 {
            assert_eq!(set.content(&session(), message()).await.is_ok(), n % 3 != 0, "{fails} {n}");
        }
    }
}

/// What an instance may do is counted anew for each question, except its memory: that is the instance's.
#[tokio::test]
async fn limits_hold_for_each_question_to_a_reused_instance() {
    let limits = Limits { max_uses: 100, time: Duration::from_millis(100), ..Limits::default() };
    let tolerance = secmx_policy::Tolerance { faults: 0, ..secmx_policy::Tolerance::default() };
    let source = |inspect: &str| PolicySource { limits: limits.clone(), tolerance, ..policy("reused", "", inspect) };
    let (set, _) = crate::set(vec![source(&format!("{ADD_FIELD} {PASS}"))]);
    for _ in 0..20 {
        let inspection = set.content(&session(), message()).await.expect("an answer");
        assert_eq!(
            (inspection.ruling, inspection.effects.edits.len()),
            (Ruling::Pass, 1),
            "effects of one question are not those of the next"
        );
    }
    // 4 MiB more with each question: the fourth does not fit into 16 MiB, and the fifth has an instance of its own.
    let (set, _) = crate::set(vec![source(&format!("(drop (memory.grow (i32.const 64))) {PASS}"))]);
    for n in 1..=8 {
        assert_eq!(set.content(&session(), message()).await.is_ok(), n % 4 != 0, "{n}");
    }
}
