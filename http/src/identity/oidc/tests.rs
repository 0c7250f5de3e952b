//! Tokens and keys made here, and an issuer on a socket that behaves badly.
#![expect(clippy::disallowed_methods, reason = "the issuer of these tests is a thread")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use serde_json::{Value, json};

use super::*;

/// What an issuer that is not one answers.
type Answer = Box<dyn Fn(&str, &str) -> Vec<u8> + Send + Sync>;

const NOW_MS: u64 = 1_700_000_000_000;
const NOW_S: u64 = NOW_MS / 1000;

enum Signer {
    Rsa(RsaKeyPair),
    Ec(&'static str, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Signer {
        Signer::Rsa(RsaKeyPair::from_pkcs8(include_bytes!("rsa-2048.pk8")).expect("a key"))
    }

    fn ec(curve: &'static str, algorithm: &'static EcdsaSigningAlgorithm) -> Signer {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("random bytes");
        Signer::Ec(curve, EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).expect("a key"))
    }

    fn p256() -> Signer {
        Signer::ec("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    fn p384() -> Signer {
        Signer::ec("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ed() -> Signer {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("random bytes");
        Signer::Ed(Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key"))
    }

    fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Signer::Rsa(pair) => {
                let public: PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "kid": kid, "use": "sig", "n": text(&public.n), "e": text(&public.e)})
            }
            Signer::Ec(curve, pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "kid": kid, "x": text(x), "y": text(y)})
            }
            Signer::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(pair.public_key().as_ref())})
            }
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Signer::Rsa(pair) => {
                let padding: &'static dyn ring::signature::RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).expect("signed");
                signature
            }
            Signer::Ec(_, pair) => pair.sign(&random, message).expect("signed").as_ref().to_vec(),
            Signer::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let algorithm = header["alg"].as_str().unwrap_or_default();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.sign(algorithm, signed.as_bytes())))
    }
}

fn expected() -> Expected {
    Expected {
        issuer: "https://id.example/realms/r".to_owned(),
        audiences: vec!["nilas".to_owned(), "other".to_owned()],
        claim: "policy".to_owned(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example/realms/r", "sub": "alice", "aud": "nilas", "exp": NOW_S + 300, "iat": NOW_S,
        "policy": ["readonly", "analysts"],
    })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (name, value) in changes {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(*name)),
            value => claims[*name] = value.clone(),
        }
    }
    claims
}

fn keys_of(jwks: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()).expect("a key set")
}

fn judged(token: &str, keys: &KeySet) -> Result<WebIdentity, TokenFault> {
    Parts::of(token)?.verify(keys, &expected(), NOW_MS)
}

#[test]
fn algorithms_and_their_keys() {
    let signers = [("r", Signer::rsa()), ("a", Signer::p256()), ("b", Signer::p384()), ("c", Signer::ed())];
    let jwks: Vec<Value> = signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect();
    let keys = keys_of(&jwks);
    let takes = [
        ("r", "RS256"),
        ("r", "RS384"),
        ("r", "RS512"),
        ("r", "PS256"),
        ("r", "PS384"),
        ("r", "PS512"),
        ("a", "ES256"),
        ("b", "ES384"),
        ("c", "EdDSA"),
    ];
    for (kid, signer) in &signers {
        for algorithm in takes.map(|(_, algorithm)| algorithm) {
            let token = signer.token(&json!({"alg": algorithm, "kid": kid}), &claims());
            let want =
                if takes.contains(&(kid, algorithm)) { Ok("alice") } else { Err(TokenFault::UnknownKey) };
            let got = judged(&token, &keys);
            assert_eq!(
                got.as_ref().map(|web| web.subject.as_str()).map_err(|f| *f),
                want,
                "{kid} {algorithm}"
            );
        }
    }
    // Nothing symmetric, and nothing unsigned; a public key is no secret.
    for algorithm in ["none", "None", "HS256", "HS384", "HS512", "ES512", "RS1", "", "rs256"] {
        let token = signers[0].1.token(&json!({"alg": algorithm, "kid": "r"}), &claims());
        assert_eq!(judged(&token, &keys), Err(TokenFault::Algorithm), "{algorithm}");
    }
    let unsigned = signers[0].1.token(&json!({"alg": "none"}), &claims());
    let cut = unsigned.rsplit_once('.').expect("three parts").0;
    assert_eq!(judged(&format!("{cut}."), &keys), Err(TokenFault::Algorithm));
}

