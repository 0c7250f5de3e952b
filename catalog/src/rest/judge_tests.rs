//! Rights that depend on ids, places for files, answers that are about other tables, and credentials: the catalog on a
//! machine in memory.

use bytes::Bytes;
use nilas_engine::{ETag, PutCondition};
use serde_json::{Value, json};

use super::access_tests::{Recorder, ask, ask_with, make_warehouse, with_catalog};
use super::{Catalog, Response};
use crate::store::failure::CatalogError;
use crate::store::judged::Judged;
use crate::store::names::{Ident, NamespaceName};

const TABLES: &str = "/v1/wh1/namespaces/n/tables";
const SCHEMA: &str = r#"{"type":"struct","fields":[{"id":1,"name":"x","required":false,"type":"long"}]}"#;
const COMMIT: &str = r#"{"requirements":[],"updates":[]}"#;
const UUID: &str = "00000000-0000-4000-8000-00000000000a";
const EMPTY: &str = "00000000-0000-4000-8000-00000000000e";

fn all() -> Recorder {
    Recorder::refusing("")
}

fn ident(name: &str) -> Ident {
    Ident::new(NamespaceName::parse("n").expect("valid"), name).expect("valid")
}

fn json(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

fn text(answer: &Response) -> String {
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

fn table(name: &str, more: &str) -> String {
    format!(r#"{{"name":"{name}","schema":{SCHEMA}{more}}}"#)
}

/// Makes the warehouse `wh1` with namespace `n` and these tables in it.
async fn make(catalog: &Catalog, tables: &[&str]) {
    make_warehouse(catalog).await;
    assert_eq!(ask(catalog, "POST /v1/wh1/namespaces", r#"{"namespace":["n"]}"#, &all()).await.status, 200);
    for name in tables {
        let made = ask(catalog, &format!("POST {TABLES}"), &table(name, ""), &all()).await;
        assert_eq!(made.status, 200, "{}", text(&made));
    }
}

async fn load(catalog: &Catalog, name: &str) -> Value {
    json(&ask(catalog, &format!("GET {TABLES}/{name}"), "", &all()).await)
}

async fn id_of(catalog: &Catalog, name: &str) -> String {
    load(catalog, name).await["metadata"]["table-uuid"].as_str().expect("a table").to_owned()
}

async fn put(catalog: &Catalog, key: &str, body: String) {
    let bucket = catalog.engine.bucket("wh1").expect("there");
    let mut writer = catalog.engine.writer(&bucket, body.len() as u64).await.expect("room");
    writer.write(Bytes::from(body)).await.expect("written");
    let key = Bytes::copy_from_slice(key.as_bytes());
    writer.publish(key, PutCondition::None, ETag::default(), Bytes::new()).await.expect("put");
}

async fn has(catalog: &Catalog, key: &'static str) -> bool {
    let bucket = catalog.engine.bucket("wh1").expect("there");
    let look = move |bucket: nilas_engine::LocalBucket| async move {
        !bucket.versions(key.as_bytes(), 1).is_empty()
    };
    catalog.engine.on_bucket(&bucket, nilas_engine::ValueOwner::Catalog, look).await.expect("read")
}

async fn rename(catalog: &Catalog, from: &str, to: &str) {
    let of = |name: &str| json!({"namespace": ["n"], "name": name});
    let body = json!({"source": of(from), "destination": of(to)}).to_string();
    assert_eq!(ask(catalog, "POST /v1/wh1/tables/rename", &body, &all()).await.status, 204);
}

#[test]
fn tables_are_judged_by_id_where_ids_matter() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t", "u"]).await;
        let (t, u) = (id_of(&catalog, "t").await, id_of(&catalog, "u").await);
        let file = load(&catalog, "t").await["metadata-location"].clone();
        let check = async |line: &str, body: &str, want: &[String]| {
            let by_id = all().by_id();
            let answer = ask(&catalog, line, body, &by_id).await;
            assert_ne!(answer.status, 403, "{line}: {}", text(&answer));
            let asked = by_id.questions();
            let asked: Vec<&String> = asked.iter().filter(|asked| asked.starts_with("s3tables:")).collect();
            assert_eq!(asked, want.iter().collect::<Vec<_>>(), "{line}");
        };
        let at =
            |action: &str, id: &str| format!("s3tables:{action} arn:aws:s3tables:::bucket/wh1/table/{id}");
        check(&format!("GET {TABLES}/t"), "", &[at("GetTable", &t)]).await;
        check(&format!("HEAD {TABLES}/t"), "", &[at("GetTable", &t)]).await;
        check(&format!("GET {TABLES}/absent"), "", &[at("GetTable", "n.absent")]).await;
        let report = r#"{"report-type":"scan-report"}"#;
        check(&format!("POST {TABLES}/t/metrics"), report, &[at("TableMetrics", &t)]).await;
        check(&format!("POST {TABLES}/t"), COMMIT, &[at("UpdateTable", &t)]).await;
        check(&format!("POST {TABLES}"), &table("t", ""), &[at("CreateTable", &t)]).await;
        let creating = r#"{"requirements":[{"type":"assert-create"}],"updates":[]}"#;
        check(&format!("POST {TABLES}/t"), creating, &[at("CreateTable", &t)]).await;
        check(&format!("POST {TABLES}/absent"), creating, &[at("CreateTable", "n.absent")]).await;
        let change = |name: &str| json!({"identifier": {"namespace": ["n"], "name": name}, "requirements": [], "updates": []});
        let changes = json!({"table-changes": [change("t"), change("u"), change("absent")]}).to_string();
        let want = [at("UpdateTable", &t), at("UpdateTable", &u), at("UpdateTable", "n.absent")];
        check("POST /v1/wh1/transactions/commit", &changes, &want).await;
        // Both readings of a plus.
        let readings = [at("GetTable", "n.a b"), at("GetTable", "n.a+b"), at("GetTable", "n.a b")];
        check(&format!("GET {TABLES}/a+b"), "", &readings).await;
        let register = json!({"name": "t", "metadata-location": file, "overwrite": true}).to_string();
        let question =
            format!("{} s3tables:registerLocation={}", at("RegisterTable", &t), file.as_str().expect("text"));
        check("POST /v1/wh1/namespaces/n/register", &register, &[question, at("UpdateTable", &t)]).await;
        let of = |name: &str| json!({"namespace": ["n"], "name": name});
        let renamed = json!({"source": of("t"), "destination": of("v")}).to_string();
        check("POST /v1/wh1/tables/rename", &renamed, &[at("RenameTable", &t), at("RenameTable", &t)]).await;
        check(&format!("DELETE {TABLES}/v"), "", &[at("DeleteTable", &t)]).await;
        // Without a prefix, and where there is no warehouse.
        check("GET /v1/namespaces/n/tables/u", "", &[at("GetTable", &u)]).await;
        let gone = all().by_id();
        assert_eq!(ask(&catalog, "GET /v1/gone/namespaces/n/tables/u", "", &gone).await.status, 404);
    });
}

#[test]
fn a_grant_by_id_goes_with_the_table() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t", "u"]).await;
        let id = id_of(&catalog, "t").await;
        let holder = || {
            let id = id.clone();
            Recorder::new(move |question| question.contains(&id)).by_id()
        };
        let status = async |line: String, body: &str| ask(&catalog, &line, body, &holder()).await.status;
        assert_eq!(status(format!("GET {TABLES}/t"), "").await, 200);
        for name in ["u", "absent"] {
            assert_eq!(status(format!("GET {TABLES}/{name}"), "").await, 403, "{name}");
        }
        let of = |name: &str| json!({"namespace": ["n"], "name": name});
        let renamed = json!({"source": of("t"), "destination": of("v")}).to_string();
        assert_eq!(status("POST /v1/wh1/tables/rename".to_owned(), &renamed).await, 204);
        assert_eq!(status(format!("GET {TABLES}/v"), "").await, 200);
        assert_eq!(status(format!("GET {TABLES}/t"), "").await, 403);
        // The name goes to another table, and the grant does not.
        rename(&catalog, "u", "t").await;
        assert_eq!(status(format!("GET {TABLES}/t"), "").await, 403);
        assert_eq!(status(format!("DELETE {TABLES}/t?purgeRequested=true"), "").await, 403);
    });
}

