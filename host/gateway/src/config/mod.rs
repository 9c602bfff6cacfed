//! The configuration: one file for each TOML table, whose doc comments are the manual. Reading one never changes anything.
//!
//! A built-in default gives way to the file, the file to the environment (`SECMX__SEND__ROLE=SOS`). Unknown keys are errors, and every
//! error says where it is. All settings have their final form here: nothing downstream knows that there was a file.

mod authentication;
mod content;
mod control;
mod decisions;
mod dkim;
mod dns;
mod finding;
mod gather;
mod history;
mod hop;
mod journal;
mod list;
mod logging;
mod login;
mod paths;
mod people;
mod policy;
mod quarantine;
mod queue;
mod reader;
mod receive;
mod reload;
mod replay;
mod report;
mod rule;
mod secret;
mod send;
mod source;
mod tls;
mod tree;
mod value;
mod web;

#[cfg(test)]
mod tests;

pub use authentication::Authentication;
pub use content::{Content, Escrow};
pub use control::Control;
pub use decisions::{Decisions, Evidence as DecisionEvidence, OnFull, Redacted};
pub use dkim::{Canonicalization, Dkim, DkimKey};
pub use dns::{Dns, Dnssec};
pub use finding::{Code, Finding, Place, Position, Severity};
pub use history::History;
pub use hop::{Inside, NextHop};
pub use journal::Journal;
pub use list::List;
pub use logging::Logging;
pub use login::Login;
pub use paths::Paths;
pub use people::{Auth, Recipients, Unsure};
pub use policy::{Breaker, Compile, Component, Direction, Limits as PolicyLimits, Mode, OnError, Policies, Policy, Powers, When};
pub use quarantine::Quarantine;
pub use queue::{PerDestination, Queue, Rate};
pub use receive::{Limits, Listener, ListenerRole, Start};
pub use reload::Reload;
pub use replay::{Replay, SealingKey};
pub use report::{Report, TlsRpt};
pub use rule::{Chosen, Pattern, Pin, Rule};
pub use secret::Secret;
pub use send::{Accept, Discover, Downgrade, MtaSts, Outward, Profile, SecureOnly, Verify};
pub use tls::{Acme, CertificateFiles, Challenge, CrlSource, Revocation, Tls, Trust};
pub use value::Network;
pub(crate) use value::name_server;
pub use web::{Publish, ReportPlace, StsMode, Web};

use jiff::Timestamp;
use jiff::civil::Date;
use reader::{Reader, Section};
use secmx_core::mail::{Domain, Mailbox};
use secmx_core::role::SenderRole;
use secmx_core::smtp::server::ServerConfig;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use tree::{Entry, Sources};

