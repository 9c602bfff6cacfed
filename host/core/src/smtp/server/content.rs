//! The content of one message: decoded, watched, judged, written down (RFC 5321, 4.1.1.4).

use super::config::{Client, Limits};
use super::transaction::{Mark, Transaction};
use super::{Disposition, Effect, Refusal, Session, State, replies};
use crate::mail::BodyKind;
use crate::queue::QueueId;
use crate::report::Reply;
use crate::ruling::{Question, Ruling};
use crate::smtp::content::Decoder;

/// The policies ruled on a whole message, and let it be taken. Only [`Session::judged`] makes one, and a message from a client cannot be
/// written down without, so a policy that is skipped does not compile.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged(());

/// Content that is coming in.
#[derive(Debug)]
pub(super) struct Content {
    decoder: Decoder,
    header: HeaderWatch,
    beyond_ascii: bool,
}

impl Content {
    pub(super) fn new(limits: &Limits, client: Client) -> Self {
        let decoder = Decoder::new(limits.line_octets_max, limits.message_octets_max).normalizing(client.normalize);
        Self { decoder, header: HeaderWatch::default(), beyond_ascii: false }
    }

    /// Takes octets of a chunk.
    pub(super) fn take_chunk(&mut self, octets: &[u8], effects: &mut Vec<Effect>) {
        let mut decoded = Vec::new();
        self.decoder.chunk(octets, &mut decoded);
        self.keep(decoded, effects);
    }

    /// The last chunk has come in.
    pub(super) fn finish_chunks(&mut self, effects: &mut Vec<Effect>) {
        let mut decoded = Vec::new();
        self.decoder.finish(&mut decoded);
        self.keep(decoded, effects);
    }

    /// What the content is made of, whatever MAIL said of it (RFC 6152, 3): only what is beyond ASCII needs a peer with 8BITMIME.
    fn body_kind(&self) -> BodyKind {
        if self.beyond_ascii { BodyKind::EightBit } else { BodyKind::SevenBit }
    }

    /// Has decoded octets watched and stored.
    fn keep(&mut self, decoded: Vec<u8>, effects: &mut Vec<Effect>) {
        self.header.watch(&decoded);
        self.beyond_ascii |= !decoded.is_ascii();
        if !decoded.is_empty() && self.decoder.flaw().is_none() {
            effects.push(Effect::Store(decoded));
        }
    }
}

/// Counts what the header section holds while it goes by.
#[derive(Debug, Default)]
struct HeaderWatch {
    /// Octets of the header section.
    octets: usize,
    /// Fields.
    fields: usize,
    /// Received fields: "Simple counting of the number of 'Received:' header fields" finds loops (RFC 5321, 6.3).
    received: usize,
    /// The first octets of the line that is going by.
    start: Vec<u8>,
    encoding: Encoding,
    over: bool,
}

/// What the header section is written in.
#[derive(Debug, Default)]
struct Encoding {
    beyond_ascii: bool,
    not_utf8: bool,
    /// Octets of a character that is not yet whole.
    pending: Vec<u8>,
}

impl Encoding {
    fn watch(&mut self, octet: u8) {
        if octet.is_ascii() && self.pending.is_empty() {
            return;
        }
        self.beyond_ascii = true;
        self.pending.push(octet);
        match std::str::from_utf8(&self.pending) {
            Ok(_) => self.pending.clear(),
            Err(error) if error.error_len().is_none() => {}
            Err(_) => {
                self.not_utf8 = true;
                self.pending.clear();
            }
        }
    }
}

impl HeaderWatch {
    const RECEIVED: &'static [u8] = b"received:";

