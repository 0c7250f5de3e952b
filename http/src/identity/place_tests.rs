//! Places that a sender chooses for a table's files, and what policies say of keys below them: the catalog on a machine in
//! memory, with the evaluator.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use nilas_catalog::{Catalog, Request, Route};
use nilas_engine::drive::Drive;
use nilas_engine::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
use nilas_engine::store::{FormatConfig, Store, format};
use nilas_engine::{BucketSettings, CoreId, Engine, SettingKind};

use crate::audit::Decisions;
use crate::auth::Mechanism;
use crate::identity::model::{Model, Moment, NewUser, Tags, User};
use crate::identity::policy::{Policy, PolicyKind, PolicySet};
use crate::identity::{Caller, Evaluator, RequestFacts, Rights, RulesCache, Sender, SenderKind};

const ACCOUNT: &str = "111122223333";

/// Who wants a table below `BUCKET/cc`, and in what.
#[derive(Default)]
struct Case {
    /// Statements of the sender's policy; empty for root.
    rights: String,
    /// Statements of its key's policy.
    limit: String,
    /// Statements of the bucket's policy.
    bucket: String,
    /// Whether the sender owns the bucket.
    owns: bool,
    /// Whether the request comes without TLS.
    plain: bool,
}

const ALL: &str = r#"{"Effect":"Allow","Action":["s3:*","s3tables:*"],"Resource":"*"}"#;
const TABLES: &str = r#"{"Effect":"Allow","Action":"s3tables:*","Resource":"*"}"#;

/// Who may do everything.
fn holder() -> Case {
    Case { rights: ALL.to_owned(), ..Case::default() }
}

fn set(statements: &str, kind: PolicyKind) -> Arc<PolicySet> {
    let text = policy(statements);
    let policy = Policy::parse(&text, kind, "p", ACCOUNT);
    Arc::new(PolicySet::new([Arc::new(policy.expect("a policy"))]))
}

fn policy(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

/// Runs `test` on one simulated core.
fn with_engine(test: impl AsyncFnOnce(Engine) + 'static) {
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
        test(engine).await;
    });
    assert_eq!(ended, Ok(()));
}

fn alice() -> (Arc<Model>, Arc<User>) {
    let moment = Moment { now_ms: 5, random: &|| 7 };
    let new = NewUser { name: "alice", path: "/", tags: Tags::new() };
    let change = Model::empty(ACCOUNT).create_user(&new, &moment).expect("made");
    (Arc::new(change.model), change.answer)
}

fn sender_of_root() -> Sender {
    sender(&Case::default(), "")
}

fn sender(case: &Case, bucket: &str) -> Sender {
    let (model, user) = alice();
    let of = |statements: &str, kind| set(&statements.replace("BUCKET", bucket), kind);
    let mut sender = Sender::user(model, &user);
    if case.rights.is_empty() {
        (sender.kind, sender.user, sender.rights) = (SenderKind::Root, None, Rights::Everything);
    } else {
        sender.rights = Rights::Policies(of(&case.rights, PolicyKind::Identity));
    }
    if !case.limit.is_empty() {
        sender.limits = vec![of(&case.limit, PolicyKind::Session)];
    }
    sender
}

