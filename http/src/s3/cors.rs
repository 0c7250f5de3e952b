//! Cross-origin requests of browsers: `?cors` of a bucket, preflights, and what answers say of them.
//!
//! `gateway` hands [`preflight`] every OPTIONS of a bucket or object, and [`annotate`] each answer to a request with an
//! `Origin`. Neither asks who sends: a preflight is never signed. The rules are the bucket's setting
//! [`SettingKind::CORS`], read anew for each such request, without a copy. Pure but for the operations on `?cors`.
//! I1. Without `Origin` nothing here is looked at. I2. The first rule that fits the origin, the method and all headers
//! asked for is the one that counts. I3. What [`Rules::new`] cannot read was written by a newer version: no request fits it,
//! and it is not written over.
//!
//! Layout, integers little-endian: `version u8 = 1`, then for each rule `len u32` of what follows · `flags u8` (1: has an
//! id, 2: has an age) · id if any · `age u32` if any · methods · origins · headers · exposed headers, each list as `count
//! u16` · texts; a text as `len u16` · bytes.
//! Source: Amazon S3 API Reference, PutBucketCors; User Guide, "Using cross-origin resource sharing"; WHATWG Fetch, 3.2.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body;
use nilas_engine::{BucketError, BucketSettings, Engine, EngineError, SettingKind};

use super::{Call, Outcome, document, empty, request_xml};
use crate::limits::{CORS_ID_CHARS_MAX, CORS_RULES_MAX, CORS_XML_BYTES_MAX};
use crate::render::error::{CorsRefusal, S3Error};
use crate::render::xml::Xml;
use crate::s3::operations::Level;
use crate::s3::payload::Payload;

const VERSION: u8 = 1;
const HAS_ID: u8 = 1;
const HAS_AGE: u8 = 2;

/// What a rule may name.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// What an answer depends on that is shown to some origins and not to others.
const VARY_BY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// One rule as it is sent. Texts are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsRule {
    /// `ID`.
    pub id: Option<String>,
    /// `MaxAgeSeconds`.
    pub max_age_s: Option<u32>,
    /// `AllowedMethod`.
    pub methods: Vec<String>,
    /// `AllowedOrigin`; one `*` stands for anything.
    pub origins: Vec<String>,
    /// `AllowedHeader`; one `*` stands for anything.
    pub headers: Vec<String>,
    /// `ExposeHeader`.
    pub exposed: Vec<String>,
}

impl CorsRule {
    fn check(&self) -> Result<(), S3Error> {
        let wildcards = |text: &String| 1 < text.bytes().filter(|byte| *byte == b'*').count();
        let refuse = |message: String| Err(S3Error::invalid_request(message));
        if self.methods.is_empty() || self.origins.is_empty() {
            return Err(S3Error::MalformedXml);
        }
        if let Some(other) = self.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return refuse(format!(
                "Found unsupported HTTP method in CORS config. Unsupported method is {other}"
            ));
        }
        if let Some(origin) = self.origins.iter().find(|origin| wildcards(origin)) {
            return refuse(format!("AllowedOrigin \"{origin}\" can not have more than one wildcard."));
        }
        if let Some(header) = self.headers.iter().find(|header| wildcards(header)) {
            return refuse(format!("AllowedHeader \"{header}\" can not have more than one wildcard."));
        }
        if let Some(header) = self.exposed.iter().find(|header| header.contains('*')) {
            return refuse(format!(
                "ExposeHeader \"{header}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
            ));
        }
        if let Some(id) = self.id.as_ref().filter(|id| CORS_ID_CHARS_MAX < id.chars().count()) {
            return Err(S3Error::InvalidArgument {
                message: format!("ID length should not exceed allowed limit of {CORS_ID_CHARS_MAX}").into(),
                name: "ID",
                value: id.clone(),
            });
        }
        Ok(())
    }
}

