//! Operations on groups and their members.

use super::answer::{self, Page};
use super::{Ask, Operation, Plan, QueryError};
use crate::identity::model::fold;
use crate::render::xml::Xml;

pub(super) fn plan(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    match ask.operation {
        Operation::CreateGroup => create(ask),
        Operation::GetGroup => get(ask),
        Operation::UpdateGroup => update(ask),
        Operation::ListGroups => list(ask),
        Operation::DeleteGroup => {
            let name = ask.judged_group()?.to_owned();
            Plan::done(move |model, _| model.delete_group(&name))
        }
        Operation::AddUserToGroup => {
            let (group, user) = (ask.judged_group()?.to_owned(), ask.form.need("UserName")?.to_owned());
            Plan::done(move |model, _| model.add_to_group(&group, &user))
        }
        Operation::RemoveUserFromGroup => {
            let (group, user) = (ask.judged_group()?.to_owned(), ask.form.need("UserName")?.to_owned());
            Plan::done(move |model, _| model.remove_from_group(&group, &user))
        }
        _ => list_for_user(ask),
    }
}

fn create(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let name = ask.form.need("GroupName")?.to_owned();
    let path = ask.form.get("Path").unwrap_or("/").to_owned();
    ask.may(&ask.arn(&format!("group{path}{name}")))?;
    Plan::change(move |model, moment| {
        let change = model.create_group(&name, &path, moment)?;
        let told = Xml::fragment(|xml| {
            xml.open("Group");
            answer::group(xml, &change.model, &change.answer);
            xml.close("Group");
        });
        Ok(change.map(|_| told))
    })
}

/// The group and a page of its members.
fn get(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let group = ask.model.need_group(ask.judged_group()?)?;
    let members = ask.model.members_of(&group.id);
    let part = Page::parse(ask.form)?.take(members.into_iter().map(|user| (fold(&user.name), user)));
    Plan::tell(|xml| {
        xml.open("Group");
        answer::group(xml, ask.model, group);
        xml.close("Group");
        part.write(xml, "Users", |xml, user| answer::user(xml, ask.model, user));
    })
}

/// Judged on the group as it is and as it will be.
fn update(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let name = ask.judged_group()?.to_owned();
    let new_name = ask.form.get("NewGroupName").map(str::to_owned);
    let new_path = ask.form.get("NewPath").map(str::to_owned);
    let path = ask.model.group(&name).map_or("/", |group| &group.path);
    let path = new_path.as_deref().unwrap_or(path);
    ask.may(&ask.arn(&format!("group{path}{}", new_name.as_deref().unwrap_or(&name))))?;
    Plan::done(move |model, _| model.update_group(&name, new_name.as_deref(), new_path.as_deref()))
}

fn list(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let prefix = ask.path_prefix();
    ask.may(&ask.arn(&format!("group{prefix}")))?;
    let groups = ask.model.groups().filter(|group| group.path.starts_with(prefix));
    let part = Page::parse(ask.form)?.take(groups.map(|group| (fold(&group.name), group)));
    Plan::tell(|xml| part.write(xml, "Groups", |xml, group| answer::group(xml, ask.model, group)))
}

fn list_for_user(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let user = ask.model.need_user(ask.judged_user()?)?;
    let groups = ask.model.groups_of(user).map(|group| (fold(&group.name), group));
    let part = Page::parse(ask.form)?.sort_and_take(groups);
    Plan::tell(|xml| part.write(xml, "Groups", |xml, group| answer::group(xml, ask.model, group)))
}
