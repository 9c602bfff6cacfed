//! What a domain is told of TLS with its hosts (RFC 8460): where it wants to hear it, how a session counts, and the report itself.
//!
//! Facts in, values out: nothing here sends, waits or knows the time.

use super::dane::Tlsa;
use super::exchanger::Exchanger;
use super::sts;
use crate::channel::{Channel, DoubtKind, Shortfall};
use crate::mail::{Domain, Mailbox};
use crate::report::Cause;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Places of one record that are used.
const DESTINATIONS_MAX: usize = 5;

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 200;

/// Kinds of failure that are told apart for one policy and day; what is beyond them counts, without its details.
const DETAILS_MAX: usize = 100;

/// Where reports about a domain go (RFC 8460, 3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// `mailto:`.
    Mail(Mailbox),
    /// `https:`, the whole address.
    Https(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mail(mailbox) => write!(f, "mailto:{mailbox}"),
            Self::Https(address) => f.write_str(address),
        }
    }
}

/// Owner name of the TXT records that ask for reports about a domain.
pub fn txt_owner(domain: &Domain) -> String {
    format!("_smtp._tls.{domain}")
}

/// Where the TXT records of a domain want reports; none when they want none. RFC 8460, 3: "If the number of resulting records is not one, or
/// if the resulting record is syntactically invalid, senders MUST assume the recipient domain does not implement TLSRPT." Places of other
/// schemes are passed over.
pub fn destinations(records: &[String]) -> Vec<Destination> {
    let mut ours = records.iter().filter(|record| record.split(';').next().is_some_and(|tag| tag.trim_end() == "v=TLSRPTv1"));
    let (Some(record), None) = (ours.next(), ours.next()) else { return Vec::new() };
    let wanted = record.split(';').skip(1).find_map(|field| field.trim().strip_prefix("rua=").map(str::trim)).unwrap_or_default();
    wanted.split(',').filter_map(|place| destination(place.trim())).take(DESTINATIONS_MAX).collect()
}

/// Reads one place. `None` for other schemes, and for what is none.
pub fn destination(place: &str) -> Option<Destination> {
    let (scheme, rest) = place.split_once(':')?;
    match scheme.to_ascii_lowercase().as_str() {
        // RFC 6068: what follows `?` is about the header of the message, which is not the receiver's to choose.
        "mailto" => {
            let address = decoded(rest.split('?').next().unwrap_or_default())?;
            Mailbox::parse(address.as_bytes(), true).ok().map(Destination::Mail)
        }
        "https" if rest.starts_with("//") && rest.len() > 2 && rest.bytes().all(|octet| octet.is_ascii_graphic()) => {
            Some(Destination::Https(place.to_owned()))
        }
        _ => None,
    }
}

/// Text with `%XX` taken for what it stands for. `None` when that is no text.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

/// Kinds of policy (RFC 8460, 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyType {
    /// TLSA records applied.
    Tlsa,
    /// An MTA-STS policy applied.
    Sts,
    /// Neither did.
    NoPolicyFound,
}

/// A policy under which sessions took place (RFC 8460, 4.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// Its kind.
    pub policy_type: PolicyType,
    /// TLSA records, or the lines of an MTA-STS policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_string: Vec<String>,
    /// The mail domain.
    pub policy_domain: Domain,
    /// The `mx` lines of an MTA-STS policy; the host that TLSA records are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mx_host: Vec<String>,
}

