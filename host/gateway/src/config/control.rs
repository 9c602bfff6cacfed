//! `[control]`: the socket through which operators look into a running gateway and steer it.

use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use std::path::PathBuf;

/// `[control]`. Whoever may open the socket may do everything that `secmx queue`, `quarantine`, `reload` and `drain` do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// `socket`: path of a Unix socket; a relative one is relative to the configuration file. Default `control.sock` below `paths.state`.
    pub socket: Option<PathBuf>,
    /// `mode`: its permissions, octal. Default `"0660"`.
    pub mode: u32,
    /// `group`: the group that it belongs to. Default that of the process.
    pub group: Option<String>,
}

/// Permissions of a file.
struct Permissions(u32);

impl Setting for Permissions {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "permissions in octal digits, such as \"0660\"";
        let bits = u32::from_str_radix(node.text(expected)?, 8).ok().filter(|bits| *bits <= 0o777);
        bits.map(Self).ok_or_else(|| node.refuse(expected))
    }
}

impl Control {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { socket: section.path("socket"), mode: section.or("mode", Permissions(0o660)).0, group: section.optional("group") }
    }
}