/// A configuration, complete: what the file leaves out has its default.
///
/// Without a file it is BES + BER (L1-7): one listener on 127.0.0.1:2525 that takes mail from programs on this machine, for any domain,
/// and sends it with best effort. No domain is ours then, so nothing is taken from anybody else and nothing needs `deliver_to`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `hostname`: the name of this gateway, in greetings, trace fields and bounces. Default: the name of the machine, else `localhost`.
    pub hostname: Domain,
    /// `domains`: domains whose mail is taken from anybody and handed to `deliver_to`. Default none.
    pub domains: Vec<Domain>,
    /// `deliver_to`: where mail for `domains` goes: `"smtp://host:port"`, `"smtps://…"` (TLS from the first octet) or `"lmtp://…"`; or one for
    /// each domain, as a table such as `{ "a.example" = "lmtp://10.0.0.7:24", "*" = "smtp://10.0.0.8:25" }`. Required when there are
    /// `domains`.
    pub deliver_to: Option<Inside>,
    /// `postmaster`: who signs bounces, and who gets mail for `<postmaster>` (RFC 5321, 4.5.1). Default `postmaster@` and the first of
    /// `domains`, or the host name when there is none.
    pub postmaster: Mailbox,
    /// `[paths]`.
    pub paths: Paths,
    /// `[control]`.
    pub control: Control,
    /// `[tls]`.
    pub tls: Tls,
    /// `[web]`.
    pub web: Web,
    /// `[publish]`.
    pub publish: Publish,
    /// `[dns]`.
    pub dns: Dns,
    /// `[receive.NAME]` by NAME, which logs and policies show; never empty.
    pub receive: BTreeMap<String, Listener>,
    /// `[auth]`.
    pub auth: Auth,
    /// `[recipients]`.
    pub recipients: Recipients,
    /// `[authentication]`.
    pub authentication: Authentication,
    /// `[dkim]`.
    pub dkim: Dkim,
    /// `[send]`.
    pub send: Outward,
    /// `[queue]`.
    pub queue: Queue,
    /// `[history]`.
    pub history: History,
    /// `[quarantine]`.
    pub quarantine: Quarantine,
    /// `[reload]`.
    pub reload: Reload,
    /// `[policies]`.
    pub policies: Policies,
    /// `[[policy]]`, in the order in which they are asked.
    pub policy: Vec<Policy>,
    /// `[content]`.
    pub content: Content,
    /// `[escrow]`.
    pub escrow: Escrow,
    /// `[list.NAME]` by NAME.
    pub list: BTreeMap<String, List>,
    /// `[journal.NAME]` by NAME.
    pub journal: BTreeMap<String, Journal>,
    /// `[decisions]`.
    pub decisions: Decisions,
    /// `[replay]`.
    pub replay: Replay,
    /// `[report]`.
    pub report: Report,
    /// `[log]`.
    pub log: Logging,
}

/// A configuration with its warnings, or everything that is wrong with it, warnings among them.
pub type Outcome = Result<(Config, Vec<Finding>), Vec<Finding>>;

impl Config {
    /// Reads a file, what it includes, and the environment; without a file the environment only.
    pub fn load(path: Option<&Path>) -> Outcome {
        let variables = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::load_with(path, variables, today())
    }

    /// Reads a text as if it were the content of a file of that name in the working directory. Neither includes nor the environment count.
    pub fn parse(name: &str, text: &str) -> Outcome {
        let mut sources = Sources::default();
        let entries = sources.parse(name, Path::new(""), text.to_owned())?;
        Self::read(sources, &entries, Path::new(""), today())
    }

    /// Where mail for that recipient goes when its domain is ours: `host:port`.
    pub fn inside_of(&self, to: &Mailbox) -> Option<String> {
        let domain = to.domain().name().filter(|domain| self.domains.contains(domain))?;
        self.deliver_to.as_ref()?.of(domain).map(ToString::to_string)
    }

    /// The strictest role that `[send]` has for somebody outside among these; `None` when all are ours.
    pub fn outward_role(&self, to: &[Mailbox], now: Timestamp) -> Option<SenderRole> {
        let ours = |to: &Mailbox| to.domain().name().is_some_and(|domain| self.domains.contains(domain));
        to.iter().filter(|to| !ours(to)).map(|to| self.send.rule_for(to, now).demand.role).max()
    }

    /// The names that a certificate from an ACME authority is for.
    pub fn acme_names(&self, acme: &Acme) -> Vec<String> {
        if !acme.names.is_empty() {
            return acme.names.iter().map(ToString::to_string).collect();
        }
        let policies = self.domains.iter().filter(|_| self.publish.mta_sts != StsMode::None);
        std::iter::once(self.hostname.to_string()).chain(policies.map(|domain| format!("mta-sts.{domain}"))).collect()
    }

    /// Where the control socket is.
    pub fn socket(&self) -> PathBuf {
        self.control.socket.clone().unwrap_or_else(|| self.paths.state.join("control.sock"))
    }

    /// This gateway as the sessions of one listener present it, with that listener's limits. `mechanisms` are offered where users send from.
    pub fn smtp(&self, listener: &Listener, mechanisms: &[String]) -> ServerConfig {
        ServerConfig {
            hostname: self.hostname.clone(),
            own_domains: self.domains.clone(),
            postmaster: self.postmaster.clone(),
            mechanisms: if listener.role == ListenerRole::Submit { mechanisms.to_vec() } else { Vec::new() },
            strict_header: listener.strict_header,
            limits: listener.limits.of_session(),
        }
    }

