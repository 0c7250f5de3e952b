//! The Python environment of the client suites: made once under the target directory, from the lock file alone.
//! A copy of the lock inside it is the key: any change of the lock makes a new environment.

use crate::shell::{Failure, program, root, target};
use std::fs;
use std::path::PathBuf;

const LOCK: &str = "tests/clients/requirements.lock";
const STAMP: &str = "nilas-requirements.lock";

/// The environment's Python, after making the environment when there is none or the lock has changed.
pub fn python() -> Result<PathBuf, Failure> {
    let lock = fs::read_to_string(root().join(LOCK)).map_err(|error| Failure(format!("{LOCK}: {error}")))?;
    let place = target().join("venv");
    let python = place.join("bin/python");
    if python.exists() && fs::read_to_string(place.join(STAMP)).is_ok_and(|made_from| made_from == lock) {
        return Ok(python);
    }
    make(&place)?;
    println!("installing the clients of {LOCK} into {}", place.display());
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-r",
        LOCK,
    ];
    let fallback =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", LOCK];
    // Wheels first; a machine for which one is missing may still build it.
    program(&python).args(pip).output().or_else(|_| program(&python).args(fallback).output())?;
    fs::write(place.join(STAMP), &lock).map_err(|error| Failure(format!("{}: {error}", place.display())))?;
    Ok(python)
}

fn make(place: &PathBuf) -> Result<(), Failure> {
    if program("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]).output().is_err() {
        return Err(Failure("the client suites need python3, 3.10 or newer, on PATH (Debian: apt-get install python3 python3-venv)".to_owned()));
    }
    if program("python3").args(["-c", "import venv, ensurepip"]).output().is_err() {
        return Err(Failure(
            "the client suites need python3's venv module (Debian: apt-get install python3-venv)".to_owned(),
        ));
    }
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure(format!("{}: {error}", place.display())));
        }
        _ => {}
    }
    fs::create_dir_all(target()).map_err(|error| Failure(format!("{}: {error}", target().display())))?;
    program("python3").args(["-m", "venv"]).args([place]).output().map(drop)
}
