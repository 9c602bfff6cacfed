//! The Received field and the hop count (RFC 5321, 4.4 and 6.3).

use super::mailbox::Mailbox;
use crate::channel::Channel;
use jiff::{Timestamp, tz::TimeZone};
use std::fmt::Write;
use std::net::IpAddr;

/// What one Received field records.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    /// Argument of EHLO or HELO, checked by the grammar.
    pub hello: &'a str,
    /// Address of the client.
    pub client: IpAddr,
    /// Our host name.
    pub by: &'a str,
    /// Whether EHLO was used (`ESMTP`) rather than HELO (`SMTP`).
    pub extended: bool,
    /// Whether SMTPUTF8 was asked for (RFC 6531, 3.7.3).
    pub smtputf8: bool,
    /// Whether the client authenticated (RFC 3848).
    pub authenticated: bool,
    /// How the message came in.
    pub channel: &'a Channel,
    /// Queue id.
    pub id: &'a str,
    /// The recipient, named only when there is exactly one: a list would tell recipients of each other (RFC 5321, 7.2).
    pub only_recipient: Option<&'a Mailbox>,
    /// When the message was taken.
    pub at: Timestamp,
}

impl Received<'_> {
    /// The field with its folding and final CRLF.
    pub fn to_field(&self) -> String {
        let client = match self.client {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        };
        let mut field = format!("Received: from {} ({client})\r\n", self.hello);
        if let Some(tls) = &self.channel.tls {
            let _ = write!(field, "\t(using {} with cipher {}", tls.version, tls.cipher);
            if !tls.group.is_empty() {
                let _ = write!(field, " group {}", tls.group);
            }
            field.push_str(")\r\n");
        }
        let _ = write!(field, "\tby {} (secmx) with {} id {}", self.by, self.protocol(), self.id);
        if let Some(recipient) = self.only_recipient {
            let _ = write!(field, "\r\n\tfor <{recipient}>");
        }
        let _ = write!(field, ";\r\n\t{}\r\n", rfc5322_date(self.at));
        field
    }

    /// "with" keyword: RFC 3848, and RFC 6531, 3.7.3 for the UTF8 forms.
    fn protocol(&self) -> String {
        let base = match (self.smtputf8, self.extended) {
            (true, _) => "UTF8SMTP",
            (false, true) => "ESMTP",
            (false, false) => return "SMTP".into(),
        };
        let secure = if self.channel.tls.is_some() { "S" } else { "" };
        let authenticated = if self.authenticated { "A" } else { "" };
        format!("{base}{secure}{authenticated}")
    }
}

/// A date and time as RFC 5322, 3.3 writes it, in UTC.
pub fn rfc5322_date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// How many Received fields a header holds: "Simple counting of the number of 'Received:' header fields in a message has proven to be an
/// effective, although rarely optimal, method of detecting loops in mail systems" (RFC 5321, 6.3).
pub fn hops(message: &[u8]) -> usize {
    header_lines(message).filter(|line| line.get(..9).is_some_and(|name| name.eq_ignore_ascii_case(b"received:"))).count()
}

/// The lines of the header section, without their line ends.
fn header_lines(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    message.split(|&octet| octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).take_while(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Level, Tls, TlsVersion};

    #[test]
    fn the_field_says_how_it_came() {
        let tls = Tls {
            version: TlsVersion::V13,
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            group: "X25519MLKEM768".into(),
            server_name: None,
            peer: None,
            doubt: None,
        };
        let channel = Channel::secured(Level::Encrypted, tls);
        let recipient = Mailbox::parse(b"bo@health.test", false).expect("valid");
        let field = Received {
            hello: "relay.test",
            client: "192.0.2.7".parse().expect("valid"),
            by: "secmail.test",
            extended: true,
            smtputf8: false,
            authenticated: false,
            channel: &channel,
            id: "ABC",
            only_recipient: Some(&recipient),
            at: "2026-11-23T10:14:07Z".parse().expect("valid"),
        }
        .to_field();
        assert_eq!(
            field,
            "Received: from relay.test ([192.0.2.7])\r\n\t(using TLS1.3 with cipher TLS_AES_256_GCM_SHA384 group X25519MLKEM768)\r\n\
             \tby secmail.test (secmx) with ESMTPS id ABC\r\n\tfor <bo@health.test>;\r\n\tMon, 23 Nov 2026 10:14:07 +0000\r\n"
        );
    }

    #[test]
    fn hops_are_counted_in_the_header_only() {
        assert_eq!(hops(b"Received: a\r\nRECEIVED: b\r\n\tfor x\r\nSubject: s\r\n\r\nReceived: body\r\n"), 2);
    }
}
