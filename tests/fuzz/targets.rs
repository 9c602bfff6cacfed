//! What must hold whatever comes in. None may panic; beyond that each says what it checks.

use crate::mutate::Mutator;
use secmx::config::Config;
use secmx_core::channel::Level;
use secmx_core::channel::{Channel, Requirement, Tls, TlsUse, TlsVersion};
use secmx_core::mail::dsn::OriginalRecipient;
use secmx_core::mail::{Domain, MailDomain, Mailbox};
use secmx_core::queue::QueueId;
use secmx_core::role::ReceiverRole;
use secmx_core::ruling::{Question, Ruling, Terms};
use secmx_core::secmx::dane::{Tlsa, TlsaRecord};
use secmx_core::secmx::discovery::{self, Answer, Findings, MxRecord, SrvRecord, Told};
use secmx_core::secmx::sts;
use secmx_core::smtp::client::{self, ClientConfig, ClientSession, Outgoing, Protocol};
use secmx_core::smtp::command::Command;
use secmx_core::smtp::content::{Decoder, Encoder};
use secmx_core::smtp::reply::ReplyReader;
use secmx_core::smtp::server::{self, Client, Limits, ServerConfig, ServerSession};
use std::sync::Arc;

fn domain(name: &str) -> Domain {
    Domain::parse(name).expect("valid")
}

fn mailbox(address: &str) -> Mailbox {
    Mailbox::parse(address.as_bytes(), false).expect("valid")
}

/// `^([^\r\n]*\r\n)*$`.
pub(crate) fn is_lines(octets: &[u8]) -> bool {
    let text: Vec<u8> = octets.iter().map(|octet| if octet.is_ascii() { *octet } else { b'x' }).collect();
    let text = String::from_utf8(text).expect("ASCII");
    (text.is_empty() || text.ends_with("\r\n")) && !text.replace("\r\n", "").contains(['\r', '\n'])
}

/// A command that is understood holds nothing that could end a line of ours.
pub(crate) fn commands(input: &[u8], _: &mut Mutator) {
    for line in input.split(|octet| *octet == b'\n') {
        for utf8 in [false, true] {
            if let Ok(command) = Command::parse(line, utf8) {
                let shown = format!("{command:?}");
                assert!(!shown.contains(['\r', '\n', '\0']), "{shown}");
            }
        }
    }
}

/// What a server said, took and stored.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    replies: Vec<String>,
    taken: Vec<Taken>,
    /// How many replies and messages there were when the channel became secure.
    secured: Option<(usize, usize)>,
}

/// A message that was taken: who from, who to, what.
#[derive(Debug, PartialEq)]
struct Taken {
    from: String,
    to: Vec<String>,
    content: Vec<u8>,
}

impl Heard {
    /// What was said and taken over TLS.
    fn behind_starttls(&self) -> Option<(&[String], &[Taken])> {
        self.secured.map(|(replies, taken)| (&self.replies[replies..], &self.taken[taken..]))
    }
}

/// A channel over TLS.
fn secure() -> Channel {
    let tls = Tls { version: TlsVersion::V13, cipher: String::new(), group: String::new(), server_name: None, peer: None, doubt: None };
    Channel::secured(Level::Host, tls)
}

