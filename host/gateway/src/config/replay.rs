//! `[replay]`: messages that are kept to try other policies on them.

use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use super::value::Size;
use std::time::Duration;

/// `[replay]`. Nothing is kept unless `always` or `sample` says so. What is kept are whole messages, their envelopes, and what DNS answered
/// the policies, in `paths.state`, `replay/`, readable to the gateway's own user; unencrypted unless `seal_for` says for whom.
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
    /// `seal_for`: public keys (`age1…`, from `secmx policy keygen --sealing NAME` or age-keygen), one or a list. What is kept is then
    /// encrypted to each of them, and not even the gateway's own user reads it back: `secmx policy replay --identity NAME.key` does.
    /// Default none.
    pub seal_for: Vec<SealingKey>,
}

/// `replay.seal_for`: a public key of age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingKey(pub age::x25519::Recipient);

impl Setting for SealingKey {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a public key that begins with age1, as `secmx policy keygen --sealing NAME` writes it into NAME.pub";
        node.text(expected)?.trim().parse().map(Self).map_err(|_| node.refuse(expected))
    }
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
            seal_for: section.or("seal_for", Vec::new()),
        }
    }

    /// Whether a message with that ruling is kept. `draw` is any number.
    pub fn keeps(&self, ruling: &str, draw: u32) -> bool {
        self.always.iter().any(|kept| kept.0 == ruling) || self.sample.is_some_and(|of| draw.is_multiple_of(of.max(1)))
    }
}
