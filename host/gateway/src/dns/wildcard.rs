//! Answers out of a wildcard (RFC 4592), proved with NSEC.
//!
//! The validator underneath wants an NSEC record to cover the wildcard itself, which is there, and so takes every such answer for bogus. What
//! RFC 4035, 5.3.4 asks for is checked here, on records whose signatures it has verified.

use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Whether the message answers the question, and proves of every set in it that comes out of a wildcard that the wildcard applies. Without
/// such a set there is nothing that it could prove.
pub(super) fn is_proved(query: &Query, message: &Message) -> bool {
    let kinds = [query.query_type(), RecordType::CNAME];
    let answers = message.answers.iter().any(|record| record.name == *query.name() && kinds.contains(&record.record_type()));
    let mut expanded = message.answers.iter().filter_map(|record| Some((&record.name, signature(record)?))).filter(|(owner, rrsig)| {
        // An owner name that is a wildcard itself was asked for by that name; its label does not count here.
        rrsig.input().num_labels < owner.num_labels()
    });
    let proved = |(owner, rrsig): (&Name, &RRSIG)| is_alone(owner, rrsig, message);
    message.metadata.response_code == ResponseCode::NoError && answers && expanded.next().is_some_and(proved) && expanded.all(proved)
}

/// Whether nothing in the zone is closer to the name than the wildcard: the name one label below the one that the wildcard stands at is not
/// there, and so nothing below it is.
fn is_alone(owner: &Name, rrsig: &RRSIG, message: &Message) -> bool {
    let (zone, next_closer) = (&rrsig.input().signer_name, owner.trim_to(usize::from(rrsig.input().num_labels) + 1));
    message.authorities.iter().any(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
            record.proof == Proof::Secure && is_signed_by(zone, &record.name, message) && covers(zone, &record.name, nsec, &next_closer)
        }
        _ => false,
    })
}

/// Whether the signature that was believed over the NSEC of that name is the zone's own.
fn is_signed_by(zone: &Name, owner: &Name, message: &Message) -> bool {
    let own = |record: &&Record| record.name == *owner && record.proof == Proof::Secure;
    let signatures = message.authorities.iter().filter(own).filter_map(signature);
    signatures.filter(|rrsig| rrsig.input().type_covered == RecordType::NSEC).any(|rrsig| rrsig.input().signer_name == *zone)
}

/// Whether an NSEC says that there is no such name, nor one below it.
fn covers(zone: &Name, owner: &Name, nsec: &NSEC, name: &Name) -> bool {
    let (next, kinds) = (nsec.next_domain_name(), nsec.type_set());
    // RFC 6840, 4.1: what a parent says at a delegation, or where a DNAME stands, says nothing of the names below.
    let delegates = kinds.contains(RecordType::NS) && !kinds.contains(RecordType::SOA);
    let leads_away = owner.zone_of(name) && (delegates || kinds.contains(RecordType::DNAME));
    let between = owner < name && (name < next || next == zone);
    between && !name.zone_of(next) && !leads_away
}

fn signature(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some(rrsig),
        _ => None,
    }
}
