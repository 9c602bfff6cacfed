//! Every language answers the same script: `guest-sdk/conformance/cases.toml`, run against the example policies and against a guest that
//! touches everything a policy can see and do.
//!
//! A language whose tools are not on this machine is skipped, and says so; Rust never is. `cargo run -p secmx-guest-build -- install`
//! brings the tools.

mod case;
mod guests;
mod journey;
mod table;
mod transcript;

use case::Case;
use guests::{POLICIES, guest};
use secmx_guest_build::Language;
use std::fmt::Write as _;

#[tokio::test]
async fn rust_conforms() {
    conforms(Language::Rust).await;
}

#[tokio::test]
async fn javascript_conforms() {
    conforms(Language::JavaScript).await;
}

#[tokio::test]
async fn typescript_conforms() {
    conforms(Language::TypeScript).await;
}

#[tokio::test]
async fn python_conforms() {
    conforms(Language::Python).await;
}

#[tokio::test]
async fn go_conforms() {
    conforms(Language::Go).await;
}

#[tokio::test]
async fn c_conforms() {
    conforms(Language::C).await;
}

/// The script says something about every policy, and a policy stays short enough to be read at a glance.
#[test]
fn the_examples_are_short_and_in_the_script() {
    let cases = Case::all();
    for policy in POLICIES {
        assert!(cases.iter().filter(|case| case.policy == policy).count() > 3, "{policy} has hardly any case");
        for language in Language::ALL.into_iter().filter(|_| policy != "conformance") {
            let source = guests::source(policy, language);
            let text = std::fs::read_to_string(&source).expect("readable");
            assert!(text.lines().count() <= 40, "{}: {} lines", source.display(), text.lines().count());
            let wide = text.lines().find(|line| line.chars().count() > 140);
            assert_eq!(wide, None, "{}", source.display());
        }
    }
}

/// `guest-sdk/README.md` shows the shortest example in every language, one below the other. `SECMX_WRITE_DOCS=1` writes it anew.
#[test]
fn the_readme_shows_by_domain_in_every_language() {
    let mut shown = String::new();
    for (language, title) in Language::ALL.into_iter().zip(["Rust", "JavaScript", "TypeScript", "Python", "Go", "C"]) {
        let text = std::fs::read_to_string(guests::source("by-domain", language)).expect("readable");
        let _ = writeln!(shown, "<details><summary>{title}</summary>\n\n```{}\n{text}```\n\n</details>", language.word());
    }
    guests::section_of_readme("by-domain: SECMX_WRITE_DOCS=1 cargo test -p secmx-tests --test languages readme", &shown);
}

/// Builds all policies in one language and runs the script.
async fn conforms(language: Language) {
    let mut failed = String::new();
    for policy in POLICIES {
        let Some(guest) = guest(policy, language) else { return };
        for case in Case::all().into_iter().filter(|case| case.policy == policy && case.speaks_of(language)) {
            let got = transcript::play(&guest, &case).await;
            if let Err(difference) = case.compare(&got) {
                let _ = writeln!(failed, "\n{language}, {policy}: {}\n{difference}", case.name);
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
}
