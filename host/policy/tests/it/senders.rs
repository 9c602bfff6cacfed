//! BES and SOS: the plan for what discovery found (profile, decisions 1, 2, 4, 6, 7).

use crate::{runtime, set};
use secmx_core::channel::Level::{self, Domain, Encrypted, Host, Plain};
use secmx_core::mail::Mailbox;
use secmx_core::role::SenderRole;
use secmx_core::ruling::{Exhausted, Plan};
use secmx_policy::{Answer, DestinationFacts, ExchangerFacts, LoadError, PolicySet, PolicySource, Source};
use std::collections::BTreeMap;
use std::time::Duration;

fn host(name: &str, source: Source) -> ExchangerFacts {
    ExchangerFacts { name: name.into(), port: 25, source, preference: 10, dnssec_secure: false, expected: Encrypted }
}

/// Two SecMX hosts and two mail exchangers.
pub(crate) fn facts() -> DestinationFacts {
    DestinationFacts {
        domain: "health.test".into(),
        recipients: vec![Mailbox::parse(b"bo@health.test", false).expect("valid")],
        reverse_path: None,
        message_id: "01JD9W3K7Q8Z".into(),
        tags: BTreeMap::new(),
        role: SenderRole::BestEffort,
        waited: Duration::ZERO,
        attempts: 0,
        secmx: Answer::Found,
        mx: Answer::Found,
        sts_mode: "none".into(),
        exchangers: vec![host("s0", Source::SecmxSrv), host("s1", Source::SecmxSrv), host("m2", Source::Mx), host("m3", Source::Mx)],
        best_level: None,
    }
}

fn mx_only() -> DestinationFacts {
    DestinationFacts { secmx: Answer::None, exchangers: vec![host("m0", Source::Mx), host("m1", Source::Mx)], ..facts() }
}

fn nothing(secmx: Answer, mx: Answer) -> DestinationFacts {
    DestinationFacts { secmx, mx, exchangers: Vec::new(), ..facts() }
}

fn unknown_srv(attempts: u32, waited: u64) -> DestinationFacts {
    DestinationFacts { secmx: Answer::Unknown, attempts, waited: Duration::from_secs(waited), ..mx_only() }
}

fn sos(facts: DestinationFacts) -> DestinationFacts {
    DestinationFacts { role: SenderRole::SecureOnly, ..facts }
}

fn with(name: &str, settings: &str) -> PolicySet {
    set(vec![PolicySource::builtin(name, settings).expect("shipped")]).0
}

async fn plan(set: &PolicySet, facts: DestinationFacts) -> Plan {
    set.route(facts).await.expect("an answer").plan
}

fn steps(plan: &Plan) -> Vec<(u32, Level)> {
    plan.steps.iter().map(|step| (step.exchanger, step.at_least)).collect()
}

fn code(exhausted: &Exhausted) -> &str {
    match exhausted {
        Exhausted::Defer => "defer",
        Exhausted::Bounce(reason) => &reason.code,
    }
}

