//! Mutants: an entry of the corpus with a few random changes, the same for the same seed.

use crate::corpus::CORPUS;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Pieces that parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n.\r\n",
    b".",
    b"\0",
    b" ",
    b"<",
    b">",
    b"@",
    b"\"",
    b"\\",
    b"[",
    b"]",
    b":",
    b"=",
    b"+",
    b"%",
    b"!",
    b"\xff",
    b"\xc3\xa4",
    b"xn--",
    b"MAIL FROM:<a@probe.test>\r\n",
    b"RCPT TO:<user@example.test>\r\n",
    b"DATA\r\n",
    b"BDAT 3\r\nabc",
    b"BDAT 0 LAST\r\n",
    b"RSET\r\n",
    b"STARTTLS\r\n",
    b"250 ok\r\n",
    b"250-STARTTLS\r\n",
    b"354 go\r\n",
    b"220 go\r\n",
    b"99999999999999999999",
    b"-1",
];

/// Draws, and the mutants they make.
pub(crate) struct Mutator(StdRng);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// 0 to `bound - 1`, of a bound of at least 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// One mutant, at most 4,096 octets.
    pub(crate) fn input(&mut self) -> Vec<u8> {
        let entry = &CORPUS[self.below(CORPUS.len())];
        let from = self.below(entry.len().max(1)) * usize::from(entry.len() > 4096);
        let mut input: Vec<u8> = entry.iter().skip(from).take(2048).copied().collect();
        self.mutate(&mut input);
        input.truncate(4096);
        input
    }

    /// Up to five random changes.
    pub(crate) fn mutate(&mut self, input: &mut Vec<u8>) {
        for _ in 0..self.below(6) {
            let at = self.below(input.len() + 1);
            match self.below(5) {
                0 => input.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied()).for_each(drop),
                1 => input.truncate(at),
                2 => {
                    let end = (at + self.below(16)).min(input.len());
                    input.drain(at..end);
                }
                3 if at < input.len() => input[at] = self.0.random(),
                _ => {
                    let copied: Vec<u8> = input.iter().skip(at).take(64).copied().collect();
                    input.extend(copied);
                }
            }
        }
    }

    /// Cuts octets into segments: one, octet by octet, or anything between.
    pub(crate) fn segments<'a>(&mut self, octets: &'a [u8]) -> Vec<&'a [u8]> {
        let longest = [octets.len(), 1, 7, 64][self.below(4)].max(1);
        let (mut rest, mut cut) = (octets, Vec::new());
        while !rest.is_empty() {
            let (segment, behind) = rest.split_at(1 + self.below(longest.min(rest.len())));
            cut.push(segment);
            rest = behind;
        }
        cut
    }
}
