//! `provision.toml`: who and what is to be there, and the steps from what is there to that. Pure: texts and facts in, steps out.
//!
//! The server's start and `nilas provision` parse a file ([`Desired::parse`]), fill in [`Current`], ask [`plan`] for the steps
//! and carry them out in their order.
//! I1. What the file does not name is left alone, and so is each field that it does not give; nothing is ever deleted.
//! I2. A field that is given is made so: a list of groups or policies is the whole list.
//! I3. Once the steps of a plan are carried out, the plan is empty.
//! I4. Rights are taken before others are given, so that a stop in between leaves less than was wanted, not more.
//! I5. What can be seen to fail beforehand is a fault of the plan, and then no step is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path, PathBuf};

use nilas_catalog::bucket_name::{is_reserved_for_catalog, is_well_formed};
use serde::{Deserialize, Serialize};

use crate::identity::bucket_rules::{PolicyRefusal, PublicAccessBlock, admitted};
use crate::identity::model::{check, fold};
use crate::identity::policy::{Policy, PolicyKind};
use crate::identity::principals::{self, People};
use crate::limits::{
    ATTACHED_POLICIES_MAX, IDENTITY_NAME_CHARS_MAX, PROVISION_BYTES_MAX, USER_GROUPS_MAX, USER_KEYS_MAX,
};
use crate::s3::bucket_name;

/// Reads a file that the text names, by its path as it stands there; the error says why it cannot be read.
pub type ReadFile<'a> = dyn Fn(&Path) -> Result<String, String> + 'a;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `users.ana.groups`, or line and column of what is no TOML.
    pub at: String,
    /// One line.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.why)
    }
}

/// What is to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Documents of managed policies.
    pub policies: BTreeMap<String, String>,
    /// By name.
    pub groups: BTreeMap<String, Group>,
    /// By name.
    pub users: BTreeMap<String, User>,
    /// By name.
    pub buckets: BTreeMap<String, Bucket>,
    /// Warehouses, which are buckets as well; no name stands in both.
    pub warehouses: BTreeMap<String, Bucket>,
}

/// A group that is to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Names of all policies that are attached to it.
    pub policies: Option<BTreeSet<String>>,
}

/// A user who is to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Whether the user's keys work.
    pub enabled: Option<bool>,
    /// All groups of the user.
    pub groups: Option<BTreeSet<String>>,
    /// Names of all policies that are attached to the user.
    pub policies: Option<BTreeSet<String>>,
    /// Keys by name, made when there is none of that name.
    pub keys: BTreeMap<String, Key>,
}

/// A key that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where access key and secret are written when it is made, for its owner alone; the file must not exist.
    pub file: PathBuf,
    /// Seconds until it ends.
    pub expires_s: Option<u64>,
    /// The document that narrows it.
    pub policy: Option<String>,
}

/// A bucket that is to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The user who owns it, or `root`.
    pub owner: Option<String>,
    /// The bucket policy; an empty one stands for none.
    pub policy: Option<String>,
}

/// What is there, as far as plans ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// 12 digits.
    pub account: String,
    /// Names of the policies that are always there.
    pub canned: BTreeSet<String>,
    /// Documents in force of managed policies.
    pub policies: BTreeMap<String, String>,
    /// Names of attached policies, by group.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// By name.
    pub users: BTreeMap<String, CurrentUser>,
    /// By name; warehouses are among them.
    pub buckets: BTreeMap<String, CurrentBucket>,
    /// Files of keys, as the text has their paths, that stand in the way of the plan, and why.
    pub key_files: BTreeMap<PathBuf, String>,
}

/// A user who is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentUser {
    /// With the path before the name.
    pub arn: String,
    /// As principals of policies have it.
    pub id: String,
    /// As owners of buckets have it.
    pub owner_id: String,
    /// Whether the user's keys work.
    pub enabled: bool,
    /// All groups.
    pub groups: BTreeSet<String>,
    /// Names of attached policies.
    pub policies: BTreeSet<String>,
    /// Names of keys that have one.
    pub keys: BTreeSet<String>,
}

