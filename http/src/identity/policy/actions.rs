//! The actions that are known, and sets of them.
//!
//! `document` compiles what a statement says of actions into an [`ActionSet`], `set` asks it by number. An action that is
//! not listed here may stand in a policy, as in AWS; it is compared by its text when somebody asks for it.
//! I1. Names are compared without regard to case. I2. `…Warehouse…` and `…TableBucket…` are one action.
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3", "… S3 Tables",
//! "… IAM", "… STS".

use std::sync::OnceLock;

/// A service whose actions are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    S3,
    S3Tables,
    Iam,
    Sts,
    Admin,
}

impl Service {
    pub(super) const COUNT: usize = 5;

    /// Finds the service of a name in lower case.
    pub(super) fn of_name(name: &str) -> Option<Service> {
        Some(match name {
            "s3" => Service::S3,
            "s3tables" => Service::S3Tables,
            "iam" => Service::Iam,
            "sts" => Service::Sts,
            "admin" => Service::Admin,
            _ => return None,
        })
    }
}

/// What an action of S3 is judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Service,
    Bucket,
    Object,
}

use On::{Bucket, Object};

/// The actions of S3, each with what it is judged on.
const S3: &[(&str, On)] = &[
    ("AbortMultipartUpload", Object),
    ("BypassGovernanceRetention", Object),
    ("CreateBucket", Bucket),
    ("DeleteBucket", Bucket),
    ("DeleteBucketOwnershipControls", Bucket),
    ("DeleteBucketPolicy", Bucket),
    ("DeleteBucketPublicAccessBlock", Bucket),
    ("DeleteBucketWebsite", Bucket),
    ("DeleteObject", Object),
    ("DeleteObjectTagging", Object),
    ("DeleteObjectVersion", Object),
    ("DeleteObjectVersionTagging", Object),
    ("GetAccelerateConfiguration", Bucket),
    ("GetAccountPublicAccessBlock", On::Service),
    ("GetAnalyticsConfiguration", Bucket),
    ("GetBucketAbac", Bucket),
    ("GetBucketAcl", Bucket),
    ("GetBucketCORS", Bucket),
    ("GetBucketLocation", Bucket),
    ("GetBucketLogging", Bucket),
    ("GetBucketNotification", Bucket),
    ("GetBucketObjectLockConfiguration", Bucket),
    ("GetBucketOwnershipControls", Bucket),
    ("GetBucketPolicy", Bucket),
    ("GetBucketPolicyStatus", Bucket),
    ("GetBucketPublicAccessBlock", Bucket),
    ("GetBucketRequestPayment", Bucket),
    ("GetBucketTagging", Bucket),
    ("GetBucketVersioning", Bucket),
    ("GetBucketWebsite", Bucket),
    ("GetEncryptionConfiguration", Bucket),
    ("GetIntelligentTieringConfiguration", Bucket),
    ("GetInventoryConfiguration", Bucket),
    ("GetLifecycleConfiguration", Bucket),
    ("GetMetricsConfiguration", Bucket),
    ("GetObject", Object),
    ("GetObjectAcl", Object),
    ("GetObjectAttributes", Object),
    ("GetObjectLegalHold", Object),
    ("GetObjectRetention", Object),
    ("GetObjectTagging", Object),
    ("GetObjectTorrent", Object),
    ("GetObjectVersion", Object),
    ("GetObjectVersionAcl", Object),
    ("GetObjectVersionAttributes", Object),
    ("GetObjectVersionForReplication", Object),
    ("GetObjectVersionTagging", Object),
    ("GetObjectVersionTorrent", Object),
    ("GetReplicationConfiguration", Bucket),
    ("InitiateReplication", Object),
    ("ListAllMyBuckets", On::Service),
    ("ListBucket", Bucket),
    ("ListBucketMultipartUploads", Bucket),
    ("ListBucketVersions", Bucket),
    ("ListMultipartUploadParts", Object),
    ("ListTagsForResource", Bucket),
    ("ObjectOwnerOverrideToBucketOwner", Object),
    ("PutAccelerateConfiguration", Bucket),
    ("PutAccountPublicAccessBlock", On::Service),
    ("PutAnalyticsConfiguration", Bucket),
    ("PutBucketAbac", Bucket),
    ("PutBucketAcl", Bucket),
    ("PutBucketCORS", Bucket),
    ("PutBucketLogging", Bucket),
    ("PutBucketNotification", Bucket),
    ("PutBucketObjectLockConfiguration", Bucket),
    ("PutBucketOwnershipControls", Bucket),
    ("PutBucketPolicy", Bucket),
    ("PutBucketPublicAccessBlock", Bucket),
    ("PutBucketRequestPayment", Bucket),
    ("PutBucketTagging", Bucket),
    ("PutBucketVersioning", Bucket),
    ("PutBucketWebsite", Bucket),
    ("PutEncryptionConfiguration", Bucket),
    ("PutIntelligentTieringConfiguration", Bucket),
    ("PutInventoryConfiguration", Bucket),
    ("PutLifecycleConfiguration", Bucket),
    ("PutMetricsConfiguration", Bucket),
    ("PutObject", Object),
    ("PutObjectAcl", Object),
    ("PutObjectLegalHold", Object),
    ("PutObjectRetention", Object),
    ("PutObjectTagging", Object),
    ("PutObjectVersionAcl", Object),
    ("PutObjectVersionTagging", Object),
    ("PutReplicationConfiguration", Bucket),
    ("RenameObject", Object),
    ("ReplicateDelete", Object),
    ("ReplicateObject", Object),
    ("ReplicateTags", Object),
    ("RestoreObject", Object),
    ("TagResource", Bucket),
    ("UntagResource", Bucket),
    ("UpdateObjectEncryption", Object),
];

