//! Object lock: `?object-lock` of buckets, `?retention` and `?legal-hold` of versions, and the `x-amz-object-lock-*` headers
//! of new objects.
//!
//! Whether a version may go, or its lock be loosened, is decided by the engine in the turn of the change; here is what S3
//! says of it. I1. Governance mode is passed by only for who asks for it and may do
//! `s3:BypassGovernanceRetention`. I2. What a new object is locked with is judged as the operation that would lock it later.
//! Source: Amazon S3 API Reference, the operations' pages; User Guide, "Locking objects with Object Lock".

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body;
use nilas_catalog::access::{Access as _, Resource};
use nilas_engine::calendar::DAY_MS;
use nilas_engine::{
    Bucket, BucketError, DefaultRetention, EngineError, Lock, LockRule, ObjectInfo, Period, PutRefused,
    Retention, RetentionMode, Revision, SettingKind, WriteError,
};

use super::{Call, Outcome, attributes_of, document, empty, flag, request_xml, version_id};
use crate::identity::policy::parse_moment;
use crate::limits::{LOCK_DAYS_MAX, LOCK_XML_BYTES_MAX, LOCK_YEARS_MAX};
use crate::render::error::S3Error;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::payload::Payload;

const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const HOLD: &str = "x-amz-object-lock-legal-hold";
const BYPASS: &str = "x-amz-bypass-governance-retention";

/// Object lock of a bucket; `None` when it has none.
pub(super) fn rule_of(bucket: &Bucket) -> Result<Option<LockRule>, EngineError> {
    bucket.settings.lock().ok_or(EngineError::UnsupportedSetting { kind: SettingKind::LOCK })
}

pub(super) fn get_configuration(call: &Call<'_>) -> Outcome {
    let rule = rule_of(&*call.bucket()?)?.ok_or_else(|| S3Error::NotConfigured {
        code: "ObjectLockConfigurationNotFoundError",
        message: "Object Lock configuration does not exist for this bucket",
        bucket: call.target.bucket.clone(),
    })?;
    let mut xml = Xml::new("ObjectLockConfiguration", 512);
    xml.text("ObjectLockEnabled", "Enabled");
    if let Some(DefaultRetention { mode, period }) = rule.default {
        xml.open("Rule");
        xml.open("DefaultRetention");
        xml.text("Mode", mode.name());
        match period {
            Period::Days(days) => xml.number("Days", u64::from(days)),
            Period::Years(years) => xml.number("Years", u64::from(years)),
        }
        xml.close("DefaultRetention");
        xml.close("Rule");
    }
    Ok(document(xml))
}

pub(super) async fn put_configuration<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let body = payload.read_xml(call.headers, LOCK_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    let rule = wanted_rule(&request_xml::parse_object_lock(&body)?)?;
    // A value that is not known is not written over.
    rule_of(&bucket)?;
    let name = &call.target.bucket;
    match call.engine().set_setting(name, SettingKind::LOCK, Some(rule.value().into())).await {
        Ok(_) => Ok(empty(StatusCode::OK)),
        Err(BucketError::LockNeedsVersions) => Err(S3Error::InvalidBucketState {
            message: "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
        }),
        Err(why) => Err(S3Error::bucket(why, name)),
    }
}

fn wanted_rule(asked: &request_xml::LockDocument) -> Result<LockRule, S3Error> {
    if asked.enabled != "Enabled" {
        return Err(S3Error::MalformedXml);
    }
    let Some(default) = &asked.default else { return Ok(LockRule::default()) };
    let mode = RetentionMode::parse(&default.mode).ok_or(S3Error::MalformedXml)?;
    let bad = |message: &'static str, name: &'static str, value: i64| S3Error::InvalidArgument {
        message: message.into(),
        name,
        value: value.to_string(),
    };
    let count = |name: &'static str, asked: i64, max: u32| match u32::try_from(asked) {
        Ok(0) | Err(_) if asked <= 0 => {
            Err(bad("Default retention period must be a positive integer value.", name, asked))
        }
        Ok(count) if count <= max => Ok(count),
        _ => Err(bad("Default retention period is too large.", name, asked)),
    };
    let period = match (default.days, default.years) {
        (Some(days), None) => Period::Days(count("Days", days, LOCK_DAYS_MAX)?),
        (None, Some(years)) => Period::Years(count("Years", years, LOCK_YEARS_MAX)?),
        _ => return Err(S3Error::MalformedXml),
    };
    Ok(LockRule { default: Some(DefaultRetention { mode, period }) })
}

