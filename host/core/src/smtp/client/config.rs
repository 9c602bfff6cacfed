//! How one connection is to be opened, and how long each answer may take (RFC 5321, 4.5.3.2).

use crate::channel::TlsUse;
use crate::mail::Domain;
use std::time::Duration;

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// SMTP (RFC 5321).
    #[default]
    Smtp,
    /// LMTP (RFC 2033): LHLO for EHLO, and one reply for each recipient after the content.
    Lmtp,
}

/// Terms of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Our name in EHLO.
    pub hello: Domain,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// How TLS is used.
    pub tls: TlsUse,
    /// Whether to authenticate before the first message (RFC 4954). The password is told to nobody who has not proved who it is.
    pub login: bool,
    /// How long to wait for each answer.
    pub timeouts: Timeouts,
}

/// The longest wait for each answer. The defaults are those of RFC 5321, 4.5.3.2 from MAIL on, where a wait that is cut short costs a
/// second copy; before MAIL they are shorter, since another exchanger may be ready while one stalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The greeting. Default 1 minute (RFC: 5 minutes).
    pub greeting: Duration,
    /// The reply to EHLO or HELO. Default 1 minute (no RFC value).
    pub hello: Duration,
    /// The reply to STARTTLS. Default 30 seconds (no RFC value).
    pub starttls: Duration,
    /// The TLS handshake. Default 30 seconds (no RFC value).
    pub handshake: Duration,
    /// The reply to MAIL, and to RSET before it. Default 5 minutes.
    pub mail: Duration,
    /// The reply to RCPT. Default 5 minutes.
    pub rcpt: Duration,
    /// The reply to DATA. Default 2 minutes.
    pub data: Duration,
    /// One block of content being taken. Default 3 minutes.
    pub block: Duration,
    /// The reply to the end of data. Default 10 minutes.
    pub end_of_data: Duration,
    /// The reply to QUIT. Default 5 seconds: nothing depends on it.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(60),
            hello: Duration::from_secs(60),
            starttls: Duration::from_secs(30),
            handshake: Duration::from_secs(30),
            mail: Duration::from_secs(300),
            rcpt: Duration::from_secs(300),
            data: Duration::from_secs(120),
            block: Duration::from_secs(180),
            end_of_data: Duration::from_secs(600),
            quit: Duration::from_secs(5),
        }
    }
}
