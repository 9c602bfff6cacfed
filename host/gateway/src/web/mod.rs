//! The little that the gateway serves over HTTP: answers to an ACME authority, and our MTA-STS policy.
//!
//! Mail never waits for it: an address that cannot be listened to is said in the log and tried again.

mod sts;

pub use sts::{StsPolicy, policy};

use crate::certs::Challenges;
use crate::generation::Current;
use crate::log::Log;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use secmx_core::report::Event;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// How long to wait before an address is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The protocol of `tls-alpn-01` (RFC 8737, 6.2).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// Handshakes that may be under way at the same time.
const HANDSHAKES_MAX: usize = 64;

/// What the web listeners know.
#[derive(Clone)]
pub struct Web {
    /// The configuration in force.
    pub current: Current,
    /// Answers to an ACME authority.
    pub challenges: Arc<Challenges>,
    /// The log.
    pub log: Log,
}

impl Web {
    /// Serves at every configured address until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let config = self.current.load().config.web.clone();
        let plain = config.http.into_iter().map(|address| (address, false));
        let doors = plain.chain(config.https.into_iter().map(|address| (address, true)));
        let tasks = doors.map(|(address, tls)| self.clone().serve(address, tls, stop.clone()));
        let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
        for task in tasks {
            // A task that panicked was one listener; the others go on.
            let _ = task.await;
        }
    }

    async fn serve(self, address: SocketAddr, tls: bool, stop: CancellationToken) {
        let Some(listener) = self.bind(address, &stop).await else { return };
        let router = Router::new()
            .route("/.well-known/acme-challenge/{token}", get(challenge))
            .route("/.well-known/mta-sts.txt", get(mta_sts))
            .with_state(self.clone());
        let ended = stop.clone().cancelled_owned();
        let served = if tls {
            axum::serve(self.secured(listener, stop), router).with_graceful_shutdown(ended).await
        } else {
            axum::serve(listener, router).with_graceful_shutdown(ended).await
        };
        if let Err(error) = served {
            self.log.write(&Event::Warning { text: format!("web: {address}: {error}") });
        }
    }

    /// `None` when it was told to stop.
    async fn bind(&self, address: SocketAddr, stop: &CancellationToken) -> Option<TcpListener> {
        let mut said = false;
        loop {
            match listen(address) {
                Ok(listener) => return Some(listener),
                // A machine without IPv6 needs no listener there.
                Err(error) if address.is_ipv6() && error.raw_os_error() == Some(97) => return None,
                Err(error) if !said => {
                    let text = format!("web: cannot listen on {address}: {error}; mail goes on, this is tried again every minute");
                    self.log.write(&Event::Warning { text });
                    said = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    /// Connections whose handshake is over. Each handshake has its own task, so that none holds up the others.
    fn secured(&self, listener: TcpListener, stop: CancellationToken) -> Secured {
        let address = listener.local_addr();
        let (sender, ready) = mpsc::channel(HANDSHAKES_MAX);
        let acceptor = self.acceptor();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                match (accepted, &acceptor) {
                    (Ok((stream, client)), Some(acceptor)) => {
                        let Ok(place) = sender.clone().reserve_owned().await else { return };
                        let handshake = acceptor.accept(stream);
                        tokio::spawn(async move {
                            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await
                                && stream.get_ref().1.alpn_protocol() != Some(ACME_TLS)
                            {
                                place.send((stream, client));
                            }
                        });
                    }
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Secured { ready, address }
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        let builder = ServerConfig::builder_with_provider(crate::tls::provider()).with_safe_default_protocol_versions().ok()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(Shown(self.clone())));
        config.alpn_protocols = vec![b"http/1.1".to_vec(), ACME_TLS.to_vec()];
        Some(TlsAcceptor::from(Arc::new(config)))
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

/// RFC 8555, 8.3: the file of a token.
async fn challenge(State(web): State<Web>, Path(token): Path<String>) -> impl IntoResponse {
    web.challenges
        .file(&token)
        .map(|content| ([(CONTENT_TYPE, "application/octet-stream")], content))
        .ok_or((StatusCode::NOT_FOUND, "no such challenge\n"))
}

/// RFC 8461, 3.3: the policy, at the host `mta-sts.` and one of our domains.
async fn mta_sts(State(web): State<Web>, headers: HeaderMap) -> impl IntoResponse {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let generation = web.current.load();
    policy(&generation.config)
        .filter(|policy| policy.is_for(&generation.config, host))
        .map(|policy| ([(CONTENT_TYPE, "text/plain; charset=utf-8")], policy.text))
        .ok_or((StatusCode::NOT_FOUND, "no MTA-STS policy here\n"))
}

/// The certificate for a web client: an answer to an ACME authority, or what SMTP shows.
struct Shown(Web);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let is_acme = hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME_TLS));
        let identity = if is_acme { self.0.challenges.certificate(name?) } else { self.0.current.load().server_tls.identity(name) };
        identity.map(|identity| identity.certified_key())
    }
}

/// Streams whose handshake is over.
struct Secured {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: io::Result<SocketAddr>,
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The gateway ends, and with it whoever waits here.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.address.as_ref().map(|address| *address).map_err(|error| io::Error::from(error.kind()))
    }
}
