//! The policy language, IAM's JSON, and its evaluator. Pure: a question and its context in, a verdict out.
//!
//! The identity model keeps [`Policy`]s and makes a [`PolicySet`] of those of one principal; the authorizer asks it a
//! [`Question`] for every thing that a request touches. In path order: `json` and `document` read the text, `key` names
//! what can be asked of a request, `pattern`, `actions`, `resource`, `principal` and `condition` are the parts of a
//! statement, `set` decides; `canned` holds the policies that every store has.
//! I1. An explicit Deny wins over every Allow, and what nothing allows is not allowed. I2. What is not understood is
//! refused when it is read, never skipped when it is asked. I3. Deciding never panics, and waits for nothing.

mod json;
mod moment;
mod key;
mod pattern;
mod actions;
mod resource;
mod principal;
mod condition;
mod document;
mod set;
mod canned;
mod fuzz;
#[cfg(test)]
mod tests;

pub use actions::{data_action, known_actions};
pub use canned::{CANNED, Canned};
pub(crate) use document::count_characters;
pub use document::{Policy, PolicyError, PolicyKind};
pub use fuzz::fuzz_policy;
pub use key::{ConditionKey, Context, NoContext, Value};
pub use set::{PolicySet, PrincipalNames, Question, StatementId, Verdict};
