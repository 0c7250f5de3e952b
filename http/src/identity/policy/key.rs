//! The condition keys: what a policy can ask of a request, by name.
//!
//! `document` reads names into [`ConditionKey`]s, `condition` asks the request's [`Context`] for their values. I1. Names
//! are compared without regard to case, as AWS does. I2. A name that is not known is kept, and has a value only where a
//! context gives it one.

use std::borrow::Cow;
use std::fmt;

/// What a request says when it is asked for the value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The request has no such key.
    Absent,
    /// There is a value, and who judges cannot know it: what an Allow asks of it does not hold, what a Deny asks of it does.
    Unknown,
    /// One value.
    One(Cow<'a, str>),
    /// The values of a key that may have several. None at all is not the same as an absent key, and is judged like it.
    Many(Vec<Cow<'a, str>>),
}

/// The keys and values of one request.
pub trait Context {
    /// Returns the value of a key. Asked only for keys that the policies at hand name.
    fn value(&self, key: &ConditionKey) -> Value<'_>;
}

/// A request that says nothing of itself.
#[derive(Clone, Copy, Debug)]
pub struct NoContext;

impl Context for NoContext {
    fn value(&self, _key: &ConditionKey) -> Value<'_> {
        Value::Absent
    }
}

macro_rules! keys {
    (plain { $($plain:ident $name:literal)* } with_name { $($named:ident $prefix:literal)* }) => {
        /// A condition key.
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "AWS's own names")]
        pub enum ConditionKey {
            $($plain,)*
            $(
                #[doc = concat!("`", $prefix, "` followed by this name, spelled as in the policy.")]
                $named(Box<str>),
            )*
            /// Any other, in lower case.
            Unknown(Box<str>),
        }

        impl ConditionKey {
            /// The names of all keys that are known; those that end in `/` are followed by a name of their own.
            pub const NAMES: &'static [&'static str] = &[$($name,)* $($prefix,)*];

            /// Finds the key of a name.
            pub fn parse(name: &str) -> ConditionKey {
                $(if name.eq_ignore_ascii_case($name) {
                    return ConditionKey::$plain;
                })*
                $(if let Some(own) = after(name, $prefix) {
                    return ConditionKey::$named(own.into());
                })*
                ConditionKey::Unknown(name.to_ascii_lowercase().into())
            }
        }

        impl fmt::Display for ConditionKey {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(ConditionKey::$plain => f.write_str($name),)*
                    $(ConditionKey::$named(own) => write!(f, concat!($prefix, "{}"), own),)*
                    ConditionKey::Unknown(name) => f.write_str(name),
                }
            }
        }
    };
}

