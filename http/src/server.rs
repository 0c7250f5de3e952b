//! What one core answers requests with: [`CoreState`], made by `process::core`, which then calls [`CoreState::handle`]
//! for every request of the core's connections.

use std::cell::{Cell, OnceCell, RefCell};
use std::pin::Pin;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use nilas_catalog::{Catalog, iceberg_error, oauth_error};
use nilas_engine::rt;
use nilas_engine::{CoreId, Engine, EngineError};
use sha2::{Digest, Sha256};

use crate::admin::{self, Figures};
use crate::auth::{RequestView, SigningKeyCache, bearer, precheck, verify, verify_with_body};
use crate::body::Md5Lanes;
use crate::download::Downloads;
use crate::limits::{ANSWER_BYTES_MIN, CATALOG_BODY_BYTES_MAX};
use crate::listen::RequestBody;
use crate::memory::{Budget, CoreMemory, Gather, Shortage, document_cost};
use crate::process::config::ScrubSettings;
use crate::render::body::ResponseBody;
use crate::render::error::Failure;
use crate::root_key::RootKey;
use crate::route::{Admin, Route, route};
use crate::s3::{Owner, S3, json_attributes};

/// What one core needs to answer requests.
pub(crate) struct CoreState {
    /// There once the store has recovered.
    parts: OnceCell<Services>,
    identity: Identity,
    request_ids: RequestIds,
    /// The region that S3 clients are told.
    region: String,
    scrub: ScrubSettings,
    /// What is counted and shown of the process and this core.
    figures: Figures,
    memory: CoreMemory,
    downloads: Downloads,
}

/// Who may ask, and what verifying them costs again and again.
struct Identity {
    root_key: RootKey,
    signing_keys: RefCell<SigningKeyCache>,
}

/// Ids of requests: unique in this process, and hard to confuse with another process's.
struct RequestIds {
    core: CoreId,
    next: Cell<u64>,
    salt: u128,
}

/// What there is once the store has recovered.
struct Services {
    engine: Engine,
    s3: S3,
    catalog: Catalog,
}

impl RequestIds {
    fn next(&self) -> String {
        let number = self.next.get();
        self.next.set(number + 1);
        let salt = self.salt ^ (self.salt >> 64);
        format!("{:08X}{:02X}{number:010X}", salt & 0xffff_ffff, self.core.0)
    }
}

impl CoreState {
    /// A core that answers health pages and tells everything else to come again, until [`CoreState::set_engine`].
    pub(crate) fn new(figures: Figures, root_key: RootKey, region: &str, scrub: ScrubSettings) -> CoreState {
        let memory = figures.memory().clone();
        CoreState {
            parts: OnceCell::new(),
            identity: Identity { root_key, signing_keys: RefCell::new(SigningKeyCache::new()) },
            request_ids: RequestIds { core: figures.core, next: Cell::new(0), salt: rt::random_u128() },
            region: region.to_owned(),
            scrub,
            figures,
            downloads: Downloads::new(memory.downloads.clone()),
            memory,
        }
    }

    /// Lets the core serve. To be called once, by the recovery of this core.
    pub(crate) fn set_engine(&self, engine: Engine) {
        let owner = Owner { id: self.identity.root_key.owner_id(), display_name: "root".to_owned() };
        let md5_lanes = Md5Lanes::new();
        let s3 = S3 {
            engine: engine.clone(),
            region: self.region.clone(),
            owner,
            md5_lanes,
            memory: self.memory.clone(),
            downloads: self.downloads.clone(),
        };
        let catalog = Catalog::new(engine.clone(), json_attributes(), &self.region);
        // Set once, by the one recovery of this core.
        drop(self.parts.set(Services { engine, s3, catalog }));
    }

    /// The engine, once the store has recovered.
    pub(crate) fn engine(&self) -> Option<&Engine> {
        self.parts.get().map(|parts| &parts.engine)
    }

    /// The core.
    pub(crate) fn core(&self) -> CoreId {
        self.figures.core
    }

    /// What this core's requests may hold.
    pub(crate) fn memory(&self) -> &CoreMemory {
        &self.memory
    }

