//! One connection of one client: octets between the socket and `core`'s `ServerSession`, and what it asks for in between.
//!
//! Nothing here decides what is answered. While a question is open nothing is read, so what a client pipelines waits in the socket.

use super::Desk;
use super::ahead::Word;
use super::content::Content;
use super::decide::Pending;
use super::door::Place;
use super::intake::Transaction;
use super::pace::Incoming;
use super::sasl::{Exchange, Progress};
use crate::authentication::Found;
use crate::config::{Listener, ListenerRole, Start, Unsure};
use crate::generation::Generation;
use crate::spool::SpoolError;
use crate::stream::Stream;
use secmx_core::channel::Channel;
use secmx_core::mail::{Envelope, Mailbox, Parameter};
use secmx_core::queue::{Origin, QueueId, Standing};
use secmx_core::report::{EnhancedStatus, Event, Reply};
use secmx_core::ruling::{ClientCertificate, ContentEffects, Question, Reason, Ruling, Terms};
use secmx_core::smtp::reply;
use secmx_core::smtp::server::{AuthRefusal, AuthStep, Client, Disposition, Effect, Hello, Input, Judged, Refusal, ServerSession};
use secmx_policy::{Fault, Following, MessageFacts, Minutes, SessionFacts};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a client may take for its part of a TLS handshake.
const PATIENCE_TO_SECURE: Duration = Duration::from_secs(30);

/// Octets read at a time: of a message, and of commands. A session that waits holds one of them; what all commands in one of them are
/// answered waits for a client that does not read.
const BUFFER: usize = 16 * 1024;
const SMALL_BUFFER: usize = 1024;

/// Octets that a client may have said before its greeting for us to see that it did.
const EARLY_WORDS: usize = 64;

