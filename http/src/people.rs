//! The pages under `/_nilas` about who there is and who may do what: what AWS's API has no call for. JSON.
//!
//! The gateway judges that the sender may have a page of `pages`, reads its query or body, and calls [`answer`]; pages that
//! are about one user ask for that user here.
//! I1. Simulations ask the evaluator that judges requests, as the sender they are about. I2. Every list is bounded, and says
//! when it was cut short. I3. A field that is not known is refused by its name: a misspelt limit would be none.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use nilas_catalog::access::{Access as _, Resource};
use nilas_catalog::uri::Query;
use nilas_engine::{Bucket, SettingKind, rt};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::audit::{AuditShared, Decisions, Outcome};
use crate::auth::Mechanism;
use crate::identity::Caller;
use crate::identity::access::Authorizer as _;
use crate::identity::bucket_rules::owner_of;
use crate::identity::model::{AccessKey, Fault, Group, Model, NewAccessKey, User, owner_id};
use crate::identity::policy::PolicySet;
use crate::identity::session::Holder;
use crate::identity::store::ChangeError;
use crate::identity::{Explained, Layer, RequestFacts, Rights, Say, Sender, SenderKind};
use crate::limits::{
    AUDIT_PAGE_EVENTS_MAX, CONTEXT_VALUES_MAX, LIFECYCLE_PAGE_MAX, QUOTA_PAGE_MAX, WHO_CAN_ANSWERS_MAX,
};
use crate::operations::AnyOperation;
use crate::pages::Page;
use crate::query::QueryError;
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::s3::lifecycle;
use crate::s3::lifecycle::figures::Counts;
use crate::s3::lifecycle::rules::Rules;
use crate::s3::lifecycle::walk::{Position, Walk, WalkError};
use crate::server::Services;
use crate::sse::keys::NamedKey;
use crate::sse::store::KeyError;

/// Events of a page of the audit log unless the sender says how many.
const AUDIT_PAGE_EVENTS: usize = 100;

/// Simulations after which others have their turn.
const SIMULATIONS_PER_TURN: usize = 32;

/// Why a page is not answered.
pub(crate) enum Failure {
    /// As the query API would say it.
    Query(QueryError),
    /// As S3 would.
    S3(S3Error),
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Failure {
        Failure::Query(error)
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Failure {
        Failure::S3(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Query(QueryError::Fault(fault))
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Failure {
        match error {
            ChangeError::Fault(fault) => fault.into(),
            other => QueryError::Unavailable { message: other.to_string().into() }.into(),
        }
    }
}

/// What is asked for, whether it stands in the query or in the body.
pub(crate) struct Asked {
    fields: Map<String, Value>,
}

/// The members of a JSON object in their order, those that come again included.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(InOrder)
    }
}

impl Asked {
    /// Reads the query, in which `context.KEY` may come again and again, and the JSON object of a body.
    pub(crate) fn parse(query: Option<&str>, body: &[u8]) -> Result<Asked, Failure> {
        let query =
            Query::parse(query.unwrap_or_default()).ok_or_else(|| invalid("the query cannot be read"))?;
        let mut fields = Map::new();
        let mut context = Map::new();
        for (name, value) in query.iter() {
            // What signs a URL is no field.
            if name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")) {
                continue;
            }
            match name.strip_prefix("context.") {
                Some(key) => match context.entry(key).or_insert_with(|| json!([])) {
                    Value::Array(values) => values.push(json!(value)),
                    _ => return Err(invalid("context is given in two ways")),
                },
                None if fields.insert(name.to_owned(), json!(value)).is_none() => {}
                None => return Err(invalid(&format!("{name} is given twice"))),
            }
        }
        if !body.is_empty() {
            let Ok(Members(members)) = serde_json::from_slice(body) else {
                return Err(invalid("the body is no JSON object"));
            };
            for (name, value) in members {
                // A null in place of what was to narrow a key must not leave it wide.
                if value.is_null() {
                    return Err(invalid(&format!("{name} is null")));
                }
                match (name.as_str(), value) {
                    ("context", Value::Object(given)) => context.extend(given),
                    (_, value) => {
                        if fields.insert(name.clone(), value).is_some() {
                            return Err(invalid(&format!("{name} is given twice")));
                        }
                    }
                }
            }
        }
        if !context.is_empty() {
            fields.insert("context".to_owned(), Value::Object(context));
        }
        Ok(Asked { fields })
    }

