//! S/MIME by its octets: the outermost structure of CMS (RFC 5652) in BER or DER, as far as it tells what is inside.

use crate::ber::{element, gather, skip};
use crate::mime::base64_of;
use std::borrow::Cow;

/// Object identifiers, as their content octets.
const SIGNED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const ENVELOPED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03";
const ENCRYPTED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06";
/// RFC 5083.
const AUTH_ENVELOPED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17";
/// RFC 3274.
const COMPRESSED: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09";

/// What a CMS structure is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cms<'a> {
    /// Encrypted to somebody.
    Enveloped,
    /// Compressed: nobody's secret, but not read here.
    Compressed,
    /// Signed, with what was signed; `None` when that travels elsewhere.
    Signed(Option<Cow<'a, [u8]>>),
}

/// Recognises a CMS structure, bare or as PEM. `None` for anything else.
pub(crate) fn read(octets: &[u8]) -> Option<Cms<'_>> {
    if octets.starts_with(b"-----BEGIN ") {
        let decoded = pem(octets)?;
        return Some(match structure(&decoded)? {
            Cms::Enveloped => Cms::Enveloped,
            Cms::Compressed => Cms::Compressed,
            Cms::Signed(content) => Cms::Signed(content.map(|content| Cow::Owned(content.into_owned()))),
        });
    }
    structure(octets)
}

/// The octets under the armour of PEM, where it is one that CMS wears.
pub(crate) fn pem(octets: &[u8]) -> Option<Vec<u8>> {
    let label = [&b"-----BEGIN PKCS7-----"[..], b"-----BEGIN CMS-----"].into_iter().find(|label| octets.starts_with(label))?;
    let end = memchr::memmem::find(octets, b"-----END ")?;
    Some(base64_of(octets.get(label.len()..end)?))
}

/// `ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, content [0] EXPLICIT ANY }`.
fn structure(octets: &[u8]) -> Option<Cms<'_>> {
    let (0x30, info, _) = element(octets)? else { return None };
    let (0x06, kind, rest) = element(info)? else { return None };
    match kind {
        ENVELOPED | AUTH_ENVELOPED | ENCRYPTED => Some(Cms::Enveloped),
        COMPRESSED => Some(Cms::Compressed),
        SIGNED => {
            let (0xa0, explicit, _) = element(rest?)? else { return None };
            let (0x30, signed, _) = element(explicit)? else { return None };
            Some(Cms::Signed(encapsulated(signed)))
        }
        _ => None,
    }
}

/// `SignedData ::= SEQUENCE { version, digestAlgorithms, encapContentInfo SEQUENCE { eContentType, eContent [0] OCTET STRING }, … }`.
fn encapsulated(signed: &[u8]) -> Option<Cow<'_, [u8]>> {
    let after_version = skip(signed, 0)?;
    let (0x30, content_info, _) = element(skip(after_version, 0)?)? else { return None };
    let (0xa0, explicit, _) = element(skip(content_info, 0)?)? else { return None };
    match element(explicit)? {
        (0x04, content, _) => Some(Cow::Borrowed(content)),
        (0x24, pieces, _) => {
            let mut content = Vec::new();
            gather(pieces, &mut content, 0)?;
            Some(Cow::Owned(content))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed data around `content`, given as the element that holds it.
    fn signed(content: &[u8]) -> Vec<u8> {
        let info = [b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80", content, &[0, 0, 0, 0]].concat();
        [b"\x30\x80\x06\x09", SIGNED, b"\xa0\x80\x30\x80\x02\x01\x01\x31\x80\x30\x00\x00\x00", &info, &[0; 6]].concat()
    }

    #[test]
    fn what_was_signed_comes_out_whole_or_in_pieces() {
        for (element, expected) in [
            (&b"\x04\x02ab"[..], Some(&b"ab"[..])),
            (b"\x24\x80\x04\x01a\x04\x01b\x00\x00", Some(b"ab")),
            (b"\x24\x80\x24\x80\x04\x01a\x00\x00\x04\x01b\x00\x00", Some(b"ab")),
            (b"\x24\x06\x04\x01a\x04\x01b", Some(b"ab")),
            (b"", None),
        ] {
            let octets = signed(element);
            let Some(Cms::Signed(content)) = read(&octets) else { panic!("{element:?}") };
            assert_eq!(content.as_deref(), expected, "{element:?}");
        }
    }

    #[test]
    fn pem_is_undone_and_the_rest_is_nothing() {
        assert_eq!(read(b"-----BEGIN PKCS7-----\nMIAGCSqGSIb3DQEHA6CA\n-----END PKCS7-----\n"), Some(Cms::Enveloped));
        for octets in
            [&b""[..], b"\x30", b"\x30\x80", b"\x30\x05hello", b"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", b"-----BEGIN PKCS7-----"]
        {
            assert_eq!(read(octets), None, "{octets:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let octets = signed(&[0x24, 0x80].repeat(100_000));
        assert_eq!(read(&octets), Some(Cms::Signed(None)));
    }
}
