//! Whole deliveries between our two sides, octets cut anywhere: what was sent is what was stored, and nobody is told otherwise.

use crate::pair::{Message, Pair, Record, Setting, mailbox};
use crate::random::Random;
use secmx_core::channel::TlsUse;
use secmx_core::mail::BodyKind;
use secmx_core::report::{Cause, EnhancedStatus, Reply};
use secmx_core::role::ReceiverRole;
use secmx_core::smtp::client::Outgoing;

const HEADER: &str = "From: a@us.test\r\nSubject: t\r\n\r\n";

fn message(recipients: &[&str], body: &[u8]) -> Message {
    let octets = [HEADER.as_bytes(), body].concat();
    let outgoing = Outgoing {
        reverse_path: Some(mailbox("a@us.test")),
        recipients: recipients.iter().map(|recipient| mailbox(recipient)).collect(),
        octets: octets.len() as u64,
        body: if octets.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBit },
        ..Outgoing::default()
    };
    (outgoing, octets)
}

/// A body of the pieces that codecs stumble over.
fn body(random: &mut Random, pieces: &[&str]) -> Vec<u8> {
    (0..random.below(30)).flat_map(|_| random.pick(pieces).bytes().collect::<Vec<_>>()).collect()
}

const HONEST: &[&str] =
    &["\r\n", ".\r\n", "..\r\n", "a", ".", "word ", "\u{e9}", "\r\n.\r\n", "QUIT\r\n", "\r\nMAIL FROM:<evil@evil.test>\r\n"];
const HOSTILE: &[&str] = &[
    "\r",
    "\n",
    ".",
    "\r\n.\n",
    "\n.\r\n",
    "\r.\r",
    "\n.\n",
    "\r\r\n.\r\r\n",
    "\r\n",
    "x",
    "\r\n.\r\nMAIL FROM:<evil@evil.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n",
];

