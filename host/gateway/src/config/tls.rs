//! `[tls]`: who this gateway says it is, and whose word it takes for who others are.

use super::finding::Code;
use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use std::path::PathBuf;

/// `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `certs`: list of `{ cert = "chain.pem", key = "key.pem" }`, PEM files; the first one is shown to clients. Default none: a
    /// self-signed certificate is made and kept in `paths.state`, so that STARTTLS is always there (L1-1).
    pub certs: Vec<CertificateFiles>,
    /// `trust`: whose certificates prove who an exchanger is: `"system"`, paths of PEM files, or a list of both. Default `["system"]`.
    pub trust: Vec<Trust>,
    /// `revocation`: `"off"` asks no lists of revoked certificates; `"soft"` refuses a certificate that a list in force names, and takes one
    /// of which nothing is known; `"hard"` takes only one that a list in force leaves out. Default `"soft"`.
    pub revocation: Revocation,
    /// `crls`: lists of revoked certificates, paths or `http://` URLs, read in the background; those that the certificates of exchangers
    /// point at are added by themselves. No mail waits for one. Default none.
    pub crls: Vec<CrlSource>,
    /// `acme`: accepted, so that a configuration can be written once; not built yet. Default none.
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
    /// `email`: contact of the account.
    pub email: Option<String>,
    /// `directory`: `production`, `staging` or a URL. Default `production`.
    pub directory: String,
    /// `challenge`: `tls-alpn-01`, `http-01` or `dns-01`. Default `tls-alpn-01`.
    pub challenge: String,
}

impl Tls {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let certs = section.tables("certs", read_pair).into_iter().flatten().collect::<Vec<_>>();
        let acme = section.optional_table("acme", |section| Acme::read(section, certs.is_empty()));
        let revocation = section.or("revocation", Revocation::Soft);
        Self { trust: read_trust(section), revocation, crls: read_crls(section), acme, certs }
    }
}

fn read_pair(section: &mut Section<'_>) -> Option<CertificateFiles> {
    let present = (section.required::<PathBuf>("cert").is_some(), section.required::<PathBuf>("key").is_some());
    let (true, true) = present else { return None };
    let (cert, key) = (section.path("cert")?, section.path("key")?);
    section.reader.must_open(section.span_of("cert"), &cert);
    section.reader.must_open(section.span_of("key"), &key);
    Some(CertificateFiles { cert, key })
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
    fn read(section: &mut Section<'_>, alone: bool) -> Self {
        let instead = if alone { "a self-signed certificate is in use" } else { "the files in `tls.certs` are in use" };
        section.reader.warn(section.span, Code::NotBuilt, format!("ACME is not built yet; {instead}"));
        Self {
            email: section.optional("email"),
            directory: section.or("directory", "production".to_owned()),
            challenge: section.or("challenge", "tls-alpn-01".to_owned()),
        }
    }
}
