//! The policies of one principal, and what they say to a question.

use std::fmt;
use std::sync::Arc;

use super::Policy;
use super::document::Effect;
use super::key::Context;

/// May this be done?
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The action, as `s3:GetObject`; compared without regard to case.
    pub action: &'a str,
    /// The ARN that it is to be done to; `*` for the service as a whole.
    pub resource: &'a str,
    /// Who asks. Only policies of buckets look at it.
    pub principal: &'a PrincipalNames<'a>,
    /// What else the request says of itself.
    pub context: &'a dyn Context,
}

/// The names under which a bucket's policy may know the sender.
#[derive(Clone, Copy, Debug)]
pub struct PrincipalNames<'a> {
    /// Whether the sender showed nothing: only `*` fits then.
    pub anonymous: bool,
    /// The sender's ARNs: of the user, of the assumed role and its session.
    pub arns: &'a [&'a str],
    /// The sender's canonical id, 64 hexadecimal digits; empty for none.
    pub canonical_id: &'a str,
    /// The sender's account, 12 digits; empty for none.
    pub account: &'a str,
}

impl PrincipalNames<'static> {
    /// A sender who showed nothing.
    pub const ANONYMOUS: PrincipalNames<'static> =
        PrincipalNames { anonymous: true, arns: &[], canonical_id: "", account: "" };
}

/// What policies say to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// This statement allows it, and none denies it.
    Allow(StatementId<'a>),
    /// This statement denies it, whatever others say.
    Deny(StatementId<'a>),
    /// No statement speaks of it.
    Nothing,
}

/// Which statement decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementId<'a> {
    /// What its policy is called.
    pub policy: &'a str,
    /// Its `Sid`.
    pub sid: Option<&'a str>,
    /// Its place in the policy, from 0.
    pub index: usize,
}

impl fmt::Display for StatementId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sid {
            Some(sid) => write!(f, "{} Statement[{}] {sid}", self.policy, self.index),
            None => write!(f, "{} Statement[{}]", self.policy, self.index),
        }
    }
}

/// Several policies, indexed for questions.
#[derive(Debug, Default)]
pub struct PolicySet {
    policies: Vec<Arc<Policy>>,
}

impl PolicySet {
    /// Brings policies together.
    pub fn new(policies: impl IntoIterator<Item = Arc<Policy>>) -> PolicySet {
        PolicySet { policies: policies.into_iter().collect() }
    }

    /// Says what the policies say to `question`.
    pub fn decide(&self, question: &Question<'_>) -> Verdict<'_> {
        let mut verdict = Verdict::Nothing;
        for policy in &self.policies {
            for (index, statement) in policy.statements.iter().enumerate() {
                if !statement.speaks_of(question) {
                    continue;
                }
                let id = StatementId { policy: &policy.name, sid: statement.sid.as_deref(), index };
                match statement.effect {
                    Effect::Deny => return Verdict::Deny(id),
                    Effect::Allow if verdict == Verdict::Nothing => verdict = Verdict::Allow(id),
                    Effect::Allow => {}
                }
            }
        }
        verdict
    }

    /// Whether a statement names a particular table or view by its id.
    pub fn mentions_table_ids(&self) -> bool {
        true
    }

    /// Whether a condition asks for the names of a table, a view or their namespace.
    pub fn mentions_table_names(&self) -> bool {
        true
    }
}
