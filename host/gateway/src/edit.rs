//! Edits of policies: parts first, by their place in the message as it was received, then the header section. What no policy touched
//! stays as it came, octet for octet.
//!
//! The policy host has validated every name and value like network input. Folding and encoding (RFC 5322, 2.2.3; RFC 2047) are
//! mail-builder's.

use bytes::Bytes;
use mail_builder::headers::Header;
use mail_builder::headers::text::Text;
use secmx_core::ruling::Edit;
use std::ops::Range;

/// Edits the copies that shadows work on.
#[derive(Debug)]
pub(crate) struct Edits;

impl secmx_policy::Editor for Edits {
    fn edited(&self, edits: &[Edit], message: &Bytes) -> Bytes {
        apply(edits, message).concat().into()
    }
}

/// The message after `edits`, in order: its header, and its body uncopied.
pub(crate) fn apply(edits: &[Edit], message: &Bytes) -> Vec<Bytes> {
    if edits.is_empty() {
        return vec![message.clone()];
    }
    let message = &replace(edits, message);
    let end = header_end(message);
    let mut fields: Vec<Vec<u8>> = split_fields(&message.slice(..end));
    for edit in edits {
        match edit {
            Edit::AddField { name, value } => fields.insert(0, field(name, value)),
            Edit::RemoveField { name } => fields.retain(|field| !is_named(field, name)),
            Edit::ReplaceField { name, value } => {
                let place = fields.iter().position(|field| is_named(field, name)).unwrap_or(0);
                fields.retain(|field| !is_named(field, name));
                fields.insert(place.min(fields.len()), field(name, value));
            }
            Edit::ReplaceOctets { .. } => {}
        }
    }
    let mut segments = vec![Bytes::from(fields.concat())];
    // A message without the empty line had no body; a new header must not run into what was its first line.
    segments.push(if end == message.len() { Bytes::from_static(b"\r\n") } else { message.slice(end..) });
    segments
}

/// The message with other octets in the places that edits name; of two that touch, the later counts.
fn replace(edits: &[Edit], message: &Bytes) -> Bytes {
    let mut places: Vec<(Range<usize>, &str)> = Vec::new();
    for edit in edits {
        let Edit::ReplaceOctets { start, end, with } = edit else { continue };
        let within = |octets: u64| usize::try_from(octets).unwrap_or(usize::MAX).min(message.len());
        let place = within(*start)..within(*end).max(within(*start));
        places.retain(|(other, _)| other.end <= place.start || place.end <= other.start);
        places.push((place, with));
    }
    if places.is_empty() {
        return message.clone();
    }
    places.sort_by_key(|(place, _)| place.start);
    let (mut octets, mut next) = (Vec::with_capacity(message.len()), 0);
    for (place, with) in places {
        octets.extend_from_slice(&message[next..place.start]);
        octets.extend_from_slice(with.as_bytes());
        next = place.end;
    }
    octets.extend_from_slice(&message[next..]);
    octets.into()
}

/// A stored message in two: our own trace field, which is its first, and what came in.
pub(crate) fn behind_trace(message: &Bytes) -> (Bytes, Bytes) {
    let header = message.slice(..header_end(message));
    let trace = split_fields(&header).first().filter(|field| is_named(field, "Received")).map_or(0, Vec::len);
    (message.slice(..trace), message.slice(trace..))
}

/// Where the fields of that name stand in a message, with their folded lines and line ends.
pub(crate) fn places(message: &[u8], name: &str) -> Vec<Range<usize>> {
    let mut next = 0;
    let mut found = Vec::new();
    for field in split_fields(&message[..header_end(message)]) {
        let place = next..next + field.len();
        next = place.end;
        if is_named(&field, name) {
            found.push(place);
        }
    }
    found
}

/// Where the header section ends: before its empty line, or at the end.
fn header_end(message: &[u8]) -> usize {
    if message.starts_with(b"\r\n") {
        return 0;
    }
    message.windows(4).position(|window| window == b"\r\n\r\n").map_or(message.len(), |at| at + 2)
}

