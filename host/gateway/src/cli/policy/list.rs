//! `secmx policy list`: the chains of a running gateway.

use super::super::Exit;
use super::super::remote::Asking;
use crate::control::policies::{Policies, Row, Shadow};
use anyhow::Result;
use hyper::Method;
use std::fmt::Write;

/// Messages of a shadow that are named; --json names more.
const SHOWN: usize = 5;

/// Below the help.
pub(super) const HELP: &str = "\
Each kind of question is put to its policies from top to bottom; the first ruling that is not `pass` ends it. A role is asked only where it
is played. Counts are since the gateway began, over reloads; `counted` is what a policy counts itself. Below a shadow stands what would have ended differently, with the last
messages; `secmx explain ID` tells more of one.

Example: secmx policy list --json";

/// Asks and tells.
pub(super) fn run(asking: &Asking) -> Result<Exit> {
    asking.tell(Method::GET, "/policies", |policies: Policies| text(&policies))
}

fn text(policies: &Policies) -> String {
    let mut text = format!("generation {}\n", policies.generation);
    for chain in &policies.chains {
        let _ = writeln!(text, "\n{}", chain.interface);
        for row in &chain.policies {
            line(&mut text, row);
        }
        if chain.policies.is_empty() {
            text.push_str("  nobody is asked\n");
        }
    }
    text
}

fn line(text: &mut String, row: &Row) {
    let mode = row.role.as_ref().map_or_else(|| row.mode.clone(), |role| format!("role {role}"));
    let _ = write!(
        text,
        "  {:<22} {:<8} {:<12}  {mode:<9}",
        row.name,
        row.version.as_deref().unwrap_or("–"),
        row.sha256.get(..12).unwrap_or_default()
    );
    let _ = write!(text, " {:>8} asked", row.asked);
    let counts = row.rulings.iter().map(|(name, count)| format!("{count} {name}"));
    let faults = (row.faults > 0).then(|| format!("{} failed", row.faults));
    let told: Vec<String> = counts.chain(faults).collect();
    if !told.is_empty() {
        let _ = write!(text, ": {}", told.join(", "));
    }
    if let Some(average) = row.average_us {
        let _ = write!(text, "; {average} µs");
    }
    text.push('\n');
    if !row.counters.is_empty() {
        let counted: Vec<String> = row.counters.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let _ = writeln!(text, "      counted {}", counted.join(", "));
    }
    if let Some(shadow) = &row.shadow {
        differences(text, shadow);
    }
}

/// What a shadow would have changed, and where to look.
fn differences(text: &mut String, shadow: &Shadow) {
    let left_out = if shadow.left_out > 0 { format!("; {} more were too many to follow", shadow.left_out) } else { String::new() };
    let _ = writeln!(text, "      {} of {} messages would have ended differently{left_out}", shadow.differs, shadow.asked);
    for one in &shadow.differences {
        let _ = writeln!(text, "        {} → {} {}", one.enforced, one.shadow, one.messages);
    }
    for one in shadow.last.iter().take(SHOWN) {
        let _ = writeln!(text, "        {}  {} → {}  {}", one.subject, one.enforced, one.shadow, one.code.as_deref().unwrap_or("–"));
    }
}
