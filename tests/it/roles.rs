//! `host/docs/roles.md` is true: every row of its tables is run against the real code.
//!
//! A sending row goes through discovery, the shipped policy as a Wasm component, the host's floors and invariants, and the run of attempts;
//! only the network is played. A receiving row goes through the session.

use secmx_core::channel::{Channel, Level, Requirement, Tls, TlsUse, TlsVersion};
use secmx_core::mail::{Domain, MailDomain, Mailbox};
use secmx_core::report::{Cause, Failure, Reply};
use secmx_core::role::{ReceiverRole, SenderRole};
use secmx_core::ruling::{Question, Ruling, Terms};
use secmx_core::secmx::delivery::{Fate, Next, Outcome, Run};
use secmx_core::secmx::discovery::{self, Answer, AnswerKind, Discovery, Findings, Limits, MxRecord, Own, SrvRecord};
use secmx_core::secmx::exchanger::Source;
use secmx_core::secmx::route::{Candidate, Floors, Route};
use secmx_core::smtp::server::{self, Client, Effect, Input, ServerConfig, ServerSession};
use secmx_policy::{DestinationFacts, ExchangerFacts, PolicySet, PolicySource, Runtime, RuntimeLimits};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The cells of every row below the heading that begins with `title`.
fn rows(title: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/docs/roles.md");
    let page = fs::read_to_string(path).expect("roles.md");
    let section = page.split("\n## ").find(|section| section.starts_with(title)).unwrap_or_else(|| panic!("no section {title}"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).map(cells).skip(1).collect();
    assert!(!rows.is_empty(), "{title} has no rows");
    rows
}

fn duration(cell: &str) -> Duration {
    let (number, unit) = cell.split_at(cell.find(|c: char| !c.is_ascii_digit()).unwrap_or(cell.len()));
    let seconds = number.parse::<u64>().expect("a number")
        * match unit {
            "h" => 3600,
            "m" => 60,
            _ => 1,
        };
    Duration::from_secs(seconds)
}

// ---- sending ----------------------------------------------------------------------------------------------------------------------

/// One row, read.
struct Case {
    role: SenderRole,
    findings: Findings,
    peers: HashMap<String, String>,
    waited: Duration,
    settings: HashMap<String, String>,
    tries: String,
    end: String,
}

fn domain(name: &str) -> Domain {
    Domain::parse(&format!("{name}.test")).expect("valid")
}

/// An answer cell: a word, or hosts with what they do.
fn answer<T>(cell: &str, peers: &mut HashMap<String, String>, record: impl Fn(u16, Domain) -> T) -> Answer<T> {
    match cell {
        "none" => Answer::None,
        "denied" => Answer::Denied,
        "unknown" => Answer::Unknown("time-out".into()),
        "bogus" => Answer::Bogus("bad signature".into()),
        hosts => Answer::Found(
            (1_u16..)
                .zip(hosts.split(' '))
                .map(|(preference, host)| {
                    let (name, peer) = host.split_once(':').expect("name:peer");
                    peers.insert(format!("{name}.test"), peer.to_owned());
                    record(preference, domain(name))
                })
                .collect(),
        ),
    }
}

impl Case {
    fn read(role: SenderRole, cells: &[String]) -> Self {
        let [_, _, srv, mx, address, waited, settings, tries, end] = cells else { panic!("nine cells: {cells:?}") };
        let mut peers = HashMap::new();
        let srv = answer(srv, &mut peers, |priority, target| SrvRecord { priority, weight: 0, port: 25, target: Some(target) });
        let mx = answer(mx, &mut peers, |preference, exchange| MxRecord { preference, exchange: Some(exchange) });
        let address = match address.split_once(':') {
            Some((_, peer)) => {
                peers.insert("partner.test".into(), peer.to_owned());
                Answer::Found(vec![[192, 0, 2, 1].into()])
            }
            None => answer(address, &mut peers, |_, _| [192, 0, 2, 1].into()),
        };
        let settings = settings.split(' ').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let findings = Findings { srv: srv.into(), smtp_tls: Answer::None.into(), mx: mx.into(), address: address.into() };
        Self { role, findings, peers, waited: duration(waited), settings, tries: tries.clone(), end: end.clone() }
    }

    fn setting(&self, name: &str, default: &str) -> String {
        self.settings.get(name).cloned().unwrap_or_else(|| default.to_owned())
    }

    fn policies(&self, runtime: &Runtime) -> PolicySet {
        let bes =
            format!(r#"{{"plaintext":"{}","secure_wait":{}}}"#, self.setting("plaintext", "allow"), self.setting("secure_wait", "600"));
        let sos = format!(
            r#"{{"accept":"{}","floor":"{}","max_wait":{}}}"#,
            self.setting("accept", "any-tls"),
            self.setting("floor", "host"),
            self.setting("max_wait", "86400")
        );
        let source = |name, settings: String| PolicySource::builtin(name, settings).expect("shipped");
        PolicySet::load(runtime, vec![source("bes", bes), source("sos", sos)]).expect("the shipped policies load")
    }

    fn floors(&self) -> Floors {
        let level = match (self.role, self.setting("floor", "host").as_str()) {
            (SenderRole::BestEffort, _) => Level::Plain,
            (_, "encrypted") => Level::Encrypted,
            (_, "domain") => Level::Domain,
            _ => Level::Host,
        };
        Floors { role: self.role, level: Requirement::at_least(level), plaintext: self.setting("plaintext", "allow") == "allow" }
    }

    fn facts(&self, discovery: &Discovery) -> DestinationFacts {
        let kind = |kind| match kind {
            AnswerKind::Found => secmx_policy::Answer::Found,
            AnswerKind::None => secmx_policy::Answer::None,
            AnswerKind::Denied => secmx_policy::Answer::Denied,
            AnswerKind::Unknown => secmx_policy::Answer::Unknown,
            AnswerKind::Bogus => secmx_policy::Answer::Bogus,
        };
        let exchangers = discovery.exchangers.iter().map(|exchanger| ExchangerFacts {
            name: exchanger.name.to_string(),
            port: exchanger.port,
            source: match exchanger.source {
                Source::SecmxSrv => secmx_policy::Source::SecmxSrv,
                Source::Mx => secmx_policy::Source::Mx,
                _ => secmx_policy::Source::AddressRecord,
            },
            preference: exchanger.preference,
            dnssec_secure: false,
            expected: exchanger.expected(&MailDomain::Name(domain("partner"))),
        });
        DestinationFacts {
            domain: "partner.test".into(),
            recipients: vec![recipient()],
            reverse_path: None,
            message_id: "row".into(),
            tags: BTreeMap::new(),
            role: self.role,
            waited: self.waited,
            attempts: if self.waited.is_zero() { 0 } else { 3 },
            secmx: kind(discovery.secmx),
            mx: kind(discovery.mx),
            sts_mode: "none".into(),
            exchangers: exchangers.collect(),
            best_level: None,
        }
    }

    /// Runs the row: what was tried, and how it ended.
    async fn run(&self, runtime: &Runtime) -> (String, String) {
        let discovery = discovery::discover(&domain("partner"), &self.findings, &Own::default(), &Limits::default(), &mut |_| 0);
        let routing = self.policies(runtime).route(self.facts(&discovery)).await.expect("the policy answers");
        let route = Route::new(&routing.plan, &discovery, self.floors()).expect("the plan is about these exchangers");
        let mut run = Run::new(route, routing.plan, &discovery, &[recipient()]);
        let (mut tries, mut reached) = (Vec::new(), String::new());
        loop {
            match run.next(Duration::ZERO) {
                Next::Finished(verdict) => {
                    let end = match &verdict.recipients[0].1 {
                        Fate::Delivered { .. } => format!("delivered {reached}"),
                        Fate::Deferred(_) => "deferred".to_owned(),
                        Fate::Returned(failure) => format!("returned {}", failure.cause.status(true)),
                    };
                    return (tries.join(", "), end);
                }
                Next::Try(candidate) => {
                    let name = discovery.exchangers[candidate.exchanger].name.to_string();
                    let short = name.trim_end_matches(".test").replace("partner", "a1");
                    let clear = candidate.requirement == Requirement::NONE;
                    tries.push(format!("{short} {}", if clear { "plain" } else { "tls" }));
                    let outcome = act(&self.peers[&name], &candidate);
                    reached = format!("{short} {}", outcome.as_ref().map(|channel| channel.level).unwrap_or_default());
                    run.record(&candidate, settle(outcome));
                }
            }
        }
    }
}

fn recipient() -> Mailbox {
    Mailbox::parse(b"bo@partner.test", false).expect("valid")
}

fn secured(level: Level) -> Channel {
    let tls = Tls { version: TlsVersion::V13, cipher: String::new(), group: String::new(), server_name: None, peer: None, doubt: None };
    Channel::secured(level, tls)
}

/// What a peer of the legend does when it is tried so.
fn act(peer: &str, candidate: &Candidate) -> Result<Channel, Cause> {
    let tls = match (peer, candidate.tls) {
        ("down", _) => return Err(Cause::Unreachable("refused".into())),
        ("busy", _) => return Err(Cause::Unwelcome(Reply::new(421, None, "busy"))),
        ("sor", TlsUse::Without) => return Err(Cause::NeedsTls(Reply::new(530, None, "TLS first"))),
        ("plain", TlsUse::Required | TlsUse::Implicit) => return Err(Cause::TlsNotOffered),
        ("plain", _) | (_, TlsUse::Without) => Channel::plain(),
        ("refuses", _) => return Err(Cause::TlsRefused(Reply::new(454, None, "no"))),
        ("breaks", _) => return Err(Cause::TlsFailed("alert".into())),
        ("anon", _) => secured(Level::Encrypted),
        ("ok" | "sor", _) => secured(Level::Host),
        ("domain", _) => secured(Level::Domain),
        (other, _) => panic!("no peer {other} in the legend"),
    };
    candidate.requirement.admit(&tls).map(|_| tls).map_err(Cause::BelowRequirement)
}

fn settle(outcome: Result<Channel, Cause>) -> Outcome {
    match outcome {
        Ok(_) => Outcome::Transacted { results: vec![(recipient(), Ok(Reply::new(250, None, "ok")))], transmitted: true, notifies: false },
        Err(cause) => Outcome::Failed(Failure::from(cause)),
    }
}

async fn check_sending(title: &str, role: SenderRole) {
    let runtime = Runtime::new(RuntimeLimits::default(), Arc::new(|_: &secmx_core::report::Event<'_>| ())).expect("an engine");
    let mut wrong = Vec::new();
    for cells in rows(title) {
        let case = Case::read(role, &cells);
        let (tries, end) = case.run(&runtime).await;
        if (&tries, &end) != (&case.tries, &case.end) {
            wrong.push(format!("{}: the page says [{}] {}; the code says [{tries}] {end}", cells[0], case.tries, case.end));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// L1-2, L1-3, L1-4, L2-2, L2-3, D-5, S-3, decisions 1, 2, 3, 6, 8.
#[tokio::test(flavor = "multi_thread")]
async fn best_effort_rows_are_true() {
    check_sending("Sending: best effort", SenderRole::BestEffort).await;
}

/// L2-4, L2-5, decisions 1, 4, 6, 7, 8.
#[tokio::test(flavor = "multi_thread")]
async fn secure_only_rows_are_true() {
    check_sending("Sending: secure only", SenderRole::SecureOnly).await;
}

// ---- receiving --------------------------------------------------------------------------------------------------------------------

fn first_code(role: ReceiverRole, channel: Channel, line: &str) -> u16 {
    let name = |name: &str| Domain::parse(name).expect("valid");
    let config = ServerConfig {
        hostname: name("mx.own.test"),
        own_domains: vec![name("own.test")],
        postmaster: Mailbox::parse(b"postmaster@own.test", false).expect("valid"),
        mechanisms: Vec::new(),
        strict_header: false,
        limits: server::Limits::default(),
    };
    let mut effects = Vec::new();
    let client = Client { address: [192, 0, 2, 1].into(), relay: false, normalize: false };
    let mut session = ServerSession::open(Arc::new(config), client, channel, &mut effects);
    session = session.handle(Input::Greeted(Terms { role, ..Terms::default() }, Ruling::Pass), &mut effects);
    session = session.handle(Input::Octets(b"EHLO probe.test\r\n"), &mut effects);
    effects.clear();
    session = session.handle(Input::Octets(format!("{line}\r\n").as_bytes()), &mut effects);
    if effects.iter().any(|effect| matches!(effect, Effect::Ask(Question::Mail { .. }))) {
        let _open = session.handle(Input::Ruled(Ruling::Pass), &mut effects);
    }
    effects.iter().find_map(|effect| if let Effect::Reply(reply) = effect { Some(reply.code) } else { None }).expect("a reply")
}

/// L1-1, L1-5, L1-6, L2-6, L2-7.
#[test]
fn receiving_rows_are_true() {
    for cells in rows("Receiving") {
        let [row, _, role, channel, command, reply] = cells.as_slice() else { panic!("six cells: {cells:?}") };
        let role = if role == "SOR" { ReceiverRole::SecureOnly } else { ReceiverRole::BestEffort };
        let channel = if channel == "tls" { secured(Level::Encrypted) } else { Channel::plain() };
        assert_eq!(first_code(role, channel, command).to_string(), *reply, "{row}: {command}");
    }
}
