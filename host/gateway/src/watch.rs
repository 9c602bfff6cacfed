//! Files of policies, keys and lists that change are taken over without anybody asking.
//!
//! Directories are watched, because an editor's save, or a mounted volume, puts another file in the place of the old one. A save is several
//! events, and a half-written file is no policy: nothing is read before it has been quiet for a moment, nothing is loaded whose digest is
//! the old one, and what does not load leaves the old generation in force.

use crate::config::{Component, Config};
use crate::generation::Current;
use crate::log::Log;
use crate::reload::Reloader;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use secmx_core::report::Event;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long nothing must happen before files are read.
const QUIET: Duration = Duration::from_millis(250);

/// Events after which files are read though it was never quiet.
const PATIENCE: usize = 100;

/// What a file held, or that it cannot be read.
type Digests = BTreeMap<PathBuf, Option<[u8; 32]>>;

/// Looks out for changes.
pub(crate) struct Lookout {
    pub(crate) current: Current,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) log: Log,
}

impl Lookout {
    /// Looks out until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let news = Arc::new(Notify::new());
        let teller = Arc::clone(&news);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file, as we do ourselves, changes nothing. What went wrong may be a change that was missed.
            if event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_))) {
                teller.notify_one();
            }
        });
        let mut folders = match watcher {
            Ok(watcher) => Folders { watcher, watched: BTreeSet::new() },
            Err(error) => return self.warn(&error),
        };
        let mut seen = self.digests().await;
        loop {
            if let Err(error) = folders.follow(seen.keys()) {
                self.warn(&error);
            }
            tokio::select! {
                () = news.notified() => {}
                () = self.reloader.moved() => {}
                () = stop.cancelled() => return,
            }
            for _ in 0..PATIENCE {
                if timeout(QUIET, news.notified()).await.is_err() {
                    break;
                }
            }
            let found = self.digests().await;
            // A file that a reload named for the first time was read by it.
            let changed = found.iter().any(|(path, digest)| seen.get(path).is_some_and(|old| old != digest));
            seen = found;
            if changed {
                let reloader = Arc::clone(&self.reloader);
                // The log says what came of it.
                let _ = tokio::task::spawn_blocking(move || drop(reloader.again())).await;
            }
        }
    }

    async fn digests(&self) -> Digests {
        let files = files(&self.current.load().config);
        let read = move || files.into_iter().map(|path| (path.clone(), digest(&path).ok())).collect();
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    fn warn(&self, error: &notify::Error) {
        let text = format!("changed policies and lists are not noticed, `secmx policy reload` loads them: {error}");
        self.log.write(&Event::Warning { text });
    }
}

/// Directories that are watched.
struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    /// Watches those of these files, and no others. Errors with the first that cannot be watched.
    fn follow<'a>(&mut self, files: impl Iterator<Item = &'a PathBuf>) -> notify::Result<()> {
        let wanted: BTreeSet<PathBuf> = files.map(|file| folder(file)).collect();
        for gone in self.watched.difference(&wanted) {
            // It may have been removed, which ends the watch too.
            let _ = self.watcher.unwatch(gone);
        }
        let new: Vec<PathBuf> = wanted.difference(&self.watched).cloned().collect();
        self.watched = wanted;
        new.iter().try_for_each(|folder| self.watcher.watch(folder, RecursiveMode::NonRecursive))
    }
}

fn folder(file: &Path) -> PathBuf {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Files that a generation is made of, the configuration's own apart.
fn files(config: &Config) -> Vec<PathBuf> {
    let components = config.policy.iter().filter_map(|policy| match &policy.component {
        Component::File(path) => Some(path.clone()),
        Component::Shipped(_) => None,
    });
    let signatures = config.policies.keys.iter().chain([&config.policies.lock]).cloned();
    let signers = config.dkim.keys.iter().map(|key| key.key.clone());
    let lists = config.list.values().filter_map(|list| list.file.clone());
    components.chain(signatures).chain(signers).chain(lists).collect()
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().into())
}
