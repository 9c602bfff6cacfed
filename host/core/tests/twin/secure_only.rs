//! L2-4: before TLS only EHLO, STARTTLS and QUIT ever leave a sender that must have TLS, whatever the peer does, and no MAIL at all leaves
//! on a channel below the requirement.

use crate::liar::{Act, Handshake, Liar, secured};
use secmx_core::channel::{Channel, Level, Requirement, TlsUse};
use secmx_core::mail::{Domain, Mailbox};
use secmx_core::report::Cause;
use secmx_core::smtp::client::{ClientConfig, ClientSession, Effect, Input, Outgoing, Protocol, Timeouts};
use std::collections::BTreeMap;

const BODY: &[u8] = b"Subject: secret\r\n\r\nsecret\r\n";
/// More turns than any dialog needs; then the time runs out.
const TURNS_MAX: usize = 60;
/// How often, in percent, a caller comes with a proof from another channel, or before the session is ready. It must not matter.
const CARELESS: usize = 5;

/// A sender and what it must have.
#[derive(Debug, Clone, Copy)]
struct Sender {
    tls: TlsUse,
    /// What the recorder holds it to.
    must: Requirement,
    /// What its caller asks the channel for. Less than `must` only in a sender that is broken on purpose.
    asks: Requirement,
}

/// Everything that left, and over what.
#[derive(Debug, Default)]
struct Wire {
    clear: Vec<u8>,
    secured: Vec<u8>,
    channel: Channel,
    outcome: Option<&'static str>,
}

impl Wire {
    fn record(&mut self, octets: &[u8]) {
        if self.channel.tls.is_some() { &mut self.secured } else { &mut self.clear }.extend_from_slice(octets);
    }

    /// What left that must not have, if anything.
    fn breach(&self, must: Requirement) -> Option<String> {
        let lines = self.clear.split_inclusive(|&octet| octet == b'\n');
        let forbidden =
            lines.map(String::from_utf8_lossy).find(|line| !["EHLO us.test\r\n", "STARTTLS\r\n", "QUIT\r\n"].contains(&&**line));
        if let Some(line) = forbidden {
            return Some(format!("in the clear: {line:?}"));
        }
        let wire = String::from_utf8_lossy(&self.secured);
        let spoke = wire.contains("MAIL") || wire.contains("RCPT") || wire.contains("secret");
        (spoke && self.channel.level < must.level()).then(|| format!("over a channel of level {}: {wire:?}", self.channel.level))
    }
}

/// One sender against one liar.
struct Run {
    session: Option<ClientSession>,
    pending: Vec<Effect>,
    sender: Sender,
    wire: Wire,
    liar: Liar,
    /// What the client said since the peer last spoke.
    heard: Vec<u8>,
    body_given: bool,
    over: bool,
}

impl Run {
    fn to_its_end(sender: Sender, seed: u64) -> Wire {
        let mut pending = Vec::new();
        let hello = Domain::parse("us.test").expect("valid");
        let config = ClientConfig { hello, protocol: Protocol::Smtp, tls: sender.tls, login: false, timeouts: Timeouts::default() };
        let session = Some(ClientSession::open(config, &mut pending));
        let mut run = Self {
            session,
            pending,
            sender,
            wire: Wire::default(),
            liar: Liar::new(seed),
            heard: Vec::new(),
            body_given: false,
            over: false,
        };
        run.obey();
        if run.liar.random().chance(CARELESS) {
            run.transmit_with(&secured(Level::Domain));
        }
        for _ in 0..TURNS_MAX {
            if run.over {
                return run.wire;
            }
            let heard = std::mem::take(&mut run.heard);
            let act = run.liar.act(&heard);
            run.suffer(&act);
        }
        run.give(Input::TimedOut);
        if !run.over {
            run.give(Input::Quit);
            run.give(Input::TimedOut);
        }
        assert!(run.over, "a session ends when its time does (seed {seed}): {:?}", run.session);
        run.wire
    }

    fn give(&mut self, input: Input<'_>) {
        self.session = self.session.take().map(|session| session.handle(input, &mut self.pending));
        self.obey();
    }

    fn suffer(&mut self, act: &Act) {
        match act {
            Act::Leaves => self.give(Input::Closed("end of stream".to_owned())),
            Act::Stalls => self.give(Input::TimedOut),
            Act::Says(octets) => {
                let segments = self.liar.random().segments(octets);
                segments.into_iter().for_each(|segment| self.give(Input::Octets(segment)));
            }
        }
    }

