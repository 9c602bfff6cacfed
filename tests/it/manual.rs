//! `host/docs/configuration.md` is generated from the doc comments of the configuration's own source, so the two cannot part.
//!
//! `SECMX_WRITE_DOCS=1 cargo test -p secmx-tests --test it manual` writes the page anew.

use std::fs;
use std::path::{Path, PathBuf};

/// Heading, file, struct.
const TABLES: &[(&str, &str, &str)] = &[
    ("Top level", "mod", "Config"),
    ("[paths]", "paths", "Paths"),
    ("[control]", "control", "Control"),
    ("[tls]", "tls", "Tls"),
    ("[tls.acme]", "tls", "Acme"),
    ("[web]", "web", "Web"),
    ("[publish]", "web", "Publish"),
    ("[dns]", "dns", "Dns"),
    ("[receive.NAME]", "receive", "Listener"),
    ("[receive.NAME.limits]", "receive", "Limits"),
    ("[auth]", "people", "Auth"),
    ("[recipients]", "people", "Recipients"),
    ("[send]", "send", "Outward"),
    ("[send.sos]", "send", "SecureOnly"),
    ("[send.mta_sts]", "send", "MtaSts"),
    ("[[send.rule]]", "rule", "Rule"),
    ("[[send.login]]", "login", "Login"),
    ("[queue]", "queue", "Queue"),
    ("[queue.per_destination]", "queue", "PerDestination"),
    ("[history]", "history", "History"),
    ("[quarantine]", "quarantine", "Quarantine"),
    ("[reload]", "reload", "Reload"),
    ("[policies]", "policy", "Policies"),
    ("[policies.compile]", "policy", "Compile"),
    ("[[policy]]", "policy", "Policy"),
    ("[policy.when]", "policy", "When"),
    ("[policy.grant]", "policy", "Powers"),
    ("[policy.limits]", "policy", "Limits"),
    ("[content]", "content", "Content"),
    ("[escrow]", "content", "Escrow"),
    ("[authentication]", "authentication", "Authentication"),
    ("[dkim]", "dkim", "Dkim"),
    ("[[dkim.keys]]", "dkim", "DkimKey"),
    ("[journal.NAME]", "journal", "Journal"),
    ("[policy.breaker]", "policy", "Breaker"),
    ("[list.NAME]", "list", "List"),
    ("[decisions]", "decisions", "Decisions"),
    ("[replay]", "replay", "Replay"),
    ("[report.tlsrpt]", "report", "TlsRpt"),
    ("[log]", "logging", "Logging"),
];

const HEAD: &str = "# Configuration

Every setting, with its unit and default. Sizes are written `\"50MiB\"`, durations `\"5m\"` or `\"2d\"`. An unknown key is an error that names
file, line, column and what was probably meant; `secmx check -c FILE` says so without changing anything and ends with 7.

Order: built-in default, then the file, then what it names in `include`, then the environment (`SECMX__SEND__ROLE=SOS` is `send.role`). Without a
file the gateway is BES and BER on 127.0.0.1:2525, relays for loopback only, and keeps its state in `./secmx-state`.

SIGHUP reads the file again. What is wrong with the new one is logged and the old one stays in force; `[paths]`, the addresses
of listeners, `[control]`, `[web]`, `[queue]`, `[reload]`, `[history]`, `[log]`, where `[decisions]` go, `[policies.compile]` and
`policies.limits.concurrent` need a restart.

Limits that have no setting yet, with their values: 30 s for a TLS handshake, 5 s for a PROXY header, 10 exchangers and 6 addresses each in
one attempt, 20 records of one DNS answer, 100 recipients in one outgoing transaction, 10 s in which best effort does not ask a host for
STARTTLS again that did not offer it.

This page is generated from the source (`SECMX_WRITE_DOCS=1 cargo test -p secmx-tests --test it manual`).
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../host")
}

/// One line for each setting of a struct: its doc comment, where that begins with the key.
fn settings(source: &str, name: &str) -> Vec<String> {
    let start = source.find(&format!("pub struct {name} {{")).unwrap_or_else(|| panic!("no struct {name}"));
    let body = source[start..].split("\n}").next().expect("a body");
    let mut settings = Vec::new();
    let mut comment = String::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            comment = format!("{comment} {text}").trim().to_owned();
        } else if line.starts_with("pub ") && comment.starts_with('`') && !comment.starts_with("`[") {
            settings.push(format!("- {}", std::mem::take(&mut comment)));
        } else {
            comment.clear();
        }
    }
    assert!(!settings.is_empty(), "{name} documents no setting");
    settings
}

fn page() -> String {
    TABLES.iter().fold(HEAD.to_owned(), |page, (heading, file, name)| {
        let source = fs::read_to_string(root().join(format!("gateway/src/config/{file}.rs"))).expect("the source");
        format!("{page}\n## {heading}\n\n{}\n", settings(&source, name).join("\n"))
    })
}

#[test]
fn the_manual_says_what_the_source_says() {
    let path = root().join("docs/configuration.md");
    if std::env::var_os("SECMX_WRITE_DOCS").is_some() {
        fs::write(&path, page()).expect("written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "host/docs/configuration.md is out of date: SECMX_WRITE_DOCS=1 cargo test -p secmx-tests --test it manual");
}