    fn watch(&mut self, octets: &[u8]) {
        for octet in octets {
            if self.over {
                return;
            }
            self.octets = self.octets.saturating_add(1);
            self.encoding.watch(*octet);
            match octet {
                b'\n' => self.end_line(),
                b'\r' => {}
                octet if self.start.len() < Self::RECEIVED.len() => self.start.push(octet.to_ascii_lowercase()),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        match self.start.first() {
            None => self.over = true,
            // Folding: the line goes on with the field before it (RFC 5322, 2.2.3).
            Some(b' ' | b'\t') => {}
            Some(_) => {
                self.fields = self.fields.saturating_add(1);
                self.received = self.received.saturating_add(usize::from(self.start == Self::RECEIVED));
            }
        }
        self.start.clear();
    }
}

impl Session {
    /// Takes octets of content; what is behind its end is kept for the next command.
    pub(super) fn take_content(
        &mut self,
        transaction: Transaction,
        mut content: Content,
        octets: &[u8],
        effects: &mut Vec<Effect>,
    ) -> State {
        let mut decoded = Vec::new();
        let result = content.decoder.decode(octets, &mut decoded);
        content.keep(decoded, effects);
        if !result.ended {
            return State::Content(transaction, content);
        }
        // The buffer is empty while content is read: what is behind the end is next.
        self.lines.push(octets.get(result.used..).unwrap_or_default());
        effects.push(Effect::Wait(self.config.limits.command));
        self.end_content(transaction, &content, effects)
    }

    /// The content is there: it is refused for what it is, or the policies are asked.
    pub(super) fn end_content(&mut self, mut transaction: Transaction, content: &Content, effects: &mut Vec<Effect>) -> State {
        self.idle_commands = 0;
        transaction.envelope.body = content.body_kind();
        match self.refusal_of(&transaction, content) {
            Some(reply) => {
                let state = Self::reset(effects);
                self.refuse(state, reply, effects)
            }
            None => {
                effects.push(Effect::Ask(Question::Content(transaction.envelope.clone())));
                State::Judging(transaction)
            }
        }
    }

    /// What content is refused with; `None` when nothing is wrong with it so far.
    pub(super) fn refusal_of(&self, transaction: &Transaction, content: &Content) -> Option<Reply> {
        let (limits, header) = (&self.config.limits, &content.header);
        let utf8 = transaction.envelope.smtputf8;
        match content.decoder.flaw() {
            Some(flaw) => Some(replies::of_flaw(flaw)),
            None if header.received > limits.hops_max => Some(replies::looping()),
            None if header.octets > limits.header_octets_max || header.fields > limits.header_fields_max => Some(replies::header_too_big()),
            // RFC 6531, 3.6 and RFC 6532, 3: what SMTPUTF8 promises is UTF-8.
            None if utf8 && header.encoding.not_utf8 => Some(replies::header_not_utf8()),
            None if !utf8 && self.config.strict_header && header.encoding.beyond_ascii => Some(replies::header_needs_utf8()),
            None => None,
        }
    }

    /// The policies answered about the whole message. What they said early about it still holds.
    pub(super) fn judged(&mut self, mut transaction: Transaction, ruling: Ruling, effects: &mut Vec<Effect>) -> State {
        if let Some(reply) = replies::refusal(&ruling) {
            let state = Self::reset(effects);
            return self.refuse(state, reply, effects);
        }
        transaction.mark(ruling);
        let Transaction { envelope, mark, .. } = transaction;
        let disposition = match mark {
            Some(Mark::Discard(reason)) => {
                effects.extend([Effect::Dropped(reason), Effect::Reply(replies::taken())]);
                return Self::reset(effects);
            }
            Some(Mark::Quarantine(reason)) => Disposition::Quarantine(reason),
            None => Disposition::Deliver,
        };
        effects.push(Effect::Commit { envelope, disposition, judged: Judged(()) });
        State::Storing
    }

    /// RFC 5321, 4.2.5: with the 250 "the server … accepts responsibility". Not before the message is on stable storage (invariant 4).
    pub(super) fn stored(&mut self, result: Result<QueueId, Refusal>, effects: &mut Vec<Effect>) -> State {
        effects.push(Effect::Reply(match result {
            Ok(id) => replies::queued(id),
            Err(Refusal::Full) => replies::no_room(),
            Err(Refusal::Fault) => replies::our_fault(),
        }));
        Self::reset(effects)
    }
}
