//! The octets of a message on the wire, both ways (RFC 5321, 4.1.1.4 and 4.5.2): one codec for what comes in and what goes out.
//!
//! Coming in, only CRLF "." CRLF ends data and only CRLF ends a line: a bare CR or LF is noticed, not repaired, since two servers that
//! repair differently see two different messages. It is made a line end for named clients only, and even then it ends no data. Going out,
//! everything becomes lines that end in CRLF, whatever it was.

use std::fmt;

/// What is wrong with a message. It is answered once its real end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// RFC 5321, 2.3.8: "Conforming implementations MUST NOT recognize or generate any other character or character sequence as a line
    /// terminator."
    BareLineEnd,
    /// A line longer than the limit (RFC 5321, 4.5.3.1.6).
    LongLine,
    /// More octets than the limit.
    TooBig,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLineEnd => "Bare CR or LF in the message",
            Self::LongLine => "Line too long",
            Self::TooBig => "Message too big",
        })
    }
}

/// Where in a line the decoder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind CRLF, or at the very beginning.
    Start,
    /// Behind a "." at the start of a line.
    Dot,
    /// Behind a "." at the start of a line and a CR.
    DotCr,
    /// Within a line.
    Within,
    /// Behind a CR within a line.
    Cr,
    /// Behind a CR or LF that stood alone.
    Bare,
}

/// Reads content until its end.
#[derive(Debug)]
pub struct Decoder {
    place: Place,
    flaw: Option<Flaw>,
    line_octets: usize,
    octets: u64,
    line_octets_max: usize,
    octets_max: u64,
    normalizes: bool,
}

/// What became of octets that were fed to a [`Decoder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// How many of them belong to the content.
    pub used: usize,
    /// Whether the end of data was among them.
    pub ended: bool,
}

impl Decoder {
    /// A decoder at the beginning of content, with the most octets that a line and the whole may have.
    pub fn new(line_octets_max: usize, octets_max: u64) -> Self {
        Self { place: Place::Start, flaw: None, line_octets: 0, octets: 0, line_octets_max, octets_max, normalizes: false }
    }

    /// The same, but a bare CR or LF is made a line end and is no flaw. A dot behind one is content as it stands: where others may see a
    /// line, nothing tells whether it was stuffed, and it is no end of data for anyone.
    #[must_use]
    pub fn normalizing(self, normalizes: bool) -> Self {
        Self { normalizes, ..self }
    }

