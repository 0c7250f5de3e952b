//! The catalog's edge: who sent a request, its whole body, and the answer as HTTP.
//!
//! The gateway calls [`authenticate`], which reads the body because a catalog's signature covers it, then [`handle`].
//! I1. No body is read of a sender who cannot be anybody, nor of a form more than a form may have. I2. Bytes of a body, and what its values will take beside
//! them, are taken from the core's budget for documents before they are held. I3. No status is chosen here.

use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use nilas_catalog::access::{Access as _, BodyKind, Resource, ResourceKind};
use nilas_catalog::{OAuthError, Refusal, Route};
use nilas_engine::rt;
use sha2::{Digest as _, Sha256};

use crate::auth::{
    AuthError, Denied, KeyFault, Mechanism, RequestView, Service, Throttled, Verified, precheck, shown,
    verify_with_body, view_of,
};
use crate::identity::bearer::{Clients as _, TokenRequest};
use crate::identity::oidc::OidcFault;
use crate::identity::oidc::jwt::TokenFault;
use crate::identity::{Caller, Sender, SenderKind};
use crate::limits::{CATALOG_BODY_BYTES_MAX, TOKEN_FORM_BYTES_MAX};
use crate::listen::{BodyFault, RequestBody};
use crate::memory::{BoundedBuffer, Budget, Permit, document_cost};
use crate::render::base_url::base_url;
use crate::render::body::ResponseBody;
use crate::server::{CoreState, Services};
use crate::throttle::{Door, Failure};

/// The services that a credential may be scoped to: S3's is what some clients sign everything with.
const SERVICES: [Service; 2] = [Service::S3Tables, Service::S3];

/// A request's whole body.
pub(crate) struct Document {
    bytes: Bytes,
    /// The time at which its sender was judged, in milliseconds since 1970.
    now_ms: u64,
    /// What the values will take beside the text, which is counted with the body.
    _values: Permit,
}

/// Who sent a request, and how that was proven.
pub(crate) struct Proven {
    pub(crate) sender: Rc<Sender>,
    pub(crate) mechanism: Mechanism,
    pub(crate) signed_ms: Option<u64>,
    /// The region in the signature.
    pub(crate) region: String,
}

/// What a request shows to say who sent it.
enum Credentials<'a> {
    /// Nothing, where nothing is asked for, or where a bucket's policy may let in everybody.
    Nothing,
    Bearer(Rc<Sender>),
    Signature(RequestView<'a>),
}

/// Finds out who sent a request, and takes its body on the way.
pub(crate) async fn authenticate(
    state: &CoreState,
    services: &Services,
    route: &Route,
    head: &Parts,
    body: RequestBody,
    door: Door<'_>,
    now_ms: u64,
) -> Result<(Proven, Document), Refusal> {
    if route.operation() == Some(nilas_catalog::Operation::GetToken) && head.method != Method::POST {
        return Err(Refusal::TokenMethod);
    }
    let credentials = Credentials::of(services, door, route, head, now_ms).await?;
    let (bytes, values) = take_document(body, BodyMax::of(route), &state.memory.documents).await?;
    let proven = credentials.verify(state, services, door, &bytes, now_ms)?;
    Ok((proven, Document { bytes, now_ms, _values: values }))
}

impl<'a> Credentials<'a> {
    /// Looks before the body: who cannot be anybody does not get to send megabytes.
    async fn of(
        services: &Services,
        door: Door<'_>,
        route: &Route,
        head: &'a Parts,
        now_ms: u64,
    ) -> Result<Credentials<'a>, Refusal> {
        let is_open =
            route.operation().is_some_and(|operation| operation.facts().resource == ResourceKind::Public);
        let reads = matches!(head.method, Method::GET | Method::HEAD) && route.operation().is_some();
        match bearer_token(&head.headers) {
            _ if is_open => Ok(Credentials::Nothing),
            Some(token) => holder(services, token, door, now_ms).await.map(Credentials::Bearer),
            None if reads && shows_nothing(&view_of(head)) => Ok(Credentials::Nothing),
            None => {
                let view = view_of(head);
                precheck(&view, &SERVICES, &door.keys(&services.senders), now_ms)
                    .map_err(|error| not_signed(door.judged(error)))?;
                Ok(Credentials::Signature(view))
            }
        }
    }

    /// The sender that was proven.
    fn verify(
        self,
        state: &CoreState,
        services: &Services,
        door: Door<'_>,
        body: &[u8],
        now_ms: u64,
    ) -> Result<Proven, Refusal> {
        let unsigned = |sender| Proven {
            sender,
            mechanism: Mechanism::Unsigned,
            signed_ms: None,
            region: String::new(),
        };
        match self {
            Credentials::Nothing => Ok(unsigned(services.senders.anonymous())),
            Credentials::Bearer(sender) => Ok(unsigned(sender)),
            Credentials::Signature(view) => {
                let sha256 = Sha256::digest(body).into();
                let mut cache = state.identity.signing_keys.borrow_mut();
                let keys = door.keys(&services.senders);
                let verified = verify_with_body(&view, &sha256, &SERVICES, &keys, &mut cache, now_ms)
                    .map_err(|error| not_signed(door.judged(error)))?;
                let (access_key, token) = (&verified.access_key, verified.session_token.as_deref());
                let sender = services.senders.find(access_key, token, now_ms);
                let sender =
                    sender.map_err(|fault| not_signed(door.judged(fault.error(access_key, token))))?;
                let Verified { mechanism, signed_ms, region, .. } = verified;
                Ok(Proven { sender, mechanism, signed_ms, region })
            }
        }
    }
}

