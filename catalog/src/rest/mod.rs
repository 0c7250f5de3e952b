//! The Iceberg REST protocol: a request's head and body ⇄ calls of the store. No sockets; called by the http crate.
//!
//! The connection's core routes, parses JSON and compresses listings; one job is carried to the warehouse's owner.
//! Everything that may go wrong ends in `error`, as JSON.

mod config;
mod error;
mod json;
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

use crate::access::{Access, KeptAccess, KeptPrincipal, Resource};
use crate::commit::{self, SentChange};
use crate::limits::{
    BODY_BYTES_MAX, GZIP_BYTES_MIN, PURGE_LOOK_MS, PURGE_WAIT_MS_MAX, PURGES_LISTED_MAX,
    TRANSACTION_TABLES_MAX, at_most,
};
use crate::rest::route::{Asked, Target};
use crate::store::commit::TableChange;
use crate::store::failure::CatalogError;
use crate::store::idempotency::IdempotencyKey;
use crate::store::names::{Ident, Names, NamespaceName, warehouse_name};
use crate::store::purge::{self, PurgeContext};
use crate::store::purge_state::{PurgeFigures, PurgeStatus};
use crate::store::state::{Page, PageQuery};
use crate::store::table::{CreateTable, LoadTable};
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
    /// Who asks: part of what an idempotency key is remembered with.
    pub principal: &'a str,
    /// Says what they may do.
    pub access: &'a dyn Access,
    /// `scheme://host[:port]` as the client used it; told to clients as their S3 endpoint.
    pub base_url: &'a str,
}

/// Stands for the name of a warehouse where the request has none and none may be revealed.
const ANY_WAREHOUSE: &str = "*";

impl Request<'_> {
    fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), CatalogError> {
        let action = operation.facts().action;
        match self.access.allows(action, resource) {
            true => Ok(()),
            false => Err(CatalogError::Forbidden { action, resource: resource.to_string() }),
        }
    }

    fn check_table(&self, operation: Operation, warehouse: &str, ident: &Ident) -> Result<(), CatalogError> {
        self.check(operation, table_resource(warehouse, ident))
    }

    /// One table of a commit, wherever it is named. A commit that makes the table needs what creating it needs.
    fn check_change(&self, warehouse: &str, change: &TableChange) -> Result<(), CatalogError> {
        let creates = change.requirements.iter().any(commit::Requirement::is_assert_create);
        let operation = if creates { Operation::CreateTable } else { Operation::UpdateTable };
        self.check_table(operation, warehouse, &change.ident)
    }
}

/// A request for an operation, taken apart.
struct Call<'a> {
    request: &'a Request<'a>,
    operation: Operation,
    query: Query,
    /// That of the path.
    warehouse: Option<String>,
    names: Names,
}

impl Call<'_> {
    /// Refuses what the sender may not do on what the path names in `warehouse`.
    fn judge_path(&self, warehouse: &str) -> Result<(), CatalogError> {
        self.judge(&self.names, warehouse)
    }

    fn judge(&self, names: &Names, warehouse: &str) -> Result<(), CatalogError> {
        let resource = match names {
            Names::Nothing => Resource::Warehouse(warehouse),
            Names::Namespace(namespace) => Resource::Namespace { warehouse, namespace: namespace.as_str() },
            Names::Ident(ident) => table_resource(warehouse, ident),
        };
        self.request.check(self.operation, resource)
    }
}