/// Holds rules against what S3 takes, and gives the setting's value.
pub fn encode(rules: &[CorsRule]) -> Result<Bytes, S3Error> {
    if rules.is_empty() {
        return Err(S3Error::MalformedXml);
    }
    if CORS_RULES_MAX < rules.len() {
        return Err(S3Error::invalid_request(format!(
            "The number of CORS rules should not exceed allowed limit of {CORS_RULES_MAX} rules."
        )));
    }
    let mut out = BytesMut::with_capacity(256);
    out.put_u8(VERSION);
    for rule in rules {
        rule.check()?;
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_u8(
            if rule.id.is_some() { HAS_ID } else { 0 } | if rule.max_age_s.is_some() { HAS_AGE } else { 0 },
        );
        if let Some(id) = &rule.id {
            put_text(&mut bytes, id);
        }
        if let Some(age) = rule.max_age_s {
            bytes.put_u32_le(age);
        }
        for list in [&rule.methods, &rule.origins, &rule.headers, &rule.exposed] {
            bytes.put_u16_le(u16::try_from(list.len()).expect("a document of 64 KiB has fewer elements"));
            list.iter().for_each(|text| put_text(&mut bytes, text));
        }
        out.put_u32_le(u32::try_from(bytes.len()).expect("a document has 64 KiB"));
        out.put_slice(&bytes);
    }
    Ok(out.freeze())
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16_le(u16::try_from(text.len()).expect("a document has 64 KiB, tags included"));
    out.put_slice(text.as_bytes());
}

/// Texts one behind the other, known to be whole.
#[derive(Clone, Copy, Debug)]
struct Texts<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    /// Takes a list off the front of `rest`.
    fn take(rest: &mut &'a [u8]) -> Option<Texts<'a>> {
        let count = take_u16(rest)?;
        let bytes = *rest;
        for _ in 0..count {
            take_text(rest)?;
        }
        Some(Texts { count, bytes: bytes.get(..bytes.len() - rest.len())? })
    }

    fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| take_text(&mut rest))
    }

    /// All of them with `, ` between them, if there are any and they fit into a header.
    fn joined(self) -> Option<HeaderValue> {
        let all: Vec<&str> = self.iter().collect();
        HeaderValue::try_from(all.join(", ")).ok().filter(|_| !all.is_empty())
    }
}

/// One kept rule.
#[derive(Clone, Copy, Debug)]
struct Kept<'a> {
    id: Option<&'a str>,
    max_age_s: Option<u32>,
    methods: Texts<'a>,
    origins: Texts<'a>,
    headers: Texts<'a>,
    exposed: Texts<'a>,
}

impl<'a> Kept<'a> {
    fn decode(mut rest: &'a [u8]) -> Option<Kept<'a>> {
        let (flags, tail) = rest.split_first()?;
        rest = tail;
        let id = if flags & HAS_ID != 0 { Some(take_text(&mut rest)?) } else { None };
        let max_age_s = if flags & HAS_AGE != 0 { Some(take_u32(&mut rest)?) } else { None };
        let kept = Kept {
            id,
            max_age_s,
            methods: Texts::take(&mut rest)?,
            origins: Texts::take(&mut rest)?,
            headers: Texts::take(&mut rest)?,
            exposed: Texts::take(&mut rest)?,
        };
        (rest.is_empty() && flags & !(HAS_ID | HAS_AGE) == 0).then_some(kept)
    }

    /// What the rule allows, if it fits.
    fn allows(self, asked: &Asked<'_>) -> Option<Allowed<'a>> {
        let origin = self.origins.iter().find(|pattern| fits(pattern, asked.origin))?;
        let knows = |name: &str| self.headers.iter().any(|pattern| fits_ignoring_case(pattern, name));
        let takes_method = self.methods.iter().any(|method| method == asked.method);
        (takes_method && asked.names().all(knows))
            .then_some(Allowed { rule: self, any_origin: origin == "*" })
    }
}

/// The rules of a bucket, as they are kept.
#[derive(Clone, Copy, Debug)]
struct Rules<'a>(&'a [u8]);

impl<'a> Rules<'a> {
    fn new(value: &'a [u8]) -> Option<Rules<'a>> {
        let (version, rest) = value.split_first()?;
        let rules = Rules(rest);
        (*version == VERSION && rules.iter().all(|rule| rule.is_some())).then_some(rules)
    }

    /// The rules of the bucket with these settings; `None` when it has none.
    fn of(settings: &'a BucketSettings) -> Result<Option<Rules<'a>>, EngineError> {
        let Some(value) = settings.get(SettingKind::CORS) else { return Ok(None) };
        Rules::new(value).map(Some).ok_or(EngineError::UnsupportedSetting { kind: SettingKind::CORS })
    }

    /// Rule by rule; `None` where one is none, which is the last.
    fn iter(self) -> impl Iterator<Item = Option<Kept<'a>>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let len = take_u32(&mut rest).and_then(|len| usize::try_from(len).ok());
            let taken = len.and_then(|len| rest.split_at_checked(len));
            let (rule, tail) = taken.unwrap_or((&[], &[]));
            rest = tail;
            Some(Kept::decode(rule))
        })
    }