/// Who holds a bearer token: one of ours, or of the OpenID Connect issuer, which may have to be verified first.
async fn holder(
    services: &Services,
    token: &str,
    door: Door<'_>,
    now_ms: u64,
) -> Result<Rc<Sender>, Refusal> {
    let invalid = || match door.failed(Failure::Nobody, "InvalidToken") {
        Ok(()) => Refusal::TokenInvalid,
        Err(Throttled { retry_after_s }) => Refusal::Throttled { retry_after_s },
    };
    let refused = |fault: KeyFault| match fault {
        KeyFault::ExpiredToken => Refusal::TokenExpired,
        KeyFault::Unknown | KeyFault::InvalidToken => invalid(),
        KeyFault::Throttled(Throttled { retry_after_s }) => Refusal::Throttled { retry_after_s },
    };
    if let Some(found) = services.senders.find_bearer(token, now_ms).map_err(refused)? {
        return Ok(found);
    }
    let claims =
        services.senders.verify_web(token, now_ms, door.notes).await.map_err(|fault| match fault {
            OidcFault::Token(TokenFault::Expired) => Refusal::TokenExpired,
            OidcFault::Token(_) => invalid(),
            OidcFault::Unreachable | OidcFault::Busy => Refusal::IssuerUnreachable,
        })?;
    services.senders.keep_web(token, claims, now_ms).map_err(refused)
}

/// Whether a request shows no credentials at all.
fn shows_nothing(view: &RequestView<'_>) -> bool {
    shown(view).is_err_and(|error| error == AuthError::AccessDenied(Denied::NoCredentials))
}

fn not_signed(error: AuthError) -> Refusal {
    match error {
        AuthError::Throttled(Throttled { retry_after_s }) => Refusal::Throttled { retry_after_s },
        error @ (AuthError::InvalidToken { .. } | AuthError::ExpiredToken { .. }) => {
            Refusal::SessionOver(error.message())
        }
        error => Refusal::NotSigned(error.message()),
    }
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The most that a body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyMax {
    pub(crate) bytes: usize,
    /// Its name in `limits`.
    pub(crate) limit: &'static str,
}

impl BodyMax {
    /// A form comes from anybody and is small. What is not looked at is read all the same: the signature covers it.
    fn of(route: &Route) -> BodyMax {
        match route.operation().map(|operation| operation.facts().body) {
            Some(BodyKind::Form) => BodyMax { bytes: TOKEN_FORM_BYTES_MAX, limit: "TOKEN_FORM_BYTES_MAX" },
            _ => BodyMax { bytes: CATALOG_BODY_BYTES_MAX, limit: "CATALOG_BODY_BYTES_MAX" },
        }
    }
}

/// Reads a whole body, and takes what its values will need.
pub(crate) async fn take_document(
    body: RequestBody,
    max: BodyMax,
    documents: &Budget,
) -> Result<(Bytes, Permit), Refusal> {
    let bytes = read_body(body, max, documents).await?;
    let cost = document_cost(&bytes);
    if documents.max() < cost {
        return Err(Refusal::DocumentTooLarge { cost, max: documents.max() });
    }
    let values = documents.take(cost - bytes.len()).await.map_err(Refusal::Busy)?;
    Ok((bytes, values))
}

async fn read_body<B>(mut body: B, max: BodyMax, documents: &Budget) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes, Error = BodyFault> + Unpin,
{
    let mut all = BoundedBuffer::new(documents, max.bytes);
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        match frame {
            None => return Ok(all.finish()),
            Some(Err(fault)) => {
                return Err(match fault {
                    BodyFault::Broken => Refusal::BodyBroken,
                    BodyFault::Stalled => Refusal::BodyStalled,
                });
            }
            Some(Ok(frame)) => {
                let Ok(piece) = frame.into_data() else { continue };
                if max.bytes - all.len() < piece.len() {
                    return Err(Refusal::BodyTooLarge { limit: max.limit, max: max.bytes });
                }
                all.push(&piece).await.map_err(Refusal::Busy)?;
            }
        }
    }
}

