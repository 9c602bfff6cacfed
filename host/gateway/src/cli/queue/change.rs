//! `secmx queue hold`, `release`, `retry`, `bounce`, `delete`: counted first, then asked, then done.

use super::super::remote::{Asking, Remote, Told, say_json};
use super::super::{Exit, hint, say, words};
use crate::control::queue::{Action, Change, Changed};
use crate::control::selector::Selector;
use anyhow::Result;
use hyper::Method;
use secmx_policy::units;
use std::io::Write;
use std::time::Duration;

/// Below the help of `hold`.
pub(super) const HOLD: &str = "\
An attempt under way is finished. `secmx status` lists what is held.

Example: secmx queue hold --from ana@agency.example --for 4h --reason 'ticket 812: is her account stolen?'";

/// Below the help of `release`.
pub(super) const RELEASE: &str = "\
What a policy quarantined is for `secmx quarantine release`, which asks the other policies first.

Example: secmx queue release --kept 'ticket 812*' --reason 'ticket 812: it was not'";

/// Below the help of `retry`.
pub(super) const RETRY: &str = "\
Destinations keep their share of connections, so many messages to one of them still go one after the other.

Example: secmx queue retry --to @health.example --reason 'they fixed their TLSA record'";

/// Below the help of `bounce`.
pub(super) const BOUNCE: &str = "\
The notice is that of any other delivery that failed (RFC 3464). Nobody is told about mail with a null reverse-path.

Example: secmx queue bounce 01JD9W3K7Q8Z --tell 'health.example has closed' --reason 'ticket 815'";

/// Below the help of `delete`.
pub(super) const DELETE: &str = "\
It cannot be undone, and the sender is not told: `secmx queue bounce` does that. Every message is named in the log with your user.

Example: secmx queue delete --from '<>' --older 3d --reason 'bounces of the forged run of Tuesday'";

/// What is changed, and why.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    asking: Asking,
    #[command(flatten)]
    selector: Selector,
    /// Why; the audit log keeps it
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    reason: Option<String>,
    /// Only count what matches
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Counts, asks, does.
pub(in crate::cli) fn run(options: &Options, action: Action, tell: Option<String>, time: Option<Duration>) -> Result<Exit> {
    let remote = options.asking.server.remote()?;
    let change = Change {
        action,
        selector: options.selector.clone(),
        reason: options.reason.clone().unwrap_or_default(),
        tell,
        for_s: time.map(|time| time.as_secs()),
        dry_run: true,
    };
    if options.dry_run {
        let answer = remote.ask(Method::POST, "/queue/change", Some(&change))?;
        return if options.asking.json { say_json(&answer) } else { say(&counted(&answer.read()?)) };
    }
    if !options.yes {
        let count: Changed = remote.ask(Method::POST, "/queue/change", Some(&change))?.read()?;
        if count.matched == 0 {
            return Err(Told::new(Exit::NotFound, format!("nothing matches{}", left_out(&count))).into());
        }
        if !is_agreed(&format!("{} {action} now?", counted(&count)))? {
            return Err(Told::new(Exit::No, "nothing was changed").into());
        }
    }
    perform(&remote, &Change { dry_run: false, ..change }, options.asking.json)
}

fn perform(remote: &Remote, change: &Change, json: bool) -> Result<Exit> {
    let answer = remote.ask_patiently(Method::POST, "/queue/change", Some(change))?;
    let changed: Changed = answer.read()?;
    if json {
        say_json(&answer)?;
    } else {
        say(&format!("{}: {}\n", words::past(change.action), words::counted(changed.done, "delivery")))?;
        for stopped in &changed.stopped {
            let by = stopped.policy.as_ref().map(|policy| format!("{policy}: ")).unwrap_or_default();
            let code = stopped.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            say(&format!("{} stays in quarantine: {by}{}{code}\n", stopped.id, stopped.text))?;
        }
        if changed.under_way > 0 {
            hint(&format!("{} under way right now and left as it was; try again\n", words::counted(changed.under_way, "delivery")));
        }
    }
    Ok(if changed.matched == 0 {
        Exit::NotFound
    } else if !changed.stopped.is_empty() {
        Exit::No
    } else if changed.under_way > 0 {
        Exit::CannotTell
    } else {
        Exit::Yes
    })
}

/// How many match, in one line.
fn counted(count: &Changed) -> String {
    let deliveries =
        if count.matched == count.messages { String::new() } else { format!(" ({})", words::counted(count.matched, "delivery")) };
    let verb = if count.messages == 1 { "matches" } else { "match" };
    format!("{}{deliveries} {verb}, {}{}\n", words::counted(count.messages, "message"), units::octets(count.octets), left_out(count))
}

fn left_out(count: &Changed) -> String {
    match count.left_out {
        0 => String::new(),
        some => format!(
            "; {} left out, because of how {} (`secmx queue list` tells)",
            words::counted(some, "delivery"),
            if some == 1 { "it stands" } else { "they stand" }
        ),
    }
}

/// Whether the answer to a question is yes. An end of input is none.
pub(in crate::cli) fn is_agreed(question: &str) -> Result<bool> {
    hint(&format!("{} [y/N] ", question.replacen("\n ", ". ", 1)));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