    fn allowed(self, asked: &Asked<'_>) -> Option<Allowed<'a>> {
        self.iter().flatten().find_map(|rule| rule.allows(asked))
    }
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    let (number, tail) = rest.split_first_chunk::<2>()?;
    *rest = tail;
    Some(u16::from_le_bytes(*number))
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*number))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::from(take_u16(rest)?);
    let (text, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    std::str::from_utf8(text).ok()
}

/// Whether a text is as a pattern with at most one `*` says.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.strip_prefix(start).is_some_and(|rest| rest.len() >= end.len() && rest.ends_with(end))
        }
    }
}

fn fits_ignoring_case(pattern: &str, text: &str) -> bool {
    fits(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

/// What a cross-origin request wants to do.
#[derive(Clone, Copy, Debug)]
struct Asked<'h> {
    origin: &'h str,
    method: &'h str,
    /// Names of headers, with commas between them.
    headers: &'h str,
}

impl<'h> Asked<'h> {
    /// Reads a request; the method that it asks for counts in place of its own.
    fn of(method: &'h Method, headers: &'h HeaderMap) -> Option<Asked<'h>> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        Some(Asked {
            origin: text(ORIGIN).filter(|origin| !origin.is_empty())?,
            method: text(ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(method.as_str()),
            headers: text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default(),
        })
    }

    fn names(&self) -> impl Iterator<Item = &'h str> {
        self.headers.split(',').map(str::trim).filter(|name| !name.is_empty())
    }
}

/// The rule that fits a request.
#[derive(Clone, Copy, Debug)]
struct Allowed<'a> {
    rule: Kept<'a>,
    /// Its origin is `*`.
    any_origin: bool,
}

impl Allowed<'_> {
    fn put(self, asked: &Asked<'_>, headers: &mut HeaderMap) {
        let origin = if self.any_origin { "*" } else { asked.origin };
        let names: Vec<String> = asked.names().map(str::to_ascii_lowercase).collect();
        let names = if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() };
        let puts = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_str(origin).ok()),
            (ACCESS_CONTROL_ALLOW_METHODS, self.rule.methods.joined()),
            (ACCESS_CONTROL_ALLOW_HEADERS, names),
            (ACCESS_CONTROL_EXPOSE_HEADERS, self.rule.exposed.joined()),
            (ACCESS_CONTROL_MAX_AGE, self.rule.max_age_s.map(HeaderValue::from)),
            (
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                (!self.any_origin).then_some(HeaderValue::from_static("true")),
            ),
            (VARY, Some(HeaderValue::from_static(VARY_BY))),
        ];
        for (name, value) in puts {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
    }
}