/// A session and everything it needs.
pub(super) struct Session {
    pub(super) desk: Arc<Desk>,
    /// Taken anew at each MAIL, kept to the end of the transaction (invariant 7).
    pub(super) generation: Arc<Generation>,
    pub(super) listener: Listener,
    place: Place,
    pub(super) facts: SessionFacts,
    stream: Option<Stream>,
    deadline: Instant,
    hello: Option<Hello>,
    parameters: Vec<Parameter>,
    recipient_parameters: Vec<Vec<Parameter>>,
    pub(super) content: Content,
    /// A message, or a chunk that was refused, while it comes in.
    coming_in: Option<Incoming>,
    exchange: Option<(&'static str, Exchange)>,
    /// What the session is told before anything more is read.
    upcoming: Option<Input<'static>>,
    pub(super) effects: ContentEffects,
    /// Our own field behind the trace, if any: Authentication-Results.
    pub(super) results: String,
    /// The name that the message will have in the queue, once policies were asked about it.
    pub(super) queue: Option<QueueId>,
    /// What they decided.
    pub(super) decided: Option<Pending>,
    /// Name of the policy that ruled on the content.
    ruled_by: Option<String>,
    /// Shadows that wait until the client has its answer.
    following: Vec<Following>,
    unsent: Vec<u8>,
    messages: u32,
    /// The session knows that the gateway is going down.
    told_to_end: bool,
}

/// What came from outside; octets are lent to the session from here.
enum News {
    Octets(Vec<u8>),
    Other(Input<'static>),
}

impl Session {
    pub(super) fn new(
        desk: Arc<Desk>,
        generation: Arc<Generation>,
        name: &str,
        listener: Listener,
        client: SocketAddr,
        place: Place,
    ) -> Self {
        let facts = SessionFacts {
            id: session_id(desk.clock.now()),
            listener: name.to_owned(),
            client_address: client.ip().to_canonical(),
            client_name: None,
            hello: None,
            channel: Channel::plain(),
            authenticated_as: None,
            authentication_results: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        Self {
            content: Content::new(desk.intake.clone()),
            desk,
            generation,
            listener,
            place,
            facts,
            stream: None,
            deadline: Instant::now(),
            hello: None,
            parameters: Vec::new(),
            recipient_parameters: Vec::new(),
            coming_in: None,
            exchange: None,
            upcoming: None,
            effects: ContentEffects::default(),
            results: String::new(),
            queue: None,
            decided: None,
            ruled_by: None,
            following: Vec::new(),
            unsent: Vec::new(),
            messages: 0,
            told_to_end: false,
        }
    }

    /// Talks to the client until one of the two ends it, or `stop` does.
    pub(super) async fn run(mut self, stream: TcpStream, stop: CancellationToken) {
        self.stream = Some(Box::new(stream));
        let address = self.facts.client_address;
        let client = Client { address, relay: self.listener.allows(address), normalize: self.listener.normalizes(address) };
        let mut first = Vec::new();
        let mechanisms = self.generation.users.as_ref().map(|users| users.mechanisms()).unwrap_or_default();
        let config = Arc::new(self.generation.config.smtp(&self.listener, &mechanisms));
        if self.listener.tls == Start::Implicit && matches!(self.secure(ClientCertificate::Ignore).await, Input::SecureFailed) {
            return;
        }
        let mut session = ServerSession::open(config, client, self.facts.channel.clone(), &mut first);
        let mut effects = VecDeque::from(first);
        let cause = loop {
            let news = match effects.pop_front() {
                Some(Effect::Close) => break "closed",
                Some(effect) => self.perform(effect).await,
                None => match self.upcoming.take() {
                    Some(input) => Some(News::Other(input)),
                    None => self.listen(&stop).await,
                },
            };
            let mut more = Vec::new();
            session = match news {
                Some(News::Octets(octets)) => session.handle(Input::Octets(&octets), &mut more),
                Some(News::Other(Input::Closed)) => break "the client went away",
                Some(News::Other(input)) => session.handle(input, &mut more),
                None => session,
            };
            self.expect(session.is_in_content());
            effects.extend(more);
        };
        let _ = self.flush().await;
        if let Some(mut stream) = self.stream.take() {
            let _ = timeout(Duration::from_secs(1), stream.shutdown()).await;
        }
        self.desk.log.write(&Event::SessionClose { session: &self.facts.id, messages: self.messages, cause });
    }

    /// Does what the session asks for, and says what came of it.
    async fn perform(&mut self, effect: Effect) -> Option<News> {
        match effect {
            Effect::Reply(reply) => {
                if reply.is_transient() || reply.is_permanent() {
                    self.desk.log.write(&Event::Refused { session: &self.facts.id, reply: &reply });
                }
                reply::write(&reply, &mut self.unsent);
                None
            }
            Effect::Secure(want) => Some(News::Other(self.secure(want).await)),
            Effect::Ask(Question::Greet) => Some(match self.early_words().await {
                Some(early) => early,
                None => News::Other(self.greet().await),
            }),
            Effect::Ask(question) => Some(News::Other(self.ask(question).await)),
            Effect::Authenticate(step) => Some(News::Other(self.authenticate(step).await)),
            Effect::Introduced(hello) => {
                self.facts.hello = hello.as_ref().map(|hello| hello.name.clone());
                self.hello = hello;
                None
            }
            Effect::Store(octets) => {
                self.content.take(octets).await;
                None
            }
            Effect::Discard => {
                self.reset();
                None
            }
            Effect::Commit { envelope, disposition, judged } => {
                Some(News::Other(Input::Stored(self.commit(envelope, disposition, judged).await)))
            }
            Effect::Dropped(reason) => {
                let queue = self.queue.map_or_else(|| self.facts.id.clone(), |id| id.to_string());
                self.desk.log.write(&Event::Discarded { queue, code: &reason.code });
                None
            }
            Effect::Wait(time) => {
                let limits = &self.listener.limits;
                let scarce = self.coming_in.is_none() && self.place.is_scarce(limits.connections);
                self.deadline = Instant::now() + if scarce { time.min(limits.stress_idle) } else { time };
                None
            }
            Effect::Close => None,
        }
    }

    /// Time runs from where content is awaited, not from where some of it is kept: what is refused comes in as well.
    fn expect(&mut self, content: bool) {
        if content {
            self.coming_in.get_or_insert_with(|| Incoming::new(Instant::now()));
        } else {
            self.coming_in = None;
        }
    }

    /// Whether the client takes too long over what it sends, now that so many octets of it have come in.
    fn is_too_slow(&mut self, octets: usize) -> bool {
        self.coming_in.as_mut().is_some_and(|incoming| {
            incoming.add(octets);
            incoming.is_too_slow(Instant::now(), &self.listener.limits)
        })
    }

    /// What the client says while the greeting is held back.
    async fn early_words(&mut self) -> Option<News> {
        let delay = self.listener.limits.greet_delay;
        let stream = self.stream.as_mut().filter(|_| !delay.is_zero())?;
        let mut buffer = vec![0; EARLY_WORDS];
        match timeout(delay, stream.read(&mut buffer)).await {
            Err(_) => None,
            Ok(Ok(0) | Err(_)) => Some(News::Other(Input::Closed)),
            Ok(Ok(length)) => {
                buffer.truncate(length);
                Some(News::Octets(buffer))
            }
        }
    }

    /// The next thing that happens outside. Replies leave before anything is waited for.
    async fn listen(&mut self, stop: &CancellationToken) -> Option<News> {
        if !self.flush().await {
            return Some(News::Other(Input::Closed));
        }
        let stream = self.stream.as_mut()?;
        let mut buffer = vec![0; if self.coming_in.is_some() { BUFFER } else { SMALL_BUFFER }];
        tokio::select! {
            read = timeout_at(self.deadline, stream.read(&mut buffer)) => Some(match read {
                Err(_) => News::Other(Input::TimedOut),
                Ok(Ok(0) | Err(_)) => News::Other(Input::Closed),
                Ok(Ok(length)) if self.is_too_slow(length) => News::Other(Input::TimedOut),
                Ok(Ok(length)) => {
                    buffer.truncate(length);
                    News::Octets(buffer)
                }
            }),
            () = stop.cancelled(), if !self.told_to_end => {
                self.told_to_end = true;
                Some(News::Other(Input::Drain))
            }
        }
    }

    /// Sends what waits to be sent, and has those asked who waited for that. False when the client does not take it.
    async fn flush(&mut self) -> bool {
        let sent = self.send().await;
        self.following.drain(..).for_each(Following::begin);
        sent
    }

    async fn send(&mut self) -> bool {
        if self.unsent.is_empty() {
            return true;
        }
        let octets = mem::take(&mut self.unsent);
        match &mut self.stream {
            Some(stream) => {
                let write = async {
                    stream.write_all(&octets).await?;
                    stream.flush().await
                };
                matches!(timeout(self.listener.limits.unread, write).await, Ok(Ok(())))
            }
            None => false,
        }
    }

    async fn secure(&mut self, want: ClientCertificate) -> Input<'static> {
        let sent = self.flush().await;
        let Some(stream) = self.stream.take().filter(|_| sent) else { return Input::SecureFailed };
        let tls = self.desk.current.load().server_tls.clone();
        let want = if self.knows_certificates() { want.max(ClientCertificate::Request) } else { want };
        let detail = match timeout(PATIENCE_TO_SECURE, tls.accept(stream, want)).await {
            Ok(Ok((stream, channel))) => {
                self.stream = Some(Box::new(stream));
                self.facts.channel = channel.clone();
                self.greet_owner_of_certificate(&channel);
                self.desk.log.write(&Event::SessionSecured { session: &self.facts.id, channel: &channel });
                return Input::Secured(channel);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no handshake within {PATIENCE_TO_SECURE:?}"),
        };
        self.desk.log.write(&Event::SessionTlsFailed { session: &self.facts.id, detail });
        Input::SecureFailed
    }

    /// Goes one step on with the SASL exchange.
    async fn authenticate(&mut self, step: AuthStep) -> Input<'static> {
        let refused = |refusal| Input::Authenticated(Err(refusal));
        let Some(users) = self.generation.users.clone() else { return refused(AuthRefusal::Fault) };
        let message = match step {
            AuthStep::Begin { mechanism, initial } => {
                self.exchange = Exchange::begin(&mechanism);
                match (&self.exchange, initial) {
                    (Some((_, exchange)), None) => return Input::Challenge(exchange.invitation()),
                    (_, initial) => initial.unwrap_or_default(),
                }
            }
            AuthStep::Continue(message) => message,
        };
        let Some((mechanism, exchange)) = &mut self.exchange else { return refused(AuthRefusal::Malformed) };
        let (mechanism, session) = (*mechanism, &self.facts.id);
        match exchange.step(&users, message).await {
            Progress::Challenge(challenge) => Input::Challenge(challenge),
            Progress::Done(Ok(user)) => {
                self.desk.log.write(&Event::Authenticated { session, user: &user, mechanism });
                self.facts.authenticated_as = Some(user.clone());
                Input::Authenticated(Ok(user))
            }
            Progress::Done(Err(refusal)) => {
                let client = self.facts.client_address.to_string();
                self.desk.log.write(&Event::AuthenticationFailed { session, client, mechanism });
                refused(refusal)
            }
        }
    }

