//! The rules of the house that a compiler does not check: what may import what, how long things may be, where proof is.
//!
//! Reads the source tree as text. Every rule is first shown to catch a breach, then applied to the tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;

/// Module path prefix, and what no file below it may mention.
const NEVER: &[(&str, &[&str])] = &[
    ("host/core/src/mail/", &["crate::report", "crate::ruling", "crate::smtp", "crate::secmx", "crate::queue", "crate::role"]),
    ("host/core/src/channel.rs", &["crate::"]),
    ("host/core/src/role.rs", &["crate::"]),
    ("host/core/src/report/", &["crate::smtp", "crate::secmx", "crate::queue", "crate::ruling"]),
    ("host/core/src/ruling.rs", &["crate::smtp", "crate::secmx", "crate::queue"]),
    ("host/core/src/smtp/", &["crate::secmx", "crate::queue::Message", "crate::queue::Delivery"]),
    ("host/core/src/secmx/", &["crate::smtp", "crate::queue"]),
    ("host/core/src/queue/", &["crate::smtp", "crate::secmx"]),
    (
        "host/core/src/",
        &[
            "std::net::Tcp",
            "std::net::Udp",
            "std::fs",
            "std::thread",
            "SystemTime::now",
            "Instant::now",
            "Timestamp::now",
            "tokio",
            "rustls",
            "wasmtime",
            "hickory",
        ],
    ),
    ("host/policy/src/", &["std::net::Tcp", "std::net::Udp", "rustls", "hickory"]),
    ("host/lab/src/", &["secmx_core", "secmx_policy", "secmx::"]),
    ("host/gateway/src/dns", &["crate::tls", "crate::spool", "crate::inbound", "crate::outbound"]),
    ("host/gateway/src/tls/", &["crate::dns", "crate::spool", "crate::inbound", "crate::outbound"]),
    ("host/gateway/src/spool/", &["crate::dns", "crate::tls", "crate::inbound", "crate::outbound", "core::smtp"]),
    ("host/gateway/src/inbound/", &["crate::outbound", "crate::dns"]),
    ("host/gateway/src/outbound/", &["crate::inbound"]),
];

/// Names that may stand at the top of the tree.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "CHANGELOG.md",
    "README.md",
    "rust-toolchain.toml",
    "host",
    "guest-sdk",
    "policies",
    "wit",
    "tests",
];

/// Requirements that a test must carry by name or comment.
const REQUIREMENTS: &[&str] = &[
    "L1-1", "L1-2", "L1-3", "L1-4", "L1-5", "L1-6", "L1-7", "L2-1", "L2-2", "L2-3", "L2-4", "L2-5", "L2-6", "L2-7", "L2-8", "L2-9",
    "L2-10", "D-1", "D-2", "D-3", "D-4", "D-5", "D-6", "D-7", "D-8", "D-9", "S-2",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the tree").to_owned()
}

/// Every Rust file of ours: path from the root, and content.
pub(crate) fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for top in ["host", "guest-sdk", "policies", "tests"] {
        collect(&root().join(top), &mut found);
    }
    assert!(found.len() > 50, "only {} files found: the walk is broken", found.len());
    found
}

fn collect(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path()) {
        if entry.is_dir() {
            if entry.file_name().is_some_and(|name| name != "target") {
                collect(&entry, found);
            }
        } else if entry.extension().is_some_and(|kind| kind == "rs") {
            let name = entry.strip_prefix(root()).expect("below the root").display().to_string();
            found.push((name, fs::read_to_string(&entry).expect("UTF-8")));
        }
    }
}

/// The part of a file before its unit tests. That they lie in another file ends nothing.
fn product(content: &str) -> &str {
    let mut tests = content.match_indices("\n#[cfg(test)]\nmod ");
    let here = tests.find(|(at, _)| content[at + 1..].lines().nth(1).is_some_and(|line| line.ends_with('{')));
    here.map_or(content, |(at, _)| &content[..at])
}

fn is_test(name: &str) -> bool {
    name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("tests.rs") || name.contains("conformance")
}

