//! `nilas policy …`: managed policies, whom they are attached to, and what a decision would be.
//!
//! `main` hands over a connected [`Client`]; policies are IAM's, decisions are asked of the server's evaluator, which is the
//! one that judges requests.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use nilas_http::identity::provision::is_same;
use serde_json::{Value, json};

use crate::client::{Client, Connection, read_policy};
use crate::output::{Exit, Failure, Output, facts, or_dash, table};

/// Policies: what users, groups and keys may do, in the language of AWS IAM.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done with policies.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a policy of a file; of a name that is taken, a new version that is in force at once.
    Create {
        /// Name of the policy
        name: String,
        /// A policy (JSON); - reads standard input
        file: PathBuf,
    },
    /// Lists all policies, those that are always there among them.
    List,
    /// Prints the document in force of a policy; with --json whom it is attached to, too.
    Show {
        /// Name or ARN of the policy
        name: String,
    },
    /// Gives a policy to a user or a group.
    Attach {
        /// Name or ARN of the policy
        policy: String,
        #[command(flatten)]
        to: Holder,
    },
    /// Takes a policy from a user or a group.
    Detach {
        /// Name or ARN of the policy
        policy: String,
        #[command(flatten)]
        from: Holder,
    },
    /// Removes a policy with all its versions; one that is attached only with --force.
    Rm {
        /// Name or ARN of the policy
        name: String,
        /// Detach it from everybody first
        #[arg(long)]
        force: bool,
    },
    /// Asks whether a user may do something, and which statement decides. Exit code 0: allowed, 4: refused.
    Simulate {
        /// Who would ask
        #[arg(long = "as", value_name = "USER")]
        user: String,
        /// What for, such as s3:GetObject
        #[arg(long)]
        action: String,
        /// On what, such as arn:aws:s3:::bucket/key
        #[arg(long, value_name = "ARN")]
        resource: String,
        /// A condition key and its value, such as aws:SourceIp=10.0.0.1; may be repeated
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_context)]
        context: Vec<(String, String)>,
    },
    /// Lists everybody who may do something, each with the statement that lets them.
    WhoCan {
        /// What is to be done, such as s3:GetObject
        #[arg(long)]
        action: String,
        /// On what, such as arn:aws:s3:::bucket/key
        #[arg(long, value_name = "ARN")]
        resource: String,
        /// A condition key and its value, such as aws:SourceIp=10.0.0.1; may be repeated
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_context)]
        context: Vec<(String, String)>,
    },
}

/// Whom a policy is attached to: one of the two.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Holder {
    /// A user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

impl Holder {
    /// `User` or `Group`, as in names of IAM's actions, and the name.
    fn named(&self) -> (&'static str, &str) {
        match (&self.user, &self.group) {
            (Some(user), _) => ("User", user),
            (None, Some(group)) => ("Group", group),
            (None, None) => unreachable!("the command line asks for one"),
        }
    }
}

pub(crate) fn run(client: &Client, command: &Command) -> Result<Output, Failure> {
    let what = match command {
        Command::Create { name, .. } => format!("policy create {name}"),
        Command::List => "policy list".to_owned(),
        Command::Show { name } => format!("policy show {name}"),
        Command::Attach { policy, to } => format!("policy attach {policy} to {}", to.named().1),
        Command::Detach { policy, from } => format!("policy detach {policy} from {}", from.named().1),
        Command::Rm { name, .. } => format!("policy rm {name}"),
        Command::Simulate { user, .. } => format!("policy simulate --as {user}"),
        Command::WhoCan { .. } => "policy who-can".to_owned(),
    };
    let came = match command {
        Command::Create { name, file } => create(client, name, file),
        Command::List => list(client),
        Command::Show { name } => show(client, name),
        Command::Attach { policy, to } => attach(client, policy, to, true),
        Command::Detach { policy, from } => attach(client, policy, from, false),
        Command::Rm { name, force } => remove(client, name, *force),
        Command::Simulate { user, action, resource, context } => {
            simulate(client, user, action, resource, context)
        }
        Command::WhoCan { action, resource, context } => who_can(client, action, resource, context),
    };
    let hint = match command {
        Command::Attach { .. } | Command::Detach { .. } => {
            "nilas policy list; nilas user list; nilas group list"
        }
        Command::Simulate { .. } => "nilas user list",
        _ => "nilas policy list",
    };
    came.map_err(|failure| failure.if_not_found(hint).of(&what))
}

