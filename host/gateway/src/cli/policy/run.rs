//! `secmx policy run`: a content policy asked about messages at hand.

use super::super::{Exit, say};
use super::project::Project;
use super::{mail, report, test};
use anyhow::{Context, Result, bail};
use secmx_policy::cases::{Case, Envelope, Expect, Given, Outcome};
use secmx_policy::{Report, Runtime, RuntimeLimits, units};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// Below the help.
pub(super) const HELP: &str = "\
The policy is that of the folder, as it was built last. DNS answers nothing here, and the store is empty.

Example: secmx policy run mail.eml --from ana@agency.example --to bo@health.example --set 'block=[\"iban\"]'";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    /// A message, a folder of .eml files, an mbox (.mbox), or - for standard input
    message: PathBuf,
    /// Folder of policy.toml
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Reverse-path
    #[arg(long, default_value = "")]
    from: String,
    /// Recipient; may be given more than once
    #[arg(long)]
    to: Vec<String>,
    /// A setting, as NAME=VALUE; the value is JSON, or else text
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// One JSON object for each message
    #[arg(long)]
    json: bool,
}

/// Asks.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let project = Project::open(&options.folder)?;
    let path = project.component();
    let component = fs::read(&path).with_context(|| format!("cannot read {}; `secmx policy build` makes it", path.display()))?;
    let source = test::source(&project, component);
    let runtime = Runtime::new(RuntimeLimits { metered: true, ..RuntimeLimits::default() }, Arc::new(|_| ()))?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = options.settings.iter().map(|text| setting(text)).collect::<Result<Map<_, _>>>()?;
    let envelope = Envelope { from: Some(options.from.clone()), to: Some(options.to.clone()), ..Envelope::default() };
    let given = Given { interface: Some("content".to_owned()), envelope: Some(envelope), config: Some(config), ..Given::default() };
    let case = Case { name: "run".to_owned(), given, expect: Expect::Snapshot };
    let mut faults = false;
    for (name, message) in mail::messages(&options.message)? {
        let asked = executor.block_on(case.run(&runtime, &source, message));
        let told = asked.map_err(|why| anyhow::anyhow!(why)).with_context(|| name.clone())?;
        faults |= told.answer.is_err();
        say(&if options.json { as_json(&name, &told)? } else { as_text(&name, &told) })?;
    }
    Ok(if faults { Exit::No } else { Exit::Yes })
}

pub(super) fn setting(text: &str) -> Result<(String, Value)> {
    let Some((name, value)) = text.split_once('=') else { bail!("--set {text}: expected NAME=VALUE") };
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))))
}

fn as_text(name: &str, told: &Report) -> String {
    let outcome = Outcome::of(told);
    let (reason, detail) = (outcome.reason.as_deref().unwrap_or_default(), outcome.detail.as_deref().unwrap_or_default());
    let mut text = format!("{name}\n        ruling     {}  {reason}  {detail:?}\n", outcome.ruling);
    report::told(&mut text, &outcome, told);
    let _ = writeln!(
        text,
        "        cost       {} µs   {} fuel   {}",
        told.took.as_micros(),
        report::fuel(told.fuel.unwrap_or_default()),
        units::octets(told.memory_bytes as u64)
    );
    text
}

/// One object on one line, schema `secmx/policy-run/v1`. Fields are only ever added.
fn as_json(name: &str, told: &Report) -> Result<String> {
    let value = serde_json::json!({
        "schema": "secmx/policy-run/v1",
        "message": name,
        "outcome": Outcome::of(told),
        "calls": told.calls,
        "fuel": told.fuel,
        "memory_octets": told.memory_bytes,
    });
    Ok(value.to_string() + "\n")
}
