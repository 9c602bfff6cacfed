//! One call to one address: connection, TLS, proof, transmission.
//!
//! It drives `core`'s [`ClientSession`] over a socket. What is good enough is the candidate's requirement; this file has no opinion and
//! no way around it: `transmit` wants a `Cleared`, and only the requirement gives one.

use super::login::Exchange;
use super::pool::{Link, Place};
use super::scout::{self, Notes};
use super::transcript::Transcript;
use super::worker::{Attempt, Job};
use crate::config::Downgrade;
use crate::stream::Stream;
use crate::tls::Expected;
use bytes::Bytes;
use secmx_core::channel::{Channel, TlsUse};
use secmx_core::queue::Via;
use secmx_core::report::{Cause, Event, Failure, Reply};
use secmx_core::ruling::Ruling;
use secmx_core::secmx::delivery::Outcome;
use secmx_core::smtp::client::{ClientConfig, ClientSession, Effect, Input, Outgoing, Protocol, Report, RequireTls};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Octets of a message that are read from the spool at a time.
pub(super) const CHUNK: u64 = 256 * 1024;

/// Calls `address`, over a connection that waits there if there is one. Errors when no transaction came about, with the reason.
pub(super) async fn make(attempt: &Attempt<'_>, address: SocketAddr) -> Result<Outcome, Cause> {
    let place = Place::of(attempt, address);
    while let Some(link) = attempt.job.courier.pool.take(&place, &attempt.job.generation) {
        let Link { stream, session, channel, messages, .. } = link;
        let mut call = Call::new(attempt, &place, address, stream);
        (call.channel, call.messages) = (channel.clone(), messages);
        let first = call.admit(channel).await;
        let mut effects = Vec::new();
        let session = session.handle(first, &mut effects);
        match call.run(session, effects).await {
            // The peer had enough of this connection, and has seen nothing of the message. A new one will tell.
            ended if is_stale(&ended) => {}
            ended => return ended,
        }
    }
    let (stream, local) = dial(attempt, address).await?;
    let send = &attempt.job.generation.config.send;
    let protocol = if attempt.exchanger.is_lmtp() { Protocol::Lmtp } else { Protocol::Smtp };
    let mut call = Call::new(attempt, &place, address, stream);
    call.session = Some(Session { local, met: None });
    call.login = match &attempt.job.delivery.via {
        Via::Configured(next_hop) => attempt.job.generation.logins.at(next_hop).map(Exchange::new),
        Via::Discovery => None,
    };
    let (hello, tls, timeouts) = (send.hello.clone(), attempt.candidate.tls, send.timeouts);
    let config = ClientConfig { hello, protocol, tls, login: call.login.is_some(), timeouts };
    let mut effects = Vec::new();
    let session = ClientSession::open(config, &mut effects);
    call.run(session, effects).await
}

/// A new connection, and our own address on it.
async fn dial(attempt: &Attempt<'_>, address: SocketAddr) -> Result<(Stream, Option<IpAddr>), Cause> {
    let send = &attempt.job.generation.config.send;
    let patience = send.connect_timeout;
    let stream = match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Cause::Unreachable(error.to_string())),
        Err(_) => return Err(Cause::Unreachable(format!("no answer within {patience:?}"))),
    };
    // Commands are small and wait for their replies; Nagle's algorithm would only add a delay to each.
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok().map(|local| local.ip());
    Ok((Box::new(stream), local))
}

/// Whether a connection that waited turned out to be of no use before any content went out.
fn is_stale(ended: &Result<Outcome, Cause>) -> bool {
    let hung_up = |cause: &Cause| match cause {
        Cause::Broken(_) | Cause::Protocol(_) => true,
        Cause::Deferred(reply) | Cause::Unwelcome(reply) => reply.code == 421,
        _ => false,
    };
    match ended {
        Ok(Outcome::Transacted { results, transmitted: false, .. }) => {
            results.iter().all(|(_, result)| result.as_ref().is_err_and(|failure| hung_up(&failure.cause)))
        }
        Ok(_) => false,
        Err(cause) => hung_up(cause),
    }
}

/// What a domain is told of a connection that was opened here (RFC 8460).
struct Session {
    local: Option<IpAddr>,
    /// The channel that stood.
    met: Option<Channel>,
}

