//! What one shard's core knows of its warehouses: built from its values at first use, and from then on the cache.
//!
//! Changed only together with `LocalBucket::append`, in the same breath. Nothing here waits; no borrow of it lives across
//! an await. I1. Every table has a namespace. I2. `locations` holds exactly the tables' locations, earlier ones included,
//! and those of open purges.
//! I3. `newest` is at least the sequence of everything visible here: whoever tells of absence waits for it.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::{BucketId, Sequence};
use serde_json::{Map, Value};

use crate::limits::{CACHE_BYTES_MAX, PAGE_SIZE_MAX, STAGED_PLACES_MAX};
use crate::model::{Pointer, Purge};
use crate::spec::TableMetadata;
use crate::store::failure::CatalogError;
use crate::store::idempotency::Idempotency;
use crate::store::location::{LocationUser, Locations, file_of};
use crate::store::metadata_file;
use crate::store::names::{Ident, NamespaceName, SEPARATOR};
use crate::store::purge_state::{self, Purges};
use crate::store::recognise::Standing;
use crate::store::values::{self, StoredValue};

/// The catalog's extension of one shard.
#[derive(Default)]
pub(crate) struct CatalogState {
    warehouses: RefCell<HashMap<BucketId, Rc<RefCell<Warehouse>>>>,
    /// Whether a task works off the purges of this shard.
    pub(crate) purging: Cell<bool>,
}

impl CatalogState {
    pub(crate) fn get(&self, bucket: BucketId) -> Option<Rc<RefCell<Warehouse>>> {
        self.warehouses.borrow().get(&bucket).cloned()
    }

    pub(crate) fn put(&self, bucket: BucketId, warehouse: Warehouse) -> Rc<RefCell<Warehouse>> {
        let warehouse = Rc::new(RefCell::new(warehouse));
        self.warehouses.borrow_mut().insert(bucket, Rc::clone(&warehouse));
        warehouse
    }

    /// The open purge that was asked for first, of any warehouse here, but for those of `but`: its bucket, that bucket's
    /// name, and its key.
    pub(crate) fn oldest_purge(
        &self,
        but: &BTreeSet<(BucketId, String)>,
    ) -> Option<(BucketId, Arc<str>, String)> {
        let mut oldest: Option<(u64, BucketId, String)> = None;
        for (bucket, warehouse) in self.warehouses.borrow().iter() {
            let warehouse = warehouse.borrow();
            let mut open = warehouse.purges.open();
            let Some((since_ms, key)) = open.find(|(_, key)| !but.contains(&(*bucket, (*key).to_owned())))
            else {
                continue;
            };
            if oldest.as_ref().is_none_or(|(since, bucket_id, _)| (since_ms, *bucket) < (*since, *bucket_id))
            {
                oldest = Some((since_ms, *bucket, key.to_owned()));
            }
        }
        let (_, bucket, key) = oldest?;
        let name = Arc::clone(&self.get(bucket)?.borrow().name);
        Some((bucket, name, key))
    }

    /// Forgets a warehouse; the next use builds it from its values again.
    pub(crate) fn forget(&self, bucket: BucketId) {
        let forgotten = self.warehouses.borrow_mut().remove(&bucket);
        drop(forgotten);
    }
}

/// One warehouse: its namespaces and tables.
pub(crate) struct Warehouse {
    pub(crate) name: Arc<str>,
    pub(crate) namespaces: BTreeMap<String, Namespace>,
    pub(crate) tables: usize,
    pub(crate) locations: Locations,
    /// How many tables point at a metadata file, by the digest of its key: no purge deletes one of these.
    newest_files: HashMap<[u8; 16], u32>,
    /// Those of the tables.
    pub(crate) uuids: Uuids,
    /// Not in any value: a restart forgets them.
    pub(crate) staged: StagedPlaces,
    pub(crate) idempotency: Idempotency,
    pub(crate) purges: Purges,
    /// Digests of commits that wait to be removed; the digests themselves are read from their values.
    pub(crate) digests: Standing,
    pub(crate) newest: Sequence,
    /// Deleted: nothing may be changed any more.
    pub(crate) closed: bool,
    cached_bytes: usize,
    clock: Cell<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Namespace {
    pub(crate) properties: Map<String, Value>,
    /// Made as the parent of another, and without properties since.
    pub(crate) is_implied: bool,
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) sequence: Sequence,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) pointer: Rc<Pointer>,
    pub(crate) sequence: Sequence,
    loaded: Option<Rc<LoadedTable>>,
    used: Cell<u64>,
}

