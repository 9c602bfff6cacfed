//! Everything the gateway says about itself: one variant, one log line, fixed fields.
//!
//! Fields come in the order in which they are declared here, ids first. Ids tie the lines together: `session` (one connection),
//! `transaction` (MAIL to end of data), `queue` (one message). No body, no secret, at no level.

use super::failure::Failure;
use super::status::Reply;
use crate::channel::{Channel, Level};
use crate::role::{ReceiverRole, SenderRole};
use serde::Serialize;

/// One line of the log. Field names are stable.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event")]
pub enum Event<'a> {
    /// The gateway listens.
    #[serde(rename = "gateway.ready")]
    Ready {
        /// `name=address` of each listener.
        listeners: Vec<String>,
        /// Messages that wait from before.
        queued: u64,
    },
    /// The gateway takes no new sessions and ends the open ones.
    #[serde(rename = "gateway.drain")]
    Draining {
        /// What caused it.
        cause: &'a str,
    },
    /// A configuration took effect, or did not.
    #[serde(rename = "config.reload")]
    Reloaded {
        /// Whether the new one is in force.
        ok: bool,
        /// Why not, or what it is.
        detail: String,
    },
    /// Certificates were read again, and are shown from now on.
    #[serde(rename = "certificate.shown")]
    CertificatesShown {
        /// Names, issuer and end of each.
        shown: Vec<String>,
    },
    /// An ACME authority issued a certificate.
    #[serde(rename = "certificate.issued")]
    CertificateIssued {
        /// What it is for.
        names: Vec<String>,
    },
    /// An operator changed something, or tried to: the audit log.
    #[serde(rename = "operator.acted")]
    Operated {
        /// Name of the user, as the operating system has it.
        user: &'a str,
        /// User id, as the operating system tells it of the other end of the control socket.
        uid: u32,
        /// Process id, likewise.
        pid: Option<i32>,
        /// What they asked for, such as `queue hold`.
        action: &'a str,
        /// Why, in their words.
        reason: Option<&'a str>,
        /// What came of it.
        detail: String,
    },
    /// An operator did something to recipients of a message.
    #[serde(rename = "message.handled")]
    Handled {
        /// Queue id.
        queue: String,
        /// Recipients.
        recipients: Vec<String>,
        /// `hold`, `release`, `retry`, `bounce`, `delete`.
        action: &'a str,
        /// Who.
        user: &'a str,
        /// Why, in their words.
        reason: &'a str,
    },
    /// Something an operator ought to know.
    #[serde(rename = "gateway.warning")]
    Warning {
        /// One sentence.
        text: String,
    },
    /// A client connected.
    #[serde(rename = "session.open")]
    SessionOpen {
        /// Session id.
        session: &'a str,
        /// Listener name.
        listener: &'a str,
        /// Client address.
        client: String,
        /// Role set by the receiver policy.
        role: ReceiverRole,
    },
    /// The channel of a session is under TLS.
    #[serde(rename = "session.secured")]
    SessionSecured {
        /// Session id.
        session: &'a str,
        /// What the handshake settled.
        channel: &'a Channel,
    },
    /// TLS with a client failed.
    #[serde(rename = "session.tls-failed")]
    SessionTlsFailed {
        /// Session id.
        session: &'a str,
        /// What TLS said.
        detail: String,
    },
    /// A user authenticated.
    #[serde(rename = "session.authenticated")]
    Authenticated {
        /// Session id.
        session: &'a str,
        /// Who.
        user: &'a str,
        /// SASL mechanism, or `certificate`.
        mechanism: &'a str,
    },
    /// A client tried to authenticate and failed.
    #[serde(rename = "session.authentication-failed")]
    AuthenticationFailed {
        /// Session id.
        session: &'a str,
        /// Client address.
        client: String,
        /// SASL mechanism.
        mechanism: &'a str,
    },
    /// A command or a message was answered 4yz or 5yz.
    #[serde(rename = "session.refused")]
    Refused {
        /// Session id.
        session: &'a str,
        /// What was answered.
        reply: &'a Reply,
    },
    /// The session is over.
    #[serde(rename = "session.close")]
    SessionClose {
        /// Session id.
        session: &'a str,
        /// Messages taken.
        messages: u32,
        /// How it ended.
        cause: &'a str,
    },
    /// A policy ruled.
    #[serde(rename = "policy.ruled")]
    PolicyRuled(PolicyMoment<'a>),
    /// A policy failed; the message waits or is refused for now, never passed.
    #[serde(rename = "policy.fault")]
    PolicyFault {
        /// Session or queue id.
        subject: &'a str,
        /// Policy name.
        policy: &'a str,
        /// Its version, when its component says one.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<&'a str>,
        /// Interface that was asked.
        interface: &'a str,
        /// What went wrong.
        detail: String,
    },
    /// A policy that has no say yet ruled another way than those in force.
    #[serde(rename = "policy.shadow-differs")]
    ShadowDiffers {
        /// Session or queue id.
        subject: &'a str,
        /// Policy name.
        policy: &'a str,
        /// Its version, when its component says one.
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<&'a str>,
        /// The ruling in force.
        enforced: &'a str,
        /// Its own.
        shadow: &'a str,
        /// Its reason code.
        code: Option<&'a str>,
    },
    /// Text that a policy logged.
    #[serde(rename = "policy.log")]
    PolicyLog {
        /// Session or queue id.
        subject: &'a str,
        /// Policy name.
        policy: &'a str,
        /// `debug`, `info` or `warn`.
        severity: &'a str,
        /// Its text, bounded.
        text: &'a str,
    },
    /// A message is on disk and was answered 250.
    #[serde(rename = "message.queued")]
    Queued {
        /// Session id.
        session: &'a str,
        /// Queue id.
        queue: String,
        /// Reverse-path; empty is `<>`.
        reverse_path: String,
        /// Number of recipients.
        recipients: usize,
        /// Size, octets.
        octets: u64,
    },
    /// What discovery found for a domain.
    #[serde(rename = "delivery.discovered")]
    Discovered {
        /// Queue id.
        queue: String,
        /// Recipient domain.
        domain: String,
        /// Answer for SRV: found, none, denied, unknown, bogus.
        secmx: &'static str,
        /// Answer for MX.
        mx: &'static str,
        /// `name:port` in order.
        exchangers: Vec<String>,
        /// What was left out or odd.
        notes: Vec<String>,
    },
    /// The name of an exchanger is an alias; it was followed (D-6; RFC 2181, 10.3 and RFC 2782 forbid it).
    #[serde(rename = "delivery.alias")]
    Alias {
        /// Queue id.
        queue: String,
        /// What the SRV or MX record names.
        exchanger: String,
        /// What that is an alias of.
        target: String,
    },
    /// One exchanger was tried and did not take the message.
    #[serde(rename = "attempt.failed")]
    AttemptFailed {
        /// Queue id.
        queue: String,
        /// Role under which it was tried.
        role: SenderRole,
        /// Who and why.
        failure: &'a Failure,
    },
    /// What was said in one call to an exchanger, but for the content.
    #[serde(rename = "attempt.dialogue")]
    Dialogue {
        /// Queue id.
        queue: String,
        /// Who was called.
        exchanger: &'a str,
        /// Its address and port.
        address: String,
        /// `C: ` what we said, `S: ` what they did; bounded.
        lines: Vec<String>,
    },
    /// Recipients were delivered.
    #[serde(rename = "message.delivered")]
    Delivered {
        /// Queue id.
        queue: String,
        /// Role.
        role: SenderRole,
        /// Exchanger that took it.
        exchanger: &'a str,
        /// Its address and port.
        address: String,
        /// The channel it went over.
        channel: &'a Channel,
        /// The operator named this hop in the configuration, and so vouches for it (S-2).
        trusted: bool,
        /// Recipients.
        recipients: Vec<String>,
        /// Its answer.
        reply: &'a Reply,
    },
    /// Recipients wait for another attempt.
    #[serde(rename = "message.deferred")]
    Deferred {
        /// Queue id.
        queue: String,
        /// Recipients.
        recipients: Vec<String>,
        /// Why.
        failure: &'a Failure,
        /// When it comes up again, RFC 3339.
        next: String,
    },
    /// Recipients were given up; a bounce goes out unless the reverse-path is null.
    #[serde(rename = "message.returned")]
    Returned {
        /// Queue id.
        queue: String,
        /// Recipients.
        recipients: Vec<String>,
        /// Why.
        failure: &'a Failure,
        /// Queue id of the bounce, when there is one.
        bounce: Option<String>,
    },
    /// A domain announces an MTA-STS policy that could not be had (RFC 8461, 3.3).
    #[serde(rename = "sts.failed")]
    StsFailed {
        /// The domain.
        domain: String,
        /// What was wrong with its policy host, or with the policy.
        detail: String,
        /// An earlier policy stays in force.
        kept: bool,
    },
    /// A domain was told how TLS with its hosts went (RFC 8460).
    #[serde(rename = "tls-report.sent")]
    Reported {
        /// The domain.
        domain: String,
        /// The day that it is about, UTC.
        date: String,
        /// Where it went: `mailto:…`, which is then in the queue, or `https:…`.
        place: String,
    },
    /// A domain can only be reached with a lower level than it once was.
    #[serde(rename = "domain.downgraded")]
    Downgraded {
        /// Queue id.
        queue: String,
        /// The domain.
        domain: String,
        /// The host that was connected to.
        exchanger: String,
        /// The best level that the domain was ever reached with.
        best: Level,
        /// The level now.
        reached: Level,
        /// The mail waits because of it.
        waits: bool,
    },
    /// A message is kept for a person.
    #[serde(rename = "message.quarantined")]
    Quarantined {
        /// Queue id.
        queue: String,
        /// Reason code.
        code: &'a str,
    },
    /// A copy of a message is kept in a journal.
    #[serde(rename = "message.journalled")]
    Journalled {
        /// Queue id.
        queue: String,
        /// Name of the journal.
        journal: &'a str,
        /// Place of the record in the journal's chain.
        number: u64,
        /// SHA-256 of the record, hexadecimal: a witness for the whole chain up to it.
        sha256: &'a str,
    },
    /// A message was taken and dropped because a policy said so.
    #[serde(rename = "message.discarded")]
    Discarded {
        /// Queue id.
        queue: String,
        /// Reason code.
        code: &'a str,
    },
    /// A spool record was set aside because it is not what was written.
    #[serde(rename = "spool.set-aside")]
    SetAside {
        /// Where it is kept.
        record: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The spool cannot be trusted or written.
    #[serde(rename = "spool.failed")]
    SpoolFailed {
        /// What is wrong.
        detail: String,
    },
}

/// One ruling of one policy.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyMoment<'a> {
    /// Session or queue id.
    pub subject: &'a str,
    /// Policy name.
    pub policy: &'a str,
    /// Its version, when its component says one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'a str>,
    /// Whether it has no say yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// Interface and function, such as `sender.route`.
    pub question: &'a str,
    /// `pass`, `accept`, …
    pub ruling: &'a str,
    /// Reason code.
    pub code: Option<&'a str>,
    /// How long it took, microseconds.
    pub us: u64,
}