fn create(client: &Client, name: &str, file: &Path) -> Result<Output, Failure> {
    let document = read_policy(file)?;
    let made = put(client, name, &document)?;
    let text = match &made {
        Put::New => format!("policy {name} made\nnext: nilas policy attach {name} --user NAME"),
        Put::Unchanged { version } => {
            format!("policy {name} is that already, as version {version}: nothing changed")
        }
        Put::Version { version, removed } => {
            let removed =
                removed.as_ref().map_or(String::new(), |old| format!("; the oldest, {old}, was removed"));
            format!("policy {name} was there: version {version} made and in force{removed}")
        }
    };
    let (version, is_new, changed, removed) = match made {
        Put::New => ("v1".to_owned(), true, true, None),
        Put::Unchanged { version } => (version, false, false, None),
        Put::Version { version, removed } => (version, false, true, removed),
    };
    let value = json!({
        "policy": name, "version": version, "created": is_new, "changed": changed, "removed_version": removed,
    });
    Ok(Output::one(value, text))
}

/// What became of a document that was to be in force under a name.
pub(crate) enum Put {
    New,
    Unchanged { version: String },
    Version { version: String, removed: Option<String> },
}

/// Makes a policy, or a new version of one that is there.
pub(crate) fn put(client: &Client, name: &str, document: &str) -> Result<Put, Failure> {
    let taken = match client.iam("CreatePolicy", &[("PolicyName", name), ("PolicyDocument", document)]) {
        Ok(_) => return Ok(Put::New),
        Err(failure) if failure.is("EntityAlreadyExists") => failure.next("nilas policy list"),
        Err(failure) => return Err(failure),
    };
    // Taken by one that is always there, or by one whose name differs in case alone.
    let policy = match Policy::find(client, name) {
        Ok(policy) if is_canned(&policy.arn) => return Err(taken),
        Err(failure) if failure.exit == Exit::NotFound => return Err(taken),
        found => found?,
    };
    if is_same(&policy.document(client)?, document) {
        return Ok(Put::Unchanged { version: policy.version });
    }
    let asked = [("PolicyArn", policy.arn.as_str()), ("PolicyDocument", document), ("SetAsDefault", "true")];
    let (answer, removed) = match client.iam("CreatePolicyVersion", &asked) {
        Ok(answer) => (answer, None),
        Err(failure) if failure.is("LimitExceeded") => {
            let versions = policy.other_versions(client)?;
            let oldest = versions.last().ok_or(failure)?;
            client.iam("DeletePolicyVersion", &[("PolicyArn", &policy.arn), ("VersionId", oldest)])?;
            (client.iam("CreatePolicyVersion", &asked)?, Some(oldest.clone()))
        }
        Err(failure) => return Err(failure),
    };
    let version = answer.child("PolicyVersion").map_or("", |version| version.text_of("VersionId"));
    Ok(Put::Version { version: version.to_owned(), removed })
}

/// A managed policy as IAM describes it.
pub(crate) struct Policy {
    pub(crate) arn: String,
    pub(crate) version: String,
    attached: u64,
}

impl Policy {
    /// Finds a policy by its ARN, or by its name among those of the account and then among those always there. One with a
    /// path is looked for in the list.
    pub(crate) fn find(client: &Client, name: &str) -> Result<Policy, Failure> {
        if name.starts_with("arn:") {
            return Policy::at(client, name);
        }
        let caller = client.sts("GetCallerIdentity", &[])?;
        let own = format!("arn:aws:iam::{}:policy/{name}", caller.text_of("Account"));
        let absent = match Policy::at(client, &own) {
            Err(failure) if failure.exit == Exit::NotFound => failure,
            found => return found,
        };
        match Policy::at(client, &canned(name)) {
            Err(failure) if failure.exit == Exit::NotFound => {}
            found => return found,
        }
        let policies = match client.iam_list("ListPolicies", &[("Scope", "Local")], "Policies") {
            // Who may not see the list has to give the ARN.
            Err(failure) if failure.exit == Exit::Denied => return Err(absent),
            policies => policies?,
        };
        match policies.iter().find(|policy| policy.text_of("PolicyName") == name) {
            Some(policy) => Policy::at(client, policy.text_of("Arn")),
            None => Err(absent),
        }
    }

