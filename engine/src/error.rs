//! What can go wrong below the protocols: facts about drives, damage and limits.
//!
//! *Outcomes* of one operation (a key that is absent, a condition that failed) are narrow enums beside the
//! operation. What stands here is the *world*: it carries what, where, got and expected, and is turned into a
//! protocol's answer once, in the crate that speaks that protocol.

use std::fmt;

use crate::bucket_meta::SettingKind;
use crate::units::{DriveOffset, ShardId};

/// An operation on a drive that did not happen as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveError {
    /// The drive, by the path it was opened with.
    pub drive: std::sync::Arc<str>,
    /// What was tried.
    pub op: DriveOp,
    /// Where on the drive.
    pub at: DriveOffset,
    /// How many bytes were asked for.
    pub bytes: u64,
    /// What the kernel (or the simulator) answered.
    pub cause: DriveCause,
}

/// The operations a drive knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DriveOp {
    Open,
    Read,
    Write,
    Flush,
    Allocate,
    Trim,
}

/// Why a drive operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriveCause {
    /// An `errno` value.
    Errno(i32),
    /// Fewer bytes were moved than asked for.
    Short {
        /// How many were moved.
        got: u64,
    },
    /// The drive failed earlier: after a failed flush or write to the log.
    Failed,
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            DriveOp::Open => "open",
            DriveOp::Read => "read",
            DriveOp::Write => "write",
            DriveOp::Flush => "flush",
            DriveOp::Allocate => "allocate",
            DriveOp::Trim => "trim",
        };
        write!(f, "drive {}: {op} of {} bytes at {}: ", self.drive, self.bytes, self.at)?;
        match self.cause {
            DriveCause::Errno(code) => write!(f, "{}", std::io::Error::from_raw_os_error(code)),
            DriveCause::Short { got } => write!(f, "only {got} bytes were moved"),
            DriveCause::Failed => write!(f, "the drive failed before and takes no more writes"),
        }
    }
}

impl std::error::Error for DriveError {}

/// Bytes on a drive that are not what was written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// Which structure, in the words of `FORMAT.md`.
    pub what: &'static str,
    /// Where it was read.
    pub at: DriveOffset,
    /// The value found.
    pub got: u64,
    /// The value that belongs there.
    pub expected: u64,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: got {:#x}, expected {:#x}", self.what, self.at, self.got, self.expected)
    }
}

impl std::error::Error for Corrupt {}

/// Everything that may keep a shard from doing what was asked, whatever the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineError {
    /// A drive failed.
    Drive(DriveError),
    /// Stored bytes are damaged; they are never served.
    Corrupt(Corrupt),
    /// The shard stopped taking writes: its log could not be written or is damaged below its durable mark.
    ReadOnly {
        /// Which shard.
        shard: ShardId,
    },
    /// No zone is free. Deletes and reads still work.
    Full {
        /// How many bytes were asked for.
        wanted_bytes: u64,
    },
    /// A bounded queue or buffer stayed full; nothing was done, the caller may come again.
    Busy {
        /// The name of the limit.
        limit: &'static str,
        /// Its value.
        max: u64,
    },
    /// The bucket takes no changes: it is being deleted, or gone. Nothing was done, the caller may look again.
    BucketClosed,
    /// No zone is free for the log, and none could be made so in time; nothing was done, the caller may come again.
    NoFreeZone,
    /// A value over its limit; nothing was done.
    TooLarge {
        /// The name of the limit.
        limit: &'static str,
        /// Its value.
        max: u64,
        /// What was asked for.
        got: u64,
    },
    /// The bucket has a setting that must be honoured and that this program does not know how to: it takes no changes.
    UnsupportedSetting {
        /// Which one.
        kind: SettingKind,
    },
    /// The change would remove a version that a lock protects; nothing was done.
    Locked,
    /// The change would leave the bucket with more bytes than its quota; nothing was done.
    QuotaExceeded,
    /// The process is stopping.
    Stopping,
}

impl EngineError {
    /// Whether an error of a change says that its record was never appended to a log: only then is it certain that the
    /// change will not be there after the next start.
    pub(crate) fn is_surely_unlogged(&self) -> bool {
        match self {
            EngineError::Full { .. }
            | EngineError::Busy { .. }
            | EngineError::BucketClosed
            | EngineError::NoFreeZone
            | EngineError::TooLarge { .. }
            | EngineError::UnsupportedSetting { .. }
            | EngineError::Locked
            | EngineError::QuotaExceeded => true,
            EngineError::Drive(_)
            | EngineError::Corrupt(_)
            | EngineError::ReadOnly { .. }
            | EngineError::Stopping => false,
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Drive(e) => write!(f, "{e}"),
            EngineError::Corrupt(e) => write!(f, "{e}"),
            EngineError::ReadOnly { shard } => write!(f, "{shard} is read-only after a failure of its log"),
            EngineError::Full { wanted_bytes } => write!(f, "no space for {wanted_bytes} bytes"),
            EngineError::Busy { limit, max } => write!(f, "{limit} ({max}) is reached"),
            EngineError::Locked => write!(f, "a lock protects the version"),
            EngineError::QuotaExceeded => write!(f, "the quota of the bucket would be exceeded"),
            EngineError::BucketClosed => write!(f, "the bucket is being deleted"),
            EngineError::NoFreeZone => write!(f, "no zone is free for the log"),
            EngineError::TooLarge { limit, max, got } => write!(f, "{limit} is {max}, got {got}"),
            EngineError::UnsupportedSetting { kind } => {
                write!(f, "the bucket has the setting {kind}, which this version does not honour")
            }
            EngineError::Stopping => write!(f, "the server is stopping"),
        }
    }
}

impl std::error::Error for EngineError {}

impl From<DriveError> for EngineError {
    fn from(e: DriveError) -> Self {
        EngineError::Drive(e)
    }
}

impl From<Corrupt> for EngineError {
    fn from(e: Corrupt) -> Self {
        EngineError::Corrupt(e)
    }
}
