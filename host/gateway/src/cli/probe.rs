//! `secmx probe`: what is this domain, and how securely can mail reach it?

use super::look::{Look, Marks, configuration, domain, exit, level, name_server, role};
use super::remote::duration;
use super::{Exit, Origin, runtime, say};
use crate::config::{Config, Dnssec};
use crate::diagnosis::probe::{self, Call, Compared, Host, Outcome, Probe, Question};
use crate::diagnosis::{Comes, Found};
use crate::outbound::Scout;
use anyhow::{Context, Result};
use jiff::Timestamp;
use secmx_core::channel::{Level, Requirement};
use secmx_core::mail::Domain;
use secmx_core::role::SenderRole;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

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
  secmx probe health.example --transcript
  secmx probe health.example --compare 192.0.2.53   does another resolver say the same?
  secmx probe health.example --watch 10m            again and again until Ctrl-C; printed when it changed";

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
    /// Ask another DNS resolver too, and say where it differs
    #[arg(long, value_name = "RESOLVER", value_parser = name_server)]
    compare: Option<SocketAddr>,
    /// Ask again after each such time, and print it when it changed; with --json each time, on one line
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    watch: Option<Duration>,
    #[command(flatten)]
    look: Look,
}

/// Asks and tells.
pub(super) fn run(options: &Options) -> Result<Exit> {
    let config = configuration(&options.from)?;
    runtime()?.block_on(async {
        let Some(interval) = options.watch else {
            let found = ask(&config, options).await?;
            let text = if options.look.json { serde_json::to_string_pretty(&found)? + "\n" } else { show(&found, options, true) };
            say(&text)?;
            return Ok(exit(found.answer));
        };
        watch(&config, options, interval).await
    })
}

/// Once. Each time with a memory of its own, so that what is told is what is there.
async fn ask(config: &Config, options: &Options) -> Result<Probe> {
    let floor = Requirement::at_least(options.require.unwrap_or_default());
    let question = Question { domain: options.domain.clone(), role: options.role, floor, dns_only: options.dns_only };
    let mut found = probe::probe(&Scout::new(config.clone())?, &question).await;
    if let Some(resolver) = options.compare {
        let mut theirs = config.clone();
        theirs.dns.resolvers = vec![resolver];
        if theirs.dns.dnssec == Dnssec::TrustAd {
            theirs.dns.dnssec = Dnssec::Validate;
        }
        let (_, told) = probe::look_up(&Scout::new(theirs)?, &options.domain).await;
        found.compare(resolver.to_string(), told);
    }
    Ok(found)
}

/// Until Ctrl-C; the code is that of the last answer.
async fn watch(config: &Config, options: &Options, interval: Duration) -> Result<Exit> {
    let mut last = String::new();
    loop {
        let found = ask(config, options).await?;
        let latest = show(&found, options, false);
        if options.look.json {
            say(&(serde_json::to_string(&found)? + "\n"))?;
        } else if latest != last {
            say(&format!("{:.0}\n{}\n", Timestamp::now(), show(&found, options, true)))?;
        }
        last = latest;
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            ended = tokio::signal::ctrl_c() => return ended.map(|()| exit(found.answer)).context("cannot wait for Ctrl-C"),
        }
    }
}

/// As text. `whole` has times and dialogues in it, which are never twice the same.
fn show(probe: &Probe, options: &Options, whole: bool) -> String {
    text(probe, Style { transcript: options.transcript && whole, times: whole, marks: options.look.marks() })
}

/// What of it is shown, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) transcript: bool,
    pub(super) times: bool,
    pub(super) marks: Marks,
}

fn text(probe: &Probe, style: Style) -> String {
    let marks = style.marks;
    let mut text =
        format!("{}   {}\n\n  {:<66} DNSSEC{}\n", probe.domain, probe.role, "found", if style.times { "       took" } else { "" });
    probe.found.iter().for_each(|found| published(found, style, &mut text));
    if let Some(compared) = &probe.compared {
        self::compared(compared, style, &mut text);
    }
    for note in &probe.notes {
        let _ = writeln!(text, "  {} {note}", marks.odd);
    }
    for host in &probe.hosts {
        self::host(host, style, &mut text);
    }
    if !probe.outcomes.is_empty() {
        text.push_str("\n  What would happen to mail\n");
        probe.outcomes.iter().for_each(|outcome| self::outcome(outcome, marks, &mut text));
    }
    text
}

fn compared(compared: &Compared, style: Style, text: &mut String) {
    if compared.otherwise.is_empty() {
        let _ = writeln!(text, "  {} {} says the same", style.marks.good, compared.resolver);
        return;
    }
    let _ = writeln!(text, "  {} {} says otherwise:", style.marks.odd, compared.resolver);
    compared.otherwise.iter().for_each(|found| published(found, style, text));
}

pub(super) fn published(found: &Found, style: Style, text: &mut String) {
    let marks = style.marks;
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
    let took = found.took_ms.filter(|_| style.times).map(|took| format!("{took:>6} ms")).unwrap_or_default();
    for (place, line) in shown.iter().enumerate() {
        let (mark, kind, evidence, took) = if place == 0 { (mark, found.kind, evidence, took.as_str()) } else { (" ", "", "", "") };
        let _ = writeln!(text, "{}", format!("  {mark} {kind:<8} {line:<55} {evidence:<8} {took}").trim_end());
    }
}

fn host(host: &Host, style: Style, text: &mut String) {
    let marks = style.marks;
    let at = host.tls.first().map(|call| format!("  [{}]", call.address)).unwrap_or_default();
    let _ = writeln!(text, "\n  {}:{}{at}   {} ({} {})", host.name, host.port, host.role, host.source, host.preference);
    if let Some(barred) = &host.barred {
        let _ = writeln!(text, "  {} not used       {} {}", marks.bad, barred.status, barred.text);
    }
    for call in &host.tls {
        over_tls(call, host, style, text);
        said(call, style.transcript, text);
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
        said(call, style.transcript, text);
    }
}

fn over_tls(call: &Call, host: &Host, style: Style, text: &mut String) {
    let marks = style.marks;
    let Some(channel) = &call.channel else {
        let (status, why) = call.trouble.as_ref().map_or(("", "nothing was shown"), |trouble| (&trouble.status, &trouble.text));
        let _ = writeln!(text, "  {} STARTTLS       {why} {status}", marks.bad);
        return;
    };
    let tls = format!("{}, {}, {}", channel.version, channel.cipher, channel.group);
    let took = if style.times { format!("   {} ms", call.took_ms) } else { String::new() };
    let _ = writeln!(text, "  {} STARTTLS       {tls}{took}", marks.good);
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
