//! Certificates from an ACME authority (RFC 8555): one order at a time, kept in the state directory.
//!
//! The key outlives the certificate, so that a TLSA record `3 1 1` stays right over renewals, and the key that will follow lies ready, so
//! that its record can be published before it is used (RFC 7671, 8.1).

use super::challenges::Challenges;
use crate::config::{Acme, Challenge, Config};
use crate::tls::{Identity, write_private};
use anyhow::{Context, Result, bail};
use instant_acme::{
    Account, AccountCredentials, AuthorizationHandle, AuthorizationStatus, ChallengeType, Identifier, LetsEncrypt, NewAccount, NewOrder,
    OrderStatus, RetryPolicy,
};
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the authority may take to look, and to issue.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where what ACME needs and gives is kept: `acme.json` (the account), `acme.pem` (chain and key), `next.key` (the key that will follow).
#[derive(Debug, Clone)]
pub struct AcmeFolder(PathBuf);

impl AcmeFolder {
    /// The folder below the state directory.
    pub fn of(config: &Config) -> Self {
        Self(config.paths.state.join("tls"))
    }

    /// Chain and key in one file, so that they are replaced together.
    pub fn identity(&self) -> PathBuf {
        self.0.join("acme.pem")
    }

    /// The key of the certificate after a rotation.
    pub fn next_key(&self) -> PathBuf {
        self.0.join("next.key")
    }

    fn account(&self) -> PathBuf {
        self.0.join("acme.json")
    }

    /// There while the next order is to change the key.
    fn rotation(&self) -> PathBuf {
        self.0.join("rotate")
    }

    /// When there must be another certificate: at once when there is none, when it is for other names, or when a rotation is wanted.
    pub(super) fn due(&self, acme: &Acme, names: &[String]) -> Timestamp {
        let path = self.identity();
        let Ok(identity) = Identity::load(&path, &path) else { return Timestamp::MIN };
        let certificate = identity.certificate();
        if self.rotation().exists() || names.iter().any(|name| !certificate.dns_names.contains(name)) {
            return Timestamp::MIN;
        }
        let Ok((begin, end)) = identity.validity() else { return Timestamp::MIN };
        let third = Duration::from_secs(u64::try_from(end.saturating_sub(begin) / 3).unwrap_or_default());
        let end = Timestamp::from_second(end).unwrap_or(Timestamp::MAX);
        // Never so early that a new one were due at once.
        let early = SignedDuration::try_from(acme.renew_before.unwrap_or(third).min(third * 2)).unwrap_or(SignedDuration::MAX);
        end.checked_sub(early).unwrap_or(Timestamp::MIN)
    }

    /// The key to certify: the one in use, unless it is to change. The second value tells whether it is the one that lay ready.
    fn key(&self, acme: &Acme) -> Result<(KeyPair, bool)> {
        let read = |path: &Path| -> Option<KeyPair> { KeyPair::from_pem(&key_block(&fs::read_to_string(path).ok()?)?).ok() };
        let keeps = acme.reuse_key && !self.rotation().exists();
        if keeps && let Some(key) = read(&self.identity()) {
            return Ok((key, false));
        }
        Ok(read(&self.next_key()).map_or_else(|| KeyPair::generate().map(|key| (key, true)), |key| Ok((key, true)))?)
    }

    /// Puts the certificate in place, and another key ready when the last one was taken.
    fn put(&self, chain: &str, key: &KeyPair, was_next: bool) -> Result<()> {
        let path = self.identity();
        let draft = path.with_extension("draft");
        write_private(&draft, format!("{chain}\n{}", key.serialize_pem()).as_bytes())?;
        Identity::load(&draft, &draft).context("the authority issued what cannot be used")?;
        if was_next || !self.next_key().exists() {
            write_private(&self.next_key(), KeyPair::generate()?.serialize_pem().as_bytes())?;
        }
        fs::rename(&draft, &path).with_context(|| format!("cannot write {}", path.display()))?;
        match fs::remove_file(self.rotation()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot end the rotation"),
            _ => Ok(()),
        }
    }
}

