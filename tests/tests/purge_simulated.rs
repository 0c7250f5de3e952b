//! Purges on the simulated machine: power cuts at every step, buckets that keep versions, files that are not the table's, and
//! values of the version before.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use nilas_catalog::access::{Access, KeptPrincipal, Resource};
use nilas_catalog::{Catalog, PurgeStatus, Request, Route};
use nilas_engine::platform::simulated::{Faults, Medium, Random};
use nilas_engine::{
    Bucket, BucketSettings, ETag, Engine, EngineError, ListQuery, PutCondition, Transaction, ValueOwner,
};
use nilas_tests::catalog::simple_schema;
use nilas_tests::machine::{Geometry, formatted, on_machine, start};
use nilas_tests::manifests::{self, File};
use serde_json::{Value, json};

const GEOMETRY: Geometry = Geometry::small(2);

/// Root: what is not deleted is deleted for nobody.
struct Everything;

impl Access for Everything {
    fn allows_with(&self, _: &'static str, _: Resource<'_>, _: &[(&'static str, &str)]) -> bool {
        true
    }

    fn kept(&self) -> KeptPrincipal {
        KeptPrincipal { kind: "root".to_owned(), id: String::new(), access_key: "AK".to_owned() }
    }
}

fn catalog_on(engine: &Engine) -> Catalog {
    Catalog::new(engine.clone(), Bytes::new(), "local")
}

async fn ask(catalog: &Catalog, method: &str, path: &str, body: Value) -> (u16, Value) {
    let (raw_path, raw_query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        method,
        raw_path,
        raw_query,
        header: &|_| None,
        body: if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) },
        principal: "AK",
        access: &Everything,
        base_url: "http://localhost",
    };
    let response = catalog.handle(Route::of(method, raw_path), request).await;
    (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
}

async fn put(engine: &Engine, bucket: &str, key: &str, body: Vec<u8>, versioned: bool) {
    let bucket = engine.bucket(bucket).expect("there");
    let mut writer = engine.writer(&bucket, body.len() as u64).await.expect("room");
    writer.write(Bytes::from(body)).await.expect("written");
    let (key, condition, etag) =
        (Bytes::copy_from_slice(key.as_bytes()), PutCondition::None, ETag::default());
    let put = match versioned {
        true => writer.publish_version(key, condition, etag, Bytes::new()).await,
        false => writer.publish(key, condition, etag, Bytes::new()).await,
    };
    put.expect("put");
}

/// Keys of a bucket; with versions and markers as often as there are.
async fn keys(engine: &Engine, bucket: &str) -> Vec<String> {
    let bucket = engine.bucket(bucket).expect("there");
    let versions = engine.list_versions(&bucket, Bytes::new(), None, 1_000).await.expect("listed");
    let keys: Vec<String> =
        versions.iter().map(|version| String::from_utf8_lossy(&version.key).into_owned()).collect();
    let listed =
        engine.list(&bucket, ListQuery { max: 1_000, ..ListQuery::default() }).await.expect("listed");
    assert!(listed.objects.len() <= keys.len());
    keys
}

/// Data files that the table `t` of warehouse `lake` has in its location.
const DATA: [&str; 3] = ["t/data/a", "t/data/b", "t/data/c"];
/// What is left of the warehouse when it is purged: a file that it names, but not in its locations, and two that it does not name.
const FOREIGN: [&str; 3] = ["far/d", "t/data/foreign", "t/notes"];
/// Why a purge leaves the one, and the file of bucket `other` that the table names.
const OUTSIDE: &str = "it lies outside of the table's locations";

/// Makes the warehouse `lake` with its table, whose location was another before, and the bucket `other` with a data file.
async fn make(engine: &Engine, versioned: bool) {
    let catalog = catalog_on(engine);
    assert_eq!(ask(&catalog, "POST", "/v1/warehouses", json!({"name": "lake"})).await.0, 200);
    assert_eq!(ask(&catalog, "POST", "/v1/lake/namespaces", json!({"namespace": ["a"]})).await.0, 200);
    engine.create_bucket("other", BucketSettings::default()).await.expect("room");
    let table = json!({"name": "t", "location": "s3://lake/before", "schema": simple_schema()});
    assert_eq!(ask(&catalog, "POST", "/v1/lake/namespaces/a/tables", table).await.0, 200);
    for key in DATA.into_iter().chain(FOREIGN) {
        put(engine, "lake", key, b"bytes".to_vec(), versioned).await;
        if versioned {
            put(engine, "lake", key, b"newer bytes".to_vec(), true).await;
        }
    }
    put(engine, "other", "x", b"bytes".to_vec(), false).await;
    put(engine, "other", "y", b"not the table's".to_vec(), false).await;
    let mut files: Vec<File> = DATA.iter().map(|key| File::data(format!("s3://lake/{key}"))).collect();
    files.extend(["s3://lake/far/d", "s3://other/x"].map(File::data));
    let (first, second) = files.split_at(2);
    put(engine, "lake", "t/m1", manifests::manifest(first), versioned).await;
    put(engine, "lake", "t/m2", manifests::manifest(second), versioned).await;
    for (id, list, named) in [(1, "t/l1", &["t/m1"][..]), (2, "t/l2", &["t/m1", "t/m2"])] {
        let named: Vec<String> = named.iter().map(|key| format!("s3://lake/{key}")).collect();
        put(engine, "lake", list, manifests::list(&named), versioned).await;
        let snapshot = json!({"snapshot-id": id, "sequence-number": id, "manifest-list": format!("s3://lake/{list}"),
            "timestamp-ms": engine.now_ms(), "schema-id": 0, "summary": {"operation": "append"}});
        let updates = json!([{"action": "add-snapshot", "snapshot": snapshot},
            {"action": "set-location", "location": "s3://lake/t"}]);
        let commit = json!({"requirements": [], "updates": updates});
        let (status, body) = ask(&catalog, "POST", "/v1/lake/namespaces/a/tables/t", commit).await;
        assert_eq!(status, 200, "{body}");
    }
}

/// All purges, once none is open.
async fn ended(engine: &Engine, catalog: &Catalog) -> Vec<PurgeStatus> {
    for _ in 0..1_000 {
        let (all, beyond) = catalog.purges().await.expect("it can be told");
        assert_eq!(beyond, 0);
        if all.iter().all(|purge| purge.ended_ms.is_some()) {
            return all;
        }
        engine.sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not end: {:?}", catalog.purges().await);
}

async fn purge(catalog: &Catalog) {
    let (status, body) =
        ask(catalog, "DELETE", "/v1/lake/namespaces/a/tables/t?purgeRequested=true", Value::Null).await;
    assert_eq!(status, 204, "{body}");
}

/// Starts the engine on what is on `medium`, as after a restart, and runs `work` with it.
fn with_engine(medium: &Medium, work: impl AsyncFnOnce(Engine) + 'static) {
    let run = on_machine(7, medium, Faults::default(), async move |machine, drive| {
        let engines = start(&machine, &drive, 1).await.expect("recovers");
        work(engines.into_iter().next().expect("one core")).await;
        Ok(())
    });
    assert!(matches!(run, Ok(Some(()))), "{run:?}");
}

fn made(versioned: bool) -> Medium {
    let medium = formatted(GEOMETRY);
    with_engine(&medium, async move |engine| make(&engine, versioned).await);
    medium
}

#[test]
fn a_power_cut_at_any_step() {
    let whole = made(false);
    let mut random = Random::new(11);
    let (mut cuts, mut resumed) = (0_u64, 0_u64);
    for cut_at in (1..).step_by(3) {
        let medium = whole.duplicate();
        let faults = Faults { cut_at: Some(cut_at), ..Faults::default() };
        let answered = Rc::new(RefCell::new(false));
        let told = Rc::clone(&answered);
        let run = on_machine(cut_at, &medium, faults, async move |machine, drive| {
            let Ok(engines) = start(&machine, &drive, 2).await else { return Ok(()) };
            let catalog = catalog_on(&engines[0]);
            purge(&catalog).await;
            *told.borrow_mut() = true;
            ended(&engines[0], &catalog).await;
            Ok(())
        });
        let was_cut = run.expect("no finding").is_none();
        medium.lose_power(&mut random);
        let answered = *answered.borrow();
        let open = Rc::new(RefCell::new(false));
        let seen = Rc::clone(&open);
        let run = on_machine(cut_at, &medium, Faults::default(), async move |machine, drive| {
            let engines = start(&machine, &drive, 2).await.expect("recovers");
            let (engine, catalog) = (&engines[0], catalog_on(&engines[0]));
            *seen.borrow_mut() =
                catalog.purges().await.expect("told").0.iter().any(|purge| purge.ended_ms.is_none());
            catalog.resume_purges().await;
            let all = ended(engine, &catalog).await;
            assert!(
                all.iter().all(|purge| (purge.failed, purge.unreadable) == (2, 0)),
                "cut at {cut_at}: {all:?}"
            );
            let (status, _) = ask(&catalog, "GET", "/v1/lake/namespaces/a/tables/t", Value::Null).await;
            let left = keys(engine, "lake").await;
            match status {
                // The drop was not made: nothing is gone.
                200 => {
                    assert!(!answered, "cut at {cut_at}: an acknowledged drop is lost");
                    assert!(
                        DATA.iter().all(|key| left.contains(&(*key).to_owned())),
                        "cut at {cut_at}: {left:?}"
                    );
                }
                404 => assert_eq!(left, FOREIGN, "cut at {cut_at}"),
                other => panic!("cut at {cut_at}: {other}"),
            }
            assert_eq!(keys(engine, "other").await, ["x", "y"], "cut at {cut_at}");
            Ok(())
        });
        assert!(matches!(run, Ok(Some(()))), "cut at {cut_at}: {run:?}");
        cuts += u64::from(was_cut);
        resumed += u64::from(*open.borrow());
        if !was_cut {
            break;
        }
    }
    assert!(20 < cuts && 5 < resumed, "{cuts} cuts, {resumed} purges that went on");
}

#[test]
fn all_versions_go() {
    with_engine(&made(true), async |engine| {
        let bucket = engine.bucket("lake").expect("there");
        // A deleted file whose versions are left, and one with more versions than one record takes.
        let marker =
            engine.mark_deleted(&bucket, Bytes::from(DATA[0]), nilas_engine::NewVersion::Another).await;
        marker.expect("marked");
        for _ in 0..200 {
            put(&engine, "lake", DATA[1], b"again".to_vec(), true).await;
        }
        assert_eq!(keys(&engine, "lake").await.iter().filter(|key| **key == DATA[1]).count(), 202);
        let catalog = catalog_on(&engine);
        purge(&catalog).await;
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        // Data files, manifests, lists, metadata files.
        assert_eq!((one.deleted, one.failed, one.unreadable), (3 + 2 + 2 + 3, 2, 0));
        assert_eq!(keys(&engine, "lake").await, FOREIGN.map(|key| [key, key]).concat());
    });
}

const TABLE: &str = "/v1/lake/namespaces/a/tables/t";

async fn commit(catalog: &Catalog, updates: Value) {
    let body = json!({"requirements": [], "updates": updates});
    let (status, answer) = ask(catalog, "POST", TABLE, body).await;
    assert_eq!(status, 200, "{answer}");
}

fn snapshot(engine: &Engine, id: u64, list: &str) -> Value {
    let snapshot = json!({"snapshot-id": id, "sequence-number": id, "manifest-list": list,
        "timestamp-ms": engine.now_ms(), "schema-id": 0, "summary": {"operation": "append"}});
    json!({"action": "add-snapshot", "snapshot": snapshot})
}

fn statistics(path: &str) -> Value {
    json!({"action": "set-statistics", "snapshot-id": 2, "statistics": {"snapshot-id": 2, "statistics-path": path,
        "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": []}})
}

/// Whoever writes to a table may name what it likes in its metadata; root, who may delete everything, drops it.
#[test]
fn what_is_not_the_tables_own_stays_for_whoever_asks() {
    with_engine(&made(false), async |engine| {
        let catalog = catalog_on(&engine);
        let victim = json!({"name": "victim", "location": "s3://lake/victim", "schema": simple_schema()});
        assert_eq!(ask(&catalog, "POST", "/v1/lake/namespaces/a/tables", victim).await.0, 200);
        let data = [File::data("s3://lake/victim/data/x")];
        for (key, body) in [
            ("victim/data/x", b"bytes".to_vec()),
            ("victim/m", manifests::manifest(&data)),
            ("victim/l", manifests::list(&["s3://lake/victim/m".to_owned()])),
            ("t/m4", manifests::manifest(&data)),
            ("t/l4", manifests::list(&["s3://lake/t/m4".to_owned()])),
            // As long as the table's location, and not in it.
            ("t", b"bytes".to_vec()),
        ] {
            put(&engine, "lake", key, body, false).await;
        }
        let of_partitions = json!({"action": "set-partition-statistics", "partition-statistics": {"snapshot-id": 2,
            "statistics-path": "s3://lake/t", "file-size-in-bytes": 1}});
        commit(&catalog, json!([snapshot(&engine, 3, "s3://lake/victim/l")])).await;
        commit(&catalog, json!([snapshot(&engine, 4, "s3://lake/t/l4")])).await;
        commit(&catalog, json!([statistics("s3://other/y"), of_partitions])).await;
        let before = keys(&engine, "lake").await;
        purge(&catalog).await;
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.deleted, one.failed, one.unreadable), (3 + 3 + 3 + 5, 5, 1), "{one:?}");
        let left: Vec<&str> = one.left.iter().map(|(location, _)| location.as_str()).collect();
        let want = [
            "s3://lake/far/d",
            "s3://other/x",
            "s3://lake/victim/l",
            "s3://lake/victim/data/x",
            "s3://lake/t",
            "s3://other/y",
        ];
        assert_eq!(left, want);
        assert!(one.left.iter().all(|(_, why)| why == OUTSIDE), "{one:?}");
        // Nothing of others is gone; the newest metadata file leads to the list that was not read.
        let root = one.metadata_location.strip_prefix("s3://lake/").expect("its own").to_owned();
        let mut stays: Vec<String> = before.into_iter().filter(|key| key.starts_with("victim/")).collect();
        stays.extend(FOREIGN.map(str::to_owned));
        stays.extend(["t".to_owned(), root]);
        stays.sort_unstable();
        assert_eq!(keys(&engine, "lake").await, stays);
        assert_eq!(keys(&engine, "other").await, ["x", "y"]);
        let victim = "/v1/lake/namespaces/a/tables/victim";
        assert_eq!(ask(&catalog, "GET", victim, Value::Null).await.0, 200);
    });
}

