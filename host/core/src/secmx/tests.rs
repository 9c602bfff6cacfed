//! Discovery, routes and runs, from tables and from random plans.

use super::delivery::{Fate, Next, Outcome, Run, Verdict};
use super::discovery::{self, Answer, AnswerKind, Discovery, Findings, Limits, MxRecord, Own, SrvRecord};
use super::exchanger::{Exchanger, ExchangerName, Source};
use super::route::{Candidate, Floors, Route};
use crate::channel::{Level, Requirement, Shortfall, TlsUse};
use crate::mail::{Domain, Mailbox};
use crate::report::{Cause, Failure, Reply};
use crate::role::SenderRole;
use crate::ruling::{Exhausted, Plan, Reason, Step};
use proptest::prelude::*;
use std::time::Duration;

fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("valid")
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> SrvRecord {
    SrvRecord { priority, weight, port, target: (target != ".").then(|| domain(target)) }
}

fn mx(preference: u16, exchange: &str) -> MxRecord {
    MxRecord { preference, exchange: (exchange != ".").then(|| domain(exchange)) }
}

/// A generator that is good enough to draw weights (splitmix64), seeded so that a failure can be repeated.
fn draws(mut seed: u64) -> impl FnMut(u32) -> u32 + Send {
    move |most| {
        seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed ^ (mixed >> 31)) % (u64::from(most) + 1)).expect("below a u32")
    }
}

fn find(srv: Answer<SrvRecord>, mx: Answer<MxRecord>, address: Answer<std::net::IpAddr>) -> Discovery {
    let own = Own { names: vec![domain("gw.own.test")] };
    let limits = Limits { ports: vec![25, 465, 2525], ..Limits::default() };
    discovery::discover(&domain("partner.test"), &Findings { srv, mx, address }, &own, &limits, &mut draws(7))
}

fn names(discovery: &Discovery) -> Vec<String> {
    discovery.exchangers.iter().map(|exchanger| format!("{}:{}", exchanger.name, exchanger.port)).collect()
}

#[test]
fn d_1_the_owner_name_is_built_from_a_labels() {
    assert_eq!(discovery::srv_owner(&domain("Bücher.example")), "_secmx._tcp.xn--bcher-kva.example");
    assert_eq!(discovery::literal([192, 0, 2, 1].into(), 25).exchangers.len(), 1, "a literal is not looked up");
}

#[test]
fn d_2_d_4_priorities_come_whole_and_ports_from_the_record() {
    let records = vec![
        srv(20, 0, 25, "c.test"),
        srv(10, 5, 465, "a.test"),
        srv(10, 5, 2525, "b.test"),
        srv(30, 0, 0, "zero.test"),
        srv(5, 0, 22, "ssh.test"),
    ];
    let found = find(Answer::Found(records), Answer::None, Answer::None);
    let mut level = names(&found)[..2].to_vec();
    level.sort();
    assert_eq!(level, ["a.test:465", "b.test:2525"]);
    assert_eq!(names(&found)[2..], ["c.test:25"]);
    assert_eq!(found.notes.len(), 2, "port 0 and a port that is not allowed: {:?}", found.notes);
    let implicit: Vec<bool> = found.exchangers.iter().map(Exchanger::implicit_tls).collect();
    assert_eq!(implicit.iter().filter(|implicit| **implicit).count(), 1, "decision 5: 465 and nothing else");
}

/// How often each record came first in 100,000 draws.
fn firsts(weights: &[u16]) -> Vec<f64> {
    let records: Vec<_> = weights.iter().enumerate().map(|(n, weight)| srv(1, *weight, 25, &format!("h{n}.test"))).collect();
    let mut counts = vec![0.0; weights.len()];
    let mut draw = draws(42);
    for _ in 0..100_000 {
        let findings = Findings { srv: Answer::Found(records.clone()), mx: Answer::None, address: Answer::None };
        let found = discovery::discover(&domain("p.test"), &findings, &Own::default(), &Limits::default(), &mut draw);
        let ExchangerName::Domain(first) = &found.exchangers[0].name else { panic!("a name") };
        let place: usize = first.as_str()[1..first.as_str().len() - 5].parse().expect("hN.test");
        counts[place] += 1.0;
    }
    counts
}

