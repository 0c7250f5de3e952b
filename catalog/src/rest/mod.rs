//! The Iceberg REST protocol: a request's head and body ⇄ calls of the store. No sockets; called by the http crate.
//!
//! The connection's core routes, parses JSON and compresses listings; one job is carried to the warehouse's owner.
//! Everything that may go wrong ends in `error`, as JSON.

mod config;
mod credentials;
mod error;
mod json;
mod judge;
mod operations;
mod route;

use std::sync::Arc;

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use nilas_engine::{Bucket, Engine, EngineError, SettingKind, ValueOwner};
use serde_json::{Value, json};

pub use operations::{Operation, OperationRow};
pub use route::Route;

use crate::access::{Access, FileTable, LookUpError, Resource};
use crate::commit::{self, SentChange};
use crate::limits::{
    BODY_BYTES_MAX, COMMIT_ATTEMPTS_MAX, GZIP_BYTES_MIN, PURGE_LOOK_MS, PURGE_WAIT_MS_MAX, PURGES_LISTED_MAX,
    TRANSACTION_TABLES_MAX, at_most,
};
use crate::rest::credentials::{delegates, may_read};
use crate::rest::judge::{Tables, table_resource};
use crate::rest::route::{Asked, Target};
use crate::store::commit::TableChange;
use crate::store::failure::CatalogError;
use crate::store::idempotency::IdempotencyKey;
use crate::store::judged::{Judged, NamedTable};
use crate::store::names::{Ident, Names, NamespaceName};
use crate::store::purge::{self, PurgeContext};
use crate::store::purge_state::{PurgeFigures, PurgeStatus};
use crate::store::state::{Page, PageQuery};
use crate::store::table::{CreateTable, LoadTable};
use crate::store::warehouse::{DELETE_ACTION, UPGRADE_ACTION, Upgrade};
use crate::store::{Outcome, Store, metadata_file, on_owner, on_owner_core, recognise, warehouse};
use crate::uri;

/// One request, authenticated by the caller, its body complete and its checksum verified.
pub struct Request<'a> {
    /// Upper case.
    pub method: &'a str,
    /// As received, behind `/_iceberg` or `/iceberg`: begins with `/v1`. Not decoded.
    pub raw_path: &'a str,
    /// As received, without the question mark. Not decoded.
    pub raw_query: &'a str,
    /// Looks a header up by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// Whole; over [`BODY_BYTES_MAX`] the answer is 413.
    pub body: Bytes,
    /// Who asks, and behind a blank the access key by which: what an idempotency key is remembered with.
    pub principal: &'a str,
    /// Says what they may do.
    pub access: &'a dyn Access,
    /// `scheme://host[:port]` as the client used it; told to clients as their S3 endpoint.
    pub base_url: &'a str,
}

/// Stands for the name of a warehouse where the request has none and none may be revealed.
const ANY_WAREHOUSE: &str = "*";

/// A request for an operation, taken apart.
struct Call<'a> {
    request: &'a Request<'a>,
    operation: Operation,
    query: Query,
    /// That of the path.
    warehouse: Option<String>,
    names: Names,
    /// A table that it turned out to be about, and that its sender may do it on.
    also: Option<NamedTable>,
}

/// One answer, complete.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Lower-case names. Without length and encoding, which follow from the other fields.
    pub headers: Vec<(&'static str, String)>,
    /// Empty for 204, 304 and HEAD.
    pub body: Bytes,
    /// Whether `body` is gzip; then `content-encoding` must say so.
    pub gzip: bool,
}

/// The catalog as one core sees it. Cheap to clone, stays on its core.
#[derive(Clone)]
pub struct Catalog {
    engine: Engine,
    /// What the http crate stores with an object of type `application/json`.
    json_attributes: Bytes,
    /// The region that clients are told.
    region: Rc<str>,
    purging: Arc<PurgeContext>,
}

impl Catalog {
    /// Makes the handle. `json_attributes` are the attributes of the metadata objects that the catalog writes, `region`
    /// is what clients are told.
    pub fn new(engine: Engine, json_attributes: Bytes, region: &str) -> Catalog {
        let purging = PurgeContext { figures: Arc::default(), report: |_| () };
        Catalog { engine, json_attributes, region: region.into(), purging: Arc::new(purging) }
    }

