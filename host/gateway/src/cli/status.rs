//! `secmx status`: what the gateway is and how it stands.

use super::Exit;
use super::remote::Asking;
use super::words;
use crate::control::queue::State;
use crate::control::status::Status;
use anyhow::Result;
use hyper::Method;
use jiff::Timestamp;
use std::fmt::Write;

/// Below the help.
pub(super) const HELP: &str = "\
Ends with 4 when no gateway answers, with 5 when its socket is not for you, and with 1 when it runs and cannot work.

Examples
  secmx status
  secmx status --server unix:/run/secmx/control.sock --json";

/// Asks and tells.
pub(super) fn run(asking: &Asking) -> Result<Exit> {
    let mut trouble = false;
    let told = asking.server.remote()?.ask(Method::GET, "/status", None::<&()>)?;
    let status: Status = told.read()?;
    trouble |= status.trouble.is_some();
    if asking.json {
        super::remote::say_json(&told)?
    } else {
        super::say(&text(&status, Timestamp::now()))?
    };
    Ok(if trouble { Exit::No } else { Exit::Yes })
}

fn text(status: &Status, now: Timestamp) -> String {
    let since = |time: Timestamp| words::ago(time, now);
    let mut text = format!("{}  secmx {}, process {}, up {}\n", status.hostname, status.version, status.pid, since(status.since));
    let generation = &status.generation;
    let _ = writeln!(text, "  {:<12} {}, since {}", "generation", generation.number, since(generation.since));
    for listener in &status.listeners {
        let _ = writeln!(text, "  {:<12} {:<24} {}", listener.name, listener.address, listener.role);
    }
    let queue = &status.queue;
    let octets = secmx_policy::units::octets(queue.octets);
    let _ = writeln!(text, "  {:<12} {}, {}", "queue", words::counted(queue.messages, "message"), octets);
    for shadow in &status.shadows {
        let asked = words::counted(shadow.asked, "message");
        let _ = writeln!(text, "  {:<12} {}: {} of {asked} would have ended differently", "shadow", shadow.policy, shadow.differs);
    }
    for order in &status.suspensions {
        let when = words::ahead(order.until, now);
        let _ = writeln!(text, "! mail to {} is suspended, goes {when}: {} ({})", order.to, order.reason, order.by);
    }
    for kept in &status.kept {
        let deliveries = words::counted(kept.deliveries, "delivery");
        let (word, until) = match kept.state {
            State::Quarantined => ("quarantined", String::new()),
            _ => ("held", kept.until.map(|until| format!(", goes {}", words::ahead(until, now))).unwrap_or_default()),
        };
        let _ = writeln!(text, "! {deliveries} {word}{until}: {}", kept.reason);
    }
    if status.decisions.lost > 0 {
        let lost = words::counted(status.decisions.lost, "line");
        let _ = writeln!(
            text,
            "! the decision log lost {lost} about messages that were let through: raise decisions.buffer, or decisions.on_full = \"block\""
        );
    }
    if let Some(why) = &generation.refused {
        let _ = writeln!(text, "! the last reload changed nothing: {}", why.trim_start_matches("nothing was changed: "));
    }
    if let Some(trouble) = &status.trouble {
        let _ = writeln!(text, "! it takes and delivers no mail: {trouble}");
    }
    text
}
