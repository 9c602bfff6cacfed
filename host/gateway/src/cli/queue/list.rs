//! `secmx queue list` and `secmx queue top`.

use super::super::remote::{Asking, Remote, duration, say_json};
use super::super::{Exit, say, words};
use crate::control::queue::{DestinationRow, Destinations, Entries, Entry, Listing, State};
use crate::control::selector::Selector;
use anyhow::Result;
use hyper::Method;
use jiff::Timestamp;
use secmx_core::queue::DeliveryKey;
use secmx_policy::units;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

/// Below the help of `list`.
pub(super) const HELP: &str = "\
Without a selector everything is listed. A message whose recipients travel apart has one line for each of its deliveries.
What is listed comes a page at a time; nothing holds the whole queue in memory.

Examples
  secmx queue list --by destination
  secmx queue list --to @health.example --older 2h
  secmx queue list --error certificate --jsonl";

/// Below the help of `top`.
pub(super) const TOP: &str = "\
Ends with control-C. Where standard output is no terminal it tells once and ends.

Examples
  secmx queue top --every 5s
  secmx queue top --once --json";

/// What is listed.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    selector: Selector,
    /// Count by destination instead of listing
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["ids", "to", "from", "older", "role", "error", "kept", "jsonl"])]
    by: Option<By>,
    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: usize,
    /// One JSON object a line, as they come
    #[arg(long, conflicts_with = "json")]
    jsonl: bool,
}

/// What is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// The domain of the recipients.
    Destination,
}

/// How it is watched.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Top {
    #[command(flatten)]
    asking: Asking,
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    every: Duration,
    /// Look once
    #[arg(long)]
    once: bool,
    /// How many destinations at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
}

/// Lists.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let remote = options.asking.server.remote()?;
    match options.by {
        Some(By::Destination) => {
            let answer = remote.ask(Method::GET, &format!("/queue/destinations?limit={}", options.limit), None::<&()>)?;
            if options.asking.json { say_json(&answer) } else { say(&table(&answer.read()?, Timestamp::now())) }
        }
        None => {
            let listing = Listing { selector: options.selector.clone(), after: None, limit: options.limit, quarantined: false };
            if options.asking.json { entries_json(&remote, listing) } else { lines_of(&remote, listing, options.jsonl) }
        }
    }
}

/// Asks for page after page until there are as many as wanted. Gives whether there are more.
fn pages(remote: &Remote, mut listing: Listing, mut each: impl FnMut(&Entry) -> Result<()>) -> Result<(usize, bool)> {
    let (wanted, mut count) = (listing.limit, 0);
    loop {
        listing.limit = wanted - count;
        let page: Entries = remote.ask(Method::POST, "/queue/list", Some(&listing))?.read()?;
        for entry in &page.entries {
            each(entry)?;
        }
        count += page.entries.len();
        listing.after = page.after;
        if listing.after.is_none() || count >= wanted {
            return Ok((count, listing.after.is_some()));
        }
    }
}

/// One object, schema `secmx/queue-list/v1`, written as the pages come.
pub(in crate::cli) fn entries_json(remote: &Remote, listing: Listing) -> Result<Exit> {
    let mut between = "{\"schema\":\"secmx/queue-list/v1\",\"entries\":[";
    let (_, more) = pages(remote, listing, |entry| {
        say(&format!("{between}{}", serde_json::to_string(entry)?))?;
        between = ",";
        Ok(())
    })?;
    let empty = if between == "," { "" } else { between };
    say(&format!("{empty}],\"more\":{more}}}\n"))
}

/// Lines for people, or objects of schema `secmx/queue-entry/v1`, written as the pages come.
pub(in crate::cli) fn lines_of(remote: &Remote, listing: Listing, as_objects: bool) -> Result<Exit> {
    let now = Timestamp::now();
    let limit = listing.limit;
    let (count, more) = pages(remote, listing, |entry| {
        let object = |entry: &Entry| {
            Ok::<_, anyhow::Error>(serde_json::to_string(entry)?.replacen('{', "{\"schema\":\"secmx/queue-entry/v1\",", 1) + "\n")
        };
        say(&if as_objects { object(entry)? } else { line(entry, now) }).map(drop)
    })?;
    if !as_objects && more {
        super::super::hint(&format!("there are more than {limit}: --limit NUMBER, or a selector\n"));
    }
    if !as_objects && count == 0 {
        super::super::hint("nothing matches\n");
    }
    Ok(Exit::Yes)
}

