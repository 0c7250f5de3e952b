//! The language held against AWS's published rules, a line for each case, grouped by the page that states the rule.
//!
//! IAM User Guide and S3 User Guide: their pages are named at each table. What is looked at is the public handle alone.

mod conditions;
mod evaluation;
mod malformed;
mod buckets;
mod index;

use std::borrow::Cow;
use std::sync::Arc;

use super::{ConditionKey, Context, Policy, PolicyKind, PolicySet, PrincipalNames, Question, Value, Verdict};

/// The account of all cases.
pub(super) const ACCOUNT: &str = "111122223333";

/// A request's keys and values; `[a|b]` is a list of values, `[]` an empty one, `<unknown>` one that nobody knows.
pub(super) struct Keys<'a>(pub(super) &'a [(&'a str, &'a str)]);

impl Context for Keys<'_> {
    fn value(&self, key: &ConditionKey) -> Value<'_> {
        let Some((_, value)) = self.0.iter().find(|(name, _)| ConditionKey::parse(name) == *key) else {
            return Value::Absent;
        };
        if *value == "<unknown>" {
            return Value::Unknown;
        }
        match value.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
            Some("") => Value::Many(Vec::new()),
            Some(list) => Value::Many(list.split('|').map(Cow::Borrowed).collect()),
            None => Value::One(Cow::Borrowed(value)),
        }
    }
}

/// A user of the account.
pub(super) const ALICE: PrincipalNames<'static> = PrincipalNames {
    anonymous: false,
    arns: &["arn:aws:iam::111122223333:user/alice"],
    user_id: "AIDAAAAAAAAAAAAAAAAAA",
    canonical_id: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    account: ACCOUNT,
};

/// What a set of statements says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Allow,
    Deny,
    Nothing,
}

pub(super) fn says(verdict: Verdict<'_>) -> Says {
    match verdict {
        Verdict::Allow(_) => Says::Allow,
        Verdict::Deny(_) => Says::Deny,
        Verdict::Nothing => Says::Nothing,
    }
}

pub(super) fn parse(statements: &str, kind: PolicyKind) -> Arc<Policy> {
    let text = format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    match Policy::parse(&text, kind, "p", ACCOUNT) {
        Ok(policy) => Arc::new(policy),
        Err(error) => panic!("{error}: {text}"),
    }
}

/// Asks a set, by the index and without it.
pub(super) fn ask(set: &PolicySet, question: &Question<'_>) -> Says {
    let says_quickly = says(set.decide(question));
    assert_eq!(says_quickly, says(set.decide_slowly(question)), "{} {}", question.action, question.resource);
    says_quickly
}

/// Asks identity policies made of these statements.
pub(super) fn decide(statements: &str, action: &str, resource: &str, keys: &[(&str, &str)]) -> Says {
    let set = PolicySet::new([parse(statements, PolicyKind::Identity)]);
    ask(&set, &Question { action, resource, principal: &ALICE, context: &Keys(keys) })
}

/// docs/access.md names every key, and the canned policies as they are.
#[test]
fn the_page() {
    let page = include_str!("../../../../../docs/access.md");
    for name in ConditionKey::NAMES {
        let shown = match name.strip_suffix('/') {
            Some(head) => format!("`{head}/…`"),
            None => format!("`{name}`"),
        };
        assert!(page.contains(&shown), "{shown}");
    }
    for canned in super::CANNED {
        let row = format!("| `{}` | {} |", canned.name, canned.description);
        assert!(page.contains(&row), "{row}");
    }
}
