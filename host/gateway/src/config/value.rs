//! How single values are written: durations (`"5m"`), sizes (`"50MiB"`), networks (`"10.0.0.0/8"`), hosts, addresses.

use super::reader::{Refusal, Setting};
use super::tree::{Node, Value};
use jiff::civil::Date;
use secmx_core::channel::Level;
use secmx_core::mail::{Domain, Mailbox};
use secmx_core::role::SenderRole;
use secmx_policy::units;
use serde::Serialize;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The longest duration that a setting takes: ten years.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

impl Setting for String {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.text("a string").map(str::to_owned)
    }
}

impl Setting for bool {
    fn read(node: &Node) -> Result<Self, Refusal> {
        match node.value {
            Value::Boolean(truth) => Ok(truth),
            _ => Err(node.refuse("true or false")),
        }
    }
}

/// A whole number from 1 on, as far as the type reaches.
fn count<T: TryFrom<i64>>(node: &Node) -> Result<T, Refusal> {
    match node.value {
        Value::Integer(number) if number >= 1 => T::try_from(number).map_err(|_| node.refuse("a smaller number")),
        _ => Err(node.refuse("a whole number from 1 on")),
    }
}

impl Setting for u16 {
    fn read(node: &Node) -> Result<Self, Refusal> {
        count(node)
    }
}

impl Setting for u32 {
    fn read(node: &Node) -> Result<Self, Refusal> {
        count(node)
    }
}

impl Setting for usize {
    fn read(node: &Node) -> Result<Self, Refusal> {
        count(node)
    }
}

impl Setting for PathBuf {
    fn read(node: &Node) -> Result<Self, Refusal> {
        match node.text("a path")? {
            path if !path.is_empty() && path.len() <= 4096 && !path.contains(char::is_control) => Ok(Self::from(path)),
            _ => Err(node.refuse("a path")),
        }
    }
}

impl Setting for Date {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a date such as 2027-03-31";
        match &node.value {
            Value::Date(date) => Ok(*date),
            Value::Text(text) => text.parse().map_err(|_| node.refuse(expected)),
            _ => Err(node.refuse(expected)),
        }
    }
}

impl Setting for Duration {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a duration such as \"90s\", \"5m\", \"2h\" or \"2d\"";
        let duration = match &node.value {
            Value::Integer(0) => Some(Self::ZERO),
            Value::Text(text) => units::duration(text),
            _ => None,
        };
        duration.filter(|duration| *duration <= DURATION_MAX).ok_or_else(|| node.refuse(expected))
    }
}

/// A number or size for which 0 has a meaning of its own, such as "no limit".
pub(super) struct OrZero<T>(pub(super) T);

impl<T: Setting + Default> Setting for OrZero<T> {
    fn read(node: &Node) -> Result<Self, Refusal> {
        match node.value {
            Value::Integer(0) => Ok(Self(T::default())),
            _ => T::read(node).map(Self),
        }
    }
}

/// A size in octets, written `"50MiB"` (1024² octets), `"50MB"` (1000²) or as a number of octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Size(pub(super) u64);

impl Setting for Size {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a size such as \"64KiB\" or \"50MiB\"";
        let octets = match &node.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) => units::size(text),
            _ => None,
        };
        octets.filter(|octets| *octets > 0).map(Self).ok_or_else(|| node.refuse(expected))
    }
}

impl Setting for Domain {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a domain name such as \"agency.example\"";
        // A number at the end makes it an address, which no host may be called (RFC 1123, 2.1).
        let is_address = |domain: &Self| domain.as_str().parse::<IpAddr>().is_ok();
        Self::parse(node.text(expected)?).ok().filter(|domain| !is_address(domain)).ok_or_else(|| node.refuse(expected))
    }
}

impl Setting for Mailbox {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "an address such as \"postmaster@agency.example\"";
        Self::parse(node.text(expected)?.as_bytes(), true).map_err(|_| node.refuse(expected))
    }
}

impl Setting for SocketAddr {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "an IP address with a port such as \"203.0.113.5:25\" or \"[2001:db8::5]:25\"";
        node.text(expected)?.parse().map_err(|_| node.refuse(expected))
    }
}

/// A DNS server: an address, on port 53 unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NameServer(pub(super) SocketAddr);

/// What a DNS server is named by.
const NAME_SERVER: &str = "an IP address such as \"127.0.0.1\", or one with a port such as \"[::1]:53\"";

impl Setting for NameServer {
    fn read(node: &Node) -> Result<Self, Refusal> {
        name_server(node.text(NAME_SERVER)?).map(Self).map_err(|expected| node.refuse(expected))
    }
}

