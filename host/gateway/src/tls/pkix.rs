//! Whether a certificate chain proves a name (RFC 5280, RFC 9525): webpki builds and checks the path, [`super::sound`] looks at what
//! webpki leaves alone, and a list of revoked certificates has its word.
//!
//! Outcomes are values: which class of trouble it was, and how an administrator would say it.

use super::crl::RevocationList;
use super::sound;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use secmx_core::channel::{Doubt, DoubtKind};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use webpki::{
    EndEntityCert, Error, KeyUsage, RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

/// Intermediate certificates on the way to an anchor; a chain of more is not followed.
const INTERMEDIATES_MAX: usize = 6;

/// Certificates of authorities that are believed.
#[derive(Debug, Default)]
pub struct Anchors {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<CertificateDer<'static>>,
}

/// What a path is held to.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The time of the check.
    pub now: UnixTime,
    /// Certificates between the peer's and an anchor, at most.
    pub intermediates_max: usize,
    /// What is known of revoked certificates.
    pub revocations: &'a [RevocationList],
    /// Whether a certificate counts as revoked when no list says otherwise.
    pub unknown_is_revoked: bool,
}

impl Terms<'_> {
    /// The usual terms, without lists.
    pub fn at(now: UnixTime) -> Self {
        Self { now, intermediates_max: INTERMEDIATES_MAX, revocations: &[], unknown_is_revoked: false }
    }
}

/// A further look at a path that was found.
type Look<'a> = dyn Fn(&VerifiedPath<'_>) -> Result<(), Error> + 'a;

impl Anchors {
    /// Those of these certificates that can be read. One that may not be an anchor by RFC 5280 is refused when a path would end at it.
    pub fn new(certificates: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        let mut anchors = Self::default();
        for certificate in certificates {
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned()) {
                anchors.anchors.push(anchor);
                anchors.certificates.push(certificate);
            }
        }
        anchors
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Whether the chain, end entity first, leads to one of the anchors, is sound, not revoked, and for one of the names.
    pub fn verify(&self, chain: &[CertificateDer<'_>], names: &[ServerName<'_>], terms: Terms<'_>) -> Result<(), Doubt> {
        if self.anchors.is_empty() {
            return Err(doubt(DoubtKind::CertificateNotTrusted, "no trust anchor is configured"));
        }
        let (leaf, intermediates) = split(chain)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|error| in_words(&error))?;
        let flaw = RefCell::new(None);
        let sound = |path: &VerifiedPath<'_>| {
            self.soundness(leaf, path, terms).map_err(|found| {
                flaw.replace(Some(found));
                Error::UnknownIssuer
            })
        };
        let outcome = self.path(&certificate, intermediates, terms.now, None, Some(&sound));
        let flawed = |error| flaw.take().map_or_else(|| in_words(&error), |flaw| doubt(DoubtKind::ValidationFailure, &flaw));
        outcome.map_err(flawed)?;
        self.revocation(&certificate, intermediates, terms)?;
        matches_one(&certificate, names)?;
        sound::names(leaf).map_err(|flaw| doubt(DoubtKind::ValidationFailure, &flaw))
    }

    /// The same without a look at what webpki leaves alone: for an authority that a domain names for itself (RFC 7672, 3.1.2).
    pub(super) fn verify_bare(&self, chain: &[CertificateDer<'_>], names: &[ServerName<'_>], now: UnixTime) -> Result<(), Doubt> {
        let (leaf, intermediates) = split(chain)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|error| in_words(&error))?;
        self.path(&certificate, intermediates, now, None, None).map_err(|error| in_words(&error))?;
        matches_one(&certificate, names)
    }

    fn path(
        &self,
        leaf: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        revocation: Option<RevocationOptions<'_>>,
        look: Option<&Look<'_>>,
    ) -> Result<(), Error> {
        let algorithms = super::provider().signature_verification_algorithms.all;
        leaf.verify_for_usage(algorithms, &self.anchors, intermediates, now, KeyUsage::server_auth(), revocation, look).map(drop)
    }

    /// What webpki leaves alone: each certificate of the path by itself, and how many there are.
    fn soundness(&self, leaf: &CertificateDer<'_>, path: &VerifiedPath<'_>, terms: Terms<'_>) -> Result<(), String> {
        let between: Vec<_> = path.intermediate_certificates().map(|certificate| certificate.der()).collect();
        let counted: Vec<_> = between.iter().filter(|certificate| !sound::is_self_issued(certificate)).collect();
        if counted.len() > terms.intermediates_max {
            return Err(format!("its chain has more than {} certificates", terms.intermediates_max));
        }
        sound::leaf(leaf)?;
        between.iter().try_for_each(|certificate| sound::intermediate(certificate))?;
        let anchor = self.anchors.iter().position(|anchor| anchor == path.anchor()).and_then(|place| self.certificates.get(place));
        anchor.map_or(Ok(()), |anchor| sound::anchor(anchor, terms.now))
    }

    /// "Only a fresh *revoked* is fatal, *unknown* is not" (profile), unless the operator wants it hard. Each list is asked by itself, so that
    /// one that is broken hides no other.
    fn revocation(&self, leaf: &EndEntityCert<'_>, intermediates: &[CertificateDer<'_>], terms: Terms<'_>) -> Result<(), Doubt> {
        let mut known = false;
        // webpki knows no key usage of an anchor.
        let may_sign = |list: &RevocationList| {
            let issuers = self.certificates.iter().filter_map(|anchor| sound::signs_lists(anchor, list.issuer()));
            issuers.fold(None, |any, may| Some(any.unwrap_or(false) || may)).unwrap_or(true)
        };
        for list in terms.revocations.iter().filter(|list| list.is_fresh(terms.now) && may_sign(list)) {
            let lists = [list.list()];
            let Ok(options) = RevocationOptionsBuilder::new(&lists) else { continue };
            let (policy, depth) = if terms.unknown_is_revoked {
                (UnknownStatusPolicy::Deny, RevocationCheckDepth::EndEntity)
            } else {
                (UnknownStatusPolicy::Allow, RevocationCheckDepth::Chain)
            };
            let options = options.with_status_policy(policy).with_depth(depth).build();
            match self.path(leaf, intermediates, terms.now, Some(options), None) {
                Err(Error::CertRevoked) => return Err(in_words(&Error::CertRevoked)),
                outcome => known |= outcome.is_ok(),
            }
        }
        if terms.unknown_is_revoked && !known {
            return Err(doubt(DoubtKind::ValidationFailure, "no list of revoked certificates says that it is still good"));
        }
        Ok(())
    }
}

