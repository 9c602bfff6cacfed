//! `secmx policy new`: a policy that builds and passes its tests, made from what is embedded in this program.

use super::super::Exit;
use super::tell;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use include_dir::{Dir, include_dir};
use secmx_guest_build::{Language, sdk};
use serde_json::json;
use std::fs;
use std::path::Path;

/// Below the help.
pub(super) const HELP: &str = "\
The folder holds everything: source, manifest, interface, SDK, cases. Then:

  cd NAME && secmx policy test

Example: secmx policy new no-secrets --lang python --interface content";

/// The interface, as this version has it.
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");

/// The SDK that policies in Rust stand on.
static RUST_SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/rust/src");

/// Files of a policy, those of every language in `common`; words in braces stand for what [`filled`] puts there.
static TEMPLATES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// What a policy answers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Interface {
    /// While a client talks.
    Receiver,
    /// Once for each message.
    Content,
    /// Before each delivery.
    Sender,
}

impl Interface {
    fn name(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Content => "content",
            Self::Sender => "sender",
        }
    }
}

/// What a template says of its language: its name, what a build needs, how the policy is tested without a gateway, its limits.
fn facts(language: Language) -> [(&'static str, &'static str); 4] {
    // A run-time that is slow to begin answers more than one question; what it leaves for the next one is its author's to know.
    const REUSE: &str = "time     = \"50ms\"\nmemory   = \"64MiB\"\n# Questions that one instance answers: keep nothing in global variables but what the settings say.\nmax_uses = 100";
    const SMALL: &str = "time   = \"20ms\"\nmemory = \"16MiB\"";
    let rust = "The first build on a machine fetches serde, serde_json and wit-bindgen from crates.io; later ones ask no network. `cargo test` asks\nit without the gateway.";
    let npm = "`npm install` once, and `npm test` asks it without the gateway.";
    let (name, needs, alone, limits) = match language {
        Language::Rust => ("Rust", "cargo with the target wasm32-wasip2", rust, SMALL),
        Language::JavaScript => ("JavaScript", "Node.js and componentize-qjs", npm, REUSE),
        Language::TypeScript => ("TypeScript", "Node.js, componentize-qjs, typescript and amaro", npm, REUSE),
        Language::Python => ("Python", "componentize-py", "`python3 -m unittest tests/test_policy.py` asks it without the gateway.", REUSE),
        Language::Go => ("Go", "Go 1.25 or newer", "Only its cases ask the policy; `sdk/testing.go` says why.", REUSE),
        Language::C => ("C", "zig, whose C compiler it takes", "`tests/test_policy.c` asks it without the gateway.", SMALL),
    };
    [("LANGUAGE", name), ("NEEDS", needs), ("ALONE", alone), ("LIMITS", limits)]
}

/// The one file to edit.
fn source(language: Language) -> String {
    match language {
        Language::Rust => "src/lib.rs".to_owned(),
        other => format!("policy.{}", other.extension()),
    }
}

/// Makes the folder `path`, whose last part is the name of the policy. One object, schema `secmx/policy-new/v1`.
pub(super) fn run(path: &Path, language: Language, interface: Interface, json: bool) -> Result<Exit> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.is_empty()
        || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
    {
        bail!("the name of a policy is lower-case letters, digits and hyphens and begins with a letter, found {name:?}");
    }
    if path.exists() {
        bail!("{} exists already; choose another name, or take it away first", path.display());
    }
    let fill = |text: &str| filled(text, name, language, interface);
    for part in ["common", language.word()] {
        let template = TEMPLATES.get_dir(part).with_context(|| format!("this program has no template {part}"))?;
        write(template, Path::new(part), path, &fill)?;
    }
    write(&WIT, Path::new(""), &path.join("wit"), &fill)?;
    if language == Language::Rust {
        write(&RUST_SDK, Path::new(""), &path.join("sdk/secmx-guest/src"), &fill)?;
    }
    for (file, text) in sdk(language) {
        put(&path.join(file), text)?;
    }
    let (source, interface) = (source(language), interface.name());
    let object = json!({ "schema": "secmx/policy-new/v1", "name": name, "folder": path, "language": language.word(), "interface": interface, "source": source });
    tell(json, &object, &format!("made {}   edit {source}, then: cd {} && secmx policy test\n", path.display(), path.display()))
}

