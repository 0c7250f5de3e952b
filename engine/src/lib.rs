//! Objects on drives: keys, bytes, durability. (Signatures first; bodies follow.)
#![allow(missing_docs, clippy::todo, unused_variables, clippy::unused_async, clippy::allow_attributes)]

pub mod limits;
pub mod units;
pub mod error;
pub mod object;

use std::rc::Rc;
use std::sync::Arc;
use std::collections::BTreeMap;
use std::future::Future;
use bytes::Bytes;

pub use error::{Corrupt, DriveCause, DriveError, DriveOp, EngineError};
pub use object::{ETag, ObjectInfo, PutCondition, PutRefused};
pub use units::{BucketId, CoreId, DriveOffset, Sequence, ShardId};

/// Read-only snapshot of all buckets, ordered by name.
#[derive(Clone, Debug, Default)]
pub struct Directory { pub buckets: BTreeMap<Arc<str>, Arc<Bucket>> }

#[derive(Clone, Debug)]
pub struct Bucket {
    pub name: Arc<str>,
    pub id: BucketId,
    pub shard: ShardId,
    pub created_ms: u64,
    /// Opaque to the engine, at most 32 KiB; the catalog marks warehouses here.
    pub annotation: Bytes,
}

#[derive(Clone, Debug)]
pub enum BucketError { Exists, NoSuchBucket, NotEmpty, TooMany, Engine(EngineError) }

/// A change of several objects and records of one bucket: one log record, one flush, all or nothing.
#[derive(Debug, Default)]
pub struct Transaction {
    pub puts: Vec<TransactionPut>,
    /// Object keys to delete; absent ones are fine.
    pub deletes: Vec<Bytes>,
    /// Records: opaque key/value pairs of the layer above. `None` deletes.
    pub records: Vec<(Bytes, Option<Bytes>)>,
}
#[derive(Debug)]
pub struct TransactionPut { pub key: Bytes, pub body: TransactionBody, pub etag: ETag, pub attributes: Bytes }
#[derive(Debug)]
pub enum TransactionBody { Inline(Bytes), Staged(Staged) }
/// Bytes written to extents, not yet published. Dropping it gives the space back.
#[derive(Debug)]
pub struct Staged { pub size: u64 }

/// One shard, on the core that owns it. All methods without `async` are atomic: nothing else of the shard runs.
pub struct Shard;
impl Shard {
    pub fn record(&self, bucket: BucketId, key: &[u8]) -> Option<Bytes> { todo!() }
    /// Visits records whose key starts with `prefix`, from `from` (inclusive) on, in byte order, while `visit` answers true.
    pub fn records(&self, bucket: BucketId, prefix: &[u8], from: &[u8], visit: impl FnMut(&[u8], &Bytes) -> bool) { todo!() }
    /// Applies `tx` in memory and puts its record into the log's open block: from here on the shard sees the change,
    /// and nobody outside may be told before `durable(sequence)` resolves.
    pub fn settle(&self, bucket: BucketId, tx: Transaction) -> Result<Sequence, EngineError> { todo!() }
    /// Resolves once every record up to `sequence` is durable. Also to be awaited before *reading out* state of that sequence.
    pub async fn durable(&self, sequence: Sequence) -> Result<(), EngineError> { todo!() }
    /// The newest sequence given out.
    pub fn last_sequence(&self) -> Sequence { todo!() }
    pub async fn stage(&self, body: Bytes) -> Result<Staged, EngineError> { todo!() }
    /// Whole object, verified. `Ok(None)`: no such key. Waits for durability of what it returns.
    pub async fn read_object(&self, bucket: BucketId, key: &[u8], bytes_max: u64) -> Result<Option<Bytes>, EngineError> { todo!() }
    /// Keys of objects with a prefix, for purges, at most `max`.
    pub fn object_keys(&self, bucket: BucketId, prefix: &[u8], max: usize) -> Vec<Bytes> { todo!() }
    pub fn now_ms(&self) -> u64 { todo!() }
    pub fn random_u128(&self) -> u128 { todo!() }
    /// State that the layer above keeps on this shard's core; made by `T::default()` at first use.
    pub fn extension<T: Default + 'static>(&self) -> Rc<T> { todo!() }
}

/// A core's handle to the whole store. Cheap to clone, stays on its core.
#[derive(Clone)]
pub struct Engine;
impl Engine {
    pub fn directory(&self) -> Arc<Directory> { todo!() }
    pub fn bucket(&self, name: &str) -> Option<Arc<Bucket>> { todo!() }
    pub async fn create_bucket(&self, name: &str, annotation: Bytes) -> Result<Arc<Bucket>, BucketError> { todo!() }
    /// Replaces the annotation; durable on return.
    pub async fn annotate_bucket(&self, name: &str, annotation: Bytes) -> Result<Arc<Bucket>, BucketError> { todo!() }
    /// Refused while the bucket holds objects, open uploads or records.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), BucketError> { todo!() }
    /// Runs `job` on the core that owns `shard`, to its end even when the caller goes away.
    pub async fn on_shard<T, F, Fut>(&self, shard: ShardId, job: F) -> Result<T, EngineError>
    where T: Send + 'static, F: FnOnce(Rc<Shard>) -> Fut + Send + 'static, Fut: Future<Output = T> + 'static { todo!() }
    pub fn now_ms(&self) -> u64 { todo!() }
    pub fn random_u128(&self) -> u128 { todo!() }
}

// ---- objects, from any core -------------------------------------------------------------------