    /// Reads octets up to the end of data, and puts what they mean into `out`. Once there is a flaw nothing more is put there: memory stays
    /// bounded, and the rest is only searched for its end.
    pub fn decode(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Decoded {
        let mut rest = octets;
        while let Some((octet, behind)) = rest.split_first() {
            rest = behind;
            if self.step(*octet, out) {
                return Decoded { used: octets.len().saturating_sub(rest.len()), ended: true };
            }
            rest = self.run(rest, out);
        }
        Decoded { used: octets.len(), ended: false }
    }

    /// Reads octets that are content and nothing else: a chunk of BDAT, where no dot ends anything (RFC 3030, 2).
    pub fn chunk(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        while let Some((octet, behind)) = rest.split_first() {
            if self.place == Place::Cr && *octet != b'\n' {
                self.bare_line_end(out);
            }
            match (self.place, octet) {
                (Place::Cr, b'\n') => self.end_line(out),
                (_, b'\n') => self.bare_line_end(out),
                (_, b'\r') => self.place = Place::Cr,
                (_, octet) => {
                    self.place = Place::Within;
                    self.take(*octet, out);
                }
            }
            rest = self.run(behind, out);
        }
    }

    /// Within a line, takes all that stands before the next CR or LF at once; gives what is left.
    fn run<'a>(&mut self, octets: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        if self.place != Place::Within {
            return octets;
        }
        let (plain, rest) = up_to_line_end(octets);
        let (line_octets, all) = (self.line_octets.saturating_add(plain.len()), self.octets.saturating_add(plain.len() as u64));
        if self.flaw.is_none() && line_octets <= self.line_octets_max && all <= self.octets_max {
            (self.line_octets, self.octets) = (line_octets, all);
            out.extend_from_slice(plain);
        } else {
            plain.iter().for_each(|octet| self.take(*octet, out));
        }
        rest
    }

    /// Ends content that came in chunks. A line that is open is ended: content is lines, whatever way it came.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.place {
            Place::Start | Place::Bare => {}
            Place::Cr | Place::DotCr => self.bare_line_end(out),
            Place::Dot | Place::Within => self.end_line(out),
        }
    }

    /// What is wrong with what was read so far; the first flaw counts.
    pub fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    /// Takes one octet; true at the end of data.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) -> bool {
        match (self.place, octet) {
            (Place::Start, b'.') => self.place = Place::Dot,
            (Place::Dot, b'\r') => self.place = Place::DotCr,
            (Place::DotCr, b'\n') => return true,
            // The dot was the whole line but for a bare CR: content after all, and flawed.
            (Place::DotCr, _) => {
                self.take(b'.', out);
                self.bare_line_end(out);
                return self.step(octet, out);
            }
            (Place::Cr, b'\n') => self.end_line(out),
            (Place::Cr, _) => {
                self.bare_line_end(out);
                return self.step(octet, out);
            }
            (_, b'\r') => self.place = Place::Cr,
            // RFC 5321, 4.5.2: "If the first character is a period and there are other characters on the line, the first character is
            // deleted."
            (place, b'\n') => {
                if place == Place::Dot {
                    self.take(b'.', out);
                }
                self.bare_line_end(out);
            }
            (_, octet) => {
                self.place = Place::Within;
                self.take(octet, out);
            }
        }
        false
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.line_octets = 0;
        self.take(b'\r', out);
        self.take(b'\n', out);
        self.line_octets = 0;
        self.place = Place::Start;
    }

    /// A CR or LF that stood alone.
    fn bare_line_end(&mut self, out: &mut Vec<u8>) {
        if self.normalizes {
            self.end_line(out);
        } else {
            self.spoil(Flaw::BareLineEnd);
        }
        self.place = Place::Bare;
    }

    fn take(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.octets = self.octets.saturating_add(1);
        self.line_octets = self.line_octets.saturating_add(1);
        if self.octets > self.octets_max {
            self.spoil(Flaw::TooBig);
        } else if self.line_octets > self.line_octets_max {
            self.spoil(Flaw::LongLine);
        }
        if self.flaw.is_none() {
            out.push(octet);
        }
    }

    fn spoil(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }
}

/// What stands before the first CR or LF, and the rest.
fn up_to_line_end(octets: &[u8]) -> (&[u8], &[u8]) {
    octets.split_at(memchr::memchr2(b'\r', b'\n', octets).unwrap_or(octets.len()))
}

/// Writes content as lines that end in CRLF, whatever it was: what goes out matches `^([^\r\n]*\r\n)*$`. For DATA dots are doubled at
/// the start of lines and CRLF "." CRLF ends it; for BDAT neither is wanted (RFC 3030, 2).
#[derive(Debug)]
pub struct Encoder {
    at_start: bool,
    behind_cr: bool,
    dots: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder at the beginning of content for DATA.
    pub fn new() -> Self {
        Self { at_start: true, behind_cr: false, dots: true }
    }

    /// An encoder at the beginning of content for BDAT.
    pub fn for_chunks() -> Self {
        Self { dots: false, ..Self::new() }
    }

