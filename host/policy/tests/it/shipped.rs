//! The shipped content policies, asked as a gateway asks them.

use crate::hostile::message;
use crate::receivers::session;
use crate::set;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use secmx_core::channel::Level;
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::role::SenderRole;
use secmx_core::ruling::{Edit, Ruling};
use secmx_policy::{Inspection, MessageFacts, PolicySet, PolicySource, shipped};
use std::io::{Cursor, Write};
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
    let body = STANDARD.encode(octets);
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

/// A ZIP of one file.
fn zip(name: &str, octets: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file");
    zip.write_all(octets).expect("written");
    zip.finish().expect("a ZIP").into_inner()
}

#[tokio::test]
async fn attachments_go_by_every_name_and_by_what_they_are() {
    let set = only("attachments", "{}");
    let nested = zip("a.zip", &zip("b.zip", &zip("docs/a.scr", b"text")));
    for (name, octets, expected) in [
        ("a.txt", b"text".to_vec(), "pass"),
        ("a.JS", b"text".to_vec(), "attachments.name"),
        ("a.exe. ", b"text".to_vec(), "attachments.name"),
        ("exe", b"text".to_vec(), "pass"),
        ("a.txt\"; filename*=utf-8''a%2Eexe; x=\"", b"text".to_vec(), "attachments.name"),
        ("a.txt", b"MZ\x90\x00".to_vec(), "attachments.program"),
        ("a.zip", zip("docs/a.txt", b"text"), "pass"),
        ("a.zip", zip("docs/a.scr", b"text"), "attachments.archive"),
        ("a.zip", zip("docs/a.txt", b"\x7fELF"), "attachments.program"),
        ("a.zip", nested, "attachments.archive"),
    ] {
        assert_eq!(code(&inspect(&set, with_attachment(name, &octets)).await), expected, "{name}");
    }
    let outside = only("attachments", r#"{"archives": false}"#);
    assert_eq!(code(&inspect(&outside, with_attachment("a.zip", &zip("a.scr", b"text"))).await), "pass");
    let answer = inspect(&set, with_attachment("b.zip", &zip("docs/a.scr", b"text"))).await;
    let Ruling::Reject { reply, .. } = &answer.ruling else { panic!("{answer:?}") };
    assert!(reply.to_string().contains("part 3: a file named \"docs/a.scr\", in \"b.zip\". Such files are not taken"), "{reply}");
}

/// Archives within archives, a bomb, a damaged one: looked into as far as the bounds go, and what was not looked into is opaque.
#[tokio::test]
async fn what_was_not_unpacked_is_opaque() {
    let set = only("opaque-content", "{}");
    let bomb = zip("a.txt", &vec![b' '; 40 << 20]);
    let matryoshka = (0..60).fold(b"x".to_vec(), |inner, _| zip("a.zip", &inner));
    let hidden = zip("a.zip", &zip("secret.pdf", b"%PDF-1.7 /Encrypt 5 0 R"));
    for (what, octets, expected) in [
        ("a file", zip("a.txt", b"text"), "pass"),
        ("a bomb", bomb, "opaque.unreadable"),
        ("60 levels", matryoshka, "opaque.unreadable"),
        ("half of one", zip("a.txt", &[b'x'; 400])[..60].to_vec(), "opaque.unreadable"),
        ("a locked document in archives", hidden, "opaque.document"),
        ("a damaged document", b"%PDF-1.7 nothing".to_vec(), "opaque.unreadable"),
    ] {
        assert_eq!(code(&inspect(&set, with_attachment("a.zip", &octets)).await), expected, "{what}");
    }
}

/// A disclaimer changes what is shown first and nothing else; what is signed or encrypted stays octet for octet.
#[tokio::test]
async fn a_disclaimer_is_added_where_it_is_shown_and_nowhere_else() {
    let set = only("disclaimer", r#"{"text": "No <guarantee> für all."}"#);
    let both = "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nX-Own: 1\r\n\r\nplain\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>rich</body>\r\n--x--\r\n";
    let edits = inspect(&set, both).await.effects.edits;
    let [Edit::ReplaceOctets { with: plain, .. }, Edit::ReplaceOctets { with: rich, .. }] = &edits[..] else { panic!("{edits:?}") };
    let body = |with: &str| {
        let encoded = with.split_once("\r\n\r\n").expect("a header").1.replace("\r\n", "");
        String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("UTF-8")
    };
    assert!(
        plain.starts_with("X-Own: 1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
        "{plain}"
    );
    assert_eq!(body(plain), "plain\r\n\r\nNo <guarantee> für all.\r\n");
    assert_eq!(body(rich), "<p>rich\r\n<p>No &lt;guarantee&gt; für all.</p>\r\n</body>");
    let attached = "Content-Disposition: attachment; filename=a.txt\r\n\r\nx\r\n";
    let signed = "Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n\r\nplain\r\n--x--\r\n";
    let again = "Content-Type: text/plain; charset=utf-8\r\n\r\nNo <guarantee> für all.\r\n";
    for octets in [attached, signed, again] {
        assert_eq!(inspect(&set, octets).await.effects.edits, [], "{octets}");
    }
    let single = inspect(&set, "Subject: s\r\n\r\nplain\r\n").await.effects.edits;
    assert_eq!(single.len(), 4, "three fields of the header and the body: {single:?}");
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
