//! TLS towards exchangers.

use super::facts;
use super::witness::Witness;
use crate::config;
use anyhow::{Context, Result};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use secmx_core::channel::Channel;
use secmx_core::mail::MailDomain;
use secmx_core::secmx::exchanger::ExchangerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens TLS to peers and says what it proved.
#[derive(Clone)]
pub struct ClientTls {
    verifier: Option<Arc<WebPkiServerVerifier>>,
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
        Ok(Self { verifier })
    }

    /// Makes a connection secure. The handshake succeeds whoever the peer is; the channel says who it proved to be. Errors when there is
    /// no TLS to be had. The caller bounds the time.
    pub async fn connect<S>(&self, stream: S, exchanger: &ExchangerName, mail_domain: &MailDomain) -> io::Result<(TlsStream<S>, Channel)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match exchanger {
            ExchangerName::Domain(domain) => server_name(domain.as_str())?,
            ExchangerName::Address(address) => ServerName::from(*address),
        };
        let mail_name = mail_domain.name().and_then(|domain| server_name(domain.as_str()).ok());
        let witness = Arc::new(Witness::new(self.verifier.clone(), mail_name));
        let mut config = ClientConfig::builder_with_provider(super::provider())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as _)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let sent_name = matches!(name, ServerName::DnsName(_)).then(|| exchanger.to_string());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let testimony = witness.testimony();
        let tls = facts::of(stream.get_ref().1, sent_name, testimony.doubt);
        Ok((stream, Channel::secured(testimony.level, tls)))
    }
}

fn server_name(name: &str) -> io::Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).map_err(io::Error::other)
}
