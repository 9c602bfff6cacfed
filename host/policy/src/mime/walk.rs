//! From octets to a list of parts: a work list instead of recursion, so that depth costs no stack, and bounds on depth and number.

use super::ambiguity::{Ambiguities, Ambiguity};
use super::decode::{Malformed, Transfer};
use super::header::{Field, Header};
use super::multipart;
use super::parameters::Parameters;
use super::part::Leaf;
use super::tnef;
use crate::bindings::secmx::policy::message::{Opacity, Part};
use crate::opacity;
use bytes::Bytes;

/// "MIME depth 50, parts 10,000" (reliability, decision 6).
pub(super) const DEPTH_MAX: usize = 50;
pub(super) const PARTS_MAX: usize = 10_000;

/// Everything found in a message.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) fields: Vec<Field>,
    pub(super) leaves: Vec<Leaf>,
    pub(super) odd: Ambiguities,
}

/// Something that waits to be looked at.
struct Task {
    octets: Bytes,
    /// Where it begins in the message as received; `None` for what was decoded.
    offset: Option<usize>,
    parent: Option<u32>,
    depth: usize,
    form: Form,
}

enum Form {
    /// A header and a body; the media type when the header names none.
    Entity { kind: &'static str },
    /// Octets with what their container said of them.
    Bare { kind: &'static str, names: Vec<String> },
}

/// What a header says of its body.
struct Described {
    kind: String,
    content_type: Parameters,
    names: Vec<String>,
    attachment: bool,
    transfer: Transfer,
}

/// Takes a message apart.
pub(super) fn walk(message: &Bytes) -> Found {
    let mut found = Found::default();
    let form = Form::Entity { kind: "text/plain" };
    let mut tasks = vec![Task { octets: message.clone(), offset: Some(0), parent: None, depth: 0, form }];
    while let Some(task) = tasks.pop() {
        if found.leaves.len() >= PARTS_MAX {
            found.give_up();
            break;
        }
        let children = found.take(task);
        tasks.extend(children.into_iter().rev());
    }
    found
}

impl Found {
    /// Adds one part. Gives what lies within it, in order.
    fn take(&mut self, task: Task) -> Vec<Task> {
        let index = u32::try_from(self.leaves.len()).unwrap_or(u32::MAX);
        match task.form {
            Form::Bare { kind, names } => {
                let described = Described {
                    kind: kind.to_owned(),
                    content_type: Parameters::default(),
                    attachment: !names.is_empty(),
                    names,
                    transfer: Transfer::Identity,
                };
                let task = Task { form: Form::Entity { kind }, ..task };
                self.leaf(index, &task, described, 0)
            }
            Form::Entity { kind } => {
                let header = Header::of(&task.octets);
                self.odd.extend(header.odd.iter().map(|odd| (index, *odd)));
                let described = self.describe(index, &header, kind);
                if index == 0 {
                    self.fields = header.fields;
                }
                self.leaf(index, &task, described, header.body)
            }
        }
    }

    fn describe(&mut self, index: u32, header: &Header, kind: &'static str) -> Described {
        let content_type = header.first("Content-Type").map(|value| Parameters::of(value)).unwrap_or_default();
        let disposition = header.first("Content-Disposition").map(|value| Parameters::of(value)).unwrap_or_default();
        if content_type.has_twice() || disposition.has_twice() {
            self.note(index, Ambiguity::ParameterTwice);
        }
        let named = header.first("Content-Type").is_some();
        if named && !is_media_type(&content_type.head) {
            self.note(index, Ambiguity::TypeMalformed);
        }
        // RFC 2045, 5.2: without a type, or with one that is malformed, plain text.
        let kind = if is_media_type(&content_type.head) { content_type.head.clone() } else { kind.to_owned() };
        let mut names = disposition.readings("filename");
        names.extend(content_type.readings("name"));
        let mut distinct: Vec<String> = Vec::new();
        for name in names {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        if distinct.len() > 1 {
            self.note(index, Ambiguity::FileNameTwice);
        }
        // RFC 2183, 2.8: "Unrecognized disposition types should be treated as attachment".
        let attachment = !matches!(disposition.head.as_str(), "" | "inline");
        Described { kind, content_type, names: distinct, attachment, transfer: Transfer::of(header.first("Content-Transfer-Encoding")) }
    }

    /// Adds a part whose body begins at `start` of the task.
    fn leaf(&mut self, index: u32, task: &Task, described: Described, start: usize) -> Vec<Task> {
        let raw = task.octets.slice(start..);
        let offset = task.offset.map(|offset| offset + start);
        let Described { kind, content_type, names, attachment, transfer } = described;
        if transfer == Transfer::Unknown {
            self.note(index, Ambiguity::EncodingUnknown);
        }
        let composite = kind.starts_with("multipart/") || kind.starts_with("message/");
        if composite && matches!(transfer, Transfer::Base64 | Transfer::QuotedPrintable) {
            self.note(index, Ambiguity::EncodedComposite);
        }
        let mut malformed = Malformed::default();
        let body = transfer.undo(&raw, &mut malformed);
        if malformed.0 {
            self.note(index, Ambiguity::EncodingMalformed);
        }
        let within = Within { index, depth: task.depth + 1, offset: offset.filter(|_| transfer == Transfer::Identity), body: &body };
        let inside = self.inside(&within, &kind, &content_type);
        let charset = content_type.get("charset").map(|charset| charset.to_ascii_lowercase());
        if kind.starts_with("text/") && has_charset_mismatch(charset.as_deref(), &body) {
            self.note(index, Ambiguity::CharsetMismatch);
        }
        let holds = kind.starts_with("multipart/") && !inside.tasks.is_empty();
        let opaque = if inside.unreadable { Opacity::Unreadable } else { opacity::of(&kind, &content_type, &body) };
        let body = if holds { Bytes::new() } else { body };
        let part = Part {
            index,
            parent: task.parent,
            charset,
            file_name: names.first().cloned(),
            attachment,
            decoded_octets: body.len() as u64,
            content_type: kind,
            opacity: opaque,
        };
        let place = offset.map(|offset| offset - start..offset + raw.len());
        self.leaves.push(Leaf::new(part, names, body, place));
        inside.tasks
    }

    /// What lies within a part, by what it is.
    fn inside(&mut self, within: &Within<'_>, kind: &str, content_type: &Parameters) -> Inside {
        let is_message = matches!(kind, "message/rfc822" | "message/global" | "message/news");
        let is_tnef = within.body.starts_with(tnef::SIGNATURE);
        let is_multipart = kind.starts_with("multipart/");
        let signed = opacity::signed_content(within.body);
        // RFC 2046, 5.2.2: a fragment of a message; the rest travels elsewhere.
        let fragment = kind == "message/partial";
        if within.depth > DEPTH_MAX && (is_message || is_tnef || is_multipart || signed.is_some()) {
            self.note(within.index, Ambiguity::TooDeep);
            return Inside { tasks: Vec::new(), unreadable: true };
        }
        if is_message {
            return Inside { tasks: vec![within.entity(0..within.body.len(), "text/plain")], unreadable: false };
        }
        if let Some(octets) = signed {
            let form = Form::Entity { kind: "text/plain" };
            let task = Task { octets, offset: None, parent: Some(within.index), depth: within.depth, form };
            return Inside { tasks: vec![task], unreadable: false };
        }
        if is_tnef {
            return within.tnef(PARTS_MAX.saturating_sub(self.leaves.len()));
        }
        if is_multipart {
            return self.multipart(within, kind, content_type);
        }
        Inside { tasks: Vec::new(), unreadable: fragment }
    }

    fn multipart(&mut self, within: &Within<'_>, kind: &str, content_type: &Parameters) -> Inside {
        let Some(boundary) = content_type.get("boundary") else {
            self.note(within.index, Ambiguity::BoundaryMissing);
            return Inside::default();
        };
        let split = multipart::split(within.body, boundary.as_bytes(), PARTS_MAX.saturating_sub(self.leaves.len()));
        for odd in &split.odd {
            self.note(within.index, *odd);
        }
        // RFC 2046, 5.1.5: in a digest, the default is a message.
        let default = if kind == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        let unreadable = split.odd.contains(&Ambiguity::TooManyParts);
        Inside { tasks: split.parts.into_iter().map(|range| within.entity(range, default)).collect(), unreadable }
    }

    fn note(&mut self, index: u32, odd: Ambiguity) {
        self.odd.insert((index, odd));
    }

    /// The list is full: what was listed last says that there is more.
    fn give_up(&mut self) {
        if let Some(last) = self.leaves.last_mut() {
            last.part.opacity = Opacity::Unreadable;
            let index = last.part.index;
            self.note(index, Ambiguity::TooManyParts);
        }
    }
}

/// What a part holds.
#[derive(Default)]
struct Inside {
    tasks: Vec<Task>,
    unreadable: bool,
}

/// A part that is being looked into.
struct Within<'a> {
    index: u32,
    depth: usize,
    offset: Option<usize>,
    body: &'a Bytes,
}

impl Within<'_> {
    fn entity(&self, range: std::ops::Range<usize>, kind: &'static str) -> Task {
        let offset = self.offset.map(|offset| offset + range.start);
        Task { octets: self.body.slice(range), offset, parent: Some(self.index), depth: self.depth, form: Form::Entity { kind } }
    }

    fn tnef(&self, most: usize) -> Inside {
        let content = tnef::read(self.body, most);
        let bare = |tnef::Attachment { names, kind, octets }| {
            let form = Form::Bare { kind: kind.unwrap_or("application/octet-stream"), names };
            Task { octets, offset: None, parent: Some(self.index), depth: self.depth, form }
        };
        Inside { tasks: content.attachments.into_iter().map(bare).collect(), unreadable: content.incomplete }
    }
}

fn is_media_type(head: &str) -> bool {
    let token = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b));
    head.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}

fn has_charset_mismatch(label: Option<&str>, body: &[u8]) -> bool {
    match label {
        None => false,
        Some("utf-8" | "utf8") => std::str::from_utf8(body).is_err(),
        Some(label) => super::decode::charset(label.as_bytes(), b"").is_none(),
    }
}
