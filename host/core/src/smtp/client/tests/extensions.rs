//! CHUNKING, DSN, REQUIRETLS and LMTP, as the sender speaks them.

use super::*;
use crate::mail::dsn::{DsnRequest, Notify, OriginalRecipient, RecipientRequest, Ret};

const CHUNKS: &str = "250-mx.test\r\n250-PIPELINING\r\n250 CHUNKING";

/// A ready session over TLS, as far as the core can tell.
fn secure_dialog(offer: &str) -> (Dialog, Channel) {
    let mut dialog = Dialog::open(TlsUse::Implicit);
    let channel = secured(Level::Host);
    dialog.give(Input::Secured(channel.clone())).says(GREETING).says(offer);
    dialog.did();
    dialog.sent();
    (dialog, channel)
}

fn lmtp(offer: &str) -> Dialog {
    let mut dialog = Dialog::open_with(Protocol::Lmtp, TlsUse::Without);
    dialog.says(GREETING).says(offer);
    dialog
}

#[test]
fn a_message_of_one_piece_is_one_chunk() {
    let mut dialog = Dialog::transmitting(CHUNKS, &["b@x.test"]);
    assert_eq!(dialog.sent(), "MAIL FROM:<a@us.test>\r\nRCPT TO:<b@x.test>\r\n");
    dialog.says("250 ok").says("250 ok");
    assert_eq!(dialog.did(), [Effect::WantBody]);
    dialog.give(Input::Body(b"Subject: t\r\n\r\n.dot\r\n"));
    assert_eq!(dialog.sent(), "", "the only chunk is known to be the last when there is no other");
    dialog.did();
    dialog.give(Input::BodyEnd);
    assert_eq!(dialog.sent(), "BDAT 20 LAST\r\nSubject: t\r\n\r\n.dot\r\n");
    let report = dialog.says("250 taken").report();
    assert!(report.reusable && report.transmitted && report.results[0].1.is_ok());
}

/// S2: what is counted is what is sent, whatever line ends came in.
#[test]
fn s2_chunks_are_lines_however_they_were_cut() {
    let mut dialog = Dialog::transmitting(CHUNKS, &["b@x.test"]);
    dialog.says("250 ok").says("250 ok").sent();
    for piece in ["a\r", "\nb\n.\nc", "\r"] {
        dialog.give(Input::Body(piece.as_bytes()));
    }
    dialog.give(Input::BodyEnd);
    assert_eq!(dialog.sent(), "BDAT 1\r\naBDAT 9\r\n\r\nb\r\n.\r\ncBDAT 2 LAST\r\n\r\n");
    dialog.did();
    dialog.says("250 ok").says("250 ok");
    assert_eq!(dialog.did(), [], "the last reply decides");
    assert!(dialog.says("250 taken").report().reusable);
}

#[test]
fn a_refused_chunk_is_final_and_wants_a_reset() {
    let mut dialog = Dialog::transmitting(CHUNKS, &["b@x.test"]);
    dialog.says("250 ok").says("250 ok");
    dialog.give(Input::Body(b"a\r\n")).give(Input::Body(b"b\r\n")).give(Input::BodyEnd).did();
    let report = dialog.says("552 too big").says("503 reset first").report();
    assert!(matches!(only_cause(&report), Cause::Rejected(reply) if reply.code == 552));
    dialog.sent();
    dialog.transmit(outgoing(&["c@x.test"]));
    assert!(dialog.sent().starts_with("RSET\r\n"));
}

#[test]
fn a_chunk_refused_while_more_is_to_come_ends_the_connection() {
    let mut dialog = Dialog::transmitting(CHUNKS, &["b@x.test"]);
    dialog.says("250 ok").says("250 ok");
    dialog.give(Input::Body(b"a\r\n")).give(Input::Body(b"b\r\n")).did();
    let report = dialog.says("452 no room").last_report();
    assert!(matches!(only_cause(&report), Cause::Deferred(reply) if reply.code == 452));
}

#[test]
fn nobody_accepted_sends_no_chunk() {
    let mut dialog = Dialog::transmitting(CHUNKS, &["b@x.test"]);
    let report = dialog.says("250 ok").says("550 who").report();
    assert!(report.reusable && !report.transmitted);
}

