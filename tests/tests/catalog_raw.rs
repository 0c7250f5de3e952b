//! The Iceberg REST catalog on the wire, against the release binary: rules, refusals and error types.
//!
//! One server for all tests of this binary but the one that restarts it; each test has a warehouse
//! of its own.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use nilas_tests::catalog::{Answer, Catalog, assert_uuid, encode_namespace, set_property, simple_schema};
use nilas_tests::client::{Call, Payload};
use nilas_tests::server::Server;
use serde_json::{Value, json};

const NS: &[&str] = &["ns"];

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::fresh)
}

/// A fresh warehouse with the namespace `ns`.
fn warehouse(name: &str) -> Catalog {
    on(server(), name)
}

fn on(server: &Server, name: &str) -> Catalog {
    let mut catalog = server.catalog(name);
    catalog.open().expect("warehouse");
    expect(&catalog.create_namespace(NS).expect("namespace"), 200, "");
    catalog
}

#[track_caller]
fn expect(answer: &Answer, status: u16, kind: &str) {
    assert!(
        answer.status == status && (kind.is_empty() || answer.kind() == kind),
        "expected {status} {kind}, got {} {}",
        answer.status,
        answer.response.text()
    );
    if 400 <= answer.status && !answer.response.body.is_empty() {
        assert_eq!(answer.json["error"]["code"], json!(answer.status), "{}", answer.response.text());
        assert!(!answer.message().is_empty() && !answer.kind().is_empty(), "{}", answer.response.text());
    }
}

#[track_caller]
fn expect_text(answer: &Answer, status: u16, kind: &str, text: &str) {
    expect(answer, status, kind);
    assert!(answer.message().contains(text), "{:?} does not say {text:?}", answer.message());
}

/// Creates a table; its uuid.
fn table(catalog: &mut Catalog, name: &str) -> String {
    let answer = catalog.create_table(NS, name).expect("create");
    expect(&answer, 200, "");
    answer.text_at("/metadata/table-uuid").to_owned()
}

fn property(catalog: &mut Catalog, name: &str, property: &str) -> Value {
    let answer = catalog.load_table(NS, name).expect("load");
    expect(&answer, 200, "");
    answer.json["metadata"]["properties"][property].clone()
}

#[test]
fn warehouses_and_configuration() {
    let mut catalog = warehouse("wh-config");
    expect(&catalog.create_warehouse().expect("again"), 409, "");
    let config = catalog.configure().expect("config");
    expect(&config, 200, "");
    assert!(config.json["defaults"].is_object() && config.json["overrides"].is_object(), "{}", config.json);
    let endpoints = config.json["endpoints"].as_array().expect("the list of endpoints");
    for needed in [
        "GET /v1/{prefix}/namespaces",
        "POST /v1/{prefix}/namespaces/{namespace}/tables",
        "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
        "POST /v1/{prefix}/transactions/commit",
    ] {
        assert!(endpoints.contains(&json!(needed)), "{needed} is not advertised");
    }
    for unknown in ["no-such-warehouse", "ns", "../wh-config", ""] {
        let answer =
            catalog.call_with("GET", "/config", &[("warehouse", unknown)], None, &[]).expect("config");
        if !unknown.is_empty() {
            expect(&answer, 404, "NoSuchWarehouseException");
        }
    }
    // A warehouse is a bucket.
    let head = server().client().send(&Call::bucket("HEAD", "wh-config")).expect("head");
    assert_eq!(head.status, 200);
    for bad in [json!({}), json!({"name": 5}), json!({"name": "Bad_Name"}), json!({"name": ""}), json!([])] {
        let answer = catalog.call("POST", "/warehouses", Some(&bad)).expect("create");
        assert_eq!(answer.status, 400, "{bad}: {}", answer.response.text());
    }
    // The alias without the underscore answers the same.
    let mut alias = catalog.clone();
    alias.base = "/iceberg".to_owned();
    assert_eq!(alias.configure().expect("config").json, config.json);
}

#[test]
fn unknown_routes_and_methods_are_json() {
    let mut catalog = warehouse("wh-routes");
    let prefix = catalog.prefix.clone();
    for path in
        ["/nothing".to_owned(), format!("{prefix}/nothing"), format!("{prefix}/namespaces/ns/nothing/x")]
    {
        expect(&catalog.call("GET", &path, None).expect("an answer"), 404, "");
    }
    for (method, path) in [
        ("PATCH", format!("{prefix}/namespaces")),
        ("PUT", format!("{prefix}/namespaces/ns/tables")),
        ("DELETE", "/config".to_owned()),
        ("GET", format!("{prefix}/transactions/commit")),
    ] {
        let answer = catalog.call(method, &path, None).expect("an answer");
        expect(&answer, 405, "");
        assert!(answer.json["error"].is_object(), "{method} {path}: {}", answer.response.text());
    }
    let mut stranger = server().catalog("wh-routes");
    stranger.client.signer.secret = "wrong".to_owned();
    expect(&stranger.call("GET", "/config", None).expect("an answer"), 403, "");
}

#[test]
fn namespaces() {
    let mut catalog = warehouse("wh-namespaces");
    expect_text(
        &catalog.create_namespace(NS).expect("again"),
        409,
        "AlreadyExistsException",
        "Namespace already exists",
    );
    let nested = &["ns", "in ner/x"][..];
    expect(&catalog.create_namespace(nested).expect("nested"), 200, "");
    let path = catalog.namespace_path(nested);
    let loaded = catalog.call("GET", &path, None).expect("load");
    assert_eq!(loaded.json["namespace"], json!(nested));
    assert!(loaded.json["properties"].is_object());
    let list = |catalog: &mut Catalog, query: &[(&str, &str)]| {
        let path = format!("{}/namespaces", catalog.prefix);
        catalog.call_with("GET", &path, query, None, &[]).expect("list")
    };
    assert_eq!(list(&mut catalog, &[]).json["namespaces"], json!([["ns"]]));
    assert_eq!(list(&mut catalog, &[("parent", "ns")]).json["namespaces"], json!([nested]));
    expect(&list(&mut catalog, &[("parent", "missing")]), 404, "NoSuchNamespaceException");
    expect(&list(&mut catalog, &[("pageToken", "nonsense"), ("pageSize", "1")]), 400, "");

    let path = catalog.namespace_path(&["missing"]);
    for method in ["GET", "DELETE"] {
        let answer = catalog.call(method, &path, None).expect("an answer");
        expect_text(&answer, 404, "NoSuchNamespaceException", "Namespace does not exist: missing");
    }
    expect(&catalog.call("HEAD", &path, None).expect("head"), 404, "");
    expect(&catalog.create_table(&["missing"], "t").expect("create"), 404, "NoSuchNamespaceException");

    let path = format!("{}/properties", catalog.namespace_path(NS));
    let body = json!({"updates": {"a": "1", "b": "2"}, "removals": []});
    expect(&catalog.call("POST", &path, Some(&body)).expect("properties"), 200, "");
    let body = json!({"updates": {"a": "3"}, "removals": ["b", "c"]});
    let answer = catalog.call("POST", &path, Some(&body)).expect("properties");
    assert_eq!(
        (&answer.json["updated"], &answer.json["removed"], &answer.json["missing"]),
        (&json!(["a"]), &json!(["b"]), &json!(["c"]))
    );
    let body = json!({"updates": {"a": "1"}, "removals": ["a"]});
    expect(
        &catalog.call("POST", &path, Some(&body)).expect("properties"),
        422,
        "UnprocessableEntityException",
    );

    for bad in [
        json!([]),
        json!([""]),
        json!(["a", ""]),
        json!([".."]),
        json!("ns"),
        json!([1]),
        json!(["a\u{1f}b"]),
    ] {
        let body = json!({"namespace": bad, "properties": {}});
        let path = format!("{}/namespaces", catalog.prefix);
        expect(&catalog.call("POST", &path, Some(&body)).expect("create"), 400, "");
    }

    let path = catalog.namespace_path(NS);
    expect_text(
        &catalog.call("DELETE", &path, None).expect("drop"),
        409,
        "NamespaceNotEmptyException",
        "is not empty",
    );
    let inner = catalog.namespace_path(nested);
    expect(&catalog.call("DELETE", &inner, None).expect("drop"), 204, "");
    table(&mut catalog, "t");
    expect(&catalog.call("DELETE", &path, None).expect("drop"), 409, "NamespaceNotEmptyException");
    expect(&catalog.drop_table(NS, "t").expect("drop"), 204, "");
    expect(&catalog.call("DELETE", &path, None).expect("drop"), 204, "");
    assert_eq!(list(&mut catalog, &[]).json["namespaces"], json!([]));
}

