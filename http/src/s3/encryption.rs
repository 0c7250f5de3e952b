//! Encryption as requests ask for it: the `x-amz-server-side-encryption*` headers of objects, and the default of a bucket, `?encryption`.
//!
//! [`Call::sealing`] finds how a new object is encrypted: as its request says, else as its bucket is set, the setting
//! [`SettingKind::ENCRYPTION`]. [`Call::key_of`] finds the key of an object that is read. I1. What asks to be encrypted is never stored
//! plain. I2. A customer's key is in no setting, attribute, answer or error. I3. Nothing in a warehouse is encrypted, and
//! what asks for it there is refused: the catalog reads and writes metadata as it lies.
//! Source: Amazon S3 API Reference, the operations' pages; User Guide, "Protecting data with server-side encryption".

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body;
use md5::{Digest as _, Md5};
use nilas_engine::{Bucket, BucketSettings, ETag, EngineError, SettingKind, rt};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Call, Outcome, document, empty, request_xml};
use crate::limits::{ENCRYPTION_CONTEXT_BYTES_MAX, ENCRYPTION_XML_BYTES_MAX};
use crate::render::error::{S3Error, WAREHOUSE_UNENCRYPTED};
use crate::render::xml::Xml;
use crate::s3::attributes::Attributes;
use crate::s3::payload::Payload;
use crate::sse::keys::{DEFAULT_KEY, KeyVersion, S3_KEY, is_name};
use crate::sse::seal::{Key, random_key};
use crate::sse::store::KeyError;
use crate::sse::stored::{Encryption, Under};

const SSE: &str = "x-amz-server-side-encryption";
const KMS_KEY_ID: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CONTEXT: &str = "x-amz-server-side-encryption-context";
const BUCKET_KEY: &str = "x-amz-server-side-encryption-bucket-key-enabled";

/// The headers of a customer's key.
struct CustomerHeaders {
    algorithm: &'static str,
    key: &'static str,
    md5: &'static str,
}

const CUSTOMER: CustomerHeaders = CustomerHeaders {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    md5: "x-amz-server-side-encryption-customer-key-md5",
};

const COPY_SOURCE: CustomerHeaders = CustomerHeaders {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};

/// What a request asks for.
enum Asked {
    S3,
    Customer(Key),
    Kms { key: Option<String>, context: String, bucket_key: Option<bool> },
}

/// How a new object is encrypted.
pub(super) struct Sealing {
    /// The object's key.
    pub(super) key: Key,
    /// What is kept with it.
    pub(super) kept: Encryption,
}

/// Whose answer says how an object is encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// That of an operation that says what an object is.
    Made,
    /// Of one that takes a part, or reads.
    Bytes,
    /// Of CompleteMultipartUpload.
    Completed,
}

/// The object that a customer's key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The request's.
    Target,
    /// The source of a copy.
    Source,
}

fn bad(message: &'static str, value: &str) -> S3Error {
    S3Error::InvalidArgument { message: message.into(), name: SSE, value: value.to_owned() }
}

/// Reads the headers of a customer's key. No error has a part of it.
fn customer_key(headers: &HeaderMap, names: &CustomerHeaders) -> Result<Option<Key>, S3Error> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let (algorithm, key, md5) =
        (text(names.algorithm), text(names.key).map(|key| Zeroizing::new(key.into_owned())), text(names.md5));
    let algorithm = match (algorithm, &key, &md5) {
        (None, None, None) => return Ok(None),
        (None, _, _) => {
            return Err(bad(
                "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption \
                 algorithm.",
                "null",
            ));
        }
        (Some(algorithm), _, _) => algorithm.trim().to_owned(),
    };
    if algorithm != "AES256" {
        return Err(S3Error::InvalidEncryptionAlgorithm { value: algorithm });
    }
    let key = key.ok_or_else(|| {
        bad(
            "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.",
            "null",
        )
    })?;
    let md5 = md5.ok_or_else(|| {
        bad(
            "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of \
             the secret key.",
            "null",
        )
    })?;
    let invalid = || bad("The secret key was invalid for the specified algorithm.", "null");
    let decoded = STANDARD.decode(key.trim()).map(Zeroizing::new).map_err(|_| invalid())?;
    let made: [u8; 16] = Md5::digest(decoded.as_slice()).into();
    let sent = STANDARD.decode(md5.trim()).unwrap_or_default();
    if !bool::from(made.as_slice().ct_eq(&sent)) {
        return Err(bad(
            "The calculated MD5 hash of the key did not match the hash that was provided.",
            "null",
        ));
    }
    let key = crate::sse::seal::key_of(&decoded).ok_or_else(invalid)?;
    Ok(Some(key))
}

