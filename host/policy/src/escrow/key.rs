//! One key of escrow, and how it gets at the key of the content. All arithmetic is that of aws-lc.

use super::cipher;
use super::envelope::{Agreement, Algorithm, Envelope, Recipient, Whose};
use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::digest::{self, Context};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepAlgorithm, OaepPrivateDecryptingKey,
    Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
};
use std::fmt;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Object identifiers, as their content octets (RFC 8017; RFC 5753, 7.1.4; RFC 3565).
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const RSA_OAEP: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07";
const ECDH_SHA1: &[u8] = b"\x2b\x81\x05\x10\x86\x48\x3f\x00\x02";
const ECDH_SHA2: &[u8] = b"\x2b\x81\x04\x01\x0b";
const AES128_WRAP: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x05";
const AES256_WRAP: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2d";
const SHA2: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02";

/// A certificate's name, and its private key.
pub(super) struct Key {
    issuer: Vec<u8>,
    serial: Vec<u8>,
    identifier: Option<Vec<u8>>,
    secret: Secret,
}

enum Secret {
    Rsa { oaep: OaepPrivateDecryptingKey, pkcs1: Pkcs1PrivateDecryptingKey },
    Curve(PrivateKey),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    pub(super) fn new(certificate: &[u8], key: &[u8]) -> Result<Self, &'static str> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| "the certificate is no X.509 certificate")?;
        let identifier = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        });
        let (issuer, serial) = (certificate.issuer().as_raw().to_vec(), certificate.raw_serial().to_vec());
        Ok(Self { issuer, serial, identifier, secret: Secret::read(key)? })
    }

    /// Whether this key is one of the recipients.
    pub(super) fn is_for(&self, envelope: &Envelope<'_>) -> bool {
        envelope.recipients.iter().any(|recipient| self.is(&recipient.whose))
    }

    /// The key of the content, when this key is one of its recipients.
    pub(super) fn unwrap(&self, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
        let recipient = envelope.recipients.iter().find(|recipient| self.is(&recipient.whose))?;
        match (&self.secret, &recipient.agreement) {
            (Secret::Rsa { oaep, pkcs1 }, None) => transported(oaep, pkcs1, recipient, cipher::key_length(&envelope.algorithm)?),
            (Secret::Curve(key), Some(agreement)) => agreed(key, recipient, agreement),
            _ => None,
        }
    }

    fn is(&self, whose: &Whose<'_>) -> bool {
        match whose {
            Whose::Certificate { issuer, serial } => self.issuer == *issuer && self.serial == *serial,
            Whose::KeyIdentifier(identifier) => self.identifier.as_deref() == Some(identifier),
        }
    }
}

impl Secret {
    fn read(key: &[u8]) -> Result<Self, &'static str> {
        let rsa = || PrivateDecryptingKey::from_pkcs8(key).ok();
        if let Some((oaep, pkcs1)) = rsa().zip(rsa()) {
            let oaep = OaepPrivateDecryptingKey::new(oaep).map_err(|_| "the RSA key cannot be used")?;
            let pkcs1 = Pkcs1PrivateDecryptingKey::new(pkcs1).map_err(|_| "the RSA key cannot be used")?;
            return Ok(Self::Rsa { oaep, pkcs1 });
        }
        let curve = [&ECDH_P256, &ECDH_P384, &ECDH_P521].into_iter().find_map(|curve| PrivateKey::from_private_key_der(curve, key).ok());
        curve.map(Self::Curve).ok_or("the key is no RSA key of 2048 bits or more, and none on P-256, P-384 or P-521, in PKCS #8")
    }
}

/// The key of the content, encrypted with RSA.
fn transported(
    oaep: &OaepPrivateDecryptingKey,
    pkcs1: &Pkcs1PrivateDecryptingKey,
    recipient: &Recipient<'_>,
    length: usize,
) -> Option<Vec<u8>> {
    let mut room = vec![0; oaep.min_output_size()];
    match recipient.algorithm.identifier {
        RSA => {
            let opened = pkcs1.decrypt(&recipient.encrypted_key, &mut room).ok().filter(|key| key.len() == length);
            // RFC 3218, 2.3.2: with a random key in the place of one that did not come out, nobody learns which it was.
            let mut random = vec![0; length];
            aws_lc_rs::rand::fill(&mut random).ok()?;
            Some(opened.map_or(random, |key| key.to_vec()))
        }
        RSA_OAEP => oaep.decrypt(oaep_of(&recipient.algorithm)?, &recipient.encrypted_key, &mut room, None).ok().map(|key| key.to_vec()),
        _ => None,
    }
}

