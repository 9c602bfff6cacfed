//! Peers that lie to our client, as data: `tests/cases/client.json`, one entry a case, through real sockets and TLS (S1, S2, S4, S5).
//!
//! `at`: `greeting`, or the command that is answered with `send` instead of what is usual, `.` for the end of data; an answer to STARTTLS
//! that begins with `220` is all that is said, without a handshake. `queue` puts `send` into the queue as the body of a message. `{{X*N}}`
//! is X repeated. `best_effort`, `secure_only`: what becomes of the message under each role: `delivered` under TLS, in `clear`, `deferred`,
//! `returned`, or `clean`: it arrives, and our wire was lines with one end of data.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::channel::{Channel, Requirement};
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::queue::{Delivery, DeliveryKey, Message, Origin, Standing, Via};
use secmx_core::role::SenderRole;
use secmx_lab::ca::Flaw;
use secmx_lab::peer::{Behaviour, Peer, Seen, StartTls};
use secmx_tests::Rig;
use secmx_tests::cases::{expand, octets};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Deserialize)]
struct Case {
    id: String,
    at: String,
    send: String,
    best_effort: String,
    secure_only: String,
}

impl Case {
    fn behaviour(&self) -> Behaviour {
        let said = expand(&self.send);
        match (self.at.as_str(), said.strip_prefix("220 go\r\n")) {
            ("queue", _) => Behaviour::default(),
            ("greeting", _) => Behaviour { turns_away: Some(said), ..Behaviour::default() },
            ("STARTTLS", Some(rest)) => Behaviour { starttls: StartTls::Garbage(octets(rest)), ..Behaviour::default() },
            ("STARTTLS", None) => Behaviour { starttls: StartTls::Refused(said), ..Behaviour::default() },
            (command, _) => Behaviour { replies: vec![(command.to_owned(), said)], ..Behaviour::default() },
        }
    }
}

/// A message whose content is not what came in over a wire: what an edit, an old spool or a fault may have put there.
async fn enqueue(rig: &Rig, content: Vec<u8>, to: Mailbox, role: SenderRole) -> Result<String> {
    let (spool, now) = (rig.gateway()?.spool(), Timestamp::now());
    let id = spool.new_id(now);
    let body = Bytes::from([b"Subject: s\r\n\r\n".to_vec(), content].concat());
    let message = Message {
        id,
        arrived: now,
        envelope: Envelope { recipients: vec![to.clone()], ..Envelope::default() },
        octets: body.len() as u64,
        origin: Origin {
            listener: "test".into(),
            client: None,
            session: String::new(),
            channel: Channel::plain(),
            trusted: false,
            user: None,
            judged: false,
        },
        tags: BTreeMap::new(),
    };
    let delivery = Delivery {
        key: DeliveryKey { id, number: 0 },
        domain: to.domain().clone(),
        via: Via::Discovery,
        role,
        floor: Requirement::NONE,
        recipients: vec![to],
        attempts: 0,
        next: now,
        standing: Standing::Due,
        last: Vec::new(),
        warned: false,
    };
    spool.accept(message, vec![delivery], vec![body]).await?;
    Ok(id.to_string())
}

/// What our client sent over one connection, content included: lines, and one end of data. What is behind STARTTLS in the clear is TLS.
pub(crate) fn is_clean(seen: &Seen) -> bool {
    let starttls = b"STARTTLS\r\n";
    let end = seen.clear.windows(starttls.len()).position(|octets| octets == starttls).map_or(seen.clear.len(), |at| at + starttls.len());
    let wire = [&seen.clear[..end], &seen.secure].concat();
    let ends = wire.windows(5).filter(|five| *five == b"\r\n.\r\n").count();
    is_lines(&wire) && ends <= 1 && wire.windows(12).filter(|octets| *octets == b"\r\nMAIL FROM:<").count() <= 1
}

/// `^([^\r\n]*\r\n)*$`.
fn is_lines(octets: &[u8]) -> bool {
    let bare =
        octets.split(|octet| *octet == b'\n').rev().skip(1).any(|line| !line.ends_with(b"\r") || line[..line.len() - 1].contains(&b'\r'));
    octets.is_empty() || (octets.ends_with(b"\r\n") && !bare)
}