#[test]
fn a_name_that_passed_to_another_table_is_judged_again() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let bucket = catalog.engine.bucket("wh1").expect("there");
        let id = id_of(&catalog, "t").await;
        let judged = |name: &str, id: Option<&str>| Judged::of(vec![(ident(name), id.map(str::to_owned))]);
        let wrong = || judged("t", Some(UUID));
        macro_rules! moved {
            ($judged:expr, $store:ident => $job:expr) => {{
                let judged = $judged;
                let got = catalog
                    .owner(&bucket, move |store| async move {
                        let $store = store.judged(judged);
                        $job.await.map(drop)
                    })
                    .await;
                assert!(matches!(got, Err(CatalogError::Moved)), "{got:?} {}", stringify!($job));
            }};
        }
        let form = crate::store::table::LoadTable::default;
        moved!(wrong(), store => store.load_table(&ident("t"), &form()));
        moved!(judged("t", None), store => store.load_table(&ident("t"), &form()));
        moved!(judged("absent", Some(UUID)), store => store.load_table(&ident("absent"), &form()));
        moved!(wrong(), store => store.table_exists(&ident("t")));
        moved!(wrong(), store => store.drop_table(&ident("t"), None, None));
        moved!(wrong(), store => store.rename_table(&ident("t"), &ident("v"), None));
        moved!(wrong(), store => store.rename_table(&ident("t"), &ident("t"), None));
        let create = |name: &str, staged: bool| {
            let body = table(name, if staged { r#","stage-create":true"# } else { "" });
            super::new_table(body.as_bytes(), NamespaceName::parse("n").expect("valid"), "who")
                .expect("valid")
        };
        for staged in [false, true] {
            let (there, absent) = (create("t", staged), create("absent", staged));
            moved!(wrong(), store => store.create_table(&there, None));
            moved!(judged("absent", Some(UUID)), store => store.create_table(&absent, None));
        }
        for body in [
            COMMIT,
            r#"{"requirements":[],"updates":[{"action":"set-properties","updates":{"k":"v"}}]}"#,
            r#"{"requirements":[{"type":"assert-table-uuid","uuid":"x"}],"updates":[]}"#,
        ] {
            let body = super::json::object(body.as_bytes()).expect("JSON");
            let changes = vec![super::table_change(body, Some(ident("t"))).expect("valid")];
            moved!(wrong(), store => store.commit(&changes, true, None));
        }
        let loaded = load(&catalog, "t").await;
        assert_eq!(loaded["metadata"]["table-uuid"], json!(id));
        assert_eq!(loaded["metadata"]["properties"].get("k"), None);
    });
}

