//! `[send]`: how mail leaves, under which role, how often it is tried, and whom it may be handed to.

use super::finding::Code;
use super::login::Login;
use super::reader::{Refusal, Section, Setting};
use super::rule::{Chosen, Rule};
use super::tree::Node;
use jiff::Timestamp;
use secmx_core::channel::{Level, Requirement};
use secmx_core::mail::{Domain, MailDomain, Mailbox};
use secmx_core::queue::Schedule;
use secmx_core::role::SenderRole;
use secmx_core::ruling::Demand;
use secmx_core::smtp::client::Timeouts;
use serde::Serialize;
use std::time::Duration;

/// Ports that an SRV record may name without a word of the operator.
const PORTS: [u16; 4] = [25, 465, 587, 2525];

/// `[send]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outward {
    /// `role`: `"BES"` or `"SOS"`, for mail that no rule names. Default `"BES"`.
    pub role: SenderRole,
    /// `profile`: `"secmx-2005"` is the letter of the draft: `sos.floor` is then `"encrypted"` and `secure_wait` 0, unless they are set.
    /// Default none.
    pub profile: Option<Profile>,
    /// `hello`: the name we say in EHLO. Default `hostname`.
    pub hello: Domain,
    /// `plaintext`: `"allow"` or `"deny"`: whether BES may fall back to plaintext at all (L2-3). Default `"allow"`.
    pub plaintext: bool,
    /// `secure_wait`: how long BES waits for published SecMX hosts before plaintext to an MX is thought of. Default `"10m"`.
    pub secure_wait: Duration,
    /// `retry`, `expire`, `attempts_min`, `warn_after`: waits between attempts (default 1, 5, 15, 30 minutes, 1, 2, 4 hours; the last one
    /// repeats), when a message is returned (default `"5d"`) after at least how many attempts (default 4), and when its sender is told
    /// that it waits (default `"4h"`).
    pub schedule: Schedule,
    /// `port`: where mail exchangers listen. Default 25; another one is for tests.
    pub port: u16,
    /// `discover`: where hosts are looked for, a list of `"srv"` (`_secmx._tcp`), `"smtp-tls"` (`_smtp-tls._tcp`) and `"mx"`. Default
    /// `["srv", "mx"]`.
    pub discover: Vec<Discover>,
    /// `verify`: what a domain publishes that its hosts are held to, a list of `"dane"` (RFC 7672) and `"mta-sts"` (RFC 8461); where both
    /// speak, DANE decides. Default both.
    pub verify: Vec<Verify>,
    /// `mta_sts`: how policies of domains are fetched.
    pub mta_sts: MtaSts,
    /// `downgrade`: what follows when every host of a domain falls below the best level that the domain was ever reached with: `"warn"` says
    /// so in the log, `"defer"` also makes such mail wait. Default `"warn"`.
    pub downgrade: Downgrade,
    /// `ports`: ports that an SRV record may name, besides 25, 465, 587 and 2525. Default none.
    pub ports: Vec<u16>,
    /// `allow_private`: whether hosts that discovery finds may lie on loopback or private addresses. Default `false`.
    pub allow_private: bool,
    /// `connect_timeout`: how long a host may take to answer a connection. Default `"30s"`.
    pub connect_timeout: Duration,
    /// `timeouts`: the longest waits for `greeting`, `hello` (default `"1m"`), `starttls`, `handshake` (`"30s"`), `mail`, `rcpt` (`"5m"`),
    /// `data` (`"2m"`), `block` (`"3m"`), `end_of_data` (`"10m"`) and `quit` (`"5s"`); those from MAIL on as RFC 5321, 4.5.3.2 asks.
    pub timeouts: Timeouts,
    /// `sos`: how strict secure only sending is.
    pub sos: SecureOnly,
    /// `[[send.rule]]`: exceptions by recipient; the first that fits holds.
    pub rules: Vec<Rule>,
    /// `[[send.login]]`: who we are to hosts that the configuration names.
    pub logins: Vec<Login>,
}

