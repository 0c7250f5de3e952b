//! What the tests of the release binary and the load generator share: a process under control and
//! small blocking clients that can also misbehave.
//!
//! Nothing of that links the product: it is reached over its socket and its command line only, so a
//! mistake in a shared encoder cannot cancel itself out. What stands below `machine` is the
//! exception: it tests the engine below the protocols, through its public handle.

pub mod server;
pub mod http1;
pub mod sign;
pub mod client;
pub mod xml;
pub mod catalog;
pub mod manifests;
pub mod sizes;
pub mod rng;
pub mod device;
pub mod crash;
pub mod linear;
pub mod loop_device;
pub mod machine;
pub mod conformance;
pub mod read_back;
pub mod on_drives;
pub mod sim;
pub mod golden;
pub mod model;
pub mod ops;
pub mod prove;
