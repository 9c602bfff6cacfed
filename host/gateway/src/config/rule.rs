//! `[[send.rule]]`: what holds for some recipients only, perhaps until a day.
//!
//! A rule that has ended holds no more, also in a gateway that has run since before that day.

use super::finding::Code;
use super::hop::NextHop;
use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use jiff::ToSpan;
use jiff::civil::Date;
use secmx_core::channel::Level;
use secmx_core::mail::{Domain, MailDomain, Mailbox};
use secmx_core::role::SenderRole;
use secmx_core::ruling::Demand;
use std::fmt;
use std::path::PathBuf;

/// How long before its end an exception is pointed out, days.
const NOTICE_DAYS: i64 = 30;

/// `[[send.rule]]`. What it leaves open is as `[send]` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `name`: for logs and people. Required.
    pub name: String,
    /// `to`: recipients: `"*.govt.nz"` any domain below it, `"health.example"` that domain, `"bo@health.example"` that address, `"*"` all;
    /// one or a list. Required.
    pub to: Vec<Pattern>,
    /// `role`: `"BES"` or `"SOS"`. Default `send.role`.
    pub role: Option<SenderRole>,
    /// `floor`: the least that a host must prove: `"plain"`, `"encrypted"`, `"host"`, `"domain"`. It adds to `send.sos.floor`, it never
    /// takes from it. Default `"plain"`.
    pub floor: Option<Level>,
    /// `expires`: the last day on which the rule holds, UTC, such as `2027-03-31`. Default none.
    pub expires: Option<Date>,
    /// `next_hop`: `"smtp://host:port"`, or `smtps://` or `lmtp://`, which takes the mail instead of the hosts that discovery finds. Default none.
    pub next_hop: Option<NextHop>,
    /// `trust_onward`: whether that host is known to keep secure only mail secure. Default `false`.
    pub trust_onward: bool,
    /// `trust`: paths of PEM files with the authorities that alone are believed for the hosts of these domains, such as a partner's own.
    /// Such hosts must prove the level `"domain"`. Default none.
    pub trust: Vec<PathBuf>,
    /// `pins`: SHA-256 digests of keys (SubjectPublicKeyInfo) or of whole certificates of these hosts, as `"sha256:"` and 64 hexadecimal
    /// digits; one that matches is enough, whatever the certificate says. Such hosts must prove the level `"domain"`. Default none.
    pub pins: Vec<Pin>,
}

/// One entry of `pins`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

impl Setting for Pin {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "\"sha256:\" and 64 hexadecimal digits";
        let digits = node.text(expected)?.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.is_ascii());
        let octet = |place: usize| digits.and_then(|digits| u8::from_str_radix(digits.get(place * 2..place * 2 + 2)?, 16).ok());
        let octets: Option<Vec<u8>> = (0..32).map(octet).collect();
        octets.and_then(|octets| octets.try_into().ok()).map(Self).ok_or_else(|| node.refuse(expected))
    }
}

/// What was chosen for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Name of the rule; `None` when none fits and `[send]` holds.
    pub rule: Option<String>,
    /// Least role and level.
    pub demand: Demand,
    /// `host:port` that takes the mail instead of the hosts that discovery finds.
    pub next_hop: Option<String>,
    /// Whether that host is known to keep secure only mail secure.
    pub trust_onward: bool,
}

/// One entry of `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `*`.
    Everyone,
    /// `*.govt.nz`: every domain below it, not itself.
    Below(Domain),
    /// `health.example`, or an address literal.
    At(MailDomain),
    /// `bo@health.example`, in any case.
    Mailbox(Mailbox),
}

