//! What a peer's certificate is worth: judged after the handshake, on evidence.
//!
//! Best effort may use a channel whose peer is a stranger, secure only may not; that is a decision for later. So the handshake goes on
//! whatever the certificate is worth, and the level it is worth is written down beside it (profile, "Evidence and floors"). The peer's
//! possession of its key is always checked. A judgement belongs to one connection: nothing is remembered between two of them.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use secmx_core::channel::Level;

/// What was seen: the level, and why it is no higher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Testimony {
    pub(super) level: Level,
    pub(super) doubt: Option<String>,
}

/// Looks at the certificates of one peer.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    /// `None` when there is no trust anchor at all: nothing can be proved then.
    pub(super) verifier: Option<&'a WebPkiServerVerifier>,
    /// The peer's name.
    pub(super) name: &'a ServerName<'static>,
    /// The mail domain: a certificate that matches it proves more than one for a name that DNS came up with.
    pub(super) mail_domain: Option<&'a ServerName<'static>>,
}

impl Judge<'_> {
    /// What a chain proves, leaf first. Without a certificate that is nothing: TLS, and a stranger.
    pub(super) fn testimony(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Testimony {
        let stranger = |doubt: String| Testimony { level: Level::Encrypted, doubt: Some(doubt) };
        let Some((leaf, chain)) = chain.split_first() else { return stranger("the peer showed no certificate".into()) };
        let Some(verifier) = self.verifier else { return stranger("no trust anchor is configured".into()) };
        let matches = |name: &ServerName<'_>| verifier.verify_server_cert(leaf, chain, name, &[], now);
        if self.mail_domain.is_some_and(|domain| matches(domain).is_ok()) {
            return Testimony { level: Level::Domain, doubt: None };
        }
        match matches(self.name) {
            Ok(_) => Testimony { level: Level::Host, doubt: None },
            Err(error) => stranger(in_words(&error)),
        }
    }
}

/// A certificate verifier that never ends a handshake.
#[derive(Debug)]
pub(super) struct Anyone;

/// Why a certificate proves nothing, as an administrator would say it.
fn in_words(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else { return error.to_string() };
    let days = |from: UnixTime, to: UnixTime| to.as_secs().saturating_sub(from.as_secs()) / 86_400;
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!("its certificate expired {} days ago", days(*not_after, *time)),
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("its certificate is not valid before {} days from now", days(*time, *not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("its certificate is for {}, not for {}", presented.join(", "), expected.to_str())
        }
        CertificateError::UnknownIssuer => "its certificate comes from an authority that is not trusted here".into(),
        CertificateError::Revoked => "its certificate was revoked".into(),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => "its certificate is not for servers".into(),
        other => format!("its certificate is not valid: {other}"),
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
