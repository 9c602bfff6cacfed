//! Who vouches for a policy: Ed25519 signatures over digest, name and version, and a lock that says which component each policy is.
//!
//! With keys configured nothing is loaded that is not signed with one of them and in the lock. Without keys a lock alone still holds
//! components to their digests. Shipped policies are part of this program, and whoever vouches for it vouches for them.

mod key;
mod lock;
mod signature;
mod trouble;

pub use key::{PublicKey, SigningKey};
pub(crate) use key::{pem, write_new};
pub use lock::{Cellar, Change, Lock, Locked, Pinned};
pub use signature::{Signature, Subject};
pub use trouble::Trouble;

use anyhow::Result;
use secmx_policy::manifest::Grant;
use std::path::{Path, PathBuf};

/// What is demanded of every policy that comes from a file.
#[derive(Debug)]
pub struct Trust {
    keys: Vec<PublicKey>,
    path: PathBuf,
    lock: Option<Lock>,
}

impl Trust {
    /// Reads keys and lock. Errors name the file.
    pub fn read(keys: &[PathBuf], lock: &Path) -> Result<Self> {
        let keys = keys.iter().map(|path| PublicKey::read(path)).collect::<Result<_>>()?;
        Ok(Self { keys, path: lock.to_owned(), lock: Lock::read(lock)? })
    }

    /// Who signed a component, where keys are configured. Errors when nobody of them did.
    pub fn signer(&self, component: &Path, subject: &Subject) -> Result<Option<&PublicKey>, Trouble> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        Signature::read(component)?.check(subject, component, &self.keys).map(Some)
    }

    /// Whether the policy `name` may be loaded from these octets with that grant.
    pub fn check(&self, name: &str, component: &Path, octets: &[u8], grant: &Grant) -> Result<(), Trouble> {
        if self.keys.is_empty() && self.lock.is_none() {
            return Ok(());
        }
        let subject = Subject::of(octets, component)?;
        self.signer(component, &subject)?;
        let locked = self.lock.as_ref().and_then(|lock| lock.get(name));
        let locked = locked.ok_or_else(|| Trouble::Unlocked(name.to_owned(), self.path.clone()))?;
        if locked.pinned.sha256 != subject.sha256 {
            let (locked, found) = (locked.pinned.title(), Pinned::new(subject, None).title());
            return Err(Trouble::Other { policy: name.to_owned(), locked, found });
        }
        match grant.beyond(&locked.grant) {
            beyond if beyond.is_empty() => Ok(()),
            beyond => Err(Trouble::Granted(name.to_owned(), beyond.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests;
