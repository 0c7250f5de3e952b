//! What a purge deletes and what it leaves, on the wire: against the files of real metadata trees, with others' files
//! beside them, with a kill in the middle, and with metadata that cannot be read.
//!
//! One server for all tests of this binary but those that restart theirs; each test has warehouses of its own. What needs
//! versions and power cuts at chosen moments is in `purge_simulated`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nilas_tests::catalog::{Answer, Catalog, simple_schema};
use nilas_tests::client::{Call, Client};
use nilas_tests::manifests::{self, File};
use nilas_tests::server::{Server, ServerOptions};
use serde_json::{Value, json};

const NS: &[&str] = &["ns"];
/// Longest wait for a purge to end.
const END_WAIT_MAX: Duration = Duration::from_secs(60);

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::fresh)
}

/// One warehouse with the namespace `ns`.
struct Lake {
    name: String,
    catalog: Catalog,
    s3: Client,
}

impl Lake {
    fn new(server: &Server, name: &str) -> Lake {
        let mut catalog = server.catalog(name);
        catalog.open().expect("warehouse");
        expect(&catalog.create_namespace(NS).expect("namespace"), 200);
        Lake { name: name.to_owned(), catalog, s3: server.client() }
    }

    fn at(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    fn put(&mut self, key: &str, body: &[u8]) -> String {
        assert_eq!(self.s3.put(&self.name, key, body).expect("put").status, 200, "{key}");
        self.at(key)
    }

    /// Creates a table at `key` of the warehouse.
    fn create(&mut self, table: &str, key: &str, properties: Value) -> Answer {
        let location = self.at(key);
        let body =
            json!({"name": table, "location": location, "schema": simple_schema(), "properties": properties});
        let path = format!("{}/tables", self.catalog.namespace_path(NS));
        self.catalog.call("POST", &path, Some(&body)).expect("create")
    }

    fn commit(&mut self, table: &str, updates: Value) -> Answer {
        self.catalog.commit(NS, table, json!([]), updates).expect("commit")
    }

    /// Puts a manifest of `files` under `key`.
    fn manifest(&mut self, key: &str, files: &[File]) -> String {
        self.put(key, &manifests::manifest(files))
    }

    /// Commits a snapshot of `manifests`, whose list is put under `key`.
    fn append(&mut self, table: &str, key: &str, manifests: &[String]) {
        let list = self.put(key, &manifests::list(manifests));
        self.append_list(table, &list);
    }

    fn append_list(&mut self, table: &str, list: &str) {
        static NEXT: AtomicI64 = AtomicI64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let loaded = self.catalog.load_table(NS, table).expect("load").json;
        let sequence = loaded["metadata"]["last-sequence-number"].as_i64().unwrap_or(0) + 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        let snapshot = json!({"snapshot-id": id, "sequence-number": sequence, "manifest-list": list, "schema-id": 0,
            "timestamp-ms": u64::try_from(now).expect("small"), "summary": {"operation": "append"}});
        let updates = json!([{"action": "add-snapshot", "snapshot": snapshot},
            {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id}]);
        expect(&self.commit(table, updates), 200);
    }

    fn purge(&mut self, table: &str) {
        let path = self.catalog.table_path(NS, table);
        let dropped =
            self.catalog.call_with("DELETE", &path, &[("purgeRequested", "true")], None, &[]).expect("drop");
        expect(&dropped, 204);
    }

    fn keys(&mut self) -> Vec<String> {
        let listed = self.s3.list_all(&self.name, "").expect("listed");
        listed.into_iter().map(|entry| entry.key).collect()
    }

    /// All purges of this warehouse on the page.
    fn purges(&mut self) -> Vec<Value> {
        let page = self.s3.send(&Call::get("/_nilas/purges")).expect("page");
        assert_eq!(page.status, 200, "{}", page.text());
        let page: Value = serde_json::from_slice(&page.body).expect("JSON");
        assert_eq!(page["purges_beyond"], 0);
        let all = page["purges"].as_array().expect("a list");
        all.iter().filter(|purge| purge["warehouse"] == json!(self.name)).cloned().collect()
    }

    /// The one purge of this warehouse, once it has ended.
    fn ended(&mut self) -> Value {
        let began = Instant::now();
        loop {
            let purges = self.purges();
            let [purge] = purges.as_slice() else { panic!("one purge: {purges:?}") };
            if purge["ended_ms"].is_u64() {
                return purge.clone();
            }
            assert!(began.elapsed() < END_WAIT_MAX, "it does not end: {purge}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[track_caller]
fn expect(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.response.text());
}

#[track_caller]
fn expect_ended(purge: &Value, state: &str, deleted: u64, failed: u64, unreadable: u64) {
    let got = (&purge["state"], &purge["files_deleted"], &purge["files_failed"], &purge["files_unreadable"]);
    let want = (&json!(state), &json!(deleted), &json!(failed), &json!(unreadable));
    assert_eq!(got, want, "{purge}");
}

#[test]
fn all_that_is_reached_goes_and_nothing_else() {
    let mut lake = Lake::new(server(), "purge-reach");
    let properties =
        json!({"write.data.path": lake.at("t/in/data"), "write.metadata.path": lake.at("t/in/meta")});
    expect(&lake.create("t", "t", properties), 200);
    expect(&lake.create("other", "other", json!({})), 200);
    let own: Vec<String> =
        ["t/data/a", "t/data/b", "t/data/gone", "t/in/data/c", "t/deletes/d", "t/dv.puffin", "t/e"]
            .iter()
            .map(|key| lake.put(key, b"bytes"))
            .collect();
    let [a, b, gone, c, d, dv, e] = own.as_slice() else { panic!("seven") };
    // A shared manifest, an entry of a removed file, delete files, one puffin for two deletion vectors.
    let first = lake.manifest("t/metadata/m1.avro", &[File::data(a), File::data(c)]);
    let deletes = |path: &String| File { path: path.clone(), content: 1, status: 1 };
    let second = lake.manifest(
        "t/metadata/m2.avro",
        &[deletes(d), deletes(dv), deletes(dv), File { path: gone.clone(), content: 0, status: 2 }],
    );
    let equality = File { path: e.replace("s3://", "s3a://"), content: 2, status: 0 };
    let third = lake.manifest("t/in/meta/m3.avro", &[File::data(b), equality]);
    lake.append("t", "t/metadata/l1.avro", std::slice::from_ref(&first));
    lake.append("t", "t/in/meta/l2.avro", &[first, second, third]);
    let statistics = lake.put("t/stats.puffin", b"s");
    let of_partitions = lake.put("t/partition-stats.parquet", b"p");
    let loaded = lake.catalog.load_table(NS, "t").expect("load").json;
    let snapshot = loaded["metadata"]["current-snapshot-id"].clone();
    expect(
        &lake.commit(
            "t",
            json!([{"action": "set-statistics", "snapshot-id": snapshot, "statistics": {"snapshot-id": snapshot,
                "statistics-path": statistics, "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": []}},
                {"action": "set-partition-statistics", "partition-statistics": {"snapshot-id": snapshot,
                "statistics-path": of_partitions, "file-size-in-bytes": 1}}]),
        ),
        200,
    );
    // Under the table's location, but not the table's: another table took the one over, nobody knows the other.
    let adopted = lake.put("t/data/adopted", b"other's");
    lake.put("t/notes.txt", b"somebody's");
    lake.put("t", b"an object at the location itself");
    let manifest = lake.manifest("other/metadata/m.avro", &[File::data(adopted)]);
    lake.append("other", "other/metadata/l.avro", &[manifest]);
    let before = lake.keys();
    let metadata_files =
        before.iter().filter(|key| key.ends_with(".metadata.json") && !key.starts_with("other/")).count();
    assert_eq!(metadata_files, 4, "{before:?}");

    lake.purge("t");
    let purge = lake.ended();
    expect_ended(&purge, "done", 7 + 3 + 2 + 2 + 4, 0, 0);
    assert_eq!((&purge["table"], &purge["snapshots"]), (&json!("ns.t"), &json!(2)));
    assert_eq!((&purge["left"], &purge["last_error"]), (&json!([]), &Value::Null));
    let keys = lake.keys();
    let mut others: Vec<String> = before.into_iter().filter(|key| key.starts_with("other/")).collect();
    others.extend(["t", "t/data/adopted", "t/notes.txt"].map(str::to_owned));
    assert_eq!(keys, others);
    // The other table is whole, and the location is free again.
    expect(&lake.catalog.load_table(NS, "other").expect("load"), 200);
    expect(&lake.create("u", "t", json!({})), 200);
}

#[test]
fn without_garbage_collection_data_stays() {
    let mut lake = Lake::new(server(), "purge-gc");
    expect(&lake.create("t", "t", json!({"gc.enabled": "false"})), 200);
    let data = lake.put("t/data/a", b"bytes");
    let deletes = lake.put("t/data/d", b"bytes");
    let files = [File::data(data), File { path: deletes, content: 1, status: 1 }];
    let manifest = lake.manifest("t/metadata/m.avro", &files);
    lake.append("t", "t/metadata/l.avro", &[manifest]);
    lake.purge("t");
    expect_ended(&lake.ended(), "done", 1 + 1 + 2, 0, 0);
    assert_eq!(lake.keys(), ["t/data/a", "t/data/d"]);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_goes() {
    let mut server = Server::fresh();
    let mut lake = Lake::new(&server, "purge-broken");
    expect(&lake.create("t", "t", json!({})), 200);
    let kept = lake.put("t/data/kept", b"named by what cannot be read");
    let data = lake.put("t/data/a", b"bytes");
    let good = lake.manifest("t/metadata/good.avro", &[File::data(data), File::data("hdfs://else/where")]);
    let nonsense = lake.put("t/metadata/nonsense.avro", b"no Avro");
    let missing = lake.at("t/metadata/missing.avro");
    lake.append("t", "t/metadata/l1.avro", &[missing.clone(), nonsense.clone(), good]);
    let no_list = lake.at("t/metadata/no-list.avro");
    lake.append_list("t", &no_list);
    lake.purge("t");
    let purge = lake.ended();
    // Data, the good manifest, the metadata files before the newest.
    expect_ended(&purge, "incomplete", 1 + 1 + 2, 1, 3);
    let left: Vec<&str> = purge["left"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|left| left["location"].as_str())
        .collect();
    assert_eq!(left, [missing.as_str(), &nonsense, "hdfs://else/where", &no_list]);
    // What could not be read is there, and what leads to it.
    let mut stays = [
        kept.as_str(),
        &nonsense,
        &lake.at("t/metadata/l1.avro"),
        purge["metadata_location"].as_str().expect("text"),
    ]
    .map(|location| location.strip_prefix("s3://purge-broken/").expect("ours").to_owned());
    stays.sort_unstable();
    assert_eq!(lake.keys(), stays);
    assert_eq!(server.metric("nilas_purge_files_unreadable_total", ""), 3);
    assert_eq!(server.metric("nilas_purge_files_failed_total", ""), 1);
    assert!(server.stderr().contains("no-list.avro: it is not there"), "{}", server.stderr());
    // How it ended is known after a restart as well, and stops nobody.
    server.kill9();
    server.restart().expect("starts");
    let mut lake = Lake::new(&server, "purge-fresh");
    lake.name = "purge-broken".to_owned();
    assert_eq!(lake.purges(), [purge]);
    assert_eq!(server.metric("nilas_purges_open", ""), 0);
    lake.catalog = server.catalog("purge-broken");
    lake.catalog.configure().expect("config");
    expect(&lake.create("t", "t", json!({})), 200);
}

/// The root key asks, which may delete them all.
#[test]
fn what_lies_outside_of_the_tables_locations_stays() {
    let mut lake = Lake::new(server(), "purge-wide");
    assert_eq!(lake.s3.create_bucket("purge-other").expect("bucket").status, 200);
    let properties =
        json!({"write.data.path": lake.at("far/data"), "write.metadata.path": lake.at("far/meta")});
    expect(&lake.create("t", "t", properties), 200);
    let other = |key: &str| format!("s3n://purge-other/{key}");
    for key in ["a b/ü+%41", "statistics", "bystander"] {
        assert_eq!(lake.s3.put("purge-other", key, b"bytes").expect("put").status, 200);
    }
    let (own, far) = (lake.put("t/data/a", b"bytes"), lake.put("far/data/b", b"bytes"));
    let files = [own, far.clone(), other("a b/ü+%41"), "s3://purge-no-such/x".to_owned()];
    let manifest = lake.manifest("t/metadata/m.avro", &files.map(File::data));
    lake.append("t", "t/metadata/l.avro", &[manifest]);
    let loaded = lake.catalog.load_table(NS, "t").expect("load").json;
    let snapshot = loaded["metadata"]["current-snapshot-id"].clone();
    let set = json!([{"action": "set-statistics", "snapshot-id": snapshot, "statistics": {"snapshot-id": snapshot,
        "statistics-path": "s3://purge-other/statistics", "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1,
        "blob-metadata": []}}]);
    expect(&lake.commit("t", set), 200);
    let metadata_files = lake.keys().iter().filter(|key| key.starts_with("far/meta/")).count();
    assert_eq!(metadata_files, 3);
    let before: Vec<String> = lake.keys().into_iter().filter(|key| key.starts_with("far/")).collect();
    lake.purge("t");
    let purge = lake.ended();
    // Left: three data files, the statistics, and the metadata files, the newest among them.
    expect_ended(&purge, "incomplete", 1 + 1 + 1, 3 + 1 + 3, 0);
    let left = purge["left"].as_array().expect("a list");
    assert!(left.iter().all(|left| left["why"] == "it lies outside of the table's locations"), "{purge}");
    assert!(left.iter().any(|left| left["location"] == json!(far)), "{purge}");
    assert_eq!(left.last().map(|left| &left["location"]), Some(&purge["metadata_location"]));
    assert_eq!(lake.keys(), before);
    assert_eq!(lake.s3.list_all("purge-other", "").expect("listed").len(), 3);
}

#[test]
fn earlier_locations_stay_the_tables_own() {
    let mut lake = Lake::new(server(), "purge-moved");
    expect(&lake.create("t", "first", json!({})), 200);
    let move_to = |lake: &mut Lake, key: &str| {
        let location = lake.at(key);
        lake.commit("t", json!([{"action": "set-location", "location": location}]))
    };
    let data = lake.put("first/data/a", b"bytes");
    let manifest = lake.manifest("first/metadata/m.avro", &[File::data(data)]);
    lake.append("t", "first/metadata/l.avro", &[manifest]);
    expect(&move_to(&mut lake, "second"), 200);
    for taken in ["first", "first/in", "second", "second/in"] {
        let refused = lake.create("u", taken, json!({}));
        expect(&refused, 400);
        assert!(refused.message().contains("overlaps that of ns.t"), "{}", refused.message());
    }
    // It may go back, and into itself; renaming takes all along.
    expect(&move_to(&mut lake, "first/in"), 200);
    expect(&move_to(&mut lake, "third"), 200);
    let rename =
        json!({"source": {"namespace": NS, "name": "t"}, "destination": {"namespace": NS, "name": "moved"}});
    let path = format!("{}/tables/rename", lake.catalog.prefix);
    expect(&lake.catalog.call("POST", &path, Some(&rename)).expect("rename"), 204);
    for taken in ["first", "second", "third"] {
        expect(&lake.create("u", taken, json!({})), 400);
    }
    lake.purge("moved");
    expect_ended(&lake.ended(), "done", 1 + 1 + 1 + 5, 0, 0);
    assert_eq!(lake.keys(), [""; 0]);
    for free in ["first", "second", "third"] {
        expect(&lake.create(free, free, json!({})), 200);
    }
    // Without a purge the locations are free at once.
    let location = lake.at("fourth");
    expect(&lake.commit("first", json!([{"action": "set-location", "location": location}])), 200);
    expect(&lake.catalog.drop_table(NS, "first").expect("drop"), 204);
    expect(&lake.create("again", "first", json!({})), 200);
}

/// A table whose purge takes a while: a manifest of many files, of which a few are there.
fn slow(lake: &mut Lake, table: &str) -> usize {
    const NAMED: usize = 400_000;
    const THERE: usize = 100;
    expect(&lake.create(table, table, json!({})), 200);
    for nth in 0..THERE {
        lake.put(&format!("{table}/data/{:07}", nth * (NAMED / THERE)), b"bytes");
    }
    let named: Vec<File> =
        (0..NAMED).map(|nth| File::data(lake.at(&format!("{table}/data/{nth:07}")))).collect();
    let manifest = lake.manifest(&format!("{table}/metadata/m.avro"), &named);
    lake.append(table, &format!("{table}/metadata/l.avro"), &[manifest]);
    THERE + 1 + 1 + 2
}

#[test]
fn a_purge_goes_on_after_a_kill() {
    let mut server = Server::fresh();
    let mut lake = Lake::new(&server, "purge-kill");
    let files = slow(&mut lake, "t");
    lake.put("t/notes.txt", b"somebody's");
    expect(&lake.create("v", "v", json!({})), 200);
    lake.purge("t");
    let mut kills = 0;
    loop {
        thread::sleep(Duration::from_millis(60));
        let purges = lake.purges();
        let [purge] = purges.as_slice() else { panic!("{purges:?}") };
        if purge["ended_ms"].is_u64() || kills == 3 {
            break;
        }
        let location = lake.at("t/in");
        let moved = lake.commit("v", json!([{"action": "set-location", "location": location}]));
        expect(&moved, 400);
        assert!(
            moved.message().contains("overlaps that of ns.t, whose purge has not ended"),
            "{}",
            moved.message()
        );
        match kills {
            1 => assert!(server.sigterm().is_some_and(|status| status.success()), "it stops at once"),
            _ => server.kill9(),
        }
        server.restart().expect("starts");
        kills += 1;
        (lake.s3, lake.catalog) = (server.client(), server.catalog("purge-kill"));
        lake.catalog.configure().expect("config");
    }
    assert!(0 < kills, "it ended before the first kill");
    expect_ended(&lake.ended(), "done", files as u64, 0, 0);
    let keys = lake.keys();
    assert_eq!(keys.iter().filter(|key| key.starts_with("t/")).collect::<Vec<_>>(), ["t/notes.txt"]);
    assert_eq!(server.metric("nilas_purges_open", ""), 0);
    expect(&lake.create("u", "t", json!({})), 200);
}

#[test]
fn who_asks_for_a_location_or_the_end_of_a_warehouse_waits_for_its_purges() {
    let mut lake = Lake::new(server(), "purge-busy");
    let files = slow(&mut lake, "t");
    lake.purge("t");
    let bucket = lake.s3.delete_bucket("purge-busy").expect("delete");
    let purge = lake.purges().pop().expect("one");
    assert!(purge["ended_ms"].is_null(), "it ended too early for this test: {purge}");
    assert_eq!(bucket.status, 409, "{}", bucket.text());
    // Long enough, it is hoped, for the purge: a machine that is slower tells so.
    let created = lake.create("t", "t", json!({}));
    if created.status == 400 {
        assert!(created.message().contains("whose purge has not ended"), "{}", created.message());
        lake.ended();
        expect(&lake.create("t", "t", json!({})), 200);
    }
    expect_ended(&lake.ended(), "done", files as u64, 0, 0);
    expect(&lake.catalog.drop_table(NS, "t").expect("drop"), 204);
    for entry in lake.keys() {
        assert_eq!(lake.s3.delete("purge-busy", &entry).expect("delete").status, 204);
    }
    let files = slow(&mut lake, "u");
    lake.purge("u");
    expect(&lake.catalog.call("DELETE", &lake.catalog.namespace_path(NS), None).expect("drop"), 204);
    let began = Instant::now();
    loop {
        let ended = lake.catalog.call("DELETE", "/warehouses/purge-busy", None).expect("delete");
        if ended.status == 204 {
            break;
        }
        expect(&ended, 409);
        assert!(ended.message().contains("the purge of ns.u has not ended"), "{}", ended.message());
        assert!(began.elapsed() < END_WAIT_MAX);
    }
    assert!(0 < files);
    // The bucket went as well, so all files had gone.
    assert_eq!(lake.s3.send(&Call::bucket("HEAD", "purge-busy")).expect("head").status, 404);
}

#[test]
fn a_full_store_can_purge() {
    const NAMED: usize = 4_000;
    let server = Server::start(ServerOptions::fresh().drive_size("192MiB")).unwrap_or_else(|e| panic!("{e}"));
    let mut lake = Lake::new(&server, "purge-full");
    expect(&lake.create("t", "t", json!({})), 200);
    let key = |nth: usize| format!("t/data/{nth:05}");
    let named: Vec<File> = (0..NAMED).map(|nth| File::data(lake.at(&key(nth)))).collect();
    let manifest = lake.manifest("t/metadata/m.avro", &named);
    lake.append("t", "t/metadata/l.avro", &[manifest]);
    let body = vec![7; 100 << 10];
    let stored = (0..NAMED).take_while(|nth| {
        let put = lake.s3.put("purge-full", &key(*nth), &body).expect("an answer");
        assert!(matches!(put.status, 200 | 503 | 507), "{}", put.text());
        put.status == 200
    });
    let stored = stored.count();
    assert!((100..NAMED).contains(&stored), "{stored} objects fit");
    lake.purge("t");
    expect_ended(&lake.ended(), "done", stored as u64 + 1 + 1 + 2, 0, 0);
    assert_eq!(lake.keys(), [""; 0]);
    let began = Instant::now();
    while lake.s3.put("purge-full", "again", &body).expect("an answer").status != 200 {
        assert!(began.elapsed() < END_WAIT_MAX, "the space does not come back");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_page_is_for_the_root_key() {
    let mut client = server().client();
    let anonymous = client.send(&Call::get("/_nilas/purges").unsigned()).expect("an answer");
    assert_eq!(anonymous.status, 403, "{}", anonymous.text());
    let posted = client.send(&Call::new("POST", "/_nilas/purges")).expect("an answer");
    assert_eq!(posted.status, 405, "{}", posted.text());
}
