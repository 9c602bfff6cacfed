//! `[replay]`: messages that are kept to try other policies on them.

use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use super::value::Size;
use std::time::Duration;

/// `[replay]`. Nothing is kept unless `always` or `sample` says so. What is kept lies unencrypted in `paths.state`, `replay/`, readable to
/// the gateway's own user: whole messages, their envelopes, and what DNS answered the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// `always`: rulings whose messages are kept, one or a list: `"accept"`, `"quarantine"`, `"reject"`, `"defer"`, `"discard"`. Default
    /// none.
    pub always: Vec<Kept>,
    /// `sample`: of how many other messages one is kept, such as 100. Default none.
    pub sample: Option<u32>,
    /// `for`: how long they are kept. Default `"7d"`.
    pub keep_for: Duration,
    /// `octets`: what they may take in all; the oldest go. Default `"1GiB"`.
    pub octets: u64,
}

/// `replay.always`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept(pub &'static str);

impl Setting for Kept {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&["accept", "quarantine", "reject", "defer", "discard"].map(|word| (word, Self(word))))
    }
}

impl Replay {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            always: section.or("always", Vec::new()),
            sample: section.optional("sample"),
            keep_for: section.or("for", Duration::from_secs(7 * 86_400)),
            octets: section.or("octets", Size(1 << 30)).0,
        }
    }

    /// Whether a message with that ruling is kept. `draw` is any number.
    pub fn keeps(&self, ruling: &str, draw: u32) -> bool {
        self.always.iter().any(|kept| kept.0 == ruling) || self.sample.is_some_and(|of| draw.is_multiple_of(of.max(1)))
    }
}
