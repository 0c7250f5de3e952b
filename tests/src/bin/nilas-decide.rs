//! Answers questions about policies, one JSON document on each line of its input, for the client suite `policy`.
//!
//! In: `{"kind": "identity" | "bucket", "policies": [text], "account", "action", "resource", "principal": ARN or null,
//! "context": {key: text or [text]}}`. Out, a line for each: `allow`, `deny`, `nothing`, or `refused` and the reason.

use std::borrow::Cow;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;

use nilas_http::identity::policy::{
    ConditionKey, Context, Policy, PolicyKind, PolicySet, PrincipalNames, Question, Value, Verdict,
};
use serde_json::Value as Json;

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return ExitCode::FAILURE };
        let answer = match serde_json::from_str(&line) {
            Ok(question) => decide(&question),
            Err(error) => format!("no question: {error}"),
        };
        if writeln!(out, "{}", answer.replace('\n', " ")).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn decide(asked: &Json) -> String {
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    let kind = if text("kind") == "bucket" { PolicyKind::Bucket } else { PolicyKind::Identity };
    let account = text("account");
    let mut policies = Vec::new();
    for policy in asked["policies"].as_array().into_iter().flatten() {
        match Policy::parse(policy.as_str().unwrap_or_default(), kind, "p", account) {
            Ok(policy) => policies.push(Arc::new(policy)),
            Err(error) => return format!("refused {error}"),
        }
    }
    let arns = [text("principal")];
    let principal = match asked["principal"].as_str() {
        Some(_) => PrincipalNames { anonymous: false, arns: &arns, user_id: "", canonical_id: "", account },
        None => PrincipalNames::ANONYMOUS,
    };
    let context = Keys(&asked["context"]);
    let question = Question {
        action: text("action"),
        resource: text("resource"),
        principal: &principal,
        context: &context,
    };
    match PolicySet::new(policies).decide(&question) {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::Deny(_) => "deny".to_owned(),
        Verdict::Nothing => "nothing".to_owned(),
    }
}

/// The keys of a request, as an object.
struct Keys<'a>(&'a Json);

impl Context for Keys<'_> {
    fn value(&self, key: &ConditionKey) -> Value<'_> {
        let members = self.0.as_object().into_iter().flatten();
        let mut named = members.filter(|(name, _)| ConditionKey::parse(name) == *key).map(|(_, value)| value);
        match named.next() {
            Some(Json::String(one)) => Value::One(Cow::Borrowed(one)),
            Some(Json::Array(many)) => {
                Value::Many(many.iter().filter_map(Json::as_str).map(Cow::Borrowed).collect())
            }
            _ => Value::Absent,
        }
    }
}
