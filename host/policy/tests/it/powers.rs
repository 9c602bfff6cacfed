//! `store` and `dns`, by grant: what a policy keeps outlives the call and the generation, and only the calls that succeeded count.

use crate::hostile::message;
use crate::receivers::session;
use crate::runtime;
use secmx_policy::manifest::Grant;
use secmx_policy::{Answering, Lookup, Named, NoAnswer, PolicySet, PolicySource, Resolver};
use std::sync::Arc;

/// Adds 1 to `n`; the ruling is `pass` while the sum is below 3, a trap from then on. `{then}` runs after the sum is known.
const COUNTER: &str = r#"(component
  (import "secmx:policy/types@0.1.0" (instance $types
    (type $r (record (field "code" string) (field "text" string)))
    (export "reason" (type $reason (eq $r)))
    (type $e (tuple u8 u16 u16))
    (type $p (record (field "code" u16) (field "enhanced" $e) (field "text" string)))
    (export "reply" (type $reply (eq $p)))
    (type $both (tuple $reply $reason))
    (type $v (variant (case "pass") (case "accept" $reason) (case "reject" $both) (case "defer" $both)
      (case "quarantine" $reason) (case "discard" $reason)))
    (export "ruling" (type (eq $v)))))
  (import "secmx:policy/session@0.1.0" (instance $sessions (export "session" (type (sub resource)))))
  (import "secmx:policy/message@0.1.0" (instance $messages (export "message" (type (sub resource)))))
  (import "secmx:policy/store@0.1.0" (instance $store
    (export "increment" (func (param "key" string) (param "by" s64) (param "ttl" (option u32)) (result (result s64 (error string)))))))
  (import "secmx:policy/dns@0.1.0" (instance $dns
    (type $g (variant (case "none") (case "unavailable") (case "bogus")))
    (export "failure" (type $failure (eq $g)))
    (type $a (record (field "values" (list string)) (field "secure" bool)))
    (export "answer" (type $answer (eq $a)))
    (export "query" (func (param "name" string) (param "kind" string) (result (result $answer (error $failure)))))))
  (alias export $types "ruling" (type $ruling))
  (alias export $sessions "session" (type $session))
  (alias export $messages "message" (type $message))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (core func $increment (canon lower (func $store "increment") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $query (canon lower (func $dns "query") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $code
    (import "env" "memory" (memory 1))
    (import "env" "increment" (func $increment (param i32 i32 i64 i32 i32 i32)))
    (import "env" "query" (func $query (param i32 i32 i32 i32 i32)))
    (data (i32.const 64) "n") (data (i32.const 80) "x.test") (data (i32.const 96) "TXT")
    (func (export "inspect") (param i32 i32) (result i32) {inspect} i32.const 0))
  (core instance $code (instantiate $code (with "env" (instance
    (export "memory" (memory $memory "memory")) (export "increment" (func $increment)) (export "query" (func $query))))))
  (func $inspect (param "session" (own $session)) (param "message" (own $message)) (result $ruling)
    (canon lift (core func $code "inspect") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $content (export "inspect" (func $inspect)))
  (export "secmx:policy/content@0.1.0" (instance $content)))"#;

/// Adds 1; traps when the sum that comes back is 3.
const COUNT_TO_TWO: &str = "(call $increment (i32.const 64) (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 0) (i32.const 256)) \
    (if (i64.eq (i64.load (i32.const 264)) (i64.const 3)) (then unreachable))";

/// Asks for TXT of x.test; traps when it is not found.
const ASK: &str = "(call $query (i32.const 80) (i32.const 6) (i32.const 96) (i32.const 3) (i32.const 256)) \
    (if (i32.load8_u (i32.const 256)) (then unreachable))";

fn source(inspect: &str, grant: Grant) -> PolicySource {
    let component = wat::parse_str(COUNTER.replace("{inspect}", inspect)).expect("valid text");
    PolicySource { grant: Some(grant), ..PolicySource::new("counter", component, "{}") }
}

fn all() -> Grant {
    Grant { store: Some(1 << 10), dns: vec!["TXT".into()], ..Grant::default() }
}

#[tokio::test]
async fn what_is_kept_outlives_generations_and_faults_leave_nothing() {
    let (runtime, _) = runtime();
    let load = || {
        let runtime = runtime.clone();
        tokio::task::spawn_blocking(move || PolicySet::load(&runtime, vec![source(COUNT_TO_TWO, all())]).expect("loads"))
    };
    for generation in ["first", "second"] {
        let set = load().await.expect("no panic");
        assert!(set.content(&session(), message()).await.is_ok(), "{generation}");
    }
    let set = load().await.expect("no panic");
    for _ in 0..2 {
        let fault = set.content(&session(), message()).await.expect_err("the third");
        assert!(fault.detail.contains("unreachable"), "a call that failed added nothing, so the sum is 3 again: {fault}");
    }
    assert!(String::from_utf8(runtime.book().to_json()).expect("JSON").contains("counter"));
}

#[derive(Debug)]
struct Played(Result<Lookup, NoAnswer>);

impl Resolver for Played {
    fn look_up<'a>(&'a self, name: &'a str, kind: &'a str) -> Answering<'a> {
        assert_eq!((name, kind), ("x.test", "TXT"));
        Box::pin(async move { self.0.clone() })
    }
}

#[tokio::test]
async fn dns_is_answered_through_the_gateway_and_by_kind() {
    let found = Ok(Lookup { values: vec!["v".into()], secure: true });
    let other = Grant { dns: vec!["A".into()], ..all() };
    for (answer, grant, word) in [
        (found.clone(), all(), None),
        (Err(NoAnswer::None), all(), Some("unreachable")),
        (found, other, Some("looking up TXT is not granted")),
        (Err(NoAnswer::NotGiven("the case is silent".into())), all(), Some("the case is silent")),
    ] {
        let named = Arc::new(Named { resolver: Some(Arc::new(Played(answer))), ..Named::default() });
        let (set, _) = crate::set(vec![PolicySource { named, ..source(ASK, grant) }]);
        match (set.content(&session(), message()).await, word) {
            (Ok(_), None) => {}
            (Err(fault), Some(word)) => assert!(fault.detail.contains(word), "{fault}"),
            (answer, word) => panic!("{answer:?}, expected {word:?}"),
        }
    }
}
