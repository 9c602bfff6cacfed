//! The zones of the world and their keys. The root and every top level domain are signed; a domain below them is an unsigned delegation
//! until it is signed by name (RFC 4034, RFC 4035).

use super::{TTL, fqdn};
use anyhow::Result;
use hickory_proto::dnssec::crypto::EcdsaSigningKey;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_proto::dnssec::{Algorithm, DigestType, DnssecSigner, SigningKey};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How a zone says that there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Denial {
    /// NSEC (RFC 4034, 4).
    #[default]
    Nsec,
    /// NSEC3 with this many more iterations, no salt, no opt-out (RFC 5155).
    Nsec3(u16),
}

/// What is wrong with the signatures of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Some bit of each is flipped.
    Flipped,
    /// They ended yesterday.
    Expired,
    /// They begin tomorrow.
    NotYetValid,
    /// They are left out.
    Stripped,
    /// They are made with a key that is not in the zone.
    ForeignKey,
    /// Its DS names an algorithm that nobody knows.
    UnknownAlgorithm,
    /// The keys of the root stand in for its own.
    KeysOfTheRoot,
    /// Beside the key that the DS names stands another, which nobody vouches for, and which signs everything.
    EvilKey,
    /// A hundred keys with one tag, and as many wrong signatures over everything.
    KeyTrap,
    /// Its DS is denied with its own apex NSEC instead of its parent's.
    DsDeniedByChild,
}

/// A zone that is signed.
pub(super) struct Signed {
    key: Key,
    stranger: Key,
    pub(super) fault: Fault,
    pub(super) denial: Denial,
}

struct Key {
    signer: DnssecSigner,
    dnskey: DNSKEY,
}

impl Key {
    fn new(zone: &Name) -> Result<Self> {
        Self::of(zone, &new_key()?)
    }

    fn of(zone: &Name, pkcs8: &[u8]) -> Result<Self> {
        let key = EcdsaSigningKey::from_pkcs8(&PrivatePkcs8KeyDer::from(pkcs8.to_vec()), Algorithm::ECDSAP256SHA256)?;
        let dnskey = DNSKEY::from_key(&key.to_public_key()?);
        Ok(Self { signer: DnssecSigner::new(dnskey.clone(), Box::new(key), zone.clone(), DAY), dnskey })
    }
}

/// A key for a zone, PKCS #8.
pub fn new_key() -> Result<Vec<u8>> {
    Ok(EcdsaSigningKey::generate_pkcs8(Algorithm::ECDSAP256SHA256)?.secret_pkcs8_der().to_vec())
}

/// What a resolver that validates makes of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Secure,
    Insecure,
    Bogus,
}

/// Every zone that is signed, by name.
pub(super) struct Zones {
    signed: HashMap<Name, Signed>,
    unsigned: HashSet<Name>,
}

impl Zones {
    /// A root that is signed with this key, or a new one.
    pub(super) fn new(root: Option<&[u8]>) -> Result<Self> {
        let mut zones = Self { signed: HashMap::new(), unsigned: HashSet::new() };
        zones.sign(&Name::root(), Denial::Nsec)?;
        if let (Some(root), Some(signed)) = (root, zones.signed.get_mut(&Name::root())) {
            signed.key = Key::of(&Name::root(), root)?;
        }
        Ok(zones)
    }

    /// How answers of that zone stand: it and every zone above it is signed, and without a fault.
    pub(super) fn standing(&self, zone: &Name) -> Standing {
        let (mut at, mut standing) = (zone.clone(), Standing::Secure);
        loop {
            if self.begins_at(&at) {
                match self.signed.get(&at).map(|signed| signed.fault) {
                    Some(Fault::None) => {}
                    None | Some(Fault::UnknownAlgorithm) => standing = Standing::Insecure,
                    Some(_) if standing == Standing::Secure => standing = Standing::Bogus,
                    Some(_) => {}
                }
            }
            if at.is_root() {
                return standing;
            }
            at = at.base_name();
        }
    }

    pub(super) fn sign(&mut self, zone: &Name, denial: Denial) -> Result<()> {
        let signed = Signed { key: Key::new(zone)?, stranger: Key::new(zone)?, fault: Fault::None, denial };
        self.signed.insert(zone.clone(), signed);
        Ok(())
    }

    pub(super) fn delegate(&mut self, zone: &Name) {
        self.unsigned.insert(zone.clone());
    }

    /// Makes the top level domain of a name known.
    pub(super) fn know(&mut self, name: &Name) {
        let top = name.trim_to(1);
        if top.num_labels() == 1 && !self.signed.contains_key(&top) {
            // A key that cannot be made leaves the domain unsigned, and the test that wants it signed fails.
            let _ = self.sign(&top, Denial::Nsec);
        }
    }

    pub(super) fn spoil(&mut self, zone: &Name, fault: Fault) {
        if let Some(signed) = self.signed.get_mut(zone) {
            signed.fault = fault;
        }
    }

    pub(super) fn signed(&self, zone: &Name) -> Option<&Signed> {
        self.signed.get(zone)
    }

    /// Whether a zone begins at that name.
    pub(super) fn begins_at(&self, name: &Name) -> bool {
        // Unlike `num_labels`, this counts the label of a wildcard.
        name.iter().count() <= 2 || self.signed.contains_key(name) || self.unsigned.contains(name)
    }

