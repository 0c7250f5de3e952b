//! Who sent this request, by SigV4 in the header, in the query or in a form, or by SigV2 in the query or a form.
//!
//! The connection hands over a [`RequestView`] before a byte of the body is read; what comes back names the access
//! key and says how the body must be taken ([`PayloadMode`]). Whose key that is and what it may do is known by `identity`.
//!
//! I1. No request is verified without a signature that covers its method, path, query, `host` and every `x-amz-*` header;
//! one of version 2 covers less, and is taken for what [`sigv2`] says only; that of a form covers its policy.
//! I2. Signatures and tokens are compared in constant time.
//! I3. A derived key enters the cache only after a signature made with it was right.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod request;
mod sigv4;
pub mod sigv2;
mod form;
mod claim;
mod hoisted;
mod canonical;
mod chunk_signature;
mod key_cache;
mod time;
mod error;
pub mod sign;

pub(crate) use canonical::encoded;
pub use chunk_signature::{ChunkSigner, SignatureMismatch};
pub use error::{
    ArgumentFault, AuthError, CredentialFault, Denied, Mismatch, QueryFault, Refused, Throttled,
};
pub use form::{FormProof, verify_form};
pub use hoisted::Mechanism;
pub(crate) use hoisted::with_hoisted;
pub use key_cache::SigningKeyCache;
pub use request::RequestView;
pub(crate) use request::view_of;
pub use sigv4::{
    KeyFault, KeyStore, PayloadMode, Service, Verified, fuzz_auth, precheck, shown, verify, verify_with_body,
};
pub(crate) use sigv4::{anonymous, claimed_key};
