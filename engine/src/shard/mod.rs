//! One shard: its index, log and space, owned by one core. Commands from any core end up here as method calls.
//!
//! The shape of every change: check (refuses before anything is touched) → `settle` (sync: takes its place in the log
//! and changes the index at once) → `durable` (await) → answer. I1. No borrow of shard state lives across an await.
//! I2. What was settled is seen by later commands of this shard; nobody outside is told of it before it is durable.
//! I3. Space of what a change displaced is reused only after the change is durable and the last reader is gone.
//!
//! Here is what a shard holds and which buckets it takes writes for; a file for each command stands beside it.

pub(crate) mod local_bucket;
pub(crate) mod mailbox;
mod commit;
mod delete;
mod get;
mod list;
mod maintenance;
mod multipart;
mod put;
mod reserve;
mod space;
mod stage;
mod transaction;
mod versions;

pub use space::SpaceFacts;
pub use stage::Staged;
pub use transaction::{Transaction, TransactionBody, TransactionPut};

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::bucket_meta::SettingKind;
use crate::drive::Drive;
use crate::error::EngineError;
use crate::format::anchor::Anchor;
use crate::format::checksum::unit_checksums;
use crate::format::record::{BlobPlace, BlobRecord};
use crate::format::superblock::Superblock;
use crate::meta::index::{BucketIndex, Index};
use crate::meta::log::Log;
use crate::mutant::{Mutant, is};
use crate::object::{ETag, PutCondition, PutRefused};
use crate::platform::Platform;
use crate::space::extents::FreeSpace;
use crate::space::usage::{Usage, ZoneId};
use crate::space::zones::ZoneTable;
use crate::stats::ShardStats;
use crate::units::{BucketId, Sequence, ShardId};
use maintenance::MaintenanceState;
use reserve::Growth;
use space::SpaceState;

/// Rounds of upkeep after which no more is free than before, until something is refused as too much for the drive.
const SPACE_WAITS_MAX: u32 = 4;

/// What a shard is made of; `store` fills it at start.
pub(crate) struct ShardGround {
    pub(crate) id: ShardId,
    /// All drives of the store, in order.
    pub(crate) superblocks: Vec<Superblock>,
    pub(crate) drives: Vec<Rc<dyn Drive>>,
    pub(crate) zones: Vec<Arc<ZoneTable>>,
    /// The drive that has the shard's log, checkpoints and packs.
    pub(crate) home: usize,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) stats: Arc<ShardStats>,
    /// Tells all shards that zones came free or are needed.
    pub(crate) tell_all: Box<dyn Fn()>,
    /// Log bytes after which a checkpoint is taken, at most.
    pub(crate) checkpoint_log_bytes: u64,
}

impl ShardGround {
    pub(crate) fn home(&self) -> &Superblock {
        &self.superblocks[self.home]
    }

    pub(crate) fn home_drive(&self) -> &Rc<dyn Drive> {
        &self.drives[self.home]
    }

    pub(crate) fn home_zones(&self) -> &Arc<ZoneTable> {
        &self.zones[self.home]
    }
}

/// What recovery found of a shard's space.
pub(crate) struct ShardSpace {
    pub(crate) free: FreeSpace,
    pub(crate) usage: Usage,
    pub(crate) extent_zones: BTreeSet<ZoneId>,
    /// Pack zones with the log position at which they were taken.
    pub(crate) packs: BTreeMap<u32, u64>,
    pub(crate) page_zones: BTreeSet<u32>,
    pub(crate) page_bytes: HashMap<u32, u64>,
}

/// One shard, on the core that owns it. All methods without `async` are atomic: nothing else of the shard runs.
pub struct Shard {
    pub(crate) ground: ShardGround,
    pub(crate) log: Rc<Log>,
    pub(crate) index: RefCell<Index>,
    space: RefCell<SpaceState>,
    growth: Growth,
    maintenance: MaintenanceState,
    open_buckets: RefCell<HashSet<BucketId>>,
    /// Buckets that take no changes because of a setting that is not honoured.
    unsupported: RefCell<HashMap<BucketId, SettingKind>>,
    /// Buckets whose deletion failed in a way that only the next start can tell how.
    doubtful: RefCell<HashSet<BucketId>>,
    /// Whether the whole log was replayed: otherwise what is not in the index may have been lost with the rest.
    is_whole: Cell<bool>,
    /// What the layers above keep on this core, one of each type.
    extensions: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
}