/// Reads what the headers of a write ask for.
fn asked(headers: &HeaderMap) -> Result<Option<Asked>, S3Error> {
    let text = |name: &str| super::metadata::field(headers, name);
    let method = text(SSE);
    let has_customer =
        [CUSTOMER.algorithm, CUSTOMER.key, CUSTOMER.md5].iter().any(|name| headers.contains_key(*name));
    if let (Some(method), true) = (&method, has_customer) {
        return Err(bad(
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
            method,
        ));
    }
    if let Some(customer) = customer_key(headers, &CUSTOMER)? {
        return Ok(Some(Asked::Customer(customer)));
    }
    let (key, context) = (text(KMS_KEY_ID), text(CONTEXT));
    let bucket_key = text(BUCKET_KEY).map(|text| super::flag(BUCKET_KEY, &text)).transpose()?;
    match method.as_deref() {
        Some("aws:kms") => {
            let context = context.as_deref().map_or_else(|| Ok(String::new()), parse_context)?;
            Ok(Some(Asked::Kms { key, context, bucket_key }))
        }
        Some("aws:kms:dsse") => Err(S3Error::NotImplementedHeader { header: format!("{SSE}: aws:kms:dsse") }),
        Some(method) if method != "AES256" => {
            Err(bad("The encryption method specified is not supported", method))
        }
        method => {
            if key.is_some() || context.is_some() {
                return Err(bad(
                    "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
                    method.unwrap_or("null"),
                ));
            }
            Ok(method.map(|_| Asked::S3))
        }
    }
}

/// An encryption context as canonical JSON; empty when it says nothing.
fn parse_context(base64: &str) -> Result<String, S3Error> {
    let bad = |message: &'static str| S3Error::InvalidArgument {
        message: message.into(),
        name: CONTEXT,
        value: base64.to_owned(),
    };
    let form = "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which \
                represents a string-string map";
    let json = STANDARD.decode(base64).map_err(|_| bad(form))?;
    let map: BTreeMap<String, String> = serde_json::from_slice(&json).map_err(|_| bad(form))?;
    if map.is_empty() {
        return Ok(String::new());
    }
    let text = serde_json::to_string(&map).expect("texts can be written");
    if ENCRYPTION_CONTEXT_BYTES_MAX < text.len() {
        return Err(bad("The encryption context is longer than ENCRYPTION_CONTEXT_BYTES_MAX"));
    }
    Ok(text)
}

/// What the setting of a bucket says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BucketEncryption {
    /// `AES256` or `aws:kms`; none when only the rest is set.
    algorithm: Option<String>,
    /// The name of the key as it was sent.
    key: Option<String>,
    bucket_key: bool,
    /// Whether customers' keys are refused.
    blocks_customers: bool,
    /// Whether it was said what is refused.
    says_blocked: bool,
}

impl BucketEncryption {
    /// The bucket's; `None` when it has none.
    pub(super) fn of(settings: &BucketSettings) -> Result<Option<BucketEncryption>, EngineError> {
        let Some(value) = settings.get(SettingKind::ENCRYPTION) else { return Ok(None) };
        let unknown = EngineError::UnsupportedSetting { kind: SettingKind::ENCRYPTION };
        let found: BucketEncryption = serde_json::from_slice(value).map_err(|_| unknown.clone())?;
        match found.algorithm.as_deref() {
            None | Some("AES256" | "aws:kms") => Ok(Some(found)),
            Some(_) => Err(unknown),
        }
    }
}

