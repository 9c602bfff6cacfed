//! A host that may take the mail, and where we heard of it.

use super::dane::Tlsa;
use crate::channel::{Level, Requirement};
use crate::mail::{Domain, MailDomain};
use crate::report::Cause;
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
    /// What is known of it besides.
    pub evidence: Evidence,
}

/// What is published or configured about a host, beyond the record that names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// Its TLSA records.
    pub tlsa: Tlsa,
    /// The name they stand under, when it is what the exchanger's name is an alias of (RFC 7672, 2.2.3).
    pub tlsa_base: Option<Domain>,
    /// Who else says that the name is a host of the mail domain.
    pub vouched: Option<Voucher>,
    /// What whoever vouches for it demands.
    pub floor: Requirement,
    /// Why it must not be used now, such as TLSA records that fail DNSSEC.
    pub barred: Option<Cause>,
}

/// Who says that a host belongs to a mail domain, when it is not DNSSEC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Voucher {
    /// An MTA-STS policy in mode `enforce` (RFC 8461).
    MtaSts,
    /// The operator, by a pin or a private authority for the domain.
    Operator,
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
    /// decision 2); what DANE, MTA-STS and the operator's pins demand is added.
    pub fn floor(&self) -> Requirement {
        let srv = if self.is_srv() { Level::Encrypted } else { Level::Plain };
        let tlsa = match self.evidence.tlsa {
            Tlsa::Absent => Level::Plain,
            Tlsa::Unusable => Level::Encrypted,
            Tlsa::Usable(_) => Level::Domain,
        };
        Requirement::at_least(srv.max(tlsa)).join(self.evidence.floor)
    }

    /// The level that a certificate for the exchanger's name proves, by the way in which we came to that name (profile, "Evidence and
    /// floors"). A name from an SRV record that nobody vouches for proves something only when it lies within the mail domain itself: whoever
    /// forges the record can have a good certificate for a name of his own (RFC 7673, 4; RFC 9525).
    pub fn name_proves(&self, mail_domain: &MailDomain) -> Level {
        let own = |name: &Domain| mail_domain.name().is_some_and(|domain| name.is_within(domain));
        match &self.name {
            _ if self.dnssec_secure || self.evidence.vouched.is_some() || self.is_configured() => Level::Domain,
            ExchangerName::Domain(name) if self.is_srv() && !own(name) => Level::Encrypted,
            ExchangerName::Domain(_) | ExchangerName::Address(_) => Level::Host,
        }
    }

    /// The best level it could reach by what is published.
    pub fn expected(&self, mail_domain: &MailDomain) -> Level {
        let published = match self.evidence.tlsa {
            Tlsa::Usable(_) => Level::Domain,
            Tlsa::Unusable => Level::Encrypted,
            Tlsa::Absent => Level::Plain,
        };
        let vouched = self.is_srv() || self.dnssec_secure || self.evidence.vouched.is_some();
        if vouched { self.name_proves(mail_domain).max(published) } else { published }
    }
}