#[test]
fn what_leads_elsewhere_is_not_followed() {
    let check = |deletes_data: bool| {
        with_engine(&made(false), async move |engine| {
            let catalog = catalog_on(&engine);
            put(&engine, "other", "m3", manifests::manifest(&[File::data("s3://lake/t/notes")]), false).await;
            put(&engine, "lake", "t/l3", manifests::list(&["s3://other/m3".to_owned()]), false).await;
            let set =
                json!({"action": "set-properties", "updates": {"gc.enabled": deletes_data.to_string()}});
            commit(&catalog, json!([snapshot(&engine, 3, "s3://lake/t/l3"), set])).await;
            purge(&catalog).await;
            let all = ended(&engine, &catalog).await;
            let [one] = all.as_slice() else { panic!("{all:?}") };
            assert_eq!((one.failed, one.unreadable), (if deletes_data { 2 } else { 0 }, 1), "{one:?}");
            let last = ("s3://other/m3".to_owned(), OUTSIDE.to_owned());
            assert_eq!(one.left.last(), Some(&last), "{one:?}");
            // What leads to what was not read stays, and that itself.
            let root = one.metadata_location.strip_prefix("s3://lake/").expect("its own").to_owned();
            let mut stays = vec!["t/l3", &root];
            stays.extend(FOREIGN);
            stays.extend(DATA.iter().filter(|_| !deletes_data));
            stays.sort_unstable();
            assert_eq!(keys(&engine, "lake").await, stays);
            assert_eq!(keys(&engine, "other").await, ["m3", "x", "y"]);
        });
    };
    check(true);
    check(false);
}