    /// The same with a say for purges: where they are counted, and who learns what they leave.
    pub fn with_purges(self, figures: Arc<PurgeFigures>, report: fn(std::fmt::Arguments<'_>)) -> Catalog {
        Catalog { purging: Arc::new(PurgeContext { figures, report }), ..self }
    }

    /// Answers one request. A change is durable when this returns; dropping the future does not stop a change that was
    /// handed to the owner. `route` is that of the request's method and path.
    pub async fn handle(&self, route: Route, request: Request<'_>) -> Response {
        let mut response = match self.answer(route, &request).await {
            Ok(response) => response,
            Err(failure) => error::response(&failure),
        };
        if request.method == "HEAD" {
            response.body = Bytes::new();
            response.gzip = false;
            response.headers.retain(|(name, _)| *name != "content-type");
        }
        response
    }

    async fn answer(&self, route: Route, request: &Request<'_>) -> Result<Response, CatalogError> {
        if BODY_BYTES_MAX < request.body.len() {
            return Err(CatalogError::BodyTooLarge { max: BODY_BYTES_MAX, got: request.body.len() });
        }
        let Target { asked, warehouse, names, literal } = route.0?;
        let query = Query(route::query(request.raw_query)?);
        let outcome = match asked {
            Asked::Served(operation) => {
                let mut call = Call { request, operation, query, warehouse, names, also: None };
                if let Some(literal) = literal.filter(|_| !operation.reads_plus_as_blank()) {
                    self.choose_names(&mut call, literal).await;
                }
                self.serve_judged(call).await?
            }
            Asked::NotOffered => {
                // Views have no permission of their own. Who may not even ask what the warehouse offers learns nothing.
                let configure = |name: &str| request.check(Operation::GetConfig, Resource::Warehouse(name));
                self.warehouse(warehouse.as_deref(), &query, configure)?;
                return Err(match names {
                    Names::Ident(view) if matches!(request.method, "GET" | "HEAD") => {
                        CatalogError::NoSuchView(view)
                    }
                    _ => CatalogError::Unsupported("views"),
                });
            }
        };
        Ok(render(outcome, accepts_gzip(request)))
    }

    fn list_warehouses(&self, query: &Query) -> Result<Outcome, CatalogError> {
        let search = query.get("search").unwrap_or_default();
        let page = warehouse::list(&self.engine, search, &query.page()?)?;
        Ok(listing("warehouses", &page, |name| Value::from(name)))
    }

    async fn create_warehouse(&self, request: &Request<'_>) -> Result<Outcome, CatalogError> {
        let body = json::object(&request.body)?;
        let (name, upgrade) = (json::string(&body, "name")?, json::flag_or(&body, "upgrade-existing", true)?);
        request.check(Operation::CreateWarehouse, Resource::Warehouse(name))?;
        let may = || request.access.allows(UPGRADE_ACTION, Resource::Bucket(name));
        let upgrade = match upgrade {
            false => Upgrade::No,
            true if self.engine.bucket(name).is_ok() && may() => Upgrade::Allowed,
            // Of one that is made meanwhile nothing was asked.
            true => Upgrade::Denied,
        };
        let owner = request.access.owner();
        warehouse::create(&self.engine, &self.json_attributes, name, upgrade, owner).await.map(Outcome::Json)
    }

    async fn one_warehouse(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let name = call.warehouse.as_deref().unwrap_or_default();
        call.request.check(call.operation, Resource::Warehouse(name))?;
        if call.operation == Operation::GetWarehouse {
            return warehouse::get(&self.engine, name).map(Outcome::Json);
        }
        let preserve = call.query.flag("preserve-bucket")?;
        if !preserve {
            call.request.check_action(DELETE_ACTION, Resource::Bucket(name), &[])?;
        }
        let delete = async || warehouse::delete(&self.engine, &self.json_attributes, name, preserve).await;
        self.behind_purges(delete).await?;
        Ok(Outcome::Empty)
    }

    /// Carries out an operation, again when its sender was judged on what is not so any more, or has to be judged on more.
    async fn serve_judged(&self, mut call: Call<'_>) -> Result<Outcome, CatalogError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            match self.serve(&call).await {
                Err(CatalogError::Moved) => {}
                Err(CatalogError::Concerns(table)) => {
                    let bucket = self.warehouse(call.warehouse.as_deref(), &call.query, |_| Ok(()))?;
                    call.judge_concerned(&bucket.name, table)?;
                }
                Ok(outcome) => return Ok(outcome),
                Err(failure) => {
                    // Who may list the tables of the warehouse may hear their names.
                    let judge =
                        |name: &str| call.request.check(Operation::ListTables, Resource::Warehouse(name));
                    let lists = || self.warehouse(call.warehouse.as_deref(), &call.query, judge).is_ok();
                    return Err(if failure.names_others() && !lists() {
                        failure.without_names()
                    } else {
                        failure
                    });
                }
            }
        }
        Err(CatalogError::Contended)
    }

    /// Carries out an operation. Each arm asks what its sender may do before it looks at anything.
    async fn serve(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        match call.operation {
            // Whoever takes the requests issues the tokens.
            Operation::GetToken => Err(CatalogError::NoSuchRoute(request.raw_path.to_owned())),
            Operation::ListWarehouses => {
                request.check(Operation::ListWarehouses, Resource::Service)?;
                self.list_warehouses(&call.query)
            }
            Operation::CreateWarehouse => self.create_warehouse(request).await,
            Operation::GetWarehouse | Operation::DeleteWarehouse => self.one_warehouse(call).await,
            Operation::GetConfig => {
                let bucket = self.named_in_path(call)?;
                Ok(Outcome::Json(config::config(&bucket.name, request.base_url, &self.region)))
            }
            Operation::ListNamespaces => {
                let bucket = self.named_in_path(call)?;
                self.list_namespaces(&call.query, &bucket).await
            }
            Operation::CreateNamespace => self.create_namespace(call).await,
            Operation::LoadNamespaceMetadata => {
                let bucket = self.named_in_path(call)?;
                let name = call.names.namespace()?;
                self.owner(&bucket, move |store| async move { store.load_namespace(&name).await }).await
            }
            Operation::NamespaceExists => {
                let bucket = self.named_in_path(call)?;
                let name = call.names.namespace()?;
                self.owner(&bucket, move |store| async move { store.load_namespace(&name).await }).await?;
                Ok(Outcome::Empty)
            }
            Operation::DropNamespace => {
                let bucket = self.named_in_path(call)?;
                let (name, key) = (call.names.namespace()?, idempotency_key(request)?);
                self.owner(&bucket, move |store| async move { store.drop_namespace(&name, key).await }).await
            }
            Operation::UpdateProperties => {
                let bucket = self.named_in_path(call)?;
                self.update_namespace(request, &bucket, call.names.namespace()?).await
            }
            Operation::ListTables => {
                let bucket = self.named_in_path(call)?;
                self.list_tables(&call.query, &bucket, call.names.namespace()?).await
            }
            Operation::CreateTable => self.create_table(call).await,
            Operation::LoadTable => self.load_table(call).await,
            Operation::LoadCredentials => self.load_credentials(call).await,
            Operation::TableExists => {
                let (bucket, ident, judged) = self.table_in_path(call).await?;
                let exists = |store: Store| async move { store.judged(judged).table_exists(&ident).await };
                self.owner(&bucket, exists).await
            }
            Operation::UpdateTable => self.update_table(call).await,
            Operation::DropTable => {
                let (bucket, ident, judged) = self.table_in_path(call).await?;
                let (purge, key) = (call.query.flag("purgeRequested")?, idempotency_key(request)?);
                match purge {
                    true => self.purge_table(request, &bucket, ident, judged, key).await,
                    false => {
                        let drop_it = move |store: Store| async move {
                            store.judged(judged).drop_table(&ident, None, key).await
                        };
                        self.owner(&bucket, drop_it).await
                    }
                }
            }
            Operation::RegisterTable => self.register_table(call).await,
            Operation::ReportMetrics => {
                self.table_in_path(call).await?;
                let report = json::object(&request.body)?;
                json::string(&report, "report-type")?;
                Ok(Outcome::Empty)
            }
            Operation::RenameTable => self.rename_table(call).await,
            Operation::CommitTransaction => self.commit_transaction(call).await,
        }
    }

    async fn list_namespaces(&self, query: &Query, bucket: &Arc<Bucket>) -> Result<Outcome, CatalogError> {
        let parent = query.get("parent").filter(|parent| !parent.is_empty());
        let parent = parent.map(NamespaceName::parse).transpose()?;
        let page = query.page()?;
        let page =
            self.owner(bucket, move |store| async move { store.list_namespaces(parent, page).await }).await?;
        Ok(listing("namespaces", &page, |name| {
            name.split(crate::store::names::SEPARATOR).map(Value::from).collect::<Vec<_>>().into()
        }))
    }

    async fn create_namespace(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = json::object(&request.body).and_then(|mut body| {
            Ok((json::namespace(&body, "namespace")?, json::properties(&mut body, "properties")?))
        });
        let judge = |(name, _): &(NamespaceName, _), warehouse: &str, _: &Judged| {
            let namespace = name.as_str();
            request.check(Operation::CreateNamespace, Resource::Namespace { warehouse, namespace })
        };
        let (bucket, (name, properties), _) = self.named_in_body(call, parsed, None, judge).await?;
        let key = idempotency_key(request)?;
        self.owner(&bucket, move |store| async move { store.create_namespace(&name, properties, key).await })
            .await
    }

    async fn update_namespace(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
        name: NamespaceName,
    ) -> Result<Outcome, CatalogError> {
        let mut body = json::object(&request.body)?;
        let removals = json::strings(&body, "removals")?;
        let updates = json::properties(&mut body, "updates")?;
        let key = idempotency_key(request)?;
        self.owner(bucket, move |store| async move {
            store.update_namespace(&name, &removals, &updates, key).await
        })
        .await
    }

    async fn list_tables(
        &self,
        query: &Query,
        bucket: &Arc<Bucket>,
        namespace: NamespaceName,
    ) -> Result<Outcome, CatalogError> {
        let levels: Vec<Value> = namespace.levels().map(Value::from).collect();
        let page = query.page()?;
        let page =
            self.owner(bucket, move |store| async move { store.list_tables(&namespace, page).await }).await?;
        Ok(listing("identifiers", &page, |name| json!({"namespace": levels, "name": name})))
    }

    async fn load_table(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let (bucket, ident, judged) = self.table_in_path(call).await?;
        let delegates =
            delegates(request) && may_read(request, table_resource(&bucket.name, &ident, judged.id(&ident)));
        let form = LoadTable {
            refs_only: call.query.refs_only()?,
            // What holds credentials is of this answer alone.
            gzip: !delegates && accepts_gzip(request),
            if_none_match: (request.header)("if-none-match").filter(|_| !delegates),
        };
        if !delegates {
            let load =
                move |store: Store| async move { store.judged(judged).load_table(&ident, &form).await };
            return self.owner(&bucket, load).await;
        }
        let name = ident.clone();
        let load = move |store: Store| async move {
            store.judged(judged).telling_place(true).load_table(&name, &form).await
        };
        let loaded = self.owner(&bucket, load).await?;
        Ok(self.with_credentials(request, &bucket.name, &ident, loaded))
    }

    async fn load_credentials(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let (bucket, ident, judged) = self.table_in_path(call).await?;
        let name = ident.clone();
        let look = move |store: Store| async move {
            store.judged(judged).telling_place(true).table_place(&name).await
        };
        let place = self.owner(&bucket, look).await?;
        let credentials = place.and_then(|place| self.vend(call.request, &bucket.name, &ident, &place));
        Ok(Outcome::Secret(credentials::listed(credentials.as_ref())))
    }

    async fn create_table(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed =
            call.names.namespace().and_then(|namespace| new_table(&request.body, namespace, request.who()));
        let tables: Tables<'_, CreateTable> = Some(&|create| vec![create.ident.clone()]);
        let judge = |create: &CreateTable, warehouse: &str, judged: &Judged| {
            request.check_table(Operation::CreateTable, warehouse, &create.ident, judged)
        };
        let (bucket, create, judged) = self.named_in_body(call, parsed, tables, judge).await?;
        self.check_places(request, &bucket, judge::places_of_create(&bucket.name, &create)).await?;
        let key = idempotency_key(request)?;
        let (create, delegates) = (Arc::new(create), delegates(request));
        let created = self.behind_purges(async || {
            let (create, judged) = (Arc::clone(&create), judged.clone());
            let create = move |store: Store| async move {
                store.judged(judged).telling_place(delegates).create_table(&create, key).await
            };
            self.owner(&bucket, create).await
        });
        let created = created.await?;
        Ok(self.with_credentials(request, &bucket.name, &create.ident, created))
    }

    /// Asks again, for a while, where nothing but a purge at work stands in the way: most end in milliseconds.
    async fn behind_purges<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        for _ in 0..PURGE_WAIT_MS_MAX / PURGE_LOOK_MS {
            match ask().await {
                Err(failure) if failure.waits_for_a_purge() => {
                    self.engine.sleep(Duration::from_millis(PURGE_LOOK_MS)).await;
                }
                answer => return answer,
            }
        }
        ask().await
    }

    async fn update_table(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = idempotency_key(request).and_then(|key| {
            let change = table_change(json::object(&request.body)?, Some(call.names.table()?))?;
            Ok((vec![change], key))
        });
        let tables: Tables<'_, (Vec<TableChange>, _)> = Some(&|(changes, _)| idents_of(changes));
        let judge = |(changes, _): &(Vec<TableChange>, _), warehouse: &str, judged: &Judged| {
            changes.iter().try_for_each(|change| request.check_change(warehouse, change, judged))
        };
        let (bucket, (changes, key), judged) = self.named_in_body(call, parsed, tables, judge).await?;
        self.check_places(request, &bucket, judge::places_of_changes(&bucket.name, &changes)).await?;
        let commit =
            move |store: Store| async move { store.judged(judged).commit(&changes, true, key).await };
        self.owner(&bucket, commit).await
    }

    async fn register_table(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = call.names.namespace().and_then(|namespace| {
            let body = json::object(&request.body)?;
            let ident = Ident::new(namespace, json::string(&body, "name")?)?;
            let metadata_location = json::string(&body, "metadata-location")?.to_owned();
            Ok((ident, metadata_location, json::flag(&body, "overwrite")?))
        });
        let tables: Tables<'_, (Ident, String, bool)> = Some(&|(ident, ..)| vec![ident.clone()]);
        if let Ok((_, location, _)) = &parsed {
            self.look_up_file(call, location).await?;
        }
        let judge = |named: &(Ident, String, bool), warehouse: &str, judged: &Judged| {
            let (ident, location, overwrites) = named;
            request.check_register(warehouse, ident, location, *overwrites, judged)?;
            request.check_file(warehouse, location)
        };
        let (bucket, (ident, metadata_location, overwrite), judged) =
            self.named_in_body(call, parsed, tables, judge).await?;
        let key = idempotency_key(request)?;
        let location = metadata_location.clone();
        let look = move |store: Store| async move { store.look_at_metadata(&location).await };
        // What cannot be read is an error of the operation, in its turn.
        let seen = self.owner(&bucket, look).await.ok();
        if let Some(seen) = &seen {
            let places = judge::places_of_registered(&bucket.name, &ident, seen);
            self.check_places(request, &bucket, places).await?;
        }
        let (names, delegates) = (Arc::new((ident, metadata_location, seen)), delegates(request));
        let registered = self.behind_purges(async || {
            let (names, judged) = (Arc::clone(&names), judged.clone());
            let register = move |store: Store| async move {
                let (ident, metadata_location, seen) = &*names;
                let store = store.judged(judged).telling_place(delegates);
                store.register_table(ident, metadata_location, overwrite, seen.as_ref(), key).await
            };
            self.owner(&bucket, register).await
        });
        let registered = registered.await?;
        Ok(self.with_credentials(request, &bucket.name, &names.0, registered))
    }

    async fn rename_table(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = json::object(&request.body).and_then(|body| {
            Ok((json::identifier(&body, "source")?, json::identifier(&body, "destination")?))
        });
        let tables: Tables<'_, (Ident, Ident)> = Some(&|(from, _)| vec![from.clone()]);
        let judge = |(from, to): &(Ident, Ident), warehouse: &str, judged: &Judged| {
            request.check_rename(warehouse, from, to, judged)
        };
        let (bucket, (from, to), judged) = self.named_in_body(call, parsed, tables, judge).await?;
        let key = idempotency_key(request)?;
        let rename =
            move |store: Store| async move { store.judged(judged).rename_table(&from, &to, key).await };
        self.owner(&bucket, rename).await
    }

    async fn commit_transaction(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = table_changes(&request.body);
        let tables: Tables<'_, Vec<TableChange>> = Some(&|changes| idents_of(changes));
        let judge = |changes: &Vec<TableChange>, warehouse: &str, judged: &Judged| {
            changes.iter().try_for_each(|change| request.check_change(warehouse, change, judged))
        };
        let (bucket, changes, judged) = self.named_in_body(call, parsed, tables, judge).await?;
        self.check_places(request, &bucket, judge::places_of_changes(&bucket.name, &changes)).await?;
        let key = idempotency_key(request)?;
        let commit =
            move |store: Store| async move { store.judged(judged).commit(&changes, false, key).await };
        self.owner(&bucket, commit).await
    }

    /// Drops a table, and has all that its metadata reaches deleted behind the answer.
    async fn purge_table(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
        ident: Ident,
        judged: Judged,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        let asked_by = request.access.kept();
        let context = Arc::clone(&self.purging);
        on_owner_core(&self.engine, bucket, &self.json_attributes, move |engine, store| async move {
            let store = store.judged(judged);
            let dropped = store.drop_table(&ident, Some(asked_by), key).await?;
            store.start_purges(&engine, &context);
            Ok(dropped)
        })
        .await
    }

    /// Goes on with the purges that have not ended: to be called once, on one core, when the store has recovered.
    pub async fn resume_purges(&self) {
        let Ok(directory) = self.engine.directory() else { return };
        let marked = |bucket: &&Arc<Bucket>| bucket.settings.get(SettingKind::CATALOG).is_some();
        for bucket in directory.buckets.values().filter(marked) {
            if let Err(failure) = self.resume_purges_of(bucket).await {
                let why = failure.answer().message;
                (self.purging.report)(format_args!(
                    "purges of warehouse {} do not go on: {why}",
                    bucket.name
                ));
            }
        }
    }

    async fn resume_purges_of(&self, bucket: &Arc<Bucket>) -> Result<(), CatalogError> {
        let has_open = self.engine.on_bucket(bucket, ValueOwner::Catalog, |bucket| async move {
            // Building the whole warehouse is left to its first use otherwise.
            purge::has_open(&bucket)
        });
        if !has_open.await.map_err(CatalogError::Engine)? {
            return Ok(());
        }
        let context = Arc::clone(&self.purging);
        on_owner_core(&self.engine, bucket, &self.json_attributes, move |engine, store| async move {
            store.start_purges(&engine, &context);
            Ok(())
        })
        .await
    }

    /// Purges of all warehouses, open and recently ended; and how many more there are than [`PURGES_LISTED_MAX`].
    pub async fn purges(&self) -> Result<(Vec<PurgeStatus>, usize), EngineError> {
        let directory = self.engine.directory()?;
        let (mut all, mut beyond) = (Vec::new(), 0);
        let marked = |bucket: &&Arc<Bucket>| bucket.settings.get(SettingKind::CATALOG).is_some();
        for bucket in directory.buckets.values().filter(marked) {
            let (name, room) = (Arc::clone(&bucket.name), PURGES_LISTED_MAX - all.len());
            let found = self.engine.on_bucket(bucket, ValueOwner::Catalog, move |bucket| async move {
                purge::statuses(&bucket, &name, room)
            });
            let (found, count) = found.await?;
            beyond += count - found.len();
            all.extend(found);
        }
        Ok((all, beyond))
    }

    /// The tables in whose locations these keys of a warehouse lie, for who is asked about rights on its files.
    pub async fn tables_of_keys(
        &self,
        bucket: &Arc<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<FileTable>>, LookUpError> {
        let count = keys.len();
        let found = self.owner(bucket, move |store| async move { store.tables_of_keys(&keys).await }).await;
        match found {
            // Without a warehouse there is no table.
            Err(CatalogError::NoSuchWarehouse(_)) => Ok(vec![None; count]),
            Err(CatalogError::Engine(failure)) => Err(LookUpError::Engine(failure)),
            found => found.map_err(|_| LookUpError::Unreadable),
        }
    }

    async fn owner<T, F, Fut>(&self, bucket: &Arc<Bucket>, job: F) -> Result<T, CatalogError>
    where
        T: Send + 'static,
        F: FnOnce(Store) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, CatalogError>> + 'static,
    {
        on_owner(&self.engine, bucket, &self.json_attributes, job).await
    }
}