#[test]
fn a_look_up_that_fails_is_an_error() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let bucket = catalog.engine.bucket("wh1").expect("there");
        let broken = Bytes::from_static(b"no value of this catalog");
        let damage = move |bucket: nilas_engine::LocalBucket| async move {
            let values = vec![(Bytes::from_static(b"v"), Some(broken))];
            let transaction = nilas_engine::Transaction { values, ..nilas_engine::Transaction::default() };
            let appended = bucket.append(transaction).expect("room");
            bucket.durable(appended).await.expect("durable");
            // What was built of the values is of before.
            bucket.extension::<crate::store::state::CatalogState>().forget(bucket.id());
        };
        catalog.engine.on_bucket(&bucket, nilas_engine::ValueOwner::Catalog, damage).await.expect("run");
        for recorder in [all().by_id(), Recorder::refusing("s3tables:").by_id()] {
            let answer = ask(&catalog, &format!("GET {TABLES}/t"), "", &recorder).await;
            assert!(500 <= answer.status && answer.status != 503, "{}", text(&answer));
            assert!(recorder.questions().is_empty(), "{:?}", recorder.questions());
        }
    });
}

/// Who has every right on tables and none on files.
fn of_tables() -> Recorder {
    Recorder::new(|question| !question.starts_with("s3:"))
}

