//! Lifecycle of a bucket: `?lifecycle`, what answers say of an object's end, and the work behind it.
//!
//! `rules` are what is kept, `evaluate` is what they say of a version at a moment, `walk` finds what goes, `runner` removes it
//! on the core that owns the bucket. Answers ask here for the headers: without rules that is one look-up in the bucket's
//! settings. I1. What [`rules::Rules::new`] cannot read was written by a newer version: nothing expires, and it is not written
//! over. I2. Nothing is removed but by `runner`.
//! Source: Amazon S3 API Reference, PutBucketLifecycleConfiguration, PutObject, CreateMultipartUpload.

pub mod rules;
pub mod evaluate;
pub mod figures;
pub mod walk;
pub mod runner;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body;
use nilas_engine::{Bucket, ObjectInfo, SettingKind};

pub use evaluate::Clock;

use super::{Call, Outcome, document, empty, request_xml};
use crate::limits::LIFECYCLE_XML_BYTES_MAX;
use crate::render::error::S3Error;
use crate::render::time::http_date;
use crate::s3::payload::Payload;
use rules::{Rules, TransitionSizes, encode};

pub(super) const EXPIRATION: HeaderName = HeaderName::from_static("x-amz-expiration");
const ABORT_DATE: HeaderName = HeaderName::from_static("x-amz-abort-date");
const ABORT_RULE: HeaderName = HeaderName::from_static("x-amz-abort-rule-id");
const TRANSITION_SIZES: &str = "x-amz-transition-default-minimum-object-size";

pub(super) fn get(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let rules = Rules::of(&bucket.settings)?.ok_or_else(|| none(&call.target.bucket))?;
    let mut response = document(rules.show());
    put_sizes(response.headers_mut(), rules.sizes);
    Ok(response)
}

/// The bucket has no rules.
pub(crate) fn none(bucket: &str) -> S3Error {
    S3Error::NotConfigured {
        code: "NoSuchLifecycleConfiguration",
        message: "The lifecycle configuration does not exist",
        bucket: bucket.to_owned(),
    }
}

