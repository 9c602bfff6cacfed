//! Where a configuration comes from: the file, what it includes, the environment. Nothing else is read.

use super::finding::{Code, Finding, Place, Severity};
use super::tree::{self, Entry, Node, Sources, Value};
use std::fs;
use std::path::{Path, PathBuf};

/// The tree of a file with what it includes. On errors, all that can be told.
pub(super) fn file(sources: &mut Sources, path: &Path) -> Result<Vec<Entry>, Vec<Finding>> {
    let text = fs::read_to_string(path).map_err(|error| vec![unreadable(&path.display().to_string(), &error.to_string())])?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut entries = sources.parse(&path.display().to_string(), base, text)?;
    include(sources, base, &mut entries)?;
    Ok(entries)
}

/// Adds the files that `include` names to the tree, in the order of their names. They include nothing themselves.
pub(super) fn include(sources: &mut Sources, base: &Path, entries: &mut Vec<Entry>) -> Result<(), Vec<Finding>> {
    let Some(index) = entries.iter().position(|entry| entry.key == "include") else { return Ok(()) };
    let wanted = entries.remove(index).node;
    let mut findings = Vec::new();
    for pattern in patterns(sources, &wanted).map_err(|finding| vec![finding])? {
        let paths = match matching(&base.join(pattern)) {
            Ok(paths) => paths,
            Err(trouble) => {
                let place = sources.place(wanted.span);
                findings.push(Finding { place, severity: Severity::Error, code: Code::Unreadable, message: trouble });
                continue;
            }
        };
        for path in paths {
            let (name, beside) = (path.display().to_string(), path.parent().unwrap_or(Path::new("")));
            let read = fs::read_to_string(&path).map_err(|error| vec![unreadable(&name, &error.to_string())]);
            match read.and_then(|text| sources.parse(&name, beside, text)) {
                Ok(more) => findings.extend(add(sources, entries, more)),
                Err(more) => findings.extend(more),
            }
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

/// Puts the variables that begin with `SECMX__` over the tree.
pub(super) fn environment(sources: &mut Sources, entries: &mut Vec<Entry>, variables: impl Iterator<Item = (String, String)>) {
    for (name, value) in variables {
        if let Some(entry) = sources.variable(&name, &value) {
            tree::replace(entries, entry);
        }
    }
}

fn add(sources: &Sources, entries: &mut Vec<Entry>, more: Vec<Entry>) -> Vec<Finding> {
    let twice = tree::add(entries, more, "").into_iter().map(|(span, key, old)| {
        let place = sources.place(span);
        let message = format!("`{key}` is also set at {}; keep one", sources.place(old));
        Finding { place, severity: Severity::Error, code: Code::Twice, message }
    });
    twice.collect()
}

fn patterns(sources: &Sources, wanted: &Node) -> Result<Vec<String>, Finding> {
    let nodes = match &wanted.value {
        Value::List(nodes) => &nodes[..],
        _ => std::slice::from_ref(wanted),
    };
    let text = |node: &Node| match &node.value {
        Value::Text(text) => Ok(text.clone()),
        value => {
            let message = format!("`include`: expected paths such as \"conf.d/*.toml\", found {}", value.describe());
            Err(Finding { place: sources.place(node.span), severity: Severity::Error, code: Code::Value, message })
        }
    };
    nodes.iter().map(text).collect()
}

/// The files that a pattern stands for, sorted; one `*` may stand in the file name. A folder that is not there holds no files.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((head, tail)) = name.split_once('*') else {
        return Ok(vec![pattern.to_owned()]);
    };
    let folder = pattern.parent().unwrap_or(Path::new(""));
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if tail.contains('*') || here.to_string_lossy().contains('*') {
        return Err(format!("`include`: one `*` in the file name is all that is understood, found {:?}", pattern.display().to_string()));
    }
    let listed = match fs::read_dir(here) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("`include`: cannot list {}: {error}", here.display())),
    };
    let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let fits =
        |name: &String| name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail) && !name.starts_with('.');
    let mut paths: Vec<PathBuf> = names.filter(fits).map(|name| folder.join(name)).collect();
    paths.sort();
    Ok(paths)
}

fn unreadable(name: &str, trouble: &str) -> Finding {
    let place = Place { source: name.to_owned(), position: None };
    Finding { place, severity: Severity::Error, code: Code::Unreadable, message: format!("cannot be read: {trouble}") }
}
