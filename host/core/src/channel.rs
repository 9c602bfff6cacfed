//! How well a connection is protected, how well it must be, and the proof that the first meets the second.
//!
//! `Cleared` is the witness of invariant 3: no octet of a message goes out without one, and only [`Requirement::admit`] makes it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Evidence level of a channel, in rising order (profile, "Evidence and floors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// E0: no TLS.
    #[default]
    Plain,
    /// E1: TLS, peer not authenticated.
    Encrypted,
    /// E2: PKIX chain for the exchanger's name, which came over insecure DNS.
    Host,
    /// E3: DANE, MTA-STS enforce, a pin, or PKIX for the mail domain itself.
    Domain,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Encrypted => "encrypted",
            Self::Host => "host",
            Self::Domain => "domain",
        })
    }
}

/// How a sender uses TLS on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsUse {
    /// From the first octet (RFC 8314, 3).
    Implicit,
    /// STARTTLS or nothing (RFC 3207).
    Required,
    /// STARTTLS when it is offered.
    Offered,
    /// None: TLS with this host was tried before, on another connection, and failed (L1-2, L1-4).
    Without,
}

/// TLS versions that are spoken; nothing older is (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3, RFC 8446.
    #[serde(rename = "1.3")]
    V13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V12 => "TLS1.2",
            Self::V13 => "TLS1.3",
        })
    }
}

/// What a peer's end-entity certificate says, whether or not it was believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Distinguished name of the subject, RFC 4514 order.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// `dNSName` subject alternative names, as they stand.
    pub dns_names: Vec<String>,
    /// SHA-256 of the DER form, 32 octets.
    pub sha256: Vec<u8>,
    /// End of validity, seconds since 1970-01-01T00:00:00Z.
    pub not_after: u64,
}

/// Why a peer was not authenticated, in the classes in which domains are told (RFC 8460, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DoubtKind {
    /// The certificate is for other names.
    CertificateHostMismatch,
    /// Its time is over, or has not begun.
    CertificateExpired,
    /// It comes from nobody who is trusted.
    CertificateNotTrusted,
    /// No TLSA record matches it.
    TlsaInvalid,
    /// Anything else.
    ValidationFailure,
}

/// Why a peer was not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "DoubtForm")]
pub struct Doubt {
    /// Its class.
    pub kind: DoubtKind,
    /// For people.
    pub text: String,
}

/// How doubts stand in queues: those of earlier versions are text alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum DoubtForm {
    Text(String),
    Whole { kind: DoubtKind, text: String },
}

impl From<DoubtForm> for Doubt {
    fn from(form: DoubtForm) -> Self {
        match form {
            DoubtForm::Text(text) => Self { kind: DoubtKind::ValidationFailure, text },
            DoubtForm::Whole { kind, text } => Self { kind, text },
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What the TLS handshake settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Protocol version.
    pub version: TlsVersion,
    /// Cipher suite as IANA names it, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Key exchange group, such as `X25519MLKEM768`.
    pub group: String,
    /// Server name indication that was sent.
    pub server_name: Option<String>,
    /// The peer's certificate, when it sent one.
    pub peer: Option<Certificate>,
    /// Why the peer was not authenticated; `None` when it was, or when nobody asked.
    pub doubt: Option<Doubt>,
}

/// A connection as it stands: its level and, above plain, the TLS facts behind it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Channel {
    /// The level that the evidence supports.
    pub level: Level,
    /// `None` exactly when the level is [`Level::Plain`].
    pub tls: Option<Tls>,
}

impl Channel {
    /// A connection without TLS.
    pub fn plain() -> Self {
        Self::default()
    }

    /// A connection under TLS. A claim of [`Level::Plain`] is raised to what TLS gives at least.
    pub fn secured(level: Level, tls: Tls) -> Self {
        Self { level: level.max(Level::Encrypted), tls: Some(tls) }
    }
}

/// The least level that is acceptable. Requirements form a lattice: joining only ever raises (invariant 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Requirement(Level);

impl Requirement {
    /// Anything will do.
    pub const NONE: Self = Self(Level::Plain);

    /// A requirement of at least `level`.
    pub fn at_least(level: Level) -> Self {
        Self(level)
    }

    /// The requirement that satisfies both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        self.max(other)
    }

    /// The least level that meets this requirement.
    pub fn level(self) -> Level {
        self.0
    }

    /// The only way to a [`Cleared`]. Errors with the shortfall when the channel is below the requirement.
    pub fn admit(self, channel: &Channel) -> Result<Cleared, Shortfall> {
        if channel.level >= self.0 && (channel.level == Level::Plain) == channel.tls.is_none() {
            Ok(Cleared { level: channel.level })
        } else {
            let doubt = channel.tls.as_ref().and_then(|tls| tls.doubt.clone());
            Err(Shortfall { needed: self.0, reached: channel.level, doubt })
        }
    }
}

/// Proof that a channel met its requirement. Neither cloned nor made anywhere else: one proof, one transmission.
#[derive(Debug, PartialEq, Eq)]
pub struct Cleared {
    level: Level,
}

impl Cleared {
    /// The level of the channel that was admitted.
    pub fn level(&self) -> Level {
        self.level
    }
}

/// A channel that does not meet its requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// What was required.
    pub needed: Level,
    /// What was reached.
    pub reached: Level,
    /// Why the peer was not authenticated.
    pub doubt: Option<Doubt>,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {} is required, {} was reached", self.needed, self.reached)?;
        match &self.doubt {
            Some(doubt) => write!(f, ": {doubt}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls() -> Tls {
        Tls { version: TlsVersion::V13, cipher: String::new(), group: String::new(), server_name: None, peer: None, doubt: None }
    }

    #[test]
    fn only_a_sufficient_channel_is_cleared() {
        let host = Channel::secured(Level::Host, tls());
        assert!(Requirement::at_least(Level::Host).admit(&host).is_ok());
        assert!(Requirement::at_least(Level::Domain).admit(&host).is_err());
        assert!(Requirement::at_least(Level::Encrypted).admit(&Channel::plain()).is_err());
        assert!(Requirement::NONE.admit(&Channel::plain()).is_ok());
    }

    #[test]
    fn a_level_without_tls_facts_is_not_believed() {
        let liar = Channel { level: Level::Domain, tls: None };
        assert!(Requirement::NONE.admit(&liar).is_err());
    }

    #[test]
    fn doubts_of_earlier_versions_are_read() {
        let text: Doubt = serde_json_like("its certificate expired");
        assert_eq!((text.kind, text.text.as_str()), (DoubtKind::ValidationFailure, "its certificate expired"));
    }

    /// What serde makes of a bare string, whatever the format.
    fn serde_json_like(text: &str) -> Doubt {
        use serde::de::IntoDeserializer;
        let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
        Doubt::deserialize(deserializer).expect("a doubt")
    }

    #[test]
    fn joining_never_lowers() {
        let (low, high) = (Requirement::at_least(Level::Encrypted), Requirement::at_least(Level::Domain));
        assert_eq!(low.join(high), high);
        assert_eq!(high.join(low), high);
    }
}
