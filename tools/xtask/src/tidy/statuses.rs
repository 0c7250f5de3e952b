//! A status of 300 and above is chosen in the tables of failures, and in the few other places listed here.
//!
//! Lines in, findings out: a constant of `StatusCode`, or a number handed to a status. Tests may name any.

use super::covers;

/// The crates that answer over HTTP.
const LOOKED_AT: [&str; 2] = ["catalog/src/", "http/src/"];
/// Files that may choose such a status, and why.
const ALLOWED: [(&str, &str); 9] = [
    ("http/src/render/error.rs", "the table of S3's failures"),
    ("catalog/src/store/failure.rs", "the table of the catalog's failures"),
    ("http/src/query/error.rs", "the table of the query API's failures"),
    ("http/src/pages.rs", "the table of the pages' short answers, which belong to no API"),
    ("http/src/listen.rs", "a client over the limit is answered before there is a request"),
    ("http/src/iceberg.rs", "what stands in for a number that is no status"),
    ("http/src/s3/get_object.rs", "304 has the headers of the object: an answer, no failure"),
    ("http/src/s3/post_object.rs", "303 leads a browser on from a form that was taken"),
    ("catalog/src/rest/mod.rs", "304 has the ETag of the table: an answer, no failure"),
];
/// What is below 300 among the constants of `StatusCode`.
const SUCCESSES: [&str; 12] = [
    "CONTINUE",
    "SWITCHING_PROTOCOLS",
    "PROCESSING",
    "OK",
    "CREATED",
    "ACCEPTED",
    "NON_AUTHORITATIVE_INFORMATION",
    "NO_CONTENT",
    "RESET_CONTENT",
    "PARTIAL_CONTENT",
    "MULTI_STATUS",
    "ALREADY_REPORTED",
];
/// What a number stands behind that becomes a status.
const BEFORE_NUMBERS: [&str; 5] = ["status: ", "status = ", "from_u16(", "HTTP/1.1 ", "HTTP/1.0 "];

/// What is wrong with one file.
pub fn findings(path: &str, text: &str) -> Vec<String> {
    let is_test = path.ends_with("tests.rs");
    if !path.ends_with(".rs") || !covers(&LOOKED_AT, path) || is_test || reason(path).is_some() {
        return Vec::new();
    }
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut findings = Vec::new();
    for (line, number) in product.lines().zip(1..) {
        let code = line.trim_start();
        if !code.starts_with("//")
            && let Some(status) = status_of(code)
        {
            findings
                .push(format!("{path}:{number}: chooses the status {status} outside the tables of failures"));
        }
    }
    findings
}

/// Why a file may choose one.
fn reason(path: &str) -> Option<&'static str> {
    ALLOWED.iter().find(|(allowed, _)| *allowed == path).map(|(_, reason)| *reason)
}

/// The status of 300 and above that a line names.
fn status_of(line: &str) -> Option<&str> {
    let constants =
        line.split("StatusCode::").skip(1).map(|rest| head(rest, |c| c == '_' || c.is_ascii_uppercase()));
    // Functions of the type begin in lower case.
    let mut constants = constants.filter(|name| !name.is_empty() && !SUCCESSES.contains(name));
    let numbers = BEFORE_NUMBERS.iter().flat_map(|before| line.split(before).skip(1));
    let mut numbers = numbers.map(|rest| head(rest, |c| c.is_ascii_digit()));
    let is_failure = |text: &&str| text.parse::<u16>().is_ok_and(|number| (300..1000).contains(&number));
    constants.next().or_else(|| numbers.find(is_failure))
}

/// The first characters of a text that are of a kind.
fn head(text: &str, of_kind: impl Fn(char) -> bool) -> &str {
    text.split(|c| !of_kind(c)).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let check = |path: &str, line: &str, want: bool| {
            let found = findings(path, &format!("//! A.\n{line}\n"));
            assert_eq!(found.len(), usize::from(want), "{path} {line}: {found:?}");
        };
        let file = "http/src/s3/put_object.rs";
        check(file, "let status = StatusCode::CONFLICT;", true);
        check(file, "a(StatusCode::OK, StatusCode::NOT_FOUND)", true);
        check(file, "Response { status: 404, headers }", true);
        check(file, "StatusCode::from_u16(503)", true);
        check(file, "b\"HTTP/1.1 503 Service Unavailable\"", true);
        check("catalog/src/rest/json.rs", "status: 409,", true);
        check(file, "empty(StatusCode::NO_CONTENT)", false);
        check(file, "StatusCode::from_u16(answer.status)", false);
        check(file, "Response { status: 204, headers }", false);
        check(file, "// StatusCode::CONFLICT is chosen elsewhere", false);
        check(file, "#[cfg(test)]\nmod tests {\n    StatusCode::CONFLICT", false);
        check("http/src/s3/access_tests.rs", "StatusCode::FORBIDDEN", false);
        check("tests/src/client.rs", "StatusCode::FORBIDDEN", false);
        for (allowed, _) in ALLOWED {
            check(allowed, "StatusCode::CONFLICT", false);
        }
    }

    #[test]
    fn files_that_may_are_there() {
        for (allowed, _) in ALLOWED {
            assert!(crate::shell::root().join(allowed).is_file(), "{allowed}");
        }
    }
}
