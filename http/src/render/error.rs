//! The one table of S3's failures: what went wrong → status, code, message and fields, and the XML of it.
//!
//! Operations return a [`S3Error`]; nothing else in this crate knows S3's codes. Codes and texts are S3's published
//! ones, because tools compare both. An answer to HEAD carries no body, 304 and 412 of it only headers.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, LAST_MODIFIED, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use nilas_catalog::access::LookUpError;
use nilas_engine::{BucketError, EngineError, PutRefused, WriteError};

use crate::auth::AuthError;
use crate::body::BodyError;
use crate::limits::{KEY_BYTES_MAX, PART_BYTES_MIN, USER_METADATA_BYTES_MAX};
use crate::listen::BodyFault;
use crate::render::body::{BodyCut, ResponseBody};
use crate::render::time::http_date;
use crate::render::xml::Xml;

const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// Everything an S3 request can be refused with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "S3's own codes; the table below says the rest")]
pub enum S3Error {
    AccessControlListNotSupported,
    /// A body where a header says all.
    UnexpectedContent,
    /// Neither a header nor a body says what is wanted.
    MissingSecurityHeader {
        header: &'static str,
    },
    AccessDenied,
    /// Content-MD5, or a checksum, is not that of the body.
    BadDigest {
        /// `Content-MD5`, or the checksum's name as S3 writes it there, such as `CRC32` or `crc32`.
        what: &'static str,
        expected: String,
        calculated: String,
    },
    /// A checksum of a part in a list, of an algorithm that its upload was not opened with.
    BadPartDigest {
        /// The algorithm, in lower case.
        what: &'static str,
        part: u64,
    },
    /// There is one of that name, and it is somebody else's.
    BucketAlreadyExists {
        bucket: String,
    },
    /// A policy that cannot be read, or says what a bucket's policy may not.
    MalformedPolicy {
        message: String,
    },
    BucketAlreadyOwnedByYou {
        bucket: String,
    },
    BucketNotEmpty {
        bucket: String,
    },
    /// The object that a condition was about is gone since.
    ConditionalRequestConflict {
        key: Bytes,
    },
    /// A request that S3 has no code of its own for.
    BadRequest {
        message: Cow<'static, str>,
    },
    /// A preflight that is answered no.
    CorsRefused {
        why: CorsRefusal,
        /// The method that the browser asked for.
        method: String,
        resource_type: &'static str,
    },
    /// The key has no object: a delete marker stands for it.
    DeletedKey {
        key: Bytes,
        version: String,
    },
    /// A delete marker was asked for by its name.
    DeleteMarker {
        version: String,
        modified_ms: u64,
    },
    EntityTooLarge {
        proposed: u64,
        max: u64,
    },
    /// The file of a form.
    FileTooSmall {
        proposed: u64,
        min: u64,
    },
    EntityTooSmall {
        proposed: u64,
        part: u16,
        etag: String,
    },
    IllegalVersioningConfiguration,
    InvalidArgument {
        message: Cow<'static, str>,
        name: &'static str,
        value: String,
    },
    /// An archive broke off after so many of its objects were stored.
    Extracting {
        stored: usize,
        failure: Box<S3Error>,
    },
    /// The token of a rename was another one's.
    IdempotencyParameterMismatch,
    InvalidBucketAclWithObjectOwnership,
    /// The algorithm of a customer's key is not `AES256`.
    InvalidEncryptionAlgorithm {
        value: String,
    },
    InvalidBucketName {
        bucket: String,
    },
    /// The bucket is set so that this cannot be.
    InvalidBucketState {
        message: &'static str,
    },
    InvalidLocationConstraint {
        constraint: String,
    },
    InvalidPart {
        upload: String,
        part: u64,
        etag: String,
    },
    InvalidPartNumber {
        requested: u64,
        actual: u64,
    },
    InvalidPartOrder {
        upload: String,
    },
    InvalidRange {
        requested: String,
        object_bytes: u64,
    },
    InvalidRequest {
        message: Cow<'static, str>,
    },
    /// The policy of a form cannot be read.
    InvalidPolicyDocument {
        message: String,
    },
    InvalidStorageClass {
        class: String,
    },
    /// A tag that breaks a rule.
    InvalidTag {
        message: &'static str,
        /// `TagKey` or `TagValue`.
        field: &'static str,
        value: String,
    },
    InvalidUri {
        uri: String,
    },
    InvalidWriteOffset,
    /// An append asks for another encryption than its object has.
    EncryptionTypeMismatch,
    /// There is no such named key.
    KmsNotFound {
        message: String,
    },
    /// The server has no master key, and nothing is encrypted without.
    NoMasterKey,
    /// The customer's key is not the object's.
    WrongCustomerKey,
    /// The bucket takes no customers' keys.
    CustomerKeysBlocked {
        sender: String,
        action: &'static str,
        resource: String,
    },
    /// The key of an object is not there, or does not open it.
    UnreadableKey {
        key: Bytes,
    },
    KeyTooLong {
        size: usize,
    },
    MalformedXml,
    MetadataTooLarge {
        size: usize,
    },
    MethodNotAllowed {
        method: String,
        resource_type: &'static str,
    },
    MissingRequestBody,
    NoSuchBucket {
        bucket: String,
    },
    NoSuchKey {
        key: Bytes,
    },
    NoSuchUpload {
        upload: String,
    },
    NoSuchVersion {
        version: String,
    },
    /// A configuration that the bucket does not have; the code and text say which.
    NotConfigured {
        code: &'static str,
        message: &'static str,
        bucket: String,
    },
    NotImplementedHeader {
        header: String,
    },
    NotImplementedParameter {
        parameter: String,
    },
    /// The reader's copy is current: 304, headers only.
    NotModified,
    /// A form is not what its policy says.
    PolicyRefuses {
        why: String,
    },
    PreconditionFailed {
        condition: &'static str,
    },
    /// A lock protects the version.
    ObjectLocked,
    /// The store has not recovered yet since the start.
    Recovering,
    TooManyBuckets,
    /// Stored attributes that this server did not write, or that are damaged.
    UnreadableAttributes {
        key: Bytes,
    },
    /// The sender is not proven.
    Auth(AuthError),
    /// The body is not what its request said.
    Body(BodyError),
    /// The connection broke while the body was read.
    BodyBroken,
    /// The client sent too little of the body for too long.
    RequestTimeout,
    /// The engine gave another number of bytes than an object has.
    ReadCut(BodyCut),
    Engine(EngineError),
    /// What is kept of a warehouse cannot be read, and with it who may use its files.
    UnreadableCatalog,
}