    /// The same with what the files of its lists hold now. Errors name the list and the file.
    pub(crate) fn with_lists_read_again(mut self) -> anyhow::Result<Self> {
        for (name, list) in &mut self.list {
            list.read_again().map_err(|(path, error)| anyhow::anyhow!("list.{name}.file: cannot read {}: {error}", path.display()))?;
        }
        Ok(self)
    }

    /// The first thing in `new` that a running gateway cannot take over, as its key.
    pub fn needs_restart(&self, new: &Self) -> Option<&'static str> {
        let places = |config: &Self| config.receive.iter().map(|(name, door)| (name.clone(), door.listen.clone())).collect::<Vec<_>>();
        let kept = [
            ("paths.state", self.paths.state == new.paths.state),
            ("paths.cache", self.paths.cache == new.paths.cache),
            ("policies.compile", self.policies.compile == new.policies.compile),
            ("policies.limits.concurrent", self.policies.concurrent == new.policies.concurrent),
            ("control", self.control == new.control),
            ("receive.NAME.listen", places(self) == places(new)),
            ("web", self.web == new.web),
            ("queue", self.queue == new.queue),
            ("decisions", self.decisions.same_place(&new.decisions)),
            ("reload", self.reload == new.reload),
            ("history", self.history == new.history),
            ("log", self.log == new.log),
        ];
        kept.into_iter().find(|(_, same)| !same).map(|(key, _)| key)
    }

    /// Every table or top-level key in which `new` is another, as its key.
    pub fn differences(&self, new: &Self) -> Vec<&'static str> {
        let same = [
            ("hostname", self.hostname == new.hostname),
            ("domains", self.domains == new.domains),
            ("deliver_to", self.deliver_to == new.deliver_to),
            ("postmaster", self.postmaster == new.postmaster),
            ("paths", self.paths == new.paths),
            ("control", self.control == new.control),
            ("tls", self.tls == new.tls),
            ("web", self.web == new.web),
            ("publish", self.publish == new.publish),
            ("dns", self.dns == new.dns),
            ("receive", self.receive == new.receive),
            ("auth", self.auth == new.auth),
            ("recipients", self.recipients == new.recipients),
            ("authentication", self.authentication == new.authentication),
            ("dkim", self.dkim == new.dkim),
            ("send", self.send == new.send),
            ("queue", self.queue == new.queue),
            ("history", self.history == new.history),
            ("quarantine", self.quarantine == new.quarantine),
            ("reload", self.reload == new.reload),
            ("content", self.content == new.content),
            ("escrow", self.escrow == new.escrow),
            ("policies", self.policies == new.policies),
            ("policy", self.policy == new.policy),
            ("list", self.list == new.list),
            ("journal", self.journal == new.journal),
            ("decisions", self.decisions == new.decisions),
            ("replay", self.replay == new.replay),
            ("report", self.report == new.report),
            ("log", self.log == new.log),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
    }

    fn load_with(path: Option<&Path>, variables: impl Iterator<Item = (String, String)>, today: Date) -> Outcome {
        let mut sources = Sources::default();
        let mut entries = path.map_or(Ok(Vec::new()), |path| gather::file(&mut sources, path))?;
        gather::environment(&mut sources, &mut entries, variables);
        let beside = path.and_then(Path::parent).unwrap_or(Path::new(""));
        Self::read(sources, &entries, beside, today)
    }

    fn read(sources: Sources, entries: &[Entry], beside: &Path, today: Date) -> Outcome {
        let reader = Reader::new(sources, today);
        let config = reader.read(entries, |section| Self::read_all(section, beside));
        let findings = reader.into_findings();
        match config {
            Some(config) if findings.iter().all(|finding| finding.severity == Severity::Warning) => Ok((config, findings)),
            _ => Err(findings),
        }
    }

    /// `None` only when the name of the machine is no name for a gateway, which [`machine_name`] excludes.
    fn read_all(section: &mut Section<'_>, beside: &Path) -> Option<Self> {
        let hostname = section.optional("hostname").or_else(machine_name)?;
        let (domains, deliver_to) = read_inside(section);
        let home = domains.first().unwrap_or(&hostname).as_str();
        let postmaster = section.optional("postmaster").or_else(|| Mailbox::from_parts("postmaster", home).ok())?;
        let paths = section.table("paths", |section| Paths::read(section, beside));
        let tls = section.table("tls", Tls::read);
        let listeners = Listener::names(section);
        let publish = section.table("publish", |section| Publish::read(section, &hostname, &postmaster));
        let dkim = section.table("dkim", Dkim::read);
        Some(Self {
            report: section.table("report", |section| Report::read(section, &domains, &hostname, &postmaster)),
            domains,
            deliver_to,
            postmaster,
            decisions: section.table("decisions", |section| Decisions::read(section, &paths.state)),
            journal: Journal::read_all(section, &paths.state),
            paths,
            web: section.table("web", |section| Web::read(section, &tls, &publish)),
            tls,
            publish,
            control: section.table("control", Control::read),
            dns: section.table("dns", Dns::read),
            receive: Listener::read_all(section),
            auth: section.table("auth", Auth::read),
            recipients: section.table("recipients", Recipients::read),
            authentication: section.table("authentication", |section| Authentication::read(section, &hostname, &dkim)),
            dkim,
            send: section.table("send", |section| Outward::read(section, &hostname)),
            queue: section.table("queue", Queue::read),
            history: section.table("history", History::read),
            quarantine: section.table("quarantine", Quarantine::read),
            reload: section.table("reload", Reload::read),
            policies: section.table("policies", |section| Policies::read(section, beside)),
            policy: Policy::read_all(section, &listeners),
            content: section.table("content", Content::read),
            escrow: section.table("escrow", Escrow::read),
            list: List::read_all(section),
            replay: section.table("replay", Replay::read),
            log: section.table("log", Logging::read),
            hostname,
        })
    }
}