#[test]
fn tables_and_their_errors() {
    let mut catalog = warehouse("wh-tables");
    let uuid = table(&mut catalog, "t");
    expect_text(
        &catalog.create_table(NS, "t").expect("again"),
        409,
        "AlreadyExistsException",
        "Table already exists: ns.t",
    );
    let loaded = catalog.load_table(NS, "t").expect("load");
    assert_eq!(loaded.text_at("/metadata/table-uuid"), uuid);
    assert!(loaded.text_at("/metadata-location").starts_with("s3://wh-tables/"));
    expect_text(
        &catalog.load_table(NS, "missing").expect("load"),
        404,
        "NoSuchTableException",
        "Table does not exist: ns.missing",
    );
    expect(&catalog.drop_table(NS, "missing").expect("drop"), 404, "NoSuchTableException");
    let (there, missing) = (catalog.table_path(NS, "t"), catalog.table_path(NS, "missing"));
    expect(&catalog.call("HEAD", &there, None).expect("head"), 204, "");
    expect(&catalog.call("HEAD", &missing, None).expect("head"), 404, "");
    expect(
        &catalog.commit(NS, "missing", json!([]), json!([set_property("a", "1")])).expect("commit"),
        404,
        "NoSuchTableException",
    );
    for odd in ["with.dot", "Upper Case", "žluť", "a/b", "a+b", "100%"] {
        let uuid = table(&mut catalog, odd);
        let loaded = catalog.load_table(NS, odd).expect("load");
        assert_eq!(loaded.text_at("/metadata/table-uuid"), uuid, "{odd}");
        expect(&catalog.drop_table(NS, odd).expect("drop"), 204, "");
    }
    assert_eq!(catalog.list_tables(NS).expect("list"), ["t"]);

    let path = format!("{}/tables", catalog.namespace_path(NS));
    for bad in [
        json!({}),
        json!({"name": "x"}),
        json!({"name": "", "schema": simple_schema()}),
        json!({"name": 5, "schema": simple_schema()}),
        json!({"name": "x", "schema": {"type": "struct", "fields": [{"id": 1, "name": "a", "required": true, "type": "nonsense"}]}}),
        json!({"name": "x", "schema": {"type": "struct", "fields": [{"id": 1, "name": "a"}]}}),
        json!({"name": "x", "schema": simple_schema(), "location": "s3://another-bucket/x"}),
        json!({"name": "x", "schema": simple_schema(), "partition-spec": {"spec-id": 0, "fields": [{"source-id": 99, "field-id": 1000, "name": "p", "transform": "identity"}]}}),
    ] {
        let answer = catalog.call("POST", &path, Some(&bad)).expect("create");
        assert_eq!(answer.status, 400, "{bad}: {} {}", answer.status, answer.response.text());
    }
    assert_eq!(catalog.list_tables(NS).expect("list"), ["t"]);
}

#[test]
fn metadata_files_are_objects_of_the_warehouse() {
    let mut catalog = warehouse("wh-files");
    let uuid = table(&mut catalog, "t");
    let mut client = server().client();
    let mut locations = Vec::new();
    for round in 0..3 {
        let answer = catalog.load_table(NS, "t").expect("load");
        let location = answer.text_at("/metadata-location").to_owned();
        let (bucket, key) =
            location.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).expect("an S3 location");
        let name = key.rsplit('/').next().expect("a file name");
        assert!(name.starts_with(&format!("{round:05}-")) && name.ends_with(".metadata.json"), "{location}");
        let file = client.get(bucket, key).expect("get");
        assert_eq!(file.status, 200, "{location}");
        assert_eq!(serde_json::from_slice::<Value>(&file.body).expect("JSON"), answer.json["metadata"]);
        assert_eq!(file.etag(), nilas_tests::client::md5_etag(&file.body), "{location}");
        locations.push(location);
        let commit = catalog.commit(
            NS,
            "t",
            json!([assert_uuid(&uuid)]),
            json!([set_property("round", &round.to_string())]),
        );
        expect(&commit.expect("commit"), 200, "");
    }
    let log = catalog.load_table(NS, "t").expect("load").json["metadata"]["metadata-log"].clone();
    let logged: Vec<&str> =
        log.as_array().expect("a log").iter().filter_map(|entry| entry["metadata-file"].as_str()).collect();
    assert_eq!(logged, locations);
    for location in &locations {
        let (bucket, key) = location["s3://".len()..].split_once('/').expect("an S3 location");
        assert_eq!(
            client.head(bucket, key).expect("head").status,
            200,
            "{location} is gone after later commits"
        );
    }
}

#[test]
fn malformed_commits_are_400_and_change_nothing() {
    let mut catalog = warehouse("wh-malformed");
    let uuid = table(&mut catalog, "t");
    let before = catalog.load_table(NS, "t").expect("load").response.body;
    let path = catalog.table_path(NS, "t");
    let with = |updates: Value| json!({"requirements": [], "updates": updates}).to_string();
    let deep = format!("{{\"requirements\":[],\"updates\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for bad in [
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"text\"".to_owned(),
        "{\"requirements\":[],\"updates\":[]} trailing".to_owned(),
        "{\"requirements\":{},\"updates\":[]}".to_owned(),
        "{\"requirements\":[],\"updates\":5}".to_owned(),
        "{\"requirements\":[{\"type\":\"assert-nothing\"}],\"updates\":[]}".to_owned(),
        "{\"requirements\":[{}],\"updates\":[]}".to_owned(),
        "{\"requirements\":[{\"type\":\"assert-table-uuid\"}],\"updates\":[]}".to_owned(),
        "\u{feff}{}x".to_owned(),
        deep,
        with(json!([{"action": "unknown-action"}])),
        with(json!([{"no-action": true}])),
        with(json!(["set-properties"])),
        with(json!([{"action": "set-properties"}])),
        with(json!([{"action": "set-properties", "updates": {"a": 1}}])),
        with(json!([{"action": "set-current-schema", "schema-id": "0"}])),
        with(json!([{"action": "set-current-schema", "schema-id": 77}])),
        with(json!([{"action": "upgrade-format-version", "format-version": 99}])),
        with(json!([{"action": "upgrade-format-version", "format-version": 1}])),
        "{\"requirements\":[],\"updates\":[{\"action\":\"set-current-schema\",\"schema-id\":9223372036854775808}]}".to_owned(),
        "{\"requirements\":[],\"updates\":[{\"action\":\"set-current-schema\",\"schema-id\":1.5}]}".to_owned(),
        "{\"requirements\":[],\"updates\":[{\"action\":\"set-current-schema\",\"schema-id\":1e400}]}".to_owned(),
        "{\"requirements\":[],\"updates\":[{\"action\":\"remove-snapshots\",\"snapshot-ids\":[99999999999999999999999999]}]}".to_owned(),
        with(json!([set_property("a", "1"), {"action": "unknown-action"}])),
    ] {
        let answer = catalog.call_with("POST", &path, &[], Some(&bad), &[]).expect("an answer");
        assert_eq!(answer.status, 400, "{:.120}: {}", bad, answer.response.text());
        assert!(answer.json["error"].is_object(), "{:.120}: {}", bad, answer.response.text());
    }
    assert_eq!(catalog.load_table(NS, "t").expect("load").response.body, before);
    let create = json!([{"type": "assert-create"}, assert_uuid(&uuid)]);
    expect(&catalog.commit(NS, "t", create, json!([])).expect("commit"), 400, "");
    expect(&catalog.commit(NS, "t", json!([]), json!([])).expect("commit"), 200, "");
    assert_eq!(
        catalog.load_table(NS, "t").expect("load").response.body,
        before,
        "a commit of nothing changed something"
    );
}

