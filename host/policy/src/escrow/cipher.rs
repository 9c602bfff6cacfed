//! The content itself: AES in CBC (RFC 3565) and GCM (RFC 5084).

use super::envelope::{Algorithm, Envelope};
use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

/// The arc of AES.
const AES: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01";

/// How content is encrypted.
enum Cipher {
    Cbc(&'static cipher::Algorithm),
    Gcm(&'static aead::Algorithm),
}

fn of(algorithm: &Algorithm<'_>) -> Option<(Cipher, usize)> {
    match algorithm.identifier.strip_prefix(AES)? {
        [0x02] => Some((Cipher::Cbc(&cipher::AES_128), 16)),
        [0x16] => Some((Cipher::Cbc(&cipher::AES_192), 24)),
        [0x2a] => Some((Cipher::Cbc(&cipher::AES_256), 32)),
        [0x06] => Some((Cipher::Gcm(&aead::AES_128_GCM), 16)),
        [0x1a] => Some((Cipher::Gcm(&aead::AES_192_GCM), 24)),
        [0x2e] => Some((Cipher::Gcm(&aead::AES_256_GCM), 32)),
        _ => None,
    }
}

/// Octets of the key that content needs. `None` when its algorithm is not known here.
pub(super) fn key_length(algorithm: &Algorithm<'_>) -> Option<usize> {
    of(algorithm).map(|(_, length)| length)
}

/// The content. `None` when the key is not its key.
pub(super) fn decrypt(envelope: &Envelope<'_>, key: &[u8]) -> Option<Vec<u8>> {
    let mut octets = envelope.content.to_vec();
    let parameters = envelope.algorithm.parameters?;
    match of(&envelope.algorithm)? {
        (Cipher::Cbc(algorithm), _) => {
            let vector: [u8; 16] = parameters.octets(0x04)?.as_ref().try_into().ok()?;
            let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
            let length = key.decrypt(&mut octets, DecryptionContext::Iv128(FixedLength::from(vector))).ok()?.len();
            octets.truncate(length);
        }
        (Cipher::Gcm(algorithm), _) => {
            let (attributes, tag) = envelope.authentication.as_ref()?;
            let nonce: [u8; 12] = parameters.tagged(0x30)?.children().next()?.octets(0x04)?.as_ref().try_into().ok()?;
            octets.extend_from_slice(tag);
            let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
            let length = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(attributes), &mut octets).ok()?.len();
            octets.truncate(length);
        }
    }
    Some(octets)
}
