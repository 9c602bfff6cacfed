//! Policies in a row: order, what ends a chain, what adds up.

use crate::guests::{ACCEPT, ADD_FIELD, FOREVER, PASS, QUARANTINE, SET_TAG, policy, sender};
use crate::hostile::message;
use crate::receivers::session;
use crate::senders::facts;
use crate::{runtime, set};
use bytes::Bytes;
use secmx_core::channel::Level;
use secmx_core::report::Event;
use secmx_core::role::SenderRole;
use secmx_core::ruling::{Edit, Plan, Ruling, Step};
use secmx_policy::{
    DestinationFacts, Editor, Limits, Minutes, Mode, Named, PolicySet, PolicySource, Runtime, RuntimeLimits, ShadowDifference,
};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SECURE_ONLY: &str = "(call $set-role (local.get $destination) (i32.const 1))";
const BEST_EFFORT: &str = "(call $set-role (local.get $destination) (i32.const 0))";
const ATTEMPT_2_PLAIN: &str = "(call $attempt (local.get $destination) (i32.const 2) (i32.const 0))";

#[tokio::test]
async fn pass_asks_the_next_and_effects_add_up() {
    let (set, _) =
        set(vec![policy("first", "", &format!("{ADD_FIELD} {PASS}")), policy("second", "", &format!("{SET_TAG} {ADD_FIELD} {PASS}"))]);
    let answer = set.content(&session(), message()).await.expect("an answer");
    assert_eq!(answer.ruling, Ruling::Pass);
    let edit = Edit::AddField { name: "X-Policy".into(), value: "one".into() };
    assert_eq!(answer.effects.edits, [edit.clone(), edit]);
    assert_eq!(answer.effects.tags.get("one").map(String::as_str), Some("policy.word"));
}

#[tokio::test]
async fn a_terminal_ruling_ends_the_chain() {
    let (set, log) = set(vec![policy("first", "", QUARANTINE), policy("second", "", "unreachable")]);
    let answer = set.content(&session(), message()).await.expect("the second is not asked");
    assert_eq!(answer.ruling.reason().map(|reason| reason.code.as_str()), Some("policy.word"));
    assert!(!log.lines().iter().any(|line| line.contains("second")));
}

