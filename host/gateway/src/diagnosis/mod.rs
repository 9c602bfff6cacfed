//! What would happen to mail, found out by the code that delivers: nothing is sent, and nothing that a gateway keeps is changed.
//!
//! One file a question, with the shape of its answer. Fields are only ever added.

pub mod probe;
pub mod records;
pub mod route;

use jiff::Timestamp;
use secmx_core::channel::{Channel, Level};
use secmx_core::mail::MailDomain;
use secmx_core::report::{Cause, Failure};
use secmx_core::secmx::dane::Tlsa;
use secmx_core::secmx::delivery::{Fate, Verdict};
use secmx_core::secmx::discovery::{Answer, MxRecord, SrvRecord, Told};
use secmx_core::secmx::exchanger::{Exchanger, Source, Voucher};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What was asked of DNS or HTTPS, and what came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// `SRV`, `MX`, `A`, `MTA-STS`, `TLSRPT`.
    pub kind: &'static str,
    /// The name that was asked about.
    pub owner: String,
    /// `found`, `none`, `denied`, `unknown`, `bogus`.
    pub answer: &'static str,
    /// What stands there.
    pub records: Vec<String>,
    /// `secure`, `insecure`, `unknown`, `bogus`; `https` for what was fetched.
    pub evidence: &'static str,
    /// Why it could not be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long the answer took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

impl Found {
    fn of<T>(kind: &'static str, owner: String, told: &Told<T>, show: impl Fn(&T) -> String) -> Self {
        let (records, why) = match &told.answer {
            Answer::Found(records) => (records.iter().map(show).collect(), None),
            Answer::Unknown(why) | Answer::Bogus(why) => (Vec::new(), Some(why.clone())),
            Answer::None | Answer::Denied => (Vec::new(), None),
        };
        let evidence = match (&told.answer, told.secure) {
            (Answer::Bogus(_), _) => "bogus",
            (Answer::Unknown(_), _) => "unknown",
            (_, true) => "secure",
            (_, false) => "insecure",
        };
        Self { kind, owner, answer: told.answer.kind().name(), records, evidence, why, took_ms: None }
    }

    fn after(self, took: Duration) -> Self {
        Self { took_ms: Some(milliseconds(took)), ..self }
    }

    /// Whether both say the same, in whatever order and time.
    fn agrees(&self, other: &Self) -> bool {
        let set = |found: &Self| found.records.iter().cloned().collect::<BTreeSet<_>>();
        (self.answer, self.evidence, set(self)) == (other.answer, other.evidence, set(other))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn srv(record: &SrvRecord) -> String {
    let target = record.target.as_ref().map_or(".".to_owned(), ToString::to_string);
    format!("{} {} {} {target}", record.priority, record.weight, record.port)
}

fn mx(record: &MxRecord) -> String {
    format!("{} {}", record.preference, record.exchange.as_ref().map_or(".".to_owned(), ToString::to_string))
}

/// A failure, with the status that a notice about it would have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Enhanced status (RFC 3463).
    pub status: String,
    /// What went wrong, for people.
    pub text: String,
}

impl Trouble {
    fn of(cause: &Cause, returned: bool) -> Self {
        Self { status: cause.status(returned).to_string(), text: cause.to_string() }
    }

    fn of_failure(failure: &Failure, returned: bool) -> Self {
        Self { status: failure.cause.status(returned).to_string(), text: failure.to_string() }
    }
}

/// What an attempt comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comes {
    /// A host takes the message.
    Delivered,
    /// It waits and is tried again.
    Waits,
    /// It goes back to the sender.
    Bounced,
}

/// What a verdict about one recipient comes to, and why when it is not delivered.
fn comes_to(verdict: &Verdict) -> (Comes, Option<&Failure>) {
    match verdict.recipients.first().map(|(_, fate)| fate) {
        Some(Fate::Delivered { .. }) => (Comes::Delivered, None),
        Some(Fate::Returned(failure)) => (Comes::Bounced, Some(failure)),
        Some(Fate::Deferred(failure)) => (Comes::Waits, Some(failure)),
        None => (Comes::Waits, None),
    }
}

/// Where a host was heard of, as a word.
fn source(source: Source) -> &'static str {
    match source {
        Source::SecmxSrv => "SRV",
        Source::SmtpTlsSrv => "SRV _smtp-tls",
        Source::Mx => "MX",
        Source::AddressRecord => "address record",
        Source::Configured(_) => "configuration",
    }
}

/// TLSA records of a host as they stand, when they count.
fn tlsa(exchanger: &Exchanger) -> Vec<String> {
    match &exchanger.evidence.tlsa {
        Tlsa::Usable(records) => records.iter().map(ToString::to_string).collect(),
        Tlsa::Unusable => vec!["none that can be used".to_owned()],
        Tlsa::Absent => Vec::new(),
    }
}

/// Who vouches for a host, when it is not DNSSEC.
fn voucher(exchanger: &Exchanger) -> Option<&'static str> {
    exchanger.evidence.vouched.map(|vouched| match vouched {
        Voucher::MtaSts => "MTA-STS",
        Voucher::Operator => "a rule of this gateway",
    })
}

/// What the level of a channel rests on, in words.
fn proof(exchanger: &Exchanger, channel: &Channel, domain: &MailDomain) -> &'static str {
    match (channel.level, &exchanger.evidence.tlsa, exchanger.evidence.vouched) {
        (Level::Plain, ..) => "no TLS",
        (Level::Encrypted, ..) => "TLS, unverified",
        (Level::Host, ..) => "certificate for the host, named by unsigned DNS",
        (Level::Domain, Tlsa::Usable(_), _) => "DANE",
        (Level::Domain, _, Some(Voucher::Operator)) => "a rule of this gateway",
        (Level::Domain, _, Some(Voucher::MtaSts)) => "MTA-STS",
        (Level::Domain, ..) if exchanger.name_proves(domain) == Level::Domain => "certificate for the host, named by signed DNS",
        (Level::Domain, ..) => "certificate for the mail domain",
    }
}

/// A certificate as it was shown, believed or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Subject.
    pub subject: String,
    /// Issuer.
    pub issuer: String,
    /// Names.
    pub names: Vec<String>,
    /// Its end.
    pub not_after: Option<Timestamp>,
}

/// A channel as it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Secured {
    /// TLS version.
    pub version: String,
    /// Cipher suite.
    pub cipher: String,
    /// Key exchange group.
    pub group: String,
    /// The peer's certificate.
    pub certificate: Option<Shown>,
    /// Why it was not believed.
    pub doubt: Option<String>,
}

impl Secured {
    fn of(channel: &Channel) -> Option<Self> {
        let tls = channel.tls.as_ref()?;
        let certificate = tls.peer.as_ref().map(|peer| Shown {
            subject: peer.subject.clone(),
            issuer: peer.issuer.clone(),
            names: peer.dns_names.clone(),
            not_after: i64::try_from(peer.not_after).ok().and_then(|second| Timestamp::from_second(second).ok()),
        });
        Some(Self {
            version: tls.version.to_string(),
            cipher: tls.cipher.clone(),
            group: tls.group.clone(),
            certificate,
            doubt: tls.doubt.as_ref().map(ToString::to_string),
        })
    }
}
