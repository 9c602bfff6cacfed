//! From octets to a list of parts: a work list instead of recursion, so that depth costs no stack, and bounds on depth and number.

use super::ambiguity::{Ambiguities, Ambiguity};
use super::archive::{self, Room};
use super::decode::{Malformed, Transfer};
use super::header::{Field, Header};
use super::multipart;
use super::parameters::Parameters;
use super::part::Leaf;
use super::tnef;
use crate::bindings::secmx::policy::message::{Opacity, Part};
use crate::lens::Lens;
use crate::opacity;
use bytes::Bytes;

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
    Bare { kind: &'static str, names: Vec<String>, opacity: Option<Opacity> },
}

/// Where a walk stands.
struct Walk<'a> {
    lens: &'a Lens,
    room: Room,
    /// How often keys of escrow may still be tried.
    tries: usize,
    found: Found,
}

/// What a header says of its body.
struct Described {
    kind: String,
    content_type: Parameters,
    names: Vec<String>,
    attachment: bool,
    transfer: Transfer,
    /// What the container said, when it knows better than the octets.
    opacity: Option<Opacity>,
}

/// Takes a message apart.
pub(super) fn walk(message: &Bytes, lens: &Lens) -> Found {
    let mut walk = Walk { lens, room: Room::of(&lens.bounds), tries: lens.bounds.openings, found: Found::default() };
    let form = Form::Entity { kind: "text/plain" };
    let mut tasks = vec![Task { octets: message.clone(), offset: Some(0), parent: None, depth: 0, form }];
    while let Some(task) = tasks.pop() {
        if walk.found.leaves.len() >= lens.bounds.parts.max(1) {
            walk.give_up();
            break;
        }
        let children = walk.take(task);
        tasks.extend(children.into_iter().rev());
    }
    walk.found
}

