//! How the run of a policy's cases is told: for people, and as JSON, JUnit, TAP and annotations of GitHub.

use super::super::words;
use anyhow::Result as Outcomes;
use secmx_policy::cases::{Difference, Outcome};
use secmx_policy::{Report, units};
use serde_json::json;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What was run.
pub(super) struct Summary {
    pub(super) title: String,
    pub(super) built: Option<Duration>,
    pub(super) octets: u64,
    pub(super) loads: Duration,
    pub(super) memory_bytes: usize,
}

/// One case that was run.
#[derive(Clone)]
pub(super) struct Ran {
    pub(super) name: String,
    pub(super) message: Option<String>,
    pub(super) result: Result,
}

/// What came of it.
#[derive(Clone)]
pub(super) enum Result {
    /// The policy was asked.
    Asked { differences: Vec<Difference>, outcome: Box<Outcome>, report: Arc<Report> },
    /// It could not be asked: what is wrong.
    Broken(String),
}

impl Ran {
    /// Whether all was as expected.
    pub(super) fn passed(&self) -> bool {
        matches!(&self.result, Result::Asked { differences, .. } if differences.is_empty())
    }

    /// Why it did not pass, one sentence for each reason.
    fn why(&self) -> Vec<String> {
        match &self.result {
            Result::Broken(why) => vec![why.clone()],
            Result::Asked { differences, .. } => {
                differences.iter().map(|d| format!("{}: expected {}, got {}", d.what, d.expected, d.got)).collect()
            }
        }
    }

    /// The name that stands in the file of cases.
    fn case(&self) -> &str {
        self.name.split(" [").next().unwrap_or_default()
    }

    fn report(&self) -> Option<&Report> {
        match &self.result {
            Result::Asked { report, .. } => Some(report),
            Result::Broken(_) => None,
        }
    }
}

/// `1.20 M`, `212 k`.
pub(super) fn fuel(fuel: u64) -> String {
    match fuel {
        0..1_000 => fuel.to_string(),
        1_000..1_000_000 => format!("{} k", fuel / 1_000),
        _ => format!("{:.2} M", fuel as f64 / 1e6),
    }
}

/// Lines for people.
pub(super) fn text(summary: &Summary, ran: &[Ran], verbose: bool) -> String {
    let built = summary.built.map(|took| format!("built {:.1} s, ", took.as_secs_f64())).unwrap_or_default();
    let mut text =
        format!("{}   {built}{}, loads in {:.1} ms\n", summary.title, units::octets(summary.octets), summary.loads.as_secs_f64() * 1e3);
    for one in ran {
        let mark = if one.passed() { '✓' } else { '✗' };
        let cost = one
            .report()
            .map(|report| format!("{:>8.2} ms {:>8} fuel", report.took.as_secs_f64() * 1e3, fuel(report.fuel.unwrap_or_default())));
        let _ = writeln!(text, "  {mark} {:<58}{}", one.name, cost.unwrap_or_default());
        match &one.result {
            Result::Broken(why) => {
                let _ = writeln!(text, "        {why}");
            }
            Result::Asked { differences, outcome, report } => {
                for Difference { what, expected, got } in differences {
                    let _ = writeln!(text, "        {what:<10} expected {expected:<22} got {got}");
                }
                if verbose || !one.passed() {
                    told(&mut text, outcome, report);
                }
            }
        }
        if !one.passed() {
            let run = one.message.as_ref().map(|file| format!("     look: secmx policy run tests/{file}")).unwrap_or_default();
            let _ = writeln!(text, "        rerun      secmx policy test -k {:?} --verbose{run}", one.case());
        }
    }
    let passed = ran.iter().filter(|one| one.passed()).count();
    let worst_fuel = ran.iter().filter_map(|one| one.report()?.fuel).max().unwrap_or_default();
    let worst_memory = ran.iter().filter_map(|one| Some(one.report()?.memory_bytes)).max().unwrap_or_default();
    let failed = ran.len() - passed;
    let _ = writeln!(
        text,
        "{}: {passed} passed, {failed} failed        worst {} fuel; memory limit {}, worst {}",
        words::counted(ran.len() as u64, "case"),
        fuel(worst_fuel),
        units::octets(summary.memory_bytes as u64),
        units::octets(worst_memory as u64),
    );
    text
}

