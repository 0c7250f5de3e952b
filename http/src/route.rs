//! Request head → what is asked for: an operation of S3, a path of the catalog, or one of the server's own pages.
//!
//! The server hands it every request before anything else is done with it. Pure. It works on the raw path, so
//! that a key is whatever bytes stand behind the bucket's name: `a//b`, `./x` and `../x` are keys like others.
//! A sub-resource that is not served is refused, never taken for the plain request without it.

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::limits::KEY_BYTES_MAX;
use crate::render::error::Failure;
pub use crate::uri::Query;
use crate::uri::percent_decode;

/// First path segments that belong to the server and can therefore not be bucket names.
pub const RESERVED_BUCKETS: [&str; 6] = ["_iceberg", "healthz", "iceberg", "metrics", "minio", "readyz"];

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// One of the server's own pages.
    Admin(Admin),
    /// The catalog; `rest` is the raw path from `/v1` on.
    Iceberg {
        /// Raw path behind the catalog's mount point, without query.
        rest: &'a str,
    },
    /// An S3 operation.
    S3(Target),
}

/// The server's own pages, for GET and HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Admin {
    Healthz,
    Readyz,
    Metrics,
    Scrub,
}

/// An S3 operation with what it works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The operation.
    pub operation: Operation,
    /// Bucket name as sent, empty for ListBuckets. Its form is checked where buckets are created.
    pub bucket: String,
    /// Object key, valid UTF-8 without NUL, at most [`KEY_BYTES_MAX`] bytes; empty for bucket operations.
    pub key: Bytes,
    /// The query, decoded.
    pub query: Query,
}

/// The S3 operations that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "S3's own names")]
pub enum Operation {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketLocation,
    GetBucketConfiguration(Configuration),
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    ListMultipartUploads,
    DeleteObjects,
    PutObject,
    CopyObject,
    GetObject,
    HeadObject,
    DeleteObject,
    GetObjectAttributes,
    GetObjectAcl,
    GetObjectTagging,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
}

/// Configurations of a bucket that can be asked for; all of them are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "S3's own names")]
pub enum Configuration {
    Accelerate,
    Acl,
    Cors,
    Encryption,
    Lifecycle,
    Logging,
    Notification,
    ObjectLock,
    OwnershipControls,
    Policy,
    PolicyStatus,
    PublicAccessBlock,
    Replication,
    RequestPayment,
    Tagging,
    Versioning,
    Website,
}

impl Operation {
    /// All that [`Operation::name`] may answer.
    pub const NAMES: [&'static str; 25] = [
        "ListBuckets",
        "CreateBucket",
        "HeadBucket",
        "DeleteBucket",
        "GetBucketLocation",
        "GetBucketConfiguration",
        "ListObjects",
        "ListObjectsV2",
        "ListObjectVersions",
        "ListMultipartUploads",
        "DeleteObjects",
        "PutObject",
        "CopyObject",
        "GetObject",
        "HeadObject",
        "DeleteObject",
        "GetObjectAttributes",
        "GetObjectAcl",
        "GetObjectTagging",
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
        "AbortMultipartUpload",
        "ListParts",
    ];

