//! Who may keep what with a bucket besides its objects: kinds of settings, and owners of values.
//!
//! `format::settings` keeps settings in the bucket's directory entry, `shard::local_bucket` binds every caller to the
//! values of one owner. I1. What one owner keeps is never seen by another and can disable nobody else. I2. What a newer
//! program keeps is left as it is, and named where it must be honoured and is not. Pure: nothing here reads or writes.

pub mod kinds;
pub mod lock_rule;
pub mod values;
pub mod versioning;

pub use kinds::SettingKind;
pub use lock_rule::{DefaultRetention, LockRule, Period};
pub use values::ValueOwner;
pub use versioning::Versioning;
