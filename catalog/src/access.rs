//! What an operation is judged by: the facts of its row in a table of operations, the resource, and who is asked.
//!
//! `http` and `rest` keep their operations in tables whose rows hold an [`OperationFacts`]; the layer that knows who
//! sent a request implements [`Access`], and every operation asks it before it acts. Nothing here knows policies.
//! I1. An operation that is judged on something named in its body asks once for each name, after the body was parsed
//! and before anything is said of the state. I2. The rows say what the handlers take: tests hold each against its own.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use nilas_engine::EngineError;

/// Which API an operation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// The server's own pages.
    Admin,
    /// The Iceberg REST catalog.
    Iceberg,
    /// Users, groups, keys, policies and sessions: AWS's query API.
    Iam,
    /// S3.
    S3,
}

impl Api {
    /// Returns its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Api::Admin => "admin",
            Api::Iceberg => "iceberg",
            Api::Iam => "iam",
            Api::S3 => "s3",
        }
    }
}

/// What is known of an operation before any request: what all tables of operations have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationFacts {
    /// As AWS or the Iceberg specification spells it.
    pub name: &'static str,
    /// The API that it belongs to.
    pub api: Api,
    /// The permission that it needs, as IAM spells it.
    pub action: &'static str,
    /// What it is judged on.
    pub resource: ResourceKind,
    /// Where that is named.
    pub named: NamedIn,
    /// What its request carries.
    pub body: BodyKind,
    /// What it does to the store.
    pub effect: Effect,
}

/// What kind of thing an operation is judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the resources below say it")]
pub enum ResourceKind {
    Public,
    Service,
    Bucket,
    Object,
    Warehouse,
    Namespace,
    Table,
    Identity,
}

/// Where a request names what it is judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NamedIn {
    /// In its path or query: it is judged before its body is parsed.
    Head,
    /// In its body, once or many times, or the body decides what is needed: each is judged by itself.
    Body,
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyKind {
    /// Nothing that is looked at.
    Empty,
    /// Bytes of an object or part.
    Payload,
    /// An XML document.
    Xml,
    /// A JSON document.
    Json,
    /// An HTML form's fields.
    Form,
}

/// What an operation does to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// It changes what others see; a success is durable.
    Changes,
}

/// One thing that a request may be allowed, or not allowed, to act on. Borrowed from the request; its ARN is made only
/// when somebody asks for the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// What is open to everybody: health, metrics, the token endpoint.
    Public,
    /// The store as a whole.
    Service,
    /// A bucket.
    Bucket(&'a str),
    /// An object, whether it exists or not.
    Object {
        /// Its bucket.
        bucket: &'a str,
        /// UTF-8.
        key: &'a [u8],
    },
    /// A warehouse.
    Warehouse(&'a str),
    /// A namespace of a warehouse.
    Namespace {
        /// Its warehouse.
        warehouse: &'a str,
        /// Its levels, joined by U+001F.
        namespace: &'a str,
    },
    /// A table of a warehouse, whether it exists or not.
    Table {
        /// Its warehouse.
        warehouse: &'a str,
        /// The levels of its namespace, joined by U+001F.
        namespace: &'a str,
        /// Its name.
        table: &'a str,
        /// Its UUID, when there is such a table and [`Access::wants_table_ids`].
        id: Option<&'a str>,
    },
    /// A user, a group, a policy or a role, by its ARN.
    Identity(&'a str),
}

impl Resource<'_> {
    /// Returns what kind it is.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Resource::Public => ResourceKind::Public,
            Resource::Service => ResourceKind::Service,
            Resource::Bucket(_) => ResourceKind::Bucket,
            Resource::Object { .. } => ResourceKind::Object,
            Resource::Warehouse(_) => ResourceKind::Warehouse,
            Resource::Namespace { .. } => ResourceKind::Namespace,
            Resource::Table { .. } => ResourceKind::Table,
            Resource::Identity(_) => ResourceKind::Identity,
        }
    }
}

/// The ARN. A namespace has none of its own and shows its warehouse's; a table whose id was not looked for shows its names
/// there.
impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Public | Resource::Service => f.write_str("*"),
            Resource::Bucket(bucket) => write!(f, "arn:aws:s3:::{bucket}"),
            Resource::Object { bucket, key } => {
                write!(f, "arn:aws:s3:::{bucket}/{}", String::from_utf8_lossy(key))
            }
            Resource::Warehouse(warehouse) | Resource::Namespace { warehouse, .. } => {
                write!(f, "arn:aws:s3tables:::bucket/{warehouse}")
            }
            Resource::Identity(arn) => f.write_str(arn),
            Resource::Table { warehouse, id: Some(id), .. } => {
                write!(f, "arn:aws:s3tables:::bucket/{warehouse}/table/{id}")
            }
            Resource::Table { warehouse, namespace, table, id: None } => {
                write!(f, "arn:aws:s3tables:::bucket/{warehouse}/table/")?;
                namespace.split('\u{1f}').try_for_each(|level| write!(f, "{level}."))?;
                f.write_str(table)
            }
        }
    }
}