    /// Whether users may be known by their certificates here: where users send from.
    fn knows_certificates(&self) -> bool {
        self.listener.role == ListenerRole::Submit && self.generation.users.as_ref().is_some_and(|users| users.have_certificates())
    }

    /// A client certificate that belongs to a user stands for AUTH. That the client has its key is what the handshake proved.
    fn greet_owner_of_certificate(&mut self, channel: &Channel) {
        let certificate = channel.tls.as_ref().and_then(|tls| tls.peer.as_ref()).filter(|_| self.knows_certificates());
        let users = self.generation.users.as_ref();
        let user = certificate.zip(users).and_then(|(certificate, users)| users.of_certificate(&certificate.sha256)).map(str::to_owned);
        if let Some(user) = &user {
            self.desk.log.write(&Event::Authenticated { session: &self.facts.id, user, mechanism: "certificate" });
        }
        self.facts.authenticated_as.clone_from(&user);
        self.upcoming = user.map(|user| Input::Authenticated(Ok(user)));
    }

    /// Puts a question to the policies. A fault of theirs is 451 4.3.0: the client keeps the message (invariant 6).
    async fn ask(&mut self, question: Question) -> Input<'static> {
        let mut minutes = Minutes::default();
        let ruling = match &question {
            Question::Greet => return self.greet().await,
            Question::Mail { reverse_path, parameters } => {
                self.generation = self.desk.current.load_full();
                if !self.desk.spool.has_room(self.listener.limits.message_octets) {
                    return Input::Ruled(no_room());
                }
                let answer = self.generation.policies.hearing(&mut minutes).mail(&self.facts, reverse_path, parameters).await;
                self.parameters.clone_from(parameters);
                answer.map(|(ruling, tags)| self.tagged(ruling, tags))
            }
            Question::Recipient { reverse_path, forward_path, parameters } => {
                if let Some(refusal) = self.absence(forward_path).await {
                    return Input::Ruled(refusal);
                }
                let hearing = self.generation.policies.hearing(&mut minutes);
                let answer = hearing.recipient(&self.facts, reverse_path, forward_path, parameters).await;
                self.recipient_parameters.push(parameters.clone());
                answer.map(|(ruling, tags)| self.tagged(ruling, tags))
            }
            Question::Content(envelope) => self.inspect(envelope, &mut minutes).await,
        };
        Input::Ruled(self.write_down(&question, ruling.unwrap_or_else(|_| fault()), &minutes).await)
    }

