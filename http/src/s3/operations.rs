//! The one table of S3's operations: what is served, at which method and sub-resource, and what it is judged by.
//!
//! `route` finds rows by it, the gateway authorizes by it, `s3` takes from it what a request may hold, metrics count by
//! its names, and a test holds docs/s3.md against it. An operation is added as one row here and its handler in `s3`,
//! which the compiler asks for.
//! Source of the actions: Service Authorization Reference, "Actions defined by Amazon S3".

use http::Method;
use nilas_catalog::access::{Api, BodyKind, Effect, NamedIn, OperationFacts, ResourceKind};

/// One row.
#[derive(Debug)]
pub struct OperationRow {
    /// What all tables of operations have in common.
    pub facts: OperationFacts,
    /// Upper case.
    pub method: &'static str,
    /// What its path names.
    pub level: Level,
    /// The sub-resource in its query; empty for none.
    pub subresource: &'static str,
    /// What else tells it from another operation.
    pub form: Form,
    /// Whether its answer is made of a page of entries, which counts among the listings that a core may hold.
    pub is_page: bool,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Service,
    Bucket,
    Object,
}

/// What tells operations of one method and sub-resource apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Neither of the others.
    Plain,
    /// `list-type=2`.
    ListV2,
    /// `x-amz-copy-source`.
    Copy,
}

macro_rules! operations {
    ($($operation:ident $method:ident $level:ident $subresource:literal $form:ident $action:literal
        $resource:ident $named:ident $body:ident $effect:ident $is_page:literal;)*) => {
        /// The S3 operations that are served.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "S3's own names")]
        pub enum Operation {
            $($operation,)*
        }

        impl Operation {
            /// All operations, in the order of the table.
            pub const ALL: &'static [Operation] = &[$(Operation::$operation,)*];
        }

        const TABLE: &[OperationRow] = &[$(OperationRow {
            facts: OperationFacts {
                name: stringify!($operation),
                api: Api::S3,
                action: $action,
                resource: ResourceKind::$resource,
                named: NamedIn::$named,
                body: BodyKind::$body,
                effect: Effect::$effect,
            },
            method: stringify!($method),
            level: Level::$level,
            subresource: $subresource,
            form: Form::$form,
            is_page: $is_page,
        },)*];
    };
}