fn forbidden_imports(name: &str, content: &str) -> Vec<String> {
    let code: Vec<&str> = product(content).lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    NEVER
        .iter()
        .filter(|(prefix, _)| name.starts_with(prefix) && !is_test(name))
        .flat_map(|(prefix, words)| words.iter().map(move |word| (prefix, word)))
        .filter(|(_, word)| code.iter().any(|line| line.contains(**word)))
        .map(|(prefix, word)| format!("{name}: `{word}` has no place below {prefix}"))
        .collect()
}

/// Lines of the longest function: from `fn` to the brace that closes at the same indentation.
fn long_functions(name: &str, content: &str) -> Vec<String> {
    let lines: Vec<&str> = product(content).lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let starts = |line: &str| {
        let words = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        words.trim_start_matches("const ").trim_start_matches("async ").starts_with("fn ")
    };
    let mut long = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| starts(line)) {
        let closing = format!("{}}}", " ".repeat(indent(line)));
        let length =
            lines.iter().skip(at).position(|line| *line == closing || line.trim_end().ends_with(';') && indent(line) == closing.len() - 1);
        if let Some(length) = length.filter(|length| *length + 1 > FUNCTION_LINES_MAX) {
            long.push(format!("{name}:{}: {} lines: {}", at + 1, length + 1, line.trim()));
        }
    }
    long
}

#[test]
fn a_file_is_read_to_its_tests() {
    assert_eq!(product("a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod more {\nc"), "a\n#[cfg(test)]\nmod tests;\nb");
}

