//! The S3 protocol on top of the engine: one file per operation or small family.
//!
//! The gateway hands [`S3::handle`] every request that [`route`](crate::route) found to be S3's and whose sender may do
//! it on what its path names; what else a request names is asked for here. What comes back is a whole answer, errors
//! included.
//! Runs on the core that took the connection; dropping the future stores nothing, or everything.

pub mod operations;
pub mod target;
pub mod checksum;
pub mod payload;
pub mod metadata;
pub mod range;
pub mod conditions;
pub mod parameters;
pub mod request_xml;
pub mod attributes;
pub mod receipt;
pub mod version_id;
mod buckets;
mod configuration;
mod ownership;
mod versioning;
mod object_lock;
mod encryption;
mod bucket_policy;
pub mod tags;
pub mod cors;
pub mod lifecycle;
mod list_objects;
mod list_versions;
mod reader;
mod writer;
mod get_object;
mod get_object_attributes;
mod put_object;
mod append_object;
mod extract;
pub(crate) mod post_object;
pub mod post_policy;
mod copy_object;
mod rename_object;
mod delete_object;
mod delete_objects;
mod create_upload;
mod upload_part;
mod complete_upload;
mod abort_upload;
mod acl;
mod list_parts;
mod list_uploads;

use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, SERVER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use nilas_catalog::access::{Access as _, Effect, Resource};
use nilas_engine::limits::INLINE_BYTES_MAX;
use nilas_engine::{
    Bucket, ETag, Engine, Found, Marker, ObjectInfo, Place, PutCondition, PutRefused, SettingKind, UploadId,
    UploadInfo, VersionId, WriteError,
};

pub(crate) use attributes::json as json_attributes;
use configuration::Configuration;
pub use copy_object::copy_source;
use request_xml::Fixable;

use crate::auth::Verified;
use crate::body::Md5Lanes;
use crate::download::Downloads;
use crate::identity::Caller;
use crate::identity::access::PREFIX;
use crate::identity::bucket_rules::{RulesCache, owner_of};
use crate::identity::model::{Model, owner_id};
use crate::limits::{BUSY_DRAIN_BYTES_MAX, DRAIN_BYTES_MAX, PAGE_ENTRIES_MAX, PARTS_MAX};
use crate::memory::CoreMemory;
use crate::render::body::ResponseBody;
use crate::render::error::{Context, S3Error, render};
use crate::render::time::http_date;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::operations::{Form, Level, Operation};
use crate::s3::ownership::Ownership;
use crate::s3::parameters::Refusal;
use crate::s3::payload::Payload;
use crate::s3::reader::Reader;
use crate::s3::target::Target;
use crate::sse::store::KeyStore;
use crate::tag_set::TagSet;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// The condition key that has the id of a version.
const VERSION_ID: &str = "s3:versionid";

/// The outcome of an operation.
type Outcome = Result<Response<ResponseBody>, S3Error>;

/// The S3 side of one core.
pub struct S3 {
    /// The store.
    pub engine: Engine,
    /// What GetBucketLocation and HeadBucket answer.
    pub region: String,
    /// Compiled policies of buckets.
    pub(crate) rules: Rc<RulesCache>,
    /// Where the bodies of this core have their MD5 made.
    pub md5_lanes: Md5Lanes,
    /// What requests of this core may hold.
    pub memory: CoreMemory,
    /// The downloads of this core.
    pub downloads: Downloads,
    /// How long a day of lifecycle rules is.
    pub lifecycle_clock: lifecycle::Clock,
    /// The keys that objects are encrypted under.
    pub keys: KeyStore,
    /// Whether customers' keys are taken: where nobody can listen, or the operator says so.
    pub takes_customer_keys: bool,
}

/// An owner as S3 names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Canonical user id.
    pub id: String,
    /// Name for people.
    pub display_name: String,
}

/// One request on its way through an operation.
struct Call<'a> {
    s3: &'a S3,
    target: &'a Target,
    headers: &'a HeaderMap,
    caller: Caller<'a>,
}

