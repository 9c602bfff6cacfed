//! `secmx route`: where and how would this recipient's mail go, and why?

use super::look::{Look, Marks, configuration, exit, mailbox};
use super::probe::{Style, published};
use super::{Exit, Origin, runtime, say, words};
use crate::diagnosis::Comes;
use crate::diagnosis::route::{self, Question, Route};
use crate::outbound::Scout;
use anyhow::Result;
use secmx_core::channel::{Level, TlsUse};
use secmx_core::mail::Mailbox;
use secmx_core::role::SenderRole;
use std::fmt::Write;
use std::time::Duration;

/// Below the help.
pub(super) const HELP: &str = "\
Rules, sender policies, discovery and floors, by the code and the configuration that deliver mail. DNS is asked, no host is called, nothing
is sent. What a host would really prove is `secmx probe`'s to say.

Ends with 0 when there is somebody to try, with 1 when there is nobody whom this mail may go to, with 3 when there is no such domain or it
takes no mail, with 6 when that cannot be told now.

Examples
  secmx route bo@health.example --from ana@agency.example -c secmx.toml
  secmx route bo@health.example --from '<>' --requiretls --json";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    origin: Origin,
    /// The recipient, such as bo@health.example
    #[arg(value_parser = mailbox)]
    to: Mailbox,
    /// Who sends, such as ana@agency.example; '<>' is a notice
    #[arg(long, value_name = "ADDRESS", default_value = "<>", value_parser = sender)]
    from: Sender,
    /// As if MAIL said REQUIRETLS (RFC 8689)
    #[arg(long)]
    requiretls: bool,
    #[command(flatten)]
    look: Look,
}

/// Who sends; nobody for a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sender(Option<Mailbox>);

fn sender(text: &str) -> Result<Sender, String> {
    if text.is_empty() || text == "<>" { Ok(Sender(None)) } else { mailbox(text).map(|from| Sender(Some(from))) }
}

/// Asks and tells.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let config = configuration(&options.origin)?;
    let question = Question { from: options.from.0.clone(), to: options.to.clone(), require_tls: options.requiretls };
    let found = runtime()?.block_on(async { anyhow::Ok(route::route(&Scout::new(config)?, &question).await) })?;
    say(&if options.look.json { serde_json::to_string_pretty(&found)? + "\n" } else { text(&found, options.look.marks()) })?;
    Ok(exit(found.answer))
}

fn text(route: &Route, marks: Marks) -> String {
    let mut text = String::new();
    let why = match (route.way, &route.next_hop, &route.rule) {
        ("inside", Some(hop), _) => format!("inside, to {hop}: the domain is ours"),
        (_, Some(hop), Some(rule)) => format!("to {hop}: rule {rule:?}"),
        (_, _, Some(rule)) => format!("rule {rule:?}"),
        _ => "no rule names it".to_owned(),
    };
    let floor = if route.floor == Level::Plain { String::new() } else { format!(", level {} or better", route.floor) };
    let _ = writeln!(text, " 1 role        {}{floor}   {why}", route.role);
    let said: Vec<String> = route
        .policies
        .iter()
        .map(|said| {
            format!(
                "{} {} {}{}",
                said.policy,
                marks.leads,
                said.ruling,
                said.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default()
            )
        })
        .collect();
    let content =
        if route.content.is_empty() { String::new() } else { format!("; on the message, not asked here: {}", route.content.join(", ")) };
    let _ = writeln!(text, " 2 policies    {}{content}", if said.is_empty() { "none was asked".to_owned() } else { said.join("; ") });
    let _ = writeln!(text, " 3 discover    {}", if route.found.is_empty() { "nothing to look for" } else { "" });
    let style = Style { transcript: false, times: false, marks };
    route.found.iter().for_each(|found| published(found, style, &mut text));
    for note in &route.notes {
        let _ = writeln!(text, "  {} {note}", marks.odd);
    }
    let _ = writeln!(text, " 4 verify");
    for (place, it) in route.tries.iter().enumerate() {
        let (how, needs) = match (it.tls, it.needs) {
            (TlsUse::Without, _) => ("in plaintext", String::new()),
            (TlsUse::Implicit, needs) => ("TLS", format!(", level {needs} or better")),
            (_, needs) => ("STARTTLS", format!(", level {needs} or better")),
        };
        let by = match (it.tlsa.first(), it.vouched) {
            (Some(record), _) => format!("; DANE {}", record.split(' ').take(3).collect::<Vec<_>>().join(" ")),
            (None, Some(who)) => format!("; {who}"),
            (None, None) => String::new(),
        };
        let _ = writeln!(text, "   {:>2} {}:{} ({})  {how}{needs}{by}", place + 1, it.host, it.port, it.source);
    }
    text.push_str(&result(route));
    text
}

fn result(route: &Route) -> String {
    let expire = words::span(Duration::from_secs(route.expire_s));
    match (&route.ends, route.tries.first()) {
        (Some(end), _) => {
            let why = end.trouble.as_ref().map(|trouble| format!("{} {}", trouble.status, trouble.text)).unwrap_or_default();
            let how = match end.comes {
                Comes::Bounced => "would be bounced at once",
                Comes::Waits => "would wait and be tried again",
                Comes::Delivered => "would be delivered",
            };
            format!(" result        {how}: {why}\n")
        }
        (None, Some(first)) => {
            let plain = match (route.role, route.tries.iter().any(|it| it.tls == TlsUse::Without)) {
                (SenderRole::SecureOnly, _) | (_, false) => "never in plaintext",
                (_, true) => "in plaintext where TLS is not to be had",
            };
            format!(
                " result        would be tried now, first at {}:{}; {plain}; if all fail: again, for {expire} in all, then bounced\n",
                first.host, first.port
            )
        }
        (None, None) => " result        nobody to try\n".to_owned(),
    }
}
