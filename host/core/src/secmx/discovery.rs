//! From DNS answers to exchangers in the order in which they are tried (D-1 … D-10; RFC 2782; RFC 5321, 5.1; RFC 7505).
//!
//! The answers come in as facts, with "found", "none", "denied", "unknown" and "bogus" apart; random draws are an argument.

use super::exchanger::{Evidence, Exchanger, ExchangerName, Hop, Source, Voucher};
use super::sts::{Mode, Policy};
use crate::channel::{Level, Requirement};
use crate::mail::Domain;
use crate::report::Cause;
use std::net::{IpAddr, SocketAddr};

/// What DNS said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// These records; at least one.
    Found(Vec<T>),
    /// There are none, and the answer says so.
    None,
    /// "No service here": a single SRV with target `.`, or a null MX.
    Denied,
    /// No answer, or SERVFAIL. Why, in words.
    Unknown(String),
    /// An answer that fails DNSSEC. Why, in words.
    Bogus(String),
}

impl<T> Answer<T> {
    /// What kind of answer it is.
    pub fn kind(&self) -> AnswerKind {
        match self {
            Self::Found(_) => AnswerKind::Found,
            Self::None => AnswerKind::None,
            Self::Denied => AnswerKind::Denied,
            Self::Unknown(_) => AnswerKind::Unknown,
            Self::Bogus(_) => AnswerKind::Bogus,
        }
    }
}

/// An answer, and whether DNSSEC vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T> {
    /// The answer.
    pub answer: Answer<T>,
    /// Every record of it, aliases on the way included, or its denial, is DNSSEC-secure (RFC 4033, 5).
    pub secure: bool,
}

impl<T> From<Answer<T>> for Told<T> {
    /// An answer that nobody vouches for.
    fn from(answer: Answer<T>) -> Self {
        Self { answer, secure: false }
    }
}

/// An answer without its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// There are records.
    Found,
    /// There are none.
    None,
    /// "No service here".
    Denied,
    /// It could not be told.
    Unknown,
    /// It fails DNSSEC.
    Bogus,
}

impl AnswerKind {
    /// The word for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::None => "none",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
            Self::Bogus => "bogus",
        }
    }
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvRecord {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among those of one priority.
    pub weight: u16,
    /// TCP port; 0 is invalid (D-4).
    pub port: u16,
    /// `None` is the root: "the service is decidedly not available at this domain".
    pub target: Option<Domain>,
}

/// One MX record (RFC 5321, 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MxRecord {
    /// Lower is tried first.
    pub preference: u16,
    /// `None` is the root, which makes a null MX (RFC 7505).
    pub exchange: Option<Domain>,
}

/// Everything that was asked about one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// `_secmx._tcp` SRV.
    pub srv: Told<SrvRecord>,
    /// `_smtp-tls._tcp` SRV; none when it is not asked for.
    pub smtp_tls: Told<SrvRecord>,
    /// MX.
    pub mx: Told<MxRecord>,
    /// Addresses of the domain itself; only looked at when MX says none.
    pub address: Told<IpAddr>,
}

/// What is ours, so that mail does not loop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Names of this gateway.
    pub names: Vec<Domain>,
}

/// Bounds on what strangers' DNS may make us do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Port of MX hosts and of address records. Default 25.
    pub mx_port: u16,
    /// Ports that an SRV record may name. Default 25, 465, 587.
    pub ports: Vec<u16>,
    /// Records of one answer that are used, after sorting. Default 20 (D-9).
    pub records_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { mx_port: 25, ports: vec![25, 465, 587], records_max: 20 }
    }
}

/// What the findings come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// What SRV said.
    pub secmx: AnswerKind,
    /// What MX said, or the address record in its place.
    pub mx: AnswerKind,
    /// Candidates: SRV hosts, then MX hosts, each in the order drawn for this attempt.
    pub exchangers: Vec<Exchanger>,
    /// Host names that SRV names, whether or not they are candidates: what is published as secure stays so (decision 2).
    pub published: Vec<Domain>,
    /// No limit of ours left a host out, so that the candidates are all there is (decision 7, invariant 5).
    pub complete: bool,
    /// The loop rule left nothing of what MX named (RFC 5321, 5.1).
    pub loops_to_us: bool,
    /// What was left out or odd, in words.
    pub notes: Vec<String>,
}

