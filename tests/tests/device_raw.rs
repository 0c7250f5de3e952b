//! Raw block devices, on loop devices: the engine's conformance suite, and the release binary started, killed,
//! started again and refused on them. Where no loop device can be made: see `loop_device`.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nilas_engine::drive::{DriveLock, OpenFault, create_file, lock_drive};
use nilas_tests::client::Call;
use nilas_tests::loop_device::LoopDevice;
use nilas_tests::on_drives::conform;
use nilas_tests::rng::payload;
use nilas_tests::server::{Server, ServerOptions, fresh_directory};
use nilas_tests::sizes::{KIB, MIB};

const DEVICE_BYTES: u64 = 512 << 20;

fn lock(path: &Path) -> DriveLock {
    lock_drive(path).unwrap_or_else(|error| panic!("{error}"))
}

fn on(drives: &[&Path]) -> ServerOptions {
    ServerOptions { drives: drives.iter().map(|path| path.to_path_buf()).collect(), ..ServerOptions::fresh() }
}

fn start(options: ServerOptions) -> Server {
    Server::start(options).unwrap_or_else(|error| panic!("{error}"))
}

/// The start fails with exit code 1, and its last line names `drive` and says `reason`.
#[track_caller]
fn expect_refused(options: ServerOptions, drive: &Path, reason: &str) {
    let error = match Server::start(options) {
        Ok(_) => panic!("{reason}: the server started"),
        Err(error) => error,
    };
    assert_eq!(error.exit.and_then(|exit| exit.code()), Some(1), "{reason}: {error}");
    let last = error.stderr.lines().last().unwrap_or_default();
    let named = last.contains(&drive.display().to_string());
    assert!(named && last.contains(reason), "{} and {reason:?} are not said: {error}", drive.display());
}

#[test]
fn conformance_on_a_device() {
    let Some(device) = LoopDevice::new(DEVICE_BYTES) else { return };
    let held = lock(device.path());
    assert_eq!(lock_drive(device.path()).expect_err("taken").fault, OpenFault::InUse);
    conform(1, vec![held.clone()]);
    // What the first run left is recovered by another number of cores.
    conform(2, vec![held.clone()]);
    let counted = held.counters();
    assert!(0 < counted.reads && 0 < counted.writes && 0 < counted.durable_writes, "{counted:?}");
    assert_eq!(counted.errors, 0, "{counted:?}");
}

#[test]
fn conformance_on_two_devices() {
    let Some(first) = LoopDevice::new(DEVICE_BYTES) else { return };
    let Some(second) = LoopDevice::new(DEVICE_BYTES) else { return };
    conform(2, vec![lock(first.path()), lock(second.path())]);
}

#[test]
fn conformance_on_a_device_and_a_file() {
    let Some(device) = LoopDevice::new(DEVICE_BYTES) else { return };
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let file = directory.join("file.drive");
    create_file(&file, DEVICE_BYTES).expect("space in the target directory");
    conform(2, vec![lock(&file), lock(device.path())]);
    fs::remove_dir_all(&directory).expect("it was just made");
}

/// Puts, kills, starts again and reads, twice, on whatever the options name.
fn survives_kills(options: ServerOptions) -> Server {
    let mut server = start(options);
    assert_eq!(server.client().create_bucket("raw").expect("create").status, 200);
    let mut objects: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..2_u64 {
        for (name, bytes) in [("empty", 0), ("small", 4 * KIB), ("odd", 300_001), ("large", 10 * MIB)] {
            let object = (format!("{name}-{round}"), payload(name, round, bytes));
            assert_eq!(server.client().put("raw", &object.0, &object.1).expect("put").status, 200);
            objects.push(object);
        }
        server.kill9();
        server.restart().unwrap_or_else(|error| panic!("{error}"));
        for (key, body) in &objects {
            let got = server.client().get("raw", key).expect("get");
            assert!(got.status == 200 && got.body == *body, "{key} after {round} restarts: {}", got.head);
        }
    }
    server
}

#[test]
fn a_server_on_a_device() {
    let Some(device) = LoopDevice::new(DEVICE_BYTES) else { return };
    let mut server = survives_kills(on(&[device.path()]));
    expect_refused(on(&[device.path()]), device.path(), "in use");
    assert_eq!(server.client().send(&Call::bucket("HEAD", "raw")).expect("head").status, 200);
    assert!(server.sigterm().is_some_and(|exit| exit.code() == Some(0)), "{}", server.stderr());
    server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.client().send(&Call::bucket("HEAD", "raw")).expect("head").status, 200);
}

