//! The root key: from the environment, else from `root.env` in the data directory, else made now and kept there.
//!
//! There is no default password: a key that is made is random, printed once by the caller and stored readable for its
//! owner alone. A `root.env` that others can read is refused.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::auth::KeyStore;

/// Letters of keys that are made here: no two look alike.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Shortest secret that is taken from the environment, in bytes (as MinIO has it).
const SECRET_BYTES_MIN: usize = 8;
/// Shortest access key that is taken from the environment, in bytes.
const ACCESS_KEY_BYTES_MIN: usize = 3;

/// The key that may do everything.
#[derive(Clone)]
pub struct RootKey {
    access_key: String,
    secret_key: String,
    sealing_key: [u8; 32],
    is_new: bool,
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKey").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Why there is no root key.
#[derive(Debug)]
pub enum RootKeyError {
    /// A value from the environment is too short.
    Short {
        /// The variable.
        name: &'static str,
        /// Its length in bytes.
        got: usize,
        /// The least it must have.
        expected: usize,
    },
    /// A value from the environment has a character that no header can carry.
    Form {
        /// The variable.
        name: &'static str,
    },
    /// The file cannot be read or written.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has not the two lines it should.
    Content {
        /// Its path.
        path: PathBuf,
    },
    /// Others may read the file.
    Open {
        /// Its path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for RootKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootKeyError::Short { name, got, expected } => {
                write!(f, "{name} has {got} characters, at least {expected} are needed")
            }
            RootKeyError::Form { name } => {
                write!(f, "{name} must be printable ASCII without blanks and without '/' in the access key")
            }
            RootKeyError::File { path, source } => write!(f, "root key file {}: {source}", path.display()),
            RootKeyError::Content { path } => write!(
                f,
                "root key file {} must have the lines NILAS_ACCESS_KEY=… and NILAS_SECRET_KEY=…; restore it, or give both \
                 in the environment",
                path.display()
            ),
            RootKeyError::Open { path, mode } => write!(
                f,
                "root key file {} has mode {mode:o}, others can read it: chmod 600 {}",
                path.display(),
                path.display()
            ),
        }
    }
}

impl std::error::Error for RootKeyError {}

impl RootKey {
    /// Finds the key, or makes one that [`RootKey::keep`] has yet to store.
    pub fn find(data: &Path, from_environment: Option<(String, String)>) -> Result<RootKey, RootKeyError> {
        if let Some((access_key, secret_key)) = from_environment {
            check("NILAS_ACCESS_KEY", &access_key, ACCESS_KEY_BYTES_MIN, true)?;
            check("NILAS_SECRET_KEY", &secret_key, SECRET_BYTES_MIN, false)?;
            return Ok(RootKey::new(access_key, secret_key, false));
        }
        let path = data.join("root.env");
        let failed = |source| RootKeyError::File { path: path.clone(), source };
        match read_file(&path) {
            Ok(text) => {
                let mode = file_mode(&path).map_err(failed)?;
                if mode & 0o077 != 0 {
                    return Err(RootKeyError::Open { path, mode });
                }
                let (access_key, secret_key) = parse(&text).ok_or(RootKeyError::Content { path })?;
                Ok(RootKey::new(access_key, secret_key, false))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Ok(RootKey::new(format!("NILAS{}", letters(15)), letters(40), true))
            }
            Err(e) => Err(failed(e)),
        }
    }

    fn new(access_key: String, secret_key: String, is_new: bool) -> RootKey {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(secret_key.as_bytes()).expect("HMAC takes any key");
        mac.update(b"nilas bearer tokens 1");
        let sealing_key = mac.finalize().into_bytes().into();
        RootKey { access_key, secret_key, sealing_key, is_new }
    }

    /// The access key.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret key, to be shown once when [`RootKey::is_new`].
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// Whether it was made by this call of [`RootKey::find`].
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// What bearer tokens are sealed with: changes with the secret, survives a restart.
    pub fn sealing_key(&self) -> &[u8; 32] {
        &self.sealing_key
    }

    /// The canonical user id that S3 answers name as owner.
    pub(crate) fn owner_id(&self) -> String {
        hex::encode(Sha256::digest(self.access_key.as_bytes()))
    }