/// The actions of S3 Tables and of the Iceberg catalog over it.
const S3TABLES: &[&str] = &[
    "CreateFunction",
    "CreateNamespace",
    "CreateTable",
    "CreateTableBucket",
    "CreateView",
    "DeleteFunction",
    "DeleteNamespace",
    "DeleteTable",
    "DeleteTableAnnotation",
    "DeleteTableBucket",
    "DeleteTableBucketEncryption",
    "DeleteTableBucketMetricsConfiguration",
    "DeleteTableBucketPolicy",
    "DeleteTableBucketReplication",
    "DeleteTableEncryption",
    "DeleteTablePolicy",
    "DeleteTableReplication",
    "DeleteView",
    "GetConfig",
    "GetFunction",
    "GetNamespace",
    "GetTable",
    "GetTableAnnotation",
    "GetTableBucket",
    "GetTableBucketEncryption",
    "GetTableBucketMaintenanceConfiguration",
    "GetTableBucketMetricsConfiguration",
    "GetTableBucketPolicy",
    "GetTableBucketReplication",
    "GetTableBucketStorageClass",
    "GetTableData",
    "GetTableEncryption",
    "GetTableMaintenanceConfiguration",
    "GetTableMaintenanceJobStatus",
    "GetTableMetadataLocation",
    "GetTablePolicy",
    "GetTableRecordExpirationConfiguration",
    "GetTableRecordExpirationJobStatus",
    "GetTableReplication",
    "GetTableReplicationStatus",
    "GetTableStorageClass",
    "GetToken",
    "GetView",
    "ListFunctions",
    "ListNamespaces",
    "ListTableAnnotations",
    "ListTableBuckets",
    "ListTables",
    "ListTagsForResource",
    "ListTagsForTable",
    "ListTagsForTableBucket",
    "ListViews",
    "PutTableAnnotation",
    "PutTableBucketEncryption",
    "PutTableBucketMaintenanceConfiguration",
    "PutTableBucketMetricsConfiguration",
    "PutTableBucketPolicy",
    "PutTableBucketReplication",
    "PutTableBucketStorageClass",
    "PutTableData",
    "PutTableEncryption",
    "PutTableMaintenanceConfiguration",
    "PutTablePolicy",
    "PutTableRecordExpirationConfiguration",
    "PutTableReplication",
    "PutTableStorageClass",
    "RegisterFunction",
    "RegisterTable",
    "RegisterView",
    "RenameFunction",
    "RenameTable",
    "RenameView",
    "TableMetrics",
    "TagResource",
    "TagTable",
    "TagTableBucket",
    "UntagResource",
    "UntagTable",
    "UntagTableBucket",
    "UpdateFunction",
    "UpdateNamespaceProperties",
    "UpdateTable",
    "UpdateTableMetadataLocation",
    "UpdateView",
];

