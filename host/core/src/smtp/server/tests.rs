//! Dialogs with the receiving session, each played at once, octet by octet, and cut at every offset.

mod extensions;

use super::*;
use crate::channel::{Level, Tls, TlsVersion};
use crate::mail::{Domain, Mailbox};
use crate::report::EnhancedStatus;
use crate::role::ReceiverRole;
use proptest::prelude::*;
use std::collections::VecDeque;

const HELLO: &str = "EHLO probe.test\r\n";
const TO_DATA: &str = "EHLO probe.test\r\nMAIL FROM:<a@probe.test>\r\nRCPT TO:<user@example.test>\r\nDATA\r\n";

/// Plays the gateway: answers questions at once and writes nothing down but memory.
struct Host {
    session: Option<ServerSession>,
    replies: Vec<Reply>,
    content: Vec<u8>,
    stored: Vec<(Envelope, Disposition, Vec<u8>)>,
    questions: Vec<Question>,
    /// What policies say about RCPT and content.
    recipient: Ruling,
    judgement: Ruling,
    storage: Result<(), Refusal>,
    /// Answers STARTTLS with a handshake that succeeds.
    secures: bool,
    closed: bool,
}

fn config() -> ServerConfig {
    let domain = |name| Domain::parse(name).expect("valid");
    ServerConfig {
        hostname: domain("mx.example.test"),
        own_domains: vec![domain("example.test")],
        postmaster: Mailbox::parse(b"postmaster@example.test", false).expect("valid"),
        mechanisms: Vec::new(),
        strict_header: false,
        limits: Limits { message_octets_max: 10 * 1024 * 1024, ..Limits::default() },
    }
}

fn secured() -> Channel {
    let tls = Tls { version: TlsVersion::V13, cipher: String::new(), group: String::new(), server_name: None, peer: None, doubt: None };
    Channel::secured(Level::Encrypted, tls)
}

impl Host {
    fn new(role: ReceiverRole, relay: bool, channel: Channel) -> Self {
        Self::with(config(), role, relay, channel)
    }

    fn with(config: ServerConfig, role: ReceiverRole, relay: bool, channel: Channel) -> Self {
        let mut effects = Vec::new();
        let client = Client { address: [192, 0, 2, 9].into(), relay, normalize: false };
        let session = ServerSession::open(Arc::new(config), client, channel, &mut effects);
        let terms = Terms { role, ..Terms::default() };
        let session = session.handle(Input::Greeted(terms, Ruling::Pass), &mut effects);
        let mut host = Self {
            session: Some(session),
            replies: Vec::new(),
            content: Vec::new(),
            stored: Vec::new(),
            questions: Vec::new(),
            recipient: Ruling::Pass,
            judgement: Ruling::Pass,
            storage: Ok(()),
            secures: true,
            closed: false,
        };
        effects.retain(|effect| !matches!(effect, Effect::Ask(Question::Greet)));
        host.perform(effects);
        assert_eq!(host.codes(), "220");
        host.replies.clear();
        host
    }

    fn plain() -> Self {
        Self::new(ReceiverRole::BestEffort, false, Channel::plain())
    }

    fn input(&mut self, input: Input<'_>) {
        let mut effects = Vec::new();
        self.step(input, &mut effects);
        self.perform(effects);
    }

