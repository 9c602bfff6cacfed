//! The receiving side of an SMTP session as a value (RFC 5321, 3 and 4; RFC 1870; RFC 3030; RFC 3207; RFC 3461; RFC 4954; RFC 6152; RFC 6531;
//! RFC 8689; RFC 9422).
//!
//! Octets, rulings and results go in, effects come out. A question to the policies is a state that waits for its ruling; octets behind it
//! stay in the buffer, so pipelining falls out. Entering [`State::Securing`] drops the buffer, so STARTTLS injection falls out (L2-8).
//! Every end of a transaction goes through one `reset`.

mod auth;
mod chunk;
mod config;
mod content;
mod dispatch;
mod replies;
mod transaction;

#[cfg(test)]
mod tests;

pub use auth::{AuthRefusal, AuthStep};
pub use config::{Client, Limits, ServerConfig};
pub use content::Judged;

use super::line::LineReader;
use crate::channel::Channel;
use crate::mail::Envelope;
use crate::queue::QueueId;
use crate::report::Reply;
use crate::ruling::{ClientCertificate, Question, Reason, Ruling, Terms};
use chunk::Chunk;
use content::Content;
use std::sync::Arc;
use std::time::Duration;
use transaction::{Pending, Transaction};

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// The client sent octets.
    Octets(&'a [u8]),
    /// The handshake that [`Effect::Secure`] asked for succeeded.
    Secured(Channel),
    /// The handshake failed; the connection is of no further use (RFC 3207, 4.1).
    SecureFailed,
    /// The answer to [`Question::Greet`].
    Greeted(Terms, Ruling),
    /// The answer to any other question.
    Ruled(Ruling),
    /// What became of [`Effect::Commit`].
    Stored(Result<QueueId, Refusal>),
    /// The SASL mechanism wants to hear more; these octets are its challenge (RFC 4954, 4).
    Challenge(Vec<u8>),
    /// How the exchange ended: with the name of a user, or not.
    Authenticated(Result<String, AuthRefusal>),
    /// The time of the last [`Effect::Wait`] is over.
    TimedOut,
    /// The gateway is going down; no further command is taken once what is under way has ended. Said once.
    Drain,
    /// The connection is gone.
    Closed,
}

/// Why a message could not be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No room: 452 4.3.1.
    Full,
    /// Anything else that is ours: 451 4.3.0.
    Fault,
}

/// What is to be done with a message that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Deliver it.
    Deliver,
    /// Keep it for a person.
    Quarantine(Reason),
}

/// How the client introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Argument of EHLO or HELO.
    pub name: String,
    /// Whether it was EHLO.
    pub extended: bool,
}

/// What is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this reply.
    Reply(Reply),
    /// Send what is buffered, then start the TLS handshake with not one octet read before it. Answer with [`Input::Secured`] or
    /// [`Input::SecureFailed`].
    Secure(ClientCertificate),
    /// Ask the policies. Answer with [`Input::Greeted`] or [`Input::Ruled`].
    Ask(Question),
    /// Go on with the SASL exchange. Answer with [`Input::Challenge`] or [`Input::Authenticated`].
    Authenticate(AuthStep),
    /// The client introduced itself, or what it said before counts no more.
    Introduced(Option<Hello>),
    /// Keep these octets of the message.
    Store(Vec<u8>),
    /// Forget what was kept: the transaction is over.
    Discard,
    /// Write envelope and kept octets down for good. Answer with [`Input::Stored`]. The only way to a 250 after data (invariant 4).
    Commit {
        /// Who from and who to.
        envelope: Envelope,
        /// What becomes of it.
        disposition: Disposition,
        /// That the policies ruled on it.
        judged: Judged,
    },
    /// The policies want this message dropped, and the client was told that it was taken.
    Dropped(Reason),
    /// Give [`Input::TimedOut`] after this time, unless another `Wait` or `Close` comes first.
    Wait(Duration),
    /// Send what is buffered and close the connection. Nothing comes after it.
    Close,
}