/// Writes one body. The size must be known at the start; at most `BLOB_BYTES_MAX`.
/// Up to `INLINE_BYTES_MAX` the bytes are kept for the log record, beyond that they go to extents as they come.
/// Dropping it before `publish…` stores nothing and gives the space back.
pub struct PutWriter;
impl PutWriter {
    /// Takes the next bytes of the body; waits while too many drive writes are in flight.
    /// More bytes than announced is a bug of the caller (asserted): cut the body before.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), EngineError> { todo!() }
    /// Bytes still missing.
    pub fn missing(&self) -> u64 { todo!() }
    /// Makes the object visible under `key`, durable on return. `missing()` must be 0 (asserted).
    pub async fn publish(self, key: Bytes, condition: PutCondition, etag: ETag, attributes: Bytes)
        -> Result<Result<ObjectInfo, PutRefused>, EngineError> { todo!() }
    /// Makes the bytes part `number` of an open upload, durable on return; replaces an earlier part of that number.
    pub async fn publish_part(self, upload: UploadId, number: u16, etag: ETag, attributes: Bytes)
        -> Result<Result<PartInfo, PutRefused>, EngineError> { todo!() }
}

/// An open multipart upload; unique in the store, never given out twice. Display/parse: 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub u128);

#[derive(Clone, Debug)]
pub struct UploadInfo { pub id: UploadId, pub key: Bytes, pub created_ms: u64, pub attributes: Bytes }

#[derive(Clone, Debug)]
pub struct PartInfo { pub number: u16, pub sequence: Sequence, pub size: u64, pub modified_ms: u64, pub etag: ETag, pub attributes: Bytes }

/// An object opened for reading: its bytes stay readable, unchanged, until this is dropped, even when the key is overwritten.
pub struct ObjectReader { pub info: ObjectInfo }
impl ObjectReader {
    /// Sizes of the parts of a multipart object in order; one entry for an object put in one piece.
    pub fn part_sizes(&self) -> Vec<u64> { todo!() }
    /// Starts delivering `range` (within the object). Each piece was verified before it is handed out; pieces are up to 1 MiB,
    /// several are read ahead. Empty range: ends at once.
    pub fn read(self, range: std::ops::Range<u64>) -> ObjectStream { todo!() }
}
pub struct ObjectStream;
impl ObjectStream {
    pub async fn next(&mut self) -> Option<Result<Bytes, EngineError>> { todo!() }
    pub fn poll_next(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Result<Bytes, EngineError>>> { todo!() }
}

/// One page of a listing, in byte order of keys.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub prefix: Bytes,
    /// Empty = no delimiter. Any byte string.
    pub delimiter: Bytes,
    /// Only keys (and common prefixes) greater than this; empty = from the start.
    pub after: Bytes,
    /// Entries plus common prefixes, at most `LIST_KEYS_MAX`.
    pub max: usize,
}
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    pub objects: Vec<(Bytes, ObjectInfo)>,
    pub prefixes: Vec<Bytes>,
    /// When more follows: what to give as `after` for the next page.
    pub next_after: Option<Bytes>,
}

impl Engine {
    pub async fn head(&self, bucket: &Bucket, key: Bytes) -> Result<Option<ObjectInfo>, EngineError> { todo!() }
    pub async fn open(&self, bucket: &Bucket, key: Bytes) -> Result<Option<ObjectReader>, EngineError> { todo!() }
    pub async fn writer(&self, bucket: &Arc<Bucket>, size: u64) -> Result<PutWriter, EngineError> { todo!() }
    pub async fn list(&self, bucket: &Bucket, query: ListQuery) -> Result<ListPage, EngineError> { todo!() }
    /// Deletes keys, durable on return; one answer per key: whether it was there. At most 1,000 keys.
    pub async fn delete(&self, bucket: &Bucket, keys: Vec<Bytes>) -> Result<Vec<bool>, EngineError> { todo!() }
    /// Deletes one key only if `condition` (IfMatch/IfPresent) holds.
    pub async fn delete_if(&self, bucket: &Bucket, key: Bytes, condition: PutCondition) -> Result<Result<bool, PutRefused>, EngineError> { todo!() }
    pub async fn create_upload(&self, bucket: &Bucket, key: Bytes, attributes: Bytes) -> Result<UploadId, EngineError> { todo!() }
    pub async fn upload(&self, bucket: &Bucket, id: UploadId) -> Result<Option<UploadInfo>, EngineError> { todo!() }
    /// Open uploads whose (key, id) is greater than `after`, ordered by (key, id).
    pub async fn uploads(&self, bucket: &Bucket, prefix: Bytes, after: Option<(Bytes, UploadId)>, max: usize) -> Result<Vec<UploadInfo>, EngineError> { todo!() }
    /// Parts with a number greater than `after`, in order. `Ok(None)`: no such upload.
    pub async fn parts(&self, bucket: &Bucket, id: UploadId, after: u16, max: usize) -> Result<Option<Vec<PartInfo>>, EngineError> { todo!() }
    /// Puts the object together from the named parts (number and sequence as listed; `PreconditionFailed` is not used for them:
    /// a part replaced meanwhile is `NoSuchUpload`), durable on return. Unnamed parts are given back.
    pub async fn complete_upload(&self, bucket: &Bucket, id: UploadId, parts: Vec<(u16, Sequence)>, condition: PutCondition, etag: ETag, attributes: Bytes)
        -> Result<Result<ObjectInfo, PutRefused>, EngineError> { todo!() }
    pub async fn abort_upload(&self, bucket: &Bucket, id: UploadId) -> Result<bool, EngineError> { todo!() }
}
