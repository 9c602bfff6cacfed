//! `secmx policy new`: a policy that builds and passes its tests, made from what is embedded in this program.

use super::super::{Exit, say};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use include_dir::{Dir, include_dir};
use std::fs;
use std::path::Path;

/// Below the help.
pub(super) const HELP: &str = "\
The folder holds everything: source, manifest, interface, SDK, cases. Then:

  cd NAME && secmx policy test

Example: secmx policy new no-secrets --interface content";

/// The interface, as this version has it.
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");

/// The SDK that policies in Rust stand on.
static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../guest-sdk/rust/src");

/// Files of a policy in Rust; `NAME`, `CRATE`, `TYPE` and `INTERFACE` stand for what they say.
static RUST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates/rust");

/// Languages with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Language {
    /// Rust, with cargo and the target wasm32-wasip2.
    Rust,
}

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

/// Makes the folder `path`, whose last part is the name of the policy.
pub(super) fn run(path: &Path, language: Language, interface: Interface) -> Result<Exit> {
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
    let Language::Rust = language;
    for (template, folder) in [(&RUST, ""), (&WIT, "wit"), (&SDK, "sdk/secmx-guest/src")] {
        write(template, &path.join(folder), &|text| filled(text, name, interface))?;
    }
    say(&format!("made {}   edit src/lib.rs, then: cd {} && secmx policy test\n", path.display(), path.display()))
}

fn filled(text: &str, name: &str, interface: Interface) -> String {
    let camel: String = name
        .split('-')
        .map(|word| word.char_indices().map(|(at, c)| if at == 0 { c.to_ascii_uppercase() } else { c }).collect::<String>())
        .collect();
    text.replace("{{NAME}}", name)
        .replace("{{CRATE}}", &name.replace('-', "_"))
        .replace("{{TYPE}}", &camel)
        .replace("{{INTERFACE}}", interface.name())
}

/// Writes a tree. Files of the template whose name begins with an interface are for that one only: `lib.content.rs` becomes `lib.rs`.
fn write(tree: &Dir<'_>, to: &Path, fill: &dyn Fn(&str) -> String) -> Result<()> {
    let interface = fill("{{INTERFACE}}");
    for file in tree.files() {
        let name = file.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of = ["receiver", "content", "sender"].into_iter().find(|one| name.contains(&format!(".{one}.")));
        if of.is_some_and(|one| one != interface) {
            continue;
        }
        // Cargo would take a manifest below this crate for its own, and git a list of what it ignores.
        let name = name.replace(&format!(".{interface}."), ".").replace("_Cargo.toml", "Cargo.toml").replace("_gitignore", ".gitignore");
        let path = to.join(file.path().parent().unwrap_or(Path::new(""))).join(name);
        fs::create_dir_all(path.parent().unwrap_or(to)).with_context(|| format!("cannot make {}", to.display()))?;
        fs::write(&path, fill(file.contents_utf8().unwrap_or_default())).with_context(|| format!("cannot write {}", path.display()))?;
    }
    tree.dirs().try_for_each(|inner| write(inner, to, fill))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_policy::cases::Cases;
    use secmx_policy::manifest::Manifest;

    /// Building one takes a minute; here: everything is there, filled in, and reads.
    #[test]
    fn every_template_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        for interface in [Interface::Receiver, Interface::Content, Interface::Sender] {
            let path = folder.path().join(format!("no-{}", interface.name()));
            run(&path, Language::Rust, interface).expect("made");
            let read = |name: &str| fs::read_to_string(path.join(name)).expect("there");
            let manifest = Manifest::parse(&read("policy.toml")).expect("valid");
            assert_eq!(
                (manifest.policy.interfaces, manifest.policy.name),
                (vec![interface.name().to_owned()], format!("no-{}", interface.name()))
            );
            assert_eq!(Cases::parse(&read("tests/cases.toml")).expect("valid").cases.len(), 3);
            for name in [
                "Cargo.toml",
                "src/lib.rs",
                "README.md",
                ".gitignore",
                "sdk/secmx-guest/Cargo.toml",
                "sdk/secmx-guest/src/lib.rs",
                "wit/host.wit",
            ] {
                assert!(!read(name).contains("{{"), "{name}");
            }
            assert!(!path.join("src/lib.content.rs").exists());
            assert!(run(&path, Language::Rust, interface).expect_err("it is there").to_string().contains("exists already"));
        }
        assert!(run(&folder.path().join("No"), Language::Rust, Interface::Content).is_err());
    }
}
