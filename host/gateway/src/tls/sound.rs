//! What RFC 5280 and the CA/Browser Forum's baseline forbid in a certificate, and webpki does not look at. Each function looks at one
//! certificate of a path that is otherwise good, and says what is wrong with it.

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::{BasicExtension, X509Certificate};
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension, SubjectAlternativeName};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION};
use x509_parser::oid_registry::{OID_SIG_ED25519, Oid};
use x509_parser::prelude::{FromDer, X509Version};
use x509_parser::public_key::PublicKey;

/// RFC 5280, 4.1.2.2: "Conforming CAs MUST NOT use serialNumber values longer than 20 octets."
const SERIAL_OCTETS_MAX: usize = 20;

/// Bits of an RSA key at least.
const RSA_BITS_MIN: usize = 2048;

/// Names in one certificate; one with more is a burden on whoever checks it, and names no host of its own.
const NAMES_MAX: usize = 1000;

/// What is wrong with the certificate of a host.
pub(super) fn leaf(der: &CertificateDer<'_>) -> Result<(), String> {
    let certificate = parse(der)?;
    let extensions = any(&certificate)?;
    serial(&certificate)?;
    identifiers(&certificate, &extensions, false)?;
    if extensions.basic.as_ref().is_some_and(|basic| basic.value.ca) {
        return flaw("is one of an authority, not of a host");
    }
    if extensions.usage.is_some_and(KeyUsage::key_cert_sign) {
        return flaw("claims to sign certificates");
    }
    if extensions.constraints.is_some() {
        return flaw("constrains names, which is for authorities (RFC 5280, 4.2.1.10)");
    }
    match &extensions.purposes {
        None => return flaw("does not say that it is for servers (extended key usage)"),
        Some(purposes) if purposes.critical => return flaw("marks its extended key usage critical"),
        Some(purposes) if purposes.value.any => return flaw("is for any purpose, which is none"),
        Some(_) => {}
    }
    let subject = certificate.subject().iter().next().is_some();
    match &extensions.names {
        None => flaw("names no host as a subject alternative name"),
        Some(names) if names.critical == subject => flaw("marks its names critical, or not, against RFC 5280, 4.2.1.6"),
        Some(names) if names.value.general_names.len() > NAMES_MAX => flaw("has more than 1000 names"),
        Some(_) => Ok(()),
    }
}

/// What is wrong with the names of a certificate that matched one of them.
pub(super) fn names(der: &CertificateDer<'_>) -> Result<(), String> {
    let certificate = parse(der)?;
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return flaw("names no host") };
    // Baseline requirements, 7.1.4.3: a common name is one of the alternative names, character by character.
    let listed = |common: &str| {
        names.value.general_names.iter().any(|name| match name {
            GeneralName::DNSName(name) => *name == common,
            GeneralName::IPAddress(octets) => address(octets).is_some_and(|address| address.to_string() == common),
            _ => false,
        })
    };
    let mut common = certificate.subject().iter_common_name().map(|name| name.as_str().unwrap_or("."));
    if let Some(common) = common.find(|common| (common.contains(['.', ':']) || common.starts_with("0x")) && !listed(common)) {
        return flaw(&format!("has the common name {common:?}, which is not among its names"));
    }
    let bad = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => (!is_host(name)).then(|| (*name).to_owned()),
        GeneralName::Invalid(..) => Some("a name that cannot be read".to_owned()),
        _ => None,
    });
    bad.map_or(Ok(()), |name| flaw(&format!("names {name:?}, which is no host")))
}

fn address(octets: &[u8]) -> Option<std::net::IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from)).ok()
}

/// What is wrong with the certificate of an authority on the way.
pub(super) fn intermediate(der: &CertificateDer<'_>) -> Result<(), String> {
    let certificate = parse(der)?;
    let extensions = any(&certificate)?;
    serial(&certificate)?;
    identifiers(&certificate, &extensions, true)?;
    authority(&certificate, &extensions)
}

