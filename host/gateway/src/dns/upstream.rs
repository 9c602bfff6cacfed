//! The way to the configured servers: hickory's pool, with DNSSEC validation on top when that is asked for (RFC 4035).

use crate::config;
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer, RetryDnsHandle};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig, TokioResolver, system_conf};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

tokio::task_local! {
    /// Whether a question that this look-up led to got no answer. Validation reports such a record as bogus, which it may not be.
    static UNHEARD: Arc<AtomicBool>;
}

/// The servers that are asked, each question over UDP and over TCP when the answer was truncated (D-9).
#[derive(Clone)]
struct Servers(RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>);

impl DnsHandle for Servers {
    type Response = BoxStream<'static, Result<DnsResponse, NetError>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let note = |outcome: &Result<DnsResponse, NetError>| match outcome {
            Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_))) => {}
            // Outside of a look-up there is nobody to tell.
            Err(_) => _ = UNHEARD.try_with(|unheard| unheard.store(true, Ordering::Relaxed)),
        };
        self.0.send(request).inspect(note).boxed()
    }
}

/// Asks, and says what may be believed.
#[derive(Clone)]
pub(super) struct Upstream {
    servers: Servers,
    way: Way,
}

#[derive(Clone)]
enum Way {
    /// Answers are taken as they come.
    Plain,
    /// The AD bit of a server on this machine is taken for its word (RFC 6840, 5.8).
    Marked,
    /// Signatures are checked here.
    Validated(Box<DnssecDnsHandle<Servers>>),
}

/// What came back from one question.
pub(super) struct Heard {
    pub(super) outcome: Result<DnsResponse, NetError>,
    /// A question on the way got no answer.
    pub(super) unheard: bool,
}

impl Upstream {
    pub(super) fn new(config: &config::Dns) -> Result<Self> {
        let servers = name_servers(config)?;
        let far = servers.iter().find(|server| !server.ip.is_loopback());
        if let (config::Dnssec::TrustAd, Some(server)) = (config.dnssec, far) {
            bail!("`dns.dnssec = \"trust-ad\"` needs resolvers on this machine, and {} is not; use \"validate\"", server.ip);
        }
        let tls = TlsConfig::new().context("the DNS resolver cannot be built")?;
        let context = Arc::new(PoolContext::new(options(config), tls));
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        let servers = Servers(RetryDnsHandle::new(pool, 1));
        let way = match config.dnssec {
            config::Dnssec::Off => Way::Plain,
            config::Dnssec::TrustAd => Way::Marked,
            config::Dnssec::Validate => {
                let handle = DnssecDnsHandle::with_trust_anchor(servers.clone(), Arc::new(anchors(config)?));
                Way::Validated(Box::new(handle))
            }
        };
        Ok(Self { servers, way })
    }

    pub(super) async fn ask(&self, query: Query) -> Heard {
        let unheard = Arc::new(AtomicBool::new(false));
        let asking = async {
            match &self.way {
                Way::Validated(handle) => handle.lookup(query, request_options(true)).first_answer().await,
                way => {
                    let mut request = DnsRequest::from_query(query, request_options(false));
                    // RFC 6840, 5.7: AD in a query asks for AD in its answer.
                    request.metadata.authentic_data = matches!(way, Way::Marked);
                    self.servers.send(request).first_answer().await
                }
            }
        };
        let outcome = UNHEARD.scope(Arc::clone(&unheard), asking).await;
        Heard { outcome, unheard: unheard.load(Ordering::Relaxed) }
    }

    /// Whether answers are validated here.
    pub(super) fn validates(&self) -> bool {
        matches!(self.way, Way::Validated(_))
    }

    /// Whether the AD bit is believed.
    pub(super) fn trusts_ad(&self) -> bool {
        matches!(self.way, Way::Marked)
    }
}

/// A resolver of hickory's own kind, for libraries that want one: the same servers, the same validation, and a memory of its own.
pub(super) fn resolver(config: &config::Dns) -> Result<TokioResolver> {
    let servers = ResolverConfig::from_parts(None, Vec::new(), name_servers(config)?);
    let mut options = options(config);
    options.cache_size = config.cache_entries;
    options.positive_max_ttl = Some(config.ttl_max);
    options.negative_max_ttl = Some(config.negative_ttl_max);
    let builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
        .with_options(options)
        .with_trust_anchor(Arc::new(anchors(config)?));
    builder.build().context("the DNS resolver cannot be built")
}

/// The servers of the configuration, else those of the system.
fn name_servers(config: &config::Dns) -> Result<Vec<NameServerConfig>> {
    if !config.resolvers.is_empty() {
        return Ok(config.resolvers.iter().map(|address| name_server(*address)).collect());
    }
    let (system, _) = system_conf::read_system_conf().context("the system names no DNS resolver; set `dns.resolvers`")?;
    Ok(system.name_servers)
}

fn options(config: &config::Dns) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = config.timeout;
    options.attempts = 2;
    options.edns0 = true;
    options.validate = config.dnssec == config::Dnssec::Validate;
    options.try_tcp_on_error = true;
    options.use_hosts_file = ResolveHosts::Never;
    options
}

fn request_options(dnssec_ok: bool) -> DnsRequestOptions {
    let mut options = DnsRequestOptions::default();
    options.recursion_desired = true;
    options.use_edns = true;
    options.edns_set_dnssec_ok = dnssec_ok;
    options
}

/// The root's keys, or those that the configuration names in their place.
fn anchors(config: &config::Dns) -> Result<TrustAnchors> {
    let Some(path) = &config.anchors else { return Ok(TrustAnchors::default()) };
    let wrong = || format!("{} holds no DNSSEC trust anchors; it needs lines such as `. IN DNSKEY 257 3 8 AwEAA…`", path.display());
    let anchors = TrustAnchors::from_file(path).with_context(wrong)?;
    if anchors.is_empty() {
        bail!("{}", wrong());
    }
    Ok(anchors)
}

/// A server that is asked over UDP, and over TCP when the answer was truncated.
fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}
