//! `[journal.NAME]`: where copies of messages are kept, and who can read them.

use super::finding::Code;
use super::reader::Section;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `[journal.NAME]` by NAME. A policy such as `builtin:journal` says what is kept in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// `recipients`: keys that the copies are encrypted to, each of which opens them: `"age1…"` of age (X25519), as `secmx journal keygen` and
    /// `age-keygen` print them. The gateway holds no key that opens one. At least one is required.
    pub recipients: Vec<String>,
    /// `path`: folder of the records. Default `journal/NAME` below `paths.state`.
    pub path: PathBuf,
}

impl Journal {
    pub(super) fn read_all(section: &mut Section<'_>, state: &Path) -> BTreeMap<String, Self> {
        let folder = state.join("journal");
        section.named("journal", |name, section| (name.to_owned(), Self::read(section, name, &folder))).into_iter().collect()
    }

    fn read(section: &mut Section<'_>, name: &str, folder: &Path) -> Self {
        if name.is_empty() || !name.chars().all(|character| character.is_ascii_alphanumeric() || "-_".contains(character)) {
            let message = format!("`journal.{name}`: a name is letters, digits, hyphens and underscores: a folder is called so");
            section.reader.error(section.span_of("recipients"), Code::Value, message);
        }
        let recipients: Vec<String> = section.or("recipients", Vec::new());
        let span = section.span_of("recipients");
        if recipients.is_empty() {
            let message = format!(
                "`{}` is missing: at least one key such as \"age1…\"; `secmx journal keygen` makes one",
                section.dotted("recipients")
            );
            section.reader.error(span, Code::MissingKey, message);
        }
        for wrong in recipients.iter().filter(|key| key.parse::<age::x25519::Recipient>().is_err()) {
            let message = format!("`{}`: {wrong:?} is no public key of age (X25519), which begins with age1", section.dotted("recipients"));
            section.reader.error(span, Code::Value, message);
        }
        Self { recipients, path: section.path("path").unwrap_or_else(|| folder.join(name)) }
    }
}