/// One connection of one client.
#[derive(Debug)]
pub struct ServerSession {
    session: Session,
    state: State,
}

/// What outlives a transaction.
#[derive(Debug)]
struct Session {
    config: Arc<ServerConfig>,
    client: Client,
    terms: Terms,
    channel: Channel,
    hello: Option<Hello>,
    /// Who authenticated.
    user: Option<String>,
    lines: LineReader,
    errors: u32,
    auth_failures: u32,
    /// Commands since the last message that came to nothing.
    idle_commands: u32,
    /// Messages that were opened.
    messages: u32,
    /// The gateway is going down.
    draining: bool,
}

#[derive(Debug)]
enum State {
    /// The greeting waits for its ruling.
    Greeting,
    /// The greeting of an implicit-TLS listener waits for the handshake, or EHLO for the one of STARTTLS.
    Securing,
    /// Commands are read; no transaction is open.
    Idle,
    /// Commands are read; MAIL was accepted.
    Open(Transaction),
    /// A policy is being asked about a command.
    Asking(Pending),
    /// The SASL mechanism is being asked.
    Authenticating,
    /// The next line is the client's part of the SASL exchange.
    Responding,
    /// Content is coming in.
    Content(Transaction, Content),
    /// A chunk of content is coming in.
    Chunk(Chunk),
    /// The policies are being asked about the whole message.
    Judging(Transaction),
    /// The message is being written down.
    Storing,
    Closed,
}

impl ServerSession {
    /// A session on a connection that was just opened, over `channel`. The first effect is a question: on which terms?
    #[must_use]
    pub fn open(config: Arc<ServerConfig>, client: Client, channel: Channel, effects: &mut Vec<Effect>) -> Self {
        effects.extend([Effect::Wait(config.limits.command), Effect::Ask(Question::Greet)]);
        let lines = LineReader::default();
        let session = Session {
            config,
            client,
            terms: Terms::default(),
            channel,
            hello: None,
            user: None,
            lines,
            errors: 0,
            auth_failures: 0,
            idle_commands: 0,
            messages: 0,
            draining: false,
        };
        Self { session, state: State::Greeting }
    }

    /// Whether a message, or a chunk that was refused, is under way: it may not take as long as the client likes.
    #[must_use]
    pub fn is_in_content(&self) -> bool {
        match &self.state {
            State::Content(..) | State::Chunk(_) => true,
            State::Open(transaction) => transaction.content.is_some(),
            _ => false,
        }
    }

    /// Takes one input and says what to do about it. An input that does not belong to the state is passed over.
    #[must_use]
    pub fn handle(self, input: Input<'_>, effects: &mut Vec<Effect>) -> Self {
        let Self { mut session, state } = self;
        let state = match (state, input) {
            (State::Closed, _) => State::Closed,
            (_, Input::Closed) => session.end(effects),
            (_, Input::TimedOut) => session.bid_farewell(replies::timed_out(), effects),
            (State::Greeting, Input::Greeted(terms, ruling)) => session.greet(terms, ruling, effects),
            // RFC 5321, 4.3.1: "The sender SHOULD wait for this greeting message before sending any commands." Whoever does not is no mail
            // server.
            (State::Greeting, Input::Octets(_)) => session.bid_farewell(replies::early_talker(), effects),
            (State::Securing, Input::Secured(channel)) => session.secured(channel, effects),
            (State::Securing, Input::SecureFailed) => session.end(effects),
            (State::Securing, Input::Octets(_)) => State::Securing,
            (state, Input::Octets(octets)) => session.hear(state, octets, effects),
            (State::Asking(pending), Input::Ruled(ruling)) => {
                let state = session.ruled(pending, ruling, effects);
                session.read_on(state, effects)
            }
            (State::Judging(transaction), Input::Ruled(ruling)) => {
                let state = session.judged(transaction, ruling, effects);
                session.read_on(state, effects)
            }
            (State::Storing, Input::Stored(result)) => {
                let state = session.stored(result, effects);
                session.read_on(state, effects)
            }
            (State::Authenticating, Input::Challenge(challenge)) => {
                let state = session.challenge(&challenge, effects);
                session.read_on(state, effects)
            }
            (State::Authenticating, Input::Authenticated(result)) => {
                let state = session.authenticated(result, effects);
                session.read_on(state, effects)
            }
            // A client certificate that belongs to a user (RFC 4422, appendix A), found as soon as the channel stands.
            (State::Idle, Input::Authenticated(Ok(user))) => {
                session.user = Some(user);
                State::Idle
            }
            (state, Input::Drain) => {
                session.draining = true;
                state
            }
            (state, _) => state,
        };
        let state = match state {
            State::Idle | State::Open(_) | State::Responding if session.draining => session.bid_farewell(replies::draining(), effects),
            state => state,
        };
        Self { session, state }
    }
}

