//! What a sender is asked for before an operation acts: rights on the tables of a request by their ids, on places that it
//! chooses for their files, and on a table that it turns out to be about.
//!
//! `rest` calls it before anything is answered. I1. A sender whose rights do not depend on ids costs no look-up. I2. A look-up that
//! fails is an error, never a table without an id. I3. What is looked up is not shown to who may not.

use std::sync::Arc;

use nilas_engine::Bucket;

use crate::access::{Access, LookUpError, Resource};
use crate::commit::{Requirement, Update};
use crate::rest::{ANY_WAREHOUSE, Call, Catalog, Operation, Query, Request};
use crate::store::commit::TableChange;
use crate::store::failure::CatalogError;
use crate::store::judged::{Judged, NamedTable};
use crate::store::location::{self, Chosen, METADATA_PATH};
use crate::store::names::{Ident, Names, warehouse_name};
use crate::store::table::{CreateTable, Registered};
use crate::store::warehouse;

/// What who chooses a place for a table's files has to be allowed with all that lies below it, as the table's readers and writers,
/// and its purge, will be.
const PLACE_ACTIONS: [&str; 3] = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];

/// What who registers a metadata file has to be allowed with it: the answer shows it.
const FILE_ACTION: &str = "s3:GetObject";

impl Request<'_> {
    /// Who asks, by whatever key.
    pub(super) fn who(&self) -> &str {
        self.principal.rsplit_once(' ').map_or(self.principal, |(who, _)| who)
    }

    pub(super) fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), CatalogError> {
        self.check_action(operation.facts().action, resource, &[])
    }

    pub(super) fn check_action(
        &self,
        action: &'static str,
        resource: Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> Result<(), CatalogError> {
        match self.access.allows_with(action, resource, facts) {
            true => Ok(()),
            false => Err(CatalogError::Forbidden { action, resource: as_named(resource).to_string() }),
        }
    }

    pub(super) fn check_table(
        &self,
        operation: Operation,
        warehouse: &str,
        ident: &Ident,
        judged: &Judged,
    ) -> Result<(), CatalogError> {
        self.check(operation, table_resource(warehouse, ident, judged.id(ident)))
    }

    /// One table of a commit, wherever it is named. A commit that makes the table needs what creating it needs.
    pub(super) fn check_change(
        &self,
        warehouse: &str,
        change: &TableChange,
        judged: &Judged,
    ) -> Result<(), CatalogError> {
        let creates = change.requirements.iter().any(Requirement::is_assert_create);
        let operation = if creates { Operation::CreateTable } else { Operation::UpdateTable };
        self.check_table(operation, warehouse, &change.ident, judged)
    }

    /// Both names of a rename. The new one is judged as the table that it will be: what is granted by id goes with the table.
    pub(super) fn check_rename(
        &self,
        warehouse: &str,
        from: &Ident,
        to: &Ident,
        judged: &Judged,
    ) -> Result<(), CatalogError> {
        let id = judged.id(from);
        self.check(Operation::RenameTable, table_resource(warehouse, from, id))?;
        self.check(Operation::RenameTable, table_resource(warehouse, to, id))
    }

    /// A name that is given to a metadata file. Who may overwrite changes the table that has the name, as a commit does; whether
    /// there is one is not looked at, so that nothing is learned of it.
    pub(super) fn check_register(
        &self,
        warehouse: &str,
        ident: &Ident,
        metadata_location: &str,
        overwrites: bool,
        judged: &Judged,
    ) -> Result<(), CatalogError> {
        let facts = [("s3tables:registerLocation", metadata_location)];
        let table = table_resource(warehouse, ident, judged.id(ident));
        self.check_action(Operation::RegisterTable.facts().action, table, &facts)?;
        match overwrites {
            true => self.check(Operation::UpdateTable, table),
            false => Ok(()),
        }
    }

    /// Who may not read a file learns nothing of it, nor whether it is there. One of another bucket is refused for that.
    pub(super) fn check_file(&self, warehouse: &str, location: &str) -> Result<(), CatalogError> {
        let key = location::object_key(location, warehouse)?.as_bytes();
        self.check_action(FILE_ACTION, Resource::Object { bucket: warehouse, key }, &[])
    }
}

