//! Keys and payloads of the spool's records.
//!
//! A delivery's payload begins with what the index needs, in fixed form, so that a start reads a million of them without parsing them
//! whole. A body lies in chunks, written once and never changed; each says how long the whole body is, so that a lost chunk cannot pass
//! for the end.

use super::index::Entry;
use super::record::{self, Broken};
use super::tables::{Table, Write};
use super::{Note, SpoolError};
use bytes::Bytes;
use jiff::Timestamp;
use secmx_core::mail::MailDomain;
use secmx_core::queue::{Delivery, DeliveryKey, QueueId, Standing};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Octets of a body in one record. What one read of a body costs at most.
pub(super) const CHUNK_OCTETS: usize = 256 * 1024;

/// Octets that no body has. A record that tells of more is not believed: as many chunks would be looked for as it says.
const BODY_OCTETS_MAX: u64 = 1 << 36;

pub(super) fn message_key(id: QueueId) -> [u8; 8] {
    id.to_bits().to_be_bytes()
}

/// Key of a delivery, of an attempt at it, and of chunk `number` of a body.
pub(super) fn numbered_key(id: QueueId, number: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&message_key(id));
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn delivery_key(key: DeliveryKey) -> [u8; 12] {
    numbered_key(key.id, key.number)
}

/// The delivery that a key of 12 octets names.
pub(super) fn parse_key(key: &[u8]) -> Option<DeliveryKey> {
    let (id, number) = key.split_first_chunk::<8>()?;
    let bits = u64::from_be_bytes(*id);
    let number = u32::from_be_bytes(number.try_into().ok()?);
    let id = QueueId::from_bits(bits);
    (id.to_bits() == bits).then_some(DeliveryKey { id, number })
}

/// How a record is named in reports.
pub(super) fn name(table: Table, key: &[u8]) -> String {
    let id = key.first_chunk::<8>().map(|id| QueueId::from_bits(u64::from_be_bytes(*id)));
    match (id, key.get(8..).map(<[u8; 4]>::try_from)) {
        (Some(id), Some(Ok(number))) => format!("{} {id}/{}", table.name(), u32::from_be_bytes(number)),
        (Some(id), Some(Err(_))) if key.len() == 8 => format!("{} {id}", table.name()),
        _ => format!("{} {}", table.name(), key.escape_ascii()),
    }
}

pub(super) fn put(table: Table, key: &[u8], payload: &[&[u8]]) -> Write {
    Write { table, key: key.to_vec(), value: Some(record::seal(table, key, payload)) }
}

pub(super) fn delete(table: Table, key: &[u8]) -> Write {
    Write { table, key: key.to_vec(), value: None }
}

/// A value as JSON. Ours all have string keys and no foreign types, so this does not fail; if it did, nothing is written.
pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, SpoolError> {
    serde_json::to_vec(value).map_err(|error| SpoolError::Fault(format!("a record cannot be written: {error}")))
}

/// The value in the record `octets`.
pub(super) fn from_json<T: DeserializeOwned>(table: Table, key: &[u8], octets: &[u8]) -> Result<T, Broken> {
    serde_json::from_slice(record::unseal(table, key, octets)?).map_err(|_| Broken::Content)
}

/// What the index knows of a delivery whose message has a body of `octets`.
pub(super) fn entry(delivery: &Delivery, octets: u64) -> Entry {
    Entry { key: delivery.key, next: delivery.next, domain: delivery.domain.clone(), octets, held: delivery.standing != Standing::Due }
}

/// The record of a delivery.
pub(super) fn put_delivery(delivery: &Delivery, octets: u64) -> Result<Write, SpoolError> {
    let domain = delivery.domain.to_string();
    let length = u16::try_from(domain.len()).map_err(|_| SpoolError::Fault("a domain is too long".into()))?;
    let held = u8::from(delivery.standing != Standing::Due);
    let head: [&[u8]; 6] = [
        &delivery.next.as_second().to_be_bytes(),
        &delivery.next.subsec_nanosecond().to_be_bytes(),
        &octets.to_be_bytes(),
        &[held],
        &length.to_be_bytes(),
        domain.as_bytes(),
    ];
    let head = head.concat();
    Ok(put(Table::Deliveries, &delivery_key(delivery.key), &[&head, &to_json(delivery)?]))
}

