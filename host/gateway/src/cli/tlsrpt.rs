//! `secmx tlsrpt`: what other domains are told of TLS with their hosts.

use super::Exit;
use super::remote::Asking;
use crate::control::reports::Reports;
use anyhow::Result;
use clap::Subcommand;
use hyper::Method;
use std::fmt::Write;

/// Below the help.
pub(super) const HELP: &str = "\
What was counted and is not reported yet. Reports leave after the end of each day (UTC) to domains that ask for them; `[report.tlsrpt]` says
who signs them and whether they are sent at all.

Examples
  secmx tlsrpt show
  secmx tlsrpt show --json";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum TlsRptCommand {
    /// Show the reports as they would be sent, and to whom; nothing is sent
    #[command(after_help = HELP)]
    Show(Asking),
}

/// Asks and tells.
pub(super) fn obey(command: &TlsRptCommand) -> Result<Exit> {
    let TlsRptCommand::Show(asking) = command;
    asking.tell(Method::GET, "/tls-reports", |reports: Reports| text(&reports))
}

fn text(reports: &Reports) -> String {
    let mut text = String::new();
    if !reports.send {
        text.push_str("nothing is counted: `report.tlsrpt.send` is false\n");
    }
    for counted in &reports.reports {
        let places = if counted.places.is_empty() { "wants no report".to_owned() } else { counted.places.join(", ") };
        let _ = writeln!(text, "{}  {}  {places}", counted.date, counted.domain);
        for policy in counted.report["policies"].as_array().into_iter().flatten() {
            let summary = &policy["summary"];
            let _ = writeln!(
                text,
                "  {:<16} {} good, {} failed",
                policy["policy"]["policy-type"].as_str().unwrap_or_default(),
                summary["total-successful-session-count"],
                summary["total-failure-session-count"]
            );
            for detail in policy["failure-details"].as_array().into_iter().flatten() {
                let of = |key: &str| detail[key].as_str().unwrap_or_default();
                let _ = writeln!(
                    text,
                    "    {} times {} at {} {}",
                    detail["failed-session-count"],
                    of("result-type"),
                    of("receiving-mx-hostname"),
                    of("failure-reason-code")
                );
            }
        }
    }
    if text.is_empty() {
        text.push_str("nothing was counted yet\n");
    }
    text
}
