//! From the connection to the first message: greeting, EHLO, STARTTLS, EHLO again (RFC 5321, 3.1 and 3.2; RFC 3207, 4).
//!
//! Everything sent from here is EHLO, HELO, STARTTLS or QUIT, and HELO never where TLS is a must.

use super::transaction::{asks_for_tls, untimely};
use super::{ClientConfig, Effect, Extensions, Hello, Line, Peer, Protocol, QUIT, State, Then, Timeouts};
use crate::channel::{Channel, Level, TlsUse};
use crate::report::{Cause, Reply};
use crate::smtp::reply::ReplyReader;

impl Line {
    fn new(channel: Channel) -> Self {
        Self { channel, reader: ReplyReader::new() }
    }

    pub(super) fn in_clear(&self) -> bool {
        self.channel.tls.is_none()
    }
}

impl State {
    pub(super) fn secure(then: Then, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        effects.extend([Effect::Secure, Effect::Wait(timeouts.handshake)]);
        Self::Securing(then)
    }

    pub(super) fn await_greeting(channel: Channel, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        effects.push(Effect::Wait(timeouts.greeting));
        Self::Greeting(Line::new(channel))
    }

    fn say_hello(line: Line, hello: Hello, config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
        let verb = match (config.protocol, hello) {
            (Protocol::Lmtp, _) => "LHLO",
            (Protocol::Smtp, Hello::Extended) => "EHLO",
            (Protocol::Smtp, Hello::Plain) => "HELO",
        };
        effects.extend([Effect::Send(format!("{verb} {}\r\n", config.hello).into_bytes()), Effect::Wait(config.timeouts.hello)]);
        Self::Hello(line, hello)
    }

    /// QUIT, and then no more than the courtesy of waiting for its reply.
    pub(super) fn leave(cause: Cause, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        effects.extend([Effect::Send(QUIT.to_vec()), Effect::Failed(cause), Effect::Wait(timeouts.quit)]);
        Self::Leaving
    }

    pub(super) fn greeted(line: Line, reply: Reply, config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
        match reply.code / 100 {
            2 => Self::say_hello(line, Hello::Extended, config, effects),
            4 | 5 => Self::leave(Cause::Unwelcome(reply), &config.timeouts, effects),
            _ => Self::Greeting(line).give_up(untimely(&reply, "the connection"), effects),
        }
    }

    pub(super) fn hello_answered(line: Line, hello: Hello, reply: Reply, config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
        match (reply.code / 100, hello) {
            (2, Hello::Extended) => Self::introduced(line, Extensions::parse(&reply), config, effects),
            (2, Hello::Plain) => Self::introduced(line, Extensions::default(), config, effects),
            _ if line.in_clear() && asks_for_tls(&reply) => Self::leave(Cause::NeedsTls(reply), &config.timeouts, effects),
            (5, Hello::Extended) => Self::hello_unknown(line, reply, config, effects),
            (4 | 5, _) => Self::leave(Cause::Unwelcome(reply), &config.timeouts, effects),
            _ => Self::Hello(line, hello).give_up(untimely(&reply, "EHLO"), effects),
        }
    }

    /// The peer refused EHLO. HELO is the way on only where TLS need not be had, since a peer without EHLO has no STARTTLS.
    fn hello_unknown(line: Line, reply: Reply, config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
        let cause = match config.tls {
            // LMTP has no older greeting to go back to (RFC 2033, 4.1).
            _ if config.protocol == Protocol::Lmtp => Cause::Unwelcome(reply),
            TlsUse::Offered | TlsUse::Without => return Self::say_hello(line, Hello::Plain, config, effects),
            // "Not recognized" and "not implemented" are about the verb; any other code is about us, and says nothing of TLS.
            TlsUse::Required if line.in_clear() && matches!(reply.code, 500 | 502) => Cause::TlsNotOffered,
            TlsUse::Required | TlsUse::Implicit => Cause::Unwelcome(reply),
        };
        Self::leave(cause, &config.timeouts, effects)
    }

    /// The peer is known. Whether the session may go on in the clear is decided here and nowhere else (L2-4).
    fn introduced(line: Line, extensions: Extensions, config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
        // RFC 3207, 4.2: "A client MUST NOT attempt to start a TLS session if a TLS session is already active."
        let starttls = line.in_clear() && extensions.starttls;
        match config.tls {
            TlsUse::Required | TlsUse::Offered if starttls => {
                effects.extend([Effect::Send(b"STARTTLS\r\n".to_vec()), Effect::Wait(config.timeouts.starttls)]);
                Self::StartTls(line)
            }
            TlsUse::Required | TlsUse::Implicit if line.in_clear() => Self::leave(Cause::TlsNotOffered, &config.timeouts, effects),
            _ if config.login => Self::log_in(Peer { line, extensions }, &config.timeouts, effects),
            _ => Self::ready(Peer { line, extensions }, effects),
        }
    }

    pub(super) fn ready(peer: Peer, effects: &mut Vec<Effect>) -> Self {
        effects.push(Effect::Ready { channel: Box::new(peer.line.channel.clone()), extensions: peer.extensions.clone() });
        Self::Ready { peer, reset: false }
    }

    /// The line ends here: "The client MUST discard any knowledge obtained from the server [...] which was not obtained from the TLS
    /// negotiation itself" (RFC 3207, 4.2).
    pub(super) fn starttls_answered(line: Line, reply: Reply, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        match reply.code {
            220 => Self::secure(Then::Hello, timeouts, effects),
            400..600 => Self::leave(Cause::TlsRefused(reply), timeouts, effects),
            _ => Self::StartTls(line).give_up(Cause::TlsFailed(format!("it answered STARTTLS with {reply}")), effects),
        }
    }

    pub(super) fn secured(self, channel: Channel, config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
        match self {
            Self::Securing(_) if channel.tls.is_none() || channel.level == Level::Plain => {
                self.give_up(Cause::TlsFailed("the handshake left the channel in the clear".to_owned()), effects)
            }
            Self::Securing(Then::Greeting) => Self::await_greeting(channel, &config.timeouts, effects),
            Self::Securing(Then::Hello) => Self::say_hello(Line::new(channel), Hello::Extended, config, effects),
            _ => self,
        }
    }

    pub(super) fn secure_failed(self, text: &str, effects: &mut Vec<Effect>) -> Self {
        match self {
            Self::Securing(_) => self.give_up(Cause::TlsFailed(text.to_owned()), effects),
            _ => self,
        }
    }
}