impl S3 {
    /// Carries out `target` for `caller`, who may do that on what the path names, and answers it.
    ///
    /// `headers` are those of the head with those that its query carries. `request_id` is what the answer's headers and XML say. A body that nobody read is drained a little, so that
    /// its sender sees the answer and keeps the connection.
    #[expect(clippy::too_many_arguments, reason = "all that is known of a request by then")]
    pub async fn handle<B>(
        &self,
        target: &Target,
        head: &Parts,
        headers: &HeaderMap,
        caller: Caller<'_>,
        verified: &Verified,
        body: B,
        request_id: &str,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<S3Error>,
    {
        let call = Call { s3: self, target, headers, caller };
        let mut payload = Payload::new(headers, verified, &self.md5_lanes, &self.memory.documents, body);
        let outcome = match call.run(&mut payload).await {
            Err(S3Error::NoSuchKey { key }) => Err(call.no_such_key_for_sender(key).await),
            Err(failure @ (S3Error::DeletedKey { .. } | S3Error::NoSuchVersion { .. })) => {
                Err(call.no_such_version_for_sender(failure).await)
            }
            outcome => outcome,
        };
        let is_busy = outcome.as_ref().is_err_and(S3Error::is_busy);
        payload.drain(if is_busy { BUSY_DRAIN_BYTES_MAX } else { DRAIN_BYTES_MAX }).await;
        self.answer(outcome, head, request_id)
    }

    fn answer(&self, outcome: Outcome, head: &Parts, request_id: &str) -> Response<ResponseBody> {
        answer(outcome, head, request_id, self.engine.now_ms())
    }
}

/// Answers a request with `failure`, for refusals before [`S3::handle`]: routing, authentication, a store that is
/// still recovering.
pub fn refuse(failure: S3Error, head: &Parts, request_id: &str, now_ms: u64) -> Response<ResponseBody> {
    answer(Err(failure), head, request_id, now_ms)
}

/// Answers a browser that asks what it may ask of `bucket`, or of an object in it.
pub(crate) fn preflight(
    engine: &Engine,
    bucket: &str,
    level: Level,
    head: &Parts,
    request_id: &str,
) -> Response<ResponseBody> {
    answer(cors::preflight(engine, bucket, level, &head.headers), head, request_id, engine.now_ms())
}

fn answer(outcome: Outcome, head: &Parts, request_id: &str, now_ms: u64) -> Response<ResponseBody> {
    let host_id = STANDARD.encode(request_id);
    let mut response = outcome.unwrap_or_else(|failure| {
        let resource = head.uri.path();
        let head = head.method == Method::HEAD;
        render(&failure, Context { resource, request_id, host_id: &host_id, head })
    });
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static("Nilas"));
    headers.insert(DATE, http_date(now_ms));
    for (name, value) in [(REQUEST_ID, request_id), (HOST_ID, host_id.as_str())] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Tells the evaluator behind `caller` what tags an object has, or its version of that name, for policies that ask for them.
///
/// What cannot be read is not known: then a Deny that asks for it holds, and an Allow does not.
pub(crate) async fn know_tags(
    engine: &Engine,
    caller: &Caller<'_>,
    bucket: &str,
    key: &Bytes,
    version: Option<&str>,
) {
    let Ok(found) = engine.bucket(bucket) else { return };
    let Ok(version) = version.map(|id| version_id::parse(id, "versionId")).transpose() else {
        // No version has that name.
        caller.know_tags(bucket, key, TagSet::default());
        return;
    };
    let tags = match engine.head_version(&found, key.clone(), version).await {
        Ok(Found::Nothing | Found::Marker(_)) => Some(TagSet::default()),
        Ok(Found::Object(info)) => {
            Attributes::decode(&info.attributes).ok().map(|attributes| attributes.tags)
        }
        Err(_) => None,
    };
    if let Some(tags) = tags {
        caller.know_tags(bucket, key, tags);
    }
}

impl Call<'_> {
    async fn run<B: Body<Data = Bytes> + Unpin>(&self, payload: &mut Payload<'_, B>) -> Outcome {
        self.check_owner()?;
        self.check_served()?;
        let _listing = match self.target.operation.row().is_page {
            true => Some(self.s3.memory.listings.take(1).await?),
            false => None,
        };
        match self.target.operation {
            Operation::ListBuckets => buckets::list(self),
            Operation::CreateBucket => buckets::create(self, payload).await,
            Operation::HeadBucket => buckets::head(self),
            Operation::DeleteBucket => buckets::delete(self).await,
            Operation::GetBucketLocation => buckets::location(self),
            Operation::GetBucketAccelerateConfiguration => {
                configuration::get(self, Configuration::Accelerate)
            }
            Operation::PutBucketAccelerateConfiguration => {
                configuration::put(self, payload, Fixable::Accelerate).await
            }
            Operation::GetBucketAcl => acl::get_bucket(self),
            Operation::PutBucketAcl => acl::put_bucket(self, payload).await,
            Operation::GetBucketCors => cors::get(self),
            Operation::PutBucketCors => cors::put(self, payload).await,
            Operation::DeleteBucketCors => cors::delete(self).await,
            Operation::GetBucketEncryption => encryption::get(self),
            Operation::PutBucketEncryption => encryption::put(self, payload).await,
            Operation::DeleteBucketEncryption => encryption::delete(self).await,
            Operation::GetBucketLifecycleConfiguration => lifecycle::get(self),
            Operation::PutBucketLifecycleConfiguration => lifecycle::put(self, payload).await,
            Operation::DeleteBucketLifecycle => lifecycle::delete(self).await,
            Operation::GetBucketLogging => configuration::get(self, Configuration::Logging),
            Operation::PutBucketLogging => configuration::put(self, payload, Fixable::Logging).await,
            Operation::PutBucketNotificationConfiguration => {
                configuration::put(self, payload, Fixable::Notification).await
            }
            Operation::PutBucketRequestPayment => {
                configuration::put(self, payload, Fixable::RequestPayment).await
            }
            Operation::DeleteBucketReplication | Operation::DeleteBucketWebsite => {
                configuration::delete(self)
            }
            Operation::GetBucketNotificationConfiguration => {
                configuration::get(self, Configuration::Notification)
            }
            Operation::GetObjectLockConfiguration => object_lock::get_configuration(self),
            Operation::PutObjectLockConfiguration => object_lock::put_configuration(self, payload).await,
            Operation::GetBucketOwnershipControls => ownership::get(self),
            Operation::PutBucketOwnershipControls => ownership::put(self, payload).await,
            Operation::DeleteBucketOwnershipControls => ownership::delete(self).await,
            Operation::GetBucketPolicy => bucket_policy::get(self),
            Operation::PutBucketPolicy => bucket_policy::put(self, payload).await,
            Operation::DeleteBucketPolicy => bucket_policy::delete(self).await,
            Operation::GetBucketPolicyStatus => bucket_policy::status(self),
            Operation::GetPublicAccessBlock => bucket_policy::get_block(self),
            Operation::PutPublicAccessBlock => bucket_policy::put_block(self, payload).await,
            Operation::DeletePublicAccessBlock => bucket_policy::delete_block(self).await,
            Operation::GetBucketReplication => configuration::get(self, Configuration::Replication),
            Operation::GetBucketRequestPayment => configuration::get(self, Configuration::RequestPayment),
            Operation::GetBucketTagging => tags::get_bucket(self),
            Operation::PutBucketTagging => tags::put_bucket(self, payload).await,
            Operation::DeleteBucketTagging => tags::delete_bucket(self).await,
            Operation::GetBucketVersioning => versioning::get(self),
            Operation::PutBucketVersioning => versioning::put(self, payload).await,
            Operation::GetBucketWebsite => configuration::get(self, Configuration::Website),
            Operation::ListObjects => list_objects::v1(self).await,
            Operation::ListObjectsV2 => list_objects::v2(self).await,
            Operation::ListObjectVersions => list_versions::list(self).await,
            Operation::ListMultipartUploads => list_uploads::list(self).await,
            Operation::DeleteObjects => delete_objects::delete(self, payload).await,
            Operation::PutObject => put_object::put(self, payload).await,
            // The gateway has its file taken as a PutObject.
            Operation::PostObject => Err(post_object::not_a_form()),
            Operation::CopyObject => copy_object::copy(self).await,
            Operation::RenameObject => rename_object::rename(self).await,
            Operation::GetObject => get_object::get(self).await,
            Operation::HeadObject => get_object::head(self).await,
            Operation::DeleteObject => delete_object::delete(self).await,
            Operation::GetObjectAttributes => get_object_attributes::get(self).await,
            Operation::GetObjectAcl => acl::get_object(self).await,
            Operation::PutObjectAcl => acl::put_object(self, payload).await,
            Operation::GetObjectTagging => tags::get_object(self).await,
            Operation::PutObjectTagging => tags::put_object(self, payload).await,
            Operation::DeleteObjectTagging => tags::delete_object(self).await,
            Operation::GetObjectRetention => object_lock::get_retention(self).await,
            Operation::PutObjectRetention => object_lock::put_retention(self, payload).await,
            Operation::GetObjectLegalHold => object_lock::get_legal_hold(self).await,
            Operation::PutObjectLegalHold => object_lock::put_legal_hold(self, payload).await,
            Operation::CreateMultipartUpload => create_upload::create(self).await,
            Operation::UploadPart => upload_part::upload(self, payload).await,
            Operation::UploadPartCopy => upload_part::copy(self).await,
            Operation::CompleteMultipartUpload => complete_upload::complete(self, payload).await,
            Operation::AbortMultipartUpload => abort_upload::abort(self).await,
            Operation::ListParts => list_parts::list(self).await,
        }
    }