    /// The operation's name in S3's documentation, for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Operation::ListBuckets => "ListBuckets",
            Operation::CreateBucket => "CreateBucket",
            Operation::HeadBucket => "HeadBucket",
            Operation::DeleteBucket => "DeleteBucket",
            Operation::GetBucketLocation => "GetBucketLocation",
            Operation::GetBucketConfiguration(_) => "GetBucketConfiguration",
            Operation::ListObjects => "ListObjects",
            Operation::ListObjectsV2 => "ListObjectsV2",
            Operation::ListObjectVersions => "ListObjectVersions",
            Operation::ListMultipartUploads => "ListMultipartUploads",
            Operation::DeleteObjects => "DeleteObjects",
            Operation::PutObject => "PutObject",
            Operation::CopyObject => "CopyObject",
            Operation::GetObject => "GetObject",
            Operation::HeadObject => "HeadObject",
            Operation::DeleteObject => "DeleteObject",
            Operation::GetObjectAttributes => "GetObjectAttributes",
            Operation::GetObjectAcl => "GetObjectAcl",
            Operation::GetObjectTagging => "GetObjectTagging",
            Operation::CreateMultipartUpload => "CreateMultipartUpload",
            Operation::UploadPart => "UploadPart",
            Operation::UploadPartCopy => "UploadPartCopy",
            Operation::CompleteMultipartUpload => "CompleteMultipartUpload",
            Operation::AbortMultipartUpload => "AbortMultipartUpload",
            Operation::ListParts => "ListParts",
        }
    }

    /// The permission that the operation needs on its target. Copies need `s3:GetObject` on their source as well.
    ///
    /// Source: Service Authorization Reference, "Actions defined by Amazon S3".
    pub fn action(self) -> &'static str {
        match self {
            Operation::ListBuckets => "s3:ListAllMyBuckets",
            Operation::CreateBucket => "s3:CreateBucket",
            Operation::HeadBucket | Operation::ListObjects | Operation::ListObjectsV2 => "s3:ListBucket",
            Operation::DeleteBucket => "s3:DeleteBucket",
            Operation::GetBucketLocation => "s3:GetBucketLocation",
            Operation::GetBucketConfiguration(configuration) => configuration.action(),
            Operation::ListObjectVersions => "s3:ListBucketVersions",
            Operation::ListMultipartUploads => "s3:ListBucketMultipartUploads",
            Operation::DeleteObjects | Operation::DeleteObject => "s3:DeleteObject",
            Operation::PutObject
            | Operation::CopyObject
            | Operation::CreateMultipartUpload
            | Operation::UploadPart
            | Operation::UploadPartCopy
            | Operation::CompleteMultipartUpload => "s3:PutObject",
            Operation::GetObject | Operation::HeadObject => "s3:GetObject",
            Operation::GetObjectAttributes => "s3:GetObjectAttributes",
            Operation::GetObjectAcl => "s3:GetObjectAcl",
            Operation::GetObjectTagging => "s3:GetObjectTagging",
            Operation::AbortMultipartUpload => "s3:AbortMultipartUpload",
            Operation::ListParts => "s3:ListMultipartUploadParts",
        }
    }
}

impl Configuration {
    fn action(self) -> &'static str {
        match self {
            Configuration::Accelerate => "s3:GetAccelerateConfiguration",
            Configuration::Acl => "s3:GetBucketAcl",
            Configuration::Cors => "s3:GetBucketCORS",
            Configuration::Encryption => "s3:GetEncryptionConfiguration",
            Configuration::Lifecycle => "s3:GetLifecycleConfiguration",
            Configuration::Logging => "s3:GetBucketLogging",
            Configuration::Notification => "s3:GetBucketNotification",
            Configuration::ObjectLock => "s3:GetBucketObjectLockConfiguration",
            Configuration::OwnershipControls => "s3:GetBucketOwnershipControls",
            Configuration::Policy => "s3:GetBucketPolicy",
            Configuration::PolicyStatus => "s3:GetBucketPolicyStatus",
            Configuration::PublicAccessBlock => "s3:GetBucketPublicAccessBlock",
            Configuration::Replication => "s3:GetReplicationConfiguration",
            Configuration::RequestPayment => "s3:GetBucketRequestPayment",
            Configuration::Tagging => "s3:GetBucketTagging",
            Configuration::Versioning => "s3:GetBucketVersioning",
            Configuration::Website => "s3:GetBucketWebsite",
        }
    }

    fn parse(subresource: &str) -> Option<Configuration> {
        Some(match subresource {
            "accelerate" => Configuration::Accelerate,
            "acl" => Configuration::Acl,
            "cors" => Configuration::Cors,
            "encryption" => Configuration::Encryption,
            "lifecycle" => Configuration::Lifecycle,
            "logging" => Configuration::Logging,
            "notification" => Configuration::Notification,
            "object-lock" => Configuration::ObjectLock,
            "ownershipControls" => Configuration::OwnershipControls,
            "policy" => Configuration::Policy,
            "policyStatus" => Configuration::PolicyStatus,
            "publicAccessBlock" => Configuration::PublicAccessBlock,
            "replication" => Configuration::Replication,
            "requestPayment" => Configuration::RequestPayment,
            "tagging" => Configuration::Tagging,
            "versioning" => Configuration::Versioning,
            "website" => Configuration::Website,
            _ => return None,
        })
    }
}

