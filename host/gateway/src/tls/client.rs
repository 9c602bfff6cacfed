//! TLS towards exchangers.

use super::facts;
use super::witness::{Anyone, Judge};
use crate::config;
use anyhow::{Context, Result};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use secmx_core::channel::{Channel, Level, Requirement};
use secmx_core::mail::MailDomain;
use secmx_core::secmx::exchanger::ExchangerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Servers whose sessions are kept for being resumed, for each requirement.
const SESSIONS_MAX: usize = 1024;

/// Opens TLS to peers and says what it proved. Built anew when the configuration is, and forgets all sessions then.
#[derive(Clone)]
pub struct ClientTls {
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// By level of the requirement: a session is resumed only for what asks for as much as it was opened for.
    connectors: [TlsConnector; 4],
}

impl ClientTls {
    /// Trusts what the configuration names: the system's anchors, PEM files, or both. Errors when a named file cannot be read.
    pub fn new(config: &config::Tls) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for anchor in &config.trust {
            match anchor {
                config::Trust::System => {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                }
                config::Trust::File(path) => {
                    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
                    let found = read().with_context(|| format!("cannot read trust anchors from {}", path.display()))?;
                    roots.add_parsable_certificates(found);
                }
            }
        }
        let verifier = if roots.is_empty() {
            None
        } else {
            Some(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), super::provider()).build()?)
        };
        let connectors = [connector()?, connector()?, connector()?, connector()?];
        Ok(Self { verifier, connectors })
    }

    /// Makes a connection secure. The handshake succeeds whoever the peer is; the channel says who it proved to be, a resumed session by
    /// the certificate it began with, judged as of now. Errors when there is no TLS to be had. The caller bounds the time.
    pub async fn connect<S>(
        &self,
        stream: S,
        exchanger: &ExchangerName,
        mail_domain: &MailDomain,
        requirement: Requirement,
    ) -> io::Result<(TlsStream<S>, Channel)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match exchanger {
            ExchangerName::Domain(domain) => server_name(domain.as_str())?,
            ExchangerName::Address(address) => ServerName::from(*address),
        };
        let sent_name = matches!(name, ServerName::DnsName(_)).then(|| exchanger.to_string());
        let [plain, encrypted, host, domain] = &self.connectors;
        let connector = match requirement.level() {
            Level::Plain => plain,
            Level::Encrypted => encrypted,
            Level::Host => host,
            Level::Domain => domain,
        };
        let stream = connector.connect(name.clone(), stream).await?;
        let mail_name = mail_domain.name().and_then(|domain| server_name(domain.as_str()).ok());
        let judge = Judge { verifier: self.verifier.as_deref(), name: &name, mail_domain: mail_name.as_ref() };
        let testimony = judge.testimony(stream.get_ref().1.peer_certificates().unwrap_or_default(), UnixTime::now());
        let tls = facts::of(stream.get_ref().1, sent_name, testimony.doubt);
        Ok((stream, Channel::secured(testimony.level, tls)))
    }
}

/// Sessions are kept in memory, apart from those of every other connector.
fn connector() -> Result<TlsConnector> {
    let mut config = ClientConfig::builder_with_provider(super::provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(name: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).map_err(io::Error::other)
}
