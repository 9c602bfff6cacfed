//! `[list.NAME]`: names that policies may ask about, by grant (`policy.grant.lists`).

use super::finding::Code;
use super::reader::Section;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// `[list.NAME]` by NAME. Membership is the same in any case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// `members`, `file`: what is on the list, such as `["partner.example"]`, and a file that adds a member with each line that is not
    /// empty and does not begin with `#`; it is read with the configuration. Default none.
    pub members: BTreeSet<String>,
}

impl List {
    /// Every list of the file. `file` is read with the configuration, so that a reload takes over what has changed in it.
    pub(super) fn read_all(section: &mut Section<'_>) -> BTreeMap<String, Self> {
        section.named("list", |name, section| (name.to_owned(), Self::read(section))).into_iter().collect()
    }

    fn read(section: &mut Section<'_>) -> Self {
        let members: Vec<String> = section.or("members", Vec::new());
        let span = section.span_of("file");
        let lines = section.path("file").map(|path| fs::read_to_string(&path).map_err(|error| (path, error)));
        let text = match lines {
            None => String::new(),
            Some(Ok(text)) => text,
            Some(Err((path, error))) => {
                section.reader.error(span, Code::NamedFile, format!("cannot read {}: {error}", path.display()));
                String::new()
            }
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { members: members.iter().map(String::as_str).chain(lines).map(str::to_lowercase).collect() }
    }
}
