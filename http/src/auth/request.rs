//! What of a request its signature speaks of, as it came over the wire.
//!
//! The gateway and the catalog's edge make a [`RequestView`] of the head ([`view_of`]); claim and signature are read from
//! it and held against it.

use http::HeaderMap;
use http::request::Parts;

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

/// What a signature can cover of a head.
pub(crate) fn view_of(head: &Parts) -> RequestView<'_> {
    RequestView {
        method: head.method.as_str(),
        raw_path: head.uri.path(),
        raw_query: head.uri.query().unwrap_or(""),
        headers: &head.headers,
    }
}
