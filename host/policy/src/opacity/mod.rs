//! What the gateway cannot look into, recognised by the octets and not by the label alone.

mod archive;
mod cms;
mod document;
mod openpgp;

use crate::bindings::secmx::policy::message::Opacity;
use crate::mime::Parameters;
use bytes::Bytes;
use cms::Cms;

pub(crate) use cms::pem;

/// How opaque a part is. `kind` is its media type in lower case, `octets` its decoded content.
pub(crate) fn of(kind: &str, content_type: &Parameters, octets: &[u8]) -> Opacity {
    let parameter = |name| content_type.get(name).unwrap_or_default().to_ascii_lowercase();
    match cms::read(octets) {
        Some(Cms::Enveloped) => return Opacity::SmimeEnveloped,
        Some(Cms::Compressed) => return Opacity::Unreadable,
        Some(Cms::Signed(_)) => return Opacity::Clear,
        // What calls itself enveloped and is nothing that is known is not read either.
        None if parameter("smime-type").contains("enveloped") => return Opacity::SmimeEnveloped,
        None => {}
    }
    // RFC 3156, 4: the multipart and its first part say so.
    let is_labelled = kind == "application/pgp-encrypted" || parameter("protocol") == "application/pgp-encrypted";
    if is_labelled || openpgp::is_message(octets) {
        return Opacity::Openpgp;
    }
    if archive::is_encrypted(octets) {
        return Opacity::EncryptedArchive;
    }
    if document::is_encrypted(octets) {
        return Opacity::EncryptedDocument;
    }
    Opacity::Clear
}

/// What an S/MIME signature is around: an entity with its own header. `None` when this is none, or the content travels beside it.
pub(crate) fn signed_content(octets: &Bytes) -> Option<Bytes> {
    match cms::read(octets)? {
        Cms::Signed(content) => content.map(|content| Bytes::from(content.into_owned())),
        Cms::Enveloped | Cms::Compressed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_octets_count_not_the_label() {
        let enveloped = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80";
        let auth_enveloped = b"\x30\x82\x01\x00\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17\xa0\x80";
        for (octets, opacity) in [
            (&enveloped[..], Opacity::SmimeEnveloped),
            (auth_enveloped, Opacity::SmimeEnveloped),
            (b"PK\x03\x04\x14\x00\x01\x00\x08\x00", Opacity::EncryptedArchive),
            (b"PK\x03\x04\x14\x00\x00\x00\x08\x00", Opacity::Clear),
            (b"%PDF-1.7 /Encrypt 5 0 R", Opacity::EncryptedDocument),
            (b"%PDF-1.7", Opacity::Clear),
            (b"", Opacity::Clear),
        ] {
            assert_eq!(of("text/plain", &Parameters::default(), octets), opacity, "{octets:?}");
        }
    }

    #[test]
    fn what_calls_itself_enveloped_is_believed() {
        let label = Parameters::of(b"application/pkcs7-mime; smime-type=enveloped-data");
        assert_eq!(of("application/pkcs7-mime", &label, b"junk"), Opacity::SmimeEnveloped);
        let label = Parameters::of(b"multipart/encrypted; protocol=\"application/pgp-encrypted\"");
        assert_eq!(of("multipart/encrypted", &label, b""), Opacity::Openpgp);
    }
}
