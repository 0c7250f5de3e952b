//! A policy as it is written: reads the JSON and refuses, with the place, what is not understood.

use std::fmt;

use serde_json::Value;

use super::set::Question;

/// What a policy is attached to, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// Of a user, a group or a key.
    Identity,
    /// Of a session.
    Session,
    /// Of a bucket: it names principals, which the others must not.
    Bucket,
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Where: `Statement[1].Condition.StringLike`, or line and column of what is no JSON. Empty: the whole.
    pub at: String,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.is_empty() {
            true => f.write_str(&self.why),
            false => write!(f, "{}: {}", self.at, self.why),
        }
    }
}

impl std::error::Error for PolicyError {}

/// A policy that was understood. Never changes.
#[derive(Debug)]
pub struct Policy {
    pub(super) name: Box<str>,
    text: Box<str>,
    pub(super) statements: Vec<Statement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sid: Option<Box<str>>,
    pub(super) effect: Effect,
    actions: Vec<String>,
    resources: Vec<String>,
}

impl Policy {
    /// Reads a policy. Decisions call it `name`; `account` is the account of this store, 12 digits.
    pub fn parse(text: &str, kind: PolicyKind, name: &str, account: &str) -> Result<Policy, PolicyError> {
        let _ = (kind, account);
        let refuse = |at: &str, why: &str| PolicyError { at: at.to_owned(), why: why.to_owned() };
        let value: Value = serde_json::from_str(text).map_err(|error| PolicyError {
            at: format!("{}:{}", error.line(), error.column()),
            why: "no JSON".to_owned(),
        })?;
        let statements = match value.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().collect(),
            Some(one) => vec![one],
            None => return Err(refuse("Statement", "it is missing")),
        };
        let statements = statements
            .into_iter()
            .enumerate()
            .map(|(nth, statement)| {
                let at = |member: &str| format!("Statement[{nth}].{member}");
                let effect = match statement.get("Effect").and_then(Value::as_str) {
                    Some("Allow") => Effect::Allow,
                    Some("Deny") => Effect::Deny,
                    _ => return Err(refuse(&at("Effect"), "neither Allow nor Deny")),
                };
                let list = |member: &str| match statement.get(member) {
                    Some(Value::String(one)) => Ok(vec![one.clone()]),
                    Some(Value::Array(many)) => {
                        Ok(many.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                    }
                    _ => Err(refuse(&at(member), "neither a text nor a list of texts")),
                };
                let known = ["Sid", "Effect", "Action", "Resource"];
                let unknown = statement
                    .as_object()
                    .and_then(|members| members.keys().find(|member| !known.contains(&member.as_str())));
                if let Some(member) = unknown {
                    return Err(refuse(&at(member), "not a member of a statement"));
                }
                let sid = statement.get("Sid").and_then(Value::as_str).map(Into::into);
                Ok(Statement { sid, effect, actions: list("Action")?, resources: list("Resource")? })
            })
            .collect::<Result<_, _>>()?;
        Ok(Policy { name: name.into(), text: text.into(), statements })
    }

    /// Returns the policy as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns what decisions call it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Statement {
    pub(super) fn speaks_of(&self, question: &Question<'_>) -> bool {
        let action = question.action.to_ascii_lowercase();
        self.actions.iter().any(|pattern| fits(pattern.to_ascii_lowercase().as_bytes(), action.as_bytes()))
            && self.resources.iter().any(|pattern| fits(pattern.as_bytes(), question.resource.as_bytes()))
    }
}

/// Whether `text` fits a pattern of `*` and `?`.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
