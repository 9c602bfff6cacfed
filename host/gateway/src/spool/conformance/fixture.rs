//! Grounds to play on, and mail to play with.

use crate::spool::Engine;
use crate::spool::tables::{Survives, Table, Tables, Write};
use crate::spool::{Limits, LocalSpool, LocalTables, MemoryTables, NewMessage, Opened, Settlement, Spool};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::channel::{Channel, Requirement};
use secmx_core::mail::{Envelope, Mailbox};
use secmx_core::queue::{Delivery, DeliveryKey, Message, Origin, QueueId, Standing, Via};
use secmx_core::role::SenderRole;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;
use tempfile::TempDir;

pub(super) const LEASE: Duration = Duration::from_secs(100);

/// Where a spool can be opened again and again, and its records be tampered with in between.
pub(super) trait Ground {
    type Tables: Tables;
    fn new() -> Self;
    fn open_within(&self, limits: Limits) -> Opened<Self::Tables>;
    fn tables(&self) -> Self::Tables;

    fn open(&self) -> Opened<Self::Tables> {
        self.open_within(Limits::default())
    }

    /// One message, accepted and left.
    async fn filled(&self, domains: &[&str]) -> NewMessage {
        let spool = self.open().spool;
        let new = mail(&spool, domains, b"body");
        spool.accept(new.message.clone(), new.deliveries.clone(), new.body.clone()).await.expect("room");
        new
    }

    /// Flips one bit in the middle of record number `at`.
    fn spoil(&self, table: Table, at: usize) {
        let tables = self.tables();
        let key = key_at(&tables, table, at);
        let mut record = tables.read(table, &key).expect("readable").expect("there").to_vec();
        let middle = record.len() / 2;
        record[middle] ^= 4;
        tables.commit(vec![Write { table, key, value: Some(record) }], Survives::Machine).expect("written");
    }

    /// Deletes record number `at`.
    fn lose(&self, table: Table, at: usize) {
        let tables = self.tables();
        let key = key_at(&tables, table, at);
        tables.commit(vec![Write { table, key, value: None }], Survives::Machine).expect("written");
    }
}

fn key_at(tables: &impl Tables, table: Table, at: usize) -> Vec<u8> {
    records(tables).into_iter().filter(|(found, _)| *found == table).nth(at).expect("a record").1
}

pub(super) struct Memory(pub(super) MemoryTables);

impl Ground for Memory {
    type Tables = MemoryTables;
    fn new() -> Self {
        Self(MemoryTables::default())
    }
    fn open_within(&self, limits: Limits) -> Opened<MemoryTables> {
        Engine::over(self.0.clone(), limits).expect("opens")
    }
    fn tables(&self) -> MemoryTables {
        self.0.clone()
    }
}

pub(super) struct Disk(pub(super) TempDir);

impl Ground for Disk {
    type Tables = LocalTables;
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }
    fn open_within(&self, limits: Limits) -> Opened<LocalTables> {
        LocalSpool::open_within(self.0.path(), limits).expect("opens")
    }
    fn tables(&self) -> LocalTables {
        LocalTables::open(self.0.path()).expect("opens")
    }
}

/// Every record there is.
pub(super) fn records(tables: &impl Tables) -> Vec<(Table, Vec<u8>)> {
    let mut found = Vec::new();
    for table in Table::ALL {
        let mut note = |key: &[u8], _: &[u8]| {
            found.push((table, key.to_vec()));
            ControlFlow::Continue(())
        };
        tables.scan(table, &[], &mut note).expect("readable");
    }
    found
}

/// Claims and finishes until nothing is left.
pub(super) async fn deliver_all(spool: &impl Spool) {
    loop {
        let claimed = spool.claim(at(10_000), 50, LEASE, &|_| usize::MAX).await.expect("whole");
        if claimed.is_empty() {
            return;
        }
        for delivery in claimed {
            spool.settle(delivery.key, Settlement::Finished, vec![]).await.expect("there");
        }
    }
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

pub(super) fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text.as_bytes(), false).expect("valid")
}

/// Kept back by an operator.
pub(super) fn held() -> Standing {
    Standing::Held { reason: "why".into(), until: None }
}

/// A message with one delivery per domain, all due at 0.
pub(super) fn mail(spool: &impl Spool, domains: &[&str], body: &'static [u8]) -> NewMessage {
    let id = spool.new_id(at(1));
    let recipients: Vec<_> = domains.iter().map(|domain| mailbox(&format!("a@{domain}"))).collect();
    let deliveries = (0..).zip(&recipients).map(|(number, to)| delivery(id, number, to)).collect();
    let message = Message {
        id,
        arrived: at(0),
        envelope: Envelope { reverse_path: Some(mailbox("s@from.test")), recipients, ..Envelope::default() },
        octets: body.len() as u64,
        origin: Origin {
            listener: "mx".into(),
            client: None,
            session: "s1".into(),
            channel: Channel::plain(),
            trusted: false,
            user: None,
            judged: false,
        },
        tags: BTreeMap::from([("tag".into(), "value".into())]),
    };
    NewMessage { message, deliveries, body: vec![Bytes::from_static(body)] }
}

pub(super) fn delivery(id: QueueId, number: u32, to: &Mailbox) -> Delivery {
    Delivery {
        key: DeliveryKey { id, number },
        domain: to.domain().clone(),
        via: Via::Discovery,
        role: SenderRole::BestEffort,
        floor: Requirement::NONE,
        recipients: vec![to.clone()],
        attempts: 0,
        next: at(0),
        standing: Standing::Due,
        last: Vec::new(),
        warned: false,
    }
}
