//! The one door to the evaluator: may this sender do this, in this request?
//!
//! The gateway makes an [`Evaluator`] for each request; S3, the catalog, the query API, pages, presigned URLs, sessions
//! and vended keys all ask it, and simulations ask the same. What is asked first is asked of every *layer*:
//!
//! | layer | |
//! |---|---|
//! | rights | root's everything, a user's policies, a web identity's policies |
//! | bucket | the policy of the bucket that is asked for |
//! | owner | whoever owns the bucket may do everything in it |
//! | limits | the access key's own policy, each narrowing of a session |
//! | table | the table that a vended session is for |
//!
//! I1. A Deny in any layer refuses. I2. Otherwise rights, bucket or owner must allow, and every limit as well. I3. Nobody in
//! particular may do what a bucket's policy allows everybody, and nothing else. I4. Root may always read, set and remove a
//! bucket's policy, so that no policy locks everybody out. I5. The rights on a table's data are rights on its files, and
//! what is denied for the data is denied for the files: those in its locations, as the catalog has them now. I6. Where it can
//! matter whose file an object is, nothing is decided before that was looked up; elsewhere nothing is looked up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use nilas_catalog::Catalog;
use nilas_catalog::access::{FileTable, LookUp, Resource, VendRequest, Vended};
use nilas_engine::{Bucket, Engine, SettingKind};

use crate::audit::Decisions;
use crate::identity::access::{Authorizer, Decision, PREFIX};
use crate::identity::bucket_rules::{BucketRules, RulesCache};
use crate::identity::context::{KnownTags, RequestContext, RequestFacts};
use crate::identity::policy::{PolicySet, PrincipalNames, Question, StatementId, Verdict, data_action};
use crate::identity::sender::{Rights, Sender, SenderKind, Senders};
use crate::tag_set::TagSet;

/// A layer of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The sender's own rights.
    Rights,
    /// The bucket's policy.
    Bucket,
    /// The ownership of the bucket.
    Owner,
    /// The access key's policy or a session's, by its place.
    Limit(usize),
    /// The table that a vended session is for.
    Table,
}

/// What a layer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Say {
    /// It allows, by this statement; without one it follows from no policy.
    Allow(Option<String>),
    /// It denies, by this statement.
    Deny(Option<String>),
    /// Nothing.
    Nothing,
}

/// A decision with the layers that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Every layer that there is, and what it says.
    pub layers: Vec<(Layer, Say)>,
}

impl Explained {
    /// The layer that settled it: the first Deny, the first limit that does not allow, or the first Allow.
    pub fn deciding(&self) -> Option<&(Layer, Say)> {
        let denies = self.layers.iter().find(|(_, say)| matches!(say, Say::Deny(_)));
        let binds = || {
            let is_limit = |layer: &Layer| matches!(layer, Layer::Limit(_) | Layer::Table);
            self.layers.iter().find(|(layer, say)| is_limit(layer) && *say == Say::Nothing)
        };
        let allows = || self.layers.iter().find(|(_, say)| matches!(say, Say::Allow(_)));
        denies
            .or_else(|| if self.allowed { None } else { binds() })
            .or_else(|| if self.allowed { allows() } else { None })
    }

    /// What settled it, in words: the layer and its statement.
    pub fn because(&self) -> String {
        match self.deciding() {
            Some((layer, Say::Deny(Some(statement)))) => format!("{layer}: denied by {statement}"),
            Some((layer, Say::Allow(Some(statement)))) => format!("{layer}: allowed by {statement}"),
            Some((layer, Say::Allow(None))) => format!("{layer}: allowed"),
            Some((layer, Say::Deny(None) | Say::Nothing)) => format!("{layer}: not allowed"),
            None if self.allowed => "open to everybody".to_owned(),
            None => "no policy allows it".to_owned(),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layer::Rights => f.write_str("rights"),
            Layer::Bucket => f.write_str("bucket"),
            Layer::Owner => f.write_str("owner"),
            Layer::Limit(index) => write!(f, "limit {index}"),
            Layer::Table => f.write_str("table"),
        }
    }
}

