//! Replies on the wire, both ways (RFC 5321, 4.2; RFC 2034).
//!
//! What is written is at most 512 octets a line and printable. What is read is bounded, strict about its code, and made printable before
//! anyone sees it: a peer's escape sequences end here.

use crate::report::{EnhancedStatus, Reply};
use std::fmt;

/// Lines of one reply that are read at most.
const LINES_MAX: usize = 100;
/// Octets of one reply that are read at most.
const OCTETS_MAX: usize = 64 * 1024;
/// Octets of text in one line that is written: RFC 5321, 4.5.3.1.5 gives the whole line 512.
const TEXT_MAX: usize = 480;

/// Writes a reply, each line with its code and enhanced status (RFC 2034, 4), ended by CRLF.
pub fn write(reply: &Reply, out: &mut Vec<u8>) {
    let last = reply.lines.len().saturating_sub(1);
    for (index, line) in reply.lines.iter().enumerate() {
        out.extend_from_slice(reply.code.to_string().as_bytes());
        out.push(if index == last { b' ' } else { b'-' });
        if let Some(status) = reply.status {
            out.extend_from_slice(status.to_string().as_bytes());
            out.push(b' ');
        }
        out.extend(line.bytes().map(|octet| if (b' '..=b'~').contains(&octet) { octet } else { b'?' }).take(TEXT_MAX));
        out.extend_from_slice(b"\r\n");
    }
}

/// Why octets are no reply. The connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// Not `DDD` with a space, a hyphen or the end of the line behind it, or a code that does not exist.
    Malformed,
    /// The lines of one reply do not have one code.
    Mixed,
    /// More lines or octets than any honest reply has.
    Endless,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a reply that is not one",
            Self::Mixed => "a reply of several lines with different codes",
            Self::Endless => "a reply without end",
        })
    }
}

impl std::error::Error for ReplyError {}

/// Reads replies from octets as they come. Lines may end in a bare LF: a reply is never relayed, so leniency forges nothing here, and
/// the strict reader would defer all mail to an old but honest host.
#[derive(Debug, Default)]
pub struct ReplyReader {
    pending: Vec<u8>,
    /// Code and text of the lines read so far of a reply of several.
    begun: Option<Reply>,
    octets: usize,
}

impl ReplyReader {
    /// A reader that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes octets.
    pub fn push(&mut self, octets: &[u8]) {
        self.pending.extend_from_slice(octets);
    }

    /// Whether nothing is left: not one octet behind the last whole reply.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.begun.is_none()
    }

    /// The next whole reply, `None` until more octets come. Errors are final.
    #[allow(clippy::should_implement_trait, reason = "an error in the middle is not the end of an iteration")]
    pub fn next(&mut self) -> Result<Option<Reply>, ReplyError> {
        while let Some(end) = self.pending.iter().position(|octet| *octet == b'\n') {
            let rest = self.pending.split_off(end.saturating_add(1));
            let line = std::mem::replace(&mut self.pending, rest);
            self.octets = self.octets.saturating_add(line.len());
            if self.octets > OCTETS_MAX {
                return Err(ReplyError::Endless);
            }
            let (reply, more) = read_line(line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(&line))?;
            let reply = self.join(reply)?;
            if more {
                self.begun = Some(reply);
            } else {
                self.octets = 0;
                return Ok(Some(reply));
            }
        }
        if self.octets.saturating_add(self.pending.len()) > OCTETS_MAX { Err(ReplyError::Endless) } else { Ok(None) }
    }

    /// Puts a line behind those before it. RFC 5321, 4.2.1: "the reply code on each of the lines MUST be the same."
    fn join(&mut self, line: Reply) -> Result<Reply, ReplyError> {
        match self.begun.take() {
            None => Ok(line),
            Some(begun) if begun.code != line.code => Err(ReplyError::Mixed),
            Some(begun) if begun.lines.len() >= LINES_MAX => Err(ReplyError::Endless),
            Some(mut begun) => {
                begun.status = begun.status.or(line.status);
                begun.lines.extend(line.lines);
                Ok(begun)
            }
        }
    }
}

