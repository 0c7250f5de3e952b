//! `nilas serve`: the command line as a configuration, what the server found as lines, signals as a stop.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nilas_engine::format::superblock::FORMAT_VERSION;
use nilas_http::audit::AuditTarget;
use nilas_http::identity::model::Secret;
use nilas_http::identity::oidc::OidcConfig;
use nilas_http::limits::AUTH_FAILURES_PER_MINUTE;
use nilas_http::process::config::{ServerConfig, ServerError};
use nilas_http::process::shutdown::Stop;
use nilas_http::process::{Server, StoreOrigin};
use nilas_http::s3::lifecycle::Clock;
use nilas_http::scrub::ScrubSettings;

const STORAGE: &str = "Storage";
const NETWORK: &str = "Network";
const SENDERS: &str = "Audit and throttling";
const MACHINE: &str = "Cores and memory";
const SCRUB: &str = "Scrub";
const LIFECYCLE: &str = "Lifecycle";
const OIDC: &str = "OpenID Connect";
const CREDENTIALS: &str = "\
Credentials:
  The root key is NILAS_ACCESS_KEY and NILAS_SECRET_KEY in the environment, both or neither; else the one in root.env in
  the data directory; else one that is made now, kept there and shown once, to a terminal. A new secret takes effect at a
  start: with the one before as NILAS_PREVIOUS_SECRET_KEY, or after `nilas key rotate-root`.";

/// What `nilas serve` may be told.
#[derive(Args)]
#[command(after_help = CREDENTIALS)]
pub(crate) struct Arguments {
    /// Directory of the root key, and of the drive file when no --drive is given
    #[arg(long, value_name = "DIR", default_value = "nilas-data", env = "NILAS_DATA", help_heading = STORAGE)]
    data: PathBuf,
    /// A drive: a block device, or a file (made when it does not exist); repeat for several, always in the same order
    #[arg(long, value_name = "PATH", help_heading = STORAGE)]
    drive: Vec<PathBuf>,
    /// Size of drive files that have to be made, such as 64GiB [default: half of the free space, at most 1 TiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = STORAGE)]
    drive_size: Option<u64>,
    /// Users, groups, policies, buckets and warehouses that are to be there [default: provision.toml in the data directory,
    /// if it is there]
    #[arg(long, value_name = "FILE", env = "NILAS_PROVISION", help_heading = STORAGE)]
    provision: Option<PathBuf>,
    /// File of master keys, one NAME:BASE64 a line, mode 600: the first seals, all open. Needed to encrypt objects; `nilas kms
    /// master-key` makes a line. In place of it NILAS_MASTER_KEY may have the lines
    #[arg(long, value_name = "FILE", env = "NILAS_MASTER_KEY_FILE", help_heading = STORAGE)]
    master_key_file: Option<PathBuf>,
    /// When the root secret is lost: start with another one and delete all access keys, which nobody can read any more.
    /// Users and policies stay
    #[arg(long, help_heading = STORAGE)]
    forget_access_keys: bool,
    /// Make a store of an older format one of this program's; no older program opens it afterwards
    #[arg(long, help_heading = STORAGE)]
    upgrade: bool,
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9000", env = "NILAS_ADDRESS", value_parser = parse_address, help_heading = NETWORK)]
    address: SocketAddr,
    /// The region that S3 clients are told
    #[arg(long, value_name = "NAME", default_value = "us-east-1", env = "NILAS_REGION", help_heading = NETWORK)]
    region: String,
    /// A name under which BUCKET.NAME is a bucket, as clients with virtual-hosted addresses write it; repeat for several, or
    /// separate them by commas
    #[arg(long, value_name = "NAME", env = "NILAS_DOMAIN", value_delimiter = ',', value_parser = parse_domain, help_heading = NETWORK)]
    domain: Vec<String>,
    /// Whether presigned URLs and forms of the old signature version 2 are taken, for GET, HEAD and PUT of objects
    #[arg(long, value_name = "on|off", default_value = "on", value_parser = parse_switch, action = clap::ArgAction::Set, help_heading = NETWORK)]
    presigned_v2: bool,
    /// Take customers' keys (SSE-C) also where other machines can connect, though the connection is not encrypted: behind a proxy that
    /// ends TLS
    #[arg(long, help_heading = NETWORK)]
    sse_c_over_http: bool,
    /// A file that gets one JSON line for each refused and each changing request, or stderr
    #[arg(long, value_name = "PATH|stderr", env = "NILAS_AUDIT_LOG", help_heading = SENDERS)]
    audit_log: Option<PathBuf>,
    /// Wrong signatures and tokens that one address, and one key, is forgiven in a minute before it is slowed down; 0 for
    /// no such limit
    #[arg(long, value_name = "N", default_value_t = AUTH_FAILURES_PER_MINUTE, help_heading = SENDERS)]
    auth_failures_per_minute: u32,
    /// Cores to use [default: all that the process may use]
    #[arg(long, value_name = "N", help_heading = MACHINE)]
    cores: Option<usize>,
    /// Memory to get by with, such as 512MiB [default: what the machine and control groups allow]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = MACHINE)]
    memory: Option<u64>,
    /// Memory of the read caches of all cores together, such as 512MiB; 0 for none [default: a quarter of the memory
    /// that the process may use]
    #[arg(long, value_name = "SIZE", env = "NILAS_CACHE", value_parser = parse_bytes, help_heading = MACHINE)]
    cache: Option<u64>,
    /// Bytes that the scrub reads in a second, in the background, to verify all that is stored; 0 for none
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = parse_bytes, help_heading = SCRUB)]
    scrub_rate: u64,
    /// Hours between the end of one pass of the scrub and the next
    #[arg(long, value_name = "HOURS", default_value_t = 168, help_heading = SCRUB)]
    scrub_every: u32,
    /// For tests: how long a day of lifecycle rules lasts, such as 2s; a real day is 24h
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration, help_heading = LIFECYCLE)]
    lifecycle_day: Duration,
    /// Address of an OpenID Connect issuer whose tokens are taken by STS and by the catalog: https, or http on loopback
    #[arg(long, value_name = "URL", env = "NILAS_OIDC_ISSUER", requires = "oidc_audience", help_heading = OIDC)]
    oidc_issuer: Option<String>,
    /// Whom the issuer's tokens must be for, as `aud` has it, such as the client's id; repeat for several
    #[arg(long, value_name = "NAME", env = "NILAS_OIDC_AUDIENCE", value_delimiter = ',', requires = "oidc_issuer", help_heading = OIDC)]
    oidc_audience: Vec<String>,
    /// The claim of the issuer's tokens that names policies, as a list or joined by commas
    #[arg(long, value_name = "NAME", default_value = "policy", env = "NILAS_OIDC_CLAIM", help_heading = OIDC)]
    oidc_claim: String,
    /// PEM file of certificate authorities for the issuer [default: the system's]
    #[arg(long, value_name = "FILE", env = "NILAS_OIDC_CA", requires = "oidc_issuer", help_heading = OIDC)]
    oidc_ca: Option<PathBuf>,
}

