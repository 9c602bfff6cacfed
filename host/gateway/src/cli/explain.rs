//! `secmx explain`: what happened to a message, and why.

use super::queue::path_of;
use super::remote::Asking;
use super::{Exit, words};
use crate::control::explain::Explained;
use anyhow::Result;
use hyper::Method;
use jiff::Timestamp;
use serde_json::Value;
use std::fmt::Write;

/// Below the help.
pub(super) const HELP: &str = "\
What the gateway did with a message from the connection it came in by to its last recipient, also when it is long gone: the newest lines of
the log about messages are kept beside the queue (`history.keep`).

Examples
  secmx explain 01JD9W3K7Q8Z
  secmx explain 01JD9W3K7Q8Z --dialogue
  secmx explain 01JD9W3K7Q8Z --json";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    asking: Asking,
    /// Queue id, such as 01JD9W3K7Q8Z
    id: String,
    /// With what was said on the wire, but for the content
    #[arg(long)]
    dialogue: bool,
}

/// Asks and tells.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let path = format!("/explain/{}", path_of(&options.id));
    options.asking.tell(Method::GET, &path, |explained: Explained| text(&explained, options.dialogue, Timestamp::now()))
}

fn text(explained: &Explained, dialogue: bool, now: Timestamp) -> String {
    let mut text = format!("{}  {}\n", explained.id, outcome(explained, now));
    for event in &explained.events {
        let time = event["time"].as_str().unwrap_or_default();
        let time = time.get(..23).unwrap_or(time).replacen('T', " ", 1);
        if event["event"] == "attempt.dialogue" {
            if dialogue {
                text.extend(strings(event, "lines").map(|line| format!("{:25}  {line}\n", "")));
            }
        } else if let Some(words) = in_words(event) {
            let _ = writeln!(text, " {time}  {words}");
        }
    }
    if explained.events.is_empty() {
        text.push_str(" nothing is remembered of how it came here\n");
    }
    if explained.left_out > 0 {
        let _ =
            writeln!(text, " {} of messages could not be remembered since the gateway began", words::counted(explained.left_out, "line"));
    }
    for delivery in explained.queued.iter().flat_map(|queued| &queued.deliveries) {
        text.push_str(&super::queue::line(&delivery.entry, now));
    }
    text
}

/// How it ended, or stands.
fn outcome(explained: &Explained, now: Timestamp) -> String {
    if let Some(queued) = &explained.queued {
        return format!("in the queue, accepted {} ago", words::ago(queued.message.arrived, now));
    }
    let last = |name: &str| explained.events.iter().any(|event| event["event"] == name);
    let ends: Vec<&str> =
        [("message.delivered", "delivered"), ("message.returned", "returned to the sender"), ("message.discarded", "dropped")]
            .into_iter()
            .filter(|(name, _)| last(name))
            .map(|(_, word)| word)
            .collect();
    let deleted = explained
        .events
        .iter()
        .any(|event| event["event"] == "message.handled" && event["action"].as_str().is_some_and(|action| action.ends_with("delete")));
    match (&ends[..], deleted) {
        ([], true) => "deleted".to_owned(),
        ([], false) => "gone".to_owned(),
        (ends, _) => ends.join(", in part "),
    }
}

fn strings<'a>(event: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    event[key].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// One event as a line. `None` for what says nothing about the message.
fn in_words(event: &Value) -> Option<String> {
    let of = |key: &str| event[key].as_str().unwrap_or_default();
    let list = |key: &str| strings(event, key).collect::<Vec<_>>().join(", ");
    Some(match of("event") {
        "session.open" => format!("connected   {} from {} ({})", of("listener"), of("client"), of("role")),
        "session.secured" => format!("secured     {}", channel(&event["channel"])),
        "session.authenticated" => format!("known as    {} ({})", of("user"), of("mechanism")),
        "policy.ruled" => {
            let code = event["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
            let shadow = if event["shadow"] == true { "shadow " } else { "" };
            format!("policy      {shadow}{} {} → {}{code}  {} µs", of("policy"), of("question"), of("ruling"), event["us"])
        }
        "policy.fault" => format!("policy      {} failed: {}", of("policy"), of("detail")),
        "policy.log" => format!("policy      {} says: {}", of("policy"), of("text")),
        "session.refused" => format!("refused     {}", reply(&event["reply"])),
        "message.queued" => format!(
            "queued      from <{}>, {}, {} octets",
            of("reverse_path"),
            words::counted(event["recipients"].as_u64().unwrap_or(0), "recipient"),
            event["octets"]
        ),
        "message.journalled" => format!("copied to journal {}, record {}", of("journal"), event["number"]),
        "message.quarantined" => format!("quarantined {}", of("code")),
        "message.handled" => format!("{:<11} by {}: {}", of("action"), of("user"), of("reason")),
        "delivery.discovered" => format!("discovered  {}: SRV {}, MX {}: {}", of("domain"), of("secmx"), of("mx"), list("exchangers")),
        "delivery.alias" => format!("alias       {} is {}", of("exchanger"), of("target")),
        "attempt.failed" => format!("attempt     {} ({})", failure(&event["failure"]), of("role")),
        "message.deferred" => format!("deferred    {}: {}; again {}", list("recipients"), failure(&event["failure"]), of("next")),
        "message.delivered" => format!(
            "delivered   {} to {} [{}], {}: {}",
            list("recipients"),
            of("exchanger"),
            of("address"),
            channel(&event["channel"]),
            reply(&event["reply"])
        ),
        "message.returned" => format!(
            "returned    {}: {}{}",
            list("recipients"),
            failure(&event["failure"]),
            event["bounce"].as_str().map(|id| format!("; notice {id}")).unwrap_or_default()
        ),
        _ => return None,
    })
}

fn channel(channel: &Value) -> String {
    match (channel["tls"]["version"].as_str(), channel["tls"]["cipher"].as_str()) {
        (Some(version), Some(cipher)) => format!("{version} {cipher}, level {}", channel["level"].as_str().unwrap_or("unknown")),
        _ => "in the clear".to_owned(),
    }
}

/// As [`secmx_core::report::Reply`] words it.
fn reply(reply: &Value) -> String {
    serde_json::from_value::<secmx_core::report::Reply>(reply.clone()).map_or_else(|_| reply.to_string(), |reply| reply.to_string())
}

/// As [`secmx_core::report::Failure`] words it, of what the log holds.
fn failure(failure: &Value) -> String {
    serde_json::from_value::<secmx_core::report::Failure>(failure.clone())
        .map_or_else(|_| failure.to_string(), |failure| failure.to_string())
}