/// `RSAES-OAEP-params` (RFC 8017, A.2.1): the same hash for both, no label; SHA-1 where nothing is said.
fn oaep_of(algorithm: &Algorithm<'_>) -> Option<&'static OaepAlgorithm> {
    let hash = algorithm.parameters.and_then(|parameters| {
        let explicit = parameters.children().optional(0xa0)?;
        Some(Algorithm::read(explicit.children().next()?)?.identifier.strip_prefix(SHA2).unwrap_or(b"?"))
    });
    match hash {
        None => Some(&OAEP_SHA1_MGF1SHA1),
        Some(b"\x01") => Some(&OAEP_SHA256_MGF1SHA256),
        Some(b"\x02") => Some(&OAEP_SHA384_MGF1SHA384),
        Some(b"\x03") => Some(&OAEP_SHA512_MGF1SHA512),
        Some(_) => None,
    }
}

/// The key of the content, wrapped with a key that both sides agreed on (RFC 5753, 3.1).
fn agreed(key: &PrivateKey, recipient: &Recipient<'_>, agreement: &Agreement<'_>) -> Option<Vec<u8>> {
    let hash = match (recipient.algorithm.identifier, recipient.algorithm.identifier.strip_prefix(ECDH_SHA2)) {
        (ECDH_SHA1, _) => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        (_, Some(b"\x00")) => &digest::SHA224,
        (_, Some(b"\x01")) => &digest::SHA256,
        (_, Some(b"\x02")) => &digest::SHA384,
        (_, Some(b"\x03")) => &digest::SHA512,
        _ => return None,
    };
    let wrap = recipient.algorithm.parameters?;
    let (cipher, bits) = match Algorithm::read(wrap)?.identifier {
        AES128_WRAP => (&AES_128, 128_u32),
        AES256_WRAP => (&AES_256, 256),
        _ => return None,
    };
    let about = shared_info(wrap.whole, agreement.user_keying_material.as_deref(), bits);
    let theirs = UnparsedPublicKey::new(key.algorithm(), agreement.public_key);
    let wrapping = agreement::agree(key, theirs, (), |secret| Ok(derive(hash, secret, &about, bits as usize / 8))).ok()?;
    let mut room = vec![0; recipient.encrypted_key.len()];
    let key = AesKek::new(cipher, &wrapping).ok()?.unwrap(&recipient.encrypted_key, &mut room).ok()?;
    Some(key.to_vec())
}

/// `ECC-CMS-SharedInfo` (RFC 5753, 7.2), in DER.
fn shared_info(wrap: &[u8], material: Option<&[u8]>, bits: u32) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
        let length = if length < 0x80 { vec![length.to_be_bytes()[1]] } else { [&[0x82], &length.to_be_bytes()[..]].concat() };
        [&[tag], &length[..], content].concat()
    };
    let material = material.map(|material| element(0xa0, &element(0x04, material))).unwrap_or_default();
    element(0x30, &[wrap, &material, &element(0xa2, &element(0x04, &bits.to_be_bytes()))].concat())
}

/// The key derivation of ANSI X9.63: hashes of the secret, a counter, and what it is for.
fn derive(hash: &'static digest::Algorithm, secret: &[u8], about: &[u8], length: usize) -> Vec<u8> {
    let mut key = Vec::new();
    for counter in 1_u32.. {
        let mut context = Context::new(hash);
        context.update(secret);
        context.update(&counter.to_be_bytes());
        context.update(about);
        key.extend_from_slice(context.finish().as_ref());
        if key.len() >= length {
            break;
        }
    }
    key.truncate(length);
    key
}