/// A bucket that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CurrentBucket {
    /// Name of the owner, `root` among them; `None` when the owner is gone.
    pub owner: Option<String>,
    /// The bucket policy with ARNs of users, empty when there is none.
    pub policy: String,
    /// Whether it takes no policy that lets in everybody.
    pub blocks_public_policy: bool,
    /// Whether tables can be made in it.
    pub is_warehouse: bool,
}

/// One change. Names are those of users, groups, policies and buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Step {
    LeaveGroup {
        group: String,
        user: String,
    },
    DetachFromUser {
        policy: String,
        user: String,
    },
    DetachFromGroup {
        policy: String,
        group: String,
    },
    DisableUser {
        user: String,
    },
    CreatePolicy {
        policy: String,
        #[serde(skip)]
        document: String,
    },
    ReplacePolicy {
        policy: String,
        #[serde(skip)]
        document: String,
    },
    CreateGroup {
        group: String,
    },
    CreateUser {
        user: String,
    },
    AttachToGroup {
        policy: String,
        group: String,
    },
    AttachToUser {
        policy: String,
        user: String,
    },
    JoinGroup {
        group: String,
        user: String,
    },
    EnableUser {
        user: String,
    },
    CreateBucket {
        bucket: String,
    },
    CreateWarehouse {
        warehouse: String,
    },
    SetOwner {
        bucket: String,
        user: String,
    },
    SetBucketPolicy {
        bucket: String,
        #[serde(skip)]
        document: String,
    },
    RemoveBucketPolicy {
        bucket: String,
    },
    CreateKey {
        user: String,
        key: String,
        file: PathBuf,
        #[serde(skip)]
        expires_s: Option<u64>,
        #[serde(skip)]
        policy: Option<String>,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::LeaveGroup { group, user } => write!(f, "- {user} leaves group {group}"),
            Step::DetachFromUser { policy, user } => write!(f, "- policy {policy} from user {user}"),
            Step::DetachFromGroup { policy, group } => write!(f, "- policy {policy} from group {group}"),
            Step::DisableUser { user } => write!(f, "~ user {user} is disabled"),
            Step::CreatePolicy { policy, .. } => write!(f, "+ policy {policy}"),
            Step::ReplacePolicy { policy, .. } => write!(f, "~ policy {policy} gets a new version"),
            Step::CreateGroup { group } => write!(f, "+ group {group}"),
            Step::CreateUser { user } => write!(f, "+ user {user}"),
            Step::AttachToGroup { policy, group } => write!(f, "+ policy {policy} to group {group}"),
            Step::AttachToUser { policy, user } => write!(f, "+ policy {policy} to user {user}"),
            Step::JoinGroup { group, user } => write!(f, "+ {user} joins group {group}"),
            Step::EnableUser { user } => write!(f, "~ user {user} is enabled"),
            Step::CreateBucket { bucket } => write!(f, "+ bucket {bucket}"),
            Step::CreateWarehouse { warehouse } => write!(f, "+ warehouse {warehouse}"),
            Step::SetOwner { bucket, user } => write!(f, "~ bucket {bucket} is {user}'s"),
            Step::SetBucketPolicy { bucket, .. } => write!(f, "~ bucket {bucket} gets a policy"),
            Step::RemoveBucketPolicy { bucket } => write!(f, "- policy of bucket {bucket}"),
            Step::CreateKey { user, key, file, .. } => {
                write!(f, "+ key {key} of user {user} in {}", file.display())
            }
        }
    }
}

