//! `secmx lab`: broken certificates, servers and DNS, for this gateway and for anybody else's mail server.

use super::{Exit, hint, runtime, say};
use crate::config::Config;
use crate::lab::{self, Folder, NAME, Own, Plan, Report, Sender};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use secmx_core::role::SenderRole;
use secmx_lab::ca::{FLAWS, Flaw};
use secmx_lab::cases::{Case, Fate, Need, table};
use secmx_lab::ground::{Ground, Ports, Setup};
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Below the help of `lab`.
pub(super) const HELP: &str = "\
Everything is on the loopback interface; mail for ROLE@CASE.lab.test meets the case.

Examples
  secmx lab run                            every case against this gateway's own delivery
  secmx lab run --gateway secmx.toml       the same under a configuration
  secmx lab run --sender 'swaks --server 127.0.0.1:2525 --to {to} --from {from}' --role bes
                                           against whatever takes mail there and uses the lab's DNS
  secmx lab serve                          the world alone, to try things
  secmx lab cert expired --host mx.partner.example -o bad.pem
  secmx lab list                           the cases";

/// What is asked of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum LabCommand {
    /// Keep the world of the cases up until Ctrl-C
    Serve {
        #[command(flatten)]
        place: Place,
    },
    /// Play the cases against a sender, and say what came of each; end with 1 when one fails
    Run(Box<Run>),
    /// Make one certificate with a flaw, under the lab's authority
    Cert(Cert),
    /// List the cases, and what must come of each
    List {
        /// One JSON list instead of lines
        #[arg(long)]
        json: bool,
        /// Only cases that a pattern fits
        #[arg(long, value_name = "PATTERN")]
        only: Option<String>,
    },
}

/// Where the world listens and what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Place {
    /// Port of DNS with its signatures, as an authority gives it, on 127.0.0.1
    #[arg(long, default_value_t = 5300, value_name = "PORT")]
    dns_port: u16,
    /// Port of the same as a resolver that validates gives it: the AD bit, and SERVFAIL for what is bogus
    #[arg(long, default_value_t = 5301, value_name = "PORT")]
    resolver_port: u16,
    /// Port of mail exchangers, in place of 25
    #[arg(long, default_value_t = 2500, value_name = "PORT")]
    smtp_port: u16,
    /// Port of SecMX hosts, which SRV records name
    #[arg(long, default_value_t = 2501, value_name = "PORT")]
    srv_port: u16,
    /// Port of hosts with MTA-STS policies, in place of 443
    #[arg(long, default_value_t = 8443, value_name = "PORT")]
    sts_port: u16,
    /// Directory of the authority, the DNSSEC anchor and the list of revoked certificates; the keys in it are used again
    #[arg(long, default_value = "lab", value_name = "DIRECTORY")]
    dir: PathBuf,
    /// Host name of the sender under test, for cases in which DNS names it
    #[arg(long, value_name = "HOST")]
    own_name: Option<String>,
    /// Only cases that a pattern fits: cert-*, dane, expired
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
}

/// Under which roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Bes,
    Sos,
    Both,
}

/// Options of `lab run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Run {
    /// A shell command that hands a message to the sender under test; {to}, {from}, {case} and {role} are replaced
    #[arg(long, value_name = "COMMAND", conflicts_with = "gateway")]
    sender: Option<String>,
    /// A configuration of this gateway that is to be tried; what leads out of this machine is turned to the lab
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// What the sender is held to
    #[arg(long, value_enum, default_value_t = Role::Both)]
    role: Role,
    /// Seconds that mail may take to a host of the lab, or back
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    patience: u64,
    /// The sender under test was given the lab's list of revoked certificates
    #[arg(long)]
    has_crl: bool,
    /// A best effort receiver to knock at
    #[arg(long, value_name = "ADDRESS:PORT")]
    ber: Option<SocketAddr>,
    /// A secure only receiver to knock at
    #[arg(long, value_name = "ADDRESS:PORT")]
    sor: Option<SocketAddr>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Options of `lab cert`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Cert {
    /// What is wrong with it; without one, they are listed
    case: Option<String>,
    /// The name it is for; may be given again
    #[arg(long, value_name = "NAME", default_value = "mx.lab.test")]
    host: Vec<String>,
    /// Days until it ends; below 0 it ended
    #[arg(long, allow_negative_numbers = true, value_name = "DAYS")]
    days: Option<i32>,
    /// File for the key and the chain, PEM; without one they are printed
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Directory of the authority
    #[arg(long, default_value = "lab", value_name = "DIRECTORY")]
    dir: PathBuf,
}