impl Call<'_> {
    /// Refuses what the sender may not do on what the path names in `warehouse`.
    pub(super) fn judge_path(&self, warehouse: &str, judged: &Judged) -> Result<(), CatalogError> {
        self.judge(&self.names, warehouse, judged)
    }

    fn judge(&self, names: &Names, warehouse: &str, judged: &Judged) -> Result<(), CatalogError> {
        let resource = match names {
            Names::Nothing => Resource::Warehouse(warehouse),
            Names::Namespace(namespace) => Resource::Namespace { warehouse, namespace: namespace.as_str() },
            Names::Ident(ident) => table_resource(warehouse, ident, judged.id(ident)),
        };
        self.request.check(self.operation, resource)
    }

    /// The warehouse that the request names, in its path or its query.
    fn named_warehouse(&self) -> Option<&str> {
        named_warehouse(self.warehouse.as_deref(), &self.query)
    }

    /// Whether the sender may do the operation on a table in which its answer turned out to lie; then it goes on with it.
    /// What was made before is not said to be refused: see [`CatalogError::LandedUnseen`].
    pub(super) fn judge_concerned(&mut self, warehouse: &str, table: NamedTable) -> Result<(), CatalogError> {
        let resource = table_resource(warehouse, &table.ident, Some(&table.id));
        match self.request.check(self.operation, resource) {
            Ok(()) => {
                self.also = Some(table);
                Ok(())
            }
            Err(_) => Err(CatalogError::LandedUnseen),
        }
    }
}

fn named_warehouse<'a>(prefix: Option<&'a str>, query: &'a Query) -> Option<&'a str> {
    prefix.or_else(|| query.get("warehouse").map(warehouse_name).filter(|name| !name.is_empty()))
}

pub(super) fn table_resource<'a>(warehouse: &'a str, ident: &'a Ident, id: Option<&'a str>) -> Resource<'a> {
    Resource::Table { warehouse, namespace: ident.namespace.as_str(), table: &ident.name, id }
}

