//! Discovery, routes and runs, from tables and from random plans.

use super::delivery::{Fate, Next, Outcome, Run, Verdict};
use super::discovery::{self, Answer, AnswerKind, Discovery, Findings, Limits, MxRecord, Own, SrvRecord};
use super::exchanger::{Evidence, Exchanger, ExchangerName, Hop, Source};
use super::route::{Candidate, Floors, Route};
use crate::channel::{Level, Requirement, Shortfall, TlsUse};
use crate::mail::{Domain, Mailbox};
use crate::report::{Cause, Failure, Reply};
use crate::role::SenderRole;
use crate::ruling::{Exhausted, Plan, Reason, Step};
use proptest::prelude::*;
use std::collections::BTreeSet;
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

fn findings(srv: Answer<SrvRecord>, mx: Answer<MxRecord>, address: Answer<std::net::IpAddr>) -> Findings {
    Findings { srv: srv.into(), smtp_tls: Answer::None.into(), mx: mx.into(), address: address.into() }
}

fn find(srv: Answer<SrvRecord>, mx: Answer<MxRecord>, address: Answer<std::net::IpAddr>) -> Discovery {
    let own = Own { names: vec![domain("gw.own.test")] };
    let limits = Limits { ports: vec![25, 465, 2525], ..Limits::default() };
    discovery::discover(&domain("partner.test"), &findings(srv, mx, address), &own, &limits, &mut draws(7))
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
        let findings = findings(Answer::Found(records.clone()), Answer::None, Answer::None);
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
    Exchanger {
        name: ExchangerName::Domain(domain(name)),
        port: 25,
        source,
        preference: 0,
        dnssec_secure: false,
        evidence: Evidence::default(),
    }
}

