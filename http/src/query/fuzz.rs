//! Fuzz entry of the query API: forms against a small model.

use bytes::Bytes;
use nilas_catalog::access::{Access, Resource};

use super::{Asker, Form, Plan, find, plan};
use crate::identity::model::{Change, Fault, Model, Moment, NewPolicy, NewUser, Of, Sealer, Secret, Tags};

const ACCOUNT: &str = "123456789012";
const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;

/// Everybody may do everything.
struct Everything;

impl Access for Everything {
    fn allows_with(
        &self,
        _action: &'static str,
        _resource: Resource<'_>,
        _facts: &[(&'static str, &str)],
    ) -> bool {
        true
    }
}

/// Leaves secrets as they are.
struct Open;

impl Sealer for Open {
    fn seal(&self, _record_key: &[u8], secret: &Secret) -> String {
        secret.expose().to_owned()
    }

    fn unseal(&self, _record_key: &[u8], sealed: &str) -> Option<Secret> {
        Some(Secret::new(sealed))
    }
}

/// The user `u` in the group `g`, each with a policy.
fn scene(moment: &Moment<'_>) -> Result<Change<()>, Fault> {
    let policy = NewPolicy { name: "p", path: "/", description: "", document: POLICY, tags: Tags::new() };
    let user = NewUser { name: "u", path: "/", tags: Tags::new() };
    let change = Model::empty(ACCOUNT).create_user(&user, moment)?;
    let change = change.then(|model, _| model.create_group("g", "/", moment))?;
    let change = change.then(|model, _| model.create_policy(&policy, moment))?;
    let change = change.then(|model, _| model.add_to_group("g", "u"))?;
    change.then(|model, ()| model.put_inline_policy(Of::Group("g"), "i", POLICY))
}

/// Fuzz entry: no form panics, and whatever it changes can be loaded again.
pub fn fuzz_query(input: &[u8]) {
    let Ok(form) = Form::parse(input) else { return };
    let Ok(operation) = find(&form) else { return };
    let next = std::cell::Cell::new(1_u128);
    let random = || {
        next.set(next.get().wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(3));
        next.get()
    };
    let moment = Moment { now_ms: 1_700_000_000_000, random: &random };
    let Ok(before) = scene(&moment) else { panic!("the scene can be made") };
    let model = &before.model;
    let asker = Asker {
        access: &Everything,
        arn: "arn:aws:iam::123456789012:user/u",
        user: model.user("u").map(|user| &**user),
        root_key: None,
        region: "us-east-1",
    };
    let Ok(Plan::Change(next)) = plan(operation, &form, model, asker) else { return };
    let Ok(after) = next(model, &moment) else { return };
    let gone = |key: &Bytes| after.writes.iter().any(|(written, _)| written == key);
    let kept = before.writes.iter().filter(|(key, _)| !gone(key));
    let values = kept
        .chain(&after.writes)
        .filter_map(|(key, record)| record.as_ref().map(|record| (key.clone(), record.encode(key, &Open))));
    assert!(Model::load(ACCOUNT, values, &Open).is_ok(), "{operation:?} writes what cannot be loaded");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for form in [
            "Action=CreateUser&Version=2010-05-08&UserName=x&Path=/a/",
            "Action=UpdateGroup&Version=2010-05-08&GroupName=g&NewGroupName=h",
            "Action=DeleteGroupPolicy&Version=2010-05-08&GroupName=g&PolicyName=i",
            "Action=SimulateCustomPolicy&Version=2010-05-08&ActionNames.member.1=a",
            "Action=",
            "",
        ] {
            fuzz_query(form.as_bytes());
        }
    }
}