/// Judges one request.
pub struct Evaluator<'a> {
    /// Who sent it.
    pub sender: &'a Sender,
    /// What is known of it.
    pub request: RequestFacts<'a>,
    /// Where buckets have their settings; without an engine none has any.
    pub engine: Option<&'a Engine>,
    /// This core's compiled policies of buckets.
    pub(crate) rules: &'a RulesCache,
    /// What is written down of it.
    pub notes: &'a Decisions,
    /// Who makes credentials for tables' files, where they are made.
    minter: Option<&'a Senders>,
    /// Where it is looked up whose files are asked for.
    catalog: Option<&'a Catalog>,
    /// What was looked up: by bucket, a slash and key, the table in whose locations that is.
    files: RefCell<HashMap<String, Option<Rc<FileTable>>>>,
    /// What is known of the tags of the object that is asked for.
    tags: KnownTags,
}

/// It was not looked up whose file it is.
struct NotLookedUp;

/// How much a question is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The resource.
    Itself,
    /// That, and all objects whose keys begin with its key.
    Below,
}

/// What one question is about, beside the sender.
struct Subject<'s> {
    extent: Extent,
    action: &'s str,
    resource: &'s Resource<'s>,
    arn: &'s str,
    facts: &'s [(&'static str, &'s str)],
    /// The right on the data of a table that the question amounts to.
    data: Option<&'s DataRight<'s>>,
}

/// A right on the data of a table.
struct DataRight<'s> {
    action: &'static str,
    /// The table's.
    arn: String,
    names: Names<'s>,
}

/// How a table is called.
enum Names<'s> {
    Unknown,
    /// When the credentials were handed out that are used.
    AtVending(&'s (String, String)),
    Now(Rc<FileTable>),
}

