//! A keyed hash over what lies in the cache, so that only what this gateway put there is taken from it.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Octets of a key.
pub(super) const KEY_OCTETS: usize = 64;

/// Octets of a hash.
pub(super) const MAC_OCTETS: usize = 32;

/// The key of one cache.
pub(super) struct Seal([u8; KEY_OCTETS]);

impl Seal {
    pub(super) fn new(key: [u8; KEY_OCTETS]) -> Self {
        Self(key)
    }

    /// HMAC-SHA-256 (RFC 2104) over name and octets; the length of the name keeps the two apart.
    fn over(&self, name: &str, octets: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.0.into());
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(octets);
        mac
    }

    /// The hash to be put beside them.
    pub(super) fn mac(&self, name: &str, octets: &[u8]) -> [u8; MAC_OCTETS] {
        self.over(name, octets).finalize().into_bytes().into()
    }

    /// Whether that is the hash, compared in constant time.
    pub(super) fn proves(&self, name: &str, octets: &[u8], mac: &[u8]) -> bool {
        self.over(name, octets).verify_slice(mac).is_ok()
    }
}