    /// Writes a chunk of content; how it is cut does not matter.
    pub fn encode(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        out.reserve(octets.len());
        let mut rest = octets;
        while let Some((octet, behind)) = rest.split_first() {
            rest = behind;
            let behind_cr = std::mem::replace(&mut self.behind_cr, *octet == b'\r');
            match octet {
                b'\n' => self.end_line(out),
                _ if behind_cr => {
                    // The CR before stood alone: it ends a line of its own.
                    self.end_line(out);
                    self.plain(*octet, out);
                }
                _ => self.plain(*octet, out),
            }
            if !self.at_start && !self.behind_cr {
                let (plain, line_end) = up_to_line_end(rest);
                out.extend_from_slice(plain);
                rest = line_end;
            }
        }
    }

    /// Ends the last line, if it is open, and the content.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if !self.at_start || self.behind_cr {
            self.end_line(out);
        }
        if self.dots {
            out.extend_from_slice(b".\r\n");
        }
    }

    fn plain(&mut self, octet: u8, out: &mut Vec<u8>) {
        if octet == b'\r' {
            return;
        }
        // RFC 5321, 4.5.2: "Before sending a line of mail text, the SMTP client checks the first character of the line. If it is a
        // period, one additional period is inserted at the beginning of the line."
        if self.dots && self.at_start && octet == b'.' {
            out.push(b'.');
        }
        self.at_start = false;
        out.push(octet);
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.at_start = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `wire` cut at `cut`; gives content, flaw, and how many octets were used if the end came.
    fn decode(wire: &[u8], cut: usize) -> (Vec<u8>, Option<Flaw>, Option<usize>) {
        let mut decoder = Decoder::new(1000, 10_000);
        let mut content = Vec::new();
        let (first, second) = wire.split_at(cut);
        let head = decoder.decode(first, &mut content);
        if head.ended {
            return (content, decoder.flaw(), Some(head.used));
        }
        let tail = decoder.decode(second, &mut content);
        (content, decoder.flaw(), tail.ended.then_some(cut + tail.used))
    }

    /// S2: only CRLF.CRLF ends data, wherever the octets are cut.
    #[test]
    fn s2_only_the_real_end_ends_data() {
        let forged = b"EHLO evil.test\r\nMAIL FROM:<boss@example.test>\r\n.\r\n";
        for end in [
            "\n.\n",
            "\n.\r\n",
            "\r.\r",
            "\n.\r",
            "\r\n.\n",
            "\r\n.\r",
            "\r\n\0.\r\n",
            "\r\n.\r\r\n",
            "\r\r\n.\r\r\n",
            "\n.\r\r\n",
            "\u{b}.\u{b}",
            "\u{85}.\u{85}",
            "\u{2028}.\u{2028}",
        ] {
            let wire = [b"body", end.as_bytes(), forged].concat();
            for cut in 0..=wire.len() {
                let (_, flaw, used) = decode(&wire, cut);
                assert_eq!(used, Some(wire.len()), "{end:?} cut at {cut} ended data early");
                let strange_but_clean = end.starts_with(['\u{b}', '\u{85}', '\u{2028}']) || end.contains('\0');
                assert_eq!(flaw.is_none(), strange_but_clean, "{end:?}");
            }
        }
    }

    #[test]
    fn s2_the_first_line_is_a_line_too() {
        assert_eq!(decode(b".\r\n", 0), (Vec::new(), None, Some(3)));
        assert_eq!(decode(b"\n.\r\nx\r\n.\r\n", 0).1, Some(Flaw::BareLineEnd));
        assert_eq!(decode(b"..a\r\n.\r\n", 1).0, b".a\r\n");
    }

    /// Design page 6, decision 1: for a named client a bare CR or LF is a line end, and still no end of data, however it is cut.
    #[test]
    fn s2_what_is_normalized_ends_no_data() {
        for (wire, content) in [
            ("a\nb\r\n.\r\n", "a\r\nb\r\n"),
            ("a\rb\r\r\n.\r\n", "a\r\nb\r\n\r\n"),
            ("\n\n\r\n.\r\n", "\r\n\r\n\r\n"),
            ("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r\n.\rb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\n..b\r\n..c\r\n.\r\n", "a\r\n..b\r\n.c\r\n"),
        ] {
            for cut in 0..=wire.len() {
                let (first, second) = wire.as_bytes().split_at(cut);
                let (mut decoder, mut decoded) = (Decoder::new(1000, 10_000).normalizing(true), Vec::new());
                assert!(!decoder.decode(first, &mut decoded).ended || second.is_empty(), "{wire:?} cut at {cut} ended early");
                let ended = second.is_empty() || decoder.decode(second, &mut decoded).ended;
                assert_eq!((ended, decoder.flaw(), decoded.escape_ascii().to_string()), (true, None, content.escape_default().to_string()));
            }
        }
        for (chunk, content) in [("a\n", "a\r\n"), ("a\r", "a\r\n"), ("a\n.\nb", "a\r\n.\r\nb\r\n"), ("\ra\r\r\n", "\r\na\r\n\r\n")] {
            for cut in 0..=chunk.len() {
                let (mut decoder, mut decoded) = (Decoder::new(1000, 10_000).normalizing(true), Vec::new());
                let (first, second) = chunk.as_bytes().split_at(cut);
                decoder.chunk(first, &mut decoded);
                decoder.chunk(second, &mut decoded);
                decoder.finish(&mut decoded);
                assert_eq!((decoder.flaw(), decoded.as_slice()), (None, content.as_bytes()), "{chunk:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn limits_are_noticed_and_memory_is_bounded() {
        let long = [vec![b'a'; 1001], b"\r\n.\r\n".to_vec()].concat();
        assert_eq!(decode(&long, 3).1, Some(Flaw::LongLine));
        let big = [b"aaaaaaaa\r\n".repeat(2000), b".\r\n".to_vec()].concat();
        let (content, flaw, used) = decode(&big, 7);
        assert_eq!((flaw, used), (Some(Flaw::TooBig), Some(big.len())));
        assert!(content.len() <= 10_000);
    }

    proptest! {
        /// Clean content survives the way out and in, however it is cut.
        #[test]
        fn decode_undoes_encode(lines in prop::collection::vec("[ -~]{0,20}", 0..8), cut in 0_usize..40, wire_cut in 0_usize..40) {
            let content: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
            let mut wire = Vec::new();
            let mut encoder = Encoder::new();
            let (first, second) = content.split_at(cut.min(content.len()));
            encoder.encode(first, &mut wire);
            encoder.encode(second, &mut wire);
            encoder.finish(&mut wire);
            let (decoded, flaw, used) = decode(&wire, wire_cut.min(wire.len()));
            prop_assert_eq!((decoded, flaw, used), (content, None, Some(wire.len())));
        }

        /// S2: whatever went in, our wire is lines that end in CRLF, and its only end is the last one.
        #[test]
        fn s2_our_wire_is_clean(content in prop::collection::vec(prop::sample::select(b"a.\r\n\0\xff".to_vec()), 0..40), cut in 0_usize..40) {
            let mut wire = Vec::new();
            let mut encoder = Encoder::new();
            let (first, second) = content.split_at(cut.min(content.len()));
            encoder.encode(first, &mut wire);
            encoder.encode(second, &mut wire);
            encoder.finish(&mut wire);
            let (_, flaw, used) = decode(&wire, 0);
            prop_assert_eq!((flaw, used), (None, Some(wire.len())));
            let mut chunk = Vec::new();
            let mut encoder = Encoder::for_chunks();
            encoder.encode(first, &mut chunk);
            encoder.encode(second, &mut chunk);
            encoder.finish(&mut chunk);
            let (mut decoder, mut decoded) = (Decoder::new(1000, 10_000), Vec::new());
            decoder.chunk(&chunk, &mut decoded);
            prop_assert_eq!((decoder.flaw(), &decoded), (None, &chunk), "in chunks");
        }
    }
}