#[test]
fn unmet_requirements_are_409_with_the_reference_text() {
    let mut catalog = warehouse("wh-requirements");
    let uuid = table(&mut catalog, "t");
    let other = "00000000-0000-4000-8000-000000000000";
    for (requirement, text) in [
        (json!({"type": "assert-create"}), "Requirement failed: table already exists"),
        (assert_uuid(other), "Requirement failed: UUID does not match"),
        (
            json!({"type": "assert-current-schema-id", "current-schema-id": 9}),
            "Requirement failed: current schema changed",
        ),
        (
            json!({"type": "assert-last-assigned-field-id", "last-assigned-field-id": 9}),
            "Requirement failed: last assigned field id changed",
        ),
        (
            json!({"type": "assert-default-spec-id", "default-spec-id": 9}),
            "Requirement failed: default partition spec changed",
        ),
        (
            json!({"type": "assert-last-assigned-partition-id", "last-assigned-partition-id": 9}),
            "Requirement failed: last assigned partition id changed",
        ),
        (
            json!({"type": "assert-default-sort-order-id", "default-sort-order-id": 9}),
            "Requirement failed: default sort order changed",
        ),
        (json!({"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 9}), "Requirement failed: "),
    ] {
        let answer =
            catalog.commit(NS, "t", json!([requirement]), json!([set_property("x", "1")])).expect("commit");
        expect_text(&answer, 409, "CommitFailedException", text);
    }
    assert_eq!(property(&mut catalog, "t", "x"), Value::Null);
    let met = json!([
        assert_uuid(&uuid.to_uppercase()),
        {"type": "assert-current-schema-id", "current-schema-id": 0},
        {"type": "assert-last-assigned-field-id", "last-assigned-field-id": 2},
        {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": null},
    ]);
    expect(&catalog.commit(NS, "t", met, json!([set_property("x", "1")])).expect("commit"), 200, "");
    assert_eq!(property(&mut catalog, "t", "x"), json!("1"));
}

#[test]
fn numbers_keep_all_their_digits() {
    let mut catalog = warehouse("wh-numbers");
    table(&mut catalog, "t");
    let id = i64::MAX - 1;
    let now = now_ms();
    let snapshot = json!({
        "snapshot-id": id, "sequence-number": 1, "timestamp-ms": now,
        "manifest-list": "s3://wh-numbers/m.avro", "summary": {"operation": "append"}, "schema-id": 0,
    });
    let updates = json!([
        {"action": "add-snapshot", "snapshot": snapshot},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id},
    ]);
    expect(&catalog.commit(NS, "t", json!([]), updates.clone()).expect("commit"), 200, "");
    let loaded = catalog.load_table(NS, "t").expect("load");
    assert_eq!(loaded.json["metadata"]["current-snapshot-id"].to_string(), id.to_string());
    assert_eq!(loaded.json["metadata"]["snapshots"][0]["timestamp-ms"].to_string(), now.to_string());
    expect(&catalog.commit(NS, "t", json!([]), updates.clone()).expect("the same again"), 200, "");
    let mut other = updates;
    other[0]["snapshot"]["timestamp-ms"] = json!(now + 1);
    expect(&catalog.commit(NS, "t", json!([]), other).expect("its id again"), 400, "ValidationException");
}

/// When these tests started: what makes the same request twice needs the same time twice.
fn started_ms() -> i64 {
    static STARTED_MS: OnceLock<i64> = OnceLock::new();
    *STARTED_MS.get_or_init(now_ms)
}

/// The clock of this machine, which is the server's, in milliseconds since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a date that fits")
}

#[test]
fn a_schema_may_name_a_smaller_last_column() {
    let mut catalog = warehouse("wh-last-column");
    let column = |id: i64, name: &str| json!({"id": id, "name": name, "required": false, "type": "long"});
    for (table, fields) in [
        // ALTER TABLE … DROP COLUMN of the newest one
        ("dropped", json!([column(1, "id"), column(2, "a")])),
        // CREATE OR REPLACE TABLE … AS SELECT with fewer columns
        ("replaced", json!([column(1, "id")])),
    ] {
        let all = json!([column(1, "id"), column(2, "a"), column(3, "b")]);
        let body = json!({"name": table, "schema": {"type": "struct", "fields": all}});
        let path = format!("{}/tables", catalog.namespace_path(NS));
        expect(&catalog.call("POST", &path, Some(&body)).expect("create"), 200, "");
        let highest = fields.as_array().map(Vec::len);
        let updates = json!([
            {"action": "add-schema", "schema": {"type": "struct", "schema-id": 1, "fields": fields},
                "last-column-id": highest},
            {"action": "set-current-schema", "schema-id": -1}]);
        let requirements = json!([{"type": "assert-last-assigned-field-id", "last-assigned-field-id": 3}]);
        let answer = catalog.commit(NS, table, requirements, updates).expect("commit");
        expect(&answer, 200, "");
        assert_eq!(answer.json["metadata"]["last-column-id"], json!(3));
        assert_eq!(answer.json["metadata"]["schemas"][1]["fields"], fields);
    }
}

#[test]
fn what_clients_could_not_load_is_refused_or_respelled() {
    let mut catalog = warehouse("wh-loadable");
    let path = format!("{}/tables", catalog.namespace_path(NS));
    let create = |catalog: &mut Catalog, name: &str, column: &Value, transform: &str| {
        let body = json!({"name": name, "properties": {"format-version": "3"},
            "schema": {"type": "struct", "fields": [
                {"id": 1, "name": "id", "required": true, "type": "LONG"}, column]},
            "partition-spec": {"spec-id": 0, "fields": [{"source-id": 1, "name": "p", "transform": transform}]},
            "write-order": {"order-id": 1, "fields": [
                {"source-id": 1, "transform": "Identity", "direction": "DESC", "null-order": "NULLS-LAST"}]}});
        catalog.call("POST", &path, Some(&body)).expect("an answer")
    };
    let column = |ty: &str, default: Value| json!({"id": 2, "name": "c", "required": false, "type": ty, "write-default": default});
    for (ty, default) in [
        ("uuid", json!("abc")),
        ("decimal(9,2)", json!("1.2345")),
        ("timestamp", json!("2020-01-01T10:00:00+00:00")),
        ("timestamptz", json!("2020-01-01T10:00:00")),
        ("fixed[4]", json!("ABCD")),
        ("date", json!("2020-02-30")),
        ("int", json!(2_147_483_648_i64)),
        ("variant", json!("x")),
    ] {
        let answer = create(&mut catalog, "bad", &column(ty, default), "identity");
        expect_text(&answer, 400, "BadRequestException", "Invalid default for c: cannot parse default as a");
    }
    let required = json!({"id": 2, "name": "c", "required": true, "type": "unknown"});
    let answer = create(&mut catalog, "bad", &required, "identity");
    expect_text(&answer, 400, "BadRequestException", "Cannot create required field with unknown type: c");
    for transform in ["truncate[99999999999]", "bucket[0]", "bucket[ 4 ]"] {
        let answer = create(&mut catalog, "bad", &column("int", Value::Null), transform);
        expect(&answer, 400, "BadRequestException");
    }

    let answer = create(&mut catalog, "good", &column("DOUBLE", json!(1)), "Bucket[04]");
    expect(&answer, 200, "");
    let loaded = catalog.load_table(NS, "good").expect("load");
    let metadata = &loaded.json["metadata"];
    assert_eq!(metadata["schemas"][0]["fields"][0]["type"], json!("long"));
    let double = &metadata["schemas"][0]["fields"][1];
    assert_eq!((&double["type"], double["write-default"].to_string()), (&json!("double"), "1.0".to_owned()));
    assert_eq!(metadata["partition-specs"][0]["fields"][0]["transform"], json!("bucket[4]"));
    let order = &metadata["sort-orders"][0]["fields"][0];
    assert_eq!(
        [&order["transform"], &order["direction"], &order["null-order"]],
        ["identity", "desc", "nulls-last"]
    );
}

#[test]
fn snapshots_are_not_ahead_of_the_clock() {
    let mut catalog = warehouse("wh-clock");
    table(&mut catalog, "t");
    let add = |id: i64, timestamp_ms: i64| {
        json!([
            {"action": "add-snapshot", "snapshot": {"snapshot-id": id, "sequence-number": id,
                "timestamp-ms": timestamp_ms, "manifest-list": "s3://wh-clock/m.avro",
                "summary": {"operation": "append"}, "schema-id": 0}},
            {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}])
    };
    let minute = 60_000;
    let ahead = catalog.commit(NS, "t", json!([]), add(1, now_ms() + 2 * minute)).expect("an answer");
    expect_text(&ahead, 400, "IllegalArgumentException", "more than a minute after the current time");
    let behind = catalog.commit(NS, "t", json!([]), add(1, now_ms() - 2 * minute)).expect("an answer");
    expect_text(&behind, 400, "IllegalArgumentException", "before the latest metadata log entry timestamp");
    // within a minute both ways, and the next writer's clock may be right
    for (id, skew) in [(1, minute / 2), (2, 0), (3, -minute / 4)] {
        let answer = catalog.commit(NS, "t", json!([]), add(id, now_ms() + skew)).expect("commit");
        expect(&answer, 200, "");
    }
}

/// A metadata file from elsewhere whose last snapshot is years ahead: it can be registered, and written to at once.
#[test]
fn a_registered_table_of_the_future_is_writable() {
    let mut catalog = warehouse("wh-future");
    table(&mut catalog, "t");
    let far = now_ms() + 365 * 24 * 3_600_000;
    let loaded = catalog.load_table(NS, "t").expect("load");
    let mut metadata = loaded.json["metadata"].clone();
    let uuid = "0b3f7c1e-5a52-4e6e-9f0a-5f4f3f0a7d11";
    for (key, value) in [
        ("table-uuid", json!(uuid)),
        ("location", json!("s3://wh-future/elsewhere")),
        ("last-updated-ms", json!(far)),
        ("last-sequence-number", json!(1)),
        ("current-snapshot-id", json!(1)),
        ("refs", json!({"main": {"snapshot-id": 1, "type": "branch"}})),
        (
            "snapshots",
            json!([{"snapshot-id": 1, "sequence-number": 1, "timestamp-ms": far,
            "manifest-list": "s3://wh-future/m.avro", "summary": {"operation": "append"}}]),
        ),
        ("snapshot-log", json!([{"snapshot-id": 1, "timestamp-ms": far}])),
        ("metadata-log", json!([])),
    ] {
        metadata[key] = value;
    }
    let put = |key: &str, metadata: &Value| {
        let body = metadata.to_string();
        let call = Call::object("PUT", "wh-future", key).body(body.as_bytes());
        assert_eq!(server().client().send(&call).expect("put").status, 200);
        format!("s3://wh-future/{key}")
    };
    let path = format!("{}/register", catalog.namespace_path(NS));
    let register = |catalog: &mut Catalog, name: &str, location: String| {
        let body = json!({"name": name, "metadata-location": location});
        catalog.call("POST", &path, Some(&body)).expect("an answer")
    };
    let location = put("elsewhere/metadata/0.metadata.json", &metadata);
    expect(&register(&mut catalog, "far", location), 200, "");
    for id in 2..4_i64 {
        let updates = json!([
            {"action": "add-snapshot", "snapshot": {"snapshot-id": id, "parent-snapshot-id": id - 1,
                "sequence-number": id, "timestamp-ms": now_ms(), "manifest-list": "s3://wh-future/m.avro",
                "summary": {"operation": "append"}}},
            {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}]);
        expect(&catalog.commit(NS, "far", json!([]), updates).expect("commit"), 200, "");
    }
    // what no client can load does not become a table
    metadata["schemas"][0]["fields"][0]["write-default"] = json!("abc");
    let location = put("elsewhere/metadata/1.metadata.json", &metadata);
    expect_text(
        &register(&mut catalog, "bad", location),
        400,
        "BadRequestException",
        "cannot parse default as a",
    );
}

#[test]
fn staged_create_then_commit() {
    let mut catalog = warehouse("wh-staged");
    let path = format!("{}/tables", catalog.namespace_path(NS));
    let body = json!({"name": "t", "schema": simple_schema(), "stage-create": true});
    let staged = catalog.call("POST", &path, Some(&body)).expect("stage");
    expect(&staged, 200, "");
    let metadata = &staged.json["metadata"];
    expect(&catalog.load_table(NS, "t").expect("load"), 404, "NoSuchTableException");
    assert_eq!(catalog.list_tables(NS).expect("list"), Vec::<String>::new());
    let updates = json!([
        {"action": "assign-uuid", "uuid": metadata["table-uuid"]},
        {"action": "upgrade-format-version", "format-version": 2},
        {"action": "add-schema", "schema": metadata["schemas"][0], "last-column-id": 2},
        {"action": "set-current-schema", "schema-id": -1},
        {"action": "add-spec", "spec": {"spec-id": 0, "fields": []}},
        {"action": "set-default-spec", "spec-id": -1},
        {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
        {"action": "set-default-sort-order", "sort-order-id": -1},
        {"action": "set-location", "location": metadata["location"]},
        set_property("made", "staged"),
    ]);
    let create = json!([{"type": "assert-create"}]);
    expect(&catalog.commit(NS, "t", create.clone(), updates.clone()).expect("commit"), 200, "");
    let loaded = catalog.load_table(NS, "t").expect("load");
    assert_eq!(loaded.json["metadata"]["table-uuid"], metadata["table-uuid"]);
    assert_eq!(loaded.json["metadata"]["properties"]["made"], json!("staged"));
    expect(&catalog.commit(NS, "t", create.clone(), updates.clone()).expect("again"), 200, "");
    let mut other = updates;
    other[0]["uuid"] = json!("00000000-0000-4000-8000-00000000000b");
    expect(&catalog.commit(NS, "t", create, other).expect("of another writer"), 409, "CommitFailedException");
    expect(&catalog.call("POST", &path, Some(&body)).expect("stage again"), 409, "AlreadyExistsException");
}

/// The updates of an append: a snapshot, and branch `main` at it.
fn appended(warehouse: &str, id: i64, parent: Option<i64>) -> Value {
    json!([
        {"action": "add-snapshot", "snapshot": {
            "snapshot-id": id, "parent-snapshot-id": parent, "sequence-number": id, "timestamp-ms": started_ms() + id,
            "manifest-list": format!("s3://{warehouse}/t/metadata/snap-{id}.avro"), "summary": {"operation": "append"},
            "schema-id": 0}},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id},
    ])
}

fn main_was(id: Option<i64>) -> Value {
    json!({"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": id})
}

#[track_caller]
fn snapshot_ids(catalog: &mut Catalog, name: &str) -> Vec<i64> {
    let answer = catalog.load_table(NS, name).expect("load");
    let snapshots = answer.json["metadata"]["snapshots"].as_array().cloned().unwrap_or_default();
    snapshots.iter().filter_map(|snapshot| snapshot["snapshot-id"].as_i64()).collect()
}

#[test]
fn a_commit_that_comes_again_is_recognised() {
    const W: &str = "wh-again";
    let mut server = Server::fresh();
    let mut catalog = on(&server, W);
    let uuid = table(&mut catalog, "t");
    let append = |catalog: &mut Catalog, id: i64, parent: Option<i64>| {
        let requirements = json!([assert_uuid(&uuid), main_was(parent)]);
        catalog.commit(NS, "t", requirements, appended(W, id, parent)).expect("commit")
    };
    let first = append(&mut catalog, 1, None);
    expect(&first, 200, "");
    let again = append(&mut catalog, 1, None);
    expect(&again, 200, "");
    assert_eq!(again.json, first.json);
    assert_eq!(snapshot_ids(&mut catalog, "t"), [1]);

    expect(&append(&mut catalog, 2, Some(1)), 200, "");
    let late = append(&mut catalog, 1, None);
    expect(&late, 200, "");
    assert_eq!(late.json["metadata"]["current-snapshot-id"], json!(2), "the answer is the table as it is");

    // The same JSON, written anew by something on the way.
    let mut members: Vec<(&str, String)> = vec![
        ("updates", appended(W, 1, None).to_string().replace("\"snapshot-id\":1", " \"snapshot-id\" : 1")),
        ("requirements", json!([assert_uuid(&uuid), main_was(None)]).to_string()),
    ];
    let path = catalog.table_path(NS, "t");
    for _ in 0..2 {
        let body: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
        let body = format!("{{\n{}\n}}", body.join(" ,\n"));
        expect(&catalog.call_with("POST", &path, &[], Some(&body), &[]).expect("commit"), 200, "");
        members.reverse();
    }

    // Another writer's commit with a known id, or a stale base, is what it was.
    let mut other = appended(W, 1, None);
    other[0]["snapshot"]["manifest-list"] = json!(format!("s3://{W}/t/metadata/snap-other.avro"));
    let refused = catalog.commit(NS, "t", json!([main_was(None)]), other.clone()).expect("commit");
    expect_text(&refused, 409, "CommitFailedException", "Requirement failed: branch main");
    let refused = catalog.commit(NS, "t", json!([]), other).expect("commit");
    expect_text(&refused, 400, "ValidationException", "Snapshot already exists for id: 1");
    expect(&append(&mut catalog, 9, Some(1)), 409, "CommitFailedException");
    // What would change nothing is not success where a requirement says that something else was expected.
    let set = json!([set_property("owner", "me")]);
    expect(&catalog.commit(NS, "t", json!([]), set.clone()).expect("commit"), 200, "");
    let stale = catalog.commit(NS, "t", json!([main_was(None)]), set).expect("commit");
    expect(&stale, 409, "CommitFailedException");
    assert_eq!(snapshot_ids(&mut catalog, "t"), [1, 2]);

    // Rolled back, then expired, then after a restart.
    let back =
        json!([{"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": 1}]);
    expect(&catalog.commit(NS, "t", json!([]), back).expect("roll back"), 200, "");
    expect(&append(&mut catalog, 2, Some(1)), 200, "");
    let expire = json!([{"action": "remove-snapshots", "snapshot-ids": [2]}]);
    expect(&catalog.commit(NS, "t", json!([]), expire).expect("expire"), 200, "");
    assert_eq!(snapshot_ids(&mut catalog, "t"), [1]);
    expect(&append(&mut catalog, 2, Some(1)), 200, "");
    assert_eq!(snapshot_ids(&mut catalog, "t"), [1], "an expired snapshot came back");
    let before = catalog.load_table(NS, "t").expect("load").json;
    for kill in [true, false] {
        if kill {
            server.kill9();
        } else {
            assert!(server.sigterm().is_some());
        }
        server.restart().unwrap_or_else(|error| panic!("{error}"));
        catalog = server.catalog(W);
        catalog.configure().expect("config");
        for (id, parent) in [(1, None), (2, Some(1))] {
            expect(&append(&mut catalog, id, parent), 200, "");
        }
        assert_eq!(catalog.load_table(NS, "t").expect("load").json, before);
    }

    // By its name alone nothing is known: not of a table that was dropped and made anew.
    expect(&catalog.drop_table(NS, "t").expect("drop"), 204, "");
    expect(&append(&mut catalog, 1, None), 404, "NoSuchTableException");
    table(&mut catalog, "t");
    expect(&append(&mut catalog, 1, None), 409, "CommitFailedException");
    assert_eq!(snapshot_ids(&mut catalog, "t"), Vec::<i64>::new());
}

#[test]
fn a_transaction_that_comes_again_is_recognised() {
    const W: &str = "wh-again-tx";
    let mut catalog = warehouse(W);
    let (a, b) = (table(&mut catalog, "a"), table(&mut catalog, "b"));
    let change = |name: &str, uuid: &str, id: i64, parent: Option<i64>| {
        json!({
            "identifier": {"namespace": NS, "name": name},
            "requirements": [assert_uuid(uuid), main_was(parent)],
            "updates": appended(W, id, parent),
        })
    };
    let set = |value: &str| {
        json!({"identifier": {"namespace": NS, "name": "b"}, "requirements": [assert_uuid(&b)],
            "updates": [set_property("v", value)]})
    };
    let both = json!([change("a", &a, 1, None), change("b", &b, 1, None)]);
    for _ in 0..2 {
        expect(&catalog.transaction(both.clone()).expect("commit"), 204, "");
    }
    let with_property = json!([change("a", &a, 2, Some(1)), set("1")]);
    expect(&catalog.transaction(with_property.clone()).expect("commit"), 204, "");
    expect(&catalog.transaction(json!([set("2")])).expect("commit"), 204, "");
    for whole in [both, with_property] {
        expect(&catalog.transaction(whole).expect("again"), 204, "");
    }
    assert_eq!(property(&mut catalog, "b", "v"), json!("2"), "a repetition was applied again");
    // One half has landed, by another request: this transaction has not.
    let half = json!([change("a", &a, 1, None), change("b", &b, 2, Some(1))]);
    expect(&catalog.transaction(half).expect("commit"), 409, "CommitFailedException");
    assert_eq!((snapshot_ids(&mut catalog, "a"), snapshot_ids(&mut catalog, "b")), (vec![1, 2], vec![1]));
}

#[track_caller]
fn rename(catalog: &mut Catalog, from: &str, to: &str) {
    let named = |name: &str| json!({"namespace": NS, "name": name});
    let body = json!({"source": named(from), "destination": named(to)});
    let path = format!("{}/tables/rename", catalog.prefix);
    expect(&catalog.call("POST", &path, Some(&body)).expect("rename"), 204, "");
}

#[test]
fn a_repetition_is_recognised_after_a_rename() {
    const W: &str = "wh-again-renamed";
    let mut catalog = warehouse(W);
    let uuid = table(&mut catalog, "t");
    let append = |catalog: &mut Catalog, name: &str| {
        let requirements = json!([assert_uuid(&uuid), main_was(None)]);
        catalog.commit(NS, name, requirements, appended(W, 1, None)).expect("commit")
    };
    expect(&append(&mut catalog, "t"), 200, "");
    rename(&mut catalog, "t", "u");
    let loaded = catalog.load_table(NS, "u").expect("load");
    for _ in 0..2 {
        let again = append(&mut catalog, "t");
        expect(&again, 200, "");
        assert_eq!(again.json["metadata-location"], loaded.json["metadata-location"]);
        assert_eq!(again.json["metadata"], loaded.json["metadata"]);
        // Once more beside another table of the old name.
        if catalog.list_tables(NS).expect("list") == ["u"] {
            table(&mut catalog, "t");
        }
    }
    assert_eq!((snapshot_ids(&mut catalog, "t"), snapshot_ids(&mut catalog, "u")), (vec![], vec![1]));
    expect(&append(&mut catalog, "u"), 409, "CommitFailedException");
    expect(&catalog.drop_table(NS, "t").expect("drop"), 204, "");
    expect(&catalog.drop_table(NS, "u").expect("drop"), 204, "");
    expect(&append(&mut catalog, "t"), 404, "NoSuchTableException");

    // A creation.
    let path = format!("{}/tables", catalog.namespace_path(NS));
    let body = json!({"name": "c", "schema": simple_schema(), "stage-create": true});
    let staged = catalog.call("POST", &path, Some(&body)).expect("stage");
    let metadata = &staged.json["metadata"];
    let updates = json!([
        {"action": "assign-uuid", "uuid": metadata["table-uuid"]},
        {"action": "upgrade-format-version", "format-version": 2},
        {"action": "add-schema", "schema": metadata["schemas"][0]},
        {"action": "set-current-schema", "schema-id": -1},
        {"action": "add-spec", "spec": {"spec-id": 0, "fields": []}},
        {"action": "set-default-spec", "spec-id": -1},
        {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
        {"action": "set-default-sort-order", "sort-order-id": -1},
        {"action": "set-location", "location": metadata["location"]},
    ]);
    let create = json!([{"type": "assert-create"}]);
    expect(&catalog.commit(NS, "c", create.clone(), updates.clone()).expect("commit"), 200, "");
    rename(&mut catalog, "c", "d");
    let again = catalog.commit(NS, "c", create, updates).expect("again");
    expect(&again, 200, "");
    assert_eq!(again.json["metadata"]["table-uuid"], metadata["table-uuid"]);
    assert_eq!(catalog.list_tables(NS).expect("list"), ["d"]);
}

#[test]
fn a_repetition_is_recognised_of_a_table_registered_again() {
    const W: &str = "wh-again-registered";
    let mut catalog = warehouse(W);
    let uuid = table(&mut catalog, "t");
    let append = |catalog: &mut Catalog| {
        let requirements = json!([assert_uuid(&uuid), main_was(None)]);
        catalog.commit(NS, "t", requirements, appended(W, 1, None)).expect("commit")
    };
    let first = append(&mut catalog);
    expect(&first, 200, "");
    expect(&catalog.drop_table(NS, "t").expect("drop"), 204, "");
    // Other changes, with which digests that are due would go.
    for name in ["x", "y"] {
        table(&mut catalog, name);
    }
    expect(&append(&mut catalog), 404, "NoSuchTableException");
    let path = format!("{}/register", catalog.namespace_path(NS));
    let body = json!({"name": "t", "metadata-location": first.json["metadata-location"]});
    expect(&catalog.call("POST", &path, Some(&body)).expect("register"), 200, "");
    let again = append(&mut catalog);
    expect(&again, 200, "");
    assert_eq!(again.json["metadata"], first.json["metadata"]);
}

#[test]
fn a_transaction_is_recognised_when_its_tables_moved() {
    const W: &str = "wh-again-moved";
    let mut catalog = warehouse(W);
    let names = ["a", "b", "c"];
    let uuids = names.map(|name| table(&mut catalog, name));
    let changes: Vec<Value> = names
        .iter()
        .zip(&uuids)
        .map(|(name, uuid)| {
            json!({
                "identifier": {"namespace": NS, "name": name},
                "requirements": [assert_uuid(uuid), main_was(None)],
                "updates": appended(W, 1, None),
            })
        })
        .collect();
    let send = |catalog: &mut Catalog| catalog.transaction(json!(changes)).expect("commit");
    expect(&send(&mut catalog), 204, "");
    rename(&mut catalog, "c", "z");
    expect(&send(&mut catalog), 204, "");
    expect(&catalog.drop_table(NS, "a").expect("drop"), 204, "");
    expect(&send(&mut catalog), 204, "");
    table(&mut catalog, "a");
    expect(&send(&mut catalog), 204, "");
    assert_eq!(catalog.list_tables(NS).expect("list"), ["a", "b", "z"]);
    let ids = ["a", "b", "z"].map(|name| snapshot_ids(&mut catalog, name));
    assert_eq!(ids, [vec![], vec![1], vec![1]]);
}

#[test]
fn the_digests_of_a_large_table_go_with_it() {
    const W: &str = "wh-again-many";
    let mut catalog = warehouse(W);
    let uuid = table(&mut catalog, "t");
    let path = catalog.table_path(NS, "t");
    // Snapshots beside each other, so that a hundred fit one commit.
    let many = |from: i64| {
        let snapshots = (from..from + 100).map(|id| {
            let mut added = appended(W, id, None)[0].clone();
            added["snapshot"]["sequence-number"] = json!(id);
            added
        });
        json!({"requirements": [], "updates": snapshots.collect::<Vec<_>>()})
    };
    for round in 0..12 {
        let answer = catalog.call("POST", &path, Some(&many(1 + 100 * round))).expect("commit");
        expect(&answer, 200, "");
    }
    expect(&catalog.call("POST", &path, Some(&many(1))).expect("again"), 200, "");
    let ids: Vec<i64> = (1..=1_200).collect();
    let expire = json!([{"action": "remove-snapshots", "snapshot-ids": ids}]);
    expect(&catalog.commit(NS, "t", json!([assert_uuid(&uuid)]), expire).expect("expire"), 200, "");
    expect(&catalog.call("POST", &path, Some(&many(101))).expect("again"), 200, "");
    assert_eq!(snapshot_ids(&mut catalog, "t"), Vec::<i64>::new());
    expect(&catalog.drop_table(NS, "t").expect("drop"), 204, "");
    for round in 0..8 {
        table(&mut catalog, &format!("t{round}"));
        expect(&catalog.drop_table(NS, &format!("t{round}")).expect("drop"), 204, "");
    }
    let namespace = catalog.namespace_path(NS);
    expect(&catalog.call("DELETE", &namespace, None).expect("drop"), 204, "");
    expect(&catalog.call("DELETE", &format!("/warehouses/{W}"), None).expect("drop"), 204, "");
}

#[test]
fn transactions_are_all_or_nothing() {
    let mut catalog = warehouse("wh-transactions");
    let (a, b) = (table(&mut catalog, "a"), table(&mut catalog, "b"));
    let change = |name: &str, uuid: &str, value: &str| {
        json!({
            "identifier": {"namespace": NS, "name": name},
            "requirements": [assert_uuid(uuid)],
            "updates": [set_property("v", value)],
        })
    };
    expect(
        &catalog.transaction(json!([change("a", &a, "1"), change("b", &b, "1")])).expect("commit"),
        204,
        "",
    );
    let wrong = "00000000-0000-4000-8000-000000000000";
    let bad_update = json!({"identifier": {"namespace": NS, "name": "b"}, "requirements": [], "updates": [{"action": "nonsense"}]});
    let no_identifier = json!({"requirements": [], "updates": []});
    for (changes, status) in [
        (json!([change("a", &a, "2"), change("b", wrong, "2")]), 409),
        (json!([change("a", &a, "2"), change("missing", wrong, "2")]), 404),
        (json!([change("a", &a, "2"), bad_update]), 400),
        (json!([change("a", &a, "2"), no_identifier]), 400),
        (json!([change("a", &a, "2"), change("a", &a, "3")]), 400),
        (json!("nonsense"), 400),
    ] {
        let answer = catalog.transaction(changes.clone()).expect("commit");
        assert_eq!(answer.status, status, "{changes}: {}", answer.response.text());
        assert_eq!(property(&mut catalog, "a", "v"), json!("1"), "{changes}");
        assert_eq!(property(&mut catalog, "b", "v"), json!("1"), "{changes}");
    }
}

#[test]
fn rename_register_drop() {
    let mut catalog = warehouse("wh-rename");
    let uuid = table(&mut catalog, "a");
    table(&mut catalog, "taken");
    expect(&catalog.create_namespace(&["other"]).expect("namespace"), 200, "");
    let rename = |catalog: &mut Catalog, from: (&str, &str), to: (&str, &str)| {
        let identifier = |(namespace, name)| json!({"namespace": [namespace], "name": name});
        let path = format!("{}/tables/rename", catalog.prefix);
        let body = json!({"source": identifier(from), "destination": identifier(to)});
        catalog.call("POST", &path, Some(&body)).expect("rename")
    };
    expect(&rename(&mut catalog, ("ns", "missing"), ("ns", "b")), 404, "NoSuchTableException");
    expect(&rename(&mut catalog, ("ns", "a"), ("missing", "b")), 404, "NoSuchNamespaceException");
    expect_text(
        &rename(&mut catalog, ("ns", "a"), ("ns", "taken")),
        409,
        "AlreadyExistsException",
        "already exists",
    );
    expect(&rename(&mut catalog, ("ns", "a"), ("other", "b")), 204, "");
    expect(&catalog.load_table(NS, "a").expect("load"), 404, "NoSuchTableException");
    let loaded = catalog.load_table(&["other"], "b").expect("load");
    assert_eq!(loaded.text_at("/metadata/table-uuid"), uuid);
    let location = loaded.text_at("/metadata-location").to_owned();

    expect(&catalog.drop_table(&["other"], "b").expect("drop"), 204, "");
    expect(&catalog.drop_table(&["other"], "b").expect("again"), 404, "NoSuchTableException");
    let path = format!("{}/register", catalog.namespace_path(NS));
    let mut register = |name: &str, location: &str| {
        let body = json!({"name": name, "metadata-location": location});
        catalog.call("POST", &path, Some(&body)).expect("register")
    };
    expect(&register("back", "s3://wh-rename/no/such.metadata.json"), 404, "NotFoundException");
    expect(&register("taken", &location), 409, "AlreadyExistsException");
    let answer = register("back", &location);
    expect(&answer, 200, "");
    assert_eq!(answer.text_at("/metadata/table-uuid"), uuid);
    assert_eq!(catalog.list_tables(NS).expect("list"), ["back", "taken"]);
}

#[test]
fn a_repeated_idempotency_key_is_answered_once_done() {
    let mut catalog = warehouse("wh-idempotency");
    let uuid = table(&mut catalog, "t");
    let path = catalog.table_path(NS, "t");
    let key = [("idempotency-key", "0198a000-0000-7000-8000-000000000001")];
    let body = |value: &str| {
        json!({"requirements": [assert_uuid(&uuid)], "updates": [set_property("v", value)]}).to_string()
    };
    let first = catalog.call_with("POST", &path, &[], Some(&body("1")), &key).expect("commit");
    expect(&first, 200, "");
    let later = catalog.call_with("POST", &path, &[], Some(&body("2")), &[]).expect("commit");
    expect(&later, 200, "");
    let again = catalog.call_with("POST", &path, &[], Some(&body("1")), &key).expect("replay");
    expect(&again, 200, "");
    assert_eq!(property(&mut catalog, "t", "v"), json!("2"), "a replay was applied a second time");

    let tables = format!("{}/tables", catalog.namespace_path(NS));
    let key = [("idempotency-key", "0198a000-0000-7000-8000-000000000002")];
    let body = json!({"name": "once", "schema": simple_schema()}).to_string();
    let first = catalog.call_with("POST", &tables, &[], Some(&body), &key).expect("create");
    let again = catalog.call_with("POST", &tables, &[], Some(&body), &key).expect("replay");
    expect(&again, 200, "");
    assert_eq!(first.text_at("/metadata/table-uuid"), again.text_at("/metadata/table-uuid"));
    let nonsense = [("idempotency-key", "not a uuid")];
    expect(&catalog.call_with("POST", &tables, &[], Some(&body), &nonsense).expect("create"), 400, "");
}

#[test]
fn bearer_tokens() {
    let mut catalog = warehouse("wh-bearer");
    table(&mut catalog, "t");
    let (access, secret) = server().root_key();
    let secret_encoded = nilas_tests::sign::encode(secret, false);
    let mut ask = |body: &str| {
        let call = Call::new("POST", "/_iceberg/v1/oauth/tokens").unsigned();
        let call = call.header("content-type", "application/x-www-form-urlencoded").body(body.as_bytes());
        let response = catalog.client.send(&call).expect("an answer");
        let json = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
        (response.status, json)
    };
    let (status, answer) = ask(&format!("grant_type={}", "x".repeat(64 << 10)));
    assert_eq!((status, &answer["error"]["code"]), (413, &json!(413)), "{answer}");
    let good = format!(
        "grant_type=client_credentials&client_id={access}&client_secret={secret_encoded}&scope=catalog"
    );
    let (status, token) = ask(&good);
    assert_eq!(
        (status, token["token_type"].as_str().map(str::to_lowercase).as_deref()),
        (200, Some("bearer")),
        "{token}"
    );
    for (body, statuses, error) in [
        (
            format!("grant_type=client_credentials&client_id={access}&client_secret=wrong"),
            &[400, 401][..],
            "invalid_client",
        ),
        (
            format!("grant_type=client_credentials&client_id=nobody&client_secret={secret_encoded}"),
            &[400, 401],
            "invalid_client",
        ),
        (
            format!("grant_type=password&client_id={access}&client_secret={secret_encoded}"),
            &[400],
            "unsupported_grant_type",
        ),
        (String::new(), &[400], "invalid_request"),
    ] {
        let (status, answer) = ask(&body);
        assert!(statuses.contains(&status), "{body}: {status} {answer}");
        assert_eq!(answer["error"], json!(error), "{body}");
    }
    let put = Call::new("PUT", "/_iceberg/v1/oauth/tokens").unsigned().body(&[b'x'; 128 << 10]);
    assert_eq!(catalog.client.send(&put).expect("an answer").status, 405);
    let mut bearer = catalog.clone();
    bearer.bearer = token["access_token"].as_str().map(str::to_owned);
    expect(&bearer.load_table(NS, "t").expect("load"), 200, "");
    let real = bearer.bearer.clone().expect("a token");
    for bad in ["nonsense".to_owned(), format!("{real}x"), real[..real.len() - 2].to_owned(), String::new()] {
        bearer.bearer = Some(bad.clone());
        let answer = bearer.load_table(NS, "t").expect("an answer");
        assert!(matches!(answer.status, 401 | 403), "{bad}: {}", answer.status);
        assert!(answer.json["error"].is_object(), "{bad}: {}", answer.response.text());
    }
}

#[test]
fn signatures_single_and_double_encoded_with_or_without_a_payload_hash() {
    let mut catalog = warehouse("wh-signing");
    let nested = &["ns", "sub x"][..];
    expect(&catalog.create_namespace(nested).expect("namespace"), 200, "");
    let path = format!("/_iceberg/v1{}/namespaces/{}", catalog.prefix, encode_namespace(nested));
    for double in [true, false] {
        catalog.client.signer.double_encode = double;
        for payload in [Payload::Signed, Payload::Unsigned] {
            let response = catalog.client.send(&Call::get(&path).payload(payload)).expect("an answer");
            assert_eq!(response.status, 200, "double {double} {payload:?}: {}", response.text());
        }
    }
}

#[test]
fn etags() {
    let mut catalog = warehouse("wh-etags");
    let uuid = table(&mut catalog, "t");
    let path = catalog.table_path(NS, "t");
    let etag = catalog.load_table(NS, "t").expect("load").response.etag();
    assert!(!etag.is_empty(), "loadTable carries no ETag");
    let same = catalog.call_with("GET", &path, &[], None, &[("if-none-match", &etag)]).expect("load");
    assert_eq!((same.status, same.response.body.len()), (304, 0));
    let commit = catalog
        .commit(NS, "t", json!([assert_uuid(&uuid)]), json!([set_property("v", "1")]))
        .expect("commit");
    assert!(!commit.response.etag().is_empty() && commit.response.etag() != etag);
    let changed = catalog.call_with("GET", &path, &[], None, &[("if-none-match", &etag)]).expect("load");
    assert_eq!((changed.status, changed.json["metadata"]["properties"]["v"].clone()), (200, json!("1")));
}

#[test]
fn plain_and_compressed_answers_are_told_apart() {
    let mut catalog = warehouse("wh-encodings");
    table(&mut catalog, "small");
    let uuid = table(&mut catalog, "large");
    let large = json!([set_property("text", &"x".repeat(16 << 10))]);
    let committed = catalog.commit(NS, "large", json!([assert_uuid(&uuid)]), large).expect("commit");
    expect(&committed, 200, "");
    let gzip = ("accept-encoding", "gzip");
    let mut get = |name: &str, headers: &[(&str, &str)], refs: bool| {
        let path = catalog.table_path(NS, name);
        let query = if refs { &[("snapshots", "refs")][..] } else { &[] };
        let answer = catalog.call_with("GET", &path, query, None, headers).expect("load").response;
        let varies = answer.header("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("accept-encoding"));
        assert!(varies, "{name} {headers:?}: {}", answer.head);
        answer
    };
    let (plain, packed) = (get("large", &[], false), get("large", &[gzip], false));
    assert_eq!((plain.header("content-encoding"), packed.header("content-encoding")), (None, Some("gzip")));
    assert_ne!(plain.etag(), packed.etag());
    assert_eq!(committed.response.etag(), plain.etag(), "the tag of a commit is that of the plain answer");
    let (plain_refs, packed_refs) = (get("large", &[], true), get("large", &[gzip], true));
    let tags = [plain.etag(), packed.etag(), plain_refs.etag(), packed_refs.etag()];
    assert_eq!(tags.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{tags:?}");
    // Whoever holds the version in either encoding holds it still, and hears the tag of what they hold.
    for accept in [&[][..], &[gzip]] {
        for (tag, refs, want) in [
            (&tags[0], false, 304),
            (&tags[1], false, 304),
            (&tags[2], false, 200),
            (&tags[2], true, 304),
            (&tags[3], true, 304),
            (&tags[0], true, 200),
        ] {
            let headers: Vec<_> = accept.iter().copied().chain([("if-none-match", tag.as_str())]).collect();
            let answer = get("large", &headers, refs);
            assert_eq!(answer.status, want, "{tag} {refs} {accept:?}");
            if want == 304 {
                assert_eq!((&answer.etag(), answer.body.len()), (tag, 0));
            }
        }
        let headers: Vec<_> = accept.iter().copied().chain([("if-none-match", "*")]).collect();
        let answer = get("large", &headers, false);
        let selected = if accept.is_empty() { &tags[0] } else { &tags[1] };
        assert_eq!((answer.status, &answer.etag()), (304, selected));
    }
    // Too small to be compressed: one form, and one tag, for all; it may grow, so it varies all the same.
    let small = (get("small", &[], false), get("small", &[gzip], false));
    assert_eq!(small.0.etag(), small.1.etag());
    assert_eq!(small.1.header("content-encoding"), None);
    let path = catalog.namespace_path(NS);
    let namespace = catalog.call_with("GET", &path, &[], None, &[gzip]).expect("load").response;
    assert_eq!(namespace.header("vary"), Some("Accept-Encoding"));
}

#[test]
fn every_header_has_one_line() {
    let mut catalog = warehouse("wh-headers");
    table(&mut catalog, "t");
    // The clients of these tests fail on a header with two lines; here those that others might not come by.
    let mut client = server().client();
    let (there, missing) = (catalog.table_path(NS, "t"), catalog.table_path(NS, "missing"));
    let etag = catalog.load_table(NS, "t").expect("load").response.etag();
    let base = "/_iceberg/v1";
    for (status, call) in [
        (200, Call::get(&format!("{base}{there}"))),
        (304, Call::get(&format!("{base}{there}")).header("if-none-match", etag)),
        (404, Call::get(&format!("{base}{missing}"))),
        (204, Call::new("HEAD", format!("{base}{there}"))),
        (404, Call::new("HEAD", format!("{base}{missing}"))),
        (405, Call::new("PATCH", format!("{base}{there}"))),
        (400, Call::new("POST", format!("{base}{there}")).body(b"{")),
        (403, Call::get(&format!("{base}{there}")).unsigned()),
        (401, Call::get(&format!("{base}{there}")).unsigned().header("authorization", "Bearer x")),
        (400, Call::new("POST", format!("{base}/oauth/tokens")).unsigned().body(b"grant_type=x")),
        (405, Call::new("PUT", format!("{base}/oauth/tokens")).unsigned()),
        (200, Call::get("/healthz").unsigned()),
        (200, Call::get("/readyz").unsigned()),
        (200, Call::get("/metrics").unsigned()),
        (403, Call::get("/_nilas/scrub").unsigned()),
        (403, Call::new("PUT", "/healthz").unsigned()),
        (200, Call::get("/")),
        (404, Call::get("/no-such-bucket/key")),
        (404, Call::new("HEAD", "/no-such-bucket")),
        (403, Call::get("/wh-headers").unsigned()),
        (
            200,
            Call::object("PUT", "wh-headers", "o")
                .header("content-type", "text/x")
                .header("x-amz-meta-a", "1")
                .body(b"abc"),
        ),
        (206, Call::object("GET", "wh-headers", "o").header("range", "bytes=0-1")),
        (416, Call::object("GET", "wh-headers", "o").header("range", "bytes=9-")),
        (412, Call::object("GET", "wh-headers", "o").header("if-match", "\"x\"")),
        (200, Call::object("HEAD", "wh-headers", "o")),
        (
            200,
            Call::object("GET", "wh-headers", "o")
                .query("response-content-type", "a/b")
                .query("response-cache-control", "c"),
        ),
        (204, Call::object("DELETE", "wh-headers", "o")),
        (200, Call::bucket("GET", "wh-headers").query("list-type", "2")),
    ] {
        let what = format!("{} {} {:?}", call.method, call.path, call.headers);
        let answer = client.send(&call).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert_eq!(answer.repeated_header(), None, "{what}");
        let types = answer.header("content-type").unwrap_or_default();
        assert!(!types.contains(','), "{what}: {types}");
    }
}

#[test]
fn paths_as_clients_write_them() {
    let mut catalog = warehouse("wh-paths");
    let prefix = catalog.prefix.clone();
    for name in ["a b", "a+b", "c+d", "e f"] {
        table(&mut catalog, name);
    }
    let at = |catalog: &mut Catalog, segment: &str| {
        let path = format!("{prefix}/namespaces/ns/tables/{segment}");
        let answer = catalog.call("GET", &path, None).expect("an answer");
        (answer.status, answer.text_at("/metadata-location").to_owned())
    };
    let named = |catalog: &mut Catalog, name: &str| {
        let answer = catalog.load_table(NS, name).expect("load");
        (answer.status, answer.text_at("/metadata-location").to_owned())
    };
    for (segment, name) in [
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("c+d", "c+d"),
        ("c%2Bd", "c+d"),
        ("e+f", "e f"),
        ("e%2Bf", "e+f"),
        ("g+h", "g h"),
    ] {
        assert_eq!(at(&mut catalog, segment), named(&mut catalog, name), "{segment}");
    }
    // All that a path can ask for: also a namespace, a commit and a drop.
    expect(&catalog.create_namespace(&["x+y"]).expect("create"), 200, "");
    let plus = format!("{prefix}/namespaces/x+y");
    let loaded = catalog.call("GET", &plus, None).expect("load");
    assert_eq!((loaded.status, &loaded.json["namespace"]), (200, &json!(["x+y"])));
    let body = json!({"name": "t+1", "schema": simple_schema()});
    expect(&catalog.call("POST", &format!("{plus}/tables"), Some(&body)).expect("create"), 200, "");
    let set = json!({"requirements": [], "updates": [set_property("v", "1")]});
    expect(&catalog.call("POST", &format!("{plus}/tables/t+1"), Some(&set)).expect("commit"), 200, "");
    assert_eq!(catalog.list_tables(&["x+y"]).expect("list"), ["t+1"]);
    // What destroys or replaces takes a plus for a blank, whatever is there, and leaves the other name alone when it comes again.
    let mut delete = |path: &str| catalog.call("DELETE", path, None).expect("an answer");
    expect_text(&delete(&format!("{plus}/tables/t+1")), 404, "NoSuchTableException", "x y.t 1");
    expect_text(&delete(&plus), 404, "NoSuchNamespaceException", "x y");
    expect(&delete(&format!("{prefix}/namespaces/x%2By/tables/t%2B1")), 204, "");
    expect(&delete(&format!("{prefix}/namespaces/x%2By")), 204, "");
    let drop = format!("{prefix}/namespaces/ns/tables/a+b");
    expect(&delete(&drop), 204, "");
    expect(&delete(&drop), 404, "NoSuchTableException");
    let purged =
        catalog.call_with("DELETE", &drop, &[("purgeRequested", "true")], None, &[]).expect("an answer");
    expect(&purged, 404, "NoSuchTableException");
    let register = format!("{prefix}/namespaces/p+q/register");
    expect(&catalog.create_namespace(&["p+q"]).expect("create"), 200, "");
    let at = named(&mut catalog, "a+b");
    assert_eq!(at.0, 200);
    let body = json!({"name": "t", "metadata-location": at.1, "overwrite": true});
    expect(&catalog.call("POST", &register, Some(&body)).expect("register"), 404, "NoSuchNamespaceException");
    let missing = catalog.call("GET", &format!("{prefix}/namespaces/no+such/tables/t"), None).expect("load");
    expect_text(&missing, 404, "NoSuchTableException", "no such.t");

    // A base address with a slash at its end.
    for base in ["/_iceberg/", "/iceberg/", "/_iceberg//"] {
        let mut slashed = catalog.clone();
        slashed.base = base.to_owned();
        expect(&slashed.configure().expect("config"), 200, "");
        expect(&slashed.load_table(NS, "c+d").expect("load"), 200, "");
        let uuid = table(&mut slashed, &format!("made{}", base.len()));
        let path = slashed.table_path(NS, &format!("made{}", base.len()));
        let set = json!({"requirements": [assert_uuid(&uuid)], "updates": [set_property("v", "1")]});
        expect(&slashed.call("POST", &path, Some(&set)).expect("commit"), 200, "");
        let call = Call::new("POST", format!("{base}/v1/oauth/tokens")).unsigned();
        let (access, secret) = server().root_key();
        let secret = nilas_tests::sign::encode(secret, false);
        let form = format!("grant_type=client_credentials&client_id={access}&client_secret={secret}");
        let call = call.header("content-type", "application/x-www-form-urlencoded").body(form.as_bytes());
        assert_eq!(slashed.client.send(&call).expect("an answer").status, 200, "{base}");
    }

    // Outside of namespaces there is nothing: engines ask so when they look for metadata tables.
    let nowhere = format!("{prefix}/namespaces//tables/x");
    let answer = catalog.call("GET", &nowhere, None).expect("an answer");
    expect_text(&answer, 404, "NoSuchTableException", "Table does not exist: x");
    expect(&catalog.call("HEAD", &nowhere, None).expect("an answer"), 404, "");
    let nowhere = format!("{prefix}/namespaces//views/x");
    expect(&catalog.call("GET", &nowhere, None).expect("an answer"), 404, "NoSuchViewException");
}

#[test]
fn namespaces_have_parents_and_locations() {
    let mut catalog = warehouse("wh-parents");
    let load = |catalog: &mut Catalog, namespace: &[&str]| {
        let path = catalog.namespace_path(namespace);
        catalog.call("GET", &path, None).expect("load")
    };
    let list = |catalog: &mut Catalog, parent: &[(&str, &str)]| {
        let path = format!("{}/namespaces", catalog.prefix);
        catalog.call_with("GET", &path, parent, None, &[]).expect("list").json["namespaces"].clone()
    };
    expect(&catalog.create_namespace(&["a", "b", "c"]).expect("create"), 200, "");
    for implied in [&["a"][..], &["a", "b"]] {
        let loaded = load(&mut catalog, implied);
        expect(&loaded, 200, "");
        assert_eq!((&loaded.json["namespace"], &loaded.json["properties"]), (&json!(implied), &json!({})));
        let path = catalog.namespace_path(implied);
        expect(&catalog.call("HEAD", &path, None).expect("head"), 204, "");
        expect(&catalog.call("DELETE", &path, None).expect("drop"), 409, "NamespaceNotEmptyException");
        expect(&catalog.create_namespace(implied).expect("create"), 409, "AlreadyExistsException");
    }
    assert_eq!(list(&mut catalog, &[]), json!([["a"], ["ns"]]));
    assert_eq!(list(&mut catalog, &[("parent", "a")]), json!([["a", "b"]]));
    assert_eq!(list(&mut catalog, &[("parent", "a\u{1f}b")]), json!([["a", "b", "c"]]));
    // They are namespaces like others: with tables, with properties, dropped when empty.
    expect(&catalog.create_table(&["a"], "t").expect("create"), 200, "");
    expect(&catalog.drop_table(&["a"], "t").expect("drop"), 204, "");
    let path = format!("{}/properties", catalog.namespace_path(&["a"]));
    let updates = json!({"updates": {"k": "v"}, "removals": []});
    expect(&catalog.call("POST", &path, Some(&updates)).expect("properties"), 200, "");
    assert_eq!(load(&mut catalog, &["a"]).json["properties"]["k"], json!("v"));
    for namespace in [&["a", "b", "c"][..], &["a", "b"], &["a"]] {
        let path = catalog.namespace_path(namespace);
        expect(&catalog.call("DELETE", &path, None).expect("drop"), 204, "");
        expect(&load(&mut catalog, namespace), 404, "NoSuchNamespaceException");
    }

    // Tables lie where their namespace says.
    let mut located = |name: &str, location: &str| {
        let path = format!("{}/namespaces", catalog.prefix);
        let body = json!({"namespace": [name], "properties": {"location": location}});
        expect(&catalog.call("POST", &path, Some(&body)).expect("create"), 200, "");
        let created = catalog.create_table(&[name], "t").expect("create");
        expect(&created, 200, "");
        let body = json!({"name": "staged", "schema": simple_schema(), "stage-create": true});
        let path = format!("{}/tables", catalog.namespace_path(&[name]));
        let staged = catalog.call("POST", &path, Some(&body)).expect("stage");
        let parent = |answer: &Answer| {
            let location = answer.text_at("/metadata/location").to_owned();
            location.rsplit_once('/').map(|(parent, _)| parent.to_owned())
        };
        assert_eq!(parent(&staged), parent(&created));
        parent(&created).unwrap_or_default()
    };
    assert_eq!(located("inside", "s3://wh-parents/sales/eu/"), "s3://wh-parents/sales/eu");
    assert_eq!(located("root", "s3://wh-parents"), "s3://wh-parents");
    assert_eq!(located("outside", "s3://another-bucket/x"), "s3://wh-parents");
    assert_eq!(located("local", "/srv/x"), "s3://wh-parents");
}

#[test]
fn many_writers_of_one_table_lose_nothing() {
    let mut catalog = warehouse("wh-writers");
    let uuid = table(&mut catalog, "t");
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let (mut catalog, uuid) = (catalog.clone(), &uuid);
            scope.spawn(move || {
                for round in 0..20 {
                    let update = set_property(&format!("w{writer}-{round}"), "done");
                    let answer =
                        catalog.commit(NS, "t", json!([assert_uuid(uuid)]), json!([update])).expect("commit");
                    expect(&answer, 200, "");
                }
            });
        }
    });
    let loaded = catalog.load_table(NS, "t").expect("load");
    for writer in 0..6 {
        for round in 0..20 {
            assert_eq!(loaded.json["metadata"]["properties"][format!("w{writer}-{round}")], json!("done"));
        }
    }
}

#[test]
fn one_creator_wins() {
    let catalog = warehouse("wh-creators");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..12)
            .map(|_| {
                let mut catalog = catalog.clone();
                scope.spawn(move || catalog.create_table(NS, "t").expect("an answer").status)
            })
            .collect();
        tries.into_iter().map(|one| one.join().expect("no creator panics")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 409)), "{statuses:?}");
}

