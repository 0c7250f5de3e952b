//! `nilas group …`: groups of users, who share what is attached to the group.
//!
//! `main` hands over a connected [`Client`]; groups are IAM's.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, Connection};
use crate::output::{Exit, Failure, Output, or_dash};
use crate::xml::Element;

/// Groups of users, who share the policies of the group.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done with groups.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Adds a group without members and policies.
    Add {
        /// Letters, digits and +=,.@_-
        name: String,
    },
    /// Lists all groups with members and policies.
    List,
    /// Removes a group; one with members or policies only with --force.
    Rm {
        /// Name of the group
        name: String,
        /// Let its members leave, detach its policies and delete inline ones first
        #[arg(long)]
        force: bool,
    },
    /// Makes users members of a group.
    Join {
        /// Name of the group
        group: String,
        /// Names of users
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Takes users out of a group.
    Leave {
        /// Name of the group
        group: String,
        /// Names of users
        #[arg(required = true)]
        users: Vec<String>,
    },
}

pub(crate) fn run(client: &Client, command: &Command) -> Result<Output, Failure> {
    let (verb, name) = match command {
        Command::Add { name } => ("add", name.as_str()),
        Command::List => ("list", ""),
        Command::Rm { name, .. } => ("rm", name.as_str()),
        Command::Join { group, .. } => ("join", group.as_str()),
        Command::Leave { group, .. } => ("leave", group.as_str()),
    };
    let came = match command {
        Command::Add { name } => add(client, name),
        Command::List => list(client),
        Command::Rm { name, force } => remove(client, name, *force),
        Command::Join { group, users } => join(client, group, users, true),
        Command::Leave { group, users } => join(client, group, users, false),
    };
    came.map_err(|failure| {
        failure
            .if_not_found("nilas group list; nilas user list")
            .of(format!("group {verb} {name}").trim_end())
    })
}

fn add(client: &Client, name: &str) -> Result<Output, Failure> {
    let answer = client.iam("CreateGroup", &[("GroupName", name)])?;
    let group =
        answer.child("Group").ok_or_else(|| Failure::answer("CreateGroup did not say what it made"))?;
    let text = format!(
        "group {name} added, without members and policies yet\n\
         next: nilas group join {name} USER; nilas policy attach POLICY --group {name}"
    );
    Ok(Output::one(group_json(group), text))
}

fn list(client: &Client) -> Result<Output, Failure> {
    let asked = [("Filter.member.1", "User"), ("Filter.member.2", "Group")];
    let pages = client.iam_pages("GetAccountAuthorizationDetails", &asked)?;
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for group in pages.iter().flat_map(|page| page.members("GroupDetailList")) {
        let name = group.text_of("GroupName");
        let users = pages.iter().flat_map(|page| page.members("UserDetailList"));
        let members: Vec<&str> = users
            .filter(|user| user.members("GroupList").any(|group| group.text.trim() == name))
            .map(|user| user.text_of("UserName"))
            .collect();
        let texts = |list: &str, field: &str| -> Vec<String> {
            group.members(list).map(|member| member.text_of(field).to_owned()).collect()
        };
        let policies = texts("AttachedManagedPolicies", "PolicyName");
        let inline = texts("GroupPolicyList", "PolicyName");
        rows.push(vec![
            name.to_owned(),
            or_dash(&members.join(", ")),
            or_dash(&policies.join(", ")),
            or_dash(&inline.join(", ")),
        ]);
        let mut value = group_json(group);
        value["members"] = json!(members);
        value["policies"] = json!(policies);
        value["inline_policies"] = json!(inline);
        values.push(value);
    }
    Ok(Output::list(values, &["GROUP", "MEMBERS", "POLICIES", "INLINE"], rows))
}

