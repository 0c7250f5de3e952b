//! Operations on managed policies and their versions. Canned ones are read like them.

use std::collections::HashMap;

use super::answer::{self, Page};
use super::users::{parse_tag_keys, parse_tags};
use super::{Ask, Operation, Plan, QueryError};
use crate::identity::model::{Attachable, Entity, Fault, Grants, Model, NewPolicy, PolicyRef, fold};
use crate::render::xml::Xml;

pub(super) fn plan(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    match ask.operation {
        Operation::CreatePolicy => create(ask),
        Operation::GetPolicy => get(ask),
        Operation::ListPolicies => list(ask),
        Operation::DeletePolicy => {
            let arn = ask.judged_policy()?.to_owned();
            Plan::done(move |model, _| model.delete_policy(&arn))
        }
        Operation::CreatePolicyVersion => create_version(ask),
        Operation::GetPolicyVersion => get_version(ask),
        Operation::ListPolicyVersions => list_versions(ask),
        Operation::DeletePolicyVersion => {
            let arn = ask.judged_policy()?.to_owned();
            let number = answer::parse_version(ask.form.need("VersionId")?)?;
            Plan::done(move |model, _| model.delete_policy_version(&arn, number))
        }
        Operation::SetDefaultPolicyVersion => {
            let arn = ask.judged_policy()?.to_owned();
            let number = answer::parse_version(ask.form.need("VersionId")?)?;
            Plan::done(move |model, moment| model.set_default_policy_version(&arn, number, moment))
        }
        Operation::ListEntitiesForPolicy => list_entities(ask),
        Operation::TagPolicy => {
            let arn = ask.judged_policy()?.to_owned();
            let tags = parse_tags(ask)?;
            Plan::done(move |model, _| model.tag_policy(&arn, tags))
        }
        Operation::UntagPolicy => {
            let arn = ask.judged_policy()?.to_owned();
            let keys = parse_tag_keys(ask)?;
            Plan::done(move |model, _| {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                model.untag_policy(&arn, &keys)
            })
        }
        _ => list_tags(ask),
    }
}

/// The policy that the form names, after it was judged.
fn judged<'a>(ask: &Ask<'a>) -> Result<Attachable<'a>, QueryError> {
    let arn = ask.judged_policy()?;
    let no_such = || Fault::NoSuchEntity { entity: Entity::Attachment, name: arn.to_owned() };
    Ok(ask.model.policy(arn).ok_or_else(no_such)?)
}

fn create(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let name = ask.form.need("PolicyName")?.to_owned();
    let path = ask.form.get("Path").unwrap_or("/").to_owned();
    let arn = ask.arn(&format!("policy{path}{name}"));
    ask.may(&arn)?;
    if ask.form.has("Tags.member") {
        ask.may_do(Operation::TagPolicy.facts().action, &arn, &[])?;
    }
    let document = ask.form.need("PolicyDocument")?.to_owned();
    let description = ask.form.get("Description").unwrap_or("").to_owned();
    let tags = parse_tags(ask)?;
    Plan::change(move |model, moment| {
        let (name, path, description, document) = (&*name, &*path, &*description, &*document);
        let change = model.create_policy(&NewPolicy { name, path, description, document, tags }, moment)?;
        let told = Xml::fragment(|xml| {
            xml.open("Policy");
            answer::policy(xml, &change.model, Attachable::Managed(&change.answer), 0);
            if !change.answer.tags.is_empty() {
                answer::tags(xml, &change.answer.tags);
            }
            xml.close("Policy");
        });
        Ok(change.map(|_| told))
    })
}

fn get(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let policy = judged(ask)?;
    let attachments = attachments(ask.model).remove(&policy.reference()).unwrap_or(0);
    Plan::tell(|xml| {
        xml.open("Policy");
        answer::policy(xml, ask.model, policy, attachments);
        let (description, tags) = match policy {
            Attachable::Canned(canned) => (canned.description, None),
            Attachable::Managed(managed) => (managed.description.as_str(), Some(&managed.tags)),
        };
        if !description.is_empty() {
            xml.text("Description", description);
        }
        if let Some(tags) = tags.filter(|tags| !tags.is_empty()) {
            answer::tags(xml, tags);
        }
        xml.close("Policy");
    })
}

/// How many users and groups each policy is attached to.
pub(super) fn attachments(model: &Model) -> HashMap<PolicyRef, usize> {
    let grants = model.users().map(|user| &user.grants).chain(model.groups().map(|group| &group.grants));
    let mut attachments = HashMap::new();
    for policy in grants.flat_map(|grants: &Grants| &grants.attached) {
        *attachments.entry(policy.clone()).or_default() += 1;
    }
    attachments
}

