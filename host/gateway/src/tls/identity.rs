//! Who this gateway says it is: a certificate chain and its key.
//!
//! "With no certificate configured a self-signed one is made rather than running without TLS" (L1-1). It is kept in the state directory,
//! so that a restart shows the same key.

use super::facts;
use anyhow::{Context, Result, bail};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secmx_core::channel::Certificate;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long a self-signed certificate is valid.
const VALID: Duration = Duration::days(365);

/// How long before its end a self-signed certificate is renewed.
const RENEWED_BEFORE: Duration = Duration::days(30);

/// A certificate chain with its key, ready to be shown in a handshake.
#[derive(Debug, Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
}

impl Identity {
    /// Reads a chain and a key from PEM files. Errors say which file, and when the two do not belong together.
    pub fn load(chain: &Path, key: &Path) -> Result<Self> {
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("cannot read certificates from {}", chain.display()))?;
        if certificates.is_empty() {
            bail!("{} holds no certificate", chain.display());
        }
        let private = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read a private key from {}", key.display()))?;
        let certified = CertifiedKey::from_der(certificates, private, &super::provider())
            .with_context(|| format!("{} and {} do not belong together", chain.display(), key.display()))?;
        Ok(Self { key: Arc::new(certified) })
    }

    /// The self-signed identity kept in `directory`; made there when it is missing, cannot be read, is for another name, or ends within
    /// [`RENEWED_BEFORE`]. A new certificate is for the key that was there, so that what was published about it stays true (RFC 7671, 8).
    pub fn self_signed(hostname: &str, directory: &Path) -> Result<Self> {
        Self::self_signed_at(hostname, directory, OffsetDateTime::now_utc())
    }

    fn self_signed_at(hostname: &str, directory: &Path, now: OffsetDateTime) -> Result<Self> {
        let (chain, key) = (directory.join("self-signed.pem"), directory.join("self-signed.key"));
        if let Ok(identity) = Self::load(&chain, &key)
            && identity.is_for(hostname)
            && identity.lasts_beyond(now + RENEWED_BEFORE)
        {
            return Ok(identity);
        }
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let kept = fs::read_to_string(&key).ok().and_then(|pem| KeyPair::from_pem(&pem).ok());
        let pair = kept.map_or_else(KeyPair::generate, Ok)?;
        let mut params = CertificateParams::new(vec![hostname.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, hostname);
        // A day before now, for peers whose clocks are slow.
        (params.not_before, params.not_after) = (now - Duration::days(1), now + VALID);
        let certificate = params.self_signed(&pair)?;
        write_private(&key, pair.serialize_pem().as_bytes())?;
        write_private(&chain, certificate.pem().as_bytes())?;
        Self::load(&chain, &key)
    }

    /// An identity of this key.
    pub(crate) fn from_key(key: CertifiedKey) -> Self {
        Self { key: Arc::new(key) }
    }

    /// What its certificate says.
    pub fn certificate(&self) -> Certificate {
        self.key.cert.first().map_or_else(|| facts::certificate(&[]), |leaf| facts::certificate(leaf))
    }

    /// Begin and end of its validity, seconds since 1970-01-01T00:00:00Z. Errors when the certificate cannot be read.
    pub fn validity(&self) -> Result<(i64, i64)> {
        let parsed = self.parsed()?;
        Ok((parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()))
    }

    /// The data of a TLSA record `3 1 1` for it: SHA-256 of its public key (RFC 7671, 5.1). Errors when the certificate cannot be read.
    pub fn public_key_sha256(&self) -> Result<[u8; 32]> {
        Ok(Sha256::digest(self.parsed()?.public_key().raw).into())
    }

    fn parsed(&self) -> Result<X509Certificate<'_>> {
        let leaf = self.key.cert.first().context("there is no certificate")?;
        Ok(X509Certificate::from_der(leaf).context("the certificate cannot be read")?.1)
    }

    /// Whether the certificate is still valid then, and does not go on for ever.
    fn lasts_beyond(&self, then: OffsetDateTime) -> bool {
        let leaf = self.key.cert.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        leaf.is_some_and(|(_, leaf)| {
            let end = leaf.validity().not_after.to_datetime();
            end > then && end <= then + VALID
        })
    }

    /// SHA-256 of the certificate itself, the first of the chain; zeros when there is none.
    pub fn sha256(&self) -> [u8; 32] {
        self.key.cert.first().map(|certificate| Sha256::digest(certificate).into()).unwrap_or_default()
    }

    /// For rustls.
    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// Whether the certificate is for that name.
    pub(crate) fn is_for(&self, hostname: &str) -> bool {
        let Some(leaf) = self.key.cert.first() else { return false };
        let parsed = rustls::server::ParsedCertificate::try_from(leaf);
        let name = rustls::pki_types::ServerName::try_from(hostname);
        matches!((parsed, name), (Ok(leaf), Ok(name)) if rustls::client::verify_server_name(&leaf, &name).is_ok())
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_1_a_self_signed_identity_is_made_and_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = Identity::self_signed("mx.test", directory.path()).expect("made");
        let again = Identity::self_signed("mx.test", directory.path()).expect("read");
        assert_eq!(first.key.cert, again.key.cert, "a restart shows the same certificate");
        let renamed = Identity::self_signed("other.test", directory.path()).expect("made anew");
        assert_ne!(first.key.cert, renamed.key.cert, "another name needs another certificate");
        let now = OffsetDateTime::now_utc();
        let at = |days: i64| Identity::self_signed_at("other.test", directory.path(), now + Duration::days(days)).expect("made or read");
        assert_eq!(at(300).key.cert, renamed.key.cert, "it lasts a year");
        let renewed = at(340);
        assert_ne!(renewed.key.cert, renamed.key.cert, "it does not wait for its last day");
        let key = |identity: &Identity| {
            let (_, leaf) = X509Certificate::from_der(&identity.key.cert[0]).expect("a certificate");
            (leaf.public_key().raw.to_vec(), leaf.validity().not_after.to_datetime())
        };
        assert_eq!(key(&renewed).0, key(&renamed).0, "the key stays");
        assert!(key(&renewed).1 <= now + Duration::days(340) + VALID);
        fs::write(directory.path().join("self-signed.key"), "broken").expect("written");
        assert!(Identity::self_signed("other.test", directory.path()).is_ok(), "a broken key is replaced");
    }
}
