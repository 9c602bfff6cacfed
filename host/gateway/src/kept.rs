//! What the gateway learns beside its mail, in one JSON file each: read at the start, and written a little after it changed.

use serde::de::DeserializeOwned;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Reads the file; nothing is known where there is none, or one that cannot be read, which is then moved aside and said.
pub(crate) fn open<T: DeserializeOwned + Default>(path: &Path) -> (T, Option<String>) {
    match std::fs::read(path).map(|json| serde_json::from_slice(&json)) {
        Ok(Ok(known)) => (known, None),
        Ok(Err(error)) => {
            let aside = path.with_extension("damaged");
            let _ = std::fs::rename(path, &aside);
            (T::default(), Some(format!("{} was damaged ({error}) and is now {}", path.display(), aside.display())))
        }
        Err(_) => (T::default(), None),
    }
}

/// Puts the file in the place of the one before: whole, or not at all.
pub(crate) fn write(path: &Path, json: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(json)?;
    file.as_file().sync_data()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Calls `save` again and again until `stop`, and once more at the end.
pub(crate) async fn saving(every: Duration, stop: CancellationToken, save: impl Fn()) {
    loop {
        let last = tokio::select! {
            () = tokio::time::sleep(every) => false,
            () = stop.cancelled() => true,
        };
        save();
        if last {
            return;
        }
    }
}
