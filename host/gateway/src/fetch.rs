//! One HTTP exchange with a host that somebody else names: policies of domains over HTTPS, lists of revoked certificates over HTTP, reports
//! to domains.
//!
//! No redirect is followed, nothing is unpacked, what comes is bounded in octets and time, and a stranger's name leads to no address of
//! ours.

use crate::dns::Dns;
use crate::tls::ClientTls;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use secmx_core::mail::Domain;
use secmx_core::secmx::discovery::Answer;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 3;

/// What is asked for, and how much of it is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand<'a> {
    pub(crate) host: &'a Domain,
    pub(crate) port: u16,
    pub(crate) path: &'a str,
    /// Octets of the body at most.
    pub(crate) octets_max: usize,
    pub(crate) timeout: Duration,
    /// Whether the host may lie on loopback or a private address.
    pub(crate) allow_private: bool,
}

/// Why nothing came, in words.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The host did not prove its name.
    Unproved(String),
    /// Anything else.
    Otherwise(String),
}

impl From<String> for Failed {
    fn from(text: String) -> Self {
        Self::Otherwise(text)
    }
}

impl From<&str> for Failed {
    fn from(text: &str) -> Self {
        Self::Otherwise(text.to_owned())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unproved(text) | Self::Otherwise(text)) = self;
        f.write_str(text)
    }
}

/// What came.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// `Content-Type`, as it stands.
    pub(crate) kind: String,
    pub(crate) body: Bytes,
}

/// Fetches over HTTP, or over HTTPS when there is TLS to do it with.
pub(crate) async fn get(dns: &Dns, tls: Option<&ClientTls>, errand: Errand<'_>) -> Result<Fetched, Failed> {
    let fetching = async {
        let stream = dial(dns, errand).await?;
        match tls {
            None => Ok(exchange(stream, errand, None).await?),
            Some(tls) => Ok(exchange(secure(tls, stream, errand).await?, errand, None).await?),
        }
    };
    bounded(errand, fetching).await
}

/// Hands over a body of that kind over HTTPS. An answer that is not of class 2 is an error.
pub(crate) async fn post(dns: &Dns, tls: &ClientTls, errand: Errand<'_>, kind: &'static str, body: Vec<u8>) -> Result<(), Failed> {
    let posting = async {
        let stream = dial(dns, errand).await?;
        Ok(exchange(secure(tls, stream, errand).await?, errand, Some((kind, body.into()))).await.map(drop)?)
    };
    bounded(errand, posting).await
}

async fn bounded<T>(errand: Errand<'_>, work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    tokio::time::timeout(errand.timeout, work).await.unwrap_or_else(|_| Err(format!("no answer within {:?}", errand.timeout).into()))
}

async fn secure(tls: &ClientTls, stream: TcpStream, errand: Errand<'_>) -> Result<TlsStream<TcpStream>, Failed> {
    match tls.connect_strictly(stream, errand.host).await {
        Ok((stream, Ok(()))) => Ok(stream),
        Ok((_, Err(doubt))) => Err(Failed::Unproved(doubt.text)),
        Err(error) => Err(error.to_string().into()),
    }
}

async fn dial(dns: &Dns, errand: Errand<'_>) -> Result<TcpStream, String> {
    let addresses = match dns.addresses(errand.host).await.answer {
        Answer::Found(addresses) => addresses,
        Answer::None | Answer::Denied => return Err("it has no address".into()),
        Answer::Unknown(why) | Answer::Bogus(why) => return Err(format!("its addresses: {why}")),
    };
    let mut last = "it has no public address".to_owned();
    for address in addresses.into_iter().filter(|address| errand.allow_private || !is_private(*address)).take(ADDRESSES_MAX) {
        match TcpStream::connect(SocketAddr::new(address, errand.port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Asks, or hands over what there is to hand over.
async fn exchange<S>(stream: S, errand: Errand<'_>, content: Option<(&'static str, Bytes)>) -> Result<Fetched, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let in_words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(in_words)?;
    let connection = tokio::spawn(connection);
    let posts = content.is_some();
    let (method, kind, body) = content.map_or((Method::GET, None, Bytes::new()), |(kind, body)| (Method::POST, Some(kind), body));
    let mut request =
        Request::builder().method(method).uri(errand.path).header(HOST, errand.host.as_str()).header(ACCEPT_ENCODING, "identity");
    if let Some(kind) = kind {
        request = request.header(CONTENT_TYPE, kind);
    }
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
    let outcome = match sender.send_request(request).await {
        Ok(response) if posts && response.status().is_success() => Ok(Fetched { kind: String::new(), body: Bytes::new() }),
        Ok(response) => take(response, errand).await,
        Err(error) => Err(in_words(error)),
    };
    connection.abort();
    outcome
}

/// RFC 8461, 3.3: "HTTP 3xx redirects MUST NOT be followed".
async fn take(response: Response<hyper::body::Incoming>, errand: Errand<'_>) -> Result<Fetched, String> {
    if response.status() != hyper::StatusCode::OK {
        return Err(format!("it answered {}", response.status()));
    }
    let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (kind, encoding) = (header(CONTENT_TYPE), header(CONTENT_ENCODING));
    if !matches!(encoding.as_str(), "" | "identity") {
        return Err(format!("it answered with encoding {encoding}"));
    }
    let body = Limited::new(response.into_body(), errand.octets_max).collect().await;
    let body = body.map_err(|error| format!("more than {} octets, or: {error}", errand.octets_max))?;
    Ok(Fetched { kind, body: body.to_bytes() })
}

/// Loopback, private, link-local, and what maps to them: never dialled because a stranger's DNS says so.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private(v4.into()),
            None => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn a_strangers_dns_does_not_lead_inside() {
        for inside in
            ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.0.1", "0.0.0.0", "::1", "::", "fd00::1", "fe80::1", "::ffff:10.0.0.1"]
        {
            assert!(is_private(inside.parse().expect("an address")), "{inside}");
        }
        for outside in ["192.0.2.1", "2001:db8::1", "8.8.8.8"] {
            assert!(!is_private(outside.parse().expect("an address")), "{outside}");
        }
    }
}