    /// Why a recipient of ours cannot be written to, as far as the operator's list or the host inside tells.
    async fn absence(&mut self, to: &Mailbox) -> Option<Ruling> {
        let config = &self.generation.config;
        if !to.domain().name().is_some_and(|domain| config.domains.contains(domain)) {
            return None;
        }
        if let Some(list) = &self.generation.recipients {
            return (!list.has(to)).then(nobody);
        }
        if !config.recipients.ask || *to == config.postmaster {
            return None;
        }
        match self.desk.ahead.ask(&self.generation, to, self.desk.clock.now()).await {
            Word::There => None,
            Word::NotThere => Some(nobody()),
            Word::Unsure => (config.recipients.unsure == Unsure::Defer).then(unsure),
        }
    }

    fn tagged(&mut self, ruling: Ruling, tags: BTreeMap<String, String>) -> Ruling {
        self.facts.tags.extend(tags);
        ruling
    }

    async fn greet(&mut self) -> Input<'static> {
        let mut minutes = Minutes::default();
        match self.generation.policies.hearing(&mut minutes).greet(self.listener.role.policy(), &self.facts).await {
            Ok(greeting) => {
                self.facts.tags.extend(greeting.tags);
                let (session, client) = (&self.facts.id, self.facts.client_address.to_string());
                self.desk.log.write(&Event::SessionOpen { session, listener: &self.facts.listener, client, role: greeting.terms.role });
                Input::Greeted(greeting.terms, self.write_down(&Question::Greet, greeting.ruling, &minutes).await)
            }
            Err(_) => Input::Greeted(Terms::default(), self.write_down(&Question::Greet, fault(), &minutes).await),
        }
    }

