//! The file or block device under a real drive: made, locked for this process, opened with O_DIRECT.
//!
//! The process makes and locks its drives once, before anything is served; every core opens its own descriptor from the
//! lock. I1. While a [`DriveLock`] lives no other process has the drive. I2. Once the drive was given up for writing, it
//! stays so on every core until the lock is gone.
#![expect(clippy::disallowed_methods, reason = "drives are opened before anything is served")]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::DriveCounters;
use crate::units::BLOCK_BYTES;

#[cfg(doc)]
use super::Drive;

/// The right of this process to use one drive. Take it once, before any core opens the drive; clones share it.
///
/// While it lives, a second process that asks for it is refused. It also carries the news of a failed flush from one
/// core to all.
#[derive(Clone, Debug)]
pub struct DriveLock {
    inner: Arc<LockInner>,
}

#[derive(Debug)]
struct LockInner {
    name: Arc<str>,
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _file: File,
    failed: AtomicBool,
    counts: Counts,
}

/// [`DriveCounters`], counted by every core.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) reads: AtomicU64,
    pub(super) read_bytes: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) durable_writes: AtomicU64,
    pub(super) flushes: AtomicU64,
    pub(super) trims: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// Takes the drive at `path`: an existing file or block device.
///
/// A file is locked with `flock`; a block device as well, and opened exclusively, which a mounted one refuses.
pub fn lock_drive(path: &Path) -> Result<DriveLock, OpenError> {
    let name: Arc<str> = path.to_string_lossy().into();
    let fail = |fault| OpenError { drive: Arc::clone(&name), fault };
    let kind = std::fs::metadata(path).map_err(|e| fail(OpenFault::from_io(&e)))?.file_type();
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if kind.is_block_device() {
        options.custom_flags(libc::O_EXCL);
    } else if !kind.is_file() {
        return Err(fail(OpenFault::Kind));
    }
    let file = options.open(path).map_err(|e| match e.raw_os_error() {
        Some(libc::EBUSY) => fail(OpenFault::InUse),
        _ => fail(OpenFault::from_io(&e)),
    })?;
    file.try_lock().map_err(|e| match e {
        std::fs::TryLockError::WouldBlock => fail(OpenFault::InUse),
        std::fs::TryLockError::Error(e) => fail(OpenFault::from_io(&e)),
    })?;
    Ok(DriveLock {
        inner: Arc::new(LockInner {
            name,
            path: path.to_owned(),
            _file: file,
            failed: AtomicBool::new(false),
            counts: Counts::default(),
        }),
    })
}

impl DriveLock {
    /// The path it was taken with.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.inner.name)
    }

    /// What was done on the drive since the lock was taken.
    pub fn counters(&self) -> DriveCounters {
        let counts = &self.inner.counts;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DriveCounters {
            reads: get(&counts.reads),
            read_bytes: get(&counts.read_bytes),
            writes: get(&counts.writes),
            written_bytes: get(&counts.written_bytes),
            durable_writes: get(&counts.durable_writes),
            flushes: get(&counts.flushes),
            trims: get(&counts.trims),
            errors: get(&counts.errors),
        }
    }

    /// Whether the drive was given up for writing.
    pub fn is_failed(&self) -> bool {
        self.inner.failed.load(Ordering::SeqCst)
    }

    /// Gives the drive up for writing, on all cores.
    pub(super) fn fail(&self) {
        self.inner.failed.store(true, Ordering::SeqCst);
    }

    /// A file and a lock of nothing, for operations that no kernel sees.
    #[cfg(test)]
    pub(super) fn of_nothing() -> (File, DriveLock) {
        let file = File::open("/dev/null").expect("exists");
        let twin = file.try_clone().expect("a descriptor");
        let (failed, counts) = (AtomicBool::new(false), Counts::default());
        let inner = LockInner { name: "t".into(), path: "t".into(), _file: twin, failed, counts };
        (file, DriveLock { inner: Arc::new(inner) })
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.inner.counts
    }
}

/// Makes a sparse file of `bytes` to be used as a drive; durable on return. Refused when `path` exists.
///
/// `bytes` is rounded down to whole blocks. Space is taken by [`Drive::allocate`] or by writing.
pub fn create_file(path: &Path, bytes: u64) -> Result<(), OpenError> {
    let make = || -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let sized = file.set_len(bytes - bytes % BLOCK_BYTES).and_then(|()| file.sync_all());
        // Without its size it is no drive, and would stand in the way of one.
        sized.inspect_err(|_| drop(std::fs::remove_file(path)))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    make().map_err(|e| OpenError { drive: path.to_string_lossy().into(), fault: OpenFault::from_io(&e) })
}

/// One core's descriptor of a drive.
pub(super) struct Opened {
    pub(super) file: File,
    /// Bytes, whole blocks, more than none.
    pub(super) size: u64,
    pub(super) is_block_device: bool,
}

