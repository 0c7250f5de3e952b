//! What the catalog keeps of a table and of a change it made: plain values, at the bottom of the crate.
//!
//! `store` decides over them and holds them in memory, its values in a bucket are their encoding. Pure data: nothing
//! here knows JSON, the engine or the protocol.

/// Where a table stands: all that a value keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) uuid: String,
    /// Of the newest metadata file, as clients see it.
    pub(crate) metadata_location: String,
    /// Key prefix of the table's location.
    pub(crate) location_key: String,
}

/// An answer in the form in which it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// 204.
    Empty,
    /// 200 with this body.
    Json(String),
    /// 200 with the table as of this metadata file.
    Table {
        metadata_location: String,
    },
    Failed {
        status: u16,
        kind: String,
        message: String,
    },
}

/// One remembered answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// When the change was made, milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Digest of the request, as in its idempotency key.
    pub(crate) operation: u128,
    pub(crate) recorded: Recorded,
}

/// What a snapshot that a commit added is known by, should that commit be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotDigest {
    /// Of the snapshot as it was sent.
    pub(crate) sent: u128,
    /// Of the path of its manifest list, as it was sent.
    pub(crate) list: u64,
    /// Of the whole request, shortened.
    pub(crate) request: u64,
}

/// The short form of a table's UUID under which its digests are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableDigest(pub(crate) u64);
