//! `[receive.NAME]`: a listener, the role it plays, and whom it takes mail from.

use super::finding::Code;
use super::reader::{Reader, Refusal, Section, Setting};
use super::tree::{Node, Span, Value};
use super::value::{Network, OrZero, Size};
use secmx_core::role::ReceiverRole;
use secmx_core::smtp::server::Limits as SessionLimits;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The listener that there is without a configuration.
const LOCAL: &str = "local";

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
    /// `tls`: `"starttls"`, or `"implicit"` for TLS from the first octet (RFC 8314), as on port 465. Default `"starttls"`.
    pub tls: Start,
    /// `proxy_from`: networks of proxies in front of this listener. They, and nobody else, begin with a PROXY protocol v2 header that
    /// names the client. Default none.
    pub proxy_from: Vec<Network>,
    /// `strict_header`: whether a header beyond ASCII is refused unless the client asked for SMTPUTF8 (RFC 6531). Default `false`: many
    /// programs that send one have never heard of it.
    pub strict_header: bool,
    /// `normalize_from`: networks of clients in whose messages a bare CR or LF is made a line end, as it is most likely meant. Only
    /// CRLF "." CRLF ends such a message all the same. Default none: a message with one is refused with 550 5.5.2.
    pub normalize_from: Vec<Network>,
    /// `limits`.
    pub limits: Limits,
}

/// How TLS begins on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Start {
    /// With STARTTLS (RFC 3207).
    #[default]
    StartTls,
    /// With the connection (RFC 8314, 3).
    Implicit,
}

impl Setting for Start {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("starttls", Self::StartTls), ("implicit", Self::Implicit)])
    }
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
    /// `recipients`: recipients of one message, at least 100 (RFC 5321, 4.5.3.1.8). Default 1000.
    pub recipients: usize,
    /// `connections`: connections at the same time. Default 2000.
    pub connections: usize,
    /// `per_ip`: connections at the same time from one address. Default 50.
    pub per_ip: usize,
    /// `greet_delay`: how long the greeting is held back; a client that speaks before it is refused (RFC 5321, 4.3.1), as programs that send
    /// junk do. Default 0: it is not held back.
    pub greet_delay: Duration,
    /// `idle`: how long a client may be silent. RFC 5321, 4.5.3.2.7 asks for 5 minutes at least. Default `"5m"`.
    pub idle: Duration,
    /// `stress_idle`: the same while three quarters of `connections` are taken. Default `"10s"`.
    pub stress_idle: Duration,
    /// `pause`: how long a client may be silent within a message. Default `"3m"`.
    pub pause: Duration,
    /// `pace`: octets a second that a message must come in with, on average, from where it is awaited; 0 for any. Default 500.
    pub pace_octets: u64,
    /// `grace`: how long a message may come in at any pace. Default `"1m"`.
    pub grace: Duration,
    /// `unread`: how long a client may leave a reply unread. Default `"1m"`.
    pub unread: Duration,
    /// `command`: octets of a command line, at least 512 (RFC 5321, 4.5.3.1.4). Default 2048.
    pub command_octets: usize,
    /// `line`: octets of a line of text, at least 1000 (RFC 5321, 4.5.3.1.6). Default 10000.
    pub line_octets: usize,
    /// `header`: size of a message's header section. Default `"100KiB"`; octets here.
    pub header_octets: u64,
    /// `header_fields`: fields of a header. Default 1000.
    pub header_fields: usize,
    /// `hops`: Received fields, at least 100 (RFC 5321, 6.3); a message with more is in a loop. Default 100.
    pub hops: usize,
    /// `errors`: refused commands before a session ends. Default 20.
    pub errors: u32,
    /// `idle_commands`: commands between two messages that come to nothing, such as NOOP, before a session ends. Default 100.
    pub idle_commands: u32,
    /// `auth_failures`: attempts to authenticate that fail before a session ends. Default 3.
    pub auth_failures: u32,
    /// `messages`: messages of one session, said in EHLO (RFC 9422). Default 1000.
    pub messages: u32,
}