/// The value of rules that are tried and kept nowhere.
pub(crate) fn tried(document: &[u8]) -> Result<Bytes, S3Error> {
    let mut made = 0_u32;
    encode(&request_xml::parse_lifecycle(document)?, TransitionSizes::default(), || {
        made += 1;
        format!("rule {made}")
    })
}

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let sizes = match call.field(TRANSITION_SIZES) {
        None => TransitionSizes::default(),
        Some(text) => TransitionSizes::parse(&text).ok_or_else(|| S3Error::InvalidArgument {
            message: format!("Invalid value for header {TRANSITION_SIZES}").into(),
            name: TRANSITION_SIZES,
            value: text.clone(),
        })?,
    };
    let body = payload.read_xml(call.headers, LIFECYCLE_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    let new_id = || format!("{:016x}", call.engine().random_u128() & u128::from(u64::MAX));
    let value = encode(&request_xml::parse_lifecycle(&body)?, sizes, new_id)?;
    Rules::of(&bucket.settings)?;
    call.set(SettingKind::LIFECYCLE, Some(value)).await?;
    let mut response = empty(StatusCode::OK);
    put_sizes(response.headers_mut(), sizes);
    Ok(response)
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    Rules::of(&bucket.settings)?;
    call.set(SettingKind::LIFECYCLE, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn put_sizes(headers: &mut HeaderMap, sizes: TransitionSizes) {
    headers.insert(HeaderName::from_static(TRANSITION_SIZES), HeaderValue::from_static(sizes.name()));
}

/// When the current object of the request's key expires, as headers say it; `None` when no rule has it do so.
pub(super) fn expiration(call: &Call<'_>, bucket: &Bucket, info: &ObjectInfo) -> Option<HeaderValue> {
    bucket.settings.get(SettingKind::LIFECYCLE)?;
    // Rules of a newer version are not known; nothing expires by them here.
    let rules = Rules::of(&bucket.settings).ok().flatten()?;
    let clock = call.s3.lifecycle_clock;
    let (due_ms, id) = evaluate::current_due(rules.enabled(), clock, &call.target.key, info)?;
    let date = http_date(due_ms);
    let text = format!("expiry-date=\"{}\", rule-id=\"{}\"", date.to_str().unwrap_or_default(), encoded(id));
    HeaderValue::try_from(text).ok()
}

/// Says when the current object of the request's key expires, where a rule has it do so.
pub(super) fn put_expiration(call: &Call<'_>, headers: &mut HeaderMap, bucket: &Bucket, info: &ObjectInfo) {
    if let Some(value) = expiration(call, bucket, info) {
        headers.insert(EXPIRATION, value);
    }
}

/// Says when an upload is ended, where a rule has it so.
pub(super) fn put_abort(call: &Call<'_>, headers: &mut HeaderMap, bucket: &Bucket, created_ms: u64) {
    let Ok(Some(rules)) = Rules::of(&bucket.settings) else { return };
    let Some((due_ms, id)) =
        evaluate::upload_due(rules.enabled(), call.s3.lifecycle_clock, &call.target.key, created_ms)
    else {
        return;
    };
    headers.insert(ABORT_DATE, http_date(due_ms));
    if let Ok(value) = HeaderValue::try_from(encoded(id)) {
        headers.insert(ABORT_RULE, value);
    }
}

/// An id as headers show it: percent-encoded.
fn encoded(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Fuzz entry. Bytes are a value of the setting or none, and a document, whose rules are kept as they are read; what is kept
/// is asked about an object of which the bytes are the key.
pub fn fuzz_lifecycle(input: &[u8]) {
    let try_all = |rules: Rules<'_>| {
        let enabled: Vec<rules::Rule<'_>> = rules.enabled().collect();
        let of = |is_latest, is_marker| nilas_engine::ObjectVersion {
            key: Bytes::copy_from_slice(input),
            info: ObjectInfo {
                sequence: nilas_engine::Sequence(1),
                is_null: false,
                size: input.len() as u64,
                modified_ms: 1,
                etag: nilas_engine::ETag::default(),
                attributes: Bytes::copy_from_slice(input),
                lock: nilas_engine::Lock::NONE,
            },
            is_latest,
            is_marker,
        };
        let clock = Clock { day_ms: 1_000 };
        for now_ms in [0, 5_000, u64::MAX] {
            let mut walk = evaluate::KeyWalk::default();
            for (is_latest, is_marker) in [(true, true), (false, false), (true, false), (false, true)] {
                let version = of(is_latest, is_marker);
                let goes = walk.goes(&enabled, clock, now_ms, &version, is_latest);
                let due = evaluate::current_due(rules.enabled(), clock, input, &version.info);
                let says = due.is_some_and(|(due_ms, _)| due_ms <= now_ms);
                assert!(!is_latest || is_marker || goes == says);
            }
        }
        let prefixes = evaluate::prefixes(rules.enabled());
        assert!(enabled.iter().all(|rule| prefixes.iter().any(|prefix| rule.prefix.starts_with(prefix))));
        // What is shown is a document that is kept as the same value, wherever S3 takes it.
        let shown = rules.show().finish();
        drop(request_xml::parse_lifecycle(&shown));
    };
    if let Some(rules) = Rules::new(input) {
        try_all(rules);
    }
    let Ok(rules) = request_xml::parse_lifecycle(input) else { return };
    let mut made = 0_u32;
    let value = encode(&rules, TransitionSizes::default(), || {
        made += 1;
        format!("made-{made}")
    });
    if let Ok(value) = value {
        let kept = Rules::new(&value).expect("own bytes");
        let shown = kept.show().finish();
        // A NUL cannot be written in XML.
        let Ok(again) = request_xml::parse_lifecycle(&shown) else { return };
        let again = encode(&again, TransitionSizes::default(), String::new).expect("own rules");
        assert_eq!(again, value);
        try_all(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_headers() {
        assert_eq!(encoded("rule-1_a.b~"), "rule-1_a.b~");
        assert_eq!(encoded("a b/é\""), "a%20b%2F%C3%A9%22");
    }

    #[test]
    fn documents_and_values_of_any_form() {
        let rule = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><And><Prefix>a</Prefix><Tag><Key>k</Key>\
                    <Value>v</Value></Tag></And></Filter><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
        fuzz_lifecycle(rule.as_bytes());
        let rules = request_xml::parse_lifecycle(rule.as_bytes()).expect("a document");
        let value = encode(&rules, TransitionSizes::Varies, || "id".to_owned()).expect("rules");
        for at in 0..value.len() {
            let mut damaged = value.to_vec();
            damaged[at] ^= 0xff;
            fuzz_lifecycle(&damaged);
        }
    }
}