fn found(exchangers: Vec<Exchanger>) -> Discovery {
    let (secmx, mx) = (AnswerKind::Found, AnswerKind::Found);
    Discovery { secmx, mx, exchangers, published: Vec::new(), complete: true, loops_to_us: false, notes: Vec::new() }
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
    Outcome::Transacted { results: vec![(to(), Ok(Reply::new(250, None, "ok")))], transmitted: true, notifies: false }
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
    let (tried, verdict) = run(&plan, &discovery, FREE, |_| Outcome::Transacted {
        results: vec![(to(), Err(lost.clone()))],
        transmitted: true,
        notifies: false,
    });
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
        (0, _) => Outcome::Transacted { results: vec![(to(), Err(needs.clone()))], transmitted: false, notifies: false },
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

/// Decision 3: five hosts, or sixty seconds, of TLS before plaintext is considered; the others follow, each with TLS first (L1-2).
#[test]
fn tls_first_is_capped() {
    let discovery = found((0..7).map(|n| host(Source::Mx, &format!("m{n}.test"))).collect());
    let steps: Vec<_> = (0..7).map(|n| (n, Level::Plain)).collect();
    let plan = plan(SenderRole::BestEffort, &steps);
    let (tried, _) = run(&plan, &discovery, FREE, |_| fails(Cause::TlsNotOffered));
    let (tls, clear) = (TlsUse::Required, TlsUse::Offered);
    let mut expected: Vec<_> = (0..5).map(|n| (n, tls)).chain((0..5).map(|n| (n, clear))).collect();
    expected.extend([(5, tls), (5, clear), (6, tls), (6, clear)]);
    assert_eq!(uses(&tried), expected);
    let route = Route::new(&plan, &discovery, FREE).expect("a good plan");
    let mut run = Run::new(route, plan, &discovery, &[to()]);
    let Next::Try(first) = run.next(Duration::ZERO) else { panic!("something to try") };
    run.record(&first, fails(Cause::TlsNotOffered));
    let Next::Try(second) = run.next(Duration::from_secs(61)) else { panic!("something to try") };
    assert_eq!((second.exchanger, second.tls), (first.exchanger, TlsUse::Offered));
}

// ---- what a rule means at its edges -----------------------------------------------------------------------------------------------

/// D-3: a draw from 1 to the sum, under which a zero weight never comes first, is told apart from RFC 2782's.
#[test]
fn d_3_a_zero_weight_that_never_comes_first_is_noticed() {
    let (mut draw, mut naive) = (draws(42), [0.0; 2]);
    for _ in 0..100_000 {
        let (drawn, mut sum) = (1 + draw(0), 0);
        let first = [0_u32, 1].iter().position(|weight| {
            sum += weight;
            sum >= drawn
        });
        naive[first.expect("the sum is reached")] += 1.0;
    }
    assert!(chi_square(&naive, &[1.0, 1.0]) > 27.9, "{naive:?}");
}

/// RFC 5321, 5.1: hosts of one preference are drawn. 37.3 is the 10^-6 quantile of chi-square for 5 degrees of freedom, rounded up.
#[test]
fn equal_mx_preferences_are_shuffled() {
    let records = vec![mx(10, "a.test"), mx(10, "b.test"), mx(10, "c.test")];
    let mut counts = std::collections::BTreeMap::<Vec<String>, f64>::new();
    let mut draw = draws(11);
    for _ in 0..100_000 {
        let findings = findings(Answer::None, Answer::Found(records.clone()), Answer::None);
        let found = discovery::discover(&domain("p.test"), &findings, &Own::default(), &Limits::default(), &mut draw);
        *counts.entry(names(&found)).or_default() += 1.0;
    }
    let seen: Vec<f64> = counts.into_values().collect();
    assert_eq!(seen.len(), 6);
    assert!(chi_square(&seen, &[1.0; 6]) < 37.3, "{seen:?}");
}

/// D-8: the loop rule looks at every record, also at those that are not used for their port or their number.
#[test]
fn d_8_the_loop_rule_comes_before_every_other() {
    let hosts = vec![srv(1, 0, 25, "s.test"), srv(2, 0, 22, "gw.own.test"), srv(3, 0, 25, "t.test")];
    assert_eq!(names(&find(Answer::Found(hosts), Answer::None, Answer::None)), ["s.test:25"]);
    let mut many: Vec<_> = (0..19).map(|n| mx(n, &format!("m{n}.test"))).collect();
    many.extend([mx(50, "peer.test"), mx(50, "gw.own.test"), mx(50, "pier.test")]);
    assert_eq!(find(Answer::None, Answer::Found(many), Answer::None).exchangers.len(), 19, "whatever the draw among the last three");
}

/// D-8: "nothing left = none"; RFC 5321, 5.1: "the message MUST be returned as undeliverable".
#[test]
fn d_8_nothing_left_is_none() {
    let address = || Answer::Found(vec![[192, 0, 2, 1].into()]);
    let alone = find(Answer::None, Answer::Found(vec![mx(10, "gw.own.test"), mx(20, "last.test")]), address());
    assert_eq!((alone.mx, alone.loops_to_us, alone.exchangers.len()), (AnswerKind::None, true, 0));
    let (_, verdict) = run(&plan(SenderRole::BestEffort, &[]), &alone, FREE, |_| taken());
    assert_eq!(verdict.recipients, [(to(), Fate::Returned(Cause::LoopsToUs.into()))]);
}

/// D-8: a host whose address turns out to be ours takes with it what is not more preferred, and nothing of the other list.
#[test]
fn d_8_an_address_of_ours_ends_its_list() {
    let at = |source, preference, name| Exchanger { preference, ..host(source, name) };
    let hosts = vec![
        at(Source::SecmxSrv, 90, "s.test"),
        at(Source::Mx, 10, "m.test"),
        at(Source::Mx, 20, "ours.test"),
        at(Source::Mx, 20, "peer.test"),
        at(Source::Mx, 30, "n.test"),
    ];
    let steps: Vec<_> = [2, 0, 1, 3, 4].map(|n| (n, Level::Plain)).to_vec();
    let (tried, _) = run(&plan(SenderRole::BestEffort, &steps), &found(hosts), FREE, |candidate| {
        fails(if candidate.exchanger == 2 { Cause::LoopsToUs } else { Cause::Unreachable("down".into()) })
    });
    assert_eq!(tried.iter().map(|candidate| candidate.exchanger).collect::<Vec<_>>(), [2, 0, 1]);
}

#[test]
fn a_host_is_listed_once() {
    let hosts = vec![srv(1, 0, 25, "s.test"), srv(2, 0, 25, "s.test"), srv(3, 0, 465, "s.test")];
    let mxs = vec![mx(10, "m.test"), mx(20, "m.test"), mx(30, "s.test")];
    assert_eq!(names(&find(Answer::Found(hosts), Answer::Found(mxs), Answer::None)), ["s.test:25", "s.test:465", "m.test:25"]);
}

/// Decision 2: "Never plaintext to an SRV host", also where MX names it too, on this port or another, or SRV names one we do not dial.
#[test]
fn decision_2_an_srv_host_stays_one_when_mx_names_it_too() {
    for port in [25, 465, 22] {
        let discovery = find(Answer::Found(vec![srv(1, 0, port, "s.test")]), Answer::Found(vec![mx(10, "s.test")]), Answer::None);
        let steps: Vec<_> = (0_u32..).zip(&discovery.exchangers).map(|(n, _)| (n, Level::Plain)).collect();
        let (tried, _) = run(&plan(SenderRole::BestEffort, &steps), &discovery, FREE, |_| fails(Cause::TlsNotOffered));
        assert!(!tried.is_empty());
        assert!(tried.iter().all(|candidate| candidate.requirement >= Requirement::at_least(Level::Encrypted)), "port {port}: {tried:?}");
    }
}

/// Invariant 5, decision 1: a domain whose SecMX hosts we do not dial is published all the same; a record that cannot be one is not.
#[test]
fn d_4_a_port_that_is_not_allowed_is_not_none() {
    let kind = |port| find(Answer::Found(vec![srv(1, 0, port, "s.test")]), Answer::None, Answer::None).secmx;
    assert_eq!((kind(22), kind(0), kind(25)), (AnswerKind::Found, AnswerKind::None, AnswerKind::Found));
}

/// Decision 7, invariant 5: hosts that a limit of ours left out might offer TLS, so nothing is proved without them.
#[test]
fn decision_7_what_was_left_out_proves_nothing() {
    let every = |discovery: &Discovery| (0_u32..).zip(&discovery.exchangers).map(|(n, _)| (n, Level::Host)).collect::<Vec<_>>();
    let many = |count: u16| Answer::Found((0..count).map(|n| mx(n, &format!("m{n}.test"))).collect());
    let port = || Answer::Found(vec![srv(1, 0, 22, "s.test")]);
    for (srv, mx, returned, what) in [
        (Answer::None, many(10), true, "ten hosts, all tried"),
        (Answer::None, many(11), false, "the eleventh was not tried"),
        (Answer::None, many(21), false, "the twenty-first was not read"),
        (port(), many(2), false, "the SecMX host is on a port that is not dialled"),
    ] {
        let discovery = find(srv, mx, Answer::None);
        let plan = plan(SenderRole::SecureOnly, &every(&discovery));
        let (_, verdict) = run(&plan, &discovery, FREE, |_| fails(Cause::TlsNotOffered));
        assert_eq!(matches!(verdict.recipients[0].1, Fate::Returned(_)), returned, "{what}");
    }
}

/// Decision 3 caps what comes before plaintext, not who gets the mail.
#[test]
fn decision_3_the_sixth_host_gets_its_turn() {
    let discovery = found((0..8).map(|n| host(Source::Mx, &format!("m{n}.test"))).collect());
    let steps: Vec<_> = (0..8).map(|n| (n, Level::Plain)).collect();
    let (_, verdict) = run(&plan(SenderRole::BestEffort, &steps), &discovery, FREE, |candidate| match candidate.exchanger {
        7 => taken(),
        _ => fails(Cause::Unreachable("down".into())),
    });
    assert!(matches!(verdict.recipients[0].1, Fate::Delivered { .. }), "{verdict:?}");
}

/// Decision 3: after sixty seconds plaintext comes first, and no host is forgotten for it.
#[test]
fn decision_3_time_forgets_no_host() {
    let discovery = found((0..3).map(|n| host(Source::Mx, &format!("m{n}.test"))).collect());
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Plain), (1, Level::Plain), (2, Level::Plain)]);
    let route = Route::new(&plan, &discovery, FREE).expect("a good plan");
    let mut run = Run::new(route, plan, &discovery, &[to()]);
    let mut tried = Vec::new();
    for elapsed in [0, 61, 62, 63, 64, 65, 66] {
        let Next::Try(candidate) = run.next(Duration::from_secs(elapsed)) else { break };
        tried.push(candidate);
        run.record(&candidate, fails(Cause::TlsNotOffered));
    }
    let (tls, clear) = (TlsUse::Required, TlsUse::Offered);
    assert_eq!(uses(&tried), [(0, tls), (0, clear), (1, tls), (1, clear), (2, tls), (2, clear)]);
}

