//! `secmx policy decisions`: the decision log, read.

use super::super::command::Origin;
use super::super::remote::duration;
use super::super::{Exit, say};
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Below the help.
pub(super) const HELP: &str = "\
Reads the files that [decisions] in the configuration names, oldest first, those that were put aside too. What is said adds up.

Examples
  secmx policy decisions --since 1d --ruling quarantine -c /etc/secmx/secmx.toml
  secmx policy decisions --by no-secrets --since 1h --json";

/// Which lines.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    /// Only what was decided since then, such as 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// accept, reject, defer, quarantine, discard or bounce; may be given more than once
    #[arg(long)]
    ruling: Vec<String>,
    /// Name of the policy whose word it was
    #[arg(long, value_name = "POLICY")]
    by: Option<String>,
    /// Queue id
    #[arg(long, value_name = "ID")]
    qid: Option<String>,
    /// The lines as they stand in the file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    origin: Origin,
}

/// Reads and tells.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let config = super::configuration(options.origin.config.as_deref())?;
    let since = options.since.and_then(|since| SignedDuration::try_from(since).ok());
    let first = since.and_then(|since| Timestamp::now().checked_sub(since).ok());
    for path in files(&config.decisions.file, config.decisions.keep) {
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        for line in text.lines() {
            // A torn line is what a crash left.
            let Ok(decision) = serde_json::from_str::<Value>(line) else { continue };
            if options.wants(&decision, first) {
                say(&if options.json { format!("{line}\n") } else { words(&decision) })?;
            }
        }
    }
    Ok(Exit::Yes)
}

/// The file and those before it, oldest first.
fn files(newest: &Path, keep: u32) -> Vec<PathBuf> {
    let older = (1..=keep).rev().map(|number| PathBuf::from(format!("{}.{number}", newest.display())));
    older.chain([newest.to_owned()]).collect()
}

impl Options {
    fn wants(&self, decision: &Value, first: Option<Timestamp>) -> bool {
        let text = |key: &str| decision[key].as_str().unwrap_or_default();
        let by = text("by").split('@').next().unwrap_or_default();
        first.is_none_or(|first| text("ts").parse::<Timestamp>().is_ok_and(|at| at >= first))
            && (self.ruling.is_empty() || self.ruling.iter().any(|ruling| ruling == text("ruling")))
            && self.by.as_ref().is_none_or(|name| name == by)
            && self.qid.as_ref().is_none_or(|id| id == text("qid"))
    }
}

/// One line for people.
fn words(decision: &Value) -> String {
    let text = |key: &str| decision[key].as_str().unwrap_or("–");
    let about = decision["qid"].as_str().or(decision["session"].as_str()).unwrap_or("–");
    let mode = if decision["mode"] == "shadow" { format!("  (shadow; in force: {})", text("enforced")) } else { String::new() };
    let release = decision["release"]["user"].as_str().map(|user| format!("  (released by {user})")).unwrap_or_default();
    let why = decision["text"].as_str().map(|text| format!("  {text:?}")).unwrap_or_default();
    let (at, question, ruling) = (text("ts"), text("question"), text("ruling"));
    format!("{at}  {about:<14} {question:<18} {ruling:<10} {:<22} by {}{why}{mode}{release}\n", text("reason"), text("by"))
}
