//! What an author or administrator reads when a policy is wrong: every message that the table of hostile guests and wrong entries cause,
//! as it was read and found good, in `messages.txt`. `SECMX_WRITE_DOCS=1` writes the file anew: then read what changed.

use crate::guests::{FOREVER, PASS, policy};
use crate::hostile::message;
use crate::receivers::session;
use crate::runtime;
use crate::table::{self, Guest};
use secmx_policy::manifest::Grant;
use secmx_policy::manifest::embed::{self, Embedded};
use secmx_policy::{Duty, Limits, Mode, OnError, PolicySet, PolicySource, Runtime, Tolerance};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

const MANIFEST: &str = "[policy]\nname = \"any\"\nversion = \"1.2.0\"\ninterfaces = [\"content\"]\n[capabilities]\nmessage = \"body\"\n\
    [config]\nword = { type = \"string\", default = \"secret\" }\n";

/// The component with a manifest, where one can be put into it.
fn with_manifest(component: &[u8], manifest: &str) -> Vec<u8> {
    let embedded = Embedded { manifest: manifest.into(), revision: None, builder: "a test".into() };
    embed::write(component, &embedded).unwrap_or_else(|_| component.to_vec())
}

/// What is said of a policy that is loaded, and asked about a message.
async fn said(runtime: &Runtime, source: PolicySource) -> String {
    match tokio::task::block_in_place(|| PolicySet::load(runtime, vec![source])) {
        Err(error) => error.to_string(),
        Ok(set) => match set.content(&session(), message()).await {
            Err(fault) => fault.to_string(),
            Ok(inspection) => format!("(none: it rules {})", inspection.ruling.name()),
        },
    }
}

fn hostile(guest: &Guest) -> PolicySource {
    let source = guest.source();
    PolicySource { component: with_manifest(&source.component, MANIFEST).into(), ..source }
}

/// Policies that load, and fail at the message that they are shown before they come into force.
fn unrehearsed() -> Vec<PolicySource> {
    let fails = |name: &str, inspect: &str| {
        let source = policy(name, "", inspect);
        let limits = Limits { time: Duration::from_millis(50), ..Limits::default() };
        PolicySource { component: with_manifest(&source.component, MANIFEST).into(), limits, ..source }
    };
    vec![fails("traps-when-rehearsed", "unreachable"), fails("loops-when-rehearsed", FOREVER)]
}

/// Entries that an administrator gets wrong, over a good component.
fn wrong_entries() -> Vec<PolicySource> {
    let good = |name: &str| {
        let source = policy(name, "", PASS);
        PolicySource { component: with_manifest(&source.component, MANIFEST).into(), grant: Some(Grant::default()), ..source }
    };
    let exports = |name: &str, manifest: &str| {
        let source = policy(name, "", PASS);
        PolicySource { component: with_manifest(&source.component, manifest).into(), ..source }
    };
    vec![
        PolicySource { settings: r#"{"wrod":"x"}"#.into(), ..good("unknown-setting") },
        PolicySource { settings: r#"{"word":7,"more":1}"#.into(), ..good("settings-of-other-types") },
        PolicySource { settings: "[]".into(), ..good("settings-that-are-no-table") },
        PolicySource { grant: Some(Grant { store: Some(1 << 20), ..Grant::default() }), ..good("grant-too-wide") },
        PolicySource { duty: Duty::Role, on_error: OnError::Accept, ..PolicySource::builtin("sos", "{}").expect("shipped") },
        PolicySource { duty: Duty::Role, name: "bes".into(), ..good("no-role") },
        PolicySource { mode: Mode::Shadow, ..PolicySource { duty: Duty::Chain, ..PolicySource::builtin("bes", "{}").expect("shipped") } },
        exports("exports-otherwise", &MANIFEST.replace("[\"content\"]", "[\"receiver\"]")),
        exports("manifest-that-is-none", "[policy]\nnaem = \"x\"\n"),
        PolicySource::new("no-component", b"MZ".to_vec(), "{}"),
        PolicySource::new("answers-nothing", wat::parse_str("(component)").expect("valid text"), "{}"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_a_wrong_policy_is_as_it_was_read() {
    let (runtime, _) = runtime();
    let mut text = String::new();
    for guest in table::guests() {
        let source = hostile(&guest);
        let name = source.name.clone();
        writeln!(text, "{name}\n    {}\n", said(&runtime, source).await).expect("room");
    }
    for source in wrong_entries() {
        let name = source.name.clone();
        writeln!(text, "{name}\n    {}\n", said(&runtime, source).await).expect("room");
    }
    for source in unrehearsed() {
        let name = source.name.clone();
        let rehearsed = tokio::task::block_in_place(|| PolicySet::load(&runtime, vec![source]).expect("loads").rehearse());
        writeln!(text, "{name}\n    {}\n", rehearsed.expect_err("it fails")).expect("room");
    }
    let broken = PolicySource { tolerance: Tolerance { faults: 1, ..Tolerance::default() }, ..policy("left-alone", "", "unreachable") };
    let twice = PolicySource { limits: Limits::default(), ..policy("left-alone", "", PASS) };
    let set = tokio::task::block_in_place(|| PolicySet::load(&runtime, vec![broken.clone()])).expect("loads");
    assert!(set.content(&session(), message()).await.is_err());
    let fault = set.content(&session(), message()).await.expect_err("left alone");
    writeln!(text, "left-alone\n    {fault}\n").expect("room");
    let error = tokio::task::block_in_place(|| PolicySet::load(&runtime, vec![broken, twice])).expect_err("twice");
    writeln!(text, "named-twice\n    {error}").expect("room");

    // Every fault names policy, version, question and message; every refusal its policy.
    for (name, said) in text.split("\n\n").filter_map(|entry| entry.trim().split_once("\n    ")) {
        let named = said.starts_with(&format!("policy {name} 1.2.0")) || said.starts_with("policy ") || said.starts_with("(none");
        assert!(named, "{name}: {said}");
        let about = !said.contains("content.inspect") || said.contains("about 01JD9W3K7Q8Z: ") || said.contains("about rehearsal: ");
        assert!(about, "{name}: {said}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages.txt");
    if std::env::var_os("SECMX_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("writable");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    for (known, said) in known.split("\n\n").zip(text.split("\n\n")) {
        assert_eq!(known, said, "SECMX_WRITE_DOCS=1 writes it anew: read it as an author would");
    }
    assert_eq!(known.len(), text.len(), "{text}");
}