impl<'a> Evaluator<'a> {
    /// Brings all together.
    pub(crate) fn new(
        sender: &'a Sender,
        request: RequestFacts<'a>,
        engine: Option<&'a Engine>,
        rules: &'a RulesCache,
        notes: &'a Decisions,
    ) -> Evaluator<'a> {
        Evaluator {
            sender,
            request,
            engine,
            rules,
            notes,
            minter: None,
            catalog: None,
            files: RefCell::default(),
            tags: KnownTags::default(),
        }
    }

    /// The same, with who makes credentials for tables' files, and where it is looked up whose files are asked for.
    pub(crate) fn with_tables(self, minter: &'a Senders, catalog: &'a Catalog) -> Evaluator<'a> {
        Evaluator { minter: Some(minter), catalog: Some(catalog), ..self }
    }

    /// Judges, and says how: for answers to people.
    pub fn explain(
        &self,
        action: &str,
        resource: &Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Explained {
        self.explain_for(Extent::Itself, action, resource, facts)
    }

    fn explain_for(
        &self,
        extent: Extent,
        action: &str,
        resource: &Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Explained {
        let mut layers = Vec::new();
        let decision = self.judge(extent, action, resource, facts, &mut |layer, verdict, by_policy| {
            let named = |id: StatementId<'_>| by_policy.then(|| id.to_string());
            let say = match verdict {
                Verdict::Allow(id) => Say::Allow(named(id)),
                Verdict::Deny(id) => Say::Deny(named(id)),
                Verdict::Nothing => Say::Nothing,
            };
            layers.push((layer, say));
        });
        Explained { allowed: decision == Decision::Allow, layers }
    }

    /// Judges, and notes it.
    fn decide_for(
        &self,
        extent: Extent,
        action: &'static str,
        resource: &Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Decision {
        let decision = self.judge(extent, action, resource, facts, &mut |_, _, _| ());
        if decision == Decision::Unknown {
            return decision;
        }
        let is_allowed = decision == Decision::Allow;
        if self.notes.keeps(is_allowed) {
            let because = self.explain_for(extent, action, resource, facts).because();
            match extent {
                Extent::Itself => self.notes.note(is_allowed, action, resource, Some(&because)),
                Extent::Below => {
                    self.notes.note(is_allowed, action, &format_args!("{resource}*"), Some(&because));
                }
            }
        }
        decision
    }

    /// Asks the layers; `tell` hears what each says, and whether that comes from a policy.
    fn judge(
        &self,
        extent: Extent,
        action: &str,
        resource: &Resource<'_>,
        facts: &[(&'static str, &str)],
        tell: &mut dyn FnMut(Layer, Verdict<'_>, bool),
    ) -> Decision {
        if *resource == Resource::Public {
            return Decision::Allow;
        }
        let bucket = bucket_of(resource).and_then(|bucket| self.engine?.bucket(bucket).ok());
        let rules = bucket.as_ref().and_then(|bucket| self.rules_of(bucket));
        let is_free = matches!(self.sender.rights, Rights::Everything)
            && self.sender.limits.is_empty()
            && self.sender.table.is_none();
        if is_free && rules.as_ref().is_none_or(|rules| rules.policy.is_none()) {
            tell(Layer::Rights, Verdict::Allow(BY_NOTHING), false);
            return Decision::Allow;
        }
        let data = match bucket {
            Some(bucket) => self.data_right(action, resource, facts, &bucket, rules.as_deref()),
            None => Ok(None),
        };
        let Ok(data) = data else { return Decision::Unknown };
        let mut arn = self.rules.arn.take();
        arn.clear();
        write_arn(resource, &mut arn);
        let subject = Subject { extent, action, resource, arn: &arn, facts, data: data.as_ref() };
        let allowed = self.judge_subject(&subject, rules.as_deref(), tell);
        self.rules.arn.set(arn);
        if allowed { Decision::Allow } else { Decision::Deny }
    }

    fn judge_subject(
        &self,
        subject: &Subject<'_>,
        rules: Option<&BucketRules>,
        tell: &mut dyn FnMut(Layer, Verdict<'_>, bool),
    ) -> bool {
        let sender = self.sender;
        // The name of a session is its maker's choice: a policy that knew it by that would let in whoever takes the name.
        let arns = sender.arns.first().map(|arn| &**arn);
        let names = sender.names(arns.as_slice());
        let (mut allowed, mut denied) = (false, false);
        match &sender.rights {
            Rights::Everything => {
                tell(Layer::Rights, Verdict::Allow(BY_NOTHING), false);
                allowed = true;
            }
            Rights::Policies(set) => {
                let verdict = self.ask(set, subject, &names);
                tell(Layer::Rights, verdict, true);
                allowed |= matches!(verdict, Verdict::Allow(_));
                denied |= matches!(verdict, Verdict::Deny(_));
            }
            Rights::Nothing => tell(Layer::Rights, Verdict::Nothing, false),
        }
        if let Some(rules) = rules {
            if let Some(set) = &rules.policy {
                let verdict = match self.ask(set, subject, &names) {
                    Verdict::Deny(_) if sender.kind == SenderKind::Root && keeps_policies(subject.action) => {
                        Verdict::Nothing
                    }
                    Verdict::Allow(_) if names.anonymous && rules.restricts_public() => Verdict::Nothing,
                    Verdict::Allow(_) if names.anonymous && says_who_may(subject.action) => Verdict::Nothing,
                    verdict => verdict,
                };
                tell(Layer::Bucket, verdict, true);
                allowed |= matches!(verdict, Verdict::Allow(_));
                denied |= matches!(verdict, Verdict::Deny(_));
            }
            if let (Some(owner), Some(user)) = (&rules.owner, &sender.user)
                && **owner == *user.id
                && user.is_enabled
            {
                tell(Layer::Owner, Verdict::Allow(BY_NOTHING), false);
                allowed = true;
            }
        }
        for (index, limit) in sender.limits.iter().enumerate() {
            let verdict = self.ask(limit, subject, &names);
            tell(Layer::Limit(index), verdict, true);
            denied |= !matches!(verdict, Verdict::Allow(_));
        }
        if let Some(scope) = &sender.table {
            let is_of = |data: &&DataRight<'_>| {
                data.arn.rsplit('/').next().is_some_and(|id| id.eq_ignore_ascii_case(&scope.table))
            };
            let within = self.is_within(scope, subject) && subject.data.as_ref().is_none_or(is_of);
            let verdict = if within { Verdict::Allow(BY_NOTHING) } else { Verdict::Nothing };
            tell(Layer::Table, verdict, false);
            denied |= !within;
        }
        // What a policy forbade may have been lost with the directory.
        allowed
            && !denied
            && !(names.anonymous && self.engine.is_none_or(|engine| engine.directory().is_err()))
    }

    /// What a set of policies says, the right on a table's data included: what lies below one of its files' places is its own.
    fn ask<'p>(&self, set: &'p PolicySet, subject: &Subject<'_>, names: &PrincipalNames<'_>) -> Verdict<'p> {
        let context = RequestContext {
            action: subject.action,
            tags: &self.tags,
            request: &self.request,
            sender: self.sender,
            resource: subject.resource,
            facts: subject.facts,
            is_data: false,
            data_names: None,
            account: self.sender.model.account(),
        };
        let question =
            Question { action: subject.action, resource: subject.arn, principal: names, context: &context };
        let said = match subject.extent {
            Extent::Itself => set.decide(&question),
            Extent::Below => set.decide_below(&question),
        };
        let Some(data) = subject.data else { return said };
        if matches!(said, Verdict::Deny(_)) {
            return said;
        }
        let context = RequestContext { is_data: true, data_names: data.names.get(), ..context };
        let question = Question { action: data.action, resource: &data.arn, context: &context, ..question };
        match (said, set.decide(&question)) {
            (_, denies @ Verdict::Deny(_)) => denies,
            (Verdict::Nothing, data) => data,
            (said, _) => said,
        }
    }

    /// The right on a table's data that an S3 action on one of its files amounts to, if that can matter. Files of a table that is
    /// not there (any more, or yet) are known by the UUID with which their keys begin, and its names by nobody.
    fn data_right<'s>(
        &'s self,
        action: &str,
        resource: &Resource<'_>,
        facts: &[(&'static str, &str)],
        bucket: &Bucket,
        rules: Option<&BucketRules>,
    ) -> Result<Option<DataRight<'s>>, NotLookedUp> {
        let Some(action) = data_action(action).filter(|_| is_warehouse(bucket)) else { return Ok(None) };
        let Some(key) = self.key_of(resource, facts) else { return Ok(None) };
        if !self.any_set(rules, PolicySet::asks_for_table_files) {
            return Ok(None);
        }
        let right = |id: &str, names| {
            let arn = ["arn:aws:s3tables:::bucket/", &*bucket.name, "/table/", id].concat();
            Ok(Some(DataRight { action, arn, names }))
        };
        if let Some(scope) =
            self.sender.table.as_ref().filter(|scope| scope.holds(&bucket.name, key.as_bytes()))
        {
            return match self.looked_up(&bucket.name, key)? {
                // Perhaps another one, which lies where that of the session was.
                Some(now) => right(&now.id.clone(), Names::Now(now)),
                None => right(&scope.table, scope.names.as_ref().map_or(Names::Unknown, Names::AtVending)),
            };
        }
        match (self.looked_up(&bucket.name, key)?, table_of_key(key)) {
            (Some(table), _) => right(&table.id.clone(), Names::Now(table)),
            (None, Some(id)) => right(id, Names::Unknown),
            (None, None) => Ok(None),
        }
    }

    fn rules_of(&self, bucket: &Bucket) -> Option<Rc<BucketRules>> {
        self.rules.of(bucket, self.sender.model.account())
    }

    /// Whether it is so of a set of policies that the sender is judged by.
    fn any_set(&self, rules: Option<&BucketRules>, is: impl Fn(&PolicySet) -> bool) -> bool {
        let rights = match &self.sender.rights {
            Rights::Policies(set) => is(set),
            Rights::Everything | Rights::Nothing => false,
        };
        rights
            || self.sender.limits.iter().any(|limit| is(limit))
            || rules.and_then(|rules| rules.policy.as_deref()).is_some_and(is)
    }

    /// The same of a bucket that is named.
    fn any_set_of(&self, bucket: &str, is: impl Fn(&PolicySet) -> bool) -> bool {
        let bucket = self.engine.and_then(|engine| engine.bucket(bucket).ok());
        let rules = bucket.and_then(|bucket| self.rules_of(&bucket));
        self.any_set(rules.as_deref(), is)
    }

    /// The key by which an object or a listing may be a table's.
    fn key_of<'k>(&'k self, resource: &Resource<'k>, facts: &[(&'static str, &'k str)]) -> Option<&'k str> {
        match resource {
            Resource::Object { key, .. } => std::str::from_utf8(key).ok(),
            Resource::Bucket(_) => match facts.iter().find(|(key, _)| *key == PREFIX) {
                Some((_, prefix)) => Some(prefix),
                None => self.request.query?.get("prefix"),
            },
            _ => None,
        }
    }

    /// The table in whose locations a key lies, as it was looked up. Without a catalog there is none.
    fn looked_up(&self, bucket: &str, key: &str) -> Result<Option<Rc<FileTable>>, NotLookedUp> {
        if self.catalog.is_none() {
            return Ok(None);
        }
        let files = self.files.borrow();
        let found = if files.is_empty() { None } else { files.get(&file(bucket, key)) };
        found.cloned().ok_or(NotLookedUp)
    }

    /// Whether what is asked for is a file of the table that the sender's session is for, and of the kind that the session
    /// is for.
    fn is_within(&self, scope: &crate::identity::session::TableScope, subject: &Subject<'_>) -> bool {
        let reads = matches!(
            subject.action,
            "s3:GetObject" | "s3:GetObjectAttributes" | "s3:ListBucket" | "s3:ListMultipartUploadParts"
        );
        let writes = matches!(subject.action, "s3:PutObject" | "s3:DeleteObject" | "s3:AbortMultipartUpload");
        let is_there = match subject.resource {
            Resource::Object { bucket, key } => scope.holds(bucket, key),
            Resource::Bucket(bucket) if subject.action == "s3:ListBucket" => {
                let prefix = self.request.query.and_then(|query| query.get("prefix"));
                prefix.is_some_and(|prefix| scope.holds(bucket, prefix.as_bytes()))
            }
            Resource::Bucket(bucket) => {
                return *bucket == scope.warehouse && subject.action == "s3:GetBucketLocation";
            }
            _ => false,
        };
        is_there && (reads || (scope.writes && writes))
    }
}

impl Authorizer for Evaluator<'_> {
    fn decide(
        &self,
        action: &'static str,
        resource: &Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Decision {
        self.decide_for(Extent::Itself, action, resource, facts)
    }

    fn decide_below(&self, action: &'static str, object: &Resource<'_>) -> Decision {
        self.decide_for(Extent::Below, action, object, &[])
    }

    fn look_up(&self, objects: &[Resource<'_>]) -> Option<LookUp<'_>> {
        let catalog = self.catalog?;
        let mut wanted: Vec<(Arc<Bucket>, Vec<String>)> = Vec::new();
        for object in objects {
            let (Some(name), Some(key)) = (bucket_of(object), self.key_of(object, &[])) else { continue };
            if let Some((_, keys)) = wanted.last_mut().filter(|(bucket, _)| *bucket.name == *name) {
                keys.push(key.to_owned());
                continue;
            }
            let Ok(bucket) = self.engine?.bucket(name) else { continue };
            let rules = self.rules_of(&bucket);
            if is_warehouse(&bucket) && self.any_set(rules.as_deref(), PolicySet::asks_for_table_files) {
                wanted.push((bucket, vec![key.to_owned()]));
            }
        }
        if wanted.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            for (bucket, keys) in wanted {
                let tables = catalog.tables_of_keys(&bucket, keys.clone()).await?;
                let known = keys.iter().zip(tables);
                let known = known.map(|(key, table)| (file(&bucket.name, key), table.map(Rc::new)));
                self.files.borrow_mut().extend(known);
            }
            Ok(())
        }))
    }

    fn vend(&self, wanted: &VendRequest<'_>) -> Option<Vended> {
        self.minter.and_then(|minter| minter.vend(self.sender, wanted, self.request.now_ms))
    }

    fn wants_table_ids(&self, warehouse: &str) -> bool {
        self.sender.table.is_some() || self.any_set_of(warehouse, PolicySet::mentions_table_ids)
    }

    fn wants_object_tags(&self, bucket: &str) -> bool {
        self.any_set_of(bucket, PolicySet::mentions_object_tags)
    }

    fn know_tags(&self, bucket: &str, key: &[u8], tags: TagSet) {
        self.tags.set(bucket, key, tags);
    }

    fn known_tags(&self, bucket: &str, key: &[u8]) -> Option<TagSet> {
        self.tags.known(bucket, key)
    }

    fn give_tags(&self, tags: TagSet) {
        self.tags.give(tags);
    }

    fn found_tags(&self, bucket: &str, key: &[u8], tags: &TagSet) -> bool {
        self.tags.correct(bucket, key, tags)
    }
}

/// Stands where no statement does.
const BY_NOTHING: StatementId<'static> = StatementId { policy: "", sid: None, index: 0 };

/// The bucket that a resource is in.
fn bucket_of<'r>(resource: &Resource<'r>) -> Option<&'r str> {
    match resource {
        Resource::Bucket(bucket) | Resource::Object { bucket, .. } => Some(bucket),
        Resource::Warehouse(warehouse)
        | Resource::Namespace { warehouse, .. }
        | Resource::Table { warehouse, .. } => Some(warehouse),
        Resource::Public | Resource::Service | Resource::Identity(_) => None,
    }
}

