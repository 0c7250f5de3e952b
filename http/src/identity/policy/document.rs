//! A policy as it is written: reads the JSON and refuses, with the place, what is not understood.
//!
//! The identity model and the operations on bucket policies call [`Policy::parse`] before they keep a text. Source: IAM
//! User Guide, "Grammar of the IAM JSON policy language". I1. A text that is accepted means the same for as long as it is
//! kept. I2. Names of members are compared by case, as in AWS.

use std::collections::HashSet;
use std::fmt;

use super::actions::{self, ActionPattern, ActionSet, DATA_ACTIONS};
use super::condition::{Condition, Operator};
use super::json::{self, Node};
use super::key::{ConditionKey, Context};
use super::pattern::Reach;
use super::principal::{PrincipalType, Principals};
use super::resource::{Named, ResourcePattern};
use super::set::Question;
use crate::limits::{
    BUCKET_POLICY_BYTES_MAX, IDENTITY_POLICY_BYTES_MAX, IDENTITY_POLICY_CHARACTERS_MAX,
    POLICY_STATEMENTS_MAX, POLICY_VALUES_MAX, SESSION_POLICY_CHARS_MAX,
};

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
    kind: PolicyKind,
    pub(super) statements: Box<[Statement]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// One statement.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sid: Option<Box<str>>,
    pub(super) effect: Effect,
    /// Of policies of buckets only.
    pub(super) principals: Option<Principals>,
    pub(super) actions: ActionSet,
    pub(super) resources: Box<[ResourcePattern]>,
    pub(super) not_resources: bool,
    pub(super) conditions: Box<[Condition]>,
}

impl Policy {
    /// Reads a policy. Decisions call it `name`; `account` is the account of this store, 12 digits.
    pub fn parse(text: &str, kind: PolicyKind, name: &str, account: &str) -> Result<Policy, PolicyError> {
        let over = |got: usize, unit: &str, max: usize| PolicyError {
            at: String::new(),
            why: format!("the policy has {got} {unit}, more than {max}"),
        };
        let (got, unit, max) = match kind {
            PolicyKind::Identity => (text.len(), "bytes with its blanks", IDENTITY_POLICY_BYTES_MAX),
            PolicyKind::Session => (text.chars().count(), "characters", SESSION_POLICY_CHARS_MAX),
            PolicyKind::Bucket => (text.len(), "bytes", BUCKET_POLICY_BYTES_MAX),
        };
        if got > max {
            return Err(over(got, unit, max));
        }
        let characters = count_characters(text);
        if kind == PolicyKind::Identity && characters > IDENTITY_POLICY_CHARACTERS_MAX {
            return Err(over(characters, "characters", IDENTITY_POLICY_CHARACTERS_MAX));
        }
        let mut reader = Reader { kind, account, has_variables: false, values: 0 };
        let statements = reader.policy(&json::parse(text)?)?;
        Ok(Policy { name: name.into(), text: text.into(), kind, statements })
    }

    /// Returns the policy as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns what decisions call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts its characters as AWS does for its quotas: blanks are not counted.
    pub fn characters(&self) -> usize {
        count_characters(&self.text)
    }