/// Makes a table in `location` of a new warehouse, and returns the answer's status and text.
async fn create_at(engine: &Engine, case: &Case, bucket: &str, location: &str) -> (u16, String) {
    let (_, user) = alice();
    let mut settings = BucketSettings::default();
    if !case.bucket.is_empty() {
        let text = policy(&case.bucket.replace("BUCKET", bucket));
        settings = settings.with(SettingKind::POLICY, Some(Bytes::from(text)));
    }
    if case.owns {
        settings = settings.with(SettingKind::OWNER, Some(Bytes::from(user.id.clone())));
    }
    engine.create_bucket(bucket, settings).await.expect("a new bucket");
    let catalog = Catalog::new(engine.clone(), Bytes::new(), "local");
    let (sender, headers) = (sender(case, bucket), HeaderMap::new());
    let (rules, notes) = (RulesCache::new(), Decisions::default());
    let facts = RequestFacts {
        headers: &headers,
        query: None,
        source: Some([127, 0, 0, 1].into()),
        secure: !case.plain,
        mechanism: Mechanism::HeaderV4,
        signed_ms: None,
        region: "local",
        now_ms: 1_700_000_000_000,
        form_tags: &[],
        given: &[],
    };
    let evaluator = Evaluator::new(&sender, facts, Some(engine), &rules, &notes);
    let caller = Caller::new(&sender, &evaluator);
    // Whose the bucket is made a warehouse of is not of interest here.
    let (keeper, plain) = (sender_of_root(), RequestFacts { secure: true, ..facts });
    let keeper_evaluator = Evaluator::new(&keeper, plain, Some(engine), &rules, &notes);
    let keeper = Caller::new(&keeper, &keeper_evaluator);
    let ask = async |caller: &Caller<'_>, path: String, body: String| {
        let request = Request {
            method: "POST",
            raw_path: &path,
            raw_query: "",
            header: &|_| None,
            body: Bytes::from(body),
            principal: "alice",
            access: caller,
            base_url: "http://h",
        };
        let answer = catalog.handle(Route::of("POST", &path), request).await;
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    let upgraded = format!(r#"{{"name":"{bucket}","upgrade-existing":true}}"#);
    let made = ask(&keeper, "/v1/warehouses".to_owned(), upgraded).await;
    assert_eq!(made.0, 200, "{}", made.1);
    let made = ask(&caller, format!("/v1/{bucket}/namespaces"), r#"{"namespace":["n"]}"#.to_owned()).await;
    assert_eq!(made.0, 200, "{}", made.1);
    let table = format!(
        r#"{{"name":"t","location":"s3://{bucket}/{location}","schema":{{"type":"struct","fields":[{{"id":1,"name":"x","required":false,"type":"long"}}]}}}}"#
    );
    ask(&caller, format!("/v1/{bucket}/namespaces/n/tables"), table).await
}

#[test]
fn a_place_is_judged_with_all_that_lies_below_it() {
    let deny = |on: &str| format!(r#"{{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::{on}"}}"#);
    let allow = |on: &str| format!(r#"{{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::{on}"}}"#);
    let of_all = |statement: String| statement.replacen('{', r#"{"Principal":"*","#, 1);
    let rights = |more: String| Case { rights: format!("{ALL},{more}"), ..holder() };
    let allowed = |more: String| Case { rights: format!("{TABLES},{more}"), ..holder() };
    let below = "BUCKET/cc/secret/*";
    let plain_http = r#"{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::BUCKET/cc/secret/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}"#;
    let by_tag = r#"{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::BUCKET/cc/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/secret":"yes"}}}"#;
    let but = r#"{"Effect":"Deny","Action":"s3:*","NotResource":["arn:aws:s3:::BUCKET/cc/data/*","arn:aws:s3:::BUCKET"]}"#;
    let but_all = r#"{"Effect":"Deny","Action":"s3:*","NotResource":["arn:aws:s3:::BUCKET/cc*","arn:aws:s3:::BUCKET"]}"#;
    let root = Case::default;
    let cases: Vec<(&str, Case, u16)> = vec![
        ("everything", holder(), 200),
        ("a Deny below", rights(deny(below)), 403),
        ("a Deny of one key", rights(deny("BUCKET/cc/secret")), 403),
        ("a Deny of keys with an end", rights(deny("*/secret")), 403),
        ("a Deny of a user's", rights(deny("BUCKET/cc/${aws:username}/*")), 403),
        ("a Deny elsewhere", rights(deny("BUCKET/c/*")), 200),
        ("a Deny beside", rights(deny("BUCKET/ccc/*")), 200),
        ("a Deny in another bucket", rights(deny("other/cc/secret/*")), 200),
        ("a Deny that does not hold", rights(plain_http.to_owned()), 200),
        ("a Deny that holds", Case { plain: true, ..rights(plain_http.to_owned()) }, 403),
        ("a Deny that may hold", rights(by_tag.to_owned()), 403),
        ("a Deny of all but some", rights(but.to_owned()), 403),
        ("a Deny of all but that", rights(but_all.to_owned()), 200),
        ("no Allow", allowed(allow("BUCKET/dd/*")), 403),
        ("an Allow at the place alone", allowed(allow("BUCKET/cc/")), 403),
        ("an Allow of some", allowed(allow("BUCKET/cc/data/*")), 403),
        ("an Allow of ends", allowed(allow("BUCKET/cc/*.parquet")), 403),
        ("an Allow of all below", allowed(allow("BUCKET/cc/*")), 200),
        ("an Allow of more", allowed(allow("BUCKET/c*")), 200),
        ("a key for less", Case { limit: format!("{TABLES},{}", allow("BUCKET/cc/")), ..holder() }, 403),
        ("a key for that", Case { limit: format!("{TABLES},{}", allow("BUCKET/cc/*")), ..holder() }, 200),
        ("a key with a Deny", Case { limit: format!("{ALL},{}", deny(below)), ..holder() }, 403),
        ("a bucket's Deny", Case { bucket: of_all(deny(below)), ..holder() }, 403),
        ("a bucket's Deny elsewhere", Case { bucket: of_all(deny("BUCKET/dd/*")), ..holder() }, 200),
        (
            "a bucket's Allow",
            Case { rights: TABLES.to_owned(), bucket: of_all(allow("BUCKET/cc/*")), ..holder() },
            200,
        ),
        (
            "a bucket's Allow of some",
            Case { rights: TABLES.to_owned(), bucket: of_all(allow("BUCKET/cc/")), ..holder() },
            403,
        ),
        ("the owner", Case { rights: TABLES.to_owned(), owns: true, ..holder() }, 200),
        ("a Deny for the owner", Case { owns: true, bucket: of_all(deny(below)), ..holder() }, 403),
        ("root", root(), 200),
        ("a Deny for root", Case { bucket: of_all(deny(below)), ..root() }, 403),
        ("a Deny elsewhere for root", Case { bucket: of_all(deny("BUCKET/dd/*")), ..root() }, 200),
    ];
    with_engine(async move |engine: Engine| {
        for (nth, (what, case, want)) in cases.into_iter().enumerate() {
            let name = format!("lake{nth}");
            let (status, text) = create_at(&engine, &case, &name, "cc").await;
            assert_eq!(status, want, "{what}: {text}");
            if want == 403 {
                assert!(text.contains(&format!("on arn:aws:s3:::{name}/cc/*")), "{what}: {text}");
            }
        }
    });
}
