//! Commits: one table's `POST …/tables/{t}` and `transactions/commit` over several, both through [`Store::commit`].
//!
//! Load bases (may wait) → is it a repetition of one that landed? (`recognise`) → check requirements and apply (pure, on the
//! newest bases) → write large metadata ahead (may wait) → look again that nothing moved → one transaction. Since one core owns the tables, a lost race is only
//! possible while waiting; then the commit starts over on the new bases, so clients see 409 only for requirements
//! that really do not hold.

use std::rc::Rc;

use bytes::Bytes;
use nilas_engine::{Transaction, TransactionBody, TransactionPut};

use crate::commit::{self, Requirement, SentChange, Update};
use crate::limits::{
    COMMIT_ATTEMPTS_MAX, METADATA_DELETES_MAX, METADATA_INLINE_BYTES_MAX, TABLES_MAX,
    TOMBSTONES_PER_COMMIT_MAX, at_most,
};
use crate::model::{Pointer, Recorded};
use crate::spec::TableMetadata;
use crate::store::claim::IdempotencyGuard;
use crate::store::failure::CatalogError;
use crate::store::idempotency::IdempotencyKey;
use crate::store::metadata_file::{self, MetadataFile};
use crate::store::names::Ident;
use crate::store::state::{LoadedTable, Uuids, Warehouse};
use crate::store::values;
use crate::store::{Outcome, Store, location, recognise};

/// What one request wants of one table.
#[derive(Debug)]
pub(crate) struct TableChange {
    pub(crate) ident: Ident,
    pub(crate) requirements: Vec<Requirement>,
    pub(crate) updates: Vec<Update>,
    /// What it is known by should it be sent again; `None` when it has nothing of that kind.
    pub(crate) sent: Option<SentChange>,
}

/// A table's next version, ready to be written.
pub(crate) struct Version {
    pub(crate) ident: Ident,
    pub(crate) metadata: TableMetadata,
    pub(crate) file: MetadataFile,
    pub(crate) location_key: String,
    /// Locations that the table had before.
    pub(crate) earlier: Vec<String>,
    /// The metadata location it was made from; `None` for a new table.
    pub(crate) base: Option<String>,
    /// Keys of metadata files that go with this version.
    pub(crate) expired: Vec<Bytes>,
    /// Values by which the request is recognised when it comes again.
    pub(crate) digests: Vec<(Bytes, Option<Bytes>)>,
}

/// What becomes of one table of a commit.
enum Planned {
    /// The updates change nothing.
    Same(Rc<LoadedTable>),
    Next(Box<Version>),
}

/// Where the answer to a repetition lies.
enum Repeated {
    /// In the tables that it names, as they are; of a transaction nothing is answered.
    Here,
    /// In the table of this UUID, which has another name by now.
    At(Ident, String),
}

/// How an attempt to write versions ended.
pub(crate) enum Published {
    Done(Vec<Rc<LoadedTable>>),
    /// A table changed while metadata was written ahead: plan again.
    Moved,
}

/// The moment and the names a plan may use.
struct CommitInputs {
    now_ms: i64,
    table_uuid: String,
    file_name: String,
    /// What the whole request is known by.
    request: Option<u128>,
    /// How many snapshots that a table expires are remembered.
    tombstones_max: usize,
}

impl Store {
    /// Commits to all tables or none. `whole` asks for the new version as answer (one table), else the answer is empty.
    pub(crate) async fn commit(
        &self,
        changes: &[TableChange],
        whole: bool,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        check_changes(changes)?;
        let request = recognise::request_digest(changes);
        let of = changes.first().map(|change| &change.ident).filter(|_| whole);
        self.mutate(of, key, async |claim| {
            for _ in 0..COMMIT_ATTEMPTS_MAX {
                if let Some(loaded) = self.try_commit(changes, request, whole, claim).await? {
                    return Ok(match loaded.first() {
                        Some(loaded) if whole => self.table_outcome(of, loaded),
                        Some(_) | None => Outcome::Empty,
                    });
                }
            }
            Err(CatalogError::Contended)
        })
        .await
    }

