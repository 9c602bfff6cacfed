//! One command line, obeyed or refused (RFC 5321, 4.1).

use super::transaction::{Offered, Pending, Promises, Transaction, request};
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
            return match command {
                Ok(Command::Bdat { octets, .. }) => self.refuse_chunk(octets, None, replies::tls_first(), effects),
                _ => self.refuse(state, replies::tls_first(), effects),
            };
        }
        match command {
            Err(CommandError::Foreign) => self.bid_farewell(replies::foreign(), effects),
            // Where the chunk ends cannot be told, so nothing behind it may be read.
            Err(CommandError::Chunk) => self.bid_farewell(replies::of_error(CommandError::Chunk), effects),
            Err(error) => self.refuse(state, replies::of_error(error), effects),
            Ok(command) => self.execute(state, command, effects),
        }
    }

    fn execute(&mut self, state: State, command: Command, effects: &mut Vec<Effect>) -> State {
        if matches!(
            command,
            Command::Ehlo(_) | Command::Helo(_) | Command::Rset | Command::Noop | Command::Vrfy | Command::Expn | Command::Help
        ) {
            self.idle_commands = self.idle_commands.saturating_add(1);
            if self.idle_commands > self.config.limits.idle_commands_max {
                return self.bid_farewell(replies::too_many_errors(), effects);
            }
        }
        match command {
            Command::Ehlo(name) => self.introduce(Hello { name, extended: true }, effects),
            Command::Helo(name) => self.introduce(Hello { name, extended: false }, effects),
            Command::Mail { reverse_path, parameters } => self.mail(state, reverse_path, parameters, effects),
            Command::Rcpt { forward_path, parameters } => self.rcpt(state, forward_path, parameters, effects),
            Command::Data => self.data(state, effects),
            Command::Bdat { octets, last } => self.bdat(state, octets, last, effects),
            Command::Auth { mechanism, initial } => self.auth(state, mechanism, initial.as_deref(), effects),
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
        let limits = &self.config.limits;
        let mut offered = vec!["PIPELINING".to_owned(), format!("SIZE {}", limits.message_octets_max)];
        offered.extend(self.channel.tls.is_none().then(|| "STARTTLS".to_owned()));
        offered.extend(self.offers_auth().then(|| format!("AUTH {}", self.config.mechanisms.join(" "))));
        offered.extend(["ENHANCEDSTATUSCODES", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN"].map(str::to_owned));
        offered.extend(self.channel.tls.is_some().then(|| "REQUIRETLS".to_owned()));
        offered.push(format!("LIMITS MAILMAX={} RCPTMAX={}", limits.messages_max, limits.recipients_max));
        offered
    }

    fn start_tls(&mut self, state: State, effects: &mut Vec<Effect>) -> State {
        match &self.channel {
            Channel { tls: Some(_), .. } => self.refuse(state, replies::already_secure(), effects),
            Channel { tls: None, .. } => {
                // Whatever was sent behind STARTTLS in the clear is dropped unread (L2-8).
                self.lines.take();
                Self::reset(effects);
                effects.extend([
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
        // RFC 9422, 3.1: more than MAILMAX messages are "refused" one by one; the client opens another connection.
        if self.messages >= self.config.limits.messages_max {
            return self.bid_farewell(replies::too_many_messages(), effects);
        }
        let offered = Offered { require_tls: self.channel.tls.is_some(), auth: self.offers_auth() };
        let promises = match Promises::read(&parameters, offered) {
            Ok(promises) => promises,
            Err(bad) => return self.refuse(state, replies::of_parameter(bad), effects),
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
        if transaction.content.is_some() {
            return self.refuse(State::Open(transaction), replies::out_of_order("The content has begun"), effects);
        }
        let request = match request(&parameters, transaction.envelope.smtputf8) {
            Ok(request) => request,
            Err(bad) => {
                transaction.refused = transaction.refused.saturating_add(1);
                return self.refuse(State::Open(transaction), replies::of_parameter(bad), effects);
            }
        };
        let refusal = if !self.takes(&forward_path) {
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
        State::Asking(Pending::Recipient(transaction, forward_path, request))
    }

    /// Mail for our own domains and for our postmaster (RFC 5321, 4.5.1) from anyone, mail for anyone from networks that may relay and from
    /// our own users. A local part that itself looks like an address or a route would be read as one by somebody behind us, so it is not
    /// taken for our own domains.
    fn takes(&self, to: &Mailbox) -> bool {
        let ours = to.domain().name().is_some_and(|domain| self.config.own_domains.contains(domain));
        let tricky = to.local_part().contains(['%', '!', '@']);
        self.client.relay || self.user.is_some() || (ours && !tricky) || *to == self.config.postmaster
    }

    fn data(&mut self, state: State, effects: &mut Vec<Effect>) -> State {
        match state {
            State::Open(transaction) if transaction.content.is_some() => {
                self.refuse(State::Open(transaction), replies::out_of_order("BDAT has begun, and goes on"), effects)
            }
            State::Open(transaction) if !transaction.envelope.recipients.is_empty() => {
                effects.extend([Effect::Reply(replies::start_mail()), Effect::Wait(self.config.limits.data)]);
                let content = super::Content::new(&self.config.limits, self.client);
                State::Content(transaction, content)
            }
            State::Open(transaction) => {
                let reply = replies::no_recipients(transaction.refused);
                self.refuse(State::Open(transaction), reply, effects)
            }
            other => self.refuse(other, replies::out_of_order("MAIL and RCPT come first"), effects),
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
                self.messages = self.messages.saturating_add(1);
                transaction.mark(ruling);
                effects.push(Effect::Reply(replies::ok(1, 0, "OK")));
                State::Open(transaction)
            }
            (Pending::Recipient(mut transaction, ..), Some(reply)) => {
                transaction.refused = transaction.refused.saturating_add(1);
                self.refuse(State::Open(transaction), reply, effects)
            }
            (Pending::Recipient(mut transaction, mailbox, request), None) => {
                transaction.mark(ruling);
                transaction.add(mailbox, request);
                effects.push(Effect::Reply(replies::ok(1, 5, "OK")));
                State::Open(transaction)
            }
        }
    }
}
