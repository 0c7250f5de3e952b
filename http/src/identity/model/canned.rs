//! The canned policies as the model has them: always there, the same for every account.

use std::sync::Arc;

use super::ids;
use crate::identity::policy::{Policy, PolicyKind};

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

/// Name, description and text of each.
const ALL: [(&str, &str, &str); 2] = [
    (
        "admin",
        "Everything.",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["admin:*","iam:*","sts:*","s3:*","s3tables:*"],"Resource":"*"}]}"#,
    ),
    (
        "readwrite",
        "All of S3.",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#,
    ),
];

/// Returns all of them.
pub(super) fn canned(account: &str) -> Vec<CannedPolicy> {
    let parse = |(name, description, text): (&'static str, &'static str, &'static str)| {
        let arn = format!("{}{name}", super::CANNED_ARN);
        let policy =
            Policy::parse(text, PolicyKind::Identity, &arn, account).expect("a test reads each of them");
        CannedPolicy { name, description, policy: Arc::new(policy) }
    };
    ALL.into_iter().map(parse).collect()
}