#[test]
fn places_of_others_need_rights_on_files() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t", "dropped"]).await;
        put(&catalog, "backups/secret", "bytes".to_owned()).await;
        let dropped = load(&catalog, "dropped").await["metadata"].clone();
        let old = (dropped["location"].as_str().expect("text").to_owned(), dropped["table-uuid"].clone());
        assert_eq!(ask(&catalog, &format!("DELETE {TABLES}/dropped"), "", &all()).await.status, 204);
        let check = async |line: &str, body: &str, want: u16| {
            let limited = of_tables();
            let answer = ask(&catalog, line, body, &limited).await;
            assert_eq!(answer.status, want, "{line} {body}: {}", text(&answer));
            if want == 403 {
                let refusal = text(&answer);
                assert!(refusal.contains("s3:GetObject on arn:aws:s3:::wh1/"), "{refusal}");
                // Rights on the place alone are not enough: what lies below is asked for.
                let of_place =
                    Recorder::new(|question| !question.starts_with("s3:") || !question.ends_with("/*"));
                let answer = ask(&catalog, line, body, &of_place).await;
                assert_eq!(answer.status, 403, "{line} {body}");
                // Each of the three rights is needed.
                for action in ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"] {
                    let answer = ask(&catalog, line, body, &Recorder::refusing(action)).await;
                    assert_eq!(answer.status, 403, "{line} {body} {action}");
                }
            }
        };
        let create = format!("POST {TABLES}");
        check(&create, &table("a", r#","location":"s3://wh1/backups""#), 403).await;
        check(&create, &table("a", r#","location":"s3://wh1/new""#), 403).await;
        check(&create, &table("a", r#","stage-create":true,"location":"s3://wh1/new""#), 403).await;
        check(&create, &table("a", r#","properties":{"write.metadata.path":"s3://wh1/backups"}"#), 403).await;
        check(&create, &table("a", r#","location":"s3://other/x""#), 400).await;
        check(&create, &table("a", ""), 200).await;

        let update = |updates: Value| json!({"requirements": [], "updates": updates}).to_string();
        let moved = |to: &str| update(json!([{"action": "set-location", "location": to}]));
        let path =
            |to: &str| update(json!([{"action": "set-properties", "updates": {"write.metadata.path": to}}]));
        let (commit, id) = (format!("POST {TABLES}/t"), id_of(&catalog, "t").await);
        check(&commit, &moved("s3://wh1/backups"), 403).await;
        check(&commit, &moved(&old.0), 403).await;
        check(&commit, &path("s3://wh1/backups"), 403).await;
        check(&commit, &path(&format!("s3://wh1/{id}/elsewhere")), 200).await;
        check(&commit, &moved(&format!("s3://wh1/{id}")), 200).await;
        check(&commit, &moved(&format!("s3://wh1/{id}/within")), 200).await;
        check(&commit, &moved(&format!("s3://wh1/far/{id}")), 403).await;
        // It keeps the places that it had.
        check(&commit, &moved(&format!("s3://wh1/{id}/again")), 200).await;
        let transaction = |to: &str| {
            let change = json!({"identifier": {"namespace": ["n"], "name": "t"}, "requirements": [],
                "updates": [{"action": "set-location", "location": to}]});
            json!({"table-changes": [change]}).to_string()
        };
        check("POST /v1/wh1/transactions/commit", &transaction("s3://wh1/backups"), 403).await;
        // Rights on the files are enough.
        let body = table("b", r#","location":"s3://wh1/backups""#);
        assert_eq!(ask(&catalog, &create, &body, &all()).await.status, 200);
    });
}

fn creating(uuid: &str, location: &str) -> String {
    let updates = json!([
        {"action": "assign-uuid", "uuid": uuid},
        {"action": "upgrade-format-version", "format-version": 2},
        {"action": "add-schema", "schema": {"type": "struct", "schema-id": 0,
            "fields": [{"id": 1, "name": "x", "required": false, "type": "long"}]}},
        {"action": "set-current-schema", "schema-id": -1},
        {"action": "add-spec", "spec": {"spec-id": 0, "fields": []}},
        {"action": "set-default-spec", "spec-id": -1},
        {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
        {"action": "set-default-sort-order", "sort-order-id": -1},
        {"action": "set-properties", "updates": {"write.metadata.path": format!("{location}/metadata")}},
        {"action": "set-location", "location": location},
    ]);
    json!({"requirements": [{"type": "assert-create"}], "updates": updates}).to_string()
}

#[test]
fn a_staged_table_lies_where_it_was_staged() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["dropped"]).await;
        let dropped = id_of(&catalog, "dropped").await;
        let location = format!("s3://wh1/{dropped}");
        assert_eq!(ask(&catalog, &format!("DELETE {TABLES}/dropped"), "", &all()).await.status, 204);
        let (line, body) = (format!("POST {TABLES}"), table("a", r#","stage-create":true"#));
        let staged = json(&ask(&catalog, &line, &body, &of_tables()).await)["metadata"].clone();
        let (uuid, place) = (staged["table-uuid"].as_str(), staged["location"].as_str());
        let (uuid, place) = (uuid.expect("text"), place.expect("text"));
        // What its writer has put there already is its own.
        put(&catalog, &format!("{uuid}/data/1.parquet"), "data".to_owned()).await;
        put(&catalog, &format!("{uuid}/metadata/{uuid}-m0.avro"), "manifest".to_owned()).await;
        let commit = async |name: &str, body: String| {
            ask(&catalog, &format!("POST {TABLES}/{name}"), &body, &of_tables()).await.status
        };
        assert_eq!(commit("a", creating(uuid, place)).await, 200);
        // Neither another's UUID nor a place of another name gives anything of what a table left behind.
        assert_eq!(commit("b", creating(&dropped, &location)).await, 403);
        assert_eq!(commit("b", creating(UUID, &location)).await, 403);
        assert_eq!(commit("b", creating(UUID, &format!("{location}/data"))).await, 403);
        // Nor does a place that is not the catalog's choice, or one where somebody's files are.
        assert_eq!(commit("b", creating(UUID, &format!("s3://wh1/x/{UUID}"))).await, 403);
        put(&catalog, &format!("{UUID}/backup"), "another's".to_owned()).await;
        assert_eq!(commit("b", creating(UUID, &format!("s3://wh1/{UUID}"))).await, 403);
        assert_eq!(commit("b", creating(EMPTY, &format!("s3://wh1/{EMPTY}"))).await, 200);
        // What one sender staged is not for another to take.
        let of_another = of_tables().of("another KEY");
        let staged = json(&ask(&catalog, &line, &table("c", r#","stage-create":true"#), &of_tables()).await);
        let (uuid, place) = (&staged["metadata"]["table-uuid"], &staged["metadata"]["location"]);
        let (uuid, place) = (uuid.as_str().expect("text"), place.as_str().expect("text"));
        put(&catalog, &format!("{uuid}/data/1.parquet"), "data".to_owned()).await;
        let body = creating(uuid, place);
        let stolen = ask(&catalog, &format!("POST {TABLES}/stolen"), &body, &of_another).await;
        assert_eq!(stolen.status, 403, "{}", text(&stolen));
        assert_eq!(commit("c", body).await, 200);
    });
}

#[test]
fn no_table_gets_the_uuid_of_another() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["secret"]).await;
        let loaded = load(&catalog, "secret").await;
        let id = id_of(&catalog, "secret").await;
        let refused = async |line: &str, body: &str| {
            let answer = ask(&catalog, line, body, &all()).await;
            assert_eq!(answer.status, 400, "{line}: {}", text(&answer));
            let says = text(&answer);
            assert!(
                says.contains("another table of the warehouse has it") && !says.contains("secret"),
                "{says}"
            );
        };
        for uuid in [id.clone(), id.to_uppercase()] {
            refused(&format!("POST {TABLES}/a"), &creating(&uuid, "s3://wh1/copy")).await;
        }
        let change = |name: &str, uuid: &str| {
            let body = creating(uuid, &format!("s3://wh1/{name}"));
            let mut body: Value = serde_json::from_str(&body).expect("JSON");
            body["identifier"] = json!({"namespace": ["n"], "name": name});
            body
        };
        for changes in
            [json!([change("a", UUID), change("b", &id)]), json!([change("a", UUID), change("b", UUID)])]
        {
            let body = json!({"table-changes": changes}).to_string();
            refused("POST /v1/wh1/transactions/commit", &body).await;
        }
        let mut copy = loaded["metadata"].clone();
        copy["location"] = json!("s3://wh1/copy");
        put(&catalog, "copy/1.metadata.json", copy.to_string()).await;
        assert_eq!(ask(&catalog, &format!("POST {TABLES}"), &table("other", ""), &all()).await.status, 200);
        let line = "POST /v1/wh1/namespaces/n/register";
        let register = |name: &str, overwrite: bool| {
            let location = "s3://wh1/copy/1.metadata.json";
            json!({"name": name, "metadata-location": location, "overwrite": overwrite}).to_string()
        };
        refused(line, &register("a", false)).await;
        refused(line, &register("a", true)).await;
        refused(line, &register("other", true)).await;
        assert_eq!(load(&catalog, "secret").await, loaded);
        // A table keeps its own, and that of one that is gone is free.
        assert_eq!(ask(&catalog, line, &register("secret", true), &all()).await.status, 200);
        assert_eq!(ask(&catalog, &format!("DELETE {TABLES}/secret"), "", &all()).await.status, 204);
        assert_eq!(ask(&catalog, line, &register("a", false), &all()).await.status, 200);
        assert_eq!(id_of(&catalog, "a").await, id);
    });
}

#[test]
fn an_overwrite_needs_what_a_commit_needs() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let (loaded, id) = (load(&catalog, "t").await, id_of(&catalog, "t").await);
        let mut forged = loaded["metadata"].clone();
        forged["properties"]["k"] = json!("forged");
        put(&catalog, "import/1.metadata.json", forged.to_string()).await;
        let check = async |name: &str, overwrite: bool, recorder: Recorder, want: u16| {
            let location = "s3://wh1/import/1.metadata.json";
            let body = json!({"name": name, "metadata-location": location, "overwrite": overwrite});
            let line = "POST /v1/wh1/namespaces/n/register";
            let answer = ask(&catalog, line, &body.to_string(), &recorder).await;
            assert_eq!(answer.status, want, "{name} {overwrite}: {}", text(&answer));
        };
        let but = |id: &str| {
            let refused = format!("s3tables:UpdateTable arn:aws:s3tables:::bucket/wh1/table/{id}");
            Recorder::new(move |question| question != refused)
        };
        check("t", true, but("n.t"), 403).await;
        check("t", true, but(&id).by_id(), 403).await;
        check("t", true, Recorder::refusing("RegisterTable"), 403).await;
        // Nothing tells whether there is a table to overwrite.
        check("absent", true, but("n.absent"), 403).await;
        check("absent", true, but("n.absent").by_id(), 403).await;
        check("t", false, Recorder::refusing("UpdateTable"), 409).await;
        assert_eq!(load(&catalog, "t").await, loaded);
        check("t", true, all().by_id(), 200).await;
        assert_eq!(load(&catalog, "t").await["metadata"]["properties"]["k"], json!("forged"));
    });
}

#[test]
fn a_refusal_shows_no_id_that_was_looked_up() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let id = id_of(&catalog, "t").await;
        let change = |name: &str| json!({"identifier": {"namespace": ["n"], "name": name}, "requirements": [], "updates": []});
        let of = |name: &str| json!({"namespace": ["n"], "name": name});
        for name in ["t", "absent"] {
            let path = format!("{TABLES}/{name}");
            let register = json!({"name": name, "metadata-location": "s3://wh1/x", "overwrite": true});
            for (line, body) in [
                (format!("GET {path}"), String::new()),
                (format!("GET {path}/credentials"), String::new()),
                (format!("POST {path}"), COMMIT.to_owned()),
                (format!("POST {path}/metrics"), r#"{"report-type":"scan-report"}"#.to_owned()),
                (format!("DELETE {path}?purgeRequested=true"), String::new()),
                (format!("POST {TABLES}"), table(name, "")),
                ("POST /v1/wh1/namespaces/n/register".to_owned(), register.to_string()),
                (
                    "POST /v1/wh1/transactions/commit".to_owned(),
                    json!({"table-changes": [change(name)]}).to_string(),
                ),
                (
                    "POST /v1/wh1/tables/rename".to_owned(),
                    json!({"source": of(name), "destination": of("v")}).to_string(),
                ),
            ] {
                let nothing = Recorder::refusing("s3tables:").by_id();
                let answer = ask(&catalog, &line, &body, &nothing).await;
                let says = text(&answer);
                assert_eq!(answer.status, 403, "{line}: {says}");
                let named = format!("on arn:aws:s3tables:::bucket/wh1/table/n.{name}");
                assert!(says.contains(&named) && !says.contains(&id), "{line}: {says}");
            }
        }
    });
}

#[test]
fn only_files_that_may_be_read_are_registered() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let loaded = load(&catalog, "t").await;
        let file = loaded["metadata-location"].as_str().expect("text").to_owned();
        let register = |location: &str| json!({"name": "r", "metadata-location": location}).to_string();
        let check = async |recorder: Recorder, location: &str, want: u16, says: &str| {
            let answer =
                ask(&catalog, "POST /v1/wh1/namespaces/n/register", &register(location), &recorder).await;
            assert_eq!(answer.status, want, "{}", text(&answer));
            assert!(text(&answer).contains(says), "{}", text(&answer));
        };
        // Nothing tells whether there is a file, nor what is in it.
        for location in [file.as_str(), "s3://wh1/absent"] {
            check(of_tables(), location, 403, "not authorized to perform s3:GetObject on").await;
        }
        check(all(), "s3://wh1/absent", 404, "does not exist").await;
        assert_eq!(ask(&catalog, &format!("DELETE {TABLES}/t"), "", &all()).await.status, 204);
        // Who may read the file alone does not get the table's place with it.
        check(Recorder::refusing("s3:PutObject"), &file, 403, "s3:PutObject on").await;
        check(Recorder::refusing("s3:DeleteObject"), &file, 403, "s3:DeleteObject on").await;
        let mut elsewhere = loaded["metadata"].clone();
        elsewhere["properties"]["write.metadata.path"] = json!("s3://wh1/far");
        put(&catalog, "import/v1.metadata.json", elsewhere.to_string()).await;
        let no_path = Recorder::refusing("s3:DeleteObject arn:aws:s3:::wh1/far/");
        check(no_path, "s3://wh1/import/v1.metadata.json", 403, "wh1/far/").await;
        check(all(), &file, 200, "").await;
    });
}