/// Serves until a signal says stop; prints where, and the root key if it was just made.
pub(crate) fn run(arguments: Arguments) -> Result<(), ServeError> {
    let started = std::time::Instant::now();
    let config = ServerConfig {
        data: arguments.data.clone(),
        drives: arguments.drive,
        drive_bytes: arguments.drive_size,
        upgrade: arguments.upgrade,
        address: arguments.address,
        cores: arguments.cores,
        cache_bytes: arguments.cache,
        root_key: root_key_from_environment()?,
        forgets_keys: arguments.forget_access_keys,
        provision: arguments.provision,
        master_key_file: arguments.master_key_file,
        master_keys: variable("NILAS_MASTER_KEY").map(Secret::new),
        customer_keys_over_http: arguments.sse_c_over_http,
        previous_secret: variable("NILAS_PREVIOUS_SECRET_KEY").map(Secret::new),
        presigned_v2: arguments.presigned_v2,
        oidc: arguments.oidc_issuer.map(|issuer| OidcConfig {
            issuer,
            audiences: arguments.oidc_audience,
            claim: arguments.oidc_claim,
            ca: arguments.oidc_ca,
        }),
        scrub: ScrubSettings {
            bytes_per_second: arguments.scrub_rate,
            every: std::time::Duration::from_secs(u64::from(arguments.scrub_every) * 3600),
        },
        lifecycle_clock: Clock {
            day_ms: u64::try_from(arguments.lifecycle_day.as_millis()).unwrap_or(u64::MAX),
        },
        region: arguments.region,
        domains: arguments.domain,
        audit_log: arguments.audit_log.map(|target| match target.as_os_str() == "stderr" {
            true => AuditTarget::Stderr,
            false => AuditTarget::File(target),
        }),
        auth_failures_per_minute: arguments.auth_failures_per_minute,
        memory_bytes: arguments.memory,
    };
    // Before any thread is started, so that none of them takes a signal away.
    let stop = Stop::new();
    watch_signals(stop.clone()).map_err(ServeError::Signals)?;
    let server = Server::prepare(config).map_err(ServeError::Server)?;
    for warning in &server.warnings {
        eprintln!("nilas: {warning}");
    }
    let origin = match server.store_origin() {
        StoreOrigin::Found => String::new(),
        StoreOrigin::Formatted => ", formatted a new store".to_owned(),
        StoreOrigin::Upgraded { from } => {
            format!(", upgraded the store from format {from} to {FORMAT_VERSION}")
        }
    };
    println!("nilas {}{origin} in {}", env!("CARGO_PKG_VERSION"), arguments.data.display());
    if server.root_key.is_new() {
        let kept = arguments.data.join("root.env");
        // What is no terminal keeps what is written to it: a log that others read is no place for a secret.
        if std::io::stdout().is_terminal() {
            println!("root key, shown once and kept in {}:", kept.display());
            println!("  NILAS_ACCESS_KEY={}", server.root_key.access_key());
            println!("  NILAS_SECRET_KEY={}", server.root_key.secret_key());
        } else {
            println!("root key {}, its secret is in {}", server.root_key.access_key(), kept.display());
        }
    }
    let address = server.address;
    if !address.ip().is_loopback() {
        eprintln!("nilas: {address} is reachable from other machines and the connection is not encrypted");
    }
    println!("S3 http://{address}");
    println!("catalog http://{address}/_iceberg");
    println!("metrics http://{address}/metrics");
    println!("health http://{address}/readyz");
    println!("stop with Ctrl-C or SIGTERM, process {}", std::process::id());
    server
        .run(&stop, move || println!("ready in {} ms", started.elapsed().as_millis()))
        .map_err(ServeError::Server)
}