    /// What was refused since the last look; cuts downloads whose client does not read while others lack room.
    pub(crate) fn shortage(&self) -> Shortage {
        self.downloads.shed_stalled();
        self.memory.take_shortage()
    }

    /// Answers one request.
    pub(crate) async fn handle(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let started_us = rt::monotonic_us();
        let (head, body) = request.into_parts();
        let request_id = self.request_ids.next();
        let (api, operation, response) = self.dispatch(&head, body, &request_id).await;
        let response = self.hold_answer(api, response, &head, &request_id);
        let took_us = rt::monotonic_us().saturating_sub(started_us);
        self.figures.count(api, operation, response.status(), took_us);
        response
    }

    /// Counts the bytes of an answer until they are sent. An answer that there is no room for is refused, unless it tells
    /// of a change that is done. What others hold as well is counted by them, and so are objects.
    fn hold_answer(
        &self,
        api: &'static str,
        mut response: Response<ResponseBody>,
        head: &Parts,
        request_id: &str,
    ) -> Response<ResponseBody> {
        let ResponseBody::Full(bytes) = response.body_mut() else { return response };
        if bytes.len() < ANSWER_BYTES_MIN || !bytes.is_unique() {
            return response;
        }
        let answers = &self.memory.answers;
        let hold = match answers.try_take(bytes.len()) {
            Some(hold) => hold,
            None if api == "admin" || !head.method.is_safe() => answers.take_over(bytes.len()),
            None if api == "s3" => return self.refuse_s3(answers.refuse().into(), head, request_id),
            None => return busy_iceberg(&answers.refuse(), head),
        };
        *bytes = hold.bind(std::mem::take(bytes));
        response
    }

    async fn dispatch(
        &self,
        head: &Parts,
        body: RequestBody,
        request_id: &str,
    ) -> (&'static str, &'static str, Response<ResponseBody>) {
        let route = match route(head, &[]) {
            Ok(route) => route,
            Err(failure) => {
                let failure = self.refusal(head, failure);
                return ("s3", "Unknown", self.refuse_s3(failure, head, request_id));
            }
        };
        match route {
            Route::Admin(Admin::Scrub) => ("admin", "Scrub", self.scrub(head, request_id).await),
            Route::Admin(page) => ("admin", admin::name(page), self.admin(page)),
            Route::Iceberg { rest } => ("iceberg", "Iceberg", self.iceberg(head, rest, body).await),
            Route::S3(target) => {
                let name = target.operation.name();
                let Some(parts) = self.parts.get() else {
                    return ("s3", name, self.refuse_s3(starting(), head, request_id));
                };
                let view = view_of(head);
                let now_ms = parts.engine.now_ms();
                let verified = verify(
                    &view,
                    &self.identity.root_key,
                    &mut self.identity.signing_keys.borrow_mut(),
                    now_ms,
                );
                let response = match verified {
                    Ok(verified) => parts.s3.handle(&target, head, &verified, body, request_id).await,
                    Err(error) => self.refuse_s3(Failure::from(error), head, request_id),
                };
                ("s3", name, response)
            }
        }
    }

    /// What a request is told that asks for nothing that is served: who may not ask is told that and no more.
    /// Preflights of browsers are never signed.
    fn refusal(&self, head: &Parts, failure: Failure) -> Failure {
        if head.method == Method::OPTIONS {
            return failure;
        }
        let mut signing_keys = self.identity.signing_keys.borrow_mut();
        let verified = verify(&view_of(head), &self.identity.root_key, &mut signing_keys, rt::now_ms());
        verified.err().map_or(failure, Failure::from)
    }

    /// An S3 refusal before the operation itself; works without an engine.
    fn refuse_s3(&self, failure: Failure, head: &Parts, request_id: &str) -> Response<ResponseBody> {
        crate::s3::refuse(failure, head, request_id, rt::now_ms())
    }

