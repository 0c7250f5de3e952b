//! The file of the audit log. Runs on the control pool, but for [`AuditFile::open`], which runs at start.
//!
//! `audit` hands it what the cores recorded, one call at a time. I1. Only whole lines are written one after the other: what
//! an error cut off is closed by an end of line before the next. I2. A file that was renamed or removed is made anew
//! before the next lines, so that logs are rotated without a signal. I3. An error is said once on standard error until it is
//! over; lines that could not be written are counted.
//! Lines are not synced: they survive the end of the process, not that of the machine.
#![expect(clippy::disallowed_methods, reason = "at start and on the control pool, never on a core")]
#![expect(clippy::disallowed_types, reason = "locked by jobs of the control pool alone")]

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use nilas_engine::rt;

use crate::audit::{AuditShared, AuditTarget};

/// Bytes of one write.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Writes of one job: others want the control pool as well.
const BATCHES_MAX: usize = 64;

/// The audit log's file cannot be opened.
#[derive(Debug)]
pub struct AuditFileError {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl fmt::Display for AuditFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit log {}: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for AuditFileError {}

/// Where lines are written.
#[derive(Debug)]
pub(crate) struct AuditFile {
    out: Mutex<Out>,
}

#[derive(Debug)]
struct Out {
    sink: Sink,
    /// The last write ended within a line.
    is_torn: bool,
    /// The last write or opening failed.
    fails: bool,
}

#[derive(Debug)]
enum Sink {
    Stderr,
    File {
        path: PathBuf,
        open: File,
    },
    #[cfg(test)]
    Test(tests::TestSink),
}

impl AuditFile {
    /// Opens the file to add to it, or makes it for its owner alone.
    pub(crate) fn open(target: &AuditTarget) -> Result<AuditFile, AuditFileError> {
        let sink = match target {
            AuditTarget::Stderr => Sink::Stderr,
            AuditTarget::File(path) => {
                // Whatever directory the process is in later.
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                match open(&path) {
                    Ok(open) => Sink::File { path, open },
                    Err(source) => return Err(AuditFileError { path, source }),
                }
            }
        };
        Ok(AuditFile { out: Mutex::new(Out { sink, is_torn: false, fails: false }) })
    }

    /// Writes all that waits.
    pub(super) fn write_all_of(&self, shared: &AuditShared) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(source) = out.follow_rename() {
            // The file that is open still takes lines.
            out.failed(shared, &source);
        }
        let mut batch = Vec::new();
        for _ in 0..BATCHES_MAX {
            batch.clear();
            if out.is_torn {
                batch.push(b'\n');
            }
            let closing = batch.len();
            let taken = shared.take_batch(&mut batch, BATCH_BYTES_MAX, rt::now_ms());
            if batch.len() == closing {
                return;
            }
            let (written, outcome) = out.write(&batch);
            let whole = batch[..written].iter().skip(closing).filter(|byte| **byte == b'\n').count() as u64;
            if written > 0 {
                out.is_torn = !batch[..written].ends_with(b"\n");
            }
            let Err(source) = outcome else {
                shared.figures.lines.fetch_add(taken.lines, Relaxed);
                out.works();
                continue;
            };
            // Notes of lines that were dropped come first in a batch, and are lines as well.
            let kept = whole.saturating_sub(taken.notes);
            shared.figures.lines.fetch_add(kept, Relaxed);
            shared.lost(taken.lines.saturating_sub(kept), if whole == 0 { taken.dropped } else { 0 });
            out.failed(shared, &source);
            return;
        }
    }
}

impl Out {
    /// Writes `batch` as far as it goes.
    fn write(&mut self, batch: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < batch.len() {
            match self.sink.write(&batch[written..]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return (written, Err(e)),
            }
        }
        (written, Ok(()))
    }

    fn follow_rename(&mut self) -> io::Result<()> {
        let Sink::File { path, open: current } = &mut self.sink else { return Ok(()) };
        let now = match std::fs::metadata(&*path) {
            Ok(found) => Some((found.dev(), found.ino())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let ours = current.metadata()?;
        if now != Some((ours.dev(), ours.ino())) {
            *current = open(path)?;
            self.is_torn = false;
        }
        Ok(())
    }

    fn failed(&mut self, shared: &AuditShared, source: &io::Error) {
        shared.figures.errors.fetch_add(1, Relaxed);
        if !std::mem::replace(&mut self.fails, true) {
            eprintln!("nilas: audit log {}: {source}; see nilas_audit_dropped_total", self.sink);
        }
    }

    fn works(&mut self) {
        if std::mem::replace(&mut self.fails, false) {
            eprintln!("nilas: audit log {}: is written again", self.sink);
        }
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stderr => io::stderr().write(bytes),
            Sink::File { open, .. } => open.write(bytes),
            #[cfg(test)]
            Sink::Test(sink) => sink.write(bytes),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::Stderr => f.write_str("on standard error"),
            Sink::File { path, .. } => write!(f, "{}", path.display()),
            #[cfg(test)]
            Sink::Test(_) => f.write_str("of a test"),
        }
    }
}

/// A pipe that nobody reads is an error and not a wait.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Takes so many bytes, then fails.
    #[derive(Debug)]
    pub(in crate::audit) struct TestSink {
        pub(in crate::audit) taken: Vec<u8>,
        pub(in crate::audit) room: usize,
    }

    impl TestSink {
        pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            self.taken.extend_from_slice(&bytes[..count]);
            self.room -= count;
            Ok(count)
        }
    }

    impl AuditFile {
        pub(in crate::audit) fn of_test(room: usize) -> AuditFile {
            let sink = Sink::Test(TestSink { taken: Vec::new(), room });
            AuditFile { out: Mutex::new(Out { sink, is_torn: false, fails: false }) }
        }

        /// Looks at what was taken, and makes room.
        pub(in crate::audit) fn with_test<T>(&self, look: impl FnOnce(&mut TestSink) -> T) -> T {
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            let Sink::Test(sink) = &mut out.sink else { panic!("a test's") };
            look(sink)
        }
    }
}
