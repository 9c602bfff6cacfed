//! Messages over a session that is ready: commands, content, end of data, result (RFC 5321, 3.3).
//!
//! Every octet of content goes through the encoder, so what leaves is lines that end in CRLF, whatever came in (S2). Of content that goes
//! in chunks one is held back: only when there is no more is it known which is the last.

use super::transaction::{Next, Outgoing, Outlet, Report, Transaction, obstacle};
use super::{ClientConfig, Effect, Peer, State, Timeouts};
use crate::channel::Cleared;
use crate::report::{Cause, Reply};
use crate::smtp::content::Encoder;

impl State {
    /// Starts a transaction. The proof is used up, whatever comes of it.
    pub(super) fn transmit(self, cleared: Cleared, outgoing: Outgoing, config: &ClientConfig, effects: &mut Vec<Effect>) -> Self {
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
        let transaction = Transaction::new(outgoing, peer.extensions.clone(), config.protocol, reset);
        effects.extend([Effect::Send(transaction.opening()), Effect::Wait(transaction.patience(&config.timeouts))]);
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
                let sink = Sink::new(transaction.outlet());
                return Self::Content(peer, transaction, sink);
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

    /// A reply while content is on its way. The answer to a chunk is due; anything else, or a refusal, ends the connection: chunks that
    /// are sent already would be taken for commands.
    pub(super) fn content_answered(
        peer: Peer,
        mut transaction: Box<Transaction>,
        sink: Sink,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) -> Self {
        if !transaction.awaits_chunk() {
            return Self::Content(peer, transaction, sink).give_up(Transaction::interrupted(reply), effects);
        }
        match transaction.answered(reply, peer.line.in_clear()) {
            Ok(_) if !transaction.is_broken_off() => Self::Content(peer, transaction, sink),
            Ok(_) => Self::Content(peer, transaction, sink).give_up(nothing_said(), effects),
            Err(cause) => Self::Content(peer, transaction, sink).give_up(cause, effects),
        }
    }

    /// The reply to the end of data counts; what came behind it costs the connection, not the message.
    pub(super) fn settle_and_close(mut transaction: Transaction, reply: Reply, effects: &mut Vec<Effect>) -> Self {
        let cause = transaction.answered(reply, false).err().unwrap_or_else(nothing_said);
        effects.push(Effect::Done(transaction.report(&cause, false)));
        Self::close(effects)
    }

    pub(super) fn body(self, octets: &[u8], timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        let Self::Content(peer, mut transaction, mut sink) = self else { return self };
        let encoded = sink.take(octets, &mut transaction);
        if !encoded.is_empty() {
            effects.extend([Effect::Send(encoded), Effect::Wait(timeouts.block)]);
        }
        effects.push(Effect::WantBody);
        Self::Content(peer, transaction, sink)
    }

    pub(super) fn body_ended(self, timeouts: &Timeouts, effects: &mut Vec<Effect>) -> Self {
        let Self::Content(peer, mut transaction, sink) = self else { return self };
        if !peer.line.reader.is_empty() {
            return Self::Transaction(peer, transaction)
                .give_up(Cause::Protocol("a reply that began before the end of data".to_owned()), effects);
        }
        let encoded = sink.finish();
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

/// Where content goes through on its way out.
#[derive(Debug)]
pub(super) struct Sink {
    encoder: Encoder,
    /// The chunk that is not sent yet; `None` for DATA.
    held: Option<Vec<u8>>,
}

impl Sink {
    fn new(outlet: Outlet) -> Self {
        match outlet {
            Outlet::Data | Outlet::Nothing => Self { encoder: Encoder::new(), held: None },
            Outlet::Chunks => Self { encoder: Encoder::for_chunks(), held: Some(Vec::new()) },
        }
    }

    /// Takes content; gives what is to be sent now.
    fn take(&mut self, octets: &[u8], transaction: &mut Transaction) -> Vec<u8> {
        let mut encoded = Vec::new();
        self.encoder.encode(octets, &mut encoded);
        match &mut self.held {
            None => encoded,
            Some(held) if held.is_empty() => {
                *held = encoded;
                Vec::new()
            }
            Some(held) => {
                transaction.chunk_sent();
                chunk(&std::mem::replace(held, encoded), "")
            }
        }
    }

    /// The end of the content, and what was held back.
    fn finish(self) -> Vec<u8> {
        let in_chunks = self.held.is_some();
        let mut encoded = self.held.unwrap_or_default();
        self.encoder.finish(&mut encoded);
        if in_chunks { chunk(&encoded, " LAST") } else { encoded }
    }
}

/// "bdat-cmd ::= "BDAT" SP chunk-size [ SP end-marker ] CR LF" (RFC 3030, 2), and the chunk.
fn chunk(octets: &[u8], last: &str) -> Vec<u8> {
    [format!("BDAT {}{last}\r\n", octets.len()).as_bytes(), octets].concat()
}

/// For a recipient that every reply passed by; there is none.
fn nothing_said() -> Cause {
    Cause::Fault("no reply was about this recipient".to_owned())
}
