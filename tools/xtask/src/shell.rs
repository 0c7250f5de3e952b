//! Runs other programs: where the repository is, cargo and its target directory, and a command that passes or says why not.
//! Every module here starts programs through this one.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Why a section did not pass: one line for the reader.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure(text)
    }
}

/// The repository, wherever the command is called from.
pub fn root() -> PathBuf {
    // Cargo names the crate at run time; the path compiled in may be of another checkout that shares a target directory.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.ancestors().nth(2).map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |named| root().join(named))
}

/// A program of the release build.
pub fn release_binary(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// The server under test: what `NILAS_BIN` names, else the release build's.
pub fn server_binary() -> PathBuf {
    std::env::var_os("NILAS_BIN").map_or_else(|| release_binary("nilas"), |named| root().join(named))
}

/// The cargo that runs this program, with arguments, in the repository.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Program {
    let named = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut program = program(named).args(arguments);
    // What cargo told us about ourselves must not reach the cargo we start: it would rebuild for nothing.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        program.command.env_remove(name);
    }
    program
}

/// Any program, in the repository.
pub fn program(name: impl AsRef<OsStr>) -> Program {
    let mut command = Command::new(name);
    command.current_dir(root());
    Program { command }
}

/// A command about to be run.
pub struct Program {
    pub command: Command,
}

impl Program {
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Runs to the end, output going to the terminal.
    pub fn passes(mut self) -> Result<(), Failure> {
        let status = self.command.status().map_err(|error| self.no_start(&error))?;
        self.judge(status)
    }

    /// As `passes`, but kills the program once `limit` is over.
    pub fn passes_within(mut self, limit: Duration) -> Result<(), Failure> {
        let mut child = self.command.spawn().map_err(|error| self.no_start(&error))?;
        let end = Instant::now() + limit;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return self.judge(status),
                Ok(None) if Instant::now() < end => sleep(Duration::from_millis(50)),
                waited => {
                    let killed = child.kill().and_then(|()| child.wait());
                    let why =
                        waited.err().or(killed.err()).map_or_else(String::new, |error| format!(": {error}"));
                    return Err(Failure(format!(
                        "{} was stopped after {} s{why}",
                        self.line(),
                        limit.as_secs()
                    )));
                }
            }
        }
    }

    /// Runs to the end and answers standard output; standard error is shown only when the program fails.
    pub fn output(mut self) -> Result<String, Failure> {
        let done = self.command.stdin(Stdio::null()).output().map_err(|error| self.no_start(&error))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&done.stderr);
        Err(Failure(format!("{} failed ({}): {}", self.line(), done.status, said.trim())))
    }

    fn judge(&self, status: ExitStatus) -> Result<(), Failure> {
        if status.success() { Ok(()) } else { Err(Failure(format!("{} failed ({status})", self.line()))) }
    }

    fn no_start(&self, error: &std::io::Error) -> Failure {
        Failure(format!("{} did not start: {error}", self.line()))
    }

    /// The command as one would type it, cut to a readable length.
    fn line(&self) -> String {
        const CHARS_MAX: usize = 160;
        let program = Path::new(self.command.get_program()).file_name().unwrap_or_default();
        let words = std::iter::once(program).chain(self.command.get_args());
        let line: Vec<_> = words.map(OsStr::to_string_lossy).collect();
        let line = line.join(" ");
        if line.chars().count() <= CHARS_MAX {
            line
        } else {
            line.chars().take(CHARS_MAX).chain(['…']).collect()
        }
    }
}