#[test]
fn expired_metadata_goes_from_the_tables_own_places_alone() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let mut metadata = load(&catalog, "t").await["metadata"].clone();
        metadata["table-uuid"] = json!(UUID);
        metadata["location"] = json!("s3://wh1/mine");
        metadata["metadata-log"] = json!([
            {"timestamp-ms": 1, "metadata-file": "s3://wh1/mine/metadata/00000-a.metadata.json"},
            {"timestamp-ms": 2, "metadata-file": "s3://wh1/victim/00001-b.metadata.json"},
            {"timestamp-ms": 3, "metadata-file": "s3://wh1/mineral"},
        ]);
        metadata["properties"] = json!({"write.metadata.delete-after-commit.enabled": "true",
            "write.metadata.previous-versions-max": "1"});
        put(&catalog, "mine/metadata/00002-c.metadata.json", metadata.to_string()).await;
        for key in ["mine/metadata/00000-a.metadata.json", "victim/00001-b.metadata.json", "mineral"] {
            put(&catalog, key, "bytes".to_owned()).await;
        }
        let register =
            json!({"name": "r", "metadata-location": "s3://wh1/mine/metadata/00002-c.metadata.json"});
        let made = ask(&catalog, "POST /v1/wh1/namespaces/n/register", &register.to_string(), &all()).await;
        assert_eq!(made.status, 200, "{}", text(&made));
        let set =
            json!({"requirements": [], "updates": [{"action": "set-properties", "updates": {"k": "v"}}]});
        let commit = ask(&catalog, &format!("POST {TABLES}/r"), &set.to_string(), &all()).await;
        assert_eq!(commit.status, 200, "{}", text(&commit));
        assert!(!has(&catalog, "mine/metadata/00000-a.metadata.json").await);
        assert!(has(&catalog, "victim/00001-b.metadata.json").await && has(&catalog, "mineral").await);
    });
}

