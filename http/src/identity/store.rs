//! stub
use super::model::Model;
use std::sync::Arc;
#[derive(Clone, Debug)]
pub struct IdentityStore(pub Arc<Model>);
impl IdentityStore {
    pub fn current(&self) -> Arc<Model> {
        self.0.clone()
    }
}
