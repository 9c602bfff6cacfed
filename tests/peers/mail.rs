//! Mail for a spool without a gateway over it, and what a child of a test says of it.

use bytes::Bytes;
use jiff::Timestamp;
use secmx::spool::{NewMessage, Spool};
use secmx_core::channel::{Channel, Requirement};
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::queue::{Delivery, DeliveryKey, Message, Origin, QueueId, Standing, Via};
use secmx_core::role::SenderRole;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Tells a child where the spool is. Without it the child's part of a test does nothing.
pub(crate) const PLACE: &str = "SECMX_TEST_SPOOL";

/// Longer than any test.
pub(crate) const LEASE: Duration = Duration::from_secs(100_000);

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// The content of a message: its id, again and again.
pub(crate) fn content(id: QueueId, octets: usize) -> Bytes {
    Bytes::from(format!("{id}\r\n").repeat(octets.div_ceil(14)))
}

/// A message to one recipient of a domain, due at once.
pub(crate) fn mail(spool: &impl Spool, domain: &str, octets: usize) -> NewMessage {
    let id = spool.new_id(at(1));
    let to = Mailbox::parse(format!("bo@{domain}").as_bytes(), false).expect("an address");
    let body = content(id, octets);
    let message = Message {
        id,
        arrived: at(1),
        envelope: Envelope { recipients: vec![to.clone()], ..Envelope::default() },
        octets: body.len() as u64,
        origin: Origin {
            listener: "x".into(),
            client: None,
            session: "s".into(),
            channel: Channel::plain(),
            trusted: true,
            user: None,
            judged: false,
        },
        tags: BTreeMap::new(),
    };
    let delivery = Delivery {
        key: DeliveryKey { id, number: 0 },
        domain: to.domain().clone(),
        via: Via::Discovery,
        role: SenderRole::BestEffort,
        floor: Requirement::NONE,
        recipients: vec![to],
        attempts: 0,
        next: at(1),
        standing: Standing::Due,
        last: Vec::new(),
        warned: false,
    };
    NewMessage { message, deliveries: vec![delivery], body: vec![body] }
}

/// The ids behind `what` at the beginning of a line.
pub(crate) fn said(text: &str, what: &str) -> BTreeSet<QueueId> {
    text.lines().filter_map(|line| QueueId::parse(line.strip_prefix(what)?.trim())).collect()
}
