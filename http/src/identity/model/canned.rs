//! The canned policies as the model has them: always there, the same for every account.

use std::sync::Arc;

use super::ids;
use crate::identity::policy::{CANNED, Canned, Policy};

/// One policy of the server's own.
#[derive(Clone, Debug)]
pub struct CannedPolicy {
    /// Its name.
    pub name: &'static str,
    /// For people.
    pub description: &'static str,
    /// The policy.
    pub policy: Arc<Policy>,
}

impl CannedPolicy {
    /// Returns its id, which is made of its name.
    pub fn id(&self) -> String {
        format!("{}{}", ids::POLICY, ids::of_name(self.name))
    }
}

/// Returns all of them.
pub(super) fn canned(account: &str) -> Vec<CannedPolicy> {
    let read = |canned: Canned| CannedPolicy {
        name: canned.name,
        description: canned.description,
        policy: Arc::new(canned.policy(account).expect("a test reads each of them")),
    };
    CANNED.into_iter().map(read).collect()
}