/// Reads what the index needs, and leaves the rest of the record unread but checked.
pub(super) fn read_entry(key: &[u8], octets: &[u8]) -> Result<Entry, Broken> {
    let (head, _) = split(record::unseal(Table::Deliveries, key, octets)?)?;
    if head.octets > BODY_OCTETS_MAX {
        return Err(Broken::Content);
    }
    let domain = std::str::from_utf8(head.domain).ok().and_then(|text| MailDomain::parse(text).ok());
    Ok(Entry {
        key: parse_key(key).ok_or(Broken::Content)?,
        next: Timestamp::new(head.second, head.nanosecond).map_err(|_| Broken::Content)?,
        domain: domain.ok_or(Broken::Content)?,
        octets: head.octets,
        held: head.held,
    })
}

/// Reads a delivery whole.
pub(super) fn read_delivery(key: DeliveryKey, octets: &[u8]) -> Result<Delivery, Broken> {
    let (_, json) = split(record::unseal(Table::Deliveries, &delivery_key(key), octets)?)?;
    let delivery: Delivery = serde_json::from_slice(json).map_err(|_| Broken::Content)?;
    if delivery.key == key { Ok(delivery) } else { Err(Broken::Content) }
}

struct Head<'a> {
    second: i64,
    nanosecond: i32,
    octets: u64,
    held: bool,
    domain: &'a [u8],
}

fn split(payload: &[u8]) -> Result<(Head<'_>, &[u8]), Broken> {
    let parts = || {
        let (second, rest) = payload.split_first_chunk()?;
        let (nanosecond, rest) = rest.split_first_chunk()?;
        let (octets, rest) = rest.split_first_chunk()?;
        let ([held], rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (domain, json) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let second = i64::from_be_bytes(*second);
        let head =
            Head { second, nanosecond: i32::from_be_bytes(*nanosecond), octets: u64::from_be_bytes(*octets), held: *held != 0, domain };
        Some((head, json))
    };
    parts().ok_or(Broken::Content)
}

/// The record of a note.
pub(super) fn put_note(note: &Note) -> Write {
    put(Table::Notes, &message_key(note.id), &[&note.line])
}

/// Reads a note.
pub(super) fn read_note(key: &[u8], octets: &[u8]) -> Result<Note, Broken> {
    let bits = u64::from_be_bytes(key.try_into().map_err(|_| Broken::Content)?);
    let line = Bytes::copy_from_slice(record::unseal(Table::Notes, key, octets)?);
    Ok(Note { id: QueueId::from_bits(bits), line })
}

/// How many chunks a body of `octets` has. An empty body has none.
pub(super) fn chunk_count(octets: u64) -> u32 {
    u32::try_from(octets.div_ceil(CHUNK_OCTETS as u64)).unwrap_or(u32::MAX)
}

/// The records of a body.
pub(super) fn put_body(id: QueueId, body: &[Bytes]) -> Vec<Write> {
    let octets = octets(body);
    let mut pieces = Pieces { body, at: 0 };
    (0..chunk_count(octets))
        .map(|number| {
            let total = octets.to_be_bytes();
            let mut payload: Vec<&[u8]> = vec![&total];
            payload.extend(pieces.take(CHUNK_OCTETS));
            put(Table::Chunks, &numbered_key(id, number), &payload)
        })
        .collect()
}

/// Octets of a body in segments.
pub(super) fn octets(body: &[Bytes]) -> u64 {
    body.iter().map(|segment| segment.len() as u64).sum()
}

/// Reads chunk `number` of a body of `octets`.
pub(super) fn read_chunk(id: QueueId, number: u32, octets: u64, found: &Bytes) -> Result<Bytes, Broken> {
    let payload = record::unseal(Table::Chunks, &numbered_key(id, number), found)?;
    let (total, content) = payload.split_first_chunk().ok_or(Broken::Content)?;
    let expected = octets.saturating_sub(u64::from(number) * CHUNK_OCTETS as u64).min(CHUNK_OCTETS as u64);
    if u64::from_be_bytes(*total) == octets && content.len() as u64 == expected {
        Ok(found.slice_ref(content))
    } else {
        Err(Broken::Content)
    }
}

/// Walks over the segments of a body.
struct Pieces<'a> {
    body: &'a [Bytes],
    /// How much of the first segment is taken.
    at: usize,
}

