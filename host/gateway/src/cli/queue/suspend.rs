//! `secmx queue suspend` and `secmx queue resume`.

use super::super::remote::{Asking, duration, say_json};
use super::super::{Exit, say, words};
use crate::control::suspend::{Resume, Suspend, Suspensions};
use anyhow::Result;
use hyper::Method;
use jiff::Timestamp;
use std::time::Duration;

/// Below the help of `suspend`.
pub(super) const HELP: &str = "\
Mail for it is accepted and waits; attempts under way are finished. The order ends by itself, outlives a restart, and `secmx status` lists
it. A second one for the same destination takes the place of the first.

Example: secmx queue suspend --to @partner.example --for 2h --reason 'their maintenance, ticket 812'";

/// Below the help of `resume`.
pub(super) const RESUME: &str = "\
Example: secmx queue resume --to @partner.example";

/// What waits, and how long.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    asking: Asking,
    /// The destination: @health.example, or @*.govt.nz for all domains below
    #[arg(long, value_name = "@DOMAIN")]
    to: String,
    /// How long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    time: Duration,
    /// Why; the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Suspends.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let order = Suspend { to: options.to.clone(), for_s: options.time.as_secs(), reason: options.reason.clone() };
    tell(&options.asking, "/suspensions", &order, |suspensions, now| {
        suspensions
            .suspensions
            .iter()
            .map(|order| format!("mail to {} waits; it goes again {}\n", order.to, words::ahead(order.until, now)))
            .collect()
    })
}

/// Ends one.
pub(super) fn resume(asking: &Asking, to: String) -> Result<Exit> {
    tell(asking, "/suspensions/end", &Resume { to }, |suspensions, _| {
        suspensions.suspensions.iter().map(|order| format!("mail to {} goes again\n", order.to)).collect()
    })
}

fn tell(asking: &Asking, path: &str, order: &impl serde::Serialize, words: impl FnOnce(Suspensions, Timestamp) -> String) -> Result<Exit> {
    let answer = asking.server.remote()?.ask(Method::POST, path, Some(order))?;
    if asking.json { say_json(&answer) } else { say(&words(answer.read()?, Timestamp::now())) }
}