fn adding_snapshot(now_ms: u64, uuid: &str) -> String {
    let snapshot = json!({"snapshot-id": 7, "sequence-number": 1, "timestamp-ms": now_ms, "schema-id": 0,
        "manifest-list": "s3://wh1/x/list.avro", "summary": {"operation": "append"}});
    let updates = json!([{"action": "add-snapshot", "snapshot": snapshot},
        {"action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": 7}]);
    json!({"requirements": [{"type": "assert-table-uuid", "uuid": uuid}], "updates": updates}).to_string()
}

#[test]
fn an_answer_that_lies_at_another_name_is_judged_there() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let id = id_of(&catalog, "t").await;
        let body = adding_snapshot(catalog.engine.now_ms(), &id);
        let again =
            async |recorder: &Recorder| ask(&catalog, &format!("POST {TABLES}/t"), &body, recorder).await;
        assert_eq!(again(&all()).await.status, 200);
        rename(&catalog, "t", "v").await;
        let check = async || {
            let everywhere = all();
            let answer = again(&everywhere).await;
            assert_eq!(json(&answer)["metadata"]["table-uuid"], json!(id), "{}", text(&answer));
            let want = format!("s3tables:UpdateTable arn:aws:s3tables:::bucket/wh1/table/{id}");
            assert!(everywhere.questions().contains(&want));
            // No refusal and no conflict: the client would delete what it committed.
            let outsider = id.clone();
            let answer = again(&Recorder::new(move |question| !question.contains(&outsider))).await;
            assert_eq!(answer.status, 500, "{}", text(&answer));
            assert!(text(&answer).contains("CommitStateUnknownException"), "{}", text(&answer));
        };
        check().await;
        // The name is another table's by now.
        assert_eq!(ask(&catalog, &format!("POST {TABLES}"), &table("t", ""), &all()).await.status, 200);
        check().await;
    });
}