impl Shard {
    pub(crate) fn new(
        ground: ShardGround,
        log: Rc<Log>,
        index: Index,
        anchor: Anchor,
        space: ShardSpace,
        is_whole: bool,
    ) -> Rc<Shard> {
        let held = index.buckets.values().map(BucketIndex::held);
        let (objects, bytes) = held.fold((0, 0), |(objects, bytes), held| (objects + held.0, bytes + held.1));
        ground.stats.objects.store(objects, Relaxed);
        ground.stats.object_bytes.store(bytes, Relaxed);
        let ShardSpace { free, usage, extent_zones, packs, page_zones, page_bytes } = space;
        let space = SpaceState::new(&ground.superblocks, free, usage, extent_zones);
        let shard = Rc::new(Shard {
            ground,
            log,
            index: RefCell::new(index),
            space: RefCell::new(space),
            growth: Growth::default(),
            maintenance: MaintenanceState::new(anchor, packs, page_zones, page_bytes),
            open_buckets: RefCell::default(),
            unsupported: RefCell::default(),
            doubtful: RefCell::default(),
            is_whole: Cell::new(is_whole),
            extensions: RefCell::default(),
        });
        shard.note_free_bytes();
        shard.promise_pages();
        shard
    }

    /// Takes a last checkpoint if one is worth it, writes what is pending, and takes nothing more.
    pub(crate) async fn stop(&self) {
        self.close().await;
        self.log.stop().await;
    }

    /// [`EngineError::ReadOnly`] when the shard's log is damaged: then what is missing here may have been lost.
    pub fn check_whole(&self) -> Result<(), EngineError> {
        if self.is_whole.get() { Ok(()) } else { Err(EngineError::ReadOnly { shard: self.ground.id }) }
    }

    /// Takes no writes and tells no absences, because of a failure elsewhere.
    pub(crate) fn give_up(&self, failure: String) {
        self.is_whole.set(false);
        self.ground.stats.note_read_only(failure);
        self.log.fail();
    }

    /// The newest sequence given out.
    pub fn last_sequence(&self) -> Sequence {
        self.log.last_sequence()
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub fn now_ms(&self) -> u64 {
        self.ground.platform.now_ms()
    }

    /// Unpredictable bits.
    pub fn random_u128(&self) -> u128 {
        self.ground.platform.random_u128()
    }

    /// State that a layer above keeps on this shard's core, made by `T::default()` at first use: one of each type.
    pub fn extension<T: Default + 'static>(&self) -> Rc<T> {
        let mut kept = self.extensions.borrow_mut();
        let any = kept.entry(TypeId::of::<T>()).or_insert_with(|| Rc::new(T::default()));
        any.clone().downcast::<T>().expect("kept by its type")
    }

    // ---- buckets of this shard ----

    /// Whether the bucket takes writes: not before its creation, nor from the moment its deletion was decided.
    pub fn is_open(&self, bucket: BucketId) -> bool {
        self.open_buckets.borrow().contains(&bucket)
    }

    /// Has a bucket take writes, unless it may have been deleted: the next start would forget them with it. With an
    /// `unsupported` setting it takes none, and says so.
    pub(crate) fn open_bucket(&self, bucket: BucketId, unsupported: Option<SettingKind>) {
        if let Some(kind) = unsupported {
            self.unsupported.borrow_mut().insert(bucket, kind);
        }
        if !self.doubtful.borrow().contains(&bucket) || is(Mutant::DoubtReopened) {
            self.open_buckets.borrow_mut().insert(bucket);
        }
    }