/// Says what the request `head` asks for. `domains` are the names under which `bucket.domain` addresses a bucket.
///
/// A request for a bucket by its host name has no reserved paths: the whole path is the key.
pub fn route<'a>(head: &'a Parts, domains: &[String]) -> Result<Route<'a>, Failure> {
    let host = head.headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
    let bucket = host.and_then(|host| virtual_bucket(host, domains));
    route_line(&head.method, head.uri.path(), head.uri.query().unwrap_or(""), bucket, &head.headers)
}

fn route_line<'a>(
    method: &Method,
    path: &'a str,
    query: &str,
    virtual_bucket: Option<&str>,
    headers: &HeaderMap,
) -> Result<Route<'a>, Failure> {
    if virtual_bucket.is_none()
        && let Some(route) = route_own(method, path)
    {
        return route;
    }
    let bad_uri = || Failure::InvalidUri { uri: path.to_owned() };
    let path = path.strip_prefix('/').ok_or_else(bad_uri)?;
    let (bucket, key) = match virtual_bucket {
        Some(bucket) => (bucket, path),
        None => path.split_once('/').unwrap_or((path, "")),
    };
    let bucket =
        percent_decode(bucket, false).and_then(|name| String::from_utf8(name).ok()).ok_or_else(bad_uri)?;
    let key = decode_key(key, bad_uri)?;
    let query = Query::parse(query).ok_or_else(bad_uri)?;
    let selector = selector(&query)?;
    let copies = headers.contains_key("x-amz-copy-source") || query.get_header("x-amz-copy-source").is_some();

    let operation = match (bucket.is_empty(), key.is_empty()) {
        (true, true) => service_operation(method, selector),
        (true, false) => Err(bad_uri()),
        (false, true) => bucket_operation(method, selector, &query),
        (false, false) => object_operation(method, selector, &query, copies),
    }?;
    Ok(Route::S3(Target { operation, bucket, key, query }))
}

/// The pages and mounts of the server itself; `None` when the path belongs to S3.
fn route_own<'a>(method: &Method, path: &'a str) -> Option<Result<Route<'a>, Failure>> {
    let admin = match path {
        "/healthz" => Some(Admin::Healthz),
        "/readyz" => Some(Admin::Readyz),
        "/metrics" => Some(Admin::Metrics),
        "/_nilas/scrub" => Some(Admin::Scrub),
        _ => None,
    };
    if let Some(admin) = admin {
        return Some(match *method {
            Method::GET | Method::HEAD => Ok(Route::Admin(admin)),
            Method::POST if admin == Admin::Scrub => Ok(Route::Admin(admin)),
            _ => Err(not_allowed(method, "SERVICE")),
        });
    }
    for mount in ["/_iceberg", "/iceberg"] {
        if let Some(rest) = path.strip_prefix(mount)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return Some(Ok(Route::Iceberg { rest }));
        }
    }
    None
}

/// The bucket that a host name addresses: what stands before `.domain`.
fn virtual_bucket<'a>(host: &'a str, domains: &[String]) -> Option<&'a str> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    domains.iter().find_map(|domain| {
        let at = name.len().checked_sub(domain.len())?;
        let (bucket, tail) = (name.get(..at)?, name.get(at..)?);
        let bucket = bucket.strip_suffix('.')?;
        (tail.eq_ignore_ascii_case(domain) && !bucket.is_empty()).then_some(bucket)
    })
}

fn decode_key(raw: &str, bad_uri: impl Fn() -> Failure) -> Result<Bytes, Failure> {
    let key = percent_decode(raw, false).ok_or_else(&bad_uri)?;
    check_key(&key)?;
    if std::str::from_utf8(&key).is_err() {
        return Err(bad_uri());
    }
    Ok(Bytes::from(key))
}