/// Decoded parameters.
struct Query(uri::Query);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// A boolean in any case, as PyIceberg writes `True`.
    fn flag(&self, name: &str) -> Result<bool, CatalogError> {
        match self.get(name) {
            None | Some("") => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(CatalogError::BadRequest(format!("Invalid {name}: {value}"))),
        }
    }

    fn refs_only(&self) -> Result<bool, CatalogError> {
        match self.get("snapshots") {
            None | Some("") => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("all") => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("refs") => Ok(true),
            Some(value) => Err(CatalogError::BadRequest(format!("Invalid snapshots: {value}"))),
        }
    }

    /// Without `pageToken` and `pageSize` everything is in one answer.
    fn page(&self) -> Result<PageQuery, CatalogError> {
        let size = match self.get("pageSize").filter(|size| !size.is_empty()) {
            Some(text) => match text.parse::<usize>() {
                Ok(size) if 0 < size => Some(size),
                Ok(_) | Err(_) => return Err(CatalogError::BadRequest(format!("Invalid pageSize: {text}"))),
            },
            None => self.get("pageToken").map(|_| usize::MAX),
        };
        let after = match self.get("pageToken").filter(|token| !token.is_empty()) {
            Some(token) => Some(
                page_name(token)
                    .ok_or_else(|| CatalogError::BadRequest(format!("Invalid pageToken: {token}")))?,
            ),
            None => None,
        };
        Ok(PageQuery { size, after })
    }
}

