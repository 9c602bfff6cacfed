//! Delivery status notifications (RFC 3464, RFC 6522), written with mail-builder.
//!
//! The human part says which exchanger failed how. A notice about secure-only mail carries its header only: what was not allowed out in
//! the clear does not come back in full. A sender that said so gets less, or hears of success (RFC 3461). Who gets one is decided elsewhere; nobody does for a null reverse-path (RFC 5321, 6.1).

use jiff::Timestamp;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;
use secmx_core::mail::dsn::{OriginalRecipient, Ret};
use secmx_core::mail::{Mailbox, trace};
use secmx_core::queue::Message;
use secmx_core::report::{EnhancedStatus, Failure, Reply};
use secmx_core::role::SenderRole;
use std::fmt::Write;

/// A message of up to this many octets comes back whole, a longer one as its header.
pub(super) const WHOLE_OCTETS_MAX: u64 = 64 * 1024;

/// What a notice says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Given up (`failed`).
    Failed,
    /// Still waiting (`delayed`); given up at this time.
    Delayed {
        /// When the queue lets go of it.
        until: Timestamp,
    },
    /// Handed to a host that tells nobody more about it (`relayed`).
    Relayed,
    /// Handed to the store of the mailbox over LMTP (`delivered`).
    Delivered,
}

/// What happened to one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// A host took the message, with this reply.
    Taken(Reply),
    /// Why it has not got there.
    Failed(Failure),
}

/// One notice to one sender.
pub(super) struct Notice<'a> {
    /// Our name, for Reporting-MTA.
    pub(super) hostname: &'a str,
    /// Who signs: the postmaster.
    pub(super) postmaster: &'a Mailbox,
    /// Who gets it: the reverse-path.
    pub(super) to: &'a Mailbox,
    /// The message it is about.
    pub(super) message: &'a Message,
    /// Role under which it travelled.
    pub(super) role: SenderRole,
    /// What happened.
    pub(super) action: Action,
    /// To whom, and why.
    pub(super) recipients: &'a [(Mailbox, Told)],
    /// What every exchanger said, in order.
    pub(super) evidence: &'a [Failure],
    /// The stored octets of the message, or at least its header.
    pub(super) original: &'a [u8],
    /// When the notice is written.
    pub(super) now: Timestamp,
}