/// A server whose policies pass everything, fed with these segments: `clear`, and over TLS `secure`, without which a handshake fails.
fn serve(limits: Limits, clear: &[&[u8]], over_tls: Option<&[&[u8]]>) -> Heard {
    let config = ServerConfig {
        hostname: domain("mx.test"),
        own_domains: vec![domain("example.test")],
        postmaster: mailbox("postmaster@example.test"),
        mechanisms: Vec::new(),
        strict_header: false,
        limits,
    };
    let client = Client { address: [192, 0, 2, 1].into(), relay: false, normalize: false };
    let (mut heard, mut kept, mut effects) = (Heard::default(), Vec::new(), Vec::new());
    let mut session = ServerSession::open(Arc::new(config), client, Channel::plain(), &mut effects);
    let mut segments = clear.iter();
    loop {
        let mut answer = None;
        for effect in std::mem::take(&mut effects) {
            match effect {
                server::Effect::Reply(reply) => heard.replies.push(reply.to_string()),
                server::Effect::Ask(Question::Greet) => {
                    let terms = Terms { role: ReceiverRole::BestEffort, ..Terms::default() };
                    answer = Some(server::Input::Greeted(terms, Ruling::Pass));
                }
                server::Effect::Ask(_) => answer = Some(server::Input::Ruled(Ruling::Pass)),
                server::Effect::Secure(_) => match over_tls {
                    None => answer = Some(server::Input::SecureFailed),
                    Some(said) => {
                        heard.secured = Some((heard.replies.len(), heard.taken.len()));
                        segments = said.iter();
                        answer = Some(server::Input::Secured(secure()));
                    }
                },
                server::Effect::Authenticate(_) => answer = Some(server::Input::Closed),
                server::Effect::Store(octets) => kept.extend(octets),
                server::Effect::Discard => kept.clear(),
                server::Effect::Commit { envelope, .. } => {
                    let from = envelope.reverse_path.map(|path| path.to_string()).unwrap_or_default();
                    let to = envelope.recipients.iter().map(ToString::to_string).collect();
                    heard.taken.push(Taken { from, to, content: std::mem::take(&mut kept) });
                    answer = Some(server::Input::Stored(Ok(QueueId::new(1, 1))));
                }
                server::Effect::Close => return heard,
                server::Effect::Introduced(_) | server::Effect::Dropped(_) | server::Effect::Wait(_) => {}
            }
        }
        let input = match answer {
            Some(answer) => answer,
            None => match segments.next() {
                Some(segment) => server::Input::Octets(segment),
                None => return heard,
            },
        };
        session = session.handle(input, &mut effects);
    }
}

/// What is said in the clear, and the rest: behind STARTTLS, or anywhere.
fn split<'a>(input: &'a [u8], mutator: &mut Mutator) -> (&'a [u8], &'a [u8]) {
    let starttls = b"STARTTLS\r\n";
    let behind = input.windows(starttls.len()).position(|octets| octets == starttls).map(|at| at + starttls.len());
    let anywhere = mutator.below(input.len() + 1);
    input.split_at(behind.filter(|_| mutator.below(2) == 0).unwrap_or(anywhere))
}

/// S2, S3, S4: however the octets are cut, the same is said and taken; what is taken is lines, for our own domain.
pub(crate) fn server_session(input: &[u8], mutator: &mut Mutator) {
    let (clear, over_tls) = split(input, mutator);
    let whole = [serve(Limits::default(), &[input], None), serve(Limits::default(), &[clear], Some(&[over_tls]))];
    let in_clear = serve(Limits::default(), &mutator.segments(input), None);
    let behind = serve(Limits::default(), &mutator.segments(clear), Some(&mutator.segments(over_tls)));
    assert_eq!(whole, [in_clear, behind], "it matters where the octets were cut");
    for Taken { to, content, .. } in whole.iter().flat_map(|heard| &heard.taken) {
        assert!(is_lines(content), "{content:?}");
        let ours = |to: &String| to.to_ascii_lowercase().ends_with("@example.test");
        assert!(!to.is_empty() && to.iter().all(ours), "taken for {to:?}");
    }
    starttls(clear, over_tls);
}

/// S4: over TLS all is as though nothing had been said in the clear, whatever it was, and whatever was sent along with STARTTLS. The
/// limits that count over the whole session are left out.
fn starttls(clear: &[u8], over_tls: &[u8]) {
    let limits = || Limits { errors_max: u32::MAX, idle_commands_max: u32::MAX, messages_max: u32::MAX, ..Limits::default() };
    let injected = b"\r\n.\r\nSTARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@probe.test>\r\n";
    let heard = serve(limits(), &[clear, injected], Some(&[over_tls]));
    let nothing = serve(limits(), &[b"STARTTLS\r\n"], Some(&[over_tls]));
    if let Some(behind) = heard.behind_starttls() {
        assert_eq!(Some(behind), nothing.behind_starttls(), "what was said in the clear counts");
    }
}