fn filled(text: &str, name: &str, language: Language, interface: Interface) -> String {
    let camel: String = name
        .split('-')
        .map(|word| word.char_indices().map(|(at, c)| if at == 0 { c.to_ascii_uppercase() } else { c }).collect::<String>())
        .collect();
    let source = source(language);
    let mut words = vec![("NAME", name), ("TYPE", &camel), ("INTERFACE", interface.name()), ("SOURCE", &source)];
    words.extend(facts(language));
    // Only messages can be handed over.
    let run = "secmx policy run tests/secret.eml --from ana@agency.example --to bo@health.example\n";
    words.push(("RUN", if interface == Interface::Content { run } else { "" }));
    words.into_iter().fold(text.to_owned(), |text, (word, meaning)| text.replace(&format!("{{{{{word}}}}}"), meaning))
}

/// Writes a tree. Files of the template whose name has an interface are for that one only: `lib.content.rs` becomes `lib.rs`.
fn write(tree: &Dir<'_>, below: &Path, to: &Path, fill: &dyn Fn(&str) -> String) -> Result<()> {
    let interface = fill("{{INTERFACE}}");
    for file in tree.files() {
        let name = file.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of = ["receiver", "content", "sender"].into_iter().find(|one| name.contains(&format!(".{one}.")));
        if of.is_some_and(|one| one != interface) {
            continue;
        }
        // Cargo and Go would take a manifest below this crate for their own, and git a list of what it ignores.
        let name = name.replace(&format!(".{interface}."), ".");
        let name = ["_Cargo.toml", "_go.mod"].iter().fold(name, |name, hidden| name.replace(hidden, &hidden[1..]));
        let folder = file.path().strip_prefix(below)?.parent().unwrap_or(Path::new(""));
        put(&to.join(folder).join(name.replace("_gitignore", ".gitignore")), &fill(file.contents_utf8().unwrap_or_default()))?;
    }
    tree.dirs().try_for_each(|inner| write(inner, below, to, fill))
}

fn put(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_policy::cases::Cases;
    use secmx_policy::manifest::Manifest;

    /// Building is tested where the tools of the languages are; here: everything is there, filled in, and reads.
    #[test]
    fn every_template_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        for language in Language::ALL {
            for interface in [Interface::Receiver, Interface::Content, Interface::Sender] {
                let name = format!("no-{}-{language}", interface.name());
                let path = folder.path().join(&name);
                run(&path, language, interface, false).expect("made");
                let read = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_else(|_| panic!("{language}: {name}"));
                let manifest = Manifest::parse(&read("policy.toml")).expect("valid");
                assert_eq!((manifest.policy.name, manifest.policy.interfaces), (name, vec!["setup".into(), interface.name().to_owned()]));
                assert_eq!(Cases::parse(&read("tests/cases.toml")).expect("valid").cases.len(), 3);
                assert_eq!(Language::of(&path), Some(language));
                for name in [&*source(language), "policy.toml", "README.md", ".gitignore", "wit/host.wit"] {
                    assert!(!read(name).contains("{{"), "{language}: {name}");
                }
                let named = |name: &str| ["receiver", "content", "sender"].iter().any(|one| name.contains(&format!(".{one}.")));
                let left: Vec<_> = files(&path).into_iter().filter(|name| named(name) || name.contains("/_")).collect();
                assert!(left.iter().all(|name| name.ends_with("__init__.py")), "{left:?}");
                assert!(run(&path, language, interface, false).expect_err("it is there").to_string().contains("exists already"));
            }
        }
        assert!(run(&folder.path().join("No"), Language::Rust, Interface::Content, false).is_err());
    }

    fn files(folder: &Path) -> Vec<String> {
        let below = |path: std::path::PathBuf| if path.is_dir() { files(&path) } else { vec![path.display().to_string()] };
        fs::read_dir(folder).expect("readable").flat_map(|entry| below(entry.expect("readable").path())).collect()
    }
}
