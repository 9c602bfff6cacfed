//! Transfer encodings (RFC 2045, 6) and charsets, undone the way mail readers do it: what is not in the alphabet is passed over, and noted.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use mail_parser::decoders::charsets::map::charset_decoder;

/// Takes what lacks its padding, and what has bits left over.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// Whether something was passed over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) bool);

/// A transfer encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// `7bit`, `8bit`, `binary`, or none.
    Identity,
    Base64,
    QuotedPrintable,
    Unknown,
}

impl Transfer {
    /// From the value of Content-Transfer-Encoding.
    pub(crate) fn of(value: Option<&Bytes>) -> Self {
        let Some(value) = value else { return Self::Identity };
        let word = super::parameters::without_comments(value);
        match word.trim_ascii().to_ascii_lowercase().as_slice() {
            b"7bit" | b"8bit" | b"binary" => Self::Identity,
            b"base64" => Self::Base64,
            b"quoted-printable" => Self::QuotedPrintable,
            _ => Self::Unknown,
        }
    }

    /// The octets under the encoding. Those of an unknown one stay.
    pub(crate) fn undo(self, octets: &Bytes, malformed: &mut Malformed) -> Bytes {
        match self {
            Self::Identity | Self::Unknown => octets.clone(),
            Self::Base64 => base64(octets, malformed).into(),
            Self::QuotedPrintable => quoted_printable(octets, malformed).into(),
        }
    }
}

/// Base64, with all that stands behind a padding: some readers stop there, others go on.
pub(crate) fn base64(octets: &[u8], malformed: &mut Malformed) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(octets.len() / 4 * 3);
    let mut digits = Vec::with_capacity(octets.len());
    let mut padded = false;
    for octet in octets {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                if padded {
                    malformed.0 = true;
                    flush(&mut digits, &mut decoded, malformed);
                    padded = false;
                }
                digits.push(*octet);
            }
            b'=' => padded = true,
            b'\r' | b'\n' | b' ' | b'\t' => {}
            _ => malformed.0 = true,
        }
    }
    flush(&mut digits, &mut decoded, malformed);
    decoded
}

fn flush(digits: &mut Vec<u8>, decoded: &mut Vec<u8>, malformed: &mut Malformed) {
    // A single digit is six bits and no octet.
    if digits.len() % 4 == 1 {
        malformed.0 = true;
        digits.pop();
    }
    malformed.0 |= LENIENT.decode_vec(&digits, decoded).is_err();
    digits.clear();
}

/// Quoted-printable (RFC 2045, 6.7). An `=` that begins nothing stays.
pub(crate) fn quoted_printable(octets: &[u8], malformed: &mut Malformed) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let content = line.trim_ascii_end();
        // "Any white space at the end of an encoded line is to be deleted".
        let (content, ends) = match content.strip_suffix(b"=") {
            Some(content) => (content, false),
            None => (content, line.ends_with(b"\n")),
        };
        let mut rest = content;
        while let Some(place) = memchr::memchr(b'=', rest) {
            decoded.extend_from_slice(&rest[..place]);
            match rest[place + 1..] {
                [high, low, ..] if digit(high).is_some() && digit(low).is_some() => {
                    decoded.push(digit(high).unwrap_or_default() << 4 | digit(low).unwrap_or_default());
                    rest = &rest[place + 3..];
                }
                _ => {
                    malformed.0 = true;
                    decoded.push(b'=');
                    rest = &rest[place + 1..];
                }
            }
        }
        decoded.extend_from_slice(rest);
        if ends {
            decoded.extend_from_slice(if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
        }
    }
    decoded
}

/// `=41` (RFC 2047) or `%41` (RFC 2231); a mark that begins nothing stays.
pub(crate) fn hexadecimal(octets: &[u8], mark: u8) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let [octet, tail @ ..] = rest {
        let pair = match tail {
            [high, low, ..] if *octet == mark => digit(*high).zip(digit(*low)),
            _ => None,
        };
        decoded.push(pair.map_or(*octet, |(high, low)| high << 4 | low));
        rest = if pair.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Text in the charset of that label. `None` when there is no such charset.
pub(crate) fn charset(label: &[u8], octets: &[u8]) -> Option<String> {
    if let Some(encoding) = Encoding::for_label_no_replacement(label) {
        return Some(encoding.decode(octets).0.into_owned());
    }
    charset_decoder(label).map(|decode| decode(octets))
}

/// Text that does not say its charset: by its mark, as UTF-8 when it is, else as windows-1252, which never fails.
pub(crate) fn guess(octets: &[u8]) -> String {
    let (encoding, mark) = Encoding::for_bom(octets).unwrap_or((UTF_8, 0));
    let octets = &octets[mark..];
    match encoding.decode_without_bom_handling_and_without_replacement(octets) {
        Some(text) => text.into_owned(),
        None => WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
    }
}

/// Whether octets of no known kind are a text: UTF-8 without control characters, or what says that it is UTF-16.
pub(crate) fn is_text(octets: &[u8]) -> bool {
    let has_mark = Encoding::for_bom(octets).is_some();
    let control = |octet: &u8| *octet < 0x20 && !matches!(octet, b'\t' | b'\n' | 0x0c | b'\r');
    has_mark || !octets.is_empty() && !octets.iter().any(control) && std::str::from_utf8(octets).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_readers_read_it() {
        for (octets, expected, malformed) in [
            ("AAEC", &[0, 1, 2][..], false),
            ("AA\r\nEC\r\n", &[0, 1, 2], false),
            ("AAE=", &[0, 1], false),
            ("AAE", &[0, 1], false),
            ("AA*EC", &[0, 1, 2], true),
            ("AAE=AAEC", &[0, 1, 0, 1, 2], true),
            ("AAECA", &[0, 1, 2], true),
            ("", &[], false),
        ] {
            let mut odd = Malformed::default();
            assert_eq!((base64(octets.as_bytes(), &mut odd).as_slice(), odd.0), (expected, malformed), "{octets:?}");
        }
    }

    #[test]
    fn quoted_printable_is_read_as_readers_read_it() {
        for (octets, expected, malformed) in [
            ("a=3Db\r\n", "a=b\r\n", false),
            ("long=\r\n line \r\nx", "long line\r\nx", false),
            ("a=zz=", "a=zz", true),
            ("a==41", "a=A", true),
            ("", "", false),
        ] {
            let mut odd = Malformed::default();
            let decoded = quoted_printable(octets.as_bytes(), &mut odd);
            assert_eq!((std::str::from_utf8(&decoded), odd.0), (Ok(expected), malformed), "{octets:?}");
        }
    }

    #[test]
    fn charsets_old_and_new() {
        for (label, octets, expected) in [
            ("ISO-8859-1", &b"\xfc"[..], Some("ü")),
            ("utf-8", b"\xc3\xbc", Some("ü")),
            ("utf-7", b"+APw-", Some("ü")),
            ("shift_jis", b"\x83n", Some("ハ")),
            ("cp850", b"\x81", Some("ü")),
            ("x-nothing", b"a", None),
        ] {
            assert_eq!(charset(label.as_bytes(), octets).as_deref(), expected, "{label}");
        }
        assert_eq!(guess(b"\xff\xfea\0"), "a");
    }
}
