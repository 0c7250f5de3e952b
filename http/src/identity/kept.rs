//! What a sender may do whose request has ended: for work that goes on behind it, also after a restart.
//!
//! The catalog's purges ask it, on any core, about files outside of their warehouse. I1. Users are judged by their rights
//! as they are now, and by the policy of the key that they came with. I2. Sessions and nobody in particular may nothing:
//! what narrowed them is gone with the request.

use std::sync::Arc;

use http::HeaderMap;
use nilas_catalog::access::{KeptAccess, KeptPrincipal, Resource};
use nilas_engine::rt;

use crate::audit::Decisions;
use crate::auth::Mechanism;
use crate::identity::access::{Authorizer as _, Decision};
use crate::identity::store::IdentityCell;
use crate::identity::{Evaluator, RequestFacts, RulesCache, Sender};

/// The rights of kept principals.
#[derive(Clone)]
pub struct KeptRights {
    /// Who there is.
    pub identities: Arc<IdentityCell>,
}

impl KeptAccess for KeptRights {
    fn allows(&self, who: &KeptPrincipal, action: &'static str, resource: Resource<'_>) -> bool {
        let now_ms = rt::now_ms();
        let Some(sender) = Sender::of_kept(&self.identities.current(), who, now_ms) else { return false };
        let request = RequestFacts {
            headers: &HeaderMap::new(),
            query: None,
            source: None,
            secure: false,
            mechanism: Mechanism::Unsigned,
            signed_ms: None,
            region: "",
            now_ms,
            given: &[],
        };
        let (rules, notes) = (RulesCache::new(), Decisions::default());
        let evaluator = Evaluator::new(&sender, request, None, &rules, &notes);
        evaluator.decide(action, &resource, &[]) == Decision::Allow
    }
}
