//! A certificate authority that also makes what a real one must not.

use anyhow::{Context, Result};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// ecdsa-with-SHA256, the content of the object identifier.
const ECDSA_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

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
    /// Its authority is one that nobody knows.
    UnknownRoot,
    /// The certificate between it and the root is not sent.
    MissingIntermediate,
    /// It names nobody, neither as subject nor as alternative name.
    Nameless,
    /// It says that it was signed over SHA-1.
    Sha1,
    /// It says that it was signed over MD5.
    Md5,
    /// An authority that must have none below it has one.
    PathTooLong,
    /// Its authority may speak for another domain only.
    NameConstraint,
    /// Its first label is a wildcard in part: `f*.…`.
    PartialWildcard,
    /// It is for every name below a top level domain.
    TopLevelWildcard,
    /// It holds an address where a name belongs.
    AddressAsName,
    /// It has a critical extension that nobody knows.
    UnknownCritical,
    /// It is of version 1, without extensions.
    Version1,
    /// Its serial number is 0.
    SerialZero,
    /// It has 10,000 names.
    ManyNames,
}

/// An authority with its own root.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
}

fn authority_params(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

impl Authority {
    /// A new root.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let params = authority_params(name)?;
        let root = params.self_signed(&key)?;
        Ok(Self { root: root.der().clone(), root_pem: root.pem(), issuer: Issuer::new(params, key) })
    }

    /// The same with the serial number 0, as some roots in use have it.
    pub fn with_serial_zero(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(name)?;
        params.serial_number = Some(SerialNumber::from_slice(&[0]));
        let root = params.self_signed(&key)?;
        Ok(Self { root: root.der().clone(), root_pem: root.pem(), issuer: Issuer::new(params, key) })
    }

    /// The root, PEM: what a believer trusts.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root, DER.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// SubjectPublicKeyInfo of the root, DER.
    pub fn public_key(&self) -> Vec<u8> {
        use rcgen::PublicKeyData;
        self.issuer.key().subject_public_key_info()
    }

    /// A good certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Result<Identity> {
        self.issue_with(names, Flaw::None)
    }

    /// A certificate for these names with a flaw.
    pub fn issue_with(&self, names: &[&str], flaw: Flaw) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let params = leaf_params(names, flaw)?;
        let mut chain = match flaw {
            Flaw::SelfSigned => vec![params.self_signed(&key)?.der().clone()],
            Flaw::UnknownRoot => vec![params.signed_by(&key, &Self::new("nobody knows")?.issuer)?.der().clone()],
            Flaw::MissingIntermediate => vec![self.below(&params, &key, |_| {})?.swap_remove(0)],
            Flaw::PathTooLong => self.two_below(&params, &key)?,
            Flaw::NameConstraint => self.below(&params, &key, |between| {
                between.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName("elsewhere.test".into())],
                    excluded_subtrees: Vec::new(),
                });
            })?,
            _ => vec![params.signed_by(&key, &self.issuer)?.der().clone()],
        };
        match (flaw, chain.first_mut()) {
            // The last arc but one of sha1WithRSAEncryption and md5WithRSAEncryption is left out to keep the length: no verifier knows it.
            (Flaw::Sha1, Some(leaf)) => *leaf = replaced(leaf, &ECDSA_SHA256, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05]),
            (Flaw::Md5, Some(leaf)) => *leaf = replaced(leaf, &ECDSA_SHA256, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x04]),
            (Flaw::Version1, Some(leaf)) => *leaf = self.version_1(leaf)?,
            _ => {}
        }
        Ok(Identity { chain_pem: pem(&chain), chain, key })
    }

    /// A good certificate with the root at the end of the chain, as DANE-TA wants it (RFC 7672, 3.1.2).
    pub fn issue_with_root(&self, names: &[&str]) -> Result<Identity> {
        let mut identity = self.issue(names)?;
        identity.chain.push(self.root.clone());
        identity.chain_pem = pem(&identity.chain);
        Ok(identity)
    }

    /// A good certificate that says where the list is that would revoke it (RFC 5280, 4.2.1.13).
    pub fn issue_listed(&self, names: &[&str], url: &str) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params = leaf_params(names, Flaw::None)?;
        params.crl_distribution_points = vec![rcgen::CrlDistributionPoint { uris: vec![url.to_owned()] }];
        let chain = vec![params.signed_by(&key, &self.issuer)?.der().clone()];
        Ok(Identity { chain_pem: pem(&chain), chain, key })
    }

    /// A list that revokes these certificates of this authority, fresh for a day from `issued`.
    pub fn revoke(&self, identities: &[&Identity], issued: OffsetDateTime) -> Result<Vec<u8>> {
        let revoked = identities.iter().map(|identity| {
            Ok(rcgen::RevokedCertParams {
                serial_number: SerialNumber::from_slice(&serial(identity.chain.first().context("a chain")?)?),
                revocation_time: issued,
                reason_code: Some(rcgen::RevocationReason::KeyCompromise),
                invalidity_date: None,
            })
        });
        let params = rcgen::CertificateRevocationListParams {
            this_update: issued,
            next_update: issued + Duration::days(1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect::<Result<_>>()?,
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.der().to_vec())
    }

    /// Signs below an authority of its own; the chain, end entity first.
    fn below(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Vec<CertificateDer<'static>>> {
        let (mut between, between_key) = (authority_params("SecMX lab intermediate")?, KeyPair::generate()?);
        between.use_authority_key_identifier_extension = true;
        change(&mut between);
        let certificate = between.signed_by(&between_key, &self.issuer)?;
        let leaf = params.signed_by(key, &Issuer::new(between, between_key))?;
        Ok(vec![leaf.der().clone(), certificate.der().clone()])
    }

    fn two_below(&self, params: &CertificateParams, key: &KeyPair) -> Result<Vec<CertificateDer<'static>>> {
        let (mut upper, upper_key) = (authority_params("SecMX lab, last of its line")?, KeyPair::generate()?);
        upper.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        upper.use_authority_key_identifier_extension = true;
        let upper_certificate = upper.signed_by(&upper_key, &self.issuer)?;
        let upper = Issuer::new(upper, upper_key);
        let (mut lower, lower_key) = (authority_params("SecMX lab, one too many")?, KeyPair::generate()?);
        lower.use_authority_key_identifier_extension = true;
        let lower_certificate = lower.signed_by(&lower_key, &upper)?;
        let leaf = params.signed_by(key, &Issuer::new(lower, lower_key))?;
        Ok(vec![leaf.der().clone(), lower_certificate.der().clone(), upper_certificate.der().clone()])
    }

    /// The certificate without version and extensions, signed again.
    fn version_1(&self, leaf: &[u8]) -> Result<CertificateDer<'static>> {
        use rcgen::SigningKey;
        let (tbs, algorithm) = certificate_parts(leaf).context("a certificate")?;
        let fields = elements(contents(tbs).context("a certificate")?);
        let kept: Vec<u8> = fields.into_iter().filter(|field| !matches!(field.first(), Some(0xa0 | 0xa3))).flatten().copied().collect();
        let tbs = wrapped(0x30, &kept);
        let signature = self.issuer.key().sign(&tbs)?;
        let signature = wrapped(0x03, &[&[0], signature.as_slice()].concat());
        Ok(wrapped(0x30, &[tbs.as_slice(), algorithm, &signature].concat()).into())
    }
}

