//! The form of an HTML page with a file: who it speaks for and what it asks are in its fields, the object is the file.
//!
//! The gateway opens a [`FormBody`], reads the fields before the file, proves by them or by the head who sends, makes a [`Post`]
//! of them, and has it judged; [`post`] then stores the file as PutObject stores a body. Source: Amazon S3 API, "POST Object".
//!
//! I1. Nothing of the file is read before the sender is known and may put the key that the fields name. I2. The fields that
//! PutObject has as headers are read by the same code. I3. Nothing is stored before the form has come to its end.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, LOCATION, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use nilas_engine::PutCondition;
use sha2::{Digest as _, Sha256};

use super::put_object::{Length, store};
use super::{Call, Outcome, request_xml};
use crate::auth::encoded;
use crate::body::{BodyError, Declared, FormDecoder, FormFields};
use crate::limits::{BLOB_BYTES_MAX, DRAIN_BYTES_MAX, FORM_FIELDS_BYTES_MAX};
use crate::render::base_url::base_url;
use crate::render::body::ResponseBody;
use crate::render::error::S3Error;
use crate::render::xml::Xml;
use crate::s3::checksum;
use crate::s3::payload::Payload;
use crate::s3::post_policy::PostPolicy;
use crate::s3::target::{Target, check_key};

/// The file of a form as a body, once its fields were taken.
pub(crate) struct FormBody<B> {
    body: B,
    form: FormDecoder,
    /// Bytes of the body that were announced, and of those that came.
    announced: u64,
    came: u64,
    /// Bytes of the file that came and were not taken.
    ready: VecDeque<Bytes>,
    scratch: Vec<Bytes>,
    /// What the whole body must hash to, when its head is signed with that.
    sha256: Option<(Sha256, [u8; 32])>,
    ended: bool,
}

impl<B> FormBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<S3Error>,
{
    /// Wraps the body of a request with this head; refuses what is no form, and one of unknown length.
    pub(crate) fn open(head: &Parts, body: B) -> Result<FormBody<B>, S3Error> {
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let form = FormDecoder::new(content_type.unwrap_or_default()).ok_or(not_a_form())??;
        let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let announced = announced.and_then(super::unsigned).ok_or(BodyError::MissingContentLength)?;
        Ok(FormBody {
            body,
            form,
            announced,
            came: 0,
            ready: VecDeque::new(),
            scratch: Vec::new(),
            sha256: None,
            ended: false,
        })
    }

    /// Holds the whole body against a hash that its head is signed with.
    pub(crate) fn expect_sha256(&mut self, sha256: [u8; 32]) {
        self.sha256 = Some((Sha256::new(), sha256));
    }

    /// Reads up to the file, and gives the fields before it.
    pub(crate) async fn fields(&mut self) -> Result<FormFields, S3Error> {
        while !self.form.has_fields() {
            match self.body.frame().await {
                None => {
                    self.form.finish()?;
                    return Err(S3Error::BodyBroken);
                }
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.take(bytes)?;
                    }
                }
                Some(Err(fault)) => return Err(fault.into()),
            }
        }
        Ok(self.form.take_fields())
    }

    /// Bytes that the file has at most, by what was announced of the body.
    pub(crate) fn file_bytes_max(&self) -> u64 {
        let ready: u64 = self.ready.iter().map(|piece| u64::try_from(piece.len()).unwrap_or(u64::MAX)).sum();
        // What came of the file, what may be held as the start of its end, and what is still to come.
        let held = self.form.trailer_bytes_min();
        ready.saturating_add(self.announced.saturating_sub(self.came)).saturating_add(held)
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), BodyError> {
        self.came = self.came.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if let Some((hash, _)) = &mut self.sha256 {
            hash.update(&bytes);
        }
        self.form.feed(bytes, &mut self.scratch)?;
        self.ready.extend(self.scratch.drain(..));
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        self.ended = true;
        self.form.finish()?;
        if let Some((hash, expected)) = self.sha256.take() {
            let computed: [u8; 32] = hash.finalize().into();
            if computed != expected {
                let (client, computed) = (hex::encode(expected), hex::encode(computed));
                return Err(BodyError::XAmzContentSHA256Mismatch { client, computed });
            }
        }
        Ok(())
    }
}

