//! What must hold of a spool, whatever lies in it.

use crate::mutate::Mutator;
use bytes::Bytes;
use jiff::Timestamp;
use secmx::spool::tables::{Survives, Table, Tables, Write};
use secmx::spool::{Among, MemorySpool, MemoryTables, NewMessage, Note, Settlement, Spool};
use secmx_core::channel::{Channel, Requirement};
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::queue::{Delivery, DeliveryKey, Message, Origin, QueueId, Standing, Via};
use secmx_core::report::{Cause, Failure};
use secmx_core::role::SenderRole;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

/// Durability rule 2, with records that were never sealed and with sealed ones whose content is not what was written.
pub(crate) fn records(input: &[u8], mutator: &mut Mutator) {
    RUNTIME.block_on(unsealed(input, mutator));
    RUNTIME.block_on(forged(input, mutator));
}

/// A record that is not what was written is set aside, never delivered, and never takes the spool down.
async fn unsealed(input: &[u8], mutator: &mut Mutator) {
    let tables = MemoryTables::default();
    let key = |number: usize| [vec![0, 0, 1, 2, 3, 4, 5, u8::try_from(number % 4).unwrap_or(0)], vec![0; 4]].concat();
    let writes = mutator.segments(input).into_iter().take(20).enumerate().map(|(number, segment)| {
        let table = Table::ALL[mutator.below(Table::ALL.len())];
        let key = if table == Table::Messages { key(number)[..8].to_vec() } else { key(number) };
        Write { table, key, value: Some(segment.to_vec()) }
    });
    tables.commit(writes.collect(), Survives::Process).expect("memory takes all");
    let opened = MemorySpool::open(&tables).expect("what cannot be read is set aside");
    let claimed = opened.spool.claim(Timestamp::MAX, 100, Duration::ZERO, &|_| 100).await.expect("it goes on");
    assert!(claimed.is_empty(), "{claimed:?}");
    let body: Result<Bytes, _> = opened.spool.body(QueueId::from_bits(0), 0, 10).await;
    assert!(body.is_err());
}

/// Behind the checksum: what a record says is believed or set aside, and neither takes the spool down. Of what is left alone nothing is lost.
async fn forged(input: &[u8], mutator: &mut Mutator) {
    let tables = MemoryTables::default();
    let written = fill(&tables, input).await;
    let mut changed = false;
    tables.forge(|_, payload| {
        let before = payload.clone();
        match mutator.below(8) {
            0 => *payload = input.to_vec(),
            1 => mutator.mutate(payload),
            _ => {}
        }
        changed |= *payload != before;
    });
    let spool = MemorySpool::open(&tables).expect("what cannot be read is set aside").spool;
    let listed = spool.deliveries(&Among::default(), None, 10).await.expect("it goes on");
    let claimed = spool.claim(Timestamp::MAX, 10, Duration::ZERO, &|_| 10).await.expect("it goes on");
    assert!(changed || (listed == written && claimed == written), "{claimed:?} instead of {written:?}");
    for delivery in &claimed {
        let key = delivery.key;
        if let Ok(body) = spool.body(key.id, 0, u64::MAX).await {
            assert_eq!(body.len() as u64, spool.counts().await.octets, "a body is whole or a fault");
            assert!(changed || body == input, "{body:?}");
        }
        drop((spool.message(key.id).await, spool.unsettled(key).await));
        drop(spool.settle(key, Settlement::Finished, Vec::new()).await);
    }
    drop((spool.notes(10).await.expect("it goes on"), spool.destinations().await, spool.counts().await, spool.set_aside().await));
    assert_eq!(spool.failed(), None);
}

/// A message with `body` in two deliveries, an attempt at the first, and a note. Gives the deliveries.
async fn fill(tables: &MemoryTables, body: &[u8]) -> Vec<Delivery> {
    let spool = MemorySpool::open(tables).expect("nothing is there").spool;
    let now = Timestamp::UNIX_EPOCH;
    let (id, note) = (spool.new_id(now), spool.new_id(now));
    let recipients = ["b@x.test", "c@y.test"].map(|address| Mailbox::parse(address.as_bytes(), false).expect("valid"));
    let message = Message {
        id,
        arrived: now,
        envelope: Envelope { recipients: recipients.to_vec(), ..Envelope::default() },
        octets: body.len() as u64,
        origin: Origin {
            listener: "test".into(),
            client: Some([192, 0, 2, 1].into()),
            session: String::new(),
            channel: Channel::plain(),
            trusted: false,
            user: None,
            judged: false,
        },
        tags: BTreeMap::new(),
    };
    let deliveries = (0..).zip(recipients).map(|(number, recipient)| Delivery {
        key: DeliveryKey { id, number },
        domain: recipient.domain().clone(),
        via: Via::Discovery,
        role: SenderRole::BestEffort,
        floor: Requirement::NONE,
        recipients: vec![recipient],
        attempts: 1,
        next: now,
        standing: Standing::Due,
        last: vec![Failure { exchanger: Some("mx.x.test".into()), address: None, cause: Cause::Unreachable("no answer".into()) }],
        warned: false,
    });
    let deliveries: Vec<_> = deliveries.collect();
    let new = NewMessage { message, deliveries: deliveries.clone(), body: vec![Bytes::copy_from_slice(body)] };
    spool.accept_noted(new, vec![Note { id: note, line: Bytes::from_static(b"{}") }]).await.expect("room");
    spool.started(deliveries[0].key, "mx.x.test", now).await.expect("there");
    deliveries
}