/// One line of a reply, and whether more follow.
fn read_line(line: &[u8]) -> Result<(Reply, bool), ReplyError> {
    let (code, rest) = line.split_at_checked(3).ok_or(ReplyError::Malformed)?;
    let code = std::str::from_utf8(code).ok().filter(|code| code.bytes().all(|digit| digit.is_ascii_digit()));
    let code: u16 = code.and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code)).ok_or(ReplyError::Malformed)?;
    let (more, text) = match rest.split_first() {
        None => (false, rest),
        Some((b' ', text)) => (false, text),
        Some((b'-', text)) => (true, text),
        Some(_) => return Err(ReplyError::Malformed),
    };
    let text = printable(text);
    let (status, text) = split_status(code, &text);
    Ok((Reply { code, status, lines: vec![text] }, more))
}

/// RFC 2034, 4: the text begins with an enhanced status code. One of another class than the reply code is not believed.
fn split_status(code: u16, text: &str) -> (Option<EnhancedStatus>, String) {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    match EnhancedStatus::parse(first) {
        Some(status) if u16::from(status.class) == code / 100 => (Some(status), rest.to_owned()),
        _ => (None, text.to_owned()),
    }
}

/// Text that can stand in a log or a bounce: controls, direction overrides and what is not UTF-8 as `\x{HEX}`.
pub fn printable(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                text.push_str(&format!("\\x{{{:X}}}", u32::from(character)));
            } else {
                text.push(character);
            }
        }
        chunk.invalid().iter().for_each(|octet| text.push_str(&format!("\\x{{{octet:X}}}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let mut reader = ReplyReader::new();
        reader.push(octets);
        reader.next()
    }

    #[test]
    fn what_is_written_reads_back() {
        let reply = Reply { code: 250, status: Some(EnhancedStatus::new(2, 1, 0)), lines: vec!["one".into(), "two".into()] };
        let mut wire = Vec::new();
        write(&reply, &mut wire);
        assert_eq!(wire, b"250-2.1.0 one\r\n250 2.1.0 two\r\n");
        let mut reader = ReplyReader::new();
        for octet in &wire[..wire.len() - 1] {
            reader.push(&[*octet]);
            assert_eq!(reader.next(), Ok(None));
        }
        reader.push(b"\n");
        assert_eq!(reader.next(), Ok(Some(reply)));
        assert!(reader.is_empty());
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bad in ["2x0 hi\r\n", "999 hi\r\n", "100 hi\r\n", "25 hi\r\n", "250hi\r\n", "\r\n", "250-a\r\n550 b\r\n"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(read(&b"220-x\r\n".repeat(200)), Err(ReplyError::Endless));
        assert_eq!(read(&[b'2'; OCTETS_MAX + 1]), Err(ReplyError::Endless), "a line without end");
    }

    #[test]
    fn the_basic_code_wins_over_a_status_of_another_class() {
        let reply = read(b"550 2.0.0 fine\r\n").expect("a reply").expect("whole");
        assert_eq!((reply.code, reply.status), (550, None));
    }

    #[test]
    fn escape_sequences_end_here() {
        let reply = read(b"550 5.1.1 \x1b]0;pwn\x07\xff \xe2\x80\xaex\r\n").expect("a reply").expect("whole");
        assert_eq!(reply.lines, ["\\x{1B}]0;pwn\\x{7}\\x{FF} \\x{202E}x"]);
        assert_eq!(reply.status, Some(EnhancedStatus::new(5, 1, 1)));
    }

    #[test]
    fn octets_behind_a_reply_are_seen() {
        let mut reader = ReplyReader::new();
        reader.push(b"220 go\r\n250 evil\r\n");
        assert!(reader.next().is_ok_and(|reply| reply.is_some()));
        assert!(!reader.is_empty());
    }

    #[test]
    fn lines_that_go_out_are_bounded_and_printable() {
        let mut wire = Vec::new();
        write(&Reply::new(550, None, "é\u{1b}".to_owned() + &"a".repeat(2000)), &mut wire);
        assert!(wire.len() <= 512 && wire.ends_with(b"\r\n"));
        assert!(wire[..wire.len() - 2].iter().all(|octet| (b' '..=b'~').contains(octet)));
    }
}
