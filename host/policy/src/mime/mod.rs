//! The structure of a message as policies see it (RFC 5322, RFC 2045 to 2047, RFC 2231): made once, when the first policy looks, and bounded.
//!
//! The structure is read here, strictly and without recursion; the octets are decoded by libraries. Where a mail reader could read a message
//! otherwise, that is an [`ambiguity`]. What lies too deep, or is too much, is `unreadable`: a policy that must know the content can see that it
//! does not.

mod ambiguity;
mod archive;
mod decode;
mod edit;
mod header;
mod multipart;
mod parameters;
mod part;
mod tnef;
mod walk;

use crate::bindings::secmx::policy::message::{Ambiguity, Part};
use crate::facts::Octets;
use crate::lens::Lens;
use crate::text::{Budget, Extract, Gap};
use bytes::Bytes;
use memchr::memmem;
use part::Leaf;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use walk::Found;

pub(crate) use decode::guess;
pub(crate) use parameters::Parameters;

/// Base64, read as leniently as mail readers do.
pub(crate) fn base64_of(octets: &[u8]) -> Vec<u8> {
    decode::base64(octets, &mut decode::Malformed::default())
}

/// A message, taken apart.
#[derive(Debug)]
pub(crate) struct View {
    raw: Bytes,
    found: Found,
    lens: Arc<Lens>,
    /// What is left for reading documents.
    budget: Mutex<Budget>,
}

impl View {
    /// Reads and parses the whole message.
    pub(crate) fn of(octets: &dyn Octets, lens: Arc<Lens>) -> Self {
        let raw = octets.all();
        let found = catch_unwind(AssertUnwindSafe(|| walk::walk(&raw, &lens)));
        let unreadable = |_| Found { leaves: vec![Leaf::unreadable(raw.clone())], ..Found::default() };
        let found = found.unwrap_or_else(unreadable);
        Self { budget: Mutex::new(Budget::new(&lens.bounds)), raw, found, lens }
    }

    /// Name and raw value of every field of the header, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.found.fields.iter().map(|field| (std::str::from_utf8(&field.name).unwrap_or_default(), field.value.trim_ascii()))
    }

    /// Every value of a field, unfolded and decoded (RFC 2047).
    pub(crate) fn text(&self, name: &str) -> Vec<String> {
        let named = self.found.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|field| header::text(&field.value)).collect()
    }

    /// All parts, each before those within it.
    pub(crate) fn parts(&self) -> Vec<Part> {
        self.found.leaves.iter().map(|leaf| leaf.part.clone()).collect()
    }

    /// Where mail readers disagree.
    pub(crate) fn ambiguities(&self) -> Vec<Ambiguity> {
        self.found.odd.iter().map(|(part, odd)| Ambiguity { part: *part, what: odd.word().to_owned() }).collect()
    }

    /// Every name of a part; `None` when there is no such part.
    pub(crate) fn file_names(&self, index: u32) -> Option<&[String]> {
        self.leaf(index).map(|leaf| leaf.names.as_slice())
    }

    /// The decoded octets of a part; `None` when there is no such part.
    pub(crate) fn body(&self, index: u32) -> Option<&[u8]> {
        self.leaf(index).map(|leaf| leaf.body.as_ref())
    }

    /// Whether the text of these parts, all when none is named, is a matter of microseconds.
    pub(crate) fn is_quick(&self, index: Option<u32>) -> bool {
        match index {
            Some(index) => self.leaf(index).is_none_or(Leaf::is_quick),
            None => self.found.leaves.iter().all(Leaf::is_quick),
        }
    }

    /// The text of a part; `None` when there is no such part, `Some(None)` when it is no text. Blocks while it is read.
    pub(crate) fn part_text(&self, index: u32) -> Option<Option<&str>> {
        self.extract(index).map(|extract| extract.map(|extract| extract.text.as_str()))
    }

    /// Why the text of a part is not all there; `None` when there is no such part. Blocks while it is read.
    pub(crate) fn gap(&self, index: u32) -> Option<Option<Gap>> {
        self.extract(index).map(|extract| extract.and_then(|extract| extract.gap))
    }

    /// Whether a part is S/MIME that a key of escrow opened, or lies within; `None` when there is no such part.
    pub(crate) fn is_opened(&self, index: u32) -> Option<bool> {
        self.leaf(index).map(|leaf| leaf.opened)
    }

    fn extract(&self, index: u32) -> Option<Option<&Extract>> {
        self.leaf(index).map(|leaf| leaf.text(&self.lens, &self.budget))
    }

    /// SHA-256 of the decoded octets.
    pub(crate) fn digest(&self, index: u32) -> Option<Vec<u8>> {
        self.body(index).map(|body| Sha256::digest(body).to_vec())
    }

    /// Places of the needles that occur in the subject or in the text of any part.
    pub(crate) fn find(&self, needles: &[String], ignore_case: bool) -> Vec<u32> {
        let fold = |text| if ignore_case { Cow::Owned(str::to_lowercase(text)) } else { Cow::Borrowed(text) };
        let subjects = self.text("Subject");
        let parts = self.found.leaves.iter().filter_map(|leaf| leaf.text(&self.lens, &self.budget)).map(|extract| extract.text.as_str());
        let texts: Vec<Cow<'_, str>> = subjects.iter().map(String::as_str).chain(parts).map(fold).collect();
        let occurs = |needle: &str| {
            let finder = memmem::Finder::new(needle);
            texts.iter().any(|text| finder.find(text.as_bytes()).is_some())
        };
        (0..).zip(needles).filter(|(_, needle)| occurs(&fold(needle))).map(|(index, _)| index).collect()
    }

    fn leaf(&self, index: u32) -> Option<&Leaf> {
        self.found.leaves.get(index as usize)
    }
}

#[cfg(test)]
mod tests;
