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
use crate::pages::Page;
use crate::render::error::S3Error;
use crate::s3::operations::{Form, Level, Operation, is_subresource};
use crate::s3::parameters;
use crate::s3::target::{Target, check_key};
pub use nilas_catalog::uri::Query;
use nilas_catalog::uri::decode_path;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// One of the server's own pages.
    Admin(Page),
    /// The catalog; `rest` is the raw path from `/v1` on.
    Iceberg {
        /// Raw path behind the catalog's mount point, without query.
        rest: &'a str,
    },
    /// AWS's query API: what it asks for is in its form.
    Query,
    /// An S3 operation.
    S3(Target),
    /// A browser asks what it may ask of a bucket or an object.
    Preflight {
        /// Bucket name as sent; empty for the service.
        bucket: String,
        /// What the path names.
        level: Level,
    },
}

/// Says what the request `head` asks for. `domains` are the names under which `bucket.domain` addresses a bucket.
///
/// A request for a bucket by its host name has no reserved paths: the whole path is the key.
pub fn route<'a>(head: &'a Parts, domains: &[String]) -> Result<Route<'a>, S3Error> {
    let host = head.headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| head.uri.authority().map(http::uri::Authority::as_str));
    let bucket = host.and_then(|host| virtual_bucket(host, domains));
    route_line(
        &head.method,
        head.uri.path(),
        head.uri.query().unwrap_or(""),
        bucket.as_deref(),
        &head.headers,
    )
}

fn route_line<'a>(
    method: &Method,
    path: &'a str,
    query: &str,
    virtual_bucket: Option<&str>,
    headers: &HeaderMap,
) -> Result<Route<'a>, S3Error> {
    if virtual_bucket.is_none() && path == "/" && method == Method::POST {
        return Ok(Route::Query);
    }
    if virtual_bucket.is_none()
        && let Some(route) = route_own(method, path)
    {
        return route;
    }
    let bad_uri = || S3Error::InvalidUri { uri: path.to_owned() };
    let path = path.strip_prefix('/').ok_or_else(bad_uri)?;
    let (bucket, key) = match virtual_bucket {
        Some(bucket) => (bucket, path),
        None => path.split_once('/').unwrap_or((path, "")),
    };
    let bucket = decode_path(bucket).and_then(|name| String::from_utf8(name).ok()).ok_or_else(bad_uri)?;
    if method == Method::OPTIONS {
        let level = match (bucket.is_empty(), key.is_empty()) {
            (true, _) => Level::Service,
            (false, true) => Level::Bucket,
            (false, false) => Level::Object,
        };
        return Ok(Route::Preflight { bucket, level });
    }
    let key = decode_key(key, bad_uri)?;
    let query = Query::parse(query).ok_or_else(bad_uri)?;
    let selector = selector(&query)?;
    let copies = headers.contains_key("x-amz-copy-source") || query.get_header("x-amz-copy-source").is_some();

    let level = match (bucket.is_empty(), key.is_empty()) {
        (true, true) => Level::Service,
        (true, false) => return Err(bad_uri()),
        (false, true) => Level::Bucket,
        (false, false) => Level::Object,
    };
    let form = form(method, level, selector, &query, copies)?;
    let operation = Operation::find(method, level, selector.unwrap_or(""), form)
        .ok_or_else(|| not_served(method, level, selector))?;
    check_version(operation, level, &query)?;
    let by_host = virtual_bucket.is_some();
    Ok(Route::S3(Target { operation, bucket, key, query, by_host }))
}

