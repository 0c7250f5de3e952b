//! What a run cost: processor time and memory of a process from `/proc`, sectors and flushes of
//! the block device under a directory from `/sys`. Readings are cumulative; callers subtract.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes in one sector of `/sys/…/stat`, whatever the drive's own sector is.
const STAT_SECTOR_BYTES: u64 = 512;
/// Kernel clock ticks per second in `/proc/PID/stat` (USER_HZ, fixed at 100 on Linux).
const TICKS_PER_SEC: f64 = 100.0;

/// Cumulative counters of one process and its drive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time of all threads, seconds.
    pub cpu_secs: f64,
    /// Resident memory now, bytes.
    pub rss_bytes: u64,
    /// Highest resident memory so far, bytes.
    pub rss_peak_bytes: u64,
    /// Counters of the whole disk under the data directory, if it has one.
    pub disk: Option<DiskCounters>,
}

/// Cumulative counters of a whole disk: every writer on it counts, so measure on a quiet machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskCounters {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Flush requests completed.
    pub flushes: u64,
}

/// Reads the usage of `pid`, whose data is under `data`.
pub fn usage(pid: u32, data: &Path) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Usage {
        cpu_secs: parse_cpu_ticks(&stat).unwrap_or(0) as f64 / TICKS_PER_SEC,
        rss_bytes: parse_kib(&status, "VmRSS:"),
        rss_peak_bytes: parse_kib(&status, "VmHWM:"),
        disk: disk_stat_path(data).and_then(|path| parse_disk(&fs::read_to_string(path).ok()?)),
    }
}

/// The `stat` file of the whole disk under `path`; `None` for overlays, tmpfs and network mounts.
pub fn disk_stat_path(path: &Path) -> Option<PathBuf> {
    let device = fs::metadata(path).ok()?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let node = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let whole = if node.join("partition").exists() { node.parent()?.to_path_buf() } else { node };
    Some(whole.join("stat")).filter(|stat| stat.exists())
}

fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    // The command name may hold blanks and brackets; fields are counted after its last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn parse_kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn parse_disk(stat: &str) -> Option<DiskCounters> {
    let fields: Vec<u64> = stat.split_whitespace().map_while(|field| field.parse().ok()).collect();
    Some(DiskCounters {
        read_bytes: fields.get(2)? * STAT_SECTOR_BYTES,
        written_bytes: fields.get(6)? * STAT_SECTOR_BYTES,
        flushes: fields.get(15).copied().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::{parse_cpu_ticks, parse_disk, parse_kib, usage};

    #[test]
    fn proc_and_sys_lines() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 900 0 0 0 17 5 0 0 20 0 1 0 100 1000 200";
        assert_eq!(parse_cpu_ticks(stat), Some(22));
        assert_eq!(parse_cpu_ticks(""), None);
        assert_eq!(parse_kib("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), 12 * 1024);
        let disk = parse_disk("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17").expect("seventeen fields");
        assert_eq!((disk.read_bytes, disk.written_bytes, disk.flushes), (3 * 512, 7 * 512, 16));
        assert!(parse_disk("").is_none());
    }

    #[test]
    fn own_process() {
        assert!(0 < usage(std::process::id(), std::path::Path::new(".")).rss_bytes);
    }
}
