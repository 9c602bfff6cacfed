//! Dialogs with extensions: CHUNKING, AUTH, DSN, SMTPUTF8, REQUIRETLS, LIMITS.

use super::*;
use crate::mail::BodyKind;
use crate::mail::dsn::Notify;

const TO_CONTENT: &str = "EHLO probe.test\r\nMAIL FROM:<a@probe.test>\r\nRCPT TO:<user@example.test>\r\n";

fn secure() -> Host {
    Host::new(ReceiverRole::BestEffort, false, secured())
}

/// A listener of our own, where users may authenticate.
fn inside(channel: Channel) -> Host {
    Host::with(ServerConfig { mechanisms: vec!["PLAIN".into(), "LOGIN".into()], ..config() }, ReceiverRole::BestEffort, false, channel)
}

#[test]
fn what_is_offered_is_what_is_done() {
    let offer = |mut host: Host| {
        host.send(HELLO.as_bytes());
        host.replies[0].lines.join(" ")
    };
    let clear = offer(Host::plain());
    for word in ["PIPELINING", "SIZE 10485760", "STARTTLS", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "LIMITS MAILMAX=1000 RCPTMAX=1000"] {
        assert!(clear.contains(word), "{word}");
    }
    assert!(!clear.contains("REQUIRETLS") && !clear.contains("AUTH"));
    assert!(offer(secure()).contains("REQUIRETLS"), "RFC 8689, 3: over TLS only");
    assert!(!offer(inside(Channel::plain())).contains("AUTH"), "no password in the clear");
    assert!(offer(inside(secured())).contains("AUTH PLAIN LOGIN"));
}

#[test]
fn chunks_make_a_message() {
    for (chunks, content) in [
        ("BDAT 22 LAST\r\nSubject: s\r\n\r\nx\r\n.\r\n\r\n", "Subject: s\r\n\r\nx\r\n.\r\n\r\n"),
        ("BDAT 5\r\nA: b\rBDAT 8 LAST\r\n\n\r\n..x\r\n", "A: b\r\n\r\n..x\r\n"),
        ("BDAT 6\r\nA: b\r\nBDAT 0 LAST\r\n", "A: b\r\n"),
        ("BDAT 4 LAST\r\nA: b", "A: b\r\n"),
        ("BDAT 0 LAST\r\n", ""),
    ] {
        let host = play(Host::plain, format!("{TO_CONTENT}{chunks}NOOP\r\n").as_bytes());
        let replies = chunks.matches("BDAT").count() + 1;
        assert_eq!(host.codes(), ["250"; 3].into_iter().chain(vec!["250"; replies]).collect::<Vec<_>>().join(" "), "{chunks:?}");
        assert_eq!(host.stored.len(), 1, "{chunks:?}");
        assert_eq!(String::from_utf8_lossy(&host.stored[0].2), content);
    }
}

/// S2: the octets of a chunk are never obeyed, whatever becomes of it.
#[test]
fn s2_a_chunk_is_never_obeyed() {
    let evil = "MAIL FROM:<boss@example.test>\r\nRCPT TO:<user@example.test>\r\n";
    for (wire, expected) in [
        (format!("{HELLO}BDAT {} LAST\r\n{evil}NOOP\r\n", evil.len()), "250 503 250"),
        (format!("{HELLO}MAIL FROM:<>\r\nBDAT {}\r\n{evil}NOOP\r\n", evil.len()), "250 250 503 250"),
        (format!("{TO_CONTENT}BDAT 6\r\na\nb\r\n.BDAT {} LAST\r\n{evil}NOOP\r\n", evil.len()), "250 250 250 550 503 250"),
        (format!("{TO_CONTENT}BDAT x\r\n{evil}"), "250 250 250 501"),
        (format!("{TO_CONTENT}BDAT 18446744073709551615 LAST\r\n{evil}"), "250 250 250"),
    ] {
        let host = play(Host::plain, wire.as_bytes());
        assert_eq!(host.codes(), expected, "{wire:?}");
        assert!(host.stored.is_empty());
        assert!(!host.questions.iter().any(
            |question| matches!(question, Question::Mail { reverse_path: Some(path), .. } if path.to_string() == "boss@example.test")
        ));
    }
    let sor = || Host::new(ReceiverRole::SecureOnly, false, Channel::plain());
    let host = play(sor, format!("BDAT {} LAST\r\n{evil}NOOP\r\n", evil.len()).as_bytes());
    assert_eq!(host.codes(), "530 250", "L2-6");
}

