//! The one way of a request through the server, for every API: route → authenticate → authorize → handler.
//!
//! `server` hands each request to [`CoreState::handle`], which counts it, and holds its answer against the memory that
//! answers may take. The four steps of each API stand in [`CoreState::serve`], one line each.
//! I1. Nothing is acted on before its sender is known and may do it. Of a body nothing is read before that, but where
//! the signature covers it (the catalog), and then only of a sender who can be somebody, and the fields of a form, which hold
//! its signature.
//! I2. What a request names beside its path (in a body, as a copy's source) its handler asks for, of the same [`Caller`].
//! I3. That something is not served is told to senders who are known, and to preflights of browsers.
//! I4. A head that breaks a rule of HTTP itself (`keeps_the_rules`) is answered 400 and nothing else, whoever sent it.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, HOST, ORIGIN, TRANSFER_ENCODING, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use nilas_catalog::Refusal;
use nilas_catalog::access::{Api, BodyKind, NamedIn, OperationFacts, Resource, ResourceKind};
use nilas_catalog::uri::decode_path;
use nilas_engine::rt;

use crate::audit::AuditEvent;
use crate::auth::{
    ArgumentFault, AuthError, Denied, FormProof, Mechanism, PayloadMode, RequestView, Verified, anonymous,
    claimed_key, sigv2, verify, verify_form, view_of, with_hoisted,
};
use crate::body::FormFields;
use crate::identity::{Caller, RequestFacts, Sender, SenderKind};
use crate::limits::{ANSWER_BYTES_MIN, BUSY_DRAIN_BYTES_MAX, FORM_FIELDS_BYTES_MAX, PAGE_BODY_BYTES_MAX};
use crate::listen::RequestBody;
use crate::operations::AnyOperation;
use crate::pages::{Page, Plain};
use crate::render::body::ResponseBody;
use crate::render::error::S3Error;
use crate::route::{Route, route, virtual_bucket};
use crate::s3::cors;
use crate::s3::operations::{Level, Operation};
use crate::s3::payload::Payload;
use crate::s3::post_object::{self, FormBody, Post};
use crate::s3::target::Target;
use crate::server::{CoreState, Services};
use crate::source::Source;
use crate::throttle::Door;
use crate::trail::Trail;
use crate::{admin, forms, iceberg, pages, people, s3};

/// Why a request got no further, in the words of its API.
pub(crate) enum Refused {
    /// S3's; also those of the server's own pages.
    S3(S3Error),
    Iceberg(Refusal),
    /// A page of `people`.
    People(people::Failure),
    /// The head breaks a rule of HTTP itself.
    Head,
}

impl From<S3Error> for Refused {
    fn from(failure: S3Error) -> Refused {
        Refused::S3(failure)
    }
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Refused {
        Refused::S3(error.into())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused::Iceberg(refusal)
    }
}

impl Refused {
    fn render(self, head: &Parts, request_id: &str) -> Response<ResponseBody> {
        match self {
            Refused::S3(failure) => s3::refuse(failure, head, request_id, rt::now_ms()),
            Refused::Iceberg(refusal) => iceberg::render(refusal.response(), head),
            Refused::People(people::Failure::S3(failure)) => {
                let answer = failure.answer();
                let retry_after_s = match failure {
                    S3Error::Auth(AuthError::Throttled(throttled)) => Some(throttled.retry_after_s),
                    _ => answer.status.is_server_error().then_some(1),
                };
                pages::failure(answer.status, answer.code, &answer.message, retry_after_s)
            }
            Refused::People(people::Failure::Query(failure)) => {
                let (code, status) = failure.code();
                pages::failure(status, code, &failure.message(), status.is_server_error().then_some(1))
            }
            Refused::Head => {
                let mut response = Plain::BadHead.answer();
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                response
            }
        }
    }
}

/// What a head asks for, and where it is served.
enum Routed<'a> {
    Page(Page),
    Iceberg {
        route: nilas_catalog::Route,
        /// Raw path behind the catalog's mount point.
        rest: &'a str,
    },
    /// What it asks for is in its form.
    Query,
    S3(Target),
    /// A browser asks what it may ask for.
    Preflight {
        bucket: String,
        level: Level,
    },
}

