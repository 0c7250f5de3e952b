//! Users, groups, access keys and policies of the account, as one value that never changes.
//!
//! `store` keeps the current one, makes the next by a change (a pure function of the model and a [`Moment`]), and writes
//! the records that the change names; requests ask the current one. Time and randomness are arguments.
//! I1. A name leads to one entity, and every entity is led to by its name. I2. Nothing refers to what is not there: groups
//! of a user, users of keys, attached policies. I3. A change's writes, loaded, are its model: what is not written is not
//! in the model. I4. Canned policies are always there and never written.

mod sorted;
mod secret;
mod fault;
mod entity;
mod ids;
pub(crate) mod check;
mod draft;
mod change;
mod records;
mod canned;

use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

pub use canned::CannedPolicy;
pub use change::{NewAccessKey, NewPolicy, NewUser, Of};
pub use entity::{
    AccessKey, AccountFacts, Grants, Group, LastUse, ManagedPolicy, PolicyRef, PolicyVersion, Tags, UsedFor,
    User,
};
pub use fault::{Entity, Fault, HeldBy};
pub use records::{Record, RecordFault, RecordWhy};
pub use secret::{Sealer, Secret};

use crate::identity::policy::{Policy, PolicySet};
use canned::canned;
use draft::Draft;
use sorted::Sorted;

/// Where ARNs of canned policies begin.
const CANNED_ARN: &str = "arn:aws:iam::aws:policy/";

/// What a change takes from the world.
pub struct Moment<'a> {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Random bits, others at each call.
    pub random: &'a dyn Fn() -> u128,
}

/// What a change comes to.
#[derive(Clone, Debug)]
pub struct Change<T> {
    /// The next model.
    pub model: Model,
    /// Keys of values and what is written there; `None` removes. No key stands twice.
    pub writes: Vec<(bytes::Bytes, Option<Record>)>,
    /// What the one who asked is told.
    pub answer: T,
}

/// The account's identities. A clone costs a few counters.
#[derive(Clone, Debug)]
pub struct Model {
    account: Arc<str>,
    facts: AccountFacts,
    users: Sorted<Held>,
    groups: Sorted<Arc<Group>>,
    keys: Sorted<Arc<AccessKey>>,
    policies: Sorted<Arc<ManagedPolicy>>,
    /// Ids by folded name.
    user_names: Sorted<Arc<str>>,
    group_names: Sorted<Arc<str>>,
    policy_names: Sorted<Arc<str>>,
    /// Ids of keys by id of user, in the order of their making.
    keys_of: Sorted<Arc<Vec<Arc<str>>>>,
    canned: Arc<[CannedPolicy]>,
}

/// A user with its compiled policies, which are made when first asked for and stay until something of them changes.
#[derive(Clone, Debug)]
struct Held {
    user: Arc<User>,
    set: Arc<OnceLock<Arc<PolicySet>>>,
}

