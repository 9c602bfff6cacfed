//! The shipped content policies, asked as a gateway asks them.

use crate::hostile::message;
use crate::receivers::session;
use crate::set;
use bytes::Bytes;
use secmx_core::channel::Level;
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::role::SenderRole;
use secmx_core::ruling::Ruling;
use secmx_policy::{Inspection, MessageFacts, PolicySet, PolicySource, shipped};
use std::sync::Arc;

/// A set with one shipped policy.
pub(crate) fn only(name: &str, settings: &str) -> PolicySet {
    set(vec![PolicySource::new(name, shipped(name).expect("shipped"), settings)]).0
}

/// What the policy says of a message to `bo@health.test`.
pub(crate) async fn inspect(set: &PolicySet, octets: impl Into<Bytes>) -> Inspection {
    let recipients = vec![Mailbox::parse(b"bo@health.test", false).expect("valid")];
    let facts = MessageFacts { octets: Arc::new(octets.into()), envelope: Envelope { recipients, ..Envelope::default() }, ..message() };
    set.content(&session(), facts).await.expect("no fault")
}

/// Code of the reason; `pass` without one.
pub(crate) fn code(inspection: &Inspection) -> &str {
    inspection.ruling.reason().map_or("pass", |reason| &reason.code)
}

/// A message with one attachment of that name, base64.
fn with_attachment(name: &str, octets: &[u8]) -> String {
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, octets);
    format!(
        "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x\r\nContent-Type: application/octet-stream\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}\r\n--x--\r\n"
    )
}

#[tokio::test]
async fn opaque_content_is_held_or_refused_with_advice() {
    let encrypted = with_attachment("Ängebot.zip", b"PK\x03\x04\x14\x00\x01\x00\x08\x00");
    let held = inspect(&only("opaque-content", "{}"), encrypted.clone()).await;
    assert_eq!((held.ruling.name(), code(&held)), ("quarantine", "opaque.archive"));
    assert_eq!((held.effects.evidence[0].part, held.effects.evidence[0].excerpt.contains("Ängebot.zip")), (2, true));
    let refused = inspect(&only("opaque-content", r#"{"action": "reject"}"#), encrypted.clone()).await;
    let Ruling::Reject { reply, .. } = &refused.ruling else { panic!("{refused:?}") };
    assert!(reply.to_string().contains("part 2 \"?ngebot.zip\" has an archive with a password"), "{reply}");
    let other = inspect(&only("opaque-content", r#"{"kinds": ["smime"]}"#), encrypted).await;
    assert_eq!(code(&other), "pass");
}

#[tokio::test]
async fn ambiguity_counts_when_it_is_asked_for() {
    let twice = "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nx\r\n";
    assert_eq!(code(&inspect(&only("opaque-content", "{}"), twice).await), "pass");
    assert_eq!(code(&inspect(&only("opaque-content", r#"{"ambiguous": "hold"}"#), twice).await), "opaque.ambiguous");
}

#[tokio::test]
async fn attachments_go_by_every_name_and_by_what_they_are() {
    let set = only("attachments", "{}");
    let central = |name: &str| {
        let length = u8::try_from(name.len()).expect("short");
        [&b"PK\x03\x04"[..], b"PK\x01\x02", &[0; 24], &[length, 0], &[0; 16], name.as_bytes()].concat()
    };
    for (name, octets, expected) in [
        ("a.txt", b"text".to_vec(), "pass"),
        ("a.JS", b"text".to_vec(), "attachments.name"),
        ("a.exe. ", b"text".to_vec(), "attachments.name"),
        ("exe", b"text".to_vec(), "pass"),
        ("a.txt\"; filename*=utf-8''a%2Eexe; x=\"", b"text".to_vec(), "attachments.name"),
        ("a.txt", b"MZ\x90\x00".to_vec(), "attachments.program"),
        ("a.zip", central("docs/a.txt"), "pass"),
        ("a.zip", central("docs/a.scr"), "attachments.archive"),
    ] {
        assert_eq!(code(&inspect(&set, with_attachment(name, &octets)).await), expected, "{name}");
    }
}

#[tokio::test]
async fn what_is_marked_travels_secure_only_and_within_the_fence() {
    let set = only("classification", "{}");
    for (octets, marked) in [
        ("Subject: [SEEMAIL] s\r\n\r\nx\r\n", true),
        ("Subject: s\r\nX-Protective-Marking: RESTRICTED\r\n\r\nx\r\n", true),
        ("Subject: s\r\n\r\nThis is RESTRICTED.\r\n", true),
        ("Subject: UNRESTRICTED, restricted\r\n\r\nx\r\n", false),
    ] {
        let answer = inspect(&set, octets).await;
        let demand = answer.effects.demand;
        let strict = demand.role == SenderRole::SecureOnly && demand.floor.level() == Level::Domain;
        assert_eq!((answer.ruling, strict), (Ruling::Pass, marked), "{octets}");
    }
    let fenced = |fence: &str| only("classification", &format!("{{\"fence\": [\"{fence}\"]}}"));
    for (fence, expected) in
        [("health.test", "pass"), ("test", "pass"), ("agency.test", "classification.fence"), ("alth.test", "classification.fence")]
    {
        assert_eq!(code(&inspect(&fenced(fence), "Subject: [SEEMAIL]\r\n\r\nx\r\n").await), expected, "{fence}");
    }
}

#[tokio::test]
async fn secrets_are_found_by_their_checksums() {
    let set = only("no-secrets", r##"{"patterns": [{"name": "a case number", "pattern": "CASE-####-@@"}]}"##);
    for (text, expected) in [
        ("card 4111 1111 1111 1111 12/27", "secrets.card"),
        ("card 4111-1111-1111-1111.", "secrets.card"),
        ("card 4111 1111 1111 1112", "pass"),
        ("phone 4444444444444444, id x4111111111111111", "pass"),
        ("pay NL91 ABNA 0417 1643 00 TODAY", "secrets.iban"),
        ("pay NL91ABNA0417164300", "secrets.iban"),
        ("pay NL92ABNA0417164300", "pass"),
        ("see CASE-1234-AB", "secrets.pattern"),
        ("see CASE-1234-ABC or CASE-12345-AB", "pass"),
    ] {
        let answer = inspect(&set, format!("Subject: s\r\n\r\n{text}\r\n")).await;
        assert_eq!(code(&answer), expected, "{text}");
        assert!(answer.effects.evidence.iter().all(|evidence| !evidence.excerpt.contains("0417")), "evidence is masked");
    }
    let two = only("no-secrets", r#"{"least": 2}"#);
    assert_eq!(code(&inspect(&two, "Subject: NL91ABNA0417164300\r\n\r\nx\r\n").await), "pass");
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    for (name, settings, part) in [
        ("opaque-content", r#"{"action": "drop"}"#, "drop"),
        ("opaque-content", r#"{"kind": []}"#, "kind"),
        ("attachments", r#"{"names": [".exe"]}"#, ".exe"),
        ("classification", r#"{"markings": [" "]}"#, "empty marking"),
        ("no-secrets", r##"{"patterns": [{"name": "n", "pattern": "#"}]}"##, "4 characters"),
    ] {
        let source = PolicySource::new(name, shipped(name).expect("shipped"), settings);
        let error = PolicySet::load(&crate::runtime().0, vec![source]).expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
    }
}
