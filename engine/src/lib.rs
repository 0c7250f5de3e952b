//! Objects on drives: keys, bytes, durability.
//!
//! A store is a set of shards; each is owned by one core and keeps its index in memory and its changes in a log on a
//! drive. [`Engine`] is a core's handle to all of them. Knows nothing of protocols or tables.
//!
//! In path order: a call enters at `handle`, is decided in `shard`, made durable by `meta::log`, placed by `space`,
//! written by `blob` and `drive` in the bytes of `format`; `cache` keeps what is read often.

pub mod limits;
pub mod units;
pub mod calendar;
pub mod error;
pub mod lock;
pub mod object;
pub mod bucket_meta;
pub mod platform;
pub mod mutant;
mod sync;
pub mod stats;
mod notify;
mod mailbox;
pub mod handle;
pub(crate) mod shard;
pub mod meta;
pub mod space;
mod blob;
pub mod cache;
pub mod drive;
pub mod rt;
pub mod format;
pub mod store;
pub mod inspect;

pub use bucket_meta::{DefaultRetention, LockRule, Period, SettingKind, ValueOwner, Versioning};
pub use error::{Corrupt, DriveCause, DriveError, DriveOp, EngineError};
pub use format::settings::BucketSettings;
pub use handle::{
    Bucket, BucketError, DamagedUnit, Directory, Engine, ObjectReader, ObjectStream, PutWriter, ScrubConfig,
    ShardScrub, Tuning,
};
pub use lock::{Lock, Retention, RetentionMode};
pub use object::{
    Completion, ETag, Found, ListPage, ListQuery, Marker, NewObject, NewVersion, ObjectInfo, ObjectVersion,
    PartInfo, Place, PutCondition, PutRefused, Removal, Removed, Rename, RenameToken, Renamed, Revision,
    UploadId, UploadInfo, VersionId, VersionPage, VersionQuery, WriteError,
};
pub use shard::expire::{Expired, Judge};
pub use shard::local_bucket::LocalBucket;
pub use shard::{SpaceFacts, Staged, Transaction, TransactionBody, TransactionPut};
pub use units::{BucketId, CoreId, DriveOffset, Sequence, ShardId};
