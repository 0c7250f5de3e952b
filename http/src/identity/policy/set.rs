//! The policies of one principal, and what they say to a question.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::actions::{self, ActionBits, Service};
use super::document::{Effect, Policy, Statement};
use super::key::{ConditionKey, Context};
use super::resource::{Named, NamedKind, ResourcePattern};

/// May this be done?
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The action, as `s3:GetObject`; compared without regard to case.
    pub action: &'a str,
    /// The ARN that it is to be done to; `*` for the service as a whole.
    pub resource: &'a str,
    /// Who asks. Only policies of buckets look at it.
    pub principal: &'a PrincipalNames<'a>,
    /// What else the request says of itself.
    pub context: &'a dyn Context,
}

/// The names under which a bucket's policy may know the sender.
#[derive(Clone, Copy, Debug)]
pub struct PrincipalNames<'a> {
    /// Whether the sender showed nothing: only `*` fits then.
    pub anonymous: bool,
    /// The sender's ARNs: of the user, of the assumed role and its session.
    pub arns: &'a [&'a str],
    /// The id of the user who sent it, by a key or a session; empty for none.
    pub user_id: &'a str,
    /// The sender's canonical id, 64 hexadecimal digits; empty for none.
    pub canonical_id: &'a str,
    /// The sender's account, 12 digits; empty for none.
    pub account: &'a str,
}

impl PrincipalNames<'_> {
    /// Whether it is the account's root.
    pub(super) fn is_root(&self) -> bool {
        self.arns.iter().any(|arn| arn.ends_with(":root"))
    }
}

impl PrincipalNames<'static> {
    /// A sender who showed nothing.
    pub const ANONYMOUS: PrincipalNames<'static> =
        PrincipalNames { anonymous: true, arns: &[], user_id: "", canonical_id: "", account: "" };
}

/// What policies say to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// This statement allows it, and none denies it.
    Allow(StatementId<'a>),
    /// This statement denies it, whatever others say.
    Deny(StatementId<'a>),
    /// No statement speaks of it.
    Nothing,
}

/// Which statement decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementId<'a> {
    /// What its policy is called.
    pub policy: &'a str,
    /// Its `Sid`.
    pub sid: Option<&'a str>,
    /// Its place in the policy, from 0.
    pub index: usize,
}

impl fmt::Display for StatementId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sid {
            Some(sid) => write!(f, "{} Statement[{}] {sid}", self.policy, self.index),
            None => write!(f, "{} Statement[{}]", self.policy, self.index),
        }
    }
}

/// Several policies, indexed for questions.
///
/// A question about a known action and resource looks at those statements alone whose actions hold it and whose resources
/// begin as it does; every other question goes through all statements. Both ways say the same.
#[derive(Debug)]
pub struct PolicySet {
    policies: Box<[Arc<Policy>]>,
    deny: Index,
    allow: Index,
    keys: Box<[ConditionKey]>,
    asks_for_table_ids: bool,
    asks_for_table_names: bool,
    asks_for_table_files: bool,
}

impl PolicySet {
    /// Brings policies together.
    pub fn new(policies: impl IntoIterator<Item = Arc<Policy>>) -> PolicySet {
        let policies: Box<[Arc<Policy>]> = policies.into_iter().collect();
        let statements = || policies.iter().flat_map(|policy| policy.statements.iter());
        let keys: BTreeSet<ConditionKey> = statements().flat_map(Statement::keys).cloned().collect();
        let asks_for_table_ids =
            statements().flat_map(|statement| &statement.resources).any(ResourcePattern::asks_for_table_ids);
        let asks_for_table_files = statements().any(Statement::asks_for_table_files);
        PolicySet {
            deny: Index::new(&policies, Effect::Deny),
            allow: Index::new(&policies, Effect::Allow),
            asks_for_table_names: keys.iter().any(ConditionKey::is_table_name),
            keys: keys.into_iter().collect(),
            asks_for_table_ids,
            asks_for_table_files,
            policies,
        }
    }

