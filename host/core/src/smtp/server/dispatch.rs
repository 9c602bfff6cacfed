//! One command line, obeyed or refused (RFC 5321, 4.1).

use super::transaction::{BadParameter, Pending, Promises, Transaction};
use super::{Effect, Hello, Session, State, replies};
use crate::channel::Channel;
use crate::mail::{Mailbox, Parameter, ReversePath};
use crate::report::Reply;
use crate::role::ReceiverRole;
use crate::ruling::{Question, Ruling};
use crate::smtp::command::{Command, CommandError, ForwardPath};
use crate::smtp::line::Line;

impl Session {
    /// What a line does to a session that reads commands; `state` is `Idle` or `Open`.
    pub(super) fn obey(&mut self, state: State, line: Line, effects: &mut Vec<Effect>) -> State {
        let utf8 = matches!(&state, State::Open(transaction) if transaction.envelope.smtputf8);
        let command = match line {
            Line::Whole(line) => Command::parse(&line, utf8),
            Line::TooLong if !self.must_secure() => return self.refuse(state, replies::line_too_long(), effects),
            Line::Garbled if !self.must_secure() => return self.refuse(state, replies::garbled(), effects),
            Line::TooLong | Line::Garbled => Err(CommandError::Unknown),
        };
        // L2-6. RFC 3207, 4: "530 Must issue a STARTTLS command first … to every command other than NOOP, EHLO, STARTTLS, or QUIT."
        let allowed =
            matches!(command, Ok(Command::Noop | Command::Ehlo(_) | Command::StartTls | Command::Quit) | Err(CommandError::Foreign));
        if self.must_secure() && !allowed {
            return self.refuse(state, replies::tls_first(), effects);
        }
        match command {
            Err(CommandError::Foreign) => self.bid_farewell(replies::foreign(), effects),
            Err(error) => self.refuse(state, replies::of_error(error), effects),
            Ok(command) => self.execute(state, command, effects),
        }
    }

    fn execute(&mut self, state: State, command: Command, effects: &mut Vec<Effect>) -> State {
        match command {
            Command::Ehlo(name) => self.introduce(Hello { name, extended: true }, effects),
            Command::Helo(name) => self.introduce(Hello { name, extended: false }, effects),
            Command::Mail { reverse_path, parameters } => self.mail(state, reverse_path, parameters, effects),
            Command::Rcpt { forward_path, parameters } => self.rcpt(state, forward_path, parameters, effects),
            Command::Data => self.data(state, effects),
            Command::Rset => {
                effects.push(Effect::Reply(replies::ok(0, 0, "OK")));
                Self::reset(effects)
            }
            Command::Noop => {
                effects.push(Effect::Reply(replies::ok(0, 0, "OK")));
                state
            }
            // RFC 5321, 7.3: VRFY may be answered 252, which tells nothing about who exists.
            Command::Vrfy => {
                effects.push(Effect::Reply(replies::cannot_verify()));
                state
            }
            Command::Expn => self.refuse(state, replies::not_offered(), effects),
            Command::Help => {
                effects.push(Effect::Reply(replies::help()));
                state
            }
            Command::StartTls => self.start_tls(state, effects),
            Command::Quit => self.bid_farewell(replies::goodbye(), effects),
        }
    }

    /// SOR, and the channel is still in the clear.
    fn must_secure(&self) -> bool {
        self.terms.role == ReceiverRole::SecureOnly && self.channel.tls.is_none()
    }

    /// A reply of 4yz or 5yz to a command. Too many of them end the session.
    pub(super) fn refuse(&mut self, state: State, reply: Reply, effects: &mut Vec<Effect>) -> State {
        self.errors = self.errors.saturating_add(1);
        effects.push(Effect::Reply(reply));
        if self.errors > self.config.limits.errors_max { self.bid_farewell(replies::too_many_errors(), effects) } else { state }
    }

    /// RFC 5321, 4.1.4: EHLO ends an open transaction "exactly as if a RSET command had been issued".
    fn introduce(&mut self, hello: Hello, effects: &mut Vec<Effect>) -> State {
        let extensions = if hello.extended { self.extensions() } else { Vec::new() };
        effects.extend([Effect::Introduced(Some(hello.clone())), Effect::Reply(replies::hello(&self.config.hostname, extensions))]);
        self.hello = Some(hello);
        Self::reset(effects)
    }

    /// What is offered. STARTTLS is there in the clear and gone after it: "A server MUST NOT return the STARTTLS extension in response to
    /// an EHLO command received after a TLS handshake has completed" (RFC 3207, 4.2; L1-1, L1-5).
    fn extensions(&self) -> Vec<String> {
        let mut offered = vec!["PIPELINING".to_owned(), format!("SIZE {}", self.config.limits.message_octets_max)];
        offered.extend(self.channel.tls.is_none().then(|| "STARTTLS".to_owned()));
        offered.extend(["ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8"].map(str::to_owned));
        offered
    }

