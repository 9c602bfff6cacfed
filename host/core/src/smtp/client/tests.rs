//! Scripted dialogs, one for every rule of the sending side.

use super::*;
use crate::channel::{Level, Requirement, Tls, TlsVersion};
use crate::mail::{BodyKind, Domain, Mailbox};
use crate::report::EnhancedStatus;

mod extensions;
mod login;

const GREETING: &str = "220 mx.test";
const PLAIN_OFFER: &str = "250-mx.test\r\n250 PIPELINING";
const TLS_OFFER: &str = "250-mx.test\r\n250 STARTTLS";
const ALL: &str = "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SMTPUTF8";
const STEPWISE: &str = "250-mx.test\r\n250 DSN";

fn tls() -> Tls {
    Tls { version: TlsVersion::V13, cipher: String::new(), group: String::new(), server_name: None, peer: None, doubt: None }
}

fn secured(level: Level) -> Channel {
    Channel::secured(level, tls())
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text.as_bytes(), true).expect("valid")
}

fn outgoing(recipients: &[&str]) -> Outgoing {
    Outgoing {
        reverse_path: Some(mailbox("a@us.test")),
        recipients: recipients.iter().map(|recipient| mailbox(recipient)).collect(),
        octets: 100,
        ..Outgoing::default()
    }
}

fn reply(code: u16, text: &str) -> Reply {
    Reply::new(code, None, text)
}

fn ready_effect(channel: Channel, extensions: Extensions) -> Effect {
    Effect::Ready { channel: Box::new(channel), extensions }
}

/// A session, and what it did since it was last asked.
struct Dialog {
    session: Option<ClientSession>,
    sent: String,
    waits: Vec<Duration>,
    effects: Vec<Effect>,
}

impl Dialog {
    fn open(tls: TlsUse) -> Self {
        Self::open_with(Protocol::Smtp, tls)
    }

    fn open_with(protocol: Protocol, tls: TlsUse) -> Self {
        let hello = Domain::parse("us.test").expect("valid");
        Self::open_as(ClientConfig { hello, protocol, tls, login: false, timeouts: Timeouts::default() })
    }

    fn open_as(config: ClientConfig) -> Self {
        let mut effects = Vec::new();
        let session = Some(ClientSession::open(config, &mut effects));
        let mut dialog = Self { session, sent: String::new(), waits: Vec::new(), effects: Vec::new() };
        dialog.note(effects);
        dialog
    }

    /// A session that finished EHLO in the clear, with this offer.
    fn ready(offer: &str) -> Self {
        let mut dialog = Self::open(TlsUse::Without);
        dialog.says(GREETING).says(offer);
        assert_eq!(dialog.sent(), "EHLO us.test\r\n");
        assert!(matches!(dialog.did().as_slice(), [Effect::Ready { .. }]));
        dialog
    }

    /// A ready session with a transaction begun.
    fn transmitting(offer: &str, recipients: &[&str]) -> Self {
        let mut dialog = Self::ready(offer);
        dialog.transmit(outgoing(recipients));
        dialog
    }

    /// A session that waits for content.
    fn in_content(recipients: &[&str]) -> Self {
        let mut dialog = Self::transmitting(ALL, recipients);
        dialog.says("250 ok");
        for _ in recipients {
            dialog.says("250 ok");
        }
        dialog.says("354 go");
        dialog.sent();
        assert_eq!(dialog.did(), [Effect::WantBody]);
        dialog
    }