    /// Refuses what the sender may not do on `resource`. `facts` are condition keys that the request's head does not say.
    async fn check_access_with(
        &self,
        action: &'static str,
        resource: Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Result<(), S3Error> {
        match self.caller.permits(action, resource, facts).await? {
            true => Ok(()),
            false => Err(S3Error::AccessDenied),
        }
    }

    /// Refuses who may not do an operation on an object, or on a version of it that something else than the query names.
    async fn check_object(
        &self,
        operation: Operation,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
    ) -> Result<(), S3Error> {
        let (object, action) = (Resource::Object { bucket, key }, operation.action(version.is_some()));
        match version.map(version_id::text) {
            None => self.check_access_with(action, object, &[]).await,
            Some(id) => self.check_access_with(action, object, &[(VERSION_ID, id.as_str())]).await,
        }
    }

    /// As [`Call::check_object`] on what was asked for before: what the answer depends on was looked up then.
    fn check_known_object(
        &self,
        operation: Operation,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
    ) -> Result<(), S3Error> {
        let (object, action) = (Resource::Object { bucket, key }, operation.action(version.is_some()));
        let allowed = match version.map(version_id::text) {
            None => self.caller.allows(action, object),
            Some(id) => self.caller.allows_with(action, object, &[(VERSION_ID, id.as_str())]),
        };
        if allowed { Ok(()) } else { Err(S3Error::AccessDenied) }
    }

    /// How it is said that the object which the request reads is not there: to who may not list it, not at all. What the sender
    /// changes on a condition is not concealed.
    async fn no_such_key_for_sender(&self, key: Bytes) -> S3Error {
        let copies = self.target.operation.row().form == Form::Copy;
        let bucket = match copies {
            false if self.target.operation.facts().effect == Effect::Changes => {
                return S3Error::NoSuchKey { key };
            }
            false => Ok(self.target.bucket.clone()),
            true => copy_source(self.headers).map(|source| source.bucket),
        };
        match bucket {
            Ok(bucket) => match self.may_know_of(&bucket, &key).await {
                Ok(true) => S3Error::NoSuchKey { key },
                Ok(false) => S3Error::AccessDenied,
                Err(failure) => failure,
            },
            Err(failure) => failure,
        }
    }

    /// As [`Call::no_such_key_for_sender`], of a version or of what a delete marker stands for.
    async fn no_such_version_for_sender(&self, failure: S3Error) -> S3Error {
        let source = match self.target.operation.row().form {
            Form::Copy => copy_source(self.headers).ok(),
            _ => None,
        };
        let key = source.map_or_else(|| self.key(), |source| source.key);
        match self.no_such_key_for_sender(key).await {
            S3Error::NoSuchKey { .. } => failure,
            other => other,
        }
    }

    /// Whether the sender may know that there is no object of this key: who may list it may, and who holds credentials for the
    /// files of the table that it would be one of.
    async fn may_know_of(&self, bucket: &str, key: &[u8]) -> Result<bool, S3Error> {
        let scope = self.caller.sender.table.as_ref();
        if scope.is_some_and(|scope| scope.holds(bucket, key)) {
            return Ok(true);
        }
        let Ok(prefix) = std::str::from_utf8(key) else { return Ok(false) };
        let action = Operation::ListObjectsV2.facts().action;
        Ok(self.caller.permits(action, Resource::Bucket(bucket), &[(PREFIX, prefix)]).await?)
    }

    /// Refuses tags for the request's object whose sender may not give it any.
    fn check_gives_tags(&self, attributes: &Attributes) -> Result<(), S3Error> {
        match attributes.tags.is_empty() || self.caller.allows(tags::PUT_ACTION, self.object()) {
            true => Ok(()),
            false => Err(S3Error::AccessDenied),
        }
    }

    /// The object that the path names.
    fn object(&self) -> Resource<'_> {
        Resource::Object { bucket: &self.target.bucket, key: &self.target.key }
    }

