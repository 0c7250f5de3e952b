//! One server for the time of a test: a free loopback port, a store of its own, stopped by its id.
//! `clients` starts it. Dropping it kills the process and removes the store.

use crate::shell::{Failure, server_binary, target};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const READY_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);
const LOG_LINES_SHOWN: usize = 30;

/// The root key of test servers. They listen on loopback only and live as long as a test.
pub const ACCESS_KEY: &str = "NILASTESTROOTKEY";
pub const SECRET_KEY: &str = "nilas-test-secret-0123456789abcdef";

pub struct Server {
    child: Child,
    address: SocketAddr,
    place: PathBuf,
}

impl Server {
    /// Starts a server on an empty store and waits until it is ready.
    pub fn start(name: &str) -> Result<Self, Failure> {
        let place = target().join("servers").join(format!("{name}-{}", std::process::id()));
        let io = |error: std::io::Error| Failure(format!("{}: {error}", place.display()));
        fs::create_dir_all(&place).map_err(io)?;
        let address = free_address().map_err(io)?;
        let log = File::create(place.join("log")).map_err(io)?;
        let binary = server_binary();
        let child = Command::new(&binary)
            .arg("serve")
            .arg("--data")
            .arg(place.join("data"))
            .args(["--address", &address.to_string()])
            .env("NILAS_ACCESS_KEY", ACCESS_KEY)
            .env("NILAS_SECRET_KEY", SECRET_KEY)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(io)?)
            .stderr(log)
            .spawn()
            .map_err(|error| Failure(format!("{} did not start: {error}", binary.display())))?;
        let mut server = Server { child, address, place };
        server.wait_until_ready()?;
        Ok(server)
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A directory that goes away with the server.
    pub fn scratch(&self) -> Result<PathBuf, Failure> {
        let scratch = self.place.join("scratch");
        fs::create_dir_all(&scratch).map_err(|error| Failure(format!("{}: {error}", scratch.display())))?;
        Ok(scratch)
    }

    /// Asks the server to stop and checks that it does, cleanly and in time.
    pub fn stop(mut self) -> Result<(), Failure> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(Failure(format!("the server had ended by itself ({status})\n{}", self.log_tail())));
        }
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        if !asked.is_ok_and(|status| status.success()) {
            return Err(Failure(format!("kill -TERM {pid} did not work")));
        }
        let end = Instant::now() + STOP_MAX;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(Failure(format!("the server stopped with {status}\n{}", self.log_tail())));
                }
                Ok(None) => sleep(Duration::from_millis(20)),
                Err(error) => return Err(Failure(format!("waiting for the server: {error}"))),
            }
        }
        Err(Failure(format!("the server did not stop within {} s\n{}", STOP_MAX.as_secs(), self.log_tail())))
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let end = Instant::now() + READY_MAX;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure(format!("the server ended at start ({status})\n{}", self.log_tail())));
            }
            if ready(self.address) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        Err(Failure(format!(
            "the server was not ready within {} s\n{}",
            READY_MAX.as_secs(),
            self.log_tail()
        )))
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.place.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Already failing: nothing better to do about an error here.
            drop(self.child.kill());
            drop(self.child.wait());
        }
        drop(fs::remove_dir_all(&self.place));
    }
}

/// A loopback port nobody listens on now.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
