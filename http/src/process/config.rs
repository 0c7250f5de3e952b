//! What the process is asked to do, and why it cannot.
//!
//! `tools/nilas` makes a [`ServerConfig`] of the command line and prints a [`ServerError`] as one line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use nilas_engine::drive::OpenError;
use nilas_engine::drive::probe::ProbeError;
use nilas_engine::rt::RtError;
use nilas_engine::store::StoreError;
use nilas_engine::{CoreId, EngineError};

use crate::audit::{AuditFileError, AuditTarget};
use crate::identity::model::Secret;
use crate::identity::oidc::{OidcConfig, OidcConfigError};
use crate::identity::root_key::RootKeyError;
use crate::identity::store::LoadError;
use crate::limits::CACHE_MEMORY_PART;
use crate::listen::ListenError;
use crate::s3::lifecycle::Clock;
use crate::scrub::ScrubSettings;
use crate::sse::master::MasterKeyFault;
use crate::sse::store::KeyLoadError;

/// What the process is asked to do.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Directory of the root key and of the drive file that is made when no drive is named.
    pub data: PathBuf,
    /// Drives in their order; empty for one file in `data`.
    pub drives: Vec<PathBuf>,
    /// Size of drive files that have to be made; `None` for half of the free space, at most 1 TiB.
    pub drive_bytes: Option<u64>,
    /// Whether a store of an older format is made one of this program's; otherwise it is refused.
    pub upgrade: bool,
    /// Where to listen; port 0 takes any free one.
    pub address: SocketAddr,
    /// Cores to use; `None` for all that the process may use.
    pub cores: Option<usize>,
    /// Bytes of the read caches of all cores together, 0 for none; `None` for a quarter of the memory that the process
    /// may use ([`CACHE_MEMORY_PART`]).
    pub cache_bytes: Option<u64>,
    /// The root key from the environment: access key and secret key.
    pub root_key: Option<(String, Secret)>,
    /// The root secret before, from the environment, when it is being changed.
    pub previous_secret: Option<Secret>,
    /// A file of master keys, which encrypted objects need; `None` for `master_keys`, or none.
    pub master_key_file: Option<PathBuf>,
    /// The same lines from the environment.
    pub master_keys: Option<Secret>,
    /// Whether customers' keys are taken though others may listen: where it is not only this machine that can connect.
    pub customer_keys_over_http: bool,
    /// Whether presigned URLs of signature version 2 are taken, for GET, HEAD and PUT of objects.
    pub presigned_v2: bool,
    /// The OpenID Connect issuer whose tokens are taken; `None` for none.
    pub oidc: Option<OidcConfig>,
    /// Whether access keys are deleted whose root secret is lost; otherwise the start is refused.
    pub forgets_keys: bool,
    /// A file that says who and what is to be there; `None` for `provision.toml` in `data`, if it is there.
    pub provision: Option<PathBuf>,
    /// How what is stored is verified in the background.
    pub scrub: ScrubSettings,
    /// How long a day of lifecycle rules is.
    pub lifecycle_clock: Clock,
    /// The region that S3 clients are told.
    pub region: String,
    /// Names under which `bucket.name` is a bucket, in lower case.
    pub domains: Vec<String>,
    /// Where the audit log is written, if one is kept.
    pub audit_log: Option<AuditTarget>,
    /// Failed signatures and tokens of one sender that are forgiven in a minute; 0: they are not counted.
    pub auth_failures_per_minute: u32,
    /// Memory that the process is to get by with; `None` for all that it may use.
    pub memory_bytes: Option<u64>,
}

/// What one core's cache may hold. Where neither the operator nor the kernel says anything there is none.
pub(super) fn cache_bytes_per_core(asked_bytes: Option<u64>, memory_bytes: u64, cores: usize) -> u64 {
    let all = asked_bytes.unwrap_or(memory_bytes / CACHE_MEMORY_PART);
    all / cores.max(1) as u64
}

/// Why the process cannot serve.
#[derive(Debug)]
#[expect(missing_docs, reason = "each wraps the error of the step it is named after")]
pub enum ServerError {
    Machine(ProbeError),
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    RootKey(RootKeyError),
    MasterKeys(MasterKeyError),
    Provision(String),
    AuditLog(AuditFileError),
    Oidc(OidcConfigError),
    Drive(OpenError),
    Store(StoreError),
    Address(ListenError),
    Cores(RtError),
    Core {
        core: CoreId,
        source: CoreError,
    },
    /// One drive is named twice.
    SameDrive {
        path: PathBuf,
    },
    /// A device that is not there; no file is made in its place.
    NoDevice {
        path: PathBuf,
    },
    /// The data directory knows a store, and these drives are new or blank.
    OtherDrives {
        data: PathBuf,
        path: PathBuf,
    },
}

