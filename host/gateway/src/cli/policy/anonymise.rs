//! A message without those who wrote and read it: addresses become those of nobody, the same one always the same, and fields that tell of
//! systems go. What the text says stays: a policy about content must still see it.

use bytes::Bytes;
use mail_parser::MessageParser;
use secmx_core::mail::Mailbox;
use secmx_policy::cases::Given;
use std::collections::BTreeMap;

/// Fields that go, in lower case.
const GONE: &[&str] = &[
    "received",
    "return-path",
    "delivered-to",
    "message-id",
    "in-reply-to",
    "references",
    "authentication-results",
    "received-spf",
    "dkim-signature",
    "user-agent",
    "x-mailer",
    "x-originating-ip",
    "organization",
];

/// Fields whose names of people go.
const PEOPLE: &[&str] = &["from", "to", "cc", "bcc", "reply-to", "sender"];

/// Who became whom.
#[derive(Default)]
struct Masks {
    people: BTreeMap<String, String>,
    domains: BTreeMap<String, String>,
}

/// Does it to a message and to what is known beside it. Gives the number of addresses.
pub(super) fn anonymise(message: &mut Bytes, given: &mut Given) -> usize {
    let mut masks = Masks::default();
    if let Some(envelope) = &mut given.envelope {
        let named = envelope.from.iter_mut().chain(envelope.to.iter_mut().flatten());
        named.for_each(|address| *address = masks.text(address));
        envelope.client = envelope.client.as_ref().map(|client| if client.contains(':') { "2001:db8::1" } else { "192.0.2.1" }.to_owned());
        envelope.client_name = envelope.client_name.as_ref().map(|_| "client.example".to_owned());
        envelope.hello = envelope.hello.as_ref().map(|_| "client.example".to_owned());
        envelope.user = envelope.user.as_ref().map(|_| "somebody".to_owned());
    }
    let end = message.windows(4).position(|window| window == b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    let header = masks.header(&message[..end]);
    let body = masks.octets(&message[end..]);
    *message = [header, body].concat().into();
    // What DNS was asked is asked again of the domain's new name.
    let dns = given.dns.take().unwrap_or_default().into_iter();
    given.dns = Some(dns.map(|(asked, answer)| (masks.name(&asked), answer)).collect());
    masks.people.len()
}

impl Masks {
    /// The header section without what goes.
    fn header(&mut self, header: &[u8]) -> Vec<u8> {
        let (mut kept, mut goes) = (Vec::new(), false);
        for line in header.split_inclusive(|octet| *octet == b'\n') {
            if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                let name = line.split(|octet| *octet == b':').next().unwrap_or_default();
                let name = String::from_utf8_lossy(name).trim().to_lowercase();
                goes = GONE.contains(&name.as_str()) || name.starts_with("arc-");
                if PEOPLE.contains(&name.as_str()) {
                    goes = true;
                    kept.extend(self.people(&name, header));
                }
            }
            if !goes {
                kept.extend(self.octets(line));
            }
        }
        kept
    }

    /// A field of addresses, without the names beside them. One that comes twice is written once.
    fn people(&mut self, name: &str, header: &[u8]) -> Vec<u8> {
        let parsed = MessageParser::default().parse_headers(header);
        let field = parsed.as_ref().and_then(|parsed| match name {
            "from" => parsed.from(),
            "to" => parsed.to(),
            "cc" => parsed.cc(),
            "bcc" => parsed.bcc(),
            "reply-to" => parsed.reply_to(),
            _ => parsed.sender(),
        });
        let addresses = field.into_iter().flat_map(mail_parser::Address::iter).filter_map(|one| one.address.as_deref());
        let addresses: Vec<String> = addresses.map(|address| self.text(address)).collect();
        let title = name[..1].to_uppercase() + &name[1..];
        format!("{title}: {}\r\n", addresses.join(",\r\n ")).into_bytes()
    }

    /// Octets with every address in them replaced.
    fn octets(&mut self, octets: &[u8]) -> Vec<u8> {
        let is_local = |octet: &u8| octet.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(octet);
        let is_domain = |octet: &u8| octet.is_ascii_alphanumeric() || b".-".contains(octet);
        let (mut out, mut done) = (Vec::with_capacity(octets.len()), 0);
        for at in octets.iter().enumerate().filter(|(_, octet)| **octet == b'@').map(|(at, _)| at) {
            let start = octets[done..at].iter().rposition(|octet| !is_local(octet)).map_or(done, |place| done + place + 1);
            let mut end = octets[at + 1..].iter().position(|octet| !is_domain(octet)).map_or(octets.len(), |place| at + 1 + place);
            while octets.get(end - 1) == Some(&b'.') {
                end -= 1;
            }
            let Ok(mailbox) = Mailbox::parse(&octets[start..end], false) else { continue };
            out.extend_from_slice(&octets[done..start]);
            out.extend(self.mailbox(&mailbox).bytes());
            done = end;
        }
        out.extend_from_slice(&octets[done..]);
        out
    }

    fn text(&mut self, text: &str) -> String {
        String::from_utf8_lossy(&self.octets(text.as_bytes())).into_owned()
    }

    fn mailbox(&mut self, mailbox: &Mailbox) -> String {
        let (whole, domain) = (mailbox.to_string().to_lowercase(), mailbox.domain().to_string().to_lowercase());
        let number = self.domains.len() + 1;
        let domain = self.domains.entry(domain).or_insert_with(|| format!("org{number}.example")).clone();
        let number = self.people.len() + 1;
        self.people.entry(whole).or_insert_with(|| format!("person{number}@{domain}")).clone()
    }

    /// A name of DNS, where it ends in the domain of somebody.
    fn name(&self, asked: &str) -> String {
        let (name, kind) = asked.split_once(' ').unwrap_or((asked, ""));
        let lower = name.to_lowercase();
        let of = self.domains.iter().find_map(|(domain, mask)| {
            let rest = lower.strip_suffix(domain.as_str())?;
            (rest.is_empty() || rest.ends_with('.')).then(|| format!("{rest}{mask} {kind}"))
        });
        of.unwrap_or_else(|| asked.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_policy::cases::{DnsAnswer, Envelope};

    #[test]
    fn nobody_is_left_and_the_text_is() {
        let text = "Received: from host.agency.test by x\r\n\tfor <bo@health.test>\r\nFrom: \"Ana Agent\" <Ana@agency.test>\r\n\
            To: Bo <bo@health.test>,\r\n Cy <cy@health.test>\r\nSubject: for bo@health.test: NL91 ABNA 0417 1643 00\r\n\
            Message-ID: <1@agency.test>\r\n\r\nHello bo@health.test. a@b @ nothing\r\n";
        let mut message = Bytes::from(text);
        let envelope = Envelope {
            from: Some("ana@agency.test".into()),
            to: Some(vec!["bo@health.test".into(), "cy@health.test".into()]),
            client: Some("10.1.2.3".into()),
            ..Envelope::default()
        };
        let dns = [("_x.agency.test TXT".to_owned(), DnsAnswer::Word("none".into()))];
        let mut given = Given { envelope: Some(envelope), dns: Some(dns.into()), ..Given::default() };
        assert_eq!(anonymise(&mut message, &mut given), 4);
        assert_eq!(
            String::from_utf8_lossy(&message),
            "From: person1@org1.example\r\nTo: person2@org2.example,\r\n person3@org2.example\r\n\
             Subject: for person2@org2.example: NL91 ABNA 0417 1643 00\r\n\r\nHello person2@org2.example. person4@org3.example @ nothing\r\n"
        );
        let envelope = given.envelope.unwrap_or_default();
        assert_eq!((envelope.from.as_deref(), envelope.client.as_deref()), (Some("person1@org1.example"), Some("192.0.2.1")));
        assert_eq!(given.dns.unwrap_or_default().keys().collect::<Vec<_>>(), ["_x.org1.example TXT"]);
    }
}
