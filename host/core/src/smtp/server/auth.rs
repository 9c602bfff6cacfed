//! AUTH as the receiver sees it (RFC 4954): the lines of the exchange. What a mechanism makes of them is the gateway's business.
//!
//! Nobody can authenticate in the clear: a password that crosses the wire in the open is lost, whatever the answer.

use super::{Effect, Session, State, replies};
use crate::smtp::line::Line;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A line of an AUTH exchange is of 12,288 octets at most (RFC 4954, 4).
pub(super) const LINE_OCTETS_MAX: usize = 12_288;

/// One step of a SASL exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthStep {
    /// A new exchange. One that was open is over.
    Begin {
        /// One of those that were offered.
        mechanism: String,
        /// The initial response, when the client sent one.
        initial: Option<Vec<u8>>,
    },
    /// The client's answer to the last challenge.
    Continue(Vec<u8>),
}

/// Why an exchange did not name a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthRefusal {
    /// No such user, or not its secret: nobody is told which (535 5.7.8).
    Credentials,
    /// Not what the mechanism asks for (501 5.5.2).
    Malformed,
    /// The users cannot be read (454 4.7.0).
    Fault,
}

impl Session {
    /// Whether AUTH is offered: over TLS only.
    pub(super) fn offers_auth(&self) -> bool {
        self.channel.tls.is_some() && !self.config.mechanisms.is_empty()
    }

    pub(super) fn auth(&mut self, state: State, mechanism: String, initial: Option<&str>, effects: &mut Vec<Effect>) -> State {
        let refusal = if self.config.mechanisms.is_empty() {
            Some(replies::not_offered())
        } else if self.channel.tls.is_none() {
            Some(replies::encryption_required())
        } else if !self.hello.as_ref().is_some_and(|hello| hello.extended) {
            Some(replies::out_of_order("EHLO comes first"))
        } else if matches!(state, State::Open(_)) {
            Some(replies::out_of_order("AUTH is not permitted during a mail transaction"))
        } else if self.user.is_some() {
            Some(replies::out_of_order("You are authenticated already"))
        } else if !self.config.mechanisms.contains(&mechanism) {
            Some(replies::unknown_mechanism())
        } else {
            None
        };
        if let Some(reply) = refusal {
            return self.refuse(state, reply, effects);
        }
        // RFC 4954, 4: "=" is an initial response of no octets.
        let initial = match initial {
            None => None,
            Some("=") => Some(Vec::new()),
            Some(text) => match STANDARD.decode(text) {
                Ok(octets) => Some(octets),
                Err(_) => return self.refuse(state, replies::bad_response(), effects),
            },
        };
        effects.push(Effect::Authenticate(AuthStep::Begin { mechanism, initial }));
        State::Authenticating
    }

    pub(super) fn challenge(&mut self, challenge: &[u8], effects: &mut Vec<Effect>) -> State {
        effects.push(Effect::Reply(replies::challenge(STANDARD.encode(challenge))));
        State::Responding
    }

    /// RFC 4954, 4: "If the client wishes to cancel the authentication exchange, it issues a line with a single '*'."
    pub(super) fn respond(&mut self, line: Line, effects: &mut Vec<Effect>) -> State {
        let octets = match &line {
            Line::Whole(line) if line == b"*" => return self.refuse(State::Idle, replies::cancelled(), effects),
            Line::Whole(line) => STANDARD.decode(line).ok(),
            Line::TooLong | Line::Garbled => None,
        };
        match octets {
            Some(octets) => {
                effects.push(Effect::Authenticate(AuthStep::Continue(octets)));
                State::Authenticating
            }
            None => self.refuse(State::Idle, replies::bad_response(), effects),
        }
    }

    pub(super) fn authenticated(&mut self, result: Result<String, AuthRefusal>, effects: &mut Vec<Effect>) -> State {
        let reply = match result {
            Ok(user) => {
                self.user = Some(user);
                effects.push(Effect::Reply(replies::authenticated()));
                return State::Idle;
            }
            Err(AuthRefusal::Fault) => return self.refuse(State::Idle, replies::cannot_authenticate(), effects),
            Err(AuthRefusal::Malformed) => replies::bad_response(),
            Err(AuthRefusal::Credentials) => replies::bad_credentials(),
        };
        self.auth_failures = self.auth_failures.saturating_add(1);
        if self.auth_failures >= self.config.limits.auth_failures_max {
            effects.push(Effect::Reply(reply));
            return self.bid_farewell(replies::too_many_errors(), effects);
        }
        self.refuse(State::Idle, reply, effects)
    }
}
