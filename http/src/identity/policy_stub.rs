//! stub
use super::policy::{Policy, PolicyError};
#[expect(missing_docs, reason = "stub")]
impl Policy {
    pub fn is_public(&self) -> bool {
        false
    }
    pub fn check_bucket(&self, _b: &str) -> Result<(), PolicyError> {
        Ok(())
    }
}
