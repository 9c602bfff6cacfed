//! AUTH as the sender sees it (RFC 4954): the lines of the exchange. What a mechanism makes of them is the gateway's business.

use super::{Effect, Peer, State, Timeouts};
use crate::channel::Level;
use crate::report::{Cause, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the SASL exchange is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// To begin, with one of these mechanisms; upper case.
    Begin(Vec<String>),
    /// To answer this challenge.
    Challenge(Vec<u8>),
}

/// What the SASL exchange comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginStep {
    /// AUTH with this mechanism, one of those that were offered.
    Begin {
        /// Its name.
        mechanism: String,
        /// The initial response, when the mechanism begins with the client.
        initial: Option<Vec<u8>>,
    },
    /// The answer to a challenge.
    Answer(Vec<u8>),
    /// The exchange cannot go on; why, in words.
    GiveUp(String),
}

impl State {
    /// The peer is known. Whether it may be told who we are is decided here and nowhere else.
    pub(super) fn log_in(peer: Peer, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        let refuse = |why: &str, effects: &mut Vec<Effect>| Self::leave(Cause::LoginFailed(why.to_owned()), timeouts, effects);
        if peer.line.in_clear() {
            return refuse("the connection is not secure, so the password stays here", effects);
        }
        if peer.line.channel.level < Level::Host {
            return refuse("the host did not prove who it is (`tls.trust`), so the password stays here", effects);
        }
        if peer.extensions.auth.is_empty() {
            return refuse("the host does not offer AUTH", effects);
        }
        effects.push(Effect::Login(Prompt::Begin(peer.extensions.auth.clone())));
        Self::LoggingIn(peer)
    }

    pub(super) fn login(self, step: LoginStep, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        let Self::LoggingIn(peer) = self else { return self };
        let line = match step {
            LoginStep::Begin { mechanism, initial: None } => format!("AUTH {mechanism}"),
            // RFC 4954, 4: "=" is an initial response of no octets.
            LoginStep::Begin { mechanism, initial: Some(initial) } if initial.is_empty() => format!("AUTH {mechanism} ="),
            LoginStep::Begin { mechanism, initial: Some(initial) } => format!("AUTH {mechanism} {}", STANDARD.encode(initial)),
            LoginStep::Answer(octets) => STANDARD.encode(octets),
            LoginStep::GiveUp(why) => return Self::leave(Cause::LoginFailed(why), timeouts, effects),
        };
        effects.extend([Effect::Send(format!("{line}\r\n").into_bytes()), Effect::Wait(timeouts.hello)]);
        Self::LoggingIn(peer)
    }

    /// RFC 4954, 4: 334 with a challenge, 235 when it is done, anything else when it is not to be.
    pub(super) fn login_answered(peer: Peer, reply: Reply, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        match reply.code {
            235 => Self::ready(peer, effects),
            334 => match reply.lines.first().and_then(|text| STANDARD.decode(text).ok()) {
                Some(challenge) => {
                    effects.push(Effect::Login(Prompt::Challenge(challenge)));
                    Self::LoggingIn(peer)
                }
                None => Self::leave(Cause::LoginFailed("its challenge is not base64".to_owned()), timeouts, effects),
            },
            _ => Self::leave(Cause::LoginFailed(format!("it answered AUTH with {reply}")), timeouts, effects),
        }
    }
}
