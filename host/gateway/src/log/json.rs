//! An event as JSON within bounds, written straight from its fields.

use super::{honest, is_plain};
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CharEscape, Formatter};
use std::cell::Cell;
use std::io::{self, Write};

/// How much of an event stands in a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Characters of one string; the rest is cut.
    pub(super) text_chars: usize,
    /// Items of one list; the rest is counted.
    pub(super) list_items: usize,
}

/// The fields of `event` as one object, its name first, the others as they are declared. A hash is shown in hexadecimal. Every character
/// that could deceive whoever reads it is an escape.
pub(super) fn object(event: &impl Serialize, bounds: Bounds) -> String {
    let (mut octets, cut) = (Vec::with_capacity(512), Cell::new(0));
    let bounded = Bounded { bounds, cut: &cut, chars_left: 0, is_cut: false, in_key: false, is_hash: false, lists: Vec::new() };
    // Events have string keys and no foreign types; if one could not be written, its line would end early and still be a line.
    let _ = event.serialize(&mut Serializer::with_formatter(Uncut { octets: &mut octets, cut: &cut }, bounded));
    String::from_utf8(octets).unwrap_or_default()
}

/// Takes what is not cut.
struct Uncut<'a> {
    octets: &'a mut Vec<u8>,
    cut: &'a Cell<u32>,
}

impl Write for Uncut<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.cut.get() == 0 {
            self.octets.extend_from_slice(octets);
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bounded<'a> {
    bounds: Bounds,
    /// How many lists around this place have had all their items.
    cut: &'a Cell<u32>,
    /// Characters that the string may still have.
    chars_left: usize,
    is_cut: bool,
    in_key: bool,
    /// The last key was that of a hash.
    is_hash: bool,
    lists: Vec<List>,
}

struct List {
    items: usize,
    is_hash: bool,
}

impl Bounded<'_> {
    /// How many characters of `text` still fit, as octets; what is cut is marked once.
    fn fitting(&mut self, text: &str) -> usize {
        if text.len() <= self.chars_left {
            self.chars_left -= text.chars().count();
            return text.len();
        }
        let mut chars = text.char_indices();
        let end = chars.by_ref().nth(self.chars_left).map_or(text.len(), |(end, _)| end);
        self.chars_left -= text.get(..end).map_or(0, |fitting| fitting.chars().count());
        end
    }

    fn mark<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if std::mem::replace(&mut self.is_cut, true) { Ok(()) } else { writer.write_all("…".as_bytes()) }
    }
}

impl Formatter for Bounded<'_> {
    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        (self.chars_left, self.is_cut) = (self.bounds.text_chars, false);
        writer.write_all(b"\"")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if self.in_key {
            self.is_hash = fragment == "sha256";
        }
        if self.is_cut {
            return Ok(());
        }
        let end = self.fitting(fragment);
        let (fitting, rest) = fragment.split_at_checked(end).unwrap_or((fragment, ""));
        if is_plain(fitting) {
            writer.write_all(fitting.as_bytes())?;
        } else {
            writer.write_all(honest(fitting).as_bytes())?;
        }
        if rest.is_empty() { Ok(()) } else { self.mark(writer) }
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match self.chars_left.checked_sub(1) {
            Some(left) if !self.is_cut => {
                self.chars_left = left;
                serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
            }
            _ => self.mark(writer),
        }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.in_key = true;
        if first { Ok(()) } else { writer.write_all(b",") }
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.in_key = false;
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let is_hash = std::mem::take(&mut self.is_hash);
        self.lists.push(List { items: 0, is_hash });
        writer.write_all(if is_hash { b"\"" } else { b"[" })
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        let Some(list) = self.lists.last_mut().filter(|list| !list.is_hash) else { return Ok(()) };
        list.items += 1;
        if list.items > self.bounds.list_items {
            self.cut.set(self.cut.get() + 1);
        }
        if first { Ok(()) } else { writer.write_all(b",") }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        if self.lists.last().is_some_and(|list| list.items > self.bounds.list_items) {
            self.cut.set(self.cut.get() - 1);
        }
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        let Some(List { items, is_hash }) = self.lists.pop() else { return Ok(()) };
        match items.saturating_sub(self.bounds.list_items) {
            _ if is_hash => writer.write_all(b"\""),
            0 => writer.write_all(b"]"),
            more => write!(writer, ",\"… {more} more\"]"),
        }
    }

    fn write_u8<W: ?Sized + Write>(&mut self, writer: &mut W, value: u8) -> io::Result<()> {
        match self.lists.last() {
            Some(List { is_hash: true, .. }) => write!(writer, "{value:02x}"),
            _ => write!(writer, "{value}"),
        }
    }
}
