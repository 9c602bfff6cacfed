//! TLS towards clients.

use super::{Identity, facts};
use arc_swap::ArcSwap;
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

/// Answers handshakes of clients. Built anew when the configuration is; what it shows can change while it is in use.
#[derive(Clone)]
pub struct ServerTls {
    shown: Arc<Shown>,
    silent: TlsAcceptor,
    requesting: TlsAcceptor,
    demanding: TlsAcceptor,
}

impl ServerTls {
    /// Shows the identity that is for the name a client asks for (SNI, RFC 6066, 3), and the first one to all others. Errors only when the
    /// cryptographic provider is unusable, or when there is no identity.
    pub fn new(identities: &[Identity]) -> Result<Self, Error> {
        let shown = Arc::new(Shown(ArcSwap::from_pointee(identities.to_vec())));
        if identities.is_empty() {
            return Err(Error::General("there is no certificate to show".into()));
        }
        let acceptor = |want: ClientCertificate| -> Result<TlsAcceptor, Error> {
            let builder = ServerConfig::builder_with_provider(super::provider()).with_safe_default_protocol_versions()?;
            let builder = match want {
                ClientCertificate::Ignore => builder.with_no_client_auth(),
                wanted => builder.with_client_cert_verifier(Arc::new(AnyClient { mandatory: wanted == ClientCertificate::Demand })),
            };
            // Tickets are off: one from a listener must never open a session on another with other terms.
            let mut config = builder.with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            // Our order of cipher suites, not that of a client that may be old or badly set.
            config.ignore_client_order = true;
            Ok(TlsAcceptor::from(Arc::new(config)))
        };
        Ok(Self {
            silent: acceptor(ClientCertificate::Ignore)?,
            requesting: acceptor(ClientCertificate::Request)?,
            demanding: acceptor(ClientCertificate::Demand)?,
            shown,
        })
    }

    /// Shows these from the next handshake on. Nothing happens when there are none: STARTTLS must not vanish with a file (L1-1).
    pub fn show(&self, identities: Vec<Identity>) {
        if !identities.is_empty() {
            self.shown.0.store(Arc::new(identities));
        }
    }

    /// What is shown: the identity for that name, else the first.
    pub fn identity(&self, name: Option<&str>) -> Option<Identity> {
        self.shown.identity(name)
    }

    /// Everything that can be shown, the first one for whoever asks for none of them.
    pub fn identities(&self) -> Arc<Vec<Identity>> {
        self.shown.0.load_full()
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

/// Identities, the first one for whoever asks for none of them.
#[derive(Debug)]
struct Shown(ArcSwap<Vec<Identity>>);

impl Shown {
    fn identity(&self, name: Option<&str>) -> Option<Identity> {
        let identities = self.0.load();
        let named = name.and_then(|name| identities.iter().find(|identity| identity.is_for(name)));
        named.or(identities.first()).cloned()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.identity(hello.server_name()).map(|identity| identity.certified_key())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, HandshakeKind};
    use secmx_lab::client::Believer;
    use tokio_rustls::TlsConnector;

    /// A client that keeps whatever it is given for a shorter handshake never gets one, neither from this listener nor from another.
    #[tokio::test]
    async fn no_handshake_is_cut_short_by_an_earlier_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let identity = Identity::self_signed("mx.test", directory.path()).expect("made");
        let listeners = [1, 2].map(|_| ServerTls::new(std::slice::from_ref(&identity)).expect("TLS"));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).expect("a version");
            let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Believer)).with_no_client_auth();
            let connector = TlsConnector::from(Arc::new(config));
            for listener in [&listeners[0], &listeners[0], &listeners[1]] {
                let (ours, theirs) = tokio::io::duplex(64 * 1024);
                let name = ServerName::try_from("mx.test").expect("a name");
                let (client, server) = tokio::join!(connector.connect(name, theirs), listener.accept(ours, ClientCertificate::Ignore));
                let (stream, _) = server.expect("a handshake");
                let kinds = (client.expect("a handshake").get_ref().1.handshake_kind(), stream.get_ref().1.handshake_kind());
                assert!(matches!(kinds, (_, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest))), "{kinds:?}");
            }
        }
    }
}
