//! What the catalog keeps of a table and of a change it made: plain values, at the bottom of the crate.
//!
//! `store` decides over them and holds them in memory, its values in a bucket are their encoding. Pure data: nothing
//! here knows JSON, the engine or the protocol.

use crate::access::KeptPrincipal;

/// Where a table stands: all that a value keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    pub(crate) uuid: String,
    /// Of the newest metadata file, as clients see it.
    pub(crate) metadata_location: String,
    /// Key prefix of the table's location.
    pub(crate) location_key: String,
    /// Those of the locations it had before: its files may lie there still, so they are given to no other table. At most
    /// `TABLE_LOCATIONS_MAX`, without `location_key`.
    pub(crate) earlier: Vec<String>,
}

impl Pointer {
    /// Returns all key prefixes that are the table's.
    pub(crate) fn location_keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.location_key).chain(&self.earlier).map(String::as_str)
    }
}

/// The deletion of all that a dropped table's metadata reaches: how far it is, or how it ended. All that a value keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purge {
    /// Namespace and name that the table had, for people.
    pub(crate) table: String,
    pub(crate) uuid: String,
    /// The root of what is deleted, and the last that goes.
    pub(crate) metadata_location: String,
    /// Key prefixes that no other table gets before the end.
    pub(crate) locations: Vec<String>,
    pub(crate) since_ms: u64,
    /// Who asked for it.
    pub(crate) asked_by: KeptPrincipal,
    pub(crate) at: PurgePlace,
    /// Snapshots of the table; 0 until the root was read.
    pub(crate) snapshots: u64,
    /// Files that were there and are gone.
    pub(crate) deleted: u64,
    /// Files that could not be deleted.
    pub(crate) failed: u64,
    /// Metadata files, manifest lists and manifests that could not be read: what only they name stays.
    pub(crate) unreadable: u64,
    /// The first `PURGE_LEFT_MAX` of both, with the reason.
    pub(crate) left: Vec<(String, String)>,
    pub(crate) ended_ms: Option<u64>,
}

/// Where a purge goes on. All before it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PurgePlace {
    pub(crate) phase: PurgePhase,
    /// Index in the root's snapshots.
    pub(crate) snapshot: u64,
    /// Index in that snapshot's manifests.
    pub(crate) manifest: u64,
    /// Entries of that manifest that were done.
    pub(crate) entry: u64,
}

/// What a purge deletes, in its order: what names other files goes behind those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PurgePhase {
    /// Data and delete files.
    #[default]
    Data,
    /// Manifests, and then the list that names them, of one snapshot after the other.
    Manifests,
    /// Statistics and metadata files, the root last.
    Metadata,
}

impl Purge {
    /// Whether nothing was left behind.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.unreadable == 0
    }
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
