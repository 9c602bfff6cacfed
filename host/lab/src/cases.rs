//! The cases of the lab as data: what the world does, and what must come of it under each role. The file itself says how it is read.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// What a case is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// Certificates of hosts.
    Certificate,
    /// TLSA records and DNSSEC.
    Dane,
    /// SRV and MX records.
    SrvMx,
    /// Policies of MTA-STS.
    MtaSts,
    /// STARTTLS, the handshake, and SMTP.
    TlsSmtp,
    /// What a receiver answers.
    Receiver,
}

impl Area {
    /// As the file has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Dane => "dane",
            Self::SrvMx => "srv-mx",
            Self::MtaSts => "mta-sts",
            Self::TlsSmtp => "tls-smtp",
            Self::Receiver => "receiver",
        }
    }
}

/// What a message came to, or must come to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Fate {
    /// Delivered in the clear.
    Plain,
    /// Delivered over TLS, to somebody.
    Encrypted,
    /// Delivered over TLS, to a host that proved its name.
    Host,
    /// Delivered over TLS, to a host that proved that it is one of the mail domain.
    Domain,
    /// Delivered over TLS; how much was proved is not to be seen from here.
    Tls,
    /// It waits, with this status.
    Waits(String),
    /// It was returned, with this status.
    Returned(String),
}

impl FromStr for Fate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(' ') {
            Some(("waits", code)) => Self::Waits(code.to_owned()),
            Some(("returned", code)) => Self::Returned(code.to_owned()),
            None if text == "plain" => Self::Plain,
            None if text == "encrypted" => Self::Encrypted,
            None if text == "host" => Self::Host,
            None if text == "domain" => Self::Domain,
            _ => return Err(format!("{text:?} is nothing that mail comes to")),
        })
    }
}

impl TryFrom<String> for Fate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Encrypted => f.write_str("encrypted"),
            Self::Host => f.write_str("host"),
            Self::Domain => f.write_str("domain"),
            Self::Tls => f.write_str("delivered over TLS"),
            Self::Waits(code) if code.is_empty() => f.write_str("waits"),
            Self::Waits(code) => write!(f, "waits {code}"),
            Self::Returned(code) if code.is_empty() => f.write_str("returned"),
            Self::Returned(code) => write!(f, "returned {code}"),
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// A plain message.
    #[default]
    Usual,
    /// Content beyond ASCII (RFC 6152).
    #[serde(rename = "8bit")]
    EightBit,
    /// A sender's address beyond ASCII (RFC 6531).
    Utf8,
    /// TLS is demanded of every hop (RFC 8689).
    RequireTls,
}

/// What a sender must be given for a case, besides DNS and the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The lab's list of revoked certificates.
    Crl,
    /// The world knows the sender's own name.
    OwnName,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name, and the first label of its domain.
    pub id: String,
    /// What it is about.
    pub area: Area,
    /// A few words.
    pub title: String,
    /// What the world does.
    pub does: String,
    /// What mail of a best effort sender comes to.
    pub bes: Option<Fate>,
    /// What mail of a secure only sender comes to.
    pub sos: Option<Fate>,
    /// What a best effort receiver answers.
    pub ber: Option<String>,
    /// What a secure only receiver answers.
    pub sor: Option<String>,
    /// First labels of the host that takes it.
    pub by: Option<String>,
    /// First labels of a host that must not see a connection.
    pub never: Option<String>,
    /// What mail of a secure only sender may come to as well, where the sender is another one: it is told apart by what it acted on.
    pub also: Option<Fate>,
    /// What is sent.
    #[serde(default)]
    pub message: Message,
    /// What the sender must be given.
    pub needs: Option<Need>,
}

impl Case {
    /// The domain that plays it.
    pub fn domain(&self) -> String {
        format!("{}.lab.test", self.id)
    }

    /// Whether a pattern names it: `*` stands for anything; without one, any part of the id will do, or the area.
    pub fn fits(&self, pattern: &str) -> bool {
        let mut parts = pattern.split('*');
        let (Some(first), true) = (parts.next(), pattern.contains('*')) else {
            return self.id.contains(pattern) || self.area.word() == pattern;
        };
        let Some(mut rest) = self.id.strip_prefix(first) else { return false };
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            match rest.find(part) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        true
    }
}

/// Every case, in the order of the file.
pub fn table() -> Result<Vec<Case>> {
    read(include_str!("cases.toml")).context("host/lab/src/cases.toml")
}

fn read(text: &str) -> Result<Vec<Case>> {
    #[derive(Deserialize)]
    struct Table {
        case: Vec<Case>,
    }
    Ok(toml::from_str::<Table>(text)?.case)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_whole() -> Result<()> {
        let cases = table()?;
        let ids: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(ids.len(), cases.len(), "an id stands twice");
        assert!(cases.iter().filter(|case| case.area != Area::Receiver).count() >= 60);
        for case in &cases {
            let sender = case.bes.is_some() && case.sos.is_some() && case.ber.is_none() && case.sor.is_none();
            let receiver = case.bes.is_none() && case.sos.is_none() && case.ber.is_some() && case.sor.is_some();
            assert!(if case.area == Area::Receiver { receiver } else { sender }, "{}: one outcome for each role", case.id);
            // S5 in the table itself.
            assert_ne!(case.sos, Some(Fate::Plain), "{}", case.id);
        }
        Ok(())
    }

    #[test]
    fn what_is_no_case_is_an_error() {
        let good = "[[case]]\nid = \"x\"\narea = \"dane\"\ntitle = \"t\"\ndoes = \"d\"\nbes = \"waits 4.7.5\"\n";
        assert_eq!(read(good).expect("good")[0].bes, Some(Fate::Waits("4.7.5".into())));
        for (from, to) in
            [("dane", "done"), ("waits", "wait"), ("title", "titel"), ("\"d\"", "d"), ("[[case]]\n", ""), ("does", "id"), ("bes", "ebs")]
        {
            assert!(read(&good.replacen(from, to, 1)).is_err(), "{to}");
        }
    }

    #[test]
    fn patterns_name_cases() -> Result<()> {
        let cases = table()?;
        let expired = cases.iter().find(|case| case.id == "cert-expired").context("it is there")?;
        assert!(
            expired.fits("cert-*")
                && expired.fits("*expired")
                && expired.fits("*-exp*d")
                && expired.fits("expired")
                && expired.fits("certificate")
        );
        assert!(!expired.fits("dane-*") && !expired.fits("cert-*x") && !expired.fits("dane"));
        Ok(())
    }
}