/// The bucket, if it has object lock.
fn locking_bucket(call: &Call<'_>) -> Result<Arc<Bucket>, S3Error> {
    let bucket = call.bucket()?;
    match rule_of(&bucket)? {
        Some(_) => Ok(bucket),
        None => Err(no_lock()),
    }
}

fn no_lock() -> S3Error {
    S3Error::invalid_request("Bucket is missing Object Lock Configuration")
}

/// A version without what is asked for.
fn not_locked(call: &Call<'_>) -> S3Error {
    S3Error::NotConfigured {
        code: "NoSuchObjectLockConfiguration",
        message: "The specified object does not have a ObjectLock configuration",
        bucket: call.target.bucket.clone(),
    }
}

pub(super) async fn get_retention(call: &Call<'_>) -> Outcome {
    let bucket = locking_bucket(call)?;
    let info = call.find(&bucket, call.version()?).await?;
    let retention = info.lock.retention.ok_or_else(|| not_locked(call))?;
    let mut xml = Xml::new("Retention", 256);
    xml.text("Mode", retention.mode.name());
    xml.text("RetainUntilDate", &iso_8601(retention.until_ms));
    Ok(document(xml))
}

pub(super) async fn get_legal_hold(call: &Call<'_>) -> Outcome {
    let bucket = locking_bucket(call)?;
    let info = call.find(&bucket, call.version()?).await?;
    if info.lock.is_none() && !attributes_of(&info, &call.target.key)?.hold_off {
        return Err(not_locked(call));
    }
    let mut xml = Xml::new("LegalHold", 256);
    xml.text("Status", if info.lock.legal_hold { "ON" } else { "OFF" });
    Ok(document(xml))
}

pub(super) async fn put_retention<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    // Judged here and not by the gateway: conditions may ask for what the body says.
    let object = Resource::Object { bucket: &call.target.bucket, key: &call.target.key };
    let body = payload.read_xml(call.headers, LOCK_XML_BYTES_MAX).await;
    let asked = body.and_then(|body| match body.is_empty() {
        true => Err(S3Error::MissingRequestBody),
        false => request_xml::parse_retention(&body),
    });
    let now_ms = call.engine().now_ms();
    let asked = asked.and_then(|(mode, until)| wanted_retention(mode.as_deref(), until.as_deref(), now_ms));
    let (until, days);
    let mut facts: Vec<(&'static str, &str)> = Vec::new();
    if let Ok(Some(retention)) = &asked {
        (until, days) = (iso_8601(retention.until_ms), remaining_days(retention, now_ms));
        facts.push(("s3:object-lock-mode", retention.mode.name()));
        facts.push(("s3:object-lock-retain-until-date", &until));
        facts.push(("s3:object-lock-remaining-retention-days", &days));
    }
    call.check_access_with("s3:PutObjectRetention", object, &facts).await?;
    let retention = asked?;
    let bucket = locking_bucket(call)?;
    let bypass = asks_bypass(call)? && may_bypass(call, &bucket, &call.target.key);
    let change = move |info: &ObjectInfo| (info.attributes.clone(), Lock { retention, ..info.lock });
    revise(call, &bucket, change, bypass).await
}