/// One version of a table, decoded, with the bodies that answer for it.
pub(crate) struct LoadedTable {
    pub(crate) metadata: TableMetadata,
    pub(crate) metadata_location: String,
    cost: usize,
    bodies: RefCell<Bodies>,
}

#[derive(Default)]
struct Bodies {
    all: Option<Bytes>,
    all_gzip: Option<Bytes>,
    refs: Option<Bytes>,
    refs_gzip: Option<Bytes>,
}

impl std::fmt::Debug for LoadedTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedTable")
            .field("metadata_location", &self.metadata_location)
            .finish_non_exhaustive()
    }
}

impl LoadedTable {
    /// `rendered` is what `metadata.render()` gives.
    pub(crate) fn new(metadata: TableMetadata, metadata_location: String, rendered: &[u8]) -> LoadedTable {
        let all = metadata_file::body(Some(&metadata_location), rendered);
        // Decoded metadata takes a few times its text; the answers are kept as text.
        let cost = rendered.len().saturating_mul(6);
        let bodies = RefCell::new(Bodies { all: Some(all), ..Bodies::default() });
        LoadedTable { metadata, metadata_location, cost, bodies }
    }

    /// The `loadTable` answer, made at most once per version and form.
    pub(crate) fn body(&self, refs_only: bool) -> Bytes {
        let mut bodies = self.bodies.borrow_mut();
        let made = if refs_only { &mut bodies.refs } else { &mut bodies.all };
        made.get_or_insert_with(|| {
            let metadata = if refs_only { self.metadata.render_refs_only() } else { self.metadata.render() };
            metadata_file::body(Some(&self.metadata_location), &metadata)
        })
        .clone()
    }

    /// As [`LoadedTable::body`], compressed.
    pub(crate) fn body_gzip(&self, refs_only: bool) -> Bytes {
        let plain = self.body(refs_only);
        let mut bodies = self.bodies.borrow_mut();
        let made = if refs_only { &mut bodies.refs_gzip } else { &mut bodies.all_gzip };
        made.get_or_insert_with(|| Bytes::from(metadata_file::gzip(&plain))).clone()
    }
}

/// One page of names, and the token that continues after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) names: Vec<String>,
    pub(crate) next: Option<String>,
}

/// Which page is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageQuery {
    /// `None`: everything at once.
    pub(crate) size: Option<usize>,
    /// Names after this one.
    pub(crate) after: Option<String>,
}

impl PageQuery {
    /// Cuts the page out of `names`, which are ordered and begin behind `after`.
    pub(crate) fn cut(&self, names: impl Iterator<Item = String>) -> Page {
        let Some(size) = self.size else { return Page { names: names.collect(), next: None } };
        let size = size.clamp(1, PAGE_SIZE_MAX);
        let mut names: Vec<String> = names.take(size + 1).collect();
        let more = size < names.len();
        names.truncate(size);
        let next = names.last().filter(|_| more).cloned();
        Page { names, next }
    }
}

impl Warehouse {
    pub(crate) fn new(name: Arc<str>, newest: Sequence) -> Warehouse {
        Warehouse {
            name,
            namespaces: BTreeMap::new(),
            tables: 0,
            locations: Locations::default(),
            newest_files: HashMap::new(),
            uuids: Uuids::default(),
            staged: StagedPlaces::default(),
            idempotency: Idempotency::default(),
            purges: Purges::default(),
            digests: Standing::default(),
            newest,
            closed: false,
            cached_bytes: 0,
            clock: Cell::new(0),
        }
    }

    /// Takes in one value, in key order (so namespaces come before their tables).
    pub(crate) fn take_value(&mut self, key: &[u8], value: &Bytes) -> Result<(), CatalogError> {
        match values::decode(key, value)? {
            StoredValue::Namespace { name, properties, is_implied } => {
                let namespace =
                    Namespace { properties, is_implied, tables: BTreeMap::new(), sequence: self.newest };
                self.namespaces.insert(name.as_str().to_owned(), namespace);
            }
            StoredValue::Table(ident, pointer) => {
                if !self.namespaces.contains_key(ident.namespace.as_str()) {
                    return Err(CatalogError::Damaged {
                        what: format!("catalog value of table {ident}"),
                        why: "its namespace has no value".to_owned(),
                    });
                }
                self.set_table(&ident, pointer, None, self.newest);
            }
            StoredValue::Idempotency(id, remembered) => self.idempotency.remember(id, remembered),
            StoredValue::Purge(key, purge) => self.set_purge(key, purge),
            StoredValue::RootlessPurge(key) => {
                let purge = purge_state::rootless(&self.name, &key);
                self.set_purge(key, purge);
            }
            StoredValue::Digest => {}
            StoredValue::Waiting => self.digests.follow(&Bytes::copy_from_slice(key), Some(value)),
        }
        Ok(())
    }

