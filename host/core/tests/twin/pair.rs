//! The two sides of a session, joined by a wire that cuts octets anywhere, keeps them in order, records them, and may go dead. Time is
//! a number: it only moves when nothing else can.

use crate::liar::secured;
use crate::random::Random;
use secmx_core::channel::{Channel, Level, Requirement, TlsUse};
use secmx_core::mail::{Domain, Envelope, Mailbox};
use secmx_core::queue::QueueId;
use secmx_core::report::Cause;
use secmx_core::role::ReceiverRole;
use secmx_core::ruling::{ClientCertificate, Question, Ruling, Terms};
use secmx_core::smtp::client::{self, ClientConfig, ClientSession, Outgoing, Protocol, Report};
use secmx_core::smtp::reply;
use secmx_core::smtp::server::{self, Client, Refusal, ServerConfig, ServerSession};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text.as_bytes(), true).expect("valid")
}

pub(crate) fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("valid")
}

/// How the two are set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) tls: TlsUse,
    pub(crate) role: ReceiverRole,
    /// After so many segments, either way, the wire is dead.
    pub(crate) dies_after: Option<usize>,
    /// The receiver's disk takes nothing.
    pub(crate) disk_full: bool,
}

impl Setting {
    pub(crate) fn of(tls: TlsUse, role: ReceiverRole) -> Self {
        Self { tls, role, dies_after: None, disk_full: false }
    }
}

/// A message to send: the envelope, and its octets.
pub(crate) type Message = (Outgoing, Vec<u8>);

/// What came of it all.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// What the sender said, in the clear and under TLS.
    pub(crate) clear: Vec<u8>,
    pub(crate) secured: Vec<u8>,
    /// What the receiver wrote down for good.
    pub(crate) stored: Vec<(Envelope, Vec<u8>)>,
    /// What the sender was told, message by message.
    pub(crate) reports: Vec<Report>,
    pub(crate) failure: Option<Cause>,
    /// How much time went by.
    pub(crate) elapsed: Duration,
}

/// One end of the wire.
#[derive(Debug, Default)]
struct End {
    /// Segments under way to this end.
    inbox: VecDeque<Vec<u8>>,
    deadline: Option<Duration>,
    /// It asked for the handshake.
    securing: bool,
    closed: bool,
    /// It was told that the other end has closed.
    told: bool,
}

pub(crate) struct Pair {
    setting: Setting,
    random: Random,
    client: Option<ClientSession>,
    server: Option<ServerSession>,
    at_client: End,
    at_server: End,
    messages: VecDeque<Message>,
    sending: Vec<u8>,
    channel: Channel,
    kept: Vec<u8>,
    segments: usize,
    pub(crate) record: Record,
}

impl Pair {
    /// Sends the messages one after the other over one session, then quits, and plays until both ends have closed.
    pub(crate) fn play(setting: Setting, messages: Vec<Message>, seed: u64) -> Record {
        let implicit = setting.tls == TlsUse::Implicit;
        let mut pair = Self {
            setting,
            random: Random::new(seed),
            client: None,
            server: None,
            at_client: End::default(),
            at_server: End { securing: implicit, ..End::default() },
            messages: messages.into(),
            sending: Vec::new(),
            channel: Channel::plain(),
            kept: Vec::new(),
            segments: 0,
            record: Record::default(),
        };
        let mut effects = Vec::new();
        let config = ClientConfig {
            hello: domain("us.test"),
            protocol: Protocol::Smtp,
            tls: setting.tls,
            login: false,
            timeouts: client::Timeouts::default(),
        };
        pair.client = Some(ClientSession::open(config, &mut effects));
        pair.obey_client(effects);
        if !implicit {
            pair.open_server(Channel::plain());
        }
        while !(pair.at_client.closed && pair.at_server.closed) {
            pair.step();
        }
        pair.record
    }

    fn open_server(&mut self, channel: Channel) {
        let config = ServerConfig {
            hostname: domain("mx.test"),
            own_domains: vec![domain("x.test")],
            postmaster: mailbox("postmaster@x.test"),
            mechanisms: Vec::new(),
            strict_header: false,
            limits: server::Limits::default(),
        };
        let peer = Client { address: [192, 0, 2, 1].into(), relay: false, normalize: false };
        let mut effects = Vec::new();
        self.server = Some(ServerSession::open(Arc::new(config), peer, channel, &mut effects));
        self.obey_server(effects);
    }

    /// The next thing that can happen: a handshake, a segment, a close that is noticed, or else time.
    fn step(&mut self) {
        if self.at_client.securing && self.at_server.securing {
            return self.shake();
        }
        let moved = self.random.chance(50) && self.deliver_to_server();
        if !moved && !self.deliver_to_client() && !self.deliver_to_server() {
            self.let_time_pass();
        }
    }

    fn shake(&mut self) {
        assert!(self.at_client.inbox.is_empty() && self.at_server.inbox.is_empty(), "nothing is under way when the handshake begins");
        (self.at_client.securing, self.at_server.securing) = (false, false);
        self.channel = secured(Level::Host);
        match self.server.is_some() {
            true => self.give_server(server::Input::Secured(secured(Level::Encrypted))),
            false => self.open_server(secured(Level::Encrypted)),
        }
        self.give_client(client::Input::Secured(self.channel.clone()));
    }

    fn deliver_to_client(&mut self) -> bool {
        if self.at_client.closed || self.at_client.securing {
            return false;
        }
        match self.at_client.inbox.pop_front() {
            Some(segment) => {
                self.give_client(client::Input::Octets(&segment));
                true
            }
            None if self.at_server.closed && !self.at_client.told && !self.is_dead() => {
                self.at_client.told = true;
                self.give_client(client::Input::Closed("end of stream".to_owned()));
                true
            }
            None => false,
        }
    }

