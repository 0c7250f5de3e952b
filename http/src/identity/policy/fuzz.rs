//! The entry point of the fuzz target `policy`: any text through the reader, any question through what was read.

use std::sync::Arc;

use super::key::{ConditionKey, Context, Value};
use super::pattern::{Reading, Template, glob};
use super::{NoContext, Policy, PolicyKind, PolicySet, PrincipalNames, Question};

/// Takes parts that NUL separates: a policy, an action, a resource, a name; then keys and their values. The policy is read
/// as each kind and asked, with its index and without; the action and the resource are taken for a pattern and a text as
/// well, and matched as the definition of a wildcard says.
pub fn fuzz_policy(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let parts: Vec<&str> = text.split('\0').collect();
    let part = |nth: usize| parts.get(nth).copied().unwrap_or_default();
    let (document, action, resource, name) = (part(0), part(1), part(2), part(3));
    let context = Pairs(parts.get(4..).unwrap_or_default());
    let arns = [name];
    let senders = [
        PrincipalNames::ANONYMOUS,
        PrincipalNames { anonymous: false, arns: &arns, user_id: name, canonical_id: name, account: name },
    ];
    let mut policies = Vec::new();
    for kind in [PolicyKind::Identity, PolicyKind::Session, PolicyKind::Bucket] {
        match Policy::parse(document, kind, "p", "111122223333") {
            Ok(policy) => {
                assert_eq!(policy.text(), document);
                let again = Policy::parse(policy.text(), kind, "p", "111122223333");
                assert!(again.is_ok(), "what was taken is taken again");
                assert!(policy.characters() <= document.len());
                // Nothing to hold them against: they must not fail.
                let checked = policy.check_bucket(name);
                assert!(checked.is_ok() || !policy.statements.is_empty());
                assert!(!policy.is_public() || kind == PolicyKind::Bucket);
                policies.push(Arc::new(policy));
            }
            Err(error) => assert!(!error.why.is_empty()),
        }
    }
    for policy in policies.iter().cloned() {
        decide(&PolicySet::new([policy]), action, resource, &senders, &context);
    }
    decide(&PolicySet::new(policies), action, resource, &senders, &context);
    matching(action, resource);
}

fn decide(
    set: &PolicySet,
    action: &str,
    resource: &str,
    senders: &[PrincipalNames<'_>],
    context: &Pairs<'_>,
) {
    for principal in senders {
        for (action, resource) in [(action, resource), ("s3:GetObject", resource), (action, "*")] {
            let question = Question { action, resource, principal, context };
            let (quickly, slowly) = (set.decide(&question), set.decide_slowly(&question));
            assert_eq!(
                std::mem::discriminant(&quickly),
                std::mem::discriminant(&slowly),
                "{action} {resource}"
            );
        }
    }
}

/// Bounds what is matched by the definition, whose cost is the product of both.
const MATCHED_BYTES_MAX: usize = 400;

fn matching(pattern: &str, text: &str) {
    if pattern.len() > MATCHED_BYTES_MAX || text.len() > MATCHED_BYTES_MAX {
        return;
    }
    let want = fits_by_definition(pattern, text);
    assert_eq!(glob(pattern, text), want, "{pattern:?} {text:?}");
    let template = Template::parse(pattern, Reading { wildcards: true, variables: false });
    assert_eq!(
        template.map(|template| template.fits(text, &NoContext)),
        Ok(Some(want)),
        "{pattern:?} {text:?}"
    );
}

/// Row by row: which beginnings of the text fit the first so many characters of the pattern.
fn fits_by_definition(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    for one in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        for end in 0..=text.len() {
            next[end] = match one {
                '*' => fits[end] || (end > 0 && next[end - 1]),
                '?' => end > 0 && fits[end - 1],
                _ => end > 0 && fits[end - 1] && text[end - 1] == one,
            };
        }
        fits = next;
    }
    fits[text.len()]
}

/// `name=value`; a value with bars in it is a list.
struct Pairs<'a>(&'a [&'a str]);

impl Context for Pairs<'_> {
    fn value(&self, key: &ConditionKey) -> Value<'_> {
        let pairs = self.0.iter().filter_map(|pair| pair.split_once('='));
        match pairs.filter(|(name, _)| ConditionKey::parse(name) == *key).map(|(_, value)| value).next() {
            None => Value::Absent,
            Some(value) if value.contains('|') => Value::Many(value.split('|').map(Into::into).collect()),
            Some(value) => Value::One(value.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! corpus {
        ($($name:literal)*) => {
            [$(include_bytes!(concat!("../../../../fuzz/corpus/policy/", $name)).as_slice(),)*]
        };
    }

    #[test]
    fn fuzz_corpus() {
        for input in corpus!["bucket" "conditions" "empty" "negated" "tables" "variables" "wildcards"] {
            fuzz_policy(input);
            for end in (0..input.len()).step_by(7) {
                fuzz_policy(&input[..end]);
            }
        }
    }

    /// The corpus is made of policies that are taken, or it would say nothing of deciding.
    #[test]
    fn the_corpus_is_read() {
        for input in corpus!["bucket" "conditions" "negated" "tables" "variables" "wildcards"] {
            let text = String::from_utf8_lossy(input);
            let document = text.split('\0').next().unwrap_or_default();
            let taken = [PolicyKind::Identity, PolicyKind::Bucket].map(|kind| {
                Policy::parse(document, kind, "p", "111122223333").map_err(|error| error.to_string())
            });
            assert!(taken.iter().any(Result::is_ok), "{taken:?}");
        }
    }
}