impl Policy {
    /// What held for an exchanger of the domain. DANE comes before MTA-STS, as it does when mail is sent.
    pub fn of(domain: &Domain, exchanger: &Exchanger, sts: Option<&sts::Policy>) -> Self {
        let named = vec![exchanger.name.to_string()];
        let (policy_type, policy_string, mx_host) = match (&exchanger.evidence.tlsa, sts) {
            (Tlsa::Usable(records), _) => (PolicyType::Tlsa, records.iter().map(ToString::to_string).collect(), named),
            (Tlsa::Absent, _) if matches!(exchanger.evidence.barred, Some(Cause::DnsBogus(_))) => (PolicyType::Tlsa, Vec::new(), named),
            (Tlsa::Unusable, _) => (PolicyType::Tlsa, Vec::new(), named),
            (Tlsa::Absent, Some(policy)) if policy.mode != sts::Mode::None => (PolicyType::Sts, policy.lines(), policy.hosts()),
            (Tlsa::Absent, _) => (PolicyType::NoPolicyFound, Vec::new(), Vec::new()),
        };
        Self { policy_type, policy_string, policy_domain: domain.clone(), mx_host }
    }

    /// An MTA-STS policy that could not be had.
    pub fn unknown_sts(domain: &Domain) -> Self {
        Self { policy_type: PolicyType::Sts, policy_string: Vec::new(), policy_domain: domain.clone(), mx_host: Vec::new() }
    }
}

/// Kinds of failure (RFC 8460, 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultType {
    /// "The recipient MX did not support STARTTLS."
    StarttlsNotSupported,
    /// The certificate is for other names.
    CertificateHostMismatch,
    /// It has expired.
    CertificateExpired,
    /// It comes from nobody who is trusted.
    CertificateNotTrusted,
    /// "A general failure for a reason not matching a category above."
    ValidationFailure,
    /// No TLSA record matches.
    TlsaInvalid,
    /// DNSSEC fails.
    DnssecInvalid,
    /// An MTA-STS policy is announced and could not be had.
    StsPolicyFetchError,
    /// It was had, and is none.
    StsPolicyInvalid,
    /// "The MTA-STS Policy could not be authenticated using PKIX validation."
    StsWebpkiInvalid,
}

/// What went wrong in a session, and where. Sessions that are alike in all of it are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Detail {
    /// Its kind.
    pub result_type: ResultType,
    /// Our end of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<IpAddr>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<String>,
    /// Its end of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<IpAddr>,
    /// What TLS said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason_code: Option<String>,
}

impl Detail {
    /// A failure without a connection.
    pub fn new(result_type: ResultType, reason: &str) -> Self {
        let reason = Some(reason.chars().take(REASON_CHARS_MAX).collect::<String>()).filter(|reason| !reason.is_empty());
        Self { result_type, sending_mta_ip: None, receiving_mx_hostname: None, receiving_ip: None, failure_reason_code: reason }
    }
}

/// How an attempt at TLS with an exchanger counts: a success, a failure, or not at all. `channel` is what stood, if anything did; `cause`
/// why no message went over it. A certificate that nobody demanded is no failure: there was no policy that it could have broken.
pub fn counted(policy: &Policy, channel: Option<&Channel>, cause: Option<&Cause>) -> Option<Result<(), Detail>> {
    let failed = |kind, reason: &str| Some(Err(Detail::new(kind, reason)));
    match cause {
        Some(Cause::TlsNotOffered | Cause::TlsRefused(_)) => return failed(ResultType::StarttlsNotSupported, ""),
        Some(Cause::TlsFailed(detail)) => return failed(ResultType::ValidationFailure, detail),
        Some(Cause::BelowRequirement(Shortfall { doubt: Some(doubt), .. })) => return failed(of_doubt(doubt.kind), &doubt.text),
        Some(Cause::DnsBogus(detail)) => return failed(ResultType::DnssecInvalid, detail),
        // An MTA-STS policy in force does not name the host.
        Some(Cause::NoSecureExchanger(detail)) => return failed(ResultType::ValidationFailure, detail),
        _ => {}
    }
    let tls = channel?.tls.as_ref()?;
    // RFC 8461, 5: in mode `testing` mail goes all the same, and what would have stopped it is reported.
    let doubt = tls.doubt.as_ref().filter(|_| policy.policy_type != PolicyType::NoPolicyFound);
    Some(doubt.map_or(Ok(()), |doubt| Err(Detail::new(of_doubt(doubt.kind), &doubt.text))))
}

