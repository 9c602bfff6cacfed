//! Files in archives (ZIP, gzip), unpacked within bounds. Names are listed even where the content is encrypted or too large.

use crate::text::{self, Bounds};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// What unpacks to less is no bomb, whatever its ratio.
const ALWAYS_ALLOWED: u64 = 1 << 20;

/// One file.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// Empty where it was not unpacked.
    pub(super) octets: Bytes,
    /// It needs a password.
    pub(super) encrypted: bool,
    /// It is larger than the bounds, damaged, or under a compression that is not read.
    pub(super) unread: bool,
}

/// What an archive holds.
#[derive(Debug, Default)]
pub(super) struct Archive {
    pub(super) members: Vec<Member>,
    /// There are more files than may be listed, or the list is damaged.
    pub(super) incomplete: bool,
}

/// What the archives of one message may still be unpacked to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) octets: u64,
    pub(super) ratio: u64,
}

impl Room {
    pub(super) fn of(bounds: &Bounds) -> Self {
        Self { octets: bounds.archive_bytes, ratio: bounds.ratio.into() }
    }

    /// Unpacks one file. `None` when it is larger than it may be, or damaged; what it took is taken from the room.
    fn unpack(&mut self, packed: u64, reader: impl Read) -> Option<Bytes> {
        let most = packed.saturating_mul(self.ratio).max(ALWAYS_ALLOWED).min(self.octets);
        let mut octets = Vec::new();
        let read = reader.take(most.saturating_add(1)).read_to_end(&mut octets);
        self.octets = self.octets.saturating_sub(octets.len() as u64);
        (read.is_ok() && octets.len() as u64 <= most).then(|| octets.into())
    }
}

/// Whether this is an archive that is opened: documents that are ZIP packages are read as documents.
pub(super) fn is_one(octets: &[u8]) -> bool {
    octets.starts_with(b"\x1f\x8b\x08") || octets.starts_with(b"PK\x03\x04") && text::document(octets).is_none()
}

/// Opens an archive and unpacks at most `most` files. `None` for what is none.
pub(super) fn open(octets: &Bytes, room: &mut Room, most: usize) -> Option<Archive> {
    if octets.starts_with(b"PK") {
        return Some(zip(octets, room, most));
    }
    octets.starts_with(b"\x1f\x8b\x08").then(|| gzip(octets, room))
}

/// RFC 1952. The name in its header, where there is one, says what comes out.
fn gzip(octets: &Bytes, room: &mut Room) -> Archive {
    let decoder = MultiGzDecoder::new(&octets[..]);
    let name = decoder.header().and_then(|header| header.filename()).map(|name| String::from_utf8_lossy(name).into_owned());
    let unpacked = room.unpack(octets.len() as u64, decoder);
    let unread = unpacked.is_none();
    let member = Member { name: name.unwrap_or_default(), octets: unpacked.unwrap_or_default(), encrypted: false, unread };
    Archive { members: vec![member], incomplete: false }
}

fn zip(octets: &Bytes, room: &mut Room, most: usize) -> Archive {
    // What is no archive for this reader may be one for others.
    let Ok(mut zip) = ZipArchive::new(Cursor::new(&octets[..])) else {
        return Archive { members: Vec::new(), incomplete: true };
    };
    let mut archive = Archive { members: Vec::new(), incomplete: zip.len() > most };
    for index in 0..zip.len().min(most) {
        let name = zip.name_for_index(index).unwrap_or_default().to_owned();
        let mut member = Member { name, octets: Bytes::new(), encrypted: false, unread: false };
        match zip.by_index(index) {
            Ok(file) if file.is_dir() => continue,
            Ok(file) => match room.unpack(file.compressed_size(), file) {
                Some(octets) => member.octets = octets,
                None => member.unread = true,
            },
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED)) => member.encrypted = true,
            Err(_) => member.unread = true,
        }
        archive.members.push(member);
    }
    archive
}

/// The media type that a name promises, as far as it matters to what is looked into.
pub(super) fn kind_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("eml") => "message/rfc822",
        Some("htm" | "html" | "xhtml") => "text/html",
        Some("txt" | "csv" | "md" | "log") => "text/plain",
        _ => "application/octet-stream",
    }
}
