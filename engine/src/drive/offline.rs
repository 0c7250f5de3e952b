//! A drive that is only read, by a process without cores: every read blocks.
//!
//! The tools that look at a store which is not served open drives with it. I1. Opened without the right to write.
//! I2. A drive that a server holds is refused, and a server that starts meanwhile is, unless asked to go ahead by force.
#![expect(clippy::disallowed_methods, reason = "for tools without cores")]

use std::fs::{File, TryLockError};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::{Buffer, Drive, Durability, OpenError, OpenFault};
use crate::error::{DriveCause, DriveError, DriveOp};
use crate::units::{BLOCK_BYTES, DriveOffset};

/// A file or block device, open for reading. Writes, allocations and trims fail with `EROFS`; a flush does nothing.
pub struct ReadOnlyDrive {
    file: Arc<File>,
    name: Arc<str>,
    bytes: u64,
}

impl ReadOnlyDrive {
    /// Opens the drive at `path`; [`OpenFault::InUse`] when a server holds it, unless by `force`: what changes
    /// meanwhile may then look like damage.
    pub fn open(path: &Path, force: bool) -> Result<ReadOnlyDrive, OpenError> {
        let fail = |fault| OpenError { drive: path.to_string_lossy().into(), fault };
        let failed = |e: &std::io::Error| fail(OpenFault::Errno(e.raw_os_error().unwrap_or(libc::EIO)));
        let kind = std::fs::metadata(path).map_err(|e| failed(&e))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(fail(OpenFault::Kind));
        }
        let mut file = File::open(path).map_err(|e| failed(&e))?;
        if !force {
            file.try_lock_shared().map_err(|e| match e {
                TryLockError::WouldBlock => fail(OpenFault::InUse),
                TryLockError::Error(e) => failed(&e),
            })?;
        }
        let bytes = file.seek(SeekFrom::End(0)).map_err(|e| failed(&e))?;
        Ok(ReadOnlyDrive { file: Arc::new(file), name: path.to_string_lossy().into(), bytes })
    }

    fn refuse(&self, op: DriveOp, at: DriveOffset, bytes: u64) -> DriveError {
        DriveError { drive: self.name.clone(), op, at, bytes, cause: DriveCause::Errno(libc::EROFS) }
    }
}

impl Drive for ReadOnlyDrive {
    fn read(
        &self,
        at: DriveOffset,
        mut buf: Buffer,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        let bytes = buf.len() as u64;
        let result = self.file.read_exact_at(buf.as_mut_slice(), at.0).map_err(|e| DriveError {
            drive: self.name.clone(),
            op: DriveOp::Read,
            at,
            bytes,
            cause: e.raw_os_error().map_or(DriveCause::Short { got: 0 }, DriveCause::Errno),
        });
        Box::pin(std::future::ready((buf, result)))
    }

    fn write(
        &self,
        at: DriveOffset,
        buf: Buffer,
        _durability: Durability,
    ) -> LocalBoxFuture<'static, (Buffer, Result<(), DriveError>)> {
        let refused = self.refuse(DriveOp::Write, at, buf.len() as u64);
        Box::pin(std::future::ready((buf, Err(refused))))
    }

    fn flush(&self) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn allocate(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Err(self.refuse(DriveOp::Allocate, at, bytes))))
    }

    fn trim(&self, at: DriveOffset, bytes: u64) -> LocalBoxFuture<'static, Result<(), DriveError>> {
        Box::pin(std::future::ready(Err(self.refuse(DriveOp::Trim, at, bytes))))
    }

    fn size(&self) -> u64 {
        self.bytes - self.bytes % BLOCK_BYTES
    }

    fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::{create_file, lock_drive};
    use crate::inspect::run;

    #[test]
    fn reads_and_writes_nothing() {
        let path = std::env::temp_dir().join(format!("nilas-offline-{}", std::process::id()));
        create_file(&path, 1 << 20).expect("a file");
        let drive = ReadOnlyDrive::open(&path, false).expect("nobody holds it");
        assert_eq!(drive.size(), 1 << 20);
        let block = || Buffer::unpooled(4096);
        let (read, result) = run(drive.read(DriveOffset(4096), block()));
        assert!(result.is_ok() && read.as_slice().iter().all(|byte| *byte == 0));
        let (_, written) = run(drive.write(DriveOffset(0), block(), Durability::OnReturn));
        assert_eq!(written.map_err(|e| e.cause), Err(DriveCause::Errno(libc::EROFS)));
        assert_eq!(lock_drive(&path).map(drop).map_err(|e| e.fault), Err(OpenFault::InUse));
        drop(drive);
        let held = lock_drive(&path).expect("free again");
        let refused = ReadOnlyDrive::open(&path, false).map(drop).map_err(|e| e.fault);
        assert_eq!(refused, Err(OpenFault::InUse));
        assert!(ReadOnlyDrive::open(&path, true).is_ok());
        drop(held);
        std::fs::remove_file(&path).expect("made above");
    }
}
