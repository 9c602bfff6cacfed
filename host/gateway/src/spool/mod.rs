//! The durable spool: what was accepted, until every recipient has it or was given up (RFC 5321, 6.1).
//!
//! RFC 5321, 6.1: "When the receiver-SMTP accepts a piece of mail (by sending a "250 OK" message in response to DATA), it is accepting
//! responsibility for delivering or relaying the message." [`Spool`] is that responsibility as a seam: it knows nothing of SMTP, and
//! nothing in it says where or how records are kept. [`LocalSpool`] keeps them on this machine, [`MemorySpool`] in memory with faults
//! to order. It must never answer `Ok` for what a crash could take back.

mod engine;
mod index;
mod lane;
mod local;
mod memory;
mod operation;
mod recent;
mod record;
mod stored;
mod survey;
pub mod tables;
mod writer;

pub use engine::{Engine, Limits, Opened};
pub use local::{LocalSpool, LocalTables};
pub use memory::{MemorySpool, MemoryTables};
pub use survey::Among;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::mail::{MailDomain, Mailbox};
use secmx_core::queue::{Delivery, DeliveryKey, Message, QueueId, Standing};
use secmx_core::report::Failure;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Why the spool did not do what it was asked. Nothing was changed then, as far as anyone may rely on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolError {
    /// There is no room for another message (452 4.3.1). What is queued goes on.
    Full,
    /// There is no such message or delivery: it was finished, or set aside.
    Gone,
    /// An attempt at it is under way: it is somebody else's until that ends.
    Busy,
    /// A record is not what was written, or the spool cannot be trusted (451 4.3.0). In words, for the log.
    Fault(String),
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the spool is full"),
            Self::Gone => f.write_str("no such message or delivery in the spool"),
            Self::Busy => f.write_str("an attempt at it is under way"),
            Self::Fault(detail) => f.write_str(detail),
        }
    }
}

impl std::error::Error for SpoolError {}

/// A message to accept.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// What does not change; its id comes from [`Spool::new_id`].
    pub message: Message,
    /// At least one, all of this message, each number once.
    pub deliveries: Vec<Delivery>,
    /// The octets, in order, in as many segments as they happen to lie in.
    pub body: Vec<Bytes>,
}

/// A line for a log that must not lose it. It waits in the spool until whoever writes that log has it on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// From [`Spool::new_id`].
    pub id: QueueId,
    /// The line.
    pub line: Bytes,
}

/// What an attempt comes to for its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Every recipient is final. With its last delivery the message goes too.
    Finished,
    /// Some recipients wait for another attempt; the others are final.
    Waiting {
        /// Who waits. Nobody means [`Settlement::Finished`].
        recipients: Vec<Mailbox>,
        /// Attempts so far.
        attempts: u32,
        /// When it comes up again.
        next: Timestamp,
        /// What every exchanger said this time.
        last: Vec<Failure>,
        /// Whether the sender was told that it waits.
        warned: bool,
    },
}

impl Settlement {
    /// The delivery afterwards; `None` when it is over. Its standing is the operator's, so it stays.
    fn apply(self, delivery: Delivery) -> Option<Delivery> {
        match self {
            Self::Waiting { recipients, attempts, next, last, warned } if !recipients.is_empty() => {
                Some(Delivery { recipients, attempts, next, last, warned, ..delivery })
            }
            Self::Finished | Self::Waiting { .. } => None,
        }
    }
}

/// An attempt that is under way, or was when the gateway ended: its exchanger may have the message already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Host name of the exchanger.
    pub exchanger: String,
    /// When the content began to go out.
    pub at: Timestamp,
}

/// How much is in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages with at least one delivery.
    pub messages: u64,
    /// Their deliveries.
    pub deliveries: u64,
    /// Octets of their bodies.
    pub octets: u64,
}

