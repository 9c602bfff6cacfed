//! `[authentication]`: what is found out about who wrote mail from outside.

use super::reader::Section;
use secmx_core::mail::Domain;
use std::time::Duration;

/// `[authentication]`: SPF, DKIM and DMARC of mail from outside: from a client that may not send elsewhere and did not authenticate, on a
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
}

impl Authentication {
    pub(super) fn read(section: &mut Section<'_>, hostname: &Domain) -> Self {
        Self {
            results: section.or("results", false),
            id: section.or("id", hostname.clone()),
            time: section.or("time", Duration::from_secs(3)),
            signatures: section.or("signatures", 5),
        }
    }
}