keys! {
    plain {
        CurrentTime "aws:CurrentTime"
        EpochTime "aws:EpochTime"
        TokenIssueTime "aws:TokenIssueTime"
        MultiFactorAuthPresent "aws:MultiFactorAuthPresent"
        SecureTransport "aws:SecureTransport"
        SourceIp "aws:SourceIp"
        UserAgent "aws:UserAgent"
        Referer "aws:Referer"
        RequestedRegion "aws:RequestedRegion"
        UserId "aws:userid"
        Username "aws:username"
        PrincipalType "aws:PrincipalType"
        PrincipalArn "aws:PrincipalArn"
        PrincipalAccount "aws:PrincipalAccount"
        FederatedProvider "aws:FederatedProvider"
        SourceIdentity "aws:SourceIdentity"
        ResourceAccount "aws:ResourceAccount"
        TagKeys "aws:TagKeys"
        Prefix "s3:prefix"
        Delimiter "s3:delimiter"
        MaxKeys "s3:max-keys"
        LocationConstraint "s3:LocationConstraint"
        Acl "s3:x-amz-acl"
        GrantRead "s3:x-amz-grant-read"
        GrantWrite "s3:x-amz-grant-write"
        GrantReadAcp "s3:x-amz-grant-read-acp"
        GrantWriteAcp "s3:x-amz-grant-write-acp"
        GrantFullControl "s3:x-amz-grant-full-control"
        CopySource "s3:x-amz-copy-source"
        MetadataDirective "s3:x-amz-metadata-directive"
        ServerSideEncryption "s3:x-amz-server-side-encryption"
        EncryptionKeyId "s3:x-amz-server-side-encryption-aws-kms-key-id"
        EncryptionCustomerAlgorithm "s3:x-amz-server-side-encryption-customer-algorithm"
        StorageClass "s3:x-amz-storage-class"
        WebsiteRedirectLocation "s3:x-amz-website-redirect-location"
        ContentSha256 "s3:x-amz-content-sha256"
        ObjectOwnership "s3:x-amz-object-ownership"
        RequestObjectTagKeys "s3:RequestObjectTagKeys"
        ObjectLockMode "s3:object-lock-mode"
        ObjectLockRetainUntilDate "s3:object-lock-retain-until-date"
        ObjectLockRemainingRetentionDays "s3:object-lock-remaining-retention-days"
        ObjectLockLegalHold "s3:object-lock-legal-hold"
        VersionId "s3:versionid"
        IfMatch "s3:if-match"
        IfNoneMatch "s3:if-none-match"
        SignatureVersion "s3:signatureversion"
        AuthType "s3:authType"
        SignatureAge "s3:signatureAge"
        TlsVersion "s3:TlsVersion"
        BucketAccount "s3:ResourceAccount"
        Namespace "s3tables:namespace"
        TableName "s3tables:tableName"
        ViewName "s3tables:viewName"
        RegisterLocation "s3tables:registerLocation"
        TableKmsKeyArn "s3tables:KMSKeyArn"
        TableSseAlgorithm "s3tables:SSEAlgorithm"
        RoleSessionName "sts:RoleSessionName"
        DurationSeconds "sts:DurationSeconds"
        SetSourceIdentity "sts:SourceIdentity"
        ExternalId "sts:ExternalId"
        TransitiveTagKeys "sts:TransitiveTagKeys"
        PolicyArn "iam:PolicyARN"
    }
    with_name {
        PrincipalTag "aws:PrincipalTag/"
        RequestTag "aws:RequestTag/"
        ResourceTag "aws:ResourceTag/"
        IamResourceTag "iam:ResourceTag/"
        RequestObjectTag "s3:RequestObjectTag/"
        ExistingObjectTag "s3:ExistingObjectTag/"
        WarehouseTag "s3tables:WarehouseTag/"
        TableTag "s3tables:TableTag/"
    }
}

impl ConditionKey {
    /// Whether it is a name of a table or a view, or of its namespace.
    pub(super) fn is_table_name(&self) -> bool {
        matches!(self, ConditionKey::Namespace | ConditionKey::TableName | ConditionKey::ViewName)
    }
}

/// Returns what follows `prefix` in `name`; nothing at all is no name.
fn after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, own) = name.split_at_checked(prefix.len())?;
    (head.eq_ignore_ascii_case(prefix) && !own.is_empty()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_without_regard_to_case_and_shown_as_documented() {
        for name in ConditionKey::NAMES {
            let whole = if name.ends_with('/') { format!("{name}Team é") } else { (*name).to_owned() };
            let key = ConditionKey::parse(&whole);
            assert!(!matches!(key, ConditionKey::Unknown(_)), "{name}");
            assert_eq!(key.to_string(), whole);
            if !name.ends_with('/') {
                assert_eq!(ConditionKey::parse(&whole.to_ascii_uppercase()), key);
                assert_eq!(ConditionKey::parse(&whole.to_ascii_lowercase()), key);
            }
        }
        assert_eq!(
            ConditionKey::parse("S3:ExistingObjectTag/Team"),
            ConditionKey::ExistingObjectTag("Team".into())
        );
        assert_eq!(
            ConditionKey::parse("s3:ExistingObjectTag/"),
            ConditionKey::Unknown("s3:existingobjecttag/".into())
        );
        assert_eq!(ConditionKey::parse("Foo:Bar"), ConditionKey::Unknown("foo:bar".into()));
    }
}