    /// The zone that answers for `kind` at that name: a DS lies in the parent (RFC 4035, 3.1.4.1).
    pub(super) fn zone_of(&self, name: &Name, kind: RecordType) -> Name {
        let mut zone = if kind == RecordType::DS && !name.is_root() { name.base_name() } else { name.clone() };
        while !self.begins_at(&zone) {
            zone = zone.base_name();
        }
        zone
    }

    /// The keys of a zone, as it shows them.
    pub(super) fn keys(&self, zone: &Name) -> Vec<RData> {
        let Some(signed) = self.signed.get(zone) else { return Vec::new() };
        let own = &signed.key.dnskey;
        let keys = match signed.fault {
            Fault::KeysOfTheRoot => self.signed.get(&Name::root()).map(|root| root.key.dnskey.clone()).into_iter().collect(),
            Fault::EvilKey => vec![own.clone(), signed.stranger.dnskey.clone()],
            Fault::KeyTrap => std::iter::once(own.clone()).chain((0..100).map(|turn| collision(own, turn))).collect(),
            _ => vec![own.clone()],
        };
        keys.into_iter().map(|key| RData::DNSSEC(DNSSECRData::DNSKEY(key))).collect()
    }

    /// What the parent says of the key of a zone.
    pub(super) fn ds(&self, zone: &Name) -> Option<RData> {
        let signed = self.signed.get(zone)?;
        let own = &signed.key.dnskey;
        let digest = own.to_digest(zone, DigestType::SHA256).ok()?;
        let algorithm = if signed.fault == Fault::UnknownAlgorithm { Algorithm::from_u8(200) } else { Algorithm::ECDSAP256SHA256 };
        let ds = DS::new(own.calculate_key_tag().ok()?, algorithm, DigestType::SHA256, digest.as_ref().to_vec());
        (signed.fault != Fault::DsDeniedByChild).then_some(RData::DNSSEC(DNSSECRData::DS(ds)))
    }

    /// The root's key as a line of a zone file: what a believer begins with.
    pub(super) fn anchor(&self) -> String {
        let key = self.signed.get(&Name::root()).map(|root| root.key.dnskey.to_string()).unwrap_or_default();
        format!(". {TTL} IN DNSKEY {key}\n")
    }

    /// Signatures of a zone over one set, with the zone's fault. Empty for a zone that is not signed.
    pub(super) fn signatures(&self, zone: &Name, owner: &Name, kind: RecordType, records: &[Record]) -> Vec<Record> {
        let Some(signed) = self.signed.get(zone) else { return Vec::new() };
        let signer = match signed.fault {
            Fault::ForeignKey | Fault::EvilKey => &signed.stranger.signer,
            _ => &signed.key.signer,
        };
        let now = OffsetDateTime::now_utc() - time::Duration::hours(1);
        let begins = match signed.fault {
            Fault::Stripped => return Vec::new(),
            Fault::Expired => now - time::Duration::days(2),
            Fault::NotYetValid => now + time::Duration::days(1),
            _ => now,
        };
        let Some(rrsig) = sign(owner, kind, records, begins, signer) else { return Vec::new() };
        let record = |rrsig: RRSIG| Record::from_rdata(owner.clone(), TTL, RData::DNSSEC(DNSSECRData::RRSIG(rrsig)));
        match signed.fault {
            Fault::Flipped => vec![record(flipped(&rrsig, 0))],
            Fault::KeyTrap => (0..100).map(|turn| record(flipped(&rrsig, turn))).collect(),
            _ => vec![record(rrsig)],
        }
    }
}

fn sign(owner: &Name, kind: RecordType, records: &[Record], begins: OffsetDateTime, signer: &DnssecSigner) -> Option<RRSIG> {
    let mut set = RecordSet::with_ttl(owner.clone(), kind, records.first()?.ttl);
    set.set_records(records.to_vec());
    RRSIG::from_rrset(&set, DNSClass::IN, begins, signer).ok()
}

fn flipped(rrsig: &RRSIG, turn: usize) -> RRSIG {
    let mut signature = rrsig.sig().to_vec();
    let place = turn % signature.len().max(1);
    if let Some(octet) = signature.get_mut(place) {
        *octet ^= 1 + u8::try_from(turn / 64).unwrap_or_default();
    }
    RRSIG::from_sig(rrsig.input().clone(), signature)
}

/// Another key with the same tag: the tag is a sum of 16 bit words (RFC 4034, B), so words may change places.
fn collision(own: &DNSKEY, turn: usize) -> DNSKEY {
    use hickory_proto::dnssec::{PublicKey, PublicKeyBuf};
    let mut octets = own.public_key().public_bytes().to_vec();
    let words = octets.len() / 2;
    let (one, other) = (turn % words, (turn / words + turn + 1) % words);
    for half in 0..2 {
        octets.swap(one * 2 + half, other * 2 + half);
    }
    DNSKEY::with_flags(own.flags(), PublicKeyBuf::new(octets, Algorithm::ECDSAP256SHA256))
}

/// The name of a zone, as a test writes it.
pub(super) fn zone_name(zone: &str) -> Name {
    if zone == "." { Name::root() } else { fqdn(zone) }
}