impl Walk<'_> {
    /// Adds one part. Gives what lies within it, in order.
    fn take(&mut self, task: Task) -> Vec<Task> {
        let index = u32::try_from(self.found.leaves.len()).unwrap_or(u32::MAX);
        match task.form {
            Form::Bare { kind, names, opacity } => {
                let described = Described {
                    kind: kind.to_owned(),
                    content_type: Parameters::default(),
                    attachment: !names.is_empty(),
                    names,
                    transfer: Transfer::Identity,
                    opacity,
                };
                let task = Task { form: Form::Entity { kind }, ..task };
                self.leaf(index, &task, described, 0)
            }
            Form::Entity { kind } => {
                let header = Header::of(&task.octets);
                self.found.odd.extend(header.odd.iter().map(|odd| (index, *odd)));
                let described = self.describe(index, &header, kind);
                if index == 0 {
                    self.found.fields = header.fields;
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
        let transfer = Transfer::of(header.first("Content-Transfer-Encoding"));
        Described { kind, content_type, names: distinct, attachment, transfer, opacity: None }
    }

    /// Adds a part whose body begins at `start` of the task.
    fn leaf(&mut self, index: u32, task: &Task, described: Described, start: usize) -> Vec<Task> {
        let raw = task.octets.slice(start..);
        let offset = task.offset.map(|offset| offset + start);
        let Described { kind, content_type, names, attachment, transfer, opacity } = described;
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
        let seen = || if inside.opened { Opacity::Clear } else { opacity::of(&kind, &content_type, &body) };
        // What it is says more than that it was not read.
        let opaque = match opacity.unwrap_or_else(seen) {
            Opacity::Clear if inside.unreadable => Opacity::Unreadable,
            seen => seen,
        };
        let within_opened = task.parent.and_then(|parent| self.found.leaves.get(parent as usize)).is_some_and(|parent| parent.opened);
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
        let mut leaf = Leaf::new(part, names, body, place);
        leaf.opened = inside.opened || within_opened;
        self.found.leaves.push(leaf);
        inside.tasks
    }

    /// What lies within a part, by what it is.
    fn inside(&mut self, within: &Within<'_>, kind: &str, content_type: &Parameters) -> Inside {
        let is_message = matches!(kind, "message/rfc822" | "message/global" | "message/news");
        let is_tnef = within.body.starts_with(tnef::SIGNATURE);
        let is_multipart = kind.starts_with("multipart/");
        let signed = opacity::signed_content(within.body);
        let is_archive = archive::is_one(within.body);
        // RFC 2046, 5.2.2: a fragment of a message; the rest travels elsewhere.
        let fragment = kind == "message/partial";
        if within.depth > self.lens.bounds.depth && (is_message || is_tnef || is_multipart || is_archive || signed.is_some()) {
            self.note(within.index, Ambiguity::TooDeep);
            return Inside { unreadable: true, ..Inside::default() };
        }
        if is_message {
            return Inside { tasks: vec![within.entity(0..within.body.len(), "text/plain")], ..Inside::default() };
        }
        if let Some(octets) = signed {
            return Inside { tasks: vec![within.decoded(octets)], ..Inside::default() };
        }
        if within.depth <= self.lens.bounds.depth
            && let Some(octets) = self.open(within.body)
        {
            return Inside { tasks: vec![within.decoded(octets)], opened: true, ..Inside::default() };
        }
        let most = self.room_for_parts();
        if is_tnef {
            return within.tnef(most);
        }
        if is_archive {
            return within.archive(&mut self.room, most);
        }
        if is_multipart {
            return self.multipart(within, kind, content_type);
        }
        Inside { unreadable: fragment, ..Inside::default() }
    }

    /// What a key of escrow opens.
    fn open(&mut self, octets: &Bytes) -> Option<Bytes> {
        let envelope = self.lens.escrow.recognise(octets)?;
        self.tries = self.tries.checked_sub(1)?;
        self.lens.escrow.open(&envelope)
    }

    fn multipart(&mut self, within: &Within<'_>, kind: &str, content_type: &Parameters) -> Inside {
        let Some(boundary) = content_type.get("boundary") else {
            self.note(within.index, Ambiguity::BoundaryMissing);
            return Inside::default();
        };
        let split = multipart::split(within.body, boundary.as_bytes(), self.room_for_parts());
        for odd in &split.odd {
            self.note(within.index, *odd);
        }
        // RFC 2046, 5.1.5: in a digest, the default is a message.
        let default = if kind == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        let unreadable = split.odd.contains(&Ambiguity::TooManyParts);
        Inside { tasks: split.parts.into_iter().map(|range| within.entity(range, default)).collect(), unreadable, ..Inside::default() }
    }

    /// How many more parts there may be.
    fn room_for_parts(&self) -> usize {
        self.lens.bounds.parts.saturating_sub(self.found.leaves.len())
    }

    fn note(&mut self, index: u32, odd: Ambiguity) {
        self.found.odd.insert((index, odd));
    }

    /// The list is full: what was listed last says that there is more.
    fn give_up(&mut self) {
        if let Some(last) = self.found.leaves.last_mut() {
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
    /// A key of escrow opened it.
    opened: bool,
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

    /// What was within something encoded: its place is nowhere in the message as received.
    fn decoded(&self, octets: Bytes) -> Task {
        Task { octets, offset: None, parent: Some(self.index), depth: self.depth, form: Form::Entity { kind: "text/plain" } }
    }

    fn archive(&self, room: &mut Room, most: usize) -> Inside {
        let Some(archive) = archive::open(self.body, room, most) else { return Inside::default() };
        let bare = |archive::Member { name, octets, encrypted, unread }| {
            let opacity = match (encrypted, unread) {
                (true, _) => Some(Opacity::EncryptedArchive),
                (false, true) => Some(Opacity::Unreadable),
                (false, false) => None,
            };
            let kind = if opacity.is_some() { "application/octet-stream" } else { archive::kind_of(&name) };
            let names = if name.is_empty() { Vec::new() } else { vec![name] };
            let form = Form::Bare { kind, names, opacity };
            Task { octets, offset: None, parent: Some(self.index), depth: self.depth, form }
        };
        Inside { tasks: archive.members.into_iter().map(bare).collect(), unreadable: archive.incomplete, ..Inside::default() }
    }

    fn tnef(&self, most: usize) -> Inside {
        let content = tnef::read(self.body, most);
        let bare = |tnef::Attachment { names, kind, octets }| {
            let form = Form::Bare { kind: kind.unwrap_or("application/octet-stream"), names, opacity: None };
            Task { octets, offset: None, parent: Some(self.index), depth: self.depth, form }
        };
        Inside { tasks: content.attachments.into_iter().map(bare).collect(), unreadable: content.incomplete, ..Inside::default() }
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
