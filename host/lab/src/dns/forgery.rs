//! Replies that somebody put together from genuine parts: each signature in them is right, and what they say is not so (RFC 4035, 5.4).

use super::{Dns, TTL, fqdn};
use anyhow::{Result, ensure};
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// What is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// There is no such name, says an NSEC that nobody signed; beside it, at the same owner, stands one that is genuine.
    NsecBeside,
    /// The same, and nothing but the zone's SOA beside it is genuine.
    NsecAlone,
    /// Records of the wildcard above the name, with the genuine proof that the name itself is there and has none of the kind.
    Wildcard,
}

impl Dns {
    /// Puts this in the place of what is said to that question from now on. Errors when the parts that it takes are not there.
    pub fn forge(&self, name: &str, kind: RecordType, forgery: Forgery) -> Result<()> {
        match forgery {
            Forgery::NsecBeside | Forgery::NsecAlone => self.deny(name, kind, forgery),
            Forgery::Wildcard => self.expand(name, kind),
        }
    }

    fn deny(&self, name: &str, kind: RecordType, forgery: Forgery) -> Result<()> {
        let zone = self.zone_of(name, kind);
        // The genuine one says that the zone itself has no record of a kind that it lacks.
        let mut genuine = self.said(&zone, RecordType::HINFO)?.authorities;
        ensure!(genuine.iter().any(|record| record.record_type() == RecordType::NSEC), "{zone} does not deny with NSEC");
        if forgery == Forgery::NsecAlone {
            genuine.retain(|record| !covers(record, RecordType::NSEC));
        }
        // A span from a zone to itself is the whole zone.
        let everything = NSEC::new_cover_self(zone.clone(), [RecordType::NS, RecordType::SOA]);
        genuine.push(Record::from_rdata(zone, TTL, RData::DNSSEC(DNSSECRData::NSEC(everything))));
        self.twist_to_bogus(name, kind, move |reply| {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.answers.clear();
            reply.authorities.clone_from(&genuine);
        });
        Ok(())
    }

    fn expand(&self, name: &str, kind: RecordType) -> Result<()> {
        let mut answers = self.said(&fqdn(name).base_name().prepend_label("*")?, kind)?.answers;
        ensure!(answers.iter().any(|record| record.record_type() == RecordType::RRSIG), "no wildcard above {name}");
        answers.iter_mut().for_each(|record| record.name = fqdn(name));
        self.twist_to_bogus(name, kind, move |reply| {
            reply.metadata.response_code = ResponseCode::NoError;
            reply.answers.clone_from(&answers);
        });
        Ok(())
    }

    fn zone_of(&self, name: &str, kind: RecordType) -> Name {
        self.zone.zones().zone_of(&fqdn(name), kind)
    }
}

/// Whether a record is of that kind, or the signature of one.
fn covers(record: &Record, kind: RecordType) -> bool {
    let covered = match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => rrsig.input().type_covered,
        _ => record.record_type(),
    };
    covered == kind
}
