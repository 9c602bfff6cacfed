//! TLS towards clients.

use super::{Identity, facts};
use rustls::ServerConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use secmx_core::channel::{Channel, Level};
use secmx_core::ruling::ClientCertificate;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Answers handshakes of clients. Built anew when the configuration is.
#[derive(Clone)]
pub struct ServerTls {
    silent: TlsAcceptor,
    requesting: TlsAcceptor,
    demanding: TlsAcceptor,
}

impl ServerTls {
    /// Shows `identity` to every client. Errors only when the cryptographic provider is unusable.
    pub fn new(identity: &Identity) -> Result<Self, Error> {
        let acceptor = |want: ClientCertificate| -> Result<TlsAcceptor, Error> {
            let builder = ServerConfig::builder_with_provider(super::provider()).with_safe_default_protocol_versions()?;
            let builder = match want {
                ClientCertificate::Ignore => builder.with_no_client_auth(),
                wanted => builder.with_client_cert_verifier(Arc::new(AnyClient { mandatory: wanted == ClientCertificate::Demand })),
            };
            // Tickets are off: one from a listener must never open a session on another with other terms.
            let mut config = builder.with_cert_resolver(Arc::new(Always(identity.certified_key())));
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(TlsAcceptor::from(Arc::new(config)))
        };
        Ok(Self {
            silent: acceptor(ClientCertificate::Ignore)?,
            requesting: acceptor(ClientCertificate::Request)?,
            demanding: acceptor(ClientCertificate::Demand)?,
        })
    }

    /// Answers one handshake. The caller bounds the time.
    pub async fn accept<S>(&self, stream: S, want: ClientCertificate) -> io::Result<(TlsStream<S>, Channel)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = match want {
            ClientCertificate::Ignore => &self.silent,
            ClientCertificate::Request => &self.requesting,
            ClientCertificate::Demand => &self.demanding,
        };
        let stream = acceptor.accept(stream).await?;
        let connection = stream.get_ref().1;
        let server_name = connection.server_name().map(str::to_owned);
        let channel = Channel::secured(Level::Encrypted, facts::of(connection, server_name, None));
        Ok((stream, channel))
    }
}

/// One identity for every name.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Takes any client certificate as a fact for policies. Who the client is stays unproved: the level of the channel says so.
#[derive(Debug)]
struct AnyClient {
    mandatory: bool,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(&self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: UnixTime) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &super::provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &super::provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        super::provider().signature_verification_algorithms.supported_schemes()
    }
}
