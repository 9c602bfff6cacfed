//! `secmx certs`: our own certificates as they lie on disk; what is wrong with them, and the TLSA records that go with them.

use super::{Exit, Origin, hint, say};
use crate::certs::{AcmeFolder, Closet, rotate};
use crate::config::Config;
use crate::tls::Identity;
use anyhow::{Context, Result};
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use rcgen::{KeyPair, PublicKeyData};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs;

/// A certificate that ends sooner wants a look.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Below the help of `certs`.
pub(super) const HELP: &str = "\
They read the files that the configuration names; the gateway need not run. It shows changed files by itself within seconds.

Examples
  secmx certs show -c secmx.toml        what clients are shown, and the key that will follow
  secmx certs tlsa -c secmx.toml        TLSA records to publish (RFC 6698, RFC 7672)
  secmx certs check -c secmx.toml       ends with 1 when something wants a look
  secmx certs rotate -c secmx.toml      the next ACME certificate takes the key that lies ready";

/// What is asked of our certificates.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum CertsCommand {
    /// Say which certificates there are, until when, and for whom
    Show {
        #[command(flatten)]
        from: Origin,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong with them; end with 1 when something is
    Check {
        #[command(flatten)]
        from: Origin,
    },
    /// Print the TLSA records that go with them, and with the key that will follow
    Tlsa {
        #[command(flatten)]
        from: Origin,
    },
    /// Make the next ACME certificate take the key that lies ready; a running gateway begins within seconds
    Rotate {
        #[command(flatten)]
        from: Origin,
    },
}

/// Does it.
pub(super) fn obey(command: CertsCommand) -> Result<Exit> {
    let (from, work): (Origin, fn(&Config) -> Result<Exit>) = match command {
        CertsCommand::Show { from, json } => (from, if json { show_json } else { show }),
        CertsCommand::Check { from } => (from, check),
        CertsCommand::Tlsa { from } => (from, tlsa),
        CertsCommand::Rotate { from } => (from, turn),
    };
    match Config::load(from.config.as_deref()) {
        Ok((config, _)) => work(&config),
        Err(findings) => {
            hint(&super::answer::findings(&findings, super::answer::stderr_has_colours()));
            Ok(Exit::Misconfigured)
        }
    }
}

/// One certificate. Fields are only ever added.
#[derive(Serialize)]
struct Shown {
    names: Vec<String>,
    subject: String,
    issuer: String,
    not_after: Timestamp,
    tlsa: String,
}

/// `secmx/certs/v1`.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    certificates: Vec<Shown>,
    next_key_tlsa: Option<String>,
    troubles: Vec<String>,
}

fn report(config: &Config) -> Result<Report> {
    let outfit = Closet::default().gather(config)?;
    let certificates = outfit.identities.iter().map(shown).collect::<Result<_>>()?;
    Ok(Report { schema: "secmx/certs/v1", certificates, next_key_tlsa: next_tlsa(config), troubles: outfit.troubles })
}

fn shown(identity: &Identity) -> Result<Shown> {
    let certificate = identity.certificate();
    Ok(Shown {
        not_after: Timestamp::from_second(identity.validity()?.1)?,
        tlsa: format!("3 1 1 {}", hex(&identity.public_key_sha256()?)),
        names: certificate.dns_names,
        subject: certificate.subject,
        issuer: certificate.issuer,
    })
}

/// The record of the key that lies ready, when there is one.
fn next_tlsa(config: &Config) -> Option<String> {
    let pem = fs::read_to_string(AcmeFolder::of(config).next_key()).ok()?;
    let key = KeyPair::from_pem(&pem).ok()?;
    Some(format!("3 1 1 {}", hex(&Sha256::digest(key.subject_public_key_info()))))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn show(config: &Config) -> Result<Exit> {
    let report = report(config)?;
    let mut text = String::new();
    for certificate in &report.certificates {
        writeln!(text, "{}", certificate.names.join(" "))?;
        writeln!(text, "  issuer   {}", certificate.issuer)?;
        writeln!(text, "  until    {}", certificate.not_after)?;
        writeln!(text, "  TLSA     {}", certificate.tlsa)?;
    }
    if let Some(next) = &report.next_key_tlsa {
        writeln!(text, "next key\n  TLSA     {next}")?;
    }
    for trouble in &report.troubles {
        writeln!(text, "! {trouble}")?;
    }
    say(&text)
}

fn show_json(config: &Config) -> Result<Exit> {
    say(&(serde_json::to_string_pretty(&report(config)?)? + "\n"))
}

fn check(config: &Config) -> Result<Exit> {
    let report = report(config)?;
    let mut wrong = report.troubles;
    let now = Timestamp::now();
    for certificate in &report.certificates {
        let names = certificate.names.join(" ");
        if certificate.subject == certificate.issuer {
            wrong.push(format!("{names}: vouches for itself; senders that verify (SOS) will not deliver unless a TLSA record names it"));
        }
        match certificate.not_after.duration_since(now) {
            left if left <= SignedDuration::ZERO => wrong.push(format!("{names}: expired at {}", certificate.not_after)),
            left if left < SOON => wrong.push(format!("{names}: ends at {}", certificate.not_after)),
            _ => {}
        }
    }
    let hostname = config.hostname.to_string();
    if !report.certificates.iter().any(|certificate| certificate.names.contains(&hostname)) {
        wrong.push(format!("no certificate is for {hostname}, the name of this gateway"));
    }
    if wrong.is_empty() {
        return say("all certificates are in order\n");
    }
    say(&wrong.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(Exit::No)
}

/// RFC 7672, 3.1: records at `_<port>._tcp.<host>`; the next key's record stands beside the one in use, so that it is known in time.
fn tlsa(config: &Config) -> Result<Exit> {
    let report = report(config)?;
    let first = report.certificates.first().context("there is no certificate")?;
    let mut ports: Vec<u16> = config.receive.values().flat_map(|listener| listener.listen.iter().map(|address| address.port())).collect();
    ports.sort_unstable();
    ports.dedup();
    let mut text = String::new();
    for port in ports {
        for data in std::iter::once(&first.tlsa).chain(&report.next_key_tlsa) {
            writeln!(text, "_{port}._tcp.{}. IN TLSA {data}", config.hostname)?;
        }
    }
    say(&text)
}

fn turn(config: &Config) -> Result<Exit> {
    rotate(config)?;
    say("the next certificate takes the key that lies ready; a running gateway orders it now\n")
}