/// Checks what every key must keep to, wherever it stands: length, and no NUL.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Failure> {
    if KEY_BYTES_MAX < key.len() {
        return Err(Failure::KeyTooLong { size: key.len() });
    }
    if key.contains(&0) {
        return Err(Failure::InvalidArgument {
            message: "Object keys must not contain a NUL character".into(),
            name: "key",
            value: String::new(),
        });
    }
    Ok(())
}

/// Sub-resources of S3: each turns a request into another operation. Those not served are refused.
const SUBRESOURCES: [&str; 40] = [
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "rename",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
    "zip",
];

/// Parameters that may stand without a value and still name no sub-resource.
const PARAMETERS: [&str; 28] = [
    "allow-unordered",
    "AWSAccessKeyId",
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "Expires",
    "fetch-owner",
    "id",
    "key-marker",
    "list-type",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "metadata",
    "part-number-marker",
    "partNumber",
    "position",
    "prefix",
    "Signature",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "versionId",
    "select-type",
    "x-id",
];

/// The one sub-resource that the query names. Two of them, or an unknown one, is an error.
fn selector(query: &Query) -> Result<Option<&str>, Failure> {
    let mut found = None;
    for (name, value) in query.iter() {
        if SUBRESOURCES.contains(&name) {
            if let Some(other) = found.filter(|other| *other != name) {
                return Err(Failure::InvalidArgument {
                    message: format!("Conflicting query string parameters: {other}, {name}").into(),
                    name: "ResourceType",
                    value: name.to_owned(),
                });
            }
            found = Some(name);
            continue;
        }
        let parameter = PARAMETERS.contains(&name)
            || name.starts_with("response-")
            || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
        if !parameter && value.is_empty() {
            return Err(Failure::NotImplementedParameter { parameter: name.to_owned() });
        }
    }
    Ok(found)
}

fn service_operation(method: &Method, selector: Option<&str>) -> Result<Operation, Failure> {
    match (method, selector) {
        (&Method::GET, None) => Ok(Operation::ListBuckets),
        (&Method::OPTIONS, _) => Err(Failure::CorsNotEnabled),
        (_, Some(name)) => Err(Failure::NotImplementedParameter { parameter: name.to_owned() }),
        _ => Err(not_allowed(method, "SERVICE")),
    }
}

fn bucket_operation(method: &Method, selector: Option<&str>, query: &Query) -> Result<Operation, Failure> {
    match (method, selector) {
        (&Method::GET, None) => match query.get("list-type") {
            None => Ok(Operation::ListObjects),
            Some("2") => Ok(Operation::ListObjectsV2),
            Some(other) => Err(Failure::InvalidArgument {
                message: "Invalid List Type specified in Request".into(),
                name: "list-type",
                value: other.to_owned(),
            }),
        },
        (&Method::GET, Some("location")) => Ok(Operation::GetBucketLocation),
        (&Method::GET, Some("uploads")) => Ok(Operation::ListMultipartUploads),
        (&Method::GET, Some("versions")) => Ok(Operation::ListObjectVersions),
        (&Method::GET, Some(name)) => match Configuration::parse(name) {
            Some(configuration) => Ok(Operation::GetBucketConfiguration(configuration)),
            None => Err(Failure::NotImplementedParameter { parameter: name.to_owned() }),
        },
        (&Method::PUT, None) => Ok(Operation::CreateBucket),
        (&Method::HEAD, None) => Ok(Operation::HeadBucket),
        (&Method::DELETE, None) => Ok(Operation::DeleteBucket),
        (&Method::POST, Some("delete")) => Ok(Operation::DeleteObjects),
        (&Method::POST, None) => Err(Failure::NotImplementedFormUpload),
        (&Method::OPTIONS, _) => Err(Failure::CorsNotEnabled),
        (&Method::HEAD, Some(_)) => Err(not_allowed(method, "BUCKET")),
        (&Method::PUT | &Method::DELETE | &Method::POST, Some(name)) => {
            Err(Failure::NotImplementedParameter { parameter: name.to_owned() })
        }
        _ => Err(not_allowed(method, "BUCKET")),
    }
}