    fn step(&mut self, input: Input<'_>, effects: &mut Vec<Effect>) {
        if let Some(session) = self.session.take() {
            self.session = Some(session.handle(input, effects));
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            assert!(!self.closed, "{effect:?} after Close");
            let mut more = Vec::new();
            match effect {
                Effect::Reply(reply) => self.replies.push(reply),
                Effect::Secure(_) if self.secures => self.step(Input::Secured(secured()), &mut more),
                Effect::Secure(_) => self.step(Input::SecureFailed, &mut more),
                Effect::Ask(question) => {
                    let ruling = match &question {
                        Question::Recipient { .. } => self.recipient.clone(),
                        Question::Content(_) => self.judgement.clone(),
                        Question::Greet | Question::Mail { .. } => Ruling::Pass,
                    };
                    self.questions.push(question);
                    self.step(Input::Ruled(ruling), &mut more);
                }
                Effect::Store(octets) => self.content.extend(octets),
                Effect::Discard => self.content.clear(),
                Effect::Commit { envelope, disposition, .. } => {
                    let result = self.storage.map(|()| QueueId::new(1, 1));
                    if result.is_ok() {
                        self.stored.push((envelope, disposition, std::mem::take(&mut self.content)));
                    }
                    self.step(Input::Stored(result), &mut more);
                }
                Effect::Authenticate(step) => {
                    let answer = match step {
                        AuthStep::Begin { initial: Some(octets), .. } | AuthStep::Continue(octets) if octets == b"right" => {
                            Input::Authenticated(Ok("ana".into()))
                        }
                        AuthStep::Begin { initial: None, .. } => Input::Challenge(b"Username:".to_vec()),
                        AuthStep::Begin { .. } | AuthStep::Continue(_) => Input::Authenticated(Err(AuthRefusal::Credentials)),
                    };
                    self.step(answer, &mut more);
                }
                Effect::Close => self.closed = true,
                Effect::Wait(_) | Effect::Introduced(_) | Effect::Dropped(_) => {}
            }
            queue.extend(more);
        }
    }

    fn send(&mut self, octets: &[u8]) {
        self.input(Input::Octets(octets));
    }

    fn codes(&self) -> String {
        self.replies.iter().map(|reply| reply.code.to_string()).collect::<Vec<_>>().join(" ")
    }
}

/// Plays `wire` to fresh hosts in every cut and gives the codes, which must be the same each time.
fn play(make: impl Fn() -> Host, wire: &[u8]) -> Host {
    let mut whole = make();
    whole.send(wire);
    let mut slow = make();
    wire.iter().for_each(|octet| slow.send(&[*octet]));
    assert_eq!(slow.codes(), whole.codes(), "octet by octet: {}", wire.escape_ascii());
    if wire.len() < 600 && !wire.windows(8).any(|window| window == b"STARTTLS") {
        for cut in 0..wire.len() {
            let mut cut_in_two = make();
            cut_in_two.send(&wire[..cut]);
            cut_in_two.send(&wire[cut..]);
            assert_eq!(cut_in_two.codes(), whole.codes(), "cut at {cut}: {}", wire.escape_ascii());
        }
    }
    whole
}

fn codes(wire: &str) -> String {
    play(Host::plain, wire.as_bytes()).codes()
}

fn after_hello(wire: &str) -> String {
    codes(&format!("{HELLO}{wire}")).split_once(' ').map_or(String::new(), |(_, rest)| rest.to_owned())
}

#[test]
fn l1_6_a_message_in_the_clear_is_taken_by_a_ber() {
    let host = play(Host::plain, format!("{TO_DATA}Subject: t\r\n\r\n..dot\r\n.\r\nQUIT\r\n").as_bytes());
    assert_eq!(host.codes(), "250 250 250 354 250 221");
    let (envelope, disposition, content) = host.stored.first().expect("stored");
    assert_eq!(envelope.recipients.len(), 1);
    assert_eq!((disposition, content.as_slice()), (&Disposition::Deliver, b"Subject: t\r\n\r\n.dot\r\n".as_slice()));
    assert!(host.closed);
    assert!(host.replies[4].lines[0].starts_with("queued as "));
}

/// L1-1, L1-5: STARTTLS stands in the first EHLO answer and is gone after the handshake; asking again is refused.
#[test]
fn l1_1_l1_5_starttls_is_offered_once() {
    let mut host = Host::plain();
    host.send(HELLO.as_bytes());
    assert!(host.replies[0].lines.iter().any(|line| line == "STARTTLS"));
    host.send(b"STARTTLS\r\n");
    host.send(HELLO.as_bytes());
    host.send(b"STARTTLS\r\n");
    assert_eq!(host.codes(), "250 220 250 503");
    assert!(!host.replies[2].lines.iter().any(|line| line == "STARTTLS"));
}