/// `[send.sos]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureOnly {
    /// `accept`: `"any-tls"` takes an MX that offers STARTTLS for a BER, `"srv-only"` wants published SecMX hosts. Default `"any-tls"`.
    pub accept: Accept,
    /// `floor`: the least that a host must prove: `"encrypted"` nothing but TLS, `"host"` its name, `"domain"` the mail domain.
    /// Default `"host"`.
    pub floor: Level,
    /// `max_wait`: when a message is returned whose hosts could not be reached at all; 0 is the letter of the draft. Default `"24h"`.
    pub max_wait: Duration,
}

/// `[send.mta_sts]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MtaSts {
    /// `timeout`: how long a policy host may take; without a policy from it an earlier one holds, or none. Default `"10s"`.
    pub timeout: Duration,
    /// `port`: where policy hosts listen. Default 443; another one is for tests.
    pub port: u16,
}

/// One entry of `send.discover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Discover {
    /// `_secmx._tcp` SRV.
    Srv,
    /// `_smtp-tls._tcp` SRV.
    SmtpTls,
    /// MX, or the domain's own address.
    Mx,
}

impl Setting for Discover {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("srv", Self::Srv), ("smtp-tls", Self::SmtpTls), ("mx", Self::Mx)])
    }
}

/// One entry of `send.verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verify {
    /// TLSA records.
    Dane,
    /// MTA-STS policies.
    MtaSts,
}

impl Setting for Verify {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("dane", Self::Dane), ("mta-sts", Self::MtaSts)])
    }
}

/// `send.downgrade`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Downgrade {
    /// It is said.
    Warn,
    /// It is said, and the mail waits.
    Defer,
}

impl Setting for Downgrade {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("warn", Self::Warn), ("defer", Self::Defer)])
    }
}

/// `send.profile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// The letter of the draft of 2005.
    Secmx2005,
}

/// `send.plaintext`: whether plaintext may be used at all.
#[derive(Clone)]
struct Plaintext(bool);

/// `send.sos.accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    /// Any exchanger with TLS that meets the floor.
    AnyTls,
    /// Published SecMX hosts only.
    SrvOnly,
}

impl Setting for Profile {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("secmx-2005", Self::Secmx2005)])
    }
}

impl Setting for Plaintext {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("allow", Self(true)), ("deny", Self(false))])
    }
}

impl Setting for Accept {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("any-tls", Self::AnyTls), ("srv-only", Self::SrvOnly)])
    }
}

/// A floor of secure only sending: at least TLS.
struct SecureFloor(Level);

impl Setting for SecureFloor {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("encrypted", Level::Encrypted), ("host", Level::Host), ("domain", Level::Domain)]).map(Self)
    }
}

impl Outward {
    /// What holds for a recipient at that time: the first rule that names it and has not ended, and `[send]` for what the rule leaves
    /// open. A secure only role brings its floor along.
    pub fn rule_for(&self, to: &Mailbox, now: Timestamp) -> Chosen {
        let rule = self.rule_of(to, now);
        Chosen {
            rule: rule.map(|rule| rule.name.clone()),
            demand: self.demand(rule, rule.and_then(|rule| rule.role).unwrap_or(self.role)),
            next_hop: rule.and_then(|rule| rule.next_hop.as_ref()).map(ToString::to_string),
            trust_onward: rule.is_some_and(|rule| rule.trust_onward),
        }
    }

    /// What holds for a recipient at that time if its mail goes under this role, whatever role its rule names.
    pub fn demand_as(&self, role: SenderRole, to: &Mailbox, now: Timestamp) -> Demand {
        self.demand(self.rule_of(to, now), role)
    }

    fn rule_of(&self, to: &Mailbox, now: Timestamp) -> Option<&Rule> {
        let today = jiff::tz::Offset::UTC.to_datetime(now).date();
        self.rules.iter().find(|rule| !rule.is_over(today) && rule.names(to))
    }

