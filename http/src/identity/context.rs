//! The condition keys of a request: what a policy's conditions and variables can ask it for.
//!
//! The authorizer hands [`RequestContext`] to the evaluator, which asks for the keys that the policies at hand name and
//! for no others. Pure: the clock was read before.
//! I1. A key that a request cannot have is absent, and never a made-up value. I2. Headers are read as the operation reads
//! them: those that a presigned URL carries in its query count.
//! Source of the keys: Service Authorization Reference, "Condition keys for Amazon S3"; IAM User Guide, "AWS global
//! condition context keys".

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;

use bytes::Bytes;
use http::HeaderMap;
use nilas_catalog::access::Resource;
use nilas_catalog::uri::{Query, percent_decode_lenient, raw_pairs};
use nilas_engine::calendar::DAY_MS;

use crate::auth::Mechanism;
use crate::copy_source;
use crate::identity::policy::{ConditionKey, Context, Value, parse_moment};
use crate::identity::sender::{Sender, SenderKind};
use crate::tag_set::TagSet;

/// What is known of a request beside its sender.
#[derive(Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Its headers, as the operation reads them.
    pub headers: &'a HeaderMap,
    /// Its query; empty where none was parsed.
    pub query: Option<&'a Query>,
    /// Where it comes from; `None` when it is only imagined.
    pub source: Option<IpAddr>,
    /// Whether it came over TLS.
    pub secure: bool,
    /// How it is signed.
    pub mechanism: Mechanism,
    /// When it was signed, in milliseconds since 1970.
    pub signed_ms: Option<u64>,
    /// The region in its signature.
    pub region: &'a str,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// The tags that it sets on a user, a policy or a session, and the keys of those that it removes, without a value.
    pub form_tags: &'a [(String, Option<String>)],
    /// Keys and values that stand in for whatever the request says: for questions that are only asked.
    pub given: &'a [(String, String)],
}

/// The tags of the objects that the request is about, as far as they are known.
#[derive(Debug, Default)]
pub struct KnownTags {
    /// Those that objects have: of one, with copies of two.
    existing: RefCell<Vec<(String, Bytes, TagSet)>>,
    /// Those that the request's body gives to its object.
    given: RefCell<Option<TagSet>>,
}

impl KnownTags {
    /// Notes which tags an object has, in place of what was noted.
    pub(super) fn set(&self, bucket: &str, key: &[u8], tags: TagSet) {
        let mut known = self.existing.borrow_mut();
        known.retain(|(b, k, _)| b != bucket || k != key);
        known.push((bucket.to_owned(), Bytes::copy_from_slice(key), tags));
    }

    /// Notes them where others were noted of that object, and says whether that is so.
    pub(super) fn correct(&self, bucket: &str, key: &[u8], tags: &TagSet) -> bool {
        let mut known = self.existing.borrow_mut();
        let Some((_, _, old)) = known.iter_mut().find(|(b, k, _)| b == bucket && k == key) else {
            return false;
        };
        let differs = old != tags;
        if differs {
            old.clone_from(tags);
        }
        differs
    }

    /// Those that were noted of an object.
    pub(super) fn known(&self, bucket: &str, key: &[u8]) -> Option<TagSet> {
        let known = self.existing.borrow();
        known.iter().find(|(b, k, _)| b == bucket && k == key).map(|(_, _, tags)| tags.clone())
    }

    /// Notes which tags the request's body gives to its object.
    pub(super) fn give(&self, tags: TagSet) {
        *self.given.borrow_mut() = Some(tags);
    }

    fn value(&self, resource: &Resource<'_>, name: &str) -> Value<'static> {
        let known = self.existing.borrow();
        let of = |(bucket, key, _): &&(String, Bytes, TagSet)| matches!(resource, Resource::Object { bucket: b, key: k } if b == bucket && k == key);
        match known.iter().find(of) {
            None => Value::Unknown,
            Some((_, _, tags)) => tags.get(name).map_or(Value::Absent, |value| owned(value.to_owned())),
        }
    }
}

/// Whether an object's tags are known when an action is judged: as in AWS, where the object is there already and stays.
fn sees_tags(action: &str) -> bool {
    const ACTIONS: [&str; 14] = [
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectAttributes",
        "s3:GetObjectVersionAttributes",
        "s3:GetObjectAcl",
        "s3:GetObjectVersionAcl",
        "s3:GetObjectTagging",
        "s3:GetObjectVersionTagging",
        "s3:PutObjectAcl",
        "s3:PutObjectVersionAcl",
        "s3:PutObjectTagging",
        "s3:PutObjectVersionTagging",
        "s3:DeleteObjectTagging",
        "s3:DeleteObjectVersionTagging",
    ];
    ACTIONS.iter().any(|known| known.eq_ignore_ascii_case(action))
}

/// One question about one request.
pub(super) struct RequestContext<'a> {
    pub(super) action: &'a str,
    pub(super) tags: &'a KnownTags,
    pub(super) request: &'a RequestFacts<'a>,
    pub(super) sender: &'a Sender,
    pub(super) resource: &'a Resource<'a>,
    /// Keys that the operation knows.
    pub(super) facts: &'a [(&'static str, &'a str)],
    /// Whether the question is about the data of a table, by one of its files.
    pub(super) is_data: bool,
    /// The namespace and name of that table, where they are known.
    pub(super) data_names: Option<(&'a str, &'a str)>,
    /// The account and owner of what is asked for.
    pub(super) account: &'a str,
}