/// What is asked of the pace of content holds from where it is awaited, whether it is kept or not, to the end of the transaction.
#[test]
fn content_is_under_way_from_where_it_is_awaited() {
    let open = TO_DATA.replace("DATA\r\n", "");
    for (wire, under_way) in [
        (open.clone(), false),
        (TO_DATA.to_owned(), true),
        (format!("{TO_DATA}\n"), true),
        (format!("{TO_DATA}x\r\n.\r\n"), false),
        (format!("{TO_DATA}\n\r\n.\r\n"), false),
        (format!("{open}BDAT 9\r\n"), true),
        (format!("{open}BDAT 2\r\n\r\n"), true),
        (format!("{open}BDAT 2\r\n\r\nRSET\r\n"), false),
        (format!("{open}BDAT 2 LAST\r\n\r\n"), false),
        (format!("{HELLO}BDAT 9\r\n"), true),
        (format!("{HELLO}BDAT 2\r\n\r\n"), false),
    ] {
        let mut host = Host::plain();
        host.send(wire.as_bytes());
        assert_eq!(host.session.expect("it is there").is_in_content(), under_way, "{wire:?}");
    }
}

/// L2-8, S4: what was sent in the clear behind STARTTLS is never obeyed, and nothing said before counts.
#[test]
fn l2_8_octets_behind_starttls_are_dropped() {
    let mut host = Host::plain();
    host.send(format!("{HELLO}STARTTLS\r\nMAIL FROM:<evil@probe.test>\r\nNOOP\r\n").as_bytes());
    assert_eq!(host.codes(), "250 220", "nothing is answered that came in the clear");
    host.send(b"MAIL FROM:<a@probe.test>\r\n");
    assert_eq!(host.codes(), "250 220 503", "EHLO comes again");
    let mut open = Host::plain();
    open.send(format!("{HELLO}MAIL FROM:<a@probe.test>\r\n").as_bytes());
    open.send(b"STARTTLS\r\n");
    open.send(format!("{HELLO}RCPT TO:<user@example.test>\r\n").as_bytes());
    assert_eq!(open.codes(), "250 250 220 250 503", "the transaction from before is gone");
}

#[test]
fn a_failed_handshake_ends_the_connection() {
    let mut host = Host::plain();
    host.secures = false;
    host.send(format!("{HELLO}STARTTLS\r\n").as_bytes());
    assert!(host.closed);
}

/// L2-6: in the clear a SOR answers 530 to all but NOOP, EHLO, STARTTLS, QUIT.
#[test]
fn l2_6_a_sor_wants_tls_first() {
    let sor = || Host::new(ReceiverRole::SecureOnly, false, Channel::plain());
    for line in [
        "MAIL FROM:<a@b.test>",
        "RCPT TO:<user@example.test>",
        "DATA",
        "HELO x.test",
        "RSET",
        "VRFY x",
        "EXPN x",
        "HELP",
        "BDAT 5 LAST",
        "AUTH PLAIN",
        "JUNK",
        "",
        "MAIL FROM:<\0>",
    ] {
        let host = play(sor, format!("{line}\r\n").as_bytes());
        let tls_first = Reply::new(530, Some(EnhancedStatus::new(5, 7, 0)), "Must issue a STARTTLS command first");
        assert_eq!(host.replies, [tls_first], "{line:?}");
    }
    for (line, code) in [("NOOP", "250"), ("EHLO x.test", "250"), ("STARTTLS", "220"), ("QUIT", "221")] {
        assert_eq!(play(sor, format!("{line}\r\n").as_bytes()).codes(), code);
    }
    let host = play(sor, TO_DATA.replacen(HELLO, "", 1).as_bytes());
    assert_eq!(host.codes(), "530 530 530");
    assert!(host.questions.is_empty(), "no policy is asked about what is refused");
}