/// Our domains, and where their mail goes: one without the other is no use.
fn read_inside(section: &mut Section<'_>) -> (Vec<Domain>, Option<Inside>) {
    let domains: Vec<Domain> = section.or("domains", Vec::new());
    let wanted = section.raw("deliver_to").is_some();
    let deliver_to: Option<Inside> = section.optional("deliver_to");
    if !domains.is_empty() && !wanted {
        let message = "`deliver_to` is missing: mail for `domains` must go somewhere, such as \"smtp://exchange.internal:25\"";
        section.reader.error(section.span_of("domains"), Code::MissingKey, message);
    }
    if domains.is_empty() && deliver_to.is_some() {
        let message = "`deliver_to` has no effect without `domains`: no mail is ours";
        section.reader.warn(section.span_of("deliver_to"), Code::NoEffect, message);
    }
    if let Some(inside) = &deliver_to {
        let span = section.span_of("deliver_to");
        if let Some(domain) = domains.iter().find(|domain| inside.of(domain).is_none()) {
            let message = format!("`deliver_to` names no host for {domain}, nor for \"*\"");
            section.reader.error(span, Code::MissingKey, message);
        }
        if let Some(domain) = inside.named().find(|domain| !domains.contains(domain)) {
            section.reader.error(span, Code::Contradiction, format!("`deliver_to` names {domain}, which is not in `domains`"));
        }
    }
    (domains, deliver_to)
}

/// The name of this machine, else `localhost`.
fn machine_name() -> Option<Domain> {
    let named = ["/proc/sys/kernel/hostname", "/etc/hostname"].into_iter().filter_map(|path| fs::read_to_string(path).ok());
    named.filter_map(|name| Domain::parse(name.trim()).ok()).chain(Domain::parse("localhost").ok()).next()
}

/// The day, UTC.
fn today() -> Date {
    jiff::tz::Offset::UTC.to_datetime(Timestamp::now()).date()
}
