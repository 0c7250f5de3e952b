//! What a request names beside its path is asked for as well: S3 on a machine in memory, with an evaluator that writes
//! down what it is asked.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use md5::{Digest as _, Md5};
use nilas_catalog::access::{BodyKind, LookUp};
use nilas_engine::drive::Drive;
use nilas_engine::platform::simulated::{Faults, Medium, SimulatedDrive, Simulator};
use nilas_engine::store::{FormatConfig, Store, format};
use nilas_engine::{CoreId, ETag};

use super::*;
use crate::identity::access::{Authorizer, Decision};
use crate::identity::model::Model;
use crate::identity::{RulesCache, Sender};
use crate::listen::BodyFault;
use crate::memory::MemoryPlan;
use crate::route::{Route, route};
use crate::s3::operations::{Form, Level};
use crate::sse::store::KeyCell;

/// Writes down what it is asked, and refuses what is about `refused`.
struct Recorder {
    asked: RefCell<Vec<String>>,
    refused: &'static str,
    /// What has to be looked up first, and what was: nothing is known of other objects of this bucket.
    unknown: &'static str,
    looked_up: RefCell<Vec<String>>,
}

impl Authorizer for Recorder {
    fn decide(
        &self,
        action: &'static str,
        resource: &Resource<'_>,
        _facts: &[(&'static str, &str)],
    ) -> Decision {
        let question = format!("{action} {resource}");
        let name = resource.to_string();
        if !self.unknown.is_empty() && name.contains(self.unknown) && !self.looked_up.borrow().contains(&name)
        {
            return Decision::Unknown;
        }
        let refused = !self.refused.is_empty() && question.contains(self.refused);
        self.asked.borrow_mut().push(question);
        if refused { Decision::Deny } else { Decision::Allow }
    }

    fn look_up(&self, objects: &[Resource<'_>]) -> Option<LookUp<'_>> {
        let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
        let wanted = names.iter().any(|name| !self.unknown.is_empty() && name.contains(self.unknown));
        wanted.then(|| -> LookUp<'_> {
            Box::pin(async move {
                self.looked_up.borrow_mut().extend(names);
                Ok(())
            })
        })
    }
}

/// Runs `test` with S3 on one simulated core, where the buckets `src` and `dst` each have the objects `a`, `b` and `c`.
fn with_s3(test: impl AsyncFnOnce(S3) + 'static) {
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
        for bucket in ["src", "dst"] {
            engine.create_bucket(bucket, Default::default()).await.expect("a new bucket");
            let bucket = engine.bucket(bucket).expect("the bucket");
            for key in ["a", "b", "c"] {
                let mut writer = engine.writer(&bucket, 1).await.expect("room");
                writer.write(Bytes::from_static(b"x")).await.expect("written");
                let etag = ETag { md5: [0; 16], parts: 0 };
                let attributes = Attributes::default().encode();
                let put = writer.publish(Bytes::from(key), PutCondition::None, etag, attributes).await;
                put.expect("no drive fails, and no condition");
            }
        }
        let memory = CoreMemory::new(&MemoryPlan::full());
        let s3 = S3 {
            keys: KeyStore::new(KeyCell::new(None), engine.clone()),
            takes_customer_keys: true,
            engine,
            region: "local".to_owned(),
            rules: Rc::new(RulesCache::new()),
            md5_lanes: Md5Lanes::new(),
            downloads: Downloads::new(memory.downloads.clone()),
            memory,
            lifecycle_clock: lifecycle::Clock { day_ms: 86_400_000 },
        };
        test(s3).await;
    });
    assert_eq!(ended, Ok(()));
}

async fn ask(
    s3: &S3,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
    recorder: &Recorder,
) -> (StatusCode, String) {
    ask_watched(s3, line, headers, &Watched::new(body), recorder).await
}

/// A body that tells whether it was asked for.
#[derive(Clone)]
struct Watched {
    bytes: Full<Bytes>,
    is_taken: Rc<Cell<bool>>,
}

impl Watched {
    fn new(text: &str) -> Watched {
        Watched { bytes: Full::new(Bytes::copy_from_slice(text.as_bytes())), is_taken: Rc::default() }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.is_taken.set(true);
        Pin::new(&mut self.bytes).poll_frame(cx).map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

async fn ask_watched(
    s3: &S3,
    line: &str,
    headers: &[(&str, &str)],
    body: &Watched,
    recorder: &Recorder,
) -> (StatusCode, String) {
    let (method, uri) = line.split_once(' ').expect("method and target");
    // With this header nothing is drained, which would need a real core.
    let mut request = http::Request::builder().method(method).uri(uri).header("expect", "100-continue");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-length", body.size_hint().exact().expect("a whole body"));
    let head = request.body(()).expect("a valid head").into_parts().0;
    let Ok(Route::S3(target)) = route(&head, &[]) else { panic!("{line}") };
    let sender = Sender::anonymous(Arc::new(Model::empty("123456789012")));
    let (caller, verified) = (Caller::new(&sender, recorder), Verified::unsigned("AK"));
    let response = s3.handle(&target, &head, &head.headers, caller, &verified, body.clone(), "ID").await;
    let status = response.status();
    let text = match response.into_body() {
        ResponseBody::Full(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    };
    (status, text)
}

fn recorder(refused: &'static str) -> Recorder {
    Recorder { asked: RefCell::default(), refused, unknown: "", looked_up: RefCell::default() }
}

/// The same, for whom it matters whose files those of `unknown` are.
fn looking_up(refused: &'static str, unknown: &'static str) -> Recorder {
    Recorder { unknown, ..recorder(refused) }
}

async fn exists(s3: &S3, bucket: &str, key: &'static str) -> bool {
    let bucket = s3.engine.bucket(bucket).expect("the bucket");
    s3.engine.head(&bucket, Bytes::from(key)).await.expect("no drive fails").is_some()
}

#[test]
fn a_copy_asks_for_its_source() {
    with_s3(async |s3: S3| {
        let source = [("x-amz-copy-source", "src/a")];
        let refused = recorder("arn:aws:s3:::src/a");
        let (status, text) = ask(&s3, "PUT /dst/new", &source, "", &refused).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(text.contains("<Code>AccessDenied</Code>"), "{text}");
        assert_eq!(refused.asked.into_inner(), ["s3:GetObject arn:aws:s3:::src/a"]);
        assert!(!exists(&s3, "dst", "new").await);

        let allowed = recorder("");
        assert_eq!(ask(&s3, "PUT /dst/new", &source, "", &allowed).await.0, StatusCode::OK);
        assert_eq!(allowed.asked.into_inner(), ["s3:GetObject arn:aws:s3:::src/a"]);
        assert!(exists(&s3, "dst", "new").await);
    });
}

#[test]
fn what_has_to_be_known_is_looked_up_before_it_is_judged() {
    with_s3(async |s3: S3| {
        let source = [("x-amz-copy-source", "src/a")];
        for (refused, status) in [("", StatusCode::OK), ("src/a", StatusCode::FORBIDDEN)] {
            let recorder = looking_up(refused, "src/");
            assert_eq!(ask(&s3, "PUT /dst/new", &source, "", &recorder).await.0, status);
            assert_eq!(recorder.asked.into_inner(), ["s3:GetObject arn:aws:s3:::src/a"]);
            assert_eq!(recorder.looked_up.into_inner(), ["arn:aws:s3:::src/a"]);
        }
        let body = "<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>";
        let md5 = STANDARD.encode(Md5::digest(body));
        let recorder = looking_up("dst/b", "dst/");
        let (_, text) = ask(&s3, "POST /dst?delete", &[("content-md5", md5.as_str())], body, &recorder).await;
        assert!(text.contains("<Deleted><Key>a</Key></Deleted><Error><Key>b</Key>"), "{text}");
        assert_eq!(recorder.looked_up.into_inner(), ["arn:aws:s3:::dst/a", "arn:aws:s3:::dst/b"]);
        // What nobody looked up is refused.
        let recorder = looking_up("", "dst/");
        let sender = Sender::anonymous(Arc::new(Model::empty("123456789012")));
        let caller = Caller::new(&sender, &recorder);
        let object = Resource::Object { bucket: "dst", key: b"a" };
        assert!(!caller.allows("s3:GetObject", object));
        assert_eq!(caller.permits("s3:GetObject", object, &[]).await, Ok(true));
        assert!(caller.allows("s3:GetObject", object));
    });
}

#[test]
fn what_is_not_there_is_said_to_who_may_list_it() {
    with_s3(async |s3: S3| {
        let read = [
            "GET /src/gone",
            "HEAD /src/gone",
            "GET /src/gone?attributes",
            "GET /src/gone?acl",
            "GET /src/gone?tagging",
        ];
        let headers = [("x-amz-object-attributes", "ETag")];
        let copy = [("x-amz-copy-source", "src/gone")];
        for (refused, status) in
            [("", StatusCode::NOT_FOUND), ("s3:ListBucket arn:aws:s3:::src", StatusCode::FORBIDDEN)]
        {
            for line in read {
                let recorder = recorder(refused);
                let (got, text) = ask(&s3, line, &headers, "", &recorder).await;
                assert_eq!(got, status, "{line}: {text}");
                assert!(
                    recorder.asked.into_inner().contains(&"s3:ListBucket arn:aws:s3:::src".to_owned()),
                    "{line}"
                );
            }
            // Of a copy's source, in its own bucket.
            assert_eq!(ask(&s3, "PUT /dst/new", &copy, "", &recorder(refused)).await.0, status);
        }
        let elsewhere = recorder("s3:ListBucket arn:aws:s3:::dst");
        assert_eq!(ask(&s3, "PUT /dst/new", &copy, "", &elsewhere).await.0, StatusCode::NOT_FOUND);
        // What is there is answered without that question, and so is what is changed on a condition.
        let there = recorder("s3:ListBucket");
        assert_eq!(ask(&s3, "GET /src/a?acl", &[], "", &there).await.0, StatusCode::OK);
        let condition = [("if-match", "\"x\"")];
        assert_eq!(ask(&s3, "DELETE /src/gone", &condition, "", &there).await.0, StatusCode::NOT_FOUND);
        assert_eq!(there.asked.into_inner(), [""; 0]);
    });
}

#[test]
fn a_copied_part_asks_for_its_source() {
    with_s3(async |s3: S3| {
        let (_, text) = ask(&s3, "POST /dst/big?uploads", &[], "", &recorder("")).await;
        let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).expect("an id");
        let line = format!("PUT /dst/big?partNumber=1&uploadId={id}");
        let source = [("x-amz-copy-source", "/src/b")];
        let refused = recorder("arn:aws:s3:::src/b");
        assert_eq!(ask(&s3, &line, &source, "", &refused).await.0, StatusCode::FORBIDDEN);
        assert_eq!(refused.asked.into_inner(), ["s3:GetObject arn:aws:s3:::src/b"]);
        assert_eq!(ask(&s3, &line, &source, "", &recorder("")).await.0, StatusCode::OK);
    });
}

#[test]
fn each_key_of_delete_objects_is_asked_for() {
    with_s3(async |s3: S3| {
        let body = "<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object>\
                    <Object><Key>c</Key><Size>1</Size></Object></Delete>";
        let md5 = STANDARD.encode(Md5::digest(body));
        let refused = recorder("arn:aws:s3:::dst/b");
        let (status, text) =
            ask(&s3, "POST /dst?delete", &[("content-md5", md5.as_str())], body, &refused).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(
            text.contains("<Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"),
            "{text}"
        );
        assert!(text.contains("<Deleted><Key>c</Key></Deleted>"), "{text}");
        let questions = ["a", "b", "c"].map(|key| format!("s3:DeleteObject arn:aws:s3:::dst/{key}"));
        assert_eq!(refused.asked.into_inner(), questions);
        for (key, want) in [("a", false), ("b", true), ("c", false)] {
            assert_eq!(exists(&s3, "dst", key).await, want, "{key}");
        }
    });
}

#[test]
fn who_may_delete_nothing_is_not_told_whether_there_is_the_bucket() {
    with_s3(async |s3: S3| {
        let body = "<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>";
        let md5 = STANDARD.encode(Md5::digest(body));
        let delete = async |bucket: &str, body: &str, md5: Option<&str>, refused: &'static str| {
            let headers: Vec<(&str, &str)> = md5.map(|md5| ("content-md5", md5)).into_iter().collect();
            ask(&s3, &format!("POST /{bucket}?delete"), &headers, body, &recorder(refused)).await
        };
        let (status, text) = delete("dst", body, Some(&md5), "s3:DeleteObject").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert_eq!(text.matches("<Code>AccessDenied</Code>").count(), 2, "{text}");
        assert_eq!(delete("gone", body, Some(&md5), "s3:DeleteObject").await, (status, text));
        assert!(exists(&s3, "dst", "a").await);
        let (_, text) = delete("gone", body, None, "s3:DeleteObject").await;
        assert!(text.contains("<Code>InvalidRequest</Code>"), "{text}");

        // Who may delete one of the keys, or any, is told: the latter whatever else is wrong.
        for (body, md5, refused) in
            [(body, Some(&*md5), "gone/*"), (body, Some(&*md5), "gone/a"), (body, None, ""), ("<", None, "")]
        {
            let (_, text) = delete("gone", body, md5, refused).await;
            assert!(text.contains("<Code>NoSuchBucket</Code>"), "{refused}: {text}");
        }
    });
}

#[test]
fn each_handler_takes_the_body_that_its_row_says() {
    with_s3(async |s3: S3| {
        let (_, text) = ask(&s3, "POST /dst/big?uploads", &[], "", &recorder("")).await;
        let id = text.split("<UploadId>").nth(1).and_then(|rest| rest.split('<').next()).expect("an id");
        let md5 = STANDARD.encode(Md5::digest("x"));
        for operation in Operation::ALL {
            let row = operation.row();
            let path = match (row.level, operation) {
                (Level::Service, _) => "/",
                (Level::Bucket, Operation::CreateBucket) => "/new",
                (Level::Bucket, _) => "/dst",
                (Level::Object, _) => "/dst/big",
            };
            let query = match (row.subresource, row.form) {
                ("", Form::ListV2) => "list-type=2".to_owned(),
                ("uploadId", _) if row.method == "PUT" => format!("uploadId={id}&partNumber=1"),
                ("uploadId", _) => format!("uploadId={id}"),
                (subresource, _) => subresource.to_owned(),
            };
            let mut headers = vec![("content-md5", md5.as_str())];
            if row.form == Form::Copy {
                headers.push(("x-amz-copy-source", "src/a"));
            }
            // A blob may be these bytes, a document may not.
            let body = Watched::new("x");
            let line = format!("{} {path}?{query}", row.method);
            let (_, text) = ask_watched(&s3, &line, &headers, &body, &recorder("")).await;
            let taken = match (body.is_taken.get(), text.contains("<Code>MalformedXML</Code>")) {
                (true, _) if text.contains("<Code>MalformedPolicy</Code>") => BodyKind::Json,
                // What reads forms comes before the operations.
                (false, _) if text.contains("must be of the enclosure-type") => BodyKind::Form,
                (false, _) => BodyKind::Empty,
                (true, true) => BodyKind::Xml,
                (true, false) => BodyKind::Payload,
            };
            assert_eq!(taken, row.facts.body, "{operation:?}: {text}");
        }
    });
}