fn split<'a, 'c>(chain: &'a [CertificateDer<'c>]) -> Result<(&'a CertificateDer<'c>, &'a [CertificateDer<'c>]), Doubt> {
    chain.split_first().ok_or_else(|| doubt(DoubtKind::CertificateNotTrusted, "the peer showed no certificate"))
}

/// Whether the certificate is for one of the names.
fn matches_one(certificate: &EndEntityCert<'_>, names: &[ServerName<'_>]) -> Result<(), Doubt> {
    let outcomes = names.iter().map(|name| certificate.verify_is_valid_for_subject_name(name));
    let mut worse = None;
    for outcome in outcomes {
        match outcome {
            Ok(()) => return Ok(()),
            Err(Error::CertNotValidForName(_)) => {}
            Err(error) => worse = Some(in_words(&error)),
        }
    }
    Err(worse.unwrap_or_else(|| mismatch(certificate, names)))
}

/// Names of the certificate as a peer would be told them.
fn mismatch(certificate: &EndEntityCert<'_>, names: &[ServerName<'_>]) -> Doubt {
    let presented: Vec<&str> = certificate.valid_dns_names().take(10).collect();
    let presented = if presented.is_empty() { "no host".to_owned() } else { presented.join(", ") };
    let wanted: BTreeSet<String> = names.iter().map(name_text).collect();
    let wanted = wanted.into_iter().collect::<Vec<_>>().join(" or ");
    doubt(DoubtKind::CertificateHostMismatch, &format!("its certificate is for {presented}, not for {wanted}"))
}

fn name_text(name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => name.as_ref().to_owned(),
        ServerName::IpAddress(address) => IpAddr::from(*address).to_string(),
        _ => String::new(),
    }
}

fn doubt(kind: DoubtKind, text: &str) -> Doubt {
    Doubt { kind, text: text.to_owned() }
}

/// Why a certificate proves nothing, as an administrator would say it.
fn in_words(error: &Error) -> Doubt {
    let days = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs()) / 86_400;
    match error {
        Error::CertExpired { time, not_after } => {
            let text = format!("its certificate expired {} days ago", days(*not_after, *time));
            doubt(DoubtKind::CertificateExpired, &text)
        }
        Error::CertNotValidYet { time, not_before } => {
            let text = format!("its certificate is not valid before {} days from now", days(*time, *not_before));
            doubt(DoubtKind::CertificateExpired, &text)
        }
        Error::UnknownIssuer => doubt(DoubtKind::CertificateNotTrusted, "its certificate comes from an authority that is not trusted here"),
        Error::CaUsedAsEndEntity => doubt(DoubtKind::CertificateNotTrusted, "its certificate is one of an authority, not of a host"),
        Error::CertRevoked => doubt(DoubtKind::ValidationFailure, "its certificate was revoked"),
        Error::RequiredEkuNotFoundContext(_) => doubt(DoubtKind::ValidationFailure, "its certificate is not for servers"),
        other => doubt(DoubtKind::ValidationFailure, &format!("its certificate is not valid: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_lab::ca::{Authority, Flaw};

    /// RFC 5280, 4.1.2.2 is about what a CA issues; roots with the number 0 are in use, and trusted because somebody put them there.
    #[test]
    fn a_root_with_the_serial_number_0_is_trusted_and_a_host_is_not() {
        let authority = Authority::with_serial_zero("old and honest").expect("a root");
        let anchors = Anchors::new([authority.root().clone()]);
        let names = [ServerName::try_from("mx.test").expect("a name")];
        let verify = |flaw| {
            let identity = authority.issue_with(&["mx.test"], flaw).expect("issued");
            anchors.verify(&identity.chain(), &names, Terms::at(UnixTime::now()))
        };
        assert_eq!(verify(Flaw::None), Ok(()));
        let doubt = verify(Flaw::SerialZero).expect_err("a host with the number 0");
        assert!(doubt.text.contains("serial number"), "{doubt}");
    }
}
