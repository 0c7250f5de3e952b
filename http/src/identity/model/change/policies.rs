//! Managed policies and their versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{NewPolicy, exists, no_such, remove_tags, room, set_tags};
use crate::identity::model::{
    Attachable, CANNED_ARN, Change, Entity, Fault, HeldBy, ManagedPolicy, Model, Moment, PolicyRef,
    PolicyVersion, Tags, check, fold, ids,
};
use crate::limits::{MANAGED_POLICIES_MAX, POLICY_VERSIONS_MAX};

impl Model {
    /// Makes a managed policy with its first version. The names of canned policies are taken.
    pub fn create_policy(
        &self,
        new: &NewPolicy<'_>,
        moment: &Moment<'_>,
    ) -> Result<Change<Arc<ManagedPolicy>>, Fault> {
        check::name("PolicyName", new.name)?;
        check::path("Path", new.path)?;
        check::description(new.description)?;
        check::tags(&new.tags)?;
        let folded = fold(new.name);
        if self.policy_names.get(&folded).is_some() || self.canned.iter().any(|canned| canned.name == folded)
        {
            return Err(exists(Entity::Policy, new.name));
        }
        room(self.policies.len(), "MANAGED_POLICIES_MAX", MANAGED_POLICIES_MAX)?;
        let arn = format!("arn:aws:iam::{}:policy{}{}", self.account, new.path, new.name);
        let version = PolicyVersion { created_ms: moment.now_ms, policy: self.parse(new.document, &arn)? };
        let mut draft = self.draft();
        let policy = draft.put_policy(ManagedPolicy {
            id: ids::new_id(ids::POLICY, moment, |id| self.policies.get(id).is_some()),
            name: new.name.to_owned(),
            path: new.path.to_owned(),
            description: new.description.to_owned(),
            created_ms: moment.now_ms,
            updated_ms: moment.now_ms,
            default_version: 1,
            next_version: 2,
            versions: BTreeMap::from([(1, version)]),
            tags: new.tags.clone(),
        });
        Ok(draft.done(policy))
    }

    /// Returns the managed policy of an ARN that can be changed.
    fn need_managed(&self, arn: &str) -> Result<&Arc<ManagedPolicy>, Fault> {
        match self.policy(arn) {
            Some(Attachable::Managed(policy)) => Ok(policy),
            Some(Attachable::Canned(_)) => Err(Fault::UnmodifiableEntity { arn: arn.to_owned() }),
            None if arn.starts_with(CANNED_ARN) => Err(no_such(Entity::Policy, arn)),
            None => Err(no_such(Entity::Policy, arn)),
        }
    }

    fn put_changed_policy<T>(&self, policy: ManagedPolicy, answer: T) -> Result<Change<T>, Fault> {
        let mut draft = self.draft();
        draft.put_policy(policy);
        Ok(draft.done(answer))
    }

    /// Makes another version of a policy, and tells its number.
    pub fn create_policy_version(
        &self,
        arn: &str,
        document: &str,
        is_default: bool,
        moment: &Moment<'_>,
    ) -> Result<Change<u64>, Fault> {
        let mut policy = ManagedPolicy::clone(self.need_managed(arn)?);
        let parsed = self.parse(document, arn)?;
        room(policy.versions.len(), "POLICY_VERSIONS_MAX", POLICY_VERSIONS_MAX)?;
        let number = policy.next_version;
        policy.next_version += 1;
        policy.versions.insert(number, PolicyVersion { created_ms: moment.now_ms, policy: parsed });
        policy.updated_ms = moment.now_ms;
        if is_default {
            policy.default_version = number;
        }
        self.put_changed_policy(policy, number)
    }

    /// Puts another version of a policy in force.
    pub fn set_default_policy_version(
        &self,
        arn: &str,
        number: u64,
        moment: &Moment<'_>,
    ) -> Result<Change<()>, Fault> {
        let mut policy = ManagedPolicy::clone(self.need_managed(arn)?);
        if !policy.versions.contains_key(&number) {
            return Err(no_such(Entity::PolicyVersion, &format!("v{number}")));
        }
        policy.default_version = number;
        policy.updated_ms = moment.now_ms;
        self.put_changed_policy(policy, ())
    }

    /// Deletes a version that is not in force.
    pub fn delete_policy_version(&self, arn: &str, number: u64) -> Result<Change<()>, Fault> {
        let mut policy = ManagedPolicy::clone(self.need_managed(arn)?);
        if policy.versions.remove(&number).is_none() {
            return Err(no_such(Entity::PolicyVersion, &format!("v{number}")));
        }
        if policy.default_version == number {
            return Err(Fault::DeleteConflict { entity: Entity::PolicyVersion, held_by: HeldBy::Default });
        }
        self.put_changed_policy(policy, ())
    }

    /// Sets tags of a policy.
    pub fn tag_policy(&self, arn: &str, tags: Tags) -> Result<Change<()>, Fault> {
        let mut policy = ManagedPolicy::clone(self.need_managed(arn)?);
        set_tags(&mut policy.tags, tags);
        check::tags(&policy.tags)?;
        self.put_changed_policy(policy, ())
    }

    /// Removes tags of a policy; those it has not are no fault.
    pub fn untag_policy(&self, arn: &str, keys: &[&str]) -> Result<Change<()>, Fault> {
        let mut policy = ManagedPolicy::clone(self.need_managed(arn)?);
        remove_tags(&mut policy.tags, keys);
        self.put_changed_policy(policy, ())
    }

    /// Deletes a policy that is attached nowhere and has no version but its default one.
    pub fn delete_policy(&self, arn: &str) -> Result<Change<()>, Fault> {
        let policy = self.need_managed(arn)?;
        let held_by = [
            (self.is_attached(&policy.id), HeldBy::Attachments),
            (1 < policy.versions.len(), HeldBy::Versions),
        ];
        if let Some((_, held_by)) = held_by.into_iter().find(|(is_held, _)| *is_held) {
            return Err(Fault::DeleteConflict { entity: Entity::Policy, held_by });
        }
        let mut draft = self.draft();
        draft.remove_policy(policy);
        Ok(draft.done(()))
    }

    fn is_attached(&self, id: &str) -> bool {
        let policy = PolicyRef::Managed(id.to_owned());
        let mut users = self.users.iter().map(|(_, held)| &held.user.grants);
        let mut groups = self.groups.iter().map(|(_, group)| &group.grants);
        users.any(|grants| grants.attached.contains(&policy))
            || groups.any(|grants| grants.attached.contains(&policy))
    }
}
