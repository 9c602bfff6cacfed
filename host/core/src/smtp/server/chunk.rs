//! Content in chunks: BDAT (RFC 3030).
//!
//! A chunk that is refused is refused at once, and read to its end all the same: its octets are never taken for commands.

use super::content::Content;
use super::transaction::Transaction;
use super::{Effect, Session, State, replies};
use crate::report::Reply;

/// A chunk that is coming in.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Octets that the client announced.
    octets: u64,
    /// Octets of them that are still to come.
    left: u64,
    last: bool,
    fate: Fate,
}

/// What becomes of a chunk.
#[derive(Debug)]
enum Fate {
    /// It goes on with this message.
    Taken(Box<(Transaction, Content)>),
    /// It was refused. The transaction that it does not belong to stays.
    Refused(Option<Box<Transaction>>),
}

impl Chunk {
    /// Whether all of it has come in.
    pub(super) fn is_whole(&self) -> bool {
        self.left == 0
    }
}

impl Session {
    /// A chunk was announced; `state` is `Idle` or `Open`.
    pub(super) fn bdat(&mut self, state: State, octets: u64, last: bool, effects: &mut Vec<Effect>) -> State {
        effects.push(Effect::Wait(self.config.limits.data));
        match state {
            State::Open(mut transaction) if !transaction.envelope.recipients.is_empty() => {
                let content = transaction.content.take().unwrap_or_else(|| Content::new(&self.config.limits, self.client));
                State::Chunk(Chunk { octets, left: octets, last, fate: Fate::Taken(Box::new((transaction, content))) })
            }
            State::Open(transaction) => {
                let reply = replies::no_recipients(transaction.refused);
                self.refuse_chunk(octets, Some(transaction), reply, effects)
            }
            _ => self.refuse_chunk(octets, None, replies::out_of_order("MAIL and RCPT come first"), effects),
        }
    }

    /// Refuses a chunk before it comes.
    pub(super) fn refuse_chunk(&mut self, octets: u64, transaction: Option<Transaction>, reply: Reply, effects: &mut Vec<Effect>) -> State {
        let fate = Fate::Refused(transaction.map(Box::new));
        self.refuse(State::Chunk(Chunk { octets, left: octets, last: false, fate }), reply, effects)
    }

    /// Takes octets of a chunk; what is behind its end is kept for the next command.
    pub(super) fn take_chunk(&mut self, mut chunk: Chunk, octets: &[u8], effects: &mut Vec<Effect>) -> State {
        let length = usize::try_from(chunk.left).unwrap_or(usize::MAX).min(octets.len());
        let (part, rest) = octets.split_at(length);
        chunk.left = chunk.left.saturating_sub(length as u64);
        self.lines.push(rest);
        if let Fate::Taken(message) = &mut chunk.fate {
            message.1.take_chunk(part, effects);
        }
        if chunk.is_whole() { self.end_chunk(chunk, effects) } else { State::Chunk(chunk) }
    }

    /// RFC 3030, 2: every chunk is answered, and after one that was refused the message is over.
    fn end_chunk(&mut self, chunk: Chunk, effects: &mut Vec<Effect>) -> State {
        effects.push(Effect::Wait(self.config.limits.command));
        let (mut transaction, mut content) = match chunk.fate {
            Fate::Taken(message) => *message,
            Fate::Refused(transaction) => return transaction.map_or(State::Idle, |transaction| State::Open(*transaction)),
        };
        if chunk.last {
            content.finish_chunks(effects);
            return self.end_content(transaction, &content, effects);
        }
        if let Some(reply) = self.refusal_of(&transaction, &content) {
            let state = Self::reset(effects);
            return self.refuse(state, reply, effects);
        }
        effects.push(Effect::Reply(replies::chunk_taken(chunk.octets)));
        transaction.content = Some(content);
        State::Open(transaction)
    }
}