    fn deliver_to_server(&mut self) -> bool {
        if self.at_server.closed || self.at_server.securing {
            return false;
        }
        match self.at_server.inbox.pop_front() {
            Some(segment) => {
                self.give_server(server::Input::Octets(&segment));
                true
            }
            None if self.at_client.closed && !self.at_server.told && !self.is_dead() => {
                self.at_server.told = true;
                self.give_server(server::Input::Closed);
                true
            }
            None => false,
        }
    }

    fn let_time_pass(&mut self) {
        let deadline = |end: &End| end.deadline.filter(|_| !end.closed);
        let (client, server) = (deadline(&self.at_client), deadline(&self.at_server));
        let next = client.into_iter().chain(server).min().expect("an end that waits has set a time");
        self.record.elapsed = next;
        if client == Some(next) {
            self.at_client.deadline = None;
            self.give_client(client::Input::TimedOut);
        } else {
            self.at_server.deadline = None;
            self.give_server(server::Input::TimedOut);
        }
    }

    fn is_dead(&self) -> bool {
        self.setting.dies_after.is_some_and(|most| self.segments >= most)
    }

    /// Cuts octets into segments and puts those on their way that the wire still carries.
    fn carry(&mut self, octets: &[u8]) -> Vec<Vec<u8>> {
        let cut: Vec<Vec<u8>> = self.random.segments(octets).into_iter().map(<[u8]>::to_vec).collect();
        let room = self.setting.dies_after.map_or(cut.len(), |most| most.saturating_sub(self.segments));
        self.segments += cut.len();
        cut.into_iter().take(room).collect()
    }

    fn give_client(&mut self, input: client::Input<'_>) {
        let mut effects = Vec::new();
        self.client = self.client.take().map(|session| session.handle(input, &mut effects));
        self.obey_client(effects);
    }

    fn give_server(&mut self, input: server::Input<'_>) {
        let mut effects = Vec::new();
        self.server = self.server.take().map(|session| session.handle(input, &mut effects));
        self.obey_server(effects);
    }

    fn obey_client(&mut self, effects: Vec<client::Effect>) {
        for effect in effects {
            match effect {
                client::Effect::Send(octets) => {
                    let wire = if self.channel.tls.is_some() { &mut self.record.secured } else { &mut self.record.clear };
                    wire.extend_from_slice(&octets);
                    let segments = self.carry(&octets);
                    self.at_server.inbox.extend(segments);
                }
                client::Effect::Secure => self.at_client.securing = true,
                client::Effect::Wait(time) => self.at_client.deadline = Some(self.record.elapsed + time),
                client::Effect::Ready { .. } => self.next_message(),
                client::Effect::WantBody => self.next_body(),
                client::Effect::Login(_) => unreachable!("nobody is to log in"),
                client::Effect::Done(report) => {
                    let reusable = report.reusable;
                    self.record.reports.push(report);
                    if reusable {
                        self.next_message();
                    }
                }
                client::Effect::Failed(cause) => self.record.failure = Some(cause),
                client::Effect::Close => self.at_client.closed = true,
            }
        }
    }

    fn next_message(&mut self) {
        self.at_client.deadline = None;
        match self.messages.pop_front() {
            None => self.give_client(client::Input::Quit),
            Some((outgoing, octets)) => {
                self.sending = octets;
                let cleared = Requirement::at_least(self.channel.level).admit(&self.channel).expect("its own level");
                self.give_client(client::Input::Transmit(cleared, outgoing));
            }
        }
    }

    fn next_body(&mut self) {
        if self.sending.is_empty() {
            return self.give_client(client::Input::BodyEnd);
        }
        let length = 1 + self.random.below(self.sending.len());
        let rest = self.sending.split_off(length);
        let chunk = std::mem::replace(&mut self.sending, rest);
        self.give_client(client::Input::Body(&chunk));
    }

    fn obey_server(&mut self, effects: Vec<server::Effect>) {
        for effect in effects {
            match effect {
                server::Effect::Reply(answer) => {
                    let mut octets = Vec::new();
                    reply::write(&answer, &mut octets);
                    let segments = self.carry(&octets);
                    self.at_client.inbox.extend(segments);
                }
                server::Effect::Secure(_) => self.at_server.securing = true,
                server::Effect::Ask(Question::Greet) => {
                    let terms = Terms { role: self.setting.role, client_certificate: ClientCertificate::Ignore };
                    self.give_server(server::Input::Greeted(terms, Ruling::Pass));
                }
                server::Effect::Ask(_) => self.give_server(server::Input::Ruled(Ruling::Pass)),
                server::Effect::Store(octets) => self.kept.extend(octets),
                server::Effect::Discard => self.kept.clear(),
                server::Effect::Commit { envelope, .. } => self.commit(envelope),
                server::Effect::Wait(time) => self.at_server.deadline = Some(self.record.elapsed + time),
                server::Effect::Close => self.at_server.closed = true,
                server::Effect::Introduced(_) | server::Effect::Dropped(_) | server::Effect::Authenticate(_) => {}
            }
        }
    }

    fn commit(&mut self, envelope: Envelope) {
        let result = if self.setting.disk_full {
            Err(Refusal::Full)
        } else {
            self.record.stored.push((envelope, self.kept.clone()));
            Ok(QueueId::new(1_795_000_000_000, u32::try_from(self.record.stored.len()).expect("few")))
        };
        self.give_server(server::Input::Stored(result));
    }
}
