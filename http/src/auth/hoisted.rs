//! Header fields that a presigned URL carries in its query.
//!
//! `s3` reads the headers of every request through [`with_hoisted`]; signature version 2 signs what [`fields`] finds,
//! version 4 the whole query. I1. A header proper wins over a field of its name in the query. I2. What [`with_hoisted`]
//! adds is among what [`fields`] gives, so no field counts that was not signed.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use nilas_catalog::uri::Query;

/// Where a request shows its signature, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Version 4 in the `Authorization` header.
    HeaderV4,
    /// Version 4 in the query.
    QueryV4,
    /// Version 2 in the query.
    QueryV2,
    /// Version 4 over the policy of a form.
    FormV4,
    /// Version 2 over the policy of a form.
    FormV2,
    /// Nowhere: nobody signed it.
    Unsigned,
}

/// The fields in the query that stand for a header which the request does not have: names in lower case, in the order
/// sent. Signers of version 2 move `Content-Type` and `Content-MD5` there too.
pub(super) fn fields<'q>(
    headers: &HeaderMap,
    query: &'q Query,
    mechanism: Mechanism,
) -> impl Iterator<Item = (String, &'q str)> {
    let query = Some(query).filter(|_| mechanism != Mechanism::Unsigned);
    query.into_iter().flat_map(Query::iter).filter_map(move |(name, value)| {
        let of_amazon = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
        let of_content = mechanism == Mechanism::QueryV2
            && ["content-type", "content-md5"].iter().any(|known| name.eq_ignore_ascii_case(known));
        if !of_amazon && !of_content {
            return None;
        }
        let name = name.to_ascii_lowercase();
        (!headers.contains_key(&name)).then_some((name, value))
    })
}

/// The headers, with those that the query carries.
pub(crate) fn with_hoisted<'a>(
    headers: &'a HeaderMap,
    query: &Query,
    mechanism: Mechanism,
) -> Cow<'a, HeaderMap> {
    let mut all = Cow::Borrowed(headers);
    for (name, value) in fields(headers, query, mechanism).filter(|(name, _)| counts(name)) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes()))
        {
            all.to_mut().append(name, value);
        }
    }
    all
}

/// Whether a field in the query means something to an operation. Parameters of the signature do not; nor, as in S3, do
/// checksums of the body and what announces them: SDKs put in those of the empty body that they have when they sign.
fn counts(name: &str) -> bool {
    match name.strip_prefix("x-amz-") {
        Some(
            "algorithm" | "content-sha256" | "credential" | "date" | "expires" | "security-token"
            | "signature" | "signedheaders" | "trailer",
        ) => false,
        Some("checksum-algorithm" | "checksum-mode" | "checksum-type") | None => true,
        Some(rest) => !rest.starts_with("checksum-") && !rest.starts_with("sdk-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, mechanism: Mechanism, want: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-h", HeaderValue::from_static("header"));
        let query = Query::parse(query).expect("a query");
        let all = with_hoisted(&headers, &query, mechanism);
        let added = all.iter().filter(|(name, _)| *name != "x-amz-meta-h");
        let added: Vec<_> =
            added.map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
        assert_eq!(added, want, "{query:?}");
        assert_eq!(all["x-amz-meta-h"], "header");
    }

    #[test]
    fn hoisted() {
        use Mechanism::{QueryV2, QueryV4};
        check("", QueryV4, &[]);
        check("x-amz-meta-a=1&prefix=x&x-amz-meta-b%0a=3", QueryV4, &[("x-amz-meta-a", "1")]);
        check("X-Amz-Acl=private", QueryV4, &[("x-amz-acl", "private")]);
        check("x-amz-meta-h=q&X-Amz-Meta-H=q", QueryV4, &[]);
        check("x-amz-storage-class=STANDARD_IA", QueryV4, &[("x-amz-storage-class", "STANDARD_IA")]);
        check("content-type=a&content-md5=b&expires=c", QueryV4, &[]);
        check(
            "Content-Type=a&content-md5=b&expires=c",
            QueryV2,
            &[("content-type", "a"), ("content-md5", "b")],
        );
        for name in [
            "X-Amz-Algorithm",
            "X-Amz-Content-Sha256",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-Security-Token",
            "X-Amz-Signature",
            "X-Amz-SignedHeaders",
        ] {
            check(&format!("{name}=1"), QueryV4, &[]);
        }
    }

    #[test]
    fn checksums_that_were_made_before_there_was_a_body() {
        for mechanism in [Mechanism::QueryV4, Mechanism::QueryV2] {
            for name in ["crc32", "crc32c", "crc64nvme", "sha1", "sha256", "sha512", "md5", "xxhash64"] {
                check(&format!("x-amz-checksum-{name}=AAAAAA=="), mechanism, &[]);
            }
            check("X-Amz-Checksum-Sha256=AA==", mechanism, &[]);
            check("x-amz-sdk-checksum-algorithm=CRC32", mechanism, &[]);
            check("x-amz-sdk-other=CRC32", mechanism, &[]);
            check("x-amz-trailer=x-amz-checksum-crc32", mechanism, &[]);
            // These say what is wanted, not what the body is.
            for name in ["x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"] {
                check(&format!("{name}=X"), mechanism, &[(name, "X")]);
            }
        }
    }
}