    /// Says whether it can be the policy of `bucket`: each resource is that bucket or something in it, and each action
    /// is one that such a resource can be asked for.
    pub fn check_bucket(&self, bucket: &str) -> Result<(), PolicyError> {
        for (nth, statement) in self.statements.iter().enumerate() {
            let refuse = |member: &str, why: String| {
                Err(PolicyError { at: format!("Statement[{nth}].{member}"), why })
            };
            let resources = if statement.not_resources { "NotResource" } else { "Resource" };
            let mut kinds = [false; 3];
            for (at, resource) in statement.resources.iter().enumerate() {
                let named = resource.kinds_in(bucket);
                if named == [false; 3] {
                    return refuse(
                        &format!("{resources}[{at}]"),
                        format!("Policy has invalid resource: nothing of the bucket {bucket}"),
                    );
                }
                kinds = [0, 1, 2].map(|kind| kinds[kind] || named[kind]);
            }
            if statement.not_resources || statement.actions.is_negated() {
                continue;
            }
            for (at, action) in statement.actions.patterns().iter().enumerate() {
                let on = action.bucket_kinds();
                if ![0, 1, 2].iter().any(|kind: &usize| on[*kind] && kinds[*kind]) {
                    let why = match on != [false; 3] {
                        true => "Action does not apply to any resource(s) in statement",
                        false => "Policy has invalid action: none of a bucket or its objects",
                    };
                    return refuse(&format!("Action[{at}]"), why.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Whether a bucket with this policy is public, as S3 means it: an Allow for everybody (or for whomever somebody else
    /// vouches for) that is not bound to fixed senders, accounts or networks.
    pub fn is_public(&self) -> bool {
        let is_narrowing = |key: &ConditionKey| match key {
            ConditionKey::PrincipalArn
            | ConditionKey::PrincipalAccount
            | ConditionKey::UserId
            | ConditionKey::SourceIp
            | ConditionKey::EncryptionKeyId => true,
            ConditionKey::Unknown(name) => NARROWING.contains(&&**name),
            _ => false,
        };
        self.kind == PolicyKind::Bucket
            && self.statements.iter().any(|statement| {
                statement.effect == Effect::Allow
                    && statement.principals.as_ref().is_some_and(Principals::is_open)
                    && !statement.conditions.iter().any(|condition| condition.narrows(is_narrowing))
            })
    }
}

/// Further keys that bind a statement to fixed senders; no request here has them.
const NARROWING: [&str; 9] = [
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourcearn",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:sourceaccount",
    "s3:dataaccesspointarn",
    "s3:dataaccesspointaccount",
];

/// Counts characters as AWS does for its quotas: blanks are not counted.
pub(crate) fn count_characters(text: &str) -> usize {
    text.chars().filter(|one| !one.is_whitespace()).count()
}

impl Statement {
    /// Whether it speaks of a question, asked the long way.
    pub(super) fn speaks_of(&self, question: &Question<'_>, named: &Named<'_>) -> bool {
        self.actions.contains(question.action)
            && self.resources_fit(named, question.context)
            && self.rest_holds(question)
    }

    /// Whether a resource is one that it speaks of.
    pub(super) fn resources_fit(&self, named: &Named<'_>, context: &dyn Context) -> bool {
        let mut fits = self.resources.iter().map(|pattern| pattern.fits(named, context));
        match self.not_resources {
            false => fits.any(|fits| fits == Some(true)),
            // One whose variable has no value could be the one that is left out.
            true => fits.all(|fits| fits == Some(false)),
        }
    }

    /// Whether it speaks of a question for all that begins with the resource: an Allow when it allows all of that, a Deny when
    /// it may deny some of it.
    pub(super) fn speaks_below(&self, question: &Question<'_>, named: &Named<'_>) -> bool {
        self.actions.contains(question.action)
            && self.resources_reach(named, question.context)
            && self.rest_holds(question)
    }

    fn resources_reach(&self, named: &Named<'_>, context: &dyn Context) -> bool {
        let mut reach = self.resources.iter().map(|pattern| pattern.reach(named, context));
        match (self.effect, self.not_resources) {
            (Effect::Allow, false) => reach.any(|reach| reach == Some(Reach::All)),
            (Effect::Allow, true) => reach.all(|reach| reach == Some(Reach::Nothing)),
            (Effect::Deny, false) => reach.any(|reach| matches!(reach, Some(Reach::Some | Reach::All))),
            (Effect::Deny, true) => reach.all(|reach| matches!(reach, Some(Reach::Nothing | Reach::Some))),
        }
    }

    /// Whether principals and conditions let it speak.
    pub(super) fn rest_holds(&self, question: &Question<'_>) -> bool {
        self.principals
            .as_ref()
            .is_none_or(|principals| principals.mean(question.principal, self.effect == Effect::Allow))
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(question.context, self.effect == Effect::Deny))
    }

    /// Whether it can say something else of a table's data than of the object that holds it.
    pub(super) fn asks_for_table_files(&self) -> bool {
        let has =
            |action: &&str| actions::find(action).is_some_and(|number| number.is_in(self.actions.bits()));
        if !DATA_ACTIONS.iter().any(|(_, data)| has(data)) {
            return false;
        }
        let is_of_both = DATA_ACTIONS.iter().all(|(object, _)| has(object))
            && !self.not_resources
            && self.resources.iter().any(ResourcePattern::is_everything)
            && !self.keys().any(ConditionKey::is_table_name);
        !is_of_both
    }

    /// The keys that it asks for.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ConditionKey> {
        let in_resources = self.resources.iter().flat_map(ResourcePattern::keys);
        self.conditions.iter().flat_map(Condition::keys).chain(in_resources)
    }
}

/// Where in the document something stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Nth(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Member(Place::Root, name) => f.write_str(name),
            Place::Member(parent, name) => write!(f, "{parent}.{name}"),
            Place::Nth(parent, nth) => write!(f, "{parent}[{nth}]"),
        }
    }
}

impl Place<'_> {
    fn refuse<T>(&self, why: impl Into<String>) -> Result<T, PolicyError> {
        Err(PolicyError { at: self.to_string(), why: why.into() })
    }
}

