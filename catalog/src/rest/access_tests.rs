//! Every operation asks before it acts, about everything that it names: the catalog on a machine in memory, with an
//! evaluator that writes down what it is asked.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use nilas_engine::CoreId;
use nilas_engine::drive::Drive;
use nilas_engine::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
use nilas_engine::store::{FormatConfig, Store, format};

use super::{Catalog, Operation, Request, Response, Route};
use crate::access::{Access, BodyKind, NamedIn, Resource, ResourceKind, VendRequest, Vended};

/// Writes down what it is asked, and says what `allows` says of it.
pub(super) struct Recorder {
    asked: RefCell<Vec<(String, ResourceKind)>>,
    allows: Box<dyn Fn(&str) -> bool>,
    wants_ids: bool,
    /// Whose request it is asked about.
    principal: &'static str,
    /// Credentials that it was asked for.
    pub(super) vended: RefCell<Vec<String>>,
}

impl Recorder {
    pub(super) fn new(allows: impl Fn(&str) -> bool + 'static) -> Recorder {
        let allows = Box::new(allows);
        let principal = "somebody KEY";
        Recorder {
            asked: RefCell::default(),
            allows,
            wants_ids: false,
            principal,
            vended: RefCell::default(),
        }
    }

    /// Refuses what is about `refused`.
    pub(super) fn refusing(refused: &'static str) -> Recorder {
        Recorder::new(move |question| refused.is_empty() || !question.contains(refused))
    }

    /// The same for rights that depend on ids.
    pub(super) fn by_id(self) -> Recorder {
        Recorder { wants_ids: true, ..self }
    }

    /// The same of a request by somebody else.
    pub(super) fn of(self, principal: &'static str) -> Recorder {
        Recorder { principal, ..self }
    }

    pub(super) fn questions(&self) -> Vec<String> {
        self.asked.borrow().iter().map(|(question, _)| question.clone()).collect()
    }
}

