//! The XML that operations take: CreateBucket, DeleteObjects, CompleteMultipartUpload, PutBucketOwnershipControls,
//! PutPublicAccessBlock, PutBucketTagging, PutBucketCors, PutBucketVersioning, PutObjectLockConfiguration,
//! PutObjectRetention, PutObjectLegalHold, PutBucketLifecycleConfiguration, PutBucketEncryption.
//!
//! Pure. Read in one pass, element by element; names count without their namespace prefix, attributes do not count.
//! A document type, a processing instruction, an entity of its own, deeper nesting than [`XML_DEPTH_MAX`], more entries
//! than the operation takes or an element twice that may stand once is `MalformedXML`. The caller bounds the bytes.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::body::Algorithm;
use crate::limits::{DELETE_KEYS_MAX, PARTS_MAX, XML_DEPTH_MAX};
use crate::render::error::S3Error;
use crate::s3::cors::CorsRule;
use crate::s3::lifecycle::rules::{ExpirationDocument, FilterDocument, RuleDocument};
use crate::s3::unsigned;

/// What a new bucket is to have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CreateBucketDocument {
    /// Its region, if one is named.
    pub constraint: Option<String>,
    /// Its tags in the order sent. Rules for them are `tags`'.
    pub tags: Vec<(String, String)>,
}

/// `CreateBucketConfiguration`.
pub fn parse_create_bucket(bytes: &[u8]) -> Result<CreateBucketDocument, S3Error> {
    let (mut constraint, mut tags) = (None, None);
    Walk::new(bytes)?.root("CreateBucketConfiguration", |walk, name| match name {
        "LocationConstraint" => once(&mut constraint, walk.text()?),
        "Tags" => once(&mut tags, tag_list(walk)?),
        // Well-formed, and asks for a bucket that cannot be made: of a directory.
        "Location" | "Bucket" => Err(S3Error::NotImplementedParameter { parameter: name.to_owned() }),
        _ => Err(S3Error::MalformedXml),
    })?;
    let constraint = constraint.filter(|text: &String| !text.is_empty());
    Ok(CreateBucketDocument { constraint, tags: tags.unwrap_or_default() })
}

/// `OwnershipControls`: the name in its one rule.
pub fn parse_ownership(bytes: &[u8]) -> Result<String, S3Error> {
    let mut rule = None;
    Walk::new(bytes)?.root("OwnershipControls", |walk, name| match name {
        "Rule" => once(&mut rule, ownership_rule(walk)?),
        _ => Err(S3Error::MalformedXml),
    })?;
    rule.ok_or(S3Error::MalformedXml)
}

fn ownership_rule(walk: &mut Walk<'_>) -> Result<String, S3Error> {
    let mut ownership = None;
    walk.children(&mut |walk, name| match name {
        "ObjectOwnership" => once(&mut ownership, walk.text()?.trim().to_owned()),
        _ => Err(S3Error::MalformedXml),
    })?;
    ownership.ok_or(S3Error::MalformedXml)
}

/// `PublicAccessBlockConfiguration`: its four switches, in S3's order; absent ones are off.
pub fn parse_public_access_block(bytes: &[u8]) -> Result<[bool; 4], S3Error> {
    let mut switches = [None; 4];
    Walk::new(bytes)?.root("PublicAccessBlockConfiguration", |walk, name| {
        let names = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
        let at = names.iter().position(|known| *known == name).ok_or(S3Error::MalformedXml)?;
        let is_on = match walk.text()?.trim() {
            "true" | "TRUE" | "1" => true,
            "false" | "FALSE" | "0" => false,
            _ => return Err(S3Error::MalformedXml),
        };
        once(&mut switches[at], is_on)
    })?;
    Ok(switches.map(|switch| switch.unwrap_or(false)))
}

/// `VersioningConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersioningDocument {
    /// As sent.
    pub status: Option<String>,
    /// As sent.
    pub mfa_delete: Option<String>,
}

/// Reads `VersioningConfiguration`.
pub fn parse_versioning(bytes: &[u8]) -> Result<VersioningDocument, S3Error> {
    let mut document = VersioningDocument::default();
    Walk::new(bytes)?.root("VersioningConfiguration", |walk, name| match name {
        "Status" => once(&mut document.status, walk.text()?.trim().to_owned()),
        "MfaDelete" => once(&mut document.mfa_delete, walk.text()?.trim().to_owned()),
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(document)
}

/// `ObjectLockConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockDocument {
    /// As sent; empty when it is missing.
    pub enabled: String,
    /// The retention of its rule, if it has one.
    pub default: Option<DefaultDocument>,
}

/// `DefaultRetention`, as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultDocument {
    /// Empty when it is missing.
    pub mode: String,
    /// Days.
    pub days: Option<i64>,
    /// Years.
    pub years: Option<i64>,
}

