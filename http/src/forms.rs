//! The query API's edge: who sent a form, the form itself, and the answer as HTTP.
//!
//! The gateway calls [`serve`] for every `POST /`. The body is read before its sender is known, because the signature covers
//! it: of who shows no credentials in force no more is read than of a form that may come unsigned.
//! I1. Nothing is done before the sender is known and may do it; who shows nothing may do what is open to everybody. I2. A
//! request that is signed for one service asks for operations of that service only.

use std::rc::Rc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use nilas_catalog::Refusal;
use nilas_catalog::access::ResourceKind;
use nilas_catalog::uri::raw_pairs;
use sha2::{Digest as _, Sha256};

use crate::auth::{
    AuthError, Denied, Mechanism, RequestView, Service, Verified, precheck, shown, verify_with_body, view_of,
};
use crate::iceberg::{BodyMax, take_document};
use crate::identity::model::Fault;
use crate::identity::store::ChangeError;
use crate::identity::{Caller, RequestFacts, Sender};
use crate::limits::{IDENTITY_CHANGE_BYTES_MAX, QUERY_FORM_BYTES_MAX, TOKEN_FORM_BYTES_MAX};
use crate::listen::RequestBody;
use crate::query::{self, Asker, Form, Group, Operation, Plan, QueryError, find, plan, render, sts};
use crate::render::body::ResponseBody;
use crate::server::{CoreState, Services};
use crate::throttle::Failure;
use crate::trail::Trail;

/// Answers one form.
pub(crate) async fn serve(
    state: &CoreState,
    head: &Parts,
    body: RequestBody,
    trail: &Trail,
    request_id: &str,
) -> Response<ResponseBody> {
    let mut asked = None;
    let outcome = answer(state, head, body, trail, &mut asked).await;
    match (asked, outcome) {
        (Some(asked), outcome) => render(asked, outcome, request_id),
        (None, outcome) => {
            outcome.err().unwrap_or(QueryError::MissingAction).render(namespace_of(head), request_id)
        }
    }
}

/// The services that a form may be signed for.
const SERVICES: [Service; 2] = [Service::Iam, Service::Sts];

async fn answer(
    state: &CoreState,
    head: &Parts,
    body: RequestBody,
    trail: &Trail,
    asked: &mut Option<Operation>,
) -> Result<Bytes, QueryError> {
    let services = state.services().ok_or_else(recovering)?;
    let now_ms = services.engine.now_ms();
    let (view, door) = (view_of(head), state.door(trail));
    let is_signed = match shown(&view) {
        Ok(_) => true,
        Err(AuthError::AccessDenied(Denied::NoCredentials)) => false,
        Err(error) => return Err(error.into()),
    };
    let admitted = match is_signed {
        true => precheck(&view, &SERVICES, &door.keys(&services.senders), now_ms).map(drop),
        false => Err(AuthError::AccessDenied(Denied::NoCredentials)),
    };
    let max = match admitted {
        Ok(()) => BodyMax { bytes: QUERY_FORM_BYTES_MAX, limit: "QUERY_FORM_BYTES_MAX" },
        Err(_) => BodyMax { bytes: TOKEN_FORM_BYTES_MAX, limit: "TOKEN_FORM_BYTES_MAX" },
    };
    let (bytes, _held) = take_document(body, max, &state.memory.documents).await.map_err(unread)?;
    let read = Form::parse(&bytes).and_then(|form| Ok((find(&form)?, form)));
    let (operation, form) = match (read, &admitted) {
        (Ok(read), _) => read,
        (Err(_), Err(error)) if is_signed => return Err(door.judged(error.clone()).into()),
        // Who shows nothing, in the form either, learns nothing of it.
        (Err(_), Err(error)) => return Err(error.clone().into()),
        (Err(error), _) => return Err(error),
    };
    *asked = Some(operation);
    trail.asks_for(operation);
    // Whom such a form speaks for is in the form: as in AWS, a signature beside it says nothing.
    let is_open = operation.facts().resource == ResourceKind::Public;
    let (sender, verified) = match admitted {
        _ if is_open => (services.senders.anonymous(), None),
        Err(error) if is_signed => return Err(door.judged(error).into()),
        Err(error) => return Err(error.into()),
        Ok(()) => {
            let verified = verify(state, services, &view, &bytes, operation.service(), now_ms);
            let verified = verified.map_err(|error| door.judged(error))?;
            let (access_key, token) = (&verified.access_key, verified.session_token.as_deref());
            let found = services.senders.find(access_key, token, now_ms);
            (found.map_err(|fault| fault.error(access_key, token))?, Some(verified))
        }
    };
    // A field that stands in the address in place of the body would go unread.
    let mut beside = raw_pairs(head.uri.query().unwrap_or_default()).map(|(name, _)| name);
    if let Some(name) = beside.find(|name| !name.to_ascii_lowercase().starts_with("x-amz-")) {
        return Err(QueryError::Unread { name: name.to_owned() });
    }
    let outcome = carry_out(services, head, trail, operation, &form, sender, verified.as_ref(), now_ms).await;
    outcome.map_err(|error| match &error {
        // A token of the issuer that is not true is a proof that failed.
        QueryError::Sts(fault) if fault.is_guess() => match door.failed(Failure::Nobody, error.code().0) {
            Ok(()) => error,
            Err(throttled) => AuthError::Throttled(throttled).into(),
        },
        _ => error,
    })
}

