//! What an administrator wants done with a message that a content policy objects to.

use crate::Ruling;
use alloc::string::String;
use serde::Deserialize;

/// The most text of a reply, octets; the gateway takes 512.
const TEXT_MAX: usize = 500;

/// A setting of content policies: `"hold"` or `"reject"`.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Taken, kept for a person.
    Hold,
    /// 550 5.7.1: the sender gets the text back.
    Reject,
}

impl Action {
    /// The ruling. `text` may hold what comes from the message: control characters become spaces, and in a reply, which is ASCII, what
    /// is beyond becomes `?`.
    pub fn ruling(self, code: &str, text: &str) -> Ruling {
        let clean = |character: char| if character.is_control() { ' ' } else { character };
        match self {
            Self::Hold => {
                let mut text: String = text.chars().map(clean).collect();
                text.truncate(text.floor_char_boundary(TEXT_MAX));
                Ruling::quarantine(code, &text)
            }
            Self::Reject => {
                let ascii = |character: char| if character.is_ascii() { character } else { '?' };
                let text: String = text.chars().map(clean).map(ascii).take(TEXT_MAX).collect();
                Ruling::reject(550, (5, 7, 1), &text, code)
            }
        }
    }
}