    /// Judges again where it was judged by the tags of the object that its path names, and the one that was found has others.
    fn check_tags(&self, attributes: &Attributes) -> Result<(), S3Error> {
        let (operation, target) = (self.target.operation, self.target);
        self.check_tags_of(operation, &target.bucket, &target.key, self.version()?, &attributes.tags)
    }

    /// As [`Call::check_tags`], of any object that the request names.
    fn check_tags_of(
        &self,
        operation: Operation,
        bucket: &str,
        key: &[u8],
        version: Option<VersionId>,
        tags: &TagSet,
    ) -> Result<(), S3Error> {
        match self.caller.found_tags(bucket, key, tags) {
            true => self.check_known_object(operation, bucket, key, version),
            false => Ok(()),
        }
    }

    fn engine(&self) -> &Engine {
        &self.s3.engine
    }

    /// The request's bucket.
    fn bucket(&self) -> Result<Arc<Bucket>, S3Error> {
        self.bucket_named(&self.target.bucket)
    }

    fn bucket_named(&self, name: &str) -> Result<Arc<Bucket>, S3Error> {
        self.engine().bucket(name).map_err(|why| S3Error::bucket(why, name))
    }

    /// Sets, or with `None` takes away, a setting of the request's bucket.
    async fn set(&self, kind: SettingKind, value: Option<Bytes>) -> Result<(), S3Error> {
        let name = &self.target.bucket;
        let changed = self.engine().set_setting(name, kind, value).await;
        changed.map(drop).map_err(|why| S3Error::bucket(why, name))
    }

