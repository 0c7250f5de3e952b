//! `nilas user …`: the people and machines of a store.
//!
//! `main` hands over a connected [`Client`]; users are IAM's, and what IAM has no call for (whether a user is enabled, names
//! and expiries of keys) is read and changed by the server's page of users.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, Connection, segment};
use crate::output::{Exit, Failure, Output, facts, or_dash};
use crate::xml::Element;

/// Users: who may have keys and policies.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done with users.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Adds a user, who has no rights and no keys yet.
    Add {
        /// Letters, digits and +=,.@_-
        name: String,
    },
    /// Lists all users.
    List,
    /// Shows a user with groups, policies and keys.
    Show {
        /// Name of the user
        name: String,
    },
    /// Lets the keys of a user work again.
    Enable {
        /// Name of the user
        name: String,
    },
    /// Stops all keys of a user at once, and ends the sessions made with them.
    Disable {
        /// Name of the user
        name: String,
    },
    /// Removes a user; one with keys, groups or policies only with --force.
    Rm {
        /// Name of the user
        name: String,
        /// Delete the user's keys and inline policies, detach policies and leave groups first
        #[arg(long)]
        force: bool,
    },
}

pub(crate) fn run(client: &Client, command: &Command) -> Result<Output, Failure> {
    let (verb, name) = match command {
        Command::Add { name } => ("add", name.as_str()),
        Command::List => ("list", ""),
        Command::Show { name } => ("show", name.as_str()),
        Command::Enable { name } => ("enable", name.as_str()),
        Command::Disable { name } => ("disable", name.as_str()),
        Command::Rm { name, .. } => ("rm", name.as_str()),
    };
    let came = match command {
        Command::Add { name } => add(client, name),
        Command::List => list(client),
        Command::Show { name } => show(client, name),
        Command::Enable { name } => enable(client, name, true),
        Command::Disable { name } => enable(client, name, false),
        Command::Rm { name, force } => remove(client, name, *force),
    };
    came.map_err(|failure| {
        let failure = if name.is_empty() { failure } else { failure.if_not_found("nilas user list") };
        failure.of(format!("user {verb} {name}").trim_end())
    })
}

fn add(client: &Client, name: &str) -> Result<Output, Failure> {
    let answer = client.iam("CreateUser", &[("UserName", name)])?;
    let user = answer.child("User").ok_or_else(|| Failure::answer("CreateUser did not say what it made"))?;
    let text = format!(
        "user {name} added, without rights and keys yet\n\
         next: nilas policy attach POLICY --user {name}; nilas key create --user {name}"
    );
    Ok(Output::one(user_json(user), text))
}

fn list(client: &Client) -> Result<Output, Failure> {
    let users = client.iam_list("ListUsers", &[], "Users")?;
    let people = people(client, None)?;
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for user in &users {
        let mut value = user_json(user);
        let person = people.as_ref().and_then(|people| found(people, user.text_of("UserName")));
        value["enabled"] = person.map_or(Value::Null, |person| person["enabled"].clone());
        rows.push(vec![
            user.text_of("UserName").to_owned(),
            state(&value["enabled"]),
            user.text_of("UserId").to_owned(),
            user.text_of("CreateDate").to_owned(),
        ]);
        values.push(value);
    }
    Ok(Output::list(values, &["USER", "STATE", "ID", "CREATED"], rows))
}

