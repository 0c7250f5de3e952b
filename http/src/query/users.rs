//! Operations on users.

use super::answer::{self, Page};
use super::{Ask, Operation, Plan, QueryError};
use crate::identity::model::{NewUser, Tags, fold};
use crate::query::form::Field;
use crate::render::xml::Xml;

pub(super) fn plan(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    match ask.operation {
        Operation::CreateUser => create(ask),
        Operation::GetUser => get(ask),
        Operation::UpdateUser => update(ask),
        Operation::ListUsers => list(ask),
        Operation::DeleteUser => {
            let name = ask.judged_user()?.to_owned();
            Plan::done(move |model, _| model.delete_user(&name))
        }
        Operation::TagUser => {
            let name = ask.judged_user()?.to_owned();
            let tags = parse_tags(ask)?;
            Plan::done(move |model, _| model.tag_user(&name, tags))
        }
        Operation::UntagUser => {
            let name = ask.judged_user()?.to_owned();
            let keys = parse_tag_keys(ask)?;
            Plan::done(move |model, _| {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                model.untag_user(&name, &keys)
            })
        }
        _ => list_tags(ask),
    }
}

/// The tags of a form. One key twice is refused, as AWS does.
pub(super) fn parse_tags(ask: &Ask<'_>) -> Result<Tags, QueryError> {
    ask.form.whole(Field::Structures("Tags", &["Key", "Value"]))?;
    let mut tags = Tags::new();
    for [key, value] in ask.form.structures("Tags", ["Key", "Value"]) {
        let key = key.ok_or(QueryError::Missing { name: "Tags.Key" })?;
        // Policies ask for a tag without regard to case: there is one at most that they can mean.
        let is_known = tags.keys().any(|known| known.eq_ignore_ascii_case(key));
        tags.insert(key.to_owned(), value.unwrap_or("").to_owned());
        if is_known {
            let message = "Duplicate tag keys found. Please note that Tag keys are case insensitive.".into();
            return Err(QueryError::InvalidInput { message });
        }
    }
    Ok(tags)
}

/// The tags' keys of a form.
pub(super) fn parse_tag_keys(ask: &Ask<'_>) -> Result<Vec<String>, QueryError> {
    ask.form.whole(Field::List("TagKeys"))?;
    Ok(ask.form.list("TagKeys").map(str::to_owned).collect())
}

fn create(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let name = ask.form.need("UserName")?.to_owned();
    let path = ask.form.get("Path").unwrap_or("/").to_owned();
    let arn = ask.arn(&format!("user{path}{name}"));
    ask.may(&arn)?;
    if ask.form.has("Tags.member") {
        ask.may_do(Operation::TagUser.facts().action, &arn, &[])?;
    }
    if ask.form.has("PermissionsBoundary") {
        let message = "Permissions boundaries are not supported.".into();
        return Err(QueryError::InvalidInput { message });
    }
    let tags = parse_tags(ask)?;
    Plan::change(move |model, moment| {
        let change = model.create_user(&NewUser { name: &name, path: &path, tags }, moment)?;
        let told = Xml::fragment(|xml| {
            xml.open("User");
            answer::user(xml, &change.model, &change.answer);
            if !change.answer.tags.is_empty() {
                answer::tags(xml, &change.answer.tags);
            }
            xml.close("User");
        });
        Ok(change.map(|_| told))
    })
}

/// Without a name: who asks, which may be the root key.
fn get(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let Some(name) = ask.user_name()? else {
        let arn = ask.arn("root");
        ask.may(&arn)?;
        return Plan::tell(|xml| {
            xml.open("User");
            xml.text("Path", "/");
            xml.text("UserId", ask.model.account());
            xml.text("Arn", &arn);
            answer::time(xml, "CreateDate", 0);
            xml.close("User");
        });
    };
    ask.may(&ask.user_arn(&name))?;
    let user = ask.model.need_user(&name)?;
    Plan::tell(|xml| {
        xml.open("User");
        answer::user(xml, ask.model, user);
        if !user.tags.is_empty() {
            answer::tags(xml, &user.tags);
        }
        xml.close("User");
    })
}

/// Judged on the user as it is and as it will be.
fn update(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let name = ask.judged_user()?.to_owned();
    let new_name = ask.form.get("NewUserName").map(str::to_owned);
    let new_path = ask.form.get("NewPath").map(str::to_owned);
    let path = ask.model.user(&name).map_or("/", |user| &user.path);
    let path = new_path.as_deref().unwrap_or(path);
    ask.may(&ask.arn(&format!("user{path}{}", new_name.as_deref().unwrap_or(&name))))?;
    Plan::done(move |model, _| model.update_user(&name, new_name.as_deref(), new_path.as_deref()))
}

fn list(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let prefix = ask.path_prefix();
    ask.may(&ask.arn(&format!("user{prefix}")))?;
    let page = Page::parse(ask.form)?;
    let users = ask.model.users().filter(|user| user.path.starts_with(prefix));
    let part = page.take(users.map(|user| (fold(&user.name), user)));
    Plan::tell(|xml| part.write(xml, "Users", |xml, user| answer::user(xml, ask.model, user)))
}

fn list_tags(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let user = ask.model.need_user(ask.judged_user()?)?;
    let part = Page::parse(ask.form)?.take(user.tags.iter().map(|(key, value)| (key.clone(), (key, value))));
    Plan::tell(|xml| part.write(xml, "Tags", |xml, (key, value)| answer::tag(xml, key, value)))
}