    /// The account that everything here belongs to.
    fn account(&self) -> &str {
        self.model().account()
    }

    /// Who there is.
    fn model(&self) -> &Model {
        &self.caller.sender.model
    }

    /// The owner of a bucket and of all objects in it, as S3 names owners.
    fn owner_of(&self, bucket: &Bucket) -> Owner {
        let model = &self.caller.sender.model;
        let Some(id) = owner_of(&bucket.settings) else {
            return Owner { id: owner_id(model.account(), "root"), display_name: "root".to_owned() };
        };
        match model.user_by_id(id) {
            Some(user) => Owner { id: user.owner_id.clone(), display_name: user.name.clone() },
            // A user who is gone.
            None => Owner { id: owner_id(model.account(), id), display_name: id.to_owned() },
        }
    }

    /// The sender, as S3 names owners.
    fn sender_as_owner(&self) -> Owner {
        let sender = self.caller.sender;
        Owner { id: sender.owner_id.to_string(), display_name: sender.name.to_string() }
    }

    /// The request's key; empty for bucket operations.
    fn key(&self) -> Bytes {
        self.target.key.clone()
    }

    fn no_such_key(&self) -> S3Error {
        S3Error::NoSuchKey { key: self.key() }
    }

    fn field(&self, name: &str) -> Option<String> {
        metadata::field(self.headers, name)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.target.query.get(name)
    }

    /// `x-amz-expected-bucket-owner` must be our account, if it is there; so must that of a copy's source.
    fn check_owner(&self) -> Result<(), S3Error> {
        let ours = |value: &HeaderValue| value.as_bytes().trim_ascii() == self.account().as_bytes();
        let fits = |name: &str| self.headers.get_all(name).iter().all(ours);
        let copies = self.target.operation.row().form == Form::Copy;
        match fits("x-amz-expected-bucket-owner") && (!copies || fits("x-amz-source-expected-bucket-owner")) {
            true => Ok(()),
            false => Err(S3Error::AccessDenied),
        }
    }

