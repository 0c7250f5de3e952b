//! How much memory the process may use: the machine's, or less if a control group says so.
//!
//! `server` asks [`find`] once before the cores start, to size the read cache. What the files mean is decided by pure
//! functions; only [`find`] reads them. Limits of an address space (`ulimit -v`) are not looked at.

use std::path::PathBuf;

/// Where control groups are mounted.
const CGROUP_MOUNT: &str = "/sys/fs/cgroup";

/// Bytes of memory that the process may use; `None` when `/proc` does not say.
#[expect(clippy::disallowed_methods, reason = "read before the first core is started")]
pub(crate) fn find() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| machine_bytes(&text));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    least(machine, limits.map(|text| limit_bytes(&text)))
}

/// The least of the machine's memory and the limits there are.
fn least(machine: Option<u64>, limits: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    limits.flatten().chain(machine).min()
}

/// `MemTotal` of `/proc/meminfo`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The content of one limit file; `None` for `max` and for what is no number. Version 1 writes a number beyond any
/// machine's memory for no limit.
fn limit_bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The files with the limits of the groups in `/proc/self/cgroup` and of all groups above them, of which not every
/// one exists. In a container the path may be that of the host, and only the last of them, the mount itself, is there.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, names): (&str, &[&str]) = match controllers {
            "" => ("", &["memory.max", "memory.high"]),
            list if list.split(',').any(|name| name == "memory") => ("memory", &["memory.limit_in_bytes"]),
            _ => continue,
        };
        let mount = PathBuf::from(CGROUP_MOUNT).join(mount);
        let inside: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | "." | "..")).collect();
        for depth in (0..=inside.len()).rev() {
            let group = mount.join(inside[..depth].join("/"));
            files.extend(names.iter().map(|name| group.join(name)));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::{find, least, limit_bytes, limit_files, machine_bytes};

    #[test]
    fn machine() {
        let check = |text, expected| assert_eq!(machine_bytes(text), expected, "{text:?}");
        check("MemTotal:       24684100 kB\nMemFree:        23957868 kB\n", Some(24_684_100 << 10));
        check("MemFree: 1 kB\nMemTotal: 2 kB\n", Some(2048));
        check("MemFree: 1 kB\n", None);
        check("MemTotal: 1 MB\n", None);
        check("MemTotal: -1 kB\n", None);
        check("MemTotal: 18446744073709551615 kB\n", None);
        check("", None);
    }

    #[test]
    fn limits() {
        let check = |text, expected| assert_eq!(limit_bytes(text), expected, "{text:?}");
        check("536870912\n", Some(512 << 20));
        check("9223372036854771712\n", Some(9_223_372_036_854_771_712));
        check("max\n", None);
        check("", None);
        check("99999999999999999999\n", None);
    }

    #[test]
    fn files_of_both_versions() {
        let check = |groups: &str, expected: &[&str]| {
            let files = limit_files(groups);
            let names: Vec<_> = files.iter().map(|path| path.to_str().expect("written as text")).collect();
            assert_eq!(names, expected, "{groups:?}");
        };
        check(
            "0::/a.slice/b.scope\n",
            &[
                "/sys/fs/cgroup/a.slice/b.scope/memory.max",
                "/sys/fs/cgroup/a.slice/b.scope/memory.high",
                "/sys/fs/cgroup/a.slice/memory.max",
                "/sys/fs/cgroup/a.slice/memory.high",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory.high",
            ],
        );
        check("0::/\n", &["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.high"]);
        check(
            "0::/../x\n",
            &limit_files("0::/x\n").iter().map(|p| p.to_str().expect("text")).collect::<Vec<_>>(),
        );
        check(
            "9:name=systemd:/\n4:memory:/docker/ab\n1:cpu,cpuacct:/z\n",
            &[
                "/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ],
        );
        check("3:hugetlb,memory:/\n", &["/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
        check("nonsense\n1:memory\n\n", &[]);
    }

    #[test]
    fn the_least_counts() {
        let check = |machine, limits: &[Option<u64>], expected| {
            assert_eq!(least(machine, limits.iter().copied()), expected, "{machine:?} {limits:?}");
        };
        check(Some(8), &[None, Some(4), Some(9)], Some(4));
        check(Some(8), &[Some(u64::MAX), None], Some(8));
        check(None, &[Some(4)], Some(4));
        check(None, &[None], None);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(find().is_some_and(|bytes| bytes > 1 << 20));
    }
}
