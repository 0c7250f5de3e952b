//! The data directory: the root key in `root.env`, the one to come in `root.env.next`, and which drives the store is on in
//! `drives`.
//!
//! `Server::prepare` opens it before the drives and writes to it once they are open, so that a start that fails leaves
//! nothing behind. A `root.env` that others can read is refused. `drives` has one absolute path a line, in order: a
//! later start needs no `--drive`, and one that forgets or mistypes a drive is refused in place of making a new, empty
//! store. The drives' superblocks stay the truth. I1. A new root key is on the disk before the store is sealed under it, and
//! the one before goes away only after that. I2. A key that is not in force takes no other key's place: `root.env.next` waits
//! while the environment gives another.

use std::io;
use std::path::{Path, PathBuf};

use crate::identity::model::Secret;
use crate::identity::root_key::{RootKey, RootKeyError};
use crate::process::config::ServerError;
use crate::process::files::{
    file_mode, make_private_directory, read_file, remove_file, rename, write_private,
};

const ROOT_KEY: &str = "root.env";
/// The root key to come.
const ROOT_KEY_NEXT: &str = "root.env.next";
const DRIVES: &str = "drives";
/// The drive that is made when none is named.
const FIRST_DRIVE: &str = "drive0.nilas";

/// A data directory that exists.
#[derive(Clone, Debug)]
pub(super) struct DataDir {
    path: PathBuf,
}

/// The root key of a start.
pub(super) struct RootKeys {
    pub(super) root_key: RootKey,
    /// Secrets that the store may still be sealed under, and is then sealed anew.
    pub(super) previous: Vec<Secret>,
    /// Secrets in files that this start does not take, with the names of the files.
    pub(super) kept: Vec<(&'static str, Secret)>,
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
    /// [`DataDir::keep_root_key`]. A new one that waits in `root.env.next` is the root key unless the environment gives
    /// another, and the one in `root.env` the one before.
    pub(super) fn root_keys(
        &self,
        given: Option<&(String, Secret)>,
        previous: Option<&Secret>,
    ) -> Result<RootKeys, RootKeyError> {
        let mut previous: Vec<Secret> = previous.cloned().into_iter().collect();
        let secret_of = |key: &RootKey| Secret::new(key.secret_key());
        let Some((access_key, secret_key)) = given else {
            let (next, kept) = (self.read_root_key(ROOT_KEY_NEXT)?, self.read_root_key(ROOT_KEY)?);
            let root_key = match (next, kept) {
                (Some(next), Some(kept)) => {
                    previous.push(secret_of(&kept));
                    next
                }
                (Some(key), None) | (None, Some(key)) => key,
                (None, None) => RootKey::generate(),
            };
            return Ok(RootKeys { root_key, previous, kept: Vec::new() });
        };
        let root_key = RootKey::given(access_key, secret_key.expose())?;
        // The environment wins, so a file that cannot be read stops nothing.
        let read = |name| self.read_root_key(name).ok().flatten();
        let (next, kept) = (read(ROOT_KEY_NEXT), read(ROOT_KEY));
        if let (Some(next), Some(kept)) = (&next, &kept)
            && next.is_same(&root_key)
        {
            previous.push(secret_of(kept));
        }
        let files = [(ROOT_KEY_NEXT, next), (ROOT_KEY, kept)];
        let kept = files.into_iter().filter_map(|(name, key)| Some((name, secret_of(&key?)))).collect();
        Ok(RootKeys { root_key, previous, kept })
    }

    fn read_root_key(&self, name: &str) -> Result<Option<RootKey>, RootKeyError> {
        let path = self.path.join(name);
        let failed = |source| RootKeyError::File { path: path.clone(), source };
        match read_file(&path) {
            Ok(text) => {
                let mode = file_mode(&path).map_err(failed)?;
                if mode & 0o077 != 0 {
                    return Err(RootKeyError::Open { path, mode });
                }
                RootKey::parse(&text).map(Some).ok_or(RootKeyError::Content { path })
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    /// Writes a new secret, made or given, for the same access key beside the one that is in force, durable on return; the
    /// next start changes over to it. Returns its file.
    pub(super) fn rotate_root_key(&self, secret: Option<&str>) -> Result<PathBuf, RootKeyError> {
        let (path, next) = (self.path.join(ROOT_KEY), self.path.join(ROOT_KEY_NEXT));
        let kept = self.read_root_key(ROOT_KEY)?.ok_or(RootKeyError::Absent { path })?;
        if self.read_root_key(ROOT_KEY_NEXT)?.is_some() {
            return Err(RootKeyError::Waits { path: next });
        }
        let key = kept.with_secret(secret)?;
        let written = write_private(&next, key.render().as_bytes());
        written.map(|()| next.clone()).map_err(|source| RootKeyError::File { path: next, source })
    }

    /// Notes that the key in `root.env.next` is in force, durable on return, if it is `in_force`. Returns the file when it
    /// holds another key, which then waits on.
    pub(super) fn promote_root_key(&self, in_force: &RootKey) -> io::Result<Option<PathBuf>> {
        let next = self.path.join(ROOT_KEY_NEXT);
        match self.read_root_key(ROOT_KEY_NEXT) {
            Ok(None) => Ok(None),
            Ok(Some(key)) if key.is_same(in_force) => rename(&next, &self.path.join(ROOT_KEY)).map(|()| None),
            Ok(Some(_)) | Err(_) => Ok(Some(next)),
        }
    }

    /// Removes the key that this start made.
    pub(super) fn forget_root_key(&self) {
        remove_file(&self.path.join(ROOT_KEY));
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
