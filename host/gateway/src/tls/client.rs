//! TLS towards exchangers: what is asked of the peer, and what it proved (profile, "Evidence and floors").

use super::crl::Revocations;
use super::pkix::{Anchors, Terms};
use super::witness::Witness;
use super::{dane, facts};
use crate::config;
use anyhow::{Context, Result};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use secmx_core::channel::{Channel, Doubt, DoubtKind, Level, Requirement};
use secmx_core::mail::{Domain, MailDomain};
use secmx_core::secmx::dane::Tlsa;
use secmx_core::secmx::exchanger::{Exchanger, ExchangerName};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Sessions that are remembered for each requirement.
const SESSIONS: usize = 256;

/// Opens TLS to peers and says what it proved.
#[derive(Clone)]
pub struct ClientTls {
    anchors: Arc<Anchors>,
    /// Authorities and keys of domains that the operator knows, by the rule that names them.
    private: Arc<BTreeMap<String, Private>>,
    /// One memory of sessions for each requirement: a session never carries over to another one.
    configs: BTreeMap<Level, Arc<ClientConfig>>,
    revocations: Arc<Revocations>,
    revocation: config::Revocation,
}

/// Whom the operator trusts for the domains of one rule, in place of everybody else.
#[derive(Debug, Default)]
struct Private {
    anchors: Anchors,
    pins: Vec<config::Pin>,
}

/// Who the peer ought to be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The host, and what is published about it.
    pub exchanger: &'a Exchanger,
    /// The mail domain.
    pub mail_domain: &'a MailDomain,
    /// The rule whose `trust` and `pins` hold.
    pub rule: Option<&'a str>,
    /// What the channel must reach.
    pub requirement: Requirement,
}

impl ClientTls {
    /// Trusts what the configuration names: the system's anchors, PEM files, or both; and for domains of a rule what that rule names.
    /// Errors when a named file cannot be read.
    pub fn new(config: &config::Tls, rules: &[config::Rule], revocations: Arc<Revocations>) -> Result<Self> {
        let mut roots = Vec::new();
        for anchor in &config.trust {
            match anchor {
                config::Trust::System => roots.extend(rustls_native_certs::load_native_certs().certs),
                config::Trust::File(path) => roots.extend(read(path)?),
            }
        }
        let private = rules.iter().filter(|rule| rule.knows_hosts()).map(|rule| Ok((rule.name.clone(), Private::new(rule)?)));
        let configs = [Level::Plain, Level::Encrypted, Level::Host, Level::Domain].map(|level| Ok((level, Arc::new(session_config()?))));
        Ok(Self {
            anchors: Arc::new(Anchors::new(roots)),
            private: Arc::new(private.collect::<Result<_>>()?),
            configs: configs.into_iter().collect::<Result<_>>()?,
            revocations,
            revocation: config.revocation,
        })
    }

