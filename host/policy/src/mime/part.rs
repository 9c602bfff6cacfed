//! One part, with its octets, and its text when somebody asks for it.

use super::decode;
use crate::bindings::secmx::policy::message::{Opacity, Part};
use bytes::Bytes;
use mail_parser::decoders::html::html_to_text;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// A part with its content. Multiparts that hold other parts have none of their own.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) part: Part,
    /// Every name that a reader could show, the likeliest first.
    pub(crate) names: Vec<String>,
    /// After the transfer encoding was undone.
    pub(crate) body: Bytes,
    /// Header and body in the message as received; `None` for what lies within something encoded.
    #[allow(dead_code, reason = "for edits of parts")]
    pub(crate) place: Option<Range<usize>>,
    text: OnceLock<Option<String>>,
}

impl Leaf {
    pub(crate) fn new(part: Part, names: Vec<String>, body: Bytes, place: Option<Range<usize>>) -> Self {
        Self { part, names, body, place, text: OnceLock::new() }
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

    /// The text that a reader would show, worked out once. `None` when there is none.
    pub(crate) fn text(&self) -> Option<&str> {
        // What a library does with hostile octets must not take the process along.
        self.text.get_or_init(|| catch_unwind(AssertUnwindSafe(|| self.extract())).ok().flatten()).as_deref()
    }

    fn extract(&self) -> Option<String> {
        match self.part.content_type.as_str() {
            "text/html" | "application/xhtml+xml" => Some(html_to_text(&self.characters())),
            kind if kind.starts_with("text/") || kind.starts_with("multipart/") && !self.body.is_empty() => Some(self.characters()),
            "message/delivery-status" | "message/global-delivery-status" | "message/disposition-notification" => Some(self.characters()),
            _ => None,
        }
    }

    fn characters(&self) -> String {
        let label = self.part.charset.as_deref();
        label.and_then(|label| decode::charset(label.as_bytes(), &self.body)).unwrap_or_else(|| decode::guess(&self.body))
    }
}