/// Makes the next order take the key that lies ready. A running gateway begins within seconds.
pub fn rotate(config: &Config) -> Result<()> {
    let folder = AcmeFolder::of(config);
    if config.tls.acme.is_none() {
        bail!("`tls.acme` is not set: keys of certificates in `tls.certs` are rotated by whoever writes those files");
    }
    if !folder.identity().exists() {
        bail!("there is no certificate yet whose key could change");
    }
    write_private(&folder.rotation(), b"")
}

/// The private key of a PEM file that may hold certificates too.
fn key_block(pem: &str) -> Option<String> {
    let begin = pem.find("-----BEGIN PRIVATE KEY-----")?;
    Some(pem.get(begin..)?.to_owned())
}

/// Gets a certificate for `names`. The answers to the authority's questions are up while it asks. Errors say at which step.
pub(super) async fn order(acme: &Acme, names: &[String], folder: &AcmeFolder, challenges: &Challenges) -> Result<()> {
    fs::create_dir_all(&folder.0).with_context(|| format!("cannot create {}", folder.0.display()))?;
    let account = account(acme, folder).await.context("no account at the authority")?;
    let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await.context("the order was refused")?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.context("no word on a name")?;
        match authorization.status {
            AuthorizationStatus::Valid => {}
            AuthorizationStatus::Pending => answer(acme.challenge, &mut authorization, challenges).await?,
            other => bail!("the authority says {other:?} of a name"),
        }
    }
    let patience = RetryPolicy::new().timeout(PATIENCE);
    match order.poll_ready(&patience).await.context("the names were not shown to be ours")? {
        OrderStatus::Ready => {}
        _ => bail!("the names were not shown to be ours: {}", refusal(&mut order).await),
    }
    let (key, was_next) = folder.key(acme)?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    order.finalize_csr(request.der()).await.context("the request for the certificate was refused")?;
    let chain = order.poll_certificate(&patience).await.context("no certificate was issued")?;
    folder.put(&chain, &key, was_next)
}

/// Puts up the answer, and tells the authority to look.
async fn answer<'a>(kind: Challenge, authorization: &'a mut AuthorizationHandle<'a>, challenges: &Challenges) -> Result<()> {
    let wanted = match kind {
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Challenge::Http01 => ChallengeType::Http01,
    };
    let mut challenge = authorization.challenge(wanted).context("the authority does not offer this `tls.acme.challenge`")?;
    let key = challenge.key_authorization();
    match kind {
        Challenge::Http01 => challenges.put_file(&challenge.token, key.as_str()),
        Challenge::TlsAlpn01 => challenges.put_certificate(&challenge.identifier().to_string(), key.digest().as_ref())?,
    }
    challenge.set_ready().await.context("the authority did not begin to look")
}

/// What the authority has against a name, in its words.
async fn refusal(order: &mut instant_acme::Order) -> String {
    let mut said = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let problems = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        said.extend(problems.map(ToString::to_string));
    }
    if said.is_empty() { "the authority gave no reason".to_owned() } else { said.join("; ") }
}

/// The account that is kept, or a new one.
async fn account(acme: &Acme, folder: &AcmeFolder) -> Result<Account> {
    let builder = || match &acme.trust {
        Some(root) => Account::builder_with_root(root),
        None => Account::builder(),
    };
    if let Ok(kept) = fs::read(folder.account())
        && let Ok(credentials) = serde_json::from_slice::<AccountCredentials>(&kept)
        && let Ok(account) = builder()?.from_credentials(credentials).await
    {
        return Ok(account);
    }
    let directory = match acme.directory.as_str() {
        "production" => LetsEncrypt::Production.url().to_owned(),
        "staging" => LetsEncrypt::Staging.url().to_owned(),
        url => url.to_owned(),
    };
    let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder()?.create(&new, directory, None).await?;
    write_private(&folder.account(), &serde_json::to_vec(&credentials)?)?;
    Ok(account)
}