impl Routed<'_> {
    fn operation(&self) -> AnyOperation {
        match self {
            Routed::Page(page) => AnyOperation::Page(*page),
            Routed::Iceberg { route, .. } => AnyOperation::Iceberg(route.operation()),
            Routed::Query => AnyOperation::Query(None),
            Routed::S3(target) => AnyOperation::S3(Some(target.operation)),
            Routed::Preflight { .. } => AnyOperation::S3(None),
        }
    }
}

impl CoreState {
    /// Answers one request, which came from `source`.
    pub(crate) async fn handle(
        &self,
        request: Request<RequestBody>,
        source: Source,
    ) -> Response<ResponseBody> {
        let (head, body) = request.into_parts();
        let request_id = self.request_ids.next();
        let trail = Trail::new(source, rt::monotonic_us());
        let routed = self.route(&head, &trail);
        let shared = shared_bucket(&routed, &head);
        let (operation, outcome) = match routed {
            _ if !keeps_the_rules(&head) => (AnyOperation::S3(None), Err(Refused::Head)),
            Ok(routed) => {
                let operation = routed.operation();
                trail.decisions.keep_allowed(operation.changes() && self.audit.keeps_changes());
                (operation, self.serve(routed, &head, body, &trail, &request_id).await)
            }
            Err(failure) => (AnyOperation::S3(None), Err(Refused::S3(failure))),
        };
        let operation = trail.asked.get().map_or(operation, |asked| AnyOperation::Query(Some(asked)));
        if let Some(last_use) = trail.sender.get().and_then(|sender| sender.last_use.as_ref()) {
            last_use.note(rt::now_ms(), operation.used_for());
        }
        let response = outcome.unwrap_or_else(|refused| refused.render(&head, &request_id));
        let mut response = self.hold_answer(operation, response, &head, &request_id);
        if let (Some(bucket), Some(engine)) = (shared, self.engine()) {
            cors::annotate(engine, &bucket, &head.method, &head.headers, response.headers_mut());
        }
        // Some clients join lines of one name, and read `application/json, application/json`.
        debug_assert_eq!(response.headers().keys_len(), response.headers().len(), "one line for each header");
        let took_us = rt::monotonic_us().saturating_sub(trail.started_us);
        self.figures.count(operation, response.status(), took_us);
        self.record(&head, &request_id, operation, response.status(), &trail);
        response
    }

