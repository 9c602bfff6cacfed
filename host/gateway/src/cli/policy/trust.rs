//! `secmx policy keygen`, `sign`, `verify`, `lock` and `rollback`: who vouches for a policy, and which one is in force.

use super::super::Exit;
use super::super::command::Origin;
use super::project;
use super::tell;
use crate::config::{Component, Config, Policy};
use crate::signing::{Cellar, Change, Lock, Pinned, PublicKey, Signature, SigningKey, Subject, Trouble, Trust};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
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

/// Makes a pair of keys. One object, schema `secmx/policy-keygen/v1`.
pub(super) fn keygen(name: &Path, sealing: bool, json: bool) -> Result<Exit> {
    let file = |ending: &str| PathBuf::from(format!("{}.{ending}", name.display()));
    let (secret, open) = (file("key"), file("pub"));
    let public = if sealing {
        crate::replay::make_keys(&secret, &open)?
    } else {
        let key = SigningKey::generate()?;
        let public = key.public()?;
        key.write(&secret)?;
        public.write(&open)?;
        public.to_string()
    };
    let object = json!({ "schema": "secmx/policy-keygen/v1", "secret_file": secret, "public_file": open, "public": public });
    tell(json, &object, &format!("made {} (keep it secret) and {}   {public}\n", secret.display(), open.display()))
}

/// A component, or that of a folder.
fn component(path: &Path) -> Result<(PathBuf, Vec<u8>, Subject)> {
    let path = project::component(path)?;
    let octets = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let subject = Subject::of(&octets, &path)?;
    Ok((path, octets, subject))
}

/// Signs a component. One object, schema `secmx/policy-sign/v1`.
pub(super) fn sign(path: &Path, key: &Path, json: bool) -> Result<Exit> {
    let (path, _, subject) = component(path)?;
    let signature = Signature::make(&subject, &SigningKey::read(key)?)?;
    let file = Signature::beside(&path);
    fs::write(&file, signature.to_text()).with_context(|| format!("cannot write {}", file.display()))?;
    let object = with_subject(json!({ "schema": "secmx/policy-sign/v1", "key": signature.key, "signature": file }), &subject);
    tell(json, &object, &format!("{} {}   signed with {}   {}\n", subject.name, subject.version, signature.key, file.display()))
}

/// The object with name, version and digest of a component.
fn with_subject(mut object: Value, subject: &Subject) -> Value {
    let Subject { name, version, sha256 } = subject;
    (object["name"], object["version"], object["sha256"]) = (json!(name), json!(version), json!(sha256));
    object
}

/// Checks the signature of a component. One object, schema `secmx/policy-verify/v1`.
pub(super) fn verify(path: &Path, keys: &[PathBuf], json: bool) -> Result<Exit> {
    let (path, _, subject) = component(path)?;
    let keys = keys.iter().map(|key| PublicKey::read(key)).collect::<Result<Vec<_>>>()?;
    let signer = Signature::read(&path).and_then(|signature| signature.check(&subject, &path, &keys).cloned());
    let (key, trouble) = (signer.as_ref().ok().map(ToString::to_string), signer.as_ref().err().map(ToString::to_string));
    let object = json!({ "schema": "secmx/policy-verify/v1", "ok": signer.is_ok(), "key": key, "trouble": trouble });
    let text = match &signer {
        Ok(key) => format!("{} {}   signed with {key}   sha256 {}\n", subject.name, subject.version, subject.sha256),
        Err(trouble) => format!("{trouble}\n"),
    };
    tell(json, &with_subject(object, &subject), &text)?;
    Ok(if signer.is_ok() { Exit::Yes } else { Exit::No })
}

/// Policies that come from files, with their paths.
fn from_files(config: &Config) -> impl Iterator<Item = (&Policy, &Path)> {
    config.policy.iter().filter_map(|policy| match &policy.component {
        Component::File(path) => Some((policy, path.as_path())),
        Component::Shipped(_) => None,
    })
}

/// Takes the policies of a configuration into its lock. One object, schema `secmx/policy-lock/v1`.
pub(super) fn lock(from: &Origin, json: bool) -> Result<Exit> {
    let config = super::configuration(from.config.as_deref())?;
    let path = &config.policies.lock;
    let trust = Trust::read(&config.policies.keys, path)?;
    let mut lock = Lock::read(path)?.unwrap_or_default();
    let (cellar, mut text, mut changes) = (Cellar::of(path), String::new(), Vec::new());
    let named: Vec<&str> = from_files(&config).map(|(policy, _)| policy.name.as_str()).collect();
    for gone in lock.policies.extract_if(.., |locked| !named.contains(&locked.name.as_str())) {
        let _ = writeln!(text, "- {:<20} {}   no longer in the configuration", gone.name, gone.pinned.title());
        changes.push(json!({ "name": gone.name, "change": "gone", "was": gone.pinned }));
    }
    for (policy, place) in from_files(&config) {
        let (_, octets, subject) = component(place)?;
        let signer = trust.signer(place, &subject)?.map(ToString::to_string);
        cellar.keep(place, &octets, &subject.sha256)?;
        let by = signer.as_ref().map_or("not signed".to_owned(), |key| format!("signed with {key}"));
        let pinned = Pinned::new(subject, signer);
        let title = pinned.title();
        let change = lock.put(&policy.name, pinned.clone(), policy.grant.grant());
        let (mark, word, how) = match &change {
            Change::New => ("+", "new", "new".to_owned()),
            Change::Same => ("=", "same", "as it was".to_owned()),
            Change::Grant => ("~", "grant", "what it is granted changed".to_owned()),
            Change::From(old) => ("~", "component", format!("was {}", old.title())),
        };
        let was = if let Change::From(old) = &change { Some(old) } else { None };
        changes.push(json!({ "name": policy.name, "change": word, "is": pinned, "was": was }));
        let _ = writeln!(text, "{mark} {:<20} {title}   {by}   {how}", policy.name);
    }
    lock.write(path)?;
    let object = json!({ "schema": "secmx/policy-lock/v1", "lock": path, "policies": changes });
    tell(json, &object, &format!("{text}wrote {}\n", path.display()))
}

/// Goes back to the version before. One object, schema `secmx/policy-rollback/v1`.
pub(super) fn rollback(name: &str, from: &Origin, json: bool) -> Result<Exit> {
    let config = super::configuration(from.config.as_deref())?;
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
    let object = json!({ "schema": "secmx/policy-rollback/v1", "name": name, "component": place, "is": before, "was": now });
    let text =
        format!("{name}: {} is back in {}, in place of {}\nnext: secmx policy reload\n", before.title(), place.display(), now.title());
    tell(json, &object, &text)
}
