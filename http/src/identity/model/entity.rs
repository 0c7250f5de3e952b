//! What the model consists of: users, groups, access keys, managed policies.
//!
//! Values that never change: a change makes new ones. All but the texts of policies and their compiled forms is here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::identity::model::Secret;
use crate::identity::policy::Policy;

/// Tags, by key.
pub type Tags = BTreeMap<String, String>;

/// A policy as a user or group is given it: by id, so that a name may come and go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PolicyRef {
    /// The server's own, by name.
    Canned(String),
    /// One of the account's, by id.
    Managed(String),
}

/// Policies that are held by a user or group.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// By name.
    pub inline: BTreeMap<String, Arc<Policy>>,
    /// In the order in which they were attached.
    pub attached: Vec<PolicyRef>,
}

/// A user.
#[derive(Clone, Debug)]
pub struct User {
    /// `AIDA…`: stable, never used again.
    pub id: String,
    /// Unique without regard to case.
    pub name: String,
    /// `/`, or `/a/b/`.
    pub path: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Whether the user, its keys and its sessions may do anything at all.
    pub is_enabled: bool,
    /// 64 hex digits, distinct for each user, by which S3 names owners.
    pub owner_id: String,
    /// Sessions that were made under a smaller number are void.
    pub session_epoch: u64,
    /// Its own policies.
    pub grants: Grants,
    /// Ids of its groups, in the order in which it entered them.
    pub groups: Vec<String>,
    /// Its tags.
    pub tags: Tags,
}

/// A group of users.
#[derive(Clone, Debug)]
pub struct Group {
    /// `AGPA…`.
    pub id: String,
    /// Unique without regard to case.
    pub name: String,
    /// `/`, or `/a/b/`.
    pub path: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// What its members are given.
    pub grants: Grants,
}

/// An access key of a user.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// What requests name.
    pub id: String,
    /// Id of its user.
    pub user: String,
    /// What signatures are made with.
    pub secret: Secret,
    /// For people.
    pub name: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// From then on it is nobody's.
    pub expires_ms: Option<u64>,
    /// `Active` or `Inactive`.
    pub is_enabled: bool,
    /// What binds the key below its user's rights.
    pub policy: Option<Arc<Policy>>,
    /// When it was used; shared by all versions of the key.
    pub last_use: Arc<LastUse>,
}

impl AccessKey {
    /// Whether a signature made with it counts at `now_ms`, as far as the key itself goes.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        self.is_enabled && !self.is_expired(now_ms)
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms)
    }
}

/// When and for what an access key was last used since the process started, to the minute.
#[derive(Debug, Default)]
pub struct LastUse(AtomicU64);

/// What a key was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum UsedFor {
    S3,
    Tables,
    Iam,
    Sts,
}

impl UsedFor {
    const ALL: [UsedFor; 4] = [UsedFor::S3, UsedFor::Tables, UsedFor::Iam, UsedFor::Sts];

    /// Returns the service's name, as IAM spells it.
    pub fn name(self) -> &'static str {
        match self {
            UsedFor::S3 => "s3",
            UsedFor::Tables => "s3tables",
            UsedFor::Iam => "iam",
            UsedFor::Sts => "sts",
        }
    }
}

const MINUTE_MS: u64 = 60_000;

impl LastUse {
    /// Writes down a use. Cores share the place, so it is written once a minute and only read otherwise.
    pub fn note(&self, now_ms: u64, used_for: UsedFor) {
        let value = (now_ms / MINUTE_MS) << 2 | used_for as u64;
        if self.0.load(Ordering::Relaxed) >> 2 != value >> 2 {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    /// Returns the last use, in milliseconds since 1970.
    pub fn read(&self) -> Option<(u64, UsedFor)> {
        let value = self.0.load(Ordering::Relaxed);
        let used_for = UsedFor::ALL[usize::try_from(value & 3).unwrap_or(0)];
        (value != 0).then_some(((value >> 2) * MINUTE_MS, used_for))
    }
}

/// A policy of the account that can be attached.
#[derive(Clone, Debug)]
pub struct ManagedPolicy {
    /// `ANPA…`.
    pub id: String,
    /// Unique without regard to case.
    pub name: String,
    /// `/`, or `/a/b/`.
    pub path: String,
    /// For people.
    pub description: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// When the last version was made, or made the default one.
    pub updated_ms: u64,
    /// Number of the version that is in force.
    pub default_version: u64,
    /// The number that the next version gets: numbers are not used again.
    pub next_version: u64,
    /// By number.
    pub versions: BTreeMap<u64, PolicyVersion>,
    /// Its tags.
    pub tags: Tags,
}

impl ManagedPolicy {
    /// Returns the version that is in force.
    pub fn default(&self) -> Option<&PolicyVersion> {
        self.versions.get(&self.default_version)
    }
}

/// One version of a managed policy.
#[derive(Clone, Debug)]
pub struct PolicyVersion {
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// The policy.
    pub policy: Arc<Policy>,
}

/// What the account itself has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFacts {
    /// Sessions of the root key that were made under a smaller number are void.
    pub root_session_epoch: u64,
    /// Sessions of web identities that were made under a smaller number are void.
    pub web_session_epoch: u64,
}