#[test]
fn everything_survives_restarts() {
    let mut server = Server::fresh();
    let mut catalog = on(&server, "wh-restart");
    let uuid = table(&mut catalog, "t");
    table(&mut catalog, "dropped");
    expect(&catalog.drop_table(NS, "dropped").expect("drop"), 204, "");
    let key = [("idempotency-key", "0198a000-0000-7000-8000-000000000003")];
    let path = catalog.table_path(NS, "t");
    let body = json!({"requirements": [assert_uuid(&uuid)], "updates": [set_property("v", "1")]}).to_string();
    expect(&catalog.call_with("POST", &path, &[], Some(&body), &key).expect("commit"), 200, "");
    expect(
        &catalog
            .commit(NS, "t", json!([assert_uuid(&uuid)]), json!([set_property("v", "2")]))
            .expect("commit"),
        200,
        "",
    );
    let before = catalog.load_table(NS, "t").expect("load").json;
    for kill in [true, false] {
        if kill {
            server.kill9();
        } else {
            assert!(server.sigterm().is_some());
        }
        server.restart().unwrap_or_else(|error| panic!("{error}"));
        let mut catalog = server.catalog("wh-restart");
        catalog.configure().expect("config");
        assert_eq!(catalog.load_table(NS, "t").expect("load").json["metadata"], before["metadata"]);
        assert_eq!(catalog.list_tables(NS).expect("list"), ["t"]);
        let replay = catalog.call_with("POST", &path, &[], Some(&body), &key).expect("replay");
        expect(&replay, 200, "");
        assert_eq!(
            property(&mut catalog, "t", "v"),
            json!("2"),
            "a replay after a restart was applied again"
        );
    }
}
