//! Mistakes that are built into the engine one at a time, to see that the simulated checks find them.
//!
//! `cargo x mutants` builds the engine with the feature `mutants` and chooses one. I1. Without the feature [`seeded`] is
//! false when it is compiled, and nothing of this is left. I2. Each mistake has a switch at its place in the code.

use std::sync::atomic::{AtomicU32, Ordering};

/// Number of the mistake that was chosen, from 1; 0 for none.
static CHOSEN: AtomicU32 = AtomicU32::new(0);

/// Whether the mistake was chosen.
#[inline(always)]
pub(crate) fn seeded(mutant: Mutant) -> bool {
    cfg!(feature = "mutants") && CHOSEN.load(Ordering::Relaxed) == mutant as u32 + 1
}

/// Builds a mistake in; returns whether there is one of that name. Once, before any engine is started.
#[cfg(feature = "mutants")]
pub fn choose(name: &str) -> bool {
    let number = (1_u32..).zip(MUTANTS).find(|(_, (known, _))| *known == name);
    CHOSEN.store(number.map_or(0, |(number, _)| number), Ordering::Relaxed);
    number.is_some()
}

macro_rules! mutants {
    ($($name:ident: $text:literal,)*) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutant {
            $(#[doc = $text] $name,)*
        }

        /// All of them, by name, with what each one breaks.
        #[cfg(feature = "mutants")]
        pub const MUTANTS: &[(&str, &str)] = &[$((stringify!($name), $text),)*];
    };
}

mutants! {
    LargeUnflushed: "A large object is published before its extents are flushed.",
    StagedUnflushed: "What a transaction staged is published before it is flushed.",
    FlushJoinsRunning: "Who asks for a flush is content with one that was already running.",
    FlushFailureIgnored: "A failed flush is taken for one that worked.",
    LogUndurable: "A log block is written, but not durably.",
    LogFailureIgnored: "A log write that failed is taken for one that worked.",
    MarkBeforeWrite: "Records are called durable before their block is written.",
    MarkTooFar: "One record more than was written is called durable.",
    ZoneHeaderUndurable: "The header of a zone that was taken is not durable.",
    ReleaseFirstCopyFirst: "A zone is released by its first header before its second.",
    RecoveryUnflushed: "What recovery read is not flushed before it is served.",
    PutEarly: "A put is answered before its record is durable.",
    DeleteEarly: "A delete is answered before its record is durable.",
    CompleteEarly: "A completed upload is answered before its record is durable.",
    RefusalEarly: "A refusal is answered before what it tells of is durable.",
    AbsenceEarly: "An absence is answered before the delete that made it is durable.",
    ReadEarly: "An object is read out before its record is durable.",
    ListEarly: "A listing is read out before what it shows is durable.",
    TransactionSplit: "A transaction is logged as two records in two blocks.",
    ConditionEarly: "A condition is looked at before the wait for room in the log, and not again.",
    MatchIgnored: "A condition on an entity tag is met by any object.",
    BucketLeftOpen: "A bucket takes writes while it is being deleted.",
    IndeterminateReopened: "A bucket that may have been deleted takes writes again.",
    BucketIdForgotten: "The highest bucket id is not restored from the checkpoint.",
    SequencePerRecord: "A record takes one sequence however many changes it has.",
    UnitsUnverified: "The units of an object are not verified when they are read.",
    BlockUnchecked: "Recovery does not look at the checksum of a log block.",
    BlockAnyNumber: "Recovery takes a log block whatever its number and its first sequence.",
    BlockAnyStore: "A log block of another store is taken for one of this store.",
    PageUnchecked: "The checksum of a checkpoint page is not looked at.",
    AnchorUnchecked: "The checksum of an anchor is not looked at.",
    SuperblockUnchecked: "The checksum of a superblock is not looked at.",
    ZoneHeaderUnchecked: "The checksum of a zone header is not looked at.",
    LaterBlockIgnored: "Recovery cuts the log at a damaged block though later ones are there.",
    DamagedTakesWrites: "A shard whose log is damaged goes on taking writes.",
    DamagedAnswersAbsence: "A damaged shard says that a key is absent which it could not read.",
    DirectoryTakenAsWhole: "A damaged directory says that a bucket is absent which it could not read.",
    LastRecordSkipped: "Replay leaves out the last record of a block of several.",
    ReplayTwice: "Replay applies every record twice.",
    OldestAnchor: "Recovery starts from the older one of two checkpoints.",
    DirectoryNotLoaded: "The directory of buckets is not loaded from the checkpoint.",
    PagesForgotten: "After a restart the zones of older checkpoint pages are not released.",
    CompactionForgotten: "After a restart compaction zones are neither cleaned nor released.",
    AnchorBeforePages: "An anchor is written before the pages it refers to are flushed.",
    AnchorBeforeLog: "An anchor is written before the log is durable up to its cut.",
    CutInBlock: "A checkpoint cuts the log inside of the open block.",
    SnapshotLate: "The snapshot of a checkpoint is taken a turn after the cut of the log.",
    StalePage: "A changed leaf goes on referring to the page of the older one.",
    LeafLost: "The second half of a leaf is lost when it is split.",
    FenceStale: "The fence of a chunk keeps the old first key of a leaf.",
    FreeBeforeDurable: "Extents are free before the record that displaces them is durable.",
    PinsIgnored: "Extents are reused while somebody reads them.",
    PinsUnshared: "A second reader of an object hides the first.",
    ZoneReleasedWhileRead: "A log or compaction zone is released while somebody reads from it.",
    ZoneReleasedLive: "A zone is released though objects are in it.",
    ZoneReleasedEarly: "A zone is released before what displaced its last object is durable.",
    PageZoneReleased: "A zone of pages is released though the newest checkpoint needs it.",
    MovesUnflushed: "A move is logged before the moved bytes are durable.",
    CompactionAfterIndex: "The index refers to moved bytes before they are written.",
    MoveUnchecked: "A move gives its bytes to whatever stands under the key by then.",
    GivenBackTwice: "The space of a dropped upload is released twice.",
    DroppedKept: "The space of a dropped or refused upload is not released.",
    OverwriteKept: "The space of an overwritten object is never free again.",
    PartReplacedKept: "The space of a replaced part is never free again.",
    AbortKeepsParts: "An aborted upload keeps its parts.",
    SystemValuesForgotten: "A start forgets what the store itself keeps, as if its bucket had been deleted.",
    GoneUploadsKept: "The uploads of a deleted bucket keep their space.",
    UnchosenKept: "Parts that a completion does not name keep their space.",
    NullTwice: "A key may have two null versions.",
    NewestVersionDeleted: "Deleting a version removes the newest one.",
    RevisionEarly: "New attributes are answered before their record is durable.",
    NewestVersionRevised: "New attributes of a version are given to the newest one.",
    RenameFrees: "The bytes of a renamed object are free though it has them.",
    RenameCopies: "A renamed object stays under its old key too.",
    RenameEarly: "A rename is answered before its record is durable.",
    RenameUnchecked: "A rename does not look at what its source and its target are.",
    LockIgnored: "A version is removed though a lock protects it.",
    LockLoosened: "Retention is shortened by anybody.",
    MarkerListed: "A listing shows what a delete marker hides.",
    ListSkips: "A listing leaves out the first key of the next page.",
    SeekTooFar: "A listing leaves out the key behind a common prefix.",
    CacheUnitless: "The cache takes one unit of a blob for another.",
    CacheShardless: "The cache takes a blob of one shard for one of another.",
}
