//! The one resolver: SRV, MX, TLSA, TXT and addresses (RFC 1035, RFC 2782, RFC 2308, RFC 4035).
//!
//! It keeps five answers apart: found and none, each secure or insecure, unknown, and bogus (S-3). It never turns a time-out, a SERVFAIL or
//! records that it cannot use into "none" (invariant 5), and decides nothing: order, weights and what to make of an answer is
//! `secmx-core`'s. hickory speaks the protocol and validates; what is remembered is remembered here, with its standing.

mod lookup;
mod upstream;
mod wildcard;

#[cfg(test)]
mod tests;

use crate::config;
use anyhow::Result;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use lookup::{Looked, Outcome};
use moka::sync::Cache;
use secmx_core::mail::Domain;
use secmx_core::secmx::dane::TlsaRecord;
use secmx_core::secmx::discovery::{Answer, MxRecord, SrvRecord, Told};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use upstream::Upstream;

/// How long all questions of one look-up may take together, in time-outs of one server: validation asks for every zone on the way.
const PATIENCE: u32 = 6;

/// Answers questions about other people's domains. Cheap to clone; clones share the memory.
#[derive(Clone)]
pub struct Dns {
    upstream: Upstream,
    known: Cache<(Name, RecordType), Known>,
    ttl_max: Duration,
    negative_ttl_max: Duration,
    patience: Duration,
}

#[derive(Clone)]
struct Known {
    looked: Arc<Looked>,
    until: Instant,
}

/// What a host name leads to.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its addresses, IPv6 and IPv4 in turn (D-7).
    pub addresses: Told<IpAddr>,
    /// What the name is an alias of, if it is one (D-6).
    pub alias: Option<Domain>,
}

impl Dns {
    /// A resolver that asks the configured servers, or those of the system when none are configured.
    pub fn new(config: &config::Dns) -> Result<Self> {
        Ok(Self {
            upstream: Upstream::new(config)?,
            known: Cache::new(config.cache_entries),
            ttl_max: config.ttl_max,
            negative_ttl_max: config.negative_ttl_max,
            patience: config.timeout * PATIENCE,
        })
    }

    /// What is wrong with the resolvers for validation, in words: with some every answer is bogus. `None` when nothing is, or when nobody
    /// answers.
    pub async fn trouble(&self) -> Option<String> {
        match &self.look_up("", RecordType::SOA).await?.outcome {
            Outcome::Bogus(_) if self.upstream.validates() => Some(
                "the DNS resolvers do not pass DNSSEC records on, or `dns.anchors` does not fit: every answer fails validation and no mail \
                 leaves; use other resolvers, or set `dns.dnssec = \"off\"` and do without DANE"
                    .into(),
            ),
            _ => None,
        }
    }

    /// SRV records of `owner`, which is a whole name such as `_secmx._tcp.health.example` (D-1).
    pub async fn srv(&self, owner: &str) -> Told<SrvRecord> {
        let read = |data: &RData| match data {
            RData::SRV(srv) => {
                Some(SrvRecord { priority: srv.priority, weight: srv.weight, port: srv.port, target: host_name(&srv.target)? })
            }
            _ => None,
        };
        self.records(owner, RecordType::SRV, read).await
    }

    /// MX records of a domain.
    pub async fn mx(&self, domain: &Domain) -> Told<MxRecord> {
        let read = |data: &RData| match data {
            RData::MX(mx) => Some(MxRecord { preference: mx.preference, exchange: host_name(&mx.exchange)? }),
            _ => None,
        };
        self.records(domain.as_str(), RecordType::MX, read).await
    }