#[test]
fn a_recorded_answer_is_judged_where_the_table_is() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &[]).await;
        let headers = [("idempotency-key", "0190f4c7-0000-7000-8000-000000000001")];
        let (line, body) = (format!("POST {TABLES}"), table("t", ""));
        let again = async |recorder: &Recorder| ask_with(&catalog, &line, &body, &headers, recorder).await;
        let first = again(&all()).await;
        assert_eq!(first.status, 200);
        let id = json(&first)["metadata"]["table-uuid"].as_str().expect("text").to_owned();
        let outsider = || {
            let id = id.clone();
            Recorder::new(move |question| !question.contains(&id))
        };
        assert_eq!(again(&outsider()).await.body, first.body, "by name alone");
        assert_eq!(again(&outsider().by_id()).await.status, 403);
        rename(&catalog, "t", "v").await;
        for recorder in [outsider(), outsider().by_id()] {
            let answer = again(&recorder).await;
            assert_eq!(answer.status, 500, "{}", text(&answer));
            assert!(!text(&answer).contains(&id), "{}", text(&answer));
        }
        assert_eq!(again(&all()).await.body, first.body);
        assert_eq!(again(&all().by_id()).await.body, first.body);
        assert_eq!(ask(&catalog, &format!("DELETE {TABLES}/v"), "", &all()).await.status, 204);
        assert_eq!(again(&outsider().by_id()).await.status, 500, "of a table that is gone");
        assert_eq!(again(&all().by_id()).await.body, first.body);
    });
}

#[test]
fn who_may_not_list_hears_no_names() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["secret"]).await;
        let location = load(&catalog, "secret").await["metadata"]["location"].clone();
        let more = format!(r#","location":{location}"#);
        let headers = [("idempotency-key", "0190f4c7-0000-7000-8000-000000000002")];
        let line = format!("POST {TABLES}");
        for (recorder, lists) in [(Recorder::refusing("ListTables"), false), (all(), true)] {
            let answer = ask(&catalog, &line, &table("a", &more), &recorder).await;
            assert_eq!(answer.status, 400, "{}", text(&answer));
            assert_eq!(text(&answer).contains("n.secret"), lists, "{}", text(&answer));
        }
        // Nor from what another was answered.
        for _ in 0..2 {
            let (body, hears) = (table("b", &more), Recorder::refusing("ListTables"));
            let answer = ask_with(&catalog, &line, &body, &headers, &hears).await;
            assert!(!text(&answer).contains("secret"), "{}", text(&answer));
        }
    });
}

const DELEGATION: [(&str, &str); 1] = [("x-iceberg-access-delegation", "remote-signing, vended-credentials")];

fn has_header(answer: &Response, name: &str) -> bool {
    answer.headers.iter().any(|(header, _)| *header == name)
}