    async fn inspect(&mut self, envelope: &Envelope, minutes: &mut Minutes) -> Result<Ruling, Fault> {
        if !self.generation.policies.inspects_content() && !self.writes_results() {
            return Ok(Ruling::Pass);
        }
        let content = match self.content.whole().await {
            Ok(content) => content,
            Err(error) => return Ok(if self.lost(&error) == Refusal::Full { no_room() } else { fault() }),
        };
        let id = self.desk.spool.new_id(self.desk.clock.now());
        self.queue = Some(id);
        let author = self.author(envelope, &content);
        let message = MessageFacts {
            id: id.to_string(),
            envelope: envelope.clone(),
            parameters: self.parameters.clone(),
            recipient_parameters: self.recipient_parameters.clone(),
            octets: Arc::new(content.clone()),
            authenticity: author.clone().map(|author| author as _),
            tags: BTreeMap::new(),
        };
        let (inspection, following) = self.generation.policies.hearing(minutes).content(&self.facts, message).await;
        self.following.push(following);
        self.facts.authentication_results = author.as_ref().and_then(|author| author.known()).map(Found::results).unwrap_or_default();
        let removals = match &inspection {
            Ok(inspection) => self.write_results(author, &inspection.ruling, &content).await,
            Err(_) => Vec::new(),
        };
        self.content.put_back(content);
        let inspection = inspection?;
        self.effects = inspection.effects;
        self.effects.edits.splice(..0, removals);
        self.ruled_by = inspection.by;
        Ok(inspection.ruling)
    }