impl Context for RequestContext<'_> {
    fn value(&self, key: &ConditionKey) -> Value<'_> {
        let name = |name: &str| key_is(key, name);
        let given: Vec<Cow<'_, str>> = (self.request.given.iter())
            .filter(|(given, _)| name(given))
            .map(|(_, value)| Cow::Borrowed(value.as_str()))
            .collect();
        match given.len() {
            0 => {}
            1 => return given.into_iter().next().map_or(Value::Absent, Value::One),
            _ => return Value::Many(given),
        }
        let known =
            self.facts.iter().filter(|(known, _)| name(known)).map(|(_, value)| Cow::Borrowed(*value));
        match several(known) {
            Value::Absent => self.of_request(key),
            value => value,
        }
    }
}

/// No value, one, or many.
fn several<'v>(mut values: impl Iterator<Item = Cow<'v, str>>) -> Value<'v> {
    match (values.next(), values.next()) {
        (None, _) => Value::Absent,
        (Some(value), None) => Value::One(value),
        (Some(first), Some(second)) => Value::Many([first, second].into_iter().chain(values).collect()),
    }
}

/// Whether a key has this name. Without names at hand nothing is rendered.
fn key_is(key: &ConditionKey, name: &str) -> bool {
    ConditionKey::parse(name) == *key
}

