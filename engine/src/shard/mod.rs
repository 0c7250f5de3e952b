//! One shard: its index, log and space, owned by one core. Commands from any core end up here as method calls.
//!
//! The shape of every change is in `commit`: check (refuses before anything is touched) → append (sync: takes its place
//! in the log and changes the index at once) → durable (await) → answer. I1. No borrow of shard state lives across an
//! await. I2. What was appended is seen by later commands of this shard; nobody outside is told of it before it is
//! durable. I3. Space of what a change displaced is reused only after the change is durable and the last reader is
//! gone.
//!
//! Here is what a shard holds; a file for each command stands beside it. All that change something go through `commit`.

pub(crate) mod local_bucket;
mod buckets;
mod commit;
mod delete;
pub(crate) mod expire;
mod get;
mod list;
mod maintenance;
mod multipart;
mod put;
mod quota;
mod rename;
mod reserve;
mod space;
mod stage;
mod transaction;
mod versions;

pub(crate) use buckets::BucketRules;
pub(crate) use commit::Verdict;
pub use space::SpaceFacts;
pub use stage::Staged;
pub use transaction::{Transaction, TransactionBody, TransactionPut};

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::blob::Blobs;
use crate::drive::Drive;
use crate::error::EngineError;
use crate::format::anchor::Anchor;
use crate::format::superblock::Superblock;
use crate::meta::index::{BucketIndex, Index};
use crate::meta::log::Log;
use crate::platform::Platform;
use crate::space::extents::FreeSpace;
use crate::space::usage::{Usage, ZoneId};
use crate::space::zones::ZoneTable;
use crate::stats::ShardStats;
use crate::units::{BucketId, Sequence, ShardId};
use buckets::BucketStates;
use maintenance::MaintenanceState;
use reserve::Growth;
use space::SpaceState;

/// Rounds of maintenance after which no more is free than before, until something is refused as too much for the drive.
const SPACE_WAITS_MAX: u32 = 4;

/// What a shard is made of; `store` fills it at start.
pub(crate) struct ShardContext {
    pub(crate) id: ShardId,
    /// All drives of the store, in order.
    pub(crate) superblocks: Vec<Superblock>,
    pub(crate) drives: Vec<Rc<dyn Drive>>,
    pub(crate) blobs: Rc<Blobs>,
    pub(crate) zones: Vec<Arc<ZoneTable>>,
    /// The drive that has the shard's log, checkpoints and compaction zones.
    pub(crate) home: usize,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) stats: Arc<ShardStats>,
    /// Tells all shards that zones came free or are needed.
    pub(crate) broadcast_space_changed: Box<dyn Fn()>,
    /// Log bytes after which a checkpoint is taken, at most.
    pub(crate) checkpoint_log_bytes: u64,
}

impl ShardContext {
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
    /// Compaction zones with the log position at which they were taken.
    pub(crate) compaction_zones: BTreeMap<u32, u64>,
    pub(crate) page_zones: BTreeSet<u32>,
    pub(crate) page_bytes: HashMap<u32, u64>,
}

/// One shard, on the core that owns it. All methods without `async` are atomic: nothing else of the shard runs.
pub(crate) struct Shard {
    pub(crate) context: ShardContext,
    pub(crate) log: Rc<Log>,
    pub(crate) index: RefCell<Index>,
    space: RefCell<SpaceState>,
    growth: Growth,
    maintenance: MaintenanceState,
    bucket_states: BucketStates,
    /// Whether the whole log was replayed: otherwise what is not in the index may have been lost with the rest.
    is_whole: Cell<bool>,
    /// What the layers above keep on this core, one of each type.
    extensions: RefCell<HashMap<TypeId, Rc<dyn Any>>>,
}

impl Shard {
    pub(crate) fn new(
        context: ShardContext,
        log: Rc<Log>,
        index: Index,
        anchor: Anchor,
        space: ShardSpace,
        is_whole: bool,
    ) -> Rc<Shard> {
        let held = index.buckets.values().map(BucketIndex::held);
        let (objects, bytes) = held.fold((0, 0), |(objects, bytes), held| (objects + held.0, bytes + held.1));
        context.stats.objects.store(objects, Relaxed);
        context.stats.object_bytes.store(bytes, Relaxed);
        let ShardSpace { free, usage, extent_zones, compaction_zones, page_zones, page_bytes } = space;
        let space = SpaceState::new(&context.superblocks, free, usage, extent_zones);
        let shard = Rc::new(Shard {
            context,
            log,
            index: RefCell::new(index),
            space: RefCell::new(space),
            growth: Growth::default(),
            maintenance: MaintenanceState::new(anchor, compaction_zones, page_zones, page_bytes),
            bucket_states: BucketStates::default(),
            is_whole: Cell::new(is_whole),
            extensions: RefCell::default(),
        });
        shard.note_free_bytes();
        shard.reserve_pages();
        shard
    }

    /// Takes a last checkpoint if one is worth it, writes what is pending, and takes nothing more.
    pub(crate) async fn stop(&self) {
        self.close().await;
        self.log.stop().await;
    }

    /// [`EngineError::ReadOnly`] when the shard's log is damaged: then what is missing here may have been lost.
    pub(crate) fn check_whole(&self) -> Result<(), EngineError> {
        if self.is_whole.get() { Ok(()) } else { Err(EngineError::ReadOnly { shard: self.context.id }) }
    }

    /// Takes no writes and tells no absences, because of a failure elsewhere.
    pub(crate) fn fail(&self, failure: String) {
        self.is_whole.set(false);
        self.context.stats.note_read_only(failure);
        self.log.fail();
    }

    /// The newest sequence given out.
    pub(crate) fn last_sequence(&self) -> Sequence {
        self.log.last_sequence()
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) fn now_ms(&self) -> u64 {
        self.context.platform.now_ms()
    }

    /// Unpredictable bits.
    pub(crate) fn random_u128(&self) -> u128 {
        self.context.platform.random_u128()
    }

    /// State that a layer above keeps on this shard's core, made by `T::default()` at first use: one of each type.
    pub(crate) fn extension<T: Default + 'static>(&self) -> Rc<T> {
        let mut kept = self.extensions.borrow_mut();
        let any = kept.entry(TypeId::of::<T>()).or_insert_with(|| Rc::new(T::default()));
        any.clone().downcast::<T>().expect("kept by its type")
    }

    pub(crate) fn with_bucket<T>(&self, bucket: BucketId, look: impl FnOnce(&BucketIndex) -> T) -> Option<T> {
        self.index.borrow().buckets.get(&bucket).map(look)
    }

    fn changed(&self, bucket: BucketId) -> Sequence {
        self.with_bucket(bucket, |bucket| bucket.changed).unwrap_or_default()
    }
}