/// Does it.
pub(super) fn obey(command: LabCommand) -> Result<Exit> {
    match command {
        LabCommand::Serve { place } => runtime()?.block_on(serve(&place)),
        LabCommand::Run(options) => runtime()?.block_on(run(&options)),
        LabCommand::Cert(options) => cert(&options),
        LabCommand::List { json, only } => list(json, only.as_deref()),
    }
}

fn wanted(case: &Case, only: Option<&str>) -> bool {
    only.is_none_or(|pattern| case.fits(pattern))
}

/// The world at fixed ports, with the keys of its directory.
async fn fixed(place: &Place) -> Result<Ground> {
    let ports = Ports { dns: place.dns_port, resolver: place.resolver_port, mx: place.smtp_port, srv: place.srv_port, web: place.sts_port };
    let folder = Folder::open(&place.dir)?;
    let own = place.own_name.clone().unwrap_or_else(|| NAME.to_owned());
    let setup = Setup { ports, own, keys: Some(folder.keys()?) };
    let ground = Ground::build(setup, |case| wanted(case, place.only.as_deref())).await?;
    folder.write(&ground)?;
    Ok(ground)
}

async fn serve(place: &Place) -> Result<Exit> {
    let ground = fixed(place).await?;
    if ground.scenes.is_empty() {
        return nothing_fits(place.only.as_deref());
    }
    say(&directions(&ground, &place.dir))?;
    tokio::signal::ctrl_c().await?;
    Ok(Exit::Yes)
}

fn directions(ground: &Ground, dir: &Path) -> String {
    let (dir, ports) = (dir.display(), ground.ports);
    format!(
        "The lab is up until Ctrl-C: {} domains CASE.lab.test, on loopback.\n\n\
         \x20 DNS, signed         127.0.0.1:{}      its anchor: {dir}/anchor.key\n\
         \x20 DNS, validated      127.0.0.1:{}      AD bit, SERVFAIL for what is bogus\n\
         \x20 mail exchangers     127.77.0.0/16, port {}\n\
         \x20 SecMX hosts         127.77.0.0/16, port {} (SRV)\n\
         \x20 MTA-STS policies    127.77.0.0/16, port {}\n\
         \x20 authority           {dir}/ca.pem, revoked: {dir}/revoked.crl\n\n\
         A sender under test asks that DNS, trusts that authority, and connects to those ports. Try:\n\
         \x20 dig -p {} @127.0.0.1 cert-expired.lab.test MX\n",
        ground.scenes.len(),
        ports.dns,
        ports.resolver,
        ports.mx,
        ports.srv,
        ports.web,
        ports.dns,
    )
}

