//! Tables: create, load, list, exists, drop, rename, register. Commits are in `commit`.

use std::rc::Rc;

use nilas_engine::{EngineError, Sequence, Transaction};
use serde_json::{Map, Value};

use crate::access::{FileTable, KeptPrincipal};
use crate::commit::{self as core, NewTable};
use crate::limits::{COMMIT_ATTEMPTS_MAX, GZIP_BYTES_MIN, PURGES_OPEN_MAX};
use crate::model::{Pointer, Purge, PurgePlace, Recorded};
use crate::spec::TableMetadata;
use crate::store::claim::IdempotencyGuard;
use crate::store::commit::{Published, plan_version};
use crate::store::failure::CatalogError;
use crate::store::idempotency::IdempotencyKey;
use crate::store::location::{Chosen, METADATA_PATH};
use crate::store::names::{Ident, Names, NamespaceName};
use crate::store::state::{LoadedTable, Page, PageQuery, Table, Warehouse};
use crate::store::values;
use crate::store::{Outcome, Store, TablePlace, location, metadata_file};

/// The body of a create request.
#[derive(Debug)]
pub(crate) struct CreateTable {
    pub(crate) ident: Ident,
    pub(crate) location: Option<String>,
    pub(crate) schema: Value,
    pub(crate) partition_spec: Option<Value>,
    pub(crate) write_order: Option<Value>,
    pub(crate) properties: Map<String, Value>,
    /// Answer with the table's first metadata, but keep nothing: who asks for that.
    pub(crate) staged_by: Option<String>,
}

/// In which form a table is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoadTable {
    pub(crate) refs_only: bool,
    pub(crate) gzip: bool,
    /// The raw `If-None-Match`.
    pub(crate) if_none_match: Option<String>,
}

impl Store {
    pub(crate) async fn create_table(
        &self,
        create: &CreateTable,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        if let Some(by) = &create.staged_by {
            return self.stage_table(create, by).await;
        }
        self.mutate(Some(&create.ident), key, async |claim| {
            for _ in 0..COMMIT_ATTEMPTS_MAX {
                let version = {
                    let warehouse = self.warehouse.borrow();
                    let metadata = plan_create(&warehouse, create, self.new_uuid(), self.now_ms())?;
                    plan_version(&warehouse, &create.ident, metadata, None, &self.new_uuid())?
                };
                match self.publish(vec![*version], true, claim).await? {
                    Published::Done(loaded) => {
                        let answer =
                            |loaded: &Rc<LoadedTable>| self.table_outcome(Some(&create.ident), loaded);
                        return Ok(loaded.first().map_or(Outcome::Empty, answer));
                    }
                    Published::Moved => {}
                }
            }
            Err(CatalogError::Contended)
        })
        .await
    }

    async fn stage_table(&self, create: &CreateTable, by: &str) -> Result<Outcome, CatalogError> {
        let (uuid, now_ms) = (self.new_uuid(), self.now_ms());
        let read = self.read(|warehouse| {
            let metadata = plan_create(warehouse, create, uuid, now_ms)?;
            let key = location::table_key(metadata.location(), &warehouse.name)?;
            // Everything that the commit would refuse is refused here already.
            let version = plan_version(warehouse, &create.ident, metadata, None, "staged")?;
            let body = metadata_file::body(None, &version.file.rendered);
            let place = self.place(warehouse, &create.ident, &version.metadata);
            Ok(((Outcome::Table { body, gzip: false, etag: None, place }, key), warehouse.newest))
        });
        let (outcome, key) = read.await?;
        if create.location.is_none() {
            self.warehouse.borrow_mut().staged.insert(key, by);
        }
        Ok(outcome)
    }