/// The actions of IAM that are asked for here.
const IAM: &[&str] = &[
    "AddUserToGroup",
    "AttachGroupPolicy",
    "AttachUserPolicy",
    "CreateAccessKey",
    "CreateGroup",
    "CreatePolicy",
    "CreatePolicyVersion",
    "CreateUser",
    "DeactivateMFADevice",
    "DeleteAccessKey",
    "DeleteGroup",
    "DeleteGroupPolicy",
    "DeleteLoginProfile",
    "DeletePolicy",
    "DeletePolicyVersion",
    "DeleteRole",
    "DeleteSSHPublicKey",
    "DeleteServerCertificate",
    "DeleteServiceSpecificCredential",
    "DeleteSigningCertificate",
    "DeleteUser",
    "DeleteUserPermissionsBoundary",
    "DeleteUserPolicy",
    "DeleteVirtualMFADevice",
    "DetachGroupPolicy",
    "DetachUserPolicy",
    "GetAccessKeyLastUsed",
    "GetAccountAuthorizationDetails",
    "GetAccountPasswordPolicy",
    "GetAccountSummary",
    "GetContextKeysForCustomPolicy",
    "GetContextKeysForPrincipalPolicy",
    "GetGroup",
    "GetGroupPolicy",
    "GetInstanceProfile",
    "GetLoginProfile",
    "GetOpenIDConnectProvider",
    "GetPolicy",
    "GetPolicyVersion",
    "GetRole",
    "GetRolePolicy",
    "GetSAMLProvider",
    "GetSSHPublicKey",
    "GetServerCertificate",
    "GetUser",
    "GetUserPolicy",
    "ListAccessKeys",
    "ListAccountAliases",
    "ListAttachedGroupPolicies",
    "ListAttachedRolePolicies",
    "ListAttachedUserPolicies",
    "ListEntitiesForPolicy",
    "ListGroupPolicies",
    "ListGroups",
    "ListGroupsForUser",
    "ListInstanceProfiles",
    "ListInstanceProfilesForRole",
    "ListMFADeviceTags",
    "ListMFADevices",
    "ListOpenIDConnectProviders",
    "ListPolicies",
    "ListPolicyTags",
    "ListPolicyVersions",
    "ListRolePolicies",
    "ListRoleTags",
    "ListRoles",
    "ListSAMLProviders",
    "ListSSHPublicKeys",
    "ListServerCertificates",
    "ListServiceSpecificCredentials",
    "ListSigningCertificates",
    "ListUserPolicies",
    "ListUserTags",
    "ListUsers",
    "ListVirtualMFADevices",
    "PutGroupPolicy",
    "PutUserPolicy",
    "RemoveUserFromGroup",
    "SetDefaultPolicyVersion",
    "SimulateCustomPolicy",
    "SimulatePrincipalPolicy",
    "TagPolicy",
    "TagUser",
    "UntagPolicy",
    "UntagUser",
    "UpdateAccessKey",
    "UpdateGroup",
    "UpdateLoginProfile",
    "UpdateUser",
];

