//! `secmx policy test --watch`: the cases again, whenever a file that the policy is made from changes.

use super::super::{Exit, hint};
use super::project::Project;
use anyhow::Result;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

/// How often files are looked at, and how long nothing must change before they are read: a save is several steps.
const INTERVAL: Duration = Duration::from_millis(200);

/// Folders that tools fill.
const MADE: [&str; 3] = ["target", "node_modules", "__pycache__"];

/// When each file changed last, and its octets.
type Stamps = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Goes round now and after every change, until the process is ended. What stops a round is told.
pub(super) fn again(folder: &Path, round: impl Fn() -> Result<Exit>) -> Result<Exit> {
    loop {
        let before = stamps(folder);
        if let Err(error) = round() {
            hint(&format!("secmx: {error:#}\n{}", last_good(folder)));
        }
        hint("waiting for a change; Ctrl-C ends\n");
        let mut seen = before.clone();
        while seen == before {
            thread::sleep(INTERVAL);
            seen = settled(folder);
        }
    }
}

/// The files, once they have stopped changing.
fn settled(folder: &Path) -> Stamps {
    let mut seen = stamps(folder);
    loop {
        thread::sleep(INTERVAL);
        let now = stamps(folder);
        if now == seen {
            return now;
        }
        seen = now;
    }
}

fn stamps(folder: &Path) -> Stamps {
    let patterns = Project::open(folder).ok().and_then(|project| project.manifest.build).map(|build| build.watch).unwrap_or_default();
    let mut files = Vec::new();
    if patterns.is_empty() {
        walk(folder, &mut files);
    } else {
        let named = patterns.iter().map(String::as_str).chain(["policy.toml", "tests/**"]);
        files.extend(named.flat_map(|pattern| matching(folder, pattern)));
    }
    let stamp = |path: PathBuf| {
        let about = fs::metadata(&path).ok()?;
        about.is_file().then(|| (path, (about.modified().ok(), about.len())))
    };
    files.into_iter().filter_map(stamp).collect()
}

/// What a pattern of `build.watch` names; `**` at its end is every file below.
fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let whole = folder.join(pattern).display().to_string();
    let whole = if whole.ends_with("**") { whole + "/*" } else { whole };
    glob::glob(&whole).into_iter().flatten().filter_map(std::result::Result::ok).collect()
}

/// Every file that a person may have written.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(std::result::Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name.ends_with(".wasm") || MADE.contains(&name.as_str()) {
            continue;
        }
        match entry.path() {
            inner if inner.is_dir() => walk(&inner, found),
            file => found.push(file),
        }
    }
}

/// What is left of the round before.
fn last_good(folder: &Path) -> String {
    let component = Project::open(folder).ok().map(|project| project.component()).filter(|component| component.is_file());
    component.map(|component| format!("{} is still what was built before\n", component.display())).unwrap_or_default()
}