/// A page token: the last name of the page before, in hexadecimal so that it needs no escaping.
fn page_token(name: &str) -> String {
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn page_name(token: &str) -> Option<String> {
    if !token.len().is_multiple_of(2) {
        return None;
    }
    let digits: Option<Vec<u8>> =
        token.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let bytes =
        digits?.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    String::from_utf8(bytes).ok()
}

fn listing(field: &str, page: &Page, entry: impl Fn(&str) -> Value) -> Outcome {
    let entries: Vec<Value> = page.names.iter().map(|name| entry(name)).collect();
    let token = page.next.as_deref().map(page_token);
    let body = json!({field: entries, "next-page-token": token});
    Outcome::Json(Bytes::from(body.to_string()))
}

/// The body of CreateTable.
fn new_table(body: &[u8], namespace: NamespaceName, who: &str) -> Result<CreateTable, CatalogError> {
    let mut body = json::object(body)?;
    Ok(CreateTable {
        ident: Ident::new(namespace, json::string(&body, "name")?)?,
        location: json::optional_string(&body, "location")?.map(str::to_owned),
        schema: json::optional_object(&mut body, "schema")?
            .ok_or_else(|| CatalogError::BadRequest("Missing field: schema".to_owned()))?,
        partition_spec: json::optional_object(&mut body, "partition-spec")?,
        write_order: json::optional_object(&mut body, "write-order")?,
        properties: json::properties(&mut body, "properties")?,
        staged_by: json::flag(&body, "stage-create")?.then(|| who.to_owned()),
    })
}

/// The body of CommitTransaction.
fn table_changes(body: &[u8]) -> Result<Vec<TableChange>, CatalogError> {
    let mut body = json::object(body)?;
    let Some(Value::Array(listed)) = body.shift_remove("table-changes") else {
        return Err(CatalogError::BadRequest("Missing field: table-changes".to_owned()));
    };
    at_most("TRANSACTION_TABLES_MAX", TRANSACTION_TABLES_MAX, listed.len())?;
    let mut changes = Vec::with_capacity(listed.len());
    for change in listed {
        let Value::Object(change) = change else {
            return Err(CatalogError::BadRequest(
                "Invalid field: table-changes is not a list of objects".to_owned(),
            ));
        };
        changes.push(table_change(change, None)?);
    }
    Ok(changes)
}

fn idents_of(changes: &[TableChange]) -> Vec<Ident> {
    changes.iter().map(|change| change.ident.clone()).collect()
}

/// One table's part of a commit. `path` is the table of the path; without it the body must name one.
fn table_change(
    mut body: serde_json::Map<String, Value>,
    path: Option<Ident>,
) -> Result<TableChange, CatalogError> {
    let stands_alone = path.is_some();
    let ident = match path {
        Some(ident) => ident,
        None => json::identifier(&body, "identifier")?,
    };
    let (required, wanted) = (json::list(&mut body, "requirements")?, json::list(&mut body, "updates")?);
    let requirements = commit::parse_requirements(&required)?;
    let updates = commit::parse_updates(&wanted)?;
    // Within a transaction another change may have something to be known by, and then all of it is.
    let is_known_again = !stands_alone || recognise::can_be_recognised(&requirements, &updates);
    let sent = is_known_again.then(|| SentChange::of(&ident.joined(), &required, &wanted)).flatten();
    Ok(TableChange { ident, requirements, updates, sent })
}

/// The request's idempotency key, with a digest of all that makes it this request.
fn idempotency_key(request: &Request<'_>) -> Result<Option<IdempotencyKey>, CatalogError> {
    let Some(text) = (request.header)("idempotency-key") else { return Ok(None) };
    let id = uuid::Uuid::parse_str(text.trim())
        .map_err(|_| CatalogError::BadRequest(format!("Invalid Idempotency-Key: {text} is not a UUID")))?;
    let operation = metadata_file::digest(&[
        request.principal.as_bytes(),
        b"\0",
        request.method.as_bytes(),
        b"\0",
        request.raw_path.as_bytes(),
        b"?",
        request.raw_query.as_bytes(),
        b"\0",
        &request.body,
    ]);
    let operation = uuid::Uuid::from_bytes(operation).as_u128();
    Ok(Some(IdempotencyKey { id: id.as_u128(), operation }))
}

fn accepts_gzip(request: &Request<'_>) -> bool {
    (request.header)("accept-encoding").is_some_and(|value| takes_gzip(&value))
}

/// Whether an `Accept-Encoding` takes gzip (RFC 9110, 12.5.3).
fn takes_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|part| {
            let quality = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            quality.is_some_and(|quality| quality.chars().all(|digit| digit == '0' || digit == '.'))
        });
        named && !refused
    })
}

