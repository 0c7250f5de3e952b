//! The query API's forms on the wire: who is not believed changes nothing and is told nothing, and what is changed is in
//! force with its answer.

use nilas_tests::client::{Call, Client, Payload};
use nilas_tests::http1::Response;
use nilas_tests::sign::Signer;

use super::{expect, server};

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const VERSION: &str = "&Version=2010-05-08";

/// A client of the root key for one service.
fn client(service: &str) -> Client {
    let mut client = server().client();
    client.signer = Signer::new(&client.signer.access, &client.signer.secret, service);
    client
}

/// A client of an access key.
fn client_of(key: &Response, service: &str) -> Client {
    let text = key.text();
    let mut client = server().client();
    client.signer = Signer::new(element(&text, "AccessKeyId"), element(&text, "SecretAccessKey"), service);
    client
}

fn element<'a>(xml: &'a str, tag: &str) -> &'a str {
    let rest = xml.split_once(&format!("<{tag}>")).map_or("", |(_, rest)| rest);
    rest.split_once('<').map_or("", |(text, _)| text)
}

fn ask(client: &mut Client, form: &str) -> Response {
    let form = format!("{form}{VERSION}");
    let call = Call::new("POST", "/").header("content-type", FORM).body(form.as_bytes());
    client.send(&call.payload(Payload::Signed)).expect("an answer")
}

fn allow(action: &str) -> String {
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#
    );
    policy.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn who_is_not_believed() {
    let mut root = client("iam");
    let check = |client: &mut Client, call: Call<'_>, status: u16, code: &str| {
        expect(&client.send(&call).expect("an answer"), status, code);
    };
    let form = format!("Action=CreateUser&UserName=unbelieved{VERSION}");
    let call = || Call::new("POST", "/").header("content-type", FORM).payload(Payload::Signed);
    check(&mut root, call().body(form.as_bytes()).unsigned(), 403, "MissingAuthenticationToken");
    check(&mut client("sts"), call().body(form.as_bytes()), 403, "SignatureDoesNotMatch");
    let mut wrong = client("iam");
    wrong.signer = Signer::new(&root.signer.access, "another secret altogether", "iam");
    check(&mut wrong, call().body(form.as_bytes()), 403, "SignatureDoesNotMatch");
    wrong.signer = Signer::new("NILASNOBODY", "another secret altogether", "iam");
    check(&mut wrong, call().body(form.as_bytes()), 403, "InvalidClientTokenId");

    // The same signature over other bytes of the same length.
    let signed = root.encode(&call().body(form.as_bytes())).bytes();
    let at = signed.windows(10).position(|bytes| bytes == b"unbelieved").expect("the name");
    let mut changed = signed.clone();
    changed[at] = b'U';
    let (answer, _) = root.exchange(&changed, "POST").expect("an answer");
    expect(&answer, 403, "SignatureDoesNotMatch");
    for name in ["unbelieved", "Unbelieved"] {
        expect(&ask(&mut root, &format!("Action=GetUser&UserName={name}")), 404, "NoSuchEntity");
    }
}

#[test]
fn a_change_is_in_force_with_its_answer() {
    let mut root = client("iam");
    expect(&ask(&mut root, "Action=CreateUser&UserName=wire"), 200, "");
    let key = ask(&mut root, "Action=CreateAccessKey&UserName=wire");
    expect(&key, 200, "");
    let (mut iam, mut s3) = (client_of(&key, "iam"), client_of(&key, "s3"));
    expect(&ask(&mut iam, "Action=GetUser"), 403, "AccessDenied");
    expect(&s3.send(&Call::get("/")).expect("an answer"), 403, "AccessDenied");
    for _ in 0..20 {
        let put = format!("Action=PutUserPolicy&UserName=wire&PolicyName=p&PolicyDocument={}", allow("s3:*"));
        expect(&ask(&mut root, &put), 200, "");
        expect(&s3.send(&Call::get("/")).expect("an answer"), 200, "");
        expect(&ask(&mut root, "Action=DeleteUserPolicy&UserName=wire&PolicyName=p"), 200, "");
        expect(&s3.send(&Call::get("/")).expect("an answer"), 403, "AccessDenied");
    }
    let id = element(&key.text(), "AccessKeyId").to_owned();
    let used = ask(&mut root, &format!("Action=GetAccessKeyLastUsed&AccessKeyId={id}"));
    assert_eq!(element(&used.text(), "UserName"), "wire");
    assert_ne!(element(&used.text(), "ServiceName"), "N/A", "{}", used.text());
    let off = format!("Action=UpdateAccessKey&UserName=wire&AccessKeyId={id}&Status=Inactive");
    expect(&ask(&mut root, &off), 200, "");
    expect(&s3.send(&Call::get("/")).expect("an answer"), 403, "InvalidAccessKeyId");
    expect(&ask(&mut iam, "Action=GetUser"), 403, "InvalidClientTokenId");
    expect(&ask(&mut root, &format!("Action=DeleteAccessKey&UserName=wire&AccessKeyId={id}")), 200, "");
    expect(&ask(&mut root, "Action=DeleteUser&UserName=wire"), 200, "");
}

#[test]
fn forms_that_are_none() {
    let mut root = client("iam");
    let check = |root: &mut Client, form: &str, status: u16, code: &str| {
        let call = Call::new("POST", "/").header("content-type", FORM).body(form.as_bytes());
        let answer = root.send(&call.payload(Payload::Signed)).expect("an answer");
        expect(&answer, status, code);
        assert!(answer.text().contains("https://iam.amazonaws.com/doc/2010-05-08/"), "{}", answer.text());
    };
    check(&mut root, "", 400, "MissingAction");
    check(&mut root, "Action=GetUser&Action=GetUser", 400, "MalformedInput");
    check(&mut root, "Action=%zz", 400, "MalformedInput");
    check(&mut root, "Action=Nothing&Version=2010-05-08", 400, "InvalidAction");
    check(&mut root, "Action=GetUser&Version=2011-06-15", 400, "InvalidAction");
    check(&mut root, "Action=CreateRole&Version=2010-05-08", 400, "InvalidAction");
    let long = format!("Action=GetUser{VERSION}&UserName={}", "x".repeat(256 << 10));
    check(&mut root, &long, 413, "RequestEntityTooLarge");
    let fields: String = (0..2_001).map(|nth| format!("f{nth}=&")).collect();
    check(&mut root, &fields, 400, "MalformedInput");
}
