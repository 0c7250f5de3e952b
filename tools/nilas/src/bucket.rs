//! `nilas bucket …`: whose the buckets are, how much they may hold, and what their lifecycles would remove.
//!
//! `main` hands over a connected [`Client`]. Making and emptying buckets is the business of S3 clients.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::{Client, Connection, read_text};
use crate::limits::PREVIEW_KEYS_MAX;
use crate::output::{Failure, Output, or_dash};
use crate::serve::parse_bytes;
use crate::xml::Element;

/// Whose the buckets are, how much they may hold, and what their lifecycles would remove.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is done with buckets.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the buckets that the key sees.
    List {
        /// All buckets of the store, with the users who own them
        #[arg(long)]
        owners: bool,
    },
    /// Makes a user, or root, the owner of a bucket and of the objects in it.
    Chown {
        /// Name of the bucket
        bucket: String,
        /// Name of the user, or root
        user: String,
    },
    /// Shows how much a bucket holds and may hold, or bounds it
    Quota {
        /// Name of the bucket
        bucket: String,
        /// Bytes of all versions and parts, such as 10GiB; none for any number
        size: Option<String>,
    },
    /// What the lifecycle rules of a bucket would remove now
    Lifecycle {
        #[command(subcommand)]
        command: Lifecycle,
    },
}

/// What is asked of a lifecycle.
#[derive(Subcommand)]
pub(crate) enum Lifecycle {
    /// Counts what would go now, and names the first of it. Removes nothing
    Preview {
        /// Name of the bucket
        bucket: String,
        /// XML of rules that are tried in place of the bucket's own, as PutBucketLifecycleConfiguration takes it
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
    },
}

pub(crate) fn run(client: &Client, command: &Command) -> Result<Output, Failure> {
    match command {
        Command::List { owners: false } => list(client).map_err(|failure| failure.of("bucket list")),
        Command::List { owners: true } => {
            list_owners(client).map_err(|failure| failure.of("bucket list --owners"))
        }
        Command::Quota { bucket, size } => quota(client, bucket, size.as_deref()).map_err(|failure| {
            let size = size.as_deref().map(|size| format!(" {size}")).unwrap_or_default();
            failure.if_not_found("nilas bucket list --owners").of(&format!("bucket quota {bucket}{size}"))
        }),
        Command::Lifecycle { command: Lifecycle::Preview { bucket, rules } } => {
            preview(client, bucket, rules.as_deref()).map_err(|failure| {
                failure.if_not_found("nilas bucket list").of(&format!("bucket lifecycle preview {bucket}"))
            })
        }
        Command::Chown { bucket, user } => chown(client, bucket, user).map_err(|failure| {
            failure
                .if_not_found("nilas bucket list --owners; nilas user list")
                .of(&format!("bucket chown {bucket} {user}"))
        }),
    }
}

fn list(client: &Client) -> Result<Output, Failure> {
    let answer = client.send("s3", "GET", "/", &[], "", &[])?;
    let no_xml = |why| Failure::answer(format!("the list of buckets is no XML: {why}"));
    let document = Element::parse(&answer).map_err(no_xml)?;
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for bucket in document.members("Buckets") {
        let (name, created) = (bucket.text_of("Name"), bucket.text_of("CreationDate"));
        rows.push(vec![name.to_owned(), created.to_owned()]);
        values.push(json!({ "bucket": name, "created": created }));
    }
    Ok(Output::list(values, &["BUCKET", "CREATED"], rows))
}

fn list_owners(client: &Client) -> Result<Output, Failure> {
    let page = client.page("/_nilas/owners", &[], None)?;
    let buckets = page["buckets"]
        .as_array()
        .ok_or_else(|| Failure::answer("the answer lists no buckets, not even an empty list"))?;
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for bucket in buckets {
        let word = |field: &str| or_dash(bucket[field].as_str().unwrap_or_default());
        rows.push(vec![word("bucket"), word("user"), word("owner_id")]);
        values.push(
            json!({ "bucket": bucket["bucket"], "user": bucket["user"], "owner_id": bucket["owner_id"] }),
        );
    }
    Ok(Output::list(values, &["BUCKET", "OWNER", "OWNER ID"], rows))
}

fn chown(client: &Client, bucket: &str, user: &str) -> Result<Output, Failure> {
    let asked = json!({ "bucket": bucket, "user": user });
    client.page("/_nilas/owners", &[], Some(&asked))?;
    Ok(Output::one(asked, format!("bucket {bucket} is {user}'s now")))
}

