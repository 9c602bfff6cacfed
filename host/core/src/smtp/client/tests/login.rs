//! AUTH, as the sender speaks it, and the question whether a recipient is there.

use super::*;

const OFFER: &str = "250-mx.test\r\n250-AUTH PLAIN LOGIN\r\n250 PIPELINING";

/// A session that is to log in, over a channel of that level, up to the reply to EHLO.
fn introduced(tls: TlsUse, channel: Option<Channel>, offer: &str) -> Dialog {
    let hello = Domain::parse("us.test").expect("valid");
    let config = ClientConfig { hello, protocol: Protocol::Smtp, tls, login: true, timeouts: Timeouts::default() };
    let mut dialog = Dialog::open_as(config);
    if let Some(channel) = channel {
        dialog.give(Input::Secured(channel));
    }
    dialog.says(GREETING).says(offer);
    dialog
}

fn secure() -> Dialog {
    let mut dialog = introduced(TlsUse::Implicit, Some(secured(Level::Host)), OFFER);
    dialog.sent();
    let offered = vec!["PLAIN".to_owned(), "LOGIN".to_owned()];
    assert_eq!(dialog.did(), [Effect::Secure, Effect::Login(Prompt::Begin(offered))]);
    dialog
}

#[test]
fn who_logged_in_may_send() {
    let mut dialog = secure();
    dialog.give(Input::Login(LoginStep::Begin { mechanism: "PLAIN".into(), initial: Some(b"\0ana\0pencil".to_vec()) }));
    assert_eq!(dialog.sent(), "AUTH PLAIN AGFuYQBwZW5jaWw=\r\n");
    assert!(matches!(dialog.says("235 2.7.0 welcome").did().as_slice(), [Effect::Ready { .. }]));
}

#[test]
fn challenges_are_answered_one_by_one() {
    let mut dialog = secure();
    dialog.give(Input::Login(LoginStep::Begin { mechanism: "LOGIN".into(), initial: None }));
    assert_eq!(dialog.says("334 VXNlcm5hbWU6").did(), [Effect::Login(Prompt::Challenge(b"Username:".to_vec()))]);
    dialog.give(Input::Login(LoginStep::Answer(b"ana".to_vec())));
    assert_eq!(dialog.sent(), "AUTH LOGIN\r\nYW5h\r\n");
    assert_eq!(dialog.says("334 ").did(), [Effect::Login(Prompt::Challenge(Vec::new()))]);
    dialog.give(Input::Login(LoginStep::Answer(Vec::new())));
    assert_eq!(dialog.sent(), "\r\n");
    assert!(matches!(dialog.says("235 ok").did().as_slice(), [Effect::Ready { .. }]));
}

/// A password is told to nobody in the clear, and to nobody who has not proved a name.
#[test]
fn the_password_stays_where_nobody_proved_to_be_the_host() {
    for (tls, channel, offer) in [
        (TlsUse::Without, None, OFFER),
        (TlsUse::Offered, None, OFFER),
        (TlsUse::Implicit, Some(secured(Level::Encrypted)), OFFER),
        (TlsUse::Implicit, Some(secured(Level::Host)), "250 mx.test"),
    ] {
        let mut dialog = introduced(tls, channel.clone(), offer);
        let sent = dialog.sent();
        assert!(!sent.contains("AUTH"), "{sent}");
        let did = dialog.did();
        let [.., Effect::Failed(cause @ Cause::LoginFailed(_))] = did.as_slice() else { panic!("{channel:?}: {did:?}") };
        assert_eq!((cause.status(false).to_string().as_str(), cause.is_tls()), ("4.7.8", false), "it waits, and nothing is tried in clear");
    }
}

#[test]
fn a_login_that_fails_ends_the_session() {
    for answer in ["535 5.7.8 no", "454 4.7.0 later", "334 not base64!", "250 what"] {
        let mut dialog = secure();
        dialog.give(Input::Login(LoginStep::Begin { mechanism: "PLAIN".into(), initial: Some(Vec::new()) }));
        assert_eq!(dialog.sent(), "AUTH PLAIN =\r\n");
        assert!(matches!(dialog.says(answer).polite_failure(), Cause::LoginFailed(_)), "{answer}");
    }
    let mut dialog = secure();
    dialog.give(Input::Login(LoginStep::GiveUp("none of its mechanisms is known here".into())));
    assert!(matches!(dialog.polite_failure(), Cause::LoginFailed(_)));
}

/// Call-ahead: nothing is sent behind RCPT, and its answer is the result.
#[test]
fn a_question_is_no_message() {
    for offer in [ALL, STEPWISE, "250-mx.test\r\n250-PIPELINING\r\n250 CHUNKING"] {
        for (answer, there) in [("250 ok", true), ("550 5.1.1 who", false)] {
            let mut dialog = Dialog::ready(offer);
            dialog.transmit(Outgoing { probe: true, octets: 0, reverse_path: None, ..outgoing(&["b@x.test"]) });
            dialog.says("250 ok").says(answer);
            let sent = dialog.sent();
            assert!(sent.starts_with("MAIL FROM:<>") && sent.ends_with("RCPT TO:<b@x.test>\r\n"), "{sent}");
            let report = dialog.report();
            assert_eq!((report.results[0].1.is_ok(), report.transmitted, report.reusable), (there, false, true), "{offer} {answer}");
        }
    }
}
