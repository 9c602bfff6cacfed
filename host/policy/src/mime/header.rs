//! The header section of a message or part, split into fields (RFC 5322, 2.2), and their text (RFC 2047).

use super::ambiguity::Ambiguity;
use super::decode::{self, Malformed};
use bytes::Bytes;
use memchr::{memchr, memmem};
use std::collections::BTreeSet;

/// Fields that may occur once: RFC 5322, 3.6, and RFC 2045.
const ONCE: [&str; 14] = [
    "bcc",
    "cc",
    "content-disposition",
    "content-id",
    "content-transfer-encoding",
    "content-type",
    "date",
    "from",
    "message-id",
    "mime-version",
    "reply-to",
    "sender",
    "subject",
    "to",
];

/// Octets within which an encoded word must end. RFC 2047, 2: "An 'encoded-word' may not be more than 75 characters long"; many are.
const ENCODED_WORD_MAX: usize = 1_000;

/// One field: its name, and its value with its folds.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: Bytes,
    pub(crate) value: Bytes,
}

/// A header section, and where the body begins.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) fields: Vec<Field>,
    pub(crate) body: usize,
    pub(crate) odd: BTreeSet<Ambiguity>,
}

impl Header {
    /// Splits the header section of an entity.
    pub(crate) fn of(entity: &Bytes) -> Self {
        let mut header = Self { body: entity.len(), ..Self::default() };
        let mut at = 0;
        while at < entity.len() {
            let end = memchr(b'\n', &entity[at..]).map_or(entity.len(), |place| at + place + 1);
            let line = &entity[at..end];
            if line == b"\r\n" || line == b"\n" {
                header.body = end;
                break;
            }
            at = field_end(entity, end);
            header.take(entity, end - line.len(), at);
        }
        header.note_repeats();
        header
    }

    fn take(&mut self, entity: &Bytes, start: usize, end: usize) {
        let octets = &entity[start..end];
        if memchr(0, octets).is_some() {
            self.odd.insert(Ambiguity::NulInHeader);
        }
        if has_odd_line_end(octets) {
            self.odd.insert(Ambiguity::OddLineEnd);
        }
        let colon = memchr(b':', octets).filter(|colon| *colon > 0);
        let Some(colon) = colon.filter(|_| !matches!(octets[0], b' ' | b'\t')) else {
            self.odd.insert(Ambiguity::NotAField);
            return;
        };
        let name = octets[..colon].trim_ascii_end();
        if name.len() < colon {
            self.odd.insert(Ambiguity::SpaceBeforeColon);
        }
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            self.odd.insert(Ambiguity::NotAField);
            return;
        }
        let name = entity.slice(start..start + name.len());
        self.fields.push(Field { name, value: entity.slice(start + colon + 1..end) });
    }

    fn note_repeats(&mut self) {
        let mut seen = BTreeSet::new();
        for field in &self.fields {
            let place = ONCE.iter().position(|name| field.name.eq_ignore_ascii_case(name.as_bytes()));
            if place.is_some_and(|place| !seen.insert(place)) {
                self.odd.insert(Ambiguity::FieldTwice);
            }
        }
    }

    /// Value of the first field of that name, as it stands.
    pub(crate) fn first(&self, name: &str) -> Option<&Bytes> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| &field.value)
    }
}

/// Where a field ends: after the last of the lines that are folded into it.
fn field_end(entity: &[u8], mut end: usize) -> usize {
    while matches!(entity.get(end), Some(b' ' | b'\t')) {
        end = memchr(b'\n', &entity[end..]).map_or(entity.len(), |place| end + place + 1);
    }
    end
}

fn has_odd_line_end(octets: &[u8]) -> bool {
    let alone = |(place, octet): (usize, &u8)| match octet {
        b'\r' => octets.get(place + 1) != Some(&b'\n'),
        b'\n' => place == 0 || octets[place - 1] != b'\r',
        _ => false,
    };
    octets.iter().enumerate().any(alone)
}

/// The text of a value: unfolded, encoded words decoded, white space at both ends gone.
pub(crate) fn text(value: &[u8]) -> String {
    let unfolded: Vec<u8> = value.iter().copied().filter(|octet| !matches!(octet, b'\r' | b'\n')).collect();
    let mut text = String::new();
    let mut rest = unfolded.trim_ascii();
    let mut word: Option<Word> = None;
    while let Some(start) = memmem::find(rest, b"=?") {
        match Word::parse(&rest[start..]) {
            Some((next, length)) => {
                let between = &rest[..start];
                // RFC 2047, 6.2: white space between encoded words is not displayed.
                word = Some(match word.take() {
                    Some(before) if between.trim_ascii().is_empty() => before.join(next, &mut text),
                    before => {
                        text.extend(before.map(Word::decode));
                        text.push_str(&decode::guess(between));
                        next
                    }
                });
                rest = &rest[start + length..];
            }
            None => {
                text.extend(word.take().map(Word::decode));
                text.push_str(&decode::guess(&rest[..start + 2]));
                rest = &rest[start + 2..];
            }
        }
    }
    text.extend(word.map(Word::decode));
    text.push_str(&decode::guess(rest));
    text
}