fn quota(client: &Client, bucket: &str, size: Option<&str>) -> Result<Output, Failure> {
    let Some(size) = size else {
        let page = client.page("/_nilas/quotas", &[("bucket", bucket)], None)?;
        let found = &page["buckets"][0];
        let bytes = found["bytes"].as_u64().ok_or_else(|| Failure::answer("the answer names no bucket"))?;
        let versions = found["versions"].as_u64().unwrap_or_default();
        let may = match found["quota"].as_u64() {
            Some(quota) => format!("may hold {quota} bytes"),
            None => "has no quota".to_owned(),
        };
        let text = format!("bucket {bucket} {may} and holds {bytes} in {versions} versions");
        return Ok(Output::one(found.clone(), text));
    };
    let quota = match size {
        "none" => None,
        size => Some(parse_bytes(size).map_err(Failure::usage)?),
    };
    let wanted = quota.map_or(json!("none"), |quota| json!(quota));
    client.page("/_nilas/quotas", &[], Some(&json!({ "bucket": bucket, "quota": wanted })))?;
    let text = match quota {
        Some(quota) => format!("bucket {bucket} may hold {quota} bytes now"),
        None => format!("bucket {bucket} may hold any number of bytes now"),
    };
    Ok(Output::one(json!({ "bucket": bucket, "quota": quota }), text))
}

/// What a preview counts, and how it is called.
const COUNTS: [(&str, &str); 9] = [
    ("current", "current objects go"),
    ("marked", "current objects get a delete marker"),
    ("noncurrent", "noncurrent versions go"),
    ("markers", "delete markers go"),
    ("uploads", "uploads are ended"),
    ("bytes", "bytes of objects go"),
    ("locked", "versions stay because a lock protects them"),
    ("in_tables", "versions and uploads stay because they lie in the location of a table"),
    ("looked", "versions and uploads were looked at"),
];

