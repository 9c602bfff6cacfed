//! The sending side of an SMTP session as a value (RFC 5321, 3; RFC 3207; RFC 2920; RFC 3030), and of LMTP (RFC 2033).
//!
//! Octets and outside events go in, effects come out. Under [`TlsUse::Required`] and [`TlsUse::Implicit`] nothing but EHLO, STARTTLS and
//! QUIT leaves before TLS stands (L2-4), and no envelope or content leaves without a [`Cleared`] for this very channel. The states behind
//! STARTTLS hold no octets from before it, so nothing injected in the clear is ever read under TLS.

mod config;
mod extensions;
mod login;
mod opening;
mod transaction;
mod transmission;

pub use config::{ClientConfig, Protocol, Timeouts};
pub use extensions::{Extensions, Limits};
pub use login::{LoginStep, Prompt};
pub use transaction::{Outgoing, Report, RequireTls};

use super::reply::ReplyReader;
use crate::channel::{Channel, Cleared, TlsUse};
use crate::report::{Cause, Reply};
use std::time::Duration;
use transaction::{Transaction, untimely};
use transmission::Sink;

const QUIT: &[u8] = b"QUIT\r\n";

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// The peer sent octets.
    Octets(&'a [u8]),
    /// The handshake that [`Effect::Secure`] asked for succeeded.
    Secured(Channel),
    /// The handshake that [`Effect::Secure`] asked for failed; why, in words.
    SecureFailed(String),
    /// The next step of the SASL exchange that [`Effect::Login`] asked for.
    Login(LoginStep),
    /// Transmit this message. Answered by one [`Effect::Done`]. Only after [`Effect::Ready`], or after a reusable [`Effect::Done`].
    Transmit(Cleared, Outgoing),
    /// The next octets of the message, any chunk of it; answers [`Effect::WantBody`].
    Body(&'a [u8]),
    /// The message has no more octets; answers [`Effect::WantBody`].
    BodyEnd,
    /// The rest of the message cannot be had; why, in words. The peer never sees an end of data.
    BodyLost(String),
    /// No more messages.
    Quit,
    /// The time of the last [`Effect::Wait`] is over.
    TimedOut,
    /// The connection is gone; why, in words.
    Closed(String),
}

/// What is to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write these octets.
    Send(Vec<u8>),
    /// Start the TLS handshake now, with not one octet read before it. Answer with [`Input::Secured`] or [`Input::SecureFailed`].
    Secure,
    /// Give [`Input::TimedOut`] after this time, unless another `Wait`, `Ready`, `Done` or `Close` comes first.
    Wait(Duration),
    /// Go on with the SASL exchange. Answer with [`Input::Login`].
    Login(Prompt),
    /// The session can take messages, over this channel, with these extensions.
    Ready {
        /// The channel as it stands; what a `Cleared` must be made from.
        channel: Box<Channel>,
        /// What the peer offers on it.
        extensions: Extensions,
    },
    /// Give the next octets of the message.
    WantBody,
    /// The message that was to be transmitted is settled.
    Done(Report),
    /// The session is of no use, and no message was under way.
    Failed(Cause),
    /// Close the connection. Nothing comes after it.
    Close,
}

/// One connection to one exchanger.
#[derive(Debug)]
pub struct ClientSession {
    config: ClientConfig,
    state: State,
}

/// An open line: what it is worth, and what was read from it and not yet understood.
#[derive(Debug)]
struct Line {
    channel: Channel,
    reader: ReplyReader,
}

/// Which greeting command is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    Extended,
    Plain,
}

/// What the TLS handshake comes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Greeting,
    Hello,
}

/// A peer that said EHLO, and what it offers.
#[derive(Debug)]
struct Peer {
    line: Line,
    extensions: Extensions,
}

#[derive(Debug)]
enum State {
    /// The handshake is under way. There is no line: octets read before it do not exist any more.
    Securing(Then),
    Greeting(Line),
    Hello(Line, Hello),
    StartTls(Line),
    /// AUTH is open, or about to be.
    LoggingIn(Peer),
    /// Idle. `reset` says that the peer is still within an earlier transaction.
    Ready {
        peer: Peer,
        reset: bool,
    },
    /// Commands of a transaction, or its end of data, are open.
    Transaction(Peer, Box<Transaction>),
    /// Content is on its way.
    Content(Peer, Box<Transaction>, Sink),
    /// QUIT is open; nothing the peer says matters any more.
    Leaving,
    Closed,
}