/// What the policy did on the way.
pub(super) fn told(text: &mut String, outcome: &Outcome, report: &Report) {
    for change in &outcome.changes {
        let _ = writeln!(text, "        changed    {change}");
    }
    for seen in &outcome.evidence {
        let _ = writeln!(text, "        evidence   {seen}");
    }
    for (key, value) in &outcome.tags {
        let _ = writeln!(text, "        tagged     {key} = {value}");
    }
    if !report.calls.is_empty() {
        let _ = writeln!(text, "        it called  {}", report.calls.join(", "));
    }
    for (severity, line) in &report.lines {
        let _ = writeln!(text, "        it logged  {severity} {line:?}");
    }
}

/// One object, schema `secmx/policy-test/v1`. Fields are only ever added.
pub(super) fn json(summary: &Summary, ran: &[Ran]) -> Outcomes<String> {
    let case = |one: &Ran| match &one.result {
        Result::Broken(why) => json!({ "name": one.name, "passed": false, "error": why }),
        Result::Asked { differences, outcome, report } => json!({
            "name": one.name,
            "passed": differences.is_empty(),
            "differences": differences,
            "outcome": outcome,
            "calls": report.calls,
            "log": report.lines.iter().map(|(severity, text)| json!({ "severity": severity, "text": text })).collect::<Vec<_>>(),
            "fuel": report.fuel,
            "memory_octets": report.memory_bytes,
            "took_us": u64::try_from(report.took.as_micros()).unwrap_or(u64::MAX),
        }),
    };
    let value = json!({
        "schema": "secmx/policy-test/v1",
        "policy": summary.title,
        "ok": ran.iter().all(Ran::passed),
        "build_ms": summary.built.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        "octets": summary.octets,
        "cases": ran.iter().map(case).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

/// JUnit XML, as build servers read it.
pub(super) fn junit(summary: &Summary, ran: &[Ran]) -> String {
    let failed = ran.iter().filter(|one| !one.passed()).count();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\">\n",
        escaped(&summary.title),
        ran.len()
    );
    for one in ran {
        let time = one.report().map_or(0.0, |report| report.took.as_secs_f64());
        let _ = write!(xml, "  <testcase classname=\"{}\" name=\"{}\" time=\"{time:.6}\"", escaped(&summary.title), escaped(&one.name));
        let why = one.why();
        if why.is_empty() {
            xml.push_str("/>\n");
        } else {
            let _ = write!(xml, ">\n    <failure message=\"{}\"/>\n  </testcase>\n", escaped(&why.join("; ")));
        }
    }
    xml + "</testsuite>\n"
}

/// TAP version 14: one line a case, with the reasons below it.
pub(super) fn tap(ran: &[Ran]) -> String {
    let mut text = format!("TAP version 14\n1..{}\n", ran.len());
    for (at, one) in ran.iter().enumerate() {
        let word = if one.passed() { "ok" } else { "not ok" };
        let name = on_one_line(&one.name).replace('\\', "\\\\").replace('#', "\\#");
        let _ = writeln!(text, "{word} {} - {name}", at + 1);
        if !one.passed() {
            text.push_str("  ---\n  message: |-\n");
            for why in one.why() {
                let _ = writeln!(text, "    {}", on_one_line(&why));
            }
            text.push_str("  ...\n");
        }
    }
    text
}

/// Workflow commands of GitHub Actions: an annotation for each case that did not pass, where it stands in `cases`, whose file is `path`.
pub(super) fn github(path: &Path, cases: &str, ran: &[Ran]) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let path = path.strip_prefix(".").unwrap_or(path);
    let mut text = String::new();
    for one in ran.iter().filter(|one| !one.passed()) {
        let is_here = |line: &str| line.trim_start().starts_with("name") && line.contains(one.case());
        let line = cases.lines().position(is_here).map(|at| format!(",line={}", at + 1)).unwrap_or_default();
        let (file, title) = (property(&path.display().to_string()), property(&one.name));
        let _ = writeln!(text, "::error file={file}{line},title={title}::{}", data(&one.why().join("\n")));
    }
    text
}

fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn escaped(text: &str) -> String {
    on_one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