impl Listener {
    /// Whether a client at that address may send to domains that are not ours.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(client))
    }

    /// Whether a bare CR or LF in a message of a client at that address is made a line end.
    pub fn normalizes(&self, client: IpAddr) -> bool {
        self.normalize_from.iter().any(|network| network.contains(client))
    }

    /// Whether a client at that address is one of our own systems: it may send elsewhere, or its way is our own network.
    pub fn is_for_ours(&self, client: IpAddr) -> bool {
        self.role == ListenerRole::Submit || self.trusted || self.allows(client)
    }

    /// The listener of a configuration that names none.
    pub(super) fn local() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 2525))],
            role: ListenerRole::Receiver(ReceiverRole::BestEffort),
            allow: Network::LOOPBACK.to_vec(),
            trusted: false,
            tls: Start::default(),
            proxy_from: Vec::new(),
            strict_header: false,
            normalize_from: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Names of listeners, also of those that cannot be read.
    pub(super) fn names(section: &mut Section<'_>) -> Vec<String> {
        match section.raw("receive") {
            Some(Value::Table(entries)) if !entries.is_empty() => entries.iter().map(|entry| entry.key.clone()).collect(),
            _ => vec![LOCAL.to_owned()],
        }
    }

    /// Every listener of the file by its name, or the local one. Errors are noted, and such a listener is left out.
    pub(super) fn read_all(section: &mut Section<'_>) -> BTreeMap<String, Self> {
        let found: Vec<_> =
            section.named("receive", |name, section| Some((name.to_owned(), Self::read(section)?))).into_iter().flatten().collect();
        refuse_shared_addresses(section.reader, &found);
        let listeners: BTreeMap<_, _> = found.into_iter().map(|(name, (listener, _))| (name, listener)).collect();
        if listeners.is_empty() { BTreeMap::from([(LOCAL.to_owned(), Self::local())]) } else { listeners }
    }

    fn read(section: &mut Section<'_>) -> Option<(Self, Span)> {
        let span = section.span_of("listen");
        let listen: Option<Vec<SocketAddr>> = section.required("listen");
        let role: Option<ListenerRole> = section.required("role");
        let allow: Option<Vec<Network>> = section.optional("allow");
        let trusted = section.or("trusted", false);
        let (tls, proxy_from) = (section.or("tls", Start::default()), section.or("proxy_from", Vec::new()));
        let strict_header = section.or("strict_header", false);
        let normalize_from = section.or("normalize_from", Vec::new());
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
        let allow = allow.unwrap_or(default);
        let listener = Self { listen: listen?, role, allow, trusted, tls, proxy_from, strict_header, normalize_from, limits };
        Some((listener, span))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets: 50 << 20,
            recipients: 1000,
            connections: 2000,
            per_ip: 50,
            greet_delay: Duration::ZERO,
            idle: Duration::from_secs(300),
            stress_idle: Duration::from_secs(10),
            pause: Duration::from_secs(180),
            pace_octets: 500,
            grace: Duration::from_secs(60),
            unread: Duration::from_secs(60),
            command_octets: 2048,
            line_octets: 10_000,
            header_octets: 100 << 10,
            header_fields: 1000,
            hops: 100,
            errors: 20,
            idle_commands: 100,
            auth_failures: 3,
            messages: 1000,
        }
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
            greet_delay: section.or("greet_delay", default.greet_delay),
            idle: section.or("idle", default.idle),
            stress_idle: section.or("stress_idle", default.stress_idle),
            pause: section.or("pause", default.pause),
            pace_octets: section.or("pace", OrZero(Size(default.pace_octets))).0.0,
            grace: section.or("grace", default.grace),
            unread: section.or("unread", default.unread),
            command_octets: section.or("command", default.command_octets),
            line_octets: section.or("line", default.line_octets),
            header_octets: section.or("header", Size(default.header_octets)).0,
            header_fields: section.or("header_fields", default.header_fields),
            hops: section.or("hops", default.hops),
            errors: section.or("errors", default.errors),
            idle_commands: section.or("idle_commands", default.idle_commands),
            auth_failures: section.or("auth_failures", default.auth_failures),
            messages: section.or("messages", default.messages),
        };
        limits.hold_to_the_least(section);
        limits
    }

    /// What RFC 5321 lets every client count on.
    fn hold_to_the_least(&self, section: &Section<'_>) {
        let least = [
            ("recipients", self.recipients, 100, "recipients (RFC 5321, 4.5.3.1.8)"),
            ("command", self.command_octets, 512, "octets (RFC 5321, 4.5.3.1.4)"),
            ("line", self.line_octets, 1000, "octets (RFC 5321, 4.5.3.1.6)"),
            ("hops", self.hops, 100, "hops (RFC 5321, 6.3)"),
        ];
        for (key, value, least, what) in least {
            if value < least {
                let message = format!("`{}`: every client may count on {least} {what}", section.dotted(key));
                section.reader.error(section.span_of(key), Code::Value, message);
            }
        }
    }

    /// As a session takes them.
    pub(super) fn of_session(&self) -> SessionLimits {
        SessionLimits {
            command_octets_max: self.command_octets,
            line_octets_max: self.line_octets,
            message_octets_max: self.message_octets,
            header_octets_max: usize::try_from(self.header_octets).unwrap_or(usize::MAX),
            header_fields_max: self.header_fields,
            recipients_max: self.recipients,
            hops_max: self.hops,
            errors_max: self.errors,
            idle_commands_max: self.idle_commands,
            auth_failures_max: self.auth_failures,
            messages_max: self.messages,
            command: self.idle,
            data: self.pause,
        }
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
