//! The user that a load is sent as: a real one, with as many policies as a large team gives.
//!
//! `target` asks [`make`] for the keys when `--as` is given. Every request of the load is then judged by
//! [`POLICIES`] policies of [`STATEMENTS`] statements each, of which one of the last allows it.

use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::sign::{self, Signer};

/// Attached policies.
const POLICIES: usize = 20;
/// Statements of each.
const STATEMENTS: usize = 20;

/// Makes the user with `root`, a client of the root key, and gives it a new key; a user that is there keeps what it has.
pub(crate) fn make(root: &Client, user: &str) -> Result<(String, String), String> {
    let mut client = root.clone();
    client.signer = Signer::new(&root.signer.access, &root.signer.secret, "iam");
    ask(&mut client, "CreateUser", &[("UserName", user)])?;
    let account = ask(&mut client, "GetUser", &[("UserName", user)])?;
    let account = element(&account, "Arn").split(':').nth(4).unwrap_or_default().to_owned();
    for nth in 0..POLICIES {
        let name = format!("{user}-{nth:02}");
        ask(&mut client, "CreatePolicy", &[("PolicyName", &name), ("PolicyDocument", &document(nth))])?;
        let arn = format!("arn:aws:iam::{account}:policy/{name}");
        ask(&mut client, "AttachUserPolicy", &[("UserName", user), ("PolicyArn", &arn)])?;
    }
    let key = ask(&mut client, "CreateAccessKey", &[("UserName", user)])?;
    Ok((element(&key, "AccessKeyId").to_owned(), element(&key, "SecretAccessKey").to_owned()))
}

/// A policy for twenty teams' buckets; the last one of all has the bucket of the load.
fn document(policy: usize) -> String {
    let statements: Vec<String> = (0..STATEMENTS)
        .map(|nth| {
            let bucket = match (policy, nth) {
                (policy, nth) if policy == POLICIES - 1 && nth == STATEMENTS - 1 => "nilas-bench*".to_owned(),
                _ => format!("team-{policy}-{nth}"),
            };
            format!(
                r#"{{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:ListBucket","s3:CreateBucket"],"Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}"#
            )
        })
        .collect();
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","))
}

/// One form of IAM; what is there already is fine.
fn ask(client: &mut Client, action: &str, fields: &[(&str, &str)]) -> Result<String, String> {
    let fields: String =
        fields.iter().map(|(name, value)| format!("&{name}={}", sign::encode(value, false))).collect();
    let form = format!("Action={action}&Version=2010-05-08{fields}");
    let call = Call::new("POST", "/")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.as_bytes())
        .payload(Payload::Signed);
    let response = client.send(&call).map_err(|error| format!("{action}: {error}"))?;
    match response.is_success() || response.text().contains("EntityAlreadyExists") {
        true => Ok(response.text()),
        false => Err(format!("{action}: {} {}", response.status, response.text())),
    }
}

fn element<'a>(xml: &'a str, tag: &str) -> &'a str {
    let rest = xml.split_once(&format!("<{tag}>")).map_or("", |(_, rest)| rest);
    rest.split_once('<').map_or("", |(text, _)| text)
}
