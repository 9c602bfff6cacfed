//! The one resolver: SRV, MX and addresses, through hickory's cache (RFC 1035, RFC 2782, RFC 2308).
//!
//! It keeps four answers apart: found, none, unknown, bogus. It never turns a time-out or a SERVFAIL into "none" (invariant 5), and
//! decides nothing: order, weights and what to make of an answer is `secmx-core`'s.

use crate::config;
use anyhow::{Context, Result};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use secmx_core::mail::Domain;
use secmx_core::secmx::discovery::{Answer, MxRecord, SrvRecord};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

/// Answers questions about other people's domains. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// A resolver that asks the configured servers, or those of the system when none are configured.
    pub fn new(config: &config::Dns) -> Result<Self> {
        let mut builder = if config.resolvers.is_empty() {
            TokioResolver::builder_tokio().context("the system names no DNS resolver; set `dns.resolvers`")?
        } else {
            let servers = config.resolvers.iter().map(|address| name_server(*address)).collect();
            let servers = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = config.timeout;
        options.attempts = 2;
        options.edns0 = true;
        // A record in the cache must never outlive what its owner asked for by much (L2-10), and never be asked for at every message.
        options.positive_max_ttl = Some(config.ttl_max);
        options.negative_max_ttl = Some(config.negative_ttl_max);
        options.cache_size = config.cache_entries;
        options.preserve_intermediates = true;
        options.try_tcp_on_error = true;
        options.use_hosts_file = ResolveHosts::Never;
        Ok(Self { resolver: builder.build().context("the DNS resolver cannot be built")? })
    }

    /// SRV records of `owner`, which is a whole name such as `_secmx._tcp.health.example` (D-1).
    pub async fn srv(&self, owner: &str) -> Answer<SrvRecord> {
        self.records(owner, RecordType::SRV, |record| match &record.data {
            RData::SRV(srv) => {
                Some(SrvRecord { priority: srv.priority, weight: srv.weight, port: srv.port, target: host_name(&srv.target)? })
            }
            _ => None,
        })
        .await
    }

    /// MX records of a domain.
    pub async fn mx(&self, domain: &Domain) -> Answer<MxRecord> {
        self.records(domain.as_str(), RecordType::MX, |record| match &record.data {
            RData::MX(mx) => Some(MxRecord { preference: mx.preference, exchange: host_name(&mx.exchange)? }),
            _ => None,
        })
        .await
    }

    /// Addresses of a host, IPv6 and IPv4 in turn (D-7), and what the name is an alias of, if it is one (D-6). One family that cannot be
    /// told does not hide the other.
    pub async fn host(&self, host: &Domain) -> (Answer<IpAddr>, Option<String>) {
        let alias = Mutex::new(None);
        let read = |record: &Record| {
            if let RData::CNAME(target) = &record.data {
                *alias.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.to_ascii().trim_end_matches('.').to_owned());
            }
            record.data.ip_addr()
        };
        let (six, four) =
            tokio::join!(self.records(host.as_str(), RecordType::AAAA, read), self.records(host.as_str(), RecordType::A, read));
        (both(six, four), alias.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Addresses of a host, as [`Dns::host`] finds them.
    pub async fn addresses(&self, host: &Domain) -> Answer<IpAddr> {
        self.host(host).await.0
    }

    /// Records of any kind in presentation form, of TXT the strings joined: what policies are answered. `Bogus` and `Unknown` stay apart.
    pub async fn presented(&self, owner: &str, kind: &str) -> Answer<String> {
        let Ok(kind) = kind.parse::<RecordType>() else { return Answer::Unknown(format!("no kind of record is called {kind:?}")) };
        let owner = owner.trim_end_matches('.');
        self.records(owner, kind, |record| match &record.data {
            data if data.record_type() != kind => None,
            RData::TXT(text) => Some(text.txt_data.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect()),
            data => Some(data.to_string()),
        })
        .await
    }

    /// One look-up. `read` gives the datum of a record of the kind that was asked for and skips any other, such as a CNAME on the way.
    async fn records<T>(&self, owner: &str, kind: RecordType, read: impl Fn(&Record) -> Option<T>) -> Answer<T> {
        let Ok(name) = Name::from_ascii(format!("{owner}.")) else {
            return Answer::None;
        };
        match self.resolver.lookup(name, kind).await {
            Ok(lookup) => {
                let found: Vec<T> = lookup.answers().iter().filter_map(read).collect();
                if found.is_empty() { Answer::None } else { Answer::Found(found) }
            }
            Err(error) => unanswered(&error),
        }
    }
}

/// The answers for both families as one.
fn both(six: Answer<IpAddr>, four: Answer<IpAddr>) -> Answer<IpAddr> {
    match (six, four) {
        (Answer::Found(six), Answer::Found(four)) => Answer::Found(interleave(six, four)),
        (Answer::Bogus(why), _) | (_, Answer::Bogus(why)) => Answer::Bogus(why),
        (Answer::Found(found), _) | (_, Answer::Found(found)) => Answer::Found(found),
        (Answer::Unknown(why), _) | (_, Answer::Unknown(why)) => Answer::Unknown(why),
        _ => Answer::None,
    }
}

/// What an error of the resolver means. Only an answer that says so is "none".
fn unanswered<T>(error: &NetError) -> Answer<T> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) => {
            Answer::None
        }
        NetError::Dns(DnsError::DnssecBogus) => Answer::Bogus(error.to_string()),
        _ => Answer::Unknown(error.to_string()),
    }
}

/// A server that is asked over UDP, and over TCP when the answer was truncated (D-9).
fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

/// The host that a record names: `Some(None)` is the root, "no host". A name that cannot be a host is skipped.
fn host_name(name: &Name) -> Option<Option<Domain>> {
    if name.is_root() {
        return Some(None);
    }
    Domain::parse(&name.to_ascii()).ok().map(Some)
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

#[cfg(test)]
mod tests {
    use super::interleave;

    #[test]
    fn d7_families_take_turns() {
        assert_eq!(interleave(vec![1, 2, 3], vec![10]), [1, 10, 2, 3]);
        assert_eq!(interleave(Vec::new(), vec![10, 20]), [10, 20]);
    }
}
