//! Values with parameters: Content-Type (RFC 2045, 5.1) and Content-Disposition (RFC 2183), with all their spellings (RFC 2231, RFC 2047).

use super::{decode, header};
use memchr::memchr;
use std::collections::BTreeMap;

/// Octets of a value that are looked at, and parameters that are taken from it.
const VALUE_MAX: usize = 64 << 10;
const PARAMETERS_MAX: usize = 200;

/// A value, taken apart.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parameters {
    /// What stands before the first semicolon, in lower case.
    pub(crate) head: String,
    /// Name in lower case, with the asterisks of RFC 2231, and value with quotes and escapes undone.
    list: Vec<(String, Vec<u8>)>,
}

impl Parameters {
    /// Parses a value with its folds.
    pub(crate) fn of(value: &[u8]) -> Self {
        let value = without_comments(&value[..value.len().min(VALUE_MAX)]);
        let mut pieces = pieces(&value).into_iter();
        let head = String::from_utf8_lossy(pieces.next().unwrap_or_default().trim_ascii()).to_ascii_lowercase();
        let list = pieces.filter_map(|piece| {
            let equals = memchr(b'=', piece)?;
            let name = String::from_utf8_lossy(piece[..equals].trim_ascii()).to_ascii_lowercase();
            Some((name, unquoted(piece[equals + 1..].trim_ascii())))
        });
        Self { head, list: list.take(PARAMETERS_MAX).collect() }
    }

    /// Whether the same parameter is there twice.
    pub(crate) fn has_twice(&self) -> bool {
        self.list.iter().enumerate().any(|(place, (name, _))| self.list[..place].iter().any(|(other, _)| name == other))
    }

    /// The likeliest value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.readings(name).into_iter().next()
    }

    /// Every value that a reader may take a parameter for, the likeliest first: RFC 2231 before what older readers see.
    pub(crate) fn readings(&self, name: &str) -> Vec<String> {
        let mut readings: Vec<String> = Vec::new();
        let starred = format!("{name}*");
        let extended = self.named(&starred).map(extended);
        let plain = self.named(name).map(header::text);
        // What is not quoted ends at white space for some.
        let first_words = self.named(name).filter_map(|value| {
            let end = value.iter().position(u8::is_ascii_whitespace)?;
            (!value[..end].contains(&b'?')).then(|| decode::guess(&value[..end]))
        });
        for reading in extended.chain(self.continued(name)).chain(plain).chain(first_words) {
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        }
        readings
    }

    fn named<'a>(&'a self, wanted: &str) -> impl Iterator<Item = &'a [u8]> {
        self.list.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_slice())
    }

    /// `name*0`, `name*1*`, … as one value (RFC 2231, 3 and 4.1), in the order of their numbers.
    fn continued(&self, name: &str) -> Option<String> {
        let sections: BTreeMap<u32, (bool, &[u8])> = self
            .list
            .iter()
            .filter_map(|(key, value)| {
                let number = key.strip_prefix(name)?.strip_prefix('*')?;
                let encoded = number.ends_with('*');
                Some((number.trim_end_matches('*').parse().ok()?, (encoded, value.as_slice())))
            })
            .collect();
        let (charset, _) = sections.values().next().map(|(encoded, value)| split_charset(*encoded, value))?;
        let mut octets = Vec::new();
        for (place, (encoded, value)) in sections.values().enumerate() {
            let value = if place == 0 { split_charset(*encoded, value).1 } else { value };
            octets.extend(if *encoded { decode::hexadecimal(value, b'%') } else { value.to_vec() });
        }
        Some(in_charset(charset, &octets))
    }
}

/// `charset'language'text` with `%41` for octets.
fn extended(value: &[u8]) -> String {
    let (charset, text) = split_charset(true, value);
    in_charset(charset, &decode::hexadecimal(text, b'%'))
}

/// The charset and what follows it; empty when the value does not begin with one.
fn split_charset(encoded: bool, value: &[u8]) -> (&[u8], &[u8]) {
    let parts = || {
        let first = memchr(b'\'', value)?;
        let second = first + 1 + memchr(b'\'', &value[first + 1..])?;
        Some((&value[..first], &value[second + 1..]))
    };
    encoded.then(parts).flatten().unwrap_or((&[], value))
}

fn in_charset(charset: &[u8], octets: &[u8]) -> String {
    Some(charset)
        .filter(|label| !label.is_empty())
        .and_then(|label| decode::charset(label, octets))
        .unwrap_or_else(|| decode::guess(octets))
}

/// Splits at semicolons that are not quoted.
fn pieces(value: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, octet) in value.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                pieces.push(&value[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(&value[start..]);
    pieces
}

/// A value without its quotes, escapes and folds.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let (mut plain, mut quoted, mut escaped) = (Vec::with_capacity(value.len()), false, false);
    for octet in value {
        match octet {
            _ if escaped => {
                plain.push(*octet);
                escaped = false;
            }
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'\r' | b'\n' => {}
            _ => plain.push(*octet),
        }
    }
    plain
}

/// A structured value without its comments (RFC 5322, 3.2.2). A comment that does not end takes the rest with it.
pub(super) fn without_comments(value: &[u8]) -> Vec<u8> {
    if memchr(b'(', value).is_none() {
        return value.to_vec();
    }
    let (mut kept, mut depth, mut quoted, mut escaped) = (Vec::with_capacity(value.len()), 0_usize, false, false);
    for octet in value {
        let is_escaped = std::mem::take(&mut escaped);
        match octet {
            _ if is_escaped => {}
            b'\\' => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted && depth > 0 => {
                depth -= 1;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            kept.push(*octet);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_is_read() {
        for (value, expected) in [
            ("attachment; filename=a.txt", &["a.txt"][..]),
            ("attachment; filename=\"a; \\\"b\\\".txt\"", &["a; \"b\".txt", "a;"]),
            ("attachment; filename*=utf-8''M%C3%BCll.bin", &["Müll.bin"]),
            ("attachment; filename*0=\"a.ex\"; filename*1=\"e\"; filename=\"a.txt\"", &["a.exe", "a.txt"]),
            ("attachment; filename*1*=%65; filename*0*=utf-8''a%2Eex", &["a.exe"]),
            ("attachment; filename=\"=?utf-8?q?M=C3=BCll?=.bin\"", &["Müll.bin"]),
            ("attachment; filename=a.txt .exe", &["a.txt .exe", "a.txt"]),
            ("attachment; filename=a.exe; filename=a.txt", &["a.exe", "a.txt"]),
            ("attachment (a; filename=b); filename=c", &["c"]),
            ("attachment", &[]),
        ] {
            assert_eq!(Parameters::of(value.as_bytes()).readings("filename"), expected, "{value:?}");
        }
    }

    #[test]
    fn the_head_is_in_lower_case_and_repeats_are_seen() {
        let value = Parameters::of(b" Multipart/Mixed (c) ;\r\n boundary=a; Boundary=b");
        assert_eq!((value.head.as_str(), value.has_twice()), ("multipart/mixed", true));
        assert_eq!(value.get("boundary").as_deref(), Some("a"));
        assert!(!Parameters::of(b"text/plain; charset=utf-8; format=flowed").has_twice());
    }

    #[test]
    fn nothing_hostile_takes_long() {
        for value in [";".repeat(1 << 20), "(".repeat(1 << 20), "\"".repeat(1 << 20), "a=b;".repeat(1 << 18)] {
            assert!(Parameters::of(value.as_bytes()).list.len() <= PARAMETERS_MAX);
        }
    }
}
