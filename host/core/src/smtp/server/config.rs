//! What a receiving session is told about this gateway, about its client, and about limits.

use crate::mail::{Domain, Mailbox};
use std::net::IpAddr;
use std::time::Duration;

/// This gateway, as its sessions present it.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Our name in the greeting and in EHLO.
    pub hostname: Domain,
    /// Domains that mail is taken for from anyone.
    pub own_domains: Vec<Domain>,
    /// Who `<Postmaster>` is.
    pub postmaster: Mailbox,
    /// SASL mechanisms that are offered over TLS, in upper case; none where nobody may authenticate.
    pub mechanisms: Vec<String>,
    /// Whether a header field beyond ASCII needs SMTPUTF8. Many who send one have never heard of it.
    pub strict_header: bool,
    /// Bounds.
    pub limits: Limits,
}

/// What is known of a client before it says a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// Its network may send mail anywhere.
    pub relay: bool,
    /// Its bare CR and LF in content are line ends, not a reason to refuse it.
    pub normalize: bool,
}

/// Bounds on one session. What RFC 5321, 4.5.3.1 asks for at least is in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line with its CRLF. Default 2,048 (512).
    pub command_octets_max: usize,
    /// Octets of a text line with its CRLF. Default 10,000 (1,000).
    pub line_octets_max: usize,
    /// Octets of a message. Default 50 MiB (64 KiB).
    pub message_octets_max: u64,
    /// Octets of the header section. Default 100 KiB.
    pub header_octets_max: usize,
    /// Header fields. Default 1,000.
    pub header_fields_max: usize,
    /// Recipients of one message. Default 1,000 (100).
    pub recipients_max: usize,
    /// Received fields. Default 100 (100).
    pub hops_max: usize,
    /// Commands that are refused before the session is. Default 20.
    pub errors_max: u32,
    /// Commands that come to nothing (NOOP, RSET, VRFY, HELP, EHLO) between two messages. Default 100.
    pub idle_commands_max: u32,
    /// Attempts to authenticate that fail. Default 3.
    pub auth_failures_max: u32,
    /// Messages of one session. Default 1,000.
    pub messages_max: u32,
    /// Wait for a command. Default 5 minutes (5 minutes).
    pub command: Duration,
    /// Wait for more content. Default 3 minutes (3 minutes).
    pub data: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_octets_max: 2048,
            line_octets_max: 10_000,
            message_octets_max: 50 * 1024 * 1024,
            header_octets_max: 100 * 1024,
            header_fields_max: 1000,
            recipients_max: 1000,
            hops_max: 100,
            errors_max: 20,
            idle_commands_max: 100,
            auth_failures_max: 3,
            messages_max: 1000,
            command: Duration::from_secs(300),
            data: Duration::from_secs(180),
        }
    }
}