struct Call<'a> {
    attempt: &'a Attempt<'a>,
    job: &'a Job<'a>,
    place: &'a Place,
    address: SocketAddr,
    /// `None` after a handshake that failed took the connection with it (L1-4).
    stream: Option<Stream>,
    /// How we authenticate, where the configuration says who we are.
    login: Option<Exchange>,
    deadline: Option<Instant>,
    /// Octets of the message that went out.
    sent: u64,
    /// `None` on a connection that waited for another message: it was counted before.
    session: Option<Session>,
    /// The signature that goes before them.
    signature: Bytes,
    /// The channel that was admitted.
    channel: Channel,
    /// Messages that went over this connection.
    messages: u32,
    /// The connection is to wait for another message.
    kept: bool,
    /// What was said.
    transcript: Transcript,
    /// What the session sends now is content.
    in_content: bool,
    ended: Option<Result<Outcome, Cause>>,
}

/// What came from outside; octets are lent to the session from here.
enum News {
    Octets(Vec<u8>),
    Body(Bytes),
    Other(Input<'static>),
}

impl<'a> Call<'a> {
    fn new(attempt: &'a Attempt<'a>, place: &'a Place, address: SocketAddr, stream: Stream) -> Self {
        Self {
            attempt,
            job: attempt.job,
            place,
            address,
            stream: Some(stream),
            login: None,
            deadline: None,
            sent: 0,
            session: None,
            signature: Bytes::new(),
            channel: Channel::plain(),
            messages: 0,
            kept: false,
            transcript: Transcript::default(),
            in_content: false,
            ended: None,
        }
    }

    async fn run(mut self, mut session: ClientSession, first: Vec<Effect>) -> Result<Outcome, Cause> {
        let mut effects = VecDeque::from(first);
        while !self.kept {
            let news = match effects.pop_front() {
                Some(Effect::Close) => break,
                Some(effect) => self.perform(effect).await,
                None => Some(self.listen().await),
            };
            let mut more = Vec::new();
            if let Some(news) = &news {
                self.in_content = matches!(news, News::Body(_));
            }
            session = match news {
                Some(News::Octets(octets)) => session.handle(Input::Octets(&octets), &mut more),
                Some(News::Body(octets)) => session.handle(Input::Body(&octets), &mut more),
                None => session,
                Some(News::Other(input)) => session.handle(input, &mut more),
            };
            effects.extend(more);
        }
        let lines = mem::take(&mut self.transcript).finish();
        if let Some(notes) = &self.job.notes {
            notes.said(&lines);
        }
        self.job.courier.log.write(&Event::Dialogue {
            queue: self.job.message.id.to_string(),
            exchanger: &self.attempt.exchanger.name.to_string(),
            address: self.address.to_string(),
            lines,
        });
        self.count();
        if let Some(stream) = self.stream.take_if(|_| self.kept) {
            self.keep(stream, session);
        }
        self.ended.unwrap_or_else(|| Err(Cause::Broken("the session ended without a result".into())))
    }

    /// An attempt at TLS counts, whatever became of the message.
    fn count(&self) {
        let tried = matches!(self.attempt.candidate.tls, TlsUse::Required | TlsUse::Implicit);
        if let Some(Session { local, met }) = self.session.as_ref().filter(|_| tried) {
            let cause = self.ended.as_ref().and_then(|ended| ended.as_ref().err());
            self.attempt.count(met.as_ref(), cause, *local, Some(self.address.ip()));
        }
    }

    /// Does what the session asks for, and says what came of it.
    async fn perform(&mut self, effect: Effect) -> Option<News> {
        match effect {
            Effect::Send(octets) => self.send(&octets).await,
            Effect::Secure => Some(self.secure().await),
            Effect::Wait(time) => {
                self.deadline = Instant::now().checked_add(time);
                None
            }
            Effect::Login(prompt) => {
                let exchange = self.login.as_mut()?;
                Some(News::Other(Input::Login(exchange.step(prompt).await)))
            }
            Effect::Ready { channel, extensions } => {
                if let Some(notes) = &self.job.notes {
                    notes.met(&channel, &extensions);
                }
                if let Some(session) = &mut self.session {
                    session.met = Some(Channel::clone(&channel));
                }
                Some(News::Other(self.admit(*channel).await))
            }
            Effect::WantBody => Some(self.body().await),
            Effect::Done(report) => {
                let reusable = report.reusable;
                let ended = Ok(self.outcome(report));
                self.messages += 1;
                self.kept = reusable
                    && self.job.notes.is_none()
                    && !is_stale(&ended)
                    && self.messages < self.job.generation.config.queue.per_destination.messages;
                self.ended = Some(ended);
                (reusable && !self.kept).then_some(News::Other(Input::Quit))
            }
            Effect::Failed(cause) => {
                self.ended.get_or_insert(Err(cause));
                None
            }
            Effect::Close => None,
        }
    }

