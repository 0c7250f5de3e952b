//! Space on drives: which zones are taken, what is in use in them, and who reads there.
//!
//! What is written here are zone headers alone (`grant`); free extents follow from the index.

pub(crate) mod zones;
pub(crate) mod grant;
pub(crate) mod usage;
pub(crate) mod writer;
pub(crate) mod extents;
pub(crate) mod pins;