    fn admin(&self, page: Admin) -> Response<ResponseBody> {
        match page {
            Admin::Healthz => admin::plain(StatusCode::OK, "ok\n"),
            Admin::Readyz if self.figures.is_ready() => admin::plain(StatusCode::OK, "ready\n"),
            Admin::Readyz => admin::plain(StatusCode::SERVICE_UNAVAILABLE, "recovering\n"),
            Admin::Metrics => admin::metrics(&self.figures, self.engine()),
            Admin::Scrub => admin::plain(StatusCode::FORBIDDEN, "signed requests only\n"),
        }
    }

    /// How far the scrub is; a POST starts a pass now. Damaged objects are named, so the request is signed.
    async fn scrub(&self, head: &Parts, request_id: &str) -> Response<ResponseBody> {
        let Some(parts) = self.parts.get() else { return self.refuse_s3(starting(), head, request_id) };
        let now_ms = parts.engine.now_ms();
        let verified = verify(
            &view_of(head),
            &self.identity.root_key,
            &mut self.identity.signing_keys.borrow_mut(),
            now_ms,
        )
        .map(drop);
        if let Err(error) = verified {
            return self.refuse_s3(Failure::from(error), head, request_id);
        }
        let mut started = Ok(());
        if head.method == Method::POST {
            started = parts.engine.scrub_start(self.scrub.now()).await;
        }
        let status = match started {
            Ok(()) => parts.engine.scrub_status().await,
            Err(error) => Err(error),
        };
        match status {
            Ok(shards) => admin::scrub(&shards),
            Err(_) => {
                admin::plain(StatusCode::SERVICE_UNAVAILABLE, "a core is busy or stopping: try again\n")
            }
        }
    }

    async fn iceberg(&self, head: &Parts, rest: &str, body: RequestBody) -> Response<ResponseBody> {
        let Some(parts) = self.parts.get() else {
            let message = "the store is recovering, try again";
            return render_iceberg(iceberg_error(503, "ServiceUnavailableException", message), head);
        };
        let is_token = rest.trim_end_matches('/') == "/v1/oauth/tokens";
        let now_ms = parts.engine.now_ms();
        let view = view_of(head);
        let bearer = bearer_token(&head.headers);
        if !is_token {
            // Who cannot be anybody does not get to send megabytes.
            let known = match bearer {
                Some(token) => {
                    bearer::verify_bearer(token, now_ms, self.identity.root_key.sealing_key()).is_some()
                }
                None => {
                    if let Err(error) = precheck(&view, &self.identity.root_key, now_ms) {
                        return render_iceberg(
                            iceberg_error(403, "ForbiddenException", &error.message()),
                            head,
                        );
                    }
                    true
                }
            };
            if !known {
                let message = "the token is not valid or has expired";
                return render_iceberg(iceberg_error(401, "NotAuthorizedException", message), head);
            }
        }
        let body = match read_body(body, CATALOG_BODY_BYTES_MAX, &self.memory.documents).await {
            Ok(body) => body,
            Err(BodyFailure::TooLarge) => {
                let message = format!(
                    "the request body is over CATALOG_BODY_BYTES_MAX, {CATALOG_BODY_BYTES_MAX} bytes"
                );
                return render_iceberg(iceberg_error(413, "BadRequestException", &message), head);
            }
            Err(BodyFailure::Broken) => {
                let message = "the request body ended before its announced length";
                return render_iceberg(iceberg_error(400, "BadRequestException", message), head);
            }
            Err(BodyFailure::Busy(error)) => return busy_iceberg(&error, head),
        };
        // What the values will take beside the text, which is counted with the body.
        let documents = &self.memory.documents;
        let cost = document_cost(&body);
        if documents.max() < cost {
            let message = format!(
                "the request takes {cost} bytes, DOCUMENT_BYTES_MAX is {} on this machine",
                documents.max()
            );
            return render_iceberg(iceberg_error(413, "BadRequestException", &message), head);
        }
        let _values = match documents.take(cost - body.len()).await {
            Ok(hold) => hold,
            Err(error) => return busy_iceberg(&error, head),
        };
        if is_token {
            return self.oauth(head, &body, now_ms);
        }
        let principal = match bearer {
            Some(token) => bearer::verify_bearer(token, now_ms, self.identity.root_key.sealing_key()),
            None => {
                let sha256 = Sha256::digest(&body).into();
                let mut cache = self.identity.signing_keys.borrow_mut();
                match verify_with_body(&view, &sha256, &self.identity.root_key, &mut cache, now_ms) {
                    Ok(verified) => Some(verified.access_key),
                    Err(error) => {
                        let answer = iceberg_error(403, "ForbiddenException", &error.message());
                        return render_iceberg(answer, head);
                    }
                }
            }
        };
        let Some(principal) = principal else {
            let message = "the token is not valid or has expired";
            return render_iceberg(iceberg_error(401, "NotAuthorizedException", message), head);
        };
        let base_url = base_url(head);
        let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let request = nilas_catalog::Request {
            method: head.method.as_str(),
            raw_path: rest,
            raw_query: head.uri.query().unwrap_or(""),
            header: &header,
            body,
            principal: &principal,
            base_url: &base_url,
        };
        let answer = parts.catalog.handle(request).await;
        render_iceberg(answer, head)
    }