fn table_resource<'a>(warehouse: &'a str, ident: &'a Ident) -> Resource<'a> {
    Resource::Table { warehouse, namespace: ident.namespace.as_str(), table: &ident.name, id: None }
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

/// Lets nobody do anything later.
struct Nobody;

impl KeptAccess for Nobody {
    fn allows(&self, _who: &KeptPrincipal, _action: &'static str, _resource: Resource<'_>) -> bool {
        false
    }
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
        let purging = PurgeContext { access: Arc::new(Nobody), figures: Arc::default(), report: |_| () };
        Catalog { engine, json_attributes, region: region.into(), purging: Arc::new(purging) }
    }

    /// The same with a say for purges: whom they ask about files outside of the warehouse's bucket (nobody may touch those
    /// otherwise), where they are counted, and who learns what they leave.
    pub fn with_purges(
        self,
        access: Arc<dyn KeptAccess>,
        figures: Arc<PurgeFigures>,
        report: fn(std::fmt::Arguments<'_>),
    ) -> Catalog {
        Catalog { purging: Arc::new(PurgeContext { access, figures, report }), ..self }
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
                let mut call = Call { request, operation, query, warehouse, names };
                if let Some(literal) = literal.filter(|_| !operation.reads_plus_as_blank()) {
                    self.choose_names(&mut call, literal).await;
                }
                self.serve(call).await?
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

    /// The warehouse of a request: that of its path, that of its query, or the only one. `judge` is asked by its name
    /// before anything is revealed of it; where the request does not name it, a refusal does neither.
    fn warehouse(
        &self,
        prefix: Option<&str>,
        query: &Query,
        judge: impl FnOnce(&str) -> Result<(), CatalogError>,
    ) -> Result<Arc<Bucket>, CatalogError> {
        let asked = || query.get("warehouse").map(warehouse_name).filter(|name| !name.is_empty());
        if let Some(name) = prefix.or_else(asked) {
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

    /// Decides how a plus in the path is read. As a blank, unless `literal` names more of what is there; a reading on which the
    /// sender may not do what they ask for is not looked up, so nothing is learned of it.
    async fn choose_names(&self, call: &mut Call<'_>, literal: Names) {
        let Ok(bucket) = self.warehouse(call.warehouse.as_deref(), &call.query, |_| Ok(())) else { return };
        let is_literal = match (call.judge_path(&bucket.name), call.judge(&literal, &bucket.name)) {
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

    /// The warehouse of an operation that is judged on what its path names.
    fn named_in_path(&self, call: &Call<'_>) -> Result<Arc<Bucket>, CatalogError> {
        self.warehouse(call.warehouse.as_deref(), &call.query, |name| call.judge_path(name))
    }

    /// The warehouse of an operation that is judged on what its body names, and that body. `judge` is asked before
    /// anything is revealed of the warehouse. Where the body names nothing, only senders who may do it on all that the path
    /// names hear of the warehouse first; to others the body is what is wrong.
    fn named_in_body<T>(
        &self,
        call: &Call<'_>,
        parsed: Result<T, CatalogError>,
        judge: impl FnOnce(&T, &str) -> Result<(), CatalogError>,
    ) -> Result<(Arc<Bucket>, T), CatalogError> {
        let judge = |name: &str| match &parsed {
            Ok(body) => judge(body, name),
            Err(failure) => call.judge_path(name).map_err(|_| failure.clone()),
        };
        let bucket = self.warehouse(call.warehouse.as_deref(), &call.query, judge)?;
        Ok((bucket, parsed?))
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
        warehouse::create(&self.engine, &self.json_attributes, name, upgrade).await.map(Outcome::Json)
    }

    async fn one_warehouse(&self, call: &Call<'_>) -> Result<Outcome, CatalogError> {
        let name = call.warehouse.as_deref().unwrap_or_default();
        call.request.check(call.operation, Resource::Warehouse(name))?;
        if call.operation == Operation::GetWarehouse {
            return warehouse::get(&self.engine, name).map(Outcome::Json);
        }
        let preserve = call.query.flag("preserve-bucket")?;
        let delete = async || warehouse::delete(&self.engine, &self.json_attributes, name, preserve).await;
        self.behind_purges(delete).await?;
        Ok(Outcome::Empty)
    }

    /// Carries out an operation. Each arm asks what its sender may do before it looks at anything.
    async fn serve(&self, call: Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        match call.operation {
            // Whoever takes the requests issues the tokens.
            Operation::GetToken => Err(CatalogError::NoSuchRoute(request.raw_path.to_owned())),
            Operation::ListWarehouses => {
                request.check(Operation::ListWarehouses, Resource::Service)?;
                self.list_warehouses(&call.query)
            }
            Operation::CreateWarehouse => self.create_warehouse(request).await,
            Operation::GetWarehouse | Operation::DeleteWarehouse => self.one_warehouse(&call).await,
            Operation::GetConfig => {
                let bucket = self.named_in_path(&call)?;
                Ok(Outcome::Json(config::config(&bucket.name, request.base_url, &self.region)))
            }
            Operation::ListNamespaces => {
                let bucket = self.named_in_path(&call)?;
                self.list_namespaces(&call.query, &bucket).await
            }
            Operation::CreateNamespace => self.create_namespace(call).await,
            Operation::LoadNamespaceMetadata => {
                let bucket = self.named_in_path(&call)?;
                let name = call.names.namespace()?;
                self.owner(&bucket, move |store| async move { store.load_namespace(&name).await }).await
            }
            Operation::NamespaceExists => {
                let bucket = self.named_in_path(&call)?;
                let name = call.names.namespace()?;
                self.owner(&bucket, move |store| async move { store.load_namespace(&name).await }).await?;
                Ok(Outcome::Empty)
            }
            Operation::DropNamespace => {
                let bucket = self.named_in_path(&call)?;
                let (name, key) = (call.names.namespace()?, idempotency_key(request)?);
                self.owner(&bucket, move |store| async move { store.drop_namespace(&name, key).await }).await
            }
            Operation::UpdateProperties => {
                let bucket = self.named_in_path(&call)?;
                self.update_namespace(request, &bucket, call.names.namespace()?).await
            }
            Operation::ListTables => {
                let bucket = self.named_in_path(&call)?;
                self.list_tables(&call.query, &bucket, call.names.namespace()?).await
            }
            Operation::CreateTable => self.create_table(call).await,
            Operation::LoadTable => {
                let bucket = self.named_in_path(&call)?;
                let ident = call.names.table()?;
                let form = LoadTable {
                    refs_only: call.query.refs_only()?,
                    gzip: accepts_gzip(request),
                    if_none_match: (request.header)("if-none-match"),
                };
                self.owner(&bucket, move |store| async move { store.load_table(&ident, &form).await }).await
            }
            Operation::TableExists => {
                let bucket = self.named_in_path(&call)?;
                let ident = call.names.table()?;
                self.owner(&bucket, move |store| async move { store.table_exists(&ident).await }).await
            }
            Operation::UpdateTable => self.update_table(call).await,
            Operation::DropTable => {
                let bucket = self.named_in_path(&call)?;
                let ident = call.names.table()?;
                let (purge, key) = (call.query.flag("purgeRequested")?, idempotency_key(request)?);
                match purge {
                    true => self.purge_table(request, &bucket, ident, key).await,
                    false => {
                        self.owner(
                            &bucket,
                            move |store| async move { store.drop_table(&ident, None, key).await },
                        )
                        .await
                    }
                }
            }
            Operation::RegisterTable => self.register_table(call).await,
            Operation::ReportMetrics => {
                self.named_in_path(&call)?;
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

    async fn create_namespace(&self, call: Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = json::object(&request.body).and_then(|mut body| {
            Ok((json::namespace(&body, "namespace")?, json::properties(&mut body, "properties")?))
        });
        let (bucket, (name, properties)) = self.named_in_body(&call, parsed, |(name, _), warehouse| {
            let namespace = name.as_str();
            request.check(Operation::CreateNamespace, Resource::Namespace { warehouse, namespace })
        })?;
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

    async fn create_table(&self, call: Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = call.names.namespace().and_then(|namespace| new_table(&request.body, namespace));
        let (bucket, create) = self.named_in_body(&call, parsed, |create, warehouse| {
            request.check_table(Operation::CreateTable, warehouse, &create.ident)
        })?;
        let key = idempotency_key(request)?;
        let create = Arc::new(create);
        self.behind_purges(async || {
            let create = Arc::clone(&create);
            self.owner(&bucket, move |store| async move { store.create_table(&create, key).await }).await
        })
        .await
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

    async fn update_table(&self, call: Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = idempotency_key(request).and_then(|key| {
            let change = table_change(json::object(&request.body)?, Some(call.names.table()?))?;
            Ok((change, key))
        });
        let (bucket, (change, key)) = self
            .named_in_body(&call, parsed, |(change, _), warehouse| request.check_change(warehouse, change))?;
        let changes = vec![change];
        self.owner(&bucket, move |store| async move { store.commit(&changes, true, key).await }).await
    }

    async fn register_table(&self, call: Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = call.names.namespace().and_then(|namespace| {
            let body = json::object(&request.body)?;
            let ident = Ident::new(namespace, json::string(&body, "name")?)?;
            let metadata_location = json::string(&body, "metadata-location")?.to_owned();
            Ok((ident, metadata_location, json::flag(&body, "overwrite")?))
        });
        let (bucket, (ident, metadata_location, overwrite)) =
            self.named_in_body(&call, parsed, |(ident, ..), warehouse| {
                request.check_table(Operation::RegisterTable, warehouse, ident)
            })?;
        let key = idempotency_key(request)?;
        let names = Arc::new((ident, metadata_location));
        self.behind_purges(async || {
            let names = Arc::clone(&names);
            self.owner(&bucket, move |store| async move {
                let (ident, metadata_location) = &*names;
                store.register_table(ident, metadata_location, overwrite, key).await
            })
            .await
        })
        .await
    }

    async fn rename_table(&self, call: Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = json::object(&request.body).and_then(|body| {
            Ok((json::identifier(&body, "source")?, json::identifier(&body, "destination")?))
        });
        let (bucket, (from, to)) = self.named_in_body(&call, parsed, |(from, to), warehouse| {
            request.check_table(Operation::RenameTable, warehouse, from)?;
            request.check_table(Operation::RenameTable, warehouse, to)
        })?;
        let key = idempotency_key(request)?;
        self.owner(&bucket, move |store| async move { store.rename_table(&from, &to, key).await }).await
    }

    async fn commit_transaction(&self, call: Call<'_>) -> Result<Outcome, CatalogError> {
        let request = call.request;
        let parsed = table_changes(&request.body);
        let (bucket, changes) = self.named_in_body(&call, parsed, |changes, warehouse| {
            changes.iter().try_for_each(|change| request.check_change(warehouse, change))
        })?;
        let key = idempotency_key(request)?;
        self.owner(&bucket, move |store| async move { store.commit(&changes, false, key).await }).await
    }

    /// Drops a table, and has all that its metadata reaches deleted behind the answer.
    async fn purge_table(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
        ident: Ident,
        key: Option<IdempotencyKey>,
    ) -> Result<Outcome, CatalogError> {
        let asked_by = request.access.kept();
        let context = Arc::clone(&self.purging);
        on_owner_core(&self.engine, bucket, &self.json_attributes, move |engine, store| async move {
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
fn new_table(body: &[u8], namespace: NamespaceName) -> Result<CreateTable, CatalogError> {
    let mut body = json::object(body)?;
    Ok(CreateTable {
        ident: Ident::new(namespace, json::string(&body, "name")?)?,
        location: json::optional_string(&body, "location")?.map(str::to_owned),
        schema: json::optional_object(&mut body, "schema")?
            .ok_or_else(|| CatalogError::BadRequest("Missing field: schema".to_owned()))?,
        partition_spec: json::optional_object(&mut body, "partition-spec")?,
        write_order: json::optional_object(&mut body, "write-order")?,
        properties: json::properties(&mut body, "properties")?,
        staged: json::flag(&body, "stage-create")?,
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
        Outcome::Table { body, gzip, etag } => {
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
