//! Raw block devices for tests: loop devices over sparse files, made where this process may make them.
//!
//! I1. A device is detached by its own name, and only while it still stands on the file it was made from.
//! I2. Where none can be made the test says so on standard error and counts as passed, unless NILAS_REQUIRE_LOOP is
//! set: then it fails.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::fresh_directory;

/// A loop device with direct I/O, detached on drop; its file is removed.
#[derive(Debug)]
pub struct LoopDevice {
    device: PathBuf,
    file: PathBuf,
}

impl LoopDevice {
    /// A device of `bytes` zeros; `None` where this process may not make one.
    pub fn new(bytes: u64) -> Option<LoopDevice> {
        let file = fresh_directory().with_extension("loop");
        let made = OpenOptions::new().write(true).create_new(true).open(&file);
        let sized = made.and_then(|made| made.set_len(bytes));
        sized.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        match attach(&file) {
            Ok(device) => Some(LoopDevice { device, file }),
            Err(why) => {
                drop(fs::remove_file(&file));
                let required = std::env::var_os("NILAS_REQUIRE_LOOP").is_some();
                assert!(!required, "NILAS_REQUIRE_LOOP is set, and no loop device can be made: {why}");
                eprintln!("NOT TESTED: no loop device can be made, raw block devices are not tried: {why}");
                None
            }
        }
    }

    /// Such as `/dev/loop3`.
    pub fn path(&self) -> &Path {
        &self.device
    }

    /// Detaches it, gives its file another length, and attaches that again, perhaps under another name.
    pub fn resize(&mut self, bytes: u64) {
        self.detach();
        let file = OpenOptions::new().write(true).open(&self.file).expect("the file it was made from");
        file.set_len(bytes).expect("another length");
        self.device = attach(&self.file).unwrap_or_else(|why| panic!("it was attached before: {why}"));
    }

    fn detach(&self) {
        // The number may have gone to somebody else's file, if somebody else detached it.
        let name = self.device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stands_on =
            fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).unwrap_or_default();
        let canonical = fs::canonicalize(&self.file).unwrap_or_default();
        if Path::new(stands_on.trim()) == canonical {
            let detached = Command::new("losetup").arg("-d").arg(&self.device).status();
            let done = detached.as_ref().is_ok_and(std::process::ExitStatus::success);
            // Also in a drop: a leaked device is worth a line, not a second panic.
            if !done {
                eprintln!("{} is not detached: {detached:?}", self.device.display());
            }
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        self.detach();
        drop(fs::remove_file(&self.file));
    }
}

fn attach(file: &Path) -> Result<PathBuf, String> {
    let mut losetup = Command::new("losetup");
    losetup.args(["--find", "--show", "--direct-io=on"]).arg(file);
    let output = losetup.output().map_err(|error| format!("losetup: {error}"))?;
    let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && device.starts_with("/dev/loop") {
        return Ok(PathBuf::from(device));
    }
    Err(format!("losetup: {} {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
