//! RenameObject: an object of the bucket gets another key, in one change and without touching its bytes.
//!
//! S3 has it for directory buckets, which keep no versions: a bucket that keeps them, or did, refuses it. Source and
//! destination are looked at again by the engine, in the turn in which the change takes its place. I1. What the sender was
//! judged by (tags) is what is renamed: an object that changed meanwhile is judged again.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use nilas_engine::{PutRefused, Rename, RenameToken, Renamed, UploadId, WriteError};

use super::{Call, Outcome, attributes_of, conditions, empty, know_tags};
use crate::body::{Algorithm, checksum_of};
use crate::copy_source;
use crate::limits::{CLIENT_TOKEN_BYTES_MAX, RENAME_ATTEMPTS_MAX};
use crate::render::error::S3Error;
use crate::s3::operations::Operation;
use crate::s3::target::check_key;

const SOURCE: &str = "x-amz-rename-source";
const TOKEN: &str = "x-amz-client-token";

/// What a request with the same token must have alike.
const SAME: [&str; 8] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "x-amz-rename-source-if-match",
    "x-amz-rename-source-if-none-match",
    "x-amz-rename-source-if-modified-since",
    "x-amz-rename-source-if-unmodified-since",
];

/// Why the engine was asked to rename nothing.
enum Refused {
    /// It is not what the sender was judged by.
    Changed,
    /// A condition does not hold.
    Condition(S3Error),
}

pub(super) async fn rename(call: &Call<'_>) -> Outcome {
    let key = source(call)?;
    let (bucket, to) = (call.bucket()?, call.key());
    let token = token(call, &key)?;
    let condition = conditions::of_write(call.headers)?;
    let reading = [Operation::GetObject, Operation::DeleteObject];
    if call.caller.wants_object_tags(&bucket.name) {
        know_tags(call.engine(), &call.caller, &bucket.name, &key, None).await;
    }
    for operation in reading {
        call.check_object(operation, &bucket.name, &key, None).await?;
    }
    for _ in 0..RENAME_ATTEMPTS_MAX {
        let seen = call.engine().head(&bucket, key.clone()).await?;
        let judged = match seen {
            None if token.is_none() => return Err(gone(call, &key).await),
            // The same request may have renamed it.
            None => None,
            Some(info) => {
                let kept = attributes_of(&info, &key)?;
                for operation in reading {
                    call.check_tags_of(operation, &bucket.name, &key, None, &kept.tags)?;
                }
                call.check_gives_tags(&kept)?;
                if !kept.tags.is_empty() {
                    call.check_known_object(Operation::GetObjectTagging, &bucket.name, &key, None)?;
                }
                Some(info.attributes)
            }
        };
        let (headers, named, now_ms) = (call.headers.clone(), condition.clone(), call.engine().now_ms());
        let target = to.clone();
        let check = move |info: &nilas_engine::ObjectInfo, there: Option<&nilas_engine::ObjectInfo>| {
            if judged.as_ref() != Some(&info.attributes) {
                return Err(Refused::Changed);
            }
            conditions::check_rename_source(&headers, info, now_ms)
                .and_then(|()| conditions::check_write(&named, there, &target))
                .and_then(|()| conditions::check_rename_target(&headers, there, now_ms))
                .map_err(Refused::Condition)
        };
        let rename = Rename { key: key.clone(), to: to.clone(), token: token.clone() };
        return match call.engine().rename(&bucket, rename, check).await {
            Ok(Ok(Renamed::Done(_) | Renamed::Before)) => Ok(empty(StatusCode::OK)),
            Ok(Ok(Renamed::TokenTaken)) => Err(S3Error::IdempotencyParameterMismatch),
            Ok(Err(Refused::Condition(failure))) => Err(failure),
            Ok(Err(Refused::Changed)) => continue,
            Err(WriteError::Refused(PutRefused::NoSuchKey)) => Err(gone(call, &key).await),
            Err(why) => Err(call.write_failed(why)),
        };
    }
    Err(S3Error::ConditionalRequestConflict { key })
}

/// Reads which object is renamed: `/bucket/key`, or a key alone, which does not begin with a slash; percent-encoded.
fn source(call: &Call<'_>) -> Result<Bytes, S3Error> {
    let bad = |message: &'static str| S3Error::InvalidArgument {
        message: message.into(),
        name: SOURCE,
        value: call.field(SOURCE).unwrap_or_default(),
    };
    if !call.headers.contains_key(SOURCE) {
        return Err(S3Error::invalid_request(
            "Missing required header for this request: x-amz-rename-source",
        ));
    }
    let path = copy_source::path(call.headers, SOURCE).ok_or_else(|| bad("Rename Source is invalid"))?;
    let key = match path.strip_prefix('/') {
        None => path.as_str(),
        Some(named) => match named.split_once('/') {
            Some((bucket, key)) if bucket == call.target.bucket => key,
            Some(_) => return Err(bad("Rename Source must be in the bucket of the destination")),
            None => {
                return Err(bad(
                    "Rename Source must mention the source bucket and key: /sourcebucket/sourcekey",
                ));
            }
        },
    };
    if key.is_empty() {
        return Err(bad("Rename Source must mention the source bucket and key: /sourcebucket/sourcekey"));
    }
    check_key(key.as_bytes())?;
    Ok(Bytes::copy_from_slice(key.as_bytes()))
}

/// By what the request is recognised when it comes again: its token, of its sender.
fn token(call: &Call<'_>, key: &[u8]) -> Result<Option<RenameToken>, S3Error> {
    let Some(token) = call.headers.get(TOKEN) else { return Ok(None) };
    let is_text = token.as_bytes().iter().all(u8::is_ascii_graphic);
    if !is_text || !(1..=CLIENT_TOKEN_BYTES_MAX).contains(&token.len()) {
        return Err(S3Error::InvalidArgument {
            message: "x-amz-client-token must have 1 to 64 ASCII characters of the range 33 to 126".into(),
            name: TOKEN,
            value: call.field(TOKEN).unwrap_or_default(),
        });
    }
    let sender = call.caller.sender.owner_id.to_string();
    let id = digest(&[b"rename", sender.as_bytes(), token.as_bytes()]);
    let id = id.first_chunk::<16>().copied().unwrap_or_default();
    let mut same: Vec<&[u8]> = vec![key, &call.target.key];
    same.extend(SAME.iter().map(|name| value(call.headers, name)));
    // No receipt of a completed upload begins so.
    let receipt = [b"R".as_slice(), &digest(&same)].concat();
    Ok(Some(RenameToken { id: UploadId(u128::from_le_bytes(id)), receipt: receipt.into() }))
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a [u8] {
    headers.get(name).map_or(b"", |value| value.as_bytes())
}

fn digest(texts: &[&[u8]]) -> Vec<u8> {
    let mut said = Vec::new();
    for text in texts {
        said.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        said.extend_from_slice(text);
    }
    checksum_of(Algorithm::Sha256, &said).as_bytes().to_vec()
}

/// How it is said that there is no such object: to who may not list it, not at all.
async fn gone(call: &Call<'_>, key: &Bytes) -> S3Error {
    match call.may_know_of(&call.target.bucket, key).await {
        Ok(true) => S3Error::NoSuchKey { key: key.clone() },
        Ok(false) => S3Error::AccessDenied,
        Err(failure) => failure,
    }
}