/// What is wrong with the certificate of an authority that is trusted.
pub(super) fn anchor(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), String> {
    let certificate = parse(der)?;
    let extensions = any(&certificate)?;
    authority(&certificate, &extensions)?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if seconds < validity.not_before.timestamp() || seconds > validity.not_after.timestamp() {
        return flaw("comes from an authority whose own certificate is not valid now");
    }
    if extensions.purposes.is_some() {
        return flaw("comes from a root that limits its purposes");
    }
    if let Some(key) = &extensions.issuer_key {
        let whole = key.value.key_identifier.is_some() && key.value.authority_cert_issuer.is_none();
        let own = key.value.key_identifier.as_ref().map(|key| key.0) == extensions.own_key;
        let self_issued = certificate.subject() == certificate.issuer();
        if !whole || key.value.authority_cert_serial.is_some() || (self_issued && !own) {
            return flaw("comes from a root whose key identifiers do not fit");
        }
    } else if certificate.subject() != certificate.issuer() {
        return flaw("comes from an authority that does not say which key signed it");
    }
    Ok(())
}

/// Whether issuer and subject are one, such as when an authority changes its key (RFC 5280, 6.1): it does not count for lengths.
pub(super) fn is_self_issued(der: &CertificateDer<'_>) -> bool {
    parse(der).is_ok_and(|certificate| certificate.subject().as_raw() == certificate.issuer().as_raw())
}

/// Extensions that are looked at, each once.
#[derive(Default)]
struct Extensions<'a> {
    basic: Option<BasicExtension<&'a x509_parser::extensions::BasicConstraints>>,
    usage: Option<&'a KeyUsage>,
    purposes: Option<BasicExtension<&'a x509_parser::extensions::ExtendedKeyUsage<'a>>>,
    names: Option<BasicExtension<&'a SubjectAlternativeName<'a>>>,
    constraints: Option<BasicExtension<&'a x509_parser::extensions::NameConstraints<'a>>>,
    issuer_key: Option<BasicExtension<&'a x509_parser::extensions::AuthorityKeyIdentifier<'a>>>,
    own_key: Option<&'a [u8]>,
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => flaw("cannot be read"),
    }
}

fn flaw<T>(what: &str) -> Result<T, String> {
    Err(format!("its certificate, or one of its chain, {what}"))
}

/// What holds for every certificate; its extensions, gone through once.
fn any<'a>(certificate: &'a X509Certificate<'_>) -> Result<Extensions<'a>, String> {
    if certificate.version() != X509Version::V3 {
        return flaw("is not of version 3");
    }
    if certificate.issuer().iter().next().is_none() {
        return flaw("names no issuer");
    }
    key(certificate)?;
    if certificate.extensions_map().is_err() {
        return flaw("has an extension twice");
    }
    let mut found = Extensions::default();
    for extension in certificate.extensions() {
        let critical = extension.critical;
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return flaw("has an extension that cannot be read"),
            ParsedExtension::UnsupportedExtension { .. } if critical => return flaw("has a critical extension that is not known"),
            ParsedExtension::BasicConstraints(value) => found.basic = Some(BasicExtension::new(critical, value)),
            ParsedExtension::KeyUsage(value) => found.usage = Some(value),
            ParsedExtension::ExtendedKeyUsage(value) => found.purposes = Some(BasicExtension::new(critical, value)),
            ParsedExtension::SubjectAlternativeName(value) => found.names = Some(BasicExtension::new(critical, value)),
            ParsedExtension::NameConstraints(value) => found.constraints = Some(BasicExtension::new(critical, value)),
            ParsedExtension::AuthorityKeyIdentifier(value) if !critical => found.issuer_key = Some(BasicExtension::new(critical, value)),
            ParsedExtension::SubjectKeyIdentifier(value) if !critical => found.own_key = Some(value.0),
            ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::AuthorityInfoAccess(_)
            | ParsedExtension::SubjectInfoAccess(_)
                if critical =>
            {
                return flaw("marks an extension critical that must not be");
            }
            ParsedExtension::PolicyConstraints(_) if !critical => return flaw("has policy constraints that are not critical"),
            _ => {}
        }
    }
    Ok(found)
}

/// RFC 5280, 4.1.2.2: "The serial number MUST be a positive integer assigned by the CA to each certificate." Not asked of an anchor: it is
/// trusted because somebody put it there, and there are roots in use whose number is 0.
fn serial(certificate: &X509Certificate<'_>) -> Result<(), String> {
    let serial = certificate.raw_serial();
    let positive = serial.first().is_some_and(|octet| octet & 0x80 == 0) && serial.iter().any(|octet| *octet != 0);
    let octets = serial.len() - usize::from(serial.first() == Some(&0));
    if !positive || octets > SERIAL_OCTETS_MAX {
        return flaw("has a serial number that is not positive, or too long");
    }
    Ok(())
}

