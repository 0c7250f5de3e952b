//! `provision.toml` at start: what it wants to be there is made so, before the server is ready.
//!
//! `Server::prepare` reads the file, so that a broken one ends the start before anything is made; the first core plans with
//! what is there (`identity::provision`, which is pure) and carries the steps out in their order, each durable before the
//! next. I1. What is there already is left as it is, so a start can be cut anywhere and repeated. I2. The secret of a key is in
//! its file, for its owner alone, before the key is made: a file that is there is taken, so a secret may come from
//! elsewhere. I3. A plan that cannot be ends the start; a step that fails is said, and the server goes on with what there is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use nilas_catalog::access::{Access, Resource};
use nilas_catalog::{Request, Route};
use nilas_engine::{Bucket, BucketError, BucketSettings, SettingKind};
use serde_json::json;

use crate::identity::IdentityStore;
use crate::identity::bucket_rules::{PolicyRefusal, admitted, block_of};
use crate::identity::model::{
    Change, Fault, Grants, Model, Moment, NewAccessKey, NewPolicy, NewUser, Of, Secret, Tags,
};
use crate::identity::principals;
use crate::identity::provision::{Current, CurrentBucket, CurrentUser, Desired, Step, plan};
use crate::identity::root_key::RootKey;
use crate::limits::POLICY_VERSIONS_MAX;
use crate::process::files::{file_mode, make_private_directory, read_file, write_private};
use crate::server::Services;

/// The file that is taken from the data directory when none is named.
pub(super) const PROVISION: &str = "provision.toml";
const ROOT: &str = "root";

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Provision {
    path: PathBuf,
    desired: Desired,
}