/// Gives how often it was cut.
pub(crate) fn cut_everywhere(name: &str, wire: &[u8]) -> usize {
    let hello = [&b"EHLO b.test\r\nNOOP\r\n"[..]];
    for over_tls in [None, Some(&hello[..])] {
        let heard = |clear: &[&[u8]]| serve(Limits::default(), clear, over_tls);
        let whole = heard(&[wire]);
        let octets: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(whole, heard(&octets), "{name}, octet by octet");
        for at in 1..wire.len() {
            assert_eq!(whole, heard(&[&wire[..at], &wire[at..]]), "{name}, cut at {at}");
        }
        for Taken { from, content, .. } in &whole.taken {
            assert!(is_lines(content) && !from.starts_with("boss@"), "{name}: from {from}");
        }
    }
    wire.len()
}

/// L2-4: whatever a peer says, nothing but EHLO, STARTTLS and QUIT leaves before TLS; and the content that leaves is ended once.
pub(crate) fn client_session(input: &[u8], mutator: &mut Mutator) {
    let use_of_tls = [TlsUse::Required, TlsUse::Without][mutator.below(2)];
    let config = ClientConfig {
        hello: domain("us.test"),
        protocol: Protocol::Smtp,
        tls: use_of_tls,
        login: false,
        timeouts: client::Timeouts::default(),
    };
    let (mut effects, mut clear, mut secured, mut transmitted) = (Vec::new(), Vec::new(), false, false);
    let mut session = ClientSession::open(config, &mut effects);
    let content = &input[..input.len().min(64)];
    let script = [&b"220 mx.test\r\n250-mx.test\r\n250 STARTTLS\r\n220 go\r\n"[..], input].concat();
    let said = if mutator.below(2) == 0 { input } else { &script };
    let mut segments = mutator.segments(said).into_iter();
    loop {
        let mut answer = None;
        for effect in std::mem::take(&mut effects) {
            match effect {
                client::Effect::Send(octets) if !secured => clear.extend(octets),
                client::Effect::Secure => {
                    secured = true;
                    answer = Some(client::Input::Secured(secure()));
                }
                client::Effect::Ready { channel, .. } if !transmitted => {
                    transmitted = true;
                    let cleared = Requirement::NONE.admit(&channel).expect("anything will do");
                    let recipients = vec![mailbox("b@x.test")];
                    answer = Some(client::Input::Transmit(cleared, Outgoing { recipients, octets: 64, ..Outgoing::default() }));
                }
                client::Effect::WantBody => answer = Some(client::Input::BodyEnd),
                client::Effect::Close => {
                    assert!(use_of_tls != TlsUse::Required || only_opening(&clear), "{}", String::from_utf8_lossy(&clear));
                    return;
                }
                _ => {}
            }
        }
        let input = match answer {
            Some(client::Input::BodyEnd) => {
                session = session.handle(client::Input::Body(content), &mut effects);
                effects.retain(|effect| *effect != client::Effect::WantBody);
                client::Input::BodyEnd
            }
            Some(answer) => answer,
            None => segments.next().map_or_else(|| client::Input::Closed("the end".to_owned()), client::Input::Octets),
        };
        session = session.handle(input, &mut effects);
    }
}

fn only_opening(clear: &[u8]) -> bool {
    let text = String::from_utf8_lossy(clear);
    text.split_inclusive("\r\n").all(|line| matches!(line, "EHLO us.test\r\n" | "STARTTLS\r\n" | "QUIT\r\n"))
}