/// A shadow is asked and told about, and nothing of what it does reaches the message.
#[tokio::test]
async fn a_shadow_has_no_say() {
    let shadow = PolicySource { mode: Mode::Shadow, ..policy("next", "", &format!("{ADD_FIELD} {SET_TAG} {QUARANTINE}")) };
    let same = PolicySource { mode: Mode::Shadow, ..policy("same", "", PASS) };
    let (set, log) = set(vec![policy("live", "", PASS), shadow, same]);
    let inspection = set.content(&session(), message()).await.expect("an answer");
    assert_eq!((inspection.ruling, inspection.effects.edits.len(), inspection.effects.tags.len()), (Ruling::Pass, 0, 0));
    let told = |policy: &str, event: &str| log.lines().into_iter().find(|line| line.contains(policy) && line.contains(event));
    let patience = Instant::now() + Duration::from_secs(20);
    while told("\"same\"", "policy.ruled").is_none() {
        assert!(Instant::now() < patience, "{:?}", log.lines());
        tokio::task::yield_now().await;
    }
    let differs = told("\"next\"", "policy.shadow-differs").expect("it differed");
    assert!(differs.contains(r#""enforced":"pass","shadow":"quarantine","code":"policy.word""#), "{differs}");
    assert!(told("\"next\"", "policy.ruled").is_some_and(|line| line.contains(r#""shadow":true"#)));
    assert!(told("\"same\"", "policy.shadow-differs").is_none());
}

/// Page 3, B: "off the latency path". Nobody without a say is asked before the caller has answered, and answers are given while one of them
/// loops without end.
#[tokio::test]
async fn an_endless_shadow_keeps_no_answer() {
    let limits = Limits { time: Duration::from_secs(60), wall: Duration::from_secs(60), ..Limits::default() };
    let named = Arc::new(Named::default());
    let shadow = |source| PolicySource { mode: Mode::Shadow, limits: limits.clone(), named: Arc::clone(&named), ..source };
    let (runtime, _) = runtime();
    let sources = vec![policy("live", "", PASS), shadow(policy("quick", "", QUARANTINE)), shadow(policy("endless", "", FOREVER))];
    let set = PolicySet::load(&runtime, sources).expect("loads");
    let asked = |name: &str| runtime.shadows().get(name).map_or(0, |tally| tally.asked);
    let mut minutes = Minutes::default();
    let (answer, following) = set.hearing(&mut minutes).content(&session(), message()).await;
    assert_eq!(answer.expect("an answer").ruling, Ruling::Pass);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(asked("quick"), 0, "the answer was not given yet");
    following.begin();
    let patience = Instant::now() + Duration::from_secs(20);
    while asked("quick") < 1 {
        assert!(Instant::now() < patience, "{:?}", runtime.shadows());
        tokio::task::yield_now().await;
    }
    let (answer, following) = set.hearing(&mut minutes).content(&session(), message()).await;
    assert_eq!(answer.expect("an answer").ruling, Ruling::Pass);
    assert_eq!(asked("endless"), 0, "it still loops");
    drop((set, following));
    while Arc::strong_count(&named) > 1 {
        assert!(Instant::now() < patience, "it does not end with its generation");
        tokio::task::yield_now().await;
    }
}

/// A guest that loops stands in the way of nobody who looks at sockets.
#[tokio::test]
async fn shadows_are_asked_on_threads_of_their_own() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (here, told) = (thread::current().id(), Arc::clone(&seen));
    let observer = move |event: &Event<'_>| {
        if let Event::PolicyRuled(moment) = event {
            told.lock().expect("not poisoned").push((moment.shadow, thread::current().id() == here));
        }
    };
    let runtime =
        Runtime::new(RuntimeLimits { concurrent_questions: 4, ..RuntimeLimits::default() }, Arc::new(observer)).expect("an engine");
    let shadow = PolicySource { mode: Mode::Shadow, ..policy("next", "", PASS) };
    let set = PolicySet::load(&runtime, vec![policy("live", "", PASS), shadow]).expect("loads");
    assert!(set.content(&session(), message()).await.is_ok());
    let patience = Instant::now() + Duration::from_secs(20);
    while runtime.shadows().is_empty() {
        assert!(Instant::now() < patience, "{seen:?}");
        tokio::task::yield_now().await;
    }
    assert_eq!(*seen.lock().expect("not poisoned"), [(false, true), (true, false)]);
}

/// Puts a field before the message.
#[derive(Debug)]
struct Prefix;

impl Editor for Prefix {
    fn edited(&self, edits: &[Edit], message: &Bytes) -> Bytes {
        [&b"X: y\r\n"[..].repeat(edits.len()), &message[..]].concat().into()
    }
}

/// What a shadow would have changed, the next shadow sees; the policies in force and the message itself do not.
#[tokio::test]
async fn shadows_carry_their_own_edits_forward() {
    let named = Arc::new(Named { editor: Some(Arc::new(Prefix)), ..Named::default() });
    let shadow = |source| PolicySource { mode: Mode::Shadow, named: Arc::clone(&named), ..source };
    let size = message().octets.len();
    let larger =
        format!("(if (result i32) (i64.gt_u (call $octets (local.get $message)) (i64.const {size})) (then {QUARANTINE}) (else {PASS}))");
    let edits = format!("{ADD_FIELD} {PASS}");
    let (runtime, _) = runtime();
    let sources = vec![
        policy("live", "", &larger),
        shadow(policy("before", "", &larger)),
        shadow(policy("editor", "", &edits)),
        shadow(policy("behind", "", &larger)),
    ];
    let set = PolicySet::load(&runtime, sources).expect("loads");
    assert_eq!(set.content(&session(), message()).await.expect("an answer").ruling, Ruling::Pass);
    let patience = Instant::now() + Duration::from_secs(20);
    while runtime.shadows().len() < 3 {
        assert!(Instant::now() < patience, "{:?}", runtime.shadows());
        tokio::task::yield_now().await;
    }
    let tallies = runtime.shadows();
    assert_eq!((tallies["before"].asked, tallies["before"].differences.len()), (1, 0));
    assert_eq!(tallies["behind"].differences.get(&("pass", "quarantine")), Some(&1));
    let last = ShadowDifference { subject: message().id, enforced: "pass", shadow: "quarantine", code: Some("policy.word".into()) };
    assert_eq!(tallies["behind"].last.back(), Some(&last));
}

/// What was said is in the minutes, in order, a fault among it.
#[tokio::test]
async fn the_minutes_name_who_was_asked_and_what_it_cost() {
    let counts = format!("(drop (call $octets (local.get $message))) {PASS}");
    let (set, _) = set(vec![policy("first", "", &counts), policy("second", "", "unreachable"), policy("third", "", PASS)]);
    let mut minutes = Minutes::default();
    assert!(set.hearing(&mut minutes).content(&session(), message()).await.0.is_err());
    let said: Vec<_> = minutes.said().iter().map(|said| (said.policy(), said.ruling, said.fault.is_some())).collect();
    assert_eq!(said, [("first", "pass", false), ("second", "defer", true)]);
    assert_eq!((minutes.said()[0].cost.calls.as_slice(), minutes.said()[0].sha256().len()), (&[("message.octets", 1)][..], 64));
    assert_eq!(minutes.said()[1].reason.as_ref().map(|reason| reason.code.as_str()), Some("policy.fault"));
}

/// A fault in a chain is a fault of the question: what came before it does not count either.
#[tokio::test]
async fn a_fault_anywhere_defers_the_message() {
    let (set, _) = set(vec![policy("first", "", PASS), policy("second", "", "unreachable")]);
    assert_eq!(set.content(&session(), message()).await.expect_err("a fault").policy, "second");
}

/// Invariant 2: a policy raises the role, and the policy of that role plans; its own steps do not count when it passes.
#[tokio::test]
async fn a_policy_before_the_role_can_raise_it() {
    let (set, _) =
        set(vec![sender("raise", &format!("{SECURE_ONLY} {ATTEMPT_2_PLAIN} {PASS}")), sender("later", &format!("{BEST_EFFORT} {PASS}"))]);
    let routing = set.route(facts()).await.expect("an answer");
    assert_eq!((routing.plan.role, routing.ruling), (SenderRole::SecureOnly, Ruling::Pass));
    assert_eq!(routing.plan.steps.iter().map(|step| step.at_least).collect::<Vec<_>>(), [Level::Host; 4]);
}

/// Invariant 2, L2-4: it never lowers it, not even with a plan of its own.
#[tokio::test]
async fn no_policy_lowers_the_role() {
    let (set, _) = set(vec![sender("lower", &format!("{BEST_EFFORT} {ATTEMPT_2_PLAIN} {ACCEPT}"))]);
    let routing = set.route(DestinationFacts { role: SenderRole::SecureOnly, ..facts() }).await.expect("an answer");
    let step = |at_least| Step { exchanger: 2, at_least };
    assert_eq!((routing.plan.role, routing.plan.steps), (SenderRole::SecureOnly, vec![step(Level::Encrypted)]));
    let routing = set.route(facts()).await.expect("an answer");
    assert_eq!(routing.plan.steps, [step(Level::Plain)], "an accepted plan stands in for that of the role");
}

#[tokio::test]
async fn a_ruling_against_sending_leaves_a_plan_that_waits() {
    let (set, _) = set(vec![sender("keep", &format!("{ATTEMPT_2_PLAIN} {QUARANTINE}"))]);
    let routing = set.route(facts()).await.expect("an answer");
    assert_eq!((routing.ruling.name(), routing.plan), ("quarantine", Plan::waiting(SenderRole::BestEffort)));
}

#[tokio::test]
async fn a_step_to_a_host_that_was_not_listed_is_a_fault() {
    let (set, _) = set(vec![sender("astray", &format!("(call $attempt (local.get $destination) (i32.const 4) (i32.const 3)) {PASS}"))]);
    assert!(set.route(facts()).await.expect_err("a fault").detail.contains("no exchanger 4"));
}

/// Questions are asked from tasks of a runtime with many threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_run_side_by_side() {
    let set = Arc::new(set(vec![policy("tag", "", &format!("{SET_TAG} {PASS}"))]).0);
    let asking: Vec<_> = (0..64)
        .map(|_| {
            let set = set.clone();
            tokio::spawn(async move { set.content(&session(), message()).await.is_ok() && set.route(facts()).await.is_ok() })
        })
        .collect();
    for task in asking {
        assert!(task.await.expect("no panic"), "more questions than instances wait for their turn");
    }
}