    pub(crate) fn namespace(&self, name: &NamespaceName) -> Result<&Namespace, CatalogError> {
        self.namespaces.get(name.as_str()).ok_or_else(|| CatalogError::NoSuchNamespace(name.clone()))
    }

    /// Finds a table. [`CatalogError::NoSuchTable`] also when its namespace is missing, as the protocol has it.
    pub(crate) fn table(&self, ident: &Ident) -> Result<&Table, CatalogError> {
        self.find(ident).ok_or_else(|| CatalogError::NoSuchTable(ident.clone()))
    }

    pub(crate) fn find(&self, ident: &Ident) -> Option<&Table> {
        self.namespaces.get(ident.namespace.as_str()).and_then(|namespace| namespace.tables.get(&ident.name))
    }

    /// The name of a table with this UUID. Looks through all of them: for what is rare.
    pub(crate) fn find_by_uuid(&self, uuid: &str) -> Option<Ident> {
        self.namespaces.iter().find_map(|(namespace, Namespace { tables, .. })| {
            let mut tables = tables.iter();
            let (name, _) = tables.find(|(_, table)| table.pointer.uuid.eq_ignore_ascii_case(uuid))?;
            Ident::new(NamespaceName::parse(namespace).ok()?, name).ok()
        })
    }

    /// The table in whose locations a key lies, and its name.
    pub(crate) fn table_of_key(&self, key: &str) -> Option<(&Ident, &Table)> {
        let ident = self.locations.table_of(key)?;
        Some((ident, self.find(ident)?))
    }

    /// The version in memory, marked as used.
    pub(crate) fn loaded(&self, table: &Table) -> Option<Rc<LoadedTable>> {
        let now = self.clock.get() + 1;
        self.clock.set(now);
        table.used.set(now);
        table.loaded.clone()
    }

    /// Points `ident` at a version. Its namespace must be there.
    pub(crate) fn set_table(
        &mut self,
        ident: &Ident,
        pointer: Pointer,
        loaded: Option<Rc<LoadedTable>>,
        sequence: Sequence,
    ) {
        self.remove_table(ident);
        for key in pointer.location_keys() {
            self.locations.take(key, LocationUser::Table(ident.clone()));
        }
        *self.newest_files.entry(newest_file(&pointer)).or_default() += 1;
        self.uuids.take(&pointer.uuid);
        self.cached_bytes += loaded.as_ref().map_or(0, |loaded| loaded.cost);
        self.clock.set(self.clock.get() + 1);
        let used = Cell::new(self.clock.get());
        let table = Table { pointer: Rc::new(pointer), sequence, loaded, used };
        let namespace = self.namespaces.get_mut(ident.namespace.as_str());
        let namespace = namespace.expect("callers look the namespace up first, in the same breath");
        namespace.tables.insert(ident.name.clone(), table);
        self.tables += 1;
        self.trim();
    }

    /// Takes a purge in: one that begins, or one that is a value. An open one has its locations to itself.
    pub(crate) fn set_purge(&mut self, key: String, purge: Purge) {
        if purge.ended_ms.is_none() {
            for location in &purge.locations {
                self.locations.take(location, LocationUser::Purge(purge.table.clone()));
            }
        }
        self.purges.insert(key, purge);
    }

    /// Ends an open purge and releases its locations; those of `crowded_out` are not kept any longer.
    pub(crate) fn end_purge(&mut self, key: &str, ended: Purge, crowded_out: &[String]) {
        for location in &ended.locations {
            self.locations.release(location);
        }
        self.purges.end(key, ended, crowded_out);
    }