fn preview(client: &Client, bucket: &str, rules: Option<&Path>) -> Result<Output, Failure> {
    let rules = rules.map(read_text).transpose()?;
    let (mut sums, mut keys) = ([0_u64; COUNTS.len()], Vec::new());
    let mut next: Option<String> = None;
    loop {
        let mut asked = json!({ "bucket": bucket });
        for (name, text) in [("rules", &rules), ("next", &next)] {
            if let Some(text) = text {
                asked[name] = json!(text);
            }
        }
        let page = client.page("/_nilas/lifecycle/preview", &[], Some(&asked))?;
        for (sum, (name, _)) in sums.iter_mut().zip(COUNTS) {
            let count = page[name].as_u64();
            *sum += count.ok_or_else(|| Failure::answer(format!("the answer does not say {name}")))?;
        }
        keys.extend(
            page["keys"].as_array().into_iter().flatten().take(PREVIEW_KEYS_MAX - keys.len()).cloned(),
        );
        next = match page["next"].as_str() {
            None => break,
            Some(text) if next.as_deref() == Some(text) => {
                return Err(Failure::answer("the preview does not come to an end"));
            }
            Some(text) => Some(text.to_owned()),
        };
    }
    let mut value = json!({ "bucket": bucket, "keys": keys });
    let mut lines = Vec::new();
    for (sum, (name, text)) in sums.iter().zip(COUNTS) {
        value[name] = json!(sum);
        if 0 < *sum || name == "looked" {
            lines.push(format!("{sum} {text}"));
        }
    }
    let named = value["keys"].as_array().into_iter().flatten().map(|entry| {
        format!(
            "  {} {}",
            entry["kind"].as_str().unwrap_or_default(),
            entry["key"].as_str().unwrap_or_default()
        )
    });
    let named: Vec<String> = named.collect();
    if !named.is_empty() {
        lines.push("the first of them:".to_owned());
        lines.extend(named);
    }
    Ok(Output::one(value, lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::scripted;
    use crate::output::Exit;

    #[test]
    fn listing() {
        let buckets = "<ListAllMyBucketsResult><Owner/><Buckets><Bucket><Name>b</Name><CreationDate>d</CreationDate></Bucket>\
                       </Buckets></ListAllMyBucketsResult>";
        let (came, seen) =
            scripted(&[(200, buckets)], |client| run(client, &Command::List { owners: false }));
        assert_eq!(came.expect("a list").render(true), "{\"bucket\":\"b\",\"created\":\"d\"}\n");
        assert_eq!(seen, ["GET /"]);
        let owners = "{\"buckets\":[{\"bucket\":\"b\",\"user\":\"alice\",\"owner_id\":\"0a\"}],\"users\":[]}";
        let (came, seen) = scripted(&[(200, owners)], |client| run(client, &Command::List { owners: true }));
        let came = came.expect("a list");
        assert_eq!(came.render(true), "{\"bucket\":\"b\",\"user\":\"alice\",\"owner_id\":\"0a\"}\n");
        assert_eq!(came.render(false), "BUCKET  OWNER  OWNER ID\nb       alice  0a\n");
        assert_eq!(seen, ["GET /_nilas/owners"]);
    }

    #[test]
    fn quotas() {
        let quota =
            |size: Option<&str>| Command::Quota { bucket: "b".to_owned(), size: size.map(str::to_owned) };
        let (came, seen) = scripted(&[(200, "{}")], |client| run(client, &quota(Some("10KiB"))));
        assert_eq!(came.expect("done").render(true), "{\"bucket\":\"b\",\"quota\":10240}\n");
        assert_eq!(seen, ["POST /_nilas/quotas {\"bucket\":\"b\",\"quota\":10240}"]);
        let (came, seen) = scripted(&[(200, "{}")], |client| run(client, &quota(Some("none"))));
        assert_eq!(came.expect("done").render(false), "bucket b may hold any number of bytes now\n");
        assert_eq!(seen, ["POST /_nilas/quotas {\"bucket\":\"b\",\"quota\":\"none\"}"]);
        let page = "{\"buckets\":[{\"bucket\":\"b\",\"quota\":9,\"bytes\":7,\"versions\":2}],\"is_truncated\":false}";
        let (came, seen) = scripted(&[(200, page)], |client| run(client, &quota(None)));
        assert_eq!(
            came.expect("shown").render(false),
            "bucket b may hold 9 bytes and holds 7 in 2 versions\n"
        );
        assert_eq!(seen, ["GET /_nilas/quotas?bucket=b"]);
        let (came, seen) = scripted(&[], |client| run(client, &quota(Some("much"))));
        assert_eq!((came.expect_err("no size").exit, seen.len()), (Exit::Usage, 0));
    }

    #[test]
    fn previews() {
        let command =
            Command::Lifecycle { command: Lifecycle::Preview { bucket: "b".to_owned(), rules: None } };
        let page = |looked: u64, key: &str, next: Option<&str>| {
            let zero = json!(0);
            let mut page =
                json!({ "bucket": "b", "keys": [{ "kind": "current", "key": key }], "next": next });
            for (name, _) in COUNTS {
                page[name] = zero.clone();
            }
            (page["current"], page["bytes"], page["looked"]) = (json!(1), json!(5), json!(looked));
            page.to_string()
        };
        let (first, last) = (page(9, "a", Some("v.0.0.61")), page(3, "c", None));
        let (came, seen) = scripted(&[(200, &first), (200, &last)], |client| run(client, &command));
        let shown = came.expect("a preview").render(false);
        assert_eq!(
            shown,
            "2 current objects go\n10 bytes of objects go\n12 versions and uploads were looked at\nthe first of them:\n  \
             current a\n  current c\n"
        );
        assert_eq!(
            seen,
            [
                "POST /_nilas/lifecycle/preview {\"bucket\":\"b\"}",
                "POST /_nilas/lifecycle/preview {\"bucket\":\"b\",\"next\":\"v.0.0.61\"}"
            ]
        );
        let (came, _) = scripted(&[(200, &first), (200, &first)], |client| run(client, &command));
        assert!(came.is_err());
    }

    #[test]
    fn changing_the_owner() {
        let command = Command::Chown { bucket: "b".to_owned(), user: "bob".to_owned() };
        let (came, seen) = scripted(&[(200, "{}")], |client| run(client, &command));
        assert_eq!(came.expect("done").render(true), "{\"bucket\":\"b\",\"user\":\"bob\"}\n");
        assert_eq!(seen, ["POST /_nilas/owners {\"bucket\":\"b\",\"user\":\"bob\"}"]);
        let none = "{\"error\":{\"code\":\"NoSuchBucket\",\"message\":\"there is no bucket b\"}}";
        let (came, _) = scripted(&[(404, none)], |client| run(client, &command));
        assert_eq!(came.expect_err("no bucket").exit, Exit::NotFound);
    }
}
