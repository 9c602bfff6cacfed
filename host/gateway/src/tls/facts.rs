//! What a finished handshake says, in the core's words.

use rustls::{CommonState, ProtocolVersion};
use secmx_core::channel::{Certificate, Doubt, Tls, TlsVersion};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The facts of a connection whose handshake is over.
pub(super) fn of(connection: &CommonState, server_name: Option<String>, doubt: Option<Doubt>) -> Tls {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::V13,
        _ => TlsVersion::V12,
    };
    let cipher = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
    let group = connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str()).unwrap_or_default();
    let peer = connection.peer_certificates().and_then(|chain| chain.first()).map(|leaf| certificate(leaf));
    Tls { version, cipher: iana(cipher), group: group.to_owned(), server_name, peer, doubt }
}

/// rustls writes `TLS13_…` for what IANA's registry calls `TLS_…`.
fn iana(cipher: &str) -> String {
    cipher.replacen("TLS13_", "TLS_", 1)
}

/// What a certificate says. One that cannot be read is named by its digest alone.
pub(super) fn certificate(der: &[u8]) -> Certificate {
    let sha256 = Sha256::digest(der).to_vec();
    let Ok((_, parsed)) = X509Certificate::from_der(der) else {
        return Certificate { subject: String::new(), issuer: String::new(), dns_names: Vec::new(), sha256, not_after: 0 };
    };
    let dns_names = parsed.subject_alternative_name().ok().flatten().map(|names| {
        let dns = |name: &GeneralName<'_>| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None };
        names.value.general_names.iter().filter_map(dns).collect()
    });
    Certificate {
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        dns_names: dns_names.unwrap_or_default(),
        sha256,
        not_after: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default(),
    }
}
