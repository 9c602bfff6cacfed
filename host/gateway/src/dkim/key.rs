//! Keys that sign mail: RSA (RFC 6376) and Ed25519 (RFC 8463), in PEM files that other tools can make and read too.

use crate::signing::{pem, write_new};
use anyhow::{Context, Result, bail};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, Sha256};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use std::path::Path;

/// RFC 8301, 3.2: "Signers MUST use RSA keys of at least 1024 bits".
const RSA_OCTETS_MIN: usize = 1024 / 8;

/// Octets of one string of a TXT record (RFC 1035, 3.3.14).
const STRING_OCTETS: usize = 255;

/// A key as its file has it.
pub(crate) enum Key {
    /// RSA.
    Rsa(PrivateKeyDer<'static>, RsaKeyPair),
    /// Ed25519.
    Ed25519(Vec<u8>, Ed25519KeyPair),
}

impl Key {
    /// Reads a key file. Errors name it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let octets = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let der = PrivateKeyDer::from_pem_slice(&octets).ok();
        let der = der.with_context(|| format!("{} holds no private key (PEM); `secmx dkim keygen {0}` makes one", path.display()))?;
        let pair = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
            _ => None,
        };
        if let Some(pair) = pair {
            if pair.public_modulus_len() < RSA_OCTETS_MIN {
                bail!("{} holds an RSA key that is too short: nobody believes one of less than 1024 bits", path.display());
            }
            return Ok(Self::Rsa(der, pair));
        }
        let PrivateKeyDer::Pkcs8(pkcs8) = &der else { bail!("{} holds a key that is neither RSA nor Ed25519", path.display()) };
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8.secret_pkcs8_der()).ok();
        let pair = pair.with_context(|| format!("{} holds a key that is neither RSA nor Ed25519", path.display()))?;
        Ok(Self::Ed25519(pkcs8.secret_pkcs8_der().to_vec(), pair))
    }

    /// The key as the signer takes it.
    pub(super) fn into_signer(self) -> Result<DkimKey> {
        Ok(match self {
            Self::Rsa(der, _) => RsaKey::<Sha256>::from_key_der(der)?.into(),
            Self::Ed25519(pkcs8, _) => Ed25519Key::from_pkcs8_maybe_unchecked_der(&pkcs8)?.into(),
        })
    }

    /// What is published of it: the text of its TXT record.
    pub(crate) fn record(&self) -> Result<String> {
        let (kind, public) = match self {
            Self::Rsa(_, pair) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der().ok().context("the key cannot be read")?;
                ("rsa", STANDARD.encode(der.as_ref()))
            }
            // RFC 8463, 4.2: the key itself, without a structure around it.
            Self::Ed25519(_, pair) => ("ed25519", STANDARD.encode(pair.public_key().as_ref())),
        };
        Ok(format!("v=DKIM1; k={kind}; p={public}"))
    }
}

/// Makes a key in a file that only its owner may read. Errors when there is a file already.
pub(crate) fn generate(path: &Path, rsa: bool) -> Result<()> {
    let made = "no key could be made";
    let der = if rsa {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok().context(made)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().ok().context(made)?;
        pem("PRIVATE KEY", der.as_ref())
    } else {
        let pair = Ed25519KeyPair::generate().ok().context(made)?;
        let der: Pkcs8V1Der<'_> = pair.as_der().ok().context(made)?;
        pem("PRIVATE KEY", der.as_ref())
    };
    write_new(path, &der, 0o600)
}

/// A line of a zone file: the record of a key, in strings that are short enough.
pub(crate) fn zone_line(selector: &str, domain: &str, record: &str) -> String {
    let strings = record.as_bytes().chunks(STRING_OCTETS).map(|part| format!("\"{}\"", String::from_utf8_lossy(part)));
    format!("{selector}._domainkey.{domain}. IN TXT {}\n", strings.collect::<Vec<_>>().join(" "))
}
