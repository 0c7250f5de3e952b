//! Milliseconds since 1970 as the two texts that S3 writes: RFC 9110 dates in headers, ISO 8601 in XML.
//!
//! Pure. S3 keeps times to the second, so the milliseconds of both texts are always zero: a listing and a
//! HEAD of the same object agree.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use nilas_engine::calendar::Civil;

/// Seconds from 1970 to the last second of the year 9999, the last that either text can hold.
const SECONDS_MAX: u64 = 253_402_300_799;

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(ms: u64) -> HeaderValue {
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs((ms / 1000).min(SECONDS_MAX)));
    HeaderValue::try_from(text).expect("a date is ASCII")
}

/// Parses an RFC 9110 date to whole seconds since 1970; `None` when it is none, which makes its condition void.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// `1994-11-06T08:49:37.000Z`.
pub fn iso_8601(ms: u64) -> String {
    let moment = Civil::of_ms(ms.min(SECONDS_MAX * 1000));
    let Civil { year, month, day, hour, minute, second, .. } = moment;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// `1994-11-06T08:49:37Z`, as IAM writes times.
pub(crate) fn iso_8601_seconds(ms: u64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of_ms(ms.min(SECONDS_MAX * 1000));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, iso: &str, http: &str) {
        assert_eq!(iso_8601(seconds * 1000 + 999), iso);
        assert_eq!(iso_8601_seconds(seconds * 1000 + 999), iso.replace(".000", ""));
        assert_eq!(http_date(seconds * 1000 + 999).to_str().ok(), Some(http));
        assert_eq!(parse_http_date(http), Some(seconds));
    }

    #[test]
    fn times() {
        check(0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777, "1994-11-06T08:49:37.000Z", "Sun, 06 Nov 1994 08:49:37 GMT");
        check(951_782_400, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT");
        check(1_767_225_599, "2025-12-31T23:59:59.000Z", "Wed, 31 Dec 2025 23:59:59 GMT");
        check(SECONDS_MAX, "9999-12-31T23:59:59.000Z", "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(iso_8601(u64::MAX), "9999-12-31T23:59:59.000Z");
        assert_eq!(parse_http_date("yesterday"), None);
    }
}
