//! Numbers that should not leave: payment cards (Luhn), bank accounts (IBAN with its checksum), and patterns of one's own.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Action, Content, Message, Ruling, Session, Setup, settings};

/// Octets of the text of one part that are searched.
const TEXT_MAX: u32 = 4 << 20;

/// First digits of card networks (ISO/IEC 7812-1).
const CARD_STARTS: core::ops::RangeInclusive<u8> = b'2'..=b'6';

/// The policy.
pub struct NoSecrets;

secmx_guest::export!(NoSecrets: setup, content);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", default, deny_unknown_fields)]
struct Settings {
    action: Action,
    block: Vec<Kind>,
    patterns: Vec<Pattern>,
    /// How many there must be in a message.
    least: u32,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(crate = "secmx_guest::serde", rename_all = "lowercase")]
enum Kind {
    Card,
    Iban,
}

/// `#` is a digit, `@` a letter, everything else itself.
#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", deny_unknown_fields)]
struct Pattern {
    name: String,
    pattern: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { action: Action::Hold, block: [Kind::Card, Kind::Iban].into(), patterns: Vec::new(), least: 1 }
    }
}

impl Setup for NoSecrets {
    fn check() -> Result<(), String> {
        let settings = settings::<Settings>()?;
        match settings.patterns.iter().find(|one| one.pattern.trim().len() < 4) {
            Some(one) => Err(format!("patterns: {:?} has fewer than 4 characters and would be found everywhere", one.name)),
            None => Ok(()),
        }
    }
}

/// Something that was found: its kind for the code, for people, and where.
struct Found<'a> {
    code: &'static str,
    what: &'a str,
    part: u32,
    offset: usize,
    end: String,
}

impl Content for NoSecrets {
    fn inspect(_: &Session, message: &Message) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        let (starts, mut found) = (starts(&settings), Vec::new());
        for text in message.text("Subject") {
            search(&text, 0, &settings, &starts, &mut found);
        }
        for part in message.parts() {
            if let Some(text) = message.part_text(part.index, TEXT_MAX) {
                search(&text, part.index, &settings, &starts, &mut found);
            }
        }
        for one in found.iter().take(20) {
            // Never the number itself: evidence is read by people.
            message.add_evidence(one.part, one.offset as u64, &format!("{} ending {}", one.what, one.end));
        }
        match found.first() {
            Some(first) if found.len() >= settings.least.max(1) as usize => {
                let text = format!(
                    "the message holds {} (part {}, {} found) that may not leave. Remove it, or ask your mail administrator, and send again.",
                    first.what,
                    first.part,
                    found.len()
                );
                settings.action.ruling(first.code, &text)
            }
            _ => Ruling::Pass,
        }
    }
}

/// Octets with which something can begin: most of a text is passed over by them.
fn starts(settings: &Settings) -> [bool; 256] {
    let mut starts = [false; 256];
    let mut take =
        |fits: &dyn Fn(u8) -> bool| (0..=u8::MAX).filter(|octet| fits(*octet)).for_each(|octet| starts[usize::from(octet)] = true);
    if settings.block.contains(&Kind::Card) {
        take(&|octet| CARD_STARTS.contains(&octet));
    }
    if settings.block.contains(&Kind::Iban) {
        take(&|octet| octet.is_ascii_uppercase());
    }
    for one in &settings.patterns {
        take(&|octet| one.pattern.as_bytes().first().is_some_and(|wanted| fits(octet, *wanted)));
    }
    starts
}

fn search<'a>(text: &str, part: u32, settings: &'a Settings, starts: &[bool; 256], found: &mut Vec<Found<'a>>) {
    let octets = text.as_bytes();
    let mut offset = 0;
    while let Some(next) = octets[offset..].iter().position(|octet| starts[usize::from(*octet)]).filter(|_| found.len() < 1_000) {
        offset += next;
        let begins = offset == 0 || !octets[offset - 1].is_ascii_alphanumeric();
        let hit = if begins { at(&octets[offset..], settings) } else { None };
        match hit {
            Some((code, what, length)) => {
                let end = octets[..offset + length].iter().rev().take(4).rev().map(|octet| char::from(*octet)).collect();
                found.push(Found { code, what, part, offset, end });
                offset += length;
            }
            None => offset += 1,
        }
    }
}