#[test]
fn chunks_and_data_do_not_mix() {
    for (wire, expected) in [
        ("BDAT 5\r\nhelloDATA\r\n", "250 503"),
        ("BDAT 5\r\nhelloRCPT TO:<b@example.test>\r\n", "250 503"),
        ("BDAT 5\r\nhelloMAIL FROM:<>\r\n", "250 503"),
        ("BDAT 5\r\nhelloRSET\r\nBDAT 3 LAST\r\nabcNOOP\r\n", "250 250 503 250"),
        ("BDAT 5\r\nhelloEHLO x.test\r\nDATA\r\n", "250 250 503"),
    ] {
        let host = play(Host::plain, format!("{TO_CONTENT}{wire}").as_bytes());
        assert_eq!(host.codes(), format!("250 250 250 {expected}"), "{wire:?}");
        assert!(host.stored.is_empty());
    }
}

/// S10: a chunk larger than any message is read, refused, and never kept.
#[test]
fn a_chunk_beyond_the_limit_is_not_kept() {
    let mut host = Host::plain();
    let octets = 12 * 1024 * 1024;
    host.send(format!("{TO_CONTENT}BDAT {octets}\r\n").as_bytes());
    for _ in 0..octets / 65_536 {
        host.send(&b"aaaaaaaaaaaaaa\r\n".repeat(4096));
        assert!(host.content.len() <= 10 * 1024 * 1024);
    }
    host.send(b"NOOP\r\n");
    assert!(host.codes().ends_with("552 250"));
}

#[test]
fn users_authenticate_over_tls_only() {
    for (wire, expected) in [
        ("AUTH PLAIN cmlnaHQ=\r\nMAIL FROM:<>\r\nRCPT TO:<a@remote.test>\r\n", "235 250 250"),
        ("AUTH LOGIN\r\ncmlnaHQ=\r\nAUTH PLAIN cmlnaHQ=\r\n", "334 235 503"),
        ("AUTH LOGIN\r\n*\r\nRCPT TO:<a@remote.test>\r\n", "334 501 503"),
        ("AUTH PLAIN =\r\nNOOP\r\n", "535 250"),
        ("AUTH PLAIN ?\r\nNOOP\r\n", "501 250"),
        ("AUTH LOGIN\r\n?\r\nNOOP\r\n", "334 501 250"),
        ("AUTH CRAM-MD5 x\r\n*\r\nAUTH PLAIN\r\n=\r\n", "504 500 334 501"),
        ("MAIL FROM:<>\r\nAUTH PLAIN cmlnaHQ=\r\n", "250 503"),
        ("MAIL FROM:<> AUTH=<>\r\nRCPT TO:<a@remote.test>\r\n", "250 550"),
        ("AUTH PLAIN d3Jvbmc=\r\nAUTH PLAIN d3Jvbmc=\r\nAUTH PLAIN d3Jvbmc=\r\nNOOP\r\n", "535 535 535 421"),
    ] {
        let host = play(|| inside(secured()), format!("{HELLO}{wire}").as_bytes());
        assert_eq!(host.codes(), format!("250 {expected}"), "{wire:?}");
    }
    let long = format!("{HELLO}AUTH LOGIN\r\n{}\r\nNOOP\r\n", "A".repeat(20_000));
    assert_eq!(play(|| inside(secured()), long.as_bytes()).codes(), "250 334 501 250");
    assert_eq!(play(|| inside(Channel::plain()), b"EHLO x.test\r\nAUTH PLAIN cmlnaHQ=\r\n").codes(), "250 538");
    assert_eq!(play(secure, b"EHLO x.test\r\nAUTH PLAIN cmlnaHQ=\r\n").codes(), "250 502", "where it is not offered");
}

#[test]
fn a_certificate_may_name_the_user() {
    let mut host = inside(secured());
    host.input(Input::Authenticated(Ok("ana".into())));
    host.send(b"EHLO x.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@remote.test>\r\n");
    assert_eq!(host.codes(), "250 250 250");
}

