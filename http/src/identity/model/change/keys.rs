//! Access keys: made, switched on and off, deleted.

use std::sync::Arc;

use super::{NewAccessKey, exists, no_such, room};
use crate::identity::model::{AccessKey, Change, Entity, Fault, Model, Moment, check, ids};
use crate::limits::{IDENTITY_NAME_CHARS_MAX, USER_KEYS_MAX};

impl Model {
    /// Makes an access key of a user.
    pub fn create_access_key(
        &self,
        user: &str,
        new: &NewAccessKey<'_>,
        moment: &Moment<'_>,
    ) -> Result<Change<Arc<AccessKey>>, Fault> {
        let user = self.need_user(user)?;
        if let Some(name) = new.name {
            check::text("Name", name, IDENTITY_NAME_CHARS_MAX)?;
        }
        if new.expires_ms.is_some_and(|expires_ms| expires_ms <= moment.now_ms) {
            return Err(Fault::InvalidInput { name: "Expires", why: "must be in the future".to_owned() });
        }
        room(self.keys_of(&user.id).count(), "USER_KEYS_MAX", USER_KEYS_MAX)?;
        let (id, secret) = match &new.given {
            Some((id, secret)) => {
                check::access_key(id)?;
                check::secret(secret)?;
                if self.keys.get(id).is_some() {
                    return Err(exists(Entity::AccessKey, id));
                }
                ((*id).to_owned(), secret.clone())
            }
            None => {
                let id = ids::new_access_key(moment, |id| self.keys.get(id).is_some());
                (id, ids::new_secret(moment))
            }
        };
        let policy = new.policy.map(|text| self.parse(text, &self.key_policy_name(&id))).transpose()?;
        let mut draft = self.draft();
        let key = draft.put_key(AccessKey {
            id,
            user: user.id.clone(),
            secret,
            name: new.name.map(str::to_owned),
            created_ms: moment.now_ms,
            expires_ms: new.expires_ms,
            is_enabled: true,
            policy,
            last_use: Arc::default(),
        });
        Ok(draft.done(key))
    }

    /// How decisions call the policy of a key.
    pub(in crate::identity::model) fn key_policy_name(&self, id: &str) -> String {
        format!("key/{id}")
    }

    /// Returns a key of a user, or that there is none.
    pub fn need_key_of(&self, user: &str, id: &str) -> Result<&Arc<AccessKey>, Fault> {
        let user = self.need_user(user)?;
        self.key(id).filter(|key| key.user == user.id).ok_or_else(|| no_such(Entity::AccessKey, id))
    }

    /// Switches an access key on or off.
    pub fn set_key_enabled(&self, user: &str, id: &str, is_enabled: bool) -> Result<Change<()>, Fault> {
        let key = AccessKey { is_enabled, ..AccessKey::clone(self.need_key_of(user, id)?) };
        let mut draft = self.draft();
        draft.put_key(key);
        Ok(draft.done(()))
    }

    /// Deletes an access key.
    pub fn delete_access_key(&self, user: &str, id: &str) -> Result<Change<()>, Fault> {
        let key = self.need_key_of(user, id)?;
        let mut draft = self.draft();
        draft.remove_key(key);
        Ok(draft.done(()))
    }
}