impl From<LookUpError> for S3Error {
    fn from(failure: LookUpError) -> Self {
        match failure {
            LookUpError::Engine(failure) => S3Error::Engine(failure),
            LookUpError::Unreadable => S3Error::UnreadableCatalog,
        }
    }
}

/// Why a preflight is answered no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorsRefusal {
    /// There is no such bucket.
    NoBucket,
    /// The bucket has no rules.
    NotEnabled,
    /// No rule fits.
    NotAllowed,
}

impl CorsRefusal {
    /// S3's text, spelled as it is.
    fn message(self) -> &'static str {
        match self {
            CorsRefusal::NoBucket => "CORSResponse: Bucket not found",
            CorsRefusal::NotEnabled => "CORSResponse: CORS is not enabled for this bucket.",
            CorsRefusal::NotAllowed => {
                "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
                 request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted \
                 by the resource's CORS spec."
            }
        }
    }
}

impl From<AuthError> for S3Error {
    fn from(e: AuthError) -> Self {
        S3Error::Auth(e)
    }
}

impl From<BodyError> for S3Error {
    fn from(e: BodyError) -> Self {
        S3Error::Body(e)
    }
}

impl From<BodyFault> for S3Error {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Broken => S3Error::BodyBroken,
            BodyFault::Stalled => S3Error::RequestTimeout,
        }
    }
}

impl From<EngineError> for S3Error {
    fn from(e: EngineError) -> Self {
        S3Error::Engine(e)
    }
}

