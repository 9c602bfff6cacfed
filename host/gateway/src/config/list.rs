//! `[list.NAME]`: names that policies may ask about, by grant (`policy.grant.lists`).

use super::finding::Code;
use super::reader::Section;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `[list.NAME]` by NAME. Membership is the same in any case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// `members`, `file`: what is on the list, such as `["partner.example"]`, and a file that adds a member with each line that is not
    /// empty and does not begin with `#`; it is read with the configuration, and again at each reload and when it changes. Default none.
    pub members: BTreeSet<String>,
    /// Those of `members` that the configuration itself names.
    named: BTreeSet<String>,
    /// Where the others come from.
    pub(crate) file: Option<PathBuf>,
}

impl List {
    /// Every list of the file.
    pub(super) fn read_all(section: &mut Section<'_>) -> BTreeMap<String, Self> {
        section.named("list", |name, section| (name.to_owned(), Self::read(section))).into_iter().collect()
    }

    fn read(section: &mut Section<'_>) -> Self {
        let named: Vec<String> = section.or("members", Vec::new());
        let named: BTreeSet<String> = named.iter().map(|member| member.to_lowercase()).collect();
        let span = section.span_of("file");
        let mut list = Self { members: BTreeSet::new(), named, file: section.path("file") };
        if let Err((path, error)) = list.read_again() {
            section.reader.error(span, Code::NamedFile, format!("cannot read {}: {error}", path.display()));
        }
        list
    }

    /// Takes over what the file holds now. Errors name it, and leave the list as it was.
    pub(super) fn read_again(&mut self) -> Result<(), (PathBuf, io::Error)> {
        let mut members = self.named.clone();
        if let Some(path) = &self.file {
            members.extend(lines(path).map_err(|error| (path.clone(), error))?);
        }
        self.members = members;
        Ok(())
    }
}

/// Members in a file.
fn lines(path: &Path) -> io::Result<Vec<String>> {
    let text = fs::read_to_string(path)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_lowercase).collect())
}
