//! The root key, which may do everything: its forms in the environment and in `root.env`.
//!
//! `process::data_dir` finds it at start, `identity::sender` verifies with it, `identity::seal` derives keys of its secret. There is no default password: a key that is made is
//! random. Pure but for that.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::identity::model::Secret;

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
    secret_key: Secret,
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
    /// There is no file, so the key comes from the environment.
    Absent {
        /// Its path.
        path: PathBuf,
    },
    /// Another new key waits for the next start.
    Waits {
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
            RootKeyError::Absent { path } => write!(
                f,
                "there is no {}: the root key comes from the environment; to change it start once with the new secret as \
                 NILAS_SECRET_KEY and the one before as NILAS_PREVIOUS_SECRET_KEY",
                path.display()
            ),
            RootKeyError::Waits { path } => {
                write!(f, "{} waits already: restart the server to have it in force", path.display())
            }
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
    /// Takes a key from the environment.
    pub(crate) fn given(access_key: &str, secret_key: &str) -> Result<RootKey, RootKeyError> {
        check("NILAS_ACCESS_KEY", access_key, ACCESS_KEY_BYTES_MIN, true)?;
        check("NILAS_SECRET_KEY", secret_key, SECRET_BYTES_MIN, false)?;
        Ok(RootKey::new(access_key.to_owned(), secret_key.to_owned(), false))
    }

    /// Makes a random key.
    pub(crate) fn generate() -> RootKey {
        RootKey::new(format!("NILAS{}", letters(15)), letters(40), true)
    }

    /// The same access key with another secret: the one that is given, or one that is made.
    pub(crate) fn with_secret(&self, secret: Option<&str>) -> Result<RootKey, RootKeyError> {
        match secret {
            Some(secret) => {
                check("NILAS_NEW_SECRET_KEY", secret, SECRET_BYTES_MIN, false)?;
                Ok(RootKey::new(self.access_key.clone(), secret.to_owned(), false))
            }
            None => Ok(RootKey::new(self.access_key.clone(), letters(40), false)),
        }
    }

    /// Reads what [`RootKey::render`] wrote; `None` when a line is missing.
    pub(crate) fn parse(text: &str) -> Option<RootKey> {
        let (access_key, secret_key) = parse(text)?;
        Some(RootKey::new(access_key, secret_key, false))
    }

    /// The two lines of `root.env`, which a shell can read.
    pub(crate) fn render(&self) -> String {
        format!("NILAS_ACCESS_KEY={}\nNILAS_SECRET_KEY={}\n", self.access_key, self.secret_key.expose())
    }

    fn new(access_key: String, secret_key: String, is_new: bool) -> RootKey {
        RootKey { access_key, secret_key: Secret::new(secret_key), is_new }
    }

    /// The access key.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret key, to be shown once when [`RootKey::is_new`].
    pub fn secret_key(&self) -> &str {
        self.secret_key.expose()
    }

    /// Whether it is the same access key with the same secret.
    pub(crate) fn is_same(&self, other: &RootKey) -> bool {
        self.access_key == other.access_key && self.secret_key == other.secret_key
    }

    /// Whether it was made by this start.
    pub fn is_new(&self) -> bool {
        self.is_new
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
        let find = RootKey::given;
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
