//! Messages over a session that is ready: commands, content, end of data, result (RFC 5321, 3.3).
//!
//! Every octet of content goes through the encoder, so what leaves is lines that end in CRLF, whatever came in (S2).

use super::transaction::{Next, Outgoing, Report, Transaction, obstacle};
use super::{Effect, Peer, State, Timeouts};
use crate::channel::Cleared;
use crate::report::{Cause, Reply};
use crate::smtp::content::Encoder;

impl State {
    /// Starts a transaction. The proof is used up, whatever comes of it.
    pub(super) fn transmit(self, cleared: Cleared, outgoing: Outgoing, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        let Self::Ready { peer, reset } = self else {
            let cause = Cause::Fault("the session was not ready for a message".to_owned());
            effects.push(Effect::Done(Report::uniform(outgoing, &cause, false)));
            return self;
        };
        if cleared.level() != peer.line.channel.level {
            let cause = Cause::Fault("the message was cleared for another channel".to_owned());
            effects.push(Effect::Done(Report::uniform(outgoing, &cause, true)));
            return Self::Ready { peer, reset };
        }
        if !peer.line.reader.is_empty() {
            let cause = Cause::Protocol("octets that nothing asked for".to_owned());
            effects.push(Effect::Done(Report::uniform(outgoing, &cause, false)));
            return Self::close(effects);
        }
        if let Some(cause) = obstacle(&outgoing, &peer.extensions) {
            effects.push(Effect::Done(Report::uniform(outgoing, &cause, true)));
            return Self::Ready { peer, reset };
        }
        let transaction = Transaction::new(outgoing, peer.extensions.clone(), reset);
        effects.extend([Effect::Send(transaction.opening()), Effect::Wait(transaction.patience(timeouts))]);
        Self::Transaction(peer, Box::new(transaction))
    }

    pub(super) fn transaction_answered(
        peer: Peer,
        mut transaction: Box<Transaction>,
        reply: Reply,
        timeouts: &Timeouts,
        effects: &mut Vec<Effect>,
    ) -> Self {
        match transaction.answered(reply, peer.line.in_clear()) {
            Ok(Next::Listen) => {}
            Ok(Next::Command) => effects.push(Effect::Send(transaction.next_command())),
            Ok(Next::EmptyContent) => {
                transaction.data_ended();
                effects.push(Effect::Send(b".\r\n".to_vec()));
            }
            Ok(Next::Content) => {
                transaction.content_starts();
                effects.extend([Effect::Wait(timeouts.block), Effect::WantBody]);
                return Self::Content(peer, transaction, Encoder::new());
            }
            Ok(Next::Over { within_transaction }) => {
                effects.push(Effect::Done(transaction.report(&nothing_said(), true)));
                return Self::Ready { peer, reset: within_transaction };
            }
            Err(cause) => return Self::Transaction(peer, transaction).give_up(cause, effects),
        }
        effects.push(Effect::Wait(transaction.patience(timeouts)));
        Self::Transaction(peer, transaction)
    }

    /// The reply to the end of data counts; what came behind it costs the connection, not the message.
    pub(super) fn settle_and_close(mut transaction: Transaction, reply: Reply, effects: &mut Vec<Effect>) -> Self {
        let cause = transaction.answered(reply, false).err().unwrap_or_else(nothing_said);
        effects.push(Effect::Done(transaction.report(&cause, false)));
        Self::close(effects)
    }

    pub(super) fn body(self, octets: &[u8], timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        let Self::Content(peer, transaction, mut encoder) = self else { return self };
        let mut encoded = Vec::new();
        encoder.encode(octets, &mut encoded);
        effects.extend([Effect::Send(encoded), Effect::Wait(timeouts.block), Effect::WantBody]);
        Self::Content(peer, transaction, encoder)
    }

    pub(super) fn body_ended(self, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        let Self::Content(peer, mut transaction, encoder) = self else { return self };
        if !peer.line.reader.is_empty() {
            return Self::Transaction(peer, transaction)
                .give_up(Cause::Protocol("a reply that began before the end of data".to_owned()), effects);
        }
        let mut encoded = Vec::new();
        encoder.finish(&mut encoded);
        transaction.data_ended();
        effects.extend([Effect::Send(encoded), Effect::Wait(transaction.patience(timeouts))]);
        Self::Transaction(peer, transaction)
    }

    /// An end of data now would deliver half a message.
    pub(super) fn body_lost(self, text: &str, effects: &mut Vec<Effect>) -> Self {
        match self {
            Self::Content(..) => self.give_up(Cause::Fault(text.to_owned()), effects),
            _ => self,
        }
    }
}

/// For a recipient that every reply passed by; there is none.
fn nothing_said() -> Cause {
    Cause::Fault("no reply was about this recipient".to_owned())
}