/// What begins here: code, name, length.
fn at<'a>(octets: &[u8], settings: &'a Settings) -> Option<(&'static str, &'a str, usize)> {
    let blocks = |kind| settings.block.contains(&kind);
    if blocks(Kind::Card)
        && let Some(length) = card(octets)
    {
        return Some(("secrets.card", "a payment card number", length));
    }
    if blocks(Kind::Iban)
        && let Some(length) = iban(octets)
    {
        return Some(("secrets.iban", "an IBAN", length));
    }
    let own = settings.patterns.iter().find(|one| matches(octets, one.pattern.as_bytes()));
    own.map(|one| ("secrets.pattern", one.name.as_str(), one.pattern.len()))
}

/// 13 to 19 digits of a card network, singly spaced or hyphened, whose check digit is right (ISO/IEC 7812-1). Other numbers may
/// follow, such as a date: the longest that fits counts.
fn card(octets: &[u8]) -> Option<usize> {
    if !octets.first().is_some_and(|first| CARD_STARTS.contains(first)) || run(octets, 13, u8::is_ascii_digit).0.len() < 13 {
        return None;
    }
    (13..=19).rev().find_map(|size| {
        let (digits, length) = run(octets, size, u8::is_ascii_digit);
        let ends = octets.get(length).is_none_or(|next| !next.is_ascii_alphanumeric());
        let is_one = digits.len() == size && ends && digits.iter().any(|digit| *digit != digits[0]) && luhn(&digits);
        is_one.then_some(length)
    })
}

fn luhn(digits: &[u8]) -> bool {
    let weighted = digits.iter().rev().enumerate().map(|(place, digit)| {
        let value = u32::from(digit - b'0') << (place % 2);
        value / 10 + value % 10
    });
    weighted.sum::<u32>() % 10 == 0
}

/// Two letters, two check digits, 11 to 30 more, perhaps in groups, that are 1 modulo 97 (ISO 13616-1). Groups behind it may be words: the
/// longest that fits counts.
fn iban(octets: &[u8]) -> Option<usize> {
    let [a, b, c, d, ..] = octets else { return None };
    if !(a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit()) {
        return None;
    }
    let is_one = |octet: &u8| octet.is_ascii_uppercase() || octet.is_ascii_digit();
    (15..=34).rev().find_map(|size| {
        let (characters, length) = run(octets, size, is_one);
        let ends = octets.get(length).is_none_or(|next| !next.is_ascii_alphanumeric());
        (characters.len() == size && ends && remainder(&characters) == 1).then_some(length)
    })
}

fn remainder(characters: &[u8]) -> u32 {
    characters[4..].iter().chain(&characters[..4]).fold(0, |rest, character| match character {
        b'0'..=b'9' => (rest * 10 + u32::from(character - b'0')) % 97,
        _ => (rest * 100 + u32::from(character - b'A') + 10) % 97,
    })
}

/// At most `most` characters that are wanted, with at most one space or hyphen between them, and the length of all that.
fn run(octets: &[u8], most: usize, wanted: impl Fn(&u8) -> bool) -> (Vec<u8>, usize) {
    let (mut taken, mut length) = (Vec::new(), 0);
    let mut place = 0;
    while let Some(octet) = octets.get(place).filter(|_| taken.len() < most) {
        let separates = matches!(octet, b' ' | b'-') && octets.get(place + 1).is_some_and(&wanted);
        if wanted(octet) {
            taken.push(*octet);
            length = place + 1;
        } else if !separates {
            break;
        }
        place += 1;
    }
    (taken, length)
}

/// Whether an octet is what a pattern wants in this place.
fn fits(octet: u8, wanted: u8) -> bool {
    match wanted {
        b'#' => octet.is_ascii_digit(),
        b'@' => octet.is_ascii_alphabetic(),
        _ => octet == wanted,
    }
}

fn matches(octets: &[u8], pattern: &[u8]) -> bool {
    octets.len() >= pattern.len()
        && octets.iter().zip(pattern).all(|(octet, wanted)| fits(*octet, *wanted))
        && octets.get(pattern.len()).is_none_or(|next| !next.is_ascii_alphanumeric())
}
