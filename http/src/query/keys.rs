//! Operations on access keys.

use super::answer::{self, Page};
use super::{Ask, Operation, Plan, QueryError};
use crate::identity::model::{AccessKey, NewAccessKey, User};
use crate::render::xml::Xml;

pub(super) fn plan(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    match ask.operation {
        Operation::CreateAccessKey => create(ask),
        Operation::ListAccessKeys => list(ask),
        Operation::UpdateAccessKey => {
            let user = judged(ask)?;
            let id = ask.form.need("AccessKeyId")?.to_owned();
            let is_enabled = match ask.form.need("Status")? {
                "Active" => true,
                "Inactive" => false,
                _ => {
                    let why = "must satisfy enum value set: [Active, Inactive]".to_owned();
                    return Err(QueryError::Invalid { name: "Status", why });
                }
            };
            Plan::done(move |model, _| model.set_key_enabled(&user, &id, is_enabled))
        }
        Operation::DeleteAccessKey => {
            let user = judged(ask)?;
            let id = ask.form.need("AccessKeyId")?.to_owned();
            Plan::done(move |model, _| model.delete_access_key(&user, &id))
        }
        _ => last_used(ask),
    }
}

/// The user whom the form names, or who asks. The root key has no other keys.
fn judged(ask: &Ask<'_>) -> Result<String, QueryError> {
    match ask.user_name()? {
        Some(name) => {
            ask.may(&ask.user_arn(&name))?;
            Ok(name.into_owned())
        }
        None => {
            ask.may(&ask.arn("root"))?;
            let message = "The root key is changed on the server only: name a user.".into();
            Err(QueryError::InvalidInput { message })
        }
    }
}

fn create(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let name = judged(ask)?;
    Plan::change(move |model, moment| {
        let change = model.create_access_key(&name, &NewAccessKey::default(), moment)?;
        let told = Xml::fragment(|xml| {
            xml.open("AccessKey");
            xml.text("UserName", &name);
            xml.text("AccessKeyId", &change.answer.id);
            xml.text("Status", "Active");
            xml.text("SecretAccessKey", change.answer.secret.expose());
            answer::time(xml, "CreateDate", change.answer.created_ms);
            xml.close("AccessKey");
        });
        Ok(change.map(|_| told))
    })
}

fn list(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let Some(name) = ask.user_name()? else {
        ask.may(&ask.arn("root"))?;
        let part =
            Page::parse(ask.form)?.take(ask.asker.root_key.map(|root_key| (String::from("root"), root_key)));
        return Plan::tell(|xml| {
            part.write(xml, "AccessKeyMetadata", |xml, access_key| {
                xml.text("AccessKeyId", access_key);
                xml.text("Status", "Active");
                answer::time(xml, "CreateDate", 0);
            });
        });
    };
    ask.may(&ask.user_arn(&name))?;
    let user = ask.model.need_user(&name)?;
    let keys = ask.model.keys_of(&user.id).map(|key| (format!("{:020} {}", key.created_ms, key.id), key));
    let part = Page::parse(ask.form)?.take(keys);
    Plan::tell(|xml| part.write(xml, "AccessKeyMetadata", |xml, key| metadata(xml, user, key)))
}

fn metadata(xml: &mut Xml, user: &User, key: &AccessKey) {
    xml.text("UserName", &user.name);
    xml.text("AccessKeyId", &key.id);
    xml.text("Status", if key.is_enabled { "Active" } else { "Inactive" });
    answer::time(xml, "CreateDate", key.created_ms);
}

/// What is not known to be used is `N/A`, as AWS says it. A key that is not there is judged like anybody's.
fn last_used(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let id = ask.form.need("AccessKeyId")?;
    let key = ask.model.key(id);
    let user = key.and_then(|key| ask.model.user_by_id(&key.user));
    ask.may(&user.map_or_else(|| ask.arn("user/"), |user| ask.model.user_arn(user)))?;
    let (Some(key), Some(user)) = (key, user) else {
        let message = format!("The Access Key with id {id} cannot be found.");
        return Err(QueryError::NoSuchEntity { message });
    };
    Plan::tell(|xml| {
        xml.text("UserName", &user.name);
        xml.open("AccessKeyLastUsed");
        match key.last_use.read() {
            Some((used_ms, used_for)) => {
                answer::time(xml, "LastUsedDate", used_ms);
                xml.text("ServiceName", used_for.name());
                xml.text("Region", ask.asker.region);
            }
            None => {
                xml.text("ServiceName", "N/A");
                xml.text("Region", "N/A");
            }
        }
        xml.close("AccessKeyLastUsed");
    })
}