fn leaf_params(names: &[&str], flaw: Flaw) -> Result<CertificateParams> {
    let first = names.first().copied().unwrap_or("nobody");
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, first);
    params.use_authority_key_identifier_extension = flaw != Flaw::SelfSigned;
    let dns = |name: &str| Ok::<_, rcgen::Error>(SanType::DnsName(Ia5String::try_from(name)?));
    match flaw {
        Flaw::Nameless => {
            params.subject_alt_names.clear();
            params.distinguished_name = rcgen::DistinguishedName::new();
        }
        Flaw::PartialWildcard => {
            params.subject_alt_names = vec![dns(&format!("{}*.{}", &first[..1], first.split_once('.').context("a dot")?.1))?]
        }
        Flaw::TopLevelWildcard => params.subject_alt_names = vec![dns(&format!("*.{}", first.rsplit('.').next().unwrap_or_default()))?],
        Flaw::AddressAsName => params.subject_alt_names = vec![dns("127.0.0.1")?, dns(first)?],
        Flaw::ManyNames => params.subject_alt_names.extend((0..10_000).map(|n| dns(&format!("n{n}.test"))).collect::<Result<Vec<_>, _>>()?),
        Flaw::UnknownCritical => {
            let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
            unknown.set_criticality(true);
            params.custom_extensions.push(unknown);
        }
        Flaw::SerialZero => params.serial_number = Some(SerialNumber::from_slice(&[0])),
        _ => {}
    }
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
    Ok(params)
}

fn pem(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|certificate| ::pem::encode(&::pem::Pem::new("CERTIFICATE", certificate.to_vec()))).collect()
}

fn replaced(der: &[u8], from: &[u8], to: &[u8]) -> CertificateDer<'static> {
    let mut der = der.to_vec();
    while let Some(place) = der.windows(from.len()).position(|window| window == from) {
        der.splice(place..place + from.len(), to.iter().copied());
    }
    der.into()
}

/// The part that is signed, and the algorithm behind it, each with its header.
fn certificate_parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let parts = elements(contents(der)?);
    Some((parts.first()?, parts.get(1)?))
}

fn serial(der: &[u8]) -> Result<Vec<u8>> {
    let find = || {
        let fields = elements(contents(certificate_parts(der)?.0)?);
        fields.into_iter().find(|field| field.first() == Some(&0x02)).and_then(contents).map(<[u8]>::to_vec)
    };
    find().context("a serial number")
}

/// Length of the header and of what it announces (X.690, 8.1.3).
fn measure(der: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*der.get(1)?);
    if first < 0x80 {
        return Some((2, first));
    }
    let octets = der.get(2..2 + (first & 0x7f))?;
    Some((2 + octets.len(), octets.iter().fold(0, |length, octet| (length << 8) | usize::from(*octet))))
}

fn contents(der: &[u8]) -> Option<&[u8]> {
    let (header, length) = measure(der)?;
    der.get(header..header + length)
}

fn elements(mut der: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((header, length)) = measure(der)
        && let Some((element, rest)) = der.split_at_checked(header + length)
    {
        found.push(element);
        der = rest;
    }
    found
}

fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match u8::try_from(length) {
        Ok(short) if short < 0x80 => vec![tag, short],
        _ => {
            let octets = length.to_be_bytes();
            let significant = octets.get(octets.iter().take_while(|octet| **octet == 0).count()..).unwrap_or_default();
            [&[tag, 0x80 | u8::try_from(significant.len()).unwrap_or_default()], significant].concat()
        }
    };
    [header.as_slice(), content].concat()
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

    /// SubjectPublicKeyInfo of the certificate, DER.
    pub fn public_key(&self) -> Vec<u8> {
        use rcgen::PublicKeyData;
        self.key.subject_public_key_info()
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
