//! `nilas key …`: access keys of users.
//!
//! `main` hands over a connected [`Client`]. Keys are made by the server's own page, since IAM's call knows no name, expiry
//! or policy; they are deleted by IAM. A secret is printed by the command that made it and by no other.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use nilas_http::identity::provision::parse_seconds;
use serde_json::{Value, json};

use crate::client::{Client, Connection, read_policy};
use crate::output::{Exit, Failure, Output, or_dash, plain};

/// Access keys of users, which may do what their user may, or less.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done with keys.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a key and prints it as lines for a shell; its secret is shown this once.
    Create {
        /// Whose key it is
        #[arg(long, value_name = "NAME")]
        user: String,
        /// When it ends by itself, such as 1h or 30d [default: never]
        #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
        expires: Option<u64>,
        /// A policy (JSON) that narrows what the key may do; - reads standard input
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
    },
    /// Lists keys, never secrets.
    List {
        /// Of this user alone
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Deletes a key: requests signed with it are refused from now on.
    Rm {
        /// The access key
        access_key: String,
        /// Whose key it is [default: who the server says it belongs to]
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Gives the store in --data DIR another root secret, which its server takes at its next start. The secret is made, or
    /// that of NILAS_NEW_SECRET_KEY; no server is asked.
    RotateRoot,
}

/// Carries out a command; `rotate-root` alone asks no server.
pub(crate) fn run(arguments: &Arguments) -> Result<Output, Failure> {
    let client = || Client::new(&arguments.connection);
    let (came, what, hint) = match &arguments.command {
        Command::Create { user, expires, policy, name } => {
            let policy = policy.as_deref().map(read_policy).transpose();
            let came = policy
                .and_then(|policy| create(&client()?, user, *expires, policy.as_deref(), name.as_deref()));
            (came, format!("key create --user {user}"), "nilas user list")
        }
        Command::List { user } => {
            let came = client().and_then(|client| list(&client, user.as_deref()));
            (came, "key list".to_owned(), "nilas user list")
        }
        Command::Rm { access_key, user } => {
            let came = client().and_then(|client| remove(&client, access_key, user.as_deref()));
            (came, format!("key rm {access_key}"), "nilas key list")
        }
        Command::RotateRoot => (rotate_root(&arguments.connection), "key rotate-root".to_owned(), ""),
    };
    came.map_err(|failure| failure.if_not_found(hint).of(&what))
}

fn rotate_root(connection: &Connection) -> Result<Output, Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let data = connection.data.clone().or_else(|| variable("NILAS_DATA").map(PathBuf::from));
    let data = data.unwrap_or_else(|| PathBuf::from("nilas-data"));
    if !data.is_dir() {
        let why = format!("there is no directory {}", data.display());
        return Err(Failure::new(Exit::NotFound, why).next("--data DIR of the server"));
    }
    let secret = std::env::var("NILAS_NEW_SECRET_KEY").ok().filter(|value| !value.is_empty());
    let path = nilas_http::process::rotate_root_key(&data, secret.as_deref())
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let text = format!(
        "the next root secret is in {}\nnext: restart the server, which seals everything anew and makes it root.env; a server \
         with NILAS_SECRET_KEY in its environment takes it from there, so give it this one there",
        path.display()
    );
    Ok(Output::one(json!({ "file": path }), text))
}

fn create(
    client: &Client,
    user: &str,
    expires: Option<u64>,
    policy: Option<&str>,
    name: Option<&str>,
) -> Result<Output, Failure> {
    client.warn_of_plain_text();
    let mut asked = json!({ "user": user });
    let given = [
        ("name", name.map(Value::from)),
        ("expires_s", expires.map(Value::from)),
        ("policy", policy.map(Value::from)),
    ];
    for (field, value) in given {
        if let Some(value) = value {
            asked[field] = value;
        }
    }
    let made = client.page("/_nilas/keys", &[], Some(&asked))?;
    let (Some(access_key), Some(secret_key)) = (made["access_key"].as_str(), made["secret_key"].as_str())
    else {
        return Err(Failure::answer("the server did not say which key it made")
            .next(format!("nilas key list --user {user}")));
    };
    let mut value = json!({ "user": user, "access_key": access_key, "secret_key": secret_key });
    if let Some(name) = name {
        value["name"] = json!(name);
    }
    let mut until = String::new();
    if made["expires"].is_string() {
        value["expires"] = made["expires"].clone();
        until = format!(", until {}", made["expires"].as_str().unwrap_or_default());
    }
    // Lines that a shell can read, as those of root.env.
    let text = format!(
        "# key of user {}{until}; the secret is shown this once\nNILAS_ACCESS_KEY={access_key}\nNILAS_SECRET_KEY={secret_key}",
        plain(user)
    );
    Ok(Output::one(value, text))
}