pub(super) async fn put_legal_hold<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let object = Resource::Object { bucket: &call.target.bucket, key: &call.target.key };
    let body = payload.read_xml(call.headers, LOCK_XML_BYTES_MAX).await;
    let status = body.and_then(|body| match body.is_empty() {
        true => Err(S3Error::MissingRequestBody),
        false => request_xml::parse_legal_hold(&body),
    });
    let facts: Vec<(&'static str, &str)> =
        status.iter().map(|status| ("s3:object-lock-legal-hold", status.as_str())).collect();
    call.check_access_with("s3:PutObjectLegalHold", object, &facts).await?;
    let legal_hold = match status?.as_str() {
        "ON" => true,
        "OFF" => false,
        _ => return Err(S3Error::MalformedXml),
    };
    let bucket = locking_bucket(call)?;
    let change = move |info: &ObjectInfo| {
        // What was taken off is said; attributes that cannot be read stay as they are.
        let attributes = match Attributes::decode(&info.attributes) {
            Ok(attributes) if attributes.hold_off == legal_hold => {
                Attributes { hold_off: !legal_hold, ..attributes }.encode()
            }
            _ => info.attributes.clone(),
        };
        (attributes, Lock { legal_hold, ..info.lock })
    };
    revise(call, &bucket, change, false).await
}

/// Gives a version another lock, and the attributes that go with it.
async fn revise(
    call: &Call<'_>,
    bucket: &Bucket,
    lock: impl Fn(&ObjectInfo) -> (Bytes, Lock) + Send + 'static,
    bypass: bool,
) -> Outcome {
    let version = call.version()?;
    let change = move |info: &ObjectInfo| {
        let (attributes, lock) = lock(info);
        Ok::<_, Infallible>(Revision { attributes, lock, bypass })
    };
    let info = match call.engine().revise(bucket, call.key(), version, change).await {
        Ok(Ok(info)) => info,
        Ok(Err(never)) => match never {},
        Err(WriteError::Refused(PutRefused::NoSuchVersion)) => {
            // A marker, or nothing: the look-up says which.
            call.find(bucket, version).await?;
            return Err(call.not_found(version));
        }
        Err(why) => return Err(call.write_failed(why)),
    };
    let mut response = empty(StatusCode::OK);
    version_id::put_header(response.headers_mut(), bucket, info.version());
    Ok(response)
}

/// Reads mode and end of a retention, which stand together.
fn wanted_retention(
    mode: Option<&str>,
    until: Option<&str>,
    now_ms: u64,
) -> Result<Option<Retention>, S3Error> {
    let (mode, until) = match (mode, until) {
        (None, None) => return Ok(None),
        (Some(mode), Some(until)) => (mode, until),
        _ => return Err(S3Error::MalformedXml),
    };
    let mode = RetentionMode::parse(mode).ok_or(S3Error::MalformedXml)?;
    let until_ms = moment(until).ok_or(S3Error::MalformedXml)?;
    ahead(until_ms, until, now_ms, "RetainUntilDate")?;
    Ok(Some(Retention { mode, until_ms }))
}

fn ahead(until_ms: u64, text: &str, now_ms: u64, name: &'static str) -> Result<(), S3Error> {
    match until_ms <= now_ms {
        true => Err(S3Error::InvalidArgument {
            message: "The retain until date must be in the future!".into(),
            name,
            value: text.to_owned(),
        }),
        false => Ok(()),
    }
}

/// A moment in ISO 8601, to the next whole second: what is shown of it later, and sent again, is not before it.
fn moment(text: &str) -> Option<u64> {
    let ms = parse_moment(text).filter(|_| text.contains('T'))?;
    u64::try_from(ms).ok().map(|ms| ms.div_ceil(1_000) * 1_000)
}

/// Days to the end of a retention, a part of one counting whole.
fn remaining_days(retention: &Retention, now_ms: u64) -> String {
    retention.until_ms.saturating_sub(now_ms).div_ceil(DAY_MS).to_string()
}

/// Whether the request asks for governance mode to be passed by.
pub(super) fn asks_bypass(call: &Call<'_>) -> Result<bool, S3Error> {
    call.field(BYPASS).map_or(Ok(false), |text| flag(BYPASS, &text))
}

