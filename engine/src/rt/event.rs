//! An eventfd that a core waits for: how a ring next to glommio's tells that something completed. [glommio]
//! Used by `drive::ring` only.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use glommio::io::BufferedFile;

/// A counter in the kernel; whoever adds to it wakes the core that waits.
pub(crate) struct EventFd {
    fd: OwnedFd,
    /// The same descriptor again, in the form glommio can wait for.
    file: BufferedFile,
}

impl EventFd {
    /// Only on an executor of [`start`](super::start).
    pub(crate) fn new() -> io::Result<EventFd> {
        // Not EFD_NONBLOCK: io_uring answers EAGAIN to a read of a non-blocking file in place of waiting.
        // SAFETY: no pointers; the result is checked before it is used.
        #[expect(unsafe_code, reason = "eventfd has no safe form in std")]
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just made, owned by nobody else.
        #[expect(unsafe_code, reason = "takes ownership of the new descriptor")]
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let twin = std::os::fd::IntoRawFd::into_raw_fd(fd.try_clone()?);
        // SAFETY: the duplicate is owned by the file from here on.
        #[expect(unsafe_code, reason = "glommio takes foreign files only as raw descriptors")]
        let file = unsafe { BufferedFile::from_raw_fd(twin) };
        Ok(EventFd { fd, file })
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Adds to the counter, so that the next [`wait`](Self::wait) ends once the executor had its turn.
    pub(crate) fn raise(&self) {
        // It cannot fail before 2^64 - 1 is reached, and every wait sets it back to zero.
        // SAFETY: no pointers but that of a local value.
        #[expect(unsafe_code, reason = "eventfd has no safe form in std")]
        let _written = unsafe { libc::eventfd_write(self.fd.as_raw_fd(), 1) };
    }

    /// Waits until the counter is above zero and sets it to zero.
    pub(crate) async fn wait(&self) -> io::Result<()> {
        let read = self.file.read_at(0, size_of::<u64>()).await?;
        if read.len() == size_of::<u64>() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