/// Why master keys cannot be taken.
#[derive(Debug)]
pub enum MasterKeyError {
    /// Both a file and the environment give some.
    Both,
    /// The file cannot be read.
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read the file.
    Open {
        /// Its path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What is in the file is no list of keys.
    Content {
        /// Its path.
        path: PathBuf,
        /// Why.
        fault: MasterKeyFault,
    },
    /// What is in the environment is none.
    Variable(MasterKeyFault),
}

impl fmt::Display for MasterKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MasterKeyError::Both => {
                f.write_str("both --master-key-file and NILAS_MASTER_KEY give master keys: give one of them")
            }
            MasterKeyError::File { path, source } => {
                write!(f, "master key file {}: {source}", path.display())
            }
            MasterKeyError::Open { path, mode } => write!(
                f,
                "master key file {} has mode {mode:o}, others can read it: chmod 600 {}",
                path.display(),
                path.display()
            ),
            MasterKeyError::Content { path, fault } => {
                write!(f, "master key file {}: {fault}", path.display())
            }
            MasterKeyError::Variable(fault) => write!(f, "NILAS_MASTER_KEY: {fault}"),
        }
    }
}

impl std::error::Error for MasterKeyError {}

/// Why one core cannot serve.
#[derive(Debug)]
#[expect(missing_docs, reason = "each wraps the error of the step it is named after")]
pub enum CoreError {
    Ring(std::io::Error),
    Drive(OpenError),
    Engine(EngineError),
    Identities(LoadError),
    EncryptionKeys(KeyLoadError),
    Provision(String),
    Listen(ListenError),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Machine(e) => write!(f, "{e}"),
            ServerError::Directory { path, source } => write!(f, "directory {}: {source}", path.display()),
            ServerError::RootKey(e) => write!(f, "{e}"),
            ServerError::MasterKeys(e) => write!(f, "{e}"),
            ServerError::Provision(why) => f.write_str(why),
            ServerError::AuditLog(e) => write!(f, "{e}"),
            ServerError::Oidc(e) => write!(f, "{e}"),
            ServerError::Drive(e) => write!(f, "{e}"),
            ServerError::Store(e) => write!(f, "{e}"),
            ServerError::Address(e) => write!(f, "{e}"),
            ServerError::Cores(e) => write!(f, "{e}"),
            ServerError::Core { core, source } => write!(f, "core {}: {source}", core.0),
            ServerError::SameDrive { path } => write!(f, "drive {} is named twice", path.display()),
            ServerError::NoDevice { path } => {
                write!(f, "drive {} is missing: there is no such device", path.display())
            }
            ServerError::OtherDrives { data, path } => write!(
                f,
                "drive {} is missing or blank, but {} belongs to a store on other drives (its file `drives` names them): \
                 name those, or take another --data for a new store",
                path.display(),
                data.display()
            ),
        }
    }
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreError::Ring(e) => write!(f, "its io_uring: {e}"),
            CoreError::Drive(e) => write!(f, "{e}"),
            CoreError::Engine(e) => write!(f, "{e}"),
            CoreError::Identities(e) => write!(f, "{e}"),
            CoreError::EncryptionKeys(e) => write!(f, "{e}"),
            CoreError::Provision(why) => f.write_str(why),
            CoreError::Listen(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for ServerError {}
impl std::error::Error for CoreError {}

#[cfg(test)]
mod tests {
    use super::cache_bytes_per_core;

    #[test]
    fn shares_of_the_cache() {
        let check = |asked, memory, cores, expected| {
            assert_eq!(cache_bytes_per_core(asked, memory, cores), expected, "{asked:?} {memory:?} {cores}");
        };
        check(None, 16 << 30, 2, 2 << 30);
        check(Some(1 << 30), 16 << 30, 4, 256 << 20);
        check(Some(64 << 30), 16 << 30, 1, 64 << 30);
        check(Some(0), 16 << 30, 2, 0);
    }
}