/// Whether a bucket is a warehouse.
fn is_warehouse(bucket: &Bucket) -> bool {
    bucket.settings.get(SettingKind::CATALOG).is_some()
}

/// How what was looked up is kept: no bucket's name has a slash.
fn file(bucket: &str, key: &str) -> String {
    [bucket, "/", key].concat()
}

impl Names<'_> {
    /// Namespace and name.
    fn get(&self) -> Option<(&str, &str)> {
        match self {
            Names::Unknown => None,
            Names::AtVending(names) => Some((&names.0, &names.1)),
            Names::Now(table) => Some((&table.namespace, &table.table)),
        }
    }
}

/// Whether an action is about a bucket's policy itself.
fn keeps_policies(action: &str) -> bool {
    matches!(action, "s3:GetBucketPolicy" | "s3:PutBucketPolicy" | "s3:DeleteBucketPolicy")
}

/// Whether an action reads or changes who may do what with a bucket: not for those who showed no key, whatever its policy
/// says. Source: Amazon S3 API Reference, PutBucketPolicy, "identities outside of the bucket owner's account".
fn says_who_may(action: &str) -> bool {
    keeps_policies(action)
        || matches!(
            action,
            "s3:GetBucketPolicyStatus"
                | "s3:GetBucketPublicAccessBlock"
                | "s3:PutBucketPublicAccessBlock"
                | "s3:GetBucketOwnershipControls"
                | "s3:PutBucketOwnershipControls"
        )
}

