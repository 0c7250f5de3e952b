//! `nilas bucket …`: whose the buckets are, and how much they may hold.
//!
//! `main` hands over a connected [`Client`]. Making and emptying buckets is the business of S3 clients.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::{Client, Connection};
use crate::output::{Failure, Output, or_dash};
use crate::serve::parse_bytes;
use crate::xml::Element;

/// Whose the buckets are, and how much they may hold.
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