/// A source of random draws: a number from 0 to its argument, inclusive.
pub type Draw<'a> = dyn FnMut(u32) -> u32 + Send + 'a;

/// Owner name of the SecMX SRV records of a domain (D-1; draft, section 5.1.1: "the SecMX SRV records would have their Service field set as
/// 'secmx'. The protocol for SecMX will be TCP").
pub fn srv_owner(domain: &Domain) -> String {
    format!("_secmx._tcp.{domain}")
}

/// Owner name of the SRV records of mail submission between servers over TLS (D-10).
pub fn smtp_tls_owner(domain: &Domain) -> String {
    format!("_smtp-tls._tcp.{domain}")
}

/// Exchangers of a domain, each name and port once. Weights are drawn here, so every delivery attempt asks anew (D-3).
pub fn discover(domain: &Domain, findings: &Findings, own: &Own, limits: &Limits, draw: &mut Draw<'_>) -> Discovery {
    let mut sieve = Sieve { own, limits, notes: Vec::new(), complete: true };
    let (secmx, secmx_hosts) = srv_hosts(&findings.srv, Source::SecmxSrv, &mut sieve, draw);
    let (smtp_tls, tls_hosts) = srv_hosts(&findings.smtp_tls, Source::SmtpTlsSrv, &mut sieve, draw);
    if matches!(smtp_tls, AnswerKind::Unknown | AnswerKind::Bogus) {
        sieve.complete = false;
        sieve.notes.push(format!("`_smtp-tls._tcp` SRV: {}", smtp_tls.name()));
    }
    let (mx, mx_hosts, loops_to_us) = mx_hosts(domain, findings, &mut sieve, draw);
    let mut exchangers: Vec<Exchanger> = Vec::new();
    for host in secmx_hosts.into_iter().chain(tls_hosts).chain(mx_hosts) {
        if !exchangers.iter().any(|known| known.name == host.name && known.port == host.port) {
            exchangers.push(host);
        }
    }
    let targets = [&findings.srv, &findings.smtp_tls].into_iter().filter_map(|told| match &told.answer {
        Answer::Found(records) => Some(records.iter().filter_map(|record| record.target.clone())),
        _ => None,
    });
    let published = targets.flatten().collect();
    Discovery { secmx, mx, exchangers, published, complete: sieve.complete, loops_to_us, notes: sieve.notes }
}

/// The one exchanger of an address literal: no SRV is asked for (D-1).
pub fn literal(address: IpAddr, port: u16) -> Discovery {
    only(exchanger(ExchangerName::Address(address), port, Source::AddressRecord, 0, false))
}

/// The one exchanger that the configuration names as `host:port`, with a scheme before it or not; `None` when it is anything else.
pub fn configured(next_hop: &str) -> Option<Discovery> {
    let (hop, next_hop) = Hop::split(next_hop)?;
    let (name, port) = match next_hop.parse::<SocketAddr>() {
        Ok(address) => (ExchangerName::Address(address.ip()), address.port()),
        Err(_) => {
            let (host, port) = next_hop.rsplit_once(':')?;
            (ExchangerName::Domain(Domain::parse(host).ok()?), port.parse().ok()?)
        }
    };
    (port != 0).then(|| only(exchanger(name, port, Source::Configured(hop), 0, false)))
}

fn only(exchanger: Exchanger) -> Discovery {
    let (secmx, mx, exchangers) = (AnswerKind::None, AnswerKind::None, vec![exchanger]);
    Discovery { secmx, mx, exchangers, published: Vec::new(), complete: true, loops_to_us: false, notes: Vec::new() }
}

fn exchanger(name: ExchangerName, port: u16, source: Source, preference: u16, dnssec_secure: bool) -> Exchanger {
    Exchanger { name, port, source, preference, dnssec_secure, evidence: Evidence::default() }
}