#[test]
fn the_newest_metadata_file_of_another_table_stays() {
    with_engine(&made(false), async |engine| {
        let catalog = catalog_on(&engine);
        let (status, loaded) = ask(&catalog, "GET", TABLE, Value::Null).await;
        assert_eq!(status, 200, "{loaded}");
        // A table whose newest file lies in the location of `t`, which names it.
        let mut metadata = loaded["metadata"].clone();
        metadata["table-uuid"] = json!("00000000-0000-4000-8000-00000000000c");
        metadata["location"] = json!("s3://lake/copy");
        metadata["snapshots"] = json!([]);
        metadata["snapshot-log"] = json!([]);
        metadata["metadata-log"] = json!([]);
        metadata["refs"] = json!({});
        metadata["current-snapshot-id"] = Value::Null;
        put(&engine, "lake", "t/1.metadata.json", metadata.to_string().into_bytes(), false).await;
        let register = json!({"name": "copy", "metadata-location": "s3://lake/t/1.metadata.json"});
        let (status, body) = ask(&catalog, "POST", "/v1/lake/namespaces/a/register", register).await;
        assert_eq!(status, 200, "{body}");
        commit(&catalog, json!([statistics("s3://lake/t/1.metadata.json")])).await;
        purge(&catalog).await;
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.deleted, one.failed, one.unreadable), (3 + 2 + 2 + 4, 2, 0));
        let mut stays = vec!["t/1.metadata.json"];
        stays.extend(FOREIGN);
        stays.sort_unstable();
        assert_eq!(keys(&engine, "lake").await, stays);
        let copy = "/v1/lake/namespaces/a/tables/copy";
        assert_eq!(ask(&catalog, "GET", copy, Value::Null).await.0, 200);
    });
}

