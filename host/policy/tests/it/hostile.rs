//! S8: guests that mean harm are stopped, by name, and nothing else notices.

use crate::guests::{ADD_FIELD, FOREVER, PASS, SET_TAG, SMUGGLE, able, admitting, policy, receiver, sender};
use crate::receivers::session;
use crate::{runtime, set};
use bytes::Bytes;
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::ruling::Ruling;
use secmx_policy::manifest::Grant;
use secmx_policy::{Duty, Fault, Limits, LoadError, MessageFacts, OnError, PolicySet, PolicySource, Runtime, RuntimeLimits};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) fn message() -> MessageFacts {
    let recipients = vec![Mailbox::parse(b"bo@health.test", false).expect("valid")];
    MessageFacts {
        id: "01JD9W3K7Q8Z".into(),
        envelope: Envelope { recipients, ..Envelope::default() },
        parameters: Vec::new(),
        recipient_parameters: Vec::new(),
        octets: Arc::new(Bytes::from_static(b"Subject: s\r\n\r\nbody\r\n")),
        authenticity: None,
        tags: BTreeMap::new(),
    }
}

/// Asks one policy, and then a good one in the same engine.
async fn fault_of(source: PolicySource) -> Fault {
    let (set, log) = set(vec![source]);
    let fault = set.content(&session(), message()).await.expect_err("a fault");
    assert!(set.greet("ber", &session()).await.is_ok(), "the others go on");
    assert!(log.lines().iter().any(|line| line.contains("policy.fault")), "a fault is never silent");
    fault
}

