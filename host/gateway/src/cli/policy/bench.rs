//! `secmx policy bench`, and `run --bench`: how long a policy takes for an answer.

use super::super::{Exit, say};
use super::project::Project;
use super::test;
use anyhow::{Context, Result, bail};
use secmx_policy::cases::Cases;
use secmx_policy::{Candidate, PolicySource, Trial, Trialled};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Below the help.
pub(super) const HELP: &str = "\
Asks the policy, as it was built last, about every case of tests/cases.toml again and again, one question at a time, as a gateway does:
instructions are not counted. Compare figures of one machine only.

Example: secmx policy bench no-secrets --times 10000";

/// Times of many answers.
pub(super) struct Times {
    sorted: Vec<Duration>,
    all: Duration,
    faults: usize,
}

/// Asks one question many times. The first tenth warms up and does not count.
pub(super) async fn ask(candidate: &Candidate, trial: &Trial, times: u32) -> Times {
    for _ in 0..times / 10 {
        candidate.ask(trial.clone(), Trialled::default()).await;
    }
    let (mut sorted, mut faults, began) = (Vec::new(), 0, Instant::now());
    for _ in 0..times {
        let report = candidate.ask(trial.clone(), Trialled::default()).await;
        faults += usize::from(report.answer.is_err());
        sorted.push(report.took);
    }
    let all = began.elapsed();
    sorted.sort();
    Times { sorted, all, faults }
}

impl Times {
    /// Microseconds that so many percent of the answers took at most.
    fn at(&self, percent: usize) -> f64 {
        let time = self.sorted.get(self.sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
        time.as_secs_f64() * 1e6
    }

    /// Answers a second.
    fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.all.as_secs_f64().max(1e-9)
    }

    /// One line for people.
    fn line(&self, name: &str) -> String {
        let faults = if self.faults > 0 { format!("   {} faults", self.faults) } else { String::new() };
        format!("{name:<58} p50 {:>8.1} µs   p99 {:>8.1} µs   {:>8.0}/s{faults}\n", self.at(50), self.at(99), self.rate())
    }

    /// One object, schema `secmx/policy-bench/v1`. Fields are only ever added.
    fn json(&self, name: &str) -> Value {
        json!({
            "schema": "secmx/policy-bench/v1",
            "name": name,
            "times": self.sorted.len(),
            "p50_us": self.at(50),
            "p99_us": self.at(99),
            "per_second": self.rate(),
            "faults": self.faults,
        })
    }

    /// One or the other, on one line.
    pub(super) fn told(&self, name: &str, json: bool) -> String {
        if json { self.json(name).to_string() + "\n" } else { self.line(name) }
    }
}

/// Measures every case of a folder.
pub(super) fn run(folder: &Path, times: u32, json: bool) -> Result<Exit> {
    let project = Project::open(folder)?;
    let path = project.component();
    let component = fs::read(&path).with_context(|| format!("cannot read {}; `secmx policy build` makes it", path.display()))?;
    let tests = folder.join("tests");
    let text =
        fs::read_to_string(tests.join("cases.toml")).with_context(|| format!("cannot read {}", tests.join("cases.toml").display()))?;
    let cases = Cases::parse(&text).map_err(|error| anyhow::anyhow!("{}/{error}", tests.display()))?;
    let runtime = super::engine(false)?;
    let source = test::source(&project, component);
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut asked = 0;
    for case in &cases.cases {
        let message = match &case.given.message {
            Some(file) => fs::read(tests.join(file)).with_context(|| format!("case {:?}: cannot read {file}", case.name))?,
            None if case.given.messages.is_some() => continue,
            None => Vec::new(),
        };
        let settings = Value::Object(case.given.config.clone().unwrap_or_default()).to_string();
        let source = PolicySource { settings, named: case.given.named(&source.name), ..source.clone() };
        let candidate = Candidate::load(&runtime, &source)?;
        let trial = case.given.trial(message.into()).map_err(|why| anyhow::anyhow!("case {:?}: {why}", case.name))?;
        say(&executor.block_on(ask(&candidate, &trial, times)).told(&case.name, json))?;
        asked += 1;
    }
    if asked == 0 {
        bail!("no case of {} is about one message or none", tests.join("cases.toml").display());
    }
    Ok(Exit::Yes)
}