/// What waits for one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Domain of the recipients.
    pub domain: MailDomain,
    /// Deliveries that wait for their time or their turn.
    pub waiting: u64,
    /// Deliveries that wait for a person.
    pub held: u64,
    /// Deliveries that are being attempted.
    pub under_way: u64,
    /// Octets of their bodies; one that has several deliveries here counts for each.
    pub octets: u64,
    /// The oldest message; its id says when it came.
    pub oldest: QueueId,
    /// When the next of those that wait comes up.
    pub next: Option<Timestamp>,
    /// The delivery that comes up last. It was tried most often, so what was answered last is written there.
    pub tried: DeliveryKey,
    latest: Timestamp,
}

impl Destination {
    /// Nothing yet, for the destination of a delivery.
    fn new(domain: &MailDomain, first: DeliveryKey, next: Timestamp) -> Self {
        let domain = domain.clone();
        Self { domain, waiting: 0, held: 0, under_way: 0, octets: 0, oldest: first.id, next: None, tried: first, latest: next }
    }
}

/// A record that is not what was written. It is kept for a person and never delivered (durability rule 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// What it was: a table and a key.
    pub key: String,
    /// What is wrong with it.
    pub detail: String,
}

/// How many more deliveries to a destination may be handed out now; 0 while it is busy. Asked once per destination and claim. It must
/// not call the spool.
pub type Room<'a> = &'a (dyn Fn(&MailDomain) -> usize + Send + Sync);

/// Keeps messages and their deliveries. All times come from the caller.
#[async_trait]
pub trait Spool: Send + Sync {
    /// An id that no other message of this spool has. Ids rise, within a process always, across restarts as far as the clock does.
    fn new_id(&self, now: Timestamp) -> QueueId;

    /// Whether a message of that many octets would be taken now, as far as can be told (durability rule 4).
    fn has_room(&self, octets: u64) -> bool;

    /// Takes responsibility for a message. After `Ok` it survives a crash of the process and of the machine (invariant 4). Errors with
    /// [`SpoolError::Full`], or with a fault; then the message must be answered 4yz.
    async fn accept(&self, message: Message, deliveries: Vec<Delivery>, body: Vec<Bytes>) -> Result<(), SpoolError> {
        self.accept_noted(NewMessage { message, deliveries, body }, Vec::new()).await
    }

    /// [`Spool::accept`], and writes notes in the same step: a crash leaves all of it or nothing.
    async fn accept_noted(&self, new: NewMessage, notes: Vec<Note>) -> Result<(), SpoolError>;