    /// Forgets a table and releases its locations.
    pub(crate) fn remove_table(&mut self, ident: &Ident) -> Option<Table> {
        let namespace = self.namespaces.get_mut(ident.namespace.as_str())?;
        let table = namespace.tables.remove(&ident.name)?;
        for key in table.pointer.location_keys() {
            self.locations.release(key);
        }
        if let Entry::Occupied(mut users) = self.newest_files.entry(newest_file(&table.pointer)) {
            *users.get_mut() -= 1;
            if *users.get() == 0 {
                users.remove();
            }
        }
        self.uuids.release(&table.pointer.uuid);
        self.cached_bytes -= table.loaded.as_ref().map_or(0, |loaded| loaded.cost);
        self.tables -= 1;
        Some(table)
    }

    /// Whether the key is the newest metadata file of a table.
    pub(crate) fn is_newest_file(&self, key: &[u8]) -> bool {
        self.newest_files.contains_key(&metadata_file::digest(&[key]))
    }

    /// Keeps a version that was read, if the table still points at it.
    pub(crate) fn keep(&mut self, ident: &Ident, loaded: &Rc<LoadedTable>) -> bool {
        let Some(namespace) = self.namespaces.get_mut(ident.namespace.as_str()) else { return false };
        let Some(table) = namespace.tables.get_mut(&ident.name) else { return false };
        if table.pointer.metadata_location != loaded.metadata_location {
            return false;
        }
        if table.loaded.is_none() {
            self.cached_bytes += loaded.cost;
            table.loaded = Some(Rc::clone(loaded));
        }
        self.trim();
        true
    }

    /// Drops what was used longest ago once the bound is passed, down to half of it so that this is rare.
    fn trim(&mut self) {
        if self.cached_bytes <= CACHE_BYTES_MAX {
            return;
        }
        let tables = self.namespaces.values_mut().flat_map(|namespace| namespace.tables.values_mut());
        let mut tables: Vec<&mut Table> = tables.filter(|table| table.loaded.is_some()).collect();
        tables.sort_unstable_by_key(|table| table.used.get());
        // Whoever has just asked for a version larger than the bound must still find it.
        tables.pop();
        for table in tables {
            if self.cached_bytes <= CACHE_BYTES_MAX / 2 {
                break;
            }
            self.cached_bytes -= table.loaded.take().map_or(0, |loaded| loaded.cost);
        }
    }

    /// Direct children of `parent` (or of the root), by their whole names.
    pub(crate) fn children(&self, parent: Option<&NamespaceName>, page: &PageQuery) -> Page {
        let prefix = parent.map_or_else(String::new, |name| format!("{}{SEPARATOR}", name.as_str()));
        let mut from = match &page.after {
            Some(after) if *after > prefix => Bound::Included(format!("{after} ")),
            Some(_) | None => Bound::Included(prefix.clone()),
        };
        page.cut(std::iter::from_fn(move || {
            let (name, _) = self.namespaces.range((from.clone(), Bound::Unbounded)).next()?;
            let rest = name.strip_prefix(&prefix)?;
            let level = rest.split(SEPARATOR).next().unwrap_or(rest);
            let child = format!("{prefix}{level}");
            // The blank is the smallest character a name may hold: it lies behind every descendant of the child.
            from = Bound::Included(format!("{child} "));
            Some(child)
        }))
    }

    pub(crate) fn has_children(&self, name: &NamespaceName) -> bool {
        let prefix = format!("{}{SEPARATOR}", name.as_str());
        self.namespaces.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix))
    }
}

/// Places of tables that are only staged, as key prefixes, and who staged each.
#[derive(Debug, Default)]
pub(crate) struct StagedPlaces {
    by_key: HashMap<String, (u64, Box<str>)>,
    by_age: BTreeMap<u64, String>,
    next: u64,
}

impl StagedPlaces {
    /// Remembers a place, in place of the oldest when there are [`STAGED_PLACES_MAX`].
    pub(crate) fn insert(&mut self, key: String, by: &str) {
        if let Some((age, _)) = self.by_key.insert(key.clone(), (self.next, by.into())) {
            self.by_age.remove(&age);
        }
        if STAGED_PLACES_MAX <= self.by_age.len()
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_key.remove(&oldest);
        }
        self.by_age.insert(self.next, key);
        self.next += 1;
    }

    /// Whether `by` staged a table there.
    pub(crate) fn is_of(&self, key: &str, by: &str) -> bool {
        self.by_key.get(key).is_some_and(|(_, who)| **who == *by)
    }
}

/// The UUIDs in use, in whatever spelling, each with how many tables have it: more than one only in warehouses in which tables
/// could still be given another's.
#[derive(Debug, Default)]
pub(crate) struct Uuids(HashMap<u128, u32>);

