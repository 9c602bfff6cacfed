//! Reply codes and enhanced status codes (RFC 5321, 4.2; RFC 3463; RFC 2034).
//!
//! The text of a reply is printable when it gets here: what came off the wire was escaped, so it can stand in a log or a bounce.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `class "." subject "." detail` (RFC 3463, 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EnhancedStatus {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// A status from its three numbers.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads `D.D{1,3}.D{1,3}`; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.');
        let mut number = || {
            let digits = numbers.next().filter(|d| (1..=3).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse::<u16>().ok()
        };
        let (class, subject, detail) = (number()?, number()?, number()?);
        let class = u8::try_from(class).ok().filter(|class| matches!(class, 2 | 4 | 5))?;
        numbers.next().is_none().then_some(Self { class, subject, detail })
    }

    /// The same condition in another class, such as 4.7.5 for 5.7.5.
    #[must_use]
    pub const fn in_class(self, class: u8) -> Self {
        Self { class, ..self }
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl From<EnhancedStatus> for String {
    fn from(status: EnhancedStatus) -> Self {
        status.to_string()
    }
}

impl TryFrom<String> for EnhancedStatus {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not an enhanced status code")
    }
}

/// A reply, ours or a peer's: a code of 200 to 599, perhaps an enhanced status, and lines of printable text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Three digits; the first is 2 to 5.
    pub code: u16,
    /// Enhanced status, when there was one and its class agrees with the code.
    pub status: Option<EnhancedStatus>,
    /// At least one line; no CR or LF in any.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, status: Option<EnhancedStatus>, text: impl Into<String>) -> Self {
        Self { code, status, lines: vec![text.into()] }
    }

    /// 2yz.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4yz: "the action may be requested again" (RFC 5321, 4.2.1).
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: "The SMTP client SHOULD NOT repeat the exact request" (RFC 5321, 4.2.1).
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        write!(f, " {}", self.lines.join(" / "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_read_strictly() {
        assert_eq!(EnhancedStatus::parse("5.7.10"), Some(EnhancedStatus::new(5, 7, 10)));
        for bad in ["5.7", "5.7.10.1", "3.1.1", "5..1", "5.1.1000", "5.1.x", ""] {
            assert_eq!(EnhancedStatus::parse(bad), None, "{bad}");
        }
    }
}
