//! Warehouses: buckets that have the setting of the catalog, their mark. Create, list, get, delete; called from any core.
//!
//! The mark lives in the directory, so that every core knows a warehouse without asking its owner; what is in it
//! lives with the owner.

use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::calendar::Civil;
use nilas_engine::{Bucket, BucketError, BucketSettings, Engine, EngineError, SettingKind, Transaction};
use serde_json::{Map, Value, json};

use crate::access::Resource;
use crate::limits::DELETE_VALUES_MAX;
use crate::store::failure::CatalogError;
use crate::store::names::check_warehouse_name;
use crate::store::state::{Page, PageQuery};
use crate::store::{Store, on_owner};

/// How the mark begins that this version writes.
const MARK: &[u8] = b"{\"nilas-warehouse\":1,";

/// Finds a warehouse by its plain name.
pub(crate) fn find(engine: &Engine, name: &str) -> Result<Arc<Bucket>, CatalogError> {
    let bucket = engine.bucket(name).map_err(|error| bucket_failure(error, name))?;
    match bucket.settings.get(SettingKind::CATALOG) {
        Some(mark) => check_mark(mark, name).map(|()| bucket.clone()),
        None => Err(CatalogError::NoSuchWarehouse(name.to_owned())),
    }
}

/// [`CatalogError::NewerValue`] for the mark of a newer version, which may mean more than is known here.
fn check_mark(mark: &[u8], name: &str) -> Result<(), CatalogError> {
    // What this version writes needs no parsing.
    if mark.starts_with(MARK) {
        return Ok(());
    }
    let damaged = |why: String| CatalogError::Damaged { what: format!("mark of warehouse {name}"), why };
    let mark: Map<String, Value> = serde_json::from_slice(mark).map_err(|e| damaged(e.to_string()))?;
    match mark.get("nilas-warehouse").and_then(Value::as_u64) {
        Some(1) => Ok(()),
        Some(newer) => {
            let key = format!("mark of warehouse {name}");
            Err(CatalogError::NewerValue { key, version: Some(newer) })
        }
        None => Err(damaged("no version".to_owned())),
    }
}

/// The warehouse of a request that names none: the only one.
pub(crate) fn only(engine: &Engine) -> Result<Arc<Bucket>, CatalogError> {
    let directory = engine.directory().map_err(CatalogError::Engine)?;
    let mut warehouses = directory.buckets.values().filter(|bucket| is_warehouse(bucket));
    match (warehouses.next(), warehouses.next()) {
        (Some(warehouse), None) => {
            let mark = warehouse.settings.get(SettingKind::CATALOG).map_or(&[][..], |mark| mark);
            check_mark(mark, &warehouse.name).map(|()| Arc::clone(warehouse))
        }
        (None, _) => Err(CatalogError::NoSuchWarehouse("(none exists)".to_owned())),
        (Some(_), Some(_)) => {
            Err(CatalogError::BadRequest("There are several warehouses: name one with warehouse=".to_owned()))
        }
    }
}

/// Names of warehouses that contain `search`.
pub(crate) fn list(engine: &Engine, search: &str, page: &PageQuery) -> Result<Page, CatalogError> {
    let directory = engine.directory().map_err(CatalogError::Engine)?;
    let names = directory.buckets.values().filter(|bucket| is_warehouse(bucket)).map(|bucket| &*bucket.name);
    let after = page.after.as_deref().unwrap_or_default();
    Ok(page.cut(names.filter(|name| after < *name && name.contains(search)).map(str::to_owned)))
}

/// What is needed on a bucket that becomes a warehouse beside the right on the warehouse: from then on rights on tables are
/// rights on its objects.
pub(crate) const UPGRADE_ACTION: &str = "s3:PutBucketPolicy";

/// What is needed on the bucket that goes with its warehouse.
pub(crate) const DELETE_ACTION: &str = "s3:DeleteBucket";

/// Whether a bucket that is there may become the warehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// It is not asked for.
    No,
    /// It is, and the sender may.
    Allowed,
    /// It is, and the sender may not.
    Denied,
}

