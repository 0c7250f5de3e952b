//! Who there is and who may do what: the one place that S3, the catalog, the server's pages and STS ask.
//!
//! `policy` is the language that rights are written in, and its evaluator. `model` is who there is and what they are
//! given; `seal` derives keys from the root secret, and `store` keeps the model in the store and gives it to all cores.
//! `session` seals and opens the tokens that carry a sender by themselves; `oidc` knows whom an OpenID Connect issuer's
//! tokens speak of.

pub mod policy;
pub mod model;
pub mod seal;
pub mod store;
pub mod session;