// Copies need `s3:GetObject` on their source as well, and renames `s3:DeleteObject` too. The object operations stand first because they are asked for most.
operations! {
//  name, method, level, sub-resource, form, action, judged on, named in, body, effect, is a page
    GetObject                          GET    Object  ""                  Plain  "s3:GetObject"                        Object  Head Empty   Reads   false;
    PutObject                          PUT    Object  ""                  Plain  "s3:PutObject"                        Object  Head Payload Changes false;
    HeadObject                         HEAD   Object  ""                  Plain  "s3:GetObject"                        Object  Head Empty   Reads   false;
    DeleteObject                       DELETE Object  ""                  Plain  "s3:DeleteObject"                     Object  Head Empty   Changes false;
    CopyObject                         PUT    Object  ""                  Copy   "s3:PutObject"                        Object  Head Empty   Changes false;
    RenameObject                       PUT    Object  "renameObject"      Plain  "s3:PutObject"                        Object  Head Empty   Changes false;
    GetObjectAttributes                GET    Object  "attributes"        Plain  "s3:GetObjectAttributes"              Object  Head Empty   Reads   false;
    GetObjectAcl                       GET    Object  "acl"               Plain  "s3:GetObjectAcl"                     Object  Head Empty   Reads   false;
    PutObjectAcl                       PUT    Object  "acl"               Plain  "s3:PutObjectAcl"                     Object  Head Xml     Changes false;
    GetObjectTagging                   GET    Object  "tagging"           Plain  "s3:GetObjectTagging"                 Object  Head Empty   Reads   false;
    GetObjectRetention                 GET    Object  "retention"         Plain  "s3:GetObjectRetention"               Object  Head Empty   Reads   false;
    PutObjectRetention                 PUT    Object  "retention"         Plain  "s3:PutObjectRetention"               Object  Body Xml     Changes false;
    GetObjectLegalHold                 GET    Object  "legal-hold"        Plain  "s3:GetObjectLegalHold"               Object  Head Empty   Reads   false;
    PutObjectLegalHold                 PUT    Object  "legal-hold"        Plain  "s3:PutObjectLegalHold"               Object  Body Xml     Changes false;
    PutObjectTagging                   PUT    Object  "tagging"           Plain  "s3:PutObjectTagging"                 Object  Body Xml     Changes false;
    DeleteObjectTagging                DELETE Object  "tagging"           Plain  "s3:DeleteObjectTagging"              Object  Head Empty   Changes false;
    CreateMultipartUpload              POST   Object  "uploads"           Plain  "s3:PutObject"                        Object  Head Empty   Changes false;
    UploadPart                         PUT    Object  "uploadId"          Plain  "s3:PutObject"                        Object  Head Payload Changes false;
    UploadPartCopy                     PUT    Object  "uploadId"          Copy   "s3:PutObject"                        Object  Head Empty   Changes false;
    CompleteMultipartUpload            POST   Object  "uploadId"          Plain  "s3:PutObject"                        Object  Head Xml     Changes true;
    AbortMultipartUpload               DELETE Object  "uploadId"          Plain  "s3:AbortMultipartUpload"             Object  Head Empty   Changes false;
    ListParts                          GET    Object  "uploadId"          Plain  "s3:ListMultipartUploadParts"         Object  Head Empty   Reads   true;
    ListObjectsV2                      GET    Bucket  ""                  ListV2 "s3:ListBucket"                       Bucket  Head Empty   Reads   true;
    ListObjects                        GET    Bucket  ""                  Plain  "s3:ListBucket"                       Bucket  Head Empty   Reads   true;
    ListObjectVersions                 GET    Bucket  "versions"          Plain  "s3:ListBucketVersions"               Bucket  Head Empty   Reads   true;
    ListMultipartUploads               GET    Bucket  "uploads"           Plain  "s3:ListBucketMultipartUploads"       Bucket  Head Empty   Reads   true;
    DeleteObjects                      POST   Bucket  "delete"            Plain  "s3:DeleteObject"                     Object  Body Xml     Changes false;
    PostObject                         POST   Bucket  ""                  Plain  "s3:PutObject"                        Object  Body Form    Changes false;
    CreateBucket                       PUT    Bucket  ""                  Plain  "s3:CreateBucket"                     Bucket  Body Xml     Changes false;
    HeadBucket                         HEAD   Bucket  ""                  Plain  "s3:ListBucket"                       Bucket  Head Empty   Reads   false;
    DeleteBucket                       DELETE Bucket  ""                  Plain  "s3:DeleteBucket"                     Bucket  Head Empty   Changes false;
    GetBucketLocation                  GET    Bucket  "location"          Plain  "s3:GetBucketLocation"                Bucket  Head Empty   Reads   false;
    GetBucketAccelerateConfiguration   GET    Bucket  "accelerate"        Plain  "s3:GetAccelerateConfiguration"       Bucket  Head Empty   Reads   false;
    PutBucketAccelerateConfiguration   PUT    Bucket  "accelerate"        Plain  "s3:PutAccelerateConfiguration"       Bucket  Head Xml     Changes false;
    GetBucketAcl                       GET    Bucket  "acl"               Plain  "s3:GetBucketAcl"                     Bucket  Head Empty   Reads   false;
    PutBucketAcl                       PUT    Bucket  "acl"               Plain  "s3:PutBucketAcl"                     Bucket  Head Xml     Changes false;
    GetBucketCors                      GET    Bucket  "cors"              Plain  "s3:GetBucketCORS"                    Bucket  Head Empty   Reads   false;
    PutBucketCors                      PUT    Bucket  "cors"              Plain  "s3:PutBucketCORS"                    Bucket  Head Xml     Changes false;
    DeleteBucketCors                   DELETE Bucket  "cors"              Plain  "s3:PutBucketCORS"                    Bucket  Head Empty   Changes false;
    GetBucketEncryption                GET    Bucket  "encryption"        Plain  "s3:GetEncryptionConfiguration"       Bucket  Head Empty   Reads   false;
    PutBucketEncryption                PUT    Bucket  "encryption"        Plain  "s3:PutEncryptionConfiguration"       Bucket  Head Xml     Changes false;
    DeleteBucketEncryption             DELETE Bucket  "encryption"        Plain  "s3:PutEncryptionConfiguration"       Bucket  Head Empty   Changes false;
    GetBucketLifecycleConfiguration    GET    Bucket  "lifecycle"         Plain  "s3:GetLifecycleConfiguration"        Bucket  Head Empty   Reads   false;
    PutBucketLifecycleConfiguration    PUT    Bucket  "lifecycle"         Plain  "s3:PutLifecycleConfiguration"        Bucket  Head Xml     Changes false;
    DeleteBucketLifecycle              DELETE Bucket  "lifecycle"         Plain  "s3:PutLifecycleConfiguration"        Bucket  Head Empty   Changes false;
    GetBucketLogging                   GET    Bucket  "logging"           Plain  "s3:GetBucketLogging"                 Bucket  Head Empty   Reads   false;
    PutBucketLogging                   PUT    Bucket  "logging"           Plain  "s3:PutBucketLogging"                 Bucket  Head Xml     Changes false;
    GetBucketNotificationConfiguration GET    Bucket  "notification"      Plain  "s3:GetBucketNotification"            Bucket  Head Empty   Reads   false;
    PutBucketNotificationConfiguration PUT    Bucket  "notification"      Plain  "s3:PutBucketNotification"            Bucket  Head Xml     Changes false;
    GetObjectLockConfiguration         GET    Bucket  "object-lock"       Plain  "s3:GetBucketObjectLockConfiguration" Bucket  Head Empty   Reads   false;
    PutObjectLockConfiguration         PUT    Bucket  "object-lock"       Plain  "s3:PutBucketObjectLockConfiguration" Bucket  Head Xml     Changes false;
    GetBucketOwnershipControls         GET    Bucket  "ownershipControls" Plain  "s3:GetBucketOwnershipControls"       Bucket  Head Empty   Reads   false;
    PutBucketOwnershipControls         PUT    Bucket  "ownershipControls" Plain  "s3:PutBucketOwnershipControls"       Bucket  Head Xml     Changes false;
    DeleteBucketOwnershipControls      DELETE Bucket  "ownershipControls" Plain  "s3:PutBucketOwnershipControls"       Bucket  Head Empty   Changes false;
    GetBucketPolicy                    GET    Bucket  "policy"            Plain  "s3:GetBucketPolicy"                  Bucket  Head Empty   Reads   false;
    PutBucketPolicy                    PUT    Bucket  "policy"            Plain  "s3:PutBucketPolicy"                  Bucket  Head Json    Changes false;
    DeleteBucketPolicy                 DELETE Bucket  "policy"            Plain  "s3:DeleteBucketPolicy"               Bucket  Head Empty   Changes false;
    GetBucketPolicyStatus              GET    Bucket  "policyStatus"      Plain  "s3:GetBucketPolicyStatus"            Bucket  Head Empty   Reads   false;
    GetPublicAccessBlock               GET    Bucket  "publicAccessBlock" Plain  "s3:GetBucketPublicAccessBlock"       Bucket  Head Empty   Reads   false;
    PutPublicAccessBlock               PUT    Bucket  "publicAccessBlock" Plain  "s3:PutBucketPublicAccessBlock"       Bucket  Head Xml     Changes false;
    DeletePublicAccessBlock            DELETE Bucket  "publicAccessBlock" Plain  "s3:PutBucketPublicAccessBlock"       Bucket  Head Empty   Changes false;
    GetBucketReplication               GET    Bucket  "replication"       Plain  "s3:GetReplicationConfiguration"      Bucket  Head Empty   Reads   false;
    DeleteBucketReplication            DELETE Bucket  "replication"       Plain  "s3:PutReplicationConfiguration"      Bucket  Head Empty   Changes false;
    GetBucketRequestPayment            GET    Bucket  "requestPayment"    Plain  "s3:GetBucketRequestPayment"          Bucket  Head Empty   Reads   false;
    PutBucketRequestPayment            PUT    Bucket  "requestPayment"    Plain  "s3:PutBucketRequestPayment"          Bucket  Head Xml     Changes false;
    GetBucketTagging                   GET    Bucket  "tagging"           Plain  "s3:GetBucketTagging"                 Bucket  Head Empty   Reads   false;
    PutBucketTagging                   PUT    Bucket  "tagging"           Plain  "s3:PutBucketTagging"                 Bucket  Head Xml     Changes false;
    DeleteBucketTagging                DELETE Bucket  "tagging"           Plain  "s3:PutBucketTagging"                 Bucket  Head Empty   Changes false;
    GetBucketVersioning                GET    Bucket  "versioning"        Plain  "s3:GetBucketVersioning"              Bucket  Head Empty   Reads   false;
    PutBucketVersioning                PUT    Bucket  "versioning"        Plain  "s3:PutBucketVersioning"              Bucket  Head Xml     Changes false;
    GetBucketWebsite                   GET    Bucket  "website"           Plain  "s3:GetBucketWebsite"                 Bucket  Head Empty   Reads   false;
    DeleteBucketWebsite                DELETE Bucket  "website"           Plain  "s3:DeleteBucketWebsite"              Bucket  Head Empty   Changes false;
    ListBuckets                        GET    Service ""                  Plain  "s3:ListAllMyBuckets"                 Service Head Empty   Reads   true;
}

