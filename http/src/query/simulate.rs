//! Simulations: what policies say to questions, by the evaluator that judges requests.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::answer::{self, Page};
use super::{Ask, Operation, Plan, QueryError};
use crate::identity::model::{Entity, Fault, Grants};
use crate::identity::policy::{
    ConditionKey, Context, Policy, PolicyKind, PolicySet, PrincipalNames, Question, Value, Verdict,
};
use crate::limits::SIMULATED_MAX;

/// What the form says of the request that is simulated.
struct Given<'a> {
    entries: Vec<(ConditionKey, Vec<&'a str>)>,
}

impl Context for Given<'_> {
    fn value(&self, key: &ConditionKey) -> Value<'_> {
        let entry = self.entries.iter().find(|(held, _)| held == key);
        match entry.map(|(_, values)| values.as_slice()) {
            None => Value::Absent,
            Some([one]) => Value::One(Cow::Borrowed(one)),
            Some(values) => Value::Many(values.iter().map(|value| Cow::Borrowed(*value)).collect()),
        }
    }
}

impl<'a> Given<'a> {
    fn parse(ask: &Ask<'a>) -> Result<Given<'a>, QueryError> {
        let names = ask.form.structures("ContextEntries", ["ContextKeyName"]);
        let entries = names.enumerate().map(|(nth, [name])| {
            let name = name.ok_or(QueryError::Missing { name: "ContextEntries.ContextKeyName" })?;
            let list = format!("ContextEntries.member.{}.ContextKeyValues", nth + 1);
            Ok((ConditionKey::parse(name), ask.form.list(&list).collect()))
        });
        Ok(Given { entries: entries.collect::<Result<_, QueryError>>()? })
    }

    /// Names of the keys that policies ask for and that nothing is said of.
    fn missing(&self, sets: &[&PolicySet]) -> BTreeSet<String> {
        let asked = sets.iter().flat_map(|set| set.keys());
        asked
            .filter(|key| self.entries.iter().all(|(held, _)| held != *key))
            .map(ConditionKey::to_string)
            .collect()
    }

    /// Gives a value that the form does not give.
    fn default(&mut self, key: ConditionKey, value: &'a str) {
        if self.entries.iter().all(|(held, _)| *held != key) {
            self.entries.push((key, vec![value]));
        }
    }
}

pub(super) fn plan(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let mut given = Given::parse(ask)?;
    let mut policies = Vec::new();
    let mut arns = Vec::new();
    match ask.operation {
        Operation::SimulatePrincipalPolicy | Operation::GetContextKeysForPrincipalPolicy => {
            let arn = ask.form.need("PolicySourceArn")?;
            ask.may(arn)?;
            policies.extend(source(ask, arn, &mut given)?);
            arns.push(arn);
        }
        _ => ask.may_all()?,
    }
    for (nth, text) in ask.form.list("PolicyInputList").enumerate() {
        let name = format!("PolicyInputList.{}", nth + 1);
        policies.push(parse(ask, text, PolicyKind::Identity, &name)?);
    }
    if matches!(
        ask.operation,
        Operation::GetContextKeysForPrincipalPolicy | Operation::GetContextKeysForCustomPolicy
    ) {
        return context_keys(ask, PolicySet::new(policies));
    }
    let resource_policy = ask.form.get("ResourcePolicy");
    let resource_policy =
        resource_policy.map(|text| parse(ask, text, PolicyKind::Bucket, "ResourcePolicy")).transpose()?;
    if let Some(caller) = ask.form.get("CallerArn") {
        arns = vec![caller];
    }
    let identity = PolicySet::new(policies);
    let resource = PolicySet::new(resource_policy);
    let missing = given.missing(&[&identity, &resource]);
    let principal = PrincipalNames {
        anonymous: false,
        arns: &arns,
        user_id: "",
        canonical_id: "",
        account: ask.model.account(),
    };

    let actions: Vec<&str> = ask.form.list("ActionNames").collect();
    let mut resources: Vec<&str> = ask.form.list("ResourceArns").collect();
    if actions.is_empty() {
        return Err(QueryError::Missing { name: "ActionNames" });
    }
    if resources.is_empty() {
        resources.push("*");
    }
    if SIMULATED_MAX < actions.len().saturating_mul(resources.len()) {
        return Err(Fault::LimitExceeded { limit: "SIMULATED_MAX", max: SIMULATED_MAX }.into());
    }
    let pairs = actions.iter().flat_map(|action| resources.iter().map(move |resource| (*action, *resource)));
    let part = Page::parse(ask.form)?.take(pairs.enumerate().map(|(nth, pair)| (format!("{nth:06}"), pair)));
    Plan::tell(|xml| {
        part.write(xml, "EvaluationResults", |xml, (action, arn)| {
            let question = Question { action, resource: arn, principal: &principal, context: &given };
            let (decision, by) = combine(identity.decide(&question), resource.decide(&question));
            xml.text("EvalActionName", action);
            xml.text("EvalResourceName", arn);
            xml.text("EvalDecision", decision);
            answer::members(xml, "MatchedStatements", by, |xml, statement| {
                xml.text("SourcePolicyId", &statement);
                xml.text("SourcePolicyType", "IAM Policy");
            });
            answer::members(xml, "MissingContextValues", missing.iter(), |xml, key| xml.value(key));
        });
    })
}

/// The names of all condition keys that policies ask for.
fn context_keys(ask: &Ask<'_>, policies: PolicySet) -> Result<Plan, QueryError> {
    if ask.operation == Operation::GetContextKeysForCustomPolicy
        && ask.form.get("PolicyInputList.member.1").is_none()
    {
        return Err(QueryError::Missing { name: "PolicyInputList" });
    }
    let names: BTreeSet<String> = policies.keys().iter().map(ConditionKey::to_string).collect();
    Plan::tell(|xml| answer::members(xml, "ContextKeyNames", names.iter(), |xml, name| xml.value(name)))
}

/// A Deny in either refuses, an Allow in either allows: all principals are of one account.
fn combine(identity: Verdict<'_>, resource: Verdict<'_>) -> (&'static str, Option<String>) {
    match (identity, resource) {
        (Verdict::Deny(by), _) | (_, Verdict::Deny(by)) => ("explicitDeny", Some(by.to_string())),
        (Verdict::Allow(by), _) | (_, Verdict::Allow(by)) => ("allowed", Some(by.to_string())),
        (Verdict::Nothing, Verdict::Nothing) => ("implicitDeny", None),
    }
}

fn parse(ask: &Ask<'_>, text: &str, kind: PolicyKind, name: &str) -> Result<Arc<Policy>, QueryError> {
    let policy = Policy::parse(text, kind, name, ask.model.account());
    Ok(Arc::new(policy.map_err(Fault::MalformedPolicyDocument)?))
}

/// The policies of the user or group that an ARN names.
fn source<'a>(ask: &Ask<'a>, arn: &str, given: &mut Given<'a>) -> Result<Vec<Arc<Policy>>, QueryError> {
    let no_such = |entity| QueryError::Fault(Fault::NoSuchEntity { entity, name: arn.to_owned() });
    let name = arn.rsplit('/').next().unwrap_or(arn);
    if let Some(user) = ask.model.user(name).filter(|user| ask.model.user_arn(user) == arn) {
        given.default(ConditionKey::Username, &user.name);
        given.default(ConditionKey::UserId, &user.id);
        let groups = ask.model.groups_of(user).map(|group| &group.grants);
        return Ok(std::iter::once(&user.grants)
            .chain(groups)
            .flat_map(|grants| granted(ask, grants))
            .collect());
    }
    let group = ask.model.group(name).filter(|group| ask.model.group_arn(group) == arn);
    match group {
        Some(group) => Ok(granted(ask, &group.grants)),
        None if arn.contains(":group/") => Err(no_such(Entity::Group)),
        None => Err(no_such(Entity::User)),
    }
}

fn granted(ask: &Ask<'_>, grants: &Grants) -> Vec<Arc<Policy>> {
    ask.model.granted(grants).collect()
}