    /// Lets the connection wait for another message.
    fn keep(&self, stream: Stream, session: ClientSession) {
        let queue = &self.job.generation.config.queue;
        let generation = Arc::downgrade(&self.job.generation);
        let link = Link { stream, session, channel: self.channel.clone(), messages: self.messages, generation };
        self.job.courier.pool.put(self.place.clone(), link, queue.per_destination.idle, queue.workers);
    }

    async fn send(&mut self, octets: &[u8]) -> Option<News> {
        let Some(stream) = &mut self.stream else {
            return Some(News::Other(Input::Closed("the connection is gone".into())));
        };
        if self.in_content {
            self.transcript.content(octets.len());
        } else {
            self.transcript.sent(octets);
        }
        // A peer that reads nothing must not hold a worker for ever.
        let patience = self.deadline.unwrap_or_else(|| Instant::now() + self.job.generation.config.send.timeouts.block);
        match timeout_at(patience, push(stream, octets)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(News::Other(Input::Closed(error.to_string()))),
            Err(_) => Some(News::Other(Input::TimedOut)),
        }
    }

    async fn listen(&mut self) -> News {
        let Some(stream) = &mut self.stream else {
            return News::Other(Input::Closed("the connection is gone".into()));
        };
        let mut buffer = vec![0; 4096];
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(600));
        match timeout_at(deadline, stream.read(&mut buffer)).await {
            Err(_) => News::Other(Input::TimedOut),
            Ok(Ok(0)) => News::Other(Input::Closed("the peer closed the connection".into())),
            Ok(Err(error)) => News::Other(Input::Closed(error.to_string())),
            Ok(Ok(length)) => {
                buffer.truncate(length);
                self.transcript.received(&buffer);
                News::Octets(buffer)
            }
        }
    }

    async fn secure(&mut self) -> News {
        let Some(stream) = self.stream.take() else {
            return News::Other(Input::SecureFailed("the connection is gone".into()));
        };
        let patience = self.job.generation.config.send.timeouts.handshake;
        let expected = Expected {
            exchanger: self.attempt.exchanger,
            mail_domain: &self.job.delivery.domain,
            rule: self.attempt.target.rule.as_deref(),
            requirement: self.attempt.candidate.requirement,
        };
        let handshake = self.job.generation.client_tls.connect(stream, expected);
        News::Other(match timeout(patience, handshake).await {
            Ok(Ok((stream, channel))) => {
                self.stream = Some(Box::new(stream));
                if let Some(tls) = &channel.tls {
                    self.transcript.happened(&format!("{} {}", tls.version, tls.cipher));
                }
                Input::Secured(channel)
            }
            Ok(Err(error)) => Input::SecureFailed(handshake_error(&error)),
            Err(_) => Input::SecureFailed(format!("no handshake within {patience:?}")),
        })
    }