async fn set(engine: &Engine, bucket: &Bucket, key: &'static [u8], value: &'static str) {
    let set = engine.on_bucket(bucket, ValueOwner::Catalog, move |bucket| async move {
        bucket.room(1_000).await?;
        let values = vec![(Bytes::from_static(key), Some(Bytes::from_static(value.as_bytes())))];
        let sequence = bucket.append(Transaction { values, ..Transaction::default() })?;
        bucket.durable(sequence).await
    });
    assert_eq!(set.await, Ok(Ok::<_, EngineError>(())));
}

#[test]
fn a_purge_without_root_deletes_nothing() {
    let medium = made(false);
    with_engine(&medium, async |engine| {
        let catalog = catalog_on(&engine);
        let path = "/v1/lake/namespaces/a/tables/t";
        assert_eq!(ask(&catalog, "DELETE", path, Value::Null).await.0, 204);
        let bucket = engine.bucket("lake").expect("there");
        set(&engine, &bucket, b"p\0t", r#"{"v":1}"#).await;
    });
    with_engine(&medium, async |engine| {
        let before = keys(&engine, "lake").await;
        let catalog = catalog_on(&engine);
        catalog.resume_purges().await;
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.deleted, one.unreadable), (0, 1));
        assert_eq!(one.left.first().map(|(location, _)| location.as_str()), Some("s3://lake/t/"));
        assert_eq!(keys(&engine, "lake").await, before);
        // It keeps nothing from being used.
        let table = json!({"name": "u", "location": "s3://lake/t", "schema": simple_schema()});
        assert_eq!(ask(&catalog, "POST", "/v1/lake/namespaces/a/tables", table).await.0, 200);
        assert_eq!(ended(&engine, &catalog).await, all);
    });
}