    /// One attempt; `None` when a table moved while it waited.
    async fn try_commit(
        &self,
        changes: &[TableChange],
        request: Option<u128>,
        whole: bool,
        claim: &IdempotencyGuard,
    ) -> Result<Option<Vec<Rc<LoadedTable>>>, CatalogError> {
        let mut bases = Vec::with_capacity(changes.len());
        for change in changes {
            bases.push(self.base(&change.ident).await?);
        }
        let repeated = {
            let warehouse = self.warehouse.borrow();
            self.judged.check(&warehouse)?;
            let moved = changes.iter().zip(&bases).any(|(change, base)| {
                let now = warehouse.find(&change.ident).map(|table| table.pointer.metadata_location.as_str());
                now != base.as_ref().map(|base| base.metadata_location.as_str())
            });
            if moved {
                return Ok(None);
            }
            match request {
                Some(request) => self.find_landed(&warehouse, changes, &bases, request, whole)?,
                None => None,
            }
        };
        let planned = match repeated {
            None => self.plan(&self.warehouse.borrow(), changes, &bases, request)?,
            Some(Repeated::Here) => bases.into_iter().flatten().map(Planned::Same).collect(),
            Some(Repeated::At(ident, uuid)) => match self.base(&self.judged_answer(ident, &uuid)?).await? {
                Some(loaded) if loaded.metadata.uuid().eq_ignore_ascii_case(&uuid) => {
                    vec![Planned::Same(loaded)]
                }
                // Renamed or dropped while it was read.
                Some(_) | None => return Ok(None),
            },
        };
        let mut results = Vec::with_capacity(planned.len());
        let mut versions = Vec::with_capacity(planned.len());
        for plan in planned {
            match plan {
                Planned::Same(loaded) => results.push(loaded),
                Planned::Next(version) => versions.push(*version),
            }
        }
        if versions.is_empty() {
            if claim.has_key() {
                let recorded = results.first().filter(|_| whole).map_or(Recorded::Empty, |loaded| {
                    Recorded::Table { metadata_location: loaded.metadata_location.clone() }
                });
                self.append(&mut self.warehouse.borrow_mut(), Transaction::default(), claim, recorded)?;
            }
            return Ok(Some(results));
        }
        match self.publish(versions, whole, claim).await? {
            Published::Done(loaded) => {
                results.extend(loaded);
                Ok(Some(results))
            }
            Published::Moved => Ok(None),
        }
    }

    /// The name under which a table lies that is the answer, if the sender may see it there.
    fn judged_answer(&self, ident: Ident, uuid: &str) -> Result<Ident, CatalogError> {
        self.judged.check_also(&ident, uuid).map(|()| ident)
    }

    fn plan(
        &self,
        warehouse: &Warehouse,
        changes: &[TableChange],
        bases: &[Option<Rc<LoadedTable>>],
        request: Option<u128>,
    ) -> Result<Vec<Planned>, CatalogError> {
        let mut planned = Vec::with_capacity(changes.len());
        for (change, base) in changes.iter().zip(bases) {
            let draw = CommitInputs {
                now_ms: self.now_ms(),
                table_uuid: self.new_uuid(),
                file_name: self.new_uuid(),
                request,
                tombstones_max: TOMBSTONES_PER_COMMIT_MAX / changes.len(),
            };
            planned.push(plan_table(warehouse, change, base.as_ref(), &draw)?);
        }
        check_together(warehouse, &planned)?;
        Ok(planned)
    }

    /// Where the answer lies when this request is a repetition of one that landed. One that asks for a table which is gone
    /// altogether is judged like any other.
    fn find_landed(
        &self,
        warehouse: &Warehouse,
        changes: &[TableChange],
        bases: &[Option<Rc<LoadedTable>>],
        request: u128,
        whole: bool,
    ) -> Result<Option<Repeated>, CatalogError> {
        let tables: Vec<_> = bases.iter().map(|base| base.as_ref().map(|base| &base.metadata)).collect();
        let context =
            commit::Context { now_ms: self.now_ms(), previous_metadata_location: None, new_uuid: "" };
        let uuid = recognise::landed(changes, &tables, request, &|key| self.bucket.value(key), &context)?;
        let Some(uuid) = uuid else { return Ok(None) };
        let is_here = |table: &&TableMetadata| table.uuid().eq_ignore_ascii_case(uuid);
        if !whole || tables.iter().flatten().any(is_here) {
            return Ok(Some(Repeated::Here));
        }
        Ok(warehouse.find_by_uuid(uuid).map(|ident| Repeated::At(ident, uuid.to_owned())))
    }