/// L2-2, decisions 1, 2 and 6.
#[tokio::test]
async fn bes_tries_the_secure_ways_first() {
    let (set, _) = set(Vec::new());
    let waited = |seconds, facts| DestinationFacts { waited: Duration::from_secs(seconds), ..facts };
    let secure = vec![(0, Encrypted), (1, Encrypted), (2, Encrypted), (3, Encrypted)];
    let then_plain = [secure.clone(), vec![(2, Plain), (3, Plain)]].concat();
    let mx = vec![(0, Encrypted), (1, Encrypted), (0, Plain), (1, Plain)];
    let mx_secure = vec![(0, Encrypted), (1, Encrypted)];
    for (case, facts, expected) in [
        ("decision 1: no plaintext within secure_wait", facts(), secure.clone()),
        ("decision 1: just before its end", waited(599, facts()), secure.clone()),
        ("decision 1 and 2: then plaintext, never to SecMX hosts", waited(600, facts()), then_plain),
        ("L2-2: without SRV all MX with TLS, then in plaintext", mx_only(), mx.clone()),
        ("D-5: SRV denied is as none", DestinationFacts { secmx: Answer::Denied, ..mx_only() }, mx),
        ("decision 6: unknown SRV waits", unknown_srv(0, 0), vec![]),
        ("decision 6: and once more", unknown_srv(1, 300), vec![]),
        ("decision 6: two attempts later MX, in TLS", unknown_srv(2, 300), mx_secure.clone()),
        ("decision 6: ten minutes later too", unknown_srv(1, 600), [mx_secure, vec![(0, Plain), (1, Plain)]].concat()),
        ("decision 6: bogus never falls through", DestinationFacts { secmx: Answer::Bogus, ..unknown_srv(9, 90_000) }, vec![]),
    ] {
        let plan = plan(&set, facts).await;
        assert_eq!(steps(&plan), expected, "{case}");
        assert_eq!((plan.role, code(&plan.when_proved), code(&plan.when_unknown)), (SenderRole::BestEffort, "defer", "defer"), "{case}");
    }
}