/// The file as TOML has it. A policy is a path, relative to the file, or a document, which begins with `{`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    policies: BTreeMap<String, String>,
    #[serde(default)]
    groups: BTreeMap<String, GroupTable>,
    #[serde(default)]
    users: BTreeMap<String, UserTable>,
    #[serde(default)]
    buckets: BTreeMap<String, BucketTable>,
    #[serde(default)]
    warehouses: BTreeMap<String, BucketTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    policies: Option<BTreeSet<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserTable {
    enabled: Option<bool>,
    groups: Option<BTreeSet<String>>,
    policies: Option<BTreeSet<String>>,
    #[serde(default)]
    keys: BTreeMap<String, KeyTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyTable {
    file: PathBuf,
    expires: Option<String>,
    policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketTable {
    owner: Option<String>,
    policy: Option<String>,
}

impl Desired {
    /// Parses the text of a file; policies that lie in files of their own are read by `read`.
    ///
    /// Errors: what is no TOML, keys that are not known, lengths of time that are none, files that cannot be read.
    pub fn parse(text: &str, read: &ReadFile<'_>) -> Result<Desired, Fault> {
        if PROVISION_BYTES_MAX < text.len() {
            let why = format!("it has {} bytes, at most {PROVISION_BYTES_MAX}", text.len());
            return Err(Fault { at: "the file".to_owned(), why });
        }
        let file: File = toml::from_str(text).map_err(|error| Fault {
            at: error.span().map_or_else(|| "the file".to_owned(), |span| place(text, span.start)),
            why: error.message().lines().collect::<Vec<_>>().join(", "),
        })?;
        let document =
            |at: String, given: String| match given.trim_start().starts_with('{') || given.is_empty() {
                true => Ok(given),
                false => read(Path::new(&given)).map_err(|why| Fault { at, why: format!("{given}: {why}") }),
            };
        let mut desired = Desired::default();
        for (name, given) in file.policies {
            let text = document(format!("policies.{name}"), given)?;
            desired.policies.insert(name, text);
        }
        for (name, group) in file.groups {
            desired.groups.insert(name, Group { policies: group.policies });
        }
        for (name, user) in file.users {
            let mut keys = BTreeMap::new();
            for (key, table) in user.keys {
                let at = format!("users.{name}.keys.{key}");
                let expires_s = table.expires.as_deref().map(parse_seconds).transpose();
                let expires_s = expires_s.map_err(|why| Fault { at: format!("{at}.expires"), why })?;
                let policy = table.policy.map(|given| document(format!("{at}.policy"), given)).transpose()?;
                keys.insert(key, Key { file: table.file, expires_s, policy });
            }
            let user = User { enabled: user.enabled, groups: user.groups, policies: user.policies, keys };
            desired.users.insert(name, user);
        }
        let bucket = |kind: &str, name: &str, table: BucketTable| {
            let policy =
                table.policy.map(|given| document(format!("{kind}.{name}.policy"), given)).transpose()?;
            Ok(Bucket { owner: table.owner, policy })
        };
        for (name, table) in file.buckets {
            let made = bucket("buckets", &name, table)?;
            desired.buckets.insert(name, made);
        }
        for (name, table) in file.warehouses {
            let made = bucket("warehouses", &name, table)?;
            desired.warehouses.insert(name, made);
        }
        Ok(desired)
    }

    /// Everything that cannot be: names that lead nowhere or are none, policies that are none, files in the way.
    fn faults(&self, current: &Current) -> Vec<Fault> {
        let mut faults = self.name_faults(current);
        let mut fault = |at: String, why: String| faults.push(Fault { at, why });
        let is_policy = |name: &String| {
            self.policies.contains_key(name)
                || current.policies.contains_key(name)
                || current.canned.contains(name)
        };
        let is_group = |name: &String| self.groups.contains_key(name) || current.groups.contains_key(name);
        let is_user =
            |name: &String| name == ROOT || self.users.contains_key(name) || current.users.contains_key(name);
        let mut judge = |at: String, text: &str| {
            if let Err(error) = Policy::parse(text, PolicyKind::Identity, &at, &current.account) {
                fault(at, error.to_string());
            }
        };
        for (name, text) in &self.policies {
            judge(format!("policies.{name}"), text);
        }
        for (name, user) in &self.users {
            for (key, wish) in &user.keys {
                if let Some(text) = &wish.policy {
                    judge(format!("users.{name}.keys.{key}.policy"), text);
                }
            }
        }
        let people = Planned { desired: self, current };
        for (kind, name, bucket) in self.places() {
            let Some(text) = bucket.policy.as_deref().filter(|text| !text.is_empty()) else { continue };
            let there = current.buckets.get(name);
            let block_public_policy =
                there.is_some_and(|there| there.blocks_public_policy && !people.is_same(&there.policy, text));
            let block = PublicAccessBlock { block_public_policy, ..PublicAccessBlock::default() };
            let why = match admitted(text, name, block, &people) {
                Ok(_) => continue,
                Err(PolicyRefusal::Malformed(why)) => why,
                Err(PolicyRefusal::Public) => {
                    "it lets in everybody, and the bucket has BlockPublicPolicy".to_owned()
                }
            };
            fault(format!("{kind}.{name}.policy"), why);
        }
        let mut named = |at: &str,
                         names: Option<&BTreeSet<String>>,
                         what: &str,
                         max: usize,
                         is: &dyn Fn(&String) -> bool| {
            for name in names.into_iter().flatten().filter(|name| !is(name)) {
                fault(at.to_owned(), format!("there is no {what} {name}"));
            }
            if names.is_some_and(|names| max < names.len()) {
                fault(at.to_owned(), format!("there are more than {max}"));
            }
        };
        let policies_max = ATTACHED_POLICIES_MAX;
        for (name, group) in &self.groups {
            let at = format!("groups.{name}.policies");
            named(&at, group.policies.as_ref(), "policy", policies_max, &is_policy);
        }
        for (name, user) in &self.users {
            let at = format!("users.{name}.groups");
            named(&at, user.groups.as_ref(), "group", USER_GROUPS_MAX, &is_group);
            let at = format!("users.{name}.policies");
            named(&at, user.policies.as_ref(), "policy", policies_max, &is_policy);
        }
        for (kind, name, bucket) in self.places() {
            if let Some(owner) = bucket.owner.as_ref().filter(|owner| !is_user(owner)) {
                fault(format!("{kind}.{name}.owner"), format!("there is no user {owner}"));
            }
            if kind == WAREHOUSES && self.buckets.contains_key(name) {
                fault(format!("warehouses.{name}"), "it is among the buckets, too".to_owned());
            }
        }
        let mut files = BTreeMap::new();
        for (name, user) in &self.users {
            if USER_KEYS_MAX < user.keys.len() {
                fault(format!("users.{name}.keys"), format!("there are more than {USER_KEYS_MAX}"));
            }
            for (key, wish) in &user.keys {
                let at = || format!("users.{name}.keys.{key}.file");
                if let Some(other) = files.insert(plain(&wish.file), (name, key)) {
                    fault(at(), format!("users.{}.keys.{} is written to the same file", other.0, other.1));
                } else if let Some(why) = current.key_files.get(&wish.file) {
                    fault(at(), format!("{}: {why}", wish.file.display()));
                }
            }
        }
        faults
    }

    /// Names that nothing can be made under.
    fn name_faults(&self, current: &Current) -> Vec<Fault> {
        let mut faults = Vec::new();
        fn check_names<'a, T>(
            faults: &mut Vec<Fault>,
            (table, what): (&str, &str),
            wanted: impl Iterator<Item = &'a String>,
            there: &'a BTreeMap<String, T>,
            check: impl Fn(&str) -> Result<(), String>,
        ) {
            let mut taken: BTreeMap<String, &String> = there.keys().map(|name| (fold(name), name)).collect();
            for name in wanted.filter(|name| !there.contains_key(*name)) {
                let at = format!("{table}.{name}");
                if let Err(why) = check(name) {
                    faults.push(Fault { at, why });
                } else if let Some(other) = taken.insert(fold(name), name) {
                    let why = format!("there is a {what} {other}, and names differ in more than case");
                    faults.push(Fault { at, why });
                }
            }
        }
        let said =
            |checked: Result<(), crate::identity::model::Fault>| checked.map_err(|fault| fault.to_string());
        let policy = |name: &str| match current.canned.contains(&fold(name)) {
            true => Err("the policy of that name is always there and stays as it is".to_owned()),
            false => said(check::name("its name", name)),
        };
        let user = |name: &str| match fold(name) == ROOT {
            true => Err("the root key is no user's".to_owned()),
            false => said(check::user_name("its name", name)),
        };
        let group = |name: &str| said(check::name("its name", name));
        check_names(&mut faults, ("policies", "policy"), self.policies.keys(), &current.policies, policy);
        check_names(&mut faults, ("groups", "group"), self.groups.keys(), &current.groups, group);
        check_names(&mut faults, ("users", "user"), self.users.keys(), &current.users, user);
        for (name, user) in &self.users {
            for key in user.keys.keys() {
                if let Err(why) = said(check::text("its name", key, IDENTITY_NAME_CHARS_MAX)) {
                    faults.push(Fault { at: format!("users.{name}.keys.{key}"), why });
                }
            }
        }
        for (kind, name, _) in self.places().filter(|(_, name, _)| !current.buckets.contains_key(*name)) {
            let is_valid = match kind == WAREHOUSES {
                true => is_well_formed(name) && !is_reserved_for_catalog(name),
                false => bucket_name::is_valid(name),
            };
            if !is_valid {
                let why = "there are no buckets of that name".to_owned();
                faults.push(Fault { at: format!("{kind}.{name}"), why });
            }
        }
        faults
    }

    /// Buckets and warehouses, with the table that they are in.
    fn places(&self) -> impl Iterator<Item = (&'static str, &String, &Bucket)> {
        let buckets = self.buckets.iter().map(|(name, bucket)| ("buckets", name, bucket));
        buckets.chain(self.warehouses.iter().map(|(name, bucket)| (WAREHOUSES, name, bucket)))
    }
}

const ROOT: &str = "root";
const WAREHOUSES: &str = "warehouses";

/// Who there is once the plan is carried out.
struct Planned<'a> {
    desired: &'a Desired,
    current: &'a Current,
}