    fn at(client: &Client, arn: &str) -> Result<Policy, Failure> {
        let answer = client.iam("GetPolicy", &[("PolicyArn", arn)])?;
        let policy =
            answer.child("Policy").ok_or_else(|| Failure::answer("GetPolicy describes no policy"))?;
        Ok(Policy {
            arn: policy.text_of("Arn").to_owned(),
            version: policy.text_of("DefaultVersionId").to_owned(),
            attached: policy.text_of("AttachmentCount").parse().unwrap_or_default(),
        })
    }

    /// The document in force.
    pub(crate) fn document(&self, client: &Client) -> Result<String, Failure> {
        let asked = [("PolicyArn", self.arn.as_str()), ("VersionId", self.version.as_str())];
        let answer = client.iam("GetPolicyVersion", &asked)?;
        let version = answer.child("PolicyVersion");
        let document =
            version.ok_or_else(|| Failure::answer("GetPolicyVersion has no document"))?.text_of("Document");
        decoded(document)
            .ok_or_else(|| Failure::answer("the document of a policy is not encoded as IAM's are"))
    }

    /// The versions that are not in force, newest first.
    fn other_versions(&self, client: &Client) -> Result<Vec<String>, Failure> {
        let versions = client.iam_list("ListPolicyVersions", &[("PolicyArn", &self.arn)], "Versions")?;
        let others = versions.iter().filter(|version| version.text_of("IsDefaultVersion") != "true");
        let mut others: Vec<String> = others.map(|version| version.text_of("VersionId").to_owned()).collect();
        let number = |version: &String| version.trim_start_matches('v').parse::<u64>().unwrap_or_default();
        others.sort_by_key(|version| std::cmp::Reverse(number(version)));
        Ok(others)
    }

    /// Users and groups that it is attached to.
    fn holders(&self, client: &Client) -> Result<(Vec<String>, Vec<String>), Failure> {
        let pages = client.iam_pages("ListEntitiesForPolicy", &[("PolicyArn", &self.arn)])?;
        let names = |list: &str, field: &str| -> Vec<String> {
            let members = pages.iter().flat_map(|page| page.members(list));
            members.map(|member| member.text_of(field).to_owned()).collect()
        };
        Ok((names("PolicyUsers", "UserName"), names("PolicyGroups", "GroupName")))
    }
}

/// Where ARNs of policies begin that are always there.
const CANNED: &str = "arn:aws:iam::aws:policy/";

fn canned(name: &str) -> String {
    format!("{CANNED}{name}")
}

/// Whether a policy is always there.
pub(crate) fn is_canned(arn: &str) -> bool {
    arn.starts_with(CANNED)
}