/// L2-3.
#[tokio::test]
async fn bes_without_plaintext_has_no_plain_step() {
    let set = with("bes", r#"{"plaintext": "deny"}"#);
    let configured = DestinationFacts { exchangers: vec![host("inside", Source::Configured)], ..nothing(Answer::None, Answer::None) };
    for facts in [mx_only(), DestinationFacts { waited: Duration::from_secs(90_000), ..facts() }, unknown_srv(9, 90_000), configured] {
        let plan = plan(&set, facts).await;
        assert!(!plan.steps.is_empty() && plan.steps.iter().all(|step| step.at_least == Encrypted), "{plan:?}");
    }
}

/// Decision 1: "0 = letter of the draft".
#[tokio::test]
async fn bes_by_the_letter_of_the_draft_does_not_wait() {
    let plan = plan(&with("bes", r#"{"secure_wait": 0}"#), facts()).await;
    assert_eq!(steps(&plan)[4..], [(2, Plain), (3, Plain)]);
}

#[tokio::test]
async fn bes_returns_only_what_provably_has_no_host() {
    let (set, _) = set(Vec::new());
    for (secmx, mx, proved) in [
        (Answer::None, Answer::Denied, "secmx.null-mx"),
        (Answer::Denied, Answer::None, "secmx.no-exchanger"),
        (Answer::None, Answer::Unknown, "defer"),
        (Answer::None, Answer::Bogus, "defer"),
        (Answer::Unknown, Answer::None, "defer"),
        (Answer::Bogus, Answer::Denied, "defer"),
    ] {
        for attempts in [0, 9] {
            let plan = plan(&set, DestinationFacts { attempts, ..nothing(secmx, mx) }).await;
            assert_eq!((code(&plan.when_proved), code(&plan.when_unknown)), (proved, "defer"), "{secmx:?} {mx:?}");
        }
    }
}

/// Decision 3: "TLS-first across the MX list is capped at 5 hosts".
#[tokio::test]
async fn bes_caps_the_secure_round_when_a_plain_one_follows() {
    let exchangers: Vec<_> = (0..7).map(|n| host(&format!("m{n}"), Source::Mx)).collect();
    let plan = plan(&set(Vec::new()).0, DestinationFacts { exchangers, ..mx_only() }).await;
    assert_eq!(plan.steps.iter().filter(|step| step.at_least == Encrypted).count(), 5);
    assert_eq!(plan.steps.iter().filter(|step| step.at_least == Plain).count(), 7);
}

#[tokio::test]
async fn a_configured_host_is_tried_as_it_is() {
    let facts = DestinationFacts { exchangers: vec![host("inside", Source::Configured)], ..nothing(Answer::None, Answer::None) };
    let (set, _) = set(Vec::new());
    assert_eq!(steps(&plan(&set, facts.clone()).await), [(0, Plain)]);
    assert_eq!(steps(&plan(&set, sos(facts)).await), [(0, Host)]);
}

/// L2-4, L2-5, decisions 4, 6 and 7.
#[tokio::test]
async fn sos_never_goes_below_its_floor_and_bounces_on_proof() {
    let (all, none, bounce) = (vec![(0, Host), (1, Host), (2, Host), (3, Host)], vec![], "secmx.no-secure-exchanger");
    let mx = vec![(0, Host), (1, Host)];
    let late = |facts| DestinationFacts { waited: Duration::from_secs(86_400), ..facts };
    let (set, _) = set(Vec::new());
    for (case, facts, expected, proved, unknown) in [
        ("decision 1: SecMX hosts, then MX with TLS", facts(), all.clone(), bounce, "defer"),
        ("decision 7: unknown until max_wait", late(facts()), all, bounce, bounce),
        ("L2-5: MX only", mx_only(), mx.clone(), bounce, "defer"),
        ("L2-5: no host at all", nothing(Answer::None, Answer::None), none.clone(), bounce, "defer"),
        ("decision 6: unknown SRV waits", unknown_srv(0, 0), none.clone(), "defer", "defer"),
        ("decision 6: then MX, and it is still no proof", unknown_srv(2, 300), mx, "defer", "defer"),
        ("unknown MX is no proof", nothing(Answer::None, Answer::Unknown), none.clone(), "defer", "defer"),
        ("bogus is no proof", nothing(Answer::Bogus, Answer::None), none.clone(), "defer", "defer"),
        ("and ends at max_wait", late(nothing(Answer::Bogus, Answer::None)), none, bounce, bounce),
    ] {
        let plan = plan(&set, sos(facts)).await;
        assert_eq!(steps(&plan), expected, "{case}");
        assert_eq!((plan.role, code(&plan.when_proved), code(&plan.when_unknown)), (SenderRole::SecureOnly, proved, unknown), "{case}");
    }
}

#[tokio::test]
async fn sos_settings_are_followed() {
    let only_srv = with("sos", r#"{"accept": "srv-only", "floor": "domain"}"#);
    assert_eq!(steps(&plan(&only_srv, sos(facts())).await), [(0, Domain), (1, Domain)]);
    assert_eq!(
        code(&plan(&only_srv, sos(DestinationFacts { mx: Answer::Unknown, ..facts() })).await.when_proved),
        "secmx.no-secure-exchanger"
    );
    let letter = with("sos", r#"{"floor": "encrypted", "max_wait": 0}"#);
    let plan = plan(&letter, sos(facts())).await;
    assert!(plan.steps.iter().all(|step| step.at_least == Encrypted));
    assert_eq!(code(&plan.when_unknown), "secmx.no-secure-exchanger");
}

#[test]
fn wrong_settings_keep_the_set_from_loading_and_say_why() {
    let (runtime, _) = runtime();
    for (settings, word) in [(r#"{"secure_wiat": 1}"#, "secure_wiat"), (r#"{"plaintext": "maybe"}"#, "maybe"), ("[]", "map"), ("{", "EOF")]
    {
        match PolicySet::load(&runtime, vec![PolicySource::builtin("bes", settings).expect("shipped")]) {
            Err(LoadError::Settings { policy, detail }) => assert!(policy == "bes" && detail.contains(word), "{detail}"),
            other => panic!("{settings}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn admit_leaves_the_last_word_to_the_requirement() {
    let (set, _) = set(Vec::new());
    let ruling = set.admit(facts(), 0, &secmx_core::channel::Channel::plain()).await.expect("an answer");
    assert_eq!(ruling, secmx_core::ruling::Ruling::Pass);
    assert!(set.admit(facts(), 99, &secmx_core::channel::Channel::plain()).await.is_err(), "an exchanger that was never listed");
}
