//! The folder of a policy: `policy.toml`, what it is built from, and the component it becomes.

use super::super::hint;
use anyhow::{Context, Result, bail};
use secmx_guest_build::{Job, Language, Toolbox};
use secmx_policy::manifest::{Build, Manifest, embed};
use std::env;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A policy under development.
pub(super) struct Project {
    /// Where `policy.toml` lies.
    pub(super) folder: PathBuf,
    /// What that says.
    pub(super) manifest: Manifest,
    text: String,
}

/// A policy that was built.
pub(super) struct Built {
    /// The component with its manifest.
    pub(super) component: Vec<u8>,
    /// Where it lies.
    pub(super) path: PathBuf,
    /// How long the build took.
    pub(super) took: Duration,
}

/// Where a component lies: the file itself, or what the policy of a folder was built as.
pub(super) fn component(path: &Path) -> Result<PathBuf> {
    Ok(if path.is_dir() { Project::open(path)?.component() } else { path.to_owned() })
}

impl Project {
    /// Reads the manifest of a folder.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("policy.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}; `secmx policy new NAME` makes a policy", path.display()))?;
        let manifest = Manifest::parse(&text).map_err(|error| anyhow::anyhow!("{}/{error}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), manifest, text })
    }

    /// Where the finished component lies: `NAME.wasm` beside the manifest.
    pub(super) fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.manifest.policy.name))
    }

    /// Builds, embeds the manifest, and writes the component.
    pub(super) fn build(&self) -> Result<Built> {
        let started = Instant::now();
        let octets = match &self.manifest.build {
            Some(build) => self.commanded(build)?,
            None => self.by_language()?,
        };
        let embedded = embed::Embedded {
            manifest: self.text.clone(),
            revision: self.revision(),
            builder: concat!("secmx ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let component = embed::write(&octets, &embedded).map_err(|why| {
            anyhow::anyhow!(
                "what was built: {why}; Rust makes one with --target wasm32-wasip2, other languages with `wasm-tools component new`"
            )
        })?;
        let path = self.component();
        fs::write(&path, &component).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Built { component, path, took: started.elapsed() })
    }

    /// What the build command of the manifest leaves.
    fn commanded(&self, build: &Build) -> Result<Vec<u8>> {
        let mut shell = Command::new("sh");
        shell.args(["-c", &build.command]).current_dir(&self.folder).stdin(Stdio::null());
        let output = shell.output().context("cannot run sh")?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            let missing = if output.status.code() == Some(127) {
                "\nthe shell does not find that tool: install it, or correct `build.command` in policy.toml"
            } else {
                ""
            };
            bail!("`{}` failed:\n{}{missing}", build.command, String::from_utf8_lossy(&text).trim_end());
        }
        let made = self.folder.join(&build.output);
        fs::read(&made)
            .with_context(|| format!("`{}` succeeded and left no {}; correct `build.output` in policy.toml", build.command, made.display()))
    }

    /// What the language of the source asks for.
    fn by_language(&self) -> Result<Vec<u8>> {
        let folder = &self.folder;
        let found = Language::of(folder).and_then(|language| Some((language, language.source(folder)?)));
        let (language, source) = found.with_context(|| {
            format!(
                "{}/policy.toml has no [build]: say `command` and `output` there, or put one source beside it: src/lib.rs, policy.js, \
                 .ts, .py, .go or .c",
                folder.display()
            )
        })?;
        let wanted = secmx_guest_build::Manifest::read(folder)?;
        let toolbox = Toolbox::new(iter::once(folder.clone()).chain(env::var_os("SECMX_TOOLS").map(PathBuf::from)));
        let work = folder.join("target/secmx");
        if language == Language::Rust && !work.exists() {
            hint("the first build compiles what the SDK stands on too: about a minute\n");
        }
        let job = Job { source: &source, language, interfaces: &wanted.interfaces, powers: &wanted.powers, toolbox: &toolbox, work: &work };
        Ok(secmx_guest_build::build(&job)?)
    }

    /// Revision of the source, when git knows one; `+` when there are changes that are not committed.
    fn revision(&self) -> Option<String> {
        let output = Command::new("git")
            .args(["describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"])
            .current_dir(&self.folder)
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}
