//! Purges on the simulated machine: power cuts at every step, buckets that keep versions, principals who may not, stores
//! that are full, and values of the version before.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use nilas_catalog::access::{Access, KeptAccess, KeptPrincipal, Resource};
use nilas_catalog::{Catalog, PurgeFigures, PurgeStatus, Request, Route};
use nilas_engine::platform::simulated::{Faults, Medium, Random};
use nilas_engine::{
    Bucket, BucketSettings, ETag, Engine, EngineError, ListQuery, PutCondition, Transaction, ValueOwner,
    VersionQuery,
};
use nilas_tests::catalog::simple_schema;
use nilas_tests::machine::{Geometry, formatted, on_machine, start};
use nilas_tests::manifests::{self, File};
use serde_json::{Value, json};

const GEOMETRY: Geometry = Geometry::small(2);

/// Asked at the time of the request.
struct Everything;

impl Access for Everything {
    fn allows_with(&self, _: &'static str, _: Resource<'_>, _: &[(&'static str, &str)]) -> bool {
        true
    }

    fn kept(&self) -> KeptPrincipal {
        KeptPrincipal { kind: "root".to_owned(), id: String::new(), access_key: "AK".to_owned() }
    }
}

/// Asked by purges: root may do everything elsewhere but the one action.
struct AllBut(&'static str);

/// Asked by purges: nobody may do anything. Writes down what they ask.
#[derive(Default)]
struct NothingBut(Mutex<Vec<String>>);

impl KeptAccess for NothingBut {
    fn allows(&self, _who: &KeptPrincipal, action: &'static str, resource: Resource<'_>) -> bool {
        self.0.lock().expect("no panic").push(format!("{action} {resource}"));
        false
    }
}

impl KeptAccess for AllBut {
    fn allows(&self, who: &KeptPrincipal, action: &'static str, resource: Resource<'_>) -> bool {
        assert_eq!((who.kind.as_str(), who.access_key.as_str()), ("root", "AK"));
        match resource {
            Resource::Object { bucket: "other", .. } => action != self.0,
            Resource::Object { bucket: "lake", key }
                if key.starts_with(b"t/metadata/")
                    || !key.starts_with(b"t/") && !key.starts_with(b"before/") =>
            {
                true
            }
            _ => panic!("only what is elsewhere is asked for: {resource}"),
        }
    }
}

fn catalog_with(engine: &Engine, access: AllBut) -> Catalog {
    let catalog = Catalog::new(engine.clone(), Bytes::new(), "local");
    catalog.with_purges(Arc::new(access), Arc::new(PurgeFigures::default()), |_| ())
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
    let query = VersionQuery { max: 1_000, ..VersionQuery::default() };
    let versions = engine.list_versions(&bucket, query).await.expect("listed").versions;
    let keys: Vec<String> =
        versions.iter().map(|version| String::from_utf8_lossy(&version.key).into_owned()).collect();
    let listed =
        engine.list(&bucket, ListQuery { max: 1_000, ..ListQuery::default() }).await.expect("listed");
    assert!(listed.objects.len() <= keys.len());
    keys
}

/// Files that the table `t` of warehouse `lake` reaches besides its metadata files, and the two that it does not.
const DATA: [&str; 4] = ["t/data/a", "t/data/b", "t/data/c", "far/d"];
const FOREIGN: [&str; 2] = ["t/data/foreign", "t/notes"];

/// Makes the warehouse `lake` with its table, whose location was another before, and the bucket `other` with a data file.
async fn make(engine: &Engine, versioned: bool) {
    let catalog = catalog_with(engine, AllBut(""));
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
    files.push(File::data("s3://other/x"));
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
            let catalog = catalog_with(&engines[0], AllBut(""));
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
            let (engine, catalog) = (&engines[0], catalog_with(&engines[0], AllBut("")));
            *seen.borrow_mut() =
                catalog.purges().await.expect("told").0.iter().any(|purge| purge.ended_ms.is_none());
            catalog.resume_purges().await;
            let all = ended(engine, &catalog).await;
            assert!(all.iter().all(|purge| purge.failed + purge.unreadable == 0), "cut at {cut_at}: {all:?}");
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
                    assert_eq!(keys(engine, "other").await, ["x", "y"]);
                }
                404 => {
                    assert_eq!(left, FOREIGN, "cut at {cut_at}");
                    assert_eq!(keys(engine, "other").await, ["y"], "cut at {cut_at}");
                }
                other => panic!("cut at {cut_at}: {other}"),
            }
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
        let catalog = catalog_with(&engine, AllBut(""));
        purge(&catalog).await;
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        // Data and delete files, that of the other bucket, manifests, lists, metadata files.
        assert_eq!((one.deleted, one.failed, one.unreadable), (4 + 1 + 2 + 2 + 3, 0, 0));
        assert_eq!(keys(&engine, "lake").await, [FOREIGN[0], FOREIGN[0], FOREIGN[1], FOREIGN[1]]);
    });
}