    /// Refuses whatever has another name than these.
    fn only(&self, names: &[&str]) -> Result<(), Failure> {
        match self.fields.keys().find(|name| !names.contains(&name.as_str())) {
            Some(other) => {
                Err(invalid(&format!("{other} is not known here; there are {}", names.join(", "))))
            }
            None => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(&format!("{name} must be a text"))),
        }
    }

    fn need(&self, name: &str) -> Result<&str, Failure> {
        self.text(name)?.ok_or_else(|| invalid(&format!("{name} is missing")))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let wrong = || invalid(&format!("{name} must be a whole number"));
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong()),
            Some(value) => value.as_u64().map(Some).ok_or_else(wrong),
        }
    }

    fn switch(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(is_on)) => Ok(Some(*is_on)),
            Some(Value::String(text)) if text == "true" || text == "false" => Ok(Some(text == "true")),
            Some(_) => Err(invalid(&format!("{name} must be true or false"))),
        }
    }

    /// Condition keys and their values.
    fn context(&self) -> Result<Vec<(String, String)>, Failure> {
        let mut given = Vec::new();
        let Some(Value::Object(context)) = self.fields.get("context") else { return Ok(given) };
        for (key, value) in context {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            };
            for value in values {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Bool(_) | Value::Number(_) => value.to_string(),
                    _ => return Err(invalid(&format!("context.{key} must be a text or a list of texts"))),
                };
                given.push((key.clone(), text));
            }
        }
        match given.len() <= CONTEXT_VALUES_MAX {
            true => Ok(given),
            false => Err(invalid(&format!("over CONTEXT_VALUES_MAX: at most {CONTEXT_VALUES_MAX}"))),
        }
    }
}

fn invalid(message: &str) -> Failure {
    QueryError::InvalidInput { message: message.to_owned().into() }.into()
}

/// What a page is made of.
pub(crate) struct Desk<'a> {
    pub(crate) services: &'a Services,
    pub(crate) audit: &'a AuditShared,
    pub(crate) caller: Caller<'a>,
    /// What was decided of this request.
    pub(crate) decisions: &'a Decisions,
    pub(crate) now_ms: u64,
}

/// Answers a page. `rest` is what its path has behind the page's own.
pub(crate) async fn answer(desk: &Desk<'_>, page: Page, rest: &str, asked: &Asked) -> Result<Bytes, Failure> {
    let value = match page {
        Page::Whoami => {
            asked.only(&[])?;
            whoami(desk.caller.sender)
        }
        Page::Simulate | Page::SimulateForm => simulate(desk, asked).await?,
        Page::WhoCan => who_can(desk, asked).await?,
        Page::Owners => {
            asked.only(&[])?;
            owners(desk)?
        }
        Page::ChangeOwner => change_owner(desk, asked).await?,
        Page::Quotas => quotas(desk, asked).await?,
        Page::ChangeQuota => change_quota(desk, asked).await?,
        Page::Lifecycles => lifecycles(desk, asked).await?,
        Page::LifecyclePreview => lifecycle_preview(desk, asked).await?,
        Page::KmsKeys => encryption_keys(desk, asked)?,
        Page::CreateKmsKey | Page::RotateKmsKey => change_encryption_key(desk, page, asked).await?,
        Page::Users => users(desk, asked)?,
        Page::ChangeUser => change_user(desk, rest, asked).await?,
        Page::CreateKey => create_key(desk, asked).await?,
        Page::Audit => return audit(desk.audit, asked),
        Page::Healthz
        | Page::Readyz
        | Page::Metrics
        | Page::ScrubStatus
        | Page::ScrubStart
        | Page::Purges => {
            json!({})
        }
    };
    Ok(value.to_string().into())
}

/// Who the sender is.
fn whoami(sender: &Sender) -> Value {
    let model = &sender.model;
    let key = model.key(&sender.access_key);
    let names = |of: Vec<String>| json!(of);
    let (policies, groups) = match &sender.user {
        Some(user) => {
            (policies_of(model, user), model.groups_of(user).map(|group| group.name.clone()).collect())
        }
        None => (granted_to_web(sender), Vec::new()),
    };
    let session = (sender.kind == SenderKind::Session).then(|| {
        json!({
            "role": sender.role.as_ref().map(|role| &role.role),
            "name": sender.role.as_ref().map(|role| &role.session),
            "issued": sender.issued_ms.map(iso_8601),
            "issuer": sender.issuer,
            "subject": sender.claims.as_ref().and_then(|claims| claims.holder.web()).map(|(_, subject)| subject),
            "source_identity": sender.source_identity,
            "tags": Value::Object(sender.tags.iter().map(|(tag, value)| (tag.clone(), json!(value))).collect()),
            "table": sender.table.as_ref().map(|scope| {
                json!({ "warehouse": scope.warehouse, "table": scope.table, "writes": scope.writes })
            }),
        })
    });
    json!({
        "account": model.account(),
        "kind": sender.kind.name(),
        "user": some(&sender.name),
        "arn": sender.arn,
        "user_id": sender.user_id,
        "owner_id": sender.owner_id,
        "access_key": some(&sender.access_key),
        "key_name": key.and_then(|key| key.name.as_deref()),
        "expires": sender.expires_ms.map(iso_8601),
        "policies": names(policies),
        "groups": names(groups),
        // The key's own policy and each narrowing of a session: every one of them must allow as well.
        "narrowed_by": sender.limits.len(),
        "session": session,
    })
}

