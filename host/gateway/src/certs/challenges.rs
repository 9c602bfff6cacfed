//! What the gateway answers while an ACME authority looks whether a name is ours (RFC 8555, 8.3; RFC 8737).

use crate::tls::Identity;
use anyhow::Result;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The answers that are up now. They come and go with an order.
#[derive(Debug, Default)]
pub struct Challenges {
    files: Mutex<HashMap<String, String>>,
    certificates: Mutex<HashMap<String, Identity>>,
}

impl Challenges {
    /// The content of `/.well-known/acme-challenge/` and `token` (RFC 8555, 8.3).
    pub fn file(&self, token: &str) -> Option<String> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// The certificate for a handshake that asks for the protocol `acme-tls/1` and this name (RFC 8737, 3).
    pub fn certificate(&self, name: &str) -> Option<Identity> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn put_file(&self, token: &str, content: &str) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), content.to_owned());
    }

    /// RFC 8737, 3: a self-signed certificate whose subjectAltName is the name, with a critical acmeIdentifier extension that holds the
    /// SHA-256 digest of the key authorization.
    pub(super) fn put_certificate(&self, name: &str, digest: &[u8]) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
        let certificate = params.self_signed(&key)?;
        let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        // Not `from_der`, which refuses what it does not know, and this extension is meant for the authority alone.
        let certified = CertifiedKey::new(vec![certificate.der().clone()], crate::tls::provider().key_provider.load_private_key(private)?);
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Identity::from_key(certified));
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
