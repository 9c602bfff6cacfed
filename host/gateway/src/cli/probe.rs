//! `secmx probe`: what is this domain, and how securely can mail reach it?

use super::look::{Look, Marks, configuration, domain, exit, level, role};
use super::{Exit, Origin, runtime, say};
use crate::diagnosis::probe::{self, Call, Host, Outcome, Probe, Question};
use crate::diagnosis::{Comes, Found};
use crate::outbound::Scout;
use anyhow::Result;
use secmx_core::channel::{Level, Requirement};
use secmx_core::mail::Domain;
use secmx_core::role::SenderRole;
use std::fmt::Write;

/// Below the help.
pub(super) const HELP: &str = "\
It asks DNS, fetches the domain's policy, and calls its hosts up to where a message would go out, with the code and the configuration that
deliver mail. Nothing is sent. Without -c it is what a gateway without a file would do.

Ends with 0 when mail of a secure only sender gets there (of the role that --as names), with 1 when it does not, with 3 when there is no such
domain or it takes no mail, with 6 when that cannot be told now.

Examples
  secmx probe health.example
  secmx probe health.example --as BES
  secmx probe health.example --require domain --json
  secmx probe health.example --transcript";

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    from: Origin,
    /// The mail domain, such as health.example
    #[arg(value_parser = domain)]
    domain: Domain,
    /// The sender role that the answer is about: BES or SOS
    #[arg(long = "as", value_name = "ROLE", default_value = "SOS", value_parser = role)]
    role: SenderRole,
    /// What must be reached at least: encrypted, host or domain
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    require: Option<Level>,
    /// Ask DNS, and call nobody
    #[arg(long)]
    dns_only: bool,
    /// With what was said on the wire
    #[arg(long)]
    transcript: bool,
    #[command(flatten)]
    look: Look,
}

/// Asks and tells.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let config = configuration(&options.from)?;
    let floor = Requirement::at_least(options.require.unwrap_or_default());
    let question = Question { domain: options.domain.clone(), role: options.role, floor, dns_only: options.dns_only };
    let found = runtime()?.block_on(async { anyhow::Ok(probe::probe(&Scout::new(config)?, &question).await) })?;
    let text = if options.look.json {
        serde_json::to_string_pretty(&found)? + "\n"
    } else {
        text(&found, options.transcript, options.look.marks())
    };
    say(&text)?;
    Ok(exit(found.answer))
}

fn text(probe: &Probe, transcript: bool, marks: Marks) -> String {
    let mut text = format!("{}   {}\n\n  {:<66} DNSSEC\n", probe.domain, probe.role, "found");
    probe.found.iter().for_each(|found| published(found, marks, &mut text));
    for note in &probe.notes {
        let _ = writeln!(text, "  {} {note}", marks.odd);
    }
    for host in &probe.hosts {
        self::host(host, transcript, marks, &mut text);
    }
    if !probe.outcomes.is_empty() {
        text.push_str("\n  What would happen to mail\n");
        probe.outcomes.iter().for_each(|outcome| self::outcome(outcome, marks, &mut text));
    }
    text
}

pub(super) fn published(found: &Found, marks: Marks, text: &mut String) {
    let mark = match found.answer {
        "found" => marks.good,
        "none" | "denied" => marks.none,
        _ => marks.bad,
    };
    let shown = match (found.kind, found.records.as_slice(), &found.why) {
        (_, [], Some(why)) => vec![format!("{}: {why}", found.answer)],
        (_, [], None) => vec![found.answer.to_owned()],
        ("MTA-STS", lines, _) => vec![lines.iter().filter(|line| !line.starts_with("version")).cloned().collect::<Vec<_>>().join(", ")],
        (_, records, _) => records.to_vec(),
    };
    let evidence = if found.evidence == "https" { "(https)" } else { found.evidence };
    for (place, line) in shown.iter().enumerate() {
        let (mark, kind, evidence) = if place == 0 { (mark, found.kind, evidence) } else { (" ", "", "") };
        let _ = writeln!(text, "{}", format!("  {mark} {kind:<8} {line:<55} {evidence}").trim_end());
    }
}

