//! What the machine grants the process: cores, memory, buffers of the kernel, and an address to listen on.
//!
//! `Server::prepare` asks before anything is made, in one thread. What the server can do without is a warning, what it
//! cannot do without an error.

use std::net::SocketAddr;
use std::time::Duration;

use nilas_engine::drive::probe::probe;
use nilas_engine::rt::{self, RtConfig};

use crate::listen::ListenError;
use crate::process::config::ServerError;

/// How long, and how often, a start waits for what a killed process still holds.
const HELD_WAIT: Duration = Duration::from_millis(20);
const HELD_TRIES: u32 = 100;

/// What a start found.
pub(super) struct Machine {
    /// Cores to use, 1 to 64.
    pub(super) cores: usize,
    /// What it lacks that the server can do without, one line each.
    pub(super) warnings: Vec<String>,
}

/// Checks the machine for a server on `cores` cores, `None`: all that the process may use.
pub(super) fn check_machine(cores: Option<usize>) -> Result<Machine, ServerError> {
    let cores = cores.unwrap_or_else(|| rt::allowed_cpus().len()).clamp(1, 64);
    let facts = probe(cores, RtConfig::server().io_memory_bytes).map_err(ServerError::Machine)?;
    let mut warnings = Vec::new();
    if !facts.memlock_suffices() {
        warnings.push(format!(
            "RLIMIT_MEMLOCK is {} bytes, {} would let buffers be registered: raise it (ulimit -l, LimitMEMLOCK=) to \
             save CPU",
            facts.memlock_bytes.unwrap_or(0),
            facts.memlock_needed_bytes
        ));
    }
    Ok(Machine { cores, warnings })
}

/// Makes sure that nobody else listens on `address`, and chooses the port when it is 0.
///
/// The cores' sockets share the port, so they would also share it with an older server of the same user without a
/// word. Call this once, before the cores listen on the address it returns.
pub(crate) fn claim_address(address: SocketAddr) -> Result<SocketAddr, ListenError> {
    std::net::TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|e| ListenError::new(address, &e))
}

/// Tries again for a moment what a process that was just killed may still hold: the kernel takes down its io_uring,
/// and with it sockets and drives, only after the process is gone.
pub(super) fn retry_while_held<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_held: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 0..HELD_TRIES {
        match attempt() {
            Err(e) if is_held(&e) => wait_before_start(HELD_WAIT),
            result => return result,
        }
    }
    attempt()
}

/// Stops the one thread that there is before the cores start.
#[expect(clippy::disallowed_methods, reason = "before any core runs")]
fn wait_before_start(time: Duration) {
    std::thread::sleep(time);
}

/// Memory that this process may use: that of the machine, or less where a control group or `RLIMIT_AS` says so.
pub(super) fn process_bytes() -> u64 {
    let read = |path: &str| {
        #[expect(clippy::disallowed_methods, reason = "files of the kernel, read before any core starts")]
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let machine = machine_bytes(&read("/proc/meminfo"));
    let groups = group_files(&read("/proc/self/cgroup"));
    let groups = groups.iter().filter_map(|path| read(path).trim().parse::<u64>().ok());
    groups.fold(machine.unwrap_or(1 << 30), u64::min)
}

/// `MemTotal` of `/proc/meminfo`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Where the limits of the process's control groups stand, those of the groups around them included.
fn group_files(cgroup: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            some if some.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            files.push(format!("{mount}{path}/{file}"));
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent,
                None => break,
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_process() {
        assert_eq!(machine_bytes("MemFree: 1 kB\nMemTotal:       24683000 kB\n"), Some(24683000 * 1024));
        assert_eq!(machine_bytes(""), None);
        assert_eq!(
            group_files("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(
            group_files("5:cpu,memory:/x\n3:pids:/y\n"),
            ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert!(0 < process_bytes());
    }
}