    /// Says what the policies say to `question`.
    pub fn decide(&self, question: &Question<'_>) -> Verdict<'_> {
        let named = Named::parse(question.resource, question.action);
        let service = match named.kind {
            NamedKind::Known { service, .. } | NamedKind::Whole(Some(service)) => service,
            NamedKind::Whole(None) | NamedKind::Other(_) => return self.decide_slowly(question),
        };
        let Some(action) = actions::find(question.action) else { return self.decide_slowly(question) };
        let find = |index: &Index| {
            let mut candidates =
                index.candidates(service, named.tail).filter(|one| action.is_in(&one.actions));
            candidates.find(|one| self.speaks(one, question, &named)).map(|one| self.id(one.place))
        };
        match find(&self.deny) {
            Some(id) => Verdict::Deny(id),
            None => find(&self.allow).map_or(Verdict::Nothing, Verdict::Allow),
        }
    }

    /// Says the same without the index: every statement in its order.
    pub(super) fn decide_slowly(&self, question: &Question<'_>) -> Verdict<'_> {
        let named = Named::parse(question.resource, question.action);
        self.decide_by(|statement| statement.speaks_of(question, &named))
    }

    /// Says what the policies say to `question` for its resource and everything whose name begins with that: allowed is what one
    /// statement allows for all of it, and denied what a statement may deny for some of it. Goes through every statement.
    pub fn decide_below(&self, question: &Question<'_>) -> Verdict<'_> {
        let named = Named::parse(question.resource, question.action);
        self.decide_by(|statement| statement.speaks_below(question, &named))
    }

    fn decide_by(&self, speaks: impl Fn(&Statement) -> bool) -> Verdict<'_> {
        let mut verdict = Verdict::Nothing;
        for (policy, one) in self.policies.iter().enumerate() {
            for (nth, statement) in one.statements.iter().enumerate() {
                if !speaks(statement) {
                    continue;
                }
                let id = self.id(StatementPlace { policy, statement: nth });
                match statement.effect {
                    Effect::Deny => return Verdict::Deny(id),
                    Effect::Allow if verdict == Verdict::Nothing => verdict = Verdict::Allow(id),
                    Effect::Allow => {}
                }
            }
        }
        verdict
    }

    /// The policies, in the order in which they were given.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// The condition keys that the policies name, each once: what a context may be asked for.
    pub fn keys(&self) -> &[ConditionKey] {
        &self.keys
    }

    /// Whether a statement names a particular table or view by its id.
    pub fn mentions_table_ids(&self) -> bool {
        self.asks_for_table_ids
    }

    /// Whether a statement asks for the names of a table, a view or their namespace.
    pub fn mentions_table_names(&self) -> bool {
        self.asks_for_table_names
    }

    /// Whether it can matter for an action on an object which table's file that is.
    pub fn asks_for_table_files(&self) -> bool {
        self.asks_for_table_files
    }

    /// Whether a statement asks for the tags of an object that is there.
    pub fn mentions_object_tags(&self) -> bool {
        self.keys.iter().any(|key| matches!(key, ConditionKey::ExistingObjectTag(_)))
    }

    /// Whether what a candidate leaves open is as the question says.
    fn speaks(&self, candidate: &Candidate, question: &Question<'_>, named: &Named<'_>) -> bool {
        let statement = &self.policies[candidate.place.policy].statements[candidate.place.statement];
        let resource_fits = match candidate.resource {
            Some(nth) => statement.resources[nth].fits(named, question.context) == Some(true),
            None => statement.resources_fit(named, question.context),
        };
        resource_fits && statement.rest_holds(question)
    }

    fn id(&self, place: StatementPlace) -> StatementId<'_> {
        let policy = &self.policies[place.policy];
        let sid = policy.statements[place.statement].sid.as_deref();
        StatementId { policy: policy.name(), sid, index: place.statement }
    }
}

#[derive(Clone, Copy, Debug)]
struct StatementPlace {
    policy: usize,
    statement: usize,
}

/// One resource of a statement, or all of them where one alone says nothing.
#[derive(Debug)]
struct Candidate {
    actions: ActionBits,
    place: StatementPlace,
    resource: Option<usize>,
}

/// The statements of one effect, by what they can speak of.
#[derive(Debug)]
struct Index {
    /// Those that no beginning narrows: `*` and NotResource.
    wide: Box<[Candidate]>,
    services: [Heads; Service::COUNT],
}

/// The resources of one service by what they begin with.
///
/// I1. `heads` are in order, each once, and `parent` is the longest other head that a head begins with. So all heads that
/// a text begins with lie on one chain of parents, from the last head that is not behind the text.
#[derive(Debug, Default)]
struct Heads {
    heads: Box<[Head]>,
    candidates: Box<[Candidate]>,
}

#[derive(Debug)]
struct Head {
    text: Box<str>,
    parent: Option<usize>,
    candidates: Range<usize>,
}

impl Index {
    fn new(policies: &[Arc<Policy>], effect: Effect) -> Index {
        let mut wide = Vec::new();
        let mut services: [Vec<(&str, Candidate)>; Service::COUNT] = Default::default();
        for (policy, one) in policies.iter().enumerate() {
            for (nth, statement) in one.statements.iter().enumerate() {
                if statement.effect != effect {
                    continue;
                }
                let candidate = |resource| Candidate {
                    actions: *statement.actions.bits(),
                    place: StatementPlace { policy, statement: nth },
                    resource,
                };
                if statement.not_resources || statement.resources.iter().any(ResourcePattern::is_everything) {
                    wide.push(candidate(None));
                    continue;
                }
                for (nth, pattern) in statement.resources.iter().enumerate() {
                    if let Some((service, head)) = pattern.place() {
                        services[service as usize].push((head, candidate(Some(nth))));
                    }
                }
            }
        }
        Index { wide: wide.into(), services: services.map(Heads::new) }
    }

    fn candidates(&self, service: Service, tail: &str) -> impl Iterator<Item = &Candidate> {
        self.wide.iter().chain(self.services[service as usize].candidates(tail))
    }
}

impl Heads {
    fn new(mut list: Vec<(&str, Candidate)>) -> Heads {
        list.sort_by_key(|(head, _)| *head);
        let mut heads: Vec<Head> = Vec::new();
        let mut candidates = Vec::with_capacity(list.len());
        for (text, candidate) in list {
            candidates.push(candidate);
            match heads.last_mut() {
                Some(head) if *head.text == *text => head.candidates.end += 1,
                _ => {
                    let last = heads.len().checked_sub(1);
                    let parent = chain(&heads, last).find(|nth| text.starts_with(&*heads[*nth].text));
                    let from = candidates.len() - 1;
                    heads.push(Head { text: text.into(), parent, candidates: from..from + 1 });
                }
            }
        }
        Heads { heads: heads.into(), candidates: candidates.into() }
    }

    fn candidates(&self, tail: &str) -> impl Iterator<Item = &Candidate> {
        let behind = self.heads.partition_point(|head| *head.text <= *tail);
        chain(&self.heads, behind.checked_sub(1))
            .map(|nth| &self.heads[nth])
            .filter(move |head| tail.starts_with(&*head.text))
            .flat_map(|head| &self.candidates[head.candidates.clone()])
    }
}

/// A head and its parents.
fn chain(heads: &[Head], from: Option<usize>) -> impl Iterator<Item = usize> {
    std::iter::successors(from, |nth| heads[*nth].parent)
}