fn list(client: &Client, user: Option<&str>) -> Result<Output, Failure> {
    let query: Vec<(&str, &str)> = user.iter().map(|user| ("user", *user)).collect();
    let page = client.page("/_nilas/users", &query, None)?;
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for user in page["users"].as_array().into_iter().flatten() {
        for key in user["keys"].as_array().into_iter().flatten() {
            let word = |field: &str| or_dash(key[field].as_str().unwrap_or_default());
            let state = if key["enabled"] == json!(false) { "disabled" } else { "enabled" };
            let policy = if key["policy"] == json!(true) { "own" } else { "-" };
            rows.push(vec![
                word("access_key"),
                user["user"].as_str().unwrap_or_default().to_owned(),
                word("name"),
                state.to_owned(),
                policy.to_owned(),
                word("expires"),
                word("created"),
            ]);
            values.push(json!({
                "access_key": key["access_key"],
                "user": user["user"],
                "name": key["name"],
                "enabled": key["enabled"],
                "policy": key["policy"],
                "expires": key["expires"],
                "created": key["created"],
            }));
        }
    }
    Ok(Output::list(values, &["ACCESS KEY", "USER", "NAME", "STATE", "POLICY", "EXPIRES", "CREATED"], rows))
}

fn remove(client: &Client, access_key: &str, user: Option<&str>) -> Result<Output, Failure> {
    let user = match user {
        Some(user) => user.to_owned(),
        None => {
            let answer = client.iam("GetAccessKeyLastUsed", &[("AccessKeyId", access_key)])?;
            answer.text_of("UserName").to_owned()
        }
    };
    client.iam("DeleteAccessKey", &[("UserName", &user), ("AccessKeyId", access_key)])?;
    let text = format!("key {access_key} of user {user} deleted");
    Ok(Output::one(json!({ "access_key": access_key, "user": user, "removed": true }), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::{result, scripted};

    #[test]
    fn creating() {
        let made = "{\"user\":\"alice\",\"access_key\":\"NILAS1\",\"secret_key\":\"s\",\"expires\":null}";
        let (came, seen) = scripted(&[(200, made)], |client| create(client, "alice", None, None, None));
        let came = came.expect("made");
        assert_eq!(
            came.render(true),
            "{\"user\":\"alice\",\"access_key\":\"NILAS1\",\"secret_key\":\"s\"}\n"
        );
        assert!(came.render(false).ends_with("\nNILAS_ACCESS_KEY=NILAS1\nNILAS_SECRET_KEY=s\n"));
        assert_eq!(seen, ["POST /_nilas/keys {\"user\":\"alice\"}"]);

        let made = "{\"user\":\"alice\",\"access_key\":\"NILAS1\",\"secret_key\":\"s\",\"expires\":\"t\"}";
        let (came, seen) =
            scripted(&[(200, made)], |client| create(client, "alice", Some(3600), None, Some("ci")));
        assert_eq!(
            came.expect("made").render(true),
            "{\"user\":\"alice\",\"access_key\":\"NILAS1\",\"secret_key\":\"s\",\"name\":\"ci\",\"expires\":\"t\"}\n"
        );
        assert_eq!(seen, ["POST /_nilas/keys {\"user\":\"alice\",\"name\":\"ci\",\"expires_s\":3600}"]);
    }

    #[test]
    fn listing() {
        let page = "{\"users\":[{\"user\":\"alice\",\"enabled\":true,\"keys\":[{\"access_key\":\"NILAS1\",\"name\":null,\
                    \"enabled\":true,\"created\":\"c\",\"expires\":\"e\",\"policy\":true}]},{\"user\":\"bob\",\"keys\":[]}]}";
        let (came, seen) = scripted(&[(200, page)], |client| list(client, None));
        let came = came.expect("a list");
        assert_eq!(
            came.render(true),
            "{\"access_key\":\"NILAS1\",\"user\":\"alice\",\"name\":null,\"enabled\":true,\"policy\":true,\
             \"expires\":\"e\",\"created\":\"c\"}\n"
        );
        assert!(
            came.render(false).contains("NILAS1      alice  -     enabled  own     e        c"),
            "{}",
            came.render(false)
        );
        assert_eq!(seen, ["GET /_nilas/users"]);
        let (_, seen) = scripted(&[(200, page)], |client| list(client, Some("a b")));
        assert_eq!(seen, ["GET /_nilas/users?user=a%20b"]);
    }

    #[test]
    fn removing_asks_whose_it_is() {
        let whose = result("GetAccessKeyLastUsed", "<UserName>alice</UserName>");
        let (came, seen) = scripted(&[(200, &whose), (200, "<DeleteAccessKeyResponse/>")], |client| {
            remove(client, "NILAS1", None)
        });
        assert_eq!(
            came.expect("gone").render(true),
            "{\"access_key\":\"NILAS1\",\"user\":\"alice\",\"removed\":true}\n"
        );
        assert_eq!(
            seen[1],
            "POST / Action=DeleteAccessKey&Version=2010-05-08&UserName=alice&AccessKeyId=NILAS1"
        );
    }
}
