//! What can be wrong with a certificate, and what stands in one that has it.

use anyhow::{Context, Result};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    SerialNumber,
};
use std::net::Ipv4Addr;
use time::{Duration, OffsetDateTime};

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
    /// It has 1,000 names. Nothing is wrong with that.
    ThousandNames,
    /// It has 10,000 names.
    ManyNames,
    /// It is for `other.test`.
    WrongName,
    /// It has its name as common name of the subject only (RFC 9525, 2: "MUST NOT").
    CommonNameOnly,
    /// Its first label is a wildcard: `*.…`. Nothing is wrong with that.
    Wildcard,
    /// Its wildcard stands one label too high: two labels would have to fit it.
    WildcardTooHigh,
    /// It is for the address 127.0.0.1 only.
    AddressOnly,
    /// The certificate of the authority above it ended twelve days ago.
    ExpiredIntermediate,
    /// Its authority was certified by a root that nobody knows, and by ours as well; both certificates are sent. Nothing is wrong with that.
    CrossSigned,
    /// Our root was certified by an older one that ended twelve days ago; both certificates are sent. Nothing is wrong with that.
    ExpiredRoot,
    /// It says that it may sign others.
    MaySign,
    /// Its last third is missing.
    Truncated,
    /// One bit of its signature is flipped.
    BitFlipped,
    /// Its name goes on behind a NUL: `…\0.evil.test`.
    NulInName,
    /// Ten authorities stand between it and the root.
    LongChain,
    /// Its key is Ed25519. Nothing is wrong with that.
    Ed25519,
    /// Its key is of the curve P-384. Nothing is wrong with that.
    P384,
    /// Its key is of the curve P-521. Nothing is wrong with that.
    P521,
    /// Its key is RSA of 2,048 bits. Nothing is wrong with that.
    Rsa2048,
    /// The list of revoked certificates that it points at cannot be had.
    ListUnreachable,
    /// What is stapled to it is no OCSP response.
    JunkStapled,
}

/// Every flaw with the name by which it is asked for.
pub const FLAWS: &[(&str, Flaw)] = &[
    ("good", Flaw::None),
    ("expired", Flaw::Expired),
    ("not-yet-valid", Flaw::NotYetValid),
    ("wrong-name", Flaw::WrongName),
    ("common-name-only", Flaw::CommonNameOnly),
    ("wildcard", Flaw::Wildcard),
    ("wildcard-too-high", Flaw::WildcardTooHigh),
    ("wildcard-partial", Flaw::PartialWildcard),
    ("wildcard-top-level", Flaw::TopLevelWildcard),
    ("address-only", Flaw::AddressOnly),
    ("address-as-name", Flaw::AddressAsName),
    ("nameless", Flaw::Nameless),
    ("nul-in-name", Flaw::NulInName),
    ("thousand-names", Flaw::ThousandNames),
    ("self-signed", Flaw::SelfSigned),
    ("unknown-root", Flaw::UnknownRoot),
    ("missing-intermediate", Flaw::MissingIntermediate),
    ("expired-intermediate", Flaw::ExpiredIntermediate),
    ("cross-signed", Flaw::CrossSigned),
    ("expired-root", Flaw::ExpiredRoot),
    ("long-chain", Flaw::LongChain),
    ("path-too-long", Flaw::PathTooLong),
    ("name-constraint", Flaw::NameConstraint),
    ("not-for-servers", Flaw::NotForServers),
    ("may-sign", Flaw::MaySign),
    ("unknown-critical", Flaw::UnknownCritical),
    ("version-1", Flaw::Version1),
    ("serial-zero", Flaw::SerialZero),
    ("sha1", Flaw::Sha1),
    ("md5", Flaw::Md5),
    ("truncated", Flaw::Truncated),
    ("bit-flipped", Flaw::BitFlipped),
    ("ed25519", Flaw::Ed25519),
    ("p384", Flaw::P384),
    ("p521", Flaw::P521),
    ("rsa-2048", Flaw::Rsa2048),
    ("list-unreachable", Flaw::ListUnreachable),
    ("junk-stapled", Flaw::JunkStapled),
];

impl Flaw {
    /// The flaw of that name.
    pub fn named(name: &str) -> Option<Self> {
        FLAWS.iter().find(|(known, _)| *known == name).map(|(_, flaw)| *flaw)
    }
}

