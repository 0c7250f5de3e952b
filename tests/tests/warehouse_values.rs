//! Values of several owners in one bucket: whoever keeps values there neither sees nor disturbs the others, and the
//! catalog changes nothing of a warehouse that a newer version has written to.

use std::sync::Arc;

use bytes::Bytes;
use nilas_catalog::access::{Access, Resource};
use nilas_catalog::{Catalog, Request, Route};
use nilas_engine::platform::simulated::{Faults, Medium};
use nilas_engine::{
    Bucket, BucketError, BucketSettings, Engine, EngineError, LocalBucket, Transaction, ValueOwner,
};
use nilas_tests::machine::{Geometry, formatted, guarded, on_machine, start};
use serde_json::{Value, json};

const GEOMETRY: Geometry = Geometry::small(2);
/// Every owner but the catalog, with a key of its own.
const OTHERS: [(ValueOwner, &[u8]); 3] = [
    (ValueOwner::S3Configuration, b"\x10cors"),
    (ValueOwner::Identity, b"\x2fkey"),
    (ValueOwner::Jobs, b"\x30"),
];

type Values = Vec<(Vec<u8>, Bytes)>;

/// Starts the engine on what is on `medium`, as after a restart, and runs `work` with it.
fn with_engine(medium: &Medium, work: impl AsyncFnOnce(Engine) + 'static) {
    let run = on_machine(7, medium, Faults::default(), async move |machine, drive| {
        let engines = start(&machine, &drive, 1).await.expect("recovers");
        work(engines.into_iter().next().expect("one core")).await;
        Ok(())
    });
    assert!(matches!(run, Ok(Some(()))), "{run:?}");
}

/// Everybody may do everything.
struct Everything;

impl Access for Everything {
    fn allows_with(&self, _: &'static str, _: Resource<'_>, _: &[(&'static str, &str)]) -> bool {
        true
    }
}

/// Status and body of the catalog's answer.
async fn ask(engine: &Engine, method: &str, path: &str, body: Value) -> (u16, String) {
    let (raw_path, raw_query) = path.split_once('?').unwrap_or((path, ""));
    let catalog = Catalog::new(engine.clone(), Bytes::new(), "local");
    let request = Request {
        method,
        raw_path,
        raw_query,
        header: &|_| None,
        body: if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) },
        principal: "root",
        access: &Everything,
        base_url: "http://localhost",
    };
    let response = catalog.handle(Route::of(method, raw_path), request).await;
    (response.status, String::from_utf8_lossy(&response.body).into_owned())
}

async fn make_warehouse(engine: &Engine) -> Arc<Bucket> {
    let (status, body) = ask(engine, "POST", "/v1/warehouses", json!({"name": "lake"})).await;
    assert_eq!(status, 200, "{body}");
    let (status, body) = ask(engine, "POST", "/v1/lake/namespaces", json!({"namespace": ["a"]})).await;
    assert_eq!(status, 200, "{body}");
    engine.bucket("lake").expect("just made")
}

async fn set(engine: &Engine, bucket: &Bucket, owner: ValueOwner, key: &'static [u8], value: Option<&str>) {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    let set = engine.on_bucket(bucket, owner, move |bucket| async move {
        bucket.room(1_000).await?;
        let values = vec![(Bytes::from_static(key), value)];
        let sequence = bucket.append(Transaction { values, ..Transaction::default() })?;
        bucket.durable(sequence).await
    });
    assert_eq!(set.await, Ok(Ok::<_, EngineError>(())));
}

async fn values(engine: &Engine, bucket: &Bucket, owner: ValueOwner) -> Values {
    let values = engine.on_bucket(bucket, owner, |bucket| async move {
        let mut values = Vec::new();
        bucket.values(b"", |key, value| {
            values.push((key.to_vec(), value.clone()));
            true
        });
        values
    });
    values.await.expect("the shard is there")
}