    fn demand(&self, rule: Option<&Rule>, role: SenderRole) -> Demand {
        let own = Requirement::at_least(rule.and_then(|rule| rule.floor).unwrap_or_default());
        let of_role = Requirement::at_least(if role == SenderRole::SecureOnly { self.sos.floor } else { Level::Plain });
        Demand { role, floor: own.join(of_role) }
    }

    /// The rule that knows the hosts of that domain, by a pin or an authority of its own.
    pub fn host_rule(&self, domain: &MailDomain, now: Timestamp) -> Option<&Rule> {
        let today = jiff::tz::Offset::UTC.to_datetime(now).date();
        self.rules.iter().find(|rule| !rule.is_over(today) && rule.knows_hosts_of(domain))
    }

    /// Ports that a domain may name in its SRV records: the usual ones, that of MX hosts, and what the operator adds (D-4).
    pub fn srv_ports(&self) -> Vec<u16> {
        PORTS.into_iter().chain([self.port]).chain(self.ports.iter().copied()).collect()
    }

    pub(super) fn read(section: &mut Section<'_>, hostname: &Domain) -> Self {
        let profile: Option<Profile> = section.optional("profile");
        let role = section.or("role", SenderRole::default());
        let (wait, floor) = match profile {
            Some(Profile::Secmx2005) => (Duration::ZERO, Level::Encrypted),
            None => (Duration::from_secs(600), Level::Host),
        };
        let sos = section.table("sos", |section| SecureOnly {
            accept: section.or("accept", Accept::AnyTls),
            floor: section.or("floor", SecureFloor(floor)).0,
            max_wait: section.or("max_wait", Duration::from_secs(24 * 3600)),
        });
        Self {
            role,
            profile,
            hello: section.or("hello", hostname.clone()),
            plaintext: section.or("plaintext", Plaintext(true)).0,
            secure_wait: section.or("secure_wait", wait),
            schedule: read_schedule(section),
            port: section.or("port", 25),
            discover: section.or("discover", vec![Discover::Srv, Discover::Mx]),
            verify: section.or("verify", vec![Verify::Dane, Verify::MtaSts]),
            mta_sts: section.table("mta_sts", |section| MtaSts {
                timeout: section.or("timeout", Duration::from_secs(10)),
                port: section.or("port", 443),
            }),
            downgrade: section.or("downgrade", Downgrade::Warn),
            ports: section.or("ports", Vec::new()),
            allow_private: section.or("allow_private", false),
            connect_timeout: section.or("connect_timeout", Duration::from_secs(30)),
            timeouts: section.table("timeouts", read_timeouts),
            sos,
            logins: Login::read_all(section),
            rules: section.tables("rule", |section| Rule::read(section, role)).into_iter().flatten().collect(),
        }
    }
}

fn read_timeouts(section: &mut Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    Timeouts {
        greeting: section.or("greeting", default.greeting),
        hello: section.or("hello", default.hello),
        starttls: section.or("starttls", default.starttls),
        handshake: section.or("handshake", default.handshake),
        mail: section.or("mail", default.mail),
        rcpt: section.or("rcpt", default.rcpt),
        data: section.or("data", default.data),
        block: section.or("block", default.block),
        end_of_data: section.or("end_of_data", default.end_of_data),
        quit: section.or("quit", default.quit),
    }
}

fn read_schedule(section: &mut Section<'_>) -> Schedule {
    let default = Schedule::default();
    let schedule = Schedule {
        retry: section.or("retry", default.retry.clone()),
        expire: section.or("expire", default.expire),
        attempts_min: section.or("attempts_min", default.attempts_min),
        warn_after: section.or("warn_after", default.warn_after),
    };
    if schedule.retry.is_empty() || schedule.retry.contains(&Duration::ZERO) {
        let message = "`send.retry`: expected waits such as [\"1m\", \"5m\", \"1h\"], none of them 0";
        section.reader.error(section.span_of("retry"), Code::Value, message);
    }
    if schedule.warn_after >= schedule.expire {
        let message = "`send.warn_after` is not before `send.expire`: the message is returned first, and nobody is told that it waits";
        section.reader.warn(section.span_of("warn_after"), Code::NoEffect, message);
    }
    schedule
}
