//! Why a policy was not built, in words for its author.

use crate::toolbox::Missing;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why there is no component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildError {
    /// A tool is not there.
    Missing(Missing),
    /// The policy's own `policy.toml`, or what it points to.
    Manifest {
        /// Where.
        path: PathBuf,
        /// What is wrong and what to do.
        detail: String,
    },
    /// A tool did not take the source. Its own words.
    Tool {
        /// Name of the tool.
        tool: String,
        /// All it wrote, ends trimmed.
        output: String,
    },
    /// A file cannot be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// The module that a tool made is no component of this interface.
    Component(String),
}

impl BuildError {
    /// With the words of a tool made readable.
    pub(crate) fn reworded(self, reword: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Tool { tool, output } => Self::Tool { tool, output: reword(&output) },
            other => other,
        }
    }

    pub(crate) fn file(path: &Path, error: &std::io::Error) -> Self {
        Self::File { path: path.to_owned(), detail: error.to_string() }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(missing) => missing.fmt(f),
            Self::Manifest { path, detail } => write!(f, "{}: {detail}", path.display()),
            Self::Tool { tool, output } => write!(f, "{tool} says:\n{output}"),
            Self::File { path, detail } => write!(f, "{}: {detail}", path.display()),
            Self::Component(detail) => write!(f, "what was built is not a policy: {detail}"),
        }
    }
}

impl std::error::Error for BuildError {}
