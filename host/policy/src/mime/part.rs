//! One part, with its octets, and its text when somebody asks for it.

use super::decode;
use crate::bindings::secmx::policy::message::{Opacity, Part};
use crate::lens::Lens;
use crate::text::{self, Budget, Extract, Sink};
use bytes::Bytes;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Parts of up to this many octets are read at once; others off the way of other messages.
const SMALL: usize = 64 << 10;

/// A part with its content. Multiparts that hold other parts have none of their own.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) part: Part,
    /// Every name that a reader could show, the likeliest first.
    pub(crate) names: Vec<String>,
    /// After the transfer encoding was undone.
    pub(crate) body: Bytes,
    /// Header and body in the message as received; `None` for what lies within something encoded.
    pub(crate) place: Option<Range<usize>>,
    /// It is S/MIME that a key of escrow opened, or lies within.
    pub(crate) opened: bool,
    text: OnceLock<Option<Extract>>,
}

impl Leaf {
    pub(crate) fn new(part: Part, names: Vec<String>, body: Bytes, place: Option<Range<usize>>) -> Self {
        Self { part, names, body, place, opened: false, text: OnceLock::new() }
    }

    /// What stands for a message that could not be taken apart.
    pub(crate) fn unreadable(raw: Bytes) -> Self {
        let part = Part {
            index: 0,
            parent: None,
            content_type: "application/octet-stream".into(),
            charset: None,
            file_name: None,
            attachment: false,
            decoded_octets: raw.len() as u64,
            opacity: Opacity::Unreadable,
        };
        let place = 0..raw.len();
        Self::new(part, Vec::new(), raw, Some(place))
    }

    /// Whether its text is known, or is a matter of microseconds.
    pub(crate) fn is_quick(&self) -> bool {
        self.text.get().is_some() || self.body.len() <= SMALL && text::document(&self.body).is_none()
    }

    /// The text that a reader would show, worked out once. `None` when there is none.
    pub(crate) fn text(&self, lens: &Lens, budget: &Mutex<Budget>) -> Option<&Extract> {
        let extract = || {
            let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
            // What a library does with hostile octets must not take the process along.
            catch_unwind(AssertUnwindSafe(|| self.extract(lens, &mut budget))).unwrap_or_else(|_| Some(Extract::damaged()))
        };
        self.text.get_or_init(extract).as_ref()
    }

    fn extract(&self, lens: &Lens, budget: &mut Budget) -> Option<Extract> {
        // By the octets, not by the label.
        if let Some(document) = text::document(&self.body) {
            return Some(text::read(document, &self.body, lens, budget));
        }
        match self.part.content_type.as_str() {
            "text/html" | "application/xhtml+xml" => Some(text::html(&self.characters(), Sink::new(&lens.bounds, self.body.len(), budget))),
            kind if kind.starts_with("text/") || kind.starts_with("multipart/") && !self.body.is_empty() => Some(self.plain()),
            "message/delivery-status" | "message/global-delivery-status" | "message/disposition-notification" => Some(self.plain()),
            // The parts of a message are parts of their own.
            "message/rfc822" | "message/global" | "message/news" => None,
            // A text under another label opens as a text.
            _ if decode::is_text(&self.body) => Some(self.plain()),
            _ => None,
        }
    }

    fn plain(&self) -> Extract {
        Extract { text: self.characters(), gap: None }
    }

    fn characters(&self) -> String {
        let label = self.part.charset.as_deref();
        label.and_then(|label| decode::charset(label.as_bytes(), &self.body)).unwrap_or_else(|| decode::guess(&self.body))
    }
}
