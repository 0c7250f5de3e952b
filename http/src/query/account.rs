//! Operations on the account as a whole: its counts and limits, and all that it has in one list.

use super::answer::{self, Page};
use super::policies::attachments;
use super::{Ask, Operation, Plan, QueryError};
use crate::identity::model::{Attachable, Grants, Group, User, fold};
use crate::limits::{
    ATTACHED_POLICIES_MAX, GROUPS_MAX, INLINE_POLICIES_BYTES_MAX, MANAGED_POLICIES_MAX, POLICY_VERSIONS_MAX,
    USER_GROUPS_MAX, USER_KEYS_MAX, USERS_MAX,
};
use crate::render::xml::Xml;

pub(super) fn plan(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    ask.may_all()?;
    match ask.operation {
        Operation::GetAccountSummary => summary(ask),
        _ => details(ask),
    }
}

fn summary(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let model = ask.model;
    let versions: usize = model.managed().map(|policy| policy.versions.len()).sum();
    let entries = [
        ("AccessKeysPerUserQuota", USER_KEYS_MAX),
        ("AccountAccessKeysPresent", 1),
        ("AccountMFAEnabled", 0),
        ("AccountSigningCertificatesPresent", 0),
        ("AttachedPoliciesPerGroupQuota", ATTACHED_POLICIES_MAX),
        ("AttachedPoliciesPerUserQuota", ATTACHED_POLICIES_MAX),
        ("GroupPolicySizeQuota", INLINE_POLICIES_BYTES_MAX),
        ("Groups", model.groups().count()),
        ("GroupsPerUserQuota", USER_GROUPS_MAX),
        ("GroupsQuota", GROUPS_MAX),
        ("InstanceProfiles", 0),
        ("MFADevices", 0),
        ("MFADevicesInUse", 0),
        ("Policies", model.managed().count()),
        ("PoliciesQuota", MANAGED_POLICIES_MAX),
        ("PolicyVersionsInUse", versions),
        ("Providers", 0),
        ("Roles", 0),
        ("ServerCertificates", 0),
        ("UserPolicySizeQuota", INLINE_POLICIES_BYTES_MAX),
        ("Users", model.users_len()),
        ("UsersQuota", USERS_MAX),
        ("VersionsPerPolicyQuota", POLICY_VERSIONS_MAX),
    ];
    Plan::tell(|xml| {
        xml.open("SummaryMap");
        for (key, value) in entries {
            xml.open("entry");
            xml.text("key", key);
            xml.number("value", u64::try_from(value).unwrap_or(u64::MAX));
            xml.close("entry");
        }
        xml.close("SummaryMap");
    })
}

/// One entry of the list of everything.
enum Detail<'a> {
    Group(&'a Group),
    Policy(Attachable<'a>),
    User(&'a User),
}

fn details(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let model = ask.model;
    let filters: Vec<&str> = ask.form.list("Filter").collect();
    let wants = |filter: &str| filters.is_empty() || filters.contains(&filter);
    let groups = model.groups().filter(|_| wants("Group"));
    let groups = groups.map(|group| (format!("1 {}", fold(&group.name)), Detail::Group(group)));
    let users = model.users().filter(|_| wants("User"));
    let users = users.map(|user| (format!("2 {}", fold(&user.name)), Detail::User(user)));
    let canned = model.canned().iter().filter(|_| wants("AWSManagedPolicy")).map(Attachable::Canned);
    let managed = model.managed().filter(|_| wants("LocalManagedPolicy")).map(Attachable::Managed);
    let policies = canned
        .chain(managed)
        .map(|policy| (format!("3 {} {}", fold(policy.name()), policy.arn(model)), Detail::Policy(policy)));
    let part = Page::parse(ask.form)?.sort_and_take(groups.chain(users).chain(policies));
    let attachments = attachments(model);
    Plan::tell(|xml| {
        let user = |detail: &Detail<'_>| matches!(detail, Detail::User(_));
        answer::members(xml, "UserDetailList", part.items.iter().filter(|one| user(one)), |xml, one| {
            if let Detail::User(user) = one {
                write_user(xml, ask, user);
            }
        });
        let group = |detail: &Detail<'_>| matches!(detail, Detail::Group(_));
        answer::members(xml, "GroupDetailList", part.items.iter().filter(|one| group(one)), |xml, one| {
            if let Detail::Group(group) = one {
                answer::group(xml, model, group);
                write_grants(xml, ask, "GroupPolicyList", &group.grants);
            }
        });
        answer::members(xml, "RoleDetailList", std::iter::empty::<()>(), |_, ()| ());
        let policy = |detail: &Detail<'_>| matches!(detail, Detail::Policy(_));
        answer::members(xml, "Policies", part.items.iter().filter(|one| policy(one)), |xml, one| {
            if let Detail::Policy(policy) = one {
                let count = attachments.get(&policy.reference()).copied().unwrap_or(0);
                answer::policy(xml, model, *policy, count);
                let versions = answer::versions(*policy);
                answer::members(xml, "PolicyVersionList", versions, |xml, (number, is_default, ms, text)| {
                    answer::version(xml, number, is_default, ms, Some(text));
                });
            }
        });
        part.write_end(xml);
    })
}

fn write_user(xml: &mut Xml, ask: &Ask<'_>, user: &User) {
    answer::user(xml, ask.model, user);
    answer::members(xml, "GroupList", ask.model.groups_of(user), |xml, group| xml.value(&group.name));
    write_grants(xml, ask, "UserPolicyList", &user.grants);
    answer::tags(xml, &user.tags);
}

fn write_grants(xml: &mut Xml, ask: &Ask<'_>, inline: &str, grants: &Grants) {
    answer::members(xml, inline, &grants.inline, |xml, (name, policy)| {
        xml.text("PolicyName", name);
        answer::encoded(xml, "PolicyDocument", policy.text());
    });
    let attached = answer::attached(ask.model, &grants.attached);
    answer::members(xml, "AttachedManagedPolicies", attached, |xml, (name, arn)| {
        answer::attachment(xml, name, &arn);
    });
}
