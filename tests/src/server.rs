//! The release binary as a child process: found, started on a free loopback port, killed, restarted.
//!
//! I1. Only children started here are ever signalled, by their own id. I2. No child outlives this
//! process: each is spawned from one parked thread and asks the kernel to be killed with it.
//! I3. A data directory made here is removed on drop and at exit; one that was given stays.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::catalog::Catalog;
use crate::client::{Call, Client};
use crate::device::{self, Usage};

/// Root access key given to servers unless told otherwise.
pub const ACCESS_KEY: &str = "nilastestroot";
/// Its secret.
pub const SECRET_KEY: &str = "nilas/test+secret=0123456789abcdef";
/// Longest wait for `/readyz`.
pub const READY_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for an orderly stop.
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(30);

/// How to start a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Data directory; `None` makes one under the target directory.
    pub data: Option<PathBuf>,
    /// Values of `--drive`.
    pub drives: Vec<PathBuf>,
    /// Value of `--drive-size`; `NILAS_TEST_DRIVE_SIZE` overrides it.
    pub drive_size: Option<String>,
    /// Root key through the environment; `None` leaves the choice to the server.
    pub root_key: Option<(String, String)>,
    /// Further variables of the environment; no server inherits NILAS_ACCESS_KEY and NILAS_SECRET_KEY.
    pub environment: Vec<(String, String)>,
    /// Value of `--address`; by default a free loopback port.
    pub address: String,
    /// Further arguments after `serve`.
    pub arguments: Vec<OsString>,
    /// Longest wait for `/readyz`.
    pub ready_wait_max: Duration,
}

impl ServerOptions {
    /// A throw-away store of 2 GiB with the test root key.
    pub fn fresh() -> Self {
        ServerOptions {
            data: None,
            drives: Vec::new(),
            drive_size: Some("2GiB".to_owned()),
            root_key: Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned())),
            environment: Vec::new(),
            address: "127.0.0.1:0".to_owned(),
            arguments: Vec::new(),
            ready_wait_max: READY_WAIT_MAX,
        }
    }

    /// The same with another drive size, such as `192MiB`.
    pub fn drive_size(mut self, size: &str) -> Self {
        self.drive_size = Some(size.to_owned());
        self
    }

    /// The same over a given data directory.
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }
}

/// A server that did not become ready, with all that it said.
#[derive(Debug)]
pub struct StartError {
    /// What was waited for in vain.
    pub reason: String,
    /// How the process ended, if it did by itself.
    pub exit: Option<ExitStatus>,
    /// Lines of standard output.
    pub stdout: Vec<String>,
    /// Standard error.
    pub stderr: String,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; exit {:?}; stdout {:?}; stderr {}", self.reason, self.exit, self.stdout, self.stderr)
    }
}

impl std::error::Error for StartError {}