    /// Carries out what a request asks for, if its sender may.
    async fn serve(
        &self,
        routed: Routed<'_>,
        head: &Parts,
        body: RequestBody,
        trail: &Trail,
        request_id: &str,
    ) -> Result<Response<ResponseBody>, Refused> {
        match routed {
            Routed::S3(target) if target.operation == Operation::PostObject => {
                self.post_object(&target, head, body, trail, request_id).await.map_err(Refused::S3)
            }
            Routed::S3(target) => {
                let services = self.ready_services()?;
                let now_ms = services.engine.now_ms();
                let takes_v2 = target.operation.takes_v2();
                let (verified, sender) = self.identify(services, head, takes_v2, now_ms, trail)?;
                let headers = with_hoisted(&head.headers, &target.query, verified.mechanism);
                let request = RequestFacts {
                    headers: &headers,
                    query: Some(&target.query),
                    signed_ms: verified.signed_ms,
                    region: &verified.region,
                    mechanism: verified.mechanism,
                    ..trail.facts(head, now_ms)
                };
                let sender = trail.sent_by(sender);
                let evaluator = services.evaluator(sender, request, &trail.decisions);
                let caller = Caller::new(sender, &evaluator);
                let facts = target.operation.facts();
                // What the body names is of no interest where nobody is let in.
                if sender.kind == SenderKind::Anonymous
                    && facts.named == NamedIn::Body
                    && !services.has_policy(&target.bucket, sender)
                {
                    return Err(S3Error::AccessDenied.into());
                }
                if facts.resource == ResourceKind::Object && caller.wants_object_tags(&target.bucket) {
                    let version = target.query.get("versionId");
                    s3::know_tags(&services.engine, &caller, &target.bucket, &target.key, version).await;
                }
                authorize(&caller, facts, target.action(), target.resource()).await?;
                Ok(services.s3.handle(&target, head, &headers, caller, &verified, body, request_id).await)
            }
            Routed::Iceberg { route, rest } => {
                let services = self.services().ok_or(Refusal::Recovering)?;
                let now_ms = services.engine.now_ms();
                let (proven, document) =
                    iceberg::authenticate(self, services, &route, head, body, self.door(trail), now_ms)
                        .await?;
                // The catalog finds the names, in path and body, and asks for each of them.
                let request = RequestFacts {
                    mechanism: proven.mechanism,
                    signed_ms: proven.signed_ms,
                    region: &proven.region,
                    ..trail.facts(head, now_ms)
                };
                let sender = trail.sent_by(proven.sender);
                let evaluator = services.evaluator(sender, request, &trail.decisions);
                let caller = Caller::new(sender, &evaluator);
                Ok(iceberg::handle(services, route, rest, head, document, self.door(trail), caller).await?)
            }
            Routed::Preflight { bucket, level } => {
                let engine = &self.ready_services()?.engine;
                Ok(s3::preflight(engine, &bucket, level, head, request_id))
            }
            Routed::Query => {
                // Which operation it is stands in the form.
                trail.decisions.keep_allowed(self.audit.keeps_changes());
                Ok(forms::serve(self, head, body, trail, request_id).await)
            }
            Routed::Page(page) if page.is_of_people() => {
                self.people(page, head, body, trail, request_id).await.map_err(Refused::People)
            }
            Routed::Page(page) => {
                let facts = &page.row().facts;
                if facts.resource == ResourceKind::Public {
                    return self.page(page).await;
                }
                let services = self.ready_services()?;
                let now_ms = services.engine.now_ms();
                let (verified, sender) = self.identify(services, head, false, now_ms, trail)?;
                let request = RequestFacts {
                    mechanism: verified.mechanism,
                    signed_ms: verified.signed_ms,
                    region: &verified.region,
                    ..trail.facts(head, now_ms)
                };
                let sender = trail.sent_by(sender);
                let evaluator = services.evaluator(sender, request, &trail.decisions);
                let caller = Caller::new(sender, &evaluator);
                authorize(&caller, facts, facts.action, page.resource()).await?;
                self.page(page).await
            }
        }
    }

    /// Stores the file of a form. Who sends it stands in the head, or in the fields before the file, and those say what is
    /// asked for.
    async fn post_object(
        &self,
        target: &Target,
        head: &Parts,
        body: RequestBody,
        trail: &Trail,
        request_id: &str,
    ) -> Result<Response<ResponseBody>, S3Error> {
        let services = self.ready_services()?;
        let now_ms = services.engine.now_ms();
        let (by_head, sender_by_head) = self.identify(services, head, false, now_ms, trail)?;
        let mut form = FormBody::open(head, body)?;
        match by_head.payload {
            PayloadMode::Unsigned => {}
            PayloadMode::Signed { sha256 } => form.expect_sha256(sha256),
            _ => {
                return Err(S3Error::NotImplementedHeader { header: "x-amz-content-sha256".to_owned() });
            }
        }
        let fields = {
            let _held = self.memory.documents.take(FORM_FIELDS_BYTES_MAX).await?;
            form.fields().await?
        };
        let (by_form, sender_by_form) = match self.identify_form(services, &fields, now_ms, trail)? {
            Some((verified, sender)) => (Some(verified), Some(sender)),
            None => (None, None),
        };
        let sender = match (sender_by_form, by_head.mechanism) {
            (Some(sender), Mechanism::Unsigned) => sender,
            (Some(_), _) => {
                // As with a signed head and a signed query.
                let value = by_head.access_key;
                return Err(AuthError::InvalidArgument { fault: ArgumentFault::TwoMechanisms, value }.into());
            }
            (None, _) => sender_by_head,
        };
        let sender = trail.sent_by(sender);
        if sender.kind == SenderKind::Anonymous && !services.has_policy(&target.bucket, sender) {
            return Err(S3Error::AccessDenied);
        }
        let post = Post::read(target, head, fields, now_ms)?;
        let proven = by_form.as_ref().unwrap_or(&by_head);
        let request = RequestFacts {
            headers: &post.headers,
            signed_ms: proven.signed_ms,
            region: &proven.region,
            mechanism: proven.mechanism,
            ..trail.facts(head, now_ms)
        };
        let evaluator = services.evaluator(sender, request, &trail.decisions);
        let caller = Caller::new(sender, &evaluator);
        if caller.wants_object_tags(&target.bucket) {
            s3::know_tags(&services.engine, &caller, &target.bucket, &post.target.key, None).await;
        }
        if !caller.permits(target.operation.facts().action, post.target.resource(), &[]).await? {
            return Err(S3Error::AccessDenied);
        }
        // The form holds what was signed of the body; its file is taken as it comes.
        let as_it_comes = Verified { payload: PayloadMode::Unsigned, ..proven.clone() };
        Ok(services.s3.post(&post, head, caller, &as_it_comes, &mut form, request_id).await)
    }