/// Why `serve` ended other than by being told to.
pub(crate) enum ServeError {
    HalfKey,
    Signals(std::io::Error),
    Server(ServerError),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServeError::HalfKey => {
                write!(f, "NILAS_ACCESS_KEY and NILAS_SECRET_KEY belong together: set both, or neither")
            }
            ServeError::Signals(e) => write!(f, "signals cannot be watched: {e}"),
            ServeError::Server(e) => write!(f, "{e}"),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn root_key_from_environment() -> Result<Option<(String, Secret)>, ServeError> {
    match (variable("NILAS_ACCESS_KEY"), variable("NILAS_SECRET_KEY")) {
        (Some(access_key), Some(secret_key)) => Ok(Some((access_key, Secret::new(secret_key)))),
        (None, None) => Ok(None),
        _ => Err(ServeError::HalfKey),
    }
}

/// The first SIGTERM or SIGINT begins a graceful stop, the second ends the process at once.
fn watch_signals(stop: Stop) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if stop.is_begun() {
                std::process::exit(1);
            }
            stop.begin();
        }
    })?;
    Ok(())
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("{other:?} is neither on nor off")),
    }
}

/// `127.0.0.1:9000`, `[::1]:9000`, or a name that resolves to an address.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |why: String| format!("{text:?}: {why}; write it like 127.0.0.1:9000");
    let mut found = std::net::ToSocketAddrs::to_socket_addrs(text).map_err(|e| wrong(e.to_string()))?;
    found.next().ok_or_else(|| wrong("the name has no address".to_owned()))
}

/// A host name, in lower case: labels of letters, digits and hyphens.
fn parse_domain(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    match name.len() <= 253 && name.split('.').all(is_label) && !is_address {
        true => Ok(name),
        false => Err(format!("{text:?} is no domain; write it like s3.example.com, without a port")),
    }
}

/// `4096`, `192MiB`, `64GiB`, `1TiB`; also `k`, `m`, `g`, `t` alone, always powers of 1,024.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(format!("{unit:?} is no unit: use KiB, MiB, GiB or TiB")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no size: write it like 64GiB"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

/// `500ms`, `2s`, `10m`, `24h`; at least 100 ms and at most 24 hours.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} is no duration: write it like 2s, 10m or 24h")),
    };
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no duration: write it like 2s"))?;
    match number.checked_mul(ms).filter(|ms| (100..=86_400_000).contains(ms)) {
        Some(ms) => Ok(Duration::from_millis(ms)),
        None => Err(format!("{text:?}: at least 100ms and at most 24h")),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_address, parse_bytes, parse_domain, parse_duration};

    #[test]
    fn durations() {
        let check = |text, want: Option<u64>| {
            let got = parse_duration(text).ok().and_then(|time| u64::try_from(time.as_millis()).ok());
            assert_eq!(got, want, "{text}");
        };
        check("100ms", Some(100));
        check("2s", Some(2_000));
        check("10m", Some(600_000));
        check("24h", Some(86_400_000));
        for bad in ["", "2", "s", "99ms", "25h", "1d", "-1s", "1.5s", "99999999999999999999h"] {
            check(bad, None);
        }
    }

    #[test]
    fn domains() {
        let check = |text, want: Option<&str>| assert_eq!(parse_domain(text).ok().as_deref(), want, "{text}");
        check("s3.example.com", Some("s3.example.com"));
        check("S3.Example.COM.", Some("s3.example.com"));
        check("localhost", Some("localhost"));
        for bad in
            ["", ".", ".example.com", "a..b", "*.example.com", "example.com:9000", "-a.b", "127.0.0.1", "a_b"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(parse_address("127.0.0.1:9").map(|a| a.to_string()).as_deref(), Ok("127.0.0.1:9"));
        assert!(parse_address("localhost:9").is_ok());
        assert!(parse_address("localhost").is_err());
    }

    #[test]
    fn sizes() {
        let check = |text, want| assert_eq!(parse_bytes(text).ok(), want, "{text}");
        check("0", Some(0));
        check("4096", Some(4096));
        check("192MiB", Some(192 << 20));
        check("64 GiB", Some(64 << 30));
        check("1t", Some(1 << 40));
        check("GiB", None);
        check("64GB", None);
        check("99999999999999999999", None);
        check("99999999TiB", None);
    }
}