/// Names of the policies that a web identity's claim grants, of those that exist.
fn granted_to_web(sender: &Sender) -> Vec<String> {
    let granted = match sender.claims.as_ref().map(|claims| &claims.holder) {
        Some(Holder::Web { policies, .. }) => policies.as_slice(),
        _ => &[],
    };
    granted.iter().filter(|name| sender.model.policy_named(name).is_some()).cloned().collect()
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Names of a user's policies, its groups' included.
fn policies_of(model: &Model, user: &User) -> Vec<String> {
    let of_groups = model.groups_of(user).map(|group| &group.grants);
    std::iter::once(&user.grants)
        .chain(of_groups)
        .flat_map(|grants| {
            let attached = grants.attached.iter().filter_map(|policy| model.attached(policy));
            grants.inline.keys().cloned().chain(attached.map(|policy| policy.name().to_owned()))
        })
        .collect()
}

/// One question that is only asked.
struct Imagined<'q> {
    action: &'q str,
    resource: Resource<'q>,
    given: Vec<(String, String)>,
    /// What a listing asks for, for rights that look at it.
    query: Query,
}

impl<'q> Imagined<'q> {
    fn parse(asked: &'q Asked) -> Result<Imagined<'q>, Failure> {
        let given = asked.context()?;
        let action = known_action(asked.need("action")?);
        if !action.contains(':') {
            return Err(invalid("action must be a service and an action, as s3:GetObject"));
        }
        let resource = asked.need("resource")?;
        let wrong = || invalid("resource must be an ARN of this store, or *");
        let mut resource = parse_arn(resource).ok_or_else(wrong)?;
        if let Resource::Table { namespace, table, .. } = &mut resource {
            let context = asked.fields.get("context");
            let named = |name: &str| context.and_then(|context| context.get(name)).and_then(first_text);
            *namespace = named("s3tables:namespace").unwrap_or_default();
            *table = named("s3tables:tableName").unwrap_or_default();
        }
        let prefix = given.iter().find(|(key, _)| key.eq_ignore_ascii_case("s3:prefix"));
        let raw = prefix.map(|(_, prefix)| {
            prefix.bytes().fold("prefix=".to_owned(), |raw, byte| format!("{raw}%{byte:02X}"))
        });
        let query = Query::parse(raw.as_deref().unwrap_or_default()).unwrap_or_default();
        Ok(Imagined { action, resource, given, query })
    }

    /// What the evaluator says of it when `sender` asks.
    async fn ask(&self, desk: &Desk<'_>, sender: &Sender) -> Result<Explained, Failure> {
        let request = RequestFacts {
            headers: &HeaderMap::new(),
            query: Some(&self.query),
            source: None,
            secure: false,
            mechanism: Mechanism::Unsigned,
            signed_ms: None,
            region: "",
            now_ms: desk.now_ms,
            form_tags: &[],
            given: &self.given,
        };
        let decisions = Decisions::default();
        let evaluator = desk.services.evaluator(sender, request, &decisions);
        if let Some(look_up) = evaluator.look_up(&[self.resource]) {
            look_up.await.map_err(S3Error::from)?;
        }
        Ok(evaluator.explain(self.action, &self.resource, &[]))
    }
}

fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::Array(values) => values.first()?.as_str(),
        value => value.as_str(),
    }
}

/// The action as the tables of operations spell it, if it is in one.
fn known_action(asked: &str) -> &str {
    let known = AnyOperation::all().filter_map(|operation| operation.facts());
    let found = known.map(|facts| facts.action).find(|action| action.eq_ignore_ascii_case(asked));
    found.unwrap_or(asked)
}

/// What an ARN of this store names.
fn parse_arn(arn: &str) -> Option<Resource<'_>> {
    if arn == "*" {
        return Some(Resource::Service);
    }
    let mut parts = arn.splitn(6, ':');
    let (prefix, _partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_region, _account, rest) = (parts.next()?, parts.next()?, parts.next()?);
    if prefix != "arn" || rest.is_empty() {
        return None;
    }
    match service {
        "s3" => Some(match rest.split_once('/') {
            Some((bucket, key)) if !key.is_empty() => Resource::Object { bucket, key: key.as_bytes() },
            Some((bucket, _)) => Resource::Bucket(bucket),
            None => Resource::Bucket(rest),
        }),
        "s3tables" => {
            let rest = rest.strip_prefix("bucket/")?;
            Some(match rest.split_once("/table/") {
                Some((warehouse, id)) => {
                    Resource::Table { warehouse, namespace: "", table: "", id: Some(id) }
                }
                None => Resource::Warehouse(rest),
            })
        }
        "iam" | "sts" => Some(Resource::Identity(arn)),
        _ => None,
    }
}

