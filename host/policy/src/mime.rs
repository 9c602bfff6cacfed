//! The structure of a message as policies see it (RFC 5322, RFC 2045 to 2047): made once, when the first policy looks, and bounded.
//!
//! A message too deep or of too many parts, or one that the parser chokes on, is one part that is `unreadable`: a policy that must know
//! the content can see that it does not.

use crate::bindings::secmx::policy::message::{Opacity, Part};
use crate::facts::Octets;
use crate::opacity;
use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};
use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, Encoding, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// "MIME depth 50, parts 10,000" (reliability, decision 6).
const DEPTH_MAX: usize = 50;
const PARTS_MAX: usize = 10_000;

/// Messages within messages, counted before anything is parsed: the parser holds one level of the stack for each.
const NESTED_MAX: usize = 200;

/// A message, taken apart.
#[derive(Debug, Default)]
pub(crate) struct View {
    raw: Vec<u8>,
    fields: Vec<(String, Range<usize>)>,
    leaves: Vec<Leaf>,
}

/// A part with its content. Parts that hold other parts have none of their own.
#[derive(Debug)]
struct Leaf {
    part: Part,
    body: Vec<u8>,
    text: Option<String>,
}

impl View {
    /// Reads and parses the whole message.
    pub(crate) fn of(octets: &dyn Octets) -> Self {
        let raw = octets.read_at(0, usize::try_from(octets.len()).unwrap_or(usize::MAX));
        let parsed = catch_unwind(AssertUnwindSafe(|| parse(&raw))).ok().flatten();
        let (fields, leaves) = parsed.unwrap_or_else(|| (Vec::new(), vec![unreadable(&raw)]));
        Self { raw, fields, leaves }
    }

    /// Name and raw value of every field of the header, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, range)| (name.as_str(), self.raw.get(range.clone()).unwrap_or_default().trim_ascii()))
    }

    /// Every value of a field, unfolded and decoded (RFC 2047).
    pub(crate) fn text(&self, name: &str) -> Vec<String> {
        let decode = |range: &Range<usize>| {
            let octets = self.raw.get(range.clone()).unwrap_or_default();
            MessageStream::new(octets).parse_unstructured().as_text().unwrap_or_default().to_owned()
        };
        self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, range)| decode(range)).collect()
    }

    /// All parts, each before those within it.
    pub(crate) fn parts(&self) -> Vec<Part> {
        self.leaves.iter().map(|leaf| leaf.part.clone()).collect()
    }

    /// The decoded octets of a part; `None` when there is no such part.
    pub(crate) fn body(&self, index: u32) -> Option<&[u8]> {
        self.leaf(index).map(|leaf| leaf.body.as_slice())
    }

    /// The text of a part; `None` when there is no such part, `Some(None)` when it is no text.
    pub(crate) fn part_text(&self, index: u32) -> Option<Option<&str>> {
        self.leaf(index).map(|leaf| leaf.text.as_deref())
    }

    /// SHA-256 of the decoded octets.
    pub(crate) fn digest(&self, index: u32) -> Option<Vec<u8>> {
        self.body(index).map(|body| Sha256::digest(body).to_vec())
    }

    /// Places of the needles that occur in the subject or in the text of any part.
    pub(crate) fn find(&self, needles: &[String], ignore_case: bool) -> Vec<u32> {
        let fold = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_owned() };
        let parts = self.leaves.iter().filter_map(|leaf| leaf.text.as_deref()).map(fold);
        let texts: Vec<String> = self.text("Subject").iter().map(|text| fold(text)).chain(parts).collect();
        let occurs = |needle: &str| texts.iter().any(|text| text.contains(needle));
        (0..).zip(needles).filter(|(_, needle)| occurs(&fold(needle))).map(|(index, _)| index).collect()
    }

    fn leaf(&self, index: u32) -> Option<&Leaf> {
        self.leaves.get(index as usize)
    }
}

type Parsed = (Vec<(String, Range<usize>)>, Vec<Leaf>);

fn parse(raw: &[u8]) -> Option<Parsed> {
    if count(raw, b"message/rfc822") + count(raw, b"message/global") > NESTED_MAX {
        return None;
    }
    let message = MessageParser::default().parse(raw)?;
    let fields =
        message.headers().iter().map(|header| (header.name().to_owned(), header.offset_start() as usize..header.offset_end() as usize));
    let mut leaves = Vec::new();
    flatten(&message, None, 0, &mut leaves)?;
    Some((fields.collect(), leaves))
}

/// Adds the parts of a message, and of messages within it, in order. `None` when there are too many or they lie too deep.
fn flatten(message: &Message<'_>, within: Option<u32>, depth: usize, leaves: &mut Vec<Leaf>) -> Option<()> {
    let base = u32::try_from(leaves.len()).ok()?;
    if depth > DEPTH_MAX || message.parts.len() + leaves.len() > PARTS_MAX {
        return None;
    }
    let mut parents = vec![within; message.parts.len()];
    for (place, part) in (0_u32..).zip(&message.parts) {
        if let PartType::Multipart(children) = &part.body {
            for child in children {
                *parents.get_mut(*child as usize)? = Some(base + place);
            }
        }
    }
    // The index of a part is its place in the list: parts of nested messages come after those of the message around them.
    for (part, parent) in message.parts.iter().zip(parents) {
        let index = u32::try_from(leaves.len()).ok()?;
        leaves.push(leaf(message, part, index, parent));
    }
    for (place, part) in (0_u32..).zip(&message.parts) {
        if let PartType::Message(nested) = &part.body {
            flatten(nested, Some(base + place), depth + 1, leaves)?;
        }
    }
    Some(())
}

