//! What a line looks like, and that no peer can make it look like something else.

use super::*;
use secmx_core::channel::{Certificate, Channel, Level, Tls, TlsVersion};
use secmx_core::report::{Cause, EnhancedStatus, Failure, PolicyMoment, Reply};
use secmx_core::role::{ReceiverRole, SenderRole};

fn noon() -> Timestamp {
    "2026-11-23T10:14:07.4815Z".parse().expect("valid")
}

fn json(event: &Event<'_>) -> String {
    json_line(noon(), event)
}

fn text(event: &Event<'_>) -> String {
    text_line(noon(), &TimeZone::UTC, event)
}

fn queued() -> Event<'static> {
    Event::Queued { session: "s1", queue: "01JD9W3K7Q8Z".into(), reverse_path: "ana@agency.example".into(), recipients: 2, octets: 49_152 }
}

#[test]
fn json_begins_with_time_level_event_and_then_the_ids() {
    let expected = concat!(
        r#"{"time":"2026-11-23T10:14:07.481Z","level":"info","event":"message.queued","session":"s1","queue":"01JD9W3K7Q8Z","#,
        r#""reverse_path":"ana@agency.example","recipients":2,"octets":49152}"#,
        "\n"
    );
    assert_eq!(json(&queued()), expected);
}

#[test]
fn text_is_for_people() {
    let expected = "10:14:07.481 message.queued  session=s1 queue=01JD9W3K7Q8Z octets=49152 recipients=2 reverse_path=ana@agency.example\n";
    assert_eq!(text(&queued()), expected);
    let reply = Reply::new(550, Some(EnhancedStatus::new(5, 1, 1)), "no \"such\" user");
    let line = text(&Event::Refused { session: "s1", reply: &reply });
    assert_eq!(line, "10:14:07.481 session.refused  session=s1 reply.code=550 reply.lines=\"no \\\"such\\\" user\" reply.status=5.1.1\n");
    let line = text(&Event::SpoolFailed { detail: "disk full".into() });
    assert_eq!(line, "10:14:07.481 error: spool.failed  detail=\"disk full\"\n");
}

#[test]
fn a_policy_moment_and_a_channel_are_flat_in_json_and_dotted_in_text() {
    let moment = Event::PolicyRuled(PolicyMoment {
        policy: "bes",
        version: None,
        shadow: false,
        question: "sender.route",
        subject: "q1",
        ruling: "pass",
        code: None,
        us: 38,
    });
    let line = json(&moment);
    assert!(
        line.ends_with(
            ",\"subject\":\"q1\",\"policy\":\"bes\",\"question\":\"sender.route\",\"ruling\":\"pass\",\"code\":null,\"us\":38}\n"
        ),
        "{line}"
    );
    let peer = Certificate {
        subject: "CN=x".into(),
        issuer: "CN=y".into(),
        dns_names: vec!["x.test".into()],
        sha256: vec![0, 171, 255],
        not_after: 0,
    };
    let tls = Tls { version: TlsVersion::V13, cipher: "C".into(), group: "G".into(), server_name: None, peer: Some(peer), doubt: None };
    let channel = Channel::secured(Level::Host, tls);
    let line = text(&Event::SessionSecured { session: "s1", channel: &channel });
    assert!(line.contains(" channel.level=host ") && line.contains(" channel.tls.peer.sha256=00abff "), "{line}");
}

#[test]
fn every_line_of_json_is_json() {
    let failure = Failure::from(Cause::TlsFailed("alert \u{7f}\u{1}".into()));
    let events = [
        Event::Ready { listeners: vec!["local=127.0.0.1:2525".into()], queued: 0 },
        Event::SessionOpen { session: "s", listener: "l", client: "192.0.2.1".into(), role: ReceiverRole::SecureOnly },
        Event::AttemptFailed { queue: "q".into(), role: SenderRole::SecureOnly, failure: &failure },
        Event::Reloaded { ok: false, detail: "\u{1f}\"\\\u{e0041}".into() },
    ];
    for event in &events {
        let line = json(event);
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(value["time"].is_string() && value["level"].is_string() && value["event"].is_string(), "{line}");
    }
    let value: Value = serde_json::from_str(&json(&events[3])).expect("JSON");
    assert_eq!(value["detail"], "\u{1f}\"\\\u{e0041}", "escaping loses nothing");
}

#[test]
fn no_peer_writes_a_line_of_its_own() {
    let evil = "x\r\n10:14:07.481 message.delivered\u{2028}\u{85}\u{1b}[2J\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}evil\u{2066}\u{2067}\u{2068}\u{2069}\u{61c}\u{200e}\u{200f}\u{2029}\u{feff}\u{200b}\u{e0041}\0";
    let event = Event::SessionTlsFailed { session: "s1", detail: evil.to_owned() };
    for line in [json(&event), text(&event)] {
        let inside = line.strip_suffix('\n').expect("ends with its line end");
        // Listed here, not asked of the code: controls, line ends, writing directions, marks without width, tags.
        let foul = |c: char| {
            c.is_control() || "\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\u{e0041}".contains(c)
        };
        assert!(!inside.chars().any(foul), "{inside:?}");
    }
    assert!(text(&event).contains("detail=\"x\\u{d}\\u{a}10:14"), "{}", text(&event));
    assert!(text(&Event::SessionTlsFailed { session: "s1", detail: "a b=c".into() }).ends_with("detail=\"a b=c\"\n"));
}

#[test]
fn a_line_has_a_bound() {
    let recipients: Vec<String> = (0..5000).map(|n| format!("{}{n}@x.test", "ü".repeat(500))).collect();
    let failure = Failure::from(Cause::Fault("y".repeat(1 << 20)));
    let event = Event::Deferred { queue: "q".into(), recipients, failure: &failure, next: String::new() };
    for line in [json(&event), text(&event)] {
        assert!(line.len() <= LINE_OCTETS_MAX, "{} octets", line.len());
        assert!(line.contains("… 4988 more"), "what was cut is counted");
    }
}

#[test]
fn what_matters_less_is_left_out() {
    let debug = Event::PolicyLog { policy: "p", subject: "q", severity: "debug", text: "x" };
    assert_eq!(Severity::of(&debug), Severity::Debug);
    assert!(Severity::of(&Event::SetAside { record: "r".into(), detail: "d".into() }) == Severity::Warning);
    let kept = |least: Severity| {
        let recorder = Recorder::default();
        let log = Log(Arc::new(Inner { format: Format::Json, least, sink: Sink::Memory(recorder.clone()), history: OnceLock::new() }));
        let set_aside = Event::SetAside { record: "r".into(), detail: "d".into() };
        [&debug, &queued(), &set_aside, &Event::SpoolFailed { detail: "d".into() }].into_iter().for_each(|event| log.write(event));
        recorder.events().len()
    };
    assert_eq!([Severity::Debug, Severity::Info, Severity::Warning, Severity::Error].map(kept), [4, 3, 2, 1]);
}

#[test]
fn a_recording_keeps_every_event() {
    let (log, recorder) = Log::recording();
    log.clone().write(&queued());
    log.write(&Event::Draining { cause: "SIGTERM" });
    assert_eq!(recorder.events().len(), 2);
    assert_eq!(recorder.named("gateway.drain").first().map(|event| event["cause"].clone()), Some("SIGTERM".into()));
}
