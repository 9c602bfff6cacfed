//! Keys for policies: Ed25519, in the PEM files of RFC 8410, so that other tools can make and read them too.

use anyhow::{Context, Result, bail};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What stands before the key in its SubjectPublicKeyInfo. RFC 8410, 3: "the parameters MUST be absent", so that it is always the same.
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The half that signs.
pub struct SigningKey(Ed25519KeyPair);

/// The half that everybody may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl SigningKey {
    /// A new key.
    pub fn generate() -> Result<Self> {
        Ed25519KeyPair::generate().map(Self).context("no key could be made")
    }

    /// Reads a key file. Errors name it.
    pub fn read(path: &Path) -> Result<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(&read(path)?)
            .ok()
            .with_context(|| format!("{} holds no private key; `secmx policy keygen NAME` makes one", path.display()))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(Self).ok().with_context(|| format!("{} holds a private key that is not Ed25519", path.display()))
    }

    /// Writes a key file that only its owner may read. Errors when there is a file already.
    pub fn write(&self, path: &Path) -> Result<()> {
        let der: Pkcs8V1Der<'_> = self.0.as_der().ok().context("the key cannot be written")?;
        write_new(path, &pem("PRIVATE KEY", der.as_ref()), 0o600)
    }

    /// Its other half.
    pub fn public(&self) -> Result<PublicKey> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().ok().context("the key cannot be read")?;
        PublicKey::of_der(der.as_ref()).context("the key cannot be read")
    }

    pub(super) fn sign(&self, octets: &[u8]) -> Vec<u8> {
        self.0.sign(octets).as_ref().to_vec()
    }
}

impl PublicKey {
    /// Reads a key file. Errors name it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read(path)?;
        if PrivatePkcs8KeyDer::from_pem_slice(&text).is_ok() {
            bail!("{} holds a private key; name the .pub file beside it, and keep this one away from the gateway", path.display());
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&text).ok();
        der.and_then(|der| Self::of_der(&der)).with_context(|| {
            format!("{} holds no Ed25519 public key (PEM, \"BEGIN PUBLIC KEY\"); `secmx policy keygen NAME` makes one", path.display())
        })
    }

    /// Writes a key file. Errors when there is a file already.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_new(path, &pem("PUBLIC KEY", &[&PREFIX[..], &self.0].concat()), 0o644)
    }

    /// Checks a signature.
    pub(super) fn verifies(&self, octets: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(octets, signature).is_ok()
    }

    fn of_der(der: &[u8]) -> Option<Self> {
        der.strip_prefix(&PREFIX)?.try_into().ok().map(Self)
    }
}

/// The name of a key: the beginning of its SHA-256.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ed25519:")?;
        Sha256::digest(self.0).iter().take(8).try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(|| format!("cannot write {}", path.display()))
}

/// RFC 7468.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    // RFC 7468, 2: "Generators MUST wrap the base64-encoded lines so that each line consists of exactly 64 characters".
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_only_theirs_verifies() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let key = SigningKey::generate().expect("a key");
        key.write(&at("a.key")).expect("written");
        key.public().expect("its half").write(&at("a.pub")).expect("written");
        let (again, public) = (SigningKey::read(&at("a.key")).expect("reads"), PublicKey::read(&at("a.pub")).expect("reads"));
        assert_eq!(again.public().expect("its half"), public);
        let signature = again.sign(b"octets");
        assert!(public.verifies(b"octets", &signature) && !public.verifies(b"octet", &signature));
        let other = SigningKey::generate().and_then(|key| key.public()).expect("a key");
        assert!(!other.verifies(b"octets", &signature) && other.to_string() != public.to_string());
        assert!(key.write(&at("a.key")).is_err(), "a key is never overwritten");
        let swapped = PublicKey::read(&at("a.key")).expect_err("private").to_string();
        assert!(swapped.contains("name the .pub file"), "{swapped}");
    }

    /// RFC 8410, 10.1 and 10.3: the examples there.
    #[test]
    fn the_examples_of_the_rfc_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(
            at("k"),
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n",
        )
        .expect("written");
        fs::write(
            at("p"),
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n",
        )
        .expect("written");
        let (key, public) = (SigningKey::read(&at("k")).expect("reads"), PublicKey::read(&at("p")).expect("reads"));
        assert_eq!(key.public().expect("its half"), public);
    }
}
