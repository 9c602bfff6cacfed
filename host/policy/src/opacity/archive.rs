//! Encrypted archives by their octets: ZIP, 7z, RAR, and files under age or `openssl enc`.

use memchr::memmem;
use sevenz_rust2::{Archive, EncoderMethod, Password};
use std::io::Cursor;

/// Headers of 7z archives are read up to this size; above, the archive is taken for encrypted because nobody looked.
const SEVENZ_HEADER_MAX: u64 = 4 << 20;

/// Blocks of a RAR archive that are looked at.
const RAR_BLOCKS_MAX: usize = 10_000;

/// Whether anything in the archive can be read only with a key or password. `false` for what is no archive.
pub(crate) fn is_encrypted(octets: &[u8]) -> bool {
    is_encrypted_zip(octets) || is_encrypted_7z(octets) || is_encrypted_rar(octets) || is_encrypted_file(octets)
}

/// A ZIP, perhaps behind a program that unpacks it, with a header whose general purpose flag has bit 0 set (APPNOTE 4.4.4).
fn is_encrypted_zip(octets: &[u8]) -> bool {
    let encrypted = |signature: &[u8], flags: usize| {
        memmem::find_iter(octets, signature).any(|place| {
            let Some([low, _, method, 0]) = octets.get(place + flags..place + flags + 4) else { return false };
            // Compression methods of APPNOTE 4.4.5, and AES: what is in compressed data by chance has others.
            low & 1 == 1 && matches!(method, 0..=20 | 93..=99)
        })
    };
    // Self-extracting archives begin as a program.
    let may_be_zip = octets.starts_with(b"PK") || octets.starts_with(b"MZ");
    may_be_zip && (encrypted(b"PK\x03\x04", 6) || encrypted(b"PK\x01\x02", 8))
}

/// A 7z whose files or header go through AES.
fn is_encrypted_7z(octets: &[u8]) -> bool {
    let Some(header) = octets.strip_prefix(b"7z\xbc\xaf\x27\x1c") else { return false };
    let size = header.get(14..22).and_then(|size| size.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes);
    if size > SEVENZ_HEADER_MAX {
        return true;
    }
    match Archive::read(&mut Cursor::new(octets), &Password::empty()) {
        Ok(archive) => {
            let aes = EncoderMethod::AES256_SHA256.id();
            archive.blocks.iter().flat_map(|block| &block.coders).any(|coder| coder.encoder_method_id() == aes)
        }
        // An encrypted header, or one that no reader understands.
        Err(_) => true,
    }
}

/// A RAR with encrypted headers, or a file in it that is encrypted.
fn is_encrypted_rar(octets: &[u8]) -> bool {
    if let Some(blocks) = octets.strip_prefix(b"Rar!\x1a\x07\x01\x00") {
        return rar5(blocks).unwrap_or(false);
    }
    octets.strip_prefix(b"Rar!\x1a\x07\x00").is_some_and(|blocks| rar4(blocks).unwrap_or(false))
}

/// RAR 5.0 archive format: CRC, size, type, flags; type 4 is the encryption of all headers, type 2 a file.
fn rar5(mut rest: &[u8]) -> Option<bool> {
    for _ in 0..RAR_BLOCKS_MAX {
        let (size, after_size) = number(rest.get(4..)?)?;
        let header = after_size.get(..size)?;
        let (kind, fields) = number(header)?;
        let (flags, mut fields) = number(fields)?;
        let mut take = |present: bool| {
            let (value, after) = if present { number(fields)? } else { (0, fields) };
            fields = after;
            Some(value)
        };
        let (extra, data) = (take(flags & 1 != 0)?, take(flags & 2 != 0)?);
        if kind == 4 || matches!(kind, 2 | 3) && extra_is_encryption(header.get(header.len().checked_sub(extra)?..)?) {
            return Some(true);
        }
        rest = after_size.get(size.checked_add(data)?..)?;
    }
    None
}

/// Records of a file's extra area: size, type; type 1 is encryption.
fn extra_is_encryption(mut extra: &[u8]) -> bool {
    while let Some((size, record)) = number(extra) {
        if number(record).is_some_and(|(kind, _)| kind == 1) {
            return true;
        }
        let Some(next) = record.get(size..) else { break };
        extra = next;
    }
    false
}

/// Seven bits an octet, the least first.
fn number(octets: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (place, octet) in octets.iter().take(9).enumerate() {
        value |= usize::from(octet & 0x7f) << (7 * place);
        if octet & 0x80 == 0 {
            return Some((value, &octets[place + 1..]));
        }
    }
    None
}

/// RAR 1.5 to 4: CRC, type, flags, size; 0x73 is the archive (flag 0x80: its headers are encrypted), 0x74 a file (flag 4: encrypted).
fn rar4(mut rest: &[u8]) -> Option<bool> {
    for _ in 0..RAR_BLOCKS_MAX {
        let [_, _, kind, flag_low, flag_high, size_low, size_high, fields @ ..] = rest else { return None };
        if *kind == 0x73 && flag_low & 0x80 != 0 || *kind == 0x74 && flag_low & 0x04 != 0 {
            return Some(true);
        }
        let mut length = usize::from(u16::from_le_bytes([*size_low, *size_high]));
        if *flag_high & 0x80 != 0 || *kind == 0x74 {
            length = length.checked_add(u32::from_le_bytes(fields.get(..4)?.try_into().ok()?) as usize)?;
        }
        rest = rest.get(length.max(7)..)?;
    }
    None
}

/// Formats of a single encrypted file.
fn is_encrypted_file(octets: &[u8]) -> bool {
    [&b"age-encryption.org/v1\n"[..], b"-----BEGIN AGE ENCRYPTED FILE-----", b"Salted__"].iter().any(|start| octets.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RAR is not free software: its archives are made here by their description.
    #[test]
    fn rar_archives_of_both_kinds() {
        let block5 = |kind: u8, extra: &[u8]| {
            let fields = if extra.is_empty() { vec![kind, 0] } else { vec![kind, 1, u8::try_from(extra.len()).expect("short")] };
            let header = [&fields[..], extra].concat();
            [&[0; 4][..], &[u8::try_from(header.len()).expect("short")], &header].concat()
        };
        let rar5 = |blocks: &[Vec<u8>]| [b"Rar!\x1a\x07\x01\x00".to_vec(), blocks.concat()].concat();
        let block4 = |kind: u8, flags: u16| {
            let length: u16 = if kind == 0x74 { 11 } else { 7 };
            let rest: &[u8] = if kind == 0x74 { &[0; 4] } else { &[] };
            [&[0, 0, kind][..], &flags.to_le_bytes(), &length.to_le_bytes(), rest].concat()
        };
        let rar4 = |blocks: &[Vec<u8>]| [b"Rar!\x1a\x07\x00".to_vec(), blocks.concat()].concat();
        for (octets, expected) in [
            (rar5(&[block5(1, &[]), block5(2, &[]), block5(5, &[])]), false),
            (rar5(&[block5(4, &[])]), true),
            (rar5(&[block5(1, &[]), block5(2, &[2, 3, 0, 2, 1, 0])]), true),
            (rar5(&[block5(1, &[]), block5(2, &[2, 3, 0])]), false),
            (rar4(&[block4(0x73, 0), block4(0x74, 0), block4(0x74, 0)]), false),
            (rar4(&[block4(0x73, 0x80)]), true),
            (rar4(&[block4(0x73, 0), block4(0x74, 0), block4(0x74, 4)]), true),
        ] {
            assert_eq!(is_encrypted(&octets), expected, "{octets:?}");
        }
    }
}