#[test]
fn keys_are_found_by_name_and_purpose() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let check = |jwks: &[Value], header: Value, want: Result<(), TokenFault>| {
        let token = old.token(&header, &claims());
        assert_eq!(judged(&token, &keys_of(jwks)).map(drop), want, "{header} {jwks:?}");
    };
    let named = |changes: &[(&str, &str)]| {
        let mut jwk = old.jwk("k");
        changes.iter().for_each(|(name, value)| jwk[*name] = json!(value));
        jwk
    };
    check(&[named(&[])], json!({"alg": "ES256", "kid": "k"}), Ok(()));
    check(&[named(&[])], json!({"alg": "ES256"}), Ok(()));
    check(&[named(&[("alg", "ES256")])], json!({"alg": "ES256", "kid": "k"}), Ok(()));
    check(
        &[named(&[("use", "enc")]), new.jwk("z")],
        json!({"alg": "ES256", "kid": "k"}),
        Err(TokenFault::UnknownKey),
    );
    check(
        &[named(&[("alg", "ES384")]), new.jwk("z")],
        json!({"alg": "ES256", "kid": "k"}),
        Err(TokenFault::UnknownKey),
    );
    check(&[named(&[])], json!({"alg": "ES256", "kid": "l"}), Err(TokenFault::UnknownKey));
    check(&[named(&[]), new.jwk("l")], json!({"alg": "ES256"}), Err(TokenFault::UnknownKey));
    check(&[new.jwk("k")], json!({"alg": "ES256", "kid": "k"}), Err(TokenFault::Signature));
    check(&[named(&[])], json!({"alg": "ES256", "kid": "k", "crit": ["exp"]}), Err(TokenFault::Form));
}

#[test]
fn documents_that_are_no_key_set() {
    let check = |document: &str| assert_eq!(KeySet::parse(document.as_bytes()), None, "{document}");
    for document in
        ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[1,null,"x",{}]}"#, "{\"keys\":["]
    {
        check(document);
    }
    check(&json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string());
    check(&json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}).to_string());
    check(&json!({"keys": [{"kty": "RSA", "n": "!", "e": "AQAB"}]}).to_string());
    let one = Signer::ed().jwk("k");
    check(&json!({"keys": vec![one.clone(); crate::limits::OIDC_KEYS_MAX + 1]}).to_string());
    assert!(KeySet::parse(json!({"keys": [{"kty": "oct"}, one]}).to_string().as_bytes()).is_some());
}

#[test]
fn claims_of_a_token() {
    let signer = Signer::ed();
    let keys = keys_of(&[signer.jwk("k")]);
    let check = |changes: &[(&str, Value)], want: Result<&[&str], TokenFault>| {
        let token = signer.token(&json!({"alg": "EdDSA", "kid": "k"}), &with(changes));
        let got = judged(&token, &keys).map(|web| web.policies);
        let want = want.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(got, want, "{changes:?}");
    };
    let both: Result<&[&str], TokenFault> = Ok(&["readonly", "analysts"]);
    check(&[], both);
    for (issuer, want) in [
        (json!("https://id.example/realms/r/"), TokenFault::Issuer),
        (json!("https://id.example/realms/R"), TokenFault::Issuer),
        (json!(7), TokenFault::Claim("iss")),
        (Value::Null, TokenFault::Claim("iss")),
    ] {
        check(&[("iss", issuer)], Err(want));
    }
    check(&[("aud", json!("other"))], both);
    check(&[("aud", json!(["x", "nilas"]))], both);
    check(&[("aud", json!(["x", 1]))], Err(TokenFault::Audience));
    check(&[("aud", json!([]))], Err(TokenFault::Audience));
    check(&[("aud", json!("nilas2"))], Err(TokenFault::Audience));
    check(&[("aud", json!(""))], Err(TokenFault::Audience));
    check(&[("aud", Value::Null)], Err(TokenFault::Claim("aud")));
    // Who asked for the token is not whom it is for.
    check(&[("aud", json!("account")), ("azp", json!("nilas"))], Err(TokenFault::Audience));
    check(&[("exp", json!(NOW_S - 59))], both);
    check(&[("exp", json!(NOW_S - 60))], Err(TokenFault::Expired));
    check(&[("exp", json!(0))], Err(TokenFault::Expired));
    check(&[("exp", json!(NOW_S as f64 + 10.5))], both);
    for wrong in [json!("1700000300"), json!(-5), json!([]), Value::Null] {
        check(&[("exp", wrong)], Err(TokenFault::Claim("exp")));
    }
    check(&[("nbf", json!(NOW_S + 60))], both);
    check(&[("nbf", json!(NOW_S + 61))], Err(TokenFault::NotYet));
    check(&[("iat", json!(NOW_S + 61))], Err(TokenFault::NotYet));
    check(&[("nbf", json!("soon"))], Err(TokenFault::Claim("nbf")));
    check(&[("sub", Value::Null)], Err(TokenFault::Claim("sub")));
    check(&[("sub", json!(""))], Err(TokenFault::Claim("sub")));
    check(&[("sub", json!("a\nb"))], Err(TokenFault::Claim("sub")));
    check(&[("sub", json!("x".repeat(256)))], Err(TokenFault::Claim("sub")));
    check(&[("policy", json!(" a, b ,,a"))], Ok(&["a", "b"]));
    check(&[("policy", json!("a"))], Ok(&["a"]));
    let many: Vec<String> = (0..=crate::limits::WEB_POLICIES_MAX).map(|n| n.to_string()).collect();
    for wrong in
        [Value::Null, json!(""), json!(","), json!([]), json!([1]), json!({"a": 1}), json!(true), json!(many)]
    {
        check(&[("policy", wrong)], Err(TokenFault::Policies));
    }
}