impl S3Error {
    /// Whether a limit of the process was met, so that the same request may well succeed later: `SlowDown`.
    pub fn is_busy(&self) -> bool {
        match self {
            S3Error::Recovering => true,
            S3Error::Extracting { failure, .. } => failure.is_busy(),
            S3Error::Engine(error) | S3Error::ReadCut(BodyCut::Engine(error)) => {
                matches!(
                    error,
                    EngineError::Busy { .. } | EngineError::BucketClosed | EngineError::NoFreeZone
                )
            }
            _ => false,
        }
    }

    /// Whether the body is over what its operation takes: `EntityTooLarge`.
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            S3Error::EntityTooLarge { .. }
                | S3Error::Body(BodyError::EntityTooLarge { .. })
                | S3Error::Engine(EngineError::TooLarge { .. })
                | S3Error::ReadCut(BodyCut::Engine(EngineError::TooLarge { .. }))
        )
    }

    /// What a failed write means for `bucket`, `key` and `upload`.
    pub fn write(why: WriteError, bucket: &str, key: &Bytes, upload: &str) -> S3Error {
        match why {
            WriteError::Refused(PutRefused::NoSuchBucket) => {
                S3Error::NoSuchBucket { bucket: bucket.to_owned() }
            }
            WriteError::Refused(PutRefused::NoSuchKey) => S3Error::NoSuchKey { key: key.clone() },
            WriteError::Refused(PutRefused::PreconditionFailed) => {
                S3Error::PreconditionFailed { condition: "If-Match" }
            }
            WriteError::Refused(PutRefused::NoSuchUpload) => {
                S3Error::NoSuchUpload { upload: upload.to_owned() }
            }
            WriteError::Refused(PutRefused::NoSuchVersion) => S3Error::NoSuchKey { key: key.clone() },
            WriteError::Refused(PutRefused::Locked) => S3Error::ObjectLocked,
            WriteError::Refused(PutRefused::QuotaExceeded) => EngineError::QuotaExceeded.into(),
            WriteError::Refused(PutRefused::KeepsVersions) => S3Error::InvalidBucketState {
                message: "RenameObject is not served in a bucket whose versioning is or was enabled.",
            },
            WriteError::Engine(e) => S3Error::Engine(e),
        }
    }

    /// What a refused change of `bucket` itself means.
    pub fn bucket(why: BucketError, bucket: &str) -> S3Error {
        let bucket = bucket.to_owned();
        match why {
            BucketError::Exists => S3Error::BucketAlreadyOwnedByYou { bucket },
            BucketError::NoSuchBucket => S3Error::NoSuchBucket { bucket },
            BucketError::NotEmpty => S3Error::BucketNotEmpty { bucket },
            BucketError::LockNeedsVersions => S3Error::InvalidBucketState {
                message: "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            },
            BucketError::CatalogUnencrypted => S3Error::invalid_request(WAREHOUSE_UNENCRYPTED),
            BucketError::TooMany => S3Error::TooManyBuckets,
            BucketError::Engine(e) => S3Error::Engine(e),
        }
    }

    /// `InvalidRequest` with a text.
    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> S3Error {
        S3Error::InvalidRequest { message: message.into() }
    }
}

/// Why nothing in a warehouse is encrypted.
pub const WAREHOUSE_UNENCRYPTED: &str = "The bucket is a warehouse of tables: nothing in it can be encrypted by the server, because the \
     catalog reads and writes metadata files as they lie. Encrypt its drives instead.";

/// A failure in S3's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// S3's code.
    pub code: &'static str,
    /// S3's text for it.
    pub message: Cow<'static, str>,
    /// Further elements of the XML, in order.
    pub fields: Vec<(&'static str, String)>,
}

