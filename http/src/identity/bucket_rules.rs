//! What a bucket's settings say about who may use it: its owner, its policy, and how public it may be.
//!
//! The authorizer asks [`RulesCache::of`], the operations on `?policy` and `?publicAccessBlock` read and write what is
//! kept here, and provisioning asks [`admitted`] as they do. I1. What is compiled is that of the settings at hand: they are compared, byte for byte, with those it was
//! made of. I2. A policy that cannot be read allows nothing and denies everything: it was taken once, and what it forbade
//! is not known any more.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::{Bucket, BucketSettings, SettingKind};

use crate::generations::Generations;
use crate::identity::policy::{Policy, PolicyError, PolicyKind, PolicySet};
use crate::identity::principals::{self, People};
use crate::limits::BUCKET_RULES_MAX;

/// What a bucket says about who may use it.
#[derive(Debug)]
pub(crate) struct BucketRules {
    /// The user who owns it; root when there is none.
    pub(crate) owner: Option<Box<str>>,
    pub(crate) policy: Option<Arc<PolicySet>>,
    /// Whether the policy lets in everybody.
    pub(crate) is_public: bool,
    pub(crate) block: PublicAccessBlock,
    /// What it was made of.
    made_of: [Option<Bytes>; 3],
}

impl BucketRules {
    /// Whether what the policy gives to everybody is not given to those who show nothing.
    pub(crate) fn restricts_public(&self) -> bool {
        self.is_public && self.block.restrict_public_buckets
    }
}

/// The four switches of a bucket's public access block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PublicAccessBlock {
    pub(crate) block_public_acls: bool,
    pub(crate) ignore_public_acls: bool,
    pub(crate) block_public_policy: bool,
    pub(crate) restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// S3's names of the switches, in its order, and how they stand.
    pub(crate) fn switches(self) -> [(&'static str, bool); 4] {
        [
            ("BlockPublicAcls", self.block_public_acls),
            ("IgnorePublicAcls", self.ignore_public_acls),
            ("BlockPublicPolicy", self.block_public_policy),
            ("RestrictPublicBuckets", self.restrict_public_buckets),
        ]
    }

    /// The block whose switches stand so, in the order of [`PublicAccessBlock::switches`].
    pub(crate) fn of_switches(switches: [bool; 4]) -> PublicAccessBlock {
        let [block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets] = switches;
        PublicAccessBlock {
            block_public_acls,
            ignore_public_acls,
            block_public_policy,
            restrict_public_buckets,
        }
    }

    /// The setting's value.
    pub(crate) fn encode(self) -> Bytes {
        Bytes::from(self.switches().map(|(_, is_on)| u8::from(is_on)).to_vec())
    }

    /// Reads [`PublicAccessBlock::encode`]; a value that this program does not know blocks everything.
    pub(crate) fn decode(value: &[u8]) -> PublicAccessBlock {
        PublicAccessBlock::of_switches([0, 1, 2, 3].map(|at| value.len() != 4 || value.get(at) != Some(&0)))
    }
}

/// The public access block that a bucket's settings hold.
pub(crate) fn block_of(settings: &BucketSettings) -> PublicAccessBlock {
    let value = settings.get(SettingKind::PUBLIC_ACCESS);
    value.map_or_else(PublicAccessBlock::default, |value| PublicAccessBlock::decode(value))
}

/// Why a text is not taken as the policy of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PolicyRefusal {
    /// It cannot be read, is about something else, or names nobody; the text says where.
    Malformed(String),
    /// It lets in everybody, and the bucket blocks such policies.
    Public,
}

