//! What TLSA records demand of an exchanger (RFC 6698; RFC 7671; RFC 7672 for mail; RFC 7673 for SRV targets).
//!
//! Facts in, a value out: whether TLS is demanded and what the certificate must match. Nothing here hashes or verifies.

use super::discovery::{Answer, Told};
use crate::report::Cause;
use std::fmt;

/// Records of one set that are used; a set that is longer is cut, so that strangers cannot buy our time.
const RECORDS_MAX: usize = 64;

/// Certificate usage DANE-TA(2), RFC 7672, 3.1.2: the certificate of an authority.
pub const DANE_TA: u8 = 2;
/// Certificate usage DANE-EE(3), RFC 7672, 3.1.1: the certificate of the host itself.
pub const DANE_EE: u8 = 3;

/// One TLSA record as it stands in DNS (RFC 6698, 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsaRecord {
    /// Certificate usage.
    pub usage: u8,
    /// Selector: 0 the whole certificate, 1 its SubjectPublicKeyInfo.
    pub selector: u8,
    /// Matching type: 0 as it is, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

impl fmt::Display for TlsaRecord {
    /// As it stands in a zone file (RFC 6698, 2.2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl TlsaRecord {
    /// RFC 7672, 3.1.3 leaves usages PKIX-TA(0) and PKIX-EE(1) undefined for mail, so they are unusable here, as is what is malformed or
    /// unknown.
    fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, DANE_TA | DANE_EE) && self.selector <= 1 && length
    }
}

/// What the TLSA records of one exchanger come to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Tlsa {
    /// DANE says nothing: no secure record.
    #[default]
    Absent,
    /// There are secure records and none can be used: TLS is demanded, who the peer is is not (RFC 7672, 2.2).
    Unusable,
    /// One of these must match, and TLS is demanded.
    Usable(Vec<TlsaRecord>),
}

impl Tlsa {
    /// The records that count. RFC 7671, 9: of the digests that are published for one usage and selector only the strongest is looked at,
    /// so that a weak one cannot undo it.
    pub fn of(records: &[TlsaRecord]) -> Self {
        let usable: Vec<&TlsaRecord> = records.iter().filter(|record| record.is_usable()).take(RECORDS_MAX).collect();
        let strongest = |one: &TlsaRecord| {
            let kin = usable.iter().filter(|other| (other.usage, other.selector) == (one.usage, one.selector));
            kin.map(|other| other.matching).max().unwrap_or_default()
        };
        let counted = usable.iter().filter(|record| record.matching == 0 || record.matching == strongest(record));
        let counted: Vec<TlsaRecord> = counted.map(|record| (*record).clone()).collect();
        match (records.is_empty(), counted.is_empty()) {
            (true, _) => Self::Absent,
            (false, true) => Self::Unusable,
            (false, false) => Self::Usable(counted),
        }
    }
}

/// Owner name of the TLSA records of a TCP port (RFC 6698, 3).
pub fn tlsa_owner(port: u16, host: &str) -> String {
    format!("_{port}._tcp.{host}")
}

/// What an answer about TLSA records comes to. Records of an insecure zone say nothing; an answer that failed, or that nobody gave, puts
/// the host out for now (RFC 7672, 2.1.1). Bogus is never read as absent (S-3).
pub fn demanded(answer: &Told<TlsaRecord>) -> Result<Tlsa, Cause> {
    match &answer.answer {
        Answer::Found(records) if answer.secure => Ok(Tlsa::of(records)),
        Answer::Found(_) | Answer::None | Answer::Denied => Ok(Tlsa::Absent),
        Answer::Unknown(why) => Err(Cause::DnsUnknown(format!("its TLSA records: {why}"))),
        Answer::Bogus(why) => Err(Cause::DnsBogus(format!("its TLSA records: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(usage: u8, selector: u8, matching: u8, octets: usize) -> TlsaRecord {
        TlsaRecord { usage, selector, matching, data: vec![7; octets] }
    }

    fn usable(records: &[TlsaRecord]) -> Vec<(u8, u8, u8)> {
        match Tlsa::of(records) {
            Tlsa::Usable(records) => records.iter().map(|record| (record.usage, record.selector, record.matching)).collect(),
            Tlsa::Absent | Tlsa::Unusable => Vec::new(),
        }
    }

    #[test]
    fn usages_2_and_3_count_and_nothing_malformed() {
        assert_eq!(Tlsa::of(&[]), Tlsa::Absent);
        for bad in [
            record(0, 0, 1, 32),
            record(1, 1, 1, 32),
            record(10, 1, 1, 32),
            record(3, 2, 1, 32),
            record(3, 1, 3, 32),
            record(3, 1, 1, 16),
            record(3, 1, 2, 32),
            record(3, 0, 0, 0),
        ] {
            assert_eq!(Tlsa::of(std::slice::from_ref(&bad)), Tlsa::Unusable, "{bad:?}");
            assert_eq!(usable(&[bad, record(3, 1, 1, 32)]), [(3, 1, 1)], "one good record is enough");
        }
    }

    /// RFC 7671, 9.
    #[test]
    fn the_strongest_digest_of_a_usage_and_selector_counts() {
        let all = [record(3, 1, 1, 32), record(3, 1, 2, 64), record(3, 0, 1, 32), record(2, 1, 1, 32), record(3, 1, 0, 9)];
        assert_eq!(usable(&all), [(3, 1, 2), (3, 0, 1), (2, 1, 1), (3, 1, 0)]);
    }

    #[test]
    fn a_thousand_records_are_cut() {
        assert_eq!(usable(&vec![record(3, 1, 1, 32); 1000]).len(), RECORDS_MAX);
    }

    #[test]
    fn s_3_bogus_and_unknown_are_not_absent() {
        let told = |answer, secure| demanded(&Told { answer, secure });
        assert_eq!(told(Answer::None, true), Ok(Tlsa::Absent));
        assert_eq!(told(Answer::Found(vec![record(3, 1, 1, 32)]), false), Ok(Tlsa::Absent), "an insecure zone says nothing");
        assert!(matches!(told(Answer::Found(vec![record(3, 1, 1, 32)]), true), Ok(Tlsa::Usable(_))));
        assert!(matches!(told(Answer::Bogus(String::new()), false), Err(Cause::DnsBogus(_))));
        assert!(matches!(told(Answer::Unknown(String::new()), false), Err(Cause::DnsUnknown(_))));
    }
}