    /// Writes versions as one transaction and makes them current.
    pub(crate) async fn publish(
        &self,
        versions: Vec<Version>,
        whole: bool,
        claim: &IdempotencyGuard,
    ) -> Result<Published, CatalogError> {
        let mut inline_bytes = 0_usize;
        let mut bodies = Vec::with_capacity(versions.len());
        for version in &versions {
            let body = version.file.body.clone();
            if inline_bytes + body.len() <= METADATA_INLINE_BYTES_MAX {
                inline_bytes += body.len();
                bodies.push(TransactionBody::Inline(body));
            } else {
                bodies.push(TransactionBody::Staged(self.bucket.stage(body).await?));
            }
        }
        let mut warehouse = self.warehouse.borrow_mut();
        if !still_holds(&warehouse, &versions)? {
            return Ok(Published::Moved);
        }
        let recorded = match versions.first() {
            Some(version) if whole => Recorded::Table { metadata_location: version.file.location.clone() },
            Some(_) | None => Recorded::Empty,
        };
        let mut transaction = Transaction::default();
        let mut pointers = Vec::with_capacity(versions.len());
        for (version, body) in versions.iter().zip(bodies) {
            transaction.puts.push(TransactionPut {
                key: version.file.key.clone(),
                body,
                etag: version.file.etag,
                attributes: self.json_attributes.clone(),
            });
            let room = METADATA_DELETES_MAX.saturating_sub(transaction.deletes.len());
            transaction.deletes.extend(version.expired.iter().take(room).cloned());
            let pointer = Pointer {
                uuid: version.metadata.uuid().to_owned(),
                metadata_location: version.file.location.clone(),
                location_key: version.location_key.clone(),
                earlier: version.earlier.clone(),
            };
            transaction.values.push((values::table_key(&version.ident), Some(values::table_value(&pointer))));
            transaction.values.extend(version.digests.iter().cloned());
            transaction.values.extend(warehouse.digests.plan_return(&pointer.uuid));
            pointers.push(pointer);
        }
        let sequence = self.append(&mut warehouse, transaction, claim, recorded)?;
        let mut results = Vec::with_capacity(versions.len());
        for (version, pointer) in versions.into_iter().zip(pointers) {
            let MetadataFile { location, rendered, .. } = version.file;
            let loaded = Rc::new(LoadedTable::new(version.metadata, location, &rendered));
            warehouse.set_table(&version.ident, pointer, Some(Rc::clone(&loaded)), sequence);
            results.push(loaded);
        }
        Ok(Published::Done(results))
    }

    /// The current version of a table, `None` when there is no such table.
    pub(crate) async fn base(&self, ident: &Ident) -> Result<Option<Rc<LoadedTable>>, CatalogError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let metadata_location = {
                let warehouse = self.warehouse.borrow();
                let Some(table) = warehouse.find(ident) else { return Ok(None) };
                if let Some(loaded) = warehouse.loaded(table) {
                    return Ok(Some(loaded));
                }
                table.pointer.metadata_location.clone()
            };
            let read = self.read_metadata(&metadata_location).await;
            let moved = {
                let warehouse = self.warehouse.borrow();
                warehouse.find(ident).is_none_or(|table| table.pointer.metadata_location != metadata_location)
            };
            // A file that went while the table moved on says nothing about the table.
            if moved {
                continue;
            }
            let loaded = Rc::new(read?);
            self.warehouse.borrow_mut().keep(ident, &loaded);
            return Ok(Some(loaded));
        }
        Err(CatalogError::Contended)
    }
}

/// What can be said of a request without looking at any table.
fn check_changes(changes: &[TableChange]) -> Result<(), CatalogError> {
    for (index, change) in changes.iter().enumerate() {
        if changes.iter().take(index).any(|earlier| earlier.ident == change.ident) {
            return Err(CatalogError::BadRequest(format!(
                "Table is changed twice in one transaction: {}",
                change.ident
            )));
        }
    }
    Ok(())
}