/// Reads one document.
struct Reader<'a> {
    kind: PolicyKind,
    account: &'a str,
    /// Whether its version knows variables.
    has_variables: bool,
    /// Values read so far.
    values: usize,
}

impl Reader<'_> {
    fn policy(&mut self, node: &Node) -> Result<Box<[Statement]>, PolicyError> {
        let root = Place::Root;
        let members = Members::of(node, &root, &["Version", "Id", "Statement"])?;
        self.has_variables = match members.text("Version")? {
            Some("2012-10-17") => true,
            Some("2008-10-17") | None => false,
            Some(other) => {
                return members
                    .at("Version")
                    .refuse(format!("{other:?} is neither 2012-10-17 nor 2008-10-17"));
            }
        };
        members.text("Id")?;
        let at = members.at("Statement");
        let Some(node) = members.find("Statement") else { return at.refuse("it is missing") };
        let mut sids = HashSet::new();
        let statements = match node {
            Node::List(list) if list.is_empty() => return at.refuse("there is none"),
            Node::List(list) if list.len() > POLICY_STATEMENTS_MAX => {
                return at.refuse(format!("{} statements, more than {POLICY_STATEMENTS_MAX}", list.len()));
            }
            Node::List(list) => list
                .iter()
                .enumerate()
                .map(|(nth, node)| self.statement(node, &Place::Nth(&at, nth), &mut sids))
                .collect::<Result<_, _>>()?,
            Node::Object(_) => [self.statement(node, &at, &mut sids)?].into(),
            other => {
                return at.refuse(format!("{} where a statement or a list of them belongs", other.kind()));
            }
        };
        Ok(statements)
    }

    fn statement(
        &mut self,
        node: &Node,
        at: &Place<'_>,
        sids: &mut HashSet<Box<str>>,
    ) -> Result<Statement, PolicyError> {
        const KNOWN: [&str; 9] = [
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ];
        let members = Members::of(node, at, &KNOWN)?;
        let sid = self.sid(&members, sids)?;
        let effect = match members.text("Effect")? {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            Some(other) => {
                return members.at("Effect").refuse(format!("{other:?} is neither Allow nor Deny"));
            }
            None => return members.at("Effect").refuse("it is missing"),
        };
        let principals = self.principals(&members, effect)?;
        let (is_negated, member, node) = members.either("Action", "NotAction")?;
        let patterns = self.list(node, &members.at(member), ActionPattern::parse)?;
        let actions = ActionSet::new(patterns, is_negated);
        let (not_resources, member, node) = members.either("Resource", "NotResource")?;
        let (has_variables, account) = (self.has_variables, self.account);
        let resources = self
            .list(node, &members.at(member), |text| ResourcePattern::parse(text, has_variables, account))?
            .into();
        let conditions = match members.find("Condition") {
            Some(node) => self.conditions(node, &members.at("Condition"))?,
            None => Box::default(),
        };
        Ok(Statement { sid, effect, principals, actions, resources, not_resources, conditions })
    }

    /// IAM takes letters and digits; S3 takes anything.
    fn sid(
        &self,
        members: &Members<'_>,
        sids: &mut HashSet<Box<str>>,
    ) -> Result<Option<Box<str>>, PolicyError> {
        let at = members.at("Sid");
        match members.text("Sid")? {
            None | Some("") => Ok(None),
            Some(sid)
                if self.kind != PolicyKind::Bucket
                    && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
            {
                at.refuse(format!("{sid:?} has other characters than letters and digits"))
            }
            Some(sid) if !sids.insert(sid.into()) => {
                at.refuse(format!("{sid:?} names another statement as well"))
            }
            Some(sid) => Ok(Some(sid.into())),
        }
    }

    fn principals(
        &mut self,
        members: &Members<'_>,
        effect: Effect,
    ) -> Result<Option<Principals>, PolicyError> {
        if self.kind != PolicyKind::Bucket {
            for member in ["Principal", "NotPrincipal"] {
                if members.find(member).is_some() {
                    return members.at(member).refuse("only the policy of a bucket names principals");
                }
            }
            return Ok(None);
        }
        let (is_negated, member, node) = members.either("Principal", "NotPrincipal")?;
        let at = members.at(member);
        if is_negated && effect == Effect::Allow {
            return at.refuse("it goes with Deny only: an Allow for all but some is open to everybody else");
        }
        let mut principals = Principals::new(is_negated);
        match node {
            Node::Text { text, is_quoted: true } if text == "*" => principals.add_everybody(),
            Node::Object(kinds) if kinds.is_empty() => return at.refuse("there is none"),
            Node::Object(_) => {
                let kinds = Members::of(node, &at, &["AWS", "CanonicalUser", "Federated", "Service"])?;
                for (name, node) in kinds.list {
                    let Some(kind) = PrincipalType::of_name(name) else { continue };
                    self.list(node, &kinds.at(name), |name| principals.add(kind, name))?;
                }
            }
            other => return at.refuse(format!("{} where * or an object belongs", other.kind())),
        }
        Ok(Some(principals))
    }

    fn conditions(&mut self, node: &Node, at: &Place<'_>) -> Result<Box<[Condition]>, PolicyError> {
        let mut conditions = Vec::new();
        for (name, keys) in Members::any(node, at)?.list {
            let at = Place::Member(at, name);
            let Some(operator) = Operator::parse(name) else {
                return at.refuse("it is not an operator");
            };
            let keys = Members::any(keys, &at)?;
            if keys.list.is_empty() {
                return at.refuse("it names no key");
            }
            let mut seen = HashSet::new();
            for (name, node) in keys.list {
                let at = Place::Member(&at, name);
                if !name.contains(':') {
                    return at.refuse("it is not the name of a key, as aws:SourceIp");
                }
                let key = ConditionKey::parse(name);
                if !seen.insert(key.clone()) {
                    return at.refuse("the key stands twice");
                }
                let values = self.values(node, &at)?;
                let condition = Condition::compile(operator, key, &values, self.has_variables);
                conditions.push(condition.or_else(|(nth, why)| match node {
                    Node::List(_) => Place::Nth(&at, nth).refuse(why),
                    _ => at.refuse(why),
                })?);
            }
        }
        Ok(conditions.into())
    }

    /// Reads a text or a list of texts, each by `read`.
    fn list<T>(
        &mut self,
        node: &Node,
        at: &Place<'_>,
        mut read: impl FnMut(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, PolicyError> {
        let mut one = |node: &Node, at: &Place<'_>| match node {
            Node::Text { text, is_quoted: true } => read(text).or_else(|why| at.refuse(why)),
            other => at.refuse(format!("{} where a text belongs", other.kind())),
        };
        let values = match node {
            Node::List(list) if list.is_empty() => return at.refuse("the list is empty"),
            Node::List(list) => list
                .iter()
                .enumerate()
                .map(|(nth, node)| one(node, &Place::Nth(at, nth)))
                .collect::<Result<Vec<T>, _>>()?,
            node => vec![one(node, at)?],
        };
        self.count(values.len(), at)?;
        Ok(values)
    }

    /// Reads the values of a condition: texts, numbers and truth values, one or a list.
    fn values<'n>(&mut self, node: &'n Node, at: &Place<'_>) -> Result<Vec<&'n str>, PolicyError> {
        fn one<'n>(node: &'n Node, at: &Place<'_>) -> Result<&'n str, PolicyError> {
            match node {
                Node::Text { text, .. } => Ok(text),
                other => at.refuse(format!("{} where a value belongs", other.kind())),
            }
        }
        let values = match node {
            Node::List(list) if list.is_empty() => return at.refuse("the list is empty"),
            Node::List(list) => list
                .iter()
                .enumerate()
                .map(|(nth, node)| one(node, &Place::Nth(at, nth)))
                .collect::<Result<Vec<_>, _>>()?,
            node => vec![one(node, at)?],
        };
        self.count(values.len(), at)?;
        Ok(values)
    }

    fn count(&mut self, more: usize, at: &Place<'_>) -> Result<(), PolicyError> {
        self.values += more;
        match self.values > POLICY_VALUES_MAX {
            true => at.refuse(format!("the policy has more than {POLICY_VALUES_MAX} values")),
            false => Ok(()),
        }
    }
}

