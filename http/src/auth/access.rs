//! Who sent a request, and the one to ask what they may do.
//!
//! The gateway makes a [`Caller`] of what authentication found and asks it before an operation runs; operations that
//! touch more than their target (a copy's source, each key of DeleteObjects, each table of a transaction) ask it for
//! each of those. I1. Nothing is acted on before it was asked for. I2. Asking allocates nothing: resources are borrowed.

use nilas_catalog::access::{Access, KeptAccess, KeptPrincipal, NamedIn, OperationFacts, Resource};

/// What kind of sender it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// Holds the root key.
    Root,
    /// Showed nothing, or was not asked to.
    Anonymous,
}

impl PrincipalKind {
    /// Returns the name under which it is kept with work that outlives the request.
    fn name(self) -> &'static str {
        match self {
            PrincipalKind::Root => "root",
            PrincipalKind::Anonymous => "anonymous",
        }
    }

    /// A name that is not known here is nobody's in particular.
    fn of_name(name: &str) -> PrincipalKind {
        match name {
            "root" => PrincipalKind::Root,
            _ => PrincipalKind::Anonymous,
        }
    }
}

/// The sender of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal<'a> {
    /// What kind it is.
    pub kind: PrincipalKind,
    /// The access key whose secret was proven; empty when none was.
    pub access_key: &'a str,
}

impl<'a> Principal<'a> {
    /// The sender who proved to hold the secret of `access_key`, or nobody in particular. The root key is the only one
    /// there is.
    pub fn of(access_key: Option<&'a str>) -> Principal<'a> {
        match access_key {
            Some(access_key) => Principal { kind: PrincipalKind::Root, access_key },
            None => Principal { kind: PrincipalKind::Anonymous, access_key: "" },
        }
    }
}

/// What an evaluator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The sender may.
    Allow,
    /// The sender may not.
    Deny,
}

/// A rule for who may do what.
pub trait Authorizer {
    /// Says whether `principal` may do `action`, as IAM spells it, on `resource`. `facts` are condition keys that the operation
    /// knows, and their values.
    fn decide(
        &self,
        principal: &Principal<'_>,
        action: &'static str,
        resource: &Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Decision;

    /// See [`Access::wants_table_ids`].
    fn wants_table_ids(&self, warehouse: &str) -> bool {
        let _ = warehouse;
        false
    }
}

/// The rule of today: the root key may do everything, everybody may have what is public, and nobody anything else.
#[derive(Clone, Copy, Debug)]
pub struct RootOnly;

impl Authorizer for RootOnly {
    fn decide(
        &self,
        principal: &Principal<'_>,
        _action: &'static str,
        resource: &Resource<'_>,
        _facts: &[(&'static str, &str)],
    ) -> Decision {
        match (principal.kind, resource) {
            (PrincipalKind::Root, _) | (PrincipalKind::Anonymous, Resource::Public) => Decision::Allow,
            (PrincipalKind::Anonymous, _) => Decision::Deny,
        }
    }
}

/// The root key may be another one by now: its holder is root all the same.
impl KeptAccess for RootOnly {
    fn allows(&self, who: &KeptPrincipal, action: &'static str, resource: Resource<'_>) -> bool {
        let principal = Principal { kind: PrincipalKind::of_name(&who.kind), access_key: &who.access_key };
        self.decide(&principal, action, &resource, &[]) == Decision::Allow
    }
}

/// The sender of one request together with the rule for it; travels with the request to whatever it touches.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Who it is.
    pub principal: Principal<'a>,
    authorizer: &'a dyn Authorizer,
}

impl<'a> Caller<'a> {
    /// Brings both together.
    pub fn new(principal: Principal<'a>, authorizer: &'a dyn Authorizer) -> Caller<'a> {
        Caller { principal, authorizer }
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

impl Access for Caller<'_> {
    fn allows_with(
        &self,
        action: &'static str,
        resource: Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> bool {
        self.authorizer.decide(&self.principal, action, &resource, facts) == Decision::Allow
    }

    fn wants_table_ids(&self, warehouse: &str) -> bool {
        self.authorizer.wants_table_ids(warehouse)
    }

    fn kept(&self) -> KeptPrincipal {
        let Principal { kind, access_key } = self.principal;
        KeptPrincipal { kind: kind.name().to_owned(), id: String::new(), access_key: access_key.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_only() {
        let check = |principal: Principal<'_>, resource: Resource<'_>, want: bool| {
            let caller = Caller::new(principal, &RootOnly);
            assert_eq!(caller.allows("s3:GetObject", resource), want, "{principal:?} {resource:?}");
        };
        let object = Resource::Object { bucket: "b", key: b"k" };
        check(Principal::of(Some("AK")), object, true);
        check(Principal::of(Some("AK")), Resource::Service, true);
        check(Principal::of(Some("AK")), Resource::Public, true);
        check(Principal::of(None), Resource::Public, true);
        check(Principal::of(None), Resource::Service, false);
        check(Principal::of(None), object, false);
    }

    #[test]
    fn kept_principals() {
        let check = |principal: Principal<'_>, want: bool| {
            let caller = Caller::new(principal, &RootOnly);
            let kept = caller.kept();
            let object = Resource::Object { bucket: "b", key: b"k" };
            assert_eq!(KeptAccess::allows(&RootOnly, &kept, "s3:DeleteObject", object), want, "{kept:?}");
        };
        check(Principal::of(Some("AK")), true);
        check(Principal::of(None), false);
        let unknown = KeptPrincipal { access_key: "AK".to_owned(), ..KeptPrincipal::default() };
        assert!(!KeptAccess::allows(&RootOnly, &unknown, "s3:GetObject", Resource::Bucket("b")));
    }
}