    /// TLSA records of `owner`, which is a whole name such as `_25._tcp.mx.health.example` (RFC 6698, 3).
    pub async fn tlsa(&self, owner: &str) -> Told<TlsaRecord> {
        let read = |data: &RData| match data {
            RData::TLSA(tlsa) => Some(TlsaRecord {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        };
        self.records(owner, RecordType::TLSA, read).await
    }

    /// TXT records of `owner`, the strings of each joined.
    pub async fn txt(&self, owner: &str) -> Told<String> {
        self.records(owner, RecordType::TXT, text).await
    }

    /// Addresses of a host, and what its name is an alias of. One family that cannot be told does not hide the other.
    pub async fn host(&self, host: &Domain) -> Host {
        if host.as_str() == "localhost" || host.as_str().ends_with(".localhost") {
            // RFC 6761, 6.3: "Name resolution APIs … SHOULD always return the IP loopback address for address queries".
            let loopback = vec![IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
            return Host { addresses: Answer::Found(loopback).into(), alias: None };
        }
        let (six, four) = tokio::join!(self.look_up(host.as_str(), RecordType::AAAA), self.look_up(host.as_str(), RecordType::A));
        let alias = [&six, &four].into_iter().flatten().find_map(|looked| looked.alias.as_ref()).and_then(|name| host_name(name)?);
        Host { addresses: both(told(six, RData::ip_addr), told(four, RData::ip_addr)), alias }
    }

    /// Addresses of a host, as [`Dns::host`] finds them.
    pub async fn addresses(&self, host: &Domain) -> Told<IpAddr> {
        self.host(host).await.addresses
    }

    /// Records of any kind in presentation form, of TXT the strings joined: what policies are answered. `Bogus` and `Unknown` stay apart.
    pub async fn presented(&self, owner: &str, kind: &str) -> Told<String> {
        let Ok(kind) = kind.parse::<RecordType>() else { return Answer::Unknown(format!("no kind of record is called {kind:?}")).into() };
        self.records(owner.trim_end_matches('.'), kind, |data| text(data).or_else(|| Some(data.to_string()))).await
    }

    /// One look-up. `read` gives the datum of a record of the kind that was asked for, `None` when it cannot be used.
    async fn records<T>(&self, owner: &str, kind: RecordType, read: impl Fn(&RData) -> Option<T>) -> Told<T> {
        told(self.look_up(owner, kind).await, read)
    }

    /// From memory, or from the servers. `None` for what is no name: nothing can be there.
    async fn look_up(&self, owner: &str, kind: RecordType) -> Option<Arc<Looked>> {
        let name = Name::from_ascii(format!("{owner}.")).ok()?;
        let key = (name.to_lowercase(), kind);
        if let Some(known) = self.known.get(&key).filter(|known| known.until > Instant::now()) {
            return Some(known.looked);
        }
        let looking = lookup::look_up(&self.upstream, name, kind);
        let looked = tokio::time::timeout(self.patience, looking).await.unwrap_or_else(|_| Looked {
            outcome: Outcome::Unknown(format!("no answer within {:?}", self.patience)),
            alias: None,
            ttl: Duration::ZERO,
        });
        // A record must never outlive what its owner asked for (L2-10), and never be asked for at every message.
        let most = if matches!(looked.outcome, Outcome::Found { .. }) { self.ttl_max } else { self.negative_ttl_max };
        let (ttl, looked) = (looked.ttl.min(most), Arc::new(looked));
        if !ttl.is_zero() {
            self.known.insert(key, Known { looked: Arc::clone(&looked), until: Instant::now() + ttl });
        }
        Some(looked)
    }
}

/// A resolver of hickory's own kind that asks the same servers, for libraries that want one.
pub(crate) fn resolver(config: &config::Dns) -> Result<TokioResolver> {
    upstream::resolver(config)
}

/// The core's form of a look-up. Records of which none can be used are no proof that there is nothing.
fn told<T>(looked: Option<Arc<Looked>>, read: impl Fn(&RData) -> Option<T>) -> Told<T> {
    let Some(looked) = looked else { return Answer::None.into() };
    match &looked.outcome {
        Outcome::Found { records, secure } => {
            let usable: Vec<T> = records.iter().filter_map(|record: &Record| read(&record.data)).collect();
            if usable.is_empty() {
                return Answer::Unknown("none of the records can be used: they name no host".into()).into();
            }
            Told { answer: Answer::Found(usable), secure: *secure }
        }
        Outcome::None { secure } => Told { answer: Answer::None, secure: *secure },
        Outcome::Bogus(why) => Answer::Bogus(why.clone()).into(),
        Outcome::Unknown(why) => Answer::Unknown(why.clone()).into(),
    }
}

/// The answers for both families as one. It is secure when all addresses in it are.
fn both(six: Told<IpAddr>, four: Told<IpAddr>) -> Told<IpAddr> {
    let holds = |told: &Told<IpAddr>| told.secure || !matches!(told.answer, Answer::Found(_));
    let secure = (six.secure || four.secure) && holds(&six) && holds(&four);
    let failed = matches!((&six.answer, &four.answer), (Answer::Bogus(_), _) | (_, Answer::Bogus(_)));
    let answer = match (six.answer, four.answer) {
        (Answer::Found(six), Answer::Found(four)) => Answer::Found(interleave(six, four)),
        (Answer::Bogus(why), _) | (_, Answer::Bogus(why)) => Answer::Bogus(why),
        (Answer::Found(found), _) | (_, Answer::Found(found)) => Answer::Found(found),
        (Answer::Unknown(why), _) | (_, Answer::Unknown(why)) => Answer::Unknown(why),
        _ => Answer::None,
    };
    Told { answer, secure: secure && !failed }
}

/// The strings of a TXT record as one.
fn text(data: &RData) -> Option<String> {
    let RData::TXT(text) = data else { return None };
    Some(text.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect())
}

/// The host that a record names: `Some(None)` is the root, "no host". `None` for a name that cannot be a host, an address among them.
fn host_name(name: &Name) -> Option<Option<Domain>> {
    if name.is_root() {
        return Some(None);
    }
    let host = Domain::parse(&name.to_ascii()).ok()?;
    host.as_str().parse::<IpAddr>().is_err().then_some(Some(host))
}

/// The first of one, the first of the other, and so on.
fn interleave<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut both = Vec::with_capacity(first.len() + second.len());
    loop {
        match (first.next(), second.next()) {
            (None, None) => return both,
            (one, other) => both.extend(one.into_iter().chain(other)),
        }
    }
}