fn render(outcome: Outcome, gzip_taken: bool) -> Response {
    // What one client gets compressed another gets plain, also where this answer is too small for it.
    let vary = || ("vary", "Accept-Encoding".to_owned());
    let json = || vec![("content-type", "application/json".to_owned()), vary()];
    match outcome {
        Outcome::Empty => Response { status: 204, headers: Vec::new(), body: Bytes::new(), gzip: false },
        Outcome::Json(body) => {
            let gzip = gzip_taken && GZIP_BYTES_MIN < body.len();
            let body = if gzip { Bytes::from(metadata_file::gzip(&body)) } else { body };
            Response { status: 200, headers: json(), body, gzip }
        }
        Outcome::Secret(body) => {
            let headers = vec![
                ("content-type", "application/json".to_owned()),
                ("cache-control", "no-store".to_owned()),
            ];
            Response { status: 200, headers, body, gzip: false }
        }
        Outcome::Table { body, gzip, etag, place: _ } => {
            let mut headers = json();
            headers.extend(etag.map(|etag| ("etag", etag)));
            Response { status: 200, headers, body, gzip }
        }
        Outcome::NotModified { etag } => {
            Response { status: 304, headers: vec![("etag", etag), vary()], body: Bytes::new(), gzip: false }
        }
    }
}