/// Answers a preflight for `bucket`, or an object in it.
pub(crate) fn preflight(engine: &Engine, bucket: &str, level: Level, headers: &HeaderMap) -> Outcome {
    let requested = headers.get(ACCESS_CONTROL_REQUEST_METHOD);
    let requested = requested.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let refuse = |why: CorsRefusal, resource_type: &'static str| S3Error::CorsRefused {
        why,
        method: requested.clone().unwrap_or_else(|| "OPTIONS".to_owned()),
        resource_type,
    };
    let Some(asked) = Asked::of(&Method::OPTIONS, headers) else {
        return Err(S3Error::BadRequest {
            message: "Insufficient information. Origin request header needed.".into(),
        });
    };
    let bucket = match engine.bucket(bucket) {
        Ok(bucket) => bucket,
        Err(BucketError::NoSuchBucket) => return Err(refuse(CorsRefusal::NoBucket, "BUCKET")),
        Err(why) => return Err(S3Error::bucket(why, bucket)),
    };
    let rules = Rules::of(&bucket.settings)?.ok_or_else(|| refuse(CorsRefusal::NotEnabled, "BUCKET"))?;
    if !METHODS.contains(&asked.method) {
        let method = requested.as_deref().unwrap_or("null");
        return Err(S3Error::BadRequest {
            message: format!("Invalid Access-Control-Request-Method: {method}").into(),
        });
    }
    let resource_type = if level == Level::Object { "OBJECT" } else { "BUCKET" };
    let allowed = rules.allowed(&asked).ok_or_else(|| refuse(CorsRefusal::NotAllowed, resource_type))?;
    let mut response = empty(StatusCode::OK);
    allowed.put(&asked, response.headers_mut());
    Ok(response)
}

/// Puts into the answer to a request of `method` with `headers` what its browser may know, if a rule of `bucket` fits.
pub(crate) fn annotate(
    engine: &Engine,
    bucket: &str,
    method: &Method,
    headers: &HeaderMap,
    answer: &mut HeaderMap,
) {
    let Some(asked) = Asked::of(method, headers) else { return };
    let Ok(bucket) = engine.bucket(bucket) else { return };
    if let Ok(Some(rules)) = Rules::of(&bucket.settings)
        && let Some(allowed) = rules.allowed(&asked)
    {
        allowed.put(&asked, answer);
    }
}

pub(super) fn get(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    let rules = Rules::of(&bucket.settings)?.ok_or_else(|| S3Error::NotConfigured {
        code: "NoSuchCORSConfiguration",
        message: "The CORS configuration does not exist",
        bucket: call.target.bucket.clone(),
    })?;
    let mut xml = Xml::new("CORSConfiguration", 1024);
    for rule in rules.iter().flatten() {
        xml.open("CORSRule");
        if let Some(id) = rule.id {
            xml.text("ID", id);
        }
        let lists = [
            ("AllowedMethod", rule.methods),
            ("AllowedOrigin", rule.origins),
            ("AllowedHeader", rule.headers),
            ("ExposeHeader", rule.exposed),
        ];
        for (tag, list) in lists {
            list.iter().for_each(|text| xml.text(tag, text));
        }
        if let Some(age) = rule.max_age_s {
            xml.number("MaxAgeSeconds", age.into());
        }
        xml.close("CORSRule");
    }
    Ok(document(xml))
}