/// Decision 3 is about MX hosts: time that SecMX hosts took does not count, and none of them is passed over for plaintext (L2-2).
#[test]
fn decision_3_srv_hosts_are_outside_the_budget() {
    let discovery = found(vec![host(Source::Mx, "m.test"), host(Source::SecmxSrv, "s.test")]);
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Plain), (1, Level::Encrypted)]);
    let mut run = Run::new(Route::new(&plan, &discovery, FREE).expect("a good plan"), plan, &discovery, &[to()]);
    let mut tried = Vec::new();
    for elapsed in [0, 100, 200] {
        let Next::Try(candidate) = run.next(Duration::from_secs(elapsed)) else { break };
        tried.push(candidate);
        run.record(&candidate, fails(Cause::TlsNotOffered));
    }
    assert_eq!(uses(&tried), [(0, TlsUse::Required), (1, TlsUse::Required), (0, TlsUse::Offered)]);
}

/// L2-2 within the cap of decision 3: a host with a TLS attempt still to come gets no plaintext before it.
#[test]
fn l2_2_every_tls_attempt_with_a_host_comes_before_its_plaintext() {
    let discovery = found((0..5).map(|n| host(Source::Mx, &format!("m{n}.test"))).collect());
    let steps: Vec<_> = [Level::Host, Level::Plain].into_iter().flat_map(|level| (0..5).map(move |n| (n, level))).collect();
    let (tried, _) = run(&plan(SenderRole::BestEffort, &steps), &discovery, FREE, |_| fails(Cause::TlsFailed("alert".into())));
    for n in 0..5 {
        let of_host: Vec<_> = tried.iter().filter(|candidate| candidate.exchanger == n).map(|c| c.requirement.level()).collect();
        assert_eq!(of_host, [Level::Host, Level::Encrypted, Level::Plain]);
    }
}

