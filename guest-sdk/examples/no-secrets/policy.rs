//! Mail whose text carries card numbers or IBANs is kept for a person to look at.
use secmx_guest::{Content, Message, Ruling, Session};

struct NoSecrets;
secmx_guest::export!(NoSecrets: content);

impl Content for NoSecrets {
    fn inspect(_: &Session, message: &Message) -> Ruling {
        for part in message.parts() {
            let text = message.part_text(part.index, 1 << 20).unwrap_or_default().into_bytes();
            let mut starts = (0..text.len()).filter(|&at| WORD(text.get(at)) && !WORD(text.get(at.wrapping_sub(1))));
            let Some((at, kind)) = starts.find_map(|at| Some((at, secret(&text[at..])?))) else { continue };
            message.add_evidence(part.index, at as u64, &format!("{}…", text[at..at + 4].escape_ascii()));
            return Ruling::quarantine(&format!("dlp.{kind}"), &format!("{kind} in part {}", part.index));
        }
        Ruling::Pass
    }
}

const WORD: fn(Option<&u8>) -> bool = |byte| byte.is_some_and(u8::is_ascii_alphanumeric);

/// What begins here: capital letters and digits in groups, one space or hyphen between. Luhn's sum, or ISO 13616 with its 97.
fn secret(text: &[u8]) -> Option<&'static str> {
    let mut d: Vec<u32> = Vec::new();
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' if d.len() < 34 => d.push(char::from(byte).to_digit(36)?),
            b' ' | b'-' if at > 0 && WORD(text.get(at + 1)) => continue,
            _ => return None,
        }
        let luhn = d.iter().rev().enumerate().fold(0, |sum, (at, d)| sum + if at % 2 == 0 { *d } else { d * 2 - d / 5 * 9 });
        let iban = d.iter().cycle().skip(4).take(d.len()).fold(0, |sum, d| (sum * if *d > 9 { 100 } else { 10 } + d) % 97);
        match d.len() {
            13..=19 if !WORD(text.get(at + 1)) && luhn % 10 == 0 && d.iter().all(|d| *d < 10) => return Some("card"),
            15..=34 if !WORD(text.get(at + 1)) && iban == 1 && d[0].min(d[1]) > 9 && d[2].max(d[3]) < 10 => return Some("iban"),
            _ => {}
        }
    }
    None
}