#[test]
fn owners_do_not_see_each_other() {
    let medium = formatted(GEOMETRY);
    with_engine(&medium, async |engine| {
        let bucket = make_warehouse(&engine).await;
        for (owner, key) in OTHERS {
            set(&engine, &bucket, owner, key, Some("no JSON")).await;
        }
    });
    with_engine(&medium, async |engine| {
        let (status, body) = ask(&engine, "GET", "/v1/lake/namespaces", Value::Null).await;
        assert_eq!((status, body.contains("\"a\"")), (200, true), "{body}");
        let bucket = engine.bucket("lake").expect("there");
        for (owner, key) in OTHERS {
            let want = vec![(key.to_vec(), Bytes::from_static(b"no JSON"))];
            assert_eq!(values(&engine, &bucket, owner).await, want, "{owner:?}");
        }
        let of_catalog: Vec<_> = values(&engine, &bucket, ValueOwner::Catalog).await;
        assert_eq!(of_catalog.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), [b"n\0a"]);

        let (status, body) = ask(&engine, "DELETE", "/v1/lake/namespaces/a", Value::Null).await;
        assert_eq!(status, 204, "{body}");
        let (status, body) = ask(&engine, "DELETE", "/v1/warehouses/lake", Value::Null).await;
        assert_eq!(status, 204, "{body}");
        assert_eq!(values(&engine, &bucket, ValueOwner::Catalog).await, []);
        // The warehouse is gone, the bucket is not empty.
        assert!(engine.bucket("lake").is_ok_and(|bucket| bucket.settings == BucketSettings::default()));
        for (owner, key) in OTHERS {
            assert_eq!(engine.delete_bucket("lake").await, Err(BucketError::NotEmpty), "{owner:?}");
            assert_eq!(values(&engine, &bucket, owner).await.len(), 1, "{owner:?}");
            set(&engine, &bucket, owner, key, None).await;
        }
        assert_eq!(engine.delete_bucket("lake").await, Ok(()));
    });
}

#[test]
fn a_warehouse_with_newer_values_is_left_alone() {
    let check = |key: &'static [u8], value: &'static str, want: &'static str| {
        let medium = formatted(GEOMETRY);
        with_engine(&medium, async move |engine| {
            let bucket = make_warehouse(&engine).await;
            set(&engine, &bucket, ValueOwner::Catalog, key, Some(value)).await;
            let plain = engine.create_bucket("plain", BucketSettings::default()).await.expect("room");
            set(&engine, &plain, ValueOwner::Catalog, key, Some(value)).await;
        });
        with_engine(&medium, async move |engine| {
            let bucket = engine.bucket("lake").expect("there");
            let before = values(&engine, &bucket, ValueOwner::Catalog).await;
            for (method, path, body) in [
                ("GET", "/v1/lake/namespaces", Value::Null),
                ("POST", "/v1/lake/namespaces", json!({"namespace": ["c"]})),
                ("DELETE", "/v1/lake/namespaces/a", Value::Null),
                ("DELETE", "/v1/warehouses/lake", Value::Null),
                ("POST", "/v1/warehouses", json!({"name": "plain", "upgrade-existing": true})),
            ] {
                let (status, text) = ask(&engine, method, path, body).await;
                assert_eq!((status, text.contains(want)), (501, true), "{method} {path}: {text}");
                assert!(!text.contains("damage"), "{text}");
            }
            assert_eq!(values(&engine, &bucket, ValueOwner::Catalog).await, before);
            assert_eq!(engine.bucket("lake").expect("there").settings, bucket.settings);
            assert_eq!(engine.bucket("plain").expect("there").settings, BucketSettings::default());
            set(&engine, &bucket, ValueOwner::Catalog, key, None).await;
            let (status, body) = ask(&engine, "GET", "/v1/lake/namespaces", Value::Null).await;
            assert_eq!((status, body.contains("\"a\"")), (200, true), "{body}");
        });
    };
    check(b"v\0a", r#"{"v":1}"#, r"catalog value v\\0a was written by a newer version: unknown kind");
    check(b"n\0b", r#"{"v":2}"#, r"catalog value n\\0b was written by a newer version: unknown version 2");
}

fn append(bucket: &LocalBucket, key: &'static [u8]) {
    let values = vec![(Bytes::from_static(key), Some(Bytes::new()))];
    drop(bucket.append(Transaction { values, ..Transaction::default() }));
}

#[test]
fn a_key_of_another_owner_is_a_bug() {
    let check = |work: fn(&LocalBucket)| {
        let medium = formatted(GEOMETRY);
        let found = guarded(|| {
            with_engine(&medium, async move |engine| {
                let bucket = engine.create_bucket("bucket", BucketSettings::default()).await.expect("room");
                let done = engine.on_bucket(&bucket, ValueOwner::S3Configuration, move |bucket| async move {
                    work(&bucket);
                });
                assert_eq!(done.await, Ok(()));
            });
            Ok(())
        });
        found.is_some_and(|found| found.text.contains("outside of the range of its owner"))
    };
    assert!(!check(|bucket| assert_eq!(bucket.value(b"\x10a"), None)));
    assert!(check(|bucket| assert_eq!(bucket.value(b"n\0a"), None)));
    assert!(check(|bucket| assert_eq!(bucket.value(b""), None)));
    assert!(!check(|bucket| bucket.values(b"", |_, _| true)));
    assert!(check(|bucket| bucket.values(b"n", |_, _| true)));
    assert!(!check(|bucket| append(bucket, b"\x1f")));
    assert!(check(|bucket| append(bucket, b"\x20")));
    assert!(check(|bucket| append(bucket, b"n\0a")));
}