impl Operation {
    /// Returns its row of the table.
    pub fn row(self) -> &'static OperationRow {
        &TABLE[self as usize]
    }

    /// Returns what it has in common with operations of other APIs.
    pub fn facts(self) -> &'static OperationFacts {
        &self.row().facts
    }

    /// What it is judged as: of an object, or of a named version of it.
    pub(crate) fn action(self, of_version: bool) -> &'static str {
        match self.facts().action {
            "s3:GetObject" if of_version => "s3:GetObjectVersion",
            "s3:GetObjectAttributes" if of_version => "s3:GetObjectVersionAttributes",
            "s3:GetObjectAcl" if of_version => "s3:GetObjectVersionAcl",
            "s3:PutObjectAcl" if of_version => "s3:PutObjectVersionAcl",
            "s3:GetObjectTagging" if of_version => "s3:GetObjectVersionTagging",
            "s3:PutObjectTagging" if of_version => "s3:PutObjectVersionTagging",
            "s3:DeleteObjectTagging" if of_version => "s3:DeleteObjectVersionTagging",
            "s3:DeleteObject" if of_version => "s3:DeleteObjectVersion",
            action => action,
        }
    }

    /// Whether a presigned URL of signature version 2 can ask for it: an object read or written whole.
    pub(crate) fn takes_v2(self) -> bool {
        matches!(self, Operation::GetObject | Operation::HeadObject | Operation::PutObject)
    }

    /// Finds the operation that a request head asks for; `None` when no such one is served.
    pub(crate) fn find(method: &Method, level: Level, subresource: &str, form: Form) -> Option<Operation> {
        let fits = |row: &OperationRow| {
            row.level == level
                && row.form == form
                && row.subresource == subresource
                && row.method == method.as_str()
        };
        Operation::ALL.iter().copied().find(|operation| fits(operation.row()))
    }
}