async fn simulate(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["as", "action", "resource", "context"])?;
    let (sender, out_of_force) = imagined_sender(desk, asked.need("as")?)?;
    let question = Imagined::parse(asked)?;
    if let Some(why) = out_of_force {
        return Ok(json!({ "allowed": false, "decision": why, "statement": null, "layers": [] }));
    }
    let explained = question.ask(desk, &sender).await?;
    let layers = explained.layers.iter().map(|(layer, say)| {
        let (decision, statement) = in_words(say);
        json!({ "layer": layer.to_string(), "decision": decision, "statement": statement })
    });
    Ok(json!({
        "allowed": explained.allowed,
        "decision": explained.because(),
        "statement": explained.deciding().and_then(|(_, say)| in_words(say).1),
        "layers": Value::from_iter(layers),
    }))
}

/// What a layer says, and the statement that says it.
fn in_words(say: &Say) -> (&'static str, Option<&str>) {
    match say {
        Say::Allow(statement) => ("allow", statement.as_deref()),
        Say::Deny(statement) => ("deny", statement.as_deref()),
        Say::Nothing => ("nothing", None),
    }
}

/// `root`, `anonymous` for everybody, an access key, or a user by name or ARN, in this order: no name that somebody gives a user
/// stands for one of the others. With the sender comes why nothing that it signs is taken, if that is so.
fn imagined_sender(desk: &Desk<'_>, name: &str) -> Result<(Sender, Option<&'static str>), Failure> {
    let model = desk.caller.sender.model.clone();
    let root_key = &desk.services.senders.root_key;
    let root_arn = || format!("arn:aws:iam::{}:root", model.account());
    if name == "root" || name == root_key.access_key() || name == root_arn() {
        return Ok((Sender::root(model, root_key), None));
    }
    if name == "anonymous" {
        return Ok((Sender::anonymous(model), None));
    }
    let of_key = model.key(name).and_then(|key| Some((model.user_by_id(&key.user)?.clone(), key.clone())));
    if let Some((user, key)) = of_key {
        let why = out_of_force(&user, Some(&key), desk.now_ms);
        return Ok((Sender::of_key(model, &user, &key), why));
    }
    let by_arn = || {
        let user = model.user(name.rsplit('/').next()?)?;
        (model.user_arn(user) == name).then_some(user)
    };
    let user = match name.starts_with("arn:").then(by_arn).flatten() {
        Some(user) => user.clone(),
        None => model.need_user(name)?.clone(),
    };
    let why = out_of_force(&user, None, desk.now_ms);
    Ok((Sender::user(model, &user), why))
}

/// Why nothing is taken that is signed by a user, or with one of its keys.
fn out_of_force(user: &User, key: Option<&AccessKey>, now_ms: u64) -> Option<&'static str> {
    match key {
        _ if !user.is_enabled => Some("the user is disabled"),
        Some(key) if !key.is_enabled => Some("the key is disabled"),
        Some(key) if key.is_expired(now_ms) => Some("the key has expired"),
        _ => None,
    }
}

/// The members of a group, as far as the group goes.
fn imagined_group(model: Arc<Model>, group: &Group) -> Sender {
    let attached =
        group.grants.attached.iter().filter_map(|policy| model.attached(policy)?.policy().cloned());
    let policies: Vec<_> = group.grants.inline.values().cloned().chain(attached).collect();
    let mut sender = Sender::anonymous(model);
    sender.kind = SenderKind::User;
    sender.name = group.name.as_str().into();
    sender.rights = Rights::Policies(Arc::new(PolicySet::new(policies)));
    sender
}

