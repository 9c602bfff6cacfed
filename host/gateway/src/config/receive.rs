//! `[receive.NAME]`: a listener, the role it plays, and whom it takes mail from.

use super::finding::Code;
use super::reader::{Reader, Refusal, Section, Setting};
use super::tree::{Node, Span};
use super::value::{Network, Size};
use secmx_core::role::ReceiverRole;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// `[receive.NAME]`. Without any, one listener `local` on 127.0.0.1:2525 plays BER and lets programs on this machine send outward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `listen`: IP address with port, or a list of them; port 0 lets the system choose. Required.
    pub listen: Vec<SocketAddr>,
    /// `role`: `"BER"`, `"SOR"` or `"submit"`. Required. `submit` takes mail outward from the networks in `allow` and nothing else.
    pub role: ListenerRole,
    /// `allow`: networks such as `"10.0.0.0/24"` whose clients may send to any domain. Default: loopback for `submit`, nobody for BER and
    /// SOR, which then take mail for `domains` only.
    pub allow: Vec<Network>,
    /// `trusted`: whether the way from the clients of this listener lies inside your own network, so that evidence says so (S-2).
    /// Default `false`.
    pub trusted: bool,
    /// `limits`.
    pub limits: Limits,
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListenerRole {
    /// `BER` or `SOR`: takes mail from other servers.
    Receiver(ReceiverRole),
    /// `submit`: takes mail from our own systems, outward.
    Submit,
}

impl ListenerRole {
    /// Name of the receiver role policy that sets the terms. Submission is a BER for networks that may relay.
    pub fn policy(self) -> &'static str {
        match self {
            Self::Receiver(ReceiverRole::SecureOnly) => "sor",
            Self::Receiver(ReceiverRole::BestEffort) | Self::Submit => "ber",
        }
    }
}

impl fmt::Display for ListenerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receiver(role) => role.fmt(f),
            Self::Submit => f.write_str("submit"),
        }
    }
}

impl Setting for ListenerRole {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[
            ("BER", Self::Receiver(ReceiverRole::BestEffort)),
            ("SOR", Self::Receiver(ReceiverRole::SecureOnly)),
            ("submit", Self::Submit),
        ])
    }
}

/// `[receive.NAME.limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `message`: size of one message. Default `"50MiB"`; octets here.
    pub message_octets: u64,
    /// `recipients`: recipients of one message, at least 100 (RFC 5321, 4.5.3.1.8). Default 500.
    pub recipients: usize,
    /// `connections`: connections at the same time. Default 2000.
    pub connections: usize,
    /// `per_ip`: connections at the same time from one address. Default 20.
    pub per_ip: usize,
    /// `idle`: how long a client may be silent. RFC 5321, 4.5.3.2.7 asks for 5 minutes at least. Default `"5m"`.
    pub idle: Duration,
}

impl Listener {
    /// Whether a client at that address may send to domains that are not ours.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(client))
    }

    /// The listener of a configuration that names none.
    pub(super) fn local() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 2525))],
            role: ListenerRole::Receiver(ReceiverRole::BestEffort),
            allow: Network::LOOPBACK.to_vec(),
            trusted: false,
            limits: Limits::default(),
        }
    }

    /// Every listener of the file by its name, or the local one. Errors are noted, and such a listener is left out.
    pub(super) fn read_all(section: &mut Section<'_>) -> BTreeMap<String, Self> {
        let found: Vec<_> =
            section.named("receive", |name, section| Some((name.to_owned(), Self::read(section)?))).into_iter().flatten().collect();
        refuse_shared_addresses(section.reader, &found);
        let listeners: BTreeMap<_, _> = found.into_iter().map(|(name, (listener, _))| (name, listener)).collect();
        if listeners.is_empty() { BTreeMap::from([("local".to_owned(), Self::local())]) } else { listeners }
    }

    fn read(section: &mut Section<'_>) -> Option<(Self, Span)> {
        let span = section.span_of("listen");
        let listen: Option<Vec<SocketAddr>> = section.required("listen");
        let role: Option<ListenerRole> = section.required("role");
        let allow: Option<Vec<Network>> = section.optional("allow");
        let trusted = section.or("trusted", false);
        let limits = section.table("limits", Limits::read);
        for wide in allow.iter().flatten().filter(|network| network.is_too_wide()) {
            let message = format!(
                "`{}`: {wide} is not one's own network; anyone there could send mail through this gateway",
                section.dotted("allow")
            );
            section.reader.error(section.span_of("allow"), Code::OpenRelay, message);
        }
        if listen.as_ref().is_some_and(Vec::is_empty) {
            section.reader.error(span, Code::Value, format!("`{}` names no address", section.dotted("listen")));
        }
        let role = role?;
        let default = if role == ListenerRole::Submit { Network::LOOPBACK.to_vec() } else { Vec::new() };
        let listener = Self { listen: listen?, role, allow: allow.unwrap_or(default), trusted, limits };
        Some((listener, span))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_octets: 50 << 20, recipients: 500, connections: 2000, per_ip: 20, idle: Duration::from_secs(300) }
    }
}

impl Limits {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let limits = Self {
            message_octets: section.or("message", Size(default.message_octets)).0,
            recipients: section.or("recipients", default.recipients),
            connections: section.or("connections", default.connections),
            per_ip: section.or("per_ip", default.per_ip),
            idle: section.or("idle", default.idle),
        };
        // RFC 5321, 4.5.3.1.8: "The minimum total number of recipients that MUST be buffered is 100 recipients."
        if limits.recipients < 100 {
            let message = format!("`{}`: every client may count on 100 recipients (RFC 5321, 4.5.3.1.8)", section.dotted("recipients"));
            section.reader.error(section.span_of("recipients"), Code::Value, message);
        }
        limits
    }
}

/// Two listeners cannot have one address.
fn refuse_shared_addresses(reader: &Reader, listeners: &[(String, (Listener, Span))]) {
    let each = listeners.iter().flat_map(|(name, (listener, span))| listener.listen.iter().map(move |address| (name, *address, *span)));
    let addresses: Vec<_> = each.collect();
    for (index, (name, address, span)) in addresses.iter().enumerate() {
        let earlier = addresses.iter().take(index).find(|(_, other, _)| collide(*address, *other));
        if let Some((other, _, _)) = earlier {
            let message = format!("`receive.{name}` and `receive.{other}` both listen on {address}");
            reader.error(*span, Code::Twice, message);
        }
    }
}

/// Whether one socket is in the way of the other. The unspecified address takes a port on all addresses of its family.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let overlap = one.ip() == other.ip() || (same_family && (one.ip().is_unspecified() || other.ip().is_unspecified()));
    one.port() == other.port() && one.port() != 0 && overlap
}