/// L2-7: the role itself wants TLS and nothing more; no AUTH is offered.
#[test]
fn l2_7_any_tls_client_is_welcome_to_a_sor() {
    let mut host = Host::new(ReceiverRole::SecureOnly, false, secured());
    host.send(format!("{TO_DATA}x\r\n.\r\n").as_bytes());
    assert_eq!(host.codes(), "250 250 250 354 250");
    assert!(host.replies[0].lines.iter().all(|line| !line.contains("AUTH")));
}

#[test]
fn order_is_kept() {
    for (wire, expected) in [
        ("MAIL FROM:<a@b.test>\r\n", "503"),
        ("EHLO x.test\r\nRCPT TO:<user@example.test>\r\n", "250 503"),
        ("EHLO x.test\r\nDATA\r\n", "250 503"),
        ("EHLO x.test\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\n", "250 250 503"),
        ("EHLO x.test\r\nMAIL FROM:<>\r\nDATA\r\n", "250 250 503"),
        ("EHLO x.test\r\nMAIL FROM:<>\r\nRCPT TO:<x@remote.test>\r\nDATA\r\n", "250 250 550 554"),
        ("HELO x.test\r\nMAIL FROM:<>\r\nRSET\r\nRCPT TO:<user@example.test>\r\n", "250 250 250 503"),
        ("EHLO x.test\r\nMAIL FROM:<>\r\nEHLO x.test\r\nRCPT TO:<user@example.test>\r\n", "250 250 250 503"),
    ] {
        assert_eq!(codes(wire), expected, "{wire:?}");
    }
}

#[test]
fn junk_is_answered_once_and_survived() {
    for (wire, expected) in [
        ("WHATISTHIS\r\n", "500"),
        ("\r\n", "500"),
        ("NOOP\n", ""),
        ("NOOP", ""),
        ("NOOP\rNOOP\r\n", "501"),
        ("NOOP \0\r\n", "501"),
        ("MAIL FROM:<a\0b@probe.test>\r\n", "501"),
        ("AUTH PLAIN\r\n", "502"),
        ("BDAT x\r\nNOOP\r\n", "501"),
        ("XCLIENT ADDR=127.0.0.1\r\n", "500"),
        ("VRFY root\r\n", "252"),
        ("MAIL FROM:<a@probe.test> FOO=BAR\r\n", "555"),
        ("MAIL FROM:<a@probe.test> SIZE=1 SIZE=999999999\r\n", "501"),
        ("MAIL FROM:<a@probe.test> SIZE=99999999999\r\n", "552"),
        ("MAIL FROM:<a@probe.test> SIZE=99999999999999999999999\r\n", "501"),
        ("MAIL FROM:<a@probe.test> BODY=BINARYMIME\r\n", "555"),
        ("MAIL FROM:<a@probe.test> BODY=8BITMIME\r\n", "250"),
        ("MAIL FROM:<bücher@probe.test>\r\n", "553"),
        ("MAIL FROM:<bücher@probe.test> SMTPUTF8\r\nRCPT TO:<bücher@example.test>\r\n", "250 250"),
        ("MAIL FROM:<a@xn--example-.test>\r\n", "501"),
        ("QUIT\r\nNOOP\r\n", "221"),
    ] {
        assert_eq!(after_hello(wire), expected, "{wire:?}");
    }
    let long = format!("NOOP {}\r\nNOOP\r\n", "A".repeat(65_536));
    assert_eq!(after_hello(&long), "500 250");
    assert_eq!(codes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "554");
    assert!(play(Host::plain, b"Subject: x\r\n").closed);
}

#[test]
fn twenty_errors_are_enough() {
    let host = play(Host::plain, "JUNK\r\n".repeat(30).as_bytes());
    assert_eq!(host.replies.len(), 22);
    assert!(host.codes().ends_with("421") && host.closed);
}

