//! The answer of `check`, for people and for programs.

use crate::config::{Config, Finding, Severity};
use anyhow::Result;
use serde::Serialize;
use std::env;
use std::fmt::Write;
use std::io::{self, IsTerminal};

/// Whether a configuration with these findings would start.
pub(super) fn is_good(findings: &[Finding]) -> bool {
    errors(findings) == 0
}

/// One line for each finding.
pub(super) fn findings(findings: &[Finding], colours: bool) -> String {
    findings.iter().fold(String::new(), |mut lines, finding| {
        let line = finding.to_string();
        let _ = writeln!(lines, "{}", if colours { coloured(&line, finding.severity) } else { line });
        lines
    })
}

/// What the configuration comes to.
pub(super) fn summary(name: &str, config: &Config) -> String {
    let mut text = format!("{name}: {}\n", config.hostname);
    for (name, listener) in &config.receive {
        for address in &listener.listen {
            let _ = writeln!(text, "  receive.{:<12} {:<24} {}", name, address.to_string(), listener.role);
        }
    }
    let rules = counted(config.send.rules.len(), "rule");
    let _ = writeln!(text, "  {:<20} {:<24} {}", "send", rules, config.send.role);
    if let Some(inside) = &config.deliver_to {
        let _ = writeln!(text, "  {:<20} {:<24} {inside}", "deliver_to", counted(config.domains.len(), "domain"));
    }
    text
}

/// The last line.
pub(super) fn count(findings: &[Finding]) -> String {
    let errors = errors(findings);
    format!("{}, {}; nothing was changed\n", counted(errors, "error"), counted(findings.len() - errors, "warning"))
}

/// `secmx/check/v1`. Fields are only ever added.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    ok: bool,
    errors: usize,
    warnings: usize,
    findings: &'a [Finding],
}

/// One object, schema `secmx/check/v1`.
pub(super) fn json(findings: &[Finding]) -> Result<String> {
    let errors = errors(findings);
    let report = Report { schema: "secmx/check/v1", ok: errors == 0, errors, warnings: findings.len() - errors, findings };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// Whether standard output wants colours.
pub(super) fn stdout_has_colours() -> bool {
    wants_colours(io::stdout().is_terminal(), |name| env::var(name).ok())
}

/// Whether standard error wants colours.
pub(super) fn stderr_has_colours() -> bool {
    wants_colours(io::stderr().is_terminal(), |name| env::var(name).ok())
}

/// `NO_COLOR` wins over `CLICOLOR_FORCE`, and that over what the terminal can do; set means not empty.
fn wants_colours(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let able = terminal && variable("TERM").is_some_and(|term| term != "dumb");
    !is_set("NO_COLOR") && (is_set("CLICOLOR_FORCE") || able)
}

fn errors(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.severity == Severity::Error).count()
}

fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

fn coloured(line: &str, severity: Severity) -> String {
    let (word, colour) = match severity {
        Severity::Error => ("  error ", "31"),
        Severity::Warning => ("  warning ", "33"),
    };
    line.replacen(word, &format!("\u{1b}[{colour}m{word}\u{1b}[0m"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_color_is_honoured() {
        let with = |terminal, set: &[(&str, &str)]| {
            wants_colours(terminal, |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(with(true, &[("TERM", "xterm")]));
        assert!(!with(true, &[("TERM", "xterm"), ("NO_COLOR", "1")]));
        assert!(!with(true, &[("TERM", "dumb")]));
        assert!(!with(false, &[("TERM", "xterm")]));
        assert!(with(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!with(false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
        assert!(with(true, &[("TERM", "xterm"), ("NO_COLOR", "")]), "empty is not set");
    }

    #[test]
    fn the_answer_for_programs() {
        let wrong = Config::parse("x.toml", "recieve = 1\n").expect_err("unknown key");
        let text = json(&wrong).expect("JSON");
        assert!(text.starts_with("{\n  \"schema\": \"secmx/check/v1\","), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((value["ok"].as_bool(), value["errors"].as_u64(), value["warnings"].as_u64()), (Some(false), Some(1), Some(0)));
        let finding = json!({
            "source": "x.toml", "line": 1, "column": 1, "severity": "error", "code": "C012",
            "message": "unknown key `recieve`; did you mean `receive`?",
        });
        assert_eq!(value["findings"][0], finding);
        assert!(!is_good(&wrong));
    }

    #[test]
    fn the_answer_for_people() {
        let text = "hostname = \"mx.x.test\"\ndomains = [\"x.test\"]\ndeliver_to = \"smtp://10.0.0.7\"\n[receive.public]\nlisten = \"192.0.2.1:25\"\nrole = \"BER\"\n";
        let (config, warnings) = Config::parse("x.toml", text).expect("valid");
        let expected = "\
x.toml: mx.x.test
  receive.public       192.0.2.1:25             BER
  send                 0 rules                  BES
  deliver_to           1 domain                 10.0.0.7:25
0 errors, 0 warnings; nothing was changed
";
        assert_eq!(summary("x.toml", &config) + &count(&warnings), expected);
    }
}
