//! What one transaction or delivery works with, all of one piece: a configuration and what was built from it (invariant 7).
//!
//! A reload builds a new generation aside and moves a pointer; whoever holds the old one finishes with it.

use crate::authentication::Authenticator;
use crate::config::Config;
use crate::dkim::Signers;
use crate::dns::Dns;
use crate::journal::Journals;
use crate::lens;
use crate::logins::Logins;
use crate::powers::Asked;
use crate::recipients::RecipientList;
use crate::tls::{ClientTls, Identity, Revocations, ServerTls};
use crate::users::Users;
use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use secmx_policy::{PolicySet, Runtime};
use std::sync::Arc;

/// A configuration in force, with everything that is made from it.
pub struct Generation {
    /// The settings.
    pub config: Config,
    /// The policies, loaded and checked.
    pub policies: PolicySet,
    /// SHA-256 of each certificate that clients are shown.
    pub certificates: Vec<[u8; 32]>,
    /// TLS towards clients.
    pub server_tls: ServerTls,
    /// TLS towards exchangers.
    pub client_tls: ClientTls,
    /// The resolver.
    pub dns: Dns,
    /// Who finds out who wrote mail from outside.
    pub(crate) authenticator: Authenticator,
    /// Who signs mail that leaves.
    pub(crate) signers: Signers,
    /// Where copies of messages are kept.
    pub(crate) journals: Journals,
    /// Who may authenticate.
    pub users: Option<Arc<Users>>,
    /// Who is there to be written to; everybody when it is not known.
    pub recipients: Option<RecipientList>,
    /// Who we are to hosts that the configuration names.
    pub logins: Logins,
}

/// The generation in force. Readers take it once and keep it for as long as they work on one thing.
pub type Current = Arc<ArcSwap<Generation>>;

impl Generation {
    /// Builds everything that `config` asks for, with these certificates to show. On an error nothing that is in force has changed. Compiles
    /// policies: blocks for a while. What is known of revoked certificates outlives it.
    pub fn build(config: Config, runtime: &Runtime, identities: &[Identity], revocations: &Arc<Revocations>) -> Result<Self> {
        let dns = Dns::new(&config.dns)?;
        let sources = config.policy_sources(Some(Arc::new(Asked(dns.clone()))))?;
        let policies = PolicySet::load(runtime, sources).context("policies")?;
        if config.reload.rehearse {
            policies.rehearse().context("policies")?;
        }
        Ok(Self {
            policies: policies.through(lens::of(&config)?),
            certificates: identities.iter().map(Identity::sha256).collect(),
            server_tls: ServerTls::new(identities)?,
            client_tls: ClientTls::new(&config.tls, &config.send.rules, Arc::clone(revocations))?,
            signers: Signers::load(&config)?,
            journals: Journals::new(&config),
            authenticator: Authenticator::new(&config)?,
            dns,
            users: users(&config)?,
            recipients: recipients(&config)?,
            logins: Logins::load(&config)?,
            config,
        })
    }

    /// What is wrong with what `config` names, found without changing anything.
    pub fn check(config: &Config, runtime: &Runtime) -> Vec<anyhow::Error> {
        let findings = [
            configured_identities(config).map(drop),
            users(config).map(drop),
            recipients(config).map(drop),
            Logins::load(config).map(drop),
            Signers::load(config).map(drop),
            ClientTls::new(&config.tls, &config.send.rules, Arc::default()).map(drop),
            Dns::new(&config.dns).map(drop),
            lens::of(config).map(drop),
            config.policy_sources(None).and_then(|sources| {
                let policies = PolicySet::load(runtime, sources)?;
                if config.reload.rehearse { policies.rehearse().map_err(Into::into) } else { Ok(()) }
            }),
        ];
        findings.into_iter().filter_map(Result::err).collect()
    }
}

fn configured_identities(config: &Config) -> Result<Vec<Identity>> {
    config.tls.certs.iter().map(|pair| Identity::load(&pair.cert, &pair.key)).collect()
}

fn users(config: &Config) -> Result<Option<Arc<Users>>> {
    config.auth.users.as_deref().map(|path| Users::load(path).map(Arc::new).context("auth.users")).transpose()
}

fn recipients(config: &Config) -> Result<Option<RecipientList>> {
    config.recipients.list.as_deref().map(|path| RecipientList::load(path).context("recipients.list")).transpose()
}
