//! The way to the configured servers: hickory's pool, with DNSSEC validation on top when that is asked for (RFC 4035).

use super::wildcard;
use crate::config;
use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts};
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
struct Servers {
    pool: RetryDnsHandle<Pool>,
    /// The same servers over TCP, with no connection yet.
    alone: Arc<dyn Fn() -> Pool + Send + Sync>,
}

type Pool = NameServerPool<TokioRuntimeProvider>;

impl Servers {
    fn new(servers: Vec<NameServerConfig>, context: PoolContext) -> Self {
        let context = Arc::new(context);
        let pool = Pool::from_config(servers.clone(), Arc::clone(&context), TokioRuntimeProvider::default());
        let over_tcp: Vec<NameServerConfig> = servers.into_iter().map(over_tcp).collect();
        let alone = move || Pool::from_config(over_tcp.clone(), Arc::clone(&context), TokioRuntimeProvider::default());
        Self { pool: RetryDnsHandle::new(pool, 1), alone: Arc::new(alone) }
    }
}

impl DnsHandle for Servers {
    type Response = BoxStream<'static, Result<DnsResponse, NetError>>;
    type Runtime = TokioRuntimeProvider;

    /// RFC 7766, 6.2.4 lets a server close a connection whenever it likes: a question that was under way on it is asked once more, over a
    /// connection that it shares with no other.
    fn send(&self, request: DnsRequest) -> Self::Response {
        let (first, alone) = (self.pool.send(request.clone()), Arc::clone(&self.alone));
        let asking = async move {
            let outcome = match first.first_answer().await {
                Err(error) if was_lost(&error) => alone().send(request).first_answer().await,
                outcome => outcome,
            };
            match &outcome {
                Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_))) => {}
                // Outside of a look-up there is nobody to tell.
                Err(_) => _ = UNHEARD.try_with(|unheard| unheard.store(true, Ordering::Relaxed)),
            }
            outcome
        };
        stream::once(asking).boxed()
    }
}

/// Whether an error may stand for a connection that ended under the question. The pool tells of it as what it knew before: that the answer
/// over UDP was truncated, say.
fn was_lost(error: &NetError) -> bool {
    matches!(error, NetError::Io(_) | NetError::Truncated | NetError::Busy | NetError::Message(_) | NetError::NoConnections)
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
        let servers = Servers::new(servers, PoolContext::new(options(config), tls));
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
        let outcome = match UNHEARD.scope(Arc::clone(&unheard), asking).await {
            Err(NetError::Dns(DnsError::Nsec { query, response, .. })) if wildcard::is_proved(&query, &response) => Ok(*response),
            outcome => outcome,
        };
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

/// The server without UDP.
fn over_tcp(mut server: NameServerConfig) -> NameServerConfig {
    server.connections.retain(|connection| matches!(connection.protocol, ProtocolConfig::Tcp));
    server
}

/// A server that is asked over UDP, and over TCP when the answer was truncated.
fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}
