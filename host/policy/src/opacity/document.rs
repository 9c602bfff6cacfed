//! Encrypted documents by their octets: PDF, Office of both generations, OpenDocument.

use memchr::memmem;
use std::io::{Cursor, Read};

/// The octets of a stream that are looked at.
const STREAM_MAX: u64 = 1 << 20;

/// First octets of a compound file, [MS-CFB] 2.2.
const COMPOUND: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// Whether a document asks for a password before it shows anything. `false` for what is no document.
pub(crate) fn is_encrypted(octets: &[u8]) -> bool {
    is_encrypted_pdf(octets) || is_encrypted_compound(octets) || is_encrypted_opendocument(octets)
}

/// A trailer with an encryption dictionary, or a reference to one (ISO 32000-2, 7.6.1). Readers find `%PDF-` in the first 1,024 octets.
fn is_encrypted_pdf(octets: &[u8]) -> bool {
    let head = &octets[..octets.len().min(1_024)];
    memmem::find(head, b"%PDF-").is_some()
        && memmem::find_iter(octets, b"/Encrypt").any(|place| {
            let value = octets[place + b"/Encrypt".len()..].trim_ascii_start();
            value.starts_with(b"<<") || is_reference(&value[..value.len().min(32)])
        })
}

/// `12 0 R`.
fn is_reference(value: &[u8]) -> bool {
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let is_number = |word: Option<&[u8]>| word.is_some_and(|word| word.iter().all(u8::is_ascii_digit));
    is_number(words.next()) && is_number(words.next()) && words.next().is_some_and(|word| word.starts_with(b"R"))
}

/// A compound file with an encrypted package ([MS-OFFCRYPTO] 2.3), or an old document that is obfuscated or encrypted.
fn is_encrypted_compound(octets: &[u8]) -> bool {
    if !octets.starts_with(COMPOUND) {
        return false;
    }
    // A compound file that cannot be opened is not known to be encrypted; what it holds is not read either.
    let Ok(mut file) = cfb::CompoundFile::open(Cursor::new(octets)) else { return false };
    if ["/EncryptedPackage", "/\u{9}DRMContent"].iter().any(|name| file.exists(name)) {
        return true;
    }
    let mut stream = |name: &str| {
        let mut start = Vec::new();
        file.open_stream(name).ok()?.take(STREAM_MAX).read_to_end(&mut start).ok()?;
        Some(start)
    };
    // [MS-DOC] 2.5.2: fEncrypted. [MS-PPT] 2.3.2: headerToken. [MS-XLS] 2.4.117: FilePass.
    stream("/WordDocument").is_some_and(|fib| fib.get(11).is_some_and(|flags| flags & 1 != 0))
        || stream("/Current User").is_some_and(|user| user.get(12..16) == Some(b"\xdf\xc4\xd1\xf3"))
        || stream("/Workbook").or_else(|| stream("/Book")).is_some_and(|workbook| has_file_pass(&workbook))
}

/// Records of a workbook: type, length, content. FilePass stands near the beginning, after BOF.
fn has_file_pass(mut records: &[u8]) -> bool {
    for _ in 0..64 {
        let [kind_low, kind_high, length_low, length_high, rest @ ..] = records else { return false };
        if u16::from_le_bytes([*kind_low, *kind_high]) == 0x002f {
            return true;
        }
        let Some(next) = rest.get(usize::from(u16::from_le_bytes([*length_low, *length_high]))..) else { return false };
        records = next;
    }
    false
}

/// An OpenDocument package whose manifest names encrypted entries (ODF 1.3 part 2, 3.4).
fn is_encrypted_opendocument(octets: &[u8]) -> bool {
    let manifest = || {
        let mut archive = zip::ZipArchive::new(Cursor::new(octets)).ok()?;
        let mut manifest = Vec::new();
        archive.by_name("META-INF/manifest.xml").ok()?.take(STREAM_MAX).read_to_end(&mut manifest).ok()?;
        Some(manifest)
    };
    // The first entry of a package is its type, uncompressed.
    let is_package =
        octets.starts_with(b"PK\x03\x04") && memmem::find(&octets[..octets.len().min(128)], b"mimetypeapplication/vnd.").is_some();
    is_package && manifest().is_some_and(|manifest| memmem::find(&manifest, b"encryption-data").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pdf_that_only_talks_of_encryption_is_clear() {
        for (octets, expected) in [
            (&b"%PDF-1.7\ntrailer << /Encrypt 5 0 R /Size 3 >>"[..], true),
            (b"%PDF-1.7\ntrailer << /Encrypt<< /V 5 >> >>", true),
            (b"%PDF-1.7\n(the /Encrypt entry of the trailer)", false),
            (b"junk %PDF-1.4 /Encrypt 12 0 R>>", true),
            (b"%PDF-1.7", false),
            (b"/Encrypt 5 0 R", false),
        ] {
            assert_eq!(is_encrypted(octets), expected, "{}", String::from_utf8_lossy(octets));
        }
    }

    #[test]
    fn an_old_workbook_says_so_at_its_beginning() {
        let bof = [&0x0809_u16.to_le_bytes()[..], &2_u16.to_le_bytes(), &[0, 0]].concat();
        let pass = [&0x002f_u16.to_le_bytes()[..], &1_u16.to_le_bytes(), &[1]].concat();
        assert!(has_file_pass(&[bof.clone(), pass].concat()));
        assert!(!has_file_pass(&bof));
    }
}
