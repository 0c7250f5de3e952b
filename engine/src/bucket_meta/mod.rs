//! What a bucket carries besides its objects: settings in its directory entry and values in its shard, each with an
//! owner. See FORMAT.md, "Bucket settings" and "Values".
//!
//! I1. What one owner keeps is never seen by another and can disable nobody else. I2. What a newer program keeps is
//! left as it is, byte for byte, and named where it must be honoured and is not. Pure: nothing here reads or writes.

pub mod settings;
pub mod values;

pub use settings::{BucketSettings, SettingKind};
pub use values::ValueOwner;