    fn oauth(&self, head: &Parts, form: &[u8], now_ms: u64) -> Response<ResponseBody> {
        if head.method != Method::POST {
            let message = "only POST is allowed on oauth/tokens";
            return render_iceberg(iceberg_error(405, "BadRequestException", message), head);
        }
        let authorization = head.headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let sealing_key = self.identity.root_key.sealing_key();
        match bearer::issue(form, authorization, &self.identity.root_key, now_ms, sealing_key) {
            Ok(answer) => {
                let body = Bytes::from(answer.to_json().to_string());
                let mut response = Response::new(ResponseBody::from(body));
                let headers = response.headers_mut();
                headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(error) => {
                let status = if matches!(error, bearer::OAuthError::InvalidClient) { 401 } else { 400 };
                let description = error.to_json();
                let description = description.get("error_description").and_then(|d| d.as_str()).unwrap_or("");
                render_iceberg(oauth_error(status, error.code(), description), head)
            }
        }
    }
}

fn starting() -> Failure {
    Failure::Recovering
}

fn view_of(head: &Parts) -> RequestView<'_> {
    RequestView {
        method: head.method.as_str(),
        raw_path: head.uri.path(),
        raw_query: head.uri.query().unwrap_or(""),
        headers: &head.headers,
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Where the client reached us, for the addresses that the catalog hands out.
fn base_url(head: &Parts) -> String {
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok());
    let scheme = match header("x-forwarded-proto") {
        Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
        _ => "http",
    };
    format!("{scheme}://{}", header("host").unwrap_or("127.0.0.1"))
}

enum BodyFailure {
    TooLarge,
    Broken,
    Busy(EngineError),
}

async fn read_body(
    mut body: RequestBody,
    bytes_max: usize,
    documents: &Budget,
) -> Result<Bytes, BodyFailure> {
    let mut all = Gather::new(documents, bytes_max);
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        match frame {
            None => break,
            Some(Err(_)) => return Err(BodyFailure::Broken),
            Some(Ok(frame)) => {
                let Ok(piece) = frame.into_data() else { continue };
                if bytes_max - all.len() < piece.len() {
                    return Err(BodyFailure::TooLarge);
                }
                all.push(&piece).await.map_err(BodyFailure::Busy)?;
            }
        }
    }
    Ok(all.finish())
}

/// A request of the catalog that met a limit before anything was done.
fn busy_iceberg(error: &EngineError, head: &Parts) -> Response<ResponseBody> {
    let mut response = render_iceberg(iceberg_error(429, "SlowDownException", &error.to_string()), head);
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn render_iceberg(answer: nilas_catalog::Response, head: &Parts) -> Response<ResponseBody> {
    let has_body = !answer.body.is_empty() && head.method != Method::HEAD;
    let mut response =
        Response::new(if has_body { ResponseBody::from(answer.body) } else { ResponseBody::Empty });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if has_body {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if has_body && answer.gzip {
        headers.insert(http::header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(name, value);
        }
    }
    response
}