impl Call<'_> {
    /// How a new object of the request in `bucket` is encrypted; `None` when it is not.
    pub(super) async fn sealing(&self, bucket: &Bucket) -> Result<Option<Sealing>, S3Error> {
        let asked = asked(self.headers)?;
        let rule = BucketEncryption::of(&bucket.settings)?;
        let (asked, rule) = match (asked, rule) {
            (None, None) => return Ok(None),
            (asked, rule) => (asked, rule.unwrap_or_default()),
        };
        let asked = match (asked, rule.algorithm.as_deref()) {
            (Some(asked), _) => asked,
            (None, None) => return Ok(None),
            (None, Some("aws:kms")) => Asked::Kms { key: None, context: String::new(), bucket_key: None },
            (None, Some(_)) => Asked::S3,
        };
        if bucket.settings.get(SettingKind::CATALOG).is_some() {
            return Err(in_warehouse());
        }
        let random = rt::random_u128;
        let key = random_key(random);
        let seal = |under: Under, upper: &Key| Encryption::seal(under, &bucket.name, upper, &key, random);
        let kept = match asked {
            Asked::Customer(customer) => {
                self.check_customers_served()?;
                if rule.blocks_customers {
                    return Err(self.customers_blocked());
                }
                seal(Under::Customer, &customer)
            }
            Asked::S3 => {
                let named = self.s3.keys.ensure(S3_KEY).await.map_err(key_failed)?;
                let KeyVersion { number, key: upper, .. } = named.newest();
                seal(Under::S3 { version: *number }, upper)
            }
            Asked::Kms { key: named, context, bucket_key } => {
                if !self.s3.keys.is_on() {
                    return Err(S3Error::NoMasterKey);
                }
                let of_bucket = rule.algorithm.as_deref() == Some("aws:kms");
                let named = named.or(rule.key.filter(|_| of_bucket));
                let name = named.map_or_else(|| Ok(DEFAULT_KEY.to_owned()), |id| self.named_key(&id))?;
                let found = match name.as_str() {
                    DEFAULT_KEY => self.s3.keys.ensure(DEFAULT_KEY).await.map_err(key_failed)?,
                    name => self.s3.keys.find(name).ok_or_else(|| self.no_such_named_key(name))?,
                };
                let KeyVersion { number, key: upper, .. } = found.newest();
                let bucket_key = bucket_key.unwrap_or(of_bucket && rule.bucket_key);
                seal(Under::Kms { name, version: *number, context, bucket_key }, upper)
            }
        };
        Ok(Some(Sealing { key, kept }))
    }

    /// How an object that takes the place of one that is encrypted so is encrypted: under the newest version of the same key, or the
    /// same customer's, whose key the request has.
    pub(super) fn sealing_as(
        &self,
        bucket: &Bucket,
        kept: Option<&Encryption>,
    ) -> Result<Option<Sealing>, S3Error> {
        let is_same = match (asked(self.headers)?, kept.map(|kept| &kept.under)) {
            // The key was found to be the object's.
            (None | Some(Asked::Customer(_)), _) => true,
            (Some(Asked::S3), under) => matches!(under, Some(Under::S3 { .. })),
            (Some(Asked::Kms { .. }), under) => matches!(under, Some(Under::Kms { .. })),
        };
        if !is_same {
            return Err(S3Error::EncryptionTypeMismatch);
        }
        let Some(kept) = kept else { return Ok(None) };
        if bucket.settings.get(SettingKind::CATALOG).is_some() {
            return Err(in_warehouse());
        }
        let rule = BucketEncryption::of(&bucket.settings)?.unwrap_or_default();
        if rule.blocks_customers && matches!(kept.under, Under::Customer) {
            return Err(self.customers_blocked());
        }
        let random = rt::random_u128;
        let key = random_key(random);
        let unreadable = || S3Error::UnreadableKey { key: self.key() };
        let (under, upper) = match &kept.under {
            Under::Customer => {
                let customer = customer_key(self.headers, &CUSTOMER)?.ok_or(S3Error::WrongCustomerKey)?;
                (Under::Customer, customer)
            }
            Under::S3 { .. } => {
                let named = self.s3.keys.find(S3_KEY).ok_or_else(unreadable)?;
                (Under::S3 { version: named.newest().number }, named.newest().key.clone())
            }
            Under::Kms { name, context, bucket_key, .. } => {
                let named = self.s3.keys.find(name).ok_or_else(unreadable)?;
                let (name, context, version) = (name.clone(), context.clone(), named.newest().number);
                (Under::Kms { name, version, context, bucket_key: *bucket_key }, named.newest().key.clone())
            }
        };
        let kept = Encryption::seal(under, &bucket.name, &upper, &key, random);
        Ok(Some(Sealing { key, kept }))
    }

    /// The key of an object or upload in `bucket` that is encrypted so; `None` when it is not. Refuses a customer's key that is not
    /// its own, is missing, or is of no use.
    pub(super) fn key_of(
        &self,
        bucket: &Bucket,
        encryption: Option<&Encryption>,
        of: Of,
    ) -> Result<Option<Key>, S3Error> {
        let names = if of == Of::Source { &COPY_SOURCE } else { &CUSTOMER };
        let customer = customer_key(self.headers, names)?;
        let not_applicable =
            || S3Error::invalid_request("The encryption parameters are not applicable to this object.");
        let Some(kept) = encryption else {
            return if customer.is_some() { Err(not_applicable()) } else { Ok(None) };
        };
        let unreadable = || S3Error::UnreadableKey { key: self.key() };
        let opened = match (&kept.under, &customer) {
            (Under::Customer, None) => {
                return Err(S3Error::invalid_request(
                    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
                     retrieve the object.",
                ));
            }
            (Under::Customer, Some(customer)) => {
                self.check_customers_served()?;
                return match kept.open(&bucket.name, customer) {
                    Some(key) => Ok(Some(key)),
                    None => Err(S3Error::WrongCustomerKey),
                };
            }
            (_, Some(_)) => return Err(not_applicable()),
            (Under::S3 { version }, None) => (S3_KEY, version),
            (Under::Kms { name, version, .. }, None) => (name.as_str(), version),
        };
        let (name, version) = opened;
        let named = self.s3.keys.find(name).ok_or_else(unreadable)?;
        let upper = named.version(*version).ok_or_else(unreadable)?;
        kept.open(&bucket.name, &upper.key).map(Some).ok_or_else(unreadable)
    }

    /// The key of the open upload that a part is for, as [`Call::key_of`] in the words that S3 has for parts.
    pub(super) fn key_of_upload(&self, bucket: &Bucket, upload: &Attributes) -> Result<Option<Key>, S3Error> {
        let encryption = upload.encryption.as_ref();
        let is_customers = encryption.is_some_and(|kept| kept.under == Under::Customer);
        let has_key = customer_key(self.headers, &CUSTOMER)?.is_some();
        if is_customers != has_key {
            return Err(S3Error::invalid_request(
                "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate \
                 encryption parameters.",
            ));
        }
        match self.key_of(bucket, encryption, Of::Target) {
            Err(S3Error::WrongCustomerKey) => Err(S3Error::invalid_request(
                "The provided encryption parameters did not match the ones used originally.",
            )),
            key => key,
        }
    }

    /// Refuses a customer's key that is not the upload's; none is needed where no byte of it is read or written.
    pub(super) fn check_key_of_upload(&self, bucket: &Bucket, upload: &Attributes) -> Result<(), S3Error> {
        match [CUSTOMER.algorithm, CUSTOMER.key, CUSTOMER.md5]
            .iter()
            .any(|name| self.headers.contains_key(*name))
        {
            true => self.key_of_upload(bucket, upload).map(drop),
            false => Ok(()),
        }
    }

    /// Refuses headers that only a write may have.
    pub(super) fn check_reads_encrypted(&self) -> Result<(), S3Error> {
        match self.headers.get(SSE) {
            None => Ok(()),
            Some(value) => Err(bad(
                "x-amz-server-side-encryption header is not supported for this operation.",
                &String::from_utf8_lossy(value.as_bytes()),
            )),
        }
    }

    /// Puts in how an object is encrypted.
    pub(super) fn say_encryption(
        &self,
        headers: &mut HeaderMap,
        encryption: Option<&Encryption>,
        says: Says,
    ) {
        let Some(kept) = encryption else { return };
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        match &kept.under {
            Under::S3 { .. } => put(SSE, "AES256"),
            Under::Customer if says == Says::Completed => {}
            Under::Customer => {
                put(CUSTOMER.algorithm, "AES256");
                // It was found to be that of the key.
                if let Some(md5) = self.field(CUSTOMER.md5) {
                    put(CUSTOMER.md5, &md5);
                }
            }
            Under::Kms { name, context, bucket_key, .. } => {
                put(SSE, "aws:kms");
                put(KMS_KEY_ID, &self.key_arn(name));
                if *bucket_key {
                    put(BUCKET_KEY, "true");
                }
                if says == Says::Made && !context.is_empty() {
                    put(CONTEXT, &STANDARD.encode(context));
                }
            }
        }
    }

    fn key_arn(&self, name: &str) -> String {
        format!("arn:aws:kms:{}:{}:key/{name}", self.s3.region, self.account())
    }

    /// The name of a key by what a request calls it: its name, alias, or an ARN of either.
    fn named_key(&self, id: &str) -> Result<String, S3Error> {
        let not_found = |message: String| S3Error::KmsNotFound { message };
        let rest = match id.strip_prefix("arn:") {
            None => id,
            Some(arn) => {
                let ours = format!("aws:kms:{}:{}:", self.s3.region, self.account());
                let region = || arn.split(':').nth(2).unwrap_or_default().to_owned();
                arn.strip_prefix(&ours).ok_or_else(|| not_found(format!("Invalid arn {}", region())))?
            }
        };
        let name = rest.strip_prefix("key/").or(rest.strip_prefix("alias/")).unwrap_or(rest);
        let name = if rest == "alias/aws/s3" { DEFAULT_KEY } else { name };
        match is_name(name) {
            true => Ok(name.to_owned()),
            false => Err(not_found(format!("Invalid keyId '{id}'"))),
        }
    }

    fn no_such_named_key(&self, name: &str) -> S3Error {
        S3Error::KmsNotFound { message: format!("Key '{}' does not exist", self.key_arn(name)) }
    }

    /// Refuses customers' keys where they would come over a network that anybody may listen to.
    fn check_customers_served(&self) -> Result<(), S3Error> {
        match self.s3.takes_customer_keys {
            true => Ok(()),
            false => Err(bad(
                "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.",
                "null",
            )),
        }
    }

    fn customers_blocked(&self) -> S3Error {
        let key = String::from_utf8_lossy(&self.target.key);
        S3Error::CustomerKeysBlocked {
            sender: self.caller.sender.arn.to_string(),
            action: self.target.operation.action(false),
            resource: format!("arn:aws:s3:::{}/{key}", self.target.bucket),
        }
    }
}