impl Planned<'_> {
    /// Whether two policies of a bucket say the same of the same users.
    fn is_same(&self, one: &str, other: &str) -> bool {
        let kept = |text: &str| principals::kept(text, self).unwrap_or_else(|_| text.to_owned());
        is_same(one, other) || is_same(&kept(one), &kept(other))
    }
}

impl People for Planned<'_> {
    fn account(&self) -> &str {
        &self.current.account
    }

    fn id_of(&self, arn: &str) -> Option<String> {
        if let Some(user) = self.current.users.values().find(|user| user.arn == arn) {
            return Some(user.id.clone());
        }
        // Who is still to be made has no id yet, and no path.
        let name = arn.strip_prefix(&format!("arn:aws:iam::{}:user/", self.current.account))?;
        let is_made = self.desired.users.contains_key(name) && !self.current.users.contains_key(name);
        is_made.then(|| arn.to_owned())
    }

    fn has_id(&self, id: &str) -> bool {
        self.current.users.values().any(|user| user.id == id)
    }

    fn has_owner_id(&self, owner_id: &str) -> bool {
        self.current.users.values().any(|user| user.owner_id.eq_ignore_ascii_case(owner_id))
    }
}

/// A path without `.` and `..`, as far as that can be seen in its text.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

/// The steps from what is there to what is to be there; none when that is there already.
///
/// Errors: all that is wrong with the file, before anything is done.
pub fn plan(desired: &Desired, current: &Current) -> Result<Vec<Step>, Vec<Fault>> {
    let faults = desired.faults(current);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut steps = Vec::new();
    let (nobody, no_group) = (CurrentUser { enabled: true, ..CurrentUser::default() }, BTreeSet::new());
    let user_of = |name: &String| current.users.get(name).unwrap_or(&nobody);
    let group_of = |name: &String| current.groups.get(name).unwrap_or(&no_group);

    for (user, wish) in &desired.users {
        let has = user_of(user);
        if wish.enabled == Some(false) && has.enabled && current.users.contains_key(user) {
            steps.push(Step::DisableUser { user: user.clone() });
        }
        for group in extra(&has.groups, wish.groups.as_ref()) {
            steps.push(Step::LeaveGroup { group, user: user.clone() });
        }
        for policy in extra(&has.policies, wish.policies.as_ref()) {
            steps.push(Step::DetachFromUser { policy, user: user.clone() });
        }
    }
    for (group, wish) in &desired.groups {
        for policy in extra(group_of(group), wish.policies.as_ref()) {
            steps.push(Step::DetachFromGroup { policy, group: group.clone() });
        }
    }
    for (policy, document) in &desired.policies {
        let (policy, document) = (policy.clone(), document.clone());
        match current.policies.get(&policy) {
            None => steps.push(Step::CreatePolicy { policy, document }),
            Some(there) if !is_same(there, &document) => steps.push(Step::ReplacePolicy { policy, document }),
            Some(_) => {}
        }
    }
    for (group, wish) in &desired.groups {
        if !current.groups.contains_key(group) {
            steps.push(Step::CreateGroup { group: group.clone() });
        }
        for policy in missing(group_of(group), wish.policies.as_ref()) {
            steps.push(Step::AttachToGroup { policy, group: group.clone() });
        }
    }
    for (user, wish) in &desired.users {
        let has = user_of(user);
        if !current.users.contains_key(user) {
            steps.push(Step::CreateUser { user: user.clone() });
            if wish.enabled == Some(false) {
                steps.push(Step::DisableUser { user: user.clone() });
            }
        }
        for policy in missing(&has.policies, wish.policies.as_ref()) {
            steps.push(Step::AttachToUser { policy, user: user.clone() });
        }
        for group in missing(&has.groups, wish.groups.as_ref()) {
            steps.push(Step::JoinGroup { group, user: user.clone() });
        }
        if wish.enabled == Some(true) && !has.enabled {
            steps.push(Step::EnableUser { user: user.clone() });
        }
    }
    for (kind, name, wish) in desired.places() {
        let people = Planned { desired, current };
        plan_bucket(name, wish, kind == WAREHOUSES, &people, &mut steps);
    }
    // Last: a key is of use once its user's rights are there, and its file is the one thing that cannot be made again.
    for (user, wish) in &desired.users {
        for (key, made) in wish.keys.iter().filter(|(key, _)| !user_of(user).keys.contains(*key)) {
            steps.push(Step::CreateKey {
                user: user.clone(),
                key: key.clone(),
                file: made.file.clone(),
                expires_s: made.expires_s,
                policy: made.policy.clone(),
            });
        }
    }
    Ok(steps)
}

