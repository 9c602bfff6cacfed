//! Text of documents that are ZIP packages of XML: OOXML (ECMA-376) and OpenDocument (ISO/IEC 26300), read as a stream and never as a tree.

use super::sink::Counted;
use super::{Document, Gap, Sink};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::io::{BufReader, Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// Documents within documents that are read.
const DEPTH_MAX: usize = 4;

/// Where the list of an OOXML package's parts is.
const TYPES: &str = "[Content_Types].xml";

/// What kind of package this is. `None` for what is none, other archives among it.
pub(super) fn kind(octets: &[u8]) -> Option<Document> {
    if !octets.starts_with(b"PK") {
        return None;
    }
    let archive = ZipArchive::new(Cursor::new(octets)).ok()?;
    if archive.index_for_name(TYPES).is_some() {
        return Some(Document::Ooxml);
    }
    let is_open = ["mimetype", "content.xml"].into_iter().all(|name| archive.index_for_name(name).is_some());
    is_open.then_some(Document::Odf)
}

/// Adds the text of every part that has some.
pub(super) fn read(document: Document, octets: &[u8], sink: &mut Sink<'_>, depth: usize) -> Result<(), Gap> {
    let mut archive = ZipArchive::new(Cursor::new(octets)).map_err(|_| Gap::Damaged)?;
    for index in 0..archive.len() {
        let entry = match archive.by_index(index) {
            Ok(entry) => entry,
            // Encrypted: that is a fact of its own.
            Err(ZipError::UnsupportedArchive(_)) => continue,
            Err(_) => return Err(Gap::Damaged),
        };
        let name = entry.name().to_ascii_lowercase();
        if name.ends_with(".xml") && name != "settings.xml" && !name.starts_with("meta-inf/") {
            xml(document, entry, sink)?;
        } else if name.contains("embeddings/") {
            embedded(entry, sink, depth)?;
        }
        sink.separate('\n');
    }
    Ok(())
}

/// A document within the document.
fn embedded(entry: impl Read, sink: &mut Sink<'_>, depth: usize) -> Result<(), Gap> {
    let (mut counted, mut octets) = (Counted::new(entry, sink), Vec::new());
    let outcome = counted.read_to_end(&mut octets);
    let (octets_read, gap) = (counted.counted, counted.gap);
    sink.unpacked(octets_read)?;
    outcome.map_err(|_| gap.unwrap_or(Gap::Damaged))?;
    match kind(&octets) {
        Some(_) if depth >= DEPTH_MAX => Err(Gap::TooLarge),
        Some(document) => read(document, &octets, sink, depth + 1),
        None => Ok(()),
    }
}

/// One part of the package.
fn xml(document: Document, entry: impl Read, sink: &mut Sink<'_>) -> Result<(), Gap> {
    let mut reader = Reader::from_reader(BufReader::new(Counted::new(entry, sink)));
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    let (mut buffer, mut shown) = (Vec::new(), Shown { document, depth: 0, is_index: false });
    let outcome = loop {
        buffer.clear();
        let step = match reader.read_event_into(&mut buffer) {
            Ok(Event::Eof) => break Ok(()),
            Ok(event) => shown.take(&event, sink),
            Err(_) => Err(reader.get_ref().get_ref().gap.unwrap_or(Gap::Damaged)),
        };
        if step.is_err() {
            break step;
        }
    };
    sink.unpacked(reader.get_ref().get_ref().counted)?;
    outcome
}

/// Which of the characters in a part are shown.
struct Shown {
    document: Document,
    /// Elements within each other that hold text, of OOXML.
    depth: usize,
    /// The cell holds the number of a text that is in another part.
    is_index: bool,
}

impl Shown {
    fn take(&mut self, event: &Event<'_>, sink: &mut Sink<'_>) -> Result<(), Gap> {
        match event {
            Event::Start(element) => self.start(element, sink),
            Event::Empty(element) => empty(element, sink)?,
            Event::End(element) => {
                let name = element.local_name();
                if self.holds_text(name.as_ref()) {
                    self.depth = self.depth.saturating_sub(1);
                }
                separate(name.as_ref(), sink);
            }
            Event::Text(text) if self.shows() => sink.push(text)?,
            Event::CData(text) if self.shows() => sink.push(text)?,
            Event::GeneralRef(reference) if self.shows() => match (reference.resolve_char_ref(), &**reference) {
                (Ok(Some(character)), _) => sink.push(character.encode_utf8(&mut [0; 4]))?,
                (_, "amp") => sink.push("&")?,
                (_, "lt") => sink.push("<")?,
                (_, "gt") => sink.push(">")?,
                (_, "quot") => sink.push("\"")?,
                (_, "apos") => sink.push("'")?,
                // An entity of the document's own: not expanded, so that there is text nobody saw.
                _ => return Err(Gap::Damaged),
            },
            _ => {}
        }
        sink.on_time()
    }

    fn start(&mut self, element: &BytesStart<'_>, sink: &mut Sink<'_>) {
        let name = element.local_name();
        if self.holds_text(name.as_ref()) {
            self.depth += 1;
        }
        if name.as_ref() == "c" {
            self.is_index = element.try_get_attribute("t").ok().flatten().is_some_and(|kind| &*kind.value == "s");
        }
        if name.as_ref() == "v" && self.is_index {
            self.depth = self.depth.saturating_sub(1);
        }
        if matches!(name.as_ref(), "p" | "h" | "row" | "tr" | "table-row" | "si") {
            sink.separate('\n');
        }
    }

    fn shows(&self) -> bool {
        self.document == Document::Odf || self.depth > 0
    }

    /// Elements of OOXML whose characters are for people.
    fn holds_text(&self, name: &str) -> bool {
        let text =
            ["t", "v", "f", "delText", "instrText", "title", "subject", "keywords", "description", "category", "contentStatus", "text"];
        self.document == Document::Ooxml && text.contains(&name)
    }
}

/// An element without content may still be white space.
fn empty(element: &BytesStart<'_>, sink: &mut Sink<'_>) -> Result<(), Gap> {
    match element.local_name().as_ref() {
        "s" => sink.push(" "),
        name => {
            separate(name, sink);
            Ok(())
        }
    }
}

/// What the end of an element ends.
fn separate(name: &str, sink: &mut Sink<'_>) {
    match name {
        "p" | "h" | "br" | "cr" | "line-break" | "row" | "tr" | "table-row" | "si" | "text" => sink.separate('\n'),
        "tab" | "c" | "tc" | "table-cell" | "v" => sink.separate('\t'),
        _ => {}
    }
}
