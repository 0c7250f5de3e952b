//! The Iceberg REST catalog, kept as the engine's own durable records.
//!
//! `rest` turns requests into calls of `store`, which decides with `commit` and `spec` and makes one transaction of the
//! engine per change. Table metadata and commits are pure: time and identifiers come in as arguments, nothing there
//! awaits. Nothing here sees a socket, and nothing of the engine knows Iceberg.

pub mod limits;
pub mod access;
mod refusal;
pub mod spec;
pub mod commit;
pub(crate) mod model;
#[doc(hidden)]
pub mod manifest;
pub(crate) mod store;
pub mod rest;
pub mod uri;
pub mod bucket_name;

pub use refusal::{OAuthError, Refusal};
pub use rest::{Catalog, Operation, OperationRow, Request, Response, Route};
pub use store::TablePlaces;
pub use store::purge_state::{PurgeFigures, PurgeStatus};
