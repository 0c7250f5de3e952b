//! ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body;
use nilas_catalog::access::{Access as _, Resource};
use nilas_engine::{BucketError, LockRule, SettingKind, Versioning};

use super::{Call, Outcome, document, empty, flag, metadata, owner_xml, ownership, unsigned, with_region};
use crate::bucket_name;
use crate::limits::{BUCKETS_PAGE_MAX, CREATE_BUCKET_XML_BYTES_MAX};
use crate::render::body::ResponseBody;
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;
use crate::s3::payload::Payload;
use crate::s3::request_xml::{self, CreateBucketDocument};
use crate::tag_set::{TagSet, Tagged};

/// The region that S3 names by an empty constraint.
const REGION_DEFAULT: &str = "us-east-1";

pub(super) fn list(call: &Call<'_>) -> Outcome {
    let prefix = call.parameter("prefix").unwrap_or("");
    let max = match call.parameter("max-buckets") {
        None => usize::MAX,
        Some(text) => max_buckets(text)?,
    };
    let after = match call.parameter("continuation-token") {
        None => None,
        Some(token) => Some(decode_token(token)?),
    };
    if let Some(other) = call.parameter("bucket-region").filter(|region| *region != call.s3.region) {
        return Err(S3Error::InvalidArgument {
            message: format!("Argument value {other} is not a valid AWS Region").into(),
            name: "bucket-region",
            value: other.to_owned(),
        });
    }
    let directory = call.engine().directory().map_err(S3Error::Engine)?;
    let mut names = directory
        .buckets
        .values()
        .filter(|bucket| bucket.name.starts_with(prefix))
        .filter(|bucket| after.as_deref().is_none_or(|after| after < &*bucket.name));

    let mut xml = Xml::new("ListAllMyBucketsResult", 512);
    owner_xml(&mut xml, "Owner", &call.sender_as_owner());
    xml.open("Buckets");
    let mut last = None;
    for bucket in names.by_ref().take(max) {
        xml.open("Bucket");
        xml.text("Name", &bucket.name);
        xml.text("CreationDate", &iso_8601(bucket.created_ms));
        xml.text("BucketRegion", &call.s3.region);
        xml.close("Bucket");
        last = Some(&bucket.name);
    }
    xml.close("Buckets");
    if let (Some(last), Some(_)) = (last, names.next()) {
        xml.text("ContinuationToken", &URL_SAFE_NO_PAD.encode(last.as_bytes()));
    }
    if !prefix.is_empty() {
        xml.text("Prefix", prefix);
    }
    Ok(document(xml))
}

fn max_buckets(text: &str) -> Result<usize, S3Error> {
    let max = unsigned(text).filter(|max| (1..=BUCKETS_PAGE_MAX).contains(max));
    max.ok_or_else(|| S3Error::InvalidArgument {
        message: format!("Argument max-buckets must be an integer between 1 and {BUCKETS_PAGE_MAX}.").into(),
        name: "max-buckets",
        value: text.to_owned(),
    })
}

fn decode_token(token: &str) -> Result<String, S3Error> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|name| String::from_utf8(name).ok());
    name.filter(|name| !name.is_empty()).ok_or_else(|| S3Error::InvalidArgument {
        message: "The continuation token provided is incorrect".into(),
        name: "continuation-token",
        value: token.to_owned(),
    })
}

/// Creates the bucket. One that is there already is fine in S3's first region, a conflict in every other.
pub(super) async fn create<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let name = &call.target.bucket;
    let asked = configuration_of(call, payload).await;
    // Policies may ask for the region that the body names. Who may not hears nothing else that is wrong.
    let constraint = asked.as_ref().ok().and_then(|asked| asked.constraint.as_deref());
    let facts: Vec<_> = constraint.map(|region| ("s3:LocationConstraint", region)).into_iter().collect();
    let action = call.target.operation.facts().action;
    if !call.caller.permits(action, Resource::Bucket(name), &facts).await? {
        return Err(S3Error::AccessDenied);
    }
    if !bucket_name::is_valid(name) {
        return Err(S3Error::InvalidBucketName { bucket: name.clone() });
    }
    let has_lock = asks_for_lock(call.headers)?;
    if has_lock {
        for action in ["s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"] {
            call.check_access_with(action, Resource::Bucket(name), &[]).await?;
        }
    }
    let rule = ownership::asked(call.headers)?;
    let CreateBucketDocument { constraint, tags } = asked?;
    let tags = TagSet::new(Tagged::Bucket, tags)?;
    if !tags.is_empty() {
        call.check_access_with("s3:PutBucketTagging", Resource::Bucket(name), &[]).await?;
    }
    if let Some(constraint) = constraint.as_ref().filter(|constraint| !is_region(constraint)) {
        return Err(S3Error::InvalidLocationConstraint { constraint: constraint.clone() });
    }
    let at_home = constraint.as_deref().is_none_or(|constraint| constraint == REGION_DEFAULT);
    // A bucket of root has no owner in its settings, so that one without settings stays as it was.
    let owner = call.caller.owner();
    let mut settings = ownership::settings(rule).with(SettingKind::OWNER, owner.clone());
    if !tags.is_empty() {
        settings = settings.with(SettingKind::TAGS, Some(tags.encode()));
    }
    if has_lock {
        settings = settings
            .with(SettingKind::VERSIONING, Versioning::Enabled.value().map(Bytes::from))
            .with(SettingKind::LOCK, Some(LockRule::default().value().into()));
    }
    match call.engine().create_bucket(name, settings).await {
        Ok(_) => {}
        Err(BucketError::Exists) => {
            let is_own = call.bucket()?.settings.get(SettingKind::OWNER) == owner.as_ref();
            match is_own {
                true if at_home => {}
                true => return Err(S3Error::bucket(BucketError::Exists, name)),
                false => return Err(S3Error::BucketAlreadyExists { bucket: name.clone() }),
            }
        }
        Err(why) => return Err(S3Error::bucket(why, name)),
    }
    let mut response = empty(StatusCode::OK);
    if let Ok(location) = HeaderValue::try_from(format!("/{name}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(with_arn(response, name))
}

/// What the body asks for.
async fn configuration_of<B>(
    call: &Call<'_>,
    payload: &mut Payload<'_, B>,
) -> Result<CreateBucketDocument, S3Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let body = payload.read_xml(call.headers, CREATE_BUCKET_XML_BYTES_MAX).await?;
    if body.is_empty() {
        Ok(CreateBucketDocument::default())
    } else {
        request_xml::parse_create_bucket(&body)
    }
}