/// A plan that asks for the best of every host before it asks for less of any gets that.
#[test]
fn a_less_strict_step_does_not_soften_an_earlier_one() {
    let discovery = found(vec![host(Source::Mx, "m.test"), host(Source::Mx, "n.test")]);
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Host), (1, Level::Host), (0, Level::Encrypted)]);
    let shortfall = Shortfall { needed: Level::Host, reached: Level::Encrypted, doubt: None };
    let (tried, _) = run(&plan, &discovery, FREE, |_| fails(Cause::BelowRequirement(shortfall.clone())));
    let asked: Vec<_> = tried.iter().map(|candidate| (candidate.exchanger, candidate.requirement.level())).collect();
    assert_eq!(asked, [(0, Level::Host), (1, Level::Host), (0, Level::Encrypted)]);
}

/// Decision 8: the last word of a host counts, so one that wants TLS now gets no plaintext for what it did before.
#[test]
fn the_last_word_of_a_host_counts() {
    let discovery = found(vec![host(Source::Mx, "m.test")]);
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Host), (0, Level::Plain)]);
    let (tried, _) = run(&plan, &discovery, FREE, |candidate| {
        fails(match candidate.requirement.level() {
            Level::Host => Cause::TlsFailed("alert".into()),
            _ => Cause::NeedsTls(Reply::new(530, None, "TLS")),
        })
    });
    assert_eq!(tried.len(), 2);
    assert!(tried.iter().all(|candidate| candidate.tls == TlsUse::Required), "{tried:?}");
}

