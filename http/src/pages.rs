//! The server's own pages: which there are, at which path, and what short answers they give.
//!
//! `route` finds them by this table and the gateway judges them by it, as operations of the other APIs by theirs.
//! What is on the pages is made in `admin`.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
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
}

/// One row.
#[derive(Debug)]
pub struct PageRow {
    /// What all tables of operations have in common.
    pub facts: OperationFacts,
    /// Upper case.
    pub methods: &'static [&'static str],
    /// The whole path.
    pub path: &'static str,
}

// Pages for load balancers and Prometheus tell no names and need no credentials; those of the scrub and of purges name
// objects.
const TABLE: [PageRow; 6] = [
    row("Healthz", "/healthz", &["GET", "HEAD"], "admin:Health", ResourceKind::Public, Effect::Reads),
    row("Readyz", "/readyz", &["GET", "HEAD"], "admin:Health", ResourceKind::Public, Effect::Reads),
    row("Metrics", "/metrics", &["GET", "HEAD"], "admin:Prometheus", ResourceKind::Public, Effect::Reads),
    row("ScrubStatus", SCRUB, &["GET", "HEAD"], "admin:Heal", ResourceKind::Service, Effect::Reads),
    row("ScrubStart", SCRUB, &["POST"], "admin:Heal", ResourceKind::Service, Effect::Changes),
    row(
        "Purges",
        "/_nilas/purges",
        &["GET", "HEAD"],
        "admin:ServerInfo",
        ResourceKind::Service,
        Effect::Reads,
    ),
];

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
    pub const ALL: [Page; TABLE.len()] =
        [Page::Healthz, Page::Readyz, Page::Metrics, Page::ScrubStatus, Page::ScrubStart, Page::Purges];

    /// Returns its row of the table.
    pub fn row(self) -> &'static PageRow {
        &TABLE[self as usize]
    }

    /// The pages at a path, one for each set of methods.
    pub(crate) fn at(path: &str) -> impl Iterator<Item = Page> {
        Page::ALL.into_iter().filter(move |page| page.row().path == path)
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
    /// The head does not name one host; S3 says no more either.
    NoHost,
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
            Plain::NoHost => (StatusCode::BAD_REQUEST, ""),
        };
        answer(status, Bytes::from_static(text.as_bytes()), "text/plain; charset=utf-8")
    }
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
                assert_eq!(Page::at(page.row().path).filter(served).collect::<Vec<_>>(), [page]);
                let reads = matches!(*method, "GET" | "HEAD");
                assert_eq!(page.row().facts.effect == Effect::Reads, reads, "{page:?}");
            }
        }
    }
}