fn object_operation(
    method: &Method,
    selector: Option<&str>,
    query: &Query,
    copies: bool,
) -> Result<Operation, Failure> {
    match (method, selector) {
        (&Method::GET, None) => Ok(Operation::GetObject),
        (&Method::HEAD, None) => Ok(Operation::HeadObject),
        (&Method::PUT, None) => match (query.get("partNumber"), query.get("versionId")) {
            (Some(number), _) => Err(Failure::InvalidArgument {
                message: "This operation does not accept partNumber without uploadId".into(),
                name: "partNumber",
                value: number.to_owned(),
            }),
            (None, Some(version)) => Err(Failure::InvalidArgument {
                message: "This operation does not accept a version-id.".into(),
                name: "versionId",
                value: version.to_owned(),
            }),
            (None, None) if copies => Ok(Operation::CopyObject),
            (None, None) => Ok(Operation::PutObject),
        },
        (&Method::DELETE, None) => Ok(Operation::DeleteObject),
        (&Method::GET, Some("acl")) => Ok(Operation::GetObjectAcl),
        (&Method::GET, Some("attributes")) => Ok(Operation::GetObjectAttributes),
        (&Method::GET, Some("tagging")) => Ok(Operation::GetObjectTagging),
        (&Method::GET, Some("uploadId")) => Ok(Operation::ListParts),
        (&Method::PUT, Some("uploadId")) if copies => Ok(Operation::UploadPartCopy),
        (&Method::PUT, Some("uploadId")) => Ok(Operation::UploadPart),
        (&Method::POST, Some("uploads")) => Ok(Operation::CreateMultipartUpload),
        (&Method::POST, Some("uploadId")) => Ok(Operation::CompleteMultipartUpload),
        (&Method::DELETE, Some("uploadId")) => Ok(Operation::AbortMultipartUpload),
        (&Method::OPTIONS, _) => Err(Failure::CorsNotEnabled),
        (&Method::GET | &Method::PUT | &Method::POST | &Method::DELETE, Some(name)) => {
            Err(Failure::NotImplementedParameter { parameter: name.to_owned() })
        }
        _ => Err(not_allowed(method, "OBJECT")),
    }
}

fn not_allowed(method: &Method, resource_type: &'static str) -> Failure {
    Failure::MethodNotAllowed { method: method.as_str().to_owned(), resource_type }
}