/// Whether the sender may pass by governance mode on a key of the bucket. Who may not is as who does not ask.
pub(super) fn may_bypass(call: &Call<'_>, bucket: &Bucket, key: &[u8]) -> bool {
    let object = Resource::Object { bucket: &call.target.bucket, key };
    bucket.settings.get(SettingKind::LOCK).is_some()
        && call.caller.allows("s3:BypassGovernanceRetention", object)
}

/// The lock that the headers of a new object ask for. Without them none: the engine gives it what the bucket's begin with.
pub(super) async fn of_new_object(call: &Call<'_>, bucket: &Bucket) -> Result<Lock, S3Error> {
    let (mode, until, hold) = (call.field(MODE), call.field(UNTIL), call.field(HOLD));
    if mode.is_none() && until.is_none() && hold.is_none() {
        return Ok(Lock::NONE);
    }
    let now_ms = call.engine().now_ms();
    let lock = wanted_lock(mode.as_deref(), until.as_deref(), hold.as_deref(), now_ms)?;
    if rule_of(bucket)?.is_none() {
        return Err(no_lock());
    }
    let object = Resource::Object { bucket: &call.target.bucket, key: &call.target.key };
    if lock.retention.is_some() {
        call.check_access_with("s3:PutObjectRetention", object, &[]).await?;
    }
    if hold.is_some() {
        call.check_access_with("s3:PutObjectLegalHold", object, &[]).await?;
    }
    Ok(lock)
}

/// Whether a new object is said to have no legal hold.
pub(super) fn asks_hold_off(headers: &HeaderMap) -> bool {
    headers.get(HOLD).is_some_and(|value| value.as_bytes().trim_ascii() == b"OFF")
}

fn wanted_lock(
    mode: Option<&str>,
    until: Option<&str>,
    hold: Option<&str>,
    now_ms: u64,
) -> Result<Lock, S3Error> {
    let bad = |message: &'static str, name: &'static str, value: &str| S3Error::InvalidArgument {
        message: message.into(),
        name,
        value: value.to_owned(),
    };
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode =
                RetentionMode::parse(mode).ok_or_else(|| bad("Unknown wormMode directive.", MODE, mode))?;
            let until_ms = moment(until).ok_or_else(|| {
                bad("The retain until date must be provided in ISO 8601 format", UNTIL, until)
            })?;
            ahead(until_ms, until, now_ms, UNTIL)?;
            Some(Retention { mode, until_ms })
        }
        (mode, until) => {
            let (name, value) = if mode.is_some() { (MODE, mode) } else { (UNTIL, until) };
            let text = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            return Err(bad(text, name, value.unwrap_or_default()));
        }
    };
    let legal_hold = match hold {
        None | Some("OFF") => false,
        Some("ON") => true,
        Some(other) => return Err(bad("Legal Hold must be either of 'ON' or 'OFF'", HOLD, other)),
    };
    Ok(Lock { retention, legal_hold })
}