    /// Writes the message down. The 250 comes after this and only when it returns an id (invariant 4).
    async fn commit(&mut self, envelope: Envelope, disposition: Disposition, judged: Judged) -> Result<QueueId, Refusal> {
        let content = self.content.whole().await.map_err(|error| self.lost(&error))?;
        let hello = self.hello.clone().unwrap_or(Hello { name: "unknown".into(), extended: false });
        let (standing, reason) = match disposition {
            Disposition::Deliver => (Standing::Due, None),
            Disposition::Quarantine(reason) => (kept(&reason, self.ruled_by.take()), Some(reason)),
        };
        let (notes, passed) = Pending::split(self.decided.take());
        let must_be_written = !notes.is_empty();
        let has_results = !self.results.is_empty();
        let transaction = Transaction {
            _judged: judged,
            id: self.queue.take().unwrap_or_else(|| self.desk.spool.new_id(self.desk.clock.now())),
            notes,
            generation: &self.generation,
            envelope,
            content,
            effects: mem::take(&mut self.effects),
            results: mem::take(&mut self.results),
            standing,
            origin: Origin {
                listener: self.facts.listener.clone(),
                client: Some(self.facts.client_address),
                session: self.facts.id.clone(),
                channel: self.facts.channel.clone(),
                trusted: self.listener.trusted,
                user: self.facts.authenticated_as.clone(),
                judged: has_results,
            },
            hello: &hello.name,
            extended: hello.extended,
        };
        match transaction.commit(self.desk.spool.as_ref(), self.desk.clock.now()).await {
            Ok((message, kept)) => {
                self.messages += 1;
                if must_be_written {
                    self.desk.decisions.noted();
                }
                if let Some(line) = passed {
                    self.desk.decisions.passed(line).await;
                }
                let queue = message.id.to_string();
                kept.iter().for_each(|kept| self.desk.log.write(&kept.told(queue.clone())));
                if let Some(reason) = &reason {
                    self.desk.log.write(&Event::Quarantined { queue: queue.clone(), code: &reason.code });
                }
                self.desk.log.write(&Event::Queued {
                    session: &self.facts.id,
                    queue,
                    reverse_path: message.envelope.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default(),
                    recipients: message.envelope.recipients.len(),
                    octets: message.octets,
                });
                Ok(message.id)
            }
            Err(SpoolError::Full) => Err(Refusal::Full),
            Err(error) => {
                self.desk.log.write(&Event::SpoolFailed { detail: error.to_string() });
                Err(Refusal::Fault)
            }
        }
    }

    /// What the client is told when the content could not be kept.
    fn lost(&self, error: &io::Error) -> Refusal {
        self.desk.log.write(&Event::SpoolFailed { detail: format!("a message that came in could not be kept: {error}") });
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if full { Refusal::Full } else { Refusal::Fault }
    }

    /// What one transaction leaves behind must not reach the next.
    fn reset(&mut self) {
        self.content = Content::new(self.desk.intake.clone());
        self.effects = ContentEffects::default();
        self.results.clear();
        self.facts.authentication_results.clear();
        (self.queue, self.decided) = (None, None);
        self.ruled_by = None;
        self.parameters.clear();
        self.recipient_parameters.clear();
    }
}

fn kept(reason: &Reason, by: Option<String>) -> Standing {
    Standing::Quarantined { code: reason.code.clone(), text: reason.text.clone(), by }
}

fn fault() -> Ruling {
    let reply = Reply::new(451, Some(EnhancedStatus::new(4, 3, 0)), "Local trouble, try again later");
    Ruling::Defer { reply, reason: Reason { code: "policy.fault".into(), text: "a policy failed".into() } }
}

/// Durability rule 4: "452 4.3.1 at MAIL before it happens".
fn no_room() -> Ruling {
    let reply = Reply::new(452, Some(EnhancedStatus::new(4, 3, 1)), "Insufficient storage, try again later");
    Ruling::Defer { reply, reason: Reason { code: "spool.full".into(), text: "the spool is nearly full".into() } }
}

/// X.4.3: "Directory server failure" (RFC 3463, 3.5).
fn unsure() -> Ruling {
    let reply = Reply::new(451, Some(EnhancedStatus::new(4, 4, 3)), "Cannot verify the recipient now, try again later");
    Ruling::Defer { reply, reason: Reason { code: "recipient.unsure".into(), text: "the host inside could not be asked".into() } }
}

fn nobody() -> Ruling {
    let reply = Reply::new(550, Some(EnhancedStatus::new(5, 1, 1)), "No such recipient here");
    Ruling::Reject { reply, reason: Reason { code: "recipient.unknown".into(), text: "there is no such recipient".into() } }
}

/// Names a session in the log: the time, and a number that tells sessions of one millisecond apart.
fn session_id(now: jiff::Timestamp) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("s{:x}-{:x}", now.as_millisecond(), number & 0xffff)
}
