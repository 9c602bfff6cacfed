//! What each operation of the spool reads and writes.

use super::engine::{Engine, LARGE_UNIT, LARGE_UNITS, Shared, move_aside};
use super::record::Broken;
use super::tables::{Survives, Table, Tables, Write};
use super::writer::{Change, Transaction};
use super::{Among, Counts, Destination, NewMessage, Note, Room, SetAside, Settlement, Spool, SpoolError, Started};
use super::{recent, stored};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use secmx_core::mail::MailDomain;
use secmx_core::queue::{Delivery, DeliveryKey, Message, QueueId, Standing};
use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// Octets of a body from which on it is worth leaving the thread that serves sessions.
const LARGE_OCTETS: u64 = 1024 * 1024;

/// Deliveries that are counted without letting go of the index.
const TALLY_STEP: usize = 10_000;
/// Deliveries that are looked at in the index before others may look, so that a long list makes no session wait.
const STRETCH: usize = 4096;

/// A message as records, and what the index is to know of it.
struct Prepared {
    writes: Vec<Write>,
    changes: Vec<Change>,
}

fn prepare(new: NewMessage) -> Result<Prepared, SpoolError> {
    let NewMessage { message, deliveries, body } = &new;
    let foreign = |(at, delivery): (usize, &Delivery)| {
        delivery.key.id != message.id || deliveries.iter().take(at).any(|other| other.key == delivery.key)
    };
    if deliveries.is_empty() || deliveries.iter().enumerate().any(foreign) {
        return Err(SpoolError::Fault(format!("message {} does not fit its deliveries", message.id)));
    }
    let octets = stored::octets(body);
    if message.octets != octets {
        return Err(SpoolError::Fault(format!("message {} says {} octets and has {octets}", message.id, message.octets)));
    }
    let mut writes = stored::put_body(message.id, body);
    writes.push(stored::put(Table::Messages, &stored::message_key(message.id), &[&stored::to_json(message)?]));
    for delivery in deliveries {
        writes.push(stored::put_delivery(delivery, octets)?);
    }
    let mut changes: Vec<_> = deliveries.iter().map(|delivery| Change::Put(stored::entry(delivery, octets))).collect();
    changes.insert(0, Change::Keep(Box::new(new)));
    Ok(Prepared { writes, changes })
}

/// A record that could not be read, or not be believed.
struct Finding {
    table: Table,
    key: Vec<u8>,
    id: QueueId,
    detail: String,
}

impl Finding {
    fn new(table: Table, key: &[u8], id: QueueId, why: impl ToString) -> Self {
        Self { table, key: key.to_vec(), id, detail: why.to_string() }
    }
}

/// The id that a key begins with.
fn id_of(key: &[u8]) -> QueueId {
    QueueId::from_bits(key.first_chunk::<8>().map_or(0, |id| u64::from_be_bytes(*id)))
}

fn fault(error: io::Error) -> SpoolError {
    SpoolError::Fault(format!("the spool cannot be read: {error}"))
}

impl<T: Tables> Shared<T> {
    /// Refuses octets that there is no room for (durability rule 4). `before` are accepted in the same batch.
    fn admit(&self, before: u64, octets: u64) -> Result<(), SpoolError> {
        let wanted = before.saturating_add(octets);
        let queued = self.index().counts().octets.saturating_add(wanted);
        let free = self.tables.free_octets().map_err(fault)?;
        let fits = self.limits.octets_max.is_none_or(|most| queued <= most)
            && free.is_none_or(|free| free >= self.limits.reserve_octets.saturating_add(wanted));
        if fits { Ok(()) } else { Err(SpoolError::Full) }
    }

    fn delivery(&self, key: DeliveryKey) -> Result<Delivery, SpoolError> {
        let octets = self.tables.read(Table::Deliveries, &stored::delivery_key(key)).map_err(fault)?.ok_or(SpoolError::Gone)?;
        let name = || stored::name(Table::Deliveries, &stored::delivery_key(key));
        stored::read_delivery(key, &octets).map_err(|broken| SpoolError::Fault(format!("{}: {broken}", name())))
    }

