//! A private directory of compiled code. Only what this gateway put there, unchanged, is taken from it; all else is compiled again.
//!
//! A file is a keyed hash and the code. Its name is the SHA-256 of component, engine and version, and the hash covers the name, so that a
//! file moved to another name proves nothing. Nothing here is needed: the directory may be emptied at any time.

use super::native::Native;
use super::seal::{KEY_OCTETS, MAC_OCTETS, Seal};
use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Error, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// The file of the key.
const KEY: &str = "key";

/// How names of files with code end.
const ENDING: &str = ".code";

/// An open cache.
pub(super) struct Cache {
    folder: PathBuf,
    seal: Seal,
    octets_max: u64,
}

/// What the cache has under a name.
pub(super) enum Found {
    Code(Native),
    Nothing,
    /// Something that is not ours, or not as we left it: why.
    Refused(String),
}

impl Cache {
    /// Opens the cache in `folder`, which is made when it is missing and is to hold at most `octets_max`. Errors when somebody else could
    /// write to it.
    pub(super) fn open(folder: &Path, octets_max: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        private(&fs::symlink_metadata(folder)?, "the directory")?;
        Ok(Self { folder: folder.to_owned(), seal: Seal::new(key(folder)?), octets_max })
    }

    /// Takes what lies there, if it is ours and whole.
    pub(super) fn get(&self, name: &str) -> Found {
        let path = self.path(name);
        let read = || -> io::Result<(File, Vec<u8>)> {
            let mut file = File::open(&path)?;
            let mut octets = Vec::new();
            file.read_to_end(&mut octets)?;
            Ok((file, octets))
        };
        let (file, mut octets) = match read() {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => return Found::Nothing,
            Err(error) => return Found::Refused(error.to_string()),
        };
        if octets.len() < MAC_OCTETS {
            return Found::Refused("it is cut short".to_owned());
        }
        let code = octets.split_off(MAC_OCTETS);
        let Some(native) = Native::from_our_cache(&self.seal, name, &octets, code) else {
            return Found::Refused("it is not as this gateway left it".to_owned());
        };
        // The time tells what is used least; a cache on a read-only disk works without.
        let _ = file.set_modified(SystemTime::now());
        Found::Code(native)
    }

    /// Puts code under a name, whole or not at all, and takes away what was used longest ago when there is too much.
    pub(super) fn put(&self, name: &str, native: &Native) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(&self.seal.mac(name, native.octets()))?;
        file.write_all(native.octets())?;
        file.persist(self.path(name)).map_err(|error| error.error)?;
        self.shrink()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{ENDING}"))
    }

    fn shrink(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have taken it away by now.
            let Ok(metadata) = entry.metadata() else { continue };
            if entry.file_name().to_string_lossy().ends_with(ENDING) {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, octets, _)| octets).sum();
        for (_, octets, path) in files {
            if total <= self.octets_max {
                break;
            }
            let _ = fs::remove_file(path);
            total = total.saturating_sub(octets);
        }
        Ok(())
    }
}

/// The key of the cache, made when there is none.
fn key(folder: &Path) -> io::Result<[u8; KEY_OCTETS]> {
    let path = folder.join(KEY);
    if !path.exists() {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(&rand::random::<[u8; KEY_OCTETS]>())?;
        match file.persist_noclobber(&path) {
            // Another process was faster: its key it is.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
            Ok(_) => {}
        }
    }
    let mut file = OpenOptions::new().read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32).open(&path)?;
    private(&file.metadata()?, "its key")?;
    let mut key = [0; KEY_OCTETS];
    file.read_exact(&mut key)?;
    Ok(key)
}

/// Nobody but us may do anything with it.
fn private(metadata: &Metadata, what: &str) -> io::Result<()> {
    if metadata.is_symlink() || metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        let text = format!("{what} is not this user's alone: it must be no link, have this owner, and give nothing to group and others");
        return Err(Error::new(ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn opened() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&folder.path().join("compiled"), 100).expect("opens");
        (folder, cache)
    }

    fn code(octets: &[u8]) -> Native {
        Native::from_our_compiler(octets.to_vec())
    }

    fn refusal(cache: &Cache, name: &str) -> Option<String> {
        match cache.get(name) {
            Found::Refused(why) => Some(why),
            Found::Code(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn what_was_put_is_there_for_the_next_who_opens_it() {
        let (folder, cache) = opened();
        assert!(matches!(cache.get("a"), Found::Nothing));
        cache.put("a", &code(b"code")).expect("written");
        let again = Cache::open(&folder.path().join("compiled"), 100).expect("opens");
        assert!(matches!(again.get("a"), Found::Code(native) if native.octets() == b"code"));
    }

    /// S8, decision 5: a changed octet anywhere, a cut at any length, another name, another cache's key.
    #[test]
    fn nothing_is_taken_that_is_not_as_it_was_put() {
        let (_folder, cache) = opened();
        cache.put("a", &code(b"code")).expect("written");
        let whole = fs::read(cache.path("a")).expect("there");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(cache.path("a"), changed).expect("written");
            assert!(refusal(&cache, "a").is_some(), "octet {at}");
            fs::write(cache.path("a"), &whole[..at]).expect("written");
            assert!(refusal(&cache, "a").is_some(), "cut to {at}");
        }
        fs::write(cache.path("b"), &whole).expect("written");
        assert!(refusal(&cache, "b").is_some(), "moved");
        let (_other, foreign) = opened();
        fs::write(foreign.path("a"), &whole).expect("written");
        assert!(refusal(&foreign, "a").is_some(), "of another machine");
        fs::write(cache.path("a"), &whole).expect("written");
        assert!(matches!(cache.get("a"), Found::Code(_)));
    }

    #[test]
    fn a_directory_that_others_can_reach_is_not_used() {
        let (folder, _) = opened();
        let path = folder.path().join("compiled");
        fs::set_permissions(path.join(KEY), fs::Permissions::from_mode(0o640)).expect("set");
        assert!(Cache::open(&path, 100).is_err_and(|error| error.to_string().starts_with("its key is not this user's alone")));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        assert!(Cache::open(&path, 100).is_err_and(|error| error.to_string().starts_with("the directory is not")));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(Cache::open(&link, 100).is_err());
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (_folder, cache) = opened();
        for (at, name) in ["old", "older"].into_iter().enumerate() {
            cache.put(name, &code(&[0; 10])).expect("written");
            let file = File::options().write(true).open(cache.path(name)).expect("there");
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(10 - at as u64)).expect("set");
        }
        cache.put("new", &code(&[0; 10])).expect("written");
        let there = |name| matches!(cache.get(name), Found::Code(_));
        assert_eq!((there("new"), there("old"), there("older")), (true, true, false));
    }
}
