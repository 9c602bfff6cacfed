//! A host that may take the mail, and where we heard of it.

use crate::channel::{Level, Requirement};
use crate::mail::Domain;
use std::fmt;
use std::net::IpAddr;

/// The name of an exchanger: a host name, or the address of a literal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExchangerName {
    /// A host name; its addresses are looked up when it is tried.
    Domain(Domain),
    /// An address, from an address literal or the configuration.
    Address(IpAddr),
}

impl fmt::Display for ExchangerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What a host that the operator named speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hop {
    /// SMTP, with STARTTLS as the role has it.
    #[default]
    Smtp,
    /// SMTP over TLS from the first octet (RFC 8314, 3.3).
    Smtps,
    /// LMTP (RFC 2033).
    Lmtp,
}

impl Hop {
    /// Reads the scheme of a next hop and what stands behind it. Without a scheme it is SMTP.
    pub fn split(next_hop: &str) -> Option<(Self, &str)> {
        match next_hop.split_once("://") {
            None => Some((Self::Smtp, next_hop)),
            Some(("smtp", rest)) => Some((Self::Smtp, rest)),
            Some(("smtps", rest)) => Some((Self::Smtps, rest)),
            Some(("lmtp", rest)) => Some((Self::Lmtp, rest)),
            Some(_) => None,
        }
    }
}

/// Where an exchanger was found (D-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// `_secmx._tcp` SRV (draft, section 5.1.1).
    SecmxSrv,
    /// `_smtp-tls._tcp` SRV.
    SmtpTlsSrv,
    /// MX.
    Mx,
    /// The domain's own address records (RFC 5321, 5.1).
    AddressRecord,
    /// The operator's configuration.
    Configured(Hop),
}

/// A host that may take the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchanger {
    /// Its name.
    pub name: ExchangerName,
    /// TCP port, never 0.
    pub port: u16,
    /// Where we heard of it.
    pub source: Source,
    /// SRV priority or MX preference; lower is tried first.
    pub preference: u16,
    /// The records that name it are DNSSEC-secure.
    pub dnssec_secure: bool,
    /// The best level it could reach by what is published.
    pub expected: Level,
}

impl Exchanger {
    /// TLS from the first octet? "STARTTLS on any SRV port except 465, which is implicit TLS. `_smtp-tls._tcp`: port ≠ 25 is implicit
    /// TLS" (profile, decision 5).
    pub fn implicit_tls(&self) -> bool {
        match self.source {
            Source::SecmxSrv => self.port == 465,
            Source::SmtpTlsSrv => self.port != 25,
            Source::Configured(hop) => hop == Hop::Smtps,
            Source::Mx | Source::AddressRecord => false,
        }
    }

    /// Whether the domain publishes it as secure.
    pub fn is_srv(&self) -> bool {
        matches!(self.source, Source::SecmxSrv | Source::SmtpTlsSrv)
    }

    /// Whether the operator named it, rather than a stranger's DNS.
    pub fn is_configured(&self) -> bool {
        matches!(self.source, Source::Configured(_))
    }

    /// Whether it speaks LMTP.
    pub fn is_lmtp(&self) -> bool {
        self.source == Source::Configured(Hop::Lmtp)
    }

    /// What the host itself stands for: "Never plaintext to an SRV host. A published SecMX host is by definition secure" (profile,
    /// decision 2).
    pub fn floor(&self) -> Requirement {
        if self.is_srv() { Requirement::at_least(Level::Encrypted) } else { Requirement::NONE }
    }
}