/// What a refusal shows: a table by its names, as the request has it. Its id was looked up, and tells whether there is one.
fn as_named(resource: Resource<'_>) -> Resource<'_> {
    match resource {
        Resource::Table { warehouse, namespace, table, id: _ } => {
            Resource::Table { warehouse, namespace, table, id: None }
        }
        named => named,
    }
}

impl Catalog {
    /// The warehouse of a request: that of its path, that of its query, or the only one. `judge` is asked by its name
    /// before anything is revealed of it; where the request does not name it, a refusal does neither.
    pub(super) fn warehouse(
        &self,
        prefix: Option<&str>,
        query: &Query,
        judge: impl FnOnce(&str) -> Result<(), CatalogError>,
    ) -> Result<Arc<Bucket>, CatalogError> {
        if let Some(name) = named_warehouse(prefix, query) {
            judge(name)?;
            return warehouse::find(&self.engine, name);
        }
        let only = warehouse::only(&self.engine);
        match judge(only.as_ref().map_or(ANY_WAREHOUSE, |bucket| &bucket.name)) {
            Ok(()) => only,
            Err(CatalogError::Forbidden { action, .. }) => {
                let resource = Resource::Warehouse(ANY_WAREHOUSE).to_string();
                Err(CatalogError::Forbidden { action, resource })
            }
            Err(failure) => Err(failure),
        }
    }

    /// The warehouse of an operation that is judged on what its path names, where that is no table.
    pub(super) fn named_in_path(&self, call: &Call<'_>) -> Result<Arc<Bucket>, CatalogError> {
        let nothing = Judged::default();
        let judge = |name: &str| call.judge_path(name, &nothing);
        self.warehouse(call.warehouse.as_deref(), &call.query, judge)
    }

    /// The warehouse and the table of an operation that is judged on the table that its path names.
    pub(super) async fn table_in_path(
        &self,
        call: &Call<'_>,
    ) -> Result<(Arc<Bucket>, Ident, Judged), CatalogError> {
        let ident = call.names.table()?;
        let judged = self.look_up(call, || vec![ident.clone()]).await?;
        let judge = |name: &str| call.judge_path(name, &judged);
        let bucket = self.warehouse(call.warehouse.as_deref(), &call.query, judge)?;
        Ok((bucket, ident, judged))
    }

    /// The warehouse of an operation that is judged on what its body names, and that body. `judge` is asked before
    /// anything is revealed of the warehouse. Where the body names nothing, only senders who may do it on all that the path
    /// names hear of the warehouse first; to others the body is what is wrong. `tables` are those that it is judged on.
    pub(super) async fn named_in_body<T>(
        &self,
        call: &Call<'_>,
        parsed: Result<T, CatalogError>,
        tables: Tables<'_, T>,
        judge: impl FnOnce(&T, &str, &Judged) -> Result<(), CatalogError>,
    ) -> Result<(Arc<Bucket>, T, Judged), CatalogError> {
        let judged = match tables {
            Some(tables) => {
                let named = || match &parsed {
                    Ok(body) => tables(body),
                    Err(_) => call.names.table().into_iter().collect(),
                };
                self.look_up(call, named).await?
            }
            None => Judged::default(),
        };
        let judge = |name: &str| match &parsed {
            Ok(body) => judge(body, name, &judged),
            Err(failure) => call.judge_path(name, &judged).map_err(|_| failure.clone()),
        };
        let bucket = self.warehouse(call.warehouse.as_deref(), &call.query, judge)?;
        Ok((bucket, parsed?, judged))
    }

    /// Looks up the ids of the tables that a request is judged on, where its sender's rights depend on them.
    async fn look_up(
        &self,
        call: &Call<'_>,
        tables: impl FnOnce() -> Vec<Ident>,
    ) -> Result<Judged, CatalogError> {
        let (named, access) = (call.named_warehouse(), call.request.access);
        let nothing = || Judged::default().with(call.also.clone());
        if named.is_some_and(|name| !access.wants_table_ids(name)) {
            return Ok(nothing());
        }
        let found = match named {
            Some(name) => warehouse::find(&self.engine, name),
            None => match warehouse::only(&self.engine) {
                Ok(only) if !access.wants_table_ids(&only.name) => return Ok(nothing()),
                only => only,
            },
        };
        let tables = tables();
        let ids = match found {
            Ok(bucket) => {
                let asked = tables.clone();
                match self.owner(&bucket, move |store| async move { store.table_ids(&asked).await }).await {
                    Err(CatalogError::NoSuchWarehouse(_)) => vec![None; tables.len()],
                    ids => ids?,
                }
            }
            // Without a warehouse there is no table, and who may not learns of neither.
            Err(_) => vec![None; tables.len()],
        };
        Ok(Judged::of(tables.into_iter().zip(ids).collect()).with(call.also.clone()))
    }

    /// Has the sender's rights on a file that the body names looked up, where they depend on the table whose file it is.
    pub(super) async fn look_up_file(&self, call: &Call<'_>, location: &str) -> Result<(), CatalogError> {
        let found = match call.named_warehouse() {
            Some(name) => warehouse::find(&self.engine, name),
            None => warehouse::only(&self.engine),
        };
        let Ok(bucket) = found else { return Ok(()) };
        let Ok(key) = location::object_key(location, &bucket.name) else { return Ok(()) };
        let object = Resource::Object { bucket: &bucket.name, key: key.as_bytes() };
        look_up(call.request.access, &[object]).await
    }

    /// Decides how a plus in the path is read. As a blank, unless `literal` names more of what is there; of a reading on which the
    /// sender may not do what they ask for nothing is learned.
    pub(super) async fn choose_names(&self, call: &mut Call<'_>, literal: Names) {
        let Ok(bucket) = self.warehouse(call.warehouse.as_deref(), &call.query, |_| Ok(())) else { return };
        let tables = || {
            let tables = [&call.names, &literal].into_iter().filter_map(|names| names.table().ok());
            tables.collect()
        };
        // What cannot be looked up is an error of the operation as well.
        let Ok(judged) = self.look_up(call, tables).await else { return };
        let is_literal =
            match (call.judge_path(&bucket.name, &judged), call.judge(&literal, &bucket.name, &judged)) {
                (Ok(()), Ok(())) => {
                    let (blank, literal) = (call.names.clone(), literal.clone());
                    let known = self.owner(&bucket, move |store| async move {
                        Ok((store.known(&blank).await?, store.known(&literal).await?))
                    });
                    matches!(known.await, Ok((blank, literal)) if blank < literal)
                }
                (Err(_), Ok(())) => true,
                (_, Err(_)) => false,
            };
        if is_literal {
            call.names = literal;
        }
    }

    /// Refuses places for a table's files that are neither its own nor new where the sender may not do all that its readers and
    /// writers, and its purge, will do there: with whatever lies below.
    pub(super) async fn check_places(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
        mut chosen: Vec<Chosen>,
    ) -> Result<(), CatalogError> {
        let mut refusals = Vec::new();
        let keys: Vec<String> = chosen.iter().map(|chosen| format!("{}/", chosen.key)).collect();
        let places = keys.iter().map(|key| Resource::Object { bucket: &bucket.name, key: key.as_bytes() });
        let places: Vec<Resource<'_>> = places.collect();
        look_up(request.access, &places).await?;
        let mut keys = keys.iter().zip(places);
        chosen.retain(|_| {
            let (key, place) = keys.next().expect("one place for each");
            let may = |action: &&'static str| request.access.allows_below(action, &bucket.name, key);
            let action = PLACE_ACTIONS.into_iter().find(|action| !may(action));
            refusals.extend(
                action.map(|action| CatalogError::Forbidden { action, resource: format!("{place}*") }),
            );
            action.is_some()
        });
        if chosen.is_empty() {
            return Ok(());
        }
        let by = request.who().to_owned();
        let own = self.owner(bucket, move |store| async move { store.are_own(&chosen, &by).await }).await?;
        let refused = refusals.into_iter().zip(own).find(|(_, is_own)| !is_own);
        refused.map_or(Ok(()), |(refusal, _)| Err(refusal))
    }
}

async fn look_up(access: &dyn Access, objects: &[Resource<'_>]) -> Result<(), CatalogError> {
    let Some(look_up) = access.look_up(objects) else { return Ok(()) };
    look_up.await.map_err(|failure| match failure {
        LookUpError::Engine(failure) => CatalogError::Engine(failure),
        LookUpError::Unreadable => CatalogError::Damaged {
            what: "the warehouse".to_owned(),
            why: "its tables cannot be read".to_owned(),
        },
    })
}

/// What takes the tables that an operation is judged on out of its body; `None` where it is judged on no table.
pub(super) type Tables<'a, T> = Option<&'a dyn Fn(&T) -> Vec<Ident>>;

/// The places that a request chooses for one table, those that can be none left out: the store refuses them.
struct Places<'a> {
    warehouse: &'a str,
    ident: &'a Ident,
    uuid: Option<&'a str>,
}

impl Places<'_> {
    fn at(&self, place: &str) -> Option<Chosen> {
        let key = location::table_key(place, self.warehouse).ok()?;
        Some(Chosen { ident: self.ident.clone(), uuid: self.uuid.map(str::to_owned), key })
    }

    /// `path` is where metadata files go, if elsewhere.
    fn of(&self, location: Option<&str>, path: Option<&str>) -> Vec<Chosen> {
        let location = location.and_then(|location| self.at(location));
        let path = path.and_then(|path| self.at(path)).filter(|path| {
            !location.as_ref().is_some_and(|location| location::lies_in(&path.key, &location.key))
        });
        location.into_iter().chain(path).collect()
    }
}