async fn who_can(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["action", "resource", "context"])?;
    let question = Imagined::parse(asked)?;
    let model = &desk.caller.sender.model;
    let root = ("root", "root".to_owned(), Sender::root(model.clone(), &desk.services.senders.root_key));
    let nobody = ("anonymous", "*".to_owned(), Sender::anonymous(model.clone()));
    let in_force = |user: &User, key: Option<&AccessKey>| out_of_force(user, key, desk.now_ms).is_none();
    let users = model.users().filter(|user| in_force(user, None));
    let users = users.map(|user| ("user", user.name.clone(), Sender::user(model.clone(), user)));
    let groups =
        model.groups().map(|group| ("group", group.name.clone(), imagined_group(model.clone(), group)));
    let keys = model.keys().filter(|key| key.policy.is_some()).filter_map(|key| {
        let user = model.user_by_id(&key.user).filter(|user| in_force(user, Some(key)))?;
        Some(("key", key.id.clone(), Sender::of_key(model.clone(), user, key)))
    });
    let all = [root, nobody].into_iter().chain(users).chain(groups).chain(keys);
    let (mut who, mut is_truncated) = (Vec::new(), false);
    for (nth, (kind, name, sender)) in all.enumerate() {
        if nth % SIMULATIONS_PER_TURN == SIMULATIONS_PER_TURN - 1 {
            rt::yield_now().await;
        }
        let explained = question.ask(desk, &sender).await?;
        if !explained.allowed {
            continue;
        }
        if who.len() == WHO_CAN_ANSWERS_MAX {
            is_truncated = true;
            break;
        }
        let is_owner = explained.layers.iter().any(|(layer, _)| *layer == Layer::Owner);
        who.push(json!({
            "kind": kind,
            "name": name,
            "statement": explained.because(),
            "owns_bucket": is_owner,
        }));
    }
    Ok(json!({ "who": who, "truncated": is_truncated }))
}

fn owners(desk: &Desk<'_>) -> Result<Value, Failure> {
    let model = &desk.caller.sender.model;
    let directory = desk.services.engine.directory().map_err(S3Error::from)?;
    let root = owner_id(model.account(), "root");
    let buckets = directory.buckets.values().map(|bucket| match owner_of(&bucket.settings) {
        None => json!({ "bucket": &*bucket.name, "user": "root", "owner_id": root }),
        Some(id) => {
            let user = model.user_by_id(id);
            let owner = user.map_or_else(|| owner_id(model.account(), id), |user| user.owner_id.clone());
            json!({ "bucket": &*bucket.name, "user": user.map(|user| &user.name), "owner_id": owner })
        }
    });
    let users =
        model.users().map(|user| json!({ "user": user.name, "id": user.id, "owner_id": user.owner_id }));
    let root = json!({ "user": "root", "id": model.account(), "owner_id": root });
    Ok(json!({
        "buckets": Value::from_iter(buckets),
        "users": Value::from_iter(std::iter::once(root).chain(users)),
    }))
}

async fn change_owner(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["bucket", "user"])?;
    let (bucket, user) = (asked.need("bucket")?, asked.need("user")?);
    desk.decisions.about(&Resource::Bucket(bucket));
    let owner = match user {
        // A bucket of root has no owner in its settings.
        "root" => None,
        user => Some(Bytes::copy_from_slice(desk.caller.sender.model.need_user(user)?.id.as_bytes())),
    };
    let changed = desk.services.engine.set_setting(bucket, SettingKind::OWNER, owner).await;
    changed.map_err(|why| S3Error::bucket(why, bucket))?;
    Ok(json!({ "bucket": bucket, "user": user }))
}

/// The buckets with a quota, or the one that is asked for, with what they hold.
async fn quotas(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["bucket", "after"])?;
    let engine = &desk.services.engine;
    let named = asked.text("bucket")?;
    let after = asked.text("after")?.unwrap_or_default();
    let directory = engine.directory().map_err(S3Error::from)?;
    let wanted: Vec<Arc<Bucket>> = match named {
        Some(name) => vec![engine.bucket(name).map_err(|why| S3Error::bucket(why, name))?],
        None => (directory.buckets.values())
            .filter(|bucket| bucket.settings.get(SettingKind::QUOTA).is_some() && after < &*bucket.name)
            .take(QUOTA_PAGE_MAX + 1)
            .cloned()
            .collect(),
    };
    let mut buckets = Vec::new();
    for bucket in wanted.iter().take(QUOTA_PAGE_MAX) {
        let (versions, bytes) = engine.held(bucket).await.map_err(S3Error::from)?;
        let quota = bucket.settings.quota().flatten();
        buckets
            .push(json!({ "bucket": &*bucket.name, "quota": quota, "bytes": bytes, "versions": versions }));
    }
    Ok(json!({ "buckets": buckets, "is_truncated": QUOTA_PAGE_MAX < wanted.len() }))
}

/// Bounds the bytes of a bucket, or, with `none`, lets it have any number.
async fn change_quota(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["bucket", "quota"])?;
    let bucket = asked.need("bucket")?;
    let quota = match asked.fields.get("quota") {
        None => return Err(invalid("quota is missing: a number of bytes, or none")),
        Some(Value::String(text)) if text == "none" => None,
        Some(_) => asked.number("quota")?,
    };
    let value = quota.map(|bytes| Bytes::copy_from_slice(&bytes.to_le_bytes()));
    let changed = desk.services.engine.set_setting(bucket, SettingKind::QUOTA, value).await;
    changed.map_err(|why| S3Error::bucket(why, bucket))?;
    Ok(json!({ "bucket": bucket, "quota": quota }))
}