    fn start_tls(&mut self, state: State, effects: &mut Vec<Effect>) -> State {
        match &self.channel {
            Channel { tls: Some(_), .. } => self.refuse(state, replies::already_secure(), effects),
            Channel { tls: None, .. } => {
                // Whatever was sent behind STARTTLS in the clear is dropped unread (L2-8).
                self.lines.take();
                effects.extend([
                    Effect::Discard,
                    Effect::Reply(replies::start_tls()),
                    Effect::Wait(self.config.limits.command),
                    Effect::Secure(self.terms.client_certificate),
                ]);
                State::Securing
            }
        }
    }

    fn mail(&mut self, state: State, reverse_path: ReversePath, parameters: Vec<Parameter>, effects: &mut Vec<Effect>) -> State {
        if matches!(state, State::Open(_)) {
            return self.refuse(state, replies::out_of_order("One transaction at a time: RSET ends the open one"), effects);
        }
        if self.hello.is_none() {
            return self.refuse(state, replies::out_of_order("EHLO comes first"), effects);
        }
        let promises = match Promises::read(&parameters) {
            Ok(promises) => promises,
            Err(BadParameter::Unknown) => return self.refuse(state, replies::unknown_parameter(), effects),
            Err(BadParameter::Malformed) => return self.refuse(state, replies::bad_parameter(), effects),
        };
        if promises.octets.is_some_and(|octets| octets > self.config.limits.message_octets_max) {
            return self.refuse(state, replies::too_big(), effects);
        }
        effects.push(Effect::Ask(Question::Mail { reverse_path: reverse_path.clone(), parameters }));
        State::Asking(Pending::Mail(Transaction::new(reverse_path, promises)))
    }

    fn rcpt(&mut self, state: State, forward_path: ForwardPath, parameters: Vec<Parameter>, effects: &mut Vec<Effect>) -> State {
        let State::Open(mut transaction) = state else {
            return self.refuse(state, replies::out_of_order("MAIL comes first"), effects);
        };
        let forward_path = match forward_path {
            ForwardPath::Postmaster => self.config.postmaster.clone(),
            ForwardPath::Mailbox(mailbox) => mailbox,
        };
        let refusal = if !parameters.is_empty() {
            Some(replies::unknown_parameter())
        } else if !self.takes(&forward_path) {
            Some(replies::relaying_denied())
        } else if transaction.envelope.recipients.len() >= self.config.limits.recipients_max {
            Some(replies::too_many_recipients())
        } else {
            None
        };
        if let Some(reply) = refusal {
            transaction.refused = transaction.refused.saturating_add(1);
            return self.refuse(State::Open(transaction), reply, effects);
        }
        let reverse_path = transaction.envelope.reverse_path.clone();
        effects.push(Effect::Ask(Question::Recipient { reverse_path, forward_path: forward_path.clone(), parameters }));
        State::Asking(Pending::Recipient(transaction, forward_path))
    }

    /// Mail for our own domains from anyone, mail for anyone from networks that may relay. A local part that itself looks like an address
    /// or a route would be read as one by somebody behind us, so it is not taken for our own domains.
    fn takes(&self, to: &Mailbox) -> bool {
        let ours = to.domain().name().is_some_and(|domain| self.config.own_domains.contains(domain));
        let tricky = to.local_part().contains(['%', '!', '@']);
        self.client.relay || (ours && !tricky)
    }

    fn data(&mut self, state: State, effects: &mut Vec<Effect>) -> State {
        match state {
            State::Open(transaction) if !transaction.envelope.recipients.is_empty() => {
                effects.extend([Effect::Reply(replies::start_mail()), Effect::Wait(self.config.limits.data)]);
                let content = super::Content::new(&self.config.limits);
                State::Content(transaction, content)
            }
            // RFC 5321, 3.3: "If there was no MAIL, or no RCPT, command, or all such commands were rejected, the server MAY return a
            // 'command out of sequence' (503) or 'no valid recipients' (554) reply".
            State::Open(transaction) if transaction.refused > 0 => {
                let reply = Reply { code: 554, ..replies::out_of_order("No valid recipients") };
                self.refuse(State::Open(transaction), reply, effects)
            }
            other => self.refuse(other, replies::out_of_order("RCPT comes first"), effects),
        }
    }

    /// The policies answered a question about a command.
    pub(super) fn ruled(&mut self, pending: Pending, ruling: Ruling, effects: &mut Vec<Effect>) -> State {
        match (pending, replies::refusal(&ruling)) {
            (Pending::Mail(_), Some(reply)) => {
                let state = Self::reset(effects);
                self.refuse(state, reply, effects)
            }
            (Pending::Mail(mut transaction), None) => {
                transaction.mark(ruling);
                effects.push(Effect::Reply(replies::ok(1, 0, "OK")));
                State::Open(transaction)
            }
            (Pending::Recipient(mut transaction, _), Some(reply)) => {
                transaction.refused = transaction.refused.saturating_add(1);
                self.refuse(State::Open(transaction), reply, effects)
            }
            (Pending::Recipient(mut transaction, mailbox), None) => {
                transaction.mark(ruling);
                let recipients = &mut transaction.envelope.recipients;
                if !recipients.contains(&mailbox) {
                    recipients.push(mailbox);
                }
                effects.push(Effect::Reply(replies::ok(1, 5, "OK")));
                State::Open(transaction)
            }
        }
    }
}