/// Whether a parameter of this name turns a request into an operation that is served.
pub(crate) fn is_subresource(name: &str) -> bool {
    !name.is_empty() && TABLE.iter().any(|row| row.subresource == name)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn names_and_places_are_unique() {
        let mut names = HashSet::new();
        let mut places = HashSet::new();
        for operation in Operation::ALL {
            let row = operation.row();
            assert!(names.insert(row.facts.name), "{operation:?}");
            assert!(places.insert((row.method, row.level, row.subresource, row.form)), "{operation:?}");
            assert_eq!(row.facts.name, format!("{operation:?}"));
            assert!(row.facts.action.starts_with("s3:"), "{operation:?}");
            let reads = matches!(row.method, "GET" | "HEAD");
            assert_eq!(row.facts.effect == Effect::Reads, reads, "{operation:?}");
            let judged = match row.level {
                Level::Service => ResourceKind::Service,
                Level::Bucket => ResourceKind::Bucket,
                Level::Object => ResourceKind::Object,
            };
            assert!(row.facts.resource == judged || row.facts.named == NamedIn::Body, "{operation:?}");
        }
    }

    /// The operations that the table in docs/s3.md says are served.
    fn documented() -> BTreeSet<&'static str> {
        let page = include_str!("../../../docs/s3.md");
        let table = page.split("## Operations").nth(1).and_then(|rest| rest.split("## ").next());
        let rows = table.expect("the section").lines().filter(|line| line.starts_with('|')).skip(2);
        let mut names = BTreeSet::new();
        for row in rows {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let (named, served) = (cells.next().expect("a cell"), cells.next().expect("a cell"));
            if served != "no" {
                for name in named.split(", ") {
                    assert!(names.insert(name), "{name} stands twice");
                }
            }
        }
        names
    }

    /// How a request asks for it.
    fn request(row: &OperationRow) -> String {
        let path = match row.level {
            Level::Service => "/",
            Level::Bucket => "/BUCKET",
            Level::Object => "/BUCKET/KEY",
        };
        let query = match (row.form, row.subresource) {
            (Form::ListV2, _) => "?list-type=2".to_owned(),
            (_, "") => String::new(),
            (_, name) => format!("?{name}"),
        };
        let more = if row.form == Form::Copy { " with `x-amz-copy-source`" } else { "" };
        format!("`{} {path}{query}`{more}", row.method)
    }

    /// The body of a function of a test's source; nothing if there is none of that name.
    fn body_of<'a>(source: &'a str, name: &str) -> Option<&'a str> {
        let from = ["\ndef ", "\nfn ", "\n    fn "].iter().find_map(|kind| {
            let start = source.find(&format!("{kind}{name}("))?;
            Some(&source[start + 1..])
        })?;
        let end = ["\n\n\n", "\n}\n"].iter().filter_map(|end| from.find(end)).min();
        Some(&from[..end.unwrap_or(from.len())])
    }

    /// `GetBucketCors` as boto3 spells it.
    fn as_a_method(name: &str) -> String {
        let mut spelt = String::new();
        for (nth, letter) in name.replace("V2", "_v2").chars().enumerate() {
            if letter.is_ascii_uppercase() && 0 < nth {
                spelt.push('_');
            }
            spelt.push(letter.to_ascii_lowercase());
        }
        spelt
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads sources where no core runs")]
    fn the_matrix_has_each_operation_with_a_test_that_asks_for_it() {
        let page = include_str!("../../../docs/s3.md");
        let table = page.split("## Support matrix").nth(1).and_then(|rest| rest.split("\n## ").next());
        let rows = table.expect("the section").lines().filter(|line| line.starts_with("| ")).skip(1);
        let rows: Vec<Vec<&str>> =
            rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
        let made = Operation::ALL.iter().map(|operation| {
            let row = operation.row();
            (row.facts.name.to_owned(), request(row), format!("`{}`", row.facts.action))
        });
        let told = rows.iter().map(|row| (row[0].to_owned(), row[1].to_owned(), row[2].to_owned()));
        assert_eq!(told.collect::<Vec<_>>(), made.collect::<Vec<_>>());
        for row in rows {
            let shown = row[3].trim_matches('`');
            let (file, test) = shown.split_once(' ').expect("a file and a test");
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(file);
            let source =
                std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            let body = body_of(&source, test).unwrap_or_else(|| panic!("{file} has no {test}"));
            let raw = Operation::ALL.iter().find(|operation| operation.facts().name == row[0]);
            let raw = raw.map_or("", |operation| operation.row().subresource);
            let names = [as_a_method(row[0]), row[0].to_owned(), format!(".query(\"{raw}\"")];
            let asks = names.iter().any(|name| body.contains(name.as_str()));
            assert!(asks, "{shown} does not ask for {}", row[0]);
        }
    }

    #[test]
    fn the_page_lists_what_is_served() {
        let served: BTreeSet<&str> = Operation::ALL.iter().map(|operation| operation.facts().name).collect();
        assert_eq!(documented(), served);
    }
}
