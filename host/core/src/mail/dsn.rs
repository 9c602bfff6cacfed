//! What a sender asks to be told about its message (RFC 3461, 4; RFC 6533, 3 for addresses beyond ASCII).
//!
//! Values come off the wire decoded and are written back in the form that the next host can read. Nothing here decides what is sent.

use super::mailbox::Mailbox;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The DSN parameters of a whole envelope. All are left out by most senders, and then nothing is here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DsnRequest {
    /// RET: how much of the message a failure notice returns; `None` leaves it to us.
    pub ret: Option<Ret>,
    /// ENVID: what the sender calls this transmission. Printable ASCII, at most 100 octets, decoded.
    pub envid: Option<String>,
    /// What was asked for recipients; one without an entry got neither NOTIFY nor ORCPT.
    pub recipients: BTreeMap<Mailbox, RecipientRequest>,
}

impl DsnRequest {
    /// What was asked for one recipient; nothing when it has no entry.
    pub fn of(&self, recipient: &Mailbox) -> RecipientRequest {
        self.recipients.get(recipient).cloned().unwrap_or_default()
    }

    /// Whether the sender used any DSN parameter.
    pub fn is_empty(&self) -> bool {
        self.ret.is_none() && self.envid.is_none() && self.recipients.values().all(|request| *request == RecipientRequest::default())
    }
}

/// The DSN parameters of one RCPT.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecipientRequest {
    /// NOTIFY. RFC 3461, 4.1: without it a sender is told of failures, and of delays as the host sees fit.
    pub notify: Option<Notify>,
    /// ORCPT.
    pub original: Option<OriginalRecipient>,
}

impl RecipientRequest {
    /// Whether the sender wants to know that the recipient could not be reached: by default yes.
    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(|notify| matches!(notify, Notify::When { failure: true, .. }))
    }

    /// Whether the sender wants to know that the message waits: by default yes.
    pub fn wants_delay(&self) -> bool {
        self.notify.is_none_or(|notify| matches!(notify, Notify::When { delay: true, .. }))
    }

    /// Whether the sender wants to know that the message arrived: by default no.
    pub fn wants_success(&self) -> bool {
        self.notify.is_some_and(|notify| matches!(notify, Notify::When { success: true, .. }))
    }
}

/// RET of MAIL (RFC 3461, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Ret {
    /// The entire message.
    Full,
    /// Its header section.
    Hdrs,
}

impl Ret {
    /// Reads the value of RET. `None` when it is neither.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::Full, Self::Hdrs].into_iter().find(|ret| value.eq_ignore_ascii_case(&ret.to_string()))
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Hdrs => "HDRS",
        })
    }
}

/// NOTIFY of RCPT (RFC 3461, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notify {
    /// `NEVER`: not under any condition.
    Never,
    /// In the cases that are true, of which there is at least one.
    When {
        /// `SUCCESS`.
        success: bool,
        /// `FAILURE`.
        failure: bool,
        /// `DELAY`.
        delay: bool,
    },
}

impl Notify {
    /// Reads the value of NOTIFY. `None` when it is none: RFC 3461, 4.1: "The NEVER keyword … MUST appear by itself".
    pub fn parse(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Some(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in value.split(',') {
            let asked = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut success,
                "FAILURE" => &mut failure,
                "DELAY" => &mut delay,
                _ => return None,
            };
            *asked = true;
        }
        Some(Self::When { success, failure, delay })
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::When { success, failure, delay } = *self else { return f.write_str("NEVER") };
        let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        f.write_str(&words.into_iter().filter(|(asked, _)| *asked).map(|(_, word)| word).collect::<Vec<_>>().join(","))
    }
}

/// ORCPT of RCPT: whom the sender wrote to, before anybody rewrote it (RFC 3461, 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalRecipient {
    /// Address type, lower case: `rfc822`, `utf-8`, or another that IANA knows and we need not.
    pub kind: String,
    /// The address, decoded: printable, at most 500 octets as it was written.
    pub address: String,
}

impl OriginalRecipient {
    /// Reads `addr-type ";" xtext`. Characters beyond ASCII are read as they stand only with `smtputf8` (RFC 6533, 3).
    /// `None` when it is malformed.
    ///
    /// Postfix 3.7 makes an ORCPT for whoever gave none, and writes one beyond ASCII as `rfc822`, the octets in xtext. With `smtputf8`
    /// that is read as the `utf-8` it means, or no mail to such an address could be taken from it.
    pub fn parse(value: &str, smtputf8: bool) -> Option<Self> {
        let (kind, text) = value.split_once(';')?;
        let kind = kind.to_ascii_lowercase();
        // RFC 3461, 4.2: "addr-type = atom"; and 5.2.1: 500 octets at most.
        let atom = !kind.is_empty() && kind.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~".contains(&octet));
        if !atom || text.is_empty() || value.len() > 500 {
            return None;
        }
        let address = if kind == UTF8 { unicode_decode(text, smtputf8)? } else { xtext_decode(text)? };
        let kind = match address.is_ascii() {
            true => kind,
            false if smtputf8 && matches!(kind.as_str(), "rfc822" | UTF8) => UTF8.to_owned(),
            false if kind == UTF8 => kind,
            false => return None,
        };
        (!address.chars().any(char::is_control)).then_some(Self { kind, address })
    }

    /// The value of ORCPT as a host reads it that got SMTPUTF8, or did not.
    pub fn to_value(&self, smtputf8: bool) -> String {
        let address = if self.kind == UTF8 { unicode_encode(&self.address, smtputf8) } else { xtext_encode(&self.address) };
        format!("{};{address}", self.kind)
    }
}

/// Address type of RFC 6533.
const UTF8: &str = "utf-8";