/// A policy that can be attached.
#[derive(Clone, Copy, Debug)]
pub enum Attachable<'a> {
    /// The server's own.
    Canned(&'a CannedPolicy),
    /// One of the account's.
    Managed(&'a Arc<ManagedPolicy>),
}

impl Model {
    /// Returns a model without users.
    pub fn empty(account: &str) -> Model {
        Model {
            account: account.into(),
            facts: AccountFacts::default(),
            users: Sorted::default(),
            groups: Sorted::default(),
            keys: Sorted::default(),
            policies: Sorted::default(),
            user_names: Sorted::default(),
            group_names: Sorted::default(),
            policy_names: Sorted::default(),
            keys_of: Sorted::default(),
            canned: canned(account).into(),
        }
    }

    /// Returns the account's 12 digits.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Returns what the account itself has.
    pub fn facts(&self) -> &AccountFacts {
        &self.facts
    }

    // ---- keys ----

    /// Returns the access key of this id.
    pub fn key(&self, access_key: &str) -> Option<&Arc<AccessKey>> {
        self.keys.get(access_key)
    }

    /// Returns the keys of a user, oldest first.
    pub fn keys_of(&self, user_id: &str) -> impl Iterator<Item = &Arc<AccessKey>> {
        self.keys_of.get(user_id).into_iter().flat_map(|ids| ids.iter()).filter_map(|id| self.keys.get(id))
    }

    /// Returns the number of keys.
    pub fn keys_len(&self) -> usize {
        self.keys.len()
    }

    /// Returns all keys, by id.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<AccessKey>> {
        self.keys.iter().map(|(_, key)| key)
    }

    // ---- users ----

    /// Returns the user of this very name.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        let user = self.user_by_id(self.user_names.get(&fold(name))?)?;
        (user.name == name).then_some(user)
    }

    /// Returns the user of this id.
    pub fn user_by_id(&self, id: &str) -> Option<&Arc<User>> {
        self.users.get(id).map(|held| &held.user)
    }

    /// Returns all users, by name.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.user_names.iter().filter_map(|(_, id)| self.user_by_id(id))
    }

    /// Returns the number of users.
    pub fn users_len(&self) -> usize {
        self.users.len()
    }

    /// Returns the tags of the user or the managed policy with this ARN.
    pub fn tags_of(&self, arn: &str) -> Option<&Tags> {
        let name = arn.rsplit('/').next().unwrap_or_default();
        let user = self.user(name).filter(|user| self.user_arn(user) == arn).map(|user| &user.tags);
        user.or_else(|| match self.policy(arn)? {
            Attachable::Managed(policy) => Some(&policy.tags),
            Attachable::Canned(_) => None,
        })
    }

    /// Returns a user's ARN.
    pub fn user_arn(&self, user: &User) -> String {
        format!("arn:aws:iam::{}:user{}{}", self.account, user.path, user.name)
    }

    /// Returns all policies of a user, its own and its groups', compiled. They are compiled once, and again when one of
    /// them, or what the user is given, changes.
    pub fn policies_of(&self, user: &User) -> Arc<PolicySet> {
        let made = || Arc::new(PolicySet::new(self.list_policies_of(user)));
        match self.users.get(&user.id) {
            Some(held) if std::ptr::eq(&*held.user, user) => held.set.get_or_init(made).clone(),
            // A user of another model: its record may say something else.
            _ => made(),
        }
    }

    /// The policies behind [`Model::policies_of`].
    fn list_policies_of(&self, user: &User) -> Vec<Arc<Policy>> {
        let groups = self.groups_of(user).map(|group| &group.grants);
        std::iter::once(&user.grants).chain(groups).flat_map(|grants| self.granted(grants)).collect()
    }

    /// Returns the policies that a user or group itself is given.
    pub fn granted<'a>(&'a self, grants: &'a Grants) -> impl Iterator<Item = Arc<Policy>> + 'a {
        let attached = grants.attached.iter().filter_map(|policy| self.attached(policy)?.policy().cloned());
        grants.inline.values().cloned().chain(attached)
    }

    // ---- groups ----

    /// Returns the group of this very name.
    pub fn group(&self, name: &str) -> Option<&Arc<Group>> {
        let group = self.group_by_id(self.group_names.get(&fold(name))?)?;
        (group.name == name).then_some(group)
    }

    /// Returns the group of this id.
    pub fn group_by_id(&self, id: &str) -> Option<&Arc<Group>> {
        self.groups.get(id)
    }

    /// Returns all groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.group_names.iter().filter_map(|(_, id)| self.groups.get(id))
    }

    /// Returns the groups of a user.
    pub fn groups_of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Arc<Group>> {
        user.groups.iter().filter_map(|id| self.groups.get(id))
    }

    /// Returns the members of a group, by name. Looks at all users.
    pub fn members_of(&self, group_id: &str) -> Vec<&Arc<User>> {
        let users = self.users.iter().map(|(_, held)| &held.user);
        let mut members: Vec<_> = users.filter(|user| user.groups.iter().any(|id| id == group_id)).collect();
        members.sort_by_cached_key(|user| fold(&user.name));
        members
    }

    /// Returns a group's ARN.
    pub fn group_arn(&self, group: &Group) -> String {
        format!("arn:aws:iam::{}:group{}{}", self.account, group.path, group.name)
    }

    // ---- policies ----

    /// Returns a managed or canned policy by its name alone, as claims of web identities have it. The account's own goes
    /// before a canned one that came later.
    pub fn policy_named(&self, name: &str) -> Option<Arc<Policy>> {
        let managed = self.policy_names.get(&fold(name)).and_then(|id| self.policies.get(id));
        match managed.filter(|policy| policy.name == name) {
            Some(policy) => policy.default().map(|version| version.policy.clone()),
            None => self.canned_named(name).map(|canned| canned.policy.clone()),
        }
    }

    /// Returns the policy of an ARN.
    pub fn policy(&self, arn: &str) -> Option<Attachable<'_>> {
        if let Some(name) = arn.strip_prefix(CANNED_ARN) {
            return self.canned_named(name).map(Attachable::Canned);
        }
        let name = arn.rsplit('/').next()?;
        let policy = self.policies.get(self.policy_names.get(&fold(name))?)?;
        (self.policy_arn(policy) == arn).then_some(Attachable::Managed(policy))
    }

    /// Returns an attached policy.
    pub fn attached(&self, policy: &PolicyRef) -> Option<Attachable<'_>> {
        match policy {
            PolicyRef::Canned(name) => self.canned_named(name).map(Attachable::Canned),
            PolicyRef::Managed(id) => self.policies.get(id).map(Attachable::Managed),
        }
    }

    /// Returns the account's own policies, by name.
    pub fn managed(&self) -> impl Iterator<Item = &Arc<ManagedPolicy>> {
        self.policy_names.iter().filter_map(|(_, id)| self.policies.get(id))
    }

    /// Returns the canned policies.
    pub fn canned(&self) -> &[CannedPolicy] {
        &self.canned
    }

    fn canned_named(&self, name: &str) -> Option<&CannedPolicy> {
        self.canned.iter().find(|canned| canned.name == name)
    }

    /// Returns a managed policy's ARN.
    pub fn policy_arn(&self, policy: &ManagedPolicy) -> String {
        format!("arn:aws:iam::{}:policy{}{}", self.account, policy.path, policy.name)
    }

    // ---- changes ----

    fn draft(&self) -> Draft {
        Draft::new(self.clone())
    }
}