    /// Who signed a form, if anybody did.
    fn identify_form(
        &self,
        services: &Services,
        fields: &FormFields,
        now_ms: u64,
        trail: &Trail,
    ) -> Result<Option<(Verified, Rc<Sender>)>, S3Error> {
        let door = self.door(trail);
        let found = verify_form(
            |name| fields.get(name),
            &door.keys(&services.senders),
            &mut self.identity.signing_keys.borrow_mut(),
            self.identity.presigned_v2,
            now_ms,
        );
        let verified = match found {
            Ok(None) => return Ok(None),
            Ok(Some(verified)) => verified,
            Err(FormProof::Missing(name)) => return Err(post_object::missing(name)),
            Err(FormProof::Auth(error)) => return Err(door.judged(error).into()),
        };
        let (access_key, token) = (&verified.access_key, verified.session_token.as_deref());
        let sender = services.senders.find(access_key, token, now_ms);
        let sender = sender.map_err(|fault| door.judged(fault.error(access_key, token)))?;
        Ok(Some((verified, sender)))
    }

    /// Answers a page of `people`: who shows nothing has none.
    async fn people(
        &self,
        page: Page,
        head: &Parts,
        body: RequestBody,
        trail: &Trail,
        request_id: &str,
    ) -> Result<Response<ResponseBody>, people::Failure> {
        let services = self.ready_services()?;
        let now_ms = services.engine.now_ms();
        let identified = self.identify(services, head, false, now_ms, trail);
        let (verified, sender) = identified.map_err(S3Error::from)?;
        let request = RequestFacts {
            mechanism: verified.mechanism,
            signed_ms: verified.signed_ms,
            region: &verified.region,
            ..trail.facts(head, now_ms)
        };
        let sender = trail.sent_by(sender);
        let evaluator = services.evaluator(sender, request, &trail.decisions);
        let caller = Caller::new(sender, &evaluator);
        let facts = &page.row().facts;
        if sender.kind == SenderKind::Anonymous {
            return Err(S3Error::AccessDenied.into());
        }
        authorize(&caller, facts, facts.action, page.resource()).await?;
        let bytes = match facts.body {
            // It says what is done, so it is signed as the rest is.
            BodyKind::Json if verified.payload.is_unsigned() => {
                let why =
                    "x-amz-content-sha256 must be the SHA-256 of the body, which is signed with the rest";
                return Err(S3Error::invalid_request(why.to_owned()).into());
            }
            BodyKind::Json => {
                let memory = &self.memory.documents;
                let mut payload =
                    Payload::new(&head.headers, &verified, &services.s3.md5_lanes, memory, body);
                let over = S3Error::invalid_request(format!(
                    "over PAGE_BODY_BYTES_MAX: at most {PAGE_BODY_BYTES_MAX}"
                ));
                let read = payload.read_document(&head.headers, PAGE_BODY_BYTES_MAX, over).await;
                payload.drain(BUSY_DRAIN_BYTES_MAX).await;
                read?
            }
            _ => Bytes::new(),
        };
        let asked = people::Asked::parse(head.uri.query(), &bytes)?;
        let rest = page.rest_of(head.uri.path()).unwrap_or_default();
        let rest = decode_path(rest).and_then(|rest| String::from_utf8(rest).ok()).unwrap_or_default();
        let (audit, decisions) = (&self.figures.process.audit, &trail.decisions);
        let desk = people::Desk { services, audit, caller, decisions, now_ms };
        let answer = people::answer(&desk, page, &rest, &asked).await?;
        let mut response = pages::answer(StatusCode::OK, answer, "application/json");
        if head.method == Method::HEAD {
            *response.body_mut() = ResponseBody::Empty;
        }
        if let Ok(id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        // One answer has a secret.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    /// What the head asks for. Who may not ask is told that and no more; preflights of browsers are never signed.
    fn route<'a>(&self, head: &'a Parts, trail: &Trail) -> Result<Routed<'a>, S3Error> {
        match route(head, &self.place.domains) {
            Ok(Route::Admin(page)) => Ok(Routed::Page(page)),
            Ok(Route::Iceberg { rest }) => {
                let route = nilas_catalog::Route::of(head.method.as_str(), rest);
                Ok(Routed::Iceberg { route, rest })
            }
            Ok(Route::Query) => Ok(Routed::Query),
            Ok(Route::S3(target)) => Ok(Routed::S3(target)),
            Ok(Route::Preflight { bucket, level }) => Ok(Routed::Preflight { bucket, level }),
            Err(failure) if head.method == Method::OPTIONS => Err(failure),
            Err(failure) => {
                let services = self.ready_services()?;
                let door = self.door(trail);
                let verified = self.authenticate(services, head, rt::now_ms(), door);
                Err(verified.err().map_or(failure, |error| S3Error::from(door.judged(error))))
            }
        }
    }