/// A key of the kind that the flaw is about.
pub(super) fn key_for(flaw: Flaw) -> Result<KeyPair> {
    Ok(KeyPair::generate_for(match flaw {
        Flaw::Ed25519 => &rcgen::PKCS_ED25519,
        Flaw::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        Flaw::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
        Flaw::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        _ => &rcgen::PKCS_ECDSA_P256_SHA256,
    })?)
}

/// The names of the certificate.
fn names_of(names: &[&str], flaw: Flaw) -> Result<Vec<SanType>> {
    let dns = |name: &str| Ok::<_, rcgen::Error>(SanType::DnsName(Ia5String::try_from(name)?));
    let first = names.first().copied().unwrap_or("nobody");
    let behind = |name: &str| name.split_once('.').map(|(_, rest)| rest.to_owned()).context("a name with a dot");
    let more = |count: u32| (0..count).map(|n| dns(&format!("n{n}.test"))).collect::<Result<Vec<_>, _>>();
    let usual = || names.iter().map(|name| dns(name)).collect::<Result<Vec<_>, _>>();
    Ok(match flaw {
        Flaw::Nameless | Flaw::CommonNameOnly => Vec::new(),
        Flaw::WrongName => vec![dns("other.test")?],
        Flaw::Wildcard => vec![dns(&format!("*.{}", behind(first)?))?],
        Flaw::WildcardTooHigh => vec![dns(&format!("*.{}", behind(&behind(first)?)?))?],
        Flaw::PartialWildcard => vec![dns(&format!("{}*.{}", &first[..1], behind(first)?))?],
        Flaw::TopLevelWildcard => vec![dns(&format!("*.{}", first.rsplit('.').next().unwrap_or_default()))?],
        Flaw::AddressOnly => vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())],
        Flaw::AddressAsName => vec![dns("127.0.0.1")?, dns(first)?],
        Flaw::NulInName => vec![dns(&format!("{first}\0.evil.test"))?],
        Flaw::ThousandNames => [usual()?, more(999)?].concat(),
        Flaw::ManyNames => [usual()?, more(10_000)?].concat(),
        _ => usual()?,
    })
}

/// What stands in the certificate itself. `ends` is when its time is over, where that is not the flaw's to say.
pub(super) fn leaf_params(names: &[&str], flaw: Flaw, ends: Option<OffsetDateTime>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.subject_alt_names = names_of(names, flaw)?;
    // Beside its flaw nothing is wrong with a certificate: a common name is one of its names, or none of a host.
    let common = match (flaw, params.subject_alt_names.first()) {
        (Flaw::CommonNameOnly, _) => names.first().copied().unwrap_or("nobody"),
        (Flaw::NulInName, _) => "a host of the lab",
        (_, Some(SanType::DnsName(name))) => name.as_str(),
        _ => "a host of the lab",
    };
    params.distinguished_name = rcgen::DistinguishedName::new();
    if flaw != Flaw::Nameless {
        params.distinguished_name.push(DnType::CommonName, common);
    }
    params.use_authority_key_identifier_extension = flaw != Flaw::SelfSigned;
    match flaw {
        Flaw::UnknownCritical => {
            let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
            unknown.set_criticality(true);
            params.custom_extensions.push(unknown);
        }
        Flaw::SerialZero => params.serial_number = Some(SerialNumber::from_slice(&[0])),
        Flaw::MaySign => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        Flaw::ListUnreachable => {
            params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://crl.unreachable.lab.test/list.crl".into()] }];
        }
        _ => {}
    }
    let (now, day) = (OffsetDateTime::now_utc(), Duration::days(1));
    (params.not_before, params.not_after) = match (flaw, ends) {
        (_, Some(ends)) => (ends.min(now) - day, ends),
        (Flaw::Expired, None) => (now - day * 90, now - day * 12),
        (Flaw::NotYetValid, None) => (now + day * 12, now + day * 90),
        (_, None) => (now - day, now + day * 90),
    };
    params.extended_key_usages = match flaw {
        Flaw::NotForServers => vec![ExtendedKeyUsagePurpose::ClientAuth],
        _ => vec![ExtendedKeyUsagePurpose::ServerAuth],
    };
    Ok(params)
}