    /// Makes a connection secure to a host that must prove its name, such as one that serves policies, and says whether it does. Errors when
    /// there is no TLS to be had.
    pub(crate) async fn connect_strictly<S>(&self, stream: S, host: &Domain) -> io::Result<(TlsStream<S>, Result<(), Doubt>)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = server_name(host)?;
        let config = self.configs.get(&Level::Host).ok_or_else(|| io::Error::other("no TLS configuration"))?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let proved = self.anchors.verify(chain, &[name], Terms::at(UnixTime::now()));
        Ok((stream, proved))
    }

    fn want(&self, chain: &[CertificateDer<'_>]) {
        if self.revocation != config::Revocation::Off {
            self.revocations.want(chain);
        }
    }

    /// Makes a connection secure. The handshake succeeds whoever the peer is; the channel says who it proved to be. Errors when there is
    /// no TLS to be had. The caller bounds the time.
    pub async fn connect<S>(&self, stream: S, expected: Expected<'_>) -> io::Result<(TlsStream<S>, Channel)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match (&expected.exchanger.name, &expected.exchanger.evidence.tlsa_base) {
            // RFC 7672, 8.1: the server name sent is that under which the TLSA records stand.
            (ExchangerName::Domain(_), Some(base)) => server_name(base)?,
            (ExchangerName::Domain(domain), None) => server_name(domain)?,
            (ExchangerName::Address(address), _) => ServerName::from(*address),
        };
        let config = self.configs.get(&expected.requirement.level()).ok_or_else(|| io::Error::other("no TLS configuration"))?;
        let sent_name = match &name {
            ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
            _ => None,
        };
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let (level, doubt) = match self.judge(chain, expected, UnixTime::now()) {
            Ok(level) => (level, None),
            Err(doubt) => (Level::Encrypted, Some(doubt)),
        };
        let tls = facts::of(stream.get_ref().1, sent_name, doubt);
        Ok((stream, Channel::secured(level, tls)))
    }

    /// The level that the chain proves. Where DANE says something nothing else counts: "MUST NOT … override a failing DANE validation"
    /// (RFC 8461, 2). Where the operator knows the hosts, nobody else's word counts.
    fn judge(&self, chain: &[CertificateDer<'_>], expected: Expected<'_>, now: UnixTime) -> Result<Level, Doubt> {
        let own = match &expected.exchanger.name {
            ExchangerName::Domain(domain) => server_name(domain).ok(),
            ExchangerName::Address(address) => Some(ServerName::from(*address)),
        };
        let mail_name = expected.mail_domain.name().and_then(|domain| server_name(domain).ok());
        let names: Vec<ServerName<'_>> =
            own.into_iter().chain(expected.exchanger.evidence.tlsa_base.as_ref().and_then(|base| server_name(base).ok())).collect();
        let all: Vec<ServerName<'_>> = names.iter().cloned().chain(mail_name.clone()).collect();
        if let Tlsa::Usable(records) = &expected.exchanger.evidence.tlsa {
            return dane::verify(records, chain, &all, now).map(|()| Level::Domain);
        }
        let lists = if self.revocation == config::Revocation::Off { Vec::new() } else { self.revocations.all() };
        let hard = self.revocation == config::Revocation::Hard;
        let terms = Terms { revocations: &lists, unknown_is_revoked: hard, ..Terms::at(now) };
        if let Some(private) = expected.rule.and_then(|rule| self.private.get(rule)) {
            return private.verify(chain, &all, terms).map(|()| Level::Domain);
        }
        if mail_name.is_some_and(|name| self.anchors.verify(chain, &[name], terms).is_ok()) {
            self.want(chain);
            return Ok(Level::Domain);
        }
        let first = names.get(..1).unwrap_or_default();
        self.anchors.verify(chain, first, terms)?;
        self.want(chain);
        match expected.exchanger.name_proves(expected.mail_domain) {
            Level::Plain | Level::Encrypted => Err(Doubt {
                kind: DoubtKind::CertificateHostMismatch,
                text: format!(
                    "its certificate is for {}, which an unsigned SRV record named and nobody vouches for as a host of {}",
                    expected.exchanger.name, expected.mail_domain
                ),
            }),
            level => Ok(level),
        }
    }
}

impl Private {
    fn new(rule: &config::Rule) -> Result<Self> {
        let read: Vec<_> = rule.trust.iter().map(|path| read(path)).collect::<Result<_>>()?;
        Ok(Self { anchors: Anchors::new(read.into_iter().flatten()), pins: rule.pins.clone() })
    }

    /// A pin that matches is enough; else the chain must lead to one of the authorities.
    fn verify(&self, chain: &[CertificateDer<'_>], names: &[ServerName<'_>], terms: Terms<'_>) -> Result<(), Doubt> {
        let leaf = chain.first();
        let pinned = |digest: &[u8]| self.pins.iter().any(|pin| pin.0 == digest);
        let matches =
            leaf.is_some_and(|leaf| pinned(&Sha256::digest(leaf)) || dane::key_of(leaf).is_some_and(|key| pinned(&Sha256::digest(key))));
        if matches {
            return Ok(());
        }
        if self.anchors.is_empty() {
            return Err(Doubt { kind: DoubtKind::CertificateNotTrusted, text: "its key is not one that the operator pinned".into() });
        }
        self.anchors.verify(chain, names, terms)
    }
}

/// A configuration with a memory of its own. TLS 1.2 and 1.3; the provider puts X25519MLKEM768 first.
fn session_config() -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(super::provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Witness)).with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().with_context(|| format!("cannot read trust anchors from {}", path.display()))
}

fn server_name(name: &Domain) -> io::Result<ServerName<'static>> {
    ServerName::try_from(name.as_str().to_owned()).map_err(io::Error::other)
}
