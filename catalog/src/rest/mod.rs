//! The Iceberg REST protocol: a request's head and body ⇄ calls of the store. No sockets; called by the http crate.
//!
//! The connection's core routes, parses JSON and compresses listings; one job is carried to the warehouse's owner.
//! Everything that may go wrong ends in `error`, as JSON.

mod config;
pub(crate) mod error;
mod json;
mod route;

use std::sync::Arc;

use std::rc::Rc;

use bytes::Bytes;
use nilas_engine::{Bucket, Engine};
use serde_json::{Value, json};

pub use error::{iceberg_error, oauth_error};

use crate::commit;
use crate::limits::{BODY_BYTES_MAX, GZIP_BYTES_MIN, TRANSACTION_TABLES_MAX, at_most};
use crate::rest::route::{Place, Route};
use crate::store::commit::TableChange;
use crate::store::failure::Failure;
use crate::store::idempotency::IdempotencyKey;
use crate::store::names::{Ident, NamespaceName, warehouse_name};
use crate::store::state::{Page, PageQuery};
use crate::store::table::{CreateTable, LoadTable};
use crate::store::{Outcome, Store, metadata_file, on_owner, warehouse};

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
    /// Who asks. Everybody who is authenticated may do everything so far.
    pub principal: &'a str,
    /// `scheme://host[:port]` as the client used it; told to clients as their S3 endpoint.
    pub base_url: &'a str,
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
}

impl Catalog {
    /// Makes the handle. `json_attributes` are the attributes of the metadata objects that the catalog writes, `region`
    /// is what clients are told.
    pub fn new(engine: Engine, json_attributes: Bytes, region: &str) -> Catalog {
        Catalog { engine, json_attributes, region: region.into() }
    }

