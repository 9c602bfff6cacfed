//! A certificate authority that also makes what a real one must not.

mod der;
mod flaw;

pub use flaw::{FLAWS, Flaw};

use anyhow::{Context, Result};
use der::{certificate_parts, contents, elements, exchanged, flipped, replaced, serial, truncated, wrapped};
use flaw::{key_for, leaf_params};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, DnType, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SerialNumber,
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
    staple: Option<Vec<u8>>,
}

/// An authority with its own root.
pub struct Authority {
    name: String,
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
        Self::of(name, KeyPair::generate()?)
    }

    /// The root with this key, PEM: whoever trusts an earlier one of the same name and key trusts this one.
    pub fn with_key(name: &str, key: &str) -> Result<Self> {
        Self::of(name, KeyPair::from_pem(key).context("no key of an authority")?)
    }

    fn of(name: &str, key: KeyPair) -> Result<Self> {
        Self::from_params(name, authority_params(name)?, key)
    }

    fn from_params(name: &str, params: CertificateParams, key: KeyPair) -> Result<Self> {
        let root = params.self_signed(&key)?;
        Ok(Self { name: name.to_owned(), root: root.der().clone(), root_pem: root.pem(), issuer: Issuer::new(params, key) })
    }

    /// The same with the serial number 0, as some roots in use have it.
    pub fn with_serial_zero(name: &str) -> Result<Self> {
        let mut params = authority_params(name)?;
        params.serial_number = Some(SerialNumber::from_slice(&[0]));
        Self::from_params(name, params, KeyPair::generate()?)
    }

    /// The root, PEM: what a believer trusts.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// The root's key, PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
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
        self.issue_until(names, flaw, None)
    }

    /// [`Authority::issue_with`], with the time at which it ends, for flaws that say nothing of time.
    pub fn issue_until(&self, names: &[&str], flaw: Flaw, ends: Option<OffsetDateTime>) -> Result<Identity> {
        let key = key_for(flaw)?;
        let params = leaf_params(names, flaw, ends)?;
        let mut chain = match flaw {
            Flaw::SelfSigned => vec![params.self_signed(&key)?.der().clone()],
            Flaw::UnknownRoot => vec![params.signed_by(&key, &Self::new("nobody knows")?.issuer)?.der().clone()],
            Flaw::MissingIntermediate => vec![self.below(&params, &key, |_| {})?.swap_remove(0)],
            Flaw::PathTooLong => self.two_below(&params, &key)?,
            Flaw::ExpiredIntermediate => self.below(&params, &key, expire)?,
            Flaw::CrossSigned => self.below_two_roots(&params, &key)?,
            Flaw::ExpiredRoot => self.below_an_expired_root(&params, &key)?,
            Flaw::LongChain => self.ten_below(&params, &key)?,
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
            (Flaw::BitFlipped, Some(leaf)) => *leaf = flipped(leaf),
            (Flaw::Truncated, Some(leaf)) => *leaf = truncated(leaf),
            _ => {}
        }
        let staple = (flaw == Flaw::JunkStapled).then(|| b"no response".to_vec());
        Ok(Identity { chain_pem: pem(&chain), chain, key, staple })
    }

    /// A good certificate with the root at the end of the chain, as DANE-TA wants it (RFC 7672, 3.1.2).
    pub fn issue_with_root(&self, names: &[&str]) -> Result<Identity> {
        let mut identity = self.issue(names)?;
        identity.chain.push(self.root.clone());
        identity.chain_pem = pem(&identity.chain);
        Ok(identity)
    }

    /// A good certificate that says where the lists are that would revoke it, one distribution point each (RFC 5280, 4.2.1.13).
    pub fn issue_listed(&self, names: &[&str], urls: &[&str]) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params = leaf_params(names, Flaw::None, None)?;
        params.crl_distribution_points = urls.iter().map(|url| distribution_point(url)).collect();
        let chain = vec![params.signed_by(&key, &self.issuer)?.der().clone()];
        Ok(Identity { chain_pem: pem(&chain), chain, key, staple: None })
    }

    /// A list that revokes these certificates of this authority, fresh for a day from `issued`.
    pub fn revoke(&self, identities: &[&Identity], issued: OffsetDateTime) -> Result<Vec<u8>> {
        self.list(identities, issued, None)
    }

    /// The same list, which says that it is the one at `url` and no other (RFC 5280, 5.2.5).
    pub fn revoke_at(&self, identities: &[&Identity], issued: OffsetDateTime, url: &str) -> Result<Vec<u8>> {
        self.list(identities, issued, Some(CrlIssuingDistributionPoint { distribution_point: distribution_point(url), scope: None }))
    }

    /// The same list, which says that it is about some reasons only, with these octets as the BIT STRING that names them.
    pub fn revoke_for(&self, identities: &[&Identity], issued: OffsetDateTime, url: &str, reasons: &[u8]) -> Result<Vec<u8>> {
        const ONLY_HOSTS: [u8; 3] = [0x81, 1, 0xff];
        let point = CrlIssuingDistributionPoint { distribution_point: distribution_point(url), scope: Some(CrlScope::UserCertsOnly) };
        let list = self.list(identities, issued, Some(point))?;
        let (tbs, algorithm) = certificate_parts(&list).context("a list")?;
        // onlySomeReasons stands behind onlyContainsUserCerts, as [3].
        self.sign(&exchanged(tbs, &ONLY_HOSTS, &wrapped(0x83, reasons)), algorithm)
    }

    fn list(
        &self,
        identities: &[&Identity],
        issued: OffsetDateTime,
        issuing_distribution_point: Option<CrlIssuingDistributionPoint>,
    ) -> Result<Vec<u8>> {
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
            issuing_distribution_point,
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

    /// Signs below an authority that a root nobody knows certified first, and this one as well.
    fn below_two_roots(&self, params: &CertificateParams, key: &KeyPair) -> Result<Vec<CertificateDer<'static>>> {
        let (mut between, between_key) = (authority_params("SecMX lab, known to two roots")?, KeyPair::generate()?);
        between.use_authority_key_identifier_extension = true;
        let old = between.signed_by(&between_key, &Self::new("nobody knows any more")?.issuer)?;
        let ours = between.signed_by(&between_key, &self.issuer)?;
        let leaf = params.signed_by(key, &Issuer::new(between, between_key))?;
        Ok(vec![leaf.der().clone(), old.der().clone(), ours.der().clone()])
    }

    /// Signs with the root, and shows how it was certified before it was known by itself.
    fn below_an_expired_root(&self, params: &CertificateParams, key: &KeyPair) -> Result<Vec<CertificateDer<'static>>> {
        let mut old = authority_params("SecMX lab, in former times")?;
        expire(&mut old);
        let old = Self::from_params("in former times", old, KeyPair::generate()?)?;
        let mut ours = authority_params(&self.name)?;
        ours.use_authority_key_identifier_extension = true;
        let ours = ours.signed_by(self.issuer.key(), &old.issuer)?;
        let leaf = params.signed_by(key, &self.issuer)?;
        Ok(vec![leaf.der().clone(), ours.der().clone(), old.root])
    }

    fn ten_below(&self, params: &CertificateParams, key: &KeyPair) -> Result<Vec<CertificateDer<'static>>> {
        let (mut chain, mut above): (Vec<CertificateDer<'static>>, Option<Issuer<'static, KeyPair>>) = (Vec::new(), None);
        for depth in 0..10 {
            let (mut between, between_key) = (authority_params(&format!("SecMX lab, {depth} below the root"))?, KeyPair::generate()?);
            between.use_authority_key_identifier_extension = true;
            let certificate = between.signed_by(&between_key, above.as_ref().unwrap_or(&self.issuer))?;
            chain.insert(0, certificate.der().clone());
            above = Some(Issuer::new(between, between_key));
        }
        let leaf = params.signed_by(key, above.as_ref().unwrap_or(&self.issuer))?;
        chain.insert(0, leaf.der().clone());
        Ok(chain)
    }

    /// The certificate without version and extensions, signed again.
    fn version_1(&self, leaf: &[u8]) -> Result<CertificateDer<'static>> {
        let (tbs, algorithm) = certificate_parts(leaf).context("a certificate")?;
        let fields = elements(contents(tbs).context("a certificate")?);
        let kept: Vec<u8> = fields.into_iter().filter(|field| !matches!(field.first(), Some(0xa0 | 0xa3))).flatten().copied().collect();
        Ok(self.sign(&wrapped(0x30, &kept), algorithm)?.into())
    }

    /// The part that is signed, with this algorithm and a signature behind it.
    fn sign(&self, tbs: &[u8], algorithm: &[u8]) -> Result<Vec<u8>> {
        use rcgen::SigningKey;
        let signature = wrapped(0x03, &[&[0], self.issuer.key().sign(tbs)?.as_slice()].concat());
        Ok(wrapped(0x30, &[tbs, algorithm, &signature].concat()))
    }
}

/// Makes its time end twelve days ago.
fn expire(params: &mut CertificateParams) {
    let (now, day) = (OffsetDateTime::now_utc(), Duration::days(1));
    (params.not_before, params.not_after) = (now - day * 90, now - day * 12);
}

fn distribution_point(url: &str) -> CrlDistributionPoint {
    CrlDistributionPoint { uris: vec![url.to_owned()] }
}

fn pem(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|certificate| ::pem::encode(&::pem::Pem::new("CERTIFICATE", certificate.to_vec()))).collect()
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

    /// What is stapled to it in place of an OCSP response (RFC 6066, 8).
    pub fn staple(&self) -> Option<Vec<u8>> {
        self.staple.clone()
    }

    /// The key, PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}