/// Fuzz entry: a request line `METHOD path query` never panics, and no key breaks its rules.
pub fn fuzz_route(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut words = text.splitn(3, ' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let query = words.next().unwrap_or("");
    for bucket in [None, Some("bkt")] {
        if let Ok(Route::S3(target)) = route_line(&method, path, query, bucket, &HeaderMap::new()) {
            assert!(target.key.len() <= KEY_BYTES_MAX);
            assert!(std::str::from_utf8(&target.key).is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str, host: &str) -> Result<Route<'static>, String> {
        let (method, uri) = line.split_once(' ').expect("a method and a path");
        let mut request = http::Request::builder().method(method).uri(uri).header("host", host);
        if uri.contains("#copy") {
            request = request.header("x-amz-copy-source", "/b/k");
        }
        let head: &'static Parts =
            Box::leak(Box::new(request.body(()).expect("a valid head").into_parts().0));
        route(head, &["s3.example.com".to_owned()]).map_err(|failure| failure.answer().code.to_owned())
    }

    fn check(line: &str, operation: Operation, bucket: &str, key: &str) {
        match ask(line, "127.0.0.1:9000") {
            Ok(Route::S3(target)) => {
                assert_eq!(target.operation, operation, "{line}");
                assert_eq!((target.bucket.as_str(), &target.key[..]), (bucket, key.as_bytes()), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    fn check_code(line: &str, code: &str) {
        assert_eq!(ask(line, "localhost"), Err(code.to_owned()), "{line}");
    }

    #[test]
    fn buckets() {
        check("GET /", Operation::ListBuckets, "", "");
        check("GET /?max-buckets=2", Operation::ListBuckets, "", "");
        check("PUT /b", Operation::CreateBucket, "b", "");
        check("PUT /b/", Operation::CreateBucket, "b", "");
        check("HEAD /b", Operation::HeadBucket, "b", "");
        check("DELETE /b/", Operation::DeleteBucket, "b", "");
        check("GET /b", Operation::ListObjects, "b", "");
        check("GET /b?prefix=&delimiter=/&max-keys=5", Operation::ListObjects, "b", "");
        check("GET /b?list-type=2&prefix", Operation::ListObjectsV2, "b", "");
        check("GET /b?list-type=2&metadata=true", Operation::ListObjectsV2, "b", "");
        check("GET /b?versions", Operation::ListObjectVersions, "b", "");
        check("GET /b?uploads=", Operation::ListMultipartUploads, "b", "");
        check("GET /b/?location", Operation::GetBucketLocation, "b", "");
        check("GET /b?versioning", Operation::GetBucketConfiguration(Configuration::Versioning), "b", "");
        check("GET /b?object-lock=", Operation::GetBucketConfiguration(Configuration::ObjectLock), "b", "");
        check("POST /b?delete", Operation::DeleteObjects, "b", "");
        check("POST /b/?delete=&x-id=DeleteObjects", Operation::DeleteObjects, "b", "");
    }

    #[test]
    fn objects() {
        check("PUT /b/k?x-id=PutObject", Operation::PutObject, "b", "k");
        check("PUT /b/k#copy", Operation::CopyObject, "b", "k");
        check("GET /b/k?partNumber=1", Operation::GetObject, "b", "k");
        check("GET /b/k?versionId=null&response-content-type=a", Operation::GetObject, "b", "k");
        check("HEAD /b/k", Operation::HeadObject, "b", "k");
        check("DELETE /b/k", Operation::DeleteObject, "b", "k");
        check("GET /b/k?attributes", Operation::GetObjectAttributes, "b", "k");
        check("GET /b/k?tagging", Operation::GetObjectTagging, "b", "k");
        check("GET /b/k?acl", Operation::GetObjectAcl, "b", "k");
        check("POST /b/k?uploads", Operation::CreateMultipartUpload, "b", "k");
        check("PUT /b/k?uploadId=1&partNumber=2", Operation::UploadPart, "b", "k");
        check("PUT /b/k?partNumber=2&uploadId=1&x-amz-copy-source=b/k", Operation::UploadPartCopy, "b", "k");
        check("PUT /b/k?X-Amz-Copy-Source=b/k", Operation::CopyObject, "b", "k");
        check("GET /b/k?uploadId=1", Operation::ListParts, "b", "k");
        check("POST /b/k?uploadId=1", Operation::CompleteMultipartUpload, "b", "k");
        check("DELETE /b/k?uploadId=1", Operation::AbortMultipartUpload, "b", "k");
    }

    #[test]
    fn keys_are_bytes_behind_the_bucket() {
        for key in
            ["a", "a/", "a/b", "a//b", "//", "./x", "../x", "a/../b", "..", ".", "iceberg/v1", "healthz"]
        {
            check(&format!("GET /b/{key}"), Operation::GetObject, "b", key);
        }
        check("GET /b//", Operation::GetObject, "b", "/");
        check("GET /b/%2e%2E%2Fx", Operation::GetObject, "b", "../x");
        check("GET /b/a+b%20c%2B", Operation::GetObject, "b", "a+b c+");
        check("GET /b/%C3%A9", Operation::GetObject, "b", "é");
        check(&format!("GET /b/{}", "k".repeat(1024)), Operation::GetObject, "b", &"k".repeat(1024));
        check_code(&format!("GET /b/{}", "k".repeat(1025)), "KeyTooLongError");
        check_code("GET /b/%C3", "InvalidURI");
        check_code("GET /b/%zz", "InvalidURI");
        check_code("GET /b/a%4", "InvalidURI");
        check_code("GET /b/a%00b", "InvalidArgument");
        check_code("GET //k", "InvalidURI");
    }

    #[test]
    fn refusals() {
        check_code("PUT /b/k?acl", "NotImplemented");
        check_code("PUT /b/k?tagging", "NotImplemented");
        check_code("PUT /b/k?frobnicate", "NotImplemented");
        check_code("PUT /b/k?renameObject", "NotImplemented");
        check_code("PUT /b/k?append&position=0", "NotImplemented");
        check_code("GET /b/k?torrent", "NotImplemented");
        check_code("DELETE /b/k?tagging", "NotImplemented");
        check_code("POST /b/k?restore", "NotImplemented");
        check_code("POST /b/k?select&select-type=2", "NotImplemented");
        check_code("POST /b/k", "MethodNotAllowed");
        check_code("PATCH /b/k", "MethodNotAllowed");
        check_code("PUT /b/k?partNumber=1", "InvalidArgument");
        check_code("PUT /b/k?versionId=1", "InvalidArgument");
        check_code("GET /b/k?acl&tagging", "InvalidArgument");
        check_code("PUT /b?versioning", "NotImplemented");
        check_code("DELETE /b?policy", "NotImplemented");
        check_code("GET /b?session", "NotImplemented");
        check_code("GET /b?inventory&id=1", "NotImplemented");
        check_code("GET /b?list-type=3", "InvalidArgument");
        check_code("HEAD /b?acl", "MethodNotAllowed");
        check_code("POST /b", "NotImplemented");
        check_code("PUT /", "MethodNotAllowed");
        check_code("OPTIONS /b/k", "AccessForbidden");
        check_code("PUT /healthz", "MethodNotAllowed");
        check_code("GET /b?a=%zz", "InvalidURI");
    }

    #[test]
    fn own_paths() {
        assert_eq!(ask("GET /healthz", "h"), Ok(Route::Admin(Admin::Healthz)));
        assert_eq!(ask("HEAD /readyz", "h"), Ok(Route::Admin(Admin::Readyz)));
        assert_eq!(ask("GET /metrics?a=b", "h"), Ok(Route::Admin(Admin::Metrics)));
        assert_eq!(ask("POST /_nilas/scrub", "h"), Ok(Route::Admin(Admin::Scrub)));
        assert_eq!(ask("GET /_iceberg/v1/config?w=1", "h"), Ok(Route::Iceberg { rest: "/v1/config" }));
        assert_eq!(ask("PATCH /iceberg/v1/a%1Fb", "h"), Ok(Route::Iceberg { rest: "/v1/a%1Fb" }));
        assert_eq!(ask("GET /iceberg", "h"), Ok(Route::Iceberg { rest: "" }));
        check("GET /icebergs/v1", Operation::GetObject, "icebergs", "v1");
        check("GET /healthz/x", Operation::GetObject, "healthz", "x");
    }

    #[test]
    fn hosts() {
        let check = |line: &str, host: &str, bucket: &str, key: &str| match ask(line, host) {
            Ok(Route::S3(target)) => {
                assert_eq!((target.bucket.as_str(), &target.key[..]), (bucket, key.as_bytes()), "{host}");
            }
            other => panic!("{host}: {other:?}"),
        };
        check("GET /k/l", "bkt.s3.example.com", "bkt", "k/l");
        check("GET /k/l", "bkt.with.dots.S3.example.com:9000", "bkt.with.dots", "k/l");
        check("GET /healthz", "bkt.s3.example.com:9000", "bkt", "healthz");
        check("GET /b/k", "s3.example.com:9000", "b", "k");
        check("GET /b/k", "xs3.example.com", "b", "k");
        check("GET /b/k", "other.example.com", "b", "k");
        check("GET /b/k", "[::1]:9000", "b", "k");
    }

    #[test]
    fn fuzz_corpus() {
        for line in
            ["GET / ", "PUT /b/k acl", "GET /%", "GET x y", "", "GET", "POST /b/%F0%9F%98%80 uploads=&a=%"]
        {
            fuzz_route(line.as_bytes());
        }
    }
}
