//! Groups: made, renamed, entered and left, deleted.

use std::sync::Arc;

use super::{exists, no_such, room};
use crate::identity::model::{
    Change, Entity, Fault, Grants, Group, HeldBy, Model, Moment, User, check, fold, ids,
};
use crate::limits::{GROUPS_MAX, USER_GROUPS_MAX};

impl Model {
    /// Makes a group.
    pub fn create_group(
        &self,
        name: &str,
        path: &str,
        moment: &Moment<'_>,
    ) -> Result<Change<Arc<Group>>, Fault> {
        check::name("GroupName", name)?;
        check::path("Path", path)?;
        self.need_free_group_name(name)?;
        room(self.groups.len(), "GROUPS_MAX", GROUPS_MAX)?;
        let mut draft = self.draft();
        let group = draft.put_group(Group {
            id: ids::new_id(ids::GROUP, moment, |id| self.groups.get(id).is_some()),
            name: name.to_owned(),
            path: path.to_owned(),
            created_ms: moment.now_ms,
            grants: Grants::default(),
        });
        Ok(draft.done(group))
    }

    fn need_free_group_name(&self, name: &str) -> Result<(), Fault> {
        match self.group_names.get(&fold(name)) {
            Some(_) => Err(exists(Entity::Group, name)),
            None => Ok(()),
        }
    }

    /// Gives a group another name or path. Its members stay.
    pub fn update_group(
        &self,
        name: &str,
        new_name: Option<&str>,
        new_path: Option<&str>,
    ) -> Result<Change<Arc<Group>>, Fault> {
        let mut group = Group::clone(self.need_group(name)?);
        if let Some(new_name) = new_name {
            check::name("NewGroupName", new_name)?;
            if fold(new_name) != fold(name) {
                self.need_free_group_name(new_name)?;
            }
            group.name = new_name.to_owned();
            group.grants =
                self.named_grants(&group.grants, |policy| self.group_policy_name(new_name, policy))?;
        }
        if let Some(new_path) = new_path {
            check::path("NewPath", new_path)?;
            group.path = new_path.to_owned();
        }
        let mut draft = self.draft();
        let group = draft.put_group(group);
        Ok(draft.done(group))
    }

    /// Takes a user into a group; one who is in it stays.
    pub fn add_to_group(&self, group: &str, user: &str) -> Result<Change<()>, Fault> {
        let group = self.need_group(group)?;
        let mut user = User::clone(self.need_user(user)?);
        let mut draft = self.draft();
        if !user.groups.contains(&group.id) {
            room(user.groups.len(), "USER_GROUPS_MAX", USER_GROUPS_MAX)?;
            user.groups.push(group.id.clone());
            draft.put_user(user);
        }
        Ok(draft.done(()))
    }

    /// Takes a user out of a group.
    pub fn remove_from_group(&self, group: &str, user: &str) -> Result<Change<()>, Fault> {
        let group = self.need_group(group)?;
        let mut user = User::clone(self.need_user(user)?);
        let before = user.groups.len();
        user.groups.retain(|id| *id != group.id);
        if user.groups.len() == before {
            return Err(no_such(Entity::Membership, &user.name));
        }
        let mut draft = self.draft();
        draft.put_user(user);
        Ok(draft.done(()))
    }

    /// Deletes a group without members and policies.
    pub fn delete_group(&self, name: &str) -> Result<Change<()>, Fault> {
        let group = self.need_group(name)?;
        let held_by = [
            (!self.members_of(&group.id).is_empty(), HeldBy::Members),
            (!group.grants.inline.is_empty(), HeldBy::InlinePolicies),
            (!group.grants.attached.is_empty(), HeldBy::AttachedPolicies),
        ];
        if let Some((_, held_by)) = held_by.into_iter().find(|(is_held, _)| *is_held) {
            return Err(Fault::DeleteConflict { entity: Entity::Group, held_by });
        }
        let mut draft = self.draft();
        draft.remove_group(group);
        Ok(draft.done(()))
    }
}