/// Undoes the encoding that IAM gives documents in its answers.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
                bytes.push(u8::try_from(value).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn list(client: &Client) -> Result<Output, Failure> {
    let policies = client.iam_list("ListPolicies", &[("Scope", "All")], "Policies")?;
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for policy in &policies {
        let arn = policy.text_of("Arn");
        // What is always there has no time.
        let (kind, updated) =
            if is_canned(arn) { ("canned", None) } else { ("custom", Some(policy.text_of("UpdateDate"))) };
        let attached: u64 = policy.text_of("AttachmentCount").parse().unwrap_or_default();
        rows.push(vec![
            policy.text_of("PolicyName").to_owned(),
            kind.to_owned(),
            attached.to_string(),
            policy.text_of("DefaultVersionId").to_owned(),
            or_dash(updated.unwrap_or_default()),
        ]);
        values.push(json!({
            "policy": policy.text_of("PolicyName"),
            "kind": kind,
            "arn": arn,
            "attached": attached,
            "version": policy.text_of("DefaultVersionId"),
            "updated": updated,
        }));
    }
    Ok(Output::list(values, &["POLICY", "KIND", "ATTACHED", "VERSION", "UPDATED"], rows))
}

fn show(client: &Client, name: &str) -> Result<Output, Failure> {
    let policy = Policy::find(client, name)?;
    let document = policy.document(client)?;
    let parsed: Value = serde_json::from_str(&document)
        .map_err(|e| Failure::answer(format!("the document of {name} is no JSON: {e}")))?;
    let (users, groups) = if policy.attached == 0 { Default::default() } else { policy.holders(client)? };
    let value = json!({
        "policy": policy.arn.rsplit('/').next(),
        "arn": policy.arn,
        "version": policy.version,
        "users": users,
        "groups": groups,
        "document": parsed,
    });
    // As it was given, so that it can be changed and given again.
    Ok(Output::one(value, document))
}

fn attach(client: &Client, name: &str, holder: &Holder, attaches: bool) -> Result<Output, Failure> {
    let policy = Policy::find(client, name)?;
    let (kind, who) = holder.named();
    let verb = if attaches { "Attach" } else { "Detach" };
    let named = if kind == "User" { "UserName" } else { "GroupName" };
    client.iam(&format!("{verb}{kind}Policy"), &[(named, who), ("PolicyArn", &policy.arn)])?;
    let kind = kind.to_ascii_lowercase();
    let text = match attaches {
        true => format!("policy {name} attached to {kind} {who}"),
        false => format!("policy {name} detached from {kind} {who}"),
    };
    let mut value =
        json!({ "policy": policy.arn.rsplit('/').next(), "arn": policy.arn, "attached": attaches });
    value[&kind] = json!(who);
    Ok(Output::one(value, text))
}

fn remove(client: &Client, name: &str, force: bool) -> Result<Output, Failure> {
    let policy = Policy::find(client, name)?;
    let (users, groups) = policy.holders(client)?;
    let attached = [("users", &users), ("groups", &groups)];
    let held: Vec<String> = attached
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what} {}", names.join(", ")))
        .collect();
    let held = held.join("; ");
    if !force && !held.is_empty() {
        let why = format!("it is attached to {held}");
        return Err(Failure::new(Exit::Conflict, why)
            .code("DeleteConflict")
            .next(format!("nilas policy rm {name} --force")));
    }
    let arn = ("PolicyArn", policy.arn.as_str());
    for user in &users {
        client.iam("DetachUserPolicy", &[("UserName", user), arn])?;
    }
    for group in &groups {
        client.iam("DetachGroupPolicy", &[("GroupName", group), arn])?;
    }
    for version in policy.other_versions(client)? {
        client.iam("DeletePolicyVersion", &[arn, ("VersionId", &version)])?;
    }
    client.iam("DeletePolicy", &[arn])?;
    let value = json!({ "policy": name, "removed": true, "users": users, "groups": groups });
    let from = if held.is_empty() { String::new() } else { format!(", detached from {held}") };
    Ok(Output::one(value, format!("policy {name} removed{from}")))
}

