//! The languages that there is an SDK for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A language to write policies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// `policy.rs`, a crate.
    Rust,
    /// `policy.js`, on QuickJS.
    JavaScript,
    /// `policy.ts`, types checked and taken away, then as JavaScript.
    TypeScript,
    /// `policy.py`, CPython.
    Python,
    /// `policy.go`, a package.
    Go,
    /// `policy.c`, compiled by zig.
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Rust, Self::JavaScript, Self::TypeScript, Self::Python, Self::Go, Self::C];

    /// The word after `--lang`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "js",
            Self::TypeScript => "ts",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// What its files end in, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Rust => "rs",
            Self::JavaScript => "js",
            Self::TypeScript => "ts",
            Self::Python => "py",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// The source of a policy in this folder: `policy.*` or `src/policy.*`, for Rust also `src/lib.rs`.
    pub fn source(self, folder: &Path) -> Option<PathBuf> {
        let name = format!("policy.{}", self.extension());
        let places = [folder.join(&name), folder.join("src").join(&name), folder.join("src/lib.rs")];
        places.into_iter().find(|place| place.is_file() && place.extension().is_some_and(|ending| ending == self.extension()))
    }

    /// The language of the policy in this folder, when there is exactly one.
    pub fn of(folder: &Path) -> Option<Self> {
        let mut found = Self::ALL.into_iter().filter(|language| language.source(folder).is_some());
        found.next().filter(|_| found.next().is_none())
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|language| language.word() == word);
        known.ok_or_else(|| format!("`{word}` is none of {}", Self::ALL.map(Self::word).join(", ")))
    }
}
