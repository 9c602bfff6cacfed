//! `[history]`: what is remembered of messages for `secmx explain`.

use super::reader::Section;
use super::value::Size;

/// `[history]`. The lines of the log that are about sessions and messages, kept beside the queue whatever `log.level` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// `keep`: how much of it is kept, the newest; a message takes some 5 KiB. `"0"`: nothing. Default `"256MiB"`; octets here.
    pub keep_octets: u64,
}

impl History {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { keep_octets: section.or("keep", Size(256 << 20)).0 }
    }
}
