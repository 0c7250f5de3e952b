//! What a shard knows: the index in memory, the log that makes it durable, and the way back from log to index.

pub mod index;
pub mod log;
pub(crate) mod checkpoint;
pub mod recover;
pub(crate) mod watermark;
pub(crate) mod walk;