    pub(crate) async fn load_table(&self, ident: &Ident, form: &LoadTable) -> Result<Outcome, CatalogError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let (metadata_location, loaded, place) = self
                .read(|warehouse| {
                    let table = warehouse.table(ident)?;
                    let loaded = warehouse.loaded(table);
                    let place =
                        loaded.as_ref().and_then(|loaded| self.place(warehouse, ident, &loaded.metadata));
                    Ok(((table.pointer.metadata_location.clone(), loaded, place), table.sequence))
                })
                .await?;
            let tags =
                [false, true].map(|gzip| metadata_file::table_etag(&metadata_location, form.refs_only, gzip));
            let wanted = form.if_none_match.as_deref().unwrap_or_default();
            // Both encodings are of one version: whoever holds either holds it still.
            if let Some(etag) = tags.iter().find(|tag| matches_etag(wanted, tag)) {
                return Ok(Outcome::NotModified { etag: etag.clone() });
            }
            let Some(loaded) = loaded else {
                // Brings the version into memory; the next look finds it there, unless the table moved on.
                self.base(ident).await?;
                continue;
            };
            let plain = loaded.body(form.refs_only);
            let gzip = form.gzip && GZIP_BYTES_MIN < plain.len();
            let [plain_tag, gzip_tag] = tags;
            let etag = if gzip { gzip_tag } else { plain_tag };
            if wanted.trim() == "*" {
                return Ok(Outcome::NotModified { etag });
            }
            let body = if gzip { loaded.body_gzip(form.refs_only) } else { plain };
            return Ok(Outcome::Table { body, gzip, etag: Some(etag), place });
        }
        Err(CatalogError::Contended)
    }

    /// The ids of tables, in lower case; `None` for one that is not there.
    pub(crate) async fn table_ids(&self, tables: &[Ident]) -> Result<Vec<Option<String>>, CatalogError> {
        let id = |table: &Table| table.pointer.uuid.to_ascii_lowercase();
        self.read(|warehouse| {
            Ok((tables.iter().map(|ident| warehouse.find(ident).map(id)).collect(), warehouse.newest))
        })
        .await
    }

    /// The tables in whose locations these keys lie, as they are called now.
    pub(crate) async fn tables_of_keys(
        &self,
        keys: &[String],
    ) -> Result<Vec<Option<FileTable>>, CatalogError> {
        self.read(|warehouse| {
            let mut seen = Sequence(0);
            let found = keys.iter().map(|key| {
                let found = warehouse.table_of_key(key);
                // That there is none is of the newest.
                seen = seen.max(found.map_or(warehouse.newest, |(_, table)| table.sequence));
                found.map(|(ident, table)| FileTable {
                    namespace: ident.namespace.as_str().to_owned(),
                    table: ident.name.clone(),
                    id: table.pointer.uuid.to_ascii_lowercase(),
                })
            });
            Ok((found.collect(), seen))
        })
        .await
    }

    /// Whether each of these places is the table's own already, or new.
    pub(crate) async fn are_own(&self, chosen: &[Chosen], by: &str) -> Result<Vec<bool>, CatalogError> {
        self.read(|warehouse| {
            let own = chosen.iter().map(|chosen| chosen.is_own(by, warehouse, &self.bucket));
            Ok((own.collect(), warehouse.newest))
        })
        .await
    }

    /// Where the files of a table are; `None` when it has no place to itself.
    pub(crate) async fn table_place(&self, ident: &Ident) -> Result<Option<TablePlace>, CatalogError> {
        match self.load_table(ident, &LoadTable::default()).await? {
            Outcome::Table { place, .. } => Ok(place),
            Outcome::Empty | Outcome::Json(_) | Outcome::Secret(_) | Outcome::NotModified { .. } => Ok(None),
        }
    }

    pub(crate) async fn table_exists(&self, ident: &Ident) -> Result<Outcome, CatalogError> {
        self.read(|warehouse| warehouse.table(ident).map(|table| (Outcome::Empty, table.sequence))).await
    }

    /// How much of `names` is there: 2 when all of it, 1 when the namespace of a table, else 0.
    pub(crate) async fn known(&self, names: &Names) -> Result<u8, CatalogError> {
        self.read(|warehouse| {
            let has = |namespace: &NamespaceName| warehouse.namespace(namespace).is_ok();
            let known = match names {
                Names::Nothing => 0,
                Names::Namespace(namespace) => 2 * u8::from(has(namespace)),
                Names::Ident(ident) => {
                    u8::from(has(&ident.namespace)) + u8::from(warehouse.find(ident).is_some())
                }
            };
            Ok((known, warehouse.newest))
        })
        .await
    }

    pub(crate) async fn list_tables(
        &self,
        namespace: &NamespaceName,
        page: PageQuery,
    ) -> Result<Page, CatalogError> {
        self.read(|warehouse| Ok((warehouse.namespace(namespace)?.table_names(&page), warehouse.newest)))
            .await
    }

    /// Forgets a table. With `purge`, that of this principal begins in the same record; [`Store::start_purges`] has it
    /// worked off.
    pub(crate) async fn drop_table(
        &self,
        ident: &Ident,
        purge: Option<KeptPrincipal>,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        self.mutate(None, key, async |claim| {
            let mut warehouse = self.warehouse.borrow_mut();
            let purge = plan_purge(&warehouse, ident, purge, self.bucket.now_ms())?;
            let mut values = vec![(values::table_key(ident), None)];
            values.extend(self.drop_digests(&warehouse.table(ident)?.pointer.uuid));
            if let Some((key, purge)) = &purge {
                values.push((values::purge_key(key), Some(values::purge_value(purge))));
            }
            let transaction = Transaction { values, ..Transaction::default() };
            self.append(&mut warehouse, transaction, claim, Recorded::Empty)?;
            warehouse.remove_table(ident);
            if let Some((key, purge)) = purge {
                warehouse.set_purge(key, purge);
            }
            Ok(Outcome::Empty)
        })
        .await
    }

    pub(crate) async fn rename_table(
        &self,
        from: &Ident,
        to: &Ident,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        self.mutate(None, key, async |claim| {
            let mut warehouse = self.warehouse.borrow_mut();
            self.judged.check(&warehouse)?;
            let Some(pointer) = plan_rename(&warehouse, from, to)? else {
                return Ok(Outcome::Empty);
            };
            let values = vec![
                (values::table_key(from), None),
                (values::table_key(to), Some(values::table_value(&pointer))),
            ];
            let transaction = Transaction { values, ..Transaction::default() };
            let sequence = self.append(&mut warehouse, transaction, claim, Recorded::Empty)?;
            let loaded = warehouse.find(from).and_then(|table| warehouse.loaded(table));
            warehouse.remove_table(from);
            warehouse.set_table(to, pointer, loaded, sequence);
            Ok(Outcome::Empty)
        })
        .await
    }

    /// What a metadata file says that is to be registered.
    pub(crate) async fn look_at_metadata(&self, metadata_location: &str) -> Result<Registered, CatalogError> {
        self.check_open()?;
        Ok(Registered::of(&self.read_client_metadata(metadata_location).await?.metadata))
    }

    /// Points a name at a metadata file that is already in the warehouse, and says what `seen` says; `None`: it could not be
    /// read when it was looked at.
    pub(crate) async fn register_table(
        &self,
        ident: &Ident,
        metadata_location: &str,
        overwrite: bool,
        seen: Option<&Registered>,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        let register = async |claim: &IdempotencyGuard| {
            self.register(ident, metadata_location, overwrite, seen, claim).await
        };
        self.mutate(Some(ident), key, register).await
    }

    async fn register(
        &self,
        ident: &Ident,
        metadata_location: &str,
        overwrite: bool,
        seen: Option<&Registered>,
        claim: &IdempotencyGuard,
    ) -> Result<Outcome, CatalogError> {
        check_free_name(&self.warehouse.borrow(), ident, overwrite)?;
        let loaded = self.read_client_metadata(metadata_location).await?;
        if Some(&Registered::of(&loaded.metadata)) != seen {
            // The file was replaced since the sender was judged on it.
            return Err(CatalogError::Moved);
        }
        if let Err(invalid) = loaded.metadata.check_loads() {
            return Err(CatalogError::BadRequest(format!(
                "Invalid metadata file {metadata_location}: {invalid}"
            )));
        }
        let mut warehouse = self.warehouse.borrow_mut();
        let pointer = plan_register(&warehouse, ident, &loaded, overwrite)?;
        let mut values = vec![(values::table_key(ident), Some(values::table_value(&pointer)))];
        values.extend(warehouse.digests.plan_return(&pointer.uuid));
        let replaced = warehouse.find(ident).map(|table| &table.pointer.uuid);
        if let Some(replaced) = replaced.filter(|replaced| !replaced.eq_ignore_ascii_case(&pointer.uuid)) {
            values.extend(self.drop_digests(replaced));
        }
        let transaction = Transaction { values, ..Transaction::default() };
        let recorded = Recorded::Table { metadata_location: metadata_location.to_owned() };
        let sequence = self.append(&mut warehouse, transaction, claim, recorded)?;
        warehouse.set_table(ident, pointer, Some(Rc::clone(&loaded)), sequence);
        drop(warehouse);
        Ok(self.table_outcome(Some(ident), &loaded))
    }

    /// Reads a metadata file that a client names: what is wrong with it is wrong with the request.
    async fn read_client_metadata(&self, metadata_location: &str) -> Result<Rc<LoadedTable>, CatalogError> {
        match self.read_metadata(metadata_location).await {
            Ok(loaded) => Ok(Rc::new(loaded)),
            Err(CatalogError::Damaged { why, .. }) => {
                Err(CatalogError::BadRequest(format!("Invalid metadata file {metadata_location}: {why}")))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// What a metadata file says of itself that decides who may register it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) uuid: String,
    pub(crate) location: String,
    /// Where the table's metadata files are written to, if elsewhere.
    pub(crate) metadata_path: Option<String>,
}

impl Registered {
    fn of(metadata: &TableMetadata) -> Registered {
        Registered {
            uuid: metadata.uuid().to_owned(),
            location: metadata.location().to_owned(),
            metadata_path: metadata.property(METADATA_PATH).map(str::to_owned),
        }
    }
}

fn check_free_name(warehouse: &Warehouse, ident: &Ident, overwrite: bool) -> Result<(), CatalogError> {
    warehouse.namespace(&ident.namespace)?;
    if warehouse.find(ident).is_some() && !overwrite {
        return Err(CatalogError::TableExists(ident.clone()));
    }
    Ok(())
}

fn plan_create(
    warehouse: &Warehouse,
    create: &CreateTable,
    uuid: String,
    now_ms: i64,
) -> Result<TableMetadata, CatalogError> {
    check_free_name(warehouse, &create.ident, false)?;
    let location = match &create.location {
        Some(location) => location.trim_end_matches('/').to_owned(),
        None => location::default_location(warehouse, &create.ident.namespace, &uuid),
    };
    location::table_key(&location, &warehouse.name)?;
    let table = NewTable {
        name: &create.ident.name,
        uuid,
        location,
        schema: &create.schema,
        partition_spec: create.partition_spec.as_ref(),
        write_order: create.write_order.as_ref(),
        properties: &create.properties,
        now_ms,
    };
    Ok(core::create(table)?)
}

/// The purge of a table that is dropped, and its key; `None` when none is asked for.
fn plan_purge(
    warehouse: &Warehouse,
    ident: &Ident,
    asked_by: Option<KeptPrincipal>,
    now_ms: u64,
) -> Result<Option<(String, Purge)>, CatalogError> {
    let pointer = &warehouse.table(ident)?.pointer;
    let Some(asked_by) = asked_by else { return Ok(None) };
    if PURGES_OPEN_MAX <= warehouse.purges.open().len() {
        let (limit, max) = ("PURGES_OPEN_MAX", PURGES_OPEN_MAX as u64);
        return Err(CatalogError::Engine(EngineError::Busy { limit, max }));
    }
    let purge = Purge {
        table: ident.to_string(),
        uuid: pointer.uuid.clone(),
        metadata_location: pointer.metadata_location.clone(),
        locations: pointer.location_keys().map(str::to_owned).collect(),
        since_ms: now_ms,
        asked_by,
        at: PurgePlace::default(),
        snapshots: 0,
        deleted: 0,
        failed: 0,
        unreadable: 0,
        left: Vec::new(),
        ended_ms: None,
    };
    Ok(Some((pointer.location_key.clone(), purge)))
}

/// The pointer to move, `None` when both names are the same.
fn plan_rename(warehouse: &Warehouse, from: &Ident, to: &Ident) -> Result<Option<Pointer>, CatalogError> {
    let table = warehouse.table(from)?;
    if from == to {
        return Ok(None);
    }
    warehouse.namespace(&to.namespace)?;
    if warehouse.find(to).is_some() {
        return Err(CatalogError::RenameTaken { from: from.clone(), to: to.clone() });
    }
    Ok(Some(Pointer::clone(&table.pointer)))
}

fn plan_register(
    warehouse: &Warehouse,
    ident: &Ident,
    loaded: &LoadedTable,
    overwrite: bool,
) -> Result<Pointer, CatalogError> {
    check_free_name(warehouse, ident, overwrite)?;
    let location_key = location::table_key(loaded.metadata.location(), &warehouse.name)?;
    let own = warehouse.find(ident).map(|table| &*table.pointer);
    warehouse.locations.check_free(&location_key, own, loaded.metadata.location())?;
    warehouse.uuids.check_free(loaded.metadata.uuid(), own)?;
    // Another table's files are its own no longer, as when it is dropped.
    let same = own.filter(|own| own.uuid == loaded.metadata.uuid());
    Ok(Pointer {
        uuid: loaded.metadata.uuid().to_owned(),
        metadata_location: loaded.metadata_location.clone(),
        earlier: location::earlier(same, &location_key)?,
        location_key,
    })
}

/// Whether an `If-None-Match` list names `etag`; weak and strong tags compare alike (RFC 9110, 13.1.2). A `*` names none.
fn matches_etag(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nilas_engine::Sequence;

    use super::*;
    use crate::limits::LOCATION_KEY_BYTES_MAX;
    use crate::store::state::Namespace;

    fn ident(namespace: &str, name: &str) -> Ident {
        Ident::new(NamespaceName::parse(namespace).expect("valid"), name).expect("valid")
    }

    fn warehouse() -> Warehouse {
        let mut warehouse = Warehouse::new(Arc::from("lake"), Sequence(1));
        for name in ["a", "b"] {
            warehouse.namespaces.insert(name.to_owned(), Namespace::default());
        }
        for name in ["t", "u"] {
            let pointer = Pointer {
                uuid: name.to_owned(),
                metadata_location: format!("s3://lake/{name}/metadata/00000-x.metadata.json"),
                location_key: name.to_owned(),
                earlier: Vec::new(),
            };
            warehouse.set_table(&ident("a", name), pointer, None, Sequence(2));
        }
        warehouse
    }

    #[test]
    fn renames() {
        let warehouse = warehouse();
        let plan = |from: &Ident, to: &Ident| plan_rename(&warehouse, from, to);
        assert!(matches!(plan(&ident("a", "t"), &ident("b", "t")), Ok(Some(p)) if p.uuid == "t"));
        assert!(matches!(plan(&ident("a", "t"), &ident("a", "t")), Ok(None)));
        assert!(matches!(plan(&ident("a", "x"), &ident("b", "t")), Err(CatalogError::NoSuchTable(_))));
        assert!(matches!(plan(&ident("a", "t"), &ident("c", "t")), Err(CatalogError::NoSuchNamespace(_))));
        assert!(matches!(plan(&ident("a", "t"), &ident("a", "u")), Err(CatalogError::RenameTaken { .. })));
    }

    #[test]
    fn names_in_use() {
        let warehouse = warehouse();
        assert!(matches!(
            check_free_name(&warehouse, &ident("a", "t"), false),
            Err(CatalogError::TableExists(_))
        ));
        assert!(check_free_name(&warehouse, &ident("a", "t"), true).is_ok());
        assert!(check_free_name(&warehouse, &ident("b", "t"), false).is_ok());
        assert!(matches!(
            check_free_name(&warehouse, &ident("c", "t"), false),
            Err(CatalogError::NoSuchNamespace(_))
        ));
    }

    #[test]
    fn tables_lie_where_their_namespace_says() {
        let mut warehouse = warehouse();
        let mut check = |location: Option<&str>, want: &str| {
            let properties = location.map(|location| ("location".to_owned(), location.into()));
            let namespace =
                Namespace { properties: properties.into_iter().collect(), ..Namespace::default() };
            warehouse.namespaces.insert("b".to_owned(), namespace);
            let name = NamespaceName::parse("b").expect("valid");
            let got = location::default_location(&warehouse, &name, "u");
            assert_eq!(got, format!("{want}/u"), "{location:?}");
        };
        check(None, "s3://lake");
        check(Some("s3://lake/sales/eu/"), "s3://lake/sales/eu");
        check(Some("s3a://lake/x"), "s3a://lake/x");
        check(Some("s3://lake"), "s3://lake");
        check(Some("s3://lake/"), "s3://lake");
        check(Some("s3://other/x"), "s3://lake");
        check(Some("s3://lake2/x"), "s3://lake");
        check(Some("s3://lake/../x"), "s3://lake");
        check(Some("/srv/warehouse"), "s3://lake");
        check(Some(""), "s3://lake");
        check(Some("s3://lake/a/./b"), "s3://lake");
        check(Some("s3://lake/a//b"), "s3://lake");
        check(Some("s3://lake//a"), "s3://lake");
        let of = |key_bytes: usize| format!("s3://lake/{}", "k".repeat(key_bytes));
        let longest = of(LOCATION_KEY_BYTES_MAX - "/u".len());
        check(Some(&longest), &longest);
        check(Some(&format!("{longest}k")), "s3://lake");
    }

    #[test]
    fn etags() {
        let check = |list: &str, want: bool| assert_eq!(matches_etag(list, "\"ab\""), want, "{list}");
        check("\"ab\"", true);
        check("W/\"ab\"", true);
        check("\"x\", \"ab\"", true);
        check("*", false);
        check("ab", false);
        check("\"a\"", false);
        check("", false);
    }
}