fn simulate(
    client: &Client,
    user: &str,
    action: &str,
    resource: &str,
    context: &[(String, String)],
) -> Result<Output, Failure> {
    let context = context_pairs(context);
    let mut query = vec![("as", user), ("action", action), ("resource", resource)];
    query.extend(context.iter().map(|(key, value)| (key.as_str(), *value)));
    let page = client.page("/_nilas/simulate", &query, None)?;
    let allowed =
        page["allowed"].as_bool().ok_or_else(|| Failure::answer("the simulation says neither yes nor no"))?;
    let word = |value: &Value| or_dash(value.as_str().unwrap_or_default());
    let mut text = facts(&[
        ("decision", if allowed { "allowed" } else { "refused" }.to_owned()),
        ("user", user.to_owned()),
        ("action", action.to_owned()),
        ("resource", resource.to_owned()),
        ("because", word(&page["decision"])),
    ]);
    let layers = page["layers"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    if !layers.is_empty() {
        let row =
            |layer: &Value| vec![word(&layer["layer"]), word(&layer["decision"]), word(&layer["statement"])];
        text += "\n";
        text += &table(&["LAYER", "SAYS", "STATEMENT"], &layers.iter().map(row).collect::<Vec<_>>());
    }
    let exit = if allowed { Exit::Done } else { Exit::Denied };
    Ok(Output::one(page, text).ending(exit))
}

fn who_can(
    client: &Client,
    action: &str,
    resource: &str,
    context: &[(String, String)],
) -> Result<Output, Failure> {
    let context = context_pairs(context);
    let mut query = vec![("action", action), ("resource", resource)];
    query.extend(context.iter().map(|(key, value)| (key.as_str(), *value)));
    let page = client.page("/_nilas/who-can", &query, None)?;
    let who = page["who"]
        .as_array()
        .ok_or_else(|| Failure::answer("the answer lists nobody, not even an empty list"))?;
    let word = |value: &Value| or_dash(value.as_str().unwrap_or_default());
    let rows =
        who.iter().map(|one| vec![word(&one["kind"]), word(&one["name"]), word(&one["statement"])]).collect();
    if page["truncated"] == json!(true) {
        eprintln!("nilas: the server stopped at {} answers, there are more", who.len());
    }
    Ok(Output::list(who.clone(), &["KIND", "NAME", "STATEMENT"], rows))
}

fn context_pairs(context: &[(String, String)]) -> Vec<(String, &str)> {
    context.iter().map(|(key, value)| (format!("context.{key}"), value.as_str())).collect()
}

fn parse_context(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no condition key with a value: write it like aws:SourceIp=10.0.0.1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::segment;
    use crate::client::tests::{error, result, scripted};

    #[test]
    fn documents() {
        assert_eq!(decoded("%7B%22a%22%3A1%7D").as_deref(), Some("{\"a\":1}"));
        assert_eq!(decoded("a+b"), Some("a+b".to_owned()));
        assert_eq!(decoded("%7"), None);
        assert_eq!(decoded("%ff"), None);
    }

    const DOCUMENT: &str = "{\"Version\": \"2012-10-17\", \"Statement\": []}";

    fn caller() -> String {
        result("GetCallerIdentity", "<Account>123456789012</Account>")
    }

    fn policy(version: &str) -> String {
        let arn = "arn:aws:iam::123456789012:policy/p";
        let inner =
            format!("<Policy><Arn>{arn}</Arn><DefaultVersionId>{version}</DefaultVersionId></Policy>");
        result("GetPolicy", &inner)
    }

    fn document(text: &str) -> String {
        let inner = format!("<PolicyVersion><Document>{}</Document></PolicyVersion>", segment(text));
        result("GetPolicyVersion", &inner)
    }

    fn putting(answers: &[(u16, &str)]) -> (Result<Output, Failure>, Vec<String>) {
        scripted(answers, |client| {
            let (version, removed) = match put(client, "p", DOCUMENT)? {
                Put::New => ("new".to_owned(), None),
                Put::Unchanged { version } => (format!("still {version}"), None),
                Put::Version { version, removed } => (version, removed),
            };
            Ok(Output::one(json!([version, removed]), ""))
        })
    }

    #[test]
    fn a_policy_of_a_name_that_is_taken() {
        let said =
            |came: Result<Output, Failure>| came.map(|came| came.render(true)).map_err(|f| f.render(false));
        let check = |came, expected: &str| assert_eq!(said(came), Ok(format!("{expected}\n")));
        let made = result("CreatePolicy", "<Policy/>");
        check(putting(&[(200, &made)]).0, "[\"new\",null]");

        let (there, caller, found) = (error("EntityAlreadyExists", "there"), caller(), policy("v2"));
        let same = document("{\"Version\":\"2012-10-17\",\"Statement\":[]}");
        let answers = [(409, there.as_str()), (200, &caller), (200, &found), (200, &same)];
        check(putting(&answers).0, "[\"still v2\",null]");

        // Taken by another: one that is always there, or one of another case.
        let canned = found.replace("123456789012", "aws");
        let (none, nothing) = (error("NoSuchEntity", "none"), result("ListPolicies", ""));
        for answers in [
            vec![(409, there.as_str()), (200, &caller), (200, &canned)],
            vec![(409, &there), (200, &caller), (404, &none), (404, &none), (200, &nothing)],
        ] {
            let failure = putting(&answers).0.expect_err("taken");
            assert_eq!(
                (failure.exit, failure.code.as_deref()),
                (Exit::Conflict, Some("EntityAlreadyExists"))
            );
        }

        let (other, full) = (document("{}"), error("LimitExceeded", "five"));
        let version =
            result("CreatePolicyVersion", "<PolicyVersion><VersionId>v12</VersionId></PolicyVersion>");
        let answers = [(409, there.as_str()), (200, &caller), (200, &found), (200, &other), (200, &version)];
        check(putting(&answers).0, "[\"v12\",null]");

        let one = |version: &str, is_default: bool| {
            format!(
                "<member><VersionId>{version}</VersionId><IsDefaultVersion>{is_default}</IsDefaultVersion></member>"
            )
        };
        let versions = ["v11", "v2", "v9", "v10"].map(|version| one(version, version == "v2")).concat();
        let versions = result("ListPolicyVersions", &format!("<Versions>{versions}</Versions>"));
        let deleted = "<DeletePolicyVersionResponse/>";
        let mut answers = answers[..4].to_vec();
        answers.extend([(409, full.as_str()), (200, &versions), (200, deleted), (200, &version)]);
        let (came, seen) = putting(&answers);
        check(came, "[\"v12\",\"v9\"]");
        assert!(seen[6].ends_with("&VersionId=v9"), "{}", seen[6]);
    }

    #[test]
    fn names_are_looked_for_here_and_then_among_the_canned() {
        let none = error("NoSuchEntity", "no such policy");
        let (caller, found) = (caller(), policy("v1"));
        let find = |client: &Client| {
            Policy::find(client, "readonly").map(|policy| Output::one(json!(policy.version), ""))
        };
        let (came, seen) = scripted(&[(200, &caller), (404, &none), (200, &found)], find);
        assert!(came.is_ok());
        let policy = "POST / Action=GetPolicy&Version=2010-05-08&PolicyArn=arn%3Aaws%3Aiam%3A%3A";
        assert_eq!(
            seen[1..],
            [format!("{policy}123456789012%3Apolicy%2Freadonly"), format!("{policy}aws%3Apolicy%2Freadonly")]
        );
        let denied = error("AccessDenied", "no");
        let (came, _) = scripted(&[(200, &caller), (404, &none), (404, &none), (403, &denied)], find);
        assert_eq!(came.expect_err("no policy").exit, Exit::NotFound);
        // With a path: in the list.
        let member = |name: &str| {
            format!(
                "<member><PolicyName>{name}</PolicyName><Arn>arn:aws:iam::1:policy/sec/{name}</Arn></member>"
            )
        };
        let list = |names: &str| result("ListPolicies", &format!("<Policies>{names}</Policies>"));
        let (others, all) = (list(&member("READONLY")), list(&(member("other") + &member("readonly"))));
        let (came, _) = scripted(&[(200, &caller), (404, &none), (404, &none), (200, &others)], find);
        assert_eq!(came.expect_err("no policy").exit, Exit::NotFound);
        let answers = [(200, caller.as_str()), (404, &none), (404, &none), (200, &all), (200, &found)];
        let (came, seen) = scripted(&answers, find);
        assert!(came.is_ok());
        assert!(seen[4].ends_with("policy%2Fsec%2Freadonly"), "{}", seen[4]);
    }

    #[test]
    fn a_simulation_ends_with_what_it_found() {
        let command = |user: &str| Command::Simulate {
            user: user.to_owned(),
            action: "s3:GetObject".to_owned(),
            resource: "arn:aws:s3:::b/k".to_owned(),
            context: vec![("aws:SourceIp".to_owned(), "10.0.0.1".to_owned())],
        };
        let page = "{\"allowed\":false,\"decision\":\"explicit deny\",\"statement\":\"p[0]\",\
                    \"layers\":[{\"layer\":\"identity\",\"decision\":\"deny\",\"statement\":\"p[0]\"}]}";
        let (came, seen) = scripted(&[(200, page)], |client| run(client, &command("alice")));
        let came = came.expect("an answer");
        assert_eq!(came.exit, Exit::Denied);
        assert!(came.render(false).contains("decision  refused"), "{}", came.render(false));
        assert_eq!(
            seen,
            ["GET /_nilas/simulate?as=alice&action=s3%3AGetObject&resource=arn%3Aaws%3As3%3A%3A%3Ab%2Fk\
              &context.aws%3ASourceIp=10.0.0.1"]
        );
        let (came, _) = scripted(&[(200, "{\"allowed\":true}")], |client| run(client, &command("alice")));
        assert_eq!(came.expect("an answer").exit, Exit::Done);
        let (came, _) = scripted(&[(200, "{}")], |client| run(client, &command("alice")));
        assert_eq!(came.expect_err("no answer").exit, Exit::Failed);
    }

    #[test]
    fn contexts() {
        assert_eq!(parse_context("aws:Referer=a=b"), Ok(("aws:Referer".to_owned(), "a=b".to_owned())));
        assert!(parse_context("aws:Referer").is_err());
        assert!(parse_context("=b").is_err());
    }
}