#[test]
fn nobody_relays_through_us() {
    for to in [
        "victim@remote.test",
        "victim%remote.test@example.test",
        "remote.test!victim@example.test",
        "\"victim@remote.test\"@example.test",
        "@example.test:victim@remote.test",
        "victim@[192.0.2.1]",
        "victim@localhost",
        "user@sub.example.test",
    ] {
        assert_eq!(after_hello(&format!("MAIL FROM:<a@probe.test>\r\nRCPT TO:<{to}>\r\n")), "250 550", "{to}");
    }
    for to in [
        "victim%remote.test",
        "\"victim@remote.test\"",
        "victim@remote.test@example.test",
        "user@example.test\\@remote.test",
        "user@example.test:2525",
    ] {
        assert_eq!(after_hello(&format!("MAIL FROM:<a@probe.test>\r\nRCPT TO:<{to}>\r\n")), "250 501", "{to}");
    }
    for to in ["user@example.test", "USER@EXAMPLE.TEST", "Postmaster", "@x.test,@y.test:user@example.test"] {
        assert_eq!(after_hello(&format!("MAIL FROM:<a@probe.test>\r\nRCPT TO:<{to}>\r\n")), "250 250", "{to}");
    }
    let inside = || Host::new(ReceiverRole::BestEffort, true, Channel::plain());
    assert_eq!(play(inside, b"EHLO x.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@remote.test>\r\n").codes(), "250 250 250");
}

#[test]
fn recipients_are_counted_and_kept_once() {
    let many: String = (0..1001).map(|n| format!("RCPT TO:<u{n}@example.test>\r\n")).collect();
    let mut host = Host::plain();
    host.send(format!("{HELLO}MAIL FROM:<>\r\n{many}").as_bytes());
    assert!(host.codes().ends_with("250 452"));
    let twice =
        play(Host::plain, format!("{}RCPT TO:<user@example.test>\r\nDATA\r\nx\r\n.\r\n", TO_DATA.replace("DATA\r\n", "")).as_bytes());
    assert_eq!(twice.stored[0].0.recipients.len(), 1);
}

/// S2: no octets within content are ever obeyed as commands, and flawed content is refused and not stored.
#[test]
fn s2_nothing_is_smuggled_in() {
    let forged = "EHLO evil.test\r\nMAIL FROM:<boss@example.test>\r\nRCPT TO:<user@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n.\r\n";
    for end in ["\n.\r", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r\r\n", "\n.\r\r\n", "\n.\n"] {
        let host = play(Host::plain, format!("{TO_DATA}Subject: t\r\n\r\nbody{end}{forged}").as_bytes());
        assert_eq!(host.codes(), "250 250 250 354 550", "{end:?}");
        assert!(host.stored.is_empty());
    }
    for end in ["\u{b}.\u{b}", "\u{85}.\u{85}", "\u{2028}.\u{2028}", "\r\n\0.\r\n"] {
        let host = play(Host::plain, format!("{TO_DATA}Subject: t\r\n\r\nbody{end}{forged}").as_bytes());
        assert_eq!((host.codes().as_str(), host.stored.len()), ("250 250 250 354 250", 1), "{end:?}");
    }
}

#[test]
fn what_is_wrong_with_a_message_is_said_after_its_end() {
    let received = "Received: x\r\n".repeat(101);
    let fields = "X: y\r\n".repeat(1001);
    for (content, expected) in [
        (received.as_str(), "554"),
        (fields.as_str(), "554"),
        (&format!("{}\r\n", "a".repeat(10_001)), "554"),
        (&format!("X: {}\r\n", "y\r\n ".repeat(30_000)), "554"),
        ("bare\nlf\r\n", "550"),
        ("bare\rcr\r\n", "550"),
        ("", "250"),
    ] {
        let mut host = Host::plain();
        host.send(format!("{TO_DATA}{content}.\r\nNOOP\r\n").as_bytes());
        assert_eq!(host.codes(), format!("250 250 250 354 {expected} 250"));
        assert_eq!(host.stored.len(), usize::from(expected == "250"));
    }
    let mut big = Host::plain();
    big.send(TO_DATA.as_bytes());
    for _ in 0..11 * 1024 {
        big.send(&b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(16));
        assert!(big.content.len() <= 10 * 1024 * 1024);
    }
    big.send(b".\r\n");
    assert!(big.codes().ends_with("354 552"));
}

