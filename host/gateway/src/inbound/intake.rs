//! From an accepted transaction to the spool: envelope, rulings and octets become a message with its deliveries (invariant 4).

use crate::edit;
use crate::generation::Generation;
use crate::journal::{Account, Kept};
use crate::sending::{demand_of, sending};
use crate::spool::{NewMessage, Note, Spool, SpoolError};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::mail::trace::Received;
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::queue::{Message, Origin, QueueId, Standing, split};
use secmx_core::ruling::ContentEffects;
use secmx_core::smtp::server::Judged;

/// Everything one transaction came to.
pub(super) struct Transaction<'a> {
    /// That the policies ruled on it.
    pub(super) _judged: Judged,
    /// The configuration and policies that it saw from MAIL on (invariant 7).
    pub(super) generation: &'a Generation,
    /// Its name in the queue.
    pub(super) id: QueueId,
    /// Lines of the decision log that come with it or not at all.
    pub(super) notes: Vec<Note>,
    /// Who to and who from.
    pub(super) envelope: Envelope,
    /// The message as it came in.
    pub(super) content: Bytes,
    /// What the policies want done with it.
    pub(super) effects: ContentEffects,
    /// Our own field behind the trace, with its line end; empty when there is none.
    pub(super) results: String,
    /// Whether it may be delivered or is kept.
    pub(super) standing: Standing,
    /// How it came in.
    pub(super) origin: Origin,
    /// Argument of EHLO or HELO.
    pub(super) hello: &'a str,
    /// Whether that was EHLO.
    pub(super) extended: bool,
}

impl Transaction<'_> {
    /// Writes it down. When this returns, message, deliveries and octets are on stable storage, and so are its copies in journals, which
    /// come first: a crash between the two leaves a copy of a message that the client sends again.
    pub(super) async fn commit(self, spool: &dyn Spool, now: Timestamp) -> Result<(Message, Vec<Kept>), SpoolError> {
        let id = self.id;
        let recipients = self.recipients();
        let trace = self.trace(id, &recipients, now);
        let content = edit::apply(&self.effects.edits, &self.content);
        let mut body = vec![Bytes::from(trace + &self.results)];
        body.extend(content);
        let octets = body.iter().map(|segment| segment.len() as u64).sum();
        let demand = demand_of(&self.envelope, self.effects.demand);
        let sendings = recipients.iter().map(|to| (to.clone(), sending(self.generation, to, demand, now))).collect();
        let deliveries = split(id, now, sendings, &self.standing);
        let message = Message {
            id,
            arrived: now,
            envelope: Envelope { recipients, ..self.envelope },
            octets,
            origin: self.origin,
            tags: self.effects.tags,
        };
        let kept = if self.effects.journals.is_empty() {
            Vec::new()
        } else {
            let account = Account::of(&message, &self.standing, &self.effects.evidence, &body);
            let kept = self.generation.journals.keep(&self.effects.journals, &account, &body).await;
            kept.map_err(|error| SpoolError::Fault(format!("{error:#}")))?
        };
        spool.accept_noted(NewMessage { message: message.clone(), deliveries, body }, self.notes).await?;
        Ok((message, kept))
    }

    /// The envelope's recipients after the policies added and removed theirs, each once.
    fn recipients(&self) -> Vec<Mailbox> {
        let kept = self.envelope.recipients.iter().filter(|to| !self.effects.remove_recipients.contains(to));
        kept.chain(&self.effects.add_recipients).fold(Vec::new(), |mut all, to| {
            if !all.contains(to) {
                all.push(to.clone());
            }
            all
        })
    }

    fn trace(&self, id: QueueId, recipients: &[Mailbox], now: Timestamp) -> String {
        let client = self.origin.client.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into());
        Received {
            hello: self.hello,
            client,
            by: self.generation.config.hostname.as_str(),
            extended: self.extended,
            smtputf8: self.envelope.smtputf8,
            authenticated: self.origin.user.is_some(),
            channel: &self.origin.channel,
            id: &id.to_string(),
            only_recipient: if let [only] = recipients { Some(only) } else { None },
            at: now,
        }
        .to_field()
    }
}