/// However a reply is cut, it is the same reply or the same error, and what it says is printable.
pub(crate) fn replies(input: &[u8], mutator: &mut Mutator) {
    let read = |segments: &[&[u8]]| {
        let (mut reader, mut found) = (ReplyReader::new(), Vec::new());
        for segment in segments {
            reader.push(segment);
            loop {
                match reader.next() {
                    Ok(Some(reply)) => found.push(Ok(reply)),
                    Ok(None) => break,
                    Err(error) => {
                        found.push(Err(error));
                        return found;
                    }
                }
            }
        }
        found
    };
    let whole = read(&[input]);
    assert_eq!(whole, read(&mutator.segments(input)));
    let printable = |text: &String| !text.chars().any(char::is_control);
    assert!(whole.iter().flatten().all(|reply| reply.lines.iter().all(printable)));
}

/// S2: our wire is lines with one end, and what we would read from it ourselves is what was meant.
pub(crate) fn content(input: &[u8], mutator: &mut Mutator) {
    let encode = |segments: &[&[u8]]| {
        let (mut encoder, mut wire) = (Encoder::new(), Vec::new());
        segments.iter().for_each(|segment| encoder.encode(segment, &mut wire));
        encoder.finish(&mut wire);
        wire
    };
    let wire = encode(&[input]);
    assert_eq!(wire, encode(&mutator.segments(input)));
    assert!(is_lines(&wire));
    let (mut decoder, mut decoded) = (Decoder::new(1 << 20, 1 << 20), Vec::new());
    let ended = decoder.decode(&wire, &mut decoded);
    assert!(ended.ended && ended.used == wire.len() && decoder.flaw().is_none());
    assert!(is_lines(&decoded) && encode(&[&decoded]) == wire);
}

/// What is read as an address is written as one that is read the same.
pub(crate) fn addresses(input: &[u8], _: &mut Mutator) {
    for piece in input.split(|octet| b"<>\r\n; ".contains(octet)) {
        for utf8 in [false, true] {
            if let Ok(mailbox) = Mailbox::parse(piece, utf8) {
                let shown = mailbox.to_string();
                assert_eq!(Mailbox::parse(shown.as_bytes(), true).ok(), Some(mailbox), "{shown}");
            }
        }
        let text = String::from_utf8_lossy(piece);
        if let Ok(domain) = MailDomain::parse(&text) {
            assert_eq!(MailDomain::parse(&domain.to_string()).ok(), Some(domain));
        }
        if let Some(original) = OriginalRecipient::parse(&format!("rfc822;{text}"), true) {
            assert_eq!(OriginalRecipient::parse(&original.to_value(false), false), Some(original));
        }
    }
}

/// A configuration is taken, or every finding has a line.
pub(crate) fn configuration(input: &[u8], _: &mut Mutator) {
    let text = String::from_utf8_lossy(input).into_owned();
    if let Err(findings) = Config::parse("fuzz.toml", &text) {
        assert!(!findings.is_empty());
        assert!(findings.iter().all(|finding| finding.to_string().starts_with("fuzz.toml")), "{findings:?}");
    }
}

/// RFC 3030: however content is cut into chunks, it is the content that is taken, and nothing in it is obeyed.
pub(crate) fn chunks(input: &[u8], mutator: &mut Mutator) {
    let mut wire = b"EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.test>\r\n".to_vec();
    for segment in mutator.segments(input) {
        wire.extend_from_slice(&[format!("BDAT {}\r\n", segment.len()).as_bytes(), segment].concat());
    }
    wire.extend_from_slice(b"BDAT 0 LAST\r\n");
    let heard = serve(Limits::default(), &mutator.segments(&wire), None);
    let (mut decoder, mut decoded) = (Decoder::new(10_000, 1 << 20), Vec::new());
    decoder.chunk(input, &mut decoded);
    decoder.finish(&mut decoded);
    match heard.taken.as_slice() {
        [] => {}
        [Taken { to, content, .. }] => assert!(*to == ["a@example.test"] && *content == decoded && decoder.flaw().is_none()),
        more => panic!("{} messages", more.len()),
    }
}