/// Every recipient has one fate, whatever a session reports.
#[test]
fn nobody_is_settled_twice() {
    let discovery = found(vec![host(Source::Mx, "m.test")]);
    let stranger = Mailbox::parse(b"x@partner.test", false).expect("valid");
    let ok = || Ok(Reply::new(250, None, "ok"));
    let results = vec![(to(), ok()), (to(), ok()), (stranger, ok())];
    let (_, verdict) = run(&plan(SenderRole::BestEffort, &[(0, Level::Plain)]), &discovery, FREE, |_| Outcome::Transacted {
        results: results.clone(),
        transmitted: true,
        notifies: false,
    });
    assert_eq!(verdict.recipients.len(), 1);
}

/// A recipient that was refused for now while another was taken waits; it is not offered to a second host in this run.
#[test]
fn recipients_part_within_a_transaction() {
    let discovery = found(vec![host(Source::Mx, "m.test"), host(Source::Mx, "n.test")]);
    let plan = plan(SenderRole::BestEffort, &[(0, Level::Plain), (1, Level::Plain)]);
    let other = Mailbox::parse(b"c@partner.test", false).expect("valid");
    let later: Failure = Cause::Deferred(Reply::new(450, None, "later")).into();
    let mut run = Run::new(Route::new(&plan, &discovery, FREE).expect("a good plan"), plan, &discovery, &[to(), other.clone()]);
    let Next::Try(first) = run.next(Duration::ZERO) else { panic!("something to try") };
    let results = vec![(to(), Ok(Reply::new(250, None, "ok"))), (other.clone(), Err(later.clone()))];
    run.record(&first, Outcome::Transacted { results, transmitted: true, notifies: false });
    let Next::Finished(verdict) = run.next(Duration::ZERO) else { panic!("nothing is left to try") };
    assert_eq!(verdict.recipients[1], (other, Fate::Deferred(later)));
}

/// "The domain has no host" is not said of a domain that has some.
#[test]
fn hosts_that_may_not_be_used_are_not_no_hosts() {
    let discovery = found(vec![host(Source::Mx, "m.test")]);
    let (_, verdict) = run(&plan(SenderRole::BestEffort, &[]), &discovery, FREE, |_| taken());
    assert!(matches!(&verdict.recipients[0].1, Fate::Returned(failure) if matches!(failure.cause, Cause::NoSecureExchanger(_))));
}

#[test]
fn a_configured_hop_has_a_port() {
    assert_eq!(names(&discovery::configured("relay.test:587").expect("valid")), ["relay.test:587"]);
    let secure = discovery::configured("smtps://relay.test:465").expect("valid");
    assert!(secure.exchangers[0].implicit_tls() && !secure.exchangers[0].is_lmtp());
    assert!(discovery::configured("lmtp://[::1]:24").expect("valid").exchangers[0].is_lmtp());
    for bad in ["relay.test:0", "192.0.2.1:0", "relay.test", "relay.test:x", "http://relay.test:80"] {
        assert_eq!(discovery::configured(bad), None, "{bad}");
    }
}

fn any_source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![
        Source::SecmxSrv,
        Source::SmtpTlsSrv,
        Source::Mx,
        Source::AddressRecord,
        Source::Configured(Hop::Smtp),
        Source::Configured(Hop::Smtps),
    ])
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
        Cause::LoopsToUs,
    ])
}