#[test]
fn no_changed_token_is_taken() {
    let signer = Signer::p256();
    let keys = keys_of(&[signer.jwk("k")]);
    let token = signer.token(&json!({"alg": "ES256", "kid": "k"}), &claims());
    assert!(judged(&token, &keys).is_ok());
    for at in 0..token.len() {
        for letter in ["A", "_", ".", "=", "ü", ""] {
            let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
            if changed != token {
                assert!(judged(&changed, &keys).is_err(), "{at} {letter}");
            }
        }
        assert!(judged(&token[..at], &keys).is_err(), "{at}");
    }
    for text in ["", ".", "..", "...", "a.b.c", "e30.e30.", "e30.e30.e30"] {
        assert_eq!(judged(text, &keys), Err(TokenFault::Form), "{text}");
    }
    assert_eq!(judged(&"a".repeat(20_000), &keys), Err(TokenFault::Form));
    assert_eq!(judged(&format!("{token}.x"), &keys), Err(TokenFault::Form));
}

#[test]
fn when_keys_are_fetched() {
    let keys = Arc::new(keys_of(&[Signer::ed().jwk("k")]));
    let state = |read_ms: u64, asked_ms: Option<u64>, is_fetching: bool| State {
        keys: (read_ms != 0).then(|| keys.clone()),
        read_ms,
        asked_ms,
        is_fetching,
    };
    let check = |state: State, knows: bool, want: Plan| {
        assert_eq!(
            state.plan(|_| knows, NOW_MS),
            want,
            "{} {:?} {}",
            state.read_ms,
            state.asked_ms,
            state.is_fetching
        );
    };
    let judge = || Plan::Judge(keys.clone());
    let (fresh, old) = (NOW_MS - OIDC_KEYS_LIFE_MS + 1, NOW_MS - OIDC_KEYS_LIFE_MS);
    let ancient = NOW_MS - OIDC_KEYS_STALE_MS_MAX;
    let (just, before) = (Some(NOW_MS - OIDC_REFETCH_MS_MIN + 1), Some(NOW_MS - OIDC_REFETCH_MS_MIN));
    // Nothing known.
    check(state(0, None, false), false, Plan::Fetch);
    check(state(0, just, false), false, Plan::Unreachable);
    check(state(0, before, false), false, Plan::Fetch);
    check(state(0, just, true), false, Plan::Wait);
    // Keys known and new.
    check(state(fresh, before, false), true, judge());
    check(state(fresh, before, false), false, Plan::Fetch);
    check(state(fresh, just, false), false, judge());
    check(state(fresh, just, true), false, Plan::Wait);
    check(state(fresh, just, true), true, judge());
    // Keys known and old: asked for anew, and of use meanwhile.
    check(state(old, before, false), true, Plan::Fetch);
    check(state(old, just, false), true, judge());
    check(state(old, just, true), true, judge());
    // Too old.
    check(state(ancient, before, false), true, Plan::Fetch);
    check(state(ancient, just, false), true, Plan::Unreachable);
    check(state(ancient, just, true), true, Plan::Wait);
    check(state(ancient + 1, just, false), true, judge());
}