/// An encoded word with its encoding undone. Its charset waits for its neighbours: many writers cut a character in two.
struct Word {
    charset: Vec<u8>,
    octets: Vec<u8>,
}

impl Word {
    /// `=?charset?encoding?data?=` at the beginning, and its length.
    fn parse(octets: &[u8]) -> Option<(Self, usize)> {
        let octets = &octets[..octets.len().min(ENCODED_WORD_MAX)];
        let inner = octets.strip_prefix(b"=?")?;
        let charset_end = memchr(b'?', inner).filter(|end| *end > 0)?;
        let [encoding, b'?', data @ ..] = inner.get(charset_end + 1..)? else { return None };
        let data_end = memmem::find(data, b"?=")?;
        let data = &data[..data_end];
        if inner[..charset_end].contains(&b' ') {
            return None;
        }
        let decoded = match encoding {
            b'b' | b'B' => decode::base64(data, &mut Malformed::default()),
            b'q' | b'Q' => {
                let spaced: Vec<u8> = data.iter().map(|octet| if *octet == b'_' { b' ' } else { *octet }).collect();
                decode::hexadecimal(&spaced, b'=')
            }
            _ => return None,
        };
        // RFC 2231, 5: a language may follow the charset.
        let charset = inner[..charset_end].split(|octet| *octet == b'*').next().unwrap_or_default().to_vec();
        Some((Self { charset, octets: decoded }, 2 + charset_end + 3 + data_end + 2))
    }

    /// The two as one when they are in the same charset; else the first goes to `text`.
    fn join(mut self, next: Self, text: &mut String) -> Self {
        if self.charset.eq_ignore_ascii_case(&next.charset) {
            self.octets.extend(next.octets);
            return self;
        }
        text.push_str(&self.decode());
        next
    }

    fn decode(self) -> String {
        decode::charset(&self.charset, &self.octets).unwrap_or_else(|| decode::guess(&self.octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_unfolded_and_decoded() {
        for (value, expected) in [
            (" =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_an_alle?=\r\n", "Grüße an alle"),
            (" a =?utf-8?B?w7w=?= b\r\n", "a ü b"),
            (" =?utf-8?B?ww==?= =?UTF-8?B?vA==?=", "ü"),
            (" =?iso-8859-1?q?=FC?= =?utf-8*de?q?=C3=BC?=", "üü"),
            (" =?utf-8?x?abc?= =? =?a?b", "=?utf-8?x?abc?= =? =?a?b"),
            (" plain,\r\n\tfolded ", "plain,\tfolded"),
            (" \u{fc} raw", "ü raw"),
            ("", ""),
        ] {
            assert_eq!(text(value.as_bytes()), expected, "{value:?}");
        }
        assert_eq!(text(b" r\xfcck"), "rück", "neither ASCII nor UTF-8");
    }

    #[test]
    fn what_readers_see_in_two_ways_is_noted() {
        for (section, odd) in [
            ("A: b\r\nB: c\r\n d\r\n\r\n", None),
            ("Subject : x\r\n\r\n", Some(Ambiguity::SpaceBeforeColon)),
            ("A: b\r\nno field\r\n\r\n", Some(Ambiguity::NotAField)),
            (" folded\r\nA: b\r\n\r\n", Some(Ambiguity::NotAField)),
            ("A: b\0\r\n\r\n", Some(Ambiguity::NulInHeader)),
            ("A: b\rX: c\r\n\r\n", Some(Ambiguity::OddLineEnd)),
            ("From: a@b.test\r\nfrom: c@d.test\r\n\r\n", Some(Ambiguity::FieldTwice)),
            ("Received: a\r\nReceived: b\r\n\r\n", None),
        ] {
            let header = Header::of(&Bytes::from_static(section.as_bytes()));
            assert_eq!(header.odd.first().copied(), odd, "{section:?}");
        }
    }

    #[test]
    fn the_body_begins_after_the_empty_line() {
        for (entity, fields, body) in
            [("A: b\r\n\r\nC: d", 1, "C: d"), ("\r\nx", 0, "x"), ("A: b", 1, ""), ("", 0, ""), ("A: b\n\nx", 1, "x")]
        {
            let header = Header::of(&Bytes::from_static(entity.as_bytes()));
            assert_eq!((header.fields.len(), &entity[header.body..]), (fields, body), "{entity:?}");
        }
    }
}