fn key_failed(why: KeyError) -> S3Error {
    match why {
        KeyError::NoMasterKey => S3Error::NoMasterKey,
        KeyError::Engine(error) => error.into(),
        KeyError::Exists | KeyError::NoSuchKey | KeyError::Name | KeyError::TooMany | KeyError::Closed(_) => {
            S3Error::KmsNotFound { message: why.to_string() }
        }
    }
}

fn in_warehouse() -> S3Error {
    S3Error::invalid_request(WAREHOUSE_UNENCRYPTED)
}

/// The tag of an object or part: the MD5 of its bytes, or, under a key that is not the store's own, one that says nothing of them.
pub(super) fn tag_of(sealing: Option<&Encryption>, md5: [u8; 16]) -> ETag {
    match sealing {
        Some(kept) if !kept.under.keeps_md5() => ETag { md5: rt::random_u128().to_le_bytes(), parts: 0 },
        _ => ETag { md5, parts: 0 },
    }
}

/// Whether a copy asks for another encryption than its source has.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    [SSE, CUSTOMER.algorithm].iter().any(|name| headers.contains_key(*name))
}

/// Whether a copy is encrypted in another way than its source.
pub(super) fn is_other(source: Option<&Encryption>, copy: Option<&Encryption>) -> bool {
    let kind = |kept: Option<&Encryption>| kept.map(|kept| std::mem::discriminant(&kept.under));
    kind(source) != kind(copy)
}