fn remove(client: &Client, name: &str, force: bool) -> Result<Output, Failure> {
    let group = ("GroupName", name);
    let texts = |members: Vec<Element>, field: &str| -> Vec<String> {
        members.iter().map(|member| member.text_of(field).to_owned()).collect()
    };
    let members = texts(client.iam_list("GetGroup", &[group], "Users")?, "UserName");
    let attached = client.iam_list("ListAttachedGroupPolicies", &[group], "AttachedPolicies")?;
    let policies = texts(attached.clone(), "PolicyName");
    let inline: Vec<String> = client
        .iam_list("ListGroupPolicies", &[group], "PolicyNames")?
        .into_iter()
        .map(|name| name.text)
        .collect();
    let parts = [("members", &members), ("policies", &policies), ("inline policies", &inline)];
    let held: Vec<String> = parts
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", names.join(", ")))
        .collect();
    let held = held.join("; ");
    if !force && !held.is_empty() {
        let failure = Failure::new(Exit::Conflict, format!("it has {held}")).code("DeleteConflict");
        return Err(failure.next(format!("nilas group rm {name} --force")));
    }
    // Rights first: what cannot be finished must not leave members with them.
    for policy in &attached {
        client.iam("DetachGroupPolicy", &[group, ("PolicyArn", policy.text_of("PolicyArn"))])?;
    }
    for policy in &inline {
        client.iam("DeleteGroupPolicy", &[group, ("PolicyName", policy)])?;
    }
    for member in &members {
        client.iam("RemoveUserFromGroup", &[group, ("UserName", member)])?;
    }
    client.iam("DeleteGroup", &[group])?;
    let value = json!({
        "group": name, "removed": true, "members": members, "policies": policies, "inline_policies": inline,
    });
    let with = if held.is_empty() { String::new() } else { format!(", with {held}") };
    Ok(Output::one(value, format!("group {name} removed{with}")))
}

fn join(client: &Client, group: &str, users: &[String], joins: bool) -> Result<Output, Failure> {
    let action = if joins { "AddUserToGroup" } else { "RemoveUserFromGroup" };
    for user in users {
        client.iam(action, &[("GroupName", group), ("UserName", user)]).map_err(|failure| {
            failure.of(&format!("group {} {group} {user}", if joins { "join" } else { "leave" }))
        })?;
    }
    let who = users.join(", ");
    let text = match joins {
        true => format!("{who} joined group {group}"),
        false => format!("{who} left group {group}"),
    };
    Ok(Output::one(json!({ "group": group, "users": users, "member": joins }), text))
}

fn group_json(group: &Element) -> Value {
    json!({
        "group": group.text_of("GroupName"),
        "id": group.text_of("GroupId"),
        "arn": group.text_of("Arn"),
        "created": group.text_of("CreateDate"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{error, result, scripted};

    #[test]
    fn listing() {
        let details = result(
            "GetAccountAuthorizationDetails",
            "<UserDetailList><member><UserName>alice</UserName><GroupList><member>dev</member></GroupList></member>\
             <member><UserName>bob</UserName><GroupList/></member></UserDetailList>\
             <GroupDetailList><member><GroupName>dev</GroupName><GroupId>AGPA1</GroupId><Arn>a</Arn>\
             <CreateDate>d</CreateDate><AttachedManagedPolicies><member><PolicyName>readonly</PolicyName></member>\
             </AttachedManagedPolicies><GroupPolicyList/></member></GroupDetailList>",
        );
        let (came, _) = scripted(&[(200, &details)], |client| run(client, &Command::List));
        let came = came.expect("a list");
        assert_eq!(
            came.render(true),
            "{\"group\":\"dev\",\"id\":\"AGPA1\",\"arn\":\"a\",\"created\":\"d\",\"members\":[\"alice\"],\
             \"policies\":[\"readonly\"],\"inline_policies\":[]}\n"
        );
        assert_eq!(came.render(false), "GROUP  MEMBERS  POLICIES  INLINE\ndev    alice    readonly  -\n");
    }

    #[test]
    fn joining_stops_at_the_first_that_cannot() {
        let users = ["alice", "bob", "carol"].map(str::to_owned).to_vec();
        let command = Command::Join { group: "dev".to_owned(), users };
        let answers = ["<AddUserToGroupResponse/>".to_owned(), error("NoSuchEntity", "no bob")];
        let (came, seen) =
            scripted(&[(200, &answers[0]), (404, &answers[1])], |client| run(client, &command));
        let failure = came.expect_err("no bob");
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(
            failure.render(false).starts_with("nilas: group join dev bob: no bob"),
            "{}",
            failure.render(false)
        );
        assert_eq!(seen.len(), 2);
    }
}
