//! An Iceberg REST catalog client in plain JSON, over the same connection as the S3 client.
//!
//! It adds no meaning: bodies go out as given, answers come back with status and JSON, so tests can
//! be wrong on purpose. Signs for service `s3tables`, or carries a bearer token.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::{Call, Client, Payload};
use crate::http1::Response;
use crate::sign::{self, Signer};

/// One answer of the catalog.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, or `null` if it is empty or not JSON.
    pub json: Value,
    /// The answer itself.
    pub response: Response,
}

impl Answer {
    /// The `type` of an error answer, or an empty string.
    pub fn kind(&self) -> &str {
        self.json["error"]["type"].as_str().unwrap_or_default()
    }

    /// The `message` of an error answer, or an empty string.
    pub fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }

    /// A string at a JSON pointer, or an empty string.
    pub fn text_at(&self, pointer: &str) -> &str {
        self.json.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A catalog client for one warehouse, with a connection of its own.
#[derive(Clone)]
pub struct Catalog {
    /// The connection and credentials.
    pub client: Client,
    /// Sent in place of a signature.
    pub bearer: Option<String>,
    /// The warehouse.
    pub warehouse: String,
    /// The path element after `/v1`, from the configuration; empty before [`Catalog::configure`].
    pub prefix: String,
    /// Path before `/v1`.
    pub base: String,
}

impl Catalog {
    /// A client for `warehouse`; nothing is sent yet.
    pub fn new(address: SocketAddr, access: &str, secret: &str, warehouse: &str) -> Self {
        let mut client = Client::new(address, access, secret);
        client.signer = Signer::new(access, secret, "s3tables");
        Catalog {
            client,
            bearer: None,
            warehouse: warehouse.to_owned(),
            prefix: String::new(),
            base: "/_iceberg".to_owned(),
        }
    }

    /// Sends `body` to an encoded path below `/v1` and reads the answer.
    pub fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Answer> {
        self.call_with(method, path, &[], body.map(Value::to_string).as_deref(), &[])
    }

    /// The same with query pairs, a body of any bytes and further headers.
    pub fn call_with(
        &mut self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&str>,
        headers: &[(&str, &str)],
    ) -> io::Result<Answer> {
        let mut call = Call::new(method, format!("{}/v1{path}", self.base)).payload(Payload::Signed);
        for (name, value) in query {
            call = call.query(name, *value);
        }
        if let Some(body) = body {
            call = call.header("content-type", "application/json").body(body.as_bytes());
        }
        if let Some(token) = &self.bearer {
            call = call.unsigned().header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            call = call.header(name, *value);
        }
        let response = self.client.send(&call)?;
        let json = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        Ok(Answer { status: response.status, json, response })
    }

    /// Creates the warehouse; answers 200, 201 or 409.
    pub fn create_warehouse(&mut self) -> io::Result<Answer> {
        let body = json!({ "name": self.warehouse });
        self.call("POST", "/warehouses", Some(&body))
    }

    /// Reads the configuration and keeps the prefix.
    pub fn configure(&mut self) -> io::Result<Answer> {
        let warehouse = self.warehouse.clone();
        let answer = self.call_with("GET", "/config", &[("warehouse", &warehouse)], None, &[])?;
        if let Some(prefix) = answer.json["overrides"]["prefix"].as_str() {
            self.prefix = format!("/{prefix}");
        }
        Ok(answer)
    }

    /// Makes the warehouse and reads its configuration; anything but success is an `Err`.
    pub fn open(&mut self) -> io::Result<()> {
        for (answer, allowed) in
            [(self.create_warehouse()?, &[200, 201, 409][..]), (self.configure()?, &[200][..])]
        {
            if !allowed.contains(&answer.status) {
                let text = answer.response.text();
                return Err(io::Error::other(format!("opening the warehouse: {} {text}", answer.status)));
            }
        }
        Ok(())
    }

    /// Path of a namespace.
    pub fn namespace_path(&self, namespace: &[&str]) -> String {
        format!("{}/namespaces/{}", self.prefix, encode_namespace(namespace))
    }

    /// Path of a table.
    pub fn table_path(&self, namespace: &[&str], table: &str) -> String {
        format!("{}/tables/{}", self.namespace_path(namespace), sign::encode(table, false))
    }

    /// Creates a namespace without properties.
    pub fn create_namespace(&mut self, namespace: &[&str]) -> io::Result<Answer> {
        let body = json!({ "namespace": namespace, "properties": {} });
        let path = format!("{}/namespaces", self.prefix);
        self.call("POST", &path, Some(&body))
    }

    /// Creates a table with [`simple_schema`].
    pub fn create_table(&mut self, namespace: &[&str], table: &str) -> io::Result<Answer> {
        let body = json!({ "name": table, "schema": simple_schema() });
        let path = format!("{}/tables", self.namespace_path(namespace));
        self.call("POST", &path, Some(&body))
    }

    /// Loads a table.
    pub fn load_table(&mut self, namespace: &[&str], table: &str) -> io::Result<Answer> {
        let path = self.table_path(namespace, table);
        self.call("GET", &path, None)
    }

    /// Commits requirements and updates to a table.
    pub fn commit(
        &mut self,
        namespace: &[&str],
        table: &str,
        requirements: Value,
        updates: Value,
    ) -> io::Result<Answer> {
        let path = self.table_path(namespace, table);
        let body = json!({
            "identifier": { "namespace": namespace, "name": table },
            "requirements": requirements,
            "updates": updates,
        });
        self.call("POST", &path, Some(&body))
    }

    /// [`Catalog::commit`] without reading the answer's body, for load.
    pub fn commit_discarding(
        &mut self,
        namespace: &[&str],
        table: &str,
        requirements: Value,
        updates: Value,
    ) -> io::Result<Response> {
        let body = json!({ "requirements": requirements, "updates": updates }).to_string();
        let call = Call::new("POST", format!("{}/v1{}", self.base, self.table_path(namespace, table)));
        let call = call.header("content-type", "application/json").body(body.as_bytes());
        self.client.send(&call.payload(Payload::Signed).discard())
    }

    /// [`Catalog::load_table`] without reading the answer's body, for load.
    pub fn load_discarding(&mut self, namespace: &[&str], table: &str) -> io::Result<Response> {
        let call = Call::new("GET", format!("{}/v1{}", self.base, self.table_path(namespace, table)));
        self.client.send(&call.payload(Payload::Signed).discard())
    }

    /// Commits to several tables at once.
    pub fn transaction(&mut self, changes: Value) -> io::Result<Answer> {
        let path = format!("{}/transactions/commit", self.prefix);
        self.call("POST", &path, Some(&json!({ "table-changes": changes })))
    }

    /// Drops a table without purging.
    pub fn drop_table(&mut self, namespace: &[&str], table: &str) -> io::Result<Answer> {
        let path = self.table_path(namespace, table);
        self.call_with("DELETE", &path, &[("purgeRequested", "false")], None, &[])
    }

    /// Names of the tables in a namespace, sorted; an error answer is an `Err`.
    pub fn list_tables(&mut self, namespace: &[&str]) -> io::Result<Vec<String>> {
        let path = format!("{}/tables", self.namespace_path(namespace));
        let answer = self.call("GET", &path, None)?;
        let identifiers = answer.json["identifiers"].as_array().ok_or_else(|| {
            io::Error::other(format!("listing tables: {} {}", answer.status, answer.response.text()))
        })?;
        let mut names: Vec<String> =
            identifiers.iter().filter_map(|entry| entry["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        Ok(names)
    }
}

/// Levels encoded one by one, joined by the encoded unit separator.
pub fn encode_namespace(namespace: &[&str]) -> String {
    namespace.iter().map(|level| sign::encode(level, false)).collect::<Vec<_>>().join("%1F")
}

/// A schema of two columns.
pub fn simple_schema() -> Value {
    json!({
        "type": "struct",
        "schema-id": 0,
        "fields": [
            { "id": 1, "name": "id", "required": true, "type": "long" },
            { "id": 2, "name": "data", "required": false, "type": "string" },
        ],
    })
}

/// The requirement that a table still has this uuid.
pub fn assert_uuid(uuid: &str) -> Value {
    json!({ "type": "assert-table-uuid", "uuid": uuid })
}

/// The update that sets one property.
pub fn set_property(name: &str, value: &str) -> Value {
    json!({ "action": "set-properties", "updates": { name: value } })
}

#[cfg(test)]
mod tests {
    use super::{Catalog, encode_namespace};

    #[test]
    fn paths() {
        assert_eq!(encode_namespace(&["a b", "c/d"]), "a%20b%1Fc%2Fd");
        let mut catalog = Catalog::new(([127, 0, 0, 1], 1).into(), "a", "s", "w");
        assert_eq!(catalog.table_path(&["n"], "t.x"), "/namespaces/n/tables/t.x");
        catalog.prefix = "/w".to_owned();
        assert_eq!(catalog.namespace_path(&["n", "m"]), "/w/namespaces/n%1Fm");
    }
}
