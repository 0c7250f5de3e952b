//! The bytes of the model's values: JSON of version 1, one record for each entity.
//!
//! `store` encodes the records of a change and loads them all at start. The key is one byte for the kind and the id; names
//! are inside, so that a new name moves nothing. I1. A field that is not known is refused by its name, since a record of a
//! newer program must not be half understood. I2. The secret of a key is sealed for its record. I3. Whatever the bytes,
//! nothing here panics.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::identity::model::draft::Draft;
use crate::identity::model::{
    AccessKey, AccountFacts, Grants, Group, ManagedPolicy, Model, PolicyRef, PolicyVersion, Sealer, Tags,
    User, fold, owner_id,
};
use crate::identity::policy::{Policy, PolicyError, PolicyKind};

/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;
/// What canned policies begin with among attached ones; ids have no `/`.
const CANNED: &str = "canned/";

/// What kind of record a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
    AccessKey,
    Policy,
    Account,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::User, Kind::Group, Kind::AccessKey, Kind::Policy, Kind::Account];

    /// The first byte of its keys.
    fn byte(self) -> u8 {
        match self {
            Kind::User => 0x20,
            Kind::Group => 0x21,
            Kind::AccessKey => 0x22,
            Kind::Policy => 0x23,
            Kind::Account => 0x24,
        }
    }
}

/// Returns the key of an entity's value.
pub(super) fn key(kind: Kind, id: &str) -> Bytes {
    let mut key = vec![kind.byte()];
    key.extend_from_slice(id.as_bytes());
    key.into()
}

fn split(key: &[u8]) -> Option<(Kind, &str)> {
    let (byte, id) = key.split_first()?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.byte() == *byte)?;
    let id = std::str::from_utf8(id).ok()?;
    (id.is_empty() == (kind == Kind::Account)).then_some((kind, id))
}

/// What is written under one key.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Record {
    User(Arc<User>),
    Group(Arc<Group>),
    AccessKey(Arc<AccessKey>),
    Policy(Arc<ManagedPolicy>),
    Account(AccountFacts),
}

/// Why the records that are stored make no model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFault {
    /// Kind and id, as far as they can be shown.
    pub record: String,
    /// What is wrong.
    pub why: RecordWhy,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordWhy {
    /// The key is of no kind that is known.
    Key,
    /// Another version, of a newer program.
    Version(u64),
    /// No JSON of this kind; the text names a field that is not known or missing.
    Json(String),
    /// The secret does not open under the root key.
    Secret,
    /// A policy cannot be read.
    Policy(PolicyError),
    /// Something named is not there.
    Missing(String),
    /// Two have one name.
    Name(String),
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "identity record {}: ", self.record)?;
        match &self.why {
            RecordWhy::Key => f.write_str("its key is of no known kind"),
            RecordWhy::Version(got) => {
                write!(f, "it has version {got}, expected {VERSION}: a newer program wrote it")
            }
            RecordWhy::Json(why) => f.write_str(why),
            RecordWhy::Secret => f.write_str("its secret does not open under this root key"),
            RecordWhy::Policy(error) => write!(f, "policy: {}: {}", error.at, error.why),
            RecordWhy::Missing(name) => write!(f, "it names {name}, which is not there"),
            RecordWhy::Name(name) => write!(f, "the name {name} is another one's"),
        }
    }
}