fn say(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Answer {
    Answer { status, code, message: message.into(), fields: Vec::new() }
}

impl Answer {
    fn field(mut self, name: &'static str, value: impl ToString) -> Answer {
        self.fields.push((name, value.to_string()));
        self
    }
}

impl S3Error {
    /// The table.
    ///
    /// Source: Amazon S3 API, "Error responses", list of error codes.
    pub fn answer(&self) -> Answer {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        const MISSING: StatusCode = StatusCode::NOT_FOUND;
        const CONFLICT: StatusCode = StatusCode::CONFLICT;
        const UNSATISFIABLE: StatusCode = StatusCode::RANGE_NOT_SATISFIABLE;
        const NOT_IMPLEMENTED: StatusCode = StatusCode::NOT_IMPLEMENTED;
        match self {
            S3Error::UnexpectedContent => {
                say(BAD, "UnexpectedContent", "This request does not support content")
            }
            S3Error::MissingSecurityHeader { header } => {
                say(BAD, "MissingSecurityHeader", "Your request was missing a required header")
                    .field("MissingHeaderName", header)
            }
            S3Error::AccessControlListNotSupported => {
                say(BAD, "AccessControlListNotSupported", "The bucket does not allow ACLs")
            }
            S3Error::AccessDenied => say(FORBIDDEN, "AccessDenied", "Access Denied"),
            S3Error::BadDigest { what, expected, calculated } => {
                let message = match *what {
                    "Content-MD5" => "The Content-MD5 you specified did not match what we received.".into(),
                    name => format!("The {name} you specified did not match the calculated checksum.").into(),
                };
                let answer = Answer { status: BAD, code: "BadDigest", message, fields: Vec::new() };
                answer.field("ExpectedDigest", expected).field("CalculatedDigest", calculated)
            }
            S3Error::BadPartDigest { what, part } => say(
                BAD,
                "BadDigest",
                format!("The {what} you specified for part {part} did not match what we received."),
            ),
            S3Error::BucketAlreadyExists { bucket } => say(
                StatusCode::CONFLICT,
                "BucketAlreadyExists",
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.",
            )
            .field("BucketName", bucket),
            S3Error::MalformedPolicy { message } => {
                say(StatusCode::BAD_REQUEST, "MalformedPolicy", message.clone())
            }
            S3Error::BucketAlreadyOwnedByYou { bucket } => say(
                CONFLICT,
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            )
            .field("BucketName", bucket),
            S3Error::BucketNotEmpty { bucket } => {
                say(CONFLICT, "BucketNotEmpty", "The bucket you tried to delete is not empty")
                    .field("BucketName", bucket)
            }
            S3Error::DeletedKey { key, .. } => say(MISSING, "NoSuchKey", "The specified key does not exist.")
                .field("Key", String::from_utf8_lossy(key)),
            S3Error::DeleteMarker { .. } => say(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            )
            .field("ResourceType", "DeleteMarker"),
            S3Error::ConditionalRequestConflict { key } => say(
                CONFLICT,
                "ConditionalRequestConflict",
                "The conditional request cannot succeed due to a conflicting operation against this resource.",
            )
            .field("Key", String::from_utf8_lossy(key)),
            S3Error::BadRequest { message } => say(BAD, "BadRequest", message.clone()),
            S3Error::CorsRefused { why, method, resource_type } => {
                say(FORBIDDEN, "AccessForbidden", why.message())
                    .field("Method", method)
                    .field("ResourceType", resource_type)
            }
            S3Error::InvalidTag { message, field, value } => say(BAD, "InvalidTag", *message).field(field, value),
            S3Error::EntityTooLarge { proposed, max } => {
                say(BAD, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
                    .field("ProposedSize", proposed)
                    .field("MaxSizeAllowed", max)
            }
            S3Error::FileTooSmall { proposed, min } => {
                say(BAD, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
                    .field("ProposedSize", proposed)
                    .field("MinSizeAllowed", min)
            }
            S3Error::EntityTooSmall { proposed, part, etag } => {
                say(BAD, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
                    .field("ProposedSize", proposed)
                    .field("MinSizeAllowed", PART_BYTES_MIN)
                    .field("PartNumber", part)
                    .field("ETag", etag)
            }
            S3Error::IllegalVersioningConfiguration => say(
                BAD,
                "IllegalVersioningConfigurationException",
                "The Versioning element must be specified",
            ),
            S3Error::InvalidArgument { message, name, value } => {
                say(BAD, "InvalidArgument", message.clone())
                    .field("ArgumentName", name)
                    .field("ArgumentValue", value)
            }
            S3Error::Extracting { stored, failure } => {
                let answer = failure.answer();
                let message = format!("{} (objects of the archive stored before: {stored})", answer.message);
                Answer { message: message.into(), ..answer }.field("ObjectsStored", stored)
            }
            S3Error::IdempotencyParameterMismatch => say(
                BAD,
                "IdempotencyParameterMismatch",
                "Parameters on this idempotent request are inconsistent with parameters used in previous request(s).",
            ),
            S3Error::InvalidEncryptionAlgorithm { value } => say(
                BAD,
                "InvalidEncryptionAlgorithmError",
                "The Encryption request you specified is not valid. Supported value: AES256.",
            )
            .field("ArgumentName", "x-amz-server-side-encryption")
            .field("ArgumentValue", value),
            S3Error::EncryptionTypeMismatch => say(
                BAD,
                "EncryptionTypeMismatch",
                "The existing object was created with a different encryption type. Subsequent write requests must include the \
                 appropriate encryption parameters in the request or while creating the session.",
            ),
            S3Error::KmsNotFound { message } => say(BAD, "KMS.NotFoundException", message.clone()),
            S3Error::NoMasterKey => say(
                NOT_IMPLEMENTED,
                "NotImplemented",
                "Server side encryption is not configured: the server has no master key. Start it with --master-key-file or \
                 NILAS_MASTER_KEY.",
            ),
            S3Error::WrongCustomerKey => say(
                FORBIDDEN,
                "AccessDenied",
                "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.",
            ),
            S3Error::CustomerKeysBlocked { sender, action, resource } => say(
                FORBIDDEN,
                "AccessDenied",
                format!(
                    "User: {sender} is not authorized to perform: {action} on resource: \"{resource}\" because this bucket has \
                     blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please \
                     specify a different server-side encryption type"
                ),
            ),
            S3Error::InvalidBucketAclWithObjectOwnership => say(
                BAD,
                "InvalidBucketAclWithObjectOwnership",
                "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            ),
            S3Error::InvalidBucketState { message } => say(CONFLICT, "InvalidBucketState", *message),
            S3Error::InvalidBucketName { bucket } => {
                say(BAD, "InvalidBucketName", "The specified bucket is not valid.").field("BucketName", bucket)
            }
            S3Error::InvalidLocationConstraint { constraint } => {
                say(BAD, "InvalidLocationConstraint", "The specified location-constraint is not valid")
                    .field("LocationConstraint", constraint)
            }
            S3Error::InvalidPart { upload, part, etag } => say(
                BAD,
                "InvalidPart",
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or \
                 the specified entity tag may not match the part's entity tag.",
            )
            .field("UploadId", upload)
            .field("PartNumber", part)
            .field("ETag", etag),
            S3Error::InvalidPartNumber { requested, actual } => {
                say(UNSATISFIABLE, "InvalidPartNumber", "The requested partnumber is not satisfiable")
                    .field("PartNumberRequested", requested)
                    .field("ActualPartCount", actual)
            }
            S3Error::InvalidPartOrder { upload } => say(
                BAD,
                "InvalidPartOrder",
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
            )
            .field("UploadId", upload),
            S3Error::InvalidRange { requested, object_bytes } => {
                say(UNSATISFIABLE, "InvalidRange", "The requested range is not satisfiable")
                    .field("RangeRequested", requested)
                    .field("ActualObjectSize", object_bytes)
            }
            S3Error::InvalidRequest { message } => say(BAD, "InvalidRequest", message.clone()),
            S3Error::InvalidPolicyDocument { message } => {
                say(BAD, "InvalidPolicyDocument", message.clone())
            }
            S3Error::InvalidStorageClass { class } => {
                say(BAD, "InvalidStorageClass", "The storage class you specified is not valid")
                    .field("StorageClassRequested", class)
            }
            S3Error::InvalidUri { uri } => {
                say(BAD, "InvalidURI", "Couldn't parse the specified URI.").field("URI", uri)
            }
            S3Error::InvalidWriteOffset => say(
                BAD,
                "InvalidWriteOffset",
                "The write offset value that you specified does not match the current object size.",
            ),
            S3Error::KeyTooLong { size } => say(BAD, "KeyTooLongError", "Your key is too long")
                .field("Size", size)
                .field("MaxSizeAllowed", KEY_BYTES_MAX),
            S3Error::MalformedXml => say(
                BAD,
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our published schema",
            ),
            S3Error::MetadataTooLarge { size } => say(
                BAD,
                "MetadataTooLarge",
                "Your metadata headers exceed the maximum allowed metadata size",
            )
            .field("Size", size)
            .field("MaxSizeAllowed", USER_METADATA_BYTES_MAX),
            S3Error::MethodNotAllowed { method, resource_type } => say(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
            )
            .field("Method", method)
            .field("ResourceType", resource_type),
            S3Error::MissingRequestBody => say(BAD, "MissingRequestBodyError", "Request Body is empty"),
            S3Error::NoSuchBucket { bucket } => {
                say(MISSING, "NoSuchBucket", "The specified bucket does not exist").field("BucketName", bucket)
            }
            S3Error::NoSuchKey { key } => say(MISSING, "NoSuchKey", "The specified key does not exist.")
                .field("Key", String::from_utf8_lossy(key)),
            S3Error::NoSuchUpload { upload } => say(
                MISSING,
                "NoSuchUpload",
                "The specified upload does not exist. The upload ID may be invalid, or the upload may have been \
                 aborted or completed.",
            )
            .field("UploadId", upload),
            S3Error::NoSuchVersion { version } => {
                say(MISSING, "NoSuchVersion", "The specified version does not exist.").field("VersionId", version)
            }
            S3Error::NotConfigured { code, message, bucket } => {
                say(MISSING, code, *message).field("BucketName", bucket)
            }
            S3Error::NotImplementedHeader { header } => say(
                NOT_IMPLEMENTED,
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
            )
            .field("Header", header),
            S3Error::NotImplementedParameter { parameter } => say(
                NOT_IMPLEMENTED,
                "NotImplemented",
                "A parameter you provided implies functionality that is not implemented",
            )
            .field("Parameter", parameter),
            S3Error::NotModified => say(StatusCode::NOT_MODIFIED, "NotModified", "Not Modified"),
            S3Error::PolicyRefuses { why } => {
                say(FORBIDDEN, "AccessDenied", format!("Invalid according to Policy: {why}"))
            }
            S3Error::PreconditionFailed { condition } => say(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
            )
            .field("Condition", condition),
            S3Error::ObjectLocked => object_locked(),
            S3Error::Recovering => slow_down(),
            S3Error::RequestTimeout => say(
                BAD,
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the timeout period. Idle \
                 connections will be closed.",
            ),
            S3Error::TooManyBuckets => {
                say(BAD, "TooManyBuckets", "You have attempted to create more buckets than allowed")
            }
            S3Error::UnreadableAttributes { .. }
            | S3Error::UnreadableKey { .. }
            | S3Error::UnreadableCatalog => internal(),
            S3Error::Auth(e) => auth(e),
            S3Error::Body(e) => body(e),
            S3Error::BodyBroken => say(
                BAD,
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP header",
            ),
            S3Error::ReadCut(BodyCut::Engine(e)) | S3Error::Engine(e) => engine(e),
            S3Error::ReadCut(BodyCut::Length { .. } | BodyCut::Unopened(_)) => internal(),
        }
    }
}

fn internal() -> Answer {
    say(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalError",
        "We encountered an internal error. Please try again.",
    )
}

fn auth(e: &AuthError) -> Answer {
    let status = match e {
        AuthError::AccessDenied(_)
        | AuthError::InvalidAccessKeyId { .. }
        | AuthError::SignatureDoesNotMatch(_)
        | AuthError::RequestTimeTooSkewed { .. } => StatusCode::FORBIDDEN,
        AuthError::AuthorizationHeaderMalformed(_)
        | AuthError::AuthorizationQueryParametersError(_)
        | AuthError::InvalidArgument { .. }
        | AuthError::InvalidRequest(_)
        | AuthError::InvalidToken { .. }
        | AuthError::ExpiredToken { .. }
        | AuthError::XAmzContentSHA256Mismatch { .. } => StatusCode::BAD_REQUEST,
        AuthError::Throttled(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Answer { status, code: e.code(), message: e.message(), fields: e.fields() }
}

fn body(e: &BodyError) -> Answer {
    let status = match e {
        BodyError::MissingContentLength => StatusCode::LENGTH_REQUIRED,
        BodyError::SignatureDoesNotMatch { .. } => StatusCode::FORBIDDEN,
        BodyError::IncompleteBody(_)
        | BodyError::EntityTooLarge { .. }
        | BodyError::InvalidChunkSizeError { .. }
        | BodyError::MalformedTrailerError(_)
        | BodyError::XAmzContentSHA256Mismatch { .. }
        | BodyError::InvalidDigest { .. }
        | BodyError::BadDigest { .. }
        | BodyError::InvalidRequest(_)
        | BodyError::Form(_) => StatusCode::BAD_REQUEST,
    };
    Answer { status, code: e.code(), message: e.message(), fields: e.fields() }
}

fn engine(e: &EngineError) -> Answer {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match e {
        EngineError::Drive(_) | EngineError::Corrupt(_) => internal(),
        EngineError::ReadOnly { .. } => say(
            unavailable,
            "ServiceUnavailable",
            "Service is unable to handle request: the store is read-only.",
        ),
        EngineError::Full { .. } => say(
            StatusCode::INSUFFICIENT_STORAGE,
            "InsufficientStorage",
            "The store has no free space for this request.",
        ),
        EngineError::Busy { .. } | EngineError::BucketClosed | EngineError::NoFreeZone => slow_down(),
        EngineError::TooLarge { max, got, .. } => say(
            StatusCode::BAD_REQUEST,
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
        )
        .field("ProposedSize", got)
        .field("MaxSizeAllowed", max),
        EngineError::UnsupportedSetting { .. } => Answer {
            status: StatusCode::NOT_IMPLEMENTED,
            code: "NotImplemented",
            message: e.to_string().into(),
            fields: Vec::new(),
        },
        EngineError::Locked => object_locked(),
        EngineError::QuotaExceeded => {
            say(StatusCode::FORBIDDEN, "QuotaExceeded", "The quota of the bucket would be exceeded.")
        }
        EngineError::Stopping => say(
            unavailable,
            "ServiceUnavailable",
            "Service is unable to handle request: the server is stopping.",
        ),
    }
}

fn object_locked() -> Answer {
    say(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied because object protected by object lock.")
}

/// Clients come again, later.
fn slow_down() -> Answer {
    say(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your request rate.")
}

/// What an error's XML says about the request it answers.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Raw path of the request.
    pub resource: &'a str,
    /// The request's id, also in `x-amz-request-id`.
    pub request_id: &'a str,
    /// The server's id, also in `x-amz-id-2`.
    pub host_id: &'a str,
    /// Whether the request was HEAD, whose answers have no body.
    pub head: bool,
}

/// Renders `failure` as a whole answer, but for the headers that every answer has.
pub fn render(failure: &S3Error, context: Context<'_>) -> Response<ResponseBody> {
    let answer = failure.answer();
    let bodiless = context.head || answer.status == StatusCode::NOT_MODIFIED;
    let body = if bodiless { Bytes::new() } else { xml(&answer, context) };
    let mut response = Response::new(ResponseBody::from(body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    if !bodiless {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    }
    if answer.status == StatusCode::SERVICE_UNAVAILABLE {
        let retry_after_s = match failure {
            S3Error::Auth(AuthError::Throttled(throttled)) => throttled.retry_after_s,
            _ => 1,
        };
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
    }
    if let S3Error::DeletedKey { version, .. } | S3Error::DeleteMarker { version, .. } = failure {
        headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
        if let Ok(version) = HeaderValue::try_from(version) {
            headers.insert(VERSION_ID, version);
        }
    }
    if let S3Error::DeleteMarker { modified_ms, .. } = failure {
        headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
        headers.insert(LAST_MODIFIED, http_date(*modified_ms));
    }
    if let S3Error::InvalidRange { object_bytes, .. } = failure {
        let range = HeaderValue::try_from(format!("bytes */{object_bytes}")).expect("digits are ASCII");
        headers.insert(CONTENT_RANGE, range);
    }
    response
}

fn xml(answer: &Answer, context: Context<'_>) -> Bytes {
    let mut xml = Xml::bare("Error", 512);
    xml.text("Code", answer.code);
    xml.message("Message", &answer.message);
    for (name, value) in &answer.fields {
        xml.text(name, value);
    }
    xml.text("Resource", context.resource);
    xml.text("RequestId", context.request_id);
    xml.text("HostId", context.host_id);
    xml.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failure: S3Error, status: u16, code: &str) {
        let answer = failure.answer();
        assert_eq!((answer.status.as_u16(), answer.code), (status, code), "{failure:?}");
    }

    #[test]
    fn table() {
        check(S3Error::NoSuchKey { key: Bytes::from_static(b"k") }, 404, "NoSuchKey");
        check(S3Error::InvalidRange { requested: "bytes=9-".into(), object_bytes: 3 }, 416, "InvalidRange");
        check(S3Error::NotModified, 304, "NotModified");
        check(BodyError::MissingContentLength.into(), 411, "MissingContentLength");
        check(S3Error::PreconditionFailed { condition: "If-Match" }, 412, "PreconditionFailed");
        check(EngineError::Full { wanted_bytes: 1 }.into(), 507, "InsufficientStorage");
        check(EngineError::Busy { limit: "x", max: 1 }.into(), 503, "SlowDown");
        check(S3Error::Recovering, 503, "SlowDown");
        check(EngineError::BucketClosed.into(), 503, "SlowDown");
        check(EngineError::NoFreeZone.into(), 503, "SlowDown");
        check(EngineError::ReadOnly { shard: nilas_engine::ShardId(1) }.into(), 503, "ServiceUnavailable");
        check(S3Error::bucket(BucketError::NotEmpty, "b"), 409, "BucketNotEmpty");
        check(S3Error::write(PutRefused::NoSuchUpload.into(), "b", &Bytes::new(), "u"), 404, "NoSuchUpload");
    }

    #[test]
    fn documents() {
        let context = Context { resource: "/b/a&b", request_id: "R", host_id: "H", head: false };
        let response = render(&S3Error::NoSuchKey { key: Bytes::from_static(b"a&b") }, context);
        let ResponseBody::Full(body) = response.into_body() else { panic!("a body") };
        assert_eq!(
            std::str::from_utf8(&body).expect("UTF-8"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
             <Message>The specified key does not exist.</Message><Key>a&amp;b</Key><Resource>/b/a&amp;b</Resource>\
             <RequestId>R</RequestId><HostId>H</HostId></Error>"
        );
        let head = render(&S3Error::MalformedXml, Context { head: true, ..context });
        assert!(matches!(head.body(), ResponseBody::Empty));
        let busy = render(&EngineError::Busy { limit: "x", max: 1 }.into(), context);
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
        let throttled = AuthError::Throttled(crate::auth::Throttled { retry_after_s: 17 });
        let throttled = render(&throttled.into(), context);
        assert_eq!(
            (throttled.status().as_u16(), &throttled.headers()[RETRY_AFTER]),
            (503, &HeaderValue::from(17))
        );
    }

    #[test]
    fn who_may_come_again_is_told_to_slow_down() {
        let lock = nilas_engine::SettingKind::LOCK;
        for failure in [
            S3Error::Recovering,
            EngineError::Busy { limit: "x", max: 1 }.into(),
            EngineError::BucketClosed.into(),
            EngineError::NoFreeZone.into(),
            EngineError::Full { wanted_bytes: 1 }.into(),
            EngineError::UnsupportedSetting { kind: lock }.into(),
            EngineError::Stopping.into(),
            S3Error::AccessDenied,
        ] {
            assert_eq!(failure.is_busy(), failure.answer().code == "SlowDown", "{failure:?}");
        }
    }
}