    /// Who sent a request, and how it is signed: who shows nothing at all is nobody in particular.
    fn identify(
        &self,
        services: &Services,
        head: &Parts,
        takes_v2: bool,
        now_ms: u64,
        trail: &Trail,
    ) -> Result<(Verified, Rc<Sender>), AuthError> {
        let door = self.door(trail);
        let verified = match takes_v2 {
            true => self.authenticate_with_v2(services, head, now_ms, door),
            false => self.authenticate(services, head, now_ms, door),
        };
        match verified {
            Ok(verified) => {
                let (access_key, token) = (&verified.access_key, verified.session_token.as_deref());
                let found = services.senders.find(access_key, token, now_ms);
                let sender = found.map_err(|fault| door.judged(fault.error(access_key, token)))?;
                Ok((verified, sender))
            }
            Err(AuthError::AccessDenied(Denied::NoCredentials)) => {
                let unsigned = anonymous(&view_of(head)).map_err(|error| door.judged(error))?;
                Ok((unsigned, services.senders.anonymous()))
            }
            Err(error) => Err(door.judged(error)),
        }
    }

    /// Who signed the head.
    fn authenticate(
        &self,
        services: &Services,
        head: &Parts,
        now_ms: u64,
        door: Door<'_>,
    ) -> Result<Verified, AuthError> {
        let mut signing_keys = self.identity.signing_keys.borrow_mut();
        verify(&view_of(head), &door.keys(&services.senders), &mut signing_keys, now_ms)
    }

    /// Where a request proves who sent it.
    pub(crate) fn door<'a>(&'a self, trail: &'a Trail) -> Door<'a> {
        Door {
            throttle: &self.throttle,
            figures: &self.figures.process.throttle,
            from: trail.source.prefix(),
            now_us: trail.started_us,
            attempt: &trail.attempt,
            issued: &trail.issued,
            notes: &trail.decisions,
        }
    }