/// Reads a DNS server. Errors with what was expected.
pub(crate) fn name_server(text: &str) -> Result<SocketAddr, &'static str> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53)).or_else(|_| text.parse());
    address.map_err(|_| NAME_SERVER)
}

/// A network: an address and how many of its leading bits count. An IPv4 network also holds the IPv4-mapped form of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// 127.0.0.0/8 and ::1.
    pub const LOOPBACK: [Self; 2] = [
        Self { address: IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 0)), prefix_bits: 8 },
        Self { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_bits: 128 },
    ];

    /// Reads `192.0.2.0/24`, `2001:db8::/32`, or a single address. `None` when it is neither, or has bits beyond its prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let network = Self::parse_loosely(text)?;
        (network.masked() == network).then_some(network)
    }

    /// Whether the address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self { address, ..*self }.masked().address == self.address
    }

    /// Whether it holds so much of the Internet that no operator can own it all.
    pub fn is_too_wide(&self) -> bool {
        match self.address {
            IpAddr::V4(_) => self.prefix_bits < 8,
            // fc00::/7 are the unique local addresses (RFC 4193).
            IpAddr::V6(address) => self.prefix_bits < 16 && !(self.prefix_bits >= 7 && address.is_unique_local()),
        }
    }

    fn parse_loosely(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits: u8 = prefix.map_or(Some(width), |prefix| prefix.parse().ok()).filter(|bits| *bits <= width)?;
        match (address, address.to_canonical()) {
            // An IPv4-mapped network is the IPv4 network that it means.
            (IpAddr::V6(_), mapped @ IpAddr::V4(_)) => Some(Self { address: mapped, prefix_bits: prefix_bits.checked_sub(96)? }),
            _ => Some(Self { address, prefix_bits }),
        }
    }

    /// The same network without the bits beyond its prefix.
    fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_bits)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_bits)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        };
        Self { address, ..self }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl Setting for Network {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
        let text = node.text(expected)?;
        Self::parse(text).ok_or_else(|| match Self::parse_loosely(text) {
            Some(loose) => node.refuse(&format!("the network {:?}, or the address alone", loose.masked().to_string())),
            None => node.refuse(expected),
        })
    }
}

impl Setting for SenderRole {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("BES", Self::BestEffort), ("SOS", Self::SecureOnly)])
    }
}

/// An evidence level as a floor.
impl Setting for Level {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("plain", Self::Plain), ("encrypted", Self::Encrypted), ("host", Self::Host), ("domain", Self::Domain)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let good = [
            ("100ms", 100),
            ("5s", 5_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("2d", 172_800_000),
            ("1h30m", 5_400_000),
            ("1 h 30 m", 5_400_000),
        ];
        for (text, milliseconds) in good {
            assert_eq!(units::duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "5", "m", "5 x", "-5m", "5m5", "1.5h", "99999999999999999999s", "9999999999999999w"] {
            assert_eq!(units::duration(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, octets) in [("1", 1), ("64KiB", 65_536), ("50MiB", 52_428_800), ("50 MB", 50_000_000), ("2GiB", 2_147_483_648)] {
            assert_eq!(units::size(text), Some(octets), "{text}");
        }
        for bad in ["", "MiB", "5 mib", "5M", "-1", "99999999999999999999", "99999999TiB"] {
            assert_eq!(units::size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let cases = [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("10.0.0.0/24", "::ffff:10.0.0.7", true),
            ("::ffff:10.0.0.0/120", "10.0.0.7", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8::/32", "10.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
        ];
        for (network, address, inside) in cases {
            let network = Network::parse(network).unwrap_or_else(|| panic!("{network}"));
            assert_eq!(network.contains(address.parse().expect("valid")), inside, "{network} {address}");
        }
        for bad in [
            "",
            "10.0.0.5/24",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/24",
            "2001:db8::/129",
            "2001:db8::1/32",
            "::ffff:10.0.0.0/64",
            "localhost",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_internet_is_nobodys_network() {
        for wide in ["0.0.0.0/0", "128.0.0.0/1", "::/0", "2000::/3", "::ffff:0.0.0.0/96"] {
            assert!(Network::parse(wide).expect("valid").is_too_wide(), "{wide}");
        }
        for own in ["10.0.0.0/8", "192.0.2.1", "fc00::/7", "fd00::/8", "fe80::/64", "2001:db8::/32"] {
            assert!(!Network::parse(own).expect("valid").is_too_wide(), "{own}");
        }
    }
}
