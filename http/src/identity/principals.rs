//! The users whom a bucket's policy names: by ARN for people, by id in what is kept.
//!
//! `bucket_rules` asks for what is kept, `s3::bucket_policy` and provisioning for what is shown. Pure. I1. A grant or a Deny stays with the user it was given to: a rename does not
//! shake it off, and who gets a name later does not inherit it. I2. A policy that names nobody is refused, because a Deny
//! with a mistyped name denies nothing.
//! Source: IAM User Guide, "AWS JSON policy elements: Principal", on the unique ids of users.

use serde_json::Value;

use super::model::{Model, owner_id};

/// Who there is, as far as principals name them.
pub(crate) trait People {
    /// 12 digits.
    fn account(&self) -> &str;
    /// The id of the user with an ARN.
    fn id_of(&self, arn: &str) -> Option<String>;
    /// Whether a user has an id.
    fn has_id(&self, id: &str) -> bool;
    /// Whether a user has an owner id.
    fn has_owner_id(&self, owner_id: &str) -> bool;
}

impl People for Model {
    fn account(&self) -> &str {
        Model::account(self)
    }

    fn id_of(&self, arn: &str) -> Option<String> {
        let user = self.user(arn.rsplit('/').next()?)?;
        (self.user_arn(user) == arn).then(|| user.id.clone())
    }

    fn has_id(&self, id: &str) -> bool {
        self.user_by_id(id).is_some()
    }

    fn has_owner_id(&self, owner_id: &str) -> bool {
        self.users().any(|user| user.owner_id.eq_ignore_ascii_case(owner_id))
    }
}

/// Returns the policy with the ids of users in place of their ARNs; as it was sent, byte for byte, when it names none.
/// `text` is a policy that was read whole. The error says who is nobody.
pub(crate) fn kept(text: &str, people: &dyn People) -> Result<String, String> {
    let account = people.account();
    let root = format!("arn:aws:iam::{account}:root");
    let users = format!("arn:aws:iam::{account}:user/");
    let ours = [format!("arn:aws:iam::{account}:role/"), format!("arn:aws:sts::{account}:")];
    rewritten(text, |kind, name| match kind {
        "AWS" if name == "*" || name == account || name == root => Ok(None),
        // Names that anybody may give a session: nobody, whoever exists.
        "AWS" if ours.iter().any(|prefix| name.starts_with(prefix)) => Ok(None),
        "AWS" if people.has_id(name) => Ok(None),
        "AWS" => {
            let id = Some(name).filter(|name| name.starts_with(&users)).and_then(|arn| people.id_of(arn));
            id.map(Some).ok_or(())
        }
        "CanonicalUser" => {
            let is_root = owner_id(account, "root").eq_ignore_ascii_case(name);
            if is_root || people.has_owner_id(name) { Ok(None) } else { Err(()) }
        }
        _ => Ok(None),
    })
}

/// Returns a kept policy with the present ARNs of its users; who is gone is shown by the id.
pub(crate) fn shown(text: &str, model: &Model) -> String {
    let named = rewritten(text, |kind, name| match kind {
        "AWS" => Ok(model.user_by_id(name).map(|user| model.user_arn(user))),
        _ => Ok(None),
    });
    named.unwrap_or_else(|_| text.to_owned())
}

/// Replaces principals by what `name` says of their kind and name. The text stays as it is when it says nothing.
fn rewritten(
    text: &str,
    mut name: impl FnMut(&str, &str) -> Result<Option<String>, ()>,
) -> Result<String, String> {
    let mut policy: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut is_other = false;
    let statements = match policy.get_mut("Statement") {
        Some(Value::Array(statements)) => statements.as_mut_slice(),
        Some(statement) => std::slice::from_mut(statement),
        None => &mut [],
    };
    for (nth, statement) in statements.iter_mut().enumerate() {
        for member in ["Principal", "NotPrincipal"] {
            let Some(Value::Object(kinds)) = statement.get_mut(member) else { continue };
            for (kind, names) in kinds.iter_mut() {
                let names = match names {
                    Value::Array(names) => names.as_mut_slice(),
                    one => std::slice::from_mut(one),
                };
                for one in names {
                    let Value::String(text) = one else { continue };
                    let other = name(kind, text).map_err(|()| {
                        format!("Invalid principal in policy: Statement[{nth}].{member}.{kind}: {text:?} is nobody here")
                    })?;
                    if let Some(other) = other {
                        *text = other;
                        is_other = true;
                    }
                }
            }
        }
    }
    Ok(if is_other { policy.to_string() } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::model::{Moment, NewUser, Tags};

    const ACCOUNT: &str = "123456789012";

    fn policy(principal: &str) -> String {
        format!(
            r#"{{"Statement": [{{"Effect": "Deny", "Principal": {principal}, "Action": "*", "Resource": "*"}}]}}"#
        )
    }

    #[test]
    fn users_are_kept_by_id() {
        let random = || 7;
        let moment = Moment { now_ms: 1, random: &random };
        let new = NewUser { name: "ann", path: "/team/", tags: Tags::default() };
        let model = Model::empty(ACCOUNT).create_user(&new, &moment).expect("a user").model;
        let ann = model.user("ann").expect("ann");
        let check = |principal: &str, want: Result<&str, ()>| {
            let got = kept(&policy(principal), &model);
            let got = got.map(|text| text.replace([' ', '\n'], "")).map_err(drop);
            assert_eq!(got, want.map(|want| policy(want).replace(' ', "")), "{principal}");
        };
        let by_id = format!(r#"{{"AWS": "{}"}}"#, ann.id);
        check(r#"{"AWS": "arn:aws:iam::123456789012:user/team/ann"}"#, Ok(&by_id));
        check(&by_id, Ok(&by_id));
        let lists =
            |name: &str| format!(r#"{{"AWS": ["*", "{name}"], "CanonicalUser": "{}"}}"#, ann.owner_id);
        check(&lists("arn:aws:iam::123456789012:user/team/ann"), Ok(&lists(&ann.id)));
        for taken in [
            r#""*""#,
            r#"{"AWS": "123456789012"}"#,
            r#"{"AWS": "arn:aws:iam::123456789012:root"}"#,
            r#"{"AWS": "arn:aws:sts::123456789012:assumed-role/r/s"}"#,
            r#"{"Service": "logging.s3.amazonaws.com"}"#,
        ] {
            check(taken, Ok(taken));
        }
        for nobody in [
            r#"{"AWS": "arn:aws:iam::123456789012:user/ann"}"#,
            r#"{"AWS": "arn:aws:iam::123456789012:user/team/bob"}"#,
            r#"{"AWS": "arn:aws:iam::210987654321:user/team/ann"}"#,
            r#"{"AWS": ["*", "210987654321"]}"#,
            r#"{"AWS": "AIDACCCCCCCCCCCCCCCCC"}"#,
            &format!(r#"{{"CanonicalUser": "{}"}}"#, "a".repeat(64)),
        ] {
            check(nobody, Err(()));
        }
        let text =
            kept(&policy(r#"{"AWS": "arn:aws:iam::123456789012:user/team/ann"}"#), &model).expect("kept");
        assert!(shown(&text, &model).contains(":user/team/ann"));
        assert_eq!(shown(&text, &Model::empty(ACCOUNT)), text, "who is gone is an id");
    }
}
