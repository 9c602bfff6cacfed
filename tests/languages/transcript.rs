//! Puts the question of a case to a guest and writes down what came of it, one line a thing.

use crate::case::{Case, Outcome};
use crate::guests::Guest;
use bytes::Bytes;
use secmx_core::channel::{Certificate, Channel, Level, Tls, TlsVersion};
use secmx_core::mail::{Envelope, Mailbox, Parameter};
use secmx_core::report::Event;
use secmx_core::role::SenderRole;
use secmx_core::ruling::{ContentEffects, Demand, Edit, Exhausted, Plan, Reason, Ruling};
use secmx_policy::cases::{DnsAnswer, Given};
use secmx_policy::{
    Answer, DestinationFacts, ExchangerFacts, Fault, LoadError, MessageFacts, Named, PolicySet, PolicySource, Runtime, RuntimeLimits,
    SessionFacts, Source, Workshop,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Most memory of one instance, octets: what CPython needs, and room.
const MEMORY: usize = 128 << 20;

type Lines = Arc<Mutex<Vec<String>>>;

/// The engine of this process, and what policies logged since it was last taken. One language runs at a time.
fn engine() -> &'static (Runtime, Lines) {
    static ENGINE: OnceLock<(Runtime, Lines)> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let lines = Lines::default();
        let log = lines.clone();
        let observer = Arc::new(move |event: &Event<'_>| {
            if let Event::PolicyLog { policy, severity, text, .. } = event {
                log.lock().expect("not poisoned").push(format!("{policy} {severity} {text}"));
            }
        });
        let limits = RuntimeLimits { concurrent_questions: 8, ..RuntimeLimits::default() };
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-policies");
        let workshop = Workshop { cache: Some(cache), ..Workshop::default() };
        (Runtime::start(limits, workshop, observer, Arc::default()).expect("an engine"), lines)
    })
}

/// A generation with this guest under a name of its own, so that languages do not hear each other.
pub(crate) fn load(guest: &Guest, settings: &toml::Table, blocked: &[String]) -> Result<PolicySet, LoadError> {
    let (runtime, _) = engine();
    let settings = serde_json::to_string(settings).expect("settings are JSON");
    let mut source = PolicySource::new(name(guest), guest.component.clone(), settings);
    source.limits.memory_bytes = MEMORY;
    source.limits.time = Duration::from_millis(500);
    // A busy machine gives little of the processor.
    source.limits.wall = Duration::from_secs(60);
    let lists = BTreeMap::from([("blocked".to_owned(), blocked.iter().cloned().collect())]);
    let world = Given { dns: Some(dns()), ..Given::default() }.named(&source.name);
    source.named = Arc::new(Named { lists, journals: ["kept".to_owned()].into(), ..world.as_ref().clone() });
    PolicySet::load(runtime, vec![source])
}

/// What DNS knows in every case.
fn dns() -> BTreeMap<String, DnsAnswer> {
    let values = ["one", "two"].map(str::to_owned).into();
    let failure = |name: &str, word: &str| (format!("{name} TXT"), DnsAnswer::Word(word.into()));
    let known = ("known.test TXT".to_owned(), DnsAnswer::Full { values, secure: true });
    [known, failure("none.test", "none"), failure("down.test", "servfail"), failure("forged.test", "bogus")].into()
}

fn name(guest: &Guest) -> String {
    format!("{}-{}", guest.policy, guest.language)
}

/// Asks the question of a case.
pub(crate) async fn play(guest: &Guest, case: &Case) -> Outcome {
    let mut outcome = Outcome { language: Some(guest.language), ..Outcome::default() };
    match load(guest, &case.settings, &case.blocked) {
        Err(error) => outcome.refused = Some(error.to_string()),
        Ok(set) => match ask(&set, case).await {
            Err(fault) => outcome.fault = Some(fault.detail),
            Ok(answer) => outcome.answer = answer,
        },
    }
    let (_, lines) = engine();
    let mine = format!("{} ", name(guest));
    lines.lock().expect("not poisoned").retain(|line| match line.strip_prefix(&mine) {
        Some(line) => {
            outcome.log.push(line.to_owned());
            false
        }
        None => true,
    });
    outcome
}

