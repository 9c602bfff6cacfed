//! Escrow: S/MIME that is encrypted to a key of the operator's is opened for inspection, and for nothing else: the message travels on as
//! it came, and the key never enters a sandbox.

mod cipher;
mod envelope;
mod key;

use crate::opacity;
use bytes::Bytes;
use envelope::Envelope;
use key::Key;
use std::fmt;

/// Why a key of escrow is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscrowError(String);

impl fmt::Display for EscrowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EscrowError {}

/// The keys of escrow; none by default.
#[derive(Debug, Default)]
pub struct Escrow(Vec<Key>);

impl Escrow {
    /// Adds a certificate (DER) and its private key (PKCS #8, DER): RSA, or a key on P-256, P-384 or P-521. Errors, in one sentence, when
    /// one of them cannot be used.
    pub fn add(&mut self, certificate: &[u8], key: &[u8]) -> Result<(), EscrowError> {
        self.0.push(Key::new(certificate, key).map_err(|error| EscrowError(error.into()))?);
        Ok(())
    }

    /// Whether this is CMS that a key here could open: the octets of it, without the armour of PEM.
    pub(crate) fn recognise(&self, octets: &Bytes) -> Option<Bytes> {
        if self.0.is_empty() {
            return None;
        }
        let octets = if octets.starts_with(b"-----BEGIN ") { opacity::pem(octets)?.into() } else { octets.clone() };
        let is_ours = Envelope::read(&octets).is_some_and(|envelope| self.0.iter().any(|key| key.is_for(&envelope)));
        is_ours.then_some(octets)
    }

    /// What was encrypted: an entity with its own header. `None` when it does not open; why, cannot be told from outside.
    pub(crate) fn open(&self, octets: &Bytes) -> Option<Bytes> {
        let envelope = Envelope::read(octets)?;
        let content_key = self.0.iter().find_map(|key| key.unwrap(&envelope))?;
        cipher::decrypt(&envelope, &content_key).map(Bytes::from)
    }
}
