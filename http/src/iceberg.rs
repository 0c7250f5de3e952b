//! The catalog's edge: who sent a request, its whole body, and the answer as HTTP.
//!
//! The gateway calls [`authenticate`], which reads the body because a catalog's signature covers it, then [`handle`].
//! I1. No body is read of a sender who cannot be anybody, nor of a form more than a form may have. I2. Bytes of a body, and what its values will take beside
//! them, are taken from the core's budget for documents before they are held. I3. No status is chosen here.

use std::pin::Pin;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use nilas_catalog::access::{Access as _, BodyKind, Resource, ResourceKind};
use nilas_catalog::{OAuthError, Refusal, Route};
use nilas_engine::rt;
use sha2::{Digest as _, Sha256};

use crate::auth::bearer::TokenRequest;
use crate::auth::{AuthError, Caller, RequestView, Service, bearer, precheck, verify_with_body, view_of};
use crate::identity::session::SessionFault;
use crate::limits::{CATALOG_BODY_BYTES_MAX, TOKEN_FORM_BYTES_MAX};
use crate::listen::{BodyFault, RequestBody};
use crate::memory::{BoundedBuffer, Budget, Permit, document_cost};
use crate::render::base_url::base_url;
use crate::render::body::ResponseBody;
use crate::server::{CoreState, Services};

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

/// What a request shows to say who sent it.
enum Credentials<'a> {
    /// Nothing is asked for.
    Open,
    Bearer(&'a str),
    Signature(RequestView<'a>),
}

/// Finds out whose access key sent a request, and takes its body on the way. `None`: the operation is open to everybody.
pub(crate) async fn authenticate(
    state: &CoreState,
    route: &Route,
    head: &Parts,
    body: RequestBody,
    now_ms: u64,
) -> Result<(Option<String>, Document), Refusal> {
    if route.operation() == Some(nilas_catalog::Operation::GetToken) && head.method != Method::POST {
        return Err(Refusal::TokenMethod);
    }
    let credentials = Credentials::of(route, head);
    credentials.look(state, now_ms)?;
    let (bytes, values) = take_document(body, BodyMax::of(route), &state.memory.documents).await?;
    let access_key = credentials.verify(state, &bytes, now_ms)?;
    Ok((access_key, Document { bytes, now_ms, _values: values }))
}

impl<'a> Credentials<'a> {
    fn of(route: &Route, head: &'a Parts) -> Credentials<'a> {
        let is_open =
            route.operation().is_some_and(|operation| operation.facts().resource == ResourceKind::Public);
        match bearer_token(&head.headers) {
            _ if is_open => Credentials::Open,
            Some(token) => Credentials::Bearer(token),
            None => Credentials::Signature(view_of(head)),
        }
    }

    /// Refuses before the body: who cannot be anybody does not get to send megabytes.
    fn look(&self, state: &CoreState, now_ms: u64) -> Result<(), Refusal> {
        match self {
            Credentials::Open => Ok(()),
            Credentials::Bearer(token) => holder(state, token, now_ms).map(drop),
            Credentials::Signature(view) => {
                precheck(view, &SERVICES, &state.identity.root_key, now_ms).map(drop).map_err(not_signed)
            }
        }
    }

    /// The access key that was proven; `None` when nothing was asked for.
    fn verify(self, state: &CoreState, body: &[u8], now_ms: u64) -> Result<Option<String>, Refusal> {
        match self {
            Credentials::Open => Ok(None),
            Credentials::Bearer(token) => holder(state, token, now_ms).map(Some),
            Credentials::Signature(view) => {
                let sha256 = Sha256::digest(body).into();
                let mut cache = state.identity.signing_keys.borrow_mut();
                let verified =
                    verify_with_body(&view, &sha256, &SERVICES, &state.identity.root_key, &mut cache, now_ms);
                verified.map(|verified| Some(verified.access_key)).map_err(not_signed)
            }
        }
    }
}

fn holder(state: &CoreState, token: &str, now_ms: u64) -> Result<String, Refusal> {
    let root_key = &state.identity.root_key;
    match bearer::verify_bearer(token, root_key.bearer_key(), root_key, now_ms) {
        Ok(_) => Ok(root_key.access_key().to_owned()),
        Err(SessionFault::Expired) => Err(Refusal::TokenExpired),
        Err(SessionFault::Invalid | SessionFault::Revoked) => Err(Refusal::TokenInvalid),
    }
}

fn not_signed(error: AuthError) -> Refusal {
    Refusal::NotSigned(error.message())
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The most that a body may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BodyMax {
    bytes: usize,
    /// Its name in `limits`.
    limit: &'static str,
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
async fn take_document(
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
    state: &CoreState,
    services: &Services,
    route: Route,
    rest: &str,
    head: &Parts,
    document: Document,
    caller: Caller<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    if route.operation() == Some(nilas_catalog::Operation::GetToken) {
        return token(state, head, &document, caller);
    }
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let request = nilas_catalog::Request {
        method: head.method.as_str(),
        raw_path: rest,
        raw_query: head.uri.query().unwrap_or(""),
        header: &header,
        body: document.bytes,
        principal: caller.principal.access_key,
        access: &caller,
        base_url: &base_url(&head.headers),
    };
    Ok(render(services.catalog.handle(route, request).await, head))
}

/// Issues a token for credentials in the form or in a Basic header.
fn token(
    state: &CoreState,
    head: &Parts,
    form: &Document,
    caller: Caller<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    let facts = nilas_catalog::Operation::GetToken.facts();
    if !caller.allows(facts.action, Resource::Public) {
        return Err(Refusal::Token(OAuthError::UnauthorizedClient));
    }
    let authorization = head.headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let root_key = &state.identity.root_key;
    let answer = TokenRequest::parse(&form.bytes, authorization)
        .and_then(|asked| {
            asked.answer(None, root_key, root_key.bearer_key(), form.now_ms, &mut rt::random_u128)
        })
        .map_err(Refusal::Token)?;
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