/// Returns what is kept of a text as the policy of a bucket: users are named by their ids.
pub(crate) fn admitted(
    text: &str,
    bucket: &str,
    block: PublicAccessBlock,
    people: &dyn People,
) -> Result<String, PolicyRefusal> {
    let malformed = |error: PolicyError| PolicyRefusal::Malformed(error.to_string());
    let name = format!("policy of bucket {bucket}");
    let policy = Policy::parse(text, PolicyKind::Bucket, &name, people.account()).map_err(malformed)?;
    policy.check_bucket(bucket).map_err(malformed)?;
    if block.block_public_policy && policy.is_public() {
        return Err(PolicyRefusal::Public);
    }
    principals::kept(text, people).map_err(PolicyRefusal::Malformed)
}

/// The owner that a bucket's settings name.
pub(crate) fn owner_of(settings: &BucketSettings) -> Option<&str> {
    settings.get(SettingKind::OWNER).and_then(|value| std::str::from_utf8(value).ok())
}

/// The compiled rules of one core.
pub(crate) struct RulesCache {
    rules: RefCell<Generations<Rc<BucketRules>>>,
    /// The text of an ARN that is asked for; used again, so that asking allocates nothing.
    pub(super) arn: Cell<String>,
}

impl RulesCache {
    pub(crate) fn new() -> RulesCache {
        RulesCache { rules: RefCell::new(Generations::new(BUCKET_RULES_MAX)), arn: Cell::default() }
    }

    /// The rules of a bucket; `None` when its settings say nothing about who may use it.
    pub(crate) fn of(&self, bucket: &Bucket, account: &str) -> Option<Rc<BucketRules>> {
        let settings = [SettingKind::OWNER, SettingKind::POLICY, SettingKind::PUBLIC_ACCESS]
            .map(|kind| bucket.settings.get(kind));
        if settings.iter().all(Option::is_none) {
            return None;
        }
        let mut cache = self.rules.borrow_mut();
        let is_current = |rules: &&Rc<BucketRules>| {
            rules.made_of.iter().zip(settings).all(|(old, new)| same(old.as_ref(), new))
        };
        if let Some(rules) = cache.get(&bucket.name).filter(is_current) {
            return Some(rules.clone());
        }
        let rules = Rc::new(compile(bucket, settings.map(|value| value.cloned()), account));
        cache.insert((*bucket.name).into(), rules.clone());
        Some(rules)
    }
}

/// Whether two values are one. A value that was not changed is the same memory.
fn same(old: Option<&Bytes>, new: Option<&Bytes>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => old.len() == new.len() && (old.as_ptr() == new.as_ptr() || old == new),
        (old, new) => old.is_none() && new.is_none(),
    }
}

fn compile(bucket: &Bucket, made_of: [Option<Bytes>; 3], account: &str) -> BucketRules {
    let [_, policy, block] = &made_of;
    let name = format!("policy of bucket {}", bucket.name);
    let policy = policy.as_ref().map(|text| {
        let text = std::str::from_utf8(text).unwrap_or_default();
        let parsed = Policy::parse(text, PolicyKind::Bucket, &name, account);
        Arc::new(parsed.unwrap_or_else(|_| {
            Policy::parse(UNREADABLE, PolicyKind::Bucket, &name, account)
                .expect("a policy that denies everything")
        }))
    });
    BucketRules {
        owner: owner_of(&bucket.settings).map(Into::into),
        is_public: policy.as_ref().is_some_and(|policy| policy.is_public()),
        policy: policy.map(|policy| Arc::new(PolicySet::new([policy]))),
        block: block
            .as_ref()
            .map_or_else(PublicAccessBlock::default, |value| PublicAccessBlock::decode(value)),
        made_of,
    }
}

const UNREADABLE: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"unreadable","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_as_written() {
        for bits in 0..16_u8 {
            let block = PublicAccessBlock::of_switches([1, 2, 4, 8].map(|bit| bits & bit != 0));
            assert_eq!(PublicAccessBlock::decode(&block.encode()), block);
        }
        for strange in [&b""[..], b"\x00\x00\x00", b"\x00\x00\x00\x00\x00"] {
            assert!(PublicAccessBlock::decode(strange).restrict_public_buckets);
        }
    }
}