#[test]
fn credentials_are_for_the_tables_place_and_the_senders_rights() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let id = id_of(&catalog, "t").await;
        let line = format!("GET {TABLES}/t");
        let check = async |recorder: Recorder, want: &str| {
            let answer = ask_with(&catalog, &line, "", &DELEGATION, &recorder).await;
            assert_eq!(answer.status, 200, "{}", text(&answer));
            assert_eq!(*recorder.vended.borrow(), [want.replace("ID", &id)]);
            let body = json(&answer);
            let config = json!({"s3.access-key-id": "NILT", "s3.secret-access-key": "secret",
                "s3.session-token": "token", "s3.session-token-expires-at-ms": "5000", "s3.endpoint": "http://h",
                "s3.path-style-access": "true", "s3.region": "local", "client.region": "local"});
            assert_eq!(body["config"], config);
            let list = json!([{"prefix": format!("s3://wh1/{id}"), "config": config}]);
            assert_eq!(body["storage-credentials"], list);
            assert_eq!(body["metadata"]["table-uuid"], json!(id));
            assert!(!has_header(&answer, "etag") && has_header(&answer, "cache-control"));
            let alone = ask(&catalog, &format!("{line}/credentials"), "", &recorder).await;
            assert_eq!(json(&alone), json!({"storage-credentials": list}), "{}", text(&alone));
        };
        check(all(), "wh1 ID ID/ writes=true deletes=true").await;
        check(all().by_id(), "wh1 ID ID/ writes=true deletes=true").await;
        check(Recorder::refusing("PutTableData"), "wh1 ID ID/ writes=false deletes=true").await;
        check(Recorder::refusing("DeleteTable"), "wh1 ID ID/ writes=true deletes=false").await;
        let reads =
            |question: &str| ["GetTable ", "GetTableData"].iter().any(|action| question.contains(action));
        check(Recorder::new(reads), "wh1 ID ID/ writes=false deletes=false").await;
    });
}

#[test]
fn who_does_not_ask_or_may_not_read_gets_the_plain_answer() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let line = format!("GET {TABLES}/t");
        let plain = ask(&catalog, &line, "", &all()).await;
        let no_data = Recorder::refusing("GetTableData");
        let refused = ask_with(&catalog, &line, "", &DELEGATION, &no_data).await;
        assert_eq!((refused.body, &refused.headers), (plain.body.clone(), &plain.headers));
        assert!(no_data.vended.borrow().is_empty());
        assert_eq!(json(&plain)["config"], json!({}));
        let tag = plain.headers.iter().find(|(name, _)| *name == "etag").expect("a tag").1.clone();
        let with_tag = [("if-none-match", tag.as_str()), DELEGATION[0]];
        assert_eq!(ask_with(&catalog, &line, "", &with_tag[..1], &all()).await.status, 304);
        assert_eq!(ask_with(&catalog, &line, "", &with_tag, &no_data).await.status, 304);
        assert_eq!(ask_with(&catalog, &line, "", &with_tag, &all()).await.status, 200);
        let star = [("if-none-match", "*"), DELEGATION[0]];
        assert_eq!(ask_with(&catalog, &line, "", &star, &all()).await.status, 200);
        let alone = ask(&catalog, &format!("{line}/credentials"), "", &no_data).await;
        assert_eq!(alone.status, 403, "{}", text(&alone));
    });
}

#[test]
fn a_table_that_is_written_elsewhere_comes_without_credentials() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &["t"]).await;
        let location = load(&catalog, "t").await["metadata"]["location"].as_str().expect("text").to_owned();
        let check = async |name: &str, path: &str, want: usize| {
            let set = json!([{"action": "set-properties", "updates": {name: path}}]);
            let body = json!({"requirements": [], "updates": set}).to_string();
            assert_eq!(ask(&catalog, &format!("POST {TABLES}/t"), &body, &all()).await.status, 200);
            let recorder = all();
            let answer = ask_with(&catalog, &format!("GET {TABLES}/t"), "", &DELEGATION, &recorder).await;
            assert_eq!(answer.status, 200, "{}", text(&answer));
            assert_eq!(recorder.vended.borrow().len(), want, "{name}={path}");
            let alone = ask(&catalog, &format!("GET {TABLES}/t/credentials"), "", &all()).await;
            assert_eq!(json(&alone)["storage-credentials"].as_array().map(Vec::len), Some(want));
        };
        check("write.data.path", &format!("{location}/data/"), 1).await;
        check("write.data.path", "s3://wh1/elsewhere", 0).await;
        check("write.data.path", &location, 1).await;
        check("write.metadata.path", "s3://wh1/elsewhere", 0).await;
    });
}

#[test]
fn new_tables_come_with_credentials() {
    with_catalog(async |catalog: Catalog| {
        make(&catalog, &[]).await;
        let check = async |line: &str, body: String| {
            let recorder = all();
            let answer = ask_with(&catalog, line, &body, &DELEGATION, &recorder).await;
            let body = json(&answer);
            let metadata = &body["metadata"];
            let id = metadata["table-uuid"].as_str().expect("a table").to_owned();
            assert_eq!(*recorder.vended.borrow(), [format!("wh1 {id} {id}/ writes=true deletes=true")]);
            assert_eq!(body["storage-credentials"][0]["prefix"], metadata["location"], "{}", text(&answer));
            body
        };
        let create = format!("POST {TABLES}");
        check(&create, table("staged", r#","stage-create":true"#)).await;
        let made = check(&create, table("t", "")).await;
        assert_eq!(ask(&catalog, &format!("DELETE {TABLES}/t"), "", &all()).await.status, 204);
        let register = json!({"name": "r", "metadata-location": made["metadata-location"]});
        check("POST /v1/wh1/namespaces/n/register", register.to_string()).await;
    });
}