/// The members of an object, each name once.
struct Members<'a> {
    list: &'a [(String, Node)],
    place: &'a Place<'a>,
}

impl<'a> Members<'a> {
    /// Takes an object whose members have one of these names.
    fn of(node: &'a Node, place: &'a Place<'a>, known: &[&str]) -> Result<Members<'a>, PolicyError> {
        let members = Members::any(node, place)?;
        match members.list.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => members.at(name).refuse("no such member belongs here"),
            None => Ok(members),
        }
    }

    /// Takes an object whose members have any names.
    fn any(node: &'a Node, place: &'a Place<'a>) -> Result<Members<'a>, PolicyError> {
        let Node::Object(list) = node else {
            return place.refuse(format!("{} where an object belongs", node.kind()));
        };
        let members = Members { list, place };
        let mut seen = HashSet::new();
        match list.iter().find(|(name, _)| !seen.insert(name.as_str())) {
            Some((name, _)) => members.at(name).refuse("the member stands twice"),
            None => Ok(members),
        }
    }

    fn at<'b>(&'b self, name: &'b str) -> Place<'b> {
        Place::Member(self.place, name)
    }

    fn find(&self, name: &str) -> Option<&'a Node> {
        self.list.iter().find(|(member, _)| member == name).map(|(_, node)| node)
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, PolicyError> {
        match self.find(name) {
            None => Ok(None),
            Some(Node::Text { text, is_quoted: true }) => Ok(Some(text)),
            Some(other) => self.at(name).refuse(format!("{} where a text belongs", other.kind())),
        }
    }

    /// Finds the one of two that must be there: whether it is the second, its name, and what it holds.
    fn either(
        &self,
        name: &'static str,
        negated: &'static str,
    ) -> Result<(bool, &'static str, &'a Node), PolicyError> {
        match (self.find(name), self.find(negated)) {
            (Some(node), None) => Ok((false, name, node)),
            (None, Some(node)) => Ok((true, negated, node)),
            (None, None) => self.at(name).refuse(format!("it is missing, and so is {negated}")),
            (Some(_), Some(_)) => self.at(negated).refuse(format!("it cannot stand beside {name}")),
        }
    }
}