    /// Refuses headers that ask for something that is not served.
    fn check_served(&self) -> Result<(), S3Error> {
        let operation = self.target.operation;
        if let Some((header, refusal)) = parameters::refused(operation, self.headers) {
            return Err(self.refused_as(refusal, header)?);
        }
        match parameters::check_acl(operation, self.headers) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.refused_as(refusal, "x-amz-acl")?),
        }
    }

    /// What the refusal of `header` is called. A bucket that takes ACLs cannot say that it takes none.
    fn refused_as(&self, refusal: Refusal, header: &str) -> Result<S3Error, S3Error> {
        let rule = match refusal {
            Refusal::Acl => ownership::of(&self.bucket()?.settings)?,
            Refusal::BucketAcl => Some(ownership::asked(self.headers)?),
            _ => Some(Ownership::BucketOwnerEnforced),
        };
        Ok(match rule {
            Some(Ownership::BucketOwnerEnforced) => refusal.error(header),
            _ => Refusal::NotImplemented.error(header),
        })
    }

    /// The version that the query names.
    fn version(&self) -> Result<Option<VersionId>, S3Error> {
        self.parameter("versionId").map(|text| version_id::parse(text, "versionId")).transpose()
    }

    /// What is known of the request's object, or of its version of that name.
    async fn find(&self, bucket: &Bucket, version: Option<VersionId>) -> Result<ObjectInfo, S3Error> {
        let found = self.engine().head_version(bucket, self.key(), version).await?;
        let mut info = self.found(found, version)?;
        info.size = attributes::plain_bytes(&info.attributes).unwrap_or(info.size);
        Ok(info)
    }

    /// Opens the request's object, or its version of that name.
    async fn open(&self, bucket: &Bucket, version: Option<VersionId>) -> Result<Reader, S3Error> {
        let found = self.engine().open_version(bucket, self.key(), version).await?;
        self.found(found, version).map(Reader::new)
    }

    fn found<T>(&self, found: Found<T>, version: Option<VersionId>) -> Result<T, S3Error> {
        match found {
            Found::Object(object) => Ok(object),
            Found::Nothing => Err(self.not_found(version)),
            Found::Marker(marker) => Err(on_marker(&marker, &self.target.key, version)),
        }
    }

    fn not_found(&self, version: Option<VersionId>) -> S3Error {
        match version {
            None => self.no_such_key(),
            Some(_) => not_found(&self.target.key, version),
        }
    }

    /// The request's upload id.
    fn upload_id(&self) -> Result<UploadId, S3Error> {
        let text = self.parameter("uploadId").unwrap_or("");
        UploadId::parse(text).ok_or_else(|| self.no_such_upload())
    }

    fn no_such_upload(&self) -> S3Error {
        S3Error::NoSuchUpload { upload: self.parameter("uploadId").unwrap_or("").to_owned() }
    }

    /// The request's part number.
    fn part_number(&self) -> Result<u16, S3Error> {
        parse_part_number(self.parameter("partNumber").unwrap_or(""))
    }

    /// The upload `id`; `NoSuchUpload` unless it is open and for this key.
    async fn upload(&self, bucket: &Bucket, id: UploadId) -> Result<UploadInfo, S3Error> {
        let upload = self.engine().upload(bucket, id).await?;
        upload.filter(|upload| upload.key == self.target.key).ok_or_else(|| self.no_such_upload())
    }

    /// What the open upload `id` was created with.
    async fn open_upload(&self, bucket: &Bucket, id: UploadId) -> Result<Attributes, S3Error> {
        let upload = self.upload(bucket, id).await?;
        let unreadable = |_| S3Error::UnreadableAttributes { key: self.key() };
        Attributes::decode(&upload.attributes).map_err(unreadable)
    }

    /// What a failed write of the request's object, upload or part means.
    fn write_failed(&self, why: WriteError) -> S3Error {
        let upload = self.parameter("uploadId").unwrap_or("");
        S3Error::write(why, &self.target.bucket, &self.target.key, upload)
    }

    /// The same of a write whose condition held when its body began to come: that the object is gone since is a conflict.
    fn write_raced(&self, why: WriteError) -> S3Error {
        match why {
            WriteError::Refused(PutRefused::NoSuchKey) => {
                S3Error::ConditionalRequestConflict { key: self.key() }
            }
            why => self.write_failed(why),
        }
    }

    /// Refuses a write whose condition does not hold now, before its body is read. The engine looks again.
    async fn check_write_early(&self, bucket: &Bucket, condition: &PutCondition) -> Result<(), S3Error> {
        if *condition == PutCondition::None {
            return Ok(());
        }
        let info = self.engine().head(bucket, self.key()).await?;
        conditions::check_write(condition, info.as_ref(), &self.target.key)
    }

    /// Refuses a body for which the bucket's quota has no room, before it is read. One that is taken whole before it is stored is
    /// looked at then. The engine looks again.
    async fn check_quota_early(&self, bucket: &Bucket, place: Place, length: u64) -> Result<(), S3Error> {
        match length <= INLINE_BYTES_MAX {
            true => Ok(()),
            false => Ok(self.engine().check_quota(bucket, place, length).await?),
        }
    }

    /// The size of a page: the parameter, at most [`PAGE_ENTRIES_MAX`].
    fn page_entries(&self, name: &'static str) -> Result<usize, S3Error> {
        page_entries(name, self.parameter(name))
    }

    /// Whether keys in the answer are percent-encoded.
    fn url_encoding(&self) -> Result<bool, S3Error> {
        match self.parameter("encoding-type") {
            None => Ok(false),
            Some(kind) if kind.eq_ignore_ascii_case("url") => Ok(true),
            Some(kind) => Err(S3Error::InvalidArgument {
                message: "Invalid Encoding Method specified in Request".into(),
                name: "encoding-type",
                value: kind.to_owned(),
            }),
        }
    }
}