#[test]
fn rulings_are_obeyed() {
    let reason = || Reason { code: "test.reason".into(), text: "because".into() };
    let reject = |code| Ruling::Reject { reply: Reply::new(code, None, "no"), reason: reason() };
    let defer = |code| Ruling::Defer { reply: Reply::new(code, None, "later"), reason: reason() };
    for (recipient, judgement, expected, stored) in [
        (reject(550), Ruling::Pass, "250 250 550 554", 0),
        (defer(450), Ruling::Pass, "250 250 450 554", 0),
        (reject(250), Ruling::Pass, "250 250 451 554", 0),
        (Ruling::Pass, reject(554), "250 250 250 354 554", 0),
        (Ruling::Pass, defer(451), "250 250 250 354 451", 0),
        (Ruling::Pass, defer(550), "250 250 250 354 451", 0),
        (Ruling::Pass, Ruling::Discard(reason()), "250 250 250 354 250", 0),
        (Ruling::Discard(reason()), Ruling::Pass, "250 250 250 354 250", 0),
        (Ruling::Pass, Ruling::Quarantine(reason()), "250 250 250 354 250", 1),
        (Ruling::Pass, Ruling::Accept(reason()), "250 250 250 354 250", 1),
    ] {
        let mut host = Host::plain();
        (host.recipient, host.judgement) = (recipient, judgement.clone());
        host.send(TO_DATA.as_bytes());
        if host.codes().ends_with("354") {
            host.send(b"x\r\n.\r\n");
        }
        assert_eq!((host.codes().as_str(), host.stored.len()), (expected, stored));
        let kept = matches!(judgement, Ruling::Quarantine(_));
        assert!(host.stored.iter().all(|(_, disposition, _)| (*disposition == Disposition::Quarantine(reason())) == kept));
    }
}

/// Invariant 4: no 250 for what was not written down.
#[test]
fn a_message_that_is_not_stored_is_not_accepted() {
    for (refusal, expected) in [(Refusal::Full, "452"), (Refusal::Fault, "451")] {
        let mut host = Host::plain();
        host.storage = Err(refusal);
        host.send(format!("{TO_DATA}x\r\n.\r\n").as_bytes());
        assert!(host.codes().ends_with(expected));
    }
}

#[test]
fn silence_and_shutdown_end_with_421() {
    let mut idle = Host::plain();
    idle.input(Input::TimedOut);
    assert_eq!((idle.codes().as_str(), idle.closed), ("421", true));
    let mut going = Host::plain();
    going.input(Input::Drain);
    assert_eq!((going.codes().as_str(), going.closed), ("421", true));
}

/// A message whose content is awaited is taken before the connection ends, though shutdown is said only once.
#[test]
fn shutdown_waits_for_the_message_under_way() {
    let mut host = Host::plain();
    host.send(TO_DATA.as_bytes());
    host.input(Input::Drain);
    assert!(!host.closed && host.codes().ends_with("354"));
    host.send(b"x\r\n.\r\n");
    assert!(host.closed && host.codes().ends_with("250 421"), "{}", host.codes());
}

#[test]
fn an_early_talker_is_sent_away() {
    let mut effects = Vec::new();
    let client = Client { address: [192, 0, 2, 9].into(), relay: false, normalize: false };
    let session = ServerSession::open(Arc::new(config()), client, Channel::plain(), &mut effects);
    let _closed = session.handle(Input::Octets(b"EHLO probe.test\r\n"), &mut effects);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Reply(reply) if reply.code == 554)));
    assert_eq!(effects.last(), Some(&Effect::Close));
}

proptest! {
    /// S12: no octets make the session panic, answer out of turn, or go on after it closed.
    #[test]
    fn s12_no_octets_hurt(chunks in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::sample::select(vec![HELLO, TO_DATA, "STARTTLS\r\n", ".\r\n", "\r\n.\r\n", "RSET\r\n", "QUIT\r\n", "MAIL FROM:<"]).prop_map(|s| s.as_bytes().to_vec()),
    ], 0..30)) {
        let mut host = Host::plain();
        for chunk in &chunks {
            if host.closed { break; }
            host.send(chunk);
        }
    }
}
