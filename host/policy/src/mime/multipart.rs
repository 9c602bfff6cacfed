//! A multipart body, split at its boundary (RFC 2046, 5.1).

use super::ambiguity::Ambiguity;
use bytes::Bytes;
use memchr::{memchr, memmem};
use std::collections::BTreeSet;
use std::ops::Range;

/// Where the parts of a body lie.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) parts: Vec<Range<usize>>,
    pub(crate) odd: BTreeSet<Ambiguity>,
}

/// What stands where a delimiter could.
enum Line {
    Delimiter,
    Close,
    Longer,
}

/// Splits a body into at most `most` parts. Preamble and epilogue belong to no part; what a delimiter after the end begins is one, because
/// some readers show it.
pub(crate) fn split(body: &Bytes, boundary: &[u8], most: usize) -> Split {
    let mut split = Split::default();
    if !is_boundary(boundary) {
        split.odd.insert(Ambiguity::BoundaryMalformed);
    }
    let delimiter = [b"--", boundary].concat();
    let (mut open, mut closed, mut next) = (None, false, 0);
    for place in memmem::find_iter(body, &delimiter) {
        if place < next || !(place == 0 || body[place - 1] == b'\n') {
            continue;
        }
        let end = memchr(b'\n', &body[place..]).map_or(body.len(), |end| place + end + 1);
        let line = classify(&body[place + delimiter.len()..end]);
        if matches!(line, Line::Longer) {
            split.odd.insert(Ambiguity::BoundaryPrefix);
            continue;
        }
        if split.parts.len() >= most {
            split.odd.insert(Ambiguity::TooManyParts);
            return split;
        }
        if closed && matches!(line, Line::Delimiter) {
            split.odd.insert(Ambiguity::DelimiterAfterEnd);
        }
        split.parts.extend(open.take().map(|start| start..before_line_end(body, start, place)));
        open = matches!(line, Line::Delimiter).then_some(end);
        closed |= matches!(line, Line::Close);
        next = end;
    }
    if open.is_none() && split.parts.is_empty() {
        split.odd.insert(Ambiguity::BoundaryUnused);
    }
    if let Some(start) = open {
        split.odd.insert(Ambiguity::MultipartOpen);
        split.parts.push(start..body.len());
    }
    split
}

/// What follows the delimiter on its line.
fn classify(rest: &[u8]) -> Line {
    let padding = |octets: &[u8]| octets.iter().all(u8::is_ascii_whitespace);
    match rest {
        rest if padding(rest) => Line::Delimiter,
        [b'-', b'-', rest @ ..] if padding(rest) => Line::Close,
        _ => Line::Longer,
    }
}

/// "The CRLF preceding the boundary delimiter line is conceptually attached to the boundary".
fn before_line_end(body: &[u8], start: usize, place: usize) -> usize {
    let content = &body[start.min(place)..place];
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    start.min(place) + content.strip_suffix(b"\r").unwrap_or(content).len()
}

/// RFC 2046, 5.1.1: 1 to 70 of `bchars`, the last of them no space.
fn is_boundary(boundary: &[u8]) -> bool {
    let allowed = |octet: &u8| octet.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(octet);
    (1..=70).contains(&boundary.len()) && boundary.iter().all(allowed) && boundary.last() != Some(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body: &'static str, boundary: &str) -> (Vec<&'static str>, Vec<Ambiguity>) {
        let split = split(&Bytes::from_static(body.as_bytes()), boundary.as_bytes(), 3);
        (split.parts.into_iter().map(|range| &body[range]).collect(), split.odd.into_iter().collect())
    }

    #[test]
    fn delimiters_are_whole_lines() {
        for (body, boundary, expected, odd) in [
            ("pre\r\n--b\r\n\r\nA\r\n--b \r\nB\r\n--b--\r\nepilogue", "b", &["\r\nA", "B"][..], &[][..]),
            ("--abc\r\n\r\nA\r\n--ab\r\n\r\nB\r\n--ab--\r\n", "ab", &["\r\nB"], &[Ambiguity::BoundaryPrefix]),
            ("--\r\n\r\nA\r\n----\r\n", "", &["\r\nA"], &[Ambiguity::BoundaryMalformed]),
            ("x --b\r\nA", "b", &[], &[Ambiguity::BoundaryUnused]),
            ("--b\r\nA", "b", &["A"], &[Ambiguity::MultipartOpen]),
            ("--b\nA\n--b--", "b", &["A"], &[]),
            ("--b\r\n--b\r\n--b--", "b", &["", ""], &[]),
            ("--b\r\nA\r\n--b--\r\n--b\r\nB\r\n--b--", "b", &["A", "B"], &[Ambiguity::DelimiterAfterEnd]),
            ("--b\r\n1\r\n--b\r\n2\r\n--b\r\n3\r\n--b\r\n4\r\n--b--", "b", &["1", "2", "3"], &[Ambiguity::TooManyParts]),
        ] {
            assert_eq!(parts(body, boundary), (expected.to_vec(), odd.to_vec()), "{body:?}");
        }
    }
}
