//! The server under load: one of our own on a throw-away store, or any endpoint.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::Args;
use nilas_tests::catalog::Catalog;
use nilas_tests::client::Client;
use nilas_tests::device::{self, Usage};
use nilas_tests::server::{Server, ServerOptions};

use crate::principal;

/// Where the load goes and how long it lasts.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArguments {
    /// Server to load, `http://HOST:PORT`; without it one is started on a throw-away store.
    #[arg(long)]
    pub(crate) endpoint: Option<String>,
    /// Access key for the endpoint.
    #[arg(long, env = "NILAS_ACCESS_KEY", default_value = "", hide_env_values = true)]
    pub(crate) access_key: String,
    /// Secret key for the endpoint.
    #[arg(long, env = "NILAS_SECRET_KEY", default_value = "", hide_env_values = true)]
    pub(crate) secret_key: String,
    /// Process id of the endpoint's server, to report what it costs.
    #[arg(long, requires = "endpoint")]
    pub(crate) server_pid: Option<u32>,
    /// A directory on the endpoint's drive, to count its flushes and bytes.
    #[arg(long, requires = "endpoint")]
    pub(crate) server_data: Option<PathBuf>,
    /// Data directory of our own server; a throw-away one by default.
    #[arg(long, conflicts_with = "endpoint")]
    pub(crate) data: Option<PathBuf>,
    /// Drives of our own server.
    #[arg(long, conflicts_with = "endpoint")]
    pub(crate) drive: Vec<PathBuf>,
    /// Size of our own server's file-backed drive.
    #[arg(long, default_value = "16GiB")]
    pub(crate) drive_size: String,
    /// A further argument for our own server; may be repeated.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) server_arg: Vec<String>,
    /// Sends the load as a user of this name, who is made with 20 policies of 20 statements.
    #[arg(long = "as", value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Length of a round, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Rounds; with more than one, medians and extremes are printed.
    #[arg(long, default_value_t = 1)]
    pub(crate) rounds: usize,
    /// Seed of the random choices.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Prints one JSON object in place of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A server that answers, and how to look at its costs.
pub(crate) struct Target {
    address: SocketAddr,
    access: String,
    secret: String,
    observed: Option<(u32, PathBuf)>,
    own: Option<Server>,
}

impl Target {
    /// Starts the server, or resolves the endpoint.
    pub(crate) fn open(arguments: &TargetArguments) -> Result<Target, String> {
        let mut target = Target::of_root(arguments)?;
        if let Some(user) = &arguments.user {
            (target.access, target.secret) = principal::make(&target.client(), user)?;
        }
        Ok(target)
    }

    fn of_root(arguments: &TargetArguments) -> Result<Target, String> {
        let Some(endpoint) = &arguments.endpoint else {
            let options = ServerOptions {
                data: arguments.data.clone(),
                drives: arguments.drive.clone(),
                arguments: arguments.server_arg.iter().map(Into::into).collect(),
                ..ServerOptions::fresh().drive_size(&arguments.drive_size)
            };
            let server = Server::start(options).map_err(|error| format!("server did not start: {error}"))?;
            let (access, secret) = server.root_key();
            return Ok(Target {
                address: server.address(),
                access: access.to_owned(),
                secret: secret.to_owned(),
                observed: None,
                own: Some(server),
            });
        };
        let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
        let mut addresses = authority.to_socket_addrs().map_err(|error| format!("{endpoint}: {error}"))?;
        let address = addresses.next().ok_or_else(|| format!("{endpoint}: no address"))?;
        let data = arguments.server_data.clone().unwrap_or_else(|| PathBuf::from("/"));
        Ok(Target {
            address,
            access: arguments.access_key.clone(),
            secret: arguments.secret_key.clone(),
            observed: arguments.server_pid.map(|pid| (pid, data)),
            own: None,
        })
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address, &self.access, &self.secret)
    }

    /// A catalog client for `warehouse`.
    pub(crate) fn catalog(&self, warehouse: &str) -> Catalog {
        Catalog::new(self.address, &self.access, &self.secret, warehouse)
    }

    /// Cumulative cost so far, if the process is known.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match (&self.own, &self.observed) {
            (Some(server), _) => Some(server.usage()),
            (None, Some((pid, data))) => Some(device::usage(*pid, data)),
            (None, None) => None,
        }
    }
}
