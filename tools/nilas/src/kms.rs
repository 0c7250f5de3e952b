//! `nilas kms …`: the named keys that objects are encrypted under, and master keys.
//!
//! Keys are made and turned by the server's own pages, and never leave it. A master key is made here, and no server is asked: the operator keeps
//! it.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, Connection};
use crate::output::{Failure, Output, or_dash};

/// Keys that objects are encrypted under.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done with them.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Named keys of aws:kms.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Prints a new master key, as a line for the file of `nilas serve --master-key-file`; no server is asked.
    MasterKey {
        /// Its name, which what it seals carries: another one for every key
        #[arg(default_value = "master-1")]
        id: String,
    },
}

/// What is done with named keys.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Makes a key.
    Create {
        /// Its name
        key: String,
    },
    /// Lists keys, never what they are.
    List,
    /// Gives a key a new version, which encrypts from now on; what is there stays readable and is not written again.
    Rotate {
        /// Its name; sse-s3 is the key of AES256
        key: String,
    },
}

/// Carries out a command; `master-key` alone asks no server.
pub(crate) fn run(arguments: &Arguments) -> Result<Output, Failure> {
    match &arguments.command {
        Command::MasterKey { id } => master_key(id),
        Command::Key(command) => Client::new(&arguments.connection).and_then(|client| keys(&client, command)),
    }
}

fn master_key(id: &str) -> Result<Output, Failure> {
    let line = nilas_http::sse::master::new_line(id, nilas_engine::rt::random_u128);
    nilas_http::sse::master::MasterKeys::parse(&line).map_err(|fault| Failure::usage(fault.to_string()))?;
    Ok(Output::one(json!({ "id": id, "line": line.as_str() }), line.to_string()))
}

fn keys(client: &Client, command: &KeyCommand) -> Result<Output, Failure> {
    let hint = "nilas kms key list";
    match command {
        KeyCommand::Create { key } => {
            let made = client.page("/_nilas/kms/keys", &[], Some(&json!({ "key": key })));
            let made = made.map_err(|failure| failure.of(&format!("kms key create {key}")))?;
            Ok(Output::one(made, format!("key {key} is there")))
        }
        KeyCommand::Rotate { key } => {
            let made = client.page("/_nilas/kms/rotate", &[], Some(&json!({ "key": key })));
            let what = format!("kms key rotate {key}");
            let made = made.map_err(|failure| failure.if_not_found(hint).of(&what))?;
            let text =
                format!("key {key} has {} versions, the newest encrypts from now on", made["versions"]);
            Ok(Output::one(made, text))
        }
        KeyCommand::List => list(client).map_err(|failure| failure.of("kms key list")),
    }
}

fn list(client: &Client) -> Result<Output, Failure> {
    let page = client.page("/_nilas/kms/keys", &[], None)?;
    let keys = page["keys"].as_array();
    let keys = keys.ok_or_else(|| Failure::answer("the answer lists no keys, not even an empty list"))?;
    let row = |key: &Value| {
        let word = |field: &str| or_dash(key[field].as_str().unwrap_or_default());
        vec![word("key"), key["versions"].to_string(), word("created"), word("rotated"), word("master_key")]
    };
    let rows = keys.iter().map(row).collect();
    Ok(Output::list(keys.clone(), &["KEY", "VERSIONS", "CREATED", "ROTATED", "MASTER KEY"], rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::scripted;
    use crate::output::Exit;

    #[test]
    fn named_keys() {
        let answer =
            "{\"key\":\"k\",\"created\":\"c\",\"versions\":2,\"rotated\":\"r\",\"master_key\":\"m\"}";
        let (came, seen) =
            scripted(&[(200, answer)], |client| keys(client, &KeyCommand::Create { key: "k".to_owned() }));
        assert_eq!(came.expect("made").render(false), "key k is there\n");
        assert_eq!(seen, ["POST /_nilas/kms/keys {\"key\":\"k\"}"]);
        let (came, seen) =
            scripted(&[(200, answer)], |client| keys(client, &KeyCommand::Rotate { key: "k".to_owned() }));
        assert_eq!(
            came.expect("turned").render(false),
            "key k has 2 versions, the newest encrypts from now on\n"
        );
        assert_eq!(seen, ["POST /_nilas/kms/rotate {\"key\":\"k\"}"]);
        let all = format!("{{\"master_key\":true,\"keys\":[{answer}]}}");
        let (came, _) = scripted(&[(200, &all)], |client| keys(client, &KeyCommand::List));
        let text = came.expect("a list").render(false);
        assert_eq!(text, "KEY  VERSIONS  CREATED  ROTATED  MASTER KEY\nk    2         c        r        m\n");
    }

    #[test]
    fn master_keys() {
        assert!(master_key("m-1").is_ok_and(|made| made.render(false).starts_with("m-1:")));
        assert_eq!(master_key("a b").expect_err("no name").exit, Exit::Usage);
    }
}