impl Discovery {
    /// Puts an MTA-STS policy in force (RFC 8461, 5). In mode `enforce` a mail exchanger that no pattern of it matches is out, and every other
    /// host must prove itself. An SRV host counts "only if an `mx:` pattern matches it or it reaches E3 by itself" (profile, decision 12).
    /// DANE is not weakened: what it demands stands beside this.
    pub fn hold_to(&mut self, policy: &Policy) {
        if policy.mode != Mode::Enforce {
            return;
        }
        for exchanger in self.exchangers.iter_mut().filter(|exchanger| !exchanger.is_configured()) {
            let ExchangerName::Domain(name) = &exchanger.name else { continue };
            exchanger.evidence.floor = exchanger.evidence.floor.join(Requirement::at_least(Level::Domain));
            if policy.names(name) {
                exchanger.evidence.vouched.get_or_insert(Voucher::MtaSts);
            } else if !exchanger.is_srv() {
                let why = format!("{name} is not among the hosts of the domain's MTA-STS policy");
                exchanger.evidence.barred.get_or_insert(Cause::NoSecureExchanger(why));
            }
        }
    }

    /// The operator knows who the hosts of this domain are, by a pin or an authority of their own: none of them may prove less.
    pub fn hold_to_pins(&mut self) {
        for exchanger in &mut self.exchangers {
            exchanger.evidence.floor = exchanger.evidence.floor.join(Requirement::at_least(Level::Domain));
            exchanger.evidence.vouched = Some(Voucher::Operator);
        }
    }
}

/// What keeps records from being used, and the account of what it kept.
struct Sieve<'a> {
    own: &'a Own,
    limits: &'a Limits,
    notes: Vec<String>,
    complete: bool,
}

impl Sieve<'_> {
    /// The loop rule (D-8). RFC 5321, 5.1: "If a matching record is found, all records at that preference level and higher-numbered ones
    /// MUST be discarded from consideration." Says whether there was a matching record.
    fn before_us<T>(&mut self, records: &mut Vec<T>, name: impl Fn(&T) -> Option<&Domain>, preference: impl Fn(&T) -> u16) -> bool {
        let ours = |record: &&T| name(record).is_some_and(|name| self.own.names.contains(name));
        let Some(own) = records.iter().filter(ours).map(&preference).min() else { return false };
        let before = records.len();
        records.retain(|record| preference(record) < own);
        self.notes.push(format!("this gateway is among the hosts: {} that are not more preferred are left out", before - records.len()));
        true
    }

    /// Whether an SRV record can be used (D-4, D-5).
    fn admits(&mut self, record: &SrvRecord) -> bool {
        match &record.target {
            None => self.notes.push("an SRV record with target `.` stands among others and is skipped".into()),
            Some(target) if record.port == 0 => self.notes.push(format!("SRV {target} names port 0 and is skipped")),
            Some(target) if !self.limits.ports.contains(&record.port) => {
                self.complete = false;
                self.notes.push(format!("SRV {target} names port {}, which is not in `send.ports`, and is skipped", record.port));
            }
            Some(_) => return true,
        }
        false
    }

    /// "At most 20 records used" (D-9).
    fn bound<T>(&mut self, records: &mut Vec<T>, kind: &str) {
        let most = self.limits.records_max;
        if records.len() > most {
            self.complete = false;
            self.notes.push(format!("{} of {} {kind} records are left out", records.len() - most, records.len()));
            records.truncate(most);
        }
    }
}

/// SRV hosts, lowest priority first, "the whole level before the next" (D-2).
fn srv_hosts(told: &Told<SrvRecord>, source: Source, sieve: &mut Sieve<'_>, draw: &mut Draw<'_>) -> (AnswerKind, Vec<Exchanger>) {
    let Answer::Found(records) = &told.answer else { return (told.answer.kind(), Vec::new()) };
    // RFC 2782: "A Target of '.' means that the service is decidedly not available at this domain" — when it is the only record (D-5).
    if let [SrvRecord { target: None, .. }] = records.as_slice() {
        return (AnswerKind::Denied, Vec::new());
    }
    // Before anything else: our own record counts for the loop rule even where it could not be used.
    let mut records = records.clone();
    sieve.before_us(&mut records, |record| record.target.as_ref(), |record| record.priority);
    records.retain(|record| sieve.admits(record));
    let mut ordered = in_srv_order(records, draw);
    sieve.bound(&mut ordered, "SRV");
    let hosts: Vec<_> = ordered
        .into_iter()
        .filter_map(|record| Some(exchanger(ExchangerName::Domain(record.target?), record.port, source, record.priority, told.secure)))
        .collect();
    // A host that a limit of ours left out is published all the same.
    (if hosts.is_empty() && sieve.complete { AnswerKind::None } else { AnswerKind::Found }, hosts)
}

