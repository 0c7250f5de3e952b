//! The Python environments of the client suites: each made once under the target directory, from its lock files alone.
//! A copy of the locks inside it is the key: any change of a lock makes a new environment.

use crate::shell::{Failure, program, root, target};
use std::fs;
use std::path::PathBuf;

const LOCKS: &str = "tests/clients";
const STAMP: &str = "nilas-requirements.lock";

/// A folder under the target directory, and what is installed there.
pub struct Environment {
    pub name: &'static str,
    /// Files of `tests/clients`.
    pub locks: &'static [&'static str],
}

/// The environment's Python, after making the environment when there is none or a lock has changed.
pub fn python(environment: &Environment) -> Result<PathBuf, Failure> {
    let locks: Vec<String> = environment.locks.iter().map(|lock| format!("{LOCKS}/{lock}")).collect();
    let mut wanted = String::new();
    for lock in &locks {
        let text = fs::read_to_string(root().join(lock)).map_err(|e| Failure(format!("{lock}: {e}")))?;
        wanted.push_str(&text);
    }
    let place = target().join(environment.name);
    let python = place.join("bin/python");
    if python.exists() && fs::read_to_string(place.join(STAMP)).is_ok_and(|made_from| made_from == wanted) {
        return Ok(python);
    }
    make(&place)?;
    println!("installing the clients of {} into {}", locks.join(", "), place.display());
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    let named = || program(&python).args(pip).args(locks.iter().flat_map(|lock| ["-r", lock]));
    // Wheels first; what comes as source only, or lacks one for this machine, may still be built.
    named().args(["--only-binary", ":all:"]).output().or_else(|_| named().output())?;
    fs::write(place.join(STAMP), &wanted)
        .map_err(|error| Failure(format!("{}: {error}", place.display())))?;
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
