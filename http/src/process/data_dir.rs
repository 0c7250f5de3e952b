//! The data directory: the root key in `root.env`, and which drives the store is on in `drives`.
//!
//! `Server::prepare` opens it before the drives and writes to it once they are open, so that a start that fails leaves
//! nothing behind. A `root.env` that others can read is refused. `drives` has one absolute path a line, in order: a
//! later start needs no `--drive`, and one that forgets or mistypes a drive is refused in place of making a new, empty
//! store. The drives' superblocks stay the truth.

use std::io;
use std::path::{Path, PathBuf};

use crate::process::config::ServerError;
use crate::process::files::{file_mode, make_private_directory, read_file, write_private};
use crate::root_key::{RootKey, RootKeyError};

const ROOT_KEY: &str = "root.env";
const DRIVES: &str = "drives";
/// The drive that is made when none is named.
const FIRST_DRIVE: &str = "drive0.nilas";

/// A data directory that exists.
pub(super) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Makes the directory, for its owner alone, when it is not there.
    pub(super) fn open(path: &Path) -> Result<DataDir, ServerError> {
        let data = DataDir { path: path.to_path_buf() };
        make_private_directory(path).map_err(|source| data.failed(source))?;
        Ok(data)
    }

    /// The file of a store whose drives are not named.
    pub(super) fn first_drive(&self) -> PathBuf {
        self.path.join(FIRST_DRIVE)
    }

    /// The root key: from the environment, else from its file, else made now and yet to be stored by
    /// [`DataDir::keep_root_key`].
    pub(super) fn root_key(&self, given: Option<&(String, String)>) -> Result<RootKey, RootKeyError> {
        if let Some((access_key, secret_key)) = given {
            return RootKey::given(access_key, secret_key);
        }
        let path = self.path.join(ROOT_KEY);
        let failed = |source| RootKeyError::File { path: path.clone(), source };
        match read_file(&path) {
            Ok(text) => {
                let mode = file_mode(&path).map_err(failed)?;
                if mode & 0o077 != 0 {
                    return Err(RootKeyError::Open { path, mode });
                }
                RootKey::parse(&text).ok_or(RootKeyError::Content { path })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(RootKey::generate()),
            Err(e) => Err(failed(e)),
        }
    }

    /// Stores a key that was just made, durable on return; does nothing with any other. To be called when nothing else
    /// can stop the start: a key is shown by the start that stored it, and by no other.
    pub(super) fn keep_root_key(&self, key: &RootKey) -> Result<(), RootKeyError> {
        if !key.is_new() {
            return Ok(());
        }
        let path = self.path.join(ROOT_KEY);
        write_private(&path, key.render().as_bytes()).map_err(|source| RootKeyError::File { path, source })
    }

    /// The drives of the store that this directory was last used with; `None` when it has none yet.
    pub(super) fn drives(&self) -> Result<Option<Vec<PathBuf>>, ServerError> {
        match read_file(&self.path.join(DRIVES)) {
            Ok(text) => Ok(Some(parse_drives(&text)).filter(|paths| !paths.is_empty())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// Notes the drives of a store that was just opened, durable on return.
    pub(super) fn keep_drives(&self, paths: &[PathBuf]) -> Result<(), ServerError> {
        let text: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
        let file = self.path.join(DRIVES);
        if read_file(&file).is_ok_and(|known| known == text) {
            return Ok(());
        }
        write_private(&file, text.as_bytes()).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> ServerError {
        ServerError::Directory { path: self.path.clone(), source }
    }
}

fn parse_drives(text: &str) -> Vec<PathBuf> {
    text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_drives() {
        assert_eq!(parse_drives("/a b\n/c\n"), [PathBuf::from("/a b"), PathBuf::from("/c")]);
        assert_eq!(parse_drives("\n"), Vec::<PathBuf>::new());
    }
}