const STS: &[&str] = &[
    "AssumeRole",
    "AssumeRoleWithClientGrants",
    "AssumeRoleWithSAML",
    "AssumeRoleWithWebIdentity",
    "DecodeAuthorizationMessage",
    "GetAccessKeyInfo",
    "GetCallerIdentity",
    "GetFederationToken",
    "GetSessionToken",
    "SetSourceIdentity",
    "TagSession",
];

/// The actions of the server's own pages and of its command line.
const ADMIN: &[&str] = &[
    "Audit",
    "ChangeBucketOwner",
    "GetBucketQuota",
    "GetLifecycle",
    "Heal",
    "Health",
    "KMSCreateKey",
    "KMSKeyStatus",
    "KMSRotateKey",
    "ListOwners",
    "PreviewLifecycle",
    "Prometheus",
    "Provision",
    "RevokeSessions",
    "ServerInfo",
    "SetBucketQuota",
    "Simulate",
    "WhoAmI",
    "WhoCan",
];

const COUNT: usize = S3.len() + S3TABLES.len() + IAM.len() + STS.len() + ADMIN.len();
const WORDS: usize = COUNT.div_ceil(64);

/// A known action: its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ActionNumber(usize);

struct Known {
    /// As `s3:GetObject`.
    name: String,
    /// In lower case, each spelling; the first is the name's.
    spellings: Vec<String>,
    service: Service,
    on: On,
}

/// All known actions, and their spellings in order with the number of each.
struct Table {
    actions: Vec<Known>,
    sorted: Vec<(String, usize)>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let plain = |service: Service, prefix: &'static str, names: &'static [&'static str]| {
            names.iter().map(move |name| (service, prefix, *name, On::Service))
        };
        let rows = S3
            .iter()
            .map(|(name, on)| (Service::S3, "s3", *name, *on))
            .chain(plain(Service::S3Tables, "s3tables", S3TABLES))
            .chain(plain(Service::Iam, "iam", IAM))
            .chain(plain(Service::Sts, "sts", STS))
            .chain(plain(Service::Admin, "admin", ADMIN));
        let actions: Vec<Known> = rows
            .map(|(service, prefix, name, on)| {
                let name = format!("{prefix}:{name}");
                let mut spellings = vec![name.to_ascii_lowercase()];
                if service == Service::S3Tables && name.contains("TableBucket") {
                    spellings.push(name.replace("TableBucket", "Warehouse").to_ascii_lowercase());
                }
                Known { name, spellings, service, on }
            })
            .collect();
        let mut sorted: Vec<(String, usize)> = actions
            .iter()
            .enumerate()
            .flat_map(|(nth, known)| known.spellings.iter().map(move |spelling| (spelling.clone(), nth)))
            .collect();
        sorted.sort();
        Table { actions, sorted }
    })
}

/// Finds a known action by any of its spellings.
pub(super) fn find(action: &str) -> Option<ActionNumber> {
    let sorted = &table().sorted;
    let folded = || action.bytes().map(|byte| byte.to_ascii_lowercase());
    let at = sorted.binary_search_by(|(spelling, _)| spelling.bytes().cmp(folded())).ok()?;
    Some(ActionNumber(sorted[at].1))
}

/// The names of all known actions.
pub fn known_actions() -> impl Iterator<Item = &'static str> {
    table().actions.iter().map(|known| known.name.as_str())
}

/// One action as a policy writes it: `service:name` with wildcards in the name, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActionPattern(
    /// In lower case.
    Box<str>,
);

