//! The one table of the query API's operations: what is served, and what it is judged by.
//!
//! `query` finds rows by it and answers in their names, metrics count by them, and a test holds docs/access.md against it.
//! An operation is added as one row here and its handler, which the compiler asks for. All of them name what they are
//! judged on in their form.
//! Source of the actions: Service Authorization Reference, "Actions defined by AWS Identity and Access Management".

use nilas_catalog::access::{Api, BodyKind, Effect, NamedIn, OperationFacts, ResourceKind};

/// One row.
#[derive(Debug)]
pub struct OperationRow {
    /// What all tables of operations have in common.
    pub facts: OperationFacts,
    /// The root of its answer.
    pub response: &'static str,
    /// The element of its answer that holds what is told; empty when nothing is.
    pub result: &'static str,
    /// What group of operations it belongs to.
    pub group: Group,
}

/// Groups of operations, a file of handlers for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Group {
    Users,
    Groups,
    Keys,
    /// Policies inside and attached to users and groups.
    Grants,
    Policies,
    Account,
    Simulation,
    /// What this account never has: lists of it are empty.
    Empty,
    /// The same, asked for by name: there is no such one.
    Absent,
    /// Sessions.
    Sts,
}

/// What follows the name of an operation in the name of its result.
macro_rules! result {
    ($operation:ident Told) => {
        concat!(stringify!($operation), "Result")
    };
    ($operation:ident Done) => {
        ""
    };
}

macro_rules! operations {
    ($($operation:ident $action:literal $resource:ident $effect:ident $told:ident $group:ident;)*) => {
        /// The operations that are served.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "AWS's own names")]
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
                api: Api::Iam,
                action: $action,
                resource: ResourceKind::$resource,
                named: NamedIn::Body,
                body: BodyKind::Form,
                effect: Effect::$effect,
            },
            response: concat!(stringify!($operation), "Response"),
            result: result!($operation $told),
            group: Group::$group,
        },)*];
    };
}

