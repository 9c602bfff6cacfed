//! `[paths]`: where the gateway keeps what must outlive it.

use super::reader::Section;
use std::path::PathBuf;

/// `[paths]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `state`: directory for the queue (`spool/`) and the self-signed certificate (`tls/`). A relative path is relative to the
    /// configuration file. Default `secmx-state`.
    pub state: PathBuf,
    /// `cache`: directory for compiled policies, of this user alone (mode 0700). It may be emptied at any time. Default `compiled` below
    /// `state`.
    pub cache: PathBuf,
}

impl Paths {
    pub(super) fn read(section: &mut Section<'_>, beside: &std::path::Path) -> Self {
        let state = section.path("state").unwrap_or_else(|| beside.join("secmx-state"));
        Self { cache: section.path("cache").unwrap_or_else(|| state.join("compiled")), state }
    }
}