    /// Tells the audit log of a request that was answered.
    fn record(
        &self,
        head: &Parts,
        request_id: &str,
        operation: AnyOperation,
        status: StatusCode,
        trail: &Trail,
    ) {
        // What is remarked on is written as what changes something; so is a session: who gets it may change all that it may, and
        // nothing else leads from its key to them.
        let changes =
            operation.changes() || trail.decisions.remarked().is_some() || trail.issued.get().is_some();
        let outcome = trail.outcome(status, operation.changes());
        if !self.audit.wants(changes, outcome) {
            return;
        }
        let sender = trail.sender.get();
        let routed = route(head, &self.place.domains);
        let path = head.uri.path();
        let (target, named);
        let asked: Option<(&'static str, &dyn fmt::Display)> = match (operation.facts(), &routed) {
            (Some(_), Ok(Route::S3(found))) => {
                target = found;
                named = target.resource();
                Some((target.action(), &named))
            }
            (Some(facts), _) => Some((facts.action, &path)),
            (None, _) => None,
        };
        let claimed = if sender.is_some() { None } else { claimed_key(&view_of(head)) };
        self.audit.record(&AuditEvent {
            at_ms: rt::now_ms(),
            request_id,
            api: operation.api().name(),
            operation: operation.name(),
            changes,
            principal: trail.principal(sender.map(|sender| &**sender), claimed.as_deref()),
            source: trail.source,
            decisions: &trail.decisions,
            issued: trail.issued.get().filter(|_| status.is_success()),
            asked,
            status: status.as_u16(),
            outcome,
            error: trail.attempt.failed(),
            user_agent: head.headers.get(USER_AGENT).map(HeaderValue::as_bytes),
        });
    }

    /// The same, where a presigned URL of signature version 2 will do.
    fn authenticate_with_v2(
        &self,
        services: &Services,
        head: &Parts,
        now_ms: u64,
        door: Door<'_>,
    ) -> Result<Verified, AuthError> {
        let view = view_of(head);
        match self.identity.presigned_v2 && sigv2::shows(&view) {
            true => {
                // What is signed is the path under the bucket, wherever that is named.
                let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
                let bucket = host.and_then(|host| virtual_bucket(host, &self.place.domains));
                let path = bucket.map(|bucket| format!("/{bucket}{}", view.raw_path));
                let view = RequestView { raw_path: path.as_deref().unwrap_or(view.raw_path), ..view };
                sigv2::verify(&view, &door.keys(&services.senders), now_ms)
            }
            false => self.authenticate(services, head, now_ms, door),
        }
    }

    fn ready_services(&self) -> Result<&Services, S3Error> {
        self.services().ok_or(S3Error::Recovering)
    }

    async fn page(&self, page: Page) -> Result<Response<ResponseBody>, Refused> {
        Ok(match page {
            Page::Healthz => Plain::Alive.answer(),
            Page::Readyz if self.figures.is_ready() => Plain::Ready.answer(),
            Page::Readyz => Plain::Recovering.answer(),
            Page::Metrics => admin::metrics(&self.figures, self.engine()),
            Page::ScrubStatus => scrub_status(self.ready_services()?).await,
            Page::ScrubStart => self.scrub_start(self.ready_services()?).await,
            Page::Purges => match self.ready_services()?.catalog.purges().await {
                Ok((purges, beyond)) => admin::purges(&purges, beyond),
                Err(_) => Plain::CoreBusy.answer(),
            },
            // Pages of `people` go another way.
            Page::Whoami | Page::Simulate | Page::SimulateForm | Page::WhoCan | Page::Audit => {
                return Err(S3Error::AccessDenied.into());
            }
            Page::Lifecycles | Page::LifecyclePreview => return Err(S3Error::AccessDenied.into()),
            Page::Quotas | Page::ChangeQuota => return Err(S3Error::AccessDenied.into()),
            Page::KmsKeys | Page::CreateKmsKey | Page::RotateKmsKey => {
                return Err(S3Error::AccessDenied.into());
            }
            Page::Owners | Page::ChangeOwner | Page::Users | Page::ChangeUser | Page::CreateKey => {
                return Err(S3Error::AccessDenied.into());
            }
        })
    }

    /// Starts a pass of the scrub now, and says how far it is.
    async fn scrub_start(&self, services: &Services) -> Response<ResponseBody> {
        match services.engine.scrub_start(self.scrub.now()).await {
            Ok(()) => scrub_status(services).await,
            Err(_) => Plain::CoreBusy.answer(),
        }
    }