fn list(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    ask.may_all()?;
    let (canned, managed) = match ask.form.get("Scope").unwrap_or("All") {
        "All" => (true, true),
        "AWS" => (true, false),
        "Local" => (false, true),
        _ => {
            let why = "must satisfy enum value set: [All, AWS, Local]".to_owned();
            return Err(QueryError::Invalid { name: "Scope", why });
        }
    };
    let only_attached = ask.form.flag("OnlyAttached")?;
    // No policy bounds anybody's permissions.
    let none = ask.form.get("PolicyUsageFilter") == Some("PermissionsBoundary");
    let prefix = ask.path_prefix();
    let attachments = attachments(ask.model);
    let canned_ones = ask.model.canned().iter().filter(|_| canned).map(Attachable::Canned);
    let managed_ones = ask.model.managed().filter(|_| managed).map(Attachable::Managed);
    let policies = canned_ones.chain(managed_ones).filter_map(|policy| {
        let count = attachments.get(&policy.reference()).copied().unwrap_or(0);
        let fits = policy.path().starts_with(prefix) && (!only_attached || 0 < count) && !none;
        fits.then(|| (format!("{} {}", fold(policy.name()), policy.arn(ask.model)), (policy, count)))
    });
    let part = Page::parse(ask.form)?.sort_and_take(policies);
    Plan::tell(|xml| {
        part.write(xml, "Policies", |xml, (policy, count)| answer::policy(xml, ask.model, *policy, *count));
    })
}

fn create_version(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let arn = ask.judged_policy()?.to_owned();
    let document = ask.form.need("PolicyDocument")?.to_owned();
    let is_default = ask.form.flag("SetAsDefault")?;
    Plan::change(move |model, moment| {
        let change = model.create_policy_version(&arn, &document, is_default, moment)?;
        let told = Xml::fragment(|xml| {
            xml.open("PolicyVersion");
            answer::version(xml, change.answer, is_default, moment.now_ms, None);
            xml.close("PolicyVersion");
        });
        Ok(change.map(|_| told))
    })
}

fn get_version(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let policy = judged(ask)?;
    let text = ask.form.need("VersionId")?;
    let wanted = answer::parse_version(text)?;
    let version = answer::versions(policy).into_iter().find(|(number, ..)| *number == wanted);
    let no_such = || QueryError::NoSuchEntity {
        message: format!(
            "Policy {} version {text} does not exist or is not attachable.",
            policy.arn(ask.model)
        ),
    };
    let (number, is_default, created_ms, document) = version.ok_or_else(no_such)?;
    Plan::tell(|xml| {
        xml.open("PolicyVersion");
        answer::version(xml, number, is_default, created_ms, Some(document));
        xml.close("PolicyVersion");
    })
}

/// Newest first.
fn list_versions(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let versions = answer::versions(judged(ask)?);
    let part = Page::parse(ask.form)?
        .take(versions.into_iter().map(|version| (format!("{:020}", u64::MAX - version.0), version)));
    Plan::tell(|xml| {
        part.write(xml, "Versions", |xml, (number, is_default, created_ms, _)| {
            answer::version(xml, *number, *is_default, *created_ms, None);
        });
    })
}

/// A user or group that a policy is attached to.
enum Holder<'a> {
    Group(&'a str, &'a str),
    User(&'a str, &'a str),
}

fn list_entities(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let policy = judged(ask)?.reference();
    let prefix = ask.path_prefix();
    let (with_users, with_groups) = match ask.form.get("EntityFilter") {
        None => (true, true),
        Some("User") => (true, false),
        Some("Group") => (false, true),
        Some(_) => (false, false),
    };
    let fits = |path: &str, grants: &Grants| path.starts_with(prefix) && grants.attached.contains(&policy);
    let groups = ask.model.groups().filter(|group| with_groups && fits(&group.path, &group.grants));
    let users = ask.model.users().filter(|user| with_users && fits(&user.path, &user.grants));
    let groups =
        groups.map(|group| (format!("g {}", fold(&group.name)), Holder::Group(&group.name, &group.id)));
    let users = users.map(|user| (format!("u {}", fold(&user.name)), Holder::User(&user.name, &user.id)));
    let part = Page::parse(ask.form)?.take(groups.chain(users));
    let group = |holder: &Holder<'_>| match holder {
        Holder::Group(name, id) => Some(((*name).to_owned(), (*id).to_owned())),
        Holder::User(..) => None,
    };
    let user = |holder: &Holder<'_>| match holder {
        Holder::User(name, id) => Some(((*name).to_owned(), (*id).to_owned())),
        Holder::Group(..) => None,
    };
    Plan::tell(|xml| {
        answer::members(xml, "PolicyGroups", part.items.iter().filter_map(group), |xml, (name, id)| {
            xml.text("GroupName", &name);
            xml.text("GroupId", &id);
        });
        answer::members(xml, "PolicyUsers", part.items.iter().filter_map(user), |xml, (name, id)| {
            xml.text("UserName", &name);
            xml.text("UserId", &id);
        });
        answer::members(xml, "PolicyRoles", std::iter::empty::<()>(), |_, ()| ());
        part.write_end(xml);
    })
}

fn list_tags(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let tags = match judged(ask)? {
        Attachable::Managed(policy) => policy.tags.iter().collect(),
        Attachable::Canned(_) => Vec::new(),
    };
    let part = Page::parse(ask.form)?.take(tags.into_iter().map(|(key, value)| (key.clone(), (key, value))));
    Plan::tell(|xml| part.write(xml, "Tags", |xml, (key, value)| answer::tag(xml, key, value)))
}