impl Notice<'_> {
    /// The whole message, CRLF lines, ready for the spool.
    pub(super) fn render(&self) -> Vec<u8> {
        let subject = match self.action {
            Action::Failed => "Undelivered mail returned to sender",
            Action::Delayed { .. } => "Mail is delayed",
            Action::Relayed | Action::Delivered => "Mail was handed on",
        };
        let report = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
        let parts = vec![
            MimePart::new("text/plain", self.words()),
            MimePart::new("message/delivery-status", self.fields().into_bytes()).transfer_encoding("7bit"),
            self.returned_part(),
        ];
        let message = MessageBuilder::new()
            .header("From", Raw::new(format!("Mail gateway <{}>", ascii(self.postmaster))))
            .header("To", Raw::new(format!("<{}>", self.to)))
            .subject(subject)
            .date(self.now.as_second())
            .message_id(format!("{}.{}@{}", self.message.id, self.now.as_millisecond(), self.hostname))
            // RFC 3834, 5: marks what no person wrote, so that no robot answers it.
            .header("Auto-Submitted", Raw::new("auto-replied"))
            .body(MimePart::new(report, parts));
        let mut octets = Vec::new();
        message.serialize(&mut octets);
        octets
    }

    /// The part for people.
    fn words(&self) -> String {
        let mut text = format!("This is the mail gateway {}.\r\n\r\n", self.hostname);
        text.push_str(match self.action {
            Action::Failed => "Your message could not be delivered to:\r\n\r\n",
            Action::Delayed { .. } => "Your message could not be delivered yet. It is still being tried for:\r\n\r\n",
            Action::Relayed => "Your message was handed to a host that sends no notices of its own, for:\r\n\r\n",
            Action::Delivered => "Your message was delivered to the mailbox of:\r\n\r\n",
        });
        for (recipient, told) in self.recipients {
            let _ = match told {
                Told::Taken(reply) => write!(text, "  {recipient}\r\n      {}\r\n", ascii_text(&reply.to_string())),
                Told::Failed(failure) => write!(text, "  {recipient}\r\n      {failure}\r\n"),
            };
        }
        if self.role == SenderRole::SecureOnly && self.action == Action::Failed {
            text.push_str(
                "\r\nThis mail may travel over TLS only (secure only sender), so it was not sent in the clear.\r\n\
                 For the same reason only its header is returned here.\r\n",
            );
        }
        if !self.evidence.is_empty() {
            text.push_str("\r\nWhat was tried last, in this order:\r\n\r\n");
            for failure in self.evidence {
                let _ = write!(text, "  {failure}\r\n");
            }
        }
        if let Action::Delayed { until } = self.action {
            let _ = write!(text, "\r\nYou need not do anything. It will be tried until {}.\r\n", trace::rfc5322_date(until));
        }
        let _ = write!(text, "\r\nQueue id: {}\r\n", self.message.id);
        text
    }

    /// The part for programs (RFC 3464, 2.2 and 2.3).
    fn fields(&self) -> String {
        let mut fields = String::new();
        if let Some(envid) = &self.message.envelope.dsn.envid {
            let _ = write!(fields, "Original-Envelope-Id: {}\r\n", ascii_text(envid));
        }
        let _ = write!(
            fields,
            "Reporting-MTA: dns; {}\r\nX-SecMX-Queue-ID: {}\r\nArrival-Date: {}\r\n",
            self.hostname,
            self.message.id,
            trace::rfc5322_date(self.message.arrived)
        );
        for (recipient, told) in self.recipients {
            self.recipient_fields(recipient, told, &mut fields);
        }
        fields
    }

    fn recipient_fields(&self, recipient: &Mailbox, told: &Told, fields: &mut String) {
        fields.push_str("\r\n");
        // RFC 3461, 5.2.1 (b): what ORCPT said comes back as it was.
        if let Some(OriginalRecipient { kind, address }) = self.message.envelope.dsn.of(recipient).original {
            let _ = write!(fields, "Original-Recipient: {kind}; {}\r\n", ascii_text(&address));
        }
        let kind = if recipient.needs_utf8() { "utf-8" } else { "rfc822" };
        let _ = write!(fields, "Final-Recipient: {kind}; {}\r\n", ascii(recipient));
        let action = match self.action {
            Action::Failed => "failed",
            Action::Delayed { .. } => "delayed",
            Action::Relayed => "relayed",
            Action::Delivered => "delivered",
        };
        let (status, exchanger, reply, cause) = match told {
            Told::Taken(reply) => (reply.status.unwrap_or(EnhancedStatus::new(2, 0, 0)).in_class(2), None, Some(reply), String::new()),
            Told::Failed(failure) => {
                let status = failure.cause.status(self.action == Action::Failed);
                (status, failure.exchanger.as_ref(), failure.cause.reply(), failure.cause.to_string())
            }
        };
        let _ = write!(fields, "Action: {action}\r\nStatus: {status}\r\n");
        if let Some(exchanger) = exchanger {
            let _ = write!(fields, "Remote-MTA: dns; {exchanger}\r\n");
        }
        let diagnostic =
            reply.map_or_else(|| format!("X-SecMX; {}", ascii_text(&cause)), |reply| format!("smtp; {}", ascii_text(&reply.to_string())));
        let _ = write!(fields, "Diagnostic-Code: {diagnostic}\r\nLast-Attempt-Date: {}\r\n", trace::rfc5322_date(self.now));
        if let Action::Delayed { until } = self.action {
            let _ = write!(fields, "Will-Retry-Until: {}\r\n", trace::rfc5322_date(until));
        }
    }

    /// The message itself, or its header.
    fn returned_part(&self) -> MimePart<'static> {
        let whole = self.role == SenderRole::BestEffort
            && self.message.octets <= WHOLE_OCTETS_MAX
            && u64::try_from(self.original.len()) == Ok(self.message.octets)
            && self.action == Action::Failed
            && self.message.envelope.dsn.ret != Some(Ret::Hdrs);
        let (kind, octets) = if whole { ("message/rfc822", self.original) } else { ("text/rfc822-headers", header_of(self.original)) };
        let encoding = if octets.is_ascii() { "7bit" } else { "8bit" };
        // RFC 2046, 5.2.1: "No encoding other than "7bit", "8bit", or "binary" is permitted" for message/rfc822.
        MimePart::new(ContentType::new(kind), octets.to_vec()).transfer_encoding(encoding)
    }
}

