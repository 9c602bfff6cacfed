//! BER and SOR, and what the shipped components are made of.

use crate::{runtime, set};
use secmx_core::channel::Channel;
use secmx_core::role::ReceiverRole;
use secmx_core::ruling::{ClientCertificate, Ruling};
use secmx_policy::{BUILTINS, PolicySet, SessionFacts};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) fn session() -> SessionFacts {
    SessionFacts {
        id: "S1".into(),
        listener: "mx".into(),
        client_address: "192.0.2.7".parse().expect("valid"),
        client_name: None,
        hello: Some("relay.test".into()),
        channel: Channel::plain(),
        authenticated_as: None,
        authentication_results: BTreeMap::new(),
        tags: BTreeMap::new(),
    }
}

/// L1-7: with nothing configured the four roles are there, and each has the interface it needs.
#[test]
fn the_shipped_policies_load_and_import_no_wasi() {
    let (set, _) = set(Vec::new());
    assert_eq!(
        set.policies().iter().map(|policy| (policy.name.as_str(), policy.interfaces.clone())).collect::<Vec<_>>(),
        [("ber", vec!["receiver"]), ("bes", vec!["setup", "sender"]), ("sor", vec!["receiver"]), ("sos", vec!["setup", "sender"]),]
    );
    for (name, component) in BUILTINS {
        assert!(!component.windows(5).any(|word| word == b"wasi:"), "{name} imports WASI");
    }
}

/// L2-7: no role demands or even asks for a client certificate.
#[tokio::test]
async fn receiver_roles_set_the_role_and_no_more() {
    let (set, log) = set(Vec::new());
    for (policy, role) in [("ber", ReceiverRole::BestEffort), ("sor", ReceiverRole::SecureOnly)] {
        let greeting = set.greet(policy, &session()).await.expect("an answer");
        assert_eq!(greeting.terms.role, role);
        assert_eq!(greeting.terms.client_certificate, ClientCertificate::Ignore);
        assert_eq!(greeting.ruling, Ruling::Pass);
    }
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("\"policy\":\"sor\"") && line.contains("receiver.greet")), "{lines:?}");
}

#[tokio::test]
async fn a_role_that_is_not_there_is_a_fault_and_no_default() {
    let (set, _) = set(Vec::new());
    assert!(set.greet("nothing", &session()).await.is_err());
}

/// Printed, not asserted: machines differ. `cargo test -p secmx-policy -- --ignored --nocapture cost`
#[tokio::test]
#[ignore = "prints a measurement"]
async fn cost_of_a_fresh_instance() {
    let (runtime, _) = runtime();
    let set = PolicySet::load(&runtime, Vec::new()).expect("loads");
    println!("four policies compiled and checked in {:?}", set.load_time());
    let again = PolicySet::load(&runtime, Vec::new()).expect("loads");
    println!("and again in {:?}", again.load_time());
    let facts = session();
    let (rounds, started) = (20_000_u32, std::time::Instant::now());
    for _ in 0..rounds {
        set.greet("ber", &facts).await.expect("an answer");
    }
    println!("greet: {:?} each", started.elapsed() / rounds);
    let facts = crate::senders::facts();
    let started = std::time::Instant::now();
    for _ in 0..rounds {
        set.route(facts.clone()).await.expect("an answer");
    }
    println!("route: {:?} each", started.elapsed() / rounds);
    assert!(started.elapsed() > Duration::ZERO);
}
