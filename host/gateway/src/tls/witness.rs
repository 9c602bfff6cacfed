//! A certificate verifier that never ends a handshake.
//!
//! Best effort may use a channel whose peer is a stranger, secure only may not; that is a decision for later, made on evidence. So the
//! handshake goes on whatever the certificate is worth, and what it is worth is found out when the handshake is over, from the certificates
//! that the connection holds. A connection that resumes an earlier session is judged like any other, against its own requirement. The
//! peer's possession of its key is always checked.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// Watches handshakes.
#[derive(Debug)]
pub(super) struct Witness;

impl ServerCertVerifier for Witness {
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
        let algorithms = &super::provider().signature_verification_algorithms;
        let outcome = rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms);
        match (&outcome, super::dane::key_of(cert)) {
            // A certificate that is not to be taken for one still holds a key, which the peer has or has not.
            (Err(Error::InvalidCertificate(error)), Some(key)) if *error != CertificateError::BadSignature => {
                rustls::crypto::verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(key), dss, algorithms)
            }
            _ => outcome,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        super::provider().signature_verification_algorithms.supported_schemes()
    }
}