    /// Stores a key that was just made; does nothing with any other. To be called when nothing else can stop the start:
    /// a key is shown by the start that stored it, and by no other.
    ///
    /// Written under another name, synced, then given its own: a crash leaves the whole file or none.
    pub fn keep(&self, data: &Path) -> Result<(), RootKeyError> {
        if !self.is_new {
            return Ok(());
        }
        let path = data.join("root.env");
        let text = format!("NILAS_ACCESS_KEY={}\nNILAS_SECRET_KEY={}\n", self.access_key, self.secret_key);
        write_private(&path, text.as_bytes()).map_err(|source| RootKeyError::File { path, source })
    }
}

impl KeyStore for RootKey {
    fn secret(&self, access_key: &str) -> Option<&str> {
        (access_key == self.access_key).then_some(self.secret_key.as_str())
    }
}

fn check(name: &'static str, value: &str, expected: usize, is_access_key: bool) -> Result<(), RootKeyError> {
    if value.len() < expected {
        return Err(RootKeyError::Short { name, got: value.len(), expected });
    }
    let fits = value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !(is_access_key && matches!(byte, b'/' | b',' | b'=')));
    if fits { Ok(()) } else { Err(RootKeyError::Form { name }) }
}

fn parse(text: &str) -> Option<(String, String)> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
        (!line.is_empty()).then(|| line.to_owned())
    };
    Some((value("NILAS_ACCESS_KEY")?, value("NILAS_SECRET_KEY")?))
}

fn letters(count: usize) -> String {
    let mut bits = nilas_engine::rt::random_u128();
    let mut left = 24;
    (0..count)
        .map(|_| {
            if left == 0 {
                bits = nilas_engine::rt::random_u128();
                left = 24;
            }
            let index = usize::try_from(bits & 31).expect("five bits");
            bits >>= 5;
            left -= 1;
            char::from(LETTERS[index])
        })
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "at start, before any core runs")]
mod files {
    use super::*;

    pub(crate) fn read_file(path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    pub(super) fn file_mode(path: &Path) -> io::Result<u32> {
        Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
    }

    pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("env.new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Makes a directory for its owner alone, with its parents; one that exists is left as it is.
    pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
        match path.metadata() {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(_) => {}
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Stops the one thread that there is before the cores start.
    pub(crate) fn wait_before_start(time: std::time::Duration) {
        std::thread::sleep(time);
    }

    /// Removes a file as well as it goes.
    pub(crate) fn remove_file(path: &Path) {
        drop(std::fs::remove_file(path));
    }

    /// Bytes that an ordinary user may still use on the file system of `path`.
    pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
        nilas_engine::drive::probe::free_bytes(path)
    }
}

use files::file_mode;
pub(crate) use files::{
    free_bytes, make_private_directory, read_file, remove_file, wait_before_start, write_private,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_file() {
        let both = Some(("a".to_owned(), "b=c".to_owned()));
        assert_eq!(parse("NILAS_ACCESS_KEY=a\nNILAS_SECRET_KEY=b=c\n"), both);
        assert_eq!(parse("NILAS_SECRET_KEY=b=c\n NILAS_ACCESS_KEY=a"), both);
        assert_eq!(parse("NILAS_ACCESS_KEY=a\n"), None);
        assert_eq!(parse("NILAS_ACCESS_KEY=\nNILAS_SECRET_KEY=b\n"), None);
    }

    #[test]
    fn keys_from_the_environment() {
        let find =
            |a: &str, s: &str| RootKey::find(Path::new("/nonexistent"), Some((a.to_owned(), s.to_owned())));
        assert!(find("root", "longenough").is_ok());
        assert!(matches!(find("ro", "longenough"), Err(RootKeyError::Short { .. })));
        assert!(matches!(find("root", "short"), Err(RootKeyError::Short { .. })));
        assert!(matches!(find("a/b", "longenough"), Err(RootKeyError::Form { .. })));
        assert!(matches!(find("root", "long enough"), Err(RootKeyError::Form { .. })));
    }

    #[test]
    fn made_keys_differ_and_have_their_length() {
        assert_eq!(letters(40).len(), 40);
        assert_ne!(letters(40), letters(40));
    }
}