impl Uuids {
    /// Refuses the UUID of another table than the one whose pointer is `own`.
    pub(crate) fn check_free(&self, uuid: &str, own: Option<&Pointer>) -> Result<(), CatalogError> {
        if own.is_some_and(|own| own.uuid == uuid) {
            return Ok(());
        }
        let number = number_of(uuid);
        let is_own = own.is_some_and(|own| number_of(&own.uuid) == number);
        match number.is_some_and(|number| self.0.contains_key(&number)) && !is_own {
            true => Err(CatalogError::UuidTaken(uuid.to_owned())),
            false => Ok(()),
        }
    }

    pub(crate) fn take(&mut self, uuid: &str) {
        if let Some(number) = number_of(uuid) {
            *self.0.entry(number).or_default() += 1;
        }
    }

    fn release(&mut self, uuid: &str) {
        if let Some(Entry::Occupied(mut tables)) = number_of(uuid).map(|number| self.0.entry(number)) {
            *tables.get_mut() -= 1;
            if *tables.get() == 0 {
                tables.remove();
            }
        }
    }
}

/// `None` for a table of format version 1 that has none yet.
fn number_of(uuid: &str) -> Option<u128> {
    uuid::Uuid::try_parse(uuid).ok().map(|uuid| uuid.as_u128())
}

fn newest_file(pointer: &Pointer) -> [u8; 16] {
    let key = file_of(&pointer.metadata_location).map_or("", |(_, key)| key);
    metadata_file::digest(&[key.as_bytes()])
}