operations! {
//  name, action, judged on, effect, whether something is told, group
    CreateUser                       "iam:CreateUser"                       Identity Changes Told Users;
    GetUser                          "iam:GetUser"                          Identity Reads   Told Users;
    UpdateUser                       "iam:UpdateUser"                       Identity Changes Done Users;
    ListUsers                        "iam:ListUsers"                        Identity Reads   Told Users;
    DeleteUser                       "iam:DeleteUser"                       Identity Changes Done Users;
    TagUser                          "iam:TagUser"                          Identity Changes Done Users;
    UntagUser                        "iam:UntagUser"                        Identity Changes Done Users;
    ListUserTags                     "iam:ListUserTags"                     Identity Reads   Told Users;
    CreateGroup                      "iam:CreateGroup"                      Identity Changes Told Groups;
    GetGroup                         "iam:GetGroup"                         Identity Reads   Told Groups;
    UpdateGroup                      "iam:UpdateGroup"                      Identity Changes Done Groups;
    ListGroups                       "iam:ListGroups"                       Identity Reads   Told Groups;
    DeleteGroup                      "iam:DeleteGroup"                      Identity Changes Done Groups;
    AddUserToGroup                   "iam:AddUserToGroup"                   Identity Changes Done Groups;
    RemoveUserFromGroup              "iam:RemoveUserFromGroup"              Identity Changes Done Groups;
    ListGroupsForUser                "iam:ListGroupsForUser"                Identity Reads   Told Groups;
    CreateAccessKey                  "iam:CreateAccessKey"                  Identity Changes Told Keys;
    ListAccessKeys                   "iam:ListAccessKeys"                   Identity Reads   Told Keys;
    UpdateAccessKey                  "iam:UpdateAccessKey"                  Identity Changes Done Keys;
    DeleteAccessKey                  "iam:DeleteAccessKey"                  Identity Changes Done Keys;
    GetAccessKeyLastUsed             "iam:GetAccessKeyLastUsed"             Identity Reads   Told Keys;
    PutUserPolicy                    "iam:PutUserPolicy"                    Identity Changes Done Grants;
    GetUserPolicy                    "iam:GetUserPolicy"                    Identity Reads   Told Grants;
    ListUserPolicies                 "iam:ListUserPolicies"                 Identity Reads   Told Grants;
    DeleteUserPolicy                 "iam:DeleteUserPolicy"                 Identity Changes Done Grants;
    PutGroupPolicy                   "iam:PutGroupPolicy"                   Identity Changes Done Grants;
    GetGroupPolicy                   "iam:GetGroupPolicy"                   Identity Reads   Told Grants;
    ListGroupPolicies                "iam:ListGroupPolicies"                Identity Reads   Told Grants;
    DeleteGroupPolicy                "iam:DeleteGroupPolicy"                Identity Changes Done Grants;
    AttachUserPolicy                 "iam:AttachUserPolicy"                 Identity Changes Done Grants;
    DetachUserPolicy                 "iam:DetachUserPolicy"                 Identity Changes Done Grants;
    ListAttachedUserPolicies         "iam:ListAttachedUserPolicies"         Identity Reads   Told Grants;
    AttachGroupPolicy                "iam:AttachGroupPolicy"                Identity Changes Done Grants;
    DetachGroupPolicy                "iam:DetachGroupPolicy"                Identity Changes Done Grants;
    ListAttachedGroupPolicies        "iam:ListAttachedGroupPolicies"        Identity Reads   Told Grants;
    CreatePolicy                     "iam:CreatePolicy"                     Identity Changes Told Policies;
    GetPolicy                        "iam:GetPolicy"                        Identity Reads   Told Policies;
    ListPolicies                     "iam:ListPolicies"                     Service  Reads   Told Policies;
    DeletePolicy                     "iam:DeletePolicy"                     Identity Changes Done Policies;
    CreatePolicyVersion              "iam:CreatePolicyVersion"              Identity Changes Told Policies;
    GetPolicyVersion                 "iam:GetPolicyVersion"                 Identity Reads   Told Policies;
    ListPolicyVersions               "iam:ListPolicyVersions"               Identity Reads   Told Policies;
    DeletePolicyVersion              "iam:DeletePolicyVersion"              Identity Changes Done Policies;
    SetDefaultPolicyVersion          "iam:SetDefaultPolicyVersion"          Identity Changes Done Policies;
    ListEntitiesForPolicy            "iam:ListEntitiesForPolicy"            Identity Reads   Told Policies;
    TagPolicy                        "iam:TagPolicy"                        Identity Changes Done Policies;
    UntagPolicy                      "iam:UntagPolicy"                      Identity Changes Done Policies;
    ListPolicyTags                   "iam:ListPolicyTags"                   Identity Reads   Told Policies;
    GetAccountSummary                "iam:GetAccountSummary"                Service  Reads   Told Account;
    GetAccountAuthorizationDetails   "iam:GetAccountAuthorizationDetails"   Service  Reads   Told Account;
    SimulatePrincipalPolicy          "iam:SimulatePrincipalPolicy"          Identity Reads   Told Simulation;
    SimulateCustomPolicy             "iam:SimulateCustomPolicy"             Service  Reads   Told Simulation;
    GetContextKeysForPrincipalPolicy "iam:GetContextKeysForPrincipalPolicy" Identity Reads   Told Simulation;
    GetContextKeysForCustomPolicy    "iam:GetContextKeysForCustomPolicy"    Service  Reads   Told Simulation;
    ListAccountAliases               "iam:ListAccountAliases"               Service  Reads   Told Empty;
    ListRoles                        "iam:ListRoles"                        Service  Reads   Told Empty;
    ListInstanceProfiles             "iam:ListInstanceProfiles"             Service  Reads   Told Empty;
    ListVirtualMFADevices            "iam:ListVirtualMFADevices"            Service  Reads   Told Empty;
    ListServerCertificates           "iam:ListServerCertificates"           Service  Reads   Told Empty;
    ListOpenIDConnectProviders       "iam:ListOpenIDConnectProviders"       Service  Reads   Told Empty;
    ListSAMLProviders                "iam:ListSAMLProviders"                Service  Reads   Told Empty;
    ListMFADevices                   "iam:ListMFADevices"                   Identity Reads   Told Empty;
    ListSigningCertificates          "iam:ListSigningCertificates"          Identity Reads   Told Empty;
    ListSSHPublicKeys                "iam:ListSSHPublicKeys"                Identity Reads   Told Empty;
    ListServiceSpecificCredentials   "iam:ListServiceSpecificCredentials"   Identity Reads   Told Empty;
    GetRole                          "iam:GetRole"                          Identity Reads   Told Absent;
    GetRolePolicy                    "iam:GetRolePolicy"                    Identity Reads   Told Absent;
    ListRolePolicies                 "iam:ListRolePolicies"                 Identity Reads   Told Absent;
    ListAttachedRolePolicies         "iam:ListAttachedRolePolicies"         Identity Reads   Told Absent;
    ListRoleTags                     "iam:ListRoleTags"                     Identity Reads   Told Absent;
    ListInstanceProfilesForRole      "iam:ListInstanceProfilesForRole"      Identity Reads   Told Absent;
    DeleteRole                       "iam:DeleteRole"                       Identity Reads   Done Absent;
    GetInstanceProfile               "iam:GetInstanceProfile"               Identity Reads   Told Absent;
    GetLoginProfile                  "iam:GetLoginProfile"                  Identity Reads   Told Absent;
    UpdateLoginProfile               "iam:UpdateLoginProfile"               Identity Reads   Done Absent;
    DeleteLoginProfile               "iam:DeleteLoginProfile"               Identity Reads   Done Absent;
    DeactivateMFADevice              "iam:DeactivateMFADevice"              Identity Reads   Done Absent;
    DeleteVirtualMFADevice           "iam:DeleteVirtualMFADevice"           Identity Reads   Done Absent;
    GetSSHPublicKey                  "iam:GetSSHPublicKey"                  Identity Reads   Told Absent;
    DeleteSSHPublicKey               "iam:DeleteSSHPublicKey"               Identity Reads   Done Absent;
    DeleteSigningCertificate         "iam:DeleteSigningCertificate"         Identity Reads   Done Absent;
    DeleteServiceSpecificCredential  "iam:DeleteServiceSpecificCredential"  Identity Reads   Done Absent;
    DeleteUserPermissionsBoundary    "iam:DeleteUserPermissionsBoundary"    Identity Reads   Done Absent;
    GetServerCertificate             "iam:GetServerCertificate"             Identity Reads   Told Absent;
    DeleteServerCertificate          "iam:DeleteServerCertificate"          Identity Reads   Done Absent;
    GetOpenIDConnectProvider         "iam:GetOpenIDConnectProvider"         Identity Reads   Told Absent;
    GetSAMLProvider                  "iam:GetSAMLProvider"                  Identity Reads   Told Absent;
    GetAccountPasswordPolicy         "iam:GetAccountPasswordPolicy"         Service  Reads   Told Absent;
    AssumeRole                       "sts:AssumeRole"                       Identity Reads   Told Sts;
    AssumeRoleWithWebIdentity        "sts:AssumeRoleWithWebIdentity"        Public   Reads   Told Sts;
    AssumeRoleWithClientGrants       "sts:AssumeRoleWithClientGrants"       Public   Reads   Told Sts;
    GetSessionToken                  "sts:GetSessionToken"                  Service  Reads   Told Sts;
    GetCallerIdentity                "sts:GetCallerIdentity"                Service  Reads   Told Sts;
    GetAccessKeyInfo                 "sts:GetAccessKeyInfo"                 Service  Reads   Told Sts;
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

    /// Finds the operation that a form asks for by `Action`.
    pub(crate) fn find(action: &str) -> Option<Operation> {
        Operation::ALL.iter().copied().find(|operation| operation.facts().name == action)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_actions() {
        let mut names = HashSet::new();
        for operation in Operation::ALL {
            let facts = operation.facts();
            assert!(names.insert(facts.name), "{operation:?}");
            let (service, action) = facts.action.split_once(':').expect("a service");
            assert!(matches!(service, "iam" | "sts"), "{operation:?}");
            assert_eq!((action, facts.api), (facts.name, Api::Iam));
            assert_eq!(Operation::find(facts.name), Some(*operation));
            let reads = ["Get", "List", "Simulate"].iter().any(|verb| facts.name.starts_with(verb));
            assert!(!reads || facts.effect == Effect::Reads, "{operation:?}");
        }
        assert_eq!(Operation::find("createuser"), None);
    }
}