/// What of a trace breaks L1-2, L2-2, L2-4, decision 2 or invariant 2, if anything does. `route` is what the trace was run from.
fn breach(tried: &[Candidate], route: &Route, discovery: &Discovery, floors: Floors) -> Option<&'static str> {
    let clear = |candidate: &&Candidate| matches!(candidate.tls, TlsUse::Offered | TlsUse::Without);
    tried.iter().enumerate().find_map(|(place, candidate)| {
        let (before, rest) = tried.split_at(place);
        if candidate.requirement < floors.level {
            return Some("the floor was lowered");
        }
        if !clear(&candidate) {
            return (candidate.requirement < Requirement::at_least(Level::Encrypted)).then_some("TLS that need not be");
        }
        let secure_later: Vec<_> = rest.iter().filter(|later| !clear(later)).map(|later| later.exchanger).collect();
        let capped: BTreeSet<_> = before.iter().filter(|b| !clear(b)).map(|b| b.exchanger).filter(|b| route.plain.contains(b)).collect();
        let within_cap = capped.len() >= 5 && secure_later.iter().all(|later| route.plain.contains(later));
        if !before.iter().any(|earlier| earlier.exchanger == candidate.exchanger && !clear(&earlier)) {
            Some("L1-2: no TLS attempt came before")
        } else if secure_later.contains(&candidate.exchanger) || !(secure_later.is_empty() || within_cap) {
            Some("L2-2: a secure candidate was still untried")
        } else if floors.role == SenderRole::SecureOnly || !floors.plaintext {
            Some("L2-4, L2-3: plaintext where there must be none")
        } else {
            discovery.exchangers[candidate.exchanger].is_srv().then_some("decision 2: plaintext to an SRV host")
        }
    })
}

/// The property test below can fail: each breach is seen when it is made.
#[test]
fn breaches_are_seen() {
    let discovery = found(vec![host(Source::Mx, "m.test"), host(Source::SecmxSrv, "s.test")]);
    let route = Route { plain: vec![0], ..Route::default() };
    let with = |exchanger, tls, level| Candidate { exchanger, tls, requirement: Requirement::at_least(level) };
    let (tls, clear) = (with(0, TlsUse::Required, Level::Encrypted), with(0, TlsUse::Without, Level::Plain));
    let srv = with(1, TlsUse::Required, Level::Encrypted);
    let strict = Floors { role: SenderRole::SecureOnly, ..FREE };
    let high = Floors { level: Requirement::at_least(Level::Host), ..FREE };
    let seen = |tried: &[Candidate], floors| breach(tried, &route, &discovery, floors).unwrap_or("nothing").to_owned();
    assert_eq!(seen(&[srv, tls, clear], FREE), "nothing");
    assert!(seen(&[clear, tls], FREE).starts_with("L1-2"));
    assert!(seen(&[tls, clear, srv], FREE).starts_with("L2-2"));
    assert!(seen(&[tls, clear], strict).starts_with("L2-4"));
    assert!(seen(&[srv, with(1, TlsUse::Without, Level::Plain)], FREE).starts_with("decision 2"));
    assert!(seen(&[tls], high).starts_with("the floor"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// L1-2, L2-2, L2-4, decision 2, invariant 2: whatever a plan says and peers do.
    #[test]
    fn l1_2_l2_2_no_plan_weakens_a_route(
        sources in prop::collection::vec(any_source(), 1..14),
        steps in prop::collection::vec((0_u32..14, any_level()), 0..30),
        (secure_only, floor, plaintext) in (any::<bool>(), any_level(), any::<bool>()),
        failures in prop::collection::vec(any_failure(), 30),
    ) {
        let hosts: Vec<_> = sources.iter().enumerate().map(|(n, source)| host(*source, &format!("h{n}.test"))).collect();
        let steps: Vec<_> = steps.into_iter().filter(|(index, _)| (*index as usize) < hosts.len()).collect();
        let role = if secure_only { SenderRole::SecureOnly } else { SenderRole::BestEffort };
        let discovery = found(hosts);
        let floors = Floors { role, level: Requirement::at_least(floor), plaintext };
        let (plan, mut failures) = (plan(SenderRole::BestEffort, &steps), failures.into_iter().cycle());
        let (tried, verdict) = run(&plan, &discovery, floors, |_| fails(failures.next().expect("endless")));
        let route = Route::new(&plan, &discovery, floors).expect("a good plan");
        prop_assert_eq!(breach(&tried, &route, &discovery, floors), None, "{:?}", tried);
        prop_assert_eq!(verdict.recipients.len(), 1);
        let twice = |candidate: &Candidate| tried.iter().filter(|other| *other == candidate).count() > 1;
        prop_assert!(!tried.iter().any(twice), "the same connection twice: {:?}", tried);
    }
}