impl ClientSession {
    /// A session on a connection that was just opened.
    #[must_use]
    pub fn open(config: ClientConfig, effects: &mut Vec<Effect>) -> Self {
        let state = if config.tls == TlsUse::Implicit {
            State::secure(Then::Greeting, &config.timeouts, effects)
        } else {
            State::await_greeting(Channel::plain(), &config.timeouts, effects)
        };
        Self { config, state }
    }

    /// Takes one input and says what to do about it. An input that does not belong to the state is passed over, except that
    /// [`Input::Transmit`] is always answered.
    #[must_use]
    pub fn handle(self, input: Input<'_>, effects: &mut Vec<Effect>) -> Self {
        let Self { config, state } = self;
        let state = match input {
            Input::Octets(octets) => state.heard(octets, &config, effects),
            Input::Secured(channel) => state.secured(channel, &config, effects),
            Input::SecureFailed(text) => state.secure_failed(&text, effects),
            Input::Login(step) => state.login(step, &config.timeouts, effects),
            Input::Transmit(cleared, outgoing) => state.transmit(cleared, outgoing, &config, effects),
            Input::Body(octets) => state.body(octets, &config.timeouts, effects),
            Input::BodyEnd => state.body_ended(&config.timeouts, effects),
            Input::BodyLost(text) => state.body_lost(&text, effects),
            Input::Quit => state.quit(&config.timeouts, effects),
            Input::TimedOut => state.timed_out(effects),
            Input::Closed(text) => state.lost(&text, effects),
        };
        Self { config, state }
    }
}

impl State {
    /// Reads what arrived, reply by reply.
    fn heard(mut self, octets: &[u8], config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
        match &mut self {
            Self::Closed => return self,
            // The reply to QUIT, or whatever stands for it.
            Self::Leaving => return Self::close(effects),
            Self::Securing(_) => return self.give_up(Cause::TlsFailed("octets in the clear during the handshake".to_owned()), effects),
            state => state.line_mut().into_iter().for_each(|line| line.reader.push(octets)),
        }
        loop {
            let owed = self.replies_owed();
            let Some(line) = self.line_mut() else { return self };
            match line.reader.next() {
                Ok(None) => return self,
                // Whoever speaks before the next command does not answer it.
                Ok(Some(reply)) if owed <= 1 && !line.reader.is_empty() => return self.overanswered(reply, effects),
                Ok(Some(reply)) => self = self.answered(reply, config, effects),
                Err(error) => return self.garbled(&error.to_string(), effects),
            }
        }
    }

    fn answered(self, reply: Reply, config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
        match self {
            Self::Greeting(line) => Self::greeted(line, reply, config, effects),
            Self::Hello(line, hello) => Self::hello_answered(line, hello, reply, config, effects),
            Self::StartTls(line) => Self::starttls_answered(line, reply, &config.timeouts, effects),
            Self::LoggingIn(peer) => Self::login_answered(peer, reply, &config.timeouts, effects),
            Self::Transaction(peer, transaction) => Self::transaction_answered(peer, transaction, reply, &config.timeouts, effects),
            Self::Content(peer, transaction, sink) => Self::content_answered(peer, transaction, sink, reply, effects),
            Self::Ready { .. } if reply.code == 421 => self.give_up(Cause::Unwelcome(reply), effects),
            Self::Ready { .. } => self.give_up(untimely(&reply, "nothing"), effects),
            Self::Securing(_) | Self::Leaving | Self::Closed => self,
        }
    }

