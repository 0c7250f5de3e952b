//! What a sender may do whose request has ended: for work that goes on behind it, also after a restart.
//!
//! The catalog's purges ask it, on any core, about files outside of a table's own locations. I1. Root may. I2. Users may
//! nothing there: a bucket's policy may deny it to them, and is not seen here; their files stay and are reported. I3. Sessions
//! and nobody in particular may nothing: what narrowed them is gone with the request.

use std::sync::Arc;

use nilas_catalog::access::{KeptAccess, KeptPrincipal, Resource};
use nilas_engine::rt;

use crate::identity::store::IdentityCell;
use crate::identity::{Sender, SenderKind};

/// The rights of kept principals.
#[derive(Clone)]
pub struct KeptRights {
    /// Who there is.
    pub identities: Arc<IdentityCell>,
}

impl KeptAccess for KeptRights {
    fn allows(&self, who: &KeptPrincipal, _action: &'static str, _resource: Resource<'_>) -> bool {
        let sender = Sender::of_kept(&self.identities.current(), who, rt::now_ms());
        sender.is_some_and(|sender| sender.kind == SenderKind::Root)
    }
}
