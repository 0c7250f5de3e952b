//! Who may do what: the one place that S3, the catalog, the server's pages and STS ask.
//!
//! `policy` is the language that rights are written in, and its evaluator; `session` seals and opens the tokens that
//! carry a sender by themselves; `oidc` knows whom an OpenID Connect issuer's tokens speak of.

pub mod oidc;
pub mod policy;
pub mod session;