async fn run(options: &Run) -> Result<Exit> {
    let report = match &options.sender {
        Some(template) => against_a_command(template, options).await?,
        None => {
            let theirs = match options.gateway.as_deref().map(|path| Config::load(Some(path))) {
                None => None,
                Some(Ok((config, _))) => Some(config),
                Some(Err(findings)) => {
                    hint(&super::answer::findings(&findings, super::answer::stderr_has_colours()));
                    return Ok(Exit::Misconfigured);
                }
            };
            against_ourselves(theirs, options).await?
        }
    };
    if report.rows.is_empty() {
        return nothing_fits(options.place.only.as_deref());
    }
    say(&report.to_text())?;
    for (path, text) in [(&options.json, report.to_json()?), (&options.junit, report.to_junit()), (&options.html, report.to_html())] {
        if let Some(path) = path {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(if report.is_good() { Exit::Yes } else { Exit::No })
}

fn roles(role: Role) -> Vec<SenderRole> {
    match role {
        Role::Bes => vec![SenderRole::BestEffort],
        Role::Sos => vec![SenderRole::SecureOnly],
        Role::Both => vec![SenderRole::BestEffort, SenderRole::SecureOnly],
    }
}

async fn against_a_command(template: &str, options: &Run) -> Result<Report> {
    let ground = fixed(&options.place).await?;
    let crl = options.has_crl.then_some(Need::Crl);
    let own_name = options.place.own_name.as_ref().map(|_| Need::OwnName);
    let named = [("BER", options.ber), ("SOR", options.sor)];
    let plan = Plan {
        roles: roles(options.role),
        given: crl.into_iter().chain(own_name).collect(),
        receivers: named.into_iter().filter_map(|(role, at)| Some((role, at?))).collect(),
    };
    let command = lab::Command::new(template.to_owned(), Duration::from_secs(options.patience));
    lab::play(Arc::new(ground), Arc::new(Sender::Command(command)), &plan).await
}

async fn against_ourselves(theirs: Option<Config>, options: &Run) -> Result<Report> {
    let own = theirs.as_ref().map_or_else(|| NAME.to_owned(), |config| config.hostname.to_string());
    let setup = Setup { ports: Ports::default(), own, keys: None };
    let only = options.place.only.as_deref();
    let ground = Ground::build(setup, |case| wanted(case, only)).await?;
    let own = Own::start(&ground, theirs, None).await?;
    own.settle().await;
    let plan = Plan {
        roles: roles(options.role),
        given: vec![Need::Crl, Need::OwnName],
        receivers: vec![("BER", own.listener("public")?), ("SOR", own.listener("secure")?)],
    };
    lab::play(Arc::new(ground), Arc::new(Sender::Own(Box::new(own))), &plan).await
}

fn nothing_fits(only: Option<&str>) -> Result<Exit> {
    hint(&format!("secmx: no case fits {:?}; `secmx lab list` names them\n", only.unwrap_or_default()));
    Ok(Exit::NotFound)
}

fn cert(options: &Cert) -> Result<Exit> {
    let Some(case) = &options.case else {
        return say(&FLAWS.iter().fold("What can be wrong with it:\n".to_owned(), |text, (name, _)| text + "  " + name + "\n"));
    };
    let Some(flaw) = Flaw::named(case.strip_prefix("cert-").unwrap_or(case)) else {
        hint(&format!("secmx: no certificate is called {case:?}; `secmx lab cert` without a name lists them\n"));
        return Ok(Exit::NotFound);
    };
    let authority = Folder::open(&options.dir)?.authority()?;
    let ends = options.days.map(|days| OffsetDateTime::now_utc() + time::Duration::days(days.into()));
    let names: Vec<&str> = options.host.iter().map(String::as_str).collect();
    let identity = authority.issue_until(&names, flaw, ends)?;
    let text = identity.key_pem() + identity.chain_pem();
    let Some(path) = &options.output else { return say(&text) };
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    hint(&format!(
        "{}: a key and {} certificates; its authority is {}\n",
        path.display(),
        identity.chain().len(),
        options.dir.join("ca.pem").display()
    ));
    Ok(Exit::Yes)
}

fn list(json: bool, only: Option<&str>) -> Result<Exit> {
    let cases: Vec<Case> = table()?.into_iter().filter(|case| wanted(case, only)).collect();
    if cases.is_empty() {
        return nothing_fits(only);
    }
    if json {
        let cases: Vec<serde_json::Value> = cases.iter().map(in_json).collect();
        return say(&(serde_json::to_string_pretty(&cases)? + "\n"));
    }
    let mut text = String::new();
    for case in &cases {
        let outcomes = match (&case.bes, &case.sos, &case.ber, &case.sor) {
            (Some(bes), Some(sos), ..) => format!("BES {:<16} SOS {sos}", bes.to_string()),
            (.., Some(ber), Some(sor)) => format!("BER {ber:<16} SOR {sor}"),
            _ => bail!("{} has no outcomes", case.id),
        };
        let _ = writeln!(text, "{:<32} {outcomes}\n    {}: {}", case.id, case.title, case.does);
    }
    say(&text)
}

fn in_json(case: &Case) -> serde_json::Value {
    let fate = |fate: &Option<Fate>| fate.as_ref().map(ToString::to_string);
    serde_json::json!({
        "id": case.id, "domain": case.domain(), "area": case.area.word(), "title": case.title, "does": case.does,
        "bes": fate(&case.bes), "sos": fate(&case.sos), "ber": case.ber, "sor": case.sor, "by": case.by, "never": case.never,
    })
}