    /// Counts the bytes of an answer until they are sent. An answer that there is no room for is refused, unless it tells
    /// of a change that is done. What others hold as well is counted by them, and so are objects.
    fn hold_answer(
        &self,
        operation: AnyOperation,
        mut response: Response<ResponseBody>,
        head: &Parts,
        request_id: &str,
    ) -> Response<ResponseBody> {
        let ResponseBody::Full(bytes) = response.body_mut() else { return response };
        if bytes.len() < ANSWER_BYTES_MIN || !bytes.is_unique() {
            return response;
        }
        let answers = &self.memory.answers;
        let permit = match (answers.try_take(bytes.len()), operation.api()) {
            (Some(permit), _) => permit,
            (None, Api::Admin | Api::Iam) => answers.force_acquire(bytes.len()),
            (None, _) if operation.changes() => answers.force_acquire(bytes.len()),
            (None, Api::S3) => return Refused::S3(answers.refuse().into()).render(head, request_id),
            (None, Api::Iceberg) => {
                return Refused::Iceberg(Refusal::Busy(answers.refuse())).render(head, request_id);
            }
        };
        *bytes = permit.bind(std::mem::take(bytes));
        response
    }
}

/// Whether a head can be read in one way only, by us and by whatever stands in front of us.
pub(crate) fn keeps_the_rules(head: &Parts) -> bool {
    names_its_host(head) && is_for_its_host(head) && is_plainly_coded(head)
}

/// Whether the target is a path, or a full address of the host that `Host` names: by RFC 9112 (3.2.2) a full address would
/// count in place of `Host`, which is what a signature covers.
fn is_for_its_host(head: &Parts) -> bool {
    let Some(authority) = head.uri.authority() else { return head.uri.path().starts_with('/') };
    let is_http = head.uri.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https"));
    let is_same = |host: &HeaderValue| authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes());
    is_http && head.headers.get(HOST).is_none_or(is_same)
}

/// Whether a body in a transfer coding is in chunks and in nothing else, said once. hyper looks for `chunked` at the end and
/// hands on the rest as it is.
fn is_plainly_coded(head: &Parts) -> bool {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// Whether a head has the one `Host` that RFC 9112 (3.2) demands; HTTP/1.0 has none, or one.
fn names_its_host(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => head.version < Version::HTTP_11,
        (Some(host), None) => {
            let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(b);
            !host.is_empty() && host.as_bytes().iter().all(fits)
        }
        (Some(_), Some(_)) => false,
    }
}

/// The bucket whose rules say what the browser of a request may know of its answer.
fn shared_bucket(routed: &Result<Routed<'_>, S3Error>, head: &Parts) -> Option<String> {
    match routed {
        Ok(Routed::S3(target)) if head.headers.contains_key(ORIGIN) => Some(target.bucket.clone()),
        _ => None,
    }
}

/// How far the scrub is.
async fn scrub_status(services: &Services) -> Response<ResponseBody> {
    match services.engine.scrub_status().await {
        Ok(shards) => admin::scrub(&shards),
        Err(_) => Plain::CoreBusy.answer(),
    }
}

impl Target {
    /// What its sender is asked for: with a version in the query that of versions.
    fn action(&self) -> &'static str {
        self.operation.action(self.query.get("versionId").is_some())
    }

    /// What the path names.
    fn resource(&self) -> Resource<'_> {
        match self.operation.facts().resource {
            ResourceKind::Object => Resource::Object { bucket: &self.bucket, key: &self.key },
            ResourceKind::Bucket => Resource::Bucket(&self.bucket),
            _ => Resource::Service,
        }
    }
}

impl Page {
    fn resource(self) -> Resource<'static> {
        match self.row().facts.resource {
            ResourceKind::Public => Resource::Public,
            _ => Resource::Service,
        }
    }
}

