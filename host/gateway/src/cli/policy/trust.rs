//! `secmx policy keygen`, `sign`, `verify`, `lock` and `rollback`: who vouches for a policy, and which one is in force.

use super::super::command::Origin;
use super::super::{Exit, say};
use super::project::Project;
use crate::config::{Component, Config, Finding, Policy};
use crate::signing::{Cellar, Change, Lock, PublicKey, Signature, SigningKey, Subject, Trouble, Trust};
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Below the help of `keygen`.
pub(super) const KEYGEN: &str = "\
NAME.key signs: keep it away from the gateway. NAME.pub goes into [policies] keys. With --sealing, NAME.key opens messages that were kept
for replays; what NAME.pub holds goes into [replay] seal_for.

Examples
  secmx policy keygen policy-team
  secmx policy keygen replays --sealing";

/// Below the help of `sign`.
pub(super) const SIGN: &str = "\
The signature covers the component's digest, and the name and version in it. It lies beside the component, in NAME.wasm.sig.

Example: secmx policy sign no-secrets.wasm --key policy-team.key";

/// Below the help of `verify`.
pub(super) const VERIFY: &str = "\
Ends with 0 when one of the keys signed exactly this component, with 1 when not.

Example: secmx policy verify no-secrets.wasm --key policy-team.pub";

/// Below the help of `lock`.
pub(super) const LOCK: &str = "\
Takes every [[policy]] that comes from a file into policies.lock, as it lies there now: version, digest, who signed it, what it is
granted. Look at what changed before the gateway loads it. The version before is kept: `secmx policy rollback NAME`.

Example: secmx policy lock -c /etc/secmx/secmx.toml";

/// Below the help of `rollback`.
pub(super) const ROLLBACK: &str = "\
Puts the component that was locked before back in its place, with its signature. A second time it goes forward again.

Example: secmx policy rollback no-secrets -c /etc/secmx/secmx.toml";

/// Makes a pair of keys.
pub(super) fn keygen(name: &Path, sealing: bool) -> Result<Exit> {
    let file = |ending: &str| PathBuf::from(format!("{}.{ending}", name.display()));
    if sealing {
        let public = crate::replay::make_keys(&file("key"), &file("pub"))?;
        return say(&format!("made {} (keep it secret) and {}   {public}\n", file("key").display(), file("pub").display()));
    }
    let key = SigningKey::generate()?;
    let public = key.public()?;
    key.write(&file("key"))?;
    public.write(&file("pub"))?;
    say(&format!("made {} (keep it secret) and {}   {public}\n", file("key").display(), file("pub").display()))
}

/// A component, or that of a folder.
fn component(path: &Path) -> Result<(PathBuf, Vec<u8>, Subject)> {
    let path = if path.is_dir() { Project::open(path)?.component() } else { path.to_owned() };
    let octets = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let subject = Subject::of(&octets, &path)?;
    Ok((path, octets, subject))
}

/// Signs a component.
pub(super) fn sign(path: &Path, key: &Path) -> Result<Exit> {
    let (path, _, subject) = component(path)?;
    let signature = Signature::make(&subject, &SigningKey::read(key)?)?;
    let file = Signature::beside(&path);
    fs::write(&file, signature.to_text()).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("{} {}   signed with {}   {}\n", subject.name, subject.version, signature.key, file.display()))
}

/// Checks the signature of a component.
pub(super) fn verify(path: &Path, keys: &[PathBuf]) -> Result<Exit> {
    let (path, _, subject) = component(path)?;
    let keys = keys.iter().map(|key| PublicKey::read(key)).collect::<Result<Vec<_>>>()?;
    match Signature::read(&path).and_then(|signature| signature.check(&subject, &path, &keys).cloned()) {
        Ok(key) => say(&format!("{} {}   signed with {key}   sha256 {}\n", subject.name, subject.version, subject.sha256)),
        Err(trouble) => {
            say(&format!("{trouble}\n"))?;
            Ok(Exit::No)
        }
    }
}

fn configuration(from: &Origin) -> Result<Config> {
    let loaded = Config::load(from.config.as_deref());
    let words = |findings: Vec<Finding>| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    loaded.map(|(config, _)| config).map_err(|findings| anyhow::anyhow!(words(findings)))
}

/// Policies that come from files, with their paths.
fn from_files(config: &Config) -> impl Iterator<Item = (&Policy, &Path)> {
    config.policy.iter().filter_map(|policy| match &policy.component {
        Component::File(path) => Some((policy, path.as_path())),
        Component::Shipped(_) => None,
    })
}

/// Takes the policies of a configuration into its lock.
pub(super) fn lock(from: &Origin) -> Result<Exit> {
    let config = configuration(from)?;
    let path = &config.policies.lock;
    let trust = Trust::read(&config.policies.keys, path)?;
    let mut lock = Lock::read(path)?.unwrap_or_default();
    let (cellar, mut text) = (Cellar::of(path), String::new());
    let named: Vec<&str> = from_files(&config).map(|(policy, _)| policy.name.as_str()).collect();
    for gone in lock.policies.extract_if(.., |locked| !named.contains(&locked.name.as_str())) {
        let _ = writeln!(text, "- {:<20} {}   no longer in the configuration", gone.name, gone.pinned.title());
    }
    for (policy, place) in from_files(&config) {
        let (_, octets, subject) = component(place)?;
        let signer = trust.signer(place, &subject)?.map(ToString::to_string);
        cellar.keep(place, &octets, &subject.sha256)?;
        let by = signer.as_ref().map_or("not signed".to_owned(), |key| format!("signed with {key}"));
        let pinned = crate::signing::Pinned::new(subject, signer);
        let title = pinned.title();
        let (mark, how) = match lock.put(&policy.name, pinned, policy.grant.grant()) {
            Change::New => ("+", "new".to_owned()),
            Change::Same => ("=", "as it was".to_owned()),
            Change::Grant => ("~", "what it is granted changed".to_owned()),
            Change::From(old) => ("~", format!("was {}", old.title())),
        };
        let _ = writeln!(text, "{mark} {:<20} {title}   {by}   {how}", policy.name);
    }
    lock.write(path)?;
    say(&format!("{text}wrote {}\n", path.display()))
}

/// Goes back to the version before.
pub(super) fn rollback(name: &str, from: &Origin) -> Result<Exit> {
    let config = configuration(from)?;
    let Some((policy, place)) = from_files(&config).find(|(policy, _)| policy.name == name) else {
        bail!("no [[policy]] from a file is named {name:?}");
    };
    let path = &config.policies.lock;
    let mut lock = Lock::read(path)?.unwrap_or_default();
    let locked = lock.get(name).ok_or_else(|| Trouble::Unlocked(name.to_owned(), path.clone()))?;
    let (now, before) = (locked.pinned.clone(), locked.previous.first().cloned().ok_or_else(|| Trouble::NoPrevious(name.to_owned()))?);
    Cellar::of(path).bring_back(&before.sha256, place)?;
    lock.put(&policy.name, before.clone(), policy.grant.grant());
    lock.write(path)?;
    say(&format!("{name}: {} is back in {}, in place of {}\nnext: secmx policy reload\n", before.title(), place.display(), now.title()))
}