impl<'a> RequestContext<'a> {
    fn of_request(&self, key: &ConditionKey) -> Value<'_> {
        let (request, sender) = (self.request, self.sender);
        match key {
            ConditionKey::CurrentTime => owned(iso(request.now_ms)),
            ConditionKey::EpochTime => owned((request.now_ms / 1000).to_string()),
            ConditionKey::TokenIssueTime => sender.issued_ms.map_or(Value::Absent, |ms| owned(iso(ms))),
            // A request that is only imagined comes in no way.
            ConditionKey::SecureTransport if request.source.is_none() => Value::Absent,
            ConditionKey::SecureTransport => {
                Value::One(Cow::Borrowed(if request.secure { "true" } else { "false" }))
            }
            ConditionKey::SourceIp => {
                request.source.map_or(Value::Absent, |ip| owned(ip.to_canonical().to_string()))
            }
            ConditionKey::UserAgent => self.header("user-agent"),
            ConditionKey::Referer => self.header("referer"),
            ConditionKey::RequestedRegion => text(request.region),
            ConditionKey::UserId => text(&sender.user_id),
            ConditionKey::Username => match &sender.user {
                Some(user) => text(&user.name),
                None => Value::Absent,
            },
            ConditionKey::PrincipalType => text(match sender.kind {
                SenderKind::Root => "Account",
                SenderKind::User => "User",
                SenderKind::Session if sender.issuer.is_some() => "FederatedUser",
                SenderKind::Session if sender.role.is_some() => "AssumedRole",
                SenderKind::Session => "User",
                SenderKind::Anonymous => "Anonymous",
            }),
            // Never the name of a session: whoever makes one chooses it.
            ConditionKey::PrincipalArn => sender.arns.first().map_or(Value::Absent, |arn| text(arn)),
            ConditionKey::PrincipalAccount if sender.kind != SenderKind::Anonymous => text(self.account),
            ConditionKey::FederatedProvider => sender.issuer.as_deref().map_or(Value::Absent, text),
            ConditionKey::SourceIdentity => sender.source_identity.as_deref().map_or(Value::Absent, text),
            ConditionKey::ResourceAccount | ConditionKey::BucketAccount => text(self.account),
            ConditionKey::PrincipalTag(tag) => self.principal_tag(tag),
            ConditionKey::RequestTag(tag) => {
                let set = request.form_tags.iter().filter(|(name, _)| name.eq_ignore_ascii_case(tag));
                several(set.filter_map(|(_, value)| value.as_deref()).map(Cow::Borrowed))
            }
            ConditionKey::TagKeys if request.form_tags.is_empty() => Value::Absent,
            ConditionKey::TagKeys => {
                Value::Many(request.form_tags.iter().map(|(name, _)| Cow::Borrowed(name.as_str())).collect())
            }
            ConditionKey::ResourceTag(tag) | ConditionKey::IamResourceTag(tag) => self.resource_tag(tag),
            ConditionKey::Namespace => match self.resource {
                Resource::Table { namespace, .. } | Resource::Namespace { namespace, .. } => {
                    owned(dotted(namespace))
                }
                _ => self.name_of_data(|(namespace, _)| owned(dotted(namespace))),
            },
            ConditionKey::TableName => match self.resource {
                Resource::Table { table, .. } => text(table),
                _ => self.name_of_data(|(_, table)| text(table)),
            },
            ConditionKey::SignatureVersion => match request.mechanism {
                Mechanism::HeaderV4 | Mechanism::QueryV4 | Mechanism::FormV4 => text("AWS4-HMAC-SHA256"),
                Mechanism::QueryV2 | Mechanism::FormV2 => text("AWS"),
                Mechanism::Unsigned => Value::Absent,
            },
            ConditionKey::AuthType => match request.mechanism {
                Mechanism::HeaderV4 => text("REST-HEADER"),
                Mechanism::QueryV4 | Mechanism::QueryV2 => text("REST-QUERY-STRING"),
                Mechanism::FormV4 | Mechanism::FormV2 => text("POST"),
                Mechanism::Unsigned => Value::Absent,
            },
            // Version 2 does not say when it was signed.
            ConditionKey::SignatureAge => match request.signed_ms {
                Some(signed_ms) => owned(request.now_ms.saturating_sub(signed_ms).to_string()),
                None => Value::Absent,
            },
            ConditionKey::ObjectLockRemainingRetentionDays => {
                let until = request.headers.get("x-amz-object-lock-retain-until-date");
                let until = until.and_then(|until| until.to_str().ok()).and_then(parse_moment);
                let until_ms = until.and_then(|ms| u64::try_from(ms).ok());
                until_ms.map_or(Value::Absent, |ms| {
                    owned(ms.saturating_sub(request.now_ms).div_ceil(DAY_MS).to_string())
                })
            }
            ConditionKey::ExistingObjectTag(tag) => match sees_tags(self.action) {
                true => self.tags.value(self.resource, tag),
                false => Value::Absent,
            },
            ConditionKey::RequestObjectTag(tag) => {
                let value = self.object_tags().into_iter().find(|(name, _)| name == &**tag);
                value.map_or(Value::Absent, |(_, value)| owned(value))
            }
            ConditionKey::RequestObjectTagKeys => {
                let names: Vec<Cow<'_, str>> =
                    self.object_tags().into_iter().map(|(name, _)| Cow::Owned(name)).collect();
                if names.is_empty() { Value::Absent } else { Value::Many(names) }
            }
            ConditionKey::CopySource => self.copy_source(),
            other => match (parameter_of(other), header_of(other)) {
                (Some(parameter), _) => match request.query.and_then(|query| query.get(parameter)) {
                    Some(value) => Value::One(Cow::Borrowed(value)),
                    None => Value::Absent,
                },
                (None, Some(header)) => self.header(header),
                (None, None) => Value::Absent,
            },
        }
    }

    /// A name of the table whose data is asked for.
    fn name_of_data<'v>(&'v self, find: impl Fn((&'v str, &'v str)) -> Value<'v>) -> Value<'v> {
        match self.data_names {
            _ if !self.is_data => Value::Absent,
            Some(names) => find(names),
            None => Value::Unknown,
        }
    }

    /// `bucket/key` of the copy's source, decoded, however it was spelled.
    fn copy_source(&self) -> Value<'_> {
        if !self.request.headers.contains_key(copy_source::HEADER) {
            return Value::Absent;
        }
        // What no copy reads is asked for by no copy; a Deny holds all the same.
        let Some((source, _)) = copy_source::parse(self.request.headers) else { return Value::Unknown };
        owned(format!("{}/{}", source.bucket, String::from_utf8_lossy(&source.key)))
    }

    fn header(&self, name: &str) -> Value<'_> {
        match self.request.headers.get(name) {
            Some(value) => Value::One(String::from_utf8_lossy(value.as_bytes())),
            None => Value::Absent,
        }
    }

    fn principal_tag(&self, tag: &str) -> Value<'_> {
        let of_session = self.sender.tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag));
        let of_user = || {
            let tags = &self.sender.user.as_ref()?.tags;
            tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag)).map(|(_, value)| value)
        };
        of_session.map(|(_, value)| value).or_else(of_user).map_or(Value::Absent, |value| text(value))
    }

    /// A tag of the user or policy that is asked for, as it is before the request.
    fn resource_tag(&self, tag: &str) -> Value<'_> {
        let Resource::Identity(arn) = self.resource else { return Value::Absent };
        let tags = self.sender.model.tags_of(arn);
        let found = tags.and_then(|tags| tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag)));
        found.map_or(Value::Absent, |(_, value)| Value::One(Cow::Borrowed(value)))
    }

    /// The tags that the request gives to an object.
    fn object_tags(&self) -> Vec<(String, String)> {
        if let Some(given) = &*self.tags.given.borrow() {
            return given.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        }
        let header = self.request.headers.get("x-amz-tagging").and_then(|value| value.to_str().ok());
        let decode = |text: &str| String::from_utf8_lossy(&percent_decode_lenient(text, true)).into_owned();
        let pairs = raw_pairs(header.unwrap_or_default());
        pairs.map(|(name, value)| (decode(name), decode(value))).collect()
    }
}

