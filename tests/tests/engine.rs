//! The engine on drives: the conformance suite on the simulated machine and on real files, and the simulated crash,
//! fault and damage tests in CI's size.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use nilas_engine::drive::{Drive, DriveLock, create_file, lock_drive};
use nilas_engine::platform::Platform;
use nilas_engine::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
use nilas_engine::store::{FormatConfig, Store, format, recognise};
use nilas_engine::{CoreId, Engine};
use nilas_tests::conformance;
use nilas_tests::on_drives::conform;
use nilas_tests::prove::CHECKS;
use nilas_tests::sim::{Counts, Workload, every_cut, every_cut_of_format, round};

fn format_config() -> FormatConfig {
    FormatConfig { shards: 5, now_ms: 1_700_000_000_000, store: 0x5107, zone_bytes: None }
}

fn on_simulator(cores: u16) {
    let simulator = Simulator::new(u64::from(cores));
    let medium = Medium::new(512 << 20);
    let faults = Faults { latency_us_max: 80, ..Faults::default() };
    let machine = simulator.clone();
    let ended = simulator.run(async move {
        let drive = SimulatedDrive::new(&machine, &medium, faults);
        let drives = || vec![Rc::new(drive.clone()) as Rc<dyn Drive>];
        let superblocks = format(&drives(), format_config()).await.expect("blank and large enough");
        assert_eq!(recognise(&drives()).await.expect("formatted"), Some(superblocks.clone()));
        let store = Store::new(superblocks, cores);
        let mut engines: Vec<Engine> = Vec::new();
        for core in 0..cores {
            let platform: Rc<dyn Platform> = Rc::new(machine.clone());
            engines.push(store.start_core(CoreId(core), platform, drives()).await.expect("recovers"));
        }
        while !store.is_ready() {
            machine.sleep_us(10).await;
        }
        for engine in &engines {
            conformance::run(engine).await;
        }
    });
    assert_eq!(ended, Ok(()));
}

#[test]
fn conformance_on_one_simulated_core() {
    on_simulator(1);
}

#[test]
fn conformance_on_three_simulated_cores() {
    on_simulator(3);
}

/// A sparse file in the target directory, which is on a file system with O_DIRECT.
struct DriveFile(PathBuf);

impl DriveFile {
    fn new(name: &str) -> DriveFile {
        let name = format!("engine-{name}-{}.drive", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        create_file(&path, 512 << 20).expect("space in the target directory");
        DriveFile(path)
    }
}

impl Drop for DriveFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn lock(files: &[DriveFile]) -> Vec<DriveLock> {
    files.iter().map(|file| lock_drive(&file.0).expect("nobody else uses it")).collect()
}

#[test]
fn conformance_on_one_real_core() {
    let files = [DriveFile::new("one")];
    conform(1, lock(&files));
}

#[test]
fn conformance_on_two_real_cores_twice() {
    let files = [DriveFile::new("two")];
    let locks = lock(&files);
    conform(2, locks.clone());
    // What the first run left is recovered by another number of cores.
    conform(1, locks);
}

#[test]
fn conformance_on_two_real_drives() {
    let files = [DriveFile::new("first"), DriveFile::new("second")];
    conform(2, lock(&files));
}

fn rounds(workload: Workload, seeds: std::ops::Range<u64>) {
    let mut counts = Counts::default();
    for seed in seeds {
        let (ran, found) = round(workload, seed);
        counts.add(ran);
        assert!(found.is_none(), "{workload:?} of seed {seed}: {found:?}");
    }
    assert_eq!((counts.lost, counts.torn, counts.wrong), (0, 0, 0));
}

#[test]
fn power_cuts_lose_nothing() {
    rounds(Workload::Crash, 10_000..10_150);
}

#[test]
fn drive_faults_lose_nothing() {
    rounds(Workload::Fault, 20_000..20_100);
}

#[test]
fn flipped_bytes_are_never_served() {
    rounds(Workload::Flip, 30_000..30_010);
}

#[test]
fn a_cut_at_every_step_loses_nothing() {
    let (counts, found) = every_cut(7, 2);
    assert!(found.is_none(), "cut and loss of seed 7: {found:?}");
    assert!(200 < counts.cuts, "{counts}");
}

#[test]
fn a_cut_while_formatting_leaves_a_blank_drive_or_a_store() {
    let counts = every_cut_of_format(7).expect("every cut");
    assert!(30 < counts.cuts, "{counts}");
}

#[test]
fn same_seed_same_run() {
    for (workload, seed) in [(Workload::Crash, 5), (Workload::Fault, 6), (Workload::Flip, 7)] {
        assert_eq!(round(workload, seed).0, round(workload, seed).0);
    }
    assert_ne!(round(Workload::Crash, 5).0.trace, round(Workload::Crash, 6).0.trace);
}

/// Each check in a small form: a hundredth of what CI runs of the release build.
#[test]
fn checks_find_nothing() {
    for check in CHECKS {
        let (tally, found) = check.run(1, check.counts[0] / 100);
        assert!(found.is_none(), "{}: {found:?}", check.name);
        assert!(0 < tally.done, "{} did nothing", check.name);
    }
}

/// Damage is seen, not only survived: otherwise nothing was damaged.
#[test]
fn checks_meet_what_they_are_for() {
    let check = |name: &str, words: &[&str]| {
        let check = CHECKS.iter().find(|check| check.name == name).expect("it is listed");
        let (tally, _) = check.run(2, check.counts[0] / 20);
        for word in words {
            assert!(0 < tally.noted(word), "{name}: nothing {word} in {tally:?}");
        }
        assert_eq!(check.run(2, check.counts[0] / 20).0.notes, tally.notes, "{name} again");
    };
    check("small", &["cuts"]);
    check("clean", &["cuts", "bytes moved", "zones released"]);
    check("faults", &["faults", "destroying"]);
    check("nth", &["errors"]);
    check("flush", &["errors"]);
    check("flip", &["harmless", "detected", "read-only"]);
    check("tail", &["cut", "holes", "read-only", "garbage", "over older"]);
}

/// Every seed that ever found something, one `workload seed what` a line.
#[test]
fn seeds_that_once_failed() {
    for line in include_str!("../sim-seeds.txt").lines().filter(|line| !line.starts_with('#')) {
        let (workload, rest) = line.split_once(' ').expect("workload seed what");
        let (seed, _) = rest.split_once(' ').expect("workload seed what");
        let seed = seed.parse().expect("a seed");
        let workload = match workload {
            "crash" => Workload::Crash,
            "fault" => Workload::Fault,
            "flip" => Workload::Flip,
            "mixed" => Workload::Mixed,
            other => panic!("no workload {other}"),
        };
        rounds(workload, seed..seed + 1);
    }
}
