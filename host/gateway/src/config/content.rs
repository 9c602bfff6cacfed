//! `[content]` and `[escrow]`: how far messages are looked into, and with which keys.

use super::reader::Section;
use super::tls::{CertificateFiles, read_pair};
use super::value::Size;
use std::time::Duration;

/// `[content]`. Beyond a bound a policy sees that there is more, and `opaque-content` acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// `depth`: multiparts, messages and archives within each other. Default 50.
    pub depth: usize,
    /// `parts`: of one message, files in archives among them. Default 10,000.
    pub parts: usize,
    /// `time`: for reading all documents of one message; less than `policy.limits.wall`. Default `"3s"`.
    pub time: Duration,
    /// `text`: text of one part. Default `"4MiB"`; octets here.
    pub text_octets: u64,
    /// `documents`: what the documents of one message are unpacked to while they are read. Default `"128MiB"`; octets here.
    pub document_octets: u64,
    /// `archives`: what the archives of one message are unpacked to; it is in memory while the policies are asked. Default `"32MiB"`;
    /// octets here.
    pub archive_octets: u64,
    /// `ratio`: how many times its size an archive or document may be unpacked to; what stays under 1 MiB always may. Default 200.
    pub ratio: u32,
    /// `reader.memory`: memory of the process that reads a PDF. Default `"256MiB"`; octets here.
    pub reader_memory_octets: u64,
    /// `reader.processes`: documents that are read at the same time, for all messages together. Default 4.
    pub reader_processes: usize,
}

/// `[escrow]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escrow {
    /// `keys`: list of `{ cert = "escrow.pem", key = "escrow.key" }`, PEM files, the key in PKCS #8. S/MIME that is encrypted to one of
    /// them is opened so that the policies see what is in it; the message travels on as it came. Default none.
    pub keys: Vec<CertificateFiles>,
    /// `openings`: parts of one message that keys are tried on; each takes about a millisecond. What is not tried stays opaque. Default 20.
    pub openings: usize,
}

impl Content {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let octets = |section: &mut Section<'_>, key: &'static str, default: u64| section.or(key, Size(default)).0;
        let (depth, parts) = (section.or("depth", 50), section.or("parts", 10_000));
        let time = section.or("time", Duration::from_secs(3));
        let text_octets = octets(section, "text", 4 << 20);
        let document_octets = octets(section, "documents", 128 << 20);
        let archive_octets = octets(section, "archives", 32 << 20);
        let ratio = section.or("ratio", 200);
        section.table("reader", |section| Self {
            depth,
            parts,
            time,
            text_octets,
            document_octets,
            archive_octets,
            ratio,
            reader_memory_octets: octets(section, "memory", 256 << 20),
            reader_processes: section.or("processes", 4),
        })
    }
}

impl Escrow {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { keys: section.tables("keys", read_pair).into_iter().flatten().collect(), openings: section.or("openings", 20) }
    }
}