/// Says the bucket's name as AWS does everywhere else.
fn with_arn(mut response: Response<ResponseBody>, bucket: &str) -> Response<ResponseBody> {
    if let Ok(arn) = HeaderValue::try_from(format!("arn:aws:s3:::{bucket}")) {
        response.headers_mut().insert(HeaderName::from_static("x-amz-bucket-arn"), arn);
    }
    response
}

/// Whether a new bucket is to have object lock. Refuses what it cannot have: a name that is one account's.
fn asks_for_lock(headers: &HeaderMap) -> Result<bool, S3Error> {
    const LOCK: &str = "x-amz-bucket-object-lock-enabled";
    const NAMESPACE: &str = "x-amz-bucket-namespace";
    let has_lock = metadata::field(headers, LOCK).map_or(Ok(false), |text| flag(LOCK, &text))?;
    match metadata::field(headers, NAMESPACE) {
        None => Ok(has_lock),
        Some(namespace) if namespace == "global" => Ok(has_lock),
        Some(namespace) if namespace == "account-regional" => {
            Err(S3Error::NotImplementedHeader { header: NAMESPACE.to_owned() })
        }
        Some(value) => Err(S3Error::InvalidArgument {
            message: "Value for x-amz-bucket-namespace header is invalid.".into(),
            name: NAMESPACE,
            value,
        }),
    }
}

/// Whether a text looks like a region. The store has one place; clients of any region may use it.
fn is_region(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

pub(super) fn head(call: &Call<'_>) -> Outcome {
    call.bucket()?;
    Ok(with_arn(with_region(call, empty(StatusCode::OK)), &call.target.bucket))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let name = &call.target.bucket;
    call.engine().delete_bucket(name).await.map_err(|why| S3Error::bucket(why, name))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) fn location(call: &Call<'_>) -> Outcome {
    call.bucket()?;
    let mut xml = Xml::new("LocationConstraint", 256);
    if call.s3.region != REGION_DEFAULT {
        xml.value(&call.s3.region);
    }
    Ok(document(xml))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        assert_eq!(max_buckets("1"), Ok(1));
        assert_eq!(max_buckets("10000"), Ok(10_000));
        for bad in ["0", "10001", "-1", "x", "", "+1"] {
            assert!(max_buckets(bad).is_err(), "{bad}");
        }
        assert_eq!(decode_token(&URL_SAFE_NO_PAD.encode("a.b")), Ok("a.b".to_owned()));
        for bad in ["", "%", "_w"] {
            assert!(decode_token(bad).is_err(), "{bad}");
        }
        assert!(is_region("eu-west-1"));
        assert!(!is_region("eu west"));
    }

    #[test]
    fn headers_of_a_new_bucket() {
        let check = |name: &'static str, value: &str, want: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            let code = asks_for_lock(&headers).err().map(|failure| failure.answer().code);
            assert_eq!(code, want, "{name}: {value}");
        };
        check("x-amz-bucket-object-lock-enabled", "false", None);
        check("x-amz-bucket-object-lock-enabled", "True", None);
        check("x-amz-bucket-object-lock-enabled", "", Some("InvalidArgument"));
        check("x-amz-bucket-object-lock-enabled", "yes", Some("InvalidArgument"));
        check("x-amz-bucket-namespace", "global", None);
        check("x-amz-bucket-namespace", "account-regional", Some("NotImplemented"));
        check("x-amz-bucket-namespace", "", Some("InvalidArgument"));
    }
}
