//! Text of what people attach: HTML, PDF, Office (OOXML) and OpenDocument documents, as a reader of them would show it.
//!
//! Hostile documents are ordinary mail. What is unpacked, written and waited for is bounded ([`Bounds`]), nothing here recurses without
//! a limit, and PDF, whose readers are large, is read in a process of its own where there is a program for it ([`Program`]). Text that is
//! not all there says why ([`Gap`]): a policy that must know the content can see that it does not.

mod html;
mod package;
mod pdf;
mod program;
mod sink;

pub(crate) use html::html;
pub use program::{Program, answer};
pub(crate) use sink::{Budget, Sink};

use crate::lens::Lens;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How far messages are looked into. Beyond a bound, what is there is a fact that policies see, never an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Multiparts, messages and archives within each other.
    pub depth: usize,
    /// Parts of one message, those within archives too.
    pub parts: usize,
    /// S/MIME of one message that keys of escrow are tried on: each costs about a millisecond.
    pub openings: usize,
    /// Time for reading all documents of one message.
    pub time: Duration,
    /// Text of one part, octets of UTF-8.
    pub text_bytes: u64,
    /// What the documents of one message are unpacked to while they are read, octets; not kept.
    pub document_bytes: u64,
    /// What the archives of one message are unpacked to, octets; kept while the policies are asked.
    pub archive_bytes: u64,
    /// How many times its size an archive or document may be unpacked to. What stays under 1 MiB always may.
    pub ratio: u32,
    /// Memory of the process that reads a PDF, octets.
    pub memory_bytes: u64,
    /// Processes that read PDFs at the same time, for all messages together.
    pub programs: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            depth: 50,
            parts: 10_000,
            openings: 20,
            time: Duration::from_secs(3),
            text_bytes: 4 << 20,
            document_bytes: 128 << 20,
            archive_bytes: 32 << 20,
            ratio: 200,
            memory_bytes: 256 << 20,
            programs: 4,
        }
    }
}

/// Why the text of a part is not all that a reader would show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// It unpacks to more than a bound.
    TooLarge,
    /// It takes longer than a bound.
    TooLong,
    /// It is not what it says it is, or what reads it failed.
    Damaged,
}

impl Gap {
    /// The word that policies see.
    pub fn word(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::TooLong => "too-long",
            Self::Damaged => "damaged",
        }
    }
}

/// Text, and why it is not all there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extract {
    pub(crate) text: String,
    pub(crate) gap: Option<Gap>,
}

impl Extract {
    /// Nothing, because what reads it failed.
    pub(crate) fn damaged() -> Self {
        Self { text: String::new(), gap: Some(Gap::Damaged) }
    }
}

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    Pdf,
    /// DOCX, XLSX, PPTX and their kin (ECMA-376).
    Ooxml,
    /// ODT, ODS, ODP and their kin (ISO/IEC 26300).
    Odf,
}

/// What kind of document this is, by its octets.
pub(crate) fn document(octets: &[u8]) -> Option<Document> {
    // Readers find it in the first 1,024 octets.
    if memchr::memmem::find(&octets[..octets.len().min(1_024)], b"%PDF-").is_some() {
        return Some(Document::Pdf);
    }
    package::kind(octets)
}

/// Reads a document, within the bounds and what the message has left of them. Blocks.
pub(crate) fn read(document: Document, octets: &Bytes, lens: &Lens, budget: &mut Budget) -> Extract {
    if let (Document::Pdf, Some(program)) = (document, &lens.program) {
        return program.read(octets, &lens.bounds, budget);
    }
    let mut sink = Sink::new(&lens.bounds, octets.len(), budget);
    // What a library does with hostile octets must not take the process along.
    let outcome = catch_unwind(AssertUnwindSafe(|| match document {
        Document::Pdf => pdf::read(octets, &mut sink),
        Document::Ooxml | Document::Odf => package::read(document, octets, &mut sink, 0),
    }));
    let gap = outcome.unwrap_or(Err(Gap::Damaged)).err();
    Extract { text: sink.finish(), gap }
}

#[cfg(test)]
mod tests;
