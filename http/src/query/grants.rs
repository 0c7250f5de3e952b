//! Operations on what users and groups are given: inline policies, and managed ones attached.

use super::answer::{self, Page};
use super::{Ask, Operation, Plan, QueryError};
use crate::identity::model::{Of, fold};

/// Whose policies an operation is about.
#[derive(Clone, Copy)]
enum Holder {
    User,
    Group,
}

/// The same, with a name.
struct Named {
    holder: Holder,
    name: String,
}

impl Named {
    fn of(&self) -> Of<'_> {
        match self.holder {
            Holder::User => Of::User(&self.name),
            Holder::Group => Of::Group(&self.name),
        }
    }
}

pub(super) fn plan(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    use Holder::{Group, User};
    match ask.operation {
        Operation::PutUserPolicy => put(ask, User),
        Operation::PutGroupPolicy => put(ask, Group),
        Operation::GetUserPolicy => get(ask, User),
        Operation::GetGroupPolicy => get(ask, Group),
        Operation::ListUserPolicies => list(ask, User),
        Operation::ListGroupPolicies => list(ask, Group),
        Operation::DeleteUserPolicy => delete(ask, User),
        Operation::DeleteGroupPolicy => delete(ask, Group),
        Operation::AttachUserPolicy => attach(ask, User),
        Operation::AttachGroupPolicy => attach(ask, Group),
        Operation::DetachUserPolicy => detach(ask, User),
        Operation::DetachGroupPolicy => detach(ask, Group),
        Operation::ListAttachedUserPolicies => list_attached(ask, User),
        _ => list_attached(ask, Group),
    }
}

/// The user or group that the form names, after it was judged with these facts.
fn judged(ask: &Ask<'_>, holder: Holder, facts: &[(&'static str, &str)]) -> Result<Named, QueryError> {
    let (name, arn) = match holder {
        Holder::User => {
            let name = ask.form.need("UserName")?;
            (name, ask.user_arn(name))
        }
        Holder::Group => {
            let name = ask.form.need("GroupName")?;
            (name, ask.group_arn(name))
        }
    };
    ask.may_with(&arn, facts)?;
    Ok(Named { holder, name: name.to_owned() })
}

fn put(ask: &Ask<'_>, holder: Holder) -> Result<Plan, QueryError> {
    let named = judged(ask, holder, &[])?;
    let policy = ask.form.need("PolicyName")?.to_owned();
    let document = ask.form.need("PolicyDocument")?.to_owned();
    Plan::done(move |model, _| model.put_inline_policy(named.of(), &policy, &document))
}

fn delete(ask: &Ask<'_>, holder: Holder) -> Result<Plan, QueryError> {
    let named = judged(ask, holder, &[])?;
    let policy = ask.form.need("PolicyName")?.to_owned();
    Plan::done(move |model, _| model.delete_inline_policy(named.of(), &policy))
}

fn get(ask: &Ask<'_>, holder: Holder) -> Result<Plan, QueryError> {
    let named = judged(ask, holder, &[])?;
    let name = ask.form.need("PolicyName")?;
    let grants = ask.model.grants(named.of())?;
    let (tag, kind) = match holder {
        Holder::User => ("UserName", "user"),
        Holder::Group => ("GroupName", "group"),
    };
    let policy = grants.inline.get(name).ok_or_else(|| QueryError::NoSuchEntity {
        message: format!("The {kind} policy with name {name} cannot be found."),
    })?;
    Plan::tell(|xml| {
        xml.text(tag, &named.name);
        xml.text("PolicyName", name);
        answer::encoded(xml, "PolicyDocument", policy.text());
    })
}

fn list(ask: &Ask<'_>, holder: Holder) -> Result<Plan, QueryError> {
    let named = judged(ask, holder, &[])?;
    let names = ask.model.grants(named.of())?.inline.keys();
    let part = Page::parse(ask.form)?.take(names.map(|name| (name.clone(), name)));
    Plan::tell(|xml| part.write(xml, "PolicyNames", |xml, name| xml.value(name)))
}

fn attach(ask: &Ask<'_>, holder: Holder) -> Result<Plan, QueryError> {
    let arn = ask.form.need("PolicyArn")?.to_owned();
    let named = judged(ask, holder, &[("iam:PolicyARN", &arn)])?;
    Plan::done(move |model, _| model.attach_policy(named.of(), &arn))
}

fn detach(ask: &Ask<'_>, holder: Holder) -> Result<Plan, QueryError> {
    let arn = ask.form.need("PolicyArn")?.to_owned();
    let named = judged(ask, holder, &[("iam:PolicyARN", &arn)])?;
    Plan::done(move |model, _| model.detach_policy(named.of(), &arn))
}

fn list_attached(ask: &Ask<'_>, holder: Holder) -> Result<Plan, QueryError> {
    let named = judged(ask, holder, &[])?;
    let prefix = ask.path_prefix();
    let attached =
        ask.model.grants(named.of())?.attached.iter().filter_map(|policy| ask.model.attached(policy));
    let attached = attached.filter(|policy| policy.path().starts_with(prefix));
    let attached = attached.map(|policy| {
        let arn = policy.arn(ask.model);
        (format!("{} {arn}", fold(policy.name())), (policy.name(), arn))
    });
    let part = Page::parse(ask.form)?.sort_and_take(attached);
    Plan::tell(|xml| {
        part.write(xml, "AttachedPolicies", |xml, (name, arn)| answer::attachment(xml, name, arn));
    })
}