/// One delivery, and what was answered the last time.
pub(in crate::cli) fn line(entry: &Entry, now: Timestamp) -> String {
    let key = name(DeliveryKey { id: entry.id, number: entry.number });
    let state = match entry.state {
        State::Waiting if entry.attempts == 0 => format!("next {}", words::ahead(entry.next, now)),
        State::Waiting => format!("tried {}, next {}", words::times(entry.attempts), words::ahead(entry.next, now)),
        State::Held => format!(
            "held{}: {}",
            entry.until.map(|until| format!(", goes {}", words::ahead(until, now))).unwrap_or_default(),
            entry.reason.as_deref().unwrap_or_default()
        ),
        State::Quarantined => {
            format!("quarantined: {} ({})", entry.reason.as_deref().unwrap_or_default(), entry.code.as_deref().unwrap_or_default())
        }
    };
    let age = words::ago(entry.arrived, now);
    let mut text = format!(
        "{key:<14} {age:>7}  {:<3}  {:>8}  <{}> → {}\n{:>15}{state}\n",
        entry.role.to_string(),
        units::octets(entry.octets),
        entry.from,
        to(entry),
        ""
    );
    if let Some(last) = &entry.last {
        let _ = writeln!(text, "{:>15}{last}", "");
    }
    text
}

/// The first recipients.
fn to(entry: &Entry) -> String {
    match &entry.to[..] {
        [] => String::new(),
        [only] => format!("<{only}>"),
        [first, rest @ ..] => format!("<{first}> and {} more", rest.len()),
    }
}

/// As it is named in a selector.
pub(super) fn name(key: DeliveryKey) -> String {
    format!("{}/{}", key.id, key.number)
}

/// Destinations, one a line.
fn table(found: &Destinations, now: Timestamp) -> String {
    let mut text = format!(
        " {:<34} {:<4} {:>8} {:>6} {:>5}  {:<8} {:<10} {}\n",
        "destination", "role", "waiting", "kept", "open", "oldest", "next try", "last answer"
    );
    for row in &found.destinations {
        let _ = writeln!(
            text,
            " {:<34} {:<4} {:>8} {:>6} {:>5}  {:<8} {:<10} {}",
            row.domain,
            row.role.map(|role| role.to_string()).unwrap_or_default(),
            row.waiting,
            row.kept,
            row.under_way,
            words::ago(row.oldest, now),
            next(row, now),
            row.last.as_deref().unwrap_or("–"),
        );
    }
    let _ = writeln!(text, " {}, {}", words::counted(found.messages, "message"), units::octets(found.octets));
    text
}

fn next(row: &DestinationRow, now: Timestamp) -> String {
    match (row.suspended_until, row.next) {
        (Some(until), _) => format!("paused {}", words::ahead(until, now).trim_start_matches("in ")),
        (None, Some(next)) => words::ahead(next, now),
        (None, None) => "–".to_owned(),
    }
}

/// Tells how much waits for whom, again and again on a terminal.
pub(super) fn watch(top: &Top) -> Result<Exit> {
    let remote = top.asking.server.remote()?;
    let once = top.once || top.asking.json || !std::io::stdout().is_terminal();
    loop {
        let answer = remote.ask(Method::GET, &format!("/queue/destinations?limit={}", top.limit), None::<&()>)?;
        if top.asking.json {
            return say_json(&answer);
        }
        // Home, the new lines, and away with what is left of the old ones.
        let screen = |text: String| if once { text } else { format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n")) };
        say(&screen(table(&answer.read()?, Timestamp::now())))?;
        if once {
            return Ok(Exit::Yes);
        }
        std::thread::sleep(top.every);
    }
}
