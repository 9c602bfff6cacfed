//! The frame around every stored record: version, kind, length, checksum, payload, end mark (durability rule 2).
//!
//! The checksum (CRC-32C, RFC 3720, appendix B.4) covers the key too, so that a record under another's key is not believed. The reader
//! takes nothing but exactly what was written.

use std::fmt;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Message = b'M',
    Delivery = b'D',
    Chunk = b'C',
    Attempt = b'A',
}

const VERSION: u8 = 1;
const END: &[u8] = b"end\n";
/// Version, kind, length of the payload (4 octets), checksum (4 octets); numbers in big-endian order.
const HEAD: usize = 10;

/// Why something is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Truncated,
    Version(u8),
    Kind,
    Length,
    EndMark,
    Checksum,
    Content,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("shorter than any record"),
            Self::Version(version) => write!(f, "of version {version}, which is not known"),
            Self::Kind => f.write_str("of another kind than its place says"),
            Self::Length => f.write_str("not as long as it says"),
            Self::EndMark => f.write_str("without its end mark"),
            Self::Checksum => f.write_str("its checksum does not match"),
            Self::Content => f.write_str("its content cannot be understood"),
        }
    }
}

/// The record of `payload`, given in segments, under `key`.
pub(super) fn seal(kind: Kind, key: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let length: usize = payload.iter().map(|segment| segment.len()).sum();
    let mut record = Vec::with_capacity(HEAD + length + END.len());
    record.extend([VERSION, kind as u8]);
    // A payload is a chunk or one envelope; 4 GiB of either cannot be held in memory to get here.
    record.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    let checksum = payload.iter().fold(checksum(key, &record), |sum, segment| crc32c::crc32c_append(sum, segment));
    record.extend(checksum.to_be_bytes());
    payload.iter().for_each(|segment| record.extend_from_slice(segment));
    record.extend(END);
    record
}

/// The payload of `record`, which was found under `key`.
pub(super) fn unseal<'a>(kind: Kind, key: &[u8], record: &'a [u8]) -> Result<&'a [u8], Broken> {
    let (head, rest) = record.split_first_chunk::<HEAD>().ok_or(Broken::Truncated)?;
    let [version, found, length @ .., c0, c1, c2, c3] = head;
    if *version != VERSION {
        return Err(Broken::Version(*version));
    }
    if *found != kind as u8 {
        return Err(Broken::Kind);
    }
    let payload = rest.strip_suffix(END).ok_or(Broken::EndMark)?;
    if u32::try_from(payload.len()).map(u32::to_be_bytes).as_ref() != Ok(length) {
        return Err(Broken::Length);
    }
    let sum = crc32c::crc32c_append(checksum(key, &head[..HEAD - 4]), payload);
    if sum == u32::from_be_bytes([*c0, *c1, *c2, *c3]) { Ok(payload) } else { Err(Broken::Checksum) }
}

fn checksum(key: &[u8], head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn what_was_written_reads_back() {
        let record = seal(Kind::Chunk, b"key", &[b"one ", b"", b"two"]);
        assert_eq!(unseal(Kind::Chunk, b"key", &record), Ok(&b"one two"[..]));
        assert_eq!(unseal(Kind::Chunk, b"key", &seal(Kind::Chunk, b"key", &[])), Ok(&b""[..]));
    }

    /// Durability rule 2: "The reader refuses anything else".
    #[test]
    fn nothing_else_does() {
        let record = seal(Kind::Message, b"key", &[b"payload"]);
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut flipped = record.clone();
                flipped[at] ^= 1 << bit;
                assert!(unseal(Kind::Message, b"key", &flipped).is_err(), "octet {at}, bit {bit}");
            }
            assert!(unseal(Kind::Message, b"key", &record[..at]).is_err(), "cut at {at}");
        }
        let longer = [&record[..], b"x"].concat();
        assert!(unseal(Kind::Message, b"key", &longer).is_err());
        assert_eq!(unseal(Kind::Message, b"kez", &record), Err(Broken::Checksum), "a record belongs to its key");
        assert_eq!(unseal(Kind::Delivery, b"key", &record), Err(Broken::Kind));
    }

    /// S12: no octets make the reader panic, and none that were not sealed are believed.
    #[test]
    fn garbage_is_refused() {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..20_000 {
            let mut garbage = vec![0; random.random_range(0..40)];
            random.fill(&mut garbage[..]);
            // Most garbage fails at its first octet; let some of it get further.
            if let [version, kind, a, b, c, length, ..] = &mut garbage[..] {
                (*version, *kind, *a, *b, *c, *length) = (VERSION, b'D', 0, 0, 0, *length % 40);
            }
            garbage.extend(END);
            assert!(unseal(Kind::Delivery, b"k", &garbage).is_err());
        }
    }
}
