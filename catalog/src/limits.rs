//! Every bound of the catalog, with its unit and what happens when it is reached.
//!
//! A bound that a client can reach is answered with 400 or 413 and the name of the limit, unless it says otherwise.

/// A value over one of these bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverLimit {
    /// The name of the bound.
    pub(crate) limit: &'static str,
    pub(crate) max: usize,
    pub(crate) got: usize,
}

/// Refuses a value over its bound.
pub(crate) fn at_most(limit: &'static str, max: usize, got: usize) -> Result<(), OverLimit> {
    if max < got { Err(OverLimit { limit, max, got }) } else { Ok(()) }
}

// ---- Table metadata and commits ----

/// Nested JSON levels accepted in one update, requirement, schema, spec or order of a request.
pub const UPDATE_DEPTH_MAX: usize = 100;

/// Nested JSON levels accepted in a metadata file. A part moves at most two levels deeper when it
/// enters the file, and the JSON reader itself stops at 128.
pub const METADATA_DEPTH_MAX: usize = 110;

/// Bytes of a name in the JSON of an update, requirement, schema, spec, order or property: the Java reference's
/// reader takes no longer ones.
pub const JSON_NAME_BYTES_MAX: usize = 50_000;

/// Bytes of a text there, likewise.
pub const JSON_TEXT_BYTES_MAX: usize = 20_000_000;

/// Bytes of a number there, likewise.
pub const JSON_NUMBER_BYTES_MAX: usize = 1_000;

/// How far the clocks of writers may be from this server's and from each other, in milliseconds: a snapshot that is
/// newer, or older than the table by more, is refused.
pub const CLOCK_SKEW_MAX_MS: i64 = 60_000;

/// Fields of one schema, nested ones included.
pub const SCHEMA_FIELDS_MAX: usize = 20_000;

/// Bytes of a column's full dotted name.
pub const COLUMN_PATH_BYTES_MAX: usize = 4_096;

/// Updates in one commit of one table.
pub const UPDATES_MAX: usize = 100_000;

/// Requirements in one commit of one table.
pub const REQUIREMENTS_MAX: usize = 10_000;

/// Bytes of a value quoted back in an error message.
pub const QUOTED_BYTES_MAX: usize = 160;

const _: () = assert!(UPDATE_DEPTH_MAX + 2 <= METADATA_DEPTH_MAX && METADATA_DEPTH_MAX < 128);

// ---- Manifests and manifest lists ----
// Files of clients, read on the control pool. A file over one of these bounds is unreadable; no request is refused for it.

/// Bytes of the schema in the head of an Avro file.
pub const AVRO_SCHEMA_BYTES_MAX: usize = 1 << 20;

/// Nested types of that schema, through names as well.
pub const AVRO_DEPTH_MAX: usize = 64;

/// Bytes of one block, unpacked.
pub const AVRO_BLOCK_BYTES_MAX: usize = 64 << 20;

/// Bytes of all blocks of a file, unpacked.
pub const AVRO_FILE_BYTES_MAX: usize = 4 << 30;

/// Manifests of one manifest list.
pub const MANIFESTS_MAX: usize = 100_000;

// ---- Store and REST face ----

/// Bytes of a request body (413).
pub const BODY_BYTES_MAX: usize = 32 << 20;

/// Levels of one namespace.
pub const NAMESPACE_LEVELS_MAX: usize = 16;

/// Bytes of a namespace, its levels joined by one byte each.
pub const NAMESPACE_BYTES_MAX: usize = 512;

/// Bytes of a table name.
pub const TABLE_NAME_BYTES_MAX: usize = 255;

/// Bytes of all keys and values of one namespace's properties.
pub const NAMESPACE_PROPERTIES_BYTES_MAX: usize = 64 << 10;

/// Namespaces of one warehouse.
pub const NAMESPACES_MAX: usize = 100_000;

/// Tables of one warehouse.
pub const TABLES_MAX: usize = 1_000_000;

/// Tables of one `transactions/commit`.
pub const TRANSACTION_TABLES_MAX: usize = 256;

/// Entries of one page of a listing; larger page sizes are cut to it.
pub const PAGE_SIZE_MAX: usize = 1_000;

/// Bytes of the object key of a table's location, so that its metadata files stay within S3's 1,024.
pub const LOCATION_KEY_BYTES_MAX: usize = 900;

/// Bytes of an object key (S3), checked for metadata files.
pub const OBJECT_KEY_BYTES_MAX: usize = 1_024;

/// Bytes of one metadata file, unpacked. Larger files are not read, and a commit that would make one is refused.
pub const METADATA_BYTES_MAX: usize = 64 << 20;

/// Bytes of metadata files that go into the log record of a commit; what does not fit is written beforehand.
pub const METADATA_INLINE_BYTES_MAX: usize = 1 << 20;

/// Metadata files that one commit deletes when `write.metadata.delete-after-commit.enabled` is set; the rest stays.
pub const METADATA_DELETES_MAX: usize = 256;

/// Times a commit starts again because its tables moved while large metadata was written (429).
pub const COMMIT_ATTEMPTS_MAX: usize = 32;

