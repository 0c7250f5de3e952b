//! The chain of signatures over the chunks and trailers of one body.
//!
//! Seeded by the request's own signature, then driven by the body decoder, chunk by chunk. Each right signature
//! becomes the input of the next, so chunks cannot be reordered, dropped or repeated.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::auth::key_cache::{SigningMac, sign};

/// SHA-256 of nothing, in hex.
pub(super) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Where the chain of one body stands.
#[derive(Clone)]
pub struct ChunkSigner {
    mac: SigningMac,
    timestamp: String,
    scope: String,
    previous: String,
}

/// A chunk or trailer whose signature is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureMismatch {
    /// What we would have signed.
    pub string_to_sign: String,
}

impl ChunkSigner {
    pub(super) fn new(mac: SigningMac, timestamp: String, scope: String, seed: String) -> Self {
        Self { mac, timestamp, scope, previous: seed }
    }

    /// Checks one chunk, given the SHA-256 of its bytes and the hex signature it came with.
    pub fn check_chunk(&mut self, sha256: &[u8; 32], signature: &[u8]) -> Result<(), SignatureMismatch> {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{EMPTY_SHA256}\n{}",
            self.timestamp,
            self.scope,
            self.previous,
            hex::encode(sha256)
        );
        self.step(text, signature)
    }

    /// Checks the trailers, given as `name:value` lines each ended by LF.
    pub fn check_trailer(&mut self, lines: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch> {
        let text = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.timestamp,
            self.scope,
            self.previous,
            hex::encode(Sha256::digest(lines))
        );
        self.step(text, signature)
    }

    fn step(&mut self, string_to_sign: String, signature: &[u8]) -> Result<(), SignatureMismatch> {
        let ours = hex::encode(sign(&self.mac, string_to_sign.as_bytes()));
        if !bool::from(ours.as_bytes().ct_eq(signature)) {
            return Err(SignatureMismatch { string_to_sign });
        }
        self.previous = ours;
        Ok(())
    }
}

impl fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSigner").field("scope", &self.scope).finish_non_exhaustive()
    }
}
