//! What of a request its signature speaks of, as it came over the wire.
//!
//! The connection makes a [`RequestView`] of the head; claim and signature are read from and held against it.

use http::HeaderMap;

/// The parts of a request head that a signature can cover, as they came over the wire.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// `GET`, `PUT` and so on.
    pub method: &'a str,
    /// The path before the `?`, not decoded.
    pub raw_path: &'a str,
    /// What follows the `?`, not decoded; empty when there is none.
    pub raw_query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
}