fn chi_square(seen: &[f64], expected: &[f64]) -> f64 {
    let all: f64 = expected.iter().sum();
    seen.iter().zip(expected).map(|(seen, share)| (seen - share / all * 1e5).powi(2) / (share / all * 1e5)).sum()
}

/// D-3: RFC 2782's draw is from 0 to the sum, inclusive, and zero weights stand first, so of weights w the record i comes first with
/// probability w_i/(sum+1), and the first zero weight with 1/(sum+1). 27.9 is the 10^-6 quantile of chi-square for 2 degrees of freedom.
#[test]
fn d_3_weights_are_shares_as_rfc_2782_draws_them() {
    assert!(chi_square(&firsts(&[1, 1, 8]), &[1.0 + 1.0, 1.0, 8.0]) < 27.9, "{:?}", firsts(&[1, 1, 8]));
    assert!(chi_square(&firsts(&[0, 1]), &[1.0, 1.0]) < 27.9, "a zero weight has a small chance, not none");
    let extreme = firsts(&[0, 0, 65_535]);
    assert!(extreme[2] > 99_980.0 && extreme[1] == 0.0, "{extreme:?}");
    assert_eq!(firsts(&[0, 0])[0], 100_000.0, "nothing to draw between zero weights: they keep the order of the answer");
    assert!(chi_square(&firsts(&[1, 1, 8]), &[1.0, 1.0, 1.0]) > 27.9, "the test can fail");
}

#[test]
fn d_5_a_single_dot_is_a_no_and_a_dot_among_others_is_nothing() {
    let denied = find(Answer::Found(vec![srv(0, 0, 0, ".")]), Answer::Found(vec![mx(10, "m.test")]), Answer::None);
    assert_eq!((denied.secmx, names(&denied)), (AnswerKind::Denied, vec!["m.test:25".to_owned()]));
    let mixed = find(Answer::Found(vec![srv(0, 0, 0, "."), srv(1, 0, 25, "s.test")]), Answer::None, Answer::None);
    assert_eq!((mixed.secmx, names(&mixed)), (AnswerKind::Found, vec!["s.test:25".to_owned()]));
    assert_eq!(find(Answer::None, Answer::Found(vec![mx(0, ".")]), Answer::None).mx, AnswerKind::Denied, "RFC 7505");
}

#[test]
fn d_8_we_and_all_that_is_not_more_preferred_are_left_out() {
    let records = vec![mx(10, "first.test"), mx(20, "gw.own.test"), mx(20, "peer.test"), mx(30, "last.test")];
    assert_eq!(names(&find(Answer::None, Answer::Found(records), Answer::None)), ["first.test:25"]);
    let alone = find(Answer::None, Answer::Found(vec![mx(10, "gw.own.test"), mx(20, "last.test")]), Answer::None);
    assert!(alone.exchangers.is_empty() && alone.loops_to_us);
    let hosts = vec![srv(1, 0, 25, "s.test"), srv(2, 0, 25, "gw.own.test"), srv(3, 0, 25, "t.test")];
    assert_eq!(names(&find(Answer::Found(hosts), Answer::None, Answer::None)), ["s.test:25"]);
}

#[test]
fn d_9_twenty_records_are_enough() {
    let many = (0..50).map(|n| srv(n, 0, 25, &format!("h{n}.test"))).collect();
    let found = find(Answer::Found(many), Answer::None, Answer::None);
    assert_eq!((found.exchangers.len(), found.notes.len()), (20, 1));
}

/// Invariant 5: the kinds of answers stay apart, and only "none" makes the domain its own exchanger.
#[test]
fn unknown_is_not_none() {
    let address = || Answer::Found(vec![[192, 0, 2, 1].into()]);
    assert_eq!(names(&find(Answer::None, Answer::None, address())), ["partner.test:25"]);
    for (answer, kind) in [(Answer::Unknown("SERVFAIL".into()), AnswerKind::Unknown), (Answer::Bogus("bad".into()), AnswerKind::Bogus)] {
        let found = find(Answer::None, answer, address());
        assert_eq!((found.mx, found.exchangers.len()), (kind, 0));
    }
    assert_eq!(find(Answer::Unknown("time-out".into()), Answer::None, Answer::None).secmx, AnswerKind::Unknown);
    assert_eq!(find(Answer::None, Answer::None, Answer::Unknown("time-out".into())).mx, AnswerKind::Unknown);
}

