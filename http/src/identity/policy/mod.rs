//! The policy language, IAM's JSON, and its evaluator. Pure: a question and its context in, a verdict out.
//!
//! The identity model keeps [`Policy`]s and makes a [`PolicySet`] of those of one principal; the authorizer asks it a
//! [`Question`] for every thing that a request touches. In path order: `document` reads the JSON, `key` names what can be
//! asked of a request, `set` decides.
//! I1. An explicit Deny wins over every Allow, and what nothing allows is not allowed. I2. What is not understood is
//! refused when it is read, never skipped when it is asked. I3. Deciding never panics, and waits for nothing.

mod key;
mod document;
mod set;

pub use document::{Policy, PolicyError, PolicyKind};
pub use key::{ConditionKey, Context, NoContext, Value};
pub use set::{PolicySet, PrincipalNames, Question, StatementId, Verdict};
