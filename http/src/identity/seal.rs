//! stub
use super::session::TokenKey;
#[derive(Clone, Debug)]
pub struct SealKeys(pub TokenKey);
impl SealKeys {
    pub fn session_key(&self) -> &TokenKey {
        &self.0
    }
}