/// An issuer that answers each connection with what `answer` says of its path and number.
fn serve(
    answer: impl Fn(&str, usize, &str) -> Vec<u8> + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let (url, count) = (base.clone(), asked.clone());
    drop(std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a connection");
            let mut head = [0; 4096];
            let got = stream.read(&mut head).expect("a request");
            let head = String::from_utf8_lossy(&head[..got]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let number = count.fetch_add(1, Ordering::SeqCst);
            drop(stream.write_all(&answer(path, number, &url)));
        }
    }));
    (base, asked)
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
        .into_bytes()
}

fn ok(body: &str) -> Vec<u8> {
    http("200 OK", "", body)
}

fn discovery(issuer: &str, jwks_uri: &str) -> Vec<u8> {
    ok(&json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string())
}

fn issuer(url: &str) -> Issuer {
    let config = OidcConfig {
        issuer: url.to_owned(),
        audiences: vec!["nilas".to_owned()],
        claim: "policy".to_owned(),
        ca: None,
    };
    Issuer::new(&config, |_| {}).expect("a good configuration")
}

fn looked(issuer: &Issuer, token: &str, now_ms: u64) -> Result<String, OidcFault> {
    match issuer.look(token, now_ms) {
        Looked::Done(outcome) => outcome.map(|web| web.subject),
        Looked::Wait => panic!("nobody else fetches"),
    }
}

#[test]
fn keys_rotate() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let sets = [
        json!({"keys": [old.jwk("old")]}),
        json!({"keys": [old.jwk("old"), new.jwk("new")]}),
        json!({"keys": [new.jwk("new")]}),
    ];
    let sets = sets.map(|set| set.to_string());
    let (url, asked) = serve(move |path, number, base| match path {
        "/.well-known/openid-configuration" => discovery(base, &format!("{base}/keys")),
        // Two documents for each fetch; the fourth and later fetches fail.
        _ => sets.get(number / 2).map_or_else(|| http("503 Busy", "", ""), |set| ok(set)),
    });
    let issuer = issuer(&url);
    let fetches = || asked.load(Ordering::SeqCst);
    let token = |signer: &Signer, kid: &str, now_ms: u64| {
        let times = [("iss", json!(url)), ("exp", json!(now_ms / 1000 + 300)), ("iat", json!(now_ms / 1000))];
        signer.token(&json!({"alg": "ES256", "kid": kid}), &with(&times))
    };
    let check = |signer: &Signer, kid: &str, now_ms: u64, want: Result<(), OidcFault>, documents: usize| {
        let got = looked(&issuer, &token(signer, kid, now_ms), now_ms).map(drop);
        assert_eq!((got, fetches()), (want, documents), "{kid} {now_ms}");
    };
    let unknown = || Err(OidcFault::Token(TokenFault::UnknownKey));
    check(&old, "old", NOW_MS, Ok(()), 2);
    check(&old, "old", NOW_MS + 1, Ok(()), 2);
    // A new key is asked for, though not at once after a fetch, and however often.
    check(&new, "new", NOW_MS + 2, unknown(), 2);
    check(&new, "new", NOW_MS + OIDC_REFETCH_MS_MIN, Ok(()), 4);
    check(&old, "old", NOW_MS + OIDC_REFETCH_MS_MIN, Ok(()), 4);
    // The old one is withdrawn, and is out of use when the keys are read anew.
    let later = NOW_MS + OIDC_REFETCH_MS_MIN + OIDC_KEYS_LIFE_MS;
    check(&old, "old", later, unknown(), 6);
    check(&new, "new", later, Ok(()), 6);
    // The issuer fails: what was known serves, and it is asked only so often.
    let down = later + OIDC_KEYS_LIFE_MS;
    check(&new, "new", down, Ok(()), 8);
    check(&new, "new", down + 1, Ok(()), 8);
    check(&new, "new", later + OIDC_KEYS_STALE_MS_MAX - 1, Ok(()), 10);
    check(&new, "new", later + OIDC_KEYS_STALE_MS_MAX, Err(OidcFault::Unreachable), 10);
    check(&new, "new", later + OIDC_KEYS_STALE_MS_MAX + OIDC_REFETCH_MS_MIN, Err(OidcFault::Unreachable), 12);
}

