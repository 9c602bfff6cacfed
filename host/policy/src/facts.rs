//! What policies are told: plain values that the caller fills. Nothing here is an opinion.

use crate::effects::Tags;
use bytes::Bytes;
use secmx_core::channel::{Channel, Level};
use secmx_core::mail::{Envelope, Mailbox, Parameter, ReversePath};
use secmx_core::role::SenderRole;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// One connection to a listener (RFC 5321, 3.1).
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// Session id.
    pub id: String,
    /// Name of the listener.
    pub listener: String,
    /// Address of the client.
    pub client_address: IpAddr,
    /// Forward-confirmed name of the client.
    pub client_name: Option<String>,
    /// Argument of EHLO or HELO.
    pub hello: Option<String>,
    /// The connection as it stands now; the client's certificate is in it.
    pub channel: Channel,
    /// Identity that AUTH or a client certificate proved.
    pub authenticated_as: Option<String>,
    /// Method, such as `spf`, to result, such as `pass`: what is known before anything is found out about the message.
    pub authentication_results: BTreeMap<String, String>,
    /// Tags from questions before.
    pub tags: Tags,
}

/// Octets that stay where they are; a policy copies only what it reads.
pub trait Octets: Send + Sync + std::fmt::Debug {
    /// How many there are.
    fn len(&self) -> u64;

    /// Up to `max` of them from `offset` on; fewer only at the end. Empty when they cannot be read.
    fn read_at(&self, offset: u64, max: usize) -> Vec<u8>;

    /// All of them. Not copied where they are in memory already.
    fn all(&self) -> Bytes {
        self.read_at(0, usize::try_from(self.len()).unwrap_or(usize::MAX)).into()
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Octets for Bytes {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, max: usize) -> Vec<u8> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(<[u8]>::len(self));
        let end = start.saturating_add(max).min(<[u8]>::len(self));
        self[start..end].to_vec()
    }

    fn all(&self) -> Bytes {
        self.clone()
    }
}

/// What is found out about who wrote a message, when somebody asks: it costs look-ups.
pub trait Authenticity: Send + Sync + std::fmt::Debug {
    /// Result of a method, as in [`SessionFacts::authentication_results`]; `None` for a method that nothing is known of. Finds out once, the
    /// first time, within a bound of its own; what cannot be told by then is `temperror`.
    fn result<'a>(&'a self, method: &'a str) -> Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>>;
}

/// A complete message that waits for its reply.
#[derive(Debug, Clone)]
pub struct MessageFacts {
    /// Queue id.
    pub id: String,
    /// Reverse-path and forward-paths.
    pub envelope: Envelope,
    /// Parameters of MAIL.
    pub parameters: Vec<Parameter>,
    /// Parameters of RCPT, in the order of the envelope's recipients; what is missing had none.
    pub recipient_parameters: Vec<Vec<Parameter>>,
    /// The message as it was received.
    pub octets: Arc<dyn Octets>,
    /// Who wrote it; `None` where that is not found out, as for mail from inside.
    pub authenticity: Option<Arc<dyn Authenticity>>,
    /// Tags from questions before.
    pub tags: Tags,
}

/// What DNS said. "Unknown" is never "none" (invariant 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// There are records.
    Found,
    /// There are none.
    None,
    /// "No service here": a single SRV with target `.` (RFC 2782), a null MX (RFC 7505).
    Denied,
    /// No answer, or SERVFAIL.
    Unknown,
    /// An answer that fails DNSSEC.
    Bogus,
}

/// Where an exchanger was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `_secmx._tcp` SRV (draft, section 5.1).
    SecmxSrv,
    /// `_smtp-tls._tcp` SRV.
    SmtpTlsSrv,
    /// MX.
    Mx,
    /// The domain's own address records (RFC 5321, 5.1).
    AddressRecord,
    /// The operator's configuration.
    Configured,
}

/// A host that may take the mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangerFacts {
    /// Host name, A-labels.
    pub name: String,
    /// TCP port.
    pub port: u16,
    /// Where it was found.
    pub source: Source,
    /// SRV priority or MX preference.
    pub preference: u16,
    /// The records that name it are DNSSEC-secure.
    pub dnssec_secure: bool,
    /// The best level it could reach by what is published.
    pub expected: Level,
}

/// One destination domain of one message, and what discovery found for it.
#[derive(Debug, Clone)]
pub struct DestinationFacts {
    /// Domain of all recipients.
    pub domain: String,
    /// Recipients that still wait.
    pub recipients: Vec<Mailbox>,
    /// From the envelope.
    pub reverse_path: ReversePath,
    /// Queue id.
    pub message_id: String,
    /// Tags that policies set on the message.
    pub tags: Tags,
    /// The least role, from the operator's rule and from demands; a policy can only raise it.
    pub role: SenderRole,
    /// Since the message was queued.
    pub waited: Duration,
    /// Attempts before this one.
    pub attempts: u32,
    /// What SRV look-ups said.
    pub secmx: Answer,
    /// What MX look-ups said.
    pub mx: Answer,
    /// `enforce`, `testing` or `none` (RFC 8461).
    pub sts_mode: String,
    /// Candidates in RFC 2782 and RFC 5321 order, weights already drawn. Plans name them by their place in this list.
    pub exchangers: Vec<ExchangerFacts>,
    /// Best level this domain was ever reached with.
    pub best_level: Option<Level>,
}