/// A running server, or one that was stopped and can be started again on the same data.
pub struct Server {
    options: ServerOptions,
    data: PathBuf,
    owns_data: bool,
    log: PathBuf,
    child: Option<Child>,
    lines: Arc<Mutex<Vec<String>>>,
    address: SocketAddr,
    root_key: (String, String),
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(options: ServerOptions) -> Result<Server, StartError> {
        let owns_data = options.data.is_none();
        let data = options.data.clone().unwrap_or_else(fresh_directory);
        let log = data.with_extension("log");
        let mut server = Server {
            root_key: options.root_key.clone().unwrap_or_default(),
            options,
            data,
            owns_data,
            log,
            child: None,
            lines: Arc::default(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        server.spawn()?;
        server.wait_ready()?;
        Ok(server)
    }

    /// Starts a server on a throw-away store, or stops the test with what it said.
    pub fn fresh() -> Server {
        Server::start(ServerOptions::fresh()).unwrap_or_else(|error| panic!("server did not start: {error}"))
    }

    /// Starts the process again on the same data; it must not be running.
    pub fn restart(&mut self) -> Result<(), StartError> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts the process without waiting for anything, so that it can be killed in recovery.
    pub fn spawn(&mut self) -> Result<(), StartError> {
        assert!(self.child.is_none(), "the server is still running");
        self.lines = Arc::default();
        let binary = binary("nilas", "NILAS_BIN").map_err(|reason| self.failed(reason, None))?;
        let mut command = Command::new(binary);
        command.arg("serve").arg("--data").arg(&self.data).arg("--address").arg(&self.options.address);
        for drive in &self.options.drives {
            command.arg("--drive").arg(drive);
        }
        let size = std::env::var("NILAS_TEST_DRIVE_SIZE").ok().or_else(|| self.options.drive_size.clone());
        if let Some(size) = size.filter(|_| self.options.drives.is_empty()) {
            command.arg("--drive-size").arg(size);
        }
        command.args(&self.options.arguments).env_remove("NILAS_ACCESS_KEY").env_remove("NILAS_SECRET_KEY");
        if let Some((access, secret)) = &self.options.root_key {
            command.env("NILAS_ACCESS_KEY", access).env("NILAS_SECRET_KEY", secret);
        }
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| self.failed(format!("{}: {error}", self.log.display()), None))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child =
            spawn_parked(command).map_err(|error| self.failed(format!("cannot start: {error}"), None))?;
        let stdout = child.stdout.take().expect("standard output was piped above");
        let lines = Arc::clone(&self.lines);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().expect("no holder panics").push(line);
            }
        });
        self.child = Some(child);
        Ok(())
    }

    /// Waits for the printed address and for `/readyz` to answer 200.
    pub fn wait_ready(&mut self) -> Result<(), StartError> {
        let deadline = Instant::now() + self.options.ready_wait_max;
        let mut known = None;
        loop {
            if let Some(exit) = self.poll_exit() {
                // The reader thread may still hold the last lines.
                thread::sleep(Duration::from_millis(50));
                self.child = None;
                return Err(self.failed("ended before it was ready".to_owned(), Some(exit)));
            }
            if known.is_none() {
                known = self.stdout().iter().find_map(|line| parse_address(line));
            }
            if let Some(address) = known {
                self.address = address;
                let ready = Client::new(address, "", "").send(&Call::get("/readyz").unsigned());
                if ready.is_ok_and(|answer| answer.status == 200) {
                    break;
                }
            }
            if deadline < Instant::now() {
                self.kill9();
                return Err(self.failed("not ready in time".to_owned(), None));
            }
            thread::sleep(Duration::from_millis(5));
        }
        if self.options.root_key.is_none() {
            self.root_key = read_root_env(&self.data.join("root.env"))
                .ok_or_else(|| self.failed("root.env does not hold the two lines".to_owned(), None))?;
        }
        Ok(())
    }

    /// Kills the process with SIGKILL and reaps it; nothing happens if it is not running.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a child that is gone already.
            let _gone = child.kill();
            let _status = child.wait();
        }
    }

    /// Sends SIGTERM and waits for the exit status; SIGKILL and `None` after [`STOP_WAIT_MAX`].
    pub fn sigterm(&mut self) -> Option<ExitStatus> {
        let pid = i32::try_from(self.pid()).expect("process ids fit i32");
        terminate(pid);
        let deadline = Instant::now() + STOP_WAIT_MAX;
        while Instant::now() < deadline {
            if let Some(exit) = self.poll_exit() {
                self.child = None;
                return Some(exit);
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.kill9();
        None
    }

    /// The exit status if the process has ended by itself.
    pub fn poll_exit(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// Process id; the server must be running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server is running").id()
    }

    /// Address of the S3 endpoint.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Root access key and secret.
    pub fn root_key(&self) -> (&str, &str) {
        (&self.root_key.0, &self.root_key.1)
    }

    /// Lines of standard output since the last start.
    pub fn stdout(&self) -> Vec<String> {
        self.lines.lock().expect("no holder panics").clone()
    }

    /// Standard error of all starts.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// An S3 client with the root key and a connection of its own.
    pub fn client(&self) -> Client {
        let mut client = Client::new(self.address, &self.root_key.0, &self.root_key.1);
        client.single_headers = true;
        client
    }

    /// A catalog client with the root key for `warehouse`.
    pub fn catalog(&self, warehouse: &str) -> Catalog {
        let mut catalog = Catalog::new(self.address, &self.root_key.0, &self.root_key.1, warehouse);
        catalog.client.single_headers = true;
        catalog
    }

    /// Sum of a metric over its cores or shards, of those lines that hold `label`; 0 when there is none.
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let page = self.client().send(&Call::get("/metrics").unsigned());
        let page = page.map(|page| page.text()).unwrap_or_default();
        let lines = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Processor time, memory and drive counters so far.
    pub fn usage(&self) -> Usage {
        device::usage(self.pid(), self.options.drives.first().unwrap_or(&self.data))
    }

    /// Leaves the data directory in place until the next run sweeps it, for a look at what went wrong.
    pub fn keep(&mut self) {
        self.owns_data = false;
        MADE.lock().expect("no holder panics").retain(|path| *path != self.data);
    }

    fn failed(&self, reason: String, exit: Option<ExitStatus>) -> StartError {
        StartError { reason, exit, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if thread::panicking() {
            eprintln!("server log {}:\n{}", self.log.display(), self.stderr());
        }
        if self.owns_data {
            remove(&self.data);
        }
    }
}

/// Path of a release binary: the variable `env`, else `release/NAME` of the target directory.
pub fn binary(name: &str, env: &str) -> Result<PathBuf, String> {
    let path = match std::env::var_os(env) {
        Some(path) => PathBuf::from(path),
        None => target_directory().join("release").join(name),
    };
    let missing =
        || format!("{} is missing: run `cargo build --release -p {name}`, or set {env}", path.display());
    if path.is_file() { Ok(path) } else { Err(missing()) }
}

/// Cargo's target directory.
pub fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    }
}

