//! `[tls]`: who this gateway says it is, and whose word it takes for who others are.

use super::finding::Code;
use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use secmx_core::mail::Domain;
use std::path::PathBuf;
use std::time::Duration;

/// `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `certs`: list of `{ cert = "chain.pem", key = "key.pem" }`, PEM files; the first one is shown to clients. Default none: a
    /// self-signed certificate for a year is made and kept in `paths.state`, and renewed in time, so that STARTTLS is always there (L1-1).
    pub certs: Vec<CertificateFiles>,
    /// `trust`: whose certificates prove who an exchanger is: `"system"`, paths of PEM files, or a list of both. Default `["system"]`.
    pub trust: Vec<Trust>,
    /// `revocation`: `"off"` asks no lists of revoked certificates; `"soft"` refuses a certificate that a list in force names, and takes one
    /// of which nothing is known; `"hard"` takes only one that a list in force leaves out. Default `"soft"`.
    pub revocation: Revocation,
    /// `crls`: lists of revoked certificates, paths or `http://` URLs, read in the background; those that the certificates of exchangers
    /// point at are added by themselves. No mail waits for one. Default none.
    pub crls: Vec<CrlSource>,
    /// `acme`: gets certificates from an ACME authority and renews them (RFC 8555). They are shown after those in `certs`. Default none.
    pub acme: Option<Acme>,
}

/// One entry of `tls.certs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// `cert`: PEM file with the certificate and its chain, end entity first.
    pub cert: PathBuf,
    /// `key`: PEM file with the private key.
    pub key: PathBuf,
}

/// One entry of `tls.trust`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// What the system trusts.
    System,
    /// The certificates in this PEM file.
    File(PathBuf),
}

/// `tls.revocation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// No list is asked.
    Off,
    /// Only what is known to be revoked is refused.
    Soft,
    /// What is not known to be good is refused.
    Hard,
}

impl Setting for Revocation {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("off", Self::Off), ("soft", Self::Soft), ("hard", Self::Hard)])
    }
}

/// One entry of `tls.crls`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CrlSource {
    /// A file, DER or PEM.
    File(PathBuf),
    /// An `http://` URL.
    Url(String),
}

impl Setting for CrlSource {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "the path of a file or an \"http://\" URL";
        let text = node.text(expected)?;
        match text.split_once("://") {
            Some(("http", rest)) if !rest.is_empty() => Ok(Self::Url(text.to_owned())),
            Some(_) => Err(node.refuse(expected)),
            None => PathBuf::read(node).map(Self::File).map_err(|_| node.refuse(expected)),
        }
    }
}

/// `[tls.acme]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// `email`: contact of the account. Default none.
    pub email: Option<String>,
    /// `directory`: `"production"` or `"staging"` of Let's Encrypt, or the `https://` URL of another authority's directory. Default
    /// `"production"`.
    pub directory: String,
    /// `trust`: PEM file with the root certificate of an authority of your own, for talking to its directory. Default: the system's.
    pub trust: Option<PathBuf>,
    /// `challenge`: how control of a name is shown: `"tls-alpn-01"` on `web.https` (RFC 8737) or `"http-01"` on `web.http` (RFC 8555, 8.3).
    /// Default `"tls-alpn-01"`.
    pub challenge: Challenge,
    /// `names`: what the certificate is for. Default `hostname`, and `mta-sts.` before each of `domains` when `publish.mta_sts` is on.
    pub names: Vec<Domain>,
    /// `renew_before`: how long before its end a certificate is renewed. At most two thirds of
    /// its time. Default: a third.
    pub renew_before: Option<Duration>,
    /// `reuse_key`: whether a renewal keeps the key, so that a TLSA record `3 1 1` stays right. Default `true`.
    pub reuse_key: bool,
}

/// How control of a name is shown to an ACME authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Challenge {
    /// A certificate with a digest in it (RFC 8737).
    #[default]
    TlsAlpn01,
    /// A file over HTTP (RFC 8555, 8.3).
    Http01,
}

impl Setting for Challenge {
    fn read(node: &Node) -> Result<Self, Refusal> {
        node.choice(&[("tls-alpn-01", Self::TlsAlpn01), ("http-01", Self::Http01)])
    }
}

impl Tls {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let certs = section.tables("certs", read_pair).into_iter().flatten().collect();
        let acme = section.optional_table("acme", Acme::read);
        let revocation = section.or("revocation", Revocation::Soft);
        Self { trust: read_trust(section), revocation, crls: read_crls(section), acme, certs }
    }
}

/// A file that cannot be read is no fault of the configuration: the gateway starts with another certificate and says so, since STARTTLS must
/// not vanish with a key. `secmx check` tells.
pub(super) fn read_pair(section: &mut Section<'_>) -> Option<CertificateFiles> {
    let present = (section.required::<PathBuf>("cert").is_some(), section.required::<PathBuf>("key").is_some());
    let (true, true) = present else { return None };
    Some(CertificateFiles { cert: section.path("cert")?, key: section.path("key")? })
}

fn read_crls(section: &mut Section<'_>) -> Vec<CrlSource> {
    let span = section.span_of("crls");
    let base = section.reader.base(span);
    let named: Vec<CrlSource> = section.or("crls", Vec::new());
    let at_base = named.into_iter().map(|source| match source {
        CrlSource::File(path) => CrlSource::File(base.join(path)),
        url @ CrlSource::Url(_) => url,
    });
    at_base.collect()
}

fn read_trust(section: &mut Section<'_>) -> Vec<Trust> {
    let span = section.span_of("trust");
    let trust: Option<Vec<Anchor>> = section.optional("trust");
    let base = section.reader.base(span);
    let named = trust.unwrap_or_else(|| vec![Anchor("system".into())]).into_iter().map(|Anchor(name)| match name.to_str() {
        Some("system") => Trust::System,
        _ => Trust::File(base.join(name)),
    });
    let named: Vec<Trust> = named.collect();
    for anchor in &named {
        if let Trust::File(path) = anchor {
            section.reader.must_open(span, path);
        }
    }
    named
}

/// `"system"` or a path.
struct Anchor(PathBuf);

impl Setting for Anchor {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let expected = "\"system\" or the path of a PEM file";
        node.text(expected)?;
        PathBuf::read(node).map(Self).map_err(|_| node.refuse(expected))
    }
}

impl Acme {
    fn read(section: &mut Section<'_>) -> Self {
        let directory = section.or("directory", "production".to_owned());
        if !["production", "staging"].contains(&directory.as_str()) && !directory.starts_with("https://") {
            let message = "`tls.acme.directory`: expected \"production\", \"staging\" or a URL that begins with https://";
            section.reader.error(section.span_of("directory"), Code::Value, message);
        }
        let trust = section.path("trust");
        if let Some(path) = &trust {
            section.reader.must_open(section.span_of("trust"), path);
        }
        Self {
            email: section.optional("email"),
            directory,
            trust,
            challenge: section.or("challenge", Challenge::default()),
            names: section.or("names", Vec::new()),
            renew_before: section.optional("renew_before"),
            reuse_key: section.or("reuse_key", true),
        }
    }
}
