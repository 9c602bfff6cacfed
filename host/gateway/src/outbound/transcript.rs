//! What was said in one call, for `explain`: commands and replies, and of a message only how many octets went out.

/// Lines that are kept; what is said after them is counted.
const LINES_MAX: usize = 100;

/// Characters of a line that are kept.
const LINE_CHARS: usize = 300;

/// A dialogue while it goes on.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    lines: Vec<String>,
    left_out: usize,
    /// Octets of the message that went out since the last line.
    content: usize,
}

impl Transcript {
    /// Octets that we sent, other than a message.
    pub(super) fn sent(&mut self, octets: &[u8]) {
        self.said("C", octets);
    }

    /// Octets that the peer sent. A reply that comes in pieces is shown in pieces.
    pub(super) fn received(&mut self, octets: &[u8]) {
        self.said("S", octets);
    }

    /// Something that happened beside what was said.
    pub(super) fn happened(&mut self, what: &str) {
        self.add(format!("   ({what})"));
    }

    /// Octets of the message went out.
    pub(super) fn content(&mut self, octets: usize) {
        self.content += octets;
    }

    /// All of it.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.flush();
        if self.left_out > 0 {
            self.lines.push(format!("   ({} more lines)", self.left_out));
        }
        self.lines
    }

    fn said(&mut self, who: &str, octets: &[u8]) {
        for line in String::from_utf8_lossy(octets).lines() {
            self.add(format!("{who}: {}", line.chars().take(LINE_CHARS).collect::<String>()));
        }
    }

    fn flush(&mut self) {
        let octets = std::mem::take(&mut self.content);
        if octets > 0 {
            self.lines.push(format!("   ({octets} octets of the message)"));
        }
    }

    fn add(&mut self, line: String) {
        self.flush();
        if self.lines.len() < LINES_MAX {
            self.lines.push(line);
        } else {
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_octet_of_a_message_is_in_it_and_it_is_bounded() {
        let mut transcript = Transcript::default();
        transcript.received(b"220 mx.test\r\n");
        transcript.sent(b"EHLO gw.test\r\n");
        transcript.happened("TLS 1.3");
        transcript.content(40);
        transcript.content(2);
        transcript.sent(b"\r\n.\r\n");
        assert_eq!(
            transcript.finish(),
            ["S: 220 mx.test", "C: EHLO gw.test", "   (TLS 1.3)", "   (42 octets of the message)", "C: ", "C: ."]
        );
        let mut transcript = Transcript::default();
        (0..1000).for_each(|_| transcript.received(&[b'x'; 5000]));
        let lines = transcript.finish();
        assert_eq!((lines.len(), lines[0].len(), lines[100].as_str()), (101, 303, "   (900 more lines)"));
    }
}