/// The key has no object, or no such version.
fn not_found(key: &Bytes, version: Option<VersionId>) -> S3Error {
    match version {
        None => S3Error::NoSuchKey { key: key.clone() },
        Some(id) => S3Error::NoSuchVersion { version: version_id::text(id).as_str().to_owned() },
    }
}

/// What a read of a delete marker is answered with: it is no object, and by its own name nothing that can be read.
fn on_marker(marker: &Marker, key: &Bytes, version: Option<VersionId>) -> S3Error {
    let id = version_id::text(marker.version).as_str().to_owned();
    match version {
        None => S3Error::DeletedKey { key: key.clone(), version: id },
        Some(_) => S3Error::DeleteMarker { version: id, modified_ms: marker.modified_ms },
    }
}

/// A number without a sign: digits alone, at least one. `FromStr` takes a `+` as well.
fn unsigned<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A parameter that counts: digits, with a sign where one is refused by name, at most 2^31 - 1. An empty one is none.
fn count(name: &'static str, text: &str) -> Result<u32, S3Error> {
    const MAX: u32 = i32::MAX.unsigned_abs();
    if let Some(number) = unsigned::<u32>(text).filter(|number| *number <= MAX) {
        return Ok(number);
    }
    let below = text.strip_prefix('-').and_then(unsigned::<u32>);
    let message = match below.filter(|number| *number <= i32::MIN.unsigned_abs()) {
        Some(_) => format!("Argument {name} must be an integer between 0 and {}", i32::MAX),
        None => format!("Provided {name} not an integer or within integer range"),
    };
    Err(S3Error::InvalidArgument { message: message.into(), name, value: text.to_owned() })
}

/// A parameter that is `true` or `false`.
fn flag(name: &'static str, text: &str) -> Result<bool, S3Error> {
    if text.eq_ignore_ascii_case("true") {
        return Ok(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Ok(false);
    }
    let message = format!("Value for {name} must be true or false").into();
    Err(S3Error::InvalidArgument { message, name, value: text.to_owned() })
}

fn parse_part_number(text: &str) -> Result<u16, S3Error> {
    let number = unsigned(text).filter(|number| (1..=PARTS_MAX).contains(number));
    number.ok_or_else(|| S3Error::InvalidArgument {
        message: format!("Part number must be an integer between 1 and {PARTS_MAX}, inclusive").into(),
        name: "partNumber",
        value: text.to_owned(),
    })
}

fn page_entries(name: &'static str, value: Option<&str>) -> Result<usize, S3Error> {
    let Some(value) = value else { return Ok(PAGE_ENTRIES_MAX) };
    let number = count(name, value)?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX).min(PAGE_ENTRIES_MAX))
}

