//! What this machine allows, asked before the first core is started: io_uring, locked memory, O_DIRECT.
//! The server calls [`probe`] and [`probe_directory`] and prints the error: each says what to do.
//!
//! The executors answer the same shortcomings with a panic or `exit(1)`, which is why they are asked for here.
#![expect(clippy::disallowed_methods, reason = "asked before the first core is started")]

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use io_uring::{IoUring, Probe, opcode};

use super::buffer::Buffer;

/// RLIMIT_MEMLOCK below which the executors refuse to start, in bytes.
pub const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// Rings of an executor, each of which registers its small memory.
const RINGS_PER_CORE: u64 = 3;

/// `RAMFS_MAGIC` of linux/magic.h, which libc does not have.
const RAMFS_MAGIC: libc::c_long = 0x8584_58f6;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeFacts {
    /// RLIMIT_MEMLOCK (soft), in bytes; `None`: no limit.
    pub memlock_bytes: Option<u64>,
    /// What the cores register before any drive buffer, in bytes.
    pub memlock_needed_bytes: u64,
    /// Whether the kernel knows SINGLE_ISSUER and DEFER_TASKRUN (Linux 6.1).
    pub deferred: bool,
}

impl ProbeFacts {
    /// Whether all of the cores' own memory can be registered. If not the server works, and costs more CPU.
    pub fn memlock_suffices(&self) -> bool {
        self.memlock_bytes.is_none_or(|limit| self.memlock_needed_bytes <= limit)
    }
}

/// Something the server cannot do without is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// io_uring is forbidden: by `kernel.io_uring_disabled` (its value, if it could be read) or by seccomp.
    Forbidden {
        /// 0: allowed; 1: for a group only; 2: for nobody.
        sysctl: Option<u32>,
    },
    /// The kernel, or a sandbox that plays one, has no io_uring.
    Absent,
    /// The kernel has io_uring without an operation we need.
    TooOld {
        /// Which one.
        operation: &'static str,
    },
    /// Making a ring failed in another way.
    Ring {
        /// The `errno` value.
        code: i32,
    },
    /// RLIMIT_MEMLOCK is below [`MEMLOCK_BYTES_MIN`].
    Memlock {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The directory cannot be written.
    Directory {
        /// Its path.
        path: PathBuf,
        /// The `errno` value.
        code: i32,
    },
    /// The directory's file system refuses O_DIRECT.
    NoDirect {
        /// Its path.
        path: PathBuf,
        /// The `errno` value.
        code: i32,
    },
    /// The file system keeps its files in memory: nothing on it survives a restart of the machine.
    Volatile {
        /// A path on it.
        path: PathBuf,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Forbidden { sysctl: Some(value @ (1 | 2)) } => write!(
                f,
                "io_uring is forbidden: kernel.io_uring_disabled is {value}; \
                 set it with `sysctl -w kernel.io_uring_disabled=0`"
            ),
            ProbeError::Forbidden { .. } => write!(
                f,
                "io_uring is forbidden by a seccomp profile (the default one of Docker and containerd does so); \
                 start the container with a profile that allows io_uring_setup, io_uring_enter and \
                 io_uring_register, for example `--security-opt seccomp=unconfined`"
            ),
            ProbeError::Absent => write!(
                f,
                "this kernel has no io_uring; Linux 5.15 or later is needed, and not under gVisor or a similar sandbox"
            ),
            ProbeError::TooOld { operation } => {
                write!(f, "this kernel's io_uring has no {operation}; Linux 5.15 or later is needed")
            }
            ProbeError::Ring { code } => {
                write!(f, "an io_uring cannot be made: {}", io::Error::from_raw_os_error(*code))
            }
            ProbeError::Memlock { limit } => write!(
                f,
                "RLIMIT_MEMLOCK is {limit} bytes, at least {MEMLOCK_BYTES_MIN} are needed; raise it with \
                 `ulimit -l 8192`, `LimitMEMLOCK=infinity` in the systemd unit, or `docker run --ulimit memlock=-1`"
            ),
            ProbeError::Directory { path, code } => write!(
                f,
                "{} cannot be written: {}; give a directory that this user may write",
                path.display(),
                io::Error::from_raw_os_error(*code)
            ),
            ProbeError::NoDirect { path, code } => write!(
                f,
                "the file system of {} refuses O_DIRECT ({}; some overlay and network file systems do); \
                 put the data on ext4, XFS or btrfs, in a container on a volume",
                path.display(),
                io::Error::from_raw_os_error(*code)
            ),
            ProbeError::Volatile { path } => write!(
                f,
                "{} is on tmpfs, which keeps files in memory: a restart of the machine would lose everything; \
                 put the data on ext4, XFS or btrfs, in a container on a volume",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ProbeError {}

/// Asks for io_uring and for locked memory for `cores` cores that register `io_memory_bytes` each.
pub fn probe(cores: usize, io_memory_bytes: usize) -> Result<ProbeFacts, ProbeError> {
    let uring = IoUring::new(8).map_err(|e| ring_error(&e))?;
    let mut operations = Probe::new();
    uring.submitter().register_probe(&mut operations).map_err(|e| ring_error(&e))?;
    for (operation, code) in [
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("READ_FIXED", opcode::ReadFixed::CODE),
        ("WRITE_FIXED", opcode::WriteFixed::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("FALLOCATE", opcode::Fallocate::CODE),
        ("POLL_ADD", opcode::PollAdd::CODE),
        ("TIMEOUT", opcode::Timeout::CODE),
        ("ACCEPT", opcode::Accept::CODE),
        ("CLOSE", opcode::Close::CODE),
    ] {
        if !operations.is_supported(code) {
            return Err(ProbeError::TooOld { operation });
        }
    }
    drop(uring);
    let deferred = IoUring::<io_uring::squeue::Entry>::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(8)
        .is_ok();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let memlock_bytes = parse_memlock(&limits);
    if let Some(limit) = memlock_bytes.filter(|limit| *limit < MEMLOCK_BYTES_MIN) {
        return Err(ProbeError::Memlock { limit });
    }
    let per_core = RINGS_PER_CORE.saturating_mul(io_memory_bytes.max(64 << 10) as u64);
    let memlock_needed_bytes = per_core.saturating_mul(cores as u64);
    Ok(ProbeFacts { memlock_bytes, memlock_needed_bytes, deferred })
}

/// Refuses a file or directory whose file system forgets everything when the machine restarts; it must exist.
///
/// A device passes: its node may well be in memory.
pub fn probe_medium(path: &Path) -> Result<(), ProbeError> {
    if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Ok(());
    }
    match file_system_type(path) {
        Ok(libc::TMPFS_MAGIC | RAMFS_MAGIC) => Err(ProbeError::Volatile { path: path.to_owned() }),
        Ok(_) => Ok(()),
        Err(e) => {
            let code = e.raw_os_error().unwrap_or(libc::EIO);
            Err(ProbeError::Directory { path: path.to_owned(), code })
        }
    }
}

/// Writes and reads one block with O_DIRECT in a file of its own in `path`, which must exist.
pub fn probe_directory(path: &Path) -> Result<(), ProbeError> {
    probe_medium(path)?;
    let code = |e: &io::Error| e.raw_os_error().unwrap_or(libc::EIO);
    let name = path.join(format!(".probe-{}", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&name)
        .map_err(|e| ProbeError::Directory { path: path.to_owned(), code: code(&e) })?;
    let attempt = || -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(&name)?;
        let mut block = Buffer::unpooled(4096);
        block.set_len(4096);
        block.as_mut_slice().fill(0xa5);
        file.write_all_at(block.as_slice(), 0)?;
        block.as_mut_slice().fill(0);
        file.read_exact_at(block.as_mut_slice(), 0)?;
        if block.as_slice().iter().any(|byte| *byte != 0xa5) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    };
    let result = attempt();
    // Whatever came of it, the file has served; a leftover would be overwritten by the next probe.
    drop(std::fs::remove_file(&name));
    result.map_err(|e| match e.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => {
            ProbeError::NoDirect { path: path.to_owned(), code: code(&e) }
        }
        _ => ProbeError::Directory { path: path.to_owned(), code: code(&e) },
    })
}

fn ring_error(e: &io::Error) -> ProbeError {
    match e.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            let value = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
            ProbeError::Forbidden { sysctl: value.and_then(|value| value.trim().parse().ok()) }
        }
        Some(libc::ENOSYS) => ProbeError::Absent,
        // Before Linux 5.12 rings themselves count as locked memory.
        Some(libc::ENOMEM) => ProbeError::Memlock { limit: 0 },
        other => ProbeError::Ring { code: other.unwrap_or(libc::EIO) },
    }
}