async fn ask(set: &PolicySet, case: &Case) -> Result<Vec<String>, Fault> {
    let (session, reverse_path) = (session(case), Some(mailbox("ana@agency.test")));
    let given = |text: &str| vec![Parameter { keyword: text.into(), value: None }, size()];
    let tags = |tags: BTreeMap<String, String>| tags.into_iter().map(|(key, value)| format!("tag {key}={value}"));
    match case.ask.as_str() {
        "load" => Ok(vec!["loaded".into()]),
        "greet" => set.greet("ber", &session).await.map(|greeting| {
            let certificate = format!("client-certificate {:?}", greeting.terms.client_certificate).to_lowercase();
            let head = [line(&greeting.ruling), format!("role {}", greeting.terms.role), certificate];
            head.into_iter().chain(tags(greeting.tags)).collect()
        }),
        "mail" => {
            let asked = set.mail(&session, &reverse_path, &given("SMTPUTF8")).await;
            asked.map(|(ruling, set)| std::iter::once(line(&ruling)).chain(tags(set)).collect())
        }
        "recipient" => {
            let asked = set.recipient(&session, &None, &mailbox("bo@health.test"), &given("NOTIFY")).await;
            asked.map(|(ruling, set)| std::iter::once(line(&ruling)).chain(tags(set)).collect())
        }
        "inspect" => {
            let asked = set.content(&session, message(case)).await;
            asked.map(|inspection| std::iter::once(line(&inspection.ruling)).chain(changes(&inspection.effects)).collect())
        }
        "route" => set.route(destination(case)).await.map(|routing| {
            let own = matches!(routing.ruling, Ruling::Accept(_)).then(|| plan(&routing.plan));
            let head = [line(&routing.ruling), format!("role {}", routing.plan.role)];
            head.into_iter().chain(own.into_iter().flatten()).collect()
        }),
        "admit" => set.admit(destination(case), 1, &session.channel).await.map(|ruling| vec![line(&ruling)]),
        other => panic!("{}: `{other}` is no question", case.name),
    }
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text.as_bytes(), false).expect("an address")
}

fn size() -> Parameter {
    Parameter { keyword: "SIZE".into(), value: Some("1000".into()) }
}

/// A session without TLS.
pub(crate) fn plain_session() -> SessionFacts {
    session(&Case::default())
}

/// A message of one line.
pub(crate) fn plain_message() -> MessageFacts {
    message(&Case::default())
}

fn session(case: &Case) -> SessionFacts {
    let peer = Certificate {
        subject: "CN=relay.test".into(),
        issuer: "CN=ca.test".into(),
        dns_names: vec!["relay.test".into(), "mx.test".into()],
        sha256: (0..32).collect(),
        not_after: 4_102_444_800,
    };
    let tls = Tls {
        version: TlsVersion::V13,
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        group: "X25519MLKEM768".into(),
        server_name: Some("mx.agency.test".into()),
        peer: Some(peer),
        doubt: None,
    };
    SessionFacts {
        id: "S1".into(),
        listener: "mx".into(),
        client_address: case.client.as_deref().unwrap_or("192.0.2.7").parse().expect("an address"),
        client_name: case.secured.then(|| "relay.test".into()),
        hello: Some("relay.test".into()),
        channel: if case.secured { Channel::secured(Level::Domain, tls) } else { Channel::plain() },
        authenticated_as: None,
        authentication_results: BTreeMap::from([("spf".into(), "pass".into())]),
        tags: BTreeMap::from([("before".into(), "yes".into())]),
    }
}