pub(super) async fn put<B>(call: &Call<'_>, payload: &mut Payload<'_, B>) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let bucket = call.bucket()?;
    let body = payload.read_xml(call.headers, CORS_XML_BYTES_MAX).await?;
    if body.is_empty() {
        return Err(S3Error::MissingRequestBody);
    }
    let value = encode(&request_xml::parse_cors(&body)?)?;
    Rules::of(&bucket.settings)?;
    call.set(SettingKind::CORS, Some(value)).await?;
    Ok(empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let bucket = call.bucket()?;
    Rules::of(&bucket.settings)?;
    call.set(SettingKind::CORS, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Fuzz entry. Bytes are a setting or none; up to a NUL they are a request's origin, method and headers, and behind it a
/// document, whose rules are kept as they are read.
pub fn fuzz_cors(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (head, body) = input.split_at(at);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let asked = Asked { origin: line(), method: line(), headers: line() };
    let try_all = |rules: Rules<'_>| {
        if let Some(allowed) = rules.allowed(&asked) {
            assert!(allowed.rule.methods.iter().any(|method| method == asked.method));
            let mut headers = HeaderMap::new();
            allowed.put(&asked, &mut headers);
            assert_eq!(headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS), !allowed.any_origin);
        }
    };
    if let Some(rules) = Rules::new(input) {
        try_all(rules);
    }
    let Ok(rules) = request_xml::parse_cors(body.get(1..).unwrap_or_default()) else { return };
    if let Ok(value) = encode(&rules) {
        let kept = Rules::new(&value).expect("own bytes");
        let of = |list: Texts<'_>| list.iter().map(str::to_owned).collect::<Vec<_>>();
        let back = kept.iter().flatten().map(|kept| CorsRule {
            id: kept.id.map(str::to_owned),
            max_age_s: kept.max_age_s,
            methods: of(kept.methods),
            origins: of(kept.origins),
            headers: of(kept.headers),
            exposed: of(kept.exposed),
        });
        assert_eq!(back.collect::<Vec<_>>(), rules);
        try_all(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], origins: &[&str], headers: &[&str]) -> CorsRule {
        let owned = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        CorsRule {
            methods: owned(methods),
            origins: owned(origins),
            headers: owned(headers),
            ..CorsRule::default()
        }
    }

    #[test]
    fn patterns() {
        let check = |pattern: &str, text: &str, want: bool| {
            assert_eq!(fits(pattern, text), want, "{pattern} {text}");
        };
        check("*", "", true);
        check("*", "http://a", true);
        check("*suffix", "foo.suffix", true);
        check("*suffix", "suffix", true);
        check("*suffix", "foo.suffix.get", false);
        check("start*end", "startend", true);
        check("start*end", "start12end", true);
        check("start*end", "0start12end", false);
        check("aba*aba", "aba", false);
        check("aba*aba", "ababa", false);
        check("aba*aba", "abaaba", true);
        check("prefix*", "prefix.suffix", true);
        check("http://a", "http://a/", false);
        check("http://a", "HTTP://a", false);
        check("", "", true);
        assert!(fits_ignoring_case("X-Amz-*", "x-AMZ-date"));
        assert!(!fits_ignoring_case("X-Amz-*", "x-am"));
    }

    #[test]
    fn rules_are_refused() {
        let check = |rule: CorsRule, code: &str, text: &str| {
            let answer = encode(&[rule]).expect_err("refused").answer();
            assert_eq!((answer.code, answer.message.contains(text)), (code, true), "{}", answer.message);
        };
        let good = rule(&["GET"], &["*"], &[]);
        assert!(encode(std::slice::from_ref(&good)).is_ok());
        check(CorsRule { origins: vec![], ..good.clone() }, "MalformedXML", "");
        check(CorsRule { methods: vec![], ..good.clone() }, "MalformedXML", "");
        check(rule(&["GET", "PATCH"], &["*"], &[]), "InvalidRequest", "Unsupported method is PATCH");
        check(rule(&["get"], &["*"], &[]), "InvalidRequest", "Unsupported method is get");
        check(
            rule(&["GET"], &["http://*.*"], &[]),
            "InvalidRequest",
            "AllowedOrigin \"http://*.*\" can not have more than one wildcard.",
        );
        check(rule(&["GET"], &["*"], &["x-*-*"]), "InvalidRequest", "AllowedHeader \"x-*-*\"");
        let exposed = CorsRule { exposed: vec!["x-*".into()], ..good.clone() };
        check(exposed, "InvalidRequest", "ExposeHeader \"x-*\" contains wildcard.");
        let id = |len| CorsRule { id: Some("é".repeat(len)), ..good.clone() };
        assert!(encode(&[id(255)]).is_ok());
        check(id(256), "InvalidArgument", "255");
        assert!(encode(&vec![good.clone(); 100]).is_ok());
        let code = |rules: &[CorsRule]| encode(rules).expect_err("refused").answer().code;
        assert_eq!(code(&vec![good; 101]), "InvalidRequest");
        assert_eq!(code(&[]), "MalformedXML");
    }

    /// `None`: no rule fits. Else the headers of the answer.
    fn answer(rules: &[CorsRule], origin: &str, method: &str, headers: &str) -> Option<String> {
        let value = encode(rules).expect("rules");
        let asked = Asked { origin, method, headers };
        let mut got = HeaderMap::new();
        Rules::new(&value).expect("own bytes").allowed(&asked)?.put(&asked, &mut got);
        let mut lines: Vec<String> = (got.iter())
            .filter(|(name, _)| **name != VARY)
            .map(|(name, value)| {
                let name = name.as_str().strip_prefix("access-control-").expect("its name");
                format!("{name}: {}", value.to_str().expect("text"))
            })
            .collect();
        assert_eq!(got.get(VARY).map(HeaderValue::as_bytes), Some(VARY_BY.as_bytes()));
        lines.sort();
        Some(lines.join("; "))
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = [
            CorsRule { max_age_s: Some(3000), ..rule(&["GET", "PUT"], &["https://a:4200"], &["*"]) },
            rule(&["DELETE"], &["https://*.b"], &["x-amz-*", "Range"]),
            CorsRule { exposed: vec!["ETag".into(), "x-b".into()], ..rule(&["GET"], &["*"], &[]) },
        ];
        let check = |origin: &str, method: &str, headers: &str, want: Option<&str>| {
            assert_eq!(
                answer(&rules, origin, method, headers).as_deref(),
                want,
                "{origin} {method} {headers}"
            );
        };
        let first =
            "allow-credentials: true; allow-methods: GET, PUT; allow-origin: https://a:4200; max-age: 3000";
        check("https://a:4200", "PUT", "", Some(first));
        check(
            "https://a:4200",
            "GET",
            "X-b,c ,",
            Some(
                "allow-credentials: true; allow-headers: x-b, c; allow-methods: GET, PUT; \
                 allow-origin: https://a:4200; max-age: 3000",
            ),
        );
        check("https://a:4200", "DELETE", "", None);
        let any = "allow-methods: GET; allow-origin: *; expose-headers: ETag, x-b";
        check("http://other", "GET", "", Some(any));
        check("http://other", "GET", "x-b", None);
        check("http://other", "PUT", "", None);
        let second = "allow-credentials: true; allow-headers: x-amz-date, range; allow-methods: DELETE; allow-origin: https://x.b";
        check("https://x.b", "DELETE", "X-Amz-Date, range", Some(second));
        check("https://x.b", "DELETE", "X-Amz-Date, if-match", None);
        check("https://x.b", "GET", "", Some(any));
    }

    #[test]
    fn kept_bytes() {
        let rules = [CorsRule { id: Some("é".into()), ..rule(&["GET"], &["a", ""], &["b"]) }];
        let value = encode(&rules).expect("rules");
        for len in 0..value.len() {
            assert!(len == 1 || Rules::new(&value[..len]).is_none(), "{len}");
        }
        let mut newer = value.to_vec();
        newer[0] = 2;
        assert!(Rules::new(&newer).is_none());
        for at in 0..value.len() {
            let mut damaged = value.to_vec();
            damaged[at] ^= 0xff;
            fuzz_cors(&damaged);
        }
        let document = "http://a\nGET\nx-b\0<CORSConfiguration><CORSRule><AllowedOrigin>http://*</AllowedOrigin>\
                        <AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*</AllowedHeader></CORSRule></CORSConfiguration>";
        fuzz_cors(document.as_bytes());
    }
}
