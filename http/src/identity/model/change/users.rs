//! Users: made, renamed, disabled, tagged, deleted.

use std::sync::Arc;

use super::{NewUser, exists, no_such, remove_tags, room, set_tags};
use crate::identity::model::{
    Change, Entity, Fault, Grants, HeldBy, Model, Moment, Tags, User, check, fold, ids, owner_id,
};
use crate::limits::USERS_MAX;

/// What the root key's holder is called; no user is.
const ROOT: &str = "root";

impl Model {
    /// Makes a user.
    pub fn create_user(&self, new: &NewUser<'_>, moment: &Moment<'_>) -> Result<Change<Arc<User>>, Fault> {
        check::user_name("UserName", new.name)?;
        check::path("Path", new.path)?;
        check::tags(&new.tags)?;
        self.need_free_user_name(new.name)?;
        room(self.users.len(), "USERS_MAX", USERS_MAX)?;
        let id = ids::new_id(ids::USER, moment, |id| self.users.get(id).is_some());
        let mut draft = self.draft();
        let user = draft.put_user(User {
            owner_id: owner_id(&self.account, &id),
            id,
            name: new.name.to_owned(),
            path: new.path.to_owned(),
            created_ms: moment.now_ms,
            is_enabled: true,
            session_epoch: 0,
            grants: Grants::default(),
            groups: Vec::new(),
            tags: new.tags.clone(),
        });
        Ok(draft.done(user))
    }

    fn need_free_user_name(&self, name: &str) -> Result<(), Fault> {
        let folded = fold(name);
        if folded == ROOT || self.user_names.get(&folded).is_some() {
            return Err(exists(Entity::User, name));
        }
        Ok(())
    }

    /// Gives a user another name or path. It stays who it is.
    pub fn update_user(
        &self,
        name: &str,
        new_name: Option<&str>,
        new_path: Option<&str>,
    ) -> Result<Change<Arc<User>>, Fault> {
        let mut user = User::clone(self.need_user(name)?);
        if let Some(new_name) = new_name {
            check::user_name("NewUserName", new_name)?;
            if fold(new_name) != fold(name) {
                self.need_free_user_name(new_name)?;
            }
            user.name = new_name.to_owned();
            user.grants =
                self.named_grants(&user.grants, |policy| self.user_policy_name(new_name, policy))?;
        }
        if let Some(new_path) = new_path {
            check::path("NewPath", new_path)?;
            user.path = new_path.to_owned();
        }
        self.put_changed_user(user)
    }

    fn put_changed_user(&self, user: User) -> Result<Change<Arc<User>>, Fault> {
        let mut draft = self.draft();
        let user = draft.put_user(user);
        Ok(draft.done(user))
    }

    /// Lets a user and its keys and sessions do nothing, or what they may again.
    pub fn set_user_enabled(&self, name: &str, is_enabled: bool) -> Result<Change<Arc<User>>, Fault> {
        self.put_changed_user(User { is_enabled, ..User::clone(self.need_user(name)?) })
    }

    /// Makes all sessions of a user void that were made before.
    pub fn revoke_sessions(&self, name: &str) -> Result<Change<Arc<User>>, Fault> {
        let mut user = User::clone(self.need_user(name)?);
        user.session_epoch += 1;
        self.put_changed_user(user)
    }

    /// Makes all sessions of the root key void that were made before.
    pub fn revoke_root_sessions(&self) -> Result<Change<()>, Fault> {
        let mut draft = self.draft();
        let mut facts = self.facts.clone();
        facts.root_session_epoch += 1;
        draft.put_facts(facts);
        Ok(draft.done(()))
    }

    /// Makes all sessions of web identities void that were made before.
    pub fn revoke_web_sessions(&self) -> Result<Change<()>, Fault> {
        let mut draft = self.draft();
        let mut facts = self.facts.clone();
        facts.web_session_epoch += 1;
        draft.put_facts(facts);
        Ok(draft.done(()))
    }

    /// Sets tags of a user.
    pub fn tag_user(&self, name: &str, tags: Tags) -> Result<Change<()>, Fault> {
        let mut user = User::clone(self.need_user(name)?);
        set_tags(&mut user.tags, tags);
        check::tags(&user.tags)?;
        self.put_changed_user(user).map(|change| change.map(drop))
    }

    /// Removes tags of a user; those it has not are no fault.
    pub fn untag_user(&self, name: &str, keys: &[&str]) -> Result<Change<()>, Fault> {
        let mut user = User::clone(self.need_user(name)?);
        remove_tags(&mut user.tags, keys);
        self.put_changed_user(user).map(|change| change.map(drop))
    }

    /// Deletes a user that has neither keys nor policies and is in no group.
    pub fn delete_user(&self, name: &str) -> Result<Change<()>, Fault> {
        let user = self.user(name).ok_or_else(|| no_such(Entity::User, name))?;
        let held_by = [
            (self.keys_of.get(&user.id).is_some(), HeldBy::AccessKeys),
            (!user.grants.inline.is_empty(), HeldBy::InlinePolicies),
            (!user.grants.attached.is_empty(), HeldBy::AttachedPolicies),
            (!user.groups.is_empty(), HeldBy::Groups),
        ];
        if let Some((_, held_by)) = held_by.into_iter().find(|(is_held, _)| *is_held) {
            return Err(Fault::DeleteConflict { entity: Entity::User, held_by });
        }
        let mut draft = self.draft();
        draft.remove_user(user);
        Ok(draft.done(()))
    }
}