/// A path under the target directory that nobody uses; removed at exit if somebody makes it.
pub fn fresh_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static SWEEP: Once = Once::new();
    let root = target_directory().join("tmp");
    fs::create_dir_all(&root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let root = fs::canonicalize(&root).expect("it was just made");
    SWEEP.call_once(|| {
        sweep(&root);
        remove_at_exit();
    });
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = root.join(format!("nilas-{}-{next}", std::process::id()));
    MADE.lock().expect("no holder panics").push(path.clone());
    path
}

/// Reads the two lines of a `root.env`.
pub fn read_root_env(path: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(path).ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Some((value("NILAS_ACCESS_KEY=")?, value("NILAS_SECRET_KEY=")?))
}

/// Lets this process, and the servers that it starts, have as many files open as they may; how many that is.
#[expect(unsafe_code, reason = "the standard library has no call for limits of resources")]
pub fn raise_files() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call, which writes nothing else.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the structure outlives the call, which only reads it.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn remove(data: &Path) {
    // A directory that was never made, or is gone, is as good as removed.
    let _gone = fs::remove_dir_all(data);
    let _gone = fs::remove_file(data.with_extension("log"));
}

/// Removes what runs that were cut off have left behind.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("nilas-")?.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&entry.path().with_extension(""));
        }
    }
}

#[expect(unsafe_code, reason = "atexit has no safe form")]
fn remove_at_exit() {
    extern "C" fn run() {
        for path in MADE.lock().map(|made| made.clone()).unwrap_or_default() {
            remove(&path);
        }
    }
    // SAFETY: `run` is a plain function that lives as long as the program and does not unwind.
    unsafe { libc::atexit(run) };
}

#[expect(unsafe_code, reason = "the standard library sends no SIGTERM")]
fn terminate(pid: i32) {
    // SAFETY: kill takes no pointers; the id is that of a child which is not yet reaped.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

type Job = (Command, Sender<io::Result<Child>>);

/// Spawns from one thread that never ends, since the kernel's "kill with the parent" means the
/// spawning thread, and test threads come and go.
fn spawn_parked(mut command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    die_with_parent(&mut command);
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in queue {
                // A caller that is gone needs no answer.
                let _unheard = reply.send(command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    let (reply, answer) = channel();
    spawner.lock().expect("no holder panics").send((command, reply)).expect("the spawner never ends");
    answer.recv().expect("the spawner answers every job")
}

#[expect(unsafe_code, reason = "PR_SET_PDEATHSIG must be asked for between fork and exec")]
fn die_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: prctl with PR_SET_PDEATHSIG takes no pointers and is async-signal-safe.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call, allocates nothing and takes no lock.
    unsafe { command.pre_exec(ask) };
}

fn parse_address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("S3 http://")?.split('/').next()?.trim().parse().ok()
}

/// Writes a file, for tests that need a foreign drive.
pub fn write_file(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::{fresh_directory, parse_address, read_root_env, write_file};

    #[test]
    fn printed_address() {
        assert_eq!(parse_address("S3 http://127.0.0.1:9000"), "127.0.0.1:9000".parse().ok());
        assert_eq!(parse_address("S3 http://127.0.0.1:41 (ready)"), None);
        assert_eq!(parse_address("catalog http://127.0.0.1:9000/_iceberg"), None);
    }

    #[test]
    fn root_env() {
        let path = fresh_directory();
        write_file(&path, b"NILAS_ACCESS_KEY=a\nNILAS_SECRET_KEY=b=c\n");
        assert_eq!(read_root_env(&path), Some(("a".to_owned(), "b=c".to_owned())));
        write_file(&path, b"NILAS_ACCESS_KEY=a\n");
        assert_eq!(read_root_env(&path), None);
        std::fs::remove_file(path).expect("it was just written");
    }
}
