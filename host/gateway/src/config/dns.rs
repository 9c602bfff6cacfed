//! `[dns]`: whom the gateway asks, and how long it remembers.

use super::reader::Section;
use super::value::NameServer;
use std::net::SocketAddr;
use std::time::Duration;

/// `[dns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// `resolvers`: addresses of DNS servers, `"127.0.0.1"`, `"[::1]"` or `"127.0.0.1:5353"`; port 53 unless it is given. Default none:
    /// the servers of the system.
    pub resolvers: Vec<SocketAddr>,
    /// `timeout`: how long one server may take. Default `"5s"`.
    pub timeout: Duration,
    /// `cache.ttl`: an answer is asked for again after this long, however long its owner allows. Default `"1d"`.
    pub ttl_max: Duration,
    /// `cache.negative_ttl`: the same for "there is none". Default `"5m"`.
    pub negative_ttl_max: Duration,
    /// `cache.max_entries`: answers that are remembered. Default 10000.
    pub cache_entries: u64,
}

impl Dns {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let servers: Vec<NameServer> = section.or("resolvers", Vec::new());
        let timeout = section.or("timeout", Duration::from_secs(5));
        section.table("cache", |cache| Self {
            resolvers: servers.into_iter().map(|NameServer(address)| address).collect(),
            timeout,
            ttl_max: cache.or("ttl", Duration::from_secs(24 * 3600)),
            negative_ttl_max: cache.or("negative_ttl", Duration::from_secs(300)),
            cache_entries: u64::from(cache.or::<u32>("max_entries", 10_000)),
        })
    }
}
