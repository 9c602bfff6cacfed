//! A certificate authority that also makes what a real one must not.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// A certificate chain with its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    chain_pem: String,
    key: KeyPair,
}

/// What is wrong with a certificate, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// Its time ended twelve days ago.
    Expired,
    /// Its time begins in twelve days.
    NotYetValid,
    /// It vouches for itself.
    SelfSigned,
    /// It lacks the purpose of a server (RFC 5280, 4.2.1.12).
    NotForServers,
}

/// An authority with its own root.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
}

impl Authority {
    /// A new root.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), root_pem })
    }

    /// The root, PEM: what a believer trusts.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// A good certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Result<Identity> {
        self.issue_with(names, Flaw::None)
    }

    /// A certificate for these names with a flaw.
    pub fn issue_with(&self, names: &[&str], flaw: Flaw) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, names.first().copied().unwrap_or("nobody"));
        let (now, day) = (OffsetDateTime::now_utc(), Duration::days(1));
        (params.not_before, params.not_after) = match flaw {
            Flaw::Expired => (now - day * 90, now - day * 12),
            Flaw::NotYetValid => (now + day * 12, now + day * 90),
            _ => (now - day, now + day * 90),
        };
        params.extended_key_usages = match flaw {
            Flaw::NotForServers => vec![ExtendedKeyUsagePurpose::ClientAuth],
            _ => vec![ExtendedKeyUsagePurpose::ServerAuth],
        };
        let certificate = if flaw == Flaw::SelfSigned { params.self_signed(&key)? } else { params.signed_by(&key, &self.issuer)? };
        Ok(Identity { chain: vec![certificate.der().clone()], chain_pem: certificate.pem(), key })
    }
}

impl Identity {
    /// The chain, leaf first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }

    /// The chain, PEM.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The key, PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}