    /// Hands out up to `limit` deliveries that are due at `now`, each to nobody else until it is settled or `lease` has passed.
    /// Destinations take turns; of one destination the earliest comes first. What has no room at its destination is left out, at a cost per
    /// destination, not per delivery.
    async fn claim(&self, now: Timestamp, limit: usize, lease: Duration, room: Room<'_>) -> Result<Vec<Delivery>, SpoolError>;

    /// Ends the lease of a delivery that was claimed and is not attempted: it comes up again. Nothing happens when there is none.
    fn give_back(&self, key: DeliveryKey);

    /// The earliest time at which a claim may find something that is not handed out: the past when something is due but had no room.
    /// `None` when nothing waits.
    async fn next_due(&self) -> Option<Timestamp>;

    /// Returns when something has become claimable since the last return. One scheduler waits; a change while nobody waits is kept.
    async fn changed(&self);

    /// Records that the content of `key` begins to go out, before its end does (durability rule 5). After `Ok` a crash of the process
    /// does not take it back. A crash of the machine may: the record only tells a likely duplicate from a first delivery, it decides
    /// nothing, so it does not wait for the disk.
    async fn started(&self, key: DeliveryKey, exchanger: &str, now: Timestamp) -> Result<(), SpoolError>;

    /// The attempt at `key` that was started and never settled.
    async fn unsettled(&self, key: DeliveryKey) -> Result<Option<Started>, SpoolError>;

    /// Ends an attempt, and accepts what it gives rise to (bounce, delay notice), in one step: a crash leaves both or neither. Nothing of
    /// it happens when the delivery is gone. After `Ok` it is as durable as an accepted message. [`SpoolError::Full`] is no outcome.
    async fn settle(&self, key: DeliveryKey, settlement: Settlement, notices: Vec<NewMessage>) -> Result<(), SpoolError> {
        self.settle_noted(key, settlement, notices, Vec::new()).await
    }

    /// [`Spool::settle`], and writes notes in the same step.
    async fn settle_noted(
        &self,
        key: DeliveryKey,
        settlement: Settlement,
        notices: Vec<NewMessage>,
        notes: Vec<Note>,
    ) -> Result<(), SpoolError>;

    /// Writes a note that belongs to no message. After `Ok` it is as durable as an accepted message. Errors as [`Spool::accept`] does.
    async fn note(&self, note: Note) -> Result<(), SpoolError>;

    /// Up to `limit` notes, oldest first. What is broken is set aside.
    async fn notes(&self, limit: usize) -> Result<Vec<Note>, SpoolError>;

    /// Takes notes away that are kept elsewhere now. A crash of the machine may bring them back.
    async fn forget(&self, notes: Vec<QueueId>) -> Result<(), SpoolError>;

    /// Says whether a delivery may run: it is held, quarantined, or let go at its next time. An attempt under way is finished.
    async fn stand(&self, key: DeliveryKey, standing: Standing) -> Result<(), SpoolError>;

    /// Makes a delivery come up at `now`. One that is held stays held.
    async fn requeue(&self, key: DeliveryKey, now: Timestamp) -> Result<(), SpoolError>;

    /// Makes what waits for its time at a destination claimable at once: the destination was down, and was heard of. A hint that a restart
    /// forgets; the times on record stay. What is settled later waits for its own time again.
    async fn hasten(&self, domain: &MailDomain);

    /// What waits for whom, the largest number of deliveries first. Counted while others go on, so it is true of no single moment.
    async fn destinations(&self) -> Vec<Destination>;

    /// Ends a delivery that nobody is trying, and accepts what that gives rise to, in one step, as [`Spool::settle`] does. Errors with
    /// [`SpoolError::Busy`] while an attempt is under way; nothing happens then.
    async fn withdraw(&self, key: DeliveryKey, notices: Vec<NewMessage>) -> Result<(), SpoolError>;

    /// Puts this message in the place of the one with the same id: its octets and its deliveries, in one step. Errors with
    /// [`SpoolError::Busy`] while an attempt at any of its deliveries is under way.
    async fn replace(&self, new: NewMessage) -> Result<(), SpoolError> {
        self.replace_noted(new, Vec::new()).await
    }

    /// [`Spool::replace`], and writes notes in the same step.
    async fn replace_noted(&self, new: NewMessage, notes: Vec<Note>) -> Result<(), SpoolError>;

    /// A message that has deliveries.
    async fn message(&self, id: QueueId) -> Result<Message, SpoolError>;

    /// One delivery as it stands.
    async fn delivery(&self, key: DeliveryKey) -> Result<Delivery, SpoolError>;

    /// Up to `limit` deliveries behind `after`, in key order, of those that `among` lets through. What was claimed is among them.
    async fn deliveries(&self, among: &Among, after: Option<DeliveryKey>, limit: usize) -> Result<Vec<Delivery>, SpoolError>;

    /// Octets of a body from `offset` on: `max` of them, fewer only at the end, none behind it. A body that is not what was accepted is
    /// a fault, never a short read.
    async fn body(&self, id: QueueId, offset: u64, max: u64) -> Result<Bytes, SpoolError>;

    /// How much there is.
    async fn counts(&self) -> Counts;

    /// Records that were set aside since the last call.
    async fn set_aside(&self) -> Vec<SetAside>;

    /// Why nothing is accepted, claimed or settled any more; `None` while all is well. Only reading it anew from where it is kept ends
    /// this state (durability rule 3).
    fn failed(&self) -> Option<String>;
}

#[cfg(test)]
mod conformance;
