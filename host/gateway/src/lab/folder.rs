//! The directory of a lab that other programs are pointed at: its authority and its DNSSEC anchor stay the same from run to run.

use anyhow::{Context, Result};
use secmx_lab::ca::Authority;
use secmx_lab::ground::{Ground, Keys};
use std::fs;
use std::path::{Path, PathBuf};

/// The directory.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens it, and makes it when it is not there.
    pub fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot make the directory {}", path.display()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// The keys, made when they are not there.
    pub fn keys(&self) -> Result<Keys> {
        let (authority, anchor) = (self.path.join("ca-key.pem"), self.path.join("anchor.pk8"));
        if !authority.exists() || !anchor.exists() {
            let keys = Keys::new()?;
            self.put("ca-key.pem", keys.authority.as_bytes())?;
            self.put("anchor.pk8", &keys.anchor)?;
        }
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Keys { authority: String::from_utf8(read(&authority)?).context("ca-key.pem is no PEM")?, anchor: read(&anchor)? })
    }

    /// The authority alone.
    pub fn authority(&self) -> Result<Authority> {
        let authority = self.keys()?.authority()?;
        self.put("ca.pem", authority.root_pem().as_bytes())?;
        Ok(authority)
    }

    /// Writes what senders are to be given.
    pub fn write(&self, ground: &Ground) -> Result<()> {
        self.put("ca.pem", ground.authority.root_pem().as_bytes())?;
        self.put("anchor.key", ground.dns.anchor().as_bytes())?;
        self.put("revoked.crl", &ground.revocation_list()?)
    }

    fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }
}
