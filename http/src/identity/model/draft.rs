//! The next model while it is made: every table and index that an entity stands in is changed with it, and its record
//! noted.
//!
//! `change` says what is to be, `records` loads through the same functions. I1. Nothing else changes a table of a model.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::identity::model::entity::{AccessKey, AccountFacts, Group, ManagedPolicy, PolicyRef, User};
use crate::identity::model::records::{self, Kind, Record};
use crate::identity::model::{Change, Held, Model, fold};

/// A model and what must be written for it.
pub(super) struct Draft {
    pub(super) model: Model,
    writes: Vec<(Bytes, Option<Record>)>,
    /// Everything is stored already: nothing is noted.
    is_loading: bool,
}

/// Notes a write; a key stands once.
pub(super) fn write(writes: &mut Vec<(Bytes, Option<Record>)>, key: Bytes, record: Option<Record>) {
    match writes.iter_mut().find(|(held, _)| *held == key) {
        Some((_, held)) => *held = record,
        None => writes.push((key, record)),
    }
}

impl Draft {
    pub(super) fn new(model: Model) -> Draft {
        Draft { model, writes: Vec::new(), is_loading: false }
    }

    pub(super) fn loading(model: Model) -> Draft {
        Draft { is_loading: true, ..Draft::new(model) }
    }

    pub(super) fn done<T>(self, answer: T) -> Change<T> {
        Change { model: self.model, writes: self.writes, answer }
    }

    fn note(&mut self, kind: Kind, id: &str, record: Option<Record>) {
        if self.is_loading {
            return;
        }
        write(&mut self.writes, records::key(kind, id), record);
    }

    // ---- users ----

    pub(super) fn put_user(&mut self, user: User) -> Arc<User> {
        let user = Arc::new(user);
        let held = Held { user: user.clone(), set: Arc::new(OnceLock::new()) };
        if let Some(before) = self.model.users.insert(&user.id, held) {
            self.model.user_names.remove(&fold(&before.user.name));
        }
        self.model.user_names.insert(&fold(&user.name), user.id.as_str().into());
        self.note(Kind::User, &user.id, Some(Record::User(user.clone())));
        user
    }

    pub(super) fn remove_user(&mut self, user: &User) {
        self.model.users.remove(&user.id);
        self.model.user_names.remove(&fold(&user.name));
        self.note(Kind::User, &user.id, None);
    }

    /// Lets the policies of these users be compiled anew.
    fn forget_sets(&mut self, is_meant: impl Fn(&Model, &User) -> bool) {
        let all = self.model.users.iter().map(|(_, held)| &held.user);
        let meant: Vec<_> = all.filter(|user| is_meant(&self.model, user)).cloned().collect();
        for user in meant {
            let id = user.id.clone();
            self.model.users.insert(&id, Held { user, set: Arc::new(OnceLock::new()) });
        }
    }

    // ---- groups ----

    pub(super) fn put_group(&mut self, group: Group) -> Arc<Group> {
        let group = Arc::new(group);
        if let Some(before) = self.model.groups.insert(&group.id, group.clone()) {
            self.model.group_names.remove(&fold(&before.name));
            self.forget_sets(|_, user| user.groups.contains(&group.id));
        }
        self.model.group_names.insert(&fold(&group.name), group.id.as_str().into());
        self.note(Kind::Group, &group.id, Some(Record::Group(group.clone())));
        group
    }

    pub(super) fn remove_group(&mut self, group: &Group) {
        self.model.groups.remove(&group.id);
        self.model.group_names.remove(&fold(&group.name));
        self.note(Kind::Group, &group.id, None);
    }

    // ---- access keys ----

    pub(super) fn put_key(&mut self, key: AccessKey) -> Arc<AccessKey> {
        let key = Arc::new(key);
        if self.model.keys.insert(&key.id, key.clone()).is_none() {
            let mut ids = self.model.keys_of.get(&key.user).cloned().unwrap_or_default();
            let made = |id: &Arc<str>| self.model.keys.get(id).map(|key| (key.created_ms, key.id.clone()));
            let at = ids.partition_point(|id| made(id) < Some((key.created_ms, key.id.clone())));
            Arc::make_mut(&mut ids).insert(at, key.id.as_str().into());
            self.model.keys_of.insert(&key.user, ids);
        }
        self.note(Kind::AccessKey, &key.id, Some(Record::AccessKey(key.clone())));
        key
    }

    pub(super) fn remove_key(&mut self, key: &AccessKey) {
        self.model.keys.remove(&key.id);
        if let Some(mut ids) = self.model.keys_of.remove(&key.user) {
            Arc::make_mut(&mut ids).retain(|id| **id != key.id);
            if !ids.is_empty() {
                self.model.keys_of.insert(&key.user, ids);
            }
        }
        self.note(Kind::AccessKey, &key.id, None);
    }

    // ---- managed policies ----

    pub(super) fn put_policy(&mut self, policy: ManagedPolicy) -> Arc<ManagedPolicy> {
        let policy = Arc::new(policy);
        if let Some(before) = self.model.policies.insert(&policy.id, policy.clone()) {
            self.model.policy_names.remove(&fold(&before.name));
            let reference = PolicyRef::Managed(policy.id.clone());
            self.forget_sets(|model, user| {
                let groups = model.groups_of(user).map(|group| &group.grants);
                std::iter::once(&user.grants).chain(groups).any(|grants| grants.attached.contains(&reference))
            });
        }
        self.model.policy_names.insert(&fold(&policy.name), policy.id.as_str().into());
        self.note(Kind::Policy, &policy.id, Some(Record::Policy(policy.clone())));
        policy
    }

    pub(super) fn remove_policy(&mut self, policy: &ManagedPolicy) {
        self.model.policies.remove(&policy.id);
        self.model.policy_names.remove(&fold(&policy.name));
        self.note(Kind::Policy, &policy.id, None);
    }

    // ---- the account ----

    pub(super) fn put_facts(&mut self, facts: AccountFacts) {
        self.model.facts = facts.clone();
        self.note(Kind::Account, "", Some(Record::Account(facts)));
    }
}