/// Those of a create request. The UUID is not known yet: what is chosen is not the table's own.
pub(super) fn places_of_create(warehouse: &str, create: &CreateTable) -> Vec<Chosen> {
    let path = create.properties.get(METADATA_PATH).and_then(serde_json::Value::as_str);
    Places { warehouse, ident: &create.ident, uuid: None }.of(create.location.as_deref(), path)
}

/// Those of a metadata file that is to be registered.
pub(super) fn places_of_registered(warehouse: &str, ident: &Ident, seen: &Registered) -> Vec<Chosen> {
    let places = Places { warehouse, ident, uuid: Some(&seen.uuid) };
    places.of(Some(&seen.location), seen.metadata_path.as_deref())
}

/// Those of commits: most choose none.
pub(super) fn places_of_changes(warehouse: &str, changes: &[TableChange]) -> Vec<Chosen> {
    let mut all = Vec::new();
    for change in changes {
        let places = Places { warehouse, ident: &change.ident, uuid: change.assigned_uuid() };
        let location = |update: &Update| match update {
            Update::SetLocation(to) => Some(to.clone()),
            _ => None,
        };
        let path = |update: &Update| match update {
            Update::SetProperties(properties) => properties.get(METADATA_PATH)?.as_str().map(str::to_owned),
            _ => None,
        };
        let locations = change.updates.iter().filter_map(location);
        let mut chosen: Vec<Chosen> = locations.filter_map(|location| places.at(&location)).collect();
        for path in change.updates.iter().filter_map(path).filter_map(|path| places.at(&path)) {
            // What lies in a place that is asked for needs no question of its own.
            if !chosen.iter().any(|place| location::lies_in(&path.key, &place.key)) {
                chosen.push(path);
            }
        }
        all.extend(chosen);
    }
    all
}