// ---- routes and runs --------------------------------------------------------------------------------------------------------------

fn host(source: Source, name: &str) -> Exchanger {
    Exchanger { name: ExchangerName::Domain(domain(name)), port: 25, source, preference: 0, dnssec_secure: false, expected: Level::Plain }
}

fn found(exchangers: Vec<Exchanger>) -> Discovery {
    Discovery { secmx: AnswerKind::Found, mx: AnswerKind::Found, exchangers, loops_to_us: false, notes: Vec::new() }
}

fn bounce() -> Exhausted {
    Exhausted::Bounce(Reason { code: "test.bounce".into(), text: "nothing better".into() })
}

fn plan(role: SenderRole, steps: &[(u32, Level)]) -> Plan {
    let steps = steps.iter().map(|(exchanger, at_least)| Step { exchanger: *exchanger, at_least: *at_least }).collect();
    Plan { role, steps, when_proved: bounce(), when_unknown: Exhausted::Defer }
}

const FREE: Floors = Floors { role: SenderRole::BestEffort, level: Requirement::NONE, plaintext: true };

fn to() -> Mailbox {
    Mailbox::parse(b"b@partner.test", false).expect("valid")
}

/// Runs `plan`, answering each candidate with what `peer` says, and gives what was tried and what came of it.
fn run(plan: &Plan, discovery: &Discovery, floors: Floors, mut peer: impl FnMut(&Candidate) -> Outcome) -> (Vec<Candidate>, Verdict) {
    let route = Route::new(plan, discovery, floors).expect("a good plan");
    let mut run = Run::new(route, plan.clone(), discovery, &[to()]);
    let mut tried = Vec::new();
    loop {
        match run.next(Duration::ZERO) {
            Next::Finished(verdict) => return (tried, verdict),
            Next::Try(candidate) => {
                tried.push(candidate);
                let outcome = peer(&candidate);
                run.record(&candidate, outcome);
            }
        }
    }
}

fn taken() -> Outcome {
    Outcome::Transacted { results: vec![(to(), Ok(Reply::new(250, None, "ok")))], transmitted: true }
}

fn fails(cause: Cause) -> Outcome {
    Outcome::Failed(cause.into())
}

fn uses(tried: &[Candidate]) -> Vec<(usize, TlsUse)> {
    tried.iter().map(|candidate| (candidate.exchanger, candidate.tls)).collect()
}

/// L1-3, L1-4: each TLS trouble, and nothing else, leads to one more connection, in the clear.
#[test]
fn l1_3_l1_4_best_effort_falls_back_on_tls_trouble_only() {
    let discovery = found(vec![host(Source::Mx, "m.test")]);
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Encrypted), (0, Level::Plain)]);
    let reply = || Reply::new(454, None, "no");
    for (cause, second) in [
        (Cause::TlsNotOffered, Some(TlsUse::Offered)),
        (Cause::TlsRefused(reply()), Some(TlsUse::Without)),
        (Cause::TlsFailed("alert".into()), Some(TlsUse::Without)),
        (Cause::Unreachable("refused".into()), None),
        (Cause::Unwelcome(reply()), None),
        (Cause::NeedsTls(reply()), None),
        (Cause::Broken("eof".into()), None),
    ] {
        let (tried, _) = run(&plan, &discovery, FREE, |candidate| match candidate.tls {
            TlsUse::Required => fails(cause.clone()),
            _ => taken(),
        });
        let expected: Vec<_> = [Some(TlsUse::Required), second].into_iter().flatten().map(|tls| (0, tls)).collect();
        assert_eq!(uses(&tried), expected, "{cause}");
    }
}