/// How far the lifecycles of buckets are, or that of the one that is asked for.
async fn lifecycles(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["bucket", "after"])?;
    let engine = &desk.services.engine;
    let after = asked.text("after")?.unwrap_or_default();
    let directory = engine.directory().map_err(S3Error::from)?;
    let has_rules = |bucket: &Bucket| bucket.settings.get(SettingKind::LIFECYCLE).is_some();
    let wanted: Vec<Arc<Bucket>> = match asked.text("bucket")? {
        Some(name) => vec![engine.bucket(name).map_err(|why| S3Error::bucket(why, name))?],
        None => (directory.buckets.values())
            .filter(|bucket| has_rules(bucket) && after < &*bucket.name)
            .take(LIFECYCLE_PAGE_MAX + 1)
            .cloned()
            .collect(),
    };
    let mut buckets = Vec::new();
    for bucket in wanted.iter().take(LIFECYCLE_PAGE_MAX) {
        let found = lifecycle::figures::progress_of(engine, bucket).await.map_err(S3Error::from)?;
        let (versions, _) = engine.held(bucket).await.map_err(S3Error::from)?;
        let rules =
            Rules::of(&bucket.settings).map_err(S3Error::from)?.map_or(0, |rules| rules.iter().count());
        let progress = found.unwrap_or_default();
        let mut value = counts_json(&progress.counts);
        for (name, of_bucket) in [
            ("bucket", json!(&*bucket.name)),
            ("rules", json!(rules)),
            ("versions", json!(versions)),
            ("is_running", json!(progress.is_running)),
            ("resumed", json!(progress.resumed)),
            ("began_ms", json!(progress.began_ms)),
            ("ended_ms", json!(progress.ended_ms)),
            ("last_error", json!(progress.last_error)),
        ] {
            value[name] = of_bucket;
        }
        buckets.push(value);
    }
    Ok(json!({ "buckets": buckets, "is_truncated": LIFECYCLE_PAGE_MAX < wanted.len() }))
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "looked": counts.looked,
        "current": counts.current,
        "marked": counts.marked,
        "noncurrent": counts.noncurrent,
        "markers": counts.markers,
        "uploads": counts.uploads,
        "bytes": counts.bytes,
        "locked": counts.locked,
        "in_tables": counts.in_tables,
    })
}

/// What the rules of a bucket, or others that are sent along, would remove now; a page of it.
async fn lifecycle_preview(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["bucket", "rules", "next"])?;
    let name = asked.need("bucket")?;
    let services = desk.services;
    let bucket = services.engine.bucket(name).map_err(|why| S3Error::bucket(why, name))?;
    let position = match asked.text("next")? {
        None => Position::default(),
        Some(text) => Position::parse(text).ok_or_else(|| invalid("next is not what a page said"))?,
    };
    let tried = match asked.text("rules")? {
        None => None,
        Some(document) => Some(lifecycle::tried(document.as_bytes())?),
    };
    let value = match (&tried, bucket.settings.get(SettingKind::LIFECYCLE)) {
        (Some(value), _) | (None, Some(value)) => value,
        (None, None) => return Err(lifecycle::none(name).into()),
    };
    let (engine, catalog, clock) = (&services.engine, &services.catalog, services.s3.lifecycle_clock);
    let walk = Walk { engine, catalog, bucket: &bucket, value, clock, counts: true };
    let preview = walk.preview(position, desk.now_ms).await.map_err(|why| match why {
        WalkError::Engine(error) => S3Error::from(error),
        other => S3Error::invalid_request(format!("the lifecycle of {name} is not worked off: {other}")),
    })?;
    let mut value = counts_json(&preview.counts);
    value["bucket"] = json!(name);
    value["keys"] = preview.keys.iter().map(|(kind, key)| json!({ "kind": kind, "key": key })).collect();
    value["next"] = json!(preview.next.map(|position| position.to_string()));
    Ok(value)
}

/// The keys that objects are encrypted under, never what they are.
fn encryption_keys(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&[])?;
    let keys = &desk.services.s3.keys;
    let all = keys.all();
    let shown = all.0.iter().map(|(name, key)| encryption_key(name, key));
    Ok(json!({ "master_key": keys.is_on(), "keys": Value::from_iter(shown) }))
}

fn encryption_key(name: &str, key: &NamedKey) -> Value {
    let newest = key.newest();
    json!({
        "key": name,
        "created": iso_8601(key.created_ms),
        "versions": key.versions.len(),
        "rotated": iso_8601(newest.created_ms),
        "master_key": newest.master,
    })
}