/// Opens the drive that `lock` holds for direct I/O.
pub(super) fn open_direct(lock: &DriveLock) -> Result<Opened, OpenError> {
    let fail = |fault| OpenError { drive: lock.name(), fault };
    let failed_io = |e: io::Error| fail(OpenFault::from_io(&e));
    let path = lock.inner.path.as_path();
    let mut file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path).map_err(
            |e| match e.raw_os_error() {
                Some(libc::EINVAL) => fail(OpenFault::NoDirect),
                _ => failed_io(e),
            },
        )?;
    let is_block_device = file.metadata().map_err(failed_io)?.file_type().is_block_device();
    if is_block_device {
        let bytes = logical_block_bytes(&file).map_err(failed_io)?;
        if bytes == 0 || !BLOCK_BYTES.is_multiple_of(bytes) {
            return Err(fail(OpenFault::BlockBytes(bytes)));
        }
    }
    // The end of a block device is its size, as BLKGETSIZE64 would say.
    let bytes = file.seek(SeekFrom::End(0)).map_err(failed_io)?;
    let size = bytes - bytes % BLOCK_BYTES;
    if size == 0 {
        return Err(fail(OpenFault::TooSmall(bytes)));
    }
    Ok(Opened { file, size, is_block_device })
}
/// A drive that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// Its path.
    pub drive: Arc<str>,
    /// Why.
    pub fault: OpenFault,
}

/// Why a drive cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// An `errno` value.
    Errno(i32),
    /// Neither a regular file nor a block device.
    Kind,
    /// Another process holds it, or it is mounted.
    InUse,
    /// The file system refuses O_DIRECT.
    NoDirect,
    /// The device's blocks do not divide ours.
    BlockBytes(u64),
    /// No whole block fits.
    TooSmall(u64),
}

impl OpenFault {
    fn from_io(e: &io::Error) -> OpenFault {
        OpenFault::Errno(e.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drive {}: ", self.drive)?;
        match self.fault {
            OpenFault::Errno(code) => write!(f, "{}", io::Error::from_raw_os_error(code)),
            OpenFault::Kind => write!(f, "neither a regular file nor a block device"),
            OpenFault::InUse => write!(
                f,
                "in use: another process holds it, or the device is mounted; stop that process or unmount the device"
            ),
            OpenFault::NoDirect => write!(
                f,
                "its file system refuses O_DIRECT (tmpfs and some overlay or network file systems do); \
                 put the drive on ext4, XFS or btrfs, in a container on a volume, or give a block device"
            ),
            OpenFault::BlockBytes(bytes) => {
                write!(f, "its blocks have {bytes} bytes, which do not divide {BLOCK_BYTES}")
            }
            OpenFault::TooSmall(bytes) => write!(f, "{bytes} bytes are too few for a drive"),
        }
    }
}

impl std::error::Error for OpenError {}

/// The smallest unit a block device reads and writes.
fn logical_block_bytes(file: &File) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int, to a local one.
    #[expect(unsafe_code, reason = "ioctl has no safe form in std")]
    let failed = unsafe { libc::ioctl(file.as_raw_fd(), libc::BLKSSZGET, &raw mut bytes) } < 0;
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Beside the test binary: the target directory is on a real file system, /tmp may not be.
    pub(in crate::drive) struct TestFile(pub(in crate::drive) PathBuf);

    impl TestFile {
        pub(in crate::drive) fn new(name: &str, bytes: u64) -> TestFile {
            let binary = std::env::current_exe().expect("a path");
            let path = binary.with_file_name(format!("drive-{name}-{}", std::process::id()));
            drop(std::fs::remove_file(&path));
            create_file(&path, bytes).expect("space in the target directory");
            TestFile(path)
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.0));
        }
    }

    /// Cuts a drive off, as nobody should.
    pub(in crate::drive) fn shrink(path: &Path, bytes: u64) {
        let opened = OpenOptions::new().write(true).open(path).expect("exists");
        opened.set_len(bytes).expect("shrinks");
    }

    #[test]
    fn one_process_per_drive() {
        let file = TestFile::new("locked", 1 << 20);
        let lock = lock_drive(&file.0).expect("nobody else uses it");
        let refused = lock_drive(&file.0).expect_err("taken");
        assert_eq!(refused.fault, OpenFault::InUse);
        drop(lock.clone());
        assert_eq!(lock_drive(&file.0).expect_err("taken").fault, OpenFault::InUse);
        drop(lock);
        lock_drive(&file.0).expect("free again");
        assert_eq!(
            lock_drive(&file.0.with_extension("absent")).expect_err("absent").fault,
            OpenFault::Errno(libc::ENOENT)
        );
        assert_eq!(lock_drive(Path::new("/dev/null")).expect_err("no drive").fault, OpenFault::Kind);
        assert_eq!(create_file(&file.0, 1).expect_err("exists").fault, OpenFault::Errno(libc::EEXIST));
    }
}