/// Every CRLF, CR or LF is a line end; the last line has one.
fn as_lines(octets: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (at, octet) in octets.iter().enumerate() {
        match octet {
            b'\n' if at > 0 && octets[at - 1] == b'\r' => {}
            b'\r' | b'\n' => lines.extend_from_slice(b"\r\n"),
            _ => lines.push(*octet),
        }
    }
    if !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

fn is_lines(wire: &[u8]) -> bool {
    wire.split_inclusive(|&octet| octet == b'\n')
        .all(|line| line.strip_suffix(b"\r\n").is_some_and(|line| !line.contains(&b'\r') && !line.contains(&b'\n')))
}

fn settings() -> Vec<Setting> {
    use ReceiverRole::{BestEffort, SecureOnly};
    use TlsUse::{Implicit, Offered, Required, Without};
    let of = [
        (Offered, BestEffort),
        (Offered, SecureOnly),
        (Required, BestEffort),
        (Required, SecureOnly),
        (Implicit, BestEffort),
        (Implicit, SecureOnly),
        (Without, BestEffort),
    ];
    of.into_iter().map(|(tls, role)| Setting::of(tls, role)).collect()
}

fn assert_delivered(record: &Record, message: &Message, context: &str) {
    let [(envelope, octets)] = record.stored.as_slice() else { panic!("{context}: {record:?}") };
    assert_eq!((&envelope.reverse_path, &envelope.recipients), (&message.0.reverse_path, &message.0.recipients), "{context}");
    assert_eq!(String::from_utf8_lossy(octets), String::from_utf8_lossy(&as_lines(&message.1)), "{context}");
    let [report] = record.reports.as_slice() else { panic!("{context}: {record:?}") };
    assert!(report.results.iter().all(|(_, result)| result.as_ref().is_ok_and(Reply::is_positive)), "{context}: {report:?}");
    assert!(is_lines(&record.clear) && is_lines(&record.secured), "{context}");
}

/// S2, L1-6: what one side sends the other stores, once, however it was cut and whatever tries to end it early.
#[test]
fn s2_what_is_sent_is_what_is_stored() {
    for seed in 0..700 {
        let mut random = Random::new(seed);
        let setting = random.pick(&settings());
        let pieces = random.pick(&[HONEST, HOSTILE]);
        let recipients = random.pick(&[["b@x.test"].as_slice(), &["b@x.test", "\"c d\"@x.test", "e@x.test"]]);
        let message = message(recipients, &body(&mut random, pieces));
        let record = Pair::play(setting, vec![message.clone()], seed);
        assert_delivered(&record, &message, &format!("seed {seed}, {setting:?}"));
    }
}

/// L1-1, L2-4, L2-8: with STARTTLS the sender says nothing in the clear but this, and introduces itself again under TLS.
#[test]
fn l2_4_between_ourselves_only_starttls_is_in_the_clear() {
    for setting in settings() {
        let record = Pair::play(setting, vec![message(&["b@x.test"], b"secret")], 1);
        let clear = String::from_utf8(record.clear).expect("ASCII");
        match setting.tls {
            TlsUse::Offered | TlsUse::Required => assert_eq!(clear, "EHLO us.test\r\nSTARTTLS\r\n"),
            TlsUse::Implicit => assert_eq!(clear, ""),
            TlsUse::Without => assert!(clear.contains("MAIL FROM:<a@us.test>")),
        }
        assert!(setting.tls == TlsUse::Without || record.secured.starts_with(b"EHLO us.test\r\nMAIL FROM:"));
    }
}

/// L2-6, decision 8: a SOR takes nothing in the clear, and the sender understands why.
#[test]
fn l2_6_a_sor_tells_a_plain_sender_that_it_needs_tls() {
    let record = Pair::play(Setting::of(TlsUse::Without, ReceiverRole::SecureOnly), vec![message(&["b@x.test", "c@x.test"], b"x")], 1);
    let asked = Reply::new(530, Some(EnhancedStatus::new(5, 7, 0)), "Must issue a STARTTLS command first");
    let results: Vec<_> = record.reports.iter().flat_map(|report| &report.results).map(|(_, result)| result.clone()).collect();
    assert_eq!(results, vec![Err(Cause::NeedsTls(asked)); 2]);
    assert!(record.stored.is_empty());
}

#[test]
fn several_messages_go_over_one_session_and_a_refusal_concerns_whom_it_names() {
    let relay = "b@elsewhere.test";
    for seed in 0..100 {
        let messages = vec![message(&["b@x.test", relay], b"one"), message(&[relay], b"two"), message(&[relay, "c@x.test"], b"three")];
        let record = Pair::play(Setting::of(TlsUse::Required, ReceiverRole::BestEffort), messages, seed);
        let stored: Vec<_> =
            record.stored.iter().map(|(envelope, octets)| (envelope.recipients.clone(), octets.ends_with(b"one\r\n"))).collect();
        assert_eq!(stored, [(vec![mailbox("b@x.test")], true), (vec![mailbox("c@x.test")], false)], "seed {seed}");
        let took: Vec<Vec<bool>> =
            record.reports.iter().map(|report| report.results.iter().map(|(_, result)| result.is_ok()).collect()).collect();
        assert_eq!(took, [vec![true, false], vec![false], vec![false, true]], "seed {seed}");
        assert_eq!(record.failure, None);
    }
}

#[test]
fn a_full_disk_defers_for_everybody() {
    let setting = Setting { disk_full: true, ..Setting::of(TlsUse::Required, ReceiverRole::BestEffort) };
    let record = Pair::play(setting, vec![message(&["b@x.test", "c@x.test"], b"x")], 1);
    assert!(record.reports[0].results.iter().all(|(_, result)| matches!(result, Err(Cause::Deferred(reply)) if reply.code == 452)));
}

/// However early or late the wire goes dead, both ends come to an end, and a message that the sender believes delivered is stored.
#[test]
fn a_wire_that_dies_never_loses_a_message_that_was_taken() {
    let (mut lost, mut doubled, mut delivered) = (0, 0, 0);
    for seed in 0..700 {
        let mut random = Random::new(seed);
        let setting = Setting { dies_after: Some(random.below(120)), ..random.pick(&settings()) };
        let record = Pair::play(setting, vec![message(&["b@x.test"], b"x")], seed);
        let believed = record.reports.iter().flat_map(|report| &report.results).any(|(_, result)| result.is_ok());
        let transmitted = record.reports.iter().any(|report| report.transmitted);
        assert!(!believed || record.stored.len() == 1, "seed {seed}, {setting:?}");
        assert!(transmitted || record.stored.is_empty(), "seed {seed}, {setting:?}: stored, and the sender does not know that it sent");
        match (believed, record.stored.len()) {
            (true, _) => delivered += 1,
            (false, 0) => lost += 1,
            (false, _) => doubled += 1,
        }
    }
    assert!(lost > 50 && doubled > 5 && delivered > 5, "every case comes up: {lost} {doubled} {delivered}");
}
