//! The server's own pages: which there are, at which path, and what short answers they give.
//!
//! `route` finds them by this table and the gateway judges them by it, as operations of the other APIs by theirs.
//! What is on the pages is made in `admin`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use nilas_catalog::access::{Api, BodyKind, Effect, NamedIn, OperationFacts, ResourceKind};

use crate::render::body::ResponseBody;

/// One of the server's own pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Page {
    Healthz,
    Readyz,
    Metrics,
    ScrubStatus,
    ScrubStart,
    Purges,
    Whoami,
    Simulate,
    SimulateForm,
    WhoCan,
    Owners,
    ChangeOwner,
    Quotas,
    ChangeQuota,
    Lifecycles,
    LifecyclePreview,
    KmsKeys,
    CreateKmsKey,
    RotateKmsKey,
    Users,
    ChangeUser,
    CreateKey,
    Audit,
}

/// One row.
#[derive(Debug)]
pub struct PageRow {
    /// What all tables of operations have in common.
    pub facts: OperationFacts,
    /// Upper case.
    pub methods: &'static [&'static str],
    /// The whole path; one that ends with `/` has one more segment.
    pub path: &'static str,
}

// Pages for load balancers and Prometheus tell no names and need no credentials; those of the scrub and of purges name
// objects.
const TABLE: [PageRow; 23] = [
    row("Healthz", "/healthz", &["GET", "HEAD"], "admin:Health", ResourceKind::Public, Effect::Reads),
    row("Readyz", "/readyz", &["GET", "HEAD"], "admin:Health", ResourceKind::Public, Effect::Reads),
    row("Metrics", "/metrics", &["GET", "HEAD"], "admin:Prometheus", ResourceKind::Public, Effect::Reads),
    row("ScrubStatus", SCRUB, &["GET", "HEAD"], "admin:ServerInfo", ResourceKind::Service, Effect::Reads),
    row("ScrubStart", SCRUB, &["POST"], "admin:Heal", ResourceKind::Service, Effect::Changes),
    row(
        "Purges",
        "/_nilas/purges",
        &["GET", "HEAD"],
        "admin:ServerInfo",
        ResourceKind::Service,
        Effect::Reads,
    ),
    // Who signs may know who they are, and may know it of nobody else.
    judged_by_body("Whoami", "/_nilas/whoami", READ, "admin:WhoAmI", Effect::Reads),
    row("Simulate", SIMULATE, READ, "admin:Simulate", ResourceKind::Service, Effect::Reads),
    with_json(row("SimulateForm", SIMULATE, POST, "admin:Simulate", ResourceKind::Service, Effect::Reads)),
    row("WhoCan", "/_nilas/who-can", READ, "admin:WhoCan", ResourceKind::Service, Effect::Reads),
    row("Owners", OWNERS, READ, "admin:ListOwners", ResourceKind::Service, Effect::Reads),
    with_json(row(
        "ChangeOwner",
        OWNERS,
        POST,
        "admin:ChangeBucketOwner",
        ResourceKind::Service,
        Effect::Changes,
    )),
    row("Quotas", QUOTAS, READ, "admin:GetBucketQuota", ResourceKind::Service, Effect::Reads),
    with_json(row(
        "ChangeQuota",
        QUOTAS,
        POST,
        "admin:SetBucketQuota",
        ResourceKind::Service,
        Effect::Changes,
    )),
    row("Lifecycles", LIFECYCLE, READ, "admin:GetLifecycle", ResourceKind::Service, Effect::Reads),
    with_json(row(
        "LifecyclePreview",
        "/_nilas/lifecycle/preview",
        POST,
        "admin:PreviewLifecycle",
        ResourceKind::Service,
        Effect::Reads,
    )),
    row("KmsKeys", KMS_KEYS, READ, "admin:KMSKeyStatus", ResourceKind::Service, Effect::Reads),
    with_json(row(
        "CreateKmsKey",
        KMS_KEYS,
        POST,
        "admin:KMSCreateKey",
        ResourceKind::Service,
        Effect::Changes,
    )),
    with_json(row(
        "RotateKmsKey",
        "/_nilas/kms/rotate",
        POST,
        "admin:KMSRotateKey",
        ResourceKind::Service,
        Effect::Changes,
    )),
    row("Users", "/_nilas/users", READ, "iam:ListUsers", ResourceKind::Service, Effect::Reads),
    judged_by_body("ChangeUser", "/_nilas/users/", POST, "iam:UpdateUser", Effect::Changes),
    judged_by_body("CreateKey", "/_nilas/keys", POST, "iam:CreateAccessKey", Effect::Changes),
    row("Audit", "/_nilas/audit", READ, "admin:Audit", ResourceKind::Service, Effect::Reads),
];

const READ: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];
const SIMULATE: &str = "/_nilas/simulate";
const OWNERS: &str = "/_nilas/owners";
const QUOTAS: &str = "/_nilas/quotas";
const LIFECYCLE: &str = "/_nilas/lifecycle";
const KMS_KEYS: &str = "/_nilas/kms/keys";