impl ActionPattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<ActionPattern, String> {
        if text == "*" {
            return Ok(ActionPattern("*".into()));
        }
        let Some((service, name)) = text.split_once(':') else {
            return Err(format!("{text:?} does not begin with a service, as in s3:GetObject"));
        };
        let is_service = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if service.is_empty() || !service.bytes().all(is_service) {
            return Err(format!("{service:?} is not the name of a service"));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"*?-_".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(format!("{name:?} is not the name of an action"));
        }
        Ok(ActionPattern(text.to_ascii_lowercase().into()))
    }

    /// Whether an action in lower case fits.
    fn fits(&self, action: &str) -> bool {
        &*self.0 == "*" || super::pattern::glob(&self.0, action)
    }

    /// The known actions that fit.
    fn known(&self) -> impl Iterator<Item = (usize, &'static Known)> {
        let fits = |known: &Known| known.spellings.iter().any(|spelling| self.fits(spelling));
        table().actions.iter().enumerate().filter(move |(_, known)| fits(known))
    }

    /// Whether it stands for actions that are judged on a bucket, for such on an object, and for such on a warehouse or what is
    /// in it.
    pub(super) fn bucket_kinds(&self) -> [bool; 3] {
        let mut kinds = [false; 3];
        for (_, known) in self.known() {
            match known.service {
                Service::S3 => {
                    kinds[0] |= known.on == Bucket;
                    kinds[1] |= known.on == Object;
                }
                Service::S3Tables => kinds[2] = true,
                _ => {}
            }
        }
        kinds
    }
}

/// Known actions, by number.
pub(super) type ActionBits = [u64; WORDS];

/// What an action on an object amounts to where the object is a file of a table: the right on that table's data.
/// Source: MinIO AIStor Tables, implied rights. DeleteTable deletes files because engines purge from the client.
pub(super) const DATA_ACTIONS: [(&str, &str); 12] = [
    ("s3:GetObject", "s3tables:GetTableData"),
    ("s3:GetObjectVersion", "s3tables:GetTableData"),
    ("s3:GetObjectAttributes", "s3tables:GetTableData"),
    ("s3:GetObjectVersionAttributes", "s3tables:GetTableData"),
    ("s3:ListMultipartUploadParts", "s3tables:GetTableData"),
    ("s3:PutObject", "s3tables:PutTableData"),
    ("s3:AbortMultipartUpload", "s3tables:PutTableData"),
    ("s3:ListBucket", "s3tables:PutTableData"),
    ("s3:ListBucketVersions", "s3tables:PutTableData"),
    ("s3:ListBucketMultipartUploads", "s3tables:PutTableData"),
    ("s3:DeleteObject", "s3tables:DeleteTable"),
    ("s3:DeleteObjectVersion", "s3tables:DeleteTable"),
];

/// The right on a table's data that `action` on one of its files amounts to.
pub fn data_action(action: &str) -> Option<&'static str> {
    DATA_ACTIONS.iter().find(|(object, _)| *object == action).map(|(_, data)| *data)
}

/// The actions of a statement.
#[derive(Debug)]
pub(super) struct ActionSet {
    patterns: Box<[ActionPattern]>,
    is_negated: bool,
    bits: ActionBits,
}

impl ActionSet {
    /// The actions that fit one of `patterns`, or all others.
    pub(super) fn new(patterns: Vec<ActionPattern>, is_negated: bool) -> ActionSet {
        let mut bits = if is_negated { [u64::MAX; WORDS] } else { [0; WORDS] };
        for (nth, _) in patterns.iter().flat_map(ActionPattern::known) {
            match is_negated {
                true => bits[nth / 64] &= !(1 << (nth % 64)),
                false => bits[nth / 64] |= 1 << (nth % 64),
            }
        }
        ActionSet { patterns: patterns.into(), is_negated, bits }
    }

    /// Returns those that are known.
    pub(super) fn bits(&self) -> &ActionBits {
        &self.bits
    }

    /// Returns what it was made of.
    pub(super) fn patterns(&self) -> &[ActionPattern] {
        &self.patterns
    }

    /// Whether the statement names what it does not speak of.
    pub(super) fn is_negated(&self) -> bool {
        self.is_negated
    }

    /// Whether an action, known or not, is one of them.
    pub(super) fn contains(&self, action: &str) -> bool {
        match find(action) {
            Some(number) => number.is_in(&self.bits),
            None => {
                let action = action.to_ascii_lowercase();
                self.patterns.iter().any(|pattern| pattern.fits(&action)) != self.is_negated
            }
        }
    }
}

