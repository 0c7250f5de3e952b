//! What can be done to the model: each a pure function to a [`Change`], or to the [`Fault`] that stands against it.
//!
//! `query`, the server's pages and provisioning call them through the store. A sub-file for each kind of entity.

mod users;
mod groups;
mod grants;
mod keys;
mod policies;

use std::sync::Arc;

use crate::identity::model::{Entity, Fault, Group, Model, Secret, Tags, User};

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser<'a> {
    /// Its name.
    pub name: &'a str,
    /// `/` unless somebody says otherwise.
    pub path: &'a str,
    /// Its tags.
    pub tags: Tags,
}

/// An access key to be made.
#[derive(Clone, Debug, Default)]
pub struct NewAccessKey<'a> {
    /// An id and a secret of one's own; else both are made. The one who calls sees to it that it is not the root key's.
    pub given: Option<(&'a str, Secret)>,
    /// For people.
    pub name: Option<&'a str>,
    /// Milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// What binds the key below its user's rights.
    pub policy: Option<&'a str>,
}

/// A managed policy to be made.
#[derive(Clone, Debug)]
pub struct NewPolicy<'a> {
    /// Its name.
    pub name: &'a str,
    /// `/` unless somebody says otherwise.
    pub path: &'a str,
    /// For people.
    pub description: &'a str,
    /// The policy.
    pub document: &'a str,
    /// Its tags.
    pub tags: Tags,
}

/// Whose policies a change is about, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// A user's.
    User(&'a str),
    /// A group's.
    Group(&'a str),
}

impl Model {
    /// Returns the user of this name, or that there is none.
    pub fn need_user(&self, name: &str) -> Result<&Arc<User>, Fault> {
        self.user(name).ok_or_else(|| no_such(Entity::User, name))
    }

    /// Returns the group of this name, or that there is none.
    pub fn need_group(&self, name: &str) -> Result<&Arc<Group>, Fault> {
        self.group(name).ok_or_else(|| no_such(Entity::Group, name))
    }
}

pub(super) fn no_such(entity: Entity, name: &str) -> Fault {
    Fault::NoSuchEntity { entity, name: name.to_owned() }
}

/// Sets tags. As in AWS there is one of each name, whatever its letters' case.
fn set_tags(tags: &mut Tags, new: Tags) {
    tags.retain(|known, _| !new.keys().any(|key| key.eq_ignore_ascii_case(known)));
    tags.extend(new);
}

/// Removes tags; those that are not there are no fault.
fn remove_tags(tags: &mut Tags, keys: &[&str]) {
    tags.retain(|known, _| !keys.iter().any(|key| key.eq_ignore_ascii_case(known)));
}

fn exists(entity: Entity, name: &str) -> Fault {
    Fault::EntityAlreadyExists { entity, name: name.to_owned() }
}

/// Refuses what would be one more than `max`.
fn room(len: usize, limit: &'static str, max: usize) -> Result<(), Fault> {
    if len < max { Ok(()) } else { Err(Fault::LimitExceeded { limit, max }) }
}
