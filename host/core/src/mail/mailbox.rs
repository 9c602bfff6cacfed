//! Mailboxes and the null reverse-path (RFC 5321, 4.1.2; RFC 6531, 3.3).
//!
//! The local part is held as its meaning, without quoting: `"a"@x` and `a@x` are one mailbox. It is written back with quotes where
//! the grammar needs them, so nothing that came in as one address can go out as two.

use super::domain::{AddressError, MailDomain};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `None` is the null reverse-path `<>`: nobody to return to (RFC 5321, 4.5.5).
pub type ReversePath = Option<Mailbox>;

/// `Local-part "@" ( Domain / address-literal )`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mailbox {
    local_part: Box<str>,
    domain: MailDomain,
}

impl Mailbox {
    /// Reads a mailbox off the wire. `utf8` says that SMTPUTF8 was asked for (RFC 6531). Errors say what is wrong, never what it meant.
    pub fn parse(octets: &[u8], utf8: bool) -> Result<Self, AddressError> {
        if !utf8 && !octets.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        let text = std::str::from_utf8(octets).map_err(|_| AddressError::Syntax)?;
        let (local_part, rest) = match text.strip_prefix('"') {
            Some(quoted) => quoted_string(quoted)?,
            None => dot_string(text)?,
        };
        // RFC 5321, 4.1.2: a domain ends with a sub-domain, not with the dot that DNS puts behind it.
        let domain = rest.strip_prefix('@').filter(|domain| !domain.ends_with('.')).ok_or(AddressError::Syntax)?;
        let domain = MailDomain::parse(domain)?;
        // RFC 5321, 4.5.3.1.1: "The maximum total length of a user name or other local-part is 64 octets."
        if local_part.len() > 64 {
            return Err(AddressError::TooLong);
        }
        // RFC 5321, 4.5.3.1.3: "The maximum total length of a reverse-path or forward-path is 256 octets", brackets included.
        if octets.len() > 254 {
            return Err(AddressError::TooLong);
        }
        Ok(Self { local_part: local_part.into(), domain })
    }

    /// A mailbox of two parts that policies or the configuration named. Errors as [`Mailbox::parse`] does.
    pub fn from_parts(local_part: &str, domain: &str) -> Result<Self, AddressError> {
        let domain = MailDomain::parse(domain)?;
        let mailbox = Self { local_part: local_part.into(), domain };
        Self::parse(mailbox.to_string().as_bytes(), true)
    }

    /// The local part without quoting. Only the domain behind it may interpret it (RFC 5321, 2.3.11).
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// What stands behind the `@`.
    pub fn domain(&self) -> &MailDomain {
        &self.domain
    }

    /// Whether a server must offer SMTPUTF8 to take this address (RFC 6531, 3.3). The domain never needs it: it is in A-labels.
    pub fn needs_utf8(&self) -> bool {
        !self.local_part.is_ascii()
    }
}

/// Reads `Dot-string` up to the `@` (RFC 5321, 4.1.2). Gives the local part and the rest, `@` first.
fn dot_string(text: &str) -> Result<(String, &str), AddressError> {
    let (local_part, _) = text.split_once('@').ok_or(AddressError::Syntax)?;
    let rest = text.get(local_part.len()..).unwrap_or_default();
    if local_part.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
        Ok((local_part.to_owned(), rest))
    } else {
        Err(AddressError::Syntax)
    }
}

/// Reads `Quoted-string` behind its opening quote. Gives its content and the rest behind the closing quote.
fn quoted_string(text: &str) -> Result<(String, &str), AddressError> {
    let mut content = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' if content.is_empty() => return Err(AddressError::Syntax),
            '"' => return Ok((content, characters.as_str())),
            // RFC 5321, 4.1.2: "quoted-pairSMTP = %d92 %d32-126", a backslash followed by any ASCII graphic or space.
            '\\' => match characters.next() {
                Some(escaped @ ' '..='~') => content.push(escaped),
                _ => return Err(AddressError::Syntax),
            },
            ' '..='~' => content.push(character),
            _ if !character.is_ascii() && !character.is_control() => content.push(character),
            _ => return Err(AddressError::Syntax),
        }
    }
    Err(AddressError::Syntax)
}

/// `atext` of RFC 5322, 3.2.3, with UTF8-non-ascii as RFC 6531, 3.3 adds; controls beyond ASCII stay out.
fn is_atext(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(character) || (!character.is_ascii() && !character.is_control())
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.local_part.is_empty() && self.local_part.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
            return write!(f, "{}@{}", self.local_part, self.domain);
        }
        f.write_str("\"")?;
        for character in self.local_part.chars() {
            if matches!(character, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{character}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl TryFrom<String> for Mailbox {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(text.as_bytes(), true)
    }
}

impl From<Mailbox> for String {
    fn from(mailbox: Mailbox) -> Self {
        mailbox.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_and_nothing_else() {
        for good in ["a@b.test", "a.b+c@b.test", "\"a b\"@b.test", "\"a\\\"b\"@b.test", "a@[192.0.2.1]", "postmaster@xn--bcher-kva.test"] {
            let mailbox = Mailbox::parse(good.as_bytes(), false).unwrap_or_else(|e| panic!("{good}: {e}"));
            assert_eq!(mailbox.to_string(), good);
        }
        for bad in [
            "",
            "@b.test",
            "a",
            "a@",
            ".a@b.test",
            "a.@b.test",
            "a..b@b.test",
            "a b@b.test",
            "\"\"@b.test",
            "\"a@b.test",
            "a@b@c.test",
            "a\r\nb@c.test",
            "<a@b.test",
        ] {
            assert!(Mailbox::parse(bad.as_bytes(), true).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn utf8_only_when_asked_for() {
        let address = "bücher@b.test".as_bytes();
        assert_eq!(Mailbox::parse(address, false), Err(AddressError::NotAscii));
        assert!(Mailbox::parse(address, true).is_ok_and(|m| m.needs_utf8()));
        assert!(Mailbox::parse(b"\xff\xfe@b.test", true).is_err());
    }

    #[test]
    fn fullwidth_at_is_no_at() {
        let mailbox = Mailbox::parse("a\u{ff20}evil.test@probe.test".as_bytes(), true).expect("legal in a local part");
        assert_eq!(mailbox.domain().to_string(), "probe.test");
    }

    #[test]
    fn quoting_is_not_part_of_the_name() {
        assert_eq!(Mailbox::parse(b"\"a\"@b.test", false), Mailbox::parse(b"a@b.test", false));
    }

    #[test]
    fn over_long_is_refused_never_cut() {
        let local = format!("{}@b.test", "a".repeat(65));
        assert_eq!(Mailbox::parse(local.as_bytes(), false), Err(AddressError::TooLong));
    }
}