/// A page that asks for what it is about by itself.
const fn judged_by_body(
    name: &'static str,
    path: &'static str,
    methods: &'static [&'static str],
    action: &'static str,
    effect: Effect,
) -> PageRow {
    let mut row = row(name, path, methods, action, ResourceKind::Identity, effect);
    row.facts.named = NamedIn::Body;
    match effect {
        Effect::Changes => with_json(row),
        Effect::Reads => row,
    }
}

const fn with_json(mut row: PageRow) -> PageRow {
    row.facts.body = BodyKind::Json;
    row
}

const SCRUB: &str = "/_nilas/scrub";

const fn row(
    name: &'static str,
    path: &'static str,
    methods: &'static [&'static str],
    action: &'static str,
    resource: ResourceKind,
    effect: Effect,
) -> PageRow {
    let facts = OperationFacts {
        name,
        api: Api::Admin,
        action,
        resource,
        named: NamedIn::Head,
        body: BodyKind::Empty,
        effect,
    };
    PageRow { facts, methods, path }
}

impl Page {
    /// All pages, in the order of the table.
    pub const ALL: [Page; TABLE.len()] = [
        Page::Healthz,
        Page::Readyz,
        Page::Metrics,
        Page::ScrubStatus,
        Page::ScrubStart,
        Page::Purges,
        Page::Whoami,
        Page::Simulate,
        Page::SimulateForm,
        Page::WhoCan,
        Page::Owners,
        Page::ChangeOwner,
        Page::Quotas,
        Page::ChangeQuota,
        Page::Lifecycles,
        Page::LifecyclePreview,
        Page::KmsKeys,
        Page::CreateKmsKey,
        Page::RotateKmsKey,
        Page::Users,
        Page::ChangeUser,
        Page::CreateKey,
        Page::Audit,
    ];

    /// Returns its row of the table.
    pub fn row(self) -> &'static PageRow {
        &TABLE[self as usize]
    }

    /// The pages at a path, one for each set of methods.
    pub(crate) fn at(path: &str) -> impl Iterator<Item = Page> {
        Page::ALL.into_iter().filter(move |page| page.rest_of(path).is_some())
    }

    /// What a path of this page has behind the page's own; `None` when it is another's.
    pub(crate) fn rest_of(self, path: &str) -> Option<&str> {
        let rest = path.strip_prefix(self.row().path)?;
        let has_more = self.row().path.ends_with('/');
        (rest.is_empty() != has_more && !rest.contains('/')).then_some(rest)
    }

    /// Whether it is one of `people`, whose failures are JSON as well.
    pub(crate) fn is_of_people(self) -> bool {
        match self {
            Page::Healthz | Page::Readyz | Page::Metrics => false,
            Page::ScrubStatus | Page::ScrubStart | Page::Purges => false,
            Page::Whoami | Page::Simulate | Page::SimulateForm | Page::WhoCan | Page::Audit => true,
            Page::Quotas | Page::ChangeQuota => true,
            Page::Lifecycles | Page::LifecyclePreview => true,
            Page::KmsKeys | Page::CreateKmsKey | Page::RotateKmsKey => true,
            Page::Owners | Page::ChangeOwner | Page::Users | Page::ChangeUser | Page::CreateKey => true,
        }
    }
}

/// The short answers of pages, and to what is no request of any API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    Alive,
    Ready,
    Recovering,
    /// A core did not answer in time.
    CoreBusy,
    /// The head breaks a rule of HTTP itself; S3 says no more either.
    BadHead,
}

impl Plain {
    /// The table of their statuses.
    pub(crate) fn answer(self) -> Response<ResponseBody> {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        let (status, text) = match self {
            Plain::Alive => (StatusCode::OK, "ok\n"),
            Plain::Ready => (StatusCode::OK, "ready\n"),
            Plain::Recovering => (unavailable, "recovering\n"),
            Plain::CoreBusy => (unavailable, "a core is busy or stopping: try again\n"),
            Plain::BadHead => (StatusCode::BAD_REQUEST, ""),
        };
        answer(status, Bytes::from_static(text.as_bytes()), "text/plain; charset=utf-8")
    }
}

/// A failure of a page of `people`.
pub(crate) fn failure(
    status: StatusCode,
    code: &str,
    message: &str,
    retry_after_s: Option<u64>,
) -> Response<ResponseBody> {
    let text = serde_json::json!({ "error": { "code": code, "message": message } }).to_string();
    let mut response = answer(status, text.into(), "application/json");
    if let Some(retry_after_s) = retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
    }
    response
}

/// A whole answer of a page.
pub(crate) fn answer(status: StatusCode, body: Bytes, content_type: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_variants() {
        for page in Page::ALL {
            assert_eq!(page.row().facts.name, format!("{page:?}"));
            for method in page.row().methods {
                let served = |other: &Page| other.row().methods.contains(method);
                let more = if page.row().path.ends_with('/') { "alice" } else { "" };
                let path = format!("{}{more}", page.row().path);
                assert_eq!(Page::at(&path).filter(served).collect::<Vec<_>>(), [page]);
                assert_eq!(page.rest_of(&path), Some(more));
                let reads = matches!(*method, "GET" | "HEAD")
                    || matches!(page, Page::SimulateForm | Page::LifecyclePreview);
                assert_eq!(page.row().facts.effect == Effect::Reads, reads, "{page:?}");
            }
        }
    }
}
