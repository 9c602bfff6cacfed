//! What `probe`, `route` and `dns` have in common: a configuration, what delivers by it, and marks.

use super::remote::Told;
use super::{Exit, Origin};
use crate::config::{self, Config};
use crate::diagnosis::probe::Answer;
use anyhow::Result;
use secmx_core::channel::Level;
use secmx_core::mail::{Domain, Mailbox};
use secmx_core::role::SenderRole;
use std::env;
use std::net::SocketAddr;
use std::time::Duration;

/// Nobody waits for minutes at a prompt, as a queue can.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub(super) struct Look {
    /// One JSON object instead of lines
    #[arg(long)]
    pub(super) json: bool,
    /// Marks in ASCII
    #[arg(long)]
    pub(super) ascii: bool,
}

/// Marks before lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    pub(super) good: &'static str,
    pub(super) bad: &'static str,
    pub(super) odd: &'static str,
    pub(super) none: &'static str,
    pub(super) leads: &'static str,
}

impl Look {
    /// The marks that this terminal can show.
    pub(super) fn marks(self) -> Marks {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| env::var(name).ok()).find(|value| !value.is_empty());
        let wide = locale.is_none_or(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"));
        if self.ascii || !wide {
            Marks { good: "+", bad: "x", odd: "!", none: "-", leads: "->" }
        } else {
            Marks { good: "✓", bad: "✗", odd: "!", none: "·", leads: "→" }
        }
    }
}

/// The configuration, or what is wrong with it.
pub(super) fn configuration(from: &Origin) -> Result<Config> {
    let (mut config, _) = Config::load(from.config.as_deref())
        .map_err(|findings| Told::new(Exit::Misconfigured, super::answer::findings(&findings, super::answer::stderr_has_colours())))?;
    let timeouts = &mut config.send.timeouts;
    for time in [
        &mut timeouts.greeting,
        &mut timeouts.hello,
        &mut timeouts.starttls,
        &mut timeouts.handshake,
        &mut timeouts.mail,
        &mut timeouts.rcpt,
    ]
    .into_iter()
    .chain([&mut config.send.connect_timeout])
    {
        *time = (*time).min(PATIENCE);
    }
    Ok(config)
}

/// A domain as an argument, with a word for those who give something else.
pub(super) fn domain(text: &str) -> Result<Domain, String> {
    if text.contains('@') {
        return Err(format!(
            "{text} is an address: `secmx route {text} --from YOU` tells where its mail goes, `secmx probe` wants what stands behind the @"
        ));
    }
    if text.contains("://") || text.contains('/') {
        return Err(format!("{text} is no domain: expected one such as health.example"));
    }
    let domain = Domain::parse(text.trim_end_matches('.')).map_err(|error| format!("{error}; expected a domain such as health.example"))?;
    if domain.as_str().parse::<std::net::IpAddr>().is_ok() {
        return Err(format!("{text} is an address of a machine, and records stand at domains"));
    }
    Ok(domain)
}

/// A mailbox as an argument.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    let text = text.trim_start_matches('<').trim_end_matches('>');
    Mailbox::parse(text.as_bytes(), true).map_err(|error| format!("{error}; expected an address such as bo@health.example"))
}

/// A role as an argument.
pub(super) fn role(text: &str) -> Result<SenderRole, String> {
    match text.to_ascii_uppercase().as_str() {
        "BES" => Ok(SenderRole::BestEffort),
        "SOS" => Ok(SenderRole::SecureOnly),
        _ => Err("expected BES or SOS".to_owned()),
    }
}

/// A level as an argument.
pub(super) fn level(text: &str) -> Result<Level, String> {
    [Level::Encrypted, Level::Host, Level::Domain]
        .into_iter()
        .find(|level| level.to_string() == text)
        .ok_or_else(|| "expected encrypted, host or domain".to_owned())
}

/// A DNS resolver as an argument.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    config::name_server(text).map_err(|expected| format!("expected {expected}"))
}

/// The code of an answer.
pub(super) fn exit(answer: Answer) -> Exit {
    match answer {
        Answer::Yes => Exit::Yes,
        Answer::No => Exit::No,
        Answer::NotFound => Exit::NotFound,
        Answer::CannotTell => Exit::CannotTell,
    }
}
