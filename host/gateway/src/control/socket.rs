//! The socket itself: made so that nobody can open it before it has its permissions, and gone when the gateway is.

use crate::config::Config;
use anyhow::{Context, Result, bail};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// A socket that is listened on.
pub struct Socket {
    listener: UnixListener,
    path: Placed,
}

/// The name of a socket in the file system. It is removed with this value.
pub(super) struct Placed(PathBuf);

impl Drop for Placed {
    fn drop(&mut self) {
        // Somebody else may have removed it; then there is nothing to be done.
        let _ = fs::remove_file(&self.0);
    }
}

impl Socket {
    /// Listens. One that a gateway left behind when it was killed is replaced; one that answers is not.
    pub async fn bind(config: &Config) -> Result<Self> {
        let (path, control) = (&config.socket(), &config.control);
        let cannot = || format!("control.socket: cannot listen on {}", path.display());
        if UnixStream::connect(path).await.is_ok() {
            bail!("{}: another gateway answers there", cannot());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).with_context(cannot)?;
        // Nobody but this user gets into the directory where the socket is born.
        let nursery = tempfile::Builder::new().prefix(".s").rand_bytes(4).tempdir_in(folder).with_context(cannot)?;
        let born = nursery.path().join("s");
        let listener = UnixListener::bind(&born).map_err(too_long).with_context(cannot)?;
        if let Some(name) = &control.group {
            let group = uzers::get_group_by_name(name).with_context(|| format!("control.group: there is no group `{name}`"))?;
            std::os::unix::fs::chown(&born, None, Some(group.gid()))
                .with_context(|| format!("control.group: the socket cannot be given to `{name}`"))?;
        }
        fs::set_permissions(&born, Permissions::from_mode(control.mode)).with_context(cannot)?;
        fs::rename(&born, path).with_context(cannot)?;
        Ok(Self { listener, path: Placed(path.clone()) })
    }

    pub(super) fn into_parts(self) -> (UnixListener, Placed) {
        (self.listener, self.path)
    }
}

/// A path of a socket has some hundred octets at most; the system says no more than "invalid".
fn too_long(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput => io::Error::new(error.kind(), "the path is too long for a socket; set `control.socket`"),
        _ => error,
    }
}
