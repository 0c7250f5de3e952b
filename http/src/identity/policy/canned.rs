//! The policies that every store has.
//!
//! The identity model shows them as `arn:aws:iam::aws:policy/NAME`, and nobody can change them. I1. A test holds each
//! against the tables of operations, so that a new operation is put to them by decision.

use super::document::{Policy, PolicyError, PolicyKind};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canned {
    /// Its name.
    pub name: &'static str,
    /// What it lets its holder do.
    pub description: &'static str,
    /// The policy.
    pub text: &'static str,
}

/// All of them, in the order of docs/access.md.
pub const CANNED: [Canned; 7] = [
    Canned {
        name: "readonly",
        description: "Read and list all buckets and objects.",
        text: r#"{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "Read",
    "Effect": "Allow",
    "Action": ["s3:Get*", "s3:List*"],
    "Resource": "*"
  }]
}"#,
    },
    Canned {
        name: "readwrite",
        description: "Everything that S3 has: buckets, objects and their settings.",
        text: r#"{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "All",
    "Effect": "Allow",
    "Action": "s3:*",
    "Resource": "*"
  }]
}"#,
    },
    Canned {
        name: "writeonly",
        description: "Put objects, whole or in parts, and read, list and delete nothing.",
        text: r#"{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "Write",
    "Effect": "Allow",
    "Action": [
      "s3:PutObject",
      "s3:PutObjectTagging",
      "s3:AbortMultipartUpload",
      "s3:ListMultipartUploadParts",
      "s3:GetBucketLocation"
    ],
    "Resource": "arn:aws:s3:::*"
  }]
}"#,
    },
    Canned {
        name: "tables-reader",
        description: "Read the catalog of all warehouses, and the data of all tables.",
        text: r#"{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "Read",
    "Effect": "Allow",
    "Action": ["s3tables:Get*", "s3tables:List*", "s3tables:TableMetrics"],
    "Resource": "*"
  }]
}"#,
    },
    Canned {
        name: "tables-writer",
        description: "Read, and create, change and drop namespaces, tables and views with their data, in all warehouses.",
        text: r#"{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "Read",
    "Effect": "Allow",
    "Action": ["s3tables:Get*", "s3tables:List*", "s3tables:TableMetrics"],
    "Resource": "*"
  }, {
    "Sid": "Write",
    "Effect": "Allow",
    "Action": [
      "s3tables:CreateNamespace",
      "s3tables:UpdateNamespaceProperties",
      "s3tables:DeleteNamespace",
      "s3tables:CreateTable",
      "s3tables:RegisterTable",
      "s3tables:UpdateTable",
      "s3tables:UpdateTableMetadataLocation",
      "s3tables:RenameTable",
      "s3tables:DeleteTable",
      "s3tables:PutTableData",
      "s3tables:CreateView",
      "s3tables:RegisterView",
      "s3tables:UpdateView",
      "s3tables:RenameView",
      "s3tables:DeleteView"
    ],
    "Resource": "*"
  }]
}"#,
    },
    Canned {
        name: "admin",
        description: "Everything: data, catalog, identities and the server.",
        text: r#"{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "All",
    "Effect": "Allow",
    "Action": "*",
    "Resource": "*"
  }]
}"#,
    },
    Canned {
        name: "diagnostics",
        description: "See how the server is: health, metrics and what it is working on, the scrub and purges with names of objects. No data, no change.",
        text: r#"{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "See",
    "Effect": "Allow",
    "Action": ["admin:Health", "admin:Prometheus", "admin:ServerInfo"],
    "Resource": "*"
  }]
}"#,
    },
];

impl Canned {
    /// Returns its ARN, which is no account's.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::aws:policy/{}", self.name)
    }

    /// Reads it; decisions call it by its ARN.
    pub fn policy(&self, account: &str) -> Result<Policy, PolicyError> {
        Policy::parse(self.text, PolicyKind::Identity, &self.arn(), account)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nilas_catalog::access::{Effect, OperationFacts};

    use super::super::{NoContext, PolicySet, PrincipalNames, Question, Verdict};
    use super::*;

    fn allows(name: &str, action: &str) -> bool {
        let canned = CANNED.iter().find(|canned| canned.name == name).expect("a canned policy");
        let set = PolicySet::new([Arc::new(canned.policy("111122223333").expect("a policy"))]);
        let resource = match action.split_once(':') {
            Some(("s3", _)) if action != "s3:ListAllMyBuckets" => "arn:aws:s3:::b/k",
            Some(("s3tables", _)) if action != "s3tables:ListTableBuckets" => {
                "arn:aws:s3tables:::bucket/W/table/1"
            }
            _ => "*",
        };
        let principal = &PrincipalNames::ANONYMOUS;
        let question = Question { action, resource, principal, context: &NoContext };
        matches!(set.decide(&question), Verdict::Allow(_))
    }

    /// Every operation against every policy.
    #[test]
    fn what_each_allows() {
        let check = |name: &str, want: &dyn Fn(&OperationFacts) -> bool| {
            for facts in crate::operations::AnyOperation::all().filter_map(|operation| operation.facts()) {
                assert_eq!(allows(name, facts.action), want(facts), "{name} {}", facts.action);
            }
        };
        let service = |facts: &OperationFacts| facts.action.split(':').next().unwrap_or_default();
        let reads = |facts: &OperationFacts| facts.effect == Effect::Reads;
        let of_warehouses = |facts: &OperationFacts| {
            ["s3tables:CreateTableBucket", "s3tables:DeleteTableBucket"].contains(&facts.action)
        };
        check("admin", &|_| true);
        check("readwrite", &|facts| service(facts) == "s3");
        // What lists the parts of an upload reads as well.
        check("readonly", &|facts| service(facts) == "s3" && reads(facts));
        check("writeonly", &|facts| {
            let actions = [
                "s3:PutObject",
                "s3:PutObjectTagging",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
                "s3:GetBucketLocation",
            ];
            actions.contains(&facts.action)
        });
        check("tables-reader", &|facts| service(facts) == "s3tables" && reads(facts));
        check("tables-writer", &|facts| service(facts) == "s3tables" && !of_warehouses(facts));
        check("diagnostics", &|facts| {
            ["admin:Health", "admin:Prometheus", "admin:ServerInfo"].contains(&facts.action) && reads(facts)
        });
    }

    #[test]
    fn rights_beside_the_tables_of_operations() {
        let check =
            |name: &str, action: &str, want: bool| assert_eq!(allows(name, action), want, "{name} {action}");
        check("tables-reader", "s3tables:GetTableData", true);
        check("tables-reader", "s3tables:PutTableData", false);
        check("tables-writer", "s3tables:PutTableData", true);
        check("tables-writer", "s3tables:PutTablePolicy", false);
        check("tables-writer", "s3tables:PutTableMaintenanceConfiguration", false);
        check("readwrite", "iam:CreateUser", false);
        check("readwrite", "sts:AssumeRole", false);
        check("readonly", "s3:BypassGovernanceRetention", false);
        check("diagnostics", "admin:Heal", false);
        check("admin", "iam:CreateUser", true);
        check("admin", "sts:AssumeRole", true);
    }
}