#[test]
fn who_may_not_delete_elsewhere_leaves_that() {
    with_engine(&made(false), async |engine| {
        let catalog = catalog_with(&engine, AllBut("s3:DeleteObject"));
        purge(&catalog).await;
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.deleted, one.failed, one.unreadable), (4 + 2 + 2 + 3, 1, 0));
        let why = "who asked for the purge may not do s3:DeleteObject on it".to_owned();
        assert_eq!(one.left, [("s3://other/x".to_owned(), why)]);
        assert_eq!(
            (keys(&engine, "lake").await, keys(&engine, "other").await.len()),
            (FOREIGN.map(str::to_owned).to_vec(), 2)
        );
    });
}

#[test]
fn who_may_nothing_later_purges_the_tables_locations_alone() {
    with_engine(&made(false), async |engine| {
        // Another table, whose files a snapshot of `t` names.
        let all = catalog_with(&engine, AllBut(""));
        let victim = json!({"name": "victim", "location": "s3://lake/victim", "schema": simple_schema()});
        assert_eq!(ask(&all, "POST", "/v1/lake/namespaces/a/tables", victim).await.0, 200);
        put(&engine, "lake", "victim/data/x", b"bytes".to_vec(), false).await;
        put(
            &engine,
            "lake",
            "victim/m",
            manifests::manifest(&[File::data("s3://lake/victim/data/x")]),
            false,
        )
        .await;
        put(&engine, "lake", "victim/l", manifests::list(&["s3://lake/victim/m".to_owned()]), false).await;
        put(&engine, "lake", "t/m4", manifests::manifest(&[File::data("s3://lake/victim/data/x")]), false)
            .await;
        put(&engine, "lake", "t/l4", manifests::list(&["s3://lake/t/m4".to_owned()]), false).await;
        for (id, list) in [(3, "victim/l"), (4, "t/l4")] {
            let snapshot = json!({"snapshot-id": id, "sequence-number": id, "schema-id": 0, "timestamp-ms": engine.now_ms(),
                "manifest-list": format!("s3://lake/{list}"), "summary": {"operation": "append"}});
            let commit =
                json!({"requirements": [], "updates": [{"action": "add-snapshot", "snapshot": snapshot}]});
            assert_eq!(ask(&all, "POST", "/v1/lake/namespaces/a/tables/t", commit).await.0, 200);
        }
        let before = keys(&engine, "lake").await;
        let asked = Arc::new(NothingBut::default());
        let figures = Arc::new(PurgeFigures::default());
        let catalog = Catalog::new(engine.clone(), Bytes::new(), "local");
        let catalog = catalog.with_purges(Arc::clone(&asked) as Arc<dyn KeptAccess>, figures, |_| ());
        purge(&catalog).await;
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        let left = keys(&engine, "lake").await;
        // Nothing of others is gone, and of the table's own what leads to what was not followed.
        let others = before.iter().filter(|key| key.starts_with("victim/") || key.starts_with("far/"));
        for key in others {
            assert!(left.contains(key), "{key} is gone: {one:?}");
        }
        for key in ["t/data/a", "t/data/b", "t/data/c", "t/m1", "t/m2", "t/m4", "t/l1", "t/l2", "t/l4"] {
            assert!(!left.contains(&key.to_owned()), "{key} is left: {one:?}");
        }
        assert_eq!(keys(&engine, "other").await, ["x", "y"]);
        let asked = asked.0.lock().expect("no panic").clone();
        for want in [
            "s3:GetObject arn:aws:s3:::lake/victim/l",
            "s3:DeleteObject arn:aws:s3:::lake/victim/data/x",
            "s3:DeleteObject arn:aws:s3:::lake/far/d",
            "s3:DeleteObject arn:aws:s3:::other/x",
        ] {
            assert!(asked.contains(&want.to_owned()), "{want}: {asked:?}");
        }
        assert!(0 < one.failed && 0 < one.unreadable, "{one:?}");
    });
}