/// How long an idempotency key is remembered, in milliseconds; `/v1/config` says the same as [`IDEMPOTENCY_LIFETIME`].
pub const IDEMPOTENCY_LIFETIME_MS: u64 = 30 * 60 * 1_000;

/// [`IDEMPOTENCY_LIFETIME_MS`] as an ISO 8601 duration.
pub const IDEMPOTENCY_LIFETIME: &str = "PT30M";

/// Idempotency keys that one warehouse remembers; beyond that the oldest is forgotten early.
pub const IDEMPOTENCY_KEYS_MAX: usize = 100_000;

/// Expired idempotency keys that one change removes along the way.
pub const IDEMPOTENCY_EXPIRED_PER_CHANGE_MAX: usize = 8;

/// Places of staged tables that one warehouse remembers, with who staged each; beyond that the oldest is forgotten: its writer
/// needs rights on the files that it put there when it commits (403).
pub const STAGED_PLACES_MAX: usize = 10_000;

/// Locations that a table keeps, earlier ones included.
pub const TABLE_LOCATIONS_MAX: usize = 64;

/// Versions of objects that a purge removes with one log record, and keys that it looks for: what a core does for it in
/// one turn.
pub const PURGE_KEYS_MAX: usize = 32;

/// Log records that a purge writes before it waits until they are durable.
pub const PURGE_RECORDS_MAX: usize = 16;

/// Files that a purge takes from a manifest before it deletes them; a manifest with more is decoded again for the rest.
pub const PURGE_FILES_MAX: usize = 65_536;

/// Bytes of a manifest or manifest list that a purge reads; a larger one counts as unreadable.
pub const PURGE_FILE_BYTES_MAX: u64 = 128 << 20;

/// Manifests that a purge remembers as done; more are read again where another snapshot names them.
pub const PURGE_MANIFESTS_MAX: usize = 1_000_000;

/// Manifest lists and manifests that a purge could not read and leaves; with more it leaves all that it has not deleted.
pub const PURGE_KEPT_MAX: usize = 100_000;

/// Files that could not be read or deleted which a purge names; more are only counted.
pub const PURGE_LEFT_MAX: usize = 16;

/// Bytes of the location and of the reason of such a file that are kept.
pub const PURGE_LEFT_BYTES_MAX: usize = 1_100;

/// Times that a purge tries to read or delete something while the store is busy.
pub const PURGE_ATTEMPTS_MAX: usize = 10;

/// Milliseconds that it waits in between.
pub const PURGE_RETRY_MS: u64 = 1_000;

/// Milliseconds until a purge is tried again that could not go on.
pub const PURGE_AGAIN_MS: u64 = 60_000;

/// Milliseconds that the creation of a table waits for the end of a purge that has its location, and the deletion of a
/// warehouse for those in it.
pub const PURGE_WAIT_MS_MAX: u64 = 5_000;

/// Milliseconds between two looks whether it has ended.
pub const PURGE_LOOK_MS: u64 = 20;

/// Purges of one warehouse that have not ended (429 for the drop).
pub const PURGES_OPEN_MAX: usize = 10_000;

/// Ended purges of one warehouse that are shown; of those that left something, also after a restart.
pub const PURGES_ENDED_MAX: usize = 100;

/// Purges that one answer of their page lists.
pub const PURGES_LISTED_MAX: usize = 1_000;

/// Snapshots that one commit, or one transaction, may add and be recognised by; of a larger one nothing is remembered, and
/// when it is sent again its requirements decide.
pub const RECOGNISED_SNAPSHOTS_MAX: usize = 1_024;

/// How long digests are kept after their snapshot has expired, or their table was dropped, in milliseconds.
pub const TOMBSTONE_LIFETIME_MS: u64 = 24 * 60 * 60 * 1_000;

/// Snapshots that one commit, or one transaction, expires and whose digests go after [`TOMBSTONE_LIFETIME_MS`]; those of
/// the others go with their table.
pub const TOMBSTONES_PER_COMMIT_MAX: usize = 65_536;

/// Digests of snapshots that one change removes along the way, and that one value of expired snapshots names.
pub const DIGESTS_REMOVED_PER_CHANGE_MAX: usize = 500;

/// Values that the deletion of a warehouse removes with one log record.
pub const DELETE_VALUES_MAX: usize = 500;

/// Bytes of decoded metadata and answers that one warehouse keeps in memory, roughly; the least recently used go first.
pub const CACHE_BYTES_MAX: usize = 128 << 20;

/// Bytes of an answer from which on it is compressed for a client that takes gzip.
pub const GZIP_BYTES_MIN: usize = 4 << 10;

const _: () = {
    assert!(NAMESPACE_BYTES_MAX + TABLE_NAME_BYTES_MAX + 3 < OBJECT_KEY_BYTES_MAX);
    assert!(PURGE_KEYS_MAX * (OBJECT_KEY_BYTES_MAX + 32) < 128 << 10);
    assert!(PURGE_LEFT_MAX * 2 * PURGE_LEFT_BYTES_MAX < 64 << 10);
    assert!(LOCATION_KEY_BYTES_MAX < OBJECT_KEY_BYTES_MAX);
};
