//! Command lines out of octets: CRLF ends one and nothing else does (RFC 5321, 2.3.8), and no client can make us keep more than one.

/// A line, or what came in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its CRLF. No CR, LF or NUL in it.
    Whole(Vec<u8>),
    /// It ended, and it was longer than the limit; its octets are gone.
    TooLong,
    /// It ended, and it held a bare CR, a bare LF or a NUL.
    Garbled,
}

/// What a client sent and nobody has read yet.
#[derive(Debug, Default)]
pub(super) struct LineReader {
    pending: Vec<u8>,
    /// The line that is coming in is already longer than the limit.
    overlong: bool,
}

impl LineReader {
    /// Takes octets.
    pub(super) fn push(&mut self, octets: &[u8]) {
        self.pending.extend_from_slice(octets);
    }

    /// The next whole line; `None` until more octets come. `most` counts the CRLF.
    pub(super) fn next(&mut self, most: usize) -> Option<Line> {
        let Some(end) = self.pending.windows(2).position(|pair| pair == b"\r\n") else {
            // A CR at the very end may be half of a CRLF.
            if self.pending.len() > most {
                self.overlong = true;
                let keep_cr = self.pending.ends_with(b"\r");
                self.pending.clear();
                self.pending.extend(keep_cr.then_some(b'\r'));
            }
            return None;
        };
        let rest = self.pending.split_off(end.saturating_add(2));
        let mut line = std::mem::replace(&mut self.pending, rest);
        line.truncate(end);
        let overlong = std::mem::take(&mut self.overlong) || end.saturating_add(2) > most;
        Some(if overlong {
            Line::TooLong
        } else if line.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
            Line::Garbled
        } else {
            Line::Whole(line)
        })
    }

    /// Whether nothing waits to be read.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Everything that waits, for whoever reads on.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crlf_ends_a_line() {
        let mut reader = LineReader::default();
        reader.push(b"NOOP\nNOOP\rX");
        assert_eq!(reader.next(2048), None);
        reader.push(b"\r");
        assert_eq!(reader.next(2048), None);
        reader.push(b"\nQUIT\r\nREST");
        assert_eq!(reader.next(2048), Some(Line::Garbled));
        assert_eq!(reader.next(2048), Some(Line::Whole(b"QUIT".to_vec())));
        assert_eq!(reader.next(2048), None);
        assert_eq!(reader.take(), b"REST");
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut reader = LineReader::default();
        for _ in 0..100 {
            reader.push(&[b'A'; 1000]);
            assert_eq!(reader.next(2048), None);
            assert!(reader.pending.len() <= 3048);
        }
        reader.push(b"\r\nNOOP\r\n");
        assert_eq!(reader.next(2048), Some(Line::TooLong));
        assert_eq!(reader.next(2048), Some(Line::Whole(b"NOOP".to_vec())));
    }
}