fn of_doubt(kind: DoubtKind) -> ResultType {
    match kind {
        DoubtKind::CertificateHostMismatch => ResultType::CertificateHostMismatch,
        DoubtKind::CertificateExpired => ResultType::CertificateExpired,
        DoubtKind::CertificateNotTrusted => ResultType::CertificateNotTrusted,
        DoubtKind::TlsaInvalid => ResultType::TlsaInvalid,
        DoubtKind::ValidationFailure => ResultType::ValidationFailure,
    }
}

/// Sessions of one day under one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Sessions whose TLS was as it should be.
    pub successful: u64,
    /// All others.
    pub failed: u64,
    /// The others, as far as they are told apart.
    details: Vec<(Detail, u64)>,
}

impl Tally {
    /// Counts one session.
    pub fn add(&mut self, result: Result<(), Detail>) {
        let detail = match result {
            Ok(()) => return self.successful = self.successful.saturating_add(1),
            Err(detail) => detail,
        };
        self.failed = self.failed.saturating_add(1);
        if let Some((_, count)) = self.details.iter_mut().find(|(known, _)| *known == detail) {
            *count = count.saturating_add(1);
        } else if self.details.len() < DETAILS_MAX {
            self.details.push((detail, 1));
        }
    }
}

/// Sessions of one day with one domain, by policy.
pub type Day = BTreeMap<Policy, Tally>;

/// Who reports, and about which time; times as RFC 3339 has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Name of the organisation.
    pub organization: String,
    /// Whom to ask.
    pub contact: String,
    /// Name of this report, the same whenever it is made.
    pub id: String,
    /// First moment.
    pub start: String,
    /// Last moment.
    pub end: String,
}