fn message(case: &Case) -> MessageFacts {
    let text = case.message.as_deref().unwrap_or("Subject: s\n\nbody\n").replace('\n', "\r\n");
    let recipients = vec![mailbox("bo@health.test"), mailbox("cy@health.test")];
    MessageFacts {
        id: "01JD9W3K7Q8Z".into(),
        envelope: Envelope { reverse_path: Some(mailbox("ana@agency.test")), recipients, ..Envelope::default() },
        parameters: vec![size()],
        recipient_parameters: vec![vec![Parameter { keyword: "NOTIFY".into(), value: Some("NEVER".into()) }]],
        octets: Arc::new(Bytes::from(text)),
        authenticity: None,
        tags: BTreeMap::new(),
    }
}

fn destination(case: &Case) -> DestinationFacts {
    let host = |name: &str, source, expected| ExchangerFacts {
        name: name.into(),
        port: 25,
        source,
        preference: 10,
        dnssec_secure: source == Source::SecmxSrv,
        expected,
    };
    DestinationFacts {
        domain: case.domain.clone().unwrap_or_else(|| "health.test".into()),
        recipients: vec![mailbox("bo@health.test")],
        reverse_path: Some(mailbox("ana@agency.test")),
        message_id: "01JD9W3K7Q8Z".into(),
        tags: BTreeMap::from([("class".into(), "secret".into())]),
        role: SenderRole::BestEffort,
        waited: Duration::from_secs(90),
        attempts: 2,
        secmx: Answer::Found,
        mx: Answer::Unknown,
        sts_mode: "testing".into(),
        exchangers: vec![host("s0.test", Source::SecmxSrv, Level::Domain), host("m1.test", Source::Mx, Level::Host)],
        best_level: Some(Level::Host),
    }
}

fn why(reason: &Reason) -> String {
    format!("{}: {}", reason.code, reason.text)
}

fn line(ruling: &Ruling) -> String {
    match ruling {
        Ruling::Pass => "pass".into(),
        Ruling::Reject { reply, reason } | Ruling::Defer { reply, reason } => {
            let status = reply.status.map(|status| status.to_string()).unwrap_or_default();
            format!("{} {} {status} {} ({})", ruling.name(), reply.code, reply.lines.join(" / "), why(reason))
        }
        Ruling::Accept(reason) | Ruling::Quarantine(reason) | Ruling::Discard(reason) => format!("{} {}", ruling.name(), why(reason)),
    }
}

fn changes(effects: &ContentEffects) -> Vec<String> {
    let edits = effects.edits.iter().map(|edit| match edit {
        Edit::AddField { name, value } => format!("add-field {name}: {value}"),
        Edit::ReplaceField { name, value } => format!("replace-field {name}: {value}"),
        Edit::RemoveField { name } => format!("remove-field {name}"),
        #[allow(unreachable_patterns)] // other edits are not for this script yet
        other => format!("{other:?}"),
    });
    let added = effects.add_recipients.iter().map(|to| format!("add-recipient {to}"));
    let removed = effects.remove_recipients.iter().map(|to| format!("remove-recipient {to}"));
    let demand =
        (effects.demand != Demand::default()).then(|| format!("demand {} at least {}", effects.demand.role, effects.demand.floor.level()));
    let tags = effects.tags.iter().map(|(key, value)| format!("tag {key}={value}"));
    let evidence = effects.evidence.iter().map(|seen| format!("evidence {}@{} {}", seen.part, seen.offset, seen.excerpt));
    let journals = effects.journals.iter().map(|name| format!("journal {name}"));
    edits.chain(added).chain(removed).chain(demand).chain(tags).chain(evidence).chain(journals).collect()
}

fn plan(plan: &Plan) -> Vec<String> {
    let end = |when: &str, then: &Exhausted| match then {
        Exhausted::Defer => format!("{when} defer"),
        Exhausted::Bounce(reason) => format!("{when} bounce {}", why(reason)),
    };
    let steps = plan.steps.iter().map(|step| format!("attempt {} at least {}", step.exchanger, step.at_least));
    steps.chain([end("when-proved", &plan.when_proved), end("when-unknown", &plan.when_unknown)]).collect()
}