/// ENVID off the wire (RFC 3461, 4.4). `None` when it is malformed: "the decoded value … MUST consist entirely of printable (graphic and
/// white space) characters from the US-ASCII repertoire".
pub fn envid(value: &str) -> Option<String> {
    xtext_decode(value).filter(|text| value.len() <= 100 && !text.is_empty() && text.bytes().all(|octet| (b' '..=b'~').contains(&octet)))
}

/// Writes `xtext` (RFC 3461, 4): every octet that is not "!" to "~", and "+" and "=", as "+" and two hexadecimal digits.
pub fn xtext_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, octet| {
        match octet {
            b'!'..=b'~' if octet != b'+' && octet != b'=' => out.push(char::from(octet)),
            _ => {
                let _ = write!(out, "+{octet:02X}");
            }
        }
        out
    })
}

/// Reads `xtext`: "hexchar = ASCII "+" immediately followed by two upper case hexadecimal digits". What it means must be UTF-8 without
/// control characters of ASCII: an encoded line end would forge a field in a notice.
fn xtext_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'+' => {
                let mut digit = || octets.next().filter(|c| !c.is_ascii_lowercase()).and_then(|c| char::from(c).to_digit(16));
                let meant = u8::try_from(digit()? * 16 + digit()?).ok()?;
                Some(meant).filter(|octet| *octet >= b' ' && *octet != 0x7F)?
            }
            b'!'..=b'~' if octet != b'=' => octet,
            _ => return None,
        });
    }
    String::from_utf8(decoded).ok()
}

/// RFC 6533, 3: `\x{HEX}` stands for a character.
fn unicode_encode(text: &str, smtputf8: bool) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        let plain = matches!(character, '!'..='~') && !matches!(character, '+' | '=' | '\\');
        if plain || (smtputf8 && !character.is_ascii()) {
            out.push(character);
        } else {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(character));
        }
        out
    })
}

fn unicode_decode(text: &str, smtputf8: bool) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = rest.get(character.len_utf8()..)?;
        decoded.push(match character {
            '\\' => {
                let (digits, behind) = rest.strip_prefix("x{")?.split_once('}')?;
                rest = behind;
                let fits = (2..=6).contains(&digits.len()) && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'));
                u32::from_str_radix(digits, 16).ok().filter(|_| fits).and_then(char::from_u32)?
            }
            '+' | '=' => return None,
            '!'..='~' => character,
            _ if !character.is_ascii() && smtputf8 => character,
            _ => return None,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_never_or_a_list() {
        let cases = [
            ("NEVER", "NEVER"),
            ("never", "NEVER"),
            ("SUCCESS", "SUCCESS"),
            ("delay,failure", "FAILURE,DELAY"),
            ("SUCCESS,FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"),
        ];
        for (value, written) in cases {
            assert_eq!(Notify::parse(value).map(|notify| notify.to_string()).as_deref(), Some(written), "{value}");
        }
        for bad in ["", "NEVER,SUCCESS", "SUCCESS,NEVER", "SUCCESS,", "ALWAYS", "SUCCESS DELAY"] {
            assert_eq!(Notify::parse(bad), None, "{bad:?}");
        }
        let default = RecipientRequest::default();
        assert!(default.wants_failure() && default.wants_delay() && !default.wants_success());
        let never = RecipientRequest { notify: Some(Notify::Never), ..default };
        assert!(!never.wants_failure() && !never.wants_delay() && !never.wants_success());
    }

    /// An encoded CR, LF or NUL would become a line of a notice.
    #[test]
    fn xtext_is_strict() {
        assert_eq!(envid("QQ+2B314+20159").as_deref(), Some("QQ+314 159"));
        for bad in ["", "a+", "a+0", "a+2b", "a+zz", "a=b", "a b", "x+0D+0ABcc:+20v@w.test", "a+00b", "a+FFb", "é", "+7F"] {
            assert_eq!(envid(bad), None, "{bad:?}");
        }
        assert_eq!(envid(&"a".repeat(101)), None);
        assert_eq!(xtext_encode("a+b=c d"), "a+2Bb+3Dc+20d");
    }

    #[test]
    fn orcpt_keeps_type_and_address() {
        for (value, smtputf8, kind, address) in [
            ("rfc822;Bob@Example.COM", false, "rfc822", "Bob@Example.COM"),
            ("RFC822;a+2Bb@c.test", false, "rfc822", "a+b@c.test"),
            ("X-400;/G=a".replace("=", "+3D").as_str(), false, "x-400", "/G=a"),
            ("utf-8;b\\x{FC}cher@c.test", false, "utf-8", "bücher@c.test"),
            ("utf-8;bücher@c.test", true, "utf-8", "bücher@c.test"),
            ("rfc822;b+C3+BCcher@c.test", true, "utf-8", "bücher@c.test"),
        ] {
            let original = OriginalRecipient::parse(value, smtputf8).unwrap_or_else(|| panic!("{value}"));
            assert_eq!((original.kind.as_str(), original.address.as_str()), (kind, address));
            assert_eq!(OriginalRecipient::parse(&original.to_value(false), false), Some(original.clone()), "{value} in ASCII");
            assert_eq!(OriginalRecipient::parse(&original.to_value(true), true), Some(original), "{value} in UTF-8");
        }
        let long = format!("rfc822;{}", "a".repeat(500));
        for bad in [
            "",
            "rfc822",
            "rfc822;",
            ";a@b",
            "rfc 822;a",
            "rfc822;a+0Ab",
            "utf-8;bücher@c.test",
            "utf-8;a\\x{A}b",
            "rfc822;é",
            "rfc822;b+C3+BC",
            "rfc822;b+C3",
            "rfc822;a+C2+85b",
            &long,
        ] {
            assert_eq!(OriginalRecipient::parse(bad, false), None, "{bad:?}");
        }
    }
}