    /// Answers one request. A change is durable when this returns; dropping the future does not stop a change that was
    /// handed to the owner.
    pub async fn handle(&self, request: Request<'_>) -> Response {
        let mut response = match self.answer(&request).await {
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

    async fn answer(&self, request: &Request<'_>) -> Result<Response, Failure> {
        at_most("BODY_BYTES_MAX", BODY_BYTES_MAX, request.body.len())?;
        let route = route::route(request.raw_path)?;
        let allowed = route.methods();
        if !allowed.contains(&request.method) {
            return Err(Failure::MethodNotAllowed { method: request.method.to_owned(), allowed });
        }
        let query = Query(route::query(request.raw_query)?);
        let outcome = match route {
            Route::Config => self.config(&query, request.base_url)?,
            Route::Warehouses => self.warehouses(request, &query).await?,
            Route::Warehouse(name) if request.method == "GET" => {
                Outcome::Json(warehouse::get(&self.engine, &name)?)
            }
            Route::Warehouse(name) => {
                let preserve = query.flag("preserve-bucket")?;
                warehouse::delete(&self.engine, &self.json_attributes, &name, preserve).await?;
                Outcome::Empty
            }
            Route::In { warehouse, place } => {
                let bucket = match &warehouse {
                    Some(name) => warehouse::find(&self.engine, name)?,
                    None => self.named_or_only(&query)?,
                };
                self.in_warehouse(request, &query, &bucket, place).await?
            }
        };
        Ok(render(outcome, accepts_gzip(request)))
    }

    fn config(&self, query: &Query, base_url: &str) -> Result<Outcome, Failure> {
        let bucket = self.named_or_only(query)?;
        Ok(Outcome::Json(config::config(&bucket.name, base_url, &self.region)))
    }

    /// The warehouse of a request whose path has no prefix.
    fn named_or_only(&self, query: &Query) -> Result<Arc<Bucket>, Failure> {
        match query.get("warehouse").map(warehouse_name).filter(|name| !name.is_empty()) {
            Some(name) => warehouse::find(&self.engine, name),
            None => warehouse::only(&self.engine),
        }
    }

    async fn warehouses(&self, request: &Request<'_>, query: &Query) -> Result<Outcome, Failure> {
        if request.method == "GET" {
            let search = query.get("search").unwrap_or_default();
            let page = warehouse::list(&self.engine, search, &query.page()?)?;
            return Ok(listing("warehouses", &page, |name| Value::from(name)));
        }
        let body = json::object(&request.body)?;
        let (name, upgrade) = (json::string(&body, "name")?, json::flag_or(&body, "upgrade-existing", true)?);
        warehouse::create(&self.engine, &self.json_attributes, name, upgrade).await.map(Outcome::Json)
    }

    async fn in_warehouse(
        &self,
        request: &Request<'_>,
        query: &Query,
        bucket: &Arc<Bucket>,
        place: Place,
    ) -> Result<Outcome, Failure> {
        let method = request.method;
        match place {
            Place::Namespaces if method == "GET" => self.list_namespaces(query, bucket).await,
            Place::Namespaces => self.create_namespace(request, bucket).await,
            Place::Namespace(name) if method == "DELETE" => {
                let key = idempotency_key(request)?;
                self.owner(bucket, move |store| async move { store.drop_namespace(&name, key).await }).await
            }
            Place::Namespace(name) => {
                let outcome =
                    self.owner(bucket, move |store| async move { store.load_namespace(&name).await }).await?;
                Ok(if method == "HEAD" { Outcome::Empty } else { outcome })
            }
            Place::NamespaceProperties(name) => self.update_namespace(request, bucket, name).await,
            Place::Tables(namespace) if method == "GET" => self.list_tables(query, bucket, namespace).await,
            Place::Tables(namespace) => self.create_table(request, bucket, namespace).await,
            Place::Table(ident) if method == "HEAD" => {
                self.owner(bucket, move |store| async move { store.table_exists(&ident).await }).await
            }
            Place::Table(ident) if method == "DELETE" => {
                let (purge, key) = (query.flag("purgeRequested")?, idempotency_key(request)?);
                self.owner(bucket, move |store| async move { store.drop_table(&ident, purge, key).await })
                    .await
            }
            Place::Table(ident) if method == "POST" => {
                let key = idempotency_key(request)?;
                let changes = vec![table_change(json::object(&request.body)?, Some(ident))?];
                self.owner(bucket, move |store| async move { store.commit(&changes, true, key).await }).await
            }
            Place::Table(ident) => {
                let form = LoadTable {
                    refs_only: query.refs_only()?,
                    gzip: accepts_gzip(request),
                    if_none_match: (request.header)("if-none-match"),
                };
                self.owner(bucket, move |store| async move { store.load_table(&ident, &form).await }).await
            }
            Place::Metrics(_) => {
                let report = json::object(&request.body)?;
                json::string(&report, "report-type")?;
                Ok(Outcome::Empty)
            }
            Place::Register(namespace) => self.register_table(request, bucket, namespace).await,
            Place::Rename => {
                let body = json::object(&request.body)?;
                let from = json::identifier(&body, "source")?;
                let to = json::identifier(&body, "destination")?;
                let key = idempotency_key(request)?;
                self.owner(bucket, move |store| async move { store.rename_table(&from, &to, key).await })
                    .await
            }
            Place::Transactions => self.commit_transaction(request, bucket).await,
            Place::View(ident) if method == "GET" || method == "HEAD" => Err(Failure::NoSuchView(ident)),
            Place::View(_) | Place::Views => Err(Failure::Unsupported("views")),
        }
    }

    async fn list_namespaces(&self, query: &Query, bucket: &Arc<Bucket>) -> Result<Outcome, Failure> {
        let parent = query.get("parent").filter(|parent| !parent.is_empty());
        let parent = parent.map(NamespaceName::parse).transpose()?;
        let page = query.page()?;
        let page =
            self.owner(bucket, move |store| async move { store.list_namespaces(parent, page).await }).await?;
        Ok(listing("namespaces", &page, |name| {
            name.split(crate::store::names::SEPARATOR).map(Value::from).collect::<Vec<_>>().into()
        }))
    }

    async fn create_namespace(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
    ) -> Result<Outcome, Failure> {
        let mut body = json::object(&request.body)?;
        let name = json::namespace(&body, "namespace")?;
        let properties = json::properties(&mut body, "properties")?;
        let key = idempotency_key(request)?;
        self.owner(bucket, move |store| async move { store.create_namespace(&name, properties, key).await })
            .await
    }

    async fn update_namespace(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
        name: NamespaceName,
    ) -> Result<Outcome, Failure> {
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
    ) -> Result<Outcome, Failure> {
        let levels: Vec<Value> = namespace.levels().map(Value::from).collect();
        let page = query.page()?;
        let page =
            self.owner(bucket, move |store| async move { store.list_tables(&namespace, page).await }).await?;
        Ok(listing("identifiers", &page, |name| json!({"namespace": levels, "name": name})))
    }

    async fn create_table(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
        namespace: NamespaceName,
    ) -> Result<Outcome, Failure> {
        let mut body = json::object(&request.body)?;
        let create = CreateTable {
            ident: Ident::new(namespace, json::string(&body, "name")?)?,
            location: json::optional_string(&body, "location")?.map(str::to_owned),
            schema: json::optional_object(&mut body, "schema")?
                .ok_or_else(|| Failure::BadRequest("Missing field: schema".to_owned()))?,
            partition_spec: json::optional_object(&mut body, "partition-spec")?,
            write_order: json::optional_object(&mut body, "write-order")?,
            properties: json::properties(&mut body, "properties")?,
            staged: json::flag(&body, "stage-create")?,
        };
        let key = idempotency_key(request)?;
        self.owner(bucket, move |store| async move { store.create_table(&create, key).await }).await
    }

    async fn register_table(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
        namespace: NamespaceName,
    ) -> Result<Outcome, Failure> {
        let body = json::object(&request.body)?;
        let ident = Ident::new(namespace, json::string(&body, "name")?)?;
        let metadata_location = json::string(&body, "metadata-location")?.to_owned();
        let overwrite = json::flag(&body, "overwrite")?;
        let key = idempotency_key(request)?;
        self.owner(bucket, move |store| async move {
            store.register_table(&ident, &metadata_location, overwrite, key).await
        })
        .await
    }

    async fn commit_transaction(
        &self,
        request: &Request<'_>,
        bucket: &Arc<Bucket>,
    ) -> Result<Outcome, Failure> {
        let mut body = json::object(&request.body)?;
        let Some(Value::Array(listed)) = body.shift_remove("table-changes") else {
            return Err(Failure::BadRequest("Missing field: table-changes".to_owned()));
        };
        at_most("TRANSACTION_TABLES_MAX", TRANSACTION_TABLES_MAX, listed.len())?;
        let mut changes = Vec::with_capacity(listed.len());
        for change in listed {
            let Value::Object(change) = change else {
                return Err(Failure::BadRequest(
                    "Invalid field: table-changes is not a list of objects".to_owned(),
                ));
            };
            changes.push(table_change(change, None)?);
        }
        let key = idempotency_key(request)?;
        self.owner(bucket, move |store| async move { store.commit(&changes, false, key).await }).await
    }

    async fn owner<T, F, Fut>(&self, bucket: &Arc<Bucket>, job: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(Store) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Failure>> + 'static,
    {
        on_owner(&self.engine, bucket, &self.json_attributes, job).await
    }
}

/// Decoded parameters.
struct Query(Vec<(String, String)>);

impl Query {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean in any case, as PyIceberg writes `True`.
    fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.get(name) {
            None | Some("") => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(Failure::BadRequest(format!("Invalid {name}: {value}"))),
        }
    }

    fn refs_only(&self) -> Result<bool, Failure> {
        match self.get("snapshots") {
            None | Some("") => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("all") => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("refs") => Ok(true),
            Some(value) => Err(Failure::BadRequest(format!("Invalid snapshots: {value}"))),
        }
    }

    /// Without `pageToken` and `pageSize` everything is in one answer.
    fn page(&self) -> Result<PageQuery, Failure> {
        let size = match self.get("pageSize").filter(|size| !size.is_empty()) {
            Some(text) => match text.parse::<usize>() {
                Ok(size) if 0 < size => Some(size),
                Ok(_) | Err(_) => return Err(Failure::BadRequest(format!("Invalid pageSize: {text}"))),
            },
            None => self.get("pageToken").map(|_| usize::MAX),
        };
        let after = match self.get("pageToken").filter(|token| !token.is_empty()) {
            Some(token) => Some(
                page_name(token).ok_or_else(|| Failure::BadRequest(format!("Invalid pageToken: {token}")))?,
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

/// One table's part of a commit. `path` is the table of the path; without it the body must name one.
fn table_change(
    mut body: serde_json::Map<String, Value>,
    path: Option<Ident>,
) -> Result<TableChange, Failure> {
    let ident = match path {
        Some(ident) => ident,
        None => json::identifier(&body, "identifier")?,
    };
    Ok(TableChange {
        ident,
        requirements: commit::parse_requirements(&json::list(&mut body, "requirements")?)?,
        updates: commit::parse_updates(&json::list(&mut body, "updates")?)?,
    })
}

/// The request's idempotency key, with a digest of all that makes it this request.
fn idempotency_key(request: &Request<'_>) -> Result<Option<IdempotencyKey>, Failure> {
    let Some(text) = (request.header)("idempotency-key") else { return Ok(None) };
    let id = uuid::Uuid::parse_str(text.trim())
        .map_err(|_| Failure::BadRequest(format!("Invalid Idempotency-Key: {text} is not a UUID")))?;
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
    let json_type = || ("content-type", "application/json".to_owned());
    match outcome {
        Outcome::Empty => Response { status: 204, headers: Vec::new(), body: Bytes::new(), gzip: false },
        Outcome::Json(body) => {
            let gzip = gzip_taken && GZIP_BYTES_MIN < body.len();
            let body = if gzip { Bytes::from(metadata_file::gzip(&body)) } else { body };
            Response { status: 200, headers: vec![json_type()], body, gzip }
        }
        Outcome::Table { body, gzip, etag } => {
            let mut headers = vec![json_type()];
            headers.extend(etag.map(|etag| ("etag", etag)));
            Response { status: 200, headers, body, gzip }
        }
        Outcome::NotModified { etag } => {
            Response { status: 304, headers: vec![("etag", etag)], body: Bytes::new(), gzip: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
