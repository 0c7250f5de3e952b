//! Milliseconds since 1970 as the two texts that S3 writes: RFC 9110 dates in headers, ISO 8601 in XML.
//!
//! Pure. S3 keeps times to the second, so the milliseconds of both texts are always zero: a listing and a
//! HEAD of the same object agree.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;

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
    let seconds = (ms / 1000).min(SECONDS_MAX);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// Year, month and day of a day counted from 1970-01-01, by the 400-year cycle of the Gregorian calendar
/// that begins on 1 March.
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, iso: &str, http: &str) {
        assert_eq!(iso_8601(seconds * 1000 + 999), iso);
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