/// Decides what becomes of one table, on the newest base.
fn plan_table(
    warehouse: &Warehouse,
    change: &TableChange,
    base: Option<&Rc<LoadedTable>>,
    draw: &CommitInputs,
) -> Result<Planned, CatalogError> {
    warehouse.namespace(&change.ident.namespace)?;
    if base.is_none() && !change.requirements.iter().any(Requirement::is_assert_create) {
        return Err(CatalogError::NoSuchTable(change.ident.clone()));
    }
    let metadata = base.map(|base| &base.metadata);
    commit::check(&change.requirements, metadata)?;
    let context = commit::Context {
        now_ms: draw.now_ms,
        previous_metadata_location: base.map(|base| base.metadata_location.as_str()),
        new_uuid: &draw.table_uuid,
    };
    match (commit::apply(metadata, &change.updates, &context)?, base) {
        (None, Some(base)) => Ok(Planned::Same(Rc::clone(base))),
        (None, None) => Err(CatalogError::BadRequest("Invalid create: no updates".to_owned())),
        (Some(next), base) => {
            let now_ms = u64::try_from(draw.now_ms).unwrap_or(0);
            let digests = recognise::of_version(change, &next, draw.request, draw.tombstones_max, now_ms);
            let base = base.map(Rc::as_ref);
            let mut version = plan_version(warehouse, &change.ident, next, base, &draw.file_name)?;
            version.digests = digests;
            Ok(Planned::Next(version))
        }
    }
}

/// Lays out the version of a table that `metadata` describes.
pub(crate) fn plan_version(
    warehouse: &Warehouse,
    ident: &Ident,
    metadata: TableMetadata,
    base: Option<&LoadedTable>,
    file_name: &str,
) -> Result<Box<Version>, CatalogError> {
    let location_key = location::table_key(metadata.location(), &warehouse.name)?;
    if base.is_none() {
        at_most("TABLES_MAX", TABLES_MAX, warehouse.tables + 1)?;
    }
    let own = warehouse.find(ident).map(|table| &*table.pointer);
    warehouse.locations.check_free(&location_key, own, metadata.location())?;
    warehouse.uuids.check_free(metadata.uuid(), own)?;
    let earlier = location::earlier(own, &location_key)?;
    let previous = base.map(|base| base.metadata_location.as_str());
    let file = MetadataFile::new(&metadata, previous, file_name, &warehouse.name)?;
    let expired = base.map_or_else(Vec::new, |base| {
        let is_own = |key: &str| {
            let folder = base.metadata.property(location::METADATA_PATH);
            let folder = folder.and_then(|folder| location::object_key(folder, &warehouse.name).ok());
            let folder =
                folder.map(|folder| folder.trim_end_matches('/')).filter(|folder| !folder.is_empty());
            let mut own = own.into_iter().flat_map(Pointer::location_keys).chain(folder);
            own.any(|own| location::lies_in(key, own)) && !warehouse.is_newest_file(key.as_bytes())
        };
        // The table's own newest file is in the log of the next version, so it is never one of these.
        metadata_file::expired(&base.metadata, &metadata, &warehouse.name, is_own)
    });
    let base = previous.map(str::to_owned);
    let (ident, digests) = (ident.clone(), Vec::new());
    Ok(Box::new(Version { ident, metadata, file, location_key, earlier, base, expired, digests }))
}

/// Refuses new locations of one transaction that lie in each other, and one new UUID for two of its tables; those in use were
/// checked per table.
fn check_together(warehouse: &Warehouse, planned: &[Planned]) -> Result<(), CatalogError> {
    let (mut taken, mut uuids) = (location::Locations::default(), Uuids::default());
    for plan in planned {
        if let Planned::Next(version) = plan {
            taken.check_free(&version.location_key, None, version.metadata.location())?;
            let by = location::LocationUser::Table(version.ident.clone());
            taken.take(&version.location_key, by);
            let own = warehouse.find(&version.ident).map(|table| &*table.pointer);
            uuids.check_free(version.metadata.uuid(), own)?;
            uuids.take(version.metadata.uuid());
        }
    }
    Ok(())
}