#[test]
fn what_the_sender_wants_to_hear_is_kept() {
    let wire = "EHLO x.test\r\nMAIL FROM:<a@probe.test> RET=HDRS ENVID=QQ+2B1\r\n\
        RCPT TO:<user@example.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;u+2Bx@example.test\r\nRCPT TO:<b@example.test>\r\nDATA\r\nx\r\n.\r\n";
    let host = play(Host::plain, wire.as_bytes());
    let envelope = &host.stored[0].0;
    assert_eq!(envelope.dsn.envid.as_deref(), Some("QQ+1"));
    let request = envelope.dsn.of(&envelope.recipients[0]);
    assert_eq!(request.notify, Some(Notify::When { success: true, failure: false, delay: true }));
    assert_eq!(request.original.map(|original| original.address).as_deref(), Some("u+x@example.test"));
    assert_eq!(envelope.dsn.recipients.len(), 1);
    for (line, code) in [
        ("MAIL FROM:<a@probe.test> RET=HALF", "501"),
        ("MAIL FROM:<a@probe.test> ENVID=a+00b", "501"),
        ("MAIL FROM:<a@probe.test> ENVID=x+0D+0ABcc:+20v@w.test", "501"),
        ("MAIL FROM:<a@probe.test> NOTIFY=NEVER", "555"),
    ] {
        assert_eq!(after_hello(&format!("{line}\r\n")), code, "{line}");
    }
    for (parameter, code) in
        [("NOTIFY=NEVER,DELAY", "501"), ("NOTIFY", "501"), ("ORCPT=x", "501"), ("RET=FULL", "555"), ("NOTIFY=NEVER", "250")]
    {
        let wire = format!("MAIL FROM:<>\r\nRCPT TO:<user@example.test> {parameter}\r\n");
        assert_eq!(after_hello(&wire), format!("250 {code}"), "{parameter}");
    }
}

#[test]
fn requiretls_is_for_tls() {
    let line = "EHLO x.test\r\nMAIL FROM:<> REQUIRETLS\r\n";
    assert_eq!(play(Host::plain, line.as_bytes()).codes(), "250 555");
    let host = play(secure, format!("{line}RCPT TO:<user@example.test>\r\nDATA\r\nx\r\n.\r\n").as_bytes());
    assert!(host.stored[0].0.require_tls);
}

#[test]
fn smtputf8_promises_utf8() {
    let message = |parameter: &str, header: &[u8]| {
        let mut wire = format!("{HELLO}MAIL FROM:<>{parameter}\r\nRCPT TO:<user@example.test>\r\nDATA\r\n").into_bytes();
        wire.extend_from_slice(&[b"Subject: ", header, b"\r\n\r\n\xff\r\n.\r\n"].concat());
        wire
    };
    let (utf8, latin) = ("bücher".as_bytes(), b"b\xfccher".as_slice());
    let host = play(Host::plain, &message(" SMTPUTF8", utf8));
    assert_eq!((host.stored.len(), host.stored[0].0.body), (1, BodyKind::EightBit), "what it is counts, not what it is called");
    assert!(play(Host::plain, &message(" SMTPUTF8", latin)).codes().ends_with("354 554"));
    assert!(play(Host::plain, &message("", latin)).codes().ends_with("354 250"));
    let strict = || Host::with(ServerConfig { strict_header: true, ..config() }, ReceiverRole::BestEffort, false, Channel::plain());
    assert!(play(strict, &message("", utf8)).codes().ends_with("354 554"));
    assert!(play(strict, &message(" SMTPUTF8", utf8)).codes().ends_with("354 250"));
    assert!(play(strict, &message("", b"plain")).codes().ends_with("354 250"), "the body is no header");
}

#[test]
fn idle_talk_is_bounded() {
    let host = play(Host::plain, "NOOP\r\n".repeat(200).as_bytes());
    assert_eq!(host.replies.len(), 101);
    assert!(host.codes().ends_with("250 421") && host.closed);
    let mut busy = Host::plain();
    busy.send(HELLO.as_bytes());
    for _ in 0..40 {
        busy.send(b"NOOP\r\nNOOP\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<user@example.test>\r\nDATA\r\nx\r\n.\r\n");
    }
    assert_eq!(busy.stored.len(), 40, "a message makes up for it");
}

#[test]
fn messages_of_a_session_are_counted() {
    let few = || {
        let limits = Limits { messages_max: 2, ..Limits::default() };
        Host::with(ServerConfig { limits, ..config() }, ReceiverRole::BestEffort, false, Channel::plain())
    };
    let host = play(few, b"EHLO x.test\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\n");
    assert!(host.codes().ends_with("250 250 421") && host.closed);
    assert!(host.replies[0].lines.iter().any(|line| line.contains("MAILMAX=2")));
}
