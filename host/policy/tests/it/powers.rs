//! `store` and `dns`, by grant: what a policy keeps outlives the call and the generation, and only the calls that succeeded count.

use crate::guests::{ASK, COUNT_TO_TWO, keeper};
use crate::hostile::message;
use crate::receivers::session;
use crate::runtime;
use secmx_policy::manifest::Grant;
use secmx_policy::{Answering, Lookup, Named, NoAnswer, PolicySet, PolicySource, Resolver};
use std::sync::Arc;

fn source(inspect: &str, grant: Grant) -> PolicySource {
    PolicySource { grant: Some(grant), ..keeper("counter", inspect) }
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
