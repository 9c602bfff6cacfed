//! `secmx queue show`: one message as it stands.

use super::super::remote::Asking;
use super::super::{Exit, words};
use super::list;
use crate::control::queue::Shown;
use anyhow::Result;
use hyper::Method;
use jiff::Timestamp;
use secmx_policy::units;
use std::fmt::Write;

/// Below the help.
pub(super) const HELP: &str = "\
What happened to it so far, and to messages that are gone, `secmx explain ID` tells.

Example: secmx queue show 01JD9W3K7Q8Z";

/// Asks and tells.
pub(in crate::cli) fn run(asking: &Asking, id: &str) -> Result<Exit> {
    asking.tell(Method::GET, &format!("/queue/messages/{}", path_of(id)), |shown: Shown| text(&shown, Timestamp::now()))
}

/// An id as it may stand in a path. What is none is refused there.
pub(in crate::cli) fn path_of(id: &str) -> String {
    id.bytes().map(|octet| if octet.is_ascii_alphanumeric() { char::from(octet).to_string() } else { format!("%{octet:02X}") }).collect()
}

fn text(shown: &Shown, now: Timestamp) -> String {
    let message = &shown.message;
    let from = message.envelope.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{}  {}  accepted {} ago\n", message.id, units::octets(message.octets), words::ago(message.arrived, now));
    let origin = &message.origin;
    let client = origin.client.map(|client| format!(" from {client}")).unwrap_or_default();
    let user = origin.user.as_ref().map(|user| format!(", user {user}")).unwrap_or_default();
    let tls = origin.channel.tls.as_ref().map_or_else(|| "in the clear".to_owned(), |tls| format!("{} {}", tls.version, tls.cipher));
    let _ = writeln!(text, "  {:<10} <{from}>\n  {:<10} {}{client}, {tls}{user}", "from", "came in", origin.listener);
    if !message.tags.is_empty() {
        let tags: Vec<String> = message.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let _ = writeln!(text, "  {:<10} {}", "tags", tags.join(", "));
    }
    for delivery in &shown.deliveries {
        let _ = write!(text, "\n{}", list::line(&delivery.entry, now));
        let more: Vec<&str> = delivery.entry.to.iter().map(String::as_str).collect();
        let _ = writeln!(text, "{:>15}{}, at least {}", "", more.join(", "), delivery.floor);
        for answer in &delivery.answers {
            let _ = writeln!(text, "{:>15}- {answer}", "");
        }
        if let Some(started) = &delivery.started {
            let _ = writeln!(text, "{:>15}going out to {} since {}", "", started.exchanger, words::ago(started.at, now));
        }
    }
    let _ = write!(text, "\n{}", shown.header);
    text
}