impl Provision {
    /// Reads a file, with the policies that lie in files beside it; `None` when there is none and it need not be.
    pub(super) fn read(path: &Path, may_lack: bool) -> Result<Option<Provision>, String> {
        let failed = |why: String| format!("{}: {why}", path.display());
        let text = match read_file(path) {
            Ok(text) => text,
            Err(error) if may_lack && error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let beside = |named: &Path| read_file(&beside(path, named)).map_err(|error| error.to_string());
        let desired = Desired::parse(&text, &beside).map_err(|fault| failed(fault.to_string()))?;
        Ok(Some(Provision { path: path.to_path_buf(), desired }))
    }

    /// Makes it so. The error is that of a plan that cannot be.
    pub(super) async fn apply(&self, services: &Services) -> Result<(), String> {
        let said = |why: &dyn std::fmt::Display| format!("{}: {why}", self.path.display());
        let store = &services.senders.store;
        if let Some(why) = store.closed() {
            eprintln!(
                "nilas: {}",
                said(&format!("nothing is made so, because identities take no changes: {why}"))
            );
            return Ok(());
        }
        let directory = match services.engine.directory() {
            Ok(directory) => directory,
            Err(error) => {
                eprintln!("nilas: {}", said(&error));
                return Ok(());
            }
        };
        let current = current(&store.current(), directory.buckets.values());
        let steps = plan(&self.desired, &current).map_err(|faults| {
            let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
            said(&all.join("; "))
        })?;
        for step in steps {
            match self.carry_out(services, &step).await {
                Ok(()) => eprintln!("nilas: provisioned: {step}"),
                Err(why) => {
                    eprintln!(
                        "nilas: {}",
                        said(&format!("{step}: {why}; the steps behind it were not taken"))
                    );
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn carry_out(&self, services: &Services, step: &Step) -> Result<(), String> {
        let engine = &services.engine;
        match step {
            Step::CreateBucket { bucket } => {
                engine.create_bucket(bucket, BucketSettings::default()).await.map(drop).map_err(said)
            }
            Step::CreateWarehouse { warehouse } => create_warehouse(services, warehouse).await,
            Step::SetOwner { bucket, user } => {
                let model = services.senders.store.current();
                let owner = match user.as_str() {
                    ROOT => None,
                    name => {
                        let user = model.need_user(name).map_err(|fault| fault.to_string())?;
                        Some(Bytes::copy_from_slice(user.id.as_bytes()))
                    }
                };
                engine.set_setting(bucket, SettingKind::OWNER, owner).await.map(drop).map_err(said)
            }
            Step::SetBucketPolicy { bucket, document } => {
                let directory = engine.directory().map_err(|error| error.to_string())?;
                let held = directory.buckets.get(bucket.as_str()).ok_or("there is no bucket of that name")?;
                let model = services.senders.store.current();
                let kept = admitted(document, bucket, block_of(&held.settings), &*model);
                let kept = kept.map_err(|refusal| match refusal {
                    PolicyRefusal::Malformed(why) => why,
                    PolicyRefusal::Public => "the bucket has BlockPublicPolicy".to_owned(),
                })?;
                engine
                    .set_setting(bucket, SettingKind::POLICY, Some(kept.into()))
                    .await
                    .map(drop)
                    .map_err(said)
            }
            Step::RemoveBucketPolicy { bucket } => {
                engine.set_setting(bucket, SettingKind::POLICY, None).await.map(drop).map_err(said)
            }
            Step::CreateKey { user, key, file, expires_s, policy } => {
                let file = beside(&self.path, file);
                let pair = engine.blocking(move || key_of(&file)).await.map_err(|error| error.to_string())?;
                let pair = pair.ok_or("the file could not be looked at")??;
                let (user, name, policy) = (user.clone(), key.clone(), policy.clone());
                let expires_s = *expires_s;
                let store = &services.senders.store;
                if pair.access_key() == services.senders.root_key.access_key() {
                    return Err("its file has the root key".to_owned());
                }
                change(store, move |model, moment| {
                    let new = NewAccessKey {
                        given: Some((pair.access_key(), Secret::new(pair.secret_key()))),
                        name: Some(&name),
                        expires_ms: expires_s
                            .map(|expires_s| moment.now_ms.saturating_add(expires_s.saturating_mul(1000))),
                        policy: policy.as_deref(),
                    };
                    model.create_access_key(&user, &new, moment).map(|change| change.map(drop))
                })
                .await
            }
            step => {
                let step = step.clone();
                change(&services.senders.store, move |model, moment| change_of(&step, model, moment)).await
            }
        }
    }
}

fn said(error: BucketError) -> String {
    match error {
        BucketError::Engine(error) => error.to_string(),
        BucketError::Exists => "there is one of that name".to_owned(),
        BucketError::NoSuchBucket => "there is none of that name".to_owned(),
        BucketError::NotEmpty => "it is not empty".to_owned(),
        BucketError::LockNeedsVersions => "object lock needs versions".to_owned(),
        BucketError::CatalogUnencrypted => "a warehouse has no default encryption".to_owned(),
        BucketError::TooMany => "there are BUCKETS_MAX buckets".to_owned(),
    }
}

/// A path that a file names, which begins where the file lies.
fn beside(file: &Path, named: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(named)
}

/// The key in a file; made and written when there is no file.
fn key_of(file: &Path) -> Result<RootKey, String> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    match read_file(file) {
        Ok(text) => {
            let mode = file_mode(file).map_err(failed)?;
            if mode & 0o077 != 0 {
                return Err(format!("{} has mode {mode:o}, others can read it", file.display()));
            }
            let form =
                || format!("{} has not the lines NILAS_ACCESS_KEY=… and NILAS_SECRET_KEY=…", file.display());
            RootKey::parse(&text).ok_or_else(form)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                make_private_directory(parent).map_err(failed)?;
            }
            let key = RootKey::generate();
            write_private(file, key.render().as_bytes()).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

async fn change(
    store: &IdentityStore,
    change: impl FnOnce(&Model, &Moment<'_>) -> Result<Change<()>, Fault> + Send + 'static,
) -> Result<(), String> {
    store.change(change).await.map_err(|error| error.to_string())
}

/// The change of the model that a step is.
fn change_of(step: &Step, model: &Model, moment: &Moment<'_>) -> Result<Change<()>, Fault> {
    let arn = |name: &str| arn_of(model, name);
    match step {
        Step::LeaveGroup { group, user } => model.remove_from_group(group, user),
        Step::JoinGroup { group, user } => model.add_to_group(group, user),
        Step::DetachFromUser { policy, user } => model.detach_policy(Of::User(user), &arn(policy)),
        Step::DetachFromGroup { policy, group } => model.detach_policy(Of::Group(group), &arn(policy)),
        Step::AttachToUser { policy, user } => model.attach_policy(Of::User(user), &arn(policy)),
        Step::AttachToGroup { policy, group } => model.attach_policy(Of::Group(group), &arn(policy)),
        Step::DisableUser { user } => model.set_user_enabled(user, false).map(|change| change.map(drop)),
        Step::EnableUser { user } => model.set_user_enabled(user, true).map(|change| change.map(drop)),
        Step::CreateGroup { group } => model.create_group(group, "/", moment).map(|change| change.map(drop)),
        Step::CreateUser { user } => {
            let new = NewUser { name: user, path: "/", tags: Tags::new() };
            model.create_user(&new, moment).map(|change| change.map(drop))
        }
        Step::CreatePolicy { policy, document } => {
            let new = NewPolicy { name: policy, path: "/", description: "", document, tags: Tags::new() };
            model.create_policy(&new, moment).map(|change| change.map(drop))
        }
        Step::ReplacePolicy { policy, document } => replace_policy(model, policy, document, moment),
        Step::CreateBucket { .. }
        | Step::CreateWarehouse { .. }
        | Step::SetOwner { .. }
        | Step::SetBucketPolicy { .. }
        | Step::RemoveBucketPolicy { .. }
        | Step::CreateKey { .. } => Ok(Change { model: model.clone(), writes: Vec::new(), answer: () }),
    }
}

/// Another version, in force; without room for one the oldest that is not in force goes.
fn replace_policy(
    model: &Model,
    name: &str,
    document: &str,
    moment: &Moment<'_>,
) -> Result<Change<()>, Fault> {
    let arn = arn_of(model, name);
    let held = model.managed().find(|policy| policy.name == name);
    let oldest = held
        .filter(|policy| POLICY_VERSIONS_MAX <= policy.versions.len())
        .and_then(|policy| policy.versions.keys().find(|number| **number != policy.default_version).copied());
    let make = |model: &Model| {
        model.create_policy_version(&arn, document, true, moment).map(|change| change.map(drop))
    };
    match oldest {
        Some(number) => model.delete_policy_version(&arn, number)?.then(|model, ()| make(model)),
        None => make(model),
    }
}

/// The ARN of a policy's name, the account's own before a canned one.
fn arn_of(model: &Model, name: &str) -> String {
    match model.managed().find(|policy| policy.name == name) {
        Some(policy) => model.policy_arn(policy),
        None => format!("arn:aws:iam::aws:policy/{name}"),
    }
}

/// What is there, as plans see it.
fn current<'a>(model: &Model, buckets: impl Iterator<Item = &'a Arc<Bucket>>) -> Current {
    let names = |grants: &Grants| {
        let attached = grants.attached.iter().filter_map(|policy| model.attached(policy));
        attached.map(|policy| policy.name().to_owned()).collect()
    };
    let user = |user: &crate::identity::model::User| CurrentUser {
        arn: model.user_arn(user),
        id: user.id.clone(),
        owner_id: user.owner_id.clone(),
        enabled: user.is_enabled,
        groups: model.groups_of(user).map(|group| group.name.clone()).collect(),
        policies: names(&user.grants),
        keys: model.keys_of(&user.id).filter_map(|key| key.name.clone()).collect(),
    };
    let document = |policy: &crate::identity::model::ManagedPolicy| {
        policy.default().map_or_else(String::new, |version| version.policy.text().to_owned())
    };
    let text = |value: Option<&Bytes>| value.map(|value| String::from_utf8_lossy(value).into_owned());
    let bucket = |bucket: &Bucket| CurrentBucket {
        owner: match text(bucket.settings.get(SettingKind::OWNER)) {
            None => Some(ROOT.to_owned()),
            Some(id) => model.user_by_id(&id).map(|user| user.name.clone()),
        },
        policy: text(bucket.settings.get(SettingKind::POLICY))
            .map_or_else(String::new, |kept| principals::shown(&kept, model)),
        blocks_public_policy: block_of(&bucket.settings).block_public_policy,
        is_warehouse: bucket.settings.get(SettingKind::CATALOG).is_some(),
    };
    Current {
        account: model.account().to_owned(),
        canned: model.canned().iter().map(|canned| canned.name.to_owned()).collect(),
        policies: model.managed().map(|policy| (policy.name.clone(), document(policy))).collect(),
        groups: model.groups().map(|group| (group.name.clone(), names(&group.grants))).collect(),
        users: model.users().map(|held| (held.name.clone(), user(held))).collect(),
        buckets: buckets.map(|held| (held.name.to_string(), bucket(held))).collect::<BTreeMap<_, _>>(),
        // Folders are made, and what lies in a file is taken.
        key_files: BTreeMap::new(),
    }
}

/// The operator, who may do everything.
struct Operator;

impl Access for Operator {
    fn allows_with(&self, _: &'static str, _: Resource<'_>, _: &[(&'static str, &str)]) -> bool {
        true
    }
}

/// Makes a warehouse, or one of a bucket, as a request for it would.
async fn create_warehouse(services: &Services, name: &str) -> Result<(), String> {
    let path = "/v1/warehouses";
    let request = Request {
        method: Method::POST.as_str(),
        raw_path: path,
        raw_query: "",
        header: &|_| None,
        body: json!({"name": name, "upgrade-existing": true}).to_string().into(),
        principal: ROOT,
        access: &Operator,
        base_url: "",
    };
    let answer = services.catalog.handle(Route::of(Method::POST.as_str(), path), request).await;
    match answer.status {
        200..=299 => Ok(()),
        status => Err(format!("{status} {}", String::from_utf8_lossy(&answer.body))),
    }
}