/// L1-4: once content went out nothing else is tried.
#[test]
fn l1_4_no_fallback_after_data() {
    let discovery = found(vec![host(Source::Mx, "m.test"), host(Source::Mx, "n.test")]);
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Plain), (1, Level::Plain)]);
    let lost: Failure = Cause::Broken("lost after the end of data".into()).into();
    let (tried, verdict) =
        run(&plan, &discovery, FREE, |_| Outcome::Transacted { results: vec![(to(), Err(lost.clone()))], transmitted: true });
    assert_eq!(tried.len(), 1);
    assert_eq!(verdict.recipients, [(to(), Fate::Deferred(lost))]);
}

/// Decision 8: "needs TLS" is about the host, never about the message.
#[test]
fn a_530_never_bounces_the_message() {
    let discovery = found(vec![host(Source::Mx, "m.test"), host(Source::Mx, "n.test")]);
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Plain), (1, Level::Plain)]);
    let needs: Failure = Cause::NeedsTls(Reply::new(530, None, "TLS")).into();
    let (tried, verdict) = run(&plan, &discovery, FREE, |candidate| match (candidate.exchanger, candidate.tls) {
        (0, TlsUse::Required) => fails(Cause::TlsFailed("alert".into())),
        (0, _) => Outcome::Transacted { results: vec![(to(), Err(needs.clone()))], transmitted: false },
        _ => fails(Cause::Unreachable("down".into())),
    });
    assert_eq!(tried.len(), 3);
    assert!(matches!(verdict.recipients[0].1, Fate::Deferred(_)), "{verdict:?}");
}

/// L2-3: with plaintext denied there is none, whatever the plan says.
#[test]
fn l2_3_plaintext_can_be_switched_off() {
    let discovery = found(vec![host(Source::Mx, "m.test")]);
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Plain)]);
    let floors = Floors { plaintext: false, ..FREE };
    let (tried, verdict) = run(&plan, &discovery, floors, |_| fails(Cause::TlsNotOffered));
    assert_eq!(uses(&tried), [(0, TlsUse::Required)]);
    assert!(matches!(&verdict.recipients[0].1, Fate::Returned(failure) if failure.cause == Cause::TlsNotOffered));
}

/// L2-5, decision 7: proof of absence bounces with 5.7.10 or 5.7.5, doubt waits.
#[test]
fn l2_5_proof_bounces_and_doubt_waits() {
    let shortfall = Shortfall { needed: Level::Host, reached: Level::Encrypted, doubt: None };
    let discovery = found(vec![host(Source::Mx, "m.test"), host(Source::Mx, "n.test")]);
    let plan = plan(SenderRole::SecureOnly, &[(0, Level::Host), (1, Level::Host)]);
    for (first, second, status) in [
        (Cause::TlsNotOffered, Cause::TlsNotOffered, Some("5.7.10")),
        (Cause::TlsNotOffered, Cause::BelowRequirement(shortfall), Some("5.7.5")),
        (Cause::TlsNotOffered, Cause::Unreachable("down".into()), None),
        (Cause::TlsFailed("alert".into()), Cause::TlsNotOffered, None),
        (Cause::TlsNotOffered, Cause::Unwelcome(Reply::new(421, None, "busy")), None),
    ] {
        let (_, verdict) =
            run(&plan, &discovery, FREE, |candidate| fails(if candidate.exchanger == 0 { first.clone() } else { second.clone() }));
        let returned = match &verdict.recipients[0].1 {
            Fate::Returned(failure) => Some(failure.cause.status(true).to_string()),
            _ => None,
        };
        assert_eq!(returned.as_deref(), status, "{first} / {second}");
        assert_eq!(verdict.evidence.len(), 2);
    }
}

/// S-3 and decision 6: a bogus answer is never used and never falls through.
#[test]
fn bogus_never_falls_through() {
    let discovery = Discovery { secmx: AnswerKind::Bogus, ..found(vec![host(Source::Mx, "m.test")]) };
    let (tried, verdict) = run(&plan(SenderRole::BestEffort, &[(0, Level::Plain)]), &discovery, FREE, |_| taken());
    assert!(tried.is_empty() && matches!(verdict.recipients[0].1, Fate::Deferred(_)));
}