fn show(client: &Client, name: &str) -> Result<Output, Failure> {
    let asked = [("UserName", name)];
    let answer = client.iam("GetUser", &asked)?;
    let user = answer.child("User").ok_or_else(|| Failure::answer("GetUser names no user"))?;
    let held = Held::read(client, name)?;
    let people = people(client, Some(name))?;
    let person = people.as_ref().and_then(|people| found(people, name)).cloned().unwrap_or_default();
    let mut value = user_json(user);
    value["enabled"] = person["enabled"].clone();
    value["owner_id"] = person["owner_id"].clone();
    value["groups"] = json!(held.groups);
    value["policies"] = json!(held.policy_names());
    value["inline_policies"] = json!(held.inline);
    value["keys"] = if person["keys"].is_array() {
        person["keys"].clone()
    } else {
        Value::from_iter(held.keys.iter().map(|key| json!({ "access_key": key })))
    };
    let text = facts(&[
        ("user", name.to_owned()),
        ("state", state(&value["enabled"])),
        ("id", user.text_of("UserId").to_owned()),
        ("arn", user.text_of("Arn").to_owned()),
        ("owner id", or_dash(person["owner_id"].as_str().unwrap_or_default())),
        ("created", user.text_of("CreateDate").to_owned()),
        ("groups", or_dash(&held.groups.join(", "))),
        ("policies", or_dash(&held.policy_names().join(", "))),
        ("inline", or_dash(&held.inline.join(", "))),
        ("keys", or_dash(&held.keys.join(", "))),
    ]);
    Ok(Output::one(value, text))
}

/// Lets a user's keys work, or stops them and ends the sessions made with them.
pub(crate) fn set_enabled(client: &Client, name: &str, is_enabled: bool) -> Result<(), Failure> {
    let body = json!({ "enabled": is_enabled, "revoke_sessions": !is_enabled });
    client.page(&format!("/_nilas/users/{}", segment(name)), &[], Some(&body)).map(drop)
}

fn enable(client: &Client, name: &str, is_enabled: bool) -> Result<Output, Failure> {
    set_enabled(client, name, is_enabled)?;
    let text = match is_enabled {
        true => format!("user {name} is enabled: its keys work again"),
        false => format!("user {name} is disabled: its keys and sessions work no more"),
    };
    Ok(Output::one(json!({ "user": name, "enabled": is_enabled }), text))
}

fn remove(client: &Client, name: &str, force: bool) -> Result<Output, Failure> {
    let held = Held::read(client, name)?;
    if !force && !held.is_nothing() {
        let failure =
            Failure::new(Exit::Conflict, format!("it has {}", held.in_words())).code("DeleteConflict");
        return Err(failure.next(format!("nilas user rm {name} --force")));
    }
    let user = ("UserName", name);
    let removed = || -> Result<(), Failure> {
        // Keys first: what cannot be finished must not leave them behind.
        for key in &held.keys {
            client.iam("DeleteAccessKey", &[user, ("AccessKeyId", key)])?;
        }
        for (_, arn) in &held.attached {
            client.iam("DetachUserPolicy", &[user, ("PolicyArn", arn)])?;
        }
        for policy in &held.inline {
            client.iam("DeleteUserPolicy", &[user, ("PolicyName", policy)])?;
        }
        for group in &held.groups {
            client.iam("RemoveUserFromGroup", &[user, ("GroupName", group)])?;
        }
        client.iam("DeleteUser", &[user]).map(drop)
    };
    removed().map_err(|failure| match held.is_nothing() {
        true => failure,
        false => failure.next(format!("nilas user rm {name} --force, which goes on where this stopped")),
    })?;
    let value = json!({
        "user": name,
        "removed": true,
        "keys": held.keys,
        "policies": held.policy_names(),
        "inline_policies": held.inline,
        "groups": held.groups,
    });
    let with = if held.is_nothing() { String::new() } else { format!(", with {}", held.in_words()) };
    Ok(Output::one(value, format!("user {name} removed{with}")))
}

/// What stands in the way of a user's removal.
struct Held {
    keys: Vec<String>,
    groups: Vec<String>,
    /// Names and ARNs.
    attached: Vec<(String, String)>,
    inline: Vec<String>,
}

