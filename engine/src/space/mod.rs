//! Space on drives: which zones are taken, and which parts of a shard's extent zones are free.
//!
//! Nothing here is written to a drive: zone grants are the zone headers, free extents follow from the index.

pub(crate) mod zones;
pub(crate) mod extents;
pub mod pins;