/// Makes a key, or gives it a new version.
async fn change_encryption_key(desk: &Desk<'_>, page: Page, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["key"])?;
    let (keys, name) = (&desk.services.s3.keys, asked.need("key")?);
    let made = match page {
        Page::CreateKmsKey => keys.create(name).await,
        _ => keys.turn(name).await,
    };
    let why = match made {
        Ok(key) => return Ok(encryption_key(name, &key)),
        Err(why) => why,
    };
    Err(match why {
        KeyError::Engine(error) => S3Error::from(error).into(),
        KeyError::NoSuchKey => QueryError::NoSuchEntity { message: why.to_string() }.into(),
        KeyError::Closed(_) => QueryError::Unavailable { message: why.to_string().into() }.into(),
        KeyError::NoMasterKey | KeyError::Exists | KeyError::Name | KeyError::TooMany => {
            invalid(&why.to_string())
        }
    })
}

fn users(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["user"])?;
    let model = &desk.caller.sender.model;
    let users: Vec<&Arc<User>> = match asked.text("user")? {
        Some(name) => vec![model.need_user(name)?],
        None => model.users().collect(),
    };
    let users = users.into_iter().map(|user| {
        let keys = model.keys_of(&user.id).map(|key| {
            json!({
                "access_key": key.id,
                "name": key.name,
                "enabled": key.is_enabled,
                "created": iso_8601(key.created_ms),
                "expires": key.expires_ms.map(iso_8601),
                "policy": key.policy.is_some(),
            })
        });
        json!({
            "user": user.name,
            "id": user.id,
            "arn": model.user_arn(user),
            "owner_id": user.owner_id,
            "enabled": user.is_enabled,
            "created": iso_8601(user.created_ms),
            "keys": Value::from_iter(keys),
        })
    });
    Ok(json!({ "users": Value::from_iter(users) }))
}

/// Refuses who may not do `action` to a user; one that does not exist is judged by the ARN that it would have.
fn may(desk: &Desk<'_>, action: &'static str, user: &str) -> Result<(), Failure> {
    let model = &desk.caller.sender.model;
    let arn = match (user, model.user(user)) {
        ("root", _) => format!("arn:aws:iam::{}:root", model.account()),
        (_, Some(user)) => model.user_arn(user),
        (name, None) => format!("arn:aws:iam::{}:user/{name}", model.account()),
    };
    if desk.caller.allows(action, Resource::Identity(&arn)) {
        return Ok(());
    }
    Err(QueryError::AccessDenied { who: desk.caller.sender.arn.to_string(), action, arn }.into())
}

/// All web identities, in the place of a user: no user can have this name.
const WEB_IDENTITIES: &str = "web:identities";

/// Switches a user on or off, and ends its sessions: in one change.
async fn change_user(desk: &Desk<'_>, name: &str, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["enabled", "revoke_sessions"])?;
    let enabled = asked.switch("enabled")?;
    let revokes = asked.switch("revoke_sessions")?.unwrap_or(false);
    if enabled.is_some() {
        may(desk, "iam:UpdateUser", name)?;
    }
    if revokes || enabled.is_none() {
        may(desk, "admin:RevokeSessions", name)?;
    }
    let store = &desk.services.senders.store;
    let user = name.to_owned();
    match (name, enabled, revokes) {
        (_, None, false) => return Err(invalid("nothing is asked for: enabled, revoke_sessions")),
        ("root", Some(_), _) => return Err(invalid("root cannot be switched off")),
        ("root", None, true) => store.change(|model, _| model.revoke_root_sessions()).await?,
        (WEB_IDENTITIES, Some(_), _) => return Err(invalid("web identities are the issuer's to switch off")),
        (WEB_IDENTITIES, None, true) => store.change(|model, _| model.revoke_web_sessions()).await?,
        (_, Some(is_enabled), false) => {
            store.change(move |model, _| Ok(model.set_user_enabled(&user, is_enabled)?.map(drop))).await?;
        }
        (_, None, true) => {
            store.change(move |model, _| Ok(model.revoke_sessions(&user)?.map(drop))).await?;
        }
        (_, Some(is_enabled), true) => {
            let changed = store.change(move |model, _| {
                let switched = model.set_user_enabled(&user, is_enabled)?;
                Ok(switched.then(|model, _| model.revoke_sessions(&user))?.map(drop))
            });
            changed.await?;
        }
    }
    Ok(json!({ "user": name, "enabled": enabled, "sessions_revoked": revokes }))
}

