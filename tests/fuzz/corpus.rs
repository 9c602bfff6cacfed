//! What mutants are made of, and what every target is given as it is before: the wires of the shared cases, and texts of ours.

use secmx_tests::cases::{expand_within, octets, prelude};
use serde::Deserialize;
use std::sync::LazyLock;

/// Characters that a repeat is written out to: more than the limits on lines and numbers of things. That the gateway stands the whole
/// length is shown over a socket, where it is read once and not octet by octet.
const REPEAT_MAX: usize = 16 * 1024;

/// A case of `smtp.json`.
#[derive(Deserialize)]
struct Case {
    id: String,
    setup: String,
    send: Vec<String>,
}

/// A case of `client.json`: what a peer answers at one place, or a body that lies in the queue.
#[derive(Deserialize)]
struct Lie {
    at: String,
    send: String,
}

/// A case of `hostile_mime.json`: a message.
#[derive(Deserialize)]
struct Hostile {
    send: String,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| serde_json::from_str(include_str!("../cases/smtp.json")).expect("valid"));

fn written_out(text: &str) -> Vec<u8> {
    octets(&expand_within(text, REPEAT_MAX))
}

impl Case {
    /// All that the client says; `<TLS>` is a handshake and no octets.
    fn wire(&self) -> Vec<u8> {
        let starttls = if self.setup.starts_with("tls") { "EHLO probe.test\r\nSTARTTLS\r\n" } else { "" };
        let header = if self.setup == "data+headers" { "Subject: s\r\n\r\n" } else { "" };
        let said = self.send.iter().filter(|step| *step != "<TLS>").map(|step| written_out(step));
        [starttls, &prelude(&self.setup).concat(), header].map(str::as_bytes).concat().into_iter().chain(said.flatten()).collect()
    }
}

/// Name and whole wire of the cases about where messages, chunks, commands and the clear end, without those that are long.
pub(crate) fn borders() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let about = |case: &&Case| ["smuggle-", "eod-", "bdat-", "pipe-", "starttls-"].iter().any(|kind| case.id.starts_with(kind));
    let short = |case: &&Case| !case.setup.starts_with("tls") && !case.send.iter().any(|step| step.contains("{{") || step == "<TLS>");
    CASES.iter().filter(about).filter(short).map(|case| (case.id.as_str(), case.wire()))
}

impl Lie {
    /// All that the peer says: the lie, and before it what an honest one says, over TLS or in the clear.
    fn wire(&self, tls: bool) -> Vec<u8> {
        if self.at == "queue" {
            return written_out(&self.send);
        }
        let honest = [
            ("greeting", "220 mx.test\r\n"),
            ("EHLO", "250-mx.test\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n"),
            ("STARTTLS", "220 go\r\n250-mx.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"),
            ("MAIL", "250 ok\r\n"),
            ("RCPT", "250 ok\r\n"),
            ("DATA", "354 go\r\n"),
            (".", "250 taken\r\n"),
        ];
        let before = honest.iter().filter(|(at, _)| tls || *at != "STARTTLS").take_while(|(at, _)| *at != self.at);
        let before: String = before.map(|(_, said)| *said).collect();
        (before + &expand_within(&self.send, REPEAT_MAX)).into_bytes()
    }
}

/// Texts that no case holds.
const TEXTS: [&str; 6] = [
    "220 mx.test\r\n250-mx.test\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 SIZE 1000\r\n",
    "250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n",
    include_str!("../../host/docs/configuration.md"),
    "domains = [\"a.test\"]\ndeliver_to = { \"*\" = \"lmtp://[::1]\" }\n",
    "version: STSv1\r\nmode: enforce\r\nmx: mx1.a.test\r\nmx: *.b.test\r\nmax_age: 604800\r\n",
    "v=STSv1; id=20261124T01;\nv=spf1 -all\nmx1.a.test mx2.b.test . secmail.c.test\n",
];

/// Every entry.
pub(crate) static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let lies: Vec<Lie> = serde_json::from_str(include_str!("../cases/client.json")).expect("valid");
    let messages: Vec<Hostile> = serde_json::from_str(include_str!("../../host/policy/tests/hostile_mime.json")).expect("valid");
    let wires = CASES.iter().map(Case::wire);
    let answers = lies.iter().flat_map(|lie| [lie.wire(true), lie.wire(false)]);
    let messages = messages.iter().map(|message| written_out(&message.send));
    wires.chain(answers).chain(messages).chain(TEXTS.iter().map(|text| text.as_bytes().to_vec())).collect()
});

/// What stands in a case file is in the corpus as octets: commands before it, repeats written out, no marks of the file's own.
#[test]
fn the_corpus_is_what_goes_over_the_wire() {
    let has = |octets: &[u8]| CORPUS.iter().any(|entry| entry.windows(octets.len()).any(|window| window == octets));
    assert!(!has(b"000}}") && !has(b"<TLS>"));
    let long = b"a".repeat(5000);
    for octets in
        [&b"DATA\r\nSubject: s\r\n\r\n"[..], b"STARTTLS\r\nEHLO probe.test\r\n", b"354 go\r\n421 bye\r\n", &b"A: b\r\n".repeat(2500), &long]
    {
        assert!(has(octets), "{}", octets[..octets.len().min(40)].escape_ascii());
    }
}