#[test]
fn who_may_not_read_elsewhere_does_not_follow_there() {
    let medium = made(false);
    with_engine(&medium, async |engine| {
        let catalog = catalog_with(&engine, AllBut(""));
        put(&engine, "other", "m3", manifests::manifest(&[File::data("s3://lake/t/notes")]), false).await;
        put(&engine, "lake", "t/l3", manifests::list(&["s3://other/m3".to_owned()]), false).await;
        let snapshot = json!({"snapshot-id": 3, "sequence-number": 3, "manifest-list": "s3://lake/t/l3",
            "timestamp-ms": engine.now_ms(), "schema-id": 0, "summary": {"operation": "append"}});
        let commit =
            json!({"requirements": [], "updates": [{"action": "add-snapshot", "snapshot": snapshot}]});
        assert_eq!(ask(&catalog, "POST", "/v1/lake/namespaces/a/tables/t", commit).await.0, 200);
        let catalog = catalog_with(&engine, AllBut("s3:GetObject"));
        purge(&catalog).await;
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((one.failed, one.unreadable), (0, 1));
        assert_eq!(one.left.first().map(|(location, _)| location.as_str()), Some("s3://other/m3"));
        // What leads to what could not be read stays, and that itself.
        let root = one.metadata_location.strip_prefix("s3://lake/").expect("its own").to_owned();
        let mut stays = [FOREIGN[0], FOREIGN[1], "t/l3", &root];
        stays.sort_unstable();
        assert_eq!(keys(&engine, "lake").await, stays);
        assert!(keys(&engine, "other").await.contains(&"m3".to_owned()));
    });
}

#[test]
fn the_newest_metadata_file_of_another_table_stays() {
    with_engine(&made(false), async |engine| {
        let catalog = catalog_with(&engine, AllBut(""));
        let path = "/v1/lake/namespaces/a/tables/t";
        let (status, loaded) = ask(&catalog, "GET", path, Value::Null).await;
        assert_eq!(status, 200, "{loaded}");
        // A table whose log names the newest file of `t`.
        let mut metadata = loaded["metadata"].clone();
        metadata["table-uuid"] = json!("00000000-0000-4000-8000-00000000000c");
        metadata["location"] = json!("s3://lake/copy");
        metadata["snapshots"] = json!([]);
        metadata["snapshot-log"] = json!([]);
        metadata["refs"] = json!({});
        metadata["current-snapshot-id"] = Value::Null;
        metadata["metadata-log"] = json!([{"timestamp-ms": 1, "metadata-file": loaded["metadata-location"]}]);
        put(&engine, "lake", "copy/1.metadata.json", metadata.to_string().into_bytes(), false).await;
        let register = json!({"name": "copy", "metadata-location": "s3://lake/copy/1.metadata.json"});
        let (status, body) = ask(&catalog, "POST", "/v1/lake/namespaces/a/register", register).await;
        assert_eq!(status, 200, "{body}");
        let drop = "/v1/lake/namespaces/a/tables/copy?purgeRequested=true";
        assert_eq!(ask(&catalog, "DELETE", drop, Value::Null).await.0, 204);
        let all = ended(&engine, &catalog).await;
        let [one] = all.as_slice() else { panic!("{all:?}") };
        // Its own metadata file alone.
        assert_eq!((one.deleted, one.failed, one.unreadable), (1, 0, 0));
        let left = keys(&engine, "lake").await;
        let newest = loaded["metadata-location"].as_str().and_then(|at| at.strip_prefix("s3://lake/"));
        assert!(left.contains(&newest.expect("its own").to_owned()), "{left:?}");
        assert!(!left.contains(&"copy/1.metadata.json".to_owned()), "{left:?}");
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
        let catalog = catalog_with(&engine, AllBut(""));
        let path = "/v1/lake/namespaces/a/tables/t";
        assert_eq!(ask(&catalog, "DELETE", path, Value::Null).await.0, 204);
        let bucket = engine.bucket("lake").expect("there");
        set(&engine, &bucket, b"p\0t", r#"{"v":1}"#).await;
    });
    with_engine(&medium, async |engine| {
        let before = keys(&engine, "lake").await;
        let catalog = catalog_with(&engine, AllBut(""));
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
        let catalog = catalog_with(&engine, AllBut(""));
        assert_eq!(ask(&catalog, "DELETE", "/v1/lake/namespaces/a/tables/t", Value::Null).await.0, 204);
        let bucket = engine.bucket("lake").expect("there");
        set(&engine, &bucket, b"p\0t", PURGE).await;
    });
    with_engine(&medium, async |engine| {
        let catalog = catalog_with(&engine, AllBut(""));
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