fn plan_bucket(name: &str, wish: &Bucket, is_warehouse: bool, people: &Planned<'_>, steps: &mut Vec<Step>) {
    let there = people.current.buckets.get(name);
    // Whoever makes it owns it at first, and that need not be root.
    let new = CurrentBucket::default();
    let has = there.unwrap_or(&new);
    let bucket = || name.to_owned();
    if is_warehouse && !has.is_warehouse {
        steps.push(Step::CreateWarehouse { warehouse: bucket() });
    } else if there.is_none() {
        steps.push(Step::CreateBucket { bucket: bucket() });
    }
    // Before its new owner has it.
    match wish.policy.as_deref() {
        Some("") if !has.policy.is_empty() => steps.push(Step::RemoveBucketPolicy { bucket: bucket() }),
        Some(document) if !document.is_empty() && !people.is_same(&has.policy, document) => {
            steps.push(Step::SetBucketPolicy { bucket: bucket(), document: document.to_owned() });
        }
        _ => {}
    }
    if let Some(user) = wish.owner.as_ref().filter(|owner| Some(*owner) != has.owner.as_ref()) {
        steps.push(Step::SetOwner { bucket: bucket(), user: user.clone() });
    }
}

fn missing(has: &BTreeSet<String>, wanted: Option<&BTreeSet<String>>) -> Vec<String> {
    wanted.map_or_else(Vec::new, |wanted| wanted.difference(has).cloned().collect())
}

fn extra(has: &BTreeSet<String>, wanted: Option<&BTreeSet<String>>) -> Vec<String> {
    wanted.map_or_else(Vec::new, |wanted| has.difference(wanted).cloned().collect())
}

/// Whether two documents say the same, whatever their blanks.
pub fn is_same(one: &str, other: &str) -> bool {
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    one == other || parsed(one).is_some_and(|one| Some(one) == parsed(other))
}

/// Parses a length of time such as `900s`, `15m`, `1h` or `30d` to seconds; the error says how it is written.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no length of time: write it like 15m, 1h or 30d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_s: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit_s).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

/// Line and column of a byte of a text.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("line {line}, column {column}")
}

#[cfg(test)]
mod tests;