#[test]
fn a_plan_about_nothing_is_a_fault() {
    assert!(Route::new(&plan(SenderRole::BestEffort, &[(1, Level::Plain)]), &found(vec![host(Source::Mx, "m.test")]), FREE).is_err());
}

/// Decision 3: five hosts, or sixty seconds, of TLS before plaintext is considered.
#[test]
fn tls_first_is_capped() {
    let discovery = found((0..8).map(|n| host(Source::Mx, &format!("m{n}.test"))).collect());
    let steps: Vec<_> = (0..8).map(|n| (n, Level::Plain)).collect();
    let plan = plan(SenderRole::BestEffort, &steps);
    let (tried, _) = run(&plan, &discovery, FREE, |_| fails(Cause::TlsNotOffered));
    assert_eq!(tried.iter().filter(|candidate| candidate.tls == TlsUse::Required).count(), 5);
    let route = Route::new(&plan, &discovery, FREE).expect("a good plan");
    let mut run = Run::new(route, plan, &discovery, &[to()]);
    let Next::Try(first) = run.next(Duration::ZERO) else { panic!("something to try") };
    run.record(&first, fails(Cause::TlsNotOffered));
    let Next::Try(second) = run.next(Duration::from_secs(61)) else { panic!("something to try") };
    assert_eq!((second.exchanger, second.tls), (first.exchanger, TlsUse::Offered));
}

fn any_source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![Source::SecmxSrv, Source::SmtpTlsSrv, Source::Mx, Source::AddressRecord, Source::Configured])
}

fn any_level() -> impl Strategy<Value = Level> {
    prop::sample::select(vec![Level::Plain, Level::Encrypted, Level::Host, Level::Domain])
}

fn any_failure() -> impl Strategy<Value = Cause> {
    prop::sample::select(vec![
        Cause::TlsNotOffered,
        Cause::TlsFailed("alert".into()),
        Cause::TlsRefused(Reply::new(454, None, "no")),
        Cause::Unreachable("down".into()),
        Cause::NeedsTls(Reply::new(530, None, "TLS")),
        Cause::Unwelcome(Reply::new(421, None, "busy")),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// L1-2, L2-2, L2-4, decision 2, invariant 2: whatever a plan says and peers do.
    #[test]
    fn l1_2_l2_2_no_plan_weakens_a_route(
        sources in prop::collection::vec(any_source(), 1..9),
        steps in prop::collection::vec((0_u32..9, any_level()), 0..14),
        (secure_only, floor, plaintext) in (any::<bool>(), any_level(), any::<bool>()),
        failures in prop::collection::vec(any_failure(), 30),
    ) {
        let hosts: Vec<_> = sources.iter().enumerate().map(|(n, source)| host(*source, &format!("h{n}.test"))).collect();
        let steps: Vec<_> = steps.into_iter().filter(|(index, _)| (*index as usize) < hosts.len()).collect();
        let role = if secure_only { SenderRole::SecureOnly } else { SenderRole::BestEffort };
        let discovery = found(hosts);
        let floors = Floors { role, level: Requirement::at_least(floor), plaintext };
        let mut failures = failures.into_iter().cycle();
        let (tried, _) = run(&plan(SenderRole::BestEffort, &steps), &discovery, floors, |_| fails(failures.next().expect("endless")));
        let clear = |candidate: &Candidate| candidate.requirement == Requirement::NONE;
        for (place, candidate) in tried.iter().enumerate() {
            prop_assert!(candidate.requirement >= floors.level, "the floor was lowered");
            if clear(candidate) {
                prop_assert!(tried[..place].iter().any(|before| before.exchanger == candidate.exchanger && !clear(before)), "L1-2");
                prop_assert!(tried[place..].iter().all(clear), "L2-2: a secure candidate was still untried");
                prop_assert!(!secure_only && plaintext, "plaintext where there must be none");
                let source = discovery.exchangers[candidate.exchanger].source;
                prop_assert!(!matches!(source, Source::SecmxSrv | Source::SmtpTlsSrv), "plaintext to an SRV host");
            } else {
                prop_assert!(matches!(candidate.tls, TlsUse::Required | TlsUse::Implicit));
            }
        }
    }
}
