//! Secrets, which are never in the configuration itself: it says where they are.

use super::finding::Code;
use super::reader::Section;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::{env, fmt, fs};

/// Where a secret is kept: `{ file = "PATH" }`, or `{ env = "NAME" }` for a variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// The content of a file, without the line end behind it.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

impl Secret {
    /// Reads it. Errors say where it should be, never what it is.
    pub fn reveal(&self) -> Result<String> {
        let secret = match self {
            Self::File(path) => fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
            Self::Env(name) => env::var(name).with_context(|| format!("the environment variable {name} is not set"))?,
        };
        let secret = secret.trim_end_matches(['\r', '\n']).to_owned();
        anyhow::ensure!(!secret.is_empty(), "{self} is empty");
        Ok(secret)
    }

    /// Reads the table of `key`, which must be there.
    pub(super) fn required(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        let (span, name) = (section.span_of(key), section.dotted(key));
        let found = section.optional_table(key, |section| {
            let file = section.path("file");
            if let Some(path) = &file {
                section.reader.must_open(section.span_of("file"), path);
            }
            match (file, section.optional::<String>("env")) {
                (Some(file), None) => Some(Self::File(file)),
                (None, Some(name)) => Some(Self::Env(name)),
                _ => None,
            }
        });
        let secret = found.flatten();
        if secret.is_none() {
            let message = format!("`{name}`: expected where the secret is kept, `{{ file = \"PATH\" }}` or `{{ env = \"NAME\" }}`");
            section.reader.error(span, Code::Value, message);
        }
        secret
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Env(name) => write!(f, "the environment variable {name}"),
        }
    }
}