/// A message as policies see it: bounded, whatever it is made of.
pub(crate) fn views(input: &[u8], _: &mut Mutator) {
    let (parts, _) = secmx_policy::reach::view(input);
    assert!(parts <= 10_000, "{parts}");
}

/// An edit that is let through cannot end its line, or its header.
pub(crate) fn edits(input: &[u8], mutator: &mut Mutator) {
    let text = String::from_utf8_lossy(input).into_owned();
    let at = (0..=mutator.below(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (name, value) = text.split_at(at);
    if let Some((name, value)) = secmx_policy::reach::edit(name, value) {
        assert!(!name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':'), "{name:?}");
        assert!(!value.contains(['\r', '\n', '\0']), "{value:?}");
    }
}

/// What a domain says of its mail in DNS and in its policy file. A policy means the same when its own lines are read again; TLSA records
/// that count can be used; D-4, D-9: exchangers are bounded, distinct, and on ports that are allowed.
pub(crate) fn published(input: &[u8], mutator: &mut Mutator) {
    if let Ok(policy) = sts::Policy::parse(input) {
        let lines = policy.lines().join("\n");
        assert!(!lines.replace('\n', "").contains(char::is_control), "{lines:?}");
        assert_eq!(sts::Policy::parse(lines.as_bytes()).ok(), Some(policy));
    }
    let texts: Vec<String> = input.split(|octet| *octet == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    if let Some(id) = sts::announced(&texts) {
        assert!((1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric()), "{id:?}");
    }
    let number = |octets: &[u8], at: usize| octets.get(at).copied().unwrap_or_default();
    let pieces = mutator.segments(input);
    let tlsa = pieces.iter().take(50).map(|piece| TlsaRecord {
        usage: number(piece, 0) % 5,
        selector: number(piece, 1) % 3,
        matching: number(piece, 2) % 4,
        data: piece.iter().cycle().take([0, 31, 32, 64][mutator.below(4)]).copied().collect(),
    });
    let tlsa: Vec<_> = tlsa.collect();
    match Tlsa::of(&tlsa) {
        Tlsa::Absent => assert!(tlsa.is_empty()),
        Tlsa::Unusable => {}
        Tlsa::Usable(counted) => assert!(counted.iter().all(|record| tlsa.contains(record) && record.usage >= 2 && record.selector <= 1)),
    }
    let host = |piece: &[u8]| Domain::parse(&String::from_utf8_lossy(piece)).ok();
    let words: Vec<&[u8]> = input.split(|octet| b" \r\n\t:,;".contains(octet)).take(100).collect();
    let two = |octets: &[u8]| u16::from_be_bytes([number(octets, 0), number(octets, 1)]);
    let srv = words.iter().map(|word| SrvRecord {
        priority: two(word) % 4,
        weight: two(word),
        port: [0, 25, 465, 2525, two(word)][mutator.below(5)],
        target: host(word),
    });
    let (srv, mx) = (srv.collect::<Vec<_>>(), words.iter().map(|word| MxRecord { preference: two(word), exchange: host(word) }).collect());
    let told = |secure| Told { answer: Answer::Found(srv.clone()), secure };
    let findings =
        Findings { srv: told(true), smtp_tls: told(false), mx: Told::from(Answer::Found(mx)), address: Told::from(Answer::None) };
    let limits = discovery::Limits::default();
    let found = discovery::discover(&domain("a.test"), &findings, &discovery::Own::default(), &limits, &mut |most| most / 2);
    assert!(found.exchangers.len() <= 3 * limits.records_max, "{found:?}");
    assert!(found.exchangers.iter().all(|exchanger| limits.ports.contains(&exchanger.port)), "{found:?}");
    let mut seen: Vec<_> = found.exchangers.iter().map(|exchanger| (exchanger.name.to_string(), exchanger.port)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), found.exchangers.len(), "{found:?}");
}
