//! Mutants: an entry of the corpus with a few random changes, the same for the same seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;
use std::sync::LazyLock;

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

#[derive(Deserialize)]
struct Case {
    id: String,
    setup: String,
    send: Vec<String>,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| serde_json::from_str(include_str!("../cases/smtp.json")).expect("valid"));

fn octets(text: &str) -> Vec<u8> {
    text.chars().filter_map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

/// Name and whole wire of the cases about where messages, chunks, commands and the clear end, without those that are long.
pub(crate) fn borders() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let about = |case: &&Case| ["smuggle-", "eod-", "bdat-", "pipe-", "starttls-"].iter().any(|kind| case.id.starts_with(kind));
    let short = |case: &&Case| !case.setup.starts_with("tls") && !case.send.iter().any(|step| step.contains("{{") || step == "<TLS>");
    CASES.iter().filter(about).filter(short).map(|case| {
        let prelude = ["EHLO probe.test\r\n", "MAIL FROM:<a@probe.test>\r\n", "RCPT TO:<user@example.test>\r\n", "DATA\r\n"];
        let length = match case.setup.as_str() {
            "ehlo" => 1,
            "mail+rcpt" => 3,
            "data" | "data+headers" => 4,
            _ => 0,
        };
        (case.id.as_str(), octets(&format!("{}{}", prelude[..length].concat(), case.send.concat())))
    })
}

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let cases = &*CASES;
    let wire = cases.iter().map(|case| octets(&format!("EHLO a.test\r\n{}", case.send.concat())));
    let replies = [
        "220 mx.test\r\n250-mx.test\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 SIZE 1000\r\n",
        "250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n",
    ];
    let settings =
        [include_str!("../../host/docs/configuration.md"), "domains = [\"a.test\"]\ndeliver_to = { \"*\" = \"lmtp://[::1]\" }\n"];
    let published = [
        "version: STSv1\r\nmode: enforce\r\nmx: mx1.a.test\r\nmx: *.b.test\r\nmax_age: 604800\r\n",
        "v=STSv1; id=20261124T01;\nv=spf1 -all\nmx1.a.test mx2.b.test . secmail.c.test\n",
    ];
    wire.chain(replies.iter().chain(&settings).chain(&published).map(|text| octets(text))).collect()
});

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
        input.truncate(4096);
        input
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