impl<'a> Pieces<'a> {
    /// The next `most` octets, in pieces.
    fn take(&mut self, mut most: usize) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while most > 0 {
            let Some((segment, rest)) = self.body.split_first() else { break };
            let left = segment.get(self.at..).unwrap_or_default();
            let piece = left.get(..most).unwrap_or(left);
            pieces.push(piece);
            most -= piece.len();
            self.at += piece.len();
            if self.at == segment.len() {
                (self.body, self.at) = (rest, 0);
            }
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_named_for_people() {
        let id = QueueId::new(1_795_000_000_000, 7);
        assert_eq!(name(Table::Messages, &message_key(id)), format!("messages {id}"));
        assert_eq!(name(Table::Deliveries, &numbered_key(id, 3)), format!("deliveries {id}/3"));
        assert_eq!(name(Table::Deliveries, b"x\n"), "deliveries x\\n");
    }

    #[test]
    fn more_octets_than_a_body_has_are_not_believed() {
        let key = numbered_key(QueueId::new(1, 0), 0);
        let read = |octets: u64| {
            let head: [&[u8]; 6] =
                [&0_i64.to_be_bytes(), &0_i32.to_be_bytes(), &octets.to_be_bytes(), &[0], &6_u16.to_be_bytes(), b"x.test"];
            read_entry(&key, &record::seal(Table::Deliveries, &key, &head)).map(|entry| entry.octets)
        };
        assert_eq!((read(BODY_OCTETS_MAX), read(BODY_OCTETS_MAX + 1)), (Ok(BODY_OCTETS_MAX), Err(Broken::Content)));
    }

    #[test]
    fn keys_sort_as_deliveries_do() {
        let keys = [(1, 0), (1, 1), (1, 256), (2, 0)].map(|(ms, number)| DeliveryKey { id: QueueId::new(ms, 0), number });
        assert!(keys.map(delivery_key).is_sorted());
        assert!(keys.iter().all(|key| parse_key(&delivery_key(*key)) == Some(*key)));
        assert_eq!(parse_key(&[0xff; 12]), None, "no id has so many bits");
        assert_eq!(parse_key(b"short"), None);
    }

    #[test]
    fn segments_become_chunks_at_any_border() {
        let id = QueueId::new(1, 1);
        for sizes in [vec![], vec![0, 0], vec![1], vec![CHUNK_OCTETS], vec![CHUNK_OCTETS - 1, 2], vec![3, CHUNK_OCTETS * 2, 0, 5]] {
            let body: Vec<Bytes> = sizes.iter().enumerate().map(|(n, size)| Bytes::from(vec![n as u8; *size])).collect();
            let total = octets(&body);
            let mut read = Vec::new();
            for (number, write) in (0..).zip(put_body(id, &body)) {
                assert_eq!(write.key, numbered_key(id, number));
                let record = Bytes::from(write.value.expect("a record"));
                read.extend_from_slice(&read_chunk(id, number, total, &record).expect("whole"));
                assert!(read_chunk(id, number, total + 1, &record).is_err(), "a body of another length is another body");
            }
            assert_eq!(read, body.concat(), "{sizes:?}");
        }
    }
}
