//! Every bound of the command line as a client, with its unit and what happens when it is reached.

use std::time::Duration;

/// Longest wait for a connection. Beyond: exit code 6.
pub(crate) const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Longest time for one request and its whole answer. Beyond: exit code 6; a change may have been made.
pub(crate) const REQUEST_WAIT_MAX: Duration = Duration::from_secs(60);

/// Bytes of one answer. Beyond: exit code 1, nothing of it is used.
pub(crate) const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Elements within elements of an answer. Beyond: exit code 1, nothing of it is used.
pub(crate) const XML_DEPTH_MAX: usize = 32;

/// Pages of one list. Beyond: exit code 1, a server that never ends a list.
pub(crate) const LIST_PAGES_MAX: usize = 10_000;

/// Bytes of a file that is read: a policy, a provision file, certificates. Beyond: exit code 2.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Keys that a preview of a lifecycle names; all are counted.
pub(crate) const PREVIEW_KEYS_MAX: usize = 20;