#[cfg(test)]
mod access_tests;

#[cfg(test)]
mod judge_tests;

#[cfg(test)]
mod tests {
    use super::*;

    struct Everything;

    impl Access for Everything {
        fn allows_with(&self, _: &'static str, _: Resource<'_>, _: &[(&'static str, &str)]) -> bool {
            true
        }
    }

    fn query(raw: &str) -> Query {
        Query(route::query(raw).expect("valid"))
    }

    #[test]
    fn flags() {
        let check =
            |raw: &str, want: Option<bool>| assert_eq!(query(raw).flag("purgeRequested").ok(), want, "{raw}");
        check("", Some(false));
        check("purgeRequested=", Some(false));
        check("purgeRequested=True", Some(true));
        check("purgeRequested=FALSE", Some(false));
        check("purgeRequested=1", None);
    }

    #[test]
    fn pages() {
        let check = |raw: &str, want: Option<(Option<usize>, Option<&str>)>| {
            let got = query(raw).page().ok();
            let got = got.as_ref().map(|page| (page.size, page.after.as_deref()));
            assert_eq!(got, want, "{raw}");
        };
        check("", Some((None, None)));
        check("pageToken=", Some((Some(usize::MAX), None)));
        check("pageSize=5", Some((Some(5), None)));
        check("pageToken=611f62&pageSize=5", Some((Some(5), Some("a\u{1f}b"))));
        check("pageSize=0", None);
        check("pageSize=-1", None);
        check("pageSize=x", None);
        check("pageToken=6", None);
        check("pageToken=zz", None);
        check("pageToken=ff", None);
        assert_eq!(page_name(&page_token("a\u{1f}ü")).as_deref(), Some("a\u{1f}ü"));
    }

    #[test]
    fn encodings() {
        let check = |value: &str, want: bool| assert_eq!(takes_gzip(value), want, "{value}");
        check("gzip", true);
        check("gzip, deflate", true);
        check("br;q=1.0, GZIP;q=0.5", true);
        check("gzip;q=0", false);
        check("gzip; q=0.000", false);
        check("identity", false);
        check("", false);
    }

    #[test]
    fn keys_tell_requests_apart() {
        let key = |header: Option<&str>, principal: &str, body: &'static str| {
            let header = header.map(str::to_owned);
            let request = Request {
                method: "POST",
                raw_path: "/v1/w/namespaces",
                raw_query: "",
                header: &|name| header.clone().filter(|_| name == "idempotency-key"),
                body: Bytes::from_static(body.as_bytes()),
                principal,
                access: &Everything,
                base_url: "http://h",
            };
            idempotency_key(&request)
        };
        const ID: &str = "0190f4c7-0000-7000-8000-000000000001";
        assert_eq!(key(None, "p", "").ok(), Some(None));
        assert!(key(Some("x"), "p", "").is_err());
        let first = key(Some(ID), "p", "a").expect("valid");
        assert_eq!(first, key(Some(ID), "p", "a").expect("valid"));
        assert_ne!(first, key(Some(ID), "p", "b").expect("valid"));
        assert_ne!(first, key(Some(ID), "q", "a").expect("valid"));
    }

    #[test]
    fn listings() {
        let page = Page { names: vec!["a".to_owned()], next: Some("a".to_owned()) };
        match listing("warehouses", &page, |name| Value::from(name)) {
            Outcome::Json(body) => assert_eq!(body, r#"{"warehouses":["a"],"next-page-token":"61"}"#),
            other => panic!("{other:?}"),
        }
    }
}