/// The pages and mounts of the server itself; `None` when the path belongs to S3.
fn route_own<'a>(method: &Method, path: &'a str) -> Option<Result<Route<'a>, S3Error>> {
    let mut pages = Page::at(path).peekable();
    if pages.peek().is_some() {
        let page = pages.find(|page| page.row().methods.contains(&method.as_str()));
        return Some(page.map(Route::Admin).ok_or_else(|| not_allowed(method, "SERVICE")));
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

/// The bucket that a host name addresses: what stands before `.domain`, of the longest of the domains that fits. A host that is
/// one of them itself addresses none. Host names have no case, and may end in a dot.
pub(crate) fn virtual_bucket(host: &str, domains: &[String]) -> Option<String> {
    if domains.is_empty() {
        return None;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let of_domain = |domain: &String| {
        let at = name.len().checked_sub(domain.len())?;
        let (before, tail) = (name.get(..at)?, name.get(at..)?);
        let fits = tail.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with('.'));
        fits.then(|| before.strip_suffix('.').unwrap_or_default())
    };
    let bucket = domains.iter().filter_map(of_domain).min_by_key(|bucket| bucket.len())?;
    (!bucket.is_empty()).then(|| bucket.to_ascii_lowercase())
}

fn decode_key(raw: &str, bad_uri: impl Fn() -> S3Error) -> Result<Bytes, S3Error> {
    let key = decode_path(raw).ok_or_else(&bad_uri)?;
    check_key(&key)?;
    if std::str::from_utf8(&key).is_err() {
        return Err(bad_uri());
    }
    Ok(Bytes::from(key))
}

/// Sub-resources of S3 that no operation of the table serves: refused, never taken for the plain request.
const NOT_SERVED: [&str; 18] = [
    "abac",
    "analytics",
    "annotation",
    "append",
    "intelligent-tiering",
    "inventory",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "rename",
    "restore",
    "select",
    "session",
    "torrent",
    "zip",
];

/// Parameters that may stand without a value and still name no sub-resource.
const PARAMETERS: [&str; 32] = [
    "allow-unordered",
    "annotation-prefix",
    "annotationName",
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
    "max-annotation-results",
    "max-buckets",
    "max-directory-buckets",
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
fn selector(query: &Query) -> Result<Option<&str>, S3Error> {
    let mut found = None;
    for (name, value) in query.iter() {
        if is_subresource(name) || NOT_SERVED.contains(&name) {
            if let Some(other) = found.filter(|other| *other != name) {
                return Err(S3Error::InvalidArgument {
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
            return Err(S3Error::NotImplementedParameter { parameter: name.to_owned() });
        }
    }
    Ok(found)
}

/// What a request that no row of the table fits is told.
fn not_served(method: &Method, level: Level, selector: Option<&str>) -> S3Error {
    let parameter = |name: &str| S3Error::NotImplementedParameter { parameter: name.to_owned() };
    match (level, method, selector) {
        (Level::Service, _, Some(name)) => parameter(name),
        (Level::Service, _, None) => not_allowed(method, "SERVICE"),
        (_, &Method::GET | &Method::PUT | &Method::POST | &Method::DELETE, Some(name)) => parameter(name),
        (Level::Bucket, _, _) => not_allowed(method, "BUCKET"),
        (Level::Object, _, _) => not_allowed(method, "OBJECT"),
    }
}

/// What tells the operation from others of its method and sub-resource; refuses parameters that fit none of them.
fn form(
    method: &Method,
    level: Level,
    selector: Option<&str>,
    query: &Query,
    copies: bool,
) -> Result<Form, S3Error> {
    let bad = |message: &'static str, name: &'static str, value: &str| {
        Err(S3Error::InvalidArgument { message: message.into(), name, value: value.to_owned() })
    };
    match (level, method, selector) {
        (Level::Bucket, &Method::GET, None) => match query.get("list-type") {
            None => Ok(Form::Plain),
            Some("2") => Ok(Form::ListV2),
            Some(other) => bad("Invalid List Type specified in Request", "list-type", other),
        },
        (Level::Object, &Method::PUT, None) => match query.get("partNumber") {
            Some(number) => {
                bad("This operation does not accept partNumber without uploadId", "partNumber", number)
            }
            None if copies => Ok(Form::Copy),
            None => Ok(Form::Plain),
        },
        (Level::Object, &Method::PUT, Some("uploadId")) if copies => Ok(Form::Copy),
        _ => Ok(Form::Plain),
    }
}

/// A version goes with what is done to an object that is there. Who means one and names it to another operation would
/// have that done to the object, whatever its version.
fn check_version(operation: Operation, level: Level, query: &Query) -> Result<(), S3Error> {
    match query.get("versionId") {
        Some(version) if level == Level::Object && !parameters::is_honoured(operation, "?versionId") => {
            Err(S3Error::InvalidArgument {
                message: "This operation does not accept a version-id.".into(),
                name: "versionId",
                value: version.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

fn not_allowed(method: &Method, resource_type: &'static str) -> S3Error {
    S3Error::MethodNotAllowed { method: method.as_str().to_owned(), resource_type }
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
    use std::collections::HashSet;

    use super::*;

    fn ask(line: &str, host: &str) -> Result<Route<'static>, String> {
        let (method, uri) = line.split_once(' ').expect("a method and a path");
        let mut request = http::Request::builder().method(method).uri(uri).header("host", host);
        if uri.contains("#copy") {
            request = request.header("x-amz-copy-source", "/b/k");
        }
        let head: &'static Parts =
            Box::leak(Box::new(request.body(()).expect("a valid head").into_parts().0));
        route(head, &["example.com", "s3.example.com"].map(str::to_owned))
            .map_err(|failure| failure.answer().code.to_owned())
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
        check("PUT /b?ownershipControls", Operation::PutBucketOwnershipControls, "b", "");
        check("DELETE /b?ownershipControls=", Operation::DeleteBucketOwnershipControls, "b", "");
        check("PUT /b?cors", Operation::PutBucketCors, "b", "");
        check("DELETE /b?cors", Operation::DeleteBucketCors, "b", "");
        check("PUT /b?tagging", Operation::PutBucketTagging, "b", "");
        check("DELETE /b?tagging=", Operation::DeleteBucketTagging, "b", "");
        check("GET /b?versioning", Operation::GetBucketVersioning, "b", "");
        check("GET /b?object-lock=", Operation::GetObjectLockConfiguration, "b", "");
        check("POST /b", Operation::PostObject, "b", "");
        check("POST /b/", Operation::PostObject, "b", "");
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
        check("PUT /b/k?retention&versionId=1", Operation::PutObjectRetention, "b", "k");
        check("GET /b/k?legal-hold", Operation::GetObjectLegalHold, "b", "k");
        check("PUT /b/k?tagging&versionId=null", Operation::PutObjectTagging, "b", "k");
        check("DELETE /b/k?tagging", Operation::DeleteObjectTagging, "b", "k");
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
    fn every_operation_is_reached_by_its_row_and_by_no_other() {
        for operation in Operation::ALL {
            let row = operation.row();
            let path = match row.level {
                Level::Service => "/",
                Level::Bucket => "/b",
                Level::Object => "/b/k",
            };
            let query = match (row.subresource, row.form) {
                ("", Form::ListV2) => "?list-type=2".to_owned(),
                ("", _) => String::new(),
                (subresource, _) => format!("?{subresource}"),
            };
            let copy = if row.form == Form::Copy { "#copy" } else { "" };
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"] {
                let line = format!("{method} {path}{query}{copy}");
                let reached = match ask(&line, "h") {
                    Ok(Route::S3(target)) => Some(target.operation),
                    _ => None,
                };
                assert_eq!(reached == Some(*operation), method == row.method, "{line}: {reached:?}");
            }
        }
    }

    #[test]
    fn a_parameter_stands_in_one_table() {
        let mut names = HashSet::new();
        for name in NOT_SERVED.iter().chain(&PARAMETERS) {
            assert!(!is_subresource(name), "{name}");
            assert!(names.insert(name), "{name}");
        }
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
        check_code("PUT /b/k?torrent", "NotImplemented");
        check_code("PUT /b/k?annotation=x&annotationName=n", "NotImplemented");
        check_code("PUT /b?metadataJournalTable=x", "NotImplemented");
        check_code("PUT /b/k?encryption", "NotImplemented");
        check_code("PUT /b/k?frobnicate", "NotImplemented");
        check_code("GET /b/k?renameObject", "NotImplemented");
        check_code("PUT /b?renameObject", "NotImplemented");
        check_code("PUT /b/k?append&position=0", "NotImplemented");
        check_code("GET /b/k?torrent", "NotImplemented");
        check_code("POST /b/k?restore", "NotImplemented");
        check_code("POST /b/k?select&select-type=2", "NotImplemented");
        check_code("POST /b/k", "MethodNotAllowed");
        check_code("PATCH /b/k", "MethodNotAllowed");
        check_code("PUT /b/k?partNumber=1", "InvalidArgument");
        for operation in [
            "PUT /b/k?V",
            "PUT /b/k?V#copy",
            "POST /b/k?uploads&V",
            "PUT /b/k?partNumber=1&uploadId=u&V",
            "POST /b/k?uploadId=u&V",
            "DELETE /b/k?uploadId=u&V",
            "GET /b/k?uploadId=u&V",
        ] {
            for version in ["1", "null", ""] {
                check_code(&operation.replace('V', &format!("versionId={version}")), "InvalidArgument");
            }
        }
        check_code("GET /b/k?acl&tagging", "InvalidArgument");
        check_code("PUT /b?inventory", "NotImplemented");
        check_code("GET /b?session", "NotImplemented");
        check_code("GET /b?inventory&id=1", "NotImplemented");
        check_code("GET /b?list-type=3", "InvalidArgument");
        check_code("HEAD /b?acl", "MethodNotAllowed");
        check_code("PUT /", "MethodNotAllowed");
        check_code("PUT /healthz", "MethodNotAllowed");
        check_code("GET /b?a=%zz", "InvalidURI");
    }

    #[test]
    fn preflights() {
        let check = |line: &str, bucket: &str, level: Level| {
            let want = Route::Preflight { bucket: bucket.to_owned(), level };
            assert_eq!(ask(line, "h"), Ok(want), "{line}");
        };
        check("OPTIONS /b/k?uploadId=x&y", "b", Level::Object);
        check("OPTIONS /b%2Dc", "b-c", Level::Bucket);
        check("OPTIONS /b/", "b", Level::Bucket);
        check("OPTIONS /", "", Level::Service);
        check("OPTIONS /b/%zz", "b", Level::Object);
        check_code("OPTIONS /healthz", "MethodNotAllowed");
    }

    #[test]
    fn own_paths() {
        assert_eq!(ask("GET /healthz", "h"), Ok(Route::Admin(Page::Healthz)));
        assert_eq!(ask("HEAD /readyz", "h"), Ok(Route::Admin(Page::Readyz)));
        assert_eq!(ask("GET /metrics?a=b", "h"), Ok(Route::Admin(Page::Metrics)));
        assert_eq!(ask("GET /_nilas/scrub", "h"), Ok(Route::Admin(Page::ScrubStatus)));
        assert_eq!(ask("HEAD /_nilas/scrub", "h"), Ok(Route::Admin(Page::ScrubStatus)));
        assert_eq!(ask("POST /_nilas/scrub", "h"), Ok(Route::Admin(Page::ScrubStart)));
        check_code("DELETE /_nilas/scrub", "MethodNotAllowed");
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
        check("GET /k/l", "BKT.s3.example.com.:9000", "bkt", "k/l");
        check("GET /k/l", "bkt.example.com", "bkt", "k/l");
        check("GET /b/k", "S3.example.com.", "b", "k");
        check("GET /b/k", "example.com", "b", "k");
        check("GET /b/k", "xs3.example.org", "b", "k");
        check("GET /b/k", "xexample.com", "b", "k");
        check("GET /b/k", ".example.com", "b", "k");
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
