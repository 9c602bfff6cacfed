//! Why a policy is not trusted, and what to do about it.

use std::fmt;
use std::path::PathBuf;

/// What is wrong; each has a number that never changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// P401: there is no signature, and keys are configured.
    Unsigned(PathBuf),
    /// P402: the file of the signature, or of the lock, is not one.
    Unreadable(PathBuf, String),
    /// P403: the component was changed after it was signed.
    Changed(PathBuf),
    /// P404: signed with a key that is not configured.
    Stranger(PathBuf, String),
    /// P405: the signature is not that key's.
    Forged(PathBuf),
    /// P406: the lock does not name it.
    Unlocked(String, PathBuf),
    /// P407: the lock names another component under its name.
    Other {
        /// Name of the `[[policy]]`.
        policy: String,
        /// Version and digest in the lock.
        locked: String,
        /// Version and digest of the file.
        found: String,
    },
    /// P408: the configuration grants more than was locked.
    Granted(String, String),
    /// P409: nothing is embedded, so that there is no name and version to sign.
    Nameless(PathBuf),
    /// P409: it is no component.
    NoComponent(PathBuf, String),
    /// P410: there is nothing to go back to.
    NoPrevious(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(path) => {
                let path = path.display();
                write!(
                    f,
                    "P401 {path} is not signed, and with [policies] keys it must be: `secmx policy sign {path} --key KEY` makes {path}.sig"
                )
            }
            Self::Unreadable(path, why) => {
                let advice = match path.extension().is_some_and(|ending| ending == "sig") {
                    true => "take the one that its author made, or have the component signed anew",
                    false => "put back what was there, or move it away and look at what `secmx policy lock` takes in",
                };
                write!(f, "P402 {} cannot be used ({why}): {advice}", path.display())
            }
            Self::Changed(path) => {
                let path = path.display();
                write!(f, "P403 {path} is not what was signed: if you changed it, sign it again (`secmx policy sign {path} --key KEY`)")
            }
            Self::Stranger(path, key) => {
                write!(
                    f,
                    "P404 {} is signed with {key}, which is none of the keys that were named ([policies] keys, --key): name the .pub file of that key, or have it signed with one of yours",
                    path.display()
                )
            }
            Self::Forged(path) => {
                write!(
                    f,
                    "P405 {}: the signature does not fit name, version and digest; do not use it, and ask its author for both files anew",
                    path.display()
                )
            }
            Self::Unlocked(policy, lock) => write!(
                f,
                "P406 policy {policy} is not in {}: look at it (`secmx policy inspect`), then `secmx policy lock` takes it in",
                lock.display()
            ),
            Self::Other { policy, locked, found } => write!(
                f,
                "P407 policy {policy} is {found}, and the lock has {locked}: `secmx policy lock` takes the new one in, `secmx policy rollback {policy}` brings the old one back"
            ),
            Self::Granted(policy, beyond) => {
                write!(f, "P408 policy {policy} is granted more than the lock has: take away {beyond}, or `secmx policy lock` takes it in")
            }
            Self::Nameless(path) => {
                write!(f, "P409 {} has no name and version in it: build it with `secmx policy build`", path.display())
            }
            Self::NoComponent(path, why) => write!(f, "P409 {} is no policy ({why}): build it with `secmx policy build`", path.display()),
            Self::NoPrevious(policy) => write!(
                f,
                "P410 policy {policy}: the lock knows no version before this one; from now on it keeps the one before whenever `secmx policy lock` takes in another"
            ),
        }
    }
}

impl std::error::Error for Trouble {}
