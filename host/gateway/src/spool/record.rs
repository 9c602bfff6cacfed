//! The frame around every stored record: version, table, length, checksum, payload, end mark (durability rule 2).
//!
//! The checksum (CRC-32C, RFC 3720, appendix B.4) covers the key too, so that a record under another's key is not believed. The reader
//! takes nothing but exactly what was written.

use super::tables::Table;
use std::fmt;

const VERSION: u8 = 1;
const END: &[u8] = b"end\n";
/// Version, table, length of the payload (4 octets), checksum (4 octets); numbers in big-endian order.
const HEAD: usize = 10;

/// Why something is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Truncated,
    Version(u8),
    Table,
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
            Self::Table => f.write_str("a record of another table"),
            Self::Length => f.write_str("not as long as it says"),
            Self::EndMark => f.write_str("without its end mark"),
            Self::Checksum => f.write_str("its checksum does not match"),
            Self::Content => f.write_str("its content cannot be understood"),
        }
    }
}

/// The record of `payload`, given in segments, for `key` in `table`.
pub(super) fn seal(table: Table, key: &[u8], payload: &[&[u8]]) -> Vec<u8> {
    let length: usize = payload.iter().map(|segment| segment.len()).sum();
    let mut record = Vec::with_capacity(HEAD + length + END.len());
    record.extend([VERSION, tag(table)]);
    // A payload is a chunk or one envelope; 4 GiB of either cannot be held in memory to get here.
    record.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    let checksum = payload.iter().fold(checksum(key, &record), |sum, segment| crc32c::crc32c_append(sum, segment));
    record.extend(checksum.to_be_bytes());
    payload.iter().for_each(|segment| record.extend_from_slice(segment));
    record.extend(END);
    record
}

/// The payload of `record`, which was found under `key` in `table`.
pub(super) fn unseal<'a>(table: Table, key: &[u8], record: &'a [u8]) -> Result<&'a [u8], Broken> {
    let (head, rest) = record.split_first_chunk::<HEAD>().ok_or(Broken::Truncated)?;
    let [version, found, length @ .., c0, c1, c2, c3] = head;
    if *version != VERSION {
        return Err(Broken::Version(*version));
    }
    if *found != tag(table) {
        return Err(Broken::Table);
    }
    let payload = rest.strip_suffix(END).ok_or(Broken::EndMark)?;
    if u32::try_from(payload.len()).map(u32::to_be_bytes).as_ref() != Ok(length) {
        return Err(Broken::Length);
    }
    let sum = crc32c::crc32c_append(checksum(key, &head[..HEAD - 4]), payload);
    if sum == u32::from_be_bytes([*c0, *c1, *c2, *c3]) { Ok(payload) } else { Err(Broken::Checksum) }
}

/// Part of the format: not to be changed.
fn tag(table: Table) -> u8 {
    match table {
        Table::Messages => b'M',
        Table::Deliveries => b'D',
        Table::Chunks => b'C',
        Table::Attempts => b'A',
        Table::SetAside => b'S',
        Table::Notes => b'N',
    }
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
        let record = seal(Table::Chunks, b"key", &[b"one ", b"", b"two"]);
        assert_eq!(unseal(Table::Chunks, b"key", &record), Ok(&b"one two"[..]));
        assert_eq!(unseal(Table::Chunks, b"key", &seal(Table::Chunks, b"key", &[])), Ok(&b""[..]));
    }

    /// Durability rule 2: "The reader refuses anything else".
    #[test]
    fn nothing_else_does() {
        let record = seal(Table::Messages, b"key", &[b"payload"]);
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut flipped = record.clone();
                flipped[at] ^= 1 << bit;
                assert!(unseal(Table::Messages, b"key", &flipped).is_err(), "octet {at}, bit {bit}");
            }
            assert!(unseal(Table::Messages, b"key", &record[..at]).is_err(), "cut at {at}");
        }
        let longer = [&record[..], b"x"].concat();
        assert!(unseal(Table::Messages, b"key", &longer).is_err());
        assert_eq!(unseal(Table::Messages, b"kez", &record), Err(Broken::Checksum), "a record belongs to its key");
        assert_eq!(unseal(Table::Deliveries, b"key", &record), Err(Broken::Table));
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
            assert!(unseal(Table::Deliveries, b"k", &garbage).is_err());
        }
    }
}