/// Makes a bucket that is a warehouse, or with `upgrade` makes an existing bucket one. What is a warehouse already is
/// [`CatalogError::WarehouseExists`].
pub(crate) async fn create(
    engine: &Engine,
    json_attributes: &Bytes,
    name: &str,
    upgrade: Upgrade,
    owner: Option<Bytes>,
) -> Result<Bytes, CatalogError> {
    check_warehouse_name(name)?;
    let uuid = uuid::Builder::from_random_bytes(engine.random_u128().to_le_bytes()).into_uuid().to_string();
    let mark = mark(&uuid, engine.now_ms());
    let settings = BucketSettings::of(SettingKind::CATALOG, mark.clone()).with(SettingKind::OWNER, owner);
    let bucket = match engine.create_bucket(name, settings).await {
        Ok(bucket) => bucket,
        Err(BucketError::Exists) => {
            match engine.bucket(name) {
                Ok(bucket) if is_warehouse(&bucket) => {
                    return Err(CatalogError::WarehouseExists(name.to_owned()));
                }
                _ if upgrade == Upgrade::No => return Err(CatalogError::BucketExists(name.to_owned())),
                _ if upgrade == Upgrade::Denied => {
                    let resource = Resource::Bucket(name).to_string();
                    return Err(CatalogError::Forbidden { action: UPGRADE_ACTION, resource });
                }
                // What is left there from an earlier warehouse must be readable before the bucket is one again.
                Ok(bucket) => forget(engine, &bucket, json_attributes).await?,
                Err(_) => {}
            }
            let marked = engine.set_setting(name, SettingKind::CATALOG, Some(mark)).await;
            let bucket = marked.map_err(|error| bucket_failure(error, name))?;
            // The bucket may have been a warehouse before, closed when it ceased to be one.
            forget(engine, &bucket, json_attributes).await?;
            bucket
        }
        Err(error) => return Err(bucket_failure(error, name)),
    };
    Ok(description(&bucket))
}

pub(crate) fn get(engine: &Engine, name: &str) -> Result<Bytes, CatalogError> {
    listed(engine, name).map(|bucket| description(&bucket))
}

/// Ends a warehouse without namespaces. The bucket goes too when it is empty, unless `preserve_bucket`; else it
/// stays as a plain bucket.
pub(crate) async fn delete(
    engine: &Engine,
    json_attributes: &Bytes,
    name: &str,
    preserve_bucket: bool,
) -> Result<(), CatalogError> {
    let bucket = listed(engine, name)?;
    if let Some(kind) = bucket.settings.unsupported() {
        return Err(CatalogError::Engine(EngineError::UnsupportedSetting { kind }));
    }
    on_owner(engine, &bucket, json_attributes, |store| async move { store.close().await }).await?;
    let ended = end(engine, name, preserve_bucket).await;
    if ended.is_err() {
        // It is a warehouse still: open again, built from the values that are left.
        drop(forget(engine, &bucket, json_attributes).await);
    }
    ended
}

/// Takes the mark, or the bucket with it, from a warehouse that was closed.
async fn end(engine: &Engine, name: &str, preserve_bucket: bool) -> Result<(), CatalogError> {
    if !preserve_bucket {
        match engine.delete_bucket(name).await {
            Ok(()) | Err(BucketError::NoSuchBucket) => return Ok(()),
            Err(BucketError::NotEmpty) => {}
            Err(error) => return Err(bucket_failure(error, name)),
        }
    }
    match engine.set_setting(name, SettingKind::CATALOG, None).await {
        Ok(_) | Err(BucketError::NoSuchBucket) => Ok(()),
        Err(error) => Err(bucket_failure(error, name)),
    }
}

/// Makes the next request build the warehouse from its values again, which must be readable now.
async fn forget(engine: &Engine, bucket: &Arc<Bucket>, json_attributes: &Bytes) -> Result<(), CatalogError> {
    on_owner(engine, bucket, json_attributes, |store| async move {
        store.forget();
        Ok(())
    })
    .await
}

/// As [`find`], with the failure of the `/warehouses` paths.
fn listed(engine: &Engine, name: &str) -> Result<Arc<Bucket>, CatalogError> {
    find(engine, name).map_err(|error| match error {
        CatalogError::NoSuchWarehouse(name) => CatalogError::NoWarehouseEntry(name),
        other => other,
    })
}

impl Store {
    /// Makes the next request build this warehouse from its values again.
    fn forget(&self) {
        self.state.forget(self.bucket.id());
    }

    /// Refuses changes from now on and removes what values are left. Refused while there are namespaces or
    /// open purges.
    async fn close(&self) -> Result<(), CatalogError> {
        self.warehouse.borrow_mut().plan_close()?;
        let removed = self.remove_values().await;
        if removed.is_err() {
            // Built from the values that are left, open again.
            self.forget();
        }
        removed
    }

    async fn remove_values(&self) -> Result<(), CatalogError> {
        loop {
            let mut values = Vec::new();
            self.bucket.values(b"", |key, _| {
                values.push((Bytes::copy_from_slice(key), None));
                values.len() < DELETE_VALUES_MAX
            });
            if values.is_empty() {
                return Ok(());
            }
            let sequence = self.bucket.append(Transaction { values, ..Transaction::default() })?;
            self.bucket.durable(sequence).await?;
        }
    }
}

impl crate::store::state::Warehouse {
    fn plan_close(&mut self) -> Result<(), CatalogError> {
        if !self.namespaces.is_empty() {
            return Err(CatalogError::WarehouseNotEmpty(self.name.to_string()));
        }
        if let Some(purge) = self.purges.open().next().and_then(|(_, key)| self.purges.get(key)) {
            let (name, table) = (self.name.to_string(), purge.table.clone());
            return Err(CatalogError::WarehousePurging { name, table });
        }
        self.closed = true;
        Ok(())
    }
}