#[tokio::test]
async fn a_loop_is_stopped_at_its_deadline() {
    let limits = Limits { time: Duration::from_millis(50), ..Limits::default() };
    let started = Instant::now();
    let fault = fault_of(PolicySource { limits, ..policy("loop", "", FOREVER) }).await;
    assert_eq!((fault.policy.as_str(), fault.question), ("loop", "content.inspect"));
    assert!(fault.detail.contains("time limit of 50 ms"), "{fault}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_loop_lets_others_work_and_ends_with_the_wall_clock_too() {
    let limits = Limits { time: Duration::from_secs(600), wall: Duration::from_millis(200), ..Limits::default() };
    let (set, _) = set(vec![PolicySource { limits, ..policy("loop", "", FOREVER) }]);
    // One thread runs both: the answer of the second shows that the first yields.
    let (session, beside) = (session(), session());
    let (looping, answer) = tokio::join!(set.content(&session, message()), set.greet("sor", &beside));
    assert!(answer.is_ok());
    assert!(looping.expect_err("a fault").detail.contains("no answer within 200 ms"));
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let bomb = "(loop $more (drop (memory.grow (i32.const 64))) (br $more)) unreachable";
    let fault = fault_of(policy("bomb", "", bomb)).await;
    assert!(fault.detail.contains("memory limit of 16777216 octets"), "{fault}");
}

#[tokio::test]
async fn traps_and_endless_recursion_are_faults() {
    assert!(fault_of(policy("trap", "", "unreachable")).await.detail.contains("unreachable"));
    let fault = fault_of(policy("deep", "(func $deep (call $deep))", "(call $deep) unreachable")).await;
    assert!(fault.detail.contains("call stack exhausted"), "{fault}");
}

/// S2, S12: an edit that would forge a field ends the call, and the good edit before it is gone as well.
#[tokio::test]
async fn an_edit_with_a_line_end_is_a_fault_and_effects_are_all_or_nothing() {
    let fault = fault_of(policy("smuggler", "", &format!("{ADD_FIELD} {SMUGGLE} {PASS}"))).await;
    assert!(fault.detail.contains("no CR, LF or NUL"), "{fault}");
}

#[tokio::test]
async fn effects_are_bounded() {
    let flood = format!("(loop $more {ADD_FIELD} (br $more)) unreachable");
    assert!(fault_of(policy("flood", "", &flood)).await.detail.contains("more than 1000 effects"));
    let limits = Limits { effects: 2, ..Limits::default() };
    let fault = fault_of(PolicySource { limits: limits.clone(), ..policy("flood", "", &format!("{} {PASS}", ADD_FIELD.repeat(3))) }).await;
    assert!(fault.detail.contains("more than 2 effects of a kind: do less in one answer"), "{fault}");
    let (set, _) = set(vec![PolicySource { limits, ..policy("few", "", &format!("{} {PASS}", ADD_FIELD.repeat(2))) }]);
    assert!(set.content(&session(), message()).await.is_ok());
}

/// As many handles as its limits say: the session and the message are two, each pollable is one more.
#[tokio::test]
async fn handles_are_bounded() {
    let subscribing = |number: usize| format!("{} {PASS}", "(drop (call $subscribe (i64.const 1)))".repeat(number));
    let limits = Limits { handles: 10, ..Limits::default() };
    for (number, good) in [(8, true), (9, false)] {
        let (set, _) = set(vec![PolicySource { limits: limits.clone(), ..able("collector", &subscribing(number)) }]);
        assert_eq!(set.content(&session(), message()).await.is_ok(), good, "{number}");
    }
}

/// Without address space for a pool instances are made on demand, and that is said.
#[tokio::test]
async fn without_a_pool_policies_run_all_the_same() {
    let log = crate::Log::default();
    // More than 47 bits of addresses.
    let limits = RuntimeLimits { concurrent_questions: 4_096, memory_bytes_max: 4 << 30, ..RuntimeLimits::default() };
    let runtime = Runtime::new(limits, log.observer()).expect("an engine");
    assert!(log.lines().iter().any(|line| line.contains("policies run without a pool, which is slower: ")), "{:?}", log.lines());
    let set = PolicySet::load(&runtime, vec![policy("good", "", PASS)]).expect("loads");
    assert_eq!(set.content(&session(), message()).await.expect("an answer").ruling, Ruling::Pass);
}

/// A policy that would fail on the plainest mail does not come into force, whatever it is asked.
#[test]
fn whoever_fails_in_rehearsal_is_named_with_the_question() {
    let (runtime, _) = runtime();
    let trap = "unreachable";
    for (question, source) in [
        ("receiver.greet", receiver("p", trap, PASS, PASS)),
        ("receiver.mail", receiver("p", PASS, trap, PASS)),
        ("receiver.recipient", receiver("p", PASS, PASS, trap)),
        ("content.inspect", policy("p", "", trap)),
        ("sender.route", sender("p", trap)),
        ("sender.admit", admitting("p", PASS, trap)),
    ] {
        let error = PolicySet::load(&runtime, vec![source]).expect("loads").rehearse().expect_err("it fails").to_string();
        assert!(error.contains("shown before they come into force") && error.contains(question), "{question}: {error}");
    }
    let good = vec![receiver("r", PASS, PASS, PASS), policy("c", "", PASS), sender("s", PASS)];
    let set = PolicySet::load(&runtime, good).expect("loads");
    set.rehearse().expect("nobody fails");
    assert!(set.policies().iter().all(|policy| policy.tally.asked() == 0), "nobody was counted");
}

#[tokio::test]
async fn a_case_that_does_not_exist_is_a_fault() {
    let fault = fault_of(policy("liar", "", "(i32.store8 (i32.const 0) (i32.const 9)) (i32.const 0)")).await;
    assert_eq!(fault.question, "content.inspect");
}

/// Invariant 6, unless the administrator said otherwise; a fault leaves nothing of the policy's effects.
#[tokio::test]
async fn on_error_decides_what_a_fault_becomes() {
    for (on_error, expected) in [
        (OnError::Defer, None),
        (OnError::Quarantine, Some("quarantine")),
        (OnError::Reject, Some("reject")),
        (OnError::Accept, Some("pass")),
    ] {
        let broken = policy("broken", "", &format!("{ADD_FIELD} {SET_TAG} unreachable"));
        let (set, _) = set(vec![PolicySource { on_error, ..broken }]);
        let answer = set.content(&session(), message()).await.ok();
        assert_eq!(answer.as_ref().map(|answer| answer.ruling.name()), expected);
        assert!(answer.is_none_or(|answer| answer.effects.edits.is_empty() && answer.effects.tags.is_empty()));
    }
}

/// A policy that fails again and again is not run any more, and what a fault becomes stays the same.
#[tokio::test]
async fn a_policy_that_keeps_failing_is_left_alone() {
    let (set, _) = set(vec![policy("broken", "", "unreachable")]);
    for n in 0..8 {
        let fault = set.content(&session(), message()).await.expect_err("a fault");
        assert_eq!(fault.detail.starts_with("not asked"), n >= 5, "{n}: {fault}");
    }
    assert!(set.route(crate::senders::facts()).await.is_ok(), "the others go on");
}

/// A fresh instance for each question: nothing of one message is there for the next.
#[tokio::test]
async fn memory_does_not_outlive_a_question() {
    let once = "(if (i32.load (i32.const 512)) (then unreachable)) (i32.store (i32.const 512) (i32.const 1)) i32.const 0";
    let (set, _) = set(vec![policy("memory", "", once)]);
    for _ in 0..3 {
        let answer = set.content(&session(), message()).await.expect("no trace of the message before");
        assert_eq!(answer.ruling, Ruling::Pass);
    }
}

#[test]
fn imports_that_are_not_granted_are_refused_by_name() {
    let (runtime, _) = runtime();
    for (import, word) in [
        ("wasi:http/outgoing-handler@0.2.0", "no network"),
        ("secmx:policy/store@0.1.0", "grant `store` is missing"),
        ("secmx:policy/dns@0.1.0", "grant `dns` is missing"),
        ("evil:thing/power@1.0.0", "only secmx:policy"),
    ] {
        let component = wat::parse_str(format!(r#"(component (import "{import}" (instance)))"#)).expect("valid text");
        match PolicySet::load(
            &runtime,
            vec![PolicySource { grant: Some(Grant::default()), ..PolicySource::new("greedy", component, "{}") }],
        ) {
            Err(error @ LoadError::Import { .. }) => {
                let text = error.to_string();
                assert!(text.contains("greedy") && text.contains(import) && text.contains(word), "{text}");
            }
            other => panic!("{import}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_policy_is_refused() {
    let (runtime, _) = runtime();
    let load = |source| PolicySet::load(&runtime, vec![source]).expect_err("refused");
    assert!(matches!(load(PolicySource::new("p", b"MZ".to_vec(), "{}")), LoadError::NotAComponent { .. }));
    let empty = || wat::parse_str("(component)").expect("valid text");
    assert!(matches!(load(PolicySource::new("p", empty(), "{}")), LoadError::NoInterface(_)));
    let role = PolicySource { duty: Duty::Role, ..policy("bes", "", PASS) };
    assert!(matches!(load(role), LoadError::NoRole { .. }));
    let accepting = PolicySource { on_error: OnError::Accept, ..PolicySource::builtin("sos", "{}").expect("shipped") };
    assert!(matches!(load(accepting), LoadError::AcceptsOnError(_)));
    let missing = r#"(component (import "secmx:policy/host@0.1.0" (instance (export "open-door" (func)))))"#;
    let newer = load(PolicySource::new("p", wat::parse_str(missing).expect("valid text"), "{}"));
    assert!(matches!(&newer, LoadError::Mismatch { detail, .. } if detail.contains("open-door")), "{newer}");
}
