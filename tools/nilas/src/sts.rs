//! `nilas sts …`: sessions, and who the key belongs to.
//!
//! `main` hands over a connected [`Client`]. A session's secret is printed by the command that made it and by no other.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nilas_http::identity::provision::parse_seconds;
use serde_json::{Value, json};

use crate::client::{Client, Connection, read_policy};
use crate::output::{Failure, Output, facts, plain};

/// Sessions: keys that end by themselves.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done with sessions.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a session with the rights of the key, or less, and prints its keys as lines for a shell.
    Assume {
        /// The role that the session is named after [default: role/nilas of this account]
        #[arg(long, value_name = "ARN")]
        role_arn: Option<String>,
        /// Name of the session
        #[arg(long, value_name = "NAME", default_value = "nilas")]
        name: String,
        /// When it ends: from 15m to 12h
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_seconds)]
        duration: u64,
        /// A policy (JSON) that narrows what the session may do; - reads standard input
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Says whom the key belongs to.
    Whoami,
}

pub(crate) fn run(client: &Client, command: &Command) -> Result<Output, Failure> {
    match command {
        Command::Assume { role_arn, name, duration, policy } => {
            let policy = policy.as_deref().map(read_policy).transpose();
            policy
                .and_then(|policy| assume(client, role_arn.as_deref(), name, *duration, policy.as_deref()))
                .map_err(|failure| failure.of("sts assume"))
        }
        Command::Whoami => whoami(client).map_err(|failure| failure.of("sts whoami")),
    }
}

fn assume(
    client: &Client,
    role_arn: Option<&str>,
    name: &str,
    duration: u64,
    policy: Option<&str>,
) -> Result<Output, Failure> {
    client.warn_of_plain_text();
    let role_arn = match role_arn {
        Some(role_arn) => role_arn.to_owned(),
        None => {
            let caller = client.sts("GetCallerIdentity", &[])?;
            format!("arn:aws:iam::{}:role/nilas", caller.text_of("Account"))
        }
    };
    let duration = duration.to_string();
    let mut asked = vec![
        ("RoleArn", role_arn.as_str()),
        ("RoleSessionName", name),
        ("DurationSeconds", duration.as_str()),
    ];
    asked.extend(policy.map(|policy| ("Policy", policy)));
    let made = client.sts("AssumeRole", &asked)?;
    let keys =
        made.child("Credentials").ok_or_else(|| Failure::answer("AssumeRole answered without keys"))?;
    let arn = made.child("AssumedRoleUser").map_or("", |user| user.text_of("Arn"));
    let value = json!({
        "access_key": keys.text_of("AccessKeyId"),
        "secret_key": keys.text_of("SecretAccessKey"),
        "session_token": keys.text_of("SessionToken"),
        "expires": keys.text_of("Expiration"),
        "arn": arn,
    });
    let text = format!(
        "# session {}, until {}\nNILAS_ACCESS_KEY={}\nNILAS_SECRET_KEY={}\nNILAS_SESSION_TOKEN={}\n",
        plain(arn),
        keys.text_of("Expiration"),
        keys.text_of("AccessKeyId"),
        keys.text_of("SecretAccessKey"),
        keys.text_of("SessionToken"),
    );
    Ok(Output::one(value, text))
}

fn whoami(client: &Client) -> Result<Output, Failure> {
    let page = client.page("/_nilas/whoami", &[], None)?;
    let pairs = lines(&page);
    let pairs: Vec<(&str, String)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let text = facts(&pairs);
    Ok(Output::one(page, text))
}

/// The fields of a document as lines; those of a document within it come with both names.
fn lines(document: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, value) in document.as_object().into_iter().flatten() {
        let name = name.replace('_', " ");
        match value {
            Value::Null => {}
            Value::Object(_) => {
                out.extend(lines(value).into_iter().map(|(inner, text)| (format!("{name} {inner}"), text)))
            }
            value => out.push((name, word(value))),
        }
    }
    out
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{result, scripted};

    #[test]
    fn assuming() {
        let caller = result("GetCallerIdentity", "<Account>123456789012</Account>");
        let made = result(
            "AssumeRole",
            "<Credentials><AccessKeyId>NILT1</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
             <Expiration>e</Expiration></Credentials><AssumedRoleUser><Arn>a</Arn></AssumedRoleUser>",
        );
        let command =
            Command::Assume { role_arn: None, name: "nilas".to_owned(), duration: 900, policy: None };
        let (came, seen) = scripted(&[(200, &caller), (200, &made)], |client| run(client, &command));
        let came = came.expect("a session");
        assert_eq!(
            came.render(true),
            "{\"access_key\":\"NILT1\",\"secret_key\":\"s\",\"session_token\":\"t\",\"expires\":\"e\",\"arn\":\"a\"}\n"
        );
        assert_eq!(
            came.render(false),
            "# session a, until e\nNILAS_ACCESS_KEY=NILT1\nNILAS_SECRET_KEY=s\nNILAS_SESSION_TOKEN=t\n"
        );
        assert_eq!(
            seen[1],
            "POST / Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fnilas\
             &RoleSessionName=nilas&DurationSeconds=900"
        );
    }

    #[test]
    fn documents_as_lines() {
        let document = json!({
            "owner_id": "ab", "session": { "name": "x", "expires": null }, "policies": ["a", "b"], "groups": [], "n": 1,
        });
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("owner id", "ab"),
            pair("session name", "x"),
            pair("policies", "a, b"),
            pair("groups", "-"),
            pair("n", "1"),
        ];
        assert_eq!(lines(&document), expected);
    }
}