/// Whether the tag of an object that is kept so is the MD5 of its bytes.
pub(super) fn keeps_md5(attributes: &Attributes) -> bool {
    attributes.encryption.as_ref().is_none_or(|kept| kept.under.keeps_md5())
}

pub(super) fn get(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let rule = BucketEncryption::of(&bucket.settings)?.ok_or_else(|| S3Error::NotConfigured {
        code: "ServerSideEncryptionConfigurationNotFoundError",
        message: "The server side encryption configuration was not found",
        bucket: call.target.bucket.clone(),
    })?;
    let mut xml = Xml::new("ServerSideEncryptionConfiguration", 512);
    xml.open("Rule");
    if let Some(algorithm) = &rule.algorithm {
        xml.open("ApplyServerSideEncryptionByDefault");
        if let Some(key) = &rule.key {
            xml.text("KMSMasterKeyID", key);
        }
        xml.text("SSEAlgorithm", algorithm);
        xml.close("ApplyServerSideEncryptionByDefault");
    }
    if rule.says_blocked {
        xml.open("BlockedEncryptionTypes");
        xml.text("EncryptionType", if rule.blocks_customers { "SSE-C" } else { "NONE" });
        xml.close("BlockedEncryptionTypes");
    }
    xml.boolean("BucketKeyEnabled", rule.bucket_key);
    xml.close("Rule");
    Ok(document(xml))
}

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket: Arc<Bucket> = call.bucket()?;
    let body = payload.read_xml(call.headers, ENCRYPTION_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    let rule = wanted_rule(request_xml::parse_encryption(&body)?)?;
    // A value that is not known is not written over.
    BucketEncryption::of(&bucket.settings)?;
    if rule.algorithm.is_some() && !call.s3.keys.is_on() {
        return Err(S3Error::NoMasterKey);
    }
    let value = serde_json::to_vec(&rule).expect("texts can be written");
    call.set(SettingKind::ENCRYPTION, Some(value.into())).await?;
    Ok(empty(StatusCode::OK))
}