/// Says how an object is locked to who may know.
pub(super) fn put_headers(
    call: &Call<'_>,
    info: &ObjectInfo,
    attributes: &Attributes,
    headers: &mut HeaderMap,
) {
    if info.lock.is_none() && !attributes.hold_off {
        return;
    }
    let object = Resource::Object { bucket: &call.target.bucket, key: &call.target.key };
    if let Some(retention) =
        info.lock.retention.filter(|_| call.caller.allows("s3:GetObjectRetention", object))
    {
        headers.insert(HeaderName::from_static(MODE), HeaderValue::from_static(retention.mode.name()));
        if let Ok(until) = HeaderValue::try_from(iso_8601(retention.until_ms)) {
            headers.insert(HeaderName::from_static(UNTIL), until);
        }
    }
    let hold = match (info.lock.legal_hold, attributes.hold_off) {
        (true, _) => "ON",
        (false, true) => "OFF",
        (false, false) => return,
    };
    if call.caller.allows("s3:GetObjectLegalHold", object) {
        headers.insert(HeaderName::from_static(HOLD), HeaderValue::from_static(hold));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::request_xml::{DefaultDocument, LockDocument};

    const NOW_MS: u64 = 784_111_777_000;
    const LATER: &str = "1994-11-06T08:49:38Z";

    #[test]
    fn locks_of_new_objects() {
        let check = |[mode, until, hold]: [Option<&str>; 3], want: Result<(bool, bool), &str>| {
            let got = wanted_lock(mode, until, hold, NOW_MS);
            let got = got.map(|lock| (lock.retention.is_some(), lock.legal_hold));
            assert_eq!(got.map_err(|failure| failure.answer().code), want, "{mode:?} {until:?} {hold:?}");
        };
        check([None, None, Some("ON")], Ok((false, true)));
        check([None, None, Some("OFF")], Ok((false, false)));
        check([None, None, Some("on")], Err("InvalidArgument"));
        check([Some("GOVERNANCE"), Some(LATER), None], Ok((true, false)));
        check([Some("COMPLIANCE"), Some(LATER), Some("ON")], Ok((true, true)));
        check([Some("governance"), Some(LATER), None], Err("InvalidArgument"));
        check([Some("GOVERNANCE"), None, None], Err("InvalidArgument"));
        check([None, Some(LATER), None], Err("InvalidArgument"));
        check([Some("GOVERNANCE"), Some("1994-11-06T08:49:37Z"), None], Err("InvalidArgument"));
        check([Some("GOVERNANCE"), Some("tomorrow"), None], Err("InvalidArgument"));
    }

    #[test]
    fn retentions() {
        let check = |mode, until, want: Result<bool, &str>| {
            let got = wanted_retention(mode, until, NOW_MS).map(|retention| retention.is_some());
            assert_eq!(got.map_err(|failure| failure.answer().code), want, "{mode:?} {until:?}");
        };
        check(None, None, Ok(false));
        check(Some("GOVERNANCE"), Some(LATER), Ok(true));
        check(Some("GOVERNANCE"), None, Err("MalformedXML"));
        check(None, Some(LATER), Err("MalformedXML"));
        check(Some("X"), Some(LATER), Err("MalformedXML"));
        check(Some("GOVERNANCE"), Some("x"), Err("MalformedXML"));
        check(Some("GOVERNANCE"), Some("1994-11-05T00:00:00Z"), Err("InvalidArgument"));
        let retention = Retention { mode: RetentionMode::Governance, until_ms: NOW_MS + DAY_MS + 1 };
        assert_eq!(remaining_days(&retention, NOW_MS), "2");
    }

    #[test]
    fn rules() {
        let check =
            |enabled: &str, default: Option<(&str, Option<i64>, Option<i64>)>, want: Result<&str, &str>| {
                let default =
                    default.map(|(mode, days, years)| DefaultDocument { mode: mode.to_owned(), days, years });
                let got = wanted_rule(&LockDocument { enabled: enabled.to_owned(), default });
                let got = got.map(|rule| rule.value()).map_err(|failure| failure.answer().code);
                assert_eq!(got, want.map(str::to_owned));
            };
        check("Enabled", None, Ok(""));
        check("Disabled", None, Err("MalformedXML"));
        check("Enabled", Some(("GOVERNANCE", Some(3), None)), Ok("GOVERNANCE 3 days"));
        check("Enabled", Some(("COMPLIANCE", None, Some(100))), Ok("COMPLIANCE 100 years"));
        check("Enabled", Some(("COMPLIANCE", Some(1), Some(1))), Err("MalformedXML"));
        check("Enabled", Some(("COMPLIANCE", None, None)), Err("MalformedXML"));
        check("Enabled", Some(("X", Some(1), None)), Err("MalformedXML"));
        for days in [0, -1, i64::MIN, 36_501, i64::MAX] {
            check("Enabled", Some(("GOVERNANCE", Some(days), None)), Err("InvalidArgument"));
        }
        check("Enabled", Some(("GOVERNANCE", None, Some(101))), Err("InvalidArgument"));
    }
}
