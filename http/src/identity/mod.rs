//! Who there is and who may do what: the one place that S3, the catalog, the server's pages and STS ask.
//!
//! `policy` is the language that rights are written in, and its evaluator. `model` is who there is and what they are
//! given.

pub mod policy;
pub mod model;