    /// A reply, and more behind it than was asked for.
    fn overanswered(self, reply: Reply, effects: &mut Vec<Effect>) -> Self {
        match self {
            Self::StartTls(_) => self.give_up(Cause::TlsFailed("octets after the STARTTLS reply".to_owned()), effects),
            Self::Transaction(_, transaction) if transaction.awaits_end_of_data() => Self::settle_and_close(*transaction, reply, effects),
            Self::Content(..) => self.give_up(Transaction::interrupted(reply), effects),
            _ => self.give_up(Cause::Protocol(format!("octets that nothing asked for, after {reply}")), effects),
        }
    }

    fn garbled(self, text: &str, effects: &mut Vec<Effect>) -> Self {
        let cause = if matches!(self, Self::StartTls(_)) { Cause::TlsFailed(text.to_owned()) } else { Cause::Protocol(text.to_owned()) };
        self.give_up(cause, effects)
    }

    fn timed_out(self, effects: &mut Vec<Effect>) -> Self {
        match self {
            // Nothing is waited for: the time was set for an earlier state.
            Self::Ready { .. } => self,
            _ => self.lost("it did not answer in time", effects),
        }
    }

    /// The connection ended or stalled.
    fn lost(self, text: &str, effects: &mut Vec<Effect>) -> Self {
        let cause = match &self {
            Self::Closed => return self,
            Self::Leaving => return Self::close(effects),
            Self::Securing(_) => Cause::TlsFailed(text.to_owned()),
            Self::StartTls(_) => Cause::TlsFailed(format!("{text}, waiting for the reply to STARTTLS")),
            // In TLS 1.3 a peer may refuse the handshake after our side of it is done: until it has spoken, TLS does not stand.
            Self::Greeting(line) | Self::Hello(line, _) if line.channel.tls.is_some() => {
                Cause::TlsFailed(format!("{text}, waiting for the first word after the handshake"))
            }
            Self::Greeting(_) => Cause::Broken(format!("{text}, waiting for the greeting")),
            Self::Hello(..) => Cause::Broken(format!("{text}, waiting for the reply to EHLO")),
            Self::LoggingIn(_) => Cause::Broken(format!("{text}, waiting for the reply to AUTH")),
            Self::Ready { .. } => Cause::Broken(text.to_owned()),
            Self::Transaction(_, transaction) | Self::Content(_, transaction, _) => {
                Cause::Broken(format!("{text}, waiting for {}", transaction.awaited()))
            }
        };
        self.give_up(cause, effects)
    }

    fn quit(self, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        match self {
            Self::Ready { .. } => {
                effects.extend([Effect::Send(QUIT.to_vec()), Effect::Wait(timeouts.quit)]);
                Self::Leaving
            }
            Self::Transaction(..) | Self::Content(..) => self.give_up(Cause::Fault("this gateway broke off".to_owned()), effects),
            Self::Leaving | Self::Closed => self,
            _ => Self::close(effects),
        }
    }

    /// Ends everything, at once and without a word: what the line carries is not to be trusted any more.
    fn give_up(self, cause: Cause, effects: &mut Vec<Effect>) -> Self {
        effects.push(match self {
            Self::Transaction(_, transaction) | Self::Content(_, transaction, _) => Effect::Done(transaction.report(&cause, false)),
            _ => Effect::Failed(cause),
        });
        Self::close(effects)
    }

    fn close(effects: &mut Vec<Effect>) -> Self {
        effects.push(Effect::Close);
        Self::Closed
    }

    fn line_mut(&mut self) -> Option<&mut Line> {
        match self {
            Self::Greeting(line) | Self::Hello(line, _) | Self::StartTls(line) => Some(line),
            Self::Ready { peer, .. } | Self::LoggingIn(peer) | Self::Transaction(peer, _) | Self::Content(peer, ..) => Some(&mut peer.line),
            Self::Securing(_) | Self::Leaving | Self::Closed => None,
        }
    }

    /// How many replies the peer owes for what was sent.
    fn replies_owed(&self) -> usize {
        match self {
            Self::Greeting(_) | Self::Hello(..) | Self::StartTls(_) | Self::LoggingIn(_) => 1,
            Self::Transaction(_, transaction) | Self::Content(_, transaction, _) => transaction.replies_owed(),
            Self::Ready { .. } | Self::Securing(_) | Self::Leaving | Self::Closed => 0,
        }
    }
}

#[cfg(test)]
mod tests;