/// The header section, its last CRLF included.
fn header_of(octets: &[u8]) -> &[u8] {
    let end = octets.windows(4).position(|window| window == b"\r\n\r\n").map_or(octets.len(), |at| at + 2);
    octets.get(..end).unwrap_or(octets)
}

/// An address in ASCII: characters beyond it as `\x{HEX}` (RFC 6533, 3).
fn ascii(mailbox: &Mailbox) -> String {
    ascii_text(&mailbox.to_string())
}

/// Text in printable ASCII, what is beyond it as `\x{HEX}`.
fn ascii_text(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        if matches!(character, ' '..='~') {
            out.push(character);
        } else {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(character));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_core::channel::Channel;
    use secmx_core::mail::Envelope;
    use secmx_core::queue::{Origin, QueueId};
    use secmx_core::report::{Cause, EnhancedStatus, Reply};
    use std::collections::BTreeMap;

    const ORIGINAL: &[u8] = b"Subject: secret plan\r\nFrom: a@x.test\r\n\r\nthe body\r\n";

    fn mailbox(address: &str) -> Mailbox {
        Mailbox::parse(address.as_bytes(), true).expect("valid")
    }

    fn notice(role: SenderRole, cause: Cause, recipient: &str) -> String {
        let message = Message {
            id: QueueId::new(1, 1),
            arrived: Timestamp::UNIX_EPOCH,
            envelope: Envelope { reverse_path: Some(mailbox("a@x.test")), recipients: vec![mailbox(recipient)], ..Envelope::default() },
            octets: ORIGINAL.len() as u64,
            origin: Origin {
                listener: "public".into(),
                client: None,
                session: String::new(),
                channel: Channel::plain(),
                trusted: false,
                user: None,
                judged: false,
            },
            tags: BTreeMap::new(),
        };
        let failure = Failure { exchanger: Some("mx.y.test".into()), address: Some("192.0.2.1:25".into()), cause };
        let octets = Notice {
            hostname: "gw.x.test",
            postmaster: &mailbox("postmaster@x.test"),
            to: &mailbox("a@x.test"),
            message: &message,
            role,
            action: Action::Failed,
            recipients: &[(mailbox(recipient), Told::Failed(failure.clone()))],
            evidence: &[failure],
            original: ORIGINAL,
            now: Timestamp::UNIX_EPOCH,
        }
        .render();
        String::from_utf8(octets).expect("ASCII")
    }

    #[test]
    fn secure_only_mail_comes_back_as_its_header() {
        let text = notice(SenderRole::SecureOnly, Cause::TlsNotOffered, "b@y.test");
        for part in
            ["Status: 5.7.10", "Remote-MTA: dns; mx.y.test", "does not offer STARTTLS", "text/rfc822-headers", "Subject: secret plan"]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("the body"), "{text}");
    }

    #[test]
    fn best_effort_mail_comes_back_whole() {
        let reply = Reply::new(550, Some(EnhancedStatus::new(5, 1, 1)), "no such user");
        let text = notice(SenderRole::BestEffort, Cause::Rejected(reply), "b@y.test");
        for part in ["Status: 5.1.1", "Diagnostic-Code: smtp; 550 5.1.1 no such user", "message/rfc822", "the body", "multipart/report"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn addresses_beyond_ascii_are_escaped() {
        let text = notice(SenderRole::BestEffort, Cause::NullMx, "bücher@y.test");
        assert!(text.contains("Final-Recipient: utf-8; b\\x{FC}cher@y.test"), "{text}");
    }

    #[test]
    fn every_line_ends_in_crlf() {
        let text = notice(SenderRole::SecureOnly, Cause::TlsNotOffered, "b@y.test");
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }
}