    fn obey(&mut self) {
        for effect in std::mem::take(&mut self.pending) {
            match effect {
                Effect::Send(octets) => {
                    self.wire.record(&octets);
                    self.heard.extend(octets);
                }
                Effect::Secure => self.shake(),
                Effect::Ready { channel, .. } => {
                    let careless = self.liar.random().chance(CARELESS);
                    self.transmit_with(&if careless { secured(Level::Domain) } else { *channel });
                }
                Effect::WantBody => {
                    let input = if std::mem::replace(&mut self.body_given, true) { Input::BodyEnd } else { Input::Body(BODY) };
                    self.give(input);
                }
                Effect::Done(report) => {
                    let delivered = report.results.iter().any(|(_, result)| result.is_ok());
                    self.wire.outcome = Some(if delivered { "delivered" } else { "not delivered" });
                    // A fault of ours is what the careless caller was answered; the session goes on.
                    if !report.results.iter().all(|(_, result)| matches!(result, Err(Cause::Fault(_)))) {
                        self.give(Input::Quit);
                    }
                }
                Effect::Failed(cause) => self.wire.outcome = Some(name(&cause)),
                Effect::Close => self.over = true,
                Effect::Wait(_) | Effect::Login(_) => {}
            }
        }
    }

    fn shake(&mut self) {
        match self.liar.shake() {
            Handshake::Stands(channel) => {
                self.wire.channel = channel.clone();
                self.give(Input::Secured(channel));
            }
            Handshake::Fails => self.give(Input::SecureFailed("handshake_failure".to_owned())),
            Handshake::Instead(act) => self.suffer(&act),
        }
    }

    fn transmit_with(&mut self, channel: &Channel) {
        let mailbox = |text: &str| Mailbox::parse(text.as_bytes(), false).expect("valid");
        let recipients = (0..=self.liar.random().below(3)).map(|at| mailbox(&format!("user{at}@x.test"))).collect();
        let reverse_path = Some(mailbox("secret@us.test"));
        let outgoing = Outgoing { reverse_path, recipients, octets: BODY.len() as u64, ..Outgoing::default() };
        match self.sender.asks.admit(channel) {
            Ok(cleared) => self.give(Input::Transmit(cleared, outgoing)),
            Err(_) => {
                self.wire.outcome = Some("below");
                self.give(Input::Quit);
            }
        }
    }
}

fn name(cause: &Cause) -> &'static str {
    match cause {
        Cause::TlsNotOffered => "not offered",
        Cause::TlsRefused(_) => "refused",
        Cause::TlsFailed(_) => "handshake",
        Cause::NeedsTls(_) => "needs TLS",
        Cause::Unwelcome(_) => "unwelcome",
        Cause::Protocol(_) => "protocol",
        Cause::Broken(_) => "broken",
        _ => "other",
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// The first breach among peers, with the seed of the peer, and how often each outcome came.
fn first_breach(sender: impl Fn(u64) -> Sender, peers: u64) -> (Option<String>, BTreeMap<&'static str, u64>) {
    let first = number("SECMX_TWIN_SEED", 1);
    let mut outcomes = BTreeMap::new();
    for seed in first..first + peers {
        let sender = sender(seed);
        let wire = Run::to_its_end(sender, seed);
        if let Some(breach) = wire.breach(sender.must) {
            return (Some(format!("{sender:?}, SECMX_TWIN_SEED={seed} SECMX_TWIN_PEERS=1: {breach}")), outcomes);
        }
        *outcomes.entry(wire.outcome.unwrap_or("nothing")).or_default() += 1;
    }
    (None, outcomes)
}

fn strict(seed: u64) -> Sender {
    let must = [Level::Encrypted, Level::Host, Level::Domain].map(Requirement::at_least)[(seed % 3) as usize];
    let tls = if seed.is_multiple_of(4) { TlsUse::Implicit } else { TlsUse::Required };
    Sender { tls, must, asks: must }
}

/// L2-4. `SECMX_TWIN_PEERS` says how many peers (default 10,000), `SECMX_TWIN_SEED` the first.
#[test]
fn l2_4_no_peer_gets_a_word_of_mail_below_the_requirement() {
    let peers = number("SECMX_TWIN_PEERS", 10_000);
    let (breach, outcomes) = first_breach(strict, peers);
    println!("{peers} peers: {outcomes:?}");
    assert_eq!(breach, None);
    if peers < 1000 {
        return;
    }
    // The peers go everywhere, or the proof says little.
    for outcome in
        ["delivered", "not delivered", "below", "not offered", "refused", "handshake", "needs TLS", "unwelcome", "protocol", "broken"]
    {
        assert!(outcomes.get(outcome).is_some_and(|&times| times >= peers / 1000), "{outcome}: {outcomes:?}");
    }
}

/// The recorder sees a sender that takes what is offered.
#[test]
fn a_sender_that_goes_on_in_the_clear_is_caught() {
    for tls in [TlsUse::Offered, TlsUse::Without] {
        let broken = |seed| Sender { tls, asks: Requirement::NONE, ..strict(seed) };
        let breach = first_breach(broken, 1000).0.expect("caught");
        assert!(breach.contains("in the clear"), "{breach}");
    }
}

/// The recorder sees a caller that asks for less than it must.
#[test]
fn a_sender_that_is_content_with_less_is_caught() {
    let (must, asks) = (Requirement::at_least(Level::Domain), Requirement::at_least(Level::Encrypted));
    let broken = |_| Sender { tls: TlsUse::Required, must, asks };
    let breach = first_breach(broken, 1000).0.expect("caught");
    assert!(breach.contains("over a channel of level"), "{breach}");
}
