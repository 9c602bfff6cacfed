//! Makes a policy in any language a component of `secmx:policy`.
//!
//! The interface and the SDKs are embedded, so that nothing but a language's own tools is needed; where one is missing, the error names
//! the command that installs it. What is ours to do is done here: the world of exactly the interfaces that the policy answers; the
//! rest is the language's own tool; for C and Go also the component out of what the compiler leaves.

mod c;
mod component;
mod error;
mod go;
mod javascript;
mod language;
mod manifest;
mod python;
mod rust;
mod toolbox;
mod world;

pub use error::BuildError;
pub use language::Language;
pub use manifest::{Interface, Manifest, Power};
pub use toolbox::{Missing, Toolbox};

use std::fs;
use std::path::{Path, PathBuf};

/// What is built, from what, with what, and where.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The file that [`Language::source`] found.
    pub source: &'a Path,
    /// Its language.
    pub language: Language,
    /// What the policy answers; the component exports exactly these.
    pub interfaces: &'a [Interface],
    /// What it may import beside the facts; the world of the component has exactly these.
    pub powers: &'a [Power],
    /// Where tools are looked for before `PATH`.
    pub toolbox: &'a Toolbox,
    /// A folder for intermediate files, made when it is missing and kept for the next build of the same policy.
    pub work: &'a Path,
}

/// Builds a component and gives its octets. The error is what the author reads: the compiler's own words, or what is missing.
pub fn build(job: &Job<'_>) -> Result<Vec<u8>, BuildError> {
    if let [missing, ..] = &*job.toolbox.missing(job.language) {
        return Err(BuildError::Missing(missing.clone()));
    }
    let work = fs::create_dir_all(job.work).and_then(|()| job.work.canonicalize()).map_err(|error| BuildError::file(job.work, &error))?;
    let job = Job { work: &work, ..job.clone() };
    match job.language {
        Language::Rust => rust::build(&job),
        Language::JavaScript | Language::TypeScript => javascript::build(&job),
        Language::Python => python::build(&job),
        Language::Go => go::build(&job),
        Language::C => c::build(&job),
    }
}

/// The SDK of a language for a policy's own folder, where editors and unit tests look for it: paths and texts. A build takes what is
/// embedded, whatever the folder has. None for Rust, whose policies name the SDK as a crate.
pub fn sdk(language: Language) -> Vec<(PathBuf, &'static str)> {
    let (place, files): (&str, Vec<_>) = match language {
        Language::Rust => ("", Vec::new()),
        Language::JavaScript | Language::TypeScript => ("sdk", javascript::SDK.into()),
        Language::Python => ("secmx", python::SDK.into()),
        Language::Go => ("sdk", go::SDK.into_iter().chain(go::GO).collect()),
        Language::C => ("sdk", c::SDK.into_iter().chain(c::C).collect()),
    };
    files.into_iter().map(|(name, text)| (Path::new(place).join(name), text)).collect()
}

/// The folder that the source lies in.
fn folder(job: &Job<'_>) -> Result<PathBuf, BuildError> {
    let source = job.source.canonicalize().map_err(|error| BuildError::file(job.source, &error))?;
    Ok(source.parent().map(Path::to_owned).unwrap_or(source))
}

/// Writes a file, and its folder when that is missing.
fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), BuildError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|error| BuildError::file(parent, &error))?;
    fs::write(path, content).map_err(|error| BuildError::file(path, &error))
}

/// Reads a file.
fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|error| BuildError::file(path, &error))
}

/// An empty folder of this name.
fn empty(path: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(BuildError::file(path, &error)),
        _ => {}
    }
    fs::create_dir_all(path).map_err(|error| BuildError::file(path, &error))
}

/// Tools that npm puts beside what a policy imports.
const TOOLS: [&str; 5] = ["@andreiltd", "@typescript", "amaro", "componentize-qjs", "typescript"];

/// Copies the files that end so, with the folders below, but not what is hidden, built or a tool. Gives their paths below `from`.
fn stage(from: &Path, to: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, BuildError> {
    let mut files = Vec::new();
    let entries = fs::read_dir(from).map_err(|error| BuildError::file(from, &error))?;
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tool = from.ends_with("node_modules") && TOOLS.contains(&&*name);
        if path.is_dir() && !name.starts_with('.') && name != "target" && !tool {
            let below = stage(&path, &to.join(&name), endings)?;
            files.extend(below.into_iter().map(|file| Path::new(&name).join(file)));
        } else if path.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
            write(&to.join(&name), read(&path)?)?;
            files.push(name.into());
        }
    }
    Ok(files)
}
