//! The secret of an access key in memory.

use std::fmt;

use zeroize::Zeroize as _;

/// A secret: it does not show itself, and its memory is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a secret.
    pub fn new(text: impl Into<Box<str>>) -> Secret {
        Secret(text.into())
    }

    /// Returns its text, for a signature, for sealing, and once for its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Seals secrets at rest.
pub trait Sealer {
    /// Seals `secret` for the record at `record_key`; the text is safe in JSON.
    fn seal(&self, record_key: &[u8], secret: &Secret) -> String;

    /// Opens what [`Sealer::seal`] made for the same record; `None` when it did not.
    fn unseal(&self, record_key: &[u8], sealed: &str) -> Option<Secret>;
}