    /// The channel stands. Is it enough, and do the policies say so too?
    async fn admit(&mut self, channel: Channel) -> Input<'static> {
        let cleared = match self.attempt.candidate.requirement.admit(&channel) {
            Ok(cleared) => cleared,
            Err(shortfall) => return self.leave(Cause::BelowRequirement(shortfall)),
        };
        if self.login.as_ref().is_some_and(|exchange| !exchange.is_done()) {
            return self.leave(Cause::LoginFailed("it took us in before it had proved that it knows our secret".into()));
        }
        if self.job.notes.as_ref().is_some_and(Notes::asks) {
            return Input::Transmit(cleared, Outgoing { recipients: self.attempt.recipients.to_vec(), probe: true, ..Outgoing::default() });
        }
        if let Some(cause) = self.fallen(&channel) {
            return self.leave(cause);
        }
        match self.attempt.admit(&channel).await {
            Ok(Ruling::Pass | Ruling::Accept(_)) => {}
            Ok(ruling) => {
                let reason = ruling.reason().cloned();
                let (code, text) = reason.map_or((String::new(), ruling.name().to_owned()), |reason| (reason.code, reason.text));
                return self.leave(Cause::Policy { code, text });
            }
            Err(fault) => return self.leave(Cause::Fault(fault.to_string())),
        }
        self.signature = match self.job.signature().await {
            Ok(signature) => signature.clone(),
            Err(cause) => return self.leave(cause),
        };
        self.channel = channel;
        if self.job.notes.is_some() {
            self.ended = Some(Ok(scout::would_go(self.attempt.recipients)));
            return Input::Quit;
        }
        let envelope = &self.job.message.envelope;
        Input::Transmit(
            cleared,
            Outgoing {
                reverse_path: envelope.reverse_path.clone(),
                recipients: self.attempt.recipients.to_vec(),
                octets: self.job.message.octets + self.signature.len() as u64,
                body: envelope.body,
                smtputf8: envelope.smtputf8,
                require_tls: match (envelope.require_tls, self.attempt.exchanger.is_configured()) {
                    (false, _) => RequireTls::No,
                    // The operator answers for a host that the configuration names (profile, decision 11).
                    (true, true) => RequireTls::IfOffered,
                    (true, false) => RequireTls::Must,
                },
                dsn: envelope.dsn.clone(),
                probe: false,
            },
        )
    }

    /// Whether the domain is about to be reached worse than it once was: that is said, and by configuration the mail waits.
    fn fallen(&self, channel: &Channel) -> Option<Cause> {
        let best = self.job.best_level().filter(|best| *best > channel.level)?;
        let waits = self.job.generation.config.send.downgrade == Downgrade::Defer;
        let domain = self.job.delivery.domain.to_string();
        let (queue, exchanger) = (self.job.message.id.to_string(), self.attempt.exchanger.name.to_string());
        self.job.courier.log.write(&Event::Downgraded { queue, domain, exchanger, best, reached: channel.level, waits });
        let text = format!("the domain was once reached with level {best}, and now only {} can be had", channel.level);
        waits.then(|| Cause::Policy { code: "secmx.downgraded".into(), text })
    }

    fn leave(&mut self, cause: Cause) -> Input<'static> {
        self.ended.get_or_insert(Err(cause));
        Input::Quit
    }

    /// The next octets of the message. "Attempt started" is on record before the last of them goes out (durability rule 5).
    async fn body(&mut self) -> News {
        if self.sent == 0
            && let Err(error) =
                self.job.courier.spool.started(self.job.delivery.key, &self.attempt.exchanger.name.to_string(), self.job.now).await
        {
            return News::Other(Input::BodyLost(error.to_string()));
        }
        if !self.signature.is_empty() {
            return News::Body(mem::take(&mut self.signature));
        }
        if self.sent >= self.job.message.octets {
            return News::Other(Input::BodyEnd);
        }
        match self.job.courier.spool.body(self.job.message.id, self.sent, CHUNK).await {
            Ok(octets) if octets.is_empty() => News::Other(Input::BodyLost("the spool has less of the message than it says".into())),
            Ok(octets) => {
                self.sent += octets.len() as u64;
                News::Body(octets)
            }
            Err(error) => News::Other(Input::BodyLost(error.to_string())),
        }
    }

    fn outcome(&self, report: Report) -> Outcome {
        let taken: Vec<String> = report.results.iter().filter(|(_, result)| result.is_ok()).map(|(to, _)| to.to_string()).collect();
        if let Some((_, Ok(reply))) = report.results.iter().find(|(_, result)| result.is_ok()) {
            self.log_delivered(taken, reply);
        }
        let failure =
            |cause| Failure { exchanger: Some(self.attempt.exchanger.name.to_string()), address: Some(self.address.to_string()), cause };
        let results = report.results.into_iter().map(|(to, result)| (to, result.map_err(failure))).collect();
        Outcome::Transacted { results, transmitted: report.transmitted, notifies: report.notifies }
    }

    fn log_delivered(&self, recipients: Vec<String>, reply: &Reply) {
        if let (Some(domain), Via::Discovery) = (self.job.delivery.domain.name(), &self.job.delivery.via) {
            self.job.courier.levels.reached(domain, self.channel.level);
        }
        self.job.courier.log.write(&Event::Delivered {
            queue: self.job.message.id.to_string(),
            role: self.job.delivery.role,
            exchanger: &self.attempt.exchanger.name.to_string(),
            address: self.address.to_string(),
            channel: &self.channel,
            trusted: self.attempt.exchanger.is_configured(),
            recipients,
            reply,
        });
    }
}

/// Writes octets so that none is left behind: TLS keeps some when a peer reads slowly, and it would wait for them while we wait for its
/// reply.
async fn push(stream: &mut (impl AsyncWrite + Unpin + ?Sized), octets: &[u8]) -> io::Result<()> {
    stream.write_all(octets).await?;
    stream.flush().await
}

/// What TLS said, in words. An end of the connection in the middle of a handshake has an odd name in the library.
fn handshake_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the peer closed the connection".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::io::BufWriter;

    #[tokio::test]
    async fn nothing_stays_behind_in_the_stream() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        push(&mut BufWriter::new(ours), b"QUIT\r\n").await.expect("written");
        let mut heard = [0; 6];
        theirs.read_exact(&mut heard).now_or_never().expect("it is there").expect("read");
        assert_eq!(&heard, b"QUIT\r\n");
    }
}