/// Hands an authenticated request to the catalog, or to the token endpoint.
pub(crate) async fn handle(
    services: &Services,
    route: Route,
    rest: &str,
    head: &Parts,
    document: Document,
    door: Door<'_>,
    caller: Caller<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    if route.operation() == Some(nilas_catalog::Operation::GetToken) {
        return token(services, head, &document, door, caller).await;
    }
    // A session of a user is not the user: what it was answered is not for others to be answered again.
    let principal = format!("{} {}", caller.sender.user_id, caller.sender.access_key);
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let request = nilas_catalog::Request {
        method: head.method.as_str(),
        raw_path: rest,
        raw_query: head.uri.query().unwrap_or(""),
        header: &header,
        body: document.bytes,
        principal: &principal,
        access: &caller,
        base_url: &base_url(&head.headers),
    };
    let answer = services.catalog.handle(route, request).await;
    // Who showed nothing is asked to show something.
    if answer.status == 403 && caller.sender.kind == SenderKind::Anonymous {
        return Err(not_signed(AuthError::AccessDenied(Denied::NoCredentials)));
    }
    Ok(render(answer, head))
}

/// Issues a token for credentials in the form or in a Basic header, or for another token.
async fn token(
    services: &Services,
    head: &Parts,
    form: &Document,
    door: Door<'_>,
    caller: Caller<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    let facts = nilas_catalog::Operation::GetToken.facts();
    if !caller.allows(facts.action, Resource::Public) {
        return Err(Refusal::Token(OAuthError::UnauthorizedClient));
    }
    let authorization = head.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let request = TokenRequest::parse(&form.bytes, authorization).map_err(Refusal::Token)?;
    let now_ms = form.now_ms;
    let claims = match request.issuer_token() {
        Some(token) => match services.senders.verify_web(token, now_ms, door.notes).await {
            Ok(claims) => Some(claims),
            Err(OidcFault::Unreachable | OidcFault::Busy) => return Err(Refusal::IssuerUnreachable),
            Err(OidcFault::Token(_)) => None,
        },
        None => None,
    };
    let (standing, key) = (services.senders.standing(), &services.senders.bearer_key);
    let client = request.client_id().map(str::to_owned);
    let slow_down = |Throttled { retry_after_s }| Refusal::Token(OAuthError::SlowDown { retry_after_s });
    if let Some(client) = &client {
        door.admit(client).map_err(slow_down)?;
    }
    let answer = request.answer(claims, &standing, key, now_ms, &mut rt::random_u128);
    let answer = answer.map_err(|error| {
        // What is shown may be wrong in either; a client that there is none of names nobody.
        let known = client.as_deref().filter(|client| standing.client(client, now_ms).is_some());
        let counted = match error {
            OAuthError::InvalidClient | OAuthError::InvalidGrant => {
                door.failed(known.map_or(Failure::Nobody, Failure::Key), error.code())
            }
            _ => Ok(()),
        };
        counted.err().map_or(Refusal::Token(error), slow_down)
    })?;
    door.issued.get_or_init(|| answer.claims.issued("bearer", answer.claims.holder.access_key()));
    let mut response = Response::new(ResponseBody::from(Bytes::from(answer.to_json().to_string())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The catalog's answer as HTTP.
pub(crate) fn render(answer: nilas_catalog::Response, head: &Parts) -> Response<ResponseBody> {
    let has_body = !answer.body.is_empty() && head.method != Method::HEAD;
    let mut response =
        Response::new(if has_body { ResponseBody::from(answer.body) } else { ResponseBody::Empty });
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if has_body && answer.gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_small_and_a_document_large() {
        let check = |line: &str, bytes: usize| {
            let (method, path) = line.split_once(' ').expect("a method and a path");
            assert_eq!(BodyMax::of(&Route::of(method, path)).bytes, bytes, "{line}");
        };
        check("POST /v1/oauth/tokens", 64 << 10);
        check("POST /v1/warehouses", 32 << 20);
        check("GET /v1/warehouses", 32 << 20);
        check("GET /v1/unknown/path", 32 << 20);
    }

    #[test]
    fn no_more_is_read_than_a_body_may_have() {
        let memory = crate::memory::CoreMemory::new(&crate::memory::MemoryPlan::full());
        let max = BodyMax { bytes: 4, limit: "L" };
        let read = |text: &'static str| {
            let body = http_body_util::Full::new(Bytes::from_static(text.as_bytes()));
            let body = http_body_util::BodyExt::map_err(body, |never| match never {});
            let reading = std::pin::pin!(read_body(body, max, &memory.documents));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            match reading.poll(&mut cx) {
                std::task::Poll::Ready(read) => read.map_err(|refusal| format!("{refusal:?}")),
                std::task::Poll::Pending => panic!("nothing waits"),
            }
        };
        assert_eq!(read("1234"), Ok(Bytes::from_static(b"1234")));
        assert_eq!(read("12345"), Err(r#"BodyTooLarge { limit: "L", max: 4 }"#.to_owned()));
    }

    #[test]
    fn an_answer_has_one_type() {
        let head = http::Request::new(()).into_parts().0;
        for refusal in [Refusal::Recovering, Refusal::TokenInvalid] {
            let response = render(refusal.response(), &head);
            let types: Vec<_> = response.headers().get_all(CONTENT_TYPE).iter().collect();
            assert_eq!(types, ["application/json"], "{response:?}");
        }
    }
}