/// The table whose file a key is, where the catalog has none: files of a table lie behind its UUID, unless it was made with a
/// location of its own.
fn table_of_key(key: &str) -> Option<&str> {
    let (first, _) = key.split_once('/')?;
    let groups: [usize; 5] = [8, 4, 4, 4, 12];
    let mut parts = first.split('-');
    let fits = groups.iter().all(|len| {
        parts.next().is_some_and(|part| part.len() == *len && part.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    (fits && parts.next().is_none()).then_some(first)
}

/// The ARN by which policies know a resource. A table without id has an empty one, which only wildcards match.
fn write_arn(resource: &Resource<'_>, out: &mut String) {
    match resource {
        Resource::Object { bucket, key } => {
            out.extend(["arn:aws:s3:::", bucket, "/", &String::from_utf8_lossy(key)]);
        }
        Resource::Bucket(bucket) => out.extend(["arn:aws:s3:::", bucket]),
        Resource::Table { warehouse, id, .. } => {
            out.extend(["arn:aws:s3tables:::bucket/", warehouse, "/table/", id.unwrap_or_default()]);
        }
        Resource::Warehouse(warehouse) | Resource::Namespace { warehouse, .. } => {
            out.extend(["arn:aws:s3tables:::bucket/", warehouse]);
        }
        Resource::Identity(arn) => out.push_str(arn),
        Resource::Public | Resource::Service => out.push('*'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_keys() {
        let id = "0192f0c1-9c3d-7b1e-8000-00000000abcd";
        let check = |key: &str, want: Option<&str>| assert_eq!(table_of_key(key), want, "{key}");
        check(&format!("{id}/data/a.parquet"), Some(id));
        check(&format!("{id}/"), Some(id));
        check(id, None);
        check(&format!("{id}x/data"), None);
        check(&format!("x/{id}/data"), None);
        check(&format!("{}-1/data", id), None);
        check("", None);
    }

    #[test]
    fn arns() {
        let check = |resource: Resource<'_>, want: &str| {
            let mut arn = String::new();
            write_arn(&resource, &mut arn);
            assert_eq!(arn, want);
        };
        check(Resource::Service, "*");
        check(Resource::Bucket("b"), "arn:aws:s3:::b");
        check(Resource::Object { bucket: "b", key: b"k/l" }, "arn:aws:s3:::b/k/l");
        check(Resource::Namespace { warehouse: "w", namespace: "n" }, "arn:aws:s3tables:::bucket/w");
        let table = |id| Resource::Table { warehouse: "w", namespace: "n", table: "t", id };
        check(table(None), "arn:aws:s3tables:::bucket/w/table/");
        check(table(Some("i")), "arn:aws:s3tables:::bucket/w/table/i");
    }
}