#[test]
fn nobody_waits_for_ever_for_a_purge_that_does_not_end() {
    const PURGE: &str = r#"{"v":2,"table":"a.t","uuid":"u","metadata-location":"s3://lake/t/metadata/gone","location-keys":["t"],
        "since":1,"principal":{"kind":"root","access-key":"AK"},"phase":"data","snapshot":0,"manifest":0,"entry":0,"snapshots":0,
        "deleted":0,"failed":0,"unreadable":0,"left":[],"ended":null}"#;
    let medium = made(false);
    with_engine(&medium, async |engine| {
        let catalog = catalog_on(&engine);
        assert_eq!(ask(&catalog, "DELETE", "/v1/lake/namespaces/a/tables/t", Value::Null).await.0, 204);
        let bucket = engine.bucket("lake").expect("there");
        set(&engine, &bucket, b"p\0t", PURGE).await;
    });
    with_engine(&medium, async |engine| {
        let catalog = catalog_on(&engine);
        let create = async || {
            let table = json!({"name": "u", "location": "s3://lake/t/in", "schema": simple_schema()});
            ask(&catalog, "POST", "/v1/lake/namespaces/a/tables", table).await
        };
        let began = engine.now_ms();
        let (status, refused) = create().await;
        assert_eq!(status, 400, "{refused}");
        assert!(refused.to_string().contains("overlaps that of a.t, whose purge has not ended"), "{refused}");
        assert!((5_000..6_000).contains(&(engine.now_ms() - began)), "it waits, but not for ever");
        assert_eq!(ask(&catalog, "DELETE", "/v1/lake/namespaces/a", Value::Null).await.0, 204);
        let (status, refused) = ask(&catalog, "DELETE", "/v1/warehouses/lake", Value::Null).await;
        assert_eq!(status, 409, "{refused}");
        assert!(refused.to_string().contains("the purge of a.t has not ended"), "{refused}");
        assert_eq!(ask(&catalog, "POST", "/v1/lake/namespaces", json!({"namespace": ["a"]})).await.0, 200);
        // Its root is gone, so it ends as soon as somebody looks after it.
        let before = keys(&engine, "lake").await;
        catalog.resume_purges().await;
        assert_eq!(create().await.0, 200);
        let all = ended(&engine, &catalog).await;
        assert_eq!(all.iter().map(|purge| (purge.deleted, purge.unreadable)).collect::<Vec<_>>(), [(0, 1)]);
        let after = keys(&engine, "lake").await;
        assert!(before.iter().all(|key| after.contains(key)));
    });
}