/// Refuses what the sender may not do on what the head names.
async fn authorize(
    caller: &Caller<'_>,
    facts: &OperationFacts,
    action: &'static str,
    resource: Resource<'_>,
) -> Result<(), S3Error> {
    if caller.may(facts, action, resource).await? { Ok(()) } else { Err(S3Error::AccessDenied) }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::identity::access::{Authorizer, Decision};
    use crate::identity::model::Model;
    use crate::s3::operations::Form;

    /// Writes down what it is asked, and says no.
    struct Nothing(RefCell<Vec<String>>);

    impl Authorizer for Nothing {
        fn decide(
            &self,
            action: &'static str,
            resource: &Resource<'_>,
            _facts: &[(&'static str, &str)],
        ) -> Decision {
            self.0.borrow_mut().push(format!("{action} {resource}"));
            Decision::Deny
        }
    }

    /// What a future that waits for nothing comes to.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn every_s3_operation_is_judged_on_what_its_path_names() {
        for operation in Operation::ALL {
            let row = operation.row();
            let (path, resource) = match row.level {
                Level::Service => ("/", "*"),
                Level::Bucket => ("/bkt", "arn:aws:s3:::bkt"),
                Level::Object => ("/bkt/k/l", "arn:aws:s3:::bkt/k/l"),
            };
            let query = match (row.subresource, row.form) {
                ("", Form::ListV2) => "?list-type=2".to_owned(),
                ("", _) => String::new(),
                (subresource, _) => format!("?{subresource}"),
            };
            let mut request = Request::builder().method(row.method).uri(format!("{path}{query}"));
            if row.form == Form::Copy {
                request = request.header("x-amz-copy-source", "/b/k");
            }
            let head = request.body(()).expect("a valid head").into_parts().0;
            let Ok(Route::S3(target)) = route(&head, &[]) else { panic!("{operation:?}") };
            let nothing = Nothing(RefCell::default());
            let sender = Sender::anonymous(Arc::new(Model::empty("123456789012")));
            let caller = Caller::new(&sender, &nothing);
            let judged =
                now(authorize(&caller, target.operation.facts(), target.action(), target.resource()));
            if row.facts.named == NamedIn::Body {
                assert_eq!((judged, nothing.0.into_inner().len()), (Ok(()), 0));
                continue;
            }
            assert_eq!(judged, Err(S3Error::AccessDenied), "{operation:?}");
            let action = row.facts.action;
            assert_eq!(nothing.0.into_inner(), [format!("{action} {resource}")], "{operation:?}");
        }
    }

    #[test]
    fn hosts() {
        let check = |version: Version, hosts: &[&str], want: bool| {
            let mut request = Request::builder().version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let head = request.body(()).expect("a valid head").into_parts().0;
            assert_eq!(names_its_host(&head), want, "{version:?} {hosts:?}");
        };
        for host in ["localhost", "127.0.0.1:9000", "[::1]:9000", "my_minio:9000", "s3.example.com."] {
            check(Version::HTTP_11, &[host], true);
            check(Version::HTTP_10, &[host], true);
        }
        check(Version::HTTP_11, &[], false);
        check(Version::HTTP_10, &[], true);
        for version in [Version::HTTP_11, Version::HTTP_10] {
            check(version, &[""], false);
            check(version, &["a", "a"], false);
            check(version, &["a", "b"], false);
            for host in ["a b", "a/b", "http://a", "user@a", "a?b", "a,b c"] {
                check(version, &[host], false);
            }
        }
    }

    #[test]
    fn pages_are_open_or_judged() {
        let check = |page: Page, is_open: bool| {
            let nothing = Nothing(RefCell::default());
            let sender = Sender::anonymous(Arc::new(Model::empty("123456789012")));
            let facts = &page.row().facts;
            let judged =
                now(authorize(&Caller::new(&sender, &nothing), facts, facts.action, page.resource()));
            // What its body or the rest of its path decides, the page asks for by itself.
            let by_itself = page.row().facts.named == NamedIn::Body;
            let want = if by_itself { Ok(()) } else { Err(S3Error::AccessDenied) };
            assert_eq!(judged, want, "{page:?}");
            assert_eq!(page.row().facts.resource == ResourceKind::Public, is_open, "{page:?}");
        };
        for page in Page::ALL {
            check(page, matches!(page, Page::Healthz | Page::Readyz | Page::Metrics));
        }
    }
}