/// The one to ask what the sender of one request may do.
pub trait Access {
    /// Returns whether the sender may do `action` on `resource`. Looks at nothing that waits.
    fn allows(&self, action: &'static str, resource: Resource<'_>) -> bool {
        self.allows_with(action, resource, &[])
    }

    /// As [`Access::allows`], where policies may also ask for what stands in the request's body: `facts` are condition keys
    /// and their values.
    fn allows_with(
        &self,
        action: &'static str,
        resource: Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> bool;

    /// Returns whether the sender may do `action` on every object of `bucket` whose key begins with `prefix`, whether it exists or
    /// not. By itself: when they may on that key, which is enough where rights do not differ below it.
    fn allows_below(&self, action: &'static str, bucket: &str, prefix: &str) -> bool {
        self.allows(action, Resource::Object { bucket, key: prefix.as_bytes() })
    }

    /// Returns whether the sender's rights depend on the ids of single tables of `warehouse`: then a table has to be asked for
    /// with its id, or what is refused for it would be missed.
    fn wants_table_ids(&self, warehouse: &str) -> bool {
        let _ = warehouse;
        false
    }

    /// Finds out in which tables' locations these objects lie, where the sender's rights depend on it: rights on a table's data
    /// are rights on its files. `None`: they do not, or it is known. What is not known when it matters, [`Access::allows`] refuses.
    fn look_up(&self, objects: &[Resource<'_>]) -> Option<LookUp<'_>> {
        let _ = objects;
        None
    }

    /// Returns the id of the user whose the buckets are that the sender makes; `None` for root, and who has no user.
    fn owner(&self) -> Option<Bytes> {
        None
    }

    /// Returns as whom the sender is kept with work that goes on when the request has ended. By itself: as nobody in
    /// particular.
    fn kept(&self) -> KeptPrincipal {
        KeptPrincipal::default()
    }

    /// Makes credentials for the files of one table, which live for a while and never may more than the sender. `None`: this
    /// sender gets none. The caller has asked for each right that `wanted` names. Looks at nothing that waits.
    fn vend(&self, wanted: &VendRequest<'_>) -> Option<Vended> {
        let _ = wanted;
        None
    }
}

/// See [`Access::look_up`].
pub type LookUp<'a> = Pin<Box<dyn Future<Output = Result<(), LookUpError>> + 'a>>;

/// Why it is not known in which table's location a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUpError {
    /// The engine's failure.
    Engine(EngineError),
    /// What is kept of the warehouse cannot be read.
    Unreadable,
}

/// The table in whose locations a file lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTable {
    /// Its namespace, levels divided by U+001F.
    pub namespace: String,
    /// Its name.
    pub table: String,
    /// Its UUID, in lower case.
    pub id: String,
}

/// What credentials for a table's files are to be good for: reading, and what is named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendRequest<'a> {
    /// The table's warehouse, which is the bucket of its files.
    pub warehouse: &'a str,
    /// Its namespace, levels divided by U+001F.
    pub namespace: &'a str,
    /// Its name.
    pub table: &'a str,
    /// The table's UUID.
    pub table_id: &'a str,
    /// How all keys of the table's files begin, with a slash at its end. No other table has any there.
    pub prefix: &'a str,
    /// Whether files may be written.
    pub writes: bool,
    /// Whether files may be deleted.
    pub deletes: bool,
}

/// Credentials for a table's files.
#[derive(Clone, PartialEq, Eq)]
pub struct Vended {
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// What has to be sent along.
    pub session_token: String,
    /// When they end, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// Without what is secret.
impl fmt::Debug for Vended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Vended { access_key, expires_ms, .. } = self;
        f.debug_struct("Vended")
            .field("access_key", access_key)
            .field("expires_ms", expires_ms)
            .finish_non_exhaustive()
    }
}

/// A principal as it is kept with work that goes on when its request has ended, also after a restart: who asked for it. It gives no
/// rights. The default is nobody in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptPrincipal {
    /// What kind of principal it is, as the layer above names it.
    pub kind: String,
    /// The user's id, which no rename changes and nobody else gets; empty when it is no user.
    pub id: String,
    /// The access key whose secret was proven.
    pub access_key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns() {
        let check = |resource: Resource<'_>, want: &str| assert_eq!(resource.to_string(), want);
        check(Resource::Service, "*");
        check(Resource::Bucket("b"), "arn:aws:s3:::b");
        check(Resource::Object { bucket: "b", key: b"k/l" }, "arn:aws:s3:::b/k/l");
        check(Resource::Warehouse("w"), "arn:aws:s3tables:::bucket/w");
        check(Resource::Namespace { warehouse: "w", namespace: "n" }, "arn:aws:s3tables:::bucket/w");
        let table = |id| Resource::Table { warehouse: "w", namespace: "a\u{1f}b", table: "t", id };
        check(table(None), "arn:aws:s3tables:::bucket/w/table/a.b.t");
        check(table(Some("0a-1")), "arn:aws:s3tables:::bucket/w/table/0a-1");
        check(Resource::Identity("arn:aws:iam::1:user/u"), "arn:aws:iam::1:user/u");
    }
}
