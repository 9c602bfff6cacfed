//! OpenPGP by its octets: armour in text, packets in binary (RFC 9580).

use memchr::memmem;

const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
const END: &[u8] = b"-----END PGP MESSAGE-----";

/// The least that an armoured message can be between its two lines.
const ARMOUR_MIN: usize = 64;

/// Packet types, RFC 9580, 5.
const PUBLIC_KEY_SESSION_KEY: u8 = 1;
const SYMMETRIC_KEY_SESSION_KEY: u8 = 3;
const ENCRYPTED_DATA: [u8; 3] = [9, 18, 20];

/// Whether this is, or holds, an OpenPGP message. What is signed only and wrapped in a message counts: it cannot be read either.
pub(crate) fn is_message(octets: &[u8]) -> bool {
    is_armoured(octets) || is_binary(octets)
}

/// Both lines of the armour, with something between them: text that only talks of armour has neither.
fn is_armoured(octets: &[u8]) -> bool {
    memmem::find(octets, BEGIN)
        .and_then(|begin| memmem::find(&octets[begin + BEGIN.len()..], END))
        .is_some_and(|between| between >= ARMOUR_MIN)
}

/// A session key packet that is followed by another or by encrypted data, or old encrypted data alone.
fn is_binary(octets: &[u8]) -> bool {
    let Some((tag, body, rest)) = packet(octets) else { return false };
    let plausible = match tag {
        PUBLIC_KEY_SESSION_KEY => matches!(body.first(), Some(2 | 3 | 6)),
        SYMMETRIC_KEY_SESSION_KEY => matches!(body.first(), Some(4..=6)),
        _ => false,
    };
    let follows = |tag: u8| tag == PUBLIC_KEY_SESSION_KEY || tag == SYMMETRIC_KEY_SESSION_KEY || ENCRYPTED_DATA.contains(&tag);
    plausible && rest.first().is_some_and(|first| first & 0x80 != 0 && follows(tag_of(*first)))
}

fn tag_of(first: u8) -> u8 {
    if first & 0x40 != 0 { first & 0x3f } else { first >> 2 & 0x0f }
}

/// The first packet: its type, its body, and what follows. Only of a definite length, which session keys have.
fn packet(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [first, rest @ ..] = octets else { return None };
    if first & 0x80 == 0 {
        return None;
    }
    let (length, rest) = if first & 0x40 != 0 {
        match rest {
            [one @ 0..192, rest @ ..] => (usize::from(*one), rest),
            [one @ 192..224, two, rest @ ..] => ((usize::from(*one) - 192) * 256 + usize::from(*two) + 192, rest),
            [255, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest),
            _ => return None,
        }
    } else {
        match (first & 3, rest) {
            (0, [one, rest @ ..]) => (usize::from(*one), rest),
            (1, [one, two, rest @ ..]) => (usize::from(u16::from_be_bytes([*one, *two])), rest),
            (2, [a, b, c, d, rest @ ..]) => (u32::from_be_bytes([*a, *b, *c, *d]) as usize, rest),
            _ => return None,
        }
    };
    let (body, rest) = rest.split_at_checked(length)?;
    Some((tag_of(*first), body, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk_about_armour_is_no_armour() {
        assert!(!is_message(b"It begins with -----BEGIN PGP MESSAGE----- and ends with -----END PGP MESSAGE-----."));
        let text = format!("-----BEGIN PGP MESSAGE-----\r\n\r\n{}\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n", "A".repeat(64));
        assert!(is_message(text.as_bytes()));
    }

    #[test]
    fn a_session_key_before_encrypted_data_is_a_message() {
        let old = [&[0x84, 4, 3, 0, 0, 0][..], &[0xd2, 10]].concat();
        let new = [&[0xc3, 3, 4, 9, 0][..], &[0xd2, 10]].concat();
        for (octets, expected) in
            [(old.as_slice(), true), (&new, true), (&old[..6], false), (b"\x84\x04\x09\0\0\0\xd2", false), (b"", false)]
        {
            assert_eq!(is_message(octets), expected, "{octets:?}");
        }
    }
}
