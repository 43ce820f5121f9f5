//! The token by which programs of the same user get in on this machine, without anybody typing it.
//!
//! It is new at each start, never kept in the database, and lies in a file that its user alone can read; whoever can
//! read that could read the gateway's database as well. The file's name is the port, so several gateways have several.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::secret::{Secret, TOKEN_PREFIX};

/// Longest file that is read as one of these, in bytes.
const FILE_MAX: u64 = 256;

/// The folders where such files may be, the best first: of the user's session, of the system's service, of the user.
pub fn folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let session = variable("XDG_RUNTIME_DIR").map(|folder| folder.join("meshward"));
    let home = variable("HOME").map(|folder| folder.join(".local/state/meshward"));
    session.into_iter().chain([PathBuf::from("/run/meshward")]).chain(home).collect()
}

fn file(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("{port}.token"))
}

/// The file while the gateway runs; it goes with this.
#[derive(Debug)]
pub struct LocalToken {
    path: PathBuf,
}

impl LocalToken {
    /// Writes the file for a port into the first folder that takes it.
    ///
    /// # Errors
    /// What the last folder said, when none of them takes it.
    pub fn write(folders: &[PathBuf], port: u16, secret: &Secret) -> io::Result<Self> {
        let mut refused = io::Error::from(io::ErrorKind::NotFound);
        for folder in folders {
            match write(folder, port, secret) {
                Ok(path) => return Ok(Self { path }),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalToken {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the local token's file stays");
        }
    }
}

fn write(folder: &Path, port: u16, secret: &Secret) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (path, new) = (file(folder, port), folder.join(format!(".{port}.token.new")));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Never there with other rights, nor half written.
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(written, "{}", secret.reveal_token())?;
    fs::rename(&new, &path)?;
    Ok(path)
}

/// The token that a gateway at this port of this machine has left for its user.
pub fn find(folders: &[PathBuf], port: u16) -> Option<String> {
    folders.iter().find_map(|folder| {
        let path = file(folder, port);
        let short = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= FILE_MAX);
        let text = short.then(|| fs::read_to_string(&path).ok()).flatten()?;
        let text = text.trim();
        text.starts_with(TOKEN_PREFIX).then(|| text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_its_users_alone_and_goes_with_the_gateway() {
        let folder = tempfile::tempdir().unwrap();
        // A file is no folder: the next one is taken.
        let (bad, good) = (folder.path().join("file/x"), folder.path().join("a/meshward"));
        fs::write(folder.path().join("file"), "").unwrap();
        let folders = [bad, good];
        let (old, secret) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_eq!(find(&folders, 8080), None);
        let first = LocalToken::write(&folders, 8080, &old).unwrap();
        let token = LocalToken::write(&folders, 8080, &secret).unwrap();
        assert_eq!(find(&folders, 8080), Some(secret.reveal_token()));
        assert_eq!(find(&folders, 8081), None);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(token.path()), mode(token.path().parent().unwrap())), (0o600, 0o700));
        drop(token);
        assert_eq!(find(&folders, 8080), None);
        drop(first);
        fs::write(folders[1].join("8080.token"), "x".repeat(1_000)).unwrap();
        assert_eq!(find(&folders, 8080), None);
        assert!(LocalToken::write(&folders[..1], 8080, &secret).is_err());
    }
}
