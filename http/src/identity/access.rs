//! The one to ask what the sender of a request may do.
//!
//! The gateway makes a [`Caller`] of what authentication found and asks it before an operation runs; operations that
//! touch more than their target (a copy's source, each key of DeleteObjects, each table of a transaction) ask it for
//! each of those. I1. Nothing is acted on before it was asked for.

use bytes::Bytes;
use nilas_catalog::access::{
    Access, KeptPrincipal, LookUp, LookUpError, NamedIn, OperationFacts, Resource, VendRequest, Vended,
};

use crate::identity::Sender;
use crate::tag_set::TagSet;

/// The condition key of what a listing is narrowed to.
pub(crate) const PREFIX: &str = "s3:prefix";

/// What an evaluator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The sender may.
    Allow,
    /// The sender may not.
    Deny,
    /// It depends on the table that has the file, which was not looked up.
    Unknown,
}

/// A rule for what the sender of one request may do.
pub trait Authorizer {
    /// Says whether the sender may do `action`, as IAM spells it, on `resource`. `facts` are condition keys that the operation
    /// knows, and their values.
    fn decide(
        &self,
        action: &'static str,
        resource: &Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Decision;

    /// The same for an object and all whose keys begin with its key: see [`Access::allows_below`].
    fn decide_below(&self, action: &'static str, object: &Resource<'_>) -> Decision {
        self.decide(action, object, &[])
    }

    /// See [`Access::wants_table_ids`].
    fn wants_table_ids(&self, warehouse: &str) -> bool {
        let _ = warehouse;
        false
    }

    /// See [`Access::look_up`].
    fn look_up(&self, objects: &[Resource<'_>]) -> Option<LookUp<'_>> {
        let _ = objects;
        None
    }

    /// See [`Access::vend`].
    fn vend(&self, wanted: &VendRequest<'_>) -> Option<Vended> {
        let _ = wanted;
        None
    }

    /// See [`Caller::wants_object_tags`].
    fn wants_object_tags(&self, bucket: &str) -> bool {
        let _ = bucket;
        false
    }

    /// See [`Caller::know_tags`].
    fn know_tags(&self, bucket: &str, key: &[u8], tags: TagSet) {
        drop((bucket, key, tags));
    }

    /// See [`Caller::known_tags`].
    fn known_tags(&self, bucket: &str, key: &[u8]) -> Option<TagSet> {
        let _ = (bucket, key);
        None
    }

    /// See [`Caller::give_tags`].
    fn give_tags(&self, tags: TagSet) {
        drop(tags);
    }

    /// See [`Caller::found_tags`].
    fn found_tags(&self, bucket: &str, key: &[u8], tags: &TagSet) -> bool {
        let _ = (bucket, key, tags);
        false
    }
}

/// The sender of one request together with the rule for it; travels with the request to whatever it touches.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Who it is.
    pub sender: &'a Sender,
    authorizer: &'a dyn Authorizer,
}

impl<'a> Caller<'a> {
    /// Brings both together.
    pub fn new(sender: &'a Sender, authorizer: &'a dyn Authorizer) -> Caller<'a> {
        Caller { sender, authorizer }
    }

    /// Returns whether the sender may do an operation on what its head names. For an operation that is judged on what
    /// its body names the answer is yes: it asks by itself when it knows. `action` is the operation's own, or that of a
    /// version.
    pub async fn may(
        &self,
        facts: &OperationFacts,
        action: &'static str,
        resource: Resource<'_>,
    ) -> Result<bool, LookUpError> {
        match facts.named {
            NamedIn::Head => self.permits(action, resource, &[]).await,
            NamedIn::Body => Ok(true),
        }
    }

    /// As [`Access::allows_with`], and has looked up what the answer depends on.
    pub async fn permits(
        &self,
        action: &'static str,
        resource: Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Result<bool, LookUpError> {
        let said = match self.authorizer.decide(action, &resource, facts) {
            Decision::Unknown => {
                let prefix = facts.iter().find(|(key, _)| *key == PREFIX);
                let object = match (resource, prefix) {
                    (Resource::Bucket(bucket), Some((_, key))) => {
                        Resource::Object { bucket, key: key.as_bytes() }
                    }
                    _ => resource,
                };
                if let Some(look_up) = self.authorizer.look_up(&[object]) {
                    look_up.await?;
                }
                self.authorizer.decide(action, &resource, facts)
            }
            said => said,
        };
        Ok(said == Decision::Allow)
    }
}

impl Caller<'_> {
    /// Returns whether what the sender may do in `bucket` depends on tags of its objects: then who asks about one says first
    /// which it has.
    pub(crate) fn wants_object_tags(&self, bucket: &str) -> bool {
        self.authorizer.wants_object_tags(bucket)
    }

    /// Says which tags an object has, for what is asked next. Of an object that is not there: none.
    pub(crate) fn know_tags(&self, bucket: &str, key: &[u8], tags: TagSet) {
        self.authorizer.know_tags(bucket, key, tags);
    }

    /// The tags by which an object was judged; `None` where nothing depends on them.
    pub(crate) fn known_tags(&self, bucket: &str, key: &[u8]) -> Option<TagSet> {
        self.authorizer.known_tags(bucket, key)
    }

    /// Says which tags the request's body gives to its object, for what is asked next.
    pub(crate) fn give_tags(&self, tags: TagSet) {
        self.authorizer.give_tags(tags);
    }

    /// Says which tags an object was found with. Returns whether it was judged by others, so that what was asked about it has
    /// to be asked again.
    pub(crate) fn found_tags(&self, bucket: &str, key: &[u8], tags: &TagSet) -> bool {
        self.authorizer.found_tags(bucket, key, tags)
    }
}

impl Access for Caller<'_> {
    fn allows_with(
        &self,
        action: &'static str,
        resource: Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> bool {
        self.authorizer.decide(action, &resource, facts) == Decision::Allow
    }

    fn allows_below(&self, action: &'static str, bucket: &str, prefix: &str) -> bool {
        let object = Resource::Object { bucket, key: prefix.as_bytes() };
        self.authorizer.decide_below(action, &object) == Decision::Allow
    }

    fn wants_table_ids(&self, warehouse: &str) -> bool {
        self.authorizer.wants_table_ids(warehouse)
    }

    fn look_up(&self, objects: &[Resource<'_>]) -> Option<LookUp<'_>> {
        self.authorizer.look_up(objects)
    }

    fn owner(&self) -> Option<Bytes> {
        self.sender.user.as_ref().map(|user| Bytes::copy_from_slice(user.id.as_bytes()))
    }

    fn kept(&self) -> KeptPrincipal {
        self.sender.kept()
    }

    fn vend(&self, wanted: &VendRequest<'_>) -> Option<Vended> {
        self.authorizer.vend(wanted)
    }
}
