//! The one to ask what the sender of a request may do.
//!
//! The gateway makes a [`Caller`] of what authentication found and asks it before an operation runs; operations that
//! touch more than their target (a copy's source, each key of DeleteObjects, each table of a transaction) ask it for
//! each of those. I1. Nothing is acted on before it was asked for.

use nilas_catalog::access::{Access, KeptPrincipal, NamedIn, OperationFacts, Resource, VendRequest, Vended};

use crate::identity::Sender;
use crate::s3::tags::TagSet;

/// What an evaluator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The sender may.
    Allow,
    /// The sender may not.
    Deny,
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

    /// See [`Access::wants_table_ids`].
    fn wants_table_ids(&self, warehouse: &str) -> bool {
        let _ = warehouse;
        false
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
    /// its body names the answer is yes: it asks by itself when it knows.
    pub fn may(&self, facts: &OperationFacts, resource: Resource<'_>) -> bool {
        match facts.named {
            NamedIn::Head => self.allows(facts.action, resource),
            NamedIn::Body => true,
        }
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

    fn wants_table_ids(&self, warehouse: &str) -> bool {
        self.authorizer.wants_table_ids(warehouse)
    }

    fn kept(&self) -> KeptPrincipal {
        self.sender.kept()
    }

    fn vend(&self, wanted: &VendRequest<'_>) -> Option<Vended> {
        self.authorizer.vend(wanted)
    }
}