    /// The delivery as `edit` leaves it.
    fn rewrite(&self, key: DeliveryKey, edit: impl FnOnce(Delivery) -> Delivery) -> Result<Transaction, SpoolError> {
        self.replace(&edit(self.delivery(key)?))
    }

    fn replace(&self, delivery: &Delivery) -> Result<Transaction, SpoolError> {
        let octets = self.index().octets_of(delivery.key.id).ok_or(SpoolError::Gone)?;
        let changes = vec![Change::Put(stored::entry(delivery, octets))];
        Ok(Transaction { writes: vec![stored::put_delivery(delivery, octets)?], changes, survives: Survives::Machine })
    }

    /// The attempt at `key` is over and came to `settlement`.
    fn settle(&self, key: DeliveryKey, settlement: Settlement) -> Result<Transaction, SpoolError> {
        let attempt = stored::delete(Table::Attempts, &stored::delivery_key(key));
        let waiting = match settlement {
            Settlement::Finished => None,
            settlement @ Settlement::Waiting { .. } => settlement.apply(self.delivery(key)?),
        };
        let Some(delivery) = waiting else { return self.finish(key, attempt) };
        let mut transaction = self.replace(&delivery)?;
        transaction.writes.push(attempt);
        transaction.changes.push(Change::Free(key));
        Ok(transaction)
    }

    /// A delivery leaves, and its message with the last one.
    fn finish(&self, key: DeliveryKey, attempt: Write) -> Result<Transaction, SpoolError> {
        let index = self.index();
        let octets = index.octets_of(key.id).filter(|_| index.contains(key)).ok_or(SpoolError::Gone)?;
        let mut writes = vec![attempt, stored::delete(Table::Deliveries, &stored::delivery_key(key))];
        if index.deliveries_of(key.id).len() == 1 {
            writes.push(stored::delete(Table::Messages, &stored::message_key(key.id)));
            let chunks = 0..stored::chunk_count(octets);
            writes.extend(chunks.map(|number| stored::delete(Table::Chunks, &stored::numbered_key(key.id, number))));
        }
        Ok(Transaction { writes, changes: vec![Change::Remove(key)], survives: Survives::Machine })
    }

    /// Refuses what is being tried. A claim that comes after this finds the delivery gone before its content goes out: `started` is
    /// asked of the same writer.
    fn must_rest(&self, key: DeliveryKey) -> Result<(), SpoolError> {
        if self.index().is_leased(key) { Err(SpoolError::Busy) } else { Ok(()) }
    }

    /// The message `id` goes, and what was prepared under the same id comes. No record is written twice in one batch.
    fn replaced(&self, id: QueueId, new: Prepared) -> Result<Transaction, SpoolError> {
        let old = self.index().deliveries_of(id);
        let octets = self.index().octets_of(id).ok_or(SpoolError::Gone)?;
        old.iter().try_for_each(|key| self.must_rest(*key))?;
        let chunks = (0..stored::chunk_count(octets)).map(|number| stored::delete(Table::Chunks, &stored::numbered_key(id, number)));
        let deliveries = old.iter().map(|key| stored::delete(Table::Deliveries, &stored::delivery_key(*key)));
        let attempts = old.iter().map(|key| stored::delete(Table::Attempts, &stored::delivery_key(*key)));
        let mut writes: Vec<Write> = chunks.chain(deliveries).chain(attempts).collect();
        writes.retain(|gone| !new.writes.iter().any(|write| write.table == gone.table && write.key == gone.key));
        writes.extend(new.writes);
        let changes = old.into_iter().map(Change::Remove).chain(new.changes).collect();
        Ok(Transaction { writes, changes, survives: Survives::Machine })
    }

    /// Takes a broken record out of the queue: a delivery alone; a message, or a body, with all its deliveries. Bodies stay where they
    /// are, under their id, for whoever looks into it.
    fn put_aside(&self, finding: &Finding) -> Result<Transaction, SpoolError> {
        let deliveries = match finding.table {
            Table::Deliveries => stored::parse_key(&finding.key).filter(|key| self.index().contains(*key)).into_iter().collect(),
            _ => self.index().deliveries_of(finding.id),
        };
        if deliveries.is_empty() {
            return Err(SpoolError::Gone);
        }
        let mut records: Vec<_> = deliveries.iter().map(|key| (Table::Deliveries, stored::delivery_key(*key).to_vec())).collect();
        if finding.table != Table::Deliveries {
            records.push((Table::Messages, stored::message_key(finding.id).to_vec()));
        }
        let mut writes = Vec::new();
        for (table, key) in records {
            let found = self.tables.read(table, &key).map_err(fault)?;
            writes.extend(found.into_iter().flat_map(|found| move_aside(table, &key, &found)));
        }
        Ok(Transaction { writes, changes: deliveries.into_iter().map(Change::Remove).collect(), survives: Survives::Machine })
    }

