//! Domain names and address literals (RFC 5321, 4.1.2 and 4.1.3; RFC 5890 for internationalised names).
//!
//! A [`Domain`] holds A-labels in lower case, so that two spellings of one name are one value.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Why something is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// The grammar of RFC 5321 does not allow it.
    Syntax,
    /// A part is longer than RFC 5321, 4.5.3.1 allows.
    TooLong,
    /// It holds characters beyond ASCII, and SMTPUTF8 was not asked for (RFC 6531).
    NotAscii,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "malformed address",
            Self::TooLong => "address too long",
            Self::NotAscii => "address needs SMTPUTF8",
        })
    }
}

impl std::error::Error for AddressError {}

/// A domain name: lower-case A-labels, no dot at the end, 1 to 253 octets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Box<str>);

impl Domain {
    /// Reads a name of A-labels or U-labels. Errors when it is no host name (RFC 1123, 2.1) or not valid under UTS 46.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        // RFC 5321, 4.5.3.1.2: "The maximum total length of a domain name or number is 255 octets."
        if text.len() > 1024 {
            return Err(AddressError::TooLong);
        }
        Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
            .map(|ascii| Self(ascii.into()))
            .map_err(|_| AddressError::Syntax)
    }

    /// The name in A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as people write it, in U-labels.
    pub fn to_unicode(&self) -> String {
        Uts46::new().to_unicode(self.0.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast).0.into_owned()
    }

    /// Whether this name is `zone` or lies below it.
    pub fn is_within(&self, zone: &Self) -> bool {
        self.0.strip_suffix(&*zone.0).is_some_and(|head| head.is_empty() || head.ends_with('.'))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Domain {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0.into()
    }
}

/// What stands behind the `@`: a domain name or an address literal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MailDomain {
    /// A domain name.
    Name(Domain),
    /// An address literal, such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

impl MailDomain {
    /// Reads `Domain / address-literal` (RFC 5321, 4.1.2).
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('[') {
            None => Domain::parse(text).map(Self::Name),
            Some(rest) => {
                let inner = rest.strip_suffix(']').ok_or(AddressError::Syntax)?;
                let address = match inner.get(..5) {
                    Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
                        inner.get(5..).unwrap_or_default().parse::<Ipv6Addr>().map(IpAddr::V6)
                    }
                    _ => inner.parse::<Ipv4Addr>().map(IpAddr::V4),
                };
                address.map(Self::Literal).map_err(|_| AddressError::Syntax)
            }
        }
    }

    /// The domain name, unless this is a literal.
    pub fn name(&self) -> Option<&Domain> {
        match self {
            Self::Name(domain) => Some(domain),
            Self::Literal(_) => None,
        }
    }
}

impl fmt::Display for MailDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(domain) => domain.fmt(f),
            Self::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Self::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

impl TryFrom<String> for MailDomain {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<MailDomain> for String {
    fn from(domain: MailDomain) -> Self {
        domain.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_one_value() {
        let ascii = Domain::parse("XN--BCHER-KVA.example.").expect("valid");
        assert_eq!(ascii, Domain::parse("Bücher.example").expect("valid"));
        assert_eq!(ascii.as_str(), "xn--bcher-kva.example");
        assert_eq!(ascii.to_unicode(), "bücher.example");
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        for bad in ["", ".", "a..b", "-a.test", "a-.test", "a b.test", "a_b.test", "xn--example-.test", "a@b", "a\0.test", "[", "[1.2.3]"] {
            assert!(MailDomain::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Domain::parse(&format!("{}.test", "a".repeat(64))).is_err());
        assert!(Domain::parse(&"a.".repeat(140)).is_err());
    }

    #[test]
    fn literals_round_trip() {
        for literal in ["[192.0.2.1]", "[IPv6:2001:db8::1]"] {
            assert_eq!(MailDomain::parse(literal).map(|d| d.to_string()), Ok(literal.to_owned()));
        }
    }

    #[test]
    fn within_respects_label_borders() {
        let zone = Domain::parse("agency.example").expect("valid");
        for (name, within) in [("agency.example", true), ("mx.agency.example", true), ("badagency.example", false)] {
            assert_eq!(Domain::parse(name).expect("valid").is_within(&zone), within, "{name}");
        }
    }
}
