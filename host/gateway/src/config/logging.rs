//! `[log]`: what the gateway says while it runs, on standard error.

use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use crate::log::{Format, Severity};

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// `format`: `"json"`, one object a line, or `"text"` for people. Default `"json"`.
    pub format: Format,
    /// `level`: the least that is said: `"error"`, `"warning"`, `"info"`, `"debug"`. Default `"info"`.
    pub level: Severity,
}

impl Setting for Format {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("json", Self::Json), ("text", Self::Text)])
    }
}

impl Setting for Severity {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("error", Self::Error), ("warning", Self::Warning), ("info", Self::Info), ("debug", Self::Debug)])
    }
}

impl Logging {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { format: section.or("format", Format::Json), level: section.or("level", Severity::Info) }
    }
}