/// A report (RFC 8460, 4.4).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report<'a> {
    organization_name: &'a str,
    date_range: Range<'a>,
    contact_info: &'a str,
    report_id: &'a str,
    policies: Vec<Told<'a>>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Range<'a> {
    start_datetime: &'a str,
    end_datetime: &'a str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told<'a> {
    policy: &'a Policy,
    summary: Summary,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failure_details: Vec<Failed<'a>>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    total_successful_session_count: u64,
    total_failure_session_count: u64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Failed<'a> {
    #[serde(flatten)]
    detail: &'a Detail,
    failed_session_count: u64,
}

impl<'a> Report<'a> {
    /// The report on one day with one domain.
    pub fn new(heading: &'a Heading, day: &'a Day) -> Self {
        let told = |(policy, tally): (&'a Policy, &'a Tally)| Told {
            policy,
            summary: Summary { total_successful_session_count: tally.successful, total_failure_session_count: tally.failed },
            failure_details: tally.details.iter().map(|(detail, count)| Failed { detail, failed_session_count: *count }).collect(),
        };
        Self {
            organization_name: &heading.organization,
            date_range: Range { start_datetime: &heading.start, end_datetime: &heading.end },
            contact_info: &heading.contact,
            report_id: &heading.id,
            policies: day.iter().map(told).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Doubt, Level, Tls, TlsVersion};
    use crate::report::Reply;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).expect("valid")
    }

    fn none() -> Policy {
        Policy { policy_type: PolicyType::NoPolicyFound, policy_string: Vec::new(), policy_domain: domain("x.test"), mx_host: Vec::new() }
    }

    /// RFC 8460, 3 and 3.1: its two examples, and what is no record.
    #[test]
    fn a_record_says_where_reports_go() {
        let wanted = |records: &[&str]| -> Vec<String> {
            let records: Vec<String> = records.iter().map(|record| (*record).to_owned()).collect();
            destinations(&records).iter().map(ToString::to_string).collect()
        };
        assert_eq!(wanted(&["v=TLSRPTv1;rua=mailto:reports@example.com"]), ["mailto:reports@example.com"]);
        assert_eq!(wanted(&["v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt"]), ["https://reporting.example.com/v1/tlsrpt"]);
        assert_eq!(wanted(&["v=spf1 -all", "v=TLSRPTv1; rua=mailto:a%2Bb@x.test?subject=y , HTTPS://y.test/r;"]).len(), 2);
        assert_eq!(wanted(&["v=TLSRPTv1; rua=mailto:a%2Bb@x.test"]), ["mailto:a+b@x.test"]);
        for wrong in [
            "v=TLSRPTv2; rua=mailto:a@x.test",
            "v=TLSRPTv1; rua=http://x.test/",
            "v=TLSRPTv1; rua=mailto:nobody",
            "v=TLSRPTv1",
            "v=TLSRPTv1; rua=https://",
        ] {
            assert!(wanted(&[wrong]).is_empty(), "{wrong}");
        }
        assert!(wanted(&["v=TLSRPTv1; rua=mailto:a@x.test", "v=TLSRPTv1; rua=mailto:b@x.test"]).is_empty(), "two records are none");
    }

    #[test]
    fn sessions_count_by_what_became_of_tls() {
        let doubt = Doubt { kind: DoubtKind::CertificateExpired, text: "it ended yesterday".into() };
        let tls =
            |doubt| Tls { version: TlsVersion::V13, cipher: String::new(), group: String::new(), server_name: None, peer: None, doubt };
        let (good, doubtful) = (Channel::secured(Level::Host, tls(None)), Channel::secured(Level::Encrypted, tls(Some(doubt.clone()))));
        let sts = Policy { policy_type: PolicyType::Sts, ..none() };
        let kind = |policy: &Policy, channel: Option<&Channel>, cause: Option<Cause>| {
            counted(policy, channel, cause.as_ref()).map(|result| result.map_err(|detail| detail.result_type))
        };
        assert_eq!(kind(&sts, Some(&good), None), Some(Ok(())));
        assert_eq!(kind(&sts, Some(&doubtful), None), Some(Err(ResultType::CertificateExpired)), "testing reports what it lets through");
        assert_eq!(kind(&none(), Some(&doubtful), None), Some(Ok(())), "nobody demanded a certificate");
        assert_eq!(kind(&none(), Some(&Channel::plain()), None), None);
        assert_eq!(kind(&none(), None, Some(Cause::Unreachable("refused".into()))), None, "no session");
        let refused = Cause::TlsRefused(Reply::new(454, None, "not now"));
        for (cause, result) in [
            (Cause::TlsNotOffered, ResultType::StarttlsNotSupported),
            (refused, ResultType::StarttlsNotSupported),
            (Cause::TlsFailed("alert".into()), ResultType::ValidationFailure),
            (Cause::DnsBogus("bad signature".into()), ResultType::DnssecInvalid),
            (
                Cause::BelowRequirement(Shortfall { needed: Level::Domain, reached: Level::Encrypted, doubt: Some(doubt) }),
                ResultType::CertificateExpired,
            ),
        ] {
            assert_eq!(kind(&none(), None, Some(cause)), Some(Err(result)));
        }
    }

    #[test]
    fn failures_that_are_alike_are_one_entry_and_their_number_is_bounded() {
        let mut tally = Tally::default();
        (0..3).for_each(|_| tally.add(Err(Detail::new(ResultType::TlsaInvalid, "no match"))));
        (0..1000).for_each(|number| tally.add(Err(Detail::new(ResultType::ValidationFailure, &number.to_string()))));
        tally.add(Ok(()));
        assert_eq!((tally.successful, tally.failed, tally.details.len()), (1, 1003, DETAILS_MAX));
        assert_eq!(tally.details[0].1, 3);
        assert_eq!(
            Detail::new(ResultType::TlsaInvalid, &"é".repeat(999)).failure_reason_code.map(|reason| reason.chars().count()),
            Some(200)
        );
    }
}