impl<B> Body for FormBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<S3Error>,
{
    type Data = Bytes;
    type Error = S3Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, S3Error>>> {
        let form = self.get_mut();
        loop {
            if let Some(bytes) = form.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if form.ended {
                return Poll::Ready(None);
            }
            let taken = match Pin::new(&mut form.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => form.end().map_err(S3Error::from),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => form.take(bytes).map_err(S3Error::from),
                    Err(_) => Ok(()),
                },
                Poll::Ready(Some(Err(fault))) => Err(fault.into()),
            };
            if let Err(failure) = taken {
                form.ended = true;
                return Poll::Ready(Some(Err(failure)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.ready.is_empty()
    }
}

/// What a POST of something else to a bucket is told.
pub(crate) fn not_a_form() -> S3Error {
    S3Error::PreconditionFailed { condition: "Bucket POST must be of the enclosure-type multipart/form-data" }
}

/// A field that the others need is not there.
pub(crate) fn missing(name: &'static str) -> S3Error {
    S3Error::InvalidArgument {
        message: format!(
            "Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields."
        )
        .into(),
        name,
        value: String::new(),
    }
}

/// A form, read: what is to be stored and how that is answered.
#[derive(Debug)]
pub(crate) struct Post {
    /// PutObject of the key that the form names.
    pub(crate) target: Target,
    /// The fields that PutObject has as headers.
    pub(crate) headers: HeaderMap,
    /// Bytes that the file must have.
    length: RangeInclusive<u64>,
    success: Success,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Success {
    Status(StatusCode),
    Redirect(String),
}

/// Fields that are headers of PutObject under the same name; all of `x-amz-*` are but for [`OF_SIGNATURE`].
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
];

/// Fields that say who sends.
const OF_SIGNATURE: [&str; 5] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature"];

/// Headers of the request itself that mean something for the object's request.
const OF_REQUEST: [HeaderName; 5] =
    [HOST, USER_AGENT, REFERER, EXPECT, HeaderName::from_static("x-forwarded-proto")];

impl Post {
    /// Reads the fields of a form for the bucket of `target`, and holds them against its policy, if it has one.
    pub(crate) fn read(
        target: &Target,
        head: &Parts,
        mut form: FormFields,
        now_ms: u64,
    ) -> Result<Post, S3Error> {
        let mut seen = std::collections::HashSet::new();
        if let Some((name, _)) = form.fields.iter().find(|(name, _)| !seen.insert(name.clone())) {
            return Err(S3Error::invalid_request(format!(
                "The form field {name} may be specified only once."
            )));
        }
        drop(seen);
        let filename = std::mem::take(&mut form.filename);
        for (name, value) in &mut form.fields {
            if !matches!(name.as_str(), "policy" | "x-amz-signature" | "signature") {
                *value = value.replace("${filename}", &filename);
            }
        }
        let key = form.get("key").ok_or_else(|| missing("key"))?;
        if key.is_empty() {
            return Err(S3Error::InvalidArgument {
                message: "User key must have a length greater than 0.".into(),
                name: "key",
                value: String::new(),
            });
        }
        check_key(key.as_bytes())?;
        let length = match form.get("policy") {
            Some(policy) => PostPolicy::parse(policy)?.check(&target.bucket, &form, now_ms)?,
            None => 0..=u64::MAX,
        };
        let target = Target {
            operation: super::operations::Operation::PutObject,
            bucket: target.bucket.clone(),
            key: Bytes::copy_from_slice(key.as_bytes()),
            query: target.query.clone(),
            by_host: target.by_host,
        };
        Ok(Post { target, headers: headers_of(head, &form)?, length, success: Success::of(&form) })
    }
}

/// Fields that would make it another operation, or bind it to what is there: a form stores its file and nothing else.
const OTHERWISE: [&str; 9] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-meta-snowball-auto-extract",
    "x-amz-rename-source",
    "x-amz-write-offset-bytes",
];

fn headers_of(head: &Parts, form: &FormFields) -> Result<HeaderMap, S3Error> {
    let mut headers = HeaderMap::new();
    for name in OF_REQUEST {
        if let Some(value) = head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if let Some((header, _)) = form.fields.iter().find(|(name, _)| name.starts_with("x-minio-")) {
        return Err(S3Error::NotImplementedHeader { header: header.clone() });
    }
    for (field, text) in &form.fields {
        if OTHERWISE.contains(&field.as_str()) {
            return Err(S3Error::NotImplementedHeader { header: field.clone() });
        }
        let (name, text) = match field.as_str() {
            "acl" => ("x-amz-acl", text.clone()),
            "tagging" => ("x-amz-tagging", tags_of(text)?),
            name if HEADERS.contains(&name) => (name, text.clone()),
            name if name.starts_with("x-amz-") && !OF_SIGNATURE.contains(&name) => (name, text.clone()),
            _ => continue,
        };
        let bad = || S3Error::InvalidArgument {
            message: "The value of a form field must be one that a header can have.".into(),
            name: "field",
            value: name.to_owned(),
        };
        let value = HeaderValue::from_bytes(text.trim().as_bytes()).map_err(|_| bad())?;
        headers.insert(HeaderName::try_from(name).map_err(|_| bad())?, value);
    }
    Ok(headers)
}

/// The XML of the field `tagging`, as the header `x-amz-tagging` has it.
fn tags_of(xml: &str) -> Result<String, S3Error> {
    let tags = request_xml::parse_tagging(xml.as_bytes())?;
    let encoded = |text: &str| encoded(text.as_bytes(), false).into_owned();
    let pairs: Vec<String> =
        tags.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    Ok(pairs.join("&"))
}

impl Success {
    fn of(form: &FormFields) -> Success {
        let redirect = form.get("success_action_redirect").or_else(|| form.get("redirect"));
        // What is no address is as if it were not there.
        if let Some(redirect) = redirect.filter(|redirect| is_web_address(redirect)) {
            return Success::Redirect(redirect.to_owned());
        }
        Success::Status(match form.get("success_action_status") {
            Some("200") => StatusCode::OK,
            Some("201") => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        })
    }
}

fn is_web_address(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
        && text.parse::<Uri>().is_ok_and(|uri| uri.authority().is_some())
}

pub(super) async fn post<B>(call: &Call<'_>, payload: &mut Payload<'_, B>, post: &Post, max: u64) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let named = checksum::algorithm_header(call.headers)?;
    if let (Some(named), Some(sent)) = (named, Declared::parse(call.headers)?.algorithm())
        && named != sent
    {
        return Err(S3Error::invalid_request("Value for x-amz-checksum-algorithm header is invalid."));
    }
    let wanted = *post.length.start()..=(*post.length.end()).min(BLOB_BYTES_MAX);
    // The body may hold fields behind the file; beyond them it is the file that is too large.
    if wanted.end().saturating_add(u64::try_from(2 * FORM_FIELDS_BYTES_MAX).unwrap_or(u64::MAX)) < max {
        return Err(S3Error::EntityTooLarge { proposed: max, max: *wanted.end() });
    }
    let made =
        store(call, payload, Length::Form { wanted, max, algorithm: named }, PutCondition::None).await?;
    let mut response = made.answer(call);
    let (bucket, key) = (&call.target.bucket, &call.target.key);
    let mut path = base_url(call.headers);
    path.push('/');
    if !call.target.by_host {
        path.push_str(bucket);
        path.push('/');
    }
    // Each slash of the key, too.
    path.push_str(&encoded(key, false));
    let location = match &post.success {
        Success::Status(status) => {
            *response.status_mut() = *status;
            if *status == StatusCode::CREATED {
                let mut xml = Xml::bare("PostResponse", 512);
                xml.text("Location", &path);
                xml.text("Bucket", bucket);
                xml.bytes("Key", key);
                xml.etag(&made.etag);
                *response.body_mut() = ResponseBody::from(xml.finish());
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            }
            path
        }
        Success::Redirect(redirect) => {
            *response.status_mut() = StatusCode::SEE_OTHER;
            redirected(redirect, bucket, key, &made.etag.to_string())
        }
    };
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// The address with what was stored.
fn redirected(redirect: &str, bucket: &str, key: &[u8], etag: &str) -> String {
    let mark = if redirect.contains('?') { '&' } else { '?' };
    format!("{redirect}{mark}bucket={bucket}&key={}&etag=%22{etag}%22", encoded(key, false))
}

impl super::S3 {
    /// Stores what a form asks for, for `caller`, who may do that; its `payload` is the file, of at most `max` bytes.
    pub(crate) async fn post<B>(
        &self,
        form: &Post,
        head: &Parts,
        caller: crate::identity::Caller<'_>,
        verified: &crate::auth::Verified,
        body: &mut FormBody<B>,
        request_id: &str,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<S3Error>,
    {
        let call = Call { s3: self, target: &form.target, headers: &form.headers, caller };
        let max = body.file_bytes_max();
        let mut payload =
            Payload::new(&form.headers, verified, &self.md5_lanes, &self.memory.documents, body);
        let outcome = match call.check_owner().and_then(|()| call.check_served()) {
            Ok(()) => post(&call, &mut payload, form, max).await,
            Err(failure) => Err(failure),
        };
        payload.drain(DRAIN_BYTES_MAX).await;
        self.answer(outcome, head, request_id)
    }
}

/// Fuzz entry: bytes as a form, and as its policy.
pub fn fuzz_post_form(input: &[u8]) {
    crate::body::fuzz_form(input);
    super::post_policy::fuzz_post_policy(input);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(fields: &[(&str, &str)], filename: &str) -> Result<Post, &'static str> {
        let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let head = http::Request::builder().header("host", "h").header("x-amz-date", "d");
        let head = head.body(()).expect("a head").into_parts().0;
        let query = nilas_catalog::uri::Query::parse("").expect("empty");
        let operation = crate::s3::operations::Operation::PostObject;
        let target = Target { operation, bucket: "b".into(), key: Bytes::new(), query, by_host: false };
        let form = FormFields { fields, filename: filename.to_owned() };
        Post::read(&target, &head, form, 0).map_err(|failure| failure.answer().code)
    }

    #[test]
    fn fields_become_headers() {
        let read = form(
            &[
                ("key", "in/${filename}"),
                ("acl", "private"),
                ("x-amz-meta-names", "${filename},${filename}"),
                ("x-amz-storage-class", "STANDARD_IA"),
                ("x-amz-signature", "s"),
                ("content-type", " text/plain "),
                ("submit", "Upload"),
                ("tagging", "<Tagging><TagSet><Tag><Key>a b</Key><Value>=</Value></Tag></TagSet></Tagging>"),
            ],
            "x.txt",
        );
        let read = read.expect("sound");
        assert_eq!(read.target.key, "in/x.txt");
        let get = |name: &str| read.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(get("x-amz-acl"), Some("private"));
        assert_eq!(get("x-amz-meta-names"), Some("x.txt,x.txt"));
        assert_eq!(get("content-type"), Some("text/plain"));
        assert_eq!(get("x-amz-tagging"), Some("a%20b=%3D"));
        assert_eq!(get("host"), Some("h"));
        assert_eq!((get("x-amz-signature"), get("x-amz-date"), get("submit")), (None, None, None));
        assert_eq!(read.success, Success::Status(StatusCode::NO_CONTENT));
    }

    #[test]
    fn refusals() {
        let check = |fields: &[(&str, &str)], code: &str| {
            assert_eq!(form(fields, "").err(), Some(code), "{fields:?}");
        };
        check(&[], "InvalidArgument");
        check(&[("key", "")], "InvalidArgument");
        check(&[("key", "${filename}")], "InvalidArgument");
        check(&[("key", "k"), ("key", "l")], "InvalidRequest");
        check(&[("key", &"k".repeat(1025))], "KeyTooLongError");
        check(&[("key", "k"), ("x-amz-meta-a", "one\ntwo")], "InvalidArgument");
        check(&[("key", "k"), ("tagging", "a=1")], "MalformedXML");
        check(&[("key", "k"), ("x-minio-fanout-list", "{}")], "NotImplemented");
        check(&[("key", "k"), ("policy", "x")], "InvalidPolicyDocument");
    }

    #[test]
    fn answers() {
        let check = |fields: &[(&str, &str)], want: Result<u16, &str>| {
            let fields = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let got = Success::of(&FormFields { fields, filename: String::new() });
            let want = match want {
                Ok(status) => Success::Status(StatusCode::from_u16(status).expect("a status")),
                Err(redirect) => Success::Redirect(redirect.to_owned()),
            };
            assert_eq!(got, want);
        };
        check(&[], Ok(204));
        for (sent, status) in [("200", 200), ("201", 201), ("204", 204), ("404", 204), ("", 204)] {
            check(&[("success_action_status", sent)], Ok(status));
        }
        check(&[("success_action_redirect", "http://e.com/?a=b")], Err("http://e.com/?a=b"));
        check(
            &[("redirect", "https://e.com/old"), ("success_action_status", "201")],
            Err("https://e.com/old"),
        );
        check(&[("redirect", "not a url"), ("success_action_status", "201")], Ok(201));
        check(&[("success_action_redirect", "ftp://e.com/")], Ok(204));
        assert_eq!(
            redirected("http://e.com/?a=b", "b", b"d/k \xc3\xbc", "e"),
            "http://e.com/?a=b&bucket=b&key=d%2Fk%20%C3%BC&etag=%22e%22"
        );
        assert_eq!(redirected("http://e.com", "b", b"k", "e"), "http://e.com?bucket=b&key=k&etag=%22e%22");
    }
}