fn host(host: &Host, transcript: bool, marks: Marks, text: &mut String) {
    let at = host.tls.first().map(|call| format!("  [{}]", call.address)).unwrap_or_default();
    let _ = writeln!(text, "\n  {}:{}{at}   {} ({} {})", host.name, host.port, host.role, host.source, host.preference);
    if let Some(barred) = &host.barred {
        let _ = writeln!(text, "  {} not used       {} {}", marks.bad, barred.status, barred.text);
    }
    for call in &host.tls {
        over_tls(call, host, marks, text);
        said(call, transcript, text);
    }
    for call in &host.without_tls {
        let srv = host.source.starts_with("SRV");
        let (mark, words) = match (&call.trouble, srv) {
            (None, true) => (marks.bad, "accepted                 not as a SOR should".to_owned()),
            (None, false) => (marks.none, "accepted                 allowed for a BER".to_owned()),
            (Some(trouble), true) => (marks.good, trouble.text.clone()),
            (Some(trouble), false) => (marks.none, trouble.text.clone()),
        };
        let _ = writeln!(text, "  {mark} without TLS    {words}");
        said(call, transcript, text);
    }
}

fn over_tls(call: &Call, host: &Host, marks: Marks, text: &mut String) {
    let Some(channel) = &call.channel else {
        let (status, why) = call.trouble.as_ref().map_or(("", "nothing was shown"), |trouble| (&trouble.status, &trouble.text));
        let _ = writeln!(text, "  {} STARTTLS       {why} {status}", marks.bad);
        return;
    };
    let tls = format!("{}, {}, {}", channel.version, channel.cipher, channel.group);
    let _ = writeln!(text, "  {} STARTTLS       {tls}   {} ms", marks.good, call.took_ms);
    let until = channel.certificate.as_ref().and_then(|shown| shown.not_after).map(|end| format!(", until {end:.0}")).unwrap_or_default();
    let who = match &channel.doubt {
        Some(doubt) => format!("{doubt}{until}"),
        None => format!("{}{until}", call.proof.unwrap_or_default()),
    };
    let level = call.level.unwrap_or_default();
    let enough = channel.doubt.is_none() && level >= host.floor;
    let _ = writeln!(text, "  {} who it is      level {level}: {who}", if enough { marks.good } else { marks.bad });
    for record in &host.tlsa {
        let _ = writeln!(text, "                   TLSA {}", record.chars().take(30).collect::<String>());
    }
}

fn said(call: &Call, transcript: bool, text: &mut String) {
    if transcript {
        call.dialogue.iter().for_each(|line| _ = writeln!(text, "      {line}"));
    }
}

fn outcome(outcome: &Outcome, marks: Marks, text: &mut String) {
    let (by, why) = (outcome.by.as_deref().unwrap_or_default(), outcome.trouble.as_ref());
    let why = why.map(|trouble| format!("{}: {}", trouble.status, trouble.text)).unwrap_or_default();
    let words = match outcome.comes {
        Comes::Delivered => format!("{by}, level {}: {}", outcome.level.unwrap_or_default(), outcome.proof.unwrap_or_default()),
        Comes::Bounced => format!("bounced {why}"),
        Comes::Waits => format!("waits and is tried again; {why}"),
    };
    let _ = writeln!(text, "    {}  {} {words}", outcome.role, marks.leads);
    let others: Vec<&str> = outcome.secure.iter().map(String::as_str).filter(|host| *host != by).collect();
    if outcome.comes == Comes::Delivered {
        let then = if others.is_empty() { String::new() } else { format!("otherwise {} over TLS; ", others.join(", ")) };
        let plain = if outcome.plaintext.is_empty() {
            "plaintext never".to_owned()
        } else {
            format!("plaintext to {}", outcome.plaintext.join(", "))
        };
        let _ = writeln!(text, "         {then}{plain}");
    }
}
