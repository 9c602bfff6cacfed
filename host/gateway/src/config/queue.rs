//! `[queue]`: how much is delivered at the same time, and what one destination gets of it.

use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use super::value::Size;
use secmx_policy::units;
use std::time::Duration;

/// `[queue]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// `workers`: deliveries at the same time, and connections that are kept open. Default 64.
    pub workers: usize,
    /// `[queue.per_destination]`.
    pub per_destination: PerDestination,
    /// `intake`: size of the whole messages that are in memory at the same time, while policies look at them and they are written down; a
    /// larger one has its turn alone. While they come in they lie in `paths.state`. Default `"32MiB"`; octets here.
    pub intake_octets: u64,
}

/// `[queue.per_destination]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerDestination {
    /// `connections`: deliveries at the same time to one domain. Default 20.
    pub connections: usize,
    /// `messages_per_connection`: messages that go over one connection before it is closed. 1 keeps none. Default 100.
    pub messages: u32,
    /// `idle`: how long a connection waits for another message before it is closed. Default `"5s"`.
    pub idle: Duration,
    /// `rate`: deliveries to one domain in a time, such as `"600/1m"`. They are spread over it; a tenth of them may go at once. Default no
    /// limit.
    pub rate: Option<Rate>,
}

/// So many in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; at least 1.
    pub count: u32,
    /// In which time; never 0.
    pub time: Duration,
}

impl Setting for Rate {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a rate such as \"600/1m\"";
        let parse = |text: &str| {
            let (count, time) = text.split_once('/')?;
            let (count, time) = (count.trim().parse().ok().filter(|count| *count > 0)?, units::duration(time)?);
            (!time.is_zero()).then_some(Self { count, time })
        };
        parse(node.text(expected)?).ok_or_else(|| node.refuse(expected))
    }
}

impl Queue {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let workers: u16 = section.or("workers", 64);
        Self {
            workers: workers.into(),
            per_destination: section.table("per_destination", PerDestination::read),
            intake_octets: section.or("intake", Size(32 << 20)).0,
        }
    }
}

impl PerDestination {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            connections: section.or("connections", 20),
            messages: section.or("messages_per_connection", 100),
            idle: section.or("idle", Duration::from_secs(5)),
            rate: section.optional("rate"),
        }
    }
}
