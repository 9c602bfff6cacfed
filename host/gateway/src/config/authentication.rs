//! `[authentication]`: what is found out about who wrote mail from outside.

use super::dkim::Dkim;
use super::finding::Code;
use super::reader::Section;
use secmx_core::mail::Domain;
use std::time::Duration;

/// `[authentication]`: SPF, DKIM, ARC and DMARC of mail from outside: from a client that may not send elsewhere and did not authenticate, on a
/// listener that is not `trusted`. Nothing is looked up unless a policy asks, or `results` is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// `results`: whether mail from outside gets a field Authentication-Results (RFC 8601); fields in it that claim to be from us are
    /// removed then. Default false.
    pub results: bool,
    /// `id`: the name that we have in that field; hosts inside believe what stands behind it. Default `hostname`.
    pub id: Domain,
    /// `time`: for all look-ups about one message; less than `policy.limits.wall`. What cannot be told by then is `temperror`. Default
    /// `"3s"`.
    pub time: Duration,
    /// `signatures`: DKIM signatures of one message that are verified, from the top. Default 5.
    pub signatures: usize,
    /// `seal`: a domain of `dkim.keys`. Mail from outside goes on with what was found of it sealed as this domain (ARC, RFC 8617), with the
    /// first of its keys there: RSA, because few verify others. The host behind can believe the results then, although a policy changed
    /// the message, when it trusts the domain to seal. Needs `results`. Default none: nothing is sealed.
    pub seal: Option<Domain>,
}

impl Authentication {
    pub(super) fn read(section: &mut Section<'_>, hostname: &Domain, dkim: &Dkim) -> Self {
        let results = section.or("results", false);
        Self {
            seal: seal(section, results, dkim),
            results,
            id: section.or("id", hostname.clone()),
            time: section.or("time", Duration::from_secs(3)),
            signatures: section.or("signatures", 5),
        }
    }
}

/// RFC 8617, 4.1.1: what is sealed are the results, so that there must be some; and a key.
fn seal(section: &mut Section<'_>, results: bool, dkim: &Dkim) -> Option<Domain> {
    let domain = section.optional::<Domain>("seal")?;
    if !results {
        let message = "`authentication.seal` needs `authentication.results = true`: what is sealed are the results";
        section.reader.error(section.span_of("seal"), Code::Contradiction, message);
    }
    if !dkim.keys.iter().any(|key| key.domain == domain) {
        section.reader.error(section.span_of("seal"), Code::MissingKey, format!("`dkim.keys` has no key of {domain} to seal with"));
    }
    Some(domain)
}