fn etag_header(etag: &ETag) -> HeaderValue {
    HeaderValue::try_from(format!("\"{etag}\"")).expect("an ETag is ASCII")
}

/// Puts in what every answer about an object says.
fn object_headers(headers: &mut HeaderMap, info: &ObjectInfo) {
    headers.insert(ETAG, etag_header(&info.etag));
    headers.insert(LAST_MODIFIED, http_date(info.modified_ms));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

fn attributes_of(info: &ObjectInfo, key: &Bytes) -> Result<Attributes, S3Error> {
    Attributes::decode(&info.attributes).map_err(|_| S3Error::UnreadableAttributes { key: key.clone() })
}

fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = status;
    response
}

fn document(xml: Xml) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(xml.finish()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Says where the bucket is.
fn with_region(call: &Call<'_>, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if let Ok(region) = HeaderValue::try_from(&call.s3.region) {
        response.headers_mut().insert(BUCKET_REGION, region);
    }
    response
}

fn owner_xml(xml: &mut Xml, tag: &str, owner: &Owner) {
    xml.open(tag);
    xml.text("ID", &owner.id);
    xml.text("DisplayName", &owner.display_name);
    xml.close(tag);
}

/// Fuzz entries of this folder, one per parser of bytes from outside.
pub mod fuzz {
    pub use super::cors::fuzz_cors;
    pub use super::lifecycle::fuzz_lifecycle;
    pub use super::post_object::fuzz_post_form;
    pub use super::range::fuzz_range;
    pub use super::request_xml::fuzz_xml;
    pub use crate::body::tar::fuzz_tar;
    pub use crate::s3::attributes::fuzz_attributes;
}

#[cfg(test)]
mod access_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_sign() {
        let check = |text: &str, want: Option<u16>| assert_eq!(unsigned(text), want, "{text:?}");
        check("0", Some(0));
        check("7", Some(7));
        check("65535", Some(u16::MAX));
        for bad in ["", "+7", "-7", "-0", "+0", "65536", " 7", "7 ", "0x7", "7.0", "٧"] {
            check(bad, None);
        }
    }

    #[test]
    fn pages() {
        let check = |value: Option<&str>, want: Option<usize>| {
            assert_eq!(page_entries("max-keys", value).ok(), want, "{value:?}");
        };
        check(None, Some(1000));
        check(Some("0"), Some(0));
        check(Some("7"), Some(7));
        check(Some("5000"), Some(1000));
        check(Some("-1"), None);
        check(Some("x"), None);
        check(Some("2147483647"), Some(1000));
        check(Some("2147483648"), None);
        check(Some(""), None);
        check(Some("+7"), None);
        check(Some(" 7"), None);
    }

    #[test]
    fn what_is_wrong_with_a_count_is_said() {
        let check = |text: &str, want: &str| {
            let answer = count("max-parts", text).expect_err("no count").answer();
            assert_eq!((answer.code, &*answer.message), ("InvalidArgument", want), "{text}");
        };
        let not = "Provided max-parts not an integer or within integer range";
        for text in ["", "x", "1.5", "+1", "2147483648", "-2147483649", "99999999999999999999", "１"] {
            check(text, not);
        }
        for text in ["-1", "-0", "-2147483648"] {
            check(text, "Argument max-parts must be an integer between 0 and 2147483647");
        }
    }

    #[test]
    fn part_numbers() {
        let check = |text: &str, want: Option<u16>| assert_eq!(parse_part_number(text).ok(), want, "{text}");
        check("1", Some(1));
        check("10000", Some(10_000));
        for bad in ["", "0", "10001", "-1", "+1", "x", "65537", "1.0"] {
            check(bad, None);
        }
    }

    #[test]
    fn flags() {
        let check =
            |text: &str, want: Option<bool>| assert_eq!(flag("fetch-owner", text).ok(), want, "{text}");
        check("true", Some(true));
        check("False", Some(false));
        for bad in ["", "1", "yes", " true"] {
            check(bad, None);
        }
    }
}
