//! What users and groups are given: inline policies, and managed ones attached.

use std::sync::Arc;

use super::{Of, no_such, room};
use crate::identity::model::{Change, Entity, Fault, Grants, Group, Model, User, check};
use crate::identity::policy::{Policy, PolicyKind, count_characters};
use crate::limits::{
    ATTACHED_POLICIES_MAX, IDENTITY_POLICY_BYTES_MAX, IDENTITY_POLICY_CHARACTERS_MAX,
    INLINE_POLICIES_BYTES_MAX, INLINE_POLICIES_MAX,
};

impl Model {
    /// Returns the policies of a user or group, or that there is no such one.
    pub fn grants(&self, of: Of<'_>) -> Result<&Grants, Fault> {
        match of {
            Of::User(name) => self.need_user(name).map(|user| &user.grants),
            Of::Group(name) => self.need_group(name).map(|group| &group.grants),
        }
    }

    /// Sets an inline policy.
    pub fn put_inline_policy(&self, of: Of<'_>, name: &str, document: &str) -> Result<Change<()>, Fault> {
        let mut grants = self.grants(of)?.clone();
        check::name("PolicyName", name)?;
        let policy = self.parse(document, &self.inline_name(of, name))?;
        if grants.inline.insert(name.to_owned(), policy).is_none() {
            room(grants.inline.len() - 1, "INLINE_POLICIES_MAX", INLINE_POLICIES_MAX)?;
        }
        let bytes: usize = grants.inline.values().map(|policy| policy.text().len()).sum();
        if INLINE_POLICIES_BYTES_MAX < bytes {
            let (limit, max) = ("INLINE_POLICIES_BYTES_MAX", INLINE_POLICIES_BYTES_MAX);
            return Err(Fault::LimitExceeded { limit, max });
        }
        self.with_grants(of, grants)
    }

    /// Deletes an inline policy.
    pub fn delete_inline_policy(&self, of: Of<'_>, name: &str) -> Result<Change<()>, Fault> {
        let mut grants = self.grants(of)?.clone();
        grants.inline.remove(name).ok_or_else(|| no_such(Entity::InlinePolicy, name))?;
        self.with_grants(of, grants)
    }

    /// Attaches a managed or canned policy; one that is attached stays.
    pub fn attach_policy(&self, of: Of<'_>, arn: &str) -> Result<Change<()>, Fault> {
        let mut grants = self.grants(of)?.clone();
        let policy = self.policy(arn).ok_or_else(|| no_such(Entity::Policy, arn))?.reference();
        if grants.attached.contains(&policy) {
            return Ok(self.draft().done(()));
        }
        room(grants.attached.len(), "ATTACHED_POLICIES_MAX", ATTACHED_POLICIES_MAX)?;
        grants.attached.push(policy);
        self.with_grants(of, grants)
    }

    /// Detaches a managed or canned policy.
    pub fn detach_policy(&self, of: Of<'_>, arn: &str) -> Result<Change<()>, Fault> {
        let mut grants = self.grants(of)?.clone();
        let is_there = self.policy(arn).map(|policy| policy.reference());
        let at = is_there.and_then(|policy| grants.attached.iter().position(|held| *held == policy));
        grants.attached.remove(at.ok_or_else(|| no_such(Entity::Attachment, arn))?);
        self.with_grants(of, grants)
    }

    fn with_grants(&self, of: Of<'_>, grants: Grants) -> Result<Change<()>, Fault> {
        let mut draft = self.draft();
        match of {
            Of::User(name) => {
                draft.put_user(User { grants, ..User::clone(self.need_user(name)?) });
            }
            Of::Group(name) => {
                draft.put_group(Group { grants, ..Group::clone(self.need_group(name)?) });
            }
        }
        Ok(draft.done(()))
    }

    /// Parses an identity policy. One that is too long is over a limit, as in AWS, whatever it says.
    pub(super) fn parse(&self, document: &str, name: &str) -> Result<Arc<Policy>, Fault> {
        let limits = [
            ("IDENTITY_POLICY_BYTES_MAX", IDENTITY_POLICY_BYTES_MAX, document.len()),
            ("IDENTITY_POLICY_CHARACTERS_MAX", IDENTITY_POLICY_CHARACTERS_MAX, count_characters(document)),
        ];
        for (limit, max, got) in limits {
            if max < got {
                return Err(Fault::LimitExceeded { limit, max });
            }
        }
        let policy = Policy::parse(document, PolicyKind::Identity, name, &self.account);
        policy.map(Arc::new).map_err(Fault::MalformedPolicyDocument)
    }

    /// The same policies under the name of a holder that is called otherwise now.
    pub(super) fn named_grants(
        &self,
        grants: &Grants,
        name: impl Fn(&str) -> String,
    ) -> Result<Grants, Fault> {
        let mut named = grants.clone();
        for (policy, parsed) in &mut named.inline {
            *parsed = self.parse(parsed.text(), &name(policy))?;
        }
        Ok(named)
    }

    fn inline_name(&self, of: Of<'_>, policy: &str) -> String {
        match of {
            Of::User(user) => self.user_policy_name(user, policy),
            Of::Group(group) => self.group_policy_name(group, policy),
        }
    }

    /// How decisions call an inline policy of a user.
    pub(in crate::identity::model) fn user_policy_name(&self, user: &str, policy: &str) -> String {
        format!("user/{user}/{policy}")
    }

    /// How decisions call an inline policy of a group.
    pub(in crate::identity::model) fn group_policy_name(&self, group: &str, policy: &str) -> String {
        format!("group/{group}/{policy}")
    }
}