#[test]
fn issuers_that_behave_badly() {
    let signer = Signer::p256();
    let keys = json!({"keys": [signer.jwk("k")]}).to_string();
    let check = |what: &str, answer: Answer| {
        let (url, _) = serve(move |path, _, base| answer(path, base));
        let issuer = issuer(&url);
        let token = signer.token(&json!({"alg": "ES256", "kid": "k"}), &with(&[("iss", json!(url))]));
        assert_eq!(looked(&issuer, &token, NOW_MS), Err(OidcFault::Unreachable), "{what}");
        issuer.fetcher.keys(&url).expect_err("it fails").to_string()
    };
    let is_discovery = |path: &str| path.starts_with("/.well-known");
    check("nothing at all", Box::new(|_, _| Vec::new()));
    check("not found", Box::new(|_, _| http("404 Not Found", "", "")));
    check("not JSON", Box::new(|_, _| ok("<html>")));
    let said = check(
        "another issuer",
        Box::new(|_, base| discovery("https://evil.example", &format!("{base}/keys"))),
    );
    assert!(said.contains("another issuer"), "{said}");
    check("no keys", Box::new(|_, base| ok(&json!({ "issuer": base }).to_string())));
    let said = check("keys without TLS", Box::new(|_, base| discovery(base, "http://169.254.169.254/keys")));
    assert!(said.contains("neither https"), "{said}");
    check("keys in a file", Box::new(|_, base| discovery(base, "file:///etc/passwd")));
    let served = keys.clone();
    check(
        "a redirect",
        Box::new(move |path, base| match path {
            "/real" => ok(&served),
            path if is_discovery(path) => discovery(base, &format!("{base}/keys")),
            _ => http("302 Found", &format!("location: {base}/real\r\n"), ""),
        }),
    );
    let said = check(
        "too large",
        Box::new(move |path, base| match path {
            path if is_discovery(path) => discovery(base, &format!("{base}/keys")),
            _ => ok(&format!("{}{}", " ".repeat(300_000), keys)),
        }),
    );
    assert!(said.contains("OIDC_DOCUMENT_BYTES_MAX"), "{said}");
    let said = check(
        "no end",
        Box::new(move |path, base| match path {
            path if is_discovery(path) => discovery(base, &format!("{base}/keys")),
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{".to_vec(),
        }),
    );
    assert!(!said.is_empty());
}

#[test]
fn a_slow_issuer_is_not_waited_for() {
    // Takes connections and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let began = std::time::Instant::now();
    let token = Signer::ed().token(&json!({"alg": "EdDSA", "kid": "k"}), &claims());
    assert_eq!(looked(&issuer(&url), &token, NOW_MS), Err(OidcFault::Unreachable));
    let took = began.elapsed();
    assert!(OIDC_FETCH_TIME_MAX <= took && took < OIDC_FETCH_TIME_MAX * 2, "{took:?}");
}

#[test]
fn configurations() {
    let check = |issuer: &str, audiences: &[&str], claim: &str, want: &str| {
        let config = OidcConfig {
            issuer: issuer.to_owned(),
            audiences: audiences.iter().map(|name| (*name).to_owned()).collect(),
            claim: claim.to_owned(),
            ca: None,
        };
        let got = Issuer::new(&config, |_| {}).map(drop).map_err(|e| e.to_string());
        match want {
            "" => assert_eq!(got, Ok(()), "{config:?}"),
            want => assert!(got.as_ref().is_err_and(|text| text.contains(want)), "{config:?} {got:?}"),
        }
    };
    check("https://id.example/realms/r", &["a"], "policy", "");
    check("http://127.0.0.1:8080", &["a"], "policy", "");
    check("http://id.example", &["a"], "policy", "https");
    check("https://id.example/?x=1", &["a"], "policy", "https");
    check("id.example", &["a"], "policy", "https");
    check("https://id.example", &[], "policy", "--oidc-audience");
    check("https://id.example", &[""], "policy", "empty");
    check("https://id.example", &["a"], "", "empty");
    let ca = Some(PathBuf::from("/does/not/exist"));
    let config = OidcConfig {
        issuer: "https://id.example".to_owned(),
        audiences: vec!["a".to_owned()],
        claim: "p".to_owned(),
        ca,
    };
    assert!(matches!(Issuer::new(&config, |_| {}), Err(OidcConfigError::Ca { .. })));
}