    fn note(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(octets) => self.sent.push_str(&String::from_utf8(octets).expect("UTF-8")),
                Effect::Wait(time) => self.waits.push(time),
                other => self.effects.push(other),
            }
        }
    }

    fn give(&mut self, input: Input<'_>) -> &mut Self {
        let mut effects = Vec::new();
        self.session = self.session.take().map(|session| session.handle(input, &mut effects));
        self.note(effects);
        self
    }

    /// One or more lines in one segment; the last CRLF is added.
    fn says(&mut self, lines: &str) -> &mut Self {
        self.give(Input::Octets(format!("{lines}\r\n").as_bytes()))
    }

    /// One segment after the other.
    fn says_each(&mut self, segments: &[&str]) -> &mut Self {
        segments.iter().for_each(|segment| _ = self.says(segment));
        self
    }

    fn transmit(&mut self, outgoing: Outgoing) -> &mut Self {
        let cleared = Requirement::NONE.admit(&Channel::plain()).expect("anything will do");
        self.give(Input::Transmit(cleared, outgoing))
    }

    fn sent(&mut self) -> String {
        std::mem::take(&mut self.sent)
    }

    /// Effects other than Send and Wait.
    fn did(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn patience(&self) -> Duration {
        *self.waits.last().expect("it waits")
    }

    /// The report of a transaction that ended without the connection.
    fn report(&mut self) -> Report {
        match self.did().as_slice() {
            [Effect::Done(report)] => report.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The report of a transaction that ended with the connection.
    fn last_report(&mut self) -> Report {
        match self.did().as_slice() {
            [Effect::Done(report), Effect::Close] => {
                assert!(!report.reusable);
                report.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    /// The failure of a session that ended at once.
    fn failure(&mut self) -> Cause {
        match self.did().as_slice() {
            [Effect::Failed(cause), Effect::Close] => cause.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The failure of a session that says QUIT before it goes.
    fn polite_failure(&mut self) -> Cause {
        assert!(self.sent().ends_with("QUIT\r\n"));
        match self.did().as_slice() {
            [Effect::Failed(cause)] => {
                let cause = cause.clone();
                assert_eq!(self.says("221 bye").did(), [Effect::Close]);
                cause
            }
            other => panic!("{other:?}"),
        }
    }
}

fn causes(report: &Report) -> Vec<&Cause> {
    report.results.iter().map(|(_, result)| result.as_ref().expect_err("no success")).collect()
}

fn only_cause(report: &Report) -> &Cause {
    match causes(report).as_slice() {
        [cause] => cause,
        other => panic!("{other:?}"),
    }
}

// Opening.

#[test]
fn ready_in_the_clear_when_nothing_else_was_asked() {
    for tls in [TlsUse::Offered, TlsUse::Without] {
        let mut dialog = Dialog::open(tls);
        assert_eq!(dialog.patience(), Timeouts::default().greeting);
        dialog.says(GREETING).says(PLAIN_OFFER);
        let extensions = Extensions { pipelining: true, ..Extensions::default() };
        assert_eq!(dialog.did(), [ready_effect(Channel::plain(), extensions)]);
        assert_eq!(dialog.sent(), "EHLO us.test\r\n");
    }
}

#[test]
fn without_never_starts_tls() {
    let mut dialog = Dialog::open(TlsUse::Without);
    dialog.says(GREETING).says(TLS_OFFER);
    assert_eq!(dialog.sent(), "EHLO us.test\r\n");
    assert!(matches!(dialog.did().as_slice(), [Effect::Ready { channel, .. }] if **channel == Channel::plain()));
}

/// L1-1: every attempt uses STARTTLS when it is offered; afterwards only what was said under TLS counts, and STARTTLS is not sent again.
#[test]
fn l1_1_starttls_when_offered_and_the_first_offer_is_forgotten() {
    for tls in [TlsUse::Offered, TlsUse::Required] {
        let mut dialog = Dialog::open(tls);
        dialog.says(GREETING).says("250-mx.test\r\n250-STARTTLS\r\n250-SMTPUTF8\r\n250 SIZE 5");
        assert_eq!(dialog.sent(), "EHLO us.test\r\nSTARTTLS\r\n");
        assert_eq!(dialog.patience(), Timeouts::default().starttls);
        assert_eq!(dialog.says("220 go").did(), [Effect::Secure]);
        assert_eq!(dialog.patience(), Timeouts::default().handshake);
        dialog.give(Input::Secured(secured(Level::Host)));
        assert_eq!(dialog.sent(), "EHLO us.test\r\n");
        assert_eq!(dialog.did(), [], "it waits for a fresh reply");
        dialog.says(TLS_OFFER);
        let extensions = Extensions { starttls: true, ..Extensions::default() };
        assert_eq!(dialog.did(), [ready_effect(secured(Level::Host), extensions)]);
        assert_eq!(dialog.sent(), "");
    }
}

#[test]
fn implicit_tls_comes_before_the_greeting() {
    let mut dialog = Dialog::open(TlsUse::Implicit);
    assert_eq!(dialog.did(), [Effect::Secure]);
    dialog.give(Input::Secured(secured(Level::Encrypted)));
    assert_eq!((dialog.sent(), dialog.patience()), (String::new(), Timeouts::default().greeting));
    dialog.says(GREETING).says(TLS_OFFER);
    assert_eq!(dialog.sent(), "EHLO us.test\r\n");
    assert!(matches!(dialog.did().as_slice(), [Effect::Ready { channel, .. }] if **channel == secured(Level::Encrypted)));
}

/// L2-4, and the stripped or mangled offer.
#[test]
fn l2_4_required_and_not_offered_ends_in_quit() {
    for offer in ["250-mx.test\r\n250 8BITMIME", "250-mx.test\r\n250-XXXXXXXX\r\n250 8BITMIME", "250 STARTTLS"] {
        let mut dialog = Dialog::open(TlsUse::Required);
        dialog.says(GREETING).says(offer);
        assert_eq!(dialog.sent, "EHLO us.test\r\nQUIT\r\n");
        assert_eq!(dialog.polite_failure(), Cause::TlsNotOffered);
    }
}

/// L2-4: a message for a session that is not ready is refused, whatever proof it carries.
#[test]
fn l2_4_nothing_is_transmitted_before_ready() {
    let mut dialog = Dialog::open(TlsUse::Required);
    dialog.says(GREETING).sent();
    dialog.transmit(outgoing(&["b@x.test"]));
    assert!(matches!(only_cause(&dialog.report()), Cause::Fault(_)));
    assert_eq!(dialog.sent(), "");
}

/// Invariant 3: the proof must be of this channel.
#[test]
fn a_proof_of_another_channel_is_no_proof() {
    let mut dialog = Dialog::ready(ALL);
    let cleared = Requirement::at_least(Level::Host).admit(&secured(Level::Host)).expect("sufficient");
    dialog.give(Input::Transmit(cleared, outgoing(&["b@x.test"])));
    let report = dialog.report();
    assert!(matches!(only_cause(&report), Cause::Fault(_)) && report.reusable);
    assert_eq!(dialog.sent(), "");
}

#[test]
fn a_refused_starttls_is_told_apart() {
    for code in [454, 501, 421] {
        let mut dialog = Dialog::open(TlsUse::Offered);
        dialog.says(GREETING).says(TLS_OFFER).says(&format!("{code} no"));
        assert_eq!(dialog.polite_failure(), Cause::TlsRefused(reply(code, "no")));
    }
}

/// L2-8 from the sending side: what was injected behind the 220 is never read as a reply under TLS.
#[test]
fn octets_behind_the_starttls_reply_are_an_attack() {
    for injected in ["220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n", "220 go\r\n250 mx.test\r\n", "220 go\r\n2"] {
        for tls in [TlsUse::Offered, TlsUse::Required] {
            let mut dialog = Dialog::open(tls);
            dialog.says(GREETING).says(TLS_OFFER).sent();
            dialog.give(Input::Octets(injected.as_bytes()));
            assert_eq!(dialog.failure(), Cause::TlsFailed("octets after the STARTTLS reply".to_owned()));
            assert_eq!(dialog.sent(), "");
        }
    }
}

#[test]
fn whatever_breaks_starttls_is_a_tls_failure() {
    let breaks: [fn(&mut Dialog); 8] = [
        |dialog| _ = dialog.give(Input::TimedOut),
        |dialog| _ = dialog.give(Input::Closed("end of stream".to_owned())),
        |dialog| _ = dialog.says("250 ok"),
        |dialog| _ = dialog.says("2x0 go"),
        |dialog| _ = dialog.says("220 go").give(Input::SecureFailed("handshake_failure".to_owned())),
        |dialog| _ = dialog.says("220 go").give(Input::TimedOut),
        |dialog| _ = dialog.says("220 go").give(Input::Octets(b"250 mx.test\r\n")),
        |dialog| _ = dialog.says("220 go").give(Input::Secured(Channel::plain())),
    ];
    for (at, break_it) in breaks.iter().enumerate() {
        let mut dialog = Dialog::open(TlsUse::Required);
        dialog.says(GREETING).says(TLS_OFFER).sent();
        break_it(&mut dialog);
        assert!(matches!(dialog.did().as_slice(), [.., Effect::Failed(Cause::TlsFailed(_)), Effect::Close]), "break {at}");
        assert_eq!(dialog.sent(), "", "break {at}");
    }
}

#[test]
fn silence_right_after_the_handshake_is_a_tls_failure_too() {
    for tls in [TlsUse::Implicit, TlsUse::Required] {
        let mut dialog = Dialog::open(tls);
        if tls == TlsUse::Required {
            dialog.says(GREETING).says(TLS_OFFER).says("220 go");
        }
        dialog.give(Input::Secured(secured(Level::Host))).did();
        dialog.give(Input::Closed("alert".to_owned()));
        assert!(matches!(dialog.failure(), Cause::TlsFailed(_)), "{tls:?}");
    }
}

#[test]
fn an_unwelcome_session_says_quit() {
    for code in [421, 554] {
        let mut dialog = Dialog::open(TlsUse::Offered);
        dialog.says(&format!("{code} go away"));
        assert_eq!(dialog.polite_failure(), Cause::Unwelcome(reply(code, "go away")));
    }
    let mut dialog = Dialog::open(TlsUse::Offered);
    dialog.says(GREETING).says("451 later");
    assert_eq!(dialog.polite_failure(), Cause::Unwelcome(reply(451, "later")));
}

/// L2-4: HELO never leaves where TLS is a must.
#[test]
fn helo_only_where_tls_need_not_be_had() {
    for tls in [TlsUse::Offered, TlsUse::Without] {
        let mut dialog = Dialog::open(tls);
        dialog.says(GREETING).says("502 what").says("250-mx.test\r\n250 STARTTLS");
        assert_eq!(dialog.sent(), "EHLO us.test\r\nHELO us.test\r\n");
        let extensions = Extensions::default();
        assert_eq!(dialog.did(), [ready_effect(Channel::plain(), extensions)]);
    }
    for (code, cause) in [(500, Cause::TlsNotOffered), (502, Cause::TlsNotOffered), (550, Cause::Unwelcome(reply(550, "what")))] {
        let mut dialog = Dialog::open(TlsUse::Required);
        dialog.says(GREETING).says(&format!("{code} what"));
        assert_eq!(dialog.sent, "EHLO us.test\r\nQUIT\r\n");
        assert_eq!(dialog.polite_failure(), cause);
    }
}

/// Decision 8: 530 in the clear is about the channel, not about the message.
#[test]
fn a_530_in_the_clear_asks_for_tls() {
    let asked = Reply::new(530, Some(EnhancedStatus::new(5, 7, 0)), "Must issue a STARTTLS command first");
    let line = "530 5.7.0 Must issue a STARTTLS command first";
    let mut dialog = Dialog::open(TlsUse::Offered);
    dialog.says(GREETING).says(line);
    assert_eq!(dialog.polite_failure(), Cause::NeedsTls(asked.clone()));

    let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test"]);
    dialog.says(line);
    assert_eq!(*only_cause(&dialog.report()), Cause::NeedsTls(asked.clone()));

    let mut dialog = Dialog::open(TlsUse::Implicit);
    dialog.give(Input::Secured(secured(Level::Host))).says(GREETING).says(STEPWISE).did();
    let cleared = Requirement::at_least(Level::Host).admit(&secured(Level::Host)).expect("sufficient");
    dialog.give(Input::Transmit(cleared, outgoing(&["b@x.test"]))).says(line);
    assert_eq!(*only_cause(&dialog.report()), Cause::Rejected(asked.clone()), "under TLS it is an answer like any other");

    let mut dialog = Dialog::open(TlsUse::Implicit);
    dialog.give(Input::Secured(secured(Level::Host))).says(GREETING).did();
    dialog.says(line);
    assert_eq!(dialog.polite_failure(), Cause::Unwelcome(asked));

    let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test"]);
    dialog.says("530 5.5.1 not like this");
    assert!(matches!(only_cause(&dialog.report()), Cause::Rejected(_)), "its status says that it is about something else");
}

#[test]
fn a_lost_connection_before_ready_is_broken() {
    for input in [Input::TimedOut, Input::Closed("reset".to_owned())] {
        let mut dialog = Dialog::open(TlsUse::Offered);
        dialog.give(input);
        assert!(matches!(dialog.failure(), Cause::Broken(_)));
    }
    let mut dialog = Dialog::open(TlsUse::Offered);
    dialog.says(GREETING).give(Input::TimedOut);
    assert!(matches!(dialog.failure(), Cause::Broken(_)));
}

#[test]
fn what_is_no_smtp_is_a_protocol_failure() {
    for nonsense in ["2x0 hi", "999 hi", "HTTP/1.1 400 Bad Request", "354 go", "220 hi\r\n250 too soon"] {
        let mut dialog = Dialog::open(TlsUse::Offered);
        dialog.says(nonsense);
        assert!(matches!(dialog.failure(), Cause::Protocol(_)), "{nonsense}");
        assert_eq!(dialog.sent(), "", "{nonsense}");
    }
    let mut dialog = Dialog::open(TlsUse::Offered);
    dialog.says(GREETING).says("999 hi");
    assert!(matches!(dialog.failure(), Cause::Protocol(_)));
}

#[test]
fn an_endless_reply_is_cut_off() {
    for piece in ["220-x\r\n", "x", "220"] {
        let mut dialog = Dialog::open(TlsUse::Offered);
        let segment = piece.repeat(1000);
        (0..1000).take_while(|_| dialog.give(Input::Octets(segment.as_bytes())).effects.is_empty()).for_each(drop);
        assert!(matches!(dialog.failure(), Cause::Protocol(_)), "{piece:?}");
    }
}

// Transactions.

#[test]
fn a_pipelined_transaction_goes_out_in_one_group() {
    let mut dialog = Dialog::ready(ALL);
    let message = Outgoing { body: BodyKind::EightBit, smtputf8: true, ..outgoing(&["b@x.test", "c@x.test"]) };
    dialog.transmit(message);
    let group = "MAIL FROM:<a@us.test> SIZE=100 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<c@x.test>\r\nDATA\r\n";
    assert_eq!(dialog.sent(), group);
    dialog.says("250 ok\r\n250 ok\r\n550 5.1.1 who\r\n354 go");
    assert_eq!(dialog.did(), [Effect::WantBody]);
    dialog.give(Input::Body(b"Subject: t\r\n\r\n.di")).give(Input::Body(b"ve\r\n")).give(Input::BodyEnd);
    assert_eq!(dialog.did(), [Effect::WantBody, Effect::WantBody]);
    assert_eq!(dialog.sent(), "Subject: t\r\n\r\n..dive\r\n.\r\n");
    assert_eq!(dialog.patience(), Timeouts::default().end_of_data);
    let report = dialog.says("250 taken").report();
    let rejected = Cause::Rejected(Reply::new(550, Some(EnhancedStatus::new(5, 1, 1)), "who"));
    let results = vec![(mailbox("b@x.test"), Ok(reply(250, "taken"))), (mailbox("c@x.test"), Err(rejected))];
    assert_eq!(report, Report { results, reusable: true, transmitted: true, notifies: false });
}

#[test]
fn without_pipelining_every_command_waits_for_its_turn() {
    let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test", "c@x.test"]);
    let timeouts = Timeouts::default();
    let turns = [
        ("MAIL FROM:<a@us.test>\r\n", timeouts.mail, "250 ok"),
        ("RCPT TO:<b@x.test>\r\n", timeouts.rcpt, "450 later"),
        ("RCPT TO:<c@x.test>\r\n", timeouts.rcpt, "251 will forward"),
        ("DATA\r\n", timeouts.data, "354 go"),
    ];
    for (command, patience, answer) in turns {
        assert_eq!((dialog.sent().as_str(), dialog.patience()), (command, patience));
        dialog.says(answer);
    }
    assert_eq!(dialog.patience(), timeouts.block);
    let report = dialog.give(Input::BodyEnd).says("250 taken").did();
    assert!(matches!(report.as_slice(), [Effect::WantBody, Effect::Done(report)]
        if report.results[0].1 == Err(Cause::Deferred(reply(450, "later"))) && report.results[1].1.is_ok()));
}

#[test]
fn octet_by_octet_makes_no_difference() {
    let mut dialog = Dialog::transmitting(ALL, &["b@x.test"]);
    for octet in b"250-a\r\n250 b\r\n250 ok\r\n354 go\r\n" {
        dialog.give(Input::Octets(&[*octet]));
    }
    assert_eq!(dialog.did(), [Effect::WantBody]);
    for octet in b"a\r\n.b" {
        dialog.give(Input::Body(&[*octet]));
    }
    dialog.sent.drain(..dialog.sent.find("DATA\r\n").expect("DATA") + 6);
    assert_eq!(dialog.give(Input::BodyEnd).sent(), "a\r\n..b\r\n.\r\n");
}

#[test]
fn the_null_reverse_path_and_quoting_reach_the_wire() {
    let mut dialog = Dialog::ready(STEPWISE);
    dialog.transmit(Outgoing { reverse_path: None, ..outgoing(&["\"b c\"@x.test"]) });
    dialog.says("250 ok");
    assert_eq!(dialog.sent(), "MAIL FROM:<>\r\nRCPT TO:<\"b c\"@x.test>\r\n");
}

#[test]
fn a_peer_without_smtputf8_cannot_take_it() {
    let needs = [
        outgoing(&["b@x.test", "bücher@x.test"]),
        Outgoing { smtputf8: true, ..outgoing(&["b@x.test"]) },
        Outgoing { reverse_path: Some(mailbox("ä@us.test")), ..outgoing(&["b@x.test"]) },
    ];
    for message in needs {
        let mut dialog = Dialog::ready(STEPWISE);
        let report = dialog.transmit(message).report();
        assert!(causes(&report).iter().all(|cause| **cause == Cause::ExtensionMissing("SMTPUTF8".to_owned())));
        assert!(report.reusable && !report.transmitted);
        assert_eq!(dialog.sent(), "");
    }
}

#[test]
fn a_message_over_the_offered_size_is_not_even_tried() {
    let mut dialog = Dialog::ready(ALL);
    let report = dialog.transmit(Outgoing { octets: 1001, ..outgoing(&["b@x.test"]) }).report();
    assert!(
        matches!(only_cause(&report), Cause::Rejected(reply) if reply.code == 552 && reply.status == Some(EnhancedStatus::new(5, 3, 4)))
    );
    assert_eq!(dialog.sent(), "");
    dialog.transmit(Outgoing { octets: 1000, ..outgoing(&["b@x.test"]) });
    assert!(dialog.sent().starts_with("MAIL FROM:<a@us.test> SIZE=1000\r\n"));
}

/// RFC 6152, 3: never "under any circumstances"; and what is ASCII needs nothing.
#[test]
fn eight_bit_content_is_not_for_a_peer_without_the_extension() {
    let mut dialog = Dialog::ready(STEPWISE);
    dialog.transmit(Outgoing { body: BodyKind::EightBit, ..outgoing(&["b@x.test"]) });
    assert_eq!(dialog.sent(), "");
    let cause = Cause::ExtensionMissing("8BITMIME".to_owned());
    assert_eq!(cause.status(true).to_string(), "5.6.3");
    assert_eq!(*only_cause(&dialog.report()), cause);
    dialog.transmit(outgoing(&["b@x.test"]));
    assert_eq!(dialog.sent(), "MAIL FROM:<a@us.test>\r\n");
}

#[test]
fn nobody_accepted_and_content_asked_for_gets_just_a_dot() {
    for refused in ["250 ok\r\n550 a\r\n550 b\r\n354 go", "550 ok\r\n250 a\r\n250 b\r\n354 go"] {
        let mut dialog = Dialog::transmitting(ALL, &["b@x.test", "c@x.test"]);
        dialog.sent();
        dialog.says(refused);
        assert_eq!((dialog.sent(), dialog.did()), (".\r\n".to_owned(), vec![]));
        let report = dialog.says("250 taken").report();
        assert!(causes(&report).iter().all(|cause| matches!(cause, Cause::Rejected(reply) if reply.code == 550)));
        assert!(report.reusable && !report.transmitted);
    }
}

#[test]
fn rset_comes_before_the_next_message_when_the_last_was_not_finished() {
    for (offer, answers, next) in [
        (STEPWISE, vec!["250 ok", "550 who"], "RSET\r\n"),
        (STEPWISE, vec!["550 you"], "RSET\r\n"),
        (STEPWISE, vec!["250 ok", "250 ok", "451 later"], "RSET\r\n"),
        (PLAIN_OFFER, vec!["250 ok\r\n550 who\r\n503 nobody"], "RSET\r\nMAIL FROM:<a@us.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n"),
    ] {
        let mut dialog = Dialog::transmitting(offer, &["b@x.test"]);
        dialog.says_each(&answers);
        let report = dialog.report();
        assert!(report.reusable && !report.transmitted, "{answers:?}");
        dialog.sent();
        dialog.transmit(outgoing(&["b@x.test"]));
        assert_eq!(dialog.sent(), next);
        dialog.says("250 ok");
        assert_eq!(dialog.sent(), if offer == STEPWISE { "MAIL FROM:<a@us.test>\r\n" } else { "" });
    }
}

#[test]
fn a_refused_rset_leaves_nothing_to_build_on() {
    let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test"]);
    dialog.says_each(&["250 ok", "550 who"]).did();
    dialog.transmit(outgoing(&["b@x.test"])).says("502 what");
    assert!(matches!(only_cause(&dialog.last_report()), Cause::Protocol(_)));
}

#[test]
fn the_refusal_of_mail_holds_for_every_recipient() {
    let mut dialog = Dialog::transmitting(PLAIN_OFFER, &["b@x.test", "c@x.test"]);
    dialog.says("451 later\r\n503 order\r\n250 ok\r\n503 order");
    let later = Cause::Deferred(reply(451, "later"));
    assert_eq!(causes(&dialog.report()), [&later, &later]);
}

#[test]
fn a_late_time_out_does_not_end_an_idle_session() {
    let mut dialog = Dialog::ready(STEPWISE);
    dialog.give(Input::TimedOut);
    assert_eq!(dialog.did(), []);
    assert_eq!(dialog.transmit(outgoing(&["b@x.test"])).sent(), "MAIL FROM:<a@us.test>\r\n");
}

#[test]
fn several_messages_share_a_session() {
    let mut dialog = Dialog::in_content(&["b@x.test"]);
    assert!(dialog.give(Input::BodyEnd).says("250 one").report().reusable);
    dialog.sent();
    dialog.transmit(outgoing(&["c@x.test"]));
    assert!(dialog.sent().starts_with("MAIL FROM:"), "no RSET after a finished transaction");
    dialog.says("250 ok\r\n250 ok\r\n354 go").give(Input::BodyEnd).says("250 two").did();
    assert_eq!(dialog.give(Input::Quit).sent(), ".\r\nQUIT\r\n");
    assert_eq!(dialog.says("221 bye").did(), [Effect::Close]);
}

#[test]
fn the_reply_to_the_end_of_data_decides_for_all() {
    for (answer, wanted) in [("451 later", Cause::Deferred(reply(451, "later"))), ("554 no", Cause::Rejected(reply(554, "no")))] {
        let mut dialog = Dialog::in_content(&["b@x.test", "c@x.test"]);
        let report = dialog.give(Input::BodyEnd).says(answer).report();
        assert_eq!(causes(&report), [&wanted, &wanted]);
        assert!(report.reusable && report.transmitted);
    }
}

#[test]
fn a_421_defers_what_is_open_wherever_it_comes() {
    let gone = Cause::Deferred(reply(421, "bye"));
    for answers in
        [vec!["421 bye"], vec!["250 ok", "421 bye"], vec!["250 ok", "250 ok", "421 bye"], vec!["250 ok", "250 ok", "250 ok", "421 bye"]]
    {
        for offer in [STEPWISE, ALL] {
            let mut dialog = Dialog::transmitting(offer, &["b@x.test", "c@x.test"]);
            dialog.says_each(&answers);
            let report = dialog.last_report();
            assert_eq!(causes(&report), [&gone, &gone], "{answers:?}");
            assert!(!report.transmitted);
        }
    }
    let mut dialog = Dialog::in_content(&["b@x.test"]);
    dialog.says("421 bye");
    assert_eq!(causes(&dialog.last_report()), [&gone]);
    let mut dialog = Dialog::in_content(&["b@x.test"]);
    dialog.give(Input::BodyEnd).says("421 bye");
    let report = dialog.last_report();
    assert_eq!(causes(&report), [&gone]);
    assert!(report.transmitted);
    let mut dialog = Dialog::ready(ALL);
    dialog.says("421 bye");
    assert_eq!(dialog.failure(), Cause::Unwelcome(reply(421, "bye")));
}

/// A peer that answers out of turn has lost count, or is not the only one on the line.
#[test]
fn out_of_turn_is_never_counted_for_the_next_command() {
    for answers in [
        vec!["250 one\r\n250 two"],
        vec!["354 go"],
        vec!["2x0 what"],
        vec!["999 what"],
        vec!["250 ok", "354 go"],
        vec!["250 ok", "250 ok\r\n250 ok"],
        vec!["250 ok", "250 ok", "250 instead of 354"],
        vec!["250 ok", "250 ok", "354 go\r\n250 taken"],
    ] {
        let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test"]);
        dialog.says_each(&answers);
        assert!(!dialog.sent().contains(".\r\n"), "{answers:?}");
        let report = dialog.last_report();
        assert!(matches!(only_cause(&report), Cause::Protocol(_)), "{answers:?}");
        assert!(!report.transmitted);
    }
}

#[test]
fn out_of_turn_in_a_pipelined_group_too() {
    for answers in
        ["250 ok\r\n354 go", "250 ok\r\n250 ok\r\n250 instead of 354", "250 ok\r\n250 ok\r\n354 go\r\n250 taken", "250 ok\r\n2x0 what"]
    {
        let mut dialog = Dialog::transmitting(ALL, &["b@x.test"]);
        dialog.sent();
        dialog.says(answers);
        assert!(matches!(only_cause(&dialog.last_report()), Cause::Protocol(_)), "{answers}");
        assert_eq!(dialog.sent(), "");
    }
}

#[test]
fn a_reply_before_the_end_of_data_stops_the_content() {
    for (early, deferred) in [("452 full", true), ("552 too big", false), ("250 taken", false)] {
        let mut dialog = Dialog::in_content(&["b@x.test"]);
        dialog.give(Input::Body(b"half")).sent();
        dialog.did();
        let cause = only_cause(&dialog.says(early).last_report()).clone();
        assert_eq!(matches!(cause, Cause::Deferred(_)), deferred, "{early}");
        assert!(deferred || matches!(cause, Cause::Protocol(_)), "{early}");
        assert_eq!(dialog.give(Input::BodyEnd).sent(), "", "no end of data after that");
    }
    let mut dialog = Dialog::in_content(&["b@x.test"]);
    dialog.give(Input::Octets(b"25")).give(Input::BodyEnd);
    assert!(matches!(only_cause(&dialog.last_report()), Cause::Protocol(_)));
    assert_eq!(dialog.sent(), "");
}

#[test]
fn more_than_the_reply_to_the_end_of_data_costs_the_connection_only() {
    let mut dialog = Dialog::in_content(&["b@x.test"]);
    dialog.give(Input::BodyEnd).says("250 taken\r\n421 bye");
    assert_eq!(dialog.last_report().results[0].1, Ok(reply(250, "taken")));
}

#[test]
fn a_spontaneous_reply_ends_an_idle_session() {
    let mut dialog = Dialog::ready(ALL);
    dialog.says("250 by the way");
    assert!(matches!(dialog.failure(), Cause::Protocol(_)));
    let mut dialog = Dialog::ready(ALL);
    dialog.give(Input::Octets(b"2")).transmit(outgoing(&["b@x.test"]));
    assert!(matches!(only_cause(&dialog.last_report()), Cause::Protocol(_)));
    assert_eq!(dialog.sent(), "");
}

#[test]
fn a_connection_lost_within_a_transaction_is_broken() {
    for sent in 0..4 {
        for stall in [true, false] {
            let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test"]);
            dialog.says_each(&["250 ok", "250 ok", "354 go"][..sent]);
            dialog.did();
            dialog.give(if stall { Input::TimedOut } else { Input::Closed("reset".to_owned()) });
            let report = dialog.last_report();
            assert!(matches!(only_cause(&report), Cause::Broken(_)));
            assert_eq!(report.transmitted, sent == 3);
        }
    }
}

/// L1-4: once content went out there is no fallback, and the report says so.
#[test]
fn l1_4_a_connection_lost_after_the_end_of_data_may_mean_two_copies() {
    for input in [Input::TimedOut, Input::Closed("reset".to_owned())] {
        let mut dialog = Dialog::in_content(&["b@x.test"]);
        dialog.give(Input::BodyEnd).give(input);
        let report = dialog.last_report();
        assert!(report.transmitted);
        assert!(matches!(only_cause(&report), Cause::Broken(text) if text.contains("twice")));
    }
}

#[test]
fn a_body_that_cannot_be_read_never_ends() {
    let mut dialog = Dialog::in_content(&["b@x.test"]);
    dialog.give(Input::Body(b"half\r\n")).did();
    dialog.give(Input::BodyLost("the disk".to_owned()));
    assert_eq!(*only_cause(&dialog.last_report()), Cause::Fault("the disk".to_owned()));
    assert_eq!(dialog.sent(), "half\r\n");
}

#[test]
fn quitting_within_a_transaction_never_ends_the_content() {
    let mut dialog = Dialog::in_content(&["b@x.test"]);
    dialog.give(Input::Body(b"half\r\n")).did();
    dialog.give(Input::Quit);
    assert!(matches!(only_cause(&dialog.last_report()), Cause::Fault(_)));
    assert_eq!(dialog.sent(), "half\r\n");
}

#[test]
fn a_552_to_rcpt_may_mean_too_many() {
    for (first, second, deferred) in [("250 ok", "552 too many", true), ("550 who", "552 full", false), ("250 ok", "552 5.2.2 full", false)]
    {
        let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test", "c@x.test"]);
        dialog.says("250 ok").says(first).says(second);
        if first.starts_with("250") {
            dialog.says("354 go").give(Input::BodyEnd).says("250 taken");
        }
        let effects = dialog.did();
        let Some(Effect::Done(report)) = effects.last() else { panic!("{effects:?}") };
        assert_eq!(matches!(report.results[1].1, Err(Cause::Deferred(_))), deferred, "{first} {second}");
    }
}

#[test]
fn the_basic_code_wins_over_an_enhanced_one_of_another_class() {
    let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test"]);
    dialog.says("250 ok").says("550 2.0.0 fine");
    assert!(matches!(only_cause(&dialog.report()), Cause::Rejected(reply) if reply.code == 550 && reply.status.is_none()));
}

#[test]
fn what_a_reply_carries_is_printable_in_the_report() {
    let mut dialog = Dialog::transmitting(STEPWISE, &["b@x.test"]);
    dialog.says("250 ok").give(Input::Octets(b"550 5.1.1 \x1b]0;pwn\x07\xff\xfe\r\n"));
    let report = dialog.report();
    let Cause::Rejected(reply) = only_cause(&report) else { panic!("{report:?}") };
    assert!(reply.lines.iter().all(|line| line.chars().all(|c| c.is_ascii() && !c.is_ascii_control())), "{reply:?}");
}

/// S2: whatever came in, lines that end in CRLF go out, and one end of data.
#[test]
fn s2_no_end_of_data_can_be_smuggled_out() {
    let bodies: [&[u8]; 8] = [
        b"START\n.\nEND",
        b"START\n.\rEND",
        b"START\r\r\n.\r\r\nEND",
        b"START\r.\rEND",
        b"START\r\n.\r\nEND",
        b".\r\n",
        b".",
        b"\r\n.\n.\r\n",
    ];
    for body in bodies {
        for chunk in 1..=body.len() {
            let mut dialog = Dialog::in_content(&["b@x.test"]);
            body.chunks(chunk).for_each(|octets| _ = dialog.give(Input::Body(octets)));
            let wire = dialog.give(Input::BodyEnd).sent();
            let lines: Vec<&str> = wire.split_terminator("\r\n").collect();
            assert!(wire.ends_with("\r\n.\r\n") || wire == ".\r\n", "{wire:?}");
            assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])), "{wire:?}");
            assert_eq!(lines.iter().filter(|line| **line == ".").count(), 1, "{wire:?}");
        }
    }
}

#[test]
fn nothing_moves_a_session_that_is_over() {
    let mut dialog = Dialog::open(TlsUse::Offered);
    dialog.says("garbage").did();
    dialog
        .says(GREETING)
        .give(Input::Secured(secured(Level::Host)))
        .give(Input::Body(b"x"))
        .give(Input::BodyEnd)
        .give(Input::TimedOut)
        .give(Input::Quit);
    dialog.give(Input::Closed("gone".to_owned()));
    assert_eq!((dialog.did(), dialog.sent()), (vec![], String::new()));
    assert!(matches!(only_cause(&dialog.transmit(outgoing(&["b@x.test"])).report()), Cause::Fault(_)));
}
