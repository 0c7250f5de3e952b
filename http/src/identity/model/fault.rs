//! Why a change of the model is not made: facts, to which `query` gives AWS's code, status and text.

use std::fmt;

use crate::identity::policy::PolicyError;

/// What kind of thing a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Entity {
    User,
    Group,
    AccessKey,
    Policy,
    PolicyVersion,
    /// A policy inside a user or group.
    InlinePolicy,
    /// A managed policy that is not attached where it should be detached.
    Attachment,
    /// A user that is not in a group where it should be taken out.
    Membership,
}

impl Entity {
    /// Returns how a sentence calls it.
    pub fn name(self) -> &'static str {
        match self {
            Entity::User => "user",
            Entity::Group => "group",
            Entity::AccessKey => "access key",
            Entity::Policy => "policy",
            Entity::PolicyVersion => "policy version",
            Entity::InlinePolicy => "inline policy",
            Entity::Attachment => "attached policy",
            Entity::Membership => "membership",
        }
    }
}

/// What still holds something that should be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HeldBy {
    AccessKeys,
    InlinePolicies,
    AttachedPolicies,
    Groups,
    Members,
    /// A policy is attached to users or groups.
    Attachments,
    /// A policy has versions beside its default one.
    Versions,
    /// A version is the default one.
    Default,
}

/// Why a change is not made. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What the change is about is not there.
    NoSuchEntity {
        /// Of which kind.
        entity: Entity,
        /// As it was named.
        name: String,
    },
    /// The name is taken; names that differ in case alone are the same.
    EntityAlreadyExists {
        /// Of which kind.
        entity: Entity,
        /// As it was named.
        name: String,
    },
    /// It is still needed.
    DeleteConflict {
        /// Of which kind.
        entity: Entity,
        /// Why.
        held_by: HeldBy,
    },
    /// One more would be too many.
    LimitExceeded {
        /// Its name in `limits`.
        limit: &'static str,
        /// Its value.
        max: usize,
    },
    /// A policy cannot be read.
    MalformedPolicyDocument(PolicyError),
    /// A value has not the form that it must have.
    InvalidInput {
        /// The parameter, as IAM spells it.
        name: &'static str,
        /// What it must be.
        why: String,
    },
    /// A canned policy cannot be changed.
    UnmodifiableEntity {
        /// Its ARN.
        arn: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoSuchEntity { entity, name } => write!(f, "no such {}: {name}", entity.name()),
            Fault::EntityAlreadyExists { entity, name } => {
                write!(f, "{} exists already: {name}", entity.name())
            }
            Fault::DeleteConflict { entity, held_by } => {
                write!(f, "{} is still held by {held_by:?}", entity.name())
            }
            Fault::LimitExceeded { limit, max } => write!(f, "over {limit}: at most {max}"),
            Fault::MalformedPolicyDocument(error) => write!(f, "policy: {}: {}", error.at, error.why),
            Fault::InvalidInput { name, why } => write!(f, "{name} {why}"),
            Fault::UnmodifiableEntity { arn } => write!(f, "{arn} belongs to the server and stays as it is"),
        }
    }
}

impl std::error::Error for Fault {}