#[test]
fn a_server_on_two_devices_and_a_file() {
    let Some(first) = LoopDevice::new(DEVICE_BYTES) else { return };
    let Some(second) = LoopDevice::new(DEVICE_BYTES) else { return };
    let Some(other) = LoopDevice::new(DEVICE_BYTES) else { return };
    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let file = directory.join("file.drive");
    create_file(&file, DEVICE_BYTES).expect("space in the target directory");
    let (a, b, c) = (first.path(), second.path(), file.as_path());
    let mut server = survives_kills(on(&[a, b, c]));
    assert!(server.sigterm().is_some());

    expect_refused(on(&[b, a, c]), b, "drive number is 1, expected 0");
    expect_refused(on(&[a, b]), a, "store of 3 drives, 2 given: number 2, counted from 0, is missing");
    expect_refused(on(&[a, other.path(), c]), other.path(), "is blank");
    let mut stranger = start(on(&[other.path()]));
    assert!(stranger.sigterm().is_some());
    expect_refused(on(&[a, other.path(), c]), other.path(), "store id");

    server.restart().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(server.client().get("raw", "small-1").expect("get").status, 200);
    drop(server);
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn a_device_that_is_too_small_or_shrank_is_refused() {
    let Some(small) = LoopDevice::new(1 << 20) else { return };
    expect_refused(on(&[small.path()]), small.path(), "are needed");

    let Some(mut device) = LoopDevice::new(DEVICE_BYTES) else { return };
    let mut server = start(on(&[device.path()]));
    assert_eq!(server.client().create_bucket("raw").expect("create").status, 200);
    assert!(server.sigterm().is_some());
    drop(server);
    device.resize(DEVICE_BYTES / 2);
    let said = format!("has {} bytes, {DEVICE_BYTES} are needed", DEVICE_BYTES / 2);
    expect_refused(on(&[device.path()]), device.path(), &said);
}

/// All of the device's first bytes.
fn head_of(device: &Path) -> Vec<u8> {
    let mut bytes = vec![0; 2 * MIB];
    let mut file = File::open(device).expect("it is attached");
    file.read_exact(&mut bytes).expect("the device is larger");
    bytes
}

#[test]
fn a_device_that_holds_something_else_is_refused() {
    let Some(device) = LoopDevice::new(64 << 20) else { return };
    let write = |at: u64, bytes: &[u8]| {
        let file = OpenOptions::new().write(true).open(device.path()).expect("it is attached");
        file.write_all_at(bytes, at).expect("written");
        file.sync_all().expect("on the device");
    };
    for (at, content) in [(0, &b"dear diary, "[..]), (8 << 10, b"do not touch"), (510, &[0x55, 0xAA])] {
        write(at, content);
        let before = head_of(device.path());
        expect_refused(on(&[device.path()]), device.path(), "is no Nilas store");
        assert!(head_of(device.path()) == before, "the device was changed");
        write(at, &vec![0; content.len()]);
    }

    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(device.path()).output();
    let output = made.unwrap_or_else(|error| panic!("mkfs.ext4 (Debian: e2fsprogs): {error}"));
    assert!(output.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&output.stderr));
    let before = head_of(device.path());
    expect_refused(on(&[device.path()]), device.path(), "is no Nilas store");
    assert!(head_of(device.path()) == before, "the file system was changed");

    let directory = fresh_directory();
    fs::create_dir_all(&directory).expect("a fresh directory");
    let mounted = Command::new("mount").arg(device.path()).arg(&directory).output();
    if mounted.is_ok_and(|output| output.status.success()) {
        let fault = lock_drive(device.path()).map(drop).map_err(|error| error.fault);
        let unmounted = Command::new("umount").arg(&directory).status();
        assert_eq!(fault, Err(OpenFault::InUse), "a mounted device was taken");
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", directory.display());
    }
    fs::remove_dir_all(&directory).expect("it was just made");
}

#[test]
fn a_device_that_is_gone_is_refused() {
    let Some(device) = LoopDevice::new(DEVICE_BYTES) else { return };
    let mut server = start(on(&[device.path()]));
    assert!(server.sigterm().is_some());
    let gone = PathBuf::from(format!("{}-gone", device.path().display()));
    // Not taken for a file that is still to be made.
    expect_refused(on(&[device.path(), &gone]), &gone, "is missing");
    assert!(!gone.exists(), "a file was made in the place of a device");
}