/// RFC 2782: priorities in order, and within one the weighted draw: "arrange all SRV RRs (that have not been ordered yet) in any order,
/// except that all those with weight 0 are placed at the beginning of the list … choose a uniform random number between 0 and the sum
/// computed (inclusive), and select the RR whose running sum value is the first in the selected order which is greater than or equal to
/// the random number selected" (D-2, D-3).
fn in_srv_order(mut records: Vec<SrvRecord>, draw: &mut Draw<'_>) -> Vec<SrvRecord> {
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|record| record.priority) {
        let level: Vec<u32> = records.iter().take_while(|r| r.priority == priority).map(|r| u32::from(r.weight)).collect();
        let drawn = draw(level.iter().sum());
        let mut sum = 0;
        let chosen = level.iter().position(|weight| {
            sum += weight;
            sum >= drawn
        });
        ordered.push(records.remove(chosen.unwrap_or(0)));
    }
    ordered
}

/// MX hosts in order, the domain itself where there is no MX, and whether the loop rule left nothing.
fn mx_hosts(domain: &Domain, findings: &Findings, sieve: &mut Sieve<'_>, draw: &mut Draw<'_>) -> (AnswerKind, Vec<Exchanger>, bool) {
    let mut secure = findings.mx.secure;
    let (mut ordered, source) = match &findings.mx.answer {
        // RFC 7505, 3: "a single MX RR … with an RDATA section consisting of preference number 0 and a zero-length label".
        Answer::Found(records) if matches!(records.as_slice(), [MxRecord { exchange: None, .. }]) => {
            return (AnswerKind::Denied, Vec::new(), false);
        }
        Answer::Found(records) => {
            if records.iter().any(|record| record.exchange.is_none()) {
                sieve.notes.push("an MX record with exchange `.` stands among others and is skipped".into());
            }
            (in_mx_order(records, draw), Source::Mx)
        }
        // RFC 5321, 5.1: "If an empty list of MXs is returned, the address is treated as if it was associated with an implicit MX RR,
        // with a preference of 0, pointing to that host."
        Answer::None if matches!(findings.address.answer, Answer::Found(_)) => {
            secure &= findings.address.secure;
            (vec![(0, domain.clone())], Source::AddressRecord)
        }
        Answer::None => return (findings.address.answer.kind(), Vec::new(), false),
        other => return (other.kind(), Vec::new(), false),
    };
    let listed = sieve.before_us(&mut ordered, |(_, exchange)| Some(exchange), |(preference, _)| *preference);
    sieve.bound(&mut ordered, "MX");
    let port = sieve.limits.mx_port;
    let named = |(preference, exchange)| exchanger(ExchangerName::Domain(exchange), port, source, preference, secure);
    let hosts: Vec<_> = ordered.into_iter().map(named).collect();
    // "Nothing left = none" (D-8).
    let kind = if hosts.is_empty() { AnswerKind::None } else { AnswerKind::Found };
    let loops_to_us = listed && hosts.is_empty();
    (kind, hosts, loops_to_us)
}

/// RFC 5321, 5.1: of hosts with the same preference, "the sender-SMTP MUST randomize them to spread the load".
fn in_mx_order(records: &[MxRecord], draw: &mut Draw<'_>) -> Vec<(u16, Domain)> {
    let named = records.iter().filter_map(|record| Some((record.preference, record.exchange.clone()?)));
    let mut drawn: Vec<_> = named.map(|(preference, exchange)| (preference, draw(u32::MAX), exchange)).collect();
    drawn.sort_by_key(|(preference, number, _)| (*preference, *number));
    drawn.into_iter().map(|(preference, _, exchange)| (preference, exchange)).collect()
}
