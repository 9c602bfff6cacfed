//! Whether a certificate chain is what TLSA records say (RFC 6698, 2.1; RFC 7671, 5; RFC 7672, 3.1).

use super::pkix::Anchors;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use secmx_core::channel::{Doubt, DoubtKind};
use secmx_core::secmx::dane::{DANE_EE, DANE_TA, TlsaRecord};
use sha2::{Digest, Sha256, Sha512};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whether one of the records, all of them usable, matches. With DANE-EE the key is everything: names and times do not count (RFC 7672,
/// 3.1.1). With DANE-TA the chain must lead to the certificate that matched, and be for one of the names (3.1.2).
pub(super) fn verify(records: &[TlsaRecord], chain: &[CertificateDer<'_>], names: &[ServerName<'_>], now: UnixTime) -> Result<(), Doubt> {
    let Some((leaf, above)) = chain.split_first() else { return Err(unmatched("the peer showed no certificate".into())) };
    if records.iter().any(|record| record.usage == DANE_EE && matches(record, leaf)) {
        return Ok(());
    }
    let authorities = || records.iter().filter(|record| record.usage == DANE_TA);
    let shown = above.iter().filter(|certificate| authorities().any(|record| matches(record, certificate)));
    // A record may hold the whole certificate, which the server need not send then (RFC 7671, 5.2.3 advises that it does).
    let held = authorities().filter(|record| (record.selector, record.matching) == (0, 0)).map(|record| record.data.clone().into());
    let anchors = Anchors::new(shown.map(|certificate| certificate.clone().into_owned()).chain(held));
    if anchors.is_empty() {
        return Err(unmatched("none of its TLSA records matches its certificate".into()));
    }
    anchors.verify_bare(chain, names, now).map_err(|doubt| unmatched(format!("its TLSA records match, but {doubt}")))
}

fn unmatched(text: String) -> Doubt {
    Doubt { kind: DoubtKind::TlsaInvalid, text }
}

fn matches(record: &TlsaRecord, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => Some(certificate.to_vec()),
        _ => key_of(certificate),
    };
    selected.is_some_and(|selected| match record.matching {
        0 => selected == record.data,
        1 => Sha256::digest(&selected).as_slice() == record.data,
        _ => Sha512::digest(&selected).as_slice() == record.data,
    })
}

/// SubjectPublicKeyInfo, DER.
pub(super) fn key_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed.public_key().raw.to_vec())
}
