//! `[dns]`: whom the gateway asks, whom it believes, and how long it remembers.

use super::finding::Code;
use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use super::value::NameServer;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[dns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// `resolvers`: addresses of DNS servers, `"127.0.0.1"`, `"[::1]"` or `"127.0.0.1:5353"`; port 53 unless it is given. Default none:
    /// the servers of the system.
    pub resolvers: Vec<SocketAddr>,
    /// `dnssec`: `"validate"` checks signatures in this process, whoever the resolvers are (they must pass DNSSEC records on);
    /// `"trust-ad"` believes resolvers on this machine that say an answer is secure; `"off"` takes every answer for insecure, so that
    /// there is no DANE. Default `"validate"`.
    pub dnssec: Dnssec,
    /// `anchors`: file of DNSKEY records, in zone file form, that validation begins at. Default none: the keys of the DNS root.
    pub anchors: Option<PathBuf>,
    /// `timeout`: how long one server may take. Default `"5s"`.
    pub timeout: Duration,
    /// `cache.ttl`: an answer is asked for again after this long, however long its owner allows. Default `"1d"`.
    pub ttl_max: Duration,
    /// `cache.negative_ttl`: the same for "there is none". Default `"5m"`.
    pub negative_ttl_max: Duration,
    /// `cache.max_entries`: answers that are remembered. Default 10000.
    pub cache_entries: u64,
}

/// `dns.dnssec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dnssec {
    /// Signatures are checked here.
    Validate,
    /// The AD bit of resolvers on this machine counts.
    TrustAd,
    /// Nothing is secure.
    Off,
}

impl Setting for Dnssec {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("validate", Self::Validate), ("trust-ad", Self::TrustAd), ("off", Self::Off)])
    }
}

impl Dns {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let servers: Vec<NameServer> = section.or("resolvers", Vec::new());
        let resolvers: Vec<SocketAddr> = servers.into_iter().map(|NameServer(address)| address).collect();
        let timeout = section.or("timeout", Duration::from_secs(5));
        let dnssec = section.or("dnssec", Dnssec::Validate);
        let anchors = section.path("anchors");
        if let Some(path) = &anchors {
            section.reader.must_open(section.span_of("anchors"), path);
        }
        if anchors.is_some() && dnssec != Dnssec::Validate {
            let message = "`anchors` has no effect unless `dnssec = \"validate\"`";
            section.reader.warn(section.span_of("anchors"), Code::NoEffect, message);
        }
        // RFC 7672, 2.1.1 and RFC 6698, A.3: the AD bit is only as good as the way on which it came.
        if let (Dnssec::TrustAd, Some(far)) = (dnssec, resolvers.iter().find(|address| !address.ip().is_loopback())) {
            let message = format!("`dnssec = \"trust-ad\"` needs resolvers on this machine, and {far} is not; use \"validate\"");
            section.reader.error(section.span_of("dnssec"), Code::Contradiction, message);
        }
        section.table("cache", |cache| Self {
            resolvers,
            dnssec,
            anchors,
            timeout,
            ttl_max: cache.or("ttl", Duration::from_secs(24 * 3600)),
            negative_ttl_max: cache.or("negative_ttl", Duration::from_secs(300)),
            cache_entries: u64::from(cache.or::<u32>("max_entries", 10_000)),
        })
    }
}
