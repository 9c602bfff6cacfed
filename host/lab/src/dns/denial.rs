//! Proof that there is nothing: NSEC (RFC 4034, 4; RFC 4035, 3.1.3) and NSEC3 (RFC 5155, 7.2).

use super::TTL;
use super::zones::{Denial, Signed, Zones};
use hickory_proto::dnssec::Nsec3HashAlgorithm;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, NSEC3};
use hickory_proto::rr::{Label, Name, RData, Record, RecordType};
use std::collections::{BTreeMap, BTreeSet};

/// Names of one zone with the kinds of records at each; names that only others stand below have none.
pub(super) type Contents = BTreeMap<Name, BTreeSet<RecordType>>;

/// The records, without signatures, that deny `kind` at `name`.
pub(super) fn deny(zones: &Zones, zone: &Name, contents: &Contents, name: &Name, kind: RecordType) -> Vec<Record> {
    let Some(signed) = zones.signed(zone) else { return Vec::new() };
    if contents.contains_key(name) || kind == RecordType::DS {
        return vec![at(signed, zone, contents, name)].into_iter().flatten().collect();
    }
    let mut encloser = name.base_name();
    let mut next_closer = name.clone();
    while !contents.contains_key(&encloser) && encloser != *zone {
        next_closer = encloser.clone();
        encloser = encloser.base_name();
    }
    let Ok(wildcard) = encloser.prepend_label("*") else { return Vec::new() };
    let mut records: Vec<Record> = match signed.denial {
        Denial::Nsec => [covering(zone, contents, name), covering(zone, contents, &wildcard)].into_iter().flatten().collect(),
        Denial::Nsec3(_) => {
            let ring = ring(signed, contents);
            let matching = at(signed, zone, contents, &encloser);
            let covers = [&next_closer, &wildcard].into_iter().filter_map(|name| around(signed, zone, &ring, name));
            matching.into_iter().chain(covers).collect()
        }
    };
    records.dedup();
    if records.len() == 3 && records.first() == records.last() {
        records.pop();
    }
    records
}

/// The record of the name itself, which says what kinds are there.
fn at(signed: &Signed, zone: &Name, contents: &Contents, name: &Name) -> Option<Record> {
    let kinds = contents.get(name).cloned().unwrap_or_default();
    match signed.denial {
        Denial::Nsec => Some(nsec(name, next(zone, contents, name), kinds)),
        Denial::Nsec3(_) => {
            let ring = ring(signed, contents);
            let own = hash(signed, name)?;
            let next = ring.range(own.clone()..).nth(1).or_else(|| ring.iter().next())?.0.clone();
            nsec3(signed, zone, &own, next, kinds)
        }
    }
}

/// The record whose span holds a name that is not there.
fn covering(zone: &Name, contents: &Contents, name: &Name) -> Option<Record> {
    let (owner, kinds) = contents.range(..name.clone()).next_back()?;
    Some(nsec(owner, next(zone, contents, owner), kinds.clone()))
}

fn next(zone: &Name, contents: &Contents, name: &Name) -> Name {
    contents.range(name.clone()..).find(|(other, _)| *other != name).map_or_else(|| zone.clone(), |(other, _)| other.clone())
}

fn nsec(owner: &Name, next: Name, kinds: BTreeSet<RecordType>) -> Record {
    Record::from_rdata(owner.clone(), TTL, RData::DNSSEC(DNSSECRData::NSEC(NSEC::new_cover_self(next, kinds))))
}

type Ring = BTreeMap<Vec<u8>, BTreeSet<RecordType>>;

fn ring(signed: &Signed, contents: &Contents) -> Ring {
    contents.iter().filter_map(|(name, kinds)| Some((hash(signed, name)?, kinds.clone()))).collect()
}

fn hash(signed: &Signed, name: &Name) -> Option<Vec<u8>> {
    let Denial::Nsec3(iterations) = signed.denial else { return None };
    Some(Nsec3HashAlgorithm::SHA1.hash(&[], name, iterations).ok()?.as_ref().to_vec())
}

fn around(signed: &Signed, zone: &Name, ring: &Ring, name: &Name) -> Option<Record> {
    let hashed = hash(signed, name)?;
    let (own, kinds) = ring.range(..hashed.clone()).next_back().or_else(|| ring.iter().next_back())?;
    let next = ring.range(hashed..).next().or_else(|| ring.iter().next())?.0.clone();
    nsec3(signed, zone, own, next, kinds.clone())
}

fn nsec3(signed: &Signed, zone: &Name, own: &[u8], next: Vec<u8>, mut kinds: BTreeSet<RecordType>) -> Option<Record> {
    let Denial::Nsec3(iterations) = signed.denial else { return None };
    let owner = zone.prepend_label(Label::from_ascii(&base32(own)).ok()?).ok()?;
    // RFC 5155, 3.2.1: a name without records has no RRSIG either.
    if !kinds.is_empty() {
        kinds.insert(RecordType::RRSIG);
    }
    let data = NSEC3::new(Nsec3HashAlgorithm::SHA1, false, iterations, Vec::new(), next, kinds);
    Some(Record::from_rdata(owner, TTL, RData::DNSSEC(DNSSECRData::NSEC3(data))))
}

/// Base32 with the extended hex alphabet and no padding (RFC 5155, 3.3; RFC 4648, 7). SHA-1 gives 160 bits, a whole number of characters.
fn base32(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let (mut bits, mut held, mut text) = (0_u32, 0, String::new());
    for octet in octets {
        bits = (bits << 8) | u32::from(*octet);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
        }
    }
    text
}
