//! The guest that touches everything, asked without a gateway: whatever there is in wit/, the helper plays it.

use super::*;
use secmx_guest::host::Severity;
use secmx_guest::testing::{Body, Gateway};
use secmx_guest::{Field, Recipient};

fn address(local: &str, domain: &str) -> Address {
    Address { local_part: local.into(), domain: domain.into() }
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.into(), value: value.into() }
}

fn message() -> Message {
    let to = |local| Recipient { address: address(local, "health.test"), parameters: Vec::new() };
    let mut whole = Body::text("");
    whole.part.content_type = "multipart/mixed".into();
    Message {
        id: "01JD9W3K7Q8Z".into(),
        reverse_path: Some(address("ana", "agency.test")),
        parameters: vec![Parameter { keyword: "SIZE".into(), value: Some("1000".into()) }],
        recipients: vec![to("bo"), to("cy")],
        fields: vec![field("Subject", " grün\r\n"), field("X-Old", " a\r\n"), field("x-old", " b\r\n")],
        bodies: vec![whole, Body { digest: vec![7; 32], ..Body::text("Gruss an alle") }],
        journals: vec!["kept".into()],
        tags: [("before".to_owned(), "yes".to_owned())].into_iter().collect::<std::collections::BTreeMap<_, _>>().into(),
        ..Message::plain("grün", "")
    }
}

fn gateway(act: &str) -> Gateway {
    let dns = |name: &str, answer: Result<&[&str], dns::Failure>| {
        ((name.to_owned(), "TXT".to_owned()), answer.map(|values| values.iter().map(|value| (*value).to_owned()).collect()))
    };
    Gateway {
        lists: vec![("blocked".into(), vec!["192.0.2.7".into()])],
        now: 1_700_000_001,
        dns: [
            dns("known.test", Ok(&["one", "two"])),
            dns("none.test", Err(dns::Failure::None)),
            dns("down.test", Err(dns::Failure::Unavailable)),
            dns("forged.test", Err(dns::Failure::Bogus)),
        ]
        .into(),
        store: [("sum".to_owned(), b"1".to_vec())].into(),
        ..Gateway::new(&format!(r#"{{ "act": "{act}" }}"#))
    }
}

/// The text of the ruling, and what the question left in the gateway.
fn asked(act: &str, message: &Message) -> (String, Gateway) {
    let mut gateway = gateway(act);
    let ruling = gateway.ask(|| Conformance::inspect(&Session::default(), message));
    let (Ruling::Accept(reason) | Ruling::Quarantine(reason) | Ruling::Discard(reason)) = ruling else { panic!("{ruling:?}") };
    (reason.text, gateway)
}

#[test]
fn a_message_is_read() {
    let text = "01JD9W3K7Q8Z|ana@agency.test|SIZE=1000|bo@health.test ,cy@health.test |20|Subject=grün,X-Old=a,x-old=b|grün|ject|yes";
    assert_eq!(asked("facts", &message()).0, text);
    assert_eq!(asked("parts", &message()).0, "0 - multipart/mixed utf-8 - 0 01,1 - text/plain utf-8 - 13 01|Gruss |rus|32 7|1,2");
}

#[test]
fn a_message_is_changed() {
    let message = message();
    assert_eq!(asked("changes", &message).0, "2 10 100 0");
    let done = [
        "add_field(\"X-Told\", \"grün\")",
        "replace_field(\"Subject\", \"told\")",
        "remove_field(\"X-Old\")",
        "add_recipient(di@health.test)",
        "remove_recipient(cy@health.test)",
        "remove_recipient(nobody@health.test)",
        "set_tag(\"class\", \"secret\")",
        "demand(SenderRole::SecureOnly, Level::Host)",
        "add_evidence(0, 7, \"seen\")",
        "journal(\"kept\")",
        "journal(\"none\")",
        "remove_part(9)",
        "replace_part(9, \"text/plain\", \"x\")",
    ];
    assert_eq!(message.calls.lines(), done);
}

#[test]
fn the_gateway_is_played() {
    let (text, gateway) = asked("host", &message());
    assert_eq!(text, "10 1");
    let log = [(Severity::Debug, "one 1"), (Severity::Info, "two 2"), (Severity::Warn, "three 3")];
    assert_eq!(gateway.log, log.map(|(severity, text)| (severity, text.to_owned())));
    assert_eq!(gateway.counts, [("told".to_owned(), 2)].into());
    let (text, gateway) = asked("store", &message());
    assert_eq!((text.as_str(), gateway.store["sum"].as_slice()), ("- kept 3 -2 taken", b"-2".as_slice()));
    assert_eq!(asked("dns", &message()).0, "one,two 0 none unavailable bogus");
    assert_eq!(super::act(), "", "behind a question its gateway is gone");
}

#[test]
fn a_session_is_read_and_its_terms_are_set() {
    let session = Session {
        id: "01JD".into(),
        listener: "mx".into(),
        client_address: "192.0.2.7".into(),
        hello: Some("relay.test".into()),
        authentication_results: [("spf".to_owned(), "pass".to_owned())].into(),
        ..Session::default()
    };
    assert_eq!(gateway("").ask(|| Conformance::greet(&session)), Ruling::Pass);
    let done = [
        "set_role(ReceiverRole::SecureOnly)",
        "set_client_certificate(ClientCertificate::Request)",
        "set_tag(\"facts\", \"01JD mx 192.0.2.7 - relay.test - pass - -\")",
        "set_tag(\"channel\", \"-\")",
        "set_tag(\"peer\", \"-\")",
        "set_tag(\"again\", \"-\")",
    ];
    assert_eq!(session.calls.lines(), done);
}

#[test]
fn a_plan_is_built() {
    let host = |index, name: &str, source, secure, expected| Exchanger {
        index,
        name: name.into(),
        port: 25,
        source,
        preference: 10,
        dnssec_secure: secure,
        expected,
    };
    let destination = Destination {
        domain: "health.test".into(),
        recipients: vec![address("bo", "health.test")],
        waited: 90,
        attempts: 2,
        secmx: Answer::Found,
        mx: Answer::Unknown,
        best_level: Some(Level::Host),
        exchangers: vec![host(0, "s0.test", Source::SecmxSrv, true, Level::Domain), host(1, "m1.test", Source::Mx, false, Level::Plain)],
        ..Destination::default()
    };
    let ruling = gateway("").ask(|| Conformance::route(&destination));
    let text = "health.test|bo@health.test|-||- -|90|2|111|none|0 s0.test 25 10 111,1 m1.test 25 10 000|1";
    assert_eq!(ruling, Ruling::accept("told.route", text));
    let done = [
        "set_role(SenderRole::SecureOnly)",
        "attempt(1, Level::Host)",
        "attempt(0, Level::Domain)",
        "when_proved(Exhausted::Bounce(Reason { code: \"told.proved\", text: \"nothing better\" }))",
        "when_unknown(Exhausted::Defer)",
    ];
    assert_eq!(destination.calls.lines(), done);
}

#[test]
#[should_panic(expected = "the author's own words")]
fn what_panics_panics_here_too() {
    asked("raise", &message());
}

#[test]
#[should_panic(expected = "CR, LF or NUL")]
fn a_field_that_the_gateway_refuses_is_refused_here() {
    asked("bad-field", &message());
}