impl Session {
    /// RFC 5321, 3.1: 220, or 554 with nothing but QUIT behind it.
    fn greet(&mut self, terms: Terms, ruling: Ruling, effects: &mut Vec<Effect>) -> State {
        self.terms = terms;
        match replies::refusal(&ruling) {
            Some(reply) => self.bid_farewell(reply, effects),
            None => {
                effects.extend([Effect::Reply(replies::greeting(&self.config.hostname)), Effect::Wait(self.config.limits.command)]);
                State::Idle
            }
        }
    }

    /// RFC 3207, 4.2: "Upon completion of the TLS handshake, the SMTP protocol is reset to the initial state" — what the client said
    /// before, its name included, counts no more.
    fn secured(&mut self, channel: Channel, effects: &mut Vec<Effect>) -> State {
        self.channel = channel;
        self.hello = None;
        self.user = None;
        self.lines = LineReader::default();
        effects.extend([Effect::Introduced(None), Effect::Wait(self.config.limits.command)]);
        State::Idle
    }

    fn hear(&mut self, state: State, octets: &[u8], effects: &mut Vec<Effect>) -> State {
        let state = match state {
            State::Content(transaction, content) => {
                effects.push(Effect::Wait(self.config.limits.data));
                self.take_content(transaction, content, octets, effects)
            }
            State::Chunk(chunk) => {
                effects.push(Effect::Wait(self.config.limits.data));
                self.take_chunk(chunk, octets, effects)
            }
            state => {
                self.lines.push(octets);
                state
            }
        };
        self.read_on(state, effects)
    }

    /// Reads what is buffered for as long as the state reads commands or content.
    fn read_on(&mut self, mut state: State, effects: &mut Vec<Effect>) -> State {
        loop {
            state = match state {
                State::Content(transaction, content) if !self.lines.is_empty() => {
                    let octets = self.lines.take();
                    self.take_content(transaction, content, &octets, effects)
                }
                State::Chunk(chunk) if chunk.is_whole() || !self.lines.is_empty() => {
                    let octets = self.lines.take();
                    self.take_chunk(chunk, &octets, effects)
                }
                State::Responding => match self.lines.next(auth::LINE_OCTETS_MAX) {
                    None => return State::Responding,
                    Some(line) => {
                        effects.push(Effect::Wait(self.config.limits.command));
                        self.respond(line, effects)
                    }
                },
                State::Idle | State::Open(_) => match self.lines.next(self.config.limits.command_octets_max) {
                    None => return state,
                    Some(line) => {
                        effects.push(Effect::Wait(self.config.limits.command));
                        self.obey(state, line, effects)
                    }
                },
                other => return other,
            };
        }
    }

    /// The one end of every transaction, however it ends.
    fn reset(effects: &mut Vec<Effect>) -> State {
        effects.push(Effect::Discard);
        State::Idle
    }

    /// A reply, and the end of the connection.
    fn bid_farewell(&mut self, reply: Reply, effects: &mut Vec<Effect>) -> State {
        effects.push(Effect::Reply(reply));
        self.end(effects)
    }

    fn end(&mut self, effects: &mut Vec<Effect>) -> State {
        self.lines = LineReader::default();
        Self::reset(effects);
        effects.push(Effect::Close);
        State::Closed
    }
}