fn wanted_rule(asked: request_xml::EncryptionDocument) -> Result<BucketEncryption, S3Error> {
    let mut rule =
        BucketEncryption { bucket_key: asked.bucket_key.unwrap_or(false), ..BucketEncryption::default() };
    if let Some((algorithm, key)) = asked.default {
        match algorithm.as_str() {
            "AES256" if key.is_some() => {
                return Err(S3Error::InvalidArgument {
                    message: "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse".into(),
                    name: "ApplyServerSideEncryptionByDefault",
                    value: String::new(),
                });
            }
            "AES256" | "aws:kms" => {}
            "aws:kms:dsse" => {
                return Err(S3Error::NotImplementedParameter {
                    parameter: "SSEAlgorithm: aws:kms:dsse".to_owned(),
                });
            }
            _ => return Err(S3Error::MalformedXml),
        }
        (rule.algorithm, rule.key) = (Some(algorithm), key);
    }
    if let Some(blocked) = asked.blocked {
        rule.says_blocked = true;
        for kind in &blocked {
            match kind.as_str() {
                "SSE-C" => rule.blocks_customers = true,
                "NONE" => {}
                _ => return Err(S3Error::MalformedXml),
            }
        }
    }
    Ok(rule)
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.bucket()?;
    call.set(SettingKind::ENCRYPTION, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::try_from(*value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    fn code(pairs: &[(&'static str, &str)]) -> String {
        match asked(&headers(pairs)) {
            Ok(None) => "none".to_owned(),
            Ok(Some(Asked::S3)) => "s3".to_owned(),
            Ok(Some(Asked::Customer(_))) => "customer".to_owned(),
            Ok(Some(Asked::Kms { key, context, bucket_key })) => {
                format!("kms {key:?} {context} {bucket_key:?}")
            }
            Err(failure) => {
                let answer = failure.answer();
                format!("{} {}", answer.code, answer.message)
            }
        }
    }

    #[test]
    fn what_headers_ask_for() {
        let key = STANDARD.encode([b'k'; 32]);
        let md5 = STANDARD.encode(Md5::digest([b'k'; 32]));
        let (algorithm, key, md5) =
            ((CUSTOMER.algorithm, "AES256"), (CUSTOMER.key, key.as_str()), (CUSTOMER.md5, md5.as_str()));
        let check = |pairs: &[(&'static str, &str)], want: &str| {
            let got = code(pairs);
            assert!(got.starts_with(want), "{got}, not {want}");
            assert!(!got.contains(key.1), "a key is shown");
        };
        check(&[], "none");
        check(&[(SSE, "AES256")], "s3");
        check(&[(SSE, "")], "InvalidArgument The encryption method specified is not supported");
        check(&[(SSE, "aes256")], "InvalidArgument The encryption method specified is not supported");
        check(&[(SSE, "aws:kms:dsse")], "NotImplemented");
        check(&[(SSE, "aws:kms")], "kms None  None");
        check(&[(SSE, "aws:kms"), (KMS_KEY_ID, "k"), (BUCKET_KEY, "true")], "kms Some(\"k\")  Some(true)");
        check(
            &[(SSE, "AES256"), (KMS_KEY_ID, "k")],
            "InvalidArgument Server Side Encryption with AWS KMS managed key",
        );
        check(&[(KMS_KEY_ID, "k")], "InvalidArgument Server Side Encryption with AWS KMS managed key");
        let context = STANDARD.encode("{ \"b\": \"1\", \"a\": \"2\" }");
        check(&[(SSE, "aws:kms"), (CONTEXT, &context)], "kms None {\"a\":\"2\",\"b\":\"1\"} None");
        for bad in ["!", &STANDARD.encode("[]"), &STANDARD.encode("{\"a\":1}")] {
            check(
                &[(SSE, "aws:kms"), (CONTEXT, bad)],
                "InvalidArgument The header 'x-amz-server-side-encryption-context'",
            );
        }
        check(&[algorithm, key, md5], "customer");
        check(
            &[algorithm, key, md5, (SSE, "AES256")],
            "InvalidArgument Server Side Encryption with Customer provided key is",
        );
        check(&[(CUSTOMER.algorithm, "AES128"), key, md5], "InvalidEncryptionAlgorithmError");
        check(
            &[key, md5],
            "InvalidArgument Requests specifying Server Side Encryption with Customer provided keys must provide a valid",
        );
        check(
            &[algorithm, md5],
            "InvalidArgument Requests specifying Server Side Encryption with Customer provided keys must provide an appr",
        );
        check(
            &[algorithm, key],
            "InvalidArgument Requests specifying Server Side Encryption with Customer provided keys must provide the client",
        );
        check(&[algorithm, key, (CUSTOMER.md5, "AAAA")], "InvalidArgument The calculated MD5");
        let short = STANDARD.encode([b'k'; 24]);
        let short_md5 = STANDARD.encode(Md5::digest([b'k'; 24]));
        check(
            &[algorithm, (CUSTOMER.key, &short), (CUSTOMER.md5, &short_md5)],
            "InvalidArgument The secret key was invalid",
        );
        check(&[algorithm, (CUSTOMER.key, "!"), md5], "InvalidArgument The secret key was invalid");
    }

    #[test]
    fn settings_of_buckets() {
        let rule = BucketEncryption {
            algorithm: Some("aws:kms".into()),
            bucket_key: true,
            ..BucketEncryption::default()
        };
        let value = serde_json::to_vec(&rule).expect("json");
        assert_eq!(serde_json::from_slice::<BucketEncryption>(&value).expect("own bytes"), rule);
        assert!(serde_json::from_slice::<BucketEncryption>(b"{\"algorithm\":null,\"more\":1}").is_err());
    }
}
