//! `[auth]` and `[recipients]`: who may send from anywhere, and who is there to be written to.

use super::reader::Section;
use std::path::PathBuf;

/// `[auth]`. Users authenticate on `submit` listeners, over TLS only (RFC 4954).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Auth {
    /// `users`: file with a line for each user, which `secmx user NAME` writes. Default none: nobody can authenticate.
    pub users: Option<PathBuf>,
}

/// `[recipients]`: which addresses of `domains` exist. Without it all do, as far as this gateway knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipients {
    /// `list`: file with an address a line, or `@domain` for all of a domain; any other recipient of `domains` is refused with 550 5.1.1.
    /// Read again at each reload. Default none.
    pub list: Option<PathBuf>,
}

impl Auth {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { users: named_file(section, "users") }
    }
}

impl Recipients {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { list: named_file(section, "list") }
    }
}

/// The path of a file that can be read.
fn named_file(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let path = section.path(key)?;
    section.reader.must_open(section.span_of(key), &path);
    Some(path)
}