    /// What was claimed, and what of it is broken.
    fn claimed(&self, keys: Vec<DeliveryKey>) -> (Vec<Delivery>, Vec<Finding>) {
        let (mut deliveries, mut findings) = (Vec::new(), Vec::new());
        for key in keys {
            let place = stored::delivery_key(key);
            match self.tables.read(Table::Deliveries, &place) {
                Ok(Some(record)) => match stored::read_delivery(key, &record) {
                    Ok(delivery) => deliveries.push(delivery),
                    Err(broken) => findings.push(Finding::new(Table::Deliveries, &place, key.id, broken)),
                },
                Ok(None) => findings.push(Finding::new(Table::Deliveries, &place, key.id, "it is missing")),
                // One that cannot be read keeps its lease and is tried again; it must not stop the others.
                Err(error) => self.report(SetAside { key: stored::name(Table::Deliveries, &place), detail: error.to_string() }),
            }
        }
        (deliveries, findings)
    }

    fn body(&self, id: QueueId, offset: u64, max: u64) -> Result<Result<Bytes, Finding>, SpoolError> {
        let octets = self.index().octets_of(id).ok_or(SpoolError::Gone)?;
        let end = offset.saturating_add(max).min(octets);
        let (mut at, mut content) = (offset, BytesMut::new());
        while at < end {
            let size = stored::CHUNK_OCTETS as u64;
            let number = u32::try_from(at / size).unwrap_or(u32::MAX);
            let key = stored::numbered_key(id, number);
            let found = self.tables.read(Table::Chunks, &key).map_err(fault)?;
            let broken = |why: &dyn ToString| Ok(Err(Finding::new(Table::Chunks, &key, id, why.to_string())));
            let chunk = match found.map(|found| stored::read_chunk(id, number, octets, &found)) {
                Some(Ok(chunk)) => chunk,
                Some(Err(why)) => return broken(&why),
                None => return broken(&"it is missing"),
            };
            let from = usize::try_from(at % size).unwrap_or(usize::MAX);
            let rest = chunk.slice(from.min(chunk.len())..);
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(rest.len());
            let piece = rest.slice(..wanted);
            if wanted as u64 == end - at && content.is_empty() {
                return Ok(Ok(piece));
            }
            content.extend_from_slice(&piece);
            at += wanted as u64;
        }
        Ok(Ok(content.freeze()))
    }

    fn message(&self, id: QueueId) -> Result<Result<Message, Finding>, SpoolError> {
        self.index().octets_of(id).ok_or(SpoolError::Gone)?;
        let key = stored::message_key(id);
        let broken = |why: String| Finding::new(Table::Messages, &key, id, why);
        let Some(record) = self.tables.read(Table::Messages, &key).map_err(fault)? else {
            return Ok(Err(broken("it is missing".into())));
        };
        let message = stored::from_json(Table::Messages, &key, &record)
            .and_then(|message: Message| if message.id == id { Ok(message) } else { Err(Broken::Content) });
        Ok(message.map_err(|why| broken(why.to_string())))
    }