    /// Closes a bucket to writes if nothing is in it; answers whether it did.
    pub(crate) fn close_bucket_if_empty(&self, bucket: BucketId) -> bool {
        let empty = self.with_bucket(bucket, BucketIndex::is_empty).unwrap_or(true);
        if empty && !is(Mutant::BucketLeftOpen) {
            self.open_buckets.borrow_mut().remove(&bucket);
        }
        empty
    }

    /// Forgets what a deleted bucket left in the index, if anything.
    pub(crate) fn forget_buckets_except(&self, known: &HashSet<BucketId>) {
        self.index.borrow_mut().buckets.retain(|bucket, _| known.contains(bucket));
    }

    /// Says nothing more of a bucket and takes nothing for it: whether it is still there is known only after the next
    /// start.
    pub(crate) fn doubt(&self, bucket: BucketId) {
        self.open_buckets.borrow_mut().remove(&bucket);
        self.doubtful.borrow_mut().insert(bucket);
    }

    /// [`EngineError::UnsupportedSetting`] when the bucket takes no changes because of one.
    fn check_supported(&self, bucket: BucketId) -> Result<(), EngineError> {
        match self.unsupported.borrow().get(&bucket) {
            Some(kind) => Err(EngineError::UnsupportedSetting { kind: *kind }),
            None => Ok(()),
        }
    }

    fn check_certain(&self, bucket: BucketId) -> Result<(), EngineError> {
        match self.doubtful.borrow().contains(&bucket) {
            true => Err(EngineError::ReadOnly { shard: self.ground.id }),
            false => Ok(()),
        }
    }

    pub(crate) fn with_bucket<T>(&self, bucket: BucketId, look: impl FnOnce(&BucketIndex) -> T) -> Option<T> {
        self.index.borrow().buckets.get(&bucket).map(look)
    }

    fn changed(&self, bucket: BucketId) -> Sequence {
        self.with_bucket(bucket, |bucket| bucket.changed).unwrap_or_default()
    }
}

/// A blob whose bytes ride in the log record.
pub(crate) fn inline_blob(bytes: Bytes) -> BlobRecord {
    let units = unit_checksums(&bytes).collect();
    BlobRecord { size: bytes.len() as u64, place: BlobPlace::Inline(bytes), units }
}

/// Whether a write may replace an object with this tag (`None`: no object).
fn check_condition(condition: &PutCondition, etag: Option<ETag>) -> Result<(), PutRefused> {
    match (condition, etag) {
        (PutCondition::None, _) | (PutCondition::IfAbsent, None) | (PutCondition::IfPresent, Some(_)) => {
            Ok(())
        }
        (PutCondition::IfAbsent, Some(_)) => Err(PutRefused::PreconditionFailed),
        (PutCondition::IfPresent | PutCondition::IfMatch(_), None) => Err(PutRefused::NoSuchKey),
        (PutCondition::IfMatch(tags), Some(etag)) => match tags.contains(&etag) || is(Mutant::MatchIgnored) {
            true => Ok(()),
            false => Err(PutRefused::PreconditionFailed),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let (a, b) = (ETag { md5: [1; 16], parts: 0 }, ETag { md5: [2; 16], parts: 0 });
        let check = |condition: &PutCondition, etag, want| assert_eq!(check_condition(condition, etag), want);
        check(&PutCondition::None, None, Ok(()));
        check(&PutCondition::IfAbsent, None, Ok(()));
        check(&PutCondition::IfAbsent, Some(a), Err(PutRefused::PreconditionFailed));
        check(&PutCondition::IfPresent, Some(a), Ok(()));
        check(&PutCondition::IfPresent, None, Err(PutRefused::NoSuchKey));
        check(&PutCondition::IfMatch(vec![b, a]), Some(a), Ok(()));
        check(&PutCondition::IfMatch(vec![b]), Some(a), Err(PutRefused::PreconditionFailed));
        check(&PutCondition::IfMatch(vec![a]), None, Err(PutRefused::NoSuchKey));
    }
}
