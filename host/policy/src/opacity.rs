//! What the gateway cannot look into, recognised by the octets and not by the label alone.

use crate::bindings::secmx::policy::message::Opacity;
use crate::mime::Parameters;

/// DER of the object identifiers of CMS enveloped-data, authenticated-enveloped-data and encrypted-data (RFC 5652; RFC 5083).
const ENVELOPED: [&[u8]; 3] = [
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03",
    b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17",
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06",
];

/// How opaque a part is. `kind` is its media type in lower case, `octets` its decoded content.
pub(crate) fn of(kind: &str, content_type: &Parameters, octets: &[u8]) -> Opacity {
    let parameter = |name| content_type.get(name).unwrap_or_default().to_ascii_lowercase();
    let head = &octets[..octets.len().min(64)];
    if ENVELOPED.iter().any(|oid| contains(head, oid)) || parameter("smime-type").contains("enveloped") {
        return Opacity::SmimeEnveloped;
    }
    let armoured = contains(octets, b"-----BEGIN PGP MESSAGE-----");
    if armoured || kind == "application/pgp-encrypted" || parameter("protocol") == "application/pgp-encrypted" {
        return Opacity::Openpgp;
    }
    if is_encrypted_zip(octets) {
        return Opacity::EncryptedArchive;
    }
    if is_encrypted_document(octets) {
        return Opacity::EncryptedDocument;
    }
    Opacity::Clear
}

/// A ZIP whose general purpose flag has bit 0 set in any local file header.
fn is_encrypted_zip(octets: &[u8]) -> bool {
    octets.starts_with(b"PK\x03\x04") && octets.windows(7).any(|header| header.starts_with(b"PK\x03\x04") && header[6] & 1 == 1)
}

/// A PDF with an encryption dictionary, or an OLE file that holds an encrypted office document.
fn is_encrypted_document(octets: &[u8]) -> bool {
    let package: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    (octets.starts_with(b"%PDF-") && contains(octets, b"/Encrypt"))
        || (octets.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") && contains(octets, &package))
}

fn contains(octets: &[u8], word: &[u8]) -> bool {
    octets.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octets_count_not_the_label() {
        let enveloped = [b"\x30\x80".as_slice(), ENVELOPED[0], b"\xa0\x80"].concat();
        let ole = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), b"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0"].concat();
        for (octets, opacity) in [
            (enveloped.as_slice(), Opacity::SmimeEnveloped),
            (b"-----BEGIN PGP MESSAGE-----\n", Opacity::Openpgp),
            (b"PK\x03\x04\x14\x00\x01\x00", Opacity::EncryptedArchive),
            (b"PK\x03\x04\x14\x00\x00\x00", Opacity::Clear),
            (b"%PDF-1.7 /Encrypt 5 0 R", Opacity::EncryptedDocument),
            (b"%PDF-1.7", Opacity::Clear),
            (ole.as_slice(), Opacity::EncryptedDocument),
            (b"", Opacity::Clear),
        ] {
            assert_eq!(of("text/plain", &Parameters::default(), octets), opacity, "{octets:?}");
        }
    }
}