impl Access for Recorder {
    fn allows_with(
        &self,
        action: &'static str,
        resource: Resource<'_>,
        facts: &[(&'static str, &str)],
    ) -> bool {
        let facts: String = facts.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let question = format!("{action} {resource}{facts}");
        let allowed = (self.allows)(&question);
        self.asked.borrow_mut().push((question, resource.kind()));
        allowed
    }

    /// A question for all below is asked with a `*` at its end.
    fn allows_below(&self, action: &'static str, bucket: &str, prefix: &str) -> bool {
        let below = format!("{prefix}*");
        self.allows(action, Resource::Object { bucket, key: below.as_bytes() })
    }

    fn wants_table_ids(&self, _warehouse: &str) -> bool {
        self.wants_ids
    }

    fn vend(&self, wanted: &VendRequest<'_>) -> Option<Vended> {
        let VendRequest { warehouse, table_id, prefix, writes, deletes, .. } = wanted;
        let text = format!("{warehouse} {table_id} {prefix} writes={writes} deletes={deletes}");
        self.vended.borrow_mut().push(text);
        Some(Vended {
            access_key: "NILT".to_owned(),
            secret_key: "secret".to_owned(),
            session_token: "token".to_owned(),
            expires_ms: 5_000,
        })
    }
}

pub(super) async fn ask(catalog: &Catalog, line: &str, body: &str, recorder: &Recorder) -> Response {
    ask_with(catalog, line, body, &[], recorder).await
}

pub(super) async fn ask_with(
    catalog: &Catalog,
    line: &str,
    body: &str,
    headers: &[(&str, &str)],
    recorder: &Recorder,
) -> Response {
    let (method, path) = line.split_once(' ').expect("method and path");
    let (raw_path, raw_query) = path.split_once('?').unwrap_or((path, ""));
    let header = |name: &str| {
        let found = headers.iter().find(|(header, _)| *header == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let request = Request {
        method,
        raw_path,
        raw_query,
        header: &header,
        body: Bytes::copy_from_slice(body.as_bytes()),
        principal: recorder.principal,
        access: recorder,
        base_url: "http://h",
    };
    catalog.handle(Route::of(method, raw_path), request).await
}

/// Runs `test` with a catalog on one simulated core.
pub(super) fn with_catalog(test: impl AsyncFnOnce(Catalog) + 'static) {
    let simulator = Simulator::new(1);
    let machine = simulator.clone();
    let ended = simulator.run(async move {
        let drive = SimulatedDrive::new(&machine, &Medium::new(512 << 20), Faults::default());
        let drives = || vec![Rc::new(drive.clone()) as Rc<dyn Drive>];
        let config = FormatConfig { shards: 2, now_ms: 1_700_000_000_000, store: 7, zone_bytes: None };
        let superblocks = format(&drives(), config).await.expect("blank and large enough");
        let store = Store::new(superblocks, 1);
        let engine = store.start_core(CoreId(0), Rc::new(machine.clone()), drives()).await.expect("starts");
        while !store.is_ready() {
            machine.sleep_us(10).await;
        }
        test(Catalog::new(engine, Bytes::new(), "local")).await;
    });
    assert_eq!(ended, Ok(()));
}

const TABLE: &str = r#"{"name":"t","schema":{"type":"struct","fields":[]}}"#;
const COMMIT: &str = r#"{"requirements":[],"updates":[]}"#;
const CREATING: &str = r#"{"requirements":[{"type":"assert-create"}],"updates":[]}"#;
const RENAME: &str =
    r#"{"source":{"namespace":["n"],"name":"t"},"destination":{"namespace":["m"],"name":"u"}}"#;
const TRANSACTION: &str = r#"{"table-changes":[
    {"identifier":{"namespace":["n"],"name":"a"},"requirements":[],"updates":[]},
    {"identifier":{"namespace":["n"],"name":"b"},"requirements":[{"type":"assert-create"}],"updates":[]},
    {"identifier":{"namespace":["n"],"name":"c"},"requirements":[],"updates":[]}]}"#;

/// Operation, request line, body, and every question that it is to ask, in order.
const QUESTIONS: &[(Operation, &str, &str, &[&str])] = &[
    (Operation::GetConfig, "GET /v1/config", "", &["s3tables:GetConfig arn:aws:s3tables:::bucket/wh1"]),
    (Operation::ListWarehouses, "GET /v1/warehouses", "", &["s3tables:ListTableBuckets *"]),
    (
        Operation::CreateWarehouse,
        "POST /v1/warehouses",
        r#"{"name":"wh2"}"#,
        &["s3tables:CreateTableBucket arn:aws:s3tables:::bucket/wh2"],
    ),
    (
        Operation::GetWarehouse,
        "GET /v1/warehouses/wh1",
        "",
        &["s3tables:GetTableBucket arn:aws:s3tables:::bucket/wh1"],
    ),
    (
        Operation::ListNamespaces,
        "GET /v1/wh1/namespaces",
        "",
        &["s3tables:ListNamespaces arn:aws:s3tables:::bucket/wh1"],
    ),
    (
        Operation::CreateNamespace,
        "POST /v1/wh1/namespaces",
        r#"{"namespace":["n"]}"#,
        &["s3tables:CreateNamespace arn:aws:s3tables:::bucket/wh1"],
    ),
    (
        Operation::LoadNamespaceMetadata,
        "GET /v1/wh1/namespaces/n",
        "",
        &["s3tables:GetNamespace arn:aws:s3tables:::bucket/wh1"],
    ),
    (
        Operation::NamespaceExists,
        "HEAD /v1/wh1/namespaces/n",
        "",
        &["s3tables:GetNamespace arn:aws:s3tables:::bucket/wh1"],
    ),
    (
        Operation::UpdateProperties,
        "POST /v1/wh1/namespaces/n/properties",
        "{}",
        &["s3tables:UpdateNamespaceProperties arn:aws:s3tables:::bucket/wh1"],
    ),
    (
        Operation::ListTables,
        "GET /v1/wh1/namespaces/n/tables",
        "",
        &["s3tables:ListTables arn:aws:s3tables:::bucket/wh1"],
    ),
    (
        Operation::CreateTable,
        "POST /v1/wh1/namespaces/n/tables",
        TABLE,
        &["s3tables:CreateTable arn:aws:s3tables:::bucket/wh1/table/n.t"],
    ),
    (
        Operation::LoadTable,
        "GET /v1/wh1/namespaces/n/tables/t",
        "",
        &["s3tables:GetTable arn:aws:s3tables:::bucket/wh1/table/n.t"],
    ),
    (
        Operation::TableExists,
        "HEAD /v1/wh1/namespaces/n/tables/t",
        "",
        &["s3tables:GetTable arn:aws:s3tables:::bucket/wh1/table/n.t"],
    ),
    (
        Operation::UpdateTable,
        "POST /v1/wh1/namespaces/n/tables/t",
        COMMIT,
        &["s3tables:UpdateTable arn:aws:s3tables:::bucket/wh1/table/n.t"],
    ),
    (
        Operation::UpdateTable,
        "POST /v1/wh1/namespaces/n/tables/v",
        CREATING,
        &["s3tables:CreateTable arn:aws:s3tables:::bucket/wh1/table/n.v"],
    ),
    (
        Operation::RegisterTable,
        "POST /v1/wh1/namespaces/n/register",
        r#"{"name":"r","metadata-location":"s3://wh1/x"}"#,
        &[
            "s3tables:RegisterTable arn:aws:s3tables:::bucket/wh1/table/n.r s3tables:registerLocation=s3://wh1/x",
            "s3:GetObject arn:aws:s3:::wh1/x",
        ],
    ),
    (
        Operation::RegisterTable,
        "POST /v1/wh1/namespaces/n/register",
        r#"{"name":"r","metadata-location":"s3://wh1/x","overwrite":true}"#,
        &[
            "s3tables:RegisterTable arn:aws:s3tables:::bucket/wh1/table/n.r s3tables:registerLocation=s3://wh1/x",
            "s3tables:UpdateTable arn:aws:s3tables:::bucket/wh1/table/n.r",
            "s3:GetObject arn:aws:s3:::wh1/x",
        ],
    ),
    (
        Operation::LoadCredentials,
        "GET /v1/wh1/namespaces/n/tables/t/credentials",
        "",
        &[
            "s3tables:GetTableData arn:aws:s3tables:::bucket/wh1/table/n.t",
            "s3tables:GetTableData arn:aws:s3tables:::bucket/wh1/table/n.t",
            "s3tables:PutTableData arn:aws:s3tables:::bucket/wh1/table/n.t",
            "s3tables:DeleteTable arn:aws:s3tables:::bucket/wh1/table/n.t",
        ],
    ),
    (
        Operation::ReportMetrics,
        "POST /v1/wh1/namespaces/n/tables/t/metrics",
        r#"{"report-type":"scan-report"}"#,
        &["s3tables:TableMetrics arn:aws:s3tables:::bucket/wh1/table/n.t"],
    ),
    (
        Operation::RenameTable,
        "POST /v1/wh1/tables/rename",
        RENAME,
        &[
            "s3tables:RenameTable arn:aws:s3tables:::bucket/wh1/table/n.t",
            "s3tables:RenameTable arn:aws:s3tables:::bucket/wh1/table/m.u",
        ],
    ),
    (
        Operation::CommitTransaction,
        "POST /v1/transactions/commit",
        TRANSACTION,
        &[
            "s3tables:UpdateTable arn:aws:s3tables:::bucket/wh1/table/n.a",
            "s3tables:CreateTable arn:aws:s3tables:::bucket/wh1/table/n.b",
            "s3tables:UpdateTable arn:aws:s3tables:::bucket/wh1/table/n.c",
        ],
    ),
    (
        Operation::DropTable,
        "DELETE /v1/wh1/namespaces/n/tables/t",
        "",
        &["s3tables:DeleteTable arn:aws:s3tables:::bucket/wh1/table/n.t"],
    ),
    (
        Operation::DropNamespace,
        "DELETE /v1/wh1/namespaces/n",
        "",
        &["s3tables:DeleteNamespace arn:aws:s3tables:::bucket/wh1"],
    ),
    (
        Operation::DeleteWarehouse,
        "DELETE /v1/warehouses/wh1",
        "",
        &["s3tables:DeleteTableBucket arn:aws:s3tables:::bucket/wh1", "s3:DeleteBucket arn:aws:s3:::wh1"],
    ),
];

pub(super) async fn make_warehouse(catalog: &Catalog) {
    let all = Recorder::refusing("");
    let made = ask(catalog, "POST /v1/warehouses", r#"{"name":"wh1"}"#, &all).await;
    assert_eq!(made.status, 200);
}

#[test]
fn every_operation_asks_about_all_that_it_names() {
    for operation in Operation::ALL.iter().filter(|operation| **operation != Operation::GetToken) {
        assert!(QUESTIONS.iter().any(|(known, ..)| known == operation), "{operation:?}");
    }
    with_catalog(async |catalog: Catalog| {
        make_warehouse(&catalog).await;
        for (operation, line, body, want) in QUESTIONS {
            let (method, path) = line.split_once(' ').expect("method and path");
            assert_eq!(Route::of(method, path).operation(), Some(*operation), "{line}");
            let all = Recorder::refusing("");
            let answer = ask(&catalog, line, body, &all).await;
            assert_ne!(answer.status, 403, "{line}");
            let asked = all.asked.into_inner();
            let questions: Vec<&str> = asked.iter().map(|(question, _)| question.as_str()).collect();
            assert_eq!(questions, *want, "{line}");
            let facts = operation.facts();
            // What is asked of S3 is about files.
            let mut tables = asked.iter().filter(|(question, _)| question.starts_with("s3tables:"));
            assert!(tables.all(|(_, kind)| *kind == facts.resource), "{line}: {asked:?}");
            let asks_more = [Operation::LoadCredentials, Operation::DeleteWarehouse].contains(operation);
            let asks_once = facts.named == NamedIn::Head && !asks_more;
            assert!(!asks_once || asked.len() == 1, "{line}");
            if *operation == Operation::CreateWarehouse {
                // Paths without a prefix need one warehouse alone.
                ask(&catalog, "DELETE /v1/warehouses/wh2", "", &Recorder::refusing("")).await;
            }
        }
    });
}

#[test]
fn what_is_refused_changes_nothing() {
    with_catalog(async |catalog: Catalog| {
        make_warehouse(&catalog).await;
        let nothing = || Recorder::refusing("s3tables:");
        for (_, line, body, _) in QUESTIONS {
            let answer = ask(&catalog, line, body, &nothing()).await;
            assert_eq!(answer.status, 403, "{line}");
        }
        let all = || Recorder::refusing("");
        let left = ask(&catalog, "GET /v1/wh1/namespaces", "", &all()).await;
        assert_eq!(left.body, r#"{"namespaces":[],"next-page-token":null}"#);
    });
}

#[test]
fn who_is_refused_is_told_nothing_of_the_warehouse() {
    with_catalog(async |catalog: Catalog| {
        let check = async |line: &str, body: &str| {
            let nothing = Recorder::refusing("s3tables:");
            let answer = ask(&catalog, line, body, &nothing).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.status, 403, "{line}: {text}");
            assert!(!text.contains("wh1"), "{line}: {text}");
        };
        // There is none, then one of another name, then several: neither with a name nor without is any of it revealed.
        for exists in ["", "wh1", "wh3"] {
            if !exists.is_empty() {
                let all = Recorder::refusing("");
                let body = format!(r#"{{"name":"{exists}"}}"#);
                assert_eq!(ask(&catalog, "POST /v1/warehouses", &body, &all).await.status, 200);
            }
            for (_, line, body, _) in QUESTIONS.iter().filter(|(_, line, ..)| !line.contains("/warehouses")) {
                check(&line.replace("/wh1/", "/gone/"), body).await;
                check(&line.replace("/wh1/", "/"), body).await;
            }
            for line in ["GET /v1/gone/namespaces/n/views", "POST /v1/views/rename"] {
                check(line, "").await;
            }
        }
    });
}

#[test]
fn a_body_that_names_nothing_is_what_is_wrong_to_who_is_refused() {
    with_catalog(async |catalog: Catalog| {
        let body_named = |operation: &Operation| operation.facts().named == NamedIn::Body;
        for (_, line, _, _) in QUESTIONS.iter().filter(|(operation, ..)| body_named(operation)) {
            let nothing = Recorder::refusing("s3tables:");
            assert_eq!(ask(&catalog, line, "{", &nothing).await.status, 400, "{line}");
            let all = Recorder::refusing("");
            let want = if line.contains("/warehouses") { 400 } else { 404 };
            assert_eq!(ask(&catalog, line, "{", &all).await.status, want, "{line}");
        }
    });
}

#[test]
fn each_table_of_a_request_counts() {
    let check = |line: &'static str, body: &'static str, refused: &'static str| {
        with_catalog(async move |catalog: Catalog| {
            make_warehouse(&catalog).await;
            let recorder = Recorder::refusing(refused);
            let answer = ask(&catalog, line, body, &recorder).await;
            assert_eq!(answer.status, 403, "{line} {refused}");
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(body.contains("ForbiddenException") && body.contains(refused), "{body}");
        });
    };
    for refused in ["table/n.a", "table/n.b", "table/n.c"] {
        check("POST /v1/wh1/transactions/commit", TRANSACTION, refused);
    }
    for refused in ["table/n.t", "table/m.u"] {
        check("POST /v1/wh1/tables/rename", RENAME, refused);
    }
}

#[test]
fn each_handler_takes_the_body_that_its_row_says() {
    with_catalog(async |catalog: Catalog| {
        make_warehouse(&catalog).await;
        for (operation, line, ..) in QUESTIONS {
            let all = Recorder::refusing("");
            let answer = ask(&catalog, line, "{", &all).await;
            // What looks at its body finds no document there.
            let looks = String::from_utf8_lossy(&answer.body).contains("Invalid JSON object");
            let taken = if looks { BodyKind::Json } else { BodyKind::Empty };
            assert_eq!(taken, operation.facts().body, "{line}");
        }
    });
}