async fn create_key(desk: &Desk<'_>, asked: &Asked) -> Result<Value, Failure> {
    asked.only(&["user", "name", "expires_s", "policy"])?;
    let user = asked.need("user")?.to_owned();
    may(desk, "iam:CreateAccessKey", &user)?;
    let name = asked.text("name")?.map(str::to_owned);
    let policy = match asked.fields.get("policy") {
        // As it is, so that errors name places that its author knows.
        Some(Value::Object(document)) => Some(Value::Object(document.clone()).to_string()),
        _ => asked.text("policy")?.map(str::to_owned),
    };
    let expires_s = asked.number("expires_s")?;
    let owner = user.clone();
    let made = desk.services.senders.store.change(move |model, moment| {
        let expires_ms = expires_s.map(|s| moment.now_ms.saturating_add(s.saturating_mul(1000)));
        let new = NewAccessKey { given: None, name: name.as_deref(), expires_ms, policy: policy.as_deref() };
        model.create_access_key(&owner, &new, moment)
    });
    let key = made.await?;
    Ok(json!({
        "user": user,
        "access_key": key.id,
        "secret_key": key.secret.expose(),
        "name": key.name,
        "expires": key.expires_ms.map(iso_8601),
    }))
}

/// The newest events, put together from the lines as they were written.
fn audit(shared: &AuditShared, asked: &Asked) -> Result<Bytes, Failure> {
    asked.only(&["limit", "user", "outcome"])?;
    let limit =
        asked.number("limit")?.map_or(AUDIT_PAGE_EVENTS, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let user = asked.text("user")?;
    let outcome = match asked.text("outcome")? {
        None => None,
        Some(name) => {
            let found = Outcome::ALL.into_iter().find(|outcome| outcome.name() == name);
            let names = Outcome::ALL.map(Outcome::name).join(", ");
            Some(found.ok_or_else(|| invalid(&format!("outcome must be one of {names}")))?)
        }
    };
    let fits = |line: &crate::audit::AuditLine| {
        user.is_none_or(|user| line.user.as_deref() == Some(user))
            && outcome.is_none_or(|outcome| line.outcome == outcome)
    };
    let lines = shared.newest(limit.min(AUDIT_PAGE_EVENTS_MAX), fits);
    let mut text = "{\"events\":[".to_owned();
    for (nth, line) in lines.iter().enumerate() {
        if nth > 0 {
            text.push(',');
        }
        text.push_str(&line.json);
    }
    text.push_str("]}");
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(failure: Failure) -> String {
        match failure {
            Failure::Query(error) => error.message().into_owned(),
            Failure::S3(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn queries_and_bodies() {
        let query = "as=a%20b&context.aws%3ASourceIp=10.0.0.1&context.k=1&context.k=2&X-Amz-Date=x";
        let asked = Asked::parse(Some(query), b"{\"limit\":7,\"on\":true}").map_err(message).expect("read");
        assert_eq!(asked.text("as").ok().flatten(), Some("a b"));
        assert_eq!(asked.number("limit").ok().flatten(), Some(7));
        assert_eq!(asked.switch("on").ok().flatten(), Some(true));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let want = [pair("aws:SourceIp", "10.0.0.1"), pair("k", "1"), pair("k", "2")];
        assert_eq!(asked.context().map_err(message).expect("read"), want);
        assert!(asked.only(&["as", "limit", "on", "context"]).is_ok());
        let other = asked.only(&["as"]).map_err(message).expect_err("more than that");
        assert!(other.starts_with("limit is not known here"), "{other}");
        let refused = |query: &str, body: &[u8], want: &str| {
            let got = Asked::parse(Some(query), body).map(drop).map_err(message).expect_err("refused");
            assert_eq!(got, want, "{query} {body:?}");
        };
        refused("a=1&a=2", b"", "a is given twice");
        refused("a=1", b"{\"a\":1}", "a is given twice");
        refused("", b"[]", "the body is no JSON object");
        refused("", b"{", "the body is no JSON object");
        refused("%ff", b"", "the query cannot be read");
    }

    #[test]
    fn arns() {
        let check = |arn: &str, want: Option<Resource<'_>>| assert_eq!(parse_arn(arn), want, "{arn}");
        check("*", Some(Resource::Service));
        check("arn:aws:s3:::b", Some(Resource::Bucket("b")));
        check("arn:aws:s3:::b/k/l:m", Some(Resource::Object { bucket: "b", key: b"k/l:m" }));
        check("arn:aws:s3tables:us-east-1:1:bucket/w", Some(Resource::Warehouse("w")));
        let table = Resource::Table { warehouse: "w", namespace: "", table: "", id: Some("i") };
        check("arn:aws:s3tables:::bucket/w/table/i", Some(table));
        let user = "arn:aws:iam::123456789012:user/a/b";
        check(user, Some(Resource::Identity(user)));
        for wrong in
            ["", "b/k", "arn:aws:s3:::", "arn:aws:sqs:::q", "arn:aws:s3tables:::table/x", "arn:aws:s3"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn actions_are_spelt_as_the_tables_have_them() {
        assert_eq!(known_action("S3:getobject"), "s3:GetObject");
        assert_eq!(known_action("s3:NoSuchThing"), "s3:NoSuchThing");
    }
}
