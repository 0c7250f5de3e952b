//! Space on drives: which zones are taken, what is in use in them, and who reads there.
//!
//! Nothing here is written to a drive: zone grants are the zone headers, free extents follow from the index.

pub(crate) mod zones;
pub(crate) mod usage;
pub(crate) mod writer;
pub(crate) mod extents;
pub(crate) mod pins;
