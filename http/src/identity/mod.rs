//! Who there is and who may do what: the one place that S3, the catalog, the server's pages and STS ask.
//!
//! `policy` is the language that rights are written in, and its evaluator; `model` is who there is and what they are
//! given; `seal` derives keys from the root secret, and `store` keeps the model in the store and gives it to all cores.
//! `session` seals and opens the tokens that carry a sender by themselves; `oidc` knows whom an OpenID Connect issuer's
//! tokens speak of. `sender` is who sent a request, `context` what policies can ask of it, `bucket_rules` what its bucket
//! says, and `authorizer` the door to the evaluator. `provision` plans what a file wants to be there.

pub mod oidc;
pub mod policy;
pub mod model;
pub mod seal;
pub mod store;
pub mod session;
pub mod sender;
pub mod context;
pub(crate) mod bucket_rules;
pub(crate) mod principals;
pub mod access;
pub mod authorizer;
pub mod bearer;
pub mod root_key;
pub mod provision;
#[cfg(test)]
mod place_tests;

pub use access::{Authorizer, Caller, Decision};
pub use authorizer::{Evaluator, Explained, Layer, Say};
pub(crate) use bucket_rules::RulesCache;
pub use context::RequestFacts;
pub(crate) use sender::Senders;
pub use sender::{Rights, Sender, SenderKind};
pub use store::IdentityStore;