impl Pattern {
    /// Reads one. `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            _ if text == "*" => Some(Self::Everyone),
            Some(zone) => Domain::parse(zone).ok().map(Self::Below),
            None if text.contains('@') => Mailbox::parse(text.as_bytes(), true).ok().map(Self::Mailbox),
            None => MailDomain::parse(text).ok().map(Self::At),
        }
    }

    /// Whether it names every recipient of that domain.
    pub fn covers(&self, domain: &MailDomain) -> bool {
        match self {
            Self::Everyone => true,
            Self::Below(zone) => matches!(domain, MailDomain::Name(domain) if domain != zone && domain.is_within(zone)),
            Self::At(only) => only == domain,
            Self::Mailbox(_) => false,
        }
    }

    /// Whether it names that recipient.
    pub fn names(&self, to: &Mailbox) -> bool {
        match self {
            Self::Everyone | Self::Below(_) | Self::At(_) => self.covers(to.domain()),
            // Only the domain may tell `Bo` from `bo` (RFC 5321, 2.4). A rule that protects must not be slipped past by a capital.
            Self::Mailbox(mailbox) => {
                to.domain() == mailbox.domain() && to.local_part().to_lowercase() == mailbox.local_part().to_lowercase()
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("*"),
            Self::Below(zone) => write!(f, "*.{zone}"),
            Self::At(domain) => domain.fmt(f),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

impl Setting for Pattern {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "recipients such as \"*.govt.nz\", \"health.example\" or \"bo@health.example\"";
        Self::parse(node.text(expected)?).ok_or_else(|| node.refuse(expected))
    }
}

fn read_trust(section: &mut Section<'_>) -> Vec<PathBuf> {
    let span = section.span_of("trust");
    let base = section.reader.base(span);
    let named: Vec<PathBuf> = section.or("trust", Vec::new());
    let paths: Vec<PathBuf> = named.into_iter().map(|path| base.join(path)).collect();
    paths.iter().for_each(|path| section.reader.must_open(span, path));
    paths
}

impl Rule {
    /// Whether one of its patterns names that recipient.
    pub fn names(&self, to: &Mailbox) -> bool {
        self.to.iter().any(|pattern| pattern.names(to))
    }

    /// Whether it says who the hosts of its domains are.
    pub fn knows_hosts(&self) -> bool {
        !self.trust.is_empty() || !self.pins.is_empty()
    }

    /// Whether it knows the hosts of that domain.
    pub fn knows_hosts_of(&self, domain: &MailDomain) -> bool {
        self.knows_hosts()
            && self.to.iter().any(|pattern| match pattern {
                Pattern::Everyone => true,
                Pattern::Below(zone) => domain.name().is_some_and(|domain| domain != zone && domain.is_within(zone)),
                Pattern::At(own) => own == domain,
                Pattern::Mailbox(_) => false,
            })
    }

    /// Whether its last day has passed.
    pub fn is_over(&self, today: Date) -> bool {
        self.expires.is_some_and(|last| today > last)
    }

    pub(super) fn read(section: &mut Section<'_>, default_role: SenderRole) -> Option<Self> {
        let (name, to) = (section.required("name"), section.required("to"));
        let rule = Self {
            name: name.unwrap_or_default(),
            role: section.optional("role"),
            floor: section.optional("floor"),
            expires: section.optional("expires"),
            next_hop: section.optional("next_hop"),
            trust_onward: section.or("trust_onward", false),
            trust: read_trust(section),
            pins: section.or("pins", Vec::new()),
            to: to?,
        };
        rule.check_hosts(section);
        rule.check_onward(section, default_role);
        rule.check_end(section);
        Some(rule)
    }

    /// "The next hop must support REQUIRETLS or the route must say `trust_onward = true`" (profile, decision 11).
    fn check_onward(&self, section: &Section<'_>, default_role: SenderRole) {
        let secure_only = self.role.unwrap_or(default_role) == SenderRole::SecureOnly;
        let (reader, name) = (section.reader, &self.name);
        if secure_only && self.next_hop.is_some() && !self.trust_onward {
            let message = format!(
                "rule {name:?} hands secure only mail to a host that may send it on in clear; if it does not, say `trust_onward = true`"
            );
            reader.error(section.span_of("next_hop"), Code::Contradiction, message);
        }
        if self.trust_onward && self.next_hop.is_none() {
            reader.warn(section.span_of("trust_onward"), Code::NoEffect, format!("rule {name:?} has no `next_hop` to trust"));
        }
    }

    /// Hosts are those of a domain, not of one of its mailboxes.
    fn check_hosts(&self, section: &Section<'_>) {
        let mailbox = self.to.iter().find(|pattern| matches!(pattern, Pattern::Mailbox(_)));
        if let Some(mailbox) = mailbox.filter(|_| self.knows_hosts()) {
            let message = format!("`trust` and `pins` are about the hosts of whole domains, and {mailbox} is one address");
            section.reader.error(section.span_of("to"), Code::Contradiction, message);
        }
    }

    fn check_end(&self, section: &Section<'_>) {
        let Some(last) = self.expires else { return };
        let (reader, name, span) = (section.reader, &self.name, section.span_of("expires"));
        let soon = reader.today.checked_add(NOTICE_DAYS.days()).is_ok_and(|limit| last <= limit);
        if self.is_over(reader.today) {
            reader.warn(span, Code::ExceptionOver, format!("the exception {name:?} ended {last} and is ignored"));
        } else if soon {
            reader.warn(span, Code::ExceptionEnds, format!("the exception {name:?} ends {last}"));
        }
    }
}
