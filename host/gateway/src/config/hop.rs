//! Hosts that the operator hands mail to, and which of them takes the mail of which of our domains.

use super::reader::{Refusal, Setting};
use super::tree::{Node, Value};
use secmx_core::mail::Domain;
use secmx_core::secmx::exchanger::Hop;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A host to hand mail to. Shown as the queue keeps it: `host:port`, an IPv6 address in brackets, the scheme before it unless it is SMTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// What it speaks.
    hop: Hop,
    /// Host name in A-labels, or IP address in brackets if it is IPv6.
    host: String,
    /// Port.
    port: u16,
}

impl NextHop {
    /// Reads `smtp://host:port`, `smtps://…` or `lmtp://…`; a port left out is 25, 465 or 24. `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (hop, authority) = text.contains("://").then(|| Hop::split(text)).flatten()?;
        let usual = match hop {
            Hop::Smtp => 25,
            Hop::Smtps => 465,
            Hop::Lmtp => 24,
        };
        let authority = authority.trim_end_matches('/');
        if let Ok(address) = authority.parse::<SocketAddr>() {
            return (address.port() != 0).then(|| Self::at(hop, address));
        }
        let bare = authority.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(authority);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::at(hop, SocketAddr::new(address, usual)));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
            None => (authority, usual),
        };
        Some(Self { hop, host: Domain::parse(host).ok()?.as_str().to_owned(), port })
    }

    fn at(hop: Hop, address: SocketAddr) -> Self {
        let host = match address.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        Self { hop, host, port: address.port() }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.hop {
            Hop::Smtp => "",
            Hop::Smtps => "smtps://",
            Hop::Lmtp => "lmtp://",
        };
        write!(f, "{scheme}{}:{}", self.host, self.port)
    }
}

impl Setting for NextHop {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a host such as \"smtp://exchange.internal:25\", \"smtps://…\" or \"lmtp://…\"";
        Self::parse(node.text(expected)?).ok_or_else(|| node.refuse(expected))
    }
}

/// `deliver_to`: who takes the mail of our domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inside {
    /// One host for all of them.
    One(NextHop),
    /// A host for each; `*` stands for those that have no entry.
    Each {
        /// By domain.
        hosts: BTreeMap<Domain, NextHop>,
        /// For the others.
        others: Option<NextHop>,
    },
}

impl Inside {
    /// Who takes the mail of that domain of ours.
    pub fn of(&self, domain: &Domain) -> Option<&NextHop> {
        match self {
            Self::One(hop) => Some(hop),
            Self::Each { hosts, others } => hosts.get(domain).or(others.as_ref()),
        }
    }

    /// Domains that have an entry of their own.
    pub fn named(&self) -> impl Iterator<Item = &Domain> {
        let hosts = if let Self::Each { hosts, .. } = self { Some(hosts.keys()) } else { None };
        hosts.into_iter().flatten()
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(hop) => hop.fmt(f),
            Self::Each { hosts, others } => {
                let each = hosts.iter().map(|(domain, hop)| format!("{domain} {hop}"));
                f.write_str(&each.chain(others.iter().map(|hop| format!("* {hop}"))).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Setting for Inside {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let Value::Table(entries) = &node.value else { return NextHop::read(node).map(Self::One) };
        let (mut hosts, mut others) = (BTreeMap::new(), None);
        for entry in entries {
            let hop = NextHop::read(&entry.node)?;
            match Domain::parse(&entry.key) {
                _ if entry.key == "*" => others = Some(hop),
                Ok(domain) => _ = hosts.insert(domain, hop),
                Err(_) => return Err(entry.node.refuse("a domain of ours or \"*\" as the key")),
            }
        }
        Ok(Self::Each { hosts, others })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops() {
        let good = [
            ("smtp://exchange.internal:2525", "exchange.internal:2525"),
            ("smtp://exchange.internal", "exchange.internal:25"),
            ("smtp://10.0.0.7:25/", "10.0.0.7:25"),
            ("smtp://[::1]:2525", "[::1]:2525"),
            ("smtp://[::1]", "[::1]:25"),
            ("smtps://relay.test", "smtps://relay.test:465"),
            ("lmtp://127.0.0.1", "lmtp://127.0.0.1:24"),
        ];
        for (text, shown) in good {
            assert_eq!(NextHop::parse(text).map(|hop| hop.to_string()).as_deref(), Some(shown), "{text}");
        }
        for bad in [
            "exchange.internal:25",
            "imap://x.test:465",
            "smtp://",
            "smtp://x.test:0",
            "smtp://x.test:99999",
            "smtp://a@x.test",
            "smtp://x.test/path",
        ] {
            assert_eq!(NextHop::parse(bad), None, "{bad:?}");
        }
    }
}