/// The soft limit in /proc/self/limits; `None` when there is none or it cannot be found.
fn parse_memlock(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The magic number of the file system of `path`.
fn file_system_type(path: &Path) -> io::Result<libc::c_long> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `statfs` is plain old data, for which all zeros is a value; the path is a C string that outlives the
    // call, and the kernel writes within the struct it is given.
    #[expect(unsafe_code, reason = "std has no statfs")]
    let (code, facts) = unsafe {
        let mut facts: libc::statfs = std::mem::zeroed();
        (libc::statfs(path.as_ptr(), &raw mut facts), facts)
    };
    if code == 0 { Ok(facts.f_type) } else { Err(io::Error::last_os_error()) }
}

/// Bytes that an ordinary user may still use on the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `statvfs` is plain old data, for which all zeros is a value; the path is a C string that outlives the
    // call, and the kernel writes within the struct it is given.
    #[expect(unsafe_code, reason = "std has no statvfs")]
    let (code, facts) = unsafe {
        let mut facts: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut facts), facts)
    };
    if code == 0 {
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        let facts = probe(2, 64 << 10).expect("tests need io_uring");
        assert_eq!(facts.memlock_needed_bytes, 2 * 3 * 65536);
        let binary = std::env::current_exe().expect("a path");
        let directory = binary.parent().expect("a directory");
        probe_directory(directory).expect("O_DIRECT in the target directory");
        let absent = probe_directory(&directory.join("absent")).expect_err("absent");
        assert_eq!(absent, ProbeError::Directory { path: directory.join("absent"), code: libc::ENOENT });
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            assert_eq!(probe_directory(memory), Err(ProbeError::Volatile { path: memory.to_owned() }));
        }
    }

    fn check_memlock(line: &str, want: Option<u64>) {
        assert_eq!(parse_memlock(&format!("Limit  Soft Limit  Hard Limit  Units\n{line}\n")), want, "{line}");
    }

    #[test]
    fn memlock_lines() {
        check_memlock(
            "Max locked memory         8388608              8388608              bytes",
            Some(8 << 20),
        );
        check_memlock("Max locked memory         unlimited            unlimited            bytes", None);
        check_memlock("Max processes             1                    1                    processes", None);
    }

    fn check_text(code: i32, want: &str) {
        let text = ring_error(&io::Error::from_raw_os_error(code)).to_string();
        assert!(text.contains(want), "{text}");
    }

    #[test]
    fn messages_say_what_to_do() {
        check_text(libc::EPERM, "forbidden");
        check_text(libc::ENOSYS, "Linux 5.15");
        check_text(libc::ENOMEM, "ulimit -l");
        check_text(libc::EMFILE, "cannot be made");
    }
}