impl ActionNumber {
    /// Whether it is one of these.
    pub(super) fn is_in(self, bits: &ActionBits) -> bool {
        bits[self.0 / 64] & (1 << (self.0 % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_on_data_and_on_files_are_known() {
        for (object, data) in DATA_ACTIONS {
            assert!(find(object).is_some() && find(data).is_some(), "{object} {data}");
            assert_eq!(data_action(object), Some(data));
        }
        assert_eq!(data_action("s3:PutBucketPolicy"), None);
    }

    #[test]
    fn every_operation_has_a_known_action() {
        let operations = crate::operations::AnyOperation::all();
        for action in operations.filter_map(|operation| operation.facts()).map(|facts| facts.action) {
            assert!(find(action).is_some(), "{action}");
            assert!(known_actions().any(|known| known == action), "{action}: another spelling");
        }
    }

    #[test]
    fn names_are_found_without_regard_to_case_and_by_alias() {
        let mut seen = std::collections::HashSet::new();
        for (nth, name) in known_actions().enumerate() {
            assert!(seen.insert(name), "{name} stands twice");
            assert_eq!(find(name), Some(ActionNumber(nth)), "{name}");
            assert_eq!(find(&name.to_ascii_uppercase()), Some(ActionNumber(nth)), "{name}");
        }
        assert_eq!(seen.len(), COUNT);
        assert_eq!(find("s3tables:ListWarehouses"), find("s3tables:ListTableBuckets"));
        assert_eq!(find("s3tables:getwarehouseencryption"), find("s3tables:GetTableBucketEncryption"));
        for unknown in ["", "s3:", "s3:GetObjectX", "s3:GetObjec", "GetObject", "ec2:RunInstances", "*"] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn patterns() {
        let check = |pattern: &str, action: &str, want: bool| {
            let set =
                |is_negated| ActionSet::new(vec![ActionPattern::parse(pattern).expect(pattern)], is_negated);
            assert_eq!(set(false).contains(action), want, "{pattern} {action}");
            assert_eq!(set(true).contains(action), !want, "not {pattern} {action}");
        };
        check("*", "s3:GetObject", true);
        check("*", "ec2:RunInstances", true);
        check("s3:*", "s3:GetObject", true);
        check("s3:*", "s3tables:GetTable", false);
        check("S3:getobject", "s3:GetObject", true);
        check("s3:Get*", "s3:GetObject", true);
        check("s3:Get*", "s3:PutObject", false);
        check("s3:?etObject", "s3:GetObject", true);
        check("s3:*Object*", "s3:GetObjectTagging", true);
        check("s3tables:*Warehouse*", "s3tables:GetTableBucket", true);
        check("s3tables:*TableBucket", "s3tables:GetWarehouse", true);
        check("ec2:Run*", "EC2:runinstances", true);
        check("ec2:Run*", "ec2:StopInstances", false);
        check("s3:New*", "s3:NewThing", true);
    }

    #[test]
    fn malformed() {
        for bad in [
            "",
            "GetObject",
            ":GetObject",
            "s3:",
            "s*:GetObject",
            "s3:Get Object",
            "s3:Get:Object",
            "s3 :Get",
            "**",
        ] {
            assert!(ActionPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds() {
        let check = |pattern: &str, want: [bool; 3]| {
            assert_eq!(ActionPattern::parse(pattern).expect(pattern).bucket_kinds(), want, "{pattern}");
        };
        check("s3:GetObject", [false, true, false]);
        check("s3:ListBucket", [true, false, false]);
        check("s3:*", [true, true, false]);
        check("*", [true, true, true]);
        check("s3tables:GetTable", [false, false, true]);
        check("s3:ListAllMyBuckets", [false, false, false]);
        check("s3:Nothing", [false, false, false]);
        check("iam:*", [false, false, false]);
    }
}