impl<'a> Attachable<'a> {
    /// Returns the policy that is in force.
    pub fn policy(&self) -> Option<&'a Arc<Policy>> {
        match self {
            Attachable::Canned(canned) => Some(&canned.policy),
            Attachable::Managed(policy) => policy.default().map(|version| &version.policy),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &'a str {
        match self {
            Attachable::Canned(canned) => canned.name,
            Attachable::Managed(policy) => &policy.name,
        }
    }

    /// Returns its path.
    pub fn path(&self) -> &'a str {
        match self {
            Attachable::Canned(_) => "/",
            Attachable::Managed(policy) => &policy.path,
        }
    }

    /// Returns its ARN.
    pub fn arn(&self, model: &Model) -> String {
        match self {
            Attachable::Canned(canned) => format!("{CANNED_ARN}{}", canned.name),
            Attachable::Managed(policy) => model.policy_arn(policy),
        }
    }

    /// Returns how users and groups refer to it.
    pub fn reference(&self) -> PolicyRef {
        match self {
            Attachable::Canned(canned) => PolicyRef::Canned(canned.name.to_owned()),
            Attachable::Managed(policy) => PolicyRef::Managed(policy.id.clone()),
        }
    }
}

impl<T> Change<T> {
    /// Goes on with another change of the model that this one makes; both are written together. The later write of a key
    /// stays.
    pub fn then<U>(
        self,
        next: impl FnOnce(&Model, T) -> Result<Change<U>, Fault>,
    ) -> Result<Change<U>, Fault> {
        let mut change = next(&self.model, self.answer)?;
        let mut writes = self.writes;
        for (key, record) in change.writes {
            draft::write(&mut writes, key, record);
        }
        change.writes = writes;
        Ok(change)
    }

    /// Tells something else.
    pub fn map<U>(self, answer: impl FnOnce(T) -> U) -> Change<U> {
        Change { model: self.model, writes: self.writes, answer: answer(self.answer) }
    }
}

/// The id by which S3 names an owner: distinct for each account and user, and the same for ever.
pub fn owner_id(account: &str, user_id: &str) -> String {
    let mut sha256 = Sha256::new();
    sha256.update(b"nilas owner 1\0");
    sha256.update(account.as_bytes());
    sha256.update(b"\0");
    sha256.update(user_id.as_bytes());
    hex::encode(sha256.finalize())
}

/// Names that differ in case alone are one.
pub(crate) fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