fn verify(
    state: &CoreState,
    services: &Services,
    view: &RequestView<'_>,
    body: &[u8],
    service: Service,
    now_ms: u64,
) -> Result<Verified, AuthError> {
    let sha256 = Sha256::digest(body).into();
    let mut cache = state.identity.signing_keys.borrow_mut();
    verify_with_body(view, &sha256, &[service], &services.senders, &mut cache, now_ms)
}

#[expect(clippy::too_many_arguments, reason = "all that is known of a request by then")]
async fn carry_out(
    services: &Services,
    head: &Parts,
    trail: &Trail,
    operation: Operation,
    form: &Form,
    sender: Rc<Sender>,
    verified: Option<&Verified>,
    now_ms: u64,
) -> Result<Bytes, QueryError> {
    let tags = query::tags_of(operation, form);
    let request = RequestFacts {
        form_tags: &tags,
        mechanism: verified.map_or(Mechanism::Unsigned, |verified| verified.mechanism),
        signed_ms: verified.and_then(|verified| verified.signed_ms),
        region: verified.map_or("", |verified| &verified.region),
        ..trail.facts(head, now_ms)
    };
    let sender = trail.sent_by(sender);
    let evaluator = services.evaluator(sender, request, &trail.decisions);
    let caller = Caller::new(sender, &evaluator);
    if operation.row().group == Group::Sts {
        let made = sts::answer(&services.senders, form, operation, sender, &caller, &trail.decisions, now_ms)
            .await?;
        if let Some(issued) = made.issued {
            trail.issued.get_or_init(|| issued);
        }
        return Ok(made.xml);
    }
    let asker = Asker {
        access: &caller,
        arn: &sender.arn,
        user: sender.user.as_deref(),
        root_key: sender.is_of_root().then(|| services.senders.root_key.access_key()),
        region: &services.s3.region,
    };
    match plan(operation, form, &sender.model, asker)? {
        Plan::Tell(xml) => Ok(xml),
        Plan::Change(next) => services.senders.store.change(next).await.map_err(not_changed),
    }
}

fn recovering() -> QueryError {
    QueryError::Unavailable { message: "The store has not recovered yet.".into() }
}

fn unread(refusal: Refusal) -> QueryError {
    match refusal {
        Refusal::BodyTooLarge { .. } | Refusal::DocumentTooLarge { .. } => QueryError::FormTooLarge,
        Refusal::Busy(error) => QueryError::Unavailable { message: error.to_string().into() },
        _ => QueryError::MalformedForm,
    }
}

fn not_changed(error: ChangeError) -> QueryError {
    match error {
        ChangeError::Fault(fault) => QueryError::Fault(fault),
        ChangeError::TooLarge { .. } => {
            let limit = "IDENTITY_CHANGE_BYTES_MAX";
            QueryError::Fault(Fault::LimitExceeded { limit, max: IDENTITY_CHANGE_BYTES_MAX })
        }
        other => QueryError::Unavailable { message: other.to_string().into() },
    }
}

/// The namespace of an answer to a form that names no operation: that of the service it is signed for.
fn namespace_of(head: &Parts) -> &'static str {
    match shown(&view_of(head)) {
        Ok(Some(Service::Sts)) => query::STS_NAMESPACE,
        _ => query::IAM_NAMESPACE,
    }
}