/// Each field with its folded lines and line ends.
fn split_fields(header: &[u8]) -> Vec<Vec<u8>> {
    header.split_inclusive(|octet| *octet == b'\n').fold(Vec::new(), |mut fields: Vec<Vec<u8>>, line| {
        match fields.last_mut() {
            Some(field) if line.starts_with(b" ") || line.starts_with(b"\t") => field.extend_from_slice(line),
            _ => fields.push(line.to_vec()),
        }
        fields
    })
}

fn is_named(field: &[u8], name: &str) -> bool {
    let colon = field.iter().position(|octet| *octet == b':').unwrap_or(field.len());
    field[..colon].trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}

fn field(name: &str, value: &str) -> Vec<u8> {
    let mut octets = format!("{name}: ").into_bytes();
    let column = octets.len();
    Text::new(value).write_header(&mut octets, column);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"Subject: old\r\n folded\r\nX-A: 1\r\nx-a: 2\r\nTo: b\r\n\r\nSubject: body\r\n";

    fn edited(edits: &[Edit], message: &'static [u8]) -> String {
        String::from_utf8(apply(edits, &Bytes::from_static(message)).concat()).expect("ASCII")
    }

    fn add(name: &str, value: &str) -> Edit {
        Edit::AddField { name: name.into(), value: value.into() }
    }

    #[test]
    fn untouched_octets_stay() {
        assert_eq!(edited(&[], MESSAGE).as_bytes(), MESSAGE);
        assert_eq!(edited(&[add("X-B", "3")], MESSAGE), format!("X-B: 3\r\n{}", std::str::from_utf8(MESSAGE).expect("ASCII")));
    }

    #[test]
    fn fields_go_with_their_folds_and_in_any_case() {
        let edits = [Edit::RemoveField { name: "X-a".into() }, Edit::ReplaceField { name: "subject".into(), value: "new".into() }];
        assert_eq!(edited(&edits, MESSAGE), "subject: new\r\nTo: b\r\n\r\nSubject: body\r\n");
    }

    #[test]
    fn a_message_without_header_or_body_gets_its_own() {
        assert_eq!(edited(&[add("X", "1")], b"\r\nbody\r\n"), "X: 1\r\n\r\nbody\r\n");
        assert_eq!(edited(&[add("X", "1")], b"Subject: s\r\n"), "X: 1\r\nSubject: s\r\n\r\n");
        assert_eq!(edited(&[add("X", "1")], b""), "X: 1\r\n\r\n");
    }

    #[test]
    fn our_trace_field_stays_in_front() {
        let parts = |octets: &'static [u8]| behind_trace(&Bytes::from_static(octets));
        assert_eq!(
            parts(b"Received: a\r\n\tb\r\nTo: b\r\n\r\nbody"),
            (Bytes::from("Received: a\r\n\tb\r\n"), Bytes::from("To: b\r\n\r\nbody"))
        );
        assert_eq!(parts(b"To: b\r\n\r\nbody").0, Bytes::new());
    }

    #[test]
    fn what_is_beyond_ascii_is_encoded_and_what_is_long_is_folded() {
        let text = edited(&[add("X", &"wörd ".repeat(60))], MESSAGE);
        assert!(text.lines().all(|line| line.len() <= 200) && text.is_ascii(), "{text}");
    }

    #[test]
    fn octets_give_way_in_their_place_and_the_later_counts() {
        let replace = |start, end, with: &str| Edit::ReplaceOctets { start, end, with: with.into() };
        let message = "A: 1\r\n\r\n0123456789";
        for (edits, expected) in [
            (vec![replace(9, 11, "x"), replace(14, 16, "yy")], "A: 1\r\n\r\n0x345yy89"),
            (vec![replace(14, 16, ""), replace(9, 11, "xyz")], "A: 1\r\n\r\n0xyz34589"),
            (vec![replace(9, 12, "x"), replace(11, 14, "y")], "A: 1\r\n\r\n012y6789"),
            (vec![replace(9, 11, "x"), add("B", "2")], "B: 2\r\nA: 1\r\n\r\n0x3456789"),
            (vec![replace(17, 99, "x"), replace(99, 98, "y")], "A: 1\r\n\r\n012345678xy"),
        ] {
            assert_eq!(edited(&edits, message.as_bytes()), expected, "{edits:?}");
        }
    }
}
