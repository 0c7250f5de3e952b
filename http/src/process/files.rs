//! The few files that a start reads and writes, for their owner alone.
//!
//! `process::data_dir` and `process::drives` call it, in one thread. I1. What [`write_private`] leaves after a crash is
//! the old file or the new one, whole.
#![expect(clippy::disallowed_methods, reason = "at start, before any core runs, or on the control pool")]

use std::io::{self, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub(super) fn read_file(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// Reads a file of at most so many bytes.
pub(super) fn read_file_up_to(path: &Path, bytes_max: usize) -> io::Result<String> {
    let mut text = String::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(bound).read_to_string(&mut text)?;
    match text.len() <= bytes_max {
        true => Ok(text),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

/// Permission bits of a file.
pub(super) fn file_mode(path: &Path) -> io::Result<u32> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

/// Writes a whole file of mode 0600, durable on return: under another name first, synced, then given its own.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("env.new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&temporary, path)
}

/// Gives a file another name in its directory, durable on return.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes a directory for its owner alone, with its parents; one that exists is left as it is.
pub(super) fn make_private_directory(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(_) => {}
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes a file as well as it goes.
pub(super) fn remove_file(path: &Path) {
    drop(std::fs::remove_file(path));
}
