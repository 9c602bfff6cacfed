//! A certificate verifier that never ends a handshake and always says what it saw.
//!
//! Best effort may use a channel whose peer is a stranger, secure only may not; that is a decision for later, made on evidence. So the
//! handshake goes on whatever the certificate is worth, and the level it is worth is written down beside it (profile, "Evidence and
//! floors"). The peer's possession of its key is always checked.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use secmx_core::channel::Level;
use std::sync::{Arc, Mutex, PoisonError};

/// What was seen: the level, and why it is no higher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Testimony {
    pub(super) level: Level,
    pub(super) doubt: Option<String>,
}

/// Watches one handshake.
#[derive(Debug)]
pub(super) struct Witness {
    /// `None` when there is no trust anchor at all: nothing can be proved then.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// The mail domain: a certificate that matches it proves more than one for a name that DNS came up with.
    mail_domain: Option<ServerName<'static>>,
    testimony: Mutex<Option<Testimony>>,
}

impl Witness {
    pub(super) fn new(verifier: Option<Arc<WebPkiServerVerifier>>, mail_domain: Option<ServerName<'static>>) -> Self {
        Self { verifier, mail_domain, testimony: Mutex::new(None) }
    }

    /// What was seen. Before a certificate came, that is nothing: TLS, and a stranger.
    pub(super) fn testimony(&self) -> Testimony {
        let seen = self.testimony.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.unwrap_or(Testimony { level: Level::Encrypted, doubt: Some("the peer showed no certificate".into()) })
    }

    fn judge(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>], name: &ServerName<'_>, now: UnixTime) -> Testimony {
        let Some(verifier) = &self.verifier else {
            return Testimony { level: Level::Encrypted, doubt: Some("no trust anchor is configured".into()) };
        };
        let matches = |name: &ServerName<'_>| verifier.verify_server_cert(leaf, chain, name, &[], now);
        if self.mail_domain.as_ref().is_some_and(|domain| matches(domain).is_ok()) {
            return Testimony { level: Level::Domain, doubt: None };
        }
        match matches(name) {
            Ok(_) => Testimony { level: Level::Host, doubt: None },
            Err(error) => Testimony { level: Level::Encrypted, doubt: Some(in_words(&error)) },
        }
    }
}

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

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let testimony = self.judge(end_entity, intermediates, server_name, now);
        *self.testimony.lock().unwrap_or_else(PoisonError::into_inner) = Some(testimony);
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