    fn deliveries(&self, after: Option<DeliveryKey>, limit: usize) -> io::Result<Vec<Delivery>> {
        // The least key behind `after` is its own with a zero octet more.
        let from = after.map_or_else(Vec::new, |key| [&stored::delivery_key(key)[..], &[0]].concat());
        let mut deliveries = Vec::new();
        if limit == 0 {
            return Ok(deliveries);
        }
        self.tables.scan(Table::Deliveries, &from, &mut |key, record| {
            // What is broken is found, and dealt with, when it is claimed.
            deliveries.extend(stored::parse_key(key).and_then(|key| stored::read_delivery(key, record).ok()));
            if deliveries.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(deliveries)
    }

    /// The oldest notes, and what of them is broken.
    fn notes(&self, limit: usize) -> io::Result<(Vec<Note>, Vec<Finding>)> {
        let (mut notes, mut broken) = (Vec::new(), Vec::new());
        self.tables.scan(Table::Notes, &[], &mut |key, record| {
            match stored::read_note(key, record) {
                Ok(note) => notes.push(note),
                Err(why) => broken.push(Finding::new(Table::Notes, key, id_of(key), why)),
            }
            if notes.len() + broken.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok((notes, broken))
    }

    /// Found in the index, then read one by one: what is not wanted is not read.
    fn deliveries_among(&self, among: &Among, mut after: Option<DeliveryKey>, limit: usize) -> io::Result<Vec<Delivery>> {
        let mut deliveries = Vec::new();
        while deliveries.len() < limit {
            let (mut wanted, mut last) = (Vec::new(), None);
            for outline in self.index().behind(after, among.messages()).take(STRETCH) {
                last = Some(outline.key);
                wanted.extend(among.has(&outline).then_some(outline.key));
            }
            if last.is_none() {
                break;
            }
            for key in wanted {
                let record = self.tables.read(Table::Deliveries, &stored::delivery_key(key))?;
                deliveries.extend(record.and_then(|record| stored::read_delivery(key, &record).ok()));
                if deliveries.len() == limit {
                    break;
                }
            }
            after = last;
        }
        Ok(deliveries)
    }
}

impl Transaction {
    /// With messages that are accepted in the same step.
    fn with(mut self, prepared: Vec<Prepared>) -> Self {
        for Prepared { writes, changes } in prepared {
            self.writes.extend(writes);
            self.changes.extend(changes);
        }
        self
    }
}

impl<T: Tables> Engine<T> {
    async fn set_note_aside(&self, finding: Finding) -> Result<(), SpoolError> {
        let Finding { id, key, detail, .. } = finding;
        let report = SetAside { key: stored::name(Table::Notes, &key), detail };
        self.submit(id, 0, move |shared, _| {
            let found = shared.tables.read(Table::Notes, &key).map_err(fault)?.ok_or(SpoolError::Gone)?;
            let writes = move_aside(Table::Notes, &key, &found).to_vec();
            Ok(Transaction { writes, changes: Vec::new(), survives: Survives::Machine })
        })
        .await?;
        self.shared.report(report);
        Ok(())
    }

    /// Sets a record aside and says so; gives the error for whoever wanted it.
    async fn set_broken_aside(&self, finding: Finding) -> SpoolError {
        let report = SetAside { key: stored::name(finding.table, &finding.key), detail: finding.detail.clone() };
        let fault = SpoolError::Fault(format!("{}: {}", report.key, report.detail));
        match self.submit(finding.id, 0, move |shared, _| shared.put_aside(&finding)).await {
            // It was finished between the look at the index and the look at the record: nothing is broken.
            Err(SpoolError::Gone) => SpoolError::Gone,
            Err(error) => error,
            Ok(()) => {
                self.shared.report(report);
                fault
            }
        }
    }

    /// Waits until the records of a large message have room. One that is larger than all of it takes all; the small never wait.
    async fn room_for(&self, octets: u64) -> Option<SemaphorePermit<'_>> {
        if octets < LARGE_OCTETS {
            return None;
        }
        let units = u32::try_from(octets.div_ceil(LARGE_UNIT)).unwrap_or(LARGE_UNITS).min(LARGE_UNITS);
        self.large.acquire_many(units).await.ok()
    }

    async fn whole<R>(&self, found: Result<R, Finding>) -> Result<R, SpoolError> {
        match found {
            Ok(value) => Ok(value),
            Err(finding) => Err(self.set_broken_aside(finding).await),
        }
    }
}

#[async_trait]
impl<T: Tables> Spool for Engine<T> {
    fn new_id(&self, now: Timestamp) -> QueueId {
        self.shared.new_id(now)
    }

    fn has_room(&self, octets: u64) -> bool {
        self.failure().is_none() && !matches!(self.shared.admit(0, octets), Err(SpoolError::Full))
    }

    async fn accept_noted(&self, new: NewMessage, notes: Vec<Note>) -> Result<(), SpoolError> {
        let (id, octets) = (new.message.id, stored::octets(&new.body));
        let _room = self.room_for(octets).await;
        let mut prepared = if octets < LARGE_OCTETS { prepare(new) } else { self.read(move |_| prepare(new)).await? }?;
        prepared.writes.extend(notes.iter().map(stored::put_note));
        self.submit(id, octets, move |shared, before| {
            shared.admit(before, octets)?;
            if shared.index().octets_of(id).is_some() {
                return Err(SpoolError::Fault(format!("message {id} is in the spool already")));
            }
            Ok(Transaction { writes: prepared.writes, changes: prepared.changes, survives: Survives::Machine })
        })
        .await
    }

    async fn claim(&self, now: Timestamp, limit: usize, lease: Duration, room: Room<'_>) -> Result<Vec<Delivery>, SpoolError> {
        if let Some(detail) = self.failure() {
            return Err(SpoolError::Fault(detail));
        }
        let keys = self.shared.index().claim(now, limit, lease, room);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let known: Vec<_> = keys.iter().map(|key| self.shared.recent().delivery(*key)).collect();
        let unknown: Vec<_> = keys.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(key, _)| *key).collect();
        if unknown.is_empty() {
            return Ok(known.into_iter().flatten().collect());
        }
        let (read, findings) = self.read(move |shared| shared.claimed(unknown)).await?;
        for finding in findings {
            self.set_broken_aside(finding).await;
        }
        let mut read: HashMap<_, _> = read.into_iter().map(|delivery| (delivery.key, delivery)).collect();
        Ok(keys.into_iter().zip(known).filter_map(|(key, known)| known.or_else(|| read.remove(&key))).collect())
    }

    fn give_back(&self, key: DeliveryKey) {
        self.shared.index().free(key);
        self.shared.changed.notify_one();
    }

    async fn next_due(&self) -> Option<Timestamp> {
        self.shared.index().next_due()
    }

    async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    async fn started(&self, key: DeliveryKey, exchanger: &str, now: Timestamp) -> Result<(), SpoolError> {
        let started = stored::to_json(&Started { exchanger: exchanger.to_owned(), at: now })?;
        self.submit(key.id, 0, move |shared, _| {
            if !shared.index().contains(key) {
                return Err(SpoolError::Gone);
            }
            let writes = vec![stored::put(Table::Attempts, &stored::delivery_key(key), &[&started])];
            Ok(Transaction { writes, changes: Vec::new(), survives: Survives::Process })
        })
        .await
    }

    async fn unsettled(&self, key: DeliveryKey) -> Result<Option<Started>, SpoolError> {
        let place = stored::delivery_key(key);
        let record = self.read(move |shared| shared.tables.read(Table::Attempts, &place)).await?.map_err(fault)?;
        let attempt = record.map(|record| stored::from_json(Table::Attempts, &place, &record)).transpose();
        attempt.map_err(|broken| SpoolError::Fault(format!("{}: {broken}", stored::name(Table::Attempts, &place))))
    }

    async fn settle_noted(
        &self,
        key: DeliveryKey,
        settlement: Settlement,
        notices: Vec<NewMessage>,
        notes: Vec<Note>,
    ) -> Result<(), SpoolError> {
        let prepared = notices.into_iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        self.submit(key.id, 0, move |shared, _| {
            let mut transaction = shared.settle(key, settlement)?.with(prepared);
            transaction.writes.extend(notes.iter().map(stored::put_note));
            Ok(transaction)
        })
        .await
    }

    async fn note(&self, note: Note) -> Result<(), SpoolError> {
        let octets = note.line.len() as u64;
        self.submit(note.id, octets, move |shared, before| {
            shared.admit(before, octets)?;
            Ok(Transaction { writes: vec![stored::put_note(&note)], changes: Vec::new(), survives: Survives::Machine })
        })
        .await
    }

    async fn notes(&self, limit: usize) -> Result<Vec<Note>, SpoolError> {
        let (notes, broken) = self.read(move |shared| shared.notes(limit)).await?.map_err(fault)?;
        for finding in broken {
            self.set_note_aside(finding).await?;
        }
        Ok(notes)
    }

    async fn forget(&self, notes: Vec<QueueId>) -> Result<(), SpoolError> {
        let Some(first) = notes.first().copied() else { return Ok(()) };
        self.submit(first, 0, move |_, _| {
            let writes = notes.iter().map(|id| stored::delete(Table::Notes, &stored::message_key(*id))).collect();
            Ok(Transaction { writes, changes: Vec::new(), survives: Survives::Process })
        })
        .await
    }

    async fn stand(&self, key: DeliveryKey, standing: Standing) -> Result<(), SpoolError> {
        self.submit(key.id, 0, move |shared, _| shared.rewrite(key, |delivery| Delivery { standing, ..delivery })).await
    }

    async fn requeue(&self, key: DeliveryKey, now: Timestamp) -> Result<(), SpoolError> {
        self.submit(key.id, 0, move |shared, _| shared.rewrite(key, |delivery| Delivery { next: now, ..delivery })).await
    }

    async fn hasten(&self, domain: &MailDomain) {
        if self.shared.index().hasten(domain) {
            self.shared.changed.notify_one();
        }
    }

    async fn destinations(&self) -> Vec<Destination> {
        let (mut tally, mut after) = (HashMap::new(), None);
        loop {
            after = self.shared.index().tally(after, TALLY_STEP, &mut tally);
            if after.is_none() {
                break;
            }
            // Whoever writes or claims meanwhile gets its turn.
            tokio::task::yield_now().await;
        }
        let mut all: Vec<_> = tally.into_values().collect();
        all.sort_by(|one, other| {
            let size = |of: &Destination| of.waiting + of.held + of.under_way;
            size(other).cmp(&size(one)).then_with(|| one.domain.to_string().cmp(&other.domain.to_string()))
        });
        all
    }

    async fn withdraw(&self, key: DeliveryKey, notices: Vec<NewMessage>) -> Result<(), SpoolError> {
        let prepared = notices.into_iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        self.submit(key.id, 0, move |shared, _| {
            shared.must_rest(key)?;
            Ok(shared.finish(key, stored::delete(Table::Attempts, &stored::delivery_key(key)))?.with(prepared))
        })
        .await
    }

    async fn replace_noted(&self, new: NewMessage, notes: Vec<Note>) -> Result<(), SpoolError> {
        let (id, octets) = (new.message.id, stored::octets(&new.body));
        let _room = self.room_for(octets).await;
        let prepared = self.read(move |_| prepare(new)).await??;
        self.submit(id, octets, move |shared, _| {
            let mut transaction = shared.replaced(id, prepared)?;
            transaction.writes.extend(notes.iter().map(stored::put_note));
            Ok(transaction)
        })
        .await
    }

    async fn message(&self, id: QueueId) -> Result<Message, SpoolError> {
        let known = self.shared.recent().message(id);
        if let Some(known) = known {
            return Ok(known);
        }
        let found = self.read(move |shared| shared.message(id)).await??;
        self.whole(found).await
    }

    async fn delivery(&self, key: DeliveryKey) -> Result<Delivery, SpoolError> {
        self.read(move |shared| shared.delivery(key)).await?
    }

    async fn deliveries(&self, among: &Among, after: Option<DeliveryKey>, limit: usize) -> Result<Vec<Delivery>, SpoolError> {
        let among = among.clone();
        let found = move |shared: &Shared<T>| {
            if among.is_all() { shared.deliveries(after, limit) } else { shared.deliveries_among(&among, after, limit) }
        };
        self.read(found).await?.map_err(fault)
    }

    async fn body(&self, id: QueueId, offset: u64, max: u64) -> Result<Bytes, SpoolError> {
        let known = self.shared.recent().body(id, offset, max);
        if let Some(parts) = known {
            return Ok(recent::joined(&parts));
        }
        let found = self.read(move |shared| shared.body(id, offset, max)).await??;
        self.whole(found).await
    }

    async fn counts(&self) -> Counts {
        self.shared.index().counts()
    }

    async fn set_aside(&self) -> Vec<SetAside> {
        std::mem::take(&mut *self.shared.set_aside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self) -> Option<String> {
        self.failure()
    }
}
