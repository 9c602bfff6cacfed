//! `[quarantine]`: how long mail that a policy stopped is kept for a person.

use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use std::time::Duration;

/// `[quarantine]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// `keep`: how long after its arrival a message is removed, unless a person released it; nobody is told. `"never"`: it is not. Default
    /// `"30d"`.
    pub keep: Option<Duration>,
}

/// A duration, or none.
struct Keep(Option<Duration>);

impl Setting for Keep {
    fn read(node: &Node) -> Result<Self, Refusal> {
        match node.text("a duration such as \"30d\", or \"never\"") {
            Ok("never") => Ok(Self(None)),
            _ => Duration::read(node).map(Some).map(Self),
        }
    }
}

impl Quarantine {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { keep: section.or("keep", Keep(Some(Duration::from_secs(30 * 24 * 3600)))).0 }
    }
}
