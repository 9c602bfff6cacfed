//! Markings decide how mail travels and to whom: what is marked goes secure only, at a level, and stays within a fence of domains.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Action, Content, Level, Message, Ruling, SenderRole, Session, Setup, settings};

/// Octets of the text of one part that are searched.
const TEXT_MAX: u32 = 1 << 20;

/// Texts that the gateway looks for at once.
const NEEDLES_MAX: usize = 1_000;

/// The policy.
pub struct Classification;

secmx_guest::export!(Classification: setup, content);

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", default, deny_unknown_fields)]
struct Settings {
    markings: Vec<String>,
    places: Vec<Place>,
    /// The field that mail programs write markings into.
    field: String,
    level: Floor,
    /// Domains that may receive what is marked, each with its subdomains; none named: all may.
    fence: Vec<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(crate = "secmx_guest::serde", rename_all = "lowercase")]
enum Place {
    Subject,
    Field,
    Text,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(crate = "secmx_guest::serde", rename_all = "lowercase")]
enum Floor {
    Encrypted,
    Host,
    Domain,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            markings: ["[SEEMAIL]", "[IN-CONFIDENCE]", "RESTRICTED"].iter().map(ToString::to_string).collect(),
            places: [Place::Subject, Place::Field, Place::Text].into(),
            field: "X-Protective-Marking".into(),
            level: Floor::Domain,
            fence: Vec::new(),
        }
    }
}

impl Setup for Classification {
    fn check() -> Result<(), String> {
        let settings = settings::<Settings>()?;
        match settings.markings.iter().find(|marking| marking.trim().is_empty()) {
            Some(_) => Err("markings: an empty marking would mark every message".into()),
            None => Ok(()),
        }
    }
}

impl Content for Classification {
    fn inspect(_: &Session, message: &Message) -> Ruling {
        let settings: Settings = settings().unwrap_or_else(|error| panic!("settings: {error}"));
        let Some(marking) = marking(message, &settings) else { return Ruling::Pass };
        message.set_tag("classification", &marking.chars().take(200).collect::<String>());
        message.demand(
            SenderRole::SecureOnly,
            match settings.level {
                Floor::Encrypted => Level::Encrypted,
                Floor::Host => Level::Host,
                Floor::Domain => Level::Domain,
            },
        );
        let recipients = message.recipients();
        let outside =
            recipients.iter().find(|recipient| !settings.fence.is_empty() && !is_within(&recipient.address.domain, &settings.fence));
        outside.map_or(Ruling::Pass, |recipient| {
            let address = format!("{}@{}", recipient.address.local_part, recipient.address.domain);
            let text = format!(
                "the message is marked {marking} and may not go to {address}. Remove that recipient, or the marking if it is wrong, and send \
                 again."
            );
            Action::Reject.ruling("classification.fence", &text)
        })
    }
}

/// The first marking that occurs, in the order of the settings.
fn marking(message: &Message, settings: &Settings) -> Option<String> {
    let at = |place| settings.places.contains(&place);
    let mut texts = Vec::new();
    if at(Place::Subject) {
        texts.extend(message.text("Subject"));
    }
    if at(Place::Field) {
        texts.extend(message.text(&settings.field));
    }
    // Whether any occurs at all is asked of the gateway, which has the texts: most messages are never copied to here.
    if at(Place::Text) && settings.markings.chunks(NEEDLES_MAX).any(|some| !message.find(some, false).is_empty()) {
        texts.extend(message.parts().iter().filter_map(|part| message.part_text(part.index, TEXT_MAX)));
    }
    settings.markings.iter().find(|marking| texts.iter().any(|text| occurs(text, marking))).cloned()
}

/// Whether a marking stands in a text as it is written, and not within a word.
fn occurs(text: &str, marking: &str) -> bool {
    let is_word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let bare = |place: usize| {
        let (before, after) = (text[..place].chars().next_back(), text[place + marking.len()..].chars().next());
        !(is_word(before) && is_word(marking.chars().next()) || is_word(after) && is_word(marking.chars().next_back()))
    };
    text.match_indices(marking).any(|(place, _)| bare(place))
}

fn is_within(domain: &str, fence: &[String]) -> bool {
    fence.iter().any(|one| {
        let start = domain.len().checked_sub(one.len());
        let ends = start.and_then(|start| domain.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(one));
        ends && start.is_some_and(|start| start == 0 || domain.as_bytes()[start - 1] == b'.')
    })
}
