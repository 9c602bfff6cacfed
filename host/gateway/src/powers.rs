//! What policies may ask the gateway for, by grant: its resolver, and a memory that survives a restart.

use crate::dns::Dns;
use crate::kept;
use anyhow::{Context, Result};
use secmx_core::secmx::discovery::Answer;
use secmx_policy::{Answering, Book, Lookup, NoAnswer, Resolver};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long what a policy kept may stay in memory only.
const SAVED_EVERY: Duration = Duration::from_secs(1);

/// The resolver, as policies ask it.
pub struct Asked(pub Dns);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

impl Resolver for Asked {
    fn look_up<'a>(&'a self, name: &'a str, kind: &'a str) -> Answering<'a> {
        Box::pin(async move {
            let told = self.0.presented(name, kind).await;
            match told.answer {
                Answer::Found(values) => Ok(Lookup { values, secure: told.secure }),
                Answer::None | Answer::Denied => Err(NoAnswer::None),
                Answer::Unknown(_) => Err(NoAnswer::Unavailable),
                Answer::Bogus(_) => Err(NoAnswer::Bogus),
            }
        })
    }
}

/// The file of what policies keep, below the state directory.
#[derive(Debug, Clone)]
pub struct Kept {
    path: PathBuf,
}

impl Kept {
    /// Reads it; nothing was kept where there is none. Errors name the file.
    pub fn open(state: &Path) -> Result<(Self, Arc<Book>)> {
        let kept = Self { path: state.join("policies").join("store.json") };
        let book = match fs::read(&kept.path) {
            Ok(json) => Book::from_json(&json)
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("{} is damaged; move it away and policies start with an empty store", kept.path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Book::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", kept.path.display())),
        };
        Ok((kept, Arc::new(book)))
    }

    /// Writes it whenever it has changed, and once more at the end. A write that fails is tried again at the next.
    pub async fn keep(self, book: Arc<Book>, stop: CancellationToken) {
        let mut saved = book.version();
        loop {
            let last = tokio::select! {
                () = tokio::time::sleep(SAVED_EVERY) => false,
                () = stop.cancelled() => true,
            };
            let version = book.version();
            if version != saved {
                let (json, path) = (book.to_json(), self.path.clone());
                let written = tokio::task::spawn_blocking(move || kept::write(&path, &json)).await;
                saved = if matches!(written, Ok(Ok(()))) { version } else { saved };
            }
            if last {
                return;
            }
        }
    }
}