fn shown(connections: &[Seen]) -> String {
    connections.iter().map(|seen| format!("{}| {}\n", seen.clear.escape_ascii(), seen.secure.escape_ascii())).collect()
}

fn leaked(seen: &Seen) -> bool {
    let clear = String::from_utf8_lossy(&seen.clear).into_owned();
    ["MAIL", "RCPT", "DATA", "Subject"].iter().any(|word| clear.contains(word))
}

/// Why the case is not as it should be under a role.
async fn judge(rig: &Rig, case: &Case, number: u8, role: SenderRole, expected: &str) -> Result<()> {
    let zone = if role == SenderRole::SecureOnly { "sos.test" } else { "bes.test" };
    let (domain, host) = (format!("c{number}.{zone}"), format!("mx.c{number}.{zone}"));
    let address = if role == SenderRole::SecureOnly { number | 0x80 } else { number };
    let peer: Peer = rig.host(&host, address, case.behaviour(), Flaw::None).await?;
    rig.dns.mx(&domain, &[(10, &host)]);
    let to = format!("bo@{domain}");
    let queue = match case.at.as_str() {
        "queue" => enqueue(rig, octets(&expand(&case.send)), Mailbox::parse(to.as_bytes(), false).context("valid")?, role).await?,
        _ => rig.submit("ana@agency.test", &[&to]).await?,
    };
    let outcome = rig.outcome(&queue).await?;
    let name = outcome["event"].as_str().unwrap_or_default();
    let said = match (name, outcome["channel"]["level"].as_str()) {
        ("message.delivered", Some("plain")) => "clear",
        ("message.delivered", _) if case.at == "queue" => "clean",
        ("message.delivered", _) => "delivered",
        (name, _) => name.strip_prefix("message.").unwrap_or(name),
    };
    ensure!(said == expected, "{said} instead of {expected}: {outcome}");
    // The peer answers before it writes down what it took.
    let messages = if matches!(said, "clean" | "clear") { peer.wait_for_messages(1, PATIENCE).await } else { peer.messages() };
    let connections = peer.connections();
    ensure!(connections.iter().all(is_clean), "our wire: {}", shown(&connections));
    ensure!(role == SenderRole::BestEffort || !connections.iter().any(leaked), "S5: {}", shown(&connections));
    ensure!(!outcome.to_string().contains(['\u{1b}', '\u{202e}']), "what a peer says is made printable: {outcome}");
    // A handshake that is read as commands may hold what looks like the end of a message.
    let copies = messages.iter().filter(|message| !message.forward_paths.is_empty()).count();
    ensure!(!matches!(said, "clean" | "clear") || copies == 1, "{copies} copies");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_lie_get_what_they_deserve() -> Result<()> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../cases/client.json"))?;
    ensure!(cases.len() < 0x80, "each case has an address of its own");
    let rig = Rig::with("secure_wait = 0", "[[send.rule]]\nname = \"secure\"\nto = \"*.sos.test\"\nrole = \"SOS\"\n").await?;
    let roles = [SenderRole::BestEffort, SenderRole::SecureOnly];
    let mut bad = Vec::new();
    for (number, case) in (2_u8..).zip(&cases) {
        for (role, expected) in roles.into_iter().zip([&case.best_effort, &case.secure_only]) {
            if let Err(error) = judge(&rig, case, number, role, expected).await {
                bad.push(format!("{} under {role}: {error:#}", case.id));
            }
        }
    }
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), cases.len(), bad.join("\n"));
    // What came back is one readable notice each, whatever the peer's words were.
    let returned = cases.iter().flat_map(|case| [&case.best_effort, &case.secure_only]).filter(|fate| *fate == "returned").count();
    let notices = rig.inside.wait_for_messages(returned, PATIENCE).await;
    ensure!(notices.len() == returned, "{} notices for {returned} messages", notices.len());
    for notice in &notices {
        let control = |octet: &u8| octet.is_ascii_control() && !b"\r\n\t".contains(octet);
        ensure!(notice.content.is_ascii() && !notice.content.iter().any(control), "{}", String::from_utf8_lossy(&notice.content));
    }
    Ok(())
}
