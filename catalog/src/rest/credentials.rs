//! Credentials for one table's files, in the answers to those who ask for them: `X-Iceberg-Access-Delegation`, and the
//! operation that renews them.
//!
//! `rest` asks [`Access`](crate::access::Access) which rights the sender has on the table and has the credentials made for just
//! these. I1. None are made for a table that has not its location to itself. I2. An answer that holds some is of nobody else:
//! no entity tag, never 304, not compressed, not stored.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::access::{Resource, VendRequest, Vended};
use crate::rest::judge::table_resource;
use crate::rest::{Catalog, Request};
use crate::store::metadata_file::EMPTY_CONFIG;
use crate::store::names::Ident;
use crate::store::{Outcome, TablePlace};

/// Whether a request asks for credentials with the table.
pub(super) fn delegates(request: &Request<'_>) -> bool {
    let wanted = (request.header)("x-iceberg-access-delegation");
    wanted.is_some_and(|wanted| {
        wanted.split(',').any(|one| one.trim().eq_ignore_ascii_case("vended-credentials"))
    })
}

/// Whether the sender may read a table's files: without that there are no credentials.
pub(super) fn may_read(request: &Request<'_>, table: Resource<'_>) -> bool {
    request.access.allows("s3tables:GetTableData", table)
}

/// Credentials as answers show them.
pub(super) struct Credentials {
    location: String,
    config: Map<String, Value>,
}

impl Catalog {
    /// The answer with credentials, where the sender asked for some and gets them.
    pub(super) fn with_credentials(
        &self,
        request: &Request<'_>,
        warehouse: &str,
        ident: &Ident,
        outcome: Outcome,
    ) -> Outcome {
        match outcome {
            Outcome::Table { body, gzip, etag, place: Some(place) } => {
                match self.vend(request, warehouse, ident, &place) {
                    Some(credentials) => Outcome::Secret(credentials.put_into(&body)),
                    None => Outcome::Table { body, gzip, etag, place: None },
                }
            }
            other => other,
        }
    }

    /// Credentials for what the sender may do in the place of a table.
    pub(super) fn vend(
        &self,
        request: &Request<'_>,
        warehouse: &str,
        ident: &Ident,
        place: &TablePlace,
    ) -> Option<Credentials> {
        let access = request.access;
        let id = access.wants_table_ids(warehouse).then_some(place.id.as_str());
        let table = table_resource(warehouse, ident, id);
        if !may_read(request, table) {
            return None;
        }
        let Resource::Table { namespace, table: name, .. } = table else { return None };
        let vended = access.vend(&VendRequest {
            warehouse,
            namespace,
            table: name,
            table_id: &place.id,
            prefix: &place.prefix,
            writes: access.allows("s3tables:PutTableData", table),
            deletes: access.allows("s3tables:DeleteTable", table),
        })?;
        Some(Credentials::new(vended, &place.location, request.base_url, &self.region))
    }
}

impl Credentials {
    fn new(vended: Vended, location: &str, base_url: &str, region: &str) -> Credentials {
        let Vended { access_key, secret_key, session_token, expires_ms } = vended;
        let mut config = Map::new();
        let mut set = |name: &str, value: String| config.insert(name.to_owned(), value.into());
        set("s3.access-key-id", access_key);
        set("s3.secret-access-key", secret_key);
        set("s3.session-token", session_token);
        set("s3.session-token-expires-at-ms", expires_ms.to_string());
        set("s3.endpoint", base_url.to_owned());
        set("s3.path-style-access", "true".to_owned());
        set("s3.region", region.to_owned());
        set("client.region", region.to_owned());
        Credentials { location: location.to_owned(), config }
    }

    fn list(&self) -> Value {
        json!([{"prefix": self.location, "config": self.config}])
    }

    /// The body of a table's answer with these in it: in its configuration as well, where older clients look.
    fn put_into(&self, body: &[u8]) -> Bytes {
        let config = Value::Object(self.config.clone()).to_string();
        let list = self.list().to_string();
        let Some(open) = body.strip_suffix(EMPTY_CONFIG) else { return Bytes::copy_from_slice(body) };
        let mut with = Vec::with_capacity(open.len() + config.len() + list.len() + 64);
        with.extend_from_slice(open);
        with.extend_from_slice(b",\"config\":");
        with.extend_from_slice(config.as_bytes());
        with.extend_from_slice(b",\"storage-credentials\":");
        with.extend_from_slice(list.as_bytes());
        with.push(b'}');
        Bytes::from(with)
    }
}

/// The answer to who asks for credentials alone.
pub(super) fn listed(credentials: Option<&Credentials>) -> Bytes {
    let list = credentials.map_or_else(|| json!([]), Credentials::list);
    Bytes::from(json!({"storage-credentials": list}).to_string())
}