/// Whether everything the versions were planned on is still so. A location or UUID taken meanwhile is a failure of its own.
fn still_holds(warehouse: &Warehouse, versions: &[Version]) -> Result<bool, CatalogError> {
    for version in versions {
        warehouse.namespace(&version.ident.namespace)?;
        let table = warehouse.find(&version.ident);
        let now = table.map(|table| table.pointer.metadata_location.as_str());
        if now != version.base.as_deref() {
            return Ok(false);
        }
        let own = table.map(|table| &*table.pointer);
        warehouse.locations.check_free(&version.location_key, own, version.metadata.location())?;
        warehouse.uuids.check_free(version.metadata.uuid(), own)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nilas_engine::Sequence;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::commit::NewTable;
    use crate::store::names::NamespaceName;
    use crate::store::state::Namespace;

    fn ident(name: &str) -> Ident {
        Ident::new(NamespaceName::parse("a").expect("valid"), name).expect("valid")
    }

    fn draw() -> CommitInputs {
        CommitInputs {
            now_ms: 2_000,
            table_uuid: "00000000-0000-4000-8000-000000000009".to_owned(),
            file_name: "f".to_owned(),
            request: None,
            tombstones_max: TOMBSTONES_PER_COMMIT_MAX,
        }
    }

    fn table(name: &str, properties: Value) -> TableMetadata {
        let properties = properties.as_object().cloned().unwrap_or_default();
        commit::create(NewTable {
            name,
            uuid: format!("00000000-0000-4000-8000-0000000000{:02x}", name.bytes().fold(0, u8::wrapping_add)),
            location: format!("s3://lake/{name}"),
            schema: &json!({"type": "struct", "fields": [{"id": 1, "name": "x", "required": false, "type": "long"}]}),
            partition_spec: None,
            write_order: None,
            properties: &properties,
            now_ms: 1_000,
        })
        .expect("a good table")
    }

    /// Tables `t` and `u`, each at its first version.
    fn warehouse() -> Warehouse {
        let mut warehouse = Warehouse::new(Arc::from("lake"), Sequence(1));
        warehouse.namespaces.insert("a".to_owned(), Namespace::default());
        for name in ["t", "u"] {
            let first = plan_version(&warehouse, &ident(name), table(name, json!({})), None, "f");
            put(&mut warehouse, *first.expect("planned"));
        }
        warehouse
    }

    fn put(warehouse: &mut Warehouse, version: Version) -> Rc<LoadedTable> {
        let pointer = Pointer {
            uuid: version.metadata.uuid().to_owned(),
            metadata_location: version.file.location.clone(),
            location_key: version.location_key.clone(),
            earlier: version.earlier.clone(),
        };
        let rendered = version.file.rendered.clone();
        let loaded = Rc::new(LoadedTable::new(version.metadata, version.file.location, &rendered));
        warehouse.set_table(&version.ident, pointer, Some(Rc::clone(&loaded)), Sequence(2));
        loaded
    }

    fn base(warehouse: &Warehouse, name: &str) -> Option<Rc<LoadedTable>> {
        warehouse.find(&ident(name)).and_then(|table| warehouse.loaded(table))
    }

    fn change(name: &str, requirements: Value, updates: Value) -> TableChange {
        TableChange {
            ident: ident(name),
            requirements: commit::parse_requirements(&requirements).expect("valid"),
            updates: commit::parse_updates(&updates).expect("valid"),
            sent: None,
        }
    }

    fn plan(warehouse: &Warehouse, change: &TableChange) -> Result<Planned, CatalogError> {
        let name = change.ident.name.clone();
        plan_table(warehouse, change, base(warehouse, &name).as_ref(), &draw())
    }

    fn next(planned: Result<Planned, CatalogError>) -> Version {
        match planned {
            Ok(Planned::Next(version)) => *version,
            Ok(Planned::Same(_)) => panic!("no change"),
            Err(failure) => panic!("{failure:?}"),
        }
    }

    #[test]
    fn a_commit_makes_the_next_file() {
        let warehouse = warehouse();
        let set = json!([{"action": "set-properties", "updates": {"k": "v"}}]);
        let version = next(plan(&warehouse, &change("t", json!([]), set)));
        assert_eq!(version.base.as_deref(), Some("s3://lake/t/metadata/00000-f.metadata.json"));
        assert_eq!(version.file.location, "s3://lake/t/metadata/00001-f.metadata.json");
        assert_eq!(version.file.key, "t/metadata/00001-f.metadata.json");
        assert_eq!(version.metadata.property("k"), Some("v"));
        assert_eq!(version.metadata.metadata_log().len(), 1);
        assert!(still_holds(&warehouse, &[version]).is_ok_and(|holds| holds));
    }

    #[test]
    fn files_are_compressed_and_placed_as_the_table_says() {
        let warehouse = warehouse();
        let set = json!([{"action": "set-properties", "updates": {
            "write.metadata.compression-codec": "gzip", "write.metadata.path": "s3://lake/elsewhere/"}}]);
        let version = next(plan(&warehouse, &change("t", json!([]), set)));
        assert_eq!(version.file.location, "s3://lake/elsewhere/00001-f.gz.metadata.json");
        let read = metadata_file::decode("x", &version.file.body).expect("readable");
        assert_eq!(read, version.metadata);

        let refused = |name: &str, value: &str| {
            let set = json!([{"action": "set-properties", "updates": {name: value}}]);
            assert!(plan(&warehouse, &change("t", json!([]), set)).is_err(), "{name}={value}");
        };
        refused("write.metadata.compression-codec", "snappy");
        refused("write.metadata.path", "s3://other/x");
        refused("write.metadata.path", "s3://lake/../x");
    }

    #[test]
    fn refusals() {
        let warehouse = warehouse();
        let set = || json!([{"action": "set-properties", "updates": {"k": "v"}}]);
        let check = |change: TableChange, want: fn(&CatalogError) -> bool| match plan(&warehouse, &change) {
            Ok(_) => panic!("{change:?} was allowed"),
            Err(failure) => assert!(want(&failure), "{failure:?}"),
        };
        check(change("x", json!([]), set()), |failure| matches!(failure, CatalogError::NoSuchTable(_)));
        check(
            change("t", json!([{"type": "assert-create"}]), set()),
            |failure| matches!(failure, CatalogError::CommitFailed(text) if text == "Requirement failed: table already exists"),
        );
        check(
            change("t", json!([{"type": "assert-current-schema-id", "current-schema-id": 7}]), set()),
            |failure| matches!(failure, CatalogError::CommitFailed(_)),
        );
        let mut elsewhere = change("t", json!([]), set());
        elsewhere.ident.namespace = NamespaceName::parse("b").expect("valid");
        check(elsewhere, |failure| matches!(failure, CatalogError::NoSuchNamespace(_)));
        let moved = |to: &str| change("t", json!([]), json!([{"action": "set-location", "location": to}]));
        check(moved("s3://other/t"), |failure| matches!(failure, CatalogError::Location { .. }));
        check(moved("s3://lake/u/x"), |failure| matches!(failure, CatalogError::LocationTaken { .. }));
        assert!(plan(&warehouse, &moved("s3://lake/t/inside")).is_ok());
    }

    #[test]
    fn nothing_changes() {
        let warehouse = warehouse();
        for updates in [json!([]), json!([{"action": "set-location", "location": "s3://lake/t"}])] {
            assert!(matches!(plan(&warehouse, &change("t", json!([]), updates)), Ok(Planned::Same(_))));
        }
    }

    #[test]
    fn a_staged_table_is_made_by_its_commit() {
        let warehouse = warehouse();
        let updates = json!([
            {"action": "assign-uuid", "uuid": "00000000-0000-4000-8000-00000000000a"},
            {"action": "upgrade-format-version", "format-version": 2},
            {"action": "add-schema", "schema": {"type": "struct", "schema-id": 0,
                "fields": [{"id": 1, "name": "x", "required": false, "type": "long"}]}},
            {"action": "set-current-schema", "schema-id": -1},
            {"action": "add-spec", "spec": {"spec-id": 0, "fields": []}},
            {"action": "set-default-spec", "spec-id": -1},
            {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
            {"action": "set-default-sort-order", "sort-order-id": -1},
            {"action": "set-location", "location": "s3://lake/new"},
        ]);
        let version = next(plan(&warehouse, &change("new", json!([{"type": "assert-create"}]), updates)));
        assert_eq!(version.base, None);
        assert_eq!(version.file.location, "s3://lake/new/metadata/00000-f.metadata.json");
        assert_eq!(version.metadata.uuid(), "00000000-0000-4000-8000-00000000000a");
    }

    #[test]
    fn one_transaction_may_not_nest_its_own_locations() {
        let mut warehouse = warehouse();
        let plans = |warehouse: &Warehouse, first: &str, second: &str| {
            let version = |name: &str, at: &str| {
                let to = json!([{"action": "set-location", "location": at}]);
                plan(warehouse, &change(name, json!([]), to)).expect("planned")
            };
            check_together(warehouse, &[version("t", first), version("u", second)])
        };
        assert!(plans(&warehouse, "s3://lake/x", "s3://lake/y").is_ok());
        assert!(matches!(
            plans(&warehouse, "s3://lake/x", "s3://lake/x/y"),
            Err(CatalogError::LocationTaken { .. })
        ));
        // what was planned does not hold once a table has moved
        let set = json!([{"action": "set-properties", "updates": {"k": "v"}}]);
        let version = next(plan(&warehouse, &change("t", json!([]), set.clone())));
        let planned = next(plan(&warehouse, &change("t", json!([]), set)));
        put(&mut warehouse, planned);
        assert!(still_holds(&warehouse, &[version]).is_ok_and(|holds| !holds));
    }

    #[test]
    fn no_two_tables_have_one_uuid() {
        let warehouse = warehouse();
        let create = |name: &str, uuid: &str| {
            let assign = json!([{"action": "assign-uuid", "uuid": uuid},
                {"action": "upgrade-format-version", "format-version": 2},
                {"action": "add-schema", "schema": {"type": "struct", "schema-id": 0,
                    "fields": [{"id": 1, "name": "x", "required": false, "type": "long"}]}},
                {"action": "set-current-schema", "schema-id": -1},
                {"action": "add-spec", "spec": {"spec-id": 0, "fields": []}},
                {"action": "set-default-spec", "spec-id": -1},
                {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
                {"action": "set-default-sort-order", "sort-order-id": -1},
                {"action": "set-location", "location": format!("s3://lake/{name}")}]);
            plan(&warehouse, &change(name, json!([{"type": "assert-create"}]), assign))
        };
        let is_taken = |failure: &CatalogError| matches!(failure, CatalogError::UuidTaken(_));
        let taken = base(&warehouse, "u").expect("in memory").metadata.uuid().to_owned();
        for spelling in [taken.clone(), taken.to_ascii_uppercase()] {
            assert!(create("v", &spelling).is_err_and(|failure| is_taken(&failure)), "{spelling}");
        }
        let free = "00000000-0000-4000-8000-00000000ABCD";
        let (v, w) =
            (create("v", free).expect("free"), create("w", &free.to_ascii_lowercase()).expect("free"));
        assert!(check_together(&warehouse, std::slice::from_ref(&v)).is_ok());
        assert!(check_together(&warehouse, &[v, w]).is_err_and(|failure| is_taken(&failure)));
    }

    #[test]
    fn a_uuid_that_was_taken_meanwhile_is_refused() {
        let mut warehouse = warehouse();
        let first = |warehouse: &Warehouse, name: &str| {
            let metadata = table("x", json!({}));
            plan_version(warehouse, &ident(name), metadata, None, "f").expect("free")
        };
        let (mut one, other) = (first(&warehouse, "v"), first(&warehouse, "w"));
        one.location_key = "v".to_owned();
        put(&mut warehouse, *one);
        assert!(matches!(still_holds(&warehouse, &[*other]), Err(CatalogError::UuidTaken(_))));
        warehouse.remove_table(&ident("v"));
        assert!(still_holds(&warehouse, &[*first(&warehouse, "w")]).is_ok_and(|holds| holds));
    }

    #[test]
    fn old_files_go_when_the_table_says_so() {
        let mut warehouse = warehouse();
        let set = json!([{"action": "set-properties", "updates": {
            "write.metadata.delete-after-commit.enabled": "true", "write.metadata.previous-versions-max": "1"}}]);
        let planned = next(plan(&warehouse, &change("t", json!([]), set)));
        put(&mut warehouse, planned);
        let set = json!([{"action": "set-properties", "updates": {"k": "v"}}]);
        let version = next(plan(&warehouse, &change("t", json!([]), set)));
        assert_eq!(version.expired, ["t/metadata/00000-f.metadata.json"]);
    }

    #[test]
    fn one_table_twice() {
        let changes = [change("t", json!([]), json!([])), change("t", json!([]), json!([]))];
        assert!(matches!(check_changes(&changes), Err(CatalogError::BadRequest(_))));
        assert!(check_changes(&changes[..1]).is_ok());
        assert!(check_changes(&[]).is_ok());
    }

    #[test]
    fn answers_of_one_version() {
        let warehouse = warehouse();
        let loaded = base(&warehouse, "t").expect("in memory");
        let body: Map<String, Value> = serde_json::from_slice(&loaded.body(false)).expect("JSON");
        assert_eq!(body.get("metadata-location"), Some(&json!("s3://lake/t/metadata/00000-f.metadata.json")));
        assert_eq!(body.get("metadata").and_then(Value::as_object), Some(loaded.metadata.to_json()));
        assert_eq!(loaded.body(true), loaded.body(false));
        assert_eq!(loaded.body_gzip(true), loaded.body_gzip(false));
    }
}