fn leaf(message: &Message<'_>, part: &MessagePart<'_>, index: u32, parent: Option<u32>) -> Leaf {
    let content_type = part.content_type();
    let text = match &part.body {
        PartType::Text(text) | PartType::Html(text) => Some(text.clone().into_owned()),
        _ => None,
    };
    let body = match &part.body {
        PartType::Text(text) | PartType::Html(text) => transferred(message, part).unwrap_or_else(|| text.as_bytes().to_vec()),
        PartType::Binary(octets) | PartType::InlineBinary(octets) => octets.clone().into_owned(),
        PartType::Message(_) | PartType::Multipart(_) => Vec::new(),
    };
    let kind = content_type.map_or_else(|| default_type(part).to_owned(), media_type);
    let opacity = if part.is_encoding_problem { Opacity::Unreadable } else { opacity::of(&kind, content_type, &body) };
    Leaf {
        part: Part {
            index,
            parent,
            charset: content_type.and_then(|kind| kind.attribute("charset")).map(str::to_ascii_lowercase),
            file_name: part.attachment_name().map(str::to_owned),
            attachment: part.content_disposition().is_some_and(ContentType::is_attachment),
            decoded_octets: body.len() as u64,
            content_type: kind,
            opacity,
        },
        body,
        text,
    }
}

/// The octets of a text before its charset was converted.
fn transferred(message: &Message<'_>, part: &MessagePart<'_>) -> Option<Vec<u8>> {
    let raw = message.raw_message.get(part.offset_body as usize..part.offset_end as usize)?;
    match part.encoding {
        Encoding::None => Some(raw.to_vec()),
        Encoding::Base64 => base64_decode(raw),
        Encoding::QuotedPrintable => quoted_printable_decode(raw),
    }
}

fn media_type(content_type: &ContentType<'_>) -> String {
    let subtype = content_type.c_subtype.as_deref().unwrap_or_default();
    format!("{}/{subtype}", content_type.c_type).to_ascii_lowercase()
}

/// RFC 2045, 5.2: "Default RFC 822 messages without a MIME Content-Type header are taken by this protocol to be plain text".
fn default_type(part: &MessagePart<'_>) -> &'static str {
    match part.body {
        PartType::Message(_) => "message/rfc822",
        _ => "text/plain",
    }
}

/// What stands for a message that could not be taken apart.
fn unreadable(raw: &[u8]) -> Leaf {
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
    Leaf { part, body: raw.to_vec(), text: None }
}

/// How often a word occurs, in any case.
fn count(octets: &[u8], word: &[u8]) -> usize {
    octets.windows(word.len()).filter(|window| window.eq_ignore_ascii_case(word)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn view(text: &str) -> View {
        View::of(&Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes()))
    }

    const NESTED: &str = "From: a@b.test\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?q?_an_alle?=\nMIME-Version: 1.0\n\
        Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain; charset=iso-8859-1\n\
        Content-Transfer-Encoding: quoted-printable\n\nStra=DFe\n--x\nContent-Type: message/rfc822\n\n\
        From: c@d.test\nContent-Type: multipart/mixed; boundary=y\n\n--y\nContent-Type: application/octet-stream\n\
        Content-Disposition: attachment; filename*=utf-8''M%C3%BCll.bin\nContent-Transfer-Encoding: base64\n\nAAEC\n--y--\n--x--\n";

    #[test]
    fn parts_are_listed_with_their_place() {
        let parts = view(NESTED).parts();
        let shape: Vec<_> = parts.iter().map(|part| (part.index, part.parent, part.content_type.as_str())).collect();
        assert_eq!(
            shape,
            [
                (0, None, "multipart/mixed"),
                (1, Some(0), "text/plain"),
                (2, Some(0), "message/rfc822"),
                (3, Some(2), "multipart/mixed"),
                (4, Some(3), "application/octet-stream"),
            ]
        );
        assert_eq!(parts[4].file_name.as_deref(), Some("Müll.bin"));
        assert!(parts[4].attachment);
    }

    #[test]
    fn octets_and_text_are_decoded_each_in_its_way() {
        let view = view(NESTED);
        assert_eq!(view.body(1).map(<[u8]>::trim_ascii), Some(&b"Stra\xdfe"[..]));
        assert_eq!(view.part_text(1).flatten().map(str::trim), Some("Straße"));
        assert_eq!(view.body(4), Some(&[0, 1, 2][..]));
        assert_eq!(view.text("subject"), ["Grüße an alle"]);
        assert_eq!(view.find(&["straße".into(), "GRÜSSE".into(), "alle".into()], true), [0, 2]);
        assert_eq!(view.body(5), None);
    }

    #[test]
    fn what_lies_too_deep_is_unreadable_and_not_ignored() {
        let deep = "Content-Type: message/rfc822\n\n".repeat(5_000);
        let parts = view(&deep).parts();
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].opacity, Opacity::Unreadable);
    }

    #[test]
    fn nothing_makes_it_panic() {
        for text in ["", "\n", "\n\n", ":", "Content-Type: multipart/mixed; boundary=\n\n--\n", "Content-Type: message/rfc822\n\n"] {
            let view = view(text);
            assert!(!view.parts().is_empty(), "{text:?}");
        }
    }
}