impl std::error::Error for RecordFault {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserRecord {
    v: u64,
    name: String,
    path: String,
    created_ms: u64,
    enabled: bool,
    session_epoch: u64,
    inline: BTreeMap<String, String>,
    attached: Vec<String>,
    groups: Vec<String>,
    tags: Tags,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupRecord {
    v: u64,
    name: String,
    path: String,
    created_ms: u64,
    inline: BTreeMap<String, String>,
    attached: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRecord {
    v: u64,
    user: String,
    secret: String,
    name: Option<String>,
    created_ms: u64,
    expires_ms: Option<u64>,
    enabled: bool,
    policy: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyRecord {
    v: u64,
    name: String,
    path: String,
    description: String,
    created_ms: u64,
    updated_ms: u64,
    default: u64,
    next: u64,
    versions: Vec<VersionRecord>,
    tags: Tags,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionRecord {
    number: u64,
    created_ms: u64,
    document: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountRecord {
    v: u64,
    root_session_epoch: u64,
    web_session_epoch: u64,
}

/// What every version begins with.
#[derive(Deserialize)]
struct Versioned {
    v: u64,
}

impl Record {
    /// The bytes of its value under `key`.
    pub fn encode(&self, key: &[u8], sealer: &dyn Sealer) -> Bytes {
        match self {
            Record::User(user) => json(&UserRecord {
                v: VERSION,
                name: user.name.clone(),
                path: user.path.clone(),
                created_ms: user.created_ms,
                enabled: user.is_enabled,
                session_epoch: user.session_epoch,
                inline: texts(&user.grants),
                attached: user.grants.attached.iter().map(reference).collect(),
                groups: user.groups.clone(),
                tags: user.tags.clone(),
            }),
            Record::Group(group) => json(&GroupRecord {
                v: VERSION,
                name: group.name.clone(),
                path: group.path.clone(),
                created_ms: group.created_ms,
                inline: texts(&group.grants),
                attached: group.grants.attached.iter().map(reference).collect(),
            }),
            Record::AccessKey(access_key) => json(&KeyRecord {
                v: VERSION,
                user: access_key.user.clone(),
                secret: sealer.seal(key, &access_key.secret),
                name: access_key.name.clone(),
                created_ms: access_key.created_ms,
                expires_ms: access_key.expires_ms,
                enabled: access_key.is_enabled,
                policy: access_key.policy.as_ref().map(|policy| policy.text().to_owned()),
            }),
            Record::Policy(policy) => json(&PolicyRecord {
                v: VERSION,
                name: policy.name.clone(),
                path: policy.path.clone(),
                description: policy.description.clone(),
                created_ms: policy.created_ms,
                updated_ms: policy.updated_ms,
                default: policy.default_version,
                next: policy.next_version,
                versions: policy
                    .versions
                    .iter()
                    .map(|(number, version)| VersionRecord {
                        number: *number,
                        created_ms: version.created_ms,
                        document: version.policy.text().to_owned(),
                    })
                    .collect(),
                tags: policy.tags.clone(),
            }),
            Record::Account(facts) => json(&AccountRecord {
                v: VERSION,
                root_session_epoch: facts.root_session_epoch,
                web_session_epoch: facts.web_session_epoch,
            }),
        }
    }
}

fn json(record: &impl Serialize) -> Bytes {
    serde_json::to_vec(record).expect("texts and numbers can be written").into()
}

fn texts(grants: &Grants) -> BTreeMap<String, String> {
    grants.inline.iter().map(|(name, policy)| (name.clone(), policy.text().to_owned())).collect()
}

fn reference(policy: &PolicyRef) -> String {
    match policy {
        PolicyRef::Canned(name) => format!("{CANNED}{name}"),
        PolicyRef::Managed(id) => id.clone(),
    }
}

fn parse_reference(text: String) -> PolicyRef {
    match text.strip_prefix(CANNED) {
        Some(name) => PolicyRef::Canned(name.to_owned()),
        None => PolicyRef::Managed(text),
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RecordWhy> {
    let text = |error: serde_json::Error| RecordWhy::Json(error.to_string());
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(text)?;
    if versioned.v != VERSION {
        return Err(RecordWhy::Version(versioned.v));
    }
    serde_json::from_slice(bytes).map_err(text)
}

impl Model {
    /// Makes the model of all stored values. `sealer` opens what it sealed when they were written.
    pub fn load(
        account: &str,
        values: impl Iterator<Item = (Bytes, Bytes)>,
        sealer: &dyn Sealer,
    ) -> Result<Model, RecordFault> {
        let mut draft = Draft::loading(Model::empty(account));
        for (key, value) in values {
            let fault = |why| RecordFault { record: show(&key), why };
            let (kind, id) = split(&key).ok_or_else(|| fault(RecordWhy::Key))?;
            draft.load(kind, id, &key, &value, sealer).map_err(fault)?;
        }
        draft.model.check_references()?;
        Ok(draft.model)
    }

    fn check_references(&self) -> Result<(), RecordFault> {
        for (id, held) in self.users.iter() {
            let fault = |why| RecordFault { record: show(&key(Kind::User, id)), why };
            let missing = held.user.groups.iter().find(|group| self.groups.get(group).is_none());
            missing.map_or(Ok(()), |group| Err(fault(RecordWhy::Missing(group.clone()))))?;
            self.check_grants(&held.user.grants).map_err(fault)?;
        }
        for (id, group) in self.groups.iter() {
            let fault = |why| RecordFault { record: show(&key(Kind::Group, id)), why };
            self.check_grants(&group.grants).map_err(fault)?;
        }
        for (id, access_key) in self.keys.iter() {
            if self.users.get(&access_key.user).is_none() {
                let why = RecordWhy::Missing(access_key.user.clone());
                return Err(RecordFault { record: show(&key(Kind::AccessKey, id)), why });
            }
        }
        Ok(())
    }

    fn check_grants(&self, grants: &Grants) -> Result<(), RecordWhy> {
        match grants.attached.iter().find(|policy| self.attached(policy).is_none()) {
            Some(policy) => Err(RecordWhy::Missing(reference(policy))),
            None => Ok(()),
        }
    }

    fn stored_policy(&self, text: &str, name: &str) -> Result<Arc<Policy>, RecordWhy> {
        let policy = Policy::parse(text, PolicyKind::Identity, name, self.account());
        policy.map(Arc::new).map_err(RecordWhy::Policy)
    }

    fn stored_inline(
        &self,
        inline: BTreeMap<String, String>,
        name: impl Fn(&str) -> String,
    ) -> Result<BTreeMap<String, Arc<Policy>>, RecordWhy> {
        inline
            .into_iter()
            .map(|(policy, text)| {
                let parsed = self.stored_policy(&text, &name(&policy))?;
                Ok((policy, parsed))
            })
            .collect()
    }
}

/// What of a key can be shown.
fn show(key: &[u8]) -> String {
    match split(key) {
        Some((kind, id)) => format!("{kind:?} {id}").trim_end().to_owned(),
        None => hex::encode(key),
    }
}

impl Draft {
    fn load(
        &mut self,
        kind: Kind,
        id: &str,
        key: &[u8],
        value: &[u8],
        sealer: &dyn Sealer,
    ) -> Result<(), RecordWhy> {
        let model = &self.model;
        match kind {
            Kind::User => {
                let record: UserRecord = parse(value)?;
                if model.user_names.get(&fold(&record.name)).is_some() {
                    return Err(RecordWhy::Name(record.name));
                }
                let inline = model
                    .stored_inline(record.inline, |policy| model.user_policy_name(&record.name, policy))?;
                let attached = record.attached.into_iter().map(parse_reference).collect();
                self.put_user(User {
                    id: id.to_owned(),
                    owner_id: owner_id(model.account(), id),
                    name: record.name,
                    path: record.path,
                    created_ms: record.created_ms,
                    is_enabled: record.enabled,
                    session_epoch: record.session_epoch,
                    grants: Grants { inline, attached },
                    groups: record.groups,
                    tags: record.tags,
                });
            }
            Kind::Group => {
                let record: GroupRecord = parse(value)?;
                if model.group_names.get(&fold(&record.name)).is_some() {
                    return Err(RecordWhy::Name(record.name));
                }
                let inline = model
                    .stored_inline(record.inline, |policy| model.group_policy_name(&record.name, policy))?;
                let attached = record.attached.into_iter().map(parse_reference).collect();
                self.put_group(Group {
                    id: id.to_owned(),
                    name: record.name,
                    path: record.path,
                    created_ms: record.created_ms,
                    grants: Grants { inline, attached },
                });
            }
            Kind::AccessKey => {
                let record: KeyRecord = parse(value)?;
                let policy = record.policy.map(|text| model.stored_policy(&text, &model.key_policy_name(id)));
                let policy = policy.transpose()?;
                self.put_key(AccessKey {
                    id: id.to_owned(),
                    user: record.user,
                    secret: sealer.unseal(key, &record.secret).ok_or(RecordWhy::Secret)?,
                    name: record.name,
                    created_ms: record.created_ms,
                    expires_ms: record.expires_ms,
                    is_enabled: record.enabled,
                    policy,
                    last_use: Arc::default(),
                });
            }
            Kind::Policy => {
                let policy = model.load_policy(id, parse(value)?)?;
                self.put_policy(policy);
            }
            Kind::Account => {
                let record: AccountRecord = parse(value)?;
                self.put_facts(AccountFacts {
                    root_session_epoch: record.root_session_epoch,
                    web_session_epoch: record.web_session_epoch,
                });
            }
        }
        Ok(())
    }
}

impl Model {
    fn load_policy(&self, id: &str, record: PolicyRecord) -> Result<ManagedPolicy, RecordWhy> {
        if self.policy_names.get(&fold(&record.name)).is_some() {
            return Err(RecordWhy::Name(record.name));
        }
        let arn = format!("arn:aws:iam::{}:policy{}{}", self.account(), record.path, record.name);
        let mut versions = BTreeMap::new();
        for version in record.versions {
            let policy = self.stored_policy(&version.document, &arn)?;
            versions.insert(version.number, PolicyVersion { created_ms: version.created_ms, policy });
        }
        let numbers: BTreeSet<u64> = versions.keys().copied().collect();
        if !numbers.contains(&record.default) || numbers.last().is_some_and(|last| record.next <= *last) {
            return Err(RecordWhy::Missing(format!("version {} before {}", record.default, record.next)));
        }
        Ok(ManagedPolicy {
            id: id.to_owned(),
            name: record.name,
            path: record.path,
            description: record.description,
            created_ms: record.created_ms,
            updated_ms: record.updated_ms,
            default_version: record.default,
            next_version: record.next,
            versions,
            tags: record.tags,
        })
    }
}