/// RFC 5280, 4.2.1.1: "The keyIdentifier field of the authorityKeyIdentifier extension MUST be included in all certificates generated by
/// conforming CAs"; 4.2.1.2: subject key identifiers "MUST appear in all conforming CA certificates".
fn identifiers(certificate: &X509Certificate<'_>, extensions: &Extensions<'_>, is_authority: bool) -> Result<(), String> {
    let named = extensions.issuer_key.as_ref().is_some_and(|key| key.value.key_identifier.is_some());
    if !named && (!is_authority || certificate.subject() != certificate.issuer()) {
        return flaw("does not say which key signed it");
    }
    Ok(())
}

/// What holds for authorities.
fn authority(certificate: &X509Certificate<'_>, extensions: &Extensions<'_>) -> Result<(), String> {
    match &extensions.basic {
        Some(basic) if basic.critical && basic.value.ca => {}
        _ => return flaw("comes from somebody who is no authority (basic constraints)"),
    }
    if extensions.usage.is_some_and(|usage| !usage.key_cert_sign()) {
        return flaw("comes from an authority that may not sign certificates (key usage)");
    }
    if extensions.own_key.is_none() {
        return flaw("comes from an authority whose key has no identifier");
    }
    if certificate.subject().iter().next().is_none() {
        return flaw("comes from an authority without a name");
    }
    match &extensions.constraints {
        Some(constraints) if !constraints.critical => flaw("comes from an authority whose name constraints are not critical"),
        Some(constraints) if constraints.value.permitted_subtrees.is_none() && constraints.value.excluded_subtrees.is_none() => {
            flaw("comes from an authority with name constraints that say nothing")
        }
        Some(constraints) if has_odd_subtree(constraints.value) => flaw("comes from an authority with name constraints that are no names"),
        _ => Ok(()),
    }
}

/// RFC 5280, 4.2.1.10: of a DNS name "zero or more labels" may be added at its left; a dot there is for other kinds of names.
fn has_odd_subtree(constraints: &x509_parser::extensions::NameConstraints<'_>) -> bool {
    let subtrees = constraints.permitted_subtrees.iter().chain(&constraints.excluded_subtrees).flatten();
    subtrees.into_iter().any(|subtree| matches!(subtree.base, GeneralName::DNSName(name) if name.starts_with('.')))
}

/// Whether the certificate of an authority may sign lists of revoked certificates (RFC 5280, 4.2.1.3), and is of that name.
pub(super) fn signs_lists(der: &CertificateDer<'_>, name: &[u8]) -> Option<bool> {
    let certificate = parse(der).ok().filter(|certificate| certificate.subject().as_raw() == name)?;
    let usage = certificate.key_usage().ok().flatten();
    Some(usage.is_none_or(|usage| usage.value.crl_sign()))
}

/// Keys that are strong enough and of a kind that is in use: RSA of 2048 bits and more, P-256, P-384, P-521, Ed25519.
fn key(certificate: &X509Certificate<'_>) -> Result<(), String> {
    let key = certificate.public_key();
    let kind = &key.algorithm.algorithm;
    if *kind == OID_SIG_ED25519 {
        return Ok(());
    }
    if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let known: [Oid<'_>; 3] = [OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521];
        return if curve.is_some_and(|curve| known.contains(&curve)) { Ok(()) } else { flaw("has a key on a curve that is not in use") };
    }
    let bits = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) if *kind == OID_PKCS1_RSAENCRYPTION => modulus_bits(rsa.modulus),
        _ => 0,
    };
    if bits < RSA_BITS_MIN || bits % 8 != 0 {
        return flaw("has a key that is too weak, or of a kind that is not in use");
    }
    Ok(())
}

fn modulus_bits(modulus: &[u8]) -> usize {
    let significant = modulus.iter().skip_while(|octet| **octet == 0).count();
    let first = modulus.iter().find(|octet| **octet != 0).copied().unwrap_or_default();
    significant * 8 - usize::try_from(first.leading_zeros()).unwrap_or_default()
}

/// Whether a `dNSName` is a host, or `*.` before one that is not a public suffix: whoever registers names below a suffix must not speak for
/// his neighbours.
fn is_host(name: &str) -> bool {
    let base = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        let inner = label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_name = base.len() <= 253 && base.split('.').all(label) && base.parse::<std::net::IpAddr>().is_err();
    let is_suffix = || psl::suffix(base.to_ascii_lowercase().as_bytes()).is_some_and(|suffix| suffix.as_bytes().len() == base.len());
    is_name && (base.len() == name.len() || !is_suffix())
}
