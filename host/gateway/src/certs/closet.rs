//! The certificates there are to show, and which of their files changed since they were last looked at.

use super::acme::AcmeFolder;
use crate::config::{CertificateFiles, Config};
use crate::tls::Identity;
use anyhow::Result;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What to show, best first, and what could not be used, in words.
#[derive(Debug, Clone)]
pub struct Outfit {
    /// Never empty.
    pub identities: Vec<Identity>,
    /// One sentence for each certificate that could not be used.
    pub troubles: Vec<String>,
}

/// Remembers what was read, so that a file that breaks later does not take away what it held.
#[derive(Debug, Default)]
pub struct Closet {
    good: HashMap<PathBuf, Identity>,
    seen: HashMap<PathBuf, Stamp>,
}

/// What tells one content of a file from another without reading it.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Closet {
    /// Reads everything that `config` names. Errors only when not even a self-signed certificate can be made.
    pub fn gather(&mut self, config: &Config) -> Result<Outfit> {
        let mut outfit = Outfit { identities: Vec::new(), troubles: Vec::new() };
        for pair in pairs(config) {
            self.seen.insert(pair.cert.clone(), stamp(&pair.cert));
            self.seen.insert(pair.key.clone(), stamp(&pair.key));
            match Identity::load(&pair.cert, &pair.key) {
                Ok(identity) => {
                    self.good.insert(pair.cert.clone(), identity.clone());
                    outfit.identities.push(identity);
                }
                Err(error) => {
                    let kept = self.good.get(&pair.cert).cloned();
                    let instead = if kept.is_some() { "the one that was read before stays in use" } else { "another one is shown instead" };
                    outfit.troubles.push(format!("{error:#}; {instead}"));
                    outfit.identities.extend(kept);
                }
            }
        }
        if outfit.identities.is_empty() {
            let folder = config.paths.state.join("tls");
            outfit.identities.push(Identity::self_signed(config.hostname.as_str(), &folder)?);
        }
        Ok(outfit)
    }

    /// Whether a file that [`Closet::gather`] would read is another one than it was, or is there that was not.
    pub fn has_changed(&self, config: &Config) -> bool {
        let files = pairs(config).into_iter().flat_map(|pair| [pair.cert, pair.key]);
        files.into_iter().any(|file| self.seen.get(&file) != Some(&stamp(&file)))
    }
}

/// Chain and key of everything but the self-signed one. What ACME issued lies in one file, and is left out before there is any.
fn pairs(config: &Config) -> Vec<CertificateFiles> {
    let issued = config.tls.acme.as_ref().map(|_| AcmeFolder::of(config).identity()).filter(|path| path.exists());
    let issued = issued.map(|path| CertificateFiles { cert: path.clone(), key: path });
    config.tls.certs.iter().cloned().chain(issued).collect()
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_lab::ca::Authority;

    fn config(folder: &Path) -> Config {
        let at = |name: &str| folder.join(name).display().to_string();
        let text = format!(
            "hostname = \"mx.test\"\n[paths]\nstate = \"{}\"\n[tls]\ncerts = [{{ cert = \"{}\", key = \"{}\" }}]\n",
            at("state"),
            at("chain.pem"),
            at("key.pem"),
        );
        Config::parse("test.toml", &text).expect("reads well").0
    }

    fn write(folder: &Path, authority: &Authority) {
        let identity = authority.issue(&["mx.test"]).expect("issued");
        fs::write(folder.join("chain.pem"), identity.chain_pem()).expect("written");
        fs::write(folder.join("key.pem"), identity.key_pem()).expect("written");
    }

    #[test]
    fn l1_1_a_lost_key_never_leaves_nothing_to_show() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let mut fresh = Closet::default();
        let outfit = fresh.gather(&config).expect("self-signed");
        assert_eq!((outfit.identities.len(), outfit.troubles.len()), (1, 1), "{:?}", outfit.troubles);
        assert!(outfit.troubles[0].contains("chain.pem") && outfit.troubles[0].contains("another one is shown"), "{:?}", outfit.troubles);

        let authority = Authority::new("lab").expect("a root");
        write(folder.path(), &authority);
        assert!(fresh.has_changed(&config), "the files are there now");
        let good = fresh.gather(&config).expect("reads");
        assert!(good.troubles.is_empty() && !fresh.has_changed(&config), "{:?}", good.troubles);

        fs::remove_file(folder.path().join("key.pem")).expect("removed");
        assert!(fresh.has_changed(&config));
        let kept = fresh.gather(&config).expect("kept");
        assert_eq!(kept.identities[0].certificate(), good.identities[0].certificate(), "what was read before stays");
        assert!(kept.troubles[0].contains("key.pem") && kept.troubles[0].contains("stays in use"), "{:?}", kept.troubles);
        assert!(!fresh.has_changed(&config), "said once");
    }

    #[test]
    fn a_renewed_certificate_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, authority) = (config(folder.path()), Authority::new("lab").expect("a root"));
        write(folder.path(), &authority);
        let mut closet = Closet::default();
        let first = closet.gather(&config).expect("reads");
        write(folder.path(), &authority);
        assert!(closet.has_changed(&config));
        let second = closet.gather(&config).expect("reads");
        assert_ne!(first.identities[0].certificate().sha256, second.identities[0].certificate().sha256);
    }
}