#[test]
fn modules_import_only_what_they_may() {
    assert_eq!(forbidden_imports("host/core/src/smtp/x.rs", "use crate::secmx::Thing;").len(), 1, "the rule bites");
    assert!(forbidden_imports("host/core/src/smtp/x.rs", "// use crate::secmx::Thing;").is_empty());
    let breaches: Vec<String> = sources().iter().flat_map(|(name, content)| forbidden_imports(name, content)).collect();
    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn functions_fit_on_a_screen() {
    let body = "    a();\n".repeat(FUNCTION_LINES_MAX);
    assert_eq!(long_functions("x.rs", &format!("fn f() {{\n{body}}}\n")).len(), 1, "the rule bites");
    let long: Vec<String> =
        sources().iter().filter(|(name, _)| !is_test(name)).flat_map(|(name, content)| long_functions(name, content)).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn files_have_one_subject_and_say_which() {
    let mut faults = Vec::new();
    for (name, content) in sources() {
        let lines = product(&content).lines().count();
        if lines > FILE_LINES_MAX && !is_test(&name) {
            faults.push(format!("{name}: {lines} lines"));
        }
        if !content.starts_with("//!") {
            faults.push(format!("{name}: does not begin with what it is"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn nothing_else_lies_at_the_top() {
    for entry in fs::read_dir(root()).expect("readable") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        let generated = matches!(name.as_str(), "target" | "secmx-state");
        assert!(TOP.contains(&name.as_str()) || name.starts_with('.') || generated, "{name} does not belong at the top");
    }
}

/// S13: one file of the host may be unsafe, and it is short enough to be read whole.
const UNSAFE: &str = "host/policy/src/compile/native.rs";

fn unsafe_lines(name: &str, content: &str) -> Vec<String> {
    let code = content.lines().filter(|line| !line.trim_start().starts_with("//"));
    // Split, so that this rule does not find itself.
    let words = [concat!("un", "safe {"), concat!("un", "safe fn"), concat!("un", "safe impl"), concat!("un", "safe_code")];
    code.filter(|line| words.iter().any(|word| line.contains(word))).map(|line| format!("{name}: {}", line.trim())).collect()
}

#[test]
fn one_short_file_of_the_host_is_not_safe() {
    assert_eq!(unsafe_lines("x.rs", concat!("un", "safe { f() }")).len(), 1, "the rule bites");
    assert_eq!(unsafe_lines("x.rs", concat!("#![allow(un", "safe_code)]")).len(), 1, "the rule bites");
    let all = sources();
    let ours = all.iter().filter(|(name, _)| !name.starts_with("guest-sdk/"));
    let found: Vec<String> = ours.filter(|(name, _)| name != UNSAFE).flat_map(|(name, content)| unsafe_lines(name, content)).collect();
    assert!(found.is_empty(), "{found:#?}");
    let (_, content) = all.iter().find(|(name, _)| name == UNSAFE).expect("it is there");
    assert!(content.lines().count() <= 50 && content.contains("// SAFETY: "), "{UNSAFE} is short and gives its reasons");
    assert_eq!(unsafe_lines(UNSAFE, content).len(), 2, "one permission, one use");
}

/// Invariant 3: only `Requirement::admit` makes a `Cleared`.
#[test]
fn a_cleared_is_made_in_one_place() {
    let made: Vec<String> = sources()
        .into_iter()
        .filter(|(name, content)| name != "tests/it/tidy.rs" && content.contains("Cleared {"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(made, ["host/core/src/channel.rs"]);
}

/// Lines of our programs, comments and tests apart, that hold this: file, and line.
fn lines_with(word: &str) -> Vec<(String, String)> {
    let ours: Vec<_> = sources().into_iter().filter(|(name, _)| !is_test(name)).collect();
    let lines = ours.iter().flat_map(|(name, content)| product(content).lines().map(move |line| (name, line.trim())));
    let code = lines.filter(|(_, line)| !line.starts_with("//") && line.contains(word));
    code.map(|(name, line)| (name.clone(), line.to_owned())).collect()
}

/// Decision 2 of page 6: every end of a transaction goes through one `reset()`.
#[test]
fn a_transaction_is_forgotten_in_one_place() {
    let made: Vec<_> = lines_with("Effect::Discard").into_iter().filter(|(_, line)| !line.contains("Effect::Discard =>")).collect();
    assert_eq!(made, [("host/core/src/smtp/server.rs".to_owned(), "effects.push(Effect::Discard);".to_owned())]);
}

/// Decision 2 of page 6: that the policies ruled is said in one place, and only there can a client's message get into the spool.
#[test]
fn a_message_is_judged_in_one_place() {
    let made: Vec<_> =
        lines_with("Judged(").into_iter().filter(|(_, line)| !line.contains("struct Judged(")).map(|(name, _)| name).collect();
    assert_eq!(made, ["host/core/src/smtp/server/content.rs"]);
    let kept: BTreeSet<_> = lines_with("spool.accept").into_iter().map(|(name, _)| name).collect();
    let inbound: Vec<_> = kept.iter().filter(|name| name.starts_with("host/gateway/src/inbound/")).collect();
    assert_eq!(inbound, ["host/gateway/src/inbound/intake.rs"]);
}

/// S13: "overflow checks on in release".
#[test]
fn what_is_shipped_checks_for_overflow() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("readable");
    let manifest: toml::Table = manifest.parse().expect("valid");
    assert_eq!(manifest["profile"]["release"]["overflow-checks"].as_bool(), Some(true));
}

#[test]
fn every_requirement_is_carried_by_a_test() {
    let proofs: String = sources()
        .iter()
        .filter(|(name, _)| name != "tests/it/tidy.rs")
        .map(
            |(name, content)| {
                if is_test(name) { content.as_str() } else { content.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests) }
            },
        )
        .collect();
    let roles = fs::read_to_string(root().join("host/docs/roles.md")).expect("roles.md");
    let wanted: BTreeSet<&str> = REQUIREMENTS.iter().copied().collect();
    let carried = |id: &str| {
        let as_name = format!("{}_", id.to_lowercase().replace('-', "_"));
        let whole = |text: &str| text.match_indices(id).any(|(at, _)| !text[at + id.len()..].starts_with(|c: char| c.is_ascii_digit()));
        proofs.contains(&as_name) || whole(&proofs) || roles.lines().any(|line| line.starts_with("| ") && whole(line))
    };
    let missing: Vec<&str> = wanted.into_iter().filter(|id| !carried(id)).collect();
    assert!(missing.is_empty(), "no test carries {missing:?}");
}