#[test]
fn dsn_goes_to_peers_that_know_it() {
    let notify = Some(Notify::When { success: true, failure: true, delay: false });
    let original = OriginalRecipient::parse("rfc822;b+2Bc@x.test", false);
    let recipients = [(mailbox("b@x.test"), RecipientRequest { notify, original })].into();
    let dsn = DsnRequest { ret: Some(Ret::Hdrs), envid: Some("a b".into()), recipients };
    let message = || Outgoing { dsn: dsn.clone(), ..outgoing(&["b@x.test", "c@x.test"]) };
    let mut dialog = Dialog::ready("250-mx.test\r\n250-PIPELINING\r\n250 DSN");
    dialog.transmit(message());
    assert_eq!(
        dialog.sent(),
        "MAIL FROM:<a@us.test> RET=HDRS ENVID=a+20b\r\n\
         RCPT TO:<b@x.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bc@x.test\r\nRCPT TO:<c@x.test>\r\nDATA\r\n"
    );
    let mut dialog = Dialog::ready(PLAIN_OFFER);
    dialog.transmit(message());
    assert_eq!(dialog.sent(), "MAIL FROM:<a@us.test>\r\nRCPT TO:<b@x.test>\r\nRCPT TO:<c@x.test>\r\nDATA\r\n");
}

#[test]
fn requiretls_is_passed_on_or_the_message_stays() {
    for (offer, demand, said) in [
        ("250-mx.test\r\n250 REQUIRETLS", RequireTls::Must, Some(true)),
        ("250-mx.test\r\n250 REQUIRETLS", RequireTls::IfOffered, Some(true)),
        ("250-mx.test\r\n250 REQUIRETLS", RequireTls::No, Some(false)),
        ("250-mx.test\r\n250 DSN", RequireTls::IfOffered, Some(false)),
        ("250-mx.test\r\n250 DSN", RequireTls::Must, None),
    ] {
        let (mut dialog, channel) = secure_dialog(offer);
        let cleared = Requirement::at_least(Level::Host).admit(&channel).expect("it is that good");
        dialog.give(Input::Transmit(cleared, Outgoing { require_tls: demand, ..outgoing(&["b@x.test"]) }));
        match said {
            Some(said) => assert_eq!(dialog.sent().contains(" REQUIRETLS"), said, "{offer} {demand:?}"),
            None => {
                assert_eq!(dialog.sent(), "");
                let report = dialog.report();
                let cause = only_cause(&report);
                assert!(cause.lacks_require_tls() && cause.is_proof_of_absence());
                assert_eq!(cause.status(true), EnhancedStatus::new(5, 7, 30));
            }
        }
    }
}

/// RFC 2033, 4.2: one reply for each recipient that RCPT accepted.
#[test]
fn lmtp_answers_for_every_recipient() {
    let mut dialog = lmtp("250-box.test\r\n250 PIPELINING");
    assert_eq!(dialog.sent(), "LHLO us.test\r\n");
    dialog.did();
    dialog.transmit(outgoing(&["b@x.test", "c@x.test", "d@x.test"]));
    dialog.says("250 ok").says("250 ok").says("550 who").says("250 ok").says("354 go").did();
    dialog.give(Input::Body(b"x\r\n")).give(Input::BodyEnd).did();
    dialog.says("250 stored");
    assert_eq!(dialog.did(), []);
    let report = dialog.says("452 over quota").report();
    let codes: Vec<_> = report
        .results
        .iter()
        .map(|(_, result)| match result {
            Ok(reply) => reply.code,
            Err(cause) => cause.reply().map_or(0, |reply| reply.code),
        })
        .collect();
    assert_eq!(codes, [250, 550, 452]);
    assert!(report.reusable);
}

#[test]
fn lmtp_has_no_helo_and_no_empty_message() {
    let mut dialog = lmtp("500 what");
    dialog.sent.clear();
    assert!(matches!(dialog.did().as_slice(), [Effect::Failed(Cause::Unwelcome(_))]));
    let mut dialog = lmtp("250-box.test\r\n250 PIPELINING");
    dialog.did();
    dialog.transmit(outgoing(&["b@x.test"]));
    dialog.says("250 ok").says("550 who").says("354 go");
    assert!(matches!(only_cause(&dialog.last_report()), Cause::Rejected(_)), "the recipient's own answer counts");
}
