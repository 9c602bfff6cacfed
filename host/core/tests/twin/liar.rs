//! Peers that say anything: true, false, malformed, too much, too early, or nothing.

use crate::random::Random;
use secmx_core::channel::{Channel, Level, Tls, TlsVersion};

/// What a peer does next.
#[derive(Debug)]
pub(crate) enum Act {
    Says(Vec<u8>),
    Leaves,
    Stalls,
}

/// What becomes of a handshake.
#[derive(Debug)]
pub(crate) enum Handshake {
    Stands(Channel),
    Fails,
    Instead(Act),
}

/// One peer. Its honesty, in percent, is drawn once, so that some get far and others nowhere.
#[derive(Debug)]
pub(crate) struct Liar {
    random: Random,
    honesty: usize,
}

pub(crate) fn secured(level: Level) -> Channel {
    let tls = Tls { version: TlsVersion::V13, cipher: String::new(), group: String::new(), server_name: None, peer: None, doubt: None };
    Channel::secured(level, tls)
}

const KEYWORDS: &[&str] = &[
    "PIPELINING",
    "SIZE 0",
    "SIZE 1",
    "SIZE 9999999",
    "8BITMIME",
    "SMTPUTF8",
    "STARTTLS",
    "starttls",
    "XXXXXXXX",
    "STARTTLS REQUIRED",
    "AUTH PLAIN",
    "",
    "\t",
    "LIMITS RCPTMAX=0",
];

const JUNK: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\0\0\0\0\r\n",
    b"2x0 what\r\n",
    b"999 what\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"250\r\n",
    b"250 bare LF\n",
    b"250-never\r\n",
    b"250-one\r\n550 other\r\n",
    b"\x16\x03\x03\x00\x02\x01\x00",
    b"220 2.0.0 ready\r\n",
    b"354 go on\r\n",
    b"354 go on\r\n250 taken\r\n",
    b"250 STARTTLS\r\n",
    b"250-mx.test\r\n250 PIPELINING\r\n",
    b"220 mx.test\r\n250 mx.test\r\n250 ok\r\n250 ok\r\n354 go\r\n",
];

const REFUSALS: &[&[u8]] = &[
    b"421 4.3.2 bye\r\n",
    b"451 later\r\n",
    b"454 not now\r\n",
    b"500 what\r\n",
    b"502 what\r\n",
    b"503 order\r\n",
    b"530 5.7.0 Must issue a STARTTLS command first\r\n",
    b"530 first\r\n",
    b"550 5.7.1 no\r\n",
    b"554 no\r\n",
];

impl Liar {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let honesty = random.pick(&[50, 80, 95, 100]);
        Self { random, honesty }
    }

    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Answers the lines that the client sent last; none at the start of the connection.
    pub(crate) fn act(&mut self, heard: &[u8]) -> Act {
        let truth = self.truth(heard);
        if self.random.chance(self.honesty) {
            return Act::Says(truth);
        }
        match self.random.below(10) {
            0 => Act::Leaves,
            1 => Act::Stalls,
            2 => Act::Says([truth.as_slice(), self.junk()].concat()),
            3 => Act::Says([truth.as_slice(), truth.as_slice()].concat()),
            4 => {
                let cut = self.random.below(truth.len() + 1);
                Act::Says(truth[..cut].to_vec())
            }
            5 => Act::Says(b"250-x\r\n".repeat(1 + self.random.below(2000))),
            6 => Act::Says(self.junk().to_vec()),
            _ => Act::Says(self.random.pick(REFUSALS).to_vec()),
        }
    }

    /// Answers a handshake: at any level, or not at all.
    pub(crate) fn shake(&mut self) -> Handshake {
        match self.random.below(10) {
            0 => Handshake::Fails,
            1 => Handshake::Instead(Act::Says(self.junk().to_vec())),
            2 => Handshake::Instead(if self.random.chance(50) { Act::Leaves } else { Act::Stalls }),
            3 => Handshake::Stands(Channel { level: Level::Domain, tls: None }),
            _ => Handshake::Stands(secured(self.random.pick(&[Level::Encrypted, Level::Host, Level::Domain]))),
        }
    }

    fn junk(&mut self) -> &'static [u8] {
        self.random.pick(JUNK)
    }

    fn truth(&mut self, heard: &[u8]) -> Vec<u8> {
        let heard = String::from_utf8_lossy(heard);
        if heard.is_empty() {
            return b"220 mx.test\r\n".to_vec();
        }
        heard.lines().map(|line| self.true_reply(line)).collect::<String>().into_bytes()
    }

    fn true_reply(&mut self, line: &str) -> String {
        match line.get(..4).unwrap_or(line) {
            "EHLO" => self.offer(),
            "STAR" => "220 go\r\n".to_owned(),
            "DATA" => "354 go\r\n".to_owned(),
            "QUIT" => "221 bye\r\n".to_owned(),
            "MAIL" | "RCPT" | "RSET" | "HELO" | "." => "250 ok\r\n".to_owned(),
            _ => String::new(),
        }
    }

    fn offer(&mut self) -> String {
        let mut lines = vec!["mx.test"];
        lines.extend((0..self.random.below(6)).map(|_| self.random.pick(KEYWORDS)));
        if self.random.chance(70) {
            lines.push("STARTTLS");
        }
        let last = lines.len() - 1;
        lines.iter().enumerate().map(|(at, line)| format!("250{}{line}\r\n", if at == last { ' ' } else { '-' })).collect()
    }
}