impl Held {
    fn read(client: &Client, name: &str) -> Result<Held, Failure> {
        let asked = [("UserName", name)];
        let texts = |members: Vec<Element>, field: &str| -> Vec<String> {
            members.iter().map(|member| member.text_of(field).to_owned()).collect()
        };
        let keys = client.iam_list("ListAccessKeys", &asked, "AccessKeyMetadata")?;
        let groups = client.iam_list("ListGroupsForUser", &asked, "Groups")?;
        let attached = client.iam_list("ListAttachedUserPolicies", &asked, "AttachedPolicies")?;
        let inline = client.iam_list("ListUserPolicies", &asked, "PolicyNames")?;
        Ok(Held {
            keys: texts(keys, "AccessKeyId"),
            groups: texts(groups, "GroupName"),
            attached: attached
                .iter()
                .map(|policy| {
                    (policy.text_of("PolicyName").to_owned(), policy.text_of("PolicyArn").to_owned())
                })
                .collect(),
            inline: inline.iter().map(|name| name.text.clone()).collect(),
        })
    }

    fn policy_names(&self) -> Vec<&str> {
        self.attached.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn is_nothing(&self) -> bool {
        self.keys.is_empty() && self.groups.is_empty() && self.attached.is_empty() && self.inline.is_empty()
    }

    fn in_words(&self) -> String {
        let attached: Vec<String> = self.attached.iter().map(|(name, _)| name.clone()).collect();
        let parts = [
            ("keys", &self.keys),
            ("policies", &attached),
            ("inline policies", &self.inline),
            ("groups", &self.groups),
        ];
        let said = parts.iter().filter(|(_, names)| !names.is_empty());
        said.map(|(what, names)| format!("{what} {}", names.join(", "))).collect::<Vec<_>>().join("; ")
    }
}

/// What the server's page says of one user or of all; `None` for who may not see it.
pub(crate) fn people(client: &Client, name: Option<&str>) -> Result<Option<Value>, Failure> {
    let query: Vec<(&str, &str)> = name.iter().map(|name| ("user", *name)).collect();
    match client.page("/_nilas/users", &query, None) {
        Ok(page) => Ok(Some(page)),
        Err(failure) if failure.exit == Exit::Denied => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn found<'a>(people: &'a Value, name: &str) -> Option<&'a Value> {
    people["users"].as_array()?.iter().find(|user| user["user"] == name)
}

fn state(enabled: &Value) -> String {
    match enabled.as_bool() {
        Some(true) => "enabled".to_owned(),
        Some(false) => "disabled".to_owned(),
        None => "-".to_owned(),
    }
}

fn user_json(user: &Element) -> Value {
    json!({
        "user": user.text_of("UserName"),
        "id": user.text_of("UserId"),
        "arn": user.text_of("Arn"),
        "path": user.text_of("Path"),
        "created": user.text_of("CreateDate"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{error, result, scripted};

    const ALICE: &str = "<UserName>alice</UserName><UserId>AIDA1</UserId><Path>/</Path>\
                         <Arn>arn:aws:iam::1:user/alice</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate>";

    fn alice() -> String {
        result("CreateUser", &format!("<User>{ALICE}</User>"))
    }

    #[test]
    fn adding() {
        let command = Command::Add { name: "alice".to_owned() };
        let (came, seen) = scripted(&[(200, &alice())], |client| run(client, &command));
        assert_eq!(
            came.expect("added").render(true),
            "{\"user\":\"alice\",\"id\":\"AIDA1\",\"arn\":\"arn:aws:iam::1:user/alice\",\"path\":\"/\",\
             \"created\":\"2026-01-01T00:00:00Z\"}\n"
        );
        assert_eq!(seen, ["POST / Action=CreateUser&Version=2010-05-08&UserName=alice"]);
        let there = error("EntityAlreadyExists", "there is one");
        let (came, _) = scripted(&[(409, &there)], |client| run(client, &command));
        let failure = came.expect_err("there is one");
        assert_eq!(failure.exit, Exit::Conflict);
        assert_eq!(failure.render(false), "nilas: user add alice: there is one (EntityAlreadyExists)\n");
    }

    #[test]
    fn listing() {
        let users = format!("<Users><member>{ALICE}</member></Users><IsTruncated>false</IsTruncated>");
        let users = result("ListUsers", &users);
        let page = "{\"users\":[{\"user\":\"alice\",\"enabled\":false}]}";
        let (came, seen) = scripted(&[(200, &users), (200, page)], |client| run(client, &Command::List));
        let came = came.expect("a list");
        assert!(came.render(true).ends_with(",\"enabled\":false}\n"), "{}", came.render(true));
        assert!(came.render(false).contains("alice  disabled  AIDA1"), "{}", came.render(false));
        assert_eq!(seen[1], "GET /_nilas/users");
        // Who may not see the page gets the list without it.
        let denied = "{\"error\":{\"code\":\"AccessDenied\",\"message\":\"no\"}}";
        let (came, _) = scripted(&[(200, &users), (403, denied)], |client| run(client, &Command::List));
        assert!(came.expect("a list").render(true).ends_with(",\"enabled\":null}\n"));
    }

    #[test]
    fn disabling_ends_sessions() {
        let command = Command::Disable { name: "a+b@c".to_owned() };
        let (came, seen) = scripted(&[(200, "{}")], |client| run(client, &command));
        assert_eq!(came.expect("done").render(true), "{\"user\":\"a+b@c\",\"enabled\":false}\n");
        assert_eq!(seen, ["POST /_nilas/users/a%2Bb%40c {\"enabled\":false,\"revoke_sessions\":true}"]);
    }

    #[test]
    fn removing() {
        let keys = result(
            "ListAccessKeys",
            "<AccessKeyMetadata><member><AccessKeyId>NILAS1</AccessKeyId></member></AccessKeyMetadata>",
        );
        let groups =
            result("ListGroupsForUser", "<Groups><member><GroupName>dev</GroupName></member></Groups>");
        let attached = result(
            "ListAttachedUserPolicies",
            "<AttachedPolicies><member><PolicyName>readonly</PolicyName>\
             <PolicyArn>arn:aws:iam::aws:policy/readonly</PolicyArn></member></AttachedPolicies>",
        );
        let inline = result("ListUserPolicies", "<PolicyNames><member>own</member></PolicyNames>");
        let held: Vec<(u16, &str)> =
            [&keys, &groups, &attached, &inline].map(|text| (200, text.as_str())).to_vec();
        let remove = |force| Command::Rm { name: "alice".to_owned(), force };
        let (came, seen) = scripted(&held, |client| run(client, &remove(false)));
        let failure = came.expect_err("it has keys");
        assert_eq!(failure.exit, Exit::Conflict);
        assert_eq!(
            failure.render(false),
            "nilas: user rm alice: it has keys NILAS1; policies readonly; inline policies own; groups dev (DeleteConflict)\n  \
             try: nilas user rm alice --force\n"
        );
        assert_eq!(seen.len(), 4, "nothing is changed");

        let actions =
            ["DeleteAccessKey", "DetachUserPolicy", "DeleteUserPolicy", "RemoveUserFromGroup", "DeleteUser"];
        let done: Vec<String> = actions.iter().map(|action| format!("<{action}Response/>")).collect();
        let mut answers = held;
        answers.extend(done.iter().map(|text| (200, text.as_str())));
        let (came, seen) = scripted(&answers, |client| run(client, &remove(true)));
        assert_eq!(
            came.expect("removed").render(true),
            "{\"user\":\"alice\",\"removed\":true,\"keys\":[\"NILAS1\"],\"policies\":[\"readonly\"],\
             \"inline_policies\":[\"own\"],\"groups\":[\"dev\"]}\n"
        );
        let asked = seen[4..].iter().zip(actions);
        for (seen, action) in asked {
            assert!(seen.starts_with(&format!("POST / Action={action}&")), "{seen}");
        }
        assert!(
            seen[5].ends_with("&UserName=alice&PolicyArn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2Freadonly"),
            "{}",
            seen[5]
        );
    }
}