/// The query parameter that a key stands for.
fn parameter_of(key: &ConditionKey) -> Option<&'static str> {
    Some(match key {
        ConditionKey::Prefix => "prefix",
        ConditionKey::Delimiter => "delimiter",
        ConditionKey::MaxKeys => "max-keys",
        ConditionKey::VersionId => "versionId",
        _ => return None,
    })
}

/// The header that a key stands for.
fn header_of(key: &ConditionKey) -> Option<&'static str> {
    Some(match key {
        ConditionKey::Acl => "x-amz-acl",
        ConditionKey::GrantRead => "x-amz-grant-read",
        ConditionKey::GrantWrite => "x-amz-grant-write",
        ConditionKey::GrantReadAcp => "x-amz-grant-read-acp",
        ConditionKey::GrantWriteAcp => "x-amz-grant-write-acp",
        ConditionKey::GrantFullControl => "x-amz-grant-full-control",
        ConditionKey::MetadataDirective => "x-amz-metadata-directive",
        ConditionKey::ServerSideEncryption => "x-amz-server-side-encryption",
        ConditionKey::EncryptionKeyId => "x-amz-server-side-encryption-aws-kms-key-id",
        ConditionKey::EncryptionCustomerAlgorithm => "x-amz-server-side-encryption-customer-algorithm",
        ConditionKey::StorageClass => "x-amz-storage-class",
        ConditionKey::WebsiteRedirectLocation => "x-amz-website-redirect-location",
        ConditionKey::ContentSha256 => "x-amz-content-sha256",
        ConditionKey::ObjectOwnership => "x-amz-object-ownership",
        ConditionKey::ObjectLockMode => "x-amz-object-lock-mode",
        ConditionKey::ObjectLockRetainUntilDate => "x-amz-object-lock-retain-until-date",
        ConditionKey::ObjectLockLegalHold => "x-amz-object-lock-legal-hold",
        ConditionKey::IfMatch => "if-match",
        ConditionKey::IfNoneMatch => "if-none-match",
        _ => return None,
    })
}

fn text(value: &str) -> Value<'_> {
    if value.is_empty() { Value::Absent } else { Value::One(Cow::Borrowed(value)) }
}

fn owned<'a>(value: String) -> Value<'a> {
    Value::One(Cow::Owned(value))
}

/// The levels of a namespace, divided by dots. A dot within a level is `%2E` and a percent sign `%25`, so that no two
/// namespaces have one name.
fn dotted(namespace: &str) -> String {
    let level = |level: &str| level.replace('%', "%25").replace('.', "%2E");
    namespace.split('\u{1f}').map(level).collect::<Vec<_>>().join(".")
}

/// As policies write dates.
fn iso(ms: u64) -> String {
    crate::render::time::iso_8601(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_namespaces_have_one_name() {
        let check = |namespace: &str, want: &str| assert_eq!(dotted(namespace), want);
        check("a", "a");
        check("a\u{1f}b", "a.b");
        check("a.b", "a%2Eb");
        check("a%2Eb", "a%252Eb");
    }
}
