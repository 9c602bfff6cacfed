//! Lists of revoked certificates (RFC 5280, 5): what is known of them, and since when. Nothing is fetched here, and nothing waits for one.

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use webpki::{BorrowedCertRevocationList, CertRevocationList};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate, X509Extension};
use x509_parser::revocation_list::CertificateRevocationList;

/// Places of lists that are remembered.
const WANTED_MAX: usize = 500;

/// Certificates of one chain that are looked at.
const WANTED_OF: usize = 4;

/// One list.
#[derive(Clone)]
pub struct RevocationList {
    list: Arc<CertRevocationList<'static>>,
    /// Seconds since 1970-01-01T00:00:00Z.
    next_update: Option<i64>,
    /// Name of who signed it, DER.
    issuer: Vec<u8>,
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList").field("next_update", &self.next_update).finish_non_exhaustive()
    }
}

impl RevocationList {
    /// Reads a list, DER or PEM. Errors say what is wrong with it, in words.
    pub fn read(octets: &[u8]) -> Result<Self, String> {
        let der = match x509_parser::pem::parse_x509_pem(octets) {
            Ok((_, pem)) if pem.label == "X509 CRL" => pem.contents,
            _ => octets.to_vec(),
        };
        let (_, parsed) = CertificateRevocationList::from_der(&der).map_err(|_| "it is no list of revoked certificates".to_owned())?;
        // RFC 5280, 5.2.3: "CRL issuers conforming to this profile MUST include this extension in all CRLs and MUST mark this extension as
        // non-critical."
        let number = |extension: &&X509Extension<'_>| matches!(extension.parsed_extension(), ParsedExtension::CRLNumber(_));
        if parsed.extensions().iter().find(number).is_none_or(|number| number.critical) {
            return Err("it has no number, or one that is critical (RFC 5280, 5.2.3)".into());
        }
        let issuer = parsed.issuer().as_raw().to_vec();
        let next_update = parsed.next_update().map(|time| time.timestamp());
        let borrowed = BorrowedCertRevocationList::from_der(&der).map_err(|error| error.to_string())?;
        let owned = borrowed.to_owned().map_err(|error| error.to_string())?;
        Ok(Self { list: Arc::new(owned.into()), next_update, issuer })
    }

    /// Whether its own time is not over: a list that ought to have been replaced says nothing any more.
    pub(super) fn is_fresh(&self, now: UnixTime) -> bool {
        self.next_update.is_none_or(|until| i64::try_from(now.as_secs()).is_ok_and(|now| now <= until))
    }

    pub(super) fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    pub(super) fn list(&self) -> &CertRevocationList<'static> {
        &self.list
    }
}

/// The lists in force, by the place each came from. Readers never wait.
#[derive(Debug, Default)]
pub struct Revocations {
    lists: ArcSwap<BTreeMap<String, RevocationList>>,
    wanted: Mutex<BTreeSet<String>>,
}

impl Revocations {
    /// Puts a list in the place of the last one from there.
    pub fn put(&self, place: &str, list: &RevocationList) {
        self.lists.rcu(|lists| {
            let mut lists = BTreeMap::clone(lists);
            lists.insert(place.to_owned(), list.clone());
            lists
        });
    }

    /// Where certificates that were believed say that their lists are (RFC 5280, 4.2.1.13).
    pub fn wanted(&self) -> Vec<String> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Takes note of where the lists for these certificates are, for whoever fetches in the background.
    pub(super) fn want(&self, chain: &[CertificateDer<'_>]) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for certificate in chain.iter().take(WANTED_OF) {
            let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { continue };
            let points = parsed.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
                ParsedExtension::CRLDistributionPoints(points) => Some(points.points.iter()),
                _ => None,
            });
            let names = points.flatten().filter_map(|point| match &point.distribution_point {
                Some(DistributionPointName::FullName(names)) => Some(names.iter()),
                _ => None,
            });
            for name in names.flatten() {
                if let GeneralName::URI(url) = name
                    && url.starts_with("http://")
                    && wanted.len() < WANTED_MAX
                {
                    wanted.insert((*url).to_owned());
                }
            }
        }
    }

    /// All lists.
    pub fn all(&self) -> Vec<RevocationList> {
        self.lists.load().values().cloned().collect()
    }
}