impl Namespace {
    pub(crate) fn table_names(&self, page: &PageQuery) -> Page {
        let from = page.after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        page.cut(self.tables.range((from, Bound::Unbounded)).map(|(name, _)| name.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warehouse(namespaces: &[&str]) -> Warehouse {
        let mut warehouse = Warehouse::new(Arc::from("lake"), Sequence(1));
        for name in namespaces {
            let name = NamespaceName::parse(&name.replace('.', "\u{1f}")).expect("valid");
            let value = values::namespace_value(&Map::new());
            warehouse.take_value(&values::namespace_key(&name), &value).expect("a good value");
        }
        warehouse
    }

    fn ident(name: &str) -> Ident {
        Ident::new(NamespaceName::parse("a").expect("valid"), name).expect("valid")
    }

    fn pointer(key: &str) -> Pointer {
        Pointer {
            uuid: "u".to_owned(),
            metadata_location: format!("s3://lake/{key}/metadata/00000-u.metadata.json"),
            location_key: key.to_owned(),
            earlier: Vec::new(),
        }
    }

    #[test]
    fn uuids_in_use() {
        const UUID: &str = "00000000-0000-4000-8000-00000000abcd";
        let of = |uuid: &str| Pointer {
            uuid: uuid.to_owned(),
            metadata_location: String::new(),
            location_key: String::new(),
            earlier: Vec::new(),
        };
        let mut uuids = Uuids::default();
        assert!(uuids.check_free(UUID, None).is_ok());
        // Two tables of one warehouse of before.
        [UUID, UUID, "", ""].into_iter().for_each(|uuid| uuids.take(uuid));
        for spelling in [UUID.to_owned(), UUID.to_uppercase(), UUID.replace('-', "")] {
            assert!(
                matches!(uuids.check_free(&spelling, None), Err(CatalogError::UuidTaken(_))),
                "{spelling}"
            );
            assert!(uuids.check_free(&spelling, Some(&of(""))).is_err(), "{spelling}");
            assert!(uuids.check_free(UUID, Some(&of(&spelling))).is_ok(), "{spelling}");
        }
        // Tables without any are many.
        assert!(uuids.check_free("", None).is_ok());
        for is_free in [false, true] {
            uuids.release(UUID);
            assert_eq!(uuids.check_free(UUID, None).is_ok(), is_free);
        }
    }

    #[test]
    fn newest_files_are_those_of_the_pointers() {
        let mut warehouse = warehouse(&["a"]);
        let key = |name: &str| format!("{name}/metadata/00000-u.metadata.json");
        for name in ["t", "u"] {
            warehouse.set_table(&ident(name), pointer("t"), None, Sequence(2));
        }
        assert!(warehouse.is_newest_file(key("t").as_bytes()));
        warehouse.set_table(&ident("u"), pointer("u"), None, Sequence(3));
        assert!(warehouse.is_newest_file(key("t").as_bytes()));
        assert!(warehouse.is_newest_file(key("u").as_bytes()));
        warehouse.remove_table(&ident("t"));
        assert!(!warehouse.is_newest_file(key("t").as_bytes()));
        assert!(!warehouse.is_newest_file(b""));
    }

    #[test]
    fn children() {
        let warehouse = warehouse(&["a", "a.b", "a.b.c", "a.d", "a b", "a!", "z"]);
        let check =
            |parent: &str, size: Option<usize>, after: Option<&str>, want: &[&str], next: Option<&str>| {
                let parent = NamespaceName::parse(&parent.replace('.', "\u{1f}")).ok();
                let dots = |name: &String| name.replace('\u{1f}', ".");
                let query = PageQuery { size, after: after.map(|after| after.replace('.', "\u{1f}")) };
                let page = warehouse.children(parent.as_ref(), &query);
                assert_eq!(page.names.iter().map(dots).collect::<Vec<_>>(), want);
                assert_eq!(page.next.as_ref().map(dots).as_deref(), next);
            };
        check("", None, None, &["a", "a b", "a!", "z"], None);
        check("a", None, None, &["a.b", "a.d"], None);
        check("a.b", None, None, &["a.b.c"], None);
        check("z", None, None, &[], None);
        check("", Some(2), None, &["a", "a b"], Some("a b"));
        check("", Some(2), Some("a"), &["a b", "a!"], Some("a!"));
        check("", Some(2), Some("a!"), &["z"], None);
        check("a", Some(1), None, &["a.b"], Some("a.b"));
        check("a", Some(1), Some("a.b"), &["a.d"], None);
        check("a", Some(0), Some("a.d"), &[], None);
    }

    #[test]
    fn tables_take_and_give_back_their_location() {
        let mut warehouse = warehouse(&["a"]);
        warehouse.set_table(&ident("t"), pointer("x"), None, Sequence(2));
        assert_eq!(warehouse.tables, 1);
        assert!(warehouse.locations.check_free("x/y", None, "x/y").is_err());
        warehouse.set_table(&ident("t"), pointer("y"), None, Sequence(3));
        assert_eq!(warehouse.tables, 1);
        assert!(warehouse.locations.check_free("x/y", None, "x/y").is_ok());
        assert!(warehouse.remove_table(&ident("t")).is_some());
        assert!(warehouse.remove_table(&ident("t")).is_none());
        assert!(warehouse.locations.check_free("y", None, "y").is_ok());
        assert_eq!(warehouse.tables, 0);
    }

    #[test]
    fn a_table_without_namespace_is_damage() {
        let mut warehouse = warehouse(&[]);
        let got = warehouse.take_value(&values::table_key(&ident("t")), &values::table_value(&pointer("x")));
        assert!(matches!(got, Err(CatalogError::Damaged { .. })));
    }

    #[test]
    fn table_pages() {
        let mut warehouse = warehouse(&["a"]);
        for name in ["t1", "t2", "t3"] {
            warehouse.set_table(&ident(name), pointer(name), None, Sequence(2));
        }
        let namespace = warehouse.namespace(&ident("t1").namespace).expect("there");
        let page = namespace.table_names(&PageQuery { size: Some(2), after: None });
        assert_eq!(page, Page { names: vec!["t1".to_owned(), "t2".to_owned()], next: Some("t2".to_owned()) });
        let page = namespace.table_names(&PageQuery { size: Some(2), after: page.next });
        assert_eq!(page, Page { names: vec!["t3".to_owned()], next: None });
    }

    #[test]
    fn the_newest_staged_places_are_known() {
        let mut staged = StagedPlaces::default();
        for nth in 0..STAGED_PLACES_MAX {
            staged.insert(format!("p{nth}"), "ann");
        }
        // Again, and then as the newest.
        staged.insert("p0".to_owned(), "bob");
        staged.insert("more".to_owned(), "ann");
        let check = |key: &str, by: &str, want: bool| assert_eq!(staged.is_of(key, by), want, "{key} {by}");
        check("p0", "ann", false);
        check("p0", "bob", true);
        check("p1", "ann", false);
        check("p2", "ann", true);
        check("more", "ann", true);
        assert_eq!((staged.by_key.len(), staged.by_age.len()), (STAGED_PLACES_MAX, STAGED_PLACES_MAX));
    }
}