fn is_warehouse(bucket: &Bucket) -> bool {
    bucket.settings.get(SettingKind::CATALOG).is_some()
}

fn mark(uuid: &str, created_ms: u64) -> Bytes {
    Bytes::from(
        json!({"nilas-warehouse": 1, "uuid": uuid, "created-ms": created_ms, "properties": {}}).to_string(),
    )
}

fn description(bucket: &Bucket) -> Bytes {
    let mark = bucket.settings.get(SettingKind::CATALOG);
    let mark: Map<String, Value> =
        mark.and_then(|mark| serde_json::from_slice(mark).ok()).unwrap_or_default();
    let created_ms = mark.get("created-ms").and_then(Value::as_u64).unwrap_or(bucket.created_ms);
    let body = json!({
        "name": &*bucket.name,
        "bucket": &*bucket.name,
        "uuid": mark.get("uuid").cloned().unwrap_or_default(),
        "created-at": timestamp(created_ms),
        "properties": mark.get("properties").cloned().unwrap_or_else(|| json!({})),
    });
    Bytes::from(body.to_string())
}

fn bucket_failure(error: BucketError, name: &str) -> CatalogError {
    match error {
        BucketError::Exists => CatalogError::BucketExists(name.to_owned()),
        BucketError::NoSuchBucket => CatalogError::NoSuchWarehouse(name.to_owned()),
        BucketError::NotEmpty => CatalogError::WarehouseNotEmpty(name.to_owned()),
        BucketError::LockNeedsVersions => {
            CatalogError::BadRequest("A bucket with object lock keeps versions and its lock".to_owned())
        }
        BucketError::CatalogUnencrypted => CatalogError::BadRequest(
            "A bucket with default encryption cannot be a warehouse: take the encryption configuration away first"
                .to_owned(),
        ),
        BucketError::TooMany => {
            CatalogError::BadRequest("The store has as many buckets as it can hold".to_owned())
        }
        BucketError::Engine(error) => CatalogError::Engine(error),
    }
}

/// RFC 3339 in UTC, to the millisecond.
fn timestamp(ms: u64) -> String {
    let Civil { year, month, day, hour, minute, second, millisecond } = Civil::of_ms(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[cfg(test)]
mod tests {
    use nilas_engine::{BucketId, Sequence, ShardId};

    use super::*;
    use crate::store::state::{Namespace, Warehouse};

    #[test]
    fn timestamps() {
        let check = |ms: u64, want: &str| assert_eq!(timestamp(ms), want);
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_709_251_199_999, "2024-02-29T23:59:59.999Z");
        check(1_735_689_599_001, "2024-12-31T23:59:59.001Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn marks() {
        let bucket = |settings: BucketSettings| Bucket {
            name: Arc::from("lake"),
            id: BucketId(1),
            shard: ShardId(0),
            created_ms: 5,
            settings,
        };
        let marked = BucketSettings::of(SettingKind::CATALOG, mark("u", 0));
        assert!(is_warehouse(&bucket(marked.with(SettingKind::TAGS, Some(Bytes::new())))));
        assert!(!is_warehouse(&bucket(BucketSettings::default())));
        assert!(!is_warehouse(&bucket(BucketSettings::of(SettingKind::TAGS, Bytes::new()))));
        assert!(mark("u", 0).starts_with(MARK));
        let check = |mark: &str, want: Result<(), &str>| {
            let got = check_mark(mark.as_bytes(), "lake").map_err(|error| error.answer().message);
            match want {
                Ok(()) => assert_eq!(got, Ok(()), "{mark}"),
                Err(text) => assert!(got.is_err_and(|got| got.contains(text)), "{mark}"),
            }
        };
        check(r#"{"uuid":"u","nilas-warehouse":1}"#, Ok(()));
        check(r#"{"nilas-warehouse":2,"uuid":"u"}"#, Err("newer version: unknown version 2"));
        check(r#"{"uuid":"u"}"#, Err("damaged"));
        check("note", Err("damaged"));
        let text = description(&bucket(marked));
        let want = r#"{"name":"lake","bucket":"lake","uuid":"u","created-at":"1970-01-01T00:00:00.000Z","properties":{}}"#;
        assert_eq!(text, want.as_bytes());
    }

    #[test]
    fn closing() {
        let mut warehouse = Warehouse::new(Arc::from("lake"), Sequence(1));
        warehouse.namespaces.insert("a".to_owned(), Namespace::default());
        assert!(matches!(warehouse.plan_close(), Err(CatalogError::WarehouseNotEmpty(_))));
        warehouse.namespaces.clear();
        assert!(warehouse.plan_close().is_ok());
        assert!(warehouse.closed);
    }
}