/// Reads `ObjectLockConfiguration`.
pub fn parse_object_lock(bytes: &[u8]) -> Result<LockDocument, S3Error> {
    let (mut enabled, mut rule) = (None, None);
    Walk::new(bytes)?.root("ObjectLockConfiguration", |walk, name| match name {
        "ObjectLockEnabled" => once(&mut enabled, walk.text()?.trim().to_owned()),
        "Rule" => once(&mut rule, lock_rule(walk)?),
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(LockDocument { enabled: enabled.unwrap_or_default(), default: rule })
}

fn lock_rule(walk: &mut Walk<'_>) -> Result<DefaultDocument, S3Error> {
    let mut default = None;
    walk.children(&mut |walk, name| match name {
        "DefaultRetention" => once(&mut default, default_retention(walk)?),
        _ => Err(S3Error::MalformedXml),
    })?;
    default.ok_or(S3Error::MalformedXml)
}

fn default_retention(walk: &mut Walk<'_>) -> Result<DefaultDocument, S3Error> {
    let (mut mode, mut days, mut years) = (None, None, None);
    walk.children(&mut |walk, name| {
        let text = walk.text()?;
        let count = || integer(text.trim()).ok_or(S3Error::MalformedXml);
        match name {
            "Mode" => once(&mut mode, text.trim().to_owned()),
            "Days" => once(&mut days, count()?),
            "Years" => once(&mut years, count()?),
            _ => Err(S3Error::MalformedXml),
        }
    })?;
    Ok(DefaultDocument { mode: mode.unwrap_or_default(), days, years })
}

/// `ServerSideEncryptionConfiguration`: its one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptionDocument {
    /// Algorithm and key, as sent.
    pub default: Option<(String, Option<String>)>,
    /// `BucketKeyEnabled`.
    pub bucket_key: Option<bool>,
    /// `BlockedEncryptionTypes`, as sent.
    pub blocked: Option<Vec<String>>,
}

/// Reads `ServerSideEncryptionConfiguration`.
pub fn parse_encryption(bytes: &[u8]) -> Result<EncryptionDocument, S3Error> {
    let mut rule = None;
    Walk::new(bytes)?.root("ServerSideEncryptionConfiguration", |walk, name| match name {
        "Rule" => once(&mut rule, encryption_rule(walk)?),
        _ => Err(S3Error::MalformedXml),
    })?;
    rule.ok_or(S3Error::MalformedXml)
}

fn encryption_rule(walk: &mut Walk<'_>) -> Result<EncryptionDocument, S3Error> {
    let (mut default, mut bucket_key, mut blocked) = (None, None, None);
    walk.children(&mut |walk, name| match name {
        "ApplyServerSideEncryptionByDefault" => once(&mut default, default_encryption(walk)?),
        "BucketKeyEnabled" => match walk.text()?.trim() {
            "true" => once(&mut bucket_key, true),
            "false" => once(&mut bucket_key, false),
            _ => Err(S3Error::MalformedXml),
        },
        "BlockedEncryptionTypes" => once(&mut blocked, blocked_types(walk)?),
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(EncryptionDocument { default, bucket_key, blocked })
}

fn default_encryption(walk: &mut Walk<'_>) -> Result<(String, Option<String>), S3Error> {
    let (mut algorithm, mut key) = (None, None);
    walk.children(&mut |walk, name| match name {
        "SSEAlgorithm" => once(&mut algorithm, walk.text()?.trim().to_owned()),
        "KMSMasterKeyID" => once(&mut key, walk.text()?.trim().to_owned()),
        _ => Err(S3Error::MalformedXml),
    })?;
    let key = key.filter(|key| !key.is_empty());
    Ok((algorithm.ok_or(S3Error::MalformedXml)?, key))
}

fn blocked_types(walk: &mut Walk<'_>) -> Result<Vec<String>, S3Error> {
    let mut types = Vec::new();
    walk.children(&mut |walk, name| match name {
        // Two are known.
        "EncryptionType" if types.len() < 2 => {
            types.push(walk.text()?.trim().to_owned());
            Ok(())
        }
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(types)
}

/// `Retention`: mode and end, as sent.
pub fn parse_retention(bytes: &[u8]) -> Result<(Option<String>, Option<String>), S3Error> {
    let (mut mode, mut until) = (None, None);
    Walk::new(bytes)?.root("Retention", |walk, name| match name {
        "Mode" => once(&mut mode, walk.text()?.trim().to_owned()),
        "RetainUntilDate" => once(&mut until, walk.text()?.trim().to_owned()),
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok((mode, until))
}

/// `LegalHold`: its status, as sent.
pub fn parse_legal_hold(bytes: &[u8]) -> Result<String, S3Error> {
    let mut status = None;
    Walk::new(bytes)?.root("LegalHold", |walk, name| match name {
        "Status" => once(&mut status, walk.text()?.trim().to_owned()),
        _ => Err(S3Error::MalformedXml),
    })?;
    status.ok_or(S3Error::MalformedXml)
}

/// `Tagging`: keys and values of its one set, in the order sent. Rules for them are `tags`'.
pub fn parse_tagging(bytes: &[u8]) -> Result<Vec<(String, String)>, S3Error> {
    let mut set = None;
    Walk::new(bytes)?.root("Tagging", |walk, name| match name {
        "TagSet" => once(&mut set, tag_list(walk)?),
        _ => Err(S3Error::MalformedXml),
    })?;
    set.ok_or(S3Error::MalformedXml)
}

fn tag_list(walk: &mut Walk<'_>) -> Result<Vec<(String, String)>, S3Error> {
    let mut tags = Vec::new();
    walk.children(&mut |walk, name| match name {
        "Tag" => {
            tags.push(tag(walk)?);
            Ok(())
        }
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(tags)
}

fn tag(walk: &mut Walk<'_>) -> Result<(String, String), S3Error> {
    let (mut key, mut value) = (None, None);
    walk.children(&mut |walk, name| match name {
        "Key" => once(&mut key, walk.text()?),
        "Value" => once(&mut value, walk.text()?),
        _ => Err(S3Error::MalformedXml),
    })?;
    key.zip(value).ok_or(S3Error::MalformedXml)
}

/// `AccessControlPolicy`: its grants, each with the id of whom it is for, if it names one, and what it grants.
pub fn parse_acl(bytes: &[u8]) -> Result<Vec<(Option<String>, String)>, S3Error> {
    let (mut owner, mut grants) = (None, None);
    Walk::new(bytes)?.root("AccessControlPolicy", |walk, name| match name {
        "Owner" => once(&mut owner, whose(walk)?),
        "AccessControlList" => {
            let mut list = Vec::new();
            walk.children(&mut |walk, name| match name {
                "Grant" => {
                    list.push(grant(walk)?);
                    Ok(())
                }
                _ => Err(S3Error::MalformedXml),
            })?;
            once(&mut grants, list)
        }
        _ => Err(S3Error::MalformedXml),
    })?;
    grants.ok_or(S3Error::MalformedXml)
}

fn grant(walk: &mut Walk<'_>) -> Result<(Option<String>, String), S3Error> {
    let (mut grantee, mut permission) = (None, None);
    walk.children(&mut |walk, name| match name {
        "Grantee" => once(&mut grantee, whose(walk)?),
        "Permission" => once(&mut permission, walk.text()?.trim().to_owned()),
        _ => Err(S3Error::MalformedXml),
    })?;
    grantee.zip(permission).ok_or(S3Error::MalformedXml)
}

/// The id of an owner or grantee; a group, or whoever has an address, has none.
fn whose(walk: &mut Walk<'_>) -> Result<Option<String>, S3Error> {
    let mut id = None;
    walk.children(&mut |walk, name| match name {
        "ID" => once(&mut id, walk.text()?.trim().to_owned()),
        "DisplayName" | "URI" | "EmailAddress" | "Type" => walk.text().map(drop),
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(id)
}

/// Configurations that are always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixable {
    /// Suspended.
    Accelerate,
    /// Nowhere.
    Logging,
    /// Nobody.
    Notification,
    /// The bucket's owner pays.
    RequestPayment,
}

/// A configuration that is to be what it is. What asks for another is not implemented.
pub fn parse_fixable(bytes: &[u8], fixable: Fixable) -> Result<(), S3Error> {
    let absent = |name: &str| Err(S3Error::NotImplementedParameter { parameter: name.to_owned() });
    let (root, choice) = match fixable {
        Fixable::Logging => ("BucketLoggingStatus", None),
        Fixable::Notification => ("NotificationConfiguration", None),
        Fixable::Accelerate => ("AccelerateConfiguration", Some(("Status", "Suspended", "Enabled"))),
        Fixable::RequestPayment => {
            ("RequestPaymentConfiguration", Some(("Payer", "BucketOwner", "Requester")))
        }
    };
    let mut chosen = None;
    Walk::new(bytes)?.root(root, |walk, name| match choice {
        None => absent(name),
        Some((element, is, other)) if name == element => match walk.text()?.trim() {
            text if text == is => once(&mut chosen, ()),
            text if text == other => absent(other),
            _ => Err(S3Error::MalformedXml),
        },
        Some(_) => Err(S3Error::MalformedXml),
    })?;
    if choice.is_some() && chosen.is_none() { Err(S3Error::MalformedXml) } else { Ok(()) }
}

/// `CORSConfiguration`: its rules as they are sent. What they may say is for `cors` to judge.
pub fn parse_cors(bytes: &[u8]) -> Result<Vec<CorsRule>, S3Error> {
    let mut rules = Vec::new();
    Walk::new(bytes)?.root("CORSConfiguration", |walk, name| match name {
        "CORSRule" => {
            rules.push(cors_rule(walk)?);
            Ok(())
        }
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(rules)
}

fn cors_rule(walk: &mut Walk<'_>) -> Result<CorsRule, S3Error> {
    let mut rule = CorsRule::default();
    walk.children(&mut |walk, name| {
        let text = walk.text()?;
        match name {
            "ID" => return once(&mut rule.id, text),
            "MaxAgeSeconds" => {
                let age = unsigned::<u32>(text.trim()).filter(|age| i32::try_from(*age).is_ok());
                return once(&mut rule.max_age_s, age.ok_or(S3Error::MalformedXml)?);
            }
            "AllowedMethod" => rule.methods.push(text),
            "AllowedOrigin" => rule.origins.push(text),
            "AllowedHeader" => rule.headers.push(text),
            "ExposeHeader" => rule.exposed.push(text),
            _ => return Err(S3Error::MalformedXml),
        }
        Ok(())
    })?;
    Ok(rule)
}

/// `LifecycleConfiguration`: its rules as they are sent. What they may say is for `lifecycle::rules` to judge.
pub fn parse_lifecycle(bytes: &[u8]) -> Result<Vec<RuleDocument>, S3Error> {
    let mut rules = Vec::new();
    Walk::new(bytes)?.root("LifecycleConfiguration", |walk, name| match name {
        "Rule" => {
            rules.push(lifecycle_rule(walk)?);
            Ok(())
        }
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(rules)
}

fn lifecycle_rule(walk: &mut Walk<'_>) -> Result<RuleDocument, S3Error> {
    let mut rule = RuleDocument::default();
    walk.children(&mut |walk, name| match name {
        "ID" => once(&mut rule.id, walk.text()?),
        "Status" => once(&mut rule.status, walk.text()?.trim().to_owned()),
        "Prefix" => once(&mut rule.prefix, walk.text()?),
        "Filter" => once(&mut rule.filter, lifecycle_filter(walk)?),
        "Expiration" => once(&mut rule.expiration, lifecycle_expiration(walk)?),
        "NoncurrentVersionExpiration" => {
            let (mut days, mut newer) = (None, None);
            walk.children(&mut |walk, name| match name {
                "NoncurrentDays" => once(&mut days, number(walk)?),
                "NewerNoncurrentVersions" => once(&mut newer, number(walk)?),
                _ => Err(S3Error::MalformedXml),
            })?;
            once(&mut rule.noncurrent, (days, newer))
        }
        "AbortIncompleteMultipartUpload" => {
            let mut days = None;
            walk.children(&mut |walk, name| match name {
                "DaysAfterInitiation" => once(&mut days, number(walk)?),
                _ => Err(S3Error::MalformedXml),
            })?;
            once(&mut rule.abort, days)
        }
        "Transition" | "NoncurrentVersionTransition" => {
            rule.transition =
                Some(if name == "Transition" { "Transition" } else { "NoncurrentVersionTransition" });
            walk.children(&mut |walk, _| walk.text().map(drop))
        }
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(rule)
}

fn lifecycle_filter(walk: &mut Walk<'_>) -> Result<FilterDocument, S3Error> {
    let (mut filter, mut count) = (FilterDocument::default(), 0);
    walk.children(&mut |walk, name| {
        // One thing alone, or several in an `And`.
        count += 1;
        match name {
            _ if 1 < count => Err(S3Error::MalformedXml),
            "And" => {
                filter.and = true;
                walk.children(&mut |walk, name| filter_part(walk, name, &mut filter))
            }
            name => filter_part(walk, name, &mut filter),
        }
    })?;
    Ok(filter)
}

fn filter_part(walk: &mut Walk<'_>, name: &str, filter: &mut FilterDocument) -> Result<(), S3Error> {
    match name {
        "Prefix" => once(&mut filter.prefix, walk.text()?),
        "Tag" => {
            filter.tags.push(tag(walk)?);
            Ok(())
        }
        "ObjectSizeGreaterThan" => once(&mut filter.larger, number(walk)?),
        "ObjectSizeLessThan" => once(&mut filter.smaller, number(walk)?),
        _ => Err(S3Error::MalformedXml),
    }
}

fn lifecycle_expiration(walk: &mut Walk<'_>) -> Result<ExpirationDocument, S3Error> {
    let mut expiration = ExpirationDocument::default();
    walk.children(&mut |walk, name| match name {
        "Days" => once(&mut expiration.days, number(walk)?),
        "Date" => once(&mut expiration.date, walk.text()?.trim().to_owned()),
        "ExpiredObjectDeleteMarker" => once(&mut expiration.marker, parse_boolean(&walk.text()?)?),
        _ => Err(S3Error::MalformedXml),
    })?;
    Ok(expiration)
}

/// The number that the open element is.
fn number(walk: &mut Walk<'_>) -> Result<i64, S3Error> {
    integer(walk.text()?.trim()).ok_or(S3Error::MalformedXml)
}

/// `Delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteRequest {
    /// Answer only with what failed.
    pub quiet: bool,
    /// 1 to [`DELETE_KEYS_MAX`] of them.
    pub objects: Vec<DeleteEntry>,
}

/// One object of a `Delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteEntry {
    /// Its key, as sent.
    pub key: String,
    /// Its version, as sent.
    pub version: Option<String>,
    /// The tag it must have.
    pub etag: Option<String>,
    /// The size it must have.
    pub size: Option<u64>,
    /// The time it must have been written, as sent.
    pub modified: Option<String>,
}

/// Reads `Delete`.
pub fn parse_delete(bytes: &[u8]) -> Result<DeleteRequest, S3Error> {
    let (mut quiet, mut objects) = (None, Vec::new());
    Walk::new(bytes)?.root("Delete", |walk, name| match name {
        "Quiet" => once(&mut quiet, parse_boolean(&walk.text()?)?),
        "Object" => {
            if objects.len() == DELETE_KEYS_MAX {
                return Err(S3Error::MalformedXml);
            }
            objects.push(delete_entry(walk)?);
            Ok(())
        }
        _ => Err(S3Error::MalformedXml),
    })?;
    if objects.is_empty() {
        return Err(S3Error::MalformedXml);
    }
    Ok(DeleteRequest { quiet: quiet.unwrap_or(false), objects })
}

fn delete_entry(walk: &mut Walk<'_>) -> Result<DeleteEntry, S3Error> {
    let mut entry = DeleteEntry::default();
    let mut key = None;
    walk.children(&mut |walk, name| {
        let text = walk.text()?;
        match name {
            "Key" => once(&mut key, text),
            "VersionId" => once(&mut entry.version, text),
            "ETag" => once(&mut entry.etag, text),
            "Size" => once(&mut entry.size, unsigned(text.trim()).ok_or(S3Error::MalformedXml)?),
            "LastModifiedTime" => once(&mut entry.modified, text),
            _ => Err(S3Error::MalformedXml),
        }
    })?;
    let key = key.filter(|key| !key.is_empty()).ok_or(S3Error::MalformedXml)?;
    Ok(DeleteEntry { key, ..entry })
}

/// One part of a `CompleteMultipartUpload`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number, as sent.
    pub number: i64,
    /// Its tag, as sent.
    pub etag: String,
    /// Checksums that it must have, in base64.
    pub checksums: Vec<(Algorithm, String)>,
}

/// Reads `CompleteMultipartUpload`: 1 to [`PARTS_MAX`] parts, in the order sent.
pub fn parse_complete(bytes: &[u8]) -> Result<Vec<CompletedPart>, S3Error> {
    let mut parts = Vec::new();
    Walk::new(bytes)?.root("CompleteMultipartUpload", |walk, name| match name {
        "Part" => {
            if parts.len() == usize::from(PARTS_MAX) {
                return Err(S3Error::MalformedXml);
            }
            parts.push(completed_part(walk)?);
            Ok(())
        }
        _ => Err(S3Error::MalformedXml),
    })?;
    if parts.is_empty() { Err(S3Error::MalformedXml) } else { Ok(parts) }
}

fn completed_part(walk: &mut Walk<'_>) -> Result<CompletedPart, S3Error> {
    let (mut number, mut etag, mut checksums) = (None, None, Vec::new());
    walk.children(&mut |walk, name| {
        let text = walk.text()?;
        match name {
            "PartNumber" => once(&mut number, integer(text.trim()).ok_or(S3Error::MalformedXml)?),
            "ETag" => once(&mut etag, text.trim().to_owned()),
            other => match other.strip_prefix("Checksum").and_then(Algorithm::parse) {
                Some(algorithm) => {
                    checksums.push((algorithm, text.trim().to_owned()));
                    Ok(())
                }
                None => Err(S3Error::MalformedXml),
            },
        }
    })?;
    match (number, etag) {
        (Some(number), Some(etag)) => Ok(CompletedPart { number, etag, checksums }),
        _ => Err(S3Error::MalformedXml),
    }
}

/// Takes what may stand once.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), S3Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(S3Error::MalformedXml),
    }
}

/// A number that may be negative: what is below 1 is refused by name.
fn integer(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(digits) => unsigned::<i64>(digits).map(i64::wrapping_neg),
        None => unsigned(text),
    }
}

fn parse_boolean(text: &str) -> Result<bool, S3Error> {
    match text.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        _ => Err(S3Error::MalformedXml),
    }
}

type Visit<'v> = dyn FnMut(&mut Walk<'_>, &str) -> Result<(), S3Error> + 'v;

/// A walk through a document: the caller asks for children or text of the element it stands in.
struct Walk<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
    /// An element without content was opened: its end is not in the text.
    closes: bool,
}

enum Item {
    Open(String),
    Text(String),
    Close,
    End,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Result<Walk<'a>, S3Error> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if std::str::from_utf8(bytes).is_err() {
            return Err(S3Error::MalformedXml);
        }
        Ok(Walk { reader: Reader::from_reader(bytes), depth: 0, closes: false })
    }

    /// Walks the whole document, whose root must be called `root`.
    fn root(
        &mut self,
        root: &str,
        mut visit: impl FnMut(&mut Walk<'_>, &str) -> Result<(), S3Error>,
    ) -> Result<(), S3Error> {
        loop {
            match self.next()? {
                Item::Text(text) if text.trim().is_empty() => {}
                Item::Open(name) if name == root => break,
                _ => return Err(S3Error::MalformedXml),
            }
        }
        self.children(&mut visit)?;
        loop {
            match self.next()? {
                Item::Text(text) if text.trim().is_empty() => {}
                Item::End => return Ok(()),
                _ => return Err(S3Error::MalformedXml),
            }
        }
    }

    /// Visits each child of the open element, up to its end. `visit` must take the child to its end.
    fn children(&mut self, visit: &mut Visit<'_>) -> Result<(), S3Error> {
        loop {
            match self.next()? {
                Item::Text(text) if text.trim().is_empty() => {}
                Item::Open(name) => visit(self, &name)?,
                Item::Close => return Ok(()),
                Item::Text(_) | Item::End => return Err(S3Error::MalformedXml),
            }
        }
    }

    /// The text of the open element, up to its end; it must have no children.
    fn text(&mut self) -> Result<String, S3Error> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Item::Text(more) => text.push_str(&more),
                Item::Close => return Ok(text),
                Item::Open(_) | Item::End => return Err(S3Error::MalformedXml),
            }
        }
    }

    fn next(&mut self) -> Result<Item, S3Error> {
        const BAD: S3Error = S3Error::MalformedXml;
        if self.closes {
            self.closes = false;
            self.depth -= 1;
            return Ok(Item::Close);
        }
        loop {
            let event = self.reader.read_event().map_err(|_| BAD)?;
            let item = match event {
                Event::Start(start) => self.open(start.local_name().as_ref())?,
                Event::Empty(start) => {
                    self.closes = true;
                    self.open(start.local_name().as_ref())?
                }
                Event::End(_) => {
                    self.depth = self.depth.checked_sub(1).ok_or(BAD)?;
                    Item::Close
                }
                Event::Text(text) => Item::Text(text.xml10_content().into_owned()),
                Event::CData(text) => Item::Text(text.xml10_content().into_owned()),
                Event::GeneralRef(reference) => {
                    let character = match reference.resolve_char_ref().map_err(|_| BAD)? {
                        Some(character) => character,
                        None => predefined(&reference).ok_or(BAD)?,
                    };
                    Item::Text(character.to_string())
                }
                Event::Comment(_) | Event::Decl(_) => continue,
                Event::PI(_) | Event::DocType(_) => return Err(BAD),
                Event::Eof if self.depth == 0 => Item::End,
                Event::Eof => return Err(BAD),
            };
            return Ok(item);
        }
    }

    fn open(&mut self, name: &str) -> Result<Item, S3Error> {
        self.depth += 1;
        if XML_DEPTH_MAX < self.depth {
            return Err(S3Error::MalformedXml);
        }
        Ok(Item::Open(name.to_owned()))
    }
}

fn predefined(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// Fuzz entry: any bytes are a document or are refused.
pub fn fuzz_xml(input: &[u8]) {
    // Each answer is a value or `MalformedXML`; the call itself is the test.
    let (_, _) = (parse_create_bucket(input).is_ok(), parse_complete(input).is_ok());
    let _ = (parse_ownership(input).is_ok(), parse_tagging(input).is_ok(), parse_cors(input).is_ok());
    let (_, _) = (parse_versioning(input).is_ok(), parse_object_lock(input).is_ok());
    let _ = parse_acl(input).is_ok();
    let (_, _) = (parse_retention(input).is_ok(), parse_legal_hold(input).is_ok());
    if let Ok(request) = parse_delete(input) {
        assert!((1..=DELETE_KEYS_MAX).contains(&request.objects.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_bucket() {
        let check = |text: &str, want: Option<Option<&str>>| {
            let got = parse_create_bucket(text.as_bytes()).ok();
            assert_eq!(got.as_ref().map(|got| got.constraint.as_deref()), want, "{text}");
        };
        let open = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
        let close = "</CreateBucketConfiguration>";
        check(
            &format!("{open}<LocationConstraint>eu-west-1</LocationConstraint>{close}"),
            Some(Some("eu-west-1")),
        );
        check(&format!("<?xml version=\"1.0\"?>\n{open}\n<LocationConstraint/>\n{close}\n"), Some(None));
        check("<CreateBucketConfiguration/>", Some(None));
        check("<s3:CreateBucketConfiguration xmlns:s3=\"x\"></s3:CreateBucketConfiguration>", Some(None));
        check(&format!("{open}<Other/>{close}"), None);
        let tags = "<Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags>";
        let got = parse_create_bucket(format!("{open}{tags}{close}").as_bytes()).expect("well-formed");
        assert_eq!(got.tags, [("a".to_owned(), "b".to_owned())]);
        check(&format!("{open}{tags}{tags}{close}"), None);
        check(&format!("{open}<Tags><a/></Tags>{close}"), None);
        for not_served in ["Location", "Bucket"] {
            let text = format!("{open}<{not_served}><a/></{not_served}>{close}");
            let parameter = not_served.to_owned();
            assert_eq!(
                parse_create_bucket(text.as_bytes()),
                Err(S3Error::NotImplementedParameter { parameter })
            );
        }
        check(&format!("{open}{close}{close}"), None);
        check(&format!("{open}{close}<a/>"), None);
        check(open, None);
        check("", None);
        check("{}", None);
    }

    #[test]
    fn ownership() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(parse_ownership(text.as_bytes()).ok().as_deref(), want, "{text}");
        };
        let root = |inner: &str| format!("<OwnershipControls>{inner}</OwnershipControls>");
        let rule = "<Rule>\n<ObjectOwnership> ObjectWriter </ObjectOwnership></Rule>";
        check(&root(rule), Some("ObjectWriter"));
        check(&root(""), None);
        check(&root("<Rule/>"), None);
        check(&root(&rule.repeat(2)), None);
        check(&root(&format!("<Rule/>{rule}")), None);
        check(&root(&format!("{rule}<Rule/>")), None);
        check(
            &root("<Rule><ObjectOwnership>a</ObjectOwnership><ObjectOwnership>b</ObjectOwnership></Rule>"),
            None,
        );
        check(&root("<Rule><Other/></Rule>"), None);
        check("<Rule/>", None);
        check("", None);
    }

    #[test]
    fn versioning() {
        let check = |inner: &str, want: Option<(Option<&str>, Option<&str>)>| {
            let text = format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
            let got = parse_versioning(text.as_bytes()).ok();
            let got = got.as_ref().map(|got| (got.status.as_deref(), got.mfa_delete.as_deref()));
            assert_eq!(got, want, "{inner}");
        };
        check("", Some((None, None)));
        check("<Status>Enabled</Status>", Some((Some("Enabled"), None)));
        check("<MfaDelete>Disabled</MfaDelete><Status> x </Status>", Some((Some("x"), Some("Disabled"))));
        check("<Status>Enabled</Status><Status>Enabled</Status>", None);
        check("<Other/>", None);
    }

    #[test]
    fn locks() {
        type Default<'a> = (&'a str, Option<i64>, Option<i64>);
        let check = |inner: &str, want: Option<(&str, Option<Default>)>| {
            let text = format!("<ObjectLockConfiguration>{inner}</ObjectLockConfiguration>");
            let got = parse_object_lock(text.as_bytes()).ok();
            let default = |default: &DefaultDocument| (default.mode.clone(), default.days, default.years);
            let got = got.map(|got| (got.enabled, got.default.as_ref().map(default)));
            let want = want.map(|(enabled, default)| {
                (enabled.to_owned(), default.map(|(mode, days, years)| (mode.to_owned(), days, years)))
            });
            assert_eq!(got, want, "{inner}");
        };
        let rule = |inner: &str| format!("<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>");
        check("", Some(("", None)));
        check("<ObjectLockEnabled>Enabled</ObjectLockEnabled>", Some(("Enabled", None)));
        check(
            &rule("<Mode>GOVERNANCE</Mode><Days>3</Days>"),
            Some(("", Some(("GOVERNANCE", Some(3), None)))),
        );
        check(&rule("<Years>-1</Years>"), Some(("", Some(("", None, Some(-1))))));
        for bad in ["<Rule/>", &rule("<Days>x</Days>"), &rule("<Days>1</Days><Days>1</Days>"), "<Other/>"] {
            check(bad, None);
        }
        let retention =
            |inner: &str| parse_retention(format!("<Retention>{inner}</Retention>").as_bytes()).ok();
        assert_eq!(retention(""), Some((None, None)));
        let (mode, until) = (Some("GOVERNANCE".to_owned()), Some("2030-01-01T00:00:00Z".to_owned()));
        let text = "<Mode>GOVERNANCE</Mode><RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate>";
        assert_eq!(retention(text), Some((mode, until)));
        assert_eq!(retention("<Until/>"), None);
        let hold = |inner: &str| parse_legal_hold(format!("<LegalHold>{inner}</LegalHold>").as_bytes()).ok();
        assert_eq!(hold("<Status>ON</Status>").as_deref(), Some("ON"));
        assert_eq!(hold(""), None);
    }

    #[test]
    fn acls() {
        let parse = |inner: &str| {
            parse_acl(format!("<AccessControlPolicy>{inner}</AccessControlPolicy>").as_bytes()).ok()
        };
        let grant = |grantee: &str| {
            format!("<Grant><Grantee>{grantee}</Grantee><Permission>READ</Permission></Grant>")
        };
        let list = |inner: &str| format!("<AccessControlList>{inner}</AccessControlList>");
        let read = |id: Option<&str>| (id.map(str::to_owned), "READ".to_owned());
        let owner = "<Owner><ID>a</ID><DisplayName>b</DisplayName></Owner>";
        assert_eq!(parse(&format!("{owner}{}", list(""))), Some(vec![]));
        let both = grant("<ID>a</ID>") + &grant("<URI>everybody</URI>");
        assert_eq!(parse(&list(&both)), Some(vec![read(Some("a")), read(None)]));
        for bad in
            [owner, &list("<Grant/>"), &list(&grant("<ID>a</ID><ID>b</ID>")), &list(&grant("<Id/>")), ""]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn tagging() {
        let check = |text: &str, want: Option<&[(&str, &str)]>| {
            let got = parse_tagging(text.as_bytes()).ok();
            let want =
                want.map(|tags| tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
            assert_eq!(got, want, "{text}");
        };
        let tags = |inner: &str| format!("<Tagging><TagSet>{inner}</TagSet></Tagging>");
        let tag = "<Tag><Key>a b</Key><Value>1&amp;</Value></Tag>";
        check(&tags(""), Some(&[]));
        check("<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet/></Tagging>", Some(&[]));
        check(&tags(&format!("{tag} <Tag><Value/><Key>b</Key></Tag>")), Some(&[("a b", "1&"), ("b", "")]));
        check(&tags("<Tag><Key>a</Key></Tag>"), None);
        check(&tags("<Tag><Value>a</Value></Tag>"), None);
        check(&tags("<Tag><Key>a</Key><Key>a</Key><Value/></Tag>"), None);
        check(&tags("<Other/>"), None);
        check(&format!("<Tagging><TagSet>{tag}</TagSet><TagSet/></Tagging>"), None);
        check("<Tagging/>", None);
        check("<TagSet/>", None);
        check("", None);
    }

    #[test]
    fn configurations_that_are_what_they_are() {
        let check = |fixable, text: &str, want: Option<&str>| {
            let code = parse_fixable(text.as_bytes(), fixable).err().map(|failure| failure.answer().code);
            assert_eq!(code, want, "{text}");
        };
        check(Fixable::Notification, "<NotificationConfiguration xmlns=\"x\"/>", None);
        check(Fixable::Notification, "<NotificationConfiguration> </NotificationConfiguration>", None);
        let queue = "<NotificationConfiguration><QueueConfiguration><Id>a</Id></QueueConfiguration></NotificationConfiguration>";
        check(Fixable::Notification, queue, Some("NotImplemented"));
        check(Fixable::Notification, "<Other/>", Some("MalformedXML"));
        check(Fixable::Logging, "<BucketLoggingStatus/>", None);
        check(
            Fixable::Logging,
            "<BucketLoggingStatus><LoggingEnabled/></BucketLoggingStatus>",
            Some("NotImplemented"),
        );
        let payer = |who: &str| {
            format!("<RequestPaymentConfiguration><Payer>{who}</Payer></RequestPaymentConfiguration>")
        };
        check(Fixable::RequestPayment, &payer("BucketOwner"), None);
        check(Fixable::RequestPayment, &payer("Requester"), Some("NotImplemented"));
        check(Fixable::RequestPayment, &payer("Nobody"), Some("MalformedXML"));
        check(Fixable::RequestPayment, "<RequestPaymentConfiguration/>", Some("MalformedXML"));
        let status =
            |is: &str| format!("<AccelerateConfiguration><Status>{is}</Status></AccelerateConfiguration>");
        check(Fixable::Accelerate, &status("Suspended"), None);
        check(Fixable::Accelerate, &status("Enabled"), Some("NotImplemented"));
        check(Fixable::Accelerate, &status("On"), Some("MalformedXML"));
        check(Fixable::Accelerate, "<AccelerateConfiguration/>", Some("MalformedXML"));
    }

    #[test]
    fn cors() {
        let root = |inner: &str| format!("<CORSConfiguration>{inner}</CORSConfiguration>");
        let count = |text: &str| parse_cors(text.as_bytes()).ok().map(|rules| rules.len());
        let rule = "<CORSRule><ID>i</ID><AllowedOrigin> a</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
                    <AllowedOrigin/><MaxAgeSeconds> 7 </MaxAgeSeconds><ExposeHeader>e</ExposeHeader></CORSRule>";
        let parsed = parse_cors(root(rule).as_bytes()).expect("rules");
        let want = CorsRule {
            id: Some("i".into()),
            max_age_s: Some(7),
            methods: vec!["GET".into()],
            origins: vec![" a".into(), String::new()],
            headers: vec![],
            exposed: vec!["e".into()],
        };
        assert_eq!(parsed, [want]);
        assert_eq!(count(&root("")), Some(0));
        assert_eq!(count(&root(&rule.repeat(3))), Some(3));
        for bad in [
            "<CORSRule><MaxAgeSeconds>-1</MaxAgeSeconds></CORSRule>",
            "<CORSRule><MaxAgeSeconds>2147483648</MaxAgeSeconds></CORSRule>",
            "<CORSRule><MaxAgeSeconds/></CORSRule>",
            "<CORSRule><ID>a</ID><ID>a</ID></CORSRule>",
            "<CORSRule><Other/></CORSRule>",
            "<Rule/>",
        ] {
            assert_eq!(count(&root(bad)), None, "{bad}");
        }
        assert_eq!(count("<CORSRule/>"), None);
    }

    #[test]
    fn delete() {
        let check = |text: &str, quiet: bool, keys: &[&str]| {
            let request = parse_delete(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
            assert_eq!(request.quiet, quiet, "{text}");
            let got: Vec<&str> = request.objects.iter().map(|entry| entry.key.as_str()).collect();
            assert_eq!(got, keys, "{text}");
        };
        let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
        check(&format!("<Delete>{}{}</Delete>", object("a"), object(" b/ c ")), false, &["a", " b/ c "]);
        check(
            &format!("<Delete><Quiet>true</Quiet>{}</Delete>", object("a&amp;b&#x1;&#10;&lt;")),
            true,
            &["a&b\u{1}\n<"],
        );
        check(&format!("<Delete><Quiet/>{}</Delete>", object("<![CDATA[<x>]]>")), false, &["<x>"]);
        let bad =
            |text: &str| assert_eq!(parse_delete(text.as_bytes()), Err(S3Error::MalformedXml), "{text}");
        bad("<Delete></Delete>");
        bad("<Delete><Object></Object></Delete>");
        bad("<Delete><Object><Key/></Object></Delete>");
        bad("<!DOCTYPE Delete [<!ENTITY a \"b\">]><Delete><Object><Key>&a;</Key></Object></Delete>");
        bad("<Delete><Object><Key>&a;</Key></Object></Delete>");
        bad("<Delete><Object><Key>a</Object></Key></Delete>");
        bad("<Delete><Object><Key><b/></Key></Object></Delete>");
        bad("<Delete>text</Delete>");
        bad(&format!("<Delete>{}</Delete>", object("a").repeat(1001)));
        check(&format!("<Delete>{}</Delete>", object("a").repeat(1000)), false, &["a"; 1000]);
    }

    #[test]
    fn complete() {
        let part = "<Part><ETag>\"e\"</ETag><PartNumber>1</PartNumber><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>";
        let root = |inner: &str| format!("<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>");
        let want = CompletedPart {
            number: 1,
            etag: "\"e\"".into(),
            checksums: vec![(Algorithm::Crc32, "AAAAAA==".into())],
        };
        assert_eq!(parse_complete(root(part).as_bytes()), Ok(vec![want.clone()]));
        let quoted = part.replace('"', "&quot;");
        assert_eq!(parse_complete(root(&quoted).as_bytes()), Ok(vec![want]));
        for bad in [
            "",
            "<Part/>",
            "<Part><PartNumber>1</PartNumber></Part>",
            "<Part><PartNumber>x</PartNumber><ETag>e</ETag></Part>",
        ] {
            assert_eq!(parse_complete(root(bad).as_bytes()), Err(S3Error::MalformedXml), "{bad}");
        }
    }

    /// What may stand once is not taken twice, be it the same or not.
    #[test]
    fn nothing_stands_twice() {
        type Reads = fn(&str) -> Result<(), S3Error>;
        let delete: Reads = |inner| {
            parse_delete(format!("<Delete>{inner}<Object><Key>z</Key></Object></Delete>").as_bytes())
                .map(drop)
        };
        let object: Reads = |inner| {
            let text = format!("<Delete><Object>{inner}</Object></Delete>");
            parse_delete(text.as_bytes()).map(drop)
        };
        let part: Reads = |inner| {
            let text = format!("<CompleteMultipartUpload><Part>{inner}</Part></CompleteMultipartUpload>");
            parse_complete(text.as_bytes()).map(drop)
        };
        let create: Reads = |inner| {
            let text = format!("<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>");
            parse_create_bucket(text.as_bytes()).map(drop)
        };
        let check = |reads: Reads, rest: &str, name: &str, values: [&str; 2]| {
            let [one, other] = values.map(|value| format!("<{name}>{value}</{name}>"));
            assert_eq!(reads(&format!("{rest}{one}")), Ok(()), "{name}");
            assert_eq!(reads(&format!("{one}{rest}")), Ok(()), "{name}");
            for twice in [
                format!("{one}{rest}{other}"),
                format!("{rest}{one}{one}"),
                format!("{one}<{name}/>{rest}"),
                format!("<{name}/>{rest}{one}"),
            ] {
                assert_eq!(reads(&twice), Err(S3Error::MalformedXml), "{twice}");
            }
        };
        check(delete, "", "Quiet", ["true", "false"]);
        check(object, "", "Key", ["a", "b"]);
        for (name, values) in [
            ("VersionId", ["null", "other"]),
            ("ETag", ["z", "*"]),
            ("Size", ["5", "1"]),
            ("LastModifiedTime", ["Wed, 21 Oct 2015 07:28:00 GMT", "x"]),
        ] {
            check(object, "<Key>a</Key>", name, values);
        }
        check(part, "<ETag>e</ETag>", "PartNumber", ["1", "2"]);
        check(part, "<PartNumber>1</PartNumber>", "ETag", ["e", "f"]);
        check(create, "", "LocationConstraint", ["eu-west-1", "eu-west-2"]);
    }

    #[test]
    fn numbers() {
        let size = |text: &str| {
            let text = format!("<Delete><Object><Key>a</Key><Size>{text}</Size></Object></Delete>");
            parse_delete(text.as_bytes()).map(|request| request.objects[0].size)
        };
        let part = |text: &str| {
            let part = format!("<Part><PartNumber>{text}</PartNumber><ETag>e</ETag></Part>");
            let text = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
            parse_complete(text.as_bytes()).map(|parts| parts[0].number)
        };
        assert_eq!((size(" 5\n"), part(" 5\n")), (Ok(Some(5)), Ok(5)));
        for bad in ["", "+1", "--1", "-+1", "+-1", "1.0", "1 1", "x", "18446744073709551616"] {
            assert_eq!(size(bad), Err(S3Error::MalformedXml), "{bad}");
            assert_eq!(part(bad), Err(S3Error::MalformedXml), "{bad}");
        }
        // CompleteMultipartUpload has an error of its own for these.
        assert_eq!((size("-1"), part("-1")), (Err(S3Error::MalformedXml), Ok(-1)));
    }

    #[test]
    fn fuzz_corpus() {
        let deep = "<Delete>".repeat(100);
        for text in
            ["<", "<a", "<a>&", "<a>&#xFFFFFFFF;</a>", "</a>", "<a></b>", "<?pi?>", "<a/><a/>", "&#0;", &deep]
        {
            fuzz_xml(text.as_bytes());
        }
        fuzz_xml(b"<Delete>\xff</Delete>");
    }
}
